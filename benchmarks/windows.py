"""Windows at random places: of sound, of pictures, of arrays, and of all that a model is trained on."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout, whatever is installed

import av
import data
import datasets
import measure
import numpy as np
import soundfile
from bench import MB, QUICK, Bench, Row, Table
from contenders import tars

from seamless_interaction import ARRAYS, SeamlessDataset
from seamless_interaction.formats.audio import Audio
from seamless_interaction.formats.video import Video
from seamless_interaction.source.layout import archive_path, tree_path

SECONDS = 4.0
ARRAY_GROUPS = ["smplh", "movement", "boxes_and_keypoints"]
TRAINED_ON = ["audio", "smplh"]
KEYS = tuple(key for key in ARRAYS if key.startswith("smplh:"))
BATCH = 16

MOST_OF_SOUNDFILE, MOST_OF_DECODER = 1.2, 1.2
MOST_BYTES, LEAST_OF_NPZ, LEAST_OF_NPZ_AGAIN, MOST_OF_MAPS = 1.5, 100, 20, 3
LEAST_OF_BUILDER, LEAST_OF_WORKERS, MOST_GROWTH_MB = 10, 1.6, 10


class Amount(NamedTuple):
    """How much is measured.

    Seconds of a recording of which windows are read, and of a video; its height and width; windows of sound and of
    arrays in a round; rounds; seconds of a training loop; windows until memory is compared.
    """

    seconds: float
    video_seconds: float
    raster: tuple[int, int]
    windows: int
    rounds: int
    loop_seconds: float
    memory_windows: int


FULL_AMOUNT = Amount(600, 60, (1920, 1080), 50, 5, 8, 10_000)
QUICK_AMOUNT = Amount(10, 6, (192, 108), 3, 1, 0.1, 100)


def windows(bench: Bench) -> list[Row | Table]:
    """All of them, each paired with the least, or the best of others, in the same run."""
    amount = QUICK_AMOUNT if bench.sizes is QUICK else FULL_AMOUNT
    video = _video(bench.root, amount)
    findings: list[Row | Table] = [*_of_sound(bench, amount), *_of_pictures(video, amount)]
    findings += _of_arrays(bench, amount)
    findings += _of_training(bench, amount)
    findings += _of_workers(bench, video, amount)
    return findings + _of_memory(bench, amount)


def _row(what: str, ratio: measure.Ratio, most: float | None = None, least: float | None = None) -> Row:
    if most is not None:
        return Row(what, str(ratio), f"at most {most:g}", ratio.median <= most)
    return Row(
        what,
        str(ratio),
        "" if least is None else f"at least {least:g}",
        None if least is None else ratio.median >= least,
    )


def _starts(number: int, seconds: float, seed: int = 0) -> list[float]:
    """Where windows begin."""
    return [random.Random(seed + place).uniform(0, seconds - SECONDS) for place in range(number)]


# --- sound ----------------------------------------------------------------------------------------


def _of_sound(bench: Bench, amount: Amount) -> list[Row | Table]:
    path = str(bench.fresh() / "sound.wav")
    samples = np.random.default_rng(0).standard_normal(round(amount.seconds * 48_000), np.float32) / 8
    soundfile.write(path, samples, 48_000, subtype="FLOAT")
    spans = [(start, start + SECONDS) for start in _starts(4 * amount.windows, amount.seconds)]
    kept = Audio(path)

    def by_soundfile() -> None:
        for start, end in spans:
            with soundfile.SoundFile(path) as file:
                file.seek(round(start * 48_000))
                file.read(round((end - start) * 48_000), dtype="float32")

    def ours() -> None:
        for span in spans:
            kept.read(*span)

    def ours_anew() -> None:
        for span in spans:
            Audio(path).read(*span)

    seconds = measure.interleaved({"soundfile": by_soundfile, "kept": ours, "anew": ours_anew}, amount.rounds)
    what = f"{SECONDS:g} s of a WAV ({seconds.median('kept') / len(spans) * 1e6:.0f} us)"
    return [
        _row(f"{what} / soundfile", seconds.ratio("kept", "soundfile"), MOST_OF_SOUNDFILE),
        _row("  header read each time / soundfile", seconds.ratio("anew", "soundfile"), MOST_OF_SOUNDFILE),
    ]


# --- pictures -------------------------------------------------------------------------------------


def _video(root: Path, amount: Amount) -> Path:
    """A video that is work to decode, at the dataset's raster and rate, as x264 writes it: a texture that pans, noise
    in it, and a smaller one that moves before it."""
    height, width = amount.raster
    path = root / f"window-{height}x{width}-{amount.video_seconds:g}s.mp4"
    if path.exists():
        return path
    rng = np.random.default_rng(0)

    def texture(height: int, width: int, coarse: int) -> np.ndarray:
        blocks = rng.integers(40, 216, (height // coarse + 2, width // coarse + 2), np.uint8)
        return av.VideoFrame.from_ndarray(blocks, format="gray8").reformat(width, height).to_ndarray()

    room = height // 8
    behind = (texture(height + room, width + room, 24) * 0.75 + rng.random((height + room, width + room)) * 63).astype(
        "u1"
    )
    before = texture(height // 2, width // 2, 10)
    noise = rng.integers(-2, 3, (8, height, width), np.int8).view(np.uint8)
    partial = path.with_suffix(".part")
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "g": "250", "crf": "27"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(amount.video_seconds * 30)):
            x, y = (int(room / 2 * (1 + turn(number / slow))) for turn, slow in ((np.sin, 40), (np.cos, 53)))
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = behind[y : y + height, x : x + width]
            x, y = (int(size / 4 + size / 5 * np.sin(number / slow)) for size, slow in ((width, 17), (height, 23)))
            planes[y : y + height // 2, x : x + width // 2] = before
            planes[:height] += noise[number % len(noise)]
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return partial.rename(path)


def _of_pictures(path: Path, amount: Amount) -> list[Row | Table]:
    frames = round(SECONDS * 30)
    kept = Video(path)
    places = iter([])
    first = 0

    def go_on() -> None:
        """To the next place, once each way has read this one."""
        nonlocal first
        measure.free()
        first = next(places)

    def ours() -> np.ndarray:
        return kept.get_batch(range(first, first + frames))

    def ours_scaled() -> np.ndarray:
        return kept.get_batch(range(first, first + frames), size=(224, 224))

    def ours_anew() -> np.ndarray:
        return Video(path).get_batch(range(first, first + frames))

    def by_pyav() -> np.ndarray:
        taken: list[np.ndarray] = []
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            pts = round(first / 30 / stream.time_base)
            container.seek(pts, stream=stream)
            for frame in container.decode(stream):
                if frame.pts >= pts:
                    taken.append(frame.to_ndarray(format="rgb24"))
                if len(taken) == frames:
                    break
        return np.stack(taken)

    ways: dict[str, Callable[[], np.ndarray]] = {
        "ours, kept open": ours,
        "ours, opened anew": ours_anew,
        "PyAV, opened anew": by_pyav,
        **_other_decoders(path, lambda: range(first, first + frames)),
    }
    rows = [
        Row(name, "skipped: not installed, or it does not load")
        for name in ("decord", "torchcodec")
        if not any(way.startswith(name) for way in ways)
    ]
    random_places = random.Random(0)
    turns = [random_places.randrange(round(amount.video_seconds * 30) - frames) for _ in range(amount.rounds)]
    first = turns[0]
    exact = by_pyav()
    same = [name for name, way in ways.items() if np.array_equal(way(), exact)]
    del exact
    ways["ours, kept open, at 224x224"] = ours_scaled
    places = iter([place for place in turns for _ in ways] + turns[-1:])
    seconds = measure.interleaved(ways, amount.rounds, after=go_on)
    lines = [("", "seconds", "of CPUs", "MB/s of RGB", "same values")]
    size = frames * np.prod(amount.raster) * 3 / MB
    for name in ways:
        took, worked = seconds.median(name), seconds.cpu.median(name)
        equal = "" if name not in ways or name.endswith("224") else "yes" if name in same else "NO"
        lines.append((name, f"{took:.2f}", f"{worked:.2f}", f"{size / took:.0f}", equal))
    height, width = amount.raster
    title = f"{frames} frames at random places of a video of {height}x{width}, a key frame every 250"
    findings: list[Row | Table] = [Table(title, lines), *rows]
    others = [name for name in ways if not name.startswith("ours")]
    fastest = min((name for name in others if not name.startswith("torchcodec")), key=seconds.median)
    findings.append(
        _row(
            f"{SECONDS:g} s of a video / the faster of PyAV's and decord's",
            seconds.ratio("ours, kept open", fastest),
            MOST_OF_DECODER,
        )
    )
    for name in others:
        findings.append(_row(f"  / {name}", seconds.ratio("ours, kept open", name)))
        findings.append(_row(f"  / {name}, of CPUs", seconds.cpu.ratio("ours, kept open", name)))
    return findings


def _other_decoders(path: Path, numbers: Callable[[], range]) -> dict[str, Callable[[], np.ndarray]]:
    """Those that are installed."""
    ways: dict[str, Callable[[], np.ndarray]] = {}
    if importlib.util.find_spec("decord"):
        import decord

        reader = decord.VideoReader(str(path), ctx=decord.cpu(0))
        ways["decord, kept open"] = lambda: reader.get_batch(numbers()).asnumpy()
        ways["decord, opened anew"] = lambda: (
            decord.VideoReader(str(path), ctx=decord.cpu(0)).get_batch(numbers()).asnumpy()
        )
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError):  # not installed, or without an FFmpeg that it finds
        return ways

    def of(decoder: Any) -> np.ndarray:
        return decoder.get_frames_in_range(numbers().start, numbers().stop).data.numpy()

    decoder = VideoDecoder(str(path), dimension_order="NHWC")
    ways["torchcodec, kept open"] = lambda: of(decoder)
    ways["torchcodec, opened anew"] = lambda: of(VideoDecoder(str(path), dimension_order="NHWC"))
    return ways


# --- arrays ---------------------------------------------------------------------------------------


def _of_arrays(bench: Bench, amount: Amount) -> list[Row | Table]:
    """All of both partners of V00, from a tree and from bundles; and the bytes asked of a tree that is far away."""
    tree = data.make(bench.root, "window-tree", 1, amount.seconds)
    bundles = data.make(bench.root, "window-bundles", 1, amount.seconds, "bundles")
    recordings = tree.corpus.recordings
    paths = [tree.files_of(recording) for recording in recordings]
    npzs = [
        bundles.folder / archive_path(r.label, r.split, r.batch_idx, r.archive_idx) / f"{r.file_id}.npz"
        for r in bundles.corpus.recordings
    ]
    starts = _starts(amount.windows, amount.seconds)
    slices = {start: slice(round(start * 30), round(start * 30) + round(SECONDS * 30)) for start in starts}
    maps = [[np.load(path, mmap_mode="r") for path in of] for of in paths]

    def rows(array: np.ndarray, start: float, of: int) -> np.ndarray:
        part = slices[start]
        if len(array) < recordings[of].array_frames:  # one row in 15 frames
            part = slice(part.start // 15, -(-part.stop // 15))
        return array[part].copy()

    def reading(read: Callable[[float], object], starts: list[float] = starts) -> Callable[[], None]:
        def windows() -> None:
            for start in starts:
                read(start)

        return windows

    def from_npz(start: float) -> list[np.ndarray]:
        taken = []
        for number, path in enumerate(npzs):
            with np.load(path) as npz:
                taken += [rows(npz[key], start, number) for key in npz.files]
        return taken

    def ours(folder: Path | str) -> Callable[[float], object]:
        interaction = SeamlessDataset(folder, cache_bytes=1 << 30)[0]
        interaction.window(0.0, SECONDS, ARRAY_GROUPS)
        return lambda start: interaction.window(start, SECONDS, ARRAY_GROUPS)

    few = starts[: max(1, amount.windows // 25)]
    ways = {
        "ours, tree": reading(ours(tree.folder)),
        "ours, bundles": reading(ours(bundles.folder)),
        "maps, kept": reading(lambda s: [rows(array, s, number) for number, of in enumerate(maps) for array in of]),
        "maps, opened anew": reading(
            lambda s: [rows(np.load(p, mmap_mode="r"), s, number) for number, of in enumerate(paths) for p in of]
        ),
        "np.load of the NPZ": reading(from_npz, few),
    }
    seconds = measure.interleaved(ways, amount.rounds)
    each = {name: len(few) if name.startswith("np.load") else len(starts) for name in ways}
    seconds = measure.Seconds({name: [took / each[name] for took in of] for name, of in seconds.items()})
    lines = [("", "ms a window"), *((name, f"{seconds.median(name) * 1000:.2f}") for name in ways)]
    title = (
        f"all arrays, {sum(map(len, paths))} of both partners, {SECONDS:g} s of {amount.seconds:g} s, at random places"
    )
    return [
        Table(title, lines),
        _bytes_row(tree, starts),
        _row(
            "  np.load of the NPZ / ours from a tree",
            seconds.ratio("np.load of the NPZ", "ours, tree"),
            least=LEAST_OF_NPZ,
        ),
        _row("  ours from a tree / maps opened anew", seconds.ratio("ours, tree", "maps, opened anew"), MOST_OF_MAPS),
        _row("  ours from a tree / maps kept open", seconds.ratio("ours, tree", "maps, kept"), MOST_OF_MAPS),
        _row(
            "  np.load of the NPZ / ours from bundles, again",
            seconds.ratio("np.load of the NPZ", "ours, bundles"),
            least=LEAST_OF_NPZ_AGAIN,
        ),
    ]


def _bytes_row(tree: data.Data, starts: list[float]) -> Row:
    count = measure.count_bytes()
    interaction = SeamlessDataset(f"counted://{tree.folder}")[0]
    count.clear()
    own = 0
    for start in starts:
        for sample in interaction.window(start, SECONDS, ARRAY_GROUPS).values():
            own += sum(sample[key].nbytes for key in ARRAYS if key in sample and sample["mask"][key].any())
    ratio = count[".npy"] / own
    what = f"{len(starts)} windows of all arrays of a remote tree, headers included: bytes / their own"
    measured = f"{ratio:.2f}x, {count['requests'] / len(starts):.0f} requests a window"
    return Row(what, measured, f"at most {MOST_BYTES:g}", ratio <= MOST_BYTES)


# --- training loops -------------------------------------------------------------------------------


OURS, RANDOM, CONSECUTIVE = "ours", "one random window", "consecutive windows, shuffled"
THEIRS = {name: f"datasets' webdataset, {name}" for name in (RANDOM, CONSECUTIVE)}


def _of_training(bench: Bench, amount: Amount) -> list[Row | Table]:
    try:  # the contender, `datasets`, decodes sound by torchcodec
        import torchcodec  # noqa: F401
    except (ImportError, RuntimeError, OSError):  # not installed, or without an FFmpeg that it finds
        return [Row("windows of a training loop", "skipped: torch with a torchcodec that loads is not installed")]
    source = bench.same_as("archives")
    if bench.sizes.tar_seconds < amount.video_seconds:
        source = data.make(bench.root, "window-archives", 3, amount.video_seconds, "archives")
    folder = str(source.folder)
    SeamlessDataset(folder)  # makes the index that it keeps, as a first use does
    findings: list[Row | Table] = []
    lines = [("windows of one recording a second", "no worker", "2 workers")]
    rounds = min(amount.rounds, bench.sizes.tar_rounds)
    turns = [(way, workers) for _ in range(rounds) for workers in (0, 2) for way in (OURS, *THEIRS)]
    asked = {"folder": folder, "seconds": amount.loop_seconds}
    speeds: dict[tuple[str, int], list[float]] = {}
    for turn, found in zip(
        turns, _children("loop", [{"way": w, "workers": n, **asked} for w, n in turns]), strict=True
    ):
        speeds.setdefault(turn, []).append(found)
    seconds = {of: measure.Seconds({"": [1 / speed for speed in each]}) for of, each in speeds.items()}
    for way in (OURS, *THEIRS):
        lines.append((THEIRS.get(way, way), *(f"{1 / seconds[way, workers].median(''):.1f}" for workers in (0, 2))))
    title = f"{', '.join(TRAINED_ON)}, batches of {BATCH}, from tars; ours are of both partners in step"
    findings.append(Table(title, lines))
    for workers in (0, 2):
        for way, name in THEIRS.items():
            both = measure.Seconds({"theirs": seconds[way, workers][""], "ours": seconds[OURS, workers][""]})
            findings.append(
                _row(f"{name} / ours, {workers} workers", both.ratio("theirs", "ours"), least=LEAST_OF_BUILDER)
            )
    return findings


def _of_workers(bench: Bench, video: Path, amount: Amount) -> list[Row | Table]:
    """Pictures among it, of the real raster: the video stands in for that of each recording."""
    if not importlib.util.find_spec("torch"):
        return []
    source = data.make(bench.root, "window-video", 1, amount.video_seconds)
    folder = bench.fresh() / "data"
    shutil.copytree(source.folder, folder, copy_function=os.symlink)
    for recording in source.corpus.recordings:
        path = folder / tree_path(recording.label, recording.split, "video", recording.file_id)
        path.unlink()
        path.symlink_to(video)
    asked = {"way": "pictures", "folder": str(folder), "seconds": 3 * amount.loop_seconds}
    rounds = min(amount.rounds, bench.sizes.tar_rounds)
    speeds = _children("loop", [{"workers": workers, **asked} for _ in range(rounds) for workers in (1, 2)])
    ratio = measure.Seconds({"two": speeds[1::2], "one": speeds[::2]}).ratio("two", "one")
    return [_row("windows with pictures at 224x224: 2 workers / 1", ratio, least=LEAST_OF_WORKERS)]


def _of_memory(bench: Bench, amount: Amount) -> list[Row | Table]:
    folder = str(data.make(bench.root, "window-tree", 1, amount.seconds).folder)
    (seen,) = _children("memory", [{"folder": folder, "windows": amount.memory_windows}])
    grown = (seen["last"] - seen["first"]) / MB
    return [
        Row(
            f"memory: most in the last tenth of {amount.memory_windows:,} windows, beyond the first tenth's",
            f"{grown:.1f} MB of {seen['first'] / MB:.0f} MB",
            f"at most {MOST_GROWTH_MB} MB",
            grown <= MOST_GROWTH_MB,
        ),
        Row(
            "  descriptors open, after the first tenth and after all",
            f"{seen['first_open']}, {seen['last_open']}",
            "no more",
            seen["last_open"] <= seen["first_open"],
        ),
    ]


def _children(what: str, asked: list[dict[str, Any]]) -> list[Any]:
    """What processes find, one after the other, each fresh from one that may import torch."""
    environment = {name: value for name, value in os.environ.items() if name != "USE_TORCH"}
    command = [sys.executable, __file__, what, json.dumps(asked)]
    done = subprocess.run(command, cwd=measure.ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- what the processes do ------------------------------------------------------------------------


def _loop(way: str, folder: str, workers: int, seconds: float) -> float:
    """Windows of one recording a second, of a loop over epochs that has run for so long; workers' start included."""
    from torch.utils.data import DataLoader

    source: Any
    if way in THEIRS:
        datasets.utils.tqdm.set_lock(threading.RLock())  # it shuffles with threads, which else delete each other's
        source, collate = _builder(folder, way == RANDOM), None
        if way == CONSECUTIVE:
            source = source.shuffle(seed=0, buffer_size=1000)
        windows_of = 1
    else:
        more: dict[str, Any] = {"modalities": [*TRAINED_ON, "video"], "frame_size": (224, 224)}
        more = more if way == "pictures" else {"modalities": TRAINED_ON}
        source = SeamlessDataset(folder).windows(SECONDS, fps=30, paired=True, shuffle=True, **more)
        collate, windows_of = source.collate, 2
    batch = 2 if way == "pictures" else BATCH
    loader: Any = DataLoader(source, batch, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0)
    number = epoch = 0
    began = time.perf_counter()
    while time.perf_counter() < began + seconds:
        source.set_epoch(epoch)
        for found in loader:
            number += len(found["audio"]) * windows_of
            if time.perf_counter() >= began + seconds:
                break
        epoch += 1
    return number / (time.perf_counter() - began)


def _builder(folder: str, is_random: bool) -> datasets.IterableDataset:
    """What the builder that `datasets` has for tars decodes, cut; it is told the types, which makes it faster."""
    features = datasets.Features({"npz": {key: _feature(key) for key in KEYS}, "wav": datasets.Audio(decode=False)})
    paths = sorted(map(str, tars(Path(folder))))
    stream = datasets.load_dataset("webdataset", data_files=paths, split="train", streaming=True, features=features)
    stream = stream.select_columns([*features]).with_format("numpy")
    cut = partial(_cut, is_random=is_random, turn=random.Random(0))
    return stream.map(cut, batched=True, batch_size=1, remove_columns=[*features])


def _cut(records: dict[str, list[Any]], is_random: bool, turn: random.Random) -> dict[str, list[np.ndarray]]:
    """Windows of one record: one, or one after the other."""
    (arrays,), (wav,) = records["npz"], records["wav"]
    audio, _ = soundfile.read(io.BytesIO(wav["bytes"]), dtype="float32")
    last = min(len(audio) / 48_000, len(arrays[KEYS[0]]) / 30) - SECONDS
    starts = [turn.uniform(0, last)] if is_random else np.arange(0, last, SECONDS).tolist()
    found = {"audio": [audio[round(s * 48_000) :][: round(SECONDS * 48_000)] for s in starts]}
    for key in KEYS:
        found[key] = [np.asarray(arrays[key])[round(s * 30) :][: round(SECONDS * 30)] for s in starts]
    return found


def _feature(key: str) -> Any:
    import seamless_interaction

    return seamless_interaction.record_features()[key]


def _memory(folder: str, windows: int) -> dict[str, int]:
    """Most memory, and open descriptors, over the first and the last tenth of windows, in a shuffled order."""
    made = SeamlessDataset(folder).windows(SECONDS, 0.5, TRAINED_ON, fps=30, paired=True, shuffle=True)
    tenth, most = windows // 10, {0: 0, 9: 0}
    opened = []
    for number in range(windows):
        made[number % len(made)]
        if number // tenth in most:
            most[number // tenth] = max(most[number // tenth], measure.anonymous(os.getpid()))
        if number in (tenth - 1, windows - 1):
            opened.append(len(os.listdir("/dev/fd")))
    return {"first": most[0], "last": most[9], "first_open": opened[0], "last_open": opened[1]}


def _serve(what: str, asked: list[dict[str, Any]]) -> None:
    """A line for each, from a process that has imported what they need and done nothing yet."""
    if what == "loop":
        import_module("torch.utils.data")
    for each in asked:
        process = os.fork()
        if not process:
            status = 1
            try:
                print(json.dumps({"loop": _loop, "memory": _memory}[what](**each)), flush=True)
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        if os.waitpid(process, 0)[1]:
            sys.exit(f"{what} of {each} failed, see above")


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
