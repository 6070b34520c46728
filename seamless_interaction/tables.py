"""The tables beside the data: the file list, and the context of a conversation.

All cells are read as text and keys are brought to the form of the file ids, since ids like
``0844A`` and ``00000129`` do not survive being taken for numbers.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from seamless_interaction import FILELIST_FLAGS, LABELS, SPLITS, TABLES, TRAITS, FileId
from seamless_interaction.errors import BrokenTable, InvalidFileId
from seamless_interaction.layouts import Place

csv.field_size_limit(1 << 24)  # a prompt is long; a column of a damaged file must still end


def read_table(place: Place, name: str) -> list[tuple[int, dict[str, str]]] | None:
    """Rows of one table with the line each ends on; None if the place has no such table.

    Raises:
        BrokenTable: not text, columns missing, or a row with more or fewer cells than the header.
    """
    try:
        content = place.read(name)
    except FileNotFoundError:
        return None
    path = place.path(name)
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        header = next(reader, [])
        missing = [column for column in TABLES[name] if column not in header]
        if missing:
            raise BrokenTable(f"{path}: has no column {', '.join(missing)}; its header is {header}. Fetch it again.")
        rows = []
        for cells in reader:
            if len(cells) != len(header) and cells:
                where = f"{path}, line {reader.line_num}"
                raise BrokenTable(f"{where}: {len(cells)} cells, but the header has {len(header)}. Fetch it again.")
            if cells:
                rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
        return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise BrokenTable(f"{path}: not a CSV in UTF-8 ({error}). Fetch it again.") from error


def read_filelist(place: Place) -> list[dict[str, Any]] | None:
    """Rows of filelist.csv with typed cells; None if the place has none.

    Raises:
        BrokenTable: an id, label, split or number that cannot be, or an id that stands twice.
    """
    table = read_table(place, "filelist.csv")
    if table is None:
        return None
    rows: dict[str, dict[str, Any]] = {}
    for line, cells in table:
        row: dict[str, Any] = dict(cells)
        where = f"{place.path('filelist.csv')}, line {line}"
        file_id = row["file_id"]
        try:
            FileId.parse(file_id)
            row["batch_idx"], row["archive_idx"] = int(row["batch_idx"]), int(row["archive_idx"])
            for flag in FILELIST_FLAGS:
                row[flag] = {"1": True, "0": False, "": False}[row.get(flag, "")]
        except (InvalidFileId, ValueError, KeyError) as error:
            raise BrokenTable(f"{where}: {error}. Fetch the file list again.") from error
        for column, known in (("label", LABELS), ("split", SPLITS)):
            if row[column] not in known:
                raise BrokenTable(f"{where}: {column} {row[column]!r} of {file_id} is none of {', '.join(known)}.")
        if row["batch_idx"] < 0 or row["archive_idx"] < 0:
            raise BrokenTable(f"{where}: negative batch or archive of {file_id}.")
        if file_id in rows:
            raise BrokenTable(f"{where}: {file_id} stands twice in the file list. Keep the row that counts.")
        rows[file_id] = row
    if not rows:
        raise BrokenTable(f"{place.path('filelist.csv')}: names no recording. Fetch it again, or remove it.")
    return list(rows.values())


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
    def _index(place: Place, name: str, key: Any) -> dict[str, dict[str, str]] | None:
        table = read_table(place, name)
        if table is None:
            return None
        rows: dict[str, dict[str, str]] = {}
        for line, row in table:
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
