"""Reading recordings at random: rows of arrays, media, text, and what is kept of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from seamless_interaction import ANNOTATION_KINDS, ARRAYS, EVERY_ARRAY, FileId
from seamless_interaction.conversations.clock import Timing
from seamless_interaction.conversations.lru import Kept
from seamless_interaction.errors import BadFile, MissingFile
from seamless_interaction.formats.arrays import NpyRows
from seamless_interaction.formats.audio import Audio, AudioHeader
from seamless_interaction.formats.mp4 import VideoHeader
from seamless_interaction.formats.text import TextRecords
from seamless_interaction.formats.video import Video
from seamless_interaction.source.context import Context
from seamless_interaction.source.files import Files, Source, threads
from seamless_interaction.source.index import Known
from seamless_interaction.source.recordings import Recording, is_required

CACHE_BYTES = 512 << 20
_RECORDINGS = 4096  # whose place and headers are kept
_VIDEOS = 128  # whose frame index is kept; one of 10 minutes has half a megabyte
_FILES = 192  # arrays of a tree that are open at a time: those of four pairs, and fewer than any system allows
_DECODERS = 2  # open at a time: one in 4K holds 100 MB
_LACKS = object()
_WORD_BYTES = 400  # of memory, about, that a word of a transcript takes


class Storage:
    """The recordings of a place, by their number.

    What is read whole, because it cannot be read in part (arrays in an NPZ) or is small (text), is kept within
    ``cache_bytes`` in each process. Arrays of a tree are read row by row and not kept: the system keeps their pages.
    A pickle, and a forked process, opens everything anew. Several threads may read at once: what one of them uses
    stays open until it is done, whatever the bounds, and of a video each waits for its turn.

    Args:
        source: where they lie. A pickle, and another process, opens it again by ``described``.
        rows: the fields of ``Recording``, a row each.
        identity: of what the place holds.
        cache_bytes: the most that is kept.
    """

    def __init__(self, source: Source, rows: pa.Table, identity: str, cache_bytes: int):
        self.described, self.table, self.identity, self.cache_bytes = source.describe(), rows, identity, cache_bytes
        self._open: _Open | None = _Open(source, cache_bytes)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    @property
    def open(self) -> _Open:
        """What this process has open."""
        if self._open is None or self._open.process != os.getpid():
            self._open = _Open(Source.open(self.described), self.cache_bytes)
        return self._open

    def recording(self, number: int) -> Recording:
        return self.open.recordings.get(number, lambda: Recording(**self.table.slice(number, 1).to_pylist()[0]))

    def partner(self, number: int) -> int | None:
        """The number of the partner's recording; None if it is not here. Recordings are in the order of their ids."""
        wanted = self.recording(number).partner
        for other in (number - 1, number + 1):
            if 0 <= other < len(self.table) and self.recording(other).file_id == wanted:
                return other
        return None

    def files(self, number: int, parts: tuple[str, ...]) -> Files:
        """The recording's files, to be closed."""
        opened, recording = self.open, self.recording(number)
        index = opened.source.index
        known: Known | None = None
        if index:
            known = opened.known.get((number, parts), lambda: index.known(recording, parts))
        return Files(opened.source, recording, known)

    # --- arrays

    def rows(
        self, number: int, keys: Iterable[str], span: Callable[[str, int], tuple[int, int]]
    ) -> dict[str, Rows | BadFile | None]:
        """Some rows of arrays.

        Args:
            keys: of the arrays.
            span: which rows to read of an array, first and last (exclusive), given how many it has.

        Returns:
            For each its rows, None if the recording has none, or what is wrong with it.
        """
        keys, opened = tuple(keys), self.open
        if opened.source.layout.is_packed:
            return {
                key: value if not isinstance(value, np.ndarray) else _rows_of(value, span(key, len(value)))
                for key, value in self.arrays(number, keys).items()
            }
        recording = self.recording(number)

        def rows(key: str) -> Rows | None:
            npy: NpyRows | None = opened.rows.find((number, key), _LACKS)
            if npy is _LACKS:
                npy = self.files(number, keys).open_rows(key)
                opened.rows.put((number, key), npy, 1)
            return None if npy is None else Rows(npy.rows(*span(key, npy.num_rows)), npy.num_rows)

        def read(key: str) -> Rows | BadFile | None:
            return attempt(recording, key, rows, key)

        found = map(read, keys) if opened.source.place.is_local else threads().map(read, keys)
        return dict(zip(keys, found, strict=True))

    def arrays(self, number: int, keys: Iterable[str]) -> dict[str, np.ndarray | BadFile | None]:
        """Whole arrays, (T, *shape), not to be handed out: mapped into memory where they are local files, else kept."""
        keys, kept = tuple(keys), self.open.kept
        source, recording = self.open.source, self.recording(number)
        is_mapped = source.place.is_local and not source.layout.is_packed
        values = {key: kept.find((number, key), _LACKS) for key in keys}
        lacking = [key for key, value in values.items() if value is _LACKS]
        if lacking:
            with self.files(number, tuple(lacking)) as files:
                if not source.place.is_local:
                    files.fetch(lacking, threads())
                for key in lacking:
                    value = attempt(recording, key, files.get, key)
                    if isinstance(value, np.ndarray):
                        value.flags.writeable = False
                    if not is_mapped and not isinstance(value, BadFile):
                        kept.put((number, key), value, 64 if value is None else value.nbytes)
                    values[key] = value
        return values

    def array(self, number: int, key: str) -> np.ndarray | None:
        """One whole array, the caller's own; None if the recording has none. Raises ``BadFile``."""
        value: np.ndarray | None = found(self.arrays(number, [key])[key])
        return None if value is None else value.copy()

    def present_arrays(self, number: int) -> list[str]:
        """Keys of the schema's arrays that the recording has, as far as it takes no reading of them to know."""
        with self.files(number, tuple(EVERY_ARRAY)) as files:
            return [key for key in EVERY_ARRAY if files.has(key)]

    def unknown_arrays(self, number: int) -> list[str]:
        """Keys of arrays that are there, and that the schema does not know."""
        with self.files(number, (next(iter(ARRAYS)),)) as files:
            return files.unknown_arrays()

    def unknown_array(self, number: int, key: str) -> np.ndarray:
        """One of them, as it is, the caller's own. Raises ``BadFile``."""
        with self.files(number, (next(iter(ARRAYS)),)) as files:
            return files.unknown_array(key).copy()

    # --- text

    def records(self, number: int, part: str) -> TextRecords | None:
        """Segments, voice activity, or annotations of a kind; None if the recording has none. Raises ``BadFile``.

        They are kept, so what is handed out is a copy.
        """

        def read() -> TextRecords | BadFile | None:
            with self.files(number, (part,)) as files:
                return attempt(recording, part, files.get, part)

        recording = self.recording(number)
        return found(self.open.kept.get((number, part), read, _text_cost))

    def context(self, number: int) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
        """The context columns of a recording, and what is not known of them."""
        return self.open.context.of(FileId.parse(self.recording(number).file_id))

    # --- media

    def header(self, number: int, part: str) -> Any:
        """The header of ``"video"`` or ``"audio"``; None if the recording has none. Raises ``BadFile``."""

        def read() -> VideoHeader | AudioHeader | BadFile | None:
            with self.files(number, (part,)) as files:
                return attempt(recording, part, files.get, part)

        recording = self.recording(number)
        return found(self.open.headers.get((number, part), read))

    def audio(self, number: int) -> Audio | None:
        """The sound; None if the recording has none. Raises ``BadFile``.

        It is anew each time, as it keeps its samples once all are asked for.
        """
        if self.header(number, "audio") is None:
            return None
        return Audio(self._path(number, "audio"))

    def samples(self, number: int, first: int, last: int) -> np.ndarray | None:
        """Samples ``first`` to ``last`` (exclusive) of the sound, as far as there are such. Raises ``BadFile``."""
        header = self.header(number, "audio")
        if header is None:
            return None
        audio: Audio = self.open.audios.get(number, lambda: self.audio(number))
        return audio.read(first / header.sampling_rate, last / header.sampling_rate)

    def video(self, number: int) -> Video | None:
        """The picture, which is open as long as others are not used; None if there is none. Raises ``BadFile``."""
        if self.header(number, "video") is None:
            return None
        opened = self.open
        video: Video = opened.videos.get(number, lambda: Video(self._path(number, "video")))
        opened.decoders.get(number, lambda: video)
        return video

    def _path(self, number: int, part: str) -> str:
        def read() -> str | None:
            with self.files(number, (part,)) as files:
                return files.path(part)

        return self.open.paths.get((number, part), read)

    def facts(self, number: int, of_array: bool = False) -> Timing:
        """What is known of the recording's time. Media that cannot be used tell nothing.

        ``of_array`` says that only the rate of arrays is asked for: of V00, whose videos are all at 30 a second and as
        long as the arrays, no file is opened for it.
        """
        file_id = self.recording(number).file_id
        if of_array and file_id.startswith("V00"):
            return Timing(file_id, None, None)
        video = self._usable(number, "video")
        return Timing(file_id, video, None if video else self._usable(number, "audio"))

    def _usable(self, number: int, part: str) -> Any:
        try:
            return self.header(number, part)
        except BadFile:
            return None

    def duration(self, number: int) -> float:
        """Seconds of the recording; where nothing tells, the least that it can have: the text of either partner."""
        known = self.known_duration(number)
        if known is not None:
            return known
        partner = self.partner(number)
        return max(self._end_of_text(one) for one in (number, partner) if one is not None)

    def _end_of_text(self, number: int) -> float:
        """When the last of a recording's text ends, seconds; of annotations, which may be wrong, if all else lacks."""
        for parts in (("vad", "transcript"), tuple(ANNOTATION_KINDS)):
            ends = [0.0]
            for part in parts:
                with suppress(BadFile):
                    ends += (record["end"] for record in self.records(number, part) or ())
            if max(ends):
                return max(ends)
        return 0.0

    def known_duration(self, number: int) -> float | None:
        """Seconds of the recording: of its video, else its audio, else its arrays; None if it has nothing of them."""
        facts = self.facts(number)
        if facts.duration is not None:
            return facts.duration
        files, layout = self.recording(number).files, self.open.source.layout
        parts = [key for key in EVERY_ARRAY if layout.has(files, key)]
        for key in parts:
            rows = self.rows(number, [key], lambda key, num_rows: (0, 0))[key]
            if isinstance(rows, Rows) and rows.num_rows:
                frames_per_row = EVERY_ARRAY[key].frames_per_row
                return rows.num_rows / facts.rate(rows.num_rows, frames_per_row)
        return None


class Rows(NamedTuple):
    """Some rows of an array, (n, *shape), and how many it has."""

    values: np.ndarray
    num_rows: int


class _Open:
    """What one process has open and keeps."""

    def __init__(self, source: Source, cache_bytes: int):
        self.process, self.source = os.getpid(), source
        self.kept = Kept(cache_bytes)
        self.recordings, self.headers, self.audios, self.paths, self.known = (Kept(_RECORDINGS) for _ in range(5))
        self.videos = Kept(_VIDEOS)
        self.rows = Kept(_FILES)
        self.decoders = Kept(_DECODERS, lambda video: video.close())
        self._context: Context | None = None

    @property
    def context(self) -> Context:
        if self._context is None:
            self._context = Context(self.source.place)
        return self._context


def attempt(recording: Recording, part: str, read: Callable[..., Any], *arguments: Any) -> Any:
    """What ``read`` gives; what is wrong with it, as a value; or, where the format requires the part, that it lacks."""
    try:
        value = read(*arguments)
        if value is None and is_required(recording, part) and recording.is_meant(part):
            raise MissingFile(f"{recording.file_id} {part}", "not in the source, and the format requires it")
        return value
    except BadFile as error:
        if isinstance(error, MissingFile) and not recording.is_meant(part):
            return None
        return error.with_traceback(None)
    except FileNotFoundError as error:  # since it was opened
        return MissingFile(f"{recording.file_id} {part}", f"gone: {error}")


def found(value: Any) -> Any:
    """A value; raises it if it is an error."""
    if isinstance(value, BadFile):
        raise type(value)(value.path, value.reason)
    return value


def _rows_of(array: np.ndarray, span: tuple[int, int]) -> Rows:
    first, last = span
    return Rows(array[max(first, 0) : max(last, 0)], len(array))


def _text_cost(value: Any) -> int:
    if not isinstance(value, list):
        return 64
    return 64 + _WORD_BYTES * sum(1 + len(record.get("words", ())) for record in value)
