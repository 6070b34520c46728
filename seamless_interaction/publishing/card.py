"""What a published repository says of itself: README.md, the card, and dataset_infos.json.

`datasets` reads configs and counts from the card's YAML, and features from the Parquet files' own metadata. Where the
YAML has an entry for a config, that replaces the one of dataset_infos.json as a whole (3.6 to 5.2, measured): the file
is for other readers, who find features, licence and citation there.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

import datasets
import yaml  # type: ignore[import-untyped]

from seamless_interaction import (
    ANNOTATION_KINDS,
    CITATION,
    DESCRIPTION,
    EVERY_ARRAY,
    EVERY_MODALITY,
    HOMEPAGE,
    HONESTY,
    IDENTITY,
    ISSUES,
    LICENSE,
    SAMPLING_RATE,
    TIME,
    VENDORS,
)
from seamless_interaction.publishing.names import RECORDINGS
from seamless_interaction.publishing.rows import SUMMARY
from seamless_interaction.record.dialect import dialect
from seamless_interaction.work.text import decimal

PRETTY_NAME = "Seamless Interaction"
TASKS = ("automatic-speech-recognition", "voice-activity-detection", "video-classification", "keypoint-detection")
TAGS = (
    "dyadic-interaction",
    "conversation",
    "face-to-face",
    "motion",
    "smpl-h",
    "keypoints",
    "facial-expression",
    "speech",
    "multimodal",
    "audio",
    "video",
)


@dataclass(frozen=True)
class Split:
    """One split of a config.

    Args:
        name: ``"train"``, ``"dev"`` or ``"test"``.
        patterns: globs of its Parquet files, relative to the repository.
        num_examples: rows; ``datasets`` refuses to prepare another number.
        num_bytes: Arrow bytes, as ``datasets`` counts them.
        download_size: bytes of its Parquet files.
    """

    name: str
    patterns: tuple[str, ...]
    num_examples: int
    num_bytes: int
    download_size: int


@dataclass(frozen=True)
class Config:
    """One config.

    Args:
        name: ``"recordings"``, or a size, alone or with a label: ``"10GB-naturalistic"``.
        description: a sentence or two.
        features: its columns.
        splits: those without examples are not declared, as `datasets` finds no file for them.
    """

    name: str
    description: str
    features: datasets.Features
    splits: tuple[Split, ...]

    @property
    def num_bytes(self) -> int:
        return sum(split.num_bytes for split in self.splits)

    @property
    def download_size(self) -> int:
        return sum(split.download_size for split in self.splits)


@dataclass(frozen=True)
class Size:
    """What a size holds: it contains the smaller ones.

    Args:
        name: ``"10GB"``.
        interactions, recordings: with those of the smaller sizes.
        num_bytes: of the Parquet files that no smaller size has.
        total_bytes: of all its Parquet files.
        hours: of recordings: a conversation of two counts twice.
    """

    name: str
    interactions: int
    recordings: int
    num_bytes: int
    total_bytes: int
    hours: float


@dataclass(frozen=True)
class CardFacts:
    """What was published, in numbers.

    Args:
        repo_id: ``"seamless/interaction"``.
        version: ``MAJOR.MINOR.PATCH`` of the published data.
        published: the day, as ``YYYY-MM-DD``.
        recordings, interactions: all that are here.
        hours: of these recordings.
        synthetic: whether the content is invented.
        videos: size -> ``"copy"``, ``"embed"`` or ``"url"``: where its videos are.
        audio: ``"flac"``, ``"wav"`` or ``"url"``: how audio is stored.
        sizes: smallest first.
        gaps: what is not whole, in words -> how many.
        issues: code -> recordings that have it.
    """

    repo_id: str
    version: str
    published: str
    recordings: int
    interactions: int
    hours: float
    synthetic: bool
    videos: Mapping[str, str]
    audio: str
    sizes: Sequence[Size]
    gaps: Mapping[str, int]
    issues: Mapping[str, int]

    @property
    def url(self) -> str:
        return f"https://huggingface.co/datasets/{self.repo_id}"

    @property
    def title(self) -> str:
        return f"{PRETTY_NAME} (synthetic)" if self.synthetic else PRETTY_NAME

    @property
    def tags(self) -> list[str]:
        return [*(["synthetic"] if self.synthetic else []), *TAGS]


def card(facts: CardFacts, configs: Iterable[Config]) -> str:
    """README.md: YAML front matter, and a body for people.

    Args:
        facts: what was published.
        configs: all configs; ``recordings`` is put first, and those without examples are left out.

    Raises:
        KeyError: a way to store audio or video that this module does not know.
        ValueError: a code in ``facts.issues`` that is not in ``ISSUES``.
    """
    declared = declared_configs(configs)
    return f"---\n{_yaml(front_matter(facts, declared))}---\n\n{_body(facts, declared)}"


def dataset_infos(facts: CardFacts, configs: Iterable[Config]) -> dict[str, Any]:
    """dataset_infos.json: config name -> features, splits with their counts, licence and citation.

    Args:
        facts: what was published.
        configs: all configs, as given to ``card``.
    """
    dataset_name = facts.repo_id.rpartition("/")[2]
    return {
        config.name: {
            "description": f"{DESCRIPTION} {config.description}",
            "citation": CITATION,
            "homepage": HOMEPAGE,
            "license": LICENSE,
            "features": dialect(dict(config.features)),
            "builder_name": "parquet",
            "dataset_name": dataset_name,
            "config_name": config.name,
            "version": {"version_str": facts.version},
            "splits": {split["name"]: {**split, "dataset_name": dataset_name} for split in _splits(config)},
            **_bytes(config),
        }
        for config in declared_configs(configs)
    }


def declared_configs(configs: Iterable[Config]) -> list[Config]:
    """The configs and splits that have examples, ``recordings`` first.

    First, because `datasets` lists the files of the first config whichever one is asked for.
    """
    kept = [replace(config, splits=tuple(split for split in config.splits if split.num_examples)) for config in configs]
    return sorted((config for config in kept if config.splits), key=lambda config: config.name != RECORDINGS)


# --------------------------------------------------------------------------------------------------
# Front matter
# --------------------------------------------------------------------------------------------------


def front_matter(facts: CardFacts, configs: Sequence[Config]) -> dict[str, Any]:
    """The card's YAML, as plain data.

    It has no features: 3.6 does not read those that 4 and later write, and all versions take them from the Parquet
    files' metadata.
    """
    return {
        "license": LICENSE.lower(),
        "pretty_name": facts.title,
        "language": ["en"],
        "size_categories": [size_category(facts.recordings)],
        "task_categories": list(TASKS),
        "tags": facts.tags,
        "annotations_creators": ["machine-generated"] if facts.synthetic else ["machine-generated", "other"],
        "source_datasets": ["original"] if facts.synthetic else ["facebook/seamless-interaction"],
        **_gate(facts),
        "configs": [_data_files(config, is_default=config is configs[0]) for config in configs],
        "dataset_info": [
            {"config_name": config.name, "splits": _splits(config), **_bytes(config)} for config in configs
        ],
    }


def size_category(recordings: int) -> str:
    """The Hub's name for so many: ``10K<n<100K``."""
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")
    return names[bisect((1_000, 10_000, 100_000, 1_000_000), recordings)]


_GATE_REAL = """\
These are recordings of people who spoke for research: their faces, voices and words, and what they told of
their personality and relationships. Access is for non-commercial use under CC-BY-NC 4.0.
"""
_GATE_SYNTHETIC = """\
Everything here is synthetic and shows no real person. The terms are those of the real recordings, non-commercial use
under CC-BY-NC 4.0 and the following.
"""
_GATE_TERMS = """\
Whoever uses them does not attempt to identify or re-identify a person, does not contact anyone in them, joins them
with no other data that would reveal who somebody is, and builds no system that recognises these speakers or imitates
an individual's face, voice or manner.
"""


def _gate(facts: CardFacts) -> dict[str, Any]:
    """What the Hub asks before it gives access. A label beyond 128 characters would become a complex YAML key."""
    return {
        "extra_gated_heading": "Who are you, and what are the recordings for?",
        "extra_gated_prompt": f"{_GATE_SYNTHETIC if facts.synthetic else _GATE_REAL}\n{_GATE_TERMS}",
        "extra_gated_fields": {
            "Name": "text",
            "Affiliation": "text",
            "Country": "country",
            "Intended use": "text",
            "I use this only for non-commercial purposes, as CC-BY-NC 4.0 demands": "checkbox",
            "I will not identify, re-identify or contact anyone in the recordings, nor attempt it": "checkbox",
            "I will not build systems that recognise these speakers or imitate any one of them": "checkbox",
        },
        "extra_gated_button_content": "Agree and ask for access",
    }


def _data_files(config: Config, is_default: bool) -> dict[str, Any]:
    return {
        "config_name": config.name,
        **({"default": True} if is_default else {}),
        "data_files": [{"split": split.name, "path": list(split.patterns)} for split in config.splits],
    }


def _splits(config: Config) -> list[dict[str, Any]]:
    return [
        {"name": split.name, "num_bytes": split.num_bytes, "num_examples": split.num_examples}
        for split in config.splits
    ]


def _bytes(config: Config) -> dict[str, int]:
    return {"download_size": config.download_size, "dataset_size": config.num_bytes}


class _Dumper(yaml.SafeDumper):
    """Writes paragraphs as paragraphs."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _yaml(data: dict[str, Any]) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


# --------------------------------------------------------------------------------------------------
# Columns
# --------------------------------------------------------------------------------------------------

_GROUPS = {  # columns of every record, and the modalities
    "identity": IDENTITY,
    "time and picture": TIME,
    **EVERY_MODALITY,
    "what to trust": HONESTY,
}
_OTHERS = {"audio_url": "audio", "video_url": "video"}  # columns that only a published repository has -> group

_MEANINGS = {
    "id": "file id, vendor_session_prompt_participant: `V00_S0809_I00000582_P0947`",
    "interaction_id": "the conversation: what two partners share",
    "session_id": "unique, as it begins with the vendor",
    "participant_id": "unique, as it begins with the vendor; no name, no demographics",
    "vendor_id": "who recorded: " + ", ".join(VENDORS),
    "prompt_id": "the prompt, used again by many sessions",
    "partner_id": "`id` of the other participant's recording; null if there is none",
    "label": "`improvised` or `naturalistic`",
    "duration": "seconds, from the video's header, else the audio's",
    "fps": "the video's average rate; not always 30",
    "num_frames": "of the video",
    "width": "of the stored raster, pixels",
    "height": "of the stored raster, pixels",
    "pixel_aspect_ratio": "a pixel's width over its height; not 1 where anamorphic",
    "audio": f"one participant's speech, mono, {SAMPLING_RATE:,} Hz",
    "audio_url": "the WAV's address in the public bucket",
    "video": "one participant; `bytes`, or `path` of a file in this repository",
    "partner_video": "the other participant, as `video`",
    "size": "the smallest size that has the recording",
    "video_url": "the MP4's address in the public bucket",
    "transcript": "all that was said, as one text",
    "segments": "times in seconds; a word that could not be timed has null start, end and score",
    "vad": "when the participant speaks, seconds",
    "annotations": "times in seconds; "
    + "; ".join(f"`{kind}`: {meaning}" for kind, meaning in ANNOTATION_KINDS.items()),
    "interaction_type": "what the prompt asks for: a conversation, a game, a story, gestures",
    "prompt_id_unique": "of the prompt, as its authors number them",
    "prompt_category": "the category that its unique id names: fam, str, aac, AC, RP, AA, …",
    "prompt_text_a": "what one of the two was told; who had which role is not recorded",
    "prompt_text_b": "what the other was told",
    "ipc_a": "interpersonal circumplex of role a: agency and communion, each P, N or M",
    "ipc_b": "the same of role b",
    "relationship": "of the two: stranger, familiar",
    "relationship_detail": "friends, coworkers, siblings, …",
    "issues": "what is missing or broken, see below",
    "checked": "what was opened to know",
}
_PERSONALITY = "1 to 5, mean of the questionnaire's items; null where not disclosed"


def group_of(column: str) -> str:
    """The modality or other group of a column; empty if the builder has none such."""
    return next((group for group, columns in _GROUPS.items() if column in columns), _OTHERS.get(column, ""))


def meaning_of(column: str) -> str:
    """What a column means, or a member of one; empty if nobody says."""
    if column in EVERY_ARRAY:
        vendors = EVERY_ARRAY[column].vendors
        return EVERY_ARRAY[column].meaning + ("" if vendors == VENDORS else f"; {', '.join(vendors)} only")
    return _PERSONALITY if column.startswith("personality:") else {**_MEANINGS, **SUMMARY}.get(column, "")


def type_of(column: str, feature: Any) -> str:
    """A column's type in words: ``float32 (T, 21, 3)``, with T frames; ``list of {start, end}``."""
    if column in EVERY_ARRAY and not EVERY_ARRAY[column].is_open:
        array = EVERY_ARRAY[column]
        rows = "T" if array.frames_per_row == 1 else f"T/{array.frames_per_row}"
        return f"{array.dtype} ({', '.join([rows, *map(str, array.shape)])}{'' if array.shape else ','})"
    return in_words(dialect(feature))


def in_words(feature: Any) -> str:
    """A type in words, of a feature as ``dialect`` has it."""
    if isinstance(feature, list):
        return f"list of {in_words(feature[0])}"
    kind = feature.get("_type")
    if kind is None:
        return "{" + ", ".join(feature) + "}"
    if kind == "Sequence":
        return f"list of {in_words(feature['feature'])}"
    if kind.startswith("Array"):
        shape = ("T" if length is None else str(length) for length in feature["shape"])
        return f"{feature['dtype']} ({', '.join(shape)})"
    return feature["dtype"] if kind == "Value" else kind.lower()


# --------------------------------------------------------------------------------------------------
# Body
# --------------------------------------------------------------------------------------------------

_SYNTHETIC = f"""\
> **Everything here is synthetic.** No real person was filmed or recorded: pictures, voices, words and scores are
> generated, in the form of the real dataset, to try software with. Draw no conclusions from them.

The real dataset is [Meta FAIR's]({HOMEPAGE}): {DESCRIPTION}"""
_REAL = f"""\
{DESCRIPTION}

The dataset is [Meta FAIR's]({HOMEPAGE}). This repository holds it as Parquet, with typed columns, one way of saying
what is missing, and sizes made of whole interactions."""
_AUDIO = {
    "flac": "Each WAV is a FLAC in the row, compared with it sample by sample: decoded, it has the same ones. "
    "Where FLAC cannot hold them, the row has the WAV as it was.",
    "wav": "Each WAV is in the row as it was.",
    "url": "Audio is not in this repository: `audio` is null, `audio_url` is the WAV's address in the public bucket.",
}
_DECODING = (
    'Undecoded, a value is `{"bytes", "path"}`, or null. From `datasets` 4 on, decoding takes `torchcodec`; in 3.6, '
    "`soundfile` and `torchvision`."
)
_VIDEO = (
    "`video` is null where this repository does not hold the MP4; `video_url` is its address in the public bucket. The "
    "next table says where each size has its videos."
)
_VIDEOS = {
    "copy": "MP4s as they were, files of this repository that `video` names",
    "embed": "MP4s as they were, in the rows",
    "url": "not here: `video` is null, `video_url` is the MP4's address in the public bucket",
}
_FEW = ("id", "partner_id", "duration", "transcript")  # columns that an example streams


def _body(facts: CardFacts, configs: Sequence[Config]) -> str:
    sizes = [config for config in configs if config.name != RECORDINGS] or list(configs)
    template = Template(Path(__file__).with_name("card.md").read_text(encoding="utf-8"))
    return template.substitute(
        title=facts.title,
        introduction=_SYNTHETIC if facts.synthetic else _REAL,
        whose_limits="Of the real dataset, which this one imitates.\n\n" if facts.synthetic else "",
        repo_id=facts.repo_id,
        recordings=f"{facts.recordings:,}",
        interactions=f"{facts.interactions:,}",
        hours=f"{facts.hours:,.1f}",
        version=facts.version,
        published=facts.published,
        size=sizes[0].name,
        first_split=configs[0].splits[0].name,
        narrow=sizes[-1].name,
        narrow_split=sizes[-1].splits[-1].name,
        few=json.dumps([column for column in _FEW if column in sizes[-1].features]),
        sizes=_sizes_table(facts),
        configs=_configs_table(configs),
        gaps=_gaps(facts),
        columns=_columns_table(sizes),
        own_columns=_own_columns(configs[0], sizes),
        issues=_issues_table(facts),
        media=_media(facts, sizes[0]),
        citation=CITATION.rstrip(),
    )


def _media(facts: CardFacts, config: Config) -> str:
    """How audio and video are stored, and how to decode them."""
    media = {"audio": "Audio", "video": "Video"}
    here = [column for column in media if column in config.features]
    if not here:
        return "There are none in this publication."
    casts = [f'ds = ds.cast_column("{column}", {media[column]}())' for column in here]
    code = ["from datasets import " + ", ".join(media[column] for column in here), "", *casts]
    decode = "\n".join(["They are not decoded until you say so:", "", "```python", *code, "```"])
    told = {"audio": _AUDIO[facts.audio], "video": _VIDEO}
    return "\n\n".join([decode, _DECODING, *(told[column] for column in here)])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: int = 0) -> str:
    """A Markdown table whose last ``numbers`` columns are aligned to the right."""
    lines = [head, ["---"] * (len(head) - numbers) + ["---:"] * numbers, *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def _sizes_table(facts: CardFacts) -> str:
    head = ("size", "video", "interactions", "recordings", "hours", "Parquet of its own", "with the smaller sizes")
    rows = [
        (
            f"`{size.name}`",
            _VIDEOS[facts.videos[size.name]],
            f"{size.interactions:,}",
            f"{size.recordings:,}",
            f"{size.hours:,.1f}",
            decimal(size.num_bytes),
            decimal(size.total_bytes),
        )
        for size in facts.sizes
    ]
    return _table(head, rows, numbers=5)


def _configs_table(configs: Sequence[Config]) -> str:
    names = list(dict.fromkeys(split.name for config in configs for split in config.splits))
    rows = []
    for config in configs:
        counts = {split.name: f"{split.num_examples:,}" for split in config.splits}
        download = decimal(config.download_size)
        rows.append((f"`{config.name}`", config.description, *(counts.get(name, "-") for name in names), download))
    return _table(("config", "what", *names, "download"), rows, numbers=len(names) + 1)


def _gaps(facts: CardFacts) -> str:
    found = [f"- {count:,} {what}" for what, count in facts.gaps.items() if count]
    return "\n".join(["Not whole:", "", *found]) if found else "Nothing that these sizes name is left out."


def _columns_table(configs: Sequence[Config]) -> str:
    """The columns of all these configs, by group."""
    columns = {column: config for config in reversed(configs) for column in config.features}
    order = [*_GROUPS, ""]
    rows = []
    for column in sorted(columns, key=lambda column: order.index(group_of(column))):
        config = columns[column]
        name = group_of(column) or "other"
        rows.append((name, f"`{column}`", type_of(column, config.features[column]), meaning_of(column)))
    return _table(("group", "column", "type", "meaning"), rows)


def _own_columns(config: Config, sizes: Sequence[Config]) -> str:
    """Which columns a config shares with the sizes, and a table of those that it does not or has otherwise."""
    types = {column: type_of(column, feature) for size in sizes for column, feature in size.features.items()}
    own, shared = [], []
    for column, feature in config.features.items():
        type = type_of(column, feature)
        if types.get(column) == type:
            shared.append(f"`{column}`")
        else:
            own.append((f"`{column}`", type, "as above, less of it" if column in types else meaning_of(column)))
    table = f"\n\nIts own, or other than above:\n\n{_table(('column', 'type', 'meaning'), own)}" if own else ""
    return f"Columns as above: {', '.join(shared)}.{table}"


def _issues_table(facts: CardFacts) -> str:
    """Every code, with the number of recordings here that have it."""
    unknown = facts.issues.keys() - ISSUES.keys()
    if unknown:
        raise ValueError(f"unknown issue codes: {', '.join(sorted(unknown))}")
    rows = [(f"`{code}`", meaning, f"{facts.issues.get(code, 0):,}") for code, meaning in ISSUES.items()]
    return _table(("code", "meaning", "recordings here"), rows, numbers=1)
