"""Rows of an array at times that lie between its own: the nearest, a straight line, or the shortest turn."""

from __future__ import annotations

import numpy as np

_WHOLE = 1e-6  # rows: what is nearer than this to a row is at it, and as far from two rows is between them


def at_positions(
    values: np.ndarray, valid: np.ndarray | None, positions: np.ndarray, how: str
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of an array at any positions.

    What lies within 1e-6 of a row is that row, bit for bit. What lies between two valid rows is of both, and what has
    an invalid one beside it is the nearest row, so that nothing of an invalid row gets into a valid one. Masks are the
    nearest row's. Rows reach half a row to either side: beyond -0.5 and n - 0.5 there is nothing.

    Args:
        values: (n, *shape)
        valid: (n,) bool, which rows hold a measurement; None if all do.
        positions: (T,) float64, in rows, counted from the first one.
        how: as ``Array.between``. ``"nearest"``: the nearest row, the earlier one of two as near. ``"linear"``: on a
            straight line. ``"rotation"``: rotation vectors, (n, ..., 3) radians of any length, along the shortest turn.

    Returns:
        (T, *shape) in the dtype of ``values``, and (T,) bool, which of them hold a measurement. Where there is nothing,
        zeros and False; where the nearest row is invalid, that row and False.
    """
    between = {"nearest": None, "linear": _on_line, "rotation": _on_arc}[how]
    number = len(values)
    if _are_consecutive(positions):
        return _slice(values, valid, int(np.rint(positions[0])), len(positions))
    inside = (positions >= -0.5) & (positions < number - 0.5)
    if not inside.any():
        return np.zeros((len(positions), *values.shape[1:]), values.dtype), inside
    at = np.where(inside, positions, 0.0)
    nearest = np.clip(np.ceil(at - 0.5 - _WHOLE), 0, number - 1).astype(np.intp)
    rows = values[nearest]
    rows[~inside] = 0
    mask = inside if valid is None else inside & valid[nearest]
    if between is not None:
        before = np.floor(at).astype(np.intp)
        apart = inside & (np.abs(at - nearest) > _WHOLE) & (before >= 0) & (before < number - 1)
        if valid is not None:
            both = valid[:-1] & valid[1:]
            apart[apart] = both[before[apart]]
        if apart.any():
            first = before[apart]
            share = (at[apart] - first).reshape(-1, *[1] * (values.ndim - 1))
            rows[apart] = between(values[first], values[first + 1], share)
    return rows, mask


def _are_consecutive(positions: np.ndarray) -> bool:
    if not len(positions):
        return False
    wanted = np.rint(positions[0]) + np.arange(len(positions))
    return bool((np.abs(positions - wanted) <= _WHOLE).all())


def _slice(values: np.ndarray, valid: np.ndarray | None, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` rows from ``first`` on, which may be before the first one, or after the last."""
    rows, mask = np.zeros((count, *values.shape[1:]), values.dtype), np.zeros(count, bool)
    start, stop = max(first, 0), min(first + count, len(values))
    if start < stop:
        rows[start - first : stop - first] = values[start:stop]
        mask[start - first : stop - first] = True if valid is None else valid[start:stop]
    return rows, mask


def _on_line(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``first + share * (second - first)``, in the precision of the values: equal ones stay equal."""
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN
        line = second - first
        line *= share.astype(line.dtype)
        line += first
    return line


def _on_arc(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotation vectors between rotation vectors, along the shorter great arc between their unit quaternions.

    Ken Shoemake, "Animating Rotation with Quaternion Curves", SIGGRAPH 1985: sin((1 - u) a) / sin a of the first and
    sin(u a) / sin a of the second, where a is the angle between them. A quaternion and its negative are one rotation,
    of which the second's nearer one is taken. The result is longer than pi where the first is, as the data's own are.
    """
    one, other = quaternions(first), quaternions(second)
    share = share[..., 0]
    dot = one[0] * other[0]
    for axis in (1, 2, 3):
        dot += one[axis] * other[axis]
    other *= np.where(dot < 0, -1.0, 1.0)
    # Kahan's angle, exact also where the two nearly agree and an arc cosine has half the digits.
    angle = 2 * np.arctan2(_length(one - other), _length(one + other))
    sine = np.sin(angle)
    tiny = sine < 1e-9  # an arc so short is a straight line
    sine[tiny] = 1.0
    one *= np.where(tiny, 1 - share, np.sin((1 - share) * angle) / sine)
    other *= np.where(tiny, share, np.sin(share * angle) / sine)
    one += other
    return np.moveaxis(vectors(one), 0, -1)


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) as unit quaternions (4, ...) float64, the real part first."""
    parts = np.empty((4, *rotations.shape[:-1]))
    parts[1:] = np.moveaxis(rotations, -1, 0)
    half = _length(parts[1:]) / 2
    with np.errstate(invalid="ignore"):  # of an infinite turn all is NaN
        parts[0] = np.cos(half)
        parts[1:] *= np.sinc(half / np.pi) / 2  # sin(half) / (2 half), and 1/2 of no turn
    return parts


def vectors(units: np.ndarray) -> np.ndarray:
    """Unit quaternions (4, ...) as rotation vectors (3, ...), of lengths up to 2 pi."""
    sine = _length(units[1:])
    turn = 2 * np.arctan2(sine, units[0])
    none = sine == 0  # no turn, or a whole one, about no axis in particular
    sine[none] = 1.0
    return units[1:] * np.where(none, 0.0, turn / sine)


def _length(parts: np.ndarray) -> np.ndarray:
    squares = parts[0] * parts[0]
    for part in parts[1:]:
        squares += part * part
    return np.sqrt(squares)
