"""Memory is bounded by a record and the shard, not by the dataset."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import seamless_interaction
from seamless_interaction import load_dataset
from seamless_interaction.synthetic import synthesize

# Anonymous memory: what the process holds itself, not pages of mapped files. Sampled while it works.
MEASURE = """
import re, sys, threading, time
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
import datasets
from seamless_interaction import load_dataset
import seamless_interaction.view, seamless_interaction.join, av, soundfile
from seamless_interaction import arrow
arrow.BATCH_BYTES >>= 4  # so that a small corpus fills many batches
datasets.disable_progress_bars()
before, peak, done = anonymous(), 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch, daemon=True)
thread.start()
folder, cache, streaming = sys.argv[1:]
dataset = load_dataset("full", "train", data_dir=folder, cache_dir=cache, streaming=streaming == "streaming")
rows = sum(1 for record in dataset if record["smplh"] and record["movement"] and record["boxes_and_keypoints"])
done = True
thread.join()
print(rows, peak - before)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


def peak(folder, cache, way):
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(cache), way],
        cwd=Path(seamless_interaction.__file__).parent,
        # Without torch, which takes some memory where a stream first meets it; and with memory given back at once.
        env={**os.environ, "USE_TORCH": "0", "ARROW_DEFAULT_MEMORY_POOL": "system"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    rows, size = map(int, run.stdout.split()[-2:])
    return rows, size


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Layout -> a few recordings and ten times as many, of 8 seconds."""
    folders = {}
    for layout in ("tree", "bundles"):
        for number in (3, 30):
            folder = tmp_path_factory.mktemp("memory") / layout
            synthesize(folder, layout, interactions=number, seconds=8.0)
            folders[layout, number] = folder
    return folders


@pytest.mark.parametrize("way", ["streaming", "prepared"])
@pytest.mark.parametrize("layout", ["tree", "bundles"])
def test_memory_is_flat_as_the_corpus_grows_tenfold(corpora, tmp_path, layout, way):
    few, small = peak(corpora[layout, 3], tmp_path / "few", way)
    many, large = peak(corpora[layout, 30], tmp_path / "many", way)
    assert many > 6 * few
    arrays = sum(path.stat().st_size for path in corpora["tree", 30].rglob("*.npy"))
    assert max(small, large) < arrays / 2
    assert large - small < arrays / 4


def test_records_are_read_one_by_one(tmp_path):
    """Taking one record opens the files of one shard."""
    synthesize(tmp_path / "data", "tree", interactions=30, seconds=2.0)
    stream = load_dataset("full", "train", data_dir=tmp_path / "data", streaming=True, modalities=["smplh"])
    for path in (tmp_path / "data").rglob("*/train/smplh/*/*.npy"):
        if "V00_S0101" not in path.name:
            path.write_bytes(b"not read")
    assert not next(iter(stream))["issues"]
