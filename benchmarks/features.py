"""Features: how many times as fast as the conversation, on one core, and what memory it takes."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import data
import measure
import numpy as np
from bench import MB, Bench, Row, Table

from seamless_interaction import SeamlessDataset
from seamless_interaction.features import GROUPS, extract_features

LEAST = 30  # times real time, of a conversation: both partners
TOGETHER = ["prosody", "head", "dyadic"]
MOST_GROWTH = 1.5  # of memory beyond the features' own, for ten times as long
LONG = 600.0  # seconds of a conversation, and a tenth of it

MEMORY = """
import json, logging, os, sys
sys.path.insert(0, "benchmarks")
logging.disable(logging.WARNING)
import measure
from seamless_interaction import SeamlessDataset
from seamless_interaction.features import extract_features
interaction, groups = SeamlessDataset(sys.argv[1])[0], sys.argv[3].split(",")
extract_features(interaction, groups, duration=2.0)  # what is imported and compiled once
measure.free()
before = measure.anonymous(os.getpid())
features = extract_features(interaction, groups, duration=float(sys.argv[2]))
kept = sum(array.nbytes for of in (features, features.masks) for one in of.values() for array in one.values())
print(json.dumps([before, kept]))
"""


def features(bench: Bench) -> list[Row | Table]:
    """Of recordings of a minute, in a tree; processor time, so threads of libraries count as what they are."""
    missing = _missing()
    if missing:
        return [Row(f"features: {missing} is not installed", "")]
    interactions = list(SeamlessDataset(bench.tree.folder))[: 2 + bench.sizes.rounds // 2]
    of = [interaction for interaction in interactions if len(interaction) == 2]
    lines = [("groups", "times real time, one core")]
    rows: list[Row | Table] = []
    for groups in (*([group] for group in GROUPS), TOGETHER):
        speed = _speed(of, groups, bench.sizes.rounds)
        lines.append((", ".join(groups), f"{statistics.median(speed):.0f} ({min(speed):.0f} to {max(speed):.0f})"))
        if groups == TOGETHER:
            median = statistics.median(speed)
            what = f"features {', '.join(groups)}, of a conversation"
            rows.append(Row(what, f"{median:.0f} times real time", f"at least {LEAST}", median >= LEAST))
    seconds = min(LONG, bench.sizes.long_seconds)
    folder = data.make(bench.root, "window-tree", 1, seconds).folder
    (short, kept), (long, kept_long) = (_memory(folder, duration) for duration in (seconds / 10, seconds))
    growth = long / max(short, 1)
    rows.append(
        Row(
            f"  memory beyond features and imports, {seconds / 10:g} s and {seconds:g} s of a conversation",
            f"{short / MB:.0f} and {long / MB:.0f} MB (features: {kept / MB:.0f} and {kept_long / MB:.0f} MB)",
            f"at most {MOST_GROWTH:g} times",
            growth <= MOST_GROWTH,
        )
    )
    return [Table("features of conversations of two, both partners", lines), *rows]


def _missing() -> str | None:
    for package in ("librosa", "silero_vad"):
        try:
            __import__(package)
        except ImportError:
            return package
    return None


def _speed(interactions: list, groups: list[str], rounds: int) -> list[float]:
    """Seconds of conversation a second of processor time, of each round."""
    extract_features(interactions[0], groups, duration=2.0)  # numba compiles, and pages are read
    found = []
    for number in range(rounds):
        interaction = interactions[number % len(interactions)]
        start = time.process_time()
        made = extract_features(interaction, groups)
        seconds = time.process_time() - start
        found.append(len(made.times) / made.fps / seconds)
        assert all(np.isfinite(values).all() for one in made.values() for values in one.values())
    return found


def _memory(folder: Path, seconds: float) -> tuple[int, int]:
    """Most bytes held while features are computed, beyond those from before and the features' own; and the latter."""
    printed, peak = measure.watched(measure.python(MEMORY, folder, seconds, ",".join(TOGETHER)))
    before, kept = json.loads(printed)
    return max(peak - before - kept, 0), kept
