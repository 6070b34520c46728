"""How things are measured: seconds of rounds, bytes requested, memory of a process."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

ROOT = Path(__file__).resolve().parent.parent
INTERVAL = 0.004  # seconds between two looks at a process


class Ratio(NamedTuple):
    """How many times as much one thing takes as another.

    Attributes:
        median, low, high: of the rounds.
        best: of the fastest round of each, which others on the machine disturbed least.
    """

    median: float
    low: float
    high: float
    best: float

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f} to {self.high:.2f}; best {self.best:.2f}x)"


def free() -> None:
    """Give what was freed back to the system, so that every round starts with as little memory as the first."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim:
            trim(0)


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int, after: Callable[[], Any] = free) -> Seconds:
    """Run all in turn, A B C, B C A, …, so that whatever else the machine does falls on all of them.

    Each goes first once, because it may pay for what the others left: on a virtual machine, memory that
    was free for a second or two has gone back to the host, and takes longer to get than to fill.

    Args:
        runs: name -> what is timed. Freeing what it returns is not.
        rounds: how often.
        after: called after each, and not timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    after()
    names = list(runs)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start, start_cpu = time.perf_counter(), time.process_time()
            result = runs[name]()
            seconds[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
            del result
            after()
    return Seconds(seconds, cpu)


class Seconds(dict[str, list[float]]):
    """Name -> the seconds of each round.

    Attributes:
        cpu: the same of this process's processor time, all its threads together.
    """

    def __init__(self, seconds: dict[str, list[float]], cpu: dict[str, list[float]] | None = None):
        super().__init__(seconds)
        self.cpu = Seconds(cpu) if cpu else self

    def median(self, name: str) -> float:
        return statistics.median(self[name])

    def ratio(self, name: str, floor: str) -> Ratio:
        """Of each round's pair."""
        ratios = [mine / other for mine, other in zip(self[name], self[floor], strict=True)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios), min(self[name]) / min(self[floor]))


# --- bytes ----------------------------------------------------------------------------------------


class CountingFileSystem(fsspec.AbstractFileSystem):
    """The local file system as if it were far away, counting what is asked of it.

    It has a local file system and is none, because local files would be mapped into memory. ``count``
    has the bytes of files by extension, the number of entries listed and the bytes of their names.
    """

    protocol = "counted"
    count: ClassVar[Counter[str]] = Counter()  # of all instances: fsspec makes one a thread

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._local = LocalFileSystem()

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        entries = self._local.ls(path, detail=True)
        self.count["listed entries"] += len(entries)
        self.count["listed bytes"] += sum(len(entry["name"].encode()) for entry in entries)
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self.count["looked up"] += 1
        return self._local.info(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        content = self._local.cat_file(path, start, end)
        self.count["requests"] += 1
        self.count[os.path.splitext(path)[1]] += len(content)
        return content

    def _open(self, path: str, mode: str = "rb", **options: Any) -> _CountingFile:
        return _CountingFile(self._local.open(path, mode), self.count, os.path.splitext(path)[1])


class _CountingFile:
    """A file that counts what is read from it."""

    def __init__(self, file: Any, count: Counter[str], extension: str):
        self._file, self._count, self._extension = file, count, extension

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._count["requests"] += 1
        self._count[self._extension] += len(content)
        return content

    def __enter__(self) -> _CountingFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def count_bytes() -> Counter[str]:
    """What ``counted://`` will have counted: nothing so far."""
    fsspec.register_implementation(CountingFileSystem.protocol, CountingFileSystem, clobber=True)
    CountingFileSystem.count.clear()
    return CountingFileSystem.count


def bytes_read() -> int | None:
    """Bytes that this process has asked files for so far, cached or not; None where the system does not tell.

    What it reads by mapping a file is not counted, nor what comes over a network.
    """
    try:
        with open("/proc/self/io") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("rchar:"))
    except OSError:
        return None


# --- processes ------------------------------------------------------------------------------------


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A fresh interpreter that runs ``code`` on this checkout."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    """What a process prints. Raises ``CalledProcessError`` if it fails."""
    printed, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return printed


def peak_memory(code: str, *arguments: object) -> int:
    """Most bytes of anonymous memory that a fresh interpreter holds while it runs ``code``.

    Anonymous memory is what a process allocates. Files that it maps are not in it, nor is what the
    kernel keeps of files: both can be dropped whenever somebody else needs the space.
    """
    return watched(python(code, *arguments))[1]


def watched(process: subprocess.Popen[str]) -> tuple[str, int]:
    """What a process prints, which must be little, and the most memory that it holds while it runs."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(INTERVAL)
    return output(process), peak


def anonymous(pid: int) -> int:
    """Bytes of memory that a process has allocated, see ``peak_memory``; 0 if it has just ended."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/status") as file:
                return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:"))
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return 0
    import psutil

    try:
        return int(psutil.Process(pid).memory_full_info().uss)  # a little more: what it alone maps is in it
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0
