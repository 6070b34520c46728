"""Benchmarks: events where they were planted, figures against hand-worked ones, nobody on both sides of a split."""

import csv
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import needs
from typer.testing import CliRunner

from seamless_interaction import SAMPLING_RATE, TABLES, SeamlessDataset
from seamless_interaction.cli import app
from seamless_interaction.errors import (
    ForeignResults,
    IncomparableResults,
    MissingDependency,
    UnknownSplit,
    UnknownTask,
)
from seamless_interaction.evaluation import BASELINES, TASKS, read_results, run, table, tasks_of, write_results
from seamless_interaction.evaluation.metrics import METRICS, Prediction, Weighted, ccc, measure, with_intervals
from seamless_interaction.evaluation.seen import Seen, voice
from seamless_interaction.evaluation.splits import divide, person
from seamless_interaction.evaluation.turn_events import Event, merged, turn_events
from seamless_interaction.features import extract_features
from seamless_interaction.source.layout import tree_path
from seamless_interaction.source.notice import NOTICE
from seamless_interaction.synthetic.corpus import corpus, prompt_id
from seamless_interaction.synthetic.files import notice, tables
from seamless_interaction.synthetic.media import generator, write_wav

needs("sklearn")

# --- conversations with a planted rule ------------------------------------------------------------

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")

TRAIN, TEST, SECONDS = 10, 8, 60.0
FRAMES = round(SECONDS * 30)
SHOWN = ("audio", "vad", "smplh:body_pose")


def are_strangers(number):
    return number // 2 % 2 == 0


def plan(number):
    """Turns (who, start, end): after a long stretch the floor shifts, after a short one it is held.

    Strangers wait longer.
    """
    rng = generator(0, number, "plan")
    turns, who, start = [], 0, 0.2
    while True:
        shifts = rng.random() < 0.5
        end = start + (rng.uniform(2.4, 3.0) if shifts else rng.uniform(1.2, 1.6))
        if end > SECONDS - 1:
            return turns
        turns.append((who, round(start, 3), round(end, 3)))
        who, start = (
            who ^ int(shifts),
            end + (rng.uniform(0.7, 1.0) if are_strangers(number) else rng.uniform(0.3, 0.5)),
        )


def arrays(number, role, vendor):
    """A body that does not move; of V00, arousal that is how much one speaks in 4 s, and scores that follow from it."""
    body = {"smplh:body_pose": np.zeros((FRAMES, 21, 3), np.float32)}
    if vendor != "V00":
        return body
    rng = generator(0, number, role, "face")
    times = np.arange(FRAMES) / 30
    speaks = sum((times >= start) & (times < end) for who, start, end in plan(number) if who == role)
    share = np.repeat(speaks.reshape(-1, 120).mean(1), 120)
    scores = rng.normal(0, 0.1, (FRAMES, 8))
    scores[np.arange(FRAMES), np.where(share > 0.4, 5, 2)] += 1
    valid = np.ones((FRAMES, 1))
    valid[:120] = 0  # the first window
    valid[120:165] = 0  # 1.5 s of the second one, where arousal has no meaning
    arousal = np.where(valid[:, 0] > 0, share + rng.normal(0, 0.02, FRAMES), 9)
    noise = np.repeat(rng.normal(size=FRAMES // 120), 120)
    movement = {
        "emotion_arousal": arousal[:, None],
        "emotion_valence": noise[:, None],
        "emotion_scores": scores,
        "is_valid": valid,
    }
    return {**body, **{f"movement:{name}": values.astype(np.float32) for name, values in movement.items()}}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A tree of voice activity, bodies and, of V00, emotion, 60 s each. Synthetic."""
    root = tmp_path_factory.mktemp("planted")
    plain = corpus(1, seconds=SECONDS)
    recordings = []
    for number in range(TRAIN + TEST):
        vendor, split = f"V0{number % 2}", "train" if number < TRAIN else "test"
        people = [f"P{2 * number + role:04d}" for role in (0, 1)]
        if number == TRAIN:
            people[0] = "P0000A"  # whom train has as P0000
        prompt = prompt_id(0 if are_strangers(number) else 14)
        ids = [f"{vendor}_S{number:04d}_I{prompt}_{one}" for one in people]
        for role, (file_id, partner) in enumerate([ids, ids[::-1]]):
            known = {"file_id": file_id, "partner": partner, "split": split}
            recordings.append(replace(plain.recordings[role], **known))

            def place(part, file_id=file_id, split=split):
                path = root / tree_path("improvised", split, part, file_id)
                path.parent.mkdir(parents=True, exist_ok=True)
                return path

            vad = [{"start": start, "end": end} for who, start, end in plan(number) if who == role]
            place("vad").write_text("".join(json.dumps(record) + "\n" for record in vad))
            place("transcript").write_text("")
            for key, values in arrays(number, role, vendor).items():
                np.save(place(key), values)
    written = tables(replace(plain, recordings=recordings))
    for line in written["relationships.csv"]:
        line["relationship"] = "stranger" if are_strangers(int(line["session_id"])) else "familiar"
    for name, rows in written.items():
        with open(root / name, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    (root / NOTICE).write_text(notice(plain))
    return root


def measured(folder, task, **options):
    return run(TASKS[task], SeamlessDataset(folder), **{"groups": ("dyadic",), "resamples": 100, **options})


@pytest.fixture(scope="module")
def result(planted):
    return measured(planted, "turn-taking", models=BASELINES)


# --- events ---------------------------------------------------------------------------------------


def speech(*intervals):
    return merged([{"start": start, "end": end} for start, end in intervals], 100.0)


def test_a_shift_and_a_hold_are_found_with_their_predictions_and_the_long_turn():
    events = turn_events((speech((0, 5), (6, 8)), speech((8.5, 12))), 12.0)
    assert [event for event in events if event.part != "backchannel-prediction"] == [
        Event("shift-prediction", 4.75, 0, False),
        Event("shift-hold", 5.25, 0, False),
        Event("shift-prediction", 7.75, 0, True),
        Event("shift-hold", 8.25, 0, True),
        Event("short-long", 8.7, 1, False),
    ]


def test_a_backchannel_is_a_short_and_is_predicted_and_elsewhere_the_listener_is_known_to_be_silent():
    # Alone: 0 to 6 and 6.4 to 14, less 1 s behind where that begins and 2 s before it ends.
    assert turn_events((speech((0, 14)), speech((6, 6.4))), 14.0) == [
        Event("backchannel-prediction", 3.5, 1, False),  # between 3 s, where the first context ends, and 4 s
        Event("backchannel-prediction", 5.75, 1, True),
        Event("short-long", 6.2, 1, True),
        Event("backchannel-prediction", 9.7, 1, False),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (((0, 5),), ((5.2, 9),)),  # a silence of less than 0.25 s
        (((0, 5),), ((4.5, 4.7), (5.5, 9))),  # the other one spoke in the second before
        (((0, 3.9), (4.5, 5)), ((3.9, 4.4), (5.5, 9))),  # the last one spoke for less than a second
        (((0, 5), (6, 6.3)), ((5.5, 9),)),  # the first one answers within a second
        (((0, 5),), ((5.5, 6.4),)),  # the next one speaks for less than a second
        (((0, 2.5),), ((3, 9),)),  # within the first 3 s
    ],
)
def test_what_is_not_clean_is_no_shift(first, second):
    assert "shift-hold" not in {event.part for event in turn_events((speech(*first), speech(*second)), 12.0)}


def test_a_pause_of_the_same_speaker_counts_as_speech():
    """Without it, the last speaker would not have spoken for a second before 8 s."""
    events = turn_events((speech((0, 6.9), (7.3, 8)), speech((8.5, 12))), 12.0)
    assert Event("shift-hold", 8.25, 0, True) in events


def test_events_are_none_in_silence_and_none_without_time():
    assert turn_events((speech(), speech()), 60.0) == []
    assert turn_events((speech(), speech()), 0.0) == []


def test_nothing_that_comes_later_is_shown():
    before = voice(speech((1, 2), (4, 6)), 5.0)
    np.testing.assert_allclose(before, [1, 1, 0, 1, 1 / 3, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(before, voice(speech((1, 2), (4, 5.0001), (7, 9)), 5.0))


def test_features_up_to_a_time_do_not_know_what_comes_after_it(planted, tmp_path):
    """Twice the same conversation of 10 s, of which sound and body differ from 5 s on."""
    pytest.importorskip("librosa", reason="librosa is optional")
    ids = SeamlessDataset(planted, vendor="V01").interactions["recording_ids"][0].as_py()
    shown = []
    for version in range(2):
        root = tmp_path / str(version)
        for name in TABLES:
            root.mkdir(exist_ok=True)
            (root / name).write_bytes((planted / name).read_bytes())
        for file_id in ids:
            rng, later = generator(0, file_id), generator(version, file_id, "later")
            sound = [one.integers(-9000, 9000, 5 * SAMPLING_RATE, np.int16) for one in (rng, later)]
            body = np.concatenate([one.normal(0, 0.1, (150, 21, 3)) for one in (rng, later)])
            paths = {part: root / tree_path("improvised", "train", part, file_id) for part in SHOWN}
            for path in paths.values():
                path.parent.mkdir(parents=True, exist_ok=True)
            np.save(paths["smplh:body_pose"], body.astype(np.float32))
            paths["vad"].write_text("")
            with open(paths["audio"], "wb") as file:
                write_wav(file, 10 * SAMPLING_RATE, iter(sound))
        groups = ("prosody", "head", "gesture", "dyadic")
        seen = Seen(SeamlessDataset(root)[0], groups, None)
        shown.append([seen.before(time, 0, groups, (speech(), speech()))["features"] for time in (5.0, 5.1)])
    assert np.count_nonzero(shown[0][0]) > 40
    np.testing.assert_allclose(shown[0][0], shown[1][0], rtol=1e-4, atol=1e-4)
    assert not np.allclose(shown[0][1], shown[1][1], rtol=1e-2, atol=1e-2)


# --- figures --------------------------------------------------------------------------------------


def test_figures_of_two_classes_are_those_worked_by_hand():
    truth = np.array([1, 1, 1, 0, 0])
    told = np.array([1, 1, 0, 1, 0])
    score = np.array([0.9, 0.8, 0.3, 0.6, 0.2])
    made = measure("binary", truth, Prediction(told, np.stack([1 - score, score], 1), np.array([0, 1])))
    assert made["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert made["precision"] == made["recall"] == pytest.approx(2 / 3)
    assert made["weighted_f1"] == pytest.approx(3 / 5 * 2 / 3 + 2 / 5 * 1 / 2)
    assert made["auroc"] == pytest.approx(5 / 6)  # of six pairs, 0.3 is below 0.6


def test_figures_of_several_classes_are_those_worked_by_hand():
    truth = np.array(["a", "a", "b", "c"])
    probability = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.2, 0.7, 0.1], [0.5, 0.2, 0.3]])
    classes = np.array(["a", "b", "c"])
    made = measure("classes", truth, Prediction(classes[probability.argmax(1)], probability, classes))
    assert made["accuracy"] == pytest.approx(0.5)  # a, b, b, a
    assert made["uar"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert made["macro_f1"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    # a: ranks 1 and 3; b: rank 1; c: 0.3 twice, so precision 1/2 where it is found.
    assert made["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1 / 2) / 3)


def test_concordance_falls_with_the_mean_and_the_scale_and_is_1_only_for_the_same():
    truth, ones = np.array([1.0, 2.0, 3.0]), np.ones(3)
    assert ccc(truth, truth, ones) == pytest.approx(1)
    assert ccc(truth, truth + 1, ones) == pytest.approx(4 / 7)
    assert ccc(truth, 2 * truth - 2, ones) == pytest.approx(2 * 4 / 3 / (2 / 3 + 8 / 3))
    assert ccc(truth, np.full(3, 2.0), ones) == pytest.approx(0, abs=1e-12)
    assert ccc(ones, ones, ones) is None


def test_what_is_not_defined_is_none():
    truth = np.zeros(3, int)
    made = measure("binary", truth, Prediction(truth, np.ones((3, 1)), np.array([0])))
    assert made["auroc"] is made["precision"] is made["recall"] is None


@pytest.mark.parametrize("kind", ["binary", "classes", "regression"])
def test_figures_of_draws_are_those_of_scikit_learn(kind):
    """Whole weights are the same as samples that are there so often."""
    rng = np.random.default_rng(0)
    classes = np.arange(2 if kind == "binary" else 4)
    truth = rng.integers(len(classes), size=60)
    probability = rng.dirichlet(np.ones(len(classes)), 60).round(1)  # with ties
    prediction = Prediction(classes[probability.argmax(1)], probability, classes)
    if kind == "regression":
        truth, prediction = rng.normal(size=60), Prediction(rng.normal(size=60))
    weights = rng.integers(0, 4, 60)
    drawn = np.repeat(np.arange(60), weights)
    of_drawn = Prediction(*(None if one is None else one[drawn] for one in prediction[:2]), prediction.classes)
    assert Weighted(kind, truth, prediction)(weights.astype(float)) == pytest.approx(
        measure(kind, truth[drawn], of_drawn)
    )


def test_the_interval_has_the_truth_and_is_that_of_sessions_not_of_samples():
    """Samples of a session are all alike here, so that their number says nothing; the error is 1 on average."""
    rng = np.random.default_rng(1)
    ids = np.repeat(np.arange(50), 40)
    errors = np.repeat(rng.uniform(0, 2, 50), 40)
    settings = {"names": ["mae"], "resamples": 500, "seed": 0}
    figure = with_intervals("regression", errors, Prediction(np.zeros(2000)), ids, **settings)["mae"]
    assert figure.low < 1 < figure.high
    apart = with_intervals("regression", errors, Prediction(np.zeros(2000)), np.arange(2000), **settings)["mae"]
    assert figure.high - figure.low > 4 * (apart.high - apart.low)


def test_of_one_session_there_is_no_interval():
    figure = with_intervals("regression", np.ones(4), Prediction(np.zeros(4)), ["a"] * 4, ["mae"], resamples=9, seed=0)
    assert figure["mae"] == (1.0, None, None)


# --- splits ---------------------------------------------------------------------------------------


def row(name, split, *people):
    return {"interaction_id": name, "split": split, "participant_ids": list(people)}


def test_whoever_crosses_splits_is_not_measured():
    rows = [
        row("a", "train", "V00_P0001", "V00_P0002"),
        row("b", "test", "V00_P0002", "V00_P0003"),
        row("c", "test", "V01_P0002", "V01_P0003"),  # another vendor's are other people
        row("d", "test", "V00_P0001A", "V00_P0004"),  # perhaps the same person
        row("e", "dev", "V01_P0003", "V01_P0009"),
        row("f", "test", "V01_P0010"),
    ]
    assert divide(rows, "test") == (("a",), ("f",), 3)
    assert divide(rows, "dev") == (("a",), (), 1)
    assert person("V00_P1281A") == person("V00_P1281")


def test_a_split_that_is_not_there_or_is_learnt_from_is_refused():
    rows = [row("a", "train", "V00_P0001"), row("b", "test", "V00_P0002")]
    for split in ("dev", "train", "all"):
        with pytest.raises(UnknownSplit):
            divide(rows, split)


# --- measuring ------------------------------------------------------------------------------------


def test_linear_beats_the_prior_and_shuffled_labels_give_chance(result):
    for part in ("shift-hold", "shift-prediction"):
        models = {name: figures["balanced_accuracy"] for name, figures in result.parts[part].models.items()}
        assert list(models) == ["prior", "linear", "linear, shuffled labels"]
        assert models["prior"].value == pytest.approx(0.5)
        assert models["linear"].low > 0.7
        assert (
            models["linear, shuffled labels"].low < 0.5 < models["linear, shuffled labels"].high < models["linear"].low
        )
        assert abs(models["linear, shuffled labels"].value - 0.5) < 0.06


def test_a_result_says_what_it_was_measured_on(result):
    assert result.interactions == {"train": TRAIN, "evaluation": TEST - 1}
    assert result.left_out == {"participant in another split": 1}
    assert result.synthetic and result.split == "test" and result.groups == ["dyadic"]
    part = result.parts["shift-hold"]
    assert part.counts["evaluation"] == sum(part.classes.values()) > 100
    assert part.counts["evaluation_interactions"] == TEST - 1
    assert result.parts["short-long"].not_measured == "one class only to learn from: 0"


def test_a_run_is_the_same_again_and_the_prior_needs_no_features(planted, result):
    again = measured(planted, "turn-taking")
    assert again.groups == [] and list(again.parts["shift-hold"].models) == ["prior"]
    for name, part in result.parts.items():
        assert again.parts[name].digest == part.digest
    assert again.parts["shift-hold"].models["prior"] == result.parts["shift-hold"].models["prior"]


@pytest.mark.parametrize("task", TASKS)
def test_what_cannot_be_used_is_counted(broken, task):
    """Of a corpus with every defect, in 2 to 3 s each: less than an event needs, or a window of emotion."""
    made = measured(broken["tree"][0], task, models=BASELINES, resamples=5, shuffles=1)
    assert made.left_out
    if task == "understanding":
        assert made.left_out["one participant only"] >= 1 and made.left_out["relationship not known"] >= 1
        assert made.parts["relationship-50"].models["linear"]
    else:
        assert all(part.not_measured for part in made.parts.values())
    if task == "turn-taking":
        assert made.left_out["one participant only"] >= 1 and made.left_out["voice activity not known"] >= 1


def test_emotion_is_told_from_speech_where_it_follows_from_it_and_not_where_it_is_noise(planted):
    made = measured(planted, "emotion", models=BASELINES, shuffles=8)
    arousal, valence, scores = (made.parts[part].models for part in ("arousal", "valence", "scores"))
    assert arousal["linear"]["ccc"].low > 0.9 and arousal["prior"]["ccc"].value == pytest.approx(0, abs=1e-9)
    assert arousal["linear"]["mae"].high < arousal["prior"]["mae"].low
    assert arousal["linear, shuffled labels"]["ccc"].high < 0.3
    assert valence["linear"]["ccc"].low < 0.1
    assert scores["linear"]["uar"].low > 0.8 and scores["prior"]["uar"].value == pytest.approx(0.5)
    assert set(made.parts["scores"].classes) == {"2", "5"}  # numbers, and no names
    assert made.left_out["no valid movement"] == (TRAIN + TEST) // 2  # of V01


def test_windows_of_emotion_are_the_means_of_what_is_valid(planted):
    """Of 15 windows the first has no valid frame; in the second, what is invalid would raise arousal far above 1."""
    interaction = next(iter(SeamlessDataset(planted, vendor="V00")))
    samples = TASKS["emotion"].samples(Seen(interaction, (), None), (), Counter())
    samples = [one for one in samples if one.part == "arousal"]
    assert [one.time for one in samples] == 2 * list(np.arange(2, 16) * 4.0)
    assert max(one.target for one in samples) < 1.1


def test_relationship_and_type_are_told_from_the_beginning(planted):
    made = measured(planted, "understanding", models=BASELINES, shuffles=5)
    assert list(made.parts) == [
        f"{name}-{share}" for name in ("interaction-type", "relationship") for share in (10, 25, 50)
    ]
    for name, classes in {"interaction-type": {"ipc_conversation", "charades"}, "relationship": None}.items():
        part = made.parts[f"{name}-50"]
        assert set(part.classes) == (classes or {"stranger", "familiar"})
        assert part.models["linear"]["macro_f1"].low > part.models["prior"]["macro_f1"].high
        assert part.models["linear, shuffled labels"]["accuracy"].value < part.models["linear"]["accuracy"].low


def test_what_is_shown_of_the_beginning_does_not_depend_on_what_follows(planted):
    """Samples of 50 % of a conversation are those of 100 % of its half."""
    interaction = next(iter(SeamlessDataset(planted, vendor="V01")))
    seen = Seen(interaction, ("dyadic",), None)
    samples = TASKS["understanding"].samples(seen, ("dyadic",), Counter())
    shown = {one.part: one.shown["features"] for one in samples}
    assert not np.array_equal(shown["relationship-10"], shown["relationship-50"])
    features = extract_features(interaction, "dyadic", 25, 0.0, 15.0)
    whole = extract_features(interaction, "dyadic", 25)
    state = [whole[one]["dyadic:state"][:375].mean(0) for one in interaction.participants]
    np.testing.assert_allclose(shown["relationship-25"][:4], np.mean(state, 0), atol=1e-3)
    assert len(features.times) == 375


def test_transfer_learns_elsewhere_or_there(planted):
    made = measured(planted, "transfer", models=BASELINES, shuffles=0)
    elsewhere, there = (made.parts[f"shift-hold at V01, learnt {where}"] for where in ("elsewhere", "there"))
    assert elsewhere.counts["train_interactions"] == there.counts["train_interactions"] == TRAIN // 2
    assert elsewhere.train_digest != there.train_digest
    assert elsewhere.classes == there.classes and elsewhere.counts["evaluation_interactions"] == TEST // 2
    assert elsewhere.models["linear"]["balanced_accuracy"].low > 0.7
    assert made.parts["shift-hold at V02, learnt elsewhere"].not_measured == "no sample to measure on"


def test_every_protocol_says_all_that_one_must():
    for name, protocol in TASKS.items():
        assert protocol.name == name and name in README
        for text in (
            protocol.task,
            protocol.input,
            protocol.target,
            protocol.split,
            protocol.baselines,
            protocol.hides,
        ):
            assert len(text) > 15
        assert all(metric in METRICS for part in protocol.parts for metric in part.metrics)


def test_without_scikit_learn_the_extra_is_named(planted, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingDependency, match=r"seamless-interaction\[evaluation\]"):
        measured(planted, "turn-taking")


# --- files and tables -----------------------------------------------------------------------------


def test_results_are_read_as_they_were_written(tmp_path, result):
    write_results([result], tmp_path / "one.json")
    assert read_results(tmp_path / "one.json") == [result]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2}', '{"format": 1, "results": []}', '{"format": 2, "results": [{}]}']
)
def test_what_is_no_result_is_refused(tmp_path, text):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(ForeignResults):
        read_results(tmp_path / "one.json")
    with pytest.raises(ForeignResults):
        read_results(tmp_path / "none.json")


def test_a_table_has_the_best_first_and_controls_last(result):
    lines = [line for line in table([("mine", result)]).splitlines() if "| shift-hold |" in line]
    assert [line.split(" | ")[3:5] for line in lines] == [
        ["1", "linear"],
        ["2", "prior"],
        ["", "linear, shuffled labels"],
    ]
    assert "synthetic" in table([("mine", result)])


def test_a_table_of_unlike_data_is_refused(result):
    part = result.parts["shift-hold"]
    others = {
        "samples": replace(result, parts={**result.parts, "shift-hold": replace(part, digest="0")}),
        "split": replace(result, split="dev"),
        "version": replace(result, protocol=2),
    }
    for what, other in others.items():
        with pytest.raises(IncomparableResults, match=what):
            table([("mine", result), ("theirs", other)])
    both = table([("mine", result), ("theirs", replace(result, seed=1))])
    assert both.count("| shift-hold |") == 6 and "rows differ" not in both
    assert "shift-hold: rows differ in the groups" in table(
        [("mine", result), ("theirs", replace(result, groups=["a"]))]
    )


def test_an_unknown_task_is_named():
    with pytest.raises(UnknownTask, match="Did you mean 'turn-taking'"):
        tasks_of("turntaking")


def test_the_command_line_measures_and_makes_a_table(planted, tmp_path):
    def invoke(*arguments):
        return CliRunner().invoke(app, ["benchmark", *map(str, arguments)])

    path = tmp_path / "results.json"
    done = invoke("turn-taking", "--data", planted, "--output", path, "--quiet")
    assert done.exit_code == 0 and "| turn-taking | shift-hold |" in done.output
    assert invoke("table", path).output == done.output
    assert invoke("turn-taking", "--data", planted, "--groups", "dyadic").exit_code == 2  # without --baselines
    assert invoke("table").exit_code == invoke("all").exit_code == invoke("chess", "--data", planted).exit_code == 2
