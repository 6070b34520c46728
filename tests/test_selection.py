"""What is selected, of lists and of copies that hold a part: the same for everyone, whole interactions."""

import logging
import shutil
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
import pytest
from conftest import pairs, warnings
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Bucket
from test_subsets import alike, ids, lists, table
from typer.testing import CliRunner

import seamless_interaction
from seamless_interaction import ARRAYS, LABELS, MODALITIES, SPLITS, VENDORS, FileId, SeamlessDataset, load_dataset
from seamless_interaction.cli import app
from seamless_interaction.download.planning import plan
from seamless_interaction.errors import (
    AmbiguousSource,
    BrokenTable,
    EmptySelection,
    InvalidFileId,
    InvalidId,
    UnknownAnnotation,
    UnknownId,
    UnknownKeyword,
    UnknownLabel,
    UnknownModality,
    UnknownSplit,
    UnknownSubset,
    UnknownVendor,
    UsageError,
)
from seamless_interaction.places.place import Place
from seamless_interaction.publishing import plan_shards
from seamless_interaction.selection import expected
from seamless_interaction.selection import sizes as subsets
from seamless_interaction.selection.catalogue import as_text, catalogue
from seamless_interaction.selection.selection import Selection, choose
from seamless_interaction.source.addresses import filelist_of
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import PARTS, USUAL_PARTS, bits_of, tree_path
from seamless_interaction.source.tables import read_filelist, read_selection, write_selection
from seamless_interaction.synthetic.filelist import synthetic_filelist

MANY = table(alike(40) + alike(5, "V00", label="naturalistic", split="dev", **{"3p": True}))
FIRST = "V00_S0000_I00000081_P0000"  # of it


def interactions(rows):
    return {FileId.parse(file_id).interaction_id for file_id in ids(rows)}


# --- what can be asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "criteria, error, what",
    [
        ({"subset": "10gb"}, UnknownSubset, r"Did you mean '10GB'\? Known: 10GB, 100GB"),
        ({"vendor": "V0"}, UnknownVendor, "Did you mean 'V00' or 'V01' or 'V02' or 'V03'"),
        ({"vendors": "V00"}, UnknownKeyword, "unknown keyword: 'vendors'. Did you mean 'vendor'"),
        ({"max_bytes": "20 potatoes"}, UsageError, "not a number of bytes: '20 potatoes'. One looks like 20GB"),
        ({"annotated": False}, UnknownAnnotation, "False"),
        ({"subset": "10GB-improvized"}, UnknownLabel, "Did you mean 'improvised'"),
        ({"subset": "10GB-improvised", "label": "naturalistic"}, UsageError, "Name one label"),
        ({"label": "improvized"}, UnknownLabel, "unknown label: 'improvized'. Did you mean 'improvised'"),
        ({"split": "valid"}, UnknownSplit, "train, dev, test"),
        ({"vendor": ["V00", "V04"]}, UnknownVendor, "unknown vendor: 'V04'. Did you mean"),
        ({"annotated": "2P"}, UnknownAnnotation, "1P, 3P, any"),
        ({"modalities": "transcripts"}, UnknownModality, "Did you mean 'transcript'"),
        ({"session": "S0809"}, InvalidId, "not an id for session: 'S0809'. One looks like V00_S0809"),
        ({"interaction": "V00_S0809"}, InvalidId, "One looks like V00_S0809_I00000582"),
        ({"interaction": [582]}, InvalidId, "582"),
        ({"interaction": "V00_S0809_I00000582\n"}, InvalidId, "582"),
        ({"file_ids": ["V00_S0809_I00000582"]}, InvalidFileId, "_P0947"),
        ({"max_bytes": 0}, UsageError, "max_bytes is 0"),
        ({"sample": -1}, UsageError, "sample is -1"),
        ({"sample": 1.5}, UsageError, "sample is 1.5"),
        ({"sample": True}, UsageError, "sample is True"),
        ({"seed": None}, UsageError, "seed is None"),
        ({"movement": "no"}, UsageError, "movement is 'no'. Give True or False or None"),
        ({"single": "no"}, UsageError, "single is 'no'. Give True or False"),
        ({"vendor": 5}, UnknownVendor, "unknown vendor: 5"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_what_can(criteria, error, what):
    with pytest.raises(error, match=what):
        Selection(**criteria)


def test_one_name_is_as_good_as_a_list_of_one():
    one = Selection(split="validation", vendor="V00", session="V00_S0809", modalities="vad")
    assert one == Selection(split="dev", vendor=["V00"], session=["V00_S0809", "V00_S0809"], modalities=("vad",))
    assert Selection("1TB-improvised") == Selection("1TB", label="improvised")
    assert Selection(annotated=True, max_bytes="1.5kB") == Selection(annotated="any", max_bytes=1500)
    assert len({one, Selection(split="dev", vendor=("V00",), session="V00_S0809", modalities=["vad"])}) == 1


@pytest.mark.parametrize(
    "criteria, size",
    [
        ({}, "10GB"),
        ({"label": "improvised", "split": "dev", "vendor": "V00", "modalities": "vad", "seed": 1}, "10GB"),
        *(
            (criterion, "full")
            for criterion in (
                {"session": "V00_S0809"},
                {"interaction": "V00_S0809_I00000582"},
                {"file_ids": FIRST},
                {"annotated": "any"},
                {"movement": False},
                {"sample": 3},
                {"max_bytes": 5},
            )
        ),
        ({"sample": 3, "subset": "100GB"}, "100GB"),
    ],
    ids=str,
)
def test_a_size_is_in_force_where_nothing_else_bounds(criteria, size):
    assert Selection(**criteria).size == size


def test_parts_are_those_of_the_modalities():
    assert Selection().parts == USUAL_PARTS
    assert Selection(modalities=("movement:expression", "keypoints", "annotations", "transcript")).parts == (
        *("transcript", "1P-IS", "1P-R", "3P-IS", "3P-R", "3P-V"),
        *MODALITIES["boxes_and_keypoints"],
        "movement:expression",
    )
    assert Selection(modalities="context").parts == Selection(modalities=()).parts == ()


# --- what is chosen -------------------------------------------------------------------------------


@settings(max_examples=40)
@given(listed=lists, random=st.randoms(), seed=st.integers(), single=st.booleans(), sample=st.integers(1, 20))
def test_samples_and_bytes_are_nested_and_the_order_of_the_list_does_not_matter(listed, random, seed, single, sample):
    filelist = table(listed)
    if not len(filelist):
        return
    order = list(range(len(filelist)))
    random.shuffle(order)
    shuffled = filelist.take(pa.array(order))
    chosen = []
    for number in (sample, sample + 1, 1000):
        chosen.append(choose(filelist, Selection(sample=number, seed=seed, single=single)))
        assert choose(shuffled, Selection(sample=number, seed=seed, single=single)).equals(chosen[-1])
        assert len(chosen[-1] if single else interactions(chosen[-1])) == min(
            number, len(filelist if single else interactions(filelist))
        )
    for most in (10**9, 2 * 10**9, 10**13):  # an interaction has some 0.5
        selection = Selection(max_bytes=most, seed=seed, single=single)
        chosen.append(choose(filelist, selection))
        assert choose(shuffled, selection).equals(chosen[-1])
        assert expected.expected_bytes(chosen[-1], USUAL_PARTS).sum() * expected.expected().margin <= most
    for smaller, larger in [*pairwise(chosen[:3]), *pairwise(chosen[3:])]:
        assert set(ids(smaller)) <= set(ids(larger))
    assert ids(chosen[2]) == ids(chosen[5]) == sorted(ids(filelist))


@settings(max_examples=50)
@given(
    listed=lists,
    label=st.sampled_from([None, *LABELS]),
    split=st.sampled_from([None, *SPLITS]),
    vendor=st.sampled_from([None, "V00", ("V01", "V03")]),
    annotated=st.sampled_from([None, "1P", "3P", "any"]),
    movement=st.sampled_from([None, True, False]),
    single=st.booleans(),
)
def test_criteria_match_and_bring_whole_interactions(listed, label, split, vendor, annotated, movement, single):
    filelist = table(listed)
    flags = {"1P": "has_annotation_1p", "3P": "has_annotation_3p"}
    matching = {
        row["file_id"]
        for row in filelist.to_pylist()
        if label in (None, row["label"])
        and split in (None, row["split"])
        and (vendor is None or row["file_id"][:3] in vendor)
        and (annotated is None or any(row[flag] for kind, flag in flags.items() if annotated in (kind, "any")))
        and movement in (None, row["has_imitator_movement"])
    }
    if not single:
        whole = {FileId.parse(file_id).interaction_id for file_id in matching}
        matching = {file_id for file_id in ids(filelist) if FileId.parse(file_id).interaction_id in whole}
    selection = Selection("full", label, split, vendor, annotated=annotated, movement=movement, single=single)
    if matching:
        assert ids(choose(filelist, selection)) == sorted(matching)
    else:
        with pytest.raises(EmptySelection):
            choose(filelist, selection)


def test_ids_bring_their_partners_unless_single():
    partner = FIRST.replace("P0000", "P0001")
    assert ids(choose(MANY, Selection(file_ids=FIRST))) == [FIRST, partner]
    assert ids(choose(MANY, Selection(file_ids=FIRST, single=True))) == [FIRST]
    assert ids(choose(MANY, Selection(session=["V00_S0000", "V03_S0001"]))) == [
        *(FIRST, partner),
        *("V03_S0001_I00000081_P0000", "V03_S0001_I00000081_P0001"),
    ]
    assert ids(choose(MANY, Selection(interaction=FIRST[:19], single=True))) == [FIRST, partner]


def test_bytes_that_are_known_count_instead_of_expected_ones():
    sizes = np.where([file_id[:3] == "V00" for file_id in ids(MANY)], 1, 1000)
    chosen = choose(MANY, Selection(max_bytes=10, vendor="V00"), pa.array(sizes))
    assert len(chosen) == 10  # 1.3 GB as expected
    assert len(choose(MANY, Selection(max_bytes=5, vendor="V00"), pa.array(sizes))) == 4
    reverse = pa.array(sizes[::-1])
    assert (
        choose(MANY.take(pa.array(range(len(MANY) - 1, -1, -1))), Selection(max_bytes=10, vendor="V00"), reverse)
        == chosen
    )


def test_only_the_parts_that_are_asked_for_count():
    assert len(choose(MANY, Selection(max_bytes=10**7, modalities="vad"))) == len(MANY)
    with pytest.raises(EmptySelection, match=r"V0._S.* alone, the first, is expected to have \d{9}\."):
        choose(MANY, Selection(max_bytes=10**7))


def test_a_sample_stays_the_same():
    """Pinned: another sample under the same seed is another experiment."""
    assert sorted(interactions(choose(synthetic_filelist(), Selection(sample=3)))) == [
        "V00_S0786_I00000277",
        "V03_S1248_I00000292",
        "V03_S1354_I00001272",
    ]


@pytest.mark.parametrize(
    "criteria, near",
    [
        ({"file_ids": ["V00_S0000_I00000081_P0007", FIRST]}, "1 of file_ids .*'V00_S0000_I00000081_P0007'.*" + FIRST),
        ({"interaction": "V00_S0000_I00000082"}, "V00_S0000_I00000081"),
        ({"session": "V00_S0091"}, "V00_S0001"),
        ({"session": "V01_S0000"}, "V0._S0000"),
    ],
    ids=str,
)
def test_an_id_that_the_list_does_not_have_is_told_with_near_ones(criteria, near):
    with pytest.raises(UnknownId, match=near):
        choose(MANY, Selection(**criteria))


def test_an_empty_selection_says_which_criteria_left_nothing():
    what = r"of 90, full naturalistic leaves 10, split dev leaves 10, vendor V01, V02 leaves 0, annotated 3P leaves 0"
    with pytest.raises(EmptySelection, match=what):
        choose(MANY, Selection(label="naturalistic", split="dev", vendor=["V01", "V02"], annotated="3P"))
    with pytest.raises(EmptySelection, match="split dev leaves 10, file_ids V03_S0001_I00000081_P0000 leaves 0"):
        choose(MANY, Selection(split="dev", file_ids="V03_S0001_I00000081_P0000"))  # listed, and of another split


def test_a_list_without_flags_knows_who_has_movement_and_not_who_is_annotated():
    bare = MANY.drop_columns(["has_imitator_movement", "has_annotation_1p", "has_annotation_3p"])
    assert {file_id[:3] for file_id in ids(choose(bare, Selection(movement=True)))} == {"V00"}
    assert {file_id[:3] for file_id in ids(choose(bare, Selection(movement=False)))} == {"V03"}
    with pytest.raises(UsageError, match="has_annotation_1p"):
        choose(bare, Selection(annotated="any"))


# --- what parts weigh -----------------------------------------------------------------------------


def test_parts_together_weigh_what_a_recording_does():
    of_parts, whole = expected.expected_bytes_of_parts(), expected.expected().bytes
    assert tuple(of_parts) and set(of_parts) == set(PARTS)
    for vendor in VENDORS:
        assert sum(of_parts[part][vendor] for part in USUAL_PARTS) == pytest.approx(whole[vendor], rel=0.03)
    # 249 s at 30 rows a second; at one row per 15 frames.
    assert of_parts["smplh:body_pose"]["V00"] == 128 + 7470 * 21 * 3 * 4
    assert of_parts["movement:hypernet_features"] == {"V00": 128 + 498 * 5120 * 4, "V01": 0, "V02": 0, "V03": 0}
    assert of_parts["audio"]["V00"] == 47_800_000 and of_parts["video"]["V03"] == 181_300_000


# --- selection.csv --------------------------------------------------------------------------------


@given(parts=st.lists(st.sets(st.sampled_from(PARTS)), max_size=5))
def test_a_selection_is_read_as_it_was_written(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("selection")
    rows = {"file_id": [f"V00_S0000_I00000081_P{n:04d}" for n in range(len(parts))], "parts": list(map(bits_of, parts))}
    meant = pa.table(rows, schema=pa.schema([("file_id", pa.string()), ("parts", pa.int64())]))
    write_selection(folder / "selection.csv", meant)
    assert read_selection(Place(folder)).equals(meant)


def test_a_selection_is_written_with_the_shortest_names(tmp_path):
    movement = [key for key in ARRAYS if key.startswith("movement:")]
    parts = [USUAL_PARTS, ["vad", *movement], ["audio", movement[0]], []]
    meant = {"file_id": list("abcd"), "parts": pa.array(map(bits_of, parts), pa.int64())}
    write_selection(tmp_path / "selection.csv", pa.table(meant))
    lines = (tmp_path / "selection.csv").read_text().replace('"', "").splitlines()
    assert lines == ["file_id,modalities", "a,", "b,vad movement", f"c,audio {movement[0]}", "d,context"]


def test_no_cell_and_no_column_are_everything(tmp_path):
    assert read_selection(Place(tmp_path)) is None
    (tmp_path / "selection.csv").write_text(f"file_id\n{FIRST}\n")
    assert read_selection(Place(tmp_path))["parts"].to_pylist() == [bits_of(USUAL_PARTS)]
    (tmp_path / "selection.csv").write_text(f"note,modalities,file_id\n,,{FIRST}\n,keypoints vad,V\n")
    boxes = bits_of(["vad", *MODALITIES["boxes_and_keypoints"]])
    assert read_selection(Place(tmp_path))["parts"].to_pylist() == [bits_of(USUAL_PARTS), boxes]


@pytest.mark.parametrize(
    "rows, what",
    [("a,vad\nb,smell vad", "line 3: 'smell' of 'b' is no modality"), ("a,\na,vad", "line 3: a stands twice")],
)
def test_a_broken_selection_says_where(tmp_path, rows, what):
    (tmp_path / "selection.csv").write_text(f"file_id,modalities\n{rows}\n")
    with pytest.raises(BrokenTable, match=f"selection.csv, {what}"):
        read_selection(Place(tmp_path))


# --- loading --------------------------------------------------------------------------------------


def loaded(folder, modalities="vad", **criteria):
    found = load_dataset(data_dir=folder, modalities=modalities, streaming=True, **criteria)
    return {record["id"]: record for stream in found.values() for record in stream}


@pytest.mark.parametrize("layout", ["tree", "archives"])
def test_loading_takes_the_same_criteria(corpora, layout):
    folder, corpus = corpora[layout]
    filelist = read_filelist(Place(folder))
    one = corpus.recordings[0].file_id
    for criteria in (
        {"file_ids": [one], "single": True},
        {"interaction": one[:19]},
        {"annotated": "any"},
        {"movement": False},
        {"sample": 2, "seed": 5, "vendor": ["V00", "V02"]},
        {"max_bytes": 10**9},
    ):
        assert sorted(loaded(folder, **criteria)) == ids(choose(filelist, Selection(**criteria, modalities="vad")))


def test_a_sample_counts_in_the_split_that_is_named(tree):
    stream = load_dataset(split="validation", data_dir=tree, modalities=[], streaming=True, sample=1)
    chosen = choose(read_filelist(Place(tree)), Selection(split="dev", sample=1))
    assert [record["id"] for record in stream] == ids(chosen)


def test_errors_of_a_selection_come_from_loading(tree):
    with pytest.raises(InvalidId, match="V00_S0809"):
        load_dataset(session="809", data_dir=tree)
    with pytest.raises(UnknownId, match="not in the file list"):
        load_dataset("full", "dev", session="V00_S9999", data_dir=tree)


def test_a_selection_is_prepared_once_and_another_one_anew(tree, tmp_path):
    def prepared(**criteria):
        found = load_dataset(data_dir=tree, modalities="vad", cache_dir=str(tmp_path / "cache"), **criteria)
        return {file["filename"] for dataset in found.values() for file in dataset.cache_files}, sorted(
            record["id"] for dataset in found.values() for record in dataset
        )

    one, other = sorted(read_filelist(Place(tree))["file_id"].to_pylist())[::5][:2]
    files, found = prepared(interaction=one[:19])
    assert {file_id[:19] for file_id in found} == {one[:19]}
    assert prepared(interaction=[one[:19]])[0] == files
    others, found = prepared(interaction=[one[:19], other[:19]], num_proc=2)
    assert not others & files and {file_id[:19] for file_id in found} == {one[:19], other[:19]}


# --- copies of a part -----------------------------------------------------------------------------

EYES = ("vad", "smplh:is_valid", "video", "annotations", "transcript")


@pytest.fixture
def part(corpora, tmp_path):
    """A tree that holds vad and ``smplh:is_valid`` of one participant of an interaction, and its selection.csv."""
    source, corpus = corpora["tree"]
    one = next(recording for recording in corpus.recordings if recording.partner)
    folder = tmp_path / "part"
    for name in ("vad", "smplh:is_valid"):
        path = tree_path(one.label, one.split, name, one.file_id)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / path, folder / path)
    shutil.copy(source / "filelist.csv", folder)
    (folder / "selection.csv").write_text(f"file_id,modalities\n{one.file_id},vad smplh:is_valid\n")
    return folder, one, source


NOT_SELECTED = [(column, "not_selected") for column in ("annotations", "partner_id", "transcript", "video")]


def test_what_a_copy_was_left_without_is_not_missing(part, caplog):
    folder, one, _ = part
    (record,) = loaded(folder, EYES, subset="full").values()
    assert pairs(record) == NOT_SELECTED
    assert record["partner_id"] == one.partner and record["vad"] is not None and record["video"] is None
    assert len(record["smplh"]["is_valid"]) > 0 and record["annotations"] is None
    assert not warnings(caplog)
    record = loaded(folder, ["smplh:body_pose"], subset="full", on_error="raise")[one.file_id]
    assert record["smplh"]["body_pose"].shape == (0, 21, 3)
    assert ("smplh:body_pose", "not_selected") in pairs(record)


def test_what_a_copy_is_meant_to_hold_and_lacks_is_missing(part):
    folder, one, _ = part
    (folder / "selection.csv").write_text(f"file_id,modalities\n{one.file_id},vad video\n{one.partner},vad\n")
    (record,) = loaded(folder, EYES, subset="full").values()
    wanted = [("annotations", "not_selected"), ("partner_id", "partner_missing"), ("transcript", "not_selected")]
    assert pairs(record) == [*wanted, ("video", "missing")]
    assert len(record["smplh"]["is_valid"]) > 0  # is there nevertheless


def test_what_was_not_selected_and_is_here_broken_is_broken(part):
    folder, one, _ = part
    (folder / "selection.csv").write_text(f"file_id,modalities\n{one.file_id},vad\n")
    (folder / tree_path(one.label, one.split, "smplh:is_valid", one.file_id)).write_bytes(b"no array")
    (record,) = loaded(folder, "smplh:is_valid", subset="full").values()
    assert pairs(record) == [("partner_id", "not_selected"), ("smplh:is_valid", "unreadable")]


def test_an_id_that_a_copy_was_made_without_is_not_said_to_be_unknown(part):
    folder, one, _ = part
    with pytest.raises(UnknownId, match="left out by the copy's selection.csv: '" + one.partner):
        loaded(folder, file_ids=one.partner)


def test_a_copy_of_a_part_is_loaded_whole_if_no_size_is_named(corpora, tmp_path):
    folder = shutil.copytree(corpora["tree"][0], tmp_path / "data")
    listed = ids(read_filelist(Place(folder)))
    (folder / "selection.csv").write_text("file_id\n" + "\n".join(listed))
    streams = load_dataset(data_dir=folder, modalities=[], streaming=True)
    assert {stream.info.config_name for stream in streams.values()} == {"full"}
    assert sorted(record["id"] for stream in streams.values() for record in stream) == sorted(listed)


@pytest.mark.parametrize("way", ["bucket", "index of the source"])
def test_what_was_not_selected_is_not_asked_for(part, tmp_path, monkeypatch, way):
    """Of a place that cannot be listed; or by an index of the whole place that the copy was made of."""
    folder, one, source = part
    if way == "bucket":
        with Bucket(folder) as bucket:
            (record,) = loaded(bucket.url, EYES, subset="full").values()
        asked = {request.path.split(one.split)[-1] for request in bucket.requests if one.file_id in request.path}
        assert {path.split("/")[-2] for path in asked} == {"vad", "is_valid"}
    else:
        make_index(Place(source), tmp_path / "index.parquet", filelist_of(Place(source)))
        (record,) = loaded(folder, EYES, subset="full", index=tmp_path / "index.parquet").values()
    assert pairs(record) == NOT_SELECTED and record["partner_id"] == one.partner


def test_bundles_without_their_media(corpora, tmp_path):
    folder = shutil.copytree(corpora["bundles"][0], tmp_path / "data")
    for path in [*folder.rglob("*.mp4"), *folder.rglob("*.npz")]:
        path.unlink()
    listed = read_filelist(Place(folder))["file_id"].to_pylist()
    (folder / "selection.csv").write_text("file_id,modalities\n" + "".join(f"{id},audio vad\n" for id in listed))
    found = loaded(folder, EYES, subset="full")
    assert len(found) == len(listed)
    for record in found.values():
        codes = dict(pairs(record))
        assert codes["video"] == codes["smplh:is_valid"] == "not_selected" and "partner_id" not in {
            column for column, code in codes.items() if code == "not_selected"
        }
    assert any(record["transcript"] for record in found.values())  # its JSON is there


# --- what None is, by whatever door ---------------------------------------------------------------


def doors(place):
    """Door -> how many recordings it gives of a place, or of the bucket where there is none."""
    named = {} if place is None else {"data_dir": place}
    source = "bucket" if place is None else str(place)
    listed, streamed = (
        CliRunner().invoke(app, [*command, "--source", source])
        for command in (["list", "--json"], ["stream", "--modalities", "vad"])
    )
    assert listed.exit_code == streamed.exit_code == 0
    return {
        "load_dataset": len(list(chain(*load_dataset(**named, modalities=["vad"], streaming=True).values()))),
        "SeamlessDataset": SeamlessDataset(place).recordings.num_rows,
        "download": len(plan(source=source, target="copy").recordings),
        "publish": len(plan_shards(source=source).recordings),
        "list": len(listed.stdout.splitlines()),
        "stream": len(streamed.stdout.splitlines()),
    }


def test_every_door_gives_all_of_a_place_that_is_named_and_a_size_of_the_bucket(corpora, monkeypatch, tmp_path, caplog):
    folder, corpus = corpora["tree"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subsets, "limits", lambda size: expected.Limits(None, 8 if size == "10GB" else None))
    assert set(doors(folder).values()) == {len(corpus.recordings)} and not warnings(caplog)
    monkeypatch.setenv("SEAMLESS_INTERACTION_SOURCE", str(folder))
    found = doors(None)
    assert set(found.values()) == {7}
    said = [message for message in warnings(caplog) if message.endswith("7 of 23 recordings here chosen: 10GB")]
    assert len(said) == len(found) == len(warnings(caplog))


def test_what_is_left_out_of_what_is_here_is_told(tree, caplog):
    caplog.set_level(logging.INFO, "seamless_interaction")
    SeamlessDataset(tree, vendor=["V00", "V01"], movement=True)
    SeamlessDataset(tree, split="dev")
    load_dataset(label="improvised", data_dir=tree, streaming=True, modalities=[])
    with pytest.raises(UsageError, match="subset is 'full-improvised', and label 'naturalistic'"):
        load_dataset("full-improvised", label="naturalistic", data_dir=tree)
    by_vendor, by_label = (message for message in warnings(caplog) if "chosen" in message)
    assert by_vendor.endswith("9 of 23 recordings here chosen: vendor V00, V01, movement True")
    assert by_label.endswith("10 of 23 recordings here chosen: improvised")


def test_a_folder_is_not_taken_for_the_hub_nor_the_hub_for_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hub").mkdir()
    with pytest.raises(AmbiguousSource, match=r"'hub' stands for hf://datasets/facebook.*Give \./hub"):
        plan(source="hub")


def test_arguments_are_not_ignored(tree, caplog):
    """What would have no effect is refused; near names are told."""
    for keywords, error, what in (
        ({"vendors": "V00"}, UnknownKeyword, "Did you mean 'vendor'"),
        ({"layuot": "tree"}, UnknownKeyword, "Did you mean 'layout'"),
        ({"modalities": "vad"}, UsageError, "Give them to window"),
    ):
        with pytest.raises(error, match=what):
            SeamlessDataset(tree, **keywords)
    dataset = SeamlessDataset(tree)
    with pytest.raises(UnknownKeyword, match="Did you mean 'modalities'"):
        dataset.windows(1.0, modality="vad")
    with pytest.raises(UnknownKeyword, match="Did you mean 'data_dir'"):
        load_dataset(datadir=tree)
    with pytest.raises(UsageError, match="num_proc is 2"):
        load_dataset(data_dir=tree, streaming=True, num_proc=2)
    for paired, modalities in ((True, "audio"), (False, "vad")):
        with pytest.raises(UsageError, match="stereo=True"):
            dataset.windows(1.0, modalities=modalities, paired=paired, stereo=True)
    with pytest.raises(UsageError, match=r"frame_size is 224\. Give height and width"):
        dataset.windows(1.0, frame_size=224)
    for criteria in ({"vendor": "V02", "annotated": True}, {"function": lambda interaction: False}):
        with pytest.raises(EmptySelection, match="no "):
            dataset.filter(**criteria)
    assert len(dataset.filter(sample=20)) == len(dataset)
    assert "sample is 20, and 12 match: all of them are taken." in warnings(caplog)


@pytest.mark.parametrize(
    "command, what",
    [
        (["verify", "copy", "--source", "hub"], "Repair, or leave it out"),
        (["stream", "--cache-size", "1GB"], "--cache-dir"),
        (["publish", "--private"], "--push"),
    ],
)
def test_options_are_not_ignored(command, what):
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2 and what in done.output


# --- what is listed -------------------------------------------------------------------------------


def test_the_catalogue_has_partners_flags_and_the_context(corpora):
    folder, corpus = corpora["tree"]
    filelist = read_filelist(Place(folder))
    selection = Selection("full", movement=True, single=True, modalities="audio")
    listed = catalogue(filelist, selection, Place(folder))
    records = loaded(folder, "context", subset="full")
    assert ids(listed) == ids(choose(filelist, selection))
    for row in listed.to_pylist():
        record = records[row["file_id"]]
        for column in ("interaction_id", "session_id", "participant_id", "vendor_id", "partner_id", "label"):
            assert row[column] == record[column], column
        assert (row["interaction_type"], row["relationship"]) == (record["interaction_type"], record["relationship"])
        assert (row["split"], row["batch_idx"]) == (corpus[row["file_id"]].split, corpus[row["file_id"]].batch_idx)
        assert (row["expected_bytes"], row["expected_seconds"]) == (47_800_000, 249.0)
    assert any(listed["relationship"].to_pylist()) and any(listed["interaction_type"].to_pylist())
    assert catalogue(filelist, selection)["relationship"].null_count == len(listed)


def test_the_catalogue_as_text_is_aligned_and_has_totals(tmp_path):
    text = as_text(catalogue(MANY, Selection("full", vendor="V00", split="dev")))
    header, *rows, blank, totals, note = text.splitlines()
    assert (len(rows), blank) == (10, "")
    cells = "V00_S0000_I00000081_P0000 naturalistic dev P0001 3P yes 249 126.37 MB"
    assert rows[0].split() == cells.split()
    assert header.split() == ["file", "id", "label", "split", "partner", "annotated", "movement", "seconds", "bytes"]
    assert {len(row) for row in rows} == {len(header)}
    assert totals == "10 recordings of 5 interactions, expected: 0.7 hours, 1.26 GB."
    assert "Expected" in note


def test_who_is_annotated_is_unknown_where_the_list_does_not_say(tmp_path):
    rows = "\n".join(f"{id},improvised,train,0,0" for id in ids(MANY)[:2])
    (tmp_path / "filelist.csv").write_text(f"file_id,label,split,batch_idx,archive_idx\n{rows}\n")
    header, *listed = as_text(catalogue(read_filelist(Place(tmp_path)), Selection("full"))).splitlines()[:3]
    assert [row[header.index("annotated") :].split()[0] for row in listed] == ["unknown"] * 2


def test_what_a_terminal_would_obey_is_not_shown():
    listed = catalogue(MANY, Selection(file_ids=FIRST, single=True))
    listed = listed.set_column(listed.column_names.index("relationship"), "relationship", pa.array(["\x1b[2Jfamily\n"]))
    assert "\x1b" not in as_text(listed) and len(as_text(listed).splitlines()) == 5


def test_the_command_alone_tells_its_version_and_a_version_of_the_dataset_is_a_subset(tmp_path):
    """``--version SIZE`` is another name of ``--subset``."""
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output.strip()) == (0, seamless_interaction.__version__)
    done = CliRunner().invoke(app, ["download", "--version", "2GB", "-o", str(tmp_path)])
    assert done.exit_code == 2 and "unknown subset: '2GB'" in done.output
