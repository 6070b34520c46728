"""A few broken files of every format, the same ones each time; ``make fuzz`` tries others, for as long as one likes."""

import random

import pytest
from fuzz import tried
from fuzz.doors import doors

from seamless_interaction.errors import SeamlessInteractionError

TRIES = 2  # of each door; making what they open takes longer than these


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return doors(tmp_path_factory.mktemp("fuzz"))


def test_whatever_a_file_holds_it_is_read_or_a_named_error_says_why_not(known):
    """Takes 8 s: files of every format are written first, by a training and a publication too."""
    for name, door in known.items():
        door.open(door.folder)  # as it is
        for seed in range(TRIES):
            path, content, error = tried(door, random.Random(f"{seed} {name}"))
            if error is not None and not isinstance(error, SeamlessInteractionError):
                raise AssertionError(f"{name}, seed {seed}: {path.name}, {content[:200]!r}") from error
