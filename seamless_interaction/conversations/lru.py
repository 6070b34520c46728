"""What was used last, within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Kept:
    """Values by key, until together they cost more than a bound: then those that were not used for longest go.

    Args:
        most: what all may cost: a number of bytes, or of values.
        drop: called with each value that goes.
    """

    def __init__(self, most: int, drop: Callable[[Any], object] = lambda value: None):
        self._most, self._drop, self._cost = most, drop, 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.RLock()

    def find(self, key: Hashable, otherwise: Any) -> Any:
        """The value of a key, if it is here."""
        with self._lock:
            if key not in self._values:
                return otherwise
            self._values.move_to_end(key)
            return self._values[key][0]

    def get(self, key: Hashable, make: Callable[[], Any], cost: Callable[[Any], int] = lambda value: 1) -> Any:
        """The value of a key, made if it is not here. One that costs more than the bound is not kept."""
        value = self.find(key, self)
        if value is self:
            value = make()
            self.put(key, value, cost(value))
        return value

    def put(self, key: Hashable, value: Any, cost: int) -> None:
        with self._lock:
            self._remove(key)
            if cost > self._most:
                return
            self._values[key] = value, cost
            self._cost += cost
            while self._cost > self._most:
                self._remove(next(iter(self._values)))

    def _remove(self, key: Hashable) -> None:
        value, cost = self._values.pop(key, (None, 0))
        self._cost -= cost
        if cost:
            self._drop(value)
