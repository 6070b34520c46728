"""Bytes, sizes and names, through the real clients, from servers on loopback and from the disk."""

import base64
import gc
import gzip
import json
import multiprocessing
import os
import socket
import ssl
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from servers import S3, Answer, Bucket, Hub, parse_range, use_hub, xml_error

from seamless_interaction import SeamlessDataset
from seamless_interaction.download import Selection, download, verify
from seamless_interaction.errors import (
    AccessDenied,
    MissingFile,
    NoRanges,
    SourceUnreachable,
    UnreadableFile,
    UsageError,
)
from seamless_interaction.evaluation import write_results
from seamless_interaction.features import make_features
from seamless_interaction.places import cache as local_cache
from seamless_interaction.places import place as places
from seamless_interaction.places import ranges, redirects
from seamless_interaction.places.place import Place
from seamless_interaction.places.write import local_path
from seamless_interaction.publishing import plan_shards, publish
from seamless_interaction.source.indexing import make_index
from seamless_interaction.synthetic.writing import synthesize

CONTENT = bytes(range(256)) * 400  # above the size from which a Hub keeps files elsewhere
SPACED = "two words/a name, with + and ü.bin"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    for name, content in {"a.bin": CONTENT, "empty.bin": b"", SPACED: b"0123456789", "deep/er/b.txt": b"b"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def s3_options(server):
    return {"anon": True, "endpoint_url": server.url}


# --- what all kinds do ----------------------------------------------------------------------------


class PlaceBehaviour:
    """What holds of every kind of place. A subclass has a fixture ``place``, of the folder."""

    missing, missing_media = FileNotFoundError, MissingFile

    def test_a_range_is_those_bytes_as_far_as_there_are(self, place):
        for start, end in [(0, None), (0, 10), (100, 300), (90_000, None), (0, 10**9), (102_000, 10**9)]:
            assert place.read("a.bin", start, end) == CONTENT[start:end], (start, end)

    def test_a_range_without_bytes_is_empty(self, place):
        for start, end in [(len(CONTENT), None), (len(CONTENT), 10**9), (10**8, 10**9), (7, 7), (9, 3)]:
            assert place.read("a.bin", start, end) == b"", (start, end)

    def test_an_empty_file_is_read_and_has_no_size(self, place):
        assert place.read("empty.bin") == place.read("empty.bin", 0, 100) == b""
        assert place.stat("empty.bin").size == 0

    def test_names_may_have_spaces_and_letters_of_any_kind(self, place):
        assert place.read(SPACED, 2, 5) == b"234"
        assert place.stat(SPACED)[:3] == (SPACED.split("/")[1], False, 10)

    def test_a_path_opens_with_fsspec(self, place):
        for name, content in (("a.bin", CONTENT), (SPACED, b"0123456789")):
            with fsspec.open(place.path(name), **place.storage_options) as file:
                assert file.read() == content

    def test_a_path_opens_as_a_file_of_media_does(self, place):
        with ranges.open_file(place.path("a.bin"), place.storage_options, block=1000) as file:
            assert ranges.file_size(file) == len(CONTENT)
            assert (file.seek(70_000), file.read(5), file.tell()) == (70_000, CONTENT[70_000:70_005], 70_005)
            assert (file.seek(-3, os.SEEK_END), file.read()) == (len(CONTENT) - 3, CONTENT[-3:])

    def test_a_missing_file_is_told(self, place):
        error = self.missing
        with pytest.raises(error, match=r"none\.bin"):
            place.read("none.bin")
        with pytest.raises(error, match=r"none\.bin"):
            place.stat("none.bin")
        with pytest.raises(self.missing_media, match=r"none\.bin"):
            ranges.open_file(place.path("none.bin"), place.storage_options)

    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_process_has_connections_of_its_own(self, place):
        """Of what lives in threads and sockets of the parent, the child can use nothing."""
        assert place.read("a.bin", 5, 10) == CONTENT[5:10]
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        child = context.Process(target=read_in_a_child, args=(place, results))
        gc.freeze()  # or s3fs closes in the child, a second each, what other tests left behind
        child.start()
        gc.unfreeze()
        try:
            assert results.get(timeout=120) == CONTENT[5:10]
        finally:
            child.kill()
        assert place.read("a.bin", 6, 11) == CONTENT[6:11]

    def test_a_part_of_a_file_has_a_path_of_its_own(self, place):
        path = ranges.member_path("b.wav", place.path("a.bin"), 50_000, 10_000)
        part = CONTENT[50_000:60_000]
        with ranges.open_file(path, place.storage_options, block=100) as file:
            assert (ranges.file_size(file), file.read()) == (10_000, part)
            assert (file.seek(20), file.read(10), file.seek(-5, os.SEEK_END), file.read()) == (
                20,
                part[20:30],
                9995,
                part[-5:],
            )
        protocol = place.url.partition("://")[0] if "://" in place.url else "file"
        options = (
            {"remote_options": place.storage_options, "remote_protocol": protocol} if place.storage_options else {}
        )
        with fsspec.open(path, **options) as file:  # as whoever does not have our package
            assert file.read() == part

    def test_a_part_of_an_archive_that_is_gone(self, place):
        with pytest.raises(AccessDenied if place.is_http else MissingFile, match=r"none\.tar"):
            ranges.open_file(ranges.member_path("b.wav", place.path("none.tar"), 0, 10), place.storage_options).read()

    def test_a_part_that_begins_or_ends_after_its_archive(self, place):
        for offset, expected in ((len(CONTENT) - 10, CONTENT[-10:]), (10**12, b"")):
            path = ranges.member_path("b.wav", place.path("a.bin"), offset, 10**15)
            with ranges.open_file(path, place.storage_options) as file:
                assert file.read(1000) == expected


class Stamped:
    """Of places that tell when a file of the folder changes."""

    def test_a_stamp_changes_with_the_content_only(self, place, folder):
        before = place.stat("a.bin")
        assert before.stamp and before == place.stat("a.bin")
        (folder / "a.bin").write_bytes(CONTENT[::-1])
        later = (
            folder / "a.bin"
        ).stat().st_mtime_ns // 10**9 * 10**9 + 1  # within the second that other stamps count in
        os.utime(folder / "a.bin", ns=(later, later))
        assert place.stat("a.bin").stamp != before.stamp


class Listed:
    """Of places that can be listed."""

    def test_entries_are_sorted_and_told_apart(self, place):
        assert [(entry.name, entry.is_folder) for entry in place.entries()] == [
            ("a.bin", False),
            ("deep", True),
            ("empty.bin", False),
            ("two words", True),
        ]
        assert [(entry.name, entry.size) for entry in place.entries("two words")] == [(SPACED.split("/")[1], 10)]
        assert list(place.entries("none")) == list(place.entries("deep/none")) == []
        assert place.exists("") and place.exists("deep/er") and not place.exists("none")


class ListedAnew:
    """Of places that list what the folder has now."""

    def test_a_new_file_is_listed(self, place, folder):
        before = [entry.name for entry in place.entries()]
        (folder / "new.bin").write_bytes(b"new")
        assert [entry.name for entry in place.entries()] == sorted([*before, "new.bin"])


class TestLocal(PlaceBehaviour, Stamped, Listed, ListedAnew):
    @pytest.fixture
    def place(self, folder):
        return Place(folder)


class TestMemory(PlaceBehaviour, Listed):
    @pytest.fixture
    def place(self, folder):
        MemoryFileSystem().put(str(folder), "/places", recursive=True)
        yield Place("memory://places")
        MemoryFileSystem().rm("/places", recursive=True)


class TestHTTP(PlaceBehaviour, Stamped):
    missing = missing_media = AccessDenied  # which a bucket that cannot be listed says of what it lacks

    @pytest.fixture
    def place(self, folder):
        with Bucket(folder, prefix="some/where") as bucket:
            yield Place(bucket.url)


class TestHub(PlaceBehaviour, Listed):
    @pytest.fixture
    def place(self, folder):
        with Hub(folder) as hub, use_hub(hub):
            yield Place(f"hf://datasets/{hub.repo}")


class TestS3(PlaceBehaviour, Listed, ListedAnew):
    @pytest.fixture
    def place(self, folder):
        pytest.importorskip("s3fs")
        with S3(folder) as s3:
            yield Place(f"s3://{s3.bucket}", s3_options(s3))
            fsspec.get_filesystem_class("s3").clear_instance_cache()


# --- a host that fails ----------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [[503], [429, 429], ["reset"], ["short"], [500, "reset", 504, "short"]])
def test_what_fails_for_a_moment_is_asked_for_again(folder, failures):
    with Bucket(folder, failures={"a.bin": failures}) as bucket:
        assert Place(bucket.url).read("a.bin", 100, 70_000) == CONTENT[100:70_000]
        assert len(bucket.requests) == len(failures) + 1
    with Bucket(folder, failures={"a.bin": [failure for failure in failures if failure != "short"]}) as bucket:
        assert Place(bucket.url).stat("a.bin").size == len(CONTENT)


def test_media_are_asked_for_again_too(folder):
    with (
        Bucket(folder, failures={"a.bin": [503, "reset", 503]}) as bucket,
        ranges.open_file(f"{bucket.url}/a.bin") as f,
    ):
        assert f.read() == CONTENT


def test_a_host_that_asks_for_time_gets_it(folder, monkeypatch):
    waited = []
    monkeypatch.setattr(places, "time", SimpleNamespace(sleep=waited.append))
    with Bucket(folder, failures={"a.bin": [429]}, retry_after=7) as bucket:
        assert Place(bucket.url).read("a.bin") == CONTENT
    assert waited == [7]


def test_a_host_that_goes_on_failing_is_named_with_its_status(folder):
    with Bucket(folder, failures={"a.bin": [500] * 99}) as bucket:
        with pytest.raises(SourceUnreachable, match=rf"{bucket.url}/a.bin.*500.*tried 5 times"):
            Place(bucket.url).read("a.bin")
        assert len(bucket.requests) == 5


def test_a_status_that_will_not_change_is_final(folder):
    with Bucket(folder, failures={"a.bin": [418] * 99}) as bucket:
        with pytest.raises(SourceUnreachable, match="418"):
            Place(bucket.url).read("a.bin")
        assert len(bucket.requests) == 1


@pytest.mark.parametrize("status, error", [(401, AccessDenied), (404, FileNotFoundError), (410, FileNotFoundError)])
def test_a_refusal_and_a_missing_file_are_told_apart(folder, status, error):
    with Bucket(folder, failures={"a.bin": [status] * 99}) as bucket:
        for ask in (Place(bucket.url).read, Place(bucket.url).stat):
            with pytest.raises(error, match=f"{bucket.url}/a.bin"):
                ask("a.bin")
        assert len(bucket.requests) == 2


def test_a_port_where_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SourceUnreachable, match=f"{url}/a.bin.*tried 5 times.*network there"):
            Place(url).read("a.bin")


def test_a_name_that_nobody_has(monkeypatch):
    def unknown(host, *args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SourceUnreachable, match=r"nobody\.invalid/data/a.bin"):
        Place("http://nobody.invalid/data").read("a.bin")


def test_a_host_that_falls_silent_is_left(folder, monkeypatch):
    monkeypatch.setattr(redirects, "_SILENCE", 0.1)
    monkeypatch.setattr(places, "ATTEMPTS", 2)
    speak = threading.Event()
    with Bucket(folder, on_request=lambda path: speak.wait(60)) as bucket:
        with pytest.raises(SourceUnreachable, match=r"a\.bin"):
            Place(bucket.url).read("a.bin")
        speak.set()


def test_a_slow_host_is_waited_for_as_long_as_something_comes(folder, monkeypatch):
    """The limit is for silence; a file may take longer than that to come."""
    monkeypatch.setattr(redirects, "_SILENCE", 0.5)
    (folder / "large.bin").write_bytes(bytes(1 << 20))
    with Bucket(folder, latency=0.3) as bucket:
        place = Place(bucket.url)
        assert [len(place.read("large.bin", start, start + 10)) for start in range(3)] == [10] * 3


def test_a_protocol_that_nobody_knows():
    with pytest.raises(SourceUnreachable, match="gopher://hole"):
        Place("gopher://hole/data")


def test_names_that_lead_to_another_host_are_followed_with_their_range(folder):
    with Bucket(folder) as target, Bucket(folder, redirect_to=target.origin) as bucket:
        assert Place(bucket.url).read("a.bin", 1000, 1010) == CONTENT[1000:1010]
        assert Place(bucket.url).stat("a.bin").size == len(CONTENT)
        assert [(request.range, request.sent_bytes) for request in target.requests] == [
            ("bytes=1000-1009", 10),
            (None, 0),
        ]


def test_a_proxy_of_the_environment_is_used(folder, monkeypatch):
    with Bucket(folder) as proxy:
        monkeypatch.setenv("http_proxy", proxy.origin)
        assert Place("http://data.invalid").read("a.bin", 5, 10) == CONTENT[5:10]
        assert [urlsplit(request.path).netloc for request in proxy.requests] == ["data.invalid"]


def test_a_login_of_the_environment_is_used(folder, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    logins = []

    def amend(query, answer):
        logins.append(query.headers.get("Authorization"))
        return answer

    with Bucket(folder, amend=amend) as bucket:
        assert Place(bucket.url).read("a.bin", 5, 10) == CONTENT[5:10]
    assert logins == ["Basic dXNlcjp3b3Jk"]


# --- a host that sends more than it was asked for -------------------------------------------------


@pytest.fixture
def generous(tmp_path):
    """A server of a 64 MB file that knows no ranges."""
    (tmp_path / "large").mkdir()
    with open(tmp_path / "large" / "a.bin", "wb") as file:
        file.truncate(1 << 26)
    with Bucket(tmp_path / "large", ignore_ranges=True) as bucket:
        yield bucket


def test_whole_files_in_place_of_parts_are_an_error_and_not_fetched(generous):
    with pytest.raises(NoRanges, match="whole files"):
        Place(generous.url).read("a.bin", 1000, 2000)
    assert sent(generous) < 1 << 25


def test_of_a_whole_file_its_beginning_is_taken(generous):
    assert Place(generous.url).read("a.bin", 0, 1000) == bytes(1000)
    assert sent(generous) < 1 << 25


# --- answers that are not what they seem ------------------------------------------------------------------------


def packed(query, answer):
    """Compressed unasked, ranges and lengths being those of what was compressed, as some hosts have it."""
    if answer.status not in (200, 206):
        return answer
    whole = gzip.compress(CONTENT, mtime=0)
    span = parse_range(query.headers.get("Range"), len(whole))
    if span is None:
        return answer._replace(status=200).with_body(lambda body: whole).with_headers(Content_Encoding="gzip")
    start, end = span
    return answer.with_body(lambda body: whole[start:end]).with_headers(
        Content_Encoding="gzip", Content_Range=f"bytes {start}-{end - 1}/{len(whole)}"
    )


def without_length(query, answer):
    return answer.with_headers(Content_Length=None)


def chunked(query, answer):
    """Sent as it is made: no length before its end."""
    answer = answer.with_body(lambda body: b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    return answer.with_headers(Content_Length=None, Transfer_Encoding="chunked")


def of_get_only(change):
    return lambda query, answer: change(query, answer) if query.method == "GET" else answer


def to_head(change):
    return lambda query, answer: change(query, answer) if query.method == "HEAD" else answer


def refused(status):
    return to_head(lambda query, answer: xml_error(status, "No", "no"))


ODD_HEADS = {
    "chunked": to_head(lambda query, answer: answer.with_headers(Content_Length=None, Transfer_Encoding="chunked")),
    "zero": to_head(lambda query, answer: answer.with_headers(Content_Length="0")),
    "signed for GET": refused(403),
    "no HEAD": refused(405),
    "unknown": refused(501),
}


@pytest.mark.parametrize("amend", ODD_HEADS.values(), ids=ODD_HEADS)
def test_a_size_that_head_does_not_tell_is_asked_for(folder, amend):
    with Bucket(folder, amend=amend) as bucket:
        place = Place(bucket.url)
        known = place.stat("a.bin")
        assert known.size == len(CONTENT) and known.stamp
        assert place.exists("a.bin") and not place.exists("b.bin")
        with ranges.open_file(place.path("a.bin")) as file:
            assert file.read() == CONTENT
        with pytest.raises(AccessDenied):  # as missing files of the bucket are
            place.stat("b.bin")
        (folder / "empty.bin").touch()
        assert place.stat("empty.bin").size == 0


def body_of(place, *args):
    body = place.open_body("a.bin", *args)
    return body.start, b"".join(body.pieces)


def test_what_comes_compressed_unasked_is_unpacked_and_whole(folder):
    with Bucket(folder, amend=packed) as bucket:
        place = Place(bucket.url)
        assert place.read("a.bin") == place.read("a.bin", 0, 1 << 20) == CONTENT
        assert place.read("a.bin", 0, 1000) == CONTENT[:1000]
        assert body_of(place) == body_of(place, 100) == (0, CONTENT)  # all of it, as no part can be had
        for read in place.read, place.open_body:
            with pytest.raises(NoRanges, match=r"a\.bin"):
                read("a.bin", 100, 200)
        assert place.stat("a.bin", is_sized=False).size == -1
        with pytest.raises(SourceUnreachable, match=r"a\.bin.*how large"):
            place.stat("a.bin")


def test_what_comes_compressed_and_ends_early_is_asked_for_again(folder, monkeypatch):
    def short(query, answer):
        answer = packed(query, answer)
        return answer if len(bucket.requests) else answer.with_body(lambda body: body[: len(body) // 2])

    with Bucket(folder, amend=short) as bucket:
        place = Place(bucket.url)
        assert place.read("a.bin") == CONTENT
        bucket.clear()
        with pytest.raises(ConnectionError, match="ends early"):
            body_of(place)
        bucket.amend = lambda query, answer: packed(query, answer)._replace(status=206)
        with pytest.raises(SourceUnreachable, match=r"a\.bin.*a part came"):
            place.read("a.bin")
        bucket.amend = lambda query, answer: packed(query, answer).with_body(lambda body: body * 2)
        with pytest.raises(SourceUnreachable, match=r"a\.bin.*more came"):
            place.read("a.bin")


def test_a_coding_that_nobody_knows_is_named(folder):
    with Bucket(folder, amend=lambda query, answer: answer.with_headers(Content_Encoding="br")) as bucket:
        for read in Place(bucket.url).read, Place(bucket.url).open_body:
            with pytest.raises(SourceUnreachable, match=r"a\.bin.*compressed \(br\)"):
                read("a.bin")


def moved(first, last):
    """Another range than the one that was asked for."""

    def amend(query, answer):
        start, end = parse_range(query.headers["Range"], len(CONTENT))
        start, end = start + first, end + last
        return answer.with_body(lambda body: CONTENT[start:end]).with_headers(
            Content_Range=f"bytes {start}-{end - 1}/{len(CONTENT)}"
        )

    return amend


WRONG_PARTS = {
    "the one before": moved(-10, -10),
    "that begins before": moved(-10, 0),
    "that ends before": moved(0, -1),
    "longer than it says": lambda query, answer: answer.with_body(lambda body: body * 2),
    "unnamed": lambda query, answer: answer.with_headers(Content_Range=None),
    "of another length": lambda query, answer: answer.with_body(lambda body: body[:-1]),
    "of another length, chunked": lambda query, answer: chunked(query, answer.with_body(lambda body: body[:-1])),
    "nothing there": lambda query, answer: xml_error(416, "InvalidRange", "").with_headers(
        Content_Range=f"bytes */{len(CONTENT)}"
    ),
    "no content": lambda query, answer: Answer(204, {}),
}


@pytest.mark.parametrize("amend", WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_another_part_than_was_asked_for_is_asked_for_again(folder, amend):
    def once(query, answer):
        return answer if bucket.requests else amend(query, answer)

    with Bucket(folder, amend=once) as bucket:
        place = Place(bucket.url)
        assert place.read("a.bin", 100, 200) == CONTENT[100:200]
        bucket.clear()
        with pytest.raises(ConnectionError):
            body_of(place, 100, 200)
        assert body_of(place, 100, 200) == (100, CONTENT[100:200])
        bucket.amend = amend
        with pytest.raises(SourceUnreachable, match=r"a\.bin.*tried"):
            place.read("a.bin", 100, 200)


def test_parts_of_files_whose_size_is_not_told_are_taken_as_far_as_they_go(folder):
    def untold(query, answer):
        told = answer.headers.get("Content-Range")
        return answer.with_headers(Content_Range=f"{told.partition('/')[0]}/*") if told else answer

    with Bucket(folder, amend=untold) as bucket:
        place = Place(bucket.url)
        assert place.read("a.bin", 100, 200) == CONTENT[100:200]
        assert place.read("a.bin", 0, 1 << 20) == CONTENT  # what HEAD says agrees
        bucket.amend = lambda query, answer: untold(
            query, moved(0, -1)(query, answer) if query.method == "GET" else answer
        )
        with pytest.raises(SourceUnreachable, match=r"a\.bin"):
            place.read("a.bin", 0, 1 << 20)


def test_a_file_that_ends_with_its_connection_is_as_long_as_head_says(folder):
    with Bucket(folder, amend=of_get_only(without_length)) as bucket:
        place = Place(bucket.url)
        assert place.read("a.bin") == CONTENT and body_of(place) == (0, CONTENT)
        bucket.amend = of_get_only(lambda query, answer: without_length(query, answer.with_body(lambda body: body[:9])))
        with pytest.raises(SourceUnreachable, match=r"a\.bin.*9 bytes"):
            place.read("a.bin")
        assert place.open_body("a.bin").size == len(CONTENT)  # more than comes


def test_a_file_that_is_made_as_it_is_sent_is_whole(folder):
    with Bucket(folder, amend=of_get_only(chunked)) as bucket:
        place = Place(bucket.url)
        assert place.read("a.bin") == place.read("a.bin", 0, 1 << 20) == CONTENT
        assert body_of(place) == (0, CONTENT)


def sent(server):
    """Bytes that went out, once the server knows that the client hung up."""
    deadline = time.monotonic() + 60
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    return server.bytes_sent


def test_the_hub_behind_a_proxy_without_ranges(folder):
    with Hub(folder) as hub, use_hub(hub):
        hub.storage.ignore_ranges = True
        with pytest.raises(NoRanges, match=r"a\.bin"):
            Place(f"hf://datasets/{hub.repo}").read("a.bin", 10, 20)


# --- the Hub and S3 -------------------------------------------------------------------------------


def asked(hub):
    """What a Hub was asked for, without what some of its clients say of themselves."""
    return [request for request in hub.requests if "/api/agent" not in request.path]


def test_the_hub_costs_a_listing_and_then_a_request_for_each_range(folder):
    with Hub(folder) as hub, use_hub(hub):
        place = Place(f"hf://datasets/{hub.repo}")
        for start in range(5):
            assert place.read("a.bin", start, start + 10) == CONTENT[start : start + 10]
        assert place.stat("a.bin").size == len(CONTENT)
        kinds = ["resolve" if "/resolve/" in r.path else "tree" if "/tree/" in r.path else "info" for r in asked(hub)]
        assert (kinds.count("resolve"), kinds.count("tree")) == (5, 1) and kinds.count("info") <= 2
        assert [entry.size for entry in place.entries("deep/er")] == [1]
        assert not any("expand=true" in request.path.lower() for request in hub.requests)  # slow, on the real one
        assert [request.sent_bytes for request in hub.storage.requests] == [10] * 5


def test_a_repository_that_is_not_there(folder):
    with Hub(folder) as hub, use_hub(hub):
        place = Place("hf://datasets/facebook/other")
        assert not place.exists("")
        with pytest.raises(FileNotFoundError, match="facebook/other"):
            place.read("a.bin")


def test_a_hub_that_cannot_be_reached_is_not_taken_for_an_empty_one(folder):
    with Hub(folder, failures={lambda path: "/api/datasets" in path: [500] * 99}) as hub, use_hub(hub):
        place = Place(f"hf://datasets/{hub.repo}")
        with pytest.raises(SourceUnreachable, match="500"):
            place.exists("")


def test_a_repository_that_is_closed_to_us(folder):
    with Hub(folder, failures={"resolve/main/a.bin": [403] * 99}) as hub, use_hub(hub):
        place = Place(f"hf://datasets/{hub.repo}")
        with pytest.raises(AccessDenied, match=r"a\.bin"):
            place.read("a.bin", 0, 10)


def test_a_hub_that_has_too_much_to_do_is_asked_again(folder, impatient_hub):
    failures = {lambda path: "/tree/" in path: [503], "resolve/main/a.bin": [429]}
    with Hub(folder, failures=failures) as hub, use_hub(hub):
        place = Place(f"hf://datasets/{hub.repo}")
        assert [entry.name for entry in place.entries("deep")] == ["er"]
        assert place.read("a.bin", 3, 7) == CONTENT[3:7]


def test_s3_without_the_right_to_list(folder):
    pytest.importorskip("s3fs")
    with S3(folder, listing=False) as server:
        place = Place(f"s3://{server.bucket}", s3_options(server))
        assert place.read("a.bin", 3, 7) == CONTENT[3:7]
        with pytest.raises(AccessDenied, match=r"none\.bin"):
            place.read("none.bin")
        with pytest.raises(AccessDenied):
            list(place.entries())


# --- processes ------------------------------------------------------------------------------------


def read_in_a_child(place, results):
    results.put(place.read("a.bin", 5, 10))


# --- small files, kept ----------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(local_cache, "folder", lambda: tmp_path / "kept")


def methods(bucket):
    found = [request.method for request in bucket.requests]
    bucket.clear()
    return found


def test_a_table_is_fetched_when_it_changes(folder, cache):
    with Bucket(folder) as bucket:
        place = Place(bucket.url)
        assert (local_cache.read_cached(place, "a.bin", bytes), methods(bucket)) == (CONTENT, ["HEAD", "GET"])
        assert (local_cache.read_cached(place, "a.bin", bytes), methods(bucket)) == (CONTENT, ["HEAD"])
        (folder / "a.bin").write_bytes(b"changed")
        os.utime(folder / "a.bin", (1, 1))
        assert (local_cache.read_cached(place, "a.bin", bytes), methods(bucket)) == (b"changed", ["HEAD", "GET"])
        assert local_cache.read_cached(place, "none.bin", bytes) is None


def test_a_table_of_a_host_that_is_gone_is_the_one_fetched_before(folder, cache, caplog):
    with Bucket(folder) as bucket:
        place = Place(bucket.url)
        assert local_cache.read_cached(place, "a.bin", bytes) == CONTENT
    assert local_cache.read_cached(place, "a.bin", bytes) == CONTENT
    (message,) = [record.message for record in caplog.records if record.name == "seamless_interaction"]
    assert f"{place.url}/a.bin" in message and "fetched earlier" in message
    with pytest.raises(SourceUnreachable, match=r"empty\.bin"):
        local_cache.read_cached(place, "empty.bin", bytes)


def test_a_page_of_another_network_is_not_kept(folder, cache):
    table, page = folder / "filelist.csv", b"\n<!DOCTYPE html><html>Please log in to this network.</html>"
    table.write_bytes(b"file_id\n")
    with Bucket(folder) as bucket:
        place = Place(bucket.url)
        assert local_cache.read_cached(place, "filelist.csv", bytes) == b"file_id\n"
        table.write_bytes(page)
        with pytest.raises(SourceUnreachable, match=r"filelist\.csv.*login"):
            local_cache.read_cached(place, "filelist.csv", bytes)
    assert local_cache.read_cached(place, "filelist.csv", bytes) == b"file_id\n"


# --- parts of archives ----------------------------------------------------------------------------


def hostile(references):
    encoded = base64.b64encode(references.encode()).decode()
    return f"reference://b.wav::data:json:refs;base64,{encoded}"


@pytest.mark.parametrize(
    "path",
    [
        "reference://b.wav",
        "reference://b.wav::data:json:refs;base64,",
        "reference://b.wav::data:json:refs;base64,!!!",
        "reference://b.wav::data:json:refs;base64,/w==",  # not UTF-8
        *map(
            hostile,
            [
                "not JSON",
                "[]",
                "[1]",
                "{}",
                '{"refs": {}}',
                '{"refs": [["/etc/passwd", 0, 1]]}',
                '{"refs": {"a": 5}}',
                '{"refs": {"a": ["/etc/passwd"]}}',
                '{"refs": {"a": ["/tmp/a", 0, 1], "b": ["/tmp/a", 0, 1]}}',
                '{"refs": {"a": [5, 0, 1]}}',
                '{"refs": {"a": ["/tmp/a", "0", 1]}}',
                '{"refs": {"a": ["/tmp/a", -1, 1]}}',
                '{"refs": {"a": ["/tmp/a", 0, -1]}}',
                '{"refs": {"a": ["/tmp/a", 0, 1e9]}}',
                '{"refs": {"a": ["/tmp/a", 0, true]}}',
                "[" * 100_000,
            ],
        ),
    ],
)
def test_a_path_that_is_not_of_ours_is_told(path):
    with pytest.raises(UnreadableFile, match="not the path of a member"):
        ranges.open_file(path)


def test_the_path_of_a_part_is_plain_json(tmp_path):
    path = ranges.member_path("b.wav", str(tmp_path / "a.tar"), 5, 7)
    references = json.loads(base64.b64decode(path.rpartition(",")[2]))
    assert references == {"version": 1, "refs": {"b.wav": [f"file://{tmp_path / 'a.tar'}", 5, 7]}}


def test_a_certificate_that_nobody_trusts_is_named_and_not_asked_for_again():
    """As that of a company's proxy. The variable that helps is named."""
    asked = []

    class Host(ThreadingHTTPServer):
        def get_request(self):
            asked.append(None)
            return super().get_request()

        def handle_error(self, request, client_address):  # the client hangs up
            pass

    host = Host(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("self_signed.pem"))  # no secret: of this test alone
    host.socket = context.wrap_socket(host.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=host.serve_forever, daemon=True).start()
    try:
        with pytest.raises(SourceUnreachable, match=r"does not trust.*SSL_CERT_FILE"):
            Place(f"https://127.0.0.1:{host.server_address[1]}/data").read("a.csv")
        assert len(asked) == 1
    finally:
        host.shutdown()
        host.server_close()


def test_paths_to_write_to_are_local(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/copy") == local_path(Path("~/copy")) == tmp_path / "copy"
    assert local_path(f"file://{tmp_path}") == tmp_path and local_path("C:/data") == Path("C:/data")
    for url in ("s3://bucket/copy", "https://example.org/copy", "hf://datasets/owner/name"):
        for given in (url, Path(url)):
            with pytest.raises(UsageError, match="is a URL"):
                local_path(given)


def test_what_is_written_goes_where_a_tilde_says_and_nothing_to_a_url(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    synthesize("~/data", interactions=1, seconds=1.0)
    assert download(Selection(modalities=("vad",)), "~/data", "~/copy").exit_code == verify("~/copy").exit_code == 0
    make_index(Place("~/data"), "~/index.parquet")
    assert len(SeamlessDataset("~/copy", index="~/index.parquet")) == 1
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["copy", "data", "index.parquet"]
    for write in (
        synthesize,
        partial(download, None, "~/data"),
        partial(make_index, Place("~/data")),
        partial(publish, plan_shards(Selection(modalities=("vad",)), "~/data")),
        partial(make_features, SeamlessDataset("~/data")),
        partial(write_results, []),
        verify,
    ):
        with pytest.raises(UsageError, match="is a URL"):
            write("s3://bucket/folder")
    assert os.listdir(tmp_path) == ["home"]
