"""What is known of each window before it is read: durations, and the quantities that ``where`` compares.

Both are computed once and kept as Parquet in the cache, under a name that changes with the data.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seamless_interaction import ANNOTATION_KINDS, ARRAYS
from seamless_interaction.conversations.storage import Storage
from seamless_interaction.errors import BadFile
from seamless_interaction.formats.parquet import DAMAGED
from seamless_interaction.places import cache, write

logger = logging.getLogger("seamless_interaction")

# What `where` can compare, of one recording in one window.
QUANTITIES = {
    "start": "seconds from the recording's start",
    "speech": "share of the window in which the participant speaks, by the voice activity",
    "partner_speech": "the same of the partner",
    "overlap": "share in which both speak",
    "silence": "share in which neither does",
    "words": "words of the transcript that begin in the window",
    "annotations": "annotated moments that touch the window",
    "smplh_valid": "share of frames whose hands are valid (smplh:is_valid)",
    "box_valid": "share of frames with a tracked person (boxes_and_keypoints:is_valid_box)",
    "movement_valid": "share of frames whose face motion is valid (movement:is_valid)",
}
_MASKS = {
    "smplh_valid": "smplh:is_valid",
    "box_valid": "boxes_and_keypoints:is_valid_box",
    "movement_valid": "movement:is_valid",
}
_OF_BOTH = ("partner_speech", "overlap", "silence")
_VERSION = 2
_KEPT = 32  # files in the cache
_ROWS = 1 << 16  # of a row group
_REQUESTS = 16  # recordings at a time, of a remote place


def _kept(name: str, make: Callable[[Any], object]) -> Path:
    """A file of the cache, made if it is not there, or is damaged."""
    folder = cache.folder() / "windows"
    path = folder / f"{cache.key(f'{_VERSION} {name}')}.parquet"
    if not _is_whole(path):
        write.write_whole(path, make)
        by_age = sorted(folder.glob("*.parquet"), key=lambda other: other.stat().st_mtime)
        for old in by_age[:-_KEPT]:
            with suppress(FileNotFoundError):  # another process tidies up as well
                old.unlink()
    return path


def _is_whole(path: Path) -> bool:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for _ in file.iter_batches(_ROWS):
                pass
            return True
    except DAMAGED:
        return False


def _name(storage: Storage, numbers: np.ndarray, *more: object) -> str:
    ids = hashlib.sha256("".join(storage.table["file_id"].take(pa.array(numbers.ravel())).to_pylist()).encode())
    return repr((storage.described["url"], storage.described["index"], storage.identity, ids.hexdigest(), *more))


def durations(storage: Storage, numbers: np.ndarray) -> np.ndarray:
    """Seconds of each recording, in the order given; from the index where it tells, else from the headers.

    Args:
        numbers: of recordings, each once.
    """
    known = np.full(len(numbers), np.nan)
    index, rows = storage.open.source.index, storage.table["row"].take(pa.array(numbers))
    if index and not rows.null_count:
        known = index.durations()[np.asarray(rows)]
    lacking = np.flatnonzero(np.isnan(known))
    if len(lacking):

        def make(file: Any) -> None:
            if len(lacking) > 1000:
                logger.info("looking for the durations of %d recordings, once", len(lacking))
            found = list(_each(storage, storage.duration, [int(n) for n in numbers[lacking]]))
            pq.write_table(pa.table({"duration": pa.array(found, pa.float64())}), file, write_page_checksum=True)

        path = _kept(_name(storage, numbers[lacking], "durations"), make)
        known[lacking] = np.asarray(pq.read_table(path)["duration"])
    return known


def _each(storage: Storage, call: Callable[..., Any], *arguments: Sequence[Any]) -> Iterator[Any]:
    """``call`` for each, several at a time where the place is remote."""
    if storage.open.source.place.is_local:
        yield from map(call, *arguments)
        return
    with ThreadPoolExecutor(_REQUESTS) as pool:
        yield from pool.map(call, *arguments)


def kept_windows(
    storage: Storage,
    units: np.ndarray,
    counts: np.ndarray,
    hop: float,
    duration: float,
    names: tuple[str, ...],
    condition: Callable[[dict[str, np.ndarray]], np.ndarray],
) -> np.ndarray:
    """The numbers of the windows for which a condition on their quantities is true, of each of their recordings.

    Args:
        units: (n, participants) recordings.
        counts: (n,) how many windows each unit has, one after the other.
        hop, duration: of the windows, seconds.
        names: of the quantities.
        condition: of the columns of one recording in some windows.
    """

    def make(file: Any) -> None:
        schema = pa.schema([(f"{name}:{place}", pa.float32()) for place in range(units.shape[1]) for name in names])
        if counts.sum() > 100_000:
            logger.info("computing %s of %d windows, once", ", ".join(names), counts.sum())
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            waiting: list[pa.Table] = []

            def flush(least: int) -> None:
                if sum(map(len, waiting)) > least:
                    writer.write_table(pa.concat_tables(waiting).combine_chunks(), _ROWS)
                    waiting.clear()

            def of(unit: np.ndarray, count: int) -> pa.Table:
                starts = np.arange(count) * hop
                columns = [_quantities(storage, int(number), starts, duration, names) for number in unit]
                return pa.table(list(chain(*columns)), schema=schema)

            for table in _each(storage, of, list(units), [int(count) for count in counts]):
                waiting.append(table)
                flush(_ROWS)
            flush(0)

    path = _kept(_name(storage, units, counts.tolist(), hop, duration, names), make)
    kept, first = [np.empty(0, np.int64)], 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            true = np.ones(len(batch), bool)
            for place in range(units.shape[1]):
                true &= condition({name: np.asarray(batch[f"{name}:{place}"]) for name in names})
            kept.append(first + np.flatnonzero(true))
            first += len(batch)
    return np.concatenate(kept)


def _quantities(
    storage: Storage, number: int, starts: np.ndarray, duration: float, names: tuple[str, ...]
) -> list[np.ndarray]:
    """The quantities of one recording in windows at these times, float32; NaN where they are not known."""
    ends = starts + duration
    partner = storage.partner(number)
    own = _speech(storage, number) if {"speech", "overlap", "silence"} & set(names) else None
    other = _speech(storage, partner) if partner is not None and set(_OF_BOTH) & set(names) else None
    found: dict[str, np.ndarray | None] = {"start": starts}
    found["speech"] = _share(own, starts, ends)
    found["partner_speech"] = _share(other, starts, ends)
    if own is not None and other is not None:
        either = _share(_union(np.concatenate([own, other])), starts, ends)
        assert either is not None
        found["silence"] = 1 - either
        found["overlap"] = found["speech"] + found["partner_speech"] - either  # type: ignore[operator]
    if "words" in names:
        segments = _records(storage, number, "transcript")
        if segments is not None:
            begins = sorted(w["start"] for s in segments for w in s["words"] if w["start"] is not None)
            found["words"] = np.searchsorted(begins, ends) - np.searchsorted(begins, starts)
    if "annotations" in names:
        moments = [sorted((r["start"], r["end"])) for k in ANNOTATION_KINDS for r in _records(storage, number, k) or ()]
        times = np.array(moments).reshape(-1, 2)
        touching = (times[:, 0] < ends[:, None]) & (times[:, 1] >= starts[:, None])
        found["annotations"] = touching.sum(1)
    for name in names:
        if name in _MASKS:
            found[name] = _valid_share(storage, number, _MASKS[name], starts, ends)
    unknown = np.full(len(starts), np.nan)
    values = (found.get(name) for name in names)
    return [(unknown if value is None else np.asarray(value)).astype(np.float32) for value in values]


def _records(storage: Storage, number: int, part: str) -> list[dict[str, Any]] | None:
    try:
        return storage.records(number, part)
    except BadFile:
        return None


def _speech(storage: Storage, number: int) -> np.ndarray | None:
    """When the participant speaks, (n, 2) seconds, ascending and apart; None if that is not known."""
    records = _records(storage, number, "vad")
    if records is None:
        return None
    return _union(np.array([(record["start"], record["end"]) for record in records]).reshape(-1, 2))


def _union(intervals: np.ndarray) -> np.ndarray:
    """Intervals, (n, 2), as those they cover together: ascending and apart."""
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    if not len(intervals):
        return intervals
    reach = np.maximum.accumulate(intervals[:, 1])
    begins = np.append(True, intervals[1:, 0] > reach[:-1])
    lasts = np.append(np.flatnonzero(begins)[1:] - 1, len(intervals) - 1)
    return np.stack([intervals[begins, 0], reach[lasts]], 1)


def _share(intervals: np.ndarray | None, starts: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """The share of each span that intervals (ascending and apart) cover."""
    if intervals is None:
        return None
    if not len(intervals):
        return np.zeros(len(starts))
    times = intervals.ravel()
    lengths = np.diff(intervals, axis=1).ravel()
    before = np.repeat(np.append(0, np.cumsum(lengths)), 2)[1:-1]  # covered until each of the times
    return (np.interp(ends, times, before) - np.interp(starts, times, before)) / (ends - starts)


def _valid_share(storage: Storage, number: int, key: str, starts: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    try:
        mask = storage.array(number, key)
    except BadFile:
        return None
    if mask is None or not len(mask):
        return None
    rate = storage.facts(number, of_array=True).rate(len(mask), ARRAYS[key].frames_per_row)
    before = np.append(0, np.cumsum(mask.reshape(len(mask)) != 0))
    rows = np.arange(len(mask) + 1)
    valid = np.interp(ends * rate, rows, before) - np.interp(starts * rate, rows, before)
    return valid / ((ends - starts) * rate)
