"""Records to Arrow tables, straight from NumPy's buffers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

# What a table of several records holds at most, give or take the last of them. The fewer tables, the less memory it
# takes to open what was prepared: about 70 kB a table, whatever its size.
BATCH_BYTES = 1 << 26
BATCH_ROWS = 100  # of text, which takes several times its bytes while it is Python's


def batches(records: Iterable[dict[str, Any]], schema: pa.Schema, max_rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """Tables of a few records each, bounded by bytes and rows.

    Args:
        records: column -> value; arrays as NumPy, all else as plain Python.
        schema: of all columns.
        max_rows: of a table; with 1, each record comes as soon as it is read.
    """
    fields = list(schema)  # each look at a schema makes its extension types anew
    batch: list[dict[str, Any]] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(value.nbytes for value in record.values() if isinstance(value, np.ndarray))
        if size >= BATCH_BYTES or len(batch) >= max_rows:
            yield table(batch, fields)
            if len(batch) == 1 and size >= BATCH_BYTES:
                # datasets 4.8 and later hold tables of one row back until as many came as its batches have, and would
                # hold gigabytes. Any other table lets them go.
                yield table([], fields)
            batch, size = [], 0
    if batch:
        yield table(batch, fields)


def table(records: list[dict[str, Any]], fields: list[pa.Field]) -> pa.Table:
    """One table of ``records``; arrays are not copied, and each row is a chunk of its column."""
    columns = []
    for field in fields:
        type = field.type
        values = [record[field.name] for record in records]
        if values and isinstance(values[0], np.ndarray):
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
