"""Bytes to values: arrays (NPY, NPZ) and text records (JSON, JSON Lines) of one recording.

Nothing in a file is trusted. A header is believed only as far as the file bears it out, before
anything of its size is allocated; pickles are never loaded; a member of an NPZ is inflated to what
its own array needs and not a byte more.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from seamless_interaction import ARRAYS, Array
from seamless_interaction.audio import AudioHeader, probe_audio
from seamless_interaction.errors import (
    BadFile,
    EmptyFile,
    MissingFile,
    TruncatedFile,
    UnreadableFile,
    UnsafeFile,
    WrongType,
)
from seamless_interaction.layouts import BUNDLE, Location, Place, Recording, locate
from seamless_interaction.mp4 import VideoHeader, probe_video

# The longest recording has 75 minutes and the fastest arrays 240 Hz; this is twice that. Anything longer is a lie
# of a header, and would not fit the 2**31 elements of an Arrow list either.
MAX_FRAMES = 2 * 75 * 60 * 240
MAX_TEXT_BYTES = 1 << 26  # 75 minutes of transcript take about 2 MB
_MAX_HEADER_BYTES = 1 << 14
_STEP = 1 << 18  # bytes inflated at a time
_MAX_INFLATION = 1032  # of DEFLATE, by its design


# --- NPY ------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)  # arrays of one recording share few headers, and parsing one takes longer than mapping it
def _parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    stream = io.BytesIO(header)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream, max_header_size=_MAX_HEADER_BYTES)


def _header_size(head: bytes) -> int | None:
    """Bytes of magic, version, length and header, or None if these are not an NPY's first bytes."""
    if len(head) < 12 or head[:6] != b"\x93NUMPY" or head[6] not in (1, 2):
        return None
    return 10 + int.from_bytes(head[8:10], "little") if head[6] == 1 else 12 + int.from_bytes(head[8:12], "little")


def _declared(head: bytes, array: Array, path: str) -> tuple[int, tuple[int, ...], np.dtype]:
    """Offset, shape and dtype that an NPY's first bytes declare, if the format allows them.

    float64 stands for float32, and axes of one may be more or fewer than the format's: the bucket's
    files are not known to agree with the Hub's in either.
    """
    size = _header_size(head)
    if size is None:
        raise (UnreadableFile if head else EmptyFile)(path, "not an NPY file" if head else "no bytes")
    if size > _MAX_HEADER_BYTES:
        raise UnsafeFile(path, f"an NPY header of {size} bytes")
    if size > len(head):
        raise TruncatedFile(path, "ends within its NPY header")
    try:
        shape, fortran_order, dtype = _parse_header(head[:size])
    except Exception as error:  # NumPy's parser lets through whatever Python's own raises at such text
        raise UnreadableFile(path, f"not an NPY header: {error}") from error
    if any(length < 0 for length in shape):
        raise UnreadableFile(path, f"declares the shape {shape}")
    if dtype.hasobject:
        raise UnsafeFile(path, "an array of Python objects, which would have to be unpickled")
    wanted = np.dtype(array.dtype)
    if dtype.kind != wanted.kind or dtype.itemsize not in (wanted.itemsize, 8 if wanted.kind == "f" else 1):
        raise WrongType(path, f"dtype {dtype}, expected {wanted}")
    if not shape or [n for n in shape[1:] if n != 1] != [n for n in array.shape if n != 1] or fortran_order:
        order = " in Fortran order" if fortran_order else ""
        raise WrongType(path, f"shape {shape}{order}, expected {('T', *array.shape)}".replace("'", ""))
    if shape[0] > (limit := MAX_FRAMES // array.frames_per_row):
        raise UnsafeFile(path, f"declares {shape[0]} rows, more than any recording has ({limit})")
    return size, shape, dtype


def _values(buffer: Any, array: Array, path: str, file_bytes: int) -> np.ndarray:
    """The array in a buffer that holds a whole NPY."""
    offset, shape, dtype = _declared(bytes(buffer[:_MAX_HEADER_BYTES]), array, path)
    count = math.prod(shape)
    expected = offset + count * dtype.itemsize
    if expected > file_bytes:
        raise TruncatedFile(path, f"declares {expected} bytes (shape {shape}) and has {file_bytes}")
    if expected < file_bytes:
        raise UnsafeFile(path, f"{file_bytes - expected} bytes more than the array it declares")
    values = np.frombuffer(buffer, dtype, count, offset) if count else np.empty(0, dtype)
    # Only what differs is copied: float64, or another byte order. What float32 cannot hold becomes infinite, and that
    # is an issue of its own.
    with np.errstate(over="ignore"):
        return values.reshape(shape[0], *array.shape).astype(array.dtype, copy=False)


def read_npy(place: Place, path: str, array: Array) -> np.ndarray:
    """One array of a tree, (T, *array.shape). Local files are mapped into memory, not read.

    Raises:
        MissingFile, EmptyFile, TruncatedFile, UnreadableFile, UnsafeFile, WrongType
    """
    where = place.path(path)
    if not place.is_local:
        limit = _MAX_HEADER_BYTES + MAX_FRAMES * math.prod(array.shape) * 8
        try:
            content = place.read(path, 0, limit)
        except FileNotFoundError as error:
            raise MissingFile(where, "not found") from error
        return _values(content, array, where, len(content))
    try:
        with open(where, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise EmptyFile(where, "no bytes")
            return _values(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), array, where, size)
    except FileNotFoundError as error:
        raise MissingFile(where, "not found") from error


# --- NPZ ------------------------------------------------------------------------------------------


class _Ranges(io.RawIOBase):
    """A file read by ranges, for zipfile, which reads little and jumps."""

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


class Npz:
    """The arrays of a bundle, read one by one: the zip directory, then only the members asked for.

    Args:
        read: the file's bytes from ``start`` to ``end``.
        size: the file's size in bytes.
        path: for messages.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, path: str):
        self._read, self._size, self._path = read, size, path
        if not size:
            raise EmptyFile(path, "no bytes")
        try:
            with zipfile.ZipFile(_Ranges(read, size)) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise TruncatedFile(path, f"no zip directory at its end: {error}") from error
        self._members = {member.filename: member for member in members}
        if len(self._members) < len(members):
            raise UnreadableFile(path, "holds two members of one name")

    def array(self, name: str, array: Array) -> np.ndarray | None:
        """One member, (T, *array.shape); None if the file has no such member.

        Raises:
            TruncatedFile, UnreadableFile, UnsafeFile, WrongType
        """
        member = self._members.get(name)
        if member is None:
            return None
        where = f"{self._path}::{name}"
        # A local header is 30 bytes, the name and an extra field whose length only it knows.
        guess = 30 + len(name.encode()) + 32
        start = member.header_offset
        if start + member.compress_size > self._size:
            raise TruncatedFile(
                where, f"its directory declares {member.compress_size} packed bytes, more than there are"
            )
        content = self._read(start, start + guess + member.compress_size)
        if len(content) < 30 or content[:4] != b"PK\x03\x04":
            raise UnreadableFile(where, "the zip directory points at something else")
        skip = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
        missing = skip + member.compress_size - len(content)
        if missing > 0:
            content += self._read(start + len(content), start + len(content) + missing)
        packed = memoryview(content)[skip : skip + member.compress_size]
        if len(packed) < member.compress_size:
            raise TruncatedFile(
                where, f"its directory declares {member.compress_size} packed bytes, {len(packed)} are there"
            )
        plain = self._inflate(packed, member, array, where)
        if zlib.crc32(plain) != member.CRC:
            raise UnreadableFile(where, "its checksum does not match")
        return _values(plain, array, where, len(plain))

    @staticmethod
    def _inflate(packed: memoryview, member: zipfile.ZipInfo, array: Array, where: str) -> Any:
        if member.compress_type == zipfile.ZIP_STORED:
            return packed
        if member.compress_type != zipfile.ZIP_DEFLATED:
            raise UnreadableFile(where, f"packed by method {member.compress_type}, neither stored nor DEFLATE")
        try:
            pieces = _inflated(packed)
            head = next(pieces, b"")
            offset, shape, dtype = _declared(head, array, where)
            expected = offset + math.prod(shape) * dtype.itemsize
            if expected > _MAX_INFLATION * len(packed):
                raise UnsafeFile(where, f"declares {expected} bytes, more than {len(packed)} packed bytes can hold")
            plain = np.empty(expected, np.uint8)
            at = 0
            for piece in chain([head], pieces):
                if at + len(piece) > expected:
                    raise UnsafeFile(where, f"inflates beyond the {expected} bytes of the array it declares")
                plain[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
                at += len(piece)
        except zlib.error as error:
            raise UnreadableFile(where, f"damaged: {error}") from error
        return plain[:at]


def _inflated(packed: memoryview) -> Iterator[bytes]:
    """What a DEFLATE stream holds, in steps: zlib copies what it has not read yet, and all that it has written."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    for start in range(0, len(packed), _STEP):
        rest: Any = packed[start : start + _STEP]
        while rest and not stream.eof:
            yield stream.decompress(rest, _STEP)
            rest = stream.unconsumed_tail
    while not stream.eof and (piece := stream.decompress(b"", _STEP)):
        yield piece


# --- JSON -----------------------------------------------------------------------------------------


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def _text(place: Place, path: str) -> bytes:
    try:
        content = place.read(path, 0, MAX_TEXT_BYTES + 1)
    except FileNotFoundError as error:
        raise MissingFile(place.path(path), "not found") from error
    if len(content) > MAX_TEXT_BYTES:
        raise UnsafeFile(place.path(path), f"more than {MAX_TEXT_BYTES} bytes of text")
    return content


def parse_json_lines(content: bytes, path: str) -> list[dict[str, Any]]:
    """One object a line; blank lines are none.

    Raises:
        UnreadableFile: with the line's number.
    """
    records = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                record = _decode(line.decode())
            except (ValueError, RecursionError) as error:
                raise UnreadableFile(path, f"line {number} is not JSON: {error}") from error
            if not isinstance(record, dict):
                raise UnreadableFile(path, f"line {number} is not an object")
            records.append(record)
    return records


def parse_bundle_json(content: bytes, path: str, file_id: str) -> dict[str, Any]:
    """The object of a bundle's JSON.

    Raises:
        UnreadableFile: not JSON, not an object, or another recording's.
        EmptyFile: no bytes.
    """
    if not content:
        raise EmptyFile(path, "no bytes")
    try:
        value = _decode(content.decode())
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(path, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableFile(path, "not an object")
    if value.get("id", file_id) != file_id:
        raise UnreadableFile(path, f"belongs to {value['id']!r}")
    return value


def _number(record: dict[str, Any], key: str, where: str, optional: bool = False) -> float | None:
    value = record.get(key)
    if value is None and optional:
        return None
    # An integer of JSON has no limit; `isfinite` fails at one that no float can hold.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < sys.float_info.max:
        raise ValueError(f"{where}: {key} is {str(value)[:40]!r}, not a number of seconds")
    return float(value)


def _string(record: dict[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{where}: {key} is {value!r}, not text")
    value.encode()  # a ValueError for half a surrogate pair, which JSON can write and Arrow cannot
    return value


def _segment(record: dict[str, Any], where: str) -> dict[str, Any]:
    words = record.get("words") or []
    if not isinstance(words, list) or not all(isinstance(word, dict) for word in words):
        raise ValueError(f"{where}: words is not a list of objects")
    return {
        "start": _number(record, "start", where),
        "end": _number(record, "end", where),
        "transcript": _string(record, "transcript", where),
        "words": [
            {
                "word": _string(word, "word", where),
                **{key: _number(word, key, where, optional=True) for key in ("start", "end", "score")},
            }
            for word in words
        ],
    }


def _vad(record: dict[str, Any], where: str) -> dict[str, Any]:
    return {"start": _number(record, "start", where), "end": _number(record, "end", where)}


def _annotation(record: dict[str, Any], where: str) -> dict[str, Any]:
    return {
        "annotation": _string(record, "annotation", where),
        "start": _number(record, "start_ts", where),
        "end": _number(record, "end_ts", where),
    }


_PARSERS = {"transcript": _segment, "vad": _vad}  # all other parts of text are annotations


# --- a recording ----------------------------------------------------------------------------------


class Files:
    """The files of one recording, each opened when first asked for and at most once.

    Use as a context manager: leaving it closes what was opened.
    """

    def __init__(self, place: Place, layout: str, aliases: dict[str, str], recording: Recording):
        self._place, self._layout, self._aliases, self._recording = place, layout, aliases, recording
        self._opened: dict[str, Any] = {}  # path -> Npz, parsed JSON, or the BadFile that came instead
        self._open = ExitStack()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def path(self, part: str) -> str | None:
        """Absolute path or URL of the file that holds a part; None if the recording has none.

        Raises:
            MissingFile
        """
        location = self._locate(part)
        return location and self._place.path(location.path)

    def probe(self, part: str) -> VideoHeader | AudioHeader | None:
        """The header of ``"video"`` or ``"audio"``; None if the recording has none.

        Raises:
            BadFile: one of its kinds.
        """
        location = self._locate(part)
        if location is None:
            return None
        probe: Callable[..., VideoHeader | AudioHeader] = probe_video if part == "video" else probe_audio
        where = self._place.path(location.path)
        if self._place.is_local:
            return probe(where)
        try:
            with self._place.open(location.path) as file:
                return probe(where, file)
        except FileNotFoundError as error:
            raise MissingFile(where, "not found") from error

    def array(self, key: str) -> np.ndarray | None:
        """An array, (T, *shape) in the format's dtype; None if the recording has none.

        Raises:
            BadFile: one of its kinds.
        """
        location = self._locate(key)
        if location is None:
            return None
        if location.member is None:
            return read_npy(self._place, location.path, ARRAYS[key])
        npz: Npz = self._once(location.path, self._npz)
        return npz.array(location.member, ARRAYS[key])

    def records(self, part: str) -> list[dict[str, Any]] | None:
        """Segments of a transcript, VAD or annotations; None if the recording has none.

        Raises:
            BadFile: one of its kinds.
        """
        location = self._locate(part)
        if location is None:
            return None
        where = self._place.path(location.path)
        if location.member is None:
            records = parse_json_lines(_text(self._place, location.path), where)
        else:
            where = f"{where}::{location.member}"
            records = self._once(location.path, self._json).get(location.member)
            if records is None:
                return None
            if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
                raise UnreadableFile(where, "not a list of objects")
        parse = _PARSERS.get(part, _annotation)
        try:
            return [parse(record, f"record {number}") for number, record in enumerate(records, 1)]
        except ValueError as error:
            raise UnreadableFile(where, str(error)) from error

    def _locate(self, part: str) -> Location | None:
        location = locate(self._layout, self._aliases, self._recording, part)
        # What is optional in a bundle's JSON is not known without it; what a vendor's NPZ has, is.
        if location is None and self._layout == "bundles" and part not in ARRAYS:
            raise MissingFile(
                f"{self._recording.file_id}{BUNDLE[part][0]}", "not in the source, and every bundle has one"
            )
        return location

    def _once(self, path: str, open_file: Callable[[str], Any]) -> Any:
        if path not in self._opened:
            try:
                self._opened[path] = open_file(path)
            except BadFile as error:
                self._opened[path] = error
        if isinstance(self._opened[path], BadFile):
            raise self._opened[path]
        return self._opened[path]

    def _json(self, path: str) -> dict[str, Any]:
        return parse_bundle_json(_text(self._place, path), self._place.path(path), self._recording.file_id)

    def _npz(self, path: str) -> Npz:
        where = self._place.path(path)
        try:
            if not self._place.is_local:
                return Npz(lambda start, end: self._place.read(path, start, end), self._place.size(path), where)
            file = self._open.enter_context(open(where, "rb"))  # noqa: SIM115
        except FileNotFoundError as error:
            raise MissingFile(where, "not found") from error

        def read(start: int, end: int) -> bytes:
            file.seek(start)
            return file.read(end - start)

        return Npz(read, os.fstat(file.fileno()).st_size, where)
