"""How motion that was made differs from motion that was recorded.

- ``frechet``: between Gaussians of codes in a ``MotionSpace`` (Heusel et al. 2017; of gestures, Yoon et al. 2020), of
  what was made in one half of the sessions and what was recorded in the other, averaged over random halves, both ways.
  So what was recorded has a score by the same measure: what there is left of two samples of the same thing.
- ``beat_consistency``: for each onset of the sound that was shown, how near the nearest beat of motion is,
  exp(-d² / 2 (0.1 s)²), averaged over a clip's onsets, then over the clips that have some; after Liu et al. 2022
  ("Learning Hierarchical Cross-Modal Association for Co-Speech Gesture Generation"). Onsets are librosa's, of sound
  above -50 dBFS; beats, minima of the mean angular speed of joints. A body that never moves has no beat, and 0.
- ``diversity``: root mean square distance of the codes of two chunks of 2 s.
- ``velocity_error``: mean length of the difference of a joint's angular velocities, made and recorded, in degrees a
  second; without the turn from the last known frame to the first that is made.

Sums over each session are kept and nothing else, so that a bootstrap can draw sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from seamless_interaction import SAMPLING_RATE
from seamless_interaction.evaluation.behaviour_generation import METRICS
from seamless_interaction.evaluation.metrics import Figure, interval
from seamless_interaction.evaluation.motion.clips import FPS, MADE, PAST, turns
from seamless_interaction.evaluation.motion.space import DIMS, MotionSpace
from seamless_interaction.evaluation.results import RECORDED, Draws
from seamless_interaction.features.blocks import needed
from seamless_interaction.features.prosody import SILENT_BELOW

SIGMA = 0.1  # seconds
PROMINENCE = 0.02  # rad/s: by how much the mean speed rises again on both sides of a beat
SPLITS, SPLITS_OF_A_DRAW = 20, 2  # random halves
_SMOOTH = np.hanning(7)[1:-1] / np.hanning(7).sum()  # 5 frames


class Sums(NamedTuple):
    """Of one session: codes, their sum and that of their products; beat consistency and velocity, by clips."""

    chunks: int
    codes: np.ndarray
    products: np.ndarray
    beats: float
    beats_count: int
    velocity: float
    clips: int


def onsets(sound: np.ndarray) -> np.ndarray:
    """Seconds from the beginning of what is to be made, of (samples,) 48 kHz sound of a whole clip."""
    found = needed("librosa").onset.onset_detect(y=sound, sr=SAMPLING_RATE, units="time")
    spans = [sound[round(at * SAMPLING_RATE) :][: SAMPLING_RATE // 10] for at in found]
    level = np.array([np.sqrt(np.mean(np.square(span))) for span in spans])
    known = found[level >= 10 ** (SILENT_BELOW / 20)] - PAST / FPS
    return known[(known >= 0) & (known < MADE / FPS)]


def beats(speed: np.ndarray) -> np.ndarray:
    """Seconds, of (MADE - 1,) mean angular speeds of joints, rad/s: each between a frame and the next."""
    from scipy.signal import find_peaks

    smooth = np.convolve(np.pad(speed, 2, "edge"), _SMOOTH, "valid")
    return (find_peaks(-smooth, prominence=PROMINENCE)[0] + 0.5) / FPS


def consistency(of_sound: np.ndarray, of_motion: np.ndarray) -> float | None:
    """See above; None without a sound."""
    if not len(of_sound):
        return None
    if not len(of_motion):
        return 0.0
    distance = np.abs(of_sound[:, None] - of_motion).min(1)
    return float(np.exp(-np.square(distance) / (2 * SIGMA**2)).mean())


def sums(made: Tensor, really: Tensor, heard: Sequence[np.ndarray], space: MotionSpace) -> Sums:
    """Of the clips of a conversation.

    Args:
        made: (B, MADE, 22, 3, 3).
        really: ``turns`` of what was recorded.
        heard: of each clip, the seconds of onsets.
    """
    moved = turns(made)
    speed = (moved.norm(dim=-1).mean(-1) * FPS).numpy()
    found = [consistency(one, beats(of)) for one, of in zip(heard, speed, strict=True)]
    known = [one for one in found if one is not None]
    codes = space.codes(made).reshape(-1, DIMS)
    error = (moved - really).norm(dim=-1).mean((1, 2)) * (FPS * 180 / np.pi)
    return Sums(
        len(codes), codes.sum(0), codes.T @ codes, sum(known, 0.0), len(known), float(error.double().sum()), len(error)
    )


def added(one: Sums, other: Sums) -> Sums:
    """Of two conversations of a session."""
    pairs: Any = zip(one, other, strict=True)
    return Sums(*(first + second for first, second in pairs))


NOTHING = Sums(0, np.zeros(DIMS), np.zeros((DIMS, DIMS)), 0.0, 0, 0.0, 0)


class Gathered:
    """Sums of many sessions, as arrays, so that weighing them is one product."""

    def __init__(self, rows: Sequence[Sums]):
        self.counts = np.array([row.chunks for row in rows], float)
        self.codes = np.stack([row.codes for row in rows])
        self.products = np.stack([row.products for row in rows])
        self.beats = np.array([(row.beats, row.beats_count) for row in rows])
        self.velocity = np.array([(row.velocity, row.clips) for row in rows])

    def gaussian(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and covariance of codes, of sessions with weights; None of fewer than two codes."""
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
    """Every figure, of sessions with weights.

    Args:
        halves: (sessions,) bool each, of which sessions are in the first half.
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


def with_intervals(rows: Mapping[str, Mapping[str, Sums]], draws: Draws) -> dict[str, dict[str, Figure]]:
    """Model -> figure, with 95 % intervals: sessions are drawn with replacement.

    Drawing some twice makes Gaussians narrower, and Fréchet distances longer; so draws of these two are moved, all
    alike, until their mean is the value. Distances of a draw are of ``SPLITS_OF_A_DRAW`` random halves.

    Args:
        rows: model -> session -> sums.
    """
    gathered = {name: Gathered([found.get(one, NOTHING) for one in rows[RECORDED]]) for name, found in rows.items()}
    recorded = gathered[RECORDED]
    number = len(recorded.counts)
    rng = np.random.default_rng(draws.seed)
    halves = [rng.permutation(number) < number / 2 for _ in range(SPLITS)]
    weights = [
        np.bincount(rng.integers(number, size=number), minlength=number).astype(float) for _ in range(draws.resamples)
    ]
    of_draws = [[rng.permutation(number) < number / 2 for _ in range(SPLITS_OF_A_DRAW)] for _ in weights]
    made = {}
    for name, model in gathered.items():
        values = measure(model, recorded, np.ones(number), halves)
        drawn: dict[str, list[float]] = {metric: [] for metric in METRICS}
        for drawn_weights, half in zip(weights, of_draws, strict=True):
            for metric, drawn_value in measure(model, recorded, drawn_weights, half).items():
                if drawn_value is not None:
                    drawn[metric].append(drawn_value)
        made[name] = {
            metric: _figure(value, drawn[metric] if number > 1 else [], metric in ("frechet", "diversity"))
            for metric, value in values.items()
        }
    return made


def _figure(value: float | None, drawn: list[float], is_moved: bool) -> Figure:
    low, high = interval(drawn)
    if value is None or low is None or high is None:
        return Figure(value, None, None)
    moved = value - float(np.mean(drawn)) if is_moved else 0.0
    return Figure(value, max(0.0, low + moved), high + moved)
