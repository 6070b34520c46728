"""Turn-taking: who speaks next, and how long, from what has been said so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from seamless_interaction.evaluation.protocol import Part, Sample, Telling
from seamless_interaction.evaluation.seen import Seen
from seamless_interaction.evaluation.turn_events import merged, turn_events
from seamless_interaction.features.blocks import voice_activity

METRICS = ("balanced_accuracy", "weighted_f1", "precision", "recall", "auroc")
PARTS = ("shift-hold", "shift-prediction", "short-long", "backchannel-prediction")


def samples(seen: Seen, groups: tuple[str, ...], left_out: Counter[str]) -> Iterator[Sample]:
    """The events of a conversation."""
    if len(seen.interaction) != 2:
        left_out["one participant only"] += 1
        return
    records = [voice_activity(recording, []) for recording in seen.interaction.recordings]
    if records[0] is None or records[1] is None:
        left_out["voice activity not known"] += 1
        return
    speech = merged(records[0], seen.known_end), merged(records[1], seen.known_end)
    for event in turn_events(speech, seen.known_end):
        yield Sample(event.part, event.time, int(event.is_positive), seen.before(event.time, event.who, groups, speech))


TURN_TAKING = Telling(
    name="turn-taking",
    version=1,
    task=(
        "Tell, at an event of turn-taking, how it goes on: whether the floor shifts or is held in a silence "
        "(shift-hold), or will be after the speech under way (shift-prediction); whether what has begun is a short "
        "or a turn (short-long); whether the listener is about to give a backchannel (backchannel-prediction)."
    ),
    input="What was heard and seen of both participants up to the event, and who spoke when.",
    target="Positive are shift, shift, short and backchannel. `turn_events` has the definitions and their figures.",
    baselines=(
        "prior: the most frequent; linear: logistic regression on features of the last 0.5, 1, 3 and 10 s; imitator: "
        "the same on the model's representation of the last frame, and its mean over the last second."
    ),
    hides=(
        "Labels follow from the data's voice activity alone, itself the output of a model that looks a little ahead: "
        "words, laughter and sense count for nothing, and its errors count as events. Only clean events are counted, "
        "so overlaps and hurried exchanges are not measured. That an event is one is given, as in the paper; a system "
        "would have to notice. Being right at one moment says nothing of how early a model knew. Longs begin in "
        "silence after a shift, and a backchannel's negatives lie where the partner speaks alone, while a short may "
        "come in silence: who speaks at that moment tells a part of both."
    ),
    parts=tuple(Part(name, "binary", METRICS) for name in PARTS),
    groups=("prosody", "head", "dyadic"),
    samples=samples,
)
