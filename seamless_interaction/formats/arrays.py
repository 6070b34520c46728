"""Bytes to arrays: NPY, NPZ.

Nothing in a file is trusted. A header is believed only as far as the file bears it out, before
anything of its size is allocated; pickles are never loaded; a member of an NPZ is inflated to what
its own array needs and not a byte more.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from isal import isal_zlib  # zlib itself takes 1.6 times as long, and inflating is what reading arrays costs

from seamless_interaction import Array
from seamless_interaction.errors import (
    EmptyFile,
    MissingFile,
    TruncatedFile,
    UnreadableFile,
    UnsafeFile,
    WrongType,
)
from seamless_interaction.places.entry import Entry
from seamless_interaction.places.limits import MAX_DIRECTORY_BYTES, MAX_FRAMES, MAX_HEADER_BYTES
from seamless_interaction.places.place import Place
from seamless_interaction.places.ranges import RangeFile

_MAX_VALUES = (1 << 31) - 1  # of an array whose shape is not known beforehand
_USUAL_HEADER_BYTES = 128  # of an NPY's, as NumPy writes it
_STEP = 1 << 18  # bytes inflated at a time
_DIRECTORY_BYTES = 1 << 12  # more than the directory of all 24 arrays has
_ENCRYPTED = 1  # the zip format's flag
_MAX_INFLATION = 1032  # of DEFLATE, by its design


# --- NPY ------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)  # arrays of one recording share few headers, and parsing one takes longer than mapping it
def _parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    stream = io.BytesIO(header)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream, max_header_size=MAX_HEADER_BYTES)


def _header_size(head: bytes) -> int | None:
    """Bytes of magic, version, length and header, or None if these are not an NPY's first bytes."""
    if len(head) < 12 or head[:6] != b"\x93NUMPY" or head[6] not in (1, 2):
        return None
    return 10 + int.from_bytes(head[8:10], "little") if head[6] == 1 else 12 + int.from_bytes(head[8:12], "little")


def _declared(head: bytes, array: Array, path: str) -> tuple[int, tuple[int, ...], np.dtype]:
    """Offset, shape and dtype that an NPY's first bytes declare, if the format allows them.

    float64 stands for float32, numbers of any kind for a mask, and axes of one may be more or fewer than the format's:
    the bucket's files do not agree with the Hub's in these. An open array may have any numbers, in any shape.
    """
    size = _header_size(head)
    if size is None:
        raise (UnreadableFile if head else EmptyFile)(path, "not an NPY file" if head else "no bytes")
    if size > MAX_HEADER_BYTES:
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
    wanted = np.dtype(array.dtype or dtype)
    is_free = array.is_open and not array.is_mask
    if is_free and not array.dtype:
        is_known = True
    elif array.is_open or array.is_mask:
        is_known = dtype.kind in "biuf" and dtype.itemsize <= 8
    else:
        is_known = dtype.kind == wanted.kind and dtype.itemsize in (wanted.itemsize, 8 if wanted.kind == "f" else 1)
    if not is_known:
        raise WrongType(path, f"dtype {dtype}, expected {wanted}")
    if is_free:
        is_known = bool(shape) and 0 not in shape[1:]
    else:
        is_known = bool(shape) and [n for n in shape[1:] if n != 1] == [n for n in array.shape if n != 1]
    if not is_known or fortran_order:
        order = " in Fortran order" if fortran_order else ""
        expected = "(T, ...)" if is_free else f"{('T', *array.shape)}".replace("'", "")
        raise WrongType(path, f"shape {shape}{order}, expected {expected}")
    if shape[0] > (limit := MAX_FRAMES // array.frames_per_row):
        raise UnsafeFile(path, f"declares {shape[0]} rows, more than any recording has ({limit})")
    if math.prod(shape) > _MAX_VALUES and array.is_open:
        raise UnsafeFile(path, f"declares {math.prod(shape)} values, more than a list of Arrow holds ({_MAX_VALUES})")
    return size, shape, dtype


def _spread(
    head: bytes, array: Array, path: str, file_bytes: int | None = None
) -> tuple[int, tuple[int, ...], np.dtype]:
    """Offset, shape and dtype of an NPY, whose first bytes and, where it is known, size must bear them out."""
    offset, shape, dtype = _declared(head, array, path)
    if file_bytes is not None:
        expected = offset + math.prod(shape) * dtype.itemsize
        if expected > file_bytes:
            raise TruncatedFile(path, f"declares {expected} bytes (shape {shape}) and has {file_bytes}")
        if expected < file_bytes:
            raise UnsafeFile(path, f"{file_bytes - expected} bytes more than the array it declares")
    return offset, shape, dtype


def _values(buffer: Any, array: Array, path: str, file_bytes: int) -> np.ndarray:
    """The array in a buffer that holds a whole NPY."""
    offset, shape, dtype = _spread(bytes(buffer[:MAX_HEADER_BYTES]), array, path, file_bytes)
    count, array = math.prod(shape), _as_declared(array, shape)
    return _typed(np.frombuffer(buffer, dtype, count, offset) if count else np.empty(0, dtype), array, path)


def _as_declared(array: Array, shape: tuple[int, ...]) -> Array:
    """An open array as one file has it."""
    return array._replace(shape=shape[1:]) if array.is_open else array


def _typed(values: np.ndarray, array: Array, path: str) -> np.ndarray:
    """Values in the format's shape and dtype.

    Raises:
        WrongType: a mask with other values than 0 and 1, or an open array with integers that its dtype does not have.
    """
    if array.is_mask:
        stored = values.view(np.uint8) if values.dtype == bool else values  # a bool of an NPY may be any byte
        for value in stored[(stored != 0) & (stored != 1)][:1]:
            raise WrongType(path, f"a mask that holds {value}, neither 0 nor 1")
    # Only what differs is copied: float64, or another byte order. What float32 cannot hold becomes infinite, and that
    # is an issue of its own.
    values = values.reshape(-1, *array.shape)
    if values.dtype == (array.dtype or values.dtype):
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        typed = values.astype(array.dtype)
        if array.is_open and values.dtype.kind in "iu" and (typed.astype(values.dtype) != values).any():
            raise WrongType(path, f"{values.dtype} that {array.dtype} cannot hold")
    return typed


def declared_bytes(head: bytes, array: Array, path: str) -> int:
    """How long an NPY is by its first bytes. Raises as ``read_npy``."""
    offset, shape, dtype = _declared(head[:MAX_HEADER_BYTES], array, path)
    return offset + math.prod(shape) * dtype.itemsize


def max_bytes(array: Array) -> int:
    """More than the NPY of any recording's array has."""
    return MAX_HEADER_BYTES + 8 * (_MAX_VALUES if array.is_open else MAX_FRAMES * math.prod(array.shape))


def read_npy(place: Place, path: str, array: Array, of: Entry | None = None) -> np.ndarray:
    """One array of a tree, (T, *array.shape). Local files are mapped into memory, not read, where that is possible.

    What is mapped is read-only, even to who sets the flag, or goes round it as torch does: writing ends the process.
    ``of`` is as for ``Place.read``.

    Raises:
        MissingFile, EmptyFile, TruncatedFile, UnreadableFile, UnsafeFile, WrongType
    """
    where = place.path(path)
    if not place.is_local:
        try:
            # Whatever comes, no more than its header says is read.
            content = place.read(path, 0, max_bytes(array), of=of, most=lambda head: declared_bytes(head, array, where))
        except FileNotFoundError as error:
            raise MissingFile(where, "not found") from error
        return _values(content, array, where, len(content))
    try:
        content = _mapped(where, max_bytes(array))
    except FileNotFoundError as error:
        raise MissingFile(where, "not found") from error
    if not len(content):
        raise EmptyFile(where, "no bytes")
    return _values(content, array, where, len(content))


def _mapped(path: str, most: int) -> pa.Buffer | bytes:
    """A local file, mapped; one that cannot be is read, up to ``most`` bytes.

    By Arrow: each map of Python's own keeps a file open, and a shuffled stream holds thousands of arrays.
    """
    try:
        with pa.memory_map(path) as file:
            return file.read_buffer()
    except FileNotFoundError:
        raise
    except OSError:  # some file systems of clouds and virtual machines have no maps
        with open(path, "rb") as file:
            return file.read(most)


class NpyRows:
    """An NPY of which some rows are read, as it was when its header was, by any number of threads.

    Args:
        read_into: fills a buffer from some byte of the file on, and tells how many bytes there were.
        array: what it is to hold.
        path: for messages.
        size: of the file in bytes, where it is known.

    Attributes:
        num_rows: how many it has.

    Raises:
        EmptyFile, TruncatedFile, UnreadableFile, UnsafeFile, WrongType
    """

    def __init__(self, read_into: Callable[[int, memoryview], int], array: Array, path: str, size: int | None = None):
        self._read_into, self._path = read_into, path
        head = self._head(_USUAL_HEADER_BYTES)
        length = _header_size(head) or 0
        if len(head) == _USUAL_HEADER_BYTES < length <= MAX_HEADER_BYTES:
            head = self._head(length)
        self._offset, shape, self._dtype = _spread(head, array, path, size)
        self._array = array = _as_declared(array, shape)
        self.num_rows = shape[0]
        self._row_bytes = math.prod(array.shape) * self._dtype.itemsize
        self._is_as_it_should_be = self._dtype == array.dtype and not array.is_mask

    def _head(self, length: int) -> bytes:
        head = bytearray(length)
        return bytes(head[: self._read_into(0, memoryview(head))])

    def rows(self, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` (exclusive), as far as there are such, (n, *array.shape); only they are read."""
        if first < 0 or last > self.num_rows or first > last:
            first = min(max(first, 0), self.num_rows)
            last = max(min(last, self.num_rows), first)
        values = np.empty((last - first, *self._array.shape), self._dtype)
        if last > first:
            buffer = values.reshape(-1).view(np.uint8).data
            if self._read_into(self._offset + first * self._row_bytes, buffer) != values.nbytes:
                raise TruncatedFile(self._path, f"ends within its rows {first} to {last} of {self.num_rows}")
        return values if self._is_as_it_should_be else _typed(values, self._array, self._path)


# --- NPZ ------------------------------------------------------------------------------------------


class Packed(NamedTuple):
    """A member of a zip, as its directory says.

    Attributes:
        offset: of its local header, in bytes.
        length: bytes it has as it is packed, without that header.
        compression: the zip format's number of the method: 0 stored, 8 DEFLATE.
        crc32: of the unpacked bytes.
    """

    offset: int
    length: int
    compression: int
    crc32: int


def _check_method(compression: int, where: str) -> None:
    """Of a zip's or an index's. Raises ``UnreadableFile`` if it is one that no array is packed by."""
    if compression not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableFile(where, f"packed by method {compression}, neither stored nor DEFLATE")


class Npz:
    """The arrays of a bundle, read one by one: the zip directory, then only the members asked for.

    Args:
        read: the file's bytes from ``start`` to ``end``.
        size: the file's size in bytes.
        path: for messages.

    Attributes:
        members: name -> where it lies, as declared; ``packed`` tells whether that can be.
        num_bytes: name -> bytes unpacked, as declared.

    Raises:
        EmptyFile, TruncatedFile, UnreadableFile
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, path: str):
        self._read, self._size, self._path = read, size, path
        if not size:
            raise EmptyFile(path, "no bytes")
        # zipfile goes backwards from the end, a few bytes at a time.
        tail_from = max(0, size - _DIRECTORY_BYTES)
        tail = read(tail_from, size)

        def fetch(start: int, end: int) -> bytes:
            if end - start > MAX_DIRECTORY_BYTES:
                raise ValueError(f"one of {end - start} bytes")
            return tail[start - tail_from : end - tail_from] if start >= tail_from else read(start, end)

        try:
            with zipfile.ZipFile(RangeFile(fetch, size)) as archive:
                found = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, EOFError, struct.error) as error:
            raise TruncatedFile(path, f"no zip directory at its end: {error}") from error
        self._encrypted = {member.filename for member in found if member.flag_bits & _ENCRYPTED}
        self.members = {m.filename: Packed(m.header_offset, m.compress_size, m.compress_type, m.CRC) for m in found}
        self.num_bytes = {m.filename: m.file_size for m in found}
        if len(self.members) < len(found):
            raise UnreadableFile(path, "holds two members of one name")

    def packed(self, name: str) -> Packed | None:
        """Where a member lies; None if the file has no such member.

        Raises:
            TruncatedFile: it would lie outside the file.
            UnreadableFile: it is encrypted, or packed by a method that no array is packed by.
        """
        packed, where = self.members.get(name), f"{self._path}::{name}"
        if packed is None:
            return None
        if packed.offset < 0 or packed.offset + packed.length > self._size:
            declared = f"{packed.length} packed bytes from byte {packed.offset} on"
            raise TruncatedFile(where, f"its directory declares {declared}, and the file has {self._size}")
        if name in self._encrypted:
            raise UnreadableFile(where, "encrypted")
        _check_method(packed.compression, where)
        return packed

    def array(self, name: str, array: Array) -> np.ndarray | None:
        """One member, (T, *array.shape); None if there is none. Raises as ``packed`` and ``read_packed``."""
        packed = self.packed(name)
        return None if packed is None else read_packed(self._read, packed, name, array, self._path)


def read_packed(read: Callable[[int, int], bytes], packed: Packed, name: str, array: Array, path: str) -> np.ndarray:
    """An array that is a member of a zip, (T, *array.shape), in one read as a rule.

    Raises:
        TruncatedFile, UnreadableFile, UnsafeFile, WrongType
    """
    where = f"{path}::{name}"
    if packed.length > max_bytes(array):
        raise UnsafeFile(where, f"declares {packed.length} packed bytes, more than any recording has")
    # A local header is 30 bytes, the name and an extra field whose length only it knows.
    guess = 30 + len(name.encode()) + 32
    start = packed.offset
    content = read(start, start + guess + packed.length)
    name_length = int.from_bytes(content[26:28], "little")
    if content[:4] != b"PK\x03\x04" or content[30 : 30 + name_length] != name.encode():
        raise UnreadableFile(where, "the zip directory points at something else")
    skip = 30 + name_length + int.from_bytes(content[28:30], "little")
    missing = skip + packed.length - len(content)
    if missing > 0:
        content += read(start + len(content), start + len(content) + missing)
    body = memoryview(content)[skip : skip + packed.length]
    if len(body) < packed.length:
        raise TruncatedFile(where, f"its directory declares {packed.length} packed bytes, {len(body)} are there")
    plain = _inflate(body, packed.compression, array, where)
    if isal_zlib.crc32(plain) != packed.crc32:
        raise UnreadableFile(where, "its checksum does not match")
    return _values(plain, array, where, len(plain))


def _inflate(packed: memoryview, compression: int, array: Array, where: str) -> Any:
    _check_method(compression, where)
    if compression == zipfile.ZIP_STORED:
        return packed
    try:
        pieces = _inflated(packed[start : start + _STEP] for start in range(0, len(packed), _STEP))
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
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub has an instance
        raise UnreadableFile(where, f"damaged: {error}") from error
    return plain[:at]


def _inflated(packed: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """What a DEFLATE stream holds, in steps: zlib copies what it has not read yet, and all that it has written."""
    stream = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS)
    for step in packed:
        rest: Any = step
        while rest and not stream.eof:
            yield stream.decompress(rest, _STEP)
            rest = stream.unconsumed_tail
    while not stream.eof and (piece := stream.decompress(b"", _STEP)):
        yield piece


def unpack(file: BinaryIO, packed: Packed, name: str, array: Array, path: str) -> Iterator[bytes]:
    """The NPY that is a member of a zip, in steps; as ``read_packed``, but nothing of it is in memory.

    Raises:
        TruncatedFile, UnreadableFile, UnsafeFile: also at the end, where the checksum is compared.
    """
    where = f"{path}::{name}"
    file.seek(packed.offset)
    head = file.read(30)
    if head[:4] != b"PK\x03\x04" or file.read(int.from_bytes(head[26:28], "little")) != name.encode():
        raise UnreadableFile(where, "the zip directory points at something else")
    file.seek(int.from_bytes(head[28:30], "little"), os.SEEK_CUR)

    def steps() -> Iterator[bytes]:
        left = packed.length
        while left:
            step = file.read(min(left, _STEP))
            if not step:
                raise TruncatedFile(where, f"its directory declares {packed.length} packed bytes, {left} are missing")
            left -= len(step)
            yield step

    crc32, length, limit = 0, 0, max_bytes(array)
    try:
        for piece in steps() if packed.compression == zipfile.ZIP_STORED else _inflated(steps()):
            if not length:
                with suppress(WrongType):  # a whole file nevertheless
                    offset, shape, dtype = _declared(piece[:MAX_HEADER_BYTES], array, where)
                    limit = offset + math.prod(shape) * dtype.itemsize
            length += len(piece)
            if length > limit:
                raise UnsafeFile(where, f"inflates beyond the {limit} bytes of the array it declares")
            crc32 = isal_zlib.crc32(piece, crc32)
            yield piece
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub has an instance
        raise UnreadableFile(where, f"damaged: {error}") from error
    if crc32 != packed.crc32:
        raise UnreadableFile(where, "its checksum does not match")
