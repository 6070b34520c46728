"""Files of a source become files of a local tree: fetched, checked, written down, and only then given their name.

What is fetched at a time is a *container*: a file of a tree, a file of a bundle, a member of a tar, or one array in
one. It goes into ``.partial`` in the copy's folder, where a later run finds it and goes on, if the source still has
the same. Then its files are made of it, and checked as far as their format allows.

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
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, cast

from seamless_interaction import EVERY_ARRAY
from seamless_interaction.download.manifest import ABSENT, DAMAGED, FAILED, MISSING, WHOLE, Manifest
from seamless_interaction.errors import (
    AccessDenied,
    BadFile,
    EmptyFile,
    MissingFile,
    NonFinite,
    NoRanges,
    NoVideoStream,
    SourceChanged,
    SourceUnreachable,
    StaleIndex,
    TargetError,
    UnreadableFile,
    UnsafeFile,
    WrongType,
)
from seamless_interaction.formats import audio
from seamless_interaction.formats.arrays import Npz, Packed, declared_bytes, max_bytes, read_npy, unpack
from seamless_interaction.formats.audio import probe_audio
from seamless_interaction.formats.mp4 import probe_video
from seamless_interaction.formats.tar import contents
from seamless_interaction.formats.text import check_text, parse_bundle_json, parse_json_lines, parse_records
from seamless_interaction.places.entry import is_md5
from seamless_interaction.places.limits import MAX_MP4_BYTES, MAX_TAR_BYTES, MAX_TEXT_BYTES, MAX_WAV_BYTES
from seamless_interaction.places.place import ATTEMPTS, Place
from seamless_interaction.places.write import FULL, create, refuse_links, sha256_of, writing
from seamless_interaction.source.files import Source
from seamless_interaction.source.index import Known
from seamless_interaction.source.layout import BUNDLE, MEMBERS, tree_path
from seamless_interaction.source.recordings import Recording, is_required
from seamless_interaction.work.typed_json import load_as

PARTIAL = ".partial"

_TIMES = 3  # that a container is fetched, until the same came twice
_SMALL = 1 << 20  # bytes up to which going on is not worth the writing down
_STEP = 1 << 20
_BEGINNING = 1 << 16  # bytes of a file that tell how long it may be
_DOUBTFUL = 1 << 28  # bytes from which on a file has to be what it should from its beginning
_PROGRESS = 1 << 16  # bytes with which an attempt was not in vain
_END = 64  # bytes at the end of a file that are asked for by themselves, in doubt
_MOST_OF_IT = 0.5  # of an NPZ's bytes, from which on it is fetched whole
_LOCAL_HEADER = 30 + 32  # bytes before an array in a zip, besides its name: a guess that is a little too large


def check(place: Place, relative: str, part: str) -> BadFile | None:
    """What is wrong with a file's form: its header against its length, JSON Lines that are no records of their kind.

    An empty recording's placeholders are in order, and so are values that the format does not have: they are no
    damage.
    """
    try:
        if part in EVERY_ARRAY:
            read_npy(place, relative, EVERY_ARRAY[part])
        elif part == "audio":
            probe_audio(place.path(relative))
        elif part == "video":
            probe_video(place.path(relative))
        else:
            path = place.path(relative)
            content = check_text(place.read(relative, 0, MAX_TEXT_BYTES + 1), path)
            parse_records(part, parse_json_lines(content, path), path)
    except (WrongType, NonFinite, NoVideoStream):
        return None
    except EmptyFile as error:
        return None if os.path.getsize(place.path(relative)) else error
    except BadFile as error:
        return error
    return None


class Made(NamedTuple):
    """What became of one file of the tree.

    Attributes:
        part: which, of which recording; "" where a whole archive is meant.
        status: as in the manifest.
        num_bytes: of the file.
        detail: what is wrong.
    """

    file_id: str
    part: str
    status: str
    num_bytes: int = 0
    detail: str | None = None


class Job(NamedTuple):
    """What is fetched in one go: parts of a recording that lie in one file, or an archive and what is wanted of it."""

    wanted: tuple[tuple[Recording, tuple[str, ...]], ...]
    archive: str | None = None  # to be fetched whole


class _Container(NamedTuple):
    """Bytes of a source: a file, or a part of one."""

    place: Place
    path: str
    start: int
    end: int | None  # None: it is the whole file
    name: str  # for messages and the manifest
    proof: str | None = None  # by which it is known to be right before it is read
    limit: int | None = None  # more bytes it cannot have
    declared: Callable[[bytes], int] | None = None  # nor more than this, by its first ones


class _Fetched(NamedTuple):
    file: Path
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

    def __init__(self, file: Path, container: _Container):
        self.file, self._note = file, file.with_name(f"{file.name}.json")
        self._origin = [container.place.path(container.path), container.start, container.end]
        self.length, self.stamp, self.total = 0, "", None if container.end is None else container.end - container.start
        self.sha256, self.md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._noted = self._stored = self._recall()
        if self._noted:
            self._open = open(file, "r+b", buffering=0)  # noqa: SIM115
            while step := self._open.read(_STEP):
                self._hash(step)
        else:
            self._open = _anew(file, buffering=0)

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
        """It now comes from a file of this stamp."""
        if stamp != self.stamp or self.length == 0:
            self.restart()
        self.stamp = stamp
        if total is not None:
            self.total = total

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
            with _anew(self._note) as file:
                file.write(json.dumps(note._asdict()).encode())
            self._noted = True
        rest = memoryview(piece)
        while rest:
            rest = rest[self._open.write(rest) :]
        self._hash(piece)

    def close(self) -> None:
        self._open.close()

    def finish(self) -> None:
        os.fsync(self._open.fileno())
        self._open.close()


@cache
def _boot() -> str:
    """Which start of the machine this is: what was not on disk when it lost power is not what it seems to be."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""


class Transfer:
    """Carries out jobs, in as many threads as call ``run``.

    Args:
        source: where the recordings lie.
        target: the copy's folder.
        manifest: of it.
        on_bytes: called with the number of bytes that came, as they come.
    """

    def __init__(
        self, source: Source, target: Path, manifest: Manifest, on_bytes: Callable[[int], object] = lambda number: None
    ):
        self.stop = threading.Event()
        self._source, self._manifest, self._on_bytes = source, manifest, on_bytes
        self._copy = Place(target)
        self._target = target
        self._partial = target / PARTIAL
        refuse_links(target, PARTIAL)
        self._folders: set[str] = set()

    def run(self, job: Job) -> Iterator[Made]:
        """Fetch what a job is about; tell what became of each file.

        Raises:
            Stopped: ``stop`` was set.
            TargetError: the copy cannot be written to.
            AccessDenied, SourceNotFound, NoRanges: the source as a whole is of no use.
        """
        if job.archive:
            yield from self._archive(job.archive, job.wanted)
            return
        for recording, parts in job.wanted:
            yield from self._attempt(recording, parts, self._of_source)

    def _attempt(
        self, recording: Recording, parts: tuple[str, ...], make: Callable[[Recording, tuple[str, ...]], Iterable[Made]]
    ) -> Iterator[Made]:
        """Make files, or say why there are none."""
        made: list[Made] = []
        try:
            with writing(self._target):
                made += [found for part in parts if (found := self._recovered(recording, part))]
                rest = tuple(part for part in parts if part not in {one.part for one in made})
                if rest:
                    made.extend(make(recording, rest))
            self._source.answered = True
            yield from made
            return
        except (SourceUnreachable, SourceChanged, StaleIndex) as error:
            failure: Callable[[str], Made] = partial(self._without, recording, FAILED, str(error))
        except BadFile as error:
            status = MISSING if isinstance(error, MissingFile) else DAMAGED
            failure = partial(self._without, recording, status, error.reason)
        except (FileNotFoundError, AccessDenied) as error:
            if isinstance(error, TargetError):
                raise
            failure = partial(self._refused, recording, error)
        yield from made
        yield from (failure(part) for part in parts if part not in {one.part for one in made})

    def _refused(self, recording: Recording, error: Exception, part: str) -> Made:
        """A file that is not there, or not handed out. On the bucket both are the same 403."""
        if self._source.place.can_be_listed:  # it was there
            status = MISSING if isinstance(error, FileNotFoundError) else FAILED
            return self._without(recording, status, str(error), part)
        try:
            is_there = self._source.is_there(recording, part)
        except SourceUnreachable as unreachable:
            return self._without(recording, FAILED, str(unreachable), part)
        if not is_there:
            return self._without(recording, MISSING, f"{error} Nor is anything else of this recording there.", part)
        if is_required(recording, part):
            return self._without(recording, MISSING, f"{error} Other files of this recording are there.", part)
        return self._without(recording, ABSENT, None, part)

    def _recovered(self, recording: Recording, part: str) -> Made | None:
        """A file that is here as the manifest has it: touched since, or without its name when a run was killed."""
        path = _tree_path(recording, part)
        entry = self._manifest.entry(path)
        if entry is None or "sha256" not in entry:
            return None
        for file in (self._target / path, self._temporary(recording, part)):
            if is_regular(file) and file.stat().st_size == entry.get("bytes") and sha256_of(file) == entry["sha256"]:
                self._manifest.write(**{**entry, "mtime_ns": file.stat().st_mtime_ns, "checked": int(time.time())})
                return self._name(recording, part, file, entry)
        return None

    def _without(self, recording: Recording, status: str, detail: str | None, part: str) -> Made:
        """There is no file, and the manifest says why."""
        path, place = _tree_path(recording, part), self._source.place
        detail = detail and place.within(detail)
        with writing(self._target):
            self._manifest.write(path, status, source=place.url, detail=detail)
        return Made(recording.file_id, part, status, 0, detail)

    # --- what is fetched ---

    def _of_source(self, recording: Recording, parts: tuple[str, ...]) -> Iterator[Made]:
        source = self._source
        known = source.index.known(recording, parts) if source.index else None
        location = source.locate(recording, parts[0])
        if location is None:
            raise MissingFile(f"{recording.file_id} {parts[0]}", "not in the source")
        name = source.place.path(location.path)
        whole = _Container(source.place, location.path, 0, None, name)
        if source.layout.in_tars:
            assert known is not None
            source.check(location.path, known)
            yield from self._member(recording, parts, whole, known)
        elif source.layout.is_packed:
            yield from self._of_bundle(recording, parts, whole)
        else:
            yield from self._file(recording, parts[0], whole)

    def _member(
        self, recording: Recording, parts: tuple[str, ...], archive: _Container, known: Known
    ) -> Iterator[Made]:
        extension = BUNDLE[parts[0]][0]
        column = MEMBERS[extension]
        name = f"{archive.name}::{recording.file_id}{extension}"
        span = known.spans.get(column)
        if column in known.problems or span is None:
            problem = known.problems.get(column, MissingFile(name, "not in the archive"))
            status = MISSING if isinstance(problem, MissingFile) else DAMAGED
            yield from (self._without(recording, status, problem.reason, part) for part in parts)
            return
        member = archive._replace(start=span.offset, end=span.offset + span.length, name=name)
        yield from self._of_bundle(recording, parts, member)

    def _of_bundle(self, recording: Recording, parts: tuple[str, ...], container: _Container) -> Iterator[Made]:
        if parts[0] in ("audio", "video"):
            yield from self._file(recording, parts[0], container)
        elif parts[0] in EVERY_ARRAY:
            yield from self._arrays(recording, parts, container)
        else:
            yield from self._texts(recording, parts, container)

    def _archive(self, path: str, wanted: tuple[tuple[Recording, tuple[str, ...]], ...]) -> Iterator[Made]:
        """Fetch a whole tar, and take from it what is wanted."""
        place = self._source.place
        container = _Container(place, path, 0, None, place.path(path), limit=MAX_TAR_BYTES)
        file = self._partial / path.replace("/", "-")
        try:
            with writing(self._target):
                fetched, _ = self._confirmed(container, file, _unproven)
        except (SourceUnreachable, SourceChanged, FileNotFoundError, AccessDenied, BadFile) as error:
            if isinstance(error, TargetError):
                raise
            statuses = {FileNotFoundError: MISSING, UnsafeFile: DAMAGED}
            status = statuses.get(type(error), FAILED)
            for recording, parts in wanted:
                yield from (self._without(recording, status, str(error), part) for part in parts)
            return
        self._source.answered = True
        local = Place(self._partial)
        with open(file, "rb") as tar:

            def read(start: int, end: int) -> bytes:
                tar.seek(start)
                return tar.read(end - start)

            found = contents(read, fetched.num_bytes, container.name)
        members = {member.name: member for member in found.members}
        problems = dict(found.problems)
        proof = fetched.proof
        for recording, parts in wanted:
            for group in self._source.layout.groups(parts):
                name = f"{recording.file_id}{BUNDLE[group[0]][0]}"
                if name not in members:
                    problem = problems.get(name) or problems.get("")
                    status, detail = (DAMAGED, problem.reason) if problem else (MISSING, "not in the archive")
                    yield from (self._without(recording, status, detail, part) for part in group)
                    continue
                span = members[name]
                inner = _Container(
                    local, file.name, span.offset, span.offset + span.size, f"{container.name}::{name}", proof
                )
                make = partial(self._of_bundle, container=inner)
                yield from self._attempt(recording, group, make)
        self._discard(file)

    # --- what is made of it ---

    def _file(self, recording: Recording, part: str, container: _Container) -> Iterator[Made]:
        """A file that is stored as it is."""
        file = self._temporary(recording, part)
        container = _bounded(container, part)

        def look(fetched: _Fetched) -> dict[str, BadFile]:
            problem = check(self._copy, f"{PARTIAL}/{file.name}", part)
            return {part: problem} if problem else {}

        fetched, problems = self._confirmed(container, file, look)
        if container.place.is_http and not fetched.proof and container.limit == MAX_TEXT_BYTES:
            self._ask_size(container, fetched.num_bytes)  # of text that is cut after a line, nothing else tells
        yield self._finish(recording, part, file, fetched, container.name, problems.get(part))

    def _texts(self, recording: Recording, parts: tuple[str, ...], container: _Container) -> Iterator[Made]:
        """Lists in a bundle's JSON become JSON Lines."""
        file = self._partial / f"{recording.file_id}.json"
        found: dict[str, Any] = {}

        def look(fetched: _Fetched) -> dict[str, BadFile]:
            found.clear()
            try:
                content = parse_bundle_json(file.read_bytes(), container.name, recording.file_id)
            except BadFile as error:
                return dict.fromkeys(parts, error)
            found.update({part: content.get(BUNDLE[part][1] or "") for part in parts})
            return {part: problem for part in parts if (problem := _problem(part, found[part], container.name))}

        fetched, problems = self._confirmed(container._replace(limit=MAX_TEXT_BYTES), file, look)
        for part in parts:
            if part in problems:
                yield self._without(recording, DAMAGED, problems[part].reason, part)
            elif found[part] is None:
                status = MISSING if is_required(recording, part) else ABSENT
                yield self._without(recording, status, "not in the JSON", part)
            else:
                lines = b"".join(json.dumps(record).encode() + b"\n" for record in found[part])
                temporary = self._temporary(recording, part)
                sha256, length = _write(temporary, [lines])
                made = fetched._replace(sha256=sha256, num_bytes=length)
                yield self._finish(recording, part, temporary, made, f"{container.name}::{BUNDLE[part][1]}", None)
        self._discard(file)

    def _arrays(self, recording: Recording, parts: tuple[str, ...], container: _Container) -> Iterator[Made]:
        """Members of an NPZ become NPY files."""
        size = container.end - container.start if container.end is not None else None
        if size is None:
            size = container.place.stat(container.path).size
        read = partial(_read_within, container, size)
        try:
            npz = Npz(read, size, container.name)
        except BadFile:
            try:
                npz = Npz(read, size, container.name)  # it may have been the transfer
            except BadFile as error:
                self._ask_about(container, size)
                yield from (self._without(recording, DAMAGED, error.reason, part) for part in parts)
                return
        wanted: dict[str, Packed] = {}
        for part in parts:
            try:
                packed = npz.packed(f"{part}.npy")
            except BadFile as error:
                yield self._without(recording, DAMAGED, error.reason, part)
                continue
            if packed is None:
                status = MISSING if is_required(recording, part) else ABSENT
                yield self._without(recording, status, "not in the NPZ", part)
            else:
                wanted[part] = packed
        if sum(packed.length for packed in wanted.values()) >= _MOST_OF_IT * size:
            yield from self._unpacked(recording, wanted, container, 0)
            return
        for part, packed in wanted.items():
            start = container.start + packed.offset
            end = min(start + packed.length + _LOCAL_HEADER + len(part) + len(".npy"), container.start + size)
            yield from self._unpacked(
                recording, {part: packed}, container._replace(start=start, end=end), packed.offset
            )

    def _unpacked(
        self, recording: Recording, wanted: dict[str, Packed], container: _Container, offset: int
    ) -> Iterator[Made]:
        """Arrays from a container that begins at ``offset`` of the NPZ."""
        file = self._partial / f"{recording.file_id}-{offset}-{len(wanted)}.npz"
        limit = sum(max_bytes(array) for array in EVERY_ARRAY.values())
        done: dict[str, tuple[str, int]] = {}

        def look(fetched: _Fetched) -> dict[str, BadFile]:
            problems: dict[str, BadFile] = {}
            with open(file, "rb") as npz:
                for part, packed in wanted.items():
                    packed = packed._replace(offset=packed.offset - offset)
                    pieces = unpack(npz, packed, f"{part}.npy", EVERY_ARRAY[part], container.name)
                    temporary = self._temporary(recording, part)
                    try:
                        done[part] = _write(temporary, pieces)
                        problem = check(self._copy, f"{PARTIAL}/{temporary.name}", part)
                    except BadFile as error:
                        problem = error
                    if problem:
                        problems[part] = problem
                        temporary.unlink(missing_ok=True)
            return problems

        fetched, problems = self._confirmed(container._replace(limit=limit), file, look)
        for part in wanted:
            if part in problems:
                yield self._without(recording, DAMAGED, problems[part].reason, part)
            else:
                sha256, length = done[part]
                made = fetched._replace(sha256=sha256, num_bytes=length, proof=fetched.proof or "crc32")
                name = f"{container.name}::{part}.npy"
                yield self._finish(recording, part, self._temporary(recording, part), made, name, None)
        self._discard(file)

    def _temporary(self, recording: Recording, part: str) -> Path:
        return self._partial / _tree_path(recording, part).replace("/", "-")

    # --- fetching ---

    def _confirmed(
        self, container: _Container, file: Path, look: Callable[[_Fetched], dict[str, BadFile]]
    ) -> tuple[_Fetched, dict[str, BadFile]]:
        """Fetch until what came is beyond doubt: in order, or proven, or the same as the last time.

        Raises:
            SourceUnreachable: something else came each time.
        """
        before = ""
        for _ in range(_TIMES):
            fetched = self._fetch(container, file)
            problems = look(fetched)
            is_proven = fetched.proof is not None
            if not fetched.differs and (not problems or is_proven):
                return fetched, problems
            if fetched.sha256 == before:
                self._ask_about(container, fetched.num_bytes, _end_of(file))
                if fetched.differs == "sha256":
                    wrong = UnreadableFile(container.name, "not the bytes whose SHA-256 the source publishes")
                    raise SourceUnreachable(f"{wrong} It came twice like that.")
                if problems and container.end is None and fetched.num_bytes and container.proof is None:
                    self._source.doubt.compare(container.place, container.path, fetched.sha256)
                return fetched, problems  # an ETag that looks like an MD5 need not be one
            before = fetched.sha256
            self._discard(file)
        raise SourceUnreachable(f"{container.name}: other bytes came each of {_TIMES} times, and none were in order.")

    def _ask_about(self, container: _Container, size: int, end: bytes = b"") -> None:
        """Ask in other ways whether a whole file has so many bytes: who sent half of it twice may send it thrice.

        Args:
            end: its last bytes.

        Raises:
            SourceUnreachable: it has more, or fewer, or another end.
        """
        if container.end is not None:  # a part is as long as was asked for
            return
        place, path = container.place, container.path
        self._ask_size(container, size)
        with suppress(NoRanges):
            if place.read(path, size - len(end), size + 1) != end:
                raise SourceUnreachable(f"{container.name}: {size} bytes come as the whole file, which ends otherwise.")

    def _ask_size(self, container: _Container, size: int) -> None:
        told = size if container.end is not None else container.place.stat(container.path, is_sized=False).size
        if told not in (size, -1):
            raise SourceUnreachable(f"{container.name}: {size} bytes come as the whole file, which has {told}.")

    def _blame(self, container: _Container, error: BadFile, size: int | None) -> None:
        """Ask in another way whether a whole file has as many bytes as were announced, which it cannot have.

        Raises:
            SourceUnreachable: it has not, or none were announced.
        """
        if container.end is None:
            told = container.place.stat(container.path, is_sized=False).size
            if size is None or told != size:
                says = f"{told} bytes" if told >= 0 else "nothing"
                raise SourceUnreachable(f"{error}. Asked for its size alone, the host says {says}.") from None

    def _discard(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.json").unlink(missing_ok=True)

    def _fetch(self, container: _Container, file: Path) -> _Fetched:
        """All bytes of a container, whatever interrupts it."""
        sink = _Sink(file, container)
        try:
            if not sink.is_whole:
                self._fetch_into(sink, container)
            sink.finish()
        except BadFile as error:
            self._discard(file)
            self._blame(container, error, sink.total)
            raise
        finally:
            sink.close()
        digest = sink.sha256.hexdigest()
        fetched = _Fetched(file, sink.length, digest, sink.stamp, container.proof, None)
        if container.end is not None or container.proof:
            return fetched
        published = container.place.published_sha256(container.path)
        if published:
            return _compared(fetched, "sha256", digest == published)
        if container.place.is_http and is_md5(sink.stamp):
            return _compared(fetched, "md5", sink.md5.hexdigest() == sink.stamp.strip('"'))
        return fetched

    def _fetch_into(self, sink: _Sink, container: _Container) -> None:
        body, attempt, furthest = None, 0, sink.length
        limit, is_bounded = sys.maxsize if container.limit is None else container.limit, container.declared is None
        while True:
            if self.stop.is_set():
                raise Stopped
            try:
                if body is None:
                    at = container.start + sink.length
                    body = container.place.open_body(container.path, at, container.end, sink.stamp)
                    is_same = body.stamp == sink.stamp and bool(body.stamp)
                    if body.start != at or (sink.length and not is_same):
                        sink.restart()
                        if body.start != container.start:  # the rest of another file: from the beginning, then
                            body = None
                            continue
                    sink.opened(body.stamp, body.size if container.end is None else None)
                    if (sink.total or 0) > limit:
                        raise UnsafeFile(container.name, f"{sink.total} bytes, more than any recording has")
                    self._make_sure_of_room(sink, container)
                piece = next(body.pieces, None)
                come = sink.length + len(piece or b"")
                if sink.total is not None and (come > sink.total or (piece is None and come < sink.total)):
                    raise ConnectionError(f"{come} of {sink.total} bytes came")
            except BadFile:
                raise
            except Exception as error:  # whatever a client raises
                body = None
                attempt += 1
                if self.stop.wait(container.place.wait_after(container.path, error, attempt, ATTEMPTS)):
                    raise Stopped from error
                if not sink.stamp:  # nobody could tell whether the rest belongs to it
                    sink.restart()
                continue
            if self.stop.is_set():
                raise Stopped
            if piece is None:
                return
            self._write(sink, piece, container)
            if container.place is self._source.place:
                self._on_bytes(len(piece))
            if not is_bounded and sink.length >= _BEGINNING and (sink.total or _DOUBTFUL) >= _DOUBTFUL:
                limit, is_bounded = min(limit, _declared(container, sink.file)), True
            if max(sink.length, sink.total or 0) > limit:
                raise UnsafeFile(container.name, f"more than {limit} bytes, which it cannot have")
            if sink.length - furthest >= _PROGRESS:
                attempt, furthest = 0, sink.length

    def _make_sure_of_room(self, sink: _Sink, container: _Container) -> None:
        """Raise ``SourceUnreachable`` where more bytes of one file are announced than the disk has left."""
        left = shutil.disk_usage(self._target).free
        if (sink.total or 0) - sink.length > left:
            raise SourceUnreachable(
                f"{container.name}: {sink.total:,} bytes are announced, and the disk of {self._target} has {left:,} "
                "left. If it is as large, make room."
            )

    def _write(self, sink: _Sink, piece: bytes | bytearray, container: _Container) -> None:
        try:
            sink.write(piece)
        except OSError as error:
            if sink.total is not None or error.errno not in FULL:
                raise
            self._discard(sink.file)
            raise SourceUnreachable(
                f"{container.name}: {sink.length:,} bytes fill the disk of {self._target}, and the host does not tell "
                "how many are to come."
            ) from None

    # --- naming ---

    def _finish(
        self, recording: Recording, part: str, file: Path, fetched: _Fetched, name: str, problem: BadFile | None
    ) -> Made:
        found = file.stat()
        entry = {
            "bytes": found.st_size,
            "sha256": fetched.sha256,
            "etag": fetched.stamp or None,
            "source": name,
            "mtime_ns": found.st_mtime_ns,
            "proof": fetched.proof,
            "checked": int(time.time()),
            "detail": problem.reason if problem else None,
        }
        status = DAMAGED if problem else WHOLE
        self._manifest.write(_tree_path(recording, part), status, **entry)
        return self._name(recording, part, file, {**entry, "status": status})

    def _name(self, recording: Recording, part: str, file: Path, entry: dict[str, Any]) -> Made:
        path = _tree_path(recording, part)
        folder = os.path.dirname(path)
        if (self._target / path).is_dir() and not (self._target / path).is_symlink():
            return self._without(recording, FAILED, "a folder has its name here. Move it away.", part)
        if folder not in self._folders:
            refuse_links(self._target, folder)
            (self._target / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        if file != self._target / path:
            os.replace(file, self._target / path)
            self._discard(file)
        return Made(recording.file_id, part, entry["status"], entry["bytes"], entry.get("detail"))


def _compared(fetched: _Fetched, what: str, is_same: bool) -> _Fetched:
    return fetched._replace(proof=what) if is_same else fetched._replace(differs=what)


def _tree_path(recording: Recording, part: str) -> str:
    return tree_path(recording.label, recording.split, part, recording.file_id)


def _bounded(container: _Container, part: str) -> _Container:
    """With the most bytes that a part's file can have: of any recording, and by what it says itself."""
    name = container.name
    if part in EVERY_ARRAY:
        array = EVERY_ARRAY[part]
        return container._replace(limit=max_bytes(array), declared=lambda head: declared_bytes(head, array, name))
    if part == "audio":
        return container._replace(limit=MAX_WAV_BYTES, declared=lambda head: audio.declared_bytes(head, name))
    return container._replace(limit=MAX_MP4_BYTES if part == "video" else MAX_TEXT_BYTES)


def _declared(container: _Container, file: Path) -> int:
    """The most bytes that a file has by its beginning. Raises ``BadFile``."""
    with suppress(WrongType), open(file, "rb") as opened:  # which is no damage
        return container.declared(opened.read(_BEGINNING)) if container.declared else sys.maxsize
    return sys.maxsize


def _read_within(container: _Container, size: int, start: int, end: int) -> bytes:
    return container.place.read(container.path, container.start + start, container.start + min(end, size), within=True)


def _unproven(fetched: _Fetched) -> dict[str, BadFile]:
    """An archive without a published hash has to come twice alike: what is taken from it is not fetched again."""
    return {} if fetched.proof else {"": UnreadableFile("", "no hash is published")}


def _problem(part: str, records: Any, name: str) -> BadFile | None:
    """What is wrong with a list in a bundle's JSON: it is none, or nothing in it is a record of its kind."""
    if not isinstance(records, (list, NoneType)) or not all(isinstance(record, dict) for record in records or ()):
        return UnreadableFile(f"{name}::{part}", "not a list of objects")
    try:
        parse_records(part, records or [], f"{name}::{part}")
    except BadFile as error:
        return error
    return None


def _end_of(file: Path) -> bytes:
    with open(file, "rb") as opened:
        opened.seek(max(0, os.path.getsize(file) - _END))
        return opened.read()


def is_regular(file: Path) -> bool:
    """Whether it is a file itself: no link, folder or pipe."""
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False


def _anew(file: Path, buffering: int = -1) -> Any:
    """A new file in ``.partial``, in place of whatever has its name."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    return create(file, buffering)


def _write(file: Path, pieces: Iterable[bytes]) -> tuple[str, int]:
    """Write a file and have it on disk; its SHA-256 and length."""
    digest = hashlib.sha256()
    with _anew(file) as opened:
        for piece in pieces:
            opened.write(piece)
            digest.update(piece)
        opened.flush()
        os.fsync(opened.fileno())
        return digest.hexdigest(), opened.tell()
