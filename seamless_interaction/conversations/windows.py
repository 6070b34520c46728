"""Windows as a data set: map-style and iterable, in a shuffled order that can be resumed, split and repeated."""

from __future__ import annotations

import copy
import hashlib
import logging
import mmap
import os
import struct
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from datasets.utils._dill import pklregister

from seamless_interaction.conversations.clock import TimeSpan
from seamless_interaction.conversations.collate import collate, is_torch_used, stack
from seamless_interaction.conversations.condition import Where
from seamless_interaction.conversations.quantities import QUANTITIES, durations, kept_windows
from seamless_interaction.conversations.read_window import Sample, cut
from seamless_interaction.conversations.shuffle import Order
from seamless_interaction.conversations.storage import Storage
from seamless_interaction.errors import EmptySelection, ForeignState, UnknownName, UsageError, WindowError

logger = logging.getLogger("seamless_interaction")

ENDS = ("drop", "pad")
ON_ERROR = ("mask", "skip", "raise")
MOST_BAD = 100  # windows in a row, before it is no accident
_SAME = 1e-6  # seconds
_SHARED = "4q"  # the form of `_Shared`'s numbers
_BLOCK = 64  # windows whose order is worked out at a time


class Spec(NamedTuple):
    """What ``SeamlessDataset.windows`` was asked for."""

    duration: float
    hop: float
    columns: tuple[str, ...]
    fps: float | None
    paired: bool
    stereo: bool
    where: str | None
    shuffle: bool
    seed: int
    ends: str
    frame_size: tuple[int, int] | None
    on_error: str


class Windows(Sequence[Sample]):
    """Windows of a dataset's recordings, each a sample (see ``cut``) with its ``epoch`` and ``position``.

    ``windows[i]`` is the i-th of this epoch, in the order that follows from seed and epoch: a permutation of all
    windows, not of a buffer. So a ``DataLoader`` that goes through them in turn, as it does without a sampler, is
    shuffled, and shows each window exactly once an epoch, with any number of workers::

        loader = DataLoader(windows, batch_size=16, num_workers=2, collate_fn=windows.collate)
        for epoch in range(10):
            windows.set_epoch(epoch)
            for batch in loader:
                ...
                state = windows.state_dict(batch)

    ``load_state_dict`` goes on behind that batch: until the next ``set_epoch``, these are the windows that are left of
    the epoch. Iterating, ``for sample in windows``, needs no torch, and there ``state_dict()`` takes no batch. Of
    torchdata's ``StatefulDataLoader``, its own state has all of it.

    Attributes:
        bad: windows, of those that this process read, of which a file could not be used, or was not in this copy.
    """

    def __init__(self, storage: Storage, units: np.ndarray, spec: Spec):
        for value, known in ((spec.ends, ENDS), (spec.on_error, ON_ERROR)):
            if value not in known:
                raise UnknownName(value, known)
        if type(spec.seed) is not int:
            raise UsageError(f"seed is {spec.seed!r}. Give a whole number.")
        where = None if spec.where is None else Where(spec.where, QUANTITIES)
        self.spec, self._storage, self._units = spec, storage, units
        self._counts = self._count()
        self._offsets = np.append(0, np.cumsum(self._counts))
        self._kept: np.ndarray | None = None
        if where is not None:
            self._kept = kept_windows(storage, units, self._counts, spec.hop, spec.duration, where.names, where)
        self._number = int(self._offsets[-1]) if self._kept is None else len(self._kept)
        if not self._number:
            raise EmptySelection(self._why_none())
        self.bad = self._bad_in_a_row = 0
        self._rank, self._world = 0, 1
        self._shared = _Shared()
        self._taken = 0  # in this process, of what `_shared.first` left of the epoch
        self._next_batch = 0  # of a `DataLoader`, in this process: the index that it begins with
        self._ordered = Order(self._number, spec.seed, 0, spec.shuffle)

    def _count(self) -> np.ndarray:
        """Windows of each unit."""
        spec = self.spec
        numbers, places = np.unique(self._units, return_inverse=True)
        seconds = durations(self._storage, numbers)[places.reshape(self._units.shape)]
        if spec.ends == "drop":
            last = seconds.min(1, initial=np.inf) - spec.duration + _SAME
            return np.where(last >= 0, np.floor(last / spec.hop) + 1, 0).astype(np.int64)
        longest = seconds.max(1, initial=0.0)
        more = np.ceil(np.maximum(longest - spec.duration - _SAME, 0) / spec.hop)
        return np.where(longest > 0, more + 1, 0).astype(np.int64)

    def _why_none(self) -> str:
        if not len(self._units):
            return "no window: the dataset has no conversation of which both recordings are here."
        longest = durations(self._storage, np.unique(self._units)).max()
        if not longest:
            return (
                f"no window: nothing tells how long any of {len(self._units)} lasts. Windows need video, audio, arrays "
                "or text; add them to the copy."
            )
        if not self._offsets[-1]:
            return (
                f"no window: none of {len(self._units)} has {self.spec.duration:g} s, the longest {longest:.3f} s. "
                "Give less, or ends='pad'."
            )
        return f"no window: none of {self._offsets[-1]} has {self.spec.where!r}."

    def __repr__(self) -> str:
        what = "pairs of recordings" if self.spec.paired else "recordings"
        rank = f", rank {self._rank} of {self._world}" if self._world > 1 else ""
        return f"<Windows of {self.spec.duration:g} s: {len(self):,} of {len(self._units):,} {what}{rank}>"

    @property
    def epoch(self) -> int:
        """Which epoch this is, see ``set_epoch``."""
        return self._shared.epoch

    # --- which window

    @property
    def _order(self) -> Order:
        if self._ordered.epoch != self.epoch:
            self._ordered = Order(self._number, self.spec.seed, self.epoch, self.spec.shuffle)
        return self._ordered

    def __len__(self) -> int:
        """Windows that are left of the epoch, for this rank: all, unless a state was loaded."""
        return len(range(self._shared.first + self._rank, self._number, self._world))

    def _positions(self, indices: Sequence[int]) -> np.ndarray:
        left = len(self)
        for index in indices:
            if not -left <= index < left:
                raise IndexError(f"window {index} of {left}")
        return self._shared.first + self._rank + (np.asarray(indices, np.int64) % max(left, 1)) * self._world

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        """The window at a place of this epoch. Raises ``WindowError``, unless ``on_error`` is ``"mask"``."""
        self._shared.note_use()
        if sys._getframe(1).f_globals.get("__name__", "").startswith("torch."):  # a `DataLoader` without batches
            self._note_order([index])
        (position,) = self._positions([index]).tolist()
        sample = self._sample(position, int(self._order(position)), may_skip=False)
        assert sample is not None
        return sample

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Those of a batch, for torch's ``DataLoader``; without those that ``on_error="skip"`` leaves out."""
        self._shared.note_use()
        samples = list(self._samples(self._positions(indices)))
        if len(indices):
            self._note_order(indices)
            self._taken = max(indices) + 1
        return samples

    def _note_order(self, indices: Sequence[int]) -> None:
        """Whether a ``DataLoader`` takes windows in turn: a batch of one does not show it."""
        first, last = indices[0], indices[-1]
        workers = getattr(sys.modules.get("torch.utils.data"), "get_worker_info", lambda: None)()
        number, of = (workers.id, workers.num_workers) if workers else (0, 1)
        begins = first == number * len(indices) or last == len(self) - 1  # the last batch of all may be smaller
        if first != self._next_batch and not begins:
            self._shared.is_out_of_order = 1
        self._next_batch = last + 1 + (of - 1) * len(indices)

    def __iter__(self) -> Iterator[Sample]:
        """What is left of the epoch, from its beginning or the state that was loaded."""
        self._taken, self._shared.is_read_elsewhere = 0, 0
        while self._taken < len(self):
            block = self._positions(range(self._taken, min(self._taken + _BLOCK, len(self))))
            for position, window in zip(block.tolist(), self._order(block).tolist(), strict=True):
                sample = self._sample(position, window, may_skip=True)
                self._taken += 1
                if sample is not None:
                    yield sample

    def _samples(self, positions: np.ndarray) -> Iterator[Sample]:
        for position, window in zip(positions.tolist(), self._order(positions).tolist(), strict=True):
            sample = self._sample(position, window, may_skip=True)
            if sample is not None:
                yield sample

    # --- reading one

    def _sample(self, position: int, window: int, may_skip: bool) -> Sample | None:
        number = window if self._kept is None else int(self._kept[window])
        unit = int(np.searchsorted(self._offsets, number, "right")) - 1
        start = (number - int(self._offsets[unit])) * self.spec.hop
        recordings = [int(recording) for recording in self._units[unit]]
        try:
            sample = self._cut(recordings, start)
        except Exception as error:
            raise WindowError(f"{self._describe(recordings, start)}: {type(error).__name__}: {error}") from error
        issues = list(chain(*sample["issues"])) if self.spec.paired else sample["issues"]
        self._bad_in_a_row = 0 if all(issue["code"] == "not_selected" for issue in issues) else self._bad_in_a_row + 1
        if not issues:
            return {**sample, "epoch": self.epoch, "position": position}
        self.bad += 1
        where = f"{self._describe(recordings, start)}: {': '.join(issues[0].values())}"
        if self._bad_in_a_row >= MOST_BAD:
            raise WindowError(f"{where}. It is the {MOST_BAD}th window in a row of which a file cannot be used.")
        if self.spec.on_error == "raise" or (self.spec.on_error == "skip" and not may_skip):
            raise WindowError(where)
        if self.spec.on_error == "skip":
            logger.warning("left out: %s", where)
            return None
        return {**sample, "epoch": self.epoch, "position": position}

    def _describe(self, recordings: list[int], start: float) -> str:
        ids = " and ".join(self._storage.recording(number).file_id for number in recordings)
        return f"{ids}, {start:g} to {start + self.spec.duration:g} s"

    def _cut(self, recordings: list[int], start: float) -> Sample:
        spec, span = self.spec, TimeSpan(start, self.spec.duration, self.spec.fps)
        samples = [cut(self._storage, number, span, spec.columns, spec.frame_size) for number in recordings]
        if spec.paired:
            return stack(samples)
        (sample,) = samples
        if spec.stereo and "audio" in spec.columns:
            partner = self._storage.partner(recordings[0])
            other = None if partner is None else cut(self._storage, partner, span, ("audio",))
            silence = {"audio": np.zeros_like(sample["audio"]), "length": {"audio": 0}, "issues": []}
            both = stack([{name: of[name] for name in silence} for of in (sample, other or silence)])
            sample |= {"audio": both["audio"], "length": both["length"], "issues": list(chain(*both["issues"]))}
        return sample

    def collate(self, samples: Sequence[Sample | None]) -> Sample:
        """A batch: arrays stacked, with masks and lengths, as tensors where torch is imported; text as lists.

        Where lengths differ (``fps=None``), arrays are padded with zeros and masks with False. Pictures of several
        rasters stay a list of arrays: ``frame_size`` makes them one.
        """
        return collate([sample for sample in samples if sample is not None], int(self.spec.paired), is_torch_used())

    # --- epochs, ranks, resuming

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: another order of the same windows, all of them, if they are shuffled."""
        if type(epoch) is not int or epoch < 0:
            raise UsageError(f"epoch is {epoch!r}. Give a whole number of 0 or more.")
        self._go_to(epoch, 0)

    def _go_to(self, epoch: int, first: int) -> None:
        self._taken = 0
        self._shared.epoch, self._shared.first = epoch, first
        self._shared.is_read_elsewhere = self._shared.is_out_of_order = 0

    def split_by_rank(self, rank: int, world_size: int) -> Windows:
        """Those of one of several processes that train together: every window is of exactly one of them.

        Where their number does not divide, the first ranks have one more.
        """
        if not (type(rank) is type(world_size) is int and 0 <= rank < world_size):
            raise UsageError(f"rank {rank!r} of {world_size!r}. Give whole numbers, from rank 0 on.")
        part = copy.copy(self)
        part._rank, part._world, part._taken, part._next_batch = rank, world_size, 0, 0
        part._shared = _Shared(self._shared.epoch, self._shared.first)
        return part

    def state_dict(self, batch: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Where the epoch stands, for ``load_state_dict``; the same on all ranks that took as many windows.

        Args:
            batch: the last one that was used, if a ``DataLoader`` makes them: its workers are ahead of it. None: what
                was iterated over in this process.

        Raises:
            ForeignState: the batch is not of these windows, or its windows do not follow each other, as with a sampler
                that has an order of its own; or workers read, and no batch is given.
        """
        first = self._shared.first
        position = first + self._taken * self._world
        if batch is not None:
            try:
                epochs, positions = (np.atleast_1d(np.asarray(batch[name])).ravel() for name in ("epoch", "position"))
            except KeyError as error:
                raise ForeignState("a batch of these windows has 'epoch' and 'position'; this one has not.") from error
            steps, offset = np.diff(positions), positions - first - self._rank
            if not len(positions) or (epochs != self.epoch).any() or (offset % self._world).any() or offset[0] < 0:
                raise ForeignState(f"a batch of another epoch or rank than {self.epoch} and {self._rank}, or empty.")
            is_in_turn = len(positions) > 1 or not self._shared.is_out_of_order
            is_in_turn &= bool((steps > 0).all() and (self.spec.on_error == "skip" or (steps == self._world).all()))
            if not is_in_turn:
                raise ForeignState(
                    f"the windows of the batch, {positions.tolist()}, do not follow each other. Let the DataLoader "
                    "take them in turn, without a sampler or shuffle: they are shuffled."
                )
            position = first + int(offset[-1] // self._world + 1) * self._world
        elif sys._getframe(1).f_globals.get("__name__", "").startswith("torchdata."):
            position = first  # a StatefulDataLoader keeps the place itself, and goes there by `windows[i]`
        elif self._shared.is_read_elsewhere:
            raise ForeignState(
                "other processes read these windows, ahead of what was used. Give the last batch that was: "
                "state_dict(batch)."
            )
        return {
            "epoch": self.epoch,
            "position": min(position, self._number),
            "windows": self._number,
            "fingerprint": self.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, with any number of workers and ranks.

        Raises:
            ForeignState: it is of other windows: of other recordings, spans, conditions or another seed.
        """
        try:
            epoch, position, fingerprint = (state[name] for name in ("epoch", "position", "fingerprint"))
        except (KeyError, TypeError) as error:
            raise ForeignState(f"not a state of windows: {state!r}") from error
        if fingerprint != self.fingerprint or not 0 <= position <= self._number:
            raise ForeignState(
                f"the state is of {state.get('windows')} other windows than these {self._number}: of other recordings, "
                "spans, conditions, or another seed."
            )
        self._go_to(int(epoch), int(position))

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the windows and their order, and not with where the data lie."""
        spec = self.spec
        order = (spec.duration, spec.hop, spec.where, spec.paired, spec.ends, spec.shuffle, spec.seed)
        digest = hashlib.sha256(repr(order).encode())
        ids = self._storage.table["file_id"].take(pa.array(self._units.ravel())).to_pylist()
        digest.update("".join(ids).encode())
        digest.update(self._counts.tobytes())
        if self._kept is not None:
            digest.update(self._kept.tobytes())
        return digest.hexdigest()[:24]

    # --- other libraries

    def to_hf(self, num_shards: int = 64) -> Any:
        """The same as a ``datasets.IterableDataset`` of what is left of this epoch, in this order, in so many shards.

        Its own ``shuffle``, ``state_dict`` and workers work on these shards. Samples hold NumPy arrays.
        """
        import datasets

        bounds = np.linspace(0, len(self), min(num_shards, len(self)) + 1).astype(int)
        shards = [(int(first), int(last)) for first, last in pairwise(bounds)]
        generate: Callable[..., Iterator[Sample]] = _generate
        return datasets.IterableDataset.from_generator(generate, gen_kwargs={"windows": self, "shards": shards})


@pklregister(Windows)
def _hashed(pickler: Any, windows: Windows) -> None:
    """What `datasets` hashes: equal windows at the same place of an epoch are the same, whoever made them."""
    kept, shared = windows._storage, windows._shared
    place = (windows._rank, windows._world, shared.epoch, shared.first)
    described = (kept.identity, sorted((name, repr(value)) for name, value in kept.described.items()))
    pickler.save_reduce(tuple, ((windows.fingerprint, repr(windows.spec), place, described),), obj=windows)


def _generate(windows: Windows, shards: list[tuple[int, int]]) -> Iterator[Sample]:
    for first, last in shards:
        for start in range(first, last, _BLOCK):
            yield from windows._samples(windows._positions(range(start, min(start + _BLOCK, last))))


class _Shared:
    """Where an epoch stands, for this process and those that read for it, even if they live on into the next epoch.

    It is four numbers in a file, which goes when its process does. Who comes upon a pickle later has its own.

    Attributes:
        epoch: which one it is.
        first: the position in it that is ``windows[0]``.
        is_read_elsewhere: 1 once another process has read a window.
        is_out_of_order: 1 once batches did not follow each other.
    """

    def __init__(self, epoch: int = 0, first: int = 0):
        self._make(epoch, first)

    def _make(self, epoch: int, first: int) -> None:
        self._process = os.getpid()
        handle, self._path = tempfile.mkstemp(prefix="seamless-interaction-epoch-")
        with os.fdopen(handle, "r+b") as file:
            file.write(struct.pack(_SHARED, epoch, first, 0, 0))
            file.flush()
            self._map(file)
        weakref.finalize(self, _remove, self._path, self._process)

    def _map(self, file: BinaryIO) -> None:
        self._numbers = memoryview(mmap.mmap(file.fileno(), struct.calcsize(_SHARED))).cast("q")

    def __getstate__(self) -> tuple[int, str, int, int]:
        return self._process, self._path, self.epoch, self.first

    def __setstate__(self, state: tuple[int, str, int, int]) -> None:
        process, path, epoch, first = state
        try:
            with open(path, "r+b") as file:
                self._process, self._path = process, path
                self._map(file)
        except (OSError, ValueError):
            self._make(epoch, first)

    @property
    def epoch(self) -> int:
        return self._numbers[0]

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._numbers[0] = number

    @property
    def first(self) -> int:
        return self._numbers[1]

    @first.setter
    def first(self, number: int) -> None:
        self._numbers[1] = number

    @property
    def is_read_elsewhere(self) -> int:
        return self._numbers[2]

    @is_read_elsewhere.setter
    def is_read_elsewhere(self, number: int) -> None:
        self._numbers[2] = number

    @property
    def is_out_of_order(self) -> int:
        return self._numbers[3]

    @is_out_of_order.setter
    def is_out_of_order(self, number: int) -> None:
        self._numbers[3] = number

    def note_use(self) -> None:
        if self._process != os.getpid():
            self._numbers[2] = 1


def _remove(path: str, process: int) -> None:
    if os.getpid() == process:
        with suppress(OSError):
            os.unlink(path)
