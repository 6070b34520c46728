"""NumPy values nested by group, on which the methods of Dataset and IterableDataset go on working."""

import os
import pickle
import subprocess
import sys

import datasets
import numpy as np
import pyarrow as pa
import pytest
from conftest import WITHOUT_TORCH, assert_same_arrays
from datasets.distributed import split_dataset_by_node

import seamless_interaction
from seamless_interaction import load_dataset
from seamless_interaction.errors import UsageError

MODALITIES = ["audio", "video", "transcript", "vad", "smplh", "movement"]


@pytest.fixture(scope="module", params=["prepared", "streaming"])
def train(request, corpora):
    folder, _ = corpora["tree"]
    return load_dataset("full", "train", data_dir=folder, modalities=MODALITIES, streaming=request.param == "streaming")


@pytest.fixture(scope="module")
def prepared(corpora):
    return load_dataset("full", "train", data_dir=corpora["tree"][0], modalities=MODALITIES)


@pytest.fixture
def corpus(corpora):
    return corpora["tree"][1]


def frames(record):
    return len(record["smplh"]["body_pose"])


def test_values_are_nested_by_group(train, corpus):
    for record in train:
        made = corpus[record["id"]].arrays()
        for key in ("smplh:body_pose", "smplh:is_valid"):
            group, feature = key.split(":")
            np.testing.assert_array_equal(record[group][feature], made[key])
        assert list(record["smplh"]) == [key.split(":")[1] for key in made if key.startswith("smplh:")]
        assert "movement" in record and "smplh" in list(record) and "smplh:body_pose" not in list(record)
        assert "boxes_and_keypoints" not in record


def test_map_adds_a_column(train, corpus):
    for record in train.map(lambda record: {"frames": frames(record)}):
        assert record["frames"] == corpus[record["id"]].array_frames == frames(record)


def test_map_with_a_function_that_returns_its_record(train, corpus):
    def add(record):
        record["mean"] = float(record["smplh"]["global_orient"].mean())
        assert len(record["video"]) == record["num_frames"]  # only looked at, so not written
        return record

    for record in train.map(add):
        made = corpus[record["id"]].arrays()["smplh:global_orient"]
        assert record["mean"] == pytest.approx(made.mean(), rel=1e-5)
        np.testing.assert_array_equal(record["smplh"]["global_orient"], made)


def test_map_in_batches(train, corpus):
    mapped = train.map(
        lambda batch: {"frames": [len(s["body_pose"]) for s in batch["smplh"]]}, batched=True, batch_size=3
    )
    assert [record["frames"] for record in mapped] == [corpus[record["id"]].array_frames for record in train]


def test_what_a_map_changes_within_its_record_is_kept(train, corpus):
    """In a group, in an array, in a list of text: in place, or by an assignment."""

    def change(record):
        record["smplh"]["body_pose"] = record["smplh"]["body_pose"] * 2
        record["smplh"]["translation"][:, 2] = 7
        record["smplh"]["speed"] = np.ones(3, np.float32)
        record["vad"].clear()
        record["transcript"] = record["transcript"].upper()
        _ = record["smplh"]["global_orient"], record["segments"], record["audio"]
        return record

    for record in train.map(change):
        recording = corpus[record["id"]]
        made = recording.arrays()
        np.testing.assert_array_equal(record["smplh"]["body_pose"], made["smplh:body_pose"] * 2)
        np.testing.assert_array_equal(record["smplh"]["translation"][:, 2], 7)
        np.testing.assert_array_equal(record["smplh"]["global_orient"], made["smplh:global_orient"])
        assert list(record["smplh"]["speed"]) == [1, 1, 1] and record["vad"] == []
        assert record["transcript"].isupper() and record["audio"]["sampling_rate"] == 48_000


def test_what_a_map_of_batches_changes_within_them_is_kept(train, corpus):
    def change(batch):
        for smplh in batch["smplh"]:
            smplh["body_pose"] = smplh["body_pose"] * 2
            smplh["translation"][:] = 7
        return batch

    for record in train.map(change, batched=True, batch_size=3):
        made = corpus[record["id"]].arrays()
        np.testing.assert_array_equal(record["smplh"]["body_pose"], made["smplh:body_pose"] * 2)
        assert (record["smplh"]["translation"] == 7).all() and not (made["smplh:translation"] == 7).any()


def test_audio_follows_its_feature(train, corpus):
    slow = train.cast_column("audio", datasets.Audio(sampling_rate=16_000))
    for stream in (slow, slow.take(2), slow.filter(lambda record: record["audio"]["sampling_rate"] == 16_000)):
        record = next(iter(stream))
        audio, samples = record["audio"], corpus[record["id"]].samples()
        assert audio["sampling_rate"] == 16_000 and audio["array"].shape == (-(-len(samples) // 3),)
        np.testing.assert_array_equal(audio.read(0.5, 0.6), audio["array"][8000:9600])
    (mapped,) = slow.take(1).map(lambda record: {"n": len(record["audio"]["array"])})
    assert mapped["n"] == len(audio["array"])
    raw = next(iter(train.cast_column("audio", datasets.Audio(decode=False))))["audio"]
    assert raw["bytes"] is None and raw["path"].endswith(f"{record['id']}.wav")
    renamed = next(iter(train.rename_column("audio", "sound")))
    assert renamed["sound"]["sampling_rate"] == 48_000 and "audio" not in renamed


def test_what_the_view_does_not_do_is_refused_by_name(prepared):
    name, value = ("num_channels", 2) if hasattr(datasets.Audio(), "num_channels") else ("mono", False)
    stereo = prepared.cast_column("audio", datasets.Audio(**{name: value}))
    with pytest.raises(UsageError, match=name):
        stereo[0]["audio"]


def test_samples_of_a_maps_own_making_are_what_it_made(corpora):
    stream = load_dataset("full", "train", data_dir=corpora["tree"][0], modalities=["audio"], streaming=True)
    made = stream.map(lambda r: {"audio": {"array": r["audio"]["array"][::3], "sampling_rate": 16_000}})
    record = next(iter(made))
    assert record["audio"]["sampling_rate"] == 16_000 and record["audio"]["array"].ndim == 1


def test_audio_that_a_record_holds_needs_no_path(corpora):
    """`datasets` writes samples of a map into the record, as a file without a name."""
    wav = next(corpora["tree"][0].rglob("*.wav")).read_bytes()
    features = datasets.Features({"audio": datasets.Audio(decode=False, sampling_rate=48_000)})
    table = pa.table({"audio": [{"bytes": wav, "path": None}]}, features.arrow_schema)
    held = datasets.Dataset(table).with_format("seamless")
    assert held[0]["audio"]["sampling_rate"] == 48_000 and len(held[0]["audio"]["array"])


def test_filter_gets_records_and_keeps_their_values(train, corpus):
    kept = list(train.filter(lambda record: len(record["movement"]["expression"]) > 0))
    assert [record["id"] for record in kept] == [r["id"] for r in train if r["vendor_id"] == "V00"]
    for record in kept:
        assert_same_arrays(record, corpus[record["id"]], ["smplh:body_pose", "movement:FAUValue"])
        assert record["video"] is not None


def test_filter_by_columns_indices_and_batches(train):
    ids = [record["id"] for record in train]
    by_column = train.filter(lambda id, vendor: vendor == "V03", input_columns=["id", "vendor_id"])
    assert [record["id"] for record in by_column] == [id for id in ids if id.startswith("V03")]
    by_index = train.filter(lambda record, index: index % 2 == 1, with_indices=True)
    assert [record["id"] for record in by_index] == ids[1::2]
    in_batches = train.filter(lambda batch: [id.startswith("V00") for id in batch["id"]], batched=True, batch_size=4)
    assert [record["id"] for record in in_batches] == [id for id in ids if id.startswith("V00")]


def test_columns_are_chosen_and_dropped(train, corpus):
    for record in train.select_columns(["id", "smplh:body_pose"]):
        assert list(record) == ["id", "smplh"] and list(record["smplh"]) == ["body_pose"]
    for record in train.remove_columns(["smplh:body_pose", "audio"]):
        assert "audio" not in record and "body_pose" not in record["smplh"]
        assert_same_arrays(record, corpus[record["id"]], ["smplh:translation"])


def test_order_and_part(train):
    ids = [record["id"] for record in train]
    assert sorted(record["id"] for record in train.shuffle(seed=2)) == sorted(ids)
    assert [record["id"] for record in train.take(3)] == ids[:3]
    if not datasets.__version__.startswith("4."):  # whose own skip() loses count on any stream of tables
        assert [record["id"] for record in train.skip(3)] == ids[3:]


def test_methods_follow_each_other(train):
    chain = train.shuffle(seed=3).filter(lambda record: frames(record) > 0).take(4).map(lambda r: {"n": frames(r)})
    for record in chain:
        assert record["n"] == len(record["smplh"]["translation"])
        assert isinstance(record["smplh"]["translation"], np.ndarray)
    assert len(list(chain)) == 4


def test_mixed_with_another(train, corpus):
    for mix in (datasets.concatenate_datasets, datasets.interleave_datasets):
        # `datasets` takes the format off a mix of streams.
        for record in mix([train, train]).with_format("seamless"):
            assert_same_arrays(record, corpus[record["id"]], ["smplh:body_pose", "smplh:is_valid", "movement:is_valid"])
            assert repr(record["video"]).startswith("Video(")


def test_dealt_out_unevenly_values_stay_nested(train, corpus):
    for record in split_dataset_by_node(train, 1, 7):
        assert_same_arrays(record, corpus[record["id"]], ["smplh:body_pose"])


def test_media_open_when_used(train, corpus):
    record = next(iter(train))
    recording = corpus[record["id"]]
    assert repr(record["audio"]).startswith("Audio(") and repr(record["video"]).startswith("Video(")
    assert record["audio"]["sampling_rate"] == 48_000
    np.testing.assert_array_equal(record["audio"]["array"], recording.samples().astype(np.float32) / 2**15)
    assert len(record["video"]) == recording.num_frames


def test_media_are_not_touched(corpora, tmp_path, monkeypatch):
    """Every record of a prepared dataset is read where the media are gone."""
    from seamless_interaction.places import ranges

    prepared = load_dataset("full", "train", data_dir=corpora["tree"][0], modalities=MODALITIES)
    monkeypatch.setattr(ranges, "open_file", None)
    for record in prepared:
        assert record["video"] is not None and record["audio"] is not None and str(record)


def test_text_is_plain_python(train, corpus):
    for record in train:
        assert record["transcript"] == " ".join(s["transcript"].strip() for s in corpus[record["id"]].transcript())
        assert record["vad"] == corpus[record["id"]].vad()


def test_arrays_may_be_changed_in_place(train, corpus):
    """Arrow's memory may be a map of a file: who writes there, as torch does, ends the process."""
    for _ in range(2):
        record = next(iter(train))
        assert_same_arrays(record, corpus[record["id"]], ["smplh:body_pose", "smplh:is_valid"])
        record["smplh"]["body_pose"][...] = record["smplh"]["is_valid"][...] = 0
        assert not record["smplh"]["body_pose"].any() and not record["smplh"]["is_valid"].any()


# --- prepared only --------------------------------------------------------------------------------


def test_single_columns_slices_and_lists(prepared, corpus):
    first = corpus[prepared[0]["id"]].arrays()["smplh:body_pose"]
    np.testing.assert_array_equal(prepared["smplh:body_pose"][0], first)
    np.testing.assert_array_equal(prepared[:2]["smplh"][0]["body_pose"], first)
    np.testing.assert_array_equal(prepared[[1, 0]]["smplh:body_pose"][1], first)
    np.testing.assert_array_equal(prepared[0]["smplh:body_pose"], first)
    np.testing.assert_array_equal(prepared.select([1, 0])[1]["smplh"]["body_pose"], first)


def test_a_record_prints_shapes_and_not_numbers(prepared):
    text = str(prepared[0])
    assert "'body_pose': float32[" in text and "Video(" in text and len(text) < 5000


def test_a_group_cannot_be_set(prepared):
    record = prepared[0]
    with pytest.raises(UsageError, match="smplh:mine"):
        record["smplh"] = 1
    with pytest.raises(KeyError):
        record["nothing"]


def test_map_keeps_the_columns_as_they_were(prepared):
    mapped = prepared.map(lambda record: {"frames": frames(record)})
    assert mapped.features == datasets.Features({**prepared.features, "frames": datasets.Value("int64")})
    for name in prepared.column_names:
        assert mapped.data[name].to_pylist() == prepared.data[name].to_pylist()


def test_what_map_makes_of_arrays_is_numpy_again(prepared):
    doubled = prepared.map(lambda record: {"speed": np.diff(record["smplh"]["translation"][:, 0])})
    for record in doubled:
        np.testing.assert_array_equal(record["speed"], np.diff(record["smplh"]["translation"][:, 0]))


def test_prepared_data_become_a_stream(prepared, corpus):
    stream = prepared.to_iterable_dataset(num_shards=3).shuffle(seed=1, buffer_size=4)
    for record in stream.map(lambda record: {"frames": frames(record)}):
        assert_same_arrays(record, corpus[record["id"]], ["smplh:body_pose", "smplh:is_valid"])
        assert record["frames"] == frames(record) and record["audio"]["sampling_rate"] == 48_000
    record = next(iter(stream.filter(lambda record: record["vendor_id"] == "V00").rename_column("audio", "sound")))
    assert record["vendor_id"] == "V00" and record["sound"]["sampling_rate"] == 48_000
    few = prepared.select([1, 0]).to_iterable_dataset()
    assert [record["id"] for record in few] == [prepared[1]["id"], prepared[0]["id"]]
    assert "smplh:body_pose" in next(iter(prepared.with_format(None).to_iterable_dataset()))


def test_saved_and_loaded_again(prepared, corpus, tmp_path):
    prepared.save_to_disk(str(tmp_path / "saved"))
    loaded = datasets.load_from_disk(str(tmp_path / "saved")).with_format("seamless")
    assert_same_arrays(loaded[0], corpus[loaded[0]["id"]], ["smplh:body_pose"])


UNPICKLE = """
import os, pickle, sys
import datasets  # once for all, since it takes seconds; each pickle in a child, which has nothing of ours
for path in sys.argv[1:]:
    child = os.fork()
    if not child:
        assert "seamless_interaction" not in sys.modules
        print(next(iter(pickle.load(open(path, "rb"))))["smplh"]["body_pose"].shape)
        break
    assert os.waitpid(child, 0)[1] == 0
"""


def test_the_module_that_readme_names_registers_the_view():
    import seamless_interaction.view

    assert seamless_interaction.view.NAME == "seamless"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_process_that_never_imported_us_unpickles_it(corpora, prepared, tmp_path, monkeypatch):
    """As a worker that is spawned does."""
    monkeypatch.setattr(datasets.config, "TORCH_AVAILABLE", False)  # streams have a tensor with it, slow to import
    stream = load_dataset("full", "train", data_dir=corpora["tree"][0], modalities=MODALITIES, streaming=True)
    paths = []
    for dataset in (prepared, stream.map()):
        paths.append(tmp_path / f"{len(paths)}.pickle")
        paths[-1].write_bytes(pickle.dumps(dataset))
    root = os.path.dirname(seamless_interaction.__file__)
    command = [sys.executable, "-c", UNPICKLE, *map(str, paths)]
    run = subprocess.run(command, cwd=root, env=WITHOUT_TORCH, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("21, 3)") == 2


def test_a_stream_goes_on_from_its_state_after_a_filter(corpora):
    stream = load_dataset("full", "train", data_dir=corpora["tree"][0], modalities=["vad"], streaming=True)
    stream = stream.filter(lambda record: record["vendor_id"] != "V01")
    ids = [record["id"] for record in stream]
    for number, _ in enumerate(stream, 1):
        if number == 3:
            state = stream.state_dict()
            break
    stream.load_state_dict(state)
    assert [record["id"] for record in stream] == ids[3:]
