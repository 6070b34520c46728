"""The command line: each command is a call of the library, with the same names and the same results."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="seamless-interaction",
    help="Seamless Interaction: filmed conversations between two people, as typed Arrow records.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def main() -> None:
    """Seamless Interaction: filmed conversations between two people, as typed Arrow records."""


class Layout(str, Enum):
    """How a synthetic corpus is stored."""

    tree = "tree"
    bundles = "bundles"
    archives = "archives"


@app.command()
def synthesize(
    directory: Annotated[Path, typer.Argument(help="Where to write: a new or an empty directory.", metavar="DIR")],
    layout: Annotated[
        Layout,
        typer.Option(help="A file for each part (the bucket), four files a recording, or the same in tars (the Hub)."),
    ] = Layout.tree,
    interactions: Annotated[int, typer.Option(help="How many; 12 show every kind of recording.")] = 12,
    seconds: Annotated[float, typer.Option(help="About how long each is, at least 2.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Other seeds give other content.")] = 0,
    defects: Annotated[bool, typer.Option("--defects", help="Add broken recordings, one of each kind.")] = False,
) -> None:
    """Write a synthetic corpus: invented recordings, stored exactly as the real ones are. No real person is in it."""
    from seamless_interaction.errors import SeamlessInteractionError
    from seamless_interaction.synthetic import synthesize as write_corpus

    try:
        corpus = write_corpus(directory, layout.value, interactions, seconds, seed, defects)
    except SeamlessInteractionError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    broken = sum(recording.defect is not None for recording in corpus.recordings)
    typer.echo(
        f"{directory}: {len(corpus.recordings)} synthetic recordings"
        + (f" ({broken} broken on purpose)" if broken else "")
        + f", {size:,} bytes, as {layout.value}. No real person is in them."
    )


if __name__ == "__main__":
    app()
