"""The index: one portable Parquet table of what lies where in a place, and what it is.

One row a recording. Whoever has it needs no listing, opens no archive to look for something, and no
media to know their length; ``indexing`` makes it.

=========================== ======================================================================
column                      meaning
=========================== ======================================================================
those of ``FILELIST``       file id, label, split, batch and archive, flags
``files``                   which files are there, a bit each; see ``layout.FOUND``
``archive``                 path of the tar, its size, and its ETag or modification time
``archive_issue``           why the rest of the tar cannot be read
a part, ``json``, ``npz``   where it lies: offset and length in bytes, and of an array in an NPZ, whose
                            offset is that of its local header, compression (0 stored, 8 DEFLATE) and
                            CRC-32, which of a file of its own is that of its ETag or modification time;
                            null if it is not there
``probed``                  whether the following, and the arrays of an NPZ, were looked at
``duration`` … ``audio_…``  headers of video and audio
``issues``                  column (or ``json``, ``npz``), code and detail of what is broken
=========================== ======================================================================
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seamless_interaction import FILE_ID, LABELS, SPLITS
from seamless_interaction.errors import (
    AccessDenied,
    BadFile,
    BrokenIndex,
    SourceError,
    SourceUnreachable,
    StaleIndex,
    UsageError,
)
from seamless_interaction.formats.audio import AudioHeader
from seamless_interaction.formats.mp4 import VideoHeader
from seamless_interaction.formats.parquet import DAMAGED
from seamless_interaction.places.cache import drop, local_copy
from seamless_interaction.places.options import redacted
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import write_whole
from seamless_interaction.source.layout import DIRECTORIES, LAYOUTS, MEMBERS, PARTS
from seamless_interaction.source.listing import Listing, tables_identity
from seamless_interaction.source.recordings import Recording, recordings, without_what_is_not_meant
from seamless_interaction.source.tables import FILELIST, read_selection
from seamless_interaction.work.typed_json import load_as, read_as

VERSION = 2
METADATA = b"seamless_interaction"  # key of what an index says of itself
ROWS = 2048  # of a row group: what is read to know one recording; and each takes memory, in the footer
_ASKED_FOR = 8  # recordings, to know whether a remote place is the one that was indexed
_KEPT = 4  # row groups in memory

SPAN = pa.struct([("offset", pa.int64()), ("length", pa.int64()), ("compression", pa.int8()), ("crc32", pa.uint32())])
SPANS = (*PARTS, "json", "npz")
ISSUE = pa.struct([("column", pa.string()), ("code", pa.string()), ("detail", pa.string())])
SCHEMA = pa.schema(
    [
        *FILELIST,
        ("files", pa.int64()),
        ("archive", pa.string()),
        ("archive_bytes", pa.int64()),
        ("archive_stamp", pa.string()),
        ("archive_issue", pa.string()),
        *((name, SPAN) for name in SPANS),
        ("probed", pa.bool_()),
        *((name, pa.float64()) for name in ("duration", "fps", "pixel_aspect_ratio")),
        *((name, pa.int64()) for name in ("num_frames", "width", "height")),
        ("audio_duration", pa.float64()),
        *((f"audio_{name}", pa.int64()) for name in ("sampling_rate", "num_samples", "num_channels")),
        ("issues", pa.list_(ISSUE)),
    ]
)
_CORE = [*FILELIST.names, "files"]  # what is in memory as long as the index is open
_WHERE = FILELIST.names[:5]  # whose a row is, and where: the first fields of Recording
_ALWAYS = [*_WHERE, *(name for name in SCHEMA.names if name not in (*_CORE, *SPANS, "archive"))]
_MAX_BYTES = 1 << 60  # of a file: sums of offsets stay within 64 bits
_ERRORS = {error.code: error for error in BadFile.__subclasses__()}


class Span(NamedTuple):
    """Where something lies in a file; compression of arrays in an NPZ only, CRC-32 of these, or of a file's stamp."""

    offset: int
    length: int
    compression: int | None = None
    crc32: int | None = None


def stamp_number(stamp: str) -> int:
    """What the index keeps of a file's stamp, see ``places.Entry``."""
    return zlib.crc32(stamp.encode())


class Known(NamedTuple):
    """What the index tells of one recording."""

    spans: dict[str, Span]  # of the parts asked for
    problems: dict[str, BadFile]  # by column, or "json", or "npz"
    probed: bool = False
    video: VideoHeader | None = None
    audio: AudioHeader | None = None
    archive_bytes: int | None = None
    archive_stamp: str | None = None


class _Metadata(NamedTuple):
    """What an index says of itself, see ``write``."""

    version: int
    url: str
    layout: str
    aliases: dict[str, str]
    identity: str
    notes: list[str]


class Index:
    """An index that is open: a few columns in memory, the others read a few hundred rows at a time.

    Args:
        path: of the Parquet file, local or a URL.
    Attributes:
        url, layout, aliases: of the place it was made of.
        identity: changes with its content.

    Raises:
        BrokenIndex: not an index, or of another version.
        SourceUnreachable: not there.
    """

    def __init__(self, path: str | Path):
        self._given, self.path = str(path), redacted(str(path))
        self._opened: tuple[int, pq.ParquetFile] | None = None
        self._copy: Path | None = None  # of a remote one
        metadata = self._metadata()
        self.url, self.layout, self.aliases = metadata.url, LAYOUTS[metadata.layout], metadata.aliases
        self.identity = metadata.identity
        self._notes = metadata.notes
        self._groups: OrderedDict[tuple[int, tuple[str, ...]], pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def _file(self) -> pq.ParquetFile:
        """Opened once in each process: those forked from one share the position in what it had opened."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                copy = local_copy(self._given, self._open)
            except SourceError:
                raise
            except OSError as error:
                raise SourceUnreachable(f"{self.path}: {error}") from error
            self._copy, self._opened = copy if "://" in self._given else None, (os.getpid(), self._open(copy))
        return self._opened[1]

    def _open(self, path: Path) -> pq.ParquetFile:
        # Arrow's own file: one of Python's, whose bytes Arrow's threads free, can abort an exit of Python.
        file = pa.OSFile(str(path))
        try:
            return pq.ParquetFile(file, page_checksum_verification=True)
        except DAMAGED as error:
            raise BrokenIndex(f"{self.path}: not an index: {error}. {_AGAIN}") from error

    def _read(self, columns: Sequence[str], group: int | None = None) -> pa.Table:
        file = self._file
        try:
            return file.read(list(columns)) if group is None else file.read_row_group(group, list(columns))
        except DAMAGED as error:
            if self._copy:
                drop(self._copy)
            raise BrokenIndex(f"{self.path}: damaged: {error}. {_AGAIN}") from error

    def _metadata(self) -> _Metadata:
        file = self._file
        try:
            schema = file.schema_arrow
            if METADATA not in (schema.metadata or {}):
                raise ValueError("some other table")
            found = load_as(dict[str, Any], schema.metadata[METADATA])
            if found.get("version") != VERSION:
                raise ValueError(f"of version {found.get('version')}, and this package reads {VERSION}")
            metadata = cast("_Metadata", read_as(_Metadata, found, "its metadata"))
            if metadata.layout not in LAYOUTS or not set(metadata.aliases.values()) <= DIRECTORIES:
                raise ValueError("of an unknown layout")
            if not schema.equals(SCHEMA):
                raise ValueError("has other columns")
            return metadata
        except ValueError as error:
            raise BrokenIndex(f"{self.path}: not an index of recordings ({error}). {_AGAIN}") from error

    @cached_property
    def found(self) -> pa.Table:
        """File list and ``files`` of all recordings, ordered by split and file id, and the number of each row."""
        table = self._read(_CORE).combine_chunks()
        good = pc.match_substring_regex(table["file_id"], f"^{FILE_ID}$")
        for name, known in (("label", LABELS), ("split", SPLITS)):
            good = pc.and_(good, pc.is_in(table[name], pa.array(known)))
        for name in ("batch_idx", "archive_idx", "files"):
            good = pc.and_(good, pc.greater_equal(table[name], 0))
        if not pc.all(pc.fill_null(good, False), min_count=0).as_py():
            raise BrokenIndex(f"{self.path}: has rows that name no recording. {_AGAIN}")
        return table.append_column("row", pa.array(np.arange(len(table))))

    def lengths(self, part: str) -> np.ndarray:
        """Bytes of a member, or of an array as it is packed, of each row; -1 where there is none."""
        return np.asarray(pc.fill_null(pc.struct_field(self._read([part])[part].combine_chunks(), "length"), -1))

    def durations(self) -> np.ndarray:
        """Seconds of each row, of the video, else of the audio; NaN where it was not looked, or there is neither."""
        columns = self._read(["duration", "audio_duration"])
        seconds = pc.coalesce(columns["duration"], columns["audio_duration"])
        return np.asarray(pc.fill_null(seconds.combine_chunks(), np.nan))

    def is_sound(self, archives: Iterable[str]) -> bool:
        """Whether each of these archives has recordings, and nothing was found to be wrong with any."""
        table = self._read(["archive", "issues"])
        is_any = pc.any(pc.greater(pc.list_value_length(table["issues"]), 0)).as_py()
        return not is_any and not self.archive_issues() and {*archives} <= {*table["archive"].unique().to_pylist()}

    def archive_issues(self) -> list[str]:
        """Why archives, or parts of them, could not be read, once each."""
        issues = self._read(["archive_issue"])[0].unique().to_pylist()
        return [*self._notes, *(issue for issue in issues if issue)]

    def listing(self, place: Place, layout: str | None = None) -> Listing:
        """What the index says a place holds, which is the one it was made of or a copy. It is the file list, too.

        Raises:
            UsageError: the place is said to be in another layout than the index.
            StaleIndex: another place, which has none of the recordings.
        """
        if layout not in (None, self.layout.name):
            raise UsageError(f"layout is {layout!r}, and {self.path} is of {self.layout.name}. Leave one out.")
        ids = self.found["file_id"]
        if len(set(ids.to_pylist())) < len(ids):
            raise BrokenIndex(f"{self.path}: has recordings twice. {_AGAIN}")
        if place.url != self.url and not self._is_of(place):
            raise StaleIndex(
                f"{self.path} was made of {self.url}, and {place.url} has none of the files that it names. Name the "
                "index of this place, or make one."
            )
        identity = f"{self.identity} {tables_identity(place)}"
        return Listing(place, self.layout, self.found, self.aliases, {}, identity, ())

    def _is_of(self, place: Place) -> bool:
        """Whether a place has any of the recordings, as far as it is meant to; of a remote one, a few are asked for."""
        meant = read_selection(place)
        here, _ = recordings(self.found, self.found, self.found, self.layout, meant)
        if meant is not None:
            here = without_what_is_not_meant(here, self.layout)
        here = here.filter(pc.greater(here["files"], 0))
        if not place.is_local:
            here = here.take(np.linspace(0, len(here) - 1, min(len(here), _ASKED_FOR)).astype(np.int64))
        rows = (row for batch in here.to_batches(ROWS) for row in batch.to_pylist())
        try:
            return not len(here) or any(place.exists(path) for row in rows for path in self._files(Recording(**row)))
        except AccessDenied:  # some hosts say so of what is missing
            return True

    def _files(self, recording: Recording) -> Iterable[str]:
        locations = (self.layout.locate(recording, part, self.aliases) for part in PARTS)
        return dict.fromkeys(location.path for location in locations if location)

    def known(self, recording: Recording, parts: tuple[str, ...]) -> Known:
        """What the index tells of a recording, for these parts.

        Raises:
            StaleIndex: the file is another one than that in which the recording was found.
            BrokenIndex: the row cannot be.
        """
        files = {self.layout.column_of(part) for part in parts}
        media = () if self.layout.in_tars else ("video", "audio")  # of which the headers tell, asked for or not
        names = (*(name for name in SPANS if name in parts or name in files or name in media), *_ALWAYS)
        values = self._row(recording.row or 0, names)
        if values is None or [values[name] for name in _WHERE] != list(recording[: len(_WHERE)]):
            raise StaleIndex(
                f"{self.path} was made again since {recording.file_id} was found in it. Load the dataset again."
            )
        try:
            spans = {name: Span(**values[name]) for name in names if name in SPANS and values[name] is not None}
            problems = {
                issue["column"]: _ERRORS[issue["code"]](recording.file_id, issue["detail"])
                for issue in values["issues"] or []
            }
            if self.layout.in_tars:
                _check_members(recording.files, spans, problems, files)
            _check_spans(spans, values["archive_bytes"] if self.layout.in_tars else _MAX_BYTES)
            return Known(
                spans,
                problems,
                bool(values["probed"]),
                _header(VideoHeader, "", values),
                _header(AudioHeader, "audio_", values),
                values["archive_bytes"],
                values["archive_stamp"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenIndex(f"{self.path}: {recording.file_id}: {error}. {_AGAIN}") from error

    def _row(self, row: int, names: tuple[str, ...]) -> dict[str, Any] | None:
        group = int(np.searchsorted(self._ends, row, "right"))
        if group == len(self._ends):
            return None
        key = (group, names)
        with self._lock:  # `datasets` 5 generates in several threads when it shuffles
            if key not in self._groups:
                self._groups[key] = self._read(names, group)
                if len(self._groups) > _KEPT:
                    self._groups.popitem(last=False)
            table = self._groups[key]
        try:
            (values,) = table.slice(row - (int(self._ends[group]) - len(table)), 1).to_pylist()
        except ValueError as error:  # not UTF-8
            raise BrokenIndex(f"{self.path}: damaged: {error}. {_AGAIN}") from error
        return values

    @cached_property
    def _ends(self) -> np.ndarray:
        """The row that each row group ends before."""
        metadata = self._file.metadata
        return np.cumsum([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)])


def _check_members(files: int, spans: dict[str, Span], problems: dict[str, BadFile], columns: set[str]) -> None:
    for bit, column in enumerate(MEMBERS.values()):
        if files >> bit & 1 and column in columns and column not in spans and column not in problems:
            raise ValueError(f"its {column} lies nowhere")


def _check_spans(spans: dict[str, Span], num_bytes: int) -> None:
    for name, span in spans.items():
        if min(span.offset, span.length, span.crc32 or 0) < 0 or span.offset + span.length > num_bytes:
            raise ValueError(f"its {name} lies at byte {span.offset} to {span.offset + span.length} of {num_bytes}")


def _header(kind: Any, prefix: str, values: dict[str, Any]) -> Any:
    """The header of media; None if the index has none."""
    header = kind(*(values[f"{prefix}{name}"] for name in kind._fields))
    if all(field is None for field in header):
        return None
    if None in header or (kind is VideoHeader and not (0 <= header.width < 1 << 31 and 0 <= header.height < 1 << 31)):
        raise ValueError(f"a header of media of {header}")
    return header


_AGAIN = "Make it again: seamless-interaction index SOURCE -o FILE"


def write(table: pa.Table, path: Path, listing: Listing, notes: Sequence[str] = ()) -> None:
    """Write an index, ordered by split and file id: the recordings that are read together stand together.

    ``notes`` tell what is wrong with archives that have no row.
    """
    order = ("split", "file_id", "label", "batch_idx", "archive_idx")
    table = table.sort_by([(name, "ascending") for name in order]).combine_chunks().cast(SCHEMA)
    options = {"row_group_size": ROWS, "compression": "zstd", "write_statistics": False, "write_page_checksum": True}
    # Unlike Arrow's, Parquet's bytes do not depend on how the table came about. Plain, they take a third of the time.
    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="none", use_dictionary=False, write_statistics=False)
    identity = hashlib.sha256(content.getvalue()).hexdigest()
    metadata = _Metadata(VERSION, listing.place.url, listing.layout.name, listing.aliases, identity, list(notes))
    table = table.replace_schema_metadata({METADATA: json.dumps(metadata._asdict())})
    write_whole(path, lambda file: pq.write_table(table, file, **options))
