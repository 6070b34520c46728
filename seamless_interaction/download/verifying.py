"""Whether a copy is what it is meant to be: nothing missing, nothing changed. Offline, unless it is to be repaired."""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from seamless_interaction import EVERY_MODALITY, SELECTION
from seamless_interaction.download.manifest import CODES, DAMAGED, FAILED, MISSING, NAME, WHOLE, Manifest, mark
from seamless_interaction.download.on_disk import on_disk
from seamless_interaction.download.planning import FOLDER, plan
from seamless_interaction.download.run import WORKERS, Report, carry_out
from seamless_interaction.errors import SourceNotFound, UsageError, known_keywords
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import can_be_written, local_path, locked, sha256_of
from seamless_interaction.selection.selection import Selection
from seamless_interaction.source.layout import PARTS, tree_path, which_parts
from seamless_interaction.source.recordings import required_bits
from seamless_interaction.source.tables import read_filelist, read_selection
from seamless_interaction.work.progress import Progress
from seamless_interaction.work.text import decimal

_NAMED, _SHOWN = 1000, 10  # files that a report names of each kind, and that its text does
_KINDS = {
    "missing": "meant to be here, and not here",
    "corrupt": "not the bytes that were fetched",
    "extra": "not in the manifest",
    "damaged": "as the source has them, and broken there",
}
_AT_A_TIME = 64  # files that are read between two looks at the clock


@dataclass
class Verification:
    """What ``verify`` found.

    Attributes:
        files: that the copy has, by its manifest.
        read: those of them whose hash was compared now.
        read_bytes: of these.
        is_complete: whether all of them were; not with ``sample`` or where time ran out.
        counts: how many files are missing, corrupt, extra, damaged at the source; the lists name the first thousand.
        missing, corrupt, extra, damaged: their paths.
        repaired: what fetching again did.
    """

    target: str
    files: int = 0
    read: int = 0
    read_bytes: int = 0
    is_complete: bool = False
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    missing: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    repaired: Report | None = None

    def note(self, kind: str, path: str) -> None:
        self.counts[kind] += 1
        named: list[str] = getattr(self, kind)
        if len(named) < _NAMED:
            named.append(path)

    @property
    def exit_code(self) -> int:
        """0: whole, as far as it was read; 4: something is corrupt; else 3: something is missing."""
        return 4 if self.counts["corrupt"] else 3 if self.counts["missing"] else 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "exit_code": self.exit_code}

    def as_text(self) -> str:
        """For reading."""
        whole = "all" if self.is_complete else f"{self.read:,} of"
        lines = [
            f"{self.target}: {whole} {self.files:,} files read, {decimal(self.read_bytes)}, in {self.seconds:,.1f} s"
            + ("" if self.is_complete else "; of the others, names and sizes")
        ]
        if self.repaired:
            lines.append(f"repaired: {self.repaired.as_text()}")
        for kind, meaning in _KINDS.items():
            names = getattr(self, kind)
            if names:
                lines.append(f"{self.counts[kind]:,} {kind}: {meaning}")
                lines += [f"  {name}" for name in names[:_SHOWN]]
                lines += [f"  … and {self.counts[kind] - _SHOWN:,} more"] if self.counts[kind] > _SHOWN else []
        if not self.exit_code:
            lines.append("whole" if self.is_complete else "whole as far as it was read")
        return "\n".join(lines)


@known_keywords()
def verify(
    target: str | os.PathLike = FOLDER,
    *,
    sample: float | None = None,
    time_limit: float | None = None,
    repair: bool = False,
    source: str | os.PathLike | None = None,
    storage_options: dict[str, Any] | None = None,
    workers: int = WORKERS,
    progress: Progress | None = None,
) -> Verification:
    """Compare a copy with its manifest: what is there, and the hashes of the files.

    Names and sizes of all files are compared, hashes in the order in which they were last checked; so several runs with
    ``sample`` or ``time_limit`` come round to all of them. A copy that cannot be written to is only read, and what was
    checked is not noted.

    Args:
        target: the copy's folder.
        sample: the share of files to read, above 0 and at most 1; None is all.
        time_limit: seconds after which no further file is read.
        repair: fetch what is missing or corrupt again.
        source: where from; None is where the copy came from.
        storage_options: what fsspec needs to open it.
        workers, progress: as for ``download``.

    Returns:
        What was found; with ``repair``, what is left of it.

    Raises:
        UsageError: a share or limit that cannot be.
        SourceNotFound: the folder is no copy.
        SourceError, TargetError: as ``download``, with ``repair``.
    """
    if sample is not None and not 0 < sample <= 1:
        raise UsageError(f"sample is {sample!r}; it must be above 0 and at most 1 (100 %).")
    if time_limit is not None and not time_limit > 0:
        raise UsageError(f"time_limit is {time_limit!r}; it must be above 0 seconds.")
    if source is not None and not repair:
        raise UsageError("source is where repair fetches from. Repair, or leave it out.")
    folder = local_path(target)
    found, wrong = _verify(folder, sample, time_limit, repair)
    if not (repair and wrong):
        return found
    report = _repair(folder, wrong, source, storage_options, workers=workers, progress=progress)
    left, _ = _verify(folder, sample, time_limit, False)
    left.repaired = report
    return left


class _Copy:
    """A copy that is being verified."""

    def __init__(self, folder: Path, is_noted: bool):
        """If ``is_noted``, the manifest learns when a file was last found whole."""
        filelist, meant = read_filelist(Place(folder)), read_selection(Place(folder))
        assert filelist is not None and meant is not None
        self.folder, self.manifest, self._is_noted = folder, Manifest(folder), is_noted
        where = pc.index_in(meant["file_id"], filelist["file_id"].combine_chunks())
        meant, listed = meant.filter(where.is_valid()), filelist.take(where.drop_null())
        self.ids = meant["file_id"].to_pylist()
        self._folders = list(zip(listed["label"].to_pylist(), listed["split"].to_pylist(), strict=True))
        rows = np.array([self.manifest.row(file_id) for file_id in self.ids], np.int64)
        self.cells = self.manifest.cells[rows]
        bits = np.array([1 << bit for bit in range(len(PARTS))], np.int64)
        has_file = np.isin(self.cells["status"], (CODES[WHOLE], CODES[DAMAGED])) & (self.cells["mark"] != mark(0, 0))
        lacks = np.isin(self.cells["status"], (CODES[MISSING], CODES[FAILED]))
        self.disk = on_disk(self.ids, (has_file * bits).sum(1), self.manifest, folder)
        expected = ((has_file | lacks) * bits).sum(1) | required_bits(listed) & np.asarray(meant["parts"])
        self.missing = expected & ~self.disk.here & ~self.disk.known

    def path(self, row: int, bit: int) -> str:
        return tree_path(*self._folders[row], PARTS[bit], self.ids[row])

    def files(self, bits: np.ndarray) -> np.ndarray:
        """Row and bit of each file, in two columns."""
        return np.argwhere(which_parts(bits))

    def is_whole(self, row: int, bit: int) -> tuple[bool, int]:
        """Whether a file's bytes are those that were fetched; how many were read to know."""
        path = self.path(row, bit)
        entry = self.manifest.entry(path) or {}
        stat = (self.folder / path).stat()
        if stat.st_size != entry.get("bytes"):
            return False, 0
        if sha256_of(self.folder / path) != entry.get("sha256"):
            return False, stat.st_size
        if self._is_noted:
            self.manifest.write(**{**entry, "mtime_ns": stat.st_mtime_ns, "checked": int(time.time())})
        return True, stat.st_size


def _verify(
    folder: Path, sample: float | None, time_limit: float | None, repair: bool
) -> tuple[Verification, dict[str, int]]:
    """What was found; and of each recording the files that are missing or corrupt, a bit a part."""
    began = time.monotonic()
    lacking = [name for name in (NAME, SELECTION, "filelist.csv") if not (folder / name).exists()]
    if lacking:
        raise SourceNotFound(
            f"{folder} is no copy that `seamless-interaction download` made: it lacks {', '.join(lacking)}."
        )
    is_noted = repair or can_be_written(folder)
    with locked(folder) if is_noted else nullcontext():
        copy = _Copy(folder, is_noted)
        here = copy.files(copy.disk.here)
        found = Verification(str(folder), files=len(here))
        wrong: dict[str, int] = {}

        def note(kind: str, row: int, bit: int) -> None:
            found.note(kind, copy.path(row, bit))
            if kind != "damaged":
                wrong[copy.ids[row]] = wrong.get(copy.ids[row], 0) | 1 << int(bit)

        for path in copy.disk.extra:
            found.note("extra", path)
        for row, bit in copy.files(copy.missing):
            note("missing", row, bit)
        for row, bit in np.argwhere(copy.cells["status"] == CODES[DAMAGED]):
            note("damaged", row, bit)
        # First those that changed, then those that were not looked at for the longest time.
        rows, bits = here.T
        intact = copy.disk.intact[rows] >> bits & 1
        order = np.lexsort((copy.cells["checked"][rows, bits], intact))
        to_read = here[order]
        if sample is not None:
            to_read = to_read[: max(int((intact == 0).sum()), math.ceil(sample * len(here)))]
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for start in range(0, len(to_read), _AT_A_TIME):
                    if time_limit is not None and time.monotonic() - began > time_limit:
                        break
                    files = to_read[start : start + _AT_A_TIME]
                    for (row, bit), (is_whole, num_bytes) in zip(
                        files, pool.map(lambda f: copy.is_whole(*f), files), strict=True
                    ):
                        found.read += 1
                        found.read_bytes += num_bytes
                        if not is_whole:
                            note("corrupt", row, bit)
                            if repair:
                                copy.manifest.write(copy.path(row, bit), FAILED, detail="corrupt")
        finally:
            copy.manifest.close()
    found.is_complete = found.read == found.files
    found.seconds = time.monotonic() - began
    return found, wrong


def _repair(
    folder: Path,
    wrong: dict[str, int],
    source: str | os.PathLike | None,
    storage_options: dict[str, Any] | None,
    **options: Any,
) -> Report:
    """Fetch what is wrong again."""
    if source is None:
        source = (Manifest(folder).entry(SELECTION) or {}).get("source") or "bucket"
    selection = Selection(subset="full", file_ids=tuple(wrong), modalities=tuple(EVERY_MODALITY), single=True)
    planned = plan(selection, source, folder, filelist=folder / "filelist.csv", storage_options=storage_options)
    return carry_out(planned.restricted(wrong), **options)
