"""Commands on a corpus: inventing one, writing down where its files lie, its sizes, and whether it is as we think."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from seamless_interaction.cli.shared import Filelist, Source, named_errors, shown_steps


class StoredAs(str, Enum):
    """How a synthetic corpus is stored."""

    tree = "tree"
    bundles = "bundles"
    archives = "archives"


def synthesize(
    directory: Annotated[Path, typer.Argument(help="Directory to write to; it must be new or empty.", metavar="DIR")],
    layout: Annotated[
        StoredAs,
        typer.Option(
            help="One file per part (as in the bucket), four files per recording, or these in tars (as on the Hub)."
        ),
    ] = StoredAs.tree,
    interactions: Annotated[int, typer.Option(help="Number of interactions; 12 show every kind of recording.")] = 12,
    seconds: Annotated[float, typer.Option(help="Approximate duration of each, in seconds; at least 2.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Random seed of the content.")] = 0,
    defects: Annotated[bool, typer.Option("--defects", help="Add one broken recording of each kind.")] = False,
    movement_v4: Annotated[
        bool, typer.Option("--movement-v4", help="Add these arrays, in invented shapes: the real ones are unknown.")
    ] = False,
) -> None:
    """Write a synthetic corpus: invented recordings in the format of the real ones. No real person is in it."""
    from seamless_interaction.synthetic.writing import synthesize as write_corpus

    with named_errors():
        corpus = write_corpus(directory, layout.value, interactions, seconds, seed, defects, movement_v4)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    broken = sum(recording.defect is not None for recording in corpus.recordings)
    typer.echo(
        f"{directory}: {len(corpus.recordings)} synthetic recordings"
        + (f" ({broken} broken on purpose)" if broken else "")
        + f", {size:,} bytes, as {layout.value}. No real person is in them."
    )


def index(
    source: Annotated[str, typer.Argument(help="Folder or URL of the data, in any layout.", metavar="SOURCE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Index file to write.", metavar="FILE")],
    filelist: Annotated[
        str | None,
        typer.Option(help="Use this file list. Default: the source's own, else the official one.", metavar="CSV"),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="tree, bundles or archives. Default: detected.")] = None,
) -> None:
    """Index a source, for load_dataset(index=FILE): which files it has, where, and what they are. Resumes."""
    from seamless_interaction.opening import Opening
    from seamless_interaction.source.indexing import make_index

    with named_errors():
        opening = Opening(source, filelist=filelist)
        listed = opening.filelist
        with shown_steps(opening.place.url) as progress:
            made = make_index(opening.place, output, listed, layout, progress)
    here = made.found["files"].to_pylist()
    typer.echo(
        f"{output}: {len(here):,} recordings, {sum(files == 0 for files in here):,} of them not in the source; "
        f"{os.path.getsize(made.path):,} bytes"
    )
    for issue in made.archive_issues():
        typer.echo(f"Warning: {issue}", err=True)


def sizes(
    filelist: Annotated[
        Path | None, typer.Option(help="Use this file list. Default: the official one.", metavar="CSV")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the same numbers as JSON, one object per subset.")
    ] = False,
) -> None:
    """List what each subset holds: interactions, recordings, and the expected hours and bytes."""
    from seamless_interaction.selection.describe import as_text, describe
    from seamless_interaction.source.addresses import official_filelist
    from seamless_interaction.source.tables import read_filelist_file

    with named_errors():
        described = describe(official_filelist() if filelist is None else read_filelist_file(filelist))
    typer.echo(json.dumps(described.to_pylist(), indent=2) if as_json else as_text(described))


def check_source(
    source: Source = "bucket",
    filelist: Filelist = None,
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="Read less than 150 MB instead of about 700: no audio samples, only the beginning of arrays.",
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the complete report as JSON.", metavar="FILE")
    ] = None,
) -> None:
    """Check a source against everything this package assumes about the data. Please report disagreements."""
    from seamless_interaction.check.run import check
    from seamless_interaction.opening import Opening
    from seamless_interaction.places.write import local_path, require_writable, write_whole
    from seamless_interaction.source.addresses import address_of, official_filelist

    with named_errors():
        if output:
            require_writable(local_path(output))
        opening = Opening(address_of(source), filelist=filelist)
        listed = official_filelist() if opening.filelist is None else opening.filelist
        with shown_steps(opening.place.url) as progress:
            report = check(opening.place, listed, small, progress)
        if output:
            write_whole(local_path(output), lambda file: file.write(report.as_json().encode()))
    typer.echo(report.as_text())
