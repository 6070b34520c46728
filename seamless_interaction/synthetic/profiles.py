"""What a synthetic corpus goes through, and how its recordings can be broken: two tables."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from seamless_interaction import ANNOTATION_KINDS


class Camera(NamedTuple):
    """How a recording was filmed: the real raster in pixels, frames a second, width of a pixel over its height."""

    width: int
    height: int
    fps: Fraction = Fraction(30)
    pixel_aspect: Fraction = Fraction(1)


class Profile(NamedTuple):
    """One kind of interaction.

    ``cameras`` are dealt to the participants in turn. ``kinds`` are the annotations and ``traits``
    the peculiarities of the first and of the second participant.
    """

    vendor: str
    label: str
    split: str
    cameras: tuple[Camera, ...]
    kinds: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    traits: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    participants: int = 2


_HD = Camera(1080, 1920)


_UHD = Camera(2160, 3840, Fraction(30000, 1001))


_ALL_KINDS = tuple(ANNOTATION_KINDS)


_OBSERVED = tuple(kind for kind in _ALL_KINDS if kind.startswith("3P"))


# Interaction i is of kind i modulo the table's length. Vendors, rasters and rates: the census of DATA_FORMAT 6.1.
PROFILES = {
    "v00": Profile("V00", "improvised", "train", (_HD,)),
    "v03-annotated": Profile(
        "V03", "naturalistic", "train", (_UHD,), (_ALL_KINDS, _OBSERVED), (("word_nulls", "zero_length"), ())
    ),
    "v01-anamorphic": Profile(
        "V01",
        "naturalistic",
        "train",
        (
            Camera(2160, 2160, Fraction(45000, 1501), Fraction(9, 16)),
            Camera(2160, 2160, Fraction(45000, 1501), Fraction(9, 16)),
            Camera(1920, 1080, Fraction(30), Fraction(81, 256)),
            Camera(1012, 1920, Fraction(48000, 1001), Fraction(270, 253)),
        ),
        traits=((), ("no_personality",)),
    ),
    "v00-annotated": Profile(
        "V00", "improvised", "dev", (_HD,), (_OBSERVED, _OBSERVED), (("suffix",), ("zero_length",))
    ),
    "v02": Profile("V02", "naturalistic", "test", (_HD,), traits=(("no_relationship",), ())),
    "v00-single": Profile("V00", "naturalistic", "train", (_HD,), participants=1),
    "v03-rotated": Profile("V03", "improvised", "train", (Camera(3840, 2160, _UHD.fps), _UHD)),
    "v01-square": Profile("V01", "improvised", "train", (_HD, Camera(1080, 1920, Fraction(2048074742, 45621735)))),
    "v00-no-movement": Profile(
        "V00", "improvised", "test", (_HD,), traits=(("word_nulls",), ("suffix", "movement_invalid"))
    ),
    "v02-empty-vad": Profile("V02", "naturalistic", "train", (_HD,), traits=(("empty_vad",), ())),
    "v00-empty-transcript": Profile("V00", "naturalistic", "dev", (_HD,), traits=(("empty_transcript",), ())),
    "v03": Profile("V03", "naturalistic", "train", (_UHD,)),
}


class Defect(NamedTuple):
    """One way for a recording to be broken: which profile it befalls, and the code that each part then has.

    ``arrays`` stands for all arrays, ``metadata`` for whatever a broken JSON file makes unreadable.
    """

    profile: str
    issues: dict[str, str]
    meaning: str


DEFECTS = {
    "empty_bundle": Defect(
        "v01-square",
        {"audio": "empty", "video": "no_video_stream", "arrays": "empty"},
        "placeholders of 261, 58, 1,981 and 96 bytes: no track, no samples, no frames, no records",
    ),
    "empty_bundle_v00": Defect(
        "v00",
        {"audio": "empty", "video": "no_video_stream", "arrays": "empty"},
        "the same of V00, with 24 arrays and an MP4 that has a timecode and nothing else",
    ),
    "no_picture": Defect(
        "v03", {"video": "no_video_stream", "arrays": "empty"}, "real audio and transcript, an MP4 without any track"
    ),
    "no_video_stream": Defect(
        "v02", {"video": "no_video_stream", "arrays": "empty"}, "an MP4 that holds sound and no picture"
    ),
    "truncated_video": Defect("v03", {"video": "truncated"}, "an MP4 cut before its index"),
    "empty_audio": Defect("v02", {"audio": "empty"}, "a WAV of a header only beside a readable video"),
    "damaged_audio": Defect("v01-square", {"audio": "unreadable"}, "a WAV that is none"),
    "short_audio": Defect("v03", {"audio": "duration_differs"}, "a WAV 1.5 s shorter than the video"),
    "empty_arrays": Defect("v01-anamorphic", {"arrays": "empty"}, "a video, and arrays without frames"),
    "fast_arrays": Defect("v01-square", {"arrays": "frames_differ"}, "arrays at 240 Hz beside 30 fps of video"),
    "absent": Defect("v02", {}, "the file list names it, and there is no file of it"),
    "incomplete": Defect(
        "v03", {"audio": "missing", "arrays": "missing"}, "neither audio nor arrays, only video and metadata"
    ),
    "pickled_array": Defect("v00", {"smplh:body_pose": "unsafe"}, "an array of pickled objects"),
    "boundless_array": Defect(
        "v01-square", {"boxes_and_keypoints:keypoints": "unsafe"}, "an array that declares 10**9 frames"
    ),
    "oversized_array": Defect(
        "v00", {"movement:expression": "unsafe"}, "a megabyte more than the array declares; in an NPZ, inflates to it"
    ),
    "truncated_array": Defect("v00", {"smplh:left_hand_pose": "truncated"}, "an array cut in its middle"),
    "wrong_shape": Defect("v02", {"boxes_and_keypoints:box": "wrong_type"}, "one column too many"),
    "non_finite": Defect("v03", {"smplh:global_orient": "non_finite"}, "NaN and infinity in an array"),
    "invalid_json": Defect(
        "v03-annotated", {"metadata": "unreadable"}, "a line of the transcript that is no JSON; a bundle's JSON cut"
    ),
    "impossible_annotations": Defect(
        "v03-annotated", {"annotations": "interval"}, "one ends before it starts, one ends after the recording"
    ),
}
