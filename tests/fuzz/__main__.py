"""``python -m fuzz --minutes 30 [door …]``, in ``tests``: what it finds lies in ``build/fuzz`` afterwards."""

import argparse
import logging
import random
import resource
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from seamless_interaction.errors import SeamlessInteractionError

from . import tried
from .doors import doors

FOUND = Path(__file__).parent.parent.parent / "build" / "fuzz"
SLOW, LARGE = 5.0, 500  # seconds, and MB of memory, that no file of ours may take


def main() -> int:
    """Try the doors in turn. Returns 1 if one let through what it should not."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("doors", nargs="*", help="all, if none is named")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    tries, found = Counter[str](), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as root:
        known = doors(Path(root))
        chosen = args.doors or list(known)
        for name in chosen:  # what is whole opens, and everything is imported
            known[name].open(known[name].folder)
        end = time.monotonic() + 60 * args.minutes
        seed = args.seed
        while time.monotonic() < end:
            for name in chosen:
                rng = random.Random(f"{seed} {name}")
                began, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                path, content, error = tried(known[name], rng)
                took, grown = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
                tries[f"{name}: {type(error).__name__ if error else 'read'}"] += 1
                what = None
                if error is not None and not isinstance(error, SeamlessInteractionError):
                    at = traceback.extract_tb(error.__traceback__)
                    own = [frame for frame in at if "seamless_interaction" in frame.filename] or at
                    what = f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"
                elif took > SLOW:
                    what = f"took {took:.0f} s"
                elif grown > LARGE * 1024:
                    what = f"took {grown // 1024} MB"
                if what:
                    found[name, what] += 1
                    if found[name, what] == 1:
                        FOUND.mkdir(parents=True, exist_ok=True)
                        kept = FOUND / f"{name.replace(' ', '-')}-{seed}-{path.name}"
                        kept.write_bytes(content)
                        print(f"{name}, seed {seed}: {what}: {error}\n    {kept}", flush=True)
            seed += 1
    for what, count in sorted(tries.items()):
        print(f"{count:7,} {what}")
    for (name, what), count in found.most_common():
        print(f"{count:7,} FOUND {name}: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
