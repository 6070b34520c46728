"""What benchmarks share: the data, how much of it, and how findings are printed."""

from __future__ import annotations

import functools
import itertools
import os
import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import data
import datasets
import measure
import numpy as np
import pyarrow as pa

from seamless_interaction.source.layout import LAYOUTS

MB = 1e6


class Row(NamedTuple):
    """A line of the table of targets. ``within`` is None where there is no target."""

    what: str
    measured: str
    target: str = ""
    within: bool | None = None


class Table(NamedTuple):
    """Figures that are looked at side by side; the first line has the names of the columns."""

    title: str
    lines: list[tuple[str, ...]]


class Sizes(NamedTuple):
    """How much is measured on, and how often.

    60-second recordings and a tenth of them; one long interaction; recordings of the dataset's mean
    length as tars, bundles and tree; some to be fetched over HTTP, and transcripts of many; rows of an
    index (all, if 0); interactions of a copy of many files.
    """

    interactions: int
    seconds: float
    long_seconds: float
    rounds: int
    tar_interactions: int
    tar_seconds: float
    tar_rounds: int
    remote_interactions: int
    remote_seconds: float
    remote_transcripts: int
    remote_rounds: int
    index_rows: int
    many_interactions: int


FULL = Sizes(30, 60, 75 * 60, 7, 12, 226, 3, 12, 60, 200, 3, 0, 260)
QUICK = Sizes(10, 2, 20, 1, 12, 2, 1, 5, 2, 20, 1, 2_000, 5)


class Bench:
    """The data, and a place on the same disk to write to."""

    def __init__(self, root: Path, sizes: Sizes):
        self.root, self.sizes = root, sizes
        self.tree = data.make(root, "tree", sizes.interactions, sizes.seconds)
        self.tenth = data.make(root, "tenth", sizes.interactions // 10, sizes.seconds)
        self.scratch = root / f"scratch-{os.getpid()}"
        self._numbers = itertools.count()

    @functools.cached_property
    def long(self) -> data.Data:
        return data.make(self.root, "long", 1, self.sizes.long_seconds)

    @functools.cached_property
    def long_bundles(self) -> data.Data:
        return data.make(self.root, "bundles", 1, self.sizes.long_seconds, "bundles")

    @functools.cached_property
    def same(self) -> dict[str, data.Data]:
        """The same recordings in each layout."""
        return {layout: self.same_as(layout) for layout in LAYOUTS}

    def same_as(self, layout: str) -> data.Data:
        """Those of one layout."""
        size = (self.sizes.tar_interactions, self.sizes.tar_seconds)
        return data.make(self.root, f"same-{layout}", *size, layout)

    @functools.cached_property
    def remote(self) -> data.Data:
        return data.make(self.root, "remote", self.sizes.remote_interactions, self.sizes.remote_seconds)

    @functools.cached_property
    def remote_transcripts(self) -> data.Data:
        size = (self.sizes.remote_transcripts, self.sizes.tar_seconds)
        return data.make_transcripts(self.root, "transcripts", *size)

    def fresh(self) -> Path:
        """A new folder to write to."""
        folder = self.scratch / str(next(self._numbers))
        folder.mkdir(parents=True)
        return folder

    def clear(self) -> None:
        """Drop what was written, before the kernel puts it on the disk.

        All that write the same amount leave it in the page cache, far below what would make the
        kernel stop them; so none waits for the disk, and the next one starts with nothing to flush.
        Waiting for the disk would add the same to both sides, and bring their ratio nearer to one.
        Files are emptied and deleted at the end only: ext4 is slow to make files for minutes after
        it deleted many, which would fall on whoever makes a thousand files and not on whoever makes one.
        """
        measure.free()
        for path in self.scratch.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)
        os.sync()

    def close(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)


# --- how it is printed ----------------------------------------------------------------------------


def describe(bench: Bench) -> str:
    """The machine and the data, in two lines."""
    tree, cores = bench.tree, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, pyarrow {pa.__version__}, datasets {datasets.__version__}\n"
        f"synthetic data: {len(tree.corpus.recordings)} recordings of {bench.sizes.seconds:g} s in "
        f"{data.num_bytes(tree.folder) / MB:.0f} MB, {data.num_bytes(*tree.files()) / MB:.0f} MB of them arrays; "
        f"ratios: median of {bench.sizes.rounds} rounds (lowest to highest; fastest round to fastest round)"
    )


def render(findings: list[Row | Table]) -> str:
    """The tables, and the rows in one table behind them, as text in columns."""
    tables = [finding for finding in findings if isinstance(finding, Table)]
    rows = [finding for finding in findings if isinstance(finding, Row)]
    verdict = {None: "", True: "yes", False: "NO"}
    lines = [(row.what, row.measured, row.target, verdict[row.within]) for row in rows]
    if lines:
        tables.append(Table("targets", [("", "measured", "target", "within"), *lines]))
    return "\n\n".join(f"{table.title}\n{columns(table.lines)}" for table in tables)


def columns(lines: list[tuple[str, ...]]) -> str:
    """Lines of cells, aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
