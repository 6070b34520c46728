"""The frames of an MP4, decoded on use."""

from __future__ import annotations

import operator
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, cached_property
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from seamless_interaction.errors import UnreadableFile
from seamless_interaction.formats import mp4
from seamless_interaction.places import ranges
from seamless_interaction.places.options import bring_options

if TYPE_CHECKING:
    import av
    import numpy as np

__all__ = ["Video"]

# --- decoding -------------------------------------------------------------------------------------

_THREADS = 4  # a decoder holds a few frames per thread; one in 4K has 12 MB
_NEAR = 16  # frames ahead that are cheaper to decode than to seek to
# Matrices between YUV and RGB by their number in ITU-T H.273, as far as FFmpeg's scaler has them: RGB itself, BT.709,
# none told (it takes BT.601's), FCC, BT.601 twice, SMPTE 240M, BT.2020. The RGB of all else would be silently wrong.
_MATRICES = {0, 1, 2, 4, 5, 6, 7, 9}
_RGB = 0


def _threads() -> int:
    """Of a decoder: several, but one in a worker, as there are workers for each core."""
    return 1 if parent_process() else min(_THREADS, os.cpu_count() or 1)


class _Decoder:
    """Frames of one open file by their number, accurate, decoding as little as that takes; for who holds ``lock``.

    Reaching back, or past the next key frame, seeks; going on forward does not. On the way to a
    frame, those that no other depends on are skipped.
    """

    def __init__(self, path: str, file: BinaryIO, header: mp4.VideoHeader, index: mp4.FrameIndex):
        from av.video.reformatter import VideoReformatter

        self._opened = ExitStack()
        self._opened.enter_context(file)
        self.path, self.header, self.index = path, header, index
        self.process, self.lock = os.getpid(), threading.Lock()
        self._rgb = VideoReformatter()
        self._frames: Iterator[av.VideoFrame] | None = None
        self._target = [0]  # pts
        self._last: tuple[int, av.VideoFrame] | None = None
        self.container = self._opened.enter_context(mp4.open_container(path, file))
        self.stream = mp4.video_stream(path, self.container)
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = _threads()
        _watch_forks()
        _live.add(self)

    def close(self) -> None:
        self._frames = self._last = None
        self._opened.close()

    def __del__(self) -> None:
        self.close()

    def frame(self, number: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Frame ``number`` (0 <= number < frames) as RGB, (height, width, 3) uint8; scaled to a (height, width)."""
        if self._last is None or self._last[0] != number:
            self._last = number, self._decode(number)
        frame, (height, width) = self._last[1], size or (None, None)
        if (frame.width, frame.height) != (self.header.width, self.header.height):
            said = f"{self.header.width}x{self.header.height}"
            raise UnreadableFile(self.path, f"a frame of {frame.width}x{frame.height}, where its header says {said}")
        if frame.colorspace not in _MATRICES:
            raise UnreadableFile(self.path, f"its colours have the matrix {int(frame.colorspace)}, not of {_MATRICES}")
        # PyAV before 17 heeds what a frame says of its colours only where it is told them.
        colours = {"src_colorspace": int(frame.colorspace), "src_color_range": int(frame.color_range)}
        return self._rgb.reformat(frame, width, height, "rgb24", dst_colorspace=_RGB, **colours).to_ndarray()

    def _decode(self, number: int) -> av.VideoFrame:
        pts = self._target[0] = int(self.index.pts[number])
        key = int(self.index.key_pts.searchsorted(pts, "right")) - 1  # -1: one that the edit list has cut away
        going_on = self._frames is not None and self._last is not None and self._near(self._last[0], number, key)
        failure = f"frame {number} of {len(self.index.pts)} does not decode"
        try:
            # From some key frames decoding only recovers, in the course of their group: then from the one before.
            for start in (None,) if going_on else (key, max(key - 1, -1)):
                if start is not None:
                    self._frames = _frames_from(self.container, self.stream, self._seek_time(start), self._target)
                assert self._frames is not None
                with mp4.ffmpeg_errors(self.path, failure):
                    frame = next((frame for frame in self._frames if frame.pts is not None and frame.pts >= pts), None)
                if frame is not None and frame.pts == pts:
                    return frame
            raise UnreadableFile(self.path, failure)
        except BaseException:
            self._frames = self._last = None
            raise

    def _seek_time(self, key: int) -> int:
        """What makes FFmpeg seek to that key frame; to one before it where groups are shorter than frames are delayed.

        FFmpeg subtracts the first frame's delay, if there is an edit list, and takes the last key frame whose dts
        is not later. Given a key frame's own dts, it would begin, and decode, a whole group too early.
        """
        key_dts = self.index.key_dts
        return int(key_dts[key + 1]) - 2 if key + 1 < len(key_dts) else self.index.end

    def _near(self, last: int, number: int, key: int) -> bool:
        """Whether to go on from frame ``last``, rather than seek to the key frame."""
        begin = int(self.index.pts.searchsorted(self.index.key_pts[key])) if key >= 0 else 0
        return last < number and begin <= last + _NEAR


def _frames_from(
    container: av.container.InputContainer, stream: av.VideoStream, time: int, target: list[int]
) -> Iterator[av.VideoFrame]:
    """Frames from a key frame on, without those before ``target[0]`` (pts) that no other needs.

    No method: a decoder that held a generator of its own would not be freed when it is dropped.
    """
    container.seek(time, stream=stream)
    for packet in container.demux(stream):
        # Frames after the target are kept, so that the next one can be had without seeking.
        skip = packet.pts is not None and packet.pts < target[0]
        stream.codec_context.skip_frame = "NONREF" if skip else "DEFAULT"
        yield from packet.decode()


_live: weakref.WeakSet[_Decoder] = weakref.WeakSet()
_forked: list[_Decoder] = []


@cache
def _watch_forks() -> None:
    """Never free, in a forked process, a decoder of its parent: that waits for threads that are not there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _forked.extend(_live))


# --- frames ---------------------------------------------------------------------------------------


@bring_options
class Video:
    """The frames of an MP4, a sequence of RGB arrays (height, width, 3), uint8; opened on use.

    Frames are the stored raster: neither rotated nor stretched by the pixel aspect. Random access is
    frame accurate and reads what it needs, from a local path as from a URL. Picklable; a pickle, and
    a forked process, opens the file anew. Threads that share one decode in turn.

    Colours are by the matrix and range that the stream tells: BT.709, BT.601, FCC, SMPTE 240M, BT.2020; another is an
    error. Where it tells none it is taken for BT.601 in the limited range, whatever the raster, as FFmpeg does.

    PyAV decodes, and frames are found by timestamp: exact on every structure tried. decord silently gave
    wrong ones on open GOPs, torchcodec where key frames are only recovered from; neither took less of the
    processor for windows of consecutive frames.

    Args:
        path: local path, or fsspec URL.
        storage_options: of the URL's file system.
        content: the file itself, if a record holds it: then the path is a name only.

    Raises on use:
        As ``probe_video``; ``UnreadableFile`` also for a frame that does not decode, that has another raster than the
        header says, or unknown colours.

    >>> video = Video("V00_S0809_I00000582_P0947.mp4")
    >>> video[0].shape, video[10:20:2].shape, video.at(seconds=1.5).shape
    ((1920, 1080, 3), (5, 1920, 1080, 3), (1920, 1080, 3))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        content: bytes | None = None,
    ):
        self.path = os.fspath(path)
        self.storage_options = dict(storage_options or {})
        self.content = content
        self._decoder: _Decoder | None = None

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.path, self.storage_options, self.content)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, once no other thread reads from it. The next use opens it again."""
        self._decoder = None

    @cached_property
    def _read(self) -> tuple[mp4.VideoHeader, mp4.FrameIndex]:
        with ranges.open_file(self.path, self.storage_options, content=self.content) as file:
            return mp4.read_frames(self.path, file)

    @property
    def header(self) -> mp4.VideoHeader:
        """What ``probe_video`` gives."""
        return self._read[0]

    @property
    def _index(self) -> mp4.FrameIndex:
        return self._read[1]

    @property
    def fps(self) -> float:
        """Average rate, frames per second."""
        return self.header.fps

    @property
    def times(self) -> np.ndarray:
        """(frames,) float64: when each frame is shown, seconds."""
        return self._index.pts * float(self._index.time_base)

    def __len__(self) -> int:
        return len(self._index.pts)

    @overload
    def __getitem__(self, which: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, which: slice) -> np.ndarray: ...
    def __getitem__(self, which: int | slice) -> np.ndarray:
        """Frame ``which``, (height, width, 3) uint8; or a slice of them, (frames, height, width, 3)."""
        if isinstance(which, slice):
            return self.get_batch(range(*which.indices(len(self))))
        number, decoder = self._number(which), self._frames()
        with decoder.lock:
            return decoder.frame(number)

    def get_batch(self, numbers: Iterable[int], size: tuple[int, int] | None = None) -> np.ndarray:
        """Frames in the order given, (frames, height, width, 3) uint8. Each is decoded once.

        Args:
            numbers: of the frames; negative ones count from the end.
            size: (height, width) in pixels to scale to, bilinear, whatever that does to the proportions; it costs
                no more than not to scale. None: the stored raster.

        Raises:
            IndexError: a number that is not of a frame; nothing is decoded then.
            ValueError: a size without pixels.
        """
        import numpy as np

        height, width = size or (self.header.height, self.header.width)
        if min(height, width) < 1:
            raise ValueError(f"no size (height, width) of a frame: {size}")
        numbers = [self._number(number) for number in numbers]
        batch = np.empty((len(numbers), height, width, 3), np.uint8)
        places: dict[int, list[int]] = {}
        for place, number in enumerate(numbers):
            places.setdefault(number, []).append(place)
        decoder = self._frames()
        with decoder.lock:
            for number in sorted(places):
                frame = decoder.frame(number, size)
                for place in places[number]:
                    batch[place] = frame
        return batch

    def at(self, seconds: float) -> np.ndarray:
        """The frame shown at a time, (height, width, 3) uint8; the first one also before its time.

        Raises:
            IndexError: a negative time, or one after the last frame's end.
        """
        return self[self.number_at(seconds)]

    def number_at(self, seconds: float) -> int:
        """The number of the frame shown at a time. Raises as ``at``."""
        index = self._index
        ticks = float(seconds) / float(index.time_base) + 0.5  # half a tick: i / fps is frame i in floating point too
        if not 0 <= seconds or not ticks <= index.end + 1:
            end = float(index.end * index.time_base)
            raise IndexError(f"{self.path}: no frame at {seconds} s, the video ends at {end} s")
        return max(int(index.pts.searchsorted(ticks, "right")) - 1, 0)

    def numbers_near(self, times: np.ndarray | Sequence[float]) -> np.ndarray:
        """For each of (n,) times in seconds, (n,) int64: the number of the frame whose own time is nearest.

        Of two as near, the earlier; before the first and after the last frame, that one.

        Raises:
            ValueError: a time that is no number.
        """
        import numpy as np

        index, seconds = self._index, np.asarray(times, np.float64)
        if np.isnan(seconds).any():
            raise ValueError(f"{self.path}: not a time: {float('nan')}")
        ticks = (
            seconds / float(index.time_base) - 1e-3
        )  # i / fps half way between two is, in floating point, about there
        return (index.pts[:-1] + index.pts[1:]).searchsorted(2 * ticks, "left").astype(np.int64, copy=False)

    def __iter__(self) -> Iterator[np.ndarray]:
        """All frames in order, decoded as they are taken; independent of other access."""
        decoder = self._new_decoder()
        try:
            for number in range(len(self)):
                yield decoder.frame(number)
        finally:
            decoder.close()

    def _number(self, number: int) -> int:
        frames = len(self)
        number = operator.index(number)
        if not -frames <= number < frames:
            raise IndexError(f"{self.path}: frame {number} of {frames}")
        return number % frames

    def _new_decoder(self) -> _Decoder:
        file = ranges.open_file(self.path, self.storage_options, ranges.DATA_BLOCK, self.content)
        return _Decoder(self.path, file, *self._read)

    def _frames(self) -> _Decoder:
        decoder = self._decoder
        if decoder is None or decoder.process != os.getpid():
            decoder = self._decoder = self._new_decoder()
        return decoder
