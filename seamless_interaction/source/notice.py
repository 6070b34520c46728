"""Whether what a place holds is synthetic, which copies of it go on saying."""

from __future__ import annotations

from seamless_interaction.errors import BrokenTable
from seamless_interaction.places.cache import read_cached
from seamless_interaction.places.place import Place
from seamless_interaction.source.tables import read_raw

PROMPT_VERSION = "v0.0.synthetic"  # in the unique id of each synthetic prompt, and of no real one


NOTICE = "SYNTHETIC.md"  # beside the tables


def is_synthetic(place: Place) -> bool:
    """Whether a place holds a synthetic corpus, or a copy of one: its prompts say so, or a notice does."""
    try:
        prompts = read_raw(place, "interactions.csv") or b""
    except BrokenTable:  # whoever reads it says so
        prompts = b""
    return PROMPT_VERSION.encode() in prompts or read_notice(place) is not None


def read_notice(place: Place) -> bytes | None:
    """What stands beside the tables of a synthetic corpus; None if the place has none, or something else."""

    def checked(content: bytes) -> bytes:
        if b"synthetic" not in content.lower():
            raise BrokenTable(f"{place.path(NOTICE)}: no notice of a synthetic corpus.")
        return content

    try:
        return read_cached(place, NOTICE, checked)
    except BrokenTable:
        return None
