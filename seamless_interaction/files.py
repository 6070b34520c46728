"""Media files opened for reading, local or remote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from seamless_interaction.errors import MissingFile, UnreadableFile

# Bytes that a range request fetches beyond what was asked for. A header is small: with these, one or two requests read
# it, for 0.1 MB. Frames and samples come in a row.
HEADER_BLOCK = 1 << 16
DATA_BLOCK = 1 << 20


def open_file(path: str, storage_options: Mapping[str, Any] | None = None, block: int = HEADER_BLOCK) -> BinaryIO:
    """Open a local path or an fsspec URL for reading. Raises ``MissingFile``, ``UnreadableFile``."""
    try:
        if "://" not in path:
            return open(path, "rb")
        import fsspec

        filesystem, place = fsspec.core.url_to_fs(path, **(storage_options or {}))
        return filesystem.open(place, "rb", block_size=block)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFile(path, "no such file") from error
    except IsADirectoryError as error:
        raise UnreadableFile(path, "a folder, not a file") from error


def file_size(file: BinaryIO) -> int:
    """Bytes of an open file, which is then at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size
