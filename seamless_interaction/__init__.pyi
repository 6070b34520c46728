# What a type checker knows of seamless_interaction.py. Checkers look for a package before a module of the same name,
# and so find this folder first. `make types` fails where this file and the script disagree.

import os
from collections.abc import Iterable
from logging import Logger
from typing import Any, Literal, NamedTuple, overload

import datasets
from typing_extensions import Unpack

from seamless_interaction.conversations.dataset import SeamlessDataset as SeamlessDataset
from seamless_interaction.places.place import use_storage_options as use_storage_options
from seamless_interaction.selection.selection import Criteria

__version__: str

logger: Logger

CITATION: str
HOMEPAGE: str
LICENSE: str
DESCRIPTION: str

LABELS: tuple[str, ...]
SPLITS: tuple[str, ...]
VENDORS: tuple[str, ...]
FILE_ID: str

class FileId(NamedTuple):
    vendor: str
    session: str
    interaction: str
    participant: str
    @classmethod
    def parse(cls, file_id: str) -> FileId: ...
    @property
    def vendor_id(self) -> str: ...
    @property
    def session_id(self) -> str: ...
    @property
    def interaction_id(self) -> str: ...
    @property
    def participant_id(self) -> str: ...
    @property
    def prompt_id(self) -> str: ...

class Array(NamedTuple):
    key: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str
    vendors: tuple[str, ...] = ...
    frames_per_row: int = ...
    is_open: bool = ...
    @property
    def group(self) -> str: ...
    @property
    def feature(self) -> str: ...
    @property
    def is_mask(self) -> bool: ...
    @property
    def between(self) -> str: ...

ARRAYS: dict[str, Array]
MOVEMENT_V4: dict[str, Array]
EVERY_ARRAY: dict[str, Array]
MASKS: dict[str, str]
PIXELS: dict[str, str]
USUAL_FPS: dict[str, float]
ANNOTATION_KINDS: dict[str, str]
SAMPLING_RATE: int
TRAITS: tuple[str, ...]
TABLES: dict[str, tuple[str, ...]]
SELECTION: str
DOUBLES: str
EMOTIONS: tuple[str, ...]
FILELIST_FLAGS: tuple[str, ...]
ISSUES: dict[str, str]
MAX_FRAMES_APART: int
MAX_SECONDS_APART: float

IDENTITY: dict[str, Any]
TIME: dict[str, Any]
HONESTY: dict[str, Any]
MODALITIES: dict[str, dict[str, Any]]
ON_REQUEST: dict[str, dict[str, Any]]
EVERY_MODALITY: dict[str, dict[str, Any]]
MODALITY_ALIASES: dict[str, str]

def resolve_modalities(modalities: Iterable[str] | str | None) -> tuple[str, ...]: ...
def record_features(modalities: list[str] | str | None = None) -> datasets.Features: ...

SUBSETS: tuple[str, ...]
ON_ERROR: tuple[str, ...]

class SeamlessInteractionConfig(datasets.BuilderConfig):
    subset: str | None
    label: str | None
    modalities: list[str] | str | None
    layout: str | None
    index: str | None
    on_error: str
    split: str | None
    vendor: list[str] | str | None
    session: list[str] | str | None
    interaction: list[str] | str | None
    file_ids: list[str] | str | None
    annotated: str | bool | None
    movement: bool | None
    max_bytes: int | str | None
    sample: int | None
    seed: int
    single: bool
    def create_config_id(
        self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = ...
    ) -> str: ...
    # All by name in practice. Written out since mypy cannot see the dataclass that this one extends.
    def __init__(
        self,
        name: str = "default",
        version: datasets.Version | str | None = ...,
        data_dir: str | None = None,
        data_files: Any = None,
        description: str | None = None,
        subset: str | None = None,
        label: str | None = None,
        modalities: list[str] | str | None = None,
        layout: str | None = None,
        index: str | None = None,
        on_error: str = "null",
        split: str | None = None,
        vendor: list[str] | str | None = None,
        session: list[str] | str | None = None,
        interaction: list[str] | str | None = None,
        file_ids: list[str] | str | None = None,
        annotated: str | bool | None = None,
        movement: bool | None = None,
        max_bytes: int | str | None = None,
        sample: int | None = None,
        seed: int = 0,
        single: bool = False,
    ) -> None: ...

class SeamlessInteraction(datasets.ArrowBasedBuilder):
    VERSION: datasets.Version
    BUILDER_CONFIG_CLASS: type[SeamlessInteractionConfig]
    BUILDER_CONFIGS: list[SeamlessInteractionConfig]
    DEFAULT_CONFIG_NAME: str
    def __init__(
        self,
        *args: Any,
        base_path: str | None = None,
        data_dir: str | None = None,
        hash: str | None = None,
        storage_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None: ...

@overload
def load_dataset(
    subset: str | None = None,
    split: None = None,
    *,
    modalities: list[str] | str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    streaming: Literal[False] = False,
    layout: str | None = None,
    index: str | os.PathLike[str] | None = None,
    on_error: str = "null",
    cache_dir: str | None = None,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **criteria: Unpack[Criteria],
) -> datasets.DatasetDict: ...
@overload
def load_dataset(
    subset: str | None = None,
    split: str = ...,
    *,
    modalities: list[str] | str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    streaming: Literal[False] = False,
    layout: str | None = None,
    index: str | os.PathLike[str] | None = None,
    on_error: str = "null",
    cache_dir: str | None = None,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **criteria: Unpack[Criteria],
) -> datasets.Dataset: ...
@overload
def load_dataset(
    subset: str | None = None,
    split: None = None,
    *,
    modalities: list[str] | str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    streaming: Literal[True],
    layout: str | None = None,
    index: str | os.PathLike[str] | None = None,
    on_error: str = "null",
    cache_dir: str | None = None,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **criteria: Unpack[Criteria],
) -> datasets.IterableDatasetDict: ...
@overload
def load_dataset(
    subset: str | None = None,
    split: str = ...,
    *,
    modalities: list[str] | str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    streaming: Literal[True],
    layout: str | None = None,
    index: str | os.PathLike[str] | None = None,
    on_error: str = "null",
    cache_dir: str | None = None,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **criteria: Unpack[Criteria],
) -> datasets.IterableDataset: ...
