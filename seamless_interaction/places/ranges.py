"""Media files opened for reading, local or remote."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, BinaryIO, cast

from seamless_interaction.errors import MissingFile, UnreadableFile, UnsafeFile
from seamless_interaction.places.place import Place, RangeFile, file_at

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
