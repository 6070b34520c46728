"""The examples do what they say."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_training_resumes_to_the_same_weights_and_learns_the_planted_rule(tmp_path):
    """Takes 20 s: with less data, or one epoch, what it learns is hardly more than what an untrained model guesses."""
    pytest.importorskip("torch", reason="torch is optional")
    folder = tmp_path / "turn-taking"
    options = ["--interactions", "12", "--epochs", "2", "--workers", "1"]
    command = [sys.executable, str(EXAMPLES / "train_turn_taking.py"), str(folder)]
    run = subprocess.run([*command, *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "synthetic" in run.stdout and "planted" in (folder / "SYNTHETIC.md").read_text()
    left = re.search(r"Resumed after \d+ steps: epoch 1, (\d+) windows of it left", run.stdout)
    assert left and int(left[1]) > 0
    assert "weights are equal, bit for bit" in run.stdout
    scores = dict(re.findall(r"^(majority|model) +[\d.]+ +([\d.]+)$", run.stdout, re.MULTILINE))
    assert float(scores["majority"]) == 0.5
    assert float(scores["model"]) > 0.6


def test_training_does_not_take_other_data_for_its_own(tree, monkeypatch):
    pytest.importorskip("torch", reason="torch is optional")
    spec = importlib.util.spec_from_file_location("train_turn_taking", EXAMPLES / "train_turn_taking.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(sys, "argv", ["train_turn_taking.py", str(tree)])
    with pytest.raises(SystemExit, match="this did not make it"):
        example.main()
