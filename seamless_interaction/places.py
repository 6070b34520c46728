"""Places: folders anywhere fsspec reads, local or remote, and the bytes in them."""

from __future__ import annotations

import io
import os
import posixpath
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from seamless_interaction.errors import AccessDenied, NoRanges, SourceUnreachable

# An HTTP request is tried again after these answers, and after timeouts and broken connections. fsspec does not;
# the clients of hf:// and s3:// do so by themselves.
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_ATTEMPTS = 5
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0  # seconds

_Result = TypeVar("_Result")


class Entry(NamedTuple):
    """A file or folder."""

    name: str
    is_folder: bool
    size: int
    stamp: str  # changes when the content does: modification time, ETag or whatever the place tells


class RangeFile(io.RawIOBase):
    """A file read by ranges: the rest of a file, or a member of an archive."""

    def __init__(self, read: Callable[[int, int], bytes], size: int):
        self._read, self._size, self._at = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)  # Python allocates what it is asked to read
        return super().read(left if size < 0 else min(size, left))

    def readinto(self, buffer: Any) -> int:
        content = self._read(self._at, min(self._at + len(buffer), self._size)) if self._at < self._size else b""
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


class BufferedRanges(io.BufferedReader):
    """The same, a block or more at a time. The block is kept where a reader seeks to the end and back."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, block: int):
        super().__init__(RangeFile(read, size), block)
        self._size = size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(self._size + offset if whence == io.SEEK_END else offset, whence % io.SEEK_END)


class Place:
    """A folder anywhere fsspec reads. Paths are relative to it, with forward slashes.

    Args:
        url: a local path, or a URL such as ``hf://datasets/…``, ``s3://bucket/prefix`` or ``https://…``.
        storage_options: what fsspec's file system takes (keys, endpoints).

    All methods that read raise ``FileNotFoundError`` (there is no such file), ``AccessDenied`` (HTTP 403, with which
    some hosts answer for a missing file too) and ``SourceUnreachable``.
    """

    def __init__(self, url: str | os.PathLike[str], storage_options: dict[str, Any] | None = None):
        self.storage_options = dict(storage_options or {})
        try:
            self.fs, root = fsspec.url_to_fs(os.fspath(url), **self.storage_options)
        except (ImportError, ValueError) as error:  # the part of fsspec for it is not installed, or no such protocol
            raise SourceUnreachable(f"{url}: {error}") from error
        protocols = [self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.is_http = "http" in protocols
        self.is_shared = self.is_http or "hf" in protocols  # not a copy of somebody's own
        self.root = os.path.abspath(root) if self.is_local else root.rstrip("/")
        self.url = self.root if self.is_local else self.fs.unstrip_protocol(self.root)

    @property
    def can_be_listed(self) -> bool:
        """Whether the place tells what it holds. HTTP does not: there the file list says what to ask for."""
        return not self.is_http

    def path(self, relative: str) -> str:
        """Where a reader finds the file: an absolute path, or a URL that fsspec opens."""
        if self.is_local:
            return os.path.join(self.root, *relative.split("/"))
        return f"{self.url}/{relative}"

    def exists(self, relative: str) -> bool:
        return bool(self._call(relative, lambda path: self.fs.exists(path)))

    def read(self, relative: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of a file from ``start`` to ``end``, or fewer if it ends before.

        Raises:
            NoRanges: the host sends whole files only.
        """
        if self.is_local:
            with open(self.path(relative), "rb") as file:
                file.seek(start)
                size = os.fstat(file.fileno()).st_size  # Python allocates what it is asked to read
                return file.read(max(0, (size if end is None else min(end, size)) - start))
        if end is not None and end <= start:
            return b""
        content = self._call(relative, lambda path: self._remote_read(path, start, end))
        if end is not None and len(content) > end - start:
            raise NoRanges(f"{self.path(relative)}: {len(content)} bytes came where {end - start} were asked for.")
        return content

    def _remote_read(self, path: str, start: int, end: int | None) -> bytes:
        if self.is_http:
            return fsspec.asyn.sync(self.fs.loop, _get, self.fs, path, start, end)
        if self.fs.async_impl:
            return self.fs.cat_file(path, start=start, end=end)
        with self.fs.open(path, "rb", cache_type="none") as file:  # its cat_file would read ahead
            file.seek(start)
            return file.read() if end is None else file.read(end - start)

    def stat(self, relative: str) -> Entry:
        """What the place tells of a file."""
        if self.is_local:
            stat = os.stat(self.path(relative))
            return Entry(posixpath.basename(relative), False, stat.st_size, str(stat.st_mtime_ns))
        info = self._call(relative, self._remote_info)
        return _entry(info, posixpath.basename(relative))

    def _remote_info(self, path: str) -> dict[str, Any]:
        return fsspec.asyn.sync(self.fs.loop, _head, self.fs, path) if self.is_http else self.fs.info(path)

    def entries(self, relative: str = "") -> Iterator[Entry]:
        """The entries of a folder, sorted by name; nothing if there is no such folder."""
        try:
            entries = self._scandir(relative) if self.is_local else self._call(relative, self._ls)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from sorted(entries)

    def _scandir(self, relative: str) -> list[Entry]:  # LocalFileSystem.ls takes several times longer
        entries = []
        with os.scandir(os.path.join(self.root, relative)) as found:
            for entry in found:
                try:
                    stat = entry.stat()
                except OSError:  # a link that leads nowhere, or to itself
                    continue
                entries.append(Entry(entry.name, entry.is_dir(), stat.st_size, str(stat.st_mtime_ns)))
        return entries

    def _ls(self, folder: str) -> list[Entry]:
        return [
            _entry(info, posixpath.basename(info["name"].rstrip("/")))
            for info in self.fs.ls(folder, detail=True, refresh=True)
            if info["name"].rstrip("/") != folder.rstrip("/")
        ]

    def _call(self, relative: str, call: Callable[[str], _Result]) -> _Result:
        """``call`` with the full path; errors of the many file systems become ours."""
        path = f"{self.root}/{relative}" if relative else self.root
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return call(path)
            except (AccessDenied, NoRanges):
                raise
            except Exception as error:  # each file system raises what its own client does
                # fsspec calls all failures to look up an HTTP address a missing file.
                cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
                status = getattr(cause, "status", None)
                if status in (401, 403) or (isinstance(cause, PermissionError) and not self.is_local):
                    raise AccessDenied(f"{self.path(relative)}: the host refuses it ({cause}).") from error
                if status in (404, 410) or (
                    cause is error and isinstance(error, (FileNotFoundError, NotADirectoryError))
                ):
                    raise FileNotFoundError(self.path(relative)) from error
                again = status in _TRANSIENT if status is not None else _is_of_the_network(cause)
                if not (self.is_http and again and attempt < _ATTEMPTS):
                    tried = f", tried {attempt} times" if attempt > 1 else ""
                    raise SourceUnreachable(
                        f"{self.path(relative)}: {type(cause).__name__}: {cause}{tried}. Is the address right, and the "
                        "network there?"
                    ) from error
                time.sleep(_wait(attempt, getattr(cause, "headers", None)))
        raise AssertionError("unreachable")


def _is_of_the_network(error: BaseException) -> bool:
    import aiohttp

    return isinstance(error, (aiohttp.ClientError, TimeoutError, OSError))


def _wait(attempt: int, headers: Any) -> float:
    """Seconds to wait after an attempt: what the host asks for, else twice as long each time."""
    asked = (headers or {}).get("Retry-After", "")
    wait = float(asked) if asked.isdecimal() else _FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
    return min(wait, _LONGEST_WAIT)


async def _get(fs: Any, url: str, start: int, end: int | None) -> bytes:
    """A range of a file over HTTP. fsspec's own takes whatever comes: all of a file, if the host ignores ranges."""
    options = dict(fs.kwargs)
    whole = start == 0 and end is None
    if not whole:
        last = "" if end is None else end - 1
        options["headers"] = {**options.get("headers", {}), "Range": f"bytes={start}-{last}"}
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), **options) as response:
        if response.status == 416:  # nothing there
            return b""
        response.raise_for_status()
        if response.status != 206 and start:
            raise NoRanges(f"{url}: the host, or a proxy on the way, sends whole files where a part was asked for.")
        if end is None:
            return await response.read()
        content = bytearray()
        while len(content) < end - start and (piece := await response.content.read(end - start - len(content))):
            content += piece
        return bytes(content)


async def _head(fs: Any, url: str) -> dict[str, Any]:
    """Size and ETag of a file over HTTP. fsspec's own asks for the file itself where this fails."""
    session = await fs.set_session()
    options = {**fs.kwargs, "headers": {**fs.kwargs.get("headers", {}), "Accept-Encoding": "identity"}}
    async with session.head(fs.encode_url(url), allow_redirects=True, **options) as response:
        response.raise_for_status()
        return {"type": "file", "size": int(response.headers.get("Content-Length", 0)), **response.headers}


_STAMPS = ("ETag", "etag", "blob_id", "mtime", "LastModified", "Last-Modified", "last_modified", "created")


def _entry(info: dict[str, Any], name: str) -> Entry:
    stamp = next((info[key] for key in _STAMPS if info.get(key)), "")
    return Entry(name, info["type"] == "directory", info.get("size") or 0, str(stamp))
