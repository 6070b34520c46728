"""The examples do what they say."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from seamless_interaction.synthetic import files
from seamless_interaction.synthetic.media import empty_mp4

torch = pytest.importorskip("torch", reason="torch is optional")

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def train_turn_taking(one_thread):
    """Runs in this process, which may have imported torch before."""
    spec = importlib.util.spec_from_file_location("train_turn_taking", EXAMPLES / "train_turn_taking.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    yield example
    torch.use_deterministic_algorithms(False)


def test_training_resumes_to_the_same_weights_and_learns_the_planted_rule(
    train_turn_taking, tmp_path, monkeypatch, capsys
):
    """Takes 8 s: with less data, or one epoch, what it learns is hardly more than what an untrained model guesses."""
    folder = tmp_path / "turn-taking"
    monkeypatch.setattr(files, "_write_video", lambda path, recording: path.write_bytes(empty_mp4()))
    options = ["--interactions", "12", "--epochs", "2", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["train_turn_taking.py", str(folder), *options])
    train_turn_taking.main()
    printed = capsys.readouterr().out
    assert "synthetic" in printed and "planted" in (folder / "SYNTHETIC.md").read_text()
    left = re.search(r"Resumed after \d+ steps: epoch 1, (\d+) windows of it left", printed)
    assert left and int(left[1]) > 0
    assert "weights are equal, bit for bit" in printed
    scores = dict(re.findall(r"^(majority|model) +[\d.]+ +([\d.]+)$", printed, re.MULTILINE))
    assert float(scores["majority"]) == 0.5
    assert float(scores["model"]) > 0.6


def test_training_does_not_take_other_data_for_its_own(train_turn_taking, tree, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_turn_taking.py", str(tree)])
    with pytest.raises(SystemExit, match="this did not make it"):
        train_turn_taking.main()
