"""Features of many conversations as Parquet files: one a conversation, beside the data, each whole or not there.

A file has a row a recording: its ids, ``fps``, ``start`` and ``issues``; each feature under its key as a list of rows
(D values; of one value, the value itself), its mask as ``mask:KEY``; events as lists of structs, shares as numbers.
What was asked for, and the version of this package, stand in the file's metadata, so that features of two kinds never
mix in a folder.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seamless_interaction import __version__
from seamless_interaction.conversations.dataset import SeamlessDataset
from seamless_interaction.conversations.interaction import check_window
from seamless_interaction.errors import ForeignFeatures, Issue, SeamlessInteractionError, known_keywords
from seamless_interaction.features.blocks import Grid
from seamless_interaction.features.extract import Features, event_table, extract_features
from seamless_interaction.features.table import DEFAULT_GROUPS, FEATURES, features_of, resolve_groups
from seamless_interaction.places.write import local_path, require_writable, write_whole
from seamless_interaction.source.index import ISSUE
from seamless_interaction.work.executors import in_pool
from seamless_interaction.work.progress import Meter
from seamless_interaction.work.text import decimal
from seamless_interaction.work.typed_json import load_as

_METADATA = b"seamless_interaction"


@dataclass
class FeaturesReport:
    """What came of ``make_features``.

    Attributes:
        target: the folder.
        interactions: how many were selected; made, kept: of them, now and before.
        seconds: of conversation, in those made.
        bytes: of the files made.
        issues: what is wrong with files -> how many of the recordings made have it: those values are masked.
        took: seconds.
    """

    target: str
    interactions: int
    made: int
    kept: int
    seconds: float
    bytes: int
    issues: dict[str, int]
    took: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """For reading."""
        lines = [
            f"{self.target}: {self.made + self.kept:,} conversations, {self.kept:,} of them from before; "
            f"{self.seconds / 3600:,.2f} hours, {decimal(self.bytes)}; {self.took:,.0f} s"
        ]
        if self.issues:
            codes = ", ".join(f"{code} {count:,}" for code, count in sorted(self.issues.items()))
            lines.append(f"masked, for what is wrong with files: {codes}")
        return "\n".join(lines)


@known_keywords()
def make_features(
    dataset: SeamlessDataset,
    output: str | os.PathLike[str],
    groups: str | Sequence[str] = DEFAULT_GROUPS,
    fps: float = 30.0,
    *,
    workers: int = 1,
    progress: Meter | None = None,
) -> FeaturesReport:
    """Write the features of each conversation to ``output/LABEL/SPLIT/INTERACTION.parquet``.

    A file that is there is not made again, whoever made it: so a run that was stopped goes on, and several can
    share a folder, each with its own part of the data.

    Args:
        dataset, groups, fps: as for ``extract_features``.
        output: the folder.
        workers: how many conversations are computed at a time, each by a process if these are several. The files are
            the same, and it is this process that writes them.
        progress: told how it goes.

    Raises:
        UsageError: a group, a rate or workers that cannot be; a file that is there and was computed otherwise.
        MissingDependency: a group needs a package that is not installed.
        SourceError: the place, not a file, is at fault.
        TargetError: the folder cannot be written to; before anything is computed, if it is so by then.
        SeamlessInteractionError: a worker died.
    """
    groups, output, progress = resolve_groups(groups), local_path(output), progress or Meter()
    check_window(0.0, 1.0, fps, None)
    began, wanted = time.monotonic(), _described(groups, fps)
    report = FeaturesReport(str(output), len(dataset), 0, 0, 0.0, 0, {}, 0.0)
    rows = dataset.interactions.to_pylist()
    paths = [output / row["label"] / row["split"] / f"{row['interaction_id']}.parquet" for row in rows]
    left = [
        number
        for number, (path, row) in enumerate(zip(paths, rows, strict=True))
        if not _is_there(path, wanted, row["recording_ids"])
    ]
    report.kept = len(paths) - len(left)
    if left:
        require_writable(paths[left[0]])
    progress.begin(len(left), 0)
    compute = partial(_computed, dataset, groups, fps)
    one_by_one = (compute(number) for number in left)
    with closing(one_by_one if workers == 1 else in_pool(compute, left, workers, partial(_died, rows))) as computed:
        for one in computed:
            _write(paths[one.number], one.content)
            progress.came(len(one.content))
            progress.done(0)
            report.made, report.bytes = report.made + 1, report.bytes + len(one.content)
            report.seconds += one.seconds
            for issue in one.issues:
                code = f"{issue['column']}: {issue['code']}"
                report.issues[code] = report.issues.get(code, 0) + 1
    report.took = time.monotonic() - began
    return report


class _Computed(NamedTuple):
    """A conversation's file, and what the report needs to know of it."""

    number: int
    content: bytes
    seconds: float
    issues: list[Issue]


def _computed(dataset: SeamlessDataset, groups: tuple[str, ...], fps: float, number: int) -> _Computed:
    """The features of a conversation, not written yet: a process that is killed leaves nothing behind."""
    features = extract_features(dataset[number], groups, fps)
    issues = [issue for issues in features.issues.values() for issue in issues]
    return _Computed(number, _as_parquet(features), len(features.times) / fps, issues)


def _died(rows: list[dict[str, Any]], number: int, how: str) -> NoReturn:
    raise SeamlessInteractionError(f"{rows[number]['interaction_id']}: {how}")


def _described(groups: tuple[str, ...], fps: float) -> _Described:
    return _Described(list(groups), float(fps), __version__)


def _is_there(path: Path, wanted: _Described, recordings: list[str]) -> bool:
    """Whether a file has the features of these recordings, and not of one where now there are two.

    Raises:
        ForeignFeatures: it was computed otherwise.
    """
    if not path.exists():
        return False
    found = _metadata(path)
    if found != wanted:
        raise ForeignFeatures(
            f"{path} was made with {found._asdict()}, and {wanted._asdict()} is asked for. Choose another folder."
        )
    with _naming(path):
        return cast("list[str]", pq.read_table(path, columns=["id"])["id"].to_pylist()) == recordings


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever a file's content makes raise is that file's fault."""
    try:
        yield
    except FileNotFoundError as error:
        raise ForeignFeatures(f"{path}: not found. Name a file that `seamless-interaction features` wrote.") from error
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ForeignFeatures):
            raise
        remedy = "Delete it, and it is made again"
        raise ForeignFeatures(f"{path} is no file of features, or is damaged: {error!r}. {remedy}.") from error


class _Described(NamedTuple):
    """What a file says of itself."""

    groups: list[str]
    fps: float
    version: str


def _metadata(path: Path) -> _Described:
    with _naming(path):
        return cast("_Described", load_as(_Described, (pq.read_schema(path).metadata or {})[_METADATA]))


# --- one file -------------------------------------------------------------------------------------


def write_features(features: Features, path: str | os.PathLike[str]) -> None:
    """Write a conversation's features, whole or not at all."""
    _write(local_path(path), _as_parquet(features))


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda file: file.write(content))


def _as_parquet(features: Features) -> bytes:
    participants = list(features)
    columns: dict[str, pa.Array] = {
        "id": pa.array(list(features.ids.values()), pa.string()),
        "interaction_id": pa.array([features.interaction_id] * len(participants), pa.string()),
        "participant_id": pa.array(participants, pa.string()),
        "fps": pa.array([features.fps] * len(participants), pa.float64()),
        "start": pa.array([features.start] * len(participants), pa.float64()),
        "issues": pa.array([features.issues[one] for one in participants], pa.list_(ISSUE)),
    }
    lengths = np.arange(len(participants) + 1) * len(features.times)
    for feature in features_of(features.groups):
        values = np.concatenate([features[one][feature.key] for one in participants])
        flat: pa.Array = pa.array(values.ravel())
        if values.shape[1] > 1:
            flat = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        mask = np.concatenate([features.masks[one][feature.key] for one in participants])
        columns[feature.key] = pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), flat)
        columns[f"mask:{feature.key}"] = pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), pa.array(mask))
    for feature in features_of(features.groups, "events"):
        table = features.events[feature.key]
        type = pa.list_(pa.struct([field for field in table.schema if field.name != "participant_id"]))
        rows = table.to_pylist()
        own = [
            [
                {name: row[name] for name in row if name != "participant_id"}
                for row in rows
                if row["participant_id"] == one
            ]
            for one in participants
        ]
        columns[feature.key] = pa.array(own, type)
    for feature in features_of(features.groups, "share"):
        columns[feature.key] = pa.array([features.shares[one][feature.key] for one in participants], pa.float64())
    described = json.dumps(_described(features.groups, features.fps)._asdict())
    table = pa.table(columns).replace_schema_metadata({_METADATA: described.encode()})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def read_features(path: str | os.PathLike[str]) -> Features:
    """The features of a file that ``write_features``, ``make_features`` or the command has written.

    Raises:
        ForeignFeatures: it is none.
    """
    path = local_path(path)
    described = _metadata(path)
    with _naming(path):
        return _features(pq.read_table(path), resolve_groups(described.groups))


def _features(table: pa.Table, groups: tuple[str, ...]) -> Features:
    ids = dict(zip(table["participant_id"].to_pylist(), table["id"].to_pylist(), strict=True))
    keys = [feature.key for feature in features_of(groups)]
    frames = len(table[f"mask:{keys[0]}"][0])
    grid = Grid(table["start"][0].as_py(), table["fps"][0].as_py(), frames)
    features = Features(table["interaction_id"][0].as_py(), ids, groups, grid)
    for row, participant in enumerate(ids):
        features.issues[participant].extend(table["issues"][row].as_py())
        for key in keys:
            values = table[key][row].values
            flat = values.flatten() if pa.types.is_fixed_size_list(values.type) else values
            shape = (frames, len(FEATURES[key].columns))
            features[participant][key] = np.array(flat, np.float32).reshape(shape)
            features.masks[participant][key] = np.array(table[f"mask:{key}"][row].values, bool).reshape(frames)
        for feature in features_of(groups, "share"):
            features.shares[participant][feature.key] = table[feature.key][row].as_py()
    for feature in features_of(groups, "events"):
        rows = [
            {"participant_id": participant, **event}
            for row, participant in enumerate(ids)
            for event in table[feature.key][row].as_py()
        ]
        features.events[feature.key] = event_table(feature.key, sorted(rows, key=lambda e: (e["start"], e["end"])))
    return features
