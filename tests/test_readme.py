"""What the README has users type works as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from typer.main import get_command

import seamless_interaction
from seamless_interaction import ARRAYS, ISSUES, MODALITIES, SUBSETS
from seamless_interaction.cli import app
from seamless_interaction.errors import BadFile

ROOT = Path(seamless_interaction.__file__).parent
ERRORS = {error.code for error in BadFile.__subclasses__()}
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clone's root, as far as the commands see it, with demo-data as `make demo` leaves it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("seamless_interaction.py", "seamless_interaction", "configs", "dataset_infos.json"):
        (folder / name).symlink_to(ROOT / name)
    demo = [sys.executable, str(ROOT / "examples" / "demo.py")]
    run = subprocess.run(demo, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Streamed 23 recordings" in run.stdout and "body_pose [120, 21, 3]" in run.stdout
    assert "synthetic" in run.stdout
    return folder


def environment(folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HF_MODULES_CACHE": str(folder / "modules")}


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "python"])
def test_python_runs(folder, code):
    if "datasets 3.6 only" in code and not datasets.__version__.startswith("3."):
        pytest.skip("datasets 4 and later run no scripts")
    code += "\nassert next(iter(globals().get('stream') or ds))\n"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


COMMANDS = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines() if line.strip()]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(folder, command):
    if command.startswith("make"):  # run from a fresh clone by .ci/run
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif command.startswith("pip"):
        assert command == "pip install ."  # run from a fresh clone by .ci/run
    else:
        run = subprocess.run(command, shell=True, cwd=folder, env=environment(folder), capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert run.stdout


def test_every_command_has_help_and_is_in_the_readme():
    for name, command in get_command(app).commands.items():
        assert command.help, name
        assert all(parameter.help for parameter in command.params if parameter.name != "help"), name
        assert f"seamless-interaction {name}" in README


def test_every_modality_and_size_is_in_the_readme():
    for name in [*MODALITIES, *SUBSETS]:
        assert f"`{name}`" in README, name
    for name in re.findall(r"`(\w+)` (?:and `\w+` )?\(T, [\d, ]+\)", README):
        assert name in {array.feature for array in ARRAYS.values()}, name


def test_local_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_every_issue_is_in_the_readme():
    for code, meaning in ISSUES.items():
        assert f"| `{code}` | {meaning} |" in README
    assert list(ISSUES)[:8] == list(dict.fromkeys(code for code in ISSUES if code in ERRORS))
