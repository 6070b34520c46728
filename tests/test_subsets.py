"""Sizes: nested, below their caps, whole interactions, every kind, in proportion. All lists are synthetic."""

import hashlib
import json
import shutil
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from seamless_interaction import LABELS, SPLITS, SUBSETS, VENDORS, FileId
from seamless_interaction.cli import app
from seamless_interaction.errors import BrokenTable, SeamlessInteractionError, UnknownName, UnknownSubset
from seamless_interaction.selection import expected as numbers
from seamless_interaction.selection.describe import as_text, describe
from seamless_interaction.selection.expected import expected, expected_bytes, limits
from seamless_interaction.selection.sizes import select
from seamless_interaction.source.ids import interaction_ids, vendors_of
from seamless_interaction.synthetic.filelist import synthetic_filelist

SIZES = list(SUBSETS)
PARTS = ("video", "audio", "deflated", "seconds")  # of recordings.yaml
TEXT = "text: {transcript: 1, vad: 1, annotation: 1}\n"

# --- lists ----------------------------------------------------------------------------------------

_interaction = st.fixed_dictionaries(
    {
        "vendor": st.sampled_from(VENDORS),
        "number": st.integers(0, 9999),
        "label": st.sampled_from(LABELS),
        "split": st.sampled_from(SPLITS),
        "participants": st.sampled_from([2, 2, 2, 1]),
        "letter": st.sampled_from(["", "", "", "A"]),
        "1p": st.sampled_from([False, False, True]),
        "3p": st.sampled_from([False, False, True]),
    }
)
lists = st.lists(_interaction, unique_by=lambda one: (one["vendor"], one["number"]), max_size=90)


def table(interactions):
    rows = [
        {
            "file_id": f"{one['vendor']}_S{one['number']:04d}_I00000081_P{participant:04d}{one['letter']}",
            "label": one["label"],
            "split": one["split"],
            "batch_idx": participant,
            "archive_idx": one["number"] % 80,
            "has_imitator_movement": one["vendor"] == "V00",
            "has_annotation_1p": one["1p"] and participant == 0,
            "has_annotation_3p": one["3p"],
            "note": f"{one['number']}",
        }
        for one in interactions
        for participant in range(one["participants"])
    ]
    types = [pa.string()] * 3 + [pa.int64()] * 2 + [pa.bool_()] * 3 + [pa.string()]
    names = ["file_id", "label", "split", "batch_idx", "archive_idx"]
    names += ["has_imitator_movement", "has_annotation_1p", "has_annotation_3p", "note"]
    return pa.Table.from_pylist(rows, pa.schema(list(zip(names, types, strict=True))))


def alike(count, vendor="V03", participants=2, **others):
    """Interactions that differ in their ids only."""
    common = {"label": "improvised", "split": "train", "letter": "", "1p": False, "3p": False}
    common |= {"vendor": vendor, "participants": participants}
    return [{**common, "number": index, **others} for index in range(count)]


def ids(filelist):
    return filelist["file_id"].to_pylist()


def weight(filelist):
    return expected_bytes(filelist).sum() * expected().margin


def kinds(filelist):
    """What a list shows, told without the module's own notion of it."""
    interactions = [file_id[:19] for file_id in ids(filelist)]
    sizes = Counter(interactions)
    flags = {
        "letter": pc.ends_with(filelist["file_id"], "A"),
        "alone": pa.array([sizes[interaction] == 1 for interaction in interactions], pa.bool_()),
        "movement": filelist["has_imitator_movement"],
    }
    columns = {"vendor": pc.utf8_slice_codeunits(filelist["file_id"], 0, 3), **flags}
    columns |= {name: filelist[name] for name in ("label", "split", "has_annotation_1p", "has_annotation_3p")}
    shown = set()
    for row in pa.table(columns).group_by(list(columns)).aggregate([]).to_pylist():
        shown |= {row["vendor"], row["label"], row["split"], *(name for name in flags if row[name])}
        shown |= {f"{person} of {row['vendor']}" for person in ("1p", "3p") if row[f"has_annotation_{person}"]}
    return shown


def groups(filelist):
    columns = [filelist["label"], filelist["split"], vendors_of(filelist)]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


@pytest.fixture(scope="module")
def filelist(whole_filelist):
    return whole_filelist


@pytest.fixture(scope="module")
def chosen(filelist):
    return {subset: select(filelist, subset) for subset in SIZES}


@pytest.fixture(scope="module")
def described(filelist):
    return describe(filelist)


# --- other numbers --------------------------------------------------------------------------------


def package_with(folder, **changes):
    """A package's folder beside changed configs: ``{"10GB": {"bytes": 5}}``."""
    shutil.copytree(numbers.configs_folder(), folder / "configs")
    for name, changed in changes.items():
        path = folder / "configs" / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changed}))
    return folder / "seamless_interaction"


@pytest.fixture(scope="module")
def small_sizes(tmp_path_factory):
    """Sizes small enough for short lists to exceed each."""
    smaller = {"10GB": {"bytes": 10**9}, "100GB": {"bytes": 5 * 10**9}, "1TB": {"bytes": 2 * 10**10, "recordings": 60}}
    return package_with(tmp_path_factory.mktemp("small"), **smaller)


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """Have other numbers from now on."""
    return lambda **changes: monkeypatch.setattr(numbers, "_BESIDE", package_with(tmp_path, **changes))


@pytest.fixture(scope="module", params=["true sizes", "small sizes"])
def sizes(request, small_sizes):
    """Both, for what holds for any numbers: ``with sizes():`` they are in force."""

    @contextmanager
    def in_force():
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "small sizes":
                patch.setattr(numbers, "_BESIDE", small_sizes)
            yield

    return in_force


# --- what holds for any list ----------------------------------------------------------------------


@settings(max_examples=20)  # of up to 90 interactions each
@given(interactions=lists)
def test_sizes_are_nested_and_below_their_limits(sizes, interactions):
    with sizes():
        listed = table(interactions)
        parts = [select(listed, subset) for subset in SIZES]
        assert all(set(ids(smaller)) <= set(ids(larger)) for smaller, larger in pairwise(parts))
        for subset, part in zip(SIZES, parts, strict=True):
            most = limits(subset)
            assert most.bytes is None or weight(part) <= most.bytes
            assert most.recordings is None or part.num_rows <= most.recordings
        assert ids(parts[-1]) == sorted(ids(listed))


@settings(max_examples=20)  # of up to 90 interactions each
@given(interactions=lists, random=st.randoms(), subset=st.sampled_from(SIZES))
def test_the_order_of_the_list_does_not_matter(sizes, interactions, random, subset):
    with sizes():
        listed = table(interactions)
        before = select(listed, subset)
        order = list(range(listed.num_rows))
        random.shuffle(order)
        assert select(listed.take(pa.array(order, pa.int64())), subset).equals(before)


@settings(max_examples=20)  # of up to 90 interactions each
@given(interactions=lists, subset=st.sampled_from(SIZES))
def test_interactions_are_whole_and_rows_keep_their_columns(sizes, interactions, subset):
    with sizes():
        listed = table(interactions)
        part = select(listed, subset)
        whole = {FileId.parse(file_id).interaction_id for file_id in ids(part)}
        rows = sorted(listed.to_pylist(), key=lambda row: row["file_id"])
        assert part.to_pylist() == [row for row in rows if FileId.parse(row["file_id"]).interaction_id in whole]
        assert part.schema == listed.schema


@settings(max_examples=20)  # of up to 90 interactions each
@given(interactions=lists, subset=st.sampled_from(SIZES))
def test_a_list_cut_down_to_a_size_has_that_size_and_the_smaller_ones(sizes, interactions, subset):
    with sizes():
        listed = table(interactions)
        cut = select(listed, subset)
        for smaller in SIZES[: SIZES.index(subset) + 1]:
            assert select(cut, smaller).equals(select(listed, smaller))


@settings(max_examples=20)  # of up to 90 interactions each
@given(interactions=lists, subset=st.sampled_from(SIZES))
def test_labels_are_parts_of_a_size(sizes, interactions, subset):
    with sizes():
        listed = table(interactions)
        part = select(listed, subset)
        for label in LABELS:
            assert select(listed, subset, label).equals(part.filter(pc.equal(part["label"], label)))


@settings(max_examples=20)  # of up to 90 interactions each
@given(interactions=lists)
def test_the_smallest_size_shows_every_kind(interactions):
    listed = table(interactions)
    assert kinds(select(listed, "10GB")) == kinds(listed)


@pytest.mark.parametrize(
    "vendor, rare",
    [
        *[(vendor, {kind: True}) for vendor in VENDORS for kind in ("1p", "3p")],
        ("V00", {"letter": "A"}),
        ("V00", {"participants": 1}),
        ("V03", {"label": "naturalistic"}),
        ("V03", {"split": "test"}),
        ("V02", {}),
    ],
    ids=str,
)
def test_the_smallest_size_has_the_only_one_of_its_kind(vendor, rare):
    """Among 300 others, of which many are annotated, but by another vendor."""
    common = [*alike(200, "V00" if vendor != "V00" else "V01"), *alike(100, "V03" if vendor != "V03" else "V01")]
    common = [
        {**one, "number": 100 + index, "1p": index % 2 > 0, "3p": index % 2 > 0} for index, one in enumerate(common)
    ]
    ordinary = [{**one, "number": 9000 + index} for index, one in enumerate(alike(50 if rare else 0, vendor))]
    for number in range(8):  # whatever its hash
        (only,) = alike(1, vendor, **{"number": number, **rare})
        file_id = f"{vendor}_S{number:04d}_I00000081_P0000{only['letter']}"
        assert file_id in ids(select(table([*common, *ordinary, only]), "10GB"))


def test_the_flag_of_the_second_participant_counts():
    listed = table(alike(100))
    flags = [file_id == "V03_S0077_I00000081_P0001" for file_id in ids(listed)]
    listed = listed.set_column(7, "has_annotation_3p", pa.array(flags))
    assert "V03_S0077_I00000081_P0001" in ids(select(listed, "10GB"))


@pytest.mark.parametrize("limit", [{"bytes": 2 * 10**8}, {"recordings": 1}], ids=str)
def test_a_kind_that_does_not_fit_leaves_room_for_one_that_does(changed, limit):
    changed(**{"10GB": limit})
    rarer = alike(3, "V03", **{"1p": True, "3p": True})
    in_two_groups = [{**one, "label": LABELS[one["number"] % 2]} for one in alike(4, "V00", participants=1)]
    listed = table([*rarer, *in_two_groups])
    assert [file_id[:3] for file_id in ids(select(listed, "10GB"))] == ["V00"]


@settings(max_examples=20)  # of up to 90 interactions each
@given(interactions=lists, subset=st.sampled_from(SIZES))
def test_only_what_does_not_fit_is_left_out(sizes, interactions, subset):
    with sizes():
        listed = table(interactions)
        most = limits(subset)
        heaviest = 2 * max(expected().bytes.values()) * expected().margin
        larger = SIZES[SIZES.index(subset) + 1] if subset != SIZES[-1] else subset
        pool, part = select(listed, larger), select(listed, subset)
        if part.num_rows < pool.num_rows:
            assert weight(part) + heaviest > most.bytes or part.num_rows + 2 > most.recordings


@pytest.mark.parametrize("cast", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_strings_may_be_stored_in_any_way_and_in_pieces(chosen, cast):
    names = ("file_id", "label", "split")
    stored = chosen["1TB"]
    for name in names:
        stored = stored.set_column(stored.column_names.index(name), name, stored[name].cast(cast))
    stored = pa.concat_tables([stored.slice(0, 5000), stored.slice(5000)])
    assert ids(select(stored, "10GB").cast(chosen["1TB"].schema)) == ids(chosen["10GB"])


def test_lists_without_flags_can_be_selected_from(filelist):
    bare = filelist.select(["file_id", "label", "split", "batch_idx", "archive_idx"])
    assert set(groups(select(bare, "10GB"))) == set(groups(bare))
    null = filelist.set_column(5, "has_imitator_movement", pa.nulls(filelist.num_rows, pa.bool_()))
    assert select(null, "10GB").num_rows == pytest.approx(42, abs=2)


def test_an_empty_list_has_empty_sizes():
    for subset in SIZES:
        assert select(table([]), subset).num_rows == 0


# --- how many -------------------------------------------------------------------------------------


def test_ten_gigabytes_hold_what_their_bytes_allow():
    """9.54 GB are 70 times 0.1293 GB with the margin of 15 %; an interaction of V03 has 0.5448 GB with it."""
    assert select(table(alike(100, "V03")), "10GB").num_rows == 2 * 18
    assert select(table(alike(100, "V00")), "10GB").num_rows == 2 * 33
    assert select(table(alike(100, "V00", participants=1)), "10GB").num_rows == 67


def test_a_list_that_fits_is_taken_whole():
    listed = table(alike(18, "V03"))
    assert select(listed, "10GB").num_rows == listed.num_rows == 36


def test_recordings_end_a_size_too(changed):
    changed(**{"10GB": {"recordings": 15}})
    assert select(table(alike(100)), "10GB").num_rows == 14
    assert select(table(alike(100, participants=1)), "10GB").num_rows == 15


def test_the_bytes_of_a_recording_are_the_buckets():
    """Not smaller than its media and the arrays' uncompressed shapes, and not much larger."""
    frames = {vendor: 30 * seconds for vendor, seconds in expected().seconds.items()}
    assert expected().bytes["V00"] == pytest.approx(44.2e6 + 47.8e6 + frames["V00"] * (2250 + 2341), rel=0.03)
    others = [expected().bytes[vendor] for vendor in VENDORS[1:]]
    mean_frames = 30 * 214
    assert others == pytest.approx([181.3e6 + 41.1e6 + mean_frames * 2250] * 3, rel=0.01)


# --- the dataset's own list, but synthetic --------------------------------------------------------


def test_every_size_has_every_kind_and_group(filelist, chosen):
    everything, every_group = kinds(filelist), set(groups(filelist))
    assert len(every_group) == 21 and {"1p of V03", "3p of V00", "3p of V03", "alone", "letter"} < everything
    for subset, part in chosen.items():
        assert kinds(part) == everything, subset
        assert set(groups(part)) == every_group, subset


@pytest.mark.parametrize("seed", [2, 11, 13])
def test_the_smallest_size_has_room_for_everything_in_other_lists_too(seed):
    """Lists where showing kinds one after the other, in any order, would take a group's room."""
    other = synthetic_filelist(seed)
    smallest = select(other, "10GB")
    assert kinds(smallest) == kinds(other) and set(groups(smallest)) == set(groups(other))


def test_annotated_interactions_of_both_vendors_are_pairs(chosen):
    smallest = chosen["10GB"]
    annotated = smallest.filter(smallest["has_annotation_3p"])
    alone = Counter(interaction_ids(smallest).to_pylist())
    of = {vendor: set() for vendor in ("V00", "V03")}
    for interaction in interaction_ids(annotated).to_pylist():
        of[interaction[:3]].add(alone[interaction])
    assert of == {"V00": {2}, "V03": {2}}


def test_larger_sizes_are_in_proportion(filelist, chosen):
    whole = Counter(groups(filelist))
    for subset in ("100GB", "1TB"):
        part = Counter(groups(chosen[subset]))
        share = chosen[subset].num_rows / filelist.num_rows
        for group, number in whole.items():
            # At least the one interaction of its kind, and else the share of the group, to two interactions, and
            # what the other groups' first interactions took away.
            assert part[group] == pytest.approx(max(2, number * share), rel=0.12, abs=4), (subset, group)


def test_within_a_group_the_hash_decides(filelist, chosen):
    """Not the session's number or the order in the list: the numbers of those chosen are spread evenly."""
    part = chosen["1TB"]
    for vendor in VENDORS:
        of = {
            name: np.array([int(id[5:9]) for id in ids(listed) if id.startswith(vendor)])
            for name, listed in (("all", filelist), ("chosen", part))
        }
        assert of["chosen"].mean() == pytest.approx(of["all"].mean(), rel=0.06)


def test_a_size_of_the_whole_list_is_also_that_of_a_larger_size(filelist, chosen):
    for larger in ("100GB", "1TB"):
        assert select(chosen[larger], "10GB").equals(chosen["10GB"])
    assert select(chosen["1TB"], "100GB").equals(chosen["100GB"])


def test_what_is_selected_stays_the_same():
    """Pinned: another selection is another dataset under the same name, and wants a new version."""
    listed = table(
        one
        for index in range(400)
        for one in alike(
            1,
            VENDORS[index % 4],
            participants=1 + (index % 9 > 0),
            number=index,
            label=LABELS[index % 3 > 0],
            split=SPLITS[index % 11 % 3],
            letter="A" * (index % 8 == 4),
            **{"1p": index % 16 == 3, "3p": index % 20 in (0, 3)},
        )
    )
    numbers, digests = [], []
    for subset in SIZES:
        part = select(listed, subset)
        numbers.append(part.num_rows)
        digests.append(hashlib.sha256("\n".join(ids(part)).encode()).hexdigest()[:12])
    assert numbers == [41, 413, 755, 755]
    assert digests == ["b5c6d1bbe90c", "ed77a4db05bc", "f185f0b5b5f9", "f185f0b5b5f9"]


def test_the_margin_bears_what_is_not_known(chosen):
    """Float64 arrays everywhere; or V02's video as light as V00's and V01's and V03's heavier for it."""
    census = {"V00": 42_932, "V01": 12_014, "V02": 30_172, "V03": 44_252}
    light = 638e6 * expected().seconds["V02"] / 3600
    heavy = (181.3e6 * 86_438 - light * census["V02"]) / (census["V01"] + census["V03"])
    more_video = {"V00": 0.0, "V01": heavy - 181.3e6, "V02": light - 181.3e6, "V03": heavy - 181.3e6}
    more_arrays = {"V00": 496e6 * 249 / 3600, **dict.fromkeys(VENDORS[1:], 243e6 * 214 / 3600)}
    for subset in SIZES[:-1]:
        vendors = vendors_of(chosen[subset]).to_pylist()
        weight = expected_bytes(chosen[subset]).sum()
        video, arrays = (sum(more[vendor] for vendor in vendors) for more in (more_video, more_arrays))
        assert max(weight + video, weight + arrays) <= limits(subset).bytes
        assert subset == "10GB" or weight + video + arrays <= limits(subset).bytes


# --- the files in configs -------------------------------------------------------------------------


def test_there_is_a_file_for_each_size_and_one_for_recordings():
    found = {path.stem for path in numbers.configs_folder().iterdir()}
    assert found == {*SUBSETS, "recordings"}


def test_names_say_the_bytes():
    named = {"10GB": 10 * 10**9, "100GB": 100 * 10**9, "1TB": 10**12, "full": None}
    assert {subset: limits(subset).bytes for subset in SUBSETS} == named


@pytest.mark.parametrize(
    "changes, number",
    [
        ({"10GB": {"bytes": 5 * 10**9}}, 18),
        ({"10GB": {"recordings": 4}}, 4),
        ({"100GB": {"bytes": 3 * 10**9}}, 10),  # of which 10GB is a part
        ({"recordings": {"margin": 2.3}}, 18),
        ({"recordings": {"deflate_saves": 0.9}}, 26),
        ({"recordings": {"vendors": dict.fromkeys(VENDORS, dict.fromkeys(PARTS, 10**8))}}, 24),
    ],
    ids=str,
)
def test_every_number_comes_from_there(changed, changes, number):
    assert select(table(alike(100)), "10GB").num_rows == 36
    changed(**changes)
    assert select(table(alike(100)), "10GB").num_rows == number


def test_durations_come_from_there_too(changed):
    vendors = yaml.safe_load((numbers.configs_folder() / "recordings.yaml").read_text())["vendors"]
    changed(recordings={"vendors": {**vendors, "V03": {**vendors["V03"], "seconds": 3600}}})
    assert describe(table(alike(5)))["hours"].to_pylist() == [10.0] * 4


@pytest.mark.parametrize(
    "name, content",
    [
        ("10GB", "bytes: -1\nrecordings: 100\n"),
        ("10GB", "bytes: 10 GB\nrecordings: 100\n"),
        ("10GB", "bytes: true\nrecordings: 100\n"),
        ("10GB", "bytes: 10\n"),
        ("10GB", "bytes: 10\nrecordings: 1\nmore: 1\n"),
        ("10GB", ""),
        ("10GB", "- 1\n"),
        ("10GB", "bytes: [\n"),
        ("10GB", "bytes: !!python/object/apply:os.getcwd []\nrecordings: 1\n"),
        ("10GB", "\udcff"),
        ("1TB", None),
        ("recordings", None),
        ("recordings", "vendors: {}\ndeflate_saves: 0.3\nmargin: 1.1\n" + TEXT),
        ("recordings", "vendors: {V00: 1, V01: 1, V02: 1, V03: 1}\ndeflate_saves: 0.3\nmargin: 1.1\n" + TEXT),
        ("recordings", "margin: 0.5"),
        ("recordings", "text: 72000"),
        ("recordings", "margin: .inf"),
        ("recordings", "margin: .nan"),
        ("recordings", "deflate_saves: 1.0"),
        ("recordings", "deflate_saves: '0.3'"),
    ],
)
def test_a_broken_file_is_named(tmp_path, monkeypatch, name, content):
    package = package_with(tmp_path)
    path = tmp_path / "configs" / f"{name}.yaml"
    if content is None:
        path.unlink()
    elif ": " in content and "\n" not in content:  # one number changed
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **yaml.safe_load(content)}))
    else:
        path.write_bytes(content.encode(errors="surrogateescape"))
    monkeypatch.setattr(numbers, "_BESIDE", package)
    with pytest.raises(SeamlessInteractionError, match="Install this package again") as error:
        select(table(alike(3)), "10GB")
    assert str(path) in str(error.value)


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    package = package_with(tmp_path)
    shutil.copytree(tmp_path / "configs", package / "configs")
    shutil.rmtree(tmp_path / "configs")
    monkeypatch.setattr(numbers, "_BESIDE", package)
    assert numbers.configs_folder() == package / "configs" and limits("10GB").bytes == 10**10


# --- what cannot be -------------------------------------------------------------------------------


def test_unknown_names_are_refused():
    listed = table(alike(1))
    with pytest.raises(UnknownSubset, match="10GB"):
        select(listed, "10gb")
    with pytest.raises(UnknownSubset):
        limits("../10GB")
    with pytest.raises(UnknownName, match="improvised"):
        select(listed, "10GB", "improvized")


@pytest.mark.parametrize("changes", [{"vendor": "V07"}, {"label": "rehearsed"}, {"split": "validation"}], ids=str)
def test_a_list_with_what_the_dataset_does_not_have_is_refused(changes):
    with pytest.raises(BrokenTable, match=next(iter(changes.values()))):
        select(table(alike(1, **changes)), "10GB")


# --- what each size has ---------------------------------------------------------------------------


def test_description_counts_what_is_selected(described, chosen):
    rows = {row["subset"]: row for row in described.to_pylist()}
    assert list(rows) == SIZES
    for subset, row in rows.items():
        part = chosen[subset]
        assert row["recordings"] == part.num_rows
        assert row["interactions"] == len(set(interaction_ids(part).to_pylist()))
        assert row["bytes"] == expected_bytes(part).sum()
        assert row["cap"] is None or row["bytes"] < row["bytes_with_margin"] <= row["cap"]
        for group in ("label", "split", "vendor"):
            assert sum(value for column, value in row.items() if column.startswith(f"{group}:")) == part.num_rows
        assert row["in_next"] is True
    full = rows["full"]
    assert (full["annotation_1p"], full["annotation_3p"], full["one_participant"]) == (491, 1_663, 132)
    assert full["vendor:V02"] == 30_172 and full["split:dev"] == 2_180 and full["movement"] == 42_932
    assert full["hours"] == pytest.approx(8_072, rel=0.01)  # participant-hours of the census
    assert full["share"] == 1.0


def test_description_as_text_is_aligned_and_complete(described):
    text = as_text(described)
    rows = text.split("\n\n")[0].splitlines()
    assert len({len(row) for row in rows}) == 1
    assert rows[0].split() == ["subset", *SIZES]
    assert rows[1].split() == ["interactions", *(f"{number:,}" for number in described["interactions"].to_pylist())]
    assert rows[1].endswith(" 64,751")
    assert "Each subset is part of the next." in text
    assert "part of the next" in as_text(describe(table([])))


def test_what_a_list_without_flags_does_not_say_is_unknown_and_not_0():
    old = table(alike(5)).drop_columns(["has_imitator_movement", "has_annotation_1p", "has_annotation_3p"])
    described = describe(old)
    assert {described[name][0].as_py() for name in ("annotation_1p", "annotation_3p", "movement")} == {None}
    rows = [row.split() for row in as_text(described).splitlines()]
    assert ["with", "movement", *["unknown"] * 4] in rows and ["3P", *["unknown"] * 4] in rows


def test_the_command_prints_the_description(chosen, tmp_path):
    from pyarrow import csv

    part = chosen["100GB"]
    flags = [name for name in part.column_names if name.startswith("has_")]
    for name in flags:
        part = part.set_column(part.column_names.index(name), name, part[name].cast(pa.int8()))
    path = Path(tmp_path, "some.csv")
    csv.write_csv(part, path, csv.WriteOptions(quoting_style="none"))

    run = CliRunner().invoke(app, ["sizes", "--filelist", str(path)])
    assert run.exit_code == 0, run.output
    description = describe(chosen["100GB"])
    assert run.output == as_text(description) + "\n"
    run = CliRunner().invoke(app, ["sizes", "--filelist", str(path), "--json"])
    assert json.loads(run.output) == description.to_pylist()
    run = CliRunner().invoke(app, ["sizes", "--filelist", str(tmp_path / "none.csv")])
    assert run.exit_code == 1 and "none.csv" in run.output
