"""A published repository: its rows, sizes, media and table of recordings; stopped, gone on with, refused."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from conftest import WITHOUT_TORCH, assert_same_arrays
from hypothesis import given
from hypothesis import strategies as st
from servers import Bucket
from typer.testing import CliRunner

from seamless_interaction import ARRAYS, HONESTY, IDENTITY, LABELS, MODALITIES, SPLITS, TABLES, TIME, load_dataset
from seamless_interaction.cli import app
from seamless_interaction.download import download
from seamless_interaction.errors import (
    BadFile,
    FolderBusy,
    IncompletePublication,
    NotEnoughSpace,
    TargetError,
    UnknownName,
    UsageError,
)
from seamless_interaction.places.write import locked
from seamless_interaction.publishing import Selection, ShardPlan, convert, finish, parquet, plan, plan_shards, publish
from seamless_interaction.publishing.rows import SUMMARY, recording_features, shard_features, video_file, video_path
from seamless_interaction.selection import sizes as subsets
from seamless_interaction.selection.expected import Limits
from seamless_interaction.source.layout import tree_path
from seamless_interaction.source.tables import write_filelist
from seamless_interaction.synthetic.writing import synthesize

COLUMNS = tuple(column for group in MODALITIES.values() for column in group)
ORDINARY = {"absent", "undisclosed", "no_partner"}
MEDIA = ("audio", "video", "audio_url", "video_url")
RUN = CliRunner()


def files(folder):
    """Path -> bytes of what is published."""
    found = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path for path in found}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".publish/")}


def but_code(found):
    """The same, but the digest of the code in the manifest: whoever works on it may change it meanwhile."""
    table = pq.read_table(io.BytesIO(found["manifest.parquet"])).drop_columns(["code"])
    return {**found, "manifest.parquet": table.to_pylist()}


def card(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def patterns(folder):
    """Config -> split -> files that its globs name."""
    names = list(files(folder))
    return {
        config["config_name"]: {
            one["split"]: sorted(name for name in names for glob in one["path"] if fnmatch(name, glob))
            for one in config["data_files"]
        }
        for config in card(folder)["configs"]
    }


def load(folder, config, cache, **kwargs):
    """With `datasets` alone."""
    return datasets.load_dataset(str(folder), config, cache_dir=str(cache), **kwargs)


def ids(folder, paths):
    return [id for path in paths for id in pq.read_table(folder / path, columns=["id"])["id"].to_pylist()]


def in_all(folder, splits):
    return {id for paths in splits.values() for id in ids(folder, paths)}


def manifest(folder):
    return {row["file"]: row for row in pq.read_table(folder / "manifest.parquet").to_pylist()}


def flip(path):
    """Damage without a trace in the file's size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def limited(monkeypatch):
    """10GB has 8 recordings at most, 100GB has 16."""
    limit(monkeypatch)


def limit(patch):
    numbers = {"10GB": Limits(None, 8), "100GB": Limits(None, 16)}
    patch.setattr(subsets, "limits", lambda subset: numbers.get(subset, Limits(None, None)))


@pytest.fixture(scope="module")
def published(corpora, tmp_path_factory):
    """Layout -> (folder, plan, report) of everything that a corpus has: three sizes, the smallest with its videos.

    Of bundles, test_archives.py finds that they are read as archives are.
    """
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        limit(patch)
        for layout in ("tree", "archives"):
            output = tmp_path_factory.mktemp("published") / layout
            planned = plan_shards(Selection("full"), corpora[layout][0])
            found[layout] = output, planned, publish(planned, output)
    return found


@pytest.fixture(scope="module")
def sized(published):
    return published["tree"]


# --- rows -----------------------------------------------------------------------------------------


def by_id(splits):
    """File id -> the record, as an Arrow table of one row."""
    tables = [part.with_format("arrow")[:] for part in splits.values()]
    return {id: table.slice(at, 1) for table in tables for at, id in enumerate(table["id"].to_pylist())}


@pytest.fixture(scope="module")
def built(corpora, tmp_path_factory):
    """The builder's records by id."""
    return by_id(load_dataset("full", data_dir=corpora["tree"][0], cache_dir=str(tmp_path_factory.mktemp("built"))))


def test_rows_are_the_builders_records(corpora, sized, built, tmp_path):
    """Takes 5 s, with what it compares: two layouts are published, and all is prepared once by the builder."""
    folder, _, _ = sized
    corpus = corpora["tree"][1]
    loaded = load(folder, "full", tmp_path)
    assert set(loaded) == set(SPLITS)
    for part in loaded.values():
        assert part.features == shard_features(COLUMNS)
    rows = by_id(loaded)
    assert rows.keys() == built.keys() and len(rows) == sum(len(part) for part in loaded.values())
    for id, row in rows.items():
        expected = built[id]
        for name in set(expected.column_names) - set(MEDIA) - {"issues"}:
            assert row[name].equals(expected[name]), f"{id} {name}"
        found, issues = (table["issues"][0].as_py() for table in (row, expected))
        assert [(i["column"], i["code"]) for i in found] == [(i["column"], i["code"]) for i in issues]
        assert row["checked"][0].as_py() == list(COLUMNS)
    view = [record for part in loaded.values() for record in part.with_format("seamless")]
    for record in view:
        assert_same_arrays(record, corpus[record["id"]])
    plain = loaded["train"].with_format("numpy")
    at = next(at for at, vendor in enumerate(loaded["train"]["vendor_id"]) if vendor == "V03")
    assert plain[at]["movement:FAUValue"].shape == (0, 24)
    assert plain[at]["smplh:body_pose"].shape[1:] == (21, 3) and plain[at]["smplh:body_pose"].dtype == np.float32


def test_audio_is_the_wavs_and_video_is_the_mp4(corpora, sized):
    folder, planned, _ = sized
    tree, corpus = corpora["tree"]
    for shard in planned.shards:
        columns = ["id", "label", "audio", "video", "audio_url", "video_url"]
        for row in pq.read_table(folder / shard.path, columns=columns).to_pylist():
            recording = corpus[row["id"]]
            wav, mp4 = (
                tree / tree_path(recording.label, recording.split, part, row["id"]) for part in ("audio", "video")
            )
            expected, rate = soundfile.read(wav, dtype="float32")
            assert row["audio"]["path"] == f"{row['id']}.flac" and rate == 48000
            decoded, its_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
            assert its_rate == rate and decoded.tobytes() == expected.tobytes()
            hosted = "/10GB/" in shard.path
            address = {"bytes": None, "path": video_path("seamless/interaction", row["id"])}
            assert row["video"] == (address if hosted else None)
            assert not hosted or (folder / video_file(row["id"])).read_bytes() == mp4.read_bytes()
            for part, file in (("audio", wav), ("video", mp4)):
                base = "https://dl.fbaipublicfiles.com/seamless_interaction/"
                assert row[f"{part}_url"] == base + file.relative_to(tree).as_posix()


def test_files_and_archives_give_the_same_content(published):
    """All values of all rows, and the videos."""
    contents = []
    for folder, planned, report in published.values():
        assert report.exit_code == 0 and report.is_whole and report.rows == 23 and not report.skipped
        listed = manifest(folder)
        videos = {name: row["sha256"] for name, row in listed.items() if name.startswith("video/")}
        shards = {shard.path: listed[shard.path]["content"] for shard in planned.shards}
        assert len(videos) == planned.videos == 8 and None not in shards.values()
        assert len(set(shards.values())) == len(shards) > 6
        contents.append(videos | shards)
    assert contents[0] == contents[1]


def test_a_stream_gives_the_same_rows(published, tmp_path):
    folder, _, _ = published["tree"]
    columns = ["id", "transcript", "smplh:is_valid"]
    stream = load(folder, "full", tmp_path, split="dev", streaming=True).with_format("arrow")
    rows = [table.select(columns).to_pylist()[0] for table in stream]
    tables = [pq.read_table(folder / path, columns=columns) for path in patterns(folder)["full"]["dev"]]
    assert rows == pa.concat_tables(tables).to_pylist()


def test_text_and_one_array_alone(corpora, tmp_path):
    folder, corpus = corpora["bundles"]
    planned = plan_shards(Selection("full", modalities=("transcript", "smplh:is_valid")), folder)
    assert publish(planned, tmp_path / "hub").exit_code == 0
    assert not (tmp_path / "hub" / "video").exists()
    found = load(tmp_path / "hub", "full", tmp_path / "cache", split="train")
    wanted = ["transcript", "segments", "smplh:is_valid"]
    assert set(found.column_names) == {*IDENTITY, *TIME, *HONESTY, *wanted}
    for row in found:
        assert row["smplh:is_valid"] == corpus[row["id"]].array("smplh:is_valid").tolist()
        assert row["checked"] == wanted and row["duration"] is None


# --- what a repository is -------------------------------------------------------------------------


def test_the_manifest_names_every_file_with_its_digest(sized):
    folder, planned, report = sized
    listed, here = manifest(folder), files(folder)
    assert set(listed) == set(here) - {"manifest.parquet"}
    for name, content in here.items():
        if name != "manifest.parquet":
            assert listed[name]["bytes"] == len(content)
            assert listed[name]["sha256"] == hashlib.sha256(content).hexdigest()
    shards = [listed[shard.path] for shard in planned.shards]
    assert sum(shard["rows"] for shard in shards) == report.rows == 23
    assert sum(shard["bytes"] for shard in shards) == report.bytes
    assert all(shard["input_files"] > shard["rows"] and shard["inputs"] for shard in shards)
    assert {*TABLES, "LICENSE", "README.md", "dataset_infos.json", "croissant.json"} < set(listed)


def test_others_can_read_what_is_published(sized):
    modes = {oct(path.stat().st_mode & 0o777) for path in sized[0].rglob("*") if ".publish" not in path.parts}
    mask = os.umask(0)
    os.umask(mask)
    assert modes == {oct(0o666 & ~mask), oct(0o777 & ~mask)}


def test_the_card_counts_what_there_is(sized):
    folder, _, _ = sized
    configs = patterns(folder)
    infos = {info["config_name"]: info for info in card(folder)["dataset_info"]}
    assert infos.keys() == configs.keys()
    for name, info in infos.items():
        assert {split["name"]: split["num_examples"] for split in info["splits"]} == {
            split: sum(pq.read_metadata(folder / path).num_rows for path in paths)
            for split, paths in configs[name].items()
        }
        paths = {path for part in configs[name].values() for path in part}
        assert info["download_size"] == sum((folder / path).stat().st_size for path in paths)


# --- sizes ----------------------------------------------------------------------------------------


def test_sizes_nest_and_every_file_lies_once(sized):
    folder, planned, _ = sized
    assert planned.sizes == ["10GB", "100GB", "1TB", "full"]
    configs = patterns(folder)
    names = ["recordings", *(f"{size}{label}" for size in planned.sizes for label in ("", *(f"-{x}" for x in LABELS)))]
    assert sorted(configs) == sorted(names)
    shards = {path for path in files(folder) if path.startswith("data/") and "/recordings/" not in path}
    assert shards == {shard.path for shard in planned.shards}
    paths = {name: {path for part in parts.values() for path in part} for name, parts in configs.items()}
    assert paths["10GB"] < paths["100GB"] < paths["1TB"] == paths["full"] == shards
    for size in planned.sizes:
        assert paths[f"{size}-improvised"] | paths[f"{size}-naturalistic"] == paths[size]
        assert not paths[f"{size}-improvised"] & paths[f"{size}-naturalistic"]
        held = ids(folder, paths[size])
        assert len(held) == len(set(held))
    assert all(path.split("/")[1] == "10GB" for path in paths["10GB"])
    assert {path.split("/")[1] for path in paths["100GB"]} == {"10GB", "100GB"}


def test_an_id_is_in_one_split_and_partners_are_together(sized, corpora):
    folder, _, _ = sized
    corpus = corpora["tree"][1]
    split_of: dict = {}
    for split, paths in patterns(folder)["full"].items():
        for path in paths:
            held = ids(folder, [path])
            for id in held:
                assert split_of.setdefault(id, split) == split == corpus[id].split
                assert f"/{corpus[id].label}/" in path
                assert corpus[id].partner is None or corpus[id].partner in held
    assert set(split_of) == {recording.file_id for recording in corpus.recordings}


def test_a_size_has_what_the_builder_has_of_it(sized, corpora, limited):
    folder, _, _ = sized
    for size, most in (("10GB", 8), ("100GB", 16), ("full", 23)):
        expected = {
            record["id"]
            for stream in load_dataset(size, data_dir=corpora["tree"][0], streaming=True, modalities=[]).values()
            for record in stream
        }
        assert most - 2 <= len(expected) <= most
        assert in_all(folder, patterns(folder)[size]) == expected


def test_what_datasets_resolves_is_what_the_globs_say(sized):
    folder, _, _ = sized
    configs = patterns(folder)
    for name in ("recordings", "10GB", "100GB-improvised", "1TB-naturalistic", "full"):
        splits = configs[name]
        builder = datasets.load_dataset_builder(str(folder), name)
        for split, paths in splits.items():
            resolved = [Path(file).relative_to(folder.resolve()) for file in builder.config.data_files[split]]
            assert sorted(map(Path.as_posix, resolved)) == paths and paths


def test_a_narrowed_selection_is_no_size(corpora, tmp_path, limited):
    planned = plan_shards(Selection("100GB", vendor="V00", modalities="vad"), corpora["tree"][0])
    assert planned.sizes == ["selection"] and publish(planned, tmp_path).exit_code == 0
    assert list(patterns(tmp_path)) == ["recordings", "selection", "selection-improvised", "selection-naturalistic"]
    assert {row["size"] for row in recordings(tmp_path).values()} == {"selection"}
    assert all(path.startswith("data/selection/") for path in patterns(tmp_path)["selection"]["train"])


def test_of_what_has_a_size_whole_and_more_the_rest_is_a_selection(corpora, tmp_path, limited):
    folder, corpus = corpora["tree"]
    chosen = plan_shards(Selection("10GB"), folder).recordings["file_id"].to_pylist()
    more = next(r for r in corpus.recordings if r.file_id not in chosen)
    planned = plan_shards(Selection(file_ids=(*chosen, more.file_id), modalities="vad"), folder)
    assert planned.sizes == ["10GB", "selection"] and publish(planned, tmp_path).exit_code == 0
    configs = patterns(tmp_path)
    assert in_all(tmp_path, configs["10GB"]) == set(chosen)
    assert in_all(tmp_path, configs["selection"]) == {*chosen, more.file_id, more.partner}


def test_of_one_label_only_its_configs_are_declared(corpora, tmp_path, limited):
    planned = plan_shards(Selection("100GB", label="improvised", modalities="vad"), corpora["tree"][0])
    assert planned.sizes == ["10GB", "100GB"] and publish(planned, tmp_path).exit_code == 0
    assert list(patterns(tmp_path)) == ["recordings", "10GB-improvised", "100GB-improvised"]


@pytest.mark.parametrize("selection", [None, Selection(label="naturalistic"), Selection(vendor="V03")], ids=repr)
def test_a_partial_copy_publishes_what_it_holds(corpora, tmp_path, limited, selection):
    corpus = corpora["tree"][1]
    wanted = Selection("100GB", split="train", modalities=("vad", "transcript"))
    assert download(wanted, corpora["archives"][0], tmp_path / "copy").exit_code == 0
    planned = plan_shards(selection, tmp_path / "copy", video="url")
    report = publish(planned, tmp_path / "hub")
    assert report.exit_code == 0 and not report.not_here and report.is_whole
    held = set(ids(tmp_path / "hub", [shard.path for shard in planned.shards]))
    stream = load_dataset("100GB", "train", data_dir=corpora["tree"][0], streaming=True, modalities=[])
    in_copy = {record["id"] for record in stream}
    wanted_ids = {
        "None": in_copy,
        "label": {id for id in in_copy if corpus[id].label == "naturalistic"},
        "vendor": {id for id in in_copy if id.startswith("V03")},
    }
    kind = "None" if selection is None else "label" if selection.label else "vendor"
    assert held == wanted_ids[kind] and planned.sizes == ["selection"]
    for shard in planned.shards:
        for row in pq.read_table(tmp_path / "hub" / shard.path, columns=["vad", "audio", "issues"]).to_pylist():
            assert row["vad"] is not None and row["audio"] is None
            assert {"column": "audio", "code": "not_selected"}.items() <= next(
                issue for issue in row["issues"] if issue["column"] == "audio"
            ).items()


def test_a_folder_without_file_list_is_a_selection(corpora, tmp_path):
    for label in LABELS:
        (tmp_path / "data" / label).mkdir(parents=True)
        for path in (corpora["tree"][0] / label).iterdir():
            (tmp_path / "data" / label / path.name).symlink_to(path)
    planned = plan_shards(Selection("full", modalities="vad"), tmp_path / "data")
    assert planned.sizes == ["selection"] and len(planned.recordings) == 23
    assert publish(planned, tmp_path / "hub").exit_code == 0


def test_one_recording(corpora, tmp_path):
    id = corpora["tree"][1].recordings[3].file_id
    planned = plan_shards(Selection(file_ids=id, single=True), corpora["tree"][0])
    assert (planned.interactions, len(planned.shards), planned.videos) == (1, 1, 1)
    assert publish(planned, tmp_path / "hub").exit_code == 0
    assert list(recordings(tmp_path / "hub")) == [id]
    assert list(load(tmp_path / "hub", "selection", tmp_path / "cache")) == [corpora["tree"][1][id].split]


def test_a_larger_size_keeps_the_shards_of_the_smaller(corpora, tmp_path, limited, calls):
    folder = corpora["tree"][0]
    small = plan_shards(Selection("10GB", modalities="vad"), folder)
    assert publish(small, tmp_path).exit_code == 0 and len(calls) == len(small.shards)
    before = files(tmp_path)
    large = plan_shards(Selection("full", modalities="vad"), folder)
    report = publish(large, tmp_path)
    assert (report.kept, report.made, report.exit_code) == (len(small.shards), len(large.shards) - len(small.shards), 0)
    after = files(tmp_path)
    assert all(after[shard.path] == before[shard.path] for shard in small.shards)
    with pytest.raises(TargetError, match="another selection"):
        publish(small, tmp_path)


# --- the table of recordings ----------------------------------------------------------------------


def recordings(folder):
    """File id -> row of the table of recordings, in its order."""
    paths = sorted((folder / "data" / "recordings").iterdir())
    return {row["id"]: row for path in paths for row in pq.read_table(path).to_pylist()}


def test_the_table_of_recordings_comes_first_and_is_the_default(sized, tmp_path):
    folder, _, _ = sized
    first, *others = card(folder)["configs"]
    assert first["config_name"] == "recordings" and first["default"] is True
    assert not any(config.get("default") for config in others)
    default = load(folder, None, tmp_path)
    assert {name: len(part) for name, part in default.items()} == {"train": 15, "dev": 4, "test": 4}
    for part in default.values():
        assert part.features == recording_features(COLUMNS)
    for path in (folder / "data" / "recordings").iterdir():
        assert b'"List"' not in pq.read_schema(path).metadata[b"huggingface"]


def test_a_recording_has_one_row_without_arrays(sized, corpora, built):
    folder, planned, _ = sized
    found = recordings(folder)
    assert set(found) == set(built)
    size_of = dict(zip(planned.recordings["file_id"].to_pylist(), planned.recordings["size"].to_pylist(), strict=True))
    for id, row in found.items():
        assert not set(row) & {*ARRAYS, "audio", "checked"} and row["size"] == size_of[id]
        for name in row.keys() - {*SUMMARY, "segments", "size", "video", "partner_video", "audio_url", "video_url"}:
            assert row[name] == built[id][name][0].as_py(), name
        segments = built[id]["segments"][0].as_py()
        short = [{k: v for k, v in segment.items() if k != "words"} for segment in segments]
        assert row["segments"] == short
        wav = tree_path(corpora["tree"][1][id].label, corpora["tree"][1][id].split, "audio", id)
        assert row["audio_url"].endswith(f"/seamless_interaction/{wav}")


def test_summaries_are_what_numpy_finds(sized, corpora):
    def share(valid):
        return pytest.approx(np.mean(valid))

    found, corpus = recordings(sized[0]), corpora["tree"][1]
    for recording in corpus.recordings:
        row, transcript = found[recording.file_id], recording.transcript()
        assert row["num_segments"] == len(transcript)
        assert row["num_words"] == sum(len(segment["words"]) for segment in transcript)
        assert (row["num_annotations"] or 0) == sum(map(len, recording.annotations().values()))
        assert (row["num_annotations"] is None) == (not recording.annotations())
        spoken = sum(min(one["end"], row["duration"]) - one["start"] for one in recording.vad())
        assert row["speech_share"] == pytest.approx(spoken / row["duration"]) and 0 <= row["speech_share"] <= 1
        arrays = recording.arrays()
        assert row["smplh_valid_share"] == share(arrays["smplh:is_valid"])
        assert row["box_valid_share"] == share(arrays["boxes_and_keypoints:is_valid_box"])
        if recording.vendor != "V00":
            assert row["movement_valid_share"] is row["mean_arousal"] is row["mean_valence"] is None
            continue
        valid = arrays["movement:is_valid"].ravel() != 0
        assert row["movement_valid_share"] == share(valid)
        for name in ("arousal", "valence"):
            values = arrays[f"movement:emotion_{name}"][valid].astype(np.float64)
            if len(values):
                assert row[f"mean_{name}"] == pytest.approx(values.mean(), rel=1e-9)
            else:
                assert row[f"mean_{name}"] is None
    assert any(row["mean_arousal"] is None for row in found.values() if row["vendor_id"] == "V00")
    assert len({row["mean_arousal"] for row in found.values()}) > 3


def test_hosted_videos_come_first_and_the_partners_is_the_partners(sized):
    folder, _, _ = sized
    found = recordings(folder)
    for split in SPLITS:
        (path,) = (folder / "data" / "recordings").glob(f"{split}-*")
        rows = pq.read_table(path, columns=["id", "size", "video"]).to_pylist()
        sizes = [row["size"] for row in rows]
        assert sizes == sorted(sizes, key=["10GB", "100GB", "1TB"].index)
        assert [row["video"] is not None for row in rows] == [row["size"] == "10GB" for row in rows]
    for id, row in found.items():
        hosted = row["size"] == "10GB"
        address = {"bytes": None, "path": f"hf://datasets/seamless/interaction@main/{video_file(id)}"}
        assert row["video"] == (address if hosted else None)
        assert (folder / video_file(id)).exists() == hosted
        assert row["partner_video"] == (found[row["partner_id"]]["video"] if row["partner_id"] else None)
        assert row["video_url"].endswith(f"{id}.mp4")


@pytest.mark.parametrize("how", ["url", "embed"])
def test_videos_that_are_no_files(corpora, tmp_path, how):
    folder, corpus = corpora["tree"]
    planned = plan_shards(Selection("full", modalities="video"), folder, video=how)
    assert planned.videos == 0 and publish(planned, tmp_path).exit_code == 0
    assert not (tmp_path / "video").exists()
    for row in recordings(tmp_path).values():
        assert row["video"] is None and row["partner_video"] is None and row["video_url"]
    rows = [row for shard in planned.shards for row in pq.read_table(tmp_path / shard.path).to_pylist()]
    for row in rows:
        mp4 = folder / tree_path(corpus[row["id"]].label, corpus[row["id"]].split, "video", row["id"])
        expected = None if how == "url" else {"bytes": mp4.read_bytes(), "path": f"{row['id']}.mp4"}
        assert row["video"] == expected


def test_media_that_are_not_there_are_null_as_a_whole(sized):
    folder, planned, _ = sized
    nulls = Counter()
    for path in [*(shard.path for shard in planned.shards), *patterns(folder)["recordings"]["train"]]:
        table = pq.read_table(folder / path)
        for name in set(table.column_names) & {"audio", "video", "partner_video"}:
            for value in table[name].to_pylist():
                assert value is None or value["path"], f"{path} {name}"
                nulls[name] += value is None
    assert nulls["video"] and nulls["partner_video"]


def test_how_videos_are_had_by_size(corpora, tmp_path, limited):
    folder = corpora["tree"][0]
    selection = Selection("100GB", modalities="video", split=None)
    planned = plan_shards(selection, folder, video={"100GB": "embed"})
    assert planned.settings["video"] == {"10GB": "copy", "100GB": "embed"} and publish(planned, tmp_path).exit_code == 0
    for shard in planned.shards:
        for row in pq.read_table(tmp_path / shard.path, columns=["video"]).to_pylist():
            assert (row["video"]["bytes"] is None) == ("/10GB/" in shard.path)
    for video, wrong in (({"1TB": "url"}, "1TB"), ({"10GB": "maybe"}, "maybe"), ("files", "files")):
        with pytest.raises(UnknownName, match=wrong):
            plan_shards(selection, folder, video=video)


def test_the_table_of_recordings_in_several_files(corpora, sized, tmp_path, monkeypatch):
    monkeypatch.setattr(finish, "_ROWS", 4)
    monkeypatch.setattr(finish, "_ROW_GROUP", 2)
    planned = plan_shards(Selection("full", modalities="vad"), corpora["tree"][0])
    assert publish(planned, tmp_path / "hub").exit_code == 0
    counts = {path.name: pq.read_metadata(path) for path in (tmp_path / "hub/data/recordings").iterdir()}
    assert [counts[f"train-{n:05d}-of-00004.parquet"].num_rows for n in range(4)] == [4, 4, 4, 3]
    assert counts["train-00000-of-00004.parquet"].num_row_groups == 2
    assert len(load(tmp_path / "hub", "recordings", tmp_path / "cache", split="train")) == 15
    monkeypatch.undo()
    publish(planned, tmp_path / "hub")
    assert sorted(path.name for path in (tmp_path / "hub/data/recordings").iterdir()) == [
        f"{split}-00000-of-00001.parquet" for split in sorted(SPLITS)
    ]


def test_the_table_of_recordings_is_small(tmp_path):
    """At most 1 % of the shards, of recordings of 15 seconds; real ones are fifteen times as long."""
    synthesize(tmp_path / "data", "tree", interactions=1, seconds=15.0, seed=2)
    report = publish(plan_shards(Selection("full"), tmp_path / "data"), tmp_path / "hub")
    assert sum(path.stat().st_size for path in (tmp_path / "hub/data/recordings").iterdir()) <= report.bytes / 100


# --- how many files -------------------------------------------------------------------------------


def test_more_files_than_a_repository_may_have_are_refused(corpora, monkeypatch):
    folder = corpora["tree"][0]
    monkeypatch.setattr(plan, "MAX_FILES", 23 + 6 + plan._COMPANIONS)
    assert plan_shards(Selection("full"), folder).videos == 23
    monkeypatch.setattr(plan, "MAX_FILES", 23 + 6 + plan._COMPANIONS - 1)
    with pytest.raises(UsageError, match=r"at most .*video='url'"):
        plan_shards(Selection("full"), folder)
    assert plan_shards(Selection("full"), folder, video="url").videos == 0


def test_more_files_than_a_folder_may_have_are_refused(corpora, monkeypatch):
    monkeypatch.setattr(plan, "SHARD_BYTES", 1)
    monkeypatch.setattr(plan, "MAX_FILES_IN_FOLDER", 7)
    folder = corpora["tree"][0]
    folders = [shard.path.rpartition("/")[0] for shard in plan_shards(Selection("full"), folder).shards]
    assert folders.count("data/10GB/naturalistic") == 7 == max(Counter(folders).values())
    monkeypatch.setattr(plan, "MAX_FILES_IN_FOLDER", 6)
    with pytest.raises(UsageError, match="data/10GB/naturalistic would have 7 files"):
        plan_shards(Selection("full"), folder)


@pytest.mark.parametrize("option", [{"audio": "mp3"}, {"on_error": "ignore"}])
def test_a_setting_that_cannot_be_lists_those_that_can(corpora, option):
    with pytest.raises(UsageError, match=r"flac, wav, url|null, raise, skip"):
        plan_shards(Selection("full"), corpora["tree"][0], **option)


# --- again ----------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """Paths of the shards that were made."""
    made, original = [], convert.convert_shard

    def counted(planned, number, output):
        sidecar = original(planned, number, output)
        made.append(sidecar.shard)
        return sidecar

    monkeypatch.setattr(convert, "convert_shard", counted)
    return made


TEXT = ("transcript", "vad")


@pytest.fixture
def source(corpora, tmp_path):
    """A tree to be changed."""
    shutil.copytree(corpora["tree"][0], tmp_path / "source")
    return tmp_path / "source"


def replan(source, modalities=TEXT, **settings):
    return plan_shards(Selection("full", modalities=modalities), source, **settings)


@pytest.fixture(scope="module")
def once(corpora, tmp_path_factory):
    """Modalities -> what was published of them, to be copied."""
    found = {}
    for modalities in (TEXT, ("video", "vad")):
        found[modalities] = tmp_path_factory.mktemp("once") / "hub"
        assert publish(replan(corpora["tree"][0], modalities), found[modalities]).made == 6
    return found


@pytest.fixture
def hub(once, tmp_path):
    """Published text, to be changed, and published again."""
    shutil.copytree(once[TEXT], tmp_path / "hub")
    return tmp_path / "hub"


def test_a_second_run_makes_nothing(corpora, tmp_path, calls):
    def run():
        return publish(replan(corpora["archives"][0]), tmp_path / "hub")

    assert run().made == len(calls) == 6
    before = files(tmp_path / "hub")
    report = run()
    assert (report.made, report.kept, report.exit_code) == (0, 6, 0) and len(calls) == 6
    assert files(tmp_path / "hub") == before


def test_one_plan_for_two_folders(corpora, tmp_path):
    """What the first keeps is of no use to the second: it may be deleted."""
    planned = plan_shards(Selection("full", modalities="vad"), corpora["archives"][0])
    publish(planned, tmp_path / "one")
    shutil.rmtree(tmp_path / "one")
    assert publish(planned, tmp_path / "two").exit_code == 0
    assert publish(planned, tmp_path / "two").kept == 6


DAMAGES = [("no shard", "cut shard", "changed shard", "no sidecar"), ("cut sidecar", "other sidecar", "no table")]


@pytest.mark.parametrize("damages", DAMAGES, ids=", ".join)
def test_a_shard_without_a_valid_sidecar_is_made_again(corpora, hub, calls, damages):
    """A damage for each of the first shards; the last two have none."""
    planned, before = replan(corpora["tree"][0]), files(hub)
    shards = planned.shards[: len(damages)]
    for shard, damage in zip(shards, damages, strict=True):
        path, sidecar = hub / shard.path, convert.sidecar_path(hub, shard)
        what, kind = damage.split()
        target = {"shard": path, "sidecar": sidecar, "table": convert.recordings_path(hub, shard)}[kind]
        if what == "no":
            target.unlink()
        elif what == "cut":
            target.write_bytes(target.read_bytes()[:-1])
        elif what == "changed":
            flip(target)
        else:
            shutil.copy(convert.sidecar_path(hub, planned.shards[-1]), sidecar)
    os.utime(hub / planned.shards[-1].path)  # as if it had been copied: its content tells that it is the same
    report = publish(planned, hub)
    assert calls == [shard.path for shard in shards] and (report.made, report.kept) == (len(shards), 6 - len(shards))
    assert files(hub) == before


def test_a_video_that_is_gone_is_copied_again(corpora, once, tmp_path, calls):
    folder = shutil.copytree(once["video", "vad"], tmp_path / "hub")
    planned, before = replan(corpora["tree"][0], ("video", "vad")), files(folder)
    (folder / video_file(planned.recordings["file_id"][0].as_py())).unlink()
    assert publish(planned, folder).made == 1 and calls == [planned.shards[0].path]
    assert files(folder) == before
    renamed = replan(corpora["tree"][0], ("video", "vad"), repo_id="me/mine")
    assert publish(renamed, folder).made == sum("/10GB/" in shard.path for shard in renamed.shards)  # with its videos


def test_a_changed_setting_makes_every_shard_again(corpora, tmp_path, calls):
    def run(**settings):
        selection = Selection("full", split="dev", modalities="audio")
        return publish(plan_shards(selection, corpora["tree"][0], **settings), tmp_path)

    assert run().made == 2 and run().kept == 2
    assert run(audio="wav").made == 2 and len(calls) == 4
    for path in (tmp_path / "data" / "10GB").rglob("*.parquet"):
        for row in pq.read_table(path, columns=["id", "audio"]).to_pylist():
            assert row["audio"]["path"] == f"{row['id']}.wav" and row["audio"]["bytes"][:4] == b"RIFF"
    assert run(audio="wav", repo_id="me/mine").made == 0
    assert "me/mine" in (tmp_path / "README.md").read_text()


def shard_of(planned, id):
    row = planned.recordings["file_id"].to_pylist().index(id)
    (shard,) = [shard for shard in planned.shards if shard.start <= row < shard.stop]
    return shard


def test_a_file_that_changed_makes_its_shard_again(source, corpora, tmp_path, calls):
    planned = replan(source)
    publish(planned, tmp_path / "hub")
    recording = corpora["tree"][1].recordings[0]
    path = source / tree_path(recording.label, recording.split, "transcript", recording.file_id)
    path.write_text('{"start": 0, "end": 1, "transcript": "changed", "words": []}\n')
    calls.clear()
    assert publish(replan(source), tmp_path / "hub").exit_code == 0
    assert calls == [shard_of(planned, recording.file_id).path]
    assert recordings(tmp_path / "hub")[recording.file_id]["transcript"] == "changed"


def test_a_table_that_changed_makes_all_that_has_context_again(source, tmp_path, calls):
    def run(modalities, output):
        return publish(plan_shards(Selection("full", split="dev", modalities=modalities), source), tmp_path / output)

    run("context", "hub")
    table = source / "interactions.csv"
    table.write_text(table.read_text().replace("synthetic", "altered").replace("Synthetic", "Altered"))
    calls.clear()
    run("context", "hub")
    assert len(calls) == 2
    table = source / "participants.csv"
    calls.clear()
    run("vad", "text")
    table.write_text(table.read_text() + "\n")
    run("vad", "text")
    assert len(calls) == 2, "without context its tables do not matter"


def test_a_file_that_changes_meanwhile_is_named_and_its_shard_not_made(source, corpora, tmp_path, monkeypatch):
    planned = replan(source)
    recording = corpora["tree"][1].recordings[0]
    path = source / tree_path(recording.label, recording.split, "vad", recording.file_id)
    shard, write = shard_of(planned, recording.file_id), convert._Making.write

    def changed(self, *arguments):
        found = write(self, *arguments)
        if self._shard.path == shard.path:
            path.write_text(path.read_text() + "\n")
        return found

    monkeypatch.setattr(convert._Making, "write", changed)
    report = publish(planned, tmp_path / "hub")
    (failure,) = report.failures
    assert failure.shard == shard.path and f"{path} changed while" in failure.error
    assert report.exit_code == 3 and not report.is_whole and not (tmp_path / "hub" / shard.path).exists()
    assert report.made == 5 and not (tmp_path / "hub" / "README.md").exists()
    monkeypatch.undo()
    again = publish(replan(source), tmp_path / "hub")
    assert (again.made, again.kept, again.exit_code) == (1, 5, 0) and again.is_whole


def test_what_is_not_whole_does_not_look_like_it(corpora, hub, monkeypatch):
    planned = replan(corpora["tree"][0])
    (hub / planned.shards[0].path).unlink()
    monkeypatch.setattr(convert, "convert_shard", lambda *arguments: 1 / 0)
    report = publish(planned, hub)
    assert [failure.error for failure in report.failures] == ["ZeroDivisionError: division by zero"]
    assert not (hub / "README.md").exists() and not (hub / "manifest.parquet").exists()
    with pytest.raises(IncompletePublication, match=r"1 of 6 shards are not done, data/10GB/.*"):
        finish.finish(planned, hub)


@pytest.mark.parametrize("when", ["shard", "video", "finish"])
def test_a_full_disk_ends_the_run_and_nothing_looks_done(corpora, once, tmp_path, monkeypatch, when):
    planned = replan(corpora["tree"][0], ("video", "vad"))

    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    if when == "shard":
        monkeypatch.setattr(parquet.Writer, "write", fail)
    elif when == "video":
        monkeypatch.setattr(convert.os, "fsync", fail)
    else:
        monkeypatch.setattr(finish, "card", fail)
    with pytest.raises(NotEnoughSpace, match="the disk is full"):
        publish(planned, tmp_path / "hub")
    left = files(tmp_path / "hub")
    assert "README.md" not in left and "manifest.parquet" not in left
    assert (len(list((tmp_path / "hub/.publish").glob("done/*"))) == 6) == (when == "finish")
    if when != "finish":
        assert not [path for path in left if path.endswith(".parquet")]
    monkeypatch.undo()
    assert publish(planned, tmp_path / "hub").exit_code == 0
    assert but_code(files(tmp_path / "hub")) == but_code(files(once["video", "vad"]))


@pytest.mark.parametrize("are_few", [True, False])
def test_too_small_a_disk_is_told_before_anything_is_read(corpora, tmp_path, monkeypatch, calls, are_few):
    """By the sizes of what a few shards are made of, of many by means."""
    planned = replan(corpora["tree"][0], "audio")
    free = 1_000_000 if are_few else planned.expected_bytes - 1
    monkeypatch.setattr(sys.modules[publish.__module__], "_LOOKED_AT", 100 if are_few else 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, free))
    with pytest.raises(NotEnoughSpace, match="expected"):
        publish(planned, tmp_path)
    assert not calls and not files(tmp_path)


# Killed before the n-th time that a file gets its name, or (0) by the system while a shard is written. The children are
# forked before any thread is, and after what all would import.
KILLED = """
    import contextlib, os, signal, sys
    from pathlib import Path
    import av
    from seamless_interaction.publishing import Selection, parquet, plan_shards, publish

    with contextlib.suppress(ImportError):
        import scipy.io  # by `datasets`, if it is there

    source, output, points = sys.argv[1], Path(sys.argv[2]), map(int, sys.argv[3:])
    replace, write = os.replace, parquet.Writer.write
    count = 0

    def replacing(*arguments):
        global count
        count += 1
        if count == point:
            os._exit(9)
        replace(*arguments)

    def writing(*arguments):
        write(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    for point in points:
        child = os.fork()
        if not child:
            if point:
                os.replace = replacing
            else:
                parquet.Writer.write = writing
            publish(plan_shards(Selection("full", modalities=("video", "vad")), source), output / str(point))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(point, code, flush=True)
        if not code:
            break
"""


def test_a_kill_at_any_moment_leaves_nothing_that_counts_as_done(tmp_path):
    source, output = tmp_path / "source", tmp_path / "hub"
    synthesize(source, "tree", interactions=2, seconds=0.5, seed=4)
    planned = plan_shards(Selection("full", modalities=("video", "vad")), source)
    publish(planned, tmp_path / "undisturbed")
    expected, shards, points = files(tmp_path / "undisturbed"), planned.shards, range(0, 40, 4)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(source), str(output), *map(str, points)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=WITHOUT_TORCH)
    codes = dict(zip(*[map(int, done.stdout.split())] * 2, strict=True))
    assert codes[0] == -signal.SIGKILL and set(codes.values()) == {-9, 9, 0}, done.stderr
    killed = [point for point, code in codes.items() if code]
    assert killed == list(points)[: len(killed)] and len(killed) > 4
    kept = set()
    for point in killed:
        folder = output / str(point)
        assert not (folder / "manifest.parquet").exists()
        here = files(folder)
        assert not [path for path in here if path not in expected and "/recordings/." not in path], "left beside it"
        for path, content in here.items():
            assert path not in expected or content == expected[path], "a part of it has its name"
        partial = folder / ".publish" / "partial"
        assert point or list(partial.glob("data-*")), "the file that was being written"
        number = sum(bool(convert.done(planned, at, folder)) for at in range(len(shards)))
        report = publish(plan_shards(Selection("full", modalities=("video", "vad")), source), folder)
        assert report.exit_code == 0 and report.kept == number
        assert but_code(files(folder)) == but_code(expected), point
        assert not list(partial.glob("*"))
        kept.add(number)
    assert {0, len(shards)} < kept


def test_a_shard_of_a_former_plan_does_not_count_once_it_is_being_replaced(corpora, tmp_path, monkeypatch):
    """Its file may be as long as the new one, here with an address of the same length."""
    addresses = [f"https://example.org/{name}" for name in ("one", "two")]
    one, other = (replan(corpora["tree"][0], "audio", media_url=address) for address in addresses)
    convert.convert_shard(one, 0, tmp_path)
    assert convert.done(one, 0, tmp_path)

    def killed(path, write):
        if path.suffix == ".json":
            raise KeyboardInterrupt
        write_whole(path, write)

    write_whole = convert.write_whole
    monkeypatch.setattr(convert, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        convert.convert_shard(other, 0, tmp_path)
    assert (tmp_path / one.shards[0].path).exists() and not convert.done(one, 0, tmp_path)


def test_two_runs_at_once_are_refused(corpora, hub):
    planned = replan(corpora["tree"][0])
    with locked(hub / ".publish"), pytest.raises(FolderBusy, match="another run"):
        publish(planned, hub)
    assert publish(planned, hub).kept == 6


def test_several_processes_give_the_same_bytes(corpora, once, tmp_path, monkeypatch):
    monkeypatch.setenv("USE_TORCH", "0")  # they have no use for it
    report = publish(replan(corpora["tree"][0], ("video", "vad")), tmp_path / "hub", workers=2)
    assert report.exit_code == 0 and report.made == 6
    assert but_code(files(tmp_path / "hub")) == but_code(files(once["video", "vad"]))


def test_a_plan_comes_back_from_its_folder(corpora, tmp_path):
    planned = plan_shards(Selection("full"), corpora["archives"][0])
    planned.save(tmp_path)
    loaded = ShardPlan.load(tmp_path)
    assert loaded.shards == planned.shards and loaded.recordings.equals(planned.recordings)
    assert [loaded.key(n) for n in range(6)] == [planned.key(n) for n in range(6)]
    assert loaded.settings["index"] == str(tmp_path / ".publish" / "index.parquet")


# --- what is broken -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def defective(broken, tmp_path_factory):
    """(folder, report). Of other layouts, test_records.py and test_archives.py find what issues they have."""
    output = tmp_path_factory.mktemp("defective") / "hub"
    planned = plan_shards(Selection("full"), broken["archives"][0], video="url")
    return output, publish(planned, output)


def shards_of(folder):
    return [path for path in (folder / "data").rglob("*.parquet") if path.parent.name != "recordings"]


def rows_of(folder):
    tables = (pq.read_table(path, columns=["id", "issues", "audio"]) for path in shards_of(folder))
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def lengths_of(folder):
    """File id -> array -> how long it is."""
    found: dict = {}
    for path in shards_of(folder):
        table = pq.read_table(path, columns=["id", *ARRAYS])
        for key in ARRAYS:
            column = table[key].combine_chunks()
            storage = column.storage if isinstance(column, pa.ExtensionArray) else column
            storage = storage.combine_chunks() if isinstance(storage, pa.ChunkedArray) else storage
            for id, length in zip(table["id"].to_pylist(), storage.value_lengths().to_pylist(), strict=True):
                found.setdefault(id, {})[key] = length
    return found


CHEAP = ("audio", "transcript", "vad", "smplh:body_pose", "smplh:left_hand_pose", "movement:expression")


def test_a_defect_is_an_issue_of_its_row(broken, defective):
    folder, report = defective
    corpus, rows, lengths = broken["archives"][1], rows_of(folder), lengths_of(folder)
    absent = [recording.file_id for recording in corpus.recordings if recording.defect == "absent"]
    assert report.not_here == absent and report.exit_code == 3 and report.is_whole and not report.failures
    assert set(rows) == {recording.file_id for recording in corpus.recordings} - set(absent)
    kept = ("frames_differ", "non_finite", "interval", "duration_differs")
    for recording in corpus.recordings:
        if recording.file_id in absent:
            continue
        row = rows[recording.file_id]
        found = {(i["column"], i["code"]) for i in row["issues"] if i["code"] not in ORDINARY}
        assert found == set(recording.expected_issues), recording.defect
        bad = {column for column, code in recording.expected_issues if code not in kept}
        assert (row["audio"] is None) == ("audio" in bad), recording.defect
        for key, array in ARRAYS.items():
            here = key not in bad and key in recording.array_keys
            expected = recording.array_frames // array.frames_per_row if here else 0
            assert lengths[recording.file_id][key] == expected, (key, recording.defect)
    counted = Counter(code for row in rows.values() for code in {issue["code"] for issue in row["issues"]})
    assert report.issues == dict(counted)
    text = (folder / "README.md").read_text()
    assert all(code in text for code in counted) and "selected recordings that the source does not have" in text


def test_defective_recordings_are_left_out_and_listed(broken, defective, tmp_path):
    planned = plan_shards(Selection("full", modalities=CHEAP), broken["archives"][0], on_error="skip", audio="url")
    report = publish(planned, tmp_path / "hub")
    assert report.is_whole and not report.failures
    everything, rows = rows_of(defective[0]), rows_of(tmp_path / "hub")
    codes = {error.code for error in BadFile.__subclasses__()}
    bad = {
        id
        for id, row in everything.items()
        if any(issue["code"] in codes and issue["column"] in planned.columns for issue in row["issues"])
    }
    assert bad and {one["file_id"] for one in report.skipped} == bad == set(everything) - set(rows)
    assert all(one["reason"] for one in report.skipped) and report.rows == len(rows)
    assert f"{len(bad)} recordings left out" in report.as_text()
    assert set(recordings(tmp_path / "hub")) == set(rows)
    loaded = load(tmp_path / "hub", "full", tmp_path / "cache")
    assert sum(len(part) for part in loaded.values()) == len(rows)


def test_a_shard_of_which_nothing_is_left(corpora, source, tmp_path):
    for path in (source / "improvised" / "dev").rglob("*.wav"):
        path.write_bytes(b"")
    planned = plan_shards(Selection("full", modalities="audio"), source, on_error="skip")
    report = publish(planned, tmp_path / "hub")
    assert report.is_whole and len(report.skipped) == 2
    (gone,) = (shard.path for shard in planned.shards if "improvised/dev" in shard.path)
    assert not (tmp_path / "hub" / gone).exists() and gone not in manifest(tmp_path / "hub")
    assert publish(planned, tmp_path / "hub").kept == len(planned.shards)
    loaded = load(tmp_path / "hub", "full", tmp_path / "cache")
    assert len(loaded["dev"]) == 2 and "dev" not in patterns(tmp_path / "hub")["full-improvised"]


def test_a_shard_with_a_defect_fails_by_name_and_the_others_are_made(broken, tmp_path):
    planned = plan_shards(Selection("full", modalities=("smplh", "vad")), broken["bundles"][0], on_error="raise")
    report = publish(planned, tmp_path)
    assert report.failures and report.made and report.made + len(report.failures) == len(planned.shards)
    assert report.exit_code == 3 and not report.is_whole
    for failure in report.failures:
        assert failure.shard in {shard.path for shard in planned.shards} and not (tmp_path / failure.shard).exists()
        assert re.search(r"V0\d_S\d+", failure.error), failure.error
        assert failure.shard in report.as_text() and failure.error in report.as_text()
    assert json.loads(json.dumps(report.as_dict()))["failures"][0]["shard"] == report.failures[0].shard
    assert not (tmp_path / "README.md").exists() and not (tmp_path / "manifest.parquet").exists()
    made = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "data").rglob("*.parquet")}
    assert made == {shard.path for shard in planned.shards} - {failure.shard for failure in report.failures}


# --- the folder -----------------------------------------------------------------------------------


def test_foreign_files_are_named_and_stay(corpora, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("mine.txt", "data/mine.parquet"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(TargetError, match=r"is not ours: it has 2 files .*data/mine\.parquet, mine\.txt"):
        publish(replan(corpora["tree"][0]), tmp_path)
    assert set(files(tmp_path)) == {"mine.txt", "data/mine.parquet"} and not (tmp_path / ".publish").exists()


def test_a_file_or_the_source_is_no_output(corpora, source, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TargetError, match="is a file"):
        publish(replan(source), tmp_path / "file")
    with pytest.raises(TargetError):
        publish(replan(source), tmp_path / "file" / "below")
    before = files(source)
    with pytest.raises(TargetError, match="is not ours"):
        publish(replan(source), source)
    assert files(source) == before


def test_the_folder_of_another_selection_is_refused(corpora, tmp_path):
    publish(plan_shards(Selection("full", label="improvised", modalities="vad"), corpora["tree"][0]), tmp_path)
    before = files(tmp_path)
    other = plan_shards(Selection("full", label="naturalistic", modalities="vad"), corpora["tree"][0])
    with pytest.raises(TargetError, match=r"another selection.*data/10GB/improvised/dev-00000-of-00001\.parquet"):
        publish(other, tmp_path)
    assert files(tmp_path) == before


def test_a_git_clone_and_an_empty_folder_are_written_into(corpora, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("git's")
    (tmp_path / ".gitattributes").write_text("*.parquet filter=lfs\n")
    assert publish(replan(corpora["tree"][0]), tmp_path).exit_code == 0
    assert (tmp_path / ".git" / "config").read_text() == "git's"


# --- how shards are cut ---------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 10**9), st.booleans()), min_size=1, max_size=40))
def test_shards_are_cut_between_interactions_near_their_size(recordings):
    weights = np.array([weight for weight, _ in recordings], np.float64)
    interactions = np.array([0, *(at for at, (_, is_first) in enumerate(recordings) if at and is_first)])
    shards = plan._shards_of("data/10GB/improvised/train", 7, weights, interactions)
    assert [shard.start for shard in shards] == [7, *(shard.stop for shard in shards[:-1])]
    assert shards[-1].stop == 7 + len(weights) and {shard.start - 7 for shard in shards} <= set(interactions.tolist())
    largest = max(part.sum() for part in np.split(weights, interactions[1:]))
    assert max(shard.expected_bytes for shard in shards) <= 1.5 * plan.SHARD_BYTES + largest + 1
    assert [shard.path[-20:] for shard in shards] == [
        f"{n:05d}-of-{len(shards):05d}.parquet"[-20:] for n in range(len(shards))
    ]


# --- the whole dataset ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(corpora, tmp_path_factory, whole_filelist):
    """A plan of 129,370 recordings, from a bucket that cannot be listed and has tables only."""
    root = tmp_path_factory.mktemp("whole")
    (root / "filelist.csv").write_bytes(write_filelist(whole_filelist))
    for name in TABLES:
        if name != "filelist.csv":
            shutil.copy(corpora["tree"][0] / name, root / name)
    with Bucket(root) as bucket, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{bucket.url}/filelist.csv")
        planned = plan_shards(Selection("full"), bucket.url)
        assert {request.path.strip("/") for request in bucket.requests} <= {*TABLES, "selection.csv"}
    return planned


def test_all_recordings_are_planned_once(whole):
    """Takes 4 s: the plan of 129,370 recordings."""
    found = whole.recordings["file_id"]
    assert len(found) == len(found.unique()) == 129_370 and not whole.settings["not_here"]
    assert [shard.start for shard in whole.shards] == [0, *(shard.stop for shard in whole.shards[:-1])]
    assert whole.shards[-1].stop == 129_370 and whole.interactions == 64_751
    assert sum(row["recordings"] for row in whole.table()) == 129_370


def test_shards_are_of_about_one_size(whole):
    bytes = np.array([shard.expected_bytes for shard in whole.shards])
    assert 2_000 < len(whole.shards) < 12_000
    assert bytes.max() < 1.2 * plan.SHARD_BYTES
    groups = Counter(shard.path.rpartition("-of-")[0].rpartition("-")[0] for shard in whole.shards)
    for shard in whole.shards:
        name = shard.path.rpartition("-of-")[0].rpartition("-")[0]
        assert int(shard.path[-13:-8]) == groups[name]
        if groups[name] > 2:
            assert shard.expected_bytes > 0.6 * plan.SHARD_BYTES, shard
    assert sum(bytes) == pytest.approx(whole.expected_bytes)


def test_shards_hold_whole_interactions_of_one_kind(whole):
    codes = {name: whole.recordings[name].to_pylist() for name in ("size", "label", "split")}
    interactions = [id[:19] for id in whole.recordings["file_id"].to_pylist()]
    for shard in whole.shards:
        here = slice(shard.start, shard.stop)
        size, label, split = ({*codes[name][here]} for name in ("size", "label", "split"))
        assert shard.path.startswith(f"data/{size.pop()}/{label.pop()}/{split.pop()}-") and not size | label | split
        assert shard.start == 0 or interactions[shard.start] != interactions[shard.start - 1]


def test_files_stay_within_what_the_hub_recommends(whole):
    assert whole.videos + len(whole.shards) <= plan.MAX_FILES
    folders = Counter(shard.path.rpartition("/")[0] for shard in whole.shards)
    ids = whole.recordings.filter(pa.compute.equal(whole.recordings["size"], "10GB"))["file_id"].to_pylist()
    folders.update(video_file(id).rpartition("/")[0] for id in ids)
    assert max(folders.values()) <= plan.MAX_FILES_IN_FOLDER and len(ids) == whole.videos
    every = Counter(video_file(id).rpartition("/")[0] for id in whole.recordings["file_id"].to_pylist())
    assert max(every.values()) <= plan.MAX_FILES_IN_FOLDER
    everything = {**whole.settings, "video": dict.fromkeys(whole.sizes, "copy")}
    with pytest.raises(UsageError, match=f"at most {plan.MAX_FILES:,}"):
        plan._refuse_too_many(ShardPlan(everything, whole.recordings, whole.shards))


def test_sizes_are_those_of_the_file_list(whole, whole_filelist):
    assert whole.sizes == ["10GB", "100GB", "1TB", "full"]
    held: set = set()
    for size in whole.sizes:
        own = whole.recordings.filter(pa.compute.equal(whole.recordings["size"], size))["file_id"].to_pylist()
        assert not held & set(own)
        held |= set(own)
        assert held == set(subsets.select(whole_filelist, size)["file_id"].to_pylist())


# --- the command ----------------------------------------------------------------------------------


def run(*arguments):
    return RUN.invoke(app, ["publish", *map(str, arguments)])


def test_the_command_plans_and_publishes(corpora, tmp_path):
    options = ("--version", "full", "--source", corpora["tree"][0], "-o", tmp_path / "hub", "--modalities", "vad,video")
    dry = run(*options, "--dry-run", "--json", "--video", "url")
    assert dry.exit_code == 0 and not (tmp_path / "hub").exists()
    planned = json.loads(dry.stdout)
    assert (planned["recordings"], planned["interactions"], planned["shards"], planned["files"]) == (23, 12, 6, 6)
    assert planned["video"] == dict.fromkeys(("10GB", "100GB", "1TB", "full"), "url")
    shown = run(*options, "--dry-run")
    assert shown.exit_code == 0 and re.search(r"10GB +improvised +train +1 +3 +6 ", shown.stdout)
    assert "23 recordings in 6 shards" in shown.stdout
    done = run(*options, "--json", "--quiet", "--video", "url", "--repo-id", "me/mine")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert [report[name] for name in ("made", "kept", "rows", "is_whole", "exit_code")] == [6, 0, 23, True, 0]
    assert "me/mine" in (tmp_path / "hub" / "README.md").read_text()
    again = run(*options, "--quiet", "--video", "url", "--repo-id", "me/mine")
    assert again.exit_code == 0 and "6 of 6 shards, 6 of them from before" in again.stdout and "whole" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--audio", "mp3"], "flac, wav, url"),
        (["--video", "10GB=maybe"], "copy, embed, url"),
        (["--video", "5GB=copy"], "10GB"),
        (["--video", "10GB=copy,url"], "KEY=VALUE"),
        (["--repo-id", "a/b/c"], "a/b/c"),
        (["--split", "nowhere"], "nowhere"),
        (["--executor", "cluster"], "local"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(corpora, tmp_path, arguments, why):
    source = ("--version", "full", "--modalities", "vad,video", "--source", corpora["tree"][0])
    found = run(*source, "-o", tmp_path / "hub", *arguments)
    assert found.exit_code == 2 and why in found.output and "Traceback" not in found.output
    assert not list((tmp_path / "hub").glob("data/*/*"))


def test_exit_codes_tell_what_is_wrong(broken, corpora, tmp_path):
    options = ("--version", "full", "--modalities", "smplh,vad", "--quiet")
    found = run(*options, "--source", broken["tree"][0], "-o", tmp_path / "hub", "--on-error", "raise", "--json")
    assert found.exit_code == 3 and json.loads(found.stdout)["failures"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    for output in (tmp_path / "mine", tmp_path / "mine" / "file"):
        found = run(*options, "--source", corpora["tree"][0], "-o", output)
        assert found.exit_code == 1 and "Name" in found.output and "Traceback" not in found.output
    assert run(*options, "--source", tmp_path / "nowhere", "-o", tmp_path / "other").exit_code == 1
