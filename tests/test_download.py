"""Copies: planned, fetched and verified, from every kind of source. All data are synthetic."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from conftest import LAYOUTS, WITHOUT_TORCH, pairs, tar_of, warnings
from servers import S3, Bucket, Hub, use_hub
from typer.testing import CliRunner

from seamless_interaction import load_dataset
from seamless_interaction.cli import app
from seamless_interaction.download import Selection, download, on_disk, plan, planning, verify
from seamless_interaction.download import run as copying
from seamless_interaction.download.manifest import Manifest
from seamless_interaction.errors import (
    EmptySelection,
    MissingFile,
    NotEnoughSpace,
    SourceNotFound,
    TargetError,
    UsageError,
)
from seamless_interaction.places.place import Place
from seamless_interaction.selection import expected, sizes
from seamless_interaction.source.layout import archive_path, bits_of, tree_path
from seamless_interaction.source.notice import NOTICE, is_synthetic
from seamless_interaction.source.tables import read_selection

SMALL = Selection("full", split="dev", modalities=("transcript", "vad", "annotations"))  # where all say no more
RUN = CliRunner()


@pytest.fixture(scope="module")
def copies(corpora, tmp_path_factory):
    """Layout -> a copy of everything, fetched from a folder of that layout."""
    target = tmp_path_factory.mktemp("copies")
    for layout in LAYOUTS:
        assert download(Selection("full"), corpora[layout][0], target / layout).exit_code == 0
    return {layout: target / layout for layout in LAYOUTS}


def files(folder):
    """Path -> bytes of what lies below the labels."""
    found = (path for label in ("improvised", "naturalistic") for path in (folder / label).rglob("*"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()}


def payload(server):
    """Requests for the content of files; of text, whose end nothing tells, the size is asked for as well."""
    return [request for request in server.requests if request.path.count("/") > 1 and request.method == "GET"]


# --- what comes out -------------------------------------------------------------------------------


def test_a_copy_of_a_tree_is_that_tree(corpora, copies):
    assert files(copies["tree"]) == files(corpora["tree"][0])


@pytest.mark.parametrize("layout", ["bundles", "archives"])
def test_bundles_and_tars_become_the_same_tree(corpora, copies, layout):
    made, tree = files(copies[layout]), files(corpora["tree"][0])
    assert made.keys() == tree.keys()
    for path, content in tree.items():
        if path.endswith((".wav", ".mp4")):
            assert made[path] == content
        elif path.endswith((".json", ".jsonl")):
            assert [json.loads(line) for line in made[path].splitlines()] == [
                json.loads(line) for line in content.splitlines()
            ]


def test_copies_of_synthetic_data_are_synthetic_whatever_part_of_the_mark_is_left(corpora, copies, tmp_path):
    for folder in corpora["tree"][0], *copies.values():
        assert is_synthetic(Place(folder)) and "synthetic" in (folder / NOTICE).read_text("utf-8").lower()
    (tmp_path / "interactions.csv").write_bytes((copies["tree"] / "interactions.csv").read_bytes())
    assert is_synthetic(Place(tmp_path))
    (tmp_path / "interactions.csv").write_text("prompt_hash\n00000001\n")
    assert not is_synthetic(Place(tmp_path))
    with Bucket(tmp_path) as bucket:  # answers 403, not 404
        assert not is_synthetic(Place(bucket.url))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_loads_as_its_source_does(corpora, copies, layout):
    def records(folder):
        stream = load_dataset("full", "dev", data_dir=folder, streaming=True).with_format("arrow")
        return [table.drop_columns(["audio", "video"]) for table in stream]

    assert records(copies[layout]) == records(corpora[layout][0])


def test_from_the_bucket_each_file_is_asked_for_once_and_only_those_that_may_exist(corpora, tmp_path):
    source, corpus = corpora["tree"]
    some = [r.file_id for r in corpus.recordings if r.profile in ("v00-annotated", "v00-no-movement", "v03-annotated")]
    there = {
        path: content for path, content in files(source).items() if path.rpartition("/")[2].partition(".")[0] in some
    }
    with Bucket(source) as bucket:
        report = download(Selection("full", file_ids=some), bucket.url, tmp_path / "copy")
        asked = [request.path.lstrip("/") for request in payload(bucket)]
    assert len(some) == 6 and sorted(asked) == sorted(there)
    assert report.exit_code == 0 and report.fetched_bytes == sum(map(len, there.values()))
    assert report.files["whole"] == len(asked)
    assert files(tmp_path / "copy") == there


@pytest.mark.parametrize("whole", [True, False])
def test_from_the_hub_members_come_by_range_unless_most_of_a_tar_is_wanted(corpora, copies, tmp_path, whole):
    modalities = None if whole else ["transcript", "smplh"]
    with Hub(corpora["archives"][0], lfs_above=0) as hub, use_hub(hub):
        planned = plan(Selection("full", split="dev", modalities=modalities), "hub", tmp_path / "copy")
        hub.storage.clear()
        report = copying.carry_out(planned)
        sent = [request.path for request in hub.storage.requests if request.path.endswith(".tar")]
    assert report.exit_code == 0 and bool(planned.whole_archives) == whole
    everything = {path: content for path, content in files(copies["archives"]).items() if "/dev/" in path}
    wanted = {path: everything[path] for path in everything if whole or "/smplh/" in path or "/transcript/" in path}
    assert files(tmp_path / "copy") == wanted
    if whole:
        assert len(sent) == len(set(sent)) == len(planned.whole_archives)
        lines = [json.loads(line) for line in (tmp_path / "copy" / "manifest.jsonl").read_text().splitlines()]
        assert {line["proof"] for line in lines if line["path"].endswith(".wav")} == {"sha256"}


def test_one_modality_of_a_tar_costs_its_member_and_little_more(corpora, tmp_path):
    folder, corpus = corpora["archives"]
    recording = next(recording for recording in corpus.recordings if recording.vendor == "V00")
    with Hub(folder, lfs_above=0) as hub, use_hub(hub):
        for modality, member in (("audio", ".wav"), ("transcript", ".json"), ("smplh:body_pose", ".npz")):
            selection = Selection(file_ids=recording.file_id, single=True, modalities=modality)
            target = tmp_path / modality.replace(":", "-")
            planned = plan(selection, "hub", target)
            hub.storage.clear()
            assert copying.carry_out(planned).exit_code == 0 and len(files(target)) == 1
            of_tars = [request for request in hub.storage.requests if request.path.endswith(".tar")]
            with tarfile.open(tar_of(folder, recording)) as tar:
                size = tar.getmember(recording.file_id + member).size
                if member == ".npz":
                    npz = zipfile.ZipFile(tar.extractfile(f"{recording.file_id}.npz"))
                    size = npz.getinfo(f"{modality}.npy").compress_size
            assert size <= sum(request.sent_bytes for request in of_tars) <= size + (1 << 16)


def test_from_s3_whatever_its_layout(corpora, copies, tmp_path):
    pytest.importorskip("s3fs")
    selection = Selection("full", split="dev", modalities=("vad", "audio", "smplh:is_valid"))
    for layout in ("tree", "archives"):  # bundles: test_remote.py
        with S3(corpora[layout][0]) as s3:
            options = {"anon": True, "endpoint_url": s3.url}
            report = download(selection, "s3://data", tmp_path / layout, storage_options=options)
            assert report.exit_code == 0
        made, copy = files(tmp_path / layout), files(copies[layout])
        assert made and made == {path: copy[path] for path in made}
        assert verify(tmp_path / layout).exit_code == 0


# --- what is selected -----------------------------------------------------------------------------


def test_a_partial_copy_counts_nothing_as_missing(corpora, tmp_path, caplog):
    source, corpus = corpora["tree"]
    recording = next(r for r in corpus.recordings if r.split == "train" and r.vendor == "V00")
    selection = Selection(file_ids=recording.file_id, single=True, modalities=("transcript", "smplh:body_pose"))
    assert download(selection, source, tmp_path / "copy").exit_code == 0
    (record,) = load_dataset(split="train", data_dir=tmp_path / "copy", streaming=True)
    assert (
        record["transcript"] is not None
        and len(record["smplh"]["body_pose"])
        and not len(record["smplh"]["translation"])
    )
    codes = {code for _, code in pairs(record)}
    assert "not_selected" in codes and not codes & {"missing", "partner_missing"}
    assert verify(tmp_path / "copy").exit_code == 0
    assert not warnings(caplog)


def test_a_terminal_of_another_encoding_gets_escapes(tmp_path, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit) as ended:
        app(["synthesize", str(tmp_path / "Übung…"), "--interactions=1", "--seconds=1"])
    stdout.flush()
    assert ended.value.code == 0 and b"/\xdcbung\\u2026: 2 synthetic" in stdout.buffer.getvalue()


def test_a_copy_is_loaded_whole_whatever_sizes_there_are(corpora, tmp_path, monkeypatch):
    """What was selected is what is meant, though it may be more recordings than the smallest size has."""
    source, corpus = corpora["tree"]
    assert download(Selection("full", modalities="vad"), source, tmp_path / "copy").exit_code == 0
    monkeypatch.setattr(sizes, "limits", lambda subset: expected.Limits(None, None if subset == "full" else 4))
    found = load_dataset(data_dir=tmp_path / "copy", modalities="vad", streaming=True)
    assert sum(1 for stream in found.values() for _ in stream) == len(corpus.recordings)


def test_what_is_fetched_later_joins_what_is_here(corpora, tmp_path):
    source, corpus = corpora["bundles"]
    first = download(Selection("full", split="dev", modalities="vad"), source, tmp_path / "copy")
    second = download(Selection("full", split="dev", modalities="transcript"), source, tmp_path / "copy")
    third = download(Selection("full", split="test", modalities="vad"), source, tmp_path / "copy")
    assert first.files["whole"] and second.files["whole"] and third.files["whole"]
    parts = {"dev": bits_of(["vad", "transcript"]), "test": bits_of(["vad"])}
    meant = read_selection(Place(tmp_path / "copy")).to_pylist()
    assert {row["file_id"]: row["parts"] for row in meant} == {
        recording.file_id: parts[recording.split] for recording in corpus.recordings if recording.split in parts
    }
    assert verify(tmp_path / "copy").exit_code == 0


@pytest.mark.parametrize("over", ["folder", "http"])
def test_a_copy_of_a_partial_copy_is_as_whole_as_that(corpora, tmp_path, over):
    source, _ = corpora["tree"]
    first = Selection("full", split="dev", modalities=("vad", "smplh:is_valid"))
    download(first, source, tmp_path / "first")
    with Bucket(tmp_path / "first") as bucket:
        report = download(None, bucket.url if over == "http" else tmp_path / "first", tmp_path / "second")
        assert report.exit_code == 0 and report.files["missing"] == 0, report.as_text()
    assert files(tmp_path / "second") == files(tmp_path / "first")
    assert verify(tmp_path / "second").exit_code == 0


def test_max_bytes_holds_by_the_sizes_that_a_folder_tells(corpora, tmp_path):
    source, _ = corpora["tree"]
    everything = sum(map(len, files(source).values()))
    report = download(Selection(max_bytes=everything // 2), source, tmp_path / "copy")
    made = sum(map(len, files(tmp_path / "copy").values()))
    assert 0.1 * everything < made <= everything // 2 and report.exit_code == 0


def test_nothing_to_fetch_is_an_error(corpora, tmp_path):
    with pytest.raises(EmptySelection):
        plan(Selection("full", vendor="V02", label="improvised"), corpora["tree"][0], tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_manifest_holds_any_number_of_recordings(tmp_path):
    """More than it has room for at first, written by many threads at a time."""
    paths = [tree_path("improvised", "dev", "vad", f"V00_S{number:04d}_I00000001_P0001") for number in range(1000)]
    manifest = Manifest(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: manifest.write(path, "whole", bytes=len(path), sha256=path), paths))
    manifest.close()
    for each in (manifest, Manifest(tmp_path)):
        assert len(each.rows) == 1000 and all(each.entry(path)["sha256"] == path for path in paths)


# --- plans ----------------------------------------------------------------------------------------


def test_a_plan_fetches_nothing_and_tells_what_would_be_done(corpora, tmp_path):
    source, corpus = corpora["tree"]
    with Bucket(source) as bucket:
        planned = plan(Selection("full"), bucket.url, tmp_path / "copy")
        assert not payload(bucket)
    assert not (tmp_path / "copy").exists()
    assert planned.files == {"fetch": len(files(source)), "resume": 0, "verify": 0, "keep": 0}
    text = planned.as_text()
    assert f"{len(corpus.recordings)} recordings" in text and "expected ones" in text
    assert json.loads(json.dumps(planned.as_dict()))["recordings"] == len(corpus.recordings)


def test_a_folder_tells_its_sizes(corpora, tmp_path):
    source, _ = corpora["tree"]
    planned = plan(Selection("full"), source, tmp_path / "copy")
    assert planned.num_bytes == sum(map(len, files(source).values()))
    assert planned.as_dict()["expected_bytes"] == 0 and "Bytes" not in planned.as_text().split("all")[1]


def test_an_index_tells_the_sizes_of_media(corpora, tmp_path):
    source, _ = corpora["archives"]
    planned = plan(Selection("full", modalities=("audio", "video", "vad")), source, tmp_path / "copy")
    of_media = sum(
        len(content) for path, content in files(corpora["tree"][0]).items() if path.endswith((".wav", ".mp4"))
    )
    rows = {row["modality"]: row for row in planned.by_modality}
    assert rows["audio"]["bytes"] + rows["video"]["bytes"] == of_media
    assert rows["audio"]["expected_bytes"] == 0 < rows["vad"]["expected_bytes"]


def test_a_source_that_has_nothing_of_it_is_a_plan_with_nothing_to_do(corpora, tmp_path):
    source, corpus = corpora["tree"]
    shutil.copytree(source, tmp_path / "less")
    gone = next(recording for recording in corpus.recordings if recording.split == "train")
    for path in (tmp_path / "less").rglob(f"{gone.file_id}.*"):
        path.unlink()
    report = download(Selection(file_ids=gone.file_id, single=True), tmp_path / "less", tmp_path / "copy")
    assert report.exit_code == 3 and report.not_in_source == [gone.file_id] and gone.file_id in report.as_text()
    assert "not in the source" in plan(Selection(file_ids=gone.file_id, single=True), tmp_path / "less").as_text()


def test_each_file_has_one_action():
    present, here, intact, known, begun = np.array([0b11111, 0]), *(np.array([bits, bits]) for bits in (7, 3, 8, 20))
    actions = on_disk.decide(present, here, intact, known, begun)
    assert {name: bits.tolist() for name, bits in actions.items()} == {
        "fetch": [0, 0],
        "resume": [0b10000, 0],
        "verify": [0b00100, 0],
        "keep": [0b01011, 0],
    }


def test_too_little_space_is_an_error_before_the_first_byte(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr(planning.Plan, "free", property(lambda plan: 1000))
    with Bucket(corpora["tree"][0]) as bucket:
        with pytest.raises(NotEnoughSpace, match=r"are expected.*Select less"):
            download(Selection("full"), bucket.url, tmp_path / "copy")
        assert not payload(bucket) and not (tmp_path / "copy").exists()


@pytest.mark.parametrize("what", ["file", "source", "other data"])
def test_only_a_folder_of_its_own_is_written_to(corpora, tmp_path, what):
    source, target = corpora["tree"][0], tmp_path / "target"
    if what == "file":
        target.write_text("mine")
    elif what == "source":
        target = source
    else:
        (target / "improvised").mkdir(parents=True)
    before = files(target) if target.is_dir() else target.read_text()
    with pytest.raises(TargetError, match="Name a"):
        download(Selection("full"), source, target)
    assert (files(target) if target.is_dir() else target.read_text()) == before


def test_a_folder_that_cannot_be_made_is_a_named_error(corpora, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TargetError, match="cannot be written to"):
        download(Selection("full", modalities="vad"), corpora["tree"][0], tmp_path / "file" / "copy")


def test_what_another_run_fetched_since_the_plan_is_not_fetched_again(corpora, tmp_path):
    with Bucket(corpora["tree"][0]) as bucket:
        planned = plan(SMALL, bucket.url, tmp_path / "copy")
        download(SMALL, bucket.url, tmp_path / "copy")
        bucket.clear()
        assert copying.carry_out(planned).files["whole"] == 0 and not payload(bucket)


def test_another_file_list_takes_nothing_from_what_is_here(corpora, tmp_path):
    source, corpus = corpora["tree"]
    lines = (source / "filelist.csv").read_text().splitlines(keepends=True)
    by_split = {split: tmp_path / f"{split}.csv" for split in ("dev", "test")}
    for split, path in by_split.items():
        path.write_text("".join([lines[0], *(line for line in lines if f",{split}," in line)]))
        report = download(Selection("full", modalities="vad"), source, tmp_path / "copy", filelist=path)
        assert report.exit_code == 0
    found = load_dataset(data_dir=tmp_path / "copy", modalities="vad", streaming=True)
    assert {record["id"] for stream in found.values() for record in stream} == {
        recording.file_id for recording in corpus.recordings if recording.split in by_split
    }


# --- again ----------------------------------------------------------------------------------------


def test_a_second_run_fetches_nothing(corpora, tmp_path):
    with Bucket(corpora["tree"][0]) as bucket:
        download(SMALL, bucket.url, tmp_path / "copy")
        bucket.clear()
        before = (tmp_path / "copy" / "manifest.jsonl").read_bytes()
        report = download(SMALL, bucket.url, tmp_path / "copy")
        assert not payload(bucket) and report.fetched_bytes == 0 and report.exit_code == 0
    assert (tmp_path / "copy" / "manifest.jsonl").read_bytes().startswith(before)


def test_a_touched_file_is_kept_and_a_changed_one_is_fetched(corpora, tmp_path):
    source = corpora["tree"][0]
    with Bucket(source) as bucket:
        download(SMALL, bucket.url, tmp_path / "copy")
        touched, changed, gone, *_ = sorted(path for path in files(tmp_path / "copy"))
        (tmp_path / "copy" / touched).touch()
        (tmp_path / "copy" / changed).write_bytes(b"{}")
        (tmp_path / "copy" / gone).unlink()
        bucket.clear()
        planned = plan(SMALL, bucket.url, tmp_path / "copy")
        assert (planned.files["verify"], planned.files["fetch"]) == (2, 1)
        copying.carry_out(planned)
        assert sorted(request.path.lstrip("/") for request in payload(bucket)) == sorted([changed, gone])
    source_files = files(source)
    assert all(source_files[path] == content for path, content in files(tmp_path / "copy").items())


def test_a_file_that_was_whole_when_a_run_was_killed_only_gets_its_name(corpora, tmp_path):
    """The line of the manifest is written before."""
    source = corpora["tree"][0]
    with Bucket(source) as bucket:
        download(SMALL, bucket.url, tmp_path / "copy")
        path = next(iter(files(tmp_path / "copy")))
        (tmp_path / "copy" / ".partial").mkdir()
        (tmp_path / "copy" / path).rename(tmp_path / "copy" / ".partial" / path.replace("/", "-"))
        bucket.clear()
        planned = plan(SMALL, bucket.url, tmp_path / "copy")
        assert planned.files["resume"] == 1 and copying.carry_out(planned).files["whole"] == 1
        assert not payload(bucket)
    assert files(tmp_path / "copy")[path] == files(source)[path]
    assert not (tmp_path / "copy" / ".partial").exists()


# --- verify ---------------------------------------------------------------------------------------


@pytest.fixture
def copy(copies, tmp_path):
    """A copy to be damaged."""
    shutil.copytree(copies["tree"], tmp_path / "copy")  # times are kept
    return tmp_path / "copy"


def test_a_whole_copy_is_whole(copy):
    found = verify(copy)
    assert (found.exit_code, found.is_complete, found.read) == (0, True, len(files(copy)))
    assert "whole" in found.as_text()


def test_each_damage_has_its_name(copy):
    gone, flipped, shorter, *_ = sorted(files(copy))
    (copy / gone).unlink()
    flip(copy / flipped)
    (copy / shorter).write_bytes((copy / shorter).read_bytes()[:-1])
    (copy / "improvised/dev/audio/mine.wav").write_text("mine")
    found = verify(copy)
    assert (found.missing, sorted(found.corrupt), found.extra) == (
        [gone],
        sorted([flipped, shorter]),
        ["improvised/dev/audio/mine.wav"],
    )
    assert found.exit_code == 4
    (copy / flipped).unlink(), (copy / shorter).unlink()
    assert verify(copy).exit_code == 3
    again = verify(copy, repair=True)
    assert again.exit_code == 0 and again.repaired.files["whole"] == 3
    assert (copy / "improvised/dev/audio/mine.wav").read_text() == "mine"


def test_repair_fetches_what_is_corrupt_and_nothing_else(corpora, tmp_path):
    with Bucket(corpora["tree"][0]) as bucket:
        download(SMALL, bucket.url, tmp_path / "copy")
        flipped = sorted(files(tmp_path / "copy"))[3]
        flip(tmp_path / "copy" / flipped)
        bucket.clear()
        assert verify(tmp_path / "copy").corrupt == [flipped] and not bucket.requests
        assert verify(tmp_path / "copy", repair=True).exit_code == 0
        assert [request.path.lstrip("/") for request in payload(bucket)] == [flipped]
    assert verify(tmp_path / "copy").exit_code == 0


@pytest.mark.parametrize("layout, is_remote", [("tree", False), ("tree", True), ("bundles", False)])
def test_what_the_file_list_flags_and_the_source_lacks_is_missing_for_every_door(corpora, tmp_path, layout, is_remote):
    folder, corpus = corpora[layout]
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    recording = next(recording for recording in corpus.recordings if "3P-V" in recording.annotations())
    gone = tree_path(recording.label, recording.split, "3P-V", recording.file_id)
    if layout == "tree":
        (source / gone).unlink()
    else:
        path = source / archive_path(recording.label, recording.split, recording.batch_idx, recording.archive_idx)
        path = path / f"{recording.file_id}.json"
        content = json.loads(path.read_text("utf-8"))
        del content["annotations:3P-V"]
        path.write_text(json.dumps(content), "utf-8")
    only = {"modalities": "annotations", "interaction": recording.ids.interaction_id}
    with Bucket(source) if is_remote else nullcontext() as bucket:
        report = download(Selection("full", **only), bucket.url if is_remote else source, tmp_path / "copy")
    assert (report.exit_code, report.files["missing"]) == (3, 1)
    found = verify(tmp_path / "copy")
    assert (found.exit_code, found.missing) == (3, [gone])
    for place in source, tmp_path / "copy":
        with pytest.raises(MissingFile, match="3P-V"):
            list(load_dataset("full", recording.split, data_dir=place, streaming=True, on_error="raise", **only))


def flip(path):
    """Damage without a trace in the file's size and time."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_samples_come_round_to_every_file(copy, monkeypatch):
    clock = iter(range(1_000, 1_000_000))
    monkeypatch.setattr("seamless_interaction.download.verifying.time.time", lambda: next(clock))
    lines = [json.loads(line) for line in (copy / "manifest.jsonl").read_text().splitlines()]
    (copy / "manifest.jsonl").write_text("".join(json.dumps({**line, "checked": 1}) + "\n" for line in lines))
    everything = len(files(copy))
    read = [verify(copy, sample=0.25) for _ in range(4)]
    assert sum(found.read for found in read) >= everything
    assert not any(found.is_complete for found in read) and "whole as far" in read[0].as_text()
    checked = Manifest(copy)
    assert (checked.cells["checked"][checked.cells["status"] > 0] >= 1_000).all()


def test_time_runs_out(copy):
    found = verify(copy, time_limit=1e-9)
    assert found.read == 0 and not found.is_complete and found.exit_code == 0


@pytest.mark.parametrize("options", [{"sample": 0}, {"sample": 1.5}, {"time_limit": 0}])
def test_a_share_or_limit_that_cannot_be_is_refused(copy, options):
    with pytest.raises(UsageError):
        verify(copy, **options)


def test_what_is_no_copy_is_not_verified(corpora, tmp_path):
    for folder in (corpora["tree"][0], tmp_path / "nowhere"):
        with pytest.raises(SourceNotFound, match="manifest"):
            verify(folder)
    assert not (tmp_path / "nowhere").exists()


def test_an_unfinished_copy_is_not_whole(corpora, tmp_path):
    """What was never fetched is missing, though the manifest has no word of it."""
    source = corpora["tree"][0]
    download(SMALL, source, tmp_path / "copy")
    manifest = tmp_path / "copy" / "manifest.jsonl"
    line = next(line for line in manifest.read_text().splitlines() if "/vad/" in line)
    manifest.write_text(manifest.read_text().replace(line + "\n", ""))
    (tmp_path / "copy" / json.loads(line)["path"]).unlink()
    found = verify(tmp_path / "copy")
    assert found.missing == [json.loads(line)["path"]] and found.exit_code == 3


# --- the command ----------------------------------------------------------------------------------


def run(*arguments):
    return RUN.invoke(app, [str(argument) for argument in arguments])


def test_commands_mirror_the_functions(corpora, tmp_path):
    source, copy = corpora["tree"][0], tmp_path / "copy"
    options = ("--version", "full", "--split", "dev", "--modalities", "transcript,vad", "--source", source, "-o", copy)
    dry = run("download", *options, "--dry-run", "--json")
    assert dry.exit_code == 0 and not copy.exists()
    planned = json.loads(dry.output)
    done = run("download", *options, "--json", "--quiet")
    assert done.exit_code == 0 and json.loads(done.stdout)["files"]["whole"] == planned["files"]["fetch"]
    assert run("verify", copy).exit_code == 0
    gone = next(iter(files(copy)))
    (copy / gone).unlink()
    found = run("verify", copy, "--json", "--sample", "5%", "--time-limit", "1m")
    assert found.exit_code == 3 and json.loads(found.stdout)["missing"] == [gone]
    assert run("verify", copy, "--repair", "--quiet").exit_code == 0
    assert files(copy)[gone] == files(source)[gone]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--split", "nowhere"], "nowhere"),
        (["--max-bytes", "20XB"], "One looks like 20GB"),
        (["--interaction", "V00_S0809"], "V00_S0809_I00000582"),
        (["--annotated", "4P"], "4P"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(corpora, tmp_path, arguments, why):
    found = run("download", "--source", corpora["tree"][0], "-o", tmp_path / "copy", *arguments)
    assert found.exit_code == 2 and why in found.output and "Traceback" not in found.output
    assert not (tmp_path / "copy").exists()


def test_list_reads_nothing_but_tables(corpora):
    with Bucket(corpora["tree"][0]) as bucket:
        env = {"SEAMLESS_INTERACTION_SOURCE": bucket.url, "SEAMLESS_INTERACTION_FILELIST": f"{bucket.url}/filelist.csv"}
        shown = RUN.invoke(app, ["list", "--annotated", "--vendor", "V03"], env=env)
        as_json = RUN.invoke(app, ["list", "--annotated", "--vendor", "V03", "--json"], env=env)
        as_csv = RUN.invoke(app, ["list", "--annotated", "--vendor", "V03", "--csv"], env=env)
        assert not payload(bucket)
    rows = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert rows and all(row["vendor_id"] == "V03" for row in rows)
    assert [row["file_id"] for row in csv.DictReader(as_csv.stdout.splitlines())] == [row["file_id"] for row in rows]
    assert all(row["file_id"] in shown.stdout for row in rows)


def test_stream_ends_quietly_when_nobody_reads_on(corpora):
    command = [sys.executable, "-m", "seamless_interaction.cli", "stream", "--version", "full"]
    command += ["--source", str(corpora["tree"][0]), "--modalities", "transcript"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=WITHOUT_TORCH)
    first = json.loads(process.stdout.readline())
    process.stdout.close()
    assert first["transcript"] and process.wait(60) == 0
    assert "Traceback" not in (errors := process.stderr.read()) and "BrokenPipe" not in errors
    process.stderr.close()


def test_a_partial_copy_is_streamed_whole(corpora, tmp_path, monkeypatch):
    source, corpus = corpora["tree"]
    download(Selection("full", modalities="vad"), source, tmp_path / "copy")
    monkeypatch.setattr(sizes, "limits", lambda subset: expected.Limits(None, None if subset == "full" else 4))
    lines = run("stream", "--source", tmp_path / "copy", "--modalities", "vad").stdout.splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(r.file_id for r in corpus.recordings)
    labels = run("stream", "--source", tmp_path / "copy", "--modalities", "vad", "--label", "improvised").stdout
    assert {json.loads(line)["label"] for line in labels.splitlines()} == {"improvised"}


def test_a_second_stream_reads_from_the_cache(corpora, tmp_path):
    with Bucket(corpora["tree"][0]) as bucket:
        env = {"SEAMLESS_INTERACTION_SOURCE": bucket.url, "SEAMLESS_INTERACTION_FILELIST": f"{bucket.url}/filelist.csv"}
        options = ["stream", "--split", "train", "--modalities", "transcript", "--cache-dir"]
        first = RUN.invoke(app, [*options, str(tmp_path)], env=env)
        bucket.clear()
        second = RUN.invoke(app, [*options, str(tmp_path)], env=env)
        assert not [request for request in payload(bucket) if request.sent_bytes and request.status < 300]
    assert first.exit_code == second.exit_code == 0 and first.stdout == second.stdout
    assert len(first.stdout.splitlines()) > 3


def test_check_source_writes_a_report(corpora, tmp_path, monkeypatch):
    source = corpora["tree"][0]
    first, *lines = (source / "filelist.csv").read_text().splitlines(keepends=True)
    (tmp_path / "filelist.csv").write_text("".join([first, *[line for line in lines if line.startswith("V01")][:2]]))
    monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", str(tmp_path / "filelist.csv"))  # less to look at
    with Bucket(source) as bucket:
        found = run("check-source", "--source", bucket.url, "--small", "-o", tmp_path / "report.json")
    assert found.exit_code == 0 and "Disagrees" in found.stdout
    assert json.loads((tmp_path / "report.json").read_text())["environment"]["source"] == bucket.url
