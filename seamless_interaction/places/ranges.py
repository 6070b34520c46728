"""Media files opened for reading, local or remote."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO, cast

from seamless_interaction.errors import MissingFile, UnreadableFile, UnsafeFile
from seamless_interaction.places.place import Place, file_at

# Bytes that a range request fetches beyond what was asked for. A header is small: with these, one or two requests read
# it, for 0.1 MB. Frames and samples come in a row.
HEADER_BLOCK = 1 << 16
DATA_BLOCK = 1 << 20
REFUSED = "refused://"  # before a path that somebody else's row names, and that is not to be opened


def open_file(
    path: str,
    storage_options: Mapping[str, Any] | None = None,
    block: int = HEADER_BLOCK,
    content: bytes | None = None,
) -> BinaryIO:
    """Open a local path or an fsspec URL for reading.

    Args:
        path: as in a record.
        storage_options: of the URL's file system; none are those of the place it lies in, if this process knows it.
        block: bytes that a request fetches, at least.
        content: of the file, if it is known; then nothing else is opened.

    Raises:
        MissingFile, UnreadableFile
        UnsafeFile: a path that begins with ``REFUSED``.
        SourceError: where it lies cannot be reached, or refuses.
    """
    if content is not None:
        return io.BytesIO(content)
    if path.startswith(REFUSED):
        raise UnsafeFile(path.removeprefix(REFUSED), "a published row names it, and it is no video of its repository")
    try:
        if path.startswith(_REFERENCE):
            return _open_member(path, storage_options, block)
        if "://" not in path:
            return open(path, "rb")
        place, name = file_at(path, dict(storage_options or {}))
        if place.is_local:
            return open(place.path(name), "rb")
        return cast("BinaryIO", RangeFile(partial(_read, place, name), place.stat(name).size, block))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFile(path, "no such file") from error
    except IsADirectoryError as error:
        raise UnreadableFile(path, "a folder, not a file") from error


def _read(place: Place, name: str, start: int, end: int) -> bytes:
    try:
        return place.read(name, start, end)
    except FileNotFoundError as error:
        raise MissingFile(place.path(name), "no such file") from error


# --- members of archives --------------------------------------------------------------------------

_REFERENCE = "reference://"
# fsspec 2026 takes for a media type whatever stands between the first two colons; those before only look for base64.
_DATA = "::data:json:refs;base64,"


def member_path(name: str, archive: str, offset: int, length: int) -> str:
    """A path for a part of a file that any fsspec opens, by ranges.

    It is a path of fsspec's file system of references, with the one reference in the path itself. So it
    needs no file beside it, and stays valid as long as the archive is where it is.

    Args:
        name: of the member.
        archive: local path, or URL.
        offset, length: of its content in the archive, in bytes.
    """
    url = archive if "://" in archive else f"file://{archive}"
    references = json.dumps({"version": 1, "refs": {name: [url, offset, length]}})
    return f"{_REFERENCE}{name}{_DATA}{base64.b64encode(references.encode()).decode()}"


def _open_member(path: str, storage_options: Mapping[str, Any] | None, block: int) -> BinaryIO:
    """A ``member_path``, without what fsspec's own class reads beyond it and keeps of it."""
    try:
        ((archive, offset, length),) = json.loads(base64.b64decode(path.partition(_DATA)[2]))["refs"].values()
        if type(archive) is not str or type(offset) is not int or type(length) is not int or min(offset, length) < 0:
            raise ValueError(f"no file has the part {[archive, offset, length]}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableFile(path, f"not the path of a member of an archive: {error}") from error
    place, name = file_at(archive, dict(storage_options or {}))

    def read(start: int, end: int) -> bytes:
        return _read(place, name, offset + start, offset + min(end, length))

    if place.is_local:
        read(0, 0)  # if it is gone, say so now
        block = io.DEFAULT_BUFFER_SIZE
    return cast("BinaryIO", RangeFile(read, length, block))


def file_size(file: BinaryIO) -> int:
    """Bytes of an open file, which is then at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


class RangeFile(io.RawIOBase):
    """A file read by ranges: the rest of a file, or a member of an archive.

    Args:
        read: the bytes from ``start`` to ``end``.
        size: of the file, in bytes.
        block: bytes to read at a time, at least. The last block is kept, wherever a reader seeks; Python's own
            ``BufferedReader`` drops it where one looks for the end and comes back, as all readers of WAV do.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, block: int = 0):
        self._read, self._size, self._block, self._at = read, size, block, 0
        self._kept_from, self._kept = 0, memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)  # Python allocates what it is asked to read
        return super().read(left if size < 0 else min(size, left))

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        done = 0
        while done < len(target) and self._at < self._size:
            piece = self._piece(min(len(target) - done, self._size - self._at))
            if not piece:  # it is shorter than it was said to be
                break
            target[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def _piece(self, length: int) -> memoryview:
        """The next bytes, ``length`` of them or fewer."""
        start = self._at - self._kept_from
        if not 0 <= start < len(self._kept):
            if length >= self._block:
                return memoryview(self._read(self._at, self._at + length))[:length]
            start, self._kept_from = 0, self._at
            self._kept = memoryview(self._read(self._at, min(self._at + self._block, self._size)))
        return self._kept[start : start + length]


class SharedFile:
    """A local file that several threads read from. It closes when nobody holds it any more.

    Args:
        file: open, unbuffered.
    """

    def __init__(self, file: io.FileIO):
        self._file, self._lock = file, threading.Lock()

    def read_into(self, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with the bytes from ``start`` on, as far as there are such; how many there are."""
        with self._lock:
            self._file.seek(start)
            return self._file.readinto(buffer)

    def __del__(self) -> None:
        self._file.close()
