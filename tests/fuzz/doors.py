"""A seed of every format, and what users open it by. All of it is synthetic."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from seamless_interaction import SeamlessDataset, load_dataset
from seamless_interaction.download import Selection, download, verify
from seamless_interaction.evaluation import read_results, table, write_results
from seamless_interaction.evaluation.motion.space import MotionSpace, read_space
from seamless_interaction.evaluation.results import Figure, Measured, Result
from seamless_interaction.features import make_features, read_features
from seamless_interaction.models import ImitatorModel
from seamless_interaction.models.config import ImitatorConfig
from seamless_interaction.models.training import Settings, train
from seamless_interaction.places.place import Place
from seamless_interaction.publishing import Selection as Published
from seamless_interaction.publishing import plan_shards, publish
from seamless_interaction.source.indexing import make_index
from seamless_interaction.synthetic.writing import synthesize

from .mutations import Mutate, of_bytes, of_json, of_json_lines, of_parquet, of_safetensors, of_table, one_of


@dataclass
class Door:
    """Files of one format, and what reads them.

    Args:
        folder: that holds them, as they should be.
        paths: of the files, of which one at a time is changed.
        mutate: how.
        open: reads all that it can. It may raise the package's own errors and no other.
    """

    folder: Path
    paths: list[Path]
    mutate: Mutate
    open: Callable[[Path], object]


def doors(root: Path) -> dict[str, Door]:
    """All doors, each to a folder of its own below ``root``."""
    made: dict[str, Door] = {}
    for layout in ("tree", "bundles", "archives"):
        for name, (pattern, mutate) in _RAW[layout].items():
            folder = root / name
            synthesize(folder, layout, 1, 1.0)
            made[name] = Door(folder, sorted(folder.rglob(pattern)), mutate, _records)
    for name, pattern in (
        ("file list", "filelist.csv"),
        ("prompts", "interactions.csv"),
        ("people", "participants.csv"),
    ):
        folder = root / name
        synthesize(folder, "tree", 2, 1.0)
        made[name] = Door(folder, [folder / pattern], of_table(b","), _records)
    folder = root / "arrays of any shape"
    synthesize(folder, "tree", 1, 1.0, movement_v4=True)
    arrays = sorted(folder.glob("*/*/movement_v4/*/*.npy"))
    made[folder.name] = Door(folder, arrays, _NPY, partial(_records, modalities=["movement_v4"]))
    source = root / "source"
    synthesize(source, "tree", 2, 1.0)
    made |= _own(root, source)
    return made


_NPY = of_bytes(b"descr", b"'|O'", b"'<f8'", b"'|b1'", b"(-1, 3)", b"(99999999999, 3)", b"\x93NUMPY\x02\x00")
_ZIP = of_bytes(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"../x.npy", b"smplh:body_pose.npy")
_WAV = of_bytes(b"RIFF", b"RF64", b"ds64", b"fmt ", b"data", b"LIST", b"fact", b"\xff\xff\xff\xff")
_MP4 = of_bytes(b"moov", b"trak", b"mdia", b"stsz", b"stco", b"co64", b"stts", b"ctts", b"elst", b"avcC", b"mdat")
_TAR = of_bytes(
    b"ustar\x00", b"GNU.sparse", b"././@LongLink", b"77777777777\x00", b"../../x", b"path=/etc/x", b"size=9"
)
_RAW: dict[str, dict[str, tuple[str, Mutate]]] = {
    "tree": {
        "npy": ("*.npy", _NPY),
        "json lines": ("*.jsonl", one_of(of_json_lines, of_bytes())),
        "wav": ("*.wav", _WAV),
        "mp4": ("*.mp4", _MP4),
    },
    "bundles": {"npz": ("*.npz", _ZIP), "json": ("V*.json", of_json)},
    "archives": {"tar": ("*.tar", _TAR)},
}


def _records(folder: Path, modalities: Sequence[str] | None = None) -> None:
    """Every value of every recording, media included."""
    for part in load_dataset("full", data_dir=folder, modalities=modalities, streaming=True).values():
        for record in part:
            if record.get("audio") is not None:
                record["audio"].read(0.2, 0.5)
            if record.get("video") is not None:
                record["video"].get_batch([0])


def _own(root: Path, source: Path) -> Iterator[tuple[str, Door]]:
    """What the package itself writes, and reads again."""
    index = root / "index"
    index.mkdir()
    make_index(Place(source), index / "index.parquet")
    yield "index", Door(index, [index / "index.parquet"], of_parquet, partial(_with_index, source))

    copy = root / "copy"
    download(Selection("full", modalities=("vad", "transcript")), source, copy)
    lines = one_of(of_json_lines, of_bytes())
    yield "manifest of a copy", Door(copy, [copy / "manifest.jsonl"], lines, _verified)
    yield "selection of a copy", Door(copy, [copy / "selection.csv"], of_table(b","), _records)

    published = root / "published"
    only = Published("full", modalities=("vad", "smplh:translation"))
    publish(plan_shards(only, source), published)
    made = [path for path in sorted(published.rglob("*")) if path.is_file()]
    recordings = sorted(published.glob("data/recordings/*.parquet"))
    sidecars = [path for path in made if path.suffix == ".json"]
    rows = sorted(published.glob("data/[1f]*/**/*.parquet"))
    yield "rows of a publication", Door(published, rows, of_bytes(b"\x15\x04", b"\xff" * 8), _rows)
    yield "manifest of a publication", Door(published, [published / "manifest.parquet"], of_parquet, _published)
    yield "table of recordings", Door(published, recordings, of_parquet, _published)
    yield "card", Door(published, [published / "README.md"], of_bytes(b"- ", b"configs:", b"!!x", b"&a *a"), _published)
    yield "sidecars", Door(published, sidecars, of_json, partial(_published_again, only, source))

    features = root / "features"
    make_features(SeamlessDataset(source), features, ["head", "dyadic"])
    yield "features", Door(features, sorted(features.rglob("*.parquet")), of_parquet, _features)

    results = root / "results"
    results.mkdir()
    figures = {"model": {"balanced_accuracy": Figure(0.5, 0.4, 0.6)}}
    counts = {"train": 2, "evaluation": 2, "train_interactions": 1, "evaluation_interactions": 1}
    part = Measured("classes", "a", "b", counts, {"hold": 2}, figures, None)
    code, parts = {"version": "0", "digest": "0"}, {"shift-hold": part}
    one = Result("turn-taking", 1, "test", 0, 9, 2, ["head"], None, "here", True, code, {"test": 1}, {}, parts)
    write_results([one], results / "results.json")
    yield "results", Door(results, [results / "results.json"], of_json, _results)

    run, heard = root / "run", root / "heard"
    synthesize(heard, interactions=4, seconds=1.0)
    settings = Settings(steps=2, batch_size=2, seconds=0.6, hop=0.2, validated_on=2)
    train(heard, run, settings, workers=0, stop_after=1)
    ImitatorModel(ImitatorConfig.preset("tiny")).save_pretrained(run)
    yield "config", Door(run, [run / "config.json"], of_json, ImitatorModel.from_pretrained)
    yield "weights", Door(run, [run / "model.safetensors"], of_safetensors, ImitatorModel.from_pretrained)
    resumed = partial(_resumed, heard, settings)
    yield "checkpoint", Door(run, [run / "checkpoint.safetensors"], of_safetensors, resumed)
    yield "metrics of a run", Door(run, [run / "metrics.jsonl"], lines, resumed)

    spaces = root / "spaces"
    path = MotionSpace().write(spaces)
    yield "motion space", Door(spaces, [path], of_safetensors, _space)


def _resumed(source: Path, settings: Settings, folder: Path) -> None:
    train(source, folder, settings, workers=0, stop_after=1)


def _space(folder: Path) -> None:
    for path in folder.iterdir():
        read_space(path)


def _with_index(source: Path, folder: Path) -> None:
    for part in load_dataset("full", data_dir=source, index=folder / "index.parquet", streaming=True).values():
        for record in part:
            record["smplh"]["translation"].sum()


def _verified(folder: Path) -> None:
    verify(folder)


def _published(folder: Path) -> None:
    """Which recordings there are."""
    load_dataset("full", data_dir=folder, vendor="V00", streaming=True)


def _rows(folder: Path) -> None:
    for row in load_dataset("full", data_dir=folder, split="train", streaming=True):
        row["smplh"]["translation"].sum()


def _published_again(only: Published, source: Path, folder: Path) -> None:
    publish(plan_shards(only, source), folder)


def _features(folder: Path) -> None:
    for path in folder.rglob("*.parquet"):
        read_features(path)


def _results(folder: Path) -> None:
    table([("results.json", result) for result in read_results(folder / "results.json")])
