"""What is selected: which recordings a subset has.

Membership depends on the file list and the numbers in ``configs`` (a file for each size, and what recordings weigh),
never on what a place happens to hold.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import FILELIST_FLAGS, LABELS, SPLITS, SUBSETS, VENDORS
from seamless_interaction.errors import UnknownName, UnknownSubset
from seamless_interaction.selection.expected import Limits, expected, expected_bytes, limits
from seamless_interaction.source.ids import codes, interaction_ids, strings, vendor_codes

_UNSUFFIXED_CHARACTERS = len("V00_S0809_I00000582_P0947")

# --- the numbers ----------------------------------------------------------------------------------


def flag(filelist: pa.Table, name: str) -> np.ndarray:
    """A flag of each row (bool); False where the list does not say, as in the oldest list, which has no flags."""
    if name not in filelist.column_names:
        return np.zeros(filelist.num_rows, bool)
    return np.asarray(pc.fill_null(filelist[name], False), bool)


# --- the rule -------------------------------------------------------------------------------------


def select(filelist: pa.Table, subset: str, label: str | None = None) -> pa.Table:
    """Rows of a subset, sorted by file id.

    A subset has whole interactions and stays below its limits. It has an interaction of every kind in
    the list first (see ``_kinds``), then of each combination of label, split and vendor, as far as
    they fit; what room is left is shared out to these combinations in proportion, within each in the
    order of a hash of the interaction's id. So it is the same for everyone and for any order of rows.

    Each size is chosen out of the next larger one. So sizes are nested, and a list that was cut
    down to a size still has the smaller sizes it had. ``10GB-improvised`` is the improvised part of ``10GB``.

    Args:
        filelist: the whole file list: ``file_id``, ``label``, ``split`` (strings, also
            dictionary-encoded), and the ``has_…`` flags (bools; without them annotations and movement
            are no kinds to have). Other columns are kept.
        subset: one of ``SUBSETS``.
        label: keep this label only.

    Raises:
        UnknownSubset, UnknownName: with the known names.
        BrokenTable: a vendor, label or split that this dataset does not have.
    """
    if subset not in SUBSETS:
        raise UnknownSubset(subset, SUBSETS)
    if label not in (None, *LABELS):
        raise UnknownName(str(label), LABELS)
    order = np.asarray(pc.sort_indices(strings(filelist["file_id"])))
    if limits(subset) != Limits(None, None):
        order = order[_chosen(filelist, order, subset)]
    if label is not None:
        order = order[np.asarray(pc.equal(strings(filelist["label"]), label))[order]]
    return filelist.take(pa.array(order))


class _Interactions(NamedTuple):
    """Arrays with one value an interaction, in the order of a hash of its id."""

    group: np.ndarray  # number of its label, split and vendor
    traits: np.ndarray  # bits, in the order of _TRAITS
    bytes: np.ndarray  # with the margin
    recordings: np.ndarray

    def take(self, indices: np.ndarray) -> _Interactions:
        return _Interactions(*(values[indices] for values in self))


_GROUPS = [(label, split, vendor) for label in LABELS for split in SPLITS for vendor in VENDORS]
_TRAITS = ("one participant", "letter in the id", "movement", "annotation 1P", "annotation 3P")


def _kinds(group: int, traits: int) -> set[str]:
    """The kinds of recording that an interaction shows; annotations count for each vendor."""
    vendor = _GROUPS[group][-1]
    present = [trait for bit, trait in enumerate(_TRAITS) if traits >> bit & 1]
    return {*_GROUPS[group], *(f"{trait} {vendor}" if "annotation" in trait else trait for trait in present)}


def _chosen(filelist: pa.Table, order: np.ndarray, subset: str) -> np.ndarray:
    """For each row in the order of file ids, whether it is in the subset."""
    interactions, number = _interactions(filelist, order)
    chosen = np.arange(len(interactions.group))
    for size in reversed(SUBSETS):
        chosen = chosen[_part(interactions.take(chosen), limits(size))]
        if size == subset:
            break
    return np.isin(number, chosen)


def _interactions(filelist: pa.Table, order: np.ndarray) -> tuple[_Interactions, np.ndarray]:
    """The interactions of a list, and for each row, in the given order of file ids, the number of its own."""
    file_ids = strings(filelist["file_id"])
    suffixed = np.asarray(pc.greater(pc.utf8_length(file_ids), _UNSUFFIXED_CHARACTERS))[order]
    encoded = interaction_ids(filelist).take(pa.array(order)).dictionary_encode()
    number = np.asarray(encoded.indices)  # ascending, since an interaction's rows adjoin
    first = np.flatnonzero(np.diff(number, prepend=-1))

    label = codes("label", strings(filelist["label"]), LABELS)
    split = codes("split", strings(filelist["split"]), SPLITS)
    group = (label * len(SPLITS) + split) * len(VENDORS) + vendor_codes(filelist)
    bytes = np.ceil(expected_bytes(filelist) * expected().margin).astype(np.int64)
    recordings = np.bincount(number, minlength=len(first))
    flags = [suffixed, *(flag(filelist, name)[order] for name in FILELIST_FLAGS)]
    traits = [recordings == 1, *(np.logical_or.reduceat(flag, first) if len(first) else flag for flag in flags)]
    found = _Interactions(
        group=group[order][first],
        traits=sum(trait.astype(np.int64) << bit for bit, trait in enumerate(traits)),
        bytes=np.bincount(number, bytes[order], len(first)).astype(np.int64),
        recordings=recordings,
    )
    hashes = b"".join(hashlib.sha256(id.encode()).digest()[:8] for id in encoded.dictionary.to_pylist())
    by_hash = np.argsort(np.frombuffer(hashes, ">u8"), kind="stable")
    place = np.empty_like(by_hash)
    place[by_hash] = np.arange(len(by_hash))
    return found.take(by_hash), place[number]


def _part(interactions: _Interactions, limits: Limits) -> np.ndarray:
    """Indices of those to keep; all of them if they are within the limits."""
    most_bytes = np.inf if limits.bytes is None else limits.bytes
    most_recordings = np.inf if limits.recordings is None else limits.recordings
    if interactions.bytes.sum() <= most_bytes and interactions.recordings.sum() <= most_recordings:
        return np.arange(len(interactions.group))
    covering = _covering(interactions, most_bytes, most_recordings)

    # Shared out in proportion: the n-th of the N interactions of a group comes at n/N of the way. Those that are
    # there already for their kind are the first of their group.
    is_rest = np.ones(len(interactions.group), bool)
    is_rest[covering] = False
    in_group = np.lexsort((is_rest, interactions.group))
    sizes = np.bincount(interactions.group, minlength=len(_GROUPS))
    before = np.cumsum(sizes) - sizes
    way = np.empty(len(in_group))
    way[in_group] = np.arange(len(in_group)) - before[interactions.group[in_group]] + 0.5
    way /= sizes[interactions.group]
    ordered = np.concatenate([covering, (by_way := np.argsort(way, kind="stable"))[is_rest[by_way]]])
    fits = (np.cumsum(interactions.bytes[ordered]) <= most_bytes) & (
        np.cumsum(interactions.recordings[ordered]) <= most_recordings
    )
    return np.sort(ordered[fits])  # both sums only grow: what fits is the beginning


def _covering(interactions: _Interactions, most_bytes: float, most_recordings: float) -> np.ndarray:
    """Indices of few interactions that show every kind and then every group, as far as they fit.

    The rarest kind, that of the fewest groups, comes first: the others can be shown wherever a group is
    still missing. It is shown by what shows the most that is missing (a group counts less than a
    kind), and among equals by the first in the order of hashes.
    """
    _, first = np.unique(interactions.group << len(_TRAITS) | interactions.traits, return_index=True)
    groups = {int(index): int(interactions.group[index]) for index in np.sort(first)}
    kinds = {index: _kinds(group, int(interactions.traits[index])) for index, group in groups.items()}
    groups_of: dict[str, set[int]] = {}
    for index, shown in kinds.items():
        for kind in shown:
            groups_of.setdefault(kind, set()).add(groups[index])
    rarest_first = sorted(groups_of, key=lambda kind: (len(groups_of[kind]), kind))
    largest_first = np.argsort(-np.bincount(interactions.group), kind="stable").tolist()
    missing: set[str | int] = {*rarest_first, *groups.values()}
    taken: list[int] = []

    def gain(index: int) -> int:
        return 2 * len(kinds[index] & missing) + (groups[index] in missing)

    for target in (*rarest_first, *largest_first):
        fitting = [
            index
            for index in kinds
            if (target in kinds[index] or target == groups[index])
            and interactions.bytes[index] <= most_bytes
            and interactions.recordings[index] <= most_recordings
        ]
        if target in missing and fitting:
            best = max(fitting, key=gain)
            missing -= {*kinds[best], groups[best]}
            most_bytes -= interactions.bytes[best]
            most_recordings -= interactions.recordings[best]
            taken.append(best)
    return np.array(taken, np.int64)
