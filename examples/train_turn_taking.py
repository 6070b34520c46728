"""Train a small model that tells who speaks next, from both partners' voices and head movements.

The data are synthetic and so is the rule in them. A program makes conversations in the format of the real recordings,
and plants this: a second before speakers yield the floor, they turn their head towards their partner, and their voice
falls in pitch and loudness; before they pause and go on, they do neither. Each of the two signs misleads in one case
in ten. So nothing here says how people take turns. It shows how to train on ``SeamlessDataset``: windows of both
partners in step, workers, and a run that is resumed from the middle of an epoch to the same weights, bit for bit.

From the first 3 s of a window of 4 s, the model tells which partner speaks more in the last one.

    python examples/train_turn_taking.py [FOLDER] [--epochs N] [--workers N]
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from seamless_interaction import SAMPLING_RATE, SeamlessDataset
from seamless_interaction.source.notice import NOTICE
from seamless_interaction.synthetic.corpus import SyntheticRecording, corpus
from seamless_interaction.synthetic.files import write
from seamless_interaction.synthetic.media import generator, signal

# --- conversations with a planted rule ------------------------------------------------------------

RULE = "examples/train_turn_taking.py planted a rule in it: when to take turns.\n"
HEAD = 14  # of the 21 joints of smplh:body_pose
SIGN_SECONDS = 1.0  # before the end of a turn, that the signs show
MISLED = 0.1  # how often a sign is wrong


class Turn(NamedTuple):
    """One participant's speech without a pause, and whether it ends with each of the signs."""

    speaker: int
    start: float
    end: float
    head_turns: bool
    voice_falls: bool


class Planted(SyntheticRecording):
    """A synthetic recording whose turns, voice and head follow the rule; all else is as ever, but small pictures."""

    raster = (32, 32)  # nothing here looks at them, and encoding large ones takes long

    def plan(self) -> list[Turn]:
        """The turns of both partners, who draw the same."""
        rng = generator(self.seed, self.ids.interaction_id, "plan")
        turns: list[Turn] = []
        speaker, start = int(rng.integers(2)), 0.2
        while True:
            end = start + float(rng.uniform(1.0, 1.8))
            if end > self._seconds() - 0.1:
                return turns
            yields = bool(rng.random() < 0.7)
            head, voice = (yields != bool(rng.random() < MISLED) for _ in range(2))
            turns.append(Turn(speaker, round(start, 3), round(end, 3), head, voice))
            start, speaker = end + float(rng.uniform(0.2, 0.5)), 1 - speaker if yields else speaker

    def _turns(self) -> list[tuple[float, float]]:
        return [(turn.start, turn.end) for turn in self.plan() if turn.speaker == self.role]

    def some_samples(self, start: int, stop: int) -> np.ndarray:
        """A hum with one overtone while it speaks, (stop - start,) int16."""
        pitch = float(generator(self.seed, self.ids.participant_id, "pitch").uniform(100, 220))
        seconds = np.arange(start, stop) / SAMPLING_RATE
        samples = generator(self.seed, self.file_id, "hiss", start).normal(0, 0.002, len(seconds))
        for turn in self.plan():
            first, last = np.searchsorted(seconds, [turn.start, turn.end])
            if turn.speaker == self.role and first < last:
                now = seconds[first:last]
                fallen = np.clip(now - (turn.end - SIGN_SECONDS), 0, None) * turn.voice_falls  # 0 to 1, in a second
                phase = 2 * np.pi * pitch * (now - turn.start - 0.4 * fallen**2 / 2)  # down to 0.6 of the pitch
                samples[first:last] += (0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase)) * (1 - 0.7 * fallen)
        return (np.clip(samples, -1, 1) * 32767).astype(np.int16)

    def array(self, key: str) -> np.ndarray:
        """One array: of the body's pose, the head nods and sways a little, and turns where the rule says."""
        values = super().array(key)
        if key == "smplh:body_pose" and len(values):
            seconds = np.arange(len(values)) / float(self.fps)
            values[:, HEAD] = signal(generator(self.seed, self.file_id, "head"), len(values), [-0.2] * 3, [0.2] * 3)
            towards = 0.6 if self.role else -0.6  # radians about the vertical
            for turn in self.plan():
                if turn.speaker == self.role and turn.head_turns:
                    there = np.clip((seconds - (turn.end - SIGN_SECONDS)) / 0.3, 0, 1)
                    back = np.clip((seconds - turn.end) / 0.3, 0, 1)
                    values[:, HEAD, 1] += towards * (there - back)
        return values


def make_data(folder: Path, interactions: int) -> None:
    """Write conversations of half a minute as a tree of files."""
    plain = corpus(interactions, seconds=30.0)
    write(replace(plain, recordings=[Planted(**vars(recording)) for recording in plain.recordings]), folder)
    with open(folder / NOTICE, "a", encoding="utf-8") as file:
        file.write(f"\n{RULE}")


# --- features and model ---------------------------------------------------------------------------

FPS, PAST = 15, 45  # frames a second; frames that the model sees, of 60
MODALITIES = ["audio", "vad", "smplh:body_pose"]
BANDS = 16


def filters(bins: int, width: float) -> torch.Tensor:
    """Triangular bands from 60 Hz to 4 kHz, each by the same factor above the one before, (bins, BANDS) float32."""
    edges = torch.logspace(np.log10(60), np.log10(4000), BANDS + 2)
    frequencies = width * torch.arange(bins)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)


def features(batch: dict[str, Any]) -> torch.Tensor:
    """What both partners did in the first 3 s, (windows, 2, PAST, BANDS + 3) float32: bands of the voice, the head."""
    step = SAMPLING_RATE // FPS
    frames = batch["audio"][..., : PAST * step].unflatten(-1, (PAST, step)) * torch.hann_window(step)
    bins = 4000 * step // SAMPLING_RATE  # up to 4 kHz
    spectrum = torch.fft.rfft(frames)[..., :bins].abs()
    voice = torch.log(spectrum @ filters(bins, SAMPLING_RATE / step) + 1e-2) / 4
    return torch.cat([voice, batch["smplh:body_pose"][:, :, :PAST, HEAD]], dim=-1)


def labels(batch: dict[str, Any]) -> torch.Tensor:
    """Which partner speaks more in the last second, (windows,) int64: 0 for the first, 1 for the second."""
    speech = batch["vad"][..., PAST:].sum(-1)
    return (speech[:, 1] > speech[:, 0]).long()


class NextSpeaker(nn.Module):
    """One encoder hears and sees each partner; a recurrent network follows both."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(BANDS + 3, 24), nn.GELU(), nn.Dropout(0.1))
        self.follow = nn.GRU(2 * 24, 48, batch_first=True)
        self.decide = nn.Linear(48, 2)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(windows, 2, PAST, BANDS + 3) to (windows, 2) logits."""
        both = self.encoder(seen).transpose(1, 2).flatten(2)
        return self.decide(self.follow(both)[0][:, -1])


# --- training -------------------------------------------------------------------------------------


def usable(folder: Path, split: str) -> SeamlessDataset:
    """A split, without the conversations whose voice activity is empty: that does not mean that nobody spoke."""
    return SeamlessDataset(folder, split=split).filter(lambda interaction: all(interaction.vad.values()))


class Run:
    """All that a training run consists of, made anew or from a checkpoint."""

    def __init__(self, folder: Path, epochs: int, workers: int, checkpoint: Path | None = None):
        torch.manual_seed(0)
        self.epochs = epochs
        self.windows = usable(folder, "train").windows(
            4.0, hop=1.0, modalities=MODALITIES, fps=FPS, paired=True, shuffle=True, seed=0
        )
        # A generator of its own, as a loader draws a number for its workers whenever it begins: a resumed run would
        # be a number ahead of one that was not interrupted.
        self.loader = DataLoader(
            self.windows,
            batch_size=16,
            collate_fn=self.windows.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(0),
        )
        self.steps_per_epoch = len(self.loader)
        self.model = NextSpeaker()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        if checkpoint is not None:
            state = torch.load(checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.windows.load_state_dict(state["windows"])
            torch.set_rng_state(state["rng"])

    def save(self, checkpoint: Path, batch: dict[str, Any]) -> None:
        """Write where the run stands after ``batch``."""
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "windows": self.windows.state_dict(batch),
                "rng": torch.get_rng_state(),
            },
            checkpoint,
        )

    def train(self, checkpoint: Path | None = None, after: int = 0) -> None:
        """Go on to the end. On the way, write a checkpoint after so many steps."""
        self.model.train()
        done = 0
        for epoch in range(self.windows.epoch, self.epochs):
            if epoch != self.windows.epoch:
                self.windows.set_epoch(epoch)
            for batch in self.loader:
                self._step(batch)
                done += 1
                if checkpoint is not None and done == after:
                    self.save(checkpoint, batch)

    def _step(self, batch: dict[str, Any]) -> None:
        seen, speaker = features(batch), labels(batch)
        swapped = torch.rand(len(speaker)) < 0.5  # who comes first in a window means nothing
        seen = torch.where(swapped[:, None, None, None], seen.flip(1), seen)
        loss = nn.functional.cross_entropy(self.model(seen), torch.where(swapped, 1 - speaker, speaker))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


# --- evaluation -----------------------------------------------------------------------------------


@torch.no_grad()
def evaluate(model: NextSpeaker, train: Any, dev: Any, workers: int) -> None:
    """Print how often the model is right on ``dev``, beside two that know less."""
    model.eval()
    truth, guesses, last = [], [], []
    for batch in DataLoader(dev, batch_size=64, collate_fn=dev.collate, num_workers=workers):
        truth.append(labels(batch))
        guesses.append(model(features(batch)).argmax(-1))
        spoke = batch["vad"][..., :PAST].long() * torch.arange(1, PAST + 1)
        last.append((spoke[:, 1].amax(-1) > spoke[:, 0].amax(-1)).long())
    speaker = torch.cat(truth)
    counts = sum(
        torch.bincount(labels(batch), minlength=2) for batch in DataLoader(train, 64, collate_fn=train.collate)
    )
    rows = {
        "majority": torch.full_like(speaker, int(torch.as_tensor(counts).argmax())),
        "last speaker": torch.cat(last),
        "model": torch.cat(guesses),
    }
    print(f"\n{len(speaker)} windows of dev      accuracy   balanced accuracy")
    for name, guess in rows.items():
        right = guess == speaker
        balanced = torch.stack([right[speaker == value].float().mean() for value in (0, 1)]).mean()
        print(f"{name:22} {right.float().mean():10.3f} {balanced:19.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Train a small model that tells who speaks next. The data are synthetic."
    )
    parser.add_argument("folder", nargs="?", default="synthetic-data/turn-taking", type=Path, help="where the data go")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="processes that read windows")
    parser.add_argument("--interactions", type=int, default=24, help="how many to make, if there are none yet")
    arguments = parser.parse_args()
    folder, epochs, workers = arguments.folder, arguments.epochs, arguments.workers
    begin = time.perf_counter()
    if not folder.exists():
        print(f"Writing {arguments.interactions} synthetic conversations with a planted rule to {folder} …")
        make_data(folder, arguments.interactions)
    elif not (folder / NOTICE).exists() or RULE not in (folder / NOTICE).read_text("utf-8"):
        sys.exit(
            f"{folder} exists, and this did not make it. Name another: python examples/train_turn_taking.py FOLDER"
        )
    print(f"The data are synthetic, and the rule in them is planted. ({time.perf_counter() - begin:.0f} s)")

    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the model is small, and so its weights do not depend on how many cores there are
    straight = Run(folder, epochs, workers)
    total, per_epoch = epochs * straight.steps_per_epoch, straight.steps_per_epoch
    half = epochs // 2 * per_epoch + per_epoch // 2  # in the middle of an epoch
    print(f"{len(straight.windows)} windows of train, {total} steps")
    with tempfile.TemporaryDirectory() as place:
        checkpoint = Path(place) / "checkpoint.pt"
        straight.train(checkpoint, after=half)
        print(f"Trained straight through. ({time.perf_counter() - begin:.0f} s)")
        resumed = Run(folder, epochs, workers, checkpoint)
    print(f"Resumed after {half} steps: epoch {resumed.windows.epoch}, {len(resumed.windows)} windows of it left.")
    resumed.train()
    pairs = zip(straight.model.state_dict().values(), resumed.model.state_dict().values(), strict=True)
    is_same = all(torch.equal(one, other) for one, other in pairs)
    print(f"The resumed run's weights are {'equal, bit for bit' if is_same else 'DIFFERENT'}. ", end="")
    print(f"({time.perf_counter() - begin:.0f} s)")

    dev = usable(folder, "dev").windows(4.0, hop=1.0, modalities=MODALITIES, fps=FPS, paired=True)
    straight.windows.set_epoch(0)
    evaluate(straight.model, straight.windows, dev, workers)
    print(f"\nAll of it took {time.perf_counter() - begin:.0f} s.")


if __name__ == "__main__":
    main()
