"""Benchmarks: tasks on conversations, each with its split, figures, baselines, and what the figures do not show.

- ``protocol``: what a protocol is. One file each: ``turn_taking`` (with ``turn_events``, its definitions), ``emotion``,
  ``understanding``, ``transfer``, in which something is told; ``behaviour_generation``, ``nonverbal_synthesis``, in
  which motion is made.
- ``splits``: whom is learnt from and who is measured; ``seen``: what is shown of a conversation; ``representation``:
  that of an ``ImitatorModel``.
- ``metrics``: figures of what is told, and their intervals; ``baselines``: the simplest models; ``motion``: all of the
  tasks in which motion is made.
- ``running``: measuring, with ``telling`` and ``motion.making``; ``results``: files of what came out, and tables.

Nothing has been measured on real data: there are no scores to compare with, and none are copied from elsewhere.

Imports ``features``, ``models`` and what lies below them.

>>> result = run(TASKS["turn-taking"], SeamlessDataset("data"), models=BASELINES)
>>> result.parts["shift-hold"].models["linear"]["balanced_accuracy"]  # a Figure: value, low, high
"""

from seamless_interaction.errors import UnknownTask
from seamless_interaction.evaluation.baselines import BASELINES, PRIOR
from seamless_interaction.evaluation.behaviour_generation import BEHAVIOUR_GENERATION
from seamless_interaction.evaluation.emotion import EMOTION
from seamless_interaction.evaluation.nonverbal_synthesis import NONVERBAL_SYNTHESIS
from seamless_interaction.evaluation.protocol import Making, Part, Protocol, Sample, Telling
from seamless_interaction.evaluation.results import Result, read_results, table, write_results
from seamless_interaction.evaluation.running import run, run_all
from seamless_interaction.evaluation.transfer import TRANSFER
from seamless_interaction.evaluation.turn_taking import TURN_TAKING
from seamless_interaction.evaluation.understanding import UNDERSTANDING

TASKS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (TURN_TAKING, EMOTION, UNDERSTANDING, TRANSFER, BEHAVIOUR_GENERATION, NONVERBAL_SYNTHESIS)
}


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
    "Making",
    "Part",
    "Protocol",
    "Result",
    "Sample",
    "Telling",
    "read_results",
    "run",
    "run_all",
    "table",
    "tasks_of",
    "write_results",
]
