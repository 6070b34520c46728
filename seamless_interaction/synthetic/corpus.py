"""A synthetic corpus: invented recordings, stored exactly as the real ones are.

Made for demonstrations, tests and benchmarks, where the real data must not or cannot be: no real
person is in it, and every text in it says so. It is a pure function of its arguments. ``corpus``
describes it without touching a disk; ``synthesize`` writes it; each ``SyntheticRecording`` gives
its own content again, value for value, so that a reader can be compared with the source.

What a corpus goes through, and how it can be broken, stands in two tables, ``PROFILES`` and
``DEFECTS``; what the real data holds, in ``ARRAYS`` and its neighbours.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from seamless_interaction import (
    ARRAYS,
    EVERY_ARRAY,
    MASKS,
    MOVEMENT_V4,
    SAMPLING_RATE,
    SPLITS,
    FileId,
)
from seamless_interaction.errors import UnknownLayout, UsageError
from seamless_interaction.source.layout import LAYOUTS
from seamless_interaction.synthetic.media import PICTURE_SCALE, chunks, generator, signal, sound
from seamless_interaction.synthetic.profiles import DEFECTS, PROFILES, Camera, Profile

MAX_INTERACTIONS = 20_000  # ids have four digits for a session and for a participant
MAX_SECONDS = 2 * 75 * 60  # twice the longest real recording
MIN_SECONDS = 2.0  # the shortest real recording

# --- what a corpus goes through -------------------------------------------------------------------


_DURATIONS = (0.0, 0.5, -0.5, 0.4, 0.2, -0.3, 0.7)  # seconds more than asked for, in turn
_ARCHIVES = (0, 1, 3, 4, 7, 8, 12)  # with gaps, as the real numbers


_DEFECT_SESSIONS = 4900  # from here on

# --- what it is made of ---------------------------------------------------------------------------

_WORDS = ("velo", "marn", "tisk", "orla", "pomb", "quen", "drist", "halu", "fenk", "soble", "wint", "garo", "luthe")
_RANGES: dict[str, tuple[Any, Any]] = {  # bounds of one row, where they are not -1 and 1
    "smplh:body_pose": (-2.5, 2.5),
    "smplh:global_orient": ((2.8, -0.4, -0.4), (3.5, 0.4, 0.4)),
    "smplh:left_hand_pose": (-1.2, 1.6),
    "smplh:right_hand_pose": (-1.2, 1.6),
    "smplh:translation": ((-0.7, 0.0, 21.0), (0.7, 0.8, 63.0)),
    "boxes_and_keypoints:box": ((0.05, 0.05, 0.7, 0.8), (0.3, 0.2, 0.95, 1.0)),  # of width and height
    "boxes_and_keypoints:keypoints": ((-0.1, 0.0, 0.1), (1.1, 1.0, 1.2)),  # of width and height; the score as it is
    "movement:EmotionArousalToken": (0, 12),
    "movement:EmotionValenceToken": (0, 12),
    "movement:FAUToken": (0, 1024),
    "movement:FAUValue": (0, np.where(np.isin(np.arange(24), (16, 17, 18)), 1e-4, 2.0)),  # three dead columns
    "movement:emotion_arousal": (-0.4, 1.3),
    "movement:emotion_scores": (-4.0, 5.0),
    "movement:emotion_valence": (-0.6, 0.6),
    "movement:is_occluded": (0, 2),
}
_BLOCK = 60  # frames: movement is valid or not in blocks of two seconds


@dataclass(frozen=True)
class SyntheticRecording:
    """One participant's invented recording, whose methods give its content without reading a file.

    What a defect made unreadable is given as it would have been; what a defect left there to be read
    (no frames, NaN, impossible intervals) is given as it is there.

    Attributes:
        file_id: such as ``V00_S0101_I00000081_P0202``.
        label, split, batch, archive: where the file list puts it.
        partner: the other participant's file id; None in an interaction of one.
        profile: a key of ``PROFILES``.
        camera: how it was filmed; see also ``fps``, ``raster`` and ``pixel_aspect``.
        video_frames: frames of the video, were it whole.
        kinds: kinds of annotations it has.
        traits: its peculiarities.
        defect: a key of ``DEFECTS``, or None.
        expected_issues: (column, code) that its defect, or its partner's absence, or an empty VAD beside
            a transcript is to be reported with. What follows from vendor and tables alone (``absent``,
            ``undisclosed``, ``no_partner``) is not among them.
        movement_v4: keys of those arrays that it has.
    """

    file_id: str
    label: str
    split: str
    batch_idx: int
    archive_idx: int
    partner: str | None
    profile: str
    role: int
    camera: Camera
    video_frames: int
    seed: int
    kinds: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    defect: str | None = None
    expected_issues: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    movement_v4: tuple[str, ...] = ()

    @property
    def ids(self) -> FileId:
        """The parts of the file id."""
        return FileId.parse(self.file_id)

    @property
    def vendor(self) -> str:
        """``V00``"""
        return self.ids.vendor

    @property
    def fps(self) -> Fraction:
        """Frames a second of the video, exactly."""
        return self.camera.fps

    @property
    def raster(self) -> tuple[int, int]:
        """Width and height in pixels as stored: ``PICTURE_SCALE`` of the real one, both even."""
        return tuple(round(size * PICTURE_SCALE / 2) * 2 for size in self.camera[:2])  # type: ignore[return-value]

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel over its height."""
        return self.camera.pixel_aspect

    @property
    def num_frames(self) -> int:
        """Frames of the video; 0 without a picture."""
        return 0 if self._has("video", "no_video_stream") else self.video_frames

    @property
    def array_frames(self) -> int:
        """Frames of the arrays, before each one's ``frames_per_row``."""
        if self._has("arrays", "empty"):
            return 0
        return self.video_frames * 8 if self.defect == "fast_arrays" else self.video_frames

    @property
    def num_samples(self) -> int:
        """Samples of the WAV."""
        if self._has("audio", "empty"):
            return 0
        return self.full_samples - (3 * SAMPLING_RATE // 2 if self.defect == "short_audio" else 0)

    @property
    def full_samples(self) -> int:
        """Samples of a WAV as long as the video."""
        return round(self.video_frames / self.fps * SAMPLING_RATE)

    @property
    def array_keys(self) -> list[str]:
        """Keys of the arrays that its vendor has, and of ``movement_v4`` those that it was given."""
        return [*(key for key, array in ARRAYS.items() if self.vendor in array.vendors), *self.movement_v4]

    def _has(self, part: str, code: str) -> bool:
        return self.defect is not None and DEFECTS[self.defect].issues.get(part) == code

    # --- arrays

    def arrays(self) -> dict[str, np.ndarray]:
        """All its arrays, (T, *shape) in the format's dtypes."""
        return {key: self.array(key) for key in self.array_keys}

    def array(self, key: str) -> np.ndarray:
        """One array, (T, *shape) in the format's dtype."""
        array = EVERY_ARRAY[key]
        if key == "movement_v4:expression":
            array = array._replace(shape=(50,))  # of another model than those of `movement`
        tracked, hands, movement = self._validity
        if array.is_mask:
            mask = {"smplh": hands, "boxes_and_keypoints": tracked, "movement": movement}[
                array.group.removesuffix("_v4")
            ]
            return mask.astype(array.dtype).reshape(-1, *array.shape)
        low, high = (np.broadcast_to(bound, array.shape) for bound in self._bounds(key.replace("_v4", "")))
        values = signal(generator(self.seed, self.file_id, key), self.array_frames // array.frames_per_row, low, high)
        if array.feature.endswith("Token") or array.feature == "is_occluded":
            values = np.floor(values)
        if array.feature.endswith("hand_pose"):  # frozen: the last valid frame again
            values = values[np.maximum.accumulate(np.where(hands, np.arange(len(hands)), 0))]
        if array.feature == "translation":
            sentinel = signal(generator(self.seed, self.file_id, "sentinel"), len(values), low * 0 + 1e12, 9e13)
            values[~tracked] = sentinel[~tracked]
        if array.group == "boxes_and_keypoints":
            values[~tracked] = 0
        if key in MASKS and MASKS[key].startswith("movement"):
            values[~movement] = 0
        if self._has(key, "non_finite"):
            values[len(values) // 2] = np.nan
            values[-1] = -np.inf
        return values

    def _bounds(self, key: str) -> Iterator[Any]:
        width, height = self.raster
        of_raster = {
            "boxes_and_keypoints:box": (width, height, width, height),
            "boxes_and_keypoints:keypoints": (width, height, 1),
        }
        return (np.multiply(bound, of_raster.get(key, 1)) for bound in _RANGES.get(key, (-1, 1)))

    @functools.cached_property
    def _validity(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames with a tracked person, with valid hands, with valid movement: three events, (T,) bool."""
        frames = self.array_frames
        rng = generator(self.seed, self.file_id, "validity")
        tracked, hands, movement = (np.ones(frames, bool) for _ in range(3))
        for mask, longest in ((tracked, frames // 20), (hands, frames // 10)):
            start, length = rng.integers(1, max(2, frames * 3 // 4)), rng.integers(1, max(2, longest))
            mask[start : start + length] = False
        hands &= tracked
        blocks = rng.random(frames // _BLOCK) < 0.15
        if len(blocks) > 1:  # at least one of each
            first, second = rng.choice(len(blocks), 2, replace=False)
            blocks[first], blocks[second] = True, False
        movement[: len(blocks) * _BLOCK] = ~np.repeat(blocks, _BLOCK)
        if "movement_invalid" in self.traits:
            movement[:] = False
        return tracked, hands, movement

    def dtype_in_tree(self, key: str) -> str:
        """What a tree holds this array as: masks as bool, (T,), as the bucket does, and some others as float64."""
        if EVERY_ARRAY[key].is_mask:
            return "bool"
        is_wide = generator(self.seed, self.file_id, key, "wide").integers(4) == 0
        return "float64" if is_wide else EVERY_ARRAY[key].dtype

    # --- audio

    def samples(self) -> np.ndarray:
        """The audio, (n,) int16 mono at 48 kHz; the WAV holds these over 32,768."""
        return np.concatenate([np.zeros(0, "int16"), *self.blocks_of_samples()])

    def blocks_of_samples(self) -> Iterator[np.ndarray]:
        """The same in blocks, for long recordings."""
        return (self.some_samples(*range_) for range_ in chunks(self.num_samples))

    def some_samples(self, start: int, stop: int) -> np.ndarray:
        """The audio from one sample to another, (stop - start,) int16."""
        return sound(self.seed, self.ids.participant_id, self._turns(), start, stop)

    # --- text

    def _seconds(self) -> float:
        """The duration, down to a whole millisecond, which nothing goes past."""
        return math.floor(self.video_frames / self.fps * 1000) / 1000

    def _turns(self) -> list[tuple[float, float]]:
        """When it speaks, in seconds: partners take turns, so both draw the same and take every second."""
        rng = generator(self.seed, self.ids.interaction_id, "turns")
        turns: list[tuple[float, float]] = []
        seconds, start, speaker = self._seconds(), 0.2, int(rng.integers(2))
        while True:
            end = start + float(rng.uniform(0.5, 0.65 if seconds < 3 else 2.4 if seconds > 12 else 1.2))
            if end > seconds - 0.1:
                return turns
            if speaker == self.role:
                turns.append((round(start, 3), round(end, 3)))
            start, speaker = end + float(rng.uniform(0.1, 0.2 if seconds < 12 else 0.6)), 1 - speaker

    def transcript(self) -> list[dict[str, Any]]:
        """Segments as stored: ``start``, ``end`` (seconds), ``transcript``, ``words``."""
        if "empty_transcript" in self.traits or (self.defect or "").startswith("empty_bundle"):
            return []
        rng = generator(self.seed, self.file_id, "words")
        segments = []
        for start, end in self._turns():
            count = max(2, int((end - start) / 0.35))
            names = ["Synthetic", *(_WORDS[i] for i in rng.integers(len(_WORDS), size=count - 1))]
            step = (end - start) / count
            words: list[dict[str, Any]] = [
                {
                    "word": name,
                    "start": round(start + i * step, 3),
                    "end": round(start + (i + 0.9) * step, 3),
                    "score": round(float(rng.uniform(0.3, 1)), 3),
                }
                for i, name in enumerate(names)
            ]
            if "word_nulls" in self.traits:
                words[-1] = {"word": "42.", "start": None, "end": None}
            text = " ".join(word["word"] for word in words)
            segments.append({"start": start, "end": end, "transcript": text, "words": words})
        return segments

    def vad(self) -> list[dict[str, float]]:
        """Voice activity as stored: ``start`` and ``end`` in seconds."""
        if "empty_vad" in self.traits or (self.defect or "").startswith("empty_bundle"):
            return []
        return [{"start": round(start - 0.03, 3), "end": round(end + 0.04, 3)} for start, end in self._turns()]

    def annotations(self) -> dict[str, list[dict[str, Any]]]:
        """Kind to records as stored: ``annotation``, ``start_ts``, ``end_ts`` (whole seconds)."""
        rng = generator(self.seed, self.file_id, "moments")
        whole = math.floor(self._seconds())
        starts = sorted(int(start) for start in rng.integers(0, whole, 2 + whole // 60))
        moments = [(start, int(rng.integers(start + 1, min(whole, start + 10) + 1))) for start in starts]
        if "zero_length" in self.traits:
            moments[0] = (moments[0][0], moments[0][0])
        if self._has("annotations", "interval"):
            moments += [(whole, whole - 1), (whole - 1, whole + 60)]
        return {
            kind: [
                {
                    "annotation": f"Synthetic {kind} note {number}: “{_WORDS[rng.integers(len(_WORDS))]}” — invented.",
                    "start_ts": start,
                    "end_ts": end,
                }
                for number, (start, end) in enumerate(moments, 1)
            ]
            for kind in self.kinds
        }


# --- the corpus -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """A synthetic corpus.

    Attributes:
        recordings: in the order of their interactions, the first participant first.
        layout: how it is stored, or ``tree``; decides what a broken JSON file makes unreadable.
    """

    recordings: list[SyntheticRecording]
    seed: int
    interactions: int
    seconds: float
    defects: bool
    layout: str
    movement_v4: bool = False

    def __getitem__(self, file_id: str) -> SyntheticRecording:
        """The recording of this file id. Raises ``KeyError`` if there is none."""
        for recording in self.recordings:
            if recording.file_id == file_id:
                return recording
        raise KeyError(file_id)

    @property
    def stray(self) -> SyntheticRecording:
        """The recording that is also stored where the file list does not say: one of the test split if there is one."""
        return max(self.recordings, key=lambda recording: recording.split == SPLITS[-1] and not recording.defect)


def corpus(
    interactions: int = 12,
    seconds: float = 4.0,
    seed: int = 0,
    defects: bool = False,
    layout: str = "tree",
    movement_v4: bool = False,
) -> Corpus:
    """Describe a synthetic corpus, without writing anything.

    Args:
        interactions: how many healthy ones; 12 show every profile.
        seconds: about how long each is, at least 2.
        seed: other seeds give other content under the same ids.
        defects: with one more interaction for each of ``DEFECTS``, whose second participant is healthy.
        layout: see ``synthesize``.
        movement_v4: with these arrays of V00, ``is_occluded`` for one of two partners and ``pred_vertices`` for none,
            in invented shapes: nobody has told the real ones.

    Raises:
        UsageError: a number that cannot be.
        UnknownLayout: not one of ``LAYOUTS``.
    """
    if layout not in LAYOUTS:
        raise UnknownLayout(layout, LAYOUTS)
    if not 1 <= interactions <= MAX_INTERACTIONS:
        raise UsageError(f"{interactions} interactions; possible are 1 to {MAX_INTERACTIONS}.")
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"{seconds} seconds; possible are up to {MAX_SECONDS}, and less than 2 is made 2.")
    recordings: list[SyntheticRecording] = []
    names = list(PROFILES)
    for index in range(interactions):
        cycle, profile = index // len(names), names[index % len(names)]
        recordings += _interaction(index, cycle, profile, 101 + cycle // 2 * 5 + _rank(profile), seconds, seed, layout)
    for number, (name, defect) in enumerate(DEFECTS.items() if defects else ()):
        session = _DEFECT_SESSIONS + number
        recordings += _interaction(interactions + number, 0, defect.profile, session, seconds, seed, layout, name)
    if movement_v4:
        recordings = [replace(one, movement_v4=_movement_v4(one)) for one in recordings]
    return Corpus(recordings, seed, interactions, seconds, defects, layout, movement_v4)


def _movement_v4(recording: SyntheticRecording) -> tuple[str, ...]:
    lacks = {"movement_v4:pred_vertices"} | ({"movement_v4:is_occluded"} if recording.role else set())
    return tuple(key for key in MOVEMENT_V4 if key not in lacks) if recording.vendor == "V00" else ()


def _rank(profile: str) -> int:
    """Of a profile among its vendor's. Sessions count by it, so that their numbers collide across vendors."""
    return [name for name in PROFILES if PROFILES[name].vendor == PROFILES[profile].vendor].index(profile)


def _interaction(
    index: int, cycle: int, name: str, session: int, seconds: float, seed: int, layout: str, defect: str | None = None
) -> list[SyntheticRecording]:
    """The recordings of one interaction. A session has two, of two prompts, in neighbouring cycles."""
    profile = PROFILES[name]
    prompt = prompt_id(list(PROFILES).index(name) * 5 + cycle % 2 * 7)
    duration = max(MIN_SECONDS, seconds + _DURATIONS[index % len(_DURATIONS)])
    file_ids = [
        f"{profile.vendor}_S{session:04d}_I{prompt}_P{2 * session + role:04d}"
        + ("A" if "suffix" in profile.traits[role] else "")
        for role in range(profile.participants)
    ]
    recordings = []
    for role, file_id in enumerate(file_ids):
        camera = profile.cameras[(2 * cycle + role) % len(profile.cameras)]
        slot = list(PROFILES).index(name) + cycle + (role if index % 64 != 63 else 0)  # partners lie apart, mostly
        recordings.append(
            SyntheticRecording(
                file_id=file_id,
                label=profile.label,
                split=profile.split,
                batch_idx=cycle // 20,
                archive_idx=_ARCHIVES[slot % len(_ARCHIVES)],
                partner=file_ids[1 - role] if len(file_ids) == 2 else None,
                profile=name,
                role=role,
                camera=camera,
                video_frames=round(Fraction(duration) * camera.fps),
                seed=seed,
                kinds=profile.kinds[role],
                traits=profile.traits[role],
                defect=None if role else defect,
                expected_issues=_expected(profile, role, defect, layout),
            )
        )
    return recordings


def _expected(profile: Profile, role: int, defect: str | None, layout: str) -> frozenset[tuple[str, str]]:
    expected = {("vad", "vad_contradicts")} if "empty_vad" in profile.traits[role] else set()
    if role:
        return frozenset({("partner_id", "partner_missing")} if defect == "absent" else expected)
    for part, code in DEFECTS[defect].issues.items() if defect else ():
        columns = [part]
        if part == "arrays":
            columns = [key for key, array in ARRAYS.items() if profile.vendor in array.vendors]
        elif part == "metadata":
            columns = ["transcript"] if layout == "tree" else ["transcript", "vad", "annotations"]
        expected |= {(column, code) for column in columns}
    return frozenset(expected)


PROMPTS = 16


def prompt_id(number: int) -> str:
    """Id of a synthetic prompt, ``prompt_hash`` of interactions.csv. Numbers go round after ``PROMPTS``."""
    return f"{(number % PROMPTS + 1) * 81:08d}"
