"""Reading costs the bytes of what was asked for. Counted where they are read, in a file system of its own."""

import io
import zipfile
from pathlib import Path

import fsspec
import pytest
from conftest import assert_same_arrays
from fsspec.implementations.local import LocalFileSystem

from seamless_interaction import load_dataset

READ: dict[str, int] = {}  # path -> bytes that were read of it


class CountedFile(io.FileIO):
    def readinto(self, buffer):
        size = super().readinto(buffer)
        READ[self.name] = READ.get(self.name, 0) + size
        return size

    def read(self, size=-1):
        content = super().read(size)
        READ[self.name] = READ.get(self.name, 0) + len(content)
        return content


class Counted(fsspec.AbstractFileSystem):
    """The local disk as if it were remote."""

    protocol = "counted"
    root_marker = "/"

    def ls(self, path, detail=True, **kwargs):
        return LocalFileSystem().ls(path, detail, **kwargs)

    def info(self, path, **kwargs):
        return LocalFileSystem().info(path, **kwargs)

    def _open(self, path, mode="rb", **kwargs):
        return CountedFile(path)


@pytest.fixture(scope="module", params=["tree", "bundles"])
def source(request, corpora):
    fsspec.register_implementation("counted", Counted, clobber=True)
    folder, corpus = corpora[request.param]
    return request.param, folder, corpus


def stream(folder, modalities):
    streams = load_dataset("full", data_dir=f"counted://{folder}", streaming=True, modalities=modalities)
    READ.clear()
    return {record["id"]: record for split in streams.values() for record in split}


def test_one_modality_costs_its_own_files(source):
    layout, folder, corpus = source
    parts = {"transcript": "metadata/transcript/{}.jsonl", "smplh:body_pose": "smplh/body_pose/{}.npy"}
    for modality, part in parts.items():
        if layout == "bundles" and modality != "transcript":
            continue
        assert len(stream(folder, [modality])) == len(corpus.recordings)
        names = ["/" + (part if layout == "tree" else "{}.json").format(r.file_id) for r in corpus.recordings]
        own = {path: path.stat().st_size for path in map(Path, READ) if any(str(path).endswith(name) for name in names)}
        assert {str(path): size for path, size in own.items()} == READ


def test_one_array_of_a_bundle_costs_its_member(source):
    layout, folder, corpus = source
    if layout == "tree":
        pytest.skip("an array of a tree is a file")
    records = stream(folder, ["smplh:is_valid"])
    assert len(records) == len(corpus.recordings)
    for recording in corpus.recordings:
        assert_same_arrays(records[recording.file_id], recording, ["smplh:is_valid"])
        (path,) = folder.rglob(f"{recording.file_id}.npz")
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo("smplh:is_valid.npy").compress_size
        read = next(size for name, size in READ.items() if name.endswith(path.name))
        assert read <= member + 8192  # of the zip's directory; the file has more
        assert path.stat().st_size > 10 * read


def test_media_cost_their_headers_until_they_are_used(source):
    _, folder, corpus = source
    records = stream(folder, ["audio", "video"])
    size = sum(path.stat().st_size for pattern in ("V0*.wav", "V0*.mp4") for path in folder.rglob(pattern))
    before = sum(READ.values())
    assert before < size / 8
    recording = corpus.recordings[0]
    record = records[recording.file_id]
    assert record["num_frames"] == recording.num_frames
    assert len(record["audio"]["array"]) == recording.num_samples
    assert record["video"][0].shape == (*reversed(recording.raster), 3)
    assert sum(READ.values()) > before


def test_the_first_record_costs_one_record(source):
    _, folder, _ = source
    streams = load_dataset("full", data_dir=f"counted://{folder}", streaming=True, modalities=["smplh"])
    READ.clear()
    first = next(iter(streams["train"]))
    assert {name.rpartition("/")[2].partition(".")[0] for name in READ} == {first["id"]}
