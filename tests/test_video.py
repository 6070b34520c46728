"""Headers of whole and broken videos, and frames that are the right ones."""

import gc
import io
import itertools
import os
import pickle
import struct
import subprocess
import sys
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest
from conftest import CountedFile, write
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from seamless_interaction.errors import BadFile, EmptyFile, MissingFile, NoVideoStream, TruncatedFile, UnreadableFile
from seamless_interaction.formats import mp4 as mp4_module
from seamless_interaction.formats import video as video_module
from seamless_interaction.formats.audio import probe_audio
from seamless_interaction.formats.mp4 import _packet_index, probe_video, read_frames
from seamless_interaction.formats.video import Video
from seamless_interaction.places import ranges

NTSC = Fraction(30000, 1001)
BITS = 8  # a frame's number, as dark and light columns
FRAMES = 70  # two groups of pictures
GROUP = 50


def picture(number, width, height):
    luma = np.repeat(np.array([235 if number >> bit & 1 else 16 for bit in range(BITS)], np.uint8), width // BITS)
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height, : len(luma)] = luma
    return planes


def number_of(frame):
    """The number that ``picture`` put into an RGB frame."""
    columns = frame.astype(float).mean(axis=(0, 2)).reshape(BITS, -1).mean(axis=1)
    return sum(1 << bit for bit in range(BITS) if columns[bit] > 128)


def make_video(
    path,
    frames=FRAMES,
    rate=NTSC,
    size=(64, 96),
    aspect=None,
    audio=False,
    picture_=True,
    noise=False,
    mux=None,
    first=0,
    **x264,
):
    width, height = size
    with av.open(str(path), "w", format="mp4", options=mux or {}) as container:
        if picture_:
            options = {"preset": "ultrafast", "bf": "2", "g": str(GROUP), "sc_threshold": "0", "qp": "20", **x264}
            video = container.add_stream("libx264", rate=rate, options=options)
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            if aspect:
                video.codec_context.sample_aspect_ratio = aspect
        sound = container.add_stream("aac", rate=48000, layout="mono") if audio else None
        random = np.random.default_rng(0)
        for number in range(frames if picture_ else 0):
            planes = picture(number, width, height)
            if noise:
                planes[:height] = random.integers(16, 235, (height, width))
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number + first, 1 / rate
            container.mux(video.encode(frame))
        if picture_:
            container.mux(video.encode())
        if sound:
            for start in range(0, 48000, 1024):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48000, start
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def mp4(folder):
    return make_video(folder / "video.mp4", audio=True)


@pytest.fixture(scope="module")
def faststart(folder):
    return make_video(folder / "faststart.mp4", mux={"movflags": "faststart"})


@pytest.fixture(scope="module")
def large(folder):
    """More than 1 MB, index at the end and at the front."""
    paths = [
        make_video(folder / f"large{number}.mp4", frames=30, size=(320, 320), noise=True, mux=mux)
        for number, mux in enumerate([{}, {"movflags": "faststart"}])
    ]
    assert all(len(Path(path).read_bytes()) > 1_000_000 for path in paths)
    return paths


def box(kind, content=b""):
    return struct.pack(">I4s", 8 + len(content), kind) + content


# --- probe_video ----------------------------------------------------------------------------------


def test_header_says_duration_average_rate_frames_and_stored_raster(mp4):
    header = probe_video(mp4)
    assert header == (pytest.approx(FRAMES / NTSC, abs=1e-4), pytest.approx(float(NTSC)), FRAMES, 64, 96, 1.0)
    assert [type(value) for value in header] == [float, float, int, int, int, float]


def test_open_file_gives_the_same_header_and_stays_open(mp4, faststart):
    for path in (mp4, faststart):
        with open(path, "rb") as file:
            file.seek(11)
            assert probe_video("some/where.mp4", file) == probe_video(path)
            assert not file.closed


def test_pixel_aspect_of_an_anamorphic_raster(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=3, size=(96, 96), aspect=Fraction(9, 16))
    assert probe_video(path)[3:] == (96, 96, 0.5625)


@pytest.mark.parametrize("aspect", [Fraction(9, 16), Fraction(270, 253), Fraction(4, 3), Fraction(1)])
@pytest.mark.parametrize("x264", [{}, {"preset": "medium", "profile": "high", "bf": "3"}, {"x264-params": "cqm=jvt"}])
def test_pixel_aspect_that_only_the_h264_stream_says(tmp_path, aspect, x264):
    path = make_video(tmp_path / "v.mp4", frames=3, size=(96, 90), aspect=aspect, **x264)
    data = Path(path).read_bytes()
    assert data.count(b"pasp") == 1
    assert probe_video(write(tmp_path / "w.mp4", data.replace(b"pasp", b"free"))).pixel_aspect_ratio == float(aspect)


@pytest.mark.parametrize("which", [0, 1], ids=["index-at-end", "index-at-front"])
def test_probe_reads_the_header_only(large, which):
    file = CountedFile(large[which])
    assert probe_video("v.mp4", file).num_frames == 30
    assert file.count < 64 << 10


class Remote(AbstractFileSystem):
    """Local files, fetched in ranges that are counted."""

    protocol = "counted"
    fetched: list[int] = []

    def info(self, path, **options):
        return {"name": path, "size": Path(path).stat().st_size, "type": "file"}

    def _open(self, path, mode="rb", block_size=None, **options):
        return Ranges(self, path, mode, block_size, **options)


class Ranges(AbstractBufferedFile):
    def _fetch_range(self, start, end):
        data = Path(self.path).read_bytes()[start:end]
        self.fs.fetched.append(len(data))
        return data


@pytest.mark.parametrize("which", [0, 1], ids=["index-at-end", "index-at-front"])
def test_probe_by_url_fetches_little_in_few_requests(large, which):
    fsspec.register_implementation("counted", Remote, clobber=True)
    Remote.fetched.clear()
    assert probe_video(f"counted://{large[which]}") == probe_video(large[which])
    assert len(Remote.fetched) <= 2 and sum(Remote.fetched) < 2 * ranges.HEADER_BLOCK


def test_fragmented_video_has_frames_though_its_index_has_none(tmp_path):
    path = make_video(tmp_path / "v.mp4", mux={"movflags": "frag_keyframe+empty_moov"})
    assert probe_video(path).num_frames == FRAMES
    assert number_of(Video(path)[61]) == 61


def test_fragments_are_whole_or_truncated_however_many(tmp_path):
    path = make_video(tmp_path / "v.mp4", g="1", mux={"movflags": "frag_every_frame+empty_moov"})
    data = Path(path).read_bytes()
    assert data.count(b"moof") == FRAMES
    assert (probe_video(path).num_frames, number_of(Video(path)[69])) == (FRAMES, 69)
    at = data.rindex(b"mdat")
    for end in (at - 10, at - 2, at + 2, at + 4, at + 10):
        with pytest.raises(TruncatedFile, match="Fetch it again"):
            probe_video(write(tmp_path / "cut.mp4", data[:end]))


def test_a_file_of_boxes_without_end_is_left(tmp_path, monkeypatch, mp4):
    monkeypatch.setattr(mp4_module, "_MAX_BOXES", 50)
    with pytest.raises(UnreadableFile, match="more than 50 boxes"):
        probe_video(write(tmp_path / "v.mp4", Path(mp4).read_bytes() + box(b"free") * 50))


MANY = 1_500_000  # twice as many are more than any recording has


def told(data, kind, *numbers, last=False):
    """A file whose table of that kind, which is its first or last one, begins with other numbers."""
    changed = bytearray(data)
    struct.pack_into(f">{len(numbers)}I", changed, (data.rindex if last else data.index)(kind) + 8, *numbers)
    return bytes(changed)


def appended(data, content):
    """A file whose index, which ends it, has one more box."""
    at = data.index(b"moov") - 4
    return data[:at] + struct.pack(">I", len(data) - at + len(content)) + data[at + 4 :] + content


HOSTILE_INDEXES = {
    "sizes": lambda data: told(data, b"stsz", 1, 2 * MANY),
    "sizes of two tracks": lambda data: told(told(data, b"stsz", 1, MANY), b"stsz", 1, MANY, last=True),
    "sizes in another place": lambda data: appended(data, box(b"udta", box(b"stsz", bytes(12)))),
    "sizes outside": lambda data: data + box(b"trak", box(b"stsz", bytes(12))),
    "times": lambda data: told(data, b"stts", 1, 2 * MANY),
    "delays": lambda data: told(data, b"ctts", 1, 2 * MANY),
    "packed": lambda data: appended(data, box(b"cmov", bytes(20))),
    "an index within": lambda data: appended(data, box(b"trak", box(b"trak", box(b"stsz", bytes(4) + b"\0\xff" * 4)))),
}


@pytest.mark.parametrize("how", HOSTILE_INDEXES)
def test_few_bytes_that_tell_of_many_frames_never_reach_ffmpeg(mp4, monkeypatch, how):
    """It took 1.75 GB for an index of 2 kB."""
    monkeypatch.setattr(mp4_module, "open_container", None)
    data = HOSTILE_INDEXES[how](Path(mp4).read_bytes())
    with pytest.raises(UnreadableFile, match=r"at most|none belongs|outside"):
        probe_video("v.mp4", io.BytesIO(data))


def test_fragments_that_tell_of_many_frames_never_reach_ffmpeg(tmp_path, monkeypatch):
    path = make_video(tmp_path / "v.mp4", mux={"movflags": "frag_keyframe+empty_moov"})
    monkeypatch.setattr(mp4_module, "open_container", None)
    with pytest.raises(UnreadableFile, match="at most"):
        probe_video("v.mp4", io.BytesIO(told(Path(path).read_bytes(), b"trun", 2 * MANY, last=True)))


def test_an_index_without_anything_is_not_looked_for_in_a_fragment(tmp_path):
    data = Path(make_video(tmp_path / "v.mp4", mux={"movflags": "frag_keyframe+empty_moov"})).read_bytes()
    start, end = data.index(b"moov") - 4, data.index(b"moof") - 4
    empty = io.BytesIO(data[:start] + box(b"moov") + data[end:])
    assert mp4_module.read_moov("v.mp4", empty) == b""
    with pytest.raises(BadFile):
        probe_video("v.mp4", empty)


def test_sound_that_is_not_compressed_has_many_samples_and_few_entries(tmp_path):
    """An hour at 48 kHz: 172,800,000 of them."""
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(sound.encode(frame))
    data = told(told(path.read_bytes(), b"stsz", 2, 172_800_000), b"stts", 1, 172_800_000, 1)
    assert mp4_module.read_moov("v.mp4", io.BytesIO(data))


def test_index_that_leads_beyond_the_file_is_truncated(tmp_path, faststart):
    data = bytearray(Path(faststart).read_bytes())
    at = data.index(b"stco") + 12  # the first chunk
    data[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + 1)
    with pytest.raises(TruncatedFile, match=f"up to byte {len(data) + 1}, and it ends at {len(data)}"):
        probe_video(write(tmp_path / "v.mp4", data))


@pytest.mark.parametrize("cut", [1, 5000])
def test_cut_video_is_truncated(tmp_path, large, cut):
    for path in large:
        with pytest.raises(TruncatedFile, match="Fetch it again"):
            probe_video(write(tmp_path / "v.mp4", Path(path).read_bytes()[:-cut]))


def test_video_that_ends_right_after_its_index_is_truncated(tmp_path, faststart):
    data = Path(faststart).read_bytes()
    at = data.index(b"mdat") - 4
    for end in (at, at + 4):
        with pytest.raises(TruncatedFile):
            probe_video(write(tmp_path / "v.mp4", data[:end]))


def test_video_without_index_is_truncated(tmp_path, mp4):
    data = Path(mp4).read_bytes()
    whole_boxes = data[: data.index(b"moov") - 4]
    unknown_length = data.index(b"mdat") - 4
    for broken in (whole_boxes, data[:unknown_length] + box(b"mdat")[:3] + b"\0mdat" + data[unknown_length + 8 : 3000]):
        with pytest.raises(TruncatedFile):
            probe_video(write(tmp_path / "v.mp4", broken))


def test_placeholder_without_any_track_has_no_video_stream(tmp_path):
    header = box(b"mvhd", struct.pack(">5I", 0, 0, 0, 1000, 0) + b"\0" * 80)
    path = write(tmp_path / "v.mp4", box(b"ftyp", b"isom\0\0\2\0isomiso2") + box(b"mdat") + box(b"moov", header))
    with pytest.raises(NoVideoStream, match="none"):
        probe_video(path)


def test_video_with_sound_only_has_no_video_stream(tmp_path):
    with pytest.raises(NoVideoStream, match="audio"):
        probe_video(make_video(tmp_path / "v.mp4", audio=True, picture_=False))


def test_video_without_bytes_or_without_frames_is_empty(tmp_path):
    with pytest.raises(EmptyFile):
        probe_video(write(tmp_path / "v.mp4", b""))
    path = make_video(tmp_path / "w.mp4", mux={"movflags": "frag_keyframe+empty_moov"})
    data = Path(path).read_bytes()
    with pytest.raises(EmptyFile):  # the index of a fragmented file, and no fragment
        probe_video(write(tmp_path / "x.mp4", data[: data.index(b"moof") - 4]))


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html>", b"abc", b"RIFF\0\0\0\0WAVE", b"\0" * 100], ids=repr)
def test_what_is_no_mp4_is_unreadable(tmp_path, data):
    with pytest.raises(UnreadableFile, match="not an MP4"):
        probe_video(write(tmp_path / "v.mp4", data))


def test_random_bytes_never_raise_anything_but_bad_file(tmp_path, mp4):
    data = bytearray(Path(mp4).read_bytes())
    start = data.index(b"moov")
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(80):
        broken = bytearray(data)
        for at in random.integers(start, len(data), 4):
            broken[at] = random.integers(256)
        try:
            probe_video("v.mp4", io.BytesIO(broken))
            Video(write(tmp_path / "v.mp4", broken))[-1]
        except BadFile as error:
            seen.add(type(error))
    assert seen


@pytest.mark.parametrize("probe", [probe_video, probe_audio])
def test_missing_file_and_folder(tmp_path, probe):
    for path in (f"{tmp_path}/none", f"memory://{tmp_path}/none"):
        with pytest.raises(MissingFile):
            probe(path)
    with pytest.raises(UnreadableFile):
        probe(str(tmp_path))


# --- Video ----------------------------------------------------------------------------------------


def test_random_access_gives_the_frame_asked_for(mp4):
    with Video(mp4) as video:
        order = np.random.default_rng(0).permutation(FRAMES).tolist()
        assert [number_of(video[number]) for number in order] == order
        assert video[3].shape == (96, 64, 3) and video[3].dtype == np.uint8
        assert number_of(video[-1]) == FRAMES - 1 and number_of(video[np.int64(-FRAMES)]) == 0


def test_slices_and_batches_keep_their_order(mp4):
    with Video(mp4) as video:
        for which in (slice(45, 55), slice(None, None, 7), slice(60, 40, -3), slice(-3, None), slice(5, 5)):
            frames = video[which]
            assert [number_of(frame) for frame in frames] == list(range(FRAMES))[which]
            assert frames.shape[1:] == (96, 64, 3) and frames.dtype == np.uint8
        assert [number_of(frame) for frame in video.get_batch([69, 0, 51, 0, -1])] == [69, 0, 51, 0, 69]


HARD = {
    "open-groups": {"x264-params": "open-gop=1:bframes=4:keyint=10:min-keyint=10:scenecut=0"},
    "groups-shorter-than-delays": {"x264-params": "keyint=2:bframes=5:b-pyramid=normal:open-gop=1"},
    "short-groups": {"x264-params": "keyint=2:min-keyint=1"},
    "key-frames-only": {"x264-params": "keyint=1"},
    "keys-to-recover-from": {"x264-params": "intra-refresh=1:keyint=20:bframes=0"},
}


@pytest.mark.parametrize("mux", [{}, {"movflags": "negative_cts_offsets"}], ids=["", "negative-delays"])
@pytest.mark.parametrize("groups", HARD)
def test_any_structure_of_groups_is_frame_accurate(tmp_path, groups, mux):
    path = make_video(tmp_path / "v.mp4", preset="fast", mux=mux, **HARD[groups])
    video = Video(path)
    order = np.random.default_rng(0).permutation(FRAMES).tolist() + list(range(0, FRAMES, 3))
    assert [number_of(video[number]) for number in order] == order
    with av.open(path) as container:
        decoded = list(container.decode(video=0))
    assert np.allclose(video.times, [float(frame.pts * frame.time_base) for frame in decoded], rtol=0, atol=1e-9)
    assert all(np.array_equal(video[number], decoded[number].to_ndarray(format="rgb24")) for number in order)
    with av.open(path) as container:
        from_packets = _packet_index(path, container)
    for found, expected in zip(video._index, from_packets, strict=True):
        assert np.array_equal(found, expected)


def test_going_forward_does_not_seek_again(mp4, monkeypatch):
    seeks = []
    frames_from = video_module._frames_from
    monkeypatch.setattr(video_module, "_frames_from", lambda *where: seeks.append(where) or frames_from(*where))
    video = Video(mp4)
    assert [number_of(video[number]) for number in range(5, FRAMES)] == list(range(5, FRAMES))
    assert len(seeks) == 1
    video[69], video[69], video[2]
    assert len(seeks) == 2


@pytest.mark.parametrize("mux", [{}, {"use_editlist": "0"}, {"movflags": "negative_cts_offsets"}], ids=repr)
@pytest.mark.parametrize("bframes", ["0", "3"])
def test_decoding_begins_at_the_frames_own_group(tmp_path, monkeypatch, bframes, mux):
    path = make_video(tmp_path / "v.mp4", frames=130, preset="fast", bf=bframes, mux=mux)
    began = []
    frames_from = video_module._frames_from

    def watched(*where):
        frames = frames_from(*where)
        began.append((first := next(frames)).pts)
        return itertools.chain([first], frames)

    monkeypatch.setattr(video_module, "_frames_from", watched)
    video = Video(path)
    assert [number_of(video[number]) for number in (120, 60, 99, 50, 10)] == [120, 60, 99, 50, 10]
    assert [int(video._index.pts.searchsorted(pts)) for pts in began] == [100, 50, 50, 0]  # 99 lies ahead of 60


def test_batches_are_scaled_to_a_size(mp4):
    with Video(mp4) as video:
        batch = video.get_batch([51, 3, 3, -1], size=(24, 32))
        assert batch.shape == (4, 24, 32, 3) and batch.dtype == np.uint8
        assert [number_of(frame) for frame in batch] == [51, 3, 3, FRAMES - 1]
        with av.open(mp4) as container:
            frame = next(itertools.islice(container.decode(video=0), 3, None))
        assert np.array_equal(batch[1], frame.reformat(32, 24, "rgb24").to_ndarray())
        assert np.array_equal(video.get_batch([3]), video[3:4])  # and not the size of before
        assert video.get_batch([], size=(5, 6)).shape == (0, 5, 6, 3)
        assert (video.header.height, video.header.width) == (96, 64)
        with pytest.raises(ValueError, match=r"\(0, 32\)"):
            video.get_batch([3], size=(0, 32))


COLOURS = [(220, 40, 40), (40, 200, 60), (50, 60, 210), (128, 128, 128), (235, 235, 235)]
# ITU-T H.273, table 4, but for the one that FFmpeg takes where none is told: weights of red and blue
MATRICES = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
MATRICES |= {7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def coloured(path, matrix, is_full, bits=8):
    """A video of which each frame has one of the colours, and tells how that was made YUV."""
    red, blue = MATRICES.get(matrix, MATRICES[1])
    unit = 1 << bits - 8
    black, luma, chroma = (0, 256 * unit - 1, 256 * unit - 1) if is_full else (16 * unit, 219 * unit, 224 * unit)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30, options={"qp": "1", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p" if bits == 8 else "yuv420p10le"
        video.codec_context.colorspace, video.codec_context.color_range = matrix, 2 if is_full else 1
        for number, (r, g, b) in enumerate(np.array(COLOURS) / 255):
            y = red * r + (1 - red - blue) * g + blue * b
            u, v = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
            frame = av.VideoFrame(64, 48, video.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 30)
            frame.colorspace, frame.color_range = matrix, 2 if is_full else 1
            values = black + luma * y, 128 * unit + chroma * u, 128 * unit + chroma * v
            for plane, value in zip(frame.planes, values, strict=True):
                sample = round(value).to_bytes(-(-bits // 8), "little")
                plane.update(sample * (plane.buffer_size // len(sample)))
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return str(path)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("is_full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_are_right_whatever_matrix_and_range_tell(tmp_path, matrix, is_full, bits):
    video = Video(coloured(tmp_path / "a.mp4", matrix, is_full, bits))
    for frames in video[:], video.get_batch(range(5), (24, 32)):
        np.testing.assert_allclose(frames.mean((1, 2)), COLOURS, atol=3)


def test_colours_of_an_unknown_matrix_are_an_error(tmp_path):
    video = Video(coloured(tmp_path / "a.mp4", 8, False))  # YCgCo
    assert video.header.num_frames == len(video) == len(COLOURS)
    with pytest.raises(UnreadableFile, match=r"a\.mp4.*colours.*matrix 8"):
        video[0]


def test_numbers_near_times_are_of_the_nearest_frames(mp4):
    video = Video(mp4)
    rate = float(NTSC)
    shown = np.arange(FRAMES) / rate
    for apart in (-0.49, 0, 0.49, 0.5):
        assert np.array_equal(video.numbers_near(shown + apart / rate), np.arange(FRAMES))
    assert video.numbers_near(shown[:-1] + 0.51 / rate).tolist() == list(range(1, FRAMES))
    assert video.numbers_near([-np.inf, -1, 99, 1.02 / rate]).tolist() == [0, 0, FRAMES - 1, 1]
    assert video.numbers_near([]).dtype == video.numbers_near(shown).dtype == np.int64
    with pytest.raises(ValueError, match="nan"):
        video.numbers_near([0, float("nan")])


@pytest.mark.parametrize("first", [0, 5])
@pytest.mark.parametrize("mux", [{}, {"use_editlist": "0"}, {"avoid_negative_ts": "make_zero"}], ids=repr)
def test_first_frame_later_than_zero(tmp_path, first, mux):
    path = make_video(tmp_path / "v.mp4", mux=mux, first=first)
    video = Video(path)
    assert [number_of(video[number]) for number in (60, 0, 69)] == [60, 0, 69]
    with av.open(path) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert np.allclose(video.times, times, rtol=0, atol=1e-9)
    assert number_of(video.at(0)) == 0 and number_of(video.at(video.times[33])) == 33
    file = CountedFile(path)
    read_frames(path, file)
    assert file.count < len(Path(path).read_bytes()) / 2  # the tables were enough


def test_one_frame_of_a_large_video_reads_its_group_only(tmp_path, opened):
    path = make_video(tmp_path / "v.mp4", frames=120, size=(160, 160), noise=True, g="10")
    size = len(Path(path).read_bytes())
    assert size > 1_500_000
    Video(path)[75]
    assert 0 < sum(file.count for file in opened) < size / 3


def test_at_gives_the_frame_shown_then(mp4):
    video = Video(mp4)
    rate = float(NTSC)
    assert [video.number_at(number / rate) for number in range(FRAMES)] == list(range(FRAMES))
    assert [video.number_at((number + 0.99) / rate) for number in range(FRAMES)] == list(range(FRAMES))
    assert number_of(video.at(51.5 / rate)) == 51
    assert np.allclose(video.times, np.arange(FRAMES) / rate)
    for seconds in (-0.01, FRAMES / rate + 0.1, float("nan")):
        with pytest.raises(IndexError):
            video.at(seconds)


def test_at_follows_the_frames_own_times_where_the_rate_varies(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(400, 3000, FRAMES)) - 400
    path = str(tmp_path / "v.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "2", "g": "20"})
        stream.width, stream.height, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30000)
        for number, time in enumerate(times - times[0]):
            frame = av.VideoFrame.from_ndarray(picture(number, 64, 96), format="yuv420p")
            frame.pts, frame.time_base = int(time), Fraction(1, 30000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = Video(path)
    assert np.allclose(video.times, (times - times[0]) / 30000)
    assert [number_of(video.at(time)) for time in video.times] == list(range(FRAMES))
    assert number_of(video.at(video.times[40] - 1e-3)) == 39


def test_iterating_streams_all_frames_beside_other_access(mp4):
    video = Video(mp4)
    seen = []
    for frame in video:
        seen.append(number_of(frame))
        assert number_of(video[0]) == 0
    assert seen == list(range(FRAMES)) and len(video) == FRAMES and video.fps == pytest.approx(float(NTSC))


def test_indices_out_of_range(mp4):
    video = Video(mp4)
    for number in (FRAMES, -FRAMES - 1):
        with pytest.raises(IndexError, match=f"of {FRAMES}"):
            video[number]
        with pytest.raises(IndexError):
            video.get_batch([0, number])
    with pytest.raises(TypeError):
        video[1.0]


def test_edit_list_that_cuts_shows_the_frames_that_players_show(tmp_path, mp4):
    data = bytearray(Path(mp4).read_bytes())
    at = data.index(b"elst")
    start = struct.unpack(">i", data[at + 16 : at + 20])[0]
    tick = struct.unpack(">I", data[(scale := data.index(b"mdhd") + 16) : scale + 4])[0]
    data[at + 16 : at + 20] = struct.pack(">i", start + round(10.5 / NTSC * tick))
    path = write(tmp_path / "v.mp4", data)
    with av.open(path) as container:
        shown = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert FRAMES - 12 < len(shown) < FRAMES
    video = Video(path)
    assert [number_of(video[number]) for number in range(len(video))] == shown
    assert video.header.num_frames == len(video)
    assert video.header.duration == pytest.approx(float(len(shown) / NTSC), abs=0.5 / NTSC)


def test_a_cover_or_thumbnail_is_not_the_picture(tmp_path, mp4):
    with av.open(str(tmp_path / "two.mp4"), "w") as container:
        streams = [container.add_stream(codec, rate=30, options={"qp": "20"}) for codec in ("mjpeg", "libx264")]
        streams[0].width, streams[0].height, streams[0].pix_fmt = 32, 16, "yuvj420p"
        streams[1].width, streams[1].height, streams[1].pix_fmt = 64, 96, "yuv420p"
        for stream, frames in zip(streams, (1, 9), strict=True):
            for number in range(frames):
                planes = picture(number, stream.width, stream.height)
                frame = av.VideoFrame.from_ndarray(planes, format=stream.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    with av.open(str(tmp_path / "two.mp4")) as container:
        jpeg = next(bytes(packet) for packet in container.demux(video=0))
    data = Path(mp4).read_bytes()  # its moov is at the end
    cover = box(b"covr", box(b"data", struct.pack(">II", 13, 0) + jpeg))
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(10))
    added = box(b"udta", box(b"meta", bytes(4) + handler + box(b"ilst", cover)))
    at = data.index(b"moov") + 4
    moov = data[at : at + 108] + added + data[at + 108 :]  # right after the mvhd
    with_cover = write(tmp_path / "cover.mp4", data[: at - 8] + box(b"moov", moov))
    with av.open(with_cover) as container:
        assert [(s.width, s.height) for s in container.streams.video] == [(32, 16), (64, 96)]
    for path, frames in ((tmp_path / "two.mp4", 9), (with_cover, FRAMES)):
        video = Video(path)
        assert (video.header.width, video.header.height, video.header.num_frames) == (64, 96, frames)
        assert [number_of(video[number]) for number in (0, 8, 5)] == [0, 8, 5]
    only = write(tmp_path / "only.mp4", box(b"ftyp", b"isom" * 3) + box(b"moov", data[at : at + 108] + added))
    with pytest.raises(NoVideoStream):
        probe_video(only)


def other_raster(path, codec):
    """The file, whose container says 128x48 of its picture."""
    data = bytearray(Path(path).read_bytes())
    at = data.index(codec, data.index(b"stsd")) + 28
    assert data[at : at + 4] == struct.pack(">HH", 64, 96)
    data[at : at + 4] = struct.pack(">HH", 128, 48)
    return bytes(data)


def mpeg4(path):
    """MPEG-4 part 2, whose raster FFmpeg leaves to the decoder."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30, options={"bf": "2", "g": "12", "qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 96, "yuv420p"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(picture(number, 64, 96), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def test_raster_is_what_h264_says_itself_and_else_a_frame_of_another_one_is_an_error(tmp_path, mp4):
    video = Video(write(tmp_path / "avc.mp4", other_raster(mp4, b"avc1")))
    assert (video.header.width, video.header.height) == (64, 96)
    assert video.get_batch([3]).shape == (1, 96, 64, 3) and number_of(video[3]) == 3
    video = Video(write(tmp_path / "mp4v.mp4", other_raster(mpeg4(tmp_path / "m.mp4"), b"mp4v")))
    for size in None, (24, 32):
        with pytest.raises(UnreadableFile, match=r"mp4v\.mp4.*frame of 64x96, where its header says 128x48"):
            video.get_batch([0], size)


def test_mpeg4_part_2(tmp_path):
    video = Video(mpeg4(tmp_path / "v.mp4"))
    assert (video.header.width, video.header.height, video.header.num_frames) == (64, 96, 40)
    assert [number_of(video[number]) for number in (39, 0, 13, 12, 25)] == [39, 0, 13, 12, 25]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("options", [{}, {"x264-params": "interlaced=1"}], ids=["frames", "fields"])
def test_raster_of_h264_is_cropped(tmp_path, pix_fmt, options):
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 70, 52, pix_fmt
        container.mux(stream.encode(av.VideoFrame(70, 52, pix_fmt)))
        container.mux(stream.encode())
    video = Video(tmp_path / "v.mp4")
    assert (video.header.width, video.header.height) == (70, 52) and video[0].shape == (52, 70, 3)


def test_frame_that_does_not_decode_is_an_error_not_another_frame(tmp_path, faststart):
    data = bytearray(Path(faststart).read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = b"\xff" * (len(data) - start)
    video = Video(write(tmp_path / "v.mp4", data))
    with pytest.raises(UnreadableFile, match=f"frame 60 of {FRAMES}"):
        video[60]


@pytest.mark.parametrize("url", [False, True], ids=["local", "url"])
def test_video_that_is_not_there_fails_on_use_only(tmp_path, url):
    path = f"memory://{tmp_path}/none.mp4" if url else str(tmp_path / "none.mp4")
    video = Video(path)
    assert repr(video) == f"Video({path!r})" and video.path == path
    video.close()
    for use in (len, iter, lambda video: video[0], lambda video: video.header, lambda video: video.at(0)):
        with pytest.raises(MissingFile, match=r"none\.mp4"):
            next(use(video)) if use is iter else use(video)


def test_video_by_url_reads_ranges(large):
    with fsspec.open("memory://media/v.mp4", "wb") as file:
        file.write(Path(large[0]).read_bytes())
    video, local = Video("memory://media/v.mp4"), Video(large[0])
    assert probe_video("memory://media/v.mp4") == video.header == local.header
    assert np.array_equal(video[20], local[20]) and np.array_equal(video[3:9], local[3:9])


def first_and_last(video):
    return number_of(video[0]), number_of(video[-1])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_used_video_works_in_worker_processes(mp4, method):
    video = Video(mp4)
    video[60], video[3]
    with get_context(method).Pool(1) as pool:
        assert pool.apply_async(first_and_last, (video,)).get(60) == (0, FRAMES - 1)
    assert number_of(video[4]) == 4


def test_open_video_survives_a_fork(mp4):
    global shared, dropped, closed
    shared, dropped, closed = Video(mp4), Video(mp4), Video(mp4)
    shared[60], dropped[60], closed[60]
    gc.collect()  # the fixtures' encoders
    with get_context("fork").Pool(1) as pool:  # not pickled: the child has the parent's open decoder
        assert pool.apply_async(first_and_last_of_shared).get(60) == (0, FRAMES - 1)
    assert number_of(shared[61]) == 61


def threads_of(path):
    with Video(path) as video:
        video[0]
        return video._decoder.stream.codec_context.thread_count


def test_a_worker_decodes_with_one_thread(mp4):
    with get_context("fork").Pool(1) as pool:
        assert pool.apply_async(threads_of, (mp4,)).get(60) == 1
    assert threads_of(mp4) == min(4, os.cpu_count())


def test_unclosed_video_leaves_quietly(mp4):
    code = f"from seamless_interaction.formats.video import Video; video = Video({mp4!r}); video[60]; print(len(video))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr, done.returncode) == (str(FRAMES), "", 0)


def test_dropped_video_closes_its_file(mp4, opened):
    Video(mp4)[0]
    assert len(opened) == 2 and all(file.closed for file in opened)


def first_and_last_of_shared():
    dropped._decoder = None  # freeing what the parent opened must not wait for the parent's threads
    gc.collect()
    closed.close()
    return first_and_last(shared)


def test_pickle_holds_the_path_only(mp4):
    video = Video(mp4)
    video[0]
    assert len(pickle.dumps(video)) < 300
    with pickle.loads(pickle.dumps(video)) as copy:
        assert number_of(copy[51]) == 51
    assert number_of(copy[7]) == 7  # closed, and opened again
