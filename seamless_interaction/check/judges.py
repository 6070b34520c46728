"""How to see whether a fact holds: what was seen of a source in, what is observed and whether it agrees out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seamless_interaction import (
    ANNOTATION_KINDS,
    ARRAYS,
    FILELIST_FLAGS,
    MAX_FRAMES_APART,
    MAX_SECONDS_APART,
    SAMPLING_RATE,
    TABLES,
    TRAITS,
    VENDORS,
)
from seamless_interaction.check.look import DEAD, Observed, StoredArray, StoredAudio, StoredText, StoredVideo
from seamless_interaction.selection.expected import expected
from seamless_interaction.source.layout import BUNDLE, EXTENSIONS

Answer = tuple[bool | None, str]  # None: it cannot be told
Judge = Callable[[list[str], list[list[str]]], "Answer | None"]  # of a table's header and rows


class Finding(NamedTuple):
    """What one look at one thing gave."""

    where: str
    agrees: bool | None
    observed: str


@dataclass
class Survey:
    """All that was seen of a source.

    Attributes:
        tables: name -> header and rows, cells as text; None if the source has no such table.
        host: name of an observation of a host -> what it was.
        missing: how the host answers for what it does not have -> how often.
        ignored: what lies there and is no part of the layout.
        listed_flags: whether the given file list has flags; False of the oldest.
    """

    layout: str
    seen: list[Observed]
    tables: dict[str, tuple[list[str], list[list[str]]] | None]
    host: dict[str, Answer] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    ignored: tuple[str, ...] | None = None
    listed_flags: bool = True


# --- arrays ---------------------------------------------------------------------------------------

_MASKS = {"smplh": "smplh:is_valid", "boxes_and_keypoints": "boxes_and_keypoints:is_valid_box"}
MOVEMENT_MASK, _BLOCK = "movement:is_valid", 60  # frames that movement is processed in


def _mask(seen: Observed, key: str) -> np.ndarray | None:
    """(rows,) bool"""
    array = seen.arrays.get(key)
    return None if array is None or array.values is None else array.values[:, 0] != 0


def present(survey: Survey) -> Iterator[Finding]:
    for seen in survey.seen:
        for key, array in ARRAYS.items():
            wanted = seen.row.vendor in array.vendors
            if seen.layout == "tree":
                here = key in seen.files
            elif seen.npz is None:
                continue
            else:
                here = BUNDLE[key][1] in seen.npz
            yield Finding(f"{seen.row.file_id} {key}", here == wanted, "there" if here else "not there")


def dtype(array: StoredArray, seen: Observed, key: str) -> Answer:
    wanted = ARRAYS[key]
    return array.dtype == np.dtype(wanted.dtype) or (wanted.is_mask and array.dtype == bool), array.dtype.str


def shape(array: StoredArray, seen: Observed, key: str) -> Answer:
    shown = ", ".join(map(str, ("T", *array.shape[1:]))) if array.shape else ""
    wanted = ARRAYS[key]
    agrees = array.shape[1:] == wanted.shape or (wanted.is_mask and len(array.shape) == 1)
    return agrees and bool(array.shape), f"({shown})"


def order(array: StoredArray, seen: Observed, key: str) -> Answer:
    order = "Fortran order" if array.is_fortran and len(array.shape) > 1 else "C order"
    little = array.dtype.byteorder in "<=|"
    return order[0] == "C" and little, f"{order}, {'little' if little else 'big'}-endian"


def lengths(seen: Observed) -> Answer | None:
    rows = {key: a.shape[0] for key, a in seen.arrays.items() if a.shape and ARRAYS[key].frames_per_row == 1}
    if not rows:
        return None
    common = max(set(rows.values()), key=list(rows.values()).count)
    odd = [f"{key} {length}" for key, length in rows.items() if length != common]
    return not odd, f"T = {common}" + (f", but {', '.join(odd)}" if odd else "")


def against_video(seen: Observed) -> Answer | None:
    if seen.video is None or "smplh:body_pose" not in seen.arrays:
        return None
    rows, frames = seen.arrays["smplh:body_pose"].shape[0], seen.video.header.num_frames
    return abs(rows - frames) <= MAX_FRAMES_APART, f"{rows - frames:+d} frames (arrays {rows}, video {frames})"


def hypernet(exact: bool) -> Callable[[Observed], Answer | None]:
    def judge(seen: Observed) -> Answer | None:
        key = "movement:hypernet_features"
        if key not in seen.arrays or MOVEMENT_MASK not in seen.arrays:
            return None
        rows, frames = seen.arrays[key].shape[0], seen.arrays[MOVEMENT_MASK].shape[0]
        per_row = ARRAYS[key].frames_per_row
        observed = f"{rows} rows for {frames} frames, {frames / per_row:.2f} times {per_row}"
        if not exact:
            return abs(rows - frames / per_row) < 1, observed
        return (None if frames % per_row == 0 else rows == frames // per_row), observed

    return judge


def finite(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    if not array.rows:
        return None
    return not array.non_finite, f"{array.non_finite} NaN or infinite" if array.non_finite else "all finite"


def within(low: float, high: float) -> Callable[[StoredArray, Observed, str], Answer | None]:
    """Values lie within bounds, which are not sharp."""

    def judge(array: StoredArray, seen: Observed, key: str) -> Answer | None:
        if not array.rows:
            return None
        lowest, highest = float(array.low.min()), float(array.high.max())
        return low <= lowest and highest <= high, f"{lowest:.3g} to {highest:.3g}"

    return judge


def keypoint_scores(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    if not array.rows:
        return None
    low, high = float(array.low[2::3].min()), float(array.high[2::3].max())
    return low >= 0 and high <= 1.5, f"{low:.3g} to {high:.3g}"


def zero_where_invalid(mask_key: str) -> Callable[[StoredArray, Observed, str], Answer | None]:
    def judge(array: StoredArray, seen: Observed, key: str) -> Answer | None:
        mask = _mask(seen, mask_key)
        if mask is None or ARRAYS[key].is_mask:
            return None
        n = min(len(mask), array.rows)
        invalid, zero = ~mask[:n], array.zero[:n]
        if not invalid.any():
            return None, "no invalid frame"
        wrong = int((invalid & ~zero).sum())
        return not wrong, f"{wrong} invalid frames are not zeros" if wrong else "zeros"

    return judge


def sentinel(seen: Observed) -> Answer | None:
    mask, array = _mask(seen, _MASKS["boxes_and_keypoints"]), seen.arrays.get("smplh:translation")
    if mask is None or array is None or not array.rows:
        return None
    n = min(len(mask), array.rows)
    invalid, huge = ~mask[:n], array.huge[:n]
    wrong = int((invalid != huge).sum())
    if not invalid.any() and not wrong:
        return None, "no invalid box"
    only = f"{int((invalid & ~huge).sum())} invalid boxes without, {int((huge & ~invalid).sum())} valid ones with"
    return not wrong, only if wrong else "exactly where the box is invalid"


def implied(seen: Observed) -> Answer | None:
    box, body = (_mask(seen, _MASKS[group]) for group in ("boxes_and_keypoints", "smplh"))
    if box is None or body is None:
        return None
    n = min(len(box), len(body))
    if box[:n].all():
        return None, "no invalid box"
    wrong = int((~box[:n] & body[:n]).sum())
    return not wrong, f"{wrong} frames with an invalid box are smplh-valid" if wrong else "no box, no smplh"


def frozen(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    mask = _mask(seen, _MASKS["smplh"])
    if mask is None:
        return None
    n = min(len(mask), array.rows)
    invalid = np.flatnonzero(~mask[:n])
    if not len(invalid):
        return None, "no invalid frame"
    share = float(array.repeated[invalid].mean())
    return share >= 0.5, f"{share:.0%} of invalid frames repeat the one before"


def mask_values(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    if array.values is None:
        return None
    found = sorted({f"{value:g}" for value in np.unique(array.values[:, 0])[:8]})
    return set(found) <= {"0", "1"}, f"{' and '.join(found)}; {float((array.values == 0).mean()):.1%} are 0"


def blocks(seen: Observed) -> Answer | None:
    mask = _mask(seen, MOVEMENT_MASK)
    if mask is None:
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[True], mask, [True]]).astype(int)))  # begins and ends of invalid
    if not len(edges):
        return None, "no invalid frame"
    odd = [int(edge) for edge in edges if edge % _BLOCK and edge != len(mask)]
    return (
        not odd,
        f"runs begin or end at frames {odd[:6]}" if odd else f"{len(edges) // 2} runs, at multiples of {_BLOCK}",
    )


def integers(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    if not array.rows:
        return None
    return array.is_whole, f"{'integers' if array.is_whole else 'not integers'}, to {float(array.high.max()):g}"


def dead_action_units(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    if array.rows < 2 or array.zero.all():
        return None, "no valid frame"
    dead = np.flatnonzero(array.high <= DEAD).tolist()
    return dead == [16, 17, 18], f"dead columns: {', '.join(map(str, dead)) or 'none'}"


def dead_columns(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    if array.rows < 2 or array.zero.all() or ARRAYS[key].is_mask or key == "movement:FAUValue":
        return None
    dead = np.flatnonzero(array.low == array.high).tolist()
    shown = ", ".join(map(str, dead[:12])) + (", …" if len(dead) > 12 else "")
    return not dead, f"constant: {shown} of {len(array.low)} columns" if dead else "none constant"


def logits(array: StoredArray, seen: Observed, key: str) -> Answer | None:
    if not array.rows or array.zero.all():
        return None, "no valid frame"
    low, high = float(array.low.min()), float(array.high.max())
    return low < 0 or high > 1, f"{low:.3g} to {high:.3g}"


def box_inside(seen: Observed) -> Answer | None:
    array = seen.arrays.get("boxes_and_keypoints:box")
    if array is None or seen.video is None or len(array.low) != 4 or not array.rows:
        return None
    width, height = seen.video.header.width, seen.video.header.height
    right, bottom = float(array.high[2]), float(array.high[3])
    inside = array.low.min() >= -1 and right <= width + 1 and bottom <= height + 1
    return bool(
        inside
    ), f"{'inside' if inside else f'from {array.low.min():.0f}, to {right:.0f} x {bottom:.0f}'} of {width} x {height}"


def of_blocks(seen: Observed) -> Answer | None:
    if MOVEMENT_MASK not in seen.arrays:
        return None
    frames = seen.arrays[MOVEMENT_MASK].shape[0]
    return frames % _BLOCK == 0, f"T = {frames}, {frames / _BLOCK:g} times {_BLOCK}"


def v4(seen: Observed) -> Answer | None:
    if seen.v4 is None:
        return None
    shown = [f"{name} {array.dtype.str} {array.shape}" for name, array in seen.v4.items()]
    return not shown, "; ".join(shown) or "none of the 17"


# --- audio and video ------------------------------------------------------------------------------

_AUDIO = {1: "PCM", 3: "IEEE float", 0xFFFE: "extensible"}
_RASTERS = {  # width, height: those of the census
    "V00": {(1080, 1920)},
    "V01": {(1080, 1920), (2160, 2160), (1012, 1920), (1920, 1080)},
    "V02": {(1080, 1920)},
    "V03": {(2160, 3840), (3840, 2160), (640, 480), (1080, 960), (2180, 3840), (1080, 1920)},
}
_ASPECTS = {"V01": (1.0, 9 / 16, 270 / 253, 81 / 256)}  # of other vendors: square
_RATES = {"V00": (30.0,), "V02": (30.0,), "V03": (30000 / 1001, 30.0)}  # of V01: twelve and more
_CHANNELS = {"V00": (2,), "V01": (1, 2), "V02": (1,), "V03": (2,)}  # nearly all
_KEY_FRAMES = 250


def grid(audio: StoredAudio, seen: Observed) -> Answer:
    if audio.off_grid is None:
        return None, "samples not read" if (audio.tag, audio.bits) == (3, 32) else "not float32"
    share = audio.zeros / max(1, audio.num_samples)
    where = f"{audio.off_grid} of {audio.num_samples} samples off it" if audio.off_grid else "on it"
    return not audio.off_grid, f"{where}; peak {audio.peak:.3f}, {share:.1%} exact zeros"


def audio_seconds(audio: StoredAudio, seen: Observed) -> Answer | None:
    if seen.video is None:
        return None
    apart = audio.num_samples / audio.rate - seen.video.header.duration
    return abs(apart) <= MAX_SECONDS_APART, f"{apart:+.3f} s"


def audio_exact(audio: StoredAudio, seen: Observed) -> Answer | None:
    if seen.video is None or seen.row.vendor not in ("V00", "V02"):
        return None
    apart = audio.num_samples * 30 - seen.video.header.num_frames * audio.rate
    return apart == 0, f"{apart / 30:+.1f} samples"


def key_frames(video: StoredVideo, seen: Observed) -> Answer:
    gaps = sorted(set(video.key_gaps))
    if not gaps:
        return None, f"one key frame in {video.header.num_frames} frames"
    return gaps == [_KEY_FRAMES], f"every {', '.join(map(str, gaps[:6]))} frames"


def index_first(video: StoredVideo, seen: Observed) -> Answer:
    boxes = video.boxes
    if not {"moov", "mdat"} <= set(boxes):
        return None, " ".join(boxes)
    return boxes.index("moov") < boxes.index("mdat"), " ".join(boxes)


def _near(found: float, known: tuple[float, ...]) -> bool:
    return any(abs(found - value) <= 1e-3 * value for value in known)


def audio_format(audio: StoredAudio, seen: Observed) -> Answer:
    return (audio.tag, audio.bits) == (3, 32), f"{_AUDIO.get(audio.tag, audio.tag)}, {audio.bits} bits"


def audio_header(audio: StoredAudio, seen: Observed) -> Answer:
    whole = audio.header_bytes == 58 and "fact" in audio.chunks
    return whole, f"{audio.header_bytes} bytes: {', '.join(chunk.strip() for chunk in audio.chunks)}"


def raster(video: StoredVideo, seen: Observed) -> Answer:
    width, height = video.header.width, video.header.height
    return (width, height) in _RASTERS.get(seen.row.vendor, ()), f"{width} x {height}"


def rate(video: StoredVideo, seen: Observed) -> Answer:
    known = _RATES.get(seen.row.vendor)
    return (None if known is None else _near(video.header.fps, known)), f"{video.header.fps:.5f}"


def aspect(video: StoredVideo, seen: Observed) -> Answer:
    found = video.header.pixel_aspect_ratio
    return _near(found, _ASPECTS.get(seen.row.vendor, (1.0,))), f"{found:.4f}"


def sound(video: StoredVideo, seen: Observed) -> Answer:
    if video.sound is None:
        return False, "none"
    return video.sound[:2] == ("aac", SAMPLING_RATE), f"{video.sound[0]} at {video.sound[1]} Hz"


def sound_channels(video: StoredVideo, seen: Observed) -> Answer | None:
    if video.sound is None:
        return None
    return video.sound[2] in _CHANNELS.get(seen.row.vendor, ()), f"{video.sound[2]} channels"


def timecode(video: StoredVideo, seen: Observed) -> Answer:
    wanted = "00:00:00:00" if seen.row.vendor == "V00" else None
    return video.timecode == wanted, f"{video.timecode or 'none'}; tracks: {' '.join(video.tracks)}"


def first_frame(video: StoredVideo, seen: Observed) -> Answer:
    return video.first_pts == 0, f"at {video.first_pts:.4f} s"


# --- text -----------------------------------------------------------------------------------------


def form(text: StoredText, seen: Observed, part: str) -> Answer:
    wanted = "one object a line" if seen.layout == "tree" else "a list"
    return (None if text.form == "no bytes" else text.form == wanted), text.form


def keys_are(
    wanted: set[str], optional: Set[str] = frozenset(), inner: str = ""
) -> Callable[[StoredText, Observed, str], Answer | None]:
    """The keys of each record, or of each record in a record's list ``inner``."""

    def judge(text: StoredText, seen: Observed, part: str) -> Answer | None:
        records = text.records if not inner else [item for record in text.records for item in record[inner]]
        found = {tuple(sorted(record)) if isinstance(record, dict) else (type(record).__name__,) for record in records}
        if not found:
            return None, "no record"
        good = all(wanted <= set(keys) <= wanted | optional for keys in found)
        return good, "; ".join(f"{{{', '.join(keys)}}}" for keys in sorted(found)[:4])

    return judge


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("start", "end"), (int, float)),
    **dict.fromkeys(("transcript", "annotation", "word"), (str,)),
    "words": (list,),
    "score": (int, float),
    **dict.fromkeys(("start_ts", "end_ts"), (int,)),
}


def types(text: StoredText, seen: Observed, part: str) -> Answer | None:
    found: set[str] = set()
    wrong: set[str] = set()
    words = [word for record in text.records for word in record.get("words", [])]
    for record in (*text.records, *words):
        untimed = "word" in record and record.get("start") is None
        for key, value in record.items():
            found.add(f"{key} {type(value).__name__}")
            if type(value) not in _TYPES.get(key, (type(value),)) and not (untimed and value is None):
                wrong.add(f"{key} {type(value).__name__}")
    return (not wrong if found else None), ", ".join(sorted(wrong or found)) or "no record"


def untimed_words(text: StoredText, seen: Observed, part: str) -> Answer | None:
    words = [word for record in text.records for word in record["words"]]
    odd = [w for w in words if len({w.get("start") is None, w.get("end") is None, "score" not in w}) > 1]
    untimed = sum(word.get("start") is None for word in words)
    if odd:
        return False, f"{len(odd)} of {len(words)} words, as {str(odd[0])[:80]}"
    return (True if untimed else None), f"{untimed} of {len(words)} words without a time"


def intervals(text: StoredText, seen: Observed, part: str) -> Answer | None:
    times = [(record["start"], record["end"]) for record in text.records]
    if not times:
        return None, "empty"
    backwards = sum(end <= start for start, end in times)
    unsorted = sum(b[0] < a[0] for a, b in pairwise(times))
    late = sum(end > seen.video.header.duration + MAX_SECONDS_APART for _, end in times) if seen.video else 0
    found = [f"{n} {what}" for n, what in ((backwards, "not forward"), (unsorted, "out of order"), (late, "late")) if n]
    return not found, ", ".join(found) or f"{'one' if len(times) == 1 else 'several'}, sorted, none late"


def milliseconds(text: StoredText, seen: Observed, part: str) -> Answer | None:
    times = [record[key] for record in text.records for key in ("start", "end")]
    finer = [time for time in times if abs(time * 1000 - round(time * 1000)) > 1e-6]
    return (not finer if times else None), f"{len(finer)} finer, as {finer[0]!r}" if finer else "milliseconds"


def _text_here(seen: Observed, part: str) -> bool:
    return part in (seen.files if seen.layout == "tree" else seen.texts)


def annotation_kinds(seen: Observed) -> Answer | None:
    if seen.layout != "tree" and seen.bundle is None:
        return None
    flags = {"1P": seen.row.has_annotation_1p, "3P": seen.row.has_annotation_3p}
    here = [kind for kind in ANNOTATION_KINDS if _text_here(seen, kind)]
    observed = ", ".join(here) or "none"
    if None in flags.values():
        return None, observed
    return here == [kind for kind in ANNOTATION_KINDS if flags[kind[:2]]], f"{observed} (flags {flags})"


def not_empty(text: StoredText, seen: Observed, part: str) -> Answer:
    return bool(text.records), f"{'some' if text.records else 'no'} records"


# --- bundles and archives -------------------------------------------------------------------------


def bundle_keys(seen: Observed) -> Answer | None:
    if seen.bundle is None:
        return None
    always = {"id", "metadata:transcript", "metadata:vad"}
    known = always | {f"annotations:{kind}" for kind in ANNOTATION_KINDS}
    return always <= set(seen.bundle["keys"]) <= known, ", ".join(seen.bundle["keys"])


def npz_names(seen: Observed) -> Answer | None:
    if seen.npz is None:
        return None
    known = {BUNDLE[key][1] for key, array in ARRAYS.items() if seen.row.vendor in array.vendors}
    unknown = sorted(set(seen.npz) - known)
    return set(seen.npz) == known, f"{len(seen.npz)} members" + (
        f", unknown: {', '.join(unknown[:6])}" if unknown else ""
    )


def npz_compression(seen: Observed) -> Answer | None:
    found = {{0: "stored", 8: "DEFLATE"}.get(c, f"method {c}") for c in (seen.npz or {}).values()}
    return None if not found else (found == {"DEFLATE"}, ", ".join(sorted(found)))


def tar_members(seen: Observed) -> Answer | None:
    if seen.neighbours is None:
        return None
    samples: dict[str, list[str]] = {}
    for name in seen.neighbours:
        stem, dot, extension = name.partition(".")
        samples.setdefault(stem, []).append(dot + extension)
    apart = sum(a.partition(".")[0] != b.partition(".")[0] for a, b in pairwise(seen.neighbours))
    odd = {stem: found for stem, found in samples.items() if found != sorted(EXTENSIONS)}
    if odd or apart >= len(samples):
        return False, f"{len(odd)} of {len(samples)} differ: {next(iter(odd.items()), 'samples are mixed')}"
    return True, f"{len(samples)} recordings, each {' '.join(sorted(EXTENSIONS))}"


# --- sizes ----------------------------------------------------------------------------------------

_SIZE_FACTOR = 2.0  # a mean against one recording


def weight(seen: Observed) -> Answer | None:
    """Bytes a second against what ``configs/recordings.yaml`` expects of a vendor."""
    means, vendor = expected(), seen.row.vendor
    if seen.video is None or vendor not in VENDORS:
        return None
    parts: dict[str, int] = {}
    for name, num_bytes in seen.files.items():
        kind = "arrays" if name in ARRAYS else name if name in ("audio", "video") or name in EXTENSIONS else "text"
        parts[kind] = parts.get(kind, 0) + num_bytes
    seconds = seen.video.header.duration
    ratio = sum(parts.values()) / seconds / (means.bytes[vendor] / means.seconds[vendor])
    shown = ", ".join(f"{kind} {num_bytes:,}" for kind, num_bytes in parts.items())
    return 1 / _SIZE_FACTOR <= ratio <= _SIZE_FACTOR, f"{ratio:.2f} times the mean: {shown} bytes in {seconds:.1f} s"


def bundle_id(seen: Observed) -> Answer | None:
    if seen.bundle is None:
        return None
    return seen.bundle["id"] == seen.row.file_id, "its own" if seen.bundle[
        "id"
    ] == seen.row.file_id else f"{seen.bundle['id']!r}"


def bundle_indented(seen: Observed) -> Answer | None:
    if seen.bundle is None:
        return None
    return seen.bundle["is_indented"], "indented" if seen.bundle["is_indented"] else "not indented"


# --- tables and the place -------------------------------------------------------------------------

COLUMNS = {
    "filelist.csv": (*TABLES["filelist.csv"], *FILELIST_FLAGS),
    "interactions.csv": (
        *("", "prompt_hash", "prompt_id_unique", "participant_a_prompt_text", "participant_b_prompt_text"),
        *("ipc_a", "ipc_b", "interaction_type"),
    ),
    "participants.csv": (
        *(f"{t}_raw" for t in ("extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness")),
        *("vendor_id", "participant_id"),
    ),
    "relationships.csv": TABLES["relationships.csv"],
}
ROWS = {"filelist.csv": 129_370, "interactions.csv": 1_312, "participants.csv": 4_284, "relationships.csv": 5_098}


def columns(name: str) -> Judge:
    def judge(header: list[str], rows: list[list[str]]) -> Answer:
        oldest = name == "filelist.csv" and tuple(header) == TABLES[name]
        odd = sum(len(row) != len(header) for row in rows)
        observed = ", ".join(column or "(unnamed)" for column in header) + (f"; {odd} odd rows" if odd else "")
        return (oldest or tuple(header) == COLUMNS[name]) and not odd, observed

    return judge


def cells_match(pattern: str, *columns: str) -> Judge:
    """Whole cells of the columns match."""

    def judge(header: list[str], rows: list[list[str]]) -> Answer | None:
        cells = [row[header.index(column)] for row in rows for column in columns]
        odd = [cell for cell in cells if not re.fullmatch(pattern, cell)]
        shown = odd[0] if odd else cells[0] if cells else "no rows"
        return (
            not odd if cells else None
        ), f"{len(odd)} of {len(cells)} differ, as {shown!r}" if odd else f"as {shown!r}"

    return judge


def undisclosed(header: list[str], rows: list[list[str]]) -> Answer | None:
    places = [header.index(f"{trait}_raw") for trait in TRAITS]
    counts = [sum(row[place] == "Undisclosed" for place in places) for row in rows]
    mixed = sum(count not in (0, len(places)) for count in counts)
    whole = sum(count == len(places) for count in counts)
    return not mixed and whole > 0, f"{whole} of {len(rows)} rows, {mixed} rows in part"


def missing_status(survey: Survey) -> Iterator[Finding]:
    if survey.host:
        observed = ", ".join(f"{status} {times} times" for status, times in sorted(survey.missing.items()))
        yield Finding("host", set(survey.missing) == {"403"} if observed else None, observed or "nothing was missing")


def readable(seen: Observed) -> Answer:
    shown = "; ".join(f"{name}: {problem}" for name, problem in seen.problems.items())
    return not shown, shown or "all of it"


def drafts(seen: Observed) -> Answer | None:
    return None if seen.drafts is None else (not seen.drafts, ", ".join(seen.drafts) or "none of them")


def complete(seen: Observed) -> Answer:
    if seen.layout == "tree":
        absent = [part for part in ("audio", "video", "vad") if part not in seen.files]
    else:
        absent = [extension for extension in EXTENSIONS if extension not in seen.files]
    return not absent, f"without {', '.join(absent)}" if absent else "complete"


def ignored(survey: Survey) -> Iterator[Finding]:
    if survey.ignored is not None:
        shown = ", ".join(survey.ignored[:8]) + (", …" if len(survey.ignored) > 8 else "")
        yield Finding("source", not survey.ignored, f"{len(survey.ignored)}: {shown}" if shown else "nothing")


def transcript_here(seen: Observed) -> Answer:
    is_here = _text_here(seen, "transcript")
    return is_here, "there" if is_here else "absent"


def row_count(name: str) -> Judge:
    return lambda header, rows: (len(rows) == ROWS[name], f"{len(rows):,}")


def version(array: StoredArray, seen: Observed, key: str) -> Answer:
    return array.version == (1, 0), ".".join(map(str, array.version))


def flags(survey: Survey) -> Iterator[Finding]:
    yield Finding("file list", survey.listed_flags, f"{8 if survey.listed_flags else 5} columns are known of it")
