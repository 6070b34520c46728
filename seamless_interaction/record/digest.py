"""What prepared records depend on besides the data: the code that makes them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

# Modules and rooms that have a part in a record, besides the script.
_MAKERS = ("errors.py", "opening.py", "places/*.py", "formats/*.py", "source/*.py", "selection/*.py", "record/*.py")


@cache
def code_digest(*more: str) -> str:
    """Changes when code does that makes records.

    Args:
        more: what else has a part in it, as patterns of paths below the package's folder.
    """
    import seamless_interaction

    (folder,) = seamless_interaction.__path__
    paths = [Path(seamless_interaction.__file__)]
    for pattern in (*_MAKERS, *more):
        paths += sorted(Path(folder).glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
