"""Records as NumPy sees them: arrays nested by group, media that open when used.

``dataset.with_format("seamless")`` gives this view of any Dataset or IterableDataset that has our
columns. It is a formatter of ``datasets``, so map, filter, shuffle, select and state_dict go on
working. The registration is private API of ``datasets``; the tests pin it on every version.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial, wraps
from itertools import chain
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets.formatting import _register_formatter
from datasets.formatting.formatting import LazyDict, TensorFormatter

from seamless_interaction import ARRAYS, MODALITIES, MOVEMENT_V4
from seamless_interaction.errors import UsageError
from seamless_interaction.places.options import bring_options


@bring_options
class _Name(str):
    """The view's name, as every formatted dataset holds it: whoever unpickles one registers the view by it."""


NAME = _Name("seamless")
_MEDIA = {**MODALITIES["audio"], **MODALITIES["video"], "partner_video": MODALITIES["video"]["video"]}


def _media(column: str, feature: Any, value: Any, folder: str | None = None) -> Any:
    """Audio or video that opens when used, as its feature says; as it is, if it was decoded, or is not to be.

    Raises:
        UsageError: the feature asks for what the view does not do.
    """
    is_media = isinstance(feature, (datasets.Audio, datasets.Video)) and isinstance(value, dict)
    if not is_media or value.keys() != {"bytes", "path"} or value["bytes"] is value["path"] is None:
        return value
    from seamless_interaction.formats.audio import Audio, Resampled
    from seamless_interaction.formats.video import Video

    asked = {field.name: getattr(feature, field.name) for field in fields(feature) if field.init}
    usual = {field.name: field.default for field in fields(feature)} | {"sampling_rate": None, "num_channels": 1}
    rate, is_decoded = asked.pop("sampling_rate", None), asked.pop("decode")
    if not is_decoded and feature not in _MEDIA.values():
        return value
    unknown = [name for name, option in asked.items() if option not in (None, usual[name])]
    if unknown:
        raise UsageError(
            f"{column} is {feature}, and this view does not know {', '.join(unknown)}. Leave it out, or take the view "
            "off: with_format(None)."
        )
    path = value["path"] or ""
    if folder is not None and value["bytes"] is None:
        from seamless_interaction.record.media import media_path

        path = media_path(folder, path)
    opens = path, None, value["bytes"]  # options are those of the place, where it is opened
    if isinstance(feature, datasets.Video):
        return Video(*opens)
    return Resampled(*opens, rate) if is_decoded and rate else Audio(*opens)


def _rows(column: pa.ChunkedArray, name: str, feature: Any, folder: str | None) -> list[Any]:
    """The values of a column, one a row. Arrays are copies: Arrow's memory may be a map of what was prepared."""
    type = column.type
    if isinstance(feature, (datasets.Audio, datasets.Video)) and pa.types.is_struct(type):
        return [_media(name, feature, value, folder) for value in column.to_pylist()]
    if name in MOVEMENT_V4 and pa.types.is_struct(type):
        return [row for chunk in column.chunks for row in _open_arrays(chunk)]
    storage = type.storage_type if isinstance(type, pa.ExtensionType) else type
    leaf = storage
    while pa.types.is_list(leaf):
        leaf = leaf.value_type
    if leaf is storage or not (pa.types.is_floating(leaf) or pa.types.is_integer(leaf) or pa.types.is_boolean(leaf)):
        return column.to_pylist()
    if isinstance(type, pa.ExtensionType):
        shape = tuple(type.shape[1:])
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


def _open_arrays(chunk: pa.StructArray) -> Iterator[np.ndarray | None]:
    """Those that come with their shape."""
    valid, shapes = chunk.is_valid().to_pylist(), chunk.field("shape").to_pylist()
    # A null of a struct need not be one of its fields.
    for is_there, values, shape in zip(valid, _arrays(chunk.field("values"), ()), shapes, strict=True):
        yield values.reshape(shape) if is_there and values is not None else None


class _View(LazyDict):
    """A mapping over Arrow data: ``"movement"`` is a dict of the columns ``"movement:…"``.

    Columns are converted when asked for. Single columns are there too (``"movement:FAUValue"``), and so are values that
    were set, also in a group's dict. The base class keeps the columns under their own names, and what was looked at
    counts as unchanged unless it was changed in place: so ``map`` with a function that returns its example writes only
    what that function made.
    """

    def __init__(self, pa_table: pa.Table, formatter: ViewFormatter):
        self._seen: dict[str, Any] = {}  # columns and groups, as they were handed out
        super().__init__(pa_table, formatter)

    @property
    def data(self) -> dict[str, Any]:
        """What `datasets` takes of a record that ``map`` gives back, besides ``keys_to_format``, the unchanged ones."""
        for key, value in list(self._seen.items()):
            if key not in self._columns:
                self._take_from(key)
            elif key in self.keys_to_format and not _is_same(value, self.format(key)):
                self._set(key, value)
        return self._columns

    @data.setter
    def data(self, columns: dict[str, Any]) -> None:
        self.__dict__["data"] = columns

    @property
    def _columns(self) -> dict[str, Any]:
        return self.__dict__["data"]

    def _set(self, column: str, value: Any) -> None:
        self.keys_to_format.discard(column)
        self._columns[column] = value

    def _take_from(self, group: str) -> None:
        """What was set in a group's dict, as columns."""
        for name, value in self._unnested(self._seen[group]).items():
            column = f"{group}:{name}"
            if not _is_identical(value, self._seen.get(column)):
                self._seen[column] = value
                self._set(column, value)

    def __getitem__(self, key: str) -> Any:
        if key in self._columns:
            if key not in self.keys_to_format:
                return self._columns[key]
            if key not in self._seen:
                self._seen[key] = self.format(key)
            return self._seen[key]
        members = [column for column in self._columns if column.startswith(f"{key}:")]
        if not members:
            raise KeyError(key)
        if key not in self._seen:
            values = {column: self[column] for column in members}
            self._seen |= values
            self._seen[key] = self._nest({column.partition(":")[2]: value for column, value in values.items()})
        return self._seen[key]

    def _forget(self, key: str) -> None:
        group = key.partition(":")[0]
        if group != key and group in self._seen:
            self._take_from(group)
            del self._seen[group]
        self._seen.pop(key, None)

    def __setitem__(self, key: str, value: Any) -> None:
        if any(column.startswith(f"{key}:") for column in self._columns):
            raise UsageError(
                f"{key!r} is a group of columns. Set one of them, such as {key}:mine, or use another name."
            )
        self._forget(key)
        self._set(key, value)

    def __delitem__(self, key: str) -> None:
        self._forget(key)
        self.keys_to_format.discard(key)
        del self._columns[key]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(column.partition(":")[0] for column in self._columns))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return key in self._columns or any(column.startswith(f"{key}:") for column in self._columns)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{key!r}: {_brief(self[key])}' for key in self)}}}"


class Record(_View):
    """One record."""

    def format(self, key: str) -> Any:
        return self.formatter.format_column(self.pa_table.select([key]))[0]

    @staticmethod
    def _nest(members: dict[str, Any]) -> dict[str, Any]:
        return members

    _unnested = _nest


class Records(_View):
    """Several records: every value is a list, and that of a group a list of dicts."""

    def format(self, key: str) -> Any:
        return self.formatter.format_column(self.pa_table.select([key]))

    @staticmethod
    def _nest(members: dict[str, Any]) -> list[dict[str, Any]]:
        return [dict(zip(members, values, strict=True)) for values in zip(*members.values(), strict=True)]

    @staticmethod
    def _unnested(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        return {name: [row.get(name) for row in rows] for name in dict.fromkeys(chain(*rows))}


def _is_identical(one: Any, other: Any) -> bool:
    """Whether these are the same objects, be it in different lists."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(operator.is_, one, other))
    return one is other


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values of a column are equal, bit for bit; media are, if they are of the same file."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    return bool(type(one) is type(other) and getattr(one, "path", one) == getattr(other, "path", other))


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


class ViewFormatter(TensorFormatter):
    """Rows as ``Record``, batches as ``Records``, columns as lists."""

    def __init__(self, features: Any = None, token_per_repo_id: Any = None, folder: Any = None):
        super().__init__(features=features, token_per_repo_id=token_per_repo_id)
        self.folder = folder

    def format_row(self, pa_table: pa.Table) -> Record:
        return Record(pa_table, self)

    def format_column(self, pa_table: pa.Table) -> list[Any]:
        name = pa_table.column_names[0]
        return _rows(pa_table.column(0), name, self.feature(name), self.folder)

    def feature(self, column: str) -> Any:
        """The feature of a column; where `datasets` does not say, as in a stream after ``map``, that of the schema."""
        return (self.features or {}).get(column, _MEDIA.get(column))

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
            elif isinstance(value, dict) and column in MOVEMENT_V4 and value["shape"] is not None:
                value = np.asarray(value["values"], MOVEMENT_V4[column].dtype).reshape(value["shape"])
            else:
                value = _media(column, self.feature(column), value, self.folder)
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
        keep = partial(_keep, function or bool, columns, batched, self.features)
        size = batch_size if batched else 1
        return self._mapped(keep, size, self.features, with_indices=with_indices, fn_kwargs=fn_kwargs)

    def _mapped(
        self, function: Callable[..., Any], size: int | None, features: datasets.Features | None, **options: Any
    ) -> Stream:
        """By a function of tables of so many rows; the features are set afterwards, as 3.6 forgets those of a map."""
        arrow = datasets.IterableDataset.with_format(self, "arrow")
        mapped = arrow.map(function, batched=True, batch_size=size, **options)
        return as_stream(mapped.cast(features) if features else mapped)

    def with_media_of(self, folder: str) -> Stream:
        """With media as ``publishing.rows.media_path`` has them."""
        return self._mapped(partial(_with_media_of, folder), 1, self.features)

    def rename_columns(self, column_mapping: dict[str, str]) -> Stream:
        """As ``IterableDataset.rename_columns``; takes columns, not groups of them."""
        features = self.features and datasets.Features(
            {column_mapping.get(name, name): feature for name, feature in self.features.items()}
        )
        return self._mapped(partial(_renamed, column_mapping), 1, features)

    def rename_column(self, original_column_name: str, new_column_name: str) -> Stream:
        """As ``IterableDataset.rename_column``; takes columns, not groups of them."""
        return self.rename_columns({original_column_name: new_column_name})

    def remove_columns(self, column_names: str | list[str]) -> Stream:
        """As ``IterableDataset.remove_columns``; takes columns (``movement:FAUValue``), not groups of them."""
        return as_stream(datasets.IterableDataset.with_format(self, "arrow").remove_columns(column_names))


def _keep(
    function: Callable[..., Any],
    columns: list[str] | None,
    batched: bool,
    features: datasets.Features | None,
    table: pa.Table,
    *indices: Any,
    **kwargs: Any,
) -> pa.Table:
    """The rows that a filter's function wants to keep."""
    view = (Records if batched else Record)(table, ViewFormatter(features))
    arguments = [view[column] for column in columns] if columns else [view]
    kept = function(*arguments, *(indices if batched else [index[0] for index in indices]), **kwargs)
    return table.filter(pa.array(map(bool, kept if batched else [kept])))


def _renamed(mapping: dict[str, str], table: pa.Table) -> pa.Table:
    unknown = mapping.keys() - set(table.column_names)
    if unknown:
        raise UsageError(f"no column {', '.join(sorted(unknown))} to rename. Known: {', '.join(table.column_names)}.")
    return table.rename_columns([mapping.get(name, name) for name in table.column_names])


def _with_media_of(folder: str, table: pa.Table) -> pa.Table:
    from seamless_interaction.record.media import media_path

    for name in _MEDIA:
        if name in table.column_names:
            column = pa.concat_arrays(table[name].chunks)
            there, paths = column.field("bytes").is_valid().to_pylist(), column.field("path").to_pylist()
            opened = [
                path if held or path is None else media_path(folder, path)
                for held, path in zip(there, paths, strict=True)
            ]
            paths = pa.array(opened, pa.string())
            videos = pa.StructArray.from_arrays(
                [column.field("bytes"), paths], ["bytes", "path"], mask=column.is_null()
            )
            table = table.set_column(table.column_names.index(name), name, videos)
    return table


def as_stream(dataset: datasets.IterableDataset) -> Stream:
    """The stream in this view."""
    stream = dataset.with_format(NAME)
    stream.__class__ = Stream
    return stream


# datasets 3.6 shuffles and cuts examples and no tables: without the view before that, arrays would become Python lists,
# at 4 MB/s. The price is that the stream's features are unknown from there on, as they are after any `map`.
_ORDERS_EXAMPLES = datasets.__version__.startswith("3.")
_ORDERING = ("shuffle", "skip", "take", "repeat", "shard")


def _kept(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def keep(self: Stream, *args: Any, **kwargs: Any) -> Any:
        if _ORDERS_EXAMPLES and method.__name__ in _ORDERING:
            return method(self.map(), *args, **kwargs)
        return as_stream(method(self, *args, **kwargs))

    return keep


for _name in (*_ORDERING, "select_columns", "cast", "cast_column"):  # what makes no new values
    setattr(Stream, _name, _kept(getattr(datasets.IterableDataset, _name)))


# --- prepared data --------------------------------------------------------------------------------


class Prepared(datasets.Dataset):
    """Prepared data in this view; what is made of them is a Dataset of the library's own, in this view too."""

    def to_iterable_dataset(self, num_shards: int | None = 1) -> datasets.IterableDataset:
        """As ``Dataset.to_iterable_dataset``; a stream in this view, if this is."""
        stream = super().to_iterable_dataset(num_shards)
        return as_stream(stream) if self.format["type"] == NAME else stream


def of_prepared(prepared: Any, folder: str | None = None) -> Any:
    """A Dataset, or a dict of them, in this view.

    ``folder`` is that of ``publishing.rows.media_path``, for what is published.
    """
    viewed = prepared.with_format(NAME, **({} if folder is None else {"folder": folder}))
    for dataset in viewed.values() if isinstance(viewed, dict) else [viewed]:
        dataset.__class__ = Prepared
    return viewed
