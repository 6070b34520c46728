"""Memory is bounded by a record and the shard, not by the dataset."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WITHOUT_TORCH

import seamless_interaction
from seamless_interaction import load_dataset
from seamless_interaction.synthetic import files
from seamless_interaction.synthetic.media import empty_mp4
from seamless_interaction.synthetic.writing import synthesize

# Anonymous memory: what the process holds itself, not pages of mapped files. Sampled while it works.
MEASURE = """
import re, sys, threading, time
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
import os
import datasets
from seamless_interaction import load_dataset
import seamless_interaction.record.view, seamless_interaction.record.join, av, soundfile
from seamless_interaction.record import arrow
arrow.BATCH_BYTES >>= 4  # so that a small corpus fills many batches
datasets.disable_progress_bars()
for way, folder in zip(sys.argv[1::2], sys.argv[2::2]):  # each in a child, since to import all that takes seconds
    child = os.fork()
    if not child:
        break
    assert os.waitpid(child, 0)[1] == 0
else:
    sys.exit()
before, peak, done = anonymous(), 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch, daemon=True)
thread.start()
dataset = load_dataset("full", "train", data_dir=folder, streaming=way == "streaming")
rows = sum(1 for record in dataset if record["smplh"] and record["movement"] and record["boxes_and_keypoints"])
done = True
thread.join()
print(rows, peak - before)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


TIMES = 10
# How files are read has nothing to do with what then becomes of the records.
CASES = [("tree", "streaming"), ("bundles", "prepared")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(layout, times) -> few recordings, of 8 seconds and without pictures, or so many times as many."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_write_video", lambda path, recording: path.write_bytes(empty_mp4()))
        for layout in ("tree", "bundles"):
            made[layout, 1] = tmp_path_factory.mktemp("memory") / layout
            synthesize(made[layout, 1], layout, interactions=3, seconds=8.0)
            (made[layout, 1] / "filelist.csv").unlink()
            made[layout, TIMES] = tmp_path_factory.mktemp("memory") / layout
            multiply(made[layout, 1], made[layout, TIMES])
    return made


def multiply(source, target):
    """The same recordings under several ids; a bundle's JSON says its own."""
    for path in source.rglob("*/V0*"):
        for session in range(TIMES):
            copy = target / path.relative_to(source).with_name(path.name.replace("_S0", f"_S{session}"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json" and copy.parent.name.isdecimal():
                copy.write_text(path.read_text().replace(path.stem, copy.stem))
            else:
                os.link(path, copy)


@pytest.fixture(scope="module")
def peaks(folders, tmp_path_factory):
    """(layout, way) -> for each of both folders, its rows, and bytes at most while they are read."""
    runs = [(case, folders[case[0], times]) for case in CASES for times in (1, TIMES)]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *(str(arg) for (_, way), folder in runs for arg in (way, folder))],
        cwd=Path(seamless_interaction.__file__).parent,
        # Without torch, which takes some memory where a stream first meets it; and with memory given back at once.
        env={
            **WITHOUT_TORCH,
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "HF_DATASETS_CACHE": str(tmp_path_factory.mktemp("cache")),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    return dict(zip(CASES, zip(found[::2], found[1::2], strict=True), strict=True))


# The first of them takes seconds: a process that imports everything, and reads all four folders one after the other.
@pytest.mark.parametrize(("layout", "way"), CASES)
def test_memory_is_flat_as_the_corpus_grows_tenfold(folders, peaks, layout, way):
    (few, small), (many, large) = peaks[layout, way]
    assert many == TIMES * few > 0
    arrays = sum(path.stat().st_size for path in folders["tree", TIMES].rglob("*.npy"))
    assert max(small, large) < arrays / 2
    assert large - small < arrays / 4


def test_records_are_read_one_by_one(tree, tmp_path):
    """Taking one record opens the files of one shard."""
    shutil.copytree(tree, tmp_path / "data")
    stream = load_dataset("full", "train", data_dir=tmp_path / "data", streaming=True, modalities=["smplh"])
    for path in (tmp_path / "data").rglob("*/train/smplh/*/*.npy"):
        if "V00_S0101" not in path.name:
            path.write_bytes(b"not read")
    assert not next(iter(stream))["issues"]
