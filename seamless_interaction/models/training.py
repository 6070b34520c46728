"""Training: windows of both participants, a checkpoint that a run goes on from bit for bit, and what came of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.utils.data import DataLoader

from seamless_interaction import SeamlessDataset
from seamless_interaction.errors import ForeignCheckpoint, NonFiniteLoss, SeamlessInteractionError, UsageError
from seamless_interaction.models.baselines import HORIZON, compare
from seamless_interaction.models.card import SYNTHETIC
from seamless_interaction.models.config import COLUMNS, FORMAT, FORMAT_VERSION, ImitatorConfig
from seamless_interaction.models.imitator import ImitatorModel, check_file, load_weights
from seamless_interaction.models.objectives import fit, losses
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import local_path, locked, write_whole, writing
from seamless_interaction.source.notice import is_synthetic
from seamless_interaction.work.typed_json import load_as

CHECKPOINT, METRICS, RESULTS = "checkpoint.safetensors", "metrics.jsonl", "results.json"
_RUN = f"{FORMAT}-run"
_FITTED_ON = 96  # windows, of which the statistics are made
PRECISIONS = ("float32", "bf16")

Tell = Callable[[str], None]


class _State(NamedTuple):
    """What a checkpoint says of a run, beside its tensors."""

    settings: dict[str, Any]
    step: int
    initial: dict[str, float]
    windows: dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a run is a function of, beside the data: a checkpoint of other settings is refused.

    Attributes:
        preset: of ``ImitatorConfig``.
        steps: of the optimiser, all together; the learning rate falls to 0 along them.
        batch_size: windows of both participants.
        seconds, hop: of a window, and between the starts of two.
        learning_rate: the highest; it rises to it over the first twentieth, and falls along a cosine.
        weight_decay, clip: of AdamW, and the most that the gradient's norm may be.
        seed: of weights, order, and what is hidden.
        validated_on: windows of the dev split, at most.
        threads: of torch, on a CPU. More wait for each other longer than they work, on matrices as small as tiny's.
        where: which windows, see ``SeamlessDataset.windows``.
    """

    preset: str = "tiny"
    steps: int = 300
    batch_size: int = 8
    seconds: float = 2.0
    hop: float = 1.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    validated_on: int = 32
    threads: int = 1
    where: str | None = None


def train(
    data: str | Path,
    output: str | Path,
    settings: Settings | None = None,
    *,
    workers: int = 1,
    device: str | None = None,
    precision: str = "float32",
    compiled: bool = False,
    evaluate_every: int = 100,
    checkpoint_every: int = 100,
    stop_after: int | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Train an ``ImitatorModel`` on the train split, and compare it on the dev split. Once stopped, it goes on.

    ``output`` gets the model (``config.json``, ``model.safetensors``, ``README.md``), ``checkpoint.safetensors``,
    ``metrics.jsonl`` (a line for each step, and for each validation) and ``results.json``. On a CPU a run is a function
    of data and settings: stopped and resumed, it ends in the same weights, bit for bit.

    Args:
        data: a place of the dataset, as ``SeamlessDataset`` takes it.
        output: a folder; one with a checkpoint is gone on with.
        settings: see ``Settings``.
        workers: processes that read windows.
        device: ``cpu`` or ``cuda``; None is a GPU if there is one.
        precision, compiled: ``bf16`` and ``torch.compile``, on a GPU only.
        evaluate_every, checkpoint_every: steps.
        stop_after: leave off after so many steps of this call, with a checkpoint, and without results.
        tell: gets lines on how it goes.

    Returns:
        What ``results.json`` holds.

    Raises:
        NonFiniteLoss: a loss became NaN or infinite.
        ForeignCheckpoint: the checkpoint is of other settings, data, or of another version.
        FolderBusy: another run writes into the folder.
        TargetError: the folder cannot be written to.
    """
    run = Run(data, local_path(output), settings or Settings(), workers, device, precision, compiled)
    with writing(run.output):
        run.output.mkdir(parents=True, exist_ok=True)
    with locked(run.output), _reproducible(run.device, run.settings.threads):
        run.begin()
        return run.go(evaluate_every, checkpoint_every, stop_after, tell or (lambda line: None))


class Run:
    """A training run: its data, model, optimiser and how far it is."""

    def __init__(
        self,
        data: str | Path,
        output: Path,
        settings: Settings,
        workers: int,
        device: str | None,
        precision: str,
        compiled: bool,
    ):
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if precision not in PRECISIONS:
            raise UsageError(f"precision is {precision!r}. Give one of {', '.join(PRECISIONS)}.")
        if self.device.type == "cpu" and (compiled or precision != "float32"):
            raise UsageError("bf16 and compile are for a GPU. Leave them out, or give device='cuda'.")
        for name in ("steps", "batch_size", "threads", "validated_on"):
            if getattr(settings, name) < 1:
                raise UsageError(f"{name} is {getattr(settings, name)}. Give 1 or more.")
        self.config = ImitatorConfig.preset(settings.preset)
        if settings.seconds * self.config.fps < HORIZON + 2:
            least = (HORIZON + 2) / self.config.fps
            raise UsageError(f"windows of {settings.seconds} s are too short to compare. Give {least:.2f} s or more.")
        self.data, self.output, self.settings, self.workers = data, output, settings, workers
        self.precision, self.compiled = precision, compiled
        shape: dict[str, Any] = {
            "modalities": list(COLUMNS),
            "fps": self.config.fps,
            "paired": True,
            "where": settings.where,
        }
        self.windows = SeamlessDataset(data, split="train").windows(
            settings.seconds, settings.hop, shuffle=True, seed=settings.seed, **shape
        )
        self.dev = SeamlessDataset(data, split="dev").windows(
            settings.seconds, settings.hop, shuffle=True, seed=0, **shape
        )
        self.count = len(self.windows)
        self.step = 0
        self.initial: dict[str, float] = {}

    # --- beginning, and going on

    def begin(self) -> None:
        """Make everything anew, or as the checkpoint has it."""
        torch.manual_seed(self.settings.seed)
        self.random = torch.Generator().manual_seed(self.settings.seed)
        self.model = ImitatorModel(self.config).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        self.checkpoint = self.output / CHECKPOINT
        if self.checkpoint.exists():
            self._resume()
        else:
            some = [self.windows[i] for i in range(min(_FITTED_ON, len(self.windows)))]
            size = self.settings.batch_size
            fit(
                self.model,
                [self.model.read(self.windows.collate(some[i : i + size])) for i in range(0, len(some), size)],
            )
            with writing(self.output):
                (self.output / METRICS).write_text("")
        self.losses: Any = torch.compile(losses) if self.compiled else losses

    def _resume(self) -> None:
        found = check_file(self.checkpoint, _RUN)
        try:
            state = cast("_State", load_as(_State, found["state"]))
            tensors = load_file(self.checkpoint)
            self._take_over(state, tensors)
        except SeamlessInteractionError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
            raise ForeignCheckpoint(
                f"{self.checkpoint} is no checkpoint of a run, or is damaged: {error!r}. Delete it to begin anew."
            ) from error

    def _take_over(self, state: _State, tensors: dict[str, Tensor]) -> None:
        if state.settings != asdict(self.settings):
            other = {name: value for name, value in state.settings.items() if asdict(self.settings).get(name) != value}
            raise ForeignCheckpoint(
                f"{self.checkpoint} is of a run with {other}. Give the same, or another folder for another run."
            )
        load_weights(self.model, _under(tensors, "model."), self.checkpoint)
        by_parameter: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimizer.").items():
            number, _, what = name.partition(".")
            by_parameter.setdefault(int(number), {})[what] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": by_parameter, "param_groups": groups})
        self.windows.load_state_dict(state.windows)
        self.step, self.initial = state.step, state.initial
        torch.set_rng_state(tensors["random.torch"])
        self.random.set_state(tensors["random.hidden"])
        if "random.cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        self._leave_out_later_metrics()

    def _leave_out_later_metrics(self) -> None:
        """Steps after the checkpoint are computed again; a line that was cut off is of such a step."""
        path = self.output / METRICS
        try:
            lines = path.read_bytes().splitlines()
            kept = [line for line in lines if line.endswith(b"}") and json.loads(line)["step"] <= self.step]
        except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise ForeignCheckpoint(
                f"{path} is not what the run of the checkpoint beside it wrote ({type(error).__name__}: {error}). "
                "Put it back, or train in another folder."
            ) from error
        write_whole(path, lambda file: file.writelines(line + b"\n" for line in kept))

    def save(self, batch: Any) -> None:
        """The model, and everything that the next step depends on, in one file that is whole or not there."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in values.items()}
        tensors |= {"random.torch": torch.get_rng_state(), "random.hidden": self.random.get_state()}
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        state = _State(asdict(self.settings), self.step, self.initial, self.windows.state_dict(batch))
        content = save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            {"model": _RUN, "version": str(FORMAT_VERSION), "state": json.dumps(state._asdict())},
        )
        write_whole(self.checkpoint, lambda file: file.write(content))

    # --- training

    def go(self, evaluate_every: int, checkpoint_every: int, stop_after: int | None, tell: Tell) -> dict[str, Any]:
        """Train to the end, or for so many steps; write the model and the results."""
        steps, first, begin = self.settings.steps, self.step, time.perf_counter()
        loading = 0.0
        batch: Any = None
        if not self.initial:
            self.initial = self._validated(tell)
        batches = self._batches()
        while self.step < steps and (stop_after is None or self.step - first < stop_after):
            asked = time.perf_counter()
            batch = next(batches)
            got = time.perf_counter()
            values = self._step(batch)
            done = time.perf_counter()
            loading += got - asked
            share = (got - asked) / (done - asked)
            rate = self.optimizer.param_groups[0]["lr"]
            self._log({**values, "learning_rate": rate, "seconds": done - asked, "loading_share": share})
            if self.step % checkpoint_every == 0 or self.step == steps or self.step - first == stop_after:
                self.save(batch)
            if self.step % evaluate_every == 0 and self.step < steps:
                self._validated(tell)
        trained = time.perf_counter() - begin
        if self.step < steps:
            return {"steps": self.step}
        return self._results({"seconds": trained, "loading_share": loading / trained, "from_step": first}, tell)

    def _batches(self) -> Iterator[Any]:
        """Of what is left of this epoch, and of all that follow."""
        loader = DataLoader(
            self.windows,
            self.settings.batch_size,
            num_workers=self.workers,
            collate_fn=self.windows.collate,
            persistent_workers=self.workers > 0,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # or beginning an epoch would draw from the run's own
        )
        while True:
            yield from loader
            self.windows.set_epoch(self.windows.epoch + 1)

    def _step(self, batch: Any) -> dict[str, float]:
        self.model.train()
        streams = self.model.read(batch)
        swap = torch.rand(len(streams.text), generator=self.random) < 0.5  # whose motion is predicted
        streams = streams.swapped(swap.to(self.device))
        with self._autocast():
            found = self.losses(self.model, streams, self.random)
        self.step += 1
        values = {name: float(value.detach()) for name, value in found.items()}
        if not all(map(math.isfinite, values.values())):
            ids = [id for pair in batch["id"] for id in pair]
            raise NonFiniteLoss(self.step, ids, ", ".join(f"{name} {value:g}" for name, value in values.items()))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * schedule(self.step, self.settings.steps)
        self.optimizer.zero_grad()
        if "loss" in found:  # nothing of a batch may be there
            (found["loss"] + found.get("spread", 0.0)).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            self.optimizer.step()
        return values

    def _autocast(self) -> Any:
        return torch.autocast("cuda", torch.bfloat16) if self.precision == "bf16" else nullcontext()

    # --- validation

    def _of_dev(self) -> Iterator[Any]:
        """Batches of the same windows each time."""
        chosen = islice(range(len(self.dev)), self.settings.validated_on)
        samples = [self.dev[number] for number in chosen]
        for first in range(0, len(samples), self.settings.batch_size):
            yield self.model.read(self.dev.collate(samples[first : first + self.settings.batch_size]))

    @torch.no_grad()
    def _validated(self, tell: Tell) -> dict[str, float]:
        self.model.eval()
        random = torch.Generator().manual_seed(0)
        sums: dict[str, list[float]] = {}
        for streams in self._of_dev():
            for swap in (False, True):
                whole = streams.swapped(torch.full((len(streams.text),), swap, device=self.device))
                with self._autocast():
                    found = losses(self.model, whole, random)
                for name, value in found.items():
                    sums.setdefault(name, []).append(float(value))
        values = {name: sum(of) / len(of) for name, of in sums.items()}
        self._log({f"validation_{name}": value for name, value in values.items()})
        tell(f"step {self.step:>5}  " + "  ".join(f"{name} {value:.3f}" for name, value in values.items()))
        return values

    def _log(self, values: dict[str, float]) -> None:
        with writing(self.output), open(self.output / METRICS, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, **values}) + "\n")

    def _results(self, measured: dict[str, Any], tell: Tell) -> dict[str, Any]:
        final = self._validated(tell)
        self.model.eval()
        errors = compare(self.model, self._of_dev())
        results = {
            "settings": asdict(self.settings),
            "windows": {"train": self.count, "dev": min(self.settings.validated_on, len(self.dev))},
            "fingerprints": {"train": self.windows.fingerprint, "dev": self.dev.fingerprint},
            "validation": {"first": self.initial, "last": final},
            "errors": errors,
            "units": {"next_frame": "degrees", "rotation": "degrees", "velocity": "degrees a second"},
            "device": str(self.device),
            **measured,
        }
        about = SYNTHETIC if is_synthetic(Place(self.data)) else ""
        card = {"training_data": about, "results": as_text(results)}
        with writing(self.output):
            self.model.save_pretrained(self.output, model_card_kwargs=card)
        write_whole(self.output / RESULTS, lambda file: file.write(json.dumps(results, indent=2).encode()))
        return results


def schedule(step: int, steps: int) -> float:
    """The learning rate of a step, of the highest: up along a line for a twentieth, down along a cosine."""
    warmup = max(1, steps // 20)
    if step <= warmup:
        return step / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


def as_text(results: dict[str, Any]) -> str:
    """The results for people: a Markdown table of errors, and the validation loss before and after."""
    first, last = (results["validation"][when].get("loss", math.nan) for when in ("first", "last"))
    lines = [
        f"Validation loss on {results['windows']['dev']} windows of dev: {first:.3f} before, {last:.3f} after.",
        "",
        "| | next frame (°) | next 12 frames (°) | their velocity (°/s) |",
        "| --- | --- | --- | --- |",
    ]
    for name, errors in results["errors"].items():
        row = " | ".join(f"{errors[what]:.2f}" if what in errors else "–" for what in results["units"])
        lines.append(f"| {name} | {row} |")
    return "\n".join(lines)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@contextmanager
def _reproducible(device: torch.device, threads: int) -> Iterator[None]:
    """On a CPU, so many threads, and only algorithms that always give the same; the caller's state comes back."""
    was, had = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    with torch.random.fork_rng():
        # Not `use_deterministic_algorithms`, which is the same and first imports torch's compiler, for a second.
        torch.set_deterministic_debug_mode("error" if device.type == "cpu" else was)
        torch.set_num_threads(threads if device.type == "cpu" else had)
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(was)
            torch.set_num_threads(had)
