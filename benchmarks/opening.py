"""Opening an index as long as the dataset's."""

from __future__ import annotations

import hashlib
import json
import statistics
from pathlib import Path

import measure
import numpy as np
import pyarrow as pa
from bench import MB, Bench, Row, Table

from seamless_interaction.places.place import Place
from seamless_interaction.source import index
from seamless_interaction.source.layout import BUNDLE, EXTENSIONS, LAYOUTS, archive_paths
from seamless_interaction.source.listing import Listing
from seamless_interaction.synthetic.filelist import synthetic_filelist

OPEN = """
import json, logging, os, sys, time
sys.path.insert(0, "benchmarks")
logging.disable(logging.WARNING)
import measure, seamless_interaction, seamless_interaction.source.index
measure.free()
before, start = measure.anonymous(os.getpid()), time.perf_counter()
kept = CODE
seconds = time.perf_counter() - start
measure.free()
print(json.dumps([seconds, before, measure.anonymous(os.getpid())]))
"""
WAYS = {
    "index: Index(path).found": "(opened := seamless_interaction.source.index.Index(sys.argv[1])), opened.found",
    'index: load_dataset("full", index=path)': (
        'seamless_interaction.load_dataset("full", data_dir=sys.argv[2], index=sys.argv[1], streaming=True)'
    ),
}
MOST_SECONDS, MOST_MB = 1.0, 100


def invented(rows: pa.Table) -> pa.Table:
    """An index of these recordings, with invented places and headers."""
    rng = np.random.default_rng(0)
    number = len(rows)

    def span(median: float, packed: bool) -> pa.Array:
        return pa.StructArray.from_arrays(
            [
                pa.array(rng.integers(0, 1 << 30, number)),
                pa.array((median * rng.lognormal(0, 0.7, number)).astype(np.int64)),
                pa.array(np.full(number, 8, np.int8), mask=np.full(number, not packed)),
                pa.array(rng.integers(0, 1 << 32, number, dtype=np.uint32), mask=np.full(number, not packed)),
            ],
            fields=list(index.SPAN),
        )

    def repeated(value: object, type: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, type), number)

    frames = rng.integers(100, 20_000, number)
    members = {"audio": 4e7, "video": 1.3e8, "json": 1e5, "npz": 1.5e7}
    columns = {
        **{name: rows[name] for name in rows.column_names},
        "files": repeated((1 << len(EXTENSIONS)) - 1, pa.int64()),
        "archive": archive_paths(rows),
        "archive_bytes": pa.array(rng.integers(1 << 30, 1 << 31, number)),
        "archive_stamp": pa.array([hashlib.sha1(b"%d" % row).hexdigest() for row in range(number)]),
        "archive_issue": pa.nulls(number, pa.string()),
        **{name: span(size, packed=False) for name, size in members.items()},
        **{part: span(3e5, packed=True) for part, (extension, _) in BUNDLE.items() if extension == ".npz"},
        "probed": repeated(True, pa.bool_()),
        "duration": pa.array(frames / 30),
        "fps": repeated(30.0, pa.float64()),
        "pixel_aspect_ratio": repeated(1.0, pa.float64()),
        "num_frames": pa.array(frames),
        "width": repeated(1080, pa.int64()),
        "height": repeated(1920, pa.int64()),
        "audio_duration": pa.array(frames / 30),
        "audio_sampling_rate": repeated(48_000, pa.int64()),
        "audio_num_samples": pa.array(frames * 1600),
        "audio_num_channels": repeated(1, pa.int64()),
        "issues": pa.array([[]] * number, index.SCHEMA.field("issues").type),
    }
    columns = {field.name: columns.get(field.name, pa.nulls(number, field.type)) for field in index.SCHEMA}
    return pa.table(columns).cast(index.SCHEMA)


def opening(bench: Bench) -> list[Row | Table]:
    """In fresh processes that have imported the package; memory is what they allocate and keep, above the imports'."""
    folder = bench.fresh()
    path = folder / "index.parquet"
    rows = synthetic_filelist()
    rows = rows.slice(0, bench.sizes.index_rows or len(rows))
    listing = Listing(Place(folder), LAYOUTS["archives"], rows, {}, {}, "", ())
    index.write(invented(rows), path, listing)
    findings: list[Row | Table] = []
    for name, code in WAYS.items():
        taken = [_open(code, path, folder) for _ in range(bench.sizes.tar_rounds)]
        seconds, kept, peak = (statistics.median(figures) for figures in zip(*taken, strict=True))
        findings += [
            Row(
                f"{name}, {len(rows):,} rows",
                f"{seconds:.2f} s",
                f"at most {MOST_SECONDS:g} s",
                seconds <= MOST_SECONDS,
            ),
            Row(
                "  memory beyond the imports'",
                f"{kept / MB:.0f} MB, meanwhile {peak / MB:.0f} MB",
                f"at most {MOST_MB} MB",
                kept <= MOST_MB * MB,
            ),
        ]
    return findings


def _open(code: str, path: Path, folder: Path) -> tuple[float, int, int]:
    """Seconds, memory kept and most memory held meanwhile."""
    printed, peak = measure.watched(measure.python(OPEN.replace("CODE", code), path, folder))
    seconds, before, after = json.loads(printed)
    return seconds, after - before, peak - before
