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

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import ANNOTATION_KINDS, EVERY_ARRAY, MOVEMENT_V4, FileId
from seamless_interaction.errors import AmbiguousSource, InvalidFileId
from seamless_interaction.places.entry import Entry
from seamless_interaction.places.place import Place

if TYPE_CHECKING:
    from seamless_interaction.source.recordings import Recording

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
MEMBERS = dict(
    zip(EXTENSIONS, ("audio", "video", "npz", "json"), strict=True)
)  # file of a bundle -> its column of an index


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


def parts_in(bits: int) -> tuple[str, ...]:
    """The parts that a number of ``bits_of`` stands for."""
    return tuple(part for bit, part in enumerate(PARTS) if bits >> bit & 1)


def which_parts(bits: np.ndarray) -> np.ndarray:
    """Whether each part, in the order of ``PARTS``, is in each of the sets of parts, (n,) int64: (n, parts) bool."""
    of_bytes = bits.astype("<i8").view(np.uint8).reshape(-1, 8)
    return np.unpackbits(of_bytes, axis=1, count=len(PARTS), bitorder="little").astype(bool)


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


# What a place holds, by name: one row a recording and spot; `files` has a bit for each file that is there, in the order
# of its layout's `files`.
FOUND = pa.schema(
    [
        *((name, pa.string()) for name in ("file_id", "label", "split")),
        *((name, pa.int32()) for name in ("batch_idx", "archive_idx")),
        ("files", pa.int64()),
    ]
)


def is_file_id(stem: str) -> bool:
    try:
        FileId.parse(stem)
    except InvalidFileId:
        return False
    return True


# --- layouts --------------------------------------------------------------------------------------

# Where recordings lie: (label, split) in a tree, (label, split, batch, archive) in bundles.
Spot = tuple[Any, ...]

_FOUR_DIGITS = re.compile(r"[0-9]{4}|[1-9][0-9]{4,8}")  # as numbers are written: one name each
BOOKKEEPING = (".lock", ".metadata", ".incomplete", ".tar")  # of the Hub's client, and archives beside folders
_REQUESTS = 16  # folders of a remote place listed at a time


class Location(NamedTuple):
    """A file of a place, and the name in it where it holds several things."""

    path: str
    member: str | None = None


class Folder(NamedTuple):
    """A folder of recordings' files."""

    spot: Spot
    path: str
    entries: list[Entry]
    files: dict[str, str]  # extension -> which of the layout's files


class Walk(NamedTuple):
    """What was come upon in a place, besides folders of files."""

    aliases: dict[str, str]  # of a tree: "{label}/{split}/{part}" -> a directory of an early draft
    archives: dict[str, Entry]  # path -> the tar
    ignored: list[str]  # what is not read


class Layout(ABC):
    """How recordings lie in a place. Another one is another class, and an entry in ``LAYOUTS``.

    Attributes:
        name: as users give it.
        keys: columns of a file list that tell, with the file id, where a recording lies.
        files: those of a recording, in the order of the bits of ``FOUND``'s ``files``.
        is_packed: whether they hold several parts each; else each is named after its part.
        in_tars: whether they lie in tars, which have to be opened to know what they hold.
        hides: layouts that may lie beside this one, and do not count then.
    """

    name: str
    keys: tuple[str, ...]
    files: tuple[str, ...]
    is_packed = False
    in_tars = False
    hides: tuple[str, ...] = ()

    @abstractmethod
    def folder(self, spot: Spot, file: str, aliases: Mapping[str, str]) -> str:
        """The folder of one of the files of recordings, given the values of ``keys``, and any that follow."""

    @abstractmethod
    def extension(self, file: str) -> str:
        """Of the name of one of the files."""

    @abstractmethod
    def sign(self, folder: str, name: str, entries: Callable[[], list[Entry]]) -> str | None:
        """A path that only this layout has, if an entry of a label and split is one, or holds one.

        Args:
            folder, name: the entry, and where it lies.
            entries: lists what lies in it.
        """

    @abstractmethod
    def walk(self, place: Place, splits: Mapping[Spot, list[str]], come_upon: Walk) -> Iterator[Folder]:
        """The folders of files, given the names in each label and split. Raises ``AmbiguousSource``."""

    def file_of(self, part: str) -> str:
        """Which of the files holds a part."""
        return part

    def member_of(self, part: str) -> str | None:
        """The part's name in its file; None if it is the file."""
        return None

    def column_of(self, part: str) -> str:
        """The column of an index that tells where a part's file lies."""
        return part

    def has(self, files: int, part: str) -> bool:
        """Whether a part's file is there."""
        return bool(files >> self._bit_of[part] & 1)

    @cached_property
    def _bit_of(self) -> dict[str, int]:
        return {part: self.files.index(self.file_of(part)) for part in PARTS}

    def locate(self, recording: Recording, part: str, aliases: Mapping[str, str]) -> Location | None:
        """Where a part of a recording lies; None if its file is not there.

        In tars, the path is the tar's, and the member's offset is the index's to tell.
        """
        if not self.has(recording.files, part):
            return None
        file = self.file_of(part)
        folder = self.folder(recording[1:5], file, aliases)  # label, split, batch and archive
        return Location(f"{folder}/{recording.file_id}{self.extension(file)}", self.member_of(part))

    def spots(self, table: pa.Table) -> pa.Array:
        """Where each row of a file list lies, as text: ``dev/improvised/0/40/V00_…``."""
        names = (*self.keys, "file_id")
        return pc.binary_join_element_wise(*(table[name].combine_chunks().cast(pa.string()) for name in names), "/")

    def groups(self, parts: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts of a recording that lie in one file."""
        found: dict[str, list[str]] = {}
        for part in parts:
            found.setdefault(self.file_of(part), []).append(part)
        return [tuple(group) for group in found.values()]

    @cached_property
    def _inside(self) -> list[int]:
        """The parts in each file, as ``bits_of`` has them."""
        return [bits_of(part for part in PARTS if self.file_of(part) == file) for file in self.files]

    def parts_in(self, files: np.ndarray) -> np.ndarray:
        """The parts that files may hold, (n,) int64: bits of ``PARTS`` for bits of files."""
        return np.bitwise_or.reduce([np.where(files >> bit & 1, inside, 0) for bit, inside in enumerate(self._inside)])

    def files_with(self, parts: np.ndarray) -> np.ndarray:
        """The files that hold any of the parts, (n,) int64."""
        return np.bitwise_or.reduce([np.where(parts & inside, 1 << bit, 0) for bit, inside in enumerate(self._inside)])

    def assumed(self, filelist: pa.Table) -> pa.Table:
        """``FOUND`` of a place that holds everything the format and the file list's flags say a recording has."""
        flags = (filelist[flag].to_pylist() for flag in ("has_annotation_1p", "has_annotation_3p"))
        vendors = pc.utf8_slice_codeunits(filelist["file_id"], 0, 3).to_pylist()
        files = pa.array(map(self._every_file, vendors, *flags), pa.int64())
        return filelist.select(FOUND.names[:-1]).append_column(FOUND.field("files"), files)

    def _every_file(self, vendor: str, has_annotation_1p: bool | None, has_annotation_3p: bool | None) -> int:
        return (1 << len(self.files)) - 1


class Tree(Layout):
    """A file for each part."""

    name = "tree"
    keys = ("label", "split")
    files = PARTS
    _parents = frozenset(directory.split("/")[0] for directory in DIRECTORIES)

    def folder(self, spot: Spot, file: str, aliases: Mapping[str, str]) -> str:
        root = f"{spot[0]}/{spot[1]}"
        return f"{root}/{aliases.get(f'{root}/{file}', TREE[file][1][0])}"

    def extension(self, file: str) -> str:
        return TREE[file][0]

    def sign(self, folder: str, name: str, entries: Callable[[], list[Entry]]) -> str | None:
        return folder if name in self._parents else None

    def walk(self, place: Place, splits: Mapping[Spot, list[str]], come_upon: Walk) -> Iterator[Folder]:
        for (label, split), names in splits.items():
            root = f"{label}/{split}"
            here = {name for name in names if name in DIRECTORIES}
            for parent in sorted(self._parents & set(names) - DIRECTORIES):
                here |= {f"{parent}/{entry.name}" for entry in place.entries(f"{root}/{parent}")}
            others = (here - DIRECTORIES) | (set(names) - self._parents)
            come_upon.ignored.extend(f"{root}/{name}" for name in sorted(others))
            for part, (extension, directories) in TREE.items():
                found = {d: list(place.entries(f"{root}/{d}")) for d in directories if d in here}
                found = {directory: entries for directory, entries in found.items() if entries}
                if len(found) > 1:
                    raise AmbiguousSource(
                        f"{place.url}/{root} holds {part} twice, in {' and '.join(found)}. Move one away."
                    )
                for directory, entries in found.items():
                    if directory != directories[0]:
                        come_upon.aliases[f"{root}/{part}"] = directory
                    yield Folder((label, split), f"{root}/{directory}", entries, {extension: part})

    @cache  # noqa: B019  there is one tree
    def _every_file(self, vendor: str, has_annotation_1p: bool | None, has_annotation_3p: bool | None) -> int:
        flags = {"1P": has_annotation_1p, "3P": has_annotation_3p}
        return bits_of(
            part
            for part in PARTS
            if (vendor in EVERY_ARRAY[part].vendors if part in EVERY_ARRAY else flags.get(part[:2]) is not False)
        )


class Bundles(Layout):
    """Four files a recording, of which two hold several parts."""

    name = "bundles"
    keys = ("label", "split", "batch_idx", "archive_idx")
    files = EXTENSIONS
    is_packed = True
    hides: tuple[str, ...] = ("archives",)  # extracted bundles often have their tars beside them

    def folder(self, spot: Spot, file: str, aliases: Mapping[str, str]) -> str:
        return archive_path(*spot)

    def extension(self, file: str) -> str:
        return file

    def file_of(self, part: str) -> str:
        return BUNDLE[part][0]

    def member_of(self, part: str) -> str | None:
        return BUNDLE[part][1]

    def column_of(self, part: str) -> str:
        return MEMBERS[BUNDLE[part][0]]

    def sign(self, folder: str, name: str, entries: Callable[[], list[Entry]]) -> str | None:
        if not _FOUR_DIGITS.fullmatch(name):
            return None
        here = (entry.name for entry in entries() if self._is_of(entry))
        return next((f"{folder}/{name}/{entry}" for entry in here), None)

    def _is_of(self, entry: Entry) -> bool:
        """Whether an entry of a batch is what this layout has there."""
        return entry.is_folder and _FOUR_DIGITS.fullmatch(entry.name) is not None

    def walk(self, place: Place, splits: Mapping[Spot, list[str]], come_upon: Walk) -> Iterator[Folder]:
        extensions = {extension: extension for extension in EXTENSIONS}
        for spot, folder, entries in _batches(place, splits, come_upon.ignored):
            folders = {entry.name for entry in entries if self._is_of(entry)}
            for entry in entries:
                stem, extension = os.path.splitext(entry.name)
                path = f"{folder}/{entry.name}"
                if entry.name in folders:
                    yield Folder((*spot, int(entry.name)), path, list(place.entries(path)), extensions)
                elif extension not in BOOKKEEPING or (extension == ".tar" and stem not in folders):
                    come_upon.ignored.append(path)


class Archives(Bundles):
    """The same as members of tars."""

    name = "archives"
    in_tars = True
    hides: tuple[str, ...] = ()

    def locate(self, recording: Recording, part: str, aliases: Mapping[str, str]) -> Location | None:
        location = super().locate(recording, part, aliases)
        return location and Location(f"{location.path.rpartition('/')[0]}.tar", location.member)

    def _is_of(self, entry: Entry) -> bool:
        stem, extension = os.path.splitext(entry.name)
        return extension == ".tar" and _FOUR_DIGITS.fullmatch(stem) is not None and not entry.is_folder

    def walk(self, place: Place, splits: Mapping[Spot, list[str]], come_upon: Walk) -> Iterator[Folder]:
        for _, folder, entries in _batches(place, splits, come_upon.ignored):
            for entry in entries:
                extension = os.path.splitext(entry.name)[1]
                if self._is_of(entry):
                    come_upon.archives[f"{folder}/{entry.name}"] = entry
                elif (extension == ".tar" or extension not in BOOKKEEPING) and not entry.name.startswith("."):
                    come_upon.ignored.append(f"{folder}/{entry.name}")
        yield from ()


LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (Tree(), Bundles(), Archives())}


def _batches(
    place: Place, splits: Mapping[Spot, list[str]], ignored: list[str]
) -> Iterator[tuple[Spot, str, list[Entry]]]:
    """Spot, path and entries of each batch."""
    batches = [(*spot, name) for spot, names in splits.items() for name in names]
    ignored += ["/".join(batch) for batch in batches if not _FOUR_DIGITS.fullmatch(batch[2])]
    batches = [batch for batch in batches if _FOUR_DIGITS.fullmatch(batch[2])]
    folders = ["/".join(batch) for batch in batches]
    for (label, split, name), folder, entries in zip(batches, folders, listed_folders(place, folders), strict=True):
        yield (label, split, int(name)), folder, entries


def listed_folders(place: Place, folders: list[str]) -> list[list[Entry]]:
    """The entries of each folder; of remote ones, several at a time."""
    if place.is_local:
        return [list(place.entries(folder)) for folder in folders]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(lambda folder: list(place.entries(folder)), folders))
