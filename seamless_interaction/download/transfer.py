"""Files of a source become files of a local tree: fetched, checked, written down, and only then given their name.

``fetching`` brings the bytes into ``.partial``. Here its files are made of them, and checked as far as their format
allows.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from seamless_interaction import EVERY_ARRAY
from seamless_interaction.download.fetching import PARTIAL, Container, Fetched, Fetcher, anew, discard, is_regular
from seamless_interaction.download.manifest import ABSENT, DAMAGED, FAILED, MISSING, WHOLE, Manifest
from seamless_interaction.errors import (
    AccessDenied,
    BadFile,
    EmptyFile,
    MissingFile,
    NonFinite,
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
from seamless_interaction.places.limits import MAX_MP4_BYTES, MAX_TAR_BYTES, MAX_TEXT_BYTES, MAX_WAV_BYTES
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import refuse_links, sha256_of, writing
from seamless_interaction.source.files import Source
from seamless_interaction.source.index import Span
from seamless_interaction.source.layout import BUNDLE, MEMBERS, tree_path
from seamless_interaction.source.recordings import Recording, is_required

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
        self._source, self._target, self._manifest = source, target, manifest
        self._copy, self._partial = Place(target), target / PARTIAL
        self._fetcher = Fetcher(source, target, on_bytes)
        self.stop = self._fetcher.stop
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

    def _lacking(self, recording: Recording, part: str, detail: str) -> Made:
        return self._without(recording, MISSING if is_required(recording, part) else ABSENT, detail, part)

    # --- what is fetched ---

    def _of_source(self, recording: Recording, parts: tuple[str, ...]) -> Iterator[Made]:
        source = self._source
        known = source.index.known(recording, parts) if source.index else None
        location = source.locate(recording, parts[0])
        if location is None:
            raise MissingFile(f"{recording.file_id} {parts[0]}", "not in the source")
        name = source.place.path(location.path)
        whole = Container(source.place, location.path, 0, None, name)
        if source.layout.in_tars:
            assert known is not None
            source.check(location.path, known)
            column = MEMBERS[BUNDLE[parts[0]][0]]
            found = known.problems.get(column) or known.spans.get(column)
            yield from self._of_archive(recording, parts, whole, found)
        elif source.layout.is_packed:
            yield from self._of_bundle(recording, parts, whole)
        else:
            yield from self._file(recording, parts[0], whole)

    def _of_archive(
        self, recording: Recording, parts: tuple[str, ...], archive: Container, found: Span | BadFile | None
    ) -> Iterator[Made]:
        """Parts that lie in a member of a tar. Raises what is wrong with that."""
        extension = BUNDLE[parts[0]][0]
        name = f"{archive.name}::{recording.file_id}{extension}"
        if not isinstance(found, Span):
            raise found or MissingFile(name, "not in the archive")
        yield from self._of_bundle(recording, parts, archive.part(found.offset, found.length, name))

    def _of_bundle(self, recording: Recording, parts: tuple[str, ...], container: Container) -> Iterator[Made]:
        if parts[0] in ("audio", "video"):
            yield from self._file(recording, parts[0], container)
        elif parts[0] in EVERY_ARRAY:
            yield from self._arrays(recording, parts, container)
        else:
            yield from self._texts(recording, parts, container)

    def _archive(self, path: str, wanted: tuple[tuple[Recording, tuple[str, ...]], ...]) -> Iterator[Made]:
        """Fetch a whole tar, and take from it what is wanted."""
        place = self._source.place
        container = Container(place, path, 0, None, place.path(path), limit=MAX_TAR_BYTES)
        file = self._partial / path.replace("/", "-")
        try:
            with writing(self._target):
                fetched, _ = self._fetcher.fetch(container, file, _unproven)
        except (SourceUnreachable, SourceChanged, FileNotFoundError, AccessDenied, BadFile) as error:
            if isinstance(error, TargetError):
                raise
            statuses = {FileNotFoundError: MISSING, UnsafeFile: DAMAGED}
            status = statuses.get(type(error), FAILED)
            for recording, parts in wanted:
                yield from (self._without(recording, status, str(error), part) for part in parts)
            return
        self._source.answered = True
        archive = Container(Place(self._partial), file.name, 0, None, container.name, fetched.proof)
        inside = contents(partial(archive.read, fetched.num_bytes), fetched.num_bytes, container.name)
        members: dict[str, Span | BadFile] = dict(inside.problems)
        members |= {member.name: Span(member.offset, member.size) for member in inside.members}
        for recording, parts in wanted:
            for group in self._source.layout.groups(parts):
                found = members.get(f"{recording.file_id}{BUNDLE[group[0]][0]}", members.get(""))
                yield from self._attempt(recording, group, partial(self._of_archive, archive=archive, found=found))
        discard(file)

    # --- what is made of it ---

    def _file(self, recording: Recording, part: str, container: Container) -> Iterator[Made]:
        """A file that is stored as it is."""
        file = self._temporary(recording, part)
        container = _bounded(container, part)

        def look(fetched: Fetched) -> dict[str, BadFile]:
            problem = check(self._copy, f"{PARTIAL}/{file.name}", part)
            return {part: problem} if problem else {}

        fetched, problems = self._fetcher.fetch(container, file, look)
        if container.place.is_http and not fetched.proof and container.limit == MAX_TEXT_BYTES:
            container.require_size(fetched.num_bytes)  # of text that is cut after a line, nothing else tells
        yield self._finish(recording, part, file, fetched, container.name, problems.get(part))

    def _texts(self, recording: Recording, parts: tuple[str, ...], container: Container) -> Iterator[Made]:
        """Lists in a bundle's JSON become JSON Lines."""
        file = self._partial / f"{recording.file_id}.json"
        found: dict[str, Any] = {}

        def look(fetched: Fetched) -> dict[str, BadFile]:
            found.clear()
            try:
                content = parse_bundle_json(file.read_bytes(), container.name, recording.file_id)
            except BadFile as error:
                return dict.fromkeys(parts, error)
            found.update({part: content.get(BUNDLE[part][1] or "") for part in parts})
            return {part: problem for part in parts if (problem := _problem(part, found[part], container.name))}

        fetched, problems = self._fetcher.fetch(container._replace(limit=MAX_TEXT_BYTES), file, look)
        for part in parts:
            if part in problems:
                yield self._without(recording, DAMAGED, problems[part].reason, part)
            elif found[part] is None:
                yield self._lacking(recording, part, "not in the JSON")
            else:
                lines = b"".join(json.dumps(record).encode() + b"\n" for record in found[part])
                temporary = self._temporary(recording, part)
                sha256, length = _write(temporary, [lines])
                made = fetched._replace(sha256=sha256, num_bytes=length)
                yield self._finish(recording, part, temporary, made, f"{container.name}::{BUNDLE[part][1]}", None)
        discard(file)

    def _arrays(self, recording: Recording, parts: tuple[str, ...], container: Container) -> Iterator[Made]:
        """Members of an NPZ become NPY files."""
        size = container.end - container.start if container.end is not None else None
        if size is None:
            size = container.place.stat(container.path).size
        read = partial(container.read, size)
        try:
            npz = Npz(read, size, container.name)
        except BadFile:
            try:
                npz = Npz(read, size, container.name)  # it may have been the transfer
            except BadFile as error:
                container.require_end(size)
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
                yield self._lacking(recording, part, "not in the NPZ")
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
        self, recording: Recording, wanted: dict[str, Packed], container: Container, offset: int
    ) -> Iterator[Made]:
        """Arrays from a container that begins at ``offset`` of the NPZ."""
        file = self._partial / f"{recording.file_id}-{offset}-{len(wanted)}.npz"
        limit = sum(max_bytes(array) for array in EVERY_ARRAY.values())
        done: dict[str, tuple[str, int]] = {}

        def look(fetched: Fetched) -> dict[str, BadFile]:
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

        fetched, problems = self._fetcher.fetch(container._replace(limit=limit), file, look)
        for part in wanted:
            if part in problems:
                yield self._without(recording, DAMAGED, problems[part].reason, part)
            else:
                sha256, length = done[part]
                made = fetched._replace(sha256=sha256, num_bytes=length, proof=fetched.proof or "crc32")
                name = f"{container.name}::{part}.npy"
                yield self._finish(recording, part, self._temporary(recording, part), made, name, None)
        discard(file)

    def _temporary(self, recording: Recording, part: str) -> Path:
        return self._partial / _tree_path(recording, part).replace("/", "-")

    # --- naming ---

    def _finish(
        self, recording: Recording, part: str, file: Path, fetched: Fetched, name: str, problem: BadFile | None
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
            discard(file)
        return Made(recording.file_id, part, entry["status"], entry["bytes"], entry.get("detail"))


def _tree_path(recording: Recording, part: str) -> str:
    return tree_path(recording.label, recording.split, part, recording.file_id)


def _bounded(container: Container, part: str) -> Container:
    """With the most bytes that a part's file can have: of any recording, and by what it says itself."""
    name = container.name
    if part in EVERY_ARRAY:
        array = EVERY_ARRAY[part]
        return container._replace(limit=max_bytes(array), declared=lambda head: declared_bytes(head, array, name))
    if part == "audio":
        return container._replace(limit=MAX_WAV_BYTES, declared=lambda head: audio.declared_bytes(head, name))
    return container._replace(limit=MAX_MP4_BYTES if part == "video" else MAX_TEXT_BYTES)


def _unproven(fetched: Fetched) -> dict[str, BadFile]:
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


def _write(file: Path, pieces: Iterable[bytes]) -> tuple[str, int]:
    """Write a file and have it on disk; its SHA-256 and length."""
    digest = hashlib.sha256()
    with anew(file) as opened:
        for piece in pieces:
            opened.write(piece)
            digest.update(piece)
        opened.flush()
        os.fsync(opened.fileno())
        return digest.hexdigest(), opened.tell()
