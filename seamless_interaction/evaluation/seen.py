"""A conversation as models are shown it: one vector of each way of looking at it.

``"features"``: of ``features.extract_features``. What is pooled of each column is its mean over the frames where it is
known, 0 where there is none, and of each feature the share of such frames. Log-mel bands are left out, for they are
many; so are features that look further ahead than ``GUARD``, wherever nothing may be seen of what comes.

``"imitator"``: the representation of an ``ImitatorModel``, which knows nothing of later frames. It is not shown words,
of which it would know all from their beginning on, nor the face's code, which V00 alone has, and which comes from the
model that emotion's labels come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from seamless_interaction.conversations.interaction import Interaction
from seamless_interaction.evaluation.turn_events import Interval, Speech, merged
from seamless_interaction.features import Features, extract_features
from seamless_interaction.features.table import features_of

if TYPE_CHECKING:
    from seamless_interaction.evaluation.representation import Representation

FPS = 25.0  # frames a second, of features
GUARD = 0.05  # seconds before a time that are not shown: sound is analysed in 64 ms around a frame
SPANS = (0.5, 3.0)  # seconds up to a time that are pooled
VOICE_SPANS = (1.0, 3.0, 10.0)  # the same, of voice activity
LAST = 1.0  # seconds up to a time of which the representation is pooled, beside its last frame

MANY = ("prosody:log_mel",)
FORESIGHTED_BEYOND = ("prosody:speech_rate",)  # knows of words 1 s ahead, even behind the span that was asked for
FORESIGHTED = (
    *FORESIGHTED_BEYOND,
    *("head:nod", "head:nod_frequency", "head:shake", "head:shake_frequency"),  # of 1 s of movement ahead
    *("silero:speech", "silero:disagrees"),  # of whether speech or silence will last
)

Shown = dict[str, np.ndarray]  # way of looking -> (D,) float32


class Seen:
    """One conversation, and what is shown of it. Features and representation are computed once, when asked for.

    Attributes:
        interaction: the conversation.
        known_end: seconds that all of its recordings reach.
    """

    def __init__(self, interaction: Interaction, groups: tuple[str, ...], representation: Representation | None):
        """Nothing is shown of features if there are no groups, and no representation without a model."""
        self.interaction = interaction
        self.known_end = min((recording.duration for recording in interaction.recordings), default=0.0)
        self._groups, self._representation = groups, representation

    @cached_property
    def features(self) -> Features:
        """Of the whole conversation, both participants, all groups."""
        return extract_features(self.interaction, self._groups, FPS)

    @cached_property
    def _tokens(self) -> np.ndarray:
        assert self._representation is not None
        return self._representation.of(self.interaction)

    def before(self, time: float, who: int, groups: Sequence[str], speech: Speech) -> Shown:
        """What could be known at a time: of the participant ``who`` first, then of the other.

        Of voice activity (the group ``dyadic``), the data's own up to that time: whether each speaks, for how long that
        has been so, and the share of speech in ``VOICE_SPANS``. Of the other groups, features in ``SPANS`` up to
        ``GUARD`` before it, without those that look ahead. Of the representation, the last frame, and ``LAST``.
        """
        shown: Shown = {}
        if self._groups:
            made = [np.zeros(0, np.float32)]
            others = [group for group in groups if group != "dyadic"]
            last = int(np.searchsorted(self.features.times, time - GUARD, side="right")) if others else 0
            for one in (who, 1 - who):
                if "dyadic" in groups:
                    made.append(voice(speech[one], time))
                for seconds in SPANS if others else ():
                    rows = slice(max(0, last - round(seconds * FPS)), last)
                    made.append(of_recording(self.features, one, rows, others, (*MANY, *FORESIGHTED)))
            shown["features"] = np.concatenate(made)
        if self._representation is not None:
            fps = self._representation.fps
            last = max(1, int(time * fps + 1e-6))
            tokens = self._tokens[:, max(0, last - round(LAST * fps)) : last]
            pairs = [(tokens[one, -1], tokens[one].mean(0)) for one in (who, 1 - who)]
            shown["imitator"] = np.concatenate([part for pair in pairs for part in pair])
        return shown

    def during(self, start: float, end: float, who: int, groups: Sequence[str]) -> Shown:
        """Means over a span of seconds: of one participant, then of the partner; zeros where there is none."""
        shown: Shown = {}
        there = [one for one in (who, 1 - who) if one < len(self.interaction)]
        if self._groups:
            rows = slice(round(start * FPS), round(end * FPS))
            shown["features"] = _pair([of_recording(self.features, one, rows, groups) for one in there])
        if self._representation is not None:
            fps = self._representation.fps
            tokens = self._tokens[:, round(start * fps) : round(end * fps)]
            shown["imitator"] = _pair([tokens[one].mean(0) for one in there])
        return shown

    def beginning(self, seconds: float, groups: Sequence[str]) -> Shown:
        """Means over so many seconds, and the differences between partners: who of the two comes first means nothing.

        Features are those of the beginning alone, and know nothing of what follows but for 50 ms of sound.
        """
        shown: Shown = {}
        if self._groups:
            found = extract_features(self.interaction, groups, FPS, 0.0, seconds)
            without = (*MANY, *FORESIGHTED_BEYOND)
            everything = slice(0, len(found.times))
            shown["features"] = _alike([of_recording(found, one, everything, groups, without) for one in (0, 1)])
        if self._representation is not None:
            tokens = self._tokens[:, : max(1, int(seconds * self._representation.fps + 1e-6))]
            shown["imitator"] = _alike([tokens[one].mean(0) for one in (0, 1)])
        return shown


def _pair(vectors: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(vectors if len(vectors) == 2 else [*vectors, np.zeros_like(vectors[0])])


def _alike(vectors: list[np.ndarray]) -> np.ndarray:
    first, second = vectors
    return np.concatenate([(first + second) / 2, np.abs(first - second)])


def pooled(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean (D,) of rows (T, D) where the mask is true, and the mask's mean: (D + 1,) float32."""
    known = int(mask.sum())
    mean = values[mask].mean(0) if known else np.zeros(values.shape[1])
    return np.append(mean, known / max(len(mask), 1)).astype(np.float32)


def of_recording(
    features: Features, who: int, rows: slice, groups: Sequence[str], without: Sequence[str] = MANY
) -> np.ndarray:
    """What is known of one participant within some rows, (D,) float32."""
    participant = list(features)[who]
    keys = [feature.key for feature in features_of(groups) if feature.key not in without]
    made = [pooled(features[participant][key][rows], features.masks[participant][key][rows]) for key in keys]
    return np.concatenate([np.zeros(0, np.float32), *made])


def voice(speech: list[Interval], time: float) -> np.ndarray:
    """Of one participant's voice activity up to a time: (2 + 1 + len(VOICE_SPANS),) float32.

    Whether it speaks; for how many seconds it has been speaking, or silent (up to 10); the shares of speech.
    """
    past = merged([{"start": start, "end": end} for start, end in speech if start < time], time)
    speaks = bool(past) and past[-1][1] >= time - 1e-6
    changed = 0.0 if not past else past[-1][0] if speaks else past[-1][1]
    lasted = min(time - changed, VOICE_SPANS[-1])
    shares = [
        sum(max(0.0, end - max(start, time - seconds)) for start, end in past) / seconds for seconds in VOICE_SPANS
    ]
    return np.array([speaks, lasted * speaks, lasted * (not speaks), *shares], np.float32)
