"""JSON of ours is read as what was written, and nothing else."""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from seamless_interaction.work.typed_json import load_as


class Figure(NamedTuple):
    value: float | None
    low: float = 0.0


@dataclass
class Result:
    name: str
    is_whole: bool
    counts: dict[str, int]
    figures: list[Figure]
    more: Any = field(default=None)


WHOLE = {"name": "é", "is_whole": True, "counts": {"a": 1}, "figures": [{"value": 1}, {"value": None, "low": 0.5}]}


def test_what_was_written_is_read():
    expected = Result("é", True, {"a": 1}, [Figure(1.0), Figure(None, 0.5)])
    assert load_as(Result, json.dumps(WHOLE)) == expected
    assert load_as(Result, json.dumps({**WHOLE, "more": [1, {}]}).encode()).more == [1, {}]


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"name": 1}, r"it\.name is 1, no str"),
        ({"name": "\ud800"}, "surrogates not allowed"),
        ({"is_whole": 1}, r"it\.is_whole is 1, no bool"),
        ({"counts": {"a": True}}, r"it\.counts\['a'\] is True, no int"),
        ({"counts": {"a": 1 << 63}}, "no int"),
        ({"counts": []}, "it.counts is"),
        ({"figures": [{"value": "1"}]}, r"it\.figures\[0\]\.value is '1', no float"),
        ({"figures": [{"value": 10**400}]}, "no float"),
        ({"figures": [{"value": float("nan")}]}, "NaN is no JSON"),
        ({"figures": [{}]}, "has or lacks value"),
        ({"mine": 1}, "it has or lacks mine"),
    ],
)
def test_anything_else_is_refused_by_where_it_stands(changes, why):
    with pytest.raises(ValueError, match=why):
        load_as(Result, json.dumps({**WHOLE, **changes}))


def test_nesting_without_end_is_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        load_as(Any, "[" * 100_000)
