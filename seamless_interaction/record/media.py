"""Which of the media that a published row names may be opened."""

from __future__ import annotations

import os
import re

from seamless_interaction.places.ranges import REFUSED

_VIDEO_PATH = re.compile(r"hf://datasets/(?:[\w.-]+/)?[\w.-]+@main/(video/[^/.]+/[^/.]+/[^/]+\.mp4)")


def media_path(folder: str, path: str) -> str:
    """Where the media open that a row names, and does not hold.

    Args:
        folder: the published one, whose videos need not have been pushed; "" for none.
        path: what the row says, which may be anything: only a video of a repository is opened (``files.REFUSED``).
    """
    match = _VIDEO_PATH.fullmatch(path)
    if match is None:
        return REFUSED + path
    file = os.path.join(folder, *match[1].split("/"))
    return file if folder and os.path.isfile(file) else path
