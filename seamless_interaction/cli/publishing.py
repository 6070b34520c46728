"""The command that makes a Hub repository, and brings it there."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from seamless_interaction.cli.shared import (
    AsJson,
    Quiet,
    Source,
    SourceIndex,
    SourceLayout,
    named_errors,
    selecting,
    shown_progress,
)


class OnError(str, Enum):
    """What becomes of a recording with a file that cannot be used."""

    null = "null"
    skip = "skip"
    stop = "raise"


def _pairs(texts: list[str] | None, what: str) -> dict[str, str]:
    """``KEY=VALUE``, several of them, also separated by commas."""
    from seamless_interaction.errors import UsageError

    found = {}
    for pair in filter(None, ",".join(texts or ()).split(",")):
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise UsageError(f"not a {what}: {pair!r}. One looks like KEY=VALUE.")
        found[key.strip()] = value.strip()
    return found


@selecting
def publish(
    selection: Any,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that becomes the repository.", metavar="DIR")
    ] = Path("seamless-interaction-hub"),
    source: Source = "bucket",
    layout: SourceLayout = None,
    index: SourceIndex = None,
    repo_id: Annotated[
        str, typer.Option(help="Of the repository on the Hub; it stands in the addresses of videos.")
    ] = "seamless/interaction",
    audio: Annotated[
        str, typer.Option(help="flac (where all samples stay the same, else the WAV), wav, or url: the address only.")
    ] = "flac",
    video: Annotated[
        list[str] | None,
        typer.Option(help="copy, embed or url; or by size, as in 10GB=copy,100GB=url, which is what happens without."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="Of a file that cannot be used: an empty value with an issue, no row, or no shard.")
    ] = OnError.null,
    media_url: Annotated[
        str | None, typer.Option(help="Where video_url and audio_url lead; without it, to the public bucket.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Shards made at a time.", min=1, max=256)] = 1,
    executor: Annotated[
        str | None, typer.Option(help="local, slurm or ray: datatrove does it. Without it, this machine, by itself.")
    ] = None,
    tasks: Annotated[int | None, typer.Option(help="Of the executor, among which shards are dealt.", min=1)] = None,
    executor_option: Annotated[
        list[str] | None, typer.Option(help="Of the executor, as in partition=cpu.", metavar="KEY=VALUE")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Bring the repository to the Hub, once it is whole.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Create it as a private one.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete files on the Hub that are in data/ or video/ and not of this.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be made and sent, and do nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a Hub repository of Parquet files, which every version of datasets loads. Once stopped, it goes on."""
    from seamless_interaction import publishing
    from seamless_interaction.errors import UsageError
    from seamless_interaction.publishing.push import check_name
    from seamless_interaction.source import addresses as sources

    def tell(*results: Any) -> None:
        found = [result.as_dict() if as_json else result.as_text() for result in results]
        typer.echo(json.dumps(found if len(found) > 1 else found[0], indent=2) if as_json else "\n".join(found))

    with named_errors():
        check_name(repo_id)
        if not push and (private or replace):
            raise UsageError(f"--{'private' if private else 'replace'} is of the repository on the Hub. Add --push.")
        one_for_all = video[0] if video and len(video) == 1 and not {"=", ","} & set(video[0]) else None
        planned = publishing.plan_shards(
            selection,
            source,
            layout=layout,
            index=index,
            repo_id=repo_id,
            audio=audio,
            video=one_for_all or _pairs(video, "way to have videos of a size"),
            on_error=on_error.value,
            media_url=media_url or sources.BUCKET,
        )
        if dry_run:
            sent = []
            if push and (output / "manifest.parquet").exists():
                sent.append(publishing.push(output, repo_id, private=private, replace=replace, dry_run=True))
            tell(planned, *sent)
            done, failed = publishing.how_far(planned, output)
            shards = f"{output}: {done:,} of {len(planned.shards):,} shards are done, {len(failed):,} have failed"
            for line in (shards, *(f"  {failure.shard}: {failure.error}" for failure in failed)):
                typer.echo(line, err=as_json)
            return
        if not quiet and not as_json:
            typer.echo(planned.as_text(), err=True)
        given = _pairs(executor_option, "executor's option")
        with shown_progress(quiet or executor is not None) as progress:
            report = publishing.publish(
                planned,
                output,
                executor=executor,
                workers=workers,
                tasks=tasks,
                options={key: int(value) if value.isdecimal() else value for key, value in given.items()},
                progress=progress,
            )
        if not (push and report.is_whole and not report.failures):
            tell(report)
            raise typer.Exit(report.exit_code)
        with shown_progress(quiet) as progress:
            pushed = publishing.push(output, repo_id, private=private, replace=replace, progress=progress)
    tell(report, pushed)
    raise typer.Exit(report.exit_code)
