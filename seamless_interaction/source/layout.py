"""Where files lie: the storage layouts, found out from what is there.

A *layout* says which path of a place holds which part of a recording. A *part* is what the tree
stores as one file: ``audio``, ``video``, an array's key, ``transcript``, ``vad`` or a kind of
annotation.

======== ============================================================ ==========================
layout   path                                                         files of a recording
======== ============================================================ ==========================
tree     ``{label}/{split}/{directory of the part}/{file_id}{ext}``   one a part
bundles  ``{label}/{split}/{batch:04d}/{archive:04d}/{file_id}{ext}`` .wav, .mp4, .npz, .json
archives ``{label}/{split}/{batch:04d}/{archive:04d}.tar``            the same, as members
======== ============================================================ ==========================
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import (
    ANNOTATION_KINDS,
    DOUBLES,
    EVERY_ARRAY,
    LABELS,
    MOVEMENT_V4,
    SELECTION,
    SPLITS,
    TABLES,
    FileId,
)
from seamless_interaction.errors import (
    AccessDenied,
    AmbiguousSource,
    InvalidFileId,
    SourceNotFound,
    UnknownLayout,
)
from seamless_interaction.places.place import Entry, Place

# --- format facts ---------------------------------------------------------------------------------

# The tree: part -> its extension and its directory below the split, then the directory's names in
# early drafts (with a dash, without `metadata`, misspelt), which are read and never written.
TREE: dict[str, tuple[str, tuple[str, ...]]] = {
    "audio": (".wav", ("audio",)),
    "video": (".mp4", ("video",)),
    "transcript": (".jsonl", ("metadata/transcript", "transcript", "metadata/trascription")),
    "vad": (".jsonl", ("metadata/vad", "vad")),
    **{kind: (".json", (f"annotations/{kind}", kind)) for kind in ANNOTATION_KINDS},
}
for _key, _array in EVERY_ARRAY.items():
    _names = dict.fromkeys([_array.feature, _array.feature.replace("_", "-")])
    TREE[_key] = (".npy", tuple(f"{_array.group}/{name}" for name in _names))
TREE["boxes_and_keypoints:box"] = (".npy", ("boxes_and_keypoints/box", "boxes_and_keypoints/boxes"))

DIRECTORIES = frozenset(directory for _, directories in TREE.values() for directory in directories)

# Bundles: part -> extension of the file that holds it, and its name in there.
BUNDLE: dict[str, tuple[str, str | None]] = {
    "audio": (".wav", None),
    "video": (".mp4", None),
    "transcript": (".json", "metadata:transcript"),
    "vad": (".json", "metadata:vad"),
    **{kind: (".json", f"annotations:{kind}") for kind in ANNOTATION_KINDS},
    **{key: (".npz", f"{key}.npy") for key in EVERY_ARRAY},
}

PARTS: tuple[str, ...] = tuple(TREE)
EVERY_PART: int = (1 << len(PARTS)) - 1  # as bits, in the order of PARTS
USUAL_PARTS: tuple[str, ...] = tuple(part for part in PARTS if part not in MOVEMENT_V4)  # of who names no modality
EXTENSIONS = (".wav", ".mp4", ".npz", ".json")
LAYOUTS = ("tree", "bundles", "archives")


def parts_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The parts of a recording that these columns are made of."""
    parts = {"segments": ("transcript",), "annotations": tuple(ANNOTATION_KINDS)}
    return tuple(
        part
        for column in columns
        for part in parts.get(column, (column,) if column in ("audio", "video", "vad") or column in EVERY_ARRAY else ())
    )


def is_meant(column: str, meant: int) -> bool:
    """Whether a copy is meant to hold anything of a column, given its parts as ``bits_of`` has them."""
    parts = parts_of(["segments" if column == "transcript" else column])
    return not parts or bool(bits_of(parts) & meant)


def bits_of(parts: Iterable[str]) -> int:
    """Parts as one number, a bit each in the order of ``PARTS``."""
    return sum(1 << PARTS.index(part) for part in set(parts))


def tree_path(label: str, split: str, part: str, file_id: str) -> str:
    """Path of one part of a recording, below a tree's root."""
    extension, directories = TREE[part]
    return f"{label}/{split}/{directories[0]}/{file_id}{extension}"


def archive_path(label: str, split: str, batch: int, archive: int) -> str:
    """Path of the folder of a bundle; with ``.tar``, of the archive it was in."""
    return f"{label}/{split}/{batch:04d}/{archive:04d}"


def archive_paths(table: pa.Table) -> pa.Array:
    """The tar that each row of a file list names."""
    numbers = (
        pc.utf8_lpad(table[name].combine_chunks().cast(pa.string()), 4, "0") for name in ("batch_idx", "archive_idx")
    )
    names = (table[name].combine_chunks() for name in ("label", "split"))
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*names, *numbers, "/"), ".tar", "")


# --- what is there --------------------------------------------------------------------------------

# Where a recording lies: (label, split) in a tree, (label, split, batch, archive) in bundles.
Spot = tuple[Any, ...]

# What a place holds, by name: one row a recording and spot; `files` has a bit for each file that is there, in the order
# of PARTS in a tree, of EXTENSIONS in bundles and archives.
FOUND = pa.schema(
    [
        *((name, pa.string()) for name in ("file_id", "label", "split")),
        *((name, pa.int32()) for name in ("batch_idx", "archive_idx")),
        ("files", pa.int64()),
    ]
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


def is_file_id(stem: str) -> bool:
    try:
        FileId.parse(stem)
    except InvalidFileId:
        return False
    return True


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


# --- what a place that cannot be listed may hold --------------------------------------------------


def assumed(layout: str, filelist: pa.Table) -> pa.Table:
    """``FOUND`` of a place that holds everything the format and the file list's flags say a recording has."""
    every = (1 << len(EXTENSIONS)) - 1
    if layout == "tree":
        flags = zip(*(filelist[flag].to_pylist() for flag in ("has_annotation_1p", "has_annotation_3p")), strict=True)
        files = [
            _parts_of(file_id[:3], annotated)
            for file_id, annotated in zip(filelist["file_id"].to_pylist(), flags, strict=True)
        ]
    else:
        files = [every] * len(filelist)
    return filelist.select(FOUND.names[:-1]).append_column(FOUND.field("files"), pa.array(files, pa.int64()))


@cache
def _parts_of(vendor: str, annotated: tuple[bool | None, bool | None]) -> int:
    flags = dict(zip(("1P", "3P"), annotated, strict=True))
    return sum(
        1 << bit
        for bit, part in enumerate(PARTS)
        if (vendor in EVERY_ARRAY[part].vendors if part in EVERY_ARRAY else flags.get(part[:2]) is not False)
    )
