"""Clips: a participant's second that is known, and the four that follow; what is shown of them; what was done then."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from seamless_interaction.conversations.collate import collate
from seamless_interaction.conversations.interaction import Interaction
from seamless_interaction.models.config import COLUMNS, FACE, JOINTS, ImitatorConfig
from seamless_interaction.models.rotations import between
from seamless_interaction.models.streams import Streams, read

FPS = 30
PAST, MADE = 30, 120  # frames: what is known of a clip, and what is to be made
CLIPS = 8  # of each participant in a conversation, at most, spread evenly: a long one counts no more than a short one
SHOWN = tuple(name for name in COLUMNS if name != FACE)  # which V00 alone has
HEARD = ("own", "partner")  # as numbers of streams
NUM_BODY = sum(count for key, count in JOINTS.items() if "hand" not in key)  # the first 22 joints: without hands
_SECONDS = (PAST + MADE) / FPS


class Name(NamedTuple):
    """Which clip it is: whose, and when it begins, seconds."""

    participant_id: str
    start: float


@dataclass
class Clips:
    """Clips of one conversation.

    Attributes:
        names: of each of the B clips.
        who: (B,) number of the recording.
        streams: what was recorded, ``PAST`` + ``MADE`` frames; whose clip it is comes first.
    """

    names: list[Name]
    who: np.ndarray
    streams: Streams

    def __len__(self) -> int:
        return len(self.names)

    @property
    def body(self) -> Tensor:
        """(B, PAST + MADE, 22, 3, 3): how the body really moved."""
        return self.streams.motion[:, 0, :, :NUM_BODY]

    @property
    def made(self) -> Tensor:
        """(B, MADE, 22, 3, 3): the same, of what is to be made."""
        return self.body[:, PAST:]

    def sound(self, heard: str) -> np.ndarray:
        """(B, samples) 48 kHz, of the whole clips."""
        return self.streams.audio[:, HEARD.index(heard)].flatten(1).numpy()

    def digests(self, heard: str) -> list[str]:
        """Of each clip, of the motion and of the sound that is heard."""
        motion = (self.body * 100).round().to(torch.int16).flatten(1).numpy()
        sound = (self.sound(heard) * 32767).round().astype(np.int16)
        return [
            f"{crc32(one.tobytes()):08x}{crc32(other.tobytes()):08x}" for one, other in zip(motion, sound, strict=True)
        ]

    def with_sound(self, heard: str, left_out: Counter[str]) -> Clips:
        """Those in which the sound of whoever is heard is known throughout."""
        known = self.streams.has_audio[:, HEARD.index(heard)].all(-1)
        left_out["clips without sound throughout"] += int((~known).sum())
        return self.take(np.flatnonzero(known.numpy()))

    def take(self, numbers: np.ndarray) -> Clips:
        """Some of them."""
        chosen = torch.from_numpy(numbers)
        return Clips([self.names[n] for n in numbers], self.who[numbers], self.streams.map(lambda part: part[chosen]))

    def others(self) -> np.ndarray:
        """(B,) for each clip, the number of another of the same participant: the next, or the first; -1 without one."""
        found = np.full(len(self), -1)
        for one in np.unique(self.who):
            own = np.flatnonzero(self.who == one)
            if len(own) > 1:
                found[own] = np.roll(own, -1)
        return found


def clips_of(interaction: Interaction, config: ImitatorConfig) -> tuple[Clips | None, Counter[str]]:
    """The clips of both participants in which the body is known throughout, and what was left out, and why.

    Args:
        config: of the model that is to read them; its frames a second are ``FPS``.
    """
    left_out: Counter[str] = Counter()
    if len(interaction) != 2:
        return None, Counter({"one participant only": 1})
    known = min(recording.duration for recording in interaction.recordings)
    starts = np.arange(int(known / _SECONDS + 1e-6)) * _SECONDS
    if not len(starts):
        return None, Counter({f"shorter than {_SECONDS:g} s": 1})
    starts = starts[np.unique(np.linspace(0, len(starts) - 1, CLIPS).round().astype(int))]
    samples = [interaction.window(float(start), _SECONDS, list(SHOWN), fps=FPS).stack() for start in starts]
    streams = read(collate(samples, 1, True), config)
    whole = streams.has_motion[..., :2].all(-1).all(-1)
    left_out["clips without a body throughout"] += int((~whole).sum())
    numbers, who = np.nonzero(whole.numpy())
    chosen = streams.map(lambda part: part[torch.from_numpy(numbers)]).swapped(torch.from_numpy(who == 1))
    names = [
        Name(interaction.participants[one], float(starts[number])) for number, one in zip(numbers, who, strict=True)
    ]
    return Clips(names, who, chosen), left_out


def without(streams: Streams, heard: str) -> Streams:
    """What is shown: of the one whose motion is to be made, no motion; of sound and words, those of one of the two.

    Of the partner, the motion too, if it is the partner who is heard.
    """
    shown = streams.map(torch.clone)
    shown.has_motion[:, 0] = shown.has_face[:, 0] = False
    silent = 1 - HEARD.index(heard)
    shown.has_audio[:, silent] = shown.has_text[:, silent] = False
    if heard == "own":
        shown.has_motion[:, 1] = shown.has_face[:, 1] = False
    return shown


def turns(body: Tensor) -> Tensor:
    """(..., T, 22, 3, 3) to (..., T - 1, 22, 3): from each frame to the next, in each joint's own frame, radians."""
    return between(body[..., :-1, :, :, :], body[..., 1:, :, :, :])
