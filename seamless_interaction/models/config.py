"""Sizes of an ``ImitatorModel``, and what its ``config.json`` says."""

from __future__ import annotations

from dataclasses import dataclass, fields

from seamless_interaction import ARRAYS, SAMPLING_RATE
from seamless_interaction.errors import ForeignCheckpoint, UnknownPreset, UsageError

FORMAT = "seamless-interaction-imitator"
FORMAT_VERSION = 2  # of the saved weights: 1 more whenever older ones would not mean the same

# Rotations of a frame, in this order: column of a sample -> how many joints.
JOINTS = {
    key: ARRAYS[key].shape[0] if len(ARRAYS[key].shape) == 2 else 1
    for key in ("smplh:global_orient", "smplh:body_pose", "smplh:left_hand_pose", "smplh:right_hand_pose")
}
NUM_JOINTS = sum(JOINTS.values())  # 52
FACE = "movement:expression"
FACE_SIZE = ARRAYS[FACE].shape[0]  # 128
MODALITIES = ("audio", "motion", "face", "text")
AHEAD = ((0.0, 0.2), (0.2, 0.6), (0.6, 1.2))  # seconds: the first of the bins of voice activity projection
TRACKED = "boxes_and_keypoints:is_valid_box"  # where it is false, rotations are plausible, and mean nothing
COLUMNS = ("audio", *JOINTS, TRACKED, FACE, "transcript")  # of a window, all that the model can use
_LARGEST = 1 << 20  # of any size; a model of that width would have 10**13 weights in one layer


@dataclass
class ImitatorConfig:
    """Sizes of a model. ``ImitatorConfig.preset("tiny")`` gives tried ones.

    Attributes:
        fps: frames a second of the grid that everything lies on; it must divide 48,000.
        mels: bands of the log-mel spectrum of a frame, from 60 Hz to 8 kHz.
        text_buckets: numbers that words are hashed to; 0 is "no word now".
        width: of a token, the D of a representation.
        heads: of every attention; they divide ``width``.
        fusion_layers: in which the modalities of one participant's frame meet.
        joint_layers: in which both participants meet, over time.
        decoder_layers: of the motion decoder.
        context: frames that one layer looks back, its own included. It bounds the cache, and so the cost of a step.
        dropout: in training.
        format_version: of the files; others are refused.
    """

    fps: int = 30
    mels: int = 40
    text_buckets: int = 1024
    width: int = 64
    heads: int = 4
    fusion_layers: int = 1
    joint_layers: int = 2
    decoder_layers: int = 2
    context: int = 60
    dropout: float = 0.0
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ForeignCheckpoint(
                f"a model of format version {self.format_version!r}; this release reads version {FORMAT_VERSION}. "
                "Load it with the release that wrote it."
            )
        for one in fields(self):
            value, kind = getattr(self, one.name), type(one.default)
            if type(value) not in (kind, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
                raise UsageError(f"{one.name} is {value!r}. Give {kind.__name__} from 0 to {_LARGEST:,}.")
        if min(self.mels, self.text_buckets, self.width, self.heads, self.context) < 1:
            raise UsageError("mels, text_buckets, width, heads and context are 1 or more.")
        if self.fps < 1 or SAMPLING_RATE % self.fps:
            raise UsageError(f"fps is {self.fps}. Give a whole number that divides {SAMPLING_RATE}, such as 30.")
        if self.width % (2 * self.heads):
            raise UsageError(f"width is {self.width}. Give a multiple of twice the {self.heads} heads.")

    @classmethod
    def preset(cls, name: str) -> ImitatorConfig:
        """``tiny`` trains in minutes on a laptop; ``small`` and ``base`` are for a GPU.

        Raises:
            UnknownPreset: there is no such preset.
        """
        if name not in PRESETS:
            raise UnknownPreset(name, PRESETS)
        return cls(**PRESETS[name])

    @property
    def samples_per_frame(self) -> int:
        """Of the 48 kHz sound."""
        return SAMPLING_RATE // self.fps


PRESETS: dict[str, dict[str, int]] = {
    "tiny": {},
    "small": {
        "mels": 80,
        "text_buckets": 8192,
        "width": 256,
        "heads": 8,
        "fusion_layers": 2,
        "joint_layers": 4,
        "decoder_layers": 4,
        "context": 120,
    },
    "base": {
        "mels": 80,
        "text_buckets": 32768,
        "width": 512,
        "heads": 8,
        "fusion_layers": 2,
        "joint_layers": 8,
        "decoder_layers": 8,
        "context": 240,
    },
}
