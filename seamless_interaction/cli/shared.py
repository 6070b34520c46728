"""What commands have in common: options, those of a selection among them, units, errors as a line, and progress."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

Source = Annotated[str, typer.Option(help="bucket, hub, or the folder or URL of a copy in any layout.")]
Filelist = Annotated[
    str | None, typer.Option(help="Use this file list. Default: the source's own, else the official one.")
]
SourceLayout = Annotated[str | None, typer.Option("--layout", help="tree, bundles or archives. Default: detected.")]
SourceIndex = Annotated[str | None, typer.Option("--index", help="Use this index of the source.", metavar="FILE")]
Workers = Annotated[int, typer.Option(help="Number of files to fetch in parallel.", min=1, max=256)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not show progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

# Options that stand for a `Selection`, by the names of its fields.
_CRITERIA: dict[str, Any] = {
    "subset": Annotated[
        str | None,
        typer.Option(
            "--subset",
            "--version",
            help="10GB, 100GB, 1TB or full. Default: everything in a source that you name; 10GB of bucket and hub.",
        ),
    ],
    "label": Annotated[str | None, typer.Option(help="Only improvised or only naturalistic conversations.")],
    "split": Annotated[str | None, typer.Option(help="Only this split: train, dev or test.")],
    "vendor": Annotated[list[str] | None, typer.Option(help="Only these vendors, such as V00 or V00,V03.")],
    "session": Annotated[list[str] | None, typer.Option(help="Only these sessions, such as V00_S0809.")],
    "interaction": Annotated[
        list[str] | None, typer.Option(help="Only these interactions, such as V00_S0809_I00000582.")
    ],
    "file_ids": Annotated[
        list[str] | None, typer.Option("--file-id", help="Only these recordings, such as V00_S0809_I00000582_P0947.")
    ],
    "annotated": Annotated[
        str | None, typer.Option(help="Only recordings with annotations: 1P, 3P or any (the default of the option).")
    ],
    "movement": Annotated[
        bool | None, typer.Option("--movement/--no-movement", help="Only recordings with, or without, face motion.")
    ],
    "modalities": Annotated[
        list[str] | None, typer.Option(help="Which modalities: audio,video,transcript,vad,smplh,… or single arrays.")
    ],
    "max_bytes": Annotated[str | None, typer.Option(help="Upper bound on the expected size, such as 20GB.")],
    "sample": Annotated[int | None, typer.Option(help="This many interactions, drawn at random.")],
    "seed": Annotated[int, typer.Option(help="Seed of the random sample.")],
    "single": Annotated[bool, typer.Option("--single", help="Only the matching recordings, without their partners.")],
}
_DEFAULTS = {"seed": 0, "single": False}


class Selecting(TyperCommand):
    """``--annotated`` with nothing behind it means any."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for at in reversed(range(len(args))):
            if args[at] == "--annotated" and (at + 1 == len(args) or args[at + 1].startswith("-")):
                args.insert(at + 1, "any")
        return super().parse_args(ctx, args)


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a ``Selection`` has an option for each of its fields."""

    @wraps(command)
    def run(**options: Any) -> None:
        from seamless_interaction.selection.selection import Selection

        with named_errors():
            criteria = {name: options.pop(name) for name in _CRITERIA}
            for name, value in criteria.items():
                if isinstance(value, list):
                    criteria[name] = tuple(one for text in value for one in text.split(",") if one) or None
            command(Selection(**criteria), **options)

    signature = inspect.signature(command, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    options = [
        inspect.Parameter(name, kind, default=_DEFAULTS.get(name), annotation=annotation)
        for name, annotation in _CRITERIA.items()
    ]
    own = [parameter.replace(kind=kind) for parameter in list(signature.parameters.values())[1:]]
    run.__signature__ = signature.replace(parameters=[*options, *own])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*options, *own)}
    return run


SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
SHARES = {"": 1, "%": 0.01}


@contextmanager
def named_errors() -> Iterator[None]:
    """Errors as a line, and exit codes: 2 for an argument, 1 for all else, 130 for Ctrl-C."""
    from seamless_interaction.errors import SeamlessInteractionError, UsageError

    try:
        yield
    except SeamlessInteractionError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error
    except KeyboardInterrupt:
        typer.echo("Interrupted. Run the same command again to resume.", err=True)
        raise typer.Exit(130) from None


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Whoever reads may stop, as ``head`` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it exits
        raise typer.Exit from None


@contextmanager
def shown_steps(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for what tells how many steps are done, and of how many."""
    with typer.progressbar(length=1, label=label, show_pos=True, file=sys.stderr) as bar:

        def progress(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        yield progress


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Any]:
    """Show progress, unless quiet."""
    from seamless_interaction.work.progress import Meter, shown

    meter = Meter() if quiet else shown()
    try:
        yield meter
    finally:
        meter.close()
