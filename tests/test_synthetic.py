"""The synthetic corpus is what it says: deterministic, the same in every layout, and stored as the real data are."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import struct
import tarfile
import zipfile
import zlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from seamless_interaction import (
    ANNOTATION_KINDS,
    ARRAYS,
    FILELIST_FLAGS,
    ISSUES,
    LABELS,
    SAMPLING_RATE,
    SPLITS,
    TABLES,
    TRAITS,
    VENDORS,
)
from seamless_interaction.cli import app
from seamless_interaction.errors import UnknownLayout, UsageError
from seamless_interaction.source.layout import BUNDLE, archive_path, tree_path
from seamless_interaction.synthetic import files, media
from seamless_interaction.synthetic.corpus import LAYOUTS, Corpus, SyntheticRecording, corpus
from seamless_interaction.synthetic.media import (
    PICTURE_PERIOD,
    empty_mp4,
    picture,
    picture_number,
    wav_header,
    write_mp4,
)
from seamless_interaction.synthetic.profiles import DEFECTS, PROFILES
from seamless_interaction.synthetic.writing import synthesize

SECONDS = 2.0


@pytest.fixture(scope="session")
def made(corpora) -> dict[str, tuple[Path, Corpus]]:
    """A corpus of every profile, in every layout."""
    return corpora


@pytest.fixture(scope="session")
def broken(broken) -> tuple[Path, Corpus]:
    return broken["bundles"]


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def table(root: Path, name: str) -> list[dict[str, str]]:
    with open(root / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bundle(root: Path, recording: SyntheticRecording, extension: str) -> Path:
    folder = archive_path(recording.label, recording.split, recording.batch_idx, recording.archive_idx)
    return root / folder / f"{recording.file_id}{extension}"


def spoilt(corpus: Corpus, defect: str) -> SyntheticRecording:
    return next(recording for recording in corpus.recordings if recording.defect == defect)


# --- the corpus -----------------------------------------------------------------------------------


class Forgetful(dict[Any, Any]):
    def get(self, *_: Any) -> None:
        """Nothing that was put into it."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_arguments_give_the_same_bytes(layout, tmp_path, monkeypatch):
    """Whether each track is encoded, or taken from when it last was."""
    monkeypatch.setattr(media, "_encoded", Forgetful())
    synthesize(tmp_path / "encoded", layout, 1, 1.0)
    monkeypatch.setattr(media, "_encoded", {})
    synthesize(tmp_path / "again", layout, 1, 1.0)
    kept = len(media._encoded)
    synthesize(tmp_path / "kept", layout, 1, 1.0)
    assert kept == len(media._encoded) > 0
    assert digests(tmp_path / "encoded") == digests(tmp_path / "again") == digests(tmp_path / "kept")


def test_another_seed_gives_other_content_under_the_same_ids():
    one, other = (corpus(1, SECONDS, seed).recordings[0] for seed in (0, 1))
    assert one.file_id == other.file_id
    assert not np.array_equal(one.array("smplh:body_pose"), other.array("smplh:body_pose"))
    assert not np.array_equal(one.samples(), other.samples())


def test_twelve_interactions_show_every_profile():
    recordings = corpus(12, 4.0).recordings
    assert {recording.profile for recording in recordings} == set(PROFILES)
    assert {recording.vendor for recording in recordings} == set(VENDORS)
    assert {(r.label, r.split) for r in recordings} == {(label, split) for label in LABELS for split in SPLITS}
    assert not [r for r in recordings if r.vendor == "V02" and r.label == "improvised"]
    assert any(recording.ids.participant.endswith("A") for recording in recordings if recording.vendor == "V00")
    assert any(recording.partner is None for recording in recordings)
    annotated = {r.vendor: set(r.annotations()) for r in reversed(recordings) if r.kinds}
    assert annotated == {"V00": {"3P-IS", "3P-R", "3P-V"}, "V03": set(ANNOTATION_KINDS)}
    assert any(r.transcript() and not r.vad() for r in recordings) and any(not r.transcript() for r in recordings)
    assert {recording.pixel_aspect for recording in recordings} == {Fraction(1), Fraction(9, 16)}
    assert any(recording.raster == (640, 360) for recording in recordings)  # rotated


@pytest.mark.parametrize("interactions", [6, 8])
def test_all_splits_are_there_from_six_interactions_on(interactions):
    assert {recording.split for recording in corpus(interactions).recordings} == set(SPLITS)


def test_a_thousand_interactions_have_unique_ids_and_constant_sessions():
    recordings = corpus(1000).recordings
    assert len({recording.file_id for recording in recordings}) == len(recordings)
    sessions = {}
    for recording in recordings:
        place = sessions.setdefault(recording.ids.session_id, (recording.label, recording.split))
        assert place == (recording.label, recording.split)
    assert len({recording.ids.session for recording in recordings}) < len(sessions)  # they collide across vendors
    by_id = {recording.file_id: recording for recording in recordings}
    pairs = [(recording, by_id[recording.partner]) for recording in recordings if recording.partner]
    assert all(other.partner == one.file_id and one.ids[:3] == other.ids[:3] for one, other in pairs)
    assert np.mean([one.archive_idx != other.archive_idx for one, other in pairs]) > 0.95


def test_invalid_arguments_are_named(tmp_path):
    with pytest.raises(UsageError, match="0 interactions"):
        corpus(0)
    with pytest.raises(UsageError, match="nan seconds"):
        corpus(1, float("nan"))
    with pytest.raises(UnknownLayout, match="'tars'"):
        synthesize(tmp_path, "tars")
    assert not list(tmp_path.iterdir())


# --- content --------------------------------------------------------------------------------------


def test_invalid_frames_look_as_the_real_ones_do():
    for recording in corpus(12, 6.0).recordings:
        arrays = recording.arrays()
        tracked, hands = arrays["boxes_and_keypoints:is_valid_box"], arrays["smplh:is_valid"]
        assert not tracked.all() and not hands[~tracked].any()
        for key in ("box", "keypoints"):
            values = arrays[f"boxes_and_keypoints:{key}"]
            assert not values[~tracked].any() and values[tracked].any(axis=tuple(range(1, values.ndim))).all()
        huge = np.abs(arrays["smplh:translation"]).max(axis=1) >= 1e12
        assert np.array_equal(huge, ~tracked) and arrays["smplh:translation"].max() < 1e14
        frozen = (np.diff(arrays["smplh:left_hand_pose"], axis=0) == 0).all(axis=(1, 2))
        assert frozen[~hands[1:]].all()
        if recording.vendor == "V00":
            valid = arrays["movement:is_valid"][:, 0] == 1
            runs = np.flatnonzero(np.diff(np.r_[True, valid, True].astype(int)))
            assert not valid.all()
            if "movement_invalid" not in recording.traits:
                assert valid.any() and not (runs % 60).any()
            assert not arrays["movement:expression"][~valid].any()
            assert len(arrays["movement:hypernet_features"]) == recording.num_frames // 15
            assert set(arrays) == set(ARRAYS)
        assert all(np.isfinite(values).all() for values in arrays.values())


def test_texts_lie_within_the_recording_and_say_that_they_are_synthetic():
    nulls = zero_length = 0
    for recording in corpus(12, 9.0).recordings:
        duration = recording.video_frames / recording.fps
        for segment in recording.transcript():
            assert 0 <= segment["start"] < segment["end"] <= duration and segment["transcript"].startswith("Synthetic")
            for word in segment["words"]:
                nulls += word["start"] is None
                assert ("score" in word) == (word["start"] is not None) == (word["end"] is not None)
        assert all(0 <= record["start"] < record["end"] <= duration for record in recording.vad())
        for kind, records in recording.annotations().items():
            assert records and all(record["annotation"].startswith(f"Synthetic {kind}") for record in records)
            assert all(isinstance(record["start_ts"], int) for record in records)
            assert all(record["start_ts"] <= record["end_ts"] <= duration for record in records)
            zero_length += sum(record["start_ts"] == record["end_ts"] for record in records)
    assert nulls and zero_length


def test_partners_take_turns():
    one, other = corpus(1, 20.0).recordings
    turns = sorted([*one._turns(), *other._turns()])
    assert one._turns() and other._turns()
    assert all(end <= start for (_, end), (start, _) in pairwise(turns))


# --- layouts --------------------------------------------------------------------------------------


def test_tree_holds_what_the_methods_give(made):
    root, corpus = made["tree"]
    wide = 0
    for r in corpus.recordings:

        def path(part: str) -> Path:
            return root / tree_path(r.label, r.split, part, r.file_id)  # noqa: B023

        for key, values in r.arrays().items():
            stored = np.load(path(key), allow_pickle=False)
            wide += stored.dtype == "float64"
            assert stored.dtype == r.dtype_in_tree(key)
            assert values.dtype == ARRAYS[key].dtype and values.shape[1:] == ARRAYS[key].shape
            assert stored.shape == (values.shape[:1] if ARRAYS[key].is_mask else values.shape)
            assert np.array_equal(stored, values.reshape(stored.shape))  # float64 too: exactly representable in float32
        assert_wav(path("audio").read_bytes(), r)
        texts = {"transcript": r.transcript(), "vad": r.vad(), **r.annotations()}
        for part, records in texts.items():
            assert [json.loads(line) for line in path(part).read_text("utf-8").splitlines()] == records
        assert not any(path(kind).exists() for kind in set(ANNOTATION_KINDS) - set(texts))
    assert wide


def test_bundles_and_archives_hold_what_the_methods_give(made):
    folder, corpus = made["bundles"]
    tars, _ = made["archives"]
    for r in corpus.recordings:
        content = {e: bundle(folder, r, e).read_bytes() for e in (".json", ".mp4", ".npz", ".wav")}
        with tarfile.open(tars / f"{archive_path(r.label, r.split, r.batch_idx, r.archive_idx)}.tar") as tar:
            members = [member for member in tar.getmembers() if member.name.startswith(f"{r.file_id}.")]
            assert [member.name for member in members] == [f"{r.file_id}{extension}" for extension in content]
            assert {member.mtime for member in members} == {0}
            assert [tar.extractfile(member).read() for member in members] == list(content.values())
        whole = json.loads(content[".json"])
        texts = {"transcript": r.transcript(), "vad": r.vad(), **r.annotations()}
        assert whole == {"id": r.file_id, **{BUNDLE[part][1]: records for part, records in texts.items()}}
        assert_wav(content[".wav"], r)
        with zipfile.ZipFile(io.BytesIO(content[".npz"])) as npz:
            assert {member.compress_type for member in npz.infolist()} == {zipfile.ZIP_DEFLATED}
            assert npz.namelist() == [f"{key}.npy" for key in r.array_keys]
        with np.load(io.BytesIO(content[".npz"])) as arrays:
            for key, values in r.arrays().items():
                assert arrays[key].dtype == ARRAYS[key].dtype and np.array_equal(arrays[key], values)


def test_every_layout_has_the_same_tables_and_media(made):
    (tree, corpus), (bundles, _), (archives, _) = made["tree"], made["bundles"], made["archives"]
    for name in TABLES:
        assert (tree / name).read_bytes() == (bundles / name).read_bytes() == (archives / name).read_bytes()
    for r in corpus.recordings:
        for part, extension in (("audio", ".wav"), ("video", ".mp4")):
            path = tree / tree_path(r.label, r.split, part, r.file_id)
            assert path.read_bytes() == bundle(bundles, r, extension).read_bytes()


def test_archive_numbers_have_gaps_and_an_unlisted_tar_holds_another_split(made):
    root, _ = made["archives"]
    rows = table(root, "filelist.csv")
    listed = {archive_path(r["label"], r["split"], int(r["batch_idx"]), int(r["archive_idx"])) for r in rows}
    there = {str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.tar")}
    numbers = sorted(int(path[-4:]) for path in listed if path.startswith("naturalistic/train"))
    assert numbers != list(range(numbers[0], numbers[-1] + 1))
    (stray,) = there - listed
    assert listed < there and stray.startswith("improvised/dev/")
    with tarfile.open(root / f"{stray}.tar") as tar:
        ids = {name.partition(".")[0] for name in tar.getnames()}
    assert {row["split"] for row in rows if row["file_id"] in ids} == {"test"}


def test_bundles_lie_among_things_that_are_no_data(made):
    root, _ = made["bundles"]
    names = [str(path.relative_to(root)) for path in root.rglob("*")]
    for ending in (".lock", ".metadata", ".incomplete", ".tar", "/extra"):
        assert any(name.endswith(ending) for name in names), ending
    assert any(name.endswith(".tar") and (root / name).with_suffix("").is_dir() for name in names)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_folder_says_that_it_is_synthetic_and_how_it_was_made(made, layout):
    text = (made[layout][0] / "SYNTHETIC.md").read_text("utf-8")
    assert "No real person" in text and f"synthesize DIR --layout {layout} --interactions 12" in text


# --- tables ---------------------------------------------------------------------------------------


def test_tables_have_the_real_columns_and_oddities(made):
    root, corpus = made["tree"]
    rows = {name: table(root, name) for name in TABLES}
    assert rows == files.tables(corpus)
    assert list(rows["filelist.csv"][0]) == [*TABLES["filelist.csv"], *FILELIST_FLAGS]
    by_id = {row["file_id"]: row for row in rows["filelist.csv"]}
    for r in corpus.recordings:
        flags = [by_id[r.file_id][flag] == "1" for flag in FILELIST_FLAGS]
        assert flags == [r.vendor == "V00", "1P-IS" in r.kinds, "3P-V" in r.kinds]
    prompts = rows["interactions.csv"]
    assert next(iter(prompts[0])) == "" and all(len(row["prompt_hash"]) == 8 for row in prompts)
    assert {recording.ids.prompt_id for recording in corpus.recordings} <= {row["prompt_hash"] for row in prompts}
    assert all("\n" in row["participant_a_prompt_text"] and "“" in row["participant_b_prompt_text"] for row in prompts)
    assert all(row["participant_a_prompt_text"].startswith("Synthetic prompt: ") for row in prompts)
    assert sum(not row["ipc_b"] for row in prompts) == len(prompts) / 2 and all(row["ipc_a"] for row in prompts)


def test_one_participant_and_one_session_have_no_row(made):
    root, corpus = made["tree"]
    people = {f"V{row['vendor_id']}_P{row['participant_id']}": row for row in table(root, "participants.csv")}
    assert len({r.ids.participant_id for r in corpus.recordings} - set(people)) == 1
    disclosed = 0
    for row in people.values():
        scores = {row[f"{trait}_raw"] for trait in TRAITS}
        if "Undisclosed" in scores:
            assert scores == {"Undisclosed"}
        else:
            disclosed += 1
            assert all(1 <= float(score) <= 5 and repr(float(score)) == score for score in scores)
    assert 0 < disclosed < len(people)
    sessions = {f"{row['vendor_id']}_S{row['session_id']}" for row in table(root, "relationships.csv")}
    assert len({r.ids.session_id for r in corpus.recordings} - sessions) == 1
    assert sessions <= {r.ids.session_id for r in corpus.recordings}


# --- media ----------------------------------------------------------------------------------------


def assert_wav(content: bytes, recording: SyntheticRecording) -> None:
    assert len(content) == 58 + 4 * recording.num_samples and content[38:42] == b"fact"
    with soundfile.SoundFile(io.BytesIO(content)) as wav:
        assert (wav.subtype, wav.channels, wav.samplerate) == ("FLOAT", 1, SAMPLING_RATE)
        samples = wav.read(dtype="float32")
    assert np.array_equal(samples * 32768, recording.samples())


def test_an_empty_wav_is_the_58_bytes_of_the_real_ones():
    assert len(wav_header(0)) == 58
    assert soundfile.SoundFile(io.BytesIO(wav_header(0))).frames == 0


def test_samples_do_not_depend_on_how_they_are_cut():
    recording = corpus(1, 8.0).recordings[0]
    samples = recording.samples()
    assert len(samples) == recording.num_samples > 1 << 18  # more than a block
    assert np.array_equal(recording.some_samples(100_001, 300_007), samples[100_001:300_007])
    assert 0 < np.mean(samples == 0) < 0.32 and np.abs(samples).max() > 8000


def test_videos_have_the_rate_raster_and_shape_of_pixels_that_the_recording_says(made):
    root, corpus = made["bundles"]
    for r in corpus.recordings:
        with av.open(str(bundle(root, r, ".mp4"))) as container:
            (video,), (audio,) = container.streams.video, container.streams.audio
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.average_rate, video.frames) == (r.fps, r.num_frames)
            assert (video.width, video.height) == r.raster
            assert video.sample_aspect_ratio == r.pixel_aspect
            assert audio.rate == SAMPLING_RATE and (r.vendor != "V02" or audio.channels == 1)
            assert bool(container.streams.data) == (r.vendor == "V00")  # the timecode
            assert abs(float(audio.duration * audio.time_base) - float(r.num_frames / r.fps)) < 0.05


def test_each_frame_spells_its_number(made):
    root, corpus = made["bundles"]
    for r in corpus.recordings[:6]:
        with av.open(str(bundle(root, r, ".mp4"))) as container:
            frames = [frame.to_ndarray()[: r.raster[1], : r.raster[0]] for frame in container.decode(video=0)]
        assert [picture_number(frame) for frame in frames] == list(range(r.num_frames))


def test_pictures_spell_all_16_bits():
    for number in (0, 1, 0x8000, 0x5A3C, 0xFFFF):
        assert picture_number(picture(number, 180, 320)) == number


def test_long_videos_repeat_their_packets_without_a_gap(tmp_path):
    frames, fps = 2 * PICTURE_PERIOD + 7, Fraction(30000, 1001)
    path = tmp_path / "long.mp4"
    count = round(frames / fps * SAMPLING_RATE)
    write_mp4(path, frames, fps, (64, 64), Fraction(1), np.zeros(SAMPLING_RATE, "int16"), count)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames) == (fps, frames)
        audio = container.streams.audio[0]
        assert abs(float(audio.duration * audio.time_base) - frames / fps) < 0.05
        decoded = list(container.decode(video=0))
    assert [frame.pts * frame.time_base * fps for frame in decoded] == list(range(frames))
    numbers = [picture_number(frame.to_ndarray()[:64, :64]) for frame in decoded]
    assert numbers == [number % PICTURE_PERIOD for number in range(frames)]
    assert [i for i, frame in enumerate(decoded) if frame.key_frame] == [0, 250, 500, 750, 1000]


# --- defects --------------------------------------------------------------------------------------


def test_every_defect_has_a_recording_a_healthy_partner_and_known_issues():
    for layout in LAYOUTS:
        made = corpus(2, SECONDS, defects=True, layout=layout)
        assert [r.defect for r in made.recordings if r.defect] == list(DEFECTS)
        for r in made.recordings:
            assert all(code in ISSUES for _, code in r.expected_issues)
            assert not r.defect or made[r.partner].defect is None
            assert bool(r.expected_issues) == (r.defect not in (None, "absent")) or r.defect is None
    assert made[spoilt(made, "absent").partner].expected_issues == {("partner_id", "partner_missing")}


def test_empty_bundles_have_the_sizes_of_the_real_ones(broken):
    root, corpus = broken
    sizes = [bundle(root, spoilt(corpus, "empty_bundle"), e).stat().st_size for e in (".mp4", ".wav", ".json")]
    assert sizes == [261, 58, 96]
    for defect, keys, size in (("empty_bundle", 9, 1981), ("empty_bundle_v00", 24, 5305)):
        path = bundle(root, spoilt(corpus, defect), ".npz")
        if "ng" not in zlib.ZLIB_RUNTIME_VERSION:  # which packs otherwise
            assert path.stat().st_size == size
        with np.load(path) as arrays:
            assert len(arrays) == keys
            assert {arrays[key].shape for key in arrays} == {(0, *ARRAYS[key].shape) for key in arrays}


def test_videos_without_a_picture(broken):
    root, corpus = broken
    kinds = {}
    for defect in ("empty_bundle", "empty_bundle_v00", "no_picture", "no_video_stream"):
        with av.open(str(bundle(root, spoilt(corpus, defect), ".mp4"))) as container:
            kinds[defect] = [stream.type for stream in container.streams]
    assert kinds == {
        "empty_bundle": [],
        "empty_bundle_v00": ["data"],
        "no_picture": [],
        "no_video_stream": ["audio"],
    }
    assert bundle(root, spoilt(corpus, "no_picture"), ".wav").stat().st_size > 58
    assert empty_mp4()[4:8] == b"ftyp"


def test_a_truncated_video_has_lost_its_index(broken):
    root, corpus = broken
    path = bundle(root, spoilt(corpus, "truncated_video"), ".mp4")
    assert b"moov" not in path.read_bytes()
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(path))


def test_broken_arrays_are_broken_in_their_own_way(broken):
    root, corpus = broken

    def member(defect: str) -> bytes:
        (key,) = DEFECTS[defect].issues
        with zipfile.ZipFile(bundle(root, spoilt(corpus, defect), ".npz")) as archive:
            return archive.read(f"{key}.npy")

    def load(defect: str) -> np.ndarray:
        return np.load(io.BytesIO(member(defect)), allow_pickle=False)

    with pytest.raises(ValueError, match="allow_pickle"):
        load("pickled_array")
    with pytest.raises(ValueError, match=r"EOF|cannot reshape"):
        load("truncated_array")
    assert b"1000000000" in member("boundless_array")[:128]
    assert len(member("oversized_array")) > load("oversized_array").nbytes + (1 << 20)
    assert load("wrong_shape").shape[1:] == (5,)
    values = load("non_finite")
    assert np.isnan(values).any() and np.array_equal(
        values, spoilt(corpus, "non_finite").array("smplh:global_orient"), equal_nan=True
    )
    fast = spoilt(corpus, "fast_arrays")
    assert len(fast.array("smplh:is_valid")) == 8 * fast.num_frames


def test_files_that_are_missing_are_listed(broken):
    root, corpus = broken
    listed = {row["file_id"] for row in table(root, "filelist.csv")}
    absent, incomplete = spoilt(corpus, "absent"), spoilt(corpus, "incomplete")
    assert {absent.file_id, incomplete.file_id} <= listed
    assert not list(root.rglob(f"{absent.file_id}*"))
    assert {path.suffix for path in root.rglob(f"{incomplete.file_id}*")} == {".json", ".mp4"}


def test_other_defects(broken):
    root, corpus = broken
    with pytest.raises(json.JSONDecodeError):
        json.loads(bundle(root, spoilt(corpus, "invalid_json"), ".json").read_text())
    short = spoilt(corpus, "short_audio")
    (length,) = struct.unpack("<I", bundle(root, short, ".wav").read_bytes()[54:58])
    assert length / 4 / SAMPLING_RATE < short.num_frames / short.fps - 1
    moments = spoilt(corpus, "impossible_annotations").annotations()["3P-V"]
    assert any(moment["end_ts"] < moment["start_ts"] for moment in moments)
    assert any(moment["end_ts"] > SECONDS + 30 for moment in moments)
    stray = corpus.stray
    assert stray.split == "test" and len(list(root.rglob(f"{stray.file_id}.mp4"))) == 2


# --- command line ---------------------------------------------------------------------------------


def test_command_writes_and_tells(tmp_path):
    result = CliRunner().invoke(app, ["synthesize", str(tmp_path / "new"), "--interactions", "1", "--seconds", "2"])
    assert result.exit_code == 0, result.output
    assert "2 synthetic recordings" in result.output
    assert digests(tmp_path / "new") == digests_of(tmp_path / "library")


def digests_of(root: Path) -> dict[str, str]:
    synthesize(root, interactions=1, seconds=2.0)
    return digests(root)


def test_command_refuses_a_folder_with_files(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    result = CliRunner().invoke(app, ["synthesize", str(tmp_path)])
    assert result.exit_code == 2 and "is not empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failed_run_leaves_nothing(tmp_path, monkeypatch):

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_video", full)
    with pytest.raises(OSError, match="disk is full"):
        synthesize(tmp_path, interactions=1, seconds=SECONDS)
    assert not list(tmp_path.iterdir())
