"""A clap is at one time: flash, click, jump of the arrays and speech are within a frame of each other, at all rates.

Run with ``-s`` for a table of how far each is from the clap.
"""

from itertools import product

import numpy as np
import pytest
from clapper import DARK, FLASH, INTERACTIONS, STEP, write_clapper

from seamless_interaction import SAMPLING_RATE, SeamlessDataset
from seamless_interaction.formats.video import Video

SECONDS = 10.0
TIMES = (1.52, 4.53, 8.64)  # the second and the third with a key frame shortly before, at some rates
BEFORE, DURATION = 1.1, 2.4  # seconds: of a window before the clap, and of the whole window
MODALITIES = ["audio", "video", "vad", "transcript", "smplh:translation", "boxes_and_keypoints:keypoints"]
GRIDS = (30, 25, 12.5, 60, None)
# Each recording on half of the grids, each grid with half of the recordings.
EVERY_SECOND = [pair for place, pair in enumerate(product(range(len(INTERACTIONS)), GRIDS)) if place % 2 == 0]
SURE = ("lighter", "counted", "click", "word", "speech")  # what no grid can miss, see ``clap_in``


@pytest.fixture(scope="module")
def clapped(tmp_path_factory):
    """The folder, and what is in it by file id."""
    folder = tmp_path_factory.mktemp("clapper")
    return folder, {recording.file_id: recording for recording in write_clapper(folder, TIMES, SECONDS)}


@pytest.fixture(scope="module")
def interactions(clapped):
    """In the order of ``INTERACTIONS``."""
    dataset = SeamlessDataset(clapped[0], split="train")
    return [dataset[file_id.rsplit("_", 1)[0]] for file_id in list(clapped[1])[::2]]


def test_the_clapper_is_where_it_says(clapped):
    folder, recordings = clapped
    for file_id, recording in recordings.items():
        video = Video(folder / "improvised" / "train" / "video" / f"{file_id}.mp4")
        light = np.array([frame.mean() for frame in video])
        flashes = np.flatnonzero(light > FLASH)
        assert len(flashes) == len(TIMES)
        assert np.abs(video.times[flashes] - TIMES).max() <= 0.5 / recording.fps + 1e-9
        values = np.load(folder / "improvised" / "train" / "smplh" / "translation" / f"{file_id}.npy")
        assert len(values) == round(SECONDS * recording.array_rate)
        assert (
            np.abs(np.flatnonzero(values[:, 0]) / float(recording.array_rate) - TIMES).max()
            <= 0.5 / recording.array_rate + 1e-9
        )
    assert len({(recording.fps, recording.array_rate) for recording in recordings.values()}) == 7


# --- reading a window -----------------------------------------------------------------------------


def clap_in(sample, recording, number, fps):
    """When each part of a window has clap ``number``, in seconds after the clap itself.

    Args:
        sample: a window of ``recording`` that holds this clap and no other.
        fps: the grid it was cut on, or None.

    Returns:
        Part -> seconds. The picture and ``translation`` have two: a flash or impulse, which is there only if the grid
        has that very frame, and a step, after which all is lighter or higher, which no grid can miss.
    """
    start, seen = sample["start"], {}

    def add(name, here, own_rate):
        """``here``: (T,) bool, where it is; the first such row counts."""
        if here.any():
            first, rate = np.flatnonzero(here)[0], float(own_rate)
            seen[name] = start + first / fps if fps else (round(start * rate) + first) / rate

    light = sample["video"].mean(axis=(1, 2, 3))
    levels = [(luma - 16) * 255 / 219 for luma in (FLASH, DARK + STEP * (number + 0.5))]
    add("flash", light > levels[0] - 10, recording.fps)
    add("lighter", light > levels[1], recording.fps)
    impulse, claps = sample["smplh:translation"][:, 0], sample["smplh:translation"][:, 1]
    add("translation", (impulse > 0.4) & (impulse == impulse.max()), recording.array_rate)
    add("counted", claps > number + 0.5, recording.array_rate)
    point = sample["boxes_and_keypoints:keypoints"][:, 0, 0]
    add("keypoints", (point > 20) & (point == point.max()), recording.array_rate)
    if "movement:expression" in sample and sample["mask"]["movement:expression"].any():
        value = sample["movement:expression"][:, 0]
        add("expression", (value > 0.4) & (value == value.max()), recording.array_rate)
    loudest = int(np.abs(sample["audio"]).argmax())
    assert abs(sample["audio"][loudest]) > 0.9
    seen["click"] = start + loudest / SAMPLING_RATE
    seen["word"] = start + sample["words"][0]["start"]
    if fps:
        add("speech", sample["vad"], fps)
    else:
        seen["speech"] = start + sample["vad"][0]["start"]
    return {part: time - recording.times[number] for part, time in seen.items()}


def slowest(recordings, fps):
    """One period of the slowest grid that takes part, in seconds."""
    rates = [rate for recording in recordings for rate in (recording.fps, recording.array_rate)]
    return 1 / float(min(rates + ([fps] if fps else [])))


def report(recording, fps, all_seen):
    worst = {}
    for seen in all_seen:
        for part, time in seen.items():
            worst[part] = max(worst.get(part, 0.0), abs(time))
    parts = "  ".join(f"{part} {1000 * time:.1f}" for part, time in worst.items())
    rates = f"{float(recording.fps):.3f} fps, {float(recording.array_rate):.3f} rows a second"
    print(f"\n{recording.file_id}, {rates}, on a grid of {fps}, ms at most: {parts}", end="")


# --- tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [30, 25, None])
@pytest.mark.parametrize("number", range(len(INTERACTIONS)))
def test_all_that_shows_a_clap_shows_it_within_a_frame_where_the_grid_meets_it(clapped, interactions, number, fps):
    interaction = interactions[number]
    recordings = [clapped[1][recording.id] for recording in interaction]
    everything = {recording: [] for recording in recordings}
    for clap, time in enumerate(TIMES):
        start = time - round(BEFORE * fps) / fps if fps else time - BEFORE
        window = interaction.window(start, DURATION, MODALITIES + ["movement:expression"], fps=fps)
        seen = [clap_in(window[r.participant_id], clapped[1][r.id], clap, fps) for r in interaction]
        for recording, parts in zip(recordings, seen, strict=True):
            everything[recording].append(parts)
            assert {"flash", "lighter", "translation", "counted", "keypoints", "click", "word", "speech"} <= set(parts)
            assert ("expression" in parts) == recording.file_id.startswith("V00")
        times = [time for parts in seen for time in parts.values()]
        assert max(times) - min(times) <= slowest(recordings, fps) + 1e-9, seen
    for recording, parts in everything.items():
        report(recording, fps, parts)


@pytest.mark.parametrize(("number", "fps"), EVERY_SECOND)
def test_all_that_shows_a_clap_shows_it_within_a_frame_wherever_a_window_starts(clapped, interactions, number, fps):
    interaction = interactions[number]
    recordings = [clapped[1][recording.id] for recording in interaction]
    everything = {recording: [] for recording in recordings}
    for clap, time in enumerate(TIMES):
        late = np.random.default_rng([clap, number, int(fps or 0)]).uniform(0, 0.5)
        window = interaction.window(time - BEFORE + late, DURATION - late, MODALITIES, fps=fps)
        seen = [clap_in(window[r.participant_id], clapped[1][r.id], clap, fps) for r in interaction]
        seen = [{part: parts[part] for part in SURE} for parts in seen]
        for recording, parts in zip(recordings, seen, strict=True):
            everything[recording].append(parts)
        times = [time for parts in seen for time in parts.values()]
        assert max(times) - min(times) <= slowest(recordings, fps) + 1e-9, seen
    for recording, parts in everything.items():
        report(recording, fps, parts)


@pytest.mark.parametrize("fps", [30, 25])
def test_rows_of_fifteen_frames_show_a_clap_within_such_a_row(clapped, interactions, fps):
    interaction = interactions[0]
    for time in TIMES:
        for late in (0, 0.123, 0.3):
            window = interaction.window(time - BEFORE + late, DURATION, "movement:hypernet_features", fps=fps)
            for sample in window.values():
                values = sample["movement:hypernet_features"][:, 0]
                assert len(values) == round(DURATION * fps / 15)
                seen = sample["start"] + values.argmax() * 15 / fps
                assert values.max() > 0 and abs(seen - time) <= 15 / min(fps, 30)


def test_windows_of_pairs_show_a_clap_within_a_frame_for_both(clapped):
    folder, recordings = clapped
    windows = SeamlessDataset(folder, split="train").windows(
        duration=DURATION, hop=1.0, modalities=MODALITIES, fps=30, paired=True, shuffle=True, seed=3
    )
    looked_at = 0
    for sample in windows:
        inside = [t for t in TIMES if sample["start"] + 0.1 < t < sample["start"] + DURATION - 0.3]
        touched = [t for t in TIMES if sample["start"] - 0.3 < t < sample["start"] + DURATION + 0.1]
        if len(inside) == len(touched) == 1:
            looked_at += 1
            both = []
            for role, file_id in enumerate(sample["id"]):
                one = {name: value[role] for name, value in sample.items() if name in (*MODALITIES, "words")}
                one.update(start=sample["start"], mask={})
                both.append(clap_in(one, recordings[file_id], TIMES.index(inside[0]), 30))
            sure = [parts[part] for parts in both for part in SURE]
            assert max(sure) - min(sure) <= slowest([recordings[i] for i in sample["id"]], 30) + 1e-9, both
    assert looked_at >= 3 * len(INTERACTIONS)
