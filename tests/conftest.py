"""Corpora that most tests read. All of it is synthetic."""
# ruff: noqa: E402

import atexit
import functools
import importlib.util
import io
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from types import SimpleNamespace

# Before `datasets` is imported: nothing of these tests goes into the user's cache or onto the network.
_home = tempfile.mkdtemp(prefix="seamless-interaction-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ.update(HF_HOME=_home, HF_DATASETS_CACHE=f"{_home}/datasets", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import datasets
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from seamless_interaction import ARRAYS
from seamless_interaction.places import ranges
from seamless_interaction.source import indexing
from seamless_interaction.source.layout import archive_path
from seamless_interaction.synthetic.corpus import SyntheticRecording, corpus
from seamless_interaction.synthetic.filelist import synthetic_filelist
from seamless_interaction.synthetic.writing import synthesize

datasets.disable_progress_bars()
# A busy machine is no failure; and a test that needs more examples says so.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")

LAYOUTS = ("tree", "bundles", "archives")

# For processes that have no use for torch, which `datasets` would import, in seconds.
WITHOUT_TORCH = {**os.environ, "USE_TORCH": "0"}


def hears_interrupts():
    """`preexec_fn` of a process that a test interrupts.

    What starts the tests may ignore SIGINT (`nohup make test &`, some CI runners). A child would inherit that, and
    Python then installs no handler.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def needs(*packages):
    """Skip a file of tests where a package is missing. None is imported: each process of a run collects all files."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is optional", allow_module_level=True)


class Corpora(Mapping):
    """Layout -> (folder, corpus), written when first asked for."""

    def __init__(self, tmp_path_factory, defects):
        self._write = functools.cache(lambda layout: _write(tmp_path_factory, layout, defects))

    def __getitem__(self, layout):
        return self._write(layout)

    def __iter__(self):
        return iter(LAYOUTS)

    def __len__(self):
        return len(LAYOUTS)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    """Layout -> (folder, corpus): 12 healthy interactions of every vendor and peculiarity."""
    return Corpora(tmp_path_factory, False)


@pytest.fixture(scope="session")
def broken(tmp_path_factory):
    """Layout -> (folder, corpus): every defect, beside healthy interactions."""
    return Corpora(tmp_path_factory, True)


def _write(tmp_path_factory, layout, defects):
    """Written by the first process of a run that needs it, read by all: nobody may change it."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    kind = {"interactions": 12, "seconds": 2.0, "seed": 1, "defects": defects}
    folder = run / f"{layout}{'-broken' * defects}" / "data"
    with FileLock(run / f"{folder.parent.name}.lock"):
        if not folder.exists():
            synthesize(folder.with_name("partial"), layout, **kind)
            folder.with_name("partial").rename(folder)
    return folder, corpus(layout=layout, **kind)


@pytest.fixture(scope="session")
def whole_filelist():
    """The synthetic file list of the whole dataset."""
    return synthetic_filelist()


@pytest.fixture(scope="module")
def one_thread():
    """Of torch: small matrices, and tests that run beside others, whose threads would wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def impatient_hub(monkeypatch):
    """The Hub's own client tries again at once."""
    at_once = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)


@pytest.fixture
def tree(corpora):
    return corpora["tree"][0]


_made = functools.lru_cache(4096)(SyntheticRecording.array)


def assert_same_arrays(record, recording, keys=ARRAYS):
    """The record's arrays are the generator's own, bit for bit; those its vendor lacks have no frames."""
    for key in keys:
        group, feature = key.split(":")
        values = record[group][feature]
        if key in recording.array_keys:
            made = _made(recording, key)
            assert values.dtype == made.dtype, key
            np.testing.assert_array_equal(values, made, err_msg=f"{recording.file_id} {key}")
        else:
            assert values.shape == (0, *ARRAYS[key].shape), key


class CountedFile(io.FileIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data

    def readinto(self, buffer):
        done = super().readinto(buffer)
        self.count += done
        return done


@pytest.fixture
def opened(monkeypatch):
    """Every file that a video or an audio opens, counted."""
    found = []

    def open_counting(path, storage_options=None, block=0, content=None):
        found.append(CountedFile(path))
        return found[-1]

    monkeypatch.setattr(ranges, "open_file", open_counting)
    return found


def write(path, data):
    path.write_bytes(data)
    return str(path)


@pytest.fixture
def opened_tars(monkeypatch):
    """The tars whose headers were read, in order."""
    found = []
    read = indexing.contents

    def counted(*args):
        found.append(args[2])
        return read(*args)

    monkeypatch.setattr(indexing, "contents", counted)
    return found


def pairs(record):
    """Columns and codes of a record's issues."""
    return sorted((issue["column"], issue["code"]) for issue in record["issues"])


def warnings(caplog):
    """What this package has warned of."""
    return [record.getMessage() for record in caplog.records if record.name == "seamless_interaction"]


def tar_of(folder, recording):
    return folder / f"{archive_path(recording.label, recording.split, recording.batch_idx, recording.archive_idx)}.tar"
