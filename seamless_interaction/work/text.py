"""Numbers and tables as people read and type them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from seamless_interaction.errors import UsageError

# Units of what people type, for `number`.
BYTES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def number(text: str, units: Mapping[str, float], what: str, example: str) -> Any:
    """A number with a unit. Raises ``UsageError``."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([a-zA-Z%]*)", text.strip())
    if match is None or match[2] not in units:
        raise UsageError(f"not a {what}: {text!r}. One looks like {example}.")
    value = float(match[1]) * units[match[2]]
    return int(value) if units is BYTES else value


def decimal(bytes: int) -> str:
    """``9.8 GB``, in powers of ten, as the sizes are named."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if bytes >= factor:
            return f"{bytes / factor:,.2f} {unit}"
    return f"{bytes} B"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """The lines of a table: the first columns aligned to the left, the others, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if number < left else str.rjust for number in range(len(widths))]
    return ["  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)) for row in rows]
