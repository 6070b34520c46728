"""Servers on loopback that behave like the places the data lie at: a public bucket, the Hugging Face Hub, S3.

They serve a folder, break on request, and log what clients ask for::

    with Bucket(folder, failures={".npy": [503]}) as bucket:
        read(bucket.url)
    assert bucket.bytes_sent < 10_000
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from unittest import mock
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

import yaml

CHUNK = 1 << 16
CUT = ("short", "reset-midway", "stall", "wrong-length")  # only the first half of the body goes out
FAULTS = (*CUT, "reset", "lost", "flip", "no-range")
HTML = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"


class Request(NamedTuple):
    """A request as it was answered. Its status is 0 if the connection was reset instead."""

    method: str
    path: str  # with the query, as sent
    range: str | None
    status: int
    sent_bytes: int  # of the body; fewer than promised if the client hung up
    if_range: str | None = None


class Query(NamedTuple):
    """What a server gets to see of a request."""

    method: str
    target: str  # path and query, as sent
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def fields(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def field(self, name: str, default: str = "") -> str:
        return self.fields.get(name, [default])[0]

    def without_range(self) -> Query:
        headers = copy(self.headers)
        del headers["Range"]
        return self._replace(headers=headers)


@dataclass(frozen=True)
class Stretch:
    """Bytes of a file, read while they are sent: a large file costs no memory."""

    file: Path
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


class Answer(NamedTuple):
    status: int  # 0: the connection is reset instead
    headers: dict[str, str | None]  # None: not sent, and without a Content-Length the body ends with the connection
    body: bytes | Stretch = b""

    def with_headers(self, **headers: str | None) -> Answer:
        """With some headers set; an underscore stands for a dash."""
        return self._replace(headers={**self.headers, **{name.replace("_", "-"): headers[name] for name in headers}})

    def with_body(self, change: Callable[[bytes], bytes]) -> Answer:
        """With another body, and its length."""
        body = change(b"".join(pieces(self.body, len(self.body), CHUNK)))
        return self._replace(body=body, headers={**self.headers, "Content-Length": str(len(body))})

    def halved(self) -> Answer:
        """Only the first half, its length and its range given as if no more had been asked for."""
        length = len(self.body) // 2
        headers = {**self.headers, "Content-Length": str(length)}
        if "Content-Range" in headers:
            start, total = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers["Content-Range"]).groups()
            headers["Content-Range"] = f"bytes {start}-{int(start) + length - 1}/{total}"
        return self._replace(headers=headers)


def pieces(body: bytes | Stretch, end: int, length: int) -> Iterator[bytes]:
    """A body up to some byte, some bytes at a time."""
    if isinstance(body, bytes):
        yield from (body[at : min(at + length, end)] for at in range(0, end, length))
        return
    with body.file.open("rb", buffering=0) as opened:
        opened.seek(body.start)
        for at in range(0, end, length):
            piece = opened.read(min(length, end - at))
            if len(piece) < min(length, end - at):
                raise ConnectionAbortedError(f"{body.file} was cut while it was sent")
            yield piece


class Server:
    """What the servers share: a log, a delay before each answer, and failures.

    A failure is a status, None for none, or one of:

    - "reset": the connection is reset before any answer; "reset-midway": after half the body, or a little less
    - "lost": the request is carried out, and then the connection is reset before any answer
    - "short": the connection ends in order after half the body
    - "stall": after half the body nothing more comes, until the client hangs up or the server ends
    - "wrong-length": half the body, under headers that promise no more. Of a range, the total is still told
    - "flip": the byte in the middle of the body is another one
    - "no-range": 200 and the whole file instead of a range

    Those of bodies wait for a request whose answer has one (of two bytes or more), "no-range" for one with a range.

    Args:
        latency: seconds before each answer; those of concurrent requests overlap
        failures: the end of a path, or a predicate on paths -> what the first requests for each such path get
        retry_after: what answers 429 and 503 ask for: seconds, or a date of HTTP
        chunk: bytes of a body that are sent at a time
        pause: seconds between them
        on_request: called with each path before its answer is made. It may rewrite the file: ETags then follow
            contents, since the clocks of file systems are coarse
        amend: makes another answer of each that was to be sent
    """

    host = "127.0.0.1"  # as its addresses name it

    def __init__(
        self,
        latency: float = 0.0,
        failures: Mapping[str | Callable[[str], bool], Sequence[int | str | None]] | None = None,
        retry_after: int | str = 0,
        *,
        chunk: int = CHUNK,
        pause: float = 0.0,
        on_request: Callable[[str], object] | None = None,
        amend: Callable[[Query, Answer], Answer] = lambda query, answer: answer,
    ):
        self.amend = amend
        self.latency, self.failures, self.retry_after = latency, dict(failures or {}), retry_after
        self.chunk, self.pause, self.on_request = chunk, pause, on_request
        unknown = {name for names in self.failures.values() for name in names if isinstance(name, str)} - {*FAULTS}
        if unknown:
            raise ValueError(f"no such failures: {sorted(unknown)}; there are {FAULTS}")
        self._lock = threading.Lock()
        self._failed: Counter[str] = Counter()
        self.errors: list[BaseException | None] = []
        self._busy = 0
        self.clear()

    def answer(self, query: Query) -> Answer:
        raise NotImplementedError

    def __enter__(self):
        self._http = _Http(self)
        self.origin = f"http://{self.host}:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self._http.shutdown()
        self._thread.join()
        self._http.close_connections()
        self._http.server_close()
        if kind is None and self.errors:
            raise self.errors[0]

    @property
    def url(self) -> str:
        return self.origin

    @property
    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    @property
    def bytes_sent(self) -> int:
        return sum(request.sent_bytes for request in self.requests)

    @property
    def most_at_once(self) -> int:
        """The most requests that were being answered at one moment."""
        return self._most_at_once

    def clear(self) -> None:
        """Forget the requests so far, not the failures that are still to come."""
        with self._lock:
            self._requests: list[Request] = []
            self._most_at_once = 0

    def begin(self) -> None:
        with self._lock:
            self._busy += 1
            self._most_at_once = max(self._most_at_once, self._busy)

    def end(self, request: Request) -> None:
        with self._lock:
            self._busy -= 1
            self._requests.append(request)

    def failure(self, path: str) -> int | str | None:
        """What this request gets instead of an answer, if anything."""
        for rule, failures in self.failures.items():
            if rule(path) if callable(rule) else path.endswith(rule):
                with self._lock:
                    count = self._failed[path]
                    self._failed[path] += 1
                return failures[count] if count < len(failures) else None
        return None

    def respond(self, query: Query) -> tuple[Answer, str | None]:
        """An answer, and what goes wrong while it is sent."""
        try:
            if self.on_request:
                self.on_request(query.path)
            failure = self.failure(query.path)
            if isinstance(failure, int):
                return xml_error(failure, HTTPStatus(failure).name, HTTPStatus(failure).phrase), None
            if failure == "lost":
                self.answer(query)
            if failure in ("reset", "lost"):
                return Answer(0, {}), None
            if failure == "no-range" and "Range" in query.headers:
                answer = self.answer(query.without_range())
            else:
                answer = self.answer(query)
            if failure and (
                query.method == "HEAD"
                or len(answer.body) < 2
                or (failure == "no-range" and "Range" not in query.headers)
            ):
                with self._lock:
                    self._failed[query.path] -= 1
                failure = None
            return self.amend(query, answer.halved() if failure == "wrong-length" else answer), failure
        except Exception as error:  # raised on leaving: a test must not take a broken server for a broken place
            self.errors.append(error)
            return xml_error(500, "InternalError", repr(error)), None

    def validators(self, file: Path) -> dict[str, str]:
        """What a client can tell one version of a file from another by."""
        etag = etag_of(file)
        if self.on_request:
            etag = f'{etag[:-1]}-{digest("md5", file)}"'
        return {"ETag": etag, "Last-Modified": formatdate(file.stat().st_mtime, usegmt=True)}


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 256

    def __init__(self, served: Server):
        self.served = served
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End what clients keep alive: a pooled connection must not reach a server that was left."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client was faster
                continue

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # clients may hang up as they like
            self.served.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def _serve(self) -> None:
        served = self.server.served
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = Query(self.command, self.path, self.headers, body)
        served.begin()
        time.sleep(served.latency)
        answer, fault = served.respond(query)
        if answer.status == 0:
            self._log(0, 0)
            self._reset()
        else:
            self._send(answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _send(self, answer: Answer, fault: str | None) -> None:
        served = self.server.served
        size = 0 if self.command == "HEAD" else len(answer.body)
        end = size // 2 if fault in CUT else size
        flip = size // 2 if fault == "flip" else None
        # The head goes with the first piece, and the request is in the log before the client can have the last one.
        head, piece, sent = self._head(answer), b"", 0
        try:
            for piece in pieces(answer.body, end, served.chunk):
                if flip is not None and sent <= flip < sent + len(piece):
                    at = flip - sent
                    piece = piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
                if sent:
                    time.sleep(served.pause)
                if sent + len(piece) == end:
                    break
                self.connection.sendall(head + piece)
                head, sent = b"", sent + len(piece)
        except OSError:
            self._log(answer.status, sent)
            raise
        self._log(answer.status, end)
        self.connection.sendall(head + piece)
        if fault == "reset-midway":
            self._reset()
        elif fault in ("short", "stall"):
            self.close_connection = True
            while fault == "stall" and self.connection.recv(CHUNK):
                pass

    def _head(self, answer: Answer) -> bytes:
        headers = dict(answer.headers)
        if answer.status not in (204, 304):
            headers.setdefault("Content-Length", str(len(answer.body)))
        if headers.get("Content-Length") is None and "Transfer-Encoding" not in headers:
            self.close_connection = True
        if answer.status in (429, 503):
            headers["Retry-After"] = str(self.server.served.retry_after)
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return "\r\n".join([*lines, "", ""]).encode()

    def _reset(self) -> None:
        self.close_connection = True
        # Closed with no time to linger, the connection ends in a reset rather than in an orderly way.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()  # it holds the socket open
        self.connection.close()

    def _log(self, status: int, sent: int) -> None:
        asked, if_range = self.headers.get("Range"), self.headers.get("If-Range")
        self.server.served.end(Request(self.command, self.path, asked, status, sent, if_range))


# --- files


def find(root: Path, path: str) -> Path | None:
    """The file or folder at a path below the root (a resolved one), if it exists. Nothing outside the root is found."""
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        return None
    found = root.joinpath(*parts).resolve()
    return found if found.exists() and found.is_relative_to(root) else None


def find_file(root: Path, path: str) -> Path | None:
    found = find(root, path)
    return found if found and found.is_file() else None


def list_files(root: Path, below: str = "") -> list[str]:
    """Paths of all files below a folder, relative to the root, in the order of their bytes."""
    folders = os.walk(root / below)
    return sorted(os.path.join(folder, name)[len(str(root)) + 1 :] for folder, _, names in folders for name in names)


def etag_of(file: Path) -> str:
    stat = file.stat()
    return f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'


_digests: dict[tuple[str, Path, int, int], str] = {}


def digest(kind: str, file: Path, prefix: bytes = b"") -> str:
    """A hash of the file, kept until the file changes."""
    stat = file.stat()
    key = (kind, file, stat.st_mtime_ns, stat.st_size)
    if key in _digests:
        return _digests[key]
    hashed = hashlib.new(kind, prefix)
    with file.open("rb") as opened:
        while data := opened.read(CHUNK):
            hashed.update(data)
    # Written to again within one tick of the file system's clock, a file keeps its time.
    if time.time_ns() - stat.st_mtime_ns > 100_000_000:
        _digests[key] = hashed.hexdigest()
    return hashed.hexdigest()


class Unsatisfiable(Exception):
    """A range that begins behind the end of the file."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and end of a range; none for what a server may ignore: several ranges, and nonsense."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise Unsatisfiable
    return start, end


def file_answer(file: Path, query: Query, headers: Mapping[str, str], ranges: bool = True) -> Answer:
    """The file or a range of it, as HTTP has it (RFC 9110, sections 13 and 14). The headers tell its version."""
    size, etag = file.stat().st_size, headers.get("ETag")
    headers = {
        **headers,
        "Content-Type": "application/octet-stream",
        **({"Accept-Ranges": "bytes"} if ranges else {}),
    }
    known = [tag.strip() for tag in query.headers.get("If-None-Match", "").split(",")]
    if etag in known or "*" in known:
        return Answer(304, headers)
    unchanged = query.headers.get("If-Range") in (None, etag, headers.get("Last-Modified"))
    try:
        span = parse_range(query.headers.get("Range") if ranges and unchanged else None, size)
    except Unsatisfiable:
        refusal = xml_error(416, "InvalidRange", "The requested range is not satisfiable")
        return refusal._replace(headers={**refusal.headers, "Content-Range": f"bytes */{size}"})
    if span is None:
        return Answer(200, headers, Stretch(file, 0, size))
    start, end = span
    return Answer(206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}, Stretch(file, start, end))


def xml_answer(status: int, content: str) -> Answer:
    return Answer(
        status, {"Content-Type": "application/xml"}, f'<?xml version="1.0" encoding="UTF-8"?>{content}'.encode()
    )


def xml_error(status: int, code: str, message: str) -> Answer:
    return xml_answer(status, f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>")


# --- the public bucket


class Bucket(Server):
    """A folder as a public bucket behind HTTPS: objects, no listing, and 403 for whatever is not an object.

    Args:
        root: the folder
        prefix: where its files begin, as `/seamless_interaction` of the real bucket
        redirect_to: the origin of another server; this one answers 302 to the same path there
        error_page: predicate on paths: those get 200 and a page of HTML, as from a network that wants a login
        ignore_ranges: answer each range with 200 and the whole file
        forbid_all: answer 403 to everything, as to a client that was locked out
        etags: "mtime" (and size), "md5" of the content, as S3 has it for what was put in one part, or None: neither
            ETag nor Last-Modified
    """

    def __init__(
        self,
        root,
        latency: float = 0.0,
        *,
        prefix: str = "",
        redirect_to: str | None = None,
        error_page: Callable[[str], bool] | None = None,
        ignore_ranges: bool = False,
        forbid_all: bool = False,
        etags: str | None = "mtime",
        **options,
    ):
        super().__init__(latency, **options)
        self.root, self.prefix = Path(root).resolve(), f"/{prefix.strip('/')}" if prefix else ""
        self.redirect_to, self.error_page = redirect_to, error_page
        self.ignore_ranges, self.forbid_all, self.etags = ignore_ranges, forbid_all, etags

    @property
    def url(self) -> str:
        return self.origin + self.prefix

    def answer(self, query: Query) -> Answer:
        forbidden = xml_error(403, "AccessDenied", "Access Denied")
        if self.forbid_all or query.method not in ("GET", "HEAD"):
            return forbidden
        if self.error_page and self.error_page(query.path):
            return Answer(200, {"Content-Type": "text/html; charset=utf-8"}, HTML)
        if self.redirect_to:
            return Answer(302, {"Location": self.redirect_to + query.target})
        if not query.path.startswith(f"{self.prefix}/"):
            return forbidden
        file = find_file(self.root, query.path[len(self.prefix) + 1 :])
        return file_answer(file, query, self.validators(file), not self.ignore_ranges) if file else forbidden

    def validators(self, file: Path) -> dict[str, str]:
        if self.etags is None:
            return {}
        found = super().validators(file)
        return {**found, "ETag": f'"{digest("md5", file)}"'} if self.etags == "md5" else found


# --- the Hugging Face Hub

LFS_SUFFIXES = (".parquet", ".mp4")  # what .gitattributes of the Hub's datasets say, of the files that we publish
WRITE, READ = "write", "read"  # roles of a token
ADDING, DELETING = ("file", "lfsFile"), ("deletedFile", "deletedFolder")  # what the lines of a commit are for
NO_ONE, UNKNOWN = "Invalid username or password.", "Invalid credentials in Authorization header"


def _git_oid(file: Path) -> str:
    return digest("sha1", file, b"blob %d\0" % file.stat().st_size)


class Commit(NamedTuple):
    """A commit as it was carried out, and what the repository held after it: SHA-256 by path."""

    id: str
    parent: str
    summary: str
    added: tuple[str, ...]
    deleted: tuple[str, ...]
    tree: dict[str, str]


class Refused(Exception):
    """What a Hub answers instead of doing what it was asked."""

    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.code = status, code


class _Storage(Bucket):
    """Where a Hub keeps large files: they are read below `lfs/`, by path, and put below `objects/`, by SHA-256."""

    def __init__(self, root, latency: float, **options):
        super().__init__(root, latency, prefix="lfs", **options)
        self.host = "localhost"

    def __enter__(self):
        self.objects = Path(tempfile.mkdtemp(prefix="hub-objects-"))
        return super().__enter__()

    def __exit__(self, *error):
        try:
            super().__exit__(*error)
        finally:
            shutil.rmtree(self.objects)

    def address(self, oid: str, part: int | None = None) -> str:
        return f"{self.origin}/objects/{oid}" + (f"/{part}" if part else "")

    def answer(self, query: Query) -> Answer:
        match = re.fullmatch(r"/objects/([0-9a-f]{64})(?:/(\d+))?", query.path)
        if not match or query.method != "PUT":
            return super().answer(query)
        oid, part = match.groups()
        if "Transfer-Encoding" in query.headers:
            return xml_error(501, "NotImplemented", "A header you provided implies functionality not implemented")
        if not part and hashlib.sha256(query.body).hexdigest() != oid:
            return xml_error(400, "BadDigest", "The SHA256 you specified did not match what we received.")
        put(self.objects / (f"{oid}.{part}" if part else oid), query.body)
        return Answer(200, {"ETag": f'"{hashlib.md5(query.body).hexdigest()}"'})

    def complete(self, oid: str, parts: list[dict]) -> bool:
        """Make an object of its parts, if they are what they were and it is what it should be."""
        files = [self.objects / f"{oid}.{part['partNumber']}" for part in parts]
        contents = [file.read_bytes() if file.exists() else b"" for file in files]
        etags = [f'"{hashlib.md5(content).hexdigest()}"' for content in contents]
        whole = b"".join(contents)
        if etags != [part["etag"] for part in parts] or hashlib.sha256(whole).hexdigest() != oid:
            return False
        put(self.objects / oid, whole)
        return True


def put(file: Path, content: bytes | Path) -> None:
    """Write a file, or copy one, under another name first: whoever reads the old one goes on doing so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}-{time.time_ns()}")
    if isinstance(content, Path):
        shutil.copyfile(content, partial)
    else:
        partial.write_bytes(content)
    os.replace(partial, file)


class Hub(Server):
    """A folder as the one repository of a Hub, of a dataset or a model, with the revisions `main` and its commit.

    Files above `lfs_above` bytes, and those with a suffix of LFS_SUFFIXES, lie in `hub.storage`, a bucket at another
    host, as those of the Hub do: `huggingface_hub` takes a redirect within one host (before 2.0, whatever the port) for
    the Hub's own.

    It takes commits too, into the folder: large files by LFS, the others within the commit. `hub.commits` tells of
    them. There is no Xet.

    Clients find it by `endpoint=hub.url`, or, within `use_hub(hub)`, by themselves.

    What goes wrong does so in both, each going through the failures on its own: a large file that is to fail with 503
    once does so before the redirect and once more behind it.

    Args:
        root: the folder
        repo: the one repository
        lfs_above: bytes
        page_size: entries on a page of a listing
        extra_entries: what listings have at their end, as given: a Hub that means ill, or is broken
        exists: whether there is the repository; if not, it can be created, and the folder need not exist
        private: whether it is one that only those who have a token see
        token: what writing takes, and reading if private; None if anybody may do everything
        read_token: what reading takes, and does not do for writing
        parts_above: bytes above which a large file is put in parts of this size, rather than at once
        kind: "dataset" or "model"
    """

    def __init__(
        self,
        root,
        repo: str = "facebook/seamless-interaction",
        latency: float = 0.0,
        *,
        lfs_above: int = 1 << 16,
        page_size: int = 1000,
        extra_entries: Sequence[dict] = (),
        exists: bool = True,
        private: bool = False,
        token: str | None = None,
        read_token: str | None = None,
        parts_above: int | None = None,
        kind: str = "dataset",
        **options,
    ):
        super().__init__(latency, **options)
        self.kind = kind
        self.root, self.repo, self.lfs_above, self.page_size = Path(root).resolve(), repo, lfs_above, page_size
        self.extra_entries = list(extra_entries)
        self.exists, self.private, self.token, self.read_token = exists, private, token, read_token
        self.parts_above = parts_above
        self.storage = _Storage(root, latency, **options)
        # Downloads are cached by commit: two folders must not share one.
        stats = [(path, etag_of(self.root / path)) for path in list_files(self.root)]
        self.commit = hashlib.sha1(repr((str(root), stats)).encode()).hexdigest()
        self.commits: list[Commit] = []
        self._committing = threading.Lock()

    def __enter__(self):
        self.storage.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        try:
            super().__exit__(*error)
        finally:
            self.storage.__exit__(*error)

    def answer(self, query: Query) -> Answer:
        try:
            return self._route(query)
        except Refused as refusal:
            return self._refusal(refusal)

    def _route(self, query: Query) -> Answer:
        # Revisions are quoted whole (`refs%2Fpr%2F1`), so a path is taken apart before it is unquoted.
        path = urlsplit(query.target).path
        role = self._role(query)
        here, api = self.prefix, f"/api/{self.kind}s"
        for pattern, answer in (
            (r"/api/whoami-v2", self._whoami),
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate_card),
        ):
            if re.fullmatch(pattern, path):
                return answer(query, role)
        for pattern, answer, needed in (
            (here + r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve, READ),
            (here + r"/([^/]+/[^/]+)\.git/info/lfs/objects/()(batch|verify)", self._lfs, WRITE),
            (here + r"/([^/]+/[^/]+)\.git/info/lfs/()complete/([0-9a-f]{64})", self._complete, None),
            (api + r"/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", self._tree, READ),
            (api + r"/([^/]+/[^/]+)/paths-info/([^/]+)()", self._paths_info, READ),
            (api + r"/([^/]+/[^/]+)/preupload/([^/]+)()", self._preupload, WRITE),
            (api + r"/([^/]+/[^/]+)/commit/([^/]+)()", self._commit, WRITE),
            (api + r"/([^/]+/[^/]+)(?:/revision/([^/]+))?()", self._info, READ),
        ):
            match = re.fullmatch(pattern, path)
            if match:
                repo, revision, rest = (unquote(group or "") for group in match.groups())
                if needed:
                    self._allow(repo, role, needed)
                if revision not in ("", "main", self.commit):
                    raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
                return answer(query, rest.rstrip("/"))
        return _json({"error": "Sorry, we can't find the page you are looking for."}, 404)

    @property
    def prefix(self) -> str:
        """Of the addresses of the repository's files."""
        return "/datasets" if self.kind == "dataset" else ""

    def _refusal(self, refusal: Refused) -> Answer:
        headers = {"X-Error-Message": str(refusal), "X-Repo-Commit": self.commit}
        if refusal.code:
            headers["X-Error-Code"] = refusal.code
        return _json({"error": str(refusal)}, refusal.status, headers)

    def _not_found(self, code: str, message: str) -> Answer:
        return self._refusal(Refused(404, message, code))

    # --- who may do what

    def _role(self, query: Query) -> str | None:
        """What the sender may do. A token that the Hub does not know is refused even where none is needed."""
        if not self.token:
            return WRITE
        given = query.headers.get("Authorization", "").removeprefix("Bearer ")
        roles = {"": None, self.read_token: READ, self.token: WRITE}
        if given not in roles:
            raise Refused(401, UNKNOWN)
        return roles[given]

    def _allow(self, repo: str, role: str | None, needed: str) -> None:
        hidden = self.private and role is None
        if not self.exists or repo != self.repo or hidden:
            # Over HTTPS, clients take any 401 for this; here they need the code.
            raise Refused(404 if role else 401, "Repository not found", "RepoNotFound")
        if needed == WRITE and role != WRITE:
            raise Refused(403 if role else 401, "You don't have the required permissions" if role else NO_ONE)

    def _whoami(self, query: Query, role: str | None) -> Answer:
        if role is None:
            raise Refused(401, NO_ONE)
        name = self.repo.split("/")[0]
        token = {"displayName": "token", "role": role}
        auth = {"type": "access_token", "accessToken": token}
        return _json({"type": "user", "id": "1", "name": name, "orgs": [], "auth": auth})

    # --- reading

    def _info(self, query: Query, rest: str) -> Answer:
        return _json(
            {
                "_id": self.commit[:24],
                "id": self.repo,
                "author": self.repo.split("/")[0],
                "sha": self.commit,
                "lastModified": "2025-06-27T00:00:00.000Z",
                "createdAt": "2025-06-27T00:00:00.000Z",
                "private": self.private,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "xetEnabled": False,
                "siblings": [{"rfilename": path} for path in list_files(self.root)],
            }
        )

    def _tree(self, query: Query, path: str) -> Answer:
        folder = find(self.root, path) if path else self.root
        if path and not (folder and folder.is_dir()):
            return self._not_found("EntryNotFound", f"{path} does not exist on main")
        recursive = query.field("recursive").lower() in ("true", "1")
        found = sorted(folder.rglob("*") if recursive else folder.iterdir())
        start = int(query.field("cursor") or 0)
        end = start + min(int(query.field("limit") or self.page_size), self.page_size)
        headers = {}
        if end < len(found):
            fields = {name: values[0] for name, values in query.fields.items()} | {"cursor": end}
            here = self.origin + urlsplit(query.target).path
            headers["Link"] = f'<{here}?{urlencode(fields)}>; rel="next"'
        expand = query.field("expand")
        extra = [] if headers else self.extra_entries
        return _json([*(self._entry(entry, expand) for entry in found[start:end]), *extra], headers=headers)

    def _paths_info(self, query: Query, rest: str) -> Answer:
        form = parse_qs(query.body.decode())
        found = [find(self.root, path) for path in form.get("paths", [])]
        return _json([self._entry(entry, form.get("expand", [""])[0]) for entry in found if entry])

    def is_lfs(self, path: str, size: int) -> bool:
        """Whether the Hub keeps such a file apart. One of no bytes it never does."""
        return size > self.lfs_above or (size > 0 and path.endswith(LFS_SUFFIXES))

    def _entry(self, entry: Path, expand: str) -> dict:
        name = entry.relative_to(self.root).as_posix()
        found: dict = {"path": name, "size": 0}
        if entry.is_dir():
            found |= {"type": "directory", "oid": hashlib.sha1(name.encode()).hexdigest()}
        else:
            size = entry.stat().st_size
            found |= {"type": "file", "size": size, "oid": _git_oid(entry)}
            if self.is_lfs(name, size):
                found["lfs"] = {"oid": digest("sha256", entry), "size": size, "pointerSize": 134}
        if expand.lower() in ("true", "1"):
            found["lastCommit"] = {"id": self.commit, "title": "Upload", "date": "2025-06-27T00:00:00.000Z"}
        return found

    def _resolve(self, query: Query, path: str) -> Answer:
        file = find_file(self.root, path)
        if not file:
            return self._not_found("EntryNotFound", "Entry not found")
        size = file.stat().st_size
        headers = {"X-Repo-Commit": self.commit}
        if not self.is_lfs(path, size):
            return file_answer(file, query, {**self.validators(file), **headers, "ETag": f'"{_git_oid(file)}"'})
        etag = f'"{digest("sha256", file)}"'
        headers |= {"ETag": etag, "X-Linked-ETag": etag, "X-Linked-Size": str(size)}
        return Answer(302, {**headers, "Location": f"{self.storage.url}/{quote(path)}"})

    # --- writing

    def _create(self, query: Query, role: str | None) -> Answer:
        asked = json.loads(query.body)
        owner, name = self.repo.split("/")
        if role is None:
            raise Refused(401, NO_ONE)
        if role != WRITE or (asked.get("organization") or owner) != owner or asked.get("type", "model") != self.kind:
            raise Refused(403, f"You don't have the rights to create a {self.kind} under this namespace")
        made = {"url": f"{self.origin}{self.prefix}/{owner}/{asked['name']}", "name": f"{owner}/{asked['name']}"}
        if self.exists and asked["name"] == name:
            return _json({"error": f"You already created this {self.kind} repo", **made}, 409)
        if asked["name"] != name:
            raise Refused(403, f"This Hub has but one repository, {self.repo}")
        self.private = asked.get("private") is True or asked.get("visibility") == "private"  # before 1.0, the former
        put(self.root / ".gitattributes", "".join(f"*{suffix} filter=lfs\n" for suffix in LFS_SUFFIXES).encode())
        self.exists, self.commit = True, hashlib.sha1(self.commit.encode()).hexdigest()
        return _json(made)

    def _validate_card(self, query: Query, role: str | None) -> Answer:
        match = re.match(r"---\n(.*?)\n---\n", json.loads(query.body)["content"], re.DOTALL)
        if not match:
            return _json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        try:
            yaml.safe_load(match[1])
        except yaml.YAMLError as error:
            return _json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return _json({"errors": [], "warnings": []})

    def _preupload(self, query: Query, rest: str) -> Answer:
        """Which files come by LFS, and what the repository has in their places."""
        found = []
        for asked in json.loads(query.body)["files"]:
            path, file = asked["path"], find_file(self.root, asked["path"])
            mode = "lfs" if self.is_lfs(path, asked["size"]) else "regular"
            entry = self._entry(file, "") if file else {}
            oid = entry.get("lfs", entry).get("oid")
            found.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return _json({"files": found, "commitOid": self.commit})

    def object(self, oid: str) -> Path | None:
        """What was put under this SHA-256, or a large file of the repository that has it."""
        if (self.storage.objects / oid).exists():
            return self.storage.objects / oid
        files = [self.root / path for path in list_files(self.root)]
        kept = [file for file in files if self.is_lfs(file.name, file.stat().st_size)]
        return next((file for file in kept if digest("sha256", file) == oid), None)

    def _lfs(self, query: Query, call: str) -> Answer:
        """https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md"""
        asked, here = json.loads(query.body), f"{self.origin}{self.prefix}/{self.repo}.git/info/lfs"
        if call == "verify":
            file = self.object(asked["oid"])
            return _json({}, 200 if file and file.stat().st_size == asked["size"] else 404)
        found = []
        for wanted in asked["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            answer = {"oid": oid, "size": size, "authenticated": True}
            if not self.object(oid):
                upload: dict = {"href": self.storage.address(oid)}
                if self.parts_above and size > self.parts_above:
                    count = -(-size // self.parts_above)
                    parts = {str(part): self.storage.address(oid, part) for part in range(1, count + 1)}
                    upload = {
                        "href": f"{here}/complete/{oid}",
                        "header": {"chunk_size": str(self.parts_above), **parts},
                    }
                answer["actions"] = {"upload": upload, "verify": {"href": f"{here}/objects/verify"}}
            found.append(answer)
        return _json({"transfer": "basic", "objects": found})

    def _complete(self, query: Query, oid: str) -> Answer:
        asked = json.loads(query.body)
        whole = asked["oid"] == oid and self.storage.complete(oid, asked["parts"])
        return _json({"success": whole}, 200 if whole else 400)

    def _commit(self, query: Query, rest: str) -> Answer:
        lines = [json.loads(line) for line in query.body.splitlines()]
        header, operations = lines[0]["value"], [(line["key"], line["value"]) for line in lines[1:]]
        with self._committing:
            if header.get("parentCommit") not in (None, self.commit):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            added = {value["path"]: self._content(key, value) for key, value in operations if key in ADDING}
            deleted = [path for key, value in operations if key in DELETING for path in self._below(key, value)]
            for path, content in added.items():
                put(self.root / path, content)
            for path in set(deleted) - set(added):
                (self.root / path).unlink()
            self._drop_empty_folders()
            parent, self.commit = self.commit, hashlib.sha1(self.commit.encode() + query.body).hexdigest()
            tree = {path: digest("sha256", self.root / path) for path in list_files(self.root)}
            self.commits.append(Commit(self.commit, parent, header["summary"], tuple(added), tuple(deleted), tree))
        url = f"{self.origin}{self.prefix}/{self.repo}/commit/{self.commit}"
        return _json({"success": True, "commitUrl": url, "commitOid": self.commit, "hookOutput": ""})

    def _content(self, key: str, value: dict) -> bytes | Path:
        """What a commit puts into a file."""
        path = value["path"]
        if any(part in ("", ".", "..", ".git") for part in path.split("/")):
            raise Refused(400, f"Invalid path: {path}")
        if key == "file":
            return base64.b64decode(value["content"], validate=True)
        file = self.object(value["oid"])
        if not file or file.stat().st_size != value.get("size", file.stat().st_size):
            raise Refused(400, f"{path}: an LFS pointer pointed to a file that does not exist: {value['oid']}")
        return file

    def _below(self, key: str, value: dict) -> list[str]:
        """The files that a deletion means."""
        path = value["path"].rstrip("/")
        found = find(self.root, path)
        if not found or found.is_dir() != (key == "deletedFolder"):
            raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        return list_files(self.root, path) if found.is_dir() else [path]

    def _drop_empty_folders(self) -> None:
        for folder in sorted((path for path in self.root.rglob("*") if path.is_dir()), reverse=True):
            with suppress(OSError):  # it has files
                folder.rmdir()


def _json(content, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(content).encode())


@contextmanager
def use_hub(hub: Hub) -> Iterator[None]:
    """Meanwhile `hf://` and `huggingface_hub` mean this server, and `datasets` is online.

    They read HF_ENDPOINT and HF_HUB_OFFLINE when they are imported: too early for a server that a test starts.
    """
    import datasets.config
    import huggingface_hub
    from huggingface_hub import constants, file_download

    def forget():
        huggingface_hub.HfFileSystem.clear_instance_cache()  # a port may come again, with other files behind it
        # Before 1.0, a session remembers whether it is offline.
        getattr(huggingface_hub.utils, "reset_sessions", lambda: None)()

    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    with ExitStack() as stack:
        for module, name, value in (
            (constants, "HF_HUB_OFFLINE", False),
            (constants, "HF_HUB_DISABLE_XET", True),  # before 1.0, it goes by what the Hub says of the repository
            (constants, "ENDPOINT", hub.url),
            (constants, "HUGGINGFACE_CO_URL_TEMPLATE", template),
            (file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template),  # before 1.0, a copy
            (datasets.config, "HF_HUB_OFFLINE", False),
            (datasets.config, "HF_ENDPOINT", hub.url),
            (datasets.config, "HUB_DATASETS_URL", hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}"),
        ):
            if hasattr(module, name):
                stack.enter_context(mock.patch.object(module, name, value))
        stack.callback(forget)
        forget()
        yield


# --- S3


class S3(Server):
    """A folder as a bucket of S3, addressed by path; a signature is neither needed nor looked at.

    Args:
        listing: whether clients may list the bucket. Where they may not, S3 answers 403 for a missing object too.
    """

    def __init__(self, root, bucket: str = "data", latency: float = 0.0, *, listing: bool = True, **options):
        super().__init__(latency, **options)
        self.root, self.bucket, self.listing = Path(root).resolve(), bucket, listing

    def answer(self, query: Query) -> Answer:
        bucket, _, key = query.path.lstrip("/").partition("/")
        if query.method not in ("GET", "HEAD"):
            return xml_error(405, "MethodNotAllowed", "This bucket is read only")
        if not bucket:
            name = f"<Bucket><Name>{escape(self.bucket)}</Name></Bucket>"
            return xml_answer(200, f"<ListAllMyBucketsResult><Buckets>{name}</Buckets></ListAllMyBucketsResult>")
        if bucket != self.bucket:
            return xml_error(404, "NoSuchBucket", "The specified bucket does not exist")
        if not key:
            return Answer(200, {}) if query.method == "HEAD" else self._list(query)
        file = find_file(self.root, key)
        if file:
            return file_answer(file, query, self.validators(file))
        if not self.listing:
            return xml_error(403, "AccessDenied", "Access Denied")
        return xml_error(404, "NoSuchKey", "The specified key does not exist.")

    def _list(self, query: Query) -> Answer:
        """ListObjectsV2."""
        if not self.listing:
            return xml_error(403, "AccessDenied", "Access Denied")
        prefix, delimiter = query.field("prefix"), query.field("delimiter")
        after = query.field("continuation-token") or query.field("start-after")
        limit = min(int(query.field("max-keys", "1000")), 1000)
        names: dict[str, None] = {}  # keys, and what keys share up to the delimiter; each once, in order
        below = prefix.rpartition("/")[0]
        for key in list_files(self.root, below) if find(self.root, below) else ():
            if key.startswith(prefix):
                head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                names[prefix + head + found if found else key] = None
        rest = [name for name in names if name > after]
        page, more = rest[:limit], len(rest) > limit
        encode = quote if query.field("encoding-type") == "url" else str
        content = [f"<Name>{escape(self.bucket)}</Name><Prefix>{escape(encode(prefix))}</Prefix>"]
        content += [f"<KeyCount>{len(page)}</KeyCount><MaxKeys>{limit}</MaxKeys>"]
        content += [f"<Delimiter>{escape(encode(delimiter))}</Delimiter>"] * bool(delimiter)
        content += ["<EncodingType>url</EncodingType>"] * (encode is quote)
        content += [f"<IsTruncated>{str(more).lower()}</IsTruncated>"]
        content += [f"<NextContinuationToken>{escape(name)}</NextContinuationToken>" for name in page[-1:] if more]
        for name in page:
            if delimiter and name.endswith(delimiter):
                content.append(f"<CommonPrefixes><Prefix>{escape(encode(name))}</Prefix></CommonPrefixes>")
            else:
                content.append(f"<Contents><Key>{escape(encode(name))}</Key>{_object(self.root / name)}</Contents>")
        return xml_answer(200, f"<ListBucketResult>{''.join(content)}</ListBucketResult>")


def _object(file: Path) -> str:
    stat = file.stat()
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stat.st_mtime))
    return (
        f"<LastModified>{modified}</LastModified><ETag>{escape(etag_of(file))}</ETag>"
        f"<Size>{stat.st_size}</Size><StorageClass>STANDARD</StorageClass>"
    )
