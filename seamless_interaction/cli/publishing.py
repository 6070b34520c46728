"""The command that makes a Hub repository, and brings it there."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from functools import partial
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
        Path, typer.Option("--output", "-o", help="Folder that becomes the repository.", metavar="DIR")
    ] = Path("seamless-interaction-hub"),
    source: Source = "bucket",
    layout: SourceLayout = None,
    index: SourceIndex = None,
    repo_id: Annotated[
        str, typer.Option(help="Repository on the Hub, owner/name; addresses of videos contain it.")
    ] = "seamless/interaction",
    audio: Annotated[
        str, typer.Option(help="flac (the WAV where samples would change), wav, or url for the address only.")
    ] = "flac",
    video: Annotated[
        list[str] | None,
        typer.Option(help="copy, embed or url; or by subset. Default: 10GB=copy, all others url."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="What an unusable file gives: an empty value with an issue, no row, or no shard.")
    ] = OnError.null,
    media_url: Annotated[
        str | None, typer.Option(help="Base of video_url and audio_url. Default: the public bucket.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of shards to make in parallel.", min=1, max=256)] = 1,
    executor: Annotated[
        str | None, typer.Option(help="Let datatrove do it: local, slurm or ray. Default: processes of this machine.")
    ] = None,
    tasks: Annotated[
        int | None, typer.Option(help="Number of tasks that the executor deals the shards to.", min=1)
    ] = None,
    executor_option: Annotated[
        list[str] | None, typer.Option(help="Option of the executor, such as partition=cpu.", metavar="KEY=VALUE")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Upload the repository to the Hub once it is complete.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Create the repository as a private one.")] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Delete files on the Hub, in data/ and video/, that are not of this publication."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be made and sent, without doing it.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a Hub repository of Parquet files, which every version of datasets loads. An interrupted run resumes."""
    from seamless_interaction import publishing
    from seamless_interaction.errors import UsageError
    from seamless_interaction.publishing.pushing import check_name
    from seamless_interaction.source.addresses import BUCKET

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
            video=one_for_all or _pairs(video, "way to have videos of a subset"),
            on_error=on_error.value,
            media_url=media_url or BUCKET,
        )
        to_push = partial(publishing.push, output, repo_id, private=private, replace=replace) if push else None
        if dry_run:
            _tell_plan(planned, output, to_push, as_json)
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
        results: list[Any] = [report]
        if to_push and report.is_whole and not report.failures:
            with shown_progress(quiet) as progress:
                results.append(to_push(progress=progress))
    _tell(results, as_json)
    raise typer.Exit(report.exit_code)


def _tell(results: list[Any], as_json: bool) -> None:
    found = [result.as_dict() if as_json else result.as_text() for result in results]
    typer.echo(json.dumps(found if len(found) > 1 else found[0], indent=2) if as_json else "\n".join(found))


def _tell_plan(planned: Any, output: Path, to_push: Callable[..., Any] | None, as_json: bool) -> None:
    """What would be made and sent, and how far it is."""
    from seamless_interaction.publishing import how_far
    from seamless_interaction.publishing.names import MANIFEST

    sent = [to_push(dry_run=True)] if to_push and (output / MANIFEST).exists() else []
    _tell([planned, *sent], as_json)
    done, failed = how_far(planned, output)
    shards = f"{output}: {done:,} of {len(planned.shards):,} shards are done, {len(failed):,} have failed"
    for line in (shards, *(f"  {failure.shard}: {failure.error}" for failure in failed)):
        typer.echo(line, err=as_json)
