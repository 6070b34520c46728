"""Who speaks when: inter-pausal units, turns, and what happens between them, from both partners' voice activity.

Everything is computed on intervals in seconds, not on frames, so that events keep the precision of the voice activity
(1 ms). The rules stand in ``FEATURES``; what is ours in them is that backchannels neither hold nor take the floor,
and what an interruption is. At the ends of the span nothing is known of what lies beyond, so turns and units are cut
there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from seamless_interaction.conversations.read_window import inside_any
from seamless_interaction.features.blocks import Grid

PAUSE = 0.2  # seconds: shorter ones are speech (Heldner & Edlund 2010)
BACKCHANNEL = 1.0  # seconds: the longest one
ISOLATED = 1.0  # seconds of silence of one's own before and after it
INTERRUPTED = 0.5  # seconds of the partner's speech before an interruption, and in it
_TINY = 1e-6  # seconds: times are of milliseconds, so what differs less does not differ

Interval = tuple[float, float]


class Unit(NamedTuple):
    """An inter-pausal unit: when (s), of which of the two, and whether it is a backchannel."""

    start: float
    end: float
    who: int
    is_backchannel: bool


def inter_pausal_units(records: Iterable[dict[str, Any]], start: float, end: float) -> list[Interval]:
    """Voice activity within a span as units, ascending and at least ``PAUSE`` apart."""
    units: list[Interval] = []
    for record in sorted(records, key=lambda record: record["start"]):
        first, last = max(record["start"], start), min(record["end"], end)
        if last <= first:
            continue
        if units and first - units[-1][1] < PAUSE - _TINY:
            units[-1] = units[-1][0], max(units[-1][1], last)
        else:
            units.append((first, last))
    return units


def backchannels(own: list[Interval], partners: list[Interval], start: float, end: float) -> list[bool]:
    """Which units of ``own`` are backchannels; between it and one's next ones the partner must have spoken."""
    found = []
    for number, (first, last) in enumerate(own):
        before = own[number - 1][1] if number else None
        after = own[number + 1][0] if number + 1 < len(own) else None
        found.append(
            last - first <= BACKCHANNEL + _TINY
            and first - (start if before is None else before) >= ISOLATED - _TINY
            and (end if after is None else after) - last >= ISOLATED - _TINY
            and (before is None or _any_between(partners, before, first))
            and (after is None or _any_between(partners, last, after))
        )
    return found


def _any_between(units: list[Interval], start: float, end: float) -> bool:
    return any(first < end and last > start for first, last in units)


def events(speech: tuple[list[Interval], list[Interval]], start: float, end: float) -> dict[str, list[dict[str, Any]]]:
    """Everything that happens between two partners, by name of the event.

    Args:
        speech: the units of each.
        start, end: of what is known, seconds.

    Returns:
        Rows with ``who`` (0 or 1), ``start``, ``end``, and the columns that ``FEATURES`` names; in the order of time.
    """
    units = [
        [Unit(*unit, who, flag) for unit, flag in zip(own, backchannels(own, other, start, end), strict=True)]
        for who, (own, other) in enumerate([speech, speech[::-1]])
    ]
    both = sorted(units[0] + units[1])
    made: dict[str, list[dict[str, Any]]] = {
        "ipus": [_row(unit) for unit in both],
        "backchannels": [_row(unit) for unit in both if unit.is_backchannel],
        **_turns([unit for unit in both if not unit.is_backchannel]),
        **_overlaps(*units),
    }
    return {name: sorted(rows, key=lambda row: (row["start"], row["end"])) for name, rows in made.items()}


def _row(unit: Unit) -> dict[str, Any]:
    return {"who": unit.who, "start": unit.start, "end": unit.end}


def _turns(units: list[Unit]) -> dict[str, list[dict[str, Any]]]:
    """Turns, and the transfers and gaps between them."""
    turns: list[dict[str, Any]] = []
    transfers: list[dict[str, Any]] = []
    for unit in units:
        if turns and unit.who == turns[-1]["who"]:
            turns[-1]["end"] = max(turns[-1]["end"], unit.end)
        elif not turns or unit.end > turns[-1]["end"]:
            if turns:
                left = turns[-1]["end"]
                times = {"start": min(left, unit.start), "end": max(left, unit.start)}
                transfers.append({"who": unit.who, **times, "offset": unit.start - left})
            turns.append(_row(unit))
    gaps = [{name: row[name] for name in ("who", "start", "end")} for row in transfers if row["offset"] > _TINY]
    return {"turns": turns, "transfers": transfers, "gaps": gaps}


def _overlaps(ours: list[Unit], theirs: list[Unit]) -> dict[str, list[dict[str, Any]]]:
    overlaps: list[dict[str, Any]] = []
    interruptions: list[dict[str, Any]] = []
    begin = 0
    for unit in ours:
        while begin < len(theirs) and theirs[begin].end <= unit.start:
            begin += 1
        for other in theirs[begin:]:
            if other.start >= unit.end:
                break
            first, second = sorted((unit, other))
            row = {"who": second.who, "start": second.start, "end": min(first.end, second.end)}
            outlasts = second.end > first.end
            overlaps.append({**row, "transfer": outlasts})
            long_enough = min(row["end"] - row["start"], second.start - first.start) >= INTERRUPTED - _TINY
            if long_enough and not (first.is_backchannel or second.is_backchannel):
                interruptions.append({**row, "success": outlasts})
    return {"overlaps": overlaps, "interruptions": interruptions}


def states(own: list[Interval], partners: list[Interval], grid: Grid) -> np.ndarray:
    """Who speaks at each time: self alone, the partner alone, both, neither; (T, 4) float32, of which one is 1."""
    speaks, hears = (within(units, grid) for units in (own, partners))
    return np.stack([speaks & ~hears, hears & ~speaks, speaks & hears, ~(speaks | hears)], 1).astype(np.float32)


def within(intervals: Iterable[Interval], grid: Grid) -> np.ndarray:
    """(T,) bool: from each start on, up to and without each end."""
    return inside_any(({"start": start, "end": end} for start, end in intervals), grid.times)
