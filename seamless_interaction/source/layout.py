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

from collections.abc import Iterable
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import (
    ANNOTATION_KINDS,
    EVERY_ARRAY,
    MOVEMENT_V4,
    FileId,
)
from seamless_interaction.errors import (
    InvalidFileId,
)

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


def is_file_id(stem: str) -> bool:
    try:
        FileId.parse(stem)
    except InvalidFileId:
        return False
    return True


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
