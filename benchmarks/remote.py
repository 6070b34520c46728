"""Streaming over HTTP, from a server on loopback that takes 20 ms to answer."""

from __future__ import annotations

import sys

import data
import measure
from bench import MB, Bench, Row, Table
from contenders import QUESTIONS
from runs import Run, check, middle, run

sys.path.append(str(measure.ROOT / "tests"))
from servers import Bucket

LATENCY = 0.020  # seconds
TARGET = 5
OURS, LOOP = "ours over HTTP", "one by one"


def remote(bench: Bench) -> list[Row | Table]:
    """Ours against getting exactly the same files one after the other over one connection."""
    return [*_compared(bench, "everything", bench.remote), *_compared(bench, "transcripts", bench.remote_transcripts)]


def _compared(bench: Bench, name: str, source: data.Data) -> list[Row | Table]:
    question = QUESTIONS[name]
    paths = source.files(*question.arrays, *question.texts)
    lines = [("", "start-up s", "steady s", "all s", "requests", "MB sent", "most at once", "memory MB")]
    runs: dict[str, list[Run]] = {OURS: [], LOOP: []}
    sent: dict[str, tuple[str, str, str]] = {}
    with Bucket(source.folder, latency=LATENCY) as server:
        places = {
            OURS: server.url,
            LOOP: [f"{server.url}/{path.relative_to(source.folder).as_posix()}" for path in paths],
        }
        for _ in range(bench.sizes.remote_rounds):
            for way, place in places.items():
                server.clear()
                runs[way].append(run(way, name, place, bench.fresh()))
                sent[way] = (str(len(server.requests)), f"{server.bytes_sent / MB:.2f}", str(server.most_at_once))
    check(name, {way: of[0].found for way, of in runs.items()})
    for way, of in runs.items():
        took = middle(of)
        seconds = (took.startup, took.steady, took.cold)
        lines.append((way, *(f"{value:.2f}" for value in seconds), *sent[way], f"{took.memory / MB:.0f}"))
    title = (
        f"{name} over HTTP, {LATENCY * 1000:.0f} ms: {len(source.corpus.recordings)} recordings, {len(paths)} files of "
        f"{data.num_bytes(*paths) / MB:.2f} MB"
    )
    whole, steady = (
        measure.Seconds({way: [getattr(each, figure) for each in of] for way, of in runs.items()}).ratio(LOOP, OURS)
        for figure in ("cold", "steady")
    )
    return [
        Table(title, lines),
        Row(f"{name} over HTTP: one by one / ours", str(whole), f"at least {TARGET}", whole.median >= TARGET),
        Row("  without start-up", str(steady)),
    ]
