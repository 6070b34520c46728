"""What there is: one row a recording, for people who look for some, and for tools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import FILELIST_FLAGS, FileId
from seamless_interaction.places.place import Place
from seamless_interaction.selection.expected import expected_bytes, expected_seconds
from seamless_interaction.selection.selection import Selection, choose, has_movement
from seamless_interaction.source.context import Context
from seamless_interaction.source.ids import interaction_ids, partners, session_ids, strings
from seamless_interaction.work.text import decimal


def catalogue(filelist: pa.Table, selection: Selection, place: Place | None = None) -> pa.Table:
    """The recordings that are selected, one row each, sorted by file id.

    Args:
        filelist: ``tables.FILELIST``; the whole list, as it says who is whose partner.
        selection: which recordings, and whose parts' bytes are expected.
        place: where ``interactions.csv`` and ``relationships.csv`` may lie.

    Returns:
        The columns of the file list, ``interaction_id``, ``session_id``, ``participant_id``, ``vendor_id``,
        ``partner_id`` (null where there is none), ``expected_bytes`` of the parts that are selected and
        ``expected_seconds`` (from means by vendor), ``interaction_type`` and ``relationship`` (null where not known).

    Raises:
        UsageError: as ``selection.choose``.
        BrokenTable: as ``context.Context``.
    """
    rows = choose(filelist, selection)
    ids = strings(rows["file_id"])
    everyone = strings(filelist["file_id"]).sort()
    partner = everyone.take(partners(everyone).take(pc.index_in(ids, everyone)))
    vendors, numbers = pc.utf8_slice_codeunits(ids, 0, 3), pc.utf8_slice_codeunits(ids, len("V00_S0809_I00000582_"))
    interactions, sessions = interaction_ids(rows), session_ids(rows)
    context = Context(place) if place else None
    return pa.table(
        {
            "file_id": ids,
            "interaction_id": interactions,
            "session_id": sessions,
            "participant_id": pc.binary_join_element_wise(vendors, numbers, "_"),
            "vendor_id": vendors,
            "partner_id": partner,
            **{name: rows[name] for name in ("label", "split", "batch_idx", "archive_idx", *FILELIST_FLAGS)},
            "expected_bytes": pa.array(expected_bytes(rows, selection.parts)),
            "expected_seconds": pa.array(expected_seconds(rows)),
            "interaction_type": _context(
                context,
                "interaction_type",
                ids,
                pc.utf8_slice_codeunits(ids, len("V00_S0809_"), len("V00_S0809_I00000582")),
            ),
            "relationship": _context(context, "relationship", ids, sessions),
        }
    )


def _context(context: Context | None, column: str, ids: pa.Array, keys: pa.Array) -> pa.Array:
    """A column of the context for each file id; asked for once for each of the keys that it depends on."""
    if context is None:
        return pa.nulls(len(ids), pa.string())
    encoded = keys.dictionary_encode()
    _, first = np.unique(np.asarray(encoded.indices), return_index=True)
    values: list[Any] = [context.of(FileId.parse(id))[0][column] for id in ids.take(pa.array(first)).to_pylist()]
    return pa.array(values, pa.string()).take(encoded.indices)


def as_text(table: pa.Table) -> str:
    """The table of ``catalogue`` for reading: a line a recording, and the totals."""
    movement = has_movement(table)
    columns: dict[str, tuple[pa.Array, bool]] = {}  # heading -> its cells, and whether they are aligned to the right

    def column(heading: str, cells: pa.Array | pa.ChunkedArray, right: bool = False) -> None:
        text = pc.replace_substring_regex(strings(cells), "[[:cntrl:]]", " ")  # a terminal obeys them
        columns[heading] = pc.fill_null(text, "-"), right

    column("file id", table["file_id"])
    column("label", table["label"])
    column("split", table["split"])
    column("partner", pc.utf8_slice_codeunits(table["partner_id"], len("V00_S0809_I00000582_")))
    flags = {name: table[f"has_annotation_{name.lower()}"] for name in ("1P", "3P")}
    marks = [pc.if_else(pc.fill_null(flag, False), name, "") for name, flag in flags.items()]
    annotated = pc.utf8_trim(pc.binary_join_element_wise(*marks, " "), " ")
    none = pc.if_else(pc.or_(*(pc.is_null(flag) for flag in flags.values())), "unknown", "-")
    column("annotated", pc.if_else(pc.equal(annotated, ""), none, annotated))
    column("movement", pc.if_else(pa.array(movement), "yes", "-"))
    column("seconds", pc.round(table["expected_seconds"]).cast(pa.int64()), right=True)
    sizes = table["expected_bytes"].combine_chunks().dictionary_encode()  # few: one for each vendor
    column("bytes", pa.array(map(decimal, sizes.dictionary.to_pylist()), pa.string()).take(sizes.indices), right=True)
    for name in ("interaction_type", "relationship"):
        if table[name].null_count < len(table):
            column(name.replace("_", " "), table[name])
    padded = []
    for heading, (cells, right) in columns.items():
        width = max(len(heading), pc.max(pc.utf8_length(cells)).as_py() or 0)
        pad = pc.utf8_lpad if right else pc.utf8_rpad
        padded.append(pa.concat_arrays([pad(pa.array([heading]), width), pad(cells, width)]))
    lines = pc.utf8_rtrim(pc.binary_join_element_wise(*padded, "  "), " ").to_pylist()
    hours = (pc.sum(table["expected_seconds"]).as_py() or 0) / 3600
    return "\n".join(
        [
            *lines,
            "",
            f"{len(table):,} recordings of {len(pc.unique(table['interaction_id'])):,} interactions, expected: "
            f"{hours:,.1f} hours, {decimal(pc.sum(table['expected_bytes']).as_py() or 0)}.",
            "Expected seconds and bytes are means by vendor, not those of each recording.",
        ]
    )
