"""Measuring a task in which something is told: models fitted on ``train``, figures with intervals, and a control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from seamless_interaction.evaluation.baselines import BASELINES, MakeModel, predict
from seamless_interaction.evaluation.metrics import Figure, Weighted, interval, with_intervals
from seamless_interaction.evaluation.protocol import Part, Sample, Telling
from seamless_interaction.evaluation.results import CONTROL, Draws, Measured, digest
from seamless_interaction.evaluation.seen import Seen


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

    def shown(self, way: str) -> np.ndarray:
        """(n, D) of one way of looking; (n, 1) zeros where nothing was shown."""
        rows = [row.shown.get(way, np.zeros(1, np.float32)) for row in self.rows]
        return np.stack(rows) if rows else np.zeros((0, 1), np.float32)


class Teller:
    """Collects samples, of ``train`` and then of what is measured, and measures models on them."""

    def __init__(
        self,
        protocol: Telling,
        models: Mapping[str, MakeModel],
        groups: tuple[str, ...],
        with_imitator: bool,
        draws: Draws,
    ):
        self._protocol, self._groups, self._draws = protocol, groups, draws
        self._models = {name: ("features", make) for name, make in models.items()}
        if with_imitator:
            self._models["imitator"] = "imitator", BASELINES["linear"]
        self.left_out: Counter[str] = Counter()
        names = {part.made_as for part in protocol.parts}
        self._train = {name: Samples() for name in names}
        self._evaluation = {name: Samples() for name in names}

    def learn(self, seen: Seen) -> None:
        self._add(self._train, seen)

    def measure(self, seen: Seen) -> None:
        self._add(self._evaluation, seen)

    def _add(self, samples: dict[str, Samples], seen: Seen) -> None:
        for sample in self._protocol.samples(seen, self._groups, self.left_out):
            if sample.part in samples:
                samples[sample.part].interactions.append(seen.interaction.id)
                samples[sample.part].rows.append(sample)

    def finish(self) -> dict[str, Measured]:
        """Part -> what was measured."""
        return {
            part.name: self._measured(
                part,
                self._train[part.made_as].of(part.train_vendors),
                self._evaluation[part.made_as].of(part.evaluation_vendors),
            )
            for part in self._protocol.parts
        }

    def _measured(self, part: Part, train: Samples, evaluation: Samples) -> Measured:
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
            not_measured=_obstacle(part.kind, learnt, truth),
        )
        if measured.not_measured:
            return measured
        for name, (way, make) in self._models.items():
            of_train, of_evaluation = train.shown(way), evaluation.shown(way)
            prediction = predict(make(part.kind, self._draws.seed).fit(of_train, learnt), part.kind, of_evaluation)
            measured.models[name] = with_intervals(
                part.kind,
                truth,
                prediction,
                [id.rpartition("_")[0] for id in evaluation.interactions],
                part.metrics,
                resamples=self._draws.resamples,
                seed=self._draws.seed,
            )
            if name != "prior" and self._draws.shuffles:
                null = self._of_shuffled(part, make, (of_train, learnt), (of_evaluation, truth))
                measured.models[name + CONTROL] = null
        return measured

    def _of_shuffled(
        self,
        part: Part,
        make: MakeModel,
        train: tuple[np.ndarray, np.ndarray],
        evaluation: tuple[np.ndarray, np.ndarray],
    ) -> dict[str, Figure]:
        """Figures where labels mean nothing: their mean, and the middle 95 %, over all shuffles."""
        rng = np.random.default_rng(self._draws.seed)
        drawn: dict[str, list[float]] = {name: [] for name in part.metrics}
        for _ in range(self._draws.shuffles):
            learnt, truth = rng.permutation(train[1]), rng.permutation(evaluation[1])
            estimator = make(part.kind, self._draws.seed).fit(train[0], learnt)
            made = Weighted(part.kind, truth, predict(estimator, part.kind, evaluation[0]))(np.ones(len(truth)))
            for name in part.metrics:
                value = made[name]
                if value is not None:
                    drawn[name].append(value)
        return {
            name: Figure(float(np.mean(found)) if found else None, *interval(found)) for name, found in drawn.items()
        }


def _obstacle(kind: str, learnt: np.ndarray, truth: np.ndarray) -> str | None:
    """Why nothing can be measured."""
    for what, targets in (("to learn from", learnt), ("to measure on", truth)):
        if not len(targets):
            return f"no sample {what}"
        if kind != "regression" and len(np.unique(targets)) < 2:
            return f"one class only {what}: {targets[0]}"
    return None


def _counted(values: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
