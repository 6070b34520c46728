"""A synthetic file list of the dataset's true length, to try selection, tables and indexes on.

All of it is invented. What is counted in an independent census of the 24.95 TB is exact: recordings of each
vendor, label and split, pairs and single participants, annotated recordings, participants and
sessions. What is not known is made up: how vendors are spread over labels and splits (near the bytes that are
known of these), who met whom, which interactions are annotated, and where the archives begin.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import FILELIST_FLAGS, TABLES

# Pairs of each label, split and vendor. Sums by vendor and label are the census's, as are those of both dev splits.
PAIRS = {
    "improvised": {
        "train": {"V00": 12_700, "V01": 973, "V03": 3_585},
        "dev": {"V00": 113, "V01": 49, "V03": 180},
        "test": {"V00": 100, "V01": 37, "V03": 138},
    },
    "naturalistic": {
        "train": {"V00": 7_822, "V01": 4_837, "V02": 14_746, "V03": 17_811},
        "dev": {"V00": 430, "V01": 41, "V02": 125, "V03": 152},
        "test": {"V00": 235, "V01": 70, "V02": 215, "V03": 260},
    },
}
SINGLES, SINGLES_SESSIONS = 132, 9  # interactions of one participant; all in V00
SESSIONS = 5_102
PARTICIPANTS = {"V00": 1_316, "V01": 706, "V02": 540, "V03": 1_745}
SUFFIXED, SUFFIXED_AND_BARE = 165, 51  # participants of V00 with a letter; those whose number occurs without it too
PROMPTS, UNUSED_PROMPTS = 1_312, 20
# Annotated recordings. The vendors' share in 3P is that of the files which could be read, 1,123 and 516.
ANNOTATED_3P = {"V00": 1_139, "V03": 524}
ANNOTATED_1P = {"V03": 491}
BATCH = 500  # recordings, the two of an interaction in the same one
ARCHIVE = 6.07  # recordings, on average; partners are in different ones for 98.6 % of the pairs


def synthetic_filelist(seed: int = 0) -> pa.Table:
    """A file list of 129,370 synthetic recordings, ordered as they would be stored.

    Args:
        seed: other seeds give other ids and places, and the same counts.

    Returns:
        ``file_id``, ``label``, ``split`` (strings), ``batch_idx``, ``archive_idx`` (int32) and the three
        ``has_…`` flags (bool).
    """
    rng = np.random.default_rng(seed)
    sessions = _sessions(rng)
    interactions = _interactions(rng, sessions)
    recordings = _recordings(rng, sessions, interactions)
    columns = (*TABLES["filelist.csv"], *FILELIST_FLAGS)
    table = pa.table({**recordings, **_places(rng, recordings)}).select(columns)
    return table.sort_by([(name, "ascending") for name in ("label", "split", "batch_idx", "archive_idx", "file_id")])


def _shares(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers of that sum, in proportion to the weights, at least one each."""
    bounds = np.rint(np.cumsum(weights) / np.sum(weights) * (total - len(weights))).astype(np.int64)
    return np.diff(bounds, prepend=0) + 1


def _sessions(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns of the sessions: label, split, vendor, number, both participants, number of interactions, single."""
    cells = [
        (label, split, vendor, pairs)
        for label, splits in PAIRS.items()
        for split, vendors in splits.items()
        for vendor, pairs in vendors.items()
    ]
    pairs = np.array([cell[3] for cell in cells])
    sessions = _shares(SESSIONS - SINGLES_SESSIONS, pairs)
    lengths = [_shares(total, rng.gamma(4, size=number)) for total, number in zip(pairs, sessions, strict=True)]
    lengths.append(_shares(SINGLES, np.ones(SINGLES_SESSIONS)))
    cells.append(("naturalistic", "train", "V00", SINGLES))
    counts = np.append(sessions, SINGLES_SESSIONS)
    label, split, vendor = (np.repeat([cell[part] for cell in cells], counts) for part in range(3))
    number = np.empty(SESSIONS, np.int64)
    people = np.empty((SESSIONS, 2), dtype="<U5")
    for name in PARTICIPANTS:
        mine = np.flatnonzero(vendor == name)
        number[mine] = rng.permutation(len(mine)) + 1
        people[mine] = _people(rng, name, split[mine])
    return {
        "label": label,
        "split": split,
        "vendor": vendor,
        "number": number,
        "participant_0": people[:, 0],
        "participant_1": people[:, 1],
        "interactions": np.concatenate(lengths),
        "single": np.repeat(np.arange(len(cells)) == len(cells) - 1, counts),
    }


def _people(rng: np.random.Generator, vendor: str, split: np.ndarray) -> np.ndarray:
    """Two participants for each of a vendor's sessions. Everyone has one, and is in one split only."""
    letters = SUFFIXED if vendor == "V00" else 0
    bare = PARTICIPANTS[vendor] - letters
    stems = np.arange(PARTICIPANTS[vendor]) + 1
    if letters:  # the first of those with a letter have the number of somebody without one
        stems[bare:] -= SUFFIXED_AND_BARE
        stems[bare : bare + SUFFIXED_AND_BARE] = np.arange(SUFFIXED_AND_BARE) + 1
    names = np.array([f"{stem:04d}" + "A" * (index >= bare) for index, stem in enumerate(stems)])
    splits, counts = np.unique(split, return_counts=True)
    shares = _shares(len(names) - len(splits), counts) + np.ones(len(splits), np.int64)
    people = np.empty((len(split), 2), names.dtype)
    while True:
        pools = np.split(rng.permutation(names), np.cumsum(shares)[:-1])
        for name, pool in zip(splits, pools, strict=True):
            places = np.flatnonzero(split == name)
            people[places] = np.resize(pool, (len(places), 2))
        stem_of = people.astype("<U4")
        if not np.any(stem_of[:, 0] == stem_of[:, 1]):  # 0299 and 0299A never meet
            return people


def _interactions(rng: np.random.Generator, sessions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of the interactions: their session, and their prompt, which a session has only once."""
    lengths = sessions["interactions"]
    used = np.sort(rng.permutation(PROMPTS)[: PROMPTS - UNUSED_PROMPTS])
    liking = -0.7 * np.log(rng.permutation(len(used)) + 2.0)  # some prompts are in 1,500 sessions, most in a few
    prompts = []
    for start in range(0, len(lengths), 256):  # the first k of a random order that begins with the likely ones
        block = lengths[start : start + 256]
        drawn = np.argsort(-(liking + rng.gumbel(size=(len(block), len(used)))), axis=1)[:, : block.max()]
        prompts.append(used[drawn[np.arange(block.max()) < block[:, None]]])
    return {"session": np.repeat(np.arange(len(lengths)), lengths), "prompt": np.concatenate(prompts)}


def _recordings(
    rng: np.random.Generator, sessions: dict[str, np.ndarray], interactions: dict[str, np.ndarray]
) -> dict[str, pa.Array]:
    """Columns of the recordings but for their places; partners adjoin, interactions come in random order."""
    shuffled = rng.permutation(len(interactions["session"]))
    session = interactions["session"][shuffled]
    single = sessions["single"][session]
    recordings = np.where(single, 1, 2)
    row = np.repeat(np.arange(len(shuffled)), recordings)
    role = np.arange(len(row)) - (np.cumsum(recordings) - recordings)[row]
    of = session[row]
    vendor = sessions["vendor"][of]
    flags = {"has_annotation_1p": np.zeros(len(row), bool), "has_annotation_3p": np.zeros(len(row), bool)}
    for name, annotated in (("has_annotation_1p", ANNOTATED_1P), ("has_annotation_3p", ANNOTATED_3P)):
        for of_vendor, number in annotated.items():  # the first ones, so that whoever has 1P has 3P, and pairs both
            flags[name][np.flatnonzero((vendor == of_vendor) & ~single[row])[:number]] = True
    participant = np.where(role == 0, sessions["participant_0"][of], sessions["participant_1"][of])
    return {
        "file_id": pc.binary_join_element_wise(
            pa.array(vendor),
            _padded("S", sessions["number"][of], 4),
            _padded("I", interactions["prompt"][shuffled][row], 8),
            pc.binary_join_element_wise("P", pa.array(participant), ""),
            "_",
        ),
        "label": pa.array(sessions["label"][of]),
        "split": pa.array(sessions["split"][of]),
        "has_imitator_movement": pa.array(vendor == "V00"),
        **{name: pa.array(flag) for name, flag in flags.items()},
    }


def _padded(letter: str, numbers: np.ndarray, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(letter, digits, "")


def _places(rng: np.random.Generator, recordings: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Batch and archive of each recording: random within a batch, with gaps in the archives' numbers."""
    where = pc.binary_join_element_wise(recordings["label"], recordings["split"], "/").dictionary_encode()
    codes = np.asarray(where.indices)
    batch, archive = np.empty(len(codes), np.int64), np.empty(len(codes), np.int64)
    for code in range(len(where.dictionary)):
        mine = np.flatnonzero(codes == code)
        for number, start in enumerate(range(0, len(mine), BATCH)):
            rows = rng.permutation(mine[start : start + BATCH])
            archives = max(1, round(len(rows) / ARCHIVE))
            numbers = np.sort(rng.permutation(archives + archives // 8)[:archives])
            batch[rows] = number
            archive[rows] = numbers[np.arange(len(rows)) * archives // len(rows)]
    return {"batch_idx": pa.array(batch, pa.int32()), "archive_idx": pa.array(archive, pa.int32())}
