"""What lies in a place, by names alone: its layout, found out from what is there, and its files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa

from seamless_interaction import DOUBLES, LABELS, SELECTION, SPLITS, TABLES
from seamless_interaction.errors import AccessDenied, AmbiguousSource, SourceNotFound, UnknownLayout
from seamless_interaction.places.entry import Entry
from seamless_interaction.places.place import Place
from seamless_interaction.source.layout import (
    EXTENSIONS,
    FOUND,
    LAYOUTS,
    TREE,
    Spot,
    archive_path,
    archive_paths,
    is_file_id,
)

_FOUR_DIGITS = re.compile(r"[0-9]{4}|[1-9][0-9]{4,8}")  # as numbers are written: one name each


_BOOKKEEPING = (".lock", ".metadata", ".incomplete", ".tar")  # of the Hub's client, and archives beside folders


_REQUESTS = 16  # folders of a remote place listed at a time


class Listing(NamedTuple):
    """What a place holds, by name only."""

    place: Place
    layout: str
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
        raise UnknownLayout(layout, LAYOUTS)
    digest = hashlib.sha256(tables_identity(place).encode())
    if not place.can_be_listed:
        return Listing(place, layout or "tree", FOUND.empty_table(), {}, {}, digest.hexdigest(), ())
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
    layout = layout or _detect(place, splits, sorted(top))
    files: dict[Spot, dict[str, int]] = {}
    aliases: dict[str, str] = {}
    archives: dict[str, Entry] = {}
    ignored: list[str] = []
    if layout == "archives":
        for path, entry in _walk_archives(place, splits, ignored):
            archives[path] = entry
            digest.update(f"{path}:{entry.size}:{entry.stamp};".encode())
    walk = {"tree": _walk_tree, "bundles": _walk_bundles}.get(layout)
    for spot, folder, entries, extensions in walk(place, splits, aliases, ignored) if walk else ():
        found = files.setdefault(spot, {})
        for entry in entries:
            if entry.is_folder or entry.name.endswith(_BOOKKEEPING) or entry.name.startswith("."):
                continue
            stem, extension = os.path.splitext(entry.name)
            bit = extensions.get(extension)
            if bit is None or not (stem in found or is_file_id(stem)):
                ignored.append(f"{folder}/{entry.name}")
                continue
            found[stem] = found.get(stem, 0) | 1 << bit
            digest.update(f"{folder}/{entry.name}:{entry.size}:{entry.stamp};".encode())
    if not archives and not any(files.values()):
        raise SourceNotFound(f"{place.url} holds no recording in the layout {layout!r}.")
    return Listing(place, layout, _table(files), aliases, archives, digest.hexdigest(), tuple(ignored))


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


def listed_folders(place: Place, folders: list[str]) -> list[list[Entry]]:
    """The entries of each folder; of remote ones, several at a time."""
    if place.is_local:
        return [list(place.entries(folder)) for folder in folders]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(lambda folder: list(place.entries(folder)), folders))


def _table(files: dict[Spot, dict[str, int]]) -> pa.Table:
    spots = [(*spot, 0, 0)[:4] for spot, found in files.items() for _ in found]
    label, split, batch, archive = zip(*spots, strict=True) if spots else ((), (), (), ())
    columns = [
        [file_id for found in files.values() for file_id in found],
        *(label, split, batch, archive),
        [bits for found in files.values() for bits in found.values()],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, FOUND, strict=True)], schema=FOUND)


# A folder of recordings' files: its spot, path and entries, and the bit of each extension.
_Folder = tuple[Spot, str, list[Entry], dict[str, int]]


def _walk_tree(
    place: Place, splits: dict[Spot, list[str]], aliases: dict[str, str], ignored: list[str]
) -> Iterator[_Folder]:
    known = {directory for _, directories in TREE.values() for directory in directories}
    parents = {directory.split("/")[0] for directory in known}
    for (label, split), names in splits.items():
        root = f"{label}/{split}"
        here = {name for name in names if name in known}
        for parent in sorted(parents & set(names) - known):
            here |= {f"{parent}/{entry.name}" for entry in place.entries(f"{root}/{parent}")}
        ignored += [f"{root}/{name}" for name in sorted((here - known) | (set(names) - parents))]
        for bit, (part, (extension, directories)) in enumerate(TREE.items()):
            found = {d: list(place.entries(f"{root}/{d}")) for d in directories if d in here}
            found = {directory: entries for directory, entries in found.items() if entries}
            if len(found) > 1:
                raise AmbiguousSource(
                    f"{place.url}/{root} holds {part} twice, in {' and '.join(found)}. Move one away."
                )
            for directory, entries in found.items():
                if directory != directories[0]:
                    aliases[f"{root}/{part}"] = directory
                yield (label, split), f"{root}/{directory}", entries, {extension: bit}


def _walk_bundles(
    place: Place, splits: dict[Spot, list[str]], aliases: dict[str, str], ignored: list[str]
) -> Iterator[_Folder]:
    extensions = {extension: bit for bit, extension in enumerate(EXTENSIONS)}
    for (label, split, batch), entries in _walk_batches(place, splits, ignored):
        folder = f"{label}/{split}/{batch:04d}"
        archives = {entry.name: entry for entry in entries}
        for name, entry in archives.items():
            stem, extension = os.path.splitext(name)
            if entry.is_folder and _FOUR_DIGITS.fullmatch(name):
                path = f"{folder}/{name}"
                yield (label, split, batch, int(name)), path, list(place.entries(path)), extensions
            elif not (extension in _BOOKKEEPING and (extension != ".tar" or stem in archives)):
                ignored.append(f"{folder}/{name}")


def _walk_archives(place: Place, splits: dict[Spot, list[str]], ignored: list[str]) -> Iterator[tuple[str, Entry]]:
    for (label, split, batch), entries in _walk_batches(place, splits, ignored):
        for entry in entries:
            stem, extension = os.path.splitext(entry.name)
            if extension == ".tar" and _FOUR_DIGITS.fullmatch(stem) and not entry.is_folder:
                yield f"{archive_path(label, split, batch, int(stem))}.tar", entry
            elif (extension == ".tar" or extension not in _BOOKKEEPING) and not entry.name.startswith("."):
                ignored.append(f"{label}/{split}/{batch:04d}/{entry.name}")


def _walk_batches(
    place: Place, splits: dict[Spot, list[str]], ignored: list[str]
) -> Iterator[tuple[Spot, list[Entry]]]:
    batches = [(*spot, name) for spot, names in splits.items() for name in names]
    ignored += ["/".join(batch) for batch in batches if not _FOUR_DIGITS.fullmatch(batch[2])]
    batches = [batch for batch in batches if _FOUR_DIGITS.fullmatch(batch[2])]
    for (label, split, name), entries in zip(
        batches, listed_folders(place, ["/".join(b) for b in batches]), strict=True
    ):
        yield (label, split, int(name)), entries


def _detect(place: Place, splits: dict[Spot, list[str]], top: list[str]) -> str:
    """The layout, from the names below the splits."""
    tree_names = {directory.split("/")[0] for _, directories in TREE.values() for directory in directories}
    found: dict[str, str] = {}
    for (label, split), names in splits.items():
        for name in names:
            folder = f"{label}/{split}/{name}"
            if name in tree_names:
                found.setdefault("tree", folder)
            elif _FOUR_DIGITS.fullmatch(name):
                for entry in place.entries(folder):
                    if entry.is_folder and _FOUR_DIGITS.fullmatch(entry.name):
                        found.setdefault("bundles", f"{folder}/{entry.name}")
                    elif not entry.is_folder and entry.name.endswith(".tar"):
                        found.setdefault("archives", f"{folder}/{entry.name}")
    if "bundles" in found:  # extracted bundles often have their tars beside them
        found.pop("archives", None)
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
    return next(iter(found))


def unnamed(listing: Listing, filelist: pa.Table) -> list[str]:
    """Archives that the file list does not name. They hold recordings of other splits, or nobody knows what."""
    return sorted(listing.archives.keys() - set(archive_paths(filelist).unique().to_pylist()))
