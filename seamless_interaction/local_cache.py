"""What is kept on this machine of places that are slow to ask: tables, and which recordings lie in which tar."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import datasets

from seamless_interaction.errors import AccessDenied, SourceUnreachable, TargetError
from seamless_interaction.places import Place, file_at, local_path

logger = logging.getLogger("seamless_interaction")


def folder() -> Path:
    """Beside the datasets that `datasets` prepares, where ``HF_DATASETS_CACHE`` says.

    Where nobody can write there, as in some containers, it is a folder of this process, which goes with it.
    """
    return Path(cache_dir() or datasets.config.HF_DATASETS_CACHE) / "seamless_interaction_sources"


def cache_dir() -> str | None:
    """The ``cache_dir`` of a builder that prepares nothing: None, or a folder of this process, as for ``folder``."""
    return None if can_be_written(datasets.config.HF_DATASETS_CACHE) else _folder_of(os.getpid())


def can_be_written(path: str | os.PathLike[str]) -> bool:
    """Whether a folder, or what has to be made for it, can be written to."""
    existing = Path(path).expanduser().absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return existing.is_dir() and os.access(existing, os.W_OK)


@cache
def _folder_of(process: int) -> str:
    made = tempfile.TemporaryDirectory(prefix="seamless-interaction-")
    _made.append(made)  # as long as the process lives
    return made.name


_made: list[tempfile.TemporaryDirectory[str]] = []


def key(text: str) -> str:
    """A file name for a URL or whatever else."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, then rename it: nobody ever sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with create(partial) as file:
            write(file)
        os.replace(partial, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def create(path: Path, buffering: int = -1) -> Any:
    """A new file, open, that whoever the umask lets may read. What has its name, a link say, is never written to.

    Raises:
        FileExistsError: something has.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o666), "w+b", buffering)


def refuse_links(folder: Path, relative: str) -> None:
    """Make sure that what is written below a folder stays there.

    Args:
        folder: that somebody named; it may be a link itself.
        relative: what is to be written in it, with forward slashes.

    Raises:
        TargetError: one of its folders, or itself, is a link.
    """
    for name in relative.split("/"):
        folder /= name
        if folder.is_symlink():
            raise TargetError(f"{folder} is a link, and none is written through. Put what it leads to in its place.")


def local_copy(path: str) -> Path:
    """A file of a remote place, fetched again only when its ETag or the like changes; a local one as it is.

    One that lies in a place this process has opened is opened with the same ``storage_options``.
    """
    if "://" not in path:
        return local_path(path)
    place, name = file_at(path)
    if place.is_local:
        return Path(place.path(name))
    copy = folder() / "files" / key(f"{place.identity_of(name)} {place.stat(name, is_sized=False)}")
    if not copy.exists():
        content = place.read(name)
        write_whole(copy, lambda file: file.write(content))
    return copy


def remember(name: str, identity: str) -> None:
    """Keep what a place was last time; ``recall`` gives it."""
    write_whole(folder() / "identities" / key(name), lambda file: file.write(identity.encode()))


def recall(name: str, error: SourceUnreachable) -> str:
    """What a place that cannot be reached now was last time. Raises ``error`` if it never was reached."""
    try:
        identity = (folder() / "identities" / key(name)).read_text()
    except FileNotFoundError:
        raise error from None
    logger.warning("%s Going on with what was prepared before, if it was.", error)
    return identity


def read_cached(place: Place, name: str) -> bytes | None:
    """A small file of a place; None if it has none.

    Over HTTP it is fetched again only when its ETag changes, and an unreachable host is one warning
    if the file was fetched before. There, 403 counts as a missing table; who reads recordings finds
    out whether the host refuses everything.
    """
    if not place.is_http:
        try:
            return place.read(name)
        except FileNotFoundError:
            return None
    known = folder() / "tables" / key(place.identity_of(name))
    try:
        stamp = place.stat(name, is_sized=False).stamp
    except (FileNotFoundError, AccessDenied):
        return None
    except SourceUnreachable as error:
        copies = sorted(known.glob("*"), key=os.path.getmtime)
        if not copies:
            raise
        logger.warning("%s Going on with the copy fetched before.", error)
        return copies[-1].read_bytes()
    copy = known / key(stamp)
    if stamp and copy.exists():
        return copy.read_bytes()
    content = place.read(name)
    if stamp and not content.lstrip().startswith(b"<"):  # nor is a page of a network that wants a login kept
        write_whole(copy, lambda file: file.write(content))
    return content
