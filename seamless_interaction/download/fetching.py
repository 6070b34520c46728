"""Bytes of a source, fetched into files of ``.partial`` until they are beyond doubt, whatever interrupts it.

What is fetched at a time is a *container*: a file of a tree, a file of a bundle, a member of a tar, or one array in
one. A later run finds what there is of it, and resumes if the source still has the same.

Bytes that do not hold what they should came either damaged or from a damaged source. A published hash tells which;
without one they are fetched again, and if the same come twice, and the source says in other ways that its file has so
many bytes and this end, the source is taken to be like that.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from seamless_interaction.errors import BadFile, NoRanges, SourceUnreachable, UnreadableFile, UnsafeFile, WrongType
from seamless_interaction.places.answers import Body
from seamless_interaction.places.entry import is_md5
from seamless_interaction.places.place import ATTEMPTS, Place
from seamless_interaction.places.write import FULL, create
from seamless_interaction.source.files import Source
from seamless_interaction.work.typed_json import load_as

PARTIAL = ".partial"

_TIMES = 3  # that a container is fetched, until the same came twice
_SMALL = 1 << 20  # bytes up to which resuming is not worth the writing down
_STEP = 1 << 20
_BEGINNING = 1 << 16  # bytes of a file that tell how long it may be
_DOUBTFUL = 1 << 28  # bytes from which on a file has to be what it should from its beginning
_PROGRESS = 1 << 16  # bytes with which an attempt was not in vain
_END = 64  # bytes at the end of a file that are asked for by themselves, in doubt


class Container(NamedTuple):
    """Bytes of a source: a file, or a part of one."""

    place: Place
    path: str
    start: int
    end: int | None  # None: it is the whole file
    name: str  # for messages and the manifest
    proof: str | None = None  # by which it is known to be right before it is read
    limit: int = sys.maxsize  # more bytes it cannot have
    declared: Callable[[bytes], int] | None = None  # nor more than this, by its first ones

    def part(self, offset: int, length: int, name: str) -> Container:
        """A part of it."""
        return self._replace(start=self.start + offset, end=self.start + offset + length, name=name)

    def read(self, size: int, start: int, end: int) -> bytes:
        """Some of its bytes, of which it has ``size``."""
        return self.place.read(self.path, self.start + start, self.start + min(end, size), within=True)

    def require_size(self, size: int) -> None:
        """Ask the source in another way how long a whole file is. Raises ``SourceUnreachable``: not that long."""
        told = size if self.end is not None else self.place.stat(self.path, is_sized=False).size
        if told not in (size, -1):
            raise SourceUnreachable(f"{self.name}: {size} bytes come as the whole file, which has {told}.")

    def require_announced(self, size: int | None, error: BadFile) -> None:
        """Ask in another way whether a whole file has as many bytes as were announced, which it cannot have.

        Raises:
            SourceUnreachable: it has not, or none were announced.
        """
        if self.end is not None:
            return
        told = self.place.stat(self.path, is_sized=False).size
        if told != size:
            says = f"{told} bytes" if told >= 0 else "nothing"
            raise SourceUnreachable(f"{error}. Asked for its size alone, the host says {says}.") from None

    def require_end(self, size: int, end: bytes = b"") -> None:
        """Ask in other ways whether a whole file has so many bytes: who sent half of it twice may send it thrice.

        Args:
            end: its last bytes.

        Raises:
            SourceUnreachable: it has more, or fewer, or another end.
        """
        if self.end is not None:  # a part is as long as was asked for
            return
        self.require_size(size)
        with suppress(NoRanges):
            if self.place.read(self.path, size - len(end), size + 1) != end:
                raise SourceUnreachable(f"{self.name}: {size} bytes come as the whole file, which ends otherwise.")


class Fetched(NamedTuple):
    """What came of a container."""

    num_bytes: int
    sha256: str
    stamp: str
    proof: str | None  # hash that was published and is the same
    differs: str | None  # ... and is another one


class Stopped(Exception):
    """The user wants no more."""


class _Note(NamedTuple):
    """What lies beside a file that is not whole yet: which bytes of what it is, and in which start of the machine."""

    origin: list[Any]
    stamp: str
    total: int | None
    boot: str


class _Sink:
    """A file in ``.partial`` that grows, and what it is the beginning of."""

    def __init__(self, file: Path, container: Container):
        self.file, self._container, self._note = file, container, _note_of(file)
        self._origin = [container.place.path(container.path), container.start, container.end]
        self.length, self.stamp, self.total = 0, "", None if container.end is None else container.end - container.start
        self.sha256, self.md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._limit, self._declared = container.limit, container.declared
        file.parent.mkdir(parents=True, exist_ok=True)
        self._noted = self._stored = self._recall()
        if self._noted:
            self._open = open(file, "r+b", buffering=0)  # noqa: SIM115
            while step := self._open.read(_STEP):
                self._hash(step)
        else:
            self._open = anew(file, buffering=0)

    def _recall(self) -> bool:
        """Whether the file is the beginning of this container, as the note beside it says."""
        try:
            if not (is_regular(self.file) and is_regular(self._note)):
                return False
            note = cast("_Note", load_as(_Note, self._note.read_bytes()))
            if note.origin == self._origin and note.boot == _boot() and note.stamp:
                self.stamp, self.total = note.stamp, note.total
                return True
        except (OSError, ValueError):
            pass
        return False

    def _hash(self, piece: bytes | bytearray) -> None:
        self.sha256.update(piece)
        if is_md5(self.stamp):
            self.md5.update(piece)
        self.length += len(piece)

    @property
    def is_whole(self) -> bool:
        return self._stored and self.length == self.total

    def opened(self, stamp: str, total: int | None) -> None:
        """It now comes from a file of this stamp. Raises ``UnsafeFile``: it is announced as longer than any."""
        if stamp != self.stamp or self.length == 0:
            self.restart()
        self.stamp = stamp
        if total is not None:
            self.total = total
        if (self.total or 0) > self._limit:
            raise UnsafeFile(self._container.name, f"{self.total} bytes, more than any recording has")

    def restart(self) -> None:
        self._open.seek(0)
        self._open.truncate()
        self.length = 0
        self.sha256, self.md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        if self._noted:
            self._note.unlink(missing_ok=True)
        self._noted = self._stored = False

    def write(self, piece: bytes | bytearray) -> None:
        if not self._noted and self.stamp and (self.total is None or self.total > _SMALL):
            note = _Note(self._origin, self.stamp, self.total, _boot())
            with anew(self._note) as file:
                file.write(json.dumps(note._asdict()).encode())
            self._noted = True
        rest = memoryview(piece)
        while rest:
            rest = rest[self._open.write(rest) :]
        self._hash(piece)

    def require_bounded(self) -> None:
        """Raise ``BadFile`` where it is longer than it can be, by what it should hold or by its beginning."""
        if self._declared and self.length >= _BEGINNING and (self.total or _DOUBTFUL) >= _DOUBTFUL:
            with suppress(WrongType), open(self.file, "rb") as opened:  # which is no damage
                self._limit = min(self._limit, self._declared(opened.read(_BEGINNING)))
            self._declared = None
        if max(self.length, self.total or 0) > self._limit:
            raise UnsafeFile(self._container.name, f"more than {self._limit} bytes, which it cannot have")

    def close(self) -> None:
        self._open.close()

    def finish(self) -> None:
        os.fsync(self._open.fileno())


class Fetcher:
    """Fetches containers, in as many threads as call ``fetch``.

    Args:
        source: where the recordings lie.
        target: the copy's folder, whose disk has to have room.
        on_bytes: called with the number of bytes that came from the source, as they come.
    """

    def __init__(self, source: Source, target: Path, on_bytes: Callable[[int], object]):
        self.stop = threading.Event()
        self._source, self._target, self._on_bytes = source, target, on_bytes

    def fetch(
        self, container: Container, file: Path, look: Callable[[Fetched], dict[str, BadFile]]
    ) -> tuple[Fetched, dict[str, BadFile]]:
        """Fetch until what came is beyond doubt: in order, or proven, or the same as the last time.

        Args:
            file: where to.
            look: what is wrong with what came, and with which part of it.

        Raises:
            Stopped: ``stop`` was set.
            SourceUnreachable: something else came each time. And whatever reading the source raises.
        """
        before = ""
        for _ in range(_TIMES):
            fetched = self._fetch_once(container, file)
            problems = look(fetched)
            if not fetched.differs and (not problems or fetched.proof is not None):
                return fetched, problems
            if fetched.sha256 == before:
                container.require_end(fetched.num_bytes, _end_of(file))
                if fetched.differs == "sha256":
                    wrong = UnreadableFile(container.name, "not the bytes whose SHA-256 the source publishes")
                    raise SourceUnreachable(f"{wrong} It came twice like that.")
                if problems and container.end is None and fetched.num_bytes and container.proof is None:
                    self._source.doubt.compare(container.place, container.path, fetched.sha256)
                return fetched, problems  # an ETag that looks like an MD5 need not be one
            before = fetched.sha256
            discard(file)
        raise SourceUnreachable(f"{container.name}: other bytes came each of {_TIMES} times, and none were in order.")

    def _fetch_once(self, container: Container, file: Path) -> Fetched:
        """All bytes of a container, and what the source publishes of them."""
        with closing(_Sink(file, container)) as sink:
            try:
                if not sink.is_whole:
                    self._fill(sink, container)
                sink.finish()
            except BadFile as error:
                discard(file)
                container.require_announced(sink.total, error)
                raise
        digest = sink.sha256.hexdigest()
        fetched = Fetched(sink.length, digest, sink.stamp, container.proof, None)
        if container.end is not None or container.proof:
            return fetched
        published = container.place.published_sha256(container.path)
        if published:
            return _compared(fetched, "sha256", digest == published)
        if container.place.is_http and is_md5(sink.stamp):
            return _compared(fetched, "md5", sink.md5.hexdigest() == sink.stamp.strip('"'))
        return fetched

    def _fill(self, sink: _Sink, container: Container) -> None:
        for piece in self._pieces(sink, container):
            try:
                sink.write(piece)
            except OSError as error:
                if sink.total is not None or error.errno not in FULL:
                    raise
                discard(sink.file)
                raise SourceUnreachable(
                    f"{container.name}: {sink.length:,} bytes fill the disk of {self._target}, and the host does not "
                    "tell how many are to come."
                ) from None
            if container.place is self._source.place:
                self._on_bytes(len(piece))
            sink.require_bounded()

    def _pieces(self, sink: _Sink, container: Container) -> Iterator[bytes | bytearray]:
        """What a sink still lacks, asked for again where it breaks off."""
        body, attempt, furthest = None, 0, sink.length
        while not self.stop.is_set():
            try:
                body = body or self._open(sink, container)
                piece = next(body.pieces, None)
                come = sink.length + len(piece or b"")
                if sink.total is not None and (come > sink.total or (piece is None and come < sink.total)):
                    raise ConnectionError(f"{come} of {sink.total} bytes came")
            except BadFile:
                raise
            except Exception as error:  # whatever a client raises
                body = None
                attempt += 1
                self.stop.wait(container.place.wait_after(container.path, error, attempt, ATTEMPTS))
                if not sink.stamp:  # nobody could tell whether the rest belongs to it
                    sink.restart()
                continue
            if self.stop.is_set():
                break
            if piece is None:
                return
            yield piece
            if sink.length - furthest >= _PROGRESS:
                attempt, furthest = 0, sink.length
        raise Stopped

    def _open(self, sink: _Sink, container: Container) -> Body:
        """Ask for what a sink lacks; for everything where the source has another file by now."""
        at = container.start + sink.length
        body = container.place.open_body(container.path, at, container.end, sink.stamp)
        is_same = body.stamp == sink.stamp and bool(body.stamp)
        if body.start != at or (sink.length and not is_same):
            sink.restart()
            if body.start != container.start:
                return self._open(sink, container)
        sink.opened(body.stamp, body.size if container.end is None else None)
        left = shutil.disk_usage(self._target).free
        if (sink.total or 0) - sink.length > left:
            raise SourceUnreachable(
                f"{container.name}: {sink.total:,} bytes are announced, and the disk of {self._target} has {left:,} "
                "left. If it is as large, make room."
            )
        return body


def _compared(fetched: Fetched, what: str, is_same: bool) -> Fetched:
    return fetched._replace(proof=what) if is_same else fetched._replace(differs=what)


def _end_of(file: Path) -> bytes:
    with open(file, "rb") as opened:
        opened.seek(max(0, os.path.getsize(file) - _END))
        return opened.read()


@cache
def _boot() -> str:
    """Which start of the machine this is: what was not on disk when it lost power is not what it seems to be."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""


def is_regular(file: Path) -> bool:
    """Whether it is a file itself: no link, folder or pipe."""
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False


def anew(file: Path, buffering: int = -1) -> Any:
    """A new file in ``.partial``, in place of whatever has its name."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    return create(file, buffering)


def discard(file: Path) -> None:
    """Remove a file of ``.partial``, and what is noted of it."""
    file.unlink(missing_ok=True)
    _note_of(file).unlink(missing_ok=True)


def _note_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
