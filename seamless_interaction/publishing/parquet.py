"""Records as Parquet: how shards are written, and how what was written is known to be right.

``datasets`` writes Parquet too, with settings that make these arrays a third larger than they are, and does not let
go of them. What is different here:

- Floats are split into streams of bytes and compressed, without a dictionary: three quarters of the raw bytes.
- A row group is what the caller says, so that partners stay together.
- The features are in the file in words that every supported version of ``datasets`` reads; 5 writes ``List``, which 3.6
  does not know.
- Text and numbers stand before arrays, and these before media, so that whoever streams the former reads one stretch.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from seamless_interaction import EVERY_ARRAY, IDENTITY, TIME
from seamless_interaction.record.arrow import Types, table
from seamless_interaction.record.dialect import dialect
from seamless_interaction.record.view import ViewFormatter

MEDIA = ("audio", "video", "partner_video")
# The chunks of a file that the Hub has already are not sent to it again; Arrow 21 and later cut them by content.
_CHUNKING = (
    {"use_content_defined_chunking": True}
    if "use_content_defined_chunking" in inspect.signature(pq.ParquetWriter).parameters
    else {}
)
_COMPRESSION_LEVEL = 1  # of zstd: a higher one saves nothing more of these arrays


def types_of(features: datasets.Features) -> Types:
    """The Arrow schema of a file, with the features as all versions read them."""
    types = Types(features.arrow_schema)
    metadata = {"huggingface": json.dumps({"info": {"features": dialect(dict(features))}})}
    types.schema = types.schema.with_metadata(metadata)
    return types


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of the columns that Parquet makes of the schema's."""
    sink = pa.BufferOutputStream()
    pq.ParquetWriter(sink, schema).close()
    made = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [made.column(number).path for number in range(len(made))]


class Writer:
    """A Parquet file of records. What is written is counted and digested, for ``check``.

    Args:
        path: of the file.
        types: see ``types_of``.

    Attributes:
        digests: of each row group, column -> a digest a row.
        num_bytes: of the tables in memory.
    """

    def __init__(self, path: Path, types: Types):
        self.digests: list[dict[str, list[str]]] = []
        self.num_bytes = 0
        self._types = types
        leaves = _leaves(types.schema)
        names = {leaf: leaf.partition(".")[0] for leaf in leaves}
        arrays = [leaf for leaf in leaves if names[leaf] in EVERY_ARRAY and ".shape." not in leaf]
        floats = [leaf for leaf in arrays if EVERY_ARRAY[names[leaf]].dtype == "float32"]
        plain = {*floats, *(leaf for leaf in leaves if names[leaf] in MEDIA)}
        order = [leaf for leaf in ("id", "interaction_id") if leaf in leaves]
        self._writer = pq.ParquetWriter(
            path,
            types.schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_byte_stream_split=floats,
            use_dictionary=[leaf for leaf in leaves if leaf not in plain],
            write_statistics=[leaf for leaf in leaves if leaf in IDENTITY or leaf in TIME],
            write_page_index=True,
            sorting_columns=[pq.SortingColumn(leaves.index(leaf)) for leaf in order],
            **_CHUNKING,
        )

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write one row group. The rows are emptied."""
        made = table(rows, self._types)
        for row in rows:
            row.clear()
        self.write_table(made)

    def write_table(self, made: pa.Table) -> None:
        """Write one row group."""
        self.num_bytes += made.nbytes
        self.digests.append({name: _digests(made.select([name])) for name in made.column_names})
        self._writer.write_table(made, row_group_size=len(made))

    def close(self) -> None:
        self._writer.close()


def _digests(column: pa.Table) -> list[str]:
    """A digest of each row of a table of one column."""
    name = column.column_names[0]
    if name in EVERY_ARRAY:
        arrays = ViewFormatter().format_column(column)
        return ["" if array is None else _of_array(array, EVERY_ARRAY[name].is_open) for array in arrays]
    if name in MEDIA:
        return [_of_media(value) for value in column.column(0)]
    return [hashlib.sha256(repr(value).encode()).hexdigest() for value in column.column(0).to_pylist()]


def _of_array(array: Any, with_shape: bool) -> str:
    digest = hashlib.sha256(array)
    digest.update(repr(array.shape).encode() if with_shape else b"")
    return digest.hexdigest()


def _of_media(value: pa.StructScalar) -> str:
    if not value.is_valid:
        return ""
    content = value["bytes"].as_buffer()
    digest = hashlib.sha256(b"" if content is None else content)
    digest.update(repr(value["path"].as_py()).encode())
    return digest.hexdigest()


def check(path: Path, types: Types, digests: list[dict[str, list[str]]]) -> list[int]:
    """Read a file back, a column at a time, and compare every value with what was to be written.

    Returns:
        Bytes of each row group in the file.

    Raises:
        OSError: something came out different.
    """
    try:
        file = pq.ParquetFile(path)
        different = _difference(file, types, digests)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OSError(f"{path}: cannot be read back: {error}") from error
    if different:
        raise OSError(f"{path}: {different}")
    return [row_group_bytes(file.metadata.row_group(number)) for number in range(file.num_row_groups)]


def _difference(file: pq.ParquetFile, types: Types, digests: list[dict[str, list[str]]]) -> str | None:
    """What came out different first."""
    schema = file.schema_arrow
    # Not with the fields' own metadata: Parquet names the members of lists anew.
    if not schema.equals(types.schema) or schema.metadata != types.schema.metadata:
        return "its schema came out different"
    if file.num_row_groups != len(digests):
        return f"{file.num_row_groups} row groups came out of {len(digests)}"
    for number, expected in enumerate(digests):
        for name, digest in expected.items():
            if _digests(file.read_row_group(number, columns=[name], use_threads=False)) != digest:
                return f"{name} of row group {number} came out different"
    return None


def row_group_bytes(group: Any) -> int:
    """Bytes of a row group in the file."""
    return sum(group.column(number).total_compressed_size for number in range(group.num_columns))
