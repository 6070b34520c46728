"""Making the index: of all of a place, or silently of the tars that are about to be read.

It can be killed at any time. What was looked at lies in ``FILE.parts`` until the index is whole, and
is not looked at again.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.caching import BlockCache

from seamless_interaction import ARRAYS, EVERY_ARRAY, FILELIST_FLAGS
from seamless_interaction.errors import (
    AccessDenied,
    BadFile,
    BrokenIndex,
    SourceNotFound,
    SourceUnreachable,
    UsageError,
    add_issue,
)
from seamless_interaction.formats.audio import AudioHeader
from seamless_interaction.formats.mp4 import VideoHeader
from seamless_interaction.formats.parquet import DAMAGED
from seamless_interaction.formats.tar import Contents, contents
from seamless_interaction.places import cache
from seamless_interaction.places.entry import Entry
from seamless_interaction.places.place import Place
from seamless_interaction.places.ranges import HEADER_BLOCK
from seamless_interaction.places.write import local_path, require_writable
from seamless_interaction.source.files import Files, Source
from seamless_interaction.source.index import (
    METADATA,
    SCHEMA,
    SPANS,
    VERSION,
    Index,
    Known,
    Span,
    stamp_number,
    write,
)
from seamless_interaction.source.layout import EXTENSIONS, MEMBERS, PARTS, Layout, archive_paths, is_file_id
from seamless_interaction.source.listing import Listing, scan
from seamless_interaction.source.recordings import Recording, recordings, rows_of
from seamless_interaction.source.tables import FILELIST

logger = logging.getLogger("seamless_interaction")

_REQUESTS = 16  # archives, or groups of recordings, of a remote place that are looked at at a time
_GROUP = 32  # recordings, where they do not lie in archives
_FLUSH_SECONDS, _FLUSH_UNITS = 10.0, 64
_NPY_HEADER = 128  # bytes of an NPY before its values, as NumPy writes it: an array of no more has no rows
_WHERE = FILELIST.names[:5]  # whose the row is, and where
_GONE = Entry("", False, -1, "")

_SILENT = 16  # silent indexes kept of a place: of several selections, and of what was there before it changed

Row = dict[str, Any]


class Looked(NamedTuple):
    """What looking at something in one go found."""

    rows: list[Row]
    note: str | None = None  # what is wrong with an archive that has no row to say so


Unit = Callable[[], Looked]
OnProgress = Callable[[int, int], object]


def make_index(
    place: Place,
    output: Path,
    filelist: pa.Table | None = None,
    layout: str | None = None,
    progress: OnProgress = lambda done, of: None,
) -> Index:
    """Look at every recording of a place: where it lies, the headers of its media, the directories of its arrays.

    An index that is there already is brought up to date: archives that did not change are not opened.

    Args:
        place: of any kind and layout.
        output: the Parquet file to write.
        filelist: ``tables.FILELIST``; what it does not name is left out, and what the place lacks has a row that
            says so. None: whatever the place holds.
        layout: as for ``listing.scan``.
        progress: called with the number of archives, or groups of recordings, that are done, and of all.

    Raises:
        UsageError: ``output`` is something else, which would be overwritten.
        TargetError: it cannot be written.
        DuplicateFileId: an id lies in two places, and no file list says which one counts.
        SourceError: the place, as a whole, cannot be read.
    """
    output = local_path(output)
    _refuse_to_overwrite(output)
    require_writable(output)
    listing = scan(place, layout)
    if filelist is None and not place.can_be_listed:
        raise SourceNotFound(f"{place.url} cannot be listed, so it takes a file list to know what it holds.")
    archives = _named(listing, filelist)
    parts = output.with_name(f"{output.name}.parts")
    before = _before([output, *_files(parts)], listing, archives, probed=True)
    if listing.layout.in_tars:
        units = _archive_units(listing, archives, before, probe=True)
    else:
        units = _file_units(listing, filelist, before)
    rows, notes = _look(units, before, parts, listing, progress)
    if filelist is None:
        rows_of(rows, place.url)
    else:
        rows = _listed(rows, filelist, listing.layout)
    write(rows, output, listing, notes)
    shutil.rmtree(parts, ignore_errors=True)
    return Index(output)


def silent_index(listing: Listing, selected: pa.Table | None) -> Index:
    """Where members lie in the archives that hold the selected recordings (None: in all), kept in the cache.

    Only headers are read, and only of archives that are new or have another size, ETag or time. A file in the cache
    is of these archives as they are now, and never changes: who began with it can go on. What was wrong with archives
    of a remote place is looked at again: it may have been a bad moment of the host.
    """
    archives = _named(listing, selected)
    folder = cache.folder() / "archives" / cache.key(f"{VERSION} {listing.place.url}")
    output = folder / f"{cache.key(repr(sorted(archives.items())))}.parquet"
    with suppress(SourceUnreachable, BrokenIndex, FileNotFoundError):  # another process may tidy up
        index = Index(output)
        if index.found is not None and (listing.place.is_local or index.is_sound(archives)):  # and can be read
            os.utime(output)
            return index
    others = sorted(_files(folder), key=_modified, reverse=True)
    before = _before([*others, *_files(folder / "parts")], listing, archives, probed=False)
    rows, notes = _look(_archive_units(listing, archives, before, probe=False), before, folder / "parts", listing)
    write(rows, output, listing, notes)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    for path in others[_SILENT - 1 :]:
        path.unlink(missing_ok=True)
    return Index(output)


def _named(listing: Listing, filelist: pa.Table | None) -> dict[str, Entry]:
    """The archives that a file list names, and that are there; in a place that cannot be listed they are asked for.

    Raises:
        AccessDenied: the host refuses all of them.
    """
    if filelist is None or not listing.layout.in_tars:
        return listing.archives
    paths = archive_paths(filelist).unique().to_pylist()
    if listing.place.can_be_listed:
        return {path: listing.archives[path] for path in paths if path in listing.archives}
    refusals = []

    def stat(path: str) -> Entry | None:
        try:
            return listing.place.stat(path)
        except FileNotFoundError:
            return None
        except AccessDenied as error:  # some hosts say so of what is missing
            refusals.append(error)
            return None

    with ThreadPoolExecutor(_REQUESTS) as pool:
        found = dict(zip(paths, pool.map(stat, paths), strict=True))
    here = {path: entry for path, entry in found.items() if entry}
    if refusals and not here:
        raise refusals[0]
    return here


# --- what was done before, and what is done now ---------------------------------------------------


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process tidied up
        return 0.0


def _refuse_to_overwrite(output: Path) -> None:
    """An index, or what is left of one, is made again; whatever else there is, nobody meant."""
    if output.is_dir():
        raise UsageError(f"{output} is a folder. Name the file to write.")
    if not output.exists() or not output.stat().st_size:
        return
    with open(output, "rb") as file:
        is_other = file.read(4) != b"PAR1"
    with suppress(*DAMAGED):
        is_other = is_other or METADATA not in (pq.read_schema(output).metadata or {})
    if is_other:
        raise UsageError(f"{output} is there and no index. Name another file, or remove it.")


def _before(paths: Iterable[Path], listing: Listing, archives: dict[str, Entry], probed: bool) -> pa.Table | None:
    """Rows of indexes that are there, and of ones that were not finished, as far as nothing changed since."""
    tables = []
    done: set[str] = set()  # archives, or files of their own
    for path in paths:
        try:
            index = Index(path)
            if (index.url, index.layout) != (listing.place.url, listing.layout):
                continue
            table = pq.read_table(path, page_checksum_verification=True).replace_schema_metadata(None)
        except (BrokenIndex, SourceUnreachable, *DAMAGED):
            if path.exists():  # another process may have tidied up
                logger.warning("%s is not an index, or damaged. It is made again.", path)
            continue
        units = pc.coalesce(table["archive"], table["file_id"])
        table = table.filter(pc.and_(_unchanged(table, listing, archives, probed), pc.invert(_is_in(units, done))))
        done |= set(pc.coalesce(table["archive"], table["file_id"]).to_pylist())
        tables.append(table)
    return pa.concat_tables(tables) if tables else None


def _is_in(values: pa.ChunkedArray, known: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(values, pa.array(known, pa.string()))


def _unchanged(table: pa.Table, listing: Listing, archives: dict[str, Entry], probed: bool) -> pa.ChunkedArray:
    """Which rows are of what is there now. Files of their own are as they were if the whole place is.

    Of a remote place, what was wrong with an archive or a file may have been the host's, and it is looked at again.
    """
    now = [
        archives.get(path, _GONE) if path else Entry("", False, 0, listing.identity)
        for path in table["archive"].to_pylist()
    ]
    same = pc.and_(
        pc.equal(table["archive_bytes"], pa.array([entry.size for entry in now], pa.int64())),
        pc.equal(table["archive_stamp"], pa.array([entry.stamp for entry in now], pa.string())),
    )
    if not listing.place.is_local:
        units = pc.coalesce(table["archive"], table["file_id"])
        is_wrong = pc.or_(pc.is_valid(table["archive_issue"]), pc.greater(pc.list_value_length(table["issues"]), 0))
        same = pc.and_(same, pc.invert(_is_in(units, units.filter(pc.fill_null(is_wrong, False)).to_pylist())))
    return pc.fill_null(pc.and_(same, pc.or_(table["probed"], not probed)), False)


def _look(
    units: list[Unit],
    before: pa.Table | None,
    parts: Path,
    listing: Listing,
    progress: OnProgress = lambda done, of: None,
) -> tuple[pa.Table, list[str]]:
    """The rows of all units and those from before, and the notes. What is done is written down every few seconds."""
    tables = [] if before is None else [before]
    rows: list[Row] = []
    notes: list[str] = []
    flushed = time.monotonic()
    pool = ThreadPoolExecutor((os.cpu_count() or 1) if listing.place.is_local else _REQUESTS)
    try:
        for done, looked in enumerate(pool.map(lambda unit: unit(), units), 1):
            rows += looked.rows
            notes += [looked.note] if looked.note else []
            progress(done, len(units))
            if rows and (done % _FLUSH_UNITS == 0 or time.monotonic() - flushed > _FLUSH_SECONDS):
                tables.append(pa.Table.from_pylist(rows, SCHEMA))
                with suppress(FileNotFoundError):  # another process, which did the same, was done and tidied up
                    write(tables[-1], parts / f"{time.time_ns()}-{os.getpid()}.parquet", listing)
                rows, flushed = [], time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)
    return pa.concat_tables([*tables, pa.Table.from_pylist(rows, SCHEMA)]), notes


def _listed(rows: pa.Table, filelist: pa.Table, layout: Layout) -> pa.Table:
    """The rows that the file list names, with its flags; and a row for what is not there."""
    here = pc.index_in(layout.spots(filelist), layout.spots(rows))
    found = rows.take(here.drop_null())
    listed = filelist.filter(here.is_valid())
    for flag in FILELIST_FLAGS:
        found = found.set_column(SCHEMA.get_field_index(flag), SCHEMA.field(flag), listed[flag])
    lacking = [
        {
            **row,
            "files": 0,
            "probed": True,
            "issues": [{"column": "", "code": "missing", "detail": "not in the source"}],
        }
        for row in filelist.filter(here.is_null()).to_pylist()
    ]
    return pa.concat_tables([found, pa.Table.from_pylist(lacking, SCHEMA)])


# --- archives -------------------------------------------------------------------------------------


def _archive_units(listing: Listing, archives: dict[str, Entry], before: pa.Table | None, probe: bool) -> list[Unit]:
    done = set() if before is None else set(before["archive"].unique().to_pylist())
    here = listing.place, listing.layout
    return [partial(_archive_rows, *here, path, entry, probe) for path, entry in archives.items() if path not in done]


def _archive_rows(place: Place, layout: Layout, path: str, entry: Entry, probe: bool) -> Looked:
    """A row for each recording in an archive."""

    def look() -> tuple[Place, Contents]:
        seen = _Blockwise(place, entry.size) if probe and not place.is_local else place
        return seen, contents(partial(seen.read, path, within=True, of=entry), entry.size, place.path(path))

    try:
        seen, found = look()
        if (found.problems or not found.members) and not place.is_local:  # it may be of the way here
            with place.fetched_anew():
                again = look()
            seen, found = min((seen, found), again, key=lambda one: (not one[1].members, len(one[1].problems)))
    except FileNotFoundError:
        return Looked([], f"{place.path(path)}: gone since it was listed")
    rows, notes = _member_rows(path, entry, found)
    issue = f"{path}: {'; '.join(notes)}" if notes else None
    for row in rows:
        row["archive_issue"] = issue
        if probe:
            _probe(Source(seen, layout), row)
    return Looked(rows, None if rows else issue)


def _member_rows(path: str, entry: Entry, found: Contents) -> tuple[list[Row], list[str]]:
    """A row for each recording of which an archive has members, and what is wrong with the archive."""
    label, split, batch, archive = path.removesuffix(".tar").split("/")
    rows: dict[str, Row] = {}
    notes = [error.reason for name, error in found.problems if not name]
    strangers = []
    for name, member, error in [
        *((member.name, member, None) for member in found.members),
        *((name, None, error) for name, error in found.problems if name),
    ]:
        file_id, extension = os.path.splitext(name)
        if extension not in EXTENSIONS or not is_file_id(file_id):
            strangers.append(name)
            continue
        where = (file_id, label, split, int(batch), int(archive))
        row = rows.setdefault(file_id, _row(where, path, entry.size, entry.stamp))
        column = MEMBERS[extension]
        row["files"] |= 1 << EXTENSIONS.index(extension)
        if error is not None:
            add_issue(row["issues"], column, error.code, error.reason)
        elif member is not None:
            row[column] = {"offset": member.offset, "length": member.size}
    if strangers:
        notes.append(f"not read, as their names are no recordings: {', '.join(map(repr, strangers[:5]))}")
    return list(rows.values()), notes


def _row(where: Iterable[Any], archive: str | None, num_bytes: int, stamp: str) -> Row:
    """A row of a recording of which no file was found yet."""
    return {
        **dict(zip(_WHERE, where, strict=False)),
        "files": 0,
        "archive": archive,
        "archive_bytes": num_bytes,
        "archive_stamp": stamp,
        "probed": False,
        "issues": [],
    }


class _Blockwise(Place):
    """A remote place from one file of which much is read in small pieces that lie near each other."""

    def __init__(self, place: Place, size: int):
        super().__init__(place.url, place.storage_options)
        self._size = size
        self._blocks: BlockCache | None = None

    def read(
        self, relative: str, start: int = 0, end: int | None = None, *, of: Entry | None = None, **how: Any
    ) -> bytes:
        if self._blocks is None:
            read = super().read

            def fetch(start: int, end: int) -> bytes:
                return read(relative, start, min(end, self._size), within=True, of=of)

            self._blocks = BlockCache(HEADER_BLOCK, fetch, self._size)
        return bytes(self._blocks._fetch(start, min(self._size if end is None else end, self._size)))


# --- files of their own ---------------------------------------------------------------------------


def _file_units(listing: Listing, filelist: pa.Table | None, before: pa.Table | None) -> list[Unit]:
    place = listing.place
    found = listing.layout.assumed(filelist) if filelist is not None and not place.can_be_listed else listing.found
    names = rows_of(found, place.url) if filelist is None else filelist
    joined, gaps = recordings(found, names, names, listing.layout)
    if gaps.strays:
        logger.warning("%s: %d recordings are not in the file list (%s)", place.url, len(gaps.strays), gaps.strays[0])
    done = set() if before is None else set(before["file_id"].to_pylist())
    todo = [row for row in joined.to_pylist() if row["file_id"] not in done]
    source = Source(place, listing.layout, listing.aliases)
    return [
        partial(_file_rows, source, [Recording(**row) for row in todo[start : start + _GROUP]], listing.identity)
        for start in range(0, len(todo), _GROUP)
    ]


def _file_rows(source: Source, group: list[Recording], identity: str) -> Looked:
    members = {source.layout.column_of(part): part for part in PARTS}
    rows = []
    for recording in group:
        row = _row(recording, None, 0, identity)
        refused = ""
        for column, part in members.items():
            location = source.layout.locate(recording, part, source.aliases)
            try:
                if location:
                    entry = source.place.stat(location.path)
                    row[column] = {"offset": 0, "length": entry.size, "crc32": stamp_number(entry.stamp)}
                    row["files"] |= 1 << source.layout.files.index(source.layout.file_of(part))
            except FileNotFoundError:
                continue
            except AccessDenied:
                if source.place.can_be_listed:
                    raise
                refused = part
        if refused and not row["files"]:
            source.is_there(recording, refused)  # or raises that the host refuses everything
        if row["files"]:
            _probe(source, row)
            rows.append(row)
    return Looked(rows)


# --- looking at one recording ---------------------------------------------------------------------


def _probe(source: Source, row: Row) -> None:
    """Add what the headers of its media and the directory of its arrays say."""
    known = Known(
        {name: Span(span["offset"], span["length"]) for name in SPANS if (span := row.get(name))},
        {issue["column"]: BadFile("", "") for issue in row["issues"]},
    )
    recording = Recording(*(row[name] for name in (*_WHERE, "files")))

    def note(column: str, error: BadFile) -> None:
        if column not in known.problems:
            add_issue(row["issues"], column, error.code, error.reason)

    with Files(source, recording, known) as files:
        for part, header, prefix in (("video", VideoHeader, ""), ("audio", AudioHeader, "audio_")):
            try:
                values = files.get(part) or ()
                row.update({f"{prefix}{name}": value for name, value in zip(header._fields, values, strict=False)})
            except BadFile as error:
                note(part, error)
        if source.layout.is_packed and source.layout.has(row["files"], next(iter(ARRAYS))):
            _probe_arrays(files, row, note)
    row["probed"] = True


def _probe_arrays(files: Files, row: Row, note: Callable[[str, BadFile], None]) -> None:
    start = row["npz"]["offset"] if row.get("npz") else 0
    try:
        npz = files.npz()
    except BadFile as error:
        note("npz", error)
        return
    for key in EVERY_ARRAY:
        try:
            packed = npz.packed(f"{key}.npy")
        except BadFile as error:
            note(key, error)
            continue
        if packed is None:
            continue
        row[key] = {**packed._asdict(), "offset": start + packed.offset}
        if npz.num_bytes[f"{key}.npy"] <= _NPY_HEADER:
            add_issue(row["issues"], key, "empty", f"{key} has no frames")
