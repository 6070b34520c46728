"""Bodies without end, lengths that cannot be, and hosts that send a byte now and then: bounded, and told by name."""

import gzip
import shutil
import tarfile
import tracemalloc
from types import SimpleNamespace

import pytest
from servers import Bucket
from test_readers import header

from seamless_interaction import ARRAYS
from seamless_interaction.download import Selection, download, fetching
from seamless_interaction.errors import SourceUnreachable, UnsafeFile, UsageError
from seamless_interaction.formats import audio
from seamless_interaction.formats import tar as tars
from seamless_interaction.formats.arrays import read_npy
from seamless_interaction.places import answers, cache, limits
from seamless_interaction.places import place as places
from seamless_interaction.places.place import Place
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.writing import synthesize

POSE = ARRAYS["smplh:body_pose"]
HUGE = 1 << 40


@pytest.fixture(autouse=True)
def impatient(tmp_path, monkeypatch):
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "kept")


def grown(path, content, size=HUGE):
    """A file that begins with some bytes, and goes on in zeros: it takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
        file.truncate(size)


def without_end(query, answer):
    """No length is told, and the connection goes on for as long as anybody listens."""
    return answer.with_headers(Content_Length=None) if query.method == "GET" else answer


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(limits, "MAX_TABLE_BYTES", 1 << 20)


def table(place):
    return cache.read_cached(place, "filelist.csv", bytes)


def test_of_a_table_no_more_is_read_than_tables_have(tmp_path, small):
    grown(tmp_path / "data" / "filelist.csv", b"file_id\n")
    untold = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    for amend in (
        lambda query, answer: answer,  # it says how large it is
        lambda query, answer: without_end(query, answer) if query.method == "GET" else answer.with_headers(**untold),
    ):
        said = pytest.raises(SourceUnreachable, match=r"filelist\.csv.*more than 1048576 bytes")
        with Bucket(tmp_path / "data", amend=amend) as bucket, said:
            table(Place(bucket.url))
        assert bucket.bytes_sent < 1 << 24


def test_what_unpacks_to_more_than_tables_have_is_not_unpacked(tmp_path, small):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "filelist.csv").write_bytes(gzip.compress(bytes(1 << 26)))
    with Bucket(
        tmp_path / "data", amend=lambda query, answer: answer._replace(status=200).with_headers(Content_Encoding="gzip")
    ) as bucket:
        tracemalloc.start()
        try:
            with pytest.raises(SourceUnreachable, match="more than 1048576 bytes"):
                table(Place(bucket.url))
            assert tracemalloc.get_traced_memory()[1] < 1 << 24
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("amend", [lambda query, answer: answer, without_end])
def test_of_an_array_no_more_is_read_than_its_header_says(tmp_path, amend):
    grown(tmp_path / "data" / "long.npy", header((30, 21, 3)))
    grown(tmp_path / "data" / "proud.npy", header((10**11, 21, 3)))
    with Bucket(tmp_path / "data", amend=amend) as bucket:
        place = Place(bucket.url)
        with pytest.raises(UnsafeFile, match=r"long\.npy.*more than the array it declares"):
            read_npy(place, "long.npy", POSE)
        with pytest.raises(UnsafeFile, match=r"proud\.npy.*declares 100000000000 rows"):
            read_npy(place, "proud.npy", POSE)
    assert bucket.bytes_sent < 1 << 24


def test_a_wav_of_terabytes_is_no_sound(tmp_path):
    grown(tmp_path / "a.wav", b"RF64" + b"\xff" * 4 + b"WAVE")
    with pytest.raises(UnsafeFile, match="more than the sound of any recording"):
        audio.probe_audio(str(tmp_path / "a.wav"))


def test_a_tar_without_end_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "MAX_MEMBERS", 3)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(5):
            tar.addfile(tarfile.TarInfo(f"{number}.wav"))
    content = (tmp_path / "a.tar").read_bytes()
    found = tars.contents(lambda start, end: content[start:end], len(content), "a.tar")
    assert len(found.members) == 3 and "more than 3 members" in str(found.problems)


# --- downloads ------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    """A tree of a conversation, and one of its WAVs."""
    one, *_ = synthesize(tmp_path / "data", "tree", interactions=1, seconds=2.0, seed=3).recordings
    return tmp_path / "data", tmp_path / "data" / tree_path(one.label, one.split, "audio", one.file_id)


def fetched(bucket, tmp_path, exit_code):
    """What became of the WAVs, by file id; all but one came."""
    report = download(Selection("full", modalities="audio"), bucket.url, tmp_path / "copy")
    assert (report.exit_code, report.files["whole"] + report.files["kept"]) == (exit_code, report.recordings - 1)
    (problem,) = report.problems
    return problem["status"], problem["detail"]


def test_a_length_that_no_recording_has_fails_one_file(source, tmp_path):
    folder, wav = source

    def amend(query, answer):
        if query.path.endswith(wav.name) and query.method == "GET" and answer.status == 200:
            return answer.with_headers(Content_Length=str(10**13))
        return answer

    with Bucket(folder, amend=amend) as bucket:
        status, detail = fetched(bucket, tmp_path, 3)
        assert status == "failed" and wav.name in detail and "10000000000000 bytes" in detail
        bucket.amend = lambda query, answer: answer
        report = download(Selection("full", modalities="audio"), bucket.url, tmp_path / "copy")
        assert report.exit_code == 0 and report.files["whole"] == 1
        content = wav.read_bytes()
        wav.unlink()
        grown(wav, content)  # and if it is as large as that
        shutil.rmtree(tmp_path / "copy")
        assert fetched(bucket, tmp_path, 0)[0] == "damaged"
    assert bucket.bytes_sent < 1 << 26


def test_a_body_without_end_fails_one_file(source, tmp_path, monkeypatch):
    """Of a WAV by the length in its header, of what is none at once; of what has a length by the room on the disk."""
    folder, wav = source
    content = wav.read_bytes()
    size = len(content)

    def amend(query, answer):
        if not query.path.endswith(wav.name):
            return answer
        if query.method == "GET":
            return without_end(query, answer)
        return answer.with_headers(**told)

    untold = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    cases = (
        (content, untold, "cannot have"),
        (bytes(100), untold, "not a WAV"),
        (content, {"Content_Length": str(size)}, f"of {size} bytes"),
    )
    for begin, told, said in cases:  # noqa: B007
        wav.unlink()
        grown(wav, begin)
        with Bucket(folder, amend=amend, ignore_ranges=True) as bucket:
            status, detail = fetched(bucket, tmp_path, 3)
        assert bucket.bytes_sent < 1 << 26
        assert status == "failed" and said in detail
    wav.write_bytes(content)
    room = SimpleNamespace(**{**vars(shutil), "disk_usage": lambda path: SimpleNamespace(free=size - 1)})
    monkeypatch.setattr(fetching, "shutil", room)
    with Bucket(folder) as bucket:
        status, detail = fetched(bucket, tmp_path, 3)
        assert status == "failed" and wav.name in detail and f"{size:,} bytes" in detail and "disk" in detail
        monkeypatch.undo()
        assert download(Selection("full", modalities="audio"), bucket.url, tmp_path / "copy").exit_code == 0


# --- slow hosts -----------------------------------------------------------------------------------


def test_a_host_that_sends_a_byte_now_and_then_is_left(tmp_path, monkeypatch):
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "a.bin").write_bytes(bytes(1000))
    monkeypatch.setattr(answers, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(places, "ATTEMPTS", 2)
    with Bucket(tmp_path / "slow", chunk=1, pause=0.01) as bucket:
        with pytest.raises(SourceUnreachable, match=r"a\.bin.*only \d+ bytes came in \d+ seconds.*tried 2 times"):
            Place(bucket.url).read("a.bin")
        monkeypatch.setenv("SEAMLESS_INTERACTION_LEAST_RATE", "20")
        assert Place(bucket.url).read("a.bin", 0, 20) == bytes(20)
        for wrong in ("fast", "-1", "nan", "inf"):
            monkeypatch.setenv("SEAMLESS_INTERACTION_LEAST_RATE", wrong)
            with pytest.raises(UsageError, match=f"LEAST_RATE.*{wrong}"):
                Place(bucket.url).read("a.bin")
