"""The tables beside the data: the file list, and the context of a conversation.

All cells are read as text and keys are brought to the form of the file ids, since ids like
``0844A`` and ``00000129`` do not survive being taken for numbers.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Callable
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from seamless_interaction import (
    DOUBLES,
    EVERY_MODALITY,
    FILE_ID,
    FILELIST_FLAGS,
    LABELS,
    MODALITY_ALIASES,
    SELECTION,
    SPLITS,
    TABLES,
    VENDORS,
)
from seamless_interaction.errors import BrokenTable, SourceNotFound
from seamless_interaction.places.cache import read_cached
from seamless_interaction.places.place import Place, file_at
from seamless_interaction.places.write import write_whole
from seamless_interaction.source.layout import PARTS, USUAL_PARTS, bits_of, parts_of

logger = logging.getLogger("seamless_interaction")

_Used = TypeVar("_Used")

csv.field_size_limit(1 << 24)  # a prompt is long; a column of a damaged file must still end


_NAMED_ROWS = 10  # of those that cannot be used, or contradict each other: how many a message names
_BYTES_OF_NO_TEXT = re.compile("[\udc00-\udcff]")  # as `surrogateescape` has them


def _columns(name: str) -> tuple[str, ...]:
    return {SELECTION: ("file_id",), DOUBLES: ("file_id", "actual_split", "actual_part")}.get(
        name, TABLES.get(name, TABLES["filelist.csv"])
    )


class Cells:
    """A CSV: its header, its rows, and what is wrong with single ones.

    Attributes:
        rows: those of text, with as many cells as the header.
        lines: the first and the last line of each of them.
        num_lines: of the table, without its header.
        last: number of its last line.
    """

    def __init__(self, path: str, header: list[str]):
        self.path, self.header = path, header
        self.rows: list[list[str]] = []
        self.lines: list[tuple[int, int]] = []
        self.num_lines = self.last = 0
        self._bad: dict[tuple[int, int], str] = {}  # lines of a row -> why it cannot be used

    def refuse(self, lines: tuple[int, int], why: str) -> None:
        """Remember that a row cannot be used; the first reason counts."""
        self._bad.setdefault(lines, why)

    @staticmethod
    def at(lines: tuple[int, int]) -> str:
        """``line 4``, or ``lines 4 to 9``"""
        first, last = lines
        return f"line {last}" if first == last else f"lines {first} to {last}"

    def is_usable(self, lines: tuple[int, int]) -> bool:
        """Whether nobody refused the row of these lines."""
        return lines not in self._bad

    @property
    def ends_within_a_row(self) -> bool:
        """Whether its last row cannot be used as it is."""
        return any(last == self.last for _, last in self._bad)

    def tell(self, strict: bool) -> None:
        """Name the rows that cannot be used in one warning.

        Raises:
            BrokenTable: the first of them, if ``strict``; or they are most of the table.
        """
        bad = sorted(self._bad.items())
        if bad:
            lines, why = bad[0]
            lost = sum(last - first + 1 for (first, last), _ in bad)
            if strict or 2 * lost > self.num_lines:
                share = f"; {lost:,} of its {self.num_lines:,} lines cannot be used" if lost > 1 else ""
                raise BrokenTable(f"{self.path}, {self.at(lines)}: {why}{share}. Fetch it again.")
            named = "; ".join(f"{self.at(lines)}: {why}" for lines, why in bad[:_NAMED_ROWS])
            more = f"; and {len(bad) - _NAMED_ROWS:,} more" if len(bad) > _NAMED_ROWS else ""
            logger.warning("%s: %d rows cannot be used and are left out: %s%s", self.path, len(bad), named, more)


def read_raw(place: Place, name: str) -> bytes | None:
    """A table's bytes; None if the place has none.

    Raises:
        BrokenTable: over HTTP, something else came than a table with its columns.
    """

    def checked(content: bytes) -> bytes:
        if place.is_http:
            _cells(place.path(name), name, content[: content.find(b"\n") + 1] or content)
        return content

    return read_cached(place, name, checked)


def read_cells(place: Place, name: str, use: Callable[[Cells], _Used]) -> _Used | None:
    """What ``use`` makes of a table; None if the place has none. What it refuses is fetched again next time.

    Raises:
        BrokenTable: not text, or columns missing; of a host, one that ends within a row; or whatever ``use`` raises.
    """

    def parse(content: bytes) -> _Used:
        found = _cells(place.path(name), name, content)
        if place.is_shared and not content.endswith((b"\n", b"\r")) and found.ends_within_a_row:
            raise BrokenTable(f"{found.path}: ends within its line {found.last}. Fetch it again.")
        return use(found)

    return read_cached(place, name, parse)


def _cells(path: str, name: str, content: bytes) -> Cells:
    # A NUL is no text either; and the module csv of Python 3.10 fails at it.
    text = content.replace(b"\0", b"\xff").decode("utf-8-sig", "surrogateescape")
    is_damaged = not text.isascii() and _BYTES_OF_NO_TEXT.search(text) is not None
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        header = next(reader, [])
        if is_damaged and _BYTES_OF_NO_TEXT.search("".join(header)):
            raise BrokenTable(f"{path}: not a CSV in UTF-8. Fetch it again.")
        missing = [column for column in _columns(name) if column not in header]
        if missing:
            raise BrokenTable(f"{path}: has no column {', '.join(missing)}; its header is {header}. Fetch it again.")
        found, width, before = Cells(path, header), len(header), reader.line_num
        of_header = before
        for cells in reader:
            last = reader.line_num
            lines, before = (before + 1, last), last
            if not cells:
                continue
            if len(cells) != width:
                found.refuse(lines, f"{len(cells)} cells, but the header has {width}")
            elif is_damaged and _BYTES_OF_NO_TEXT.search("".join(cells)):
                found.refuse(lines, "bytes that are no text in UTF-8")
            else:
                found.rows.append(cells)
                found.lines.append(lines)
        found.num_lines, found.last = before - of_header, before
        return found
    except csv.Error as error:
        raise BrokenTable(f"{path}: not a CSV ({error}). Fetch it again.") from error


# --- the file list --------------------------------------------------------------------------------

FILELIST = pa.schema(
    [
        *((name, pa.string()) for name in ("file_id", "label", "split")),
        *((name, pa.int32()) for name in ("batch_idx", "archive_idx")),
        *((name, pa.bool_()) for name in FILELIST_FLAGS),
    ]
)


_NUMBER = r"^([0-9]{1,9})(?:\.0+)?$"  # tools that take columns for numbers write 0 as 0.0
_FLAGS = {"1": True, "1.0": True, "True": True, "0": False, "0.0": False, "False": False, "": None}


def read_filelist(place: Place, name: str = "filelist.csv", strict: bool = False) -> pa.Table | None:
    """The file list, one row a recording; None if the place has none.

    Rows that cannot be used are left out, with a warning that names them. Of rows with the same id one counts: the one
    that ``diff.csv`` beside the list names, else the first; those that contradict each other are named.

    Args:
        strict: raise instead of leaving anything out.

    Returns:
        The columns of ``FILELIST``; flags are null where the list, as the oldest, has none.

    Raises:
        BrokenTable: no list, or most of its rows cannot be used; with ``strict``, an id, label, split or number that
            cannot be, or rows of one id that contradict each other, of which ``diff.csv`` names none.
    """
    return read_cells(place, name, partial(_filelist, place, strict))


def _filelist(place: Place, strict: bool, found: Cells) -> pa.Table:
    columns = zip(*found.rows, strict=True) if found.rows else [()] * len(found.header)
    cells = {name: pa.array(values, pa.string()) for name, values in zip(found.header, columns, strict=True)}
    ids = cells["file_id"]

    def check(good: pa.Array, what: str, column: str) -> None:
        """Refuse the rows whose cells are not good."""
        for row in np.flatnonzero(~np.asarray(good, bool)).tolist():
            of = "" if column == "file_id" else f" of {ids[row].as_py()!r}"
            found.refuse(found.lines[row], f"{what.format(repr(cells[column][row].as_py()))}{of}")

    check(pc.match_substring_regex(ids, f"^{FILE_ID}$"), "not a file id: {}", "file_id")
    check(
        pc.is_in(pc.utf8_slice_codeunits(ids, 0, len(VENDORS[0])), pa.array(VENDORS)),
        "no vendor of ours: {}",
        "file_id",
    )
    for column, known in (("label", LABELS), ("split", SPLITS)):
        check(pc.is_in(cells[column], pa.array(known)), f"{column} {{}} is none of {', '.join(known)}", column)
    for column in ("batch_idx", "archive_idx"):
        check(pc.match_substring_regex(cells[column], _NUMBER), f"{column} {{}}, not a number", column)
    for flag in FILELIST_FLAGS:
        values = cells.setdefault(flag, pa.array([""] * len(ids), pa.string()))
        check(pc.is_in(values, pa.array(list(_FLAGS))), f"{flag} {{}}, neither 0 nor 1", flag)
    found.tell(strict)
    rows = [row for row, lines in enumerate(found.lines) if found.is_usable(lines)]
    if not rows:
        raise BrokenTable(f"{found.path}: names no recording. Fetch it again, or remove it.")
    kept = {column: cells[column].take(pa.array(rows)) for column in FILELIST.names}
    for column in ("batch_idx", "archive_idx"):
        kept[column] = pc.replace_substring_regex(kept[column], _NUMBER, r"\1").cast(pa.int32())
    for flag in FILELIST_FLAGS:
        kept[flag] = pa.array(list(_FLAGS.values()), pa.bool_()).take(pc.index_in(kept[flag], pa.array(list(_FLAGS))))
    listed = pa.table(kept, schema=FILELIST)
    if pc.count_distinct(listed["file_id"]).as_py() == len(listed):
        return listed
    return _without_doubles(place, found, listed, [found.lines[row] for row in rows], strict)


def _without_doubles(
    place: Place, found: Cells, listed: pa.Table, lines: list[tuple[int, int]], strict: bool
) -> pa.Table:
    """One row for each id. Raises ``BrokenTable`` if ``strict``, and nothing tells which row counts."""
    rows_of: dict[str, list[int]] = {}
    for row, file_id in enumerate(listed["file_id"].to_pylist()):
        rows_of.setdefault(file_id, []).append(row)
    counting = _counting_places(place)
    dropped: list[int] = []
    contradicting: list[str] = []
    told = 0
    twice = {file_id: rows for file_id, rows in rows_of.items() if len(rows) > 1}
    for file_id, rows in twice.items():
        values = listed.take(rows).to_pylist()
        kept = rows[0]
        if any(value != values[0] for value in values):
            where = " and ".join(found.at(lines[row]) for row in rows)
            places = [(value["split"], value["label"]) for value in values]
            if counting.get(file_id) in places:
                kept, told = rows[places.index(counting[file_id])], told + 1
            elif strict:
                raise BrokenTable(
                    f"{found.path}, {where}: {file_id} stands twice, and differs. Keep the row that counts."
                )
            contradicting.append(f"{file_id} in {where}, of which {found.at(lines[kept])} counts")
        dropped += (row for row in rows if row != kept)
    message = f"{len(twice):,} ids stand twice. The first row of each counts"
    message += f", but for {told:,} the one that {DOUBLES} names." if told else "."
    if contradicting:
        more = f"; and {len(contradicting) - _NAMED_ROWS:,} more" if len(contradicting) > _NAMED_ROWS else ""
        named = "; ".join(contradicting[:_NAMED_ROWS])
        message += f" Rows of {len(contradicting):,} contradict each other: {named}{more}."
    logger.warning("%s: %s", found.path, message)
    return listed.take(np.delete(np.arange(len(listed)), dropped))


def _counting_places(place: Place) -> dict[str, tuple[str, str]]:
    """Split and label of the row that counts, by id, as ``diff.csv`` has them; empty if the place has none."""

    def counting(found: Cells) -> dict[str, tuple[str, str]]:
        id, split, label = (found.header.index(column) for column in _columns(DOUBLES))
        return {row[id]: (row[split], row[label]) for row in found.rows}

    try:
        return read_cells(place, DOUBLES, counting) or {}
    except BrokenTable as error:
        logger.warning("%s Continuing without it.", error)
        return {}


def read_filelist_file(
    path: str | os.PathLike[str], storage_options: dict[str, Any] | None = None, strict: bool = False
) -> pa.Table:
    """A file list anywhere, by path or URL. As ``read_filelist``.

    Raises:
        BrokenTable, SourceNotFound
    """
    place, name = file_at(os.fspath(path), storage_options)
    found = read_filelist(place, name, strict)
    if found is None:
        raise SourceNotFound(
            f"{place.path(name)} does not exist. It must be a file list, such as the dataset's filelist.csv."
        )
    return found


def write_filelist(filelist: pa.Table) -> bytes:
    """A file list as CSV: the columns of ``FILELIST``, flags as 0 and 1, empty where the list does not say."""
    flags = {flag: filelist[flag].cast(pa.int8()) for flag in FILELIST_FLAGS}
    columns = [flags.get(name, filelist[name]) for name in FILELIST.names]
    output = pa.BufferOutputStream()
    options = pa_csv.WriteOptions(quoting_style="none")
    pa_csv.write_csv(pa.table(columns, FILELIST.names), output, options)
    return output.getvalue().to_pybytes()


# --- the selection --------------------------------------------------------------------------------

# What a partial copy is meant to hold; `parts` has a bit for each part, in the order of PARTS.
MEANT = pa.schema([("file_id", pa.string()), ("parts", pa.int64())])

_USUAL = bits_of(USUAL_PARTS)

# What a cell of `modalities` may name: modalities and single parts.
_NAMED = {part: bits_of([part]) for part in PARTS}
_NAMED |= {name: bits_of(parts_of(columns)) for name, columns in EVERY_MODALITY.items()}
_NAMED |= {alias: _NAMED[name] for alias, name in MODALITY_ALIASES.items()}


def read_selection(place: Place) -> pa.Table | None:
    """What ``selection.csv`` says that a partial copy is meant to hold: ``MEANT``; None if the place has none.

    An empty cell of ``modalities``, or no such column, is everything but ``movement_v4``.

    Raises:
        BrokenTable: a modality that does not exist, or an id that stands twice.
    """
    return read_cells(place, SELECTION, _meant)


def _meant(found: Cells) -> pa.Table:
    found.tell(strict=True)
    column = found.header.index("file_id")
    names = found.header.index("modalities") if "modalities" in found.header else None
    meant: dict[str, int] = {}
    for cells, lines in zip(found.rows, found.lines, strict=True):
        where = f"{found.path}, {found.at(lines)}"
        asked = [] if names is None else cells[names].split()
        unknown = [name for name in asked if name not in _NAMED]
        if unknown:
            raise BrokenTable(
                f"{where}: {unknown[0]!r} of {cells[column]!r} is no modality. Known: {', '.join(EVERY_MODALITY)}, and "
                "single arrays. Correct the line, or make the copy again."
            )
        if cells[column] in meant:
            raise BrokenTable(f"{where}: {cells[column]} stands twice. Keep the row that counts.")
        meant[cells[column]] = reduce(or_, (_NAMED[name] for name in asked)) if asked else _USUAL
    return pa.table([list(meant), list(meant.values())], schema=MEANT)


def write_selection(path: Path, table: pa.Table) -> None:
    """Write ``selection.csv``, from the columns of ``MEANT``. What ``read_selection`` reads of it is the same."""
    parts = table["parts"].combine_chunks().dictionary_encode()
    names = pa.array([_names_of(bits) for bits in parts.dictionary.to_pylist()], pa.string()).take(parts.indices)
    options = pa_csv.WriteOptions(quoting_style="none")
    cells = pa.table({"file_id": table["file_id"], "modalities": names})
    write_whole(path, lambda file: pa_csv.write_csv(cells, file, options))


def _names_of(bits: int) -> str:
    """The fewest names of parts and modalities that say the same; none for what nobody has to name."""
    if bits == _USUAL:
        return ""
    names = [name for name in EVERY_MODALITY if _NAMED[name] and not _NAMED[name] & ~bits]
    rest = bits & ~bits_of(part for name in names for part in parts_of(EVERY_MODALITY[name]))
    names += [part for part in PARTS if _NAMED[part] & rest]
    return " ".join(names or ["context"])  # the one that has no part


def selected(place: Place, filelist: pa.Table, meant: pa.Table | None) -> pa.Table:
    """The rows that a selection (``read_selection``) of the place names; without one, all."""
    if meant is None:
        return filelist
    wanted = meant["file_id"].combine_chunks()
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, filelist["file_id"].combine_chunks())))
    if len(unknown):
        logger.warning(
            "%s: %d file ids in it are not in the file list (%s)", place.path(SELECTION), len(unknown), unknown[0]
        )
    return filelist.filter(pc.is_in(filelist["file_id"], wanted))


# --- context --------------------------------------------------------------------------------------
