"""What is kept on this machine of places that are slow to ask: tables, and which recordings lie in which tar.

Whatever came of another version than the host had told of, was not whole, or does not read as what it should be, is an
error and is not kept. What is kept and damaged since, or of somebody else, is dropped and fetched again: the name of
each such file has its digest.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import datasets

from seamless_interaction.errors import (
    AccessDenied,
    NoRanges,
    SourceChanged,
    SourceError,
    SourceUnreachable,
)
from seamless_interaction.places import limits
from seamless_interaction.places.entry import Entry, contradicts
from seamless_interaction.places.place import Place, file_at
from seamless_interaction.places.write import can_be_written, local_path, sha256_of, write_whole

logger = logging.getLogger("seamless_interaction")

_END = 64  # bytes at the end of a file that are asked for by themselves, where the host does not tell its size

_Read = TypeVar("_Read")


def folder() -> Path:
    """Beside the datasets that `datasets` prepares, where ``HF_DATASETS_CACHE`` says.

    Where nobody can write there, as in some containers, it is a folder of this process, which goes with it.
    """
    return Path(cache_dir() or datasets.config.HF_DATASETS_CACHE) / "seamless_interaction_sources"


def cache_dir() -> str | None:
    """The ``cache_dir`` of a builder that prepares nothing: None, or a folder of this process, as for ``folder``."""
    return None if can_be_written(datasets.config.HF_DATASETS_CACHE) else _folder_of(os.getpid())


@cache
def _folder_of(process: int) -> str:
    made = tempfile.TemporaryDirectory(prefix="seamless-interaction-")
    _made.append(made)  # as long as the process lives
    return made.name


_made: list[tempfile.TemporaryDirectory[str]] = []


def key(text: str) -> str:
    """A file name for a URL or whatever else."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _keep(path: Path, content: bytes) -> Path:
    """Write what ``_kept`` finds under this path; whatever was kept under it before goes."""
    kept = path.with_name(f"{path.name}-{hashlib.sha256(content).hexdigest()}")
    write_whole(kept, lambda file: file.write(content))
    for other in path.parent.glob(f"{path.name}-*"):
        if other != kept:
            drop(other)
    return kept


def _kept(path: Path) -> Path | None:
    """The file that was kept under this path, if it still is what it was."""
    for kept in path.parent.glob(f"{path.name}-*"):
        with suppress(OSError):  # another process replaces it; or a folder
            if kept.name == f"{path.name}-{sha256_of(kept)}":
                return kept
        drop(kept)
    return None


def drop(kept: Path) -> None:
    """Forget what turned out not to be what it should."""
    with suppress(OSError):
        kept.unlink()


def local_copy(path: str, check: Callable[[Path], object]) -> Path:
    """A file of a remote place, fetched again only when its ETag or the like changes; a local one as it is.

    One that lies in a place this process has opened is opened with the same ``storage_options``.

    Args:
        check: called with the file; what it raises is raised of a local file, and of what was fetched just now.
    """
    if "://" not in path:
        check(local := local_path(path))
        return local
    place, name = file_at(path)
    if place.is_local:
        check(local := Path(place.path(name)))
        return local
    entry = place.stat(name, is_sized=False)
    copy = folder() / "files" / key(f"{place.identity_of(name)} {entry}")
    kept = _kept(copy) if entry.stamp else None
    if kept:
        try:
            check(kept)
            return kept
        except SourceError:
            drop(kept)
    kept = _keep(copy, whole(place, name, entry, limits.MAX_INDEX_BYTES))
    try:
        check(kept)
    except BaseException:
        drop(kept)
        raise
    return kept


def remember(name: str, identity: str) -> None:
    """Keep what a place was last time; ``recall`` gives it."""
    _keep(folder() / "identities" / key(name), identity.encode())


def recall(name: str, error: SourceUnreachable) -> str:
    """What a place that cannot be reached now was last time. Raises ``error`` if it never was reached."""
    kept = _kept(folder() / "identities" / key(name))
    if kept is None:
        raise error
    logger.warning("%s Using previously prepared data, if there are any.", error)
    return kept.read_text()


def whole(place: Place, name: str, entry: Entry, most: int) -> bytes:
    """All bytes of a remote file.

    Args:
        entry: what the place tells of it.
        most: bytes that it may have.

    Raises:
        SourceChanged: the host sends another version than it told of.
        SourceUnreachable: it sends more or fewer bytes than the file has, or more than such a file may have.
    """
    size = entry.size
    content = b"" if size > most else place.read(name, of=entry, most=most)
    if max(size, len(content)) > most:
        raise SourceUnreachable(f"{place.path(name)}: more than {most} bytes, which no file of its kind has.")
    if size < 0:  # then another question tells whether this is its end
        end = max(0, len(content) - _END)
        with suppress(NoRanges):
            if place.read(name, end, len(content) + 1) != content[end:]:
                raise SourceUnreachable(f"{place.path(name)}: {len(content)} bytes came, which are not all of it.")
    elif len(content) != size:
        raise SourceUnreachable(f"{place.path(name)}: {len(content)} bytes came as the whole file, which has {size}.")
    return content


def read_cached(place: Place, name: str, parse: Callable[[bytes], _Read]) -> _Read | None:
    """A small file of a place, as ``parse`` reads it; None if it has none.

    Over HTTP it is fetched again only when its size or ETag changes, and an unreachable host is one warning
    if the file was fetched before. There, 403 counts as a missing table; who reads recordings finds
    out whether the host refuses everything.

    Args:
        parse: raises a ``SourceError`` of what is not such a file. Then it is not kept.

    Raises:
        SourceChanged, SourceUnreachable: as ``whole``.
        SourceError: whatever ``parse`` raises of what came.
    """
    if not place.is_http:
        try:
            if place.is_local:
                return parse(place.read(name))
            return parse(whole(place, name, place.stat(name, is_sized=False), limits.MAX_TABLE_BYTES))
        except FileNotFoundError:
            return None
    known = folder() / "tables" / key(place.identity_of(name))
    try:
        return _current(place, name, known, parse)
    except (FileNotFoundError, AccessDenied):
        return None
    except SourceChanged:  # since it was asked for, perhaps
        return _current(place, name, known, parse)


def _current(place: Place, name: str, known: Path, parse: Callable[[bytes], _Read]) -> _Read:
    try:
        entry = place.stat(name, is_sized=False)
    except SourceUnreachable as error:
        for path in sorted(known.glob("*-*"), key=os.path.getmtime, reverse=True):
            if kept := _kept(path.with_name(path.name.partition("-")[0])):
                with suppress(SourceError):
                    found = parse(kept.read_bytes())
                    logger.warning("%s Using the copy that was fetched earlier.", error)
                    return found
        raise
    copy = known / key(f"{entry.size} {entry.stamp}")
    if entry.stamp and (kept := _kept(copy)):
        try:
            return parse(kept.read_bytes())
        except SourceError:
            drop(kept)
    content = whole(place, name, entry, limits.MAX_TABLE_BYTES)
    found = parse(content)
    if entry.stamp and not contradicts(entry.stamp, content):
        _keep(copy, content)
    return found
