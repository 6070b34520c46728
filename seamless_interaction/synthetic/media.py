"""Signals, WAV and MP4 of the synthetic corpus: no real voice, face or body is behind any of them.

All signals are made of integer phases and plain float additions and multiplications, which give the
same bits on every machine (sines do not). WAVs are stored as the real ones are: mono, 48 kHz, IEEE
float32 whose values lie on the 16-bit grid, a ``fact`` chunk, 58 bytes of header. Pictures are flat
blocks of light and dark that spell the frame's number, at ``PICTURE_SCALE`` of the real raster.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Hashable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from seamless_interaction import SAMPLING_RATE

PICTURE_SCALE = Fraction(1, 6)  # of the real raster; boxes and keypoints are in pixels of the small one
PICTURE_PERIOD = 500  # frame i shows number i % 500: two groups of pictures are encoded, longer videos repeat them
GROUP_OF_PICTURES = 250  # frames from key frame to key frame

_BLOCKS = 4  # 4 x 4 blocks, the number's 16 bits from the highest, row by row
_DARK, _LIGHT = 48, 208  # luma of a 0 and a 1
_SOUND_PERIOD = SAMPLING_RATE // 2  # samples of the MP4's own sound that are encoded; longer ones repeat them
_AAC_FRAME = 1024  # samples a packet
_ROWS_AT_ONCE = 4096
_SAMPLES_AT_ONCE = 1 << 18
_TRACKS_KEPT = 256  # encoded ones, in memory


def generator(seed: int, *names: object) -> np.random.Generator:
    """Random numbers of one thing: the same for the same seed and names, whatever else was drawn."""
    digest = hashlib.blake2b(repr((seed, *names)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def signal(rng: np.random.Generator, rows: int, low: Any, high: Any) -> np.ndarray:
    """Smooth waves between two bounds, each column with its own phase and a period of 30 to 300 rows.

    Args:
        low, high: bounds of one row, of its shape.

    Returns:
        (rows, *shape) float32
    """
    low, high = np.broadcast_arrays(np.asarray(low, "float32"), np.asarray(high, "float32"))
    phase = rng.integers(0, 1 << 32, low.shape, "uint32")
    step = rng.integers((1 << 32) // 300, (1 << 32) // 30, low.shape, "uint32")
    values = np.empty((rows, *low.shape), "float32")
    for start in range(0, rows, _ROWS_AT_ONCE):
        stop = min(rows, start + _ROWS_AT_ONCE)
        row = np.arange(start, stop, dtype="uint32").reshape(-1, *[1] * low.ndim)
        wave = np.abs((phase + row * step).view("int32").astype("float32")) * np.float32(2**-31)  # 0..1..0
        wave *= wave * (np.float32(3) - 2 * wave)  # a triangle with its corners rounded
        wave *= high - low
        wave += low
        values[start:stop] = wave
    return values


# --- sound ----------------------------------------------------------------------------------------


def sound(seed: int, name: str, spoken: Iterable[tuple[float, float]], start: int, stop: int) -> np.ndarray:
    """Samples ``start`` to ``stop`` of a voice-like hum over ``spoken`` and a faint hiss elsewhere.

    Args:
        name: whose voice.
        spoken: intervals in seconds.

    Returns:
        (stop - start,) int16; some exact zeros in the hiss, as in the real audio
    """
    rng = generator(seed, name, "voice")
    tones = [int(rng.integers(low, high) * (1 << 32) // SAMPLING_RATE) for low, high in ((90, 240), (400, 1200))]
    salt = rng.integers(0, 1 << 32, dtype="uint32")
    number = np.arange(start, stop, dtype="uint64").astype("uint32")
    noise = (number + salt) * np.uint32(0x9E3779B1)
    noise ^= noise >> np.uint32(15)
    noise *= np.uint32(0x85EBCA77)
    samples = (noise >> np.uint32(29)).astype("int16") - np.int16(3)  # -3 to 4
    for begin, end in spoken:
        first = max(0, round(begin * SAMPLING_RATE) - start)
        last = min(stop - start, round(end * SAMPLING_RATE) - start)
        if first < last:
            for tone in tones:
                wave = (number[first:last] * np.uint32(tone)).view("int32") >> 16
                samples[first:last] += ((np.abs(wave) - 16384) // 2).astype("int16")
    return samples


def chunks(count: int, size: int = _SAMPLES_AT_ONCE) -> Iterator[tuple[int, int]]:
    """Ranges of at most ``size`` that make up ``count``."""
    return ((start, min(count, start + size)) for start in range(0, count, size))


def wav_header(samples: int) -> bytes:
    """The 58 bytes before the samples of a mono float32 WAV at 48 kHz."""
    width = 4
    form = struct.pack("<HHIIHHH", 3, 1, SAMPLING_RATE, SAMPLING_RATE * width, width, 8 * width, 0)
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form
    body += struct.pack("<4sII", b"fact", 4, samples) + struct.pack("<4sI", b"data", samples * width)
    return struct.pack("<4sI", b"RIFF", len(body) + samples * width) + body


def write_wav(file: BinaryIO, samples: int, blocks: Iterable[np.ndarray]) -> None:
    """Write int16 samples as the real WAVs hold them, block by block."""
    file.write(wav_header(samples))
    for block in blocks:
        file.write((block.astype("<f4") / np.float32(32768)).tobytes())


# --- picture --------------------------------------------------------------------------------------


def picture(number: int, width: int, height: int) -> np.ndarray:
    """Luma of the picture that spells a number below 65,536, (height, width) uint8."""
    bits = (number >> np.arange(_BLOCKS * _BLOCKS - 1, -1, -1)) & 1
    luma = np.where(bits, _LIGHT, _DARK).astype("uint8").reshape(_BLOCKS, _BLOCKS)
    rows, columns = (np.arange(size) * _BLOCKS // size for size in (height, width))
    return luma[rows][:, columns]


def picture_number(luma: np.ndarray) -> int:
    """The number that a decoded picture spells.

    Args:
        luma: (height, width), any numeric dtype, at any size: the first plane of YUV, or grey.
    """
    height, width = luma.shape
    centres = [[(2 * i + 1) * size // (2 * _BLOCKS) for i in range(_BLOCKS)] for size in (height, width)]
    bits = np.asarray(luma)[np.ix_(*centres)].ravel() > (_DARK + _LIGHT) / 2
    return int("".join("01"[bit] for bit in bits.astype(int)), 2)


# --- MP4 ------------------------------------------------------------------------------------------


def _box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def empty_mp4() -> bytes:
    """An MP4 without any track: the 261 bytes that 285 recordings of V01, V02 and V03 have instead of a video."""
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    times = struct.pack(">IIIIIIH", 0, 0, 0, 1000, 0, 0x10000, 0x100) + bytes(10)
    header = _box(b"mvhd", times, matrix, bytes(24), struct.pack(">I", 1))
    tool = _box(b"\xa9too", _box(b"data", struct.pack(">II", 1, 0), b"Lavf58.7.100"))
    handler = _box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    metadata = _box(b"udta", _box(b"meta", bytes(4), handler, _box(b"ilst", tool)))
    kind = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2avc1mp41")
    return kind + _box(b"free") + _box(b"mdat") + _box(b"moov", header, metadata)


# Time of the first packet; content of all, and whether each is a key frame.
_Encoded: TypeAlias = tuple[int, list[tuple[bytes, bool]]]
_encoded: dict[Hashable, _Encoded] = {}


def _encode(stream: Any, key: Hashable, frames: Iterable[Any]) -> _Encoded:
    """Encode frames, or take the packets from when it was last done: partners and layouts have many a track in common.

    Args:
        key: says all that the packets depend on.
    """
    found = _encoded.get(key)
    if not found:
        packets = [packet for frame in chain(frames, [None]) for packet in stream.encode(frame)]
        found = packets[0].pts, [(bytes(packet), packet.is_keyframe) for packet in packets]
        if len(_encoded) >= _TRACKS_KEPT:
            _encoded.clear()
        _encoded[key] = found
    return found


class _Track:
    """Packets of one track in time order, the encoded ones first and then again, as often as needed."""

    def __init__(self, stream: Any, encoded: _Encoded, count: int, duration: int, time_base: Fraction):
        self._stream, self._count, self._duration, self._base = stream, count, duration, time_base
        self._seconds = float(duration * time_base)
        self._first, self._packets = encoded
        self.index = 0

    @property
    def time(self) -> float | None:
        """Of the next packet, in seconds; None after the last."""
        return self.index * self._seconds if self.index < self._count else None

    def next(self) -> Any:
        import av

        content, is_key = self._packets[self.index % len(self._packets)]
        packet = av.Packet(content)
        packet.stream, packet.time_base = self._stream, self._base
        packet.pts = packet.dts = self._first + self.index * self._duration
        packet.duration, packet.is_keyframe = self._duration, is_key
        self.index += 1
        return packet


def _video_track(container: Any, frames: int, fps: Fraction, size: tuple[int, int], aspect: Fraction, v00: bool) -> Any:
    width, height = size
    stream = container.add_stream("libx264", rate=fps)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.sample_aspect_ratio = aspect
    stream.codec_context.thread_count = 1  # more would give other bytes on other machines
    stream.options = {"preset": "ultrafast", "g": str(GROUP_OF_PICTURES)}
    if v00:
        stream.metadata["timecode"] = "00:00:00:00"  # a third track, of data, as all V00 videos have
    shown = min(frames, PICTURE_PERIOD)
    pictures = (_frame(number, width, height, fps) for number in range(shown))
    encoded = _encode(stream, (shown, fps, size, aspect), pictures) if shown else (0, [])
    return _Track(stream, encoded, frames, 1, 1 / fps)


def _frame(number: int, width: int, height: int, fps: Fraction) -> Any:
    import av

    planes = np.full((height * 3 // 2, width), 128, "uint8")
    planes[:height] = picture(number, width, height)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = number, 1 / fps
    return frame


def _sound_track(container: Any, samples: np.ndarray, count: int, channels: int) -> Any:
    layout = "mono" if channels == 1 else "stereo"
    stream = container.add_stream("aac", rate=SAMPLING_RATE, layout=layout)
    stream.codec_context.thread_count = 1
    stream.options = {"aac_coder": "fast"}
    blocks = (_block(samples, first, last, channels, layout) for first, last in chunks(len(samples), _AAC_FRAME))
    encoded = _encode(stream, (hashlib.sha256(samples.tobytes()).digest(), channels), blocks)
    first = encoded[0]  # the encoder's delay, before zero
    return _Track(stream, encoded, -(-(count - first) // _AAC_FRAME), _AAC_FRAME, Fraction(1, SAMPLING_RATE))


def _block(samples: np.ndarray, first: int, last: int, channels: int, layout: str) -> Any:
    import av

    values = np.repeat(samples[None, first:last].astype("float32") / np.float32(32768), channels, axis=0)
    frame = av.AudioFrame.from_ndarray(values, format="fltp", layout=layout)
    frame.pts, frame.sample_rate, frame.time_base = first, SAMPLING_RATE, Fraction(1, SAMPLING_RATE)
    return frame


def write_mp4(
    path: Path,
    frames: int,
    fps: Fraction,
    size: tuple[int, int],
    aspect: Fraction,
    samples: np.ndarray,
    num_samples: int,
    channels: int = 2,
    timecode: bool = False,
    picture_track: bool = True,
    sound_track: bool = True,
    index_first: bool = True,
) -> None:
    """Write an MP4: H.264 whose frames spell their numbers, and AAC.

    Args:
        frames: how many.
        fps: frames a second, kept exactly.
        size: width and height in pixels, both even.
        aspect: width of a pixel over its height.
        samples: int16, the first ones at least of the sound (see ``sound_excerpt``).
        num_samples: length of the whole sound.
        timecode: with the data track that V00's videos have.
        index_first: the index before the pictures ("fast start").
    """
    import av

    options = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        tracks = []
        if picture_track:
            tracks.append(_video_track(container, frames, fps, size, aspect, timecode))
        if sound_track and num_samples:
            tracks.append(_sound_track(container, samples[:_SOUND_PERIOD], num_samples, channels))
        container.start_encoding()
        while waiting := [track for track in tracks if track.time is not None]:
            container.mux(min(waiting, key=lambda track: track.time).next())


def sound_excerpt(num_samples: int) -> int:
    """How many samples ``write_mp4`` encodes of a sound."""
    return min(num_samples, _SOUND_PERIOD)


def cut_before_index(path: Path) -> None:
    """Cut an MP4 within its pictures, so that the index after them is gone. It must be at the end.

    Raises:
        ValueError: if it is not.
    """
    with open(path, "r+b") as file:
        at, seen = 0, {}
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            seen[name] = (at, length)
            at += length
            file.seek(at)
        if list(seen)[-1:] != [b"moov"]:
            raise ValueError(f"{path}: the index is not the last box of {list(seen)}")
        start, length = seen[b"mdat"]
        file.truncate(start + length // 2)
