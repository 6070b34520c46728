"""Records as NumPy sees them: arrays nested by group, media that open when used.

``dataset.with_format("seamless")`` gives this view of any Dataset or IterableDataset that has our
columns. It is a formatter of ``datasets``, so map, filter, shuffle, select and state_dict go on
working. The registration is private API of ``datasets``; the tests pin it on every version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets.formatting import _register_formatter
from datasets.formatting.formatting import LazyDict, TensorFormatter

from seamless_interaction import ARRAYS
from seamless_interaction.errors import UsageError

NAME = "seamless"
_MEDIA = ("audio", "video", "partner_video")


def _media(column: str, value: dict[str, Any] | None, storage_options: dict[str, Any] | None) -> Any:
    if value is None or value["path"] is None:
        return value
    from seamless_interaction.audio import Audio
    from seamless_interaction.video import Video

    return {"audio": Audio, "video": Video, "partner_video": Video}[column](
        value["path"], storage_options, value["bytes"]
    )


def _rows(column: pa.ChunkedArray, name: str, storage_options: dict[str, Any] | None) -> list[Any]:
    """The values of a column, one a row. Arrays are copies: Arrow's memory may be a map of what was prepared."""
    type = column.type
    if name in _MEDIA and pa.types.is_struct(type):
        return [_media(name, value, storage_options) for value in column.to_pylist()]
    storage = type.storage_type if isinstance(type, pa.ExtensionType) else type
    leaf = storage
    while pa.types.is_list(leaf):
        leaf = leaf.value_type
    if leaf is storage or not (pa.types.is_floating(leaf) or pa.types.is_integer(leaf) or pa.types.is_boolean(leaf)):
        return column.to_pylist()
    if isinstance(type, pa.ExtensionType):
        shape = ARRAYS[name].shape if name in ARRAYS else type.shape[1:]
    elif pa.types.is_list(storage.value_type):
        return column.to_pylist()  # nested lists of another's making, of no known shape
    else:
        shape = ()
    return [row for chunk in column.chunks for row in _arrays(chunk, shape)]


def _arrays(chunk: pa.Array, shape: tuple[int, ...]) -> Iterator[np.ndarray | None]:
    lists = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    lengths = lists.value_lengths().to_pylist()
    values = lists.flatten()
    for _ in shape:
        values = values.flatten()
    # Booleans are bits in Arrow and have to be unpacked; nulls among numbers do not occur in our columns.
    flat = values.to_numpy(zero_copy_only=not (values.null_count or pa.types.is_boolean(values.type)))
    size = int(np.prod(shape))
    start = 0
    for length in lengths:
        if length is None:
            yield None
            continue
        yield flat[start : start + length * size].reshape(length, *shape).copy()
        start += length * size


class _View(LazyDict):
    """A mapping over Arrow data: ``"movement"`` is a dict of the columns ``"movement:…"``.

    Columns are converted when asked for. Single columns are there too (``"movement:FAUValue"``), and
    so are values that were set. The base class keeps the columns under their own names, and what
    was only looked at counts as unchanged: so ``map`` with a function that returns its example
    writes only what it set.
    """

    def __init__(self, pa_table: pa.Table, formatter: ViewFormatter):
        super().__init__(pa_table, formatter)
        self._seen: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key in self.data:
            if key not in self.keys_to_format:
                return self.data[key]
            if key not in self._seen:
                self._seen[key] = self.format(key)
            return self._seen[key]
        members = [column for column in self.data if column.startswith(f"{key}:")]
        if not members:
            raise KeyError(key)
        if key not in self._seen:
            self._seen[key] = self._nest({column.partition(":")[2]: self[column] for column in members})
        return self._seen[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if any(column.startswith(f"{key}:") for column in self.data):
            raise UsageError(
                f"{key!r} is a group of columns. Set one of them, such as {key}:mine, or use another name."
            )
        super().__setitem__(key, value)
        self._seen.clear()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._seen.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(column.partition(":")[0] for column in self.data))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return key in self.data or any(column.startswith(f"{key}:") for column in self.data)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{key!r}: {_brief(self[key])}' for key in self)}}}"


class Record(_View):
    """One record."""

    def format(self, key: str) -> Any:
        return self.formatter.format_column(self.pa_table.select([key]))[0]

    @staticmethod
    def _nest(members: dict[str, Any]) -> dict[str, Any]:
        return members


class Records(_View):
    """Several records: every value is a list, and that of a group a list of dicts."""

    def format(self, key: str) -> Any:
        return self.formatter.format_column(self.pa_table.select([key]))

    @staticmethod
    def _nest(members: dict[str, Any]) -> list[dict[str, Any]]:
        return [dict(zip(members, values, strict=True)) for values in zip(*members.values(), strict=True)]


def _brief(value: Any) -> str:
    """A value as a line of text: arrays by dtype and shape, long text and lists cut."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_brief(member)}' for key, member in value.items())}}}"
    if isinstance(value, list):
        more = f", … {len(value)} in all" if len(value) > 1 else ""
        return f"[{_brief(value[0])}{more}]" if value else "[]"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…{text[-1]}"


class Settings(dict):
    """What the view has to know. Its class makes whoever unpickles a dataset register the view."""


class ViewFormatter(TensorFormatter):
    """Rows as ``Record``, batches as ``Records``, columns as lists."""

    def __init__(self, features: Any = None, token_per_repo_id: Any = None, settings: Settings | None = None):
        super().__init__(features=features, token_per_repo_id=token_per_repo_id)
        self.storage_options = settings["storage_options"] if settings else None

    def format_row(self, pa_table: pa.Table) -> Record:
        return Record(pa_table, self)

    def format_column(self, pa_table: pa.Table) -> list[Any]:
        return _rows(pa_table.column(0), pa_table.column_names[0], self.storage_options)

    def format_batch(self, pa_table: pa.Table) -> Records:
        return Records(pa_table, self)

    def recursive_tensorize(self, data_struct: dict[str, Any]) -> dict[str, Any]:
        """Nest an example that `datasets` made of Python lists on its way, as when it interleaves streams.

        What is nested already, or somebody's own, stays as it is.
        """
        example: dict[str, Any] = {}
        for column, value in data_struct.items():
            if isinstance(value, list) and column in ARRAYS:
                value = np.asarray(value, ARRAYS[column].dtype).reshape(-1, *ARRAYS[column].shape)
            elif isinstance(value, dict) and column in _MEDIA:
                value = _media(column, value, self.storage_options)
            group, nested, member = column.partition(":")
            if nested:
                example.setdefault(group, {})[member] = value
            else:
                example[column] = value
        return example


_register_formatter(ViewFormatter, NAME)


# --- streams --------------------------------------------------------------------------------------


class Stream(datasets.IterableDataset):
    """A stream in this view.

    ``datasets`` runs a formatted stream's functions on formatted examples. For ``map`` that is what
    users want. ``filter`` and ``remove_columns`` would then have to turn examples back into columns,
    which nested arrays and media cannot be; so here they run below the view, on the columns.
    """

    def filter(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        input_columns: str | list[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        fn_kwargs: dict[str, Any] | None = None,
    ) -> Stream:
        """As ``IterableDataset.filter``; the function gets records in this view."""
        # By way of `map`, since filtering tables fails in datasets 3.6 and 4.8.
        columns = [input_columns] if isinstance(input_columns, str) else input_columns
        keep = partial(_keep, function or bool, columns, batched)
        size = batch_size if batched else 1
        arrow = datasets.IterableDataset.with_format(self, "arrow")
        return as_stream(arrow.map(keep, with_indices, None, True, size, features=self.features, fn_kwargs=fn_kwargs))

    def remove_columns(self, column_names: str | list[str]) -> Stream:
        """As ``IterableDataset.remove_columns``; takes columns (``movement:FAUValue``), not groups of them."""
        return as_stream(datasets.IterableDataset.with_format(self, "arrow").remove_columns(column_names))


def _keep(
    function: Callable[..., Any],
    columns: list[str] | None,
    batched: bool,
    table: pa.Table,
    *indices: Any,
    **kwargs: Any,
) -> pa.Table:
    """The rows that a filter's function wants to keep."""
    view = (Records if batched else Record)(table, ViewFormatter())
    arguments = [view[column] for column in columns] if columns else [view]
    kept = function(*arguments, *(indices if batched else [index[0] for index in indices]), **kwargs)
    return table.filter(pa.array(map(bool, kept if batched else [kept])))


def as_stream(dataset: datasets.IterableDataset) -> Stream:
    """The stream in this view."""
    stream = dataset.with_format(NAME)
    stream.__class__ = Stream
    return stream


# datasets 3.6 shuffles and cuts examples and no tables: without the view before that, arrays would become Python lists,
# at 4 MB/s. The price is that the stream's features are unknown from there on, as they are after any `map`.
_ORDERS_EXAMPLES = datasets.__version__.startswith("3.")


def _kept(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def keep(self: Stream, *args: Any, **kwargs: Any) -> Any:
        if _ORDERS_EXAMPLES and method.__name__ != "select_columns":
            return method(self.map(), *args, **kwargs)
        return as_stream(method(self, *args, **kwargs))

    return keep


for _name in ("shuffle", "skip", "take", "repeat", "shard", "select_columns"):  # what only orders, chooses or drops
    setattr(Stream, _name, _kept(getattr(datasets.IterableDataset, _name)))
