"""What makes shards a repository: the table of recordings, the card and its companions, the manifest."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seamless_interaction import LABELS, SPLITS, TABLES, __version__
from seamless_interaction.errors import IncompletePublication
from seamless_interaction.places.place import Place
from seamless_interaction.publishing import parquet
from seamless_interaction.publishing.card import CardFacts, Config, Size, Split, card, dataset_infos
from seamless_interaction.publishing.convert import Sidecar, done, recordings_path, write_file
from seamless_interaction.publishing.croissant import croissant
from seamless_interaction.publishing.names import CARD, MANIFEST, RECORDINGS, SELECTION
from seamless_interaction.publishing.plan import Shard, ShardPlan
from seamless_interaction.publishing.rows import recording_features, shard_features
from seamless_interaction.selection.expected import configs_folder
from seamless_interaction.source.addresses import filelist_of, read_table
from seamless_interaction.source.tables import write_filelist

_ROW_GROUP = 500  # recordings: what a text reader fetches at a time
_ROWS = 20_000  # recordings in a file
MANIFEST_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("rows", pa.int64()),  # of shards, as all that follows
        ("input_files", pa.int64()),
        ("input_bytes", pa.int64()),
        ("inputs", pa.string()),
        ("content", pa.string()),
        ("version", pa.string()),
        ("code", pa.string()),
    ]
)


@dataclass(frozen=True)
class ShardPart:
    """One file of the table of recordings."""

    path: str
    split: str
    rows: int
    num_bytes: int


class Finished:
    """All shards of a plan, done.

    Args:
        sidecars: of the shards, if they were just looked at.

    Raises:
        IncompletePublication: some are not.
    """

    def __init__(self, plan: ShardPlan, output: Path, sidecars: Sequence[Sidecar | None] = ()):
        self.plan, self.output = plan, output
        sidecars = sidecars or [done(plan, number, output) for number in range(len(plan.shards))]
        self.sidecars = [sidecar for sidecar in sidecars if sidecar]
        missing = [shard.path for shard, sidecar in zip(plan.shards, sidecars, strict=True) if not sidecar]
        if missing:
            raise IncompletePublication(
                f"{output}: {len(missing):,} of {len(plan.shards):,} shards are not done, {missing[0]} among them. The "
                "same command makes what is missing."
            )

    @property
    def shards(self) -> Iterator[tuple[Shard, Sidecar]]:
        return zip(self.plan.shards, self.sidecars, strict=True)

    @property
    def issues(self) -> dict[str, int]:
        """Code -> recordings that have it."""
        return dict(sum((Counter(sidecar.issues) for sidecar in self.sidecars), Counter()))

    @property
    def gaps(self) -> dict[str, int]:
        """What is not whole, in words -> how many."""
        gaps = {
            "selected recordings that the source does not have": len(self.plan.settings["not_here"]),
            "recordings left out, as one of their files cannot be used": sum(len(s.skipped) for s in self.sidecars),
        }
        return {what: number for what, number in gaps.items() if number}

    @property
    def sizes(self) -> list[Size]:
        """What each size holds, with the smaller ones."""
        planned, sizes = self.plan.table(), []
        interactions = recordings = total = 0
        hours = 0.0
        for name in self.plan.sizes:
            own = [sidecar for shard, sidecar in self.shards if self.plan.size_of(shard) == name]
            num_bytes = sum(sidecar.bytes for sidecar in own)
            interactions += sum(row["interactions"] for row in planned if row["size"] == name)
            recordings += sum(sidecar.rows for sidecar in own)
            hours += sum(sidecar.seconds for sidecar in own) / 3600
            total += num_bytes
            sizes.append(Size(name, interactions, recordings, num_bytes, total, hours))
        return sizes

    def configs(self, recordings: list[ShardPart]) -> list[Config]:
        """All configs: the table of recordings, and each size, alone and of one label.

        A size holds the shards of the smaller ones too, where they are: a file lies once.
        """
        described = "One row a recording: text, context and figures, no arrays; videos where the repository has them."
        splits = []
        for split in SPLITS:
            parts = [part for part in recordings if part.split == split]
            patterns = tuple({_glob(part.path) for part in parts})
            rows, num_bytes = (sum(getattr(part, name) for part in parts) for name in ("rows", "num_bytes"))
            on_disk = sum((self.output / part.path).stat().st_size for part in parts)
            splits.append(Split(split, patterns, rows, num_bytes, on_disk))
        configs = [Config(RECORDINGS, described, recording_features(self.plan.columns), tuple(splits))]
        chosen = self.plan.settings["label"]
        for at in range(len(self.plan.sizes)):
            for label in (None, *LABELS):
                if chosen in (None, label):
                    configs.append(self._config(self.plan.sizes[: at + 1], label))
        return configs

    def _config(self, sizes: list[str], label: str | None) -> Config:
        what = "What was selected" if sizes[-1] == SELECTION else f"The size {sizes[-1]} of the dataset"
        splits = []
        for split in SPLITS:
            wanted = {(one, split) for one in ([label] if label else LABELS)}
            own = [
                (shard, sidecar)
                for shard, sidecar in self.shards
                if self.plan.size_of(shard) in sizes and self.plan.split_of(shard) in wanted and sidecar.rows
            ]
            patterns = tuple(dict.fromkeys(_glob(shard.path) for shard, _ in own))
            rows, num_bytes, on_disk = (
                sum(getattr(sidecar, name) for _, sidecar in own) for name in ("rows", "num_bytes", "bytes")
            )
            splits.append(Split(split, patterns, rows, num_bytes, on_disk))
        name = "-".join(filter(None, [sizes[-1], label]))
        described = f"{what}, {label or 'improvised and naturalistic'}."
        return Config(name, described, shard_features(self.plan.columns), tuple(splits))

    @property
    def facts(self) -> CardFacts:
        """What the card tells."""
        settings = self.plan.settings
        whole = self.sizes[-1]
        return CardFacts(
            repo_id=self.plan.repo_id,
            version=__version__,
            published=time.strftime("%Y-%m-%d", time.gmtime()),
            recordings=whole.recordings,
            interactions=whole.interactions,
            hours=whole.hours,
            synthetic=settings["synthetic"],
            videos=settings["video"],
            audio=settings["audio"],
            sizes=self.sizes,
            gaps=self.gaps,
            issues=self.issues,
        )


def _glob(path: str) -> str:
    """All files of a shard's kind: ``…/train-00003-of-00012.parquet`` is one of ``…/train-*-of-00012.parquet``.

    With their number, so that a card never takes files of another publication for its own.
    """
    start, _, end = path.rpartition("-of-")
    return f"{start.rpartition('-')[0]}-*-of-{end}"


def finish(plan: ShardPlan, output: Path, sidecars: Sequence[Sidecar | None] = ()) -> Finished:
    """Write all that is not a shard; the manifest last, which says that the publication is whole.

    Raises:
        IncompletePublication: a shard is not done.
    """
    finished = Finished(plan, output, sidecars)
    parts = _write_recordings(finished)
    tables = _copy_tables(plan, output)
    configs, facts = finished.configs(parts), finished.facts
    license = _license().read_bytes()
    files = {"LICENSE": license, "dataset_infos.json": _json(dataset_infos(facts, configs))}
    rows = [*_shard_rows(finished), *({"file": part.path, "rows": part.rows} for part in parts)]
    rows += [{"file": name} for name in tables]
    for name, content in files.items():
        _write(output, name, content)
        rows.append({"file": name})
    for row in rows:
        if "sha256" not in row:
            content = (output / row["file"]).read_bytes()
            row |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    listed = {row["file"] for row in rows}
    for old in (output / "video").rglob("*.mp4"):  # of a recording that had one in an earlier run
        if old.relative_to(output).as_posix() not in listed:
            old.unlink()
    described = [(row["file"], row["bytes"], row["sha256"]) for row in rows]
    for name, content in (
        ("croissant.json", _json(croissant(facts, configs, described))),
        (CARD, card(facts, configs).encode()),
    ):
        _write(output, name, content)
        rows.append({"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    manifest = pa.Table.from_pylist(sorted(rows, key=lambda row: row["file"]), MANIFEST_SCHEMA)
    write_file(output, MANIFEST, lambda file: pq.write_table(manifest, file, compression="zstd"))
    return finished


def _json(content: Any) -> bytes:
    """Without spaces: `datasets` fetches one of these files whenever it opens a repository."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write(output: Path, name: str, content: bytes) -> None:
    write_file(output, name, lambda file: file.write(content))


def _license() -> Path:
    """Beside the sizes: in a clone, or inside the folder once installed."""
    return configs_folder().parent / "LICENSE"


def _shard_rows(finished: Finished) -> Iterator[dict[str, Any]]:
    """Of the manifest: shards, and videos beside them."""
    names = [name for name in MANIFEST_SCHEMA.names if name != "file"]
    for shard, sidecar in finished.shards:
        if sidecar.rows:
            yield {"file": shard.path, **{name: getattr(sidecar, name) for name in names}}
        yield from sidecar.files


def _copy_tables(plan: ShardPlan, output: Path) -> list[str]:
    """The CSVs, as the source has them; of the file list, what decides which recording is in which size."""
    place, copied = Place(plan.settings["url"], plan.storage_options), []
    for name in TABLES:
        if name == "filelist.csv":
            listed = filelist_of(place)
            content = None if listed is None else write_filelist(listed)
        else:
            content = read_table(place, name)
        if content is not None:
            _write(output, name, content)
            copied.append(name)
    return copied


# --- the table of recordings ----------------------------------------------------------------------


def _write_recordings(finished: Finished) -> list[ShardPart]:
    """Put the shards' parts of it together: the smallest size first, whose videos the repository has."""
    types = parquet.types_of(recording_features(finished.plan.columns))
    written: list[ShardPart] = []
    for split in SPLITS:
        shards = [shard for shard in finished.plan.shards if finished.plan.split_of(shard)[1] == split]
        rows = sum(pq.read_metadata(recordings_path(finished.output, shard)).num_rows for shard in shards)
        number = -(-rows // _ROWS)
        tables = (pq.read_table(recordings_path(finished.output, shard)).cast(types.schema) for shard in shards)
        groups = _regrouped(tables, _ROW_GROUP)
        for at in range(number):
            path = f"data/{RECORDINGS}/{split}-{at:05d}-of-{number:05d}.parquet"
            (finished.output / path).parent.mkdir(parents=True, exist_ok=True)
            written.append(_write_part(finished.output, path, split, groups, types))
    for old in (finished.output / "data" / RECORDINGS).glob("*"):
        if f"data/{RECORDINGS}/{old.name}" not in {part.path for part in written}:
            old.unlink()
    return written


def _write_part(output: Path, path: str, split: str, groups: Iterator[pa.Table], types: Any) -> ShardPart:
    partial = output / path
    partial = partial.with_name(f".{partial.name}")
    writer, rows = parquet.Writer(partial, types), 0
    try:
        for table in groups:
            writer.write_table(table)
            rows += len(table)
            if rows >= _ROWS:
                break
    finally:
        writer.close()
    parquet.check(partial, types, writer.digests)
    partial.replace(output / path)
    return ShardPart(path, split, rows, writer.num_bytes)


def _regrouped(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows, so many a table."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += len(table)
        while count >= size:
            joined = pa.concat_tables(held)
            yield joined.slice(0, size).combine_chunks()
            held, count = [joined.slice(size)], count - size
    if count:
        yield pa.concat_tables(held).combine_chunks()
