"""What an ``ImitatorModel`` makes of whole conversations, which it reads stretch by stretch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seamless_interaction.conversations.interaction import Interaction
from seamless_interaction.models.config import COLUMNS, FACE
from seamless_interaction.models.imitator import ImitatorModel, digest_of

# Without the face, which V00 alone has; and without words, of which the model knows all from their beginning on.
SHOWN = tuple(name for name in COLUMNS if name not in (FACE, "transcript"))


class Representation:
    """A model, and what it is called in results.

    Attributes:
        fps: rows a second.
        digest: of its weights.
    """

    def __init__(self, model: ImitatorModel):
        self.model, self.fps, self.digest = model.eval(), model.config.fps, digest_of(model)

    @torch.no_grad()
    def of(self, interaction: Interaction) -> np.ndarray:
        """(P, T, D) float32: of each participant, in the order of the recordings, from their own point of view."""
        frames = max(1, int(interaction.duration * self.fps + 1e-6))
        back = self.model.reach
        at_once = max(2 * back, 256)
        parts: list[np.ndarray] = []
        for first in range(0, frames, at_once):
            begin, last = max(0, first - back), min(frames, first + at_once)
            window: Any = interaction.window(begin / self.fps, (last - begin) / self.fps, list(SHOWN), fps=self.fps)
            streams = self.model.read(window.stack())
            views = []
            for who in range(len(interaction)):
                of_both = streams.swapped(torch.tensor([who == 1], device=self.model.device))
                views.append(self.model.encode_streams(of_both).joint[0, 0, first - begin :])
            parts.append(torch.stack(views).float().cpu().numpy())
        return np.concatenate(parts, 1)
