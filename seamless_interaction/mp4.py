"""MP4: what its index says, read without decoding a frame.

``probe_video`` reads a header and tells every way in which a file is broken apart. ``read_frames``
also tells when each frame is shown and from where it can be decoded.

Boxes and their fields are ISO/IEC 14496-12's, the sequence parameter set ITU-T H.264's.
"""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from seamless_interaction import files
from seamless_interaction.errors import EmptyFile, NoVideoStream, TruncatedFile, UnreadableFile

if TYPE_CHECKING:
    import av
    import numpy as np

__all__ = ["FrameIndex", "VideoHeader", "probe_video", "read_frames"]

# --- boxes ----------------------------------------------------------------------------------------

_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"pdin", b"uuid"}
_DATA_BOXES = {b"moov", b"moof", b"mdat"}
_MAX_BOXES = 64  # at top level; a fragmented file has thousands, and the first ones tell what it is
_MAX_INDEX = 256 << 20  # bytes of a `moov`; one of an hour at 30 fps has about 3 MB


class _Box(NamedTuple):
    kind: bytes
    start: int  # of the content
    end: int


def _top_boxes(path: str, file: BinaryIO) -> dict[bytes, _Box]:
    """First box of each kind at top level, from their headers alone (8 or 16 bytes a box).

    Raises:
        EmptyFile: no bytes. UnreadableFile: not an MP4. TruncatedFile: a box with data ends behind
            the file's end, or there is no ``moov``, which a writer puts down last.
    """
    size = files.file_size(file)
    if not size:
        raise EmptyFile(path, "0 bytes")
    boxes: dict[bytes, _Box] = {}
    at = 0
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
        boxes.setdefault(kind, _Box(kind, start, end))
        if end == size:
            break
        at = end
    if b"moov" not in boxes:
        if not boxes:
            raise UnreadableFile(path, f"not an MP4: {size} bytes")
        raise TruncatedFile(path, f"no index (moov box) in its {size} bytes. Fetch it again.")
    return boxes


def _children(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The boxes within a box's content."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8 or at + length > len(data):
            return
        yield kind, data[at + 8 : at + length]
        at += length


def _inside(data: memoryview, *kinds: bytes) -> memoryview:
    """Content of the box at a path of kinds, empty if there is none."""
    for kind in kinds:
        data = next((content for found, content in _children(data) if found == kind), memoryview(b""))
    return data


# --- header ---------------------------------------------------------------------------------------


class VideoHeader(NamedTuple):
    """What a video's header says.

    ``duration`` in seconds; ``fps`` the average rate, frames per second; ``width`` and ``height`` of
    the stored raster in pixels, neither rotated nor stretched; ``pixel_aspect_ratio`` a pixel's width
    by its height, 1.0 where the file does not say.
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
        MissingFile, EmptyFile (no bytes, or a picture without frames), TruncatedFile (cut, or
        without its index), NoVideoStream, UnreadableFile (not an MP4).
    """
    with nullcontext(file) if file is not None else files.open_file(path) as file:
        return _probe(path, file)[0]


def _probe(path: str, file: BinaryIO) -> tuple[VideoHeader, bytes, Fraction]:
    """The header, the content of the ``moov`` and the picture's time base."""
    boxes = _top_boxes(path, file)
    box = boxes[b"moov"]
    if box.end - box.start > _MAX_INDEX:
        raise UnreadableFile(path, f"an index (moov box) of {box.end - box.start} bytes; at most {_MAX_INDEX} are read")
    file.seek(box.start)
    moov = file.read(box.end - box.start)
    fragmented = b"moof" in boxes
    # FFmpeg would read a frame and decode it, to learn the pixel format (15 ms in 4K). It gets the index alone, and
    # no codec. Only the frames of a fragmented file are listed along the file.
    index = file if fragmented else io.BytesIO(struct.pack(">I4s", 8 + len(moov), b"moov") + moov)
    with open_container(path, index, options={"codec_whitelist": "none", "probesize": "32"}) as container:
        stream = video_stream(path, container)
        time_base = stream.time_base
        if stream.codec_context is None or time_base is None or not (stream.width and stream.height):
            raise UnreadableFile(path, "a video stream of unknown codec, time base or size")
        header = _header(container, stream, fragmented)
    if not header.num_frames:
        raise EmptyFile(path, "a video stream without frames")
    if b"mdat" not in boxes:
        raise TruncatedFile(path, f"its index has {header.num_frames} frames, the file ends before them")
    return header, moov, time_base


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
    """The picture of an open file. Raises ``NoVideoStream``."""
    if not container.streams.video:
        kinds = ", ".join(stream.type for stream in container.streams) or "none"
        raise NoVideoStream(path, f"no video stream (streams: {kinds})")
    return container.streams.video[0]


def _header(container: av.container.InputContainer, stream: av.VideoStream, fragmented: bool) -> VideoHeader:
    frames = stream.frames
    if fragmented:
        frames = sum(packet.size > 0 for packet in container.demux(stream))
    if stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    else:
        duration = (container.duration or 0) / 1_000_000
    fps = float(stream.average_rate or 0) or (frames / duration if duration else 0.0)
    aspect = stream.sample_aspect_ratio or _h264_aspect(stream.codec_context.extradata) or 1
    return VideoHeader(duration, fps, frames, stream.width, stream.height, float(aspect))


# --- H.264: sequence parameter set ----------------------------------------------------------------

# H.264 table E-1, by aspect_ratio_idc; 255 means that the ratio follows.
_ASPECTS = dict(
    enumerate(
        [(1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11), (80, 33), (18, 11)]
        + [(15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1)],
        start=1,
    )
)
_CHROMA_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


class _Bits:
    """H.264's bit syntax: ``u`` fixed length, ``ue`` and ``se`` Exp-Golomb. ValueError at the end."""

    def __init__(self, data: bytes):
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def u(self, length: int) -> int:
        self.at += length
        return int(self.bits[self.at - length : self.at], 2)

    def ue(self) -> int:
        zeros = self.bits.index("1", self.at) - self.at
        self.at += zeros
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _h264_aspect(extradata: bytes | None) -> Fraction | None:
    """Pixel aspect ratio of an ``avcC`` record's first parameter set (H.264 7.3.2.1.1 and E.1.1).

    MP4s may say it here only. None if it is not said, or this is not H.264.
    """
    if not extradata or extradata[0] != 1 or len(extradata) < 8 or not extradata[5] & 31:
        return None
    length = int.from_bytes(extradata[6:8], "big")
    bits = _Bits(extradata[8 : 8 + length].replace(b"\0\0\3", b"\0\0"))
    try:
        _skip_to_vui(bits)
        if not (bits.u(1) and bits.u(1)):  # vui_parameters_present, aspect_ratio_info_present
            return None
        idc = bits.u(8)
        width, height = (bits.u(16), bits.u(16)) if idc == 255 else _ASPECTS.get(idc, (0, 0))
    except ValueError:
        return None
    return Fraction(width, height) if width and height else None


def _skip_to_vui(bits: _Bits) -> None:
    bits.u(8)  # NAL unit header
    profile = bits.u(8)
    bits.u(16), bits.ue()  # constraints and level, id
    if profile in _CHROMA_PROFILES:
        chroma = bits.ue()
        if chroma == 3:
            bits.u(1)
        bits.ue(), bits.ue(), bits.u(1)  # bit depths, lossless
        if bits.u(1):
            for i in range(12 if chroma == 3 else 8):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if i < 6 else 64)
    bits.ue()  # frame numbers
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1), bits.se(), bits.se()
        for _ in range(bits.ue()):
            bits.se()
    bits.ue(), bits.u(1), bits.ue(), bits.ue()  # reference frames, gaps, width, height
    if not bits.u(1):
        bits.u(1)  # fields
    bits.u(1)
    if bits.u(1):
        bits.ue(), bits.ue(), bits.ue(), bits.ue()  # cropping


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


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
    header, moov, time_base = _probe(path, file)
    index = _table_index(time_base, moov, header.num_frames, files.file_size(file))
    if index is None:
        with open_container(path, file) as container:
            index = _packet_index(path, time_base, container)
    return header, index


def _table_index(time_base: Fraction, moov: bytes, frames: int, size: int) -> FrameIndex | None:
    """The index as the file's own sample tables give it.

    None where they alone do not: fragments, an edit list that cuts, or tables that contradict
    themselves. ``frames`` is what the header says, ``size`` the file's, in bytes.
    """
    try:
        track = next(
            content
            for kind, content in _children(memoryview(moov))
            if kind == b"trak" and bytes(_inside(content, b"mdia", b"hdlr")[8:12]) == b"vide"
        )
        tables = dict(_children(_inside(track, b"mdia", b"minf", b"stbl")))
        pts, dts, keys = _table_times(tables, min(frames, size))
        if len(pts) != frames:
            return None
        start = _edited_start(memoryview(moov), track, int(pts.min()), int(pts.max()))
        shift = int(pts.min()) - start
        end = start + _scale(_inside(track, b"mdia", b"mdhd"))[1]
        return FrameIndex.of(time_base, pts - shift, dts - shift, keys, end)
    except (StopIteration, struct.error, ValueError, LookupError, ArithmeticError):
        return None


def _table_times(tables: Mapping[bytes, memoryview], limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When frames are shown and decoded, in decoding order, and which are key frames; of ``limit`` frames at most.

    Raises ``ValueError`` (among others) if the tables contradict themselves.
    """
    import numpy as np

    def rows(kind: bytes, width: int) -> np.ndarray:
        """A table of big-endian 32-bit numbers: version and flags, number of rows, rows."""
        numbers = np.frombuffer(tables[kind][4:], ">i4")
        return numbers[1 : 1 + int(numbers[0]) * width].reshape(-1, width).astype(np.int64)

    def spread(kind: bytes) -> np.ndarray:
        counts, values = rows(kind, 2).T
        if counts.min() < 0 or counts.sum() > limit:
            raise ValueError(kind)
        return np.repeat(values, counts)

    steps = spread(b"stts")
    dts = np.cumsum(steps) - steps
    delays = spread(b"ctts") if b"ctts" in tables else np.zeros_like(dts)
    keys = rows(b"stss", 1)[:, 0] - 1 if b"stss" in tables else np.arange(len(dts))
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


def _packet_index(path: str, time_base: Fraction, container: av.container.InputContainer) -> FrameIndex:
    """The index as the packets give it; reads the whole file."""
    import numpy as np

    demuxed = container.demux(video_stream(path, container))
    packets = [p for p in demuxed if p.pts is not None and not p.is_discard]  # the last one is empty
    keys = [place for place, p in enumerate(packets) if p.is_keyframe]
    if not keys:
        raise UnreadableFile(path, f"no key frame among {len(packets)} frames")
    pts = np.array([p.pts for p in packets], np.int64)
    dts = np.array([p.pts if p.dts is None else p.dts for p in packets], np.int64)
    end = int(pts.max()) + (packets[pts.argmax()].duration or 0)
    return FrameIndex.of(time_base, pts, dts, np.array(keys), end)
