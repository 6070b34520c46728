"""The tables beside the data: the file list, and the context of a conversation.

All cells are read as text and keys are brought to the form of the file ids, since ids like
``0844A`` and ``00000129`` do not survive being taken for numbers.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from seamless_interaction import (
    FILE_ID,
    FILELIST_FLAGS,
    LABELS,
    MODALITIES,
    MODALITY_ALIASES,
    SELECTION,
    SPLITS,
    TABLES,
    TRAITS,
    FileId,
)
from seamless_interaction.errors import BrokenTable, SourceNotFound
from seamless_interaction.layouts import EVERY_PART, PARTS, bits_of, parts_of
from seamless_interaction.local_cache import read_cached, write_whole
from seamless_interaction.places import Place

logger = logging.getLogger("seamless_interaction")

csv.field_size_limit(1 << 24)  # a prompt is long; a column of a damaged file must still end


def _columns(name: str) -> tuple[str, ...]:
    return ("file_id",) if name == SELECTION else TABLES.get(name, TABLES["filelist.csv"])


def _read_cells(place: Place, name: str) -> tuple[list[str], list[list[str]], list[int]] | None:
    """Header, rows, and the line that each row ends on; None if the place has no such table.

    Raises:
        BrokenTable: not text, columns missing, or a row with more or fewer cells than the header.
    """
    content = read_cached(place, name)
    if content is None:
        return None
    path = place.path(name)
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        header = next(reader, [])
        missing = [column for column in _columns(name) if column not in header]
        if missing:
            raise BrokenTable(f"{path}: has no column {', '.join(missing)}; its header is {header}. Fetch it again.")
        rows, lines = [], []
        for cells in reader:
            if len(cells) != len(header) and cells:
                where = f"{path}, line {reader.line_num}"
                raise BrokenTable(f"{where}: {len(cells)} cells, but the header has {len(header)}. Fetch it again.")
            if cells:
                rows.append(cells)
                lines.append(reader.line_num)
        return header, rows, lines
    except (UnicodeDecodeError, csv.Error) as error:
        raise BrokenTable(f"{path}: not a CSV in UTF-8 ({error}). Fetch it again.") from error


# --- the file list --------------------------------------------------------------------------------

FILELIST = pa.schema(
    [
        *((name, pa.string()) for name in ("file_id", "label", "split")),
        *((name, pa.int32()) for name in ("batch_idx", "archive_idx")),
        *((name, pa.bool_()) for name in FILELIST_FLAGS),
    ]
)


def read_filelist(place: Place, name: str = "filelist.csv") -> pa.Table | None:
    """The file list, one row a recording; None if the place has none.

    Returns:
        The columns of ``FILELIST``; flags are null where the list, as the oldest, has none.

    Raises:
        BrokenTable: an id, label, split or number that cannot be, or an id that stands twice.
    """
    found = _read_cells(place, name)
    if found is None:
        return None
    header, rows, lines = found
    path = place.path(name)
    if not rows:
        raise BrokenTable(f"{path}: names no recording. Fetch it again, or remove it.")
    cells = {column: pa.array(values) for column, values in zip(header, zip(*rows, strict=True), strict=True)}
    ids = cells["file_id"]

    def refuse(bad: pa.Array, what: str, column: str) -> None:
        """Raise for the first row that is bad."""
        if (row := pc.index(bad, True).as_py()) >= 0:
            value = cells[column][row].as_py()
            raise BrokenTable(
                f"{path}, line {lines[row]}: {what.format(repr(value))} of {ids[row].as_py()!r}. Fetch it again."
            )

    refuse(pc.invert(pc.match_substring_regex(ids, f"^{FILE_ID}$")), "not a file id: {}", "file_id")
    for column, known in (("label", LABELS), ("split", SPLITS)):
        refuse(
            pc.invert(pc.is_in(cells[column], pa.array(known))), f"{column} {{}} is none of {', '.join(known)}", column
        )
    for column in ("batch_idx", "archive_idx"):
        refuse(
            pc.invert(pc.match_substring_regex(cells[column], "^[0-9]{1,9}$")), f"{column} {{}}, not a number", column
        )
    for flag in FILELIST_FLAGS:
        values = cells.setdefault(flag, pa.array([""] * len(rows)))
        refuse(pc.invert(pc.is_in(values, pa.array(["0", "1", ""]))), f"{flag} {{}}, neither 0 nor 1", flag)
        cells[flag] = pc.if_else(pc.equal(values, ""), None, pc.equal(values, "1"))
    counts = ids.value_counts()
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        line = lines[len(ids) - 1 - ids.to_pylist()[::-1].index(twice[0].as_py())]
        raise BrokenTable(f"{path}, line {line}: {twice[0]} stands twice in the file list. Keep the row that counts.")
    return pa.table([cells[field.name].cast(field.type) for field in FILELIST], schema=FILELIST)


def read_filelist_file(path: str | os.PathLike[str], storage_options: dict[str, Any] | None = None) -> pa.Table:
    """A file list anywhere, by path or URL. As ``read_filelist``.

    Raises:
        BrokenTable, SourceNotFound
    """
    folder, _, name = os.fspath(path).rpartition("/")
    place = Place(folder or ".", storage_options)
    found = read_filelist(place, name)
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

# What a cell of `modalities` may name: modalities and single parts.
_NAMED = {part: bits_of([part]) for part in PARTS}
_NAMED |= {name: bits_of(parts_of(columns)) for name, columns in MODALITIES.items()}
_NAMED |= {alias: _NAMED[name] for alias, name in MODALITY_ALIASES.items()}


def read_selection(place: Place) -> pa.Table | None:
    """What ``selection.csv`` says that a partial copy is meant to hold: ``MEANT``; None if the place has none.

    An empty cell of ``modalities``, or no such column, is everything.

    Raises:
        BrokenTable: a modality that does not exist, or an id that stands twice.
    """
    found = _read_cells(place, SELECTION)
    if found is None:
        return None
    header, rows, lines = found
    column = header.index("file_id")
    names = header.index("modalities") if "modalities" in header else None
    meant: dict[str, int] = {}
    for cells, line in zip(rows, lines, strict=True):
        where = f"{place.path(SELECTION)}, line {line}"
        asked = [] if names is None else cells[names].split()
        unknown = [name for name in asked if name not in _NAMED]
        if unknown:
            raise BrokenTable(
                f"{where}: {unknown[0]!r} of {cells[column]!r} is no modality. Known: {', '.join(MODALITIES)}, and "
                "single arrays. Correct the line, or make the copy again."
            )
        if cells[column] in meant:
            raise BrokenTable(f"{where}: {cells[column]} stands twice. Keep the row that counts.")
        meant[cells[column]] = reduce(or_, (_NAMED[name] for name in asked)) if asked else EVERY_PART
    return pa.table([list(meant), list(meant.values())], schema=MEANT)


def write_selection(path: Path, table: pa.Table) -> None:
    """Write ``selection.csv``, from the columns of ``MEANT``. What ``read_selection`` reads of it is the same."""
    parts = table["parts"].combine_chunks().dictionary_encode()
    names = pa.array([_names_of(bits) for bits in parts.dictionary.to_pylist()], pa.string()).take(parts.indices)
    options = pa_csv.WriteOptions(quoting_style="none")
    cells = pa.table({"file_id": table["file_id"], "modalities": names})
    write_whole(path, lambda file: pa_csv.write_csv(cells, file, options))


def _names_of(bits: int) -> str:
    """The fewest names of parts and modalities that say the same; none for all parts."""
    if bits == EVERY_PART:
        return ""
    names = [name for name in MODALITIES if _NAMED[name] and not _NAMED[name] & ~bits]
    rest = bits & ~bits_of(part for name in names for part in parts_of(MODALITIES[name]))
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

# An issue of the context: column, code, detail.
Note = tuple[str, str, str]


class Context:
    """Prompts, relationships and personalities, by the ids of a recording."""

    def __init__(self, place: Place):
        self._prompts = self._index(place, "interactions.csv", lambda row: row["prompt_hash"])
        self._relationships = self._index(
            place, "relationships.csv", lambda row: f"{row['vendor_id']}_S{row['session_id']}"
        )
        self._participants = self._index(
            place, "participants.csv", lambda row: f"V{row['vendor_id']}_P{row['participant_id']}"
        )

    @staticmethod
    def _index(place: Place, name: str, key: Callable[[dict[str, str]], str]) -> dict[str, dict[str, str]] | None:
        found = _read_cells(place, name)
        if found is None:
            return None
        header, cells, lines = found
        rows: dict[str, dict[str, str]] = {}
        for values, line in zip(cells, lines, strict=True):
            row = dict(zip(header, values, strict=True))
            if key(row) in rows:
                raise BrokenTable(f"{place.path(name)}, line {line}: {key(row)} stands twice. Fetch it again.")
            rows[key(row)] = row
        return rows

    def of(self, ids: FileId) -> tuple[dict[str, Any], list[Note]]:
        """The context columns of one recording (null where unknown), and what is not known."""
        notes: list[Note] = []

        def row(rows: dict[str, dict[str, str]] | None, table: str, key: str, column: str) -> dict[str, str]:
            if rows is None:
                notes.append((column, "absent", f"the source has no {table}"))
            elif key not in rows:
                notes.append((column, "absent", f"{table} has no row for {key}"))
            return (rows or {}).get(key, {})

        prompt = row(self._prompts, "interactions.csv", ids.prompt_id, "interaction_type")
        relationship = row(self._relationships, "relationships.csv", ids.session_id, "relationship")
        participant = row(self._participants, "participants.csv", ids.participant_id, "personality")
        values: dict[str, Any] = {
            "interaction_type": prompt.get("interaction_type") or None,
            "prompt_text_a": prompt.get("participant_a_prompt_text") or None,
            "prompt_text_b": prompt.get("participant_b_prompt_text") or None,
            "ipc_a": prompt.get("ipc_a") or None,
            "ipc_b": prompt.get("ipc_b") or None,
            "relationship": relationship.get("relationship") or None,
            "relationship_detail": relationship.get("relationship_detail") or None,
        }
        scores = {trait: participant.get(f"{trait}_raw", "Undisclosed") for trait in TRAITS}
        if participant and "Undisclosed" in scores.values():
            notes.append(("personality", "undisclosed", "Undisclosed in participants.csv"))
        for trait, score in scores.items():
            try:
                values[f"personality:{trait}"] = None if score == "Undisclosed" else float(score)
            except ValueError:
                values[f"personality:{trait}"] = None
                notes.append(("personality", "unreadable", f"{trait} is {score!r} in participants.csv"))
        return values, notes
