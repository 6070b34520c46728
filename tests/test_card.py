"""The card of a published repository and its companions, read by the real readers."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs

from seamless_interaction import ARRAYS, CITATION, ISSUES, MODALITIES, record_features
from seamless_interaction.publishing.card import (
    RECORDINGS,
    CardFacts,
    Config,
    Size,
    Split,
    card,
    dataset_infos,
    declared_configs,
    meaning_of,
    size_category,
)
from seamless_interaction.publishing.croissant import croissant
from seamless_interaction.publishing.rows import recording_features, shard_features
from seamless_interaction.record.arrow import Types, table
from seamless_interaction.record.dialect import dialect

COLUMNS = [column for columns in MODALITIES.values() for column in columns]
SHARD = shard_features(COLUMNS)
ROWS = {"train": 3, "dev": 2}  # of each shard: one for each size, label and split
SIZES = {"10GB": ("10GB",), "100GB": ("10GB", "100GB")}  # size -> whose shards it reads
LABELS = {"": ("improvised", "naturalistic"), "-improvised": ("improvised",), "-naturalistic": ("naturalistic",)}

# Ids that the Hub knows, of those that could be thought of for such data. From packages/tasks/src/pipelines.ts of
# huggingface.js at 0057f40.
KNOWN_TASKS = {
    *("automatic-speech-recognition", "audio-classification", "audio-to-audio", "voice-activity-detection"),
    *("video-classification", "keypoint-detection", "text-to-speech", "text-to-video", "video-text-to-text"),
    *("feature-extraction", "text-generation", "token-classification", "any-to-any", "other"),
}


def facts(**changes):
    made = CardFacts(
        repo_id="seamless/interaction",
        version="0.1.0",
        published="2026-11-26",
        recordings=20,
        interactions=10,
        hours=1.25,
        synthetic=False,
        videos={"10GB": "copy", "100GB": "url"},
        audio="flac",
        sizes=(Size("10GB", 5, 10, 1_000, 1_000, 0.5), Size("100GB", 10, 20, 2_000, 3_000, 1.25)),
        gaps={"recordings of `100GB` that the source does not have": 2},
        issues={"absent": 20, "truncated": 1},
    )
    return replace(made, **changes)


def value_of(feature, number):
    """As much as the number says, of whatever the feature is."""
    kind = type(feature).__name__
    if isinstance(feature, dict):
        return {name: value_of(member, number) for name, member in feature.items()}
    if isinstance(feature, list) or kind in ("List", "Sequence"):
        member = feature[0] if isinstance(feature, list) else feature.feature
        return [value_of(member, number)] * number
    if kind.startswith("Array"):
        return np.full((number, *feature.shape[1:]), number, feature.dtype)
    if kind == "Value":
        return {"string": f"text {number}", "bool": bool(number)}.get(feature.dtype, number)
    return {"bytes": b"fLaC", "path": None} if kind == "Audio" else None


def write_shard(path, columns, rows):
    """A Parquet file as a publication has them; its Arrow bytes."""
    types = Types(columns.arrow_schema)
    metadata = {"huggingface": json.dumps({"info": {"features": dialect(dict(columns))}})}
    types.schema = types.schema.with_metadata(metadata)
    made = table([{name: value_of(feature, row) for name, feature in columns.items()} for row in range(rows)], types)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path)
    return made.nbytes


def splits_of(folder, patterns, num_bytes):
    for split in ROWS:
        globs = tuple(pattern.format(split) for pattern in patterns)
        files = [file for glob in globs for file in folder.glob(glob)]
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        size = sum(os.path.getsize(file) for file in files)
        yield Split(split, globs, rows, sum(num_bytes[file] for file in files), size)


def configs_of(folder):
    """Writes all shards, and gives the configs that read them."""
    num_bytes = {}
    summaries = recording_features(COLUMNS)
    for split, rows in ROWS.items():
        file = folder / f"data/recordings/{split}-00000-of-00001.parquet"
        num_bytes[file] = write_shard(file, summaries, rows * 4)
        for size in SIZES:
            for label in LABELS[""]:
                file = folder / f"data/{size}/{label}/{split}-00000-of-00001.parquet"
                num_bytes[file] = write_shard(file, SHARD, rows)
    configs = []
    for size, own in SIZES.items():
        for suffix, labels in LABELS.items():
            patterns = [f"data/{one}/{label}/{{}}-*.parquet" for one in own for label in labels]
            splits = tuple(splits_of(folder, patterns, num_bytes))
            configs.append(Config(size + suffix, f"As much as {size}.", SHARD, splits))
    splits = tuple(splits_of(folder, ["data/recordings/{}-*.parquet"], num_bytes))
    configs.append(Config(RECORDINGS, "Every recording, in short.", summaries, splits))
    return configs


def files_of(folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield path.relative_to(folder).as_posix(), len(content), hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder as it would be pushed, and its configs."""
    folder = tmp_path_factory.mktemp("published") / "interaction"
    configs = configs_of(folder)
    pq.write_table(pa.table({"path": ["data"]}), folder / "manifest.parquet")
    (folder / "dataset_infos.json").write_text(json.dumps(dataset_infos(facts(), configs)))
    (folder / "README.md").write_text(card(facts(), configs), encoding="utf-8")
    (folder / "croissant.json").write_text(json.dumps(croissant(facts(), configs, files_of(folder))))
    return folder, configs


@pytest.fixture
def configs(published):
    return published[1]


def front_matter_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def body_of(text):
    return text.split("---\n", 2)[2]


# --- the front matter


def test_the_yaml_is_read_as_it_was_meant(configs):
    data = huggingface_hub.DatasetCard(card(facts(), configs)).data
    metadata = MetadataConfigs.from_dataset_card_data(data)
    infos = DatasetInfosDict.from_dataset_card_data(data)
    assert list(metadata) == list(infos) == [RECORDINGS, *(size + suffix for size in SIZES for suffix in LABELS)]
    assert metadata.get_default_config_name() == RECORDINGS
    for config in configs:
        splits = {one["split"]: tuple(one["path"]) for one in metadata[config.name]["data_files"]}
        assert splits == {split.name: split.patterns for split in config.splits}
        for split in config.splits:
            read = infos[config.name].splits[split.name]
            assert (read.num_examples, read.num_bytes) == (split.num_examples, split.num_bytes)
        assert infos[config.name].download_size == sum(split.download_size for split in config.splits)
        assert infos[config.name].dataset_size == sum(split.num_bytes for split in config.splits)


def test_the_yaml_has_neither_references_nor_complex_keys(configs):
    text = card(facts(), configs).split("---\n")[1]
    assert not re.search(r"^\s*(\?|-? ?[&*]\w)|: [&*]\w", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 120


def test_what_has_no_examples_is_not_declared(configs):
    recordings, *others = declared_configs(configs)
    empty = replace(others[0], splits=tuple(replace(split, num_examples=0) for split in others[0].splits))
    half = replace(others[1], splits=(replace(others[1].splits[0], num_examples=0), others[1].splits[1]))
    made = front_matter_of(card(facts(), [recordings, empty, half]))
    assert [config["config_name"] for config in made["configs"]] == [recordings.name, half.name]
    assert [one["split"] for one in made["configs"][1]["data_files"]] == [half.splits[1].name]


def test_tasks_are_known_to_the_hub(configs):
    made = front_matter_of(card(facts(), configs))
    assert made["task_categories"] and set(made["task_categories"]) <= KNOWN_TASKS
    assert made["license"] == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("recordings", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (10_000, "10K<n<100K"), (129_370, "100K<n<1M")],
)
def test_size_category(recordings, category, configs):
    assert size_category(recordings) == category
    assert front_matter_of(card(facts(recordings=recordings), configs))["size_categories"] == [category]


def test_whoever_asks_for_access_promises_not_to_identify_anyone(configs):
    made = front_matter_of(card(facts(), configs))
    assert "does not attempt to identify or re-identify" in " ".join(made["extra_gated_prompt"].split())
    promises = [label for label, kind in made["extra_gated_fields"].items() if kind == "checkbox"]
    for word in ("non-commercial", "identify", "contact", "recognise", "imitate"):
        assert any(word in promise for promise in promises), word
    assert set(made["extra_gated_fields"].values()) <= {"text", "country", "checkbox"}  # what the Hub knows, of others


def test_synthetic_content_is_named_so_at_the_top(configs):
    made = card(facts(synthetic=True), configs)
    assert "Everything here is synthetic" in " ".join(body_of(made).split("\n", 6)[:6])
    assert "synthetic" in front_matter_of(made)["tags"]
    assert "no real person" in front_matter_of(made)["extra_gated_prompt"]
    described = croissant(facts(synthetic=True), configs, [])
    assert described["description"].startswith("Synthetic")
    assert described["creator"]["name"] != croissant(facts(), configs, [])["creator"]["name"] == "Meta FAIR"
    real = card(facts(), configs)
    assert "synthetic" not in real.lower()


# --- the body


def test_every_column_is_in_the_body_with_a_meaning(configs):
    body = body_of(card(facts(), configs))
    for config in configs:
        for column in config.features:
            assert f"`{column}`" in body, column
            assert meaning_of(column), column
    for key, array in ARRAYS.items():
        (row,) = [line for line in body.splitlines() if f"| `{key}` |" in line]
        assert array.meaning in row and array.dtype in row
        assert all(str(length) in row for length in array.shape)
    assert "`movement:hypernet_features` | float32 (T/15, 5120)" in body
    assert "`smplh:is_valid` | bool (T,)" in body


def test_a_column_that_recordings_have_otherwise_is_said_to_be(configs):
    body = body_of(card(facts(), configs))
    assert "| `segments` | list of {start, end, transcript} | as above, less of it |" in body
    assert "| `segments` | list of {start, end, transcript, words} |" in body


def test_every_issue_code_is_in_the_body_with_its_count(configs):
    body = body_of(card(facts(), configs))
    for code, meaning in ISSUES.items():
        assert f"| `{code}` | {meaning} | {facts().issues.get(code, 0)} |" in body
    with pytest.raises(ValueError, match="stolen"):
        card(facts(issues={"stolen": 1}), configs)


def test_what_is_not_whole_is_said(configs):
    assert "- 2 recordings of `100GB` that the source does not have" in card(facts(), configs)
    assert "Not whole" not in card(facts(gaps={}), configs)


def test_tables_are_tables(configs):
    """Every row of a table has as many cells as its head, whatever a description says."""
    described = [replace(config, description="one | the other") for config in configs]
    for lines in re.findall(r"(?:^\|.*\n)+", body_of(card(facts(), described)), re.MULTILINE):
        rows = lines.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


def test_the_lines_to_load_run(published, tmp_path):
    """As they stand, with the folder in place of the repository."""
    folder, configs = published
    body = body_of(card(facts(repo_id=str(folder)), configs))
    code = "\n".join(re.findall(r"```python\n(.*?)```", body, re.DOTALL))
    assert code.count("load_dataset(") == 3 and code.count("cast_column") == 2
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["recordings"]) == 12
    assert names["ds"]["train"].features["audio"].decode
    assert list(names["row"]) == ["id", "partner_id", "duration", "transcript"]


def test_without_media_nothing_is_said_of_decoding(configs):
    narrow = [replace(config, features=record_features(["transcript"])) for config in configs]
    made = card(facts(), narrow)
    assert "cast_column" not in made
    assert 'columns=["id", "partner_id", "duration", "transcript"]' in made
    made = card(facts(), [replace(config, features=record_features(["vad"])) for config in configs])
    assert 'columns=["id", "partner_id", "duration"]' in made


# --- loading


def test_every_config_loads_with_the_features_of_its_files(published, tmp_path):
    folder, configs = published
    assert datasets.get_dataset_config_names(str(folder)) == [config.name for config in declared_configs(configs)]
    for config in configs:
        loaded = datasets.load_dataset(str(folder), config.name, cache_dir=str(tmp_path))
        assert {name: len(split) for name, split in loaded.items()} == {
            split.name: split.num_examples for split in config.splits
        }
        for split in config.splits:
            assert loaded[split.name].features == config.features
    row = datasets.load_dataset(str(folder), "10GB", split="train", cache_dir=str(tmp_path)).with_format("numpy")[2]
    assert row["smplh:body_pose"].shape == (2, 21, 3)
    assert len(datasets.load_dataset(str(folder), split="dev", cache_dir=str(tmp_path))) == 8


def test_a_stream_has_the_columns_asked_for(published):
    stream = datasets.load_dataset(
        str(published[0]), "100GB-naturalistic", split="dev", streaming=True, columns=["id", "transcript"]
    )
    assert [list(row) for row in stream] == [["id", "transcript"]] * 4


def test_filters_are_as_the_card_says(published, tmp_path):
    where = {"path": str(published[0]), "name": "10GB", "split": "train", "filters": [("id", "==", "text 2")]}
    assert len(list(datasets.load_dataset(**where, streaming=True))) == 2
    with pytest.raises(datasets.exceptions.DatasetsError, match="num_examples=6"):
        datasets.load_dataset(**where, cache_dir=str(tmp_path))
    assert len(datasets.load_dataset(**where, cache_dir=str(tmp_path), verification_mode="no_checks")) == 2


def test_a_missing_shard_is_noticed(published, tmp_path):
    folder = published[0]
    copy = tmp_path / "interaction"
    copy.mkdir()
    for path, _, _ in files_of(folder):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(folder / path, copy / path)
    (copy / "data/100GB/improvised/train-00000-of-00001.parquet").unlink()
    with pytest.raises(datasets.exceptions.DatasetsError, match=r"num_examples=12.*num_examples=9"):
        datasets.load_dataset(str(copy), "100GB", cache_dir=str(tmp_path / "cache"))
    assert len(datasets.load_dataset(str(copy), "10GB", split="train", cache_dir=str(tmp_path / "cache"))) == 6


# --- dataset_infos.json


def test_dataset_infos_say_the_same_as_the_files(published):
    folder, configs = published
    infos = json.loads((folder / "dataset_infos.json").read_text())
    assert list(infos) == [config.name for config in declared_configs(configs)]
    for config in configs:
        info = datasets.DatasetInfo.from_dict(infos[config.name])
        assert info.features == config.features
        assert (info.license, info.citation) == ("CC-BY-NC-4.0", CITATION)
        assert {name: split.num_examples for name, split in info.splits.items()} == {
            split.name: split.num_examples for split in config.splits
        }
        assert "List" not in json.dumps(infos[config.name]["features"])  # 3.6 does not know it


def test_dataset_infos_alone_are_enough(published, tmp_path):
    """For a reader that has them and not the YAML's counts: they are verified too."""
    folder, configs = published
    infos = dataset_infos(facts(), [replace(config, splits=tuple(map(one_more, config.splits))) for config in configs])
    copy = tmp_path / "interaction"
    copy.mkdir()
    os.symlink(folder / "data", copy / "data")
    made = front_matter_of((folder / "README.md").read_text())
    del made["dataset_info"]
    (copy / "README.md").write_text(f"---\n{yaml.safe_dump(made, sort_keys=False)}---\n")
    (copy / "dataset_infos.json").write_text(json.dumps(infos))
    with pytest.raises(datasets.exceptions.DatasetsError, match=r"num_examples=7.*num_examples=6"):
        datasets.load_dataset(str(copy), "10GB", cache_dir=str(tmp_path / "cache"))


def one_more(split):
    return replace(split, num_examples=split.num_examples + 1)


# --- croissant.json


# Like `mlcroissant validate`, which is in a process of its own too; then the records.
READ = """
import collections, json, logging, mlcroissant, sys
folder, name = sys.argv[1:]
logging.basicConfig(level=logging.INFO)
dataset = mlcroissant.Dataset(f"{folder}/croissant.json", mapping={"repo": folder})
print(json.dumps(dataset.metadata.ctx.issues.report()))
records = list(dataset.records(name))
print(json.dumps(collections.Counter(record[f"{name}/split"].decode() for record in records)))
record = next(record for record in records if record[f"{name}/id"] == b"text 2")
segment, pose = record[f"{name}/segments"][1], record[f"{name}/smplh/body_pose"]
print(json.dumps([float(segment[f"{name}/segments/end"]), len(pose), len(pose[0]), len(pose[0][0])]))
"""


def test_croissant_validates_without_a_warning_and_reads_the_records(published):
    """In a process without `datasets`, whose array types would be in pandas' way. Takes 5 s: its imports."""
    pytest.importorskip("mlcroissant")
    command = [sys.executable, "-c", READ, str(published[0]), "100GB-naturalistic"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Could not match" not in done.stderr and not re.search("warning", done.stderr, re.IGNORECASE), done.stderr
    issues, splits, values = map(json.loads, done.stdout.splitlines())
    assert not issues
    assert splits == {"train": 6, "dev": 4}
    assert values == [2.0, 2, 21, 3]


def test_croissant_has_every_column_in_its_shape(configs):
    made = croissant(facts(), configs, [])
    sets = {one["@id"]: one for one in made["recordSet"]}
    for config in configs:
        fields = {field["name"]: field for field in sets[config.name]["field"]}
        assert list(fields) == ["split", *config.features]
    fields = {field["name"]: field for field in sets["10GB"]["field"]}
    pose = fields["smplh:body_pose"]
    assert (pose["isArray"], pose["arrayShape"], pose["dataType"]) == (True, "-1,21,3", "cr:Float32")
    assert [field["name"] for field in fields["segments"]["subField"]] == ["start", "end", "transcript"]
    assert "`words`: list of {word, start, end, score}" in fields["segments"]["description"]


def test_croissant_names_files_at_the_top_with_their_checksum(published):
    folder, configs = published
    made = croissant(facts(), configs, files_of(folder))
    named = {one["@id"]: one for one in made["distribution"]}
    assert named["manifest.parquet"]["sha256"] == hashlib.sha256((folder / "manifest.parquet").read_bytes()).hexdigest()
    assert "croissant.json" not in named and "videos" not in named
    made = croissant(facts(), configs, [("video/V00/S0809/V00_S0809_I00000582_P0947.mp4", 3, "0")])
    assert {one["@id"] for one in made["distribution"]} >= {"videos"}
