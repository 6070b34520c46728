"""How somebody speaks: mel bands, loudness, pitch, and words a second.

Frames are 64 ms of the sound at 16 kHz around each time of the grid, rounded to the nearest sample (31 µs at most):
30 times a second is no whole number of samples, so librosa's own framing, with one hop for all, would drift.

Pitch is YIN's (0.1 s of one core for a minute). pYIN, whose voicing is a probability, takes 4.6 s for the same
frames, more than two recordings at 30 times real time leave; so voicing is a rule here: the normalised
autocorrelation at YIN's period, against Boersma's threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seamless_interaction.conversations.interaction import ParticipantRecording
from seamless_interaction.conversations.read_window import note
from seamless_interaction.errors import BadFile, Issue
from seamless_interaction.features.blocks import RATE, Block, Grid, Made, needed
from seamless_interaction.features.table import NUM_MELS

FRAME = 1024  # samples
LOWEST_DB = -100.0
F0_MIN, F0_MAX = 60.0, 500.0  # Hz
VOICED_FROM = 0.45  # Boersma 1993
SILENT_BELOW = -50.0  # dBFS
RATE_REACH = 1.0  # seconds to either side that words are counted in

_AT_ONCE = 1024  # frames, of which a spectrum is 4 MB


class Prosody:
    """See ``FEATURES``."""

    columns = ("audio",)

    def __init__(self, recording: ParticipantRecording, grid: Grid, issues: list[Issue]):
        librosa, frames = needed("librosa"), grid.frames
        self._recording, self._grid, self._issues = recording, grid, issues
        self._librosa = librosa
        self._window = librosa.filters.get_window("hann", FRAME).astype(np.float32)
        self._mel = librosa.filters.mel(sr=RATE, n_fft=FRAME, n_mels=NUM_MELS)
        self._values = {"log_mel": np.zeros((frames, NUM_MELS), np.float32)}
        self._values |= {name: np.zeros((frames, 1), np.float32) for name in ("rms", "f0")}
        self._values["voicing"] = np.zeros((frames, 2), np.float32)
        self._mask = np.zeros(frames, bool)

    def add(self, block: Block) -> None:
        inside = block.has_sound(block.times)
        self._mask[block.first : block.last] = inside
        if not inside.any():
            return
        sound, begin = block.speech
        padded = np.pad(sound, FRAME)
        cut = np.lib.stride_tricks.sliding_window_view(padded, FRAME)
        starts = np.round(block.times * RATE).astype(np.intp) - begin + FRAME - FRAME // 2
        for first in range(0, len(inside), _AT_ONCE):
            own = inside[first : first + _AT_ONCE]
            at = block.first + first + np.flatnonzero(own)
            if len(at):
                self._analyse(cut[starts[first : first + _AT_ONCE][own]], at)

    def _analyse(self, frames: np.ndarray, at: np.ndarray) -> None:
        """Frames (n, FRAME), and their places on the grid."""
        spectrum = np.fft.rfft(frames * self._window, axis=-1)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        # Clipped as decibels again: some processors make -100.00001 of the logarithm of a clipped float32.
        log_mel = self._librosa.power_to_db(power @ self._mel.T, amin=1e-10, top_db=None)
        self._values["log_mel"][at] = np.maximum(log_mel, LOWEST_DB)
        rms = np.sqrt(np.mean(np.square(frames), axis=-1))
        decibels = np.maximum(20 * np.log10(np.maximum(rms, 10 ** (LOWEST_DB / 20))), LOWEST_DB)
        self._values["rms"][at, 0] = decibels
        loud = decibels >= SILENT_BELOW
        if loud.any():
            f0, strength = pitch(frames[loud], self._librosa)
            voiced = strength >= VOICED_FROM
            self._values["f0"][at[loud], 0] = np.where(voiced, f0, 0.0)
            self._values["voicing"][at[loud]] = np.stack([voiced, strength], 1)

    def finish(self) -> Made:
        made = {f"prosody:{name}": (values, self._mask.copy()) for name, values in self._values.items()}
        made["prosody:f0"] = self._values["f0"], self._mask & (self._values["voicing"][:, 0] > 0)
        try:
            segments = self._recording.segments
        except BadFile as error:
            segments = None
            note(self._issues, "transcript", error)
        rate = np.zeros((self._grid.frames, 1), np.float32)
        known = np.zeros(self._grid.frames, bool)
        if segments is not None:
            duration = self._recording.duration
            known = self._grid.times < duration
            rate[known, 0] = speech_rate(word_times(segments), self._grid.times[known], duration)
        made["prosody:speech_rate"] = rate, known
        return made


def pitch(frames: np.ndarray, librosa: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of frames (n, FRAME): fundamental frequency in Hz, float64; normalised autocorrelation there, 0 to 1, float32."""
    f0 = librosa.yin(
        np.ascontiguousarray(frames).ravel(),
        fmin=F0_MIN,
        fmax=F0_MAX,
        sr=RATE,
        frame_length=FRAME,
        hop_length=FRAME,
        center=False,
    )
    f0 = np.clip(np.nan_to_num(f0, nan=F0_MIN), F0_MIN, F0_MAX)
    strength = np.zeros(len(frames))
    periods = np.round(RATE / f0).astype(np.intp)
    for period in np.unique(periods):
        of = periods == period
        early, late = frames[of, :-period], frames[of, period:]
        both = np.einsum("ij,ij->i", early, late)
        norm = np.sqrt(np.einsum("ij,ij->i", early, early) * np.einsum("ij,ij->i", late, late))
        strength[of] = both / np.maximum(norm, 1e-12)
    return f0, np.clip(strength, 0.0, 1.0).astype(np.float32)


def word_times(segments: list[dict[str, Any]]) -> np.ndarray:
    """The middle of each word, seconds, ascending. Words without times share the room that their neighbours leave."""
    middles: list[float] = []
    for segment in segments:
        words = segment["words"]
        timed = [number for number, word in enumerate(words) if None not in (word["start"], word["end"])]
        places = [-1.0, *map(float, timed), float(len(words))]
        known = [(words[number]["start"] + words[number]["end"]) / 2 for number in timed]
        middles += np.interp(range(len(words)), places, [segment["start"], *known, segment["end"]]).tolist()
    return np.sort(np.asarray(middles, float))


def speech_rate(words: np.ndarray, times: np.ndarray, duration: float) -> np.ndarray:
    """Words a second around each time, by the seconds around it that lie within the recording."""
    begin, end = np.maximum(times - RATE_REACH, 0.0), np.minimum(times + RATE_REACH, duration)
    return (np.searchsorted(words, end) - np.searchsorted(words, begin)) / np.maximum(end - begin, 1e-9)
