"""Benchmarks in which motion is made, and an ImitatorModel in all of them: rules are planted, and found again."""

import sys
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import planted
import pytest
from conftest import needs
from typer.testing import CliRunner

from seamless_interaction import SAMPLING_RATE, SeamlessDataset
from seamless_interaction.cli import app
from seamless_interaction.errors import (
    ForeignCheckpoint,
    IncomparableResults,
    MissingDependency,
    UnsafeCheckpoint,
    UsageError,
)
from seamless_interaction.models.config import PRESETS, ImitatorConfig
from seamless_interaction.source.layout import tree_path

torch = pytest.importorskip("torch")
needs("safetensors", "sklearn", "librosa")

from seamless_interaction import evaluation  # noqa: E402
from seamless_interaction.evaluation import (  # noqa: E402
    BASELINES,
    TASKS,
    read_results,
    representation,
    run,
    run_all,
    table,
)
from seamless_interaction.evaluation.baselines import linear  # noqa: E402
from seamless_interaction.evaluation.motion import figures  # noqa: E402
from seamless_interaction.evaluation.motion.clips import MADE, NUM_BODY, PAST, SHOWN, clips_of, without  # noqa: E402
from seamless_interaction.evaluation.motion.collection import Collection  # noqa: E402
from seamless_interaction.evaluation.motion.makers import Imitator, Linear  # noqa: E402
from seamless_interaction.evaluation.motion.space import chunks, learn, read_space  # noqa: E402
from seamless_interaction.evaluation.representation import Representation  # noqa: E402
from seamless_interaction.evaluation.results import Draws  # noqa: E402
from seamless_interaction.evaluation.seen import Seen  # noqa: E402
from seamless_interaction.models import ImitatorModel  # noqa: E402
from seamless_interaction.models.objectives import fit  # noqa: E402
from seamless_interaction.models.rotations import between, geodesic, to_matrix, to_six  # noqa: E402

MAKING = ("behaviour-generation", "nonverbal-synthesis")
SMALL = ImitatorConfig(mels=12, text_buckets=64, width=16, heads=2, joint_layers=1, decoder_layers=1, context=8)
LEARN = "seamless_interaction.evaluation.motion.collection.learn"
TRAIN, TEST, SECONDS = 5, 2, 20.0  # four clips of each participant

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """A space that is no matter of figures is learnt at once; one thread multiplies small matrices, as in a run."""
    from threadpoolctl import threadpool_limits

    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setattr(LEARN, partial(learn, steps=5))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return planted.write(tmp_path_factory.mktemp("motion"), train=TRAIN, test=TEST, seconds=SECONDS)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """One conversation to learn from and one to measure, for what is no matter of figures."""
    return planted.write(tmp_path_factory.mktemp("few"), train=1, test=1, seconds=20.0)


@pytest.fixture(scope="module")
def model(few):
    """Not trained, but it hears and it moves."""
    torch.manual_seed(0)
    model = ImitatorModel(SMALL).eval()
    windows = few.windows(2.0, 8.0, list(SHOWN), fps=30, paired=True)
    fit(model, [model.read(windows.collate([windows[i] for i in range(4)]))])
    with torch.no_grad():
        model.turn.weight.normal_(std=0.03)
    return model


@pytest.fixture(scope="module")
def results(dataset, model, tmp_path_factory):
    """Takes 16 s: a third of it is imports, another one motion that is generated frame by frame."""
    tasks = [TASKS[name] for name in (*MAKING, "turn-taking")]
    kept = tmp_path_factory.mktemp("spaces")
    options = {"resamples": 40, "shuffles": 2, "keep_motion_space_in": kept}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LEARN, partial(learn, steps=30))
        made = run_all(tasks, dataset, models=BASELINES, imitator=model, **options)
    return {result.task: result for result in made}, kept


@pytest.fixture(scope="module")
def seen(few):
    return Seen(few[0], ("prosody", "head"), None)


@pytest.fixture(scope="module")
def clips(seen):
    return clips_of(seen.interaction, SMALL)[0]


# --- figures --------------------------------------------------------------------------------------


def test_the_frechet_distance_is_that_of_known_gaussians():
    one, other = (np.zeros(3), np.eye(3)), (np.array([1.0, 2, 2]), 4 * np.eye(3))
    assert figures.frechet(one, other) == pytest.approx(9 + 3 * (1 + 4 - 2 * 2))
    assert figures.frechet(other, other) == pytest.approx(0, abs=1e-12)
    turned = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    values = np.linalg.eigvals(turned[0] @ turned[1]).real  # tr of the root of the product is the sum of their roots
    expected = np.trace(turned[0]) + np.trace(turned[1]) - 2 * np.sqrt(values).sum()
    assert figures.frechet((np.zeros(2), turned[0]), (np.zeros(2), turned[1])) == pytest.approx(expected)


def test_gaussians_of_sums_are_those_of_the_codes():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(count, 4)) for count in (5, 9, 6)]
    sums = [figures.Sums(len(r), r.sum(0), r.T @ r, 0.0, 0, 0.0, 0) for r in rows]
    mean, covariance = figures.Gathered(sums).gaussian(np.array([2.0, 0, 1]))
    codes = np.concatenate([rows[0], rows[0], rows[2]])
    np.testing.assert_allclose(mean, codes.mean(0))
    np.testing.assert_allclose(covariance, np.cov(codes.T))
    assert figures.Gathered(sums).gaussian(np.zeros(3)) is None


def test_beats_are_where_motion_turns_back_and_sound_begins():
    times = (np.arange(MADE - 1) + 0.5) / 30  # a speed is that of the time between two frames
    found = figures.beats(1 + np.cos(2 * np.pi * times))
    np.testing.assert_allclose(found, [0.5, 1.5, 2.5, 3.5], atol=0.02)
    assert len(figures.beats(np.ones(MADE - 1))) == 0
    sound = np.random.default_rng(0).normal(0, 1e-4, 5 * SAMPLING_RATE).astype(np.float32)
    for at in (0.5, 1.5, 3.0):  # the first lies in what is known
        first = round(at * SAMPLING_RATE)
        sound[first:] += np.sin(np.arange(len(sound) - first) / 7) * np.exp(-np.arange(len(sound) - first) / 4800)
    np.testing.assert_allclose(figures.onsets(sound), [0.5, 2.0], atol=0.05)
    hiss = np.random.default_rng(0).normal(0, 1e-3, 5 * SAMPLING_RATE).astype(np.float32)
    assert len(figures.onsets(hiss)) == 0  # of whoever is silent there are none, however loud that is made
    assert figures.consistency(np.array([1.0, 2.0]), np.array([1.1, 5.0])) == pytest.approx(
        (np.exp(-0.5) + np.exp(-40.5)) / 2
    )
    assert figures.consistency(np.array([1.0]), np.array([])) == 0
    assert figures.consistency(np.array([]), np.array([1.0])) is None


def test_velocity_is_that_of_rotations_and_diversity_that_of_codes():
    recorded = torch.eye(3).expand(2, PAST + MADE, NUM_BODY, 3, 3).clone()
    angle = torch.arange(1, MADE + 1) * 0.1
    recorded[:, PAST:, 3] = to_matrix(angle[:, None] * torch.tensor([0.0, 0, 1]))  # beyond half a turn, too
    made = torch.eye(3).expand(2, MADE, NUM_BODY, 3, 3)
    space = learn(chunks(to_six(recorded[:, PAST:])), 0, steps=5)
    of = figures.sums(made, figures.turns(recorded[:, PAST:]), [np.array([]), np.array([1.0])], space)
    assert of.velocity / of.clips == pytest.approx(np.degrees(0.1 * 30) / NUM_BODY, rel=1e-3)
    assert (of.beats, of.beats_count) == (0, 1)  # it does not move; and of silence nothing is counted
    codes = np.array([[0.0, 0.0], [3.0, 4.0]])
    pair = figures.Gathered([figures.Sums(2, codes.sum(0), codes.T @ codes, 0.0, 0, 0.0, 1)])
    assert figures.measure(pair, pair, np.ones(1), [])["diversity"] == pytest.approx(5)


def test_halves_are_of_sessions_and_what_is_alike_is_nearer_than_what_is_not():
    rng = np.random.default_rng(0)

    def sessions(shift):
        rows = [rng.normal(shift, 1, (30, figures.DIMS)) for _ in range(10)]
        return {number: figures.Sums(30, r.sum(0), r.T @ r, 0.0, 0, float(shift), 1) for number, r in enumerate(rows)}

    rows = {"recorded": sessions(0), "alike": sessions(0), "not": sessions(1), "few": dict([*sessions(1).items()][:2])}
    found = figures.with_intervals(rows, Draws(0, 40, 0))
    assert found["alike"]["frechet"].high < found["not"]["frechet"].low
    assert 1 < found["recorded"]["frechet"].value < 8  # what there is left of two samples of the same
    assert abs(found["not"]["frechet"].value - found["recorded"]["frechet"].value - figures.DIMS) < 4  # |(1, 1, …)|²
    assert found["few"]["velocity_error"].value == 1  # of the two sessions in which it made anything
    for name in ("recorded", "alike", "not"):
        of = found[name]
        assert of["frechet"].low <= of["frechet"].value <= of["frechet"].high
    assert found["not"]["velocity_error"].value == 1 and found["not"]["beat_consistency"] == (None, None, None)


# --- clips ----------------------------------------------------------------------------------------


def test_clips_are_of_both_participants_and_whose_it_is_comes_first(seen, clips):
    assert [name.start for name in clips.names] == [0.0, 0.0, 5.0, 5.0, 10.0, 10.0, 15.0, 15.0]
    for number, name in enumerate(clips.names):
        own = seen.interaction[name.participant_id]
        first = round(name.start * 30)
        pose = torch.from_numpy(np.array(own.smplh.body_pose[first : first + PAST + MADE]))
        assert geodesic(to_matrix(pose), clips.body[number, :, 1:]).max() < 1e-3
        samples = own.audio.array[first * 1600 : (first + PAST + MADE) * 1600]
        np.testing.assert_array_equal(clips.sound("own")[number], samples)
        assert not np.array_equal(clips.sound("partner")[number], samples)


def test_of_the_one_who_is_to_move_no_motion_is_shown(clips):
    for heard, own, partner in (("own", True, False), ("partner", False, True)):
        shown = without(clips.streams, heard)
        assert not shown.has_motion[:, 0].any() and bool(shown.has_motion[:, 1].any()) == partner
        assert bool(shown.has_audio[:, 0].all()) == own and bool(shown.has_audio[:, 1].all()) == partner
        assert bool(shown.has_text[:, 0].any()) == own and bool(shown.has_text[:, 1].any()) == partner
    assert clips.streams.has_motion[:, 0].any()  # a copy was masked


def test_a_control_is_of_the_same_participant_at_another_time_and_nothing_else(clips):
    others = clips.others()
    assert all(clips.who[other] == clips.who[number] for number, other in enumerate(others))
    assert all(clips.names[other].start != clips.names[number].start for number, other in enumerate(others))
    for number, other in enumerate(others):  # so nobody is shown themselves, as the partner
        assert not torch.equal(clips.streams.motion[other, 1], clips.streams.motion[number, 0])
    assert clips.take(np.array([0, 1, 2])).others().tolist() == [2, -1, 0]


def test_a_digest_is_of_the_motion_and_of_the_sound(clips):
    before = clips.digests("own")
    assert len(set(before)) == len(clips)
    changed = replace(clips, streams=clips.streams.map(torch.clone))
    changed.streams.motion[0, 0, 50, 3] = to_matrix(torch.tensor([0.0, 0.5, 0]))
    changed.streams.audio[1, 0, 5] += 0.1
    assert [one == other for one, other in zip(before, changed.digests("own"), strict=True)] == [False] * 2 + [True] * 6


@pytest.mark.parametrize("heard", ["own", "partner"])
def test_the_linear_model_is_shown_nothing_of_who_is_not_heard(few, clips, heard):
    """Features of the other one are made to be anything."""
    groups = TASKS[MAKING[heard == "own"]].may_show
    inputs = []
    for value in (0.0, 9.0):
        seen = Seen(few[0], groups, None)
        for number, name in enumerate(seen.features):
            for features in seen.features[name].values():
                features[:] += value * (number != 0)
        of_first = clips.take(np.flatnonzero(clips.who == (0 if heard == "own" else 1)))
        inputs.append(Linear(groups, heard)._inputs(of_first, seen, np.arange(len(of_first))))
    np.testing.assert_allclose(*inputs, atol=1e-6)


def test_groups_that_tell_what_may_not_be_shown_are_left_out(few):
    options = {"models": BASELINES, "groups": ("head", "dyadic"), "resamples": 2, "shuffles": 0}
    response, speech = run_all([TASKS[name] for name in MAKING], few, **options)
    assert response.groups == ["head"] and "linear" in response.parts["body"].models
    assert speech.groups == [] and "linear" not in speech.parts["body"].models


def test_what_cannot_be_used_is_counted(tmp_path):
    dataset = planted.write(tmp_path, train=1, test=1, seconds=10.0)
    first, second = dataset[0].recordings
    tracked = np.ones(300, bool)
    tracked[200] = False
    np.save(tmp_path / tree_path("improvised", "train", "boxes_and_keypoints:is_valid_box", first.id), tracked)
    audio = tmp_path / tree_path("improvised", "train", "audio", second.id)
    audio.unlink()
    found, left_out = clips_of(SeamlessDataset(tmp_path)[0], SMALL)
    assert left_out["clips without a body throughout"] == 1 and len(found) == 3
    assert len(found.with_sound("own", left_out)) == 1 and left_out["clips without sound throughout"] == 2
    assert clips_of(SeamlessDataset(tmp_path, file_ids=[first.id], single=True)[0], SMALL) == (
        None,
        Counter({"one participant only": 1}),
    )


def test_a_corpus_with_every_defect_is_measured_or_says_why_not(broken, model):
    dataset = SeamlessDataset(broken["tree"][0])
    for result in run_all([TASKS[name] for name in MAKING], dataset, imitator=model):
        assert result.parts["body"].not_measured == "no clip to learn from"
        assert result.left_out["shorter than 5 s"] > 0


# --- the space ------------------------------------------------------------------------------------


def test_a_space_is_the_same_again_and_named_by_what_it_holds(clips, tmp_path):
    six = chunks(to_six(clips.made))
    space = learn(six, 0, steps=60)
    assert space.missed(clips.made) < 0.6  # of eight clips, it can learn by heart
    # Bit for bit, as `learn` promises of one machine.
    one, same, other = (learn(six, seed, steps=3).digest for seed in (0, 0, 1))
    assert one == same and len({one, other, space.digest}) == 3
    codes = space.codes(clips.made)
    assert codes.shape == (8, 2, 32)
    np.testing.assert_allclose(codes.reshape(-1, 32).mean(0), 0, atol=1e-4)
    path = space.write(tmp_path)
    assert path.name == f"motion-space-{space.digest}.safetensors"
    np.testing.assert_allclose(read_space(path).codes(clips.made), codes, atol=1e-5)
    other = path.rename(tmp_path / "motion-space-0123456789abcdef.safetensors")
    with pytest.raises(ForeignCheckpoint, match="not in its name"):
        read_space(other)
    other.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(UnsafeCheckpoint):
        read_space(other)
    with pytest.raises(ForeignCheckpoint, match="is no file"):
        read_space(path)


def test_a_collection_reads_a_conversation_once_and_keeps_its_clips_once(seen, monkeypatch):
    collection = Collection(SMALL, None, None, 0)
    first, _ = collection.clips(seen.interaction)
    assert collection.clips(seen.interaction)[0] is first
    for _ in range(2):  # two tasks
        collection.learn(seen.interaction)
    assert len(collection.kept) == 8
    monkeypatch.setattr("seamless_interaction.evaluation.motion.collection.KEPT", 5)
    small = Collection(SMALL, None, None, 0)
    small.learn(seen.interaction)
    assert len(small.kept) == 5
    assert not torch.equal(torch.stack(small.kept), to_six(first.made)[:5])  # some came instead of the first ones


# --- makers ---------------------------------------------------------------------------------------


def test_the_linear_model_is_scikit_learns(seen, clips):
    made = Linear(("prosody", "head"), "own")
    made.learn(clips, seen)
    everything = np.arange(len(clips))
    rows = made._inputs(clips, seen, everything)[..., :-1].reshape(len(clips) * MADE, -1)
    last = clips.body[:, PAST - 1 : PAST]
    targets = between(last, clips.made).flatten(2).flatten(0, 1).double().numpy()
    known = rows.std(0) > 1e-9  # what never changes has no weight there, and none that matters here
    estimator = linear("regression", 0)
    estimator.fit(rows[:, known], targets, ridge__sample_weight=np.full(len(rows), 1 / MADE))
    expected = estimator.predict(rows[:, known]).reshape(len(clips), MADE, NUM_BODY, 3)
    found = between(last, made.make(clips, seen, everything))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    others = made.make(clips, seen, np.roll(everything, 1))
    assert not torch.allclose(others, made.make(clips, seen, everything), atol=1e-3)


def test_an_imitator_makes_what_it_generates(model, seen, clips):
    """Of one clip, with no noise: the same as ``generate``, which is told the same."""
    maker = Imitator(model, "partner", 0, temperature=0.0)
    found = maker.make(clips, seen, np.arange(len(clips)))
    assert found.shape == (len(clips), MADE, NUM_BODY, 3, 3)
    name = clips.names[3]
    window = seen.interaction.window(name.start, 5.0, list(SHOWN), fps=30)
    partner = next(sample for participant, sample in window.items() if participant != name.participant_id)
    own = window[name.participant_id]
    past = {key: values[:PAST] for key, values in own.items() if key.startswith("smplh")}
    expected = model.generate(partner=partner, frames=MADE, temperature=0, past=past, dtype=torch.float32)
    assert geodesic(to_matrix(expected["smplh:body_pose"]), found[3, :, 1:]).max() < 1e-2
    with pytest.raises(UsageError, match="25 frames a second"):
        Collection(replace(SMALL, fps=25), None, None, 0)


# --- a representation -----------------------------------------------------------------------------


def test_a_representation_is_that_of_each_participant_stretch_by_stretch(model, few):
    interaction = few[0]
    found = Representation(model).of(interaction)
    assert not {"transcript", "movement:expression"} & set(representation.SHOWN)
    window = interaction.window(0.0, interaction.duration, list(representation.SHOWN), fps=30)
    expected = torch.stack(list(model.encode(window).values()))
    assert found.shape == expected.shape == (2, 600, 16)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_representation_up_to_a_time_knows_nothing_of_what_comes(model, few):
    class Later(Representation):
        def of(self, interaction):
            tokens = super().of(interaction)
            tokens[:, 300:] = 7
            return tokens

    speech = ([], [])
    one, other = (
        Seen(few[0], (), kind(model)).before(10.0, 1, ("dyadic",), speech) for kind in (Representation, Later)
    )
    assert list(one) == ["imitator"] and one["imitator"].shape == (4 * 16,)
    np.testing.assert_allclose(one["imitator"], other["imitator"], atol=1e-5)
    tokens = Representation(model).of(few[0])
    np.testing.assert_allclose(one["imitator"][:16], tokens[1, 299], atol=1e-5)  # whom it is about comes first
    np.testing.assert_allclose(one["imitator"][48:], tokens[0, 270:300].mean(0), atol=1e-5)


# --- measuring ------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", MAKING)
def test_what_is_shown_is_used_and_the_order_comes_out(results, task):
    models = results[0][task].parts["body"].models
    distance = {name: figures["frechet"].value for name, figures in models.items()}
    assert max(distance["recorded"], distance["linear"]) < 0.8 * distance["mean-pose"]
    assert models["recorded"]["velocity_error"].value == pytest.approx(0, abs=1e-6)
    assert models["linear"]["velocity_error"].value < models["linear, other input"]["velocity_error"].value
    assert models["last-pose"]["beat_consistency"].value == 0 < models["recorded"]["beat_consistency"].low
    assert models["mean-pose"]["diversity"].value == pytest.approx(0, abs=1e-3)
    assert {"imitator", "imitator, sampled", "imitator, other input", "any-clip"} < set(models)
    assert models["imitator"]["velocity_error"].value < models["imitator, sampled"]["velocity_error"].value


def test_motion_to_own_speech_has_its_beats(results):
    models = results[0]["nonverbal-synthesis"].parts["body"].models
    assert models["linear"]["beat_consistency"].low > models["linear, other input"]["beat_consistency"].value


def test_what_the_linear_model_is_not_shown_is_told_from_the_representation(results):
    """Whether the floor shifts is in the colour of the sound: in no feature of pitch, loudness or voice activity."""
    models = {
        name: figures["balanced_accuracy"]
        for name, figures in results[0]["turn-taking"].parts["shift-hold"].models.items()
    }
    assert models["prior"].value == pytest.approx(0.5)
    assert 0.5 < models["linear"].value < models["imitator"].low
    assert abs(models["imitator, shuffled labels"].value - 0.5) < 0.2


def test_results_say_which_space_and_which_model(results, model):
    for task in MAKING:
        result = results[0][task]
        part = result.parts["body"]
        assert part.kind == "motion" and result.imitator == Representation(model).digest and result.synthetic
        assert part.counts == {
            "train": 8 * TRAIN,
            "evaluation": 8 * TEST,
            "train_interactions": TRAIN,
            "evaluation_interactions": TEST,
        }
        assert part.space["missed"] < 1
        assert [path.name for path in results[1].iterdir()] == [f"motion-space-{part.space['digest']}.safetensors"]


def test_a_table_ranks_no_recording_and_no_other_input_and_nothing_of_another_space(results):
    result = results[0]["nonverbal-synthesis"]
    lines = [line.split(" | ") for line in table([("one", result)]).splitlines() if "| body |" in line]
    models = result.parts["body"].models
    ranked = [line[4] for line in lines if line[3].strip()]
    assert ranked == sorted(ranked, key=lambda name: models[name]["frechet"].value) and "mean-pose" in ranked
    assert {line[4] for line in lines if not line[3].strip()} == {
        "recorded",
        "linear, other input",
        "imitator, other input",
    }
    part = result.parts["body"]
    moved = replace(result, parts={"body": replace(part, space={**part.space, "digest": "0"})})
    with pytest.raises(IncomparableResults, match="space of motion"):
        table([("one", result), ("other", moved)])


def test_the_command_line_measures_in_a_space_that_it_writes(few, model, tmp_path, monkeypatch):
    def invoke(*arguments):
        return CliRunner().invoke(app, ["benchmark", *map(str, arguments), "--quiet"])

    less = {"resamples": 4, "shuffles": 0}
    monkeypatch.setattr(evaluation, "run_all", partial(run_all, **less))
    run(TASKS["behaviour-generation"], few, imitator=model, keep_motion_space_in=tmp_path / "before", **less)
    (space,) = (tmp_path / "before").iterdir()
    model.save_pretrained(tmp_path / "run")
    data = few._storage.described["url"]
    path = tmp_path / "results" / "one.json"
    done = invoke("nonverbal-synthesis", "--data", data, "--output", path)
    assert done.exit_code == 0, done.output
    assert (path.parent / space.name).exists()  # it follows from train alone, whatever is measured
    options = ("--data", data, "--motion-space", space, "--output", tmp_path / "two.json")
    assert invoke("nonverbal-synthesis", *options).exit_code == 0
    assert invoke("table", path, tmp_path / "two.json").exit_code == 0
    assert [one.name for one in tmp_path.glob("motion-space*")] == []  # one that was given is not written again
    done = invoke("emotion", "--data", data, "--model", tmp_path / "run", "--output", path)
    assert done.exit_code == 0 and read_results(path)[0].imitator == Representation(model).digest
    assert invoke("emotion", "--data", data, "--model", tmp_path / "none").exit_code != 0


def test_without_torch_the_extra_is_named(few, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    with pytest.raises(MissingDependency, match=r"seamless-interaction\[torch\]"):
        run(TASKS["nonverbal-synthesis"], few)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingDependency, match=r"seamless-interaction\[features\]"):
        run(TASKS["nonverbal-synthesis"], few)


def test_the_presets_can_be_measured():
    assert {ImitatorConfig.preset(name).fps for name in PRESETS} == {30}
