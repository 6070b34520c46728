"""How alike two partners do something, how much later one of them, and how much of that is chance.

Windowed cross-correlation (Boker, Xu, Rotondo & King 2002): a window of one partner's values against windows of the
other's that lie earlier or later; of all lags, the one with the highest correlation. As a maximum over many lags is
high by chance, each window is also compared with windows of the other partner at other times, drawn by a seed: what
is left of the correlation there is the null.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WINDOW, HOP, MAX_LAG = 10.0, 5.0, 2.0  # seconds
SHUFFLES = 20  # per window; all windows' nulls are taken together
_KNOWN = 0.5  # of a window's pairs of rows, at least
_SMALL = 1e-8  # a variance that is none


class Synchrony(NamedTuple):
    """Of each window: times (s, from the first row), highest correlation, its lag; then the null's figures, for all.

    Attributes:
        start, correlation, lag: (n,) float64. A lag above 0 says that the second follows the first, by so many seconds.
        null: (m,) float64, ascending: highest correlations of shuffled pairs of windows.
    """

    start: np.ndarray
    correlation: np.ndarray
    lag: np.ndarray
    null: np.ndarray

    @property
    def p(self) -> np.ndarray:
        """(n,) share of the null that is as high, with the window itself counted (Phipson & Smyth 2010)."""
        higher = len(self.null) - np.searchsorted(self.null, self.correlation, "left")
        return (1 + higher) / (1 + len(self.null))


def synchrony(
    first: np.ndarray,
    second: np.ndarray,
    known: tuple[np.ndarray, np.ndarray],
    fps: float,
    *,
    window: float = WINDOW,
    hop: float = HOP,
    max_lag: float = MAX_LAG,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> Synchrony:
    """Windowed cross-correlation of two partners' values, with a null from shuffled pairs of windows.

    Args:
        first, second: (T,) values on the same grid.
        known: (T,) bool of each. Rows that are not take no part; a pair of windows needs half of its rows.
        fps: rows a second.
        window, hop, max_lag: seconds.
        shuffles: how many other windows each one is compared with.
        seed: of which.

    Returns:
        Windows without any such pair, or whose values do not change, are left out.
    """
    length, step, reach = round(window * fps), max(1, round(hop * fps)), round(max_lag * fps)
    starts = np.arange(0, len(first) - length + 1, step) if length > 1 else np.empty(0, np.intp)
    ours = [np.asarray(values, float) for values in (first * known[0], known[0])]
    theirs = [np.pad(np.asarray(values, float), reach) for values in (second * known[1], known[1])]

    def highest(at: int, of: int) -> tuple[float, int]:
        x, x_known = (values[at : at + length] for values in ours)
        y, y_known = (np.lib.stride_tricks.sliding_window_view(v[of : of + length + 2 * reach], length) for v in theirs)
        correlations = _correlations(x, x_known, y, y_known)
        best = int(np.argmax(correlations))
        return float(correlations[best]), best - reach

    found = [(start, *highest(start, start)) for start in map(int, starts)]
    found = [row for row in found if np.isfinite(row[1])]
    null: list[float] = []
    if len(found) > 1:
        rng, places = np.random.default_rng(seed), np.array([row[0] for row in found])
        for number, place in enumerate(places):
            for other in rng.integers(1, len(places), shuffles):
                null.append(highest(int(place), int(places[(number + other) % len(places)]))[0])
    columns = np.array(found, float).reshape(-1, 3)
    shuffled = np.sort([value for value in null if np.isfinite(value)])
    return Synchrony(columns[:, 0] / fps, columns[:, 1], columns[:, 2] / fps, shuffled)


def _correlations(x: np.ndarray, x_known: np.ndarray, y: np.ndarray, y_known: np.ndarray) -> np.ndarray:
    """Pearson's correlation of x (n,) with each row of y (lags, n), where both are known; -inf where too little is."""
    count = y_known @ x_known
    enough = count >= _KNOWN * len(x)
    count = np.maximum(count, 1)
    x_mean, y_mean = y_known @ x / count, y @ x_known / count
    x_var = y_known @ (x * x) / count - x_mean**2
    y_var = np.square(y) @ x_known / count - y_mean**2
    covariance = y @ x / count - x_mean * y_mean
    varies = enough & (x_var > _SMALL) & (y_var > _SMALL)
    norm = np.sqrt(np.where(varies, x_var * y_var, 1.0))
    return np.where(varies, np.clip(covariance / norm, -1.0, 1.0), -np.inf)
