"""Carrying out a plan: a local copy of a part of the dataset, fetched by several workers at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import SELECTION, TABLES
from seamless_interaction.download.fetching import PARTIAL, Stopped
from seamless_interaction.download.manifest import ABSENT, DAMAGED, FAILED, MISSING, STATUSES, WHOLE, Manifest
from seamless_interaction.download.planning import Plan
from seamless_interaction.download.transfer import Job, Made, Transfer
from seamless_interaction.errors import NotEnoughSpace, SourceUnreachable
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import locked, write_whole, writing
from seamless_interaction.selection.expected import expected_bytes_of_parts
from seamless_interaction.source.addresses import read_table
from seamless_interaction.source.layout import PARTS, bits_of, parts_in, tree_path
from seamless_interaction.source.notice import NOTICE, is_synthetic, read_notice
from seamless_interaction.source.tables import read_filelist, read_selection, write_filelist, write_selection
from seamless_interaction.work.progress import Meter, Progress
from seamless_interaction.work.text import decimal

logger = logging.getLogger("seamless_interaction")

WORKERS = 16
_NAMED, _SHOWN = 1000, 10  # files that a report names, and that its text does
_FAILURES = 3  # in a row, for each worker, after which the source is taken to be gone
_LAST_WORDS = 1.0  # seconds that workers have to stop


@dataclass
class Report:
    """What a download did.

    Attributes:
        files: by status, of those that were to be done; ``kept``, as they were there already; ``not_in_source``:
            recordings.
        fetched_bytes: that came from the source.
        problems: files that are not whole, with the reason: the first thousand.
        not_in_source: selected file ids that the source does not have.
    """

    target: str
    source: str
    recordings: int
    interactions: int
    files: dict[str, int]
    fetched_bytes: int
    seconds: float
    problems: list[dict[str, Any]] = field(default_factory=list)
    not_in_source: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: everything the source has is here; 3: something that should be is not, or all that came is damaged."""
        is_all_damaged = self.files[DAMAGED] and not (self.files["kept"] or self.files[WHOLE])
        return 3 if self.files[MISSING] or self.files[FAILED] or self.not_in_source or is_all_damaged else 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "exit_code": self.exit_code}

    def as_text(self) -> str:
        """For reading."""
        kept = self.files["kept"]
        here = kept + self.files[WHOLE] + self.files[DAMAGED]
        lines = [
            f"{self.target}: {here:,} files of {self.recordings:,} recordings; {kept:,} were here or known"
            f" not to exist, {decimal(self.fetched_bytes)} came in {self.seconds:,.0f} s"
        ]
        for status in (ABSENT, DAMAGED, MISSING, FAILED):
            if self.files[status]:
                lines.append(f"{self.files[status]:,} {status}: {STATUSES[status]}")
        for problem in self.problems[:_SHOWN]:
            lines.append(f"  {problem['status']}: {problem['file_id']} {problem['part']}: {problem['detail']}")
        if len(self.problems) > _SHOWN:
            lines.append(f"  … and {len(self.problems) - _SHOWN:,} more; --json names them")
        if self.not_in_source:
            lines.append(f"{len(self.not_in_source):,} recordings are not in the source ({self.not_in_source[0]}, …)")
        return "\n".join(lines)


def carry_out(planned: Plan, *, workers: int = WORKERS, progress: Progress | None = None) -> Report:
    """Do what was planned, in a folder that no other run writes into.

    Args:
        planned: what to do.
        workers: files fetched at a time.
        progress: told how it goes.

    Raises:
        SourceError: the source as a whole is of no use.
        NotEnoughSpace: for what is expected to come, before the first byte; or the disk is full.
        FolderBusy: another run writes into the folder.
        TargetError: the folder cannot be written to.
    """
    if planned.num_bytes > planned.free:
        raise NotEnoughSpace(
            f"{planned.target}: {planned.num_bytes / 1e9:,.1f} GB are expected, and its disk has "
            f"{planned.free / 1e9:,.1f} GB left. Select less: fewer modalities, a smaller subset, max_bytes."
        )
    with writing(planned.target):
        planned.target.mkdir(parents=True, exist_ok=True)
    with locked(planned.target):
        manifest = Manifest(planned.target)
        if manifest.num_bytes != planned.recorded:  # another run was faster
            planned = planned.compared(manifest)
        manifest.compact()
        try:
            with writing(planned.target):
                _write_tables(planned)
                manifest.write(SELECTION, WHOLE, source=planned.source.place.url)
            return _carry_out(planned, manifest, workers, progress or Meter())
        finally:
            manifest.close()


def _carry_out(planned: Plan, manifest: Manifest, workers: int, progress: Progress) -> Report:
    counts = planned.files
    progress.begin(sum(counts.values()) - counts["keep"], planned.num_bytes)
    report = Report(
        target=str(planned.target),
        source=planned.source.place.url,
        recordings=len(planned.recordings),
        interactions=planned.interactions,
        files={"kept": counts["keep"], **dict.fromkeys((WHOLE, DAMAGED, ABSENT, MISSING, FAILED), 0)},
        fetched_bytes=0,
        seconds=0.0,
        not_in_source=list(planned.not_here),
    )
    began = time.monotonic()
    damaged: list[Made] = []

    def note(made: Made) -> None:
        report.files[made.status] += 1
        if made.status == DAMAGED:
            damaged.append(made)
        if made.status not in (WHOLE, ABSENT) and len(report.problems) < _NAMED:
            report.problems.append(made._asdict())

    for made in _lacking(planned, manifest):
        note(made)

    lock = threading.Lock()

    def came(num_bytes: int) -> None:
        with lock:
            report.fetched_bytes += num_bytes
        progress.came(num_bytes)

    transfer = Transfer(planned.source, planned.target, manifest, came)
    failures, weights = 0, expected_bytes_of_parts()
    rows = {file_id: row for row, file_id in enumerate(planned.recordings["file_id"].to_pylist())}
    for made in _at_a_time(transfer, planned.jobs(), workers):
        note(made)
        told = int(planned.sizes[rows[made.file_id], PARTS.index(made.part)])
        progress.done(told if told >= 0 else weights[made.part][made.file_id[:3]])
        failures = failures + 1 if made.status == FAILED else 0
        if failures >= _FAILURES * workers:
            _take_back(planned, manifest, report, damaged)
            raise SourceUnreachable(
                f"{made.detail} The {failures - 1} files before it failed too. Files already downloaded are kept."
            )
    _take_back(planned, manifest, report, damaged)
    with suppress(OSError):  # something of another selection was begun
        (planned.target / PARTIAL).rmdir()
    report.seconds = time.monotonic() - began
    return report


def _take_back(planned: Plan, manifest: Manifest, report: Report, damaged: list[Made]) -> None:
    """What was taken for damaged, until the same bytes came for another file, is asked for again by the next run."""
    if not planned.source.doubt.repeated:
        return
    where = {row["file_id"]: (row["label"], row["split"]) for row in planned.recordings.to_pylist()}
    for made in damaged:
        path = tree_path(*where[made.file_id], made.part, made.file_id)
        entry = manifest.entry(path) or {}
        if entry.get("sha256") in planned.source.doubt.repeated:
            detail = "the host sends the same bytes for other files"
            manifest.write(path, FAILED, source=entry["source"], detail=detail)
            (planned.target / path).unlink(missing_ok=True)
            report.files[DAMAGED] -= 1
            report.files[FAILED] += 1
            for problem in report.problems:
                if (problem["file_id"], problem["part"]) == (made.file_id, made.part):
                    problem |= {"status": FAILED, "detail": detail}


def _lacking(planned: Plan, manifest: Manifest) -> Iterator[Made]:
    """Files that the source's own listing does not have, and the format requires."""
    for row in np.flatnonzero(planned.lacking):
        (recording,) = planned.recordings.slice(int(row), 1).to_pylist()
        for part in parts_in(int(planned.lacking[row])):
            path = tree_path(recording["label"], recording["split"], part, recording["file_id"])
            detail = "the source does not have it"
            manifest.write(path, MISSING, source=planned.source.place.url, detail=detail)
            yield Made(recording["file_id"], part, MISSING, 0, detail)


def _at_a_time(transfer: Transfer, jobs: Iterator[Job], workers: int) -> Iterator[Made]:
    """What becomes of the jobs, several of which are done at a time.

    Threads are daemons: nobody who presses Ctrl-C waits for a host that is silent. What they leave behind is as after
    a kill, which does no harm.
    """
    results: queue.Queue[Made | BaseException | None] = queue.Queue(10_000)
    lock = threading.Lock()

    def work() -> None:
        try:
            while not transfer.stop.is_set():
                with lock:
                    job = next(jobs, None)
                if job is None:
                    break
                for made in transfer.run(job):
                    results.put(made)
        except Stopped:
            pass
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            running -= result is None
            if result is not None:
                yield result
    finally:
        transfer.stop.set()
        deadline = time.monotonic() + _LAST_WORDS
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            try:
                results.get(timeout=0.05)  # nobody waits for a place in the queue
            except queue.Empty:
                continue


def _write_tables(planned: Plan) -> None:
    """The tables, and what the copy is meant to hold: what it was before, and what is fetched now."""
    target, place = planned.target, planned.source.place
    for name in TABLES:
        if name == "filelist.csv":
            continue
        content = read_table(place, name)
        if content is not None:
            _write_if_other(target / name, content)
    here = Place(target)
    if is_synthetic(here):  # by what its tables say
        notice = read_notice(place)
        if notice is not None:
            _write_if_other(target / NOTICE, notice)
    before = read_filelist(here)
    filelist = planned.filelist
    if before is not None:  # nothing that an earlier run fetched becomes a stray
        others = pc.invert(pc.is_in(before["file_id"], filelist["file_id"].combine_chunks()))
        filelist = pa.concat_tables([filelist, before.filter(others)])
    _write_if_other(target / "filelist.csv", write_filelist(filelist))
    meant = dict.fromkeys(planned.not_here, bits_of(planned.selection.parts))
    meant |= zip(planned.recordings["file_id"].to_pylist(), planned.wanted.tolist(), strict=True)
    earlier = read_selection(here)
    if earlier is not None:
        for file_id, parts in zip(earlier["file_id"].to_pylist(), earlier["parts"].to_pylist(), strict=True):
            meant[file_id] = meant.get(file_id, 0) | parts
    names = sorted(meant)
    table = pa.table({"file_id": names, "parts": pa.array([meant[name] for name in names], pa.int64())})
    if earlier is None or not table.equals(earlier):
        write_selection(target / SELECTION, table)


def _write_if_other(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, lambda file: file.write(content))
