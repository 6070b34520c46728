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
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import FILE_ID, FILELIST_FLAGS, LABELS, SELECTION, SPLITS, TABLES, TRAITS, FileId
from seamless_interaction.errors import BrokenTable, SourceNotFound
from seamless_interaction.local_cache import read_cached
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


def selected(place: Place, filelist: pa.Table) -> pa.Table:
    """The rows that ``selection.csv`` names: what a partial copy is meant to hold. All, if it has none.

    Raises:
        BrokenTable
    """
    found = _read_cells(place, SELECTION)
    if found is None:
        return filelist
    header, rows, _ = found
    column = header.index("file_id")
    wanted = pa.array([cells[column] for cells in rows], pa.string())
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
