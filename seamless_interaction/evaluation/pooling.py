"""Features of a conversation as one vector: what a linear model is shown.

Per frame they come from ``features.extract_features``. What is pooled of each column is its mean over the frames where
it is known, 0 where there is none, and of each feature the share of such frames. Log-mel bands are left out, for they
are many; so are features that look further ahead than ``GUARD``, wherever nothing may be seen of what comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seamless_interaction.access.interaction import Interaction
from seamless_interaction.evaluation.turn_events import Interval, Speech, merged
from seamless_interaction.features import Features, extract_features
from seamless_interaction.features.table import features_of

FPS = 25.0  # frames a second
GUARD = 0.05  # seconds before a time that are not shown: sound is analysed in 64 ms around a frame
SPANS = (0.5, 3.0)  # seconds up to a time that are pooled
VOICE_SPANS = (1.0, 3.0, 10.0)  # the same, of voice activity

MANY = ("prosody:log_mel",)
FORESIGHTED_BEYOND = ("prosody:speech_rate",)  # knows of words 1 s ahead, even behind the span that was asked for
_FORESIGHTED = (
    *FORESIGHTED_BEYOND,
    *("head:nod", "head:nod_frequency", "head:shake", "head:shake_frequency"),  # of 1 s of movement ahead
    *("silero:speech", "silero:disagrees"),  # of whether speech or silence will last
)


def pooled(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean (D,) of rows (T, D) where the mask is true, and the mask's mean: (D + 1,) float32."""
    known = int(mask.sum())
    mean = values[mask].mean(0) if known else np.zeros(values.shape[1])
    return np.append(mean, known / max(len(mask), 1)).astype(np.float32)


def of_recording(features: Features, participant: str, rows: slice, without: Sequence[str] = MANY) -> np.ndarray:
    """What is known of one participant within some rows, (D,) float32."""
    keys = [feature.key for feature in features_of(features.groups) if feature.key not in without]
    made = [pooled(features[participant][key][rows], features.masks[participant][key][rows]) for key in keys]
    return np.concatenate([np.zeros(0, np.float32), *made])


class History:
    """What could be known at a time of a conversation, as a vector: of one participant, then of the other.

    Of voice activity (the group ``dyadic``), the data's own up to that time: whether each speaks, for how long that
    has been so, and the share of speech in ``VOICE_SPANS``. Of the other groups, features in ``SPANS`` up to ``GUARD``
    before it, without those that look ahead.
    """

    def __init__(self, interaction: Interaction, groups: tuple[str, ...], speech: Speech):
        self._speech, self._voice = speech, "dyadic" in groups
        others = tuple(group for group in groups if group != "dyadic")
        self._features = extract_features(interaction, others, FPS) if others else None
        self._participants = interaction.participants

    def at(self, time: float, who: int) -> np.ndarray:
        """(D,) float32 of what came before ``time`` (s); the participant ``who`` comes first."""
        made = [np.zeros(0, np.float32)]
        for one in (who, 1 - who):
            if self._voice:
                made.append(voice(self._speech[one], time))
            if self._features is not None:
                last = int(np.searchsorted(self._features.times, time - GUARD, side="right"))
                made += [
                    of_recording(
                        self._features,
                        self._participants[one],
                        slice(max(0, last - round(seconds * FPS)), last),
                        (*MANY, *_FORESIGHTED),
                    )
                    for seconds in SPANS
                ]
        return np.concatenate(made)


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


def known_end(interaction: Interaction) -> float:
    """Seconds that all recordings of a conversation reach."""
    return min((recording.duration for recording in interaction.recordings), default=0.0)
