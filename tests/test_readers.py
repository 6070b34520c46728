"""Arrays and text, whole and hostile, as files of either layout."""

import errno
import io
import json
import os
import pickle
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from seamless_interaction import ARRAYS
from seamless_interaction.errors import (
    BadFile,
    EmptyFile,
    MissingFile,
    TruncatedFile,
    UnreadableFile,
    UnsafeFile,
    WrongType,
)
from seamless_interaction.formats import arrays
from seamless_interaction.formats.arrays import NpyRows, Npz, read_npy
from seamless_interaction.formats.text import parse_bundle_json, parse_json_lines
from seamless_interaction.places.limits import MAX_FRAMES
from seamless_interaction.places.place import Place
from seamless_interaction.places.ranges import SharedFile

POSE, MASK, FACE = ARRAYS["smplh:body_pose"], ARRAYS["smplh:is_valid"], ARRAYS["movement:is_valid"]


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def npy(values, **kwargs) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values, **kwargs)
    return file.getvalue()


def header(shape, descr="<f4", fortran=False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return file.getvalue()


def npz(content: bytes, name="smplh:body_pose.npy", compression=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def read_from(kind, tmp_path, content: bytes, array=POSE):
    """Read an NPY's bytes as a local file, a remote one, or a member of an NPZ."""
    if kind == "local":
        (tmp_path / "a.npy").write_bytes(content)
        return read_npy(Place(tmp_path), "a.npy", array)
    if kind == "remote":
        fsspec.filesystem("memory").pipe("/readers/a.npy", content)
        return read_npy(Place("memory://readers"), "a.npy", array)
    stored = zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED
    packed = npz(content, compression=stored)
    return Npz(lambda start, end: packed[start:end], len(packed), "a.npz").array("smplh:body_pose.npy", array)


def test_arrays_of_local_files_keep_no_file_open(tmp_path):
    """A shuffled stream holds thousands of them, and processes may have 1024 files open, or 256."""
    np.save(tmp_path / "a.npy", np.ones((8, 21, 3), np.float32))
    before = len(os.listdir("/dev/fd"))
    held = [read_npy(Place(tmp_path), "a.npy", POSE) for _ in range(9)]
    assert len(os.listdir("/dev/fd")) == before and not any(values.flags.owndata for values in held)


def test_files_that_cannot_be_mapped_are_read(tmp_path, monkeypatch):
    """As on some file systems of clouds and virtual machines; none can be mounted here."""
    np.save(tmp_path / "a.npy", np.ones((8, 21, 3), np.float32))
    no_such_device = OSError(errno.ENODEV, "Memory mapping file failed")
    monkeypatch.setattr(arrays.pa, "memory_map", mock.Mock(side_effect=no_such_device))
    assert read_npy(Place(tmp_path), "a.npy", POSE).sum() == 8 * 21 * 3


kinds = pytest.mark.parametrize("kind", ["local", "remote", "deflated", "stored"])


@kinds
def test_values_are_bit_exact(kind, tmp_path):
    values = np.random.default_rng(0).standard_normal((50, 21, 3)).astype(np.float32)
    np.testing.assert_array_equal(read_from(kind, tmp_path, npy(values)), values)


@kinds
def test_float64_becomes_float32(kind, tmp_path):
    values = np.random.default_rng(0).standard_normal((5, 21, 3))
    read = read_from(kind, tmp_path, npy(values))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(np.float32))


@kinds
def test_no_frames_keep_their_shape(kind, tmp_path):
    assert read_from(kind, tmp_path, npy(np.empty((0, 21, 3), np.float32))).shape == (0, 21, 3)


def test_other_byte_order_and_header_version(tmp_path):
    values = np.arange(126, dtype=">f4").reshape(2, 21, 3)
    read = read_from("local", tmp_path, npy(values, version=(2, 0)))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("array, shape", [(MASK, (4, 1)), (MASK, (4,)), (FACE, (4,)), (FACE, (4, 1))])
def test_masks_are_zeros_and_ones_of_any_kind_with_and_without_an_axis_of_one(tmp_path, array, shape, dtype):
    """The bucket has movement's as bool (T,), the Hub as float32 (T, 1)."""
    values = np.array([1, 0, 0, 1], dtype)
    content = npy(values.reshape(shape))
    rows = NpyRows(SharedFile(io.BytesIO(content)).read_into, array, "a.npy", len(content))
    for read in read_from("local", tmp_path, content, array), rows.rows(0, 4):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, values.astype(array.dtype).reshape(4, *array.shape))


def test_threads_that_share_a_file_read_their_own_rows(tmp_path):
    values = np.arange(200 * 63, dtype="<f4").reshape(200, 21, 3)
    (tmp_path / "a.npy").write_bytes(npy(values))
    rows = NpyRows(SharedFile(open(tmp_path / "a.npy", "rb", buffering=0)).read_into, POSE, "a.npy")  # noqa: SIM115
    with ThreadPoolExecutor(4) as pool:
        for first, read in enumerate(
            pool.map(lambda first: [rows.rows(first, first + 1) for _ in range(9)], range(200))
        ):
            assert all((row == values[first]).all() for row in read)


@pytest.mark.parametrize("array", [MASK, FACE])
@pytest.mark.parametrize("values", [np.float32([1, 0.5]), np.float64([0, np.nan]), np.int8([0, -1]), np.uint8([1, 2])])
def test_a_mask_of_other_values_is_named(tmp_path, array, values):
    for content in npy(values), npy(np.uint8([0, 2]).view(bool)):
        with pytest.raises(WrongType, match="neither 0 nor 1"):
            read_from("local", tmp_path, content, array)
        with pytest.raises(WrongType, match=r"a\.npy.*neither 0 nor 1"):
            NpyRows(SharedFile(io.BytesIO(content)).read_into, array, "a.npy", len(content)).rows(0, 2)


@pytest.mark.parametrize("dtype", ["S1", "c8", "U1"])
def test_a_mask_that_is_no_number_is_named(tmp_path, dtype):
    with pytest.raises(WrongType):
        read_from("local", tmp_path, npy(np.zeros(2, dtype)), FACE)


@kinds
@pytest.mark.parametrize(
    "content, error",
    [
        (npy(np.zeros((3, 21, 3), np.float32))[:-1], TruncatedFile),
        (npy(np.zeros((3, 21, 3), np.float32))[:40], TruncatedFile),
        (npy(np.zeros((3, 21, 3), np.float32)) + b"\0", UnsafeFile),
        (header((10**6, 21, 3)), (TruncatedFile, UnsafeFile)),  # DEFLATE cannot hold so much in so few bytes
        (header((MAX_FRAMES + 1, 21, 3)), UnsafeFile),
        (header((2**62, 21, 3)), UnsafeFile),
        (header((3, 22, 3)) + bytes(792), WrongType),
        (header((189,)) + bytes(756), WrongType),
        (header(()) + bytes(4), WrongType),
        (header((3, 21, 3), fortran=True) + bytes(756), WrongType),
        (header((3, 21, 3), "<i4") + bytes(756), WrongType),
        (header((3, 21, 3), "<f2") + bytes(378), WrongType),
        (header((3, 21, 3), "<c8") + bytes(1512), WrongType),
        (header((3, 21, 3), "|S4") + bytes(756), WrongType),
        (header((-3, 21, 3)) + bytes(756), BadFile),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 70_000, UnsafeFile),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': exit()}", UnreadableFile),
        (b"\x93NUMPY\x09\x00" + bytes(100), UnreadableFile),
        (b"<html>Access denied</html>", UnreadableFile),
        (b"", EmptyFile),
    ],
    ids=range(20),
)
def test_an_array_that_cannot_be(kind, tmp_path, content, error):
    with pytest.raises(error) as caught:
        read_from(kind, tmp_path, content)
    assert caught.value.reason and "a.np" in caught.value.path


@kinds
def test_pickles_are_refused_and_not_run(kind, tmp_path):
    touched = tmp_path / "touched"
    content = header((1,), "|O") + pickle.dumps(np.array([Touch(str(touched))], object))
    with pytest.raises(UnsafeFile, match="unpickled"):
        read_from(kind, tmp_path, content)
    assert not touched.exists()


def test_missing(tmp_path):
    for place in (Place(tmp_path), Place("memory://nothing-here")):
        with pytest.raises(MissingFile):
            read_npy(place, "a.npy", POSE)


@settings(max_examples=200, deadline=None)
@given(
    st_np.arrays(
        dtype=st.one_of(st_np.floating_dtypes(), st_np.integer_dtypes(), st_np.boolean_dtypes()),
        shape=st_np.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    st.integers(0, 200),
    st.sampled_from([POSE, MASK, FACE, ARRAYS["boxes_and_keypoints:box"]]),
)
def test_any_array_is_read_or_named(values, cut, array):
    """Whatever an NPY declares: the result has the format's type, or the error is one of ours."""
    content = npy(values)
    content = content[: len(content) - cut] if cut < 100 else content
    packed = npz(content)
    try:
        read = Npz(lambda start, end: packed[start:end], len(packed), "x").array("smplh:body_pose.npy", array)
    except BadFile:
        return
    assert (read.shape[1:], read.dtype) == (array.shape, array.dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(read, values.astype(array.dtype).reshape(read.shape))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_is_an_error_or_no_matter(position, value):
    values = np.random.default_rng(0).standard_normal((20, 21, 3)).astype(np.float32)
    packed = bytearray(npz(npy(values)))
    packed[position % len(packed)] = value
    try:
        read = Npz(lambda start, end: bytes(packed[start:end]), len(packed), "x").array("smplh:body_pose.npy", POSE)
    except BadFile:
        return
    if read is not None:  # else its name was hit
        np.testing.assert_array_equal(read, values)


# --- NPZ ------------------------------------------------------------------------------------------


def test_only_the_member_asked_for_is_read():
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    np.savez_compressed(file, **{key: rng.random((200, *a.shape)).astype(a.dtype) for key, a in ARRAYS.items()})
    packed = file.getvalue()
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo("smplh:body_pose.npy").compress_size
    read = []

    def ranges(start, end):
        read.append(end - start)
        return packed[start:end]

    Npz(ranges, len(packed), "x").array("smplh:body_pose.npy", POSE)
    assert sum(read) < member + 6_000 < len(packed) / 10
    assert len(read) == 2  # the directory, the member


def test_an_absent_member_is_none():
    packed = npz(npy(np.zeros((3, 21, 3), np.float32)))
    assert Npz(lambda start, end: packed[start:end], len(packed), "x").array("movement:FAUValue.npy", POSE) is None


def test_a_bomb_is_not_inflated(tmp_path):
    """64 MB of zeros behind the header of a small array: never held in memory."""
    import tracemalloc

    packed = npz(npy(np.zeros((3, 21, 3), np.float32)) + bytes(1 << 26))
    tracemalloc.start()
    with pytest.raises(UnsafeFile, match="inflates beyond"):
        Npz(lambda start, end: packed[start:end], len(packed), "x").array("smplh:body_pose.npy", POSE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_header_that_promises_more_than_its_bytes_can_hold_is_refused_before_allocating():
    packed = npz(header((MAX_FRAMES, 21, 3)) + bytes(1000))
    with pytest.raises(UnsafeFile, match="more than"):
        Npz(lambda start, end: packed[start:end], len(packed), "x").array("smplh:body_pose.npy", POSE)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x05\x06" + bytes(17), b"MZ" * 500])
def test_what_is_no_zip(content):
    with pytest.raises(BadFile):
        Npz(lambda start, end: content[start:end], len(content), "x")


def test_a_cut_zip_has_no_directory():
    packed = npz(npy(np.zeros((300, 21, 3), np.float32)))[:-30]
    with pytest.raises(TruncatedFile):
        Npz(lambda start, end: packed[start:end], len(packed), "x")


def test_a_member_twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("smplh:body_pose.npy", npy(np.zeros((3, 21, 3), np.float32)))
        archive.writestr("smplh:body_pose.npy", npy(np.ones((3, 21, 3), np.float32)))
    packed = file.getvalue()
    with pytest.raises(UnreadableFile, match="two members"):
        Npz(lambda start, end: packed[start:end], len(packed), "x")


def declaring(packed: bytes, field: str, value: int) -> bytes:
    """An NPZ of one member whose directory says something else."""
    changed = bytearray(packed)
    at = changed.rfind(b"PK\x01\x02")
    form, offset = {"flags": ("<H", 8), "compression": ("<H", 10), "length": ("<I", 20), "offset": ("<I", 42)}[field]
    struct.pack_into(form, changed, at + offset, value)
    return bytes(changed)


def preceded(packed: bytes, num_bytes: int) -> bytes:
    """An NPZ that says that its directory lies further on, so that its members lie before the file's start."""
    changed = bytearray(packed)
    at = len(changed) - 6
    struct.pack_into("<I", changed, at, struct.unpack_from("<I", changed, at)[0] + num_bytes)
    return bytes(changed)


def far(packed: bytes) -> bytes:
    """An NPZ whose member lies at byte 2**63, as zip64 tells it."""
    changed = bytearray(declaring(packed, "offset", 0xFFFFFFFF))
    at = changed.rfind(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, 1 << 63)
    name_length, extra_length = struct.unpack_from("<HH", changed, at + 28)
    struct.pack_into("<H", changed, at + 30, extra_length + len(extra))
    end = changed.rfind(b"PK\x05\x06")
    struct.pack_into("<I", changed, end + 12, struct.unpack_from("<I", changed, end + 12)[0] + len(extra))
    return bytes(changed[: at + 46 + name_length] + extra + changed[at + 46 + name_length :])


IMPOSSIBLE = {
    "before the file": (lambda packed: preceded(packed, 8), "from byte -8 on"),
    "far beyond it": (far, "from byte 9223372036854775808 on"),
    "longer than it": (lambda packed: declaring(packed, "length", 0xFFFFFF), "16777215 packed bytes"),
    "encrypted": (lambda packed: declaring(packed, "flags", 1), "encrypted"),
    "LZMA": (lambda packed: declaring(packed, "compression", zipfile.ZIP_LZMA), "method 14"),
    "bzip2": (lambda packed: declaring(packed, "compression", zipfile.ZIP_BZIP2), "method 12"),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_a_member_that_cannot_be_where_or_what_the_directory_says(kind):
    spoil, reason = IMPOSSIBLE[kind]
    packed = spoil(npz(npy(np.zeros((3, 21, 3), np.float32))))
    found = Npz(lambda start, end: packed[start:end], len(packed), "x")
    for read in (
        lambda: found.packed("smplh:body_pose.npy"),
        lambda: found.array("smplh:body_pose.npy", POSE),
    ):
        with pytest.raises(BadFile, match=reason):
            read()


# --- text -----------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=30)
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4)), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_json_lines_are_read_as_they_were_written(records, newline):
    content = "\ufeff" * bool(records) + "".join(json.dumps(record, ensure_ascii=False) + newline for record in records)
    assert (
        parse_json_lines(content.encode("utf-8", "surrogatepass") if content.isascii() else content.encode(), "x")
        == records
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_named(content):
    try:
        assert all(isinstance(record, dict) for record in parse_json_lines(content, "x"))
    except UnreadableFile as error:
        assert "line " in str(error)


@pytest.mark.parametrize("line", ["{", "[]", "1", '{"a": 1}{"b": 2}', "\xff", "[" * 100_000])
def test_a_line_that_is_no_object(line):
    with pytest.raises(UnreadableFile, match="line 2"):
        parse_json_lines(b'{"a": 1}\n' + line.encode("latin-1"), "x")


@pytest.mark.parametrize("content, error", [(b"", EmptyFile), (b"{", UnreadableFile), (b"[]", UnreadableFile)])
def test_a_bundle_that_is_no_object(content, error):
    with pytest.raises(error):
        parse_bundle_json(content, "x", "V00_S0809_I00000582_P0947")


def test_a_bundle_of_another_recording():
    content = b'{"id": "V00_S0809_I00000582_P0001"}'
    with pytest.raises(UnreadableFile, match="belongs to 'V00_S0809_I00000582_P0001'"):
        parse_bundle_json(content, "x", "V00_S0809_I00000582_P0947")


def test_zip_of_numpy_has_a_local_header_of_its_own_length(tmp_path):
    """np.savez writes a zip64 field into local headers only; where the data starts is read from there."""
    np.savez(tmp_path / "a.npz", **{"smplh:body_pose": np.ones((3, 21, 3), np.float32)})
    packed = (tmp_path / "a.npz").read_bytes()
    name, extra = struct.unpack("<HH", packed[26:30])
    assert (name, extra) == (19, 20)
    read = Npz(lambda start, end: packed[start:end], os.path.getsize(tmp_path / "a.npz"), "x")
    assert read.array("smplh:body_pose.npy", POSE).sum() == 189


@pytest.mark.parametrize(
    "at, value", [(20, 0xFFFFFFF0), (24, 0xFFFFFFF0), (42, 0xFFFFFF00)], ids=["packed", "plain", "offset"]
)
def test_a_lie_of_the_zip_directory_allocates_nothing(at, value, tmp_path):
    import tracemalloc

    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{"smplh:body_pose": np.ones((3, 21, 3), np.float32)})
    packed = bytearray(path.read_bytes())
    at += packed.index(b"PK\x01\x02")
    packed[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(packed)
    tracemalloc.start()
    with open(path, "rb") as file:

        def read(start, end):
            file.seek(start)
            return file.read(end - start)

        try:
            Npz(read, len(packed), "x").array("smplh:body_pose.npy", POSE)
        except BadFile as error:
            assert error.reason
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 22


def test_a_row_per_fifteen_frames_has_a_fifteenth_of_the_rows(tmp_path):
    hypernet = ARRAYS["movement:hypernet_features"]
    with pytest.raises(UnsafeFile, match="more than any recording"):
        read_from("local", tmp_path, header((MAX_FRAMES // 15 + 1, 5120)), hypernet)


def test_the_checksum_is_checked():
    packed = bytearray(npz(npy(np.ones((3, 21, 3), np.float32)), compression=zipfile.ZIP_STORED))
    packed[30 + 19 + 200] ^= 1
    with pytest.raises(UnreadableFile, match="checksum"):
        Npz(lambda start, end: bytes(packed[start:end]), len(packed), "x").array("smplh:body_pose.npy", POSE)
