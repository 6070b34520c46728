"""Nonverbal synthesis: how a body moves with its own speech."""

from __future__ import annotations

from seamless_interaction.evaluation.behaviour_generation import BASELINES, HIDES, METRICS
from seamless_interaction.evaluation.protocol import Making, Part

NONVERBAL_SYNTHESIS = Making(
    name="nonverbal-synthesis",
    version=1,
    task="Make 4 s of a participant's body motion to their own speech.",
    input="The second before, of the participant's motion; their own sound and words; of the partner nothing.",
    target="The rotations of 22 SMPL-H joints, without hands, at 30 frames a second.",
    baselines=BASELINES,
    hides=HIDES,
    parts=(Part("body", "motion", METRICS),),
    groups=("prosody",),
    heard="own",
    may_show=("prosody",),
)
