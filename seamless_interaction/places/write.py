"""Writing to disks: whole or not at all, through no link, by one run at a time, with errors of ours."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from seamless_interaction.errors import FolderBusy, NotEnoughSpace, SeamlessInteractionError, TargetError, UsageError

logger = logging.getLogger("seamless_interaction")

_STEP = 1 << 20  # bytes of a file that are read at a time
FULL = (errno.ENOSPC, errno.EDQUOT)  # errors of a full disk
_TRIED = 4096  # bytes that are written to see whether any can be
LOCK = ".lock"


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path that somebody names to write to, or to read what was written; ``~`` is the home.

    Raises:
        UsageError: the URL of another place.
    """
    text = os.fspath(path).removeprefix("file://")
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", text):  # `Path` has one slash left; a drive of Windows is one letter
        raise UsageError(f"{path} is a URL, and this is written to local folders only. Name one, and copy it there.")
    return Path(text).expanduser()


def can_be_written(path: str | os.PathLike[str]) -> bool:
    """Whether a folder, or what has to be made for it, can be written to."""
    existing = Path(path).expanduser().absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return existing.is_dir() and os.access(existing, os.W_OK)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Errors of the disk in the block become ours, by the name of what is written. Those of a source are ours before.

    Raises:
        NotEnoughSpace: the disk is full. TargetError: nothing can be written there, or too many files are open.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, SeamlessInteractionError):
            raise
        if error.errno in FULL:
            raise NotEnoughSpace(
                f"{target}: the disk is full. Make room and run it again; finished files are kept."
            ) from error
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise TargetError(
                f"{target}: too many files are open at a time. Use fewer workers, or raise the limit, as by "
                "`ulimit -n 4096`."
            ) from error
        # A file that is missing, or what a client of HTTP raises, is no matter of the disk.
        if type(error) not in (OSError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError):
            raise
        raise TargetError(f"{target} cannot be written to: {error}") from error


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, then rename it: nobody ever sees a part of it. Raises as ``writing``."""
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with create(partial) as file:
                write(file)
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise


def require_writable(path: Path) -> None:
    """Find out before hours of work, and not after them, whether a file can be written. Raises as ``writing``."""
    probe = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with create(probe) as file:
                file.write(bytes(_TRIED))
        finally:
            probe.unlink(missing_ok=True)


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


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while step := opened.read(_STEP):
            digest.update(step)
    return digest.hexdigest()


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep others from writing into a copy.

    Raises:
        FolderBusy: somebody does.
        TargetError: the folder cannot be written to.
    """
    refuse_links(target, LOCK)
    lock = None
    try:
        with writing(target):
            lock = FileLock(target / LOCK, mode=_mode_of_new(target / LOCK))
            lock.acquire(timeout=0)
    except (Timeout, NotImplementedError, TargetError) as error:
        if not _lacks_locks(target):
            if isinstance(error, TargetError):
                raise
            busy = f"{target}: another run is writing into it. Wait until it has finished, or use another folder."
            raise FolderBusy(busy) from error
        logger.warning("%s is on a file system without locks. Make sure that no other run writes into it.", target)
    try:
        yield
    finally:
        if lock:
            lock.release()


def _mode_of_new(path: Path) -> int:
    """Make a file, if there is none, and tell whom the umask lets open it; `FileLock` would decide that itself."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        return stat.S_IMODE(os.fstat(opened).st_mode)
    finally:
        os.close(opened)


def _lacks_locks(target: Path) -> bool:
    """Whether files cannot be locked there, as on some shared file systems of clusters."""
    try:
        import fcntl

        file = tempfile.TemporaryFile(dir=target)  # noqa: SIM115
    except (ImportError, OSError):  # Windows, which has; or nothing can be written there
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else has it open
        except OSError:
            return True
    return False
