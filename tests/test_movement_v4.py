"""``movement_v4``: arrays of shapes that nobody knows beforehand, which nobody gets who does not name them."""

import functools
import shutil

import numpy as np
import pytest
from conftest import pairs
from servers import Bucket

from seamless_interaction import (
    EVERY_ARRAY,
    MOVEMENT_V4,
    SeamlessDataset,
    load_dataset,
    record_features,
    resolve_modalities,
)
from seamless_interaction.download import download
from seamless_interaction.download.verifying import verify
from seamless_interaction.errors import BadFile, UnsafeFile, UsageError, WindowError
from seamless_interaction.places.place import Place
from seamless_interaction.publishing import plan_shards, publish
from seamless_interaction.selection.selection import Selection
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import PARTS, tree_path
from seamless_interaction.source.tables import read_filelist
from seamless_interaction.synthetic.corpus import SyntheticRecording, corpus
from seamless_interaction.synthetic.writing import synthesize

GAZE, FACE, VERTICES = "movement_v4:gaze_encodings", "movement_v4:expression", "movement_v4:pred_vertices"
_made = functools.lru_cache(512)(SyntheticRecording.array)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Layout -> its folder: two recordings of V00 with the arrays, and two of V03 without."""
    root = tmp_path_factory.mktemp("v4")
    kind = {"interactions": 2, "seconds": 2.0, "movement_v4": True}
    for layout in ("tree", "bundles", "archives"):
        synthesize(root / layout, layout, **kind)
    return root, corpus(**kind)


def path_of(folder, recording, key):
    return folder / tree_path(recording.label, recording.split, key, recording.file_id)


def assert_v4(record, recording):
    for key in MOVEMENT_V4:
        values = record["movement_v4"][key.partition(":")[2]]
        if key in recording.movement_v4:
            assert values.dtype == np.float32
            # The bucket's masks have one axis.
            np.testing.assert_array_equal(
                values.reshape(len(values), -1), _made(recording, key).reshape(len(values), -1)
            )
        else:
            assert values is None
    lacking = set(MOVEMENT_V4) - set(recording.movement_v4)
    assert [pair for pair in pairs(record) if pair[1] != "absent"] == []
    assert {column for column, _ in pairs(record)} == lacking


def test_nobody_gets_it_who_does_not_name_it():
    assert len(MOVEMENT_V4) == 17 and len(PARTS) == 50
    assert not set(MOVEMENT_V4) & {*record_features(), *resolve_modalities(None), *Selection().parts}
    assert resolve_modalities("movement_v4") == tuple(MOVEMENT_V4)
    assert Selection(modalities=("movement_v4",)).parts == tuple(MOVEMENT_V4)


@pytest.mark.parametrize("layout", ["tree", "bundles", "archives"])
@pytest.mark.parametrize("streaming", [True, False])
def test_every_layout_gives_values_in_the_shape_that_the_file_tells(places, layout, streaming, tmp_path):
    root, made = places
    loaded = load_dataset(
        "full",
        "train",
        data_dir=root / layout,
        modalities="movement_v4",
        streaming=streaming,
        cache_dir=None if streaming else str(tmp_path),
    )
    records = list(loaded)
    assert loaded.features == record_features("movement_v4")  # the same for every source
    assert len(records) == 4
    for record in records:
        assert_v4(record, made[record["id"]])
    plain = next(iter(loaded.with_format(None))) if streaming else loaded.with_format(None)[0]
    shape = records[0]["movement_v4"]["expression"].shape
    assert plain[FACE]["shape"] == list(shape) and shape[1:] == (50,) != EVERY_ARRAY[FACE].shape
    np.testing.assert_array_equal(
        np.float32(plain[FACE]["values"]).reshape(shape), records[0]["movement_v4"]["expression"]
    )


SPOILT = {
    "unsafe": np.array([{"synthetic": True}], object),
    "wrong_type": np.full((60, 3), 2**24 + 1, "int32"),
    "non_finite": np.full((60, 2), np.inf, "float64"),
    "empty": np.zeros((0, 7), "float32"),
    "frames_differ": np.zeros((50, 60), "float16"),
}


def test_what_cannot_be_used_is_an_issue_and_a_pickle_is_never_opened(places, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(places[0] / "tree", folder)
    made = places[1].recordings[0]
    load = functools.partial(load_dataset, "full", "train", data_dir=folder, streaming=True)
    for code, values in SPOILT.items():
        np.save(path_of(folder, made, GAZE), values, allow_pickle=True)
        record = next(iter(load(modalities=[FACE, GAZE, "video"])))
        assert (record["id"], pairs(record)) == (made.file_id, [(GAZE, code)])
        gaze = record["movement_v4"]["gaze_encodings"]
        if code in ("unsafe", "wrong_type"):
            assert gaze is None
            with pytest.raises(BadFile, match=r"unpickled|int32 that float32 cannot hold"):
                next(iter(load(modalities=GAZE, on_error="raise")))
        else:
            np.testing.assert_array_equal(gaze, values.astype("float32"))


@pytest.mark.parametrize("layout", ["tree", "bundles"])
def test_a_copy_of_it_is_verified_repaired_and_loaded(places, layout, tmp_path):
    root, made = places
    v00 = [recording for recording in made.recordings if recording.vendor == "V00"]
    selection = Selection("full", vendor="V00", modalities=("movement_v4", "vad"))
    report = download(selection, root / layout, tmp_path / "copy")
    assert report.exit_code == 0
    assert report.files["whole"] == sum(len(recording.movement_v4) + 1 for recording in v00)
    held = path_of(tmp_path / "copy", v00[0], GAZE)
    held.write_bytes(held.read_bytes()[:-4] + b"\0\0\0\1")
    path_of(tmp_path / "copy", v00[0], FACE).unlink()
    found = verify(tmp_path / "copy")
    assert (found.exit_code, found.counts["corrupt"], found.counts["missing"]) == (4, 1, 1)
    assert verify(tmp_path / "copy", repair=True).exit_code == 0
    for record in load_dataset("full", "train", data_dir=tmp_path / "copy", modalities="movement_v4", streaming=True):
        assert_v4(record, made[record["id"]])
    assert (tmp_path / "copy" / "selection.csv").read_text().splitlines()[1].endswith("vad movement_v4")


def test_of_the_bucket_it_is_asked_for_a_file_at_a_time_and_may_lack(places, tmp_path):
    root, made = places
    mine, away = made.recordings[0], made.recordings[2]
    shutil.copytree(root / "tree", tmp_path / "data")
    path_of(tmp_path / "data", mine, VERTICES).parent.mkdir()
    np.save(path_of(tmp_path / "data", mine, VERTICES), np.array([{}], object), allow_pickle=True)
    with Bucket(tmp_path / "data") as bucket:  # answers 403 for what is not there
        load = functools.partial(load_dataset, "full", "train", data_dir=bucket.url, streaming=True)
        records = {record["id"]: record for record in load(modalities="movement_v4")}
        assert (VERTICES, "unsafe") in pairs(records[mine.file_id])
        assert_v4(records[away.file_id], away)
        bucket.clear()
        list(load(modalities="movement"))
        assert not [request.path for request in bucket.requests if "v4" in request.path]
        selection = Selection("full", file_ids=(mine.file_id, away.file_id), modalities=("movement_v4", "vad"))
        report = download(selection, bucket.url, tmp_path / "copy")
    assert (report.exit_code, report.files["damaged"]) == (0, 1)  # the pickle is kept as the source has it
    assert verify(tmp_path / "copy").exit_code == 0
    dataset = SeamlessDataset(tmp_path / "copy")
    with pytest.raises(UnsafeFile, match="unpickled"):
        dataset.get_recording(mine.file_id).array(VERTICES)


def test_a_copy_made_without_it_says_so(places, tmp_path):
    download(Selection("full", vendor="V00"), places[0] / "tree", tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("movement_v4"))
    (record, *_) = load_dataset("full", "train", data_dir=tmp_path / "copy", modalities=GAZE, streaming=True)
    assert record["movement_v4"]["gaze_encodings"] is None and pairs(record) == [(GAZE, "not_selected")]
    with pytest.raises(UsageError, match="made without movement_v4"):
        SeamlessDataset(tmp_path / "copy").windows(1.0, modalities=["movement_v4"])


def test_windows_have_it_masked_and_not_what_is_no_row_a_frame(places, tmp_path):
    root, _ = places
    (mine, other), (away, _) = (places[1].recordings[at : at + 2] for at in (0, 2))
    dataset = SeamlessDataset(root / "tree")
    valid = _made(mine, "movement_v4:is_valid")[15:45].reshape(-1) != 0
    window = dataset.get_recording(mine.file_id).window(0.5, 1.0, ["movement_v4"])
    np.testing.assert_array_equal(window[FACE], _made(mine, FACE)[15:45])
    np.testing.assert_array_equal(window["mask"][FACE], valid)
    assert window[VERTICES].shape == (30, 0) and not window["mask"][VERTICES].any()
    assert window["movement_v4:hypernet_features"].shape == (2, 5120) and window["issues"] == []
    assert dataset.get_recording(away.file_id).window(0.5, 1.0, FACE)[FACE].shape == (30, 0)
    # Of layouts that are read whole, and at another rate.
    for layout in ("tree", "bundles"):
        windows = SeamlessDataset(root / layout).windows(1.0, modalities=[FACE], fps=15, paired=True)
        assert windows.collate([windows[0], windows[1]])[FACE].shape == (2, 2, 15, 50)
    folder = tmp_path / "data"
    shutil.copytree(root / "tree", folder)
    np.save(path_of(folder, other, FACE), np.ascontiguousarray(_made(other, FACE).T))
    np.save(path_of(folder, mine, FACE), np.array([{}], object), allow_pickle=True)
    dataset = SeamlessDataset(folder)
    for recording, code, why in ((other, "wrong_type", "50 rows"), (mine, "unsafe", "unpickled")):
        window = dataset.get_recording(recording.file_id).window(0.5, 1.0, FACE)
        (issue,) = window["issues"]
        assert (
            (issue["column"], issue["code"]) == (FACE, code)
            and why in issue["detail"]
            and not window["mask"][FACE].any()
        )
    with pytest.raises(WindowError, match=FACE):
        list(dataset.windows(1.0, modalities=FACE, on_error="raise"))


def test_recordings_have_it_by_name(places):
    root, _ = places
    mine = places[1].recordings[0]
    for layout in ("tree", "bundles"):
        recording = SeamlessDataset(root / layout).get_recording(mine.file_id)
        np.testing.assert_array_equal(recording.movement_v4.expression, _made(mine, FACE))
        assert recording.movement_v4.pred_vertices is None and len(recording.times(FACE)) == mine.num_frames
        assert {key for key in recording.arrays if key in MOVEMENT_V4} == set(mine.movement_v4)


def test_an_index_and_a_published_folder_have_it(places, tmp_path):
    root, made = places
    place = Place(root / "archives")
    make_index(place, tmp_path / "index.parquet", read_filelist(place))
    stream = load_dataset(
        "full", "train", data_dir=root / "archives", index=tmp_path / "index.parquet", modalities=GAZE, streaming=True
    )
    np.testing.assert_array_equal(next(iter(stream))["movement_v4"]["gaze_encodings"], _made(made.recordings[0], GAZE))
    report = publish(plan_shards(Selection("full", modalities=("movement_v4", "vad")), root / "tree"), tmp_path / "hub")
    assert report.exit_code == 0
    load = functools.partial(load_dataset, None, "train", data_dir=tmp_path / "hub")
    for published in (load(streaming=True), load(cache_dir=str(tmp_path / "cache"))):
        for record in published:
            assert_v4(record, made[record["id"]])
    assert load(modalities="vad", streaming=True).features.keys().isdisjoint(MOVEMENT_V4)
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "| movement_v4 | `movement_v4:expression` | {values, shape} |" in card
