"""A published repository through a Hub: what `datasets` alone loads, and what this package adds. Real clients."""

import json
import pickle
import shutil
import subprocess
import sys
from functools import partial
from itertools import islice

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LAYOUTS, WITHOUT_TORCH, assert_same_arrays
from servers import Bucket, Hub, use_hub

from seamless_interaction import load_dataset, record_features
from seamless_interaction.errors import BrokenTable, UnknownSplit, UnknownSubset, UnsafeFile, UsageError
from seamless_interaction.places.place import Place
from seamless_interaction.places.ranges import member_path
from seamless_interaction.publishing import Selection, plan_shards, publish, reading

REPO = "seamless/interaction"
URL = f"hf://datasets/{REPO}"


@pytest.fixture(scope="module")
def bucket(corpora):
    """Where video_url leads."""
    with Bucket(corpora["tree"][0]) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def folder(corpora, bucket, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "hub"
    report = publish(plan_shards(Selection("10GB"), corpora["bundles"][0], media_url=bucket.url), folder)
    assert report.exit_code == 0
    return folder


@pytest.fixture
def hub(folder):
    with Hub(folder, REPO) as hub, use_hub(hub):
        yield hub


def recordings(corpora, **where):
    """By id, those that are so."""
    chosen = corpora["bundles"][1].recordings
    for name, value in where.items():
        chosen = [recording for recording in chosen if getattr(recording, name) == value]
    return {recording.file_id: recording for recording in chosen}


# --- `datasets` alone -----------------------------------------------------------------------------

# It ends at once: under load, threads of Arrow that `datasets` has started were once seen to abort an exit of Python.
ALONE = """
import json, os, sys
from datasets import load_dataset

sizes = {name: load_dataset("seamless/interaction", *name) for name in [(), ("recordings",), ("10GB",)]}
stream = load_dataset(
    "seamless/interaction", "10GB-naturalistic", split="dev", streaming=True, columns=["id", "transcript"]
)
first = sizes["10GB",]["train"].with_format("numpy")[0]
assert "seamless_interaction" not in sys.modules
print(json.dumps({
    "rows": {"-".join(name): {split: len(ds) for split, ds in sizes[name].items()} for name in sizes},
    "stream": list(stream),
    "first": [first["id"], first["smplh:body_pose"].shape, str(first["smplh:body_pose"].dtype)],
    "audio": [first["audio"]["path"], first["audio"]["bytes"][:4].decode()],
    "features": str(sizes["10GB",]["train"].features["movement:alignment_translation"]),
}), flush=True)
os._exit(0)
"""


def test_datasets_alone_loads_every_kind_of_config(folder, corpora, tmp_path):
    """In a process of its own that has no part of this package, from a Hub that it is told of as users would.

    Takes 5 s: its imports.
    """
    with Hub(folder, REPO) as hub:
        env = {
            **WITHOUT_TORCH,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
            "HF_DATASETS_CACHE": str(tmp_path / "home" / "datasets"),
        }
        run = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    by_split = {split: len(recordings(corpora, split=split)) for split in ("train", "dev", "test")}
    assert found["rows"] == dict.fromkeys(["", "recordings", "10GB"], by_split)
    dev = recordings(corpora, split="dev", label="naturalistic")
    assert [row["id"] for row in found["stream"]] == sorted(dev)
    assert all(set(row) == {"id", "transcript"} for row in found["stream"])
    id, shape, dtype = found["first"]
    assert (shape, dtype) == ([recordings(corpora)[id].array_frames, 21, 3], "float32")
    assert found["audio"] == [f"{id}.flac", "fLaC"]
    assert found["features"].startswith("Array3D")


@pytest.mark.parametrize("column", ["audio", "video", "video_url"])
def test_media_play_where_datasets_decodes(folder, corpora, bucket, column):
    """FLAC from the row, a video of the repository, and one of the bucket by its address."""
    try:
        if not datasets.__version__.startswith("3."):
            import torchcodec.decoders  # noqa: F401  decodes, where FFmpeg is installed
        elif column != "audio":
            pytest.skip("datasets 3.6 decodes videos with an old torchvision")
        else:
            import librosa  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"datasets cannot decode here: {error}"[:200])
    kind = datasets.Audio() if column == "audio" else datasets.Video()
    with Hub(folder, REPO) as hub, use_hub(hub):
        dataset = datasets.load_dataset(REPO, "10GB", split="train", streaming=True, columns=["id", column])
        bucket.clear()
        row = next(iter(dataset.cast_column(column, kind)))
        recording = recordings(corpora)[row["id"]]
        if column == "audio":
            samples = row["audio"]["array"]
            made = recording.samples() / 2**15
            np.testing.assert_allclose(samples, made, rtol=0, atol=2**-17)  # whatever decodes here
        else:
            frame = row[column][0]
            assert frame.shape == (3, *recording.raster[::-1])
            assert (column == "video_url") == (bucket.bytes_sent > 0)


# --- this package ---------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False])
def test_records_are_the_builders(hub, corpora, streaming):
    found = load_dataset(split="train", data_dir=URL, streaming=streaming)
    known = recordings(corpora, split="train")
    seen = set()
    for record in found:
        recording = known[record["id"]]
        assert_same_arrays(record, recording)
        np.testing.assert_array_equal(record["audio"]["array"], recording.samples() / np.float32(32768))
        assert len(record["video"]) == recording.num_frames
        seen.add(record["id"])
    assert seen == set(known)
    assert record["video"][0].shape == (*recording.raster[::-1], 3)  # by ranges, from the Hub


@pytest.mark.parametrize("streaming", [True, False])
def test_videos_of_a_folder_that_was_not_pushed_open(folder, corpora, streaming):
    found = load_dataset(split="train", data_dir=folder, streaming=streaming, modalities="video")
    for record in islice(found, 3):
        recording = recordings(corpora)[record["id"]]
        video = pickle.loads(pickle.dumps(record["video"]))
        assert len(video) == recording.num_frames and video[0].shape == (*recording.raster[::-1], 3)
    assert record["video"].path.startswith(str(folder))


def test_a_media_column_without_media_is_null(folder, corpora, tmp_path):
    planned = plan_shards(Selection("10GB", vendor="V02"), corpora["tree"][0], audio="url", video="url")
    publish(planned, tmp_path / "hub")
    for record in load_dataset(split="train", data_dir=tmp_path / "hub"):
        assert record["audio"] is None and record["video"] is None
        assert record["video_url"].endswith(f"/naturalistic/train/video/{record['id']}.mp4")


def test_of_some_modalities_those_are_columns_and_others_are_named(corpora, tmp_path):
    selection = Selection("10GB", vendor="V02", modalities=("vad", "smplh:translation"))
    hub = tmp_path / "a [hub]*"  # which `datasets` would take for a pattern
    publish(plan_shards(selection, corpora["tree"][0]), hub)
    for streaming in (True, False):
        load = partial(load_dataset, split="train", data_dir=hub, streaming=streaming)
        everything, body = next(iter(load())), next(iter(load(modalities=["smplh"])))
        assert everything["vad"] is not None and "audio" not in everything and "vad" not in body
        assert list(body["smplh"]) == list(everything["smplh"]) == ["translation"]
        with pytest.raises(UsageError, match=r"published without audio\. Ask for vad, smplh\."):
            load(modalities=["vad", "audio"])


def test_an_embedded_video_plays(corpora, tmp_path):
    planned = plan_shards(Selection("10GB", vendor="V02"), corpora["tree"][0], audio="wav", video="embed")
    publish(planned, tmp_path / "hub")
    for record in load_dataset(split="train", data_dir=tmp_path / "hub"):
        recording = recordings(corpora)[record["id"]]
        assert len(record["video"]) == recording.num_frames and record["video"].path == f"{record['id']}.mp4"
        assert record["audio"]["path"].endswith(".wav")
        np.testing.assert_array_equal(record["audio"]["array"], recording.samples() / np.float32(32768))


@pytest.mark.parametrize(
    "criteria",
    [
        {"vendor": "V01"},
        {"annotated": "3P"},
        {"movement": True},
        {"session": "V00_S0101"},
        {"sample": 2, "seed": 3},
        {"max_bytes": 700_000_000},
        {"file_ids": ["V00_S0101_I00000081_P0202"], "single": True},
    ],
    ids=lambda criteria: next(iter(criteria)),
)
def test_every_criterion_selects_what_it_selects_of_raw_data(folder, corpora, criteria):
    """The file list is the source's, so the choice is the same."""
    raw = load_dataset("full", "train", data_dir=corpora["tree"][0], streaming=True, modalities=[], **criteria)
    ours = load_dataset(split="train", data_dir=folder, streaming=True, modalities=[], **criteria)
    ids = [record["id"] for record in ours]
    assert sorted(ids) == sorted(record["id"] for record in raw) and ids
    assert sorted(load_dataset(split="train", data_dir=folder, modalities=[], **criteria)["id"]) == sorted(ids)


def test_only_what_is_asked_for_is_a_column(hub):
    stream = load_dataset("10GB", "dev", data_dir=URL, streaming=True, modalities=["vad", "smplh:translation"])
    assert {"vad", "smplh", "id", "issues"} <= set(next(iter(stream))) and "audio" not in next(iter(stream))


def test_a_stream_reads_little_more_than_the_columns_it_wants(hub, folder, corpora):
    for modalities in ("boxes_and_keypoints", "audio"):
        hub.clear()
        hub.storage.clear()
        stream = load_dataset("10GB", "train", data_dir=URL, streaming=True, modalities=modalities)
        assert sum(1 for _ in stream) == len(recordings(corpora, split="train"))
        columns = {*record_features(modalities), "audio_url"}
        sent = sum(one.sent_bytes for one in (*hub.requests, *hub.storage.requests) if ".parquet" in one.path)
        own = footers = 0
        for path in (folder / "data" / "10GB").glob("*/train-*"):
            metadata = pq.read_metadata(path)
            footers += metadata.serialized_size
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                chunks = map(group.column, range(group.num_columns))
                own += sum(one.total_compressed_size for one in chunks if one.path_in_schema.split(".")[0] in columns)
        # Of each file, Arrow reads the last 64 KiB first: more than all else, of such small files.
        assert own < sent < 1.05 * own + footers + 2 * (1 << 16)


def test_without_a_size_a_folder_gives_all_and_the_hub_the_smallest(hub, folder):
    configs = dict.fromkeys(["recordings", "10GB", "10GB-improvised", "100GB", "100GB-improvised"])
    assert reading._default(configs, Selection(), Place(folder)) == "100GB"
    assert reading._default(configs, Selection(), Place(URL)) == "10GB"
    assert reading._default(configs, Selection(sample=3), Place(URL)) == "100GB"
    names = {
        record["label"] for record in load_dataset(split="train", label="improvised", data_dir=folder, modalities=[])
    }
    assert names == {"improvised"}


def test_what_it_does_not_have_is_named(hub):
    with pytest.raises(UnknownSubset, match=r"100GB.*recordings, 10GB"):
        load_dataset("100GB", data_dir=URL)
    with pytest.raises(UnknownSplit, match="trian"):
        load_dataset(split="trian", data_dir=URL, streaming=True)


def test_places_that_datasets_does_not_load_from_are_refused(folder):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in ("README.md", "manifest.parquet", "data/10GB/x.parquet"):
        memory.pipe(f"/published/{path}", (folder / path).read_bytes() if path != "data/10GB/x.parquet" else b"")
    with pytest.raises(UsageError, match="Copy it first"):
        load_dataset(data_dir="memory://published")


def test_raw_data_are_no_published_repository(corpora):
    from seamless_interaction.places.place import Place
    from seamless_interaction.publishing.reading import is_published

    assert not any(is_published(Place(corpora[layout][0])) for layout in LAYOUTS)


@pytest.fixture(scope="module")
def few(corpora, tmp_path_factory):
    """A repository of few columns, of which a test may break a copy."""
    folder = tmp_path_factory.mktemp("few") / "hub"
    publish(plan_shards(Selection("10GB", modalities=("vad", "smplh:translation")), corpora["bundles"][0]), folder)
    return folder


@pytest.mark.parametrize("damage", ["page", "cut", "gone"])
def test_damaged_rows_and_missing_files_of_a_folder_are_named(few, corpora, tmp_path, damage):
    folder = shutil.copytree(few, tmp_path / "hub")
    path = next(folder.glob("data/10GB/*/test-*.parquet"))
    content = bytearray(path.read_bytes())
    if damage == "page":  # of the right length, so that it shows when its rows are read
        at = pq.read_metadata(path).row_group(0).column(0).data_page_offset
        content[at : at + 30] = b"\xff" * 30
    path.write_bytes(content[: -20 if damage == "cut" else None])
    if damage == "gone":
        path.unlink()
    told = {"page": "damaged rows", "cut": "bytes, where the manifest has", "gone": "not there, and '10GB' has rows"}
    options = {"data_dir": folder, "cache_dir": str(tmp_path / "cache")}
    for streaming in (True, False):
        with pytest.raises(BrokenTable, match=f"(?s){told[damage]}.* Fetch the repository again"):
            list(load_dataset("10GB", split="test", streaming=streaming, **options))
    if damage == "gone":
        dev = load_dataset("10GB", split="dev", streaming=True, **options)
        assert next(iter(dev))["id"] in recordings(corpora, split="dev"), "it was of no other split"
        (folder / "manifest.parquet").write_bytes(b"PAR1")
        with pytest.raises(BrokenTable, match=r"manifest\.parquet: does not tell the files"):
            load_dataset("10GB", split="dev", streaming=True, **options)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_row_opens_no_file_but_a_video_of_its_repository(folder, tmp_path, streaming):
    hub, outside = shutil.copytree(folder, tmp_path / "hub"), tmp_path / "outside.wav"
    outside.write_bytes(b"precious")
    named = [str(outside), f"file://{outside}", member_path("a.wav", str(outside), 0, 8), "../outside.wav"]
    named += [f"hf://datasets/me/other@main/{path}" for path in ("secret.mp4", "video/V00/../x.mp4")]
    shard, *_ = sorted(hub.glob("data/*/*/train-*.parquet"))
    table = pq.read_table(shard).slice(0, 1)
    rows = pa.concat_tables([table] * len(named))
    for name in ("audio", "video"):
        media = pa.StructArray.from_arrays([pa.nulls(len(named), pa.binary()), pa.array(named)], ["bytes", "path"])
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), media)
    pq.write_table(rows, shard)
    manifest = pq.read_table(hub / "manifest.parquet").to_pylist()
    names = {**{row["file"]: row["bytes"] for row in manifest}, shard.relative_to(hub).as_posix(): shard.stat().st_size}
    pq.write_table(pa.table({"file": list(names), "bytes": list(names.values())}), hub / "manifest.parquet")
    one = {"file_ids": table["id"].to_pylist(), "single": True, "modalities": ["audio", "video"]}
    found = list(load_dataset(split="train", data_dir=hub, streaming=streaming, cache_dir=str(tmp_path), **one))
    for record, path in zip(found, named, strict=True):
        for use in (lambda: record["audio"].header, lambda: record["audio"]["array"], lambda: len(record["video"])):  # noqa: B023
            with pytest.raises(UnsafeFile) as raised:
                use()
            assert raised.value.path == path
