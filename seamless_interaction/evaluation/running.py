"""Measuring: samples of every conversation, models fitted on ``train``, figures with intervals, and a control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seamless_interaction.access.dataset import SeamlessDataset
from seamless_interaction.evaluation.baselines import PRIOR, MakeModel, predict
from seamless_interaction.evaluation.metrics import Figure, Weighted, interval, sklearn, with_intervals
from seamless_interaction.evaluation.protocol import Part, Protocol, Sample
from seamless_interaction.evaluation.results import Measured, Result, code_digest, digest
from seamless_interaction.evaluation.splits import Division, divide
from seamless_interaction.features.table import resolve_groups
from seamless_interaction.progress import Meter
from seamless_interaction.synthetic_files import NOTICE

RESAMPLES = 1000  # of conversations, for an interval
SHUFFLES = 20
CONTROL = ", shuffled labels"


class Draws(NamedTuple):
    """How much is drawn, and from which seed."""

    seed: int
    resamples: int
    shuffles: int


@dataclass
class Samples:
    """Samples of one part, in the order of their conversations."""

    interactions: list[str] = field(default_factory=list)
    rows: list[Sample] = field(default_factory=list)

    def of(self, vendors: Iterable[str]) -> Samples:
        """Those of some vendors."""
        wanted = tuple(vendors)
        kept = [pair for pair in zip(self.interactions, self.rows, strict=True) if pair[0].startswith(wanted)]
        return Samples([id for id, _ in kept], [row for _, row in kept])

    @property
    def targets(self) -> np.ndarray:
        return np.array([row.target for row in self.rows])

    @property
    def features(self) -> np.ndarray:
        """(n, D); of samples without features, (n, 1) zeros."""
        rows = [np.zeros(1, np.float32) if row.features is None else row.features for row in self.rows]
        return np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def run(
    protocol: Protocol,
    dataset: SeamlessDataset,
    *,
    split: str = "test",
    models: Mapping[str, MakeModel] = PRIOR,
    groups: tuple[str, ...] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    shuffles: int = SHUFFLES,
    progress: Meter | None = None,
) -> Result:
    """Measure models by a protocol.

    Each model but ``prior`` has a control: it is fitted and measured with labels shuffled among the samples of
    ``train``, and among those that are measured. What it then tells beyond chance would be an error of ours.

    Args:
        dataset: all splits of it.
        split: that is measured, ``"test"`` or ``"dev"``.
        models: name -> ``(kind, seed) -> estimator``; ``BASELINES`` has two. With ``prior`` alone, no feature is
            computed.
        groups: of features; None: the protocol's own.
        resamples: of the bootstrap.
        shuffles: of the control; 0: there is none.

    Raises:
        UnknownSplit: no conversation of ``train`` or of the split.
        UnknownGroup: not a group of features.
        MissingDependency: scikit-learn, or what a group needs, is not installed.
    """
    sklearn()
    from threadpoolctl import threadpool_limits as threads  # which scikit-learn brings

    groups = resolve_groups(protocol.groups if groups is None else groups)
    shown = groups if set(models) - {"prior"} else ()
    division = divide(dataset.interactions.to_pylist(), split)
    left_out: Counter[str] = Counter()
    sets = _collect(protocol, dataset, division, shown, left_out, progress or Meter())
    if division.crossing:
        left_out["participant in another split"] = division.crossing
    draws = Draws(seed, resamples, shuffles)
    with threads(limits=1):  # so that figures do not depend on how many cores there are
        parts = {
            part.name: _measure(
                part,
                sets["train"][part.made_as].of(part.train_vendors),
                sets["evaluation"][part.made_as].of(part.evaluation_vendors),
                models,
                draws,
            )
            for part in protocol.parts
        }
    url = dataset._storage.described["url"]
    return Result(
        task=protocol.name,
        protocol=protocol.version,
        split=split,
        seed=seed,
        resamples=resamples,
        shuffles=shuffles,
        groups=list(shown),
        source=url,
        synthetic=Path(url, NOTICE).exists(),
        code=code_digest(),
        interactions={"train": len(division.train), "evaluation": len(division.evaluation)},
        left_out=dict(+left_out),
        parts=parts,
    )


def _collect(
    protocol: Protocol,
    dataset: SeamlessDataset,
    division: Division,
    groups: tuple[str, ...],
    left_out: Counter[str],
    progress: Meter,
) -> dict[str, dict[str, Samples]]:
    """``train`` and ``evaluation`` -> part -> samples."""
    names = {part.made_as for part in protocol.parts}
    sets: dict[str, dict[str, Samples]] = {}
    progress.begin(len(division.train) + len(division.evaluation), len(division.train) + len(division.evaluation))
    for which, ids in (("train", division.train), ("evaluation", division.evaluation)):
        made = sets[which] = {name: Samples() for name in names}
        for id in ids:
            for sample in protocol.samples(dataset.get_interaction(id), groups, left_out):
                if sample.part in names:
                    made[sample.part].interactions.append(id)
                    made[sample.part].rows.append(sample)
            progress.done(1)
    return sets


def _measure(
    part: Part, train: Samples, evaluation: Samples, models: Mapping[str, MakeModel], draws: Draws
) -> Measured:
    truth, learnt = evaluation.targets, train.targets
    measured = Measured(
        kind=part.kind,
        digest=digest(part.name, evaluation.interactions, evaluation.rows),
        train_digest=digest(part.name, train.interactions, train.rows),
        counts={
            "train": len(learnt),
            "evaluation": len(truth),
            "train_interactions": len(set(train.interactions)),
            "evaluation_interactions": len(set(evaluation.interactions)),
        },
        classes={} if part.kind == "regression" else _counted(truth),
        models={},
        not_measured=None,
    )
    measured.not_measured = _obstacle(part.kind, learnt, truth)
    if measured.not_measured:
        return measured
    of_train, of_evaluation = train.features, evaluation.features
    for name, make in models.items():
        prediction = predict(make(part.kind, draws.seed).fit(of_train, learnt), part.kind, of_evaluation)
        measured.models[name] = with_intervals(
            part.kind,
            truth,
            prediction,
            evaluation.interactions,
            part.metrics,
            resamples=draws.resamples,
            seed=draws.seed,
        )
        if name != "prior" and draws.shuffles:
            null = _of_shuffled(part, make, (of_train, learnt), (of_evaluation, truth), draws)
            measured.models[name + CONTROL] = null
    return measured


def _obstacle(kind: str, learnt: np.ndarray, truth: np.ndarray) -> str | None:
    """Why nothing can be measured."""
    for what, targets in (("to learn from", learnt), ("to measure on", truth)):
        if not len(targets):
            return f"no sample {what}"
        if kind != "regression" and len(np.unique(targets)) < 2:
            return f"one class only {what}: {targets[0]}"
    return None


def _of_shuffled(
    part: Part,
    make: MakeModel,
    train: tuple[np.ndarray, np.ndarray],
    evaluation: tuple[np.ndarray, np.ndarray],
    draws: Draws,
) -> dict[str, Figure]:
    """Figures where labels mean nothing: their mean, and the middle 95 %, over all shuffles."""
    rng = np.random.default_rng(draws.seed)
    drawn: dict[str, list[float]] = {name: [] for name in part.metrics}
    for _ in range(draws.shuffles):
        learnt, truth = rng.permutation(train[1]), rng.permutation(evaluation[1])
        prediction = predict(make(part.kind, draws.seed).fit(train[0], learnt), part.kind, evaluation[0])
        made = Weighted(part.kind, truth, prediction)(np.ones(len(truth)))
        for name in part.metrics:
            value = made[name]
            if value is not None:
                drawn[name].append(value)
    return {name: Figure(float(np.mean(found)) if found else None, *interval(found)) for name, found in drawn.items()}


def _counted(values: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def describe(protocol: Protocol) -> dict[str, Any]:
    """What a protocol says of itself, for JSON."""
    return {
        name: getattr(protocol, name)
        for name in ("name", "version", "task", "input", "target", "split", "baselines", "hides")
    }
