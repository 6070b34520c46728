"""What a place holds, found out from names."""

import io
import shutil
from dataclasses import replace
from itertools import product

import fsspec
import numpy as np
import pytest

from seamless_interaction import LABELS, SPLITS, load_dataset
from seamless_interaction.download import Selection, download
from seamless_interaction.errors import AmbiguousSource, DuplicateFileId, SourceNotFound, UnknownLayout
from seamless_interaction.places.place import Place
from seamless_interaction.source.indexing import make_index
from seamless_interaction.source.layout import LAYOUTS, PARTS, TREE, Folder, Layout, tree_path
from seamless_interaction.source.listing import scan
from seamless_interaction.source.recordings import Recording, recordings, rows_of
from seamless_interaction.source.tables import read_filelist

A, B, C = "V00_S0809_I00000582_P0947", "V00_S0809_I00000582_P1281A", "V03_S0001_I00000001_P0001"


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def filelist(root, *rows):
    lines = ["file_id,label,split,batch_idx,archive_idx", *(",".join(map(str, row)) for row in rows)]
    (root / "filelist.csv").write_text("\n".join(lines) + "\n")


def found(root, layout=None):
    listing = scan(Place(root), layout)
    filelist = read_filelist(listing.place)
    if filelist is None:
        filelist = rows_of(listing.found, listing.place.url)
    table, gaps = recordings(listing.found, filelist, filelist, listing.layout)
    return [Recording(**row) for row in table.to_pylist()], gaps


def test_a_tree(tmp_path):
    touch(tmp_path, tree_path("improvised", "dev", "vad", A), tree_path("improvised", "dev", "smplh:body_pose", B))
    (a, b), gaps = found(tmp_path)
    assert (a.file_id, b.file_id) == (A, B)
    assert (a.partner, b.partner) == (B, A)
    assert a.partner_is_here and b.partner_is_here
    assert LAYOUTS["tree"].locate(a, "vad", {}).path == f"improvised/dev/metadata/vad/{A}.jsonl"
    assert LAYOUTS["tree"].locate(a, "smplh:body_pose", {}) is None
    assert gaps == ((), ())


def test_bundles_beside_their_tars_and_bookkeeping(tmp_path):
    folder = "naturalistic/train/0003/0017"
    touch(
        tmp_path,
        *(f"{folder}/{C}{extension}" for extension in (".wav", ".mp4", ".npz", ".json")),
        f"{folder}/{C}.npz.lock",
        f"{folder}/{C}.npz.metadata",
        f"{folder}/{C}.npz.incomplete",
        "naturalistic/train/0003/0017.tar",
        "naturalistic/train/0003/0017.tar.lock",
        "naturalistic/train/0003/0021.tar",
        "naturalistic/train/extra/0001.tar",
        ".cache/huggingface/x.lock",
    )
    listing = scan(Place(tmp_path))
    assert listing.layout.name == "bundles"
    assert listing.ignored == ("naturalistic/train/extra", "naturalistic/train/0003/0021.tar")
    (c,), _ = found(tmp_path)
    assert (c.batch_idx, c.archive_idx, c.partner) == (3, 17, None)
    assert listing.layout.locate(c, "smplh:body_pose", {}) == (f"{folder}/{C}.npz", "smplh:body_pose.npy")
    assert listing.layout.locate(c, "1P-IS", {}) == (f"{folder}/{C}.json", "annotations:1P-IS")


@pytest.mark.parametrize("part", PARTS)
def test_every_name_that_early_drafts_used(tmp_path, part):
    extension, directories = TREE[part]
    for directory in directories:
        root = tmp_path / directory.replace("/", "+")
        touch(root, f"improvised/train/{directory}/{A}{extension}")
        listing = scan(Place(root))
        (a,), _ = found(root)
        assert listing.layout.locate(a, part, listing.aliases).path == f"improvised/train/{directory}/{A}{extension}"


def test_the_drafts_of_the_readme_are_known():
    assert "smplh/body-pose" in TREE["smplh:body_pose"][1]
    assert "transcript" in TREE["transcript"][1]
    assert "3P-V" in TREE["3P-V"][1]
    assert "boxes_and_keypoints/boxes" in TREE["boxes_and_keypoints:box"][1]


def test_one_part_under_two_names(tmp_path):
    touch(tmp_path, f"improvised/dev/transcript/{A}.jsonl", f"improvised/dev/metadata/transcript/{A}.jsonl")
    with pytest.raises(AmbiguousSource, match="transcript twice"):
        scan(Place(tmp_path))


def test_two_layouts_in_one_folder_want_a_word(tmp_path):
    touch(tmp_path, tree_path("improvised", "dev", "vad", A), f"improvised/train/0000/0001/{C}.json")
    with pytest.raises(AmbiguousSource, match="layout="):
        scan(Place(tmp_path))
    assert [r.file_id for r in found(tmp_path, "tree")[0]] == [A]
    assert [r.file_id for r in found(tmp_path, "bundles")[0]] == [C]


@pytest.mark.parametrize(
    "paths, message",
    [
        ([], "an empty folder"),
        (["README.md", "data/x.bin"], "README.md"),
        (["improvised/dev/README.md"], "holds the labels"),
        (["dev/audio/x.wav"], "holds the labels"),
        (["improvised/dev/audio/x.txt"], "no recording"),
    ],
)
def test_a_folder_without_the_dataset_says_what_was_expected(tmp_path, paths, message):
    touch(tmp_path, *paths)
    with pytest.raises(SourceNotFound, match=message):
        found(tmp_path)


def test_a_wrong_path_and_a_wrong_layout(tmp_path):
    with pytest.raises(SourceNotFound, match="does not exist"):
        scan(Place(tmp_path / "nowhere"))
    with pytest.raises(UnknownLayout, match="tree, bundles"):
        scan(Place(tmp_path), "tress")


def test_the_file_list_decides(tmp_path):
    """Strays of another split are no records: without this, a raw snapshot leaks test into dev."""
    touch(
        tmp_path,
        f"improvised/dev/0000/0001/{A}.json",
        f"improvised/dev/0000/0060/{B}.json",
        f"improvised/test/0001/0049/{B}.json",
        f"improvised/test/0001/0052/{B}.json",
    )
    filelist(
        tmp_path,
        (A, "improvised", "dev", 0, 1),
        (B, "improvised", "test", 1, 49),
        (C, "naturalistic", "train", 2, 3),
    )
    records, gaps = found(tmp_path)
    assert [(r.file_id, r.split, r.archive_idx) for r in records] == [(A, "dev", 1), (B, "test", 49)]
    assert gaps.not_here == (C,)
    assert sorted(gaps.strays) == [f"improvised/dev/0/60/{B}", f"improvised/test/1/52/{B}"]


def test_an_id_twice_without_a_file_list(tmp_path):
    touch(tmp_path, f"improvised/dev/0000/0001/{A}.json", f"improvised/test/0000/0001/{A}.json")
    with pytest.raises(DuplicateFileId, match=r"improvised/dev/0/1 and improvised/test/0/1.*filelist.csv"):
        found(tmp_path)


def test_a_partner_the_source_lacks(tmp_path):
    touch(tmp_path, tree_path("improvised", "dev", "vad", A))
    filelist(tmp_path, (A, "improvised", "dev", 0, 1), (B, "improvised", "dev", 0, 9))
    (a,), gaps = found(tmp_path)
    assert (a.partner, a.partner_is_here) == (B, False)
    assert gaps.not_here == (B,)


def test_names_that_are_no_file_ids_are_told(tmp_path):
    touch(
        tmp_path,
        tree_path("improvised", "dev", "audio", A),
        "improvised/dev/audio/notes.txt",
        "improvised/dev/audio/x.wav",
    )
    assert scan(Place(tmp_path)).ignored == ("improvised/dev/audio/notes.txt", "improvised/dev/audio/x.wav")


def test_identity_changes_with_the_data_and_with_nothing_else(tmp_path):
    path = tree_path("improvised", "dev", "vad", A)
    touch(tmp_path, path, tree_path("improvised", "dev", "vad", B))
    first = scan(Place(tmp_path)).identity
    assert scan(Place(tmp_path)).identity == first
    (tmp_path / path).write_bytes(b"{}")
    second = scan(Place(tmp_path)).identity
    filelist(tmp_path, (A, "improvised", "dev", 0, 1))
    third = scan(Place(tmp_path)).identity
    (tmp_path / path).unlink()
    assert len({first, second, third, scan(Place(tmp_path)).identity}) == 4


def test_a_place_that_is_not_local(corpora):
    """The same listing from fsspec's memory as from the disk."""
    for layout in ("tree", "bundles"):
        folder, _ = corpora[layout]
        memory = fsspec.filesystem("memory")
        memory.put(str(folder), f"/layouts/{layout}", recursive=True)
        (here, _), (there, _) = found(folder), found(f"memory://layouts/{layout}")
        assert here == there and here
        assert {r.label for r in here} == set(LABELS)


def test_links_that_lead_nowhere_are_no_files(tmp_path):
    touch(tmp_path, tree_path("improvised", "dev", "vad", A))
    folder = tmp_path / "improvised/dev/metadata/vad"
    (folder / f"{B}.jsonl").symlink_to(tmp_path / "gone")
    (folder / f"{C}.jsonl").symlink_to(folder / f"{C}.jsonl")
    assert [r.file_id for r in found(tmp_path)[0]] == [A]
    shutil.rmtree(folder)


def test_folders_that_are_not_read_are_told(tmp_path):
    split = "improvised/dev"
    touch(tmp_path, tree_path("improvised", "dev", "audio", A))
    touch(tmp_path, f"{split}/movement_v5/pred_vertices/{A}.npy", f"{split}/smplh/betas/{A}.npy")
    assert scan(Place(tmp_path)).ignored == (f"{split}/movement_v5", f"{split}/smplh/betas")


class Sorted(Layout):
    """A layout that this package does not have: ``{label}/{split}/all/{part}/{file_id}{extension}``."""

    name = "sorted"
    keys = ("label", "split")
    files = PARTS

    def folder(self, spot, file, aliases):
        return f"{spot[0]}/{spot[1]}/all/{file.replace(':', '.')}"

    def extension(self, file):
        return TREE[file][0]

    def sign(self, folder, name, entries):
        return f"{folder}/all" if name == "all" else None

    def walk(self, place, splits, come_upon):
        for label, split in splits:
            for part in PARTS:
                path = self.folder((label, split), part, {})
                yield Folder((label, split), path, list(place.entries(path)), {self.extension(part): part})


class LayoutBehaviour:
    """What holds of every layout. A subclass names it, and where a corpus lies in it."""

    layout: str
    modalities = ["vad", "transcript", "smplh:is_valid", "annotations"]

    @pytest.fixture
    def folder(self, corpora):
        return corpora[self.layout][0]

    def test_it_is_found_out_and_holds_every_recording(self, folder, corpora):
        listing = scan(Place(folder))
        assert listing.layout is LAYOUTS[self.layout]
        if not listing.layout.in_tars:
            assert sorted(listing.found["file_id"].to_pylist()) == sorted(
                recording.file_id for recording in corpora["tree"][1].recordings
            )

    def test_records_are_those_of_the_tree(self, folder, corpora):
        kinds = {"modalities": self.modalities, "streaming": True}
        here, tree = (load_dataset("full", "dev", data_dir=root, **kinds) for root in (folder, corpora["tree"][0]))
        plain = [list(stream.with_format("arrow")) for stream in (here, tree)]
        for one, other in zip(*plain, strict=True):
            assert one.drop_columns(["issues"]).equals(other.drop_columns(["issues"]))

    def test_an_index_and_a_copy_of_it_are_those_of_the_tree(self, folder, corpora, tmp_path):
        index = make_index(Place(folder), tmp_path / "index.parquet", read_filelist(Place(folder)))
        assert index.layout is LAYOUTS[self.layout]
        selection = Selection("full", split="test", modalities=self.modalities)
        report = download(selection, folder, tmp_path / "copy", index=index.path)
        assert not report.problems and report.files["whole"]
        more = download(replace(selection, split="dev"), folder, tmp_path / "copy", index=index.path)
        assert not more.problems and more.files["whole"]
        lists = [read_filelist(Place(root)).sort_by("file_id") for root in (tmp_path / "copy", folder)]
        assert lists[0].equals(lists[1])
        made = {path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").glob("*/test/**/*.npy")}
        assert made
        for path in made:
            content = (corpora["tree"][0] / path).read_bytes()
            assert np.array_equal(np.load(tmp_path / "copy" / path), np.load(io.BytesIO(content)))


class TestTree(LayoutBehaviour):
    layout = "tree"


class TestBundles(LayoutBehaviour):
    layout = "bundles"


class TestArchives(LayoutBehaviour):
    layout = "archives"


class TestSorted(LayoutBehaviour):
    """One class, and nothing else, is what a new layout takes."""

    layout = "sorted"

    @pytest.fixture
    def folder(self, corpora, tmp_path, monkeypatch):
        monkeypatch.setitem(LAYOUTS, "sorted", Sorted())
        tree, folder = corpora["tree"][0], tmp_path / "sorted"
        folder.mkdir()
        for table in tree.glob("*.csv"):
            (folder / table.name).symlink_to(table)
        for label, split, (part, (_, (directory, *_))) in product(LABELS, SPLITS, TREE.items()):
            source = tree / label / split / directory
            if source.is_dir():
                target = folder / Sorted().folder((label, split), part, {})
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source, target_is_directory=True)
        return folder
