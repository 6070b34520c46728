"""ImitatorModel: encode a conversation, generate motion for one of its participants, save and load."""
# No postponed annotations here: PyTorchModelHubMixin reads that of `config` to make one of a config.json.

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from seamless_interaction import SAMPLING_RATE
from seamless_interaction.errors import (
    ForeignCheckpoint,
    SeamlessInteractionError,
    UnsafeCheckpoint,
    UsageError,
)
from seamless_interaction.models.card import CARD
from seamless_interaction.models.config import (
    AHEAD,
    FACE,
    FACE_SIZE,
    FORMAT,
    FORMAT_VERSION,
    JOINTS,
    MODALITIES,
    NUM_JOINTS,
    ImitatorConfig,
)
from seamless_interaction.models.layers import (
    Cache,
    DecoderLayer,
    LogMel,
    StreamEncoder,
    by_age,
    transformer,
)
from seamless_interaction.models.rotations import between, from_six, to_matrix, to_six, to_vector
from seamless_interaction.models.streams import Streams, of_joints, read
from seamless_interaction.places.write import write_whole

WEIGHTS = "model.safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_MASKS = len(JOINTS)
_MOTION = NUM_JOINTS * (6 + 3) + _MASKS  # six numbers and the last turn of each joint, and which columns are there
_FACE = 2 * FACE_SIZE + 1  # value, last change, and whether it is there
_GAIN = 20  # Adam moves a weight by the learning rate and no further; what must come to be about 1 is scaled up
_SHARED = 128  # dimensions in which modalities are compared


class Encoded(NamedTuple):
    """What the encoder makes of streams.

    Attributes:
        joint: (B, P, T, width), what is known at each frame of all modalities of both participants.
        tokens: of each modality by itself, (B, P, T, width).
    """

    joint: Tensor
    tokens: dict[str, Tensor]


class Motion(NamedTuple):
    """Where a body is, and how it got there; turns are in each joint's own frame, in radians a frame.

    Attributes:
        rotations: (..., 52, 3, 3). turns: (..., 52, 3), from the frame before. face: (..., 128).
        changes: (..., 128), from the frame before. has_motion: (..., 4) bool. has_face: (...) bool.
    """

    rotations: Tensor
    turns: Tensor
    face: Tensor
    changes: Tensor
    has_motion: Tensor
    has_face: Tensor


class Next(NamedTuple):
    """The frame that follows, as Gaussians.

    Attributes:
        turns: means, (..., 52, 3) radians. changes: of the face, (..., 128).
        log_scale: (..., 284), of the deviations, in mean speeds: of turns, then of changes.
    """

    turns: Tensor
    changes: Tensor
    log_scale: Tensor


class ImitatorModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="seamless-interaction",
    license="cc-by-nc-4.0",
    tags=["dyadic-interaction", "human-motion", "multimodal"],
    model_card_template=CARD,
):
    """A small multimodal model of two people who talk: sound, motion, face and words of both, causal in time.

    Every modality has an encoder. Those of one participant's frame meet in a transformer, then both participants' over
    the last frames in another, to whose heads it matters how long ago a frame was, and not when it was. What is missing
    is a learned token. A decoder predicts a participant's motion frame by frame, from their own past motion and from
    what the encoder knows up to that frame, their own motion hidden from it.

    A frame's motion is, for each joint, a turn from the frame before: a Gaussian over rotation vectors in the joint's
    own frame, with a predicted mean and deviation. The face changes likewise. So a sample is always a rotation.
    Rotations are read as six numbers (Zhou et al. 2019) and returned as rotation vectors.

    What is taken from elsewhere:

    - Thambiraja et al., "Imitator: Personalized Speech-driven 3D Facial Animation", ICCV 2023: a causal transformer
      decoder over past motion that attends to encoded sound, and a loss on velocities. Here it is the body and a face
      code instead of face vertices; there is no style embedding of a person, no adaptation to one, no lip contact loss,
      and the sound is a log-mel spectrum instead of wav2vec 2.0.
    - Ekstedt and Skantze, "Voice Activity Projection", Interspeech 2022: both participants in one causal model, trained
      on what comes next without labels, in bins of the future. Here what comes next is motion and, instead of voice
      activity, how loud each will be; as numbers, and not as one of 256 states of both.

    It is not the Imitator with which Meta made the ``movement:*`` arrays, which is not public.

    Args:
        config: sizes, see ``ImitatorConfig.preset``.
    """

    rest: Tensor
    spread: Tensor
    speed: Tensor
    mel_mean: Tensor
    mel_std: Tensor
    face_mean: Tensor
    face_std: Tensor
    face_speed: Tensor

    def __init__(self, config: ImitatorConfig):
        super().__init__()
        self.config = config
        width = config.width
        # What is known of the training data: scales of inputs and outputs, and the pose that generation begins with.
        self.register_buffer("rest", torch.eye(3).repeat(NUM_JOINTS, 1, 1))
        self.register_buffer("spread", torch.ones(NUM_JOINTS))
        self.register_buffer("speed", torch.full((NUM_JOINTS,), 0.05))
        self.register_buffer("mel_mean", torch.zeros(config.mels))
        self.register_buffer("mel_std", torch.ones(config.mels))
        self.register_buffer("face_mean", torch.zeros(FACE_SIZE))
        self.register_buffer("face_std", torch.ones(FACE_SIZE))
        self.register_buffer("face_speed", torch.full((FACE_SIZE,), 0.05))

        self.mel = LogMel(config)
        projections: dict[str, nn.Module] = {
            "audio": nn.Linear(config.mels, width),
            "motion": nn.Linear(_MOTION, width),
            "face": nn.Linear(_FACE, width),
            "text": nn.Embedding(config.text_buckets, width),
        }
        self.encoders = nn.ModuleDict({name: StreamEncoder(projections[name], width) for name in MODALITIES})
        self.modality = nn.Parameter(torch.randn(len(MODALITIES) + 1, width) * 0.02)
        self.participant = nn.Parameter(torch.randn(2, 1, width) * 0.02)
        self.fusion = transformer(config, config.fusion_layers)
        self.joint = transformer(config, config.joint_layers)

        self.read_motion = nn.Linear(_MOTION + _FACE, width)
        self.decoder = nn.ModuleList([DecoderLayer(config) for _ in range(config.decoder_layers)])
        self.decoded = nn.LayerNorm(width)
        self.turn = nn.Linear(width, NUM_JOINTS * 3 + FACE_SIZE)
        self.keep = nn.Parameter(torch.zeros(NUM_JOINTS * 3 + FACE_SIZE))  # how much of the last turn goes on, / _GAIN
        nn.init.zeros_(self.turn.weight)  # so it begins as "stay where you are"
        nn.init.zeros_(self.turn.bias)
        self.log_scale = nn.Linear(width, NUM_JOINTS * 3 + FACE_SIZE)
        nn.init.zeros_(self.log_scale.weight)
        nn.init.zeros_(self.log_scale.bias)

        sizes = {"audio": config.mels, "motion": NUM_JOINTS * 6, "face": FACE_SIZE, "text": config.text_buckets}
        self.restore = nn.ModuleDict({name: nn.Linear(width, sizes[name]) for name in MODALITIES})
        self.ahead = nn.Linear(width, len(AHEAD))
        for head in (*self.restore.values(), self.ahead):  # so it begins with a guess that knows nothing
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.compare = nn.ModuleDict({name: nn.Linear(width, _SHARED, bias=False) for name in MODALITIES})
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.rest.device

    @property
    def reach(self) -> int:
        """How many earlier frames a representation depends on."""
        return self.config.joint_layers * (self.config.context - 1) + self.encoders["audio"].back + 2

    # --- encoding

    def read(self, batch: Mapping[str, Any]) -> Streams:
        """A sample or batch as ``Streams`` on the model's device, see ``streams.read``."""
        dtype = self.rest.dtype
        return read(batch, self.config, self.device).map(
            lambda part: part.to(dtype) if part.is_floating_point() else part
        )

    def motion(self, streams: Streams) -> Motion:
        """Poses and turns, (B, P, T, …). A turn is none where this frame or the one before is masked."""
        rotations, there = streams.motion, streams.is_joint_there
        turns = torch.zeros(*rotations.shape[:-1], device=rotations.device)
        turns[:, :, 1:] = between(rotations[:, :, :-1], rotations[:, :, 1:])
        turns[:, :, 1:] *= (there[:, :, 1:] & there[:, :, :-1])[..., None]
        turns[:, :, 0] = 0
        has_face = streams.has_face
        face = torch.where(has_face[..., None], streams.face, self.face_mean)
        changes = torch.zeros_like(face)
        changes[:, :, 1:] = (face[:, :, 1:] - face[:, :, :-1]) * (has_face[:, :, 1:] & has_face[:, :, :-1])[..., None]
        return Motion(rotations, turns, face, changes, streams.has_motion, has_face)

    def features(self, motion: Motion) -> tuple[Tensor, Tensor]:
        """A body and a face as numbers of order 1, (..., 472) and (..., 257)."""
        there = motion.has_motion.to(motion.turns.dtype)
        each = of_joints(there)[..., None]
        six = (to_six(motion.rotations) * each).flatten(-2)
        turns = (motion.turns / self.speed[:, None] * each).clamp(-10, 10).flatten(-2)
        has_face = motion.has_face[..., None].to(there.dtype)
        face = (motion.face - self.face_mean) / self.face_std * has_face
        changes = (motion.changes / self.face_speed * has_face).clamp(-10, 10)
        return torch.cat([six, turns, there], -1), torch.cat([face, changes, has_face], -1)

    def mels(self, streams: Streams) -> Tensor:
        """(B, P, T, mels), each band with mean 0 and deviation 1 over the training data."""
        bands: Tensor = (self.mel(streams.audio) - self.mel_mean) / self.mel_std
        return bands

    def encode_streams(
        self,
        streams: Streams,
        hidden: Mapping[str, Tensor] | None = None,
        motion: Motion | None = None,
        mels: Tensor | None = None,
    ) -> Encoded:
        """Causal: a frame's representation knows nothing of later frames.

        Args:
            streams: of any number of frames.
            hidden: modality -> (B, P, T) bool, what to treat as if it were missing.
            motion, mels: those of the streams, where they are known already.
        """
        motion = self.motion(streams) if motion is None else motion
        body, face = self.features(motion)
        values = {
            "audio": self.mels(streams) if mels is None else mels,
            "motion": body,
            "face": face,
            "text": streams.text,
        }
        there = {
            "audio": streams.has_audio,
            "motion": streams.has_motion.any(-1),
            "face": streams.has_face,
            "text": streams.has_text,
        }
        for name, mask in (hidden or {}).items():
            there[name] = there[name] & ~mask
        tokens = {name: self.encoders[name](values[name], there[name]) for name in MODALITIES}
        batch, people, frames, width = tokens["audio"].shape
        each = torch.stack([torch.zeros_like(tokens["audio"]), *tokens.values()], -2) + self.modality
        fused = self.fusion(each.flatten(0, 2))[:, 0].view(batch, people, frames, width)
        fused = fused + self.participant
        over_time = fused.transpose(1, 2).reshape(batch, frames * people, width)
        ages = by_age(frames, people, self.config, fused.device).to(fused.dtype)
        joint = self.joint(over_time, mask=ages.repeat(batch, 1, 1))
        return Encoded(joint.view(batch, frames, people, width).transpose(1, 2), tokens)

    @torch.no_grad()
    def encode(self, window: Mapping[str, Any]) -> Any:
        """A joint representation over time, from each participant's own point of view.

        Each comes from its own sound, motion, face and words and the partner's, up to that frame and not later.

        Args:
            window: an ``Interaction.window``, a sample of ``Windows``, or a batch of them; what it lacks is missing.

        Returns:
            Of a window, participant id -> (T, D) float32. Of a sample, (T, D), or (2, T, D) if it is paired; of a
            batch, (B, T, D) or (B, 2, T, D).
        """
        is_window = bool(window) and all(isinstance(value, Mapping) and "id" in value for value in window.values())
        if is_window and len(window) == 1:
            ((name, sample),) = window.items()
            return {name: self.encode(sample)}
        if is_window:
            from seamless_interaction.conversations.collate import stack

            return dict(zip(window, self.encode(stack(list(window.values()))), strict=True))
        streams = self.read(window)
        first = self.encode_streams(streams).joint[:, 0]
        ids: Any = window.get("id")
        is_list = isinstance(ids, list)
        is_pair = is_list and not isinstance(window.get("interaction_id"), list)
        if is_pair or (is_list and isinstance(ids[0], list)):
            both = streams.swapped(torch.ones(len(first), dtype=torch.bool, device=self.device))
            first = torch.stack([first, self.encode_streams(both).joint[:, 0]], 1)
        return first if is_list and not is_pair else first[0]

    # --- decoding

    def _read_motion(self, motion: Motion) -> Tensor:
        read: Tensor = self.read_motion(torch.cat(self.features(motion), -1))
        return read

    def _next(self, tokens: Tensor, last: Motion) -> Next:
        before = torch.cat([(last.turns / self.speed[:, None]).flatten(-2), last.changes / self.face_speed], -1)
        decoded = self.decoded(tokens)
        now = self.turn(decoded) + _GAIN * self.keep * before.clamp(-10, 10)
        log_scale = self.log_scale(decoded.detach()).clamp(-6, 3)  # it learns by itself, see `objectives`
        return Next(*self._in_units(now), log_scale)

    def _in_units(self, of_speeds: Tensor) -> tuple[Tensor, Tensor]:
        """(..., 284) in mean speeds as turns (..., 52, 3) in radians a frame, and changes of the face (..., 128)."""
        turns, changes = of_speeds.split([NUM_JOINTS * 3, FACE_SIZE], -1)
        return turns.unflatten(-1, (NUM_JOINTS, 3)) * self.speed[:, None], changes * self.face_speed

    def predict(self, past: Motion, memory: Tensor) -> Next:
        """The frames that follow each of the past ones.

        Args:
            past: (B, N, …), frames 0 to N - 1 of one participant.
            memory: (B, P, T, width) with T of at least N + 1: the encoded streams, that participant's motion hidden.

        Returns:
            (B, N, ...), from frame i to i + 1.
        """
        tokens = self._read_motion(past)
        people, frames = memory.shape[1], tokens.shape[1] + 1
        heard = memory[:, :, :frames].transpose(1, 2).flatten(1, 2)
        number = torch.arange(frames, device=tokens.device)
        for layer in self.decoder:
            tokens = layer(tokens, heard, number[1:], number.repeat_interleave(people))
        return self._next(tokens, past)

    @torch.no_grad()
    def generate(
        self,
        audio: Any = None,
        partner: Mapping[str, Any] | None = None,
        text: str | Sequence[Mapping[str, Any]] | None = None,
        frames: int = 120,
        temperature: float = 0.8,
        seed: int = 0,
        past: Mapping[str, Any] | None = None,
        use_cache: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> dict[str, Tensor]:
        """Motion and face of one participant, frame by frame.

        Args:
            audio: their own voice: (N,) float32 samples at 48 kHz, or an ``Audio``. What is missing at its end, or
                None, is missing to the model.
            partner: a sample of the partner on the same clock: any of ``audio``, motion, face and ``words``.
            text: their own words with ``start`` and ``end`` in seconds; or a string, whose words are spread evenly.
            frames: how many, at ``config.fps`` a second.
            temperature: of the Gaussians' deviations; 0 gives the means.
            seed: of the noise. The same seed gives the same motion, on one machine and version of torch.
            past: their motion so far: column -> (P, …) array, as in a sample. Then audio, partner and text begin with
                it, and what is generated follows it. Without it, the body is at rest one frame before the beginning:
                at the mean pose of the training data.
            use_cache: False computes all of the past again for each frame, which is slow, and there to compare.
            dtype: to compute in. Every frame goes into the next, and so do its errors of rounding: in float32 they
                grow to 1e-4 in 300 frames. Of these small steps float64 takes no longer; MPS has only float32.

        Returns:
            ``smplh:global_orient`` (frames, 3), ``smplh:body_pose`` (frames, 21, 3), ``smplh:left_hand_pose`` and
            ``smplh:right_hand_pose`` (frames, 15, 3), radians, of lengths up to pi; ``movement:expression``
            (frames, 128). The face means something only if the model was trained on faces.

        Raises:
            UsageError: frames or temperature that cannot be, sound at another rate, arrays of another shape.
        """
        if frames < 1 or not temperature >= 0:
            raise UsageError(f"frames is {frames}, temperature {temperature}. Give 1 or more, and 0 or more.")
        model = copy.deepcopy(self).to(dtype).eval()
        before, known = model._past(past)
        conditions = model._conditions(audio, partner, text, frames + (known if past is not None else 0))
        if past is None:
            conditions = conditions.after(1)
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(frames, 1, NUM_JOINTS * 3 + FACE_SIZE, generator=random).to(self.device, dtype)
        rotations, face = (part.float() for part in model.roll_out(conditions, before, noise * temperature, use_cache))
        vectors = to_vector(rotations[0]).split(list(JOINTS.values()), 1)
        motion = {
            name: part.squeeze(1) if count == 1 else part
            for (name, count), part in zip(JOINTS.items(), vectors, strict=True)
        }
        return {**motion, FACE: face[0]}

    def _past(self, past: Mapping[str, Any] | None) -> tuple[Motion, int]:
        """Motion (1, N, …) so far; at rest, without one. And N."""
        if past is not None:
            columns = {name: past[name] for name in (*JOINTS, FACE) if past.get(name) is not None}
            motion = self.motion(self.read({**columns, "mask": past.get("mask", {})}))
            motion = Motion(*(part[:, 0] for part in motion))
            rotations = torch.where(of_joints(motion.has_motion)[..., None, None], motion.rotations, self.rest)
            return motion._replace(rotations=rotations), rotations.shape[1]
        ones = torch.ones(1, 1, device=self.device, dtype=torch.bool)
        still = torch.zeros(1, 1, NUM_JOINTS, 3, device=self.device)
        face = self.face_mean[None, None]
        return Motion(self.rest[None, None], still, face, 0 * face, ones[..., None].expand(1, 1, _MASKS), ones), 1

    def _conditions(self, audio: Any, partner: Mapping[str, Any] | None, text: Any, frames: int) -> Streams:
        """Streams of ``frames`` frames: of the one who is to move, without motion, and of the partner."""
        own: dict[str, Any] = {"duration": frames / self.config.fps, "mask": {}}
        if audio is not None:
            rate = getattr(audio, "sampling_rate", SAMPLING_RATE)
            samples = torch.as_tensor(np.asarray(getattr(audio, "array", audio), np.float32))
            if rate != SAMPLING_RATE or samples.ndim != 1:
                raise UsageError(
                    f"audio of shape {tuple(samples.shape)} at {rate} Hz. Give one channel at {SAMPLING_RATE} Hz."
                )
            own |= {"audio": samples, "length": {"audio": torch.tensor(len(samples))}}
        if isinstance(text, str):
            words = text.split()
            each = frames / self.config.fps / max(1, len(words))
            text = [{"word": word, "start": i * each, "end": (i + 1) * each} for i, word in enumerate(words)]
        if text is not None:
            own["words"] = text
        streams = self.read(own)
        if partner is not None:
            other = self.read(self._of_length(partner, frames))
            streams = Streams(**{name: value.clone() for name, value in vars(streams).items()})
            for name, value in vars(other).items():
                getattr(streams, name)[:, 1] = value[:, 0]
        return streams

    def _of_length(self, sample: Mapping[str, Any], frames: int) -> dict[str, Any]:
        """A sample's columns, cut or padded with masked rows to so many frames."""
        found: dict[str, Any] = {"duration": frames / self.config.fps, "mask": {}, "length": {}}
        for name in (*JOINTS, FACE):
            if sample.get(name) is not None:
                values = torch.as_tensor(np.asarray(sample[name]))[:frames]
                mask = torch.as_tensor(np.asarray(sample.get("mask", {}).get(name, np.ones(len(values), bool))))[
                    :frames
                ]
                found[name] = values.new_zeros(frames, *values.shape[1:])
                found["mask"][name] = mask.new_zeros(frames)
                found[name][: len(values)], found["mask"][name][: len(mask)] = values, mask
        if sample.get("audio") is not None:
            found["audio"] = torch.as_tensor(np.asarray(sample["audio"]))
            length = sample.get("length", {}).get("audio", len(found["audio"]))
            found["length"]["audio"] = torch.as_tensor(length)
        return found | {name: sample[name] for name in ("words", "transcript") if name in sample}

    def _memory(self, conditions: Streams) -> Tensor:
        """The encoded conditions, (B, P, T, width), in stretches: memory grows with the length and not its square."""
        back = self.reach
        frames, at_once = conditions.text.shape[2], max(back, 256)
        parts = []
        for first in range(0, frames, at_once):
            begin = max(0, first - back)
            part = self.encode_streams(conditions.frames(begin, first + at_once)).joint
            parts.append(part[:, :, first - begin :])
        return torch.cat(parts, 2)

    def roll_out(
        self, conditions: Streams, past: Motion, noise: Tensor, use_cache: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Motion that follows the past.

        Args:
            conditions: (B, …) of all frames, past ones included; the first participant's motion and face are masked.
            past: (B, N, …) of the first participant.
            noise: (frames, B, 284), in deviations.

        Returns:
            Rotations (B, frames, 52, 3, 3) and faces (B, frames, 128).
        """
        known = past.rotations.shape[1]
        memory = self._memory(conditions) if use_cache else None
        caches: list[Cache] = []
        if memory is not None:
            people = memory.shape[1]
            flat = memory.transpose(1, 2).flatten(1, 2)
            caches = [Cache(layer, flat, people) for layer in self.decoder]
            for number in range(known - 1):
                self._step(Motion(*(part[:, number : number + 1] for part in past)), caches, number)
        frames = [Motion(*(part[:, number : number + 1] for part in past)) for number in range(known)]
        for number, drawn in enumerate(noise, known - 1):
            last = frames[-1]
            if use_cache:
                now = self._step(last, caches, number)
            else:
                so_far = Motion(*(torch.cat(parts, 1) for parts in zip(*frames, strict=True)))
                heard = self.encode_streams(conditions.frames(0, number + 2)).joint
                now = Next(*(part[:, -1:] for part in self.predict(so_far, heard)))
            of_turns, of_changes = self._in_units(drawn[:, None] * now.log_scale.exp())
            turns, changes = now.turns + of_turns, now.changes + of_changes
            rotations = from_six(to_six(last.rotations @ to_matrix(turns)))  # or errors of rounding would add up
            ones = torch.ones_like(last.has_face)
            frames.append(
                Motion(rotations, turns, last.face + changes, changes, ones[..., None].expand(-1, 1, _MASKS), ones)
            )
        made = frames[known:]
        return torch.cat([frame.rotations for frame in made], 1), torch.cat([frame.face for frame in made], 1)

    def _step(self, last: Motion, caches: list[Cache], number: int) -> Next:
        token = self._read_motion(last)
        for layer, cache in zip(self.decoder, caches, strict=True):
            token = layer.step(token, cache, number, number + 1)
        return self._next(token, last)

    # --- saving and loading

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        content = save(tensors, {"format": "pt", "model": FORMAT, "version": str(FORMAT_VERSION)})
        write_whole(save_directory / WEIGHTS, lambda file: file.write(content))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "ImitatorModel":
        """A model from a folder, such as a run's, or from a repository of the Hub; safetensors only.

        Args:
            pretrained_model_name_or_path: the folder, or ``owner/name``.
            options: ``revision``, ``token``, ``cache_dir``, ``force_download``, ``local_files_only``, and
                ``map_location``: the device, ``"cpu"`` by default.

        Raises:
            UnsafeCheckpoint: there are no weights in safetensors, but in another format.
            ForeignCheckpoint: it is not a model of this kind, or one of another format version.
        """
        path = Path(pretrained_model_name_or_path)
        if path.is_file():
            if path.suffix in PICKLED:
                raise UnsafeCheckpoint(f"{path}: weights are loaded from {WEIGHTS} only; a pickle can run code.")
            raise ForeignCheckpoint(f"{path} is a file. Give the folder with config.json and {WEIGHTS}.")
        if path.is_dir() and not (path / "config.json").exists():
            raise ForeignCheckpoint(f"{path} has no config.json, so it is no {FORMAT}.{_pickles_in(path)}")
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **options)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, (SeamlessInteractionError, EntryNotFoundError, HFValidationError)):
                raise
            raise ForeignCheckpoint(f"{path}: config.json is none of a {FORMAT}: {error}") from error

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, config: ImitatorConfig | None = None, map_location: str = "cpu", **options: Any
    ) -> "ImitatorModel":
        if Path(model_id).is_dir():
            file = Path(model_id) / WEIGHTS
            if not file.exists():
                raise UnsafeCheckpoint(f"{model_id} has no {WEIGHTS}.{_pickles_in(Path(model_id))}")
        else:
            known = ("revision", "cache_dir", "force_download", "token", "local_files_only")
            try:
                file = Path(
                    hf_hub_download(model_id, WEIGHTS, **{name: options[name] for name in known if name in options})
                )
            except EntryNotFoundError as error:
                raise UnsafeCheckpoint(f"{model_id} has no {WEIGHTS}, and nothing else is loaded.") from error
        if config is None:
            raise ForeignCheckpoint(f"{model_id} has no config.json, so it is no {FORMAT}.")
        check_file(file)
        _check_sizes(config, file)
        model = cls(config)
        load_weights(model, load_file(file, device=map_location), file)
        return model.to(map_location).eval()


def check_file(path: Path, model: str = FORMAT, version: int = FORMAT_VERSION) -> dict[str, str]:
    """The metadata of a file in safetensors, once it is known to be of this format and version.

    Raises:
        UnsafeCheckpoint: it is no safetensors. ForeignCheckpoint: of something else, or of another version.
    """
    try:
        with safe_open(path, "pt") as file:
            found = file.metadata() or {}
    except SafetensorError as error:
        raise UnsafeCheckpoint(f"{path} is no safetensors file, or is cut: {error}") from error
    if found.get("model") != model or found.get("version") != str(version):
        what = f"{found.get('model', 'an unknown model')}, version {found.get('version', 'unknown')}"
        raise ForeignCheckpoint(f"{path} holds {what}; expected {model}, version {version}.")
    return found


def _check_sizes(config: ImitatorConfig, path: Path) -> None:
    """Before a model is made: a config of a few bytes may ask for any size, and a file has no more than its bytes."""
    with safe_open(path, "pt") as file:
        names = file.keys()
        shapes = {name: file.get_slice(name).get_shape() for name in names}
    num_layers = config.fusion_layers + config.joint_layers + config.decoder_layers
    least = config.width * (config.text_buckets + config.mels + 4 * config.width * num_layers)
    if shapes.get("mel_mean") != [config.mels] or least > sum(math.prod(shape) for shape in shapes.values()):
        raise ForeignCheckpoint(f"{path}: weights of a model with other sizes than its config.")


def digest_of(model: nn.Module) -> str:
    """Of its weights: a name for them."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Put weights into a model. Raises ``ForeignCheckpoint`` if they are of one with other sizes."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ForeignCheckpoint(f"{file}: weights of a model with other sizes than its config: {error}") from error


def _pickles_in(folder: Path) -> str:
    found = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    return f" {', '.join(found)} is not loaded: a pickle can run code." if found else ""
