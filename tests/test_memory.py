"""Memory is bounded by a record and the shard, not by the dataset."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WITHOUT_TORCH

import seamless_interaction
from seamless_interaction import load_dataset, synthetic_files
from seamless_interaction.synthetic import synthesize
from seamless_interaction.synthetic_media import empty_mp4

# Anonymous memory: what the process holds itself, not pages of mapped files. Sampled while it works.
MEASURE = """
import re, sys, threading, time
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
import os
import datasets
from seamless_interaction import load_dataset
import seamless_interaction.view, seamless_interaction.join, av, soundfile
from seamless_interaction import arrow
arrow.BATCH_BYTES >>= 4  # so that a small corpus fills many batches
datasets.disable_progress_bars()
way, *folders = sys.argv[1:]
for folder in folders:  # each in a child, since to import all that takes seconds
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


def peaks(folders, cache, way):
    """Rows of each folder, and bytes at most while they are read."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, way, *map(str, folders)],
        cwd=Path(seamless_interaction.__file__).parent,
        # Without torch, which takes some memory where a stream first meets it; and with memory given back at once.
        env={**WITHOUT_TORCH, "ARROW_DEFAULT_MEMORY_POOL": "system", "HF_DATASETS_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return [tuple(map(int, line.split())) for line in run.stdout.splitlines()]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Layout -> a few recordings and ten times as many, of 8 seconds, without pictures, which take long to encode."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_files, "_write_video", lambda path, recording: path.write_bytes(empty_mp4()))
        for layout in ("tree", "bundles"):
            for number in (3, 30):
                made[layout, number] = tmp_path_factory.mktemp("memory") / layout
                synthesize(made[layout, number], layout, interactions=number, seconds=8.0)
    return made


@pytest.mark.parametrize("way", ["streaming", "prepared"])
@pytest.mark.parametrize("layout", ["tree", "bundles"])
def test_memory_is_flat_as_the_corpus_grows_tenfold(folders, tmp_path, layout, way):
    (few, small), (many, large) = peaks([folders[layout, 3], folders[layout, 30]], tmp_path, way)
    assert many > 6 * few
    arrays = sum(path.stat().st_size for path in folders["tree", 30].rglob("*.npy"))
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
