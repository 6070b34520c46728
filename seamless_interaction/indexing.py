"""Making the index: of all of a place, or silently of the tars that are about to be read.

It can be killed at any time. What was looked at lies in ``FILE.parts`` until the index is whole, and
is not looked at again.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.caching import BlockCache

from seamless_interaction import ARRAYS, FILELIST_FLAGS, local_cache
from seamless_interaction.audio import AudioHeader
from seamless_interaction.errors import AccessDenied, BadFile, BrokenIndex, SourceNotFound, SourceUnreachable
from seamless_interaction.files import HEADER_BLOCK
from seamless_interaction.index import SCHEMA, SPANS, Index, Known, Span, write
from seamless_interaction.layouts import EXTENSIONS, PARTS, Listing, archive_paths, assumed, is_file_id, scan
from seamless_interaction.mp4 import VideoHeader
from seamless_interaction.parts import Files, Source
from seamless_interaction.places import Entry, Place
from seamless_interaction.recordings import Recording, locate, recordings, rows_of, spots
from seamless_interaction.tables import FILELIST
from seamless_interaction.tars import contents

logger = logging.getLogger("seamless_interaction")

_REQUESTS = 16  # archives, or groups of recordings, of a remote place that are looked at at a time
_GROUP = 32  # recordings, where they do not lie in archives
_FLUSH_SECONDS, _FLUSH_UNITS = 10.0, 64
_NPY_HEADER = 128  # bytes of an NPY before its values, as NumPy writes it: an array of no more has no rows
_WHERE = FILELIST.names[:5]  # whose the row is, and where
_GONE = Entry("", False, -1, "")

# File of a bundle -> its column in the index, and a part that lies in it.
_MEMBERS = dict(
    zip(EXTENSIONS, (("audio", "audio"), ("video", "video"), ("npz", next(iter(ARRAYS))), ("json", "vad")), strict=True)
)

Row = dict[str, Any]
Unit = Callable[[], list[Row]]  # what is looked at in one go
Progress = Callable[[int, int], object]


def make_index(
    place: Place,
    output: Path,
    filelist: pa.Table | None = None,
    layout: str | None = None,
    progress: Progress = lambda done, of: None,
) -> Index:
    """Look at every recording of a place: where it lies, the headers of its media, the directories of its arrays.

    An index that is there already is brought up to date: archives that did not change are not opened.

    Args:
        place: of any kind and layout.
        output: the Parquet file to write.
        filelist: ``tables.FILELIST``; what it does not name is left out, and what the place lacks has a row that
            says so. None: whatever the place holds.
        layout: as for ``layouts.scan``.
        progress: called with the number of archives, or groups of recordings, that are done, and of all.

    Raises:
        SourceError: the place, as a whole, cannot be read.
    """
    listing = scan(place, layout)
    if filelist is None and not place.can_be_listed:
        raise SourceNotFound(f"{place.url} cannot be listed, so it takes a file list to know what it holds.")
    archives = _named(listing, filelist)
    before = _before(output, archives, listing.identity, probed=True)
    if listing.layout == "archives":
        units = _archive_units(place, archives, before, probe=True)
    else:
        units = _file_units(listing, filelist, before)
    rows = _look(units, before, output, listing, progress)
    write(rows if filelist is None else _listed(rows, filelist, listing.layout), output, listing)
    shutil.rmtree(_parts(output), ignore_errors=True)
    return Index(output)


def silent_index(listing: Listing, selected: pa.Table | None) -> Index:
    """Where members lie in the archives that hold the selected recordings (None: in all), kept in the cache.

    Only headers are read, and only of archives that are new or have another size, ETag or time.
    """
    output = local_cache.folder() / "archives" / f"{local_cache.key(listing.place.url)}.parquet"
    archives = _named(listing, selected)
    before = _before(output, archives, listing.identity, probed=False)
    units = _archive_units(listing.place, archives, before, probe=False)
    if units or before is None:
        write(_look(units, before, output, listing), output, listing)
        shutil.rmtree(_parts(output), ignore_errors=True)
    return Index(output)


def _named(listing: Listing, filelist: pa.Table | None) -> dict[str, Entry]:
    """The archives that a file list names; in a place that cannot be listed they are asked for."""
    if filelist is None or listing.layout != "archives":
        return listing.archives
    paths = archive_paths(filelist).unique().to_pylist()
    if listing.place.can_be_listed:
        return {path: listing.archives[path] for path in paths if path in listing.archives}
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return dict(zip(paths, pool.map(listing.place.stat, paths), strict=True))


# --- what was done before, and what is done now ---------------------------------------------------


def _parts(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def _before(output: Path, archives: dict[str, Entry], identity: str, probed: bool) -> pa.Table | None:
    """Rows of the index that is there, and of one that was not finished, as far as nothing changed since."""
    tables = []
    made = output.stat().st_mtime_ns if output.exists() else 0
    for path in [output, *sorted(_parts(output).glob("*.parquet"))]:
        if not path.exists() or path.stat().st_mtime_ns < made:  # parts that a killed run did not tidy up
            continue
        try:
            Index(path)
            tables.append(pq.read_table(path).replace_schema_metadata(None))
        except (BrokenIndex, SourceUnreachable, pa.ArrowInvalid, OSError):
            logger.warning("%s is not an index, or damaged. It is made again.", path)
    if not tables:
        return None
    table = pa.concat_tables(tables)
    # Files of their own are as they were if the whole place is.
    now = [
        archives.get(path, _GONE) if path else Entry("", False, 0, identity) for path in table["archive"].to_pylist()
    ]
    same = pc.and_(
        pc.equal(table["archive_bytes"], pa.array([entry.size for entry in now], pa.int64())),
        pc.equal(table["archive_stamp"], pa.array([entry.stamp for entry in now], pa.string())),
    )
    return table.filter(pc.fill_null(pc.and_(same, pc.or_(table["probed"], not probed)), False))


def _look(
    units: list[Unit],
    before: pa.Table | None,
    output: Path,
    listing: Listing,
    progress: Progress = lambda done, of: None,
) -> pa.Table:
    """The rows of all units, and those from before. What is done is written down every few seconds."""
    tables = [] if before is None else [before]
    rows: list[Row] = []
    flushed = time.monotonic()
    pool = ThreadPoolExecutor((os.cpu_count() or 1) if listing.place.is_local else _REQUESTS)
    try:
        for done, found in enumerate(pool.map(lambda unit: unit(), units), 1):
            rows += found
            progress(done, len(units))
            if rows and (done % _FLUSH_UNITS == 0 or time.monotonic() - flushed > _FLUSH_SECONDS):
                tables.append(pa.Table.from_pylist(rows, SCHEMA))
                write(tables[-1], _parts(output) / f"{time.time_ns()}.parquet", listing)
                rows, flushed = [], time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)
    return pa.concat_tables([*tables, pa.Table.from_pylist(rows, SCHEMA)])


def _listed(rows: pa.Table, filelist: pa.Table, layout: str) -> pa.Table:
    """The rows that the file list names, with its flags; and a row for what is not there."""
    here = pc.index_in(spots(filelist, layout), spots(rows, layout))
    found = rows.take(here.drop_null())
    listed = filelist.filter(here.is_valid())
    for flag in FILELIST_FLAGS:
        found = found.set_column(SCHEMA.get_field_index(flag), SCHEMA.field(flag), listed[flag])
    lacking = [
        {**row, "files": 0, "probed": True, "issues": [_issue("", "missing", "not in the source")]}
        for row in filelist.filter(here.is_null()).to_pylist()
    ]
    return pa.concat_tables([found, pa.Table.from_pylist(lacking, SCHEMA)])


# --- archives -------------------------------------------------------------------------------------


def _archive_units(place: Place, archives: dict[str, Entry], before: pa.Table | None, probe: bool) -> list[Unit]:
    done = set() if before is None else set(before["archive"].unique().to_pylist())
    return [partial(_archive_rows, place, path, entry, probe) for path, entry in archives.items() if path not in done]


def _archive_rows(place: Place, path: str, entry: Entry, probe: bool) -> list[Row]:
    """A row for each recording in an archive."""
    label, split, batch, archive = path.removesuffix(".tar").split("/")
    if probe and not place.is_local:
        place = _Blockwise(place, entry.size)
    found = contents(lambda start, end: place.read(path, start, end), entry.size, place.path(path))
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
        row = rows.setdefault(
            file_id,
            {
                **dict(zip(_WHERE, (file_id, label, split, int(batch), int(archive)), strict=True)),
                "files": 0,
                "archive": path,
                "archive_bytes": entry.size,
                "archive_stamp": entry.stamp,
                "probed": False,
                "issues": [],
            },
        )
        column = _MEMBERS[extension][0]
        row["files"] |= 1 << EXTENSIONS.index(extension)
        if error is not None:
            row["issues"].append(_issue(column, error.code, error.reason))
        elif member is not None:
            row[column] = {"offset": member.offset, "length": member.size}
    if strangers:
        notes.append(f"not read, as their names are no recordings': {', '.join(map(repr, strangers[:5]))}")
    if notes:
        issue = f"{place.path(path)}: {'; '.join(notes)}"
        for row in rows.values():
            row["archive_issue"] = issue
        if not rows:
            logger.warning("%s", issue)
    if probe:
        for row in rows.values():
            _probe(Source(place, "archives"), row)
    return list(rows.values())


class _Blockwise(Place):
    """A remote place from one file of which much is read in small pieces that lie near each other."""

    def __init__(self, place: Place, size: int):
        self.__dict__.update(place.__dict__)
        self._size = size
        self._blocks: BlockCache | None = None

    def read(self, relative: str, start: int = 0, end: int | None = None) -> bytes:
        if self._blocks is None:
            fetch = partial(super().read, relative)
            self._blocks = BlockCache(HEADER_BLOCK, fetch, self._size)
        return bytes(self._blocks._fetch(start, min(self._size if end is None else end, self._size)))


# --- files of their own ---------------------------------------------------------------------------


def _file_units(listing: Listing, filelist: pa.Table | None, before: pa.Table | None) -> list[Unit]:
    place = listing.place
    found = assumed(listing.layout, filelist) if filelist is not None and not place.can_be_listed else listing.found
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


def _file_rows(source: Source, group: list[Recording], identity: str) -> list[Row]:
    members = [(part, part) for part in PARTS] if source.layout == "tree" else list(_MEMBERS.values())
    rows = []
    for recording in group:
        row: Row = {
            **dict(zip(_WHERE, recording, strict=False)),
            "files": 0,
            "archive_bytes": 0,
            "archive_stamp": identity,
            "probed": False,
            "issues": [],
        }
        refused = ""
        for bit, (column, part) in enumerate(members):
            location = locate(source.layout, source.aliases, recording, part)
            try:
                if location:
                    row[column] = {"offset": 0, "length": source.place.stat(location.path).size}
                    row["files"] |= 1 << bit
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
    return rows


# --- looking at one recording ---------------------------------------------------------------------


def _probe(source: Source, row: Row) -> None:
    """Add what the headers of its media and the directory of its arrays say."""
    known = Known(
        {name: Span(span["offset"], span["length"]) for name in SPANS if (span := row.get(name))},
        {issue["column"]: BadFile("", "") for issue in row["issues"]},
        *(False, None, None, None, None),
    )
    recording = Recording(
        file_id=row["file_id"],
        label=row["label"],
        split=row["split"],
        batch=row["batch_idx"],
        archive=row["archive_idx"],
        files=row["files"],
        row=None,
        partner=None,
        partner_is_here=False,
        has_annotation_1p=None,
        has_annotation_3p=None,
    )

    def note(column: str, error: BadFile) -> None:
        if column not in known.problems:
            row["issues"].append(_issue(column, error.code, error.reason))

    with Files(source, recording, known) as files:
        for part, header, prefix in (("video", VideoHeader, ""), ("audio", AudioHeader, "audio_")):
            try:
                values = files.get(part) or ()
                row.update({f"{prefix}{name}": value for name, value in zip(header._fields, values, strict=False)})
            except BadFile as error:
                note(part, error)
        if source.layout != "tree" and row["files"] >> EXTENSIONS.index(".npz") & 1:
            _probe_arrays(files, row, note)
    row["probed"] = True


def _probe_arrays(files: Files, row: Row, note: Callable[[str, BadFile], None]) -> None:
    start = row["npz"]["offset"] if row.get("npz") else 0
    try:
        npz = files.npz()
    except BadFile as error:
        note("npz", error)
        return
    for key in ARRAYS:
        packed = npz.members.get(f"{key}.npy")
        if packed is None:
            continue
        row[key] = {**packed._asdict(), "offset": start + packed.offset}
        if npz.num_bytes[f"{key}.npy"] <= _NPY_HEADER:
            row["issues"].append(_issue(key, "empty", f"{key} has no frames"))


def _issue(column: str, code: str, detail: str) -> dict[str, str]:
    return {"column": column, "code": code, "detail": detail}
