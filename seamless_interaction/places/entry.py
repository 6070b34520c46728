"""What a place tells of a file or folder, and what its stamp, an ETag or the like, says."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A file or folder."""

    name: str
    is_folder: bool
    size: int  # bytes; -1: the host does not tell
    stamp: str  # changes when the content does: modification time, ETag or whatever the place tells


def is_md5(stamp: str) -> bool:
    """Whether an ETag looks like S3's of a file that was uploaded in one piece: the MD5 of its bytes."""
    return re.fullmatch(r'"?[0-9a-f]{32}"?', stamp) is not None


def contradicts(stamp: str, content: bytes) -> bool:
    """Whether an ETag looks like the MD5 of a whole file's bytes, and is that of others."""
    return is_md5(stamp) and hashlib.md5(content, usedforsecurity=False).hexdigest() != stamp.strip('"')


_STAMPS = ("ETag", "etag", "blob_id", "mtime", "LastModified", "Last-Modified", "last_modified", "created")


def entry_of(info: dict[str, Any], name: str) -> Entry:
    stamp = next((info[key] for key in _STAMPS if info.get(key)), "")
    if isinstance(stamp, datetime):  # in listings, memory:// tells the same as a number
        stamp = stamp.timestamp()
    is_folder, size = info["type"] == "directory", info.get("size")
    return Entry(name, is_folder, 0 if is_folder else -1 if size is None else size, str(stamp))
