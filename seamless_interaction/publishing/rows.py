"""What a published row has: the builder's record, with its media in it or beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import numpy as np

from seamless_interaction import (
    EVERY_ARRAY,
    EVERY_MODALITY,
    HONESTY,
    IDENTITY,
    MASKS,
    MODALITIES,
    TIME,
    FileId,
    record_features,
)
from seamless_interaction.source.layout import tree_path

_URLS = {"audio": "audio_url", "video": "video_url"}
_BULK = ("audio", "video", *EVERY_ARRAY)  # columns that stand behind all others

# Of the recordings' table: summary -> what it is.
SUMMARY = {
    "speech_share": "share of the duration that `vad` covers",
    "num_segments": "segments of the transcript",
    "num_words": "words of the transcript",
    "num_annotations": "annotations of all kinds",
    "smplh_valid_share": "share of frames where `smplh:is_valid`",
    "box_valid_share": "share of frames where `boxes_and_keypoints:is_valid_box`",
    "movement_valid_share": "share of frames where `movement:is_valid`",
    "mean_arousal": "mean of `movement:emotion_arousal` where `movement:is_valid`",
    "mean_valence": "mean of `movement:emotion_valence` where `movement:is_valid`",
}
_SHARES = {
    "smplh_valid_share": "smplh:is_valid",
    "box_valid_share": "boxes_and_keypoints:is_valid_box",
    "movement_valid_share": "movement:is_valid",
}
_MEANS = {"mean_arousal": "movement:emotion_arousal", "mean_valence": "movement:emotion_valence"}


def shard_features(columns: Iterable[str]) -> datasets.Features:
    """The columns of a shard: those of a record, and the addresses of its media; text first, then arrays, then media.

    Args:
        columns: those asked for, besides identity, time and honesty.
    """
    columns = set(columns)
    known = {name: feature for name, feature in record_features(list(EVERY_MODALITY)).items() if name in columns}
    urls = {url: datasets.Value("string") for name, url in _URLS.items() if name in columns}
    small = {name: feature for name, feature in known.items() if name not in _BULK}
    arrays = {name: feature for name, feature in known.items() if name in EVERY_ARRAY}
    media = {name: feature for name, feature in known.items() if name in _URLS}
    return datasets.Features({**IDENTITY, **TIME, **urls, **small, **HONESTY, **arrays, **media})


def urls(base: str, label: str, split: str, file_id: str) -> dict[str, str]:
    """``audio_url`` and ``video_url``: where the public bucket has a recording's media."""
    return {url: f"{base}/{tree_path(label, split, part, file_id)}" for part, url in _URLS.items()}


def video_file(file_id: str) -> str:
    """Where the repository keeps a video: no folder has more of them than a session."""
    ids = FileId.parse(file_id)
    return f"video/{ids.vendor}/{ids.session}/{file_id}.mp4"


def video_path(repo_id: str, file_id: str) -> str:
    """What a video column says of it. The Hub's viewer plays such an address, of its own repository, and no other."""
    return f"hf://datasets/{repo_id}@main/{video_file(file_id)}"


# --- the table of recordings ----------------------------------------------------------------------

_SEGMENT = ("start", "end", "transcript")  # without words: they are three quarters of a recording's text


def recording_features(columns: Iterable[str]) -> datasets.Features:
    """The columns of the table of recordings: one small row each, no arrays."""
    shard = shard_features(columns)
    video = {"video": shard["video"], "partner_video": shard["video"]} if "video" in shard else {}
    text = {name: feature for name, feature in shard.items() if name not in (*_BULK, *IDENTITY, *TIME, *HONESTY)}
    if "segments" in text:
        text["segments"] = [{name: MODALITIES["transcript"]["segments"][0][name] for name in _SEGMENT}]
    counts = {
        name: datasets.Value("int64" if name.startswith("num_") else "float64")
        for name in SUMMARY
        if not (name in _SHARES and _SHARES[name] not in shard) and not (name in _MEANS and _MEANS[name] not in shard)
    }
    size = {"size": datasets.Value("string")}
    return datasets.Features({**IDENTITY, **size, **video, **TIME, **counts, **text, "issues": HONESTY["issues"]})


def recording_row(values: Mapping[str, Any], size: str, features: datasets.Features) -> dict[str, Any]:
    """A row of the table of recordings.

    Args:
        values: of a shard's row.
        size: the smallest that has the recording.
        features: ``recording_features``; of what was not asked for there is no column.
    """
    row = {name: values.get(name) for name in features}
    segments = row.get("segments")
    if segments is not None:
        row["segments"] = [{name: segment[name] for name in _SEGMENT} for segment in segments]
    row |= {name: value for name, value in _summary(values).items() if name in features}
    return {**row, "size": size}


def _summary(values: Mapping[str, Any]) -> dict[str, Any]:
    segments, vad, annotations = (values.get(name) for name in ("segments", "vad", "annotations"))
    summary: dict[str, Any] = {
        "speech_share": _speech_share(vad, values["duration"]),
        "num_segments": None if segments is None else len(segments),
        "num_words": None if segments is None else sum(len(segment["words"]) for segment in segments),
        "num_annotations": None if annotations is None else len(annotations),
    }
    for name, mask in _SHARES.items():
        summary[name] = _mean(values.get(mask))
    for name, key in _MEANS.items():
        array, valid = values.get(key), values.get(MASKS[key])
        is_one_grid = array is not None and valid is not None and len(array) == len(valid)
        summary[name] = _mean(array[valid.reshape(-1) != 0]) if is_one_grid else None  # type: ignore[index, union-attr]
    return summary


def _mean(array: np.ndarray | None) -> float | None:
    """None for nothing, and for what is not finite."""
    if array is None or not array.size:
        return None
    mean = float(array.mean(dtype=np.float64))
    return mean if np.isfinite(mean) else None


def _speech_share(vad: list[dict[str, float]] | None, duration: float | None) -> float | None:
    """Of stretches that do not overlap, as VAD's do not; what ends after the recording counts up to its end."""
    if vad is None or not duration:
        return None
    return sum(max(0.0, min(one["end"], duration) - max(0.0, one["start"])) for one in vad) / duration
