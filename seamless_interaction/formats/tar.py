"""What lies where in a tar, by its headers alone: the content of its members is not read.

``tarfile`` parses the headers (checksum, octal and base-256 numbers, the name's two parts). The way from one to the
next is our own: ``TarFile`` takes a damaged header for the end of the archive, allocates what an extended header
declares and, in Pythons that are still in use, searches it in quadratic time or goes back and forth for ever.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from seamless_interaction.errors import BadFile, EmptyFile, TruncatedFile, UnreadableFile, UnsafeFile
from seamless_interaction.places.limits import MAX_MEMBERS

_BLOCK = tarfile.BLOCKSIZE  # 512: a header's size, and what content is padded to
_MAX_EXTENSION = 1 << 20  # bytes of an extended header: one long name, or the PAX records of one member
_MAX_NAME = 4096  # characters; no system has longer paths

_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_WITHOUT_CONTENT = (*_LINKS, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS = (*_LONG, *_PAX, tarfile.XGLTYPE)


class Member(NamedTuple):
    """A whole regular file of an archive.

    Attributes:
        name: as stored, a leading "./" taken off. It has no "/" and nothing that does not print.
        offset: of its content in the archive, in bytes.
        size: of its content, in bytes.
    """

    name: str
    offset: int
    size: int


class Contents(NamedTuple):
    """What an archive holds.

    Attributes:
        members: the usable ones in their order, each name once.
        problems: (name, error) of the unusable ones; the name is "" where the archive itself is broken.
    """

    members: tuple[Member, ...]
    problems: tuple[tuple[str, BadFile], ...]


class _Header(NamedTuple):
    """A member's header, and what the extended headers before it say."""

    at: int
    block: bytes
    parsed: tarfile.TarInfo
    records: dict[str, bytes]  # those of PAX; a long name of GNU is a "path" as well

    @property
    def kind(self) -> bytes:
        """The type flag as stored: the parsed one takes a long name that was cut after a slash for a directory's."""
        return self.block[156:157]

    @property
    def name(self) -> str:
        name = self.records.get("GNU.sparse.name", self.records.get("path"))
        return self.parsed.name if name is None else _text(name)

    @property
    def is_directory(self) -> bool:
        if self.kind == tarfile.AREGTYPE:  # V7: by its name, from which parsing takes the slash
            return self.name.endswith("/") if "path" in self.records else self.parsed.isdir()
        return self.kind == tarfile.DIRTYPE

    @property
    def is_sparse(self) -> bool:
        return self.kind == tarfile.GNUTYPE_SPARSE or _is_sparse(self.records)


class _Entry(NamedTuple):
    header: _Header
    offset: int
    size: int  # bytes stored at the offset


def contents(read: Callable[[int, int], bytes], size: int, path: str) -> Contents:
    """The members of a tar (V7, USTAR, GNU or PAX), read header by header.

    One read of 512 bytes a member, two where a long name or PAX records precede its header, and at most two at the
    archive's end. Nothing is read twice, and nothing is kept for a second call.

    Directories are passed over. Unusable, and named in ``problems``, are

    - ``TruncatedFile``: a member that the archive's end cuts off; the archive, where its end lies within a header or
      within what pads a member. One that ends behind a member, without the blocks of zeros, is whole.
    - ``UnreadableFile``: sparse files, links and devices; a name that is there twice; the archive from the first byte
      on that is not the header it should be. What lies behind the two blocks of zeros that end it does not matter.
    - ``UnsafeFile``: a name with a slash, a backslash (bytes that are not UTF-8 become ``\\xff``), ".." or characters
      that do not print; the archive, at an extended header of more than 1 MiB, or after ``MAX_MEMBERS`` members.
    - ``EmptyFile``: an archive of no bytes.

    Args:
        read: the archive's bytes from ``start`` to ``end``. What it raises passes through, a ``BadFile`` excepted,
            which becomes a problem of the archive.
        size: the archive's size in bytes.
        path: for messages.
    """
    found: list[Member] = []
    problems: list[tuple[str, BadFile]] = []
    times: Counter[str] = Counter()
    try:
        for number, (header, offset, stored) in enumerate(_entries(read, size, path)):
            name = header.name.removeprefix("./")
            times[name] += 1
            if number == MAX_MEMBERS:
                raise UnsafeFile(path, f"more than {MAX_MEMBERS} members, which no archive of recordings has")
            problem = _problem(header, name, path)
            if problem is not None:
                problems.append((name, problem))
            if offset + stored > size:
                where = path if isinstance(problem, UnsafeFile) else f"{path}::{name}"
                reason = f"declares {stored} bytes, {max(0, size - offset)} are there"
                problems.append((name, TruncatedFile(where, reason)))
                break
            if problem is None:
                found.append(Member(name, offset, stored))
    except BadFile as error:
        problems.append(("", error))
    for name, count in times.items():
        if count > 1:
            problems.append((name, UnreadableFile(path, f"holds {count} members of the name {name[:100]!r}")))
    return Contents(tuple(member for member in found if times[member.name] == 1), tuple(problems))


def _problem(header: _Header, name: str, path: str) -> BadFile | None:
    """Why a member cannot be used, whatever its size."""
    if name in ("", ".", "..") or set(name) & {"/", "\\"} or not name.isprintable() or len(name) > _MAX_NAME:
        return UnsafeFile(path, f"a member with the name {name[:100]!r}")
    if header.is_sparse:
        return UnreadableFile(f"{path}::{name}", "a sparse file, which is not stored as it is")
    if header.kind not in _FILES:
        what = "a link" if header.kind in _LINKS else f"of type {header.kind!r}"
        return UnreadableFile(f"{path}::{name}", f"{what}, not a regular file")
    return None


def _entries(read: Callable[[int, int], bytes], size: int, path: str) -> Iterator[_Entry]:
    """All but directories. Each step goes on by a block or more, so there are at most size / 512.

    Raises:
        BadFile: the archive cannot be read any further.
    """

    def fetch(start: int, end: int) -> bytes:
        end = min(end, size)
        content = read(start, end) if start < end else b""
        if len(content) < end - start:
            raise TruncatedFile(path, f"{size} bytes, of which only {start + len(content)} could be read")
        return content

    if not size:
        raise EmptyFile(path, "no bytes")
    at = 0
    while (header := _next_header(fetch, at, path)) is not None:
        offset = header.at + _BLOCK
        if header.kind == tarfile.GNUTYPE_SPARSE:
            offset = _skip_sparse_map(fetch, header, path)
        stored = header.parsed.size
        if header.is_directory or header.kind in _WITHOUT_CONTENT:
            stored = 0  # whatever it declares
        elif "size" in header.records:
            stored = _number(header.records["size"], header.at, path)
        if not header.is_directory:
            yield _Entry(header, offset, stored)
        at = offset + _padded(stored)
        if at > size:
            raise TruncatedFile(path, f"ends at byte {size}, before what its last member is padded to")


def _next_header(fetch: Callable[[int, int], bytes], at: int, path: str) -> _Header | None:
    """The header of the next member, behind its extended headers; None at the end of the archive."""
    records: dict[str, bytes] = {}
    block = fetch(at, at + _BLOCK)
    while (parsed := _parsed(block, at, path)) is not None:
        header = _Header(at, block, parsed, records)
        if header.kind not in _EXTENSIONS:
            return header
        if parsed.size > _MAX_EXTENSION:
            raise UnsafeFile(path, f"an extended header of {parsed.size} bytes at byte {at}")
        behind = _padded(parsed.size)
        content = fetch(at + _BLOCK, at + _BLOCK + behind + _BLOCK)  # and the header behind it
        body, block = content[: parsed.size], content[behind:]
        if len(content) < behind:
            raise TruncatedFile(path, f"ends within the extended header at byte {at}")
        if header.kind in _LONG:
            records["path" if header.kind == tarfile.GNUTYPE_LONGNAME else "linkpath"] = body.partition(b"\0")[0]
        elif header.kind in _PAX:
            records.update(_pax_records(body, at, path))
        else:  # for all members: a comment, say
            common = _pax_records(body, at, path)
            if "path" in common or "size" in common or _is_sparse(common):
                raise UnreadableFile(path, f"one name or size for all members at byte {at}")
        at += _BLOCK + behind
    if records:
        problem = UnreadableFile if block else TruncatedFile
        raise problem(path, f"an extended header without its member before byte {at}")
    if any(fetch(at + _BLOCK, at + 2 * _BLOCK)):
        raise UnreadableFile(path, f"zeros instead of a header at byte {at}, and more behind them")
    return None


def _skip_sparse_map(fetch: Callable[[int, int], bytes], header: _Header, path: str) -> int:
    """Where the content of an old GNU sparse file lies: behind blocks that its size does not count."""
    offset, is_more = header.at + _BLOCK, header.block[482]
    while is_more:
        block = fetch(offset, offset + _BLOCK)
        if len(block) < _BLOCK:
            raise TruncatedFile(path, f"ends within the header at byte {header.at}")
        offset, is_more = offset + _BLOCK, block[504]
    return offset


def _parsed(block: bytes, at: int, path: str) -> tarfile.TarInfo | None:
    """A header; None at the end of the archive: zeros or nothing."""
    if len(block) < _BLOCK:
        if not at:
            raise UnreadableFile(path, f"not a tar: {len(block)} bytes, less than one header")
        if any(block):
            raise TruncatedFile(path, f"ends within the header at byte {at}")
        return None
    if not any(block):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError as error:
        reason = f"no header at byte {at}, nothing behind it can be found" if at else "not a tar"
        raise UnreadableFile(path, f"{reason}: {error}") from error
    if header.size < 0:
        raise UnreadableFile(path, f"a header with the size {header.size} at byte {at}")
    return header


def _pax_records(body: bytes, at: int, path: str) -> dict[str, bytes]:
    """Keys and values of the records "LENGTH KEY=VALUE\\n", LENGTH being that of the whole record."""
    records = {}
    start = 0
    while start < len(body):
        space = body.find(b" ", start, start + 20)
        length = _number(body[start : max(start, space)], at, path)
        key, _, value = body[space + 1 : start + length].partition(b"=")
        if value[-1:] != b"\n" or start + length > len(body):
            raise UnreadableFile(path, f"damaged PAX records at byte {at}")
        records[_text(key)] = value[:-1]
        start += length
    return records


def _is_sparse(records: dict[str, bytes]) -> bool:
    return any(key.startswith("GNU.sparse.") for key in records)


def _number(digits: bytes, at: int, path: str) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise UnreadableFile(path, f"damaged PAX records at byte {at}: {digits[:40]!r} is not a number")
    return int(digits)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
