"""Runs of contenders, each in a process of its own that has imported what it needs and read nothing yet."""

from __future__ import annotations

import functools
import json
import logging
import os
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout, whatever is installed

import datasets
import measure
from contenders import OVER_HTTP, QUESTIONS, WAYS, Found


class Run(NamedTuple):
    """What one run took: seconds, bytes of files (-1: unknown), most bytes of memory beyond those it began with."""

    startup: float  # until the first record
    steady: float  # for all others
    bytes: int
    memory: int
    found: Found

    @property
    def cold(self) -> float:
        return self.startup + self.steady


def run(way: str, question: str, place: Any, cache: Path) -> Run:
    """One run.

    Args:
        way: of ``WAYS`` or ``OVER_HTTP``.
        question: of ``QUESTIONS``.
        place: what the way takes: a folder, a URL, …
        cache: where ``datasets`` keeps what it keeps.
    """
    server = _server()
    assert server.stdin and server.stdout
    json.dump({"way": way, "question": question, "place": place, "cache": str(cache)}, server.stdin)
    print(file=server.stdin, flush=True)
    answer = json.loads(server.stdout.readline())
    if answer is None:
        raise RuntimeError(f"{question}, {way}: failed, see above")
    *figures, found = answer
    return Run(*figures, Found(*found))


@functools.lru_cache
def _server() -> subprocess.Popen[str]:
    """A process that has imported what all ways need, and forks: so all begin alike, and at once."""
    command = [sys.executable, __file__]
    return subprocess.Popen(command, cwd=measure.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _serve() -> None:
    """What that process does: a line of JSON in, a run, a line of JSON out; null if it failed."""
    for line in sys.stdin:
        receiver, sender = os.pipe()
        process = os.fork()
        if not process:
            try:
                os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print
                os.write(sender, json.dumps(_measured(**json.loads(line))).encode())
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(sender)
        peak = 0
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            peak = max(peak, measure.anonymous(process))
            time.sleep(measure.INTERVAL)
        with open(receiver) as file:
            result = file.read()
        if result:
            begin, figures, found = json.loads(result)
            print(json.dumps([*figures, max(0, peak - begin), found]), flush=True)
        else:
            print("null", flush=True)


def _measured(way: str, question: str, place: Any, cache: str) -> tuple[int, tuple[float, float, int], Found]:
    """Bytes of memory before; seconds and bytes read; what was found."""
    logging.getLogger("seamless_interaction").setLevel(logging.ERROR)  # it says what synthetic recordings lack
    datasets.config.HF_DATASETS_CACHE = Path(cache)
    place = Path(place) if isinstance(place, str) and "://" not in place else place
    records = {**WAYS, **OVER_HTTP}[way].run(place, QUESTIONS[question])
    measure.free()
    memory, bytes_before, started = measure.anonymous(os.getpid()), measure.bytes_read(), time.perf_counter()
    found = iter(records())
    first = next(found)
    opened = time.perf_counter()
    total = [first, *found]
    ended = time.perf_counter()
    bytes_after = measure.bytes_read()
    bytes_ = -1 if bytes_before is None or bytes_after is None else bytes_after - bytes_before
    return memory, (opened - started, ended - opened, bytes_), Found(*map(sum, zip(*total, strict=True)))


def middle(runs: list[Run]) -> Run:
    """The median of each figure."""
    figures = list(zip(*runs, strict=True))[:-1]
    return Run(*map(statistics.median, figures), found=runs[0].found)  # type: ignore[arg-type]


def check(question: str, found: dict[str, Found]) -> None:
    """Whether all have read the same."""
    if len({*found.values()}) != 1:
        raise RuntimeError(f"{question}: values of arrays and pieces of text differ: {found}")


if __name__ == "__main__":
    _serve()
