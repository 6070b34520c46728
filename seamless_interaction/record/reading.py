"""Records of a source as Arrow tables, shard by shard: what the builder generates."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import datasets
import pyarrow as pa

from seamless_interaction import MODALITIES
from seamless_interaction.errors import NotEnoughSpace, SeamlessInteractionError
from seamless_interaction.places.write import FULL
from seamless_interaction.record.arrow import BATCH_ROWS, Types, batches
from seamless_interaction.record.join import Join
from seamless_interaction.source.context import Context
from seamless_interaction.source.files import Source, typical_bytes
from seamless_interaction.source.ids import INTERACTION_LENGTH
from seamless_interaction.source.layout import parts_of
from seamless_interaction.source.recordings import Recording

logger = logging.getLogger("seamless_interaction")

Shard = tuple[int, int]  # first and last row (exclusive) of a table of recordings


def shards_of(file_ids: list[str], columns: tuple[str, ...]) -> list[Shard]:
    """The shards of a split: whole interactions, about 64 MB of arrays and 2 to 16 of them.

    Small shards are cheap to resume, large ones let many small files be fetched at a time. `datasets`
    deals them out to nodes and workers, evenly if their number divides; so where there are many, or 24
    would still be of use, there is a multiple of 24 of them.
    """
    starts = [
        row
        for row, file_id in enumerate(file_ids)
        if not row or file_id[:INTERACTION_LENGTH] != file_ids[row - 1][:INTERACTION_LENGTH]
    ]
    size = min(16, max(2, (1 << 26) // (2 * typical_bytes(parts_of(columns)) + 1)))
    number = max(min(24, len(starts)) if size == 2 else 1, len(starts) // size)
    if number > 24:
        number -= number % 24
    bounds = [starts[len(starts) * shard // number] for shard in range(number)] if starts else []
    bounds.append(len(file_ids))
    return list(pairwise(bounds))


class Reading:
    """What one process has open to make records.

    Args:
        source: where they lie.
        columns: those asked for, besides identity, time and honesty.
        schema: of the tables.
        on_error: as ``SeamlessInteractionConfig`` has it.
    """

    def __init__(self, source: Source, columns: tuple[str, ...], schema: pa.Schema, on_error: str):
        self.process = os.getpid()
        self._source, self._columns, self._on_error = source, columns, on_error
        self._types = Types(schema)
        self._passes: dict[str, _Pass] = {}  # by split
        self._context: Context | None = None
        self._lock = threading.Lock()  # `datasets` 5 generates in several threads when it shuffles

    def tables(self, shards: list[Shard], rows: pa.Table, split: str, num_shards: int) -> Iterator[pa.Table]:
        """The records of some shards of a split, in order.

        Args:
            rows: the split's, with the fields of ``Recording``.
            num_shards: that the split has.

        Raises:
            BadFile: a file cannot be used, and ``on_error`` is ``"raise"``.
            SourceError: the place is at fault.
        """
        current = self._passes.get(split)
        if current is None or not current.shards.isdisjoint(shards):  # the pass before was not finished
            current = self._passes[split] = _Pass()
        current.shards.update(shards)
        # A stream asks for one shard at a time, and each record of it is wanted as soon as it is read.
        max_rows = 1 if len(shards) == 1 else BATCH_ROWS
        yield from batches(self._records(shards, rows, current), self._types, max_rows)
        current.finished += len(shards)
        if len(shards) > 1 or current.finished == num_shards:
            current.log(split)

    def _records(self, shards: Iterable[Shard], rows: pa.Table, current: _Pass) -> Iterator[dict[str, Any]]:
        context = self._opened_context()
        wanted = (Recording(**row) for start, stop in shards for row in rows.slice(start, stop - start).to_pylist())
        for files in self._source.files(wanted, parts_of(self._columns)):
            join = Join(files, self._columns, context)
            current.recordings += 1
            current.issues.update({issue["code"] for issue in join.issues})
            if join.errors and self._on_error == "raise":
                raise join.errors[0]
            if join.errors and self._on_error == "skip":
                current.skipped += 1
            else:
                yield join.values

    def _opened_context(self) -> Context | None:
        """The tables; None if none of their columns is asked for."""
        if MODALITIES["context"].keys().isdisjoint(self._columns):
            return None
        with self._lock:
            if self._context is None:
                self._context = Context(self._source.place, self._on_error == "raise")
            return self._context


@dataclass
class _Pass:
    """What one pass over the shards of a split came upon."""

    shards: set[Shard] = field(default_factory=set)  # begun, not all of them finished
    finished: int = 0
    recordings: int = 0
    skipped: int = 0
    issues: Counter[str] = field(default_factory=Counter)  # in how many recordings, by code

    def log(self, split: str) -> None:
        ordinary = self.issues.keys() <= {"absent", "not_selected", "undisclosed", "no_partner"} and not self.skipped
        logger.log(
            logging.INFO if ordinary else logging.WARNING,
            "%s: %d recordings, %d skipped; recordings with an issue: %s",
            split,
            self.recordings,
            self.skipped,
            ", ".join(f"{code} {count}" for code, count in sorted(self.issues.items())) or "none",
        )


def prepare(builder: datasets.DatasetBuilder, num_proc: int | None, folder: str) -> None:
    """Have `datasets` prepare what a builder generates, in a folder, with errors of ours."""
    try:
        builder.download_and_prepare(num_proc=num_proc)
    except (datasets.exceptions.DatasetGenerationError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, SeamlessInteractionError):
            raise cause from None
        is_refused = "Not enough disk space" in str(cause)  # by `datasets`, before it begins
        if isinstance(cause, OSError) and (is_refused or cause.errno in FULL):
            raise NotEnoughSpace(
                f"{folder}, where prepared data go: the disk is full. Make room, name another folder by "
                "cache_dir=, select less, or load with streaming=True."
            ) from None
        raise
