"""Commands that take a part of the dataset: listing it, fetching it, checking the copy, or streaming it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seamless_interaction.cli.shared import (
    SECONDS,
    SHARES,
    AsJson,
    Filelist,
    Quiet,
    Source,
    SourceIndex,
    SourceLayout,
    Workers,
    named_errors,
    quiet_pipe,
    selecting,
    shown_progress,
)


@selecting
def download(
    selection: Any,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Folder to download into.", metavar="DIR")
    ] = Path("seamless-interaction-data"),
    source: Source = "bucket",
    filelist: Filelist = None,
    layout: SourceLayout = None,
    index: SourceIndex = None,
    workers: Workers = 16,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be fetched, without fetching anything.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Download a part of the dataset into a folder. Files already there are kept; an interrupted run resumes."""
    from seamless_interaction.download.planning import plan
    from seamless_interaction.download.run import carry_out

    with named_errors():
        planned = plan(selection, source, output_dir, filelist=filelist, layout=layout, index=index)
        if dry_run:
            typer.echo(json.dumps(planned.as_dict(), indent=2) if as_json else planned.as_text())
            return
        if not quiet and not as_json:
            typer.echo(planned.as_text(), err=True)
        with shown_progress(quiet) as progress:
            report = carry_out(planned, workers=workers, progress=progress)
    typer.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())
    raise typer.Exit(report.exit_code)


def verify(
    directory: Annotated[Path, typer.Argument(help="Folder of the copy.", metavar="DIR")],
    sample: Annotated[
        str | None, typer.Option(help="Read only this share of the files, such as 5%: those checked longest ago.")
    ] = None,
    time_limit: Annotated[str | None, typer.Option(help="Stop reading files after this time, such as 10m.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Download missing and corrupt files again.")] = False,
    source: Annotated[
        str | None, typer.Option(help="Where --repair downloads from. Default: where the copy came from.")
    ] = None,
    workers: Workers = 16,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Verify a copy against its manifest, offline. Exit codes: 0 complete, 3 files missing, 4 corrupt, 2 usage."""
    from seamless_interaction.download.verifying import verify as verify_copy
    from seamless_interaction.work.text import number

    with named_errors(), shown_progress(quiet) as progress:
        found = verify_copy(
            directory,
            sample=None if sample is None else number(sample, SHARES, "share", "5%"),
            time_limit=None if time_limit is None else number(time_limit, SECONDS, "time", "10m"),
            repair=repair,
            source=source,
            workers=workers,
            progress=progress,
        )
    typer.echo(json.dumps(found.as_dict(), indent=2) if as_json else found.as_text())
    raise typer.Exit(found.exit_code)


@selecting
def list_(
    selection: Any,
    source: Source = "bucket",
    filelist: Filelist = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List the selected recordings. Only the tables are read; nothing is downloaded."""
    from seamless_interaction.errors import UsageError
    from seamless_interaction.opening import Opening
    from seamless_interaction.selection.catalogue import as_text, catalogue
    from seamless_interaction.selection.selection import tell_chosen
    from seamless_interaction.source.addresses import address_of

    with named_errors(), quiet_pipe():
        if as_json and as_csv:
            raise UsageError("--json and --csv are two formats. Choose one.")
        opening = Opening(address_of(source), filelist=filelist)
        place, listed = opening.place, opening.filelist
        if listed is None:
            raise UsageError(f"{place.url} has no filelist.csv. Name one with --filelist.")
        selection = opening.in_force(selection)
        table = catalogue(listed, selection, place)
        tell_chosen(place, selection, table, listed)
        if as_csv:
            import pyarrow.csv

            pyarrow.csv.write_csv(table, sys.stdout.buffer)
        elif as_json:
            for batch in table.to_batches(1000):
                sys.stdout.writelines(f"{json.dumps(row)}\n" for row in batch.to_pylist())
        else:
            typer.echo(as_text(table))


@selecting
def stream(
    selection: Any,
    source: Source = "bucket",
    layout: SourceLayout = None,
    index: SourceIndex = None,
    limit: Annotated[int | None, typer.Option(help="Stop after this many recordings.", min=1)] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Cache what is fetched in this folder, for later runs.", metavar="DIR")
    ] = None,
    cache_size: Annotated[str | None, typer.Option(help="Maximum size of --cache-dir.", show_default="10GB")] = None,
) -> None:
    """Print records as JSON Lines: text, numbers, shapes and statistics of arrays. Nothing is prepared."""
    from contextlib import nullcontext
    from dataclasses import asdict
    from itertools import islice

    from seamless_interaction import load_dataset
    from seamless_interaction.errors import UsageError
    from seamless_interaction.places.range_cache import kept_in
    from seamless_interaction.record.lines import stream_lines
    from seamless_interaction.source import addresses
    from seamless_interaction.work.text import BYTES, number

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # as JSON is, whatever the terminal
    criteria = asdict(selection)
    split, modalities = criteria.pop("split"), criteria.pop("modalities")
    with named_errors(), quiet_pipe():
        if cache_size is not None and cache_dir is None:
            raise UsageError("--cache-size is of --cache-dir. Name a folder.")
        most = number(cache_size or "10GB", BYTES, "number of bytes", "10GB")
        with kept_in(cache_dir, most) if cache_dir else nullcontext():
            found = load_dataset(
                **criteria,
                split=split,
                modalities=modalities and list(modalities),
                data_dir=addresses.address_of(source),
                layout=layout,
                index=index,
                streaming=True,
            )
            splits = [found] if split else list(found.values())
            lines = (line for stream in splits for line in stream_lines(stream))
            for line in islice(lines, limit):
                print(line, flush=True)
