"""Publishing: what Parquet shards weigh, what it takes to make them, and to read them back."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import contenders
import data
import datasets
import measure
import pyarrow as pa
import pyarrow.parquet as pq
from bench import MB, Bench, Row, Table
from datasets.table import InMemoryTable

import seamless_interaction
import seamless_interaction.record.view
from seamless_interaction import ARRAYS
from seamless_interaction.publishing import Selection, ShardPlan, convert, flac, parquet, plan_shards, publish
from seamless_interaction.record.arrow import table
from seamless_interaction.source.layout import parts_of
from seamless_interaction.source.recordings import Recording
from seamless_interaction.source.tables import write_filelist
from seamless_interaction.synthetic.filelist import synthetic_filelist

sys.path.append(str(measure.ROOT / "tests"))
from servers import Bucket, Hub, use_hub

REPO = "me/interaction"
PUBLISH = """\
import logging, sys
logging.disable(logging.WARNING)
from seamless_interaction.publishing import Selection, plan_shards, publish
report = publish(plan_shards(Selection("full"), sys.argv[1], video="url"), sys.argv[2])
assert report.exit_code == 0, report.as_text()
"""
PLAN = """\
import json, logging, sys, time
logging.disable(logging.WARNING)
import datasets
from seamless_interaction.publishing import Selection, plan_shards
datasets.config.HF_DATASETS_CACHE = sys.argv[2]
before = time.perf_counter()
planned = plan_shards(Selection("full"), sys.argv[1])
figures = [time.perf_counter() - before, time.process_time()]
print(json.dumps([*figures, len(planned.recordings), len(planned.shards), len(planned.shards) + planned.videos]))
"""


class Published(NamedTuple):
    """A repository on disk, and what it was made of."""

    source: data.Data
    plan: ShardPlan
    folder: Path

    @property
    def shards(self) -> list[Path]:
        return [self.folder / shard.path for shard in self.plan.shards]

    @property
    def config(self) -> str:
        """The one that has all of it."""
        return self.plan.sizes[0]


def publishing(bench: Bench) -> list[Row | Table]:
    """Making a repository of bundles, then reading it."""
    source, folder = bench.same_as("bundles"), bench.fresh()
    planned = plan_shards(Selection("full"), source.folder, repo_id=REPO, video="url")
    report = publish(planned, folder)
    if report.exit_code:
        raise RuntimeError(report.as_text())
    made = Published(source, planned, folder)
    return [
        *_sizes(bench, made),
        *_writing(bench, made),
        *_converting(bench, made),
        *_memory(bench),
        *_planning(bench),
        *_reading(bench, made),
        *_streaming(bench, made),
    ]


# --- bytes ----------------------------------------------------------------------------------------


def _sizes(bench: Bench, made: Published) -> list[Row]:
    """What arrays, audio and text weigh."""
    raw = sum(map(data.array_bytes, made.source.corpus.recordings))
    ours = sum(column_bytes(path, *ARRAYS) for path in made.shards)
    by_datasets = bench.fresh() / "arrays.parquet"
    theirs = 0
    for path in made.shards:
        as_dataset(pq.read_table(path, columns=[*ARRAYS])).to_parquet(by_datasets)
        theirs += column_bytes(by_datasets, *ARRAYS)
    audio = sum(column_bytes(path, "audio") for path in made.shards)
    waves = data.num_bytes(*made.source.folder.glob("*/*/*/*/*.wav"))
    shards, recordings = data.num_bytes(*made.shards), data.num_bytes(made.folder / "data" / "recordings")
    return [
        _share("published arrays: bytes / raw", ours, raw, 0.80),
        _share("  those of Dataset.to_parquet / raw", theirs, raw),
        _share("published audio: FLAC / WAV", audio, waves, 0.40),
        _share("table of recordings / shards of the same", recordings, shards, 0.01),
    ]


def _share(what: str, part: int, whole: int, most: float | None = None) -> Row:
    share = part / whole
    measured = f"{share:.2%} of {whole / MB:.0f} MB" if share < 0.05 else f"{share:.3f} of {whole / MB:.0f} MB"
    return Row(what, measured, *((f"at most {most:g}", share <= most) if most else ()))


def column_bytes(path: Path, *names: str) -> int:
    """Bytes that columns take in a Parquet file."""
    metadata = pq.read_metadata(path)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema.partition(".")[0] in names)


def footer_bytes(path: Path) -> int:
    """Bytes at the end of a Parquet file that tell where its columns are."""
    return pq.read_metadata(path).serialized_size


def as_dataset(content: pa.Table) -> datasets.Dataset:
    """What `datasets` writes; its defaults come of its class."""
    return datasets.Dataset(InMemoryTable(content))


# --- making shards --------------------------------------------------------------------------------


def _writing(bench: Bench, made: Published) -> list[Row]:
    """Arrays through our writer, against what the same nested lists take at the least, and `datasets`."""
    types = parquet.types_of(datasets.Features({key: seamless_interaction.record_features()[key] for key in ARRAYS}))
    # Each row a chunk, as where they come from.
    read = pq.read_table(max(made.shards, key=data.num_bytes), columns=[*ARRAYS])
    views = {key: seamless_interaction.record.view.ViewFormatter().format_column(read.select([key])) for key in ARRAYS}
    content = table([{key: views[key][row] for key in ARRAYS} for row in range(len(read))], types)
    raw = sum(array.nbytes for arrays in views.values() for array in arrays)
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    folder = bench.fresh()

    def ours() -> None:
        writer = parquet.Writer(folder / "ours.parquet", types)
        writer.write_table(content)
        writer.close()

    seconds = measure.interleaved(
        {
            "ours": ours,
            "plain": lambda: pq.write_table(content, folder / "plain.parquet", **plain),
            "datasets": lambda: as_dataset(content).to_parquet(folder / "datasets.parquet"),
        },
        bench.sizes.tar_rounds,
    ).cpu
    rates = {name: raw / MB / seconds.median(name) for name in seconds}
    named = {"plain": "pq.write_table, neither compressed nor with statistics", "datasets": "to_parquet"}
    return [
        Row(
            f"write {raw / MB:.0f} MB of arrays, digests and all: MB/s a core",
            f"{rates['ours']:.0f}",
            "at least 400",
            rates["ours"] >= 400,
        ),
        Row("  others'", ", ".join(f"{rates[name]:.0f} {what}" for name, what in named.items())),
        Row("  seconds / plain", str(seconds.ratio("ours", "plain"))),
        Row("  seconds / Dataset.to_parquet", str(seconds.ratio("ours", "datasets"))),
    ]


def _converting(bench: Bench, made: Published) -> list[Row | Table]:
    """A shard from bundles, everything in it checked; with and without copying videos."""
    number = max(range(len(made.plan.shards)), key=lambda number: data.num_bytes(made.shards[number]))
    with_video = plan_shards(Selection("full"), made.source.folder, repo_id=REPO, video="copy")
    parts = input_bytes(made.plan, number)
    folder = bench.fresh()
    with _profiled() as spent:
        seconds = measure.interleaved(
            {
                "without": lambda: convert.convert_shard(made.plan, number, folder / "without"),
                "with": lambda: convert.convert_shard(with_video, number, folder / "with"),
            },
            bench.sizes.tar_rounds,
        ).cpu
    sizes = {"without": sum(parts.values()) - parts[".mp4"], "with": sum(parts.values())}
    rates = {name: sizes[name] / MB / seconds.median(name) for name in seconds}
    everything = sum(spent.values())
    made_of = ", ".join(f"{size / MB:.0f} MB {name}" for name, size in parts.items())
    lines = [("", "s a shard", "of all")]
    lines += [
        (name, f"{took / bench.sizes.tar_rounds / 2:.2f}", f"{took / everything:.0%}")
        for name, took in spent.most_common()
    ]
    return [
        Table(f"publish a shard from bundles ({made_of}): where a core's time goes", lines),
        Row(
            "publish a shard from bundles, videos apart: MB/s a core",
            f"{rates['without']:.0f}",
            "at least 100",
            rates["without"] >= 100,
        ),
        Row("  videos copied", f"{rates['with']:.0f}"),
    ]


def input_bytes(planned: ShardPlan, number: int) -> dict[str, int]:
    """Extension -> bytes of the files that a shard is made of."""
    shard, source = planned.shards[number], planned.open_source()
    rows = planned.recordings.slice(shard.start, shard.stop - shard.start).select(Recording._fields).to_pylist()
    located = [source.locate(Recording(**row), part) for row in rows for part in parts_of(planned.columns)]
    paths = {Path(planned.settings["url"]) / location.path for location in located if location}
    sizes: Counter[str] = Counter()
    for path in sorted(path for path in paths if path.exists()):
        sizes[path.suffix] += path.stat().st_size
    return dict(sizes)


@contextmanager
def _profiled() -> Iterator[Counter[str]]:
    """What the parts of ``convert_shard`` take of the processor; what is within another part is not in that one."""
    spent: Counter[str] = Counter()
    inner = [0.0]

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            began = time.process_time()
            inner.append(0.0)
            try:
                return function(*args, **options)
            finally:
                took = time.process_time() - began
                spent[name] += took - inner.pop()
                inner[-1] += took

        return call

    with ExitStack() as stack:
        for holder, function, name in (
            (convert, "convert_shard", "all else"),
            (convert, "Join", "read, inflate and check arrays and text"),
            (flac, "encode", "FLAC: read, encode"),
            (flac, "_decoded", "FLAC: decode again"),
            (convert._Making, "_video", "copy videos"),
            (parquet.Writer, "write", "Parquet: write"),
            (parquet.Writer, "close", "Parquet: write"),
            (parquet, "_digests", "digests of values, written and read"),
            (parquet, "check", "Parquet: read back"),
            (convert, "sha256_of", "digest of the file"),
        ):
            stack.enter_context(mock.patch.object(holder, function, timed(name, getattr(holder, function))))
        yield spent


def _memory(bench: Bench) -> list[Row]:
    """The most that a process allocates while it publishes, its interpreter and modules included."""
    rows = []
    for name, source in (
        (f"recordings of {bench.sizes.tar_seconds:g} s", bench.same_as("bundles")),
        (f"{bench.sizes.long_seconds / 60:.3g}-minute recordings, two in a row group", bench.long_bundles),
    ):
        folder = bench.fresh()
        peak = measure.peak_memory(PUBLISH, source.folder, folder) / MB
        arrays = {recording.file_id: data.array_bytes(recording) for recording in source.corpus.recordings}
        audio: Counter[str] = Counter()
        for path in folder.glob("data/*/*/*.parquet"):
            for row in pq.ParquetFile(path).iter_batches(1, columns=["id", "audio"]):
                content = row["audio"][0]["bytes"] if row["audio"][0].is_valid else None
                audio[row["id"][0].as_py()] = content.as_buffer().size if content else 0
        largest = max(arrays[id] + audio[id] for id in arrays) / MB
        most = max(600.0, 2 * largest)
        rows.append(
            Row(
                f"memory, publishing {name}",
                f"{peak:.0f} MB (largest record, with audio, {largest:.0f} MB)",
                f"at most {most:.0f} MB",
                peak <= most,
            )
        )
        for path in folder.glob("data/*/*/*.parquet"):
            path.unlink()
    return rows


# --- planning -------------------------------------------------------------------------------------


def _planning(bench: Bench) -> list[Row]:
    """A plan of the full corpus, of a place that cannot be listed: nothing is looked for, the file list is believed."""
    folder = bench.fresh()
    rows = synthetic_filelist()
    rows = rows.slice(0, bench.sizes.index_rows or len(rows))
    (folder / "filelist.csv").write_bytes(write_filelist(rows))
    for name in ("interactions.csv", "participants.csv", "relationships.csv"):
        (folder / name).write_bytes((bench.same_as("bundles").folder / name).read_bytes())
    took = []
    with Bucket(folder) as server:
        for _ in range(bench.sizes.tar_rounds):
            printed = measure.output(measure.python(PLAN, server.url, bench.fresh()))
            took.append(json.loads(printed))
    seconds, cpu, recordings, shards, files = sorted(took)[len(took) // 2]
    return [
        Row(
            f"plan {recordings:,} recordings: {shards:,} shards, {files:,} files",
            f"{seconds:.1f} s ({cpu:.1f} s of a core, imports and all)",
            "at most 10 s",
            seconds <= 10,
        )
    ]


# --- reading --------------------------------------------------------------------------------------

WEBDATASET = "datasets' webdataset, of tars"
PYARROW = "pyarrow, row groups"


def _reading(bench: Bench, made: Published) -> list[Row | Table]:
    """All values of all arrays as NumPy, by whatever reads them."""
    keys, config, cache = [*ARRAYS], made.config, str(bench.fresh())
    prepared: dict[str, Any] = {}

    def prepare() -> None:
        prepared["all"] = datasets.load_dataset(str(made.folder), config, cache_dir=str(bench.fresh()), columns=keys)

    preparing = measure.interleaved({"prepare": prepare}, 1)
    streams = datasets.load_dataset(str(made.folder), config, streaming=True, columns=keys, cache_dir=cache)
    ours = seamless_interaction.load_dataset(config, data_dir=made.folder, modalities=keys, streaming=True)
    question = contenders.Question(tuple(ARRAYS), (), ())
    tars = contenders.webdataset_builder(bench.same_as("archives").folder, question)
    ways: dict[str, Callable[[], int]] = {
        PYARROW: lambda: sum(map(_values, made.shards)),
        "prepared, numpy": lambda: _flat(prepared["all"].with_format("numpy")),
        "prepared, seamless": lambda: _flat(prepared["all"].with_format("seamless")),
        "streaming, numpy": lambda: _flat({name: stream.with_format("numpy") for name, stream in streams.items()}),
        "streaming, seamless_interaction": lambda: _flat(ours),
        WEBDATASET: lambda: sum(found.values for found in tars()),
    }
    found = {name: way() for name, way in ways.items()}  # and now everything is in the page cache
    if len(set(found.values())) != 1:
        raise RuntimeError(f"values of arrays differ: {found}")
    seconds = measure.interleaved(ways, bench.sizes.tar_rounds)
    raw = sum(map(data.array_bytes, made.source.corpus.recordings))
    lines = [("", "seconds", "of a core", "MB/s", "speed, of pyarrow's", "of webdataset's")]
    lines += [
        (
            name,
            f"{seconds.median(name):.2f}",
            f"{seconds.cpu.median(name):.2f}",
            f"{raw / MB / seconds.median(name):.0f}",
            f"{seconds.ratio(PYARROW, name).median:.2f}",
            f"{seconds.ratio(WEBDATASET, name).median:.1f}",
        )
        for name in ways
    ]
    title = (
        f"read {raw / MB:.0f} MB of arrays back: median of {bench.sizes.tar_rounds} rounds; preparing them first takes "
        f"{preparing.median('prepare'):.2f} s ({preparing.cpu.median('prepare'):.2f} s of a core)"
    )
    findings: list[Row | Table] = [Table(title, lines)]
    for kind in ("prepared", "streaming"):
        best = min((name for name in ways if name.startswith(kind)), key=seconds.median)
        speed, times = seconds.ratio(PYARROW, best), seconds.ratio(WEBDATASET, best)
        findings += [
            Row(f"read arrays back, {best}: speed / pyarrow's", str(speed), "at least 0.8", speed.median >= 0.8),
            Row("  / datasets' webdataset", str(times), "at least 5", times.median >= 5),
        ]
    return findings


def _flat(splits: Any) -> int:
    """The values of all arrays of all records."""
    return sum(_size(value) for split in splits.values() for record in split for value in record.values())


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_size(member) for member in value.values())
    return getattr(value, "size", 0)


def _values(path: Path) -> int:
    """The same by pyarrow, a row group at a time; without a copy, but of booleans."""
    file, found = pq.ParquetFile(path), 0
    for number in range(file.num_row_groups):
        for column in file.read_row_group(number, columns=[*ARRAYS]).columns:
            for chunk in column.chunks:
                values = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
                while pa.types.is_list(values.type):
                    values = values.flatten()
                found += values.to_numpy(zero_copy_only=not pa.types.is_boolean(values.type)).size
    return found


# --- from the Hub ---------------------------------------------------------------------------------

MODALITIES = {"transcript": ["id", "segments"], "smplh:body_pose": ["id", "smplh:body_pose"]}


def _streaming(bench: Bench, made: Published) -> list[Row | Table]:
    """Bytes that the Hub sends for a few columns: `datasets` alone, and as we call it."""
    lines = [("", "datasets: MB of the columns", "sent", "requests", "ours: MB of the columns", "sent", "requests")]
    rows = []
    with Hub(made.folder, repo=REPO) as hub, use_hub(hub), _own_cache(bench.fresh()):
        # `datasets` first: what ours tells it about blocks counts from then on.
        theirs = {}
        for modality, columns in MODALITIES.items():
            _clear(hub)
            streams = datasets.load_dataset(REPO, made.config, streaming=True, columns=columns)
            theirs[modality] = _sent(hub, streams)
        for modality, columns in MODALITIES.items():
            _clear(hub)
            streams = seamless_interaction.load_dataset(
                made.config, data_dir=f"hf://datasets/{REPO}", modalities=[modality], streaming=True
            )
            names = [*next(iter(streams.values())).features]
            sent, requests = _sent(hub, streams)
            needed, own = (sum(column_bytes(path, *of) for path in made.shards) for of in (columns, names))
            lines.append(
                (
                    modality,
                    f"{needed / MB:.2f}",
                    f"{theirs[modality][0] / MB:.2f}",
                    str(theirs[modality][1]),
                    f"{own / MB:.2f}",
                    f"{sent / MB:.2f}",
                    str(requests),
                )
            )
            rows += [
                Row(
                    f"stream {modality} from the Hub: bytes sent / the columns'",
                    f"{sent / own:.2f} of {own / MB:.2f} MB",
                    "at most 1.2",
                    sent <= 1.2 * own,
                ),
                Row("  datasets alone", f"{theirs[modality][0] / needed:.2f} of {needed / MB:.2f} MB"),
            ]
    footers = sum(footer_bytes(path) for path in made.shards)
    title = (
        f"stream from the Hub, MB: {len(made.shards)} shards of {data.num_bytes(*made.shards) / MB:.0f} MB, "
        f"{footers / MB:.2f} of them footers"
    )
    return [Table(title, lines), *rows]


def _clear(hub: Hub) -> None:
    for server in (hub, hub.storage):
        server.clear()


def _sent(hub: Hub, streams: Any) -> tuple[int, int]:
    """Bytes sent, and requests, until all records are read."""
    for stream in streams.values():
        for _ in stream.with_format("arrow"):
            pass
    return sum(server.bytes_sent for server in (hub, hub.storage)), len(hub.requests) + len(hub.storage.requests)


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """Meanwhile nothing that comes from a Hub goes into the user's cache."""
    from huggingface_hub import constants

    with (
        mock.patch.object(constants, "HF_HUB_CACHE", str(folder)),
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", folder),
        mock.patch.object(datasets.config, "HF_MODULES_CACHE", str(folder)),
    ):
        yield
