"""How something long goes, told to people: a bar on a terminal, else a line a minute."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, Protocol, TextIO

from seamless_interaction.work.text import decimal

_BELIEVED = 0.1  # of the bytes that are expected; those of files that are not done yet count as come
_EVERY = 60.0  # seconds between lines, where nobody looks at a terminal


class Meter:
    """Counts files, or whatever is done one by one, and bytes, and estimates what is to come.

    Bytes to come are expected ones, from means; they are corrected by how those that are done compare with theirs.
    Where none are expected, 0, what is done is counted and nothing else.
    """

    def __init__(self) -> None:
        self.files = self.files_done = self.expected = self.expected_done = self.num_bytes = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def begin(self, files: int, num_bytes: int) -> None:
        self.files, self.expected, self._began = files, num_bytes, time.monotonic()

    def came(self, num_bytes: int) -> None:
        with self._lock:
            self.num_bytes += num_bytes

    def done(self, expected: int) -> None:
        with self._lock:
            self.files_done += 1
            self.expected_done += expected

    def close(self) -> None: ...

    @property
    def total(self) -> int:
        """Bytes, those that came and those to come."""
        to_come = max(self.expected - self.expected_done, 0)
        some = self.expected * _BELIEVED or 1  # as if so much had been as expected: few files tell little of all
        return self.num_bytes + round(to_come * (self.num_bytes + some) / (self.expected_done + some))

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.num_bytes / max(time.monotonic() - self._began, 1e-3)

    @property
    def share(self) -> tuple[int, int]:
        """How much is done, and of how much: bytes, or what is counted."""
        return (self.num_bytes, self.total) if self.expected else (self.files_done, self.files)

    def __str__(self) -> str:
        done, total = self.share
        seconds = (time.monotonic() - self._began) * (total - done) / done if done else 0
        left = f", about {_time(seconds)} left" if seconds >= 1 else ""
        if not self.expected:
            return f"{done:,} of {total:,}{left}"
        amount = f"{decimal(done)} of about {decimal(total)}, {decimal(round(self.rate))}/s"
        return f"{self.files_done:,} of {self.files:,} files, {amount}{left}"


class Lines(Meter):
    """A line a minute."""

    def __init__(self, stream: TextIO, every: float = _EVERY):
        super().__init__()
        self._stream, self._every, self._closed = stream, every, threading.Event()

    def begin(self, files: int, num_bytes: int) -> None:
        super().begin(files, num_bytes)
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        while not self._closed.wait(self._every):
            print(f"{time.strftime('%H:%M:%S')} {self}", file=self._stream, flush=True)

    def close(self) -> None:
        self._closed.set()


class Bar(Meter):
    """A bar on a terminal."""

    def __init__(self, stream: TextIO):
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        console = Console(file=stream)
        columns = (SpinnerColumn(), BarColumn(bar_width=None), TextColumn("{task.fields[text]}"))
        self._bar = Progress(*columns, console=console, transient=True, get_time=time.monotonic)
        self._task: Any = None

    def begin(self, files: int, num_bytes: int) -> None:
        super().begin(files, num_bytes)
        self._task = self._bar.add_task("", total=None, text=str(self))
        self._bar.start()

    def came(self, num_bytes: int) -> None:
        super().came(num_bytes)
        self._show()

    def done(self, expected: int) -> None:
        super().done(expected)
        self._show()

    def _show(self) -> None:
        done, total = self.share
        self._bar.update(self._task, completed=done, total=total, text=str(self))

    def close(self) -> None:
        self._bar.stop()


def shown() -> Meter:
    """What suits whoever reads standard error."""
    stream = sys.stderr
    return Bar(stream) if stream.isatty() else Lines(stream)


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min" if rest >= 60 else f"{rest} s"


class Progress(Protocol):
    """Who wants to know how a download goes. Called from several threads."""

    def begin(self, files: int, num_bytes: int) -> object:
        """So much is to be done; bytes are an estimate, or 0 where there is none."""

    def came(self, num_bytes: int) -> object:
        """Bytes have come."""

    def done(self, expected: int) -> object:
        """A file is done, of which so many bytes were expected."""
