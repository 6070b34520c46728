"""Which recordings a place holds: the file list, joined with what was found."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import ANNOTATION_KINDS, ARRAYS, MOVEMENT_V4, VENDORS
from seamless_interaction.errors import DuplicateFileId
from seamless_interaction.source.ids import INTERACTION_LENGTH, partners, vendor_codes
from seamless_interaction.source.layout import EVERY_PART, PARTS, Layout, bits_of
from seamless_interaction.source.tables import FILELIST


class Recording(NamedTuple):
    """One participant's recording: where it lies, and who the partner is."""

    file_id: str
    label: str
    split: str
    batch_idx: int
    archive_idx: int
    files: int  # which files are there, a bit each: those of the layout
    row: int | None = None  # in the index, where there is one
    partner: str | None = None  # the other file id of the interaction, whether it is here or not
    partner_is_here: bool = False
    has_annotation_1p: bool | None = None  # what the file list says; None if it does not
    has_annotation_3p: bool | None = None
    meant: int = EVERY_PART  # which parts the place is meant to hold, a bit each; see selection.csv
    partner_is_meant: bool = True

    def is_meant(self, part: str) -> bool:
        """Whether the place is meant to hold a part of it."""
        return bool(self.meant >> PARTS.index(part) & 1)


# What a recording may have though the format does not require it.
OPTIONAL = ("transcript", *ANNOTATION_KINDS, *MOVEMENT_V4)


def _requires(part: str, vendor: str, has_annotation_1p: bool | None, has_annotation_3p: bool | None) -> bool:
    if part in ARRAYS:
        return vendor in ARRAYS[part].vendors
    flags = {"1P": has_annotation_1p, "3P": has_annotation_3p}
    return bool(flags.get(part[:2], part not in OPTIONAL))


def is_required(recording: Recording, part: str) -> bool:
    """Whether the format says that the recording has a part, by its vendor and the file list's flags."""
    return _requires(part, recording.file_id[:3], recording.has_annotation_1p, recording.has_annotation_3p)


def required_bits(table: pa.Table) -> np.ndarray:
    """The same for all parts of each row of a file list, (n,) int64: a bit each, in the order of ``PARTS``."""
    flags = (pc.fill_null(table[name], False) for name in ("has_annotation_1p", "has_annotation_3p"))
    first, third = (np.asarray(flag.cast(pa.int8())) for flag in flags)
    every = product(VENDORS, (False, True), (False, True))
    bits = np.array([bits_of(part for part in PARTS if _requires(part, *one)) for one in every], np.int64)
    return bits.reshape(len(VENDORS), 2, 2)[vendor_codes(table), first, third]


class Gaps(NamedTuple):
    """What the file list and the place do not have in common."""

    not_here: tuple[str, ...]  # selected file ids that the place lacks
    strays: tuple[str, ...]  # paths of recordings that the list does not name, or places elsewhere


def recordings(
    found: pa.Table, filelist: pa.Table, selected: pa.Table, layout: Layout, meant: pa.Table | None = None
) -> tuple[pa.Table, Gaps]:
    """The selected recordings of a place, ordered by interaction, partners adjacent.

    The list decides: what it places elsewhere is a stray, not a record.

    Args:
        found: ``layout.FOUND``, with or without the column ``row``.
        filelist: ``tables.FILELIST``; the whole list, as it says who is whose partner.
        selected: those rows of it that are of interest.
        layout: of the place.
        meant: ``tables.read_selection``: what the place is meant to hold; None is everything.

    Returns:
        A table with the fields of ``Recording``.
    """
    order = pc.sort_indices(filelist["file_id"])
    if found is filelist:  # an index is both
        place, strays = order, found.slice(0, 0)
        filelist = filelist.take(order)
    else:
        filelist = filelist.take(order)
        listed, here = layout.spots(filelist), layout.spots(found)
        place, strays = pc.index_in(listed, here), found.filter(pc.invert(pc.is_in(here, listed)))
    ids = filelist["file_id"].combine_chunks()
    files = pc.fill_null(found["files"].combine_chunks().take(place), 0)
    is_here = pc.greater(files, 0)

    partner = partners(ids)
    if meant is None:
        meant_parts = pa.array(np.full(len(ids), EVERY_PART))
    else:
        meant_parts = meant["parts"].combine_chunks().take(pc.index_in(ids, meant["file_id"].combine_chunks()))
    rows = found["row"].combine_chunks().take(place) if "row" in found.column_names else pa.nulls(len(ids), pa.int64())
    everything = pa.table(
        [
            ids,
            *(filelist[name] for name in ("label", "split", "batch_idx", "archive_idx")),
            files,
            rows,
            ids.take(partner),
            pc.fill_null(is_here.take(partner), False),
            *(filelist[name] for name in ("has_annotation_1p", "has_annotation_3p")),
            pc.fill_null(meant_parts, 0),
            meant_parts.is_valid().take(partner).fill_null(True),
        ],
        names=Recording._fields,
    )
    if len(selected) == len(filelist):
        wanted = pa.array(np.ones(len(ids), bool))
    else:
        wanted = pc.is_in(ids, selected["file_id"].combine_chunks())
    gaps = Gaps(
        tuple(ids.filter(pc.and_(wanted, pc.invert(is_here))).to_pylist()),
        tuple(layout.spots(strays).to_pylist()),
    )
    here = everything.filter(pc.and_(wanted, is_here)).combine_chunks()
    pa.default_memory_pool().release_unused()  # or what it took stays with the process: 50 MB for the whole dataset
    return here, gaps


def without_what_is_not_meant(here: pa.Table, layout: Layout) -> pa.Table:
    """Recordings of a place that nobody has listed: what it is not meant to hold is not there."""
    files, meant = (np.asarray(here[name].combine_chunks(), np.int64) for name in ("files", "meant"))
    files = files & layout.files_with(meant)
    is_here = pc.and_(here["partner_is_here"], here["partner_is_meant"])
    for name, column in (("files", pa.array(files)), ("partner_is_here", is_here)):
        here = here.set_column(here.column_names.index(name), name, column)
    return here.combine_chunks()


def with_partners(filelist: pa.Table, selected: pa.Table) -> pa.Table:
    """The rows of all interactions that have a row in the selection."""
    ours, all_ = (pc.utf8_slice_codeunits(t["file_id"], 0, INTERACTION_LENGTH) for t in (selected, filelist))
    return filelist.filter(pc.is_in(all_, ours.combine_chunks()))


def of_split(table: pa.Table, split: str) -> pa.Table:
    """The rows of one split."""
    return table.filter(pc.equal(table["split"], split)).combine_chunks()


def rows_of(found: pa.Table, where: str) -> pa.Table:
    """A file list made from what is there, for a place without one.

    Raises:
        DuplicateFileId: an id lies in two places.
    """
    counts = found["file_id"].value_counts()
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        here = found.filter(pc.equal(found["file_id"], twice[0]))
        rows = here.select(["label", "split", "batch_idx", "archive_idx"]).to_pylist()
        raise DuplicateFileId(
            f"{len(twice)} file ids lie in two places of {where}, {twice[0]} in "
            f"{' and '.join('/'.join(map(str, row.values())) for row in rows)}. Put the dataset's "
            "filelist.csv into the folder: it says which one counts."
        )
    columns = [found[f.name] if f.name in found.column_names else pa.nulls(len(found), f.type) for f in FILELIST]
    return pa.table(columns, schema=FILELIST)
