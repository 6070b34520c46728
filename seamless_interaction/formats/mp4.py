"""MP4: what its index says, read without decoding a frame.

``probe_video`` reads a header and tells every way in which a file is broken apart. ``read_frames``
also tells when each frame is shown and from where it can be decoded.

Boxes and their fields are ISO/IEC 14496-12's, the sequence parameter set ITU-T H.264's.
"""

from __future__ import annotations

import errno
import io
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from seamless_interaction.errors import EmptyFile, NoVideoStream, TruncatedFile, UnreadableFile
from seamless_interaction.formats.h264 import h264_says
from seamless_interaction.places import ranges
from seamless_interaction.places.ranges import RangeFile

if TYPE_CHECKING:
    import av
    import numpy as np

__all__ = ["FrameIndex", "VideoHeader", "probe_video", "read_frames"]

# --- boxes ----------------------------------------------------------------------------------------

_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"pdin", b"uuid"}
_DATA_BOXES = {b"moov", b"moof", b"mdat"}
_INNER_BOXES = {b"trak", b"mdia", b"minf", b"stbl", b"traf", b"cmov"}  # FFmpeg would take them wherever they are
_MAX_BOXES = 1 << 16  # at top level: an hour in fragments of a frame each has more than any other, and half as many
_MAX_SIDE = 1 << 14  # pixels; more than any level of H.264 has
_MAX_INDEX = 64 << 20  # bytes of a `moov`, or of all `moof`; one of an hour at 30 fps has about 3 MB
_MAX_SAMPLES = 1 << 21  # of all tracks; ten hours have as many. FFmpeg spends some 30 bytes on each


class _Box(NamedTuple):
    kind: bytes
    start: int  # of the content
    end: int


def _top_boxes(path: str, file: BinaryIO) -> dict[bytes, list[_Box]]:
    """The boxes of each kind at top level, from their headers alone (8 or 16 bytes a box).

    Raises:
        EmptyFile: no bytes. UnreadableFile: not an MP4, more boxes than any has, or one that belongs into another.
        TruncatedFile: a box with data ends behind the file's end, or there is no ``moov``, which a writer puts down
            last.
    """
    size = ranges.file_size(file)
    if not size:
        raise EmptyFile(path, "0 bytes")
    boxes: dict[bytes, list[_Box]] = {}
    at, last = 0, b""
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head[:8])
        start = at + 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack(">Q", head[8:])[0], at + 16
        end = at + length if length else size  # 0: to the end of the file
        if not boxes and kind not in _FIRST_BOXES:
            raise UnreadableFile(path, f"not an MP4: begins with {head!r}")
        if end < start or end > size:
            if kind in _DATA_BOXES or not boxes:
                name = kind.decode("latin-1")
                raise TruncatedFile(path, f"its {name} box ends at byte {end}, the file at {size}. Fetch it again.")
            break  # trailing bytes that are no box
        if kind in _INNER_BOXES:
            raise UnreadableFile(path, f"a {kind.decode('latin-1')} box outside of its index")
        boxes.setdefault(kind, []).append(_Box(kind, start, end))
        if kind in _DATA_BOXES:
            last = kind
        if end == size:
            break
        at = end
    else:
        raise UnreadableFile(path, f"more than {_MAX_BOXES} boxes")
    if b"moov" not in boxes:
        if not boxes:
            raise UnreadableFile(path, f"not an MP4: {size} bytes")
        raise TruncatedFile(path, f"no index (moov box) in its {size} bytes. Fetch it again.")
    if last == b"moof":
        raise TruncatedFile(path, f"it ends at byte {size}, within a fragment. Fetch it again.")
    return boxes


def _spans(data: memoryview, at: int, end: int) -> Iterator[_Box]:
    """The boxes within a box's content, which lies from ``at`` to ``end``."""
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8 or at + length > end:
            return
        yield _Box(kind, at + 8, at + length)
        at += length


def _children(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    for box in _spans(data, 0, len(data)):
        yield box.kind, data[box.start : box.end]


def _inside(data: memoryview, *kinds: bytes) -> memoryview:
    """Content of the box at a path of kinds, empty if there is none."""
    for kind in kinds:
        data = next((content for found, content in _children(data) if found == kind), memoryview(b""))
    return data


# --- how much an index asks for -------------------------------------------------------------------

_TABLES = {b"stts", b"ctts", b"stss", b"stps", b"stsc", b"stsz", b"stz2", b"stco", b"co64", b"sdtp", b"sbgp", b"trun"}
_AROUND_TABLES = {b"trak", b"mdia", b"minf", b"stbl", b"traf"}
_DEPTH = 6  # of boxes within boxes, from which on a table belongs nowhere
_LISTS_FRAMES = re.compile(b"stsz|stz2|stts|ctts|trun|cmov")  # the last is an index that FFmpeg would unpack
_AT_ONCE = 1024  # samples of sound that is not compressed, of which FFmpeg makes one entry


def read_moov(path: str, file: BinaryIO, boxes: Mapping[bytes, list[_Box]] | None = None) -> bytes:
    """The content of an MP4's ``moov``, once it is known that FFmpeg can be given the file.

    A few bytes may tell of any number of frames, and FFmpeg takes memory for each.

    Args:
        boxes: as ``_top_boxes`` gives them, if that was asked before.

    Raises:
        UnreadableFile: more bytes or frames than any recording has, or tables where none belong. Also as
            ``_top_boxes``.
    """
    boxes = _top_boxes(path, file) if boxes is None else boxes
    read = [box for kind in (b"moov", b"moof", b"udta", b"meta") for box in boxes.get(kind, [])]
    if (size := sum(box.end - box.start for box in read)) > _MAX_INDEX:
        raise UnreadableFile(path, f"an index (moov box) of {size} bytes; at most {_MAX_INDEX} are read")
    moov, samples = None, 0
    for box in read:
        file.seek(box.start)
        content = file.read(box.end - box.start)
        moov = content if moov is None else moov  # the first, which may be empty
        samples += sum(_samples_in(path, content))
        if samples > _MAX_SAMPLES:
            raise UnreadableFile(
                path, f"an index of {samples} frames and pieces of sound; at most {_MAX_SAMPLES} are read"
            )
    assert moov is not None  # without one, it is no whole file
    return moov


def _samples_in(path: str, content: bytes) -> Iterator[int]:
    """How many frames each box within a ``moov`` or ``moof`` lists. Raises ``UnreadableFile`` for tables elsewhere."""
    data, rest, at = memoryview(content), bytearray(), 0
    for box in _spans(data, 0, len(data)):
        spans = sorted(_tables(data, box), key=lambda table: table.start)
        for table in spans:
            rest += data[at : table.start - 8]
            at = table.end
        if spans:
            inner = data[box.start : box.end]
            is_sound = bytes(_inside(inner, b"mdia", b"hdlr")[8:12]) == b"soun" and b"vide" not in bytes(inner)
            yield _samples_of([(table.kind, data[table.start : table.end]) for table in spans], is_sound)
    rest += data[at:]
    if elsewhere := _LISTS_FRAMES.search(rest):
        raise UnreadableFile(path, f"a {elsewhere[0].decode()} box where none belongs")


def _tables(data: memoryview, box: _Box, depth: int = 0) -> Iterator[_Box]:
    for inner in _spans(data, box.start, box.end) if box.kind in _AROUND_TABLES and depth < _DEPTH else ():
        if inner.kind in _TABLES:
            yield inner
        yield from _tables(data, inner, depth + 1)


def _samples_of(tables: list[tuple[bytes, memoryview]], is_sound: bool) -> int:
    """Entries that FFmpeg makes by the tables of a track, or of a fragment's part of it."""
    import numpy as np

    of = dict(tables)
    if is_sound and {b"stsz", b"stts", b"stsc"} <= set(of) and len(of) == len(tables):
        each, steps = int.from_bytes(of[b"stsz"][4:8], "big"), _rows(of[b"stts"], 2)
        if each and steps[:, 1].tolist() == [1]:  # not compressed: by chunk, and not by sample
            first, in_each, _ = _rows(of[b"stsc"], 3, ">u4").T
            chunks = len(_rows(of.get(b"stco", memoryview(b"")), 1)) + len(_rows(of.get(b"co64", memoryview(b"")), 2))
            runs = np.diff(np.append(first, chunks + 1)).clip(0)
            return int((runs * -(-in_each // _AT_ONCE)).sum())
    in_runs = sum(int.from_bytes(table[4:8], "big") for kind, table in tables if kind == b"trun")
    sizes = [int.from_bytes(table[8:12], "big") for kind, table in tables if kind in (b"stsz", b"stz2")]
    times = [int(_rows(table, 2, ">u4")[:, 0].sum()) for kind, table in tables if kind in (b"stts", b"ctts")]
    return max(in_runs, *sizes, *times, 0)


# --- header ---------------------------------------------------------------------------------------


class VideoHeader(NamedTuple):
    """What a video's header says.

    ``duration`` in seconds; ``fps`` the average rate, frames per second; ``num_frames`` those that are shown, which an
    edit list may restrict; ``width`` and ``height`` of the stored raster in pixels, neither rotated nor stretched, as
    H.264 says itself, else the container; ``pixel_aspect_ratio`` a pixel's width by its height, 1.0 where the file does
    not say. Of several pictures, such as a cover, it is the one with the most frames.
    """

    duration: float
    fps: float
    num_frames: int
    width: int
    height: int
    pixel_aspect_ratio: float


def probe_video(path: str, file: BinaryIO | None = None) -> VideoHeader:
    """Read an MP4's header; no frame is decoded, no media data read.

    Args:
        path: of the file, or its fsspec URL; only named in messages if ``file`` is given.
        file: the open file, seekable. It is left open, at no particular position.

    Raises:
        MissingFile, EmptyFile (no bytes, or a picture without frames), TruncatedFile (cut, without
        its index, or with one that leads beyond its end), NoVideoStream, UnreadableFile (not an MP4).
    """
    with nullcontext(file) if file is not None else ranges.open_file(path) as file:
        return _probe(path, file)[0]


def _probe(path: str, file: BinaryIO) -> tuple[VideoHeader, FrameIndex | None]:
    """The header, and the frame index unless it takes the media to make it."""
    boxes = _top_boxes(path, file)
    moov = read_moov(path, file, boxes)
    size = ranges.file_size(file)
    is_fragmented = b"moof" in boxes
    # FFmpeg would read a frame and decode it, to learn the pixel format (15 ms in 4K). It gets the index alone, and
    # no codec. Only the frames of a fragmented file are listed along the file.
    with open_container(path, file if is_fragmented else _moov_alone(moov), options=_NO_CODEC) as container:
        stream = video_stream(path, container)
        track = _track(moov, stream.id)
        width, height = _raster(stream, track) if stream.codec_context else (0, 0)
        if stream.time_base is None or not (width and height):
            raise UnreadableFile(path, "a video stream of unknown codec, time base or size")
        if not (is_fragmented or stream.frames):
            raise EmptyFile(path, "a video stream without frames")
        if b"mdat" not in boxes:
            raise TruncatedFile(path, f"its index has {stream.frames} frames, the file ends before them")
        index = _packet_index(path, container) if is_fragmented else _table_index(path, moov, track, stream, size)
        if index is not None:
            frames, ticks = len(index.pts), stream.duration
        else:
            with open_container(path, _without_media(moov, size), options=_NO_CODEC) as listed:
                shown = _shown(path, listed)
            frames, ticks = len(shown), _end(shown)
            if frames != stream.frames and not _inside(track, b"edts", b"elst"):
                raise UnreadableFile(path, f"its index has {stream.frames} frames, of which {frames} lie somewhere")
        duration = (container.duration or 0) / 1_000_000 if ticks is None else float(ticks * stream.time_base)
        fps = float(stream.average_rate or 0) or (frames / duration if duration else 0.0)
        aspect = stream.sample_aspect_ratio or h264_says(stream).aspect or 1
        return VideoHeader(duration, fps, frames, width, height, float(aspect)), index


_NO_CODEC = {"codec_whitelist": "none", "probesize": "32"}


def _moov_alone(moov: bytes) -> io.BytesIO:
    return io.BytesIO(struct.pack(">I4s", 8 + len(moov), b"moov") + moov)


def _without_media(moov: bytes, size: int) -> BinaryIO:
    """A file as large as that with this ``moov``, with media of zeros: FFmpeg lists its packets all the same."""
    head = _moov_alone(moov).getvalue()
    head += struct.pack(">I4sQ", 1, b"mdat", max(size - len(head), 16))

    def read(start: int, end: int) -> bytes:
        return head[start:end] + bytes(end - max(start, len(head), 0) if end > len(head) else 0)

    return cast("BinaryIO", RangeFile(read, max(size, len(head))))


def _track(moov: bytes, number: int) -> memoryview:
    """The ``trak`` of a number, as ``tkhd`` has it; empty if there is none."""
    for kind, content in _children(memoryview(moov)):
        if kind == b"trak":
            header = bytes(_inside(content, b"tkhd"))
            if int.from_bytes(header[20:24] if header[:1] == b"\1" else header[12:16], "big") == number:
                return content
    return memoryview(b"")


def load_pyav() -> None:
    """Import what PyAV itself imports as late as its first file with such a stream.

    A process that is forked while a thread imports something waits for it for ever, so threads should not have to.
    """
    for name in ("av.audio.codeccontext", "av.data.stream", "av.subtitles.stream", "av.video.codeccontext"):
        with suppress(ImportError):  # not each version has all
            import_module(name)


@contextmanager
def open_container(path: str, file: BinaryIO, **options: Any) -> Iterator[av.container.InputContainer]:
    """The file opened by FFmpeg. Raises ``UnreadableFile``, also for FFmpeg's errors in the block."""
    import av

    file.seek(0)
    # Until PyAV 19, which has no such choice, metadata that are not UTF-8 were an error of the file.
    lenient: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
    with ffmpeg_errors(path), av.open(file, "r", format="mp4", **lenient, **options) as container:
        yield container


@contextmanager
def ffmpeg_errors(path: str, what: str = "not an MP4 that FFmpeg reads") -> Iterator[None]:
    """Raise FFmpeg's errors in the block as ``UnreadableFile``."""
    import av

    try:
        yield
    except (av.error.FFmpegError, OSError, ValueError) as error:
        # A wrong index also seeks to before the file. Other errors of the file itself are not the MP4's.
        if isinstance(error, OSError) and not isinstance(error, av.error.FFmpegError) and error.errno != errno.EINVAL:
            raise
        raise UnreadableFile(path, f"{what}: {error}") from error


def video_stream(path: str, container: av.container.InputContainer) -> av.VideoStream:
    """The picture of an open file: of several that with the most frames, and no cover. Raises ``NoVideoStream``."""
    from av.stream import Disposition

    pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not pictures:
        kinds = ", ".join(stream.type for stream in container.streams) or "none"
        raise NoVideoStream(path, f"no video stream (streams: {kinds})")
    return max(pictures, key=lambda stream: stream.frames)


def _raster(stream: av.VideoStream, track: memoryview) -> tuple[int, int]:
    """Width and height. FFmpeg leaves those of MPEG-4 part 2 to its decoder, so they are the container's own."""
    said = h264_says(stream)
    if 0 < min(said.width, said.height) and max(said.width, said.height) <= _MAX_SIDE:
        return said.width, said.height
    entry = _inside(track, b"mdia", b"minf", b"stbl", b"stsd")[8:]
    return (stream.width, stream.height) if stream.width or len(entry) < 36 else struct.unpack_from(">HH", entry, 32)


# --- frame index ----------------------------------------------------------------------------------


class FrameIndex(NamedTuple):
    """When each frame is shown, and where decoding can begin. Times are in ticks of ``time_base`` seconds."""

    time_base: Fraction
    pts: np.ndarray  # (frames,) int64, ascending
    end: int  # when the last frame ends
    key_pts: np.ndarray  # (key frames,) int64, ascending
    key_dts: np.ndarray  # (key frames,) int64: what FFmpeg seeks by

    @classmethod
    def of(cls, time_base: Fraction, pts: np.ndarray, dts: np.ndarray, keys: np.ndarray, end: int) -> FrameIndex:
        """From times in decoding order, and the places of the key frames therein."""
        import numpy as np

        shown = np.sort(pts)
        return cls(time_base, shown, max(end, int(shown[-1]) + 1), pts[keys], dts[keys])


def read_frames(path: str, file: BinaryIO) -> tuple[VideoHeader, FrameIndex]:
    """Header and frame index of an open MP4. Raises as ``probe_video``.

    Reads the file's own tables; only where they do not tell, all packets, that is the whole file.
    """
    header, index = _probe(path, file)
    if index is None:
        with open_container(path, file) as container:
            index = _packet_index(path, container)
        if len(index.pts) != header.num_frames:
            raise UnreadableFile(path, f"{len(index.pts)} frames lie where its index has {header.num_frames}")
    return header, index


def _table_index(path: str, moov: bytes, track: memoryview, stream: av.VideoStream, size: int) -> FrameIndex | None:
    """The index as the file's own sample tables give it.

    None where they alone do not: an edit list that cuts, or tables that contradict themselves. ``size`` is the
    file's, in bytes.

    Raises ``TruncatedFile`` where they lead beyond it.
    """
    assert stream.time_base is not None
    try:
        tables = dict(_children(_inside(track, b"mdia", b"minf", b"stbl")))
        if (end := _media_end(tables, min(stream.frames, size))) > size:
            raise TruncatedFile(
                path, f"by its index, frames lie up to byte {end}, and it ends at {size}. Fetch it again."
            )
        pts, dts, keys = _table_times(tables, min(stream.frames, size))
        if len(pts) != stream.frames:
            return None
        start = _edited_start(memoryview(moov), track, int(pts.min()), int(pts.max()))
        shift = int(pts.min()) - start
        end = start + _scale(_inside(track, b"mdia", b"mdhd"))[1]
        return FrameIndex.of(stream.time_base, pts - shift, dts - shift, keys, end)
    except (struct.error, ValueError, LookupError, ArithmeticError):
        return None


def _rows(table: memoryview, width: int, dtype: str = ">i4") -> np.ndarray:
    """A table of big-endian numbers, (n, width) int64: version and flags, number of rows, rows, if they are there."""
    import numpy as np

    row = np.dtype(dtype).itemsize * width
    number = min(int.from_bytes(table[4:8], "big"), max(len(table) - 8, 0) // row)
    return np.frombuffer(table[8 : 8 + number * row], dtype).reshape(-1, width).astype(np.int64)


def _media_end(tables: Mapping[bytes, memoryview], limit: int) -> int:
    """Where the last of ``limit`` frames at most ends in the file, in bytes. Raises as ``_table_times``."""
    import numpy as np

    offsets = _rows(tables[b"stco"], 1, ">u4") if b"stco" in tables else _rows(tables[b"co64"], 1, ">i8")
    each, number = struct.unpack_from(">II", tables[b"stsz"], 4)
    if number > limit:
        raise ValueError("more frames than there are")
    sizes = np.full(number, each) if each else _rows(tables[b"stsz"][4:], 1, ">u4")[:, 0]
    first, in_each, _ = _rows(tables[b"stsc"], 3).T
    chunks = np.diff(np.append(first - 1, len(offsets)))
    if chunks.min() < 0 or in_each.min() < 0 or int((chunks * in_each).sum()) != number:
        raise ValueError("frames without a place")
    ends = np.cumsum(np.repeat(in_each, chunks))
    return int((offsets[:, 0] + np.diff(np.append(0, np.cumsum(sizes))[ends], prepend=0)).max())


def _table_times(tables: Mapping[bytes, memoryview], limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When frames are shown and decoded, in decoding order, and which are key frames; of ``limit`` frames at most.

    Raises ``ValueError`` (among others) if the tables contradict themselves.
    """
    import numpy as np

    def spread(kind: bytes) -> np.ndarray:
        counts, values = _rows(tables[kind], 2).T
        if counts.min() < 0 or counts.sum() > limit:
            raise ValueError(kind)
        return np.repeat(values, counts)

    steps = spread(b"stts")
    dts = np.cumsum(steps) - steps
    delays = spread(b"ctts") if b"ctts" in tables else np.zeros_like(dts)
    keys = _rows(tables[b"stss"], 1)[:, 0] - 1 if b"stss" in tables else np.arange(len(dts))
    if steps.min() < 0 or len(delays) != len(dts) or keys.min() < 0:
        raise ValueError("time runs backwards, or a frame has no time")
    return dts + delays, dts + min(0, delays.min()), keys  # negative delays: dts as FFmpeg has them


def _edited_start(moov: memoryview, track: memoryview, first: int, last: int) -> int:
    """When the first frame is shown, given when the edit list's media show the ``first`` and the ``last`` one.

    Raises ``ValueError`` if the edit list cuts. Edits are in ticks of the movie, media in those of the track.
    """
    edits = _inside(track, b"edts", b"elst")
    if not edits:
        return first
    row = struct.Struct(">Qqi" if edits[0] == 1 else ">Iii")
    rows = [row.unpack_from(edits, at) for at in range(8, len(edits) - row.size + 1, row.size)]
    movie, media = _scale(_inside(moov, b"mvhd"))[0], _scale(_inside(track, b"mdia", b"mdhd"))[0]
    delay = sum(length for length, start, _ in rows if start == -1)  # empty edits
    shown = [(length, start) for length, start, _ in rows if start != -1]
    if len(shown) != 1 or rows[-1][1] == -1:
        raise ValueError("not one edit, after empty ones")
    length, start = shown[0]
    if start > first or (length and length * media <= (last - start) * movie):
        raise ValueError("an edit that leaves out frames")
    return (2 * delay * media + movie) // (2 * movie)


def _scale(header: memoryview) -> tuple[int, int]:
    """Ticks per second and duration in ticks, of an ``mvhd`` or ``mdhd``."""
    return struct.unpack_from(">IQ", header, 20) if header[0] == 1 else struct.unpack_from(">II", header, 12)


def _packet_index(path: str, container: av.container.InputContainer) -> FrameIndex:
    """The index as the packets give it; reads the whole file."""
    import numpy as np

    packets = _shown(path, container)
    time_base = packets[0].time_base
    keys = [place for place, p in enumerate(packets) if p.is_keyframe]
    if not keys:
        raise UnreadableFile(path, f"no key frame among {len(packets)} frames")
    pts = np.array([p.pts for p in packets], np.int64)
    dts = np.array([p.pts if p.dts is None else p.dts for p in packets], np.int64)
    return FrameIndex.of(time_base, pts, dts, np.array(keys), _end(packets))


def _end(packets: list[av.Packet]) -> int:
    """When the last frame ends, in ticks."""
    last = max(packets, key=lambda packet: packet.pts or 0)
    return (last.pts or 0) + (last.duration or 0)


def _shown(path: str, container: av.container.InputContainer) -> list[av.Packet]:
    """The packets of frames that are shown. Raises ``EmptyFile``."""
    demuxed = container.demux(video_stream(path, container))
    packets = [p for p in demuxed if p.pts is not None and not p.is_discard]  # the last one is empty
    if not packets:
        raise EmptyFile(path, "a video stream without frames")
    return packets
