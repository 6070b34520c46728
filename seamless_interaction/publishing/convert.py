"""One shard of a plan: made, read back, compared, and only then there.

A shard is done if it has a *sidecar*: a JSON file in the work folder that tells its SHA-256, its rows, what it was made
of and by which code. It is written last. Whatever kills a run before leaves files that nothing counts as done.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow.parquet as pq

from seamless_interaction import MODALITIES, TABLES, __version__
from seamless_interaction.errors import AccessDenied, NotEnoughSpace, SeamlessInteractionError, SourceChanged
from seamless_interaction.places.ranges import open_file
from seamless_interaction.places.write import create, refuse_links, sha256_of, write_whole, writing
from seamless_interaction.publishing import flac, parquet
from seamless_interaction.publishing.plan import KEPT, WORK, Shard, ShardPlan
from seamless_interaction.publishing.rows import (
    recording_features,
    recording_row,
    shard_features,
    urls,
    video_file,
    video_path,
)
from seamless_interaction.record.arrow import table
from seamless_interaction.record.digest import code_digest
from seamless_interaction.record.join import Join
from seamless_interaction.source.context import Context
from seamless_interaction.source.files import Source
from seamless_interaction.source.layout import parts_of
from seamless_interaction.source.recordings import Recording
from seamless_interaction.work.typed_json import load_as

ROW_GROUP_BYTES = 50_000_000
_TOO_LARGE = 300_000_000  # of a row group: what the Hub's viewer reads at most
_BLOCK = 1 << 23  # bytes of media that a request for a remote file fetches
_REQUESTS = 16


@cache
def code() -> str:
    """Changes when a module that has a part in a shard does."""
    return code_digest("publishing/*.py")


@dataclass(frozen=True)
class Sidecar:
    """What is known of a shard that is done.

    Attributes:
        shard: path of the file in the repository.
        key: of the plan for it, see ``ShardPlan.key``.
        identity: of the source as it was planned; if it is still the same, nothing has to be looked at.
        bytes, sha256: of the file.
        rows: how many; where there are none, as all recordings were left out, there is no file.
        num_bytes: of the rows in memory, as ``datasets`` counts.
        row_groups: bytes of each in the file.
        large: interactions that alone are a row group of more than 300 MB.
        input_files, input_bytes, inputs: what it was made of: how many files, how many bytes, and a digest of their
            names, sizes and ETags (or times).
        content: digest of all values, but addresses of videos. The same recordings give the same in any layout, unless
            one has an issue whose detail names a file.
        files: videos beside the shard: path, bytes, SHA-256.
        mtimes: of the shard and its videos, in nanoseconds: a file of another time is hashed before it counts as done.
        recordings: SHA-256 of its part of the table of recordings.
        skipped: recordings left out with ``on_error="skip"``, and why.
        issues: code -> recordings that have it.
        seconds: of all recordings.
        version, code: of this package, and a digest of it.
        took: seconds.
    """

    shard: str
    key: str
    identity: str
    bytes: int
    sha256: str
    rows: int
    num_bytes: int
    row_groups: list[int]
    large: list[str]
    input_files: int
    input_bytes: int
    inputs: str
    content: str
    files: list[dict[str, Any]]
    mtimes: dict[str, int]
    recordings: str
    skipped: list[dict[str, str]]
    issues: dict[str, int]
    seconds: float
    took: float
    version: str = __version__
    code: str = field(default_factory=code)


class Failure(NamedTuple):
    """A shard that was not made."""

    shard: str
    error: str


# --- what is done ---------------------------------------------------------------------------------


def _work_file(output: Path, shard: Shard, kind: str) -> Path:
    return output / WORK / kind / shard.path.removeprefix("data/").removesuffix(".parquet").replace("/", "-")


def sidecar_path(output: Path, shard: Shard) -> Path:
    return _work_file(output, shard, "done").with_suffix(".json")


def recordings_path(output: Path, shard: Shard) -> Path:
    """Where a shard's part of the table of recordings is kept."""
    return _work_file(output, shard, "recordings").with_suffix(".parquet")


def failure_path(output: Path, shard: Shard) -> Path:
    return _work_file(output, shard, "failed").with_suffix(".json")


def read_sidecar(output: Path, shard: Shard) -> Sidecar | None:
    """The sidecar of a shard; None if there is none that can be read."""
    try:
        return cast("Sidecar", load_as(Sidecar, sidecar_path(output, shard).read_bytes()))
    except (FileNotFoundError, ValueError):
        return None


def done(plan: ShardPlan, number: int, output: Path) -> Sidecar | None:
    """The sidecar of a shard that is there as the plan wants it; None if it is not.

    Contents are read again only of files that are not of the time that they were written at. The files that a shard was
    made of are looked at only if the source as a whole is another than it was then.
    """
    shard = plan.shards[number]
    found = read_sidecar(output, shard)
    if found is None or found.key != plan.key(number):
        return None
    # A shard of which nothing is left is no file: datasets 4.8 does not load a config with an empty one.
    files = [
        *([(shard.path, found.bytes, found.sha256)] if found.rows else []),
        *((file["file"], file["bytes"], file["sha256"]) for file in found.files),
    ]
    if not all(_is_unchanged(output / path, size, found.mtimes.get(path), sha256) for path, size, sha256 in files):
        return None
    if not _is_same(recordings_path(output, shard), found):
        return None
    if found.identity == plan.settings["identity"]:
        return found
    inputs = _inputs(_source(plan, os.getpid()), _recordings(plan, shard), plan.columns)
    return found if found.inputs == _digest_of(inputs) else None


def _is_same(path: Path, found: Sidecar) -> bool:
    """Whether a shard's part of the table of recordings, a small file, is as the sidecar says."""
    return path.exists() and sha256_of(path) == found.recordings


def input_bytes(plan: ShardPlan, numbers: list[int]) -> int:
    """Bytes of the files that shards are made of."""
    source = _source(plan, os.getpid())
    parts = [_inputs(source, _recordings(plan, plan.shards[number]), plan.columns) for number in numbers]
    return sum(size or 0 for part in parts for _, size, _ in part)


def _is_unchanged(path: Path, size: int, mtime_ns: int | None, sha256: str) -> bool:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return found.st_size == size and (found.st_mtime_ns == mtime_ns or sha256_of(path) == sha256)


def write_file(output: Path, name: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file of the repository, in the work folder, then rename it: a kill leaves nothing beside the shards."""
    partial = _begin(output, name)
    try:
        with ExitStack() as opened:
            with writing(output):
                file = opened.enter_context(open(partial, "wb"))
            write(file)
            with writing(output):
                file.flush()
                os.fsync(file.fileno())
        with writing(output):
            os.replace(partial, output / name)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _begin(output: Path, name: str) -> Path:
    """A new file in the work folder, to be renamed when it is whole, and the folder that it goes to then.

    Raises:
        TargetError: neither can be made, or one of their folders is a link.
    """
    partial = f"{WORK}/partial/{name.replace('/', '-')}-{secrets.token_hex(4)}"
    with writing(output):
        for path in (partial, name):
            if folders := posixpath.dirname(path):
                refuse_links(output, folders)
            (output / path).parent.mkdir(parents=True, exist_ok=True)
        create(output / partial).close()
    return output / partial


# --- making one -----------------------------------------------------------------------------------


def convert_shard(plan: ShardPlan, number: int, output: str | os.PathLike) -> Sidecar:
    """Make a shard, and its part of the table of recordings; copy its videos if the plan says so.

    The same plan and source give the same file. Nothing else is read or changed, so any number of shards can be made at
    a time, by any number of processes or machines.

    Args:
        plan: see ``plan_shards``.
        number: of the shard in it.
        output: the folder of the repository.

    Raises:
        SourceChanged: a file was written to since it was first looked at.
        SourceError: the source cannot be read.
        BadFile: with ``on_error="raise"``, a file that cannot be used.
        NotEnoughSpace, TargetError: the output cannot be written to.
        OSError: what was written came out different.
    """
    began = time.monotonic()
    output, shard = Path(output), plan.shards[number]
    source, context = _source(plan, os.getpid()), _context(plan, os.getpid())
    recordings = _recordings(plan, shard)
    before = _inputs(source, recordings, plan.columns)
    made = _Making(plan, shard, source, output)
    partial = _begin(output, shard.path)
    try:
        with writing(output):  # or with one of a former plan, and a new file as long as its own, it is done
            sidecar_path(output, shard).unlink(missing_ok=True)
        row_groups = made.write(recordings, context, partial)
        after = _inputs(source, recordings, plan.columns)
        if after != before:
            path = next(one[0] for one, other in zip(before, after, strict=True) if one != other)
            raise SourceChanged(
                f"{source.place.path(path)} changed while {shard.path} was made of it. When nobody writes to the "
                "source any more, start again."
            )
        with writing(output):
            part = made.write_recordings()
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            num_bytes, digest = partial.stat().st_size, sha256_of(partial)
            if made.rows:
                os.replace(partial, output / shard.path)
            else:
                num_bytes = 0
                (output / shard.path).unlink(missing_ok=True)
            sidecar = Sidecar(
                shard=shard.path,
                key=plan.key(number),
                identity=plan.settings["identity"],
                bytes=num_bytes,
                sha256=digest,
                rows=made.rows,
                num_bytes=made.num_bytes,
                row_groups=row_groups,
                large=[id for id, size in zip(made.alone, row_groups, strict=True) if id and size > _TOO_LARGE],
                input_files=sum(size is not None for _, size, _ in before),
                input_bytes=sum(size or 0 for _, size, _ in before),
                inputs=_digest_of(before),
                content=made.content.hexdigest(),
                files=made.files,
                mtimes={
                    path: (output / path).stat().st_mtime_ns
                    for path in [*([shard.path] if made.rows else []), *(file["file"] for file in made.files)]
                },
                recordings=part,
                skipped=made.skipped,
                issues=made.issues,
                seconds=made.seconds,
                took=time.monotonic() - began,
            )
            text = json.dumps(asdict(sidecar), indent=1).encode()
            write_whole(sidecar_path(output, shard), lambda file: file.write(text))
        return sidecar
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


@lru_cache(maxsize=1)
def _source(plan: ShardPlan, process: int) -> Source:
    """The plan's source, opened once in each process: what is open does not survive a fork."""
    return plan.open_source()


@lru_cache(maxsize=1)
def _context(plan: ShardPlan, process: int) -> Context | None:
    """Its tables, if a column of theirs is asked for."""
    strict = plan.settings["on_error"] == "raise"
    return Context(_source(plan, process).place, strict) if has_context(plan.columns) else None


def has_context(columns: tuple[str, ...]) -> bool:
    """Whether some of the columns are from the tables."""
    return any(column in columns for column in MODALITIES["context"])


def _recordings(plan: ShardPlan, shard: Shard) -> list[Recording]:
    rows = plan.recordings.slice(shard.start, shard.stop - shard.start).select(Recording._fields)
    return [Recording(**row) for row in rows.to_pylist()]


# Path, size and stamp of a file; None for one that is not there, as optional ones may be.
_Input = tuple[str, int | None, str]


def _inputs(source: Source, recordings: list[Recording], columns: tuple[str, ...]) -> list[_Input]:
    """The files that rows are made of, as they are now."""
    parts = parts_of(columns)
    located = (source.locate(recording, part) for recording in recordings for part in parts)
    paths = sorted({location.path for location in located if location})
    if has_context(columns):
        paths += [name for name in TABLES if name != "filelist.csv"]

    def look(path: str) -> _Input:
        try:
            entry = source.place.stat(path, is_sized=False)
        except (FileNotFoundError, AccessDenied):
            return path, None, ""
        return path, entry.size, entry.stamp

    if source.place.is_local:
        return [look(path) for path in paths]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(look, paths))


def _digest_of(inputs: list[_Input]) -> str:
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


class _Making:
    """A shard while it is made."""

    def __init__(self, plan: ShardPlan, shard: Shard, source: Source, output: Path):
        self._plan, self._source, self._output, self._shard = plan, source, output, shard
        self._features = recording_features(plan.columns)
        self._how = plan.settings["video"][plan.size_of(shard)]
        self._found: list[dict[str, Any]] = []  # rows of the table of recordings
        self.rows = self.num_bytes = 0
        self.content = hashlib.sha256()
        self.alone: list[str | None] = []  # of each row group: its interaction, if it has one only
        self.files: list[dict[str, Any]] = []
        self.skipped: list[dict[str, str]] = []
        self.issues: dict[str, int] = {}
        self.seconds = 0.0

    def write(self, recordings: list[Recording], context: Context | None, path: Path) -> list[int]:
        """Write the Parquet file and read it back; bytes of its row groups."""
        types = parquet.types_of(shard_features(self._plan.columns))
        with writing(self._output):
            writer = parquet.Writer(path, types)
        try:
            for interactions in _groups(self._interactions(recordings, context)):
                rows = [row for interaction in interactions for row in interaction]
                self.alone.append(rows[0]["interaction_id"] if len(interactions) == 1 else None)
                self.rows += len(rows)
                with writing(self._output):
                    writer.write(rows)
        finally:
            with writing(self._output):
                writer.close()
        for name in sorted(set(types.schema.names) - {"video"}):
            self.content.update(repr((name, [one for group in writer.digests for one in group[name]])).encode())
        self.num_bytes = writer.num_bytes
        return parquet.check(path, types, writer.digests)

    def _interactions(self, recordings: list[Recording], context: Context | None) -> Iterator[list[dict[str, Any]]]:
        """The rows of each interaction."""
        rows: list[dict[str, Any]] = []
        for files in self._source.files(recordings, parts_of(self._plan.columns)):
            join = Join(files, self._plan.columns, context)
            if join.errors and self._plan.settings["on_error"] == "raise":
                raise join.errors[0]
            if join.errors and self._plan.settings["on_error"] == "skip":
                self.skipped.append({"file_id": files.recording.file_id, "reason": str(join.errors[0])})
                continue
            row = self._row(files.recording, join.values)
            if rows and rows[0]["interaction_id"] != row["interaction_id"]:
                yield self._noted(rows)
                rows = []
            rows.append(row)
        if rows:
            yield self._noted(rows)

    def _noted(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of an interaction, after they went into the table of recordings."""
        size = self._plan.size_of(self._shard)
        found = [recording_row(row, size, self._features) for row in rows]
        for row in found:
            if row.get("video") is not None and row["video"]["bytes"] is not None:
                row["video"] = None  # it is in the shard
        if "video" in self._features and len(found) == 2:
            found[0]["partner_video"], found[1]["partner_video"] = found[1]["video"], found[0]["video"]
        self._found += found
        for row in rows:
            self.seconds += row["duration"] or 0.0
            for code in {issue["code"] for issue in row["issues"]}:
                self.issues[code] = self.issues.get(code, 0) + 1
        return rows

    def _row(self, recording: Recording, values: dict[str, Any]) -> dict[str, Any]:
        """A published row: the builder's, with its media."""
        columns, id = self._plan.columns, recording.file_id
        addresses = urls(self._plan.settings["media_url"], recording.label, recording.split, id)
        values |= {name: url for name, url in addresses.items() if name.removesuffix("_url") in columns}
        if values.get("audio") is not None:
            values["audio"] = self._audio(id, values["audio"]["path"])
        if values.get("video") is not None:
            values["video"] = self._video(id, values["video"]["path"])
        return values

    def _audio(self, id: str, path: str) -> dict[str, Any] | None:
        how = self._plan.settings["audio"]
        if how == "url":
            return None
        with open_file(path, self._source.place.storage_options, _BLOCK) as file:
            content = flac.encode(file) if how == "flac" else None
            if content is not None:
                return {"bytes": content, "path": f"{id}.flac"}
            file.seek(0)
            return {"bytes": file.read(), "path": f"{id}.wav"}

    def _video(self, id: str, path: str) -> dict[str, Any] | None:
        if self._how == "url":
            return None
        with open_file(path, self._source.place.storage_options, _BLOCK) as file:
            if self._how == "embed":
                return {"bytes": file.read(), "path": f"{id}.mp4"}
            name = video_file(id)
            digest = hashlib.sha256()

            def copy(target: Any) -> None:
                while content := file.read(_BLOCK):
                    digest.update(content)
                    with writing(self._output):
                        target.write(content)

            write_file(self._output, name, copy)
        size = (self._output / name).stat().st_size
        self.files.append({"file": name, "bytes": size, "sha256": digest.hexdigest()})
        return {"bytes": None, "path": video_path(self._plan.repo_id, id)}

    def write_recordings(self) -> str:
        """Write the shard's part of the table of recordings; its SHA-256."""
        path = recordings_path(self._output, self._shard)
        made = table(self._found, parquet.types_of(self._features))
        write_whole(path, lambda file: pq.write_table(made, file, compression="zstd"))
        return sha256_of(path)


def _groups(interactions: Iterator[list[dict[str, Any]]]) -> Iterator[list[list[dict[str, Any]]]]:
    """Interactions that share a row group: as many as have ``ROW_GROUP_BYTES``, or one that has more."""
    group: list[list[dict[str, Any]]] = []
    size = 0.0
    for rows in interactions:
        more = sum(_expected_bytes(row) for row in rows)
        if group and size + more > ROW_GROUP_BYTES:
            yield group
            group, size = [], 0.0
        group.append(rows)
        size += more
        del rows
    if group:
        yield group


def _expected_bytes(row: Mapping[str, Any]) -> float:
    arrays = sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))
    media = sum(len(row[name]["bytes"] or b"") for name in ("audio", "video") if row.get(name) is not None)
    return media + KEPT["arrays"] * arrays


# --- for executors --------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _loaded(output: Path, stamp: int, process: int, options: str) -> ShardPlan:
    return ShardPlan.load(output, json.loads(options))


def attempt(output: Path, number: int, storage_options: Mapping[str, Any] | None = None) -> Failure | None:
    """Make a shard of the plan that lies in the output. What goes wrong is written down there, and returned.

    Raises:
        NotEnoughSpace: there is no use in trying another one.
    """
    stamp = (output / WORK / "plan.parquet").stat().st_mtime_ns
    plan = _loaded(output, stamp, os.getpid(), json.dumps(dict(storage_options or {})))
    shard = plan.shards[number]
    try:
        convert_shard(plan, number, output)
    except NotEnoughSpace:
        raise
    except Exception as error:  # of one shard, whatever it is: the others go on, and the report names it
        kind = "" if isinstance(error, SeamlessInteractionError) else f"{type(error).__name__}: "
        return write_failure(output, shard, f"{kind}{error}")
    with suppress(FileNotFoundError):
        failure_path(output, shard).unlink()
    return None


def write_failure(output: Path, shard: Shard, error: str) -> Failure:
    """Write down that a shard was not made."""
    failure = Failure(shard.path, error)
    text = json.dumps(failure._asdict()).encode()
    with writing(output):
        write_whole(failure_path(output, shard), lambda file: file.write(text))
    return failure
