"""Downloading many small files from a server on loopback that takes 20 ms to answer, and looking at what is here."""

from __future__ import annotations

import json
import shutil
import sys
import time

import data
import measure
from bench import MB, Bench, Row, Table

sys.path.append(str(measure.ROOT / "tests"))
from servers import Bucket

LATENCY = 0.020  # seconds
MODALITIES = "smplh,movement,boxes_and_keypoints,transcript,vad"  # the many small files
DOWNLOAD = """\
import json, sys, time
from seamless_interaction.download.run import carry_out
from seamless_interaction.download.planning import plan
from seamless_interaction.selection.selection import Selection
source, target, workers, modalities = sys.argv[1:]
planned = plan(Selection("full", modalities=tuple(modalities.split(",")) if modalities else None), source, target)
before = time.perf_counter()
report = carry_out(planned, workers=int(workers))
print(json.dumps([time.perf_counter() - before, report.files["whole"], report.exit_code]))
"""
LOOP = """\
import json, os, sys, time, urllib.request
before = time.perf_counter()
with open(sys.argv[3]) as paths:
    for path in paths.read().split():
        with urllib.request.urlopen(f"{sys.argv[1]}/{path}") as answer:
            target = os.path.join(sys.argv[2], path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(answer.read())
print(json.dumps([time.perf_counter() - before]))
"""
AGAIN = "from seamless_interaction.cli import app; app()"


def downloading(bench: Bench) -> list[Row | Table]:
    """Ours with more and fewer workers, a sequential loop with urllib, and a second run on what is complete."""
    source = bench.remote
    seconds: dict[str, list[float]] = {"1": [], "2": [], "16": [], "urllib": []}
    number = 0
    with Bucket(source.folder, latency=LATENCY) as server:
        for _ in range(bench.sizes.remote_rounds):
            for workers in ("1", "2", "16"):
                target = bench.fresh()
                shutil.rmtree(target)
                output = measure.output(measure.python(DOWNLOAD, server.url, target, workers, MODALITIES))
                took, number, code = json.loads(output.splitlines()[-1])
                assert code == 0, output
                seconds[workers].append(took)
            paths = bench.fresh() / "paths"
            of_tree = (path.relative_to(target).as_posix() for path in target.rglob("*/*/*") if path.is_file())
            paths.write_text("\n".join(of_tree))
            assert len(paths.read_text().split()) == number
            seconds["urllib"].append(
                json.loads(measure.output(measure.python(LOOP, server.url, bench.fresh(), paths)))[0]
            )
    measured = measure.Seconds(seconds)
    lines = [("", "seconds", "ms a file")]
    for way in seconds:
        name = "urllib, one after the other" if way == "urllib" else f"{way} workers"
        lines.append((name, f"{measured.median(way):.2f}", f"{measured.median(way) / number * 1000:.1f}"))
    twice, loop = measured.ratio("1", "2"), measured.ratio("urllib", "16")
    return [
        Table(f"download over HTTP, {LATENCY * 1000:.0f} ms: {number} small files", lines),
        Row("download: 1 worker / 2 workers", str(twice), "at least 1.8", twice.median >= 1.8),
        Row("download: urllib / ours", str(loop), "at least 5", loop.median >= 5),
        *_again(bench),
    ]


def _again(bench: Bench) -> list[Row]:
    """A complete copy looked at again, by the command as a whole; and what a download takes in memory."""
    source = data.make(bench.root, "many", bench.sizes.many_interactions, 2)
    target = bench.fresh()
    shutil.rmtree(target)
    memory = measure.peak_memory(DOWNLOAD, source.folder, target, 16, "")
    files = sum(path.is_file() for path in target.rglob("*/*/*"))
    took = []
    for _ in range(bench.sizes.remote_rounds):
        before = time.perf_counter()
        arguments = ("download", "--subset", "full", "--source", source.folder, "-o", target, "--quiet")
        measure.output(measure.python(AGAIN, *arguments))
        took.append(time.perf_counter() - before)
    seconds = sorted(took)[len(took) // 2]
    return [
        Row(f"download again, complete, {files:,} files: seconds", f"{seconds:.2f}", "at most 2", seconds <= 2),
        Row("download: memory, MB", f"{memory / MB:.0f}", "at most 300", memory <= 300 * MB),
    ]
