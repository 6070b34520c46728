"""How well the next frames are predicted, by the model and by guesses that know nothing of conversations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seamless_interaction.models.config import FACE_SIZE, NUM_JOINTS
from seamless_interaction.models.objectives import mean
from seamless_interaction.models.rotations import between, geodesic, to_matrix
from seamless_interaction.models.streams import Streams

if TYPE_CHECKING:
    from seamless_interaction.models.imitator import ImitatorModel

HORIZON = 12  # frames: 400 ms at 30 a second, as far as "short-term" goes in the literature (Martinez et al. 2017)
NAMES = ("model", "repeat-last", "mean-pose", "constant-turn")


@torch.no_grad()
def compare(model: ImitatorModel, batches: Iterable[Streams], horizon: int = HORIZON) -> dict[str, dict[str, float]]:
    """Errors on the last frames of windows, of both participants in turn, all else of the window being known.

    The model goes on by itself for ``horizon`` frames, with temperature 0; it hears and sees nothing that is later.
    ``repeat-last`` keeps the last known frame, ``mean-pose`` the mean pose of the training data: both never move.
    ``constant-turn`` turns each joint on as in the last known frame, about the same axis.

    Returns:
        For each of ``NAMES``: ``next_frame`` and ``rotation``, mean angles between predicted and true rotation of the
        first frame and of all, degrees; ``velocity``, the mean difference of angular velocities, degrees a second.
    """
    sums: dict[tuple[str, str], list[float]] = {}
    degrees = 180 / torch.pi
    for streams in batches:
        for swap in (False, True):
            seen = streams.swapped(torch.full((len(streams.text),), swap, device=model.device))
            known = seen.text.shape[2] - horizon
            motion = model.motion(seen)
            past = type(motion)(*(part[:, 0, :known] for part in motion))
            conditions = seen.map(torch.clone)
            conditions.has_motion[:, 0], conditions.has_face[:, 0] = False, False
            silence = torch.zeros(horizon, len(seen.text), NUM_JOINTS * 3 + FACE_SIZE, device=model.device)
            made, _ = model.roll_out(conditions, past, silence)
            last, true = motion.rotations[:, 0, known - 1 : known], motion.rotations[:, 0, known:]
            there = seen.is_joint_there[:, 0, known - 1 :]
            both = there[:, 1:] & there[:, :-1]
            ahead = torch.arange(1, horizon + 1, device=model.device)[:, None, None]
            guesses = {
                "model": made,
                "repeat-last": last.expand_as(true),
                "mean-pose": model.rest.expand_as(true),
                "constant-turn": last @ to_matrix(past.turns[:, -1:] * ahead),
            }
            turns = motion.turns[:, 0, known:]
            for name, guess in guesses.items():
                angles = geodesic(guess, true) * degrees
                before = torch.cat([guess[:, :1] if name == "mean-pose" else last, guess[:, :-1]], 1)
                speed = (between(before, guess) - turns).norm(dim=-1) * degrees * model.config.fps
                for what, values, mask in (
                    ("next_frame", angles[:, :1], both[:, :1]),
                    ("rotation", angles, both),
                    ("velocity", speed, both),
                ):
                    _add(sums, (name, what), values, mask)
    return {
        name: {what: total / count for (of, what), (total, count) in sums.items() if of == name and count}
        for name in NAMES
    }


def _add(sums: dict[tuple[str, str], list[float]], key: tuple[str, str], values: Tensor, mask: Tensor) -> None:
    average, count = mean(values, mask), int(mask.sum())
    entry = sums.setdefault(key, [0.0, 0])
    entry[0] += 0.0 if average is None else float(average) * count
    entry[1] += count
