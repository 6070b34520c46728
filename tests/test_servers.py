"""The servers that other tests read from, seen through the clients that read from the real places."""

import hashlib
import http.client
import json
import os
import random
import socket
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import fsspec
import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError
from servers import CHUNK, HTML, S3, Bucket, Hub, Request, use_hub

REPO = "datasets/facebook/seamless-interaction"
SMALL, LARGE = "improvised/dev/small.npy", "improvised/dev/large.tar"


@pytest.fixture
def contents():
    randbytes = random.Random(1).randbytes
    return {"README.md": b"# Data\n", SMALL: randbytes(3_000), LARGE: randbytes(300_000)}


@pytest.fixture
def folder(tmp_path, contents):
    for path, content in contents.items():
        file = tmp_path / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (tmp_path / "secret").write_text("beside the data")
    return tmp_path / "data"


@pytest.fixture
def https():
    return fsspec.filesystem("http", skip_instance_cache=True)


@pytest.fixture
def s3():
    s3fs = pytest.importorskip("s3fs")
    return lambda server: s3fs.S3FileSystem(anon=True, endpoint_url=server.url, skip_instance_cache=True)


def ask(url, method="GET", **headers):
    """Status, headers and body of a bare request: nothing retries, follows or tidies the path."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        path = url.split(parts.netloc, 1)[1]
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        ("bytes=0-99", (0, 100)),
        ("bytes=2990-5000", (2990, 3000)),
        ("bytes=2999-", (2999, 3000)),
        ("bytes=-100", (2900, 3000)),
        ("bytes=-9999", (0, 3000)),
    ],
)
def test_a_range_is_answered_with_its_bytes_and_logged(folder, contents, asked, span):
    with Bucket(folder, prefix="seamless_interaction") as bucket:
        status, headers, body = ask(f"{bucket.url}/{SMALL}", Range=asked)
    start, end = span
    assert (status, body) == (206, contents[SMALL][start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/3000"
    assert bucket.requests == [Request("GET", f"/seamless_interaction/{SMALL}", asked, 206, end - start)]
    assert bucket.bytes_sent == end - start


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,4-5", "lines=0-1", "bytes=-"])
def test_a_range_that_makes_no_sense_is_ignored(folder, asked):
    with Bucket(folder) as bucket:
        assert len(ask(f"{bucket.url}/{SMALL}", Range=asked)[2]) == 3000


@pytest.mark.parametrize("asked", ["bytes=3000-", "bytes=9000-9001", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_satisfied(folder, asked):
    with Bucket(folder) as bucket:
        status, headers, _ = ask(f"{bucket.url}/{SMALL}", Range=asked)
    assert (status, headers["Content-Range"]) == (416, "bytes */3000")


def test_head_tells_the_size_and_sends_nothing(folder):
    with Bucket(folder) as bucket:
        status, headers, body = ask(f"{bucket.url}/{LARGE}", "HEAD")
    assert (status, headers["Content-Length"], headers["Accept-Ranges"], body) == (200, "300000", "bytes", b"")
    assert bucket.bytes_sent == 0


def test_an_etag_that_is_known_is_not_sent_again_until_the_file_changes(folder):
    with Bucket(folder) as bucket:
        etag = ask(f"{bucket.url}/{SMALL}")[1]["ETag"]
        status, headers, body = ask(f"{bucket.url}/{SMALL}", If_None_Match=etag)
        assert (status, headers["ETag"], body) == (304, etag, b"")
        assert ask(f"{bucket.url}/{SMALL}", Range="bytes=1-2", If_Range=etag)[0] == 206
        (folder / SMALL).write_bytes(bytes(3000))
        os.utime(folder / SMALL, (1, 1))  # clocks of file systems are coarse
        assert ask(f"{bucket.url}/{SMALL}", If_None_Match=etag)[0] == 200
        assert ask(f"{bucket.url}/{SMALL}", Range="bytes=1-2", If_Range=etag)[::2] == (200, bytes(3000))


MISSING = ["", "/", "/improvised", "/improvised/", "/improvised/dev/none.npy", "/secret/", "/?list-type=2"]
OUTSIDE = ["/../secret", "/%2e%2e/secret", "/improvised/..%2f..%2fsecret", "/..\\secret", "//etc/passwd"]


@pytest.mark.parametrize("path", [*MISSING, *OUTSIDE, "/improvised/../README.md"])
def test_whatever_is_no_object_of_the_bucket_is_forbidden(folder, path):
    for prefix in ("", "seamless_interaction"):
        with Bucket(folder, prefix=prefix) as bucket:
            status, headers, body = ask(bucket.url + path)
        assert (status, headers["Content-Type"]) == (403, "application/xml")
        assert b"AccessDenied" in body and b"small.npy" not in body


def test_a_link_does_not_lead_out_of_the_bucket(folder):
    (folder / "link").symlink_to(folder.parent / "secret")
    with Bucket(folder) as bucket:
        assert ask(f"{bucket.url}/link")[0] == 403


def test_only_what_lies_below_the_prefix_is_there(folder):
    with Bucket(folder, prefix="/seamless_interaction/") as bucket:
        assert ask(f"{bucket.origin}/seamless_interaction/{SMALL}")[0] == 200
        assert ask(f"{bucket.origin}/{SMALL}")[0] == 403


def test_a_locked_out_client_gets_403_for_what_is_there(folder):
    with Bucket(folder, forbid_all=True) as bucket:
        assert ask(f"{bucket.url}/{SMALL}")[0] == 403


def test_an_error_page_looks_like_success(folder):
    with Bucket(folder, error_page=lambda path: path.endswith(".npy")) as bucket:
        status, headers, body = ask(f"{bucket.url}/{SMALL}", Range="bytes=0-9")
        assert (status, headers["Content-Type"], body) == (200, "text/html; charset=utf-8", HTML)
        assert ask(f"{bucket.url}/README.md")[2] == b"# Data\n"


def test_ignored_ranges_send_the_whole_file(folder, contents):
    with Bucket(folder, ignore_ranges=True) as bucket:
        status, headers, body = ask(f"{bucket.url}/{SMALL}", Range="bytes=0-9")
    assert (status, headers["Accept-Ranges"], body) == (200, None, contents[SMALL])
    assert bucket.bytes_sent == 3000


def test_each_path_fails_as_often_as_told_and_then_behaves(folder, contents):
    failures = {".npy": [503, "reset", "short", 429], lambda path: "READ" in path: [500]}
    with Bucket(folder, failures=failures, retry_after=7) as bucket:
        url = f"{bucket.url}/{SMALL}"
        status, headers, _ = ask(url)
        assert (status, headers["Retry-After"]) == (503, "7")
        with pytest.raises(ConnectionResetError) as broken:
            ask(url)
        assert broken.type is ConnectionResetError  # not its heir RemoteDisconnected, an orderly end
        with pytest.raises(http.client.IncompleteRead) as broken:
            ask(url)
        assert broken.value.partial == contents[SMALL][:1500]
        status, headers, _ = ask(url)
        assert (status, headers["Retry-After"]) == (429, "7")
        assert ask(url)[::2] == (200, contents[SMALL])
        assert [ask(f"{bucket.url}/README.md")[0] for _ in range(2)] == [500, 200]
        assert ask(f"{bucket.url}/{LARGE}")[0] == 200
    assert [request.status for request in bucket.requests] == [503, 0, 200, 429, 200, 500, 200, 200]
    assert [request.sent_bytes for request in bucket.requests][1:3] == [0, 1500]


def test_a_client_that_hangs_up_is_charged_for_what_went_out(folder):
    (folder / "huge").write_bytes(bytes(50_000_000))  # more than the buffers of a connection
    with Bucket(folder) as bucket:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(bucket.url).port)
        connection.request("GET", "/huge")
        connection.getresponse().read(1000)
        connection.close()
    assert 1000 <= bucket.requests[0].sent_bytes < 50_000_000


def test_requests_overlap(folder):
    with Bucket(folder, latency=0.1) as bucket, ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: ask(f"{bucket.url}/{SMALL}")[0], range(20)))
        assert statuses == [200] * 20
        assert bucket.most_at_once > 5
        bucket.clear()
        for _ in range(3):
            ask(f"{bucket.url}/{SMALL}")
        assert (bucket.most_at_once, len(bucket.requests)) == (1, 3)


def test_a_connection_serves_many_requests_and_ends_with_its_server(folder):
    with Bucket(folder) as bucket:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(bucket.url).port)
        for _ in range(3):
            connection.request("GET", f"/{SMALL}")
            assert len(connection.getresponse().read()) == 3000
        kept = connection.sock
    assert kept.recv(1) == b""
    connection.close()


def test_an_error_of_the_server_itself_is_raised_in_the_test(folder):
    def broken(path):
        raise KeyError(path)

    with pytest.raises(KeyError, match="small"), Bucket(folder, error_page=broken) as bucket:
        assert ask(f"{bucket.url}/{SMALL}")[0] == 500


# --- faults on the way


@pytest.fixture(params=[Bucket, Hub])
def served(request, folder):
    """Starts a server with some failures; it, and the address of the large file where it lies."""

    @contextmanager
    def start(*failures, **options):
        with request.param(folder, failures={LARGE: failures}, **options) as server:
            storage = getattr(server, "storage", server)
            yield storage, f"{storage.url}/{LARGE}"

    return start


def stream(url):
    """A bare connection that asked for a file, once the head of the answer has come; and what else came with it."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(CHUNK)
    return connection, received.partition(b"\r\n\r\n")[2]


def test_a_connection_is_reset_midway(served, contents):
    with served("reset-midway") as (server, url):
        connection, received = stream(url)
        with connection, pytest.raises(ConnectionResetError):
            while data := connection.recv(CHUNK):
                received += data
        assert 0 < len(received) <= 150_000 and contents[LARGE].startswith(received)
        assert ask(url)[2] == contents[LARGE]
        assert [request.sent_bytes for request in server.requests] == [150_000, 300_000]


def test_a_connection_that_ends_midway_was_promised_all(served, contents):
    with served("short") as (_, url):
        connection, received = stream(url)
        with connection:
            while data := connection.recv(CHUNK):
                received += data
        assert received == contents[LARGE][:150_000]
        assert ask(url, "HEAD")[1]["Content-Length"] == "300000"


def test_a_stalled_answer_ends_with_the_client_or_the_server(served, contents):
    with served("stall", "stall") as (server, url):
        left, first = stream(url)
        left.close()
        kept, received = stream(url)
        while len(received) < 150_000:
            received += kept.recv(CHUNK)
        kept.settimeout(0.1)
        with pytest.raises(TimeoutError):
            kept.recv(1)
        assert received == contents[LARGE][:150_000]
        assert contents[LARGE].startswith(first)
        kept.settimeout(10)
    assert kept.recv(1) == b""
    kept.close()
    assert [request.sent_bytes for request in server.requests][-1] == 150_000


def test_a_wrong_length_is_kept_to(served, contents):
    with served("wrong-length", "wrong-length") as (_, url):
        status, headers, body = ask(url)
        assert (status, headers["Content-Length"], body) == (200, "150000", contents[LARGE][:150_000])
        status, headers, body = ask(url, Range="bytes=1000-1999")
        assert (status, headers["Content-Length"], body) == (206, "500", contents[LARGE][1000:1500])
        assert headers["Content-Range"] == "bytes 1000-1499/300000"


def test_one_byte_is_flipped(served, contents):
    with served("flip", "flip") as (_, url):
        right = contents[LARGE]
        _, headers, body = ask(url)
        assert [at for at in range(len(right)) if body[at] != right[at]] == [150_000] and len(body) == len(right)
        body = ask(url, Range="bytes=10-19")[2]
        assert [at for at in range(10) if body[at] != right[10 + at]] == [5] and len(body) == 10
        _, true, body = ask(url)
        assert (true["ETag"], body) == (headers["ETag"], right)


def test_ranges_are_ignored_as_often_as_told(served, contents):
    with served(None, "no-range") as (_, url):
        assert ask(url, Range="bytes=0-9")[0] == 206
        assert ask(url)[0] == 200  # no range to ignore
        assert ask(url, Range="bytes=0-9")[::2] == (200, contents[LARGE])
        assert ask(url, Range="bytes=0-9")[0] == 206


def test_the_faults_of_bodies_wait_for_a_body(folder, contents):
    with Hub(folder, failures={LARGE: ["flip"]}) as hub:
        status, headers, _ = ask(f"{hub.url}/{REPO}/resolve/main/{LARGE}")
        assert status == 302
        assert ask(headers["Location"], "HEAD")[0] == 200
        assert ask(headers["Location"])[2] != contents[LARGE]
    with Bucket(folder, failures={SMALL: ["flip"]}) as bucket:
        assert ask(f"{bucket.url}/{SMALL}", If_None_Match=ask(f"{bucket.url}/{SMALL}", "HEAD")[1]["ETag"])[0] == 304
        assert ask(f"{bucket.url}/{SMALL}")[2] != contents[SMALL]


def test_a_failure_that_does_not_exist_is_refused(folder):
    with pytest.raises(ValueError, match="shrot"):
        Bucket(folder, failures={SMALL: ["shrot"]})


def test_a_hub_fails_before_a_redirect_and_behind_it(folder):
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    with Hub(folder, failures={LARGE: [503]}, retry_after=date) as hub:
        url = f"{hub.url}/{REPO}/resolve/main/{LARGE}"
        first, second = ask(url), ask(url)
        assert (first[0], first[1]["Retry-After"], second[0]) == (503, date, 302)
        first, second = (ask(second[1]["Location"]) for _ in range(2))
        assert (first[0], first[1]["Retry-After"], second[0]) == (503, date, 200)


def test_a_body_is_sent_bit_by_bit(served, contents):
    with served(chunk=1000, pause=0.05) as (server, url):
        connection, received = stream(url)
        while len(received) < 2000:
            received += connection.recv(CHUNK)
        time.sleep(0.1)  # enough for all of it, without pauses
        assert not server.requests  # it is still being sent
        connection.close()
        while not server.requests:  # until the server has noticed
            time.sleep(0.01)
    assert contents[LARGE].startswith(received)
    assert len(received) <= server.bytes_sent < 300_000


def test_a_file_may_change_between_requests(folder, served):
    asked, hour = [], time.time() + 3600

    def rewrite(path):
        asked.append(path)
        (folder / LARGE).write_bytes(len(asked).to_bytes(2, "big") * 150_000)
        os.utime(folder / LARGE, (hour, hour))  # a clock may be so coarse that it does not tell

    with served(on_request=rewrite) as (_, url):
        answers = [ask(url) for _ in range(20)]
        etag = answers[-1][1]["ETag"]
        assert ask(url, Range="bytes=0-9", If_Range=etag)[0] == 200
    assert len({headers["ETag"] for _, headers, _ in answers}) == 20
    assert [int.from_bytes(body[:2], "big") for *_, body in answers] == list(range(1, 21))
    assert asked == [urlsplit(url).path] * 21


def test_etags_can_be_of_the_content_or_missing(folder, contents):
    with Bucket(folder, etags="md5") as bucket:
        expected = hashlib.md5(contents[SMALL]).hexdigest()
        assert ask(f"{bucket.url}/{SMALL}")[1]["ETag"] == f'"{expected}"'
    with Bucket(folder, etags=None) as bucket:
        status, headers, body = ask(f"{bucket.url}/{SMALL}", Range="bytes=0-9")
        assert (status, headers["ETag"], headers["Last-Modified"], body) == (206, None, None, contents[SMALL][:10])
        assert ask(f"{bucket.url}/{SMALL}", Range="bytes=0-9", If_Range='"some"')[0] == 200
        assert ask(f"{bucket.url}/{SMALL}", If_None_Match='"some"')[0] == 200


def test_a_range_may_depend_on_the_time_of_the_file_and_the_log_tells(folder):
    with Bucket(folder) as bucket:
        modified = ask(f"{bucket.url}/{SMALL}")[1]["Last-Modified"]
        assert ask(f"{bucket.url}/{SMALL}", Range="bytes=0-9", If_Range=modified)[0] == 206
        assert [request.if_range for request in bucket.requests] == [None, modified]


def test_a_listing_may_hold_what_was_made_up(folder):
    made_up = [{"path": "../evil", "type": "file", "size": 1, "oid": "0" * 40}, {"size": "none"}]
    with Hub(folder, extra_entries=made_up, page_size=2) as hub:
        url, found = f"{hub.url}/api/{REPO}/tree/main?recursive=true", []
        while url:
            _, headers, body = ask(url)
            found += json.loads(body)
            url = headers["Link"] and headers["Link"].partition(">")[0][1:]
    assert found[-2:] == made_up and len(found) == 5 + 2


def test_a_large_file_costs_the_server_no_memory(folder):
    with (folder / "huge").open("wb") as file:
        file.truncate(200_000_000)
    with Bucket(folder) as bucket:
        tracemalloc.start()
        try:
            connection, received = stream(f"{bucket.url}/huge")
            length, buffer = len(received), bytearray(CHUNK)
            while length < 200_000_000:
                length += connection.recv_into(buffer)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        connection.close()
    assert (length, bucket.bytes_sent) == (200_000_000, 200_000_000)
    assert peak < 5_000_000


# --- fsspec's HTTPFileSystem


def test_https_reads_ranges_of_the_bucket(folder, contents, https):
    with Bucket(folder) as bucket:
        assert https.cat_file(f"{bucket.url}/{LARGE}", start=1000, end=1500) == contents[LARGE][1000:1500]
        assert bucket.requests == [Request("GET", f"/{LARGE}", "bytes=1000-1499", 206, 500)]
        bucket.clear()
        with https.open(f"{bucket.url}/{LARGE}", block_size=1 << 12, cache_type="none", size=300_000) as file:
            file.seek(-100, 2)
            assert file.read(50) == contents[LARGE][-100:-50]
        assert bucket.bytes_sent == 50


def test_https_follows_a_redirect_to_another_origin(folder, contents, https):
    with Bucket(folder) as target, Bucket(folder, redirect_to=target.origin) as bucket:
        assert https.cat_file(f"{bucket.url}/{LARGE}", start=7, end=9) == contents[LARGE][7:9]
    assert [(request.status, request.range) for request in bucket.requests] == [(302, "bytes=7-8")]
    assert [(request.status, request.range) for request in target.requests] == [(206, "bytes=7-8")]


def test_https_cannot_list_the_bucket_and_finds_nothing_missing(folder, https):
    with Bucket(folder, prefix="seamless_interaction") as bucket:
        for path in ("", "/improvised/", f"/{SMALL}x"):
            with pytest.raises(Exception, match="403"):
                https.cat_file(bucket.url + path)
        with pytest.raises(Exception, match="403"):
            https.ls(bucket.url)


def test_https_meets_failures_once(folder, contents, https):
    with Bucket(folder, failures={".npy": [503]}) as bucket:
        with pytest.raises(Exception, match="503"):
            https.cat_file(f"{bucket.url}/{SMALL}")
        assert https.cat_file(f"{bucket.url}/{SMALL}") == contents[SMALL]


# --- the Hub


@pytest.fixture
def hub(folder):
    with Hub(folder) as hub, use_hub(hub):
        yield hub


def test_the_hub_lists_what_it_holds(hub, contents):
    hf = huggingface_hub.HfFileSystem()
    assert {path: hf.info(f"{REPO}/{path}")["size"] for path in contents} == {
        path: len(content) for path, content in contents.items()
    }
    assert hf.find(REPO) == sorted(f"{REPO}/{path}" for path in contents)
    assert sorted(hf.ls(f"{REPO}/improvised/dev", detail=False)) == [f"{REPO}/{LARGE}", f"{REPO}/{SMALL}"]
    assert hf.info(f"{REPO}/improvised")["type"] == "directory"
    assert hf.exists(f"{REPO}/{SMALL}") and not hf.exists(f"{REPO}/{SMALL}x")
    assert hf.glob(f"{REPO}/**/*.tar") == [f"{REPO}/{LARGE}"]
    with pytest.raises(FileNotFoundError):
        hf.ls(f"{REPO}/none")


def test_the_hub_lists_by_pages(folder, contents):
    with Hub(folder, page_size=2) as hub, use_hub(hub):
        assert huggingface_hub.HfFileSystem().find(REPO) == sorted(f"{REPO}/{path}" for path in contents)
        assert any("cursor=2" in request.path for request in hub.requests)


def test_the_hub_tells_of_paths(hub, contents):
    api = huggingface_hub.HfApi()
    found = api.get_paths_info(hub.repo, [SMALL, LARGE, "improvised", "none"], repo_type="dataset", expand=True)
    assert [entry.path for entry in found] == [SMALL, LARGE, "improvised"]
    assert found[0].lfs is None and found[1].lfs.size == 300_000
    assert found[0].last_commit.oid == api.dataset_info(hub.repo).sha == hub.commit


@pytest.mark.parametrize("path", [SMALL, LARGE])
@pytest.mark.parametrize("revision", ["", "@main", "@commit"])
def test_the_hub_reads_ranges(hub, contents, path, revision):
    place = f"hf://{REPO}{revision.replace('commit', hub.commit)}/{path}"
    filesystem, place = fsspec.url_to_fs(place)
    with filesystem.open(place, block_size=1 << 10, cache_type="none") as file:
        file.seek(100)
        assert file.read(50) == contents[path][100:150]
    holder = hub.storage if path == LARGE else hub
    reads = [request for request in holder.requests if request.range]
    assert [(request.range, request.status, request.sent_bytes) for request in reads] == [("bytes=100-149", 206, 50)]


def test_the_hub_is_found_by_its_endpoint(folder, contents):
    with Hub(folder) as other, Hub(folder) as hub, use_hub(other):
        filesystem, place = fsspec.url_to_fs(f"hf://{REPO}/{SMALL}", endpoint=hub.url)
        assert filesystem.cat_file(place, start=3, end=5) == contents[SMALL][3:5]
        assert hub.requests and not other.requests


@pytest.mark.parametrize("path", [SMALL, LARGE])
def test_the_hub_hands_out_files(hub, contents, path, tmp_path):
    for folder in ({"local_dir": tmp_path / "here"}, {"cache_dir": tmp_path / "cache"}):
        found = huggingface_hub.hf_hub_download(hub.repo, path, repo_type="dataset", **folder)
        with open(found, "rb") as file:
            assert file.read() == contents[path]
    assert hub.storage.bytes_sent == (600_000 if path == LARGE else 0)


def test_the_hub_says_what_is_missing(hub, tmp_path):
    with pytest.raises(EntryNotFoundError):
        huggingface_hub.hf_hub_download(hub.repo, "none.npy", repo_type="dataset", cache_dir=tmp_path)
    with pytest.raises(RepositoryNotFoundError):
        huggingface_hub.hf_hub_download("facebook/other", SMALL, repo_type="dataset", cache_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="revision"):
        huggingface_hub.HfFileSystem().info(f"{REPO}@none/{SMALL}")


# --- S3


def test_s3_lists_what_it_holds(folder, contents, s3):
    with S3(folder, "data") as server:
        filesystem = s3(server)
        assert filesystem.ls("data") == ["data/README.md", "data/improvised"]
        assert filesystem.info(f"data/{LARGE}")["size"] == 300_000
        assert filesystem.isdir("data/improvised/dev")
        filesystem.invalidate_cache()
        assert filesystem.find("data") == sorted(f"data/{path}" for path in contents)
        assert filesystem.exists(f"data/{SMALL}") and not filesystem.exists("data/none")


def test_s3_lists_by_pages(folder, contents, s3):
    with S3(folder, "data") as server:
        first = s3(server).call_s3("list_objects_v2", Bucket="data", MaxKeys=2)
        rest = s3(server).call_s3("list_objects_v2", Bucket="data", ContinuationToken=first["NextContinuationToken"])
    assert (first["IsTruncated"], rest["IsTruncated"]) == (True, False)
    assert [found["Key"] for page in (first, rest) for found in page["Contents"]] == sorted(contents)


def test_s3_reads_ranges(folder, contents, s3):
    with S3(folder, "data") as server:
        assert s3(server).cat_file(f"data/{LARGE}", start=10, end=20) == contents[LARGE][10:20]
        assert [request for request in server.requests if request.method == "GET"] == [
            Request("GET", f"/data/{LARGE}", "bytes=10-19", 206, 10)
        ]


def test_s3_says_what_is_missing_only_where_listing_is_allowed(folder, s3):
    with S3(folder, "data") as server, pytest.raises(FileNotFoundError):
        s3(server).cat_file("data/none")
    with S3(folder, "data", listing=False) as server:
        with pytest.raises(PermissionError):
            s3(server).cat_file("data/none")
        with pytest.raises(PermissionError):
            s3(server).ls("data")


# --- what is pushed to the Hub


@pytest.fixture
def pushed_to(tmp_path):
    """A Hub that has no repository yet, and takes one token."""
    with Hub(tmp_path / "hub", "me/data", exists=False, token="hf_a", read_token="hf_r") as hub, use_hub(hub):
        yield hub


@pytest.fixture
def api():
    return huggingface_hub.HfApi(token="hf_a")


def add(path, content, folder=None):
    """What a commit adds: from a file on disk, if there is a folder for it."""
    if folder is None:
        return huggingface_hub.CommitOperationAdd(path, content)
    (folder / "local").write_bytes(content)
    return huggingface_hub.CommitOperationAdd(path, str(folder / "local"))


def commit(api, *operations, repo="me/data", **options):
    return api.create_commit(repo, operations, commit_message="Upload", repo_type="dataset", **options).oid


def test_a_repository_is_created_once(pushed_to, api):
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("me/data")
    url = api.create_repo("me/data", repo_type="dataset", private=True)
    assert url == api.create_repo("me/data", repo_type="dataset", exist_ok=True) == f"{pushed_to.url}/datasets/me/data"
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("me/data", repo_type="dataset")
    assert api.dataset_info("me/data").private
    assert [file.path for file in api.list_repo_tree("me/data", repo_type="dataset")] == [".gitattributes"]


@pytest.mark.parametrize(
    ("path", "size", "large"),
    [
        ("a.txt", 3_000, False),
        ("a.txt", 300_000, True),
        ("a/b.parquet", 30, True),
        ("b.mp4", 30, True),
        ("c.mp4", 0, False),
    ],
)
@pytest.mark.parametrize("parts_above", [None, 70_000])
def test_a_commit_brings_files_by_lfs_or_within(pushed_to, api, tmp_path, path, size, large, parts_above):
    pushed_to.parts_above = parts_above
    api.create_repo("me/data", repo_type="dataset")
    before, content = pushed_to.commit, random.Random(1).randbytes(size)
    oid = commit(api, add(path, content, tmp_path))
    assert oid == pushed_to.commit == api.dataset_info("me/data").sha != before
    (found,) = api.get_paths_info("me/data", [path], repo_type="dataset", revision=oid)
    assert (found.size, bool(found.lfs)) == (size, large)
    if large:
        assert found.lfs.sha256 == hashlib.sha256(content).hexdigest()
    assert huggingface_hub.HfFileSystem(token="hf_a").cat_file(f"datasets/me/data/{path}") == content
    sent = [request for request in pushed_to.storage.requests if request.method == "PUT"]
    assert len(sent) == (0 if not large else 5 if parts_above and size > parts_above else 1)
    assert any(request.path.endswith("/verify") for request in pushed_to.requests) == large


def test_what_the_hub_has_is_not_sent_again(pushed_to, api, tmp_path):
    api.create_repo("me/data", repo_type="dataset")
    addition = add("a.parquet", b"content", tmp_path)
    api.preupload_lfs_files("me/data", [addition], repo_type="dataset", free_memory=False)
    assert not pushed_to.commits
    pushed_to.storage.clear()
    commit(api, add("a.parquet", b"content", tmp_path))
    commit(api, add("b.parquet", b"content", tmp_path))
    assert not [request for request in pushed_to.storage.requests if request.method == "PUT"]
    assert (pushed_to.root / "b.parquet").read_bytes() == b"content"


def test_a_commit_tells_what_it_did(pushed_to, api):
    api.create_repo("me/data", repo_type="dataset")
    head = pushed_to.commit
    commit(api, add("a/b/1.txt", b"1"), add("a/b/2.txt", b"2"), add("c.txt", b"3"))
    delete = huggingface_hub.CommitOperationDelete
    commit(api, delete("a/b/1.txt"), add("c.txt", b"4"))
    commit(api, delete("a/"))
    first, second, third = pushed_to.commits
    assert (first.parent, first.added, first.deleted) == (head, ("a/b/1.txt", "a/b/2.txt", "c.txt"), ())
    assert (second.parent, second.added, second.deleted) == (first.id, ("c.txt",), ("a/b/1.txt",))
    assert second.tree.keys() == {".gitattributes", "a/b/2.txt", "c.txt"}
    assert second.tree["c.txt"] == hashlib.sha256(b"4").hexdigest()
    assert third.deleted == ("a/b/2.txt",)
    assert not (pushed_to.root / "a").exists()  # Git has no empty folders
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist"):
        commit(api, delete("none.txt"))


def test_a_commit_for_another_head_is_refused(pushed_to, api):
    api.create_repo("me/data", repo_type="dataset")
    head = pushed_to.commit
    commit(api, add("a.txt", b"1"), parent_commit=head)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        commit(api, add("b.txt", b"2"), parent_commit=head)
    assert caught.value.response.status_code == 412
    assert not (pushed_to.root / "b.txt").exists()


def test_a_commit_that_names_what_was_never_sent_is_refused_whole(pushed_to, api, tmp_path):
    api.create_repo("me/data", repo_type="dataset")
    addition = add("a.parquet", b"content", tmp_path)
    addition._is_uploaded, addition._upload_mode = True, "lfs"
    with pytest.raises(HfHubHTTPError, match="pointer") as caught:
        commit(api, add("b.txt", b"2"), addition)
    assert caught.value.response.status_code == 400
    assert not (pushed_to.root / "b.txt").exists()


def test_an_object_that_is_not_what_it_was_said_to_be_is_refused(pushed_to):
    oid = hashlib.sha256(b"content").hexdigest()
    parts = urlsplit(pushed_to.storage.address(oid))
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("PUT", parts.path, body=b"c0ntent")
    assert connection.getresponse().status == 400
    connection.close()
    assert pushed_to.object(oid) is None


@pytest.mark.parametrize(("token", "status"), [(False, 401), ("hf_b", 401), ("hf_r", 403)])
def test_writing_takes_the_token_for_it(pushed_to, api, token, status):
    other = huggingface_hub.HfApi(token=token)
    with pytest.raises(HfHubHTTPError) as caught:
        other.create_repo("me/data", repo_type="dataset")
    assert caught.value.response.status_code == status
    api.create_repo("me/data", repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as caught:
        commit(other, add("a.txt", b"1"))
    assert caught.value.response.status_code == status
    assert not pushed_to.commits


@pytest.mark.parametrize(("token", "seen"), [(False, False), ("hf_b", False), ("hf_r", True), ("hf_a", True)])
def test_a_private_repository_is_seen_with_a_token_only(pushed_to, api, token, seen):
    api.create_repo("me/data", repo_type="dataset", private=True)
    other = huggingface_hub.HfApi(token=token)
    if seen:
        assert other.dataset_info("me/data").private
        return
    with pytest.raises(HfHubHTTPError) as caught:
        other.dataset_info("me/data")
    assert caught.value.response.status_code == 401
    assert isinstance(caught.value, RepositoryNotFoundError) == (token is False)  # an unknown token is told to be one


def test_the_hub_knows_whose_token_it_is(pushed_to, api):
    assert api.whoami()["name"] == "me"
    assert api.whoami(token="hf_r")["auth"]["accessToken"]["role"] == "read"
    with pytest.raises(errors.HTTPError, match="Invalid user token"):  # before 1.0 a bare one
        api.whoami(token="hf_b")


def test_a_lost_answer_leaves_what_was_done(pushed_to, api):
    api.create_repo("me/data", repo_type="dataset")
    pushed_to.failures = {"/commit/main": ["lost"]}
    with pytest.raises((OSError, errors.HTTPError)) as caught:
        commit(api, add("a.txt", b"1"))
    assert getattr(caught.value, "response", None) is None
    assert (pushed_to.root / "a.txt").read_bytes() == b"1"
    assert [request.status for request in pushed_to.requests if request.path.endswith("/commit/main")] == [0]


def test_a_card_that_is_no_yaml_is_refused(pushed_to, api):
    api.create_repo("me/data", repo_type="dataset")
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
        commit(api, add("README.md", b"---\na: [\n---\n"))
    assert not pushed_to.commits
