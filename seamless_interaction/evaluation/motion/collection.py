"""Clips of conversations, read once for all tasks of a run; some of ``train``; and the space that these make."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seamless_interaction.conversations.interaction import Interaction
from seamless_interaction.errors import UsageError
from seamless_interaction.evaluation.motion.clips import FPS, Clips, clips_of
from seamless_interaction.evaluation.motion.space import MotionSpace, chunks, learn, read_space
from seamless_interaction.models.config import ImitatorConfig
from seamless_interaction.models.rotations import to_six

KEPT = 1024  # clips of train, of which each is as likely to be kept as any other: about 65 MB


class Collection:
    """See above.

    Attributes:
        kept: (MADE, 22, 6) six numbers each, of what was to be made in clips of ``train``.
    """

    def __init__(self, config: ImitatorConfig, space: str | Path | None, keep_space_in: str | Path | None, seed: int):
        """``space`` is a file; without one, a space is learnt, and written to the other folder, if there is one.

        Raises:
            UsageError: the model of this config has another number of frames a second.
        """
        if config.fps != FPS:
            raise UsageError(f"the model makes {config.fps} frames a second, and motion is measured at {FPS}.")
        self._config = config
        self._given, self._keep_space_in, self._seed = None if space is None else read_space(space), keep_space_in, seed
        self._random = np.random.default_rng(seed)
        self._count = 0
        self.kept: list[Tensor] = []
        self._last: tuple[str, tuple[Clips | None, Counter[str]]] | None = None
        self._learnt: str | None = None

    def clips(self, interaction: Interaction) -> tuple[Clips | None, Counter[str]]:
        """See ``clips_of``; those of the last conversation are not read again."""
        if self._last is None or self._last[0] != interaction.id:
            self._last = interaction.id, clips_of(interaction, self._config)
        return self._last[1]

    def learn(self, interaction: Interaction) -> None:
        """Keep some of its clips; once, whichever tasks ask for it."""
        clips, _ = self.clips(interaction)
        if clips is None or self._learnt == interaction.id:
            return
        self._learnt = interaction.id
        for six in to_six(clips.made):
            self._count += 1
            if len(self.kept) < KEPT:
                self.kept.append(six.clone())
            elif (at := int(self._random.integers(self._count))) < KEPT:
                self.kept[at] = six.clone()

    @cached_property
    def space(self) -> MotionSpace:
        """The one that was given; else one that is learnt from what was kept."""
        if self._given is not None:
            return self._given
        made = learn(chunks(torch.stack(self.kept)), self._seed)
        if self._keep_space_in is not None:
            made.write(Path(self._keep_space_in))
        return made
