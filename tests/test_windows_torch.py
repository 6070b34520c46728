"""Windows in torch's loaders: what is shown, with any number of workers, and how a run goes on."""

import json
import zlib
from itertools import chain

import numpy as np
import pytest

from seamless_interaction import SeamlessDataset
from seamless_interaction.errors import ForeignState, WindowError
from seamless_interaction.synthetic.writing import synthesize

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, RandomSampler  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch") / "data"
    synthesize(folder, interactions=6, seconds=3.0, seed=4)
    return folder


@pytest.fixture
def windows(folder):
    return made(folder)


@pytest.fixture(scope="module")
def whole(folder):
    """All that an epoch shows, without workers."""
    return epoch(made(folder))


def made(folder, **options):
    parts = ["audio", "smplh:body_pose", "transcript"]
    options = {"duration": 1.0, "hop": 0.5, "modalities": parts, "paired": True, **options}
    return SeamlessDataset(folder).windows(shuffle=True, seed=7, **options)


def loader(windows, workers=0, batch_size=4, **options):
    return DataLoader(windows, batch_size, num_workers=workers, collate_fn=windows.collate, **options)


def shown(batch):
    """What a batch has, enough to tell it from all others."""
    digests = [zlib.crc32(pose.numpy().tobytes()) for pose in batch["smplh:body_pose"]]
    return list(zip(batch["position"].tolist(), map(tuple, batch["id"]), batch["start"].tolist(), digests, strict=True))


def epoch(windows, workers=0, **options):
    return [item for batch in loader(windows, workers, **options) for item in shown(batch)]


def test_an_epoch_shows_each_window_once_whatever_the_workers(windows):
    alone = epoch(windows)
    assert len(windows) > 20
    assert [position for position, *_ in alone] == list(range(len(windows)))
    assert len({item[1:3] for item in alone}) == len(windows)
    plain = [(sample["position"], tuple(sample["id"]), sample["start"]) for sample in windows]
    assert [item[:3] for item in alone] == plain
    assert epoch(windows, 3, batch_size=5) == alone


def test_batches_are_tensors_that_can_be_pinned(windows):
    batch = next(iter(loader(windows, 1)))
    assert batch["audio"].dtype == torch.float32 and batch["audio"].shape == (4, 2, 48_000)
    assert batch["mask"]["smplh:body_pose"].dtype == torch.bool
    assert batch["length"]["audio"].tolist() == [[48_000, 48_000]] * 4
    assert batch["audio"].is_shared() and batch["smplh:body_pose"].is_shared()  # a worker's, not copied again
    assert isinstance(batch["transcript"][0], list) and isinstance(batch["words"][0][0], list)


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 1)])
def test_a_run_goes_on_behind_the_last_batch_with_other_workers(folder, whole, before, after):
    first, found = made(folder), []
    for number, batch in enumerate(loader(first, before)):
        found += shown(batch)
        if number == 2:
            state = json.loads(json.dumps(first.state_dict(batch)))
            break
    second = made(folder)
    second.load_state_dict(state)
    batches = iter(loader(second, after, batch_size=3))
    batch = next(batches)
    found += shown(batch)
    third = made(folder)
    third.load_state_dict(second.state_dict(batch))
    found += epoch(third, before)
    assert found == whole
    third.set_epoch(1)
    assert len(epoch(third)) == len(whole)


def test_without_workers_the_state_needs_no_batch(windows):
    for number, batch in enumerate(loader(windows)):
        assert windows.state_dict() == windows.state_dict(batch)
        if number == 2:
            break


def test_with_workers_a_state_without_a_batch_is_refused(windows):
    batches = iter(loader(windows, 2))
    batch = next(batches)
    with pytest.raises(ForeignState, match="Give the last batch"):
        windows.state_dict()
    assert windows.state_dict(batch)["position"] == 4


@pytest.mark.parametrize(("size", "workers"), [(4, 0), (1, 0), (None, 0), (1, 2)])
def test_a_batch_out_of_order_is_refused(windows, size, workers):
    """Of one window, too, which alone does not show it."""
    options = {"collate_fn": windows.collate if size else None, "num_workers": workers}
    for number, batch in enumerate(DataLoader(windows, size, **options), 1):
        assert windows.state_dict(batch)["position"] == min(number * (size or 1), len(windows))
    assert windows[3] and windows[0]  # looking at one is no order
    shuffled = iter(DataLoader(windows, size, sampler=RandomSampler(windows), **options))
    _, batch = next(shuffled), next(shuffled)
    with pytest.raises(ForeignState, match="without a sampler"):
        windows.state_dict(batch)


def test_a_batch_of_something_else_is_refused(windows):
    batch = next(iter(loader(windows)))
    windows.set_epoch(1)
    with pytest.raises(ForeignState, match="another epoch"):
        windows.state_dict(batch)
    with pytest.raises(ForeignState, match="position"):
        windows.state_dict({"audio": batch["audio"]})


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])  # each takes seconds to be spawned
def test_workers_that_live_on_follow_the_epoch(windows, start, workers):
    living = loader(windows, workers, persistent_workers=True, multiprocessing_context=start)
    seen = []
    for number in range(2):
        windows.set_epoch(number)
        expected = [tuple(sample["id"]) for sample in windows]
        windows.set_epoch(number)
        seen.append([ids for batch in living for ids in map(tuple, batch["id"])])
        assert seen[-1] == expected
    assert seen[0] != seen[1]


def test_ranks_with_workers_cover_an_epoch(folder, whole):
    world = 2
    parts = [epoch(made(folder).split_by_rank(rank, world), 2) for rank in range(world)]
    assert sorted(chain(*parts)) == whole
    states = []
    for rank in range(world):
        part = made(folder).split_by_rank(rank, world)
        states.append(part.state_dict(next(iter(loader(part, 1, batch_size=2)))))
    assert states == [states[0]] * world and states[0]["position"] == 2 * world


def test_a_stateful_loader_goes_on_by_itself(folder, whole):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    for workers in (0, 1):
        first, found = made(folder), []
        running = stateful(first, 4, num_workers=workers, collate_fn=first.collate)
        for number, batch in enumerate(running):
            found += shown(batch)
            if number == 2:
                state = running.state_dict()
                break
        second = made(folder)
        again = stateful(second, 4, num_workers=workers, collate_fn=second.collate)
        again.load_state_dict(state)
        for batch in again:
            found += shown(batch)
        assert found == whole


def test_a_workers_failure_names_the_recording(tmp_path):
    corpus = synthesize(tmp_path / "data", interactions=1, seconds=2)
    broken = corpus.recordings[1]
    body = tmp_path / "data" / broken.label / broken.split / "smplh" / "body_pose" / f"{broken.file_id}.npy"
    body.write_bytes(body.read_bytes()[:999])
    some = made(tmp_path / "data", on_error="raise", modalities=["smplh:body_pose"])
    with pytest.raises(WindowError, match=rf"{broken.file_id}, .* s: smplh:body_pose: truncated"):
        list(loader(some, 1))


def test_what_is_skipped_is_left_out_of_its_batch(tmp_path):
    corpus = synthesize(tmp_path / "data", interactions=2, seconds=2)
    broken = corpus.recordings[1]
    body = tmp_path / "data" / broken.label / broken.split / "smplh" / "body_pose" / f"{broken.file_id}.npy"
    body.write_bytes(b"")
    some = made(tmp_path / "data", on_error="skip", paired=False, modalities=["smplh:body_pose"])
    batches = list(loader(some, 2, batch_size=3))
    left = [id for batch in batches for id in batch.get("id", ())]
    whole = [sample["id"] for sample in made(tmp_path / "data", paired=False, modalities=["smplh:body_pose"])]
    assert left == [id for id in whole if id != broken.file_id] and broken.file_id in whole
    assert len(batches) == -(-len(whole) // 3)


def test_memory_and_files_do_not_grow_over_epochs(folder):
    import os

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts open files where Linux lists them")
    some = made(folder, hop=3.0, modalities=["smplh", "audio", "video"], frame_size=(8, 6))
    opened = []
    for number in range(3):
        some.set_epoch(number)
        for _ in some:
            pass
        opened.append(len(os.listdir("/proc/self/fd")))
    assert np.ptp(opened) <= 4, opened
