"""Whom is learnt from, and whom is measured: nobody on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from seamless_interaction.errors import UnknownSplit

EVALUATED = ("test", "dev")


class Division(NamedTuple):
    """Interaction ids to learn from and to measure on, and how many were left out for a participant who crosses."""

    train: tuple[str, ...]
    evaluation: tuple[str, ...]
    crossing: int


def person(participant_id: str) -> str:
    """A participant id without its last letter: whether ``V00_P1281`` and ``V00_P1281A`` are one is not known."""
    return participant_id if participant_id[-1].isdigit() else participant_id[:-1]


def divide(interactions: Iterable[Mapping[str, Any]], split: str) -> Division:
    """Conversations of ``train``, and those of a split whose participants occur in no other.

    Whoever crosses is left out of what is measured, not of what is learnt: so a model that somebody else has trained
    on the official ``train`` can be measured too. Only splits that are at hand are looked at.

    Args:
        interactions: rows of ``SeamlessDataset.interactions``.
        split: ``"test"`` or ``"dev"``.

    Raises:
        UnknownSplit: not one of them, or it or ``train`` has no conversation here.
    """
    if split not in EVALUATED:
        raise UnknownSplit(split, EVALUATED)
    rows = list(interactions)
    held = sorted({row["split"] for row in rows})
    missing = [name for name in ("train", split) if name not in held]
    if missing:
        raise UnknownSplit(missing, held)
    others = {person(one) for row in rows if row["split"] != split for one in row["participant_ids"]}
    candidates = [row for row in rows if row["split"] == split]
    kept = [row for row in candidates if not others & {person(one) for one in row["participant_ids"]}]
    return Division(
        tuple(row["interaction_id"] for row in rows if row["split"] == "train"),
        tuple(row["interaction_id"] for row in kept),
        len(candidates) - len(kept),
    )
