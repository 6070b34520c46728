"""Hosts that answer wrongly for a while: an error at the time, and nothing of it is kept and believed afterwards."""

import json
from contextlib import nullcontext

import datasets
import pytest
from conftest import pairs, tar_of
from servers import HTML, Answer, Bucket
from typer.testing import CliRunner

from seamless_interaction import SeamlessDataset, load_dataset
from seamless_interaction.cli import app
from seamless_interaction.download import Selection, download
from seamless_interaction.errors import SeamlessInteractionError, SourceChanged, SourceError
from seamless_interaction.places import cache
from seamless_interaction.places.place import Place
from seamless_interaction.places.range_cache import kept_in
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.writing import synthesize

LOGIN = b'{"error": "login required"}'
PARTS = ("vad", "transcript", "smplh:is_valid")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing kept by another test, and no long waits."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small tree, with an index beside it."""
    folder = tmp_path_factory.mktemp("source") / "data"
    synthesize(folder, "tree", interactions=2, seconds=2.0, seed=3)
    make_index(Place(folder), folder / "index.parquet")
    return folder


def records(url, parts=PARTS, **options):
    """By id: what a stream gives of these parts, and what is wrong with them."""
    splits = load_dataset("full", data_dir=url, modalities=[*parts, "context"], streaming=True, **options)
    found = {}
    for split in splits.values():
        for record in split:
            values = [record[part] if ":" not in part else record["smplh"]["is_valid"].tolist() for part in parts]
            found[record["id"]] = json.dumps([values, record["prompt_text_a"], pairs(record)])
    return found


def of(*ends):
    """Whether a path ends so."""
    return lambda path: path.endswith(ends)


def body(content, **headers):
    return lambda query, answer, bucket: answer.with_body(lambda _: content).with_headers(**headers)


def half(query, answer, bucket):
    return answer if answer.status == 206 else answer.with_body(lambda whole: whole[: len(whole) // 2])


def half_of_the_lines(query, answer, bucket):
    lines = answer.with_body(lambda whole: b"".join(whole.splitlines(True)[: len(whole.splitlines()) // 2]))
    return answer if answer.status == 206 else lines


def part_of_it(query, answer, bucket):
    """Half of what was asked for, as if the file had no more."""
    found = answer.with_body(lambda some: some[: len(some) // 2])
    if answer.status == 206:
        start = int(answer.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
        end = start + len(found.body)
        found = found.with_headers(Content_Range=f"bytes {start}-{end - 1}/{end}")
    return found


def page(query, answer, bucket):
    return Answer(200, {"Content-Type": "application/octet-stream", "ETag": '"page"'}, HTML)


def another(name):
    """Another file of the folder, with everything that belongs to it."""

    def amend(query, answer, bucket):
        folder, _, own = query.path.rpartition("/")
        return bucket.honest(query._replace(target=f"{folder}/{name(own)}"))

    return amend


def the_next(query, answer, bucket):
    """The next file of the folder."""
    names = sorted(path.name for path in (bucket.root / query.path[1:]).parent.iterdir())
    return another(lambda own: names[(names.index(own) + 1) % len(names)])(query, answer, bucket)


def to_get(lie):
    return lambda query, answer, bucket: (
        answer if query.method == "HEAD" or answer.status >= 400 else lie(query, answer, bucket)
    )


TABLES = of(".csv")
TABLE_LIES = {
    "half": to_get(half),
    "half, by HEAD too": half,
    "half of the lines": to_get(half_of_the_lines),
    "a page": page,
    "a page, to GET only": to_get(page),
    "JSON": body(LOGIN, ETag='"login"'),
    "JSON, to GET only": to_get(lambda query, answer, bucket: Answer(200, {}, LOGIN)),
    "JSON under the file's ETag": body(LOGIN),
    "another table": another(lambda name: "participants.csv" if name != "participants.csv" else "filelist.csv"),
}


class Moody(Bucket):
    """Lies about some files, as long as it has a lie."""

    def __init__(self, folder, about, **options):
        super().__init__(folder, **options)
        self.about, self.lie, self.honest = about, None, super().answer

    def answer(self, query):
        answer = self.honest(query)
        return self.lie(query, answer, self) if self.lie and self.about(query.path) else answer


@pytest.mark.parametrize("lie", TABLE_LIES.values(), ids=TABLE_LIES)
def test_a_table_that_came_wrongly_is_an_error_and_not_kept(source, tmp_path, lie):
    truth = records(source)
    with Moody(source, TABLES) as bucket:
        bucket.lie = lie
        with pytest.raises(SourceError, match=r"\.csv"):
            records(bucket.url)
        with pytest.raises(SourceError, match=r"\.csv"):
            download(Selection("full", modalities="vad"), bucket.url, tmp_path / "copy")
        listed = CliRunner().invoke(app, ["list", "--source", bucket.url, "--json"])
        assert listed.exit_code and not listed.stdout
        bucket.lie = None
        assert records(bucket.url) == truth
        listed = CliRunner().invoke(app, ["list", "--source", bucket.url, "--json"])
        assert {json.loads(row)["file_id"] for row in listed.stdout.splitlines()} == truth.keys()


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a page": lambda content: HTML,
    "another's": lambda content: content[::-1],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_kept_of_tables_and_indexes_and_was_damaged_is_fetched_again(source, damage):
    with Bucket(source) as bucket:
        options = {"index": f"{bucket.url}/index.parquet"}
        truth = records(bucket.url, **options)
        for path in (path for path in cache.folder().rglob("*") if path.is_file()):
            path.write_bytes(damage(path.read_bytes()))
        bucket.clear()
        assert records(bucket.url, **options) == truth
        fetched = [request.path for request in bucket.requests if request.method == "GET"]
        assert "/index.parquet" in fetched and "/interactions.csv" in fetched
        bucket.clear()
        assert records(bucket.url, **options) == truth
        assert not {"/index.parquet", "/interactions.csv"} & {r.path for r in bucket.requests if r.method == "GET"}


@pytest.mark.parametrize("lie", [page, half, to_get(half), body(LOGIN), another(lambda name: "filelist.csv")])
def test_an_index_that_came_wrongly_is_an_error_and_not_kept(source, lie):
    with Moody(source, of("/index.parquet")) as bucket:
        options = {"index": f"{bucket.url}/index.parquet"}
        bucket.lie = lie
        with pytest.raises(SourceError, match=r"index\.parquet"):
            records(bucket.url, **options)
        bucket.lie = None
        assert records(bucket.url, **options) == records(source, index=source / "index.parquet")


RANGE_LIES = {
    "part of it": to_get(part_of_it),
    "part of it, by HEAD too": part_of_it,
    "a page": page,
    "a page, to GET only": to_get(page),
    "JSON": body(LOGIN, ETag='"login"'),
    "JSON, to GET only": to_get(lambda query, answer, bucket: Answer(200, {}, LOGIN)),
    "another file": the_next,
    "another file, to GET only": to_get(the_next),
    "zeros in its place": to_get(lambda query, answer, bucket: answer.with_body(lambda some: bytes(len(some)))),
}


@pytest.mark.parametrize("etags", ["mtime", None])
@pytest.mark.parametrize("lie", RANGE_LIES.values(), ids=RANGE_LIES)
def test_what_came_wrongly_of_recordings_does_not_last(source, tmp_path, lie, etags):
    truth = records(source)
    with Moody(source, of(".npy", ".jsonl"), etags=etags) as bucket:
        bucket.lie = lie
        with kept_in(tmp_path / "kept", 1 << 30):
            try:
                found = records(bucket.url)
            except SeamlessInteractionError:
                found = {}
        assert all(found[id] != truth[id] for id in found)  # what is wrong stands in their issues
        bucket.lie = None
        for _ in range(2):
            with kept_in(tmp_path / "kept", 1 << 30):
                assert records(bucket.url) == truth


@pytest.mark.parametrize("is_kept", [False, True])
def test_headers_of_a_tar_that_came_wrongly_are_looked_at_again(tmp_path, is_kept):
    folder = tmp_path / "data"
    recordings = synthesize(folder, "archives", interactions=2, seconds=2.0).recordings
    bad = tar_of(folder, recordings[0]).name
    truth = records(folder)
    with Moody(folder, of(bad)) as bucket:
        found = []
        for lie in (RANGE_LIES["zeros in its place"], None, None):
            bucket.lie = lie
            with kept_in(tmp_path / "kept", 1 << 30) if is_kept else nullcontext():
                found.append(records(bucket.url, layout="archives"))
        assert found[0] != truth and found[1:] == [truth, truth]


def test_windows_that_were_chosen_and_are_damaged_are_chosen_again(source):
    dataset = SeamlessDataset(source, split=next(iter(load_dataset("full", data_dir=source, streaming=True))))
    options = {"duration": 0.5, "modalities": ["vad"], "where": "speech >= 0"}
    count = len(dataset.windows(**options))
    for path in (cache.folder() / "windows").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    assert len(dataset.windows(**options)) == count > 0


# --- whose fault it is ----------------------------------------------------------------------------


def login(query, answer, bucket):
    return (
        Answer(200, {"ETag": '"login"', "Content-Type": "application/json"}, LOGIN) if answer.status < 400 else answer
    )


@pytest.mark.parametrize("modalities", [("vad", "transcript"), ("audio",), ("smplh:body_pose",)])
def test_one_message_for_all_files_is_the_hosts_and_asked_again(source, tmp_path, modalities):
    selection = Selection("full", modalities=modalities)
    with Moody(source, of(".npy", ".jsonl", ".wav")) as bucket:
        bucket.lie = login
        report = download(selection, bucket.url, tmp_path / "copy")
        assert report.exit_code == 3 and not report.files["damaged"] and not report.files["whole"]
        assert {problem["status"] for problem in report.problems} == {"failed"}
        assert not [path for part in ("vad", "transcript", "audio", "smplh") for path in tmp_path.rglob(f"{part}/*.*")]
        with pytest.raises(SourceError, match="same bytes"):
            for split in load_dataset("full", data_dir=bucket.url, modalities=modalities, streaming=True).values():
                list(split)
        bucket.lie = None
        report = download(selection, bucket.url, tmp_path / "copy")
        assert report.exit_code == 0 and report.files["whole"] and not report.files["failed"]


def test_text_that_ends_early_after_a_line_is_not_all_of_it(source, tmp_path):
    selection = Selection("full", modalities=("vad",))
    with Moody(source, of(".jsonl")) as bucket:
        bucket.lie = to_get(lambda query, answer, bucket: answer.with_body(lambda whole: whole + whole))
        report = download(selection, bucket.url, tmp_path / "copy")
        assert report.exit_code == 3 and report.files["failed"] == report.recordings
        bucket.lie = None
        assert download(selection, bucket.url, tmp_path / "copy").exit_code == 0


def test_what_a_host_lacks_while_it_lacks_all_is_not_absent_for_ever(source, tmp_path):
    selection = Selection("full", modalities=("vad", "transcript"))
    with Moody(source, of(".jsonl")) as bucket:
        bucket.lie = lambda query, answer, bucket: Answer(404, {}, b"")
        report = download(selection, bucket.url, tmp_path / "copy")
        assert report.exit_code == 3 and report.files["missing"] and report.files["absent"]
        bucket.lie = None
        reports = [download(selection, bucket.url, tmp_path / name) for name in ("copy", "another")]
    assert [report.exit_code for report in reports] == [0, 0]
    assert reports[0].files["whole"] == reports[1].files["whole"] > report.files["missing"]


def test_half_of_each_file_is_no_damage_to_a_reader_either(source):
    with Moody(source, of(".npy", ".wav")) as bucket:
        bucket.lie = to_get(part_of_it)
        with pytest.raises(SourceError, match=r"\.npy.*host said that it is one file"):
            records(bucket.url)


def test_where_all_is_damaged_a_download_was_no_success(source, tmp_path):
    folder = tmp_path / "data"
    one, *_ = synthesize(folder, "tree", interactions=1, seconds=2.0).recordings
    path = folder / tree_path(one.label, one.split, "audio", one.file_id)
    path.write_bytes(path.read_bytes()[:-100])
    with Bucket(folder) as bucket:
        report = download(
            Selection(file_ids=one.file_id, single=True, modalities="audio"), bucket.url, tmp_path / "copy"
        )
    assert report.files["damaged"] == 1 and report.exit_code == 3


def test_a_file_that_changes_between_two_parts_of_it_is_named(tmp_path):
    folder = tmp_path / "data"
    one, *_ = synthesize(folder, "tree", interactions=1, seconds=4.0).recordings
    dataset = {}

    def changed(query, answer, bucket):
        return answer.with_headers(ETag='"other"').with_body(lambda some: bytes(byte ^ 1 for byte in some))

    def window(start, modality):
        return dataset["at"].window(start=start, duration=0.2, modalities=[modality], fps=30)

    for ending, modality in ((".wav", "audio"), (".npy", "smplh:body_pose")):
        with Moody(folder, of(ending)) as bucket:
            dataset["at"] = SeamlessDataset(bucket.url, split=one.split).get_interaction(one.ids.interaction_id)
            before = window(0.0, modality)
            bucket.lie = to_get(changed)
            with pytest.raises(SourceChanged, match=rf"{one.file_id}\{ending}.*other"):
                window(0.5, modality)
            bucket.lie = None
            assert str(window(0.0, modality)) == str(before)
