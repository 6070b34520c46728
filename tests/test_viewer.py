"""What the Hub's dataset viewer makes of a publication: its limits, as its own source has them, in numbers.

From huggingface/dataset-viewer of August 2026: what it does with a cell, how many bytes an answer may have, what it
computes statistics of. The viewer itself cannot run here.
"""

import json
import re

import datasets
import pyarrow.parquet as pq
import pytest
import yaml

from seamless_interaction import record_features
from seamless_interaction.publishing import Selection, plan_shards, publish
from seamless_interaction.publishing.rows import recording_features, recording_row, urls, video_path
from seamless_interaction.synthetic.corpus import corpus

REPO = "me/interaction"
FIRST_ROWS_BYTES = 200_000  # of an answer; beyond it, cells are cut to 100 bytes, of no fewer than ten rows
FIRST_ROWS = 10
SCAN_BYTES = 300_000_000  # of a row group, compressed: what one request reads
FEATURES_BYTES = 200_000
CARD_BYTES = 300_000  # larger YAML is refused when it is committed; nobody says from where on
SECONDS = 226  # of a real recording, on average
PROMPT = 800  # characters: 12 lines on average


@pytest.fixture(scope="module")
def folder(corpora, tmp_path_factory):
    folder = tmp_path_factory.mktemp("viewer") / "hub"
    planned = plan_shards(Selection("10GB"), corpora["tree"][0], repo_id=REPO)
    assert publish(planned, folder).exit_code == 0
    return folder


def read(path):
    return pq.read_table(path).to_pylist()


def parts(folder, name):
    return sorted((folder / "data" / name).rglob("*.parquet"))


def as_cell(feature, value):
    """A media cell as the viewer makes one; it raises for what would fail the whole page."""
    if value is None:
        return None
    path = value["path"]
    if value["bytes"] is not None:
        assert re.search(r"\.(wav|mp3|opus|flac|mp4)$", path), "the ending tells its type"
        return {"src": "a copy among the viewer's assets"}
    assert path and path.startswith(f"hf://datasets/{REPO}@"), "an address that the viewer refuses"
    revision, _, file = path.removeprefix(f"hf://datasets/{REPO}@").partition("/")
    return {"src": f"https://huggingface.co/datasets/{REPO}/resolve/{revision}/{file}"}


def long_rows():
    """The first rows of the table of recordings, of a real one's mean length."""
    columns = recording_features(record_features())
    rows = []
    for recording in corpus(12, SECONDS).recordings[:FIRST_ROWS]:
        segments = recording.transcript()
        for segment in segments:  # synthetic people say half as much
            segment["transcript"] = f"{segment['transcript']} {segment['transcript']}"
        values = dict.fromkeys(columns) | {
            "id": recording.file_id,
            "duration": float(recording.video_frames / recording.fps),
            "segments": segments,
            "transcript": " ".join(segment["transcript"] for segment in segments),
            "vad": recording.vad(),
            "annotations": [{"kind": kind, **one} for kind, found in recording.annotations().items() for one in found],
            "prompt_text_a": "x" * PROMPT,
            "prompt_text_b": "x" * PROMPT,
            "issues": [{"column": "movement:expression", "code": "absent", "detail": "the recording has none"}] * 15,
            "video": {"bytes": None, "path": video_path(REPO, recording.file_id)},
            **urls("https://dl.fbaipublicfiles.com/seamless_interaction", "naturalistic", "train", recording.file_id),
        }
        rows.append(recording_row(values, "10GB", columns))
    return rows


def test_the_first_rows_of_recordings_are_shown_whole():
    rows = long_rows()
    answer = len(json.dumps(rows).encode())
    assert sum(len(row["transcript"].split()) for row in rows) > 4_400, "real ones have about 440 each"
    assert answer + len(json.dumps(features_of(recording_features(record_features())))) < FIRST_ROWS_BYTES


def features_of(found):
    return datasets.Features(found).to_dict()


def test_the_page_opens_with_recordings(folder):
    front = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    default = [config["config_name"] for config in front["configs"] if config.get("default")]
    assert default == [front["configs"][0]["config_name"]] == ["recordings"]
    assert [files["split"] for files in front["configs"][0]["data_files"]] == ["train", "dev", "test"]
    assert front.get("viewer", True)


def test_every_media_cell_is_one_that_the_viewer_shows(folder):
    shown = 0
    for path in parts(folder, "recordings") + parts(folder, "10GB"):
        for row in read(path):
            for column in ("audio", "video", "partner_video"):
                if column in row:
                    shown += as_cell(column, row[column]) is not None
                    assert row[column] is None or row[column]["path"]
    assert shown > 60


def test_a_video_that_is_played_is_in_the_repository(folder):
    played = 0
    for path in parts(folder, "recordings"):
        for row in read(path):
            for cell in (as_cell("video", row["video"]), as_cell("video", row["partner_video"])):
                if cell:
                    played += 1
                    assert (folder / cell["src"].partition("/resolve/main/")[2]).is_file()
    assert played > 40


def test_recordings_have_no_arrays_and_few_bytes(folder):
    for path in parts(folder, "recordings"):
        schema = pq.read_schema(path)
        found = datasets.Features.from_arrow_schema(schema)
        assert not any("Array" in type(feature).__name__ for feature in found.values())
        assert len(json.dumps(features_of(found))) < FEATURES_BYTES


def test_search_has_text_and_statistics_have_numbers(folder):
    """Digits are dropped from what is searched, so ids are filtered, and text is found."""
    found = datasets.Features.from_arrow_schema(pq.read_schema(parts(folder, "recordings")[0]))
    kinds = {name: feature.dtype for name, feature in found.items() if isinstance(feature, datasets.Value)}
    assert {"transcript", "prompt_text_a", "prompt_text_b"} <= {
        name for name, kind in kinds.items() if kind == "string"
    }
    numbers = {name for name, kind in kinds.items() if kind in ("float64", "int64", "int32")}
    assert {"duration", "fps", "speech_share", "num_words", "box_valid_share", "mean_arousal"} <= numbers
    # Strings of few values get the same bars as a ClassLabel, and are filtered by their words.
    for name in ("label", "vendor_id", "size", "interaction_type", "relationship"):
        values = {row[name] for path in parts(folder, "recordings") for row in read(path)}
        assert kinds[name] == "string" and len(values) <= 10


def test_row_groups_and_page_index_are_what_it_reads(folder):
    for path in parts(folder, "recordings") + parts(folder, "10GB"):
        metadata = pq.read_metadata(path)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            chunks = [group.column(at) for at in range(group.num_columns)]
            assert sum(chunk.total_compressed_size for chunk in chunks) <= SCAN_BYTES
            assert all(chunk.has_offset_index for chunk in chunks)


def test_the_card_is_small_enough_to_be_taken(folder):
    text = (folder / "README.md").read_text()
    assert len(text.split("---\n")[1].encode()) < CARD_BYTES
