"""WAV: the header, and the samples, decoded on use."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from seamless_interaction.errors import EmptyFile, TruncatedFile, UnreadableFile, UnsafeFile
from seamless_interaction.places import ranges
from seamless_interaction.places.limits import MAX_WAV_BYTES
from seamless_interaction.places.options import bring_options

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Audio", "AudioHeader", "Resampled", "probe_audio"]

# --- header ----------------------------------------------------------------------------------

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_MAX_CHUNKS = 64
_UNTOLD = 0xFFFFFFFF  # length of samples whose number a pipe's writer did not know, or that RF64 tells elsewhere
_MAX_RATE = 1_000_000  # Hz
_BESIDE = 1 << 20  # bytes of a WAV besides samples, as far as anybody counts them


# Formats that NumPy reads as well as libsndfile does, by codec and bits. All of the dataset is the first.
_DTYPES = {(_FLOAT, 32): "<f4", (_PCM, 16): "<i2"}


class AudioHeader(NamedTuple):
    """What a WAV's header says: ``duration`` in seconds, ``sampling_rate`` in Hz, samples per channel."""

    duration: float
    sampling_rate: int
    num_samples: int
    num_channels: int


class _Format(NamedTuple):
    """A ``fmt`` chunk: Hz, channels, bytes of a frame of samples, their dtype (None: libsndfile has to read them)."""

    rate: int
    channels: int
    frame: int
    dtype: str | None


class _Wav(NamedTuple):
    """A header, and where in the file samples begin, and their dtype as in ``_Format``."""

    header: AudioHeader
    start: int
    dtype: str | None


def declared_bytes(head: bytes, path: str) -> int:
    """How long a WAV is at most by its first bytes, with room for what lies beside its samples.

    Raises:
        UnreadableFile: not a WAV.
    """
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        raise UnreadableFile(path, f"not a WAV: begins with {head[:12]!r}")
    length = int.from_bytes(head[4:8], "little")
    is_told = head[:4] == b"RIFF" and length not in (0, _UNTOLD)
    return 2 * (length + _BESIDE) if is_told else MAX_WAV_BYTES


def probe_audio(path: str, file: BinaryIO | None = None) -> AudioHeader:
    """Read a WAV's header: PCM or IEEE float, plain or extensible, RIFF or RF64. Reads tens of bytes.

    Samples of untold length, as of a WAV from a pipe, go to the end of the file.

    Args:
        path: of the file, or its fsspec URL; only named in messages if ``file`` is given.
        file: the open file, seekable. It is left open, at no particular position.

    Raises:
        MissingFile, EmptyFile (no bytes, or no samples), TruncatedFile (fewer samples than the
        header says), UnreadableFile (not such a WAV, or one with two data chunks), UnsafeFile (too many bytes).
    """
    with nullcontext(file) if file is not None else ranges.open_file(path) as file:
        return _probe_wav(path, file).header


def _probe_wav(path: str, file: BinaryIO) -> _Wav:
    size = ranges.file_size(file)
    if not size:
        raise EmptyFile(path, "0 bytes")
    if size > MAX_WAV_BYTES:
        raise UnsafeFile(path, f"{size} bytes, more than the sound of any recording has")
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise UnreadableFile(path, f"not a WAV: begins with {head!r}")
    is_long, long = head[:4] == b"RF64", 0
    layout: _Format | None = None
    found: _Wav | None = None
    at = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            break
        kind, length = struct.unpack("<4sI", head)
        present = size - at - 8
        if kind == b"data" and length == _UNTOLD:
            length = long if is_long else present
        if found:
            if kind == b"data":
                raise UnreadableFile(path, "a WAV with two data chunks, which readers do not agree on")
        elif present < length:
            name = kind.decode("latin-1")
            raise TruncatedFile(path, f"{present} of the {length} bytes of its {name!r} chunk. Fetch it again.")
        elif kind == b"ds64":
            long = int.from_bytes(file.read(16)[8:], "little")
        elif kind == b"fmt ":
            layout = _wav_format(path, file.read(min(length, 40)))
        elif kind == b"data":
            if layout is None:
                raise UnreadableFile(path, "WAV without a fmt chunk before its samples")
            found = _Wav(_audio_header(path, layout, length), at + 8, layout.dtype)
        at += 8 + length + length % 2
    if found:
        return found
    raise TruncatedFile(path, f"no samples (data chunk) in its {size} bytes. Fetch it again.")


def _wav_format(path: str, fmt: bytes) -> _Format:
    """Raises ``UnreadableFile``."""
    if len(fmt) < 16:
        raise UnreadableFile(path, f"a WAV's fmt chunk has 16 bytes or more, this one {len(fmt)}")
    tag, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", fmt[:16])
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        tag = struct.unpack("<H", fmt[24:26])[0]
    if tag not in (_PCM, _FLOAT):
        raise UnreadableFile(path, f"WAV with codec {tag:#06x}; PCM (1) and IEEE float (3) are known")
    if not (channels and 0 < rate <= _MAX_RATE and bits and frame == channels * -(-bits // 8)):
        raise UnreadableFile(path, f"WAV with {channels} channels, {rate} Hz, {bits} bits, {frame} bytes a frame")
    return _Format(rate, channels, frame, _DTYPES.get((tag, bits)))


def _audio_header(path: str, layout: _Format, length: int) -> AudioHeader:
    samples = length // layout.frame
    if not samples:
        raise EmptyFile(path, "a WAV header without samples")
    return AudioHeader(samples / layout.rate, layout.rate, samples, layout.channels)


def _is_flac(content: bytes | None) -> bool:
    return content is not None and content[:4] == b"fLaC"


def _probe_flac(path: str, file: BinaryIO) -> _Wav:
    import soundfile

    try:
        with soundfile.SoundFile(file) as flac:
            header = AudioHeader(flac.frames / flac.samplerate, flac.samplerate, flac.frames, flac.channels)
            try:  # a few bytes may tell of any number of samples, for all of which memory would be taken
                flac.seek(flac.frames - 1)
                is_whole = len(flac.read(1)) == 1
            except soundfile.LibsndfileError:
                is_whole = False
    except soundfile.LibsndfileError as error:
        raise UnreadableFile(path, f"not a FLAC that libsndfile opens: {error}") from error
    if not is_whole:
        raise TruncatedFile(path, f"its header tells of {header.num_samples} samples, and the last one is not there.")
    return _Wav(header, 0, None)


# --- samples ---------------------------------------------------------------------------------


@bring_options
class Audio(Mapping[str, Any]):
    """A WAV, or a FLAC that a record holds, as the mapping ``{"array", "sampling_rate", "path"}``; opened on use.

    ``audio["array"]`` is float32, (samples,) if mono, else (channels, samples), decoded once and
    kept; PCM is scaled to [-1, 1), float is the file's own. ``audio["sampling_rate"]`` reads the
    header. Both are properties too, ``audio.array`` and ``audio.sampling_rate``. Nothing else opens
    the file, and none stays open. A pickle holds what the arguments are, not the samples.

    Args:
        path: local path, or fsspec URL.
        storage_options: of the URL's file system.
        content: the file itself, if a record holds it: then the path is a name only.

    Raises on use:
        As ``probe_audio``.

    >>> audio = Audio("V00_S0809_I00000582_P0947.wav")
    >>> audio["sampling_rate"], audio.read(1.5, 2.0).shape
    (48000, (24000,))
    """

    _KEYS = ("array", "sampling_rate", "path")

    def __init__(
        self,
        path: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        content: bytes | None = None,
    ):
        self.path = os.fspath(path)
        self.storage_options = dict(storage_options or {})
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.storage_options, self.content)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Audio):
            return NotImplemented
        return self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.path)

    def __getitem__(self, key: str) -> Any:
        if key == "array":
            return self.array
        if key == "sampling_rate":
            return self.sampling_rate
        if key == "path":
            return self.path
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return key in self._KEYS

    def __iter__(self) -> Iterator[str]:
        return iter(self._KEYS)

    def __len__(self) -> int:
        return len(self._KEYS)

    @cached_property
    def _probed(self) -> _Wav:
        with ranges.open_file(self.path, self.storage_options, content=self.content) as file:
            return _probe_flac(self.path, file) if _is_flac(self.content) else _probe_wav(self.path, file)

    @property
    def header(self) -> AudioHeader:
        """What ``probe_audio`` gives."""
        return self._probed.header

    @property
    def sampling_rate(self) -> int:
        """Hz."""
        return self.header.sampling_rate

    @cached_property
    def array(self) -> np.ndarray:
        """All samples: float32, (samples,) if mono, else (channels, samples); decoded once and kept."""
        return self._samples(0, self.header.num_samples)

    def read(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """Samples from ``start`` to ``end`` (seconds; None: to the end), shaped as ``audio["array"]``.

        Reads only their bytes. Times are rounded to the nearest sample; what lies after the end of
        the file is left out.

        Raises:
            ValueError: ``start`` negative or after ``end``.
        """
        rate, samples = self.header.sampling_rate, self.header.num_samples
        if not 0 <= start or (end is not None and not start <= end):
            raise ValueError(f"{self.path}: not a span of time: {start} s to {end} s")
        first = min(round(start * rate), samples)
        last = samples if end is None or end * rate >= samples else round(end * rate)
        return self._samples(first, max(first, last))

    def _samples(self, first: int, last: int) -> np.ndarray:
        """Samples ``first`` to ``last``; the header has been checked against the file's size."""
        if "array" in self.__dict__:
            return self.array[..., first:last].copy()
        if self._probed.dtype is None:
            return self._samples_by_libsndfile(first, last)
        import numpy as np

        header, start, dtype = self._probed
        samples = np.empty((last - first, header.num_channels), dtype)
        begin = start + first * samples.itemsize * header.num_channels
        # No block: what is missing is known to the byte. libsndfile would read the header again.
        with ranges.open_file(self.path, self.storage_options, 0, self.content) as file:
            file.seek(begin)
            done = file.readinto(samples.reshape(-1).view(np.uint8))  # type: ignore[attr-defined]
        if done != samples.nbytes:
            raise TruncatedFile(self.path, f"{done} of the {samples.nbytes} bytes from byte {begin}. Fetch it again.")
        if dtype == _DTYPES[_PCM, 16]:
            samples = samples * np.float32(1 / 32768)
        samples = samples.astype(np.float32, copy=False)
        return samples[:, 0] if header.num_channels == 1 else np.ascontiguousarray(samples.T)

    def _samples_by_libsndfile(self, first: int, last: int) -> np.ndarray:
        import numpy as np
        import soundfile

        with ranges.open_file(self.path, self.storage_options, ranges.DATA_BLOCK, self.content) as file:
            try:
                with soundfile.SoundFile(file) as wav:
                    wav.seek(first)
                    return np.ascontiguousarray(wav.read(last - first, dtype="float32").T)
            except soundfile.LibsndfileError as error:
                raise UnreadableFile(self.path, f"not a WAV that libsndfile opens: {error}") from error


@bring_options
class Resampled(Audio):
    """The same at another rate: all samples are read, and resampled by FFmpeg, when the first are asked for.

    Args:
        path, storage_options, content: as ``Audio`` takes them.
        sampling_rate: Hz.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None,
        content: bytes | None,
        sampling_rate: int,
    ):
        super().__init__(path, storage_options, content)
        self._own, self._rate = Audio(path, storage_options, content), sampling_rate

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.storage_options, self.content, self._rate)

    @property
    def header(self) -> AudioHeader:
        """What ``probe_audio`` would give of a file at this rate."""
        _, rate, samples, channels = self._own.header
        samples = -(-samples * self._rate // rate)
        return AudioHeader(samples / self._rate, self._rate, samples, channels)

    @cached_property
    def array(self) -> np.ndarray:
        """All samples: float32, (samples,) if mono, else (channels, samples); resampled once and kept."""
        import av
        import numpy as np

        own, rate = self._own.array, self._own.sampling_rate
        if rate == self._rate:
            return own
        samples = np.zeros((*own.shape[:-1], self.header.num_samples), np.float32)
        for channel, target in zip(np.atleast_2d(own), np.atleast_2d(samples), strict=True):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channel)[None], "fltp", "mono")
            frame.sample_rate = rate
            resampler = av.AudioResampler("fltp", "mono", self._rate)
            made = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
            found = np.concatenate([*made, target[:0]])[: len(target)]
            target[: len(found)] = found
        return samples

    def _samples(self, first: int, last: int) -> np.ndarray:
        return self.array[..., first:last].copy()
