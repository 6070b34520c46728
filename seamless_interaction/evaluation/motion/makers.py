"""What makes motion: guesses that know nothing, a linear model on features, and ``ImitatorModel``.

A maker learns from the clips of ``train``, conversation by conversation, and then makes, for clips and what is shown of
them, rotations (B, MADE, 22, 3, 3).
"""

from __future__ import annotations

import zlib
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from seamless_interaction.evaluation.baselines import PENALTY
from seamless_interaction.evaluation.motion.clips import FPS, MADE, NUM_BODY, PAST, Clips, without
from seamless_interaction.evaluation.motion.collection import Collection
from seamless_interaction.evaluation.seen import FORESIGHTED, MANY, Seen
from seamless_interaction.features.table import features_of
from seamless_interaction.models.config import FACE_SIZE, NUM_JOINTS
from seamless_interaction.models.imitator import ImitatorModel
from seamless_interaction.models.rotations import between, from_six, nearest, to_matrix, to_six

LAGS = (0.0, 0.2, 0.4, 0.8)  # seconds before a frame, of which the linear model is shown features
TEMPERATURE = 0.8  # the default of `ImitatorModel.generate`


class Maker(Protocol):
    """See above. ``inputs``: (B,) numbers of the clips whose sound, words and partner are shown."""

    def learn(self, clips: Clips, seen: Seen) -> None: ...

    def make(self, clips: Clips, seen: Seen, inputs: np.ndarray) -> Tensor: ...


class MeanPose:
    """The mean pose of ``train``, which never moves."""

    def __init__(self) -> None:
        self._sum = torch.zeros(NUM_BODY, 3, 3, dtype=torch.float64)

    def learn(self, clips: Clips, seen: Seen) -> None:
        self._sum += clips.body.double().sum((0, 1))

    def make(self, clips: Clips, seen: Seen, inputs: np.ndarray) -> Tensor:
        return nearest(self._sum).float().expand(len(clips), MADE, NUM_BODY, 3, 3)


class LastPose:
    """The last known pose, which never moves."""

    def learn(self, clips: Clips, seen: Seen) -> None: ...

    def make(self, clips: Clips, seen: Seen, inputs: np.ndarray) -> Tensor:
        return clips.body[:, PAST - 1 : PAST].expand(-1, MADE, -1, -1, -1)


class AnyClip:
    """How somebody of ``train`` moved some time, which has nothing to do with what is shown."""

    def __init__(self, collection: Collection, seed: int):
        self._collection, self._random = collection, np.random.default_rng(seed)

    def learn(self, clips: Clips, seen: Seen) -> None: ...

    def make(self, clips: Clips, seen: Seen, inputs: np.ndarray) -> Tensor:
        chosen = self._random.integers(len(self._collection.kept), size=len(clips))
        return from_six(torch.stack([self._collection.kept[number] for number in chosen]))


class Linear:
    """Ridge regression of turns from the last known pose, on that pose and the features of whoever is heard.

    It is solved by sums of products, so memory is that of those. The frames of a clip count as one sample.
    """

    def __init__(self, groups: tuple[str, ...], heard: str):
        self._keys = [one.key for one in features_of(groups) if one.key not in (*MANY, *FORESIGHTED)]
        self._heard = heard
        self._of_inputs = self._of_both = np.zeros((0, 0))
        self._weights: np.ndarray | None = None

    def learn(self, clips: Clips, seen: Seen) -> None:
        shown = self._inputs(clips, seen, np.arange(len(clips)))
        last = clips.body[:, PAST - 1 : PAST]
        turned = between(last, clips.body[:, PAST:]).flatten(2).double().numpy()
        rows, targets = shown.reshape(-1, shown.shape[-1]), turned.reshape(-1, turned.shape[-1])
        if not len(self._of_inputs):
            self._of_inputs = np.zeros((rows.shape[1], rows.shape[1]))
            self._of_both = np.zeros((rows.shape[1], targets.shape[1]))
        self._of_inputs += rows.T @ rows / MADE
        self._of_both += rows.T @ targets / MADE

    def make(self, clips: Clips, seen: Seen, inputs: np.ndarray) -> Tensor:
        if self._weights is None:
            self._weights = self._solved()
        turned = torch.from_numpy(self._inputs(clips, seen, inputs) @ self._weights).float()
        return clips.body[:, PAST - 1 : PAST] @ to_matrix(turned.unflatten(-1, (NUM_BODY, 3)))

    def _solved(self) -> np.ndarray:
        """Weights of inputs that are not standardised, from a penalty on those of ones that are; none on the last."""
        count = self._of_inputs[-1, -1]
        means = self._of_inputs[-1] / count
        variances = np.diag(self._of_inputs) / count - np.square(means)
        penalty = np.diag(PENALTY * np.where(variances > 1e-12, variances, 1.0))
        penalty[-1, -1] = 0
        return np.linalg.solve(self._of_inputs + penalty, self._of_both)

    def _inputs(self, clips: Clips, seen: Seen, inputs: np.ndarray) -> np.ndarray:
        """(B, MADE, D) float64, the last column 1."""
        tables = []
        for participant in seen.features:
            values, masks = seen.features[participant], seen.features.masks[participant]
            parts = [part for key in self._keys for part in (values[key], masks[key][:, None])]
            tables.append(np.concatenate(parts, 1))
        made = []
        pose = to_six(clips.body[:, PAST - 1]).flatten(1).double().numpy()
        for number, of in enumerate(inputs):
            heard = clips.who[of] if self._heard == "own" else 1 - clips.who[of]
            times = clips.names[of].start + (PAST + np.arange(MADE)) / FPS
            columns = [np.repeat(pose[number][None], MADE, 0)]
            for lag in LAGS:
                rows = np.searchsorted(seen.features.times, times - lag + 1e-6, side="right") - 1
                columns.append(tables[heard][rows])
            made.append(np.concatenate([*columns, np.ones((MADE, 1))], 1))
        return np.stack(made)


class Imitator:
    """What ``ImitatorModel`` generates, of all clips at once, in float32. The noise is the same, whatever is shown."""

    def __init__(self, model: ImitatorModel, heard: str, seed: int, temperature: float):
        self._model, self._heard, self._temperature = model.eval(), heard, temperature
        self._seed = seed

    def learn(self, clips: Clips, seen: Seen) -> None: ...

    @torch.no_grad()
    def make(self, clips: Clips, seen: Seen, inputs: np.ndarray) -> Tensor:
        device = self._model.device
        streams = clips.streams.map(lambda part: part.to(device))
        motion = self._model.motion(streams)
        past = type(motion)(*(part[:, 0, :PAST] for part in motion))
        conditions = without(streams, self._heard).map(lambda part: part[torch.from_numpy(inputs).to(device)])
        random = torch.Generator().manual_seed(zlib.crc32(f"{self._seed} {seen.interaction.id}".encode()))
        noise = torch.randn(MADE, len(clips), NUM_JOINTS * 3 + FACE_SIZE, generator=random) * self._temperature
        rotations, _ = self._model.roll_out(conditions, past, noise.to(device))
        return rotations[:, :, :NUM_BODY].float().cpu()
