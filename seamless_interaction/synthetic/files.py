"""The files of a synthetic corpus: tables, and recordings as trees, bundles or archives."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from seamless_interaction import ARRAYS, EVERY_ARRAY, FILELIST_FLAGS, TABLES, TRAITS
from seamless_interaction.errors import UsageError
from seamless_interaction.places.write import local_path, writing
from seamless_interaction.source.layout import BUNDLE, EXTENSIONS, archive_path, tree_path
from seamless_interaction.source.notice import NOTICE, PROMPT_VERSION
from seamless_interaction.synthetic.corpus import PROMPTS, Corpus, SyntheticRecording, prompt_id
from seamless_interaction.synthetic.media import (
    cut_before_index,
    empty_mp4,
    generator,
    sound_excerpt,
    write_mp4,
    write_wav,
)

_STRAY_ARCHIVE = 54  # of the first batch of improvised dev, where the Hub has tars that the file list does not name
_EXTRA_BYTES = 1 << 20  # behind the array of the defect "oversized_array"

# --- tables ---------------------------------------------------------------------------------------

_DETAILS = (
    "stranger",
    "familiar-generic",
    "friends",
    "coworkers",
    "siblings",
    "neighbors",
    "dating/spouse/romantic_partner",
)
_TYPES = ("ipc_conversation", "grounded_gesture", "collaborative_storytelling", "charades")
_IPC = ("ANCP", "APCN", "AMCP", "CGST")


def tables(corpus: Corpus) -> dict[str, list[dict[str, str]]]:
    """File name to rows of the four tables, cells as text, columns in the real order."""
    rows = {
        "filelist.csv": [_listed(recording) for recording in _shuffled(corpus.recordings, corpus.seed)],
        "interactions.csv": [_prompt(index, (index * 5 + 3) % PROMPTS) for index in range(PROMPTS)],
        "participants.csv": _participants(corpus),
        "relationships.csv": _relationships(corpus),
    }
    assert all(set(TABLES[name]) <= set(table[0]) for name, table in rows.items() if table)
    return rows


def _shuffled(recordings: list[SyntheticRecording], seed: int) -> list[SyntheticRecording]:
    """In an order that says nothing, as that of the real tables and archives."""
    return sorted(recordings, key=lambda recording: generator(seed, recording.file_id, "order").integers(1 << 62))


def _listed(recording: SyntheticRecording) -> dict[str, str]:
    flags = (
        any(EVERY_ARRAY[key].group == "movement" for key in recording.array_keys),
        any(kind.startswith("1P") for kind in recording.kinds),
        any(kind.startswith("3P") for kind in recording.kinds),
    )
    values = (recording.file_id, recording.label, recording.split, recording.batch_idx, recording.archive_idx)
    columns = (*TABLES["filelist.csv"], *FILELIST_FLAGS)
    return dict(zip(columns, [*map(str, values), *(str(int(flag)) for flag in flags)], strict=True))


def _prompt(index: int, number: int) -> dict[str, str]:
    kind = _TYPES[0] if number % 4 < 2 else _TYPES[number // 4 % 4]
    texts = {
        f"participant_{role.lower()}_prompt_text": (
            f"Synthetic prompt: number {number}, for participant {role}.\n\n"
            f'You are “{role}”. Nobody wrote ""this"" for a person;\r\nit’s made up, line by line.\n'
        )
        for role in "AB"
    }
    return {
        "": str(index),
        "prompt_hash": prompt_id(number),
        "prompt_id_unique": f"P{number:04d}_{PROMPT_VERSION}_{_IPC[number % 4]}_XXXX",
        **texts,
        "ipc_a": _IPC[number % 4],
        "ipc_b": _IPC[number // 2 % 4] if number % 2 else "",
        "interaction_type": kind,
    }


def _participants(corpus: Corpus) -> list[dict[str, str]]:
    people = {recording.ids.participant_id: recording for recording in corpus.recordings}
    without_row = next((key for key, recording in people.items() if "no_personality" in recording.traits), None)
    rows = []
    for participant_id, recording in sorted(people.items()):
        if participant_id == without_row:
            continue
        vendor, participant = participant_id[1:].split("_P")
        rng = generator(corpus.seed, participant_id, "personality")
        items = 11 if rng.integers(8) == 0 else 12
        scores = [int(score) / items for score in rng.integers(items, 5 * items + 1, len(TRAITS))]
        if recording.vendor == "V02":  # nearly one vector for all, as in the real table
            scores = [46 / 12, 48 / 12, 48 / 12, 26 / 12, 47 / 12]
        undisclosed = recording.role == 1 and int(recording.ids.session[1:]) % 3 > 0
        cells = ["Undisclosed" if undisclosed else repr(score) for score in scores]
        rows.append(_personality(cells, vendor, participant))
    return [*rows, _personality(["Undisclosed"] * len(TRAITS), "03", "9999")]  # of whom there is no file


def _personality(scores: list[str], vendor: str, participant: str) -> dict[str, str]:
    cells = {f"{trait}_raw": score for trait, score in zip(TRAITS, scores, strict=True)}
    return {**cells, "vendor_id": vendor, "participant_id": participant}


def _relationships(corpus: Corpus) -> list[dict[str, str]]:
    sessions: dict[str, SyntheticRecording] = {}
    for recording in corpus.recordings:
        sessions.setdefault(recording.ids.session_id, recording)
    without_row = next((key for key, recording in sessions.items() if "no_relationship" in recording.traits), None)
    rows = []
    for number, session_id in enumerate(sorted(sessions)):
        if session_id == without_row:
            continue
        detail = _DETAILS[number % len(_DETAILS)]
        relationship = "stranger" if detail == "stranger" else "familiar"
        vendor, session = session_id.split("_S")
        cells = (vendor, session, relationship, detail)
        rows.append(dict(zip(TABLES["relationships.csv"], cells, strict=True)))
    return rows


def _table_bytes(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


# --- parts of a recording -------------------------------------------------------------------------


def _write_npy(file: IO[bytes], recording: SyntheticRecording, key: str, dtype: str) -> None:
    """One array as an NPY, with what the recording's defect does to it."""
    values = recording.array(key).astype(dtype, copy=False)
    if dtype == "bool":
        values = values.reshape(-1)
    code = recording.defect if (key, recording.defect) in _SPOILT else None
    if code == "pickled_array":
        content = io.BytesIO()
        np.lib.format.write_array(content, np.array([{"synthetic": True}], object), allow_pickle=True)
        file.write(content.getvalue())
    elif code == "boundless_array":
        header = {"descr": values.dtype.str, "fortran_order": False, "shape": (10**9, *values.shape[1:])}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(values.tobytes())
    elif code == "truncated_array":
        content = io.BytesIO()
        np.lib.format.write_array(content, values, allow_pickle=False)
        file.write(content.getvalue()[: -values.nbytes // 2])
    elif code == "wrong_shape":
        np.lib.format.write_array(file, np.concatenate([values, values[..., :1]], axis=-1), allow_pickle=False)
    else:
        np.lib.format.write_array(file, values, allow_pickle=False)
        if code == "oversized_array":
            file.write(bytes(_EXTRA_BYTES))


def _spoilt() -> set[tuple[str, str]]:
    from seamless_interaction.synthetic.profiles import DEFECTS

    return {(part, name) for name, defect in DEFECTS.items() for part in defect.issues if part in ARRAYS}


_SPOILT = _spoilt()


def _write_npz(path: Path, recording: SyntheticRecording) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in recording.array_keys:
            member = zipfile.ZipInfo(BUNDLE[key][1] or "")  # dated 1980, so that bytes do not depend on the clock
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as file:
                _write_npy(file, recording, key, EVERY_ARRAY[key].dtype)


def _write_audio(path: Path, recording: SyntheticRecording) -> None:
    if recording.defect == "damaged_audio":
        path.write_bytes(b"Synthetic: this is no WAV.\n" * 4)
        return
    with open(path, "wb") as file:
        write_wav(file, recording.num_samples, recording.blocks_of_samples())


def _write_video(path: Path, recording: SyntheticRecording) -> None:
    v00 = recording.vendor == "V00"
    empty = recording.defect in ("empty_bundle", "empty_bundle_v00", "no_picture")
    if empty and not v00:
        path.write_bytes(empty_mp4())
        return
    mono = recording.vendor == "V02" or (recording.vendor == "V01" and recording.role == 0)
    write_mp4(
        path,
        frames=recording.num_frames,
        fps=recording.fps,
        size=recording.raster,
        aspect=recording.pixel_aspect,
        samples=recording.some_samples(0, sound_excerpt(recording.full_samples)),
        num_samples=recording.full_samples,
        channels=1 if mono else 2,
        timecode=v00,
        picture_track=recording.defect != "no_video_stream",
        sound_track=not empty,
        index_first=recording.defect != "truncated_video",
    )
    if recording.defect == "truncated_video":
        cut_before_index(path)


def _texts(recording: SyntheticRecording) -> dict[str, list[Any]]:
    return {"transcript": recording.transcript(), "vad": recording.vad(), **recording.annotations()}


def _is_written(recording: SyntheticRecording, part: str) -> bool:
    """Whether the file of ``audio``, ``video``, ``arrays`` or ``text`` is there."""
    if recording.defect == "incomplete":
        return part not in ("audio", "arrays")
    return recording.defect != "absent"


# --- layouts --------------------------------------------------------------------------------------


def _write_tree(root: Path, recording: SyntheticRecording) -> None:
    def place(part: str) -> Path:
        path = root / tree_path(recording.label, recording.split, part, recording.file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    if _is_written(recording, "audio"):
        _write_audio(place("audio"), recording)
    if _is_written(recording, "video"):
        _write_video(place("video"), recording)
    for key in recording.array_keys if _is_written(recording, "arrays") else ():
        with open(place(key), "wb") as file:
            _write_npy(file, recording, key, recording.dtype_in_tree(key))
    for part, records in _texts(recording).items() if _is_written(recording, "text") else ():
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        if part == "transcript" and recording.defect == "invalid_json":
            lines += '{"start": 1.0, "end": \n'
        place(part).write_text(lines, "utf-8", newline="\n")


def _write_bundle(folder: Path, recording: SyntheticRecording) -> list[Path]:
    """Write a recording's four files, or those it has, and return them in the order of an archive."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {extension: folder / f"{recording.file_id}{extension}" for extension in EXTENSIONS}
    if _is_written(recording, "audio"):
        _write_audio(paths[BUNDLE["audio"][0]], recording)
    if _is_written(recording, "video"):
        _write_video(paths[BUNDLE["video"][0]], recording)
    if _is_written(recording, "arrays"):
        _write_npz(paths[BUNDLE[recording.array_keys[0]][0]], recording)
    if _is_written(recording, "text"):
        members = {BUNDLE[part][1]: records for part, records in _texts(recording).items()}
        text = json.dumps({"id": recording.file_id, **members}, indent=4)
        if recording.defect == "invalid_json":
            text = text[: len(text) * 2 // 3]
        paths[BUNDLE["vad"][0]].write_text(text, "utf-8", newline="\n")
    return sorted(path for path in paths.values() if path.exists())


def _write_archive(path: Path, recordings: list[SyntheticRecording]) -> None:
    """Write a tar of bundles; none if there is nothing to put into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for recording in recordings:
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                for member in _write_bundle(Path(folder), recording):
                    header = tarfile.TarInfo(member.name)  # of no owner and no time
                    header.size, header.mode = member.stat().st_size, 0o444
                    with open(member, "rb") as file:
                        archive.addfile(header, file)
        is_empty = not archive.getmembers()
    if is_empty:
        path.unlink()


def _write_bookkeeping(root: Path, corpus: Corpus) -> None:
    """What lies about in real copies and is no data: a downloader's files, tars beside their content, ``extra``."""
    listed = [recording for recording in corpus.recordings if not recording.defect]
    first = listed[0]
    path = archive_path(first.label, first.split, first.batch_idx, first.archive_idx)
    notes = root / ".cache" / "huggingface" / "download" / f"{path}.tar"
    notes.parent.mkdir(parents=True)
    for extension in (".lock", ".metadata", ".0123abcd.incomplete"):
        notes.with_name(notes.name + extension).write_bytes(b"synthetic\n" if extension != ".lock" else b"")
        (root / path / f"{first.file_id}.mp4{extension}").write_bytes(b"")
    _write_json_tar(root / f"{path}.tar", first)
    extra = root / first.label / first.split / "extra"
    _write_json_tar(extra / "0000.tar", first)
    (extra / "0000").mkdir()
    (extra / "0000" / f"{first.file_id}.json").write_text('{"synthetic": "not part of the corpus"}', "utf-8")


def _write_json_tar(path: Path, recording: SyntheticRecording) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"id": recording.file_id, "synthetic": True}).encode()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        header = tarfile.TarInfo(f"{recording.file_id}.json")
        header.size = len(content)
        archive.addfile(header, io.BytesIO(content))


def _write_recordings(root: Path, corpus: Corpus) -> None:
    stray = archive_path("improvised", "dev", 0, _STRAY_ARCHIVE)
    if corpus.layout == "tree":
        for recording in corpus.recordings:
            _write_tree(root, recording)
        return
    archives: dict[str, list[SyntheticRecording]] = defaultdict(list)
    for recording in _shuffled(corpus.recordings, corpus.seed):
        if _is_written(recording, "text"):
            where = archive_path(recording.label, recording.split, recording.batch_idx, recording.archive_idx)
            archives[where].append(recording)
    if corpus.layout == "archives" or corpus.defects:
        archives[stray].append(corpus.stray)
    for path, recordings in sorted(archives.items()):
        if corpus.layout == "archives":
            _write_archive(root / f"{path}.tar", recordings)
        else:
            for recording in recordings:
                _write_bundle(root / path, recording)
    if corpus.layout == "bundles":
        _write_bookkeeping(root, corpus)


def notice(corpus: Corpus) -> str:
    """Text of SYNTHETIC.md."""
    command = (
        f"seamless-interaction synthesize DIR --layout {corpus.layout} --interactions {corpus.interactions} "
        f"--seconds {corpus.seconds:g} --seed {corpus.seed}"
        + (" --defects" if corpus.defects else "")
        + (" --movement-v4" if corpus.movement_v4 else "")
    )
    return (
        "# Synthetic data\n\n"
        "Everything in this folder is synthetic. No real person was filmed, recorded or described: pictures are\n"
        "patterns of blocks, voices are hums, words and answers are invented, and motion is made of waves. It is\n"
        "stored as Seamless Interaction is, so that software can be shown and tested without that data, and says\n"
        "nothing about it. Pictures, and the boxes and keypoints in them, are a sixth of the real size.\n\n"
        f"Made by:\n\n    {command}\n"
    )


def write(corpus: Corpus, directory: str | os.PathLike[str]) -> None:
    """Write a corpus, everything into a hidden folder first, so that a killed run leaves nothing that looks like one.

    Raises:
        UsageError: the directory is not empty, or is a file.
        TargetError: it cannot be written to, or the disk is full.
    """
    root = local_path(directory)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        what = "is not empty" if root.is_dir() else "is a file"
        raise UsageError(f"{root} {what}. Name a new or an empty directory to write a synthetic corpus into.")
    partial = root / ".partial"
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        try:
            (partial / NOTICE).write_text(notice(corpus), "utf-8", newline="\n")
            for name, rows in tables(corpus).items():
                (partial / name).write_bytes(_table_bytes(rows))
            _write_recordings(partial, corpus)
            for path in sorted(partial.iterdir(), key=lambda path: path.suffix != ".md"):  # the notice first
                path.rename(root / path.name)
        finally:
            shutil.rmtree(partial)
