"""Time: when each row of an array is, and which rows a window takes.

Time is in seconds from a recording's start, where all its parts begin. Each part has a clock of its own:

- audio: sample n is at n / sampling rate;
- video: a frame is at its presentation time;
- arrays: row i is at i / rate. The rate is the video's average one, divided by the frames a row stands for, if there
  are as many rows as that makes. Else (the real data have six recordings with 191 to 240 rows a second of 30 fps video,
  and 70 with half a second too many or too few) the rows are taken to span the recording evenly: rows / duration.

A window has a grid, ``fps`` times a second from its start on, or the recording's own rows. What is taken for a time of
the grid is off by at most half a frame of the recording's own (nearest row or frame), half a sample (audio), or nothing
(what is interpolated). So any two parts of a window agree within one frame, as far as the video's frames are evenly
spaced and begin at 0; one that begins late, or has a varying rate, adds what it differs from that.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from seamless_interaction import MAX_FRAMES_APART, USUAL_FPS, FileId
from seamless_interaction.formats.audio import AudioHeader
from seamless_interaction.formats.mp4 import VideoHeader

_WHOLE = 1e-6  # rows: what differs less is the same
_APART = 0.5  # seconds that arrays and audio may differ by, where no video tells the rate


class Timing(NamedTuple):
    """What is known of a recording's time: the headers of its media, None where it has none that can be used."""

    file_id: str
    video: VideoHeader | None
    audio: AudioHeader | None

    @property
    def fps(self) -> float:
        """Frames a second: the video's average rate; without a video, what is usual for the vendor."""
        return (self.video and self.video.fps) or USUAL_FPS[FileId.parse(self.file_id).vendor]

    @property
    def duration(self) -> float | None:
        """Seconds, of the video, else of the audio."""
        media = self.video or self.audio
        return media.duration if media else None

    def is_usual(self, num_rows: int, frames_per_row: int) -> bool:
        """Whether an array with so many rows has them as often as the format says, as far as media tell."""
        frames = num_rows * frames_per_row
        if self.video:
            return abs(frames - self.video.num_frames) < frames_per_row + MAX_FRAMES_APART
        if self.audio:
            return abs(frames - self.audio.duration * self.fps) <= max(_APART * self.fps, frames_per_row)
        return True

    def rate(self, num_rows: int, frames_per_row: int) -> float:
        """Rows a second of an array with so many rows."""
        if self.is_usual(num_rows, frames_per_row) or not num_rows or not self.duration:
            return self.fps / frames_per_row
        return num_rows / self.duration


class TimeSpan(NamedTuple):
    """A window's place in time, seconds, and its grid: ``fps`` a second, or None for each recording's own rows."""

    start: float
    duration: float
    fps: float | None

    def steps(self, rate: float, frames_per_row: int = 1) -> int:
        """How many rows it has of an array with so many rows a second."""
        return round(self.duration * (self.fps / frames_per_row if self.fps else rate))

    def times(self, rate: float) -> np.ndarray:
        """(steps,) float64: the times of its grid; without one, of the rows at this rate."""
        if self.fps:
            return self.start + np.arange(self.steps(rate)) / self.fps
        return (round(self.start * rate) + np.arange(self.steps(rate))) / rate

    def rows(self, rate: float, frames_per_row: int) -> RowsOf:
        """Which rows it takes of an array with so many rows a second."""
        steps = self.steps(rate, frames_per_row)
        step = rate * frames_per_row / self.fps if self.fps else 1.0
        at = self.start * rate
        if not self.fps or (abs(step - 1) * steps < _WHOLE and abs(at - round(at)) < _WHOLE):
            return RowsOf(round(at), round(at) + steps, steps, None)
        positions = at + np.arange(steps) * step
        last = math.ceil(positions[-1] - _WHOLE) + 1 if steps else math.floor(at)
        return RowsOf(math.floor(at + _WHOLE), last, steps, positions)


class RowsOf(NamedTuple):
    """Rows ``first`` to ``last`` (exclusive) of an array, and which positions among all its rows are wanted.

    ``positions`` is None where these rows are themselves the ``steps`` that are wanted.
    """

    first: int
    last: int
    steps: int
    positions: np.ndarray | None
