"""Tars read where they are: the records of any other layout, whatever happened to a tar."""

import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import tracemalloc
from functools import partial
from pathlib import Path

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pytest
from conftest import LAYOUTS, assert_same_arrays, pairs, tar_of, warnings
from datasets.utils.file_utils import xopen
from servers import Bucket

from seamless_interaction import ARRAYS, SPLITS, load_dataset
from seamless_interaction.errors import AccessDenied, BadFile, DuplicateFileId, MissingFile, SourceNotFound, StaleIndex
from seamless_interaction.places.place import Place
from seamless_interaction.source import indexing
from seamless_interaction.source.addresses import filelist_of
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import TREE
from seamless_interaction.synthetic.profiles import DEFECTS
from seamless_interaction.synthetic.writing import synthesize

ARRAYS_READ = ["smplh:is_valid"]
EVERYTHING_BUT_CONTEXT = ["audio", "video", "transcript", "vad", "annotations", "smplh", "movement", "keypoints"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Each test indexes for itself."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def index_of(folder, output, with_filelist=True):
    make_index(Place(folder), output, filelist_of(Place(folder)) if with_filelist else None)
    return output


def load(folder, modalities=EVERYTHING_BUT_CONTEXT, **kwargs):
    splits = load_dataset("full", data_dir=folder, streaming=True, modalities=modalities, **kwargs)
    return {record["id"]: {**record, "split": split} for split, stream in splits.items() for record in stream}


def pairs_of(records):
    return {file_id: pairs(record) for file_id, record in records.items()}


# --- tars of a test's own -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Archives of all splits and labels, with a recording that has no partner."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    return folder, synthesize(folder, "archives", interactions=6, seconds=2.0, seed=1)


@pytest.fixture
def archives(whole, tmp_path):
    """A copy of them, to be broken."""
    shutil.copytree(whole[0], tmp_path / "data")
    return tmp_path / "data", whole[1]


@pytest.fixture
def many(corpora, tmp_path):
    """The same of more, where a tar has three recordings."""
    folder, corpus = corpora["archives"]
    shutil.copytree(folder, tmp_path / "data")
    return tmp_path / "data", corpus


def in_tar(corpus, folder, tar):
    return [recording.file_id for recording in corpus.recordings if tar_of(folder, recording) == tar]


def members(tar):
    with tarfile.open(tar) as archive:
        return [(member, archive.extractfile(member).read()) for member in archive.getmembers()]


def write_tar(tar, content):
    """``content``: (header, bytes) or (name, bytes)."""
    with tarfile.open(tar, "w", format=tarfile.GNU_FORMAT) as archive:
        for header, body in content:
            if isinstance(header, str):
                header = tarfile.TarInfo(header)
            header.size = len(body)
            archive.addfile(header, io.BytesIO(body))


def edit(tar, name, change):
    """Change the content of one member."""
    write_tar(tar, [(m, change(body) if m.name == name else body) for m, body in members(tar)])


def only(*recordings):
    """Criteria."""
    return {"interaction": [recording.ids.interaction_id for recording in recordings]}


def largest(folder):
    """The tar of the most recordings."""
    return max(folder.rglob("*.tar"), key=lambda tar: tar.stat().st_size)


# --- the same tables from everything --------------------------------------------------------------


@pytest.fixture(scope="module")
def variants(corpora, tmp_path_factory):
    """Name -> arguments: each layout, and a tree as early drafts named it, with and without an index."""
    home = tmp_path_factory.mktemp("variants")
    folders = {layout: folder for layout, (folder, _) in corpora.items()}
    folders["draft"] = home / "draft"
    shutil.copytree(folders["tree"], folders["draft"])
    for _, directories in TREE.values():
        for path in list(folders["draft"].glob(f"*/*/{directories[0]}")):
            (path.parents[len(Path(directories[0]).parts) - 1] / directories[-1]).parent.mkdir(exist_ok=True)
            path.rename(path.parents[len(Path(directories[0]).parts) - 1] / directories[-1])
    found = {name: {"data_dir": folders[name]} for name in ("bundles", "draft")}
    for name, folder in folders.items():
        found[f"{name} with index"] = {"data_dir": folder, "index": index_of(folder, home / f"{name}.parquet")}
    return found


def tables(streaming, **kwargs):
    loaded = load_dataset("full", streaming=streaming, **kwargs)
    return {
        split: pa.concat_tables(list(loaded[split].with_format("arrow").iter(batch_size=8))).combine_chunks()
        for split in SPLITS
    }


def media_of(table):
    """Which recordings have audio and video, and what their members or files are called."""
    names = []
    for column in ("audio", "video"):
        for value in table[column].to_pylist():
            path = value["path"].partition("::")[0]
            assert value["bytes"] is None
            names.append(path.rpartition("/")[2])
    return names


def test_every_layout_with_an_index_gives_identical_tables(variants):
    """And an early draft's. That those of today are alike without an index, test_builder.py finds."""
    assert {path.name for path in variants["draft"]["data_dir"].glob("*/*/*")} >= {"vad", "3P-V"}
    expected = tables(False, **variants["bundles"])
    assert sum(map(len, expected.values())) == 23
    compared = 0
    ways = [(name, True) for name in variants if name != "bundles"] + [("archives with index", False)]
    for name, streaming in ways:
        for split, table in tables(streaming, **variants[name]).items():
            wanted = expected[split]
            dropped = ["audio", "video", "issues"]  # paths differ, and details name them
            assert table.drop_columns(dropped).equals(wanted.drop_columns(dropped)), (name, streaming, split)
            assert [pairs({"issues": i}) for i in table["issues"].to_pylist()] == [
                pairs({"issues": i}) for i in wanted["issues"].to_pylist()
            ], (name, streaming, split)
            assert media_of(table) == media_of(wanted), (name, streaming, split)
            compared += 1
    assert compared == (5 + 1) * 3


@pytest.fixture(scope="module")
def broken_indexes(broken, tmp_path_factory):
    home = tmp_path_factory.mktemp("broken")
    return {layout: index_of(folder, home / f"{layout}.parquet") for layout, (folder, _) in broken.items()}


@pytest.fixture(scope="module")
def defective(broken):
    """Criteria: what has a defect, and the partner of what has no file."""
    recordings = broken["tree"][1].recordings
    bereft = [recording.partner for recording in recordings if recording.defect == "absent"]
    return {"file_ids": [recording.file_id for recording in recordings if recording.defect] + bereft, "single": True}


@pytest.fixture(scope="module")
def of_bundles(broken, defective):
    """The records of what is defective, extracted."""
    return load(broken["bundles"][0], **defective)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_defect_has_the_same_issues_with_and_without_index(broken, broken_indexes, defective, of_bundles, layout):
    """No recording may differ: what an archive lacks, an extracted one lacks too.

    A tree differs from both in what its broken JSON takes along, so it is compared with itself.
    """
    folder, corpus = broken[layout]
    plain = of_bundles if layout == "bundles" else load(folder, **defective)
    known = load(folder, index=broken_indexes[layout], **defective)
    assert set(plain) == {file_id for file_id in defective["file_ids"] if corpus[file_id].defect != "absent"}
    assert pairs_of(plain) == pairs_of(known)
    for file_id, record in plain.items():  # to the last value
        assert_same_arrays(known[file_id], corpus[file_id], [k for k in ARRAYS if k not in dict(pairs(record))])
        for column in ("duration", "fps", "num_frames", "transcript", "segments", "vad", "annotations"):
            assert record[column] == known[file_id][column], (file_id, column)
    if layout == "archives":
        assert pairs_of(plain) == pairs_of(of_bundles)


def test_every_defect_is_skipped_in_archives_as_in_bundles(broken, broken_indexes, defective):
    kept = load(broken["bundles"][0], on_error="skip", **defective)
    assert 0 < len(kept) < len(DEFECTS)
    for index in (None, broken_indexes["archives"]):
        assert set(load(broken["archives"][0], index=index, on_error="skip", **defective)) == set(kept)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_raises_its_error(broken, broken_indexes, defect):
    """Each alone: of all, only the first would ever be raised. That other ways find the same issues is tested above."""
    folder, corpus = broken["archives"]
    recording = next(recording for recording in corpus.recordings if recording.defect == defect)
    told = {error.code for error in BadFile.__subclasses__()} & set(DEFECTS[defect].issues.values())
    alone = {"file_ids": [recording.file_id, recording.partner], "single": True}
    options = {"modalities": EVERYTHING_BUT_CONTEXT, "index": broken_indexes["archives"], "on_error": "raise"}
    stream = load_dataset("full", recording.split, data_dir=folder, streaming=True, **alone, **options)
    if told:
        with pytest.raises(BadFile, match=recording.file_id) as raised:
            list(stream)
        assert recording.file_id in raised.value.path and raised.value.code in told
    else:
        assert recording.partner in {record["id"] for record in stream}


# --- media ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train(corpora):
    """Layout -> the first records of train with media."""
    return {
        layout: list(
            load_dataset("full", "train", data_dir=corpora[layout][0], streaming=True, modalities=["audio", "video"])
        )[:4]
        for layout in ("bundles", "archives")
    }


def test_media_of_an_archive_are_those_of_a_bundle(train):
    for wanted, record in zip(train["bundles"], train["archives"], strict=True):
        assert record["id"] == wanted["id"]
        np.testing.assert_array_equal(record["audio"]["array"], wanted["audio"]["array"])
        np.testing.assert_array_equal(record["audio"].read(0.5, 0.7), wanted["audio"].read(0.5, 0.7))
        assert record["audio"]["sampling_rate"] == wanted["audio"]["sampling_rate"]
        assert len(record["video"]) == len(wanted["video"])
        for frame in (0, len(wanted["video"]) // 2, -1):
            np.testing.assert_array_equal(record["video"][frame], wanted["video"][frame])


def test_media_of_an_archive_survive_pickling(train):
    record = train["archives"][1]
    copy = pickle.loads(pickle.dumps({name: record[name] for name in ("audio", "video")}))
    np.testing.assert_array_equal(copy["audio"]["array"], record["audio"]["array"])
    np.testing.assert_array_equal(copy["video"][3], record["video"][3])


def test_a_path_into_an_archive_opens_by_ranges_wherever_fsspec_does(corpora, train):
    folder, corpus = corpora["archives"]
    for record in train["archives"][:2]:
        stored = {member.name: body for member, body in members(tar_of(folder, corpus[record["id"]]))}
        for column, extension in (("audio", ".wav"), ("video", ".mp4")):
            path, content = record[column].path, stored[f"{record['id']}{extension}"]
            assert path.startswith(f"reference://{record['id']}{extension}::")
            with fsspec.open(path) as file:
                assert file.read() == content
            with xopen(path, "rb") as file:
                file.seek(1000)
                assert file.read(77) == content[1000:1077]
                file.seek(-9, os.SEEK_END)
                assert file.read() == content[-9:]


def test_prepared_media_of_an_archive_open(corpora):
    folder, corpus = corpora["archives"]
    record = load_dataset("full", "dev", data_dir=folder, modalities=["audio"])[0]
    made = corpus[record["id"]].samples().astype(np.float32) / 2**15
    np.testing.assert_array_equal(record["audio"]["array"], made)


def test_media_of_an_archive_that_is_gone_is_an_error_that_names_it(archives):
    folder, corpus = archives
    record = next(iter(load(folder, ["audio"]).values()))
    shutil.rmtree(folder)
    with pytest.raises(MissingFile, match=str(tar_of(folder, corpus[record["id"]]))):
        record["audio"]["array"]


# --- truncated tars -------------------------------------------------------------------------------


def cuts(tar):
    """Place -> (bytes that are left, name of the cut member or None), in the middle of the tar."""
    with tarfile.open(tar) as archive:
        found = archive.getmembers()
    middle = found[4:8]  # of the second recording: json, mp4, npz, wav
    by_extension = {os.path.splitext(member.name)[1]: member for member in middle}
    wav, npz, mp4 = by_extension[".wav"], by_extension[".npz"], by_extension[".mp4"]
    return {
        "wav": (wav.offset_data + wav.size // 2, wav.name),
        "wav header": (wav.offset_data + 20, wav.name),
        "npz": (npz.offset_data + npz.size - 1, npz.name),
        "mp4": (mp4.offset_data, mp4.name),
        "header": (npz.offset + 100, None),
        "before a header": (npz.offset, None),
    }


@pytest.mark.parametrize("place", ["wav", "wav header", "npz", "mp4", "header", "before a header"])
def test_a_cut_tar_gives_its_whole_members_and_names_the_cut_one(many, tmp_path, caplog, place):
    folder, corpus = many
    tar = largest(folder)
    order = [member.name for member, _ in members(tar)]
    size, cut = cuts(tar)[place]
    with tarfile.open(tar) as archive:
        whole = {member.name for member in archive if member.offset_data + member.size <= size}
    os.truncate(tar, size)
    here = in_tar(corpus, folder, tar)
    lost = [file_id for file_id in here if f"{file_id}.json" not in {*whole, cut}]
    of_the_tar = only(*map(corpus.__getitem__, here))
    chosen = [r.file_id for r in corpus.recordings if r.ids.interaction_id in of_the_tar["interaction"]]
    columns = {".json": ["transcript", "vad"], ".mp4": ["video"], ".wav": ["audio"], ".npz": ARRAYS_READ}
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        caplog.clear()
        records = load(folder, ["audio", "video", "transcript", "vad", *ARRAYS_READ], index=index, **of_the_tar)
        assert lost and set(records) == set(chosen) - set(lost)
        for file_id, extension in map(os.path.splitext, order):
            name = f"{file_id}{extension}"
            for column in columns[extension] if file_id in records else ():
                codes = {code for found, code in pairs(records[file_id]) if found == column} - {"vad_contradicts"}
                assert codes == (set() if name in whole else {"truncated"} if name == cut else {"missing"}), name
        assert_same_arrays(records[order[0].removesuffix(".json")], corpus[order[0].removesuffix(".json")], ARRAYS_READ)
        (gap,) = [message for message in warnings(caplog) if "are not in it" in message]
        assert f"{len(lost)} of the {len(chosen)} recordings" in gap
        named = [message for message in warnings(caplog) if tar.relative_to(folder).as_posix() in message]
        assert len(named) == (place == "header") and all("ends within the header" in message for message in named)


@pytest.mark.parametrize("indexed", [False, True])
def test_a_file_that_is_no_tar_is_named_every_time_and_costs_its_recordings(archives, tmp_path, caplog, indexed):
    folder, corpus = archives
    contents = {b"": "no bytes", b"<html><body>502</body></html>" * 40: "not a tar", b"x": "not a tar"}
    tars = sorted({tar_of(folder, recording) for recording in corpus.recordings})[: len(contents)]
    for tar, content in zip(tars, contents, strict=True):
        tar.write_bytes(content)
    lost = [file_id for tar in tars for file_id in in_tar(corpus, folder, tar)]
    index = index_of(folder, tmp_path / "index.parquet") if indexed else None
    for _ in range(2):  # the second time from what was kept of the first
        caplog.clear()
        records = load(folder, ["transcript"], index=index)
        assert set(records) == {recording.file_id for recording in corpus.recordings} - set(lost)
        assert any(f"{len(lost)} of the {len(corpus.recordings)} recordings" in message for message in warnings(caplog))
        for tar, why in zip(tars, contents.values(), strict=True):
            (message,) = [message for message in warnings(caplog) if tar.relative_to(folder).as_posix() in message]
            assert why in message


def test_a_folder_of_nothing_but_broken_tars_is_an_error(archives):
    folder, corpus = archives
    for tar in folder.rglob("*.tar"):
        tar.write_bytes(b"")
    with pytest.raises(SourceNotFound, match=f"none of the {len(corpus.recordings)} recordings"):
        load(folder)


# --- tars that change -----------------------------------------------------------------------------


def say(text, length=None):
    """A change of a bundle's JSON: one segment, which says this; padded to a length."""

    def change(body):
        bundle = json.loads(body)
        bundle["metadata:transcript"] = [{"start": 0.0, "end": 1.0, "transcript": text, "words": []}]
        made = json.dumps(bundle).encode()
        return made.ljust(length or 0)

    return change


def replace(tar, name, text, same_size):
    """Another transcript in a tar, of the same size or of another, a second later."""
    before = tar.stat()
    length = next(len(body) for member, body in members(tar) if member.name == name)
    edit(tar, name, say(text, length if same_size else length + tarfile.RECORDSIZE))
    assert (tar.stat().st_size == before.st_size) is same_size
    os.utime(tar, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))


@pytest.mark.parametrize("same_size", [True, False])
def test_a_tar_that_changed_is_indexed_again_and_no_other(archives, tmp_path, opened_tars, same_size):
    folder, corpus = archives
    recording = corpus.recordings[0]
    tar = tar_of(folder, recording)
    load(folder, ["transcript"])
    (kept,) = (tmp_path / "cache").rglob("archives/*/*.parquet")
    opened_tars.clear()
    before = kept.stat().st_ino
    assert load(folder, ["transcript"])[recording.file_id]["transcript"] != "changed"
    assert opened_tars == [] and kept.stat().st_ino == before  # nor is it written again
    replace(tar, f"{recording.file_id}.json", "changed", same_size)
    assert load(folder, ["transcript"])[recording.file_id]["transcript"] == "changed"
    assert opened_tars == [str(tar)]
    prepared = load_dataset("full", recording.split, data_dir=folder, modalities=["transcript"])
    assert "changed" in prepared["transcript"]


@pytest.mark.parametrize("same_size", [True, False])
def test_a_tar_that_changed_since_its_index_is_named(archives, tmp_path, same_size):
    folder, corpus = archives
    index = index_of(folder, tmp_path / "index.parquet")
    tar = tar_of(folder, corpus.recordings[0])
    replace(tar, f"{corpus.recordings[0].file_id}.json", "changed", same_size)
    with pytest.raises(StaleIndex, match=str(tar)):
        load(folder, ["transcript"], index=index)
    with pytest.raises(StaleIndex, match=str(tar)):
        load_dataset("full", "train", data_dir=folder, modalities=["transcript"], index=index)
    index_of(folder, index)
    assert load(folder, ["transcript"], index=index)[corpus.recordings[0].file_id]["transcript"] == "changed"


def test_an_index_is_good_for_a_copy_with_other_times_and_not_for_other_sizes(archives, tmp_path):
    folder, corpus = archives
    index = index_of(folder, tmp_path / "index.parquet")
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    for tar in (tmp_path / "copy").rglob("*.tar"):
        os.utime(tar, (1, 1))
    records = load(tmp_path / "copy", ["audio", *ARRAYS_READ], index=index)
    assert len(records) == len(corpus.recordings)
    for file_id, record in records.items():
        assert_same_arrays(record, corpus[file_id], ARRAYS_READ)
        assert str(tmp_path / "copy") in str(record["audio"].path) or record["audio"].path.startswith("reference://")
    shutil.rmtree(folder)  # nothing of the first is read
    one = corpus.recordings[0].file_id
    assert records[one]["audio"]["array"].size
    (tmp_path / "copy" / "selection.csv").write_text(f"file_id\n{one}\n")  # and if it is a part
    assert set(load(tmp_path / "copy", ["transcript"], index=index)) == {one}
    (tmp_path / "copy" / "selection.csv").unlink()
    with open(largest(tmp_path / "copy"), "ab") as file:
        file.write(bytes(512))
    with pytest.raises(StaleIndex, match=str(tmp_path / "copy")):
        load(tmp_path / "copy", index=index)


def test_a_tar_replaced_while_it_is_streamed_is_an_error_and_no_nonsense(archives):
    folder, _ = archives
    stream = iter(load_dataset("full", "train", data_dir=folder, streaming=True, modalities=["transcript"]))
    first = next(stream)
    for tar in folder.rglob("*.tar"):
        content = members(tar)
        tar.unlink()
        write_tar(tar, content[::-1])
    with pytest.raises(StaleIndex, match="changed since"):
        list(stream)
    assert first["transcript"] is not None


def test_a_tar_that_vanishes_before_it_is_read_is_named(archives, caplog, monkeypatch):
    folder, corpus = archives
    tar = largest(folder)
    named = indexing._named

    def then_remove(*args):
        found = named(*args)
        tar.unlink()
        return found

    monkeypatch.setattr(indexing, "_named", then_remove)
    records = load(folder, ["transcript"])
    assert set(records) == {r.file_id for r in corpus.recordings} - set(in_tar(corpus, folder, tar))
    assert any(f"{tar}: gone since" in message for message in warnings(caplog))


def test_indexes_kept_for_other_selections_are_used_and_stay(archives, opened_tars):
    """One selection after the other neither reads a tar twice nor takes anything from the one before."""
    folder, corpus = archives
    streams = {}
    for _ in range(2):
        for subset in ("full-improvised", "full-naturalistic", "full"):
            streams[subset] = load_dataset(subset, data_dir=folder, streaming=True, modalities=["transcript"])
    assert len(opened_tars) == len(set(opened_tars))
    found = {subset: {r["id"] for s in splits.values() for r in s} for subset, splits in streams.items()}
    assert found["full"] == found["full-improvised"] | found["full-naturalistic"] and len(found["full"]) == len(
        corpus.recordings
    )


def test_few_indexes_of_a_place_are_kept(archives, tmp_path, monkeypatch):
    folder, _ = archives
    monkeypatch.setattr(indexing, "_SILENT", 3)
    for number in range(5):
        os.utime(largest(folder), (number + 1, number + 1))
        load_dataset("full", data_dir=folder, streaming=True, modalities=["transcript"])
        kept = list((tmp_path / "cache").rglob("archives/*/*"))
        assert len(kept) == min(number + 1, 3)


# --- hostile tars ---------------------------------------------------------------------------------


def everything_below(folder):
    return sorted(path for path in folder.rglob("*") if "cache" not in path.relative_to(folder).parts[0])


HOSTILE_NAMES = ["../{id}.wav", "/tmp/{id}.wav", "a/../../{id}.json", "..", "{id}.wav\n", "{id}.exe", "..\\{id}.npz"]


def test_names_that_lead_elsewhere_are_no_recordings(archives, tmp_path, caplog):
    folder, corpus = archives
    named = dict(zip(HOSTILE_NAMES, sorted(folder.rglob("*.tar")), strict=False))
    for name, tar in named.items():
        write_tar(
            tar, [(name.format(id=(in_tar(corpus, folder, tar) or [corpus.stray.file_id])[0]), b"x"), *members(tar)]
        )
    before = everything_below(tmp_path)
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        caplog.clear()
        records = load(folder, ["audio", "transcript", *ARRAYS_READ], index=index)
        assert set(records) == {recording.file_id for recording in corpus.recordings}
        for file_id, record in records.items():
            assert not {code for _, code in pairs(record)} - {"no_partner"}
            assert_same_arrays(record, corpus[file_id], ARRAYS_READ)
        for name, tar in named.items():
            told = [
                m
                for m in warnings(caplog)
                if tar.relative_to(folder).as_posix() in m and "names are no recordings" in m
            ]
            assert len(told) == bool(in_tar(corpus, folder, tar)), name  # the stray's tar is not opened
    assert set(everything_below(tmp_path)) - set(before) == {tmp_path / "index.parquet"}


def test_a_test_recording_in_a_dev_tar_does_not_leak(archives, tmp_path, caplog):
    """Both tars are in the file list; which of the two recordings counts, it says."""
    folder, corpus = archives
    test = next(recording for recording in corpus.recordings if recording.split == "test")
    dev = next(recording for recording in corpus.recordings if recording.split == "dev")
    tar = tar_of(folder, dev)
    stray = [(m, say("leaked")(b) if m.name.endswith(".json") else b) for m, b in members(tar_of(folder, test))]
    write_tar(tar, [*stray, *members(tar)])
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        caplog.clear()
        records = load(folder, ["transcript", "video"], index=index)
        assert len(records) == len(corpus.recordings)
        assert records[test.file_id]["split"] == "test" and records[test.file_id]["transcript"] != "leaked"
        assert records[dev.file_id]["split"] == "dev" and pairs(records[dev.file_id]) == []
        told = [m for m in warnings(caplog) if "names another place" in m and f"improvised/dev/{dev.batch_idx}" in m]
        assert len(told) == (index is None)  # an index holds what the file list names, and nothing else


def test_a_member_twice_or_of_another_kind_is_unreadable(archives, tmp_path):
    folder, corpus = archives
    types = {
        "twice": tarfile.REGTYPE,
        "symlink": tarfile.SYMTYPE,
        "hardlink": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
    }
    recordings = corpus.recordings[: len(types)]
    for recording, (kind, type) in zip(recordings, types.items(), strict=True):
        tar, name = tar_of(folder, recording), f"{recording.file_id}.wav"
        content = [(member, body) for member, body in members(tar) if kind == "twice" or member.name != name]
        header = tarfile.TarInfo(name)
        header.type, header.linkname = type, "" if kind == "twice" else "/etc/passwd"
        write_tar(tar, [*content, (header, b"")])
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        records = load(folder, ["audio", *ARRAYS_READ], index=index, **only(*recordings))
        for recording, kind in zip(recordings, types, strict=True):
            record = records[recording.file_id]
            assert ("audio", "unreadable") in pairs(record) and record["audio"] is None, kind
            assert {code for _, code in pairs(record)} <= {"unreadable", "no_partner"}
            assert_same_arrays(record, recording, ARRAYS_READ)


@pytest.mark.parametrize("size", [10**9, 2**80])
def test_a_huge_declared_size_is_a_truncated_member_and_allocates_nothing(archives, tmp_path, size):
    folder, corpus = archives
    recording = corpus.recordings[0]
    tar, name = tar_of(folder, recording), f"{recording.file_id}.npz"
    content = members(tar)
    body = next(body for member, body in content if member.name == name)
    write_tar(tar, [pair for pair in content if pair[0].name != name])
    with tarfile.open(tar) as archive:
        end = max(m.offset_data + -(-m.size // 512) * 512 for m in archive)
    header = tarfile.TarInfo(name)
    header.size = size
    with open(tar, "r+b") as file:
        file.truncate(end)
        file.seek(end)
        file.write(header.tobuf(tarfile.GNU_FORMAT) + body)
    tracemalloc.start()
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        record = load(folder, ["smplh"], index=index, **only(recording))[recording.file_id]
        assert pairs(record) == sorted((key, "truncated") for key in ARRAYS if key.startswith("smplh"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def patched_directory(body, member, at, value):
    """An NPZ whose directory says something else of one member: ``value`` at byte ``at`` of its entry."""
    start = body.rindex(b"PK\1\2", 0, body.rindex(member.encode()))
    return body[: start + at] + value + body[start + at + len(value) :]


# What the directory says, where in an array's entry, and what becomes of the array.
LIES = [
    ("another method", 10, struct.pack("<H", 300), "unreadable"),
    ("another known method", 10, struct.pack("<H", 99), "unreadable"),
    ("more bytes than there are", 20, struct.pack("<I", 2**32 - 2), "truncated"),
    ("an offset behind the end", 42, struct.pack("<I", 2**31), "truncated"),
    ("the place of another array", 42, struct.pack("<I", 0), "unreadable"),
    ("another checksum", 16, struct.pack("<I", 1), "unreadable"),
]


def test_a_lying_directory_of_arrays_costs_one_array(archives, tmp_path):
    folder, corpus = archives
    key, codes = "smplh:right_hand_pose", {}
    for recording, (what, at, value, code) in zip(corpus.recordings, LIES, strict=False):
        lie = partial(patched_directory, member=f"{key}.npy", at=at, value=value)
        edit(tar_of(folder, recording), f"{recording.file_id}.npz", lie)
        codes[recording.file_id] = what, [(key, code)]
    assert len(codes) == len(LIES) < len(corpus.recordings)
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        for file_id, record in load(folder, ["smplh"], index=index).items():
            what, expected = codes.get(file_id, ("nothing", []))
            found = [pair for pair in pairs(record) if pair[1] != "no_partner"]
            assert found == expected, what
            assert_same_arrays(record, corpus[file_id], ["smplh:body_pose", *([] if expected else [key])])


def zipped(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_arrays_that_are_no_arrays_have_the_same_issues_with_and_without_index(archives, tmp_path):
    folder, corpus = archives
    bodies = {
        b"": "empty",
        b"rubbish" * 99: "truncated",
        zipped(other=np.zeros(3)): "missing",
        b"PK\5\6" + bytes(18): "missing",
    }
    recordings = corpus.recordings[: len(bodies)]
    for recording, body in zip(recordings, bodies, strict=True):
        edit(tar_of(folder, recording), f"{recording.file_id}.npz", lambda _, body=body: body)
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        records = load(folder, ["smplh", "transcript"], index=index, **only(*recordings))
        for recording, code in zip(recordings, bodies.values(), strict=True):
            found = [pair for pair in pairs(records[recording.file_id]) if pair[1] != "no_partner"]
            assert found == sorted((key, code) for key in ARRAYS if key.startswith("smplh"))


# --- which tars are read --------------------------------------------------------------------------


def without_filelist(folder):
    (folder / "filelist.csv").unlink()
    return folder


def test_without_a_file_list_rows_are_what_is_there(archives, tmp_path, caplog):
    folder, corpus = archives
    tar_of_stray(folder).unlink()
    without_filelist(folder)
    for index in (None, index_of(folder, tmp_path / "index.parquet")):
        caplog.clear()
        records = load(folder, ["transcript"], index=index)
        assert set(records) == {recording.file_id for recording in corpus.recordings}
        for recording in corpus.recordings:
            record = records[recording.file_id]
            assert (record["split"], record["label"]) == (recording.split, recording.label)
            assert record["partner_id"] == recording.partner
        assert not [message for message in warnings(caplog) if str(folder) in message]


def tar_of_stray(folder):
    return folder / "improvised/dev/0000/0054.tar"


def test_an_id_in_two_tars_wants_a_file_list(archives, tmp_path):
    folder, corpus = archives
    without_filelist(folder)
    with pytest.raises(DuplicateFileId, match=f"{corpus.stray.file_id} in .*improvised/dev/0/54.*filelist.csv"):
        load(folder)
    with pytest.raises(DuplicateFileId, match=f"{corpus.stray.file_id} in .*improvised/dev/0/54.*filelist.csv"):
        index_of(folder, tmp_path / "index.parquet")
    assert not (tmp_path / "index.parquet").exists()


def test_a_tar_that_the_file_list_does_not_name_is_told_and_not_opened(archives, caplog, opened_tars):
    folder, corpus = archives
    assert len(load(folder, ["transcript"])) == len(corpus.recordings)
    (message,) = [message for message in warnings(caplog) if "0054.tar" in message]
    assert "1 files or folders in it are not read" in message
    assert str(tar_of_stray(folder)) not in opened_tars and len(opened_tars) == len(list(folder.rglob("*.tar"))) - 1


def test_names_that_are_no_archives_are_told(archives, caplog):
    """00003.tar would be the number 3 as well; a folder may have a tar's name."""
    folder, corpus = archives
    batch = folder / "improvised/dev/0000"
    names = ["00003.tar", "3.tar", "0004 (1).tar", "0009.tar"]
    for name in names[:-1]:
        shutil.copy(tar_of_stray(folder), batch / name)
    (batch / names[-1]).mkdir()
    shutil.copytree(folder / "improvised/train/0000", folder / "improvised/train/00000")
    assert len(load(folder, ["transcript"])) == len(corpus.recordings)
    (message,) = [message for message in warnings(caplog) if "are not read" in message]
    assert f"{len(names) + 2} files or folders" in message  # and the stray, and the batch


def test_a_partner_who_is_not_selected_is_there_all_the_same(archives):
    """In another tar, as nearly all are, which has to be listed to know."""
    folder, corpus = archives
    one = next(r for r in corpus.recordings if r.partner and tar_of(folder, r) != tar_of(folder, corpus[r.partner]))
    (folder / "selection.csv").write_text(f"file_id\n{one.file_id}\n")
    (record,) = load_dataset("full", split=one.split, data_dir=folder, streaming=True, modalities=["vad"])
    assert (record["id"], record["partner_id"], pairs(record)) == (one.file_id, one.partner, [])


@pytest.mark.parametrize("way", ["file list", "selection", "label"])
def test_only_tars_of_what_is_selected_are_opened(archives, opened_tars, monkeypatch, way):
    folder, corpus = archives
    wanted = {recording.file_id for recording in corpus.recordings if recording.profile == "v02"}
    subset = "full"
    if way == "file list":
        rows = (folder / "filelist.csv").read_text().splitlines()
        (folder / "filelist.csv").write_text("\n".join([rows[0], *(r for r in rows if r.split(",")[0] in wanted)]))
    elif way == "selection":
        (folder / "selection.csv").write_text("\n".join(["file_id", *wanted]))
    else:
        subset = "full-improvised"
        wanted = {recording.file_id for recording in corpus.recordings if recording.label == "improvised"}
    tars = {str(tar_of(folder, corpus[file_id])) for file_id in wanted}
    touched = set()

    def audit(path, *args, _open=open, **kwargs):
        touched.add(str(path))
        return _open(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", audit)
    loaded = load_dataset(subset, data_dir=folder, streaming=True, modalities=["smplh:body_pose"])
    records = {record["id"]: record for stream in loaded.values() for record in stream}
    assert set(records) == wanted
    assert set(opened_tars) == tars and len(opened_tars) == len(tars)
    assert {path for path in touched if path.endswith(".tar")} == tars


@pytest.mark.parametrize("with_index", [False, True])
def test_a_host_that_lists_nothing_may_lack_tars_that_the_file_list_names(archives, tmp_path, caplog, with_index):
    """As the Hub does; this host answers 403 for what it lacks."""
    folder, corpus = archives
    tar = largest(folder)
    lost = in_tar(corpus, folder, tar)
    tar.unlink()
    with Bucket(folder) as bucket:
        index = None
        if with_index:
            place, index = Place(bucket.url), tmp_path / "index.parquet"
            assert make_index(place, index, filelist_of(place), "archives").found["files"].to_pylist().count(0) == len(
                lost
            )
        caplog.clear()
        records = load(bucket.url, ["transcript"], layout="archives", index=index)
        assert set(records) == {recording.file_id for recording in corpus.recordings} - set(lost)
        assert any(f"{len(lost)} of the {len(corpus.recordings)} recordings" in message for message in warnings(caplog))


def test_a_host_that_refuses_all_tars_is_an_error(archives):
    folder, _ = archives
    for tar in folder.rglob("*.tar"):
        tar.unlink()
    with Bucket(folder) as bucket, pytest.raises(AccessDenied):
        load(bucket.url, layout="archives")
