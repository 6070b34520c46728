"""How the face moves, by the arrays of Meta's own face model, whose definitions are not public.

Rows that movement:is_valid calls invalid are masked, and so are rows whose action units are exactly zero throughout:
invalid rows are filled with zeros, in rare files two frames beside where the mask says so.
"""

from __future__ import annotations

import numpy as np

from seamless_interaction.conversations.interaction import ParticipantRecording
from seamless_interaction.errors import Issue
from seamless_interaction.features.blocks import Block, Grid, Made
from seamless_interaction.features.motion import at_rows
from seamless_interaction.features.table import ACTION_UNITS

_CHEEK_RAISER, _LIP_CORNER_PULLER = 4, 8
_BROW = (0, 1, 2)


class Face:
    """See ``FEATURES``."""

    columns = ("movement:FAUValue", "movement:gaze_encodings")

    def __init__(self, recording: ParticipantRecording, grid: Grid, issues: list[Issue]):
        self._fps = grid.fps
        self._units = np.zeros((grid.frames, 24), np.float32)
        self._gaze = np.zeros((grid.frames, 1), np.float32)
        self._of_units, self._of_gaze = np.zeros(grid.frames, bool), np.zeros(grid.frames, bool)

    def add(self, block: Block) -> None:
        rows, frames = slice(block.first, block.last), block.last - block.first
        units, mask = block.rows("movement:FAUValue")
        mask = mask & units.any(1)
        self._units[rows], self._of_units[rows] = (units * mask[:, None])[-frames:], mask[-frames:]
        gaze, of_gaze = block.rows("movement:gaze_encodings")
        speed = np.linalg.norm(np.diff(gaze, axis=0), axis=1, keepdims=True) * self._fps
        self._gaze[rows], self._of_gaze[rows] = at_rows(speed, mask & of_gaze, frames)

    def finish(self) -> Made:
        units, mask = self._units[:, list(ACTION_UNITS)], self._of_units
        made = {
            "face:action_units": units,
            "face:activity": units.mean(1, keepdims=True),
            "face:smile": self._units[:, [_CHEEK_RAISER, _LIP_CORNER_PULLER]].sum(1, keepdims=True),
            "face:brow": self._units[:, list(_BROW)],
        }
        return {
            **{key: (values, mask.copy()) for key, values in made.items()},
            "face:gaze_speed": (self._gaze, self._of_gaze),
        }
