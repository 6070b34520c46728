"""What the README has users type works as written."""

import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path

import datasets
import pytest
from conftest import WITHOUT_TORCH
from servers import Bucket, Hub, use_hub
from typer.main import get_command
from typer.testing import CliRunner

import seamless_interaction
from seamless_interaction import ARRAYS, ISSUES, MODALITIES, SUBSETS
from seamless_interaction.cli import app
from seamless_interaction.errors import BadFile

ROOT = Path(seamless_interaction.__file__).parent
ERRORS = {error.code for error in BadFile.__subclasses__()}
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
CODES = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines() if line.strip()]
SCRIPT = "datasets 3.6 only"  # says the block that runs the builder as a script
HAS_SCRIPTS = datasets.__version__.startswith("3.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clone's root, as far as the commands see it, with demo-data as `make demo` leaves it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("seamless_interaction.py", "seamless_interaction", "configs", "dataset_infos.json"):
        (folder / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["demo.py"])
        runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    assert "Streamed 23 recordings" in printed.getvalue() and "body_pose [120, 21, 3]" in printed.getvalue()
    assert "synthetic" in printed.getvalue()
    return folder


@pytest.fixture(scope="module")
def bucket(folder):
    """The bucket of a user, which is a server here, with the demo's data; `folder` is where the user is."""
    with Bucket(folder / "demo-data") as bucket, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SEAMLESS_INTERACTION_SOURCE", bucket.url)
        patch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{bucket.url}/filelist.csv")
        yield bucket


@pytest.fixture(scope="module")
def commands(bucket):
    """Command -> what came of it."""
    results = {}
    for command in COMMANDS:
        program, *arguments = shlex.split(command, comments=True)
        if program == "seamless-interaction":  # the others run from a fresh clone, by .ci/run
            results[command] = CliRunner().invoke(app, arguments)
    return results


@pytest.fixture(scope="module")
def failures(folder, bucket, commands):
    """Python block -> its traceback, of those that fail where the commands were run."""
    found = {}
    with Hub(folder / "demo-tars") as tars, Hub(folder / "hub", "seamless/interaction") as published:
        for code in CODES:
            if SCRIPT in code and not HAS_SCRIPTS:
                continue
            names = {"__name__": "__main__"}
            try:
                with use_hub(published if published.repo in code else tars):
                    exec(code, names)
                    used = next(names[name] for name in ("stream", "ds", "loader", "dataset") if name in names)
                    assert next(iter(used))
            except Exception:
                found[code] = traceback.format_exc()
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(commands, command):
    if command.startswith("make"):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif command.startswith("pip"):
        assert command == "pip install ."
    else:
        run = commands[command]
        assert run.exit_code == 0, run.output
        assert run.stdout


@pytest.mark.parametrize("code", CODES)
def test_python_runs(failures, code):
    if SCRIPT in code and not HAS_SCRIPTS:
        pytest.skip("datasets 4 and later run no scripts")
    assert code not in failures, failures[code]


def test_the_installed_command_runs():
    env = {**WITHOUT_TORCH, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run("seamless-interaction --help", shell=True, env=env, capture_output=True, text=True)
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
