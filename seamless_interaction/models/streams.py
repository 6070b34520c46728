"""What a model reads: samples, windows and batches as tensors on one frame grid, both participants, with masks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from seamless_interaction.errors import UsageError
from seamless_interaction.models.config import FACE, FACE_SIZE, JOINTS, TRACKED, ImitatorConfig
from seamless_interaction.models.rotations import to_matrix


@dataclass
class Streams:
    """Modalities of B conversations, of P = 2 participants, over T frames. What is masked has any value.

    Attributes:
        audio: (B, P, T, samples per frame) float32, the 48 kHz sound of each frame's own interval.
        motion: (B, P, T, 52, 3, 3) float32, rotation matrices in the order of ``JOINTS``.
        face: (B, P, T, 128) float32.
        text: (B, P, T) int64, the hashed word that is being spoken, 0 for none.
        has_audio, has_face, has_text: (B, P, T) bool.
        has_motion: (B, P, T, 4) bool, for each column of ``JOINTS``.
    """

    audio: Tensor
    motion: Tensor
    face: Tensor
    text: Tensor
    has_audio: Tensor
    has_motion: Tensor
    has_face: Tensor
    has_text: Tensor

    def map(self, function: Any) -> Streams:
        """The same function of each tensor."""
        return Streams(**{field.name: function(getattr(self, field.name)) for field in fields(self)})

    def frames(self, first: int, last: int) -> Streams:
        """Frames ``first`` to ``last``, exclusive."""
        return self.map(lambda tensor: tensor[:, :, first:last])

    def swapped(self, which: Tensor) -> Streams:
        """The other participant first, in the conversations where ``which``, (B,) bool, is true."""
        return self.map(lambda tensor: torch.where(which.view(-1, *[1] * (tensor.ndim - 1)), tensor.flip(1), tensor))

    def after(self, number: int) -> Streams:
        """With so many masked frames in front."""

        def put(tensor: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(tensor[:, :, :1].expand(-1, -1, number, *tensor.shape[3:])), tensor], 2)

        return self.map(put)

    @property
    def is_joint_there(self) -> Tensor:
        """(B, P, T, 52) bool: ``has_motion`` for each joint."""
        return of_joints(self.has_motion)


def of_joints(of_columns: Tensor) -> Tensor:
    """(..., 4), a value for each column of ``JOINTS``, as (..., 52), one for each joint."""
    parts = zip(of_columns.split(1, -1), JOINTS.values(), strict=True)
    return torch.cat([part.expand(*part.shape[:-1], count) for part, count in parts], -1)


def read(batch: Mapping[str, Any], config: ImitatorConfig, device: torch.device | str = "cpu") -> Streams:
    """Streams of a sample, a paired sample, or a batch of either; an absent partner is masked.

    Args:
        batch: as ``Windows`` gives and collates them, with ``fps=config.fps``. Columns that are not there are masked,
            and so are audio beyond its length, what is no number, motion where nobody is tracked, and whatever the
            masks of the batch say.

    Raises:
        UsageError: it lies on another grid, or an array has another shape.
    """
    lead = _leading_axes(batch)
    frames = _frames_of(batch, config)

    def pairs(value: Any) -> Tensor:
        tensor = torch.as_tensor(np.asarray(value) if not isinstance(value, Tensor) else value)
        if lead in ("sample", "batch"):
            tensor = tensor.unsqueeze(0 if lead == "sample" else 1)
        return tensor[None] if lead in ("sample", "pair") else tensor

    def column(name: str, shape: tuple[int, ...]) -> tuple[Tensor | None, Tensor | None]:
        if batch.get(name) is None:
            return None, None
        values = pairs(batch[name]).float()
        if tuple(values.shape[2:]) != (frames, *shape):
            raise UsageError(
                f"{name} is {tuple(values.shape[2:])} where {(frames, *shape)} was expected. Ask for windows with "
                f"fps={config.fps}."
            )
        mask = batch.get("mask", {}).get(name)
        known = torch.ones(values.shape[:3], dtype=torch.bool) if mask is None else pairs(mask).bool()
        return _without_gaps(values, known)

    rotations = [column(name, (3,) if count == 1 else (count, 3)) for name, count in JOINTS.items()]
    tracked, is_told = column(TRACKED, ())
    face, has_face = column(FACE, (FACE_SIZE,))
    audio, has_audio = _audio(batch, pairs, frames, config)
    words, has_text = _text(batch, lead, frames, config)
    number, people = pairs(torch.zeros(np.asarray(batch.get("id", "")).shape)).shape
    nothing = torch.zeros(number, people, frames, dtype=torch.bool)
    vectors, masks = [], []
    for (values, mask), count in zip(rotations, JOINTS.values(), strict=True):
        mask = nothing if mask is None else mask
        rows = torch.zeros(*mask.shape, count, 3) if values is None else values.reshape(*mask.shape, count, 3)
        if tracked is not None and is_told is not None:
            mask = mask & ((tracked > 0) | ~is_told)
        vectors.append(torch.where(mask[..., None, None], rows, 0.0))
        masks.append(mask)
    streams = Streams(
        audio=torch.zeros(number, people, frames, config.samples_per_frame) if audio is None else audio,
        motion=torch.cat(vectors, 3),
        face=torch.zeros(number, people, frames, FACE_SIZE) if face is None else face,
        text=torch.zeros(number, people, frames, dtype=torch.int64) if words is None else words,
        has_audio=nothing if has_audio is None else has_audio,
        has_motion=torch.stack(masks, -1),
        has_face=nothing if has_face is None else has_face,
        has_text=nothing if has_text is None else has_text,
    ).map(lambda tensor: tensor.to(device, non_blocking=True))
    if people == 1:
        streams = streams.map(lambda tensor: torch.cat([tensor, torch.zeros_like(tensor)], 1))
    streams.motion = to_matrix(streams.motion)
    return streams


def _leading_axes(batch: Mapping[str, Any]) -> str:
    """What the arrays' leading axes are: of a ``sample`` none, of a ``pair`` P, of a ``batch`` B, of ``pairs`` B, P."""
    ids = batch.get("id")
    if not isinstance(ids, list):
        return "sample"
    if not isinstance(ids[0], str):
        return "pairs"
    return "batch" if isinstance(batch.get("interaction_id"), list) else "pair"


def _frames_of(batch: Mapping[str, Any], config: ImitatorConfig) -> int:
    def first(value: Any) -> float:
        return float(np.asarray(value).ravel()[0])

    if "duration" in batch:
        return round(first(batch["duration"]) * config.fps)
    for name in (*JOINTS, FACE):
        if batch.get(name) is not None:
            return len(batch[name])
    if batch.get("audio") is not None:
        return len(batch["audio"]) // config.samples_per_frame
    raise UsageError("a sample without a duration, and without audio or motion to tell it.")


def _audio(
    batch: Mapping[str, Any], pairs: Any, frames: int, config: ImitatorConfig
) -> tuple[Tensor | None, Tensor | None]:
    """(B, P, T, samples per frame), and which frames have samples of their own to the end."""
    if batch.get("audio") is None:
        return None, None
    step = config.samples_per_frame
    samples = pairs(batch["audio"]).float()
    if samples.ndim != 3:
        raise UsageError("audio with several channels. Ask for windows with paired=True instead of stereo.")
    length = batch.get("length", {}).get("audio")
    own = torch.full(samples.shape[:2], samples.shape[-1]) if length is None else pairs(length)
    samples = pad(samples[..., : frames * step], (0, max(0, frames * step - samples.shape[-1])))
    ends = torch.arange(1, frames + 1) * step
    return _without_gaps(samples.unflatten(-1, (frames, step)), ends <= own[..., None])


def _without_gaps(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, P, T, …) and its (B, P, T) mask, where what is no number is 0 and masked."""
    finite = values.isfinite().reshape(*mask.shape, -1).all(-1)
    if not finite.all():
        values, mask = values.nan_to_num(0.0, 0.0, 0.0), mask & finite
    return values, mask


def _text(
    batch: Mapping[str, Any], lead: str, frames: int, config: ImitatorConfig
) -> tuple[Tensor | None, Tensor | None]:
    if "words" not in batch:
        return None, None

    def pairs(value: Any) -> Any:
        if lead in ("sample", "batch"):
            value = [value] if lead == "sample" else [[one] for one in value]
        return [value] if lead in ("sample", "pair") else value

    words = pairs(batch["words"])
    missing = object()
    texts = pairs(batch["transcript"]) if "transcript" in batch else [[missing] * len(both) for both in words]
    numbers = np.stack([np.stack([on_grid(one or (), frames, config) for one in both]) for both in words])
    known = torch.tensor([[text is not None for text in both] for both in texts])
    return torch.from_numpy(numbers), known[..., None].expand(-1, -1, frames).clone()


def on_grid(words: Sequence[Mapping[str, Any]], frames: int, config: ImitatorConfig) -> np.ndarray:
    """The number of the word that is being spoken in each frame, (T,) int64; 0 for none.

    A word counts from its start on, although all of it is only known at its end: text is a script. A word has one
    frame at least; one without times has none.
    """
    numbers = np.zeros(frames, np.int64)
    for word in words:
        if word["start"] is not None and word["end"] is not None:
            first = max(0, int(np.floor(word["start"] * config.fps + 1e-6)))
            last = max(first + 1, int(np.ceil(word["end"] * config.fps - 1e-6))) if word["end"] > 0 else 0
            numbers[first:last] = number_of(word["word"], config.text_buckets)
    return numbers


def number_of(word: str, buckets: int) -> int:
    """A word's bucket, from 1 on: the CRC-32 of its letters, lower case, without punctuation around them."""
    return zlib.crc32(word.lower().strip(".,;:!?\"'()[]… ").encode()) % (buckets - 1) + 1
