"""Voice activity again, by silero-vad, whose wheel holds the model: nothing is fetched."""

from __future__ import annotations

import threading

import numpy as np

from seamless_interaction.conversations.interaction import ParticipantRecording
from seamless_interaction.conversations.read_window import inside_any
from seamless_interaction.errors import Issue
from seamless_interaction.features.blocks import RATE, Block, Grid, Made, needed, voice_activity

_of_thread = threading.local()  # the model, which takes a quarter of a second to load, and has a state
_CHUNK = 512  # samples that the model looks at at a time


class Silero:
    """See ``FEATURES``. The model remembers what it has heard, so it hears all blocks in order, without gaps."""

    columns = ("audio",)

    def __init__(self, recording: ParticipantRecording, grid: Grid, issues: list[Issue]):
        self._torch = needed("torch")
        threads = self._torch.get_num_threads()
        self._silero = needed("silero_vad")
        self._torch.set_num_threads(threads)  # importing silero_vad sets it to 1, for the whole process
        self._model = _of_thread.__dict__.get("model") or self._silero.load_silero_vad()
        _of_thread.model = self._model
        self._model.reset_states()
        self._recording, self._grid, self._issues = recording, grid, issues
        self._begin = round(grid.start * RATE)
        self._next, self._left = self._begin, np.empty(0, np.float32)  # samples that do not fill a chunk wait
        self._probabilities: list[float] = []
        self._mask = np.zeros(grid.frames, bool)

    def add(self, block: Block) -> None:
        self._mask[block.first : block.last] = block.has_sound(block.times)
        sound, begin = block.speech
        end = round((self._grid.start + block.last / self._grid.fps) * RATE)
        heard = np.concatenate([self._left, sound[self._next - begin : end - begin]])
        self._next = end
        whole = len(heard) // _CHUNK * _CHUNK
        self._left = heard[whole:]
        self._hear(heard[:whole])

    def _hear(self, sound: np.ndarray) -> None:
        threads = self._torch.get_num_threads()
        self._torch.set_num_threads(1)  # as silero-vad advises: chunks are small, and threads wait for each other
        try:
            with self._torch.no_grad():
                for chunk in self._torch.from_numpy(sound).split(_CHUNK):
                    self._probabilities.append(float(self._model(chunk, RATE)))
        finally:
            self._torch.set_num_threads(threads)

    def finish(self) -> Made:
        if len(self._left):
            self._hear(np.pad(self._left, (0, _CHUNK - len(self._left))))
        times, mask = self._grid.times, self._mask
        probability, speech = (np.zeros((len(times), 1), np.float32) for _ in range(2))
        if self._probabilities:
            chunks = (np.round(times * RATE).astype(np.intp) - self._begin) // _CHUNK
            heard = np.asarray(self._probabilities, np.float32)[np.minimum(chunks, len(self._probabilities) - 1)]
            probability[mask, 0] = heard[mask]
            segments = self._silero.get_speech_timestamps_from_probs(self._probabilities, sampling_rate=RATE)
            spoken = [{name: (self._begin + at) / RATE for name, at in segment.items()} for segment in segments]
            speech[mask, 0] = inside_any(spoken, times)[mask]
        records = voice_activity(self._recording, self._issues)
        both = mask & (records is not None)
        differs = (inside_any(records or [], times) != (speech[:, 0] > 0)) & both
        return {
            "silero:probability": (probability, mask),
            "silero:speech": (speech, mask.copy()),
            "silero:disagrees": (differs.astype(np.float32)[:, None], both),
        }
