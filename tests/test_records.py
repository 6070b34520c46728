"""What comes out is what the generator put in, whatever the layout; what is broken is named."""

import codecs
import json
import logging
import math

import numpy as np
import pytest
from conftest import LAYOUTS, assert_same_arrays

from seamless_interaction import ARRAYS, ISSUES, MODALITIES, SAMPLING_RATE, SPLITS, SeamlessDataset, load_dataset
from seamless_interaction.errors import BadFile, UnreadableFile
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.files import tables as synthetic_tables
from seamless_interaction.synthetic.profiles import DEFECTS
from seamless_interaction.synthetic.writing import synthesize

# Said of healthy recordings too, since it follows from the vendor or the tables.
ORDINARY = {"absent", "undisclosed", "no_partner"}


def load(folder, **kwargs):
    kwargs.setdefault("modalities", [name for name in MODALITIES if name != "context"])
    splits = load_dataset("full", data_dir=folder, streaming=True, **kwargs)
    return {record["id"]: {**record, "split": split} for split, stream in splits.items() for record in stream}


@pytest.fixture(scope="module", params=LAYOUTS)
def healthy(request, corpora):
    folder, corpus = corpora[request.param]
    return load(folder, modalities=None), corpus


def test_every_recording_is_a_record(healthy):
    records, corpus = healthy
    assert set(records) == {recording.file_id for recording in corpus.recordings}


def test_identity(healthy):
    records, corpus = healthy
    for recording in corpus.recordings:
        record = records[recording.file_id]
        assert (record["label"], record["split"]) == (recording.label, recording.split)
        assert record["partner_id"] == recording.partner
        assert record["interaction_id"] == recording.file_id.rpartition("_")[0]
        assert record["participant_id"] == f"{recording.file_id[:3]}_{recording.file_id.rpartition('_')[2]}"


def test_arrays_are_the_generators_own(healthy):
    records, corpus = healthy
    for recording in corpus.recordings:
        assert_same_arrays(records[recording.file_id], recording)


def test_text_is_the_generators_own(healthy):
    records, corpus = healthy
    nulls = 0
    for recording in corpus.recordings:
        record, transcript = records[recording.file_id], recording.transcript()
        assert [s["transcript"] for s in record["segments"]] == [s["transcript"] for s in transcript]
        assert record["transcript"] == " ".join(s["transcript"].strip() for s in transcript)
        for segment, made in zip(record["segments"], transcript, strict=True):
            assert (segment["start"], segment["end"]) == (made["start"], made["end"])
            words = [{"score": None, **word} for word in made["words"]]
            assert segment["words"] == words
            nulls += sum(word["start"] is None and word["score"] is None for word in words)
        assert record["vad"] == recording.vad()
        made = [
            {"kind": kind, "annotation": a["annotation"], "start": a["start_ts"], "end": a["end_ts"]}
            for kind, records_of_kind in recording.annotations().items()
            for a in records_of_kind
        ]
        assert (record["annotations"] or []) == made
    assert nulls, "the corpus has words without timing"


def test_time_and_picture_come_from_the_media(healthy):
    records, corpus = healthy
    rates = set()
    for recording in corpus.recordings:
        record = records[recording.file_id]
        assert record["num_frames"] == recording.num_frames
        assert record["fps"] == pytest.approx(float(recording.fps), rel=1e-3)
        assert record["duration"] == pytest.approx(recording.num_frames / recording.fps, abs=0.04)
        assert (record["width"], record["height"]) == recording.raster
        assert record["pixel_aspect_ratio"] == pytest.approx(float(recording.pixel_aspect), rel=0.01)
        rates.add(round(record["fps"], 2))
    assert {30.0, 29.97} < rates


def test_audio_is_bit_exact_and_video_opens(healthy):
    records, corpus = healthy
    recording = corpus.recordings[0]
    record = records[recording.file_id]
    assert record["audio"]["sampling_rate"] == SAMPLING_RATE
    np.testing.assert_array_equal(record["audio"]["array"], recording.samples().astype(np.float32) / 2**15)
    assert len(record["video"]) == recording.num_frames
    assert record["video"][0].shape == (*reversed(recording.raster), 3)


def test_healthy_recordings_have_no_issue_but_ordinary_ones(healthy):
    records, corpus = healthy
    for recording in corpus.recordings:
        found = {(i["column"], i["code"]) for i in records[recording.file_id]["issues"] if i["code"] not in ORDINARY}
        assert found == set(recording.expected_issues)
        absent = {i["column"] for i in records[recording.file_id]["issues"] if i["code"] == "absent"}
        assert absent & set(ARRAYS) == set(ARRAYS) - set(recording.array_keys)
        assert ("annotations" in absent) == (not recording.annotations())


def test_checked_says_what_was_opened(healthy, corpora):
    records, corpus = healthy
    record = records[corpus.recordings[0].file_id]
    assert record["checked"] == [column for columns in MODALITIES.values() for column in columns]
    for record in load(corpora["tree"][0], modalities=["smplh:is_valid"]).values():
        assert record["checked"] == ["smplh:is_valid"]
        assert record["duration"] is None and record["fps"] is None


def test_context_is_joined(healthy):
    records, corpus = healthy
    tables = synthetic_tables(corpus)
    prompts = {row["prompt_hash"]: row for row in tables["interactions.csv"]}
    scores = {f"V{r['vendor_id']}_P{r['participant_id']}": r for r in tables["participants.csv"]}
    bonds = {f"{r['vendor_id']}_S{r['session_id']}": r for r in tables["relationships.csv"]}
    disclosed = 0
    for record in records.values():
        prompt = prompts[record["prompt_id"]]
        assert record["prompt_text_a"] == prompt["participant_a_prompt_text"]
        assert record["interaction_type"] == prompt["interaction_type"]
        assert (record["prompt_id_unique"], record["prompt_category"]) == (prompt["prompt_id_unique"], "synthetic")
        assert record["ipc_b"] == (prompt["ipc_b"] or None)
        assert record["relationship"] == bonds.get(record["session_id"], {}).get("relationship")
        score = scores.get(record["participant_id"], {}).get("openness_raw", "Undisclosed")
        assert record["personality"]["openness"] == (None if score == "Undisclosed" else float(score))
        disclosed += score != "Undisclosed"
    assert 0 < disclosed < len(records)
    assert any("\n" in record["prompt_text_a"] for record in records.values())


def test_duration_of_audio_where_video_was_not_asked_for(corpora):
    folder, corpus = corpora["tree"]
    for record in load(folder, modalities=["audio"]).values():
        recording = corpus[record["id"]]
        assert record["duration"] == recording.num_samples / SAMPLING_RATE
        assert record["fps"] is None and record["num_frames"] is None


# --- what is broken -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=LAYOUTS)
def defective(request, broken):
    folder, corpus = broken[request.param]
    return load(folder), corpus


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_named_and_nothing_else(defective, defect):
    records, corpus = defective
    recording = next(recording for recording in corpus.recordings if recording.defect == defect)
    if defect == "absent":
        assert recording.file_id not in records
        partner = records[recording.partner]
        assert {(i["column"], i["code"]) for i in partner["issues"]} >= {("partner_id", "partner_missing")}
        return
    record = records[recording.file_id]
    found = {(i["column"], i["code"]) for i in record["issues"] if i["code"] not in ORDINARY}
    assert found == set(recording.expected_issues)
    assert all(issue["detail"] for issue in record["issues"])


def test_every_code_is_documented(defective):
    records, _ = defective
    assert {issue["code"] for record in records.values() for issue in record["issues"]} <= set(ISSUES)


def test_a_defect_leaves_the_rest_of_the_record_whole(defective):
    records, corpus = defective
    for recording in corpus.recordings:
        if recording.file_id in records:
            kept = ("frames_differ", "non_finite", "interval", "duration_differs")  # reported, and there
            bad = {column for column, code in recording.expected_issues if code not in kept}
            record = records[recording.file_id]
            assert_same_arrays(record, recording, [key for key in ARRAYS if key not in bad])
            for key in bad & set(ARRAYS):
                group, feature = key.split(":")
                assert record[group][feature].shape == (0, *ARRAYS[key].shape)
            for column in ("audio", "video"):
                assert (record[column] is None) == (column in bad)


def test_partners_of_defective_recordings_are_healthy(defective):
    records, corpus = defective
    for recording in corpus.recordings:
        if recording.defect and recording.defect != "absent" and recording.partner:
            issues = {i["code"] for i in records[recording.partner]["issues"]} - ORDINARY
            assert issues == {code for _, code in corpus[recording.partner].expected_issues}


def test_strays_of_another_split_are_no_records(broken):
    folder, corpus = broken["bundles"]
    records = load(folder, modalities=["transcript"])
    for recording in corpus.recordings:
        if recording.file_id in records:
            assert records[recording.file_id]["split"] == recording.split


@pytest.mark.parametrize(
    "line",
    [
        '{"start": 0, "end": 1, "transcript": "\\ud800", "words": []}',
        '{"start": 0, "end": 1' + "0" * 400 + ', "transcript": "x"}',
        '{"start": 0, "end": true, "transcript": "x"}',
        '{"start": 0, "transcript": "x"}',
        '{"start": 0, "end": 1, "transcript": 1}',
        '{"start": 0, "end": NaN, "transcript": "x"}',
        '[{"start": 0, "end": 1, "transcript": "x"}]',
    ],
)
def test_text_that_cannot_be_does_not_end_the_stream(tmp_path, line):
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=2.0)
    first, second = (recording.file_id for recording in corpus.recordings)
    (tmp_path / "data" / tree_path("improvised", "train", "transcript", first)).write_text(line)
    records = load(tmp_path / "data", modalities=["transcript"])
    assert [(i["column"], i["code"]) for i in records[first]["issues"]] == [("transcript", "unreadable")]
    assert records[first]["transcript"] is None and records[second]["issues"] == []


def test_of_text_only_the_value_is_lost_that_cannot_be_used(tmp_path):
    """In a bundle's one JSON: NaN, which Python writes, a word that is none, a time that is text, a byte order mark."""
    corpus = synthesize(tmp_path / "data", "bundles", interactions=1, seconds=2.0)
    path = next((tmp_path / "data").rglob(f"0*/0*/{corpus.recordings[0].file_id}.json"))  # not that in `extra`
    content = json.loads(path.read_bytes())
    times = [{"start": 0.5, "end": 0.75}, {"start": 1, "end": 1.5}]
    words = [{"word": word, **times[0], "score": 0.5} for word in "abc"]
    spoken = {**times[0], "transcript": "a b c", "words": [words[0] | {"score": math.nan}, {"word": None}, words[2]]}
    content["metadata:transcript"] = [spoken, {**times[1], "start": math.inf, "transcript": "d"}]
    content["metadata:vad"] = [times[0], {**times[1], "end": "1.5"}]
    path.write_bytes(codecs.BOM_UTF8 + json.dumps(content).encode())
    record = load(tmp_path / "data", modalities=["transcript", "vad", "annotations"])[corpus.recordings[0].file_id]
    assert record["transcript"] == "a b c" and record["vad"] == times[:1]
    assert [(word["word"], word["score"]) for word in record["segments"][0]["words"]] == [("a", None), ("c", 0.5)]
    details = {issue["column"]: issue["detail"] for issue in record["issues"] if issue["code"] == "unreadable"}
    assert "record 1: score is 'nan', not a number; and 2 more" in details["transcript"]
    assert "record 2: left out: end is '1.5', not a number" in details["vad"]
    with pytest.raises(UnreadableFile, match="score is 'nan'"):
        load(tmp_path / "data", modalities=["transcript"], on_error="raise")
    conversation = SeamlessDataset(tmp_path / "data")[0]
    assert any(
        "end is '1.5'" in issue["detail"] for issue in conversation.recordings[0].window(0, 1, ["vad"])["issues"]
    )


def test_an_issue_is_said_once(defective):
    records, _ = defective
    for record in records.values():
        assert len({tuple(issue.values()) for issue in record["issues"]}) == len(record["issues"])


def test_on_error_raise_names_file_and_reason(broken):
    for folder, _ in broken.values():
        with pytest.raises(BadFile) as caught:
            load(folder, on_error="raise")
        assert str(folder) in caught.value.path or "V0" in caught.value.path
        assert caught.value.reason
        with pytest.raises(BadFile) as caught:  # prepared: not hidden in an error of `datasets`
            load_dataset("full", split="train", data_dir=folder, on_error="raise", modalities=["smplh"])
        assert caught.value.code in ISSUES and caught.value.path
    with pytest.raises(BadFile) as caught:  # nor lost on the way from another process
        load_dataset("full", split="train", data_dir=folder, on_error="raise", modalities=["smplh"], num_proc=2)
    assert caught.value.code in ISSUES and caught.value.path


def test_on_error_skip_drops_and_counts(broken, caplog):
    folder, _ = broken["tree"]
    modalities = ["audio", "video", "transcript", "smplh:body_pose"]
    everything = load(folder, modalities=modalities)
    caplog.clear()
    caplog.set_level(logging.INFO, "seamless_interaction")
    kept = load(folder, modalities=modalities, on_error="skip")
    bad = {
        id
        for id, r in everything.items()
        if {i["code"] for i in r["issues"]} & {e.code for e in BadFile.__subclasses__()}
    }
    assert bad and set(kept) == set(everything) - bad
    skipped = [int(record.args[2]) for record in caplog.records if "skipped" in record.message]
    assert sum(skipped) == len(bad) and len(skipped) == len(SPLITS)


def test_a_pass_ends_with_a_summary(broken, caplog):
    folder, _ = broken["tree"]
    caplog.set_level(logging.INFO, "seamless_interaction")
    stream = load_dataset("full", split="train", data_dir=folder, streaming=True, modalities=["smplh:body_pose"])
    next(iter(stream))
    for _ in range(2):
        number = sum(1 for _ in stream)
    summaries = [record.message for record in caplog.records if "skipped" in record.message]
    assert len(summaries) == 2 and summaries[0] == summaries[1]
    assert summaries[0].startswith(f"train: {number} recordings, 0 skipped") and "unsafe 1" in summaries[0]


def test_what_the_file_list_names_and_the_place_lacks_is_counted_once(broken, caplog):
    folder, corpus = broken["tree"]
    load(folder, modalities=["vad"])
    absent = next(recording for recording in corpus.recordings if recording.defect == "absent")
    (message,) = [r.message for r in caplog.records if "are not in it" in r.message]
    assert f": 1 of the {len(corpus.recordings)} recordings" in message and absent.file_id in message


def test_issues_of_the_format_have_a_code_each():
    codes = {error.code for error in BadFile.__subclasses__()}
    assert codes == set(list(ISSUES)[: len(codes)])
