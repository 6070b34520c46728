"""ImitatorModel: causal, the same with a cache and without, saved as safetensors, trained to the same bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from servers import Hub, use_hub

from seamless_interaction import SeamlessDataset
from seamless_interaction.errors import (
    FolderBusy,
    ForeignCheckpoint,
    MissingDependency,
    NonFiniteLoss,
    UnknownPreset,
    UnsafeCheckpoint,
    UsageError,
)
from seamless_interaction.models.config import COLUMNS, FACE, JOINTS, NUM_JOINTS, PRESETS, TRACKED, ImitatorConfig
from seamless_interaction.places.write import locked
from seamless_interaction.synthetic.writing import synthesize

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from safetensors.torch import load_file, save_file  # noqa: E402

from seamless_interaction.models import ImitatorModel  # noqa: E402
from seamless_interaction.models.objectives import fit, losses  # noqa: E402
from seamless_interaction.models.rotations import between, from_six, geodesic, to_matrix, to_six, to_vector  # noqa: E402
from seamless_interaction.models.streams import on_grid  # noqa: E402
from seamless_interaction.models.training import Settings, train  # noqa: E402

SMALL = ImitatorConfig(mels=8, text_buckets=64, width=16, heads=2, context=8)
SECONDS = 1.0

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "data"
    synthesize(folder, interactions=4, seconds=3.0, seed=5)
    return folder


@pytest.fixture(scope="module")
def windows(folder):
    return SeamlessDataset(folder, split="train").windows(SECONDS, 0.5, list(COLUMNS), fps=30, paired=True)


@pytest.fixture(scope="module")
def batch(windows):
    return windows.collate([windows[0], windows[len(windows) - 1], windows[1]])


@pytest.fixture(scope="module")
def model(batch):
    """Not trained, but with weights that do something: a new one's turns are none."""
    torch.manual_seed(0)
    model = ImitatorModel(SMALL).eval()
    fit(model, [model.read(batch)])
    with torch.no_grad():
        for parameter in (model.turn.weight, model.keep):
            parameter.normal_(std=0.03)
        for layer in model.decoder:
            for attention in (layer.own, layer.heard):
                attention.by_age.normal_()
    return model


def voice(seconds=2.0, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 48_000)).astype(np.float32)


def assert_same_motion(one, other, within):
    for name in one:
        if name in JOINTS:  # as matrices, which a rotation has one of
            torch.testing.assert_close(to_matrix(one[name]), to_matrix(other[name]), atol=within, rtol=0)
        else:
            torch.testing.assert_close(one[name], other[name], atol=within, rtol=0)


# --- rotations ------------------------------------------------------------------------------------


def vectors(number=200, scale=2.0):
    return torch.randn(number, 3, generator=torch.Generator().manual_seed(0)) * scale


def test_the_distance_of_rotations_is_blind_to_whole_turns():
    some = vectors()
    turned = some + 2 * torch.pi * some / some.norm(dim=-1, keepdim=True)
    assert geodesic(to_matrix(some), to_matrix(turned)).max() < 1e-5
    assert geodesic(to_matrix(some), to_matrix(1.01 * turned)).min() > 1e-3


def test_the_distance_is_the_angle_of_the_turn_between():
    some, angle = vectors(), torch.linspace(0.01, 3.1, 200)
    axis = torch.nn.functional.normalize(vectors(scale=1.0).flip(0), dim=-1)
    other = to_matrix(some) @ to_matrix(axis * angle[:, None])
    torch.testing.assert_close(geodesic(to_matrix(some), other), angle, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(between(to_matrix(some), other), axis * angle[:, None], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 4.0])
def test_vectors_matrices_and_six_numbers_agree(scale):
    matrices = to_matrix(vectors(scale=scale))
    torch.testing.assert_close(to_matrix(to_vector(matrices)), matrices, atol=1e-5, rtol=0)
    torch.testing.assert_close(from_six(3 * to_six(matrices)), matrices, atol=1e-5, rtol=0)
    half = to_matrix(torch.pi * torch.eye(3))
    torch.testing.assert_close(to_matrix(to_vector(half)), half, atol=1e-5, rtol=0)


def test_gradients_of_the_distance_are_finite_where_it_is_none_and_where_it_is_largest():
    some = torch.tensor([[0.0, 0, 0], [1.0, 2, 3], [torch.pi, 0, 0]], requires_grad=True)
    geodesic(to_matrix(some), to_matrix(torch.tensor([[0.0, 0, 0], [1.0, 2, 3], [0.0, 0, 0]]))).sum().backward()
    assert torch.isfinite(some.grad).all()


# --- what is read ---------------------------------------------------------------------------------


def test_a_word_lies_on_the_frames_in_which_it_is_spoken():
    words = [
        {"word": "Hello,", "start": -0.05, "end": 0.1},
        {"word": "you", "start": 0.21, "end": 0.21},
        {"word": "hello", "start": 0.3, "end": 9.0},
        {"word": "none", "start": None, "end": None},
    ]
    numbers = on_grid(words, 12, SMALL)
    assert (numbers[:3] == numbers[0]).all() and (numbers[9:] == numbers[0]).all()  # a word, however it is written
    assert numbers[0] != numbers[6] > 0 and (numbers[[3, 4, 5, 7, 8]] == 0).all()


def test_streams_hold_what_the_windows_hold(model, batch):
    streams = model.read(batch)
    for (name, count), there, first in zip(JOINTS.items(), streams.has_motion.unbind(-1), (0, 1, 22, 37), strict=True):
        tracked = batch[TRACKED] | ~batch["mask"][TRACKED]
        assert torch.equal(there, batch["mask"][name] & tracked)
        expected = to_matrix(batch[name].reshape(3, 2, 30, count, 3))
        found = streams.motion[..., first : first + count, :, :]
        assert geodesic(found, expected)[there].max() < 1e-5
    assert torch.equal(streams.audio.flatten(2), batch["audio"])
    assert (streams.text > 0).any() and torch.equal(streams.has_face, batch["mask"][FACE])


def test_another_grid_is_refused(model, folder):
    sample = SeamlessDataset(folder, split="train").windows(2.0, 9.0, ["smplh"], fps=15)[0]
    with pytest.raises(UsageError, match="fps=30"):
        model.encode(sample)


# --- encoding -------------------------------------------------------------------------------------


def test_representations_are_of_each_participant_whatever_the_window(model, folder, windows):
    interaction = SeamlessDataset(folder, split="train")[windows[0]["interaction_id"]]
    window = interaction.window(0.0, SECONDS, list(COLUMNS), fps=30)
    found = model.encode(window)
    assert list(found) == list(window) and all(part.shape == (30, 16) for part in found.values())
    paired = model.encode(windows[0])
    torch.testing.assert_close(paired, torch.stack(list(found.values())))
    torch.testing.assert_close(model.encode(windows.collate([windows[0]]))[0], paired)
    alone = model.encode(next(iter(window.values())))
    assert alone.shape == (30, 16) and not torch.allclose(alone, paired[0], atol=1e-3)  # the partner matters


@pytest.mark.parametrize("name", ["audio", "motion", "face", "text"])
def test_later_frames_change_nothing_before(model, batch, name):
    streams = model.read(batch)
    changed = streams.map(torch.clone)
    getattr(changed, name)[:, :, 20:] = getattr(streams, name)[:, :, 20:].flip(2).roll(1, 0)
    getattr(changed, f"has_{name}")[:] = True
    getattr(streams, f"has_{name}")[:] = True
    with torch.no_grad():
        one, other = model.encode_streams(streams).joint, model.encode_streams(changed).joint
    torch.testing.assert_close(one[:, :, :20], other[:, :, :20], atol=1e-5, rtol=0)
    assert not torch.allclose(one[:, :, 20:], other[:, :, 20:], atol=1e-3)


def test_what_is_encoded_is_the_same_with_gradients_and_without(model, batch):
    """PyTorch has other code for each, of which one took the biases by age for a mask of booleans."""
    streams = model.read(batch)
    with torch.no_grad():
        found = model.encode_streams(streams).joint
    torch.testing.assert_close(found, model.encode_streams(streams).joint, atol=1e-5, rtol=0)


def test_long_streams_are_encoded_in_stretches_to_the_same(model):
    conditions = model._conditions(voice(20), {"audio": voice(20, 1)}, "some words", 600)
    with torch.no_grad():
        whole = model.encode_streams(conditions).joint
        torch.testing.assert_close(model._memory(conditions), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("missing", [("audio",), tuple(JOINTS), (FACE,), ("words", "transcript"), COLUMNS + ("words",)])
def test_what_is_missing_is_as_if_it_were_masked(model, batch, missing):
    without = {name: value for name, value in batch.items() if name not in missing}
    masked = {**batch, "mask": dict(batch["mask"]), "length": dict(batch["length"])}
    for name in missing:
        if name in masked["mask"]:
            masked["mask"][name] = torch.zeros_like(masked["mask"][name])
    if "audio" in missing:
        masked["length"]["audio"] = torch.zeros_like(masked["length"]["audio"])
    if "transcript" in missing:
        masked["transcript"] = [[None, None]] * 3
    one, other = model.encode(without), model.encode(masked)
    assert torch.isfinite(one).all()
    torch.testing.assert_close(one, other)


# --- generating -----------------------------------------------------------------------------------


@pytest.mark.parametrize("has_past", [False, True])
def test_generation_is_the_same_with_the_cache_and_without(model, windows, has_past):
    """Over several times the context: the ring has gone round."""
    sample = windows[0]
    past = {name: sample[name][0, :11] for name in (*JOINTS, FACE)} if has_past else None
    partner = {name: sample[name][1] for name in ("audio", *JOINTS, FACE)}
    options = {"audio": voice(), "partner": partner, "text": "a few words", "frames": 30, "past": past, "seed": 3}
    fast, slow = model.generate(**options), model.generate(**options, use_cache=False)
    assert_same_motion(fast, slow, within=1e-5)
    assert fast["smplh:body_pose"].shape == (30, 21, 3) and fast["smplh:global_orient"].shape == (30, 3)
    steps = geodesic(to_matrix(fast["smplh:body_pose"][1:]), to_matrix(fast["smplh:body_pose"][:-1]))
    assert steps.mean() > 1e-3  # it moves


def test_a_seed_gives_one_motion_and_another_seed_another(model):
    one, same, other = (model.generate(audio=voice(), frames=12, seed=seed) for seed in (1, 1, 2))
    assert_same_motion(one, same, within=1e-5)
    assert not torch.allclose(one["smplh:body_pose"], other["smplh:body_pose"], atol=1e-3)
    means = [model.generate(audio=voice(), frames=12, seed=seed, temperature=0) for seed in (1, 2)]
    assert_same_motion(*means, within=1e-5)


def test_later_sound_and_later_partner_change_no_earlier_motion(model, windows):
    partner = {name: windows[0][name][1] for name in JOINTS}
    other = {name: np.concatenate([values[:20], -values[20:]]) for name, values in partner.items()}
    sound, cut = voice(1.0), voice(1.0)
    cut[20 * 1600 :] = voice(1.0, seed=9)[20 * 1600 :]
    one = model.generate(audio=sound, partner=partner, frames=30)
    another = model.generate(audio=cut, partner=other, frames=30)
    for name in one:
        torch.testing.assert_close(one[name][:20], another[name][:20], atol=1e-5, rtol=0)
        assert not torch.allclose(one[name][20:], another[name][20:], atol=1e-4)


def test_motion_goes_on_from_the_past(model, windows):
    past = {name: windows[0][name][0] for name in JOINTS}
    made = model.generate(past=past, frames=1, temperature=0)
    for name in JOINTS:
        assert geodesic(to_matrix(torch.as_tensor(past[name][-1])), to_matrix(made[name][0])).mean() < 0.3


def test_impossible_requests_say_so(model):
    with pytest.raises(UsageError, match="frames is 0"):
        model.generate(frames=0)
    with pytest.raises(UsageError, match=r"shape \(2, 9\)"):
        model.generate(audio=np.zeros((2, 9), np.float32))
    with pytest.raises(UnknownPreset, match="tiny"):
        ImitatorConfig.preset("tinny")
    with pytest.raises(UsageError, match="divides 48000"):
        ImitatorConfig(fps=7)


# --- saving ---------------------------------------------------------------------------------------


def test_a_saved_model_is_loaded_bit_for_bit(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = ImitatorModel.from_pretrained(tmp_path)
    assert loaded.config == SMALL and not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    one, other = (some.generate(audio=voice(), frames=5) for some in (model, loaded))
    assert_same_motion(one, other, within=1e-5)
    card = (tmp_path / "README.md").read_text()
    assert (
        "ICCV 2023" in card and "Not said by whoever saved it." in card and "library_name: seamless-interaction" in card
    )


def test_a_model_is_pushed_to_the_hub_and_loaded_from_there(model, tmp_path):
    repo = "someone/imitator"
    with Hub(tmp_path / "hub", repo, kind="model", exists=False, token="hf_test") as hub, use_hub(hub):
        model.push_to_hub(repo, token="hf_test", private=True)
        (commit,) = hub.commits
        assert set(commit.added) == {"README.md", "config.json", "model.safetensors"} and hub.private
        loaded = ImitatorModel.from_pretrained(repo, token="hf_test", cache_dir=tmp_path / "cache")
        assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
        (tmp_path / "hub" / "model.safetensors").unlink()
        with pytest.raises(UnsafeCheckpoint, match=r"no model\.safetensors, and nothing else is loaded"):
            ImitatorModel.from_pretrained(repo, token="hf_test", cache_dir=tmp_path / "other")


def test_pickles_are_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnsafeCheckpoint, match=r"pytorch_model\.bin is not loaded"):
        ImitatorModel.from_pretrained(tmp_path)
    with pytest.raises(UnsafeCheckpoint, match="a pickle can run code"):
        ImitatorModel.from_pretrained(tmp_path / "pytorch_model.bin")
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    with pytest.raises(UnsafeCheckpoint, match="no safetensors file"):
        ImitatorModel.from_pretrained(tmp_path)


def test_other_versions_and_other_models_are_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    right = config.read_text()
    config.write_text(json.dumps({**json.loads(right), "format_version": 1}))
    with pytest.raises(ForeignCheckpoint, match="format version 1"):
        ImitatorModel.from_pretrained(tmp_path)
    config.write_text(json.dumps({**json.loads(right), "width": 32}))
    with pytest.raises(ForeignCheckpoint, match="other sizes"):
        ImitatorModel.from_pretrained(tmp_path)
    for sizes in {"width": 512}, {"mels": 500}, {"text_buckets": 1 << 20}:  # told before such a model is made
        config.write_text(json.dumps({**json.loads(right), **sizes}))
        with pytest.raises(ForeignCheckpoint, match=r"other sizes than its config\.$"):
            ImitatorModel.from_pretrained(tmp_path)
    for text in "[1]", "[" * 100_000:
        config.write_text(text)
        with pytest.raises(ForeignCheckpoint, match=r"config\.json is none of a"):
            ImitatorModel.from_pretrained(tmp_path)
    config.write_text(right)
    save_file(load_file(weights), weights, {"format": "pt"})
    with pytest.raises(ForeignCheckpoint, match="an unknown model"):
        ImitatorModel.from_pretrained(tmp_path)
    config.unlink()
    with pytest.raises(ForeignCheckpoint, match=r"no config\.json"):
        ImitatorModel.from_pretrained(tmp_path)


def test_without_torch_the_extra_is_named():
    """In a process of its own that finds no torch."""
    import subprocess
    import sys

    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
from seamless_interaction.models import ImitatorConfig, need_torch
try:
    from seamless_interaction.models import ImitatorModel
except Exception as error:
    print(type(error).__name__, error)
print("torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.splitlines() == [
        f"{MissingDependency.__name__} ImitatorModel needs torch: pip install 'seamless-interaction[torch]'",
        "False",
    ], run.stderr


# --- training -------------------------------------------------------------------------------------


def test_losses_are_finite_and_reach_every_weight(model, batch):
    streams = model.read(batch)
    streams.has_face[:] = True
    model.zero_grad()
    found = losses(model, streams, torch.Generator().manual_seed(0))
    assert {"next", "velocity", "next_face", "contrast", "spread", "restore_audio", "restore_motion"} <= set(found)
    assert all(torch.isfinite(value) for value in found.values())
    (found["loss"] + found["spread"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("what", ["all", "motion", "audio"])
def test_losses_of_masked_samples_are_finite(model, batch, what):
    streams = model.read(batch)
    for name in ("audio", "motion", "face", "text"):
        if what in ("all", name):
            getattr(streams, f"has_{name}")[:] = False
    found = losses(model, streams, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(value) for value in found.values())
    assert ("next" in found) == (what == "audio") and ("loss" in found) == (what != "all")


def test_a_new_model_stays_where_it_is_which_is_the_unit_of_the_loss(batch):
    torch.manual_seed(0)
    new = ImitatorModel(SMALL)
    fit(new, [new.read(batch)])
    made = new.generate(audio=voice(), frames=4, temperature=0)
    assert geodesic(to_matrix(made["smplh:body_pose"]), new.rest[1:22].expand(4, -1, -1, -1)).max() < 1e-4
    found = losses(new, new.read(batch), torch.Generator().manual_seed(0))
    assert found["next"].item() == pytest.approx(1, abs=0.35)


QUICK = Settings(steps=5, batch_size=3, seconds=SECONDS, hop=0.5, validated_on=2)


def test_a_run_that_was_stopped_ends_in_the_same_weights(folder, tmp_path):
    """Bit for bit, as is promised of one machine. Takes 5 s: three runs, and torch imports a compiler for the first."""
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    whole = train(folder, straight, QUICK, workers=0, evaluate_every=3, checkpoint_every=2)
    assert train(folder, stopped, QUICK, workers=0, stop_after=3, evaluate_every=3) == {"steps": 3}
    with open(stopped / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "loss": 0.1}\n{"step": 5, "lo')  # what a kill may leave behind
    resumed = train(folder, stopped, QUICK, workers=1, evaluate_every=3)
    for name in ("model.safetensors", "checkpoint.safetensors"):
        one, other = load_file(straight / name), load_file(stopped / name)
        assert set(one) == set(other) and all(torch.equal(one[key], other[key]) for key in one), name
    assert resumed["errors"] == whole["errors"] and resumed["validation"] == whole["validation"]
    lines = [[json.loads(line) for line in (run / "metrics.jsonl").open()] for run in (straight, stopped)]
    for one, other in zip(*lines, strict=True):
        timed = {"seconds", "loading_share"}
        assert {key: one[key] for key in one.keys() - timed} == {key: other[key] for key in other.keys() - timed}
    assert set(whole["errors"]) == {"model", "repeat-last", "mean-pose", "constant-turn"}
    card = (straight / "README.md").read_text()
    assert "Synthetic conversations" in card and "| constant-turn |" in card
    assert ImitatorModel.from_pretrained(straight).config == ImitatorConfig.preset("tiny")
    with pytest.raises(ForeignCheckpoint, match="another folder"):
        train(folder, straight, replace(QUICK, seed=1))
    for metrics in (b'{"loss": 1}\n', b'{"step": "x"}\n', b"\xff}\n", None):
        path = straight / "metrics.jsonl"
        path.unlink() if metrics is None else path.write_bytes(metrics)
        with pytest.raises(ForeignCheckpoint, match=r"metrics\.jsonl is not what the run"):
            train(folder, straight, QUICK, workers=0)


def test_two_runs_do_not_train_in_one_folder(folder, tmp_path):
    with locked(tmp_path), pytest.raises(FolderBusy, match="another run is writing into it"):
        train(folder, tmp_path, QUICK, workers=0)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_loss_that_is_not_finite_names_step_and_recordings(folder, tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"step \d+ is not finite .* V0\d_S") as caught:
        train(folder, tmp_path / "run", replace(QUICK, steps=20, learning_rate=1e20), workers=0)
    assert caught.value.step > 1 and len(caught.value.ids) == 6


def test_windows_too_short_to_compare_are_refused_before_training(folder, tmp_path):
    with pytest.raises(UsageError, match=r"Give 0\.47 s or more"):
        train(folder, tmp_path, replace(QUICK, seconds=0.4))


def test_motion_where_nobody_is_tracked_is_masked(model, batch):
    tracked = torch.ones_like(batch[TRACKED])
    tracked[1, 0, 5:9] = False
    known = torch.ones_like(batch["mask"][TRACKED])
    known[1, 0, 8] = False  # there it is not told
    found = model.read({**batch, TRACKED: tracked, "mask": {**batch["mask"], TRACKED: known}}).has_motion
    assert not found[1, 0, 5:8].any() and torch.equal(found[1, 0, 8:], model.read(batch).has_motion[1, 0, 8:])


def test_bf16_and_compile_are_refused_on_a_cpu(folder, tmp_path):
    with pytest.raises(UsageError, match="for a GPU"):
        train(folder, tmp_path, QUICK, device="cpu", precision="bf16")
    with pytest.raises(UsageError, match="for a GPU"):
        train(folder, tmp_path, QUICK, device="cpu", compiled=True)


def test_presets_are_configurations():
    assert NUM_JOINTS == 52
    for name in PRESETS:
        assert ImitatorConfig.preset(name).width % ImitatorConfig.preset(name).heads == 0
