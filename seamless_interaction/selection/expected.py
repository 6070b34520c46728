"""The numbers in ``configs``: the most a size may have, and what a recording of each vendor is expected to have."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from seamless_interaction import ANNOTATION_KINDS, EVERY_ARRAY, SUBSETS, VENDORS
from seamless_interaction.errors import SeamlessInteractionError, UnknownSubset
from seamless_interaction.source.ids import vendor_codes

_BESIDE = Path(__file__).parent.parent


class Limits(NamedTuple):
    """The most a size may have; None is no limit."""

    bytes: int | None
    recordings: int | None


class Means(NamedTuple):
    """What a recording of each vendor is expected to have (``configs/recordings.yaml``)."""

    bytes: dict[str, int]  # as downloaded from the bucket, everything that belongs to it
    seconds: dict[str, float]
    margin: float  # what bytes are multiplied by before they are held against a size
    video: dict[str, int]  # bytes of the MP4
    audio: dict[str, int]  # bytes of the WAV
    text: dict[str, int]  # bytes of a transcript, of voice activity, of annotations of one kind


def limits(subset: str) -> Limits:
    """The most that ``subset`` may have, from its file in ``configs``.

    Raises:
        UnknownSubset: not one of ``SUBSETS``.
        SeamlessInteractionError: the file is missing or does not hold these numbers.
    """
    if subset not in SUBSETS:
        raise UnknownSubset(subset, SUBSETS)
    name = f"{subset}.yaml"
    numbers = _read(name, {"bytes", "recordings"})
    for key, number in numbers.items():
        if number is not None and not (type(number) is int and number > 0):
            raise _broken(name, f"{key} is {number!r}, neither a positive whole number nor null")
    return Limits(**numbers)


def expected() -> Means:
    """What recordings are expected to weigh and to last, from ``configs/recordings.yaml``.

    Bytes are those of the bucket, where arrays are not compressed: video, audio, and the census's
    NPZ with what deflating had saved.

    Raises:
        SeamlessInteractionError: the file is missing or does not hold these numbers.
    """
    name = "recordings.yaml"
    numbers = _read(name, {"vendors", "deflate_saves", "text", "margin"})
    vendors = numbers["vendors"]
    if not isinstance(vendors, dict) or set(vendors) != set(VENDORS):
        raise _broken(name, f"vendors are not {', '.join(VENDORS)}")
    parts = {"video", "audio", "deflated", "seconds"}
    for vendor, means in vendors.items():
        if not isinstance(means, dict) or set(means) != parts or not all(_is_positive(mean) for mean in means.values()):
            raise _broken(name, f"{vendor} is {means!r}, not positive numbers for {', '.join(sorted(parts))}")
    text, kinds = numbers["text"], {"transcript", "vad", "annotation"}
    if not isinstance(text, dict) or set(text) != kinds or not all(_is_positive(size) for size in text.values()):
        raise _broken(name, f"text is {text!r}, not positive numbers for {', '.join(sorted(kinds))}")
    saved, margin = numbers["deflate_saves"], numbers["margin"]
    if not _is_positive(saved) or saved >= 1:
        raise _broken(name, f"deflate_saves is {saved!r}, not between 0 and 1")
    if not _is_positive(margin) or margin < 1:
        raise _broken(name, f"margin is {margin!r}, not 1 or more")
    return Means(
        bytes={
            vendor: round(means["video"] + means["audio"] + means["deflated"] / (1 - saved))
            for vendor, means in vendors.items()
        },
        seconds={vendor: float(means["seconds"]) for vendor, means in vendors.items()},
        margin=float(margin),
        video={vendor: round(means["video"]) for vendor, means in vendors.items()},
        audio={vendor: round(means["audio"]) for vendor, means in vendors.items()},
        text={kind: round(size) for kind, size in text.items()},
    )


_ROWS_A_SECOND = 30  # of an array with a row a frame, at the usual rate


_NPY_HEADER = 128


def expected_bytes_of_parts() -> dict[str, dict[str, int]]:
    """Expected bytes of each part of a recording, by vendor; arrays as the bucket has them, 0 for a vendor without.

    Video, audio and text are those of ``configs/recordings.yaml``, arrays follow from their shape and the mean
    duration. Without ``movement_v4``, of which this is a guess, they are within 3 % of what ``expected`` says of a
    whole recording.
    """
    means = expected()
    text = {"transcript": means.text["transcript"], "vad": means.text["vad"]}
    text |= dict.fromkeys(ANNOTATION_KINDS, means.text["annotation"])
    sizes = {"audio": means.audio, "video": means.video}
    sizes |= {part: dict.fromkeys(VENDORS, size) for part, size in text.items()}
    for key, array in EVERY_ARRAY.items():
        of_row = math.prod(array.shape) * np.dtype(array.dtype).itemsize
        sizes[key] = {
            vendor: _NPY_HEADER + math.ceil(means.seconds[vendor] * _ROWS_A_SECOND / array.frames_per_row) * of_row
            if vendor in array.vendors
            else 0
            for vendor in VENDORS
        }
    return sizes


def _is_positive(number: Any) -> bool:
    return type(number) in (int, float) and 0 < number < float("inf")


def configs_folder() -> Path:
    """Where the sizes are: inside this folder if installed from a wheel, beside it in a clone."""
    inside = _BESIDE / "configs"
    return inside if inside.is_dir() else _BESIDE.parent / "configs"


def configs_digest() -> str:
    """Changes when the numbers of a size do."""
    content = b"".join(path.read_bytes() for path in sorted(configs_folder().glob("*.yaml")))
    return hashlib.sha256(content).hexdigest()


@cache
def _content(path: Path) -> Any:
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _broken(path.name, str(error)) from error


def _read(name: str, keys: set[str]) -> dict[str, Any]:
    content = _content(configs_folder() / name)
    if not isinstance(content, dict) or set(content) != keys:
        raise _broken(name, f"does not have the keys {', '.join(sorted(keys))} and no others")
    return dict(content)


def _broken(name: str, reason: str) -> SeamlessInteractionError:
    return SeamlessInteractionError(f"{configs_folder() / name}: {reason}. Install this package again.")


def expected_bytes(filelist: pa.Table, parts: Iterable[str] | None = None) -> np.ndarray:
    """Expected bytes of each row (int64), as downloaded from the bucket, without the margin.

    ``parts`` are those that count, of ``layout.PARTS``; None is all that belongs to a recording.
    """
    by_vendor = expected().bytes
    if parts is not None:
        of_parts, parts = expected_bytes_of_parts(), list(parts)
        by_vendor = {vendor: sum(of_parts[part][vendor] for part in parts) for vendor in VENDORS}
    return np.array([by_vendor[vendor] for vendor in VENDORS], np.int64)[vendor_codes(filelist)]


def expected_seconds(filelist: pa.Table) -> np.ndarray:
    """Expected duration of each row (float64)."""
    by_vendor = expected().seconds
    return np.array([by_vendor[vendor] for vendor in VENDORS])[vendor_codes(filelist)]
