"""Publishing: a Hub repository of Parquet files, from any source the builder reads, that every ``datasets`` loads.

A selection is planned (``plan``) and made (``making``), each shard by one pure call (``convert``: rows from ``rows``
and ``flac``, files by ``parquet``), by whoever does the work (``work.executors``); then what makes it a repository is
written (``finish``: ``card``, ``croissant``), and all of it brought to the Hub (``pushing``: a ``publication`` to the
``hub``)::

    from seamless_interaction.publishing import Selection, plan_shards, publish, push

    planned = plan_shards(Selection("10GB"), "DATA", repo_id="me/interaction")
    report = publish(planned, "hub")
    assert report.exit_code == 0
    push("hub", "me/interaction", private=True)

``reading`` loads what was published. Imports ``opening`` and what lies below it, and of ``download`` nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seamless_interaction.publishing.convert import Failure, Sidecar, convert_shard
    from seamless_interaction.publishing.making import PublishReport, how_far, publish
    from seamless_interaction.publishing.plan import Shard, ShardPlan, plan_shards
    from seamless_interaction.publishing.pushing import PushReport, push
    from seamless_interaction.selection.selection import Selection

__all__ = [
    "Failure",
    "PublishReport",
    "PushReport",
    "Selection",
    "Shard",
    "ShardPlan",
    "Sidecar",
    "convert_shard",
    "how_far",
    "plan_shards",
    "publish",
    "push",
]

_MODULES = {
    "publishing.convert": ("Failure", "Sidecar", "convert_shard"),
    "publishing.making": ("PublishReport", "how_far", "publish"),
    "publishing.plan": ("Shard", "ShardPlan", "plan_shards"),
    "publishing.pushing": ("PushReport", "push"),
    "selection.selection": ("Selection",),
}


def __getattr__(name: str) -> Any:
    """Imported when first asked for: whoever loads what was published needs ``reading`` alone."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"seamless_interaction.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
