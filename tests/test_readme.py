"""What the README has users type works as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from servers import Bucket, Hub
from typer.main import get_command

import seamless_interaction
from seamless_interaction import ARRAYS, ISSUES, MODALITIES, SUBSETS
from seamless_interaction.cli import app
from seamless_interaction.errors import BadFile

ROOT = Path(seamless_interaction.__file__).parent
ERRORS = {error.code for error in BadFile.__subclasses__()}
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clone's root, as far as the commands see it, with demo-data as `make demo` leaves it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("seamless_interaction.py", "seamless_interaction", "configs", "dataset_infos.json"):
        (folder / name).symlink_to(ROOT / name)
    demo = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )
    assert demo.returncode == 0, demo.stderr
    assert "Streamed 23 recordings" in demo.stdout and "body_pose [120, 21, 3]" in demo.stdout
    assert "synthetic" in demo.stdout
    return folder


@pytest.fixture(scope="module")
def world(folder):
    """The environment of a user, for whom the bucket and the Hub are servers here, with the demo's data."""
    with Bucket(folder / "demo-data") as bucket:
        env = {
            **environment(folder),
            "SEAMLESS_INTERACTION_SOURCE": bucket.url,
            "SEAMLESS_INTERACTION_FILELIST": f"{bucket.url}/filelist.csv",
        }
        results = {
            command: subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True)
            for command in COMMANDS
            if command.split()[0] not in ("make", "pip")  # these run from a fresh clone, by .ci/run
        }
        with Hub(folder / "demo-tars") as tars, Hub(folder / "hub", "seamless/interaction") as published:
            online = {**env, "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
            hubs = {hub.repo: {**online, "HF_ENDPOINT": hub.url} for hub in (tars, published)}
            yield hubs, results


def environment(folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    modules = str(folder / "modules")
    # Without torch, which takes seconds to import, unless what runs is about it.
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HF_MODULES_CACHE": modules, "USE_TORCH": "0"}


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "python"])
def test_python_runs(folder, world, code):
    if "datasets 3.6 only" in code and not datasets.__version__.startswith("3."):
        pytest.skip("datasets 4 and later run no scripts")
    hubs, _ = world
    env = next((env for repo, env in hubs.items() if repo in code), next(iter(hubs.values())))
    if "torch" in code:
        env = {**env, "USE_TORCH": "AUTO"}
    code += "\nassert next(iter(next(globals()[n] for n in ('stream', 'ds', 'loader', 'dataset') if n in globals())))\n"
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(world, command):
    if command.startswith("make"):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif command.startswith("pip"):
        assert command == "pip install ."
    else:
        run = world[1][command]
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
