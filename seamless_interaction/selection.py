"""What is selected: which recordings, and which parts of them.

One place for everything that takes a part of the dataset: loading, downloading, streaming, listing.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Selection:
    """Which recordings, and which parts of them. What is None does not narrow.

    Args:
        subset: ``"10GB"``, ``"100GB"``, ``"1TB"`` or ``"full"``. None is ``"10GB"``, or ``"full"`` where something
            else bounds the selection: a session, interaction, file id, annotation, movement, sample or ``max_bytes``.
        label: ``"improvised"`` or ``"naturalistic"``.
        split: ``"train"``, ``"dev"`` (or ``"validation"``) or ``"test"``.
        vendor: ``"V00"`` to ``"V03"``, one or several.
        session: session ids, ``V00_S0809``.
        interaction: interaction ids, ``V00_S0809_I00000582``.
        file_ids: file ids, ``V00_S0809_I00000582_P0947``.
        annotated: ``"1P"``, ``"3P"`` or ``"any"``: recordings with such annotations.
        movement: True for recordings with face motion (``movement:*``), False for those without.
        modalities: names of modalities or single arrays, as ``load_dataset`` takes them; None is everything.
        max_bytes: the most that it may have.
        sample: so many interactions (with ``single``, recordings), the same for the same ``seed``.
        seed: of the sample, and of what ``max_bytes`` takes first.
        single: recordings as they match, instead of the whole interactions that one of them is in.
    """

    subset: str | None = None
    label: str | None = None
    split: str | None = None
    vendor: str | tuple[str, ...] | None = None
    session: str | tuple[str, ...] | None = None
    interaction: str | tuple[str, ...] | None = None
    file_ids: str | tuple[str, ...] | None = None
    annotated: str | None = None
    movement: bool | None = None
    modalities: str | tuple[str, ...] | None = None
    max_bytes: int | None = None
    sample: int | None = None
    seed: int = 0
    single: bool = False


def choose(filelist: pa.Table, selection: Selection, num_bytes: pa.Array | None = None) -> pa.Table:
    """The rows of a file list that are selected, sorted by file id."""
    raise NotImplementedError
