"""The index: what it says is what is there, or it says that it is not; made in pieces, it is the same."""

import json
import os
import pickle
import shutil
import signal
import sys
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LAYOUTS, assert_same_arrays, pairs, tar_of, warnings
from servers import Bucket
from typer.testing import CliRunner

import seamless_interaction
from seamless_interaction import SAMPLING_RATE, SeamlessDataset, load_dataset
from seamless_interaction.cli import app
from seamless_interaction.errors import (
    BrokenIndex,
    SourceUnreachable,
    StaleIndex,
    UnreadableFile,
    UsageError,
)
from seamless_interaction.places.place import Place
from seamless_interaction.source import index as index_module
from seamless_interaction.source import indexing
from seamless_interaction.source import layout as layouts
from seamless_interaction.source.addresses import filelist_of
from seamless_interaction.source.index import SCHEMA, Index, write
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import EXTENSIONS, archive_paths
from seamless_interaction.source.listing import Listing
from seamless_interaction.source.recordings import Recording
from seamless_interaction.synthetic.writing import synthesize

KEY = "smplh:body_pose"
SMALL = ["audio", "transcript", KEY]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Each test indexes for itself."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Four interactions in tars, their index, and the corpus."""
    home = tmp_path_factory.mktemp("pristine")
    corpus = synthesize(home / "data", "archives", interactions=4, seconds=2.0)
    make_index(Place(home / "data"), home / "index.parquet", filelist_of(Place(home / "data")))
    return home, corpus


@pytest.fixture
def indexed(pristine, tmp_path):
    """Folder, an index to be broken, corpus."""
    home, corpus = pristine
    return home / "data", Path(shutil.copy(home / "index.parquet", tmp_path)), corpus


@pytest.fixture
def small(pristine, tmp_path):
    """The same, and the folder may be broken as well."""
    home, corpus = pristine
    shutil.copytree(home / "data", tmp_path / "data")
    return tmp_path / "data", index_of(tmp_path / "data", tmp_path / "index.parquet"), corpus


def index_of(folder, output):
    make_index(Place(folder), output, filelist_of(Place(folder)))
    return output


def load(folder, modalities=SMALL, **kwargs):
    splits = load_dataset("full", data_dir=folder, streaming=True, modalities=modalities, **kwargs)
    return {record["id"]: record for stream in splits.values() for record in stream}


# --- files that are no index, or no longer one ----------------------------------------------------


def truncated(index):
    index.write_bytes(index.read_bytes()[:-100])


def without_middle(index):
    content = bytearray(index.read_bytes())
    content[8 : len(content) // 3] = bytes(len(content) // 3 - 8)
    index.write_bytes(content)


def another_table(index):
    pq.write_table(pa.table({"file_id": ["V00_S0101_I00000081_P0202"]}), index)


def another_version(index):
    rewrite_metadata(index, version=1)


def other_columns(index):
    table = pq.read_table(index)
    pq.write_table(table.drop_columns(["duration"]), index)


def rewrite_metadata(index, **changes):
    table = pq.read_table(index)
    metadata = json.loads(table.schema.metadata[b"seamless_interaction"])
    metadata.update(changes)
    pq.write_table(table.replace_schema_metadata({b"seamless_interaction": json.dumps(metadata)}), index)


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda index: index.write_bytes(b"file_id,label\nV00,improvised\n"), "not an index"),
        (lambda index: index.write_bytes(b""), "not an index"),
        (truncated, "not an index"),
        (without_middle, "damaged|not an index"),
        (lambda index: index.write_bytes(index.read_bytes().replace(b"duration", b"durat\xffon")), "can't decode"),
        (another_table, "some other table"),
        (another_version, "of version 1, and this package reads 2"),
        (other_columns, "other columns"),
        (lambda index: rewrite_metadata(index, layout="zip"), "unknown layout"),
        (lambda index: rewrite_metadata(index, aliases={"improvised/dev/vad": "../../secret"}), "unknown layout"),
        (lambda index: rewrite_metadata(index, aliases=["vad"]), "not an index of recordings"),
        (lambda index: rewrite_metadata(index, url=None), "its metadata.url is None, no str"),
    ],
)
def test_what_is_no_index_is_named(indexed, spoil, why):
    folder, index, _ = indexed
    spoil(index)
    with pytest.raises(BrokenIndex, match=why) as caught:
        load(folder, index=index)
    assert str(index) in str(caught.value) and "seamless-interaction index" in str(caught.value)


def test_an_index_that_is_not_there_is_named(indexed, tmp_path):
    folder, _, _ = indexed
    with pytest.raises(SourceUnreachable, match=r"nowhere\.parquet"):
        load(folder, index=tmp_path / "nowhere.parquet")


def test_a_flipped_bit_of_where_something_lies_is_noticed(indexed):
    """Compressed numbers may well become other numbers, if nobody checks."""
    _, index, _ = indexed
    content = index.read_bytes()
    file = pq.ParquetFile(index)
    row_group = file.metadata.row_group(0)
    columns = [row_group.column(number) for number in range(row_group.num_columns)]
    chunk = next(column for column in columns if column.path_in_schema == "json.offset")
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    recordings = [recording_of(row) for row in Index(index).found.to_pylist()]
    expected = [Index(index).known(recording, ("vad",)).spans for recording in recordings]
    noticed = 0
    for at in range(start, start + chunk.total_compressed_size):
        index.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            damaged = Index(index)
            assert [damaged.known(recording, ("vad",)).spans for recording in recordings] == expected
        except BrokenIndex:
            noticed += 1
    assert noticed > chunk.total_compressed_size / 2


@pytest.mark.parametrize("at", range(6))
def test_a_flipped_bit_is_never_another_recording(indexed, at):
    folder, index, corpus = indexed
    content = bytearray(index.read_bytes())
    content[4 + (len(content) - 4) * at // 6] ^= 0x10
    index.write_bytes(content)
    try:
        records = load(folder, [KEY], index=index)
    except BrokenIndex as error:
        assert str(index) in str(error)
    else:
        for file_id, record in records.items():
            assert_same_arrays(record, corpus[file_id], [KEY])


# --- rows that cannot be --------------------------------------------------------------------------


def tamper(index, row, **changes):
    """Write another value into one row; of a span, into its fields."""
    table = pq.read_table(index)
    rows = table.to_pylist()
    for column, value in changes.items():
        rows[row][column] = {**rows[row][column], **value} if isinstance(value, dict) else value
    pq.write_table(pa.Table.from_pylist(rows, table.schema), index)
    return rows[row]["file_id"]


@pytest.fixture
def read_files(monkeypatch):
    """Every path that was opened."""
    found = set()

    def audit(path, *args, _open=open, **kwargs):
        found.add(os.path.abspath(path) if isinstance(path, (str, os.PathLike)) else path)
        return _open(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", audit)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "../.."},
        {"split": "../../etc"},
        {"file_id": "../../../etc/passwd"},
        {"file_id": "V00_S0101_I00000081_P0202\n"},
        {"file_id": None},
        {"batch_idx": -1},
        {"archive_idx": None},
        {"files": -1},
        {"npz": {"offset": -512}},
        {"npz": {"length": None}},
        {"json": {"offset": 2**63 - 1}},
        {"json": {"length": 2**62}},
        {"json": None},
        {KEY: {"offset": -1}},
        {KEY: {"offset": 2**40}},
        {KEY: {"length": 2**63 - 1}},
        {"archive_bytes": None},
        {"num_frames": None},
        {"width": 2**40},
        {"issues": [{"column": "audio", "code": "no_such_code", "detail": ""}]},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_is_named_and_nothing_else_is_read(indexed, read_files, changes):
    folder, index, _ = indexed
    tamper(index, 1, **changes)
    with pytest.raises((BrokenIndex, StaleIndex)) as caught:
        load(folder, index=index)
    assert str(index) in str(caught.value)
    inside = (str(folder), str(index.parent / "cache"), str(index), os.path.dirname(seamless_interaction.__file__))
    assert {path for path in read_files if not str(path).startswith((*inside, sys.prefix, "/proc"))} == set()


def test_a_recording_twice_is_named(indexed):
    folder, index, _ = indexed
    table = pq.read_table(index)
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), index)
    with pytest.raises(BrokenIndex, match="twice"):
        load(folder, index=index)


@pytest.mark.parametrize(
    "changes", [{"crc32": 1}, {"offset": 0}, {"length": 10}, {"compression": 7}, {"compression": 0}], ids=str
)
def test_an_array_that_lies_elsewhere_is_an_issue(indexed, changes):
    folder, index, corpus = indexed
    file_id = tamper(index, 1, **{KEY: changes})
    records = load(folder, [KEY, "smplh:translation"], index=index)
    assert [column for column, _ in pairs(records[file_id])] == [KEY]
    assert {code for _, code in pairs(records[file_id])} <= {"unreadable", "truncated", "empty"}
    assert_same_arrays(records[file_id], corpus[file_id], ["smplh:translation"])
    for other in set(records) - {file_id}:
        assert_same_arrays(records[other], corpus[other], [KEY])


def test_text_and_media_that_lie_elsewhere_are_errors(indexed):
    folder, index, _ = indexed
    file_id = tamper(index, 1, json={"offset": 0}, audio={"offset": 0})
    record = load(folder, index=index)[file_id]
    assert pairs(record) == [("transcript", "unreadable")]
    with pytest.raises(UnreadableFile):
        record["audio"]["array"]


# --- what it says ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["tree", "archives"])
def test_what_the_place_lacks_has_a_row_that_says_so(broken, tmp_path, layout, caplog):
    folder, corpus = broken[layout]
    index = index_of(folder, tmp_path / "index.parquet")
    absent = next(recording for recording in corpus.recordings if recording.defect == "absent")
    rows = {row["file_id"]: row for row in pq.read_table(index).to_pylist()}
    assert set(rows) == {recording.file_id for recording in corpus.recordings}
    assert {file_id for file_id, row in rows.items() if row["files"] == 0} == {absent.file_id}
    assert rows[absent.file_id]["issues"] == [{"column": "", "code": "missing", "detail": "not in the source"}]
    for recording in corpus.recordings:
        row = rows[recording.file_id]
        assert (row["label"], row["split"]) == (recording.label, recording.split)
        if recording.defect == "empty_arrays" and layout != "tree":  # known without looking at the arrays
            assert {(issue["column"], issue["code"]) for issue in row["issues"]} == set(recording.expected_issues)
        assert row["has_annotation_3p"] == any(kind.startswith("3P") for kind in recording.kinds)
    records = load(folder, ["vad"], index=index)
    assert absent.file_id not in records
    assert ("partner_id", "partner_missing") in pairs(records[absent.partner])
    (message,) = [message for message in warnings(caplog) if "are not in it" in message]
    assert f"1 of the {len(corpus.recordings)} recordings" in message and absent.file_id in message


@pytest.mark.parametrize("layout", ["tree", "archives"])
def test_times_come_from_the_index_and_media_are_not_opened(corpora, tmp_path, layout):
    """All media are overwritten by as many zeros: what was not asked for is neither read nor checked."""
    folder, corpus = corpora[layout]
    shutil.copytree(folder, tmp_path / "data")
    folder = tmp_path / "data"
    index = index_of(folder, tmp_path / "index.parquet")
    for row in pq.read_table(index).to_pylist():
        if layout == "archives":
            tar = folder / row["archive"]
            times = tar.stat().st_atime_ns, tar.stat().st_mtime_ns
            with open(tar, "r+b") as file:
                for span in (row["audio"], row["video"]):
                    file.seek(span["offset"])
                    file.write(bytes(span["length"]))
            os.utime(tar, ns=times)
    for path in [*folder.rglob("V0*.wav"), *folder.rglob("V0*.mp4")]:
        before = path.stat()
        path.write_bytes(bytes(before.st_size))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not any(record["duration"] for record in load(folder, ["transcript"]).values())
    for record in load(folder, ["transcript"], index=index).values():
        recording = corpus[record["id"]]
        assert record["checked"] == ["transcript", "segments"]
        assert not {column for column, _ in pairs(record)} & {"audio", "video"}
        assert (record["num_frames"], record["width"], record["height"]) == (recording.num_frames, *recording.raster)
        assert record["duration"] == pytest.approx(recording.num_frames / recording.fps, abs=0.04)
        assert record["fps"] == pytest.approx(float(recording.fps), rel=1e-3)
        assert "audio" not in record and "video" not in record
    audio = load(folder, ["audio", "video"], index=index)[corpus.recordings[0].file_id]
    assert audio["audio"].path and audio["video"].path and pairs(audio) == []


def test_the_headers_of_a_corpus_are_in_its_index(indexed):
    _, index, corpus = indexed
    for row in pq.read_table(index).to_pylist():
        recording = corpus[row["file_id"]]
        assert (row["audio_sampling_rate"], row["audio_num_channels"]) == (SAMPLING_RATE, 1)
        assert row["audio_num_samples"] == recording.num_samples and row["num_frames"] == recording.num_frames
        assert row["probed"] and row["issues"] == [] and row["files"] == (1 << len(EXTENSIONS)) - 1
        assert [key for key in recording.arrays() if row[key] is None] == []
        assert row[KEY]["compression"] == 8 and row["npz"]["offset"] <= row[KEY]["offset"]


def test_a_selection_of_a_folder_is_honoured(small, caplog):
    """What it does not name counts neither as missing nor as here."""
    folder, index, corpus = small
    recordings = [recording.file_id for recording in corpus.recordings]
    chosen = recordings[:4]
    tar_of(folder, corpus[recordings[-1]]).unlink()
    (folder / "selection.csv").write_text("\n".join(["file_id", *chosen]) + "\n")
    for arguments in ({}, {"index": index}):
        caplog.clear()
        assert set(load(folder, ["transcript"], **arguments)) == set(chosen)
        assert not [message for message in warnings(caplog) if "are not in it" in message]
    (folder / "selection.csv").write_text("\n".join(["file_id", *chosen, recordings[-1]]) + "\n")
    caplog.clear()
    load(folder, ["transcript"])
    (message,) = [message for message in warnings(caplog) if "are not in it" in message]
    assert f"1 of the 5 recordings of 'full' are not in it ({recordings[-1]})" in message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_index_is_prepared_once_and_anew_when_it_or_a_table_changes(corpora, tmp_path, layout):
    folder, _ = corpora[layout]
    index = index_of(folder, tmp_path / "index.parquet")

    def cache_dir():
        kwargs = {"data_dir": str(folder), "modalities": ["vad"], "index": str(index)}
        return seamless_interaction.SeamlessInteraction(config_name="full", **kwargs).cache_dir

    first = cache_dir()
    index_of(folder, index)
    assert cache_dir() == first
    tamper(index, 0, duration=1.0)
    rewrite_metadata(index, identity="another")
    assert cache_dir() != first


def test_an_index_made_again_while_a_stream_waits_is_an_error_and_no_other_recording(small):
    """The stream knows rows by number, and the first of them is gone."""
    folder, index, corpus = small
    stream = load_dataset("full", "train", data_dir=folder, index=index, streaming=True, modalities=["transcript"])
    before = [recording_of(row) for row in Index(index).found.to_pylist()]
    ids = [recording.file_id for recording in before if recording.split == "train"]
    first = min(recording.file_id for recording in corpus.recordings if recording.split == "train")
    rows = (folder / "filelist.csv").read_text().splitlines()
    (folder / "filelist.csv").write_text("\n".join(row for row in rows if first not in row) + "\n")
    index_of(folder, index)
    assert [record["id"] for record in stream] == ids  # who began with one has it open
    elsewhere = pickle.loads(pickle.dumps(stream))
    with pytest.raises(StaleIndex, match="made again"):
        list(elsewhere)
    moved = [recording for recording in before if recording.file_id >= first and recording.split == "train"]
    assert len(moved) > 1
    for recording in moved:
        with pytest.raises(StaleIndex, match=recording.file_id):
            Index(index).known(recording, ("vad",))


@pytest.mark.parametrize("layout", ["tree", "bundles"])
def test_files_that_changed_since_their_index_are_named(tmp_path, layout):
    folder, index, copy = tmp_path / "data", tmp_path / "index.parquet", tmp_path / "copy"
    recording = synthesize(folder, layout, interactions=1, seconds=1.0).recordings[0]
    file_id, split = recording.file_id, folder / recording.label / recording.split
    index_of(folder, index)
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)  # with times of its own
    arrays, text = f"{file_id}.npz", f"0*/0*/{file_id}.json"  # not that in `extra`
    if layout == "tree":
        arrays, text = f"body_pose/{file_id}.npy", f"transcript/{file_id}.jsonl"
    for modality, name in (
        ("audio", f"{file_id}.wav"),
        ("video", f"{file_id}.mp4"),
        ("transcript", text),
        (KEY, arrays),
    ):
        path = next(split.rglob(name))
        name = name.removeprefix("0*/0*/")
        content, stat = path.read_bytes(), path.stat()
        for changed in (content + b"more", content[::-1]):  # of another size, or at another time
            path.write_bytes(changed)
            with pytest.raises(StaleIndex, match=f"{name} changed since"):
                load(folder, [modality], index=index)
            with pytest.raises(StaleIndex, match=f"{name} changed since"):
                SeamlessDataset(folder, index=index).get_recording(file_id).window(0, 0.5, [modality], fps=30)
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    video = next(split.rglob(f"{file_id}.mp4"))
    video.write_bytes(video.read_bytes() + b"more")
    with pytest.raises(StaleIndex, match=f"{video.name} changed since"):  # whose rate and length each record tells
        load(folder, [KEY], index=index)
    assert set(load(copy, index=index)) == {file_id, recording.partner}
    (copy / path.relative_to(folder)).write_bytes(content + b"more")
    with pytest.raises(StaleIndex, match=f"{name} changed since"):
        load(copy, index=index)


def test_a_layout_beside_an_index_of_another_is_refused(tree, tmp_path):
    index = index_of(tree, tmp_path / "index.parquet")
    with pytest.raises(UsageError, match=r"layout is 'bundles', and .*index.parquet is of tree"):
        load_dataset(data_dir=tree, index=index, layout="bundles", streaming=True)


def test_the_index_of_another_place_is_named(tmp_path):
    for layout in ("tree", "archives"):
        synthesize(tmp_path / layout, layout, interactions=1, seconds=1.0)
        index_of(tmp_path / layout, tmp_path / f"{layout}.parquet")
    for layout, other in (("tree", "archives"), ("archives", "tree")):
        with Bucket(tmp_path / other) as bucket:
            for place in (tmp_path / other, bucket.url):
                with pytest.raises(StaleIndex, match="has none of the files that it names"):
                    load(place, index=tmp_path / f"{layout}.parquet")


@pytest.fixture
def groups(tmp_path, monkeypatch, whole_filelist):
    """An index of many row groups, its recordings in an order that jumps, and where the audio of each lies."""
    monkeypatch.setattr(index_module, "ROWS", 16)
    filelist = whole_filelist.slice(0, 256)
    rows = [
        {**row, "files": 1, "archive": path, "archive_bytes": 2**40, "audio": {"offset": number, "length": 1}}
        for number, (row, path) in enumerate(
            zip(filelist.to_pylist(), archive_paths(filelist).to_pylist(), strict=True)
        )
    ]
    write(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "index.parquet", listing_of(Place(tmp_path)))
    index = Index(tmp_path / "index.parquet")
    recordings = list(map(recording_of, index.found.to_pylist()))
    expected = {row["file_id"]: row["audio"]["offset"] for row in rows}
    return index, [recordings[at * 749 % len(recordings)] for at in range(100)], expected


def is_right(index, recording, expected):
    return index.known(recording, ("audio",)).spans["audio"].offset == expected[recording.file_id]


def test_an_index_is_read_by_several_threads_at_once(groups):
    """As by `datasets` 5 when it shuffles; they share the row groups in memory."""

    class Slow(OrderedDict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            time.sleep(0.001)  # others get their turn

    index, recordings, expected = groups
    index._groups = Slow()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda recording: is_right(index, recording, expected), recordings))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_an_index_is_read_by_forked_processes_at_once(groups):
    """A file that was opened before a fork has one position for all of them."""
    index, recordings, expected = groups
    assert is_right(index, recordings[0], expected)
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            try:
                os._exit(0 if all(is_right(index, recording, expected) for recording in recordings) else 1)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


def listing_of(place, layout="archives"):
    return Listing(place, layouts.LAYOUTS[layout], None, {}, {}, "", ())


def recording_of(row):
    where = [row[name] for name in ("file_id", "label", "split", "batch_idx", "archive_idx")]
    return Recording(*where, row["files"], row["row"], None, False, None, None)


def test_an_index_of_the_whole_dataset_opens_in_little_memory(tmp_path, whole_filelist):
    filelist = whole_filelist
    nulls = {field.name: pa.nulls(len(filelist), field.type) for field in SCHEMA}
    numbers = pa.array(np.arange(len(filelist)))
    span = pa.StructArray.from_arrays(
        [numbers, numbers, pa.nulls(len(filelist), pa.int8()), pa.nulls(len(filelist), pa.uint32())],
        fields=list(SCHEMA.field("json").type),
    )
    columns = {
        **nulls,
        **{name: filelist[name] for name in filelist.column_names},
        "files": pa.array(np.full(len(filelist), 15)),
        "archive": archive_paths(filelist),
        "archive_bytes": pa.array(np.full(len(filelist), 2**40)),
        "json": span,
    }
    write(pa.table([columns[name] for name in SCHEMA.names], SCHEMA), tmp_path / "i.parquet", listing_of(Place("/")))
    wanted = dict(zip(filelist["file_id"].to_pylist(), range(len(filelist)), strict=True))
    del columns, nulls, span, numbers
    before = pa.total_allocated_bytes()
    index = Index(tmp_path / "i.parquet")
    assert len(index.found) == len(filelist) == 129_370
    for row in (0, 2047, 2048, 77_777, len(filelist) - 1):
        recording = recording_of(index.found.slice(row, 1).to_pylist()[0])
        assert index.known(recording, ("vad",)).spans["json"].offset == wanted[recording.file_id]
    assert pa.total_allocated_bytes() - before < 32 << 20


# --- made in pieces -------------------------------------------------------------------------------

# Processes are forked, since it takes seconds to start one that imports what it needs.
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")


@pytest.fixture(scope="module")
def many(corpora, tmp_path_factory):
    """Tars that take several pieces, and their index as made in one go."""
    folder, output = corpora["archives"][0], tmp_path_factory.mktemp("many") / "index.parquet"
    return folder, make_index(Place(folder), output, filelist_of(Place(folder)))


def die_while_indexing(how, source, target, pieces):
    """As soon as a third piece is written, or when all are and the index is to be written."""
    indexing._FLUSH_UNITS = 1 if pieces == "all" else 2
    written = []

    def write_and_die(table, path, *rest):
        if path.parent.name.endswith("parts"):
            write(table, path, *rest)
            written.append(path)
        if (len(written) == 3 and pieces == "three") or path not in written:
            os.kill(os.getpid(), signal.SIGKILL)

    indexing.write = write_and_die
    if how == "silent":
        datasets.config.HF_DATASETS_CACHE = target
        load_dataset("full", data_dir=source, streaming=True)
    else:
        app(["index", str(source), "-o", str(target)])


def killed(*args):
    child = get_context("fork").Process(target=die_while_indexing, args=args)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def done_before(parts):
    tables = [pq.read_table(path) for path in parts.glob("*.parquet")]
    return {path for table in tables for path in table["archive"].to_pylist()}


def named(folder):
    return set(archive_paths(filelist_of(Place(folder))).to_pylist())


def relative(folder, paths):
    return sorted(os.path.relpath(path, folder) for path in paths)


@forks
@pytest.mark.parametrize("pieces", ["three", "all"])  # of a silent one, the first alone: what comes then is the same
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_index_goes_on_where_it_was(many, tmp_path, opened_tars, pieces):
    folder, whole = many
    output = tmp_path / "index.parquet"
    killed("index", folder, output, pieces)
    done = done_before(tmp_path / "index.parquet.parts")
    assert not output.exists() and (done == named(folder) if pieces == "all" else 0 < len(done) < len(named(folder)))

    made = make_index(Place(folder), output, filelist_of(Place(folder)))
    assert relative(folder, opened_tars) == sorted(named(folder) - done)
    assert made.found.equals(whole.found) and made.identity == whole.identity
    assert os.listdir(tmp_path) == ["index.parquet"]  # no leftovers

    opened_tars.clear()
    assert make_index(Place(folder), output, filelist_of(Place(folder))).identity == whole.identity
    assert opened_tars == []


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_silent_index_goes_on_where_it_was(many, tmp_path, opened_tars):
    folder, _ = many
    cache = tmp_path / "cache"
    killed("silent", folder, cache, "three")
    (parts,) = cache.rglob("parts")
    done = done_before(parts)
    assert 0 < len(done) < len(named(folder))

    assert len(load(folder, ["transcript"])) == 23
    assert relative(folder, opened_tars) == sorted(named(folder) - done)
    assert not list(cache.rglob("parts"))
    opened_tars.clear()
    assert len(load(folder, ["transcript"])) == 23
    assert opened_tars == []


def test_an_index_opens_only_what_changed(many, tmp_path, opened_tars):
    folder, _ = many
    shutil.copytree(folder, tmp_path / "data")
    folder = tmp_path / "data"
    output = index_of(folder, tmp_path / "index.parquet")
    before = pq.read_table(output)
    tar = next(folder.rglob("naturalistic/train/0000/*.tar"))
    os.utime(tar, (1, 1))
    opened_tars.clear()
    index_of(folder, output)
    assert opened_tars == [str(tar)]
    after = pq.read_table(output)
    assert after.drop_columns(["archive_stamp"]).equals(before.drop_columns(["archive_stamp"]))
    tar.unlink()
    opened_tars.clear()
    index_of(folder, output)
    assert opened_tars == [] and 0 in pq.read_table(output)["files"].to_pylist()


def test_rows_of_another_place_are_not_taken_over(many, tmp_path, opened_tars):
    """Though names, sizes and times of its tars are the same."""
    folder, _ = many
    shutil.copytree(folder, tmp_path / "data")
    output = index_of(folder, tmp_path / "index.parquet")
    opened_tars.clear()
    index_of(tmp_path / "data", output)
    assert relative(tmp_path / "data", opened_tars) == sorted(named(folder))


def test_files_of_their_own_are_looked_at_again_when_any_changed(corpora, tmp_path, monkeypatch):
    folder, corpus = corpora["bundles"]
    shutil.copytree(folder, tmp_path / "data")
    folder, probed = tmp_path / "data", []
    probe = indexing._probe
    monkeypatch.setattr(indexing, "_probe", lambda *args: (probed.append(args), probe(*args)))
    output = index_of(folder, tmp_path / "index.parquet")
    assert len(probed) == len(corpus.recordings)
    probed.clear()
    index_of(folder, output)
    assert probed == []
    os.utime(next(folder.rglob("V0*.wav")), (1, 1))
    index_of(folder, output)
    assert len(probed) == len(corpus.recordings)


def ids_of(folder):
    return sorted(load(folder, ["transcript"]))


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_that_begin_at_once_all_get_everything(many, monkeypatch):
    """As the ranks of a job do, with one cache between them."""
    folder, _ = many
    monkeypatch.setattr(indexing, "_FLUSH_UNITS", 1)
    context = get_context("fork")
    with context.Pool(3, context.Barrier(3).wait) as pool:
        found = pool.map(ids_of, [folder] * 3, chunksize=1)
    assert found == [ids_of(folder)] * 3 and len(found[0]) == 23


def test_what_another_process_tidied_up_meanwhile_is_not_missed(small, monkeypatch):
    """One that does the same, and was faster: it removes the pieces, and the folder that they are in."""
    folder, _, corpus = small

    def write_late(table, path, *rest):
        if path.parent.name == "parts":
            raise FileNotFoundError(path)
        write(table, path, *rest)

    monkeypatch.setattr(indexing, "write", write_late)
    monkeypatch.setattr(indexing, "_FLUSH_UNITS", 1)
    assert len(load(folder, ["transcript"])) == len(corpus.recordings)


def test_a_damaged_index_is_made_again(small, opened_tars, caplog):
    folder, index, _ = small
    good = Index(index).identity
    truncated(index)
    opened_tars.clear()
    assert make_index(Place(folder), index, filelist_of(Place(folder))).identity == good
    assert len(opened_tars) == len(named(folder))
    assert [message for message in warnings(caplog) if str(index) in message]


def test_a_damaged_index_in_the_cache_is_made_again(small, tmp_path, opened_tars):
    folder, _, corpus = small
    load(folder, ["transcript"])
    (kept,) = (tmp_path / "cache").rglob("archives/*/*.parquet")
    for content in (b"", b"PAR1 and no more", kept.read_bytes()[:-50]):
        kept.write_bytes(content)
        assert len(load(folder, ["transcript"])) == len(corpus.recordings)
    opened_tars.clear()
    load(folder, ["transcript"])
    assert opened_tars == []


# --- the command line -----------------------------------------------------------------------------


def run(*args):
    return CliRunner().invoke(app, ["index", *map(str, args)])


def test_the_command_counts_and_makes_what_the_library_makes(broken, tmp_path):
    folder, corpus = broken["archives"]
    output = tmp_path / "made" / "index.parquet"
    result = run(folder, "-o", output)
    assert result.exit_code == 0
    assert f"{output}: {len(corpus.recordings)} recordings, 1 of them not in the source" in result.output
    assert Index(output).identity == make_index(Place(folder), tmp_path / "i", filelist_of(Place(folder))).identity


def test_the_command_tells_of_broken_archives(small, tmp_path):
    folder, _, corpus = small
    tars = {tar_of(folder, recording) for recording in corpus.recordings}
    cut, empty = sorted(tars)[:2]
    os.truncate(cut, cut.stat().st_size // 512 // 2 * 512)
    empty.write_bytes(b"")
    with open(cut, "ab") as file:
        file.write(b"no header" * 100)
    result = run(folder, "-o", tmp_path / "out.parquet")
    assert result.exit_code == 0 and "not in the source" in result.output
    assert f"Warning: {empty.relative_to(folder)}: " in result.output


@pytest.mark.parametrize(
    "source, options, why",
    [
        ("nowhere", [], "does not exist"),
        ("empty", [], "holds nothing of the dataset"),
        ("data", ["--layout", "zip"], "Known: tree, bundles, archives"),
        ("data", ["--filelist", "nowhere.csv"], "does not exist"),
        ("nosuch://data", [], "nosuch"),
    ],
)
def test_the_command_fails_in_one_line(indexed, tmp_path, source, options, why):
    (tmp_path / "empty").mkdir()
    (tmp_path / "data").symlink_to(indexed[0])
    result = run(source if "://" in source else tmp_path / source, "-o", tmp_path / "out.parquet", *options)
    assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit)
    assert "Error: " in result.output and why in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("content", [b"file_id,label\n", None, "folder"])
def test_what_is_no_index_is_not_overwritten(indexed, tmp_path, content):
    folder, _, _ = indexed
    output = tmp_path / "mine"
    if content == "folder":
        output.mkdir()
    elif content is None:
        pq.write_table(pa.table({"a": [1]}), output)
    else:
        output.write_bytes(content)
    before = None if output.is_dir() else output.read_bytes()
    with pytest.raises(UsageError, match=str(output)):
        make_index(Place(folder), output, filelist_of(Place(folder)))
    assert output.is_dir() if before is None else output.read_bytes() == before
    assert run(folder, "-o", output).exit_code == 2
