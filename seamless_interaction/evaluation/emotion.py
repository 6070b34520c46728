"""Emotion: what Meta's own face model says of a face, told from all else. Pseudo-labels: nobody has felt or seen it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from seamless_interaction import EMOTIONS
from seamless_interaction.conversations.interaction import ParticipantRecording
from seamless_interaction.errors import BadFile
from seamless_interaction.evaluation.protocol import Part, Sample, Telling
from seamless_interaction.evaluation.seen import Seen

SECONDS = 4.0  # of a window; windows lie end to end
VALID = 0.5  # share of a window's rows that must be valid
_KEYS = {
    "arousal": "movement:emotion_arousal",
    "valence": "movement:emotion_valence",
    "scores": "movement:emotion_scores",
}


def samples(seen: Seen, groups: tuple[str, ...], left_out: Counter[str]) -> Iterator[Sample]:
    """Of each participant who has the arrays, the windows that are valid enough."""
    labels = [_labels(one, left_out) for one in seen.interaction.recordings]
    if not any(labels):
        left_out["no valid movement"] += 1
    for who, found in enumerate(labels):
        for number, targets in sorted(found.items()):
            shown = seen.during(number * SECONDS, (number + 1) * SECONDS, who, groups)
            for part, target in targets.items():
                yield Sample(part, (number + 1) * SECONDS, target, shown)


def _labels(recording: ParticipantRecording, left_out: Counter[str]) -> dict[int, dict[str, float | int]]:
    """Number of a window -> part -> target: the mean of the valid rows; of scores, which of the eight is highest."""
    try:
        arrays = {
            part: (recording.array(key), recording.mask(key), recording.times(key)) for part, key in _KEYS.items()
        }
    except BadFile:
        left_out["movement cannot be read (recordings)"] += 1
        return {}
    found: dict[int, dict[str, float | int]] = {}
    for part, (values, mask, times) in arrays.items():
        if values is None or mask is None or times is None:
            continue
        for number in range(int(recording.duration / SECONDS + 1e-6)):
            first, last = np.searchsorted(times, [number * SECONDS - 1e-6, (number + 1) * SECONDS - 1e-6])
            valid = mask[first:last] & np.isfinite(values[first:last]).all(1)
            if len(times) > 1 and valid.sum() * (times[1] - times[0]) >= VALID * SECONDS - 1e-6:
                mean = np.asarray(values[first:last][valid], float).mean(0)
                found.setdefault(number, {})[part] = int(mean.argmax()) if part == "scores" else float(mean[0])
    return found


EMOTION = Telling(
    name="emotion",
    version=1,
    task=(
        "Pseudo-label prediction: tell what the model behind `movement:*` says of a participant's face in 4 s: mean "
        f"arousal and valence, and which of its eight scores is highest: {', '.join(EMOTIONS)}."
    ),
    input=(
        "Both participants' features in the same 4 s, some of which look 1 s beyond; without the face unless it is "
        "asked for."
    ),
    target=(
        "Means over the valid frames of `movement:emotion_arousal`, `movement:emotion_valence`, and the number (0 to "
        "7) of the highest mean of `movement:emotion_scores`; windows with half of their frames valid or more."
    ),
    baselines=(
        "prior: mean, or the most frequent number; linear: ridge and logistic regression; imitator: the same on means "
        "of the model's representation, to which no face is shown."
    ),
    hides=(
        "Labels are outputs of a model that is not public, of V00 alone: agreement with it is not agreement with what "
        "anybody felt or saw, and its errors are counted as truth. The names of the eight scores are derived from "
        "values and not documented. With the group face, inputs are outputs of the same model."
    ),
    parts=(
        Part("arousal", "regression", ("ccc", "mae")),
        Part("valence", "regression", ("ccc", "mae")),
        Part("scores", "classes", ("uar", "accuracy", "macro_f1", "map")),
    ),
    groups=("prosody", "head", "gesture", "dyadic"),
    samples=samples,
)
