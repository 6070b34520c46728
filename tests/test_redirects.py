"""Where hosts may send on to, and what goes with the request: nothing of the user's, nor into the user's network."""

import socket
import ssl
from pathlib import Path

import pytest
from servers import Answer, Bucket, Hub, use_hub

from seamless_interaction.download import Selection, download
from seamless_interaction.errors import SourceUnreachable, UnsafeRedirect
from seamless_interaction.places import redirects
from seamless_interaction.places.place import Place
from seamless_interaction.synthetic.writing import synthesize

CONTENT = bytes(range(256)) * 400
SECRETS = {"Authorization": "Bearer SECRET", "X-Key": "SECRET", "Cookie": "sid=SECRET"}
ELSEWHERE = ("127.0.0.2", "localhost", "internal.example")


@pytest.fixture
def folder(tmp_path):
    for path in ("a.bin", "back/a.bin"):
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(CONTENT)
    return tmp_path / "data"


class Noting(Bucket):
    """Notes the headers of each request, as another host than 127.0.0.1."""

    def __init__(self, root, host="localhost", **options):
        super().__init__(root, **options)
        self.host, self.seen = host, []

    def answer(self, query):
        self.seen.append(dict(query.headers))
        return super().answer(query)


class Sending(Noting):
    """Sends on to wherever it is told."""

    def __init__(self, root, to, **options):
        super().__init__(root, "127.0.0.1", **options)
        self.to = to

    def answer(self, query):
        answer = super().answer(query)
        return Answer(302, {"Location": self.to}) if self.to and "/back/" not in query.path else answer


def test_what_is_the_users_stays_with_the_host_that_the_user_named(folder):
    """In whatever way it was given; within the host it goes along."""
    ways = (
        ({"headers": SECRETS}, ""),
        ({"client_kwargs": {"headers": SECRETS}}, ""),
        ({"cookies": {"sid": "SECRET"}}, "sig=SECRET"),
        ({"client_kwargs": {"cookies": {"sid": "SECRET"}}}, "sig=SECRET"),
    )
    for options, query in ways:
        with Noting(folder) as target, Sending(folder, f"{target.origin}/a.bin?of=theirs") as bucket:
            place = Place(f"http://user:SECRET@{bucket.url.partition('//')[2]}?{query}".rstrip("?"), options)
            assert place.read("a.bin", 1000, 1010) == CONTENT[1000:1010] and place.stat("a.bin").size == len(CONTENT)
            assert "SECRET" in str(bucket.seen) or "SECRET" in str(bucket.requests)
            assert "SECRET" not in f"{target.seen} {target.requests}"
            assert [request.path for request in target.requests] == ["/a.bin?of=theirs"] * 2
            assert [request.range for request in target.requests] == ["bytes=1000-1009", None]
            target.redirect_to = f"{bucket.origin}/back/a.bin?"  # where it comes back as a stranger
            assert place.read("a.bin", 0, 10) == CONTENT[:10]
            assert "SECRET" not in str(bucket.seen[-1]) + bucket.requests[-1].path
    with Noting(folder, "127.0.0.1") as bucket:
        place = Place(bucket.url, {"headers": SECRETS})
        bucket.amend = lambda query, answer: (
            answer if "/back/" in query.path else Answer(307, {"Location": "back/a.bin"})
        )
        assert place.read("a.bin", 0, 10) == CONTENT[:10]
        assert [seen["X-Key"] for seen in bucket.seen] == ["SECRET"] * 2


@pytest.fixture
def world(monkeypatch):
    """127.0.0.1 is of the internet, and the names of `ELSEWHERE` are of a network of one's own."""
    own, look_up = redirects.network_of, socket.getaddrinfo
    monkeypatch.setattr(
        redirects, "network_of", lambda address: redirects.PUBLIC if address == "127.0.0.1" else own(address)
    )
    monkeypatch.setattr(redirects, "_looked_up", {})

    def getaddrinfo(host, *args, **options):
        return look_up("127.0.0.2" if host in ELSEWHERE else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    "to", [*(f"http://{host}:1/a.bin?sig=SECRET" for host in ELSEWHERE), "http://[::ffff:10.0.0.1]/", "http://0x7f.2/"]
)
def test_a_host_of_the_internet_does_not_lead_into_the_users_network(folder, world, to):
    with Sending(folder, to) as bucket:
        for ask in (Place(bucket.url).stat, Place(bucket.url).read, Place(bucket.url).open_body):
            with pytest.raises(UnsafeRedirect, match=rf"a\.bin: {bucket.url} sends on to .*network") as caught:
                ask("a.bin")
            assert "SECRET" not in str(caught.value) and to.split("/")[2].split(":")[0].strip("[") in str(caught.value)
        assert len(bucket.requests) == 3  # nor is it asked again


def test_within_the_users_network_hosts_may_send_on_but_not_to_its_cloud(folder):
    with Noting(folder, "localhost") as target, Sending(folder, f"{target.origin}/a.bin") as bucket:
        assert Place(bucket.url).read("a.bin") == CONTENT
        bucket.to = "http://169.254.169.254/latest/meta-data"
        with pytest.raises(UnsafeRedirect, match=r"169\.254\.169\.254.*network"):
            Place(bucket.url).read("a.bin")


WRONG = {
    "ftp://127.0.0.1/a.bin": "ftp",
    "file:///etc/passwd": "no address",
    "http://[::1/a.bin": "no address",
    "/a.bin": "more than 10 times",
}


def test_what_leads_nowhere_is_named(folder):
    for to, said in WRONG.items():
        with Sending(folder, to) as bucket, pytest.raises(UnsafeRedirect, match=rf"a\.bin: .*{said}"):
            Place(bucket.url).read("a.bin")


class Secure(Sending):
    """The same over https, with a certificate that nobody trusts."""

    def __enter__(self):
        super().__enter__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(__file__).with_name("self_signed.pem"))
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.origin = self.origin.replace("http://", "https://")
        return self


def test_https_does_not_lead_to_http(folder):
    with Noting(folder) as target, Secure(folder, f"{target.origin}/a.bin?sig=SECRET") as bucket:
        place = Place(bucket.url, {"ssl": False})
        with pytest.raises(UnsafeRedirect, match=rf"a\.bin: {bucket.url} sends on to {target.url}, where") as caught:
            place.read("a.bin")
        assert "SECRET" not in str(caught.value) and not target.requests
        bucket.to = None
        assert place.read("a.bin") == CONTENT
        with Sending(folder, f"{bucket.origin}/a.bin") as plain:
            assert Place(plain.url, {"ssl": False}).read("a.bin") == CONTENT  # the other way round


def test_the_hub_sends_on_to_its_store_without_the_token(folder):
    with Hub(folder, token="hf_SECRET", private=True) as hub, use_hub(hub):
        seen = []
        hub.storage.amend = lambda query, answer: (seen.append(dict(query.headers)), answer)[1]
        place = Place(f"hf://datasets/{hub.repo}", {"token": "hf_SECRET"})
        assert place.read("a.bin", 10, 20) == CONTENT[10:20]
        assert len(seen) == 1 and "SECRET" not in str(seen)


def test_a_download_goes_on_where_one_file_is_sent_into_the_users_network(tmp_path, world, monkeypatch):
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)
    one, *others = synthesize(tmp_path / "data", "tree", interactions=1, seconds=2.0).recordings

    def amend(query, answer):
        is_led = query.path.endswith(f"vad/{one.file_id}.jsonl")
        return Answer(302, {"Location": "http://internal.example/x"}) if is_led else answer

    with Bucket(tmp_path / "data", amend=amend) as bucket:
        report = download(Selection("full", modalities="vad"), bucket.url, tmp_path / "copy")
    assert report.exit_code == 3 and report.files["failed"] == 1 and report.files["whole"] == len(others)
    assert "internal.example" in report.problems[0]["detail"]
    assert issubclass(UnsafeRedirect, SourceUnreachable)
