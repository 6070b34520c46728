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
import inspect
import logging
import os
import re
import sys
import typing
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, wraps
from itertools import pairwise
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


def resolve_modalities(modalities: list[str] | str | None) -> tuple[str, ...]:
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


def _config_name(selection) -> str:
    return "-".join(filter(None, [selection.size, selection.label]))


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


_IMPORT = re.compile(r"from seamless_interaction((?:\.\w+)*) import (\([^)]*\)|[^\n]+)")


@cache
def code_digest(*more: str) -> str:
    """Changes when code does that makes records: this file, and all that the builder imports, directly or not.

    Args:
        more: paths of modules that have a part in it, besides.
    """
    import seamless_interaction

    (folder,) = seamless_interaction.__path__
    with open(seamless_interaction.__file__, encoding="utf-8") as file:
        code = {"": file.read()}
    to_read = [*more, *_imported(inspect.getsource(SeamlessInteraction), folder)]
    while to_read:
        path = to_read.pop()
        if path not in code:
            with open(path, encoding="utf-8") as file:
                code[path] = file.read()
            to_read += _imported(code[path], folder)
    return hashlib.sha256("".join(code[path] for path in sorted(code)).encode()).hexdigest()


def _imported(text: str, folder: str) -> list[str]:
    """Paths of the submodules that code imports."""
    modules = [
        os.path.join(folder, *package.split(".")[1:], name)
        for package, names in _IMPORT.findall(text)
        for name in ("", *re.findall(r"\w+", names))
    ]
    files = [path.rstrip(os.sep) + ".py" for path in modules if path.rstrip(os.sep) != folder]
    return [path for path in files if os.path.isfile(path)]


class SeamlessInteraction(datasets.ArrowBasedBuilder):
    """Raw files, wherever and however they lie, to typed Arrow records."""

    VERSION = datasets.Version(__version__)
    BUILDER_CONFIG_CLASS = SeamlessInteractionConfig
    BUILDER_CONFIGS = _configs()
    DEFAULT_CONFIG_NAME = "10GB"

    def __init__(self, *args, base_path=None, data_dir=None, hash=None, storage_options=None, **kwargs):
        _reach_submodules(base_path)
        from seamless_interaction.errors import SourceUnreachable
        from seamless_interaction.places import cache as local_cache
        from seamless_interaction.places.place import Place
        from seamless_interaction.selection.expected import digest
        from seamless_interaction.selection.selection import in_force
        from seamless_interaction.source import addresses as sources
        from seamless_interaction.source.index import Index
        from seamless_interaction.source.listing import scan

        self._base_path = base_path
        # `datasets` writes options of its own into the dict that it gets.
        place = Place(data_dir or sources.default_source(), storage_options)
        self._options, storage_options = place.storage_options, dict(storage_options or {})
        if kwargs.get("config_name") is None:  # `datasets` would take the default one, whatever else was asked for
            kwargs["config_name"] = _config_name(in_force(_selection_of(kwargs), place))
            kwargs = {name: value for name, value in kwargs.items() if name not in ("subset", "label")}
        self._index: typing.Any = Index(kwargs["index"]) if kwargs.get("index") else None
        self._listing: typing.Any = None
        self._filelist: typing.Any = None  # once splits were made
        name = f"{place.url} {kwargs.get('layout')} {kwargs.get('index')}"
        try:
            layout = kwargs.get("layout")
            self._listing = self._index.listing(place, layout) if self._index else scan(place, layout)
            identity = self._listing.identity
            if not place.is_local:
                local_cache.remember(name, identity)
        except SourceUnreachable as error:  # what was prepared before can still be loaded
            identity = local_cache.recall(name, error)
        # `datasets` answers from its cache what has the same name, config and hash; one version cannot read the
        # cache of every other.
        generation = datasets.__version__.partition(".")[0]
        filelist = sources.filelist_address() if place.is_shared else None
        parts = (hash, generation, code_digest(), digest(), identity, filelist)
        hash = hashlib.sha256(repr(parts).encode()).hexdigest()
        data_dir = place.url
        super().__init__(
            *args, base_path=base_path, data_dir=data_dir, hash=hash, storage_options=storage_options, **kwargs
        )
        if self.config.on_error not in ON_ERROR:
            from seamless_interaction.errors import UnknownOption

            raise UnknownOption(self.config.on_error, ON_ERROR)
        self._selection()  # raises what cannot be
        self._writer_batch_size = 1000  # rows; tables are smaller, so each becomes one batch
        self._passes: dict[str, _Pass] = {}  # by split
        # What `_generate_tables` needs, once a process.
        self._context: typing.Any = None
        self._types: typing.Any = None
        self._source: typing.Any = None
        self._process: int | None = None

    def __getstate__(self):
        return {
            **super().__getstate__(),
            **dict.fromkeys(("_listing", "_filelist", "_index", "_context", "_types", "_source")),
        }

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
        from seamless_interaction.errors import SourceNotFound
        from seamless_interaction.places.place import Place
        from seamless_interaction.selection import sizes as subsets
        from seamless_interaction.selection.selection import tell_chosen
        from seamless_interaction.source import addresses as sources
        from seamless_interaction.source import indexing, recordings, tables
        from seamless_interaction.source import layout as layouts
        from seamless_interaction.source.index import Index
        from seamless_interaction.source.listing import scan, unnamed

        place = Place(self.config.data_dir, self._options)
        index, listing = self._index, self._listing
        if listing is None:  # in another process, or unreachable
            index = Index(self.config.index) if self.config.index else None
            listing = scan(place, self.config.layout) if index is None else index.listing(place)
        filelist = index.found if index else sources.filelist_of(place, self.config.on_error == "raise")
        self._filelist = filelist
        if filelist is not None and not index and not place.can_be_listed:
            listing = listing._replace(found=layouts.assumed(listing.layout, filelist))
        meant = tables.read_selection(place)
        held = None if filelist is None else tables.selected(place, filelist, meant)
        selected = None if held is None else self._select(held)
        if not index and listing.layout == "archives":
            wanted = None if filelist is None else recordings.with_partners(filelist, selected)
            index = indexing.silent_index(listing, wanted)
            others = () if filelist is None else unnamed(listing, filelist)
            listing = listing._replace(found=index.found, ignored=(*listing.ignored, *others))
        listed = recordings.rows_of(listing.found, place.url) if filelist is None else filelist
        if held is None or selected is None:
            held = tables.selected(place, listed, meant)
            selected = self._select(held)
            size, everything = (
                subsets.select(held, size, self.config.label) for size in (self._selection().size, "full")
            )
            if len(size) < len(everything):
                logger.warning(
                    "%s has no filelist.csv, so %r is %d of the %d recordings in it. Put the dataset's file list "
                    "there, or load 'full'.",
                    *(place.url, self.config.name, len(size), len(everything)),
                )
        found, gaps = recordings.recordings(listing.found, listed, selected, listing.layout, meant)
        if meant is not None and (self._index or self.config.index or not place.can_be_listed):
            found = recordings.without_what_is_not_meant(found, listing.layout)
        self._report(listing, len(selected), gaps, index.archive_issues() if index else [])
        # A silent index of tars knows those of the selection alone.
        tell_chosen(place, self._selection(), selected, held, None if listing.layout == "archives" else listing.found)
        if not len(found):
            raise SourceNotFound(f"{place.url} holds none of the {len(selected)} recordings of {self.config.name!r}.")
        source = {
            "url": place.url,
            "storage_options": self._options,
            "layout": listing.layout,
            "aliases": listing.aliases,
            "index": index and index.path,
        }
        generators = []
        for split in SPLITS:
            rows = recordings.of_split(found, split)
            shards = _shards(rows["file_id"].to_pylist(), self._columns())
            if shards:
                gen_kwargs = {"shards": shards, "rows": rows, "source": source, "split": split}
                generators.append(
                    datasets.SplitGenerator(name=split, gen_kwargs={**gen_kwargs, "num_shards": len(shards)})
                )
        return generators

    def _columns(self) -> tuple[str, ...]:
        """Those that were asked for, besides identity, time and honesty."""
        return tuple(column for group in EVERY_MODALITY.values() for column in group if column in self.info.features)

    def _selection(self):
        """What the config selects; not kept, as another process may have to be told first where submodules are."""
        return _selection_of(vars(self.config))

    def _select(self, filelist):
        """The rows of this config."""
        from seamless_interaction.selection.selection import choose

        return choose(filelist, self._selection())

    def _report(self, listing, selected: int, gaps, archive_issues: list[str]) -> None:
        """Say once what was selected and is not here, and what is here and was not selected."""
        for issue in archive_issues:
            logger.warning("%s", issue)
        for names, what in (
            (gaps.not_here, f"of the {selected} recordings of {self.config.name!r} are not in it"),
            (gaps.strays, "recordings in it are not read: the file list does not name them, or names another place"),
            (
                listing.ignored,
                "files or folders in it are not read: not in the file list, unknown by their names, or not extracted",
            ),
        ):
            if names:
                examples = f"{names[0]}, …" if len(names) > 1 else names[0]
                logger.warning("%s: %d %s (%s)", listing.place.url, len(names), what, examples)

    def _generate_tables(self, shards, rows, source, split, num_shards):
        from seamless_interaction.places.place import Place
        from seamless_interaction.record import arrow
        from seamless_interaction.source import tables
        from seamless_interaction.source.files import Source
        from seamless_interaction.source.index import Index

        if self._source is None or self._process != os.getpid():  # what is open does not survive a fork
            place = Place(source["url"], source["storage_options"])
            index = Index(source["index"]) if source["index"] else None
            self._types = arrow.Types(self.info.features.arrow_schema)
            if any(column in self.info.features for column in MODALITIES["context"]):
                self._context = tables.Context(place, self.config.on_error == "raise")
            self._process = os.getpid()
            # Last, as `datasets` 5 generates in several threads when it shuffles.
            self._source = Source(place, source["layout"], source["aliases"], index)
        current = self._passes.get(split)
        if current is None or not current.shards.isdisjoint(shards):  # the pass before was not finished
            current = self._passes[split] = _Pass()
        current.shards.update(shards)
        # A stream asks for one shard at a time, and each record of it is wanted as soon as it is read.
        max_rows = 1 if len(shards) == 1 else arrow.BATCH_ROWS
        for number, table in enumerate(arrow.batches(self._records(shards, rows, current), self._types, max_rows)):
            yield f"{split} {shards[0][0]} {number}", table
        current.finished += len(shards)
        if len(shards) > 1 or current.finished == num_shards:
            current.log(split)

    def _records(self, shards, rows, current: _Pass):
        from seamless_interaction.record.join import Join
        from seamless_interaction.source.layout import parts_of
        from seamless_interaction.source.recordings import Recording

        columns = self._columns()
        wanted = (Recording(**row) for start, stop in shards for row in rows.slice(start, stop - start).to_pylist())
        for files in self._source.files(wanted, parts_of(columns)):
            join = Join(files, columns, self._context)
            current.recordings += 1
            current.issues.update({issue["code"] for issue in join.issues})
            if join.errors and self.config.on_error == "raise":
                raise join.errors[0]
            if join.errors and self.config.on_error == "skip":
                current.skipped += 1
            else:
                yield join.values


@dataclass
class _Pass:
    """What one pass over the shards of a split came upon."""

    shards: set[tuple[int, int]] = field(default_factory=set)  # begun, not all of them finished
    finished: int = 0
    recordings: int = 0
    skipped: int = 0
    issues: Counter[str] = field(default_factory=Counter)  # in how many recordings, by code

    def log(self, split: str) -> None:
        ordinary = self.issues.keys() <= {"absent", "not_selected", "undisclosed", "no_partner"} and not self.skipped
        logger.log(
            logging.INFO if ordinary else logging.WARNING,
            "%s: %d recordings, %d skipped; recordings with an issue: %s",
            split,
            self.recordings,
            self.skipped,
            ", ".join(f"{code} {count}" for code, count in sorted(self.issues.items())) or "none",
        )


def _shards(file_ids: list[str], columns: tuple[str, ...]) -> list[tuple[int, int]]:
    """First and last row (exclusive) of each shard: whole interactions, about 64 MB of arrays and 2 to 16 of them.

    Small shards are cheap to resume, large ones let many small files be fetched at a time. `datasets`
    deals them out to nodes and workers, evenly if their number divides; so where there are many, or 24
    would still be of use, there is a multiple of 24 of them.
    """
    from seamless_interaction.source.files import typical_bytes
    from seamless_interaction.source.ids import INTERACTION_LENGTH
    from seamless_interaction.source.layout import parts_of

    starts = [
        row
        for row, file_id in enumerate(file_ids)
        if not row or file_id[:INTERACTION_LENGTH] != file_ids[row - 1][:INTERACTION_LENGTH]
    ]
    size = min(16, max(2, (1 << 26) // (2 * typical_bytes(parts_of(columns)) + 1)))
    number = max(min(24, len(starts)) if size == 2 else 1, len(starts) // size)
    if number > 24:
        number -= number % 24
    bounds = [starts[len(starts) * shard // number] for shard in range(number)] if starts else []
    bounds.append(len(file_ids))
    return list(pairwise(bounds))


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


def resolve_split(split: str | None, known: list[str]) -> str | None:
    """``split`` in the dataset's own words, such as ``dev[:10%]``. Raises ``UnknownSplit`` if it is not known."""
    if split is None:
        return None
    split = re.sub(r"\bvalidation\b", "dev", str(split))
    unknown = [name for name in re.findall(r"[^+\[\]]+(?=\[|\+|$)", split) if name not in known]
    if unknown:
        from seamless_interaction.errors import UnknownSplit

        raise UnknownSplit(unknown, known)
    return split


def known_keywords(more=()):
    """A decorator of functions: keywords that they do not take are told with those like them.

    Args:
        more: what a ``**`` parameter takes.
    """

    def decorate(function):
        parameters = inspect.signature(function).parameters.values()
        names = [one.name for one in parameters if one.name != "self" and one.kind is not one.VAR_KEYWORD]
        names += more

        @wraps(function)
        def call(*args, **kwargs):
            unknown = [name for name in kwargs if name not in names]
            if unknown:
                from seamless_interaction.errors import UnknownKeyword

                raise UnknownKeyword(unknown, names)
            return function(*args, **kwargs)

        return call

    return decorate


@known_keywords()
def load_dataset(
    subset: str | None = None,
    split: str | None = None,
    *,
    modalities: list[str] | str | None = None,
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
    label: str | None = None,
    data_dir: str | os.PathLike | None = None,
    streaming: bool = False,
    layout: str | None = None,
    index: str | os.PathLike | None = None,
    on_error: str = "null",
    cache_dir: str | None = None,
    num_proc: int | None = None,
    storage_options: dict | None = None,
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
    from seamless_interaction.errors import NotEnoughSpace, SeamlessInteractionError, TargetError, UsageError
    from seamless_interaction.places import cache as local_cache
    from seamless_interaction.places.place import Place
    from seamless_interaction.places.write import FULL, can_be_written
    from seamless_interaction.publishing import reading as published
    from seamless_interaction.record import view

    if streaming and num_proc is not None:
        raise UsageError(f"num_proc is {num_proc}, for processes that prepare. With streaming nothing is prepared.")
    criteria = {
        "vendor": vendor,
        "session": session,
        "interaction": interaction,
        "file_ids": file_ids,
        "annotated": annotated,
        "movement": movement,
        "max_bytes": max_bytes,
        "sample": sample,
        "seed": seed,
        "single": single,
    }
    if (sample or max_bytes) and split in (*SPLITS, "validation"):
        criteria["split"] = split
    selection = _selection_of({**criteria, "subset": subset, "label": label, "modalities": modalities})
    if streaming:
        cache_dir = cache_dir or local_cache.cache_dir()
    elif not can_be_written(prepared := cache_dir or datasets.config.HF_DATASETS_CACHE):
        raise TargetError(
            f"{prepared}, where prepared data go, cannot be written to. Name another folder by cache_dir= or the "
            "environment variable HF_DATASETS_CACHE, or load with streaming=True."
        )
    if data_dir is not None and layout is None and index is None:
        place = Place(data_dir, storage_options)
        if published.is_published(place):
            if on_error != "null":
                raise UsageError(f"on_error is {on_error!r}. Of {place.url} it was decided when it was published.")
            return published.load(place, subset, split, selection, streaming, cache_dir, num_proc)
    builder = SeamlessInteraction(
        config_name=None if subset is None else _config_name(selection),
        cache_dir=cache_dir,
        **({"label": selection.label} if subset is None else {}),
        data_dir=None if data_dir is None else os.fspath(data_dir),
        storage_options=storage_options,
        modalities=modalities,
        layout=layout,
        index=None if index is None else os.fspath(index),
        on_error=on_error,
        # As the selection has them, so that the same one is found in the cache however it was written.
        **{name: getattr(selection, name) for name in criteria},
    )
    if streaming:
        dataset = builder.as_streaming_dataset()
        known = list(dataset)
    else:
        try:
            builder.download_and_prepare(num_proc=num_proc)
        except (datasets.exceptions.DatasetGenerationError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, SeamlessInteractionError):
                raise cause from None
            is_refused = "Not enough disk space" in str(cause)  # by `datasets`, before it begins
            if isinstance(cause, OSError) and (is_refused or cause.errno in FULL):
                raise NotEnoughSpace(
                    f"{prepared}, where prepared data go: the disk is full. Make room, name another folder by "
                    "cache_dir=, select less, or load with streaming=True."
                ) from None
            raise
        known = list(builder.info.splits)
    split = resolve_split(split, known)
    if streaming and split is None:
        return datasets.IterableDatasetDict({name: view.as_stream(stream) for name, stream in dataset.items()})
    if streaming:
        return view.as_stream(dataset[split])
    return view.of_prepared(builder.as_dataset(split))
