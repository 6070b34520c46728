"""What the tests of the executors have called in other processes. Imports little, as each of them imports it."""

import os
import time
from functools import partial

from seamless_interaction.work.executors import in_pool


def attempt(folder, number, **troubles):
    """Leaves its process's id under its number, has the trouble meant for it, and returns its square."""
    (folder / f"{number}.part").write_text(str(os.getpid()))
    (folder / f"{number}.part").rename(folder / f"{number}.pid")
    for trouble, numbers in troubles.items():
        if number in numbers:
            return {"kill": kill, "leave": os._exit, "fail": fail, "sleep": time.sleep}[trouble](numbers[number])
    return number * number


def kill(signum):
    os.kill(os.getpid(), signum)


def fail(error):
    raise error()


def died(folder, number, how):
    (folder / f"{number}.died").write_text(how)
    return number, how


def finish(folder):
    """Writes down what was there at the end, once."""
    there = sorted(path.stem for path in folder.glob("*.pid"))
    with open(folder / "finished", "a") as file:
        print(*there, file=file)


def end(status):
    os._exit(status)  # by a name of its own: `coverage` exchanges the function, and its own cannot be pickled


class Unloadable:
    """Cannot be made again in another process."""

    def __reduce__(self):
        return end, (5,)


class Slow:
    """Is never done being made again in another process, which leaves its id."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return stay, (self.folder,)


def stay(folder):
    attempt(folder, os.getpid(), sleep={os.getpid(): 600})


def unpicklable(number):
    return lambda: number


def pool(folder, numbers, workers=2, **troubles):
    return in_pool(partial(attempt, folder, **troubles), numbers, workers, partial(died, folder))


def wait_for_ever(folder, when):
    """Two processes that never are ready, or never have done what they are to do."""
    if when == "starting":
        list(in_pool(partial(attempt, Slow(folder)), range(4), 2, died))
    list(pool(folder, range(4), sleep=dict.fromkeys(range(4), 600)))
