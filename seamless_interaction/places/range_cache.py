"""What was read of remote places, kept in a folder of bounded size: a second run fetches nothing again."""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from seamless_interaction.errors import TargetError, UsageError
from seamless_interaction.places import place
from seamless_interaction.places.entry import Entry, contradicts
from seamless_interaction.places.write import write_whole

logger = logging.getLogger("seamless_interaction")

# Ours, and no other file of the folder: an entry, or what `write_whole` makes before it is one.
_OURS = re.compile(r"[0-9a-f]{64}\.range|\.[0-9a-f]{64}\.range-[a-z0-9_]+")
# Of an entry: what it is, length of the content, CRC-32 of all else, digest of the file's stamp. The content follows.
_HEAD = struct.Struct("<8sQI16s")
_MAGIC = b"SIrange2"
_LEFT = 0.9  # of the bound, once old entries made room: to look through the folder is for many writes
_UNSEEN = 0.05  # of the bound: what this process may write before it looks what others wrote


@contextmanager
def kept_in(folder: str | os.PathLike[str], max_bytes: int) -> Iterator[RangeCache]:
    """Reads of remote places that are opened meanwhile, by this process or one forked from it, go through a folder.

    What was kept of a file counts as long as the file has the size and the stamp (ETag, modification time) that this
    process was told last, for which it asks once; of a host that tells no stamp, nothing is kept. What came of another
    version is not kept, and what turns out to hold something else than it should is fetched again, see ``anew``.
    Several processes may share a folder, each then exceeding the bound by a twentieth at most; and the folder may hold
    other things.

    Args:
        folder: made if it is not there.
        max_bytes: of what is kept. What was not used for longest goes first, and what is larger is not kept.

    Raises:
        UsageError: a bound that leaves nothing.
        TargetError: there cannot be such a folder.
    """
    cache = RangeCache(Path(folder), max_bytes)
    before, place.range_cache = place.range_cache, cache
    try:
        yield cache
    finally:
        place.range_cache = before


class _File(NamedTuple):
    used: int  # ns
    size: int
    path: str


class RangeCache:
    """The folder of ``kept_in``, which has the arguments; ``Place`` calls the methods."""

    def __init__(self, folder: Path, max_bytes: int):
        if max_bytes <= 0:
            raise UsageError(f"a cache of {max_bytes} bytes: give it more, or go without.")
        self.folder, self._max_bytes = folder, max_bytes
        self._told: dict[str, Entry] = {}  # by URL; a listing of fsspec's, which it comes from, takes more
        self._thread = threading.local()
        self._writes = True
        self._forget()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._make_room(0)
        except OSError as error:
            raise TargetError(f"{folder}: cannot hold a cache ({error}). Name another folder.") from error

    def _forget(self) -> None:
        self._process, self._lock = os.getpid(), threading.Lock()
        self._total = 0  # bytes of all entries
        self._unseen = self._max_bytes  # of those written since they were counted

    def tell(self, url: str, entry: Entry) -> None:
        """Note what a place says of a file now."""
        self._told[url] = entry

    def told(self, url: str) -> Entry | None:
        """What a place said of a file last."""
        return self._told.get(url)

    def forget(self, url: str) -> None:
        """What a place said of a file, which is another one now."""
        self._told.pop(url, None)

    @contextmanager
    def anew(self) -> Iterator[None]:
        """Meanwhile whatever this thread reads is fetched, and replaces what was kept."""
        self._thread.is_anew = True
        try:
            yield
        finally:
            self._thread.is_anew = False

    def read(self, url: str, start: int, end: int | None, fetch: Callable[[], bytes]) -> bytes:
        """A range of a file: what is kept of it, else what ``fetch`` gives, which is then kept."""
        key = sha256(f"{url} {start} {end}".encode()).hexdigest()
        path, told = self.folder / f"{key}.range", self._told.get(url)
        if told and not told.stamp:  # nothing would tell when it is another file
            return fetch()
        stamp = sha256(f"{told.size} {told.stamp}".encode()).digest()[:16] if told else bytes(16)
        content = None if getattr(self._thread, "is_anew", False) else self._load(path, stamp)
        if content is None:
            content = fetch()
            is_whole = told and start == 0 and len(content) == told.size
            if not (is_whole and told and contradicts(told.stamp, content)):
                self._keep(path, stamp, content)
        return content

    def _load(self, path: Path, stamp: bytes) -> bytes | None:
        """The content of an entry; None if it is not there, damaged, or of a file that has another stamp now."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if not _HEAD.size <= size <= self._max_bytes:  # Python allocates what it is asked to read
                    return None
                magic, length, crc, stored = _HEAD.unpack(file.read(_HEAD.size))
                content = file.read(size - _HEAD.size)
            os.utime(path)
        except (OSError, struct.error):  # or somebody makes room
            return None
        if (magic, length, crc) != (_MAGIC, len(content), _crc(path, stored, content)):
            return None
        return content if stamp == stored else None

    def _keep(self, path: Path, stamp: bytes, content: bytes) -> None:
        size = _HEAD.size + len(content)
        if size > self._max_bytes or not self._writes:
            return
        if self._process != os.getpid():  # forked: a thread of the parent, which is not here, may have the lock
            self._forget()
        head = _HEAD.pack(_MAGIC, len(content), _crc(path, stamp, content), stamp)
        try:
            with self._lock:
                if self._total + size > self._max_bytes or self._unseen + size > self._max_bytes * _UNSEEN:
                    self._make_room(size)
                self._total += size
                self._unseen += size
                write_whole(path, lambda file: (file.write(head), file.write(content)))
        except FileNotFoundError:  # the folder goes, or somebody who makes room took it for a killed process's
            return
        except OSError as error:
            self._writes = False
            logger.warning("%s: %s. Continuing without a cache.", self.folder, error)

    def _make_room(self, size: int) -> None:
        """Count the entries, and delete the oldest if there is no room for one more of that size."""
        files = sorted(self._files())
        self._total, self._unseen = sum(file.size for file in files), 0
        if self._total + size <= self._max_bytes:
            return
        most = min(self._max_bytes - size, int(self._max_bytes * _LEFT))
        for file in files:
            if self._total <= most:
                return
            with suppress(FileNotFoundError):
                os.unlink(file.path)
            self._total -= file.size

    def _files(self) -> Iterator[_File]:
        try:
            with os.scandir(self.folder) as found:
                for file in found:
                    if _OURS.fullmatch(file.name) and file.is_file(follow_symlinks=False):
                        with suppress(FileNotFoundError):
                            stat = file.stat()
                            yield _File(stat.st_mtime_ns, stat.st_size, file.path)
        except FileNotFoundError:
            return


def _crc(path: Path, stamp: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(stamp + path.name.encode()))
