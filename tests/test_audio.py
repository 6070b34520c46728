"""Headers of whole and broken WAVs, and samples that are the right ones."""

import io
import os
import pickle
import struct
from multiprocessing import get_context
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
from conftest import CountedFile, write

from seamless_interaction.errors import EmptyFile, MissingFile, TruncatedFile, UnreadableFile
from seamless_interaction.formats.audio import Audio, Resampled, probe_audio
from seamless_interaction.places.place import Place

# --- probe_audio ----------------------------------------------------------------------------------

SAMPLES = (np.random.default_rng(0).integers(-32768, 32768, 48000) / 32768).astype(np.float32)


FORMATS = [("WAV", "FLOAT"), ("WAV", "PCM_16"), ("WAVEX", "FLOAT"), ("WAVEX", "PCM_16"), ("WAV", "PCM_24")]


@pytest.fixture(params=FORMATS, ids="-".join)
def wav(request, tmp_path):
    container, subtype = request.param
    soundfile.write(tmp_path / "a.wav", SAMPLES, 48000, format=container, subtype=subtype)
    return str(tmp_path / "a.wav")


def float_wav(
    samples=100, channels=1, rate=48000, tag=3, bits=32, frame=None, claim=None, extra=b"", more=b"", form=b"RIFF"
):
    """A WAV as the dataset has it: 58 bytes of header, with fmt of 18 bytes and a fact chunk."""
    frame = channels * bits // 8 if frame is None else frame
    fmt = struct.pack("<HHIIHHH", tag, channels, rate, rate * frame & 0xFFFFFFFF, frame, bits, 0)
    chunks = b"fmt " + struct.pack("<I", 18) + fmt + b"fact" + struct.pack("<II", 4, samples) + extra
    data = bytes(number % 100 for number in range(samples * frame))
    chunks += b"data" + struct.pack("<I", len(data) if claim is None else claim) + data + more
    return form + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_wav_header(wav):
    assert probe_audio(wav) == (1.0, 48000, 48000, 1)
    file = CountedFile(wav)
    assert probe_audio("a.wav", file) == (1.0, 48000, 48000, 1)
    assert file.count < 1000 and not file.closed


def test_wav_header_counts_samples_per_channel_behind_odd_chunks(tmp_path):
    path = write(tmp_path / "a.wav", float_wav(samples=96, channels=2, extra=b"LIST" + struct.pack("<I", 3) + b"abc\0"))
    assert probe_audio(path) == (96 / 48000, 48000, 96, 2)
    assert Audio(path)["array"].shape == (2, 96)


def test_wav_without_samples_or_bytes_is_empty(tmp_path):
    header = float_wav(samples=0)
    assert len(header) == 58
    for data in (header, b""):
        with pytest.raises(EmptyFile):
            probe_audio(write(tmp_path / "a.wav", data))


@pytest.mark.parametrize("size", [20, 50, 57, 59, 457])
def test_cut_wav_is_truncated(tmp_path, size):
    data = float_wav()
    assert len(data) == 458
    with pytest.raises(TruncatedFile):
        probe_audio(write(tmp_path / "a.wav", data[:size]))


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"fLaC" + b"\0" * 100,
        float_wav(channels=0),
        float_wav(rate=0),
        float_wav(channels=65535, samples=0, frame=4),
        float_wav(rate=4_000_000_000),
        float_wav(bits=0, frame=4),
        float_wav(frame=3),
        float_wav(tag=0x55),
        b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd",
        b"RIFF\0\0\0\0WAVEfmt \4\0\0\0abcd",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_no_such_wav_is_unreadable(tmp_path, data):
    with pytest.raises(UnreadableFile):
        probe_audio(write(tmp_path / "a.wav", data))


def test_header_of_four_gigabytes_in_a_small_file_is_truncated(tmp_path):
    with pytest.raises(TruncatedFile):
        Audio(write(tmp_path / "a.wav", float_wav(claim=0xFFFFFFF0)))["array"]


@pytest.mark.parametrize("claim", [0, 48001, (1 << 36) - 1])
def test_flac_that_tells_of_more_samples_than_it_has_is_truncated(claim):
    """Memory for all that it tells of would be taken before the first one is decoded."""
    whole = io.BytesIO()
    soundfile.write(whole, SAMPLES, 48000, format="FLAC", subtype="PCM_16")
    data = bytearray(whole.getvalue())
    assert np.array_equal(Audio("a.flac", content=bytes(data))["array"], SAMPLES)
    data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36 | claim).to_bytes(8, "big")
    with pytest.raises(TruncatedFile, match="last one is not there"):
        Audio("a.flac", content=bytes(data)).read(0.0, 0.1)


def ds64(num_bytes):
    return b"ds64" + struct.pack("<IQQQI", 28, 0, num_bytes, 0, 0)


PCM = {"tag": 1, "bits": 16, "claim": 0xFFFFFFFF}
LIST = b"LIST\4\0\0\0INFO"


@pytest.mark.parametrize(
    "data",
    [
        float_wav(**PCM),
        float_wav(**PCM, extra=LIST, samples=99),
        float_wav(**PCM, extra=ds64(200), form=b"RF64"),
        float_wav(**PCM, extra=ds64(200), form=b"RF64", more=LIST),
        float_wav(**{**PCM, "claim": 200}, extra=ds64(200), form=b"RF64"),
    ],
    ids=["pipe", "pipe, odd", "RF64", "RF64 with more", "short RF64"],
)
def test_length_that_the_data_chunk_does_not_tell(tmp_path, data):
    path = write(tmp_path / "a.wav", data)
    expected, rate = soundfile.read(path, dtype="float32")
    header = probe_audio(path)
    assert header.num_samples == len(expected) in (99, 100) and header.sampling_rate == rate
    np.testing.assert_array_equal(Audio(path)["array"], expected)


def test_long_wav_that_is_cut_is_truncated(tmp_path):
    with pytest.raises(TruncatedFile, match="200 of the 202 bytes"):
        probe_audio(write(tmp_path / "a.wav", float_wav(**PCM, extra=ds64(202), form=b"RF64")))


def test_samples_in_two_chunks_are_refused(tmp_path):
    with pytest.raises(UnreadableFile, match=r"a\.wav.*two data chunks"):
        probe_audio(write(tmp_path / "a.wav", float_wav(more=LIST + b"data\4\0\0\0abcd")))
    assert probe_audio(write(tmp_path / "a.wav", float_wav(more=LIST + b"odd"))).num_samples == 100


# --- Audio ----------------------------------------------------------------------------------------


def test_audio_is_the_mapping_and_bit_exact(wav):
    audio = Audio(wav)
    assert list(audio) == ["array", "sampling_rate", "path"] and len(audio) == 3 and "array" in audio
    array = audio["array"]
    assert array.dtype == np.float32 and array.tobytes() == SAMPLES.tobytes()
    assert audio["array"] is array
    assert audio["sampling_rate"] == 48000 and audio["path"] == wav
    assert dict(audio)["array"] is array and audio.array is array and Audio(wav).sampling_rate == 48000
    with pytest.raises(KeyError):
        audio["samples"]


def test_audio_read_gives_the_part_and_reads_only_its_bytes(wav, opened):
    for start, end, first, last in [(0.25, 0.26, 12000, 12480), (0, 1e-4, 0, 5), (0.9, None, 43200, None)]:
        for part in (Audio(wav).read(start, end), (whole := Audio(wav))["array"][first:last], whole.read(start, end)):
            assert np.array_equal(part, SAMPLES[first:last])
    assert Audio(wav).read(0.5, 99).shape == (24000,) and Audio(wav).read(3, 4).shape == (0,)
    del opened[:]
    Audio(wav).read(0.5, 0.51)
    assert 0 < sum(file.count for file in opened) < 20_000
    for start, end in [(-1, 1), (2, 1), (float("nan"), 1)]:
        with pytest.raises(ValueError, match="span"):
            Audio(wav).read(start, end)


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "DOUBLE"])
def test_channels_come_first(tmp_path, subtype):
    stereo = np.stack([SAMPLES[:100], SAMPLES[100:200]], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 44100, subtype=subtype)
    audio = Audio(tmp_path / "a.wav")
    part = audio.read(5 / 44100, 15 / 44100)
    assert np.array_equal(part, stereo[5:15].T) and part.flags.c_contiguous
    assert np.array_equal(audio["array"], stereo.T) and audio["array"].flags.c_contiguous


def test_floats_come_as_they_are_stored(tmp_path):
    odd = np.array([0, -0.0, 1e-40, 3.5, -np.inf, np.nan], np.float32)
    soundfile.write(tmp_path / "a.wav", odd, 48000, subtype="FLOAT")
    assert Audio(tmp_path / "a.wav").array.tobytes() == odd.tobytes()


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_resampled_sound_is_the_same_at_the_same_time(tmp_path, rate):
    def tone(rate, samples):
        return np.sin(2 * np.pi * 440 * np.arange(samples) / rate).astype(np.float32)

    path = str(tmp_path / "a.wav")
    soundfile.write(path, tone(48_000, 24_000), 48_000, subtype="FLOAT")
    audio = pickle.loads(pickle.dumps(Resampled(path, None, None, rate)))
    assert audio == Resampled(path, {}, None, rate) != Resampled(path, {}, None, 8_000)
    assert audio["sampling_rate"] == rate and audio.header.num_samples == len(audio["array"]) == rate // 2
    inner = slice(rate // 100, -rate // 100)  # at its ends a filter has nothing to go by
    np.testing.assert_allclose(audio["array"][inner], tone(rate, rate // 2)[inner], atol=1e-3)
    np.testing.assert_array_equal(audio.read(0.1, 0.2), audio["array"][rate // 10 : rate // 5])
    soundfile.write(path, tone(48_000, 5), 48_000, subtype="FLOAT")  # shorter than the filter
    assert Resampled(path, None, None, rate)["array"].shape == (-(-5 * rate // 48_000),)


def test_window_by_url_fetches_its_own_bytes_only(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", float_wav(samples=200_000))
    with fsspec.open("memory://media/long.wav", "wb") as file:
        file.write(Path(path).read_bytes())
    audio, fetched = Audio("memory://media/long.wav"), []
    assert audio.header.num_samples == 200_000
    read = Place.read
    monkeypatch.setattr(Place, "read", lambda *where: fetched.append(where[2:]) or read(*where))
    assert audio.read(1, 2).shape == (48000,)
    assert fetched == [(58 + 4 * 48000, 58 + 8 * 48000)]


def test_file_that_shrank_since_its_header_was_read_is_truncated(tmp_path):
    path = write(tmp_path / "a.wav", float_wav(samples=1000))
    audio = Audio(path)
    assert audio.header.num_samples == 1000
    write(tmp_path / "a.wav", float_wav(samples=500))
    assert audio.read(0, 500 / 48000).shape == (500,)
    with pytest.raises(TruncatedFile, match=r"a\.wav.*2000 of the 4000 bytes from byte 58"):
        audio.read()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors as Linux lists them")
def test_windows_leave_no_descriptor_open(wav, tmp_path):
    audio, cut = Audio(wav), Audio(write(tmp_path / "b.wav", float_wav()[:-1]))
    audio.read(0.1, 0.2)
    before = os.listdir("/proc/self/fd")
    for number in range(50):
        audio.read(number / 100, 0.9), Audio(wav).read(0.5, 0.6)
        with pytest.raises(TruncatedFile):
            cut.read(0, 1e-3)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_used_audio_works_in_a_forked_process(wav):
    global shared
    shared = Audio(wav)
    shared.read(0.1, 0.2)
    with get_context("fork").Pool(2) as pool:  # not pickled: the children have the parent's
        parts = pool.map(read_shared, range(40))
    for number, part in enumerate(parts):
        assert np.array_equal(part, SAMPLES[number * 480 : number * 480 + 24000])


def read_shared(number):
    return shared.read(number / 100, number / 100 + 0.5)


def test_audio_that_is_not_there_fails_on_use_only(tmp_path, opened):
    path = str(tmp_path / "none.wav")
    audio = Audio(path)
    assert repr(audio) == f"Audio({path!r})" and audio == Audio(path) != Audio("other.wav")
    assert "array" in audio and "x" not in audio and len(audio) == 3 and audio["path"] == path and {audio}
    assert pickle.loads(pickle.dumps(audio)) == audio
    assert not opened


def test_audio_that_is_missing(tmp_path):
    for path in (f"{tmp_path}/none.wav", f"memory://{tmp_path}/none.wav"):
        for key in ("array", "sampling_rate"):
            with pytest.raises(MissingFile, match=r"none\.wav"):
                Audio(path)[key]


def test_audio_by_url(wav):
    with fsspec.open("memory://media/a.wav", "wb") as file:
        file.write(Path(wav).read_bytes())
    audio = Audio("memory://media/a.wav")
    assert np.array_equal(audio.read(0.5, 0.75), SAMPLES[24000:36000]) and np.array_equal(audio["array"], SAMPLES)


@pytest.fixture(scope="module")
def spawned():
    """Another process, which takes seconds to import what it needs."""
    with get_context("spawn").Pool(1) as pool:
        yield pool


def test_audio_pickle_leaves_the_samples_behind(wav, spawned):
    audio = Audio(wav)
    audio["array"]
    assert len(pickle.dumps(audio)) < 300
    assert np.array_equal(spawned.apply(np.copy, (Audio(wav).read(0, 0.1),)), SAMPLES[:4800])
    assert np.array_equal(spawned.apply(Audio.read, (audio, 0.5)), SAMPLES[24000:])
