"""``synthesize``: a synthetic corpus as files."""

from __future__ import annotations

from typing import Any

from seamless_interaction.synthetic.corpus import Corpus, corpus


def synthesize(
    directory: Any,
    layout: str = "tree",
    interactions: int = 12,
    seconds: float = 4.0,
    seed: int = 0,
    defects: bool = False,
    movement_v4: bool = False,
) -> Corpus:
    """Write a synthetic corpus.

    Args:
        directory: where; made if it does not exist, and empty if it does.
        layout: ``tree`` (a file for each part of a recording, as in the bucket), ``bundles`` (four files a
            recording) or ``archives`` (the same in tars, as on the Hub).
        interactions, seconds, seed, defects, movement_v4: see ``corpus``.

    Returns:
        The corpus, to compare a reader with.

    Raises:
        UsageError: a number that cannot be, or a directory that is not empty.
        UnknownLayout: not one of ``LAYOUTS``.
    """
    from seamless_interaction.synthetic.files import write

    made = corpus(interactions, seconds, seed, defects, layout, movement_v4)
    write(made, directory)
    return made
