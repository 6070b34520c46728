"""What is selected: which recordings a subset has.

Membership depends on the file list and the numbers in ``configs`` (a file for each size, and what recordings weigh),
never on what a place happens to hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import ANNOTATION_KINDS, EVERY_ARRAY, FILELIST_FLAGS, LABELS, SPLITS, SUBSETS, VENDORS
from seamless_interaction.errors import BrokenTable, SeamlessInteractionError, UnknownName, UnknownSubset

_BESIDE = Path(__file__).parent.parent
_SESSION_CHARACTERS = len("V00_S0809")
_INTERACTION_CHARACTERS = len("V00_S0809_I00000582")
_UNSUFFIXED_CHARACTERS = len("V00_S0809_I00000582_P0947")

# --- the numbers ----------------------------------------------------------------------------------


class Limits(NamedTuple):
    """The most a size may have; None is no limit."""

    bytes: int | None
    recordings: int | None


class Recordings(NamedTuple):
    """What a recording of each vendor is expected to have (``configs/recordings.yaml``)."""

    bytes: dict[str, int]  # as downloaded from the bucket, everything that belongs to it
    seconds: dict[str, float]
    margin: float  # what bytes are multiplied by before they are held against a size
    video: dict[str, int]  # bytes of the MP4
    audio: dict[str, int]  # bytes of the WAV
    text: dict[str, int]  # bytes of a transcript, of voice activity, of annotations of one kind


def limits(subset: str) -> Limits:
    """The most that ``subset`` may have, from its file in ``configs``.

    Raises:
        UnknownSubset: not one of ``SUBSETS``.
        SeamlessInteractionError: the file is missing or does not hold these numbers.
    """
    if subset not in SUBSETS:
        raise UnknownSubset(subset, SUBSETS)
    name = f"{subset}.yaml"
    numbers = _read(name, {"bytes", "recordings"})
    for key, number in numbers.items():
        if number is not None and not (type(number) is int and number > 0):
            raise _broken(name, f"{key} is {number!r}, neither a positive whole number nor null")
    return Limits(**numbers)


def expected() -> Recordings:
    """What recordings are expected to weigh and to last, from ``configs/recordings.yaml``.

    Bytes are those of the bucket, where arrays are not compressed: video, audio, and the census's
    NPZ with what deflating had saved.

    Raises:
        SeamlessInteractionError: the file is missing or does not hold these numbers.
    """
    name = "recordings.yaml"
    numbers = _read(name, {"vendors", "deflate_saves", "text", "margin"})
    vendors = numbers["vendors"]
    if not isinstance(vendors, dict) or set(vendors) != set(VENDORS):
        raise _broken(name, f"vendors are not {', '.join(VENDORS)}")
    parts = {"video", "audio", "deflated", "seconds"}
    for vendor, means in vendors.items():
        if not isinstance(means, dict) or set(means) != parts or not all(_is_positive(mean) for mean in means.values()):
            raise _broken(name, f"{vendor} is {means!r}, not positive numbers for {', '.join(sorted(parts))}")
    text, kinds = numbers["text"], {"transcript", "vad", "annotation"}
    if not isinstance(text, dict) or set(text) != kinds or not all(_is_positive(size) for size in text.values()):
        raise _broken(name, f"text is {text!r}, not positive numbers for {', '.join(sorted(kinds))}")
    saved, margin = numbers["deflate_saves"], numbers["margin"]
    if not _is_positive(saved) or saved >= 1:
        raise _broken(name, f"deflate_saves is {saved!r}, not between 0 and 1")
    if not _is_positive(margin) or margin < 1:
        raise _broken(name, f"margin is {margin!r}, not 1 or more")
    return Recordings(
        bytes={
            vendor: round(means["video"] + means["audio"] + means["deflated"] / (1 - saved))
            for vendor, means in vendors.items()
        },
        seconds={vendor: float(means["seconds"]) for vendor, means in vendors.items()},
        margin=float(margin),
        video={vendor: round(means["video"]) for vendor, means in vendors.items()},
        audio={vendor: round(means["audio"]) for vendor, means in vendors.items()},
        text={kind: round(size) for kind, size in text.items()},
    )


_ROWS_A_SECOND = 30  # of an array with a row a frame, at the usual rate
_NPY_HEADER = 128


def expected_bytes_of_parts() -> dict[str, dict[str, int]]:
    """Expected bytes of each part of a recording, by vendor; arrays as the bucket has them, 0 for a vendor without.

    Video, audio and text are those of ``configs/recordings.yaml``, arrays follow from their shape and the mean
    duration. Without ``movement_v4``, of which this is a guess, they are within 3 % of what ``expected`` says of a
    whole recording.
    """
    means = expected()
    text = {"transcript": means.text["transcript"], "vad": means.text["vad"]}
    text |= dict.fromkeys(ANNOTATION_KINDS, means.text["annotation"])
    sizes = {"audio": means.audio, "video": means.video}
    sizes |= {part: dict.fromkeys(VENDORS, size) for part, size in text.items()}
    for key, array in EVERY_ARRAY.items():
        of_row = math.prod(array.shape) * np.dtype(array.dtype).itemsize
        sizes[key] = {
            vendor: _NPY_HEADER + math.ceil(means.seconds[vendor] * _ROWS_A_SECOND / array.frames_per_row) * of_row
            if vendor in array.vendors
            else 0
            for vendor in VENDORS
        }
    return sizes


def _is_positive(number: Any) -> bool:
    return type(number) in (int, float) and 0 < number < float("inf")


def configs_folder() -> Path:
    """Where the sizes are: inside this folder if installed from a wheel, beside it in a clone."""
    inside = _BESIDE / "configs"
    return inside if inside.is_dir() else _BESIDE.parent / "configs"


def digest() -> str:
    """Changes when the numbers of a size do."""
    content = b"".join(path.read_bytes() for path in sorted(configs_folder().glob("*.yaml")))
    return hashlib.sha256(content).hexdigest()


@cache
def _content(path: Path) -> Any:
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _broken(path.name, str(error)) from error


def _read(name: str, keys: set[str]) -> dict[str, Any]:
    content = _content(configs_folder() / name)
    if not isinstance(content, dict) or set(content) != keys:
        raise _broken(name, f"does not have the keys {', '.join(sorted(keys))} and no others")
    return dict(content)


def _broken(name: str, reason: str) -> SeamlessInteractionError:
    return SeamlessInteractionError(f"{configs_folder() / name}: {reason}. Install this package again.")


def vendors_of(filelist: pa.Table) -> pa.Array:
    """Vendor of each row (``V00``), in the rows' order.

    Raises:
        BrokenTable: a vendor that this dataset does not have.
    """
    return pa.array(VENDORS).take(pa.array(_vendor_codes(filelist)))


def interaction_ids(filelist: pa.Table) -> pa.Array:
    """Interaction of each row (``V00_S0809_I00000582``), in the rows' order."""
    return pc.utf8_slice_codeunits(strings(filelist["file_id"]), 0, _INTERACTION_CHARACTERS)


def session_ids(filelist: pa.Table) -> pa.Array:
    """Session of each row (``V00_S0809``), in the rows' order."""
    return pc.utf8_slice_codeunits(strings(filelist["file_id"]), 0, _SESSION_CHARACTERS)


def flag(filelist: pa.Table, name: str) -> np.ndarray:
    """A flag of each row (bool); False where the list does not say, as in the oldest list, which has no flags."""
    if name not in filelist.column_names:
        return np.zeros(filelist.num_rows, bool)
    return np.asarray(pc.fill_null(filelist[name], False), bool)


def expected_bytes(filelist: pa.Table, parts: Iterable[str] | None = None) -> np.ndarray:
    """Expected bytes of each row (int64), as downloaded from the bucket, without the margin.

    ``parts`` are those that count, of ``layouts.PARTS``; None is all that belongs to a recording.
    """
    by_vendor = expected().bytes
    if parts is not None:
        of_parts, parts = expected_bytes_of_parts(), list(parts)
        by_vendor = {vendor: sum(of_parts[part][vendor] for part in parts) for vendor in VENDORS}
    return np.array([by_vendor[vendor] for vendor in VENDORS], np.int64)[_vendor_codes(filelist)]


def expected_seconds(filelist: pa.Table) -> np.ndarray:
    """Expected duration of each row (float64)."""
    by_vendor = expected().seconds
    return np.array([by_vendor[vendor] for vendor in VENDORS])[_vendor_codes(filelist)]


def _vendor_codes(filelist: pa.Table) -> np.ndarray:
    return _codes("vendor", pc.utf8_slice_codeunits(strings(filelist["file_id"]), 0, len(VENDORS[0])), VENDORS)


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

    label = _codes("label", strings(filelist["label"]), LABELS)
    split = _codes("split", strings(filelist["split"]), SPLITS)
    group = (label * len(SPLITS) + split) * len(VENDORS) + _vendor_codes(filelist)
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


def strings(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column of strings as one plain array, however it is stored."""
    array = column.cast(pa.string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks or [pa.array([], pa.string())])


def _codes(name: str, strings: pa.Array, known: tuple[str, ...]) -> np.ndarray:
    """Position of each string among the known ones."""
    codes = pc.index_in(strings, pa.array(known))
    if codes.null_count:
        unknown = pc.unique(strings.filter(pc.is_null(codes))).to_pylist()
        raise BrokenTable(f"the file list has {name} {', '.join(map(repr, unknown))}; known: {', '.join(known)}.")
    return np.asarray(codes, np.int64)
