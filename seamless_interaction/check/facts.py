"""What this package takes for true of the data, one entry a fact, each with how to see whether it is.

``FACTS`` is the table. What a fact says, how well it was known before and where it is written down (a section of our
notes on the data's format) stand beside the function that looks. Such a function gets what was seen and gives its
findings: agreed, disagreed, or could not tell, and always what was observed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from seamless_interaction import ANNOTATION_KINDS, SAMPLING_RATE
from seamless_interaction.check import judges as see
from seamless_interaction.check.judges import Answer, Finding, Judge, Survey
from seamless_interaction.check.look import Observed, StoredArray, StoredAudio, StoredText, StoredVideo

Look = Callable[[Survey], Iterator[Finding]]


class Fact(NamedTuple):
    """One thing that is taken for true.

    Attributes:
        id: short, for reports.
        claim: in words.
        before: ``seen``, ``claimed`` or ``unknown`` before this look. What nobody knew is claimed the way the package
            takes it.
        section: of our notes on the data's format.
        look: gives the findings; none where the fact is not about this source.
    """

    id: str
    claim: str
    before: str
    section: str
    look: Look


def _answered(where: str, judge: Callable[..., Answer | None], *about: Any) -> Iterator[Finding]:
    try:
        answer = judge(*about)
    except Exception as error:  # real data may be anything, and what a look stumbles over is worth reporting
        answer = (None, f"{type(error).__name__}: {error}")
    if answer is not None:
        yield Finding(where, *answer)


def _recordings(judge: Callable[[Observed], Answer | None]) -> Look:
    """A look at each recording."""

    def look(survey: Survey) -> Iterator[Finding]:
        for seen in survey.seen:
            yield from _answered(seen.row.file_id, judge, seen)

    return look


def _arrays(judge: Callable[[StoredArray, Observed, str], Answer | None], keys: str = "") -> Look:
    """A look at each array whose key matches."""

    def look(survey: Survey) -> Iterator[Finding]:
        for seen in survey.seen:
            for key, array in seen.arrays.items():
                if re.search(keys, key):
                    yield from _answered(f"{seen.row.file_id} {key}", judge, array, seen, key)

    return look


def _texts(judge: Callable[[StoredText, Observed, str], Answer | None], parts: str) -> Look:
    """A look at each text whose part matches."""

    def look(survey: Survey) -> Iterator[Finding]:
        for seen in survey.seen:
            for part, text in seen.texts.items():
                if re.fullmatch(parts, part):
                    yield from _answered(f"{seen.row.file_id} {part}", judge, text, seen, part)

    return look


def _table(name: str, judge: Judge) -> Look:
    """A look at a table."""

    def look(survey: Survey) -> Iterator[Finding]:
        table = survey.tables.get(name)
        if table is None:
            yield Finding(name, None, "the source has none")
        else:
            yield from _answered(name, judge, *table)

    return look


def _host(name: str) -> Look:
    return lambda survey: iter([Finding("host", *survey.host[name])] if name in survey.host else [])


def _audio(judge: Callable[[StoredAudio, Observed], Answer | None]) -> Look:
    return _recordings(lambda seen: None if seen.audio is None else judge(seen.audio, seen))


def _video(judge: Callable[[StoredVideo, Observed], Answer | None]) -> Look:
    return _recordings(lambda seen: None if seen.video is None else judge(seen.video, seen))


def _bundle(judge: Callable[[Observed], Answer | None]) -> Look:
    return _recordings(lambda seen: None if seen.layout == "tree" else judge(seen))


# --- the table ------------------------------------------------------------------------------------

_BOXES = "boxes_and_keypoints:is_valid_box"
_MOVING = "^movement:(?!hypernet)"
_KINDS = "|".join(ANNOTATION_KINDS)
_TEXT = f"transcript|vad|{_KINDS}"
_SEGMENT, _WORD = {"start", "end", "transcript", "words"}, {"word", "start", "end"}
_ANNOTATION = {"annotation", "start_ts", "end_ts"}
_PROMPTS, _PEOPLE, _SESSIONS = "interactions.csv", "participants.csv", "relationships.csv"

FACTS = (
    # id, claim, before, section, look
    Fact("files-readable", "whatever is there can be read", "seen", "6.4", _recordings(see.readable)),
    Fact("files-complete", "audio, video and VAD, or a bundle's four files", "seen", "1a", _recordings(see.complete)),
    Fact("missing-403", "a missing object answers 403, not 404", "seen", "1a", see.missing_status),
    Fact("host-ranges", "the host honours ranges", "claimed", "1a", _host("ranges")),
    Fact("host-length", "HEAD tells the length", "claimed", "1a", _host("length")),
    Fact("host-etag", "the ETag is the file's MD5", "unknown", "1a", _host("etag")),
    Fact("host-listing", "no listing is permitted", "seen", "1a", _host("listing")),
    Fact("drafts-absent", "the directories of early drafts hold nothing", "unknown", "1a'", _recordings(see.drafts)),
    Fact("v4-absent", "there is no movement_v4", "unknown", "4.3", _recordings(see.v4)),
    Fact("nothing-else", "nothing lies there that the layout does not name", "unknown", "1d", see.ignored),
    # arrays
    Fact("array-present", "each vendor has its arrays, and no others", "seen", "4", see.present),
    Fact(
        "array-dtype",
        "arrays are stored in the schema's dtype, masks in that or as bool",
        "unknown",
        "1a",
        _arrays(see.dtype),
    ),
    Fact(
        "array-shape",
        "a row has the schema's shape; masks may be (T,)",
        "unknown",
        "4",
        _arrays(see.shape),
    ),
    Fact("array-order", "C order, little-endian", "claimed", "4", _arrays(see.order)),
    Fact("array-version", "NPY format 1.0", "unknown", "4", _arrays(see.version)),
    Fact("array-lengths", "all arrays of a recording have one T", "seen", "4", _recordings(see.lengths)),
    Fact("array-video", "T is the number of video frames, within one", "seen", "6.3", _recordings(see.against_video)),
    Fact("hypernet-rows", "hypernet_features has T/15 rows", "seen", "4.2", _recordings(see.hypernet(False))),
    Fact("hypernet-rounding", "T/15 is rounded down", "unknown", "4.2", _recordings(see.hypernet(True))),
    Fact("movement-length", "T of V00 is a multiple of 60", "claimed", "4.2", _recordings(see.of_blocks)),
    Fact("array-finite", "no NaN, no infinity", "seen", "4.1", _arrays(see.finite)),
    Fact("array-dead", "no column is constant, dead action units aside", "unknown", "4", _arrays(see.dead_columns)),
    Fact(
        "box-zeros",
        "boxes and keypoints are zeros where invalid",
        "seen",
        "4.1",
        _arrays(see.zero_where_invalid(_BOXES), "^boxes"),
    ),
    Fact("box-inside", "boxes lie inside the raster", "seen", "4.1", _recordings(see.box_inside)),
    Fact("keypoint-range", "keypoints are in pixels", "seen", "4.1", _arrays(see.within(-3840, 7680), "keypoints$")),
    Fact(
        "translation-sentinel",
        "translation is 1e12 or more exactly where the box is invalid",
        "seen",
        "4.1",
        _recordings(see.sentinel),
    ),
    Fact("box-implies-smplh", "no valid box, no valid smplh", "seen", "4.1", _recordings(see.implied)),
    Fact(
        "hands-frozen", "invalid hands mostly repeat the frame before", "seen", "4.1", _arrays(see.frozen, "hand_pose$")
    ),
    Fact("keypoint-scores", "keypoint scores from 0 to 1.5", "seen", "4.1", _arrays(see.keypoint_scores, "keypoints$")),
    Fact("pose-range", "poses within -5 to 5 radians", "seen", "4.1", _arrays(see.within(-5, 5), "pose$|orient$")),
    Fact("mask-values", "masks are 0 and 1", "seen", "4", _arrays(see.mask_values, "is_valid")),
    Fact("movement-blocks", "invalid movement is in blocks of 60 frames", "seen", "4.2", _recordings(see.blocks)),
    Fact(
        "movement-zeros",
        "movement is zeros where it is invalid",
        "seen",
        "4.2",
        _arrays(see.zero_where_invalid(see.MOVEMENT_MASK), _MOVING),
    ),
    Fact("tokens-integers", "tokens are integers", "seen", "4.2", _arrays(see.integers, "Token$")),
    Fact(
        "tokens-emotion",
        "emotion tokens are 12 bins",
        "claimed",
        "4.2",
        _arrays(see.within(0, 12), "(Arousal|Valence)Token"),
    ),
    Fact("tokens-fau", "FAU tokens are 1,024 codes", "claimed", "4.2", _arrays(see.within(0, 1024), "FAUToken")),
    Fact("fau-range", "action units are 0 to 2", "seen", "4.2", _arrays(see.within(0, 2), "FAUValue")),
    Fact("fau-dead", "action units 16 to 18 alone are dead", "seen", "4.2", _arrays(see.dead_action_units, "FAUValue")),
    Fact(
        "emotion-logits",
        "emotion scores are logits, no probabilities",
        "claimed",
        "4.2",
        _arrays(see.logits, "emotion_scores"),
    ),
    Fact(
        "emotion-range",
        "arousal and valence within -1 to 1.5",
        "seen",
        "4.2",
        _arrays(see.within(-1, 1.5), "emotion_(arousal|valence)"),
    ),
    # audio
    Fact("audio-format", "32-bit IEEE float", "seen", "6.2", _audio(see.audio_format)),
    Fact("audio-rate", "48 kHz", "seen", "6.2", _audio(lambda a, s: (a.rate == SAMPLING_RATE, f"{a.rate} Hz"))),
    Fact("audio-mono", "mono", "seen", "6.2", _audio(lambda a, s: (a.channels == 1, f"{a.channels} channels"))),
    Fact("audio-header", "a header of 58 bytes, with a fact chunk", "claimed", "6.2", _audio(see.audio_header)),
    Fact("audio-grid", "samples lie on the 16-bit grid", "seen", "6.2", _audio(see.grid)),
    Fact(
        "audio-duration", "the WAV is as long as the video, within a second", "seen", "6.3", _audio(see.audio_seconds)
    ),
    Fact("audio-exact", "WAVs of V00 and V02 are exactly N/30 s long", "seen", "6.3", _audio(see.audio_exact)),
    # video
    Fact("video-codec", "H.264", "claimed", "6.1", _video(lambda v, s: (v.codec == "h264", v.codec))),
    Fact("video-raster", "a raster the vendor is known for", "seen", "6.1", _video(see.raster)),
    Fact("video-fps", "V00, V02: 30; V03: 29.97, rarely 30; V01: any", "seen", "6.1", _video(see.rate)),
    Fact("video-aspect", "square pixels, V01 aside", "seen", "6.1", _video(see.aspect)),
    Fact("video-keys", "a key frame every 250 frames", "seen", "6.1", _video(see.key_frames)),
    Fact("video-index", "the index lies before the pictures", "unknown", "6.1", _video(see.index_first)),
    Fact("video-sound", "an audio track, AAC at 48 kHz", "unknown", "6.2", _video(see.sound)),
    Fact("video-channels", "V00, V03: stereo; V02: mono; V01: either", "seen", "6.2", _video(see.sound_channels)),
    Fact("video-timecode", "V00 alone has a timecode, 00:00:00:00", "seen", "6.1", _video(see.timecode)),
    Fact("video-start", "the first frame is shown at 0", "seen", "6.3", _video(see.first_frame)),
    # text
    Fact("text-form", "JSON Lines, also under .json; in bundles, lists", "seen", "5", _texts(see.form, _TEXT)),
    Fact("text-types", "numbers, strings, and whole seconds of annotations", "seen", "5", _texts(see.types, _TEXT)),
    Fact(
        "transcript-keys",
        "segments: start, end, transcript, words",
        "seen",
        "5.1",
        _texts(see.keys_are(_SEGMENT), "transcript"),
    ),
    Fact(
        "word-keys",
        "words: word, start, end, score as a rule",
        "seen",
        "5.1",
        _texts(see.keys_are(_WORD, {"score"}, "words"), "transcript"),
    ),
    Fact(
        "word-untimed", "words without a time: nulls, no score", "seen", "5.1", _texts(see.untimed_words, "transcript")
    ),
    Fact(
        "transcript-here",
        "a transcript is there, if only an empty one",
        "claimed",
        "5.1",
        _recordings(see.transcript_here),
    ),
    Fact("vad-keys", "voice activity: start, end", "seen", "5.2", _texts(see.keys_are({"start", "end"}), "vad")),
    Fact(
        "vad-intervals",
        "voice activity is forward, sorted, in the recording",
        "seen",
        "5.2",
        _texts(see.intervals, "vad"),
    ),
    Fact("vad-milliseconds", "voice activity in whole milliseconds", "seen", "5.2", _texts(see.milliseconds, "vad")),
    Fact(
        "annotation-keys",
        "annotations: annotation, start_ts, end_ts",
        "seen",
        "5.3",
        _texts(see.keys_are(_ANNOTATION), _KINDS),
    ),
    Fact(
        "annotation-kinds", "the kinds that the file list's flags say", "seen", "5.3", _recordings(see.annotation_kinds)
    ),
    Fact("annotation-some", "no annotation file is empty", "seen", "5.3", _texts(see.not_empty, _KINDS)),
    # bundles and archives
    Fact("bundle-keys", "id, transcript, vad, and what annotations there are", "seen", "1b", _bundle(see.bundle_keys)),
    Fact("bundle-id", "a bundle's id is the file id", "seen", "1b", _bundle(see.bundle_id)),
    Fact("bundle-indented", "a bundle's JSON is pretty-printed", "seen", "1b", _bundle(see.bundle_indented)),
    Fact("npz-names", "NPZ members are group:feature.npy, as vendors have them", "seen", "1b", _bundle(see.npz_names)),
    Fact("npz-compression", "arrays are packed by DEFLATE", "seen", "1b", _bundle(see.npz_compression)),
    Fact("tar-members", "a recording's four files, side by side, by name", "claimed", "1b", _bundle(see.tar_members)),
    # sizes
    Fact("size", "a recording weighs half to twice what is expected", "claimed", "8", _recordings(see.weight)),
    # tables
    Fact("filelist-flags", "the file list has its flags: 8 columns", "claimed", "3.1", see.flags),
    *(
        Fact(f"{name[:-4]}-columns", "the documented columns", "seen", "3", _table(name, see.columns(name)))
        for name in see.COLUMNS
    ),
    *(
        Fact(f"{name[:-4]}-rows", f"{rows:,} rows", "seen", "3", _table(name, see.row_count(name)))
        for name, rows in see.ROWS.items()
    ),
    Fact(
        "prompts-id",
        "prompt_hash has 8 digits",
        "seen",
        "3.2",
        _table(_PROMPTS, see.cells_match("[0-9]{8}", "prompt_hash")),
    ),
    Fact(
        "participants-vendor",
        "vendor_id without V",
        "seen",
        "3.3",
        _table(_PEOPLE, see.cells_match("[0-9]{2}", "vendor_id")),
    ),
    Fact(
        "participants-id",
        "participant_id without P",
        "seen",
        "3.3",
        _table(_PEOPLE, see.cells_match("[0-9]{4}A?", "participant_id")),
    ),
    Fact(
        "participants-undisclosed",
        "Undisclosed are all five traits or none",
        "seen",
        "3.3",
        _table(_PEOPLE, see.undisclosed),
    ),
    Fact(
        "relationships-vendor",
        "vendor_id with V",
        "seen",
        "3.4",
        _table(_SESSIONS, see.cells_match("V[0-9]{2}", "vendor_id")),
    ),
    Fact(
        "relationships-session",
        "session_id without S",
        "seen",
        "3.4",
        _table(_SESSIONS, see.cells_match("[0-9]{4}", "session_id")),
    ),
)
