"""The synthetic data that is measured on: made once, checked for completeness by its name, used again."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from seamless_interaction import ARRAYS, __path__
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.corpus import Corpus, SyntheticRecording, corpus
from seamless_interaction.synthetic.files import tables, write

TEXTS = ("transcript", "vad")


class Data(NamedTuple):
    """A synthetic corpus on disk."""

    folder: Path
    corpus: Corpus

    def files(self, *parts: str) -> list[Path]:
        """Files of a tree that hold the parts (all arrays, if none is named), recording by recording."""
        return [path for recording in self.corpus.recordings for path in self.files_of(recording, *parts)]

    def files_of(self, recording: SyntheticRecording, *parts: str) -> list[Path]:
        """Those of one recording, without the parts that it does not have."""
        has = {*recording.array_keys, *TEXTS, *recording.kinds}
        return [
            self.folder / tree_path(recording.label, recording.split, part, recording.file_id)
            for part in parts or ARRAYS
            if part in has
        ]

    @property
    def largest_record(self) -> int:
        """Bytes of the arrays of the largest record, in the format's dtypes."""
        return max(map(array_bytes, self.corpus.recordings))


def array_bytes(recording: SyntheticRecording) -> int:
    """Bytes of a recording's arrays, in the format's dtypes."""
    return sum(
        recording.array_frames // array.frames_per_row * math.prod(array.shape) * _itemsize(array.dtype)
        for array in (ARRAYS[key] for key in recording.array_keys)
    )


def _itemsize(dtype: str) -> int:
    return {"float32": 4, "bool": 1}[dtype]


def make(root: Path, name: str, interactions: int, seconds: float, layout: str = "tree") -> Data:
    """A synthetic corpus below ``root``, made if it is not there.

    Args:
        root: the cache folder.
        name: of the corpus; one made by other code or of another size is replaced.
        interactions, seconds, layout: see ``synthesize``.
    """
    described = corpus(interactions, seconds, layout=layout)
    folder = root / f"{name}-{interactions}x{seconds:g}s-{_digest()}"
    if not folder.exists():
        for old in root.glob(f"{name}-*"):
            shutil.rmtree(old)
        partial = root / f"{name}-incomplete"
        write(described, partial)
        os.sync()  # or its write-back would disturb what is measured first
        partial.rename(folder)
    return Data(folder, described)


def make_transcripts(root: Path, name: str, interactions: int, seconds: float) -> Data:
    """A tree of transcripts and tables only: many recordings in little space."""
    described = corpus(interactions, seconds)
    folder = root / f"{name}-{interactions}x{seconds:g}s-{_digest()}"
    if not folder.exists():
        for old in root.glob(f"{name}-*"):
            shutil.rmtree(old)
        partial = root / f"{name}-incomplete"
        partial.mkdir(parents=True)
        for table, rows in tables(described).items():
            with open(partial / table, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        for recording in described.recordings:
            path = partial / tree_path(recording.label, recording.split, "transcript", recording.file_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(segment) + "\n" for segment in recording.transcript()), "utf-8")
        partial.rename(folder)
    return Data(folder, described)


def _digest() -> str:
    """Of the code that makes the data."""
    digest = hashlib.sha256()
    for path in sorted(Path(__path__[0]).glob("synthetic*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def num_bytes(*paths: Path) -> int:
    """Bytes of files, and of everything in folders."""
    return sum(
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
        for path in paths
    )
