"""A publication that goes to the Hub, by the real clients, and whatever may come in between."""

import hashlib
import random
import sys
import time

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import Answer, Hub, use_hub

from seamless_interaction.errors import (
    ForeignFiles,
    HeadMoved,
    HubRefused,
    IncompletePublication,
    InvalidRepository,
    NotLoggedIn,
    NoWriteAccess,
    SourceUnreachable,
    UsageError,
    WrongVisibility,
)
from seamless_interaction.publishing import hub as hub_module
from seamless_interaction.publishing.publication import Publication
from seamless_interaction.publishing.pushing import STUB, push

module = sys.modules[push.__module__]  # the package has a function of its name

REPO, TOKEN = "me/seamless-interaction", "hf_write"
COMMIT = "/commit/main"
CARD = """\
---
configs:
- config_name: 10GB
  data_files:
  - split: train
    path: data/10GB/train-*.parquet
---
# Data
"""
SHARD, OTHER, VIDEO, TABLE = (
    "data/10GB/train-00000-of-00002.parquet",
    "data/10GB/train-00001-of-00002.parquet",
    "video/10GB/V00_S0001_I00000001_P0001.mp4",
    "tables/filelist.csv",
)
DATA = sorted([SHARD, OTHER, VIDEO, TABLE])


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Nobody waits for long: neither we, nor the client before it tries again."""
    wait = time.sleep
    monkeypatch.setattr(hub_module, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("time.sleep", lambda seconds: wait(min(seconds, 0.01)))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def folder(tmp_path):
    randbytes = random.Random(1).randbytes
    folder = tmp_path / "publication"
    write(folder, VIDEO, randbytes(9_000))
    write(folder, TABLE, b"file_id\nV00_S0001_I00000001_P0001\n")
    write(folder, "README.md", CARD.encode())
    write(folder, ".publish/state.json", b"{}")
    for path, value in ((SHARD, 1), (OTHER, 2)):
        write_shard(folder, path, value)
    write_manifest(folder)
    return folder


def write(folder, path, content):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def write_shard(folder, path, value):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"value": [value]}), folder / path)


def write_manifest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".publish" not in path.parts)
    files = [path for path in files if path.name != "manifest.parquet"]
    table = {
        "file": [path.relative_to(folder).as_posix() for path in files],
        "bytes": pa.array([path.stat().st_size for path in files], pa.int64()),
        "sha256": [sha256(path) for path in files],
        "rows": [0 for _ in files],
    }
    pq.write_table(pa.table(table), folder / "manifest.parquet")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def make_hub(tmp_path):
    """A Hub that takes our token, and its folder."""

    def make(**options):
        return Hub(tmp_path / "hub", REPO, **{"token": TOKEN, "exists": False, "lfs_above": 4_000, **options})

    return make


@pytest.fixture
def hub(make_hub):
    with make_hub() as hub, use_hub(hub):
        yield hub


def send(folder, **options):
    return push(folder, REPO, token=TOKEN, **options)


def held(hub):
    """SHA-256 by path of what the repository has."""
    files = sorted(path for path in hub.root.rglob("*") if path.is_file())
    return {path.relative_to(hub.root).as_posix(): sha256(path) for path in files if path.name != ".gitattributes"}


def published(folder):
    files = {path: sha256(folder / path) for path in [*DATA, "README.md", "manifest.parquet"]}
    return dict(sorted(files.items()))


def puts(hub):
    """What came to the store of large files."""
    return [request.path.rsplit("/", 1)[1] for request in hub.storage.requests if request.method == "PUT"]


def commit_elsewhere(hub, path="notes.txt", content=b"mine"):
    """Somebody else's commit."""
    operation = huggingface_hub.CommitOperationAdd(path, content)
    api = huggingface_hub.HfApi(token=TOKEN)
    return api.create_commit(REPO, [operation], commit_message="theirs", repo_type="dataset").oid


def on_commit(hub, number, do):
    """Do something when the n-th commit is about to be made."""
    count = [0]

    def look(path):
        if path.endswith(COMMIT):
            count[0] += 1
            if count[0] == number:
                do()

    hub.on_request = look


# --- what arrives


def test_a_fresh_push_creates_the_repository_and_sends_all_that_the_manifest_lists(hub, folder):
    report = send(folder)
    assert held(hub) == published(folder)
    assert report.as_dict() == {
        "url": f"{hub.url}/datasets/{REPO}",
        "created": True,
        "commits": 2,
        "files_sent": 6,
        "bytes_sent": sum((folder / path).stat().st_size for path in published(folder)),
        "files_there": 0,
        "deleted": 0,
        "commit": hub.commit,
        "dry_run": False,
    }
    assert not hub.private
    assert "6 files" in report.as_text() and "was created" in report.as_text() and hub.commit in report.as_text()


def test_what_was_pushed_loads_and_nothing_loads_before_the_last_commit(make_hub, folder, tmp_path):
    import datasets

    def load(*config):
        cache = tmp_path / f"cache-{len(hub.commits)}"
        return datasets.load_dataset(REPO, *config, split="train", cache_dir=str(cache), token=TOKEN)

    failures = {COMMIT: [None, 403]}
    with make_hub(failures=failures) as hub, use_hub(hub):
        with pytest.raises(NoWriteAccess):
            send(folder)
        assert held(hub).keys() == {*DATA, "README.md"}
        for config in ([], ["10GB"]):
            with pytest.raises(FileNotFoundError):  # DataFilesNotFoundError
                load(*config)
        send(folder)
        assert load("10GB")["value"] == [1, 2]


def test_a_second_push_makes_no_commit_and_sends_nothing(hub, folder):
    send(folder)
    head = hub.commit
    hub.clear()
    hub.storage.clear()
    report = send(folder)
    assert (report.commits, report.files_sent, report.bytes_sent, report.files_there) == (0, 0, 0, 6)
    assert report.commit == hub.commit == head
    assert not report.created
    assert {request.method for request in hub.requests} == {"GET"} and not hub.storage.requests


def test_a_push_that_was_stopped_sends_only_the_rest(make_hub, folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILES", 1)
    with make_hub(failures={COMMIT: [None, None, 403]}) as hub, use_hub(hub):
        with pytest.raises(NoWriteAccess):
            send(folder)
        assert [path for commit in hub.commits for path in commit.added] == [DATA[0], "README.md", DATA[1]]
        hub.storage.clear()
        report = send(folder)
        assert (report.files_there, report.files_sent, report.commits) == (2, 4, 3)
        assert [commit.added for commit in hub.commits[2:4]] == [(DATA[2],), (DATA[3],)]  # the stub is there already
        # What was sent for the commit that failed is at the Hub already.
        assert set(puts(hub)) == {sha256(folder / path) for path in (VIDEO, "manifest.parquet")}
        assert held(hub) == published(folder)


def test_card_and_manifest_come_last_and_together(hub, folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILES", 2)
    send(folder)
    *first, last = hub.commits
    assert last.added == ("README.md", "manifest.parquet")
    for commit in first:
        assert "manifest.parquet" not in commit.tree
        assert commit.tree["README.md"] == hashlib.sha256(STUB).hexdigest()
    assert [path for commit in first for path in commit.added if path != "README.md"] == DATA


@pytest.mark.parametrize(("files", "size", "expected"), [(2, 10**9, [2, 2]), (100, 10_000, [3, 1]), (100, 1, [1] * 4)])
def test_commits_are_bounded(hub, folder, monkeypatch, files, size, expected):
    monkeypatch.setattr(module, "MAX_FILES", files)
    monkeypatch.setattr(module, "MAX_BYTES", size)
    plan = send(folder, dry_run=True)
    report = send(folder)
    assert plan.commits == report.commits == len(hub.commits) == len(expected) + 1
    assert [len({*commit.added} - {"README.md"}) for commit in hub.commits[:-1]] == expected


def test_every_commit_names_its_parent(hub, folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILES", 2)
    send(folder)
    assert [commit.parent for commit in hub.commits[1:]] == [commit.id for commit in hub.commits[:-1]]


def test_a_large_file_goes_in_parts(make_hub, folder):
    with make_hub(parts_above=4_000) as hub, use_hub(hub):
        send(folder)
        assert held(hub) == published(folder)
        assert puts(hub).count("3") == 1


def test_nothing_goes_by_xet(hub, folder):
    send(folder)
    assert not [request for request in hub.requests if "xet-" in request.path]
    assert any(request.path.endswith("objects/batch") for request in hub.requests)


def test_progress_is_told_of_every_file_and_byte(hub, folder, capfd):
    class Meter:
        begun, num_bytes, files = None, 0, 0

        def begin(self, files, num_bytes):
            self.begun = files, num_bytes

        def came(self, num_bytes):
            self.num_bytes += num_bytes

        def done(self, expected):
            self.files += 1

    meter = Meter()
    report = send(folder, progress=meter)
    assert meter.begun == (meter.files, meter.num_bytes) == (report.files_sent, report.bytes_sent)
    assert "%|" not in capfd.readouterr().err  # no bars of the client's beside ours
    assert not huggingface_hub.utils.are_progress_bars_disabled()


# --- what was there before


def test_an_addition_leaves_the_old_card_and_tables_until_the_end(hub, folder):
    recordings, more = "data/recordings/train-00000-of-00001.parquet", "data/100GB/train-00000-of-00001.parquet"
    write_shard(folder, recordings, 1)
    write_manifest(folder)
    send(folder)
    before = held(hub)
    for path, value in ((recordings, 2), (more, 3)):
        write_shard(folder, path, value)
    for path in (TABLE, "README.md"):
        write(folder, path, (folder / path).read_bytes() + b"more\n")
    write_manifest(folder)
    hub.commits.clear()
    report = send(folder)
    first, last = hub.commits
    assert first.added == (more,)
    assert {path: sha for path, sha in first.tree.items() if path in before} == before
    assert {*last.added} == {"README.md", "manifest.parquet", recordings, TABLE}
    assert held(hub) == {path: sha256(folder / path) for path in sorted([*published(folder), recordings, more])}
    assert report.files_there == 3


def test_a_table_of_recordings_in_another_number_of_files_takes_the_place_of_the_old_one(hub, folder):
    """Unasked, since it is made of the shards; and the old card has its own until the end."""
    old, new = (f"data/recordings/train-00000-of-0000{number}.parquet" for number in (1, 2))
    write_shard(folder, old, 1)
    write_manifest(folder)
    send(folder)
    (folder / old).rename(folder / new)
    write_manifest(folder)
    hub.commits.clear()
    report = send(folder)
    assert "README.md" not in hub.commits[0].added and old in hub.commits[-1].deleted
    assert report.deleted == 1 and held(hub) == {
        path: sha256(folder / path) for path in sorted([*published(folder), new])
    }


def test_replacing_a_file_takes_the_card_away_first(hub, folder):
    send(folder)
    write_shard(folder, SHARD, 9)
    write_manifest(folder)
    hub.commits.clear()
    report = send(folder)
    first, last = hub.commits
    assert first.added == (SHARD, "README.md")
    assert first.tree["README.md"] == hashlib.sha256(STUB).hexdigest()
    assert {*last.added} == {"README.md", "manifest.parquet"}  # the card too, although it is as it was
    assert held(hub) == published(folder)
    assert (report.files_sent, report.files_there) == (3, 3)


def test_a_new_card_alone_needs_no_stub(hub, folder):
    send(folder)
    write(folder, "README.md", f"{CARD}\nCorrected.\n".encode())
    write_manifest(folder)
    hub.commits.clear()
    send(folder)
    assert [commit.added for commit in hub.commits] == [("README.md", "manifest.parquet")]


def test_files_of_another_publication_are_refused_and_nothing_is_uploaded(hub, folder):
    send(folder)
    for number in range(7):
        commit_elsewhere(hub, f"data/old/{number}.parquet", b"x")
    before = held(hub)
    write_shard(folder, SHARD, 9)
    write_manifest(folder)
    with pytest.raises(ForeignFiles, match=r"7 files below data/ and video/.*data/old/0\.parquet.*…"):
        send(folder)
    assert held(hub) == before


def test_replace_deletes_them_in_the_last_commit(hub, folder):
    send(folder)
    commit_elsewhere(hub, "data/old.parquet", b"x")
    commit_elsewhere(hub, "video/old.mp4", b"x")
    write_shard(folder, SHARD, 9)
    write_manifest(folder)
    hub.commits.clear()
    report = send(folder, replace=True)
    assert report.deleted == 2 and "2 files deleted" in report.as_text()
    assert [commit.deleted for commit in hub.commits] == [(), ("data/old.parquet", "video/old.mp4")]
    assert "data/old.parquet" in hub.commits[0].tree
    assert held(hub) == published(folder)


def test_deleting_takes_the_card_away_first_if_other_files_come(hub, folder):
    send(folder)
    commit_elsewhere(hub, "data/10GB/train-00000-of-00001.parquet", b"x")
    more = "data/10GB/train-00002-of-00003.parquet"
    write_shard(folder, more, 3)
    write_manifest(folder)
    hub.commits.clear()
    send(folder, replace=True)
    assert hub.commits[0].added == (more, "README.md")
    assert hub.commits[0].tree["README.md"] == hashlib.sha256(STUB).hexdigest()


@pytest.mark.parametrize("path", [TABLE, VIDEO])
def test_a_file_of_the_same_size_is_told_by_its_content(hub, folder, path):
    send(folder)
    content = (folder / path).read_bytes()
    commit_elsewhere(hub, path, content[:-1] + bytes([content[-1] ^ 1]))
    assert held(hub) != published(folder)
    send(folder)
    assert held(hub) == published(folder)


def test_what_lies_elsewhere_is_left_alone(hub, folder):
    huggingface_hub.HfApi(token=TOKEN).create_repo(REPO, repo_type="dataset")
    commit_elsewhere(hub, "notes.txt")
    commit_elsewhere(hub, "database/x.parquet")
    send(folder, replace=True)
    assert {"notes.txt", "database/x.parquet"} < held(hub).keys()
    assert (hub.root / ".gitattributes").exists()


# --- dry run


def test_a_dry_run_changes_nothing_and_says_what_would_be(hub, folder):
    report = send(folder, dry_run=True)
    assert not hub.exists and not hub.commits
    assert {request.method for request in hub.requests} == {"GET"}
    assert (report.created, report.commits, report.files_sent, report.commit) == (True, 2, 6, None)
    assert "would be sent" in report.as_text() and "would be created" in report.as_text()
    real = send(folder).as_dict()
    assert {**report.as_dict(), "commit": hub.commit, "dry_run": False} == real


def test_a_dry_run_needs_no_token(hub, folder):
    assert push(folder, REPO, dry_run=True).created


def test_a_dry_run_names_deletions(hub, folder):
    send(folder)
    commit_elsewhere(hub, "data/old.parquet", b"x")
    report = send(folder, dry_run=True, replace=True)
    assert (report.deleted, report.commits, report.files_sent, report.created) == (1, 1, 0, False)
    assert "1 files would be deleted" in report.as_text()
    assert "data/old.parquet" in held(hub)


# --- the network


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("failure", ["lost", "reset", 503])
def test_a_commit_without_an_answer_is_made_once(make_hub, folder, monkeypatch, number, failure):
    monkeypatch.setattr(module, "MAX_FILES", 2)
    failures = {COMMIT: [None] * (number - 1) + [failure]}
    with make_hub(failures=failures) as hub, use_hub(hub):
        report = send(folder)
        assert len(hub.commits) == report.commits == 3
        assert held(hub) == published(folder)
        assert report.commit == hub.commit


def test_a_push_that_died_with_the_answer_has_nothing_left_to_do(make_hub, folder, monkeypatch):
    with make_hub(failures={COMMIT: [None, "lost"]}) as hub, use_hub(hub):
        with monkeypatch.context() as patch:

            def killed(seconds):
                raise KeyboardInterrupt

            patch.setattr(hub_module, "sleep", killed)
            with pytest.raises(KeyboardInterrupt):
                send(folder)
        assert held(hub) == published(folder)
        assert send(folder).commits == 0
        assert len(hub.commits) == 2


def test_a_hub_that_keeps_failing_is_given_up(make_hub, folder):
    with make_hub(failures={COMMIT: [503] * 99}) as hub, use_hub(hub):
        with pytest.raises(SourceUnreachable, match=r"503.*Push again later to resume"):
            send(folder)
        assert not hub.commits
        assert len([request for request in hub.requests if request.path.endswith(COMMIT)]) == 3


@pytest.mark.parametrize(
    "path", ["/preupload/main", "/objects/batch", "/whoami-v2", "/api/datasets/" + REPO, "/create"]
)
@pytest.mark.parametrize("failure", ["reset", "lost", 502])
def test_other_requests_are_made_again(make_hub, folder, path, failure):
    with make_hub(failures={path: [failure]}) as hub, use_hub(hub):
        send(folder)
        assert held(hub) == published(folder)


@pytest.mark.parametrize("failure", ["reset", 500])
def test_an_upload_is_made_again(make_hub, folder, failure):
    failures = {lambda path: path.startswith("/objects/"): [failure]}
    with make_hub(failures=failures) as hub, use_hub(hub):
        send(folder)
        assert held(hub) == published(folder)
        assert len(puts(hub)) > len(set(puts(hub)))


def test_a_page_instead_of_an_answer_is_no_verdict_on_the_card(make_hub, folder):
    with make_hub(failures={"/validate-yaml": [502]}) as hub, use_hub(hub):
        send(folder)
        assert held(hub) == published(folder)


@pytest.mark.parametrize("path", [COMMIT, "/whoami-v2"])
def test_the_pause_that_the_hub_asks_for_is_made(make_hub, folder, monkeypatch, path):
    slept = []
    monkeypatch.setattr(hub_module, "sleep", slept.append)
    with make_hub(failures={path: [429, 429]}, retry_after=77) as hub, use_hub(hub):
        send(folder)
    assert slept == [77.0, 77.0]


def test_a_commit_that_is_made_after_it_was_given_up_counts(hub, folder, monkeypatch):
    answer, asked = hub.answer, []

    def late(query):
        if query.path.endswith(COMMIT):
            asked.append(query)
            if len(asked) == 1:
                return Answer(504, {})
            if len(asked) == 2:
                answer(asked[0])
        return answer(query)

    monkeypatch.setattr(hub, "answer", late)
    send(folder)
    assert [request.status for request in hub.requests if request.path.endswith(COMMIT)] == [504, 412, 200]
    assert held(hub) == published(folder)


def test_an_unreachable_hub_is_said_to_be(make_hub, folder):
    with make_hub() as hub, use_hub(hub):
        hub.failures = {lambda path: True: ["reset"] * 99}
        with pytest.raises(SourceUnreachable, match="cannot be reached"):
            send(folder)


def test_offline_is_said_to_be(hub, folder, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    getattr(huggingface_hub.utils, "reset_sessions", lambda: None)()
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        send(folder)


# --- others


def test_a_commit_of_somebody_else_stops_the_push(hub, folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILES", 2)
    on_commit(hub, 2, lambda: commit_elsewhere(hub))
    with pytest.raises(HeadMoved, match=r"somebody else has committed meanwhile.*push again to resume"):
        send(folder)
    hub.on_request = None
    report = send(folder)
    assert report.files_there == 2
    assert held(hub) == published(folder) | {"notes.txt": hashlib.sha256(b"mine").hexdigest()}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("path", [OTHER, "data/theirs.parquet", "README.md"])
def test_a_lost_answer_hides_no_commit_of_somebody_else(make_hub, folder, monkeypatch, path, number):
    with make_hub(failures={COMMIT: [None] * (number - 1) + ["lost"]}) as hub, use_hub(hub):

        def theirs(seconds):
            if len(hub.commits) == number:
                commit_elsewhere(hub, path, b"theirs")

        monkeypatch.setattr(hub_module, "sleep", theirs)
        with pytest.raises(HeadMoved):
            send(folder)


def test_what_somebody_else_deletes_before_the_card_comes_is_told_as_theirs(hub, folder):
    def delete(path):
        if path == f"/api/datasets/{REPO}" and len(hub.commits) == 1:
            hub.on_request = None
            operation = huggingface_hub.CommitOperationDelete(OTHER)
            api = huggingface_hub.HfApi(token=TOKEN)
            api.create_commit(REPO, [operation], commit_message="theirs", repo_type="dataset")

    hub.on_request = delete
    with pytest.raises(HeadMoved):
        send(folder)


def test_what_the_repository_ignores_is_told_before_the_card_comes(hub, folder, monkeypatch):
    answer = hub.answer

    def ignoring(query):
        found = answer(query)
        if "/preupload/" not in query.path:
            return found
        return found._replace(body=found.body.replace(b'"shouldIgnore": false', b'"shouldIgnore": true'))

    monkeypatch.setattr(hub, "answer", ignoring)
    with pytest.raises(HubRefused, match=r"4 files were committed and are not there.*\.gitignore"):
        send(folder)
    assert "manifest.parquet" not in held(hub)


# --- who may


def test_a_wrong_token_is_said_to_be(hub, folder):
    with pytest.raises(NotLoggedIn, match=r"the token that was given.*hf auth login.*HF_TOKEN") as caught:
        push(folder, REPO, token="hf_wrong")
    assert "hf_wrong" not in str(caught.value)
    assert len(hub.requests) == 1  # asking again would not help


def test_no_token_is_said_to_be(hub, folder):
    with pytest.raises(NotLoggedIn, match=r"takes a token.*hf auth login"):
        push(folder, REPO)
    assert not hub.requests


def test_the_token_of_the_environment_is_used(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    push(folder, REPO)
    assert held(hub) == published(folder)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(NotLoggedIn, match="the token in HF_TOKEN"):
        push(folder, REPO)


def test_a_token_for_reading_is_refused_at_once(make_hub, folder):
    with make_hub(read_token="hf_read") as hub, use_hub(hub):
        with pytest.raises(NoWriteAccess, match="may read only"):
            push(folder, REPO, token="hf_read")
        assert len(hub.requests) == 1


def test_somebody_elses_namespace_is_refused(hub, folder):
    with pytest.raises(NoWriteAccess, match="someone/data"):
        push(folder, "someone/data", token=TOKEN)


def test_a_repository_that_is_gated_is_not_taken_for_a_missing_one(hub, folder, monkeypatch):
    answer = hub.answer

    def gated(query):
        if query.path != f"/api/datasets/{REPO}":
            return answer(query)
        return Answer(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to it is restricted"})

    monkeypatch.setattr(hub, "answer", gated)
    with pytest.raises(NoWriteAccess, match="restricted"):
        send(folder)
    assert not hub.exists


def test_a_private_repository_is_created(hub, folder):
    send(folder, private=True)
    assert hub.private
    assert send(folder, private=True).commits == 0


def test_a_public_repository_does_not_do_for_a_private_push(make_hub, folder):
    with make_hub(exists=True) as hub, use_hub(hub):
        with pytest.raises(WrongVisibility, match=r"is public.*Nothing was uploaded"):
            send(folder, private=True)
        assert not hub.commits and not puts(hub)


# --- what is sent


@pytest.mark.parametrize("name", ["me/seamless_interaction", "me/my_seamless_interaction"])
def test_a_name_that_datasets_takes_for_a_script_is_refused(folder, name):
    with pytest.raises(InvalidRepository, match="datasets"):
        push(folder, name, token=TOKEN)


@pytest.mark.parametrize("name", ["data", "me/", "me/a/b", "me/a..b", ""])
def test_what_is_no_name_is_refused(folder, name):
    with pytest.raises(InvalidRepository, match="not a repository"):
        push(folder, name, token=TOKEN)


@pytest.mark.parametrize("path", [SHARD, TABLE])
def test_a_file_that_changed_since_is_not_committed(hub, folder, path):
    content = (folder / path).read_bytes()
    (folder / path).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IncompletePublication, match=r"its SHA-256 is \w+, and \w+ by manifest"):
        send(folder)
    assert not hub.commits


def test_a_small_file_that_changed_since_is_told_even_if_the_hub_has_it(hub, folder):
    send(folder)
    changed = (folder / TABLE).read_bytes()[:-1] + b" "
    (folder / TABLE).write_bytes(changed)
    commit_elsewhere(hub, TABLE, changed)
    with pytest.raises(IncompletePublication, match="filelist"):
        send(folder)


def test_a_file_of_another_size_is_told_before_any_request(hub, folder):
    (folder / VIDEO).write_bytes(b"x")
    with pytest.raises(IncompletePublication, match=r"has 1 bytes, and 9,000 by manifest"):
        send(folder)
    assert not hub.requests


def test_a_file_that_is_not_there_is_told_before_any_request(hub, folder):
    (folder / VIDEO).unlink()
    with pytest.raises(IncompletePublication, match=r"is in manifest.parquet, and not there"):
        send(folder)
    assert not hub.requests


@pytest.mark.parametrize("content", [None, b"", b"no Parquet"])
def test_a_folder_without_a_manifest_is_no_publication(folder, content):
    (folder / "manifest.parquet").unlink()
    if content is not None:
        write(folder, "manifest.parquet", content)
    with pytest.raises(IncompletePublication, match=r"manifest.parquet"):
        Publication(folder)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "data//x", "a\\b", ".git/config", "manifest.parquet"])
def test_a_manifest_names_nothing_outside_of_its_folder(folder, path):
    table = pa.table({"file": ["README.md", path], "bytes": [1, 1], "sha256": ["", ""]})
    pq.write_table(table, folder / "manifest.parquet")
    with pytest.raises(IncompletePublication, match="not the path of a file"):
        Publication(folder)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"file": ["README.md"]}, "is not a manifest"),
        ({"file": ["a", "a"], "bytes": [1, 1], "sha256": ["", ""]}, "twice"),
        ({"file": ["a"], "bytes": [1], "sha256": [""]}, "does not list README.md"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(folder, table, match):
    pq.write_table(pa.table(table), folder / "manifest.parquet")
    with pytest.raises(IncompletePublication, match=match):
        Publication(folder)


def test_a_card_that_the_hub_refuses_is_told(hub, folder):
    write(folder, "README.md", b"---\nconfigs: [\n---\n")
    write_manifest(folder)
    with pytest.raises(HubRefused, match=r"README\.md"):
        send(folder)
