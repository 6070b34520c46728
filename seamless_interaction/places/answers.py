"""Files over HTTP: what is asked for, and whether that is what comes.

An answer is content only if it is the whole file (200), or the range that was asked for and says so (206), and is as
long as it says. One that the host compressed unasked is unpacked, and must end as its coding has it. What a host does
not tell of a size is asked for in another way, and is unknown in the end, never 0.
"""

from __future__ import annotations

import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import fsspec

from seamless_interaction.errors import BadFile, NoRanges, SourceError, SourceUnreachable
from seamless_interaction.places.limits import SLOW_SECONDS, least_rate
from seamless_interaction.places.redirects import request

_PIECE = 1 << 20  # bytes of a file that is read whole: those that are in memory at a time
_PACKED = 1 << 16  # bytes that are unpacked at a time
_REFUSED_TO_HEAD = {400, 403, 405, 501}  # some hosts sign addresses for GET only, others know no HEAD
_CODINGS = {"gzip", "x-gzip", "deflate"}
_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]+)-([0-9]+)|\*)/([0-9]+|\*)")
_STAMPS = ("ETag", "Last-Modified")
# Names of files none of which begins with "<", as every page of HTML and every error in XML does.
_NO_PAGES = (".npy", ".npz", ".wav", ".mp4", ".json", ".jsonl", ".csv", ".tar", ".parquet")
_HEAD = 64  # bytes that tell a page
_BEGINNING = 1 << 16  # bytes of a file that tell how much there may be of it

Most = int | Callable[[bytes], int]


class FilePart(NamedTuple):
    """Bytes of a file, and what the host says of it.

    Attributes:
        size: of the whole file; None: the host does not tell.
        stamp: ETag or whatever else changes when the content does; "" if the host does not tell.
    """

    content: bytes
    size: int | None
    stamp: str


class Body(NamedTuple):
    """A file, or the rest of one, that is being read.

    Attributes:
        start: the byte it begins with: the one asked for, or 0 where the place sends all of the file instead.
        size: of the whole file, if the place tells.
        stamp: ETag or whatever else changes when the content does; "" if the place does not tell.
        pieces: its bytes, a few megabytes at a time at most. May raise whatever the client does.
    """

    start: int
    size: int | None
    stamp: str
    pieces: Iterator[bytes | bytearray]


async def read(
    fs: Any, url: str, start: int, end: int | None, headers: dict[str, str], most: Most | None = None
) -> FilePart:
    """The bytes of a file from ``start`` to ``end``, or fewer if it ends before.

    fsspec's own takes whatever comes: all of a file, if the host ignores ranges, or another range.

    Args:
        fs: fsspec's file system for HTTP.
        headers: of the request, for this host alone, besides the range.
        most: bytes that the file may have, or a function that says it of its beginning: if it raises what is wrong with
            that, nothing else is read. One byte more is, if there are any more.

    Raises:
        NoRanges: all of it came, and not only its beginning was asked for.
        SourceUnreachable: a page came where a later part was asked for, or a coding that is not read.
        ConnectionError, aiohttp.ClientError: what may go better another time.
    """
    response, answer = await _ask(fs, url, start, end, headers)
    async with response:
        if answer is None:
            return FilePart(b"", None, "")
        content = _Content(response, answer)
        if answer.start != start:
            raise _of_another_kind(url, await content.read(_HEAD))
        wanted = sys.maxsize if end is None else end - start
        some = await content.read(min(wanted, _BEGINNING))
        if start == 0 and _is_page(url, some):
            raise _of_another_kind(url, some)
        if most is not None:
            wanted = min(wanted, _bound(most, bytes(some)))
        if len(some) == _BEGINNING < wanted:
            some += await content.read(wanted - len(some))
        found = bytes(some[:wanted])
    size, is_all = answer.size, len(found) < wanted
    if is_all and not answer.is_marked:
        size = (await stat(fs, url, headers))["size"]
        if size is not None and start + len(found) != (size if end is None else min(size, end)):
            raise ConnectionError(f"{len(found)} bytes came from byte {start} on, of a file of {size}")
    return FilePart(found, start + len(found) if is_all and size is None else size, _stamp(response))


def _bound(most: Most, beginning: bytes) -> int:
    try:
        return (most(beginning) if callable(most) else most) + 1
    except BadFile:  # whoever asked sees it by what came
        return len(beginning)


async def open_body(fs: Any, url: str, start: int, end: int | None, stamp: str, headers: dict[str, str]) -> Body:
    """Ask for a file, and wait for what the host says of it. Raises as ``read``, for a page with the first piece."""
    condition = {"If-Range": stamp} if stamp and not stamp.startswith("W/") and (start or end is not None) else {}
    response, answer = await _ask(fs, url, start, end, headers, condition)
    try:
        if answer is None and end is None:  # it became shorter
            response.close()
            return await open_body(fs, url, 0, None, "", headers)
        if answer is None:
            raise ConnectionError(f"nothing is at byte {start}")
        content = _Content(response, answer)
        if end is not None and (response.status != 206 or answer.start != start):
            raise _of_another_kind(url, await content.read(_HEAD))
        size = answer.size
        if size is None and not answer.is_marked:
            size = (await stat(fs, url, headers))["size"]
    except BaseException:
        response.close()
        raise
    pieces = _pieces(fs.loop, url, answer.start, content)
    next(pieces)  # so that it closes what it was begun with
    return Body(answer.start, size, _stamp(response), pieces)


async def stat(fs: Any, url: str, headers: dict[str, str], answers_head: bool = False) -> dict[str, Any]:
    """Type, size (None: the host does not tell) and stamps of a file, as ``info`` of fsspec's file systems has them.

    Args:
        answers_head: whether the host is known to answer HEAD: then what it refuses to it, it would refuse to GET.

    Returns:
        Also ``by_head``: whether it was HEAD that was answered.
    """
    async with await request(fs, "HEAD", url, headers, {}) as response:
        if response.status not in _REFUSED_TO_HEAD or (response.status == 403 and answers_head):
            response.raise_for_status()
            size = None if _coding(response) else response.content_length
            if size:  # some say 0 of whatever they make as it is sent
                return _told(response, size, True)
    response, answer = await _ask(fs, url, 0, 1, headers)
    response.release()
    return _told(response, 0 if answer is None else answer.size, False)


def _told(response: Any, size: int | None, by_head: bool) -> dict[str, Any]:
    """What fsspec would: by name in any case; as a dict, the headers have Etag."""
    stamps = {name: response.headers.get(name) for name in _STAMPS}
    return {"type": "file", "size": size, "by_head": by_head, **stamps}


class _Answer(NamedTuple):
    """What an answer holds, by its status and headers."""

    start: int  # its first byte in the file
    length: int | None  # bytes to come, where it says so
    size: int | None  # of the whole file
    is_packed: bool
    is_marked: bool  # it cannot end early and nobody notice


async def _ask(
    fs: Any, url: str, start: int, end: int | None, headers: dict[str, str], condition: dict[str, str] | None = None
) -> tuple[Any, _Answer | None]:
    """The answer, to be closed, when its headers are here; and what it holds, or None if nothing is at ``start``."""
    ranged = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
    response = await request(fs, "GET", url, headers, {**ranged, **(condition or {})})
    try:
        if ranged and response.status == 206 and _coding(response):  # a part of what was compressed: all of it, then
            response.close()
            return await _ask(fs, url, 0, None, headers)
        return response, _checked(url, response, start, end)
    except BaseException:
        response.close()
        raise


def _checked(url: str, response: Any, start: int, end: int | None) -> _Answer | None:
    """Raises whatever ``read`` does."""
    told = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(told)
    size = int(match[3]) if match and match[3] != "*" else None
    if response.status == 416 and (start or end is not None):
        if size is not None and size > start:
            raise ConnectionError(f"nothing came from byte {start} on, of a file of {size}")
        return None
    response.raise_for_status()
    coding = _coding(response)
    if coding and coding not in _CODINGS:
        raise SourceUnreachable(f"{url}: it comes compressed ({coding}), which was not asked for and is not read.")
    length = response.content_length
    if response.status == 200:
        if coding:
            return _Answer(0, None, None, True, True)
        is_chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
        return _Answer(0, length, length, False, is_chunked or length is not None)
    if response.status != 206:
        raise ConnectionError(f"an answer without content came (status {response.status})")
    if coding or not match or match[1] is None:
        raise ConnectionError(f"a part came that does not say which ({told!r})")
    first, last = int(match[1]), int(match[2])
    wanted = end if size is None else size if end is None else min(end, size)
    is_all = wanted is not None and last + 1 == wanted
    if first != start or not first <= last or (length is not None and length != last + 1 - first):
        raise ConnectionError(f"byte {start} and those that follow were asked for, and {length} came as {told!r}")
    if size is not None and not is_all:
        raise ConnectionError(f"bytes {start} to {wanted} were asked for, and fewer came ({told!r})")
    return _Answer(first, last + 1 - first, size, False, is_all)


def _coding(response: Any) -> str:
    coding: str = response.headers.get("Content-Encoding", "").strip().lower()
    return "" if coding == "identity" else coding


def _stamp(response: Any) -> str:
    return next(filter(None, (response.headers.get(name) for name in _STAMPS)), "")


def _is_page(url: str, content: bytes | bytearray) -> bool:
    """Whether a page came, or an error in XML, where there can be none."""
    is_markup = content[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    return is_markup and url.partition("?")[0].endswith(_NO_PAGES)


def _of_another_kind(url: str, content: bytes | bytearray) -> SourceError:
    """The error for what is not even meant to be what was asked for."""
    if _is_page(url, content):
        return SourceUnreachable(f"{url}: a page came instead of the file. Does the network want a login?")
    return NoRanges(f"{url}: the host, or a proxy on the way, sends whole files where a part was asked for.")


class _Content:
    """The bytes of an answer, unpacked; none are missing at its end."""

    def __init__(self, response: Any, answer: _Answer):
        self._response, self._answer, self._come = response, answer, 0
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS + 32) if answer.is_packed else None  # gzip, or zlib's form
        self._packed = b""
        self._waited, self._arrived, self._least = 0.0, 0, least_rate()  # seconds, bytes, bytes a second

    async def read(self, most: int) -> bytearray:
        """The next bytes, ``most`` of them unless it ends before."""
        content = bytearray()
        while len(content) < most and (some := await self._some(most - len(content))):
            content += some
        self._come += len(content)
        length = self._answer.length
        if length is not None and (self._come > length or (len(content) < most and self._come < length)):
            raise ConnectionError(f"{self._come} bytes came where {length} were promised")
        return content

    async def _some(self, most: int) -> bytes:
        if self._unpack is None:
            return await self._arriving(most)
        while not self._unpack.eof:
            some = self._unpack.decompress(self._packed, most)
            self._packed = self._unpack.unconsumed_tail
            if some:
                return some
            if not self._packed and not self._unpack.eof:
                self._packed = await self._arriving(_PACKED)
                if not self._packed:
                    raise ConnectionError("what came compressed ends early")
        if self._unpack.unused_data or await self._response.content.read(1):
            raise ConnectionError("more came than what was compressed")
        return b""

    async def _arriving(self, most: int) -> bytes:
        """Bytes as they come. Raises ``ConnectionError`` where that is too slow, whoever takes them may be."""
        began = time.monotonic()
        some: bytes = await self._response.content.read(most)
        self._waited += time.monotonic() - began
        self._arrived += len(some)
        if self._waited >= SLOW_SECONDS:
            if self._arrived < self._least * self._waited:
                raise ConnectionError(f"only {self._arrived} bytes came in {self._waited:.0f} seconds")
            self._waited, self._arrived = 0.0, 0
        return some

    def close(self) -> None:
        self._response.close()


def _pieces(loop: Any, url: str, start: int, content: _Content) -> Iterator[bytearray]:
    try:
        yield bytearray()
        piece, is_first = bytearray(_PIECE), start == 0
        while len(piece) == _PIECE:
            piece = fsspec.asyn.sync(loop, content.read, _PIECE)
            if is_first and _is_page(url, piece):
                raise _of_another_kind(url, piece)
            is_first = False
            if piece:
                yield piece
    finally:
        loop.call_soon_threadsafe(content.close)
