"""Benchmarks: tasks on conversations, each with its split, figures, baselines, and what the figures do not show.

- ``protocol``: what a protocol is. One file each: ``turn_taking`` (with ``turn_events``, its definitions), ``emotion``,
  ``understanding``, ``transfer``.
- ``splits``: whom is learnt from and who is measured; ``pooling``: features as one vector.
- ``metrics``: figures and their intervals; ``baselines``: the simplest models.
- ``running``: measuring by a protocol; ``results``: files of what came out, and tables of them.

Not built yet: behaviour generation and nonverbal synthesis, which need a model of motion, and that model as a third
baseline of the others. Nothing has been measured on real data: there are no scores to compare with, and none are
copied from elsewhere.

>>> result = run(TASKS["turn-taking"], SeamlessDataset("data"), models=BASELINES)
>>> result.parts["shift-hold"].models["linear"]["balanced_accuracy"]  # a Figure: value, low, high
"""

from seamless_interaction.errors import UnknownTask
from seamless_interaction.evaluation.baselines import BASELINES, PRIOR
from seamless_interaction.evaluation.emotion import EMOTION
from seamless_interaction.evaluation.protocol import Part, Protocol, Sample
from seamless_interaction.evaluation.results import Result, read_results, table, write_results
from seamless_interaction.evaluation.running import run
from seamless_interaction.evaluation.transfer import TRANSFER
from seamless_interaction.evaluation.turn_taking import TURN_TAKING
from seamless_interaction.evaluation.understanding import UNDERSTANDING

TASKS: dict[str, Protocol] = {protocol.name: protocol for protocol in (TURN_TAKING, EMOTION, UNDERSTANDING, TRANSFER)}


def tasks_of(name: str) -> list[Protocol]:
    """The protocol of a name, or those of ``"all"``. Raises ``UnknownTask``."""
    if name == "all":
        return list(TASKS.values())
    if name not in TASKS:
        raise UnknownTask(name, [*TASKS, "all"])
    return [TASKS[name]]


__all__ = [
    "BASELINES",
    "PRIOR",
    "TASKS",
    "Part",
    "Protocol",
    "Result",
    "Sample",
    "read_results",
    "run",
    "table",
    "tasks_of",
    "write_results",
]
