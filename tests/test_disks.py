"""Disks that are full or cannot be written to: a named error, before the work and not after it."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamless_interaction import SeamlessDataset, evaluation
from seamless_interaction.cli import app
from seamless_interaction.download import Selection, download
from seamless_interaction.errors import TargetError
from seamless_interaction.features import make_features
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import require_writable
from seamless_interaction.source.indexing import make_index


def never(*_: object, **__: object) -> None:
    raise AssertionError("something was read")


@pytest.fixture
def obstacles(tmp_path):
    """Where no file can be written: below a file, and where a folder is."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    return tmp_path / "file" / "new", tmp_path / "folder"


def test_an_index_or_features_that_cannot_be_written_are_refused_unread(tree, tmp_path, monkeypatch, obstacles):
    dataset = SeamlessDataset(tree)
    monkeypatch.setattr("seamless_interaction.source.indexing.scan", never)
    monkeypatch.setattr(SeamlessDataset, "__getitem__", never)
    with pytest.raises(TargetError, match="cannot be written to"):
        make_index(Place(tree), obstacles[0])
    with pytest.raises(TargetError, match="cannot be written to"):
        make_features(dataset, obstacles[0], ["head"])


@pytest.mark.parametrize("which", [0, 1], ids=["below a file", "a folder"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(tree, monkeypatch, obstacles, which):
    monkeypatch.setattr(evaluation, "run_all", never)
    monkeypatch.setattr("seamless_interaction.check.run.check", never)
    for command in (["benchmark", "turn-taking", "--data", str(tree)], ["check-source", "--source", str(tree)]):
        result = CliRunner().invoke(app, [*command, "-o", str(obstacles[which])])
        assert (result.exit_code, type(result.exception)) == (1, SystemExit) and "cannot be written to" in result.output


def test_looking_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    require_writable(tmp_path / "folder" / "file")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


ON_SMALL_DISKS = """
    import os, subprocess, sys
    from pathlib import Path

    from seamless_interaction import SeamlessDataset, load_dataset
    from seamless_interaction.features import make_features
    from seamless_interaction.source.indexing import make_index
    from seamless_interaction.places.write import require_writable, write_whole
    from seamless_interaction.places.place import Place
    from seamless_interaction.synthetic.writing import synthesize
    from seamless_interaction.download.verifying import verify

    copy, full = Path("copy"), Path("full")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], check=True)
    subprocess.run(["mount", "--bind", copy, copy], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", copy], check=True)
    tried = {
        "synthesize": lambda: synthesize(full / "corpus", interactions=1, seconds=2.0),
        "large file": lambda: write_whole(full / "file", lambda file: file.write(bytes(1 << 20))),
        "index": lambda: make_index(Place(copy), full / "index.parquet"),
        "features": lambda: make_features(SeamlessDataset(copy), full / "features", ["head"]),
        "prepare": lambda: load_dataset("full", data_dir=copy, split="test", cache_dir=str(full / "cache")),
        "read-only": lambda: require_writable(copy / "file"),
        "repair": lambda: verify(copy, repair=True),
        "verify": lambda: verify(copy),
    }
    told = {}
    for name, call in tried.items():
        try:
            told[name] = call().exit_code
        except Exception as error:
            told[name] = f"{type(error).__name__}: {error}"
        if name == "large file":
            assert not [path for path in full.rglob("*") if path.is_file()], "parts are left"
            with open(full / "pad", "wb", 0) as pad:
                try:
                    while pad.write(bytes(4096)):
                        pass
                except OSError:
                    pass
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def own_mounts():
    """Whether this machine lets us mount, in a namespace of our own."""
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no disks of our own can be had here")
    return command


def test_full_and_read_only_disks(tree, tmp_path, own_mounts):
    """A process of its own, which takes 3 s: its disks are seen by no other."""
    assert download(Selection("full", modalities=("vad", "smplh")), tree, tmp_path / "copy").exit_code == 0
    (tmp_path / "full").mkdir()
    script = "import json" + textwrap.dedent(ON_SMALL_DISKS)
    done = subprocess.run([*own_mounts, sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    full = [told[name] for name in ("synthesize", "large file", "index", "features", "prepare")]
    assert all(text.startswith("NotEnoughSpace: full") and "Make room" in text for text in full), full
    assert all(told[name].startswith("TargetError: copy") for name in ("read-only", "repair")), told
    assert told["verify"] == 0
    assert Path(tmp_path / "copy" / "manifest.jsonl").exists()
