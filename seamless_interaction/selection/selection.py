"""What is selected: which recordings, and which parts of them.

One place for everything that takes a part of the dataset: loading, downloading, streaming, listing.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import ARRAYS, LABELS, SPLITS, SUBSETS, VENDORS, FileId, resolve_modalities
from seamless_interaction.errors import (
    EmptySelection,
    InvalidId,
    UnknownAnnotation,
    UnknownId,
    UnknownLabel,
    UnknownSplit,
    UnknownSubset,
    UnknownVendor,
    UsageError,
    known_keywords,
)
from seamless_interaction.places.place import Place
from seamless_interaction.selection.expected import expected, expected_bytes
from seamless_interaction.selection.sizes import flag, select
from seamless_interaction.source.ids import interaction_ids, session_ids, strings, vendors_of
from seamless_interaction.source.layout import PARTS, parts_of
from seamless_interaction.work.text import BYTES, number

logger = logging.getLogger("seamless_interaction")

# Annotations that can be asked for -> the flags of the file list that tell of them.
ANNOTATED = {
    "1P": ("has_annotation_1p",),
    "3P": ("has_annotation_3p",),
    "any": ("has_annotation_1p", "has_annotation_3p"),
}
_SESSION, _INTERACTION = "V00_S0809", "V00_S0809_I00000582"  # what such ids look like
_NEAR = 1000  # ids that an unknown one is compared with


class Criteria(TypedDict, total=False):
    """What narrows a selection, as keywords; see ``Selection``."""

    label: str | None
    vendor: str | Sequence[str] | None
    session: str | Sequence[str] | None
    interaction: str | Sequence[str] | None
    file_ids: str | Sequence[str] | None
    annotated: str | bool | None
    movement: bool | None
    max_bytes: int | str | None
    sample: int | None
    seed: int
    single: bool


@dataclass(frozen=True)
class Selection:
    """Which recordings, and which parts of them. What is None does not narrow.

    Args:
        subset: ``"10GB"``, ``"100GB"``, ``"1TB"`` or ``"full"``, or with a label: ``"10GB-improvised"``. None is all
            that a place holds, which somebody names. Of the public bucket and the Hub it is ``"10GB"``, or
            ``"full"`` where something else bounds the selection: a session, interaction, file id, annotation, movement,
            sample or ``max_bytes``.
        label: ``"improvised"`` or ``"naturalistic"``.
        split: ``"train"``, ``"dev"`` (or ``"validation"``) or ``"test"``.
        vendor: ``"V00"`` to ``"V03"``, one or several.
        session: session ids, ``V00_S0809``.
        interaction: interaction ids, ``V00_S0809_I00000582``.
        file_ids: file ids, ``V00_S0809_I00000582_P0947``.
        annotated: ``"1P"``, ``"3P"`` or ``"any"`` (or True): recordings with such annotations.
        movement: True for recordings with face motion (``movement:*``), False for those without.
        modalities: names of modalities or single arrays, as ``load_dataset`` takes them; None is everything but
            ``"movement_v4"``.
        max_bytes: the most that it may have, a number or as ``"20GB"``.
        sample: so many interactions (with ``single``, recordings), the same for the same ``seed``; all, if there are
            fewer.
        seed: of the sample, and of what ``max_bytes`` takes first.
        single: recordings as they match, instead of the whole interactions that one of them is in.

    Raises:
        UsageError: a name, an id or a number that cannot be.
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

    def __post_init__(self) -> None:
        self._write_alike()
        self._check_names()
        self._check_values()

    def _write_alike(self) -> None:
        """Give what can be written in several ways one form."""

        def normal(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in ("vendor", "session", "interaction", "file_ids", "modalities"):
            value = getattr(self, name)
            if value is not None:
                is_one = isinstance(value, str) or not isinstance(value, Iterable)
                normal(name, tuple(dict.fromkeys([value] if is_one else value)))
        if self.split == "validation":
            normal("split", "dev")
        given: dict[str, Any] = vars(self)
        size, dash, label = str(self.subset).partition("-")
        if dash:  # as the configs are named: 10GB-improvised
            if self.label not in (None, label):
                raise UsageError(f"subset is {self.subset!r}, and label {self.label!r}. Name one label.")
            normal("subset", size)
            normal("label", label)
        if given["annotated"] is True:
            normal("annotated", "any")
        if isinstance(given["max_bytes"], str):
            normal("max_bytes", number(given["max_bytes"], BYTES, "number of bytes", "20GB"))

    def _check_names(self) -> None:
        for value, known, error in (
            (self.subset, SUBSETS, UnknownSubset),
            (self.label, LABELS, UnknownLabel),
            (self.split, SPLITS, UnknownSplit),
            (self.annotated, tuple(ANNOTATED), UnknownAnnotation),
        ):
            if value is not None and value not in known:
                raise error([value], known)
        unknown = [vendor for vendor in self.vendor or () if vendor not in VENDORS]
        if unknown:
            raise UnknownVendor(unknown, VENDORS)
        resolve_modalities(self.modalities)

    def _check_values(self) -> None:
        for name, example in (("session", _SESSION), ("interaction", _INTERACTION)):
            for id in getattr(self, name) or ():
                if not (isinstance(id, str) and re.fullmatch(re.sub("[0-9]", "[0-9]", example), id)):
                    raise InvalidId(name, id, example)
        for file_id in self.file_ids or ():
            FileId.parse(str(file_id))
        for name in ("max_bytes", "sample"):
            most = getattr(self, name)
            if most is not None and not (type(most) is int and most > 0):
                raise UsageError(f"{name} is {most!r}. Give a whole number of 1 or more.")
        if type(self.seed) is not int:
            raise UsageError(f"seed is {self.seed!r}. Give a whole number.")
        for name, answers in (("movement", (True, False, None)), ("single", (True, False))):
            if not any(getattr(self, name) is answer for answer in answers):  # any text would be as good as True
                raise UsageError(f"{name} is {getattr(self, name)!r}. Give {' or '.join(map(str, answers))}.")

    @property
    def size(self) -> str:
        """The subset, where nobody wants all of a place unasked; see ``opening.Opening.in_force``."""
        bounds = (self.session, self.interaction, self.file_ids, self.annotated, self.movement, self.sample)
        is_bounded = any(bound is not None for bound in (*bounds, self.max_bytes))
        return self.subset or ("full" if is_bounded else SUBSETS[0])

    @property
    def name(self) -> str:
        """Of the config that has this subset and label: ``10GB-improvised``."""
        return "-".join(filter(None, [self.size, self.label]))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that ``modalities`` ask for, in the schema's order."""
        return resolve_modalities(self.modalities)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that ``modalities`` ask for, in the order of ``PARTS``; context is no part of a recording."""
        asked = parts_of(self.columns)
        return tuple(part for part in PARTS if part in asked)


# A dataclass has its own `__init__`.
setattr(Selection, "__init__", known_keywords()(Selection.__init__))  # noqa: B010  mypy refuses an assignment


def resolve_split(split: str | None, known: list[str]) -> str | None:
    """``split`` in the dataset's own words, such as ``dev[:10%]``. Raises ``UnknownSplit`` if it is not known."""
    if split is None:
        return None
    split = re.sub(r"\bvalidation\b", "dev", str(split))
    unknown = [name for name in re.findall(r"[^+\[\]]+(?=\[|\+|$)", split) if name not in known]
    if unknown:
        raise UnknownSplit(unknown, known)
    return split


def tell_chosen(
    place: Place, selection: Selection, chosen: pa.Table, listed: pa.Table, found: pa.Table | None = None
) -> None:
    """Say in a line that fewer than all the recordings of a place are chosen, and by what.

    Args:
        chosen: the rows that are, of those listed.
        listed: the file list of the place.
        found: what was found there, ``layout.FOUND``; None where only the list tells.
    """
    if selection.split is not None:
        listed = listed.filter(pc.equal(listed["split"], selection.split))
    if len(chosen) == len(listed):
        return
    here = strings(listed["file_id"])
    if found is not None:
        ids = strings(found.filter(pc.greater(found["files"], 0))["file_id"])
        here = here.filter(pc.is_in(here, ids))
    number = pc.sum(pc.is_in(here, strings(chosen["file_id"])), min_count=0).as_py()
    names = (field.name for field in fields(selection) if field.name not in ("split", "modalities", "seed"))
    values = {name: getattr(selection, name) for name in names}
    by = ", ".join(
        str(value) if name in ("subset", "label") else f"{name} {_shown(value)}"
        for name, value in values.items()
        if value not in (None, False, "full")
    )
    level = logging.INFO if selection.size == "full" else logging.WARNING  # what else narrows, somebody has named
    logger.log(level, "%s: %d of %d recordings here chosen: %s", place.url, number, len(here), by)


def choose(filelist: pa.Table, selection: Selection, num_bytes: pa.Array | None = None) -> pa.Table:
    """The rows of a file list that are selected, sorted by file id.

    Of what subset, label and split have, those that match and (unless ``single``) the others of their interactions. Of
    these the sample, and of that the beginning that has at most ``max_bytes``, both in the order of a hash of seed
    and interaction (with ``single``, file id). So it is the same for everyone and for any order of rows, and a larger
    sample or ``max_bytes`` has all of a smaller one.

    Args:
        filelist: as ``sizes.select`` takes it.
        selection: what to select.
        num_bytes: of the parts asked for, of each row, where it is known; None expects it, with a margin.

    Raises:
        UnknownId: an id that the file list does not have.
        EmptySelection: nothing is left, with the criteria that left nothing; or nothing fits into ``max_bytes``.
        UsageError: annotations are asked for, and the file list does not say who has any.
        BrokenTable: a vendor, label or split that this dataset does not have.
    """
    rows, history = select(filelist, selection.size, selection.label), []
    history.append((f"{selection.size} {selection.label or ''}".rstrip(), len(rows)))
    file_ids = strings(filelist["file_id"])
    for name, ids in (
        ("session", session_ids(filelist)),
        ("interaction", interaction_ids(filelist)),
        ("file_ids", file_ids),
    ):
        if getattr(selection, name) is not None:
            _refuse_unknown(name, getattr(selection, name), ids)
    if selection.split is not None:
        rows = rows.filter(pc.equal(rows["split"].cast(pa.string()), selection.split))
        history.append((f"split {selection.split}", len(rows)))
    matches = np.ones(len(rows), bool)
    for name, mask in _masks(rows, selection).items():
        matches &= mask
        history.append((f"{name} {_shown(getattr(selection, name))}", int(matches.sum())))
    if not matches.any():
        counts = ", ".join(f"{criterion} leaves {count}" for criterion, count in history)
        raise EmptySelection(f"no recording is selected: of {len(filelist)}, {counts}. Leave a criterion out.")
    unit = strings(rows["file_id"]) if selection.single else interaction_ids(rows)
    encoded = unit.dictionary_encode()
    wanted = np.unique(np.asarray(encoded.indices)[matches])
    if selection.sample is not None or selection.max_bytes is not None:
        wanted = wanted[_order(encoded.dictionary.take(pa.array(wanted)).to_pylist(), selection.seed)]
        if len(wanted) < (selection.sample or 0):
            logger.warning("sample is %d, and %d match: all of them are taken.", selection.sample, len(wanted))
        wanted = wanted[: selection.sample]
    if selection.max_bytes is not None:
        if num_bytes is None:
            weights = np.ceil(expected_bytes(rows, selection.parts) * expected().margin)
        else:
            weights = np.asarray(num_bytes)[np.asarray(pc.index_in(strings(rows["file_id"]), file_ids))]
        sums = np.bincount(encoded.indices, weights, len(encoded.dictionary))[wanted].cumsum()
        if sums[0] > selection.max_bytes:
            raise EmptySelection(
                f"max_bytes is {selection.max_bytes}, and {encoded.dictionary[int(wanted[0])]} alone, the first, "
                f"{'has' if num_bytes is not None else 'is expected to have'} {int(sums[0])}. Raise it, or ask for "
                "fewer modalities."
            )
        wanted = wanted[sums <= selection.max_bytes]
    return rows.filter(pa.array(np.isin(encoded.indices, wanted)))


def _masks(rows: pa.Table, selection: Selection) -> dict[str, np.ndarray]:
    """For each criterion in force that is about single recordings, which rows match."""
    masks: dict[str, np.ndarray] = {}
    for name, ids in (
        ("vendor", vendors_of),
        ("session", session_ids),
        ("interaction", interaction_ids),
        ("file_ids", lambda rows: strings(rows["file_id"])),
    ):
        asked = getattr(selection, name)
        if asked is not None:
            masks[name] = np.asarray(pc.is_in(ids(rows), pa.array(asked, pa.string())))
    if selection.annotated is not None:
        flags = ANNOTATED[selection.annotated]
        if len(rows) and not any(name in rows.column_names and rows[name].null_count < len(rows) for name in flags):
            raise UsageError(
                f"annotated is {selection.annotated!r}, and the file list does not say who is: it has no column "
                f"{' or '.join(flags)}. Use the dataset's newest filelist.csv."
            )
        masks["annotated"] = np.logical_or.reduce([flag(rows, name) for name in flags])
    if selection.movement is not None:
        masks["movement"] = has_movement(rows) == selection.movement
    return masks


def has_movement(rows: pa.Table) -> np.ndarray:
    """Whether each row has face motion: as the list says, or else as the format says of its vendor."""
    vendors = {vendor for array in ARRAYS.values() if array.group == "movement" for vendor in array.vendors}
    by_vendor = pc.is_in(vendors_of(rows), pa.array(sorted(vendors)))
    if "has_imitator_movement" not in rows.column_names:
        return np.asarray(by_vendor)
    return np.asarray(pc.coalesce(rows["has_imitator_movement"], by_vendor), bool)


def _refuse_unknown(name: str, asked: Iterable[str], ids: pa.Array) -> None:
    wanted = pa.array(asked, pa.string())
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, ids))).to_pylist()
    if unknown:
        near = [match for id in unknown[:3] for match in _near(id, ids)]
        raise UnknownId(name, unknown, near)


def _near(id: str, ids: pa.Array) -> list[str]:
    """Ids that look like this one, among those that begin like it for the longest: comparing with all takes seconds."""
    for length in range(len(id) - 1, 0, -1):
        alike = ids.filter(pc.starts_with(ids, id[:length])).unique()
        if len(alike):
            return get_close_matches(id, alike.slice(0, _NEAR).to_pylist(), 2)
    return []


def _order(ids: list[str], seed: int) -> np.ndarray:
    """The ids' order by a hash of the seed and themselves."""
    hashes = b"".join(hashlib.sha256(f"{seed} {id}".encode()).digest()[:8] for id in ids)
    return np.argsort(np.frombuffer(hashes, ">u8"), kind="stable")


def _shown(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return ", ".join(value[:3]) + (", …" if len(value) > 3 else "")
