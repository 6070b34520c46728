"""Published files: how they are laid out in Parquet, that what they hold is checked, and audio as FLAC."""

import io
import json
import shutil
from itertools import pairwise

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from seamless_interaction import ARRAYS, IDENTITY, MODALITIES, TIME
from seamless_interaction.errors import NotEnoughSpace
from seamless_interaction.publishing import Selection, convert, convert_shard, flac, parquet, plan, plan_shards
from seamless_interaction.publishing.rows import recording_features, shard_features
from seamless_interaction.record.dialect import dialect
from seamless_interaction.synthetic.writing import synthesize

COLUMNS = tuple(column for group in MODALITIES.values() for column in group)
MEDIA = ("audio", "video", "partner_video")
FLOATS = {key for key, array in ARRAYS.items() if array.dtype == "float32"}


@pytest.fixture(scope="module")
def planned(corpora):
    """A plan of the tree, with videos in the rows, and one shard of a label and split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARD_BYTES", 10**12)
        return plan_shards(Selection("full"), corpora["tree"][0], video="embed")


@pytest.fixture(scope="module")
def converted(planned, tmp_path_factory):
    """Output, and sidecar of its largest shard, whose row groups have 0.9 MB."""
    output = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "ROW_GROUP_BYTES", 900_000)
        return output, convert_shard(planned, largest(planned), output)


@pytest.fixture(scope="module")
def shard(converted):
    output, sidecar = converted
    return output / sidecar.shard


def largest(planned):
    """Number of the shard with the most recordings."""
    return max(range(len(planned.shards)), key=lambda at: planned.shards[at].stop - planned.shards[at].start)


def chunks(path):
    """(row group, top-level column, column chunk) of a file."""
    metadata = pq.read_metadata(path)
    for number in range(metadata.num_row_groups):
        for at in range(metadata.num_columns):
            chunk = metadata.row_group(number).column(at)
            yield number, chunk.path_in_schema.partition(".")[0], chunk


# --- schema ---------------------------------------------------------------------------------------


def test_the_features_are_in_the_file_in_words_that_every_version_reads(shard):
    metadata = pq.read_schema(shard).metadata[b"huggingface"].decode()
    assert '"List"' not in metadata and '"Sequence"' in metadata
    written = json.loads(metadata)["info"]["features"]
    assert written == json.loads(json.dumps(dialect(dict(shard_features(COLUMNS)))))
    assert datasets.Features.from_dict(written) == shard_features(COLUMNS)
    assert datasets.Features.from_arrow_schema(pq.read_schema(shard)) == shard_features(COLUMNS)


def test_arrays_are_extension_types_that_know_their_shape(shard):
    schema = pq.read_schema(shard)
    for key, array in ARRAYS.items():
        type = schema.field(key).type
        assert isinstance(type, pa.ExtensionType) == bool(array.shape), key
        if array.shape:
            assert type.shape == (None, *array.shape) and type.value_type == array.dtype


def test_only_what_was_asked_for_is_a_column():
    features = shard_features(["vad", "video", "smplh:is_valid"])
    assert list(features) == [*IDENTITY, *TIME, "video_url", "vad", "issues", "checked", "smplh:is_valid", "video"]
    found = recording_features(["vad", "video", "smplh:is_valid"])
    assert "smplh_valid_share" in found and "movement_valid_share" not in found and "mean_arousal" not in found
    assert not set(found) & set(ARRAYS) and "audio" not in found


# --- row groups -----------------------------------------------------------------------------------


def test_row_groups_hold_whole_interactions_up_to_their_size(planned, converted):
    output, sidecar = converted
    file = pq.ParquetFile(output / sidecar.shard)
    shard = planned.shards[largest(planned)]
    assert 2 < file.num_row_groups < 5, "of 5 interactions"
    columns = ["id", "interaction_id", "partner_id"]
    groups = [file.read_row_group(number, columns=columns) for number in range(file.num_row_groups)]
    seen: set = set()
    for group in groups:
        interactions = group["interaction_id"].to_pylist()
        assert interactions == sorted(interactions) and not seen & set(interactions)
        seen |= set(interactions)
        ids = group["id"].to_pylist()
        for at, partner in enumerate(group["partner_id"].to_pylist()):
            assert partner is None or partner in (ids[at - 1 : at] + ids[at + 1 : at + 2])
    ids = [id for group in groups for id in group["id"].to_pylist()]
    assert ids == planned.recordings["file_id"][shard.start : shard.stop].to_pylist() == sorted(ids)
    # Bytes are those in the file. What they are expected to be beforehand is not exact, but neither far off.
    assert sidecar.row_groups == [parquet.row_group_bytes(file.metadata.row_group(n)) for n in range(len(groups))]
    for size, group in zip(sidecar.row_groups, groups, strict=True):
        assert size <= 1_000_000 or len(set(group["interaction_id"].to_pylist())) == 1


def test_what_fits_together_is_one_row_group(planned, tmp_path):
    sidecar = convert_shard(planned, largest(planned), tmp_path)
    assert len(sidecar.row_groups) == 1 and sidecar.large == []


def test_the_content_is_the_same_however_it_is_grouped(planned, converted, tmp_path):
    assert convert_shard(planned, largest(planned), tmp_path).content == converted[1].content


def test_interactions_that_are_too_large_a_row_group_are_named(planned, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(convert, "_TOO_LARGE", 0)
    sidecar = convert_shard(planned, largest(planned), tmp_path)
    found = pq.read_table(tmp_path / sidecar.shard, columns=["interaction_id"])["interaction_id"].to_pylist()
    assert sidecar.large == list(dict.fromkeys(found)) and len(sidecar.large) == len(sidecar.row_groups)
    monkeypatch.setattr(convert, "_TOO_LARGE", sorted(sidecar.row_groups)[-2])
    assert len(convert_shard(planned, largest(planned), tmp_path).large) == 1


# --- columns --------------------------------------------------------------------------------------


def test_floats_are_split_into_streams_of_bytes_without_dictionary(shard):
    for _, name, chunk in chunks(shard):
        assert chunk.compression == "ZSTD", name
        if name in FLOATS:
            assert "BYTE_STREAM_SPLIT" in chunk.encodings and "PLAIN" not in chunk.encodings, chunk
            assert not chunk.has_dictionary_page
        elif name in MEDIA:
            assert "PLAIN" in chunk.encodings and not chunk.has_dictionary_page, chunk
            assert "BYTE_STREAM_SPLIT" not in chunk.encodings
        elif name in ("vendor_id", "label", "interaction_type", "checked"):
            assert chunk.has_dictionary_page, name


def test_pages_are_indexed_and_ids_have_statistics(shard):
    metadata = pq.read_metadata(shard)
    for _, name, chunk in chunks(shard):
        if name in IDENTITY:
            assert chunk.has_offset_index and chunk.is_stats_set, name
            assert chunk.has_column_index, name
        elif name in ARRAYS or name in MEDIA or name in ("transcript", "segments"):
            assert not chunk.is_stats_set and chunk.has_offset_index, name
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        leaves = [group.column(at).path_in_schema for at in range(group.num_columns)]
        order = [leaves[column.column_index] for column in group.sorting_columns]
        assert order == ["id", "interaction_id"] and not any(column.descending for column in group.sorting_columns)


def test_a_filter_by_id_skips_row_groups(shard):
    file = pq.ParquetFile(shard)
    wanted = file.read_row_group(1, columns=["id"])["id"][0].as_py()
    within = [
        group.column(0).statistics.min <= wanted <= group.column(0).statistics.max
        for group in map(file.metadata.row_group, range(file.num_row_groups))
    ]
    assert file.metadata.row_group(0).column(0).path_in_schema == "id" and sum(within) == 1
    everything, filtered = Counted(shard), Counted(shard)
    pq.read_table(everything, columns=["smplh:body_pose"])
    found = pq.read_table(filtered, columns=["id", "smplh:body_pose"], filters=[("id", "==", wanted)])
    assert found["id"].to_pylist() == [wanted]
    assert filtered.count < everything.count


class Counted(io.FileIO):
    """A file that counts what is read of it, beyond the footer."""

    def __init__(self, path):
        super().__init__(path)
        self.count, self.footer = 0, path.stat().st_size - pq.read_metadata(path).serialized_size - (1 << 16)

    def read(self, size=-1):
        start, data = self.tell(), super().read(size)
        self.count += len(data) if start < self.footer else 0
        return data

    def readinto(self, buffer):
        start, done = self.tell(), super().readinto(buffer)
        self.count += done if start < self.footer else 0
        return done


def test_text_is_one_stretch_before_arrays_and_media(shard):
    def rank(name):
        return 2 if name in MEDIA else int(name in ARRAYS)

    places: dict = {}
    for number, name, chunk in chunks(shard):
        start = chunk.data_page_offset
        if chunk.has_dictionary_page:
            start = min(start, chunk.dictionary_page_offset)
        places.setdefault(number, []).append((start, start + chunk.total_compressed_size, rank(name)))
    for stretches in places.values():
        assert stretches == sorted(stretches)
        ranks = [rank for _, _, rank in stretches]
        assert ranks == sorted(ranks) and set(ranks) == {0, 1, 2}
        text = [stretch for stretch in stretches if stretch[2] == 0]
        # Old versions of Arrow write what a column's chunk is behind it as well.
        assert all(0 <= other[0] - one[1] < 200 for one, other in pairwise(text)), "there are gaps"


# --- what was written is what is there ------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    """(path, types, digests) of a small file."""
    features = shard_features(["smplh:body_pose", "smplh:is_valid", "vad", "audio"])
    types, path = parquet.types_of(features), tmp_path / "written.parquet"
    writer = parquet.Writer(path, types)
    rng = np.random.default_rng(0)
    for group in range(2):
        rows = []
        for at in range(3):
            row = dict.fromkeys(features) | {"id": f"{group}-{at}", "vad": [{"start": 0.0, "end": float(at)}]}
            row |= {"issues": [], "checked": ["vad"], "smplh:is_valid": np.ones(5 * at, bool)}
            row["smplh:body_pose"] = rng.standard_normal((5 * at, 21, 3), np.float32)
            row["audio"] = {"bytes": rng.bytes(1000), "path": "a.flac"} if at else None
            rows.append(row)
        writer.write(rows)
        assert rows == [{}, {}, {}], "who made the rows holds no arrays any more"
    writer.close()
    return path, types, writer.digests


def test_a_whole_file_is_found_whole(written):
    path, types, digests = written
    assert parquet.check(path, types, digests) == [
        parquet.row_group_bytes(pq.read_metadata(path).row_group(number)) for number in range(2)
    ]


@pytest.mark.parametrize("column", ["id", "vad", "smplh:body_pose", "smplh:is_valid", "audio"])
def test_another_value_is_noticed(written, column):
    path, types, digests = written
    digests[1][column][2] = digests[1][column][1]
    with pytest.raises(OSError, match=f"{column} of row group 1 came out different"):
        parquet.check(path, types, digests)


def test_a_row_group_too_few_or_another_schema_is_noticed(written):
    path, types, digests = written
    with pytest.raises(OSError, match="2 row groups came out of 1"):
        parquet.check(path, types, digests[:1])
    other = parquet.types_of(shard_features(["vad"]))
    with pytest.raises(OSError, match="schema"):
        parquet.check(path, other, digests)


def test_a_flipped_byte_is_noticed_unless_it_changes_no_value(written):
    path, types, digests = written
    content, before = path.read_bytes(), pq.read_table(path)
    rng = np.random.default_rng(1)
    noticed = 0
    for at in rng.integers(0, len(content), 300):
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            parquet.check(path, types, digests)
        except OSError:
            noticed += 1
        else:
            assert pq.read_table(path).equals(before), at
    assert noticed > 200


def test_a_file_cut_anywhere_is_noticed(written):
    path, types, digests = written
    content = path.read_bytes()
    for end in (0, 3, *np.random.default_rng(1).integers(4, len(content), 10)):
        path.write_bytes(content[:end])
        with pytest.raises(OSError, match=r"written\.parquet"):
            parquet.check(path, types, digests)


def test_a_shard_that_comes_out_different_does_not_get_its_name(planned, tmp_path, monkeypatch):
    def spoiled(path, types, digests):
        content = bytearray(path.read_bytes())
        (chunk,) = (chunk for n, name, chunk in chunks(path) if (n, name) == (0, "smplh:body_pose"))
        content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 0xFF
        path.write_bytes(content)
        return check(path, types, digests)

    check = parquet.check
    monkeypatch.setattr(parquet, "check", spoiled)
    number = largest(planned)
    with pytest.raises(
        OSError, match=r"train-.*: (smplh:body_pose of row group 0 came out different|cannot be read back)"
    ):
        convert_shard(planned, number, tmp_path)
    assert not list(tmp_path.rglob("*.parquet")) and not convert.done(planned, number, tmp_path)


def test_a_full_disk_is_told_and_nothing_looks_done(planned, tmp_path, monkeypatch):
    """The device that has no space stands for the file."""
    number = largest(planned)
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr(convert, "_begin", lambda output, name: tmp_path / "full")
    with pytest.raises(NotEnoughSpace, match="the disk is full"):
        convert_shard(planned, number, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not convert.done(planned, number, tmp_path)


# --- audio ----------------------------------------------------------------------------------------


def pcm(frames=70_000, channels=1, seed=0):
    samples = np.random.default_rng(seed).integers(-32768, 32768, (frames, channels), np.int16)
    samples[:2] = [[-32768], [32767]]
    return samples


def wav(samples, rate=48000, subtype="FLOAT", container="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    file.seek(0)
    return file


def as_float(samples, dtype=np.float32):
    return (samples / 32768).astype(dtype)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_flac_has_the_same_samples(rate, channels, subtype):
    samples = pcm(5000, channels)
    encoded = flac.encode(wav(as_float(samples) if subtype == "FLOAT" else samples, rate, subtype))
    decoded, its_rate = soundfile.read(io.BytesIO(encoded), dtype="int16", always_2d=True)
    assert encoded[:4] == b"fLaC" and its_rate == rate
    np.testing.assert_array_equal(decoded, samples)
    floats, _ = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    np.testing.assert_array_equal(floats, as_float(samples))


def test_flac_of_several_blocks():
    samples = pcm(2 * flac._BLOCK + 1)
    decoded, _ = soundfile.read(io.BytesIO(flac.encode(wav(as_float(samples)))), dtype="int16", always_2d=True)
    np.testing.assert_array_equal(decoded, samples)


@pytest.mark.parametrize("value", [1.0, 0.5 + 2**-17, 1e-9, np.nan, np.inf, -np.inf, -1.5, 3e38])
def test_a_sample_that_flac_has_not_leaves_the_wav(value):
    samples = as_float(pcm())
    assert flac.encode(wav(samples)) is not None
    samples[-1] = value
    assert flac.encode(wav(samples)) is None


@pytest.mark.parametrize("subtype", ["DOUBLE", "PCM_24", "PCM_32"])
def test_finer_samples_are_not_rounded(subtype):
    samples = as_float(pcm(), np.float64)
    assert flac.encode(wav(samples, subtype=subtype)) is not None
    samples[7] += {"DOUBLE": 2**-50, "PCM_24": 2**-23, "PCM_32": 2**-31}[subtype]
    assert flac.encode(wav(samples, subtype=subtype)) is None


def test_what_flac_cannot_have_leaves_the_wav():
    assert flac.encode(wav(as_float(pcm(100, 9)))) is None
    assert flac.encode(wav(as_float(pcm(100)), rate=700_000)) is None
    assert flac.encode(wav(np.zeros((0, 1), np.float32))) is None
    assert flac.encode(io.BytesIO(b"RIFF\0\0\0\0WAVErubbish")) is None
    assert flac.encode(io.BytesIO(b"")) is None


def test_a_flac_that_decodes_to_something_else_leaves_the_wav(monkeypatch):
    file = wav(as_float(pcm()))
    monkeypatch.setattr(flac, "_decoded", lambda encoded: "another digest")
    assert flac.encode(file) is None


ODD = {
    "off-grid": (as_float(pcm(96_000)) * np.float32(0.999), 48000, "FLOAT"),
    "nan": (np.where(np.arange(96_000)[:, None] == 5, np.float32(np.nan), as_float(pcm(96_000))), 48000, "FLOAT"),
    "one": (np.where(np.arange(96_000)[:, None] == 5, np.float32(1), as_float(pcm(96_000))), 48000, "FLOAT"),
    "stereo": (as_float(pcm(96_000, 2)), 48000, "FLOAT"),
    "44.1 kHz": (as_float(pcm(88_200)), 44100, "FLOAT"),
    "16-bit": (pcm(96_000), 48000, "PCM_16"),
}


@pytest.fixture(scope="module")
def odd_audio(tmp_path_factory):
    """(folder, file id, WAV's path): a recording whose WAV the tests replace."""
    folder = tmp_path_factory.mktemp("odd") / "data"
    corpus = synthesize(folder, "tree", interactions=1, seconds=2.0)
    path = next(folder.rglob(f"{corpus.recordings[0].file_id}.wav"))
    return folder, corpus.recordings[0].file_id, path


def audio_of(folder, output, id, **settings):
    planned = plan_shards(Selection("full", modalities="audio"), folder, **settings)
    sidecar = convert_shard(planned, 0, output)
    (row,) = pq.read_table(output / sidecar.shard, filters=[("id", "==", id)]).to_pylist()
    return row


@pytest.mark.parametrize("kind", ODD)
def test_odd_audio_is_published_bit_for_bit(odd_audio, tmp_path, kind):
    folder, id, path = odd_audio
    samples, rate, subtype = ODD[kind]
    soundfile.write(path, samples, rate, subtype=subtype)
    row = audio_of(folder, tmp_path, id)
    is_flac = kind in ("stereo", "44.1 kHz", "16-bit")
    assert row["audio"]["path"] == f"{id}.{'flac' if is_flac else 'wav'}"
    assert is_flac or row["audio"]["bytes"] == path.read_bytes()
    dtype = "int16" if subtype == "PCM_16" else "float32"
    decoded, its_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype=dtype, always_2d=True)
    assert its_rate == rate
    np.testing.assert_array_equal(decoded, samples)


def test_a_damaged_wav_is_null_with_its_issue(odd_audio, tmp_path):
    folder, id, path = odd_audio
    path.write_bytes(b"RIFF and nothing else")
    row = audio_of(folder, tmp_path, id)
    assert row["audio"] is None and [issue["column"] for issue in row["issues"]] == ["audio"]
    assert row["audio_url"].endswith(f"/audio/{id}.wav")


@pytest.mark.parametrize("how", ["wav", "url"])
def test_audio_as_wav_or_address(corpora, tmp_path, how):
    folder, corpus = corpora["tree"]
    id = corpus.recordings[0].file_id
    row = audio_of(folder, tmp_path, id, audio=how, media_url="https://example.org/base/")
    path = next(folder.rglob(f"{id}.wav"))
    assert row["audio_url"] == f"https://example.org/base/{path.relative_to(folder).as_posix()}"
    assert row["audio"] == ({"bytes": path.read_bytes(), "path": f"{id}.wav"} if how == "wav" else None)
    shutil.rmtree(tmp_path)
