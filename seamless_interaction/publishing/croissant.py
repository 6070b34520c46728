"""croissant.json: a published repository in Croissant 1.1, the JSON-LD vocabulary for machine-learning datasets.

Written after https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and held against the ``mlcroissant``
tool. Arrays have their true shapes (``arrayShape``, -1 for the frames); lists of records have subfields. Lists in these
are told in the description instead: the tool stops at the first one that it reads.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Sequence
from typing import Any

from seamless_interaction import CITATION, DESCRIPTION, HOMEPAGE, SPLITS
from seamless_interaction.publishing.card import CardFacts, Config, declared_configs, in_words, meaning_of
from seamless_interaction.record.dialect import dialect

LICENSE_URL = "https://creativecommons.org/licenses/by-nc/4.0/"
PARQUET = "application/x-parquet"
# Every FileObject must have a checksum, and a git repository has none: the address of this gap is what is written
# instead, by the Hub too.
NO_CHECKSUM = "https://github.com/mlcommons/croissant/issues/80"

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        term: f"cr:{term}"
        for term in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject"),
            *("fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
            *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
            *("separator", "source", "subField", "transform"),
        )
    },
}

_DATA_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "int8": "cr:Int8",
    "int16": "cr:Int16",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
}
_MEDIA = {"Audio": "sc:AudioObject", "Video": "sc:VideoObject"}  # structs of bytes and path


def croissant(facts: CardFacts, configs: Iterable[Config], files: Iterable[tuple[str, int, str]]) -> dict[str, Any]:
    """croissant.json, as plain data.

    Args:
        facts: what was published.
        configs: all configs, as given to ``card``.
        files: path, bytes and SHA-256 of the repository's files. Those at its top are named with their checksum; shards
            and videos are too many, and are named by patterns.

    Raises:
        KeyError: a column with a dtype that this module does not know.
    """
    declared = declared_configs(configs)
    files = sorted(files)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts.title,
        "description": f"{'Synthetic data in the form of: ' if facts.synthetic else ''}{DESCRIPTION}",
        "alternateName": [facts.repo_id],
        "url": facts.url,
        "license": LICENSE_URL,
        "citeAs": CITATION,
        "version": facts.version,
        "datePublished": facts.published,
        "inLanguage": "en",
        "keywords": facts.tags,
        "isLiveDataset": False,
        "creator": {"@type": "sc:Organization", **_creator(facts)},
        "publisher": {"@type": "sc:Organization", "name": facts.repo_id.partition("/")[0]},
        "rai:personalSensitiveInformation": _persons(facts),
        "distribution": _distribution(facts, declared, files),
        "recordSet": [_splits(declared), *(_record_set(config) for config in declared)],
    }


def _creator(facts: CardFacts) -> dict[str, str]:
    if facts.synthetic:
        return {"name": "The seamless-interaction contributors", "url": facts.url}
    return {"name": "Meta FAIR", "url": HOMEPAGE}


def _persons(facts: CardFacts) -> str:
    if facts.synthetic:
        return "None: the content is generated, of no real person."
    return "Faces, voices and words of people, personality scores and relationships; no names, no demographics."


def _distribution(
    facts: CardFacts, configs: Sequence[Config], files: Sequence[tuple[str, int, str]]
) -> list[dict[str, Any]]:
    repository = {
        "@type": "cr:FileObject",
        "@id": "repo",
        "name": "repo",
        "description": "The git repository on the Hub.",
        "contentUrl": facts.url,
        "contentSize": f"{sum(num_bytes for _, num_bytes, _ in files)} B",
        "encodingFormat": "git+https",
        "sha256": NO_CHECKSUM,
    }
    has_videos = any(path.endswith(".mp4") for path, _, _ in files)
    return [
        repository,
        *(_file_object(*file) for file in files if "/" not in file[0] and file[0] != "croissant.json"),
        *(_file_set(_file_set_id(config), PARQUET, _patterns(config), config.description) for config in configs),
        *([_file_set("videos", "video/mp4", ["video/*/*/*.mp4"], "Videos, as files.")] if has_videos else []),
    ]


def _file_object(path: str, num_bytes: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "containedIn": {"@id": "repo"},
        "contentUrl": path,
        "contentSize": f"{num_bytes} B",
        "encodingFormat": _encoding(path),
        "sha256": sha256,
    }


def _encoding(path: str) -> str:
    known = {".parquet": PARQUET, ".md": "text/markdown"}
    suffix = "." + path.rpartition(".")[2]
    return known.get(suffix) or mimetypes.guess_type(path)[0] or "text/plain"


def _file_set(id: str, encoding: str, patterns: list[str], description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": id,
        "name": id,
        "description": description,
        "containedIn": {"@id": "repo"},
        "encodingFormat": encoding,
        "includes": patterns,
    }


def _file_set_id(config: Config) -> str:
    return f"parquet-{config.name}"


def _patterns(config: Config) -> list[str]:
    return list(dict.fromkeys(pattern for split in config.splits for pattern in split.patterns))


# --------------------------------------------------------------------------------------------------
# Records
# --------------------------------------------------------------------------------------------------


def _splits(configs: Sequence[Config]) -> dict[str, Any]:
    """The record set that names the splits."""
    names = {split.name for config in configs for split in config.splits}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits of the dataset.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"splits/name": name} for name in SPLITS if name in names],
    }


_SPLIT = r"([a-z]+)(?:-\d+-of-\d+\.parquet)?$"  # in a file's name; of a split alone too, as the tool applies it twice


def _record_set(config: Config) -> dict[str, Any]:
    file_set = _file_set_id(config)
    split = {
        "@type": "cr:Field",
        "@id": f"{config.name}/split",
        "name": "split",
        "description": "From the file's name.",
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": file_set},
            "extract": {"fileProperty": "filename"},
            "transform": {"regex": _SPLIT},
        },
        "references": {"field": {"@id": "splits/name"}},
    }
    columns = [
        _field(config, (column,), feature, meaning_of(column))
        for column, feature in dialect(dict(config.features)).items()
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": config.name,
        "name": config.name,
        "description": config.description,
        "key": {"@id": f"{config.name}/id"},
        "field": [split, *columns],
    }


def _field(config: Config, path: tuple[str, ...], feature: Any, meaning: str = "") -> dict[str, Any]:
    """One column, or one member of the records in it.

    Args:
        config: whose column.
        path: the column's name, and the names of members that lead here.
        feature: what ``dialect`` made of it.
        meaning: what it means, if anybody says.
    """
    member = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
    lists = {name: inner for name, inner in member.items() if isinstance(inner, list)}
    texts = [meaning, *(f"Each also has `{name}`: {in_words(inner)}." for name, inner in lists.items())]
    node: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": "/".join([config.name, *path]).replace(":", "/"),
        "name": path[-1],
        **({"description": ". ".join(filter(None, texts))} if any(texts) else {}),
    }
    if member is not feature:
        node |= {"isArray": True, "arrayShape": "-1"}
    if "_type" not in member:
        members = {name: inner for name, inner in member.items() if name not in lists}
        return node | {"subField": [_field(config, (*path, name), inner) for name, inner in members.items()]}
    kind = member["_type"]
    if kind.startswith("Array"):
        shape = ",".join("-1" if length is None else str(length) for length in member["shape"])
        node |= {"isArray": True, "arrayShape": shape}
    steps = [*path[1:], *(["bytes"] if kind == "Audio" else [])]  # a video may be its path alone
    return node | {
        "dataType": _MEDIA.get(kind) or _DATA_TYPES[member["dtype"]],
        "source": {
            "fileSet": {"@id": _file_set_id(config)},
            "extract": {"column": path[0]},
            **({"transform": [{"jsonPath": step} for step in steps]} if steps else {}),
        },
    }
