"""Reading and preparing a tree, against the least that could be done with the same files."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data
import datasets
import measure
import numpy as np
import pyarrow as pa
from bench import MB, Bench, Row, Table

import seamless_interaction
from seamless_interaction import ANNOTATION_KINDS, ARRAYS

GROUPS = ("smplh", "movement", "boxes_and_keypoints")

# --- what is measured -----------------------------------------------------------------------------


def load(folder: Path | str, **options: Any) -> Any:
    return seamless_interaction.load_dataset("full", data_dir=folder, **options)


def touch(dataset: Any) -> int:
    """Iterate, and have every array of every record made; the number of values in them."""
    return sum(
        values.size
        for records in dataset.values()
        for record in records
        for group in GROUPS
        if group in record
        for values in record[group].values()
    )


def np_load(source: data.Data, *keys: str) -> list[np.ndarray]:
    """All arrays, kept."""
    return [np.load(path) for path in source.files(*keys)]


def np_load_one(source: data.Data, *keys: str) -> None:
    """The arrays of one recording at a time."""
    for recording in source.corpus.recordings:
        [np.load(path) for path in source.files_of(recording, *keys)]


def parse_text(paths: list[Path]) -> list[Any]:
    return [[json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in paths]


def copy(paths: list[Path], folder: Path) -> None:
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / str(number))


def join_files(paths: list[Path], folder: Path) -> None:
    """The same bytes as one file, which is what a cache is."""
    with open(folder / "all", "wb") as all_:
        for path in paths:
            all_.write(path.read_bytes())


def example(source: data.Data, recording: Any, mmap_mode: Any = None) -> dict[str, np.ndarray]:
    """The arrays of a recording as a script of an afternoon would read them; zero frames of those it lacks."""
    paths = dict(zip(recording.array_keys, source.files_of(recording, *recording.array_keys), strict=True))
    return {
        key: np.load(paths[key], mmap_mode).astype(array.dtype, copy=False).reshape(-1, *array.shape)
        if key in paths
        else np.empty((0, *array.shape), array.dtype)
        for key, array in ARRAYS.items()
    }


def examples(source: data.Data) -> Iterator[dict[str, np.ndarray]]:
    for recording in source.corpus.recordings:
        yield example(source, recording)


def write_arrow(source: data.Data, folder: Path) -> None:
    """The arrays as an Arrow stream of the cache's own layout, from mapped files: nothing checked or joined."""
    nested = {key: pa.list_(pa.from_numpy_dtype(array.dtype)) for key, array in ARRAYS.items()}
    for key, array in ARRAYS.items():
        for _ in array.shape:
            nested[key] = pa.list_(nested[key])
    schema = pa.schema(nested)
    with pa.OSFile(str(folder / "stream.arrow"), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for recording in source.corpus.recordings:
            writer.write_batch(pa.record_batch([_row(v) for v in example(source, recording, "r").values()], schema))


def _row(values: np.ndarray) -> pa.Array:
    """An array as one row of nested lists."""
    array = pa.array(values.reshape(-1))
    for length in (*reversed(values.shape[1:]), len(values)):
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, max(length, 1), dtype=np.int32), array)
    return array if len(values) else pa.ListArray.from_arrays(np.zeros(2, np.int32), array.values)


def array_features() -> datasets.Features:
    ours = seamless_interaction.record_features()
    return datasets.Features({key: ours[key] for key in ARRAYS})


# --- rows of the table ----------------------------------------------------------------------------


def streaming(bench: Bench) -> list[Row | Table]:
    """Everything from the tree, against np.load of its arrays.

    Both touch every byte of the arrays: np.load copies it, we look whether it is finite. np.load is
    much faster where it gets the same memory again, which stays in the processor's cache; who keeps
    what it loads pays for new memory.
    """
    tree = bench.tree
    dataset = load(tree.folder, streaming=True)
    values = sum(array.size for array in np_load(tree))  # and now everything is in the page cache
    if touch(dataset) != values:
        raise RuntimeError(f"streaming gave {touch(dataset)} values, np.load {values}")
    seconds = measure.interleaved(
        {
            "stream": lambda: touch(dataset),
            "keep": lambda: np_load(tree),
            "one": lambda: np_load_one(tree),
        },
        bench.sizes.rounds,
    )
    kept, one = seconds.ratio("stream", "keep"), seconds.ratio("stream", "one")
    rate = data.num_bytes(*tree.files()) / MB / seconds.median("stream")
    return [
        Row("stream everything / np.load keeping the arrays", str(kept), "at most 3", kept.median <= 3),
        Row("  / np.load of one recording at a time", str(one)),
        Row("  seconds, without start-up", f"{seconds.median('stream'):.2f} s ({rate:.0f} MB/s of arrays)"),
    ]


def columns(bench: Bench) -> list[Row | Table]:
    """One modality: the bytes that a remote place would be asked for, and the time on a local one."""
    rows = []
    for modality in ("transcript", "smplh:body_pose"):
        paths = bench.tree.files(modality)
        own = data.num_bytes(*paths)
        count = measure.count_bytes()
        touch(load(f"counted://{bench.tree.folder}", modalities=[modality], streaming=True))
        tables = count.pop(".csv", 0)  # read once, however many recordings there are
        more = sum(count[name] for name in count if name.startswith(".")) / own - 1
        listed = f"{count['listed entries']} entries listed, {count['listed bytes'] / 1e3:.0f} kB of names"
        index = f"{tables / 1e3:.1f} kB of tables"
        dataset = load(bench.tree.folder, modalities=[modality], streaming=True)
        floor = np_load if modality in ARRAYS else lambda tree, _: parse_text(tree.files("transcript"))
        seconds = measure.interleaved(
            {
                "stream": lambda dataset=dataset: touch(dataset),
                "floor": lambda floor=floor, modality=modality: floor(bench.tree, modality),
            },
            bench.sizes.rounds,
        )
        name = "np.load" if modality in ARRAYS else "json.loads"
        rows += [
            Row(
                f"stream {modality}: bytes / its files'",
                f"{more:+.2%} of {own / MB:.2f} MB",
                "at most +1 %",
                more <= 0.01,
            ),
            Row("  beside them", f"{index}; {listed}"),
            Row(f"  seconds / {name} of its files", f"{seconds.ratio('stream', 'floor')}"),
        ]
    return rows


def prepare(bench: Bench) -> list[Row | Table]:
    """Everything into the Arrow cache, against copying what ends there."""
    tree = bench.tree
    paths = tree.files(*ARRAYS, *data.TEXTS, *ANNOTATION_KINDS)
    np_load_one(tree)
    load(tree.folder, cache_dir=str(bench.fresh()))
    written = data.num_bytes(bench.scratch)
    bench.clear()
    seconds = measure.interleaved(
        {
            "prepare": lambda: load(tree.folder, cache_dir=str(bench.fresh())),
            "copy": lambda: copy(paths, bench.fresh()),
            "join": lambda: join_files(paths, bench.fresh()),
            "arrow": lambda: write_arrow(tree, bench.fresh()),
        },
        bench.sizes.rounds,
        after=bench.clear,
    )
    joined = seconds.ratio("prepare", "join")
    spent = ", ".join(f"{name} {seconds.median(name):.2f} (best {min(seconds[name]):.2f})" for name in seconds)
    return [
        # Making a thousand files takes ext4 anything from a tenth of a second to a whole one, the more files were
        # deleted in the last minutes; so the target is for the bytes alone, which is never the easier one.
        Row("prepare everything / copying its files into one", str(joined), "at most 2.5", joined.median <= 2.5),
        Row("  / copying its files one by one", str(seconds.ratio("prepare", "copy"))),
        Row("  / a bare Arrow stream of the arrays", str(seconds.ratio("prepare", "arrow"))),
        Row("  bare Arrow stream / copying into one file", str(seconds.ratio("arrow", "join"))),
        Row("  seconds, start-up included", spent),
        Row("  bytes", f"{written / MB:.0f} MB in the cache from {data.num_bytes(*paths) / MB:.0f} MB of files"),
    ]


PREPARE = """
import sys, logging, seamless_interaction
logging.disable(logging.WARNING)
seamless_interaction.load_dataset("full", data_dir=sys.argv[1], cache_dir=sys.argv[2])
"""


def memory(bench: Bench) -> list[Row | Table]:
    """The most that a process allocates while it prepares, its interpreter and modules included."""
    imported = measure.peak_memory("import seamless_interaction.record.view") / MB
    rows = [Row("memory of the imports alone", f"{imported:.0f} MB")]
    peaks = {}
    for name, source in (
        ("all recordings", bench.tree),
        ("a tenth of them", bench.tenth),
        (f"{bench.sizes.long_seconds / 60:.3g}-minute recordings", bench.long),
        (f"{bench.sizes.long_seconds / 60:.3g}-minute bundles", bench.long_bundles),
    ):
        peaks[name] = measure.peak_memory(PREPARE, source.folder, bench.fresh()) / MB
        bench.clear()
        largest = source.largest_record / MB
        limit = max(500.0, 2 * largest)
        rows.append(
            Row(
                f"memory, preparing {name}",
                f"{peaks[name]:.0f} MB (largest record {largest:.0f} MB)",
                f"at most {limit:.0f} MB",
                peaks[name] <= limit,
            )
        )
    flat = peaks["all recordings"] / peaks["a tenth of them"]
    return [*rows[:3], Row("  all / a tenth", f"{flat:.2f}x"), *rows[3:]]


START = """
import sys, time, logging, datasets
logging.disable(logging.WARNING)
times = [time.perf_counter()]
import seamless_interaction
times.append(time.perf_counter())
dataset = seamless_interaction.load_dataset("full", data_dir=sys.argv[1], streaming=True)
times.append(time.perf_counter())
next(iter(next(iter(dataset.values()))))
times.append(time.perf_counter())
print(*(end - start for start, end in zip(times, times[1:])))
"""


def start(bench: Bench) -> list[Row | Table]:
    """In fresh processes that have imported `datasets`, in turn."""
    rounds = [
        [float(text) for text in measure.output(measure.python(START, bench.tree.folder)).split()]
        for _ in range(bench.sizes.rounds)
    ]
    import_, builder, first = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    spread = f"{min(r[0] for r in rounds):.3f} to {max(r[0] for r in rounds):.3f}"
    return [
        Row("import, more than import datasets", f"{import_:.3f} s ({spread})", "at most 0.2 s", import_ <= 0.2),
        Row("start-up: builder and scan, first record", f"{builder:.2f} s, {first:.2f} s"),
    ]


def generators(bench: Bench) -> list[Row | Table]:
    """What one would otherwise write: a generator of np.load, with the same features, on a tenth of the data."""
    tenth, schema = bench.tenth, array_features()
    modalities = [*ARRAYS]

    def from_generator(kind: Any, **options: Any) -> Any:
        return kind.from_generator(examples, features=schema, gen_kwargs={"source": tenth}, **options)

    ours = load(tenth.folder, modalities=modalities, streaming=True)
    theirs = from_generator(datasets.IterableDataset).with_format("numpy")
    seconds = measure.interleaved(
        {
            "stream": lambda: touch(ours),
            "generator stream": lambda: [values.size for record in theirs for values in record.values()],
            "prepare": lambda: load(tenth.folder, modalities=modalities, cache_dir=str(bench.fresh())),
            "generator prepare": lambda: from_generator(datasets.Dataset, cache_dir=str(bench.fresh())),
        },
        min(3, bench.sizes.rounds),
        after=bench.clear,
    )
    return [
        Row(
            f"{what}.from_generator / {name}, arrays of a tenth",
            str(seconds.ratio(f"generator {name}", name))
            + f", {seconds.median(f'generator {name}'):.2f} s / {seconds.median(name):.2f} s",
        )
        for what, name in (("Dataset", "prepare"), ("IterableDataset", "stream"))
    ]
