"""Transfer across recording sites: turn-taking, learnt at some vendors and measured at another.

The seed of this task spoke of cultures. The data names none: what it has is four vendors, who differ in cameras, rooms,
people, prompts and places at once.
"""

from __future__ import annotations

from seamless_interaction import VENDORS
from seamless_interaction.evaluation.protocol import Part, Telling
from seamless_interaction.evaluation.turn_taking import METRICS, samples

PARTS = ("shift-hold", "shift-prediction")


def _parts() -> tuple[Part, ...]:
    made = []
    for name in PARTS:
        for vendor in VENDORS:
            others = tuple(other for other in VENDORS if other != vendor)
            made += [
                Part(f"{name} at {vendor}, learnt elsewhere", "binary", METRICS, name, others, (vendor,)),
                Part(f"{name} at {vendor}, learnt there", "binary", METRICS, name, (vendor,), (vendor,)),
            ]
    return tuple(made)


TRANSFER = Telling(
    name="transfer",
    version=1,
    task="Tell shift from hold, in a silence and ahead of it, at a vendor that nothing was learnt from.",
    input="As in turn-taking.",
    target="As in turn-taking; for each vendor twice, learnt at the three others and, to compare, at itself.",
    baselines="As in turn-taking.",
    hides=(
        "This is not transfer across cultures, which the data does not name. Vendors differ in many things at once, so "
        "a loss has no one cause; those that are left differ in size, so learning elsewhere also is learning from "
        "more. All that turn-taking's figures hide, these hide too."
    ),
    parts=_parts(),
    groups=("prosody", "head", "dyadic"),
    samples=samples,
)
