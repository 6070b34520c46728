"""Every number is done once, whoever does it; what dies or fails ends as it should, and leaves no process behind."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import datasets
import psutil
import pytest
from attempts import Unloadable, attempt, died, finish, pool, unpicklable
from conftest import hears_interrupts

from seamless_interaction import errors
from seamless_interaction.errors import SeamlessInteractionError, UnknownName, UsageError
from seamless_interaction.work.executors import in_pool, in_process, on_datatrove

HERE = Path(__file__).parent

# Nothing here depends on the version of `datasets`, and every process takes seconds to start: once is enough.
pytestmark = pytest.mark.skipif(int(datasets.__version__.split(".")[0]) < 5, reason="the same on every version")


@pytest.fixture(scope="module", autouse=True)
def light(tmp_path_factory):
    """Other processes get the executors without the rest of the package, whose imports take each two seconds."""
    folder = tmp_path_factory.mktemp("light")
    for package in ("seamless_interaction", "seamless_interaction/work", "datasets"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    for module in ("errors.py", "work/executors.py"):
        (folder / "seamless_interaction" / module).symlink_to(Path(errors.__file__).parent / module)
    (folder / "datasets" / "exceptions.py").write_text("class DatasetGenerationError(Exception): ...\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{HERE}")
        yield


def pids(folder):
    return [int(path.read_text()) for path in sorted(folder.glob("*.pid"))]


def alive(folder):
    return [pid for pid in pids(folder) if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def wait_for(condition):
    while not condition():
        time.sleep(0.01)


# --- here -----------------------------------------------------------------------------------------


def test_in_process_does_one_after_the_other_and_only_what_is_asked_for(tmp_path):
    results = in_process(partial(attempt, tmp_path), [3, 1, 2])
    assert next(results) == 9 and len(pids(tmp_path)) == 1
    assert list(results) == [1, 4] and set(pids(tmp_path)) == {os.getpid()}


# --- a pool ---------------------------------------------------------------------------------------


def test_a_pool_returns_what_ends_first_and_closing_it_leaves_no_process(tmp_path):
    results = pool(tmp_path, [7, 1, 2, 8], sleep={7: 600, 8: 600})
    assert [next(results), next(results)] == [1, 4]
    wait_for(lambda: len(pids(tmp_path)) == 4)
    assert len(alive(tmp_path)) == 4 and len(set(pids(tmp_path))) == 2
    results.close()
    assert not alive(tmp_path)


def test_a_pool_does_each_number_once_and_begins_no_more_than_it_has_processes_for(tmp_path):
    results = pool(tmp_path, range(20))
    first = next(results)
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    spawned = [child for child in living if "spawn_main" in " ".join(child.cmdline())]
    assert len(spawned) == 2
    time.sleep(0.3)  # for them to begin what they must not
    assert len(pids(tmp_path)) <= 1 + 2
    assert sorted([first, *results]) == [number * number for number in range(20)]
    assert os.getpid() not in pids(tmp_path) and len(set(pids(tmp_path))) <= 2
    assert not alive(tmp_path)


def test_a_pool_without_numbers_starts_nothing(tmp_path):
    assert list(pool(tmp_path, [])) == []


def test_a_pool_needs_a_worker(tmp_path):
    with pytest.raises(UsageError, match="not 0"):
        pool(tmp_path, [1], workers=0)


def test_a_process_that_dies_takes_one_number_with_it_and_says_how(tmp_path):
    results = list(pool(tmp_path, range(8), kill={2: signal.SIGKILL, 3: signal.SIGSEGV}, leave={5: 7}))
    squares = [result for result in results if isinstance(result, int)]
    assert sorted(squares) == [0, 1, 16, 36, 49]
    how = dict(result for result in results if not isinstance(result, int))
    assert how[2] == "its process was killed by SIGKILL (out of memory?)"
    assert how[3].startswith("its process was killed by signal 11 (")
    assert how[5] == "its process ended with exit status 7" and len(how) == 3


def test_an_error_stops_a_pool_and_is_raised_here_with_its_traceback(tmp_path):
    results = pool(tmp_path, range(20), fail={1: partial(OSError, 28, "disk full")}, sleep={0: 600})
    with pytest.raises(OSError, match="disk full") as raised:
        list(results)
    assert "in fail\n" in str(raised.value.__cause__)
    assert sorted(path.stem for path in tmp_path.glob("*.pid")) == ["0", "1"] and not alive(tmp_path)


def test_an_error_that_does_not_unpickle_is_named(tmp_path):
    error = partial(UnknownName, "x", ["y"])  # its arguments are not those that `Exception` keeps
    with pytest.raises(SeamlessInteractionError, match=r"UnknownName: unknown name: 'x'\. Known: y\.") as raised:
        list(pool(tmp_path, [0], fail={0: error}))
    assert "in fail\n" in str(raised.value.__cause__)


def test_a_result_that_does_not_pickle_is_an_error(tmp_path):
    with pytest.raises((TypeError, AttributeError), match=r"pickle|get local object"):
        list(in_pool(unpicklable, [0], 1, partial(died, tmp_path)))


def test_a_process_that_cannot_start_is_an_error(tmp_path):
    with pytest.raises(SeamlessInteractionError, match="a worker process ended with exit status 5 before"):
        list(in_pool(partial(attempt, Unloadable()), range(20), 1, partial(died, tmp_path)))


CALLER = """
import sys
from pathlib import Path
from attempts import wait_for_ever

if __name__ == "__main__":
    wait_for_ever(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def call(tmp_path):
    """Starts a program, in a process group as from a terminal, that waits for a pool of two."""
    (tmp_path / "caller.py").write_text(CALLER)
    with ExitStack() as stack:

        def start(when):
            command = [sys.executable, tmp_path / "caller.py", tmp_path, when]
            program = subprocess.Popen(
                command, start_new_session=True, stderr=subprocess.PIPE, text=True, preexec_fn=hears_interrupts
            )
            stack.enter_context(program)
            stack.callback(program.kill)
            wait_for(lambda: len(pids(tmp_path)) == 2 or program.poll() is not None)
            assert program.poll() is None, program.stderr.read()
            return program

        yield start


@pytest.mark.parametrize("when", ["starting", "working"])
def test_ctrl_c_ends_a_pool_at_once_and_only_the_caller_speaks_of_it(tmp_path, call, when):
    caller = call(when)
    workers = psutil.Process(caller.pid).children()
    assert len(workers) == 2 + 1  # one of Python's own sees to what they share
    for worker in workers:  # a terminal tells all at once: only if it tells the caller last, each must be deaf to it
        worker.send_signal(signal.SIGINT)
    assert psutil.wait_procs(workers, timeout=0.3)[0] == []
    os.killpg(caller.pid, signal.SIGINT)
    _, said = caller.communicate(timeout=60)
    assert caller.returncode == -signal.SIGINT
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1, said
    psutil.wait_procs(workers, timeout=60)
    assert not any(worker.is_running() for worker in workers)


def test_no_process_outlives_a_caller_that_is_killed(tmp_path, call):
    caller = call("working")
    assert len(alive(tmp_path)) == 2
    caller.kill()
    caller.wait()
    wait_for(lambda: not alive(tmp_path))


# --- datatrove ------------------------------------------------------------------------------------

NUMBERS = [10, 11, 12, 13, 14]


def datatrove(kind, folder, numbers=NUMBERS, options=None, tasks=None, workers=2, **troubles):
    pytest.importorskip("datatrove")
    return on_datatrove(
        kind,
        partial(attempt, folder, **troubles),
        numbers,
        partial(died, folder),
        partial(finish, folder),
        tasks=tasks,
        workers=workers,
        folder=folder / "logs",
        options=options,
    )


def test_datatrove_does_each_number_and_then_finishes_every_time_it_is_asked(tmp_path):
    for workers in (2, 1):  # the markers of the first time do not count
        assert datatrove("local", tmp_path, tasks=2, workers=workers) == []
        assert len(set(pids(tmp_path))) == 2  # a process for each task
        (tmp_path / "10.pid").unlink()
    assert (tmp_path / "finished").read_text() == "10 11 12 13 14\n" * 2
    assert len(list((tmp_path / "logs").iterdir())) == 2


def test_datatrove_goes_on_where_a_process_dies(tmp_path):
    datatrove("local", tmp_path, tasks=2, kill={10: signal.SIGKILL})
    assert (tmp_path / "10.died").read_text() == "its process was killed by SIGKILL (out of memory?)"
    assert (tmp_path / "finished").read_text() == "10 11 12 13 14\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_stops_datatrove_before_it_finishes(tmp_path, workers):
    with pytest.raises(OSError, match="disk full"):
        datatrove("local", tmp_path, NUMBERS[:2], workers=workers, fail={10: partial(OSError, 28, "disk full")})
    assert not (tmp_path / "finished").exists()
    wait_for(lambda: not alive(tmp_path))


def test_datatrove_without_numbers_only_finishes(tmp_path):
    datatrove("local", tmp_path, [])
    assert (tmp_path / "finished").read_text() == "\n"


# Slurm, for those who have none: jobs run while they are submitted, with what of Slurm's environment they look at.
SBATCH = """#!{python}
import json, os, re, subprocess, sys

*options, script = sys.argv[1:]
text = open(script).read()
last = int(re.search(r"^#SBATCH --array=0-(\\d+)", text, re.M)[1])
ends = []
for index in range(last + 1):
    environment = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(index), "SLURM_NODELIST": "here", "RUN_OFFSET": "0"}}
    ends.append(subprocess.run(["bash", script], env=environment, stdout=2).returncode)
with open({jobs!r}, "a+") as jobs:
    jobs.write(json.dumps([options, re.findall("^#SBATCH (.*)", text, re.M), ends]) + "\\n")
    jobs.seek(0)
    print("Submitted batch job", 100 + len(jobs.readlines()), "on cluster toy")
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Slurm's commands, and what was submitted: (options, what the script asks for, exit statuses of its tasks)."""
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "sbatch").write_text(SBATCH.format(python=sys.executable, jobs=str(tmp_path / "jobs")))
    (commands / "scontrol").write_text("#!/bin/sh\necho here\n")
    for command in commands.iterdir():
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")  # as if the environment were not activated
    return lambda: [json.loads(line) for line in (tmp_path / "jobs").read_text().splitlines()]


def test_slurm_gets_an_array_and_a_job_that_finishes(tmp_path, slurm):
    """Takes 5 s: jobs are processes of their own, which import datatrove."""
    options = {
        "partition": "main",
        "account": "we",
        "sbatch_args": {"nice": 5},
        "mem_per_cpu_gb": 3,
        "max_array_size": 2,
    }
    ids = datatrove("slurm", tmp_path, NUMBERS[:3], options, fail={11: ValueError}, kill={10: signal.SIGKILL})
    assert ids == ["101", "102"]
    (how, asks, ends), (how_last, asks_last, ends_last) = slurm()
    asked = {"partition=main", "account=we", "nice=5", "mem-per-cpu=3G", "cpus-per-task=1", "time=24:00:00"}
    assert {f"--{ask}" for ask in asked} < set(asks) & set(asks_last)
    assert not any("qos" in ask for ask in asks)
    # Three numbers in the two tasks that one array may have: 10 with 12. The task of 11 failed, and not the other.
    assert "--array=0-1%2" in asks and ends == [0, 1]
    assert (tmp_path / "10.died").exists() and how == ["--export=ALL,RUN_OFFSET=0"]
    assert how_last == ["--export=ALL,RUN_OFFSET=0", "--dependency=afterany:101"]
    assert "--array=0-0" in asks_last and ends_last == [0]
    assert (tmp_path / "finished").read_text() == "10 11 12\n"


def test_slurm_without_numbers_only_finishes(tmp_path, slurm):
    assert datatrove("slurm", tmp_path, [], options={"partition": "main"}) == ["101"]
    assert len(slurm()) == 1
    assert (tmp_path / "finished").read_text() == "\n"


def test_a_job_that_slurm_refuses_is_an_error(tmp_path, slurm):
    (tmp_path / "commands" / "sbatch").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UsageError, match=r"sbatch refused .*tasks/launch_script\.slurm \(exit status 3\)"):
        datatrove("slurm", tmp_path, options={"partition": "main"})


def test_slurm_needs_to_know_the_partition(tmp_path, slurm):
    with pytest.raises(UsageError, match="which partition"):
        datatrove("slurm", tmp_path)


def test_slurm_needs_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no sbatch"):
        datatrove("slurm", tmp_path, options={"partition": "main"})


@pytest.mark.parametrize(("kind", "option"), [("local", "start_methode"), ("local", "depends"), ("slurm", "tasks")])
def test_options_that_are_not_the_users_are_refused(tmp_path, slurm, kind, option):
    with pytest.raises(UnknownName, match=option):
        datatrove(kind, tmp_path, options={"partition": "main", option: 1} if kind == "slurm" else {option: 1})


@pytest.mark.parametrize(("kind", "module"), [("local", "datatrove"), ("ray", "ray")])
def test_what_is_not_installed_is_named_with_what_installs_it(tmp_path, monkeypatch, kind, module):
    if module == "ray":
        pytest.importorskip("datatrove")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"pip install '{module}"):
        on_datatrove(kind, abs, [1], print, print, folder=tmp_path)


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'slurm'"):
        on_datatrove("slrum", abs, [1], print, print, folder=tmp_path)
