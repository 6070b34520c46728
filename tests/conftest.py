"""Corpora that most tests read. All of it is synthetic."""

import os
import tempfile

# Before `datasets` is imported: nothing of these tests goes into the user's cache or onto the network.
_home = tempfile.mkdtemp(prefix="seamless-interaction-tests-")
os.environ.update(HF_HOME=_home, HF_DATASETS_CACHE=f"{_home}/datasets", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import datasets
import numpy as np
import pytest

from seamless_interaction import ARRAYS
from seamless_interaction.synthetic import synthesize

datasets.disable_progress_bars()

LAYOUTS = ("tree", "bundles")


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    """Layout -> (folder, corpus): 12 healthy interactions of every vendor and peculiarity."""
    return {layout: _write(tmp_path_factory, layout, False) for layout in LAYOUTS}


@pytest.fixture(scope="session")
def broken(tmp_path_factory):
    """Layout -> (folder, corpus): every defect, beside healthy interactions."""
    return {layout: _write(tmp_path_factory, f"{layout}", True) for layout in LAYOUTS}


def _write(tmp_path_factory, layout, defects):
    folder = tmp_path_factory.mktemp(layout) / "data"
    return folder, synthesize(folder, layout, interactions=12, seconds=2.0, seed=1, defects=defects)


@pytest.fixture
def tree(corpora):
    return corpora["tree"][0]


def assert_same_arrays(record, recording, keys=ARRAYS):
    """The record's arrays are the generator's own, bit for bit; those its vendor lacks have no frames."""
    made = recording.arrays()
    for key in keys:
        group, feature = key.split(":")
        values = record[group][feature]
        if key in made:
            assert values.dtype == made[key].dtype, key
            np.testing.assert_array_equal(values, made[key], err_msg=f"{recording.file_id} {key}")
        else:
            assert values.shape == (0, *ARRAYS[key].shape), key
