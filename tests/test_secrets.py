"""What opens a source stays out of everything that is shown, written or published: passwords, signatures, headers."""

import base64
import json
import pickle
import traceback
from multiprocessing.reduction import ForkingPickler

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import Answer, Bucket, xml_error
from typer.testing import CliRunner

from seamless_interaction import SeamlessDataset, load_dataset, use_storage_options
from seamless_interaction.cli import app
from seamless_interaction.errors import AccessDenied, SourceUnreachable, UsageError
from seamless_interaction.places import options as options_of_places
from seamless_interaction.places import place
from seamless_interaction.places.place import Place
from seamless_interaction.publishing.plan import WORK
from seamless_interaction.source.layout import tree_path
from seamless_interaction.synthetic.writing import synthesize

PASSWORD, SIGNATURE, TOKEN, ELSEWHERE = "hunter2pass", "SIGSECRET", "HDRSECRET", "OTHERSECRET"
LOGIN = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, SIGNATURE, TOKEN, ELSEWHERE, LOGIN)


class Guarded(Bucket):
    """Opens for those who log in and sign; one recording's sound lies at a signed address, where it is refused."""

    def answer(self, query):
        if ELSEWHERE in query.target:
            return xml_error(self.status, "InternalError", f"of {query.target}")
        if query.headers.get("Authorization") != f"Basic {LOGIN}" or query.field("sig") != SIGNATURE:
            return xml_error(401, "Unauthorized", "who are you?")
        if query.path.endswith(f"{self.refused}.wav"):
            return Answer(302, {"Location": f"{self.origin}/elsewhere?X-Amz-Signature={ELSEWHERE}"})
        return super().answer(query)

    @property
    def address(self):
        return f"{self.url.replace('http://', f'http://user:{PASSWORD}@')}?sig={SIGNATURE}"


@pytest.fixture
def guarded(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)
    monkeypatch.setattr("seamless_interaction.places.options._options_of_places", {})
    monkeypatch.setattr(place, "ATTEMPTS", 2)
    folder = tmp_path_factory.mktemp("source") / "data"
    one, other, *_ = synthesize(folder, "tree", 6, 1.0).recordings
    (folder / tree_path(other.label, other.split, "vad", other.file_id)).write_bytes(b"damaged")
    with Guarded(folder) as bucket:
        bucket.refused, bucket.status = one.file_id, 403
        yield bucket


def text_of(path):
    """All that a file says, whatever it is packed in."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        columns = [field.name for field in file.schema_arrow if not isinstance(field.type, pa.BaseExtensionType)]
        content += repr((file.schema_arrow.metadata, file.read(columns).to_pylist())).encode()
    return content


def found_in(folder, words):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [
        (str(path.relative_to(folder)), word)
        for path in files
        for word in words
        if word.encode() in text_of(path) or word in path.name
    ]


# What is written depends on no version of `datasets`, and all commands together take 6 s.
@pytest.mark.skipif(int(datasets.__version__.split(".")[0]) < 5, reason="the same on every version")
def test_no_command_shows_or_writes_a_secret_or_publishes_a_path_of_this_machine(guarded, tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMLESS_INTERACTION_SOURCE", guarded.address)
    monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", guarded.address.replace("?", "/filelist.csv?"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    local, source, few = guarded.root, guarded.address, "--modalities vad,audio"
    lines = [
        (0, f"list --source {source}"),
        (0, f"list --source {source} --json"),
        (0, "sizes"),
        (0, f"stream --source {source} --subset full --limit 2 {few} --cache-dir {tmp_path}/ranges"),
        (0, f"download --source {source} --subset full {few} --output-dir {tmp_path}/copy --dry-run"),
        (3, f"download --source {source} --subset full {few} --output-dir {tmp_path}/copy --json"),
        (3, f"verify {tmp_path}/copy"),
        (1, f"verify {tmp_path}/copy --repair"),  # without the login, which is not kept
        (3, f"verify {tmp_path}/copy --repair --source {source}"),
        (0, f"index {source} --output {tmp_path}/index.parquet"),
        (0, f"check-source --source {source} --small --output {tmp_path}/report.json"),
        (0, f"publish --source {source} --subset full {few} --output {tmp_path}/published"),
        (3, f"publish --source {source} --subset full {few} --output {tmp_path}/raised --on-error raise"),
        (0, f"publish --source {local} --subset full {few} --output {tmp_path}/ours"),
        (0, f"features {source} --output {tmp_path}/features --groups dyadic"),
        (0, f"benchmark turn-taking --data {source} --output {tmp_path}/results.json"),
        (0, f"train imitator --data {source} --output {tmp_path}/run --steps 1 --batch-size 1 --workers 0"),
    ]
    assert {line.split()[0] for _, line in lines} == {
        command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands
    } - {"synthesize", "demo", "viewer"}
    for code, line in lines:
        guarded.status = 500 if "--dry-run" in line else 403
        result = CliRunner().invoke(app, line.split())
        assert result.exit_code == code, result.output
        assert not [secret for secret in SECRETS if secret in result.output], line
    assert found_in(tmp_path, SECRETS) == []
    published = found_in(tmp_path / "ours", [str(guarded.root)])
    assert not [name for name, _ in published if not name.startswith(WORK)]
    *_, entry = (tmp_path / "copy/manifest.jsonl").read_text().splitlines()
    assert json.loads(entry)["source"].startswith(guarded.url)


class Keyed(Bucket):
    """Opens for those whose requests have the header."""

    def answer(self, query):
        opened = query.headers.get("Authorization") == TOKEN
        return super().answer(query) if opened else xml_error(401, "Unauthorized", "who are you?")


def test_options_are_never_saved_and_reach_the_processes_of_a_run(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr("seamless_interaction.places.options._options_of_places", {})
    options = {"headers": {"Authorization": TOKEN}}
    with Keyed(corpora["tree"][0]) as bucket:
        monkeypatch.setenv("SEAMLESS_INTERACTION_FILELIST", f"{corpora['tree'][0]}/filelist.csv")
        dataset = load_dataset(
            "full",
            "test",
            data_dir=bucket.url,
            modalities=["audio"],
            storage_options=options,
            cache_dir=str(tmp_path / "cache"),
        )
        expected = dataset[0]["audio"]["array"]
        dataset.select_columns(["id"]).save_to_disk(tmp_path / "saved")  # `datasets` would read the sound without key
        pickled = pickle.dumps(dataset)
        assert TOKEN not in repr((dataset, dataset.format, dataset.info))
        assert TOKEN.encode() not in pickled + pickle.dumps(dataset[0]["audio"])
        (sound, *_) = SeamlessDataset(bucket.url, "test", storage_options=options)[0].audio.values()
        assert TOKEN.encode() not in pickle.dumps(sound)
        assert found_in(tmp_path, [TOKEN]) == []

        to_worker = [bytes(ForkingPickler.dumps(one)) for one in (dataset, dataset[0]["audio"])]
        for find in (lambda: pickle.loads(to_worker[0])[0]["audio"], lambda: pickle.loads(to_worker[1])):
            options_of_places._options_of_places.clear()
            np.testing.assert_array_equal(find()["array"], expected)

        options_of_places._options_of_places.clear()
        saved = pickle.loads(pickled)
        with pytest.raises(AccessDenied, match="use_storage_options"):
            saved[0]["audio"]["array"]
        use_storage_options(bucket.url, options)
        np.testing.assert_array_equal(saved[0]["audio"]["array"], expected)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://user:pass@host/a/b?sig=1&x=2 403", "GET https://host/a/b 403"),
        ("url='https://host/a?sig=x/y@z', tried", "url='https://host/a', tried"),
        ("hf://datasets/me/data@main/a.csv is whole? Yes.", "hf://datasets/me/data@main/a.csv is whole? Yes."),
        ("/a/local?path@home", "/a/local?path@home"),
    ],
)
def test_a_text_is_shown_without_users_and_queries(text, shown):
    assert options_of_places.redacted(text) == shown


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ftp://ann:s3cret@127.0.0.1:1/data", SourceUnreachable),
        ("simplecache::https://ann:s3cret@127.0.0.1/data", UsageError),
        ("filecache::https://127.0.0.1/data?signature=s3cret", UsageError),
        ("nosuch://ann:s3cret@127.0.0.1/data", SourceUnreachable),
    ],
)
def test_addresses_of_other_kinds_are_shown_without_their_secrets(url, error):
    with pytest.raises(error, match=r"127\.0\.0\.1") as raised:
        Place(url)
    shown = "".join(traceback.format_exception(raised.value))
    assert "s3cret" not in shown, shown
