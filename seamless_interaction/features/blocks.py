"""A recording, read block by block on the grid: what each group of features is computed from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from seamless_interaction import ISSUES, SAMPLING_RATE
from seamless_interaction.conversations.interaction import ParticipantRecording
from seamless_interaction.conversations.read_window import Sample, note
from seamless_interaction.errors import BadFile, Issue, MissingDependency, add_issue
from seamless_interaction.formats.text import TextRecords

RATE = 16_000  # Hz: what speech is analysed at
BLOCK = 60.0  # seconds read at a time
_AROUND = 0.1  # seconds read before and after: half a frame of sound, and the reach of the resampler's filter
_STEP = SAMPLING_RATE // RATE

Made = dict[str, tuple[np.ndarray, np.ndarray]]  # key -> (T, D) float32, (T,) bool


class Grid(NamedTuple):
    """Times ``start``, ``start + 1 / fps``, …, seconds from the recording's start."""

    start: float
    fps: float
    frames: int

    @property
    def times(self) -> np.ndarray:
        """(T,) float64"""
        return self.start + np.arange(self.frames) / self.fps

    @property
    def end(self) -> float:
        return self.start + self.frames / self.fps


@dataclass
class Block:
    """Frames ``first`` to ``last`` (exclusive) of a grid, and what the recording has there.

    Attributes:
        lead: how many rows of the sample's arrays lie before ``first``.
        sample: see ``read_window.cut``; some rows more on both sides, as far as there are such.
    """

    grid: Grid
    first: int
    last: int
    lead: int
    sample: Sample

    @property
    def times(self) -> np.ndarray:
        return self.grid.times[self.first : self.last]

    def rows(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """An array's rows from the one before ``first`` on, and their mask; before the recording's first is none.

        So differences of consecutive rows are those of all frames but that one. Rows with NaN or infinity are masked.
        """
        begin, end = self.lead - min(self.lead, 1), self.lead + self.last - self.first
        values, mask = self.sample[key][begin:end], self.sample["mask"][key][begin:end]
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            values = np.where(finite.reshape(-1, *[1] * (values.ndim - 1)), values, 0)
            mask = mask & finite
        return values, mask

    @cached_property
    def speech(self) -> tuple[np.ndarray, int]:
        """The sound at 16 kHz, float32, and the number of its first sample, counted from the recording's start.

        By soxr, which has no delay. Blocks overlap, so what its filter lacks at their ends is never used. Samples
        that are no numbers count as silence.
        """
        soxr = needed("soxr")
        begin = round(self.sample["start"] * SAMPLING_RATE)
        skipped = -begin % _STEP
        sound = np.ascontiguousarray(self.sample["audio"][skipped:])
        if not np.isfinite(sound).all():
            sound = np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0)
        return soxr.resample(sound, SAMPLING_RATE, RATE), (begin + skipped) // _STEP

    def has_sound(self, times: np.ndarray) -> np.ndarray:
        """Whether the recording has a sample of its own at each of these times, (n,) bool."""
        begin = round(self.sample["start"] * SAMPLING_RATE)
        return np.round(times * SAMPLING_RATE) < begin + self.sample["length"]["audio"]


class Extractor(Protocol):
    """One group of features of one recording: fed with blocks in order, then asked for what came out."""

    columns: tuple[str, ...]  # of a record, which it needs

    def add(self, block: Block) -> None: ...

    def finish(self) -> Made: ...


def blocks(
    recording: ParticipantRecording, grid: Grid, columns: list[str], seconds: float, issues: list[Issue]
) -> Iterator[Block]:
    """A recording's blocks, as far as it goes. What is wrong with its files is added to ``issues``, each once."""
    step = max(1, round(seconds * grid.fps))
    duration = recording.duration
    around = max(1, math.ceil(_AROUND * grid.fps))
    for first in range(0, grid.frames, step):
        last = min(grid.frames, first + step)
        lead = min(around, math.floor(grid.start * grid.fps + first + 1e-6))
        begin = max(0.0, grid.start + (first - lead) / grid.fps)
        if begin >= duration:
            return
        sample = recording.window(begin, (last + around - first + lead) / grid.fps, columns, fps=grid.fps)
        for issue in sample["issues"]:
            add_issue(issues, **issue)
        yield Block(grid, first, last, lead, sample)


def needed(name: str) -> Any:
    """A package of the extra ``features``. Raises ``MissingDependency``."""
    from importlib import import_module

    package = {"silero_vad": "silero-vad", "soxr": "librosa"}.get(name, name)
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependency("This group of features", package, "features") from error


def voice_activity(recording: ParticipantRecording, issues: list[Issue]) -> list[dict[str, Any]] | None:
    """The recording's voice activity; None where it is not known: also where it is empty, and words were spoken."""
    try:
        records = recording.vad
        if isinstance(records, TextRecords) and records.problem:
            note(issues, "vad", records.problem)
        if records == [] and any(segment["words"] for segment in recording.segments or ()):
            add_issue(issues, "vad", "vad_contradicts", ISSUES["vad_contradicts"])
            return None
        return records
    except BadFile as error:
        note(issues, "vad", error)
        return None
