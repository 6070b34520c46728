"""What is stored of a recording, as it is stored: what readers forgive on purpose is what is looked at here.

Of media the headers are read, and with ``small=False`` the samples, piece by piece. Of an array never more than a
few megabytes are in memory: what is kept is a few numbers of each row.
"""

from __future__ import annotations

import io
import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from seamless_interaction import ARRAYS, MOVEMENT_V4, FileId
from seamless_interaction.errors import AccessDenied, BadFile, SourceUnreachable, UnreadableFile
from seamless_interaction.formats.arrays import Npz, max_bytes, unpack
from seamless_interaction.formats.mp4 import VideoHeader, open_container, read_frames, read_moov
from seamless_interaction.formats.tar import contents
from seamless_interaction.places.limits import MAX_TEXT_BYTES
from seamless_interaction.places.place import Place
from seamless_interaction.places.ranges import RangeFile
from seamless_interaction.source.layout import BUNDLE, EXTENSIONS, TREE, archive_path

SENTINEL = 1e12  # of a translation without a box, and more
DEAD = 0.03  # the largest value that a dead column was seen to have

_PIECE = 1 << 22  # bytes of a file that are read at a time
_SMALL = 1 << 21  # bytes that are read of an array, and of no other payload, if little is to be read
_BLOCK = 1 << 16  # bytes that a request for a header fetches
_MAX_INDEX_BYTES = 1 << 25  # that are read of a video; the index of the longest has about a tenth
_MAX_ROW_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 14
_MAX_TABLE_BYTES = 1 << 26
_MAX_BOXES = 64
_LOCAL_HEADER = 1 << 10  # more bytes than a member of a zip has before its content


class Bytes(NamedTuple):
    """A file, or a member of one."""

    name: str  # for messages
    size: int
    read: Callable[[int, int], bytes]

    def open(self) -> Any:
        return RangeFile(self.read, self.size, _BLOCK)


class Reader:
    """A place, and a count of what was asked of it.

    Attributes:
        answered: whether it ever handed out anything.
        missing: how it answers for what is not there -> how often: ``403``, ``404`` or ``not found``.
        refusal: the last 403.
    """

    def __init__(self, place: Place):
        self.place = place
        self.num_bytes = self.num_requests = 0
        self.answered = False
        self.missing: Counter[str] = Counter()
        self.refusal: AccessDenied | None = None

    def read(self, path: str, start: int = 0, end: int = _MAX_TABLE_BYTES) -> bytes:
        self.num_requests += 1
        content = self.place.read(path, start, end)
        self.num_bytes += len(content)
        return content

    def file(self, path: str) -> Bytes | None:
        """A file of the place; None if it is not there, or refused."""
        self.num_requests += 1
        try:
            entry = self.place.stat(path)
        except (FileNotFoundError, AccessDenied) as error:
            self.missing[str(getattr(error.__context__, "status", "not found"))] += 1
            if isinstance(error, AccessDenied):
                self.refusal = error
            return None
        self.answered = True
        return Bytes(self.place.path(path), entry.size, lambda start, end: self.read(path, start, end))


class Row(NamedTuple):
    """Of the file list: one recording."""

    file_id: str
    label: str
    split: str
    batch_idx: int
    archive_idx: int
    has_imitator_movement: bool | None
    has_annotation_1p: bool | None
    has_annotation_3p: bool | None

    @property
    def vendor(self) -> str:
        return FileId.parse(self.file_id).vendor


@dataclass
class StoredArray:
    """An NPY as it is stored.

    Attributes:
        num_bytes: of the file; None if it is not known (a member of an NPZ).
        rows: how many were looked at, from the first one on. The rest is about these.
        non_finite: values that are NaN or infinite.
        low, high: of each column, (columns,) float64; of finite values.
        is_whole: all values are integers.
        zero, huge, repeated: of each row, (rows,) bool: all zeros; ``SENTINEL`` and more; the one before again.
        values: (rows, 1), the first column; of masks only.
    """

    version: tuple[int, int]
    dtype: np.dtype
    shape: tuple[int, ...]
    is_fortran: bool
    num_bytes: int | None = None
    rows: int = 0
    non_finite: int = 0
    low: np.ndarray = field(default_factory=lambda: np.empty(0))
    high: np.ndarray = field(default_factory=lambda: np.empty(0))
    is_whole: bool = True
    zero: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    huge: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    repeated: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    values: np.ndarray | None = None


@dataclass
class StoredAudio:
    """A WAV as it is stored. ``off_grid`` counts samples that are not n / 32,768; None if none were read."""

    tag: int
    channels: int
    rate: int
    bits: int
    chunks: list[str]
    header_bytes: int
    num_samples: int
    off_grid: int | None = None
    peak: float = 0.0
    zeros: int = 0


@dataclass
class StoredVideo:
    """An MP4 as its index tells it. ``sound`` is codec, rate and channels; ``key_gaps`` are in frames."""

    header: VideoHeader
    boxes: list[str]
    codec: str
    sound: tuple[str, int, int] | None
    tracks: list[str]
    timecode: str | None
    key_gaps: list[int]
    first_pts: float


@dataclass
class StoredText:
    """A text file, or a list of a bundle's JSON. ``form`` says how it is written; ``records`` is what it holds."""

    form: str
    records: list[Any]


@dataclass
class Observed:
    """All that was found of one recording.

    Attributes:
        files: part of a tree, or extension of a bundle -> bytes.
        problems: part or extension -> why it could not be read.
        npz: member -> its method of compression.
        bundle: of its JSON: the keys, the id, whether it is indented.
        drafts: paths that only early drafts have.
        v4: feature of ``movement_v4`` -> its header.
        neighbours: names in the recording's tar, in their order.
    """

    row: Row
    layout: str
    files: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, StoredArray] = field(default_factory=dict)
    audio: StoredAudio | None = None
    video: StoredVideo | None = None
    texts: dict[str, StoredText] = field(default_factory=dict)
    npz: dict[str, int] | None = None
    bundle: dict[str, Any] | None = None
    drafts: list[str] | None = None
    v4: dict[str, StoredArray] | None = None
    neighbours: list[str] | None = None


def look(reader: Reader, layout: str, row: Row, small: bool) -> Observed:
    """Read what there is of a recording.

    Args:
        small: little: headers, texts, masks, and the first two megabytes of other arrays.

    Raises:
        SourceUnreachable
    """
    seen = Observed(row, layout)
    if layout == "tree":
        _look_at_tree(reader, seen, small)
    else:
        _look_at_bundle(reader, seen, small)
    return seen


def _attempt(seen: Observed, name: str, do: Callable[[], object]) -> None:
    """Keep what is wrong with one file, whatever it is, and go on with the next."""
    try:
        do()
    except SourceUnreachable:
        raise
    except Exception as error:
        seen.problems[name] = f"{type(error).__name__}: {error}"


def _look_at_tree(reader: Reader, seen: Observed, small: bool) -> None:
    row = seen.row
    root = f"{row.label}/{row.split}"
    for part, (extension, (directory, *drafts)) in TREE.items():
        if part in MOVEMENT_V4:
            continue
        file = reader.file(f"{root}/{directory}/{row.file_id}{extension}")
        if file is not None:
            seen.files[part] = file.size
            _attempt(seen, part, lambda part=part, file=file: _look_at_part(seen, part, file, small))  # type: ignore[misc]
        paths = (f"{root}/{draft}/{row.file_id}{extension}" for draft in drafts)
        seen.drafts = [*(seen.drafts or []), *(path for path in paths if reader.file(path))]
    seen.v4 = {}
    for feature in (array.feature for array in MOVEMENT_V4.values()):
        file = reader.file(f"{root}/movement_v4/{feature}/{row.file_id}.npy")
        if file is not None:
            _attempt(seen, f"movement_v4:{feature}", lambda f=feature, file=file: _look_at_v4(seen, f, file))  # type: ignore[misc]


def _look_at_v4(seen: Observed, feature: str, file: Bytes) -> None:
    assert seen.v4 is not None
    seen.v4[feature] = read_array(_pieces(file, _SMALL), file.name, file.size)


def _look_at_part(seen: Observed, part: str, file: Bytes, small: bool) -> None:
    if part in ARRAYS:
        limit = max_bytes(ARRAYS[part]) if not small or ARRAYS[part].is_mask else _SMALL
        seen.arrays[part] = read_array(_pieces(file, limit), file.name, file.size, ARRAYS[part].is_mask)
    elif part == "audio":
        seen.audio = read_audio(file, not small)
    elif part == "video":
        seen.video = read_video(file)
    else:
        seen.texts[part] = read_text(file.read(0, MAX_TEXT_BYTES))


def _look_at_bundle(reader: Reader, seen: Observed, small: bool) -> None:
    row = seen.row
    folder = archive_path(row.label, row.split, row.batch_idx, row.archive_idx)
    files: dict[str, Bytes | None] = {}
    if seen.layout == "bundles":
        files = {extension: reader.file(f"{folder}/{row.file_id}{extension}") for extension in EXTENSIONS}
    elif (tar := reader.file(f"{folder}.tar")) is not None:
        _attempt(seen, "tar", lambda: files.update(_members(seen, tar)))
    for extension, file in files.items():
        if file is not None:
            seen.files[extension] = file.size
            do = {".npz": _look_at_npz, ".json": _look_at_json}.get(extension)
            if do:
                _attempt(seen, extension, lambda do=do, file=file: do(seen, file, small))  # type: ignore[misc]
            elif part := {".wav": "audio", ".mp4": "video"}.get(extension):
                _attempt(seen, part, lambda part=part, file=file: _look_at_part(seen, part, file, small))  # type: ignore[misc]


def _members(seen: Observed, tar: Bytes) -> dict[str, Bytes]:
    """Of a tar, those of the recording, by extension."""
    found = contents(tar.read, tar.size, tar.name)
    seen.neighbours = [member.name for member in found.members]
    seen.problems |= {name or "tar": str(error) for name, error in found.problems}
    return {
        member.name[len(seen.row.file_id) :]: Bytes(
            f"{tar.name}::{member.name}", member.size, _within(tar, member.offset, member.size)
        )
        for member in found.members
        if member.name.startswith(f"{seen.row.file_id}.")
    }


def _within(whole: Bytes, offset: int, size: int) -> Callable[[int, int], bytes]:
    return lambda start, end: whole.read(offset + start, offset + min(end, size))


def _look_at_npz(seen: Observed, file: Bytes, small: bool) -> None:
    npz = Npz(file.read, file.size, file.name)
    seen.npz = {name: packed.compression for name, packed in npz.members.items()}

    def keep(key: str) -> None:
        member, array = BUNDLE[key][1] or "", ARRAYS[key]
        packed = npz.packed(member)
        if packed is None:
            return
        end = min(file.size, packed.offset + packed.length + _LOCAL_HEADER)  # not of the next one
        source: Any = RangeFile(file.read, end, _SMALL // 8 if small else _PIECE)
        pieces = unpack(source, packed, member, array, file.name)
        limit = max_bytes(array) if not small or array.is_mask else _SMALL
        seen.arrays[key] = read_array(_first(pieces, limit), f"{file.name}::{key}", None, array.is_mask)

    for key in ARRAYS:
        _attempt(seen, key, partial(keep, key))


def _look_at_json(seen: Observed, file: Bytes, small: bool) -> None:
    content = file.read(0, MAX_TEXT_BYTES)
    value = json.loads(content)
    if not isinstance(value, dict):
        raise UnreadableFile(file.name, f"not an object but a {type(value).__name__}")
    seen.bundle = {"keys": sorted(value), "id": value.get("id"), "is_indented": b"\n " in content}
    for part, (extension, member) in BUNDLE.items():
        if extension == ".json" and member in value:
            records = value[member]
            is_list = isinstance(records, list)
            seen.texts[part] = StoredText(
                "a list" if is_list else f"a {type(records).__name__}", records if is_list else []
            )


# --- arrays ---------------------------------------------------------------------------------------


def _pieces(file: Bytes, limit: int) -> Iterator[bytes]:
    """A file from its first byte on, as much of it as the limit says."""
    end = min(file.size, limit)
    return (file.read(at, min(at + _PIECE, end)) for at in range(0, end, _PIECE))


def _first(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The same of what comes in pieces."""
    for piece in pieces:
        yield piece
        limit -= len(piece)
        if limit <= 0:
            return


def read_array(pieces: Iterator[bytes], name: str, num_bytes: int | None, keep: bool = False) -> StoredArray:
    """An NPY from its bytes: the header, and of the values what ``StoredArray`` tells.

    Args:
        pieces: from the first byte on; they may end anywhere.
        keep: the first column's values too.

    Raises:
        UnreadableFile: not an NPY; or its values are objects, or its rows longer than any known.
    """
    head = next(pieces, b"")
    stream = io.BytesIO(head[:_MAX_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(stream)
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = parse(stream, max_header_size=_MAX_HEADER_BYTES)
    except Exception as error:  # NumPy's parser lets through whatever Python's own raises at such text
        raise UnreadableFile(name, f"not an NPY: begins with {head[:16]!r} ({error})") from error
    stored = StoredArray(version, dtype, shape, is_fortran, num_bytes)
    columns = int(np.prod(shape[1:], dtype=object)) if shape else 0
    if dtype.kind not in "fbiu" or not 0 < columns * dtype.itemsize <= _MAX_ROW_BYTES:
        return stored
    if is_fortran and columns > 1:  # rows do not follow one another
        return stored
    kept: list[np.ndarray] = []
    flags: dict[str, list[np.ndarray]] = {"zero": [], "huge": [], "repeated": []}
    last = np.full(columns, np.nan)
    for rows in _rows(head[stream.tell() :], pieces, dtype, columns):
        rows = rows[: shape[0] - stored.rows]
        if not len(rows):
            break
        finite = np.isfinite(rows)
        stored.non_finite += int((~finite).sum())
        low, high = np.where(finite, rows, np.inf).min(0), np.where(finite, rows, -np.inf).max(0)
        stored.low = np.minimum(stored.low, low) if stored.rows else low
        stored.high = np.maximum(stored.high, high) if stored.rows else high
        stored.is_whole &= bool((rows[finite] == np.floor(rows[finite])).all())
        flags["zero"].append((rows == 0).all(1))
        flags["huge"].append((np.abs(rows) >= SENTINEL).any(1))
        flags["repeated"].append((rows == np.concatenate([last[None], rows[:-1]])).all(1))
        last = rows[-1]
        stored.rows += len(rows)
        if keep:
            kept.append(rows[:, :1])
    for flag, found in flags.items():
        setattr(stored, flag, np.concatenate([np.empty(0, bool), *found]))
    stored.values = np.concatenate(kept) if kept else None
    return stored


def _rows(rest: bytes, pieces: Iterator[bytes], dtype: np.dtype, columns: int) -> Iterator[np.ndarray]:
    """Whole rows of consecutive bytes, (n, columns) float64."""
    width = columns * dtype.itemsize
    while True:
        whole = len(rest) // width * width
        for start in range(0, whole, max(width, _SMALL // width * width)):  # as float64 they take more
            values = np.frombuffer(rest[start : min(whole, start + max(width, _SMALL // width * width))], dtype)
            yield values.reshape(-1, columns).astype(np.float64)
        piece = next(pieces, b"")
        if not piece:
            return
        rest = rest[whole:] + piece


# --- media ----------------------------------------------------------------------------------------


def read_audio(file: Bytes, whole: bool) -> StoredAudio:
    """A WAV's chunks; if ``whole``, also its samples, piece by piece.

    Raises:
        UnreadableFile: not a WAV.
    """
    head = file.read(0, min(file.size, _BLOCK))
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise UnreadableFile(file.name, f"not a WAV: begins with {head[:12]!r}")
    chunks, form, at, data = [], (0, 0, 0, 0), 12, 0
    while at + 8 <= len(head):
        kind, length = struct.unpack_from("<4sI", head, at)
        chunks.append(kind.decode("latin-1"))
        if kind == b"fmt " and len(head) >= at + 24:
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at + 8)
            form = (tag, channels, rate, bits)
        if kind == b"data":
            data = length
            break
        at += 8 + length + length % 2
    tag, channels, rate, bits = form
    if "data" not in chunks or not (channels and rate and bits >= 8):
        raise UnreadableFile(file.name, f"a WAV with the chunks {chunks}, {channels} channels, {rate} Hz, {bits} bits")
    start, stop = at + 8, min(file.size, at + 8 + data)
    stored = StoredAudio(tag, channels, rate, bits, chunks, start, (stop - start) // (channels * bits // 8))
    if whole and (tag, bits) == (3, 32):
        stored.off_grid = 0
        for begin in range(start, stop, _PIECE):
            piece = file.read(begin, min(begin + _PIECE, stop))
            samples = np.frombuffer(piece, "<f4", len(piece) // 4).astype(np.float64)
            scaled = samples * 32768
            stored.off_grid += int((scaled != np.rint(scaled)).sum())
            stored.peak = max(stored.peak, float(np.abs(samples).max(initial=0)))
            stored.zeros += int((samples == 0).sum())
    return stored


def read_video(file: Bytes) -> StoredVideo:
    """An MP4's boxes, tracks and key frames, by its index.

    Raises:
        BadFile: as ``mp4.read_frames``; also where the index alone does not tell.
    """
    read = 0

    def limited(start: int, end: int) -> bytes:
        nonlocal read
        read += end - start
        if read > _MAX_INDEX_BYTES:
            raise UnreadableFile(file.name, f"its index does not tell its frames in {_MAX_INDEX_BYTES} bytes")
        return file.read(start, end)

    source: Any = RangeFile(limited, file.size, _BLOCK)
    boxes = _boxes(limited, file.size)
    read_moov(file.name, source)
    with open_container(file.name, source, options={"codec_whitelist": "none", "probesize": "32"}) as container:
        tracks: list[str] = [stream.type for stream in container.streams]
        times = [stream.metadata.get("timecode") for stream in container.streams]
        contexts = [stream.codec_context for stream in container.streams.video]
        codec = next((context.name for context in contexts if context), "unknown")
        sounds = [stream.codec_context for stream in container.streams.audio]
        sound = next(((s.name, s.rate, len(s.layout.channels)) for s in sounds if s), None)
    try:
        header, frames = read_frames(file.name, source)
    except BadFile as error:
        seen = f"tracks: {', '.join(tracks) or 'none'}; codec {codec}; boxes: {' '.join(boxes)}"
        raise type(error)(file.name, f"{error.reason} ({seen})") from error
    keys = np.searchsorted(frames.pts, frames.key_pts)
    return StoredVideo(
        header,
        boxes,
        codec,
        sound,
        tracks,
        next((time for time in times if time), None),
        np.diff(keys).tolist(),
        float(frames.pts[0] * frames.time_base),
    )


def _boxes(read: Callable[[int, int], bytes], size: int) -> list[str]:
    found: list[str] = []
    at = 0
    while at + 8 <= size and len(found) < _MAX_BOXES:
        head = read(at, min(size, at + 16))
        length, kind = struct.unpack(">I4s", head[:8])
        found.append(kind.decode("latin-1"))
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if length < 8:  # 0: to the end of the file
            break
        at += length
    return found


# --- text -----------------------------------------------------------------------------------------


def read_text(content: bytes) -> StoredText:
    """How records are written, and the records, whatever they are."""
    if not content.strip():
        return StoredText("no bytes" if not content else "blank", [])
    try:
        records = [json.loads(line) for line in content.split(b"\n") if line.strip()]
        if len(records) > 1 or isinstance(records[0], dict):
            return StoredText(
                "one object a line" if all(isinstance(r, dict) for r in records) else "JSON a line", records
            )
    except (ValueError, RecursionError):
        records = []
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        return StoredText(f"not JSON ({error})", [])
    if isinstance(value, list):
        return StoredText("a JSON array", value)
    return StoredText(f"one {type(value).__name__}", [value])
