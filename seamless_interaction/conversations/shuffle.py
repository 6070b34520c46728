"""The order in which windows are drawn: a shuffle that needs no memory."""

from __future__ import annotations

import hashlib
from typing import overload

import numpy as np

_ROUNDS = 12  # with 6, some orders of five windows come half as often again as others
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)


class Order:
    """Which window stands at each position: a permutation of ``range(number)``, worked out where it is asked for.

    Shuffled, it is a Feistel network over the smallest even number of bits that holds ``number``, whose results beyond
    the range are put in again until they are within (cycle walking; Black and Rogaway, "Ciphers with Arbitrary Finite
    Domains", 2002). It takes one try to four on average. The same arguments give the same order on all
    machines and with all versions of Python and NumPy. It is fair, and no secret.

    Args:
        number: of windows, below 2**62.
        seed, epoch: other ones give another order; any integers.
        shuffle: or else the windows stand as they are numbered.

    >>> order = Order(10**12, seed=0, epoch=3, shuffle=True)
    >>> order(np.arange(3)).shape
    (3,)
    """

    def __init__(self, number: int, seed: int, epoch: int, shuffle: bool):
        self.number, self.seed, self.epoch, self.shuffle = number, seed, epoch, shuffle
        half = max(1, (max(number - 1, 1).bit_length() + 1) // 2)  # bits
        self._half, self._mask = np.uint64(half), np.uint64((1 << half) - 1)
        digest = hashlib.shake_256(f"{number} {seed} {epoch}".encode()).digest(8 * _ROUNDS)
        self._keys = [np.uint64(int.from_bytes(digest[i : i + 8], "little")) for i in range(0, len(digest), 8)]

    @overload
    def __call__(self, positions: int) -> int: ...
    @overload
    def __call__(self, positions: np.ndarray) -> np.ndarray: ...
    def __call__(self, positions: int | np.ndarray) -> int | np.ndarray:
        """The windows at these positions: an int of an int, int64 of an array, in its shape.

        Raises:
            IndexError: a position that is not within ``range(number)``.
        """
        asked = np.asarray(positions, np.int64)
        if asked.size and not (0 <= asked.min() and asked.max() < self.number):
            outside = asked.min() if asked.min() < 0 else asked.max()
            raise IndexError(f"position {outside} of {self.number} windows")
        windows = self._shuffled(asked.ravel()).reshape(asked.shape) if self.shuffle else asked.copy()
        return int(windows) if np.ndim(positions) == 0 else windows

    def _shuffled(self, positions: np.ndarray) -> np.ndarray:
        values = self._permuted(positions.astype(np.uint64))
        while len(outside := np.flatnonzero(values >= self.number)):
            values[outside] = self._permuted(values[outside])
        return values.astype(np.int64)

    def _permuted(self, values: np.ndarray) -> np.ndarray:
        """A permutation of all numbers of ``2 * half`` bits."""
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return left << self._half | right


def _mixed(values: np.ndarray) -> np.ndarray:
    """Every bit depends on every bit: Evensen's and Stafford's kind of finaliser, in unsigned 64 bits.

    https://mostlymangling.blogspot.com/2018/07/on-mixing-functions-in-fast-splittable.html ("rrmxmx" and relatives)
    """
    for _ in range(2):
        values = (values ^ values >> _SHIFT) * _MULTIPLIER
    return values ^ values >> _SHIFT
