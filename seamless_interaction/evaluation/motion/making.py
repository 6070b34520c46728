"""Measuring a task in which motion is made: the clips of ``train`` are learnt from, those of a split are made anew.

Of each session that is measured, sums are kept. A linear model and the means of ``ImitatorModel`` have a control: what
they make of a clip when sound, words and partner of another clip of the same participant and conversation are shown.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from torch import Tensor

from seamless_interaction.evaluation.motion.clips import Clips, turns
from seamless_interaction.evaluation.motion.collection import Collection
from seamless_interaction.evaluation.motion.figures import Sums, added, onsets, sums, with_intervals
from seamless_interaction.evaluation.motion.makers import (
    TEMPERATURE,
    AnyClip,
    Imitator,
    LastPose,
    Linear,
    Maker,
    MeanPose,
)
from seamless_interaction.evaluation.protocol import Making, Sample
from seamless_interaction.evaluation.results import OTHER_INPUT, RECORDED, Draws, Measured, digest
from seamless_interaction.evaluation.seen import Seen
from seamless_interaction.models import ImitatorModel


class MotionMeasurer:
    """Learns from clips, then has them made anew, by every maker."""

    def __init__(
        self,
        protocol: Making,
        groups: tuple[str, ...],
        imitator: ImitatorModel | None,
        collection: Collection,
        draws: Draws,
    ):
        self._protocol, self._collection, self._draws = protocol, collection, draws
        self._uncontrolled: dict[str, Maker] = {
            "mean-pose": MeanPose(),
            "last-pose": LastPose(),
            "any-clip": AnyClip(collection, draws.seed),
        }
        self._controlled: dict[str, Maker] = {}
        if groups:
            self._controlled["linear"] = Linear(groups, protocol.heard)
        if imitator is not None:
            self._controlled["imitator"] = Imitator(imitator, protocol.heard, draws.seed, temperature=0.0)
            self._uncontrolled["imitator, sampled"] = Imitator(imitator, protocol.heard, draws.seed, TEMPERATURE)
        self.left_out: Counter[str] = Counter()
        self._samples: tuple[list[tuple[str, Sample]], ...] = [], []  # of train, and of what is measured
        self._rows: dict[str, dict[str, Sums]] = {}  # of models, by session
        self._missed: list[float] = []

    def learn(self, seen: Seen) -> None:
        self._collection.learn(seen.interaction)
        clips = self._clips(seen, 0)
        if clips is not None:
            for maker in (*self._uncontrolled.values(), *self._controlled.values()):
                maker.learn(clips, seen)

    def measure(self, seen: Seen) -> None:
        clips = self._clips(seen, 1)
        if clips is None or not self._samples[0]:
            return
        as_they_are = np.arange(len(clips))
        made = {
            name: maker.make(clips, seen, as_they_are)
            for name, maker in (self._uncontrolled | self._controlled).items()
        }
        made[RECORDED] = clips.made
        heard = [onsets(sound) for sound in clips.sound(self._protocol.heard)]
        self._add(seen, clips, heard, made)
        self._missed += [self._collection.space.missed(clips.made)] * len(clips)
        others = clips.others()
        kept = np.flatnonzero(others >= 0)
        if self._draws.shuffles and len(kept):
            inputs = np.searchsorted(kept, others[kept])
            controls = clips.take(kept)
            made = {name + OTHER_INPUT: maker.make(controls, seen, inputs) for name, maker in self._controlled.items()}
            self._add(seen, controls, [heard[number] for number in kept], made)

    def _add(self, seen: Seen, clips: Clips, heard: list[np.ndarray], made: dict[str, Tensor]) -> None:
        really = turns(clips.made)
        for name, motion in made.items():
            of_sessions = self._rows.setdefault(name, {})
            found = sums(motion, really, heard, self._collection.space)
            session = seen.interaction.session_id
            of_sessions[session] = added(of_sessions[session], found) if session in of_sessions else found

    def _clips(self, seen: Seen, which: int) -> Clips | None:
        found, left_out = self._collection.clips(seen.interaction)
        self.left_out += left_out
        clips = None if found is None else found.with_sound(self._protocol.heard, self.left_out)
        if not clips:
            return None
        for name, content in zip(clips.names, clips.digests(self._protocol.heard), strict=True):
            sample = Sample("body", name.start, f"{name.participant_id} {content}", {})
            self._samples[which].append((seen.interaction.id, sample))
        return clips

    def finish(self) -> dict[str, Measured]:
        """Part -> what was measured."""
        train, evaluation = (([id for id, _ in rows], [row for _, row in rows]) for rows in self._samples)
        (part,) = self._protocol.parts
        obstacle = None if self._rows else f"no clip to {'measure on' if train[0] else 'learn from'}"
        space = None
        models = {}
        if obstacle is None:
            models = with_intervals(self._rows, self._draws)
            space = {"digest": self._collection.space.digest, "missed": float(np.mean(self._missed))}
        return {
            part.name: Measured(
                kind=part.kind,
                digest=digest(part.name, *evaluation),
                train_digest=digest(part.name, *train),
                counts={
                    "train": len(train[0]),
                    "evaluation": len(evaluation[0]),
                    "train_interactions": len(set(train[0])),
                    "evaluation_interactions": len(set(evaluation[0])),
                },
                classes={},
                models=models,
                not_measured=obstacle,
                space=space,
            )
        }
