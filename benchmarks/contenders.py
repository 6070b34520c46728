"""Ways to read the same recordings: the least that can be done, ours, and others'."""

from __future__ import annotations

import http.client
import io
import json
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import datasets
import numpy as np

import seamless_interaction
from seamless_interaction import ANNOTATION_KINDS, ARRAYS

# --- questions ------------------------------------------------------------------------------------


class Question(NamedTuple):
    """What is asked of every recording: arrays by key, texts by part, and both by our own names."""

    arrays: tuple[str, ...]
    texts: tuple[str, ...]
    modalities: tuple[str, ...]


# Part of a text -> its name in a JSON. Not our own table: its module is imported while the clock runs.
MEMBERS = {
    "transcript": "metadata:transcript",
    "vad": "metadata:vad",
    **{kind: f"annotations:{kind}" for kind in ANNOTATION_KINDS},
}
QUESTIONS = {
    "everything": Question(
        tuple(ARRAYS),
        tuple(MEMBERS),
        ("smplh", "movement", "boxes_and_keypoints", "transcript", "vad", "annotations"),
    ),
    "one array": Question(("smplh:body_pose",), (), ("smplh:body_pose",)),
    "transcripts": Question((), ("transcript",), ("transcript",)),
}


class Found(NamedTuple):
    """How many values of arrays, and how many pieces of text, a record holds."""

    values: int = 0
    texts: int = 0


def count(arrays: Iterable[np.ndarray], texts: Iterable[list[Any] | None]) -> Found:
    return Found(sum(values.size for values in arrays), sum(len(pieces or ()) for pieces in texts))


# A way takes a folder and a question, prepares what is not timed, and returns what is: it opens the folder and goes
# through its records.
Records = Callable[[], Iterable[Found]]

# --- the least that can be done -------------------------------------------------------------------


class Member(NamedTuple):
    """Where something lies in a tar."""

    tar: Path
    offset: int
    size: int
    extension: str


def tars(folder: Path) -> list[Path]:
    """Those that the file list names, once each."""
    lines = [line.split(",")[1:5] for line in (folder / "filelist.csv").read_text().splitlines()[1:]]
    names = {(label, split, int(batch), int(archive)) for label, split, batch, archive in lines}
    return [folder / label / split / f"{batch:04d}" / f"{archive:04d}.tar" for label, split, batch, archive in names]


def members(folder: Path, question: Question) -> list[Member]:
    """The NPZ and JSON members that a question needs."""
    wanted = _extensions(question)
    found = []
    for path in sorted(tars(folder)):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                extension = os.path.splitext(member.name)[1]
                if extension in wanted:
                    found.append(Member(path, member.offset_data, member.size, extension))
    return found


def _extensions(question: Question) -> tuple[str, ...]:
    return (*([".npz"] if question.arrays else []), *([".json"] if question.texts else []))


def exact_members(folder: Path, question: Question) -> list[Member]:
    """The bytes that a question is about, to the byte: of single arrays their part of the NPZ."""
    found = members(folder, question)
    if len(question.arrays) in (0, len(ARRAYS)):
        return found
    exact = []
    for member in found:
        with open(member.tar, "rb") as file:
            npz = zipfile.ZipFile(io.BytesIO(_read(file, member)))
        starts = sorted(info.header_offset for info in npz.infolist())
        ends = dict(pairwise([*starts, npz.start_dir]))
        for key in question.arrays:
            start = npz.getinfo(f"{key}.npy").header_offset
            exact.append(Member(member.tar, member.offset + start, ends[start] - start, ".npz"))
    return exact


def _read(file: Any, member: Member) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)


def _contents(wanted: list[Member]) -> Iterator[tuple[Member, bytes]]:
    for member in wanted:
        with open(member.tar, "rb", buffering=0) as file:
            yield member, _read(file, member)


def read(folder: Path, question: Question) -> Records:
    """The bytes, at offsets known beforehand."""
    wanted = exact_members(folder, question)
    return lambda: (Found() for _ in _contents(wanted))


def copy(folder: Path, question: Question) -> Records:
    """The same into one file."""
    wanted = exact_members(folder, question)

    def records() -> Iterator[Found]:
        with tempfile.TemporaryFile(dir=folder.parent) as file:
            for _, content in _contents(wanted):
                file.write(content)
                yield Found()

    return records


def load(content: bytes, extension: str, question: Question) -> tuple[list[np.ndarray], list[list[Any] | None]]:
    """The arrays of an NPZ, or the texts of a JSON."""
    if extension == ".npz":
        with np.load(io.BytesIO(content)) as npz:
            return [npz[key] for key in question.arrays if key in npz.files], []
    bundle = json.loads(content)
    return [], [bundle.get(MEMBERS[part]) for part in question.texts]


def load_kept(folder: Path, question: Question) -> Records:
    """np.load and json.loads of members, at offsets known beforehand; whoever does this keeps what was read."""
    wanted = members(folder, question)
    kept = []

    def records() -> Iterator[Found]:
        for member, content in _contents(wanted):
            kept.append(load(content, member.extension, question))
            yield count(*kept[-1])

    return records


def load_one(folder: Path, question: Question) -> Records:
    """The same, keeping nothing."""
    wanted = members(folder, question)
    return lambda: (count(*load(content, member.extension, question)) for member, content in _contents(wanted))


def seek(folder: Path, question: Question) -> Records:
    """Python's tarfile: list the members, then read the wanted ones."""
    wanted = _extensions(question)

    def records() -> Iterator[Found]:
        for path in sorted(tars(folder)):
            with tarfile.open(path) as tar:
                for member in tar.getmembers():
                    extension = os.path.splitext(member.name)[1]
                    if extension in wanted:
                        yield count(*load(tar.extractfile(member).read(), extension, question))  # type: ignore[union-attr]

    return records


# --- ours -----------------------------------------------------------------------------------------


def ours(folder: Path | str, question: Question) -> Records:
    """``load_dataset(…, streaming=True)`` of whatever the folder or URL is, with an empty cache."""
    texts = [{"transcript": "segments"}.get(column, column) for column in question.modalities if column not in ARRAYS]

    def records() -> Iterator[Found]:
        streams = seamless_interaction.load_dataset(
            "full", data_dir=folder, modalities=list(question.modalities), streaming=True
        )
        for record in chain.from_iterable(streams.values()):
            yield count(
                (record[key] for key in question.arrays),
                (record[column] for column in texts if column in ("segments", "vad", "annotations")),
            )

    return records


# --- others' --------------------------------------------------------------------------------------

_TIMES = {"start": datasets.Value("float64"), "end": datasets.Value("float64")}
_WORDS = [{"word": datasets.Value("string"), **_TIMES, "score": datasets.Value("float64")}]
_NOTES = [{"annotation": datasets.Value("string"), **{f"{name}_ts": type for name, type in _TIMES.items()}}]
TEXT_TYPES: dict[str, Any] = {
    "transcript": [{**_TIMES, "transcript": datasets.Value("string"), "words": _WORDS}],
    "vad": [_TIMES],
    **dict.fromkeys(ANNOTATION_KINDS, _NOTES),
}


def types(question: Question) -> dict[str, Any]:
    """The types of what is asked for, in an NPZ and in a JSON."""
    ours = seamless_interaction.record_features()
    of_file = {
        "npz": {key: ours[key] for key in question.arrays},
        "json": {MEMBERS[part]: TEXT_TYPES[part] for part in question.texts},
    }
    return {name: columns for name, columns in of_file.items() if columns}


def webdataset_builder(folder: Path, question: Question, features: datasets.Features | None = None) -> Records:
    """The builder that `datasets` has for tars. Media are left out by selecting the others.

    What the first five recordings of the first tar do not have, it drops from all.
    """
    paths = [str(path) for path in sorted(tars(folder))]
    columns = [*types(question)]

    def records() -> Iterator[Found]:
        stream = datasets.load_dataset(
            "webdataset", data_files=paths, split="train", streaming=True, features=features
        ).select_columns(columns)
        for record in stream:
            yield _found_in(record, question)

    return records


def _found_in(record: Mapping[str, Any], question: Question) -> Found:
    arrays = record.get("npz") or {}
    texts = record.get("json") or {}
    return count(
        (np.asarray(arrays[key]) for key in question.arrays if arrays.get(key) is not None),
        (texts.get(MEMBERS[part]) for part in question.texts),
    )


def webdataset_builder_told(folder: Path, question: Question) -> Records:
    """The same, told the types of what is wanted: it need not look at five recordings first, and skips the rest."""
    return webdataset_builder(folder, question, datasets.Features(types(question)))


def webdataset_library(folder: Path, question: Question) -> Records:
    """The library of that name, which is told the members that are wanted."""
    import webdataset

    paths = [str(path) for path in sorted(tars(folder))]
    wanted = _extensions(question)

    def records() -> Iterator[Found]:
        stream = webdataset.WebDataset(
            paths, shardshuffle=False, select_files=lambda name: os.path.splitext(name)[1] in wanted
        )
        for sample in stream:
            loaded = [load(sample[extension[1:]], extension, question) for extension in wanted]
            yield count(*(chain.from_iterable(part) for part in zip(*loaded, strict=True)))

    return records


def from_generator(folder: Path, question: Question) -> Records:
    """What one would write in an afternoon: a generator over extracted files, with declared features."""
    lines = [line.split(",")[:5] for line in (folder / "filelist.csv").read_text().splitlines()[1:]]
    stems = [
        folder / label / split / f"{int(batch):04d}" / f"{int(archive):04d}" / file_id
        for file_id, label, split, batch, archive in lines
    ]

    def records() -> Iterator[Found]:
        stream = datasets.IterableDataset.from_generator(
            _examples, features=_example_types(question), gen_kwargs={"stems": stems, "question": question}
        ).with_format("numpy")
        for record in stream:
            yield count(
                (record[key] for key in question.arrays), (json.loads(str(record[part])) for part in question.texts)
            )

    return records


def _example_types(question: Question) -> datasets.Features:
    """Arrays as ours; texts as JSON, which costs it least."""
    ours = seamless_interaction.record_features()
    return datasets.Features(
        {**{key: ours[key] for key in question.arrays}, **dict.fromkeys(question.texts, datasets.Value("string"))}
    )


def _examples(stems: list[Path], question: Question) -> Iterator[dict[str, Any]]:
    for stem in stems:
        example: dict[str, Any] = {}
        if question.arrays:
            with np.load(f"{stem}.npz") as npz:
                for key in question.arrays:
                    array = ARRAYS[key]
                    example[key] = npz[key] if key in npz.files else np.empty((0, *array.shape), array.dtype)
        if question.texts:
            bundle = json.loads(Path(f"{stem}.json").read_text("utf-8"))
            example |= {part: json.dumps(bundle.get(MEMBERS[part]) or []) for part in question.texts}
        yield example


# --- over HTTP ------------------------------------------------------------------------------------


def one_by_one(addresses: list[str], question: Question) -> Records:
    """Get files whose addresses are known, one after the other over one connection."""
    place = urlsplit(addresses[0])

    def records() -> Iterator[Found]:
        connection = http.client.HTTPConnection(place.netloc)
        for address in addresses:
            connection.request("GET", urlsplit(address).path)
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                raise OSError(f"{response.status} for {address}")
            if address.endswith(".npy"):
                yield count([np.load(io.BytesIO(content))], [])
            else:
                yield count([], [[json.loads(line) for line in content.splitlines()]])
        connection.close()

    return records


# --- all of them ----------------------------------------------------------------------------------


class Way(NamedTuple):
    """How something is read, and from which layout."""

    run: Callable[[Any, Question], Records]
    layout: str
    finds: str = "all"  # "nothing", if it does not look into what it reads; "less", if it may lose some


WAYS = {
    "read, offsets known": Way(read, "archives", "nothing"),
    "copy, offsets known": Way(copy, "archives", "nothing"),
    "np.load/json.loads, kept": Way(load_kept, "archives"),
    "np.load/json.loads": Way(load_one, "archives"),
    "tarfile, seeking": Way(seek, "archives"),
    "ours from tars": Way(ours, "archives"),
    "ours from tars, again": Way(ours, "archives"),
    "ours from bundles": Way(ours, "bundles"),
    "ours from a tree": Way(ours, "tree"),
    "datasets' webdataset": Way(webdataset_builder, "archives", "less"),
    "  told the types": Way(webdataset_builder_told, "archives"),
    "webdataset library": Way(webdataset_library, "archives"),
    "from_generator, bundles": Way(from_generator, "bundles"),
}
OVER_HTTP = {"ours over HTTP": Way(ours, "tree"), "one by one": Way(one_by_one, "tree")}
