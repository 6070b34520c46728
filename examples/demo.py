"""Make a small synthetic corpus and load it, streaming and prepared. ``make demo`` runs it."""

import argparse
import shutil
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import datasets

from seamless_interaction import MODALITIES, load_dataset, resolve_modalities
from seamless_interaction.synthetic.writing import synthesize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="demo-data", type=Path, help="where the corpus goes")
    folder = parser.parse_args().folder
    if not folder.exists():
        print(f"Writing a small synthetic corpus to {folder} …")
        synthesize(folder, "tree", interactions=12, seconds=4.0)
    elif not (folder / "SYNTHETIC.md").exists():
        sys.exit(f"{folder} exists, and this did not make it. Name another folder: python examples/demo.py FOLDER")
    print("Everything below is synthetic: made by a program, in the format of the real recordings.\n")

    datasets.disable_progress_bars()
    start = time.perf_counter()
    streams = load_dataset(subset="10GB", data_dir=folder, streaming=True)
    records = [record for stream in streams.values() for record in stream]
    print(f"Streamed {len(records)} recordings in {time.perf_counter() - start:.1f} s, nothing prepared.")
    cache = tempfile.mkdtemp(prefix="seamless-interaction-demo-")
    start = time.perf_counter()
    prepared = load_dataset(subset="10GB", data_dir=folder, cache_dir=cache)
    print(f"Prepared {sum(map(len, prepared.values()))} recordings as Arrow in {time.perf_counter() - start:.1f} s.\n")

    for split, dataset in prepared.items():
        interactions = len(set(dataset["interaction_id"]))
        hours = sum(duration or 0 for duration in dataset["duration"]) / 3600
        print(f"{split:6} {len(dataset):3} recordings of {interactions:2} interactions, {hours:.3f} hours")

    record = prepared["train"][0]
    print(f"\nOne record has {len(prepared['train'].column_names)} columns. By modality:")
    for modality in MODALITIES:
        columns = resolve_modalities(modality)
        shapes = [f"{column.partition(':')[2] or column} {_shape(record[column])}" for column in columns]
        print(textwrap.fill(", ".join(shapes), 110, initial_indent=f"  {modality:20} ", subsequent_indent=" " * 23))

    print(f"\n{record['id']}, with {record['partner_id']}, {record['label']}")
    print(f"  {record['duration']:.2f} s, {record['fps']:g} fps, {record['width']}x{record['height']} pixels")
    print(f"  transcript  {record['transcript'][:70]!r}…")
    print(f"  audio       {record['audio']['array'].shape} samples at {record['audio']['sampling_rate']} Hz")
    print(f"  video       {len(record['video'])} frames, the first {record['video'][0].shape}")
    print(f"  emotion     {record['movement']['emotion_scores'].shape}, body pose {record['smplh']['body_pose'].shape}")
    for issue in record["issues"]:
        print(f"  issue       {issue['column']}: {issue['code']}, {issue['detail']}")
    shutil.rmtree(cache)


def _shape(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else str(list(shape))


if __name__ == "__main__":
    main()
