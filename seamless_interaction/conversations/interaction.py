"""A conversation, and each participant's recording of it: read when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from seamless_interaction import ANNOTATION_KINDS, EVERY_ARRAY, MASKS, MODALITIES, FileId, resolve_modalities
from seamless_interaction.conversations.clock import TimeSpan
from seamless_interaction.conversations.collate import stack
from seamless_interaction.conversations.read_window import Sample, cut, words_between
from seamless_interaction.conversations.storage import Storage
from seamless_interaction.errors import InvalidWindow, Issue, UnknownArray, UnknownConversation, known_keywords
from seamless_interaction.formats.audio import Audio
from seamless_interaction.formats.mp4 import VideoHeader
from seamless_interaction.formats.video import Video
from seamless_interaction.record.join import Join
from seamless_interaction.source.layout import is_meant, parts_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = TypeVar("Value")


class ByParticipant(dict[str, Value], Generic[Value]):
    """A value for each participant id (``V00_P0947``); the part after the vendor is enough: ``P0947``."""

    def __missing__(self, key: str) -> Value:
        for id in self:
            if id.partition("_")[2] == key:
                return self[id]
        raise UnknownConversation("participant", key, [*self, *(id.partition("_")[2] for id in self)])


class Window(ByParticipant[Sample]):
    """The same window of each participant's recording: participant id -> sample, see ``cut``."""

    def stack(self) -> Sample:
        """One sample whose arrays have an axis more, in front: the participants, in the order of their ids."""
        return stack(list(self.values()))


def check_window(start: float, duration: float, fps: float | None, frame_size: tuple[int, int] | None) -> None:
    """Raise ``InvalidWindow`` for numbers that cannot be."""
    for name, number, may_be_0 in (
        ("start", start, True),
        ("duration", duration, False),
        ("fps", 1 if fps is None else fps, False),
    ):
        is_number = isinstance(number, (int, float, np.integer, np.floating)) and not isinstance(number, bool)
        if not (is_number and math.isfinite(number) and (number > 0 or (may_be_0 and number == 0))):
            raise InvalidWindow(
                f"{name} is {number!r}. Give a number that is {'0 or more' if may_be_0 else 'above 0'}."
            )
    if frame_size is not None and not (
        isinstance(frame_size, (tuple, list))
        and len(frame_size) == 2
        and all(isinstance(side, int) and 0 < side < 1 << 14 for side in frame_size)
    ):
        raise InvalidWindow(f"frame_size is {frame_size!r}. Give height and width in pixels, such as (224, 224).")


def columns_of(modalities: list[str] | str | None, meant: int) -> tuple[str, ...]:
    """Those that are asked for; if none is named, those that the recordings are meant to have, see selection.csv."""
    columns = resolve_modalities(modalities)
    return columns if modalities is not None else tuple(column for column in columns if is_meant(column, meant))


def _span_within(
    what: ParticipantRecording | Interaction, start: float, duration: float, fps: float | None
) -> TimeSpan:
    """A span that begins before the end of a recording, or of both. Raises ``InvalidWindow``."""
    if start >= what.duration:
        raise InvalidWindow(f"{what.id}: a window at {start} s, and it ends at {what.duration:.3f} s.")
    return TimeSpan(float(start), float(duration), None if fps is None else float(fps))


class Group(Mapping[str, "np.ndarray | None"]):
    """The arrays of one group of a recording, by feature, also as attributes: (T, *shape), or None where absent.

    >>> recording.movement.expression.shape
    (7470, 128)
    """

    def __init__(self, recording: ParticipantRecording, name: str):
        self._recording, self._name = recording, name

    def __getitem__(self, feature: str) -> np.ndarray | None:
        key = f"{self._name}:{feature}"
        if key not in EVERY_ARRAY:
            raise UnknownArray(key, [key for key in EVERY_ARRAY if key.startswith(f"{self._name}:")])
        return self._recording.array(key)

    def __getattr__(self, feature: str) -> np.ndarray | None:
        if feature.startswith("_"):
            raise AttributeError(feature)
        return self[feature]

    def __iter__(self) -> Iterator[str]:
        return (array.feature for array in EVERY_ARRAY.values() if array.group == self._name)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        return f"<{self._name} of {self._recording.id}: {', '.join(self)}>"


class Arrays(Mapping[str, np.ndarray]):
    """All arrays that a recording has, by key; also those that the schema does not know, which come as they are."""

    def __init__(self, recording: ParticipantRecording):
        self._recording = recording

    def __getitem__(self, key: str) -> np.ndarray:
        if key in EVERY_ARRAY:
            value = self._recording.array(key)
            if value is None:
                raise UnknownArray(key, self)
            return value
        unknown = self._recording._storage.unknown_arrays(self._recording._number)
        if key not in unknown:
            raise UnknownArray(key, [*EVERY_ARRAY, *unknown])
        return self._recording._storage.unknown_array(self._recording._number, key)

    def __iter__(self) -> Iterator[str]:
        storage, number = self._recording._storage, self._recording._number
        yield from storage.present_arrays(number)
        yield from storage.unknown_arrays(number)

    def __contains__(self, key: object) -> bool:
        return any(key == other for other in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<arrays of {self._recording.id}: {', '.join(self)}>"


class ParticipantRecording:
    """One participant's recording of a conversation. Everything is read when asked for, and only that.

    What the recording does not have is None. A file that cannot be used raises its ``BadFile``; ``issues`` names all.

    Attributes:
        id: file id, ``V00_S0809_I00000582_P0947``.
        interaction_id, session_id, participant_id, vendor_id, prompt_id, label, split: as in a record.
        partner_id: the partner's file id, whether it is here or not; None if there is none.
    """

    def __init__(self, storage: Storage, number: int):
        self._storage, self._number = storage, number
        recording = storage.recording(number)
        ids = FileId.parse(recording.file_id)
        self.id, self.partner_id = recording.file_id, recording.partner
        self.label, self.split = recording.label, recording.split
        self.interaction_id, self.session_id = ids.interaction_id, ids.session_id
        self.participant_id, self.vendor_id, self.prompt_id = ids.participant_id, ids.vendor_id, ids.prompt_id

    def __repr__(self) -> str:
        return f"<ParticipantRecording {self.id}, {self.label} {self.split}>"

    # --- time

    @property
    def duration(self) -> float:
        """Seconds, of the video, else of the audio, else of the arrays.

        Of a copy that has none of them, the least that it can be: when the last of both partners' text ends.
        """
        return self._storage.duration(self._number)

    @property
    def is_duration_known(self) -> bool:
        """Whether ``duration`` is the recording's own, and not the least that it can be."""
        return self._storage.known_duration(self._number) is not None

    @property
    def header(self) -> VideoHeader | None:
        """What the video's header says."""
        return self._storage.header(self._number, "video")

    @property
    def fps(self) -> float:
        """Frames a second: the video's average rate; without a video, what is usual for the vendor."""
        return self._storage.facts(self._number).fps

    def times(self, key: str) -> np.ndarray | None:
        """When each row of an array is, (T,) float64, seconds; see ``clock``."""
        rows = self.array(key)
        if rows is None:
            return None
        array = EVERY_ARRAY[key]
        rate = self._storage.facts(self._number, of_array=not array.is_open).rate(len(rows), array.frames_per_row)
        return np.arange(len(rows)) / rate

    # --- arrays

    def array(self, key: str) -> np.ndarray | None:
        """An array by its key, (T, *shape): a copy, so what you do to it in place stays with you."""
        if key not in EVERY_ARRAY:
            raise UnknownArray(key, EVERY_ARRAY)
        return self._storage.array(self._number, key)

    def mask(self, key: str) -> np.ndarray | None:
        """Which rows of an array hold a measurement, (T,) bool; None if the recording does not have the array.

        All, where the format has no mask for it; none, where the mask itself is absent.
        """
        values = self.array(key)
        if values is None or key not in MASKS:
            return None if values is None else np.ones(len(values), bool)
        mask = self.array(MASKS[key])
        if mask is None or len(mask) != len(values):
            return np.zeros(len(values), bool)
        return mask.reshape(len(mask)) != 0

    @property
    def arrays(self) -> Arrays:
        """All arrays that are there, by key, also those that the schema does not know."""
        return Arrays(self)

    @property
    def smplh(self) -> Group:
        return Group(self, "smplh")

    @property
    def movement(self) -> Group:
        return Group(self, "movement")

    @property
    def movement_v4(self) -> Group:
        return Group(self, "movement_v4")

    @property
    def boxes_and_keypoints(self) -> Group:
        return Group(self, "boxes_and_keypoints")

    keypoints = boxes_and_keypoints

    # --- media

    @property
    def audio(self) -> Audio | None:
        """The sound: ``audio.array`` (samples,) float32, ``audio.sampling_rate``, ``audio.read(start, end)``."""
        return self._storage.audio(self._number)

    @property
    def video(self) -> Video | None:
        """The picture, a sequence of frames (height, width, 3) uint8: ``video[10]``, ``video.at(1.5)``."""
        return self._storage.video(self._number)

    # --- text

    def _text(self, part: str) -> list[dict[str, Any]] | None:
        records = self._storage.records(self._number, part)
        return None if records is None else records.copy()

    @property
    def segments(self) -> list[dict[str, Any]] | None:
        """The transcript: start and end (s), transcript, words with their start, end and score."""
        return self._text("transcript")

    @property
    def transcript(self) -> str | None:
        """All that was said."""
        segments = self.segments
        return None if segments is None else " ".join(segment["transcript"].strip() for segment in segments)

    def words_between(self, start: float, end: float) -> list[dict[str, Any]]:
        """The words that are spoken from ``start`` to ``end`` (seconds), wholly or in part.

        A word without times, of which the transcripts have some, lies where its neighbours leave room.
        """
        return words_between(self.segments or [], start, end)

    @property
    def vad(self) -> list[dict[str, Any]] | None:
        """Voice activity: start and end in seconds."""
        return self._text("vad")

    @property
    def annotations(self) -> list[dict[str, Any]] | None:
        """Kind, annotation, start and end (s) of each moment; None if nobody annotated the recording."""
        kinds = {kind: self._text(kind) for kind in ANNOTATION_KINDS}
        made = {kind: records for kind, records in kinds.items() if records is not None}
        return [{"kind": kind, **record} for kind, records in made.items() for record in records] if made else None

    @property
    def context(self) -> dict[str, Any]:
        """Prompts, relationship and personality, see ``MODALITIES["context"]``; None where unknown."""
        return self._storage.context(self._number)[0]

    @property
    def issues(self) -> list[Issue]:
        """What is missing or broken, as a record has it: column, code, detail. Reads the whole recording."""
        columns = tuple(column for group in MODALITIES.values() for column in group)
        with self._storage.files(self._number, parts_of(columns)) as files:
            return Join(files, columns, self._storage.open.context).issues

    # --- windows

    @known_keywords()
    def window(
        self,
        start: float,
        duration: float,
        modalities: list[str] | str | None = None,
        *,
        fps: float | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Sample:
        """A span of time, every part of it in step, as a flat dict: see ``cut`` for what it holds, ``clock`` for time.

        Args:
            start, duration: seconds. What lies behind the recording's end is zero and masked.
            modalities: what it holds, as ``load_dataset`` takes them; None is everything that the copy was made with.
            fps: the grid that arrays, video and voice activity are put on; None leaves each recording its own rate.
            frame_size: height and width that pictures are scaled to, and with them boxes and keypoints.

        Raises:
            InvalidWindow: not a span of time, or one that begins behind the end.
        """
        check_window(start, duration, fps, frame_size)
        span = _span_within(self, start, duration, fps)
        columns = columns_of(modalities, self._storage.recording(self._number).meant)
        return cut(self._storage, self._number, span, columns, frame_size)


class _Groups:
    """The arrays of one group, by feature and then by participant: ``interaction.movement.expression["P0947"]``."""

    def __init__(self, interaction: Interaction, name: str):
        self._interaction, self._name = interaction, name

    def __getitem__(self, feature: str) -> ByParticipant[np.ndarray | None]:
        return self._interaction._each(lambda recording: Group(recording, self._name)[feature])

    def __getattr__(self, feature: str) -> ByParticipant[np.ndarray | None]:
        if feature.startswith("_"):
            raise AttributeError(feature)
        return self[feature]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(array.feature for array in EVERY_ARRAY.values() if array.group == self._name)]


class Interaction:
    """One conversation: the recordings of its two participants, or of one. Everything is read when asked for.

    ``interaction["P0947"]`` is a participant's recording; ``interaction.audio`` and so on are what each of them has,
    by participant id.

    Attributes:
        id, interaction_id: ``V00_S0809_I00000582``.
        session_id, vendor_id, prompt_id, label, split: as in a record.
        recordings: in the order of their ids.
        participants: their participant ids, ``V00_P0947``.
    """

    def __init__(self, storage: Storage, numbers: Sequence[int]):
        self.recordings = tuple(ParticipantRecording(storage, number) for number in numbers)
        first = self.recordings[0]
        self.id = self.interaction_id = first.interaction_id
        self.session_id, self.vendor_id, self.prompt_id = first.session_id, first.vendor_id, first.prompt_id
        self.label, self.split = first.label, first.split
        self.participants = tuple(recording.participant_id for recording in self.recordings)

    def __repr__(self) -> str:
        return f"<Interaction {self.id}, {self.label} {self.split}: {' and '.join(self.participants)}>"

    def __getitem__(self, participant: str) -> ParticipantRecording:
        return self._each(lambda recording: recording)[participant]

    def __iter__(self) -> Iterator[ParticipantRecording]:
        return iter(self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def _each(self, get: Callable[[ParticipantRecording], Value]) -> ByParticipant[Value]:
        return ByParticipant({recording.participant_id: get(recording) for recording in self.recordings})

    @property
    def duration(self) -> float:
        """Seconds, of the longer recording."""
        return max(recording.duration for recording in self.recordings)

    @property
    def audio(self) -> ByParticipant[Audio | None]:
        return self._each(lambda recording: recording.audio)

    @property
    def video(self) -> ByParticipant[Video | None]:
        return self._each(lambda recording: recording.video)

    @property
    def transcript(self) -> ByParticipant[str | None]:
        return self._each(lambda recording: recording.transcript)

    @property
    def segments(self) -> ByParticipant[list[dict[str, Any]] | None]:
        return self._each(lambda recording: recording.segments)

    @property
    def vad(self) -> ByParticipant[list[dict[str, Any]] | None]:
        return self._each(lambda recording: recording.vad)

    @property
    def annotations(self) -> ByParticipant[list[dict[str, Any]] | None]:
        return self._each(lambda recording: recording.annotations)

    @property
    def context(self) -> ByParticipant[dict[str, Any]]:
        return self._each(lambda recording: recording.context)

    @property
    def issues(self) -> ByParticipant[list[Issue]]:
        return self._each(lambda recording: recording.issues)

    @property
    def smplh(self) -> _Groups:
        return _Groups(self, "smplh")

    @property
    def movement(self) -> _Groups:
        return _Groups(self, "movement")

    @property
    def movement_v4(self) -> _Groups:
        return _Groups(self, "movement_v4")

    @property
    def boxes_and_keypoints(self) -> _Groups:
        return _Groups(self, "boxes_and_keypoints")

    keypoints = boxes_and_keypoints

    @known_keywords()
    def window(
        self,
        start: float,
        duration: float,
        modalities: list[str] | str | None = None,
        *,
        fps: float | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Window:
        """The same span of time of each recording, see ``ParticipantRecording.window``.

        With ``fps`` both partners are on one grid, whatever their own rates; ``.stack()`` puts them into one sample.

        Raises:
            InvalidWindow: not a span of time, or one that begins behind the end of both.
        """
        check_window(start, duration, fps, frame_size)
        span = _span_within(self, start, duration, fps)
        meant = (recording._storage.recording(recording._number).meant for recording in self)
        columns = columns_of(modalities, reduce(or_, meant))
        samples = self._each(lambda recording: cut(recording._storage, recording._number, span, columns, frame_size))
        return Window(samples)

    def plot(self, start: float = 0.0, duration: float | None = None, **options: Any) -> Figure:
        """Both partners on one time axis; see ``seamless_interaction.conversations.plot.plot`` for the options.

        Needs matplotlib: ``pip install 'seamless-interaction[plot]'``.
        """
        from seamless_interaction.conversations.plot import plot

        return plot(self, start, duration, **options)
