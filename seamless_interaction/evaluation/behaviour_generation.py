"""Behaviour generation: how a body moves in response to a partner, who is seen and heard."""

from __future__ import annotations

from seamless_interaction.evaluation.protocol import Making, Part

METRICS = ("frechet", "beat_consistency", "diversity", "velocity_error")
HIDES = (
    "No figure here says whether motion is good to look at: user studies would, and are out of scope. A Fréchet "
    "distance is of the whole of what was made, and does not care whether it suits what is shown; few clips bias it "
    "upwards, so only what was measured on the same ones, in the same space, may be compared, and `recorded` says "
    "what is left of it. The space is an autoencoder's, which is blind to what that misses (`space.missed`). A "
    "velocity error asks for what this person did then, where another motion may have done as well: whoever does "
    "not move is hard to beat. Whoever trembles has a beat for every sound. Beats and diversity are best where they "
    "are as `recorded`'s, and not where they are highest. Hands and faces are not measured: hands are often frozen, "
    "faces are of V00 alone."
)
BASELINES = (
    "mean-pose of `train`; last-pose, the last that is known; any-clip of `train`; linear: ridge regression on the "
    "last pose and features of the last 0.8 s; imitator: what it generates at temperature 0, and, sampled, at 0.8."
)

BEHAVIOUR_GENERATION = Making(
    name="behaviour-generation",
    version=1,
    task="Make 4 s of a participant's body motion in response to the partner.",
    input="The second before, of the participant's motion; the partner's sound, words and motion throughout.",
    target="The rotations of 22 SMPL-H joints, without hands, at 30 frames a second.",
    baselines=BASELINES,
    hides=HIDES,
    parts=(Part("body", "motion", METRICS),),
    groups=("prosody", "head", "gesture"),
    heard="partner",
    may_show=("prosody", "head", "gesture", "face"),
)
