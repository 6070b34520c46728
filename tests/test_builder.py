"""The builder under every client: prepared, streamed, dealt out to workers and nodes, resumed, as a script."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from conftest import WITHOUT_TORCH, assert_same_arrays, pairs
from datasets.distributed import split_dataset_by_node

import seamless_interaction
from seamless_interaction import ARRAYS, MODALITIES, SPLITS, SeamlessInteraction, load_dataset, record_features
from seamless_interaction.errors import (
    SourceNotFound,
    UnknownLayout,
    UnknownModality,
    UnknownOption,
    UnknownSplit,
    UnknownSubset,
)
from seamless_interaction.places.place import Place
from seamless_interaction.record.digest import code_digest
from seamless_interaction.record.reading import shards_of
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.writing import synthesize

GENERATION = int(datasets.__version__.split(".")[0])
SCRIPT = seamless_interaction.__file__
MEDIA = ("audio", "video")


def ids(records):
    return [record["id"] for record in records]


# --- configs --------------------------------------------------------------------------------------


def test_twelve_configs():
    names = [
        f"{size}{label}" for size in ("10GB", "100GB", "1TB", "full") for label in ("", "-improvised", "-naturalistic")
    ]
    assert [config.name for config in SeamlessInteraction.BUILDER_CONFIGS] == names


def test_a_label_is_its_part_of_the_whole(corpora):
    folder, corpus = corpora["tree"]
    for label in ("improvised", "naturalistic"):
        found = load_dataset(f"10GB-{label}", data_dir=folder, streaming=True, modalities=[])
        expected = {r.file_id for r in corpus.recordings if r.label == label}
        assert {id for stream in found.values() for id in ids(stream)} == expected


def test_unknown_arguments_list_the_known(tree):
    with pytest.raises(UnknownSubset, match=r"10GB.*full"):
        load_dataset("50GB", data_dir=tree)
    with pytest.raises(UnknownModality, match="smplh:body_pose"):
        load_dataset(modalities=["faces"], data_dir=tree)
    with pytest.raises(UnknownLayout, match="bundles"):
        load_dataset(layout="tar", data_dir=tree)
    with pytest.raises(UnknownOption, match="null, raise, skip"):
        load_dataset(on_error="ignore", data_dir=tree)
    for streaming in (True, False):
        with pytest.raises(UnknownSplit, match=r"eval.*train, dev, test"):
            load_dataset(split="eval", data_dir=tree, streaming=streaming, modalities=["vad"])


def test_a_wrong_source(tmp_path):
    with pytest.raises(SourceNotFound, match="nowhere does not exist"):
        load_dataset(data_dir=tmp_path / "nowhere")


def test_a_size_of_a_folder_without_a_file_list_is_told(tmp_path, caplog):
    for number in range(80):
        file_id = f"V03_S{number // 2:04d}_I00000081_P{number:04d}"
        path = tmp_path / tree_path("improvised", SPLITS[number // 2 % 3], "vad", file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    loaded = load_dataset("10GB", data_dir=tmp_path, streaming=True, modalities=[])
    number = sum(len(list(stream)) for stream in loaded.values())
    assert 0 < number < 80
    (message,) = [record.message for record in caplog.records if "no filelist.csv" in record.message]
    assert f"'10GB' is {number} of the 80 recordings" in message
    caplog.clear()
    load_dataset("full", data_dir=tmp_path, streaming=True, modalities=[])
    assert not [record for record in caplog.records if record.name == "seamless_interaction"]


def test_an_empty_split_is_left_out(tmp_path):
    synthesize(tmp_path / "data", interactions=1, seconds=2.0)
    assert list(load_dataset(data_dir=tmp_path / "data", streaming=True, modalities=[])) == ["train"]
    with pytest.raises(UnknownSplit, match="Known: train"):
        load_dataset(split="test", data_dir=tmp_path / "data", streaming=True, modalities=[])


def test_validation_is_dev_and_slices_work(tree):
    dev = load_dataset(split="dev", data_dir=tree, modalities=["vad"])
    assert ids(load_dataset(split="validation", data_dir=tree, modalities=["vad"])) == ids(dev)
    assert ids(load_dataset(split="validation[:1]+train[:2]", data_dir=tree, modalities=["vad"]))[:1] == ids(dev)[:1]


# --- what is prepared is what is streamed ---------------------------------------------------------


def test_prepared_records_are_the_generators_own(corpora):
    folder, corpus = corpora["tree"]
    prepared = load_dataset(data_dir=folder)
    assert {id for split in prepared.values() for id in ids(split)} == {r.file_id for r in corpus.recordings}
    for split in prepared.values():
        assert split.features == record_features()
        for record in split:
            assert_same_arrays(record, corpus[record["id"]])


def test_all_layouts_and_both_ways_give_identical_tables(corpora):
    """Everything but the paths of media, Arrow value for Arrow value; of these, and of issues, what tells no path."""
    tables, others = [], []
    for folder, _ in corpora.values():
        for streaming in (True, False):
            dataset = load_dataset("full", split="train", data_dir=folder, streaming=streaming).with_format("arrow")
            table = pa.concat_tables(list(dataset.iter(batch_size=8))).combine_chunks()
            media = [[Path(row["path"].partition("::")[0]).name for row in table[m].to_pylist()] for m in MEDIA]
            others.append((media, [pairs({"issues": issues}) for issues in table["issues"].to_pylist()]))
            tables.append(table.drop_columns([*MEDIA, "issues"]))
    assert len(tables) == 6 and others == others[:1] * 6
    for table in tables[1:]:
        assert table.equals(tables[0])


def test_absent_arrays_keep_their_shape(corpora):
    folder, _ = corpora["tree"]
    train = load_dataset("full", split="train", data_dir=folder)
    record = next(record for record in train if record["vendor_id"] == "V03")
    assert record["movement"]["alignment_translation"].shape == (0, 2, 3)
    for key, array in ARRAYS.items():
        if array.shape:
            assert isinstance(train.data.schema.field(key).type, pa.ExtensionType)
    assert train.with_format("numpy")[ids(train).index(record["id"])]["movement:FAUValue"].shape == (0, 24)


def test_partners_are_adjacent(corpora):
    folder, _ = corpora["tree"]
    for split in load_dataset("full", data_dir=folder, streaming=True, modalities=[]).values():
        records = list(split)
        for record in records:
            if record["partner_id"]:
                here = ids(records).index(record["id"])
                assert record["partner_id"] in ids(records[max(0, here - 1) : here + 2])


def test_columns_not_asked_for_are_not_opened(corpora, tmp_path):
    """With all other files replaced by rubbish, the one modality loads."""
    for layout, (folder, corpus) in corpora.items():
        copy = tmp_path / layout
        shutil.copytree(folder, copy)
        keep = "body_pose" if layout == "tree" else ".npz"
        for path in copy.rglob("V0*"):
            if keep not in str(path):
                path.write_bytes(b"rubbish")
        stream = load_dataset("full", split="train", data_dir=copy, streaming=True, modalities=["smplh:body_pose"])
        for record in stream:
            assert record["issues"] == [i for i in record["issues"] if i["code"] == "no_partner"]
            assert_same_arrays(record, corpus[record["id"]], ["smplh:body_pose"])


def test_num_proc(corpora):
    folder, _ = corpora["tree"]
    one = load_dataset("full", split="train", data_dir=folder, modalities=["smplh", "movement"])
    shutil.rmtree(os.path.dirname(one.cache_files[0]["filename"]))
    two = load_dataset("full", split="train", data_dir=folder, modalities=["smplh", "movement"], num_proc=2)
    assert sorted(ids(one)) == sorted(ids(two)) and len(two.cache_files) == 2


# --- the cache ------------------------------------------------------------------------------------


def cache_of(folder, **kwargs):
    options = {"config_name": "10GB", "data_dir": str(folder), "modalities": ["transcript"], **kwargs}
    return SeamlessInteraction(**options).cache_dir


def test_changed_data_or_code_is_prepared_anew(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    corpus = synthesize(folder, interactions=1, seconds=2.0)
    first = load_dataset(split="train", data_dir=folder, modalities=["transcript"], cache_dir=str(tmp_path / "cache"))
    assert first[0]["transcript"]
    before = cache_of(folder)
    assert cache_of(folder) == before and cache_of(os.path.relpath(folder)) == before
    path = next(folder.rglob(f"transcript/{corpus.recordings[0].file_id}.jsonl"))
    path.write_text('{"start": 0, "end": 1, "transcript": "changed", "words": []}\n')
    second = load_dataset(split="train", data_dir=folder, modalities=["transcript"], cache_dir=str(tmp_path / "cache"))
    assert second[0]["transcript"] == "changed"
    after = cache_of(folder)
    monkeypatch.setattr("seamless_interaction.record.digest.code_digest", lambda: "other code")
    assert len({before, after, cache_of(folder)}) == 3


def test_changed_arguments_are_another_cache(tree):
    ids = ["V00_S0101_I00000081_P0202", "V00_S0101_I00000081_P0203"]
    others = ({}, {"on_error": "skip"}, {"layout": "tree"}, {"file_ids": ids}, {"sample": 2}, {"sample": 2, "seed": 1})
    assert len({cache_of(tree, **other) for other in others}) == len(others)


def test_a_request_is_one_however_it_is_written(tree):
    ids = ["V00_S0101_I00000081_P0202", "V00_S0101_I00000081_P0203"]
    for same in (
        [
            {"modalities": "vad"},
            {"modalities": ["vad"]},
            {"modalities": ("vad", "vad")},
            {"modalities": ["vad"], "seed": 5},
        ],
        [
            {"modalities": ["smplh", "vad"]},
            {"modalities": ["vad", "smplh"]},
            {"modalities": ["vad", *MODALITIES["smplh"]]},
        ],
        [{"modalities": None}, {"modalities": list(MODALITIES)}, {"on_error": "null"}, {"split": "dev"}],
        [{"file_ids": ids}, {"file_ids": ids[::-1]}, {"file_ids": tuple(ids)}],
        [{"sample": 2, "split": "dev"}, {"sample": 2, "split": "validation"}],
    ):
        options = [{"modalities": None, **one} for one in same]
        assert len({cache_of(tree, **one) for one in options}) == 1, same


def test_the_cache_follows_what_decides_and_makes_records_and_nothing_else(tree, tmp_path, monkeypatch):
    copy = tmp_path / "package"
    root = Path(seamless_interaction.__file__).parent
    shutil.copytree(
        root / "seamless_interaction", copy / "seamless_interaction", ignore=shutil.ignore_patterns("*.pyc")
    )
    shutil.copytree(root / "configs", copy / "configs")
    shutil.copy(seamless_interaction.__file__, copy)
    monkeypatch.setattr(seamless_interaction, "__file__", str(copy / "seamless_interaction.py"))
    monkeypatch.setattr(seamless_interaction, "__path__", [str(copy / "seamless_interaction")])
    monkeypatch.setattr("seamless_interaction.selection.expected.configs_folder", lambda: copy / "configs")

    def after(name):
        with open(copy / name, "a") as file:
            file.write("# edited\n")
        code_digest.cache_clear()
        return cache_of(tree)

    code = [f"seamless_interaction/{name}.py" for name in ("record/join", "formats/mp4", "source/tables")]
    made = [after(name) for name in ("seamless_interaction.py", *code, "configs/10GB.yaml")]
    assert len(set(made)) == len(made)
    for name in (
        "work/progress",
        "check/run",
        "cli/shared",
        "models/training",
        "publishing/pushing",
        "conversations/windows",
    ):
        assert after(f"seamless_interaction/{name}.py") == made[-1]
    code_digest.cache_clear()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_place_is_opened_once_and_each_table_is_read_once(corpora, tmp_path, monkeypatch, streaming):
    opened, read = [], []
    init, raw = Place.__init__, Place.read
    monkeypatch.setattr(Place, "__init__", lambda place, *args: opened.append(args) or init(place, *args))
    monkeypatch.setattr(
        Place, "read", lambda place, name, *args, **how: read.append(name) or raw(place, name, *args, **how)
    )
    folder, _ = corpora["bundles"]
    options = {"streaming": True} if streaming else {"cache_dir": str(tmp_path)}
    assert list(load_dataset("full", "dev", data_dir=folder, modalities=["vad", "context"], **options))
    assert len(opened) == 1
    tables = [name for name in read if name.endswith(".csv")]
    assert sorted(tables) == sorted(set(tables)) and {"filelist.csv", "interactions.csv"} <= set(tables)


def test_a_cache_is_used_again(tree, monkeypatch):
    load_dataset(split="dev", data_dir=tree, modalities=["vad"])
    monkeypatch.setattr(SeamlessInteraction, "_split_generators", None)  # would be called
    assert len(load_dataset(split="dev", data_dir=tree, modalities=["vad"]))


# --- shards ---------------------------------------------------------------------------------------


def test_shards_are_small_whole_interactions(corpora):
    folder, _ = corpora["tree"]
    builder = SeamlessInteraction(config_name="full", data_dir=str(folder))
    for generator in builder._split_generators(None):
        lists = [value for value in generator.gen_kwargs.values() if isinstance(value, list)]
        assert len(lists) == 1
        found = generator.gen_kwargs["rows"]["file_id"].to_pylist()
        seen = [{file_id.rpartition("_")[0] for file_id in found[start:stop]} for start, stop in lists[0]]
        assert all(1 <= len(interactions) <= 3 for interactions in seen)
        assert sum(stop - start for start, stop in lists[0]) == len(found)
        assert sum(map(len, seen)) == len(set.union(*seen))


@pytest.mark.parametrize("number", [1, 2, 3, 23, 24, 25, 47, 48, 100, 1000])
def test_shards_divide_among_nodes(number):
    file_ids = [f"V00_S{n:04d}_I00000001_P000{p}" for n in range(number) for p in (1, 2)]
    for columns in [tuple(ARRAYS), ("smplh:body_pose",), ("segments",)]:
        shards = shards_of(file_ids, columns)
        assert [row for start, stop in shards for row in range(start, stop)] == list(range(2 * number))
        assert all(start % 2 == 0 for start, _ in shards)  # whole interactions
        fewest = min(number, 24) if len(columns) > 1 else 1
        assert len(shards) >= fewest and (len(shards) <= 24 or len(shards) % 24 == 0)


def test_a_dataloader_with_two_workers_sees_each_record_once(corpora):
    data = pytest.importorskip("torch.utils.data", reason="torch is optional")
    folder, corpus = corpora["tree"]
    expected = sorted(r.file_id for r in corpus.recordings if r.split == "train")
    for streaming in (True, False):  # workers that are spawned: test_remote.py and test_view.py
        dataset = load_dataset("full", split="train", data_dir=folder, streaming=streaming, modalities=["vad"])
        loader = data.DataLoader(
            dataset, batch_size=None, num_workers=2, collate_fn=dict, multiprocessing_context="fork"
        )
        assert sorted(ids(loader)) == expected, streaming


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_split_by_node_covers_each_record_once(corpora, nodes):
    folder, corpus = corpora["tree"]
    expected = sorted(r.file_id for r in corpus.recordings if r.split == "train")
    for streaming in (True, False):
        dataset = load_dataset("full", split="train", data_dir=folder, streaming=streaming, modalities=["vad"])
        parts = [ids(split_dataset_by_node(dataset, rank, nodes)) for rank in range(nodes)]
        assert sorted(id for part in parts for id in part) == expected
        assert max(map(len, parts)) < len(expected)


def test_resuming_twice_goes_on_where_it_was(corpora):
    folder, _ = corpora["tree"]
    kwargs = {"split": "train", "data_dir": folder, "streaming": True, "modalities": ["smplh:translation"]}
    everything = ids(load_dataset("full", **kwargs))
    seen, state = [], None
    for stop in (4, 7, None):
        stream = load_dataset("full", **kwargs)
        if state:
            stream.load_state_dict(state)
        for number, record in enumerate(stream):
            seen.append(record["id"])
            if number + 1 == stop:
                state = stream.state_dict()
                break
    assert seen == everything


def test_shuffle_is_a_permutation(corpora):
    folder, _ = corpora["tree"]
    stream = load_dataset("full", split="train", data_dir=folder, streaming=True, modalities=[])
    shuffled = ids(stream.shuffle(seed=1, buffer_size=10))
    assert shuffled != ids(stream) and sorted(shuffled) == sorted(ids(stream))


# --- as a script ----------------------------------------------------------------------------------

AS_SCRIPT = """
import sys
assert not any(path == {clone!r} for path in sys.path)
import datasets
for options in ({{"streaming": True}}, {{"num_proc": 2}}):
    found = datasets.load_dataset({clone!r} + "/seamless_interaction.py", "10GB-naturalistic", data_dir={data!r},
                                  trust_remote_code=True, **options)
    for split, dataset in found.items():
        print(split, *sorted(record["id"] for record in dataset.select_columns(["id", "label"])))
    record = next(iter(found["train"].with_format("numpy")))
    assert record["smplh:body_pose"].shape[1:] == (21, 3), record["smplh:body_pose"].shape
    assert found["train"].info.license == "CC-BY-NC-4.0"
one = found["train"][0]["interaction_id"]
for options in ({{"streaming": True}}, {{"num_proc": 2}}):
    (few,) = datasets.load_dataset({clone!r} + "/seamless_interaction.py", data_dir={data!r}, interaction=[one],
                                   modalities="vad", trust_remote_code=True, **options).values()
    assert few.info.config_name.startswith("full"), few.info.config_name
    assert {{record["interaction_id"] for record in few}} == {{one}}
"""


@pytest.mark.skipif(GENERATION > 3, reason="datasets 4 and later run no scripts")
def test_as_a_script_from_an_uninstalled_clone(corpora, tmp_path):
    folder, corpus = corpora["tree"]
    clone = tmp_path / "clone"
    source = os.path.dirname(SCRIPT)
    for name in ("seamless_interaction", "configs"):
        shutil.copytree(os.path.join(source, name), clone / name)
    shutil.copy(SCRIPT, clone)
    shutil.copy(os.path.join(source, "dataset_infos.json"), clone)
    # -S would lose `datasets` too; an import hook that hides the installed project makes the clone the only one.
    hide = (
        "import sys\n"
        f"sys.path[:] = [path for path in sys.path if path != {source!r}]\n"
        "sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in repr(finder).lower()]\n"
    )
    code = hide + AS_SCRIPT.format(clone=str(clone), data=str(folder))
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache"), "HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    expected = [
        " ".join(
            [split, *sorted(r.file_id for r in corpus.recordings if (r.split, r.label) == (split, "naturalistic"))]
        )
        for split in ("train", "dev", "test")
    ]
    assert lines == 2 * [line for line in expected if " " in line]


@pytest.mark.skipif(GENERATION < 4, reason="datasets 3.6 runs scripts")
def test_newer_datasets_refuse_scripts_and_load_dataset_does_not_need_them(tree):
    with pytest.raises(RuntimeError, match="scripts are no longer supported"):
        datasets.load_dataset(SCRIPT, "10GB", data_dir=str(tree))
    assert len(load_dataset(split="dev", data_dir=tree, modalities=["vad"]))


def test_import_is_light_and_loading_works_without_torch(tree):
    """Nothing heavy is imported before it is used, nor a decoder by what decodes, nor torch by view and media."""
    code = (
        "import datasets, sys; old = set(sys.modules)\n"  # some versions of datasets import soundfile
        "import seamless_interaction; print(*set(sys.modules) - old)\n"
        "from seamless_interaction import load_dataset\n"
        "from seamless_interaction.formats import audio, mp4, video; print(*set(sys.modules) - old)\n"
        f"record = next(iter(load_dataset(split='train', data_dir={str(tree)!r}, streaming=True)))\n"
        "print(record['audio']['array'].shape, record['video'][0].shape, record['smplh']['body_pose'].shape)\n"
        "assert not {'torch', 'torchcodec'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=os.path.dirname(SCRIPT), env=WITHOUT_TORCH, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    *imported, shapes = run.stdout.splitlines()
    package, media = (set(line.split()) for line in imported)
    assert "seamless_interaction" in package and "seamless_interaction.formats.video" in media
    assert not {"av", "soundfile", "torch", "typer", "seamless_interaction.formats.arrays"} & package
    assert not {"av", "soundfile", "torch"} & media
    assert "21, 3)" in shapes


def test_a_broken_file_does_not_end_a_prepared_split(broken):
    folder, corpus = broken["bundles"]
    prepared = load_dataset("full", data_dir=folder, modalities=["smplh"])
    here = [r.file_id for r in corpus.recordings if r.defect != "absent"]
    assert sorted(id for split in prepared.values() for id in ids(split)) == sorted(here)


def test_media_are_paths_and_a_missing_one_is_null(broken):
    folder, corpus = broken["tree"]
    incomplete = next(r for r in corpus.recordings if r.defect == "incomplete")
    table = load_dataset("full", split=incomplete.split, data_dir=folder, modalities=["audio", "video"]).with_format(
        "arrow"
    )
    table = table[:]
    row = table["id"].to_pylist().index(incomplete.file_id)
    assert table["audio"][row].as_py() is None
    video = table["video"][row].as_py()
    assert video["bytes"] is None and os.path.isfile(video["path"])


def test_values_of_numpy_format(corpora):
    """The ordinary NumPy formatter of `datasets` gives the arrays' true shapes as well."""
    folder, corpus = corpora["tree"]
    record = load_dataset("full", split="train", data_dir=folder, modalities=["smplh"]).with_format("numpy")[0]
    made = corpus[record["id"]].arrays()
    np.testing.assert_array_equal(record["smplh:body_pose"], made["smplh:body_pose"])


def test_media_of_more_than_two_gigabytes(tmp_path):
    """They are paths, so no Arrow offset ends at 2**31 bytes. The file is sparse: mostly a hole."""
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=2.0)
    path = tmp_path / "data" / tree_path("improvised", "train", "audio", corpus.recordings[0].file_id)
    size = 2**31 + 2**20
    header = bytearray(path.read_bytes()[:58])
    at = header.index(b"data") + 4
    header[4:8], header[at : at + 4] = (size + at - 4).to_bytes(4, "little"), size.to_bytes(4, "little")
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(at + 4 + size)
    for streaming in (True, False):
        dataset = load_dataset(split="train", data_dir=tmp_path / "data", modalities=["audio"], streaming=streaming)
        record = next(iter(dataset))
        assert record["issues"] == [] and record["duration"] == size / 4 / 48_000
        assert record["audio"].read(record["duration"] - 1).shape == (48_000,)
