"""A published repository as a source: Parquet that ``datasets`` reads itself, told what spares it bytes."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, cast

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seamless_interaction import (
    EVERY_MODALITY,
    HONESTY,
    IDENTITY,
    LABELS,
    SUBSETS,
    TIME,
    resolve_modalities,
)
from seamless_interaction.errors import BrokenTable, SeamlessInteractionError, UnknownSubset, UsageError
from seamless_interaction.formats.parquet import DAMAGED
from seamless_interaction.places import cache
from seamless_interaction.places.limits import MAX_INDEX_BYTES, MAX_TABLE_BYTES
from seamless_interaction.places.place import Place
from seamless_interaction.places.ranges import RangeFile
from seamless_interaction.publishing.names import SELECTION
from seamless_interaction.record import view
from seamless_interaction.selection.selection import Selection, choose, resolve_split
from seamless_interaction.source.tables import read_filelist

logger = logging.getLogger("seamless_interaction")

_AGAIN = "Fetch the repository again, or publish it anew."
_AHEAD = 1  # bytes that the client fetches beyond those that Arrow asks for, in pieces of up to 32 MB; else 5 MiB
_BLOCK = 1 << 16  # bytes of a request for the table of recordings, at least
_URLS = ("audio_url", "video_url")


def is_published(place: Place) -> bool:
    """Whether a place is a repository that ``seamless-interaction publish`` made, and no raw data."""
    if not place.can_be_listed:
        return False
    names = {entry.name for entry in place.entries()}
    return {"README.md", "manifest.parquet", "data"} <= names and not names & set(LABELS)


def load(
    place: Place,
    subset: str | None,
    split: str | None,
    selection: Selection,
    streaming: bool,
    cache_dir: str | None,
    num_proc: int | None,
) -> Any:
    """As ``seamless_interaction.load_dataset``, of a published repository.

    Raises:
        UnknownSubset, UnknownSplit: the repository has none of that name.
        UsageError: a place that `datasets` does not load from, a selection of which nothing is there, or a modality
            that was not published.
    """
    configs = _configs(place)
    name, largest = (subset or _default(configs, one, place) for one in (selection, replace(selection, subset="full")))
    if name != largest:
        logger.warning("%s: its config %s is chosen, of %s", place.url, name, ", ".join(configs))
    if selection.label and not name.endswith(LABELS):
        name = f"{name}-{selection.label}"
    if name not in configs:
        raise UnknownSubset(name, configs)
    split = resolve_split(split, list(configs[name]))
    if place.is_local:
        patterns = configs[name]  # `datasets` prepares all splits, whichever is asked for
        of_split = patterns.get(split or "") if streaming else None
        _check_files(place, name, of_split or chain.from_iterable(patterns.values()))
    ids = _ids(place, name, selection)
    options: dict[str, Any] = {"cache_dir": cache_dir}
    address = _address(place, options)
    options["columns"] = _columns(place, name, selection.modalities)
    if ids is not None:
        options["filters"] = [("id", ">=", ids[0]), ("id", "<=", ids[-1]), ("id", "in", ids)]
        options["verification_mode"] = "no_checks"  # as many rows come as match, not as many as the card declares
    if not streaming:
        options["num_proc"] = num_proc
    try:
        found = datasets.load_dataset(*address, name, split=split, streaming=streaming, **options)
    except (pa.ArrowException, TypeError, ValueError, AttributeError, LookupError) as error:  # what a card makes raise
        raise BrokenTable(f"{place.url}: `datasets` cannot load its config {name}: {error}. {_AGAIN}") from error
    except (datasets.exceptions.DatasetGenerationError, OSError) as error:
        raise _of_rows(place.url, error) or error from None
    wrap = partial(_as_stream if streaming else _with_view, place)
    if isinstance(found, dict):
        return type(found)({name: wrap(dataset) for name, dataset in found.items()})
    return wrap(found)


class _Rows:
    """What makes the rows of a stream; what Arrow says of damaged ones becomes ours."""

    def __init__(self, url: str, generate: Callable[..., Iterator[Any]]):
        self._url, self._generate = url, generate

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            yield from self._generate(*args, **kwargs)
        except DAMAGED as error:
            raise _of_rows(self._url, error) or error from None


def _of_rows(url: str, error: BaseException) -> BrokenTable | None:
    """The error for rows that are damaged. None: it is about something else.

    Arrow raises a plain OSError, without a number, for a page that is none. `datasets` hides some in its own.
    """
    if isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__ is not None:
        return _of_rows(url, error.__cause__)
    if isinstance(error, (pa.ArrowException, UnicodeDecodeError)) or (type(error) is OSError and error.errno is None):
        return BrokenTable(f"{url}: damaged rows: {str(error).strip()}. {_AGAIN}")
    return None


def _with_view(place: Place, dataset: datasets.Dataset) -> datasets.Dataset:
    return view.of_prepared(dataset, _folder(place))


def _as_stream(place: Place, dataset: datasets.IterableDataset) -> datasets.IterableDataset:
    source = dataset._ex_iterable
    source.generate_tables_fn = _Rows(place.url, source.generate_tables_fn)
    return view.as_stream(dataset).with_media_of(_folder(place))


def _folder(place: Place) -> str:
    """Of a local place that holds videos itself: their addresses are those that they have once it is pushed."""
    return place.root if place.is_local and os.path.isdir(place.path("video")) else ""


def _address(place: Place, options: dict[str, Any]) -> list[str]:
    """What ``datasets.load_dataset`` calls the place; what else it has to know goes into the options."""
    if place.is_local:
        return [_linked(place.root) if set(place.root) & set("[]*?") else place.root]
    if not place.is_hub:
        raise UsageError(f"{place.url}: a published repository is loaded from the Hub or from a folder. Copy it first.")
    at = place.fs.resolve_path(place.root)
    # A dict of its own each time, as `datasets` writes the token into it. What it holds counts for all Parquet that
    # this process streams with `datasets`, from the last call on.
    options |= {"revision": at.revision, "token": place.fs.token, "storage_options": {"hf": {"block_size": _AHEAD}}}
    return [at.repo_id]


def _linked(root: str) -> str:
    """A folder of links to what `datasets` reads: it takes brackets and the like in a path for a pattern."""
    folder = cache.folder() / "links" / cache.key(root)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("README.md", "data"):
        with suppress(FileExistsError):
            (folder / name).symlink_to(os.path.join(root, name))
    return str(folder)


def _configs(place: Place) -> dict[str, dict[str, list[str]]]:
    """Config -> split -> patterns of its files, from the card."""
    import yaml  # type: ignore[import-untyped]

    try:
        front = yaml.safe_load(place.read("README.md", 0, MAX_TABLE_BYTES).decode().split("---\n")[1])
        return {
            config["config_name"]: {files["split"]: list(files["path"]) for files in config["data_files"]}
            for config in front["configs"]
        }
    except (ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise BrokenTable(f"{place.path('README.md')}: declares no configs. Fetch it again.") from error


def _columns(place: Place, config: str, modalities: Iterable[str] | None) -> list[str]:
    """Those of a record that were published, and asked for."""
    try:
        published = json.loads(place.read("dataset_infos.json", 0, MAX_TABLE_BYTES))[config]["features"].keys()
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{place.path('dataset_infos.json')}: does not tell the columns of {config!r}. Fetch it again."
        raise BrokenTable(message) from error
    for name in modalities or ():
        if published.isdisjoint(resolve_modalities(name)):
            held = (name for name, columns in EVERY_MODALITY.items() if not published.isdisjoint(columns))
            raise UsageError(f"{place.url} was published without {name}. Ask for {', '.join(held)}.")
    asked = resolve_modalities(list(EVERY_MODALITY if modalities is None else modalities))
    urls = [url for url in _URLS if url.removesuffix("_url") in asked]
    return [column for column in (*IDENTITY, *TIME, *urls, *asked, *HONESTY) if column in published]


def _check_files(place: Place, name: str, patterns: Iterable[str]) -> None:
    """Make sure that a folder has all files of a config, as long as they should be: fewer would be fewer rows.

    Raises ``BrokenTable``. Of the Hub nothing is asked: there a push changes all of them at once.
    """
    try:
        listed = pq.read_table(place.path("manifest.parquet"), columns=["file", "bytes"])
        sizes = dict(zip(listed["file"].to_pylist(), listed["bytes"].cast(pa.int64()).to_pylist(), strict=True))
        wanted = {path for pattern in patterns for path in fnmatch.filter(sizes, pattern)}
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        message = f"{place.path('manifest.parquet')}: does not tell the files of {name!r}: {error}. {_AGAIN}"
        raise BrokenTable(message) from error
    for path in sorted(wanted):
        try:
            size = os.path.getsize(place.path(path))
        except OSError as error:
            raise BrokenTable(f"{place.path(path)}: not there, and {name!r} has rows in it. {_AGAIN}") from error
        if size != sizes[path]:
            raise BrokenTable(f"{place.path(path)}: {size} bytes, where the manifest has {sizes[path]}. {_AGAIN}")


def _default(configs: Iterable[str], selection: Selection, place: Place) -> str:
    """The config of a selection that names none: the largest; of the Hub the smallest, if nothing else bounds it."""
    sizes = [name for name in configs if name != "recordings" and not name.endswith(LABELS)]
    return selection.size if place.is_hub and selection.size in sizes else (sizes or list(configs))[-1]


def _ids(place: Place, name: str, selection: Selection) -> list[str] | None:
    """File ids that are selected, sorted; None for all that the config has."""
    narrowed = replace(selection, subset="full", label=None, modalities=None, seed=0)
    if narrowed == Selection("full", single=selection.single):
        return None
    size, _, label = name.partition("-")
    order = [*SUBSETS, SELECTION]
    held = pa.concat_tables([_held(place, entry.name) for entry in place.entries("data/recordings")])
    held = held.filter(pc.is_in(held["size"], pa.array(order[: order.index(size) + 1])))
    filelist = read_filelist(place)
    if filelist is None:
        raise UsageError(f"{place.url} has no filelist.csv, without which only whole configs can be loaded.")
    here = filelist.filter(pc.is_in(filelist["file_id"], held["id"].combine_chunks()))
    chosen = choose(here, replace(selection, subset="full", label=label or None))
    return cast("list[str]", chosen["file_id"].to_pylist())


def _held(place: Place, name: str) -> pa.Table:
    """Id and size of each recording in a file of the table of recordings."""
    path = f"data/recordings/{name}"
    size = place.stat(path).size
    if size > MAX_INDEX_BYTES:
        raise BrokenTable(f"{place.path(path)}: {size} bytes, which no table of recordings has. {_AGAIN}")
    file = RangeFile(partial(place.read, path), size, _BLOCK)
    try:
        held = pq.read_table(pa.PythonFile(file, "r"), columns=["id", "size"], use_threads=False)
        return held.cast(pa.schema([("id", pa.string()), ("size", pa.string())]))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, SeamlessInteractionError):
            raise
        raise BrokenTable(f"{place.path(path)}: not a table of recordings, or damaged: {error}. {_AGAIN}") from error
