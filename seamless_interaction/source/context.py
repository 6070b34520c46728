"""The context of a recording: prompts, relationships and personalities, from the tables beside the data."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

from seamless_interaction import TABLES, TRAITS, FileId
from seamless_interaction.places.place import Place
from seamless_interaction.source.tables import Cells, read_cells

# An issue of the context: column, code, detail.
Note = tuple[str, str, str]


# Columns of ids -> the letter that the ids of recordings have there, and how many digits. Tools that take such a column
# for numbers drop the zeros in front, or write 582 as 582.0: as the digits are known, nothing else can be meant.
_IDS = {"prompt_hash": ("", 8), "vendor_id": ("V", 2), "session_id": ("S", 4), "participant_id": ("P", 4)}


def _id_of(row: dict[str, str], columns: tuple[str, ...]) -> str | None:
    """The id of a row, as ``FileId`` has it; None for what is not one."""
    parts = []
    for column in columns:
        letter, digits = _IDS[column]
        suffix = "[A-Z]?" if column == "participant_id" else ""
        match = re.fullmatch(f"(?:{letter})?([0-9]{{1,{digits}}})({suffix})(?:[.]0+)?", row[column].strip())
        if match is None:
            return None
        parts.append(f"{letter}{match[1].zfill(digits)}{match[2]}")
    return "_".join(parts)


def _by_id(place: Place, name: str, columns: tuple[str, ...], strict: bool) -> dict[str, dict[str, str]] | None:
    """The rows of a table by the id that some columns make; None if the place has no such table."""
    return read_cells(place, name, partial(_rows_by_id, name, columns, strict))


def _rows_by_id(name: str, columns: tuple[str, ...], strict: bool, found: Cells) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    lines_of: dict[str, tuple[int, int]] = {}
    for cells, lines in zip(found.rows, found.lines, strict=True):
        row = dict(zip(found.header, cells, strict=True))
        id = _id_of(row, columns)
        if id is None:
            found.refuse(lines, f"not an id: {', '.join(f'{column} {row[column]!r}' for column in columns)}")
        elif id in rows and any(row[column] != rows[id][column] for column in TABLES[name]):
            found.refuse(lines, f"{id} stands twice, and differs from {found.at(lines_of[id])}, which counts")
        else:
            rows.setdefault(id, row)
            lines_of.setdefault(id, lines)
    found.tell(strict)
    return rows


# The category of a prompt in its unique id: P0070_v3.4.fam_ANCP_XXXX, P0060_AA_ANCP_XXXX-87, RP0.3_AMCM_APCP.
_CATEGORY = r"(?:P[0-9]+_)?(?:v[0-9.]+)?([A-Za-z]+)[0-9.]*_"


class Context:
    """Prompts, relationships and personalities, by the ids of a recording.

    Rows that cannot be used are left out, with a warning that names them; of rows of one id the first counts.

    Raises:
        BrokenTable: no such table, or most of its rows cannot be used; with ``strict``, a row that cannot.
    """

    def __init__(self, place: Place, strict: bool = False):
        self._prompts = _by_id(place, "interactions.csv", ("prompt_hash",), strict)
        self._relationships = _by_id(place, "relationships.csv", ("vendor_id", "session_id"), strict)
        self._participants = _by_id(place, "participants.csv", ("vendor_id", "participant_id"), strict)

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
        unique = prompt.get("prompt_id_unique") or ""
        category = re.match(_CATEGORY, unique)
        values: dict[str, Any] = {
            "interaction_type": prompt.get("interaction_type") or None,
            "prompt_id_unique": unique or None,
            "prompt_category": category and category[1],
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
            value = values[f"personality:{trait}"] = _score(score)
            if value is None and score != "Undisclosed":
                notes.append(("personality", "unreadable", f"{trait} is {score!r} in participants.csv"))
        return values, notes


def _score(text: str) -> float | None:
    try:
        return value if math.isfinite(value := float(text)) else None
    except ValueError:
        return None
