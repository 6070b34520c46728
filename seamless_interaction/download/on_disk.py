"""What lies in the folder of a copy already, held against its manifest, and what is to be done with each file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seamless_interaction import LABELS, SPLITS
from seamless_interaction.download.fetching import PARTIAL
from seamless_interaction.download.manifest import ABSENT, CODES, DAMAGED, FAILED, MISSING, WHOLE, Manifest, mark
from seamless_interaction.source.layout import PARTS, TREE


def decide(present: np.ndarray, here: np.ndarray, intact: np.ndarray, known: np.ndarray, begun: np.ndarray) -> dict:
    """What to do with each file: a pure function of what the source has and what is on disk.

    Args:
        present: files that the source has, or is asked for; a bit a part, one number a recording, as all the others.
        here: files that are on disk.
        intact: those of them that did not change since they were checked.
        known: files that are known not to exist, or to be broken beyond use.
        begun: files of which a part is on disk.

    Returns:
        One array for each of ``ACTIONS``. Together they are ``present``, and no two have a file in common.
    """
    keep = present & (intact | known)
    verify = present & here & ~keep
    resume = present & begun & ~keep & ~verify
    return {"fetch": present & ~keep & ~verify & ~resume, "resume": resume, "verify": verify, "keep": keep}


class OnDisk(NamedTuple):
    """What lies in a copy, a bit a part of each recording.

    Attributes:
        here: files that are there and in the manifest.
        intact: those of them that did not change since they were checked.
        known: files that are not there, as the manifest says that the source has none, or none of use.
        begun: files a part of which is there.
        num_bytes: of the intact ones.
        extra: paths below the labels that the manifest does not know.
    """

    here: np.ndarray
    intact: np.ndarray
    known: np.ndarray
    begun: np.ndarray
    num_bytes: int
    extra: list[str]


_BEGUN = re.compile(r"(?:improvised|naturalistic)-[a-z]+-(.+)-([^-]+?)\.[a-z0-9]+")


_FLAT = {directories[0].replace("/", "-"): bit for bit, (_, directories) in enumerate(TREE.values())}


def on_disk(ids: list[str], wanted: np.ndarray, manifest: Manifest, target: Path) -> OnDisk:
    """Compare a copy with its manifest, by names, sizes and times.

    Args:
        ids: file ids that are of interest.
        wanted: the parts of each that are.
    """
    rows = {file_id: row for row, file_id in enumerate(ids)}
    here, intact, known, begun = (np.zeros(len(ids), np.int64) for _ in range(4))
    cells = manifest.cells
    no_file = mark(0, 0)
    of_row = np.array([manifest.rows.get(file_id, -1) for file_id in ids], np.int64)
    recorded = of_row >= 0
    # What a host did not have when it did not give other files of the recording either, it may have in a better moment.
    doubtful = np.isin(cells["status"][of_row[recorded]], (CODES[MISSING], CODES[FAILED])).any(1)
    for bit in range(len(PARTS)):
        cell = cells[of_row[recorded], bit]
        absent = (cell["status"] == CODES[ABSENT]) & ~doubtful
        without = absent | ((cell["status"] == CODES[DAMAGED]) & (cell["mark"] == no_file))
        known[recorded] |= without.astype(np.int64) << bit
    num_bytes, extra = 0, []
    is_here = [CODES[WHOLE], CODES[DAMAGED]]
    for label in LABELS:
        for split in SPLITS:
            for bit, (extension, directories) in enumerate(TREE.values()):
                folder = f"{label}/{split}/{directories[0]}"
                for entry in _scandir(target / folder):
                    stem, ending = os.path.splitext(entry.name)
                    number = manifest.rows.get(stem) if ending == extension else None
                    if number is None or cells["status"][number, bit] not in is_here:
                        extra.append(f"{folder}/{entry.name}")
                        continue
                    row = rows.get(stem)
                    if row is None or not wanted[row] >> bit & 1:
                        continue
                    try:
                        found = entry.stat()
                    except OSError:  # a link that leads nowhere, or to itself
                        continue
                    if not stat.S_ISREG(found.st_mode):
                        continue
                    here[row] |= 1 << bit
                    if cells["mark"][number, bit] == mark(found.st_size, found.st_mtime_ns):
                        intact[row] |= 1 << bit
                        num_bytes += found.st_size
    for entry in _scandir(target / PARTIAL):
        match = _BEGUN.fullmatch(entry.name)
        if match and match[2] in rows and match[1] in _FLAT:
            begun[rows[match[2]]] |= 1 << _FLAT[match[1]]
    return OnDisk(here, intact, known, begun, num_bytes, extra)


def _scandir(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return
