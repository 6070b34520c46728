"""Measuring: conversations of ``train`` are learnt from, those of a split are measured, one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamless_interaction.conversations.dataset import SeamlessDataset
from seamless_interaction.errors import UsageError
from seamless_interaction.evaluation.baselines import PRIOR, MakeModel
from seamless_interaction.evaluation.metrics import sklearn
from seamless_interaction.evaluation.protocol import Making, Protocol, Telling
from seamless_interaction.evaluation.results import Draws, Result, code_digest
from seamless_interaction.evaluation.seen import Seen
from seamless_interaction.evaluation.splits import Division, divide
from seamless_interaction.evaluation.telling import Teller
from seamless_interaction.features.table import resolve_groups
from seamless_interaction.places.place import Place
from seamless_interaction.source.notice import is_synthetic
from seamless_interaction.work.progress import Meter

if TYPE_CHECKING:
    from seamless_interaction.evaluation.motion.collection import Collection
    from seamless_interaction.evaluation.representation import Representation
    from seamless_interaction.models import ImitatorModel

RESAMPLES = 1000  # of conversations, for an interval
SHUFFLES = 20


def run(protocol: Protocol, dataset: SeamlessDataset, **options: Any) -> Result:
    """Measure models by a protocol: ``run_all`` of one."""
    return run_all([protocol], dataset, **options)[0]


def run_all(
    protocols: Sequence[Protocol],
    dataset: SeamlessDataset,
    *,
    split: str = "test",
    models: Mapping[str, MakeModel] = PRIOR,
    imitator: ImitatorModel | None = None,
    groups: tuple[str, ...] | None = None,
    motion_space: str | Path | None = None,
    keep_motion_space_in: str | Path | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    shuffles: int = SHUFFLES,
    progress: Meter | None = None,
) -> list[Result]:
    """Measure models by protocols, in one pass over the data. Memory is that of samples, and of one conversation.

    Each model but ``prior`` has a control: it is fitted and measured with labels shuffled among the samples of
    ``train``, and among those that are measured. What it then tells beyond chance would be an error of ours. Of tasks
    in which motion is made, see ``motion.making``.

    Args:
        dataset: all splits of it.
        split: that is measured, ``"test"`` or ``"dev"``.
        models: name -> ``(kind, seed) -> estimator``; ``BASELINES`` has two. With ``prior`` alone, no feature is
            computed. Where motion is made, guesses are measured in their place, and with any other, a linear model.
        imitator: a trained model, measured as ``imitator``: a linear model on its representation, whose weights stay
            as they are; or what motion it generates.
        groups: of features; None: the protocols' own. Where motion is made, those that tell what may not be shown are
            left out, and without any other there is no linear model.
        motion_space: a file, in whose space motion is compared; None: it is learnt from ``train``.
        keep_motion_space_in: a folder to write one that was learnt to, under a name with its digest.
        resamples: of the bootstrap.
        shuffles: of the control; 0: there is none.

    Raises:
        UnknownSplit: no conversation of ``train`` or of the split.
        UnknownGroup: not a group of features. UsageError: two models of one name, or one of another rate of frames.
        MissingDependency: scikit-learn, or what a group or a task needs, is not installed.
        ForeignCheckpoint, UnsafeCheckpoint: ``motion_space`` is not what it should be.
    """
    sklearn()
    if imitator is not None and "imitator" in models:
        raise UsageError("a model is called imitator, as the one that imitator= measures. Call it otherwise.")
    representation = None
    if imitator is not None:
        from seamless_interaction.evaluation.representation import Representation

        representation = Representation(imitator)
    wanted = {protocol.name: _groups_of(protocol, groups, models) for protocol in protocols}
    draws = Draws(seed, resamples, shuffles)
    collection = None
    if any(isinstance(protocol, Making) for protocol in protocols):
        collection = _collection(imitator, motion_space, keep_motion_space_in, seed)
    runners = {
        protocol.name: _runner(protocol, models, wanted[protocol.name], imitator, collection, draws)
        for protocol in protocols
    }
    division = divide(dataset.interactions.to_pylist(), split)
    everything = tuple(dict.fromkeys(group for groups in wanted.values() for group in groups))
    parts = _measure(runners, dataset, division, everything, representation, progress or Meter())
    url, options = (dataset._storage.described[name] for name in ("url", "storage_options"))
    synthetic = is_synthetic(Place(url, options))
    return [
        Result(
            task=protocol.name,
            protocol=protocol.version,
            split=split,
            seed=seed,
            resamples=resamples,
            shuffles=shuffles,
            groups=list(wanted[protocol.name]),
            imitator=None if representation is None else representation.digest,
            source=url,
            synthetic=synthetic,
            code=code_digest(),
            interactions={"train": len(division.train), "evaluation": len(division.evaluation)},
            left_out=dict(+(runners[protocol.name].left_out + Counter(_crossing(division.crossing)))),
            parts=parts[protocol.name],
        )
        for protocol in protocols
    ]


def _groups_of(protocol: Protocol, groups: tuple[str, ...] | None, models: Mapping[str, MakeModel]) -> tuple[str, ...]:
    """The groups of features that a protocol needs; none where no model but ``prior`` is measured."""
    own = resolve_groups(protocol.groups if groups is None else groups)
    if not set(models) - {"prior"}:
        return ()
    if isinstance(protocol, Making):
        return tuple(group for group in own if group in protocol.may_show)
    return own


def _collection(
    imitator: ImitatorModel | None, space: str | Path | None, keep_in: str | Path | None, seed: int
) -> Collection:
    """The motion that people made, and the space that it is compared in."""
    from seamless_interaction.evaluation.motion import need_packages

    need_packages()
    from seamless_interaction.evaluation.motion.collection import Collection
    from seamless_interaction.models import ImitatorConfig

    return Collection(ImitatorConfig() if imitator is None else imitator.config, space, keep_in, seed)


def _runner(
    protocol: Protocol,
    models: Mapping[str, MakeModel],
    groups: tuple[str, ...],
    imitator: ImitatorModel | None,
    collection: Collection | None,
    draws: Draws,
) -> Any:
    """What learns from conversations and measures by a protocol."""
    if isinstance(protocol, Telling):
        return Teller(protocol, models, groups, imitator is not None, draws)
    from seamless_interaction.evaluation.motion.making import MotionMeasurer

    assert isinstance(protocol, Making) and collection is not None
    return MotionMeasurer(protocol, groups, imitator, collection, draws)


def _measure(
    runners: Mapping[str, Any],
    dataset: SeamlessDataset,
    division: Division,
    groups: tuple[str, ...],
    representation: Representation | None,
    meter: Meter,
) -> dict[str, Any]:
    """Show each conversation to all of them, those to learn from first; what they found, by name."""
    from threadpoolctl import threadpool_limits as threads  # which scikit-learn brings

    meter.begin(len(division.train) + len(division.evaluation), 0)
    with threads(limits=1):  # so that figures do not depend on how many cores there are
        for ids, what in ((division.train, "learn"), (division.evaluation, "measure")):
            for id in ids:
                seen = Seen(dataset.get_interaction(id), groups, representation)
                for runner in runners.values():
                    getattr(runner, what)(seen)
                meter.done(0)
        return {name: runner.finish() for name, runner in runners.items()}


def _crossing(number: int) -> dict[str, int]:
    return {"participant in another split": number}
