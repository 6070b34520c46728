"""Who does the work: one call for each of many numbers, made here, by processes of this machine, or by datatrove.

Nothing here knows what a number stands for. The call (an ``Attempt``) leaves its product, and any failure, where others
find it. So work that is done can be told from work that is not without asking an executor, and the same numbers can be
given again after a kill.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from seamless_interaction.errors import SeamlessInteractionError, UnknownName, UsageError

T = TypeVar("T")
Attempt = Callable[[int], T]  # picklable; returns its failures, and raises only what must stop everything
Died = Callable[[int, str], T]  # what to return for a number whose process died, and how it died; picklable as well
Finish = Callable[[], object]  # picklable; once, after all numbers

KINDS = ("local", "ray", "slurm")

_SPAWN = get_context("spawn")  # a fork would inherit the locks of PyAV's and Arrow's threads, but not the threads
_PATIENCE = 10.0  # seconds for a process without work to close what it has open

# What datatrove would otherwise choose. Any command line that works here works in a job, if the disk is shared.
_SLURM: Mapping[str, Any] = {
    "time": "24:00:00",
    "cpus_per_task": 1,
    "mem_per_cpu_gb": 2,
    "qos": None,  # datatrove asks for one named "normal", which not every cluster has
    "max_array_size": 1001,  # Slurm's own default
    "with_srun": False,  # srun would bring nothing, and of Slurm 22.05 and later, one CPU
    "job_id_position": 3,  # "Submitted batch job 123", and on federations "on cluster x" after it
    "env_command": f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH",
}
# What `on_datatrove` sets itself.
_OURS = frozenset(
    "self pipeline tasks workers logging_dir skip_completed job_name depends depends_job_id run_on_dependency_fail "
    "local_tasks local_rank_offset".split()
)


def in_process(attempt: Attempt[T], numbers: Iterable[int]) -> Iterator[T]:
    """One after the other, here.

    Args:
        attempt: what to call with each number.
        numbers: of what there is to do.

    Returns:
        What the calls return, each as soon as it is there.

    Raises:
        Exception: whatever `attempt` raises.
    """
    return map(attempt, numbers)


# --- processes of this machine --------------------------------------------------------------------


def in_pool(attempt: Attempt[T], numbers: Sequence[int], workers: int, died: Died[T]) -> Generator[T, None, None]:
    """By several processes, each with one number at a time.

    A process that dies, as when the system needs its memory, takes one number with it, and another process comes in its
    place. Whatever ends the iteration, an error, Ctrl-C or ``close()``, ends all processes at once. They end by
    themselves if this one is killed.

    Args:
        attempt: what to call with each number. Its results are pickled.
        numbers: of what there is to do, in the order in which it is begun.
        workers: how many processes, at most.
        died: called here with a number whose process died, and how, as in "its process was killed by SIGKILL".

    Returns:
        What the calls return, in the order in which they end.

    Raises:
        UsageError: fewer than one worker.
        SeamlessInteractionError: a process ended before it could do anything.
        Exception: whatever `attempt` raises; its cause has the traceback of the other process.
    """
    if workers < 1:
        raise UsageError(f"workers must be 1 or more, not {workers}")
    return _in_pool(attempt, deque(numbers), workers, died)


def _in_pool(attempt: Attempt[T], left: deque[int], workers: int, died: Died[T]) -> Generator[T, None, None]:
    pool: list[_Worker[T]] = []
    try:
        for _ in range(min(workers, len(left))):
            pool.append(_Worker(attempt))
        while pool:
            heard = wait([worker.connection for worker in pool])
            for worker in [worker for worker in pool if worker.connection in heard]:
                try:
                    results = worker.receive()
                except _Death as death:
                    results = [died(death.number, death.how)]
                    pool.remove(worker)
                    if left:
                        pool.append(_Worker(attempt))
                else:
                    # Before the results go out: who takes them may take their time.
                    if left:
                        worker.give(left.popleft())
                    else:
                        worker.end()
                        pool.remove(worker)
                yield from results
    finally:
        for worker in pool:
            worker.end(patience=0)


class _Death(Exception):
    def __init__(self, number: int, how: str):
        self.number, self.how = number, how


class _Traceback(Exception):
    """The traceback of another process, as text: the cause of an error that comes from there."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class _Worker(Generic[T]):
    """A process, seen from the one that gives it numbers."""

    def __init__(self, attempt: Attempt[T]):
        self._ready = False
        self._number: int | None = None
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(attempt, theirs), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()  # or its end would not be seen

    def give(self, number: int) -> None:
        """Something to do, once it is ready."""
        self._number = number
        with suppress(OSError):  # it died meanwhile, as `receive` is about to see
            self.connection.send(number)

    def receive(self) -> list[T]:
        """The result of its number; none if all it has to say is that it is ready."""
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise self._death() from None
        if not self._ready:
            self._ready = True
            return []
        result, error, text = pickle.loads(message)
        if error is not None:
            raise error from _Traceback(text)
        return [result]

    def _death(self) -> _Death | SeamlessInteractionError:
        self._process.join()
        how = f"process {_how(self._process.exitcode or 0)}"
        if self._number is not None:
            return _Death(self._number, f"its {how}")
        return SeamlessInteractionError(
            f"a worker {how} before it could do anything; what it printed is above. "
            "A script that starts workers needs `if __name__ == '__main__':`."
        )

    def end(self, patience: float = _PATIENCE) -> None:
        """Has it end, within so many seconds."""
        self.connection.close()  # which ends it if it waits for a number
        if patience:
            self._process.join(patience)
        self._process.kill()
        self._process.join()


def _how(exitcode: int) -> str:
    if exitcode >= 0:
        return f"ended with exit status {exitcode}"
    if -exitcode == signal.SIGKILL:
        return "was killed by SIGKILL (out of memory?)"
    return f"was killed by signal {-exitcode} ({signal.strsignal(-exitcode)})"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that starts meanwhile never sees Ctrl-C: whoever started it ends it, without a word on the terminal."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which the first process would start, and let interrupts in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(attempt: Attempt[Any], connection: Connection) -> None:
    """What the other process does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send_bytes(b"ready")
    with suppress(EOFError, OSError):  # the other end is closed
        while True:
            connection.send_bytes(_outcome(attempt, connection.recv()))


def _end_with_parent() -> None:
    """A parent that is killed cannot end its children."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _outcome(attempt: Attempt[Any], number: int) -> bytes:
    """(result, error, its traceback), pickled."""
    try:
        return pickle.dumps((attempt(number), None, ""))
    except Exception as error:
        return pickle.dumps((None, _portable(error), "".join(traceback.format_exception(error))))


def _portable(error: Exception) -> Exception:
    """The error, or what can be said of it where it would not come through a pipe."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return SeamlessInteractionError(f"{type(error).__name__}: {error}")
    return error


# --- datatrove ------------------------------------------------------------------------------------


def on_datatrove(
    kind: str,
    attempt: Attempt[T],
    numbers: Sequence[int],
    died: Died[T],
    finish: Finish,
    *,
    tasks: int | None = None,
    workers: int | None = None,
    folder: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
) -> list[str]:
    """By tasks of datatrove: on this machine, on a Ray cluster, or as jobs of Slurm.

    Each of n tasks takes every n-th number, one after the other, in a process of its own, which takes but one number
    with it if it dies. datatrove's completion markers do not count: whatever is asked for is done. Results stay where
    `attempt` leaves them.

    Args:
        kind: ``"local"``, ``"ray"`` (the cluster that ``ray.init`` finds, or this machine) or ``"slurm"``.
        attempt: what to call with each number.
        numbers: of what there is to do.
        died: called by the task with a number whose process died, and how.
        finish: called once after all tasks: here, or for Slurm in a job, whether or not all tasks went well.
        tasks: among how many the numbers are divided; one for each number if None. Never more than Slurm lets an array
            have (`max_array_size`): the jobs of a second array would wait for all of the first.
        workers: how many tasks run at a time; all if None.
        folder: for datatrove's logs, a new folder in it for each run. On a cluster, on a disk that all nodes share.
        options: of datatrove's executor. For Slurm `partition` must be there, and what is not an option of datatrove's
            goes to ``sbatch``: `account`, `constraint`, `nodelist`.

    Returns:
        For Slurm, the ids of the jobs: of the array, and of the one that finishes. Otherwise nothing, when all is done.

    Raises:
        UsageError: no such kind or option; datatrove, Ray or Slurm is not here; Slurm refuses the job.
        SeamlessInteractionError: on Ray, tasks ended with an error. The others ran, `finish` was not called.
        Exception: locally, whatever `attempt` raises. It ends all tasks.
    """
    executor = _executor(kind)
    settings = _settings(kind, executor, dict(options or {}))
    tasks = min(len(numbers), tasks or len(numbers), settings.get("max_array_size", len(numbers)))
    make = partial(executor, skip_completed=False, **settings)
    logs = _logs(folder)
    task = _Task(attempt, numbers, died)
    if kind == "slurm":
        return _submit(make, task if numbers else None, tasks, workers, finish, logs)
    if numbers:
        _run(make(pipeline=[task], tasks=tasks, workers=min(workers or tasks, tasks), logging_dir=str(logs)), logs)
    # Not as a dependency of datatrove's, which after a task that failed would wait for its marker for ever.
    finish()
    return []


class _Task(Generic[T]):
    """A step of datatrove's pipelines."""

    def __init__(self, attempt: Attempt[T], numbers: Sequence[int], died: Died[T]):
        self._attempt, self._numbers, self._died = attempt, numbers, died

    def __call__(self, data: object, rank: int, world_size: int) -> None:
        # Not in datatrove's own process. Locally it would wait for one that is killed for ever, Ray forks it from one
        # with threads, and in a job the other numbers of the task would go unattempted.
        deque(in_pool(self._attempt, self._numbers[rank::world_size], 1, self._died), maxlen=0)

    def __repr__(self) -> str:  # datatrove logs it for each task
        return f"{self._attempt!r} for {len(self._numbers)} numbers"


def _finishing(finish: Finish, data: object, rank: int, world_size: int) -> None:
    finish()


def _executor(kind: str) -> Any:
    """datatrove's class for a kind."""
    if kind not in KINDS:
        raise UnknownName(kind, KINDS)
    _require("datatrove", "datatrove>=0.8")
    if kind == "ray":
        _require("ray", "ray[default]")
    if kind == "slurm" and shutil.which("sbatch") is None:
        raise UsageError("no sbatch on the PATH: this must run where Slurm's jobs are submitted, on a login node")
    from datatrove import executor

    return getattr(executor, f"{kind.capitalize()}PipelineExecutor")


def _require(module: str, requirement: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"this needs {module}, which is not installed: pip install '{requirement}'")


def _settings(kind: str, executor: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of datatrove's executor, from a user's options."""
    known = set(inspect.signature(executor).parameters) - _OURS
    others = sorted(options.keys() - known)
    if unknown := [name for name in others if kind != "slurm" or name in _OURS]:
        raise UnknownName(unknown, sorted(known))
    if kind != "slurm":
        return options
    if "partition" not in options:
        raise UsageError("which partition of the cluster? (`sinfo` lists them.) Give it as the option `partition`.")
    arguments = {name.replace("_", "-"): options.pop(name) for name in others}
    defaults = dict(_SLURM)
    if options.keys() & {"condaenv", "venv_path"}:
        del defaults["env_command"]  # which datatrove would prefer
    return {**defaults, **options, "sbatch_args": {**arguments, **options.get("sbatch_args", {})}}


def _logs(folder: str | os.PathLike[str]) -> Path:
    """A new folder: a job that still waits would read what a second run writes."""
    from seamless_interaction.places.write import local_path  # workers need none of what that imports

    folder = local_path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=folder))


def _run(executor: Any, logs: Path) -> None:
    executor.run()
    # Ray's executor returns even so.
    if failed := executor.get_incomplete_ranks(skip_completed=True):
        log = logs / "logs" / f"task_{failed[0]:05d}.log"
        raise SeamlessInteractionError(f"{len(failed)} of {executor.world_size} tasks ended with an error: see {log}")


def _submit(
    make: Callable[..., Any], task: _Task[Any] | None, tasks: int, workers: int | None, finish: Finish, logs: Path
) -> list[str]:
    """The ids of an array of jobs, if there is a task, and of the job that waits for its end."""
    jobs: list[str] = []
    if task:
        array = make(
            pipeline=[task],
            tasks=tasks,
            workers=workers or -1,
            job_name="seamless-interaction",
            logging_dir=str(logs / "tasks"),
        )
        jobs.append(_launch(array, jobs))
    last = make(
        pipeline=[partial(_finishing, finish)],
        tasks=1,
        job_name="seamless-interaction-finish",
        logging_dir=str(logs / "finish"),
        depends_job_id=jobs[0] if jobs else None,
        run_on_dependency_fail=True,
    )
    return [*jobs, _launch(last, jobs)]


def _launch(executor: Any, before: list[str]) -> str:
    executor.launch_merge_stats = _no_statistics
    try:
        executor.launch_job()  # `run` would take a job in which this is called for one of its own
    except subprocess.CalledProcessError as error:
        submitted = f" Submitted before: {', '.join(before)}." if before else ""
        script = executor.logging_dir.resolve_paths("launch_script.slurm")
        raise UsageError(
            f"sbatch refused {script} (exit status {error.returncode}); its reason is above.{submitted}"
        ) from error
    return str(executor.job_id)


def _no_statistics() -> None:
    """Not datatrove's job that adds up statistics: there are none, and after a failure it would wait for ever."""
