"""The manifest of a local copy: what lies in it, where from, and how that was proven.

``manifest.jsonl`` in the copy's folder has one JSON object a line, and the last line of a path counts. A line is
written before the file gets its name, so a run that is killed at any moment leaves either a file that the manifest
knows, or none. What was cut off at the end of the manifest is passed over.

========== =========================================================================================
key        meaning
========== =========================================================================================
path       relative to the folder, with forward slashes
status     one of ``STATUSES``
bytes      of the file
sha256     of the file
etag       of what it was fetched from: ETag, modification time or whatever the place tells
source     where from: URL, and the member of an archive behind ``::``
time       when this was written, UTC
mtime_ns   of the file: with ``bytes``, tells whether it is still the one that was checked
proof      what the bytes were compared with: ``sha256`` (published), ``md5`` (the ETag), ``crc32`` (of the zip);
           null: nothing was published, the hash is as first seen
checked    when the hash was last compared, seconds since 1970
detail     what is wrong
========== =========================================================================================
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from seamless_interaction.errors import TargetError
from seamless_interaction.places.write import refuse_links, write_whole
from seamless_interaction.source.layout import PARTS, TREE, is_file_id

NAME = "manifest.jsonl"
# What the manifest says of a file.
STATUSES = {
    "whole": "as the source has it",
    "damaged": "the source's own bytes are broken: its hash is right, or it came twice alike",
    "absent": "optional, and the recording has none",
    "missing": "the format requires it, and the source does not have it or does not hand it out",
    "failed": "could not be fetched; the next run tries again",
}
WHOLE, DAMAGED, ABSENT, MISSING, FAILED = STATUSES
CODES = {status: code for code, status in enumerate(STATUSES, 1)}  # in ``Manifest.cells``

_SYNC_SECONDS = 5.0  # lines that a machine without power may lose; their files are fetched again
_LATEST = 0xFFFFFFFF
# Of each part of a recording, 17 bytes: what millions of files take in memory.
_CELL = np.dtype([("status", "i1"), ("mark", "u4"), ("at", "i8"), ("checked", "u4")])
_PART_OF = {directories[0]: part for part, (_, directories) in TREE.items()}
_COLUMN = {part: column for column, part in enumerate(PARTS)}


def mark(size: int, mtime_ns: int) -> int:
    """A number that changes when a file's size or modification time does."""
    return zlib.crc32(b"%d %d" % (size, mtime_ns))


def part_of(path: str) -> tuple[str, str] | None:
    """File id and part of a path of a tree; None for anything else."""
    *folders, name = path.split("/")
    part = _PART_OF.get("/".join(folders[2:]))
    file_id, extension = os.path.splitext(name)
    return (file_id, part) if part and extension == TREE[part][0] and is_file_id(file_id) else None


class Manifest:
    """A copy's manifest: read once, then written line by line.

    Args:
        folder: of the copy; it need not exist yet.

    Attributes:
        rows: file id -> row of ``cells``.
        cells: one row a recording, one column a part (``layout.PARTS``): ``status`` (0: nothing known), ``mark`` of
            size and modification time, ``at`` which byte the line begins, and when it was last ``checked``.
    """

    def __init__(self, folder: Path):
        self.path = folder / NAME
        self._file: int | None = None
        self._synced = time.monotonic()
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        self.rows: dict[str, int] = {}
        self._cells = np.zeros((64, len(PARTS)), _CELL)
        self._others: dict[str, int] = {}  # paths outside the tree, and where their lines begin
        self._lines = self._end = 0
        if self.path.exists():
            if not self.path.is_file():  # a pipe would be waited for
                raise TargetError(f"{self.path} is no file. Move it away.")
            with open(self.path, "rb") as file:
                for line in file:
                    self._lines += 1
                    self._note(line, self._end)
                    self._end += len(line)

    @property
    def num_bytes(self) -> int:
        """Bytes of the manifest."""
        return self._end

    @property
    def cells(self) -> np.ndarray:
        return self._cells[: len(self.rows)]

    def row(self, file_id: str) -> int:
        """The row of a recording, a new one if need be."""
        if file_id not in self.rows:
            if len(self.rows) == len(self._cells):  # before the row is known to other threads
                self._cells = np.concatenate([self._cells, np.zeros_like(self._cells)])
            self.rows[file_id] = len(self.rows)
        return self.rows[file_id]

    def _note(self, line: bytes, at: int) -> None:
        try:
            entry = json.loads(line)
            path, status = entry["path"], CODES[entry["status"]]
            size, modified = entry.get("bytes") or 0, entry.get("mtime_ns") or 0
            checked = int(entry.get("checked") or 0)
            where = part_of(path)
            if where is None:
                self._others[path] = at
            else:
                row = self.row(where[0])
                self._cells[row, _COLUMN[where[1]]] = (status, mark(size, modified), at, min(max(checked, 0), _LATEST))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return  # cut off when the run was killed; what it was about is looked at again

    def entry(self, path: str) -> dict[str, Any] | None:
        """The line of a path; None if there is none."""
        where = part_of(path)
        if where is None:
            at = self._others.get(path)
        else:
            row = self.rows.get(where[0])
            cell = None if row is None else self._cells[row, _COLUMN[where[1]]]
            at = int(cell["at"]) if cell is not None and cell["status"] else None
        if at is None:
            return None
        with open(self.path, "rb") as file:
            file.seek(at)
            return dict(json.loads(file.readline()))

    def paths(self) -> Iterator[str]:
        """Every path that the manifest has a line of; of the tree's, in the order of their lines."""
        cells = self.cells
        with open(self.path, "rb") as file:
            for at in [*self._others.values(), *np.sort(cells["at"][cells["status"] > 0]).tolist()]:
                file.seek(at)
                yield json.loads(file.readline())["path"]

    def write(self, path: str, status: str, **entry: Any) -> None:
        """Add a line. Whatever happens to this process then, it is there."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        known = {key: value for key, value in entry.items() if value is not None}
        line = json.dumps({"path": path, "status": status, **known, "time": now}).encode() + b"\n"
        with self._lock:
            if self._file is None:
                self._open()
            assert self._file is not None
            at, rest = self._end, memoryview(line)
            try:
                while rest:
                    written = os.write(self._file, rest)
                    self._end += written
                    rest = rest[written:]
            except OSError:
                os.ftruncate(self._file, at)
                self._end = at
                raise
            self._lines += 1
            self._note(line, at)
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        refuse_links(self.path.parent, NAME)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        if self._end:
            with open(self.path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":  # cut off when a run was killed
                    self._end += os.write(self._file, b"\n")

    def compact(self) -> None:
        """Leave out lines that later ones replaced, if they are the most."""
        kept = len(self._others) + int((self.cells["status"] > 0).sum())
        if self._lines <= 2 * kept + 1000:
            return
        self.close()
        cells = self.cells

        def copy(target: Any) -> None:
            with open(self.path, "rb") as file:
                for at in [*self._others.values(), *np.sort(cells["at"][cells["status"] > 0]).tolist()]:
                    file.seek(at)
                    target.write(file.readline())

        write_whole(self.path, copy)
        self._read()

    def close(self) -> None:
        """Have it all on disk."""
        with self._lock:
            if self._file is not None:
                os.fsync(self._file)
                os.close(self._file)
                self._file = None
