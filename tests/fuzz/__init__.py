"""Broken and hostile files through the public doors: whatever a file holds, it is read, or a named error says why not.

``mutations`` makes them, ``doors`` has a seed of every format and opens it, and ``python -m fuzz`` in ``tests``, or
``make fuzz MINUTES=30``, goes on for as long as one likes.
"""

import random
import shutil
import tempfile
from pathlib import Path

from .doors import Door


def tried(door: Door, rng: random.Random) -> tuple[Path, bytes, Exception | None]:
    """Break one file of a copy of a door's folder, and open that. Returns the file, its content, and what came."""
    path = rng.choice(door.paths)
    content = door.mutate(rng, path.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / door.folder.name
        shutil.copytree(door.folder, copy)
        (copy / path.relative_to(door.folder)).write_bytes(content)
        try:
            door.open(copy)
        except Exception as error:
            return path, content, error
    return path, content, None
