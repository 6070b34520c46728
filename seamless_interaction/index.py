"""The index: one portable Parquet table of what lies where in a place, and what it is.

One row a recording. Whoever has it needs no listing, opens no archive to look for something, and no
media to know their length; ``indexing`` makes it.

=========================== ======================================================================
column                      meaning
=========================== ======================================================================
those of ``FILELIST``       file id, label, split, batch and archive, flags
``files``                   which files are there, a bit each; see ``layouts.FOUND``
``archive``                 path of the tar, its size, and its ETag or modification time
``archive_issue``           why the rest of the tar cannot be read
a part, ``json``, ``npz``   where it lies: offset and length in bytes, and of an array in an NPZ, whose
                            offset is that of its local header, compression (0 stored, 8 DEFLATE) and
                            CRC-32; null if it is not there
``probed``                  whether the following, and the arrays of an NPZ, were looked at
``duration`` … ``audio_…``  headers of video and audio
``issues``                  column (or ``json``, ``npz``), code and detail of what is broken
=========================== ======================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seamless_interaction import FILE_ID, LABELS, SPLITS
from seamless_interaction.audio import AudioHeader
from seamless_interaction.errors import BadFile, BrokenIndex, SourceUnreachable
from seamless_interaction.layouts import BUNDLE, LAYOUTS, PARTS, TREE, Listing, tables_identity
from seamless_interaction.local_cache import write_whole
from seamless_interaction.mp4 import VideoHeader
from seamless_interaction.places import Place
from seamless_interaction.recordings import Recording
from seamless_interaction.tables import FILELIST

VERSION = 1
ROWS = 2048  # of a row group: what is read to know one recording; and each takes memory, in the footer
_KEPT = 4  # row groups in memory
_METADATA = b"seamless_interaction"

SPAN = pa.struct([("offset", pa.int64()), ("length", pa.int64()), ("compression", pa.int8()), ("crc32", pa.uint32())])
SPANS = (*PARTS, "json", "npz")
_ISSUE = pa.struct([("column", pa.string()), ("code", pa.string()), ("detail", pa.string())])
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
        ("issues", pa.list_(_ISSUE)),
    ]
)
_CORE = [*FILELIST.names, "files"]  # what is in memory as long as the index is open
_ALWAYS = [name for name in SCHEMA.names if name not in (*_CORE, *SPANS, "archive")]
_ERRORS = {error.code: error for error in BadFile.__subclasses__()}


class Span(NamedTuple):
    """Where something lies in a file; the last two of arrays in an NPZ only."""

    offset: int
    length: int
    compression: int | None = None
    crc32: int | None = None


class Known(NamedTuple):
    """What the index tells of one recording."""

    spans: dict[str, Span]  # of the parts asked for
    problems: dict[str, BadFile]  # by column, or "json", or "npz"
    probed: bool
    video: VideoHeader | None
    audio: AudioHeader | None
    archive_bytes: int | None
    archive_stamp: str | None


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
        self.path = str(path)
        try:
            self._file = pq.ParquetFile(fsspec.open(self.path).open())
        except pa.ArrowInvalid as error:
            raise BrokenIndex(f"{self.path}: not an index: {error}. {_AGAIN}") from error
        except (OSError, ValueError, ImportError) as error:
            raise SourceUnreachable(f"{self.path}: {error}") from error
        metadata = self._metadata()
        self.url, self.layout, self.aliases = metadata["url"], metadata["layout"], metadata["aliases"]
        self.identity = metadata["identity"]
        self._groups: OrderedDict[tuple[int, tuple[str, ...]], pa.Table] = OrderedDict()

    def _metadata(self) -> dict[str, Any]:
        try:
            metadata = json.loads((self._file.schema_arrow.metadata or {})[_METADATA])
            known = {name for _, directories in TREE.values() for name in directories}
            if metadata["version"] != VERSION:
                raise ValueError(f"of version {metadata['version']}, and this package reads {VERSION}")
            if metadata["layout"] not in LAYOUTS or not set(metadata["aliases"].values()) <= known:
                raise ValueError("of an unknown layout")
            if not self._file.schema_arrow.equals(SCHEMA):
                raise ValueError("has other columns")
            return metadata
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise BrokenIndex(f"{self.path}: not an index of recordings ({error}). {_AGAIN}") from error

    @cached_property
    def found(self) -> pa.Table:
        """File list and ``files`` of all recordings, ordered by split and file id, and the number of each row."""
        try:
            table = self._file.read(columns=_CORE, use_threads=True).combine_chunks()
        except (OSError, pa.ArrowInvalid) as error:
            raise BrokenIndex(f"{self.path}: damaged: {error}. {_AGAIN}") from error
        ids = table["file_id"]
        good = pc.match_substring_regex(ids, f"^{FILE_ID}$")
        for name, known in (("label", LABELS), ("split", SPLITS)):
            good = pc.and_(good, pc.is_in(table[name], pa.array(known)))
        for name in ("batch_idx", "archive_idx", "files"):
            good = pc.and_(good, pc.greater_equal(table[name], 0))
        if not pc.all(pc.fill_null(good, False)).as_py() or len(set(ids.to_pylist())) < len(ids):
            raise BrokenIndex(f"{self.path}: has rows that name no recording, or one twice. {_AGAIN}")
        return table.append_column("row", pa.array(np.arange(len(table))))

    def archive_issues(self) -> list[str]:
        """Why parts of archives could not be read, once each."""
        return [issue for issue in self._file.read(columns=["archive_issue"])[0].unique().to_pylist() if issue]

    def listing(self, place: Place) -> Listing:
        """What the index says a place holds, which is the one it was made of or a copy."""
        identity = f"{self.identity} {tables_identity(place)}"
        return Listing(place, self.layout, self.found, self.aliases, {}, identity, ())

    def known(self, recording: Recording, parts: tuple[str, ...]) -> Known:
        """What the index tells of a recording, for these parts."""
        file_id, row = recording.file_id, recording.row or 0
        files = set() if self.layout == "tree" else {BUNDLE[part][0][1:] for part in parts}
        names = (*(name for name in SPANS if name in parts or name in files), *_ALWAYS)
        group, at = divmod(row, ROWS)
        key = (group, names)
        if key not in self._groups:
            try:
                self._groups[key] = self._file.read_row_group(group, columns=list(names))
            except (OSError, pa.ArrowInvalid) as error:
                raise BrokenIndex(f"{self.path}: damaged: {error}. {_AGAIN}") from error
            if len(self._groups) > _KEPT:
                self._groups.popitem(last=False)
        (values,) = self._groups[key].slice(at, 1).to_pylist()
        spans = {name: Span(**values[name]) for name in names if name in SPANS and values[name] is not None}
        if any(span.offset is None or span.length is None or min(span[:2]) < 0 for span in spans.values()):
            raise BrokenIndex(f"{self.path}: {file_id} lies nowhere. {_AGAIN}")
        return Known(
            spans,
            {
                issue["column"]: _ERRORS.get(issue["code"], BadFile)(file_id, issue["detail"])
                for issue in values["issues"] or []
            },
            bool(values["probed"]),
            None if values["num_frames"] is None else VideoHeader(*(values[name] for name in VideoHeader._fields)),
            None
            if values["audio_duration"] is None
            else AudioHeader(*(values[f"audio_{name}"] for name in AudioHeader._fields)),
            values["archive_bytes"],
            values["archive_stamp"],
        )


_AGAIN = "Make it again: seamless-interaction index SOURCE -o FILE"


def write(table: pa.Table, path: Path, listing: Listing) -> None:
    """Write an index, ordered by split and file id: the recordings that are read together stand together."""
    table = table.sort_by([("split", "ascending"), ("file_id", "ascending")]).combine_chunks()
    digest = hashlib.sha256()
    for batch in table.to_batches():
        digest.update(batch.serialize())
    metadata = {
        "version": VERSION,
        "url": listing.place.url,
        "layout": listing.layout,
        "aliases": listing.aliases,
        "identity": digest.hexdigest(),
    }
    table = table.cast(SCHEMA.with_metadata({_METADATA: json.dumps(metadata)}))
    write_whole(
        path, lambda file: pq.write_table(table, file, row_group_size=ROWS, compression="zstd", write_statistics=False)
    )
