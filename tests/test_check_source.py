"""Whether what is not as we take it to be is found out, and named with what it is instead."""

import csv
import io
import json
import shutil
import tarfile
import zipfile
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile
from servers import HTML, Answer, Bucket, Hub, use_hub, xml_error

from seamless_interaction import FILELIST_FLAGS
from seamless_interaction.check.facts import FACTS
from seamless_interaction.check.run import AGREES, CANNOT_TELL, DISAGREES, check, one_interaction_of_each_vendor
from seamless_interaction.errors import AccessDenied, SourceNotFound, SourceUnreachable
from seamless_interaction.places.place import Place
from seamless_interaction.source.layout import archive_path, tree_path
from seamless_interaction.source.tables import read_filelist

# What a synthetic corpus differs in on purpose: it is short, its pictures have a sixth of the size, and its tables have
# few rows; a tree has some float64. A local server's ETags are no MD5s.
MADE_UP = {"movement-length", "video-raster", "size", *(check.id for check in FACTS if check.id.endswith("-rows"))}
MADE_UP -= {"hypernet-rows"}
TREE_ONLY = {"array-dtype", "host-etag"}
# Two seconds have one key frame, and their movement happens to be valid throughout.
TOO_SHORT = {"video-keys", "movement-blocks", "movement-zeros"}
HOST = {"missing-403", "host-ranges", "host-length", "host-etag", "host-listing"}
BUNDLE = {"bundle-keys", "bundle-id", "bundle-indented", "npz-names", "npz-compression", "tar-members"}
TREE = {"drafts-absent", "v4-absent"}


@pytest.fixture(scope="module", autouse=True)
def alone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seamless_interaction.places.retry._FIRST_WAIT", 0.001)
        yield


def checked(url, folder, small=False, **options):
    return check(Place(str(url)), read_filelist(Place(folder)), small, **options)


def of_vendors(folder, *vendors):
    """The file list, of fewer recordings to look at."""
    filelist = read_filelist(Place(folder))
    return filelist.filter(pc.is_in(pc.utf8_slice_codeunits(filelist["file_id"], 0, 3), pa.array(vendors)))


def ids(report, verdict):
    return {check.id for check in report.checks if check.verdict == verdict}


# --- what is as it should be ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy(corpora):
    with Bucket(corpora["tree"][0], prefix="seamless_interaction") as bucket:
        report = checked(bucket.url, corpora["tree"][0])
        return report, bucket.bytes_sent, len(bucket.requests)


def test_all_agrees_but_for_what_is_made_up(healthy):
    report = healthy[0]
    assert ids(report, DISAGREES) == MADE_UP | TREE_ONLY
    assert ids(report, CANNOT_TELL) == TOO_SHORT | BUNDLE | {"nothing-else"}
    assert ids(report, AGREES) == {fact.id for fact in FACTS} - MADE_UP - TREE_ONLY - TOO_SHORT - BUNDLE - {
        "nothing-else"
    }


def test_the_costs_are_told(healthy):
    report, sent, requests = healthy
    assert report.environment["bytes_read"] <= sent  # and of other requests, a host's own words
    assert report.environment["bytes_read"] > sent * 0.9
    assert abs(report.environment["requests"] - requests) <= 20  # tables and sources are asked for once more


def test_a_report_is_readable_and_json(healthy):
    report = healthy[0]
    text, data = report.as_text(), json.loads(report.as_json())
    assert [row["id"] for row in data["checks"]] == [fact.id for fact in FACTS]
    assert data["environment"]["file_ids"] == report.environment["file_ids"]
    assert "    - <f8 (V00_S0102" in text and "video-raster: a raster the vendor is known for (seen before" in text
    assert text.index("video-raster") < text.index("video-keys") < text.index("audio-mono")


def test_one_interaction_of_each_vendor_is_chosen_with_annotations_if_there_are(corpora):
    filelist = read_filelist(Place(corpora["tree"][0]))
    annotated = {r.file_id for r in corpora["tree"][1].recordings if r.kinds}
    chosen = one_interaction_of_each_vendor(filelist)
    assert [row.vendor for row in chosen] == ["V00", "V00", "V01", "V01", "V02", "V02", "V03", "V03"]
    assert {row.file_id for row in chosen if row.vendor in ("V00", "V03")} == annotated
    shuffled = filelist.take(np.random.default_rng(0).permutation(len(filelist)))
    assert one_interaction_of_each_vendor(shuffled) == chosen


def test_the_choice_of_the_whole_dataset_is_pairs_with_annotations(whole_filelist):
    chosen = one_interaction_of_each_vendor(whole_filelist)
    pairs = [chosen[at : at + 2] for at in range(0, 8, 2)]
    assert len(chosen) == 8
    assert all(a.file_id[:19] == b.file_id[:19] for a, b in pairs)
    assert all(row.has_annotation_3p for row in pairs[0]) and all(row.has_annotation_1p for row in pairs[3])
    assert pairs[1][0].split == pairs[2][0].split == "dev"  # of vendors without annotations


@pytest.mark.parametrize("layout", ["bundles", "archives"])
def test_folders_of_bundles_and_archives(corpora, layout):
    report = checked(corpora[layout][0], corpora[layout][0])
    extra = {"nothing-else"} if layout == "bundles" else set()  # the synthetic corpus has an `extra` folder
    assert ids(report, DISAGREES) == MADE_UP | extra
    assert ids(report, CANNOT_TELL) == TOO_SHORT | HOST | TREE | ({"tar-members"} if layout == "bundles" else set())


def test_the_hub(corpora):
    folder = corpora["archives"][0]
    with Hub(folder) as hub, use_hub(hub):
        report = checked(f"hf://datasets/{hub.repo}", folder)
    assert report.environment["layout"] == "archives"
    assert ids(report, DISAGREES) == MADE_UP
    assert report["tar-members"].verdict == AGREES
    assert report["npz-compression"].observed[0].observed == "DEFLATE"


def test_small_reads_no_samples(corpora, monkeypatch):
    monkeypatch.setattr("seamless_interaction.check.look._BLOCK", 1 << 10)
    folder = corpora["tree"][0]
    with Bucket(folder) as bucket:
        report = check(Place(bucket.url), of_vendors(folder, "V00", "V02"), small=True)
        audio = sum(r.sent_bytes for r in bucket.requests if r.path.endswith(".wav"))
    assert audio == 4 << 10
    assert report["audio-grid"].verdict == CANNOT_TELL
    assert ids(report, DISAGREES) == MADE_UP | TREE_ONLY
    assert report["audio-format"].verdict == AGREES


@pytest.mark.parametrize("layout", ["tree", "bundles"])
def test_small_reads_the_beginning_of_arrays_and_masks_whole(corpora, monkeypatch, layout):
    folder = corpora[layout][0]
    monkeypatch.setattr("seamless_interaction.formats.arrays._STEP", 1 << 10)  # what a member of an NPZ is unpacked by
    reports = []
    for limit in (1 << 13, 1 << 30):
        monkeypatch.setattr("seamless_interaction.check.look._SMALL", limit)
        reports.append(checked(folder, folder, small=True))
    little, all_of_it = (report.environment["bytes_read"] for report in reports)
    assert little < all_of_it * 0.7
    assert {check.id: check.verdict for check in reports[0].checks} == {c.id: c.verdict for c in reports[1].checks}


def test_progress_ends_with_all(corpora):
    calls = []
    checked(corpora["bundles"][0], corpora["bundles"][0], True, progress=lambda *call: calls.append(call))
    assert calls == [(number, 8) for number in range(9)]


# --- surprises ------------------------------------------------------------------------------------


class OtherBucket(Bucket):
    """As nobody says the bucket is: 404 for what is missing, and a page for who asks for the root."""

    def answer(self, query):
        if query.path in (self.prefix, f"{self.prefix}/"):
            return Answer(200, {"Content-Type": "text/html"}, HTML)
        answer = super().answer(query)
        return xml_error(404, "NoSuchKey", "Not here") if answer.status == 403 else answer


class Spoiler:
    """Changes the files of the recordings that are looked at; by number, partners adjacent, as vendors come."""

    def __init__(self, folder):
        self.folder, self.rows = folder, one_interaction_of_each_vendor(read_filelist(Place(folder)))

    def path(self, number, part, directory=None, extension=None):
        row = self.rows[number]
        path = self.folder / tree_path(row.label, row.split, part, row.file_id)
        if directory:
            path = self.folder / row.label / row.split / directory / f"{row.file_id}{extension or path.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def array(self, number, key, change):
        path = self.path(number, key)
        np.save(path, change(np.load(path).copy()))

    def records(self, number, part, change):
        path = self.path(number, part)
        records = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(f"{json.dumps(record)}\n" for record in change(records)))


def put(values, at, value):
    values[at] = value
    return values


BOX, SMPLH = "boxes_and_keypoints", "smplh"
V00, V01, V02, V03 = 0, 2, 4, 6  # the first recording of each

ARRAY_SURPRISES = [  # recording, array, what is done to it, the check that finds it, what it says
    (V01, f"{SMPLH}:is_valid", lambda v: v[:, None], "array-shape", "(T, 1)"),
    (V02, f"{SMPLH}:is_valid", lambda v: v.astype("float64"), "array-dtype", "<f8"),
    (V03, f"{SMPLH}:global_orient", lambda v: v.astype(">f4"), "array-order", "C order, big-endian"),
    (V01, f"{SMPLH}:left_hand_pose", np.asfortranarray, "array-order", "Fortran order, little-endian"),
    (
        V02,
        f"{SMPLH}:body_pose",
        lambda v: put(v.astype("float32"), (3, 2, 1), np.nan),
        "array-finite",
        "1 NaN or infinite",
    ),
    (V03, f"{SMPLH}:body_pose", lambda v: put(v, (0, 0, 0), 7.5), "pose-range", "-2.5 to 7.5"),
    (V03, f"{SMPLH}:right_hand_pose", lambda v: v[:-2], "array-lengths", "T = 75, but smplh:right_hand_pose 73"),
    (V01, f"{SMPLH}:translation", lambda v: put(v, slice(None), 1.0), "translation-sentinel", "invalid boxes without"),
    (V01, f"{SMPLH}:translation", lambda v: put(v, slice(None), 1.0), "array-dead", "constant: 0, 1, 2 of 3"),
    (V02, f"{BOX}:box", lambda v: put(v, slice(None), 99), "box-zeros", "invalid frames are not zeros"),
    (V03, f"{BOX}:box", lambda v: put(v, (0, 2), 5000), "box-inside", "5000"),
    (V03, f"{BOX}:keypoints", lambda v: put(v, (0, 0, 0), 1e5), "keypoint-range", "1e+05"),
    (V02, f"{BOX}:keypoints", lambda v: put(v, (0, 0, 2), 1.75), "keypoint-scores", "0 to 1.75"),
    (V02 + 1, f"{SMPLH}:is_valid", np.ones_like, "box-implies-smplh", "frames with an invalid box are smplh-valid"),
    (V03 + 1, f"{SMPLH}:left_hand_pose", lambda v: v + np.arange(len(v))[:, None, None], "hands-frozen", "0%"),
    (V00, "movement:is_valid", lambda v: put(v, slice(3, 20), 0), "movement-blocks", "frames [3, 20]"),
    (V00, "movement:is_valid", lambda v: put(v, slice(3, 20), 0), "movement-zeros", "17 invalid frames are not zeros"),
    (V00 + 1, "movement:is_valid", lambda v: put(v.astype("float32"), 0, 0.5), "mask-values", "0.5 and 1"),
    (V00, "movement:FAUToken", lambda v: v + 0.5, "tokens-integers", "not integers"),
    (V00 + 1, "movement:FAUToken", lambda v: v + 5000, "tokens-fau", "6.02e+03"),
    (V00, "movement:EmotionArousalToken", lambda v: v + 90, "tokens-emotion", "90"),
    (V00, "movement:FAUValue", lambda v: put(v, (5, 17), 1.5), "fau-dead", "dead columns: 16, 18"),
    (V00 + 1, "movement:FAUValue", lambda v: v * 3, "fau-range", "to 6"),
    (V00, "movement:emotion_scores", lambda v: np.full_like(v, 0.125), "emotion-logits", "0.125 to 0.125"),
    (V00, "movement:emotion_valence", lambda v: v * 10, "emotion-range", "to 6"),
    (
        V00,
        "movement:hypernet_features",
        lambda v: np.concatenate([v, v[:1]]),
        "hypernet-rounding",
        "5 rows for 72 frames",
    ),
    (V00 + 1, "movement:hypernet_features", lambda v: np.repeat(v, 2, 0), "hypernet-rows", "8 rows for 72 frames"),
]
OTHER_SURPRISES = [
    ("missing-403", "404"),
    ("host-listing", "<!DOCTYPE html>"),
    ("v4-absent", "expression <f2 (3, 7)"),
    ("drafts-absent", "vad/V01_S0101"),
    ("array-present", "not there"),
    ("array-version", "2.0"),
    ("audio-format", "PCM, 16 bits"),
    ("audio-mono", "2 channels"),
    ("audio-rate", "44100 Hz"),
    ("audio-header", "bytes: fmt, data"),
    ("audio-grid", "1 of 105500 samples off it"),
    ("audio-duration", "+1.2"),
    ("audio-exact", "-100.0 samples"),
    ("array-video", "-2 frames (arrays 58, video 60)"),
    ("video-codec", "vp9"),
    ("video-fps", "25.00000"),
    ("video-aspect", "2.0000"),
    ("video-raster", "64 x 32"),
    ("video-keys", "every 12 frames"),
    ("video-index", "ftyp free mdat moov"),
    ("video-sound", "at 44100 Hz"),
    ("video-channels", "1 channels"),
    ("video-timecode", "none; tracks: video audio"),
    ("video-start", "at 0.2000 s"),
    ("text-form", "a JSON array"),
    ("text-types", "start_ts float"),
    ("transcript-keys", "{end, start, text}"),
    ("word-keys", "{end, speaker, start, word}"),
    ("word-untimed", "2 of 2 words"),
    ("vad-keys", "{end, is_speech, start}"),
    ("vad-intervals", "1 not forward, 1 out of order"),
    ("vad-milliseconds", "0.12345"),
    ("annotation-keys", "{annotation, end, start}"),
    ("annotation-kinds", "1P-IS, 3P-IS, 3P-R, 3P-V (flags"),
    ("annotation-some", "no records"),
    ("transcript-here", "absent"),
    ("files-readable", "not an MP4"),
    ("files-complete", "without vad"),
    ("filelist-columns", "quality"),
    ("interactions-columns", "prompt_hash, "),
    ("participants-columns", "participant_id; 1 odd rows"),
    ("participants-vendor", "V07"),
    ("participants-undisclosed", "1 rows in part"),
    ("prompts-id", "'324'"),
    ("participants-id", "'P0001'"),
    ("relationships-columns", "session_id, kind, relationship_detail"),
    ("relationships-vendor", "'03'"),
    ("relationships-session", "'S0001'"),
]


@pytest.fixture(scope="module")
def surprised(corpora, tmp_path_factory):
    folder = tmp_path_factory.mktemp("surprised") / "data"
    shutil.copytree(corpora["tree"][0], folder)
    spoil = Spoiler(folder)
    for number, key, change in dict.fromkeys(surprise[:3] for surprise in ARRAY_SURPRISES):
        spoil.array(number, key, change)
    np.save(spoil.path(V00, "vad", "movement_v4/expression", ".npy"), np.zeros((3, 7), "float16"))
    spoil.path(V01, "vad").rename(spoil.path(V01, "vad", "vad"))
    spoil.path(V03, "boxes_and_keypoints:is_valid_box").unlink()
    spoil.array(V01 + 1, "smplh:body_pose", lambda v: v[:-2])
    with open(spoil.path(V03, "smplh:translation"), "r+b") as file:
        values = np.load(file)
        file.seek(0)
        np.lib.format.write_array(file, values, version=(2, 0))

    audio = soundfile.read(spoil.path(V00, "audio"))[0]
    soundfile.write(spoil.path(V00, "audio"), audio, 48000, "PCM_16")
    soundfile.write(spoil.path(V00 + 1, "audio"), np.stack([audio, audio], 1), 48000, "FLOAT")
    soundfile.write(spoil.path(V01, "audio"), np.zeros(144_000), 44100, "FLOAT")
    off = bytearray(spoil.path(V02, "audio").read_bytes())
    off[58:62] = np.float32(0.1).tobytes()
    spoil.path(V02, "audio").write_bytes(off[:-400])
    spoil.path(V02 + 1, "video").write_bytes(b"\x00\x00\x00\x18no pictures in here")

    _other_video(spoil.path(V00, "video"))

    spoil.records(V00 + 1, "vad", lambda records: [{"start": 1.5, "end": 1.0}, {"start": 0.12345, "end": 0.5}])
    spoil.records(V03, "vad", lambda records: [{**record, "is_speech": 1} for record in records])
    spoil.records(V00, "transcript", lambda records: [{"start": 0.1, "end": 0.2, "text": "as in old fixtures"}])
    spoil.records(V03, "transcript", lambda records: [{**records[0], "words": [_word(speaker=1), _word(start=None)]}])
    spoil.path(V01, "transcript").unlink()
    array = [json.loads(line) for line in spoil.path(V00, "3P-IS").read_text().splitlines()]
    spoil.path(V00, "3P-IS").write_text(json.dumps(array))
    spoil.path(V00, "3P-R").write_bytes(b"")
    spoil.records(V00 + 1, "3P-V", lambda records: [{"annotation": "a", "start": 1, "end": 2}])
    spoil.records(V03, "1P-R", lambda records: [{"annotation": "a", "start_ts": 1.5, "end_ts": 2}])
    shutil.copy(spoil.path(V00 + 1, "3P-IS"), spoil.path(V00 + 1, "1P-IS", "annotations/1P-IS"))

    filelist = read_filelist(Place(folder))
    _change_table(folder / "filelist.csv", lambda rows: [[*row, "quality"] for row in rows])
    _change_table(folder / "interactions.csv", lambda rows: [[row[1].lstrip("0"), *row[2:]] for row in rows])
    _change_table(
        folder / "participants.csv", lambda rows: [*rows, ["Undisclosed", "1", "1", "1", "1", "V07", "P0001", "x"]]
    )
    _change_table(
        folder / "relationships.csv",
        lambda rows: [
            ["vendor_id", "session_id", "kind", rows[0][3]],
            *rows[1:],
            ["03", "S0001", "stranger", "stranger"],
        ],
    )
    with OtherBucket(folder, prefix="seamless_interaction") as bucket:
        return check(Place(bucket.url), filelist)


def _other_video(path):
    with av.open(str(path), "w", format="mp4") as container:
        picture = container.add_stream(
            "libvpx-vp9", rate=25, options={"g": "12", "keyint_min": "12", "deadline": "realtime"}
        )
        picture.width, picture.height, picture.pix_fmt, picture.sample_aspect_ratio = 64, 32, "yuv420p", Fraction(2)
        sound = container.add_stream("mp2", rate=44100, layout="mono")
        for number in range(5, 80):
            frame = av.VideoFrame(64, 32, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(picture.encode(frame))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), "int16"), "s16", "mono")
        frame.sample_rate = 44100
        for stream, last in ((sound, frame), (sound, None), (picture, None)):
            container.mux(stream.encode(last))


def _word(**changes):
    return {"word": "a", "start": 0.1, "end": 0.2, **changes}


def _change_table(path, change):
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(change(rows))


@pytest.mark.parametrize(
    "id, observed", [*(surprise[3:] for surprise in ARRAY_SURPRISES), *OTHER_SURPRISES], ids=lambda value: value[:30]
)
def test_a_surprise_is_named_with_what_was_observed(surprised, healthy, id, observed):
    def disagreeing(report):
        return {finding for finding in report[id].observed if finding.agrees is False}

    new = disagreeing(surprised) - disagreeing(healthy[0])
    assert any(observed in finding.observed for finding in new), surprised[id].observed
    assert surprised[id].verdict == DISAGREES


def test_every_fact_has_its_surprise():
    tested = {id for _, _, _, id, _ in ARRAY_SURPRISES} | {id for id, _ in OTHER_SURPRISES}
    elsewhere = BUNDLE | {"host-ranges", "nothing-else", "filelist-flags"}
    assert {fact.id for fact in FACTS} == tested | elsewhere | MADE_UP | {"host-etag", "host-length"}


def test_a_file_list_without_flags(corpora):
    folder = corpora["bundles"][0]
    filelist = read_filelist(Place(folder))
    for flag in FILELIST_FLAGS:
        at = filelist.schema.get_field_index(flag)
        filelist = filelist.set_column(at, flag, pa.nulls(len(filelist), pa.bool_()))
    report = check(Place(folder), filelist, small=True)
    assert report["filelist-flags"].observed[0].observed == "5 columns are known of it"
    assert report["annotation-kinds"].verdict == CANNOT_TELL
    assert len(report.environment["file_ids"]) == 8


def test_surprises_come_first_in_the_text(surprised):
    text = surprised.as_text()
    assert f"Disagrees: {len(surprised.surprises)}\n" in text
    assert text.index("- expression <f2 (3, 7)") < text.index("Cannot tell:")
    json.loads(surprised.as_json())


def test_surprises_in_a_bundle(corpora, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(corpora["bundles"][0], folder)
    row, partner = one_interaction_of_each_vendor(read_filelist(Place(folder)))[:2]

    def path(row, extension):
        where = archive_path(row.label, row.split, row.batch_idx, row.archive_idx)
        return folder / where / f"{row.file_id}{extension}"

    content = json.loads(path(row, ".json").read_text())
    path(row, ".json").write_text(json.dumps({**content, "id": partner.file_id, "metadata:language": "en"}))
    with zipfile.ZipFile(path(row, ".npz")) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["smplh:betas.npy"] = members["smplh:translation.npy"]
    with zipfile.ZipFile(path(row, ".npz"), "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    path(partner, ".json").write_text("[]")
    path(partner, ".wav").unlink()
    report = checked(folder, folder, small=True)
    for id, observed in {
        "bundle-keys": "metadata:language",
        "bundle-id": partner.file_id,
        "bundle-indented": "not indented",
        "npz-names": "25 members, unknown: smplh:betas.npy",
        "npz-compression": "stored",
        "files-readable": "not an object but a list",
        "files-complete": "without .wav",
    }.items():
        assert [f.observed for f in report[id].observed if f.agrees is False and observed in f.observed], id


def test_surprises_in_an_archive(corpora, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(corpora["archives"][0], folder)
    row = one_interaction_of_each_vendor(read_filelist(Place(folder)))[0]
    path = folder / f"{archive_path(row.label, row.split, row.batch_idx, row.archive_idx)}.tar"
    with tarfile.open(path) as old:
        members = [(header, old.extractfile(header).read()) for header in old]
    with tarfile.open(path, "w") as new:
        for header, data in reversed(members):
            new.addfile(header, io.BytesIO(data))
    report = checked(folder, folder, small=True)
    assert report["tar-members"].observed[0].observed.startswith("1 of 1 differ")
    assert ".wav', '.npz', '.mp4', '.json'" in report["tar-members"].observed[0].observed


def test_a_host_that_ignores_ranges_is_a_surprise_that_stops_nothing(corpora):
    folder = corpora["tree"][0]
    with Bucket(folder, ignore_ranges=True) as bucket:
        report = check(Place(bucket.url), of_vendors(folder, "V03"), small=True)
    assert report["host-ranges"].verdict == DISAGREES
    assert "sends whole files" in report["host-ranges"].observed[0].observed
    assert report["array-shape"].verdict == AGREES


# --- what stops it --------------------------------------------------------------------------------


def test_a_host_that_refuses_everything(corpora):
    folder = corpora["tree"][0]
    with Bucket(folder, forbid_all=True) as bucket, pytest.raises(AccessDenied, match="everything else"):
        checked(bucket.url, folder)
    assert len(bucket.requests) < 200  # of the first recording, each file by HEAD and GET, and no more


def test_a_host_that_has_nothing(corpora, tmp_path):
    with OtherBucket(tmp_path) as bucket, pytest.raises(SourceNotFound, match="nothing of what the file list names"):
        checked(bucket.url, corpora["tree"][0])


def test_a_host_that_is_not_there(corpora):
    with Bucket(corpora["tree"][0]) as bucket:
        pass
    with pytest.raises(SourceUnreachable):
        checked(bucket.url, corpora["tree"][0])


def test_a_host_that_goes_away_in_the_middle(corpora):
    folder = corpora["tree"][0]
    with (
        Bucket(folder, failures={".wav": [None] + [503] * 100}) as bucket,
        pytest.raises(SourceUnreachable, match="wav"),
    ):
        checked(bucket.url, folder)
