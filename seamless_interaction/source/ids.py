"""What follows from the file ids of a table: vendor, session, interaction, and who is whose partner."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import VENDORS
from seamless_interaction.errors import BrokenTable

SESSION_LENGTH = len("V00_S0809")
INTERACTION_LENGTH = len("V00_S0809_I00000582")  # of the part of a file id that partners share


def vendors_of(filelist: pa.Table) -> pa.Array:
    """Vendor of each row (``V00``), in the rows' order.

    Raises:
        BrokenTable: a vendor that this dataset does not have.
    """
    return pa.array(VENDORS).take(pa.array(vendor_codes(filelist)))


def interaction_ids(filelist: pa.Table) -> pa.Array:
    """Interaction of each row (``V00_S0809_I00000582``), in the rows' order."""
    return pc.utf8_slice_codeunits(strings(filelist["file_id"]), 0, INTERACTION_LENGTH)


def session_ids(filelist: pa.Table) -> pa.Array:
    """Session of each row (``V00_S0809``), in the rows' order."""
    return pc.utf8_slice_codeunits(strings(filelist["file_id"]), 0, SESSION_LENGTH)


def vendor_codes(filelist: pa.Table) -> np.ndarray:
    return codes("vendor", pc.utf8_slice_codeunits(strings(filelist["file_id"]), 0, len(VENDORS[0])), VENDORS)


def strings(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column of strings as one plain array, however it is stored."""
    array = column.cast(pa.string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks or [pa.array([], pa.string())])


def codes(name: str, strings: pa.Array, known: tuple[str, ...]) -> np.ndarray:
    """Position of each string among the known ones."""
    codes = pc.index_in(strings, pa.array(known))
    if codes.null_count:
        unknown = pc.unique(strings.filter(pc.is_null(codes))).to_pylist()
        raise BrokenTable(f"the file list has {name} {', '.join(map(repr, unknown))}; known: {', '.join(known)}.")
    return np.asarray(codes, np.int64)


def partners(ids: pa.Array) -> pa.Array:
    """The position of each file id's partner, null where there is none. The ids must be sorted: partners adjoin."""
    interactions = pc.utf8_slice_codeunits(ids, 0, INTERACTION_LENGTH)
    same = np.asarray(pc.equal(interactions[1:], interactions[:-1]))
    before, after = (np.append(False, same), np.append(same, False)) if len(ids) else (same, same)
    row = np.arange(len(ids))
    return pa.array(np.where(before, row - 1, row + 1), mask=~(before | after))
