"""What lies in a place, by names alone: its layout, found out from what is there, and its files."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import pyarrow as pa

from seamless_interaction import DOUBLES, LABELS, SELECTION, SPLITS, TABLES
from seamless_interaction.errors import AccessDenied, AmbiguousSource, SourceNotFound, UnknownLayout
from seamless_interaction.places.entry import Entry
from seamless_interaction.places.place import Place
from seamless_interaction.source.layout import (
    BOOKKEEPING,
    FOUND,
    LAYOUTS,
    Layout,
    Spot,
    Walk,
    archive_paths,
    is_file_id,
    listed_folders,
)

_REQUESTS = 16  # folders of a remote place listed at a time


class Listing(NamedTuple):
    """What a place holds, by name only."""

    place: Place
    layout: Layout
    found: pa.Table  # FOUND; of archives, which have to be opened to know, nothing
    aliases: dict[str, str]  # of a tree: "{label}/{split}/{part}" -> a directory of an early draft
    archives: dict[str, Entry]  # path -> the tar
    identity: str  # of names, sizes and times: changes when the data does
    ignored: tuple[str, ...]  # files and folders that are not read: unknown by their names, or a tar not extracted


def scan(place: Place, layout: str | None = None) -> Listing:
    """List a place once, and find out its layout. A place that cannot be listed has a tree, if not told otherwise.

    Raises:
        SourceNotFound: there is no such place, or nothing of the dataset in it.
        AmbiguousSource: two layouts, or two directories of the same part, in one place.
        UnknownLayout: ``layout`` is none of ``LAYOUTS``.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UnknownLayout(layout, tuple(LAYOUTS))
    digest = hashlib.sha256(tables_identity(place).encode())
    if not place.can_be_listed:
        return Listing(place, LAYOUTS[layout or "tree"], FOUND.empty_table(), {}, {}, digest.hexdigest(), ())
    if not place.exists(""):
        raise SourceNotFound(
            f"{place.url} does not exist. data_dir must be the folder that holds {' and '.join(LABELS)}."
        )
    top = {entry.name for entry in place.entries()}
    folders = [(label, split) for label in LABELS for split in SPLITS if label in top]
    splits = {
        spot: [entry.name for entry in entries]
        for spot, entries in zip(folders, listed_folders(place, ["/".join(spot) for spot in folders]), strict=True)
    }
    kind = LAYOUTS[layout] if layout else _detect(place, splits, sorted(top))
    files: dict[Spot, dict[str, int]] = {}
    walk = Walk({}, {}, [])
    for spot, folder, entries, extensions in kind.walk(place, splits, walk):
        found = files.setdefault(spot, {})
        bits = {extension: 1 << kind.files.index(file) for extension, file in extensions.items()}
        for entry in entries:
            if entry.is_folder or entry.name.endswith(BOOKKEEPING) or entry.name.startswith("."):
                continue
            stem, extension = os.path.splitext(entry.name)
            if extension not in bits or not (stem in found or is_file_id(stem)):
                walk.ignored.append(f"{folder}/{entry.name}")
                continue
            found[stem] = found.get(stem, 0) | bits[extension]
            digest.update(f"{folder}/{entry.name}:{entry.size}:{entry.stamp};".encode())
    for path, entry in walk.archives.items():
        digest.update(f"{path}:{entry.size}:{entry.stamp};".encode())
    if not walk.archives and not any(files.values()):
        raise SourceNotFound(f"{place.url} holds no recording in the layout {kind.name!r}.")
    return Listing(place, kind, _table(files), walk.aliases, walk.archives, digest.hexdigest(), tuple(walk.ignored))


def tables_identity(place: Place) -> str:
    """Changes when a table beside the data does."""
    place.look_anew()
    names = (*TABLES, SELECTION)
    if place.can_be_listed:
        return repr([entry for entry in place.entries() if entry.name in (*names, DOUBLES)])

    def stat(name: str) -> Entry | None:
        try:
            return place.stat(name, is_sized=False)
        except (FileNotFoundError, AccessDenied):
            return None

    with ThreadPoolExecutor(_REQUESTS) as pool:
        return repr(list(pool.map(stat, names)))


def _table(files: dict[Spot, dict[str, int]]) -> pa.Table:
    spots = [(*spot, 0, 0)[:4] for spot, found in files.items() for _ in found]
    label, split, batch, archive = zip(*spots, strict=True) if spots else ((), (), (), ())
    columns = [
        [file_id for found in files.values() for file_id in found],
        *(label, split, batch, archive),
        [bits for found in files.values() for bits in found.values()],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, FOUND, strict=True)], schema=FOUND)


def _detect(place: Place, splits: dict[Spot, list[str]], top: list[str]) -> Layout:
    """The layout, from the names below the splits."""
    found: dict[str, str] = {}
    for spot, names in splits.items():
        for name in names:
            folder = f"{'/'.join(spot)}/{name}"
            entries = cache(lambda folder=folder: list(place.entries(folder)))
            for layout in LAYOUTS.values():
                path = None if layout.name in found else layout.sign("/".join(spot), name, entries)
                if path:
                    found[layout.name] = path
    for hidden in [hidden for name in found for hidden in LAYOUTS[name].hides]:
        found.pop(hidden, None)
    if not found:
        raise SourceNotFound(
            f"{place.url} holds nothing of the dataset: expected {', '.join(f'{label}/<split>' for label in LABELS)} "
            f"with splits {', '.join(SPLITS)}, found {', '.join(sorted(top)[:8]) or 'an empty folder'}. "
            "data_dir must be the folder that holds the labels."
        )
    if len(found) > 1:
        raise AmbiguousSource(
            f"{place.url} holds {len(found)} layouts: {', '.join(f'{k} ({v})' for k, v in found.items())}. "
            f"Say which one to read with layout=, one of {', '.join(LAYOUTS)}."
        )
    return LAYOUTS[next(iter(found))]


def unnamed(listing: Listing, filelist: pa.Table) -> list[str]:
    """Archives that the file list does not name. They hold recordings of other splits, or nobody knows what."""
    return sorted(listing.archives.keys() - set(archive_paths(filelist).unique().to_pylist()))
