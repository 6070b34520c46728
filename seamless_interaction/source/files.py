"""The parts of one recording, read from wherever they lie: files, members of archives, arrays in them."""

from __future__ import annotations

import io
import os
import posixpath
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from seamless_interaction import ARRAYS, EVERY_ARRAY, TABLES, Array
from seamless_interaction.errors import AccessDenied, BadFile, MissingFile, SourceNotFound, StaleIndex, UnreadableFile
from seamless_interaction.formats.arrays import NpyRows, Npz, Packed, read_npy, read_packed
from seamless_interaction.formats.audio import AudioHeader, probe_audio
from seamless_interaction.formats.mp4 import VideoHeader, load_pyav, probe_video
from seamless_interaction.formats.text import (
    TextRecords,
    check_text,
    parse_bundle_json,
    parse_json_lines,
    parse_records,
)
from seamless_interaction.places.doubt import UNDOUBTED, Doubt
from seamless_interaction.places.entry import Entry
from seamless_interaction.places.limits import MAX_TEXT_BYTES
from seamless_interaction.places.place import Place
from seamless_interaction.places.ranges import RangeFile, SharedFile, member_path
from seamless_interaction.source.index import Index, Known, Span, stamp_number
from seamless_interaction.source.layout import BUNDLE, DIRECTORIES, LAYOUTS, Layout, Location
from seamless_interaction.source.recordings import Recording

_BLOCK = 1 << 14  # bytes that a request for a header of remote media fetches
_REQUESTS = 32  # at a time, of a remote place
_AHEAD_BYTES = 1 << 26  # that recordings to come may take, read while one is in use
_AT_FIRST = 1 << 21  # the same, before anybody asked for a second one
_AHEAD = 16  # recordings to come, if they are small
_TYPICAL_FRAMES = 226 * 30  # of a recording: its mean duration at the usual rate

# These are asked for where a host answers 403, to tell a missing file from a refusal. Every recording has them.
_SIBLINGS = ("vad", "smplh:is_valid")


def typical_bytes(parts: Iterable[str]) -> int:
    """About how many bytes the arrays among the parts take, of a recording of mean duration."""
    arrays = [EVERY_ARRAY[part] for part in parts if part in EVERY_ARRAY]
    sizes = (int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize // array.frames_per_row for array in arrays)
    return sum(sizes) * _TYPICAL_FRAMES


class Source:
    """A place, how recordings lie in it, and its index if there is one."""

    def __init__(
        self, place: Place, layout: Layout, aliases: dict[str, str] | None = None, index: Index | None = None
    ) -> None:
        self.place, self.layout, self.aliases, self.index = place, layout, aliases or {}, index
        self._lock = threading.Lock()
        self._whole: dict[str, tuple[int | None, str | None]] = {}  # archives that were compared with the index
        self._looked_at: set[str] = set()  # folders of files that were
        self._others: dict[str, tuple[str, ...]] = {}
        self.answered = False  # the host, at least once
        self.doubt = Doubt()
        self._refusal: AccessDenied | None = None

    def describe(self) -> dict[str, Any]:
        """Plain data, of which ``open`` makes the same again in another process."""
        return {
            "url": self.place.url,
            "storage_options": self.place.storage_options,
            "layout": self.layout.name,
            "aliases": self.aliases,
            "index": self.index and self.index.path,
        }

    @classmethod
    def open(cls, described: Mapping[str, Any]) -> Source:
        """Open what ``describe`` told of. Raises ``SourceError``."""
        place = Place(described["url"], described["storage_options"])
        index = Index(described["index"]) if described["index"] else None
        return cls(place, LAYOUTS[described["layout"]], described["aliases"], index)

    def files(self, recordings: Iterable[Recording], parts: tuple[str, ...]) -> Iterator[Files]:
        """The files of each recording; of a remote place, those of the next ones are read meanwhile."""
        if "video" in parts and not self.place.is_local:
            load_pyav()
        to_come = iter(recordings)
        started: deque[Files] = deque()
        ahead = min(_AHEAD, _AT_FIRST // max(typical_bytes(parts), 1))
        try:
            while True:
                for recording in islice(to_come, ahead + 1 - len(started)):
                    started.append(Files(self, recording, self.index.known(recording, parts) if self.index else None))
                    if not self.place.is_local:
                        started[-1].fetch(parts, threads())
                if not started:
                    return
                with started.popleft() as files:
                    yield files
                    if not self.place.is_local:
                        ahead = min(_AHEAD, _AHEAD_BYTES // max(files.num_bytes, typical_bytes(parts), 1))
        finally:
            for files in started:
                files.close()

    def check(self, path: str, known: Known) -> None:
        """Compare an archive with what the index says of it: always if local, else once.

        Raises:
            StaleIndex: it has another size; or, in the place that was indexed, another ETag or time.
        """
        assert self.index is not None
        with self._lock:
            if path not in self._whole or self.place.is_local:
                entry = self.place.stat(path)
                stamp = entry.stamp if self.index.url == self.place.url else known.archive_stamp
                self._whole[path] = (entry.size, stamp)
        if self._whole[path] != (known.archive_bytes, known.archive_stamp):
            raise StaleIndex(
                f"{self.place.path(path)} changed since {self.index.path} was made of it: it had "
                f"{known.archive_bytes} bytes, now {self._whole[path][0]}. Make the index again."
            )

    def check_file(self, path: str, span: Span) -> None:
        """The same of a file of its own; of a remote place, of the first in each folder, as each takes a request."""
        assert self.index is not None
        folder = posixpath.dirname(path)
        if folder in self._looked_at:
            return
        entry = self.place.stat(path)
        is_touched = self.index.url == self.place.url and span.crc32 not in (None, stamp_number(entry.stamp))
        if entry.size != span.length or is_touched:
            raise StaleIndex(
                f"{self.place.path(path)} changed since {self.index.path} was made of it: it had {span.length} bytes, "
                f"now {entry.size}. Make the index again."
            )
        if not self.place.is_local:
            self._looked_at.add(folder)

    def locate(self, recording: Recording, part: str) -> Location | None:
        """Where a part of a recording lies; None if its file is not there."""
        return self.layout.locate(recording, part, self.aliases)

    def other_arrays(self, recording: Recording) -> tuple[str, ...]:
        """Keys of arrays that a tree may hold of recordings of this label and split, and that the schema lacks."""
        root = f"{recording.label}/{recording.split}"
        if not self.place.can_be_listed:
            return ()
        with self._lock:
            if root not in self._others:
                groups = [entry.name for entry in self.place.entries(root) if entry.is_folder]
                folders = [f"{group}/{e.name}" for group in groups for e in self.place.entries(f"{root}/{group}")]
                self._others[root] = tuple(name.replace("/", ":") for name in folders if name not in DIRECTORIES)
            return self._others[root]

    def is_there(self, recording: Recording, part: str) -> bool:
        """Whether the host, which does not hand out ``part``, has the recording: it answers for one of its siblings.

        Raises:
            AccessDenied, SourceNotFound: it answers for nothing at all.
        """
        if any(self._answers(path) for path in self._siblings(recording, part)):
            return True
        if self.answered or any(self._answers(name) for name in TABLES):
            return False
        if self._refusal is None:
            raise SourceNotFound(f"{self.place.url} has nothing that was asked for. Is the address right?")
        raise AccessDenied(
            f"{self.place.url} refuses {recording.file_id}, and everything else that was asked for: the address is "
            "wrong, or the host does not let you in."
        ) from self._refusal

    def _siblings(self, recording: Recording, part: str) -> Iterator[str]:
        """The files to ask for in place of that of ``part``."""
        own, *others = (self.locate(recording, name) for name in (part, *_SIBLINGS))
        yield from dict.fromkeys(other.path for other in others if other and not (own and own.path == other.path))

    def _answers(self, path: str) -> bool:
        try:
            self.place.read(path, 0, 1)
        except FileNotFoundError:
            return False
        except AccessDenied as error:
            self._refusal = error
            return False
        self.answered = True
        return True


def threads() -> ThreadPoolExecutor:
    """Those that ask a remote place for several things at a time."""
    return _pool(os.getpid())


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Kept, as some clients have a connection for each thread; of each process, as threads do not survive a fork."""
    return ThreadPoolExecutor(_REQUESTS, "seamless-interaction")


def _read_into(place: Place, path: str, start: int, buffer: memoryview) -> int:
    content = place.read(path, start, start + len(buffer))
    buffer[: len(content)] = content
    return len(content)


class _Window(NamedTuple):
    """A file, or a part of one."""

    path: str  # of the file, in the place
    name: str  # for messages
    read: Callable[[int, int], bytes]
    size: Callable[[], int]
    block: int  # bytes to read at a time

    def open(self) -> BinaryIO:
        return cast("BinaryIO", RangeFile(self.read, self.size(), self.block))


class Files:
    """The files of one recording, each opened when first asked for and at most once.

    Use as a context manager: leaving it closes what was opened.

    Args:
        source: where they lie.
        recording: whose.
        known: what the index tells of it.
    """

    def __init__(self, source: Source, recording: Recording, known: Known | None = None):
        self.recording, self.num_bytes, self.place = recording, 0, source.place
        self._source, self._known = source, known
        self._told: dict[str, Entry] = {}  # of files that are doubted
        self._opened: dict[str, Any] = {}  # name -> Npz, parsed JSON, open file, or the BadFile that came instead
        self._lock, self._lock_of_doubt = threading.Lock(), threading.Lock()
        self._is_there: bool | None = None
        self._open = ExitStack()
        self._fetched: dict[str, Future[Any]] = {}

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened, and do not begin what was not yet read."""
        for future in self._fetched.values():
            future.cancel()
        self._open.close()

    def fetch(self, parts: Iterable[str], pool: ThreadPoolExecutor) -> None:
        """Begin to read the parts, several at a time."""
        self._fetched = {part: pool.submit(self._read, part) for part in parts}

    def get(self, part: str) -> Any:
        """A part's value; None if the recording has none.

        An array is (T, *shape) in the format's dtype, a text a list of records, and of audio and
        video it is the header.

        Raises:
            BadFile: one of its kinds.
            SourceError: the place, not the file, is at fault.
        """
        future = self._fetched.pop(part, None)
        value = future.result() if future else self._read(part)
        self.num_bytes += value.nbytes if isinstance(value, np.ndarray) else 0
        return value

    def open_rows(self, key: str) -> NpyRows | None:
        """An array of a tree, to read some rows of; None if the recording has none. Raises as ``get``."""
        return self._read(key, self._open_rows)

    def known_header(self, part: str) -> Any:
        """The header of ``"video"`` or ``"audio"``, if the index tells it; nothing is read. Raises ``StaleIndex``."""
        header = getattr(self._known, part, None)
        if header:
            with suppress(FileNotFoundError, AccessDenied):  # a copy may do without
                self._check(part, self._source.locate(self.recording, part))
        return header

    def path(self, part: str) -> str | None:
        """Where media or another part's file opens: a path or a URL of fsspec's; None if the recording has none.

        A member of an archive is ``reference://NAME::data:…``: fsspec's file system of references to
        parts of files, with the one reference in the path itself, so that it opens anywhere.
        """
        location = self._locate(part)
        if location is None:
            return None
        path = self._source.place.path(location.path)
        if not self._source.layout.in_tars:
            return path
        span = self._span(part)
        return member_path(f"{self.recording.file_id}{BUNDLE[part][0]}", path, span.offset, span.length)

    # --- reading ---

    def _read(self, part: str, read: Callable[[str], Any] | None = None) -> Any:
        if read is None:
            read = self._header if part in ("video", "audio") else self._array if part in EVERY_ARRAY else self._records
        place = self._source.place
        try:
            value = self._beyond_doubt(read, part)
        except (FileNotFoundError, AccessDenied) as error:
            if place.can_be_listed:  # it was there, or the index says so
                if isinstance(error, AccessDenied):
                    raise
                raise MissingFile(self._name(part), "not found") from error
            if not self._recording_is_there(part):
                raise MissingFile(self._name(part), "not there, nor is anything else of this recording") from error
            # Whether a part of a tree, or an array, may be missing is for the format to say. Bundles have all files.
            if self._source.layout.is_packed and part not in EVERY_ARRAY:
                raise MissingFile(self._name(part), "not found, and every bundle has one") from error
            return None
        if value is not None and self._known is None:  # it was asked for, not known
            self._source.answered = True
        return value

    def _beyond_doubt(self, read: Callable[[str], Any], part: str) -> Any:
        """What is wrong with a file of a remote place is believed if it comes again, of the version the host tells of.

        Raises:
            SourceChanged, SourceUnreachable: it is the host's fault.
        """
        try:
            return read(part)
        except UNDOUBTED:
            raise
        except BadFile:
            place = self._source.place
            location = self._source.locate(self.recording, part)
            if place.is_local or location is None or self._is_known_to_be_wrong(part):
                raise
            with self._lock:
                self._opened.clear()
            self._told[location.path] = place.stat(location.path, is_sized=False)
            with place.fetched_anew():
                try:
                    return read(part)
                except UNDOUBTED:
                    raise
                except BadFile:
                    if not self._source.layout.is_packed:
                        self._source.doubt.about(place, location.path)
                    raise

    def _is_known_to_be_wrong(self, part: str) -> bool:
        """Whether it is the index that says so, and nothing was read."""
        column = self._source.layout.column_of(part)
        return self._known is not None and not self._known.problems.keys().isdisjoint({part, column})

    def _recording_is_there(self, part: str) -> bool:
        """Whether anything of the recording is there, though ``part`` is not; asked for once."""
        with self._lock_of_doubt:
            if self._is_there is None:
                self._is_there = self._source.is_there(self.recording, part)
            return self._is_there

    def _header(self, part: str) -> VideoHeader | AudioHeader | None:
        window = self._window(part)
        if window is None or (self._known and self._known.probed):
            return window and self.known_header(part)
        probe: Callable[..., VideoHeader | AudioHeader] = probe_video if part == "video" else probe_audio
        if self._source.place.is_local and not self._source.layout.in_tars:
            return probe(window.name)
        with window.open() as file:
            return probe(window.name, file)

    def _array(self, key: str) -> np.ndarray | None:
        array = EVERY_ARRAY[key]
        location = self._locate(key)
        if location is None:
            return None
        if location.member is None:
            try:
                return read_npy(self._source.place, location.path, array, self._told.get(location.path))
            except MissingFile as error:
                raise FileNotFoundError(error.path) from error
        if self._known and self._known.probed:
            span = self._known.spans.get(key)
            if span is None:
                return None
            packed = Packed(span.offset, span.length, span.compression or 0, span.crc32 or 0)
            whole = self._file(location.path)
            return read_packed(whole.read, packed, location.member, array, self._name(key))
        npz: Npz = self._once("npz", self.npz)
        return npz.array(location.member, array)

    def _open_rows(self, key: str) -> NpyRows | None:
        location = self._locate(key)
        if location is None:
            return None
        place = self._source.place
        path = place.path(location.path)
        if not place.is_local:
            return NpyRows(partial(_read_into, place, location.path), EVERY_ARRAY[key], path)
        file = open(path, "rb", buffering=0)  # noqa: SIM115
        return NpyRows(SharedFile(file).read_into, EVERY_ARRAY[key], path, os.fstat(file.fileno()).st_size)

    def npz(self) -> Npz:
        """The directory of a bundle's arrays. Raises ``BadFile``."""
        window = self._window(next(iter(ARRAYS)))
        if window is None:
            raise MissingFile(self._name(next(iter(ARRAYS))), "not in the source")
        return Npz(window.read, window.size(), window.name)

    def has(self, key: str) -> bool:
        """Whether an array is there, as a file or as a member; one that cannot be read is. Raises ``BadFile``."""
        if self._source.layout.is_packed:
            npz: Npz = self._once("npz", self.npz)
            return f"{key}.npy" in npz.members
        location = self._source.locate(self.recording, key)
        return location is not None and (self._source.place.can_be_listed or self._source.place.exists(location.path))

    def unknown_arrays(self) -> list[str]:
        """Keys of arrays that are there, in a tree or an NPZ, and not in ``EVERY_ARRAY``. Raises ``BadFile``."""
        if self._source.layout.is_packed:
            members = self._once("npz", self.npz).members
            return [key for name in members if (key := name.removesuffix(".npy")) not in EVERY_ARRAY]
        return [key for key in self._source.other_arrays(self.recording) if self._source.place.exists(self._other(key))]

    def unknown_array(self, key: str) -> np.ndarray:
        """One of these, as it is: local files of a tree are mapped into memory. Raises ``BadFile``."""
        array = Array(key, (), "", "not in this package's schema", is_open=True)
        if not self._source.layout.is_packed:
            return read_npy(self._source.place, self._other(key), array)
        npz: Npz = self._once("npz", self.npz)
        value = npz.array(f"{key}.npy", array)
        if value is None:
            raise MissingFile(f"{self._name(next(iter(ARRAYS)))}::{key}.npy", "no such member")
        return value

    def _other(self, key: str) -> str:
        recording = self.recording
        return f"{recording.label}/{recording.split}/{key.replace(':', '/')}/{recording.file_id}.npy"

    def _records(self, part: str) -> TextRecords | None:
        window = self._window(part)
        if window is None:
            return None
        member = self._source.layout.member_of(part)
        if member is None:
            content = check_text(window.read(0, MAX_TEXT_BYTES + 1), window.name)
            return parse_records(part, parse_json_lines(content, window.name), window.name)
        records = self._once("json", lambda: self._json(window)).get(member)
        if records is not None and not isinstance(records, list):
            raise UnreadableFile(f"{window.name}::{member}", "not a list of objects")
        return None if records is None else parse_records(part, records, f"{window.name}::{member}")

    def _json(self, window: _Window) -> dict[str, Any]:
        content = check_text(window.read(0, MAX_TEXT_BYTES + 1), window.name)
        return parse_bundle_json(content, window.name, self.recording.file_id)

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._opened:
                try:
                    self._opened[name] = read()
                except BadFile as error:
                    self._opened[name] = error
        if isinstance(self._opened[name], BadFile):
            raise self._opened[name]
        return self._opened[name]

    # --- where it lies ---

    def _locate(self, part: str) -> Location | None:
        location = self._source.locate(self.recording, part)
        self._check(part, location)
        self._refuse(part)
        if self._source.layout.is_packed:
            self._refuse(self._source.layout.column_of(part))
            # What is optional in a bundle's JSON is not known without it; what a vendor's NPZ has, is.
            if location is None and part not in EVERY_ARRAY:
                raise MissingFile(self._name(part), "not in the source, and every bundle has one")
        return location

    def _check(self, part: str, location: Location | None) -> None:
        """Raise ``StaleIndex`` if a file of its own is another one than the index tells of."""
        if location and self._known and self._source.index and not self._source.layout.in_tars:
            span = self._known.spans.get(self._source.layout.column_of(part))
            if span:
                self._source.check_file(location.path, span)

    def _refuse(self, column: str) -> None:
        """Raise what the index says is wrong with a part or member."""
        if self._known and column in self._known.problems:
            error = self._known.problems[column]
            raise type(error)(self._name(column), error.reason)

    def _name(self, part: str) -> str:
        """A part's file, for messages."""
        location = self._source.locate(self.recording, part) if part in BUNDLE else None
        if not self._source.layout.is_packed:
            return self._source.place.path(location.path) if location else f"{self.recording.file_id} {part}"
        name = f"{self.recording.file_id}{BUNDLE[part][0] if part in BUNDLE else f'.{part}'}"
        if location is None:
            return name
        path = self._source.place.path(location.path)
        return f"{path}::{name}" if self._source.layout.in_tars else path

    def _span(self, part: str) -> Any:
        assert self._known is not None  # archives are read by an index
        return self._known.spans[self._source.layout.column_of(part)]

    def _window(self, part: str) -> _Window | None:
        location = self._locate(part)
        if location is None:
            return None
        whole = self._file(location.path)
        if not self._source.layout.in_tars:
            return whole._replace(name=self._source.place.path(location.path))
        span = self._span(part)
        read = whole.read

        def within(start: int, end: int) -> bytes:
            return read(span.offset + start, span.offset + min(end, span.length))

        return whole._replace(name=self._name(part), read=within, size=lambda: span.length)

    def _file(self, path: str) -> _Window:
        """A whole file of the place."""
        place = self._source.place
        if self._known and self._source.index and self._source.layout.in_tars:
            self._source.check(path, self._known)
        if not place.is_local:
            told = self._told.get(path)

            def fetch(start: int, end: int) -> bytes:
                return place.read(path, start, end, of=told)

            return _Window(path, "", fetch, lambda: place.stat(path).size, _BLOCK)

        def file() -> BinaryIO:
            if path not in self._opened:
                self._opened[path] = self._open.enter_context(open(place.path(path), "rb", buffering=0))  # noqa: SIM115
            return self._opened[path]

        def size() -> int:
            return os.fstat(file().fileno()).st_size

        def read(start: int, end: int) -> bytes:
            file().seek(start)
            return file().read(max(0, min(end, size()) - start))  # Python allocates what it is asked to read

        return _Window(path, "", read, size, io.DEFAULT_BUFFER_SIZE)
