"""Carrying out a plan: whatever shard is not done is made, then what makes them a repository."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from seamless_interaction import TABLES
from seamless_interaction.errors import IncompletePublication, NotEnoughSpace, TargetError, UsageError, known_keywords
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import local_path, locked, refuse_links, writing
from seamless_interaction.publishing.convert import Failure, attempt, done, failure_path, input_bytes, write_failure
from seamless_interaction.publishing.finish import finish
from seamless_interaction.publishing.names import CARD, MANIFEST, RECORDINGS
from seamless_interaction.publishing.plan import WORK, Shard, ShardPlan
from seamless_interaction.publishing.rows import video_file
from seamless_interaction.work import executors
from seamless_interaction.work.progress import Progress
from seamless_interaction.work.text import decimal
from seamless_interaction.work.typed_json import load_as

_COMPANIONS = (*TABLES, "LICENSE", "dataset_infos.json", "croissant.json", CARD, MANIFEST)
_LOOKED_AT = 100  # shards, for which the sizes of files are looked up, and not taken from means
_SHOWN = 10  # shards, recordings and files that a text names


@dataclass
class PublishReport:
    """What a run did, and how the publication is now.

    Attributes:
        target: the folder.
        shards: of the plan; ``made`` by this run, ``kept`` from earlier ones, and ``failures``.
        jobs: of a cluster, which make the shards now; nothing else is known then.
        rows, bytes, seconds: of the shards that are done: recordings, bytes of the files, seconds of recordings.
        video_files, video_bytes: beside the shards.
        skipped: recordings left out, and why.
        issues: code -> recordings that have it.
        large: interactions whose row group the Hub's viewer finds too large.
        not_here: selected recordings that the source does not have.
        is_whole: whether the folder is a finished publication.
        took: seconds of this run.
    """

    target: str
    shards: int
    made: int = 0
    kept: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    video_files: int = 0
    video_bytes: int = 0
    is_whole: bool = False
    took: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    issues: dict[str, int] = field(default_factory=dict)
    large: list[str] = field(default_factory=list)
    not_here: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: whole, or handed over to a cluster; 3: shards failed, or the source lacks what was selected."""
        return 3 if self.failures or self.not_here or not (self.is_whole or self.jobs) else 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "failures": [failure._asdict() for failure in self.failures],
            "exit_code": self.exit_code,
        }

    def as_text(self) -> str:
        """For reading."""
        if self.jobs:
            return (
                f"{self.target}: {self.shards - self.kept:,} of {self.shards:,} shards are made by "
                f"{' and '.join(self.jobs)}. --dry-run tells how far they are; when they have ended, the same command "
                "makes what failed."
            )
        lines = [
            f"{self.target}: {self.made + self.kept:,} of {self.shards:,} shards, {self.kept:,} of them from before; "
            f"{self.rows:,} recordings, {self.seconds / 3600:,.1f} hours, {decimal(self.bytes)}"
            + (f", {self.video_files:,} videos, {decimal(self.video_bytes)}" if self.video_files else "")
            + f"; {self.took:,.0f} s"
        ]
        if self.issues:
            codes = ", ".join(f"{code} {count:,}" for code, count in sorted(self.issues.items()))
            lines.append(f"recordings with an issue: {codes}")
        for number, names, what in (
            (len(self.failures), [f"{failure.shard}: {failure.error}" for failure in self.failures], "shards failed"),
            (
                len(self.skipped),
                [f"{one['file_id']}: {one['reason']}" for one in self.skipped],
                "recordings left out, as a file of theirs cannot be used",
            ),
            (len(self.not_here), self.not_here, "selected recordings are not in the source"),
            (len(self.large), self.large, "interactions have a row group of more than 300 MB"),
        ):
            if number:
                lines.append(f"{number:,} {what}:")
                lines += [f"  {name}" for name in names[:_SHOWN]]
                lines += [f"  … and {number - _SHOWN:,} more; --json names them"] * (number > _SHOWN)
        lines.append("whole" if self.is_whole else "not whole: the same command makes what is missing")
        return "\n".join(lines)


def how_far(plan: ShardPlan, output: str | os.PathLike) -> tuple[int, list[Failure]]:
    """How many shards of a plan are done, and which have failed; nothing is made."""
    output = local_path(output)
    left = [shard for number, shard in enumerate(plan.shards) if not done(plan, number, output)]
    failed = [_failure(output, shard) for shard in left if failure_path(output, shard).exists()]
    return len(plan.shards) - len(left), failed


@known_keywords()
def publish(
    plan: ShardPlan,
    output: str | os.PathLike,
    *,
    executor: str | None = None,
    workers: int = 1,
    tasks: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> PublishReport:
    """Make a folder that is a Hub repository. What is done already stays; once stopped, it goes on.

    Args:
        plan: see ``plan_shards``.
        output: the folder: a new or an empty one, or one that this function made of the same selection.
        executor: None makes shards here, in ``workers`` processes if these are several. ``"local"``, ``"slurm"`` and
            ``"ray"`` are datatrove's.
        workers: how many shards are made at a time.
        tasks, options: of datatrove, see ``executors.on_datatrove``.
        progress: told how it goes, unless datatrove does the work.

    Returns:
        What was done. Shards that failed are named in it; the same call makes them, and no other.

    Raises:
        UsageError: an executor or option that cannot be.
        TargetError: the folder holds something else, or cannot be written to.
        NotEnoughSpace: for what is expected, before anything is read; or the disk is full.
        FolderBusy: another run writes into the folder.
        SourceError: the source cannot be read at all.
    """
    began, output = time.monotonic(), local_path(output)
    if executor is not None and plan.storage_options:
        raise UsageError("storage_options stay in this process. On a cluster, have them in its environment.")
    refuse_output(plan, output)
    with writing(output):
        (output / WORK).mkdir(parents=True, exist_ok=True)
    with locked(output / WORK):
        todo = [number for number in range(len(plan.shards)) if not done(plan, number, output)]
        report = PublishReport(str(output), len(plan.shards), kept=len(plan.shards) - len(todo))
        report.not_here = list(plan.settings["not_here"])
        _refuse_full_disk(plan, todo, output)
        with writing(output):
            if executor is None:  # jobs of a cluster may be writing there
                shutil.rmtree(output / WORK / "partial", ignore_errors=True)
            if todo:  # what is not whole does not look like it
                for name in (CARD, MANIFEST):
                    with suppress(FileNotFoundError):
                        (output / name).unlink()
            plan.save(output)
        if executor is None:
            _here(plan, todo, output, workers, report, progress)
        else:
            here = output.absolute()
            report.jobs = executors.on_datatrove(
                executor,
                partial(attempt, here),
                todo,
                partial(death, here),
                partial(finish_if_done, here),
                tasks=tasks,
                workers=None if workers == 1 else workers,
                folder=here / WORK / "datatrove",
                options=options,
            )
        if report.jobs:
            return report
        _complete(plan, output, report)
    report.took = time.monotonic() - began
    return report


def _here(
    plan: ShardPlan, todo: list[int], output: Path, workers: int, report: PublishReport, progress: Progress | None
) -> None:
    """Make shards in this process, or by a pool of others."""
    if progress:
        progress.begin(len(todo), 0)
    call = partial(attempt, output, storage_options=plan.storage_options)
    one_by_one = executors.in_process(call, todo)
    for _ in one_by_one if workers == 1 else executors.in_pool(call, todo, workers, partial(death, output)):
        if progress:
            progress.done(0)


def death(output: Path, number: int, how: str) -> Failure:
    """Write down that a shard's process died."""
    return write_failure(output, ShardPlan.load(output).shards[number], how)


def _complete(plan: ShardPlan, output: Path, report: PublishReport) -> None:
    """Finish, if all shards are done; and say how it is."""
    sidecars = [done(plan, number, output) for number in range(len(plan.shards))]
    for shard, found in zip(plan.shards, sidecars, strict=True):
        if found is None:
            report.failures.append(_failure(output, shard))
            continue
        report.made += 1
        report.rows += found.rows
        report.bytes += found.bytes
        report.seconds += found.seconds
        report.video_files += len(found.files)
        report.video_bytes += sum(file["bytes"] for file in found.files)
        report.skipped += found.skipped
        report.large += found.large
        for code, count in found.issues.items():
            report.issues[code] = report.issues.get(code, 0) + count
    report.made -= report.kept
    if not report.failures:
        with writing(output):
            finish(plan, output, sidecars)
        report.is_whole = True


def _failure(output: Path, shard: Shard) -> Failure:
    try:
        return cast("Failure", load_as(Failure, failure_path(output, shard).read_bytes()))
    except (FileNotFoundError, ValueError):
        return Failure(shard.path, "not made")


def finish_if_done(output: Path) -> None:
    """What a cluster's last job calls: finish, unless shards failed; these are written down."""
    with suppress(IncompletePublication):
        finish(ShardPlan.load(output), output)


# --- what is refused ------------------------------------------------------------------------------


def refuse_output(plan: ShardPlan, output: Path) -> None:
    """Raise ``TargetError`` for a folder that holds anything that this plan does not make."""
    if output.exists() and not output.is_dir():
        raise TargetError(f"{output} is a file. Name a folder.")
    if not output.exists():
        return
    wanted = {*_COMPANIONS, *(shard.path for shard in plan.shards)}
    copied = [size for size, how in plan.settings["video"].items() if how == "copy"]
    rows = plan.recordings.select(["file_id", "size"]).to_pylist() if copied else []
    wanted |= {video_file(row["file_id"]) for row in rows if row["size"] in copied}
    foreign = []
    for folder, folders, names in os.walk(output):
        for name in folders:
            refuse_links(Path(folder), name)
        relative = os.path.relpath(folder, output).replace(os.sep, "/")
        relative = "" if relative == "." else f"{relative}/"
        if relative == "":
            for name in os.listdir(output / WORK) if WORK in folders else ():
                refuse_links(output / WORK, name)
            folders[:] = [name for name in folders if name not in (WORK, ".cache", ".git")]
        for name in names:
            path = f"{relative}{name}"
            if path not in wanted and not path.startswith(f"data/{RECORDINGS}/") and name != ".gitattributes":
                foreign.append(path)
    if foreign:
        what = "was made of another selection or in another way" if (output / WORK).exists() else "is not ours"
        some = ", ".join(sorted(foreign)[:3])
        raise TargetError(
            f"{output} {what}: it has {len(foreign):,} files that this publication has not ({some}, …). Name another "
            "folder, or delete them."
        )


def _refuse_full_disk(plan: ShardPlan, todo: list[int], output: Path) -> None:
    if Place(plan.settings["url"], plan.storage_options).is_local and len(todo) <= _LOOKED_AT:
        expected = input_bytes(plan, todo)  # a shard has fewer bytes than what it is made of
    else:
        expected = sum(plan.shards[number].expected_bytes for number in todo)
        expected += plan.expected_video_bytes if len(todo) == len(plan.shards) else 0
    free = shutil.disk_usage(output).free
    if expected > free:
        raise NotEnoughSpace(
            f"{output}: {decimal(expected)} are expected, and its disk has {decimal(free)} left. Publish less at once, "
            "or fewer videos (video='url')."
        )
