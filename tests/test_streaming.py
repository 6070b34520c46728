"""What pipes need: records as JSON lines, and a folder that keeps what was read of remote places."""

import io
import json
import multiprocessing
import resource
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import datasets
import numpy as np
import pytest
from conftest import tar_of, warnings
from servers import Bucket, Hub, use_hub

from seamless_interaction import ARRAYS, MASKS, load_dataset
from seamless_interaction.errors import TargetError, UsageError
from seamless_interaction.places import place as places
from seamless_interaction.places.entry import Entry
from seamless_interaction.places.place import Place
from seamless_interaction.places.range_cache import RangeCache, kept_in
from seamless_interaction.record.lines import line, stream_lines
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.writing import synthesize

PLENTY = 1 << 30


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing kept by another test, and no long waits."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)


def everything(where, modalities=("transcript", "audio", "video", "smplh:is_valid", "movement:FAUValue")):
    """What a run over V00's recordings at a place reads, with samples and frames of one of each split."""
    found = []
    splits = load_dataset("full", vendor="V00", data_dir=where, modalities=list(modalities), streaming=True)
    assert len(splits) == 3
    for split in splits.values():
        records = list(split)
        found += list(stream_lines(records))
        if "audio" in modalities:
            healthy = next(record for record in records if record["audio"] and record["video"])
            found += [healthy["audio"].read(0.5, 1.0).tobytes(), healthy["video"][1].tobytes()]
    return found


def payload(*servers):
    """Bytes of recordings that were sent, but for the single ones that tell an absent file from a refusal."""
    requests = [request for server in servers for request in server.requests]
    media = (".npy", ".jsonl", ".json", ".wav", ".mp4", ".tar")
    return sum(
        request.sent_bytes
        for request in requests
        if request.method == "GET" and request.status in (200, 206) and request.range != "bytes=0-0"
        if request.path.partition("?")[0].endswith(media)
    )


def entries(folder):
    return sorted(folder.glob("*.range"))


def size_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


# --- what a second run asks for -------------------------------------------------------------------


def test_a_second_run_over_the_bucket_reads_nothing_of_recordings(tree, tmp_path):
    with Bucket(tree) as bucket:
        with kept_in(tmp_path / "kept", PLENTY):
            first = everything(bucket.url)
        assert payload(bucket) > 100_000
        bucket.clear()
        with kept_in(tmp_path / "kept", PLENTY):
            assert everything(bucket.url) == first
        assert payload(bucket) == 0 and bucket.requests
        bucket.clear()
        assert everything(bucket.url, ["transcript"]) and payload(bucket)  # without a cache


def test_a_second_run_over_the_hubs_tars_reads_nothing_of_them_not_even_headers(corpora, tmp_path):
    hub = Hub(corpora["archives"][0])
    with hub, use_hub(hub):
        url = f"hf://datasets/{hub.repo}"
        with kept_in(tmp_path / "kept", PLENTY):
            first = everything(url)
        assert payload(hub, hub.storage) > 100_000
        shutil.rmtree(tmp_path / "datasets")  # the silent index
        for server in (hub, hub.storage):
            server.clear()
        with kept_in(tmp_path / "kept", PLENTY):
            assert everything(url) == first
        assert payload(hub, hub.storage) == 0 and hub.requests


@contextmanager
def serving(kind, folder, bucket):
    if kind == "bucket":
        yield {"data_dir": bucket.url, "layout": "archives"}
    else:
        hub = Hub(folder)
        with hub, use_hub(hub):
            yield {"data_dir": f"hf://datasets/{hub.repo}"}


@pytest.mark.parametrize("kind", ["bucket", "hub"])
def test_a_tar_that_was_replaced_is_read_again(tmp_path, kind):
    """Also by the process that read it before: by ranges that are the same as before."""
    folder = tmp_path / "data"
    recording = synthesize(folder, "archives", interactions=1, seconds=2.0).recordings[0]
    tar, kept = tar_of(folder, recording), tmp_path / "kept"

    def texts():
        with serving(kind, folder, bucket) as place, kept_in(kept, PLENTY):
            splits = load_dataset("full", modalities=["transcript"], streaming=True, **place)
            return {record["id"]: record["transcript"] for split in splits.values() for record in split}

    with Bucket(folder) as bucket:  # one for both, as its port is part of the URL
        before = texts()
        with tarfile.open(tar) as old:
            members = [(member, old.extractfile(member).read()) for member in old]
        with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as new:  # as long as before, nothing where it was
            for member, content in members[::-1]:
                new.addfile(member, io.BytesIO(content.replace(b"Synthetic", b"Different")))
        after = texts()
    assert "Synthetic" in before[recording.file_id] and "Different" in after[recording.file_id]


def test_a_file_is_read_again_once_its_stamp_is_another(tmp_path):
    folder, kept = tmp_path / "data", tmp_path / "kept"
    folder.mkdir()
    with Bucket(folder) as bucket, kept_in(kept, PLENTY):
        place = Place(bucket.url)
        for content in (b"one way", b"another"):
            (folder / "a.wav").write_bytes(content)
            place.stat("a.wav")
            assert [place.read("a.wav", 0, 7) for _ in range(3)] == [content] * 3
        assert [request.method for request in bucket.requests] == ["HEAD", "GET"] * 2
    assert len(entries(kept)) == 1  # the old one is no burden


def test_local_files_are_not_kept(tree, tmp_path):
    with kept_in(tmp_path / "kept", PLENTY):
        everything(tree, ["transcript"])
    assert list((tmp_path / "kept").iterdir()) == []
    assert places.range_cache is None


def test_a_host_that_refuses_everything_is_not_hidden_by_what_is_kept(tree, tmp_path):
    """Whether it answers is asked with one byte."""
    with Bucket(tree) as bucket, kept_in(tmp_path / "kept", PLENTY) as cache:
        place = Place(bucket.url)
        for _ in range(2):
            assert len(place.read("filelist.csv", 0, 1)) == 1
        assert [request.status for request in bucket.requests] == [206, 206]
        assert entries(cache.folder) == []


# --- entries --------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 4


def never():
    raise AssertionError("it was kept")


def flipped(at):
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "cut in its head": lambda data: data[:20],
    "longer": lambda data: data + b"\0",
    "content": flipped(-2),
    "magic": flipped(0),
    "length": flipped(8),
    "checksum": flipped(16),
    "stamp": flipped(21),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_fetched_again(tmp_path, damage):
    with kept_in(tmp_path, PLENTY) as cache:
        cache.tell("https://h/a", Entry("a", False, 2000, "etag"))
        assert cache.read("https://h/a", 0, 1024, lambda: CONTENT) == CONTENT
        assert cache.read("https://h/a", 0, 1024, never) == CONTENT
        (entry,) = entries(tmp_path)
        entry.write_bytes(DAMAGES[damage](entry.read_bytes()))
        assert cache.read("https://h/a", 0, 1024, lambda: CONTENT[::-1]) == CONTENT[::-1]
        assert cache.read("https://h/a", 0, 1024, never) == CONTENT[::-1]


def test_an_entry_that_vanished_is_fetched_again(tmp_path):
    with kept_in(tmp_path / "kept", PLENTY) as cache:
        for _ in range(2):
            assert cache.read("https://h/a", 0, None, lambda: CONTENT) == CONTENT
            assert cache.read("https://h/a", 0, None, never) == CONTENT
            shutil.rmtree(tmp_path / "kept")


def test_ranges_of_one_file_are_entries_of_their_own(tmp_path):
    with kept_in(tmp_path, PLENTY) as cache:
        for span in ((0, 4), (0, 5), (1, 5), (0, None)):
            for fetch in (lambda span=span: repr(span).encode(), never):
                assert cache.read("https://h/a", *span, fetch) == repr(span).encode()


# --- the bound ------------------------------------------------------------------------------------


def test_the_bound_holds_after_each_read_and_what_was_used_last_stays(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"x" * 5000)  # does not count
    with kept_in(tmp_path, 10_000) as cache:
        for number in range(40):
            cache.read(f"https://h/{number}", 0, None, lambda: CONTENT)
            cache.read("https://h/0", 0, None, never)
            assert size_of(tmp_path) - 5000 <= 10_000
        cache.read("https://h/39", 0, None, never)
        assert len(entries(tmp_path)) >= 7
    assert (tmp_path / "mine.txt").read_bytes() == b"x" * 5000


def test_what_is_larger_than_the_bound_is_not_kept_and_drives_nothing_out(tmp_path):
    with kept_in(tmp_path, 2000) as cache:
        cache.read("https://h/a", 0, None, lambda: CONTENT)
        assert cache.read("https://h/b", 0, None, lambda: CONTENT * 2) == CONTENT * 2
        cache.read("https://h/a", 0, None, never)
        assert len(entries(tmp_path)) == 1


def test_what_earlier_runs_left_counts_partial_writes_too(tmp_path):
    with kept_in(tmp_path, 10_000) as cache:
        for number in range(8):
            cache.read(f"https://h/{number}", 0, None, lambda: CONTENT)
    killed = tmp_path / f".{entries(tmp_path)[0].name}-abc123_x"
    killed.write_bytes(CONTENT)
    with kept_in(tmp_path, 3000) as cache:
        cache.read("https://h/new", 0, None, lambda: CONTENT)
        assert size_of(tmp_path) <= 3000
        cache.read("https://h/new", 0, None, never)


def test_two_that_share_a_folder_see_what_the_other_wrote(tmp_path):
    caches = [RangeCache(tmp_path, 20_000) for _ in range(2)]
    for number in range(100):
        caches[number % 2].read(f"https://h/{number}", 0, None, lambda: CONTENT)
        assert size_of(tmp_path) <= 20_000 * 1.2
    assert len(entries(tmp_path)) > 10


def test_many_threads_get_their_own_bytes_within_the_bound(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    contents = {f"{number}.npy": bytes([number]) * 1000 for number in range(20)}
    for name, content in contents.items():
        (data / name).write_bytes(content)
    with Bucket(data) as bucket, kept_in(tmp_path / "kept", 8000), ThreadPoolExecutor(16) as pool:
        place = Place(bucket.url)
        names = list(contents) * 10
        assert list(pool.map(lambda name: place.read(name, 0, 5000), names)) == [contents[name] for name in names]
        assert 0 < size_of(tmp_path / "kept") <= 8000


def test_threads_that_write_at_once_do_not_exceed_the_bound(tmp_path):
    with kept_in(tmp_path, 4000) as cache, ThreadPoolExecutor(16) as pool:
        for turn in range(20):
            list(pool.map(lambda url: cache.read(url, 0, None, lambda: CONTENT), [f"h/{turn}/{n}" for n in range(16)]))
            assert 0 < size_of(tmp_path) <= 4000


def test_a_forked_process_reads_through_the_cache_whatever_the_parents_threads_do(tmp_path):
    def child():
        assert places.range_cache.read("https://h/a", 0, None, lambda: CONTENT) == CONTENT

    with kept_in(tmp_path, PLENTY) as cache, cache._lock:
        process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
        process.start()
        process.join(120)
        assert process.exitcode == 0
        assert cache.read("https://h/a", 0, None, never) == CONTENT


def test_a_full_disk_is_one_warning_and_reading_goes_on(tmp_path, caplog):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with kept_in(tmp_path, PLENTY) as cache:
        cache.read("https://h/before", 0, None, lambda: CONTENT)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # no file grows beyond it
        try:
            for name in ("a", "b", "b"):
                assert cache.read(f"https://h/{name}", 0, None, lambda: CONTENT) == CONTENT
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        cache.read("https://h/before", 0, None, never)
    (warning,) = warnings(caplog)
    assert str(tmp_path) in warning
    assert len(list(tmp_path.iterdir())) == 1  # nor is a part of one left


def test_a_cache_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="Name another folder"), kept_in(tmp_path / "file", 10):
        pass
    with pytest.raises(UsageError, match="a cache of 0 bytes"), kept_in(tmp_path, 0):
        pass


# --- lines ----------------------------------------------------------------------------------------


FIGURES = ("mean", "std", "min", "max")


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def parsed(text):
    assert "\n" not in text
    return json.loads(text, parse_constant=no_constant)


def assert_agrees(found, record):
    """A parsed line with the record that it was made of."""
    assert list(found) == list(record)
    for name in ("id", "partner_id", "duration", "fps", "width", "transcript", "vad", "annotations", "personality"):
        assert found[name] == record[name], name
    assert found["issues"][: len(record["issues"])] == record["issues"]
    words = [len(segment["words"]) for segment in record["segments"] or []]
    assert [segment["words"] for segment in found["segments"] or []] == words
    assert (found["video"] is None) == (record["video"] is None)
    if record["audio"]:
        header = {"sampling_rate": 48_000, "num_channels": 1, "num_samples": len(record["audio"]["array"])}
        assert found["audio"] == {"path": record["audio"].path, "duration": header["num_samples"] / 48_000, **header}
    for key in ARRAYS:
        group, feature = key.split(":")
        values, figures = record[group][feature], found[group][feature]
        assert (figures["shape"], figures["dtype"]) == (list(values.shape), str(values.dtype))
        if feature.startswith("is_valid"):
            assert figures["valid"] == (pytest.approx(values.mean()) if len(values) else None)
            continue
        if key in MASKS:
            mask = record[MASKS[key].split(":")[0]][MASKS[key].split(":")[1]]
            if len(mask) == len(values):
                values = values[mask.ravel().astype(bool)]
        assert figures["frames"] == len(values)
        finite = values[np.isfinite(values)].astype(np.float64)
        assert [figures[name] for name in FIGURES] == (
            pytest.approx([getattr(finite, name)() for name in FIGURES], rel=1e-9) if finite.size else [None] * 4
        ), key


@pytest.mark.parametrize(("which", "layout"), [("corpora", "tree"), ("broken", "archives")])
def test_every_line_is_json_and_agrees_with_its_record(which, layout, request):
    folder, corpus = request.getfixturevalue(which)[layout]
    defective = [recording.file_id for recording in corpus.recordings if recording.defect] or None
    seen = set()
    for split in load_dataset("full", data_dir=folder, streaming=True, file_ids=defective, single=True).values():
        for record in split:
            (text,) = stream_lines([record])
            assert_agrees(parsed(text), record)
            seen.add(record["id"])
    assert len(seen) > 15 and {file_id[:3] for file_id in seen} >= {"V00", "V01"}


def test_a_line_reads_no_more_than_headers_of_audio(corpora, opened):
    stream = load_dataset("full", "train", data_dir=corpora["tree"][0], streaming=True).take(3)
    records = list(stream)
    opened.clear()  # the builder's own
    assert len(list(stream_lines(records))) == 3 == len(opened)
    assert all(file.count < 100 for file in opened)


def test_what_was_not_asked_for_is_no_key_and_masks_nothing(tree):
    stream = load_dataset("full", "train", data_dir=tree, streaming=True, modalities=["smplh:translation"])
    found, record = parsed(next(stream_lines(stream))), next(iter(stream))
    assert list(found["smplh"]) == ["translation"] and not {"audio", "vad", "movement"} & set(found)
    assert found["smplh"]["translation"]["frames"] == len(record["smplh"]["translation"])
    assert found["smplh"]["translation"]["max"] >= 1e12


def test_lines_are_the_same_of_what_is_prepared_and_of_what_is_only_ordered(tree):
    arguments = {"data_dir": tree, "modalities": ["transcript", "smplh", "context"]}
    prepared = list(stream_lines(load_dataset("full", "train", **arguments)))
    stream = load_dataset("full", "train", streaming=True, **arguments)
    assert prepared == list(stream_lines(stream)) == list(stream_lines(stream.take(99)))


def test_audio_that_has_gone_is_an_issue_of_the_line(tmp_path):
    corpus = synthesize(tmp_path / "data", "tree", interactions=1, seconds=2.0)
    (record, *_) = load_dataset("full", corpus.recordings[0].split, data_dir=tmp_path / "data", streaming=True)
    recording = corpus[record["id"]]
    path = tmp_path / "data" / tree_path(recording.label, recording.split, "audio", recording.file_id)
    path.unlink()
    found = line(record)
    assert found["audio"] == {"path": str(path)}
    (issue,) = [issue for issue in found["issues"] if issue["column"] == "audio"]
    assert issue["code"] == "missing" and str(path) in issue["detail"]
    assert issue not in record["issues"]


def test_what_json_cannot_say_is_null_and_text_stays_readable():
    values = np.array([[1.0], [np.nan], [np.inf], [3.0]], np.float32)
    record = {
        "text": 'né "…"\u2028',
        "mine": [np.float32(0.5), float("nan"), {"inf": -np.inf}],
        "n": np.int64(3),
        "movement": {"FAUToken": values, "emotion_arousal": values[1:3], "is_valid": np.zeros((0, 1), np.float32)},
    }
    (text,) = stream_lines([record])
    assert "né" in text
    found = parsed(text)
    assert (found["text"], found["mine"], found["n"]) == (record["text"], [0.5, None, {"inf": None}], 3)
    shape = {"shape": [4, 1], "dtype": "float32", "frames": 4}
    assert found["movement"]["FAUToken"] == {**shape, "mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0}
    assert found["movement"]["emotion_arousal"]["mean"] is None
    assert found["movement"]["is_valid"]["valid"] is None
    assert found["movement"]["FAUToken"]["frames"] == len(values)  # a mask of another length tells nothing


def test_figures_of_long_arrays_are_exact_however_far_from_zero():
    """In steps, some of which are masked throughout."""
    noise = np.random.default_rng(0)
    values = (1e6 + noise.normal(0, 3, (20_000, 133, 3))).astype(np.float32)
    mask = noise.random(len(values)) < 0.3
    mask[3000:9000] = False
    figures = line({"boxes_and_keypoints": {"keypoints": values, "is_valid_box": mask}})["boxes_and_keypoints"]
    expected = values[mask].astype(np.float64)
    assert figures["keypoints"]["mean"] == pytest.approx(expected.mean(), rel=1e-12)
    assert figures["keypoints"]["std"] == pytest.approx(expected.std(), rel=1e-9)
    assert figures["keypoints"]["frames"] == mask.sum()
    assert figures["is_valid_box"]["valid"] == pytest.approx(mask.mean())
