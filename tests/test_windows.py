"""Windows as a data set: which there are, in what order, how an epoch goes on, and what is wrong with one."""

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
from conftest import LAYOUTS, pairs
from datasets.fingerprint import Hasher

from seamless_interaction import SeamlessDataset
from seamless_interaction.conversations import quantities, storage
from seamless_interaction.download import download
from seamless_interaction.errors import (
    EmptySelection,
    ForeignState,
    InvalidExpression,
    InvalidWindow,
    UnknownQuantity,
    UsageError,
    WindowError,
)
from seamless_interaction.selection.selection import Selection
from seamless_interaction.synthetic.media import write_wav
from seamless_interaction.synthetic.writing import synthesize


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Longer conversations than `corpora` has."""
    folder = tmp_path_factory.mktemp("windows") / "data"
    return folder, synthesize(folder, interactions=12, seconds=4.0, seed=2)


@pytest.fixture(scope="module")
def dataset(data):
    return SeamlessDataset(data[0])


def windows(dataset, **options):
    return dataset.windows(**{"duration": 1.0, "hop": 0.5, "modalities": ["vad"], **options})


def places(samples):
    """Which windows these are."""
    return [(str(sample["id"]), sample["start"]) for sample in samples]


# --- which windows there are ----------------------------------------------------------------------


def test_without_a_shuffle_they_stand_by_id_and_time(data, dataset):
    found = places(windows(dataset))
    expected = []
    for recording in sorted(data[1].recordings, key=lambda recording: recording.file_id):
        seconds = float(recording.num_frames / recording.fps)
        count = int((seconds - 1.0 + 1e-3) / 0.5) + 1
        expected += [(recording.file_id, 0.5 * number) for number in range(count)]
    assert found == expected


def test_pairs_are_of_interactions_that_are_whole(data, dataset):
    whole = {r.ids.interaction_id for r in data[1].recordings if r.partner}
    samples = list(windows(dataset, paired=True))
    assert {sample["interaction_id"] for sample in samples} == whole
    for sample in samples:
        assert sample["vad"].shape == (2, 30) and sample["mask"]["vad"].shape == (2, 30)
        assert sorted(sample["id"]) == sample["id"] and isinstance(sample["start"], float)


def test_the_end_is_dropped_or_padded(data):
    recording = min(data[1].recordings, key=lambda recording: recording.num_frames / recording.fps)
    seconds = float(recording.num_frames / recording.fps)
    one = SeamlessDataset(data[0], file_ids=recording.file_id, single=True)
    dropped = list(one.windows(2.0, 2.0, ["audio", "smplh"]))
    padded = list(one.windows(2.0, 2.0, ["audio", "smplh"], ends="pad"))
    assert [sample["start"] for sample in dropped] == [2.0 * n for n in range(int(seconds // 2))]
    assert [sample["start"] for sample in padded] == [2.0 * n for n in range(int(-(-seconds // 2)))]
    last = padded[-1]
    own = seconds - last["start"]
    assert 0 < own < 2 and last["length"]["audio"] == round(own * 48_000)
    assert last["mask"]["smplh:body_pose"].sum() == pytest.approx(own * 30, abs=1)
    assert all(sample["mask"]["smplh:body_pose"].all() for sample in dropped)


def test_a_pair_is_as_long_as_the_shorter_and_padded_to_the_longer(tmp_path):
    second = synthesize(tmp_path / "data", interactions=1, seconds=4).recordings[1]
    folder = tmp_path / "data" / second.label / second.split
    (folder / "video" / f"{second.file_id}.mp4").unlink()
    with open(folder / "audio" / f"{second.file_id}.wav", "wb") as file:
        write_wav(file, 2 * 48_000, [second.some_samples(0, 2 * 48_000)])
    dataset = SeamlessDataset(tmp_path / "data")
    starts = [sample["start"] for sample in windows(dataset, modalities=["audio"], paired=True)]
    assert starts == [0.0, 0.5, 1.0]
    padded = list(windows(dataset, modalities=["audio"], paired=True, ends="pad"))
    assert [sample["start"] for sample in padded] == [0.5 * number for number in range(7)]
    assert padded[-1]["length"]["audio"].tolist() == [48_000, 0]


def test_what_is_shorter_than_a_window_has_none_or_one(dataset):
    with pytest.raises(EmptySelection, match=r"none of 23 has 60 s.*ends='pad'"):
        windows(dataset, duration=60.0)
    assert len(windows(dataset, duration=60.0, ends="pad")) == 23


def test_every_layout_has_the_same_windows(corpora):
    samples = [
        list(windows(SeamlessDataset(corpora[layout][0]), modalities=["smplh", "audio"], paired=True, shuffle=True))
        for layout in LAYOUTS
    ]
    for same in zip(*samples, strict=True):
        assert len({(str(sample["id"]), sample["start"]) for sample in same}) == 1
        for other in same[1:]:
            np.testing.assert_allclose(other["smplh:body_pose"], same[0]["smplh:body_pose"], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(other["audio"], same[0]["audio"])


def test_a_small_cache_changes_nothing_but_the_time(corpora):
    folder, _ = corpora["bundles"]
    options = {"modalities": ["smplh", "movement"], "paired": True, "hop": 1.0}
    plenty = list(windows(SeamlessDataset(folder), **options))
    for cache_bytes in (0, 20_000, 200_000):
        dataset = SeamlessDataset(folder, cache_bytes=cache_bytes)
        for sample, other in zip(windows(dataset, **options), plenty, strict=True):
            for key in plenty[0]["mask"]:
                np.testing.assert_allclose(sample[key], other[key], rtol=1e-5, atol=1e-6)
                np.testing.assert_array_equal(sample["mask"][key], other["mask"][key])
        assert dataset._storage.open.kept._cost <= cache_bytes


# --- order, ranks, resuming -----------------------------------------------------------------------


def test_an_epoch_is_a_permutation_and_the_next_another(dataset):
    plain, shuffled = windows(dataset), windows(dataset, shuffle=True, seed=3)
    first = places(shuffled)
    assert sorted(first) == sorted(places(plain)) and first != places(plain)
    assert places(windows(dataset, shuffle=True, seed=3)) == first
    assert places(windows(dataset, shuffle=True, seed=4)) != first
    assert places(shuffled) == first
    shuffled.set_epoch(1)
    second = places(shuffled)
    assert sorted(second) == sorted(first) and second != first
    assert places([shuffled[i] for i in range(5)]) == second[:5] and places([shuffled[-1]]) == second[-1:]
    assert {sample["epoch"] for sample in shuffled} == {1}
    # not of a buffer: recordings that stand far apart come together at once
    assert len({id for id, _ in second[:20]}) > 8


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_ranks_share_an_epoch_without_rest_and_without_repeats(dataset, world):
    whole = windows(dataset, shuffle=True)
    parts = [whole.split_by_rank(rank, world) for rank in range(world)]
    assert sum(map(len, parts)) == len(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    together = [places(part) for part in parts]
    assert sorted(chain(*together)) == sorted(places(whole))
    assert together[0][:2] == [places(whole)[0], places(whole)[world]]


def test_an_epoch_goes_on_exactly_after_any_number_of_stops(dataset):
    whole = places(windows(dataset, shuffle=True))
    found, state = [], None
    for stop in (3, 1, 10, 4, len(whole)):
        again = windows(dataset, shuffle=True)  # as in a new process
        if state:
            again.load_state_dict(pickle.loads(pickle.dumps(state)))
            assert len(again) == len(whole) - len(found)
        for taken, sample in enumerate(again, 1):
            found += places([sample])
            state = again.state_dict()
            if taken == stop:
                break
    assert found == whole
    again.load_state_dict(state)
    assert len(again) == 0 and not list(again)
    again.set_epoch(1)
    assert len(again) == len(whole)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_an_epoch_goes_on_with_another_number_of_ranks(dataset, before, after):
    whole = windows(dataset, shuffle=True)
    found, states = [], []
    for rank in range(before):
        part = whole.split_by_rank(rank, before)
        for taken, sample in enumerate(part, 1):
            found += places([sample])
            if taken == 5:
                break
        states.append(part.state_dict())
    assert all(state == states[0] for state in states)
    for rank in range(after):
        part = windows(dataset, shuffle=True)
        part.load_state_dict(states[0])
        found += places(part.split_by_rank(rank, after))
    assert sorted(found) == sorted(places(whole)) and len(found) == len(whole)


def test_the_state_of_other_windows_is_refused(data, dataset):
    state = windows(dataset, shuffle=True).state_dict()
    for options in ({"seed": 1}, {"duration": 2.0}, {"paired": True}, {"where": "speech > 0"}, {"shuffle": False}):
        with pytest.raises(ForeignState, match="other windows"):
            windows(dataset, **{"shuffle": True, **options}).load_state_dict(state)
    with pytest.raises(ForeignState, match="other windows"):
        windows(SeamlessDataset(data[0], "dev"), shuffle=True).load_state_dict(state)
    for nothing in ({}, None, {"epoch": 0}):
        with pytest.raises(ForeignState, match="not a state"):
            windows(dataset).load_state_dict(nothing)
    windows(dataset, shuffle=True, fps=25).load_state_dict(state)  # the same windows, read otherwise


def test_numbers_of_epochs_and_ranks_are_checked(dataset):
    some = windows(dataset)
    for epoch in (-1, 1.0, "1", True):
        with pytest.raises(UsageError, match="epoch"):
            some.set_epoch(epoch)
    for rank, world in ((2, 2), (-1, 2), (0, 0), (0.0, 1)):
        with pytest.raises(UsageError, match="rank"):
            some.split_by_rank(rank, world)
    with pytest.raises(IndexError, match="of"):
        some[len(some)]


# --- where ----------------------------------------------------------------------------------------


def covered(intervals, start, end):
    """Seconds of a span in intervals that may overlap, by brute force."""
    times = np.arange(start, end, 1e-4)
    inside = [(v["start"] <= times) & (times < v["end"]) for v in intervals]
    return np.any(inside, 0).sum() * 1e-4 if inside else 0.0


def test_conditions_are_of_what_is_in_the_window(data, dataset):
    _, corpus = data
    every = windows(dataset, duration=1.0, hop=1.0)
    table = {name: [] for name in ("speech", "words", "smplh_valid", "box_valid", "silence", "overlap")}
    for sample in every:
        recording = corpus[sample["id"]]
        start, end = sample["start"], sample["start"] + 1.0
        table["speech"].append(covered(recording.vad(), start, end))
        words = [w["start"] for s in recording.transcript() for w in s["words"] if w["start"] is not None]
        table["words"].append(sum(start <= word < end for word in words))
        for name, key in (("smplh_valid", "smplh:is_valid"), ("box_valid", "boxes_and_keypoints:is_valid_box")):
            times = np.arange(recording.num_frames) / float(recording.fps)
            step = 1 / float(recording.fps)
            shares = np.clip(np.minimum(times + step, end) - np.maximum(times, start), 0, None)
            table[name].append(float((shares * recording.array(key)).sum()))
        partner = corpus[recording.partner].vad() if recording.partner else None
        both = None if partner is None else covered([*recording.vad(), *partner], start, end)
        table["silence"].append(np.nan if both is None else 1 - both)
        overlap = np.nan if both is None else table["speech"][-1] + covered(partner, start, end) - both
        table["overlap"].append(overlap)
    ids = places(every)
    for name, values in table.items():
        values = np.array(values)
        for limit in sorted({*np.quantile(values[~np.isnan(values)], [0.3, 0.7]).round(4)}):
            near = np.abs(values - limit) < 3e-3  # where brute force is not exact enough to tell
            if not (values > limit + 3e-3).any():
                continue
            found = set(places(windows(dataset, duration=1.0, hop=1.0, where=f"{name} > {limit}")))
            for place, value, unsure in zip(ids, values, near, strict=True):
                assert unsure or (place in found) == (value > limit), (name, limit, place, value)


def test_of_pairs_a_condition_is_true_of_both(dataset):
    single = windows(dataset, where="speech > 0.1 and words >= 1")
    counts = {}
    for sample in single:
        counts.setdefault((sample["interaction_id"], sample["start"]), set()).add(sample["id"])
    both = {place for place, ids in counts.items() if len(ids) == 2}
    pairs = windows(dataset, where="speech > 0.1 and words >= 1", paired=True)
    assert {(sample["interaction_id"], sample["start"]) for sample in pairs} == both and both


def test_what_is_unknown_never_matches(data, dataset):
    alone = {r.file_id for r in data[1].recordings if r.partner is None}
    for where in ("overlap >= 0", "overlap != 5", "not overlap > 5"):
        assert not alone & {sample["id"] for sample in windows(dataset, where=where)}
    v00 = {r.file_id for r in data[1].recordings if r.vendor == "V00"}
    assert {sample["id"] for sample in windows(dataset, where="movement_valid >= 0")} == v00


def test_quantities_are_computed_once(data, monkeypatch):
    where = "speech > 0.05 and smplh_valid > 0.5"
    first = places(windows(SeamlessDataset(data[0]), duration=1.25, where=where))
    monkeypatch.setattr(quantities, "_quantities", lambda *args: pytest.fail("computed again"))
    assert places(windows(SeamlessDataset(data[0]), duration=1.25, where=where)) == first
    other = windows(SeamlessDataset(data[0]), duration=1.25, where="speech > 0.3 and smplh_valid > 0.5")
    assert len(other) < len(first)


def test_quantities_follow_the_data(tmp_path):
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=4)
    before = len(windows(SeamlessDataset(tmp_path / "data"), where="speech > 0"))
    for recording in corpus.recordings:
        vad = tmp_path / "data" / recording.label / recording.split / "metadata" / "vad" / f"{recording.file_id}.jsonl"
        vad.write_text('{"start": 0.0, "end": 0.5}\n')
    after = windows(SeamlessDataset(tmp_path / "data"), where="speech > 0")
    assert len(after) < before and {sample["start"] for sample in after} == {0.0}


def test_conditions_that_cannot_be_are_named(dataset):
    with pytest.raises(UnknownQuantity, match="Did you mean 'speech'"):
        windows(dataset, where="speach > 0.2")
    with pytest.raises(InvalidExpression):
        windows(dataset, where="__import__('os').system('true')")
    with pytest.raises(EmptySelection, match="speech > 2"):
        windows(dataset, where="speech > 2")


# --- what a window holds --------------------------------------------------------------------------


def test_stereo_is_the_partner_in_the_second_channel(data, dataset):
    _, corpus = data
    samples = list(windows(dataset, hop=2.0, modalities=["audio", "smplh"], stereo=True))
    for sample in samples:
        recording = corpus[sample["id"]]
        assert sample["audio"].shape == (2, 48_000)
        first = round(sample["start"] * 48_000)
        for channel, of in enumerate((recording, recording.partner and corpus[recording.partner])):
            own = of.samples()[first : first + 48_000] / np.float32(32768) if of else np.zeros(0)
            np.testing.assert_array_equal(sample["audio"][channel][: len(own)], own)
            assert sample["length"]["audio"][channel] == len(own)


def test_batches_have_masks_lengths_and_ragged_text(dataset):
    some = windows(dataset, modalities=["audio", "smplh", "transcript", "video"], frame_size=(8, 6), hop=3.0)
    batch = some.collate([some[0], some[1], some[2]])
    assert batch["audio"].shape == (3, 48_000) and batch["length"]["audio"].tolist() == [48_000] * 3
    assert batch["smplh:body_pose"].shape == (3, 30, 21, 3) and batch["mask"]["smplh:body_pose"].shape == (3, 30)
    assert batch["video"].shape == (3, 30, 8, 6, 3) and str(batch["video"].dtype).endswith("uint8")
    assert [type(words) for words in batch["words"]] == [list] * 3 and len(batch["transcript"]) == 3
    assert batch["position"].tolist() == [0, 1, 2] and batch["start"].shape == (3,)
    assert some.collate([]) == {}


@pytest.mark.parametrize("paired", [False, True])
def test_of_own_rates_batches_are_padded_and_masked(dataset, paired):
    some = windows(dataset, modalities=["smplh:body_pose"], fps=None, paired=paired, hop=4.0)
    batch = some.collate(list(some))
    lengths = np.asarray(batch["mask"]["smplh:body_pose"]).sum(-1)
    assert batch["smplh:body_pose"].shape[-3] == lengths.max() > lengths.min()
    assert lengths.shape == ((len(some), 2) if paired else (len(some),))
    poses = np.asarray(batch["smplh:body_pose"])
    assert not poses[~np.asarray(batch["mask"]["smplh:body_pose"])].any()


def test_pictures_of_several_rasters_stay_a_list(dataset):
    some = windows(dataset, modalities=["video"], hop=4.0)
    frames = some.collate(list(some))["video"]
    assert isinstance(frames, list) and len({frame.shape[1:3] for frame in frames}) > 1


def test_equal_windows_hash_equally(data, dataset):
    """So `datasets` finds what it has made of them, and nothing else."""

    def digest(dataset, epoch=0, **options):
        some = windows(dataset, shuffle=True, **options)
        some.set_epoch(epoch)
        return Hasher.hash((lambda: some, some))

    same = digest(dataset)
    assert digest(dataset) == digest(SeamlessDataset(data[0])) == same
    others = [digest(dataset, 1), digest(dataset, fps=25), digest(dataset, modalities=["audio"]), digest(dataset[:2])]
    assert len({same, *others}) == 5


def test_it_is_a_stream_of_the_library(dataset):
    some = windows(dataset, modalities=["smplh"], paired=True, shuffle=True)
    stream = some.to_hf(num_shards=4)
    found = list(stream)
    assert places(found) == places(some) and stream.n_shards == 4
    np.testing.assert_array_equal(found[3]["smplh:body_pose"], some[3]["smplh:body_pose"])
    assert len(list(stream.take(3))) == 3


# --- arguments, bad files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"duration": float("nan")}, InvalidWindow),
        ({"duration": -1.0}, InvalidWindow),
        ({"hop": 0}, InvalidWindow),
        ({"hop": float("inf")}, InvalidWindow),
        ({"fps": -30}, InvalidWindow),
        ({"frame_size": "big"}, InvalidWindow),
        ({"ends": "cut"}, UsageError),
        ({"on_error": "ignore"}, UsageError),
        ({"seed": 0.5}, UsageError),
        ({"modalities": ["sound"]}, UsageError),
    ],
)
def test_arguments_that_cannot_be_are_named(dataset, options, error):
    with pytest.raises(error):
        windows(dataset, **options)


def test_files_that_cannot_be_used_are_masked_skipped_or_raised(broken):
    folder, corpus = broken["tree"]
    kinds = {("smplh:left_hand_pose", code) for code in ("truncated", "empty")}
    bad = {r.file_id for r in corpus.recordings if r.file_id.startswith("V00") and kinds & set(r.expected_issues)}
    dataset = SeamlessDataset(folder, vendor="V00")
    options = {"duration": 1.0, "modalities": ["smplh:left_hand_pose"]}
    masked = dataset.windows(**options)
    samples = list(masked)
    unusable = [sample for sample in samples if sample["issues"]]
    assert bad == {sample["id"] for sample in unusable} and masked.bad == len(unusable)
    for sample in unusable:
        assert not sample["mask"]["smplh:left_hand_pose"].any()
        assert sample["issues"][0]["column"] == "smplh:left_hand_pose"
        assert sample["issues"][0]["code"] in ("truncated", "empty")
    skipping = dataset.windows(**options, on_error="skip")
    assert places(skipping) == places(s for s in samples if not s["issues"]) and skipping.bad == masked.bad
    raising = dataset.windows(**options, on_error="raise")
    place = samples.index(unusable[0])
    for strict in (raising, skipping):
        with pytest.raises(WindowError, match=rf"{unusable[0]['id']}, .* to .* s: smplh:left_hand_pose"):
            strict[place]


def test_what_a_copy_was_made_without_is_refused_or_named(corpora, tmp_path):
    """And not silently zero."""
    source, corpus = corpora["tree"]
    one = next(r for r in corpus.recordings if r.vendor == "V00" and r.partner)
    for file_id, parts in ((one.file_id, ("audio", "smplh:body_pose")), (one.partner, ("audio",))):
        download(Selection(file_ids=file_id, single=True, modalities=parts), source, tmp_path / "copy")
    dataset = SeamlessDataset(tmp_path / "copy")
    with pytest.raises(UsageError, match=r"made without vad\. .* ask for audio, smplh, context"):
        windows(dataset, modalities=["audio", "vad"])
    everything = windows(dataset, modalities=None)[0]
    assert {"audio", "smplh:body_pose"} <= everything.keys() and not {"vad", "smplh:translation"} & everything.keys()
    some = {"modalities": ["audio", "smplh:body_pose"], "hop": 0.005}
    for sample in (samples := list(windows(dataset, **some))):
        named = [("smplh:body_pose", "not_selected")] * (sample["id"] == one.partner)
        assert pairs(sample) == named and sample["mask"]["smplh:body_pose"].all() == (not named)
    assert sum(sample["id"] == one.partner for sample in samples) > 100  # in a row, and no accident
    assert {sample["id"] for sample in windows(dataset, **some, on_error="skip")} == {one.file_id}
    with pytest.raises(WindowError, match=f"{one.partner}.*not_selected"):
        list(windows(dataset, **some, on_error="raise"))


def test_a_hundred_bad_windows_in_a_row_stop_the_run(tmp_path):
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=8)
    for recording in corpus.recordings:
        (tmp_path / "data" / recording.label / recording.split / "audio" / f"{recording.file_id}.wav").write_bytes(b"?")
    some = SeamlessDataset(tmp_path / "data").windows(1.0, 0.05, ["audio"])
    assert len(some) > 200
    with pytest.raises(WindowError, match="100th window in a row"):
        list(some)
    assert some.bad == 100


def test_more_bad_windows_among_good_ones_stop_nothing(tmp_path):
    broken = synthesize(tmp_path / "data", interactions=1, seconds=8).recordings[0]
    (tmp_path / "data" / broken.label / broken.split / "audio" / f"{broken.file_id}.wav").write_bytes(b"?")
    some = SeamlessDataset(tmp_path / "data").windows(1.0, 0.05, ["audio"], shuffle=True)
    assert len(list(some)) == len(some) and some.bad > 100


def test_errors_that_are_nobodys_name_the_recording(tmp_path):
    corpus = synthesize(tmp_path / "data", "archives", interactions=1, seconds=2)
    some = SeamlessDataset(tmp_path / "data").windows(1.0, 0.5, ["smplh"])
    for tar in (tmp_path / "data").rglob("*.tar"):
        tar.write_bytes(tar.read_bytes() + bytes(512))
    ids = "|".join(recording.file_id for recording in corpus.recordings)
    with pytest.raises(WindowError, match=rf"({ids}), 0 to 1 s: StaleIndex"):
        list(some)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files where Linux lists them")
def test_windows_of_many_recordings_keep_few_files_open(data):
    parts = ["smplh", "boxes_and_keypoints", "movement", "audio", "video", "transcript"]
    some = windows(SeamlessDataset(data[0]), modalities=parts, frame_size=(8, 6), shuffle=True, hop=2.0)
    before = len(os.listdir("/proc/self/fd"))
    assert max(len(os.listdir("/proc/self/fd")) for _ in some) - before < 210


# --- threads --------------------------------------------------------------------------------------


@pytest.fixture
def restless():
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_read_the_same_windows(data, dataset, monkeypatch, restless):
    monkeypatch.setattr(storage, "_FILES", 3)  # open at a time: one thread's go for those of another
    parts = ["smplh:translation", "smplh:is_valid", "audio", "vad"]
    alone = list(windows(dataset, modalities=parts, shuffle=True))
    together = windows(SeamlessDataset(data[0]), modalities=parts, shuffle=True)
    with ThreadPoolExecutor(8) as pool:
        for sample, other in zip(alone, pool.map(together.__getitem__, range(len(alone))), strict=True):
            np.testing.assert_equal(other, sample)


def test_threads_read_the_same_frames(data, monkeypatch, restless):
    monkeypatch.setattr(storage, "_DECODERS", 1)
    ids = [r.file_id for r in data[1].recordings if r.ids.vendor_id == "V00"][:2]
    of = windows(SeamlessDataset(data[0], file_ids=ids, single=True), modalities=["video"], fps=10, frame_size=(9, 16))
    alone = [of[number]["video"] for number in range(len(of))]
    with ThreadPoolExecutor(4) as pool:
        for number, frames in enumerate(pool.map(lambda number: of[number]["video"], range(len(of)))):
            np.testing.assert_array_equal(frames, alone[number])
