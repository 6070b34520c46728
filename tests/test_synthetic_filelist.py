"""The synthetic file list has the counts of the true one."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from seamless_interaction import FILELIST_FLAGS, TABLES, FileId
from seamless_interaction.synthetic.filelist import synthetic_filelist


@pytest.fixture(scope="module")
def filelist(whole_filelist):
    return whole_filelist


@pytest.fixture(scope="module")
def ids(filelist):
    return [FileId.parse(file_id) for file_id in filelist["file_id"].to_pylist()]


def counts(values):
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(pa.array(values)).to_pylist()}


def test_columns_are_the_file_lists_and_ids_are_unique(filelist):
    assert filelist.column_names == [*TABLES["filelist.csv"], *FILELIST_FLAGS]
    assert filelist.num_rows == pc.count_distinct(filelist["file_id"]).as_py() == 129_370
    assert all(column.null_count == 0 for column in filelist.columns)


def test_counts_are_the_censuss(filelist, ids):
    assert counts([id.vendor for id in ids]) == {"V00": 42_932, "V01": 12_014, "V02": 30_172, "V03": 44_252}
    assert counts(filelist["label"].to_pylist()) == {"improvised": 35_750, "naturalistic": 93_620}
    assert counts(filelist["split"].to_pylist()) == {"train": 125_080, "dev": 2_180, "test": 2_110}
    assert counts(counts([id.interaction_id for id in ids]).values()) == {2: 64_619, 1: 132}
    assert len({id.session_id for id in ids}) == 5_102
    participants = {id.participant_id for id in ids}
    assert len(participants) == 4_307 and sum(participant.endswith("A") for participant in participants) == 165
    dev = filelist.filter(pc.equal(filelist["split"], "dev"))
    assert counts(dev["label"].to_pylist()) == {"improvised": 684, "naturalistic": 1_496}


def test_flags_belong_to_their_vendors(filelist, ids):
    flags = {name: filelist[name].to_pylist() for name in FILELIST_FLAGS}
    assert flags["has_imitator_movement"] == [id.vendor == "V00" for id in ids]
    third = [id.vendor for id, flag in zip(ids, flags["has_annotation_3p"], strict=True) if flag]
    first = [id.vendor for id, flag in zip(ids, flags["has_annotation_1p"], strict=True) if flag]
    assert len(third) == 1_663 and set(third) == {"V00", "V03"} and counts(first) == {"V03": 491}
    assert all(third or not first for first, third in zip(*list(flags.values())[1:], strict=True))


def test_a_session_has_one_label_and_split_and_two_people_who_are_in_no_other_split(filelist, ids):
    label, split, vendor02 = {}, {}, set()
    people: dict = {}
    for id, its_label, its_split in zip(ids, filelist["label"].to_pylist(), filelist["split"].to_pylist(), strict=True):
        assert label.setdefault(id.session_id, its_label) == its_label
        assert split.setdefault(id.session_id, its_split) == its_split
        assert split.setdefault(id.participant_id, its_split) == its_split
        people.setdefault(id.session_id, set()).add(id.participant)
        vendor02 |= {its_label} if id.vendor == "V02" else set()
    assert vendor02 == {"naturalistic"}
    assert sorted(counts([len(pair) for pair in people.values()])) == [1, 2]
    assert all(len({name[:5] for name in pair}) == len(pair) for pair in people.values())


def test_prompts_are_used_again_and_never_twice_in_a_session(ids):
    sessions = counts([interaction.split("_")[-1] for interaction in {id.interaction_id for id in ids}])
    assert len(sessions) == 1_292 and 1_000 < max(sessions.values()) <= 1_550


def test_partners_are_in_one_batch_and_mostly_not_in_one_archive(filelist, ids):
    archives, places = set(), {}
    for id, *place in zip(ids, *(filelist[name].to_pylist() for name in TABLES["filelist.csv"][1:]), strict=True):
        archives.add(tuple(place))
        places.setdefault(id.interaction_id, []).append(tuple(place))
    assert 21_000 < len(archives) < 21_600
    pairs = [place for place in places.values() if len(place) == 2]
    assert sum(first != second for first, second in pairs) / len(pairs) == pytest.approx(0.986, abs=0.005)
    one_batch = sum(first[:-1] == second[:-1] for first, second in pairs)
    assert one_batch / len(pairs) > 0.99
    batches = counts([f"{label} {split} {batch}" for label, split, batch, _ in (p for pair in pairs for p in pair)])
    assert max(batches.values()) <= 500
    numbers = {archive for *batch, archive in archives if batch == ["naturalistic", "dev", 1]}
    assert numbers and len(numbers) < max(numbers) + 1  # gaps


def test_a_seed_gives_the_same_list_and_another_seed_another(filelist):
    assert synthetic_filelist().equals(filelist)
    other = synthetic_filelist(1)
    assert not other.equals(filelist)
    assert counts(other["label"].to_pylist()) == counts(filelist["label"].to_pylist())
