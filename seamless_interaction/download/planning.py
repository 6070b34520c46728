"""What a download is about to do: which files to fetch, from where, and which are here already."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import ANNOTATION_KINDS, LABELS, VENDORS
from seamless_interaction.download.manifest import NAME, Manifest
from seamless_interaction.download.on_disk import decide, on_disk
from seamless_interaction.download.transfer import Job
from seamless_interaction.errors import TargetError, known_keywords
from seamless_interaction.opening import Opening
from seamless_interaction.places.limits import MAX_MP4_BYTES
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import local_path
from seamless_interaction.selection.expected import expected_bytes, expected_bytes_of_parts, expected_seconds
from seamless_interaction.selection.selection import Selection
from seamless_interaction.source import addresses
from seamless_interaction.source.files import Source
from seamless_interaction.source.ids import INTERACTION_LENGTH, vendor_codes
from seamless_interaction.source.index import Index
from seamless_interaction.source.layout import (
    PARTS,
    Layout,
    archive_paths,
    bits_of,
    listed_folders,
    parts_in,
    which_parts,
)
from seamless_interaction.source.listing import Listing
from seamless_interaction.source.recordings import (
    OPTIONAL,
    Recording,
    recordings,
    required_bits,
)
from seamless_interaction.work.text import aligned, decimal

FOLDER = "seamless-interaction-data"
_MOST_OF_IT = 0.5  # of a tar, by expected bytes, from which on it is fetched whole

# What is to be done with a file.
ACTIONS = {
    "fetch": "not here",
    "resume": "begun",
    "verify": "here, but changed since it was checked: kept if its hash is still the same",
    "keep": "here, or known not to exist",
}


@dataclass(frozen=True)
class Plan:
    """What a download is about to do. Nothing has been fetched yet but tables, and headers of tars.

    Attributes:
        recordings: those selected that the source has: the fields of ``recordings.Recording``.
        wanted: the parts of each recording that are selected, a bit each.
        actions: for each of ``ACTIONS`` a bit a part of each recording.
        lacking: parts that the format requires and the source's own listing does not have.
        sizes: bytes of each part of each recording; -1 where the source does not tell them beforehand.
        not_here: selected file ids that the source lacks.
        held: bytes of the selected files that are on disk.
        recorded: bytes of the manifest as it was looked at.
    """

    selection: Selection
    source: Source
    target: Path
    filelist: pa.Table = field(repr=False)
    recordings: pa.Table = field(repr=False)
    wanted: np.ndarray = field(repr=False)
    actions: dict[str, np.ndarray] = field(repr=False)
    lacking: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    whole_archives: frozenset[str] = field(repr=False)
    not_here: tuple[str, ...] = field(repr=False)
    held: int
    recorded: int

    def compared(self, manifest: Manifest) -> Plan:
        """The same, with what lies in the target by now."""
        present = np.bitwise_or.reduce(list(self.actions.values()))
        found = on_disk(self.recordings["file_id"].to_pylist(), present, manifest, self.target)
        actions = decide(present, found.here, found.intact, found.known, found.begun)
        return replace(self, actions=actions, held=found.num_bytes, recorded=manifest.num_bytes)

    def restricted(self, parts: dict[str, int]) -> Plan:
        """Only these parts of each recording, a bit each."""
        only = np.array([parts.get(file_id, 0) for file_id in self.recordings["file_id"].to_pylist()], np.int64)
        actions = {action: bits & only for action, bits in self.actions.items()}
        return replace(self, wanted=only, actions=actions, lacking=self.lacking & only)

    @property
    def files(self) -> dict[str, int]:
        """How many files each action is about."""
        return {action: int(which_parts(bits).sum()) for action, bits in self.actions.items()}

    @property
    def by_part(self) -> pa.Table:
        """For each part that is wanted: its files by action, the bytes to come, and how many of these are expected."""
        rows = []
        weights, vendors = expected_bytes_of_parts(), vendor_codes(self.recordings)
        which = {action: which_parts(bits) for action, bits in self.actions.items()}
        for bit, part in enumerate(PARTS):
            has = {action: of_action[:, bit] for action, of_action in which.items()}
            to_come = has["fetch"] | has["resume"]
            is_known = self.sizes[:, bit] >= 0
            unknown = np.bincount(vendors[to_come & ~is_known], minlength=len(VENDORS))
            expected = sum(int(unknown[code]) * weights[part][vendor] for code, vendor in enumerate(VENDORS))
            known = int(self.sizes[to_come & is_known, bit].sum())
            files = {action: int(files.sum()) for action, files in has.items()}
            rows.append({"part": part, **files, "bytes": known + expected, "expected_bytes": expected})
        table = pa.Table.from_pylist(rows)
        return table.filter(pa.array([any(row[action] for action in ACTIONS) for row in rows]))

    @property
    def num_bytes(self) -> int:
        """Bytes that are expected to be fetched."""
        return int(pc.sum(self.by_part["bytes"]).as_py() or 0)

    @property
    def free(self) -> int:
        """Bytes that the disk of the target has left."""
        folder = self.target.absolute()
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.source.place.url,
            "target": str(self.target),
            "recordings": len(self.recordings),
            "interactions": self.interactions,
            "expected_hours": self.hours,
            "files": self.files,
            "bytes": self.num_bytes,
            "expected_bytes": sum(row["expected_bytes"] for row in self.by_modality),
            "held_bytes": self.held,
            "free_bytes": self.free,
            "whole_archives": len(self.whole_archives),
            "not_in_source": list(self.not_here),
            "modalities": self.by_modality,
        }

    def as_text(self) -> str:
        """For reading: a line a modality."""
        rows = [
            [row["modality"], *(f"{row[action]:,}" for action in ACTIONS), decimal(row["bytes"])]
            for row in self.by_modality
        ]
        files = self.files
        rows.append(["all", *(f"{files[action]:,}" for action in ACTIONS), decimal(self.num_bytes)])
        header = ["files", *ACTIONS, "bytes to come"]
        lines = aligned([header, *rows])
        notes = [
            f"{self.source.place.url} -> {self.target}",
            f"{len(self.recordings):,} recordings, {self.interactions:,} interactions, about {self.hours:,.1f} hours"
            + (f"; {len(self.not_here):,} more are not in the source" if self.not_here else ""),
            f"{decimal(self.held)} are here already; the disk has {decimal(self.free)} left",
        ]
        expected = sum(row["expected_bytes"] for row in self.by_modality)
        ends = ["Hours are expected ones, from means by vendor."]
        if expected:
            some = "Bytes" if expected == self.num_bytes else f"{decimal(expected)} of the bytes"
            ends = [f"{some} and the hours are expected ones, from means by vendor: the source does not tell them."]
        if self.whole_archives:
            ends.append(f"{len(self.whole_archives):,} tars are fetched whole, as most of each is wanted.")
        lacking = int(which_parts(self.lacking).sum())
        if lacking:
            ends.append(f"{lacking:,} files that the format requires are not in the source.")
        return "\n".join([*notes, "", *lines, "", *ends])

    @property
    def interactions(self) -> int:
        """How many interactions the recordings are of."""
        return len(pc.unique(pc.utf8_slice_codeunits(self.recordings["file_id"], 0, INTERACTION_LENGTH)))

    @property
    def hours(self) -> float:
        """Expected hours of the recordings."""
        return float(expected_seconds(self.recordings).sum()) / 3600

    @property
    def by_modality(self) -> list[dict[str, Any]]:
        """``by_part``, the parts of a modality together."""
        found: dict[str, dict[str, Any]] = {}
        for row in self.by_part.to_pylist():
            part = row.pop("part")
            modality = "annotations" if part in ANNOTATION_KINDS else part.partition(":")[0]
            total = found.setdefault(modality, {"modality": modality, **dict.fromkeys(row, 0)})
            for name, value in row.items():
                total[name] += value
        return list(found.values())

    def jobs(self) -> Iterator[Job]:
        """What is to be fetched, a piece at a time, in the order of recordings."""
        todo = self.actions["fetch"] | self.actions["resume"] | self.actions["verify"]
        layout = self.source.layout
        archives = archive_paths(self.recordings) if layout.in_tars else None
        by_archive: dict[str, list[tuple[Recording, tuple[str, ...]]]] = {}
        for row in np.flatnonzero(todo):
            recording = _recording(self.recordings, int(row))
            parts = parts_in(int(todo[row]))
            path = archives[int(row)].as_py() if archives is not None else None
            if path in self.whole_archives:
                by_archive.setdefault(path, []).append((recording, parts))
            else:
                yield from (Job(((recording, group),)) for group in layout.groups(parts))
        for path, wanted in by_archive.items():
            yield Job(tuple(wanted), path)


def _recording(table: pa.Table, row: int) -> Recording:
    return Recording(**table.slice(row, 1).to_pylist()[0])


@known_keywords()
def plan(
    selection: Selection | None = None,
    source: str | os.PathLike = "bucket",
    target: str | os.PathLike = FOLDER,
    *,
    filelist: str | os.PathLike | None = None,
    layout: str | None = None,
    index: str | os.PathLike | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Plan:
    """What ``download`` would do.

    Args:
        selection: what to fetch; None is all that the source holds, or the size 10GB of the bucket and the Hub.
        source: ``"bucket"``, ``"hub"``, or the folder or URL of any copy, in any layout.
        target: the folder to fetch into.
        filelist: a file list of yours; None is the source's own, or the official one.
        layout: of the source: ``"tree"``, ``"bundles"`` or ``"archives"``; None finds out.
        index: of the source, by ``seamless-interaction index``.
        storage_options: what fsspec needs to open the source.

    Raises:
        UsageError: a selection that cannot be, or of which nothing is in the list.
        SourceError: the source cannot be read.
        TargetError: the target holds something else.
    """
    target = local_path(target)
    address = addresses.address_of(os.fspath(source))
    opening = Opening(address, storage_options, layout=layout, index=index, filelist=filelist)
    _refuse_target(target, opening.place)
    selection = opening.in_force(selection or Selection())
    opened = opening.join(
        selection,
        partners=False,
        num_bytes=partial(_told_bytes, selection),
        # Which must come twice alike, where no hash is published.
        whole=partial(_whole_archives, selection) if opening.place.is_hub else None,
    )
    opened.tell_chosen(selection)
    rows, listing = opened.rows, opened.listing
    # What the source, if it is a partial copy itself, was made without is not asked of it.
    wanted = np.asarray(rows["meant"].combine_chunks(), np.int64) & bits_of(selection.parts)
    present, lacking = _present(rows, wanted, listing.layout)
    planned = Plan(
        selection=selection,
        source=opened.source,
        target=target,
        filelist=opened.filelist,
        recordings=rows,
        wanted=wanted,
        actions={"fetch": present},
        lacking=lacking,
        sizes=known_sizes(listing, rows, selection.parts, opened.source.index),
        whole_archives=opened.whole,
        not_here=opened.gaps.not_here,
        held=0,
        recorded=0,
    )
    return planned.compared(Manifest(target))


def _told_bytes(selection: Selection, listing: Listing, filelist: pa.Table) -> pa.Array | None:
    """Bytes of what is selected of each row of a file list, where ``max_bytes`` needs them and the place tells."""
    if selection.max_bytes is None or listing.layout.is_packed or not listing.place.can_be_listed:
        return None
    here, _ = recordings(listing.found, filelist, filelist, listing.layout)
    num_bytes = np.maximum(known_sizes(listing, here, selection.parts), 0).sum(1)
    where = pc.index_in(filelist["file_id"].combine_chunks(), here["file_id"].combine_chunks())
    return pc.fill_null(pa.array(num_bytes).take(where), 0)


def _refuse_target(target: Path, place: Place) -> None:
    if target.exists() and not target.is_dir():
        raise TargetError(f"{target} is a file. Name a folder.")
    if place.is_local and target.exists() and os.path.samefile(target, place.root):
        raise TargetError(f"{target} is the source. Name another folder to fetch into.")
    if not (target / NAME).exists() and any((target / label).exists() for label in LABELS):
        raise TargetError(
            f"{target} holds recordings, and no {NAME}: it is no copy that was made here. Name another folder."
        )


def known_sizes(listing: Listing, rows: pa.Table, parts: tuple[str, ...], index: Index | None = None) -> np.ndarray:
    """Bytes of each part of each recording, as far as the place tells them without being asked for each; else -1.

    Of arrays and texts in a bundle only the packed size is known, which is not that of the files made of them.

    Args:
        listing: of the place.
        rows: with the fields of ``Recording``.
        parts: that are of interest.
        index: where the recordings lie in archives.
    """
    shape, place, layout = (len(rows), len(PARTS)), listing.place, listing.layout
    if index is None and not place.can_be_listed:
        return np.broadcast_to(np.int64(-1), shape)  # which takes no memory
    sizes = np.full(shape, -1, np.int64)
    if index is not None:
        for part in {"audio", "video"} & set(parts):
            lengths = index.lengths(part)
            has_row = np.asarray(rows["row"].is_valid())
            in_index = np.asarray(pc.fill_null(rows["row"], 0))
            sizes[:, PARTS.index(part)] = np.where(has_row, lengths[in_index], -1) if len(lengths) else -1
        return sizes
    if layout.is_packed:
        parts = tuple(part for part in ("audio", "video") if part in parts)
    folders: dict[str, dict[str, int]] = {}  # folder -> extension -> the part's position
    for spot in rows.select(layout.keys).group_by(layout.keys).aggregate([]).to_pylist():
        for part in parts:
            file = layout.file_of(part)
            extensions = folders.setdefault(layout.folder(tuple(spot.values()), file, listing.aliases), {})
            extensions[layout.extension(file)] = PARTS.index(part)
    numbers = {file_id: row for row, file_id in enumerate(rows["file_id"].to_pylist())}
    for bits, entries in zip(folders.values(), listed_folders(place, list(folders)), strict=True):
        for entry in entries:
            stem, extension = os.path.splitext(entry.name)
            if extension in bits and stem in numbers:
                sizes[numbers[stem], bits[extension]] = entry.size
    sizes[sizes > MAX_MP4_BYTES] = -1  # of no file of a recording
    return sizes


def _whole_archives(selection: Selection, listed: pa.Table, chosen: pa.Table) -> frozenset[str]:
    """The tars most of which is wanted."""
    paths = archive_paths(chosen).dictionary_encode()
    all_paths = pc.index_in(archive_paths(listed), paths.dictionary)
    in_them = all_paths.is_valid()
    number = len(paths.dictionary)
    wanted = np.bincount(paths.indices, expected_bytes(chosen, selection.parts), number)
    held = np.bincount(all_paths.drop_null(), expected_bytes(listed.filter(in_them)), number)
    return frozenset(paths.dictionary.filter(pa.array(wanted >= _MOST_OF_IT * held)).to_pylist())


def _present(rows: pa.Table, wanted: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The wanted parts that the source may have of each recording; those that it should have, and lacks."""
    files = np.asarray(rows["files"].combine_chunks(), np.int64)
    required = required_bits(rows)
    present = layout.parts_in(files) & wanted
    if layout.is_packed:  # what its files hold is not known by name
        present &= required | np.int64(bits_of(OPTIONAL))
    return present, wanted & required & ~present


# --- what is here ---------------------------------------------------------------------------------
