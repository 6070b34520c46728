"""Interaction understanding: what kind of conversation this is, and between whom, from its beginning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from seamless_interaction.evaluation.protocol import Part, Sample, Telling
from seamless_interaction.evaluation.seen import FPS, Seen

SHARES = (10, 25, 50)  # per cent of the conversation
TARGETS = {"interaction-type": "interaction_type", "relationship": "relationship"}  # part -> in the context


def samples(seen: Seen, groups: tuple[str, ...], left_out: Counter[str]) -> Iterator[Sample]:
    """Of a conversation of two, one for each share of it and each target that is known."""
    if len(seen.interaction) != 2:
        left_out["one participant only"] += 1
        return
    context = seen.interaction.recordings[0].context
    targets = {part: context[name] for part, name in TARGETS.items()}
    for part, target in targets.items():
        left_out[f"{part} not known"] += target is None
    for share in SHARES:
        seconds = seen.interaction.duration * share / 100
        if seconds * FPS < 1:
            left_out[f"nothing in {share} %"] += 1
            continue
        shown = seen.beginning(seconds, groups) if any(targets.values()) else {}
        for part, target in targets.items():
            if target is not None:
                yield Sample(f"{part}-{share}", seconds, str(target), shown)


UNDERSTANDING = Telling(
    name="understanding",
    version=1,
    task="Tell the type of a conversation, and whether its participants are strangers, from its first 10, 25 and 50 %.",
    input="Features of both participants up to then (and of 50 ms of sound more), pooled over all of that time.",
    target="`interaction_type` of the prompt, and `relationship` of the session, as the tables have them.",
    baselines=(
        "prior: the most frequent; linear: logistic regression on means, and differences between partners; imitator: "
        "the same on the model's representation."
    ),
    hides=(
        "The type is the prompt's. Some prompts contradict theirs, and by the dataset's own README about one "
        "conversation in ten has wrong times or a neighbour's prompt. Prompts of `train` occur in what is measured, so "
        "a model of words could know the prompt and not the type. A share of the length is shown, which nobody knows "
        "beforehand. Where types go with sites, recording quality can pass for understanding. Relationship is one per "
        "session, of which there are fewer than conversations, so its intervals are too narrow."
    ),
    parts=tuple(
        Part(f"{name}-{share}", "classes", ("macro_f1", "accuracy", "uar")) for name in TARGETS for share in SHARES
    ),
    groups=("prosody", "head", "gesture", "dyadic"),
    samples=samples,
)
