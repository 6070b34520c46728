"""Commands that compute from the data: features, benchmarks, and a model."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from seamless_interaction.cli.shared import (
    AsJson,
    Quiet,
    SourceIndex,
    SourceLayout,
    named_errors,
    selecting,
    shown_progress,
)


@selecting
def features(
    selection: Any,
    data: Annotated[str, typer.Argument(help="Folder or URL of the data, in any layout.", metavar="DATA")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the files to.", metavar="DIR")] = Path(
        "features"
    ),
    groups: Annotated[
        str, typer.Option(help="Groups of features: prosody, head, gesture, face, dyadic, silero.")
    ] = "prosody,head,gesture,face,dyadic",
    fps: Annotated[float, typer.Option(help="Frame rate of the grid that all features are put on.")] = 30.0,
    layout: SourceLayout = None,
    index: SourceIndex = None,
    workers: Annotated[
        int, typer.Option(help="Number of processes, each with one conversation at a time.", min=1, max=256)
    ] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write features of conversations as Parquet, one file each. An interrupted run resumes."""
    from dataclasses import asdict

    from seamless_interaction import SeamlessDataset
    from seamless_interaction.errors import UsageError
    from seamless_interaction.features import make_features

    criteria = asdict(selection)
    with named_errors():
        if criteria.pop("modalities"):
            raise UsageError("--modalities is for records. What is computed, --groups says.")
        dataset = SeamlessDataset(data, layout=layout, index=index, **criteria)
        chosen = [one for one in groups.split(",") if one]
        with shown_progress(quiet) as progress:
            report = make_features(dataset, output, chosen, fps, workers=workers, progress=progress)
    typer.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())


def benchmark(
    task: Annotated[
        str, typer.Argument(help="A task such as turn-taking, all for every task, or table.", metavar="TASK")
    ],
    files: Annotated[list[Path] | None, typer.Argument(help="For table: files that --output wrote.")] = None,
    data: Annotated[str | None, typer.Option(help="Folder or URL of the data, in any layout.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the results to this file, as JSON.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Measure the linear model on features too, not only the prior.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Measure an ImitatorModel too: a run's folder, or owner/name.", metavar="RUN")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of --model: cpu or cuda.")] = "cpu",
    motion_space: Annotated[
        Path | None,
        typer.Option(help="Motion space to compare in. Default: learn one, and write it beside --output."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to measure on: test or dev. Models learn from train.")] = "test",
    groups: Annotated[
        str | None, typer.Option(help="Groups of features, such as dyadic,head. Default: the task's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    layout: SourceLayout = None,
    index: SourceIndex = None,
    quiet: Quiet = False,
) -> None:
    """Measure models by a benchmark, with intervals; or make one table of several files of results."""
    from seamless_interaction import SeamlessDataset, evaluation
    from seamless_interaction.errors import UsageError
    from seamless_interaction.places.write import local_path, require_writable

    with named_errors():
        if task == "table":
            if not files:
                raise UsageError("no file of results. Name those that `benchmark TASK --output FILE` wrote.")
            named = [(path.name, result) for path in files for result in evaluation.read_results(path)]
            typer.echo(evaluation.table(named))
            return
        protocols = evaluation.tasks_of(task)
        if output:
            require_writable(local_path(output))
        if files or data is None:
            raise UsageError("name the data, as in --data DATA; files are for `benchmark table`.")
        if groups and not baselines:
            raise UsageError("--groups is what the linear model is shown. Add --baselines.")
        imitator = None
        if model is not None:
            from seamless_interaction.models import ImitatorModel

            imitator = ImitatorModel.from_pretrained(model, map_location=device)
        dataset = SeamlessDataset(data, layout=layout, index=index)
        with shown_progress(quiet) as progress:
            results = evaluation.run_all(
                protocols,
                dataset,
                split=split,
                models=evaluation.BASELINES if baselines else evaluation.PRIOR,
                imitator=imitator,
                groups=tuple(groups.split(",")) if groups else None,
                motion_space=motion_space,
                keep_motion_space_in=output.parent if output else None,
                seed=seed,
                progress=progress,
            )
        if output:
            evaluation.write_results(results, output)
    typer.echo(evaluation.table([(output.name if output else "this run", result) for result in results]))


class Trainable(str, Enum):
    """What the package trains."""

    imitator = "imitator"


class Preset(str, Enum):
    """Sizes of the model."""

    tiny = "tiny"
    small = "small"
    base = "base"


class Precision(str, Enum):
    """Of numbers in training."""

    float32 = "float32"
    bf16 = "bf16"


def train(
    model: Annotated[Trainable, typer.Argument(help="What to train: imitator.", metavar="MODEL")],
    data: Annotated[str, typer.Option(help="Folder or URL of the dataset, with train and dev.", metavar="DATA")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for model, checkpoint and results.", metavar="DIR")
    ] = Path("run"),
    preset: Annotated[
        Preset, typer.Option(help="Size of the model: tiny for a laptop, the others for a GPU.")
    ] = Preset.tiny,
    steps: Annotated[int, typer.Option(help="Number of optimiser steps.", min=1)] = 300,
    batch_size: Annotated[int, typer.Option(help="Windows of both participants in a batch.", min=1)] = 8,
    seconds: Annotated[float, typer.Option(help="Window length in seconds.")] = 2.0,
    hop: Annotated[float, typer.Option(help="Seconds from the start of a window to the start of the next.")] = 1.0,
    learning_rate: Annotated[
        float, typer.Option(help="Highest learning rate, reached after a twentieth of the steps.")
    ] = 2e-3,
    where: Annotated[
        str | None, typer.Option(help="Only these windows, such as 'speech > 0.1 and smplh_valid > 0.5'.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of weights, order and masking.")] = 0,
    threads: Annotated[
        int, typer.Option(help="Number of torch threads on a CPU; for tiny, more are slower.", min=1)
    ] = 1,
    workers: Annotated[int, typer.Option(help="Number of processes that read windows.", min=0, max=256)] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: a GPU if there is one.")] = None,
    precision: Annotated[Precision, typer.Option(help="bf16 on a GPU only.")] = Precision.float32,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the objectives; on a GPU only.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Number of steps between checkpoints.", min=1)] = 50,
    evaluate_every: Annotated[int, typer.Option(help="Number of steps between validations.", min=1)] = 50,
) -> None:
    """Train a model on windows of both participants, and compare it with guesses. An interrupted run resumes."""
    from seamless_interaction.models import need_torch

    with named_errors():
        need_torch("train")
        from seamless_interaction.models.training import Settings, as_text
        from seamless_interaction.models.training import train as run

        results = run(
            data,
            output,
            Settings(
                preset=preset.value,
                steps=steps,
                batch_size=batch_size,
                seconds=seconds,
                hop=hop,
                learning_rate=learning_rate,
                where=where,
                seed=seed,
                threads=threads,
            ),
            workers=workers,
            device=device,
            precision=precision.value,
            compiled=compiled,
            checkpoint_every=checkpoint_every,
            evaluate_every=evaluate_every,
            tell=lambda line: typer.echo(line, err=True),
        )
    typer.echo(as_text(results))
    typer.echo(
        f"\n{output}: {model.value}, {results['seconds']:.0f} s, {results['loading_share']:.1%} of it waiting for data"
    )
