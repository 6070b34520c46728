"""Events of turn-taking, after voice activity projection (Ekstedt & Skantze 2022), on intervals in seconds.

The definitions, and all figures in ``FIGURES``, follow the paper (Interspeech 2022, "Voice Activity Projection:
Self-supervised Learning of Turn-taking Events") and the defaults of its published code. Nothing of that code is here.

- *Filled* speech: silence of both between two stretches of one participant alone counts as that one's speech.
- **Shift** and **hold**: both are silent for at least ``silence``; in the ``alone`` before it one participant spoke
  alone, and in the ``alone`` after it the other one does (shift), or the same one (hold), in filled speech.
- **Shift prediction**: before a shift, still while its speaker speaks; its negative is the same before a hold. The
  speaker's last stretch lasts at least ``ahead``.
- **Short**: filled speech of at most ``short``, with at least ``isolated`` of one's own silence before and after it.
  **Long**: the first stretch after a shift, if it lasts at least ``long``.
- **Backchannel prediction**: ahead of a short. Its negative lies in the middle of one participant's filled speech
  alone, at least ``padding`` from where that begins and ends.

What differs: each event is decided once, at ``time``, where the paper averages over a region of frames (that ends, or
has its middle, there); all events are used, where its code draws as many negatives as positives; the first
``context`` seconds have none, but recordings are not cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

Interval = tuple[float, float]
Speech = tuple[list[Interval], list[Interval]]  # of both partners
_TINY = 1e-6  # seconds: times are of milliseconds, so what differs less does not differ


class Figures(NamedTuple):
    """Seconds. ``decided``: after which an event is decided: into the silence of a shift or hold; into a short or long;
    before the silence, or the short, that is predicted."""

    context: float = 3.0
    silence: float = 0.25
    alone: float = 1.0
    ahead: float = 0.5
    short: float = 1.0
    isolated: float = 1.0
    long: float = 1.0
    padding: tuple[float, float] = (1.0, 2.0)
    decided_in_silence: float = 0.25
    decided_in_speech: float = 0.2
    decided_before: float = 0.25


FIGURES = Figures()


class Event(NamedTuple):
    """What is to be told: which part it is of, when, about whom, and whether it is the positive one.

    ``who`` (0 or 1) spoke last (shift and hold), speaks (shift prediction), has begun (short and long), or may give
    a backchannel.
    """

    part: str
    time: float
    who: int
    is_positive: bool


class _Stretch(NamedTuple):
    start: float
    end: float
    state: tuple[bool, bool]  # who speaks

    @property
    def seconds(self) -> float:
        return self.end - self.start


def merged(records: Iterable[dict[str, Any]], end: float) -> list[Interval]:
    """Voice activity up to a time as intervals, ascending and apart."""
    intervals: list[Interval] = []
    for record in sorted(records, key=lambda record: record["start"]):
        first, last = max(record["start"], 0.0), min(record["end"], end)
        if last <= first + _TINY:
            continue
        if intervals and first <= intervals[-1][1] + _TINY:
            intervals[-1] = intervals[-1][0], max(intervals[-1][1], last)
        else:
            intervals.append((first, last))
    return intervals


def turn_events(speech: Speech, end: float, figures: Figures = FIGURES) -> list[Event]:
    """The events of two partners in the order of time.

    Args:
        speech: intervals of each, as ``merged`` gives them.
        end: of what is known, seconds.
    """
    stretches = _stretches(speech, end)
    filled = _filled(stretches, speech)
    found = [*_shifts(stretches, filled, figures), *_shorts(filled, end, figures), *_active(filled, end, figures)]
    known = (event for event in found if event.time >= figures.context - _TINY)
    return sorted(known, key=lambda event: (event.time, event.part))


def _stretches(speech: Speech, end: float) -> list[_Stretch]:
    """The time from 0 to the end, cut where somebody begins or ends."""
    cuts = sorted({0.0, end, *(time for own in speech for interval in own for time in interval)})
    stretches: list[_Stretch] = []
    places = [0, 0]
    for first, last in pairwise(cuts):
        if last - first <= _TINY:
            continue
        middle, state = (first + last) / 2, [False, False]
        for who, own in enumerate(speech):
            while places[who] < len(own) and own[places[who]][1] <= middle:
                places[who] += 1
            state[who] = places[who] < len(own) and own[places[who]][0] <= middle
        now = state[0], state[1]
        if stretches and stretches[-1].state == now:
            stretches[-1] = stretches[-1]._replace(end=last)
        else:
            stretches.append(_Stretch(first, last, now))
    return stretches


def _filled(stretches: list[_Stretch], speech: Speech) -> Speech:
    pauses: tuple[list[dict[str, float]], ...] = ([], [])
    for before, now, after in zip(stretches, stretches[1:], stretches[2:], strict=False):
        if not any(now.state) and before.state == after.state and sum(before.state) == 1:
            pauses[before.state.index(True)].append({"start": now.start, "end": now.end})
    own = [[{"start": start, "end": end} for start, end in intervals] + pauses[n] for n, intervals in enumerate(speech)]
    last = stretches[-1].end if stretches else 0.0
    return merged(own[0], last), merged(own[1], last)


def _is_alone(filled: Speech, who: int, start: float, end: float) -> bool:
    """Whether one speaks throughout and the other not at all."""
    throughout = any(first <= start + _TINY and last >= end - _TINY for first, last in filled[who])
    return throughout and not any(first < end - _TINY and last > start + _TINY for first, last in filled[1 - who])


def _shifts(stretches: list[_Stretch], filled: Speech, figures: Figures) -> Iterator[Event]:
    """Shifts, holds, their predictions, and longs."""
    for before, silence, after in zip(stretches, stretches[1:], stretches[2:], strict=False):
        if any(silence.state) or silence.seconds < figures.silence - _TINY:
            continue
        if sum(before.state) != 1 or sum(after.state) != 1:
            continue
        last, following = before.state.index(True), after.state.index(True)
        if not _is_alone(filled, last, silence.start - figures.alone, silence.start):
            continue
        if not _is_alone(filled, following, silence.end, silence.end + figures.alone):
            continue
        is_shift = last != following
        yield Event("shift-hold", silence.start + figures.decided_in_silence, last, is_shift)
        if before.seconds >= figures.ahead - _TINY:
            yield Event("shift-prediction", silence.start - figures.decided_before, last, is_shift)
        if is_shift and after.seconds >= figures.long - _TINY:
            yield Event("short-long", silence.end + figures.decided_in_speech, following, False)


def _shorts(filled: Speech, end: float, figures: Figures) -> Iterator[Event]:
    """Shorts, and ahead of them backchannels; the time before the first and after the last speech is silence."""
    for who, own in enumerate(filled):
        for number, (first, last) in enumerate(own):
            before = own[number - 1][1] if number else 0.0
            after = own[number + 1][0] if number + 1 < len(own) else end
            if last - first > figures.short + _TINY:
                continue
            if min(first - before, after - last) >= figures.isolated - _TINY:
                yield Event("short-long", first + figures.decided_in_speech, who, True)
                yield Event("backchannel-prediction", first - figures.decided_before, who, True)


def _active(filled: Speech, end: float, figures: Figures) -> Iterator[Event]:
    """Where somebody goes on speaking alone: no backchannel comes from the other one."""
    left, right = figures.padding
    for stretch in _stretches(filled, end):
        first, last = max(stretch.start + left, figures.context), stretch.end - right
        if sum(stretch.state) == 1 and last - first >= figures.ahead - _TINY:
            yield Event("backchannel-prediction", (first + last) / 2, 1 - stretch.state.index(True), False)
