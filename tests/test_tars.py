"""Members of a tar, listed by its headers."""

import io
import tarfile
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamless_interaction.errors import BadFile, EmptyFile, MissingFile, TruncatedFile, UnreadableFile, UnsafeFile
from seamless_interaction.formats.tar import Member, contents
from seamless_interaction.synthetic.writing import synthesize

BLOCK = 512
END = bytes(2 * BLOCK)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


class Reads:
    """The bytes of a file, and what was read of them."""

    def __init__(self, data):
        self.data, self.ranges = data, []

    def __call__(self, start, end):
        assert 0 <= start < end <= len(self.data)
        self.ranges.append((start, end))
        return self.data[start:end]

    @property
    def bytes(self):
        return sum(end - start for start, end in self.ranges)


def listed(data):
    return contents(Reads(data), len(data), "a.tar")


def errors(found):
    return [(name, type(error)) for name, error in found.problems]


def padded(content):
    return content + bytes(-len(content) % BLOCK)


def header(name, size=0, kind=tarfile.REGTYPE, patches=()):
    """A header with a right checksum; ``patches`` are (offset, bytes) that ``tarfile`` would not write."""
    info = tarfile.TarInfo("x")
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for at, value in ((0, name.encode().ljust(100, b"\0")), (124, b"%011o\0" % size), *patches):
        block[at : at + len(value)] = value
    return with_checksum(block)


def with_checksum(block):
    block = bytearray(block)
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    return bytes(block)


def file(name, content=b"content"):
    return header(name, len(content)) + padded(content)


def pax(*records, kind=tarfile.XHDTYPE):
    body = b"".join(record(*pair) for pair in records)
    return header("pax", len(body), kind) + padded(body)


def record(key, value):
    rest = f" {key}={value}\n".encode()
    length = next(n for n in range(len(rest), len(rest) + 9) if n == len(rest) + len(str(n)))
    return b"%d" % length + rest


def long_name(name):
    body = name.encode() + b"\0"
    return header("././@LongLink", len(body), tarfile.GNUTYPE_LONGNAME) + padded(body)


# --- against tarfile ------------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 2, 511, 512, 513, 1023, 1024, 1025, 5000])
LETTERS = "ab09._- é字😀"
NAMES = st.text(LETTERS, min_size=1, max_size=15) | st.builds(
    lambda text, length: (text * length)[:length], st.text(LETTERS, min_size=3, max_size=9), st.integers(95, 300)
)


@st.composite
def archives(draw, limit=6):
    """The bytes of an archive of files and directories, with names that no two share."""
    format = draw(st.sampled_from(list(FORMATS)))
    common = {"comment": draw(NAMES)} if format == "pax" and draw(st.booleans()) else {}
    names = draw(st.lists(NAMES.map(lambda name: f"n{name}"), min_size=1, max_size=limit, unique=True))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=FORMATS[format], pax_headers=common, encoding="utf-8") as archive:
        for number, name in enumerate(names):
            if format == "ustar":
                name = name.encode()[:96].decode(errors="ignore") + str(number)
            info = tarfile.TarInfo(draw(st.sampled_from(["", "./"])) + name if len(name.encode()) < 90 else name)
            info.mtime = draw(st.sampled_from([0, 1.5]))
            info.type = draw(st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE]))
            content = bytes([65 + number]) * (draw(SIZES) if info.isreg() else 0)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def reference(data):
    """What ``tarfile`` sees: (name, content, offset) of the files; where each member starts; where all end."""
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
        members = archive.getmembers()
        files = [
            (info.name.removeprefix("./"), archive.extractfile(info).read(), info.offset_data)
            for info in members
            if info.isreg()
        ]
        return files, [info.offset for info in members], archive.offset


@given(archives())
def test_members_are_those_of_tarfile(data):
    files, _, _ = reference(data)
    found = listed(data)
    assert found.problems == ()
    assert [
        (member.name, data[member.offset : member.offset + member.size], member.offset) for member in found.members
    ] == files


@given(archives(limit=4), st.data())
@settings(max_examples=100)
def test_a_cut_archive_has_the_whole_members_and_names_what_was_cut(data, draws):
    _, starts, last = reference(data)
    whole = listed(data)
    ends = [member.offset + member.size for member in whole.members]
    near = [at + step for at in [*starts, *ends] for step in (-512, -1, 0, 1, 511, 512) if 0 <= at + step < len(data)]
    cut = draws.draw(st.sampled_from(near) | st.integers(0, len(data) - 1))
    found = listed(data[:cut])
    assert found.members == tuple(member for member in whole.members if member.offset + member.size <= cut)
    if (cut in starts and cut) or cut >= last:  # at a boundary, or in the zeros
        assert found.problems == ()
        return
    (name, error), *others = found.problems
    assert not others
    cut_member = [member for member in whole.members if member.offset <= cut < member.offset + member.size]
    if cut_member:
        assert (name, error.path, type(error)) == (cut_member[0].name, f"a.tar::{cut_member[0].name}", TruncatedFile)
        assert str(cut - cut_member[0].offset) in error.reason
    else:
        assert (name, error.path) == ("", "a.tar")
        assert type(error) is (EmptyFile if not cut else UnreadableFile if cut < BLOCK else TruncatedFile)


@given(archives(limit=3), st.data())
def test_a_header_of_any_bytes_neither_raises_nor_reads_without_end(data, draws):
    data = bytearray(data)
    block = draws.draw(st.integers(0, len(data) // BLOCK - 1)) * BLOCK
    for at, value in draws.draw(st.lists(st.tuples(st.integers(0, BLOCK - 1), st.binary(min_size=1, max_size=12)))):
        data[block + at : block + min(BLOCK, at + len(value))] = value[: BLOCK - at]
    data[block : block + BLOCK] = with_checksum(data[block : block + BLOCK])
    read = Reads(bytes(data))
    found = contents(read, len(data), "a.tar")
    assert all(member.offset + member.size <= len(data) for member in found.members)
    starts = [start for start, _ in read.ranges]
    assert starts == sorted(set(starts)) and read.bytes <= len(data) + BLOCK


# --- names ----------------------------------------------------------------------------------------


HOSTILE = ["/etc/passwd", "a/b", "../a", "..", ".", "./..", "././a", "a\\b", "a\nb", "a\x1bb", "a\x7f", "a\u202eb"]


@pytest.mark.parametrize(
    ("name", "extension"), [*product(HOSTILE, [None, "pax", "gnu"]), ("a" * 5000, "pax"), ("a" * 5000, "gnu")]
)
def test_a_hostile_name_is_a_problem_of_that_name(name, extension):
    before = {None: b"", "pax": pax(("path", name)), "gnu": long_name(name)}[extension]
    data = before + header("x" if extension else name) + file("good") + END
    found = listed(data)
    assert errors(found) == [(name.removeprefix("./"), UnsafeFile)]
    assert [member.name for member in found.members] == ["good"]
    assert found.problems[0][1].path == "a.tar" and str(found.problems[0][1]).isprintable()


def test_a_nul_in_a_pax_name_is_a_problem():
    assert errors(listed(pax(("path", "a\0b")) + file("x") + END)) == [("a\0b", UnsafeFile)]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.REGTYPE])
def test_a_name_that_is_not_utf8_is_a_problem(kind):
    patched = header("x", patches=[(0, b"caf\xe9")])
    extension = record("path", "cafX").replace(b"X", b"\xe9")
    if kind == tarfile.XHDTYPE:
        patched = header("pax", len(extension), kind) + padded(extension) + header("x")
    found = listed(patched + file("good") + END)
    assert errors(found) == [("caf\\xe9", UnsafeFile)] and found.members[0].name == "good"


def test_a_name_twice_is_a_problem_and_neither_is_a_member():
    data = file("a", b"1") + file("b") + file("./a", b"2") + file("c")
    found = listed(data + END)
    assert errors(found) == [("a", UnreadableFile)] and "2 members" in str(found.problems[0][1])
    assert [member.name for member in found.members] == ["b", "c"]


def test_a_name_twice_of_which_one_is_cut_or_a_link_is_a_problem():
    found = listed(file("a") + header("a", kind=tarfile.SYMTYPE) + file("b") + header("b", 100))
    assert found.members == ()
    assert errors(found) == [
        ("a", UnreadableFile),
        ("b", TruncatedFile),
        ("a", UnreadableFile),
        ("b", UnreadableFile),
    ]


def test_a_long_name_that_breaks_after_a_slash_is_no_directory():
    """tarfile takes such a header for a directory's, and its content for headers."""
    name = "d" * 99 + "/" + "f"
    data = long_name(name) + header(name[:100], 7, tarfile.AREGTYPE) + padded(b"content") + file("good") + END
    found = listed(data)
    assert errors(found) == [(name, UnsafeFile)] and [member.name for member in found.members] == ["good"]


@pytest.mark.parametrize("before", [b"", long_name("dir/"), pax(("path", "dir/"))])
def test_directories_are_passed_over_with_whatever_size_they_declare(before):
    old = before + header("dir/", 1 << 20, tarfile.AREGTYPE)
    new = before + header("dir", 1 << 20, tarfile.DIRTYPE)
    found = listed(old + new + header("./", kind=tarfile.DIRTYPE) + file("good") + END)
    assert found.problems == () and [member.name for member in found.members] == ["good"]


# --- kinds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_problems_and_have_no_content(kind):
    found = listed(header("a", 1 << 20, kind) + file("good") + END)
    assert errors(found) == [("a", UnreadableFile)] and [member.name for member in found.members] == ["good"]
    assert ("a link" in found.problems[0][1].reason) == (kind in (tarfile.LNKTYPE, tarfile.SYMTYPE))


def test_an_unknown_kind_is_a_problem_and_its_content_no_header():
    found = listed(header("a", 600, b"D") + padded(b"x" * 600) + file("good") + END)
    assert errors(found) == [("a", UnreadableFile)] and [member.name for member in found.members] == ["good"]


def numbers(*values):
    return b"".join(b"%011o\0" % value for value in values)


@pytest.mark.parametrize("extra", [0, 1, 3])
def test_an_old_gnu_sparse_file_is_a_problem_whatever_its_map_takes(extra):
    patches = [(386, numbers(0, 4, 4096, 4)), (482, bytes([extra > 0])), (483, numbers(8192))]
    data = header("holes", 8, tarfile.GNUTYPE_SPARSE, patches)
    for number in range(extra):
        data += (numbers(9000 + number, 1) + bytes(480) + bytes([number < extra - 1])).ljust(BLOCK, b"\0")
    data += padded(b"datadata") + file("good") + END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmember("holes").issparse() and archive.getmember("good")
    found = listed(data)
    assert errors(found) == [("holes", UnreadableFile)] and [member.name for member in found.members] == ["good"]
    assert "sparse" in found.problems[0][1].reason
    if extra:
        assert errors(listed(data[: BLOCK + 100])) == [("", TruncatedFile)]


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.size": "8192", "GNU.sparse.numblocks": "1", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "4"},
        {"GNU.sparse.size": "8192", "GNU.sparse.map": "0,4", "GNU.sparse.name": "holes"},
        {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": "8192",
            "GNU.sparse.name": "holes",
        },
    ],
    ids=["0.0", "0.1", "1.0"],
)
def test_a_pax_sparse_file_is_a_problem(records):
    content = padded(b"1\n0\n4\n") + b"data" if "GNU.sparse.major" in records else b"data"
    stored = "GNUSparseFile.1" if "GNU.sparse.name" in records else "holes"
    data = pax(*records.items()) + file(stored, content) + file("good") + END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmember("holes").issparse() and archive.getmember("good")
    found = listed(data)
    assert errors(found) == [("holes", UnreadableFile)] and [member.name for member in found.members] == ["good"]
    assert "sparse" in found.problems[0][1].reason


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [b"99999999999\0", b"hello world\0", b"\xff" * 11 + b"\x00", b"-0000001000\0"])
def test_a_size_that_is_none_ends_the_list(size):
    found = listed(file("good") + header("a", patches=[(124, size)]) + file("lost") + END)
    assert errors(found) == [("", UnreadableFile)] and [member.name for member in found.members] == ["good"]
    assert "byte 1024" in found.problems[0][1].reason


@pytest.mark.parametrize("size", [2**33, 2**60, 2**87])
@pytest.mark.parametrize("where", ["header", "pax"])
def test_a_size_beyond_the_archive_is_a_cut_member(size, where):
    large = header("a", patches=[(124, b"\x80" + size.to_bytes(11, "big"))])
    if where == "pax":
        large = pax(("size", size)) + header("a")
    found = listed(file("good") + large + file("lost") + END)
    wanted = UnreadableFile if where == "pax" and size > 10**20 else TruncatedFile
    assert [error for _, error in errors(found)] == [wanted]
    assert [member.name for member in found.members] == ["good"]
    if wanted is TruncatedFile:
        assert found.problems[0][0] == "a" and str(size) in found.problems[0][1].reason


def test_sizes_in_base_256_and_in_pax_records_count():
    content = bytes(range(256)) * 5
    base = header("a", patches=[(124, b"\x80" + len(content).to_bytes(11, "big"))]) + padded(content)
    data = base + pax(("size", len(content))) + header("b") + padded(content) + END
    found = listed(data)
    assert found.problems == () and [member.name for member in found.members] == ["a", "b"]
    assert all(data[member.offset :][: member.size] == content for member in found.members)


@pytest.mark.parametrize("value", ["-512", "1e3", "", "9" * 5000, "१"])
def test_a_pax_size_that_is_no_number_ends_the_list(value):
    found = listed(file("good") + pax(("size", value)) + file("lost") + END)
    assert errors(found) == [("", UnreadableFile)] and [member.name for member in found.members] == ["good"]


@pytest.mark.parametrize("key", ["path", "size", "GNU.sparse.map"])
def test_a_name_or_size_for_all_members_is_refused(key):
    assert errors(listed(pax((key, "1"), kind=tarfile.XGLTYPE) + file("a") + END)) == [("", UnreadableFile)]


# --- extended headers -----------------------------------------------------------------------------

EXTENSIONS = [b"x", b"g", b"X", b"L", b"K"]


@pytest.mark.parametrize("kind", EXTENSIONS)
@pytest.mark.parametrize("size", [(1 << 20) + 1, 1 << 32])
def test_a_huge_extended_header_is_refused_and_not_read(kind, size):
    read = Reads(file("good") + header("x", size, kind) + bytes(2 << 20))
    found = contents(read, 8 << 30, "a.tar")
    assert errors(found) == [("", UnsafeFile)] and [member.name for member in found.members] == ["good"]
    assert read.bytes == 2 * BLOCK


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_an_extended_header_without_its_member_is_a_problem(kind):
    body = record("comment", "a")
    extension = header("x", len(body), kind) + padded(body)
    for rest, error in ((b"", TruncatedFile), (header("a")[:100], TruncatedFile), (END, UnreadableFile)):
        if kind != b"g" or rest[:1] == b"a":
            assert errors(listed(file("good") + extension + rest)) == [("", error)]
    assert errors(listed(file("good") + extension[:-1])) == [("", TruncatedFile)]


@pytest.mark.parametrize(
    "body",
    [
        b"0 path=a\n",
        b"9 path=a",
        b"8 path=a",
        b"99 path=a\n",
        b"8 patha\n",
        b"x path=a\n",
        b"path\n",
        b"2 a=b\n",
        b"\0" * 20,
        b"1" * 999,
    ],
)
def test_damaged_pax_records_end_the_list(body):
    found = listed(file("good") + header("x", len(body), b"x") + padded(body) + file("lost") + END)
    assert errors(found) == [("", UnreadableFile)] and [member.name for member in found.members] == ["good"]
    assert "byte 1024" in found.problems[0][1].reason


@pytest.mark.timeout(20)
@pytest.mark.parametrize("body", [b"1" * (1 << 20), b"6 a=b\n" * ((1 << 20) // 6)], ids=["digits", "records"])
def test_large_pax_records_take_no_quadratic_time(body):
    found = listed(header("x", len(body), b"x") + padded(body) + file("a") + END)
    assert errors(found) == ([("", UnreadableFile)] if body[:2] == b"11" else [])


@pytest.mark.timeout(20)
def test_any_number_of_extended_headers_is_followed():
    found = listed(pax(("comment", "a")) * 5000 + long_name("real") + file("x") + END)
    assert found.problems == () and [member.name for member in found.members] == ["real"]


# --- archives -------------------------------------------------------------------------------------


def test_no_bytes_are_an_empty_file():
    assert errors(contents(Reads(b""), 0, "a.tar")) == [("", EmptyFile)]


@pytest.mark.parametrize("page", [b"<html>404</html>", b"<!doctype html><p>Not Found</p>" * 900, b"\x1f\x8b" * 2000])
def test_what_is_no_tar_is_unreadable(page):
    found = listed(page)
    assert errors(found) == [("", UnreadableFile)] and "not a tar" in str(found.problems[0][1])


def test_a_damaged_header_ends_the_list_and_is_told_by_its_byte():
    data = bytearray(file("a") + file("b") + file("c") + END)
    data[2 * BLOCK + 5] ^= 1
    found = listed(bytes(data))
    assert [member.name for member in found.members] == ["a"]
    assert errors(found) == [("", UnreadableFile)] and "byte 1024" in found.problems[0][1].reason


def test_zeros_instead_of_one_header_are_a_problem():
    found = listed(file("a") + bytes(BLOCK) + file("b") + END)
    assert errors(found) == [("", UnreadableFile)] and [member.name for member in found.members] == ["a"]


@pytest.mark.parametrize("end", [b"", bytes(3), bytes(BLOCK), END, END + b"rubbish" * 200, bytes(20 * BLOCK + 1)])
def test_an_archive_may_end_behind_any_member(end):
    found = listed(file("a") + end)
    assert found.problems == () and found.members == (Member("a", BLOCK, 7),)


def test_an_archive_shorter_than_it_was_said_to_be_is_truncated():
    data = file("a") + file("b")
    found = contents(lambda start, end: data[start:end], 8192, "a.tar")
    assert errors(found) == [("", TruncatedFile)] and [member.name for member in found.members] == ["a", "b"]


def test_an_error_of_the_read_passes_through_unless_it_is_of_a_file():
    def failing(error):
        def read(start, end):
            raise error

        return read

    with pytest.raises(ConnectionError):
        contents(failing(ConnectionError("reset")), 1024, "a.tar")
    assert errors(contents(failing(MissingFile("a.tar", "not found")), 1024, "a.tar")) == [("", MissingFile)]


def test_errors_tell_the_archive():
    for data in (b"", b"<html>", file("a")[:-1], header("a", kind=b"2") + END, header("a/b") + END):
        (_, error), *_ = listed(data).problems
        assert isinstance(error, BadFile) and error.path.startswith("a.tar")


# --- reads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reads"), [("a" * 90, 1), ("a" * 101, 2)])
@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_a_member_takes_one_read_and_two_with_an_extended_header(name, reads, format):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=FORMATS[format]) as archive:
        for number in range(50):
            info = tarfile.TarInfo(f"{name}{number:02}")
            info.size = 3000
            archive.addfile(info, io.BytesIO(bytes(3000)))
    read = Reads(file.getvalue())
    assert len(contents(read, len(read.data), "a.tar").members) == 50
    assert len(read.ranges) == 50 * reads + 2
    assert read.bytes == (50 * (1 if reads == 1 else 3) + 2) * BLOCK


def test_archives_as_on_the_hub_take_one_block_a_member(tmp_path):
    synthesize(tmp_path / "data", "archives", interactions=4, seconds=2.0, seed=1)
    paths = sorted(Path(tmp_path).rglob("*.tar"))
    assert paths
    for path in paths:
        read = Reads(path.read_bytes())
        found = contents(read, len(read.data), str(path))
        with tarfile.open(path) as archive:
            wanted = [Member(info.name, info.offset_data, info.size) for info in archive.getmembers()]
        assert list(found.members) == wanted and found.problems == ()
        assert len(wanted) % 4 == 0
        assert len(read.ranges) == len(wanted) + 2 and read.bytes == BLOCK * (len(wanted) + 2)
