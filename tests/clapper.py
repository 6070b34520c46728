"""A tree of recordings in which a clapper is struck: a flash, a click and a jump in the arrays, all at known times.

Whoever cuts windows of them sees by that whether the parts are in step, whatever the rates are.
"""

import csv
import json
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from seamless_interaction import ARRAYS, SAMPLING_RATE, TABLES, FileId
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.media import GROUP_OF_PICTURES, write_wav

WIDTH, HEIGHT = 64, 96
FLASH, DARK, STEP = 235, 40, 20  # luma of the flash, of the dark before the first clap, and more after each one
CLICK = np.array([32000, -24000, 12000], "int16")
LABEL, SPLIT = "improvised", "train"

NTSC = Fraction(30000, 1001)
# Vendor, and rates of the video and of the arrays, of the two participants of each interaction.
INTERACTIONS = [
    ("V00", [(Fraction(30), Fraction(30))] * 2),
    ("V03", [(NTSC, NTSC)] * 2),
    ("V01", [(Fraction(45000, 1501), Fraction(45000, 1501))] * 2),
    ("V01", [(Fraction(48000, 1001), Fraction(48000, 1001))] * 2),
    ("V01", [(Fraction(2048074742, 45621735), Fraction(2048074742, 45621735))] * 2),
    ("V01", [(Fraction(30), Fraction(30)), (NTSC, NTSC)]),
    ("V01", [(Fraction(30), Fraction(240)), (Fraction(30), Fraction(191))]),
]


@dataclass(frozen=True)
class Clapped:
    """A recording with a clapper.

    At each of ``times`` (seconds) these happen, on the frame, row or sample that is nearest:

    - one frame is white; all frames from it on are a little less dark than those before;
    - a click of three samples, of which the first is the loudest;
    - one row of ``smplh:translation`` has 1 as its x; its y counts the claps, from that row on;
    - one row of ``boxes_and_keypoints:keypoints`` has 50 as the first point's x;
    - V00: so have ``movement:expression`` and ``movement:hypernet_features`` (a row per 15 frames) in column 0, and 1;
    - a segment of voice activity begins, which lasts 0.2 s, and one of the transcript with the one word "clap".

    Everything else is zero, and valid.

    Attributes:
        file_id: such as ``V00_S0101_I00000081_P0202``.
        fps: frames a second of the video.
        array_rate: rows a second of the arrays; divided by 15, of ``hypernet_features``.
        times: when, in seconds.
    """

    file_id: str
    fps: Fraction
    array_rate: Fraction
    times: tuple[float, ...]


def write_clapper(folder, times, seconds):
    """Write one interaction for each of ``INTERACTIONS``, as a tree with its file list.

    Args:
        folder: an empty or a new one.
        times: of the claps, seconds, ascending.
        seconds: how long the recordings are.

    Returns:
        Each recording, as a ``Clapped``; partners beside each other.
    """
    made = []
    for number, (vendor, rates) in enumerate(INTERACTIONS):
        for role, (fps, array_rate) in enumerate(rates):
            session = 101 + number
            file_id = f"{vendor}_S{session:04d}_I00000081_P{2 * session + role:04d}"
            made.append(Clapped(file_id, fps, array_rate, tuple(times)))
            _write_recording(folder, made[-1], seconds)
    with open(folder / "filelist.csv", "w", encoding="utf-8", newline="") as file:
        rows = [(recording.file_id, LABEL, SPLIT, 0, 0) for recording in made]
        csv.writer(file, lineterminator="\n").writerows([TABLES["filelist.csv"], *rows])
    return made


def _write_recording(root, recording, seconds):
    def place(part):
        path = root / tree_path(LABEL, SPLIT, part, recording.file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    _write_video(place("video"), recording, seconds)
    samples = np.zeros(round(seconds * SAMPLING_RATE), "int16")
    for first in _nearest(recording, SAMPLING_RATE):
        samples[first : first + len(CLICK)] = CLICK
    with open(place("audio"), "wb") as file:
        write_wav(file, len(samples), [samples])
    for key, array in ARRAYS.items():
        if FileId.parse(recording.file_id).vendor in array.vendors:
            np.save(place(key), _array(array, recording, seconds))
    segments = [{"start": time, "end": round(time + 0.2, 3)} for time in recording.times]
    spoken = [{**s, "transcript": "clap", "words": [{"word": "clap", **s, "score": 1.0}]} for s in segments]
    for part, records in {"vad": segments, "transcript": spoken}.items():
        place(part).write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")


def _nearest(recording, rate):
    """The frame, row or sample that is nearest to each clap."""
    return [round(time * rate) for time in recording.times]


def _array(array, recording, seconds):
    rate = recording.array_rate / array.frames_per_row
    shape = (round(seconds * rate), *array.shape)
    if array.feature.startswith("is_valid"):
        return np.ones(shape, array.dtype)
    values = np.zeros(shape, array.dtype)
    rows = _nearest(recording, rate)
    if array.key == "boxes_and_keypoints:box":
        values[:] = 1, 1, WIDTH - 1, HEIGHT - 1
    elif array.key == "boxes_and_keypoints:keypoints":
        values[rows, 0, 0] = 50
    elif array.key == "smplh:translation":
        values[rows, 0] = 1
        for row in rows:
            values[row:, 1] += 1
    elif array.key in ("movement:expression", "movement:hypernet_features"):
        values[rows, 0] = 1
    return values


def _write_video(path, recording, seconds):
    claps = _nearest(recording, recording.fps)
    with av.open(str(path), "w", format="mp4") as container:
        options = {"preset": "ultrafast", "g": str(GROUP_OF_PICTURES), "sc_threshold": "0", "bf": "2", "qp": "10"}
        stream = container.add_stream("libx264", rate=recording.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, "uint8")
        for number in range(round(seconds * recording.fps)):
            planes[:HEIGHT] = FLASH if number in claps else DARK + STEP * sum(number > clap for clap in claps)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, 1 / recording.fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
