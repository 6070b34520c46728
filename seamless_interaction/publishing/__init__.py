"""Publishing: a Hub repository of Parquet files, from any source the builder reads, that every ``datasets`` loads.

A selection is planned (``plan``), each shard made by one pure call (``convert``: rows from ``rows`` and ``flac``, files
by ``parquet``), by whoever does the work (``executors``); then what makes it a repository is written (``finish``:
``card``, ``croissant``), and all of it brought to the Hub (``push``: a ``publication`` to the ``hub``)::

    from seamless_interaction.publishing import Selection, plan_shards, publish, push

    planned = plan_shards(Selection("10GB"), "DATA", repo_id="me/interaction")
    report = publish(planned, "hub")
    assert report.exit_code == 0
    push("hub", "me/interaction", private=True)

``reading`` loads what was published. Imports ``opening`` and what lies below it, and of ``download`` nothing.
"""

from seamless_interaction.publishing.convert import Failure, Sidecar, convert_shard
from seamless_interaction.publishing.plan import Shard, ShardPlan, plan_shards
from seamless_interaction.publishing.publish import PublishReport, how_far, publish
from seamless_interaction.publishing.push import PushReport, push
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
