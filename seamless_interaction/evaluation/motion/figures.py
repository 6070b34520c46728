"""How motion that was made differs from motion that was recorded.

- ``frechet``: between Gaussians of codes in a ``MotionSpace`` (Heusel et al. 2017; of gestures, Yoon et al. 2020), of
  what was made in one half of the conversations and what was recorded in the other, averaged over random halves, both
  ways. So what was recorded has a score by the same measure: what there is left of two samples of the same thing.
- ``beat_consistency``: for each onset of the sound that was shown, how near the nearest beat of motion is,
  exp(-d² / 2 (0.1 s)²), averaged over onsets; after Liu et al. 2022 ("Learning Hierarchical Cross-Modal Association for
  Co-Speech Gesture Generation"). Onsets are librosa's; beats, minima of the mean angular speed of joints. A body that
  never moves has no beat, and 0.
- ``diversity``: root mean square distance of the codes of two clips.
- ``velocity_error``: mean length of the difference of a joint's angular velocities, made and recorded, in degrees a
  second.

Sums over each conversation are kept and nothing else, so that a bootstrap can draw conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seamless_interaction import SAMPLING_RATE
from seamless_interaction.evaluation.metrics import Figure, interval
from seamless_interaction.evaluation.motion.clips import FPS, MADE, PAST, turns
from seamless_interaction.evaluation.motion.space import DIMS, MotionSpace
from seamless_interaction.evaluation.results import RECORDED, Draws
from seamless_interaction.features.blocks import needed

SIGMA = 0.1  # seconds
PROMINENCE = 0.02  # rad/s: by how much the mean speed rises again on both sides of a beat
SPLITS = 20  # random halves
_SMOOTH = np.hanning(7)[1:-1] / np.hanning(7).sum()  # 5 frames
NAMES = ("frechet", "beat_consistency", "diversity", "velocity_error")


@dataclass
class Sums:
    """Of one conversation: codes, their sum and that of their products; beat consistency and velocity, by clips."""

    count: int
    codes: np.ndarray
    products: np.ndarray
    beats: float
    beats_count: int
    velocity: float
    clips: int


def onsets(sound: np.ndarray) -> np.ndarray:
    """Seconds from the beginning of what is to be made, of (samples,) 48 kHz sound of a whole clip."""
    found = needed("librosa").onset.onset_detect(y=sound, sr=SAMPLING_RATE, units="time") - PAST / FPS
    return found[(found >= 0) & (found < MADE / FPS)]


def beats(speed: np.ndarray) -> np.ndarray:
    """Seconds, of (MADE,) mean angular speeds of joints, rad/s: each between a frame and the one before."""
    from scipy.signal import find_peaks

    smooth = np.convolve(np.pad(speed, 2, "edge"), _SMOOTH, "valid")
    return (find_peaks(-smooth, prominence=PROMINENCE)[0] - 0.5) / FPS


def consistency(of_sound: np.ndarray, of_motion: np.ndarray) -> float | None:
    """See above; None without a sound."""
    if not len(of_sound):
        return None
    if not len(of_motion):
        return 0.0
    distance = np.abs(of_sound[:, None] - of_motion).min(1)
    return float(np.exp(-np.square(distance) / (2 * SIGMA**2)).mean())


def sums(made: Tensor, recorded: Tensor, heard: Sequence[np.ndarray], space: MotionSpace) -> Sums:
    """Of the clips of a conversation.

    Args:
        made: (B, MADE, 22, 3, 3).
        recorded: (B, PAST + MADE, 22, 3, 3).
        heard: of each clip, the seconds of onsets.
    """
    last = recorded[:, PAST - 1 : PAST]
    moved, really = turns(torch.cat([last, made], 1)), turns(recorded[:, PAST - 1 :])
    speed = (moved.norm(dim=-1).mean(-1) * FPS).numpy()
    found = [consistency(one, beats(of)) for one, of in zip(heard, speed, strict=True)]
    known = [one for one in found if one is not None]
    codes = space.codes(made).reshape(-1, DIMS)
    error = (moved - really).norm(dim=-1).mean((1, 2)) * (FPS * 180 / np.pi)
    return Sums(
        len(codes), codes.sum(0), codes.T @ codes, sum(known), len(known), float(error.double().sum()), len(error)
    )


class Gathered:
    """Sums of many conversations, as arrays, so that weighing them is one product."""

    def __init__(self, rows: Sequence[Sums]):
        self.counts = np.array([row.count for row in rows], float)
        self.codes = np.stack([row.codes for row in rows])
        self.products = np.stack([row.products for row in rows])
        self.beats = np.array([(row.beats, row.beats_count) for row in rows])
        self.velocity = np.array([(row.velocity, row.clips) for row in rows])

    def gaussian(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and covariance of codes, of conversations with weights; None of fewer than two codes."""
        count = weights @ self.counts
        if count < 2:
            return None
        mean = weights @ self.codes / count
        return mean, (np.tensordot(weights, self.products, 1) - count * np.outer(mean, mean)) / (count - 1)


def frechet(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½), by the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric."""
    (mean, covariance), (of_other, covariance_of_other) = one, other
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = np.sqrt(np.linalg.eigvalsh(root @ covariance_of_other @ root).clip(0)).sum()
    distance = np.square(mean - of_other).sum() + np.trace(covariance) + np.trace(covariance_of_other) - 2 * product
    return float(max(distance, 0.0))


def measure(
    model: Gathered, recorded: Gathered, weights: np.ndarray, halves: Sequence[np.ndarray]
) -> dict[str, float | None]:
    """Every figure, of conversations with weights.

    Args:
        halves: (conversations,) bool each, of which conversations are in the first half.
    """
    distances = []
    for half in halves:
        for first in (half, ~half):
            one, other = model.gaussian(weights * first), recorded.gaussian(weights * ~first)
            if one is not None and other is not None:
                distances.append(frechet(one, other))
    own = model.gaussian(weights)
    beats_sum, beats_count = weights @ model.beats
    velocity, clips = weights @ model.velocity
    return {
        "frechet": float(np.mean(distances)) if distances else None,
        "beat_consistency": float(beats_sum / beats_count) if beats_count else None,
        "diversity": None if own is None else float(np.sqrt(2 * np.trace(own[1]).clip(0))),
        "velocity_error": float(velocity / clips) if clips else None,
    }


def with_intervals(rows: dict[str, list[Sums]], draws: Draws) -> dict[str, dict[str, Figure]]:
    """Model -> figure, with 95 % intervals: conversations are drawn with replacement.

    Drawing some twice makes Gaussians narrower, and Fréchet distances longer; so the draws are moved, all alike, until
    their mean is the value. Distances of a draw are of one random half, and not of ``SPLITS``.
    """
    gathered = {name: Gathered(found) for name, found in rows.items()}
    recorded = gathered[RECORDED]
    number = len(recorded.counts)
    rng = np.random.default_rng(draws.seed)
    halves = [rng.permutation(number) < number / 2 for _ in range(SPLITS)]
    weights = [
        np.bincount(rng.integers(number, size=number), minlength=number).astype(float) for _ in range(draws.resamples)
    ]
    of_draws = [rng.permutation(number) < number / 2 for _ in weights]
    made = {}
    for name, model in gathered.items():
        values = measure(model, recorded, np.ones(number), halves)
        drawn: dict[str, list[float]] = {metric: [] for metric in NAMES}
        for drawn_weights, half in zip(weights, of_draws, strict=True):
            for metric, drawn_value in measure(model, recorded, drawn_weights, [half]).items():
                if drawn_value is not None:
                    drawn[metric].append(drawn_value)
        made[name] = {metric: _figure(value, drawn[metric] if number > 1 else []) for metric, value in values.items()}
    return made


def _figure(value: float | None, drawn: list[float]) -> Figure:
    low, high = interval(drawn)
    if value is None or low is None or high is None:
        return Figure(value, None, None)
    moved = value - float(np.mean(drawn))
    return Figure(value, max(0.0, low + moved), high + moved)
