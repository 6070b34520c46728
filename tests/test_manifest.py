"""The manifest of a copy: what survives whatever happens to the run that writes it."""

import errno
import os

import pytest

from seamless_interaction.download.manifest import ABSENT, FAILED, WHOLE, Manifest

ID = "V00_S0809_I00000582_P0947"
PATH = f"improvised/dev/audio/{ID}.wav"


def test_the_last_line_of_a_path_counts(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.write(PATH, FAILED, detail="gone")
    manifest.write(PATH, WHOLE, bytes=3)
    manifest.close()
    entry = Manifest(tmp_path).entry(PATH)
    assert entry["status"] == WHOLE and entry["bytes"] == 3 and "detail" not in entry


def test_wherever_a_kill_cuts_it_off_the_rest_is_read_and_written_on(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.write(PATH, WHOLE, bytes=3)
    first = manifest.num_bytes
    manifest.write("selection.csv", WHOLE)
    manifest.close()
    content = manifest.path.read_bytes()
    for end in range(first, len(content)):
        manifest.path.write_bytes(content[:end])
        cut = Manifest(tmp_path)
        cut.write("filelist.csv", ABSENT)
        cut.close()
        again = Manifest(tmp_path)
        assert again.entry(PATH)["bytes"] == 3 and again.entry("filelist.csv")["status"] == ABSENT


@pytest.mark.parametrize(
    "line",
    [b"[]", b"\xff", b"{", b'{"path": [], "status": "whole"}', b'{"path": "a", "status": "whole", "checked": 1e999}'],
)
def test_a_line_that_is_none_is_passed_over(tmp_path, line):
    (tmp_path / "manifest.jsonl").write_bytes(line + b"\n")
    manifest = Manifest(tmp_path)
    manifest.write(PATH, WHOLE, bytes=3)
    manifest.close()
    assert Manifest(tmp_path).entry(PATH)["bytes"] == 3


def test_of_a_line_that_does_not_fit_on_the_disk_nothing_stays(tmp_path, monkeypatch):
    manifest, write = Manifest(tmp_path), os.write
    manifest.write(PATH, WHOLE, bytes=3)
    before = manifest.path.read_bytes()
    calls = []

    def full(file, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "full")
        return write(file, data[:7])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="full"):
            manifest.write("selection.csv", WHOLE)
    assert manifest.path.read_bytes() == before
    manifest.write("selection.csv", WHOLE)
    manifest.close()
    assert Manifest(tmp_path).entry("selection.csv")["status"] == WHOLE


def test_compacting_keeps_the_last_line_of_each_path(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.write("selection.csv", WHOLE)
    for number in range(1100):
        manifest.write(PATH, WHOLE, bytes=number)
    manifest.compact()
    assert len(manifest.path.read_bytes().splitlines()) == 2
    assert manifest.entry(PATH)["bytes"] == 1099
    assert sorted(manifest.paths()) == sorted([PATH, "selection.csv"])
