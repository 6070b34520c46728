"""Records to Arrow tables, straight from NumPy's buffers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

# A table is full when it holds this much, so with its last record it has about 64 MB. The fewer tables, the less memory
# it takes to open what was prepared: about 70 kB a table, whatever its size.
BATCH_BYTES = 1 << 25
BATCH_ROWS = 100  # of text, which takes several times its bytes while it is Python's


class Types:
    """A schema whose extension types stay.

    Arrow holds the Python object of an extension type weakly. Once it is gone, each look at a field, a column or a
    chunk makes it anew, from JSON: more work than reading the array. So keep this as long as its tables are used.
    """

    def __init__(self, schema: pa.Schema):
        self.types = [field.type for field in schema]
        self.schema = pa.schema([field.with_type(type) for field, type in zip(schema, self.types, strict=True)])


def batches(records: Iterable[dict[str, Any]], types: Types, max_rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """Tables of a few records each, bounded by bytes and rows.

    Args:
        records: column -> value; arrays as NumPy, all else as plain Python. They are emptied.
        types: of all columns.
        max_rows: of a table; with 1, each record comes as soon as it is read.
    """
    batch: list[dict[str, Any]] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(value.nbytes for value in record.values() if isinstance(value, np.ndarray))
        if size >= BATCH_BYTES or len(batch) >= max_rows:
            alone = len(batch) == 1 and size >= BATCH_BYTES
            yield _emptied(batch, types)
            if alone:
                # datasets 4.8 and later hold tables of one row back until as many came as its batches have, and would
                # hold gigabytes; all versions hold a table while they ask for the next. Any other table lets it go.
                yield table([], types)
            size = 0
    if batch:
        yield _emptied(batch, types)


def _emptied(batch: list[dict[str, Any]], types: Types) -> pa.Table:
    """The table of a batch, which then alone holds the values: who made the records may still hold them."""
    made = table(batch, types)
    for record in batch:
        record.clear()
    batch.clear()
    return made


def table(records: list[dict[str, Any]], types: Types) -> pa.Table:
    """One table of ``records``; arrays are not copied, and each row is a chunk of its column."""
    columns = []
    for name, type in zip(types.schema.names, types.types, strict=True):
        values = [record[name] for record in records]
        if values and isinstance(values[0], np.ndarray) and not pa.types.is_struct(type):
            columns.append(pa.chunked_array([_list_array(value, type) for value in values], type))
        elif pa.types.is_struct(type) and any(isinstance(value, np.ndarray) for value in values):
            columns.append(pa.chunked_array([_open_array(value, type) for value in values], type))
        else:
            columns.append(pa.array(values, type))
    return pa.Table.from_arrays(columns, schema=types.schema)


def _open_array(values: np.ndarray | None, type: pa.StructType) -> pa.Array:
    """An array of one row: values and shape; null for None."""
    if values is None:
        return pa.nulls(1, type)
    parts = [values.reshape(-1), np.array(values.shape, np.int32)]
    return pa.StructArray.from_arrays(
        [_list_array(part, field.type) for part, field in zip(parts, type, strict=True)], fields=list(type)
    )


def _list_array(values: np.ndarray, type: pa.DataType) -> pa.Array:
    """An array of one row: a list (of lists) around the array's own buffer."""
    array = pa.array(values.reshape(-1))
    for axis in range(values.ndim - 1, 0, -1):
        length = values.shape[axis]
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, length, dtype=np.int32), array)
    array = pa.ListArray.from_arrays(np.array([0, len(array)], dtype=np.int32), array)
    return pa.ExtensionArray.from_storage(type, array) if isinstance(type, pa.ExtensionType) else array
