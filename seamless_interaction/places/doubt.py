"""Whose fault it is that bytes are no file of the dataset: the file's, or the host's that sends something else.

Reading and downloading ask the same. Before any of this, ``answers`` lets nothing through that is not what was asked
for by its length, range and coding, or that is a page; and ``Place.read`` compares what comes with what the host tells.
"""

from __future__ import annotations

import hashlib
import threading

from seamless_interaction.errors import EmptyFile, MissingFile, NonFinite, NoVideoStream, SourceUnreachable, WrongType
from seamless_interaction.places.place import Place

# What a file may be without being damaged: no host makes it of another.
UNDOUBTED = (EmptyFile, MissingFile, NonFinite, NoVideoStream, WrongType)
_BEGINNING = 1 << 16  # bytes by which files are compared


class Doubt:
    """The damaged files of a place so far, by their content. Several threads may ask at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, str] = {}  # content -> path of the first file that had it
        self.repeated: set[str] = set()  # content that came for several files

    def about(self, place: Place, path: str) -> None:
        """Look at a file that is not what it should be. Raises as ``compare``."""
        begin = place.read(path, 0, _BEGINNING)
        self.compare(place, path, f"{place.stat(path, is_sized=False).size} {hashlib.sha256(begin).hexdigest()}")

    def compare(self, place: Place, path: str, content: str) -> None:
        """Compare a file that is not what it should be with those before.

        Args:
            content: its digest.

        Raises:
            SourceUnreachable: it has the very bytes of another: a host that answers everything with one message, as for
                a login.
        """
        with self._lock:
            first = self._seen.setdefault(content, path)
            if first != path:
                self.repeated.add(content)
        if first != path:
            raise SourceUnreachable(
                f"{place.path(path)}: the host sends the same bytes for it as for {first}, and they are neither. Does "
                "it want a login?"
            )
