"""A part of the dataset as a local copy: planned, fetched, verified.

A copy is a tree, whatever it came from, with the tables, a ``selection.csv`` that says what it is meant to hold, and a
``manifest.jsonl``. Everything that reads this dataset reads it::

    from seamless_interaction import load_dataset
    from seamless_interaction.download import Selection, download, plan, verify

    selection = Selection("10GB", split="dev", modalities=("transcript", "vad"))
    print(plan(selection, target="copy").as_text())
    assert download(selection, target="copy").exit_code == 0
    assert verify("copy").exit_code == 0
    load_dataset(data_dir="copy", modalities=["transcript", "vad"])

Imports ``opening`` and what lies below it.
"""

from __future__ import annotations

import os
from typing import Any

from seamless_interaction.download.planning import FOLDER, Plan, plan
from seamless_interaction.download.run import WORKERS, Report, carry_out
from seamless_interaction.download.verifying import Verification, verify
from seamless_interaction.errors import known_keywords
from seamless_interaction.selection.selection import Selection
from seamless_interaction.work.progress import Progress

__all__ = ["Plan", "Progress", "Report", "Selection", "Verification", "download", "plan", "verify"]


@known_keywords()
def download(
    selection: Selection | None = None,
    source: str | os.PathLike = "bucket",
    target: str | os.PathLike = FOLDER,
    *,
    filelist: str | os.PathLike | None = None,
    layout: str | None = None,
    index: str | os.PathLike | None = None,
    storage_options: dict[str, Any] | None = None,
    workers: int = WORKERS,
    progress: Progress | None = None,
) -> Report:
    """Fetch a part of the dataset into a folder. A run that was stopped or killed is gone on with.

    Arguments are those of ``plan``, and:

    Args:
        workers: files fetched at a time.
        progress: told how it goes.

    Raises:
        UsageError, SourceError, TargetError: as ``plan``.
        NotEnoughSpace: for what is expected to come, before the first byte; or the disk is full.
        FolderBusy: another run writes into the folder.
    """
    planned = plan(
        selection, source, target, filelist=filelist, layout=layout, index=index, storage_options=storage_options
    )
    return carry_out(planned, workers=workers, progress=progress)
