"""What a protocol is: a task, what is shown, what is to be told or made, on whom, by which measure, what that hides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from seamless_interaction import VENDORS
from seamless_interaction.evaluation.seen import Seen, Shown

# What is true of every protocol.
SPLIT = (
    "Trained on `train`, measured on `test` (or `dev`), without the conversations of anybody who also occurs in "
    "another split; ids that differ in their last letter only count as one person's, as nobody knows."
)


class Sample(NamedTuple):
    """One thing to be told.

    Attributes:
        part: of the protocol.
        time: seconds; where a protocol predicts, nothing behind it is shown.
        target: 1 or 0; a class, by name or number; or a real number.
        shown: see ``seen``; empty where nobody asked for it.
    """

    part: str
    time: float
    target: int | float | str
    shown: Shown


class Part(NamedTuple):
    """What has a target, and figures, of its own.

    Attributes:
        name: of the part.
        kind: ``"binary"``, ``"classes"``, ``"regression"``, or ``"motion"``.
        metrics: names in ``metrics.METRICS``; tables are ordered by the first.
        source: the part that its samples are made as, where that is another; see ``transfer``.
        train_vendors, evaluation_vendors: of whom it learns, and is measured.
    """

    name: str
    kind: str
    metrics: tuple[str, ...]
    source: str = ""
    train_vendors: tuple[str, ...] = VENDORS
    evaluation_vendors: tuple[str, ...] = VENDORS

    @property
    def made_as(self) -> str:
        return self.source or self.name


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One benchmark task.

    Attributes:
        name: as the command line takes it.
        version: goes up when a sample, a target or a figure changes; results of two versions are never compared.
        task, input, target, baselines: in words.
        hides: what the figures do not show.
        parts: see ``Part``.
        groups: of features that the linear baseline is shown, unless others are asked for.
    """

    name: str
    version: int
    task: str
    input: str
    target: str
    baselines: str
    hides: str
    parts: tuple[Part, ...]
    groups: tuple[str, ...]
    split: str = field(default=SPLIT)


# Of a conversation, groups of features, and where to count what cannot be used.
MakeSamples = Callable[[Seen, "tuple[str, ...]", "Counter[str]"], Iterator[Sample]]


@dataclass(frozen=True, kw_only=True)
class Telling(Protocol):
    """A task in which something is told of a conversation.

    Attributes:
        samples: of one conversation.
    """

    samples: MakeSamples


@dataclass(frozen=True, kw_only=True)
class Making(Protocol):
    """A task in which a participant's motion is made.

    Attributes:
        heard: whose sound and words are shown: the participant's own, or the partner's, with the partner's motion.
        may_show: groups of features that tell no more than that.
    """

    heard: Literal["own", "partner"]
    may_show: tuple[str, ...]
