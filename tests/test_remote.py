"""The dataset from places that are not this disk: what comes out, what is asked for, what happens when they fail."""

import collections.abc
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import datasets
import fsspec
import numpy as np
import pytest
import soundfile
from conftest import WITHOUT_TORCH, pairs, warnings
from datasets.utils.file_utils import xopen
from servers import S3, Bucket, Hub, use_hub

from seamless_interaction import FileId, SeamlessInteraction, load_dataset
from seamless_interaction.errors import (
    AccessDenied,
    NoRanges,
    SourceError,
    SourceNotFound,
    SourceUnreachable,
)
from seamless_interaction.formats.audio import Audio
from seamless_interaction.formats.video import Video
from seamless_interaction.places.place import Place
from seamless_interaction.source import addresses
from seamless_interaction.source import files as parts
from seamless_interaction.source.addresses import filelist_of
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import LAYOUTS, archive_path, tree_path

HOSTS = ("127.0.0.1", "localhost", "::1", None)
PREFIX = "seamless_interaction"  # as the real bucket's


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing kept by another test, no long waits, and no name looked up but this machine's."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)
    for name in ("SOURCE", "FILELIST"):
        monkeypatch.delenv(f"SEAMLESS_INTERACTION_{name}", raising=False)
    look_up, foreign = socket.getaddrinfo, []

    def only_here(host, *args, **kwargs):
        if host not in HOSTS:
            foreign.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    yield foreign
    assert not foreign, "somebody asked the network"


# --- records, as they can be compared -------------------------------------------------------------


def frozen(value):
    """A value that equals another if both are the same data, wherever it came from."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, (Audio, Video)):
        return type(value).__name__
    if isinstance(value, collections.abc.Mapping):
        return {key: frozen(value[key]) for key in value}
    return [frozen(item) for item in value] if isinstance(value, list) else value


def comparable(record):
    return {**frozen(record), "issues": pairs(record)}


def load(where=None, config="full", **kwargs):
    """Every record of a place, by its id."""
    splits = load_dataset(config, data_dir=where, **{"streaming": True, **kwargs})
    return {record["id"]: record for split in splits.values() for record in split}


def assert_same(found, expected):
    assert set(found) == set(expected)
    for file_id, record in expected.items():
        assert comparable(found[file_id]) == comparable(record)


@pytest.fixture(scope="module")
def few(corpora):
    """Interactions with and without movement, annotations and a partner, where all would say no more."""
    profiles = ("v00", "v03-annotated", "v00-single", "v00-empty-transcript")
    return sorted({r.ids.interaction_id for r in corpora["tree"][1].recordings if r.profile in profiles})


@pytest.fixture(scope="module")
def local(corpora):
    """Layout -> records of the folder."""
    return {layout: load(corpora[layout][0]) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def local_few(local, few):
    """Layout -> those of the few."""
    return {layout: {i: r for i, r in found.items() if r["interaction_id"] in few} for layout, found in local.items()}


@pytest.fixture
def copy(tree, tmp_path):
    """A copy of the tree, from which files may be taken."""
    shutil.copytree(tree, tmp_path / "copy", copy_function=os.link)
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def index(corpora, tmp_path_factory):
    """An index of the archives, made where they are local."""
    place, output = Place(corpora["archives"][0]), tmp_path_factory.mktemp("index") / "archives.parquet"
    make_index(place, output, filelist_of(place))
    return output


def file_of(folder, recording, part):
    return folder / tree_path(recording.label, recording.split, part, recording.file_id)


def tar_of(recording):
    return archive_path(recording.label, recording.split, recording.batch_idx, recording.archive_idx) + ".tar"


def gets(server, ending=""):
    """Requests for content, but those for tables."""
    return [
        request
        for request in server.requests
        if request.method == "GET" and request.path.endswith(ending) and not request.path.endswith(".csv")
    ]


def names(requests):
    """How often each file was asked for."""
    return Counter(request.path.rpartition("/")[2] for request in requests)


# --- the bucket -----------------------------------------------------------------------------------


def test_the_bucket_gives_the_records_of_the_folder(tree, corpora, few, local, local_few, monkeypatch):
    with Bucket(tree, prefix=PREFIX) as bucket:
        monkeypatch.setenv("SEAMLESS_INTERACTION_SOURCE", bucket.url)
        assert load(modalities=["vad"]).keys() == local["tree"].keys()
        found = load(interaction=few)
        assert_same(found, local_few["tree"])
        recording = corpora["tree"][1].recordings[0]
        audio, video = found[recording.file_id]["audio"], found[recording.file_id]["video"]
        assert audio.path == f"{bucket.url}/{tree_path(recording.label, recording.split, 'audio', recording.file_id)}"
        np.testing.assert_array_equal(audio["array"], recording.samples().astype(np.float32) / 2**15)
        np.testing.assert_array_equal(video[-1], local["tree"][recording.file_id]["video"][-1])


def test_records_of_the_bucket_can_be_prepared(tree, few, local_few):
    with Bucket(tree, prefix=PREFIX) as bucket:
        found = load(bucket.url, streaming=False, interaction=few)
        assert_same(found, local_few["tree"])
        file_id = next(iter(found))
        np.testing.assert_array_equal(found[file_id]["video"][-1], local_few["tree"][file_id]["video"][-1])


def test_without_a_word_it_is_the_public_bucket(alone):
    """And nothing else is asked: neither a cache nor a folder of that name."""
    with pytest.raises(SourceUnreachable, match=re.escape(addresses.BUCKET)):
        load(modalities=["vad"])
    assert {f"https://{host}" for host in alone} == {re.match("https://[^/]+", addresses.BUCKET)[0]}
    alone.clear()


def test_where_the_bucket_has_no_file_list_the_official_one_counts(copy, few, local_few, monkeypatch):
    lists = copy.parent / "lists"
    lists.mkdir()
    (copy / "filelist.csv").rename(lists / "official.csv")
    with Bucket(copy, prefix=PREFIX) as bucket, Bucket(lists) as other:
        monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{other.url}/official.csv")
        monkeypatch.setenv("SEAMLESS_INTERACTION_SOURCE", bucket.url)
        assert_same(load(interaction=few), local_few["tree"])
        assert {request.path for request in other.requests} == {"/official.csv"}


@pytest.mark.parametrize("layout", ["bundles", "archives"])
def test_other_layouts_of_a_host_that_lists_nothing(corpora, few, local_few, layout):
    with Bucket(corpora[layout][0]) as bucket:
        assert_same(load(bucket.url, layout=layout, interaction=few), local_few[layout])


def test_a_host_that_sends_elsewhere_is_followed(tree, corpora, few):
    with Bucket(tree, prefix=PREFIX) as target, Bucket(tree, prefix=PREFIX, redirect_to=target.origin) as bucket:
        found = load(bucket.url, modalities=["audio", "smplh:is_valid"], interaction=few)
        recording = corpora["tree"][1].recordings[0]
        np.testing.assert_array_equal(found[recording.file_id]["smplh"]["is_valid"], recording.array("smplh:is_valid"))
        assert len(found[recording.file_id]["audio"].read(0.5, 1.0)) == 24_000
        assert {request.status for request in bucket.requests} == {302}
        assert {request.range for request in gets(target, ".wav")} > {"bytes=0-16383"}


# --- what is not there, and what is not let out ---------------------------------------------------


def test_an_optional_file_that_is_refused_is_absent_after_one_look_at_a_sibling(copy, corpora):
    recording, *others = corpora["tree"][1].recordings
    file_of(copy, recording, "transcript").unlink()
    with Bucket(copy) as bucket:
        found = load(bucket.url, modalities=["transcript"])
        assert pairs(found[recording.file_id]) == [("transcript", "absent")]
        assert found[recording.file_id]["segments"] is None
        (look,) = gets(bucket, file_of(copy, recording, "vad").name)[1:]
        assert "/vad/" in look.path and (look.range, look.sent_bytes) == ("bytes=0-0", 1)
        assert len(gets(bucket)) == len(others) + 2
    assert all(not pairs(found[other.file_id]) or other.partner is None for other in others)


def test_however_much_is_refused_of_a_recording_one_look_tells(copy, corpora, few):
    recording = corpora["tree"][1].recordings[0]
    refused = ["transcript", "smplh:body_pose", "smplh:translation", "smplh:left_hand_pose"]
    for part in refused:
        file_of(copy, recording, part).unlink()
    with Bucket(copy) as bucket:
        found = load(bucket.url, modalities=["transcript", "smplh"], interaction=few)
        assert sorted(pairs(found[recording.file_id])) == sorted(
            (part, "absent" if part == "transcript" else "missing") for part in refused
        )
        assert [request.path.split("/")[-2] for request in gets(bucket) if request.range == "bytes=0-0"] == ["vad"]


def test_an_empty_sibling_is_there_too(copy, corpora):
    """No voice activity is a file without bytes."""
    recording = next(recording for recording in corpora["tree"][1].recordings if not recording.vad())
    file_of(copy, recording, "transcript").unlink()
    with Bucket(copy) as bucket:
        assert pairs(load(bucket.url, modalities=["transcript"])[recording.file_id]) == [("transcript", "absent")]


@pytest.mark.parametrize("part", ["vad", "smplh:is_valid", "video"])
def test_a_required_file_that_is_refused_is_missing_and_the_others_are_intact(copy, corpora, few, local, part):
    recording = corpora["tree"][1].recordings[0]
    file_of(copy, recording, part).unlink()
    with Bucket(copy) as bucket:
        found = load(bucket.url, modalities=["transcript", "vad", "video", "smplh:is_valid"], interaction=few)
    assert pairs(found[recording.file_id]) == [(part, "missing")]
    for file_id, record in found.items():
        assert frozen(record["segments"]) == frozen(local["tree"][file_id]["segments"])
        assert file_id == recording.file_id or not {code for _, code in pairs(record)} & {"missing", "absent"}


def test_without_vad_and_transcript_a_recording_is_still_there(copy, corpora):
    """An array answers for both."""
    recording = corpora["tree"][1].recordings[0]
    for part in ("vad", "transcript"):
        file_of(copy, recording, part).unlink()
    with Bucket(copy) as bucket:
        found = load(bucket.url, modalities=["transcript", "vad"])
    assert pairs(found[recording.file_id]) == [("transcript", "absent"), ("vad", "missing")]


@pytest.mark.parametrize(("status", "tables"), [(403, True), (404, False)])
def test_a_recording_without_any_file_is_missing_and_the_others_are_intact(copy, corpora, few, local, status, tables):
    recording, *others = [r for r in corpora["tree"][1].recordings if r.ids.interaction_id in few]
    for path in copy.rglob(f"{recording.file_id}.*"):
        path.unlink()
    if not tables:
        for name in ("interactions", "participants", "relationships"):
            (copy / f"{name}.csv").unlink()
    failures = {lambda path: recording.file_id in path: [status] * 999}
    with Bucket(copy, failures=failures) as bucket:
        found = load(bucket.url, modalities=["transcript", "vad", "smplh", "movement"], interaction=few)
    columns = {"transcript", "vad", *(key for key in recording.array_keys if key.startswith(("smplh", "movement")))}
    assert {column for column, code in pairs(found[recording.file_id]) if code == "missing"} == columns
    for other in others:
        assert frozen(found[other.file_id]["smplh"]) == frozen(local["tree"][other.file_id]["smplh"])
        assert "missing" not in {code for _, code in pairs(found[other.file_id])}


def test_a_host_that_says_404_for_what_is_optional(copy, corpora):
    recording = corpora["tree"][1].recordings[0]
    file_of(copy, recording, "transcript").unlink()
    with Bucket(copy, failures={file_of(copy, recording, "transcript").as_posix()[-60:]: [404] * 9}) as bucket:
        assert pairs(load(bucket.url, modalities=["transcript"])[recording.file_id]) == [("transcript", "absent")]


MODALITIES_ALONE = [["transcript"], ["vad"], ["annotations"], ["movement"], None]


@pytest.mark.parametrize("modalities", MODALITIES_ALONE, ids=str)
def test_a_host_that_refuses_everything_gives_an_error_and_no_empty_records(tree, few, monkeypatch, modalities):
    with Bucket(tree) as bucket, Bucket(tree, forbid_all=True) as closed:
        monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{bucket.url}/filelist.csv")
        with pytest.raises(AccessDenied, match=f"{closed.url} refuses"):
            load(closed.url, modalities=modalities, interaction=few)


def test_a_wrong_address_gives_an_error_and_no_empty_records(tree, few, monkeypatch):
    with Bucket(tree) as bucket, Bucket(tree, failures={lambda path: True: [404] * 999}) as empty:
        monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{bucket.url}/filelist.csv")
        for modalities in (["vad"], ["movement"], ["audio"]):
            with pytest.raises(SourceNotFound, match=f"{empty.url} has nothing"):
                load(empty.url, modalities=modalities, interaction=few[:2])


def test_what_the_file_list_says_is_not_there_is_not_asked_for(tree, corpora):
    corpus = corpora["tree"][1]
    with Bucket(tree) as bucket:
        load(bucket.url, modalities=["annotations"])
        made = Counter({f"{r.file_id}.json": len(r.annotations()) for r in corpus.recordings if r.annotations()})
        assert names(gets(bucket)) == made and made
        bucket.clear()
        load(bucket.url, modalities=["movement:FAUValue"])
        assert {FileId.parse(name.removesuffix(".npy")).vendor for name in names(gets(bucket))} == {"V00"}


def test_a_broken_dataset_has_the_same_issues_on_the_bucket(broken):
    """But for recordings without any file: the disk has no record of them, the bucket may have."""
    folder, corpus = broken["tree"]
    defective = {recording.file_id: recording for recording in corpus.recordings if recording.defect}
    bereft = [recording.partner for recording in defective.values() if recording.defect == "absent"]
    alone = [recording.expected_issues for recording in defective.values() if len(recording.expected_issues) < 3]
    arrays = {column for issues in alone for column, _ in issues if ":" in column}  # of others, each is a request more
    modalities = ["audio", "video", "transcript", "vad", "annotations", *sorted(arrays)]
    selection = {"file_ids": [*defective, *bereft], "single": True, "modalities": modalities}
    with Bucket(folder) as bucket:
        found = load(bucket.url, **selection)
    expected = load(folder, **selection)
    assert {defective[file_id].defect for file_id in found.keys() - expected.keys()} == {"absent"}
    assert set(bereft) <= {
        file_id for file_id, record in expected.items() if ("partner_id", "partner_missing") in pairs(record)
    }
    codes = {code for record in expected.values() for _, code in pairs(record)}
    assert codes >= {code for recording in defective.values() for _, code in recording.expected_issues}
    for file_id, record in expected.items():
        there, here = pairs(found[file_id]), pairs(record)
        assert there == [pair for pair in here if pair != ("partner_id", "partner_missing")]


# --- bytes ----------------------------------------------------------------------------------------


def test_transcripts_cost_their_own_bytes(tree, corpora):
    with Bucket(tree) as bucket:
        load(bucket.url, modalities=["transcript"])
        sizes = [file_of(tree, r, "transcript").stat().st_size for r in corpora["tree"][1].recordings]
        sent = [request.sent_bytes for request in gets(bucket) if request.status == 206]
        assert sorted(sent) == sorted(size for size in sizes if size)
        assert len(gets(bucket)) == len(sizes)  # one of which is empty: nothing there to send
        assert {request.path.rpartition(".")[2] for request in bucket.requests} == {"jsonl", "csv"}
        assert all(request.method == "GET" or request.path.endswith(".csv") for request in bucket.requests)


def test_an_array_costs_its_own_bytes(tree, corpora):
    recordings = corpora["tree"][1].recordings
    with Bucket(tree) as bucket:
        load(bucket.url, modalities=["smplh:body_pose"])
        assert names(gets(bucket)) == {f"{recording.file_id}.npy": 1 for recording in recordings}
        sizes = sum(file_of(tree, r, "smplh:body_pose").stat().st_size for r in recordings)
        assert sum(request.sent_bytes for request in gets(bucket)) == sizes


def packed(corpora, recording, key):
    """Bytes of an array in its NPZ, which lies as a file in the other layout."""
    (path,) = corpora["bundles"][0].rglob(f"{recording.file_id}.npz")
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(f"{key}.npy").compress_size


def size_of_audio(corpora, recording):
    return file_of(corpora["tree"][0], recording, "audio").stat().st_size


def test_an_array_of_an_indexed_archive_costs_a_request_and_its_packed_bytes(corpora, index, local):
    folder, corpus = corpora["archives"]
    with Bucket(folder) as bucket:
        found = load(bucket.url, index=index, modalities=["smplh:is_valid"])
        for file_id, record in found.items():
            assert frozen(record["smplh"]["is_valid"]) == frozen(local["archives"][file_id]["smplh"]["is_valid"])
        costs = [request.sent_bytes for request in gets(bucket)]
        assert len(costs) == len(corpus.recordings)
        assert sum(costs) <= sum(packed(corpora, r, "smplh:is_valid") + 100 for r in corpus.recordings)
        heads = [request.path for request in bucket.requests if request.method == "HEAD" and ".tar" in request.path]
        assert set(heads) == {f"/{tar_of(recording)}" for recording in corpus.recordings}
        assert len(heads) == len(set(heads)) + 1  # once each, and one to see that the index is of this place


def test_an_array_of_an_indexed_archive_on_the_hub_costs_a_request_and_a_redirect(corpora, index):
    folder, corpus = corpora["archives"]
    with Hub(folder) as hub, use_hub(hub):
        load(f"hf://datasets/{hub.repo}", index=index, modalities=["smplh:is_valid"])
        resolved = [request for request in hub.requests if "/resolve/" in request.path and ".tar" in request.path]
        assert len(resolved) == len(hub.storage.requests) == len(corpus.recordings)
        cost = sum(packed(corpora, recording, "smplh:is_valid") + 100 for recording in corpus.recordings)
        assert hub.storage.bytes_sent <= cost


def test_text_of_an_indexed_archive_costs_the_json(corpora, index):
    folder, corpus = corpora["archives"]
    with Bucket(folder) as bucket:
        load(bucket.url, index=index, modalities=["transcript", "vad", "annotations"])
        sizes = [path.stat().st_size for path in corpora["bundles"][0].glob("[in]*/*/*/*/V*.json")]
        sizes = [size for size in sizes if size in {request.sent_bytes for request in gets(bucket)}]
        assert sorted(request.sent_bytes for request in gets(bucket)) == sorted(sizes)
        assert len(sizes) == len(corpus.recordings)


def test_media_cost_their_headers_until_they_are_used(tree, corpora):
    recording = corpora["tree"][1].recordings[0]
    with Bucket(tree) as bucket:
        found = load(bucket.url, modalities=["audio", "video"])
        for ending, most in ((".wav", 1), (".mp4", 2)):
            assert max(names(gets(bucket, ending)).values()) <= most
            assert max(request.sent_bytes for request in gets(bucket, ending)) <= 1 << 14
        record = found[recording.file_id]
        assert record["num_frames"] == recording.num_frames
        bucket.clear()
        assert record["audio"].path.startswith(bucket.url) and record["video"].path.startswith(bucket.url)
        assert not bucket.requests
        assert len(record["audio"]["array"]) == recording.num_samples
        assert bucket.bytes_sent <= 1.1 * file_of(tree, recording, "audio").stat().st_size + (1 << 16)
        assert record["video"][3].shape == (*reversed(recording.raster), 3)
        assert set(names(bucket.requests)) == {f"{recording.file_id}.wav", f"{recording.file_id}.mp4"}


def test_media_that_the_index_knows_cost_nothing_until_they_are_used(corpora, index):
    with Bucket(corpora["archives"][0]) as bucket:
        found = load(bucket.url, index=index, modalities=["audio", "video"])
        assert not gets(bucket)
        bucket.clear()
        recording = corpora["archives"][1].recordings[0]
        part = found[recording.file_id]["audio"].read(0.5, 1.0)
        np.testing.assert_array_equal(part, recording.samples()[24_000:48_000].astype(np.float32) / 2**15)
        size = size_of_audio(corpora, recording)
        assert {request.path for request in bucket.requests} == {f"/{tar_of(recording)}"}
        assert bucket.bytes_sent <= size + (1 << 16) + 1000  # no more than all of it, and a block for its header


# --- a place that fails ---------------------------------------------------------------------------

PASSING = {
    ".jsonl": [503],
    ".npy": ["reset"],
    ".json": ["short", 500],
    ".wav": [429, "reset"],
    ".mp4": [502],
    ".csv": [504],
}


def test_what_fails_for_a_moment_changes_nothing(tree, few, local_few):
    with Bucket(tree, failures=PASSING) as bucket:
        assert_same(load(bucket.url, interaction=few), local_few["tree"])
        assert Counter(request.status for request in bucket.requests)[503] == 2 * len(local_few["tree"])


def test_media_that_fail_for_a_moment_while_they_are_used(tree, corpora, local):
    recording = corpora["tree"][1].recordings[0]
    with Bucket(tree) as bucket:
        record = load(bucket.url, modalities=["audio", "video"])[recording.file_id]
        bucket.failures = {".wav": [503, "reset"], ".mp4": ["short", 503]}
        assert len(record["audio"]["array"]) == recording.num_samples
        np.testing.assert_array_equal(record["video"][5], local["tree"][recording.file_id]["video"][5])
        assert {503, 0} <= {request.status for request in bucket.requests}


@pytest.mark.parametrize("streaming", [True, False])
def test_a_host_that_goes_on_failing_ends_it_with_address_and_status(tree, streaming):
    with Bucket(tree, failures={".jsonl": [500] * 99}) as bucket:
        message = rf"{bucket.url}/.*\.jsonl.*500.*tried 5 times"
        with pytest.raises(SourceUnreachable, match=message):
            load(bucket.url, modalities=["vad"], streaming=streaming)


def test_a_host_that_is_not_there_is_told_after_a_few_attempts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SourceUnreachable, match=f"{url}.*tried 5 times"):
            load(url)


def test_a_name_that_nobody_has_is_told(alone):
    with pytest.raises(SourceUnreachable, match=r"http://data\.invalid/here"):
        load("http://data.invalid/here")
    assert set(alone) == {"data.invalid"}
    alone.clear()


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".npy", ".wav", ".mp4", ".csv"])
def test_a_page_in_place_of_a_file_is_no_file_of_the_dataset(tree, corpora, ending):
    """It is the host's, or of a network on the way that wants a login, and no issue of a recording."""
    recording = next(recording for recording in corpora["tree"][1].recordings if recording.annotations())
    modalities = ["audio", "video", "transcript", "vad", "annotations", "smplh:is_valid"]
    with Bucket(tree, error_page=lambda path: path.endswith(ending)) as bucket:
        message = rf"{bucket.url}/.*\{ending}.*login"
        with pytest.raises(SourceUnreachable, match=message):
            load(bucket.url, modalities=modalities, interaction=[recording.ids.interaction_id])


def test_a_host_without_ranges_gives_whole_files_and_no_parts_of_archives(tree, corpora, few, local_few, index):
    with Bucket(tree, ignore_ranges=True) as bucket:
        found = load(bucket.url, modalities=["transcript", "smplh"], interaction=few)
        for file_id, record in local_few["tree"].items():
            for column in ("segments", "smplh"):
                assert frozen(found[file_id][column]) == frozen(record[column])
    with Bucket(corpora["archives"][0], ignore_ranges=True) as bucket:
        message = rf"{bucket.url}/.*\.tar.*whole files"
        with pytest.raises(NoRanges, match=message):
            load(bucket.url, index=index, modalities=["smplh:is_valid"])


# --- tables, kept ---------------------------------------------------------------------------------


def tables_fetched(bucket):
    found = sorted(
        r.path.rpartition("/")[2] for r in bucket.requests if r.method == "GET" and r.status < 400 and ".csv" in r.path
    )
    bucket.clear()
    return found


def test_tables_are_fetched_once_and_again_when_they_change(copy, corpora):
    recording = corpora["tree"][1].recordings[0]
    with Bucket(copy) as bucket:
        first = load(bucket.url, modalities=["context"])
        assert tables_fetched(bucket) == ["filelist.csv", "interactions.csv", "participants.csv", "relationships.csv"]
        assert_same(load(bucket.url, modalities=["context"]), first)
        assert tables_fetched(bucket) == []
        table = (copy / "interactions.csv").read_bytes()
        (copy / "interactions.csv").unlink()  # a link to the original
        (copy / "interactions.csv").write_bytes(table.replace(b"Synthetic prompt", b"Another prompt"))
        prompt = load(bucket.url, modalities=["context"])[recording.file_id]["prompt_text_a"]
        assert prompt == first[recording.file_id]["prompt_text_a"].replace("Synthetic", "Another")
        assert prompt.startswith("Another") and tables_fetched(bucket) == ["interactions.csv"]


def test_without_the_host_of_the_file_list_it_is_the_one_fetched_before(copy, local, monkeypatch, caplog):
    lists = copy.parent / "lists"
    lists.mkdir()
    (copy / "filelist.csv").rename(lists / "filelist.csv")
    with Bucket(copy) as bucket:
        with Bucket(lists) as other:
            monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{other.url}/filelist.csv")
            first = load(bucket.url, modalities=["vad"])
        caplog.clear()
        assert_same(load(bucket.url, modalities=["vad"]), first)
        said = [message for message in warnings(caplog) if "copy that was fetched earlier" in message]
        assert f"{other.url}/filelist.csv" in said[0]
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", copy.parent / "elsewhere")
        with pytest.raises(SourceUnreachable, match=f"{other.url}/filelist.csv"):
            load(bucket.url, modalities=["vad"])


def test_without_the_host_what_was_prepared_before_is_loaded(tree, tmp_path, caplog):
    with Bucket(tree) as bucket:
        first = load(bucket.url, modalities=["vad", "smplh:is_valid"], streaming=False, cache_dir=tmp_path)
    caplog.clear()
    again = load(bucket.url, modalities=["vad", "smplh:is_valid"], streaming=False, cache_dir=tmp_path)
    assert_same(again, first)
    assert any(bucket.url in message and "previously prepared" in message for message in warnings(caplog))
    with pytest.raises(SourceUnreachable, match=bucket.url):
        load(bucket.url, modalities=["vad"])


# --- the Hub --------------------------------------------------------------------------------------


@pytest.fixture
def hub(corpora):
    with Hub(corpora["archives"][0]) as hub, use_hub(hub):
        yield hub


def repo(hub):
    return f"hf://datasets/{hub.repo}"


def tars(hub):
    """Archives that were asked for, and how often."""
    paths = (request.path.partition("/resolve/main/")[2] for request in hub.requests if request.method == "GET")
    return Counter(path for path in paths if path.endswith(".tar"))


@pytest.mark.parametrize("indexed, streaming", [(True, False), (False, True)])
def test_the_hub_gives_the_records_of_the_folder(hub, corpora, few, local_few, index, indexed, streaming):
    two = few[:2]  # each request is two, by way of the Hub
    found = load(repo(hub), streaming=streaming, index=index if indexed else None, interaction=two)
    assert_same(found, {i: r for i, r in local_few["archives"].items() if r["interaction_id"] in two})
    recording = corpora["archives"][1][next(iter(found))]
    record = found[recording.file_id]
    hub.storage.clear()
    part = record["audio"].read(0.5, 1.0)
    np.testing.assert_array_equal(part, recording.samples()[24_000:48_000].astype(np.float32) / 2**15)
    assert hub.storage.requests and all(request.range for request in hub.storage.requests)
    np.testing.assert_array_equal(record["video"][2], local_few["archives"][recording.file_id]["video"][2])


def test_of_the_hub_only_archives_that_are_wanted_are_opened(hub, corpora):
    load(repo(hub), "full-improvised", modalities=["smplh:is_valid"])
    wanted = {tar_of(recording) for recording in corpora["archives"][1].recordings if recording.label == "improvised"}
    assert set(tars(hub)) == wanted
    assert len(list(corpora["archives"][0].rglob("*.tar"))) > len(wanted)


def test_the_hub_is_not_asked_again_where_members_lie(hub, few):
    found = load(repo(hub), modalities=["transcript"], interaction=few)
    first = tars(hub)
    hub.clear()
    load(repo(hub), modalities=["transcript"], interaction=few)
    assert sum(tars(hub).values()) == len(found) < sum(first.values())


def test_a_wrong_repository_is_named(hub):
    with pytest.raises(SourceError, match="facebook/seamless-interactions") as raised:
        load("hf://datasets/facebook/seamless-interactions")
    assert isinstance(raised.value, (SourceNotFound, SourceUnreachable))


# --- S3, memory -----------------------------------------------------------------------------------


# Of trees, test_download.py finds that S3 has them.
@pytest.mark.parametrize("layout, streaming", [("bundles", False), ("archives", True)])
def test_s3_gives_the_records_of_the_folder(corpora, few, local_few, layout, streaming):
    s3fs = pytest.importorskip("s3fs")
    with S3(corpora[layout][0]) as server:
        options = {"anon": True, "endpoint_url": server.url}
        interaction = few[-1:]  # each request takes long
        found = load(f"s3://{server.bucket}", streaming=streaming, storage_options=options, interaction=interaction)
        assert_same(found, {i: r for i, r in local_few[layout].items() if r["interaction_id"] in interaction})
        recording = corpora[layout][1][next(iter(found))]
        assert len(found[recording.file_id]["audio"]["array"]) == recording.num_samples
        assert found[recording.file_id]["video"][1].shape == (*reversed(recording.raster), 3)
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("layout, streaming", [("bundles", True), ("archives", False)])
def test_memory_gives_the_records_of_the_folder(corpora, few, local_few, layout, streaming):
    memory, two = fsspec.filesystem("memory"), few[:2]
    memory.put(str(corpora[layout][0]), f"/remote/{layout}", recursive=True)
    try:
        found = load(f"memory://remote/{layout}", streaming=streaming, interaction=two)
        assert_same(found, {i: r for i, r in local_few[layout].items() if r["interaction_id"] in two})
        recording = corpora[layout][1][next(iter(found))]
        assert len(found[recording.file_id]["audio"]["array"]) == recording.num_samples
    finally:
        memory.rm("/remote", recursive=True)


# --- storage_options ------------------------------------------------------------------------------

KEY = {"headers": {"X-Key": "sesame"}}


class Locked(Bucket):
    """Opens for those who have the key: each request, that is, has to know the storage_options."""

    def answer(self, query):
        opened = query.headers.get("X-Key") == "sesame"
        return super().answer(query) if opened else super().answer(query._replace(method="PUT"))


@pytest.fixture
def locked(corpora):
    with Locked(corpora["tree"][0]) as bucket:
        yield bucket


def assert_media_open(record, recording):
    assert record["audio"].header.num_samples == recording.num_samples
    assert len(record["audio"]["array"]) == recording.num_samples
    assert record["video"][1].shape == (*reversed(recording.raster), 3)


def test_without_the_key_nothing_opens(tree, locked, monkeypatch):
    with Bucket(tree) as bucket:
        monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{bucket.url}/filelist.csv")
        with pytest.raises(AccessDenied, match=f"{locked.url} refuses"):
            load(locked.url, modalities=["vad"])


@pytest.mark.parametrize("layout, streaming", [("tree", True), ("archives", False)])
def test_options_reach_parts_tables_and_media(corpora, few, local_few, layout, streaming):
    with Locked(corpora[layout][0]) as bucket:
        found = load(bucket.url, layout=layout, streaming=streaming, storage_options=KEY, interaction=few)
        assert_same(found, local_few[layout])
        assert_media_open(found[corpora[layout][1].recordings[0].file_id], corpora[layout][1].recordings[0])
        assert {request.path for request in bucket.requests if request.status == 403} <= {"/selection.csv"}


def test_options_reach_an_index_that_lies_with_the_data(corpora, local, tmp_path):
    folder = shutil.copytree(corpora["archives"][0], tmp_path / "data")
    make_index(Place(folder), folder / "index.parquet", filelist_of(Place(folder)))
    with Locked(folder) as bucket:
        found = load(bucket.url, index=f"{bucket.url}/index.parquet", storage_options=KEY, modalities=["vad"])
        assert found.keys() == local["archives"].keys()
        assert (
            sum(request.path.endswith("index.parquet") and request.method == "GET" for request in bucket.requests) == 1
        )


def test_another_file_list_is_another_cache(tree, monkeypatch):
    caches = set()
    with Bucket(tree) as bucket:
        for name in ("filelist.csv", "filelist.csv?newer"):
            monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{bucket.url}/{name}")
            caches.add(SeamlessInteraction(data_dir=bucket.url, modalities=["vad"]).cache_dir)
    assert len(caches) == 2


def test_options_reach_the_processes_that_prepare(locked, few, local_few):
    found = load(locked.url, streaming=False, num_proc=2, storage_options=KEY, interaction=few)
    assert_same(found, local_few["tree"])


def samples_of(record):
    """In a worker: something that only an open file tells."""
    return {"id": record["id"], "samples": record["audio"].header.num_samples, "frames": len(record["video"])}


def as_listed(batch):
    return [samples_of(record) for record in batch]


def as_listed_of_a_stream(batch):
    """In a process that was spawned, `datasets` deals out only what PyTorch takes for a stream."""
    from torch.utils.data import IterableDataset, get_worker_info

    assert isinstance(get_worker_info().dataset, IterableDataset)
    return as_listed(batch)


# One that is spawned, since it takes seconds to import torch.
@pytest.mark.parametrize(("method", "workers", "streaming"), [("fork", 2, False), ("spawn", 1, True)])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_options_reach_the_workers_that_load(locked, corpora, method, workers, streaming):
    data = pytest.importorskip("torch.utils.data")
    train = load_dataset(
        "full",
        "train",
        data_dir=locked.url,
        streaming=streaming,
        modalities=["audio", "video"],
        storage_options=KEY,
    )
    next(iter(train))  # the parent has connections before it forks
    collate = as_listed_of_a_stream if streaming else as_listed
    loader = data.DataLoader(
        train, batch_size=2, num_workers=workers, collate_fn=collate, multiprocessing_context=method, timeout=300
    )
    found = [(record["id"], record["samples"], record["frames"]) for batch in loader for record in batch]
    recordings = [recording for recording in corpora["tree"][1].recordings if recording.split == "train"]
    assert sorted(found) == sorted((r.file_id, r.num_samples, r.num_frames) for r in recordings)


# --- how much at a time ---------------------------------------------------------------------------


@pytest.mark.parametrize("modalities", [None, ["transcript"]], ids=str)
def test_files_are_fetched_several_at_a_time(tree, few, modalities):
    """Those of a recording, and those of several. No answer comes before there are five to give."""
    asked, enough = [], threading.Event()

    def hold(path):
        if not path.endswith(".csv"):  # tables are asked for before
            asked.append(path)
            if len(asked) == 5:
                enough.set()
            assert enough.wait(60)

    with Bucket(tree) as bucket:
        one = few[:1] if modalities is None else None
        splits = load_dataset("full", data_dir=bucket.url, streaming=True, modalities=modalities, interaction=one)
        bucket.clear()
        bucket.on_request = hold
        assert [record["id"] for stream in splits.values() for record in stream]
        assert bucket.most_at_once > 4


@pytest.fixture
def pool(monkeypatch):
    """The threads that fetch, few of them."""
    with ThreadPoolExecutor(4) as pool:
        monkeypatch.setattr(parts, "_pool", lambda process: pool)
        yield pool


def begun(bucket, pool):
    """Recordings of which something was asked for, once all is done that the threads were given to do."""
    together = threading.Barrier(pool._max_workers)  # where each can only wait when it has nothing else to do
    for future in [pool.submit(together.wait) for _ in range(pool._max_workers)]:
        future.result()
    return {request.path.rpartition("/")[2].partition(".")[0] for request in gets(bucket)}


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_what_is_read_ahead_is_bounded_by_memory(tree, pool, monkeypatch, ahead):
    """One recording takes about as much as ``typical_bytes``, so that many times more lets that many wait."""
    size = parts.typical_bytes(["smplh:body_pose"])
    monkeypatch.setattr(parts, "_AT_FIRST", ahead * size)
    monkeypatch.setattr(parts, "_AHEAD_BYTES", ahead * size)
    with Bucket(tree) as bucket:
        place = Place(bucket.url)
        source = parts.Source(place, LAYOUTS["tree"])
        wanted = recordings_of(place)
        files = source.files(wanted, ("smplh:body_pose",))
        for number in range(4):
            next(files)
            assert begun(bucket, pool) == {recording.file_id for recording in wanted[: number + 1 + ahead]}
        files.close()


def recordings_of(place):
    from seamless_interaction.source import recordings

    filelist = filelist_of(place)
    found, _ = recordings.recordings(LAYOUTS["tree"].assumed(filelist), filelist, filelist, LAYOUTS["tree"])
    return [recordings.Recording(**row) for row in found.to_pylist()]


def test_a_first_record_does_not_wait_for_many(tree, pool):
    with Bucket(tree) as bucket:
        stream = load_dataset("full", "train", data_dir=bucket.url, streaming=True)
        bucket.clear()
        first = next(iter(stream))
        assert begun(bucket, pool) == {first["id"]}


def test_who_stops_early_leaves_nothing_running(tree, pool):
    small = ("transcript", "vad", "smplh:is_valid", "boxes_and_keypoints:is_valid_box")
    answer = threading.Event()
    answer.set()
    with Bucket(tree, on_request=lambda path: answer.wait()) as bucket:
        wanted = recordings_of(Place(bucket.url))
        answer.clear()
        files = parts.Source(Place(bucket.url), LAYOUTS["tree"]).files(wanted, small)
        first = next(files)
        assert len(first._fetched) == len(small) and pool._work_queue.qsize() > 30  # those of recordings to come
        files.close()
        answer.set()
        begun(bucket, pool)
        assert len(gets(bucket)) <= pool._max_workers  # what was on its way


def test_who_leaves_with_a_stream_half_read_is_not_held(tree):
    code = """
import sys, seamless_interaction
stream = iter(seamless_interaction.load_dataset("full", "train", data_dir=sys.argv[1], streaming=True))
print(next(stream)["id"])
"""
    with Bucket(tree, latency=0.05) as bucket:
        done = subprocess.run(
            [sys.executable, "-c", code, bucket.url], capture_output=True, text=True, timeout=300, env=WITHOUT_TORCH
        )
        assert (done.returncode, done.stdout.startswith("V0"), done.stderr.count("Error")) == (0, True, 0), done.stderr
        assert len(gets(bucket)) < 200


# --- members of archives, by other readers --------------------------------------------------------


@pytest.mark.parametrize("where", ["http", "hf"])
def test_a_member_opens_without_this_package_by_its_own_bytes(corpora, hub, index, where):
    folder, corpus = corpora["archives"]
    recording = corpus.recordings[0]
    with Bucket(folder) as bucket:
        found = load(bucket.url if where == "http" else repo(hub), index=index, modalities=["audio"])
        path = found[recording.file_id]["audio"].path
        bucket.clear()
        hub.storage.clear()
        with xopen(path, "rb") as file:
            (samples,) = soundfile.read(file, dtype="float32")[:1]
        np.testing.assert_array_equal(samples, recording.samples().astype(np.float32) / 2**15)
        if where == "http":
            assert 0 < bucket.bytes_sent <= size_of_audio(corpora, recording) + 4096
        else:  # the Hub's own client reads on, 5 MB
            assert all(request.range for request in hub.storage.requests) and hub.storage.requests


def test_the_audio_of_datasets_decodes_a_member(corpora, index):
    """What `datasets` decodes by itself, where what it needs for that can be imported."""
    needed = "librosa" if datasets.__version__.startswith("3.") else "torchcodec"
    pytest.importorskip(needed, exc_type=Exception)
    folder, corpus = corpora["archives"]
    with Bucket(folder) as bucket:
        splits = SeamlessInteraction(
            config_name="full", data_dir=bucket.url, index=str(index), modalities=["audio"]
        ).as_streaming_dataset()
        stream = splits["train"].cast_column("audio", datasets.Audio(decode=True))
        record = next(iter(stream))
        made = corpus[record["id"]].samples()
        np.testing.assert_allclose(np.asarray(record["audio"]["array"]), made / 2**15, atol=1e-4)
