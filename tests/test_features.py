"""Features: what was planted in synthetic conversations is found again, masks follow masks, files go on."""

import csv
import json
import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import seamless_interaction
from seamless_interaction import ARRAYS, SAMPLING_RATE, SeamlessDataset
from seamless_interaction.cli import app
from seamless_interaction.errors import (
    ForeignFeatures,
    InvalidWindow,
    MissingDependency,
    SeamlessInteractionError,
    UnknownGroup,
    UnknownName,
    UsageError,
)
from seamless_interaction.features import (
    FEATURES,
    GROUPS,
    dyadic,
    extract_features,
    make_features,
    read_features,
    silero,
)
from seamless_interaction.features.motion import BAND, compose, rhythm, turns
from seamless_interaction.features.prosody import word_times
from seamless_interaction.features.synchrony import synchrony
from seamless_interaction.features.table import LIMBS, as_markdown, features_of
from seamless_interaction.source.layout import tree_path
from seamless_interaction.source.tables import TABLES
from seamless_interaction.synthetic.media import write_wav
from seamless_interaction.work.progress import Meter

A, B = "V00_P0202", "V00_P0203"
FPS, SECONDS = 30, 20.0
MOTION = ["head", "gesture", "face", "dyadic"]


def plant(folder, recordings, seconds=SECONDS, session="V00_S0101_I00000081"):
    """A tree with one conversation, whose arrays are zero and valid where ``recordings`` do not say otherwise.

    Args:
        recordings: participant id (as ``V00_P0202``) -> part -> what it holds: arrays by key, ``"audio"`` as (samples,)
            float, ``"vad"`` as intervals, ``"words"`` as (word, start, end); without a part there is no file.
    """
    ids = {participant: f"{session}_{participant.partition('_')[2]}" for participant in recordings}
    for participant, parts in recordings.items():
        for part, content in parts.items():
            path = folder / tree_path(
                "improvised", "train", "transcript" if part == "words" else part, ids[participant]
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            if part == "audio":
                with open(path, "wb") as file:
                    write_wav(file, len(content), [np.round(content * 32767).astype("int16")])
            elif part == "vad":
                path.write_text("".join(f"{json.dumps({'start': s, 'end': e})}\n" for s, e in content))
            elif part == "words":
                words = [{"word": word, "start": start, "end": end, "score": 1.0} for word, start, end in content]
                segment = {
                    "start": 0.0,
                    "end": seconds,
                    "transcript": " ".join(w["word"] for w in words),
                    "words": words,
                }
                path.write_text(f"{json.dumps(segment)}\n")
            else:
                np.save(path, content)
    with open(folder / "filelist.csv", "w", encoding="utf-8", newline="") as file:
        rows = [(id, "improvised", "train", 0, 0) for id in ids.values()]
        csv.writer(file, lineterminator="\n").writerows([TABLES["filelist.csv"], *rows])
    return SeamlessDataset(folder)[0]


def arrays(seconds=SECONDS, **given):
    """All arrays of a V00 recording, zero and valid; ``given`` by feature."""
    made = {}
    for key, array in ARRAYS.items():
        shape = (round(seconds * FPS / array.frames_per_row), *array.shape)
        made[key] = (np.ones if array.feature.startswith("is_valid") else np.zeros)(shape, array.dtype)
        if array.feature in given:
            made[key] = given[array.feature]
    return made


def silence(seconds=SECONDS):
    return np.zeros(round(seconds * SAMPLING_RATE))


def hum(frequency, seconds=SECONDS):
    """Seven harmonics, each weaker than the one before: as a voice, and unlike a sine, it has a clear period."""
    times = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    return 0.2 * sum(np.sin(2 * np.pi * frequency * n * times) / n for n in range(1, 8)) / 2


# --- planted: turns -------------------------------------------------------------------------------

# A speaks, pauses for less than 200 ms, B answers after a gap, A comes in before B has ended, B hums while A speaks.
VAD_A = [(1.0, 2.5), (2.65, 4.0), (7.5, 12.0), (12.6, 14.0), (18.0, 19.5)]
VAD_B = [(4.5, 8.1), (10.0, 10.6), (14.9, 17.2)]


@pytest.fixture
def planted_turns(tmp_path):
    interaction = plant(tmp_path, {A: {**arrays(), "vad": VAD_A}, B: {**arrays(), "vad": VAD_B}})
    return extract_features(interaction, ["dyadic"], FPS)


def events(features, name):
    table = features.events[f"dyadic:{name}"]
    return [tuple(row.values()) for row in table.to_pylist()]


def test_planted_turns_are_found_to_the_millisecond(planted_turns):
    assert events(planted_turns, "turns") == [
        (A, 1.0, 4.0),
        (B, 4.5, 8.1),
        (A, 7.5, 14.0),
        (B, 14.9, 17.2),
        (A, 18.0, 19.5),
    ]
    assert events(planted_turns, "ipus")[:2] == [(A, 1.0, 4.0), (B, 4.5, 8.1)]
    assert events(planted_turns, "backchannels") == [(B, 10.0, 10.6)]


def test_planted_floor_transfers_have_their_offsets(planted_turns):
    transfers = events(planted_turns, "transfers")
    assert [(who, start, end) for who, start, end, _ in transfers] == [
        (B, 4.0, 4.5),
        (A, 7.5, 8.1),
        (B, 14.0, 14.9),
        (A, 17.2, 18.0),
    ]
    assert [offset for *_, offset in transfers] == pytest.approx([0.5, -0.6, 0.9, 0.8])
    assert events(planted_turns, "gaps") == [(B, 4.0, 4.5), (B, 14.0, 14.9), (A, 17.2, 18.0)]


def test_planted_overlaps_and_interruptions_are_found(planted_turns):
    assert events(planted_turns, "overlaps") == [(A, 7.5, 8.1, True), (B, 10.0, 10.6, False)]
    assert events(planted_turns, "interruptions") == [(A, 7.5, 8.1, True)]


def test_frames_of_state_and_floor_are_those_of_the_intervals(planted_turns):
    state, floor = planted_turns[A]["dyadic:state"], planted_turns[A]["dyadic:floor"][:, 0]
    times = planted_turns.times
    speaks = sum((times >= s) & (times < e) for s, e in [(1.0, 4.0), *VAD_A[2:]]).astype(bool)
    hears = sum((times >= s) & (times < e) for s, e in VAD_B).astype(bool)
    np.testing.assert_array_equal(
        state, np.stack([speaks & ~hears, hears & ~speaks, speaks & hears, ~speaks & ~hears], 1)
    )
    np.testing.assert_array_equal(planted_turns[B]["dyadic:state"], state[:, [1, 0, 2, 3]])
    turns = [(1.0, 4.0), (7.5, 14.0), (18.0, 19.5)]
    np.testing.assert_array_equal(floor, sum((times >= s) & (times < e) for s, e in turns))
    assert planted_turns.masks[A]["dyadic:state"].all()


def test_what_lasts_too_long_or_is_not_isolated_is_no_backchannel():
    other = [(0.0, 9.0)]
    for own, expected in (
        ([(3.0, 4.0)], [True]),
        ([(3.0, 4.1)], [False]),
        ([(0.5, 1.0)], [False]),  # not a second of silence before it is known
        ([(3.0, 3.5), (4.3, 4.6)], [False, False]),
        ([(2.0, 2.5), (3.5, 4.0), (5.0, 5.5)], [True, True, True]),
    ):
        assert dyadic.backchannels(own, other, 0.0, 10.0) == expected, own
    assert dyadic.backchannels([(1.0, 2.0), (6.0, 6.5)], [(9.0, 9.5)], 0.0, 10.0) == [False, False], (
        "a pause of one's own"
    )


def test_an_interruption_that_fails_is_one_without_success():
    made = dyadic.events(([(0.0, 9.0)], [(2.0, 4.0), (4.5, 6.0)]), 0.0, 10.0)
    assert [(row["who"], row["start"], row["success"]) for row in made["interruptions"]] == [
        (1, 2.0, False),
        (1, 4.5, False),
    ]
    assert [row["who"] for row in made["turns"]] == [0]


def test_a_backchannel_in_a_pause_does_not_take_the_floor():
    made = dyadic.events(([(0.0, 5.0), (6.2, 9.0)], [(5.3, 5.6)]), 0.0, 10.0)
    assert [(row["who"], row["start"], row["end"]) for row in made["turns"]] == [(0, 0.0, 9.0)]
    assert [row["who"] for row in made["backchannels"]] == [1] and not made["transfers"]


def test_pauses_of_200_ms_part_units_and_shorter_ones_do_not():
    records = [{"start": s, "end": e} for s, e in ((0.0, 1.0), (1.2, 2.0), (2.199, 3.0))]
    assert dyadic.inter_pausal_units(records, 0.0, 9.0) == [(0.0, 1.0), (1.2, 3.0)]


# --- planted: synchrony ---------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [-13, 0, 21])
def test_a_planted_lag_is_found_within_a_frame(lag):
    rng = np.random.default_rng(lag + 100)
    signal = np.convolve(rng.normal(size=2000), np.hanning(9), "same")
    first, second = signal[100:1900], signal[100 - lag : 1900 - lag] + rng.normal(0, 0.5, 1800)
    known = np.ones(1800, bool)
    found = synchrony(first, second, (known, known), FPS)
    assert np.abs(found.lag * FPS - lag).max() <= 1
    assert found.correlation.min() > np.quantile(found.null, 0.95)
    assert found.p.max() < 0.05
    again = synchrony(first, second, (known, known), FPS)
    np.testing.assert_array_equal(found.null, again.null)
    assert not np.array_equal(found.null, synchrony(first, second, (known, known), FPS, seed=1).null)


def test_partners_who_have_nothing_to_do_with_each_other_are_like_the_null():
    rng = np.random.default_rng(5)
    first, second = (np.convolve(rng.normal(size=9000), np.hanning(9), "same") for _ in range(2))
    known = np.ones(9000, bool)
    assert 0.3 < np.mean(synchrony(first, second, (known, known), FPS).p) < 0.7


def test_masked_rows_take_no_part_in_synchrony():
    rng = np.random.default_rng(3)
    signal = np.convolve(rng.normal(size=900), np.hanning(9), "same")
    known = rng.random(900) > 0.3
    broken = np.where(known, signal, 1e6)
    found = synchrony(broken, np.roll(signal, 6), (known, np.ones(900, bool)), FPS)
    assert np.abs(found.lag * FPS - 6).max() <= 1 and found.correlation.min() > 0.9
    for share in (0, 4):  # of ten rows: less than half
        none = synchrony(signal, signal, (np.arange(900) % 10 < share, np.ones(900, bool)), FPS)
        assert not len(none.start) and not len(none.null)


def test_the_lag_of_partners_heads_is_in_the_events(tmp_path):
    rng = np.random.default_rng(8)
    moved = np.cumsum(np.convolve(np.abs(rng.normal(size=700)), np.hanning(9), "same")) * 0.002
    parts = {}
    for participant, late in ((A, 0), (B, 9)):
        root = np.zeros((600, 3), "float32")
        root[:, 1] = moved[50 - late : 650 - late]
        parts[participant] = arrays(global_orient=root)
    features = extract_features(plant(tmp_path, parts), ["head", "dyadic"], FPS)
    rows = features.events["dyadic:synchrony"].to_pylist()
    assert {row["feature"] for row in rows} == {"head:speed"} and len(rows) == 6
    for row in rows:
        assert row["lag"] * FPS == pytest.approx(9 if row["participant_id"] == A else -9, abs=1)
        assert row["correlation"] > 0.95


# --- planted: head --------------------------------------------------------------------------------


def oscillation(axis, frequency, amplitude=0.1, frames=600):
    """Rotation vectors (frames, 3) about one axis."""
    rotations = np.zeros((frames, 3), "float32")
    rotations[:, axis] = amplitude * np.sin(2 * np.pi * frequency * np.arange(frames) / FPS)
    return rotations


@pytest.mark.parametrize("frequency", [1.5, 2.0, 3.3])
@pytest.mark.parametrize("axis, name, other", [(0, "nod", "shake"), (1, "shake", "nod")])
def test_a_planted_nod_or_shake_is_found_with_its_frequency(tmp_path, frequency, axis, name, other):
    body = np.zeros((600, 21, 3), "float32")
    body[:, 11] = oscillation(axis, frequency)
    camera = np.tile(np.array([2.0, 1.5, 0.8], "float32"), (600, 1))  # however the body stands to it
    features = extract_features(plant(tmp_path, {A: arrays(body_pose=body, global_orient=camera)}), ["head"], FPS)
    values, masks = features[A], features.masks[A]
    inner = slice(FPS, -FPS)  # windows that lie wholly within
    assert masks[f"head:{name}_frequency"][inner].all()
    assert np.abs(values[f"head:{name}_frequency"][inner] - frequency).max() < 0.25
    assert (values[f"head:{name}"][inner] > 100 * values[f"head:{other}"][inner]).all()
    assert not masks[f"head:{other}_frequency"][inner].any()
    between_rows = np.sinc(frequency / FPS)  # what a difference of rows sees of a velocity
    expected = (0.1 * 2 * np.pi * frequency * between_rows) ** 2 / 2
    np.testing.assert_allclose(values[f"head:{name}"][inner], expected, rtol=0.05)


def test_slow_turning_is_neither_nod_nor_shake():
    slow = np.sin(2 * np.pi * 0.25 * np.arange(600) / FPS)
    energy, _, known = rhythm(slow, np.ones(600, bool), FPS)
    assert known.all() and energy[FPS:-FPS].max() < 0.05 * 0.5


def test_a_grid_too_slow_for_nods_masks_them():
    assert not rhythm(np.ones(100), np.ones(100, bool), 2 * BAND[0] - 0.5)[2].any()


def test_angular_velocity_is_by_composition_not_by_subtraction(tmp_path):
    # A steady turn of 1 rad/s about one axis, whose vectors jump from pi to -pi on the way: a difference would show it.
    angle = np.arange(600) / FPS
    root = np.zeros((600, 3), "float32")
    root[:, 1] = (angle + np.pi) % (2 * np.pi) - np.pi
    features = extract_features(plant(tmp_path, {A: arrays(global_orient=root)}), ["head"], FPS)
    velocity, mask = features[A]["head:angular_velocity"], features.masks[A]["head:angular_velocity"]
    assert not mask[0] and mask[1:].all()
    np.testing.assert_allclose(velocity[1:], np.tile([0, 1, 0], (599, 1)), atol=1e-4)


def test_the_head_in_space_is_the_whole_chain(tmp_path):
    # The trunk turns forward as the neck turns backward: the head stays as it is, and the limbs do not.
    body = np.zeros((600, 21, 3), "float32")
    body[:, 5], body[:, 11] = oscillation(0, 2.0), -oscillation(0, 2.0)
    features = extract_features(plant(tmp_path, {A: arrays(body_pose=body)}), ["head", "gesture"], FPS)
    assert features[A]["head:speed"].max() < 1e-4
    energy = dict(zip(LIMBS, features[A]["gesture:kinetic_energy"].mean(0), strict=True))
    np.testing.assert_allclose(energy["torso"], energy["head"], rtol=1e-3)
    assert energy["torso"] > 0.5 and not any(
        energy[limb] for limb in ("left_arm", "right_arm", "left_leg", "right_leg")
    )


def test_turns_are_about_the_bodys_own_axes():
    from seamless_interaction.conversations.resample import quaternions

    quarter = quaternions(np.array([[0.0, 0.0, np.pi / 2]] * 2))
    step = quaternions(np.array([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0]]))
    np.testing.assert_allclose(turns(compose(quarter, step)), [[0.2, 0, 0]], atol=1e-12)


# --- planted: voice -------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", [85.0, 131.0, 220.0, 397.0])
def test_a_planted_pitch_is_found_within_two_percent(tmp_path, frequency):
    pytest.importorskip("librosa")
    sound = hum(frequency, 4.0)
    sound[:SAMPLING_RATE] = np.random.default_rng(0).normal(0, 0.05, SAMPLING_RATE)  # noise has no pitch
    sound[-SAMPLING_RATE:] = 0
    features = extract_features(plant(tmp_path, {A: {**arrays(4.0), "audio": sound}}, 4.0), ["prosody"], FPS)
    f0, voiced = features[A]["prosody:f0"][:, 0], features.masks[A]["prosody:f0"]
    assert voiced[33:87].all() and not voiced[:28].any() and not voiced[92:].any()
    assert np.abs(f0[33:87] / frequency - 1).max() < 0.02
    np.testing.assert_array_equal(features[A]["prosody:voicing"][:, 0] == 1, voiced)
    strength = features[A]["prosody:voicing"][:, 1]
    assert 0 <= strength.min() and strength.max() <= 1
    np.testing.assert_array_equal(strength >= np.float32(0.45), voiced)
    assert 60 <= f0[voiced].min() and f0[voiced].max() <= 500 and (f0[~voiced] == 0).all()


def test_loudness_is_that_of_the_frame_and_silence_has_a_floor(tmp_path):
    pytest.importorskip("librosa")
    times = np.arange(4 * SAMPLING_RATE) / SAMPLING_RATE
    sound = 0.5 * np.sin(2 * np.pi * 1000 * times) * (times < 2)
    features = extract_features(plant(tmp_path, {A: {**arrays(4.0), "audio": sound}}, 4.0), ["prosody"], FPS)
    rms, mel = features[A]["prosody:rms"][:, 0], features[A]["prosody:log_mel"]
    np.testing.assert_allclose(rms[3:57], 20 * np.log10(0.5 / np.sqrt(2)), atol=0.1)
    np.testing.assert_allclose(rms[64:], -100, atol=1e-4)
    np.testing.assert_allclose(mel[64:], -100, atol=1e-4)
    assert np.isfinite(mel).all() and features.masks[A]["prosody:rms"].all()


def test_nothing_is_below_the_floor_of_loudness_however_logarithms_are_rounded(tmp_path, monkeypatch):
    """In float32, the logarithm of what was clipped is a little less than the floor on some processors."""
    librosa = pytest.importorskip("librosa")
    exact, decibels = np.log10, librosa.power_to_db
    monkeypatch.setattr(librosa, "power_to_db", lambda *args, **options: decibels(*args, **options) - 1e-4)
    monkeypatch.setattr(np, "log10", lambda values: exact(values) * np.float32(1 + 1e-6))
    interaction = plant(tmp_path, {A: {**arrays(1.0), "audio": silence(1.0)}}, 1.0)
    features = extract_features(interaction, ["prosody"], FPS)
    assert features[A]["prosody:rms"].min() == features[A]["prosody:log_mel"].min() == -100


def test_mel_bands_are_librosas_own_where_its_hop_fits_the_grid(tmp_path):
    librosa = pytest.importorskip("librosa")
    import soxr

    sound = np.round(np.random.default_rng(1).normal(0, 0.1, 3 * SAMPLING_RATE) * 32767) / 32767
    interaction = plant(tmp_path, {A: {**arrays(3.0), "audio": sound}}, 3.0)
    features = extract_features(interaction, ["prosody"], 25, block=1.0)
    stored = np.round(sound * 32767).astype("int16").astype("float32") / 32768
    speech = soxr.resample(stored, SAMPLING_RATE, 16000)
    power = librosa.feature.melspectrogram(y=speech, sr=16000, n_fft=1024, hop_length=640, n_mels=80)
    expected = librosa.power_to_db(power, amin=1e-10, top_db=None).T[:75]
    np.testing.assert_allclose(features[A]["prosody:log_mel"][:73], expected[:73], atol=0.01)


def test_sound_is_the_same_in_blocks_of_any_size(tmp_path):
    pytest.importorskip("librosa")
    sound = np.random.default_rng(2).normal(0, 0.1, 3 * SAMPLING_RATE)
    interaction = plant(tmp_path, {A: {**arrays(3.0), "audio": sound}}, 3.0)
    whole, pieces = (extract_features(interaction, ["prosody"], FPS, block=frames / FPS) for frames in (90, 20))
    for key in ("prosody:log_mel", "prosody:rms"):
        np.testing.assert_allclose(pieces[A][key], whole[A][key], atol=0.01)


def test_speech_rate_counts_words_around_each_time(tmp_path):
    pytest.importorskip("librosa")
    words = [("w", 5 + n * 0.25, 5.1 + n * 0.25) for n in range(20)]  # four a second from 5 s to 10 s
    words[3] = ("w", None, None)  # as in the data: a word without times lies between its neighbours
    interaction = plant(tmp_path, {A: {**arrays(), "audio": silence(), "words": words}})
    features = extract_features(interaction, ["prosody"], FPS)
    rate = features[A]["prosody:speech_rate"][:, 0]
    np.testing.assert_allclose(rate[[round(t * FPS) for t in (2, 5, 7, 9, 15)]], [0, 2, 4, 4, 0], atol=0.51)
    assert rate[7 * FPS] == pytest.approx(4) and features.masks[A]["prosody:speech_rate"].all()


def test_words_without_times_share_the_room_that_their_neighbours_leave():
    times = [(None, None), (3.0, 4.0), (None, None), (None, None)]
    words = [{"word": "w", "start": start, "end": end, "score": None} for start, end in times]
    found = word_times([{"start": 2.0, "end": 6.0, "transcript": "w w w w", "words": words}])
    np.testing.assert_allclose(found, [2.75, 3.5, 3.5 + 2.5 / 3, 3.5 + 5 / 3])


def test_silero_hears_silence_as_the_data_does(tmp_path, monkeypatch):
    """Takes 6 s, most of which imports torch and loads silero's model."""
    pytest.importorskip("silero_vad")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    for name in [name for name in sys.modules if name.startswith("silero_vad")]:
        monkeypatch.delitem(sys.modules, name)  # so that it is imported anew, as a user does
    interaction = plant(tmp_path, {A: {**arrays(4.0), "audio": silence(4.0), "vad": [(1.0, 2.0)]}}, 4.0)
    features = extract_features(interaction, ["silero"], FPS, block=1.5)
    assert torch.get_num_threads() == 2, "importing silero_vad sets it to 1"
    heard = []
    watched = Watched(silero._of_thread.model, lambda: heard.append(torch.get_num_threads()))
    monkeypatch.setattr(silero._of_thread, "model", watched)
    extract_features(interaction, ["silero"], FPS)
    assert set(heard) == {1}, "more threads wait for each other"
    torch.set_num_threads(threads)
    monkeypatch.undo()
    assert features[A]["silero:probability"].max() < 0.5 and not features[A]["silero:speech"].any()
    assert features.shares[A]["silero:disagreement"] == pytest.approx(0.25)
    whole = extract_features(interaction, ["silero"], FPS)
    np.testing.assert_allclose(features[A]["silero:probability"], whole[A]["silero:probability"], atol=1e-4)


class Watched:
    """A model, and what is called with each chunk."""

    def __init__(self, model, tell):
        self.model, self.tell, self.reset_states = model, tell, model.reset_states

    def __call__(self, *arguments):
        self.tell()
        return self.model(*arguments)


class Loudness:
    """In place of silero's model, which remembers what was before a span: how loud it is."""

    def reset_states(self): ...

    def __call__(self, chunk, rate):
        return min(1.0, 8 * float(chunk.abs().max()))


def test_silero_of_a_span_is_that_part_of_the_whole(tmp_path, monkeypatch):
    pytest.importorskip("silero_vad")
    monkeypatch.setattr(silero._of_thread, "model", Loudness(), raising=False)
    times = np.arange(round(6.0 * SAMPLING_RATE)) / SAMPLING_RATE
    sound = hum(131.0, 6.0) * ((times > 2.0) & (times < 3.0) | (times > 4.0) & (times < 4.7))
    interaction = plant(tmp_path, {A: {**arrays(6.0), "audio": sound, "vad": [(1.5, 2.5)]}}, 6.0)
    whole = extract_features(interaction, ["silero"], FPS)
    span = extract_features(interaction, ["silero"], FPS, start=1.6, duration=4.0, block=1.5)  # 50 chunks, 48 rows
    assert 40 < span[A]["silero:speech"].sum() < 60 and 10 < span[A]["silero:disagrees"].sum() < 60
    for key, values in span[A].items():
        np.testing.assert_allclose(values, whole[A][key][48:168], atol=1e-3)
        np.testing.assert_array_equal(span.masks[A][key], whole.masks[A][key][48:168])


# --- planted: face --------------------------------------------------------------------------------


def test_a_planted_smile_is_seen_and_dead_columns_are_not(tmp_path):
    units = np.full((600, 24), 0.25, "float32")
    units[300:, [4, 8]] = 1.0, 2.0
    units[:, 16:19] = 99
    gaze = np.cumsum(np.tile(np.array([0.03, 0.04], "float32"), (600, 1)), 0)
    features = extract_features(plant(tmp_path, {A: arrays(FAUValue=units, gaze_encodings=gaze)}), ["face"], FPS)
    values = features[A]
    np.testing.assert_allclose(values["face:smile"][[0, 599], 0], [0.5, 3.0], rtol=1e-6)
    np.testing.assert_allclose(values["face:activity"][[0, 599], 0], [0.25, (19 * 0.25 + 3) / 21], rtol=1e-6)
    assert values["face:action_units"].shape == (600, 21) and values["face:action_units"].max() == 2
    np.testing.assert_allclose(values["face:gaze_speed"][1:, 0], 0.05 * FPS, rtol=1e-3)
    assert not features.masks[A]["face:gaze_speed"][0]


# --- masks ----------------------------------------------------------------------------------------


def assert_consistent(features):
    """Finite, of the shapes and dtypes that the table tells, and zero where masked."""
    for participant in features:
        assert list(features[participant]) == list(features.masks[participant])
        assert set(features[participant]) == {feature.key for feature in features_of(features.groups)}
        for key, values in features[participant].items():
            mask = features.masks[participant][key]
            assert values.dtype == np.float32 and values.shape == (len(features.times), len(features.names[key])), key
            assert mask.dtype == bool and mask.shape == (len(features.times),), key
            assert np.isfinite(values).all() and not values[~mask].any(), key
    for feature in features_of(features.groups, "events"):
        assert features.events[feature.key].column_names == ["participant_id", "start", "end", *feature.columns]


def test_masks_go_in_and_come_out(tmp_path):
    hands, tracked, movement = np.ones(600, bool), np.ones(600, bool), np.ones((600, 1), "float32")
    hands[100:110], tracked[200:210], movement[300:360] = False, False, 0
    units = np.ones((600, 24), "float32")
    units[298] = 0  # zeros beside where the mask says so
    given = {"is_valid_box": tracked, "FAUValue": units}
    made = arrays(**given)
    made["smplh:is_valid"], made["movement:is_valid"] = hands, movement
    features = extract_features(plant(tmp_path, {A: made}), ["head", "gesture", "face"], FPS)
    assert_consistent(features)
    invalid = {key: np.flatnonzero(~mask).tolist() for key, mask in features.masks[A].items()}
    assert invalid["head:angular_velocity"] == invalid["gesture:kinetic_energy"] == [0, *range(200, 211)]
    assert invalid["gesture:hand_energy"] == [0, *range(100, 111), *range(200, 211)]
    assert invalid["face:smile"] == [298, *range(300, 360)]
    assert invalid["face:gaze_speed"] == [0, 298, 299, *range(300, 361)]
    assert invalid["head:nod"] == invalid["head:angular_velocity"], "half of a window is known around each row"


def test_rows_that_are_no_numbers_are_masked(tmp_path):
    root = np.zeros((600, 3), "float32")
    root[50, 1], root[70] = np.nan, np.inf
    features = extract_features(plant(tmp_path, {A: arrays(global_orient=root)}), ["head"], FPS)
    assert_consistent(features)
    assert np.flatnonzero(~features.masks[A]["head:speed"]).tolist() == [0, 50, 51, 70, 71]


def test_what_is_absent_is_masked_and_no_error(tmp_path):
    body_only = {key: value for key, value in arrays().items() if key.startswith("smplh")}
    features = extract_features(plant(tmp_path, {A: body_only, B: {"vad": [(1.0, 2.0)]}}), MOTION, FPS)
    assert_consistent(features)
    assert features.masks[A]["head:speed"][1:].all()
    assert not any(mask.any() for key, mask in features.masks[A].items() if key.split(":")[0] in ("face", "dyadic"))
    assert not any(mask.any() for mask in features.masks[B].values())
    assert not any(table.num_rows for table in features.events.values())


def test_a_copy_of_text_only_has_what_the_text_tells(tmp_path):
    """No file of it says how long it lasts; the text of both partners says how long at least."""
    texts = {A: {"vad": [(0.5, 2.0), (6.0, 8.5)]}, B: {"vad": [(3.0, 5.5)], "words": [("yes", 3.0, 5.5)]}}
    interaction = plant(tmp_path, texts, seconds=9.0)
    (tmp_path / "selection.csv").write_text(
        f"file_id,modalities\n{interaction.id}_P0202,vad\n{interaction.id}_P0203,vad transcript\n"
    )
    dataset = SeamlessDataset(tmp_path)
    first, second = dataset[0].recordings
    assert first.duration == second.duration == 9.0 and not first.is_duration_known
    features = extract_features(dataset[0], ["head", "dyadic"])
    assert [row[:3] for row in events(features, "turns")] == [(A, 0.5, 2.0), (B, 3.0, 5.5), (A, 6.0, 8.5)]
    assert features.masks[A]["dyadic:state"].all() and len(features.times) == 9 * FPS
    said = "no video, audio or array tells it; by the text at least 9.000 s"
    issue = {"column": "duration", "code": "absent", "detail": said}
    assert features.issues[A][0] == features.issues[B][0] == issue
    windows = dataset.windows(4.0, hop=4.0, modalities=["vad"], paired=True, ends="pad")
    assert len(windows) == 3 and windows[2]["mask"]["vad"].sum(1).tolist() == [FPS, FPS]
    with pytest.raises(UsageError, match=r"none of 1 has 60 s, the longest 9\.000 s"):
        dataset.windows(60.0, paired=True)


def test_what_is_dyadic_is_never_masked_without_a_word(tmp_path):
    interaction = plant(tmp_path, {A: {"vad": [(0.5, 2.0)], **arrays()}, B: arrays()})
    (tmp_path / "selection.csv").write_text(
        f"file_id,modalities\n{interaction.id}_P0202,\n{interaction.id}_P0203,smplh\n"
    )
    features = extract_features(SeamlessDataset(tmp_path)[0], ["dyadic"])
    assert [(issue["column"], issue["code"]) for issue in features.issues[B]] == [("vad", "not_selected")]
    assert not features.masks[A]["dyadic:state"].any()


def test_a_conversation_that_is_empty_has_features_without_frames(tmp_path):
    interaction = plant(tmp_path, {A: {"vad": []}, B: {"vad": []}})
    features = extract_features(interaction, MOTION, FPS)
    assert_consistent(features)
    assert len(features.times) == 0 and features[A]["head:speed"].shape == (0, 1)
    with pytest.raises(UsageError, match="nothing tells how long any of 2 lasts"):
        SeamlessDataset(tmp_path).windows(1.0)
    make_features(SeamlessDataset(tmp_path), tmp_path / "out", MOTION)
    assert_consistent(read_features(next((tmp_path / "out").rglob("*.parquet"))))
    asked = extract_features(interaction, MOTION, FPS, duration=3.0)
    assert_consistent(asked)
    assert len(asked.times) == 90 and not any(mask.any() for mask in asked.masks[A].values())


def test_of_one_participant_nothing_is_dyadic(tmp_path):
    features = extract_features(plant(tmp_path, {A: {**arrays(), "vad": VAD_A}}), ["dyadic"], FPS)
    assert_consistent(features)
    assert not any(mask.any() for mask in features.masks[A].values())
    assert not any(table.num_rows for table in features.events.values())


def test_no_voice_activity_beside_a_transcript_is_not_silence(tmp_path):
    spoken = {**arrays(), "vad": [], "words": [("velo", 1.0, 2.0)]}
    features = extract_features(plant(tmp_path, {A: spoken, B: {**arrays(), "vad": VAD_B}}), ["dyadic"], FPS)
    assert not features.masks[A]["dyadic:state"].any()
    assert [issue["code"] for issue in features.issues[A]] == ["vad_contradicts"]


def test_silent_partners_are_known_to_be_silent(tmp_path):
    silent = {**arrays(), "vad": []}
    features = extract_features(plant(tmp_path, {A: silent, B: silent}), ["dyadic"], FPS)
    assert features.masks[A]["dyadic:state"].all()
    np.testing.assert_array_equal(features[A]["dyadic:state"], np.tile([0, 0, 0, 1], (600, 1)))


def test_sound_of_another_rate_is_masked_with_an_issue(tmp_path):
    pytest.importorskip("librosa")
    interaction = plant(tmp_path, {A: {**arrays(), "audio": silence()}})
    path = tmp_path / tree_path("improvised", "train", "audio", interaction.recordings[0].id)
    content = bytearray(path.read_bytes())
    content[24:28] = (44100).to_bytes(4, "little")
    path.write_bytes(content)
    features = extract_features(SeamlessDataset(tmp_path)[0], ["prosody"], FPS)
    assert_consistent(features)
    assert not features.masks[A]["prosody:rms"].any()
    assert "44100" in features.issues[A][0]["detail"]


def test_every_kind_of_recording_gives_finite_features(broken):
    folder, _ = broken["tree"]
    for interaction in SeamlessDataset(folder):
        assert_consistent(extract_features(interaction, MOTION, FPS))


@pytest.mark.parametrize("group, package", [("prosody", "librosa"), ("silero", "silero_vad")])
def test_every_kind_of_sound_gives_finite_features(broken, group, package):
    pytest.importorskip(package)
    folder, _ = broken["tree"]
    for interaction in SeamlessDataset(folder).filter(lambda interaction: interaction.session_id[5:] >= "4900"):
        assert_consistent(extract_features(interaction, [group], FPS, duration=1.0 if group == "silero" else None))


def test_a_grid_and_blocks_of_any_size_give_the_same(corpora):
    folder, _ = corpora["tree"]
    for interaction in SeamlessDataset(folder).filter(vendor=["V00", "V03"])[:4]:
        whole = extract_features(interaction, MOTION, 24)
        pieces = extract_features(interaction, MOTION, 24, block=0.3)
        for participant in whole:
            for key, values in whole[participant].items():
                np.testing.assert_allclose(values, pieces[participant][key], atol=1e-4, err_msg=key)
                np.testing.assert_array_equal(whole.masks[participant][key], pieces.masks[participant][key], key)


def test_every_layout_gives_the_same(corpora):
    """Arrays of an NPZ are read whole; that must not show."""
    made = []
    for folder, _ in corpora.values():
        made.append(extract_features(SeamlessDataset(folder).filter(vendor="V00")[0], MOTION, FPS))
    for other in made[1:]:
        for participant, values in made[0].items():
            for key, array in values.items():
                np.testing.assert_allclose(array, other[participant][key], rtol=1e-5, atol=1e-5, err_msg=key)
                np.testing.assert_array_equal(made[0].masks[participant][key], other.masks[participant][key], key)


def test_a_span_is_that_part_of_the_whole(planted_turns, tmp_path):
    interaction = SeamlessDataset(tmp_path)[0]
    span = extract_features(interaction, ["dyadic"], FPS, start=9.0, duration=4.0)
    np.testing.assert_array_equal(span.times, np.arange(120) / FPS + 9)
    np.testing.assert_array_equal(span[A]["dyadic:state"], planted_turns[A]["dyadic:state"][270:390])
    assert events(span, "overlaps") == [(B, 10.0, 10.6, False)]
    longer = extract_features(interaction, ["dyadic"], FPS, start=19.0, duration=4.0)
    assert longer.masks[A]["dyadic:state"].sum() == 30


# --- arguments ------------------------------------------------------------------------------------


def test_unknown_groups_and_impossible_spans_are_named(tmp_path):
    interaction = plant(tmp_path, {A: arrays(2.0)}, 2.0)
    with pytest.raises(UnknownGroup, match=r"'hed'. Did you mean 'head'\? Known: prosody, head") as error:
        extract_features(interaction, ["hed"])
    assert isinstance(error.value, UnknownName)
    with pytest.raises(UsageError, match="no group"):
        extract_features(interaction, [])
    for arguments in ({"fps": 0}, {"start": -1.0}, {"start": 2.0}, {"duration": 0.0}):
        with pytest.raises(InvalidWindow):
            extract_features(interaction, ["head"], **arguments)


def test_the_table_tells_of_every_group_and_is_in_the_readme():
    assert {feature.group for feature in FEATURES.values()} == set(GROUPS)
    assert all(feature.definition and feature.unit and feature.source for feature in FEATURES.values())
    readme = (Path(seamless_interaction.__file__).parent / "README.md").read_text()
    for line in as_markdown().splitlines():
        assert line in readme, line


def test_what_is_not_installed_is_named_and_the_rest_works(planted_turns, tmp_path, monkeypatch):
    interaction = SeamlessDataset(tmp_path)[0]
    for package in ("librosa", "soxr", "silero_vad"):
        monkeypatch.setitem(sys.modules, package, None)  # as Python does where a package is not there
    for group, package in (("prosody", "librosa"), ("silero", "silero-vad")):
        with pytest.raises(
            MissingDependency, match=rf"needs {package}: pip install 'seamless-interaction\[features\]'"
        ):
            extract_features(interaction, [group])
    assert_consistent(extract_features(interaction, MOTION))


# --- files ----------------------------------------------------------------------------------------


def test_a_file_gives_the_same_features_again(planted_turns, tmp_path):
    dataset = SeamlessDataset(tmp_path)
    report = make_features(dataset, tmp_path / "out", MOTION, FPS)
    assert (report.made, report.kept, report.seconds) == (1, 0, SECONDS)
    expected = extract_features(dataset[0], MOTION, FPS)
    found = read_features(tmp_path / "out" / "improvised" / "train" / "V00_S0101_I00000081.parquet")
    assert_consistent(found)
    assert found.ids == expected.ids and found.issues == expected.issues
    for participant in expected:
        for key, values in expected[participant].items():
            np.testing.assert_array_equal(found[participant][key], values)
            np.testing.assert_array_equal(found.masks[participant][key], expected.masks[participant][key])
    assert all(found.events[key].equals(table) for key, table in expected.events.items())


def written(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_several_processes_write_the_same_files_and_name_the_same_issues(broken, tmp_path):
    dataset, meter = SeamlessDataset(broken["tree"][0]), Meter()
    alone = make_features(dataset, tmp_path / "1", ["gesture", "dyadic"])
    several = make_features(dataset, tmp_path / "2", ["gesture", "dyadic"], workers=2, progress=meter)
    assert (several.made, several.bytes) == (alone.made, alone.bytes) == (len(dataset), meter.num_bytes)
    assert meter.files_done == meter.files == len(dataset)
    assert several.issues == alone.issues and any("truncated" in issue for issue in alone.issues)
    assert written(tmp_path / "1") == written(tmp_path / "2")


class Deadly(SeamlessDataset):
    """Its second conversation kills whoever reads it."""

    def __getitem__(self, which):
        if which == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(which)


def test_a_process_that_dies_is_reported_with_its_conversation(tree, tmp_path):
    dataset = Deadly(tree)
    with pytest.raises(SeamlessInteractionError, match=f"{dataset.interactions['interaction_id'][1]}: .* SIGKILL"):
        make_features(dataset, tmp_path, ["dyadic"], workers=2)
    assert not list(tmp_path.rglob(".*"))


class Interrupting(Meter):
    """Ctrl-C, after the first conversation."""

    def done(self, expected):
        raise KeyboardInterrupt


def test_an_interrupt_ends_all_processes_and_leaves_whole_files(tree, tmp_path):
    """Takes 4 s, or more beside others: two processes that import all of this."""
    dataset = SeamlessDataset(tree)
    with pytest.raises(KeyboardInterrupt) as held:  # as a notebook holds the last error, with all its frames
        make_features(dataset, tmp_path / "out", ["dyadic"], workers=2, progress=Interrupting())
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())], held
    assert len(written(tmp_path / "out")) == 1
    assert make_features(dataset, tmp_path / "out", ["dyadic"]).kept == 1
    make_features(dataset, tmp_path / "whole", ["dyadic"])
    assert written(tmp_path / "out") == written(tmp_path / "whole")


def test_what_is_not_installed_is_named_by_another_process_too():
    error = MissingDependency("This group of features", "librosa", "features")
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error) and "needs librosa: pip" in str(error)


def features_command(*arguments):
    return CliRunner().invoke(app, ["features", *map(str, arguments)])


def test_the_command_goes_on_where_it_was(tree, tmp_path):
    out = tmp_path / "out"
    options = (tree, "--output", out, "--groups", "head,dyadic", "--json")
    first = json.loads(features_command(*options, "--split", "dev").stdout)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert first["made"] == first["interactions"] == len(files) and not first["kept"]
    rest = json.loads(features_command(*options).stdout)
    assert (rest["kept"], rest["made"]) == (first["made"], 12 - first["made"])
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())
    gone = next(iter(files))
    content = gone.read_bytes()
    gone.unlink()
    again = json.loads(features_command(*options).stdout)
    assert (again["kept"], again["made"]) == (11, 1) and gone.read_bytes() == content
    assert not list(out.rglob(".*")), "nothing is left of what was being written"


def test_files_of_other_features_are_not_taken_for_these(tree, tmp_path):
    options = (tree, "-o", tmp_path, "--split", "test")
    assert features_command(*options, "--groups", "head").exit_code == 0
    other = features_command(*options, "--groups", "head", "--fps", "25")
    assert other.exit_code == 2 and "Choose another folder" in other.stderr
    path = next(tmp_path.rglob("*.parquet"))
    path.write_bytes(b"no Parquet")
    with pytest.raises(ForeignFeatures, match="no file of features"):
        read_features(path)


def test_a_conversation_that_lacked_a_partner_is_made_again(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    interaction = plant(data, {A: {**arrays(), "vad": VAD_A}, B: {**arrays(), "vad": VAD_B}})
    alone = SeamlessDataset(data, file_ids=interaction.recordings[0].id, single=True)
    assert make_features(alone, tmp_path / "out", ["dyadic"]).made == 1
    report = make_features(SeamlessDataset(data), tmp_path / "out", ["dyadic"])
    assert (report.made, report.kept) == (1, 0)
    table = pq.read_table(tmp_path / "out" / "improvised" / "train" / "V00_S0101_I00000081.parquet")
    assert table["participant_id"].to_pylist() == [A, B] and len(table["dyadic:turns"][0]) == 3


def test_the_command_names_what_it_cannot_use(tree, tmp_path):
    for arguments, text in (
        (["--groups", "hed"], "Did you mean 'head'"),
        (["--groups", "head", "--fps", "0"], "above 0"),
        (["--groups", "head", "--modalities", "audio"], "--groups says"),
        (["--groups", "head", "--workers", "0"], "--workers"),
    ):
        run = features_command(tree, "-o", tmp_path / "out", *arguments)
        assert run.exit_code == 2 and text in run.stderr, run.stderr
