"""Places: folders anywhere fsspec reads, local or remote, and the bytes in them."""

from __future__ import annotations

import os
import posixpath
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from seamless_interaction.errors import AccessDenied, BadFile, NoRanges, SourceChanged, SourceUnreachable, UsageError
from seamless_interaction.places import answers, redirects
from seamless_interaction.places.answers import Body, FilePart, Most
from seamless_interaction.places.entry import Entry, entry_of
from seamless_interaction.places.options import OF_A_HOST, options_of, redacted, remember_options, without_secrets
from seamless_interaction.places.retry import answer, is_of_the_certificate, is_of_the_network, seconds_after

if TYPE_CHECKING:
    from seamless_interaction.places.range_cache import RangeCache

# A request is tried again after these answers, and after timeouts and broken connections. fsspec does not do so over
# HTTP; the clients of hf:// and s3:// do, of most requests and for most reasons.
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
ATTEMPTS, _ATTEMPTS_OF_OTHERS = 5, 3
_SAID = 500  # characters of a client's error; some quote all that came
_PIECE = 1 << 20  # bytes of a file that is read whole: those that are in memory at a time

_Result = TypeVar("_Result")


range_cache: RangeCache | None = None  # of places that are opened now, which hold on to it; see range_cache.kept_in


def _forget_the_loop() -> None:
    """A forked process has no thread for fsspec's event loop, for which older fsspec would wait.

    It is forgotten at once: of several threads that came upon it later, each would start one and stop the others'.
    """
    global _versions_lock
    _versions_lock = threading.Lock()  # which another thread may have
    fsspec.asyn.loop[0] = fsspec.asyn.iothread[0] = None
    fsspec.asyn.reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_loop)


# Place that a dataset was loaded from -> URL -> size and stamp of what was read of a file last, without its content.
_versions: dict[str, dict[str, FilePart]] = {}
_versions_lock = threading.Lock()
_VERSIONS = 1 << 16  # files whose version is known


def _versions_of(url: str) -> dict[str, FilePart]:
    """What is known of the files of the dataset that a file is of; of others, nothing is remembered."""
    roots = (root for root in list(_versions) if url.startswith(f"{root}/"))  # others may load more
    return _versions.get(next(roots, ""), {})


def _differ(one: FilePart, other: FilePart) -> bool:
    """Whether two parts are of two versions of a file, as far as the host tells."""
    sizes = {one.size, other.size} - {None}
    stamps = {part.stamp.removeprefix("W/") for part in (one, other)} - {""}  # who compresses on the way makes it weak
    return len(sizes) > 1 or len(stamps) > 1


def _version(part: FilePart) -> str:
    return f"{'unknown' if part.size is None else part.size} bytes {part.stamp}".rstrip()


def use_storage_options(url: str, storage_options: dict[str, Any]) -> None:
    """Open what lies below an address with these options, from now on, in this process and those it starts.

    For data that come from elsewhere than ``load_dataset``, as from a pickle or from Arrow files: no option is saved.

    Args:
        url: of the folder that was ``data_dir``, or of a file.
        storage_options: what fsspec needs to open it.

    >>> use_storage_options("https://data.example.org", {"headers": {"Authorization": "Bearer …"}})
    """
    Place(url, storage_options)


def file_at(url: str, storage_options: dict[str, Any] | None = None) -> tuple[Place, str]:
    """A file by its address: the folder, and its name in it. Without options it is opened as the place it lies in."""
    bare, options = without_secrets(url, dict(storage_options or {}))
    folder, _, name = bare.rpartition("/")
    if options:
        remember_options(bare, options)
    return Place(folder or ("/" if bare else "."), options or options_of(bare)), name


class Place:
    """A folder anywhere fsspec reads. Paths are relative to it, with forward slashes.

    Args:
        url: a local path, or a URL such as ``hf://datasets/…``, ``s3://bucket/prefix`` or ``https://…``. A user and a
            query in one of HTTP (``https://user:password@…``, ``…?signature=…``), and a user in one of FTP, SFTP, SMB,
            go with each request.
        storage_options: what fsspec's file system takes (keys, endpoints).

    Attributes:
        url: the address, as it is shown and written: without user and query, which are in ``storage_options``.

    All methods that read raise ``FileNotFoundError`` (there is no such file), ``AccessDenied`` (HTTP 403, with which
    some hosts answer for a missing file too) and ``SourceUnreachable``.
    """

    def __init__(self, url: str | os.PathLike[str], storage_options: dict[str, Any] | None = None):
        self._given, self.storage_options = without_secrets(os.fspath(url), dict(storage_options or {}))
        self._answers_head = False  # as far as is known
        self._ranges = range_cache
        root = self._connect()
        protocols = [self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.is_http = "http" in protocols
        self.is_hub = "hf" in protocols
        self.is_shared = self.is_http or self.is_hub  # not a copy of somebody's own
        self.root = os.path.abspath(root) if self.is_local else root.rstrip("/")
        if self.is_local:
            self.url = self.root
        elif OF_A_HOST.match(self._given):
            self.url = self._given.rstrip("/")
        else:
            self.url = self.fs.unstrip_protocol(self.root)
        if self.storage_options:
            remember_options(self.url, self.storage_options)

    @property
    def fs(self) -> Any:
        """fsspec's file system. One with connections is not for a forked process, which gets its own."""
        if self._process != os.getpid():
            self._connect()
        return self._fs

    def _connect(self) -> str:
        """Make the file system; the root's path in it."""
        options = self.storage_options
        if self._given.startswith(("http://", "https://")):
            options = redirects.client_options(options)
        try:
            self._fs, root = fsspec.url_to_fs(self._given, **options)
        except Exception as error:  # no such protocol, its client is not installed, or it connects and is refused
            raise SourceUnreachable(redacted(f"{self._given}: {error}")) from None
        self._process = os.getpid()
        return root

    @property
    def can_be_listed(self) -> bool:
        """Whether the place tells what it holds. HTTP does not: there the file list says what to ask for."""
        return not self.is_http

    def path(self, relative: str) -> str:
        """Where a reader finds the file: an absolute path, or a URL that fsspec opens."""
        if self.is_local:
            return os.path.join(self.root, *relative.split("/"))
        return f"{self.url}/{relative}"

    def within(self, text: str) -> str:
        """A text with paths relative to the place, as whoever has a copy of it reads them."""
        return text.replace(self.path(""), "")

    def identity_of(self, relative: str) -> str:
        """The path with the query, if there is one: for hashing, not to be shown."""
        return f"{self.path(relative)}?{self.storage_options.get('params', '')}".rstrip("?")

    def exists(self, relative: str) -> bool:
        if self.is_local:
            return os.path.exists(self.path(relative))

        def info(path: str) -> dict[str, Any]:  # `fs.exists` says no where it cannot tell
            return self.fs.info(path, expand_info=False) if self.is_hub else self._remote_info(path)

        try:
            self._call(relative, info)
        except FileNotFoundError:
            return False
        except AccessDenied:
            if self.can_be_listed:
                raise
            return False
        return True

    def read(
        self,
        relative: str,
        start: int = 0,
        end: int | None = None,
        *,
        within: bool = False,
        of: Entry | None = None,
        most: Most | None = None,
    ) -> bytes:
        """The bytes of a file from ``start`` to ``end``, or fewer if it ends before.

        Args:
            within: says that it does not: then fewer bytes from a host are no answer, and are asked for again.
            of: what ``stat`` told of the file they are to be of.
            most: as of ``answers.read``, for hosts, whose word for a length is not to be trusted.

        Raises:
            NoRanges: the host sends whole files only.
            SourceChanged: a host sends bytes of another version of the file, again when asked again.
        """
        if self.is_local:
            with open(self.path(relative), "rb") as file:
                file.seek(start)
                size = os.fstat(file.fileno()).st_size  # Python allocates what it is asked to read
                return file.read(max(0, (size if end is None else min(end, size)) - start))
        if end is not None and end <= start:
            return b""

        def attempt(path: str) -> bytes:
            part = self._remote_read(path, start, end, most)
            if within and end is not None and len(part.content) != end - start:
                raise ConnectionError(f"{len(part.content)} bytes came where {end - start} were asked for")
            if of:
                self._compare(relative, of, part)
            elif self.is_shared:
                self._compare_with_the_last(relative, start, part)
            return part.content

        def fetch() -> bytes:
            try:
                content = self._call(relative, attempt)
            except SourceChanged:  # who begins anew takes it as it is then
                url = self.identity_of(relative)
                _versions_of(url).pop(url, None)
                raise
            if end is not None and len(content) > end - start:
                raise NoRanges(f"{self.path(relative)}: {len(content)} bytes came where {end - start} were asked for.")
            return content

        if self._ranges is None or end == start + 1:  # which asks whether the host answers
            return fetch()
        url = self.identity_of(relative)
        if of is None:
            of = self._ranges.told(url) or self.stat(relative, is_sized=False)
        try:
            return self._ranges.read(url, start, end, fetch)
        except SourceChanged:
            self._ranges.forget(url)
            if start:  # and the beginning is of another version
                raise
        of = self.stat(relative, is_sized=False)
        return self._ranges.read(url, start, end, fetch)

    def _compare(self, relative: str, of: Entry, part: FilePart) -> None:
        """Raise ``SourceChanged`` if what came is of another version of the file than ``stat`` told of."""
        told = FilePart(
            b"", None if of.size < 0 else of.size, of.stamp if self.is_http else ""
        )  # a listing's are others
        if _differ(told, part):
            raise SourceChanged(
                f"{self.path(relative)}: the host said that it is one file ({_version(told)}), and sends another "
                f"({_version(part)}). Either it was replaced meanwhile, or something between you and the host answers "
                "for it. Try again."
            )

    def _compare_with_the_last(self, relative: str, start: int, part: FilePart) -> None:
        """Raise ``SourceChanged`` if a part is of another version of the file than what came of it before."""
        # The Hub's files come from more than one store, each with ETags of its own.
        url, now = self.identity_of(relative), FilePart(b"", part.size, part.stamp if self.is_http else "")
        is_part = start > 0 or part.size is None or len(part.content) < part.size
        versions = _versions_of(url)
        with _versions_lock:
            last = versions.get(url, now)
            if is_part and _differ(last, now):
                raise SourceChanged(
                    f"{self.path(relative)}: changed while it was read: it was another file before ({_version(last)}), "
                    f"and is one of {_version(now)} now. Load the dataset again."
                )
            if now != FilePart(b"", None, ""):  # or nothing was told
                versions.pop(url, None)
                versions[url] = now
            while len(versions) > _VERSIONS:
                versions.pop(next(iter(versions)))

    def fetched_anew(self) -> AbstractContextManager[None]:
        """Meanwhile whatever this thread reads comes from where it lies, and not from what was kept."""
        return self._ranges.anew() if self._ranges else nullcontext()

    def look_anew(self) -> None:
        """A dataset is loaded from the place, and takes its files as they are now; from now on changes are noticed."""
        if self.is_shared:
            _versions[self.url] = {}

    def _remote_read(self, path: str, start: int, end: int | None, most: Most | None) -> FilePart:
        if self.is_shared:
            fs, url, headers = self._over_http(path)
            return fsspec.asyn.sync(fs.loop, answers.read, fs, url, start, end, headers, most)
        if isinstance(most, int):
            end = start + most + 1 if end is None else min(end, start + most + 1)
        if self.fs.async_impl:
            try:
                return FilePart(self.fs.cat_file(path, start=start, end=end), None, "")
            except OSError as error:
                if answer(error)[0] == 416:  # nothing there
                    return FilePart(b"", None, "")
                raise
        with self.fs.open(path, "rb", cache_type="none") as file:
            file.seek(start)
            return FilePart(file.read() if end is None else file.read(end - start), None, "")

    def _over_http(self, path: str) -> tuple[Any, str, dict[str, str]]:
        """File system, address and headers of requests. The Hub's own file system reads ahead, and checks no answer."""
        if self.is_http:
            return self.fs, path, {}
        http = fsspec.filesystem("http", **redirects.client_options({}))
        return http, self.fs.url(path), build_hf_headers(token=self.fs.token)

    def open_body(self, relative: str, start: int = 0, end: int | None = None, stamp: str = "") -> Body:
        """Begin to read a file at ``start``, to go on where an earlier attempt was cut off.

        One attempt, which may raise whatever the client does; ``wait_after`` tells what to make of it.

        Args:
            start, end: which bytes.
            stamp: of the file as it was begun. If it has another one now, what comes is all of it, from byte 0.
        """
        path = f"{self.root}/{relative}"
        if self.is_shared:
            fs, url, headers = self._over_http(path)
            return fsspec.asyn.sync(fs.loop, answers.open_body, fs, url, start, end, stamp, headers)
        entry = self.stat(relative)
        if end is None and stamp and entry.stamp != stamp:
            start = 0
        stop = entry.size if end is None else min(end, entry.size)
        steps = range(start, stop, _PIECE)
        pieces = (self.read(relative, at, min(at + _PIECE, stop), within=True) for at in steps)
        return Body(start, entry.size, entry.stamp, pieces)

    def published_sha256(self, relative: str) -> str | None:
        """The SHA-256 that the Hub publishes of a large file."""
        if not self.is_hub:
            return None
        lfs = self._call(relative, self._remote_info).get("lfs")
        digest = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
        return digest if isinstance(digest, str) else None

    def stat(self, relative: str, is_sized: bool = True) -> Entry:
        """What the place tells of a file. If ``is_sized``, raises ``SourceUnreachable`` where it tells no size."""
        if self.is_local:
            found = os.stat(self.path(relative))
            return Entry(posixpath.basename(relative), False, found.st_size, str(found.st_mtime_ns))
        entry = entry_of(self._call(relative, self._remote_info), posixpath.basename(relative))
        if is_sized and entry.size < 0:
            raise SourceUnreachable(
                f"{self.path(relative)}: the host does not tell how large it is, and so it cannot be read in part. "
                "Download it first."
            )
        return self._told(posixpath.dirname(relative), entry)

    def _told(self, folder: str, entry: Entry) -> Entry:
        if self._ranges is not None and not self.is_local:
            self._ranges.tell(self.identity_of(f"{folder}/{entry.name}".lstrip("/")), entry)
        return entry

    def _remote_info(self, path: str) -> dict[str, Any]:
        if self.is_http:
            info: dict[str, Any] = fsspec.asyn.sync(self.fs.loop, answers.stat, self.fs, path, {}, self._answers_head)
            self._answers_head |= info["by_head"]
            return info
        if not self.is_hub:
            return self.fs.info(path)
        # Its `info` would ask for the last commit of each file, or leave out the file's hash. A listing is kept.
        folder, _, name = path.rpartition("/")
        for info in self.fs.ls(folder, detail=True, expand_info=False):
            if posixpath.basename(info["name"]) == name:
                return info
        raise FileNotFoundError(path)

    def entries(self, relative: str = "") -> Iterator[Entry]:
        """The entries of a folder, sorted by name; nothing if there is no such folder."""
        try:
            entries = self._scandir(relative) if self.is_local else self._call(relative, self._ls)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from (self._told(relative, entry) for entry in sorted(entries))

    def _scandir(self, relative: str) -> list[Entry]:  # LocalFileSystem.ls takes several times longer
        entries = []
        with os.scandir(os.path.join(self.root, relative)) as listed:
            for entry in listed:
                try:
                    found = entry.stat()
                except OSError:  # a link that leads nowhere, or to itself
                    continue
                is_folder = stat.S_ISDIR(found.st_mode)
                if is_folder or stat.S_ISREG(found.st_mode):  # a pipe would be waited for
                    entries.append(Entry(entry.name, is_folder, found.st_size, str(found.st_mtime_ns)))
        return entries

    def _ls(self, folder: str) -> list[Entry]:
        options: dict[str, Any] = {"refresh": True}
        if self.is_hub:
            options["expand_info"] = False
            self.fs.dircache.pop(folder, None)  # or what is new is appended to what is old
        return [
            entry_of(info, posixpath.basename(info["name"].rstrip("/")))
            for info in self.fs.ls(folder, detail=True, **options)
            if info["name"].rstrip("/") != folder.rstrip("/")
        ]

    def _call(self, relative: str, call: Callable[[str], _Result]) -> _Result:
        """``call`` with the full path; errors of the many file systems become ours."""
        path = f"{self.root}/{relative}" if relative else self.root
        for attempt in count(1):
            try:
                return call(path)
            except Exception as error:  # each file system raises what its own client does
                attempts = ATTEMPTS if self.is_http else _ATTEMPTS_OF_OTHERS
                time.sleep(self.wait_after(relative, error, attempt, attempts))
        raise AssertionError("unreachable")

    def wait_after(self, relative: str, error: Exception, attempt: int, attempts: int) -> float:
        """Seconds to wait, after the error of one of so many attempts, before the next one.

        What it raises does not show the client's error (``from None``), which may hold a signed address.

        Raises:
            FileNotFoundError, AccessDenied, NoRanges, SourceChanged, SourceUnreachable: what it means, if another would
                be of no use.
        """
        if isinstance(error, SourceChanged) and attempt == 1:
            return 0.0
        if isinstance(error, (BadFile, NoRanges, SourceChanged, SourceUnreachable, UsageError)):
            raise error
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise FileNotFoundError(self.path(relative)) from None
        status, headers = answer(error)
        said = redacted(str(error))[:_SAID]
        if status in (404, 410):
            raise FileNotFoundError(self.path(relative)) from None
        if status in (401, 403) or isinstance(error, PermissionError):
            raise AccessDenied(
                f"{self.path(relative)}: the host refuses it ({said}). What lets you in, such as a login, goes "
                "into storage_options, or use_storage_options for data that were saved."
            ) from None
        if is_of_the_certificate(error):
            variable = "AWS_CA_BUNDLE" if "s3" in self.fs.protocol else "SSL_CERT_FILE"
            raise SourceUnreachable(
                f"{self.path(relative)}: this machine does not trust the host's certificate ({said}). If "
                f"a proxy of your company signs its own, name the company's in the environment variable {variable}."
            ) from None
        again = status in _TRANSIENT if status else is_of_the_network(error)
        if not again or attempt >= attempts:
            tried = f", tried {attempt} times" if attempt > 1 else ""
            raise SourceUnreachable(
                f"{self.path(relative)}: {type(error).__name__}: {said}{tried}. Is the address right, "
                "and the network there?"
            ) from None
        return seconds_after(attempt, headers)
