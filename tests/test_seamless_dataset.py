"""Conversations by id, from every layout: what they hold is what the corpus was made of."""

import io
import pickle
import shutil
import zipfile
from functools import partial

import datasets
import numpy as np
import pytest
from conftest import pairs
from servers import Bucket

from seamless_interaction import ARRAYS, MASKS, SeamlessDataset, load_dataset
from seamless_interaction.errors import (
    BadFile,
    InvalidWindow,
    TargetError,
    TruncatedFile,
    UnknownArray,
    UnknownConversation,
    UnknownSplit,
    UnsafeFile,
    UsageError,
)
from seamless_interaction.places.place import Place
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.tables import read_filelist
from seamless_interaction.synthetic.media import picture_number
from seamless_interaction.synthetic.writing import synthesize

FILE_ERRORS = ("missing", "empty", "truncated", "unreadable", "unsafe", "wrong_type", "no_video_stream")


@pytest.fixture(params=("tree", "archives"))  # bundles are read as both are: files of their own, with arrays in an NPZ
def made(request, corpora):
    folder, corpus = corpora[request.param]
    return SeamlessDataset(folder), corpus


# --- what there is --------------------------------------------------------------------------------


def test_every_recording_is_what_it_was_made_of(made):
    dataset, corpus = made
    for recording in corpus.recordings:
        found = dataset.get_recording(recording.file_id)
        arrays = recording.arrays()
        for key, array in ARRAYS.items():
            value = getattr(getattr(found, array.group), array.feature)
            if key in arrays:
                assert value.dtype == array.dtype
                np.testing.assert_array_equal(value, arrays[key])
            else:
                assert value is None and found.mask(key) is None and found.times(key) is None
        assert set(found.arrays) == set(arrays)
        np.testing.assert_array_equal(found.audio.array, recording.samples() / np.float32(32768))
        assert found.audio.sampling_rate == 48_000
        assert len(found.video) == recording.num_frames
        assert picture_number(found.video[7][..., 0]) == 7
        assert found.duration == pytest.approx(float(recording.num_frames / recording.fps), abs=2e-3)
        assert found.fps == pytest.approx(float(recording.fps), rel=1e-4)
        assert found.vad == recording.vad()
        segments = recording.transcript()
        assert found.transcript == " ".join(segment["transcript"] for segment in segments)
        assert [word["word"] for s in found.segments for word in s["words"]] == [
            word["word"] for s in segments for word in s["words"]
        ]
        made_of = [(kind, r["annotation"]) for kind, records in recording.annotations().items() for r in records]
        assert [(a["kind"], a["annotation"]) for a in found.annotations or ()] == made_of
        assert (found.annotations is None) == (not recording.kinds)
        assert found.context["interaction_type"] and found.partner_id == recording.partner


def test_issues_are_those_of_the_record(broken):
    for layout in ("tree", "bundles"):
        folder, corpus = broken[layout]
        dataset = SeamlessDataset(folder)
        for recording in corpus.recordings:
            if recording.defect and recording.defect != "absent":
                issues = {(issue["column"], issue["code"]) for issue in dataset.get_recording(recording.file_id).issues}
                assert recording.expected_issues <= issues, (layout, recording.defect)


def test_a_file_that_cannot_be_used_raises_what_is_wrong_with_it(broken):
    folder, corpus = broken["tree"]
    dataset = SeamlessDataset(folder)
    (pickled,) = [r.file_id for r in corpus.recordings if r.defect == "pickled_array"]
    with pytest.raises(UnsafeFile, match=pickled):
        _ = dataset.get_recording(pickled).smplh.body_pose
    assert dataset.get_recording(pickled).smplh.global_orient is not None
    (cut,) = [r.file_id for r in corpus.recordings if r.defect == "truncated_video"]
    with pytest.raises(TruncatedFile):
        _ = dataset.get_recording(cut).video


def spoil(value):
    """Change everything in a value that can be changed."""
    if isinstance(value, np.ndarray):
        value[...] = 0
    elif isinstance(value, dict):
        for key, member in value.items():
            value[key] = spoil(member)
    elif isinstance(value, list):
        for member in value:
            spoil(member)
        value.clear()
    else:
        return -1.0
    return value


def test_what_is_done_to_values_in_place_stays_with_who_did_it(made):
    """Moving times of a segment, or normalising an array, is usual, and must not change what is read later."""
    dataset, corpus = made
    file_id = next(recording.file_id for recording in corpus.recordings if recording.kinds)
    recording = dataset.get_recording(file_id)
    texts = ("vad", "segments", "annotations", "context")

    def read():
        values = {name: getattr(recording, name) for name in texts}
        values |= {"times": recording.video.times, "words": recording.words_between(0, 2), **recording.arrays}
        return values | {"window": recording.window(0, 1), "own rate": recording.window(0, 1, fps=30)}

    before = pickle.dumps(read())
    spoiled = spoil(read())
    assert not spoiled["smplh:body_pose"].any() and not spoiled["vad"]
    assert pickle.dumps(read()) == before


def test_masks_are_those_of_the_format(corpora):
    folder, corpus = corpora["tree"]
    dataset = SeamlessDataset(folder)
    for recording in corpus.recordings[:4]:
        found, arrays = dataset.get_recording(recording.file_id), recording.arrays()
        for key in arrays:
            expected = arrays[MASKS[key]].reshape(-1) != 0 if key in MASKS else np.ones(len(arrays[key]), bool)
            np.testing.assert_array_equal(found.mask(key), expected)


def test_a_mask_that_is_not_there_makes_nothing_valid(tmp_path):
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=2)
    first = corpus.recordings[0]
    (tmp_path / "data" / first.label / first.split / "movement" / "is_valid" / f"{first.file_id}.npy").unlink()
    found = SeamlessDataset(tmp_path / "data").get_recording(first.file_id)
    assert found.movement.expression is not None
    with pytest.raises(BadFile, match="is_valid"):
        found.mask("movement:expression")
    sample = found.window(0, 1, ["movement:expression"], fps=30)
    assert not sample["mask"]["movement:expression"].any() and sample["issues"]


def test_a_home_that_cannot_be_written_is_not_needed(corpora, tmp_path, monkeypatch):
    """As in some containers. Nothing is prepared, and what is looked up is kept elsewhere."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    folder, _ = corpora["archives"]
    dataset = SeamlessDataset(folder)
    assert dataset.windows(1.0, modalities=["vad"], where="speech >= 0")[0]["vad"].shape == (30,)
    load = partial(load_dataset, "full", "train", data_dir=folder, modalities=["vad"])
    assert next(iter(load(streaming=True)))["vad"] is not None
    with pytest.raises(TargetError, match=r"cache_dir=.*HF_DATASETS_CACHE"):
        load()
    assert len(load(cache_dir=str(tmp_path / "cache")))


# --- ids ------------------------------------------------------------------------------------------


def test_conversations_are_found_by_id(made):
    dataset, corpus = made
    first = corpus.recordings[0]
    interaction = dataset.get_interaction(first.ids.interaction_id)
    assert dataset[interaction.id].participants == interaction.participants
    assert interaction.participants == (first.ids.participant_id, corpus[first.partner].ids.participant_id)
    assert interaction[first.ids.participant].id == interaction[first.ids.participant_id].id == first.file_id
    assert interaction.transcript[first.ids.participant] == interaction[first.ids.participant].transcript
    assert interaction.movement.expression[first.ids.participant].shape == (first.array_frames, 128)
    assert interaction.audio.keys() == set(interaction.participants)
    assert [i.id for i in dataset.get_session(interaction.session_id)] == [interaction.id]


def test_an_interaction_of_one_participant_works(made):
    dataset, corpus = made
    (alone,) = [recording for recording in corpus.recordings if recording.partner is None]
    interaction = dataset.get_interaction(alone.ids.interaction_id)
    assert len(interaction) == 1 and interaction.recordings[0].partner_id is None
    assert interaction.window(0, 1, ["audio"]).stack()["audio"].shape == (1, 48_000)


@pytest.mark.parametrize("what", ["interaction", "recording", "session"])
def test_an_unknown_id_names_the_nearest(corpora, what):
    folder, corpus = corpora["tree"]
    first = corpus.recordings[0].ids
    known = {"interaction": first.interaction_id, "recording": str(first), "session": first.session_id}[what]
    wrong = known[:-1] + ("X" if known[-1] != "X" else "Y")
    with pytest.raises(UnknownConversation, match=f"no {what} .*Did you mean .*{known[:8]}") as caught:
        getattr(SeamlessDataset(folder), f"get_{what}")(wrong)
    assert not str(caught.value).startswith("'")
    with pytest.raises(UnknownConversation, match="here"):
        getattr(SeamlessDataset(folder), f"get_{what}")("")


def test_an_unknown_participant_or_array_names_the_nearest(corpora):
    folder, corpus = corpora["tree"]
    interaction = SeamlessDataset(folder).get_interaction(corpus.recordings[0].ids.interaction_id)
    with pytest.raises(UnknownConversation, match="P0202"):
        interaction["P0201"]
    with pytest.raises(AttributeError, match="movement:expression"):
        _ = interaction.recordings[0].movement.expresion
    with pytest.raises(UnknownArray, match="Did you mean 'smplh:body_pose'"):
        interaction.recordings[0].array("smplh:body_poses")
    with pytest.raises(KeyError, match="smplh:body"):
        interaction.recordings[0].arrays["smplh:body"]


def test_tables_have_every_recording_once(made):
    dataset, corpus = made
    recordings = dataset.recordings.to_pandas().set_index("id")
    assert set(recordings.index) == {recording.file_id for recording in corpus.recordings}
    for recording in corpus.recordings:
        row, ids = recordings.loc[recording.file_id], recording.ids
        assert (row.interaction_id, row.session_id, row.participant_id) == (
            ids.interaction_id,
            ids.session_id,
            ids.participant_id,
        )
        assert (row.label, row.split, row.vendor_id, row.prompt_id) == (
            recording.label,
            recording.split,
            recording.vendor,
            ids.prompt_id,
        )
    partners = dict(
        zip(dataset.recordings["id"].to_pylist(), dataset.recordings["partner_id"].to_pylist(), strict=True)
    )
    assert partners == {recording.file_id: recording.partner for recording in corpus.recordings}
    interactions = dataset.interactions.to_pandas()
    assert len(interactions) == len(dataset) == 12
    assert sorted(id for ids in interactions.recording_ids for id in ids) == sorted(recordings.index)
    assert dataset.sessions["recordings"].to_pylist() == recordings.groupby("session_id").size().tolist()
    assert dataset.participants["interactions"].to_pylist() == [1] * 23


def test_it_is_a_sequence(corpora):
    dataset = SeamlessDataset(corpora["tree"][0])
    ids = [interaction.id for interaction in dataset]
    assert ids == sorted(ids) and len(ids) == len(dataset)
    assert [interaction.id for interaction in dataset[2:5]] == ids[2:5]
    assert [interaction.id for interaction in dataset[::-3]] == sorted(ids[::-3])
    assert dataset[-1].id == ids[-1] and len(dataset[5:5]) == 0
    assert pickle.loads(pickle.dumps(dataset))[3].recordings[0].smplh.body_pose.shape[1:] == (21, 3)
    with pytest.raises(IndexError, match="12 of 12"):
        dataset[12]


def test_filters_narrow_it(corpora):
    folder, corpus = corpora["tree"]
    dataset = SeamlessDataset(folder)
    v00 = {r.ids.interaction_id for r in corpus.recordings if r.vendor == "V00"}
    assert {i.id for i in dataset.filter(vendor="V00")} == v00
    assert {i.id for i in dataset.filter(movement=True)} == v00
    assert {i.id for i in dataset.filter(lambda interaction: interaction.vendor_id == "V00")} == v00
    assert {i.id for i in SeamlessDataset(folder, vendor="V00")} == v00
    annotated = {r.ids.interaction_id for r in corpus.recordings if r.kinds}
    assert {i.id for i in dataset.filter(annotated="3P")} == annotated
    assert {i.split for i in SeamlessDataset(folder, "validation")} == {"dev"}
    with pytest.raises(UsageError, match="vendor"):
        dataset.filter(vendor="V09")
    with pytest.raises(UnknownSplit):
        SeamlessDataset(folder, "trian")


def test_with_an_index_nothing_is_looked_for(corpora, tmp_path, monkeypatch):
    folder, corpus = corpora["archives"]
    place = Place(folder)
    make_index(place, tmp_path / "index.parquet", read_filelist(place))
    entries = Place.entries

    def top_only(place, relative=""):
        assert not relative, "listed a folder"
        return entries(place, relative)

    monkeypatch.setattr(Place, "entries", top_only)
    dataset = SeamlessDataset(folder, index=tmp_path / "index.parquet")
    assert len(dataset) == 12
    recording = corpus.recordings[0]
    found = dataset.get_recording(recording.file_id)
    np.testing.assert_array_equal(found.smplh.body_pose, recording.array("smplh:body_pose"))
    assert found.duration == pytest.approx(float(recording.num_frames / recording.fps), abs=2e-3)


# --- arrays that the schema does not know ---------------------------------------------------------


def test_unknown_arrays_are_listed_and_read_as_they_are(tmp_path):
    vertices = np.arange(60 * 5 * 3, dtype="float16").reshape(60, 5, 3)
    for layout in ("tree", "bundles"):
        folder = tmp_path / layout
        first = synthesize(folder, layout, interactions=1, seconds=2).recordings[0]
        if layout == "tree":
            target = folder / first.label / first.split / "movement_v5" / "pred_vertices" / f"{first.file_id}.npy"
            target.parent.mkdir(parents=True)
            np.save(target, vertices)
        else:
            (npz,) = folder.rglob(f"{first.file_id}.npz")
            content = io.BytesIO()
            np.save(content, vertices)
            with zipfile.ZipFile(npz, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("movement_v5:pred_vertices.npy", content.getvalue())
        dataset = SeamlessDataset(folder)
        arrays = dataset.get_recording(first.file_id).arrays
        assert "movement_v5:pred_vertices" in arrays
        np.testing.assert_array_equal(arrays["movement_v5:pred_vertices"], vertices)
        assert arrays["movement_v5:pred_vertices"].dtype == np.float16
        assert "movement_v5:pred_vertices" not in dataset.get_recording(first.partner).arrays


def test_an_unknown_array_of_objects_is_refused(tmp_path):
    first = synthesize(tmp_path / "data", interactions=1, seconds=2).recordings[0]
    target = tmp_path / "data" / first.label / first.split / "movement_v5" / "evil" / f"{first.file_id}.npy"
    target.parent.mkdir(parents=True)
    np.save(target, np.array([{}], object), allow_pickle=True)
    with pytest.raises(UnsafeFile, match="unpickled"):
        _ = SeamlessDataset(tmp_path / "data").get_recording(first.file_id).arrays["movement_v5:evil"]


# --- words ----------------------------------------------------------------------------------------


def test_words_between_two_times_are_those_that_are_heard(corpora):
    folder, corpus = corpora["tree"]
    dataset = SeamlessDataset(folder)
    for recording in corpus.recordings:
        words = [word for segment in recording.transcript() for word in segment["words"]]
        timed = [w for w in words if w["start"] is not None and w["start"] < 1.5 and w["end"] > 0.5]
        found = dataset.get_recording(recording.file_id).words_between(0.5, 1.5)
        assert [(w["word"], w["start"]) for w in found if w["start"] is not None] == [
            (w["word"], w["start"]) for w in timed
        ]


def test_a_word_without_times_lies_between_its_neighbours(corpora):
    folder, corpus = corpora["tree"]
    recording = next(r for r in corpus.recordings if "word_nulls" in r.traits)
    segment = recording.transcript()[0]
    assert segment["words"][-1]["start"] is None
    found = SeamlessDataset(folder).get_recording(recording.file_id)
    after = segment["words"][-2]["end"]
    assert found.words_between(after, segment["end"])[-1]["word"] == segment["words"][-1]["word"]
    before = found.words_between(segment["start"], after)
    assert all(word["start"] is not None for word in before)


# --- windows of one conversation ------------------------------------------------------------------


def test_a_window_is_a_slice_of_everything(made):
    dataset, corpus = made
    first = corpus.recordings[0]  # 2 s at 30 fps
    interaction = dataset.get_interaction(first.ids.interaction_id)
    clip = interaction.window(
        start=0.5, duration=1.0, modalities=["audio", "video", "smplh", "vad", "movement"], fps=30
    )
    sample = clip[first.ids.participant]
    for key in first.array_keys:
        if key.startswith("boxes"):
            continue
        array = ARRAYS[key]
        rows = first.array(key)[15 // array.frames_per_row : 45 // array.frames_per_row]
        if array.frames_per_row == 1:
            np.testing.assert_array_equal(sample[key], rows)
            mask = first.array(MASKS[key])[15:45].reshape(-1) != 0 if key in MASKS else np.ones(30, bool)
            np.testing.assert_array_equal(sample["mask"][key], mask)
        else:
            np.testing.assert_allclose(sample[key], rows)
    np.testing.assert_array_equal(sample["audio"], first.samples()[24_000:72_000] / np.float32(32768))
    assert [picture_number(frame[..., 0]) for frame in sample["video"]] == list(range(15, 45))
    times = 0.5 + np.arange(30) / 30
    spoken = [any(v["start"] <= t < v["end"] for v in first.vad()) for t in times]
    np.testing.assert_array_equal(sample["vad"], spoken)
    both = clip.stack()
    assert both["smplh:body_pose"].shape == (2, 30, 21, 3) and both["audio"].shape == (2, 48_000)
    np.testing.assert_array_equal(both["smplh:body_pose"][0], sample["smplh:body_pose"])
    assert not both["issues"][0] and both["start"] == 0.5


def test_what_lies_behind_the_end_is_zero_and_masked(made):
    dataset, corpus = made
    first = corpus.recordings[0]
    found = dataset.get_recording(first.file_id)
    sample = found.window(1.5, 1.0, ["audio", "video", "smplh", "vad"], fps=30)
    assert sample["length"]["audio"] == 24_000 and not sample["audio"][24_000:].any()
    for key in ("smplh:body_pose", "video", "vad"):
        assert sample["mask"][key].tolist() == [True] * 15 + [False] * 15, key
        assert not sample[key][15:].any()
    assert sample["smplh:body_pose"][:15].any()


def test_boxes_and_keypoints_are_in_pixels_of_the_pictures_beside_them(made):
    dataset, corpus = made
    recording = corpus.recordings[0]
    found = dataset.get_recording(recording.file_id)
    parts, size = ["boxes_and_keypoints", "video"], (8, 6)
    stored, scaled = (found.window(0, 1, parts, fps=30, frame_size=s) for s in (None, size))
    assert scaled["video"].shape[1:3] == size
    y, x = np.array(size) / stored["video"].shape[1:3]
    box, keypoints = (f"boxes_and_keypoints:{name}" for name in ("box", "keypoints"))
    np.testing.assert_allclose(scaled[box], stored[box] * [x, y, x, y], rtol=1e-5)
    np.testing.assert_allclose(scaled[keypoints], stored[keypoints] * [x, y, 1], rtol=1e-5)
    assert scaled[box].any() and scaled[box].dtype == np.float32 and not scaled["issues"]


def test_without_a_video_boxes_cannot_be_scaled(tmp_path):
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=2)
    for path in (tmp_path / "data").rglob("*.mp4"):
        path.unlink()
    found = SeamlessDataset(tmp_path / "data").get_recording(corpus.recordings[0].file_id)
    box = "boxes_and_keypoints:box"
    sample = found.window(0, 1, [box], fps=30, frame_size=(8, 6))
    assert (
        not sample[box].any() and not sample["mask"][box].any() and "cannot be scaled" in sample["issues"][0]["detail"]
    )
    assert not found.window(0, 1, [box], fps=30)["issues"]


def test_partners_of_different_rates_share_one_grid(made):
    dataset, corpus = made
    rates = {r.ids.interaction_id: {q.fps for q in (r, corpus[r.partner])} for r in corpus.recordings if r.partner}
    mixed = [id for id, fps in rates.items() if len(fps) == 2]
    assert mixed
    for id in mixed:
        both = dataset[id].window(0.25, 1.0, ["smplh", "video"], fps=25, frame_size=(32, 24)).stack()
        assert both["smplh:body_pose"].shape == (2, 25, 21, 3) and both["video"].shape == (2, 25, 32, 24, 3)
        assert both["mask"]["video"].all()
        for place, recording in enumerate(dataset[id]):
            frames = [picture_number(frame[..., 0]) for frame in dataset[id].window(0.25, 1, "video", fps=25)[
                recording.participant_id]["video"]]  # fmt: skip
            exact = (0.25 + np.arange(25) / 25) * float(corpus[recording.id].fps)
            assert np.abs(np.array(frames) - exact).max() <= 0.5 + 1e-3
            assert both["fps"][place] == 25


def test_without_a_grid_each_has_its_own_rows(corpora):
    folder, corpus = corpora["tree"]
    recording = next(r for r in corpus.recordings if abs(float(r.fps) - 30) > 1)
    sample = SeamlessDataset(folder).get_recording(recording.file_id).window(0.5, 1.0, ["smplh:body_pose", "vad"])
    rate = float(recording.fps)
    first, count = round(0.5 * rate), round(rate)
    np.testing.assert_array_equal(sample["smplh:body_pose"], recording.array("smplh:body_pose")[first : first + count])
    assert sample["fps"] == pytest.approx(rate, rel=1e-3) and "vad" not in sample["mask"]
    inside = [v for v in recording.vad() if v["start"] < 1.5 and v["end"] > 0.5]
    assert sample["vad"] == [{"start": v["start"] - 0.5, "end": v["end"] - 0.5} for v in inside]


def test_absent_arrays_are_zero_and_never_valid(made):
    dataset, corpus = made
    other = next(recording for recording in corpus.recordings if recording.vendor != "V00")
    sample = dataset.get_recording(other.file_id).window(0, 1, ["movement"], fps=30)
    assert sample["movement:expression"].shape == (30, 128) and sample["movement:hypernet_features"].shape == (2, 5120)
    for key in sample["mask"]:
        assert not sample["mask"][key].any() and not sample[key].any()
    assert not sample["issues"]


def test_what_is_broken_is_zero_and_masked_and_says_why(broken):
    parts = ["audio", "video", "transcript", "vad", "annotations", "smplh", "boxes_and_keypoints", "movement"]
    for layout in ("tree", "archives"):
        folder, corpus = broken[layout]
        dataset = SeamlessDataset(folder)
        for recording in corpus.recordings:
            if recording.defect in (None, "absent"):
                continue
            found = dataset.get_recording(recording.file_id)
            if not found.duration:  # all of it is a placeholder
                with pytest.raises(InvalidWindow, match=r"ends at 0.000"):
                    found.window(0.2, 1.0, parts)
                continue
            sample = found.window(0.2, 1.0, parts, fps=30, frame_size=(16, 16))
            said = {issue["column"] for issue in sample["issues"]}
            for column, code in recording.expected_issues:
                if code not in FILE_ERRORS:
                    continue
                if column in sample["mask"]:
                    assert not sample["mask"][column].any(), (layout, recording.defect, column)
                    assert not sample[column].any()
                if column == "audio":
                    assert sample["length"]["audio"] == 0
                assert column in said, (layout, recording.defect, column, sample["issues"])


@pytest.mark.parametrize(
    "span", [(-1, 1), (float("nan"), 1), (0, 0), (0, -1), (0, float("inf")), (2.5, 1), ("0", 1), (0, None), (True, 1)]
)
def test_spans_that_cannot_be_are_named(corpora, span):
    interaction = SeamlessDataset(corpora["tree"][0])[0]
    with pytest.raises(InvalidWindow, match=r"start|duration|ends at"):
        interaction.window(*span, "smplh")
    with pytest.raises(InvalidWindow):
        interaction.recordings[0].window(*span, "smplh")


def test_grids_and_sizes_that_cannot_be_are_named(corpora):
    recording = SeamlessDataset(corpora["tree"][0])[0].recordings[0]
    for options in ({"fps": 0}, {"fps": float("nan")}, {"frame_size": (0, 4)}, {"frame_size": (4,)}):
        with pytest.raises(InvalidWindow, match=next(iter(options))):
            recording.window(0, 1, "smplh", **options)
    with pytest.raises(UsageError, match="unknown modality"):
        recording.window(0, 1, "smpl")


# --- files that change, far places ----------------------------------------------------------------


def test_files_that_change_while_in_use_are_masked_and_named(tmp_path):
    folder = tmp_path / "data"
    first = synthesize(folder, interactions=1, seconds=2).recordings[0]
    dataset = SeamlessDataset(folder)
    found, split = dataset.get_recording(first.file_id), folder / first.label / first.split
    assert not found.window(0, 1, ["smplh", "audio"], fps=30)["issues"]
    shutil.rmtree(split / "boxes_and_keypoints" / "box")
    (split / "audio" / f"{first.file_id}.wav").unlink()
    body = split / "smplh" / "body_pose" / f"{first.file_id}.npy"
    with open(body, "r+b") as file:  # the same file, cut while it is open
        file.truncate(body.stat().st_size // 8)
    sample = found.window(1, 1, ["smplh", "audio", "boxes_and_keypoints"], fps=30)
    assert not sample["mask"]["smplh:body_pose"].any() and sample["mask"]["smplh:global_orient"].all()
    assert not sample["mask"]["boxes_and_keypoints:box"].any() and sample["length"]["audio"] == 0
    assert {"column": "smplh:body_pose", "code": "truncated"}.items() <= sample["issues"][0].items()
    assert {("boxes_and_keypoints:box", "missing"), ("audio", "missing")} <= set(pairs(sample))


def test_of_a_far_place_only_the_window_is_fetched(tmp_path):
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=30)
    keys = ["smplh:body_pose", "movement:expression", "boxes_and_keypoints:keypoints"]
    with Bucket(tmp_path / "data") as bucket:
        dataset = SeamlessDataset(bucket.url)
        recording = dataset.get_recording(corpus.recordings[0].file_id)
        before = bucket.bytes_sent
        sample = recording.window(10, 2, keys, fps=30)
        fetched = bucket.bytes_sent - before
    made = corpus.recordings[0]
    own = 0
    for key in keys:
        np.testing.assert_array_equal(sample[key], made.array(key)[300:360])
        own += sample[key].nbytes * np.dtype(made.dtype_in_tree(key)).itemsize // np.dtype(ARRAYS[key].dtype).itemsize
    assert own < fetched < 1.5 * own
