"""How head, limbs and hands move, by SMPL-H.

Rotations are compared by composition: the turn from one row to the next is the rotation that leads there. Axis-angles
are never subtracted; the data's are not wrapped, so their differences jump by 2 pi where nothing moves. Row t has the
turn from row t - 1 to row t times ``fps``, which is the velocity half a frame earlier; the recording's first row has
none, and is masked. Rows in which nobody is tracked (boxes_and_keypoints:is_valid_box) are masked, though the arrays
have plausible numbers there.

The head's orientation is that of pelvis, spine, neck and head composed, as SMPL-H's kinematic tree has it: the head
in space, so a nod counts whether neck or trunk makes it. Its turns are given about its own axes (x to the own left, y
up, z forward, as in SMPL-H's rest pose), on which neither the camera nor global_orient's constant half turn has any
influence.
"""

from __future__ import annotations

import numpy as np

from seamless_interaction.conversations.interaction import ParticipantRecording
from seamless_interaction.conversations.resample import quaternions, vectors
from seamless_interaction.errors import Issue
from seamless_interaction.features.blocks import Block, Grid, Made
from seamless_interaction.features.table import HEAD, LIMBS, NECK, SPINE

BAND = (1.0, 6.0)  # Hz, of nods and shakes
RHYTHM_WINDOW = 2.0  # seconds
FREQUENCY_FROM = 0.01  # (rad/s)²: less has no frequency worth telling

_TRACKED = "boxes_and_keypoints:is_valid_box"
_AT_ONCE = 2048  # windows, of which the spectra are 8 MB


def compose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Products of unit quaternions (4, ...): ``second``, then ``first``, as with matrices."""
    a, b = first, second
    return np.stack(
        [
            a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
        ]
    )


def turns(rotations: np.ndarray) -> np.ndarray:
    """From each row to the next, the shorter way, about the rotated body's own axes.

    Args:
        rotations: unit quaternions (4, n, ...).

    Returns:
        (n - 1, ..., 3) rotation vectors, radians, at most pi long
    """
    inverse = rotations[:, :-1] * np.array([1.0, -1.0, -1.0, -1.0]).reshape(4, *[1] * (rotations.ndim - 1))
    turn = compose(inverse, rotations[:, 1:])
    turn *= np.where(turn[0] < 0, -1.0, 1.0)
    return np.moveaxis(vectors(turn), 0, -1)


def velocities(rows: np.ndarray, mask: np.ndarray, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Angular velocity at each of ``frames`` rows, (frames, ..., 3) rad/s, and which are known.

    Args:
        rows: rotation vectors (n, ..., 3), the row before the first one in front, if there is one.
        mask: (n,) bool
    """
    return at_rows(turns(quaternions(rows)) * fps, mask, frames)


def at_rows(moved: np.ndarray, mask: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """What happened between rows as belonging to the later one; masked where one of the two is."""
    known = mask[1:] & mask[:-1]
    if len(moved) < frames:  # there is no row before the first
        moved = np.concatenate([np.zeros((1, *moved.shape[1:]), moved.dtype), moved])
        known = np.append(False, known)
    return moved * known.reshape(-1, *[1] * (moved.ndim - 1)), known


def _tracked(block: Block, mask: np.ndarray) -> np.ndarray:
    """The mask without rows in which nobody is tracked; where that is not told, as it is."""
    tracked, told = block.rows(_TRACKED)
    return mask & (tracked | ~told)


class Head:
    """See ``FEATURES``."""

    columns = ("smplh:global_orient", "smplh:body_pose", _TRACKED)

    def __init__(self, recording: ParticipantRecording, grid: Grid, issues: list[Issue]):
        self._fps = grid.fps
        self._velocity = np.zeros((grid.frames, 3), np.float32)
        self._mask = np.zeros(grid.frames, bool)

    def add(self, block: Block) -> None:
        root, mask = block.rows("smplh:global_orient")
        body, of_body = block.rows("smplh:body_pose")
        joints = quaternions(body[:, (*SPINE, NECK, HEAD)])
        head = quaternions(root)
        for joint in range(joints.shape[2]):
            head = compose(head, joints[:, :, joint])
        moved = turns(head) * self._fps
        rows = slice(block.first, block.last)
        known = _tracked(block, mask & of_body)
        self._velocity[rows], self._mask[rows] = at_rows(moved, known, block.last - block.first)

    def finish(self) -> Made:
        speed = np.linalg.norm(self._velocity, axis=1, keepdims=True)
        made = {"head:angular_velocity": (self._velocity, self._mask), "head:speed": (speed, self._mask.copy())}
        for name, axis in (("nod", 0), ("shake", 1)):
            energy, frequency, known = rhythm(self._velocity[:, axis], self._mask, self._fps)
            moves = known & (energy >= FREQUENCY_FROM)
            made[f"head:{name}"] = energy[:, None], known
            made[f"head:{name}_frequency"] = (frequency * moves)[:, None], moves
        return made


class Gesture:
    """See ``FEATURES``."""

    columns = ("smplh:body_pose", "smplh:left_hand_pose", "smplh:right_hand_pose", _TRACKED)

    def __init__(self, recording: ParticipantRecording, grid: Grid, issues: list[Issue]):
        self._fps = grid.fps
        self._body, self._hands = (
            np.zeros((grid.frames, len(LIMBS)), np.float32),
            np.zeros((grid.frames, 2), np.float32),
        )
        self._of_body, self._of_hands = np.zeros(grid.frames, bool), np.zeros(grid.frames, bool)

    def add(self, block: Block) -> None:
        rows, frames = slice(block.first, block.last), block.last - block.first
        body, mask = block.rows("smplh:body_pose")
        moved, known = velocities(body, _tracked(block, mask), frames, self._fps)
        squared = np.square(moved).sum(-1)
        self._body[rows] = np.stack([squared[:, list(joints)].sum(1) for joints in LIMBS.values()], 1)
        self._of_body[rows] = known
        self._of_hands[rows] = True
        for side, key in enumerate(("smplh:left_hand_pose", "smplh:right_hand_pose")):
            hand, mask = block.rows(key)
            moved, known = velocities(hand, _tracked(block, mask), frames, self._fps)
            self._hands[rows, side] = np.square(moved).sum((1, 2))
            self._of_hands[rows] &= known
        self._hands[rows][~self._of_hands[rows]] = 0

    def finish(self) -> Made:
        return {
            "gesture:kinetic_energy": (self._body, self._of_body),
            "gesture:hand_energy": (self._hands, self._of_hands),
        }


def rhythm(velocity: np.ndarray, mask: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of a velocity lies in ``BAND``, around each row, and where in it most does.

    Of each window the mean is taken away, as far as rows are known, and the others are left out of both the sum and
    the weight. A sine of amplitude A within the band gives A² / 2 (less what leaks beyond the band's ends: 1 Hz, half
    of a Hann window's main lobe). Above half of ``fps`` there is nothing to be seen.

    Args:
        velocity: (T,) rad/s; mask: (T,) bool.

    Returns:
        (T,) mean square, (rad/s)²; (T,) Hz; (T,) bool: row known, and so is at least half of its window.
    """
    reach = round(RHYTHM_WINDOW * fps / 2)
    window = np.hanning(2 * reach + 3)[1:-1]
    size = 1 << (8 * len(window) - 1).bit_length()  # the spectrum is sampled 8 times as densely as the window is long
    frequencies = np.arange(size // 2 + 1) * fps / size
    band = np.flatnonzero((frequencies >= BAND[0]) & (frequencies <= BAND[1]))
    energy, frequency = np.zeros(len(mask), np.float32), np.zeros(len(mask), np.float32)
    if not (len(band) and len(mask)):  # a grid too slow for any of it, or without rows
        return energy, frequency, np.zeros(len(mask), bool)
    values = np.lib.stride_tricks.sliding_window_view(np.pad(velocity * mask, reach), len(window))
    known = np.lib.stride_tricks.sliding_window_view(np.pad(mask, reach), len(window))
    enough = mask & (known.sum(1) * 2 >= len(window))
    for first in range(0, len(mask), _AT_ONCE):
        at = first + np.flatnonzero(enough[first : first + _AT_ONCE])
        if not len(at):
            continue
        weights = known[at] * window
        mean = (values[at] * weights).sum(1) / weights.sum(1)
        power = np.abs(np.fft.rfft((values[at] - mean[:, None]) * weights, size)[:, band]) ** 2
        energy[at] = 2 * power.sum(1) / size / np.square(weights).sum(1)
        frequency[at] = frequencies[band][power.argmax(1)]
    return energy, frequency, enough
