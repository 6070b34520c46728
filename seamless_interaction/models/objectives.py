"""What the model is trained for. Each loss is divided by what a trivial guess gets, so that 1 is "knows nothing".

- ``next``: the next frame, as the angle between predicted and true rotation (the guess: it stays where it is).
- ``velocity``: the turn from one predicted frame to the next predicted one, against the true turn, also as an angle
  (Thambiraja et al. 2023 have such a loss on vertices); divided by the same as ``next``.
- ``next_face``: the next frame's face (the guess: it stays as it is).
- ``restore_*``: what was hidden of each modality, from the rest, as a masked autoencoder's: bands of sound (the guess:
  their mean), angles of joints (the mean pose), the face (its mean), the word's number (any).
- ``contrast``: which third of a second of one modality goes with which of another, among all of the batch, in both
  directions: InfoNCE, van den Oord, Li and Vinyals 2018 (the guess: any).
- ``ahead``: how loud each participant will be, in the spans ``AHEAD`` (the guess: the mean of the batch); after voice
  activity projection, Ekstedt and Skantze 2022.
- ``spread``: the log-likelihood of the next frame, of which only the Gaussians' deviations learn. It is no part of
  ``loss``, which is the weighted sum of the others.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from seamless_interaction.models.config import AHEAD, MODALITIES, NUM_JOINTS
from seamless_interaction.models.rotations import from_six, geodesic, nearest, to_matrix, to_six
from seamless_interaction.models.streams import Streams

if TYPE_CHECKING:
    from seamless_interaction.models.imitator import Encoded, ImitatorModel, Motion

WEIGHTS = {"next": 1.0, "velocity": 1.0, "next_face": 0.25, "restore": 0.5, "contrast": 0.1, "ahead": 0.5}
SPAN = 10  # frames that are hidden together, and that are compared as one
_HIDDEN = 0.3  # of the spans of a modality
_ABSENT = 0.15  # of the modalities of a participant: wholly hidden, so that the model can do without


def losses(model: ImitatorModel, streams: Streams, random: torch.Generator) -> dict[str, Tensor]:
    """All losses of a batch, scalars; those of which the batch has nothing are not there.

    Args:
        model: its statistics fitted, see ``fit``.
        streams: of both participants; the first one's motion is predicted.
        random: on the CPU, draws what is hidden.
    """
    motion, mels = model.motion(streams), model.mels(streams)
    hidden = _spans(streams, random)
    encoded = model.encode_streams(streams, hidden, motion, mels)
    found = _restored(model, streams, motion, mels, encoded.joint, hidden)
    contrast = _contrast(model, streams, encoded, hidden)
    if contrast is not None:
        found["contrast"] = contrast
    ahead = _ahead(model, streams, mels, encoded.joint)
    if ahead is not None:
        found["ahead"] = ahead
    found |= _next(model, streams, motion, mels, random)
    restored = [value for name, value in found.items() if name.startswith("restore_")]
    terms = {name: found[name] for name in WEIGHTS if name in found}
    if restored:
        terms["restore"] = torch.stack(restored).mean()
    if terms:
        found["loss"] = torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum()
    return found


def _spans(streams: Streams, random: torch.Generator) -> dict[str, Tensor]:
    """Modality -> (B, P, T) bool: what is hidden, in spans, and now and then throughout."""
    batch, people, frames = streams.text.shape
    hidden = {}
    for name in MODALITIES:
        spans = torch.rand(batch, people, -(-frames // SPAN), generator=random) < _HIDDEN
        absent = torch.rand(batch, people, 1, generator=random) < _ABSENT
        hidden[name] = (spans.repeat_interleave(SPAN, 2)[..., :frames] | absent).to(streams.text.device)
    return hidden


def mean(values: Tensor, mask: Tensor) -> Tensor | None:
    """The mean of the values where the mask is true; None where it never is."""
    mask = mask.expand_as(values)
    return torch.where(mask, values, 0).sum() / mask.sum() if bool(mask.any()) else None


def _restored(
    model: ImitatorModel, streams: Streams, motion: Motion, mels: Tensor, joint: Tensor, hidden: dict[str, Tensor]
) -> dict[str, Tensor]:
    guess = {name: model.restore[name](joint) for name in MODALITIES if name != "text"}
    rotations = from_six((guess["motion"].unflatten(-1, (NUM_JOINTS, 6)) + to_six(model.rest)).float())
    angles = geodesic(rotations, motion.rotations) / model.spread
    face = (motion.face - model.face_mean) / model.face_std
    spoken = streams.has_text & hidden["text"] & (streams.text > 0)
    words = cross_entropy(model.restore["text"](joint[spoken]).float(), streams.text[spoken], reduction="none")
    all_of = {
        "audio": mean((guess["audio"] - mels).square(), (streams.has_audio & hidden["audio"])[..., None]),
        "motion": mean(angles, streams.is_joint_there & hidden["motion"][..., None]),
        "face": mean((guess["face"] - face).square(), (streams.has_face & hidden["face"])[..., None]),
        "text": mean(words / math.log(model.config.text_buckets), torch.ones_like(words, dtype=torch.bool)),
    }
    return {f"restore_{name}": value for name, value in all_of.items() if value is not None}


def _contrast(model: ImitatorModel, streams: Streams, encoded: Encoded, hidden: dict[str, Tensor]) -> Tensor | None:
    there = {
        "audio": streams.has_audio,
        "motion": streams.has_motion.any(-1),
        "face": streams.has_face,
        "text": streams.has_text,
    }
    frames = streams.text.shape[2] // SPAN * SPAN
    codes, known = {}, {}
    for name in MODALITIES:
        seen = (there[name] & ~hidden[name])[:, :, :frames].unflatten(2, (-1, SPAN))
        tokens = encoded.tokens[name][:, :, :frames].unflatten(2, (-1, SPAN))
        pooled = (tokens * seen[..., None]).sum(3) / seen.sum(3).clamp(min=1)[..., None]
        codes[name] = normalize(model.compare[name](pooled).float(), dim=-1).flatten(0, 2)
        known[name] = (seen.sum(3) * 2 > SPAN).flatten()
    found = []
    for one, other in combinations(MODALITIES, 2):
        both = known[one] & known[other]
        number = int(both.sum())
        if number > 1:
            alike = codes[one][both] @ codes[other][both].T * model.log_sharpness.exp().clamp(max=100)
            right = torch.arange(number, device=alike.device)
            found.append((cross_entropy(alike, right) + cross_entropy(alike.T, right)) / (2 * math.log(number)))
    return torch.stack(found).mean() if found else None


def _ahead(model: ImitatorModel, streams: Streams, mels: Tensor, joint: Tensor) -> Tensor | None:
    guess, loud = model.ahead(joint).float(), mels.mean(-1)
    found = []
    for number, span in enumerate(AHEAD):
        first, last = (round(seconds * model.config.fps) + 1 for seconds in span)
        if last > loud.shape[2]:
            continue
        later = loud[:, :, first:].unfold(2, last - first, 1).mean(-1)
        known = streams.has_audio[:, :, first:].unfold(2, last - first, 1).all(-1)
        if int(known.sum()) > 1:
            error = (guess[:, :, : later.shape[2], number] - later)[known].square().mean()
            found.append(error / later[known].var().clamp(min=1e-3))
    return torch.stack(found).mean() if found else None


def _next(
    model: ImitatorModel, streams: Streams, motion: Motion, mels: Tensor, random: torch.Generator
) -> dict[str, Tensor]:
    batch, people, _ = streams.text.shape
    absent = {name: torch.rand(batch, people, 1, generator=random) < _ABSENT for name in MODALITIES}
    for name in ("motion", "face"):
        absent[name][:, 0] = True  # it is what is asked for
    hidden = {name: mask.to(streams.text.device) for name, mask in absent.items()}
    memory = model.encode_streams(streams, hidden, motion, mels).joint
    own = type(motion)(*(part[:, 0] for part in motion))
    following = model.predict(type(motion)(*(part[:, :-1] for part in own)), memory)
    turns, changes, log_scale = (part.float() for part in following)
    there = streams.is_joint_there[:, 0]
    both = there[:, 1:] & there[:, :-1]
    true = own.rotations[:, 1:]
    guess = own.rotations[:, :-1] @ to_matrix(turns)
    steps = guess[:, :-1].transpose(-1, -2) @ guess[:, 1:]
    true_steps = true[:, :-1].transpose(-1, -2) @ true[:, 1:]
    has_face = (own.has_face[:, 1:] & own.has_face[:, :-1])[..., None]
    face_error = (changes - own.changes[:, 1:]) / model.face_speed
    turn_error = (turns - own.turns[:, 1:]) / model.speed[:, None]
    found = {
        "next": mean(geodesic(guess, true) / model.speed, both),
        "velocity": mean(geodesic(steps, true_steps) / model.speed, both[:, 1:] & both[:, :-1]),
        "next_face": mean(face_error.abs(), has_face),
        "spread": _unlikeliness(
            log_scale,
            torch.cat([turn_error.flatten(-2), face_error], -1).detach(),
            torch.cat([both.repeat_interleave(3, -1), has_face.expand_as(face_error)], -1),
        ),
    }
    return {name: value for name, value in found.items() if value is not None}


def _unlikeliness(log_scale: Tensor, errors: Tensor, mask: Tensor) -> Tensor | None:
    """Minus the log-likelihood of errors, in units of the mean speed, but for a constant."""
    return mean(0.5 * (errors / log_scale.exp()).square() + log_scale, mask)


@torch.no_grad()
def fit(model: ImitatorModel, batches: list[Streams]) -> None:
    """Set the model's statistics: what it takes for rest, usual speed, and usual sound and face."""
    rotations = torch.zeros(NUM_JOINTS, 3, 3, device=model.device)
    for streams in batches:
        rotations += (streams.motion * streams.is_joint_there[..., None, None]).sum((0, 1, 2))
    model.rest.copy_(nearest(rotations))

    sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(name: str, values: Tensor, mask: Tensor) -> None:
        axes = tuple(range(values.ndim - 1))
        mask = mask.expand_as(values)
        total, count = sums.get(name, (0, 0))
        sums[name] = total + torch.where(mask, values, 0).double().sum(axes), count + mask.sum(axes)

    def result(name: str, default: float) -> Tensor:
        total, count = sums[name]
        return torch.where(count > 0, total / count.clamp(min=1), default)

    for streams in batches:
        motion, mels = model.motion(streams), model.mel(streams.audio)
        there = streams.is_joint_there
        add("spread", geodesic(motion.rotations, model.rest), there)
        add("speed", motion.turns[:, :, 1:].norm(dim=-1), there[:, :, 1:] & there[:, :, :-1])
        add("mel", mels, streams.has_audio[..., None])
        add("mel²", mels.square(), streams.has_audio[..., None])
        add("face", streams.face, streams.has_face[..., None])
        add("face²", streams.face.square(), streams.has_face[..., None])
        add(
            "face speed",
            motion.changes[:, :, 1:].abs(),
            (streams.has_face[:, :, 1:] & streams.has_face[:, :, :-1])[..., None],
        )
    model.spread.copy_(result("spread", 1.0).clamp(min=1e-2))
    model.speed.copy_(result("speed", 0.05).clamp(min=1e-4))
    model.face_speed.copy_(result("face speed", 0.05).clamp(min=1e-4))
    for name, center, width in (("mel", model.mel_mean, model.mel_std), ("face", model.face_mean, model.face_std)):
        center.copy_(result(name, 0.0))
        width.copy_((result(f"{name}²", 1.0) - result(name, 0.0).square()).clamp(min=1e-4).sqrt())
