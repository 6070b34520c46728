"""Samples to batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Sample = dict[str, Any]

_SHARED = ("interaction_id", "start", "duration")  # by partners' samples


def stack(samples: Sequence[Sample]) -> Sample:
    """Partners' samples of one window as one: arrays with an axis more in front, text and what else is ragged as lists.

    What differs in length is padded with zeros (masks: False) at its end; pictures of another raster stay a list.
    """
    return {**_merged(samples, 0, np.stack), **{name: samples[0][name] for name in _SHARED if name in samples[0]}}


def collate(samples: Sequence[Sample], axis: int, as_torch: bool) -> Sample:
    """A batch: arrays stacked, with their masks and lengths; text and what else is ragged as lists.

    Args:
        samples: as ``Windows`` gives them.
        axis: of time, in a sample's arrays: what differs in length is padded there, and only there.
        as_torch: tensors, else NumPy arrays.
    """
    return _merged(samples, axis, _tensors if as_torch else np.stack)


def is_torch_used() -> bool:
    """Whether this process has imported torch."""
    return "torch" in sys.modules


def _tensors(arrays: Sequence[np.ndarray]) -> Any:
    import torch
    from torch.utils.data import default_collate

    # In a worker of a DataLoader, this one puts them into the memory that the processes share.
    return default_collate([torch.from_numpy(np.asarray(array, order="C")) for array in arrays])


def _merged(samples: Sequence[Sample], axis: int, join: Callable[[Sequence[np.ndarray]], Any]) -> Sample:
    if not samples:
        return {}
    batch: Sample = {}
    for name, first in samples[0].items():
        values = [sample[name] for sample in samples]
        if isinstance(first, dict) and name in ("mask", "length"):
            batch[name] = _merged(values, axis, join)
        elif isinstance(first, np.ndarray):
            batch[name] = _joined(values, axis, join)
        elif type(first) in (int, float) and all(type(value) in (int, float) for value in values):
            batch[name] = join([np.asarray(value) for value in values])
        else:
            batch[name] = values
    return batch


def _joined(arrays: list[np.ndarray], axis: int, join: Callable[[Sequence[np.ndarray]], Any]) -> Any:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        if len({shape[:axis] + shape[axis + 1 :] for shape in shapes}) > 1:
            return arrays  # pictures of several rasters
        longest = max(shape[axis] for shape in shapes)
        arrays = [_padded(array, axis, longest) for array in arrays]
    return join(arrays)


def _padded(array: np.ndarray, axis: int, length: int) -> np.ndarray:
    if array.shape[axis] == length:
        return array
    padded = np.zeros((*array.shape[:axis], length, *array.shape[axis + 1 :]), array.dtype)
    padded[(slice(None),) * axis + (slice(array.shape[axis]),)] = array
    return padded
