"""A window of one recording: every part cut by its own clock, on one grid, with its mask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from seamless_interaction import ANNOTATION_KINDS, EVERY_ARRAY, MASKS, MODALITIES, PIXELS, SAMPLING_RATE, FileId
from seamless_interaction.conversations.clock import RowsOf, TimeSpan, Timing
from seamless_interaction.conversations.resample import at_positions
from seamless_interaction.conversations.storage import Rows, Storage
from seamless_interaction.errors import BadFile, EmptyFile, Issue, WrongType, add_issue

Sample = dict[str, Any]


def cut(
    storage: Storage, number: int, span: TimeSpan, columns: tuple[str, ...], frame_size: tuple[int, int] | None = None
) -> Sample:
    """A window of a recording, as a flat dict.

    What lies on the frame grid (arrays, video, ``vad``) has a mask in ``sample["mask"]``, (T,) bool: False where the
    recording has ended, where the format's own mask says so, and throughout where the part is absent or cannot be
    used; values are zero where there are none, of the shape (T, 0) where no file tells that of ``movement_v4``.
    ``sample["length"]["audio"]`` is how many samples are the recording's own; zeros follow. What cannot be used, or was
    left out when the copy was made, has its reason in ``sample["issues"]``; what the recording merely does not have,
    has none.

    Args:
        storage: where the recording is.
        number: of the recording.
        span: when.
        columns: of a record, as ``resolve_modalities`` names them.
        frame_size: height and width that pictures are scaled to, and with them boxes and keypoints, as they are in
            pixels; None leaves them as they are.

    Raises:
        SourceError: the place, not a file, is at fault.
    """
    recording = storage.recording(number)
    ids = FileId.parse(recording.file_id)
    keys = tuple(column for column in columns if column in EVERY_ARRAY)
    is_of_array = not {"video", "vad"} & set(columns) and not any(EVERY_ARRAY[key].is_open for key in keys)
    facts = storage.facts(number, of_array=is_of_array)
    issues: list[Issue] = []
    sample: Sample = {
        "id": recording.file_id,
        "interaction_id": ids.interaction_id,
        "participant_id": ids.participant_id,
        "start": span.start,
        "duration": span.duration,
        "fps": span.fps or facts.fps,
    }
    mask: dict[str, np.ndarray] = {}
    length: dict[str, int] = {}
    if keys:
        _arrays(storage, number, span, keys, facts, sample, mask, issues)
        if frame_size and not PIXELS.keys().isdisjoint(keys):
            _scale(storage, number, frame_size, sample, mask, issues)
    if "audio" in columns:
        sample["audio"], length["audio"] = _audio(storage, number, span, issues)
    if "video" in columns:
        sample["video"], mask["video"] = _video(storage, number, span, facts, frame_size, issues)
    if "vad" in columns:
        records = _records(storage, number, "vad", issues)
        _vad(records, span, facts.fps, storage.duration(number), sample, mask)
    if "transcript" in columns or "segments" in columns:
        segments = _records(storage, number, "transcript", issues)
        words = words_between(segments or [], span.start, span.start + span.duration)
        sample["transcript"] = None if segments is None else " ".join(word["word"] for word in words)
        sample["words"] = [_from(word, span.start) for word in words]
    if "annotations" in columns:
        sample["annotations"] = [
            {"kind": kind, **_from(record, span.start)}
            for kind in ANNOTATION_KINDS
            for record in _records(storage, number, kind, issues, "annotations") or ()
            if _touches(record, span)
        ]
    context = [column for column in columns if column in MODALITIES["context"]]
    if context:
        values, _ = storage.context(number)
        sample.update((column, values[column]) for column in context)
    return {**sample, "mask": mask, "length": length, "issues": issues}


# Looked up for every array of every window.
_BETWEEN = {key: array.between for key, array in EVERY_ARRAY.items()}
_FRAMES_PER_ROW = {key: array.frames_per_row for key, array in EVERY_ARRAY.items()}


def note(issues: list[Issue], column: str, error: BadFile) -> None:
    """Add an error of a file."""
    add_issue(issues, column, error.code, str(error))


def note_left_out(issues: list[Issue], column: str) -> None:
    """Add what a copy was made without."""
    add_issue(issues, column, "not_selected", "this copy was made without it")


def _note_absent(storage: Storage, number: int, part: str, column: str, issues: list[Issue]) -> None:
    """What is not there has an issue if this copy was made without it."""
    if not storage.recording(number).is_meant(part):
        note_left_out(issues, column)


# --- arrays ---------------------------------------------------------------------------------------


def _arrays(
    storage: Storage,
    number: int,
    span: TimeSpan,
    keys: tuple[str, ...],
    facts: Timing,
    sample: Sample,
    mask: dict[str, np.ndarray],
    issues: list[Issue],
) -> None:
    wanted: dict[tuple[int, int], RowsOf] = {}  # by number of rows and frames per row, of which there are few

    def which(key: str, num_rows: int) -> RowsOf:
        kind = num_rows, _FRAMES_PER_ROW[key]
        if kind not in wanted:
            wanted[kind] = span.rows(facts.rate(*kind), kind[1])
        return wanted[kind]

    recording = storage.recording(number)
    needed = dict.fromkeys((*keys, *(MASKS[key] for key in keys if key in MASKS)))
    found = storage.rows(number, needed, lambda key, num_rows: which(key, num_rows)[:2])
    read = {key: _checked(recording.file_id, key, rows, facts) for key, rows in found.items()}
    valid: dict[str, tuple[int, np.ndarray]] = {}  # mask -> rows of the array, and which of those read are valid
    for key in dict.fromkeys(MASKS[key] for key in keys if key in MASKS):
        rows = read[key]
        if isinstance(rows, Rows):
            valid[key] = rows.num_rows, rows.values.reshape(len(rows.values)) != 0
    for key in needed:
        rows = read[key]
        if isinstance(rows, BadFile):
            note(issues, key, rows)
        elif rows is None:
            _note_absent(storage, number, key, key, issues)
        if key not in keys:
            continue
        array = EVERY_ARRAY[key]
        if not isinstance(rows, Rows):
            steps = span.steps(facts.fps / array.frames_per_row, array.frames_per_row)
            shape = (0,) if array.is_open else array.shape
            sample[key], mask[key] = np.zeros((steps, *shape), array.dtype), np.zeros(steps, bool)
            continue
        of = which(key, rows.num_rows)
        own: np.ndarray | None = None
        if key in MASKS:
            num_rows, flags = valid.get(MASKS[key], (0, np.zeros(0, bool)))
            own = flags if num_rows == rows.num_rows else np.zeros(len(rows.values), bool)
        sample[key], mask[key] = _on_grid(rows.values, own, of, _BETWEEN[key])


def _checked(file_id: str, key: str, rows: Rows | BadFile | None, facts: Timing) -> Rows | BadFile | None:
    """The rows, or why there are none to put on a grid."""
    if isinstance(rows, Rows) and not rows.num_rows:
        return EmptyFile(file_id, f"{key} has no frames")
    if isinstance(rows, Rows) and EVERY_ARRAY[key].is_open and not facts.is_usual(rows.num_rows, _FRAMES_PER_ROW[key]):
        return WrongType(file_id, f"{key} has {rows.num_rows} rows, which are not the frames of the recording")
    return rows


def _scale(
    storage: Storage,
    number: int,
    size: tuple[int, int],
    sample: Sample,
    mask: dict[str, np.ndarray],
    issues: list[Issue],
) -> None:
    """Boxes and keypoints to pixels of a picture of this size; masked where no video tells of which size they are."""
    try:
        header = storage.header(number, "video")
        reason = "no video tells of which size it is, so it cannot be scaled"
    except BadFile as error:
        header, reason = None, f"it cannot be scaled: {error}"
    for key in PIXELS.keys() & sample.keys():
        if header is not None:
            factors = {"x": size[1] / header.width, "y": size[0] / header.height, "-": 1.0}
            sample[key] *= np.array([factors[axis] for axis in PIXELS[key]], np.float32)
        elif mask[key].any():
            mask[key][:], sample[key][:] = False, 0
            add_issue(issues, key, "absent", reason)


def _on_grid(values: np.ndarray, valid: np.ndarray | None, of: RowsOf, between: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows from ``of.first`` on, as they are wanted, and their mask."""
    if of.positions is not None:
        return at_positions(values, valid, of.positions - of.first, between)
    if len(values) < of.steps:  # the recording ends within
        padding = np.zeros((of.steps - len(values), *values.shape[1:]), values.dtype)
        inside = np.ones(len(values), bool) if valid is None else valid
        return np.concatenate([values, padding]), np.concatenate([inside, np.zeros(len(padding), bool)])
    values = values if values.flags.writeable else values.copy()
    return values, np.ones(of.steps, bool) if valid is None else valid.copy()


# --- media ----------------------------------------------------------------------------------------


def _audio(storage: Storage, number: int, span: TimeSpan, issues: list[Issue]) -> tuple[np.ndarray, int]:
    """The sound, (N,) float32, and how much of it is the recording's own."""
    first, wanted = round(span.start * SAMPLING_RATE), round(span.duration * SAMPLING_RATE)
    try:
        header = storage.header(number, "audio")
        if header is not None and (header.sampling_rate, header.num_channels) != (SAMPLING_RATE, 1):
            found = f"{header.num_channels} channels at {header.sampling_rate} Hz, expected 1 at {SAMPLING_RATE}"
            raise WrongType(storage.recording(number).file_id, found)
        samples = storage.samples(number, first, first + wanted)
        if samples is None:
            _note_absent(storage, number, "audio", "audio", issues)
    except BadFile as error:
        note(issues, "audio", error)
        samples = None
    if samples is None:
        return np.zeros(wanted, np.float32), 0
    if len(samples) < wanted:
        return np.concatenate([samples, np.zeros(wanted - len(samples), np.float32)]), len(samples)
    return samples, wanted


def _video(
    storage: Storage, number: int, span: TimeSpan, facts: Timing, size: tuple[int, int] | None, issues: list[Issue]
) -> tuple[np.ndarray, np.ndarray]:
    """The frames nearest to the times of the grid, (T, height, width, 3) uint8, and which of them are."""
    times = span.times(facts.fps)
    try:
        video = storage.video(number)
        if video is not None:
            half, shown = 0.5 / facts.fps, video.times
            inside = (times >= shown[0] - half) & (times < shown[-1] + half)
            height, width = size or (video.header.height, video.header.width)
            frames = np.zeros((len(times), height, width, 3), np.uint8)
            if inside.any():
                frames[inside] = video.get_batch(video.numbers_near(times[inside]), size)
            return frames, inside
        _note_absent(storage, number, "video", "video", issues)
    except BadFile as error:
        note(issues, "video", error)
    return np.zeros((len(times), *(size or (0, 0)), 3), np.uint8), np.zeros(len(times), bool)


# --- text -----------------------------------------------------------------------------------------


def _records(
    storage: Storage, number: int, part: str, issues: list[Issue], column: str | None = None
) -> list[dict[str, Any]] | None:
    records = None
    try:
        records = storage.records(number, part)
        problem = records.problem if records else None
        if records is None:
            _note_absent(storage, number, part, column or part, issues)
    except BadFile as error:
        problem = error
    if problem:
        note(issues, column or part, problem)
    return records


def _vad(
    records: list[dict[str, Any]] | None,
    span: TimeSpan,
    fps: float,
    duration: float,
    sample: Sample,
    mask: dict[str, np.ndarray],
) -> None:
    """Whether there is speech at each time of the grid, (T,) bool; without one, when, in seconds from the start."""
    if span.fps is None:
        inside = [record for record in records or () if _touches(record, span)]
        sample["vad"] = None if records is None else [_from(record, span.start) for record in inside]
        return
    times = span.times(fps)
    sample["vad"] = inside_any(records or [], times)
    mask["vad"] = (times < duration) & (records is not None)


def inside_any(records: Iterable[dict[str, Any]], times: np.ndarray) -> np.ndarray:
    """Whether each time lies in one of the intervals, (T,) bool."""
    inside = np.zeros(len(times), bool)
    for record in records:
        inside[np.searchsorted(times, record["start"]) : np.searchsorted(times, record["end"])] = True
    return inside


def _touches(record: dict[str, Any], span: TimeSpan) -> bool:
    start, end = sorted((record["start"], record["end"]))  # some annotations end before they start
    return start < span.start + span.duration and (end > span.start or start == end == span.start)


def _from(record: dict[str, Any], start: float) -> dict[str, Any]:
    """A record with its times counted from ``start``."""
    return {
        name: value - start if name in ("start", "end") and value is not None else value
        for name, value in record.items()
    }


def words_between(segments: Iterable[dict[str, Any]], start: float, end: float) -> list[dict[str, Any]]:
    """The words that are spoken from ``start`` to ``end`` (seconds), wholly or in part.

    A word without times lies where its neighbours in the segment leave room, or the segment does.
    """
    words = []
    for segment in segments:
        if segment["start"] < end and segment["end"] > start:
            after, timed = segment["start"], list(segment["words"])
            for place, word in enumerate(timed):
                first, last = word["start"], word["end"]
                if first is None or last is None:
                    later = (other["start"] for other in timed[place + 1 :] if other["start"] is not None)
                    first, last = after, next(later, segment["end"])
                after = last
                if first < end and last > start:
                    words.append(word)
    return words
