"""Measure reading and preparing, on synthetic data, against the least that could be done with the same files.

    python benchmarks/run.py            tables, in minutes; the first run also makes 13 GB of data
    python benchmarks/run.py --quick    the same on very little data, in seconds; its ratios mean nothing

All files are in the page cache, and what is compared is run in turn in one go, so ratios carry over
to other machines where seconds do not. Nothing is asserted: a target that is missed is shown, and is
no failure.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["USE_TORCH"] = "0"  # or `datasets` imports it, where it is installed, when a stream is made
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout, whatever is installed

import archives
import downloading
import features
import measure
import opening
import publishing
import remote
import streaming
import windows
from bench import FULL, QUICK, Bench, Row, Table, describe, render

BENCHMARKS: dict[str, Callable[[Bench], list[Row | Table]]] = {
    "streaming": streaming.streaming,
    "columns": streaming.columns,
    "prepare": streaming.prepare,
    "memory": streaming.memory,
    "start": streaming.start,
    "generators": streaming.generators,
    "archives": archives.archives,
    "remote": remote.remote,
    "opening": opening.opening,
    "downloading": downloading.downloading,
    "publishing": publishing.publishing,
    "windows": windows.windows,
    "features": features.features,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="very little data, one round: does it still run?")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME")
    parser.add_argument("--data", type=Path, help="where synthetic data are kept, else build/benchmark-data")
    options = parser.parse_args()
    sys.dont_write_bytecode = False  # or each start-up compiles our modules, which no user's second one does
    root = options.data or measure.ROOT / "build" / "benchmark-data"
    logging.getLogger("seamless_interaction").setLevel(logging.ERROR)  # it says what synthetic recordings lack
    began = time.perf_counter()

    def say(what: str) -> None:
        print(f"[{time.perf_counter() - began:5.1f} s] {what}", file=sys.stderr, flush=True)

    say(f"synthetic data in {root}")
    bench = Bench((root / "quick" if options.quick else root).resolve(), QUICK if options.quick else FULL)
    findings: list[Row | Table] = []
    try:
        for name in options.only:
            say(name)
            findings += BENCHMARKS[name](bench)
    finally:
        bench.close()
    say("done")
    print(f"{describe(bench)}\n\n{render(findings)}")


if __name__ == "__main__":
    main()
