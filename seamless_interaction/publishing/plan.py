"""What a publication will be: which recording goes into which shard. Planned once, whoever carries it out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seamless_interaction import LABELS, ON_ERROR, SPLITS, SUBSETS, __version__
from seamless_interaction.errors import BrokenTable, UnknownName, UnknownOption, UsageError, known_keywords
from seamless_interaction.opening import Opening
from seamless_interaction.places import cache
from seamless_interaction.places.options import redacted
from seamless_interaction.places.write import write_whole
from seamless_interaction.publishing.names import SELECTION
from seamless_interaction.selection import expected
from seamless_interaction.selection.selection import Selection
from seamless_interaction.selection.sizes import select
from seamless_interaction.source import addresses
from seamless_interaction.source.files import Source
from seamless_interaction.source.ids import INTERACTION_LENGTH
from seamless_interaction.source.layout import parts_of
from seamless_interaction.source.notice import is_synthetic
from seamless_interaction.work.text import aligned, decimal
from seamless_interaction.work.typed_json import load_as

FORMAT = 1  # of what is made of a recording: shards of another one are made again
WORK = ".publish"  # folder in the output: the plan, what is half made, and what proves that a shard is done
REPO_ID = "seamless/interaction"
AUDIO = ("flac", "wav", "url")
VIDEO = ("copy", "embed", "url")

SHARD_BYTES = 500_000_000
# About how many of a part's bytes are left in a shard. Arrays and FLAC are measured, on synthetic data.
KEPT = {"arrays": 0.75, "flac": 0.3, "wav": 0.9}

# Of a repository of the Hub, as its makers recommend: https://huggingface.co/docs/hub/storage-limits
MAX_FILES = 100_000
MAX_FILES_IN_FOLDER = 10_000
_COMPANIONS = 20  # files beside shards, videos and the table of recordings, and more than there are


class Shard(NamedTuple):
    """A Parquet file, and which rows of the plan's recordings are in it."""

    path: str
    start: int
    stop: int
    expected_bytes: int


class _Saved(NamedTuple):
    """What a file of a plan says of it."""

    settings: dict[str, Any]
    shards: list[Shard]


@dataclass(frozen=True, eq=False)
class ShardPlan:
    """Everything that ``convert_shard`` has to know, but credentials.

    Attributes:
        settings: what the user asked for, and where the source is: plain data.
        recordings: the fields of ``recordings.Recording``, and ``size``; in the order of shards.
        shards: the files, in the order of sizes, labels and splits.
        storage_options: of the source. They are not saved.
    """

    settings: dict[str, Any]
    recordings: pa.Table = field(repr=False)
    shards: tuple[Shard, ...] = field(repr=False)
    storage_options: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def sizes(self) -> list[str]:
        """Of the publication, the smallest first; each holds those before it."""
        return list(self.settings["video"])

    @property
    def columns(self) -> tuple[str, ...]:
        """Those asked for, besides identity, time and honesty."""
        return tuple(self.settings["columns"])

    @property
    def repo_id(self) -> str:
        return str(self.settings["repo_id"])

    def size_of(self, shard: Shard) -> str:
        """``data/10GB/improvised/train-….parquet`` is of ``10GB``."""
        return shard.path.split("/")[1]

    def split_of(self, shard: Shard) -> tuple[str, str]:
        """Label and split of a shard."""
        _, _, label, name = shard.path.split("/")
        return label, name.partition("-")[0]

    def open_source(self) -> Source:
        """The source, as it was found."""
        return Source.open({**self.settings, "storage_options": self.storage_options})

    def key(self, number: int) -> str:
        """Changes when a shard would come out different for any reason that is known beforehand."""
        shard = self.shards[number]
        # Not where the index lies: one that nobody gave is kept in the output, and says only what the source does.
        names = ("url", "layout", "aliases", "given_index", "columns", "audio", "on_error", "media_url")
        rows = self.recordings.slice(shard.start, shard.stop - shard.start).drop_columns(["row"]).to_pylist()
        video = self.settings["video"][self.size_of(shard)] if "video" in self.columns else None
        how = [*(self.settings[name] for name in names), video, self.repo_id if video == "copy" else None]
        parts = (FORMAT, __version__, how, shard.path, rows)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write it into the work folder of an output, with the index if only this machine has it."""
        settings, index = dict(self.settings), self.settings["index"]
        if index and Path(index).is_relative_to(cache.folder()):
            kept = folder / WORK / "index.parquet"
            content = Path(index).read_bytes()
            write_whole(kept, lambda file: file.write(content))
            settings["index"] = str(kept.absolute())
        saved = {"settings": settings, "shards": [shard._asdict() for shard in self.shards]}
        metadata = {"plan": json.dumps(saved)}
        table = self.recordings.replace_schema_metadata(metadata)
        write_whole(folder / WORK / "plan.parquet", lambda file: pq.write_table(table, file))

    @classmethod
    def load(cls, folder: Path, storage_options: Mapping[str, Any] | None = None) -> ShardPlan:
        """Read it from an output. Raises ``BrokenTable``."""
        path = folder / WORK / "plan.parquet"
        try:
            table = pq.read_table(path)
            saved = load_as(_Saved, (table.schema.metadata or {})[b"plan"])
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise BrokenTable(f"{path}: no plan of a publication, or damaged: {error}. Publish again.") from error
        return cls(saved.settings, table, tuple(saved.shards), dict(storage_options) if storage_options else None)

    # --- in numbers

    @cached_property
    def _starts(self) -> np.ndarray:
        """Whether each row begins an interaction."""
        ids = pc.utf8_slice_codeunits(self.recordings["file_id"], 0, INTERACTION_LENGTH).combine_chunks()
        return np.append(True, np.asarray(pc.not_equal(ids[1:], ids[:-1]))) if len(ids) else np.empty(0, bool)

    @property
    def interactions(self) -> int:
        return int(self._starts.sum())

    @property
    def expected_bytes(self) -> int:
        """Of all shards."""
        return sum(shard.expected_bytes for shard in self.shards)

    @property
    def videos(self) -> int:
        """How many files the repository is to keep, at most: not every recording has a usable one."""
        return int(_sizes_with(self.settings, self.recordings, "copy").sum())

    @property
    def expected_video_bytes(self) -> int:
        """Of these."""
        is_copied = _sizes_with(self.settings, self.recordings, "copy")
        return int(expected.expected_bytes(self.recordings, ["video"])[is_copied].sum())

    def table(self) -> list[dict[str, Any]]:
        """One row for each size, label and split."""
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        seconds = expected.expected_seconds(self.recordings)
        for shard in self.shards:
            key = (self.size_of(shard), *self.split_of(shard))
            row = rows.setdefault(key, dict.fromkeys(("shards", "recordings", "interactions", "bytes", "hours"), 0))
            here = slice(shard.start, shard.stop)
            row["shards"] += 1
            row["recordings"] += shard.stop - shard.start
            row["interactions"] += int(self._starts[here].sum())
            row["bytes"] += shard.expected_bytes
            row["hours"] += float(seconds[here].sum()) / 3600
        return [{"size": size, "label": label, "split": split, **row} for (size, label, split), row in rows.items()]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = ("repo_id", "url", "layout", "audio", "video", "on_error", "not_here")
        return {
            **{name: self.settings[name] for name in names},
            "shards": len(self.shards),
            "files": self.videos + len(self.shards),
            "recordings": len(self.recordings),
            "interactions": self.interactions,
            "expected_bytes": self.expected_bytes,
            "expected_video_bytes": self.expected_video_bytes,
            "parts": self.table(),
        }

    def as_text(self) -> str:
        """For reading."""
        lines = [("size", "label", "split", "shards", "interactions", "recordings", "hours", "expected")]
        for row in self.table():
            counts = (f"{row[name]:,}" for name in ("shards", "interactions", "recordings"))
            lines.append(
                (row["size"], row["label"], row["split"], *counts, f"{row['hours']:,.1f}", decimal(row["bytes"]))
            )
        video = ", ".join(f"{size} {how}" for size, how in self.settings["video"].items())
        videos = f", and {decimal(self.expected_video_bytes)} of videos in {self.videos:,} files" if self.videos else ""
        end = [
            f"{len(self.recordings):,} recordings in {len(self.shards):,} shards of about "
            f"{decimal(self.expected_bytes)}{videos}; hours and bytes are expected ones, from means",
            f"audio: {self.settings['audio']}; video: {video}",
        ]
        if self.settings["not_here"]:
            some = ", ".join(self.settings["not_here"][:2])
            end.append(f"{len(self.settings['not_here']):,} selected recordings are not in the source ({some}, …)")
        return "\n".join([*aligned(lines, 3), "", *end])


def _sizes_with(settings: Mapping[str, Any], recordings: pa.Table, video: str) -> np.ndarray:
    """Whether each recording is of a size that has its videos so."""
    sizes = [size for size, how in settings["video"].items() if how == video]
    return np.asarray(pc.is_in(recordings["size"].combine_chunks(), pa.array(sizes, pa.string())))


@known_keywords()
def plan_shards(
    selection: Selection | None = None,
    source: str | os.PathLike = "bucket",
    *,
    layout: str | None = None,
    index: str | os.PathLike | None = None,
    storage_options: dict[str, Any] | None = None,
    repo_id: str = REPO_ID,
    audio: str = "flac",
    video: str | Mapping[str, str] | None = None,
    on_error: str = "null",
    media_url: str = addresses.BUCKET,
) -> ShardPlan:
    """Plan a publication. Nothing is read but names, tables, and headers of tars.

    The sizes up to the selected one become configs, if all that they are by the file list is selected: a config never
    has the name of a size and only a part of it. What else is selected is the config ``selection``.

    Args:
        selection: what to publish; None is all that the source holds, or the size 10GB of the bucket and the Hub.
        source: ``"bucket"``, ``"hub"``, or the folder or URL of any copy, in any layout.
        layout, index, storage_options: of the source, as ``load_dataset`` takes them.
        repo_id: of the repository that it will be; it stands in the addresses of videos.
        audio: ``"flac"`` (where all samples stay the same, else the WAV), ``"wav"`` or ``"url"`` (the address only).
        video: ``"copy"`` (as files beside the shards), ``"embed"`` (in the rows) or ``"url"`` (the address only), for
            all sizes, or by size. None copies those of 10GB, and of what is no size.
        on_error: ``"null"``, ``"skip"`` or ``"raise"``, as ``SeamlessInteractionConfig`` has it.
        media_url: where the public bucket is, for ``video_url`` and ``audio_url``.

    Raises:
        UsageError: a selection or setting that cannot be, or more files than a repository of the Hub may have.
        SourceError: the source cannot be read.
    """
    if audio not in AUDIO:
        raise UnknownName(audio, AUDIO)
    if on_error not in ON_ERROR:
        raise UnknownOption(on_error, ON_ERROR)
    opening = Opening(
        addresses.address_of(os.fspath(source)),
        storage_options,
        layout=layout,
        index=index,
        strict=on_error == "raise",
    )
    selection = opening.in_force(selection or Selection())
    opened = opening.joined(selection)
    found, place = opened.rows, opening.place
    sizes = {} if opened.is_made else _whole_sizes(opened.filelist, opened.chosen, selection.size, selection.label)
    size = _size_of_each(found["file_id"].combine_chunks(), sizes)
    names = [name for name in (*SUBSETS, SELECTION) if name in sizes or pc.index(size, name).as_py() >= 0]
    settings = {
        **{name: value for name, value in opened.source.describe().items() if name != "storage_options"},
        "given_index": None if index is None else os.fspath(index),
        "columns": list(selection.columns),
        "audio": audio,
        "video": _by_size(video, names),
        "on_error": on_error,
        "repo_id": repo_id,
        "media_url": redacted(media_url).rstrip("/"),
        "label": selection.label,
        "synthetic": is_synthetic(place),
        "identity": opened.listing.identity,
        "not_here": list(opened.gaps.not_here),
    }
    planned = _dealt(settings, found.append_column("size", size), place.storage_options)
    _refuse_too_many(planned)
    return planned


def _whole_sizes(listed: pa.Table, chosen: pa.Table, subset: str, label: str | None) -> dict[str, pa.Array]:
    """The sizes all of whose recordings are chosen, with their ids, up to the one that was asked for."""
    sizes = {}
    for name in SUBSETS[: SUBSETS.index(subset) + 1]:
        members = select(listed, name, label)["file_id"].combine_chunks()
        if not len(members) or not pc.all(pc.is_in(members, chosen["file_id"].combine_chunks())).as_py():
            break
        sizes[name] = members
    return sizes


def _size_of_each(ids: pa.Array, sizes: Mapping[str, pa.Array]) -> pa.Array:
    """The smallest size that has each recording."""
    found = pa.array([SELECTION] * len(ids), pa.string())
    for name in reversed(list(sizes)):
        found = pc.if_else(pc.is_in(ids, sizes[name]), name, found)
    return found


def _by_size(video: str | Mapping[str, str] | None, sizes: list[str]) -> dict[str, str]:
    """How each size has its videos. Raises ``UnknownName``."""
    if isinstance(video, str):
        chosen = dict.fromkeys(sizes, video)
    else:
        chosen = {size: "copy" if size in (SUBSETS[0], SELECTION) else "url" for size in sizes} | dict(video or {})
    for size, how in chosen.items():
        if size not in sizes:
            raise UnknownName(size, sizes)
        if how not in VIDEO:
            raise UnknownName(how, VIDEO)
    return chosen


def _dealt(settings: dict[str, Any], found: pa.Table, storage_options: dict[str, Any] | None) -> ShardPlan:
    """Recordings dealt to shards: of one size, label and split, whole interactions, in the order of file ids."""
    sizes = list(settings["video"])
    codes = [
        np.asarray(pc.index_in(found[name], pa.array(known)).combine_chunks())
        for name, known in (("split", SPLITS), ("label", LABELS), ("size", sizes))
    ]
    order = np.lexsort((np.asarray(pc.rank(found["file_id"], tiebreaker="first")), *codes))
    found = found.take(pa.array(order)).combine_chunks()
    group = np.stack([code[order] for code in codes])
    weights = _weights(settings, found)
    ids = pc.utf8_slice_codeunits(found["file_id"], 0, INTERACTION_LENGTH).combine_chunks()
    is_first = np.append(True, np.asarray(pc.not_equal(ids[1:], ids[:-1])))
    edges = np.flatnonzero(np.append(True, np.any(group[:, 1:] != group[:, :-1], axis=0)))
    shards: list[Shard] = []
    for start, stop in pairwise([*edges.tolist(), len(found)]):
        folder = f"data/{found['size'][start]}/{found['label'][start]}/{found['split'][start]}"
        shards += _shards_of(folder, start, weights[start:stop], np.flatnonzero(is_first[start:stop]))
    return ShardPlan(settings, found, tuple(shards), storage_options)


def _shards_of(name: str, start: int, weights: np.ndarray, interactions: np.ndarray) -> list[Shard]:
    """As many shards as there are ``SHARD_BYTES``, with about the same number of bytes each.

    Args:
        start: number of the first row.
        weights: expected bytes of each row.
        interactions: which of the rows begin one.
    """
    before = np.append(0, np.cumsum(weights))
    number = min(max(1, round(before[-1] / SHARD_BYTES)), len(interactions))
    ideal = before[-1] * np.arange(1, number) / number
    starts = before[interactions[1:]]
    after = np.searchsorted(starts, ideal).clip(max=len(starts) - 1)
    earlier = np.maximum(after - 1, 0)
    nearest = np.where(ideal - starts[earlier] < starts[after] - ideal, earlier, after)
    bounds = [0, *np.unique(interactions[1:][nearest]).tolist(), len(weights)]
    return [
        Shard(
            f"{name}-{at:05d}-of-{len(bounds) - 1:05d}.parquet",
            start + first,
            start + last,
            round(before[last] - before[first]),
        )
        for at, (first, last) in enumerate(pairwise(bounds))
    ]


def _weights(settings: Mapping[str, Any], recordings: pa.Table) -> np.ndarray:
    """Expected bytes of each recording in a shard."""
    parts = parts_of(settings["columns"])
    others = [part for part in parts if part not in ("audio", "video")]
    weights = KEPT["arrays"] * expected.expected_bytes(recordings, others)
    if "audio" in parts:
        weights += KEPT.get(settings["audio"], 0.0) * expected.expected_bytes(recordings, ["audio"])
    if "video" in parts:
        is_embedded = _sizes_with(settings, recordings, "embed")
        weights += is_embedded * expected.expected_bytes(recordings, ["video"])
    return weights


def _refuse_too_many(planned: ShardPlan) -> None:
    files = planned.videos + len(planned.shards) + _COMPANIONS
    if files > MAX_FILES:
        raise UsageError(
            f"the repository would have {files:,} files, and the Hub's should have at most {MAX_FILES:,}. Publish "
            "fewer videos as files: video='url', or by size."
        )
    folders = pa.array([shard.path.rpartition("/")[0] for shard in planned.shards]).value_counts().to_pylist()
    crowded = [folder for folder in folders if folder["counts"] > MAX_FILES_IN_FOLDER]
    if crowded:
        raise UsageError(f"{crowded[0]['values']} would have {crowded[0]['counts']:,} files. Publish less at once.")
