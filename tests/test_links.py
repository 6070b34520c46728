"""What lies in a folder that is written to, before anything is: links out of it, pipes, folders with names of files."""

import errno
import os
import shutil

import pytest

from seamless_interaction import load_dataset
from seamless_interaction.download import Selection, download
from seamless_interaction.download.fetching import PARTIAL
from seamless_interaction.download.manifest import NAME
from seamless_interaction.download.verifying import verify
from seamless_interaction.errors import TargetError
from seamless_interaction.publishing import convert_shard, plan_shards, publish
from seamless_interaction.source.layout import tree_path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes are for administrators there")
SELECTION = Selection("full", modalities=("vad",), split="test")


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    yield folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"precious": b"precious"}


@pytest.fixture
def wanted(corpora):
    """Paths of the files that a download makes."""
    recordings = [recording for recording in corpora["tree"][1].recordings if recording.split == "test"]
    return [tree_path(one.label, one.split, "vad", one.file_id) for one in recordings]


def fetch(tree, target):
    return download(SELECTION, tree, target)


@pytest.mark.parametrize("name", [PARTIAL, ".lock", NAME, "vad"])
def test_nothing_is_written_through_a_link_in_the_target(tree, tmp_path, outside, wanted, name):
    target = tmp_path / "copy"
    link = target / (os.path.dirname(wanted[0]) if name == "vad" else name)
    link.parent.mkdir(parents=True)
    if name == "vad":
        (target / NAME).touch()
    link.symlink_to(outside / "precious" if name in (NAME, ".lock") else outside)
    with pytest.raises(TargetError, match=f"{link} is a link"):
        fetch(tree, target)


def test_what_is_no_file_is_replaced_and_a_folder_is_that_files_failure(tree, tmp_path, outside, wanted):
    target = tmp_path / "copy"
    assert fetch(tree, target).exit_code == 0
    first, second, third, fourth = (target / path for path in wanted[:4])
    expected = {path: path.read_bytes() for path in (first, second, third, fourth)}
    for path in expected:
        path.unlink()
    first.symlink_to(outside / "precious")
    second.symlink_to("nowhere")
    os.mkfifo(third)
    fourth.mkdir()
    partial = target / PARTIAL
    partial.mkdir()
    for path, make in zip(
        wanted,
        (lambda p: p.symlink_to(outside / "precious"), os.mkfifo, os.mkdir, lambda p: p.symlink_to(p)),
        strict=False,
    ):
        make(partial / path.replace("/", "-"))
    found = verify(target)
    assert len(found.missing) == 3 and found.corrupt == [wanted[0]]
    report = fetch(tree, target)
    assert report.files["failed"] == 1 and "a folder has its name" in report.problems[0]["detail"]
    fourth.rmdir()
    assert fetch(tree, target).exit_code == 0
    for path, content in expected.items():
        assert not path.is_symlink() and path.read_bytes() == content


def test_a_linked_tree_is_read_and_a_pipe_in_it_is_a_missing_file(tree, tmp_path, wanted):
    linked = tmp_path / "linked"
    shutil.copytree(tree, linked, copy_function=os.symlink)
    (linked / wanted[0]).unlink()
    os.mkfifo(linked / wanted[0])
    records = list(load_dataset("full", "test", data_dir=linked, streaming=True, modalities=["vad"]))
    assert [[i["code"] for i in record["issues"] if i["column"] == "vad"] for record in records].count(["missing"]) == 1
    assert sum(record["vad"] is None for record in records) == 1
    report = fetch(linked, tmp_path / "copy")
    assert report.files["missing"] == 1 and report.files["whole"] == len(wanted) - 1


def test_a_publication_is_not_written_through_a_link(tree, tmp_path, outside):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "data").symlink_to(outside)
    with pytest.raises(TargetError, match="data is a link"):
        publish(plan_shards(SELECTION, tree), tmp_path / "hub")


@pytest.mark.parametrize("where", ["work folder", "data"])
def test_a_shard_is_not_written_through_a_link(tree, tmp_path, outside, where):
    """Which a task on another machine makes alone."""
    plan = plan_shards(SELECTION, tree)
    link = tmp_path / "hub" / (".publish/partial" if where == "work folder" else os.path.dirname(plan.shards[0].path))
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(TargetError, match=f"{link} is a link"):
        convert_shard(plan, 0, tmp_path / "hub")


def test_whoever_the_umask_lets_reads_what_is_written(tree, tmp_path):
    before = os.umask(0o027)
    try:
        fetch(tree, tmp_path / "copy")
        publish(plan_shards(SELECTION, tree), tmp_path / "hub")
    finally:
        os.umask(before)
    files = [path for folder in ("copy", "hub") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {path.name: "0o640" for path in files}


def test_too_many_open_files_are_named_as_what_they_are(tree, tmp_path, monkeypatch):
    def full(path, buffering=-1):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr("seamless_interaction.download.fetching.create", full)
    with pytest.raises(TargetError, match="too many files are open at a time"):
        fetch(tree, tmp_path / "copy")
