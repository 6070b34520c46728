"""Records to Arrow tables, straight from NumPy's buffers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

# A table goes out once it holds this much, so it holds at most this and one record. Larger tables are slower: their
# rows would have to be copied together, while a table of one row is written from the buffers it was read into.
BATCH_BYTES = 1 << 20


def batches(records: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of a few records each, bounded by bytes and not by rows.

    Args:
        records: column -> value; arrays as NumPy, all else as plain Python.
        schema: of all columns.
    """
    fields = list(schema)  # each look at a schema makes its extension types anew
    batch: list[dict[str, Any]] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(value.nbytes for value in record.values() if isinstance(value, np.ndarray))
        if size >= BATCH_BYTES:
            yield table(batch, fields)
            batch, size = [], 0
    if batch:
        yield table(batch, fields)


def table(records: list[dict[str, Any]], fields: list[pa.Field]) -> pa.Table:
    """One table of ``records``; arrays are not copied, and each row is a chunk of its column."""
    columns = []
    for field in fields:
        type = field.type
        values = [record[field.name] for record in records]
        if isinstance(values[0], np.ndarray):
            columns.append(pa.chunked_array([_list_array(value, type) for value in values], type))
        else:
            columns.append(pa.array(values, type))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _list_array(values: np.ndarray, type: pa.DataType) -> pa.Array:
    """An array of one row: a list (of lists) around the array's own buffer."""
    array = pa.array(values.reshape(-1))
    for axis in range(values.ndim - 1, 0, -1):
        length = values.shape[axis]
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, length, dtype=np.int32), array)
    array = pa.ListArray.from_arrays(np.array([0, len(array)], dtype=np.int32), array)
    return pa.ExtensionArray.from_storage(type, array) if isinstance(type, pa.ExtensionType) else array
