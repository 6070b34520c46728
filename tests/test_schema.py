import json
import os

import datasets
import numpy as np
import pyarrow as pa
import pytest

import seamless_interaction
from seamless_interaction import ARRAYS, HONESTY, IDENTITY, MODALITIES, TIME, record_features, resolve_modalities
from seamless_interaction.dataset_infos import dataset_infos
from seamless_interaction.errors import UnknownModality

REPOSITORY = os.path.dirname(seamless_interaction.__file__)


def test_the_twenty_four_arrays():
    assert len(ARRAYS) == 24
    assert sum(array.vendors == ("V00",) for array in ARRAYS.values()) == 15
    # 2,250 bytes a frame for all vendors and 2,341 more for V00: the rates that a census of the real data found.
    size = {key: np.dtype(a.dtype).itemsize * int(np.prod(a.shape)) / a.frames_per_row for key, a in ARRAYS.items()}
    assert sum(size[key] for key in ARRAYS if not key.startswith("movement:")) == pytest.approx(2250, abs=1)
    assert sum(size[key] for key in ARRAYS if key.startswith("movement:")) == pytest.approx(2341, abs=1)


def test_everything_is_the_default():
    names = [column for columns in MODALITIES.values() for column in columns]
    assert list(record_features()) == [*IDENTITY, *TIME, *names, *HONESTY]
    assert record_features() == record_features(list(MODALITIES))


def test_what_is_not_asked_for_is_no_column():
    assert list(record_features(["smplh:body_pose"])) == [*IDENTITY, *TIME, "smplh:body_pose", *HONESTY]
    assert list(record_features("vad")) == [*IDENTITY, *TIME, "vad", *HONESTY]
    assert list(record_features([])) == [*IDENTITY, *TIME, *HONESTY]


def test_alias_and_order():
    assert resolve_modalities(["keypoints"]) == resolve_modalities(["boxes_and_keypoints"])
    assert resolve_modalities(["vad", "audio", "vad"]) == ("audio", "vad")


@pytest.mark.parametrize("bad", ["smpl", ["audio", "smplh:nose"], [None]])
def test_unknown_modality_lists_the_known(bad):
    with pytest.raises(UnknownModality, match=r"boxes_and_keypoints.*smplh:body_pose"):
        resolve_modalities(bad)


def test_a_near_miss_is_suggested():
    with pytest.raises(UnknownModality, match="Did you mean 'transcript'"):
        resolve_modalities("transcripts")


def test_arrow_schema_is_the_same_on_every_version():
    """Spelled out once for each kind of column: the test runs on every supported version."""
    schema = record_features().arrow_schema
    time = pa.struct({"start": pa.float64(), "end": pa.float64()})
    word = pa.struct({"word": pa.string(), "start": pa.float64(), "end": pa.float64(), "score": pa.float64()})
    segment = pa.struct([*time, pa.field("transcript", pa.string()), pa.field("words", pa.list_(word))])
    media = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    issue = pa.struct({"column": pa.string(), "code": pa.string(), "detail": pa.string()})
    for name, type in {
        "id": pa.string(),
        "duration": pa.float64(),
        "num_frames": pa.int64(),
        "width": pa.int32(),
        "audio": media,
        "video": media,
        "transcript": pa.string(),
        "segments": pa.list_(segment),
        "vad": pa.list_(time),
        "smplh:is_valid": pa.list_(pa.bool_()),
        "personality:openness": pa.float64(),
        "issues": pa.list_(issue),
        "checked": pa.list_(pa.string()),
    }.items():
        assert schema.field(name).type == type, name
    for key, array in ARRAYS.items():
        if array.shape:
            type = schema.field(key).type
            assert isinstance(type, pa.ExtensionType), key
            assert (type.shape, type.value_type) == ((None, *array.shape), array.dtype), key


def test_dataset_infos_are_current():
    with open(os.path.join(REPOSITORY, "dataset_infos.json")) as file:
        assert json.load(file) == json.loads(json.dumps(dataset_infos())), "run `make dataset-infos`"


def test_dataset_infos_have_the_features_and_no_counts():
    infos = dataset_infos()
    assert len(infos) == 12
    for name, info in infos.items():
        read = datasets.DatasetInfo.from_dict(info)
        assert read.features == record_features()
        assert read.config_name == name
        assert (read.license, read.splits) == ("CC-BY-NC-4.0", None)
