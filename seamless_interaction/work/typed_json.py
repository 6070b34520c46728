"""JSON that this package wrote, read again as what it was written from, and as nothing else."""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints


def load_as(kind: Any, content: str | bytes) -> Any:
    """JSON as a dataclass, a ``NamedTuple``, or whatever else ``read_as`` knows. Raises ``ValueError``."""
    try:
        return read_as(kind, json.loads(content, parse_constant=_refuse))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_as(kind: Any, value: Any, where: str = "it") -> Any:
    """A value from JSON as a type says.

    Args:
        kind: a dataclass or ``NamedTuple``, ``list[…]``, ``dict[str, …]``, ``… | None``, ``str``, ``bool``, ``int``
            (64 bits), ``float`` (finite), or ``Any``.
        value: of ``json.loads``.
        where: what it is called in messages.

    Raises:
        ValueError: it is something else; where, and what was expected.
    """
    if kind is Any:
        return value
    if get_origin(kind) is UnionType:
        (some,) = set(get_args(kind)) - {NoneType}
        return None if value is None else read_as(some, value, where)
    if get_origin(kind) is list and isinstance(value, list):
        return [read_as(get_args(kind)[0], one, f"{where}[{number}]") for number, one in enumerate(value)]
    if get_origin(kind) is dict and isinstance(value, dict):
        return {key: read_as(get_args(kind)[1], one, f"{where}[{key!r}]") for key, one in value.items()}
    if isinstance(value, dict) and (known := _fields(kind)):
        types = get_type_hints(kind)
        if unlike := (value.keys() - known.keys()) | {name for name in known.keys() - value.keys() if not known[name]}:
            raise ValueError(f"{where} has or lacks {', '.join(sorted(unlike))}")
        return kind(**{name: read_as(types[name], one, f"{where}.{name}") for name, one in value.items()})
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind is int and type(value) is int and abs(value) < 1 << 63:
        return value
    if kind in (str, bool) and type(value) is kind:
        if kind is str:
            value.encode()  # half a surrogate pair could be written nowhere
        return value
    raise ValueError(f"{where} is {repr(value)[:60]}, no {getattr(kind, '__name__', kind)}")


def _fields(kind: Any) -> dict[str, bool]:
    """Fields of a dataclass or ``NamedTuple``, and whether each has a default; none of another type."""
    if is_dataclass(kind):
        return {one.name: one.default is not MISSING or one.default_factory is not MISSING for one in fields(kind)}
    return {name: name in kind._field_defaults for name in getattr(kind, "_fields", ())}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
