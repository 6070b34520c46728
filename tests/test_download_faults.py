"""Downloads from servers that misbehave: right bytes under the right name, or a named error; the next run goes on."""

import errno
import gzip
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from email.utils import formatdate
from unittest import mock

import numpy as np
import pytest
import soundfile
from conftest import hears_interrupts, warnings
from servers import Bucket, Hub, use_hub

from seamless_interaction import load_dataset
from seamless_interaction.download import Selection, download, plan, verify
from seamless_interaction.download import run as copying
from seamless_interaction.download.manifest import Manifest
from seamless_interaction.errors import AccessDenied, FolderBusy, NotEnoughSpace, SourceUnreachable
from seamless_interaction.places import redirects
from seamless_interaction.places.place import Place
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.writing import synthesize

KINDS = ("bucket", "members", "tars")
TEXT = ("transcript", "vad")
SOME = ("audio", "video", "transcript", "smplh:body_pose", "smplh:is_valid")
FULL = Selection("full")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Layout -> folder; "copy" is what comes out of the tars."""
    root = tmp_path_factory.mktemp("small")
    for layout in ("tree", "archives"):
        synthesize(root / layout, layout, interactions=1, seconds=2.0, seed=3)
    assert download(FULL, root / "archives", root / "copy").exit_code == 0
    return root


@pytest.fixture(autouse=True)
def impatient(monkeypatch, impatient_hub):
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)


def files(folder):
    found = (path for label in ("improvised", "naturalistic") for path in (folder / label).rglob("*"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()}


def entries(target):
    manifest = Manifest(target)
    return {path: manifest.entry(path) for path in manifest.paths() if path.count("/") > 1}


def is_payload(path):
    return path.endswith((".npy", ".wav", ".mp4", ".jsonl", ".json", ".tar")) and "/api/" not in path


@contextmanager
def serving(small, kind, **options):
    """Source and selection of a kind, what should come, and where the requests for it are logged."""
    modalities = {"bucket": SOME, "members": ("audio", *SOME[2:]), "tars": None}[kind]
    selection, folder = Selection("full", modalities=modalities), small / ("tree" if kind == "bucket" else "copy")
    parts = [f"/{modality.replace(':', '/')}/" for modality in modalities] if modalities else ["/"]
    wanted = {path: content for path, content in files(folder).items() if any(part in path for part in parts)}
    if kind == "bucket":
        with Bucket(folder, **options) as bucket:
            yield bucket.url, selection, wanted, bucket
        return
    with Hub(small / "archives", lfs_above=0, **options) as hub, use_hub(hub):
        yield "hub", selection, wanted, hub.storage


# --- what passes ----------------------------------------------------------------------------------


def faults_of(kind, wanted):
    """What the first requests for each file get: every fault once, as a host may show them all."""
    if kind == "bucket":
        large = sorted(path for path in wanted if path.endswith((".wav", ".mp4")) or "/body_pose/" in path)
        cut = ["reset", "reset-midway", "short", "wrong-length", "stall", 503]
        found = {path: [fault] for path, fault in zip(large, cut, strict=True)}
        return found | {path: [fault] for path, fault in zip(sorted(wanted.keys() - found), [429, 500], strict=False)}
    if kind == "members":  # no silence: the Hub's own client, which reads directories of NPZ files, waits as it likes
        faults = ["reset", "reset-midway", "short", "wrong-length", 500]
        return {is_payload: [answer for fault in faults for answer in (fault, None)]}
    return {is_payload: ["reset-midway", "short", "stall", 503]}


@pytest.mark.parametrize("kind", KINDS)
def test_passing_faults_are_waited_out(small, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(redirects, "_SILENCE", 1.0)
    etags = {"etags": "md5"} if kind == "bucket" else {}
    with serving(small, kind, **etags) as (source, selection, wanted, server):
        planned = plan(selection, source, tmp_path / "copy")  # headers of tars are another matter
        server.clear()
        server.failures = faults_of(kind, wanted)
        report = copying.carry_out(planned)
        assert report.exit_code == 0, report.as_text()
        assert files(tmp_path / "copy") == wanted
        for rule, faults in server.failures.items():  # each was met
            of = rule if callable(rule) else lambda path, end=rule: path.endswith(end)
            assert sum(of(request.path) for request in server.requests) > len(faults)
        server.clear()
        assert download(selection, source, tmp_path / "copy").fetched_bytes == 0
        assert not [request for request in server.requests if is_payload(request.path) and request.method == "GET"]


@pytest.mark.parametrize("after", [0, formatdate(0, usegmt=True)])
def test_the_host_says_how_long_to_wait(small, tmp_path, monkeypatch, after):
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 1000.0)
    with serving(small, "bucket", failures={".wav": [429]}, retry_after=after) as (source, _, wanted, _):
        assert download(Selection("full", modalities="audio"), source, tmp_path / "copy").exit_code == 0
    assert files(tmp_path / "copy") == {p: c for p, c in wanted.items() if p.endswith(".wav")}


@pytest.mark.parametrize("etags", ["md5", "mtime", None])
def test_a_byte_that_is_another_one_on_the_way(small, tmp_path, etags):
    """With a hash it is noticed; without one, as far as the format tells."""
    failures = {end: ["flip"] for end in (".npy", ".wav", ".mp4")}
    with serving(small, "bucket", failures=failures, etags=etags) as (source, selection, wanted, _):
        download(selection, source, tmp_path / "copy")
    if etags == "md5":
        assert files(tmp_path / "copy") == wanted
    assert files(tmp_path / "copy").keys() == wanted.keys()
    assert {entry["proof"] for entry in entries(tmp_path / "copy").values() if "proof" in entry} == (
        {"md5"} if etags == "md5" else set()
    )


def test_a_flipped_byte_of_a_tars_header_is_looked_at_again(small, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")  # nobody has looked before
    with serving(small, "members", failures={".tar": ["flip"]}) as (source, selection, wanted, _):
        assert download(selection, source, tmp_path / "copy").exit_code == 0
    assert files(tmp_path / "copy") == wanted


@pytest.mark.parametrize("kind", ["members", "tars"])
def test_a_flipped_byte_of_a_tar_is_fetched_again(small, tmp_path, kind):
    with serving(small, kind, failures={".tar": [None, "flip"] if kind == "members" else ["flip"]}) as served:
        source, selection, wanted, _ = served
        selection = Selection("full", modalities=SOME[3:]) if kind == "members" else selection
        wanted = {p: c for p, c in wanted.items() if kind == "tars" or "/smplh/" in p}
        report = download(selection, source, tmp_path / "copy")
        if report.exit_code:
            report = download(selection, source, tmp_path / "copy")
    assert files(tmp_path / "copy") == wanted and report.exit_code == 0


# --- going on -------------------------------------------------------------------------------------


@pytest.fixture
def large(small, tmp_path):
    """A tree with one WAV of several megabytes, half of which came before the host went silent."""
    shutil.copytree(small / "tree", tmp_path / "tree")
    wav = sorted((tmp_path / "tree").rglob("*.wav"))[0]
    soundfile.write(wav, np.random.default_rng(0).random(2_000_000) / 2, 48_000, subtype="PCM_16")
    return tmp_path / "tree", wav


@pytest.mark.parametrize("second", [None, "no-range", "changed"])
def test_what_came_is_gone_on_with_if_it_is_still_the_same(large, tmp_path, second):
    tree, wav = large
    selection = Selection(file_ids=wav.stem, single=True, modalities="audio")
    with Bucket(tree, failures={".wav": ["short", *[500] * 4, 500, second if second == "no-range" else None]}) as b:
        assert download(selection, b.url, tmp_path / "copy").exit_code == 3
        assert (entry := next(iter(entries(tmp_path / "copy").values())))["status"] == "failed" and "500" in entry[
            "detail"
        ]
        if second == "changed":
            content = bytearray(wav.read_bytes())
            content[-1] ^= 1
            wav.write_bytes(content)
        b.clear()
        assert plan(selection, b.url, tmp_path / "copy").files["resume"] == 1
        assert download(selection, b.url, tmp_path / "copy").exit_code == 0
        sent = sum(request.sent_bytes for request in b.requests if request.path.endswith(".wav"))
    size = wav.stat().st_size
    assert list(files(tmp_path / "copy").values()) == [wav.read_bytes()]
    assert sent < 0.8 * size if second is None else sent >= size


# --- what does not pass ---------------------------------------------------------------------------


def test_absent_is_not_missing(small, tmp_path):
    shutil.copytree(small / "tree", tmp_path / "tree")
    optional = sorted((tmp_path / "tree").rglob("transcript/*"))[0]
    required = sorted((tmp_path / "tree").rglob("vad/*"))[-1]
    optional.unlink(), required.unlink()
    with Bucket(tmp_path / "tree") as bucket:
        selection = Selection("full", modalities=TEXT)
        report = download(selection, bucket.url, tmp_path / "copy")
        assert report.exit_code == 3 and report.files["missing"] == 1 and report.files["absent"] >= 1
        bucket.clear()
        assert download(selection, bucket.url, tmp_path / "copy").exit_code == 3
        asked = {request.path for request in bucket.requests if is_payload(request.path)}
        assert any(path.endswith(required.name) and "/vad/" in path for path in asked)
        assert not any("/transcript/" in path for path in asked)
        shutil.copy(small / "tree" / required.relative_to(tmp_path / "tree"), required)
        assert download(selection, bucket.url, tmp_path / "copy").exit_code == 0


@pytest.mark.parametrize("etags", ["md5", "mtime"])
def test_what_is_broken_at_the_source_is_kept_and_not_asked_for_again(small, tmp_path, etags):
    shutil.copytree(small / "tree", tmp_path / "tree")
    npy = sorted((tmp_path / "tree").rglob("body_pose/*.npy"))[0]
    npy.write_bytes(npy.read_bytes()[:-5])
    selection = Selection("full", modalities="smplh:body_pose")
    with Bucket(tmp_path / "tree", etags=etags) as bucket:
        report = download(selection, bucket.url, tmp_path / "copy")
        assert report.exit_code == 0 and report.files["damaged"] == 1
        asked = 1 if etags == "md5" else 4  # twice all of it, its size and its end
        assert sum(request.path.endswith(npy.name) for request in bucket.requests) == asked
        bucket.clear()
        assert download(selection, bucket.url, tmp_path / "copy").fetched_bytes == 0
    assert (tmp_path / "copy" / npy.relative_to(tmp_path / "tree")).read_bytes() == npy.read_bytes()


def half(query, answer):
    """Half of a whole file, under headers that promise no more."""
    is_whole = answer.status == 200 and query.method == "GET"
    return answer.with_body(lambda body: body[: len(body) // 2]) if is_whole else answer


def half_by_head(query, answer):
    return answer.with_headers(Content_Length=str(len(answer.body) // 2)) if query.method == "HEAD" else answer


@pytest.mark.parametrize(("etags", "ignore_ranges"), [("mtime", False), ("md5", False), ("mtime", True)])
def test_half_a_file_that_comes_twice_is_no_damage_and_asked_for_again(small, tmp_path, etags, ignore_ranges):
    def amend(query, answer):
        if query.path.endswith(".mp4") and not ignore_ranges:  # only its end, asked for by itself, is another one
            answer = half_by_head(query, answer)
        return half(query, answer) if query.path.endswith((".wav", ".mp4", ".npy")) else answer

    with serving(small, "bucket", etags=etags, ignore_ranges=ignore_ranges, amend=amend) as (
        source,
        selection,
        wanted,
        server,
    ):
        report = download(selection, source, tmp_path / "copy")
        assert report.exit_code == 3 and not report.files["damaged"], report.as_text()
        assert {problem["status"] for problem in report.problems} == {"failed"}
        assert report.files["failed"] == sum(path.endswith((".wav", ".mp4", ".npy")) for path in wanted)
        assert re.search("come as the whole file, which (has|ends)", report.as_text())
        server.amend = lambda query, answer: answer
        assert download(selection, source, tmp_path / "copy").exit_code == 0
        assert files(tmp_path / "copy") == wanted


def test_a_host_that_compresses_unasked_and_tells_no_size_is_copied_all_the_same(small, tmp_path):
    def amend(query, answer):
        if query.method == "HEAD":
            return answer.with_headers(Content_Length=None, Transfer_Encoding="chunked")
        if query.path.endswith((".jsonl", ".csv")) and answer.status == 200:
            return answer.with_body(gzip.compress).with_headers(Content_Encoding="gzip")
        return answer

    with serving(small, "bucket", amend=amend) as (source, selection, wanted, _):
        report = download(selection, source, tmp_path / "copy")
    assert report.exit_code == 0, report.as_text()
    assert files(tmp_path / "copy") == wanted


def test_a_host_that_refuses_everything_is_said_to(small, tmp_path):
    with Bucket(small / "tree") as bucket:
        planned = plan(Selection("full", modalities=TEXT), bucket.url, tmp_path / "copy")
        bucket.forbid_all = True
        with pytest.raises(AccessDenied, match="does not let you in"):
            copying.carry_out(planned)
        bucket.forbid_all = False
        assert download(Selection("full", modalities=TEXT), bucket.url, tmp_path / "copy").exit_code == 0


@pytest.mark.parametrize("kind", ["bucket", "members", "tars"])
def test_a_page_is_no_file(small, tmp_path, kind):
    with serving(small, kind) as (source, selection, wanted, server):
        planned = plan(selection, source, tmp_path / "copy")
        server.error_page = is_payload
        with suppress(SourceUnreachable):
            assert copying.carry_out(planned, workers=4).exit_code == 3
        assert not files(tmp_path / "copy")
        server.error_page = None
        assert download(selection, source, tmp_path / "copy").exit_code == 0
    assert files(tmp_path / "copy") == wanted


def test_a_host_that_goes_is_given_up_and_the_next_run_completes(small, tmp_path):
    came = []
    with Bucket(small / "tree", failures={lambda path: is_payload(path) and len(came) > 20: [500] * 5}) as bucket:
        bucket.on_request = came.append
        with pytest.raises(SourceUnreachable, match=r"Files already downloaded are kept"):
            download(FULL, bucket.url, tmp_path / "copy", workers=2)
        whole = files(tmp_path / "copy")
        came.clear()
        bucket.failures.clear()
        bucket.clear()
        assert download(FULL, bucket.url, tmp_path / "copy").exit_code == 0
        again = {request.path.lstrip("/") for request in bucket.requests}
    assert whole and not again & whole.keys()
    assert files(tmp_path / "copy") == files(small / "tree")


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_said_to_be_and_what_came_stays(small, tmp_path, monkeypatch, kind):
    left = [300_000]

    class Full:
        """A file on a disk with so many bytes left."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def write(self, data):
            left[0] -= len(data)
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._file.write(data)

    from seamless_interaction.download import fetching

    create = fetching.create
    with serving(small, kind) as (source, selection, wanted, _):
        with monkeypatch.context() as patched:
            patched.setattr(fetching, "create", lambda *args: Full(create(*args)))
            with pytest.raises(NotEnoughSpace, match="Make room and run it again"):
                download(selection, source, tmp_path / "copy", workers=2)
        assert all(wanted[path] == content for path, content in files(tmp_path / "copy").items())
        assert download(selection, source, tmp_path / "copy").exit_code == 0
    assert files(tmp_path / "copy") == wanted


# --- runs that end early --------------------------------------------------------------------------

RUN = """
import sys
from seamless_interaction.download import Selection, download
print("go", flush=True)
sys.exit(download(Selection("full"), sys.argv[1], sys.argv[2], workers=4).exit_code)
"""


def start(url, target):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, url, str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hears_interrupts,
    )
    process.stdout.readline()
    return process


# A child for each line, as an interpreter of its own takes seconds to start; its id, and its end.
FORKED = """
import os, sys
from seamless_interaction.download import Selection, download, plan
plan(Selection("full"), sys.argv[1], sys.argv[2])  # whatever is imported late
print("go", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        os._exit(download(Selection("full"), sys.argv[1], sys.argv[2], workers=4).exit_code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_kills_at_any_moment_do_no_harm(small, tmp_path):
    wanted = files(small / "tree")
    target, chance, kills = tmp_path / "copy", random.Random(1), 0
    with Bucket(small / "tree", chunk=1 << 12, pause=0.001) as bucket:
        command = [sys.executable, "-c", FORKED, bucket.url, str(target)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:
            forks.stdout.readline()
            while len(known := files(target)) < len(wanted) - 24:  # more than are asked for before the kill
                asked = threading.Semaphore(0)
                bucket.on_request = lambda path, asked=asked: is_payload(path) and asked.release()
                bucket.clear()
                forks.stdin.write("\n")
                forks.stdin.flush()
                child = int(forks.stdout.readline())
                for _ in range(chance.randint(4, 22)):
                    asked.acquire()
                time.sleep(chance.uniform(0, 0.01))  # so that it is killed in the midst of whatever follows
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                assert int(forks.stdout.readline()) in (-signal.SIGKILL, 0)
                kills += 1
                now = files(target)
                assert known.items() <= now.items() <= wanted.items()
                assert not {request.path.lstrip("/") for request in bucket.requests} & known.keys()
        assert forks.returncode == 0
        bucket.pause = 0
        bucket.clear()
        assert download(FULL, bucket.url, target).exit_code == 0
        assert not {request.path.lstrip("/") for request in bucket.requests} & known.keys()
    assert kills > 2 and files(target) == wanted and verify(target).exit_code == 0


def test_an_interrupt_is_heeded_while_a_host_is_silent_and_another_run_refused_meanwhile(small, tmp_path):
    target = tmp_path / "copy"
    with Bucket(small / "tree", failures={is_payload: ["stall"]}) as bucket:
        process = start(bucket.url, target)
        while not (target / ".partial").exists():
            time.sleep(0.02)
        with pytest.raises(FolderBusy, match="another run is writing"):
            download(FULL, bucket.url, target)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=50)  # a stalled body alone would take 60 s
        assert process.returncode
        bucket.failures.clear()
        assert download(FULL, bucket.url, target).exit_code == 0
    assert files(target) == files(small / "tree")


def test_a_file_system_without_locks_is_written_to_and_named(small, tmp_path, monkeypatch, caplog):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", mock.Mock(side_effect=OSError(errno.EOPNOTSUPP, "no locks")))
    assert download(Selection("full", modalities=("vad",)), small / "tree", tmp_path / "copy").exit_code == 0
    assert any("without locks" in message for message in warnings(caplog))


def test_of_two_runs_started_together_each_ends_well_or_is_refused(small, tmp_path):
    ends = []

    def run(url):
        try:
            ends.append(download(FULL, url, tmp_path / "copy", workers=2).exit_code)
        except FolderBusy:
            ends.append("busy")

    with Bucket(small / "tree", latency=0.01) as bucket:
        threads = [threading.Thread(target=run, args=(bucket.url,)) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        asked = [request.path for request in bucket.requests if is_payload(request.path) and request.sent_bytes > 500]
    assert 0 in ends and set(ends) <= {0, "busy"}
    assert len([path for path in asked if path.endswith(".wav")]) == len(list((small / "tree").rglob("*.wav")))
    assert files(tmp_path / "copy") == files(small / "tree")


# --- ill will -------------------------------------------------------------------------------------


def test_names_of_a_listing_lead_nowhere_else(small, tmp_path):
    names = [
        "../../evil.tar",
        "/etc/evil.tar",
        "improvised/dev/../../../evil.tar",
        "improvised/dev/CON.tar",
        "C:\\e.tar",
    ]
    extra = [{"type": "file", "path": name, "size": 5, "oid": "0" * 40} for name in names]
    with Hub(small / "archives", lfs_above=0, extra_entries=extra) as hub, use_hub(hub):
        filelist = small / "archives" / "filelist.csv"
        assert download(FULL, "hub", tmp_path / "a" / "b" / "copy", filelist=filelist).exit_code == 0
    assert files(tmp_path / "a" / "b" / "copy") == files(small / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not [path for path in tmp_path.rglob("*") if path.stem in ("evil", "CON", "e")]
    assert json.loads((tmp_path / "a/b/copy/manifest.jsonl").read_text().splitlines()[0])


# --- hostile containers ---------------------------------------------------------------------------


def replaced(folder, recording, **members):
    """Rewrite members of a bundle, by extension; a function gets the old bytes."""
    base = folder / recording.label / recording.split / f"{recording.batch_idx:04d}" / f"{recording.archive_idx:04d}"
    for extension, change in members.items():
        path = base / f"{recording.file_id}.{extension}"
        path.write_bytes(change(path.read_bytes()))


def with_member(npz, name, content):
    """An NPZ with one member's content exchanged."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, content if member == name else old.read(member))
        new.writestr("../../evil.npy", b"evil")
    return changed.getvalue()


def test_a_member_that_inflates_beyond_its_header_is_damaged_and_takes_no_space(tmp_path):
    corpus = synthesize(tmp_path / "bundles", "bundles", 1, 2.0)
    recording = corpus.recordings[0]
    stream = io.BytesIO()
    np.save(stream, np.zeros((1, 3), np.float32))
    bomb = stream.getvalue() + bytes(1 << 26)
    replaced(tmp_path / "bundles", recording, npz=lambda npz: with_member(npz, "smplh:translation.npy", bomb))
    report = download(FULL, tmp_path / "bundles", tmp_path / "copy")
    (problem,) = report.problems
    assert (problem["part"], problem["status"]) == ("smplh:translation", "damaged") and "inflates" in problem["detail"]
    assert report.exit_code == 0 and not list(tmp_path.rglob("*evil*"))
    assert sum(path.stat().st_size for path in (tmp_path / "copy").rglob("*") if path.is_file()) < 1 << 25
    assert plan(FULL, tmp_path / "bundles", tmp_path / "copy").files["fetch"] == 0  # nor is it fetched for ever


def before_its_start(npz):
    """The end of the directory says that it lies 8 bytes further on, so that the first member begins at byte -8."""
    return npz[:-6] + (int.from_bytes(npz[-6:-2], "little") + 8).to_bytes(4, "little") + npz[-2:]


def encrypted(npz):
    """All members are, by their flags."""
    return re.sub(rb"(PK\x01\x02.{4})\x00", b"\\1\x01", npz, flags=re.DOTALL)


@pytest.mark.parametrize("spoil, reason", [(before_its_start, "from byte -8 on"), (encrypted, "encrypted")])
def test_members_that_cannot_be_where_the_directory_says_are_damaged_and_the_rest_is_whole(tmp_path, spoil, reason):
    corpus = synthesize(tmp_path / "bundles", "bundles", 1, 2.0)
    recording = corpus.recordings[0]
    replaced(tmp_path / "bundles", recording, npz=spoil)
    report = download(FULL, tmp_path / "bundles", tmp_path / "copy")
    assert {(problem["file_id"], problem["status"]) for problem in report.problems} == {(recording.file_id, "damaged")}
    assert {problem["part"] for problem in report.problems} == set(recording.array_keys)
    assert any(reason in problem["detail"] for problem in report.problems)
    assert report.files["whole"] and report.exit_code == 0
    make_index(Place(tmp_path / "bundles"), tmp_path / "index.parquet")
    for options in {}, {"index": tmp_path / "index.parquet"}:
        loaded = load_dataset("full", data_dir=tmp_path / "bundles", streaming=True, **options)
        (record,) = (row for part in loaded.values() for row in part if row["id"] == recording.file_id)
        assert {i["column"] for i in record["issues"] if i["code"] != "absent"} >= set(recording.array_keys)


def test_broken_json_of_a_bundle_is_damaged_and_the_rest_is_whole(tmp_path):
    corpus = synthesize(tmp_path / "bundles", "bundles", 1, 2.0)
    recording = corpus.recordings[0]
    replaced(tmp_path / "bundles", recording, json=lambda text: text[:-5])
    report = download(FULL, tmp_path / "bundles", tmp_path / "copy")
    assert {(problem["part"], problem["status"]) for problem in report.problems} >= {("vad", "damaged")}
    assert report.files["whole"] and report.exit_code == 0


def test_a_member_that_declares_more_than_its_archive_has_is_damaged(tmp_path):
    corpus = synthesize(tmp_path / "archives", "archives", 1, 2.0)
    recording = corpus.recordings[0]
    tar = tmp_path / "archives" / recording.label / recording.split
    tar = tar / f"{recording.batch_idx:04d}" / f"{recording.archive_idx:04d}.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content) * 2 // 3])
    report = download(FULL, tmp_path / "archives", tmp_path / "copy")
    assert report.files["damaged"] + report.files["missing"] and report.files["whole"]
    everything = [json.loads(line) for line in (tmp_path / "copy" / "manifest.jsonl").read_text().splitlines()]
    assert any("declares" in line.get("detail", "") for line in everything)


@pytest.mark.parametrize("layout", ["tree", "bundles"])
def test_json_that_holds_no_record_of_its_kind_is_no_voice_activity(tmp_path, layout):
    recording = synthesize(tmp_path / layout, layout, 1, 2.0).recordings[0]
    refusal = {"error": "login required"}
    if layout == "tree":
        vad = tmp_path / "tree" / tree_path(recording.label, recording.split, "vad", recording.file_id)
        vad.write_text(json.dumps(refusal) + "\n")
    else:
        replaced(
            tmp_path / "bundles",
            recording,
            json=lambda text: json.dumps({**json.loads(text), "metadata:vad": [refusal]}).encode(),
        )
    report = download(Selection("full", modalities="vad"), tmp_path / layout, tmp_path / "copy")
    (problem,) = report.problems
    assert problem["status"] == "damaged" and "record 1" in problem["detail"]
