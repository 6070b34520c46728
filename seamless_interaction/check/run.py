"""First contact with real data: whether what this package takes for true of them is true.

Nobody who wrote it had a real array, sound or picture. ``check`` reads one interaction of each vendor, holds it against
every fact of ``source_facts.FACTS``, and reports what agrees and what does not. A surprise never stops it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import FILELIST_FLAGS, TABLES, VENDORS, __version__
from seamless_interaction.check.facts import FACTS, Fact
from seamless_interaction.check.judges import Finding, Survey
from seamless_interaction.check.look import Observed, Reader, Row, look
from seamless_interaction.errors import AccessDenied, NoRanges, SourceError, SourceNotFound
from seamless_interaction.places.place import Place
from seamless_interaction.source.ids import INTERACTION_LENGTH
from seamless_interaction.source.layout import archive_paths, tree_path
from seamless_interaction.source.listing import Listing, scan

AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"

_RANGE = (7, 16)  # bytes of a file, to see whether a host keeps to what is asked for
_SHOWN = 6  # different observations of a fact that the text shows; JSON has all


@dataclass(frozen=True)
class Check:
    """A fact, and what was seen of it.

    Attributes:
        id, claim, before, section: as the ``Fact``'s.
        verdict: ``AGREES``, ``DISAGREES`` if anything did, or ``CANNOT_TELL``.
        observed: all that was seen: where, whether it agrees (None: it cannot be told), and what.
    """

    id: str
    claim: str
    before: str
    section: str
    verdict: str
    observed: tuple[Finding, ...]

    @classmethod
    def of(cls, fact: Fact, survey: Survey) -> Check:
        found = tuple(fact.look(survey))
        answers = {finding.agrees for finding in found}
        verdict = DISAGREES if False in answers else AGREES if True in answers else CANNOT_TELL
        return cls(fact.id, fact.claim, fact.before, fact.section, verdict, found)


@dataclass(frozen=True)
class SourceReport:
    """What ``check`` found out.

    Attributes:
        environment: of the run: version, date, source, layout, file ids, bytes read, requests.
        checks: one for each of ``FACTS``, in its order.
    """

    environment: dict[str, Any]
    checks: tuple[Check, ...]

    def __getitem__(self, id: str) -> Check:
        return next(check for check in self.checks if check.id == id)

    @property
    def surprises(self) -> tuple[Check, ...]:
        """Those that disagree."""
        return tuple(check for check in self.checks if check.verdict == DISAGREES)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON can write it."""
        checks = [asdict(c) | {"observed": [finding._asdict() for finding in c.observed]} for c in self.checks]
        return {"environment": self.environment, "checks": checks}

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """For reading: what disagrees first, then what could not be told, then what agrees."""
        lines = [
            f"{name}: {value if not isinstance(value, list) else ' '.join(value)}" for name, value in self._shown()
        ]
        for verdict in (DISAGREES, CANNOT_TELL, AGREES):
            checks = [check for check in self.checks if check.verdict == verdict]
            lines += ["", f"{verdict.capitalize()}: {len(checks)}"]
            for check in checks:
                lines.append(f"  {check.id}: {check.claim} ({check.before} before, section {check.section})")
                lines += [f"    {line}" for line in _summed(check)]
        return "\n".join(lines)

    def _shown(self) -> Iterable[tuple[str, Any]]:
        for name, value in self.environment.items():
            yield name, f"{value:,}" if type(value) is int else value


def _summed(check: Check) -> list[str]:
    """The different observations of a check, those that disagree first."""
    groups: dict[tuple[bool | None, str], list[str]] = defaultdict(list)
    for finding in check.observed:
        groups[finding.agrees, finding.observed].append(finding.where)
    marks = {False: "-", None: "?", True: "+"}
    order = sorted(groups.items(), key=lambda group: (list(marks).index(group[0][0]), -len(group[1])))
    lines = [
        f"{marks[agrees]} {observed} ({where[0]}{f' and {len(where) - 1} more' if where[1:] else ''})"
        for (agrees, observed), where in order
    ]
    more = [f"… {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return lines[:_SHOWN] + more or ["? nothing to look at"]


# --- the run --------------------------------------------------------------------------------------


def check(
    place: Place, filelist: pa.Table, small: bool = False, progress: Callable[[int, int], None] | None = None
) -> SourceReport:
    """Hold a source against everything this package takes for true of it.

    Reads the tables, and of one interaction of each vendor the arrays, texts, samples and the videos' indexes: about
    half a gigabyte of the bucket. Nothing is kept on disk.

    Args:
        place: with a tree, bundles or archives.
        filelist: as ``tables.read_filelist`` gives it.
        small: of arrays that are no masks only the first two megabytes, and no samples: less than 150 MB.
        progress: called with the recordings that were read, and how many there are to read.

    Raises:
        SourceUnreachable: the host cannot be reached, or keeps failing.
        AccessDenied: it refuses everything.
        SourceNotFound: it has nothing of what the file list names.
    """
    started = datetime.now(timezone.utc)
    reader = Reader(place)
    listing = scan(place)
    rows = one_interaction_of_each_vendor(_here(listing, filelist))
    tables = {name: _table(reader, name) for name in TABLES}
    seen: list[Observed] = []
    for number, row in enumerate(rows):
        if progress:
            progress(number, len(rows))
        seen.append(look(reader, listing.layout.name, row, small))
        if not any(found.files for found in seen) and not any(tables.values()):
            break
    if progress:
        progress(len(seen), len(rows))
    if not any(found.files for found in seen):
        _refuse(reader, rows)
    survey = Survey(
        listing.layout.name,
        seen,
        tables,
        _host(reader, seen) if place.is_http else {},
        dict(reader.missing),
        listing.ignored if place.can_be_listed else None,
        any(filelist[name].null_count < len(filelist) for name in FILELIST_FLAGS if name in filelist.column_names),
    )
    checks = tuple(Check.of(fact, survey) for fact in FACTS)
    environment = {
        "seamless_interaction": __version__,
        "python": platform.python_version(),
        "date": started.isoformat(timespec="seconds"),
        "source": place.url,
        "layout": listing.layout.name,
        "small": small,
        "note": _SMALL_NOTE if small else _WHOLE_NOTE,
        "file_ids": [row.file_id for row in rows],
        "bytes_read": reader.num_bytes,
        "requests": reader.num_requests,
    }
    return SourceReport(environment, checks)


_SMALL_NOTE = "masks and texts whole, other arrays' first 2 MB, no samples, of videos the index"
_WHOLE_NOTE = "arrays, texts and samples whole, of videos the index"


def _here(listing: Listing, filelist: pa.Table) -> pa.Table:
    """The rows of a file list that a place has, as far as it can be listed."""
    if not listing.place.can_be_listed:
        return filelist
    if listing.layout.in_tars:
        return filelist.filter(pc.is_in(archive_paths(filelist), pa.array(list(listing.archives), pa.string())))
    return filelist.filter(pc.is_in(listing.layout.spots(filelist), listing.layout.spots(listing.found)))


def one_interaction_of_each_vendor(filelist: pa.Table) -> list[Row]:
    """One interaction of each vendor, the same ones for everyone.

    Rather a pair than a single participant, rather with annotations (the participants' own first), rather of ``dev``;
    among equals the first by file id.
    """
    interactions: dict[str, list[Row]] = defaultdict(list)
    for row in map(Row._make, zip(*(filelist[name].to_pylist() for name in Row._fields), strict=True)):
        interactions[row.file_id[:INTERACTION_LENGTH]].append(row)

    def rank(rows: Iterable[Row]) -> tuple[Any, ...]:
        rows = list(rows)
        annotated = [sum(bool(getattr(row, flag)) for row in rows) for flag in FILELIST_FLAGS[1:]]
        return -len(rows), *(-count for count in annotated), rows[0].split != "dev", rows[0].file_id

    chosen: list[Row] = []
    for vendor in VENDORS:
        candidates = [sorted(rows) for name, rows in interactions.items() if name.startswith(f"{vendor}_")]
        chosen += min(candidates, key=rank, default=[])
    return chosen


def _refuse(reader: Reader, rows: list[Row]) -> None:
    """Raise, as nothing that was asked for came."""
    if reader.refusal is not None:
        raise AccessDenied(
            f"{reader.place.url} refuses {rows[0].file_id}, and everything else that was asked for: the address is "
            "wrong, or the host does not let you in."
        ) from reader.refusal
    raise SourceNotFound(f"{reader.place.url} has nothing of what the file list names. Is the address right?")


def _table(reader: Reader, name: str) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows as they are; None if there is no such table."""
    if reader.file(name) is None:
        return None
    try:
        content = csv.reader(io.StringIO(reader.read(name).decode("utf-8-sig", "replace"), newline=""))
        header, *rows = [cells for cells in content if cells] or [[]]
    except csv.Error as error:
        return [f"not a CSV: {error}"], []
    return header, rows


def _host(reader: Reader, seen: list[Observed]) -> dict[str, Any]:
    """What a host does, seen at the smallest text of the first recording that has one."""
    place = reader.place
    host: dict[str, Any] = {}
    try:
        shown = reader.read("", 0, 200)
        host["listing"] = (False, f"answers {shown[:60]!r}")
    except (SourceError, FileNotFoundError) as error:  # whatever it is, it is no listing
        host["listing"] = (True, f"refused: {getattr(error.__context__, 'status', 'not found')}")
    for found in seen:
        row = found.row
        if "vad" not in found.files:
            continue
        path = tree_path(row.label, row.split, "vad", row.file_id)
        content = reader.read(path)
        entry = place.stat(path)
        host["length"] = (entry.size == len(content), f"{entry.size} of {len(content)} bytes")
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        host["etag"] = (entry.stamp.strip('"') == digest, f"{entry.stamp}, the MD5 is {digest}")
        if len(content) > _RANGE[1]:
            host["ranges"] = _ranges(reader, path, content)
            break
    return host


def _ranges(reader: Reader, path: str, content: bytes) -> tuple[bool, str]:
    start, end = _RANGE
    try:
        piece = reader.read(path, start, end)
    except NoRanges as error:
        return False, str(error)
    return piece == content[start:end], f"{len(piece)} bytes came where {end - start} were asked for"
