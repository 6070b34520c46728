"""Where files lie: the storage layouts, found out from what is there.

A *place* is anything fsspec opens; a *layout* says which path in it holds which part of a
recording. A *part* is what the tree stores as one file: ``audio``, ``video``, an array's key,
``transcript``, ``vad`` or a kind of annotation.

======== ============================================================ ==========================
layout   path                                                         files of a recording
======== ============================================================ ==========================
tree     ``{label}/{split}/{directory of the part}/{file_id}{ext}``   one a part
bundles  ``{label}/{split}/{batch:04d}/{archive:04d}/{file_id}{ext}`` .wav, .mp4, .npz, .json
======== ============================================================ ==========================

A third, ``archives``, is bundles in tars, ``{label}/{split}/{batch:04d}/{archive:04d}.tar``. It is
recognised, not read.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from seamless_interaction import ANNOTATION_KINDS, ARRAYS, FILELIST_FLAGS, LABELS, SPLITS, TABLES, FileId
from seamless_interaction.errors import (
    AmbiguousSource,
    DuplicateFileId,
    InvalidFileId,
    SourceNotFound,
    UnknownLayout,
)
from seamless_interaction.files import HEADER_BLOCK

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
for _key, _array in ARRAYS.items():
    _names = dict.fromkeys([_array.feature, _array.feature.replace("_", "-")])
    TREE[_key] = (".npy", tuple(f"{_array.group}/{name}" for name in _names))
TREE["boxes_and_keypoints:box"] = (".npy", ("boxes_and_keypoints/box", "boxes_and_keypoints/boxes"))

# Bundles: part -> extension of the file that holds it, and its name in there.
BUNDLE: dict[str, tuple[str, str | None]] = {
    "audio": (".wav", None),
    "video": (".mp4", None),
    "transcript": (".json", "metadata:transcript"),
    "vad": (".json", "metadata:vad"),
    **{kind: (".json", f"annotations:{kind}") for kind in ANNOTATION_KINDS},
    **{key: (".npz", f"{key}.npy") for key in ARRAYS},
}

PARTS = tuple(TREE)
EXTENSIONS = (".wav", ".mp4", ".npz", ".json")
LAYOUTS = ("tree", "bundles")


def tree_path(label: str, split: str, part: str, file_id: str) -> str:
    """Path of one part of a recording, below a tree's root."""
    extension, directories = TREE[part]
    return f"{label}/{split}/{directories[0]}/{file_id}{extension}"


def archive_path(label: str, split: str, batch: int, archive: int) -> str:
    """Path of the folder of a bundle; with ``.tar``, of the archive it was in."""
    return f"{label}/{split}/{batch:04d}/{archive:04d}"


# --- places ---------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One entry of a folder."""

    name: str
    is_folder: bool
    size: int
    stamp: str  # changes when the content does: modification time, ETag or whatever the place tells


class Place:
    """A folder anywhere fsspec reads. Paths are relative to it, with forward slashes.

    Args:
        url: a local path, or a URL such as ``memory://data`` or ``s3://bucket/prefix``.
        storage_options: what fsspec's file system takes (keys, endpoints).
    """

    def __init__(self, url: str, storage_options: dict[str, Any] | None = None):
        self.fs, root = fsspec.url_to_fs(os.fspath(url), **(storage_options or {}))
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.root = os.path.abspath(root) if self.is_local else root.rstrip("/")
        self.url = self.root if self.is_local else self.fs.unstrip_protocol(self.root)

    def path(self, relative: str) -> str:
        """Where a reader finds the file: an absolute path, or a URL that fsspec opens."""
        if self.is_local:
            return os.path.join(self.root, *relative.split("/"))
        return f"{self.url}/{relative}"

    def exists(self, relative: str) -> bool:
        return bool(self.fs.exists(f"{self.root}/{relative}" if relative else self.root))

    def read(self, relative: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or those from ``start`` to ``end``. Raises ``FileNotFoundError``."""
        if self.is_local:
            with open(self.path(relative), "rb") as file:
                file.seek(start or 0)
                size = os.fstat(file.fileno()).st_size  # Python allocates what it is asked to read
                return file.read((size if end is None else min(end, size)) - (start or 0))
        return self.fs.cat_file(f"{self.root}/{relative}", start=start, end=end)

    def open(self, relative: str) -> BinaryIO:
        """A seekable file of a place that is not local, for reading its header."""
        return self.fs.open(f"{self.root}/{relative}", "rb", block_size=HEADER_BLOCK, cache_type="readahead")

    def size(self, relative: str) -> int:
        return int(self.fs.size(f"{self.root}/{relative}"))

    def entries(self, relative: str = "") -> Iterator[Entry]:
        """The entries of a folder, sorted by name; nothing if there is no such folder."""
        folder = posixpath.join(self.root, relative) if relative else self.root
        try:
            entries = self._scandir(folder) if self.is_local else self._ls(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from sorted(entries)

    @staticmethod
    def _scandir(folder: str) -> list[Entry]:  # LocalFileSystem.ls takes several times longer
        entries = []
        with os.scandir(folder) as found:
            for entry in found:
                try:
                    stat = entry.stat()
                except OSError:  # a link that leads nowhere, or to itself
                    continue
                entries.append(Entry(entry.name, entry.is_dir(), stat.st_size, str(stat.st_mtime_ns)))
        return entries

    def _ls(self, folder: str) -> list[Entry]:
        stamps = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")
        return [
            Entry(
                posixpath.basename(info["name"].rstrip("/")),
                info["type"] == "directory",
                info.get("size") or 0,
                str(next((info[key] for key in stamps if info.get(key)), "")),
            )
            for info in self.fs.ls(folder, detail=True, refresh=True)
            if info["name"].rstrip("/") != folder.rstrip("/")
        ]


# --- what is there --------------------------------------------------------------------------------

# Where a recording lies: (label, split) in a tree, (label, split, batch, archive) in bundles.
Spot = tuple[Any, ...]

_FOUR_DIGITS = re.compile(r"[0-9]{4,}")
_BOOKKEEPING = (".lock", ".metadata", ".incomplete", ".tar")  # of the Hub's client, and archives beside folders


class Listing(NamedTuple):
    """What a place holds, by name only."""

    place: Place
    layout: str
    files: dict[Spot, dict[str, int]]  # spot -> file id -> the files it has there, a bit each
    aliases: dict[str, str]  # of a tree: "{label}/{split}/{part}" -> a directory of an early draft
    identity: str  # of names, sizes and times: changes when the data does
    ignored: tuple[str, ...]  # files and folders that are not read: unknown by their names, or a tar not extracted


def scan(place: Place, layout: str | None = None) -> Listing:
    """List a place once, and find out its layout.

    Raises:
        SourceNotFound: there is no such place, or nothing of the dataset in it.
        AmbiguousSource: two layouts, or two directories of the same part, in one place.
        UnknownLayout: ``layout`` is none of ``LAYOUTS``.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UnknownLayout(layout, LAYOUTS)
    if not place.exists(""):
        raise SourceNotFound(
            f"{place.url} does not exist. data_dir must be the folder that holds {' and '.join(LABELS)}."
        )
    digest = hashlib.sha256()
    top = {entry.name: entry for entry in place.entries()}
    for name in TABLES:
        if name in top:
            digest.update(repr(top[name]).encode())

    splits = {
        (label, split): [entry.name for entry in place.entries(f"{label}/{split}")]
        for label in LABELS
        for split in SPLITS
        if label in top
    }
    layout = layout or _detect(place, splits, list(top))
    files: dict[Spot, dict[str, int]] = {}
    aliases: dict[str, str] = {}
    ignored: list[str] = []
    walk = _walk_tree(place, splits, aliases, ignored) if layout == "tree" else _walk_bundles(place, splits, ignored)
    for spot, folder, entries, extensions in walk:
        found = files.setdefault(spot, {})
        for entry in entries:
            if entry.is_folder or entry.name.endswith(_BOOKKEEPING) or entry.name.startswith("."):
                continue
            stem, extension = os.path.splitext(entry.name)
            bit = extensions.get(extension)
            if bit is None or not (stem in found or _is_file_id(stem)):
                ignored.append(f"{folder}/{entry.name}")
                continue
            found[stem] = found.get(stem, 0) | 1 << bit
            digest.update(f"{folder}/{entry.name}:{entry.size}:{entry.stamp};".encode())
    files = {spot: found for spot, found in files.items() if found}
    if not files:
        raise SourceNotFound(f"{place.url} holds no recording in the layout {layout!r}.")
    return Listing(place, layout, files, aliases, digest.hexdigest(), tuple(ignored))


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


def _walk_bundles(place: Place, splits: dict[Spot, list[str]], ignored: list[str]) -> Iterator[_Folder]:
    extensions = {extension: bit for bit, extension in enumerate(EXTENSIONS)}
    for (label, split), names in splits.items():
        for batch in names:
            folder = f"{label}/{split}/{batch}"
            if not _FOUR_DIGITS.fullmatch(batch):
                ignored.append(folder)
                continue
            archives = {entry.name: entry for entry in place.entries(folder)}
            for name, entry in archives.items():
                stem, extension = os.path.splitext(name)
                if entry.is_folder and _FOUR_DIGITS.fullmatch(name):
                    path = f"{folder}/{name}"
                    yield (label, split, int(batch), int(name)), path, list(place.entries(path)), extensions
                elif not (extension in _BOOKKEEPING and (extension != ".tar" or stem in archives)):
                    ignored.append(f"{folder}/{name}")


def _is_file_id(stem: str) -> bool:
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
                    kind = "bundles" if entry.is_folder else "archives" if entry.name.endswith(".tar") else None
                    if kind:
                        found.setdefault(kind, f"{folder}/{entry.name}")
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
    layout = next(iter(found))
    if layout not in LAYOUTS:
        raise SourceNotFound(
            f"{place.url} holds tars ({found[layout]}), which this version does not read. "
            "Extract each into a folder of its name: mkdir 0000 && tar -xf 0000.tar -C 0000"
        )
    return layout


# --- recordings -----------------------------------------------------------------------------------


class Recording(NamedTuple):
    """One participant's recording: where it lies, and who the partner is."""

    file_id: str
    label: str
    split: str
    batch: int
    archive: int
    files: int  # which files are there, a bit each: PARTS in a tree, EXTENSIONS in bundles
    partner: str | None  # the other file id of the interaction, whether it is here or not
    partner_is_here: bool
    has_annotation_1p: bool
    has_annotation_3p: bool


class Gaps(NamedTuple):
    """What the file list and the place do not have in common."""

    not_here: tuple[str, ...]  # selected file ids that the place lacks
    strays: tuple[str, ...]  # paths of recordings that the list does not name, or places elsewhere


def recordings(listing: Listing, rows: list[dict[str, Any]], selected: set[str]) -> tuple[list[Recording], Gaps]:
    """The selected recordings of a place, ordered by interaction, partners adjacent.

    The list decides: what it places elsewhere is a stray, not a record.

    Args:
        listing: of ``scan``.
        rows: of ``tables.read_filelist`` or, where there is no file list, of ``rows_of``.
        selected: the file ids of interest.
    """
    spots = {row["file_id"]: _spot(listing, row) for row in rows}
    members: dict[str, list[str]] = {}
    for file_id in spots:
        members.setdefault(FileId.parse(file_id).interaction_id, []).append(file_id)

    def files_of(file_id: str) -> int:
        return listing.files.get(spots[file_id], {}).get(file_id, 0)

    found, not_here = [], []
    for row in sorted(rows, key=lambda row: row["file_id"]):
        file_id = row["file_id"]
        if file_id not in selected:
            continue
        files = files_of(file_id)
        if not files:
            not_here.append(file_id)
            continue
        partner = next((other for other in members[FileId.parse(file_id).interaction_id] if other != file_id), None)
        found.append(
            Recording(
                file_id,
                row["label"],
                row["split"],
                row["batch_idx"],
                row["archive_idx"],
                files,
                partner,
                partner is not None and files_of(partner) > 0,
                row["has_annotation_1p"],
                row["has_annotation_3p"],
            )
        )
    strays = tuple(
        "/".join(map(str, (*spot, file_id)))
        for spot, ids in listing.files.items()
        for file_id in ids
        if spots.get(file_id) != spot
    )
    return found, Gaps(tuple(not_here), strays)


def _spot(listing: Listing, row: dict[str, Any]) -> Spot:
    spot: Spot = (row["label"], row["split"])
    return (*spot, row["batch_idx"], row["archive_idx"]) if listing.layout == "bundles" else spot


def rows_of(listing: Listing) -> list[dict[str, Any]]:
    """A file list made from what is there, for a place without one.

    Raises:
        DuplicateFileId: an id lies in two places.
    """
    counts = Counter(file_id for ids in listing.files.values() for file_id in ids)
    twice = [file_id for file_id, count in counts.items() if count > 1]
    if twice:
        spots = [spot for spot, ids in listing.files.items() if twice[0] in ids]
        raise DuplicateFileId(
            f"{len(twice)} file ids lie in two places of {listing.place.url}, {twice[0]} in "
            f"{' and '.join('/'.join(map(str, spot)) for spot in spots)}. Put the dataset's filelist.csv into the "
            "folder: it says which one counts."
        )
    return [
        {
            "file_id": file_id,
            "label": spot[0],
            "split": spot[1],
            "batch_idx": spot[2] if len(spot) > 2 else 0,
            "archive_idx": spot[3] if len(spot) > 2 else 0,
            **dict.fromkeys(FILELIST_FLAGS, False),
        }
        for spot, ids in listing.files.items()
        for file_id in ids
    ]


class Location(NamedTuple):
    """A file of a place, and the name in it where it holds several things."""

    path: str
    member: str | None = None


def locate(layout: str, aliases: dict[str, str], recording: Recording, part: str) -> Location | None:
    """Where a part of a recording lies; None if its file is not there."""
    if layout == "tree":
        if not recording.files >> PARTS.index(part) & 1:
            return None
        extension, directories = TREE[part]
        directory = aliases.get(f"{recording.label}/{recording.split}/{part}", directories[0])
        return Location(f"{recording.label}/{recording.split}/{directory}/{recording.file_id}{extension}")
    extension, member = BUNDLE[part]
    if not recording.files >> EXTENSIONS.index(extension) & 1:
        return None
    folder = archive_path(recording.label, recording.split, recording.batch, recording.archive)
    return Location(f"{folder}/{recording.file_id}{extension}", member)
