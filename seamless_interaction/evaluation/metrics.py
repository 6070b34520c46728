"""Figures, from scikit-learn where it has them, and how sure they are.

A figure that is not defined, such as AUROC of one class, is None, and never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seamless_interaction.errors import MissingDependency

METRICS = {
    "balanced_accuracy": "mean recall of the classes that occur",
    "weighted_f1": "F1 of each class, weighted by how often it occurs",
    "precision": "of the positive class",
    "recall": "of the positive class",
    "auroc": "area under the receiver's curve",
    "accuracy": "share that is right",
    "uar": "unweighted average recall, another word for balanced accuracy",
    "macro_f1": "mean F1 of the classes that occur or were told",
    "map": "mean average precision: of each class that occurs, against all others",
    "ccc": "concordance correlation coefficient (Lin 1989), with population moments",
    "mae": "mean absolute error",
    "frechet": "Fréchet distance of codes of motion, halves of the sessions against each other",
    "beat_consistency": "how near a beat of motion is to each onset of sound, 0 to 1",
    "diversity": "root mean square distance of codes of two chunks of motion, 2 s each",
    "velocity_error": "mean difference of a joint's angular velocities, degrees a second",
}
LOWER_IS_BETTER = ("mae", "frechet", "velocity_error")


class Prediction(NamedTuple):
    """What a model tells: (n,) classes or numbers; of classes, also (n, K) probabilities and the K classes."""

    told: np.ndarray
    probability: np.ndarray | None = None
    classes: np.ndarray | None = None


class Figure(NamedTuple):
    """A value and its interval; None where not defined."""

    value: float | None
    low: float | None
    high: float | None


def sklearn() -> Any:
    """scikit-learn, with the parts that are used. Raises ``MissingDependency``."""
    try:
        import sklearn
        import sklearn.dummy
        import sklearn.linear_model
        import sklearn.metrics
        import sklearn.pipeline
        import sklearn.preprocessing
    except ImportError as error:
        raise MissingDependency("Benchmarks", "scikit-learn", "evaluation") from error
    return sklearn


def measure(kind: str, truth: np.ndarray, prediction: Prediction) -> dict[str, float | None]:
    """Every figure of a kind of target, by scikit-learn but for ``ccc``.

    Args:
        kind: ``"binary"`` (1 is the positive class), ``"classes"`` or ``"regression"``.
        truth: (n,)
    """
    metrics, told = sklearn().metrics, prediction.told
    if kind == "regression":
        ones = np.ones(len(truth))
        return {"ccc": ccc(truth, told, ones), "mae": float(metrics.mean_absolute_error(truth, told))}
    columns = _columns(prediction)
    occurs = np.unique(truth).tolist()
    made: dict[str, float | None] = {
        "accuracy": float(metrics.accuracy_score(truth, told)),
        "balanced_accuracy": float(metrics.recall_score(truth, told, labels=occurs, average="macro", zero_division=0)),
        "weighted_f1": float(metrics.f1_score(truth, told, average="weighted", zero_division=0)),
        "macro_f1": float(metrics.f1_score(truth, told, average="macro", zero_division=0)),
    }
    made["uar"] = made["balanced_accuracy"]
    if kind == "binary":
        is_positive, is_told = truth == 1, told == 1
        score = columns.get(1, np.zeros(len(truth)))
        some = is_positive.any() or is_told.any()
        made["precision"] = float(metrics.precision_score(is_positive, is_told, zero_division=0)) if some else None
        made["recall"] = float(metrics.recall_score(is_positive, is_told)) if is_positive.any() else None
        made["auroc"] = float(metrics.roc_auc_score(is_positive, score)) if len(occurs) == 2 else None
    else:
        none = np.zeros(len(truth))
        found = [metrics.average_precision_score(truth == label, columns.get(label, none)) for label in occurs]
        made["map"] = float(np.mean(found))
    return made


def _columns(prediction: Prediction) -> dict[Any, np.ndarray]:
    assert prediction.probability is not None and prediction.classes is not None
    return dict(zip(prediction.classes.tolist(), prediction.probability.T, strict=True))


class Weighted:
    """The same figures of weighted samples, for the thousands of draws of a bootstrap.

    scikit-learn takes 15 ms for one draw, this 0.1 ms. A test holds the two to each other.
    """

    def __init__(self, kind: str, truth: np.ndarray, prediction: Prediction):
        self._kind, self._truth, self._told = kind, truth, prediction.told
        if kind == "regression":
            return
        self._labels = np.unique(np.concatenate([truth, prediction.told]))
        number = len(self._labels)
        self._cells = np.searchsorted(self._labels, truth) * number + np.searchsorted(self._labels, prediction.told)
        columns = _columns(prediction)
        ranked = [1] if kind == "binary" else np.unique(truth).tolist()
        self._ranks = [
            (truth == label, np.unique(columns.get(label, np.zeros(len(truth))), return_inverse=True)[1])
            for label in ranked
        ]

    def __call__(self, weights: np.ndarray) -> dict[str, float | None]:
        """Of (n,) weights, not all 0."""
        if self._kind == "regression":
            error = np.average(np.abs(self._truth - self._told), weights=weights)
            return {"ccc": ccc(self._truth, self._told, weights), "mae": float(error)}
        number = len(self._labels)
        confusion = np.bincount(self._cells, weights, number * number).reshape(number, number)
        right, support, told = np.diag(confusion), confusion.sum(1), confusion.sum(0)
        occurs, counts = support > 0, support + told
        recall, f1 = right / np.maximum(support, 1e-12), 2 * right / np.maximum(counts, 1e-12)
        made: dict[str, float | None] = {
            "accuracy": float(right.sum() / support.sum()),
            "balanced_accuracy": float(recall[occurs].mean()),
            "weighted_f1": float(f1 @ support / support.sum()),
            "macro_f1": float(f1[counts > 0].mean()),
        }
        made["uar"] = made["balanced_accuracy"]
        if self._kind == "binary":
            at = np.flatnonzero((self._labels == 1) & (counts > 0))
            made["precision"] = float(right[at[0]] / max(told[at[0]], 1e-12)) if len(at) else None
            made["recall"] = float(recall[at[0]]) if len(at) and support[at[0]] else None
            made["auroc"] = _auroc(*self._ranks[0], weights)
        else:
            found = [_average_precision(*rank, weights) for rank in self._ranks]
            defined = [value for value in found if value is not None]
            made["map"] = float(np.mean(defined)) if defined else None
        return made


def _auroc(is_positive: np.ndarray, ranks: np.ndarray, weights: np.ndarray) -> float | None:
    positive = np.bincount(ranks, weights * is_positive)
    negative = np.bincount(ranks, weights * ~is_positive)
    pairs = positive.sum() * negative.sum()
    return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else None


def _average_precision(is_positive: np.ndarray, ranks: np.ndarray, weights: np.ndarray) -> float | None:
    positive = np.bincount(ranks, weights * is_positive)[::-1]
    everything = np.bincount(ranks, weights)[::-1].cumsum()
    if not positive.any():
        return None
    return float(positive @ (positive.cumsum() / np.maximum(everything, 1e-12)) / positive.sum())


def ccc(truth: np.ndarray, told: np.ndarray, weights: np.ndarray) -> float | None:
    """Concordance correlation coefficient: 2 cov / (var + var + (difference of means)²); None where both are constant
    and equal.

    >>> ccc(np.array([1.0, 2, 3]), np.array([2.0, 3, 4]), np.ones(3))  # moved by 1: 2 · 2/3 / (2/3 + 2/3 + 1)
    0.5714285714285714
    """
    mean, other = np.average(truth, weights=weights), np.average(told, weights=weights)
    variances = np.average((truth - mean) ** 2, weights=weights) + np.average((told - other) ** 2, weights=weights)
    below = variances + (mean - other) ** 2
    if below <= 0:
        return None
    return float(2 * np.average((truth - mean) * (told - other), weights=weights) / below)


def with_intervals(
    kind: str,
    truth: np.ndarray,
    prediction: Prediction,
    sessions: Sequence[str] | np.ndarray,
    names: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    """Figures with 95 % intervals: whole sessions, in which the same two people talk, are drawn with replacement.

    Of one session there is no interval. Draws in which a figure is not defined are left out of it.
    """
    point = measure(kind, truth, prediction)
    ids, number = np.unique(np.asarray(sessions), return_inverse=True)
    drawn: dict[str, list[float]] = {name: [] for name in names}
    if len(ids) > 1:
        rng = np.random.default_rng(seed)
        weighted = Weighted(kind, truth, prediction)
        for _ in range(resamples):
            counts = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids))
            made = weighted(counts[number].astype(float))
            for name in names:
                value = made[name]
                if value is not None:
                    drawn[name].append(value)
    return {name: Figure(point.get(name), *interval(drawn[name])) for name in names}


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The middle 95 %."""
    if not values:
        return None, None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
