"""Records as JSON lines, for pipes: text and numbers as they are, arrays by their figures, media by their headers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from seamless_interaction import MASKS
from seamless_interaction.errors import BadFile
from seamless_interaction.formats.audio import Audio
from seamless_interaction.formats.video import Video

_ARE_MASKS = set(MASKS.values())
_STEP = 1 << 16  # elements that are float64 at a time: the figures are made of them while they are in the CPU's cache


def stream_lines(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Records as text, one JSON object each, without the line's end.

    Args:
        records: a ``Dataset`` or ``IterableDataset`` of this package.
    """
    for record in records:
        yield json.dumps(line(record), ensure_ascii=False, allow_nan=False)


def line(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as JSON has it, in the record's own order and nesting.

    - An array is ``shape``, ``dtype``, ``frames`` and, over the finite values of so many frames, ``mean``, ``std``,
      ``min`` and ``max``. The frames are those that the array's mask (``MASKS``) calls valid, if the record has the
      mask, else all.
    - A mask is ``shape``, ``dtype`` and ``valid``, the share of valid frames.
    - ``segments`` have the number of their words. ``audio`` has its path and header, which is read, without samples;
      a header that cannot be read is one more of ``issues``. ``video`` has its path; no more of it is read.
    - What is not finite, or has nothing to be computed of, is null.

    Args:
        record: of a dataset of this package, in NumPy's view.
    """
    problems: list[dict[str, str]] = []
    values: dict[str, Any] = {}
    for name in record:
        value = record[name]
        if name == "segments" and value is not None:
            value = [{**segment, "words": len(segment["words"])} for segment in value]
        elif isinstance(value, Audio):
            value = _audio(value, problems)
        elif isinstance(value, Video):
            value = {"path": value.path}
        elif isinstance(value, dict):
            value = {key: _member(record, f"{name}:{key}", member) for key, member in value.items()}
        values[name] = _plain(value)
    if problems:
        values["issues"] = [*values.get("issues", ()), *problems]
    return values


def _audio(audio: Audio, problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        return {"path": audio.path, **audio.header._asdict()}
    except BadFile as error:
        problems.append({"column": "audio", "code": error.code, "detail": str(error)})
        return {"path": audio.path}


def _member(record: Mapping[str, Any], name: str, value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    summary = {"shape": list(value.shape), "dtype": str(value.dtype)}
    if name in _ARE_MASKS:
        return {**summary, "valid": float((value != 0).mean()) if len(value) else None}
    group, _, feature = MASKS.get(name, "").partition(":")
    mask = record[group].get(feature) if group in record else None
    valid = None if mask is None or len(mask) != len(value) else mask.reshape(-1) != 0
    return {**summary, **_figures(value, valid)}


def _figures(values: np.ndarray, valid: np.ndarray | None) -> dict[str, Any]:
    """Of the finite values of the valid rows (None: of all), a step at a time."""
    count, mean, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
    rows = max(1, _STEP // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), rows):
        some = values[start : start + rows]
        if valid is not None and not (here := valid[start : start + rows]).all():
            some = some[here]
        piece = some.astype(np.float64).reshape(-1)
        if not np.isfinite(piece.sum()):
            piece = piece[np.isfinite(piece)]
        if not len(piece):
            continue
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        # Chan, Golub and LeVeque: mean and squared deviations of two parts give those of both, without cancellation.
        apart, number = float(piece.mean()) - mean, len(piece)
        piece -= piece.mean()
        squares += float(piece @ piece) + apart * apart * count * number / (count + number)
        mean += apart * number / (count + number)
        count += number
    figures = {"mean": mean, "std": math.sqrt(squares / count), "min": low, "max": high} if count else {}
    frames = len(values) if valid is None else int(valid.sum())
    return {"frames": frames, **dict.fromkeys(("mean", "std", "min", "max")), **figures}


def _plain(value: Any) -> Any:
    """The value without NaN, infinity or NumPy's own numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, (list, tuple)) else value
