"""What each subset holds, in numbers: for people who choose one, and for reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import LABELS, SPLITS, SUBSETS, VENDORS
from seamless_interaction.selection.expected import expected, expected_bytes, expected_seconds, limits
from seamless_interaction.selection.sizes import flag, select
from seamless_interaction.source.ids import interaction_ids, vendors_of
from seamless_interaction.work.text import aligned, decimal

# Columns of ``describe`` -> the flags of the file list that they count.
_FLAGGED = {
    "annotation_1p": "has_annotation_1p",
    "annotation_3p": "has_annotation_3p",
    "movement": "has_imitator_movement",
}


def describe(filelist: pa.Table) -> pa.Table:
    """What each size has of a file list, one row a size, in the order of ``SUBSETS``.

    Args:
        filelist: as ``sizes.select`` takes it.

    Returns:
        ``subset``, ``interactions``, ``recordings``, ``share`` (of the list's recordings), ``hours`` of
        recordings and ``bytes`` in the bucket (both expected, from means by vendor), ``bytes_with_margin``,
        ``cap`` (which these do not exceed; null is none), recordings by label, split and vendor
        (``label:improvised``, …), recordings with ``annotation_1p``, ``annotation_3p`` and ``movement``
        (null where the list has no flags), interactions of ``one_participant``, and ``in_next``: whether the next size
        has all of it.
    """
    parts = [select(filelist, subset) for subset in SUBSETS]
    rows = []
    for subset, part, larger in zip(SUBSETS, parts, [*parts[1:], filelist], strict=True):
        _, number_of = np.unique(interaction_ids(part).dictionary_encode().indices, return_counts=True)
        bytes = int(expected_bytes(part).sum())
        row: dict[str, Any] = {
            "subset": subset,
            "interactions": len(number_of),
            "recordings": part.num_rows,
            "share": part.num_rows / max(1, filelist.num_rows),
            "hours": float(expected_seconds(part).sum()) / 3600,
            "bytes": bytes,
            "bytes_with_margin": round(bytes * expected().margin),
            "cap": limits(subset).bytes,
        }
        for name, column, known in (
            ("label", part["label"], LABELS),
            ("split", part["split"], SPLITS),
            ("vendor", vendors_of(part), VENDORS),
        ):
            row |= {f"{name}:{value}": pc.sum(pc.equal(column, value)).as_py() or 0 for value in known}
        for column, name in _FLAGGED.items():  # unknown where the list has no flags
            told = name in filelist.column_names and filelist[name].null_count < len(filelist)
            row[column] = int(flag(part, name).sum()) if told else None
        row["one_participant"] = int((number_of == 1).sum())
        row["in_next"] = pc.all(pc.is_in(part["file_id"], larger["file_id"].combine_chunks()), min_count=0).as_py()
        rows.append(row)
    return pa.Table.from_pylist(rows)


def as_text(described: pa.Table) -> str:
    """The table of ``describe`` for reading: a column for each size."""
    rows = described.to_pylist()
    lines: list[tuple[str, str, list[str]]] = []

    def line(group: str, name: str, cells: list[str]) -> None:
        shown = "" if lines and group in {before for before, _, _ in lines} else group
        lines.append((shown, name, cells))

    def counts(group: str, name: str, column: str) -> None:
        line(group, name, ["unknown" if row[column] is None else f"{row[column]:,}" for row in rows])

    line("subset", "", [row["subset"] for row in rows])
    counts("interactions", "", "interactions")
    counts("recordings", "", "recordings")
    line("recordings", "share", [f"{row['share']:.2%}" for row in rows])
    line("hours", "expected", [f"{row['hours']:,.1f}" for row in rows])
    for name, column in (("expected", "bytes"), ("with margin", "bytes_with_margin"), ("at most", "cap")):
        line("bytes", name, ["-" if row[column] is None else decimal(row[column]) for row in rows])
    for column in described.column_names:
        group, colon, value = column.partition(":")
        if colon:
            counts(f"by {group}", value, column)
    for name, column in (("1P", "annotation_1p"), ("3P", "annotation_3p")):
        counts("annotated", name, column)
    counts("with movement", "", "movement")
    counts("one participant", "", "one_participant")

    table = aligned([[group, name, *cells] for group, name, cells in lines], 2)
    is_nested = all(row["in_next"] for row in rows)
    nested = "Each subset is part of the next." if is_nested else "The subsets are not nested!"
    notes = (
        f"{nested} Counts are of recordings, but of interactions for one participant.\n"
        f"Expected: from means by vendor, as the bucket stores it; the margin is {expected().margin - 1:.0%}."
    )
    return "\n".join([*table, "", notes])
