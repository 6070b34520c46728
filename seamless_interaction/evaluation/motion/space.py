"""A space to compare motion in: that of an autoencoder of two seconds of a body, learnt once, and named by a digest.

Distances in two spaces have nothing to do with each other. So the file of a space goes with results, and is what
whoever compares with them measures in. After the Fréchet gesture distance (Yoon et al. 2020, "Speech Gesture Generation
from the Trimodal Context of Text, Audio, and Speaker Identity"), whose autoencoder is one of convolutions too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from seamless_interaction.errors import ForeignCheckpoint
from seamless_interaction.evaluation.motion.clips import NUM_BODY
from seamless_interaction.models.imitator import check_file, digest_of, load_weights
from seamless_interaction.models.rotations import to_six
from seamless_interaction.places.write import local_path, write_whole

CHUNK = 60  # frames of a point in the space: 2 s
DIMS = 32
STEPS = 400  # of learning
_WIDTH, _STRIDE = 32, 4
_SIX = NUM_BODY * 6
_BATCH, _RATE = 32, 2e-3
_KIND, _VERSION = "seamless-interaction-motion-space", 1


class MotionSpace(nn.Module):
    """An autoencoder of ``CHUNK`` frames of 22 rotations, as six numbers each (Zhou et al. 2019).

    It reads the mean pose, and how the body departs from it, each by its own scale in training. Else postures, in which
    people differ more than they move, would be all that is in the space, and who never moves would be right.
    """

    pose: Tensor
    pose_scale: Tensor
    moves_scale: Tensor
    center: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pose", torch.zeros(_SIX))  # the mean, in training
        self.register_buffer("pose_scale", torch.ones(1))
        self.register_buffer("moves_scale", torch.ones(1))
        self.register_buffer("center", torch.zeros(DIMS))  # of the codes, in training
        self.register_buffer("spread", torch.ones(1))
        places = CHUNK // _STRIDE
        self.encoder = nn.Sequential(
            nn.Conv1d(2 * _SIX, _WIDTH, _STRIDE, _STRIDE),
            nn.GELU(),
            nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(_WIDTH * places, DIMS),
        )
        self.decoder = nn.Sequential(
            nn.Linear(DIMS, _WIDTH * places),
            nn.Unflatten(1, (_WIDTH, places)),
            nn.GELU(),
            nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.ConvTranspose1d(_WIDTH, 2 * _SIX, _STRIDE, _STRIDE),
        )

    def read(self, six: Tensor) -> Tensor:
        """(B, CHUNK, 132) six numbers to (B, 264, CHUNK): moves and pose, with a mean square of 1 in training."""
        pose = six.mean(1, keepdim=True)
        both = (six - pose) / self.moves_scale, ((pose - self.pose) / self.pose_scale).expand_as(six)
        return torch.cat(both, -1).transpose(1, 2)

    @torch.no_grad()
    def codes(self, body: Tensor) -> np.ndarray:
        """(B, T, 22, 3, 3), with T a multiple of ``CHUNK``, to (B, T / CHUNK, DIMS) float64.

        In training, codes have mean 0 and, over all dimensions, a mean variance of 1.
        """
        codes = (self.encoder(self.read(chunks(to_six(body)))) - self.center) / self.spread
        return codes.double().numpy().reshape(len(body), -1, DIMS)

    @torch.no_grad()
    def missed(self, body: Tensor) -> float:
        """Mean square of what the autoencoder misses: in training, 1 would be all of it."""
        read = self.read(chunks(to_six(body)))
        return float(mse_loss(self.decoder(self.encoder(read)), read))

    @property
    def digest(self) -> str:
        """Of the weights."""
        return digest_of(self)

    def write(self, folder: Path) -> Path:
        """A file in a folder, under a name with the digest."""
        path = folder / f"motion-space-{self.digest}.safetensors"
        content = save(self.state_dict(), {"model": _KIND, "version": str(_VERSION)})
        write_whole(path, lambda file: file.write(content))
        return path


def chunks(six: Tensor) -> Tensor:
    """(B, T, 22, 6) to (B T / CHUNK, CHUNK, 132)."""
    return six.reshape(-1, CHUNK, _SIX)


def learn(six: Tensor, seed: int, steps: int = STEPS) -> MotionSpace:
    """A space of (N, CHUNK, 132) six numbers. On one machine and version of torch, the same seed gives the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = MotionSpace()
        poses = six.mean(1)
        space.pose.copy_(poses.mean(0))
        space.pose_scale.copy_((poses - space.pose).square().mean().sqrt().clamp(min=1e-3))
        space.moves_scale.copy_((six - poses[:, None]).square().mean().sqrt().clamp(min=1e-3))
        optimizer = torch.optim.AdamW(space.parameters(), _RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
        for _ in range(steps):
            read = space.read(six[torch.randint(len(six), (_BATCH,))])
            made = space.decoder(space.encoder(read))
            loss = mse_loss(made, read) + mse_loss(made.diff(), read.diff())  # where it is, and where it goes
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        codes = torch.cat([space.encoder(space.read(part)) for part in six.split(256)])
        space.center.copy_(codes.mean(0))
        space.spread.copy_(codes.var(0).mean().sqrt().clamp(min=1e-6))
    return space.eval()


def read_space(path: str | Path) -> MotionSpace:
    """A space from its file.

    Raises:
        UnsafeCheckpoint, ForeignCheckpoint: it is no such file, or its name has not the digest of what it holds.
    """
    path = local_path(path)
    if not path.is_file():
        raise ForeignCheckpoint(f"{path} is no file. Name the motion-space-….safetensors that a benchmark wrote.")
    check_file(path, _KIND, _VERSION)
    space = MotionSpace()
    load_weights(space, load_file(path), path)
    if space.digest not in path.name:
        raise ForeignCheckpoint(f"{path} holds the space {space.digest}, which is not in its name.")
    return space.eval()
