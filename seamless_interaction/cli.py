"""The command line: each command is a call of the library, with the same names and the same results."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

app = typer.Typer(
    name="seamless-interaction",
    help="Seamless Interaction: filmed conversations between two people, as typed Arrow records.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def main() -> None:
    """Seamless Interaction: filmed conversations between two people, as typed Arrow records."""


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
        typer.echo("Stopped. The same command goes on where it was.", err=True)
        raise typer.Exit(130) from None


# Units of what people type, for `_number`.
_BYTES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_SHARES = {"": 1, "%": 0.01}


def _number(text: str, units: Mapping[str, float], what: str, example: str) -> Any:
    """A number with a unit."""
    from seamless_interaction.errors import UsageError

    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([a-zA-Z%]*)", text.strip())
    if match is None or match[2] not in units:
        raise UsageError(f"not a {what}: {text!r}. One looks like {example}.")
    number = float(match[1]) * units[match[2]]
    return int(number) if units is _BYTES else number


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
    from seamless_interaction.synthetic import synthesize as write_corpus

    with named_errors():
        corpus = write_corpus(directory, layout.value, interactions, seconds, seed, defects)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    broken = sum(recording.defect is not None for recording in corpus.recordings)
    typer.echo(
        f"{directory}: {len(corpus.recordings)} synthetic recordings"
        + (f" ({broken} broken on purpose)" if broken else "")
        + f", {size:,} bytes, as {layout.value}. No real person is in them."
    )


@app.command()
def index(
    source: Annotated[str, typer.Argument(help="A folder or URL, in any layout.", metavar="SOURCE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The index to write.", metavar="FILE")],
    filelist: Annotated[
        str | None,
        typer.Option(help="A file list of yours; without it, the source's own, or the official one.", metavar="CSV"),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="tree, bundles or archives; found out without it.")] = None,
) -> None:
    """Write down what lies where in SOURCE, and what it is, for load_dataset(index=FILE). Once stopped, it goes on."""
    from seamless_interaction.indexing import make_index
    from seamless_interaction.places import Place
    from seamless_interaction.sources import filelist_of
    from seamless_interaction.tables import read_filelist_file

    with named_errors():
        place = Place(source)
        listed = filelist_of(place) if filelist is None else read_filelist_file(filelist)
        with typer.progressbar(length=1, label=source, show_pos=True, file=sys.stderr) as bar:

            def progress(done: int, of: int) -> None:
                bar.length = of
                bar.update(done - bar.pos)

            made = make_index(place, output, listed, layout, progress)
    here = made.found["files"].to_pylist()
    typer.echo(
        f"{output}: {len(here):,} recordings, {sum(files == 0 for files in here):,} of them not in the source; "
        f"{output.stat().st_size:,} bytes"
    )
    for issue in made.archive_issues():
        typer.echo(f"Warning: {issue}", err=True)


@app.command()
def sizes(
    filelist: Annotated[
        Path | None, typer.Option(help="A file list of yours; without it, the official one.", metavar="CSV")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same numbers as JSON, one object a size.")] = False,
) -> None:
    """List what each size holds: interactions, recordings, hours and bytes as far as they are known beforehand."""
    from seamless_interaction.sizes import as_text, describe
    from seamless_interaction.sources import official_filelist
    from seamless_interaction.tables import read_filelist_file

    with named_errors():
        described = describe(official_filelist() if filelist is None else read_filelist_file(filelist))
    typer.echo(json.dumps(described.to_pylist(), indent=2) if as_json else as_text(described))


# --- what is selected -----------------------------------------------------------------------------

# Options that stand for a `Selection`, by the names of its fields.
_CRITERIA: dict[str, Any] = {
    "subset": Annotated[
        str | None,
        typer.Option("--subset", "--version", help="10GB, 100GB, 1TB or full; 10GB, or what else bounds it."),
    ],
    "label": Annotated[str | None, typer.Option(help="improvised or naturalistic.")],
    "split": Annotated[str | None, typer.Option(help="train, dev or test.")],
    "vendor": Annotated[list[str] | None, typer.Option(help="V00 to V03; several as V00,V03.")],
    "session": Annotated[list[str] | None, typer.Option(help="Sessions, such as V00_S0809.")],
    "interaction": Annotated[list[str] | None, typer.Option(help="Interactions, such as V00_S0809_I00000582.")],
    "file_ids": Annotated[
        list[str] | None, typer.Option("--file-id", help="Recordings, such as V00_S0809_I00000582_P0947.")
    ],
    "annotated": Annotated[
        str | None, typer.Option(help="With annotations: 1P, 3P, or any, which --annotated alone means.")
    ],
    "movement": Annotated[bool | None, typer.Option("--movement/--no-movement", help="With or without face motion.")],
    "modalities": Annotated[
        list[str] | None, typer.Option(help="What of each: audio,video,transcript,vad,smplh,… or single arrays.")
    ],
    "max_bytes": Annotated[str | None, typer.Option(help="The most it may have, such as 20GB, as expected.")],
    "sample": Annotated[int | None, typer.Option(help="So many interactions, at random.")],
    "seed": Annotated[int, typer.Option(help="Another seed, another sample.")],
    "single": Annotated[bool, typer.Option("--single", help="Recordings as they match, without their partners.")],
}
_DEFAULTS = {"seed": 0, "single": False}


class _Command(TyperCommand):
    """``--annotated`` with nothing behind it means any."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for at in reversed(range(len(args))):
            if args[at] == "--annotated" and (at + 1 == len(args) or args[at + 1].startswith("-")):
                args.insert(at + 1, "any")
        return super().parse_args(ctx, args)


def _selecting(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a ``Selection`` has an option for each of its fields."""

    @wraps(command)
    def run(**options: Any) -> None:
        from seamless_interaction.selection import Selection

        with named_errors():
            criteria = {name: options.pop(name) for name in _CRITERIA}
            for name, value in criteria.items():
                if isinstance(value, list):
                    criteria[name] = tuple(one for text in value for one in text.split(",") if one) or None
            if criteria["max_bytes"] is not None:
                criteria["max_bytes"] = _number(criteria["max_bytes"], _BYTES, "number of bytes", "20GB")
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


Source = Annotated[str, typer.Option(help="bucket, hub, or a folder or URL of a copy, in any layout.")]
Filelist = Annotated[
    str | None, typer.Option(help="A file list of yours; without it, the source's own, or the official one.")
]
SourceLayout = Annotated[str | None, typer.Option("--layout", help="tree, bundles or archives; found out without it.")]
SourceIndex = Annotated[str | None, typer.Option("--index", help="An index of the source.", metavar="FILE")]
Workers = Annotated[int, typer.Option(help="Files fetched at a time.", min=1, max=256)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell nothing while it goes.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON.")]


# --- commands on copies ---------------------------------------------------------------------------


@app.command(cls=_Command)
@_selecting
def download(
    selection: Any,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="The folder of the copy.", metavar="DIR")
    ] = Path("seamless-interaction-data"),
    source: Source = "bucket",
    filelist: Filelist = None,
    layout: SourceLayout = None,
    index: SourceIndex = None,
    workers: Workers = 16,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be fetched, and fetch nothing.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a part of the dataset into a folder. What is there already stays; once stopped, it goes on."""
    from seamless_interaction.copying import carry_out
    from seamless_interaction.planning import plan

    with named_errors():
        planned = plan(selection, source, output_dir, filelist=filelist, layout=layout, index=index)
        if dry_run:
            typer.echo(json.dumps(planned.as_dict(), indent=2) if as_json else planned.as_text())
            return
        if not quiet and not as_json:
            typer.echo(planned.as_text(), err=True)
        with _progress(quiet) as progress:
            report = carry_out(planned, workers=workers, progress=progress)
    typer.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())
    raise typer.Exit(report.exit_code)


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(help="The folder of a copy.", metavar="DIR")],
    sample: Annotated[
        str | None, typer.Option(help="Read this share of the files, such as 5%: those read the longest ago.")
    ] = None,
    time_limit: Annotated[str | None, typer.Option(help="Read no further file after this time, such as 10m.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch what is missing or corrupt again.")] = False,
    source: Annotated[
        str | None, typer.Option(help="Where from, with --repair; without it, where the copy came from.")
    ] = None,
    workers: Workers = 16,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare a copy with its manifest, offline. Exits with 0: whole, 3: files missing, 4: corrupt, 2: wrong usage."""
    from seamless_interaction.verify import verify as verify_copy

    with named_errors(), _progress(quiet) as progress:
        found = verify_copy(
            directory,
            sample=None if sample is None else _number(sample, _SHARES, "share", "5%"),
            time_limit=None if time_limit is None else _number(time_limit, _SECONDS, "time", "10m"),
            repair=repair,
            source=source,
            workers=workers,
            progress=progress,
        )
    typer.echo(json.dumps(found.as_dict(), indent=2) if as_json else found.as_text())
    raise typer.Exit(found.exit_code)


@app.command("list", cls=_Command)
@_selecting
def list_(
    selection: Any,
    source: Source = "bucket",
    filelist: Filelist = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
) -> None:
    """List the recordings that there are, all of them without a narrower choice. Reads nothing but the tables."""
    from dataclasses import replace

    from seamless_interaction import sources
    from seamless_interaction.catalogue import as_text, catalogue
    from seamless_interaction.errors import UsageError
    from seamless_interaction.places import Place
    from seamless_interaction.tables import read_filelist_file

    with named_errors(), _quiet_pipe():
        if as_json and as_csv:
            raise UsageError("--json and --csv are two formats. Choose one.")
        place = Place(sources.address_of(source))
        listed = read_filelist_file(filelist) if filelist else sources.filelist_of(place)
        if listed is None:
            raise UsageError(f"{place.url} has no filelist.csv. Name one with --filelist.")
        table = catalogue(listed, replace(selection, subset=selection.subset or "full"), place)
        if as_csv:
            import pyarrow.csv

            pyarrow.csv.write_csv(table, sys.stdout.buffer)
        elif as_json:
            for batch in table.to_batches(1000):
                sys.stdout.writelines(f"{json.dumps(row)}\n" for row in batch.to_pylist())
        else:
            typer.echo(as_text(table))


@app.command(cls=_Command)
@_selecting
def stream(
    selection: Any,
    source: Source = "bucket",
    layout: SourceLayout = None,
    index: SourceIndex = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many recordings.", min=1)] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Keep what is fetched here; a second run reads it there.", metavar="DIR")
    ] = None,
    cache_size: Annotated[str, typer.Option(help="The most that --cache-dir may hold.")] = "10GB",
) -> None:
    """Print records as JSON, one a line: text and numbers, of arrays their shapes and figures. Nothing is prepared."""
    from contextlib import nullcontext
    from dataclasses import asdict
    from itertools import islice

    from seamless_interaction import load_dataset, sources
    from seamless_interaction.range_cache import kept_in
    from seamless_interaction.record_lines import stream_lines

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # as JSON is, whatever the terminal
    criteria = asdict(selection)
    label, split, modalities = (criteria.pop(name) for name in ("label", "split", "modalities"))
    if selection.subset or label:
        criteria["subset"] = "-".join(filter(None, [selection.size, label]))
    with named_errors(), _quiet_pipe():
        most = _number(cache_size, _BYTES, "number of bytes", "10GB")
        with kept_in(cache_dir, most) if cache_dir else nullcontext():
            found = load_dataset(
                **criteria,
                split=split,
                modalities=modalities and list(modalities),
                data_dir=sources.address_of(source),
                layout=layout,
                index=index,
                streaming=True,
            )
            splits = [found] if split else list(found.values())
            lines = (line for stream in splits for line in stream_lines(stream))
            for line in islice(lines, limit):
                print(line, flush=True)


@app.command()
def check_source(
    source: Source = "bucket",
    filelist: Filelist = None,
    small: Annotated[
        bool,
        typer.Option("--small", help="Less than 150 MB instead of about 700: no samples, of arrays the beginning."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the whole report as JSON.", metavar="FILE")
    ] = None,
) -> None:
    """Hold a source against all that this package takes for true of it. Please send us what disagrees."""
    from seamless_interaction import sources
    from seamless_interaction.check_source import check
    from seamless_interaction.local_cache import write_whole
    from seamless_interaction.places import Place
    from seamless_interaction.tables import read_filelist_file

    with named_errors():
        place = Place(sources.address_of(source))
        listed = read_filelist_file(filelist) if filelist else sources.filelist_of(place)
        if listed is None:
            listed = sources.official_filelist()
        with typer.progressbar(length=1, label=place.url, show_pos=True, file=sys.stderr) as bar:

            def progress(done: int, of: int) -> None:
                bar.length = of
                bar.update(done - bar.pos)

            report = check(place, listed, small, progress)
        if output:
            write_whole(output, lambda file: file.write(report.as_json().encode()))
    typer.echo(report.as_text())


# --- features -------------------------------------------------------------------------------------


@app.command(cls=_Command)
@_selecting
def features(
    selection: Any,
    data: Annotated[str, typer.Argument(help="A folder or URL of the data, in any layout.", metavar="DATA")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that the files go to.", metavar="DIR")
    ] = Path("features"),
    groups: Annotated[
        str, typer.Option(help="Any of prosody, head, gesture, face, dyadic and silero.")
    ] = "prosody,head,gesture,face,dyadic",
    fps: Annotated[float, typer.Option(help="Rows a second of the grid that all is put on.")] = 30.0,
    layout: SourceLayout = None,
    index: SourceIndex = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write features of conversations as Parquet, a file each. What is there stays; once stopped, it goes on."""
    from dataclasses import asdict

    from seamless_interaction import SeamlessDataset
    from seamless_interaction.errors import UsageError
    from seamless_interaction.features import make_features

    criteria = {**asdict(selection), "subset": selection.subset or "full"}
    with named_errors():
        if criteria.pop("modalities"):
            raise UsageError("--modalities is for records. What is computed, --groups says.")
        dataset = SeamlessDataset(data, layout=layout, index=index, **criteria)
        with _progress(quiet) as progress:
            report = make_features(dataset, output, [one for one in groups.split(",") if one], fps, progress=progress)
    typer.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())


# --- benchmarks -----------------------------------------------------------------------------------


@app.command()
def benchmark(
    task: Annotated[str, typer.Argument(help="A task, as turn-taking; all of them: all; or table.", metavar="TASK")],
    files: Annotated[list[Path] | None, typer.Argument(help="Of table: files that --output wrote.")] = None,
    data: Annotated[str | None, typer.Option(help="A folder or URL of the data, in any layout.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the results here, as JSON.")] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Measure the linear model on features too, not the prior alone.")
    ] = False,
    split: Annotated[str, typer.Option(help="That is measured: test or dev. Models learn from train.")] = "test",
    groups: Annotated[str | None, typer.Option(help="Of features, as dyadic,head; without it, the task's own.")] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    layout: SourceLayout = None,
    index: SourceIndex = None,
    quiet: Quiet = False,
) -> None:
    """Measure models by a benchmark, with intervals; or make one table of several files of results."""
    from seamless_interaction import SeamlessDataset, evaluation
    from seamless_interaction.errors import UsageError

    with named_errors():
        if task == "table":
            if not files:
                raise UsageError("no file of results. Name those that `benchmark TASK --output FILE` wrote.")
            named = [(path.name, result) for path in files for result in evaluation.read_results(path)]
            typer.echo(evaluation.table(named))
            return
        protocols = evaluation.tasks_of(task)
        if files or data is None:
            raise UsageError("name the data, as in --data DATA; files are for `benchmark table`.")
        dataset = SeamlessDataset(data, layout=layout, index=index)
        results = []
        for protocol in protocols:
            with _progress(quiet) as progress:
                result = evaluation.run(
                    protocol,
                    dataset,
                    split=split,
                    models=evaluation.BASELINES if baselines else evaluation.PRIOR,
                    groups=tuple(groups.split(",")) if groups else None,
                    seed=seed,
                    progress=progress,
                )
            results.append(result)
        if output:
            evaluation.write_results(results, output)
    typer.echo(evaluation.table([(output.name if output else "this run", result) for result in results]))


# --- publishing -----------------------------------------------------------------------------------


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


@app.command(cls=_Command)
@_selecting
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
    from seamless_interaction import publishing, sources
    from seamless_interaction.publishing.push import check_name

    def tell(*results: Any) -> None:
        found = [result.as_dict() if as_json else result.as_text() for result in results]
        typer.echo(json.dumps(found if len(found) > 1 else found[0], indent=2) if as_json else "\n".join(found))

    with named_errors():
        check_name(repo_id)
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
        with _progress(quiet or executor is not None) as progress:
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
        with _progress(quiet) as progress:
            pushed = publishing.push(output, repo_id, private=private, replace=replace, progress=progress)
    tell(report, pushed)
    raise typer.Exit(report.exit_code)


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


@app.command()
def train(
    model: Annotated[Trainable, typer.Argument(help="What to train: imitator.", metavar="MODEL")],
    data: Annotated[str, typer.Option(help="A folder or URL of the dataset, with train and dev.", metavar="DATA")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where model, checkpoint and results go.", metavar="DIR")
    ] = Path("run"),
    preset: Annotated[
        Preset, typer.Option(help="How large: tiny is for a laptop, the others for a GPU.")
    ] = Preset.tiny,
    steps: Annotated[int, typer.Option(help="Of the optimiser.", min=1)] = 150,
    batch_size: Annotated[int, typer.Option(help="Windows of both participants.", min=1)] = 8,
    seconds: Annotated[float, typer.Option(help="Of a window.")] = 2.0,
    hop: Annotated[float, typer.Option(help="Seconds from a window's start to the next one's.")] = 1.0,
    learning_rate: Annotated[float, typer.Option(help="The highest, after a twentieth of the steps.")] = 2e-3,
    where: Annotated[
        str | None, typer.Option(help="Which windows, as in 'speech > 0.1 and smplh_valid > 0.5'.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, and what is hidden.")] = 0,
    threads: Annotated[int, typer.Option(help="Of torch, on a CPU: for tiny, more are slower.", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="Processes that read windows.", min=0, max=256)] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; without it, a GPU if there is one.")] = None,
    precision: Annotated[Precision, typer.Option(help="bf16 on a GPU only.")] = Precision.float32,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the objectives; on a GPU only.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Steps from a checkpoint to the next.", min=1)] = 50,
    evaluate_every: Annotated[int, typer.Option(help="Steps from a validation to the next.", min=1)] = 50,
) -> None:
    """Train a model on windows of both participants, and compare it with guesses. Once stopped, it goes on."""
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


@contextmanager
def _quiet_pipe() -> Iterator[None]:
    """Whoever reads may stop, as ``head`` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it exits
        raise typer.Exit from None


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    from seamless_interaction.progress import Meter, shown

    meter = Meter() if quiet else shown()
    try:
        yield meter
    finally:
        meter.close()


if __name__ == "__main__":
    app()
