"""Seamless Interaction: filmed conversations between two people, as typed Arrow records.

One record is one participant's recording of one interaction, with everything that belongs to it
joined: video, audio, transcript, voice activity, annotations, body and face motion, and the
context of the conversation. This file is the builder script. It holds what the data *is*
(identifiers, arrays, columns, configs), how a record is joined, and ``load_dataset``. The folder
beside it holds its submodules: where files lie, and how bytes become values.

The dataset is Meta FAIR's, CC-BY-NC 4.0, https://ai.meta.com/research/seamless-interaction/.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
import sys
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import datasets

__version__ = "0.1.0"
__path__ = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "seamless_interaction")]

logger = logging.getLogger("seamless_interaction")

CITATION = """\
@article{seamless_interaction,
  title   = {Seamless Interaction: Dyadic Audiovisual Motion Modeling and Large-Scale Dataset},
  author  = {Agrawal, Vasu and others},
  year    = {2025},
  journal = {arXiv preprint arXiv:2506.22554},
}
"""
HOMEPAGE = "https://ai.meta.com/research/seamless-interaction/"
LICENSE = "CC-BY-NC-4.0"
DESCRIPTION = (
    "4,000+ hours of filmed face-to-face conversations between two people, with video, audio, transcripts, voice "
    "activity, annotations, body motion (SMPL-H), face motion (Imitator), boxes and keypoints, one record per "
    "participant's recording."
)

# --------------------------------------------------------------------------------------------------
# Identifiers
# --------------------------------------------------------------------------------------------------

LABELS = ("improvised", "naturalistic")
SPLITS = ("train", "dev", "test")
VENDORS = ("V00", "V01", "V02", "V03")

# ASCII digits only: `\d` would also take other scripts' digits. The participant's letter is part of the id.
FILE_ID = r"(V[0-9]{2})_(S[0-9]{4})_(I[0-9]{8})_(P[0-9]{4}[A-Z]?)"


class FileId(NamedTuple):
    """The four parts of a file id, as strings: ``V00_S0809_I00000582_P0947``.

    Sessions and participants are numbered per vendor, and the interaction part is the prompt's
    number, used again by up to 1,550 sessions; so the properties below are what is unique.

    >>> FileId.parse("V00_S0039_I00000582_P1281A").participant_id
    'V00_P1281A'
    """

    vendor: str
    session: str
    interaction: str
    participant: str

    @classmethod
    def parse(cls, file_id: str) -> FileId:
        """Split a file id into its parts. Raises ``InvalidFileId`` if it is not one."""
        match = re.fullmatch(FILE_ID, file_id)
        if match is None:
            from seamless_interaction.errors import InvalidFileId

            raise InvalidFileId(file_id)
        return cls(*match.groups())

    def __str__(self) -> str:
        return "_".join(self)

    @property
    def vendor_id(self) -> str:
        """``V00``"""
        return self.vendor

    @property
    def session_id(self) -> str:
        """``V00_S0809``"""
        return f"{self.vendor}_{self.session}"

    @property
    def interaction_id(self) -> str:
        """``V00_S0809_I00000582``: what two partners share."""
        return f"{self.vendor}_{self.session}_{self.interaction}"

    @property
    def participant_id(self) -> str:
        """``V00_P0947``"""
        return f"{self.vendor}_{self.participant}"

    @property
    def prompt_id(self) -> str:
        """``00000582``: ``prompt_hash`` of interactions.csv."""
        return self.interaction[1:]


# --------------------------------------------------------------------------------------------------
# What a recording holds
# --------------------------------------------------------------------------------------------------


class Array(NamedTuple):
    """One array of a recording: NPZ key and column name, shape and dtype of one row, who has it.

    An array has one row per ``frames_per_row`` frames of the recording's own frame grid, which is
    the video's nominal rate and not always 30 Hz. Of an open array the shape is a guess, and each file tells its own;
    its values are of ``dtype`` nevertheless, or as they are stored if that is empty.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str
    vendors: tuple[str, ...] = VENDORS
    frames_per_row: int = 1
    is_open: bool = False

    @property
    def group(self) -> str:
        return self.key.partition(":")[0]

    @property
    def feature(self) -> str:
        return self.key.partition(":")[2]

    @property
    def is_mask(self) -> bool:
        """Whether it tells of other arrays' rows which are valid: 1, or 0, and nothing else."""
        return self.feature in ("is_valid", "is_valid_box")

    @property
    def between(self) -> str:
        """What lies between two rows: ``"linear"`` values, a ``"rotation"``, or nothing but the ``"nearest"`` row."""
        if self.is_mask or self.feature.endswith("Token") or self.feature == "is_occluded":
            return "nearest"
        return "rotation" if self.group == "smplh" and self.feature != "translation" else "linear"


_V00 = ("V00",)  # the only vendor with `movement:*`

# The columns of movement:emotion_scores. Derived, and nowhere documented: of 42 windows of 6 people, column 4 goes with
# valence (r = 0.90), 0 and 6 against it (-0.89, -0.84), 7 with arousal (0.75) and 6 against it, as their names would.
EMOTIONS = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

ARRAYS = {
    array.key: array
    for array in [
        Array("smplh:body_pose", (21, 3), "float32", "axis-angle per body joint, radians, not wrapped"),
        Array("smplh:global_orient", (3,), "float32", "root axis-angle, radians"),
        Array("smplh:left_hand_pose", (15, 3), "float32", "axis-angle per left-hand joint, radians, not PCA"),
        Array("smplh:right_hand_pose", (15, 3), "float32", "axis-angle per right-hand joint, radians, not PCA"),
        Array("smplh:translation", (3,), "float32", "camera translation; 1e12 and more where there is no valid box"),
        Array("smplh:is_valid", (), "bool", "hand pose valid"),
        Array("boxes_and_keypoints:box", (4,), "float32", "xmin, ymin, xmax, ymax in native pixels; zeros if invalid"),
        Array("boxes_and_keypoints:is_valid_box", (), "bool", "person tracked"),
        Array("boxes_and_keypoints:keypoints", (133, 3), "float32", "COCO-WholeBody x, y (native pixels), score"),
        Array("movement:EmotionArousalToken", (1,), "float32", "integer bin stored as float", _V00),
        Array("movement:EmotionValenceToken", (1,), "float32", "integer bin stored as float", _V00),
        Array("movement:FAUToken", (1,), "float32", "integer code stored as float", _V00),
        Array("movement:FAUValue", (24,), "float32", "facial action unit intensity, 0 to 2", _V00),
        Array("movement:alignment_head_rotation", (3,), "float32", "HyperModel feature", _V00),
        Array("movement:alignment_translation", (2, 3), "float32", "HyperModel feature", _V00),
        Array("movement:emotion_arousal", (1,), "float32", "arousal", _V00),
        Array(
            *("movement:emotion_scores", (8,), "float32"),
            f"logits of {', '.join(EMOTIONS)}: an order that is derived from values, not documented",
            _V00,
        ),
        Array("movement:emotion_valence", (1,), "float32", "valence", _V00),
        Array("movement:expression", (128,), "float32", "HyperModel feature", _V00),
        Array("movement:frame_latent", (64,), "float32", "HyperModel feature", _V00),
        Array("movement:gaze_encodings", (2,), "float32", "gaze direction code", _V00),
        Array("movement:head_encodings", (3,), "float32", "head position and rotation code", _V00),
        Array("movement:hypernet_features", (5120,), "float32", "one row per 15 frames", _V00, 15),
        Array("movement:is_valid", (1,), "float32", "1 where the other movement arrays are not zero-filled", _V00),
    ]
}

# Arrays that the bucket began to get in December 2025: those of `movement` again and two more. Nobody has told their
# shapes and dtypes, or who has them; a few recordings that were tried, all of V00, lack some.
MOVEMENT_V4 = {
    array.key: array
    for array in [
        *(
            array._replace(key=f"movement_v4:{array.feature}", vendors=VENDORS, is_open=True)
            for array in ARRAYS.values()
            if array.group == "movement"
        ),
        Array("movement_v4:is_occluded", (1,), "float32", "face occluded; many recordings lack it", is_open=True),
        Array("movement_v4:pred_vertices", (), "float32", "vertices of a face; nearly all lack it", is_open=True),
    ]
}
EVERY_ARRAY = {**ARRAYS, **MOVEMENT_V4}

# Array -> the one that tells which of its frames hold a measurement. The masks of the three groups tell of three
# different events, and the rest of `smplh` is valid throughout.
MASKS = {
    **dict.fromkeys(("smplh:left_hand_pose", "smplh:right_hand_pose"), "smplh:is_valid"),
    **dict.fromkeys(
        ("smplh:translation", "boxes_and_keypoints:box", "boxes_and_keypoints:keypoints"),
        "boxes_and_keypoints:is_valid_box",
    ),
    **{
        key: f"{array.group}:is_valid"
        for key, array in EVERY_ARRAY.items()
        if array.group in ("movement", "movement_v4")
        and array.frames_per_row == 1
        and array.feature not in ("is_valid", "is_occluded")
    },
}

# Array in pixels of the stored picture -> the axis that each of a row's last values lies on, or "-".
PIXELS = {"boxes_and_keypoints:box": "xyxy", "boxes_and_keypoints:keypoints": "xy-"}

# Frames a second, where no video tells: all videos of V00 and V02 have exactly this, most of the others about this.
USUAL_FPS = {"V00": 30.0, "V01": 30.0, "V02": 30.0, "V03": 30000 / 1001}

ANNOTATION_KINDS = {
    "1P-IS": "the participant's own report: internal state",
    "1P-R": "the participant's own report: rationale",
    "3P-IS": "an observer's report: internal state",
    "3P-R": "an observer's report: rationale",
    "3P-V": "an observer's report: visual cue",
}

SAMPLING_RATE = 48_000  # Hz, mono, of every WAV

TRAITS = ("extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness")

# The tables beside the data: file name -> the columns we read. More columns are no error.
TABLES = {
    "filelist.csv": ("file_id", "label", "split", "batch_idx", "archive_idx"),
    "interactions.csv": (
        "prompt_hash",
        "participant_a_prompt_text",
        "participant_b_prompt_text",
        "ipc_a",
        "ipc_b",
        "interaction_type",
    ),
    "participants.csv": ("vendor_id", "participant_id", *(f"{trait}_raw" for trait in TRAITS)),
    "relationships.csv": ("vendor_id", "session_id", "relationship", "relationship_detail"),
}
SELECTION = "selection.csv"  # file_id and modalities of what a partial copy is meant to hold, where one says so
DOUBLES = "diff.csv"  # of ids that a file list, as that of August 2025, has twice: the split and label that count
FILELIST_FLAGS = ("has_imitator_movement", "has_annotation_1p", "has_annotation_3p")  # absent in the oldest file list

# What can be said of a column of a record. The first eight are errors of a file (see errors.BadFile).
ISSUES = {
    "missing": "the format requires it, and the source does not have it",
    "empty": "there, but a placeholder: no samples, no frames",
    "truncated": "shorter than its own header says, or without its index",
    "unreadable": "not what its name says: damaged, or another format",
    "unsafe": "refused: a pickle, a size no recording has, or more bytes than it declares",
    "wrong_type": "another shape or dtype than the format's, or a mask of more than 0 and 1",
    "non_finite": "holds NaN or infinity, which the format never uses; values are kept",
    "no_video_stream": "an MP4 without a picture",
    "absent": "optional, and this recording does not have it",
    "not_selected": "this copy was made without it, on purpose",
    "undisclosed": "the participant's personality scores are not disclosed",
    "no_partner": "the interaction has one participant only",
    "partner_missing": "the file list names a partner, whom the source does not have",
    "frames_differ": "more than one frame more or fewer than the video, or than the recording's other arrays",
    "duration_differs": "audio and video differ by more than a second",
    "interval": "a segment or annotation ends before it starts, or after the recording",
    "vad_contradicts": "no voice activity, yet a transcript",
}
MAX_FRAMES_APART = 1
MAX_SECONDS_APART = 1.0

# --------------------------------------------------------------------------------------------------
# Columns
# --------------------------------------------------------------------------------------------------


def _strings(*names: str) -> dict:
    return {name: datasets.Value("string") for name in names}


def _array_feature(array: Array):
    value = datasets.Value(array.dtype)
    if array.is_open:  # the view gives values in their shape
        return {"values": datasets.Sequence(value), "shape": datasets.Sequence(datasets.Value("int32"))}
    if array.shape == ():
        return datasets.Sequence(value)
    arrays = {1: datasets.Array2D, 2: datasets.Array3D}
    return arrays[len(array.shape)](shape=(None, *array.shape), dtype=array.dtype)


# In every record, whatever was asked for.
IDENTITY = _strings(
    "id", "interaction_id", "session_id", "participant_id", "vendor_id", "prompt_id", "partner_id", "label"
)
TIME = {
    "duration": datasets.Value("float64"),  # seconds, from the video's header, else the audio's
    "fps": datasets.Value("float64"),  # the video's average rate
    "num_frames": datasets.Value("int64"),  # of the video
    "width": datasets.Value("int32"),  # of the stored raster, pixels
    "height": datasets.Value("int32"),
    "pixel_aspect_ratio": datasets.Value("float64"),  # width of a pixel over its height; 1 if not anamorphic
}
HONESTY = {
    "issues": [
        {"column": datasets.Value("string"), "code": datasets.Value("string"), "detail": datasets.Value("string")}
    ],
    "checked": datasets.Sequence(datasets.Value("string")),
}

_SECONDS = {"start": datasets.Value("float64"), "end": datasets.Value("float64")}
_WORD = {"word": datasets.Value("string"), **_SECONDS, "score": datasets.Value("float64")}

# What can be asked for: modality -> its columns. Media are decoded by who uses them, hence decode=False.
MODALITIES = {
    "audio": {"audio": datasets.Audio(sampling_rate=SAMPLING_RATE, decode=False)},
    "video": {"video": datasets.Video(decode=False)},
    "transcript": {
        "transcript": datasets.Value("string"),
        "segments": [{**_SECONDS, "transcript": datasets.Value("string"), "words": [_WORD]}],
    },
    "vad": {"vad": [_SECONDS]},
    "annotations": {"annotations": [{**_strings("kind", "annotation"), **_SECONDS}]},
    **{
        group: {key: _array_feature(array) for key, array in ARRAYS.items() if array.group == group}
        for group in ("smplh", "movement", "boxes_and_keypoints")
    },
    "context": {
        **_strings("interaction_type", "prompt_id_unique", "prompt_category"),
        **_strings("prompt_text_a", "prompt_text_b", "ipc_a", "ipc_b"),
        **_strings("relationship", "relationship_detail"),
        **{f"personality:{trait}": datasets.Value("float64") for trait in TRAITS},
    },
}
# What nobody gets who does not name it: no config has it, as nobody has told what it is.
ON_REQUEST = {"movement_v4": {key: _array_feature(array) for key, array in MOVEMENT_V4.items()}}
EVERY_MODALITY = {**MODALITIES, **ON_REQUEST}
MODALITY_ALIASES = {"keypoints": "boxes_and_keypoints"}


def resolve_modalities(modalities: Iterable[str] | str | None) -> tuple[str, ...]:
    """The columns that ``modalities`` ask for, in the schema's order.

    Args:
        modalities: names of modalities (``"audio"``, ``"smplh"``) or single arrays
            (``"smplh:body_pose"``); one name is as good as a list of one. None is all of ``MODALITIES``.

    Raises:
        UnknownModality: with the known names, if one is not among them.
    """
    if modalities is None:
        asked = list(MODALITIES)
    else:
        asked = [modalities] if isinstance(modalities, str) else list(modalities)
    asked = [MODALITY_ALIASES.get(name, name) for name in asked]
    unknown = [name for name in asked if name not in EVERY_MODALITY and name not in EVERY_ARRAY]
    if unknown:
        from seamless_interaction.errors import UnknownModality

        raise UnknownModality(unknown, known=[*EVERY_MODALITY, *MODALITY_ALIASES, *EVERY_ARRAY])
    return tuple(
        column
        for modality, columns in EVERY_MODALITY.items()
        for column in columns
        if modality in asked or column in asked
    )


def record_features(modalities: list[str] | str | None = None) -> datasets.Features:
    """The columns of a record: identity, time and picture, what ``modalities`` ask for, honesty."""
    columns = {name: feature for group in EVERY_MODALITY.values() for name, feature in group.items()}
    asked = {name: columns[name] for name in resolve_modalities(modalities)}
    return datasets.Features({**IDENTITY, **TIME, **asked, **HONESTY})


# --------------------------------------------------------------------------------------------------
# Config
# --------------------------------------------------------------------------------------------------

SUBSETS = ("10GB", "100GB", "1TB", "full")  # what each holds: configs/
ON_ERROR = ("null", "raise", "skip")


@dataclass
class SeamlessInteractionConfig(datasets.BuilderConfig):
    """What to load.

    Args:
        subset: how much: ``"10GB"``, ``"100GB"``, ``"1TB"`` or ``"full"``; None is all that ``data_dir`` holds, see
            ``seamless_interaction.selection.Selection``.
        label: ``"improvised"`` or ``"naturalistic"``; None is both.
        modalities: names of modalities or single arrays, such as ``["transcript", "smplh:body_pose"]``;
            None is everything but ``"movement_v4"``. What is not asked for is neither a column nor opened.
        layout: ``"tree"``, ``"bundles"`` or ``"archives"``; None finds out.
        index: path or URL of an index that ``seamless-interaction index`` made; None looks for itself.
        on_error: a file that cannot be used gives an empty or null value and an entry in ``issues``
            (``"null"``), a named error (``"raise"``), or no record, counted (``"skip"``).
        split: what ``sample`` and ``max_bytes`` count in; None is all splits.
        vendor, session, interaction, file_ids, annotated, movement, max_bytes, sample, seed, single: which recordings;
            see ``seamless_interaction.selection.Selection``, which says what they mean and what None is.
    """

    subset: str | None = None
    label: str | None = None
    modalities: list[str] | str | None = None
    layout: str | None = None
    index: str | None = None
    on_error: str = "null"
    split: str | None = None
    vendor: list[str] | str | None = None
    session: list[str] | str | None = None
    interaction: list[str] | str | None = None
    file_ids: list[str] | str | None = None
    annotated: str | bool | None = None
    movement: bool | None = None
    max_bytes: int | str | None = None
    sample: int | None = None
    seed: int = 0
    single: bool = False

    def create_config_id(self, config_kwargs, custom_features=None):
        """As the base class, which names a folder of the cache by it: one request is one, however it is written."""
        selection = _selection_of(vars(self))
        asked = {**config_kwargs, **dataclasses.asdict(selection), "modalities": resolve_modalities(self.modalities)}
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        usual["modalities"] = resolve_modalities(None)
        idle = {"index"}  # its content is in the hash
        if not (selection.sample or selection.max_bytes):
            idle |= {"seed", "split"}
        if self.name == "-".join(filter(None, [self.subset, self.label])):
            idle |= {"subset", "label"}
        asked = {name: value for name, value in asked.items() if name not in idle and value != usual.get(name)}
        asked = {name: sorted(value) if isinstance(value, tuple) else value for name, value in asked.items()}
        return super().create_config_id(asked, custom_features)


def _selection_of(options: Mapping):
    """The selection that options of a config, or of a builder, ask for; others are ignored."""
    from seamless_interaction.selection.selection import Selection

    names = (field.name for field in dataclasses.fields(Selection))
    return Selection(**{name: options[name] for name in names if options.get(name) is not None})


def _configs() -> list[SeamlessInteractionConfig]:
    return [
        SeamlessInteractionConfig(
            name="-".join(filter(None, [subset, label])),
            version=datasets.Version(__version__),
            description=f"{'Everything' if subset == 'full' else f'A sample of {subset} as stored'}, "
            f"{label or 'improvised and naturalistic'}.",
            subset=subset,
            label=label,
        )
        for subset in SUBSETS
        for label in (None, *LABELS)
    ]


# --------------------------------------------------------------------------------------------------
# Builder
# --------------------------------------------------------------------------------------------------


def _reach_submodules(base_path: str | None) -> None:
    """Make ``seamless_interaction.…`` importable where `datasets` runs a copy of this file alone."""
    if __name__ != "seamless_interaction" and base_path and base_path not in sys.path:
        sys.path.insert(0, base_path)


class SeamlessInteraction(datasets.ArrowBasedBuilder):
    """Raw files, wherever and however they lie, to typed Arrow records."""

    VERSION = datasets.Version(__version__)
    BUILDER_CONFIG_CLASS = SeamlessInteractionConfig
    BUILDER_CONFIGS = _configs()
    DEFAULT_CONFIG_NAME = "10GB"

    def __init__(self, *args, base_path=None, data_dir=None, hash=None, storage_options=None, **kwargs):
        _reach_submodules(base_path)
        from seamless_interaction.opening import Opening
        from seamless_interaction.record.digest import code_digest
        from seamless_interaction.selection.expected import configs_digest
        from seamless_interaction.source.addresses import filelist_address

        self._base_path = base_path
        options = {name: kwargs.get(name) for name in ("layout", "index")}
        # `datasets` writes options of its own into the dict that it gets.
        opening = Opening(data_dir, storage_options, **options, strict=kwargs.get("on_error") == "raise")
        self._options, storage_options = opening.place.storage_options, dict(storage_options or {})
        if kwargs.get("config_name") is None:  # `datasets` would take the default one, whatever else was asked for
            kwargs["config_name"] = opening.in_force(_selection_of(kwargs)).name
            kwargs = {name: value for name, value in kwargs.items() if name not in ("subset", "label")}
        # `datasets` answers from its cache what has the same name, config and hash; one version cannot read the
        # cache of every other.
        generation = datasets.__version__.partition(".")[0]
        filelist = filelist_address() if opening.place.is_shared else None
        parts = (hash, generation, code_digest(), configs_digest(), opening.identity(), filelist)
        super().__init__(
            *args,
            base_path=base_path,
            data_dir=opening.place.url,
            hash=hashlib.sha256(repr(parts).encode()).hexdigest(),
            storage_options=storage_options,
            **kwargs,
        )
        if self.config.on_error not in ON_ERROR:
            from seamless_interaction.errors import UnknownOption

            raise UnknownOption(self.config.on_error, ON_ERROR)
        _selection_of(vars(self.config))  # raises what cannot be
        self._writer_batch_size = 1000  # rows; tables are smaller, so each becomes one batch
        self._opening: typing.Any = opening
        self._reading: typing.Any = None

    def __getstate__(self):
        return {**super().__getstate__(), "_opening": None, "_reading": None}

    def __setstate__(self, state):
        _reach_submodules(state["_base_path"])
        super().__setstate__(state)
        import seamless_interaction.record.view  # noqa: F401  the stream may have been given its format

    def _info(self):
        return datasets.DatasetInfo(
            description=DESCRIPTION,
            features=record_features(self.config.modalities),
            homepage=HOMEPAGE,
            citation=CITATION,
            license=LICENSE,
            version=self.config.version,
        )

    def _split_generators(self, dl_manager):
        from seamless_interaction.opening import Opening
        from seamless_interaction.record.reading import Reading, shards_of
        from seamless_interaction.source.recordings import of_split

        config = self.config
        if self._opening is None:  # in another process
            options = {"layout": config.layout, "index": config.index, "strict": config.on_error == "raise"}
            self._opening = Opening(config.data_dir, self._options, **options)
        opened = self._opening.joined(_selection_of(vars(config)))
        self._reading = Reading(opened.source, *self._asked())
        generators = []
        for split in SPLITS:
            rows = of_split(opened.rows, split)
            shards = shards_of(rows["file_id"].to_pylist(), self._columns())
            if shards:
                gen_kwargs = {"shards": shards, "rows": rows, "source": opened.source.describe(), "split": split}
                generators.append(
                    datasets.SplitGenerator(name=split, gen_kwargs={**gen_kwargs, "num_shards": len(shards)})
                )
        return generators

    def _columns(self) -> tuple[str, ...]:
        """Those that were asked for, besides identity, time and honesty."""
        return tuple(column for group in EVERY_MODALITY.values() for column in group if column in self.info.features)

    def _asked(self):
        return self._columns(), self.info.features.arrow_schema, self.config.on_error

    def _generate_tables(self, shards, rows, source, split, num_shards):
        from seamless_interaction.record.reading import Reading
        from seamless_interaction.source.files import Source

        if self._reading is None or self._reading.process != os.getpid():  # what is open does not survive a fork
            self._reading = Reading(Source.open(source), *self._asked())
        for number, table in enumerate(self._reading.tables(shards, rows, split, num_shards)):
            yield f"{split} {shards[0][0]} {number}", table


# --------------------------------------------------------------------------------------------------
# Loading
# --------------------------------------------------------------------------------------------------


def __getattr__(name: str):
    """``SeamlessDataset`` and ``use_storage_options``, imported when first asked for."""
    if name == "SeamlessDataset":
        from seamless_interaction.conversations.dataset import SeamlessDataset

        return SeamlessDataset
    if name == "use_storage_options":
        from seamless_interaction.places.place import use_storage_options

        return use_storage_options
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_dataset(
    subset: str | None = None,
    split: str | None = None,
    *,
    modalities: list[str] | str | None = None,
    data_dir: str | os.PathLike | None = None,
    streaming: bool = False,
    layout: str | None = None,
    index: str | os.PathLike | None = None,
    on_error: str = "null",
    cache_dir: str | None = None,
    num_proc: int | None = None,
    storage_options: dict | None = None,
    **criteria,
):
    """Load the dataset from its raw files, with any supported ``datasets``.

    Args:
        subset: one of the configs: ``"10GB"``, ``"100GB"``, ``"1TB"``, ``"full"``, each also with
            ``-improvised`` or ``-naturalistic``. None is all that ``data_dir`` holds, or, of a partial copy, what its
            ``selection.csv`` names. Of the public bucket and the Hub it is ``"10GB"``, or ``"full"`` where a session,
            interaction, file id, annotation, movement, sample or ``max_bytes`` bounds what is selected.
        label: ``"improvised"`` or ``"naturalistic"``.
        split: ``"train"``, ``"dev"`` (or ``"validation"``), ``"test"``; None gives a dict of all.
            Prepared data take slices too, such as ``"train[:10%]"``. ``sample`` and ``max_bytes`` count in the split,
            if it is one of these names.
        modalities: what to read, see ``MODALITIES`` and ``ARRAYS``; None is everything but ``"movement_v4"``, which
            has to be named.
        vendor, session, interaction, file_ids, annotated, movement, max_bytes, sample, seed, single: which recordings;
            see ``seamless_interaction.selection.Selection``, which says what they mean and what None is.
        data_dir: the folder that holds ``improvised`` and ``naturalistic``, or its URL; or a repository that
            ``seamless-interaction publish`` made, such as ``hf://datasets/seamless/interaction``. None is the dataset's
            public bucket, or what the environment variable ``SEAMLESS_INTERACTION_SOURCE`` says.
        streaming: read while iterating, instead of first preparing Arrow files in the cache.
        layout: ``"tree"``, ``"bundles"`` or ``"archives"``; None finds out.
        index: path or URL of what ``seamless-interaction index`` made of this place or a copy of it; None looks for
            itself what lies where.
        on_error: ``"null"``, ``"raise"`` or ``"skip"``; see ``SeamlessInteractionConfig``.
        cache_dir: where prepared data go; None is where ``datasets`` keeps its own.
        num_proc: processes that prepare.
        storage_options: what fsspec needs to open ``data_dir``. It is not saved: see ``use_storage_options``.

    Returns:
        A ``datasets.Dataset`` or ``IterableDataset`` (without ``split``, a dict of them) whose records
        hold NumPy arrays nested by group (``record["smplh"]["body_pose"]``), audio as
        ``{"array", "sampling_rate"}`` and video as a sequence of frames, both opened when used.

    Raises:
        UsageError: an unknown name or id, or nothing that is all of what was asked for.
        SourceError: ``data_dir`` does not hold the dataset, cannot be reached, or is not what was indexed.
        BadFile: with ``on_error="raise"``, a file that cannot be used.
        TargetError: the cache, where prepared data go, cannot be written to, or is full.
    """
    from seamless_interaction.errors import TargetError, UsageError, refuse_unknown
    from seamless_interaction.places import cache
    from seamless_interaction.places.place import Place
    from seamless_interaction.places.write import can_be_written
    from seamless_interaction.publishing import reading
    from seamless_interaction.record import view
    from seamless_interaction.record.reading import prepare
    from seamless_interaction.selection.selection import resolve_split

    refuse_unknown(criteria, load_dataset, SeamlessInteractionConfig.__annotations__)
    if streaming and num_proc is not None:
        raise UsageError(f"num_proc is {num_proc}, for processes that prepare. With streaming nothing is prepared.")
    if (criteria.get("sample") or criteria.get("max_bytes")) and split in (*SPLITS, "validation"):
        criteria["split"] = split
    selection = _selection_of({**criteria, "subset": subset, "modalities": modalities})
    prepared = cache_dir or datasets.config.HF_DATASETS_CACHE
    if streaming:
        cache_dir = cache_dir or cache.cache_dir()
    elif not can_be_written(prepared):
        raise TargetError(
            f"{prepared}, where prepared data go, cannot be written to. Name another folder by cache_dir= or the "
            "environment variable HF_DATASETS_CACHE, or load with streaming=True."
        )
    place = None if data_dir is None else Place(data_dir, storage_options)
    if place is not None and layout is None and index is None and reading.is_published(place):
        if on_error != "null":
            raise UsageError(f"on_error is {on_error!r}. Of {place.url} it was decided when it was published.")
        return reading.load(place, subset, split, selection, streaming, cache_dir, num_proc)
    # As the selection has them, so that the same one is found in the cache however it was written.
    criteria = {name: getattr(selection, name) for name in criteria if name != "label"}
    builder = SeamlessInteraction(
        config_name=None if subset is None else selection.name,
        cache_dir=cache_dir,
        **({"label": selection.label} if subset is None else {}),
        data_dir=place,
        storage_options=storage_options,
        modalities=modalities,
        layout=layout,
        index=None if index is None else os.fspath(index),
        on_error=on_error,
        **criteria,
    )
    if streaming:
        dataset = builder.as_streaming_dataset()
        split = resolve_split(split, list(dataset))
        if split is None:
            return datasets.IterableDatasetDict({name: view.as_stream(stream) for name, stream in dataset.items()})
        return view.as_stream(dataset[split])
    prepare(builder, num_proc, prepared)
    return view.of_prepared(builder.as_dataset(resolve_split(split, list(builder.info.splits))))
