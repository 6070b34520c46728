"""Every feature, in one table: what extraction gives, what Parquet files hold and what the README says follow from
it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seamless_interaction.errors import UnknownGroup, UsageError

NUM_MELS = 80

# Group -> what it needs.
GROUPS = {
    "prosody": "audio, transcript (for the speech rate)",
    "head": "smplh",
    "gesture": "smplh",
    "face": "movement (V00 only)",
    "dyadic": "vad of both partners",
    "silero": "audio, vad",
}
DEFAULT_GROUPS = ("prosody", "head", "gesture", "face", "dyadic")

# What is live of movement:FAUValue, and the order that Meta's README lists: [claimed], nobody has measured it.
ACTION_UNITS = {
    0: "InnerBrowRaiser",
    1: "OuterBrowRaiser",
    2: "BrowLowerer",
    3: "UpperLidRaiser",
    4: "CheekRaiser",
    5: "LidTightener",
    6: "NoseWrinkler",
    7: "UpperLipRaiser",
    8: "LipCornerPuller",
    9: "CheekPuffer",
    10: "Dimpler",
    11: "LipCornerDepressor",
    12: "LowerLipDepressor",
    13: "ChinRaiser",
    14: "LipPuckerer",
    15: "LipStretcher",
    # 16, 17 and 18 are dead: at most 0.03 in the whole data set.
    19: "LipsParts",
    20: "JawDrop",
    21: "LipSuck",
    22: "JawSideways",
    23: "EyesClosed",
}

# SMPL-H's joints, as rows of body_pose: joint number less one, as the pelvis is global_orient.
SPINE, NECK, HEAD = (2, 5, 8), 11, 14
LIMBS = {
    "torso": SPINE,
    "head": (NECK, HEAD),
    "left_arm": (12, 15, 17, 19),
    "right_arm": (13, 16, 18, 20),
    "left_leg": (0, 3, 6, 9),
    "right_leg": (1, 4, 7, 10),
}


class Feature(NamedTuple):
    """One feature.

    Attributes:
        key: ``group:name``.
        unit: of its values.
        columns: what each column of (T, D) is; of events, what each has besides participant_id, start and end.
        definition: how it is computed, and where it is masked beyond where its modality is absent.
        source: the paper or library of the definition; "ours" where there is none.
        kind: ``"frames"``, (T, D) on the grid with a mask; ``"events"``, a table; ``"share"``, one number.
    """

    key: str
    unit: str
    columns: tuple[str, ...]
    definition: str
    source: str
    kind: str = "frames"

    @property
    def group(self) -> str:
        return self.key.partition(":")[0]

    @property
    def name(self) -> str:
        return self.key.partition(":")[2]


_AXES = ("pitch", "yaw", "roll")
_RHYTHM = "in a centred Hann window of 2 s; masked where less than half of the window is known"
_VAP = "Ekstedt & Skantze 2022 (voice activity projection), its published code's figures"
_HE = "Heldner & Edlund 2010"

FEATURES = {
    feature.key: feature
    for feature in [
        # --- prosody
        Feature(
            "prosody:log_mel",
            "dB re 1",
            tuple(f"mel_{number:02d}" for number in range(NUM_MELS)),
            "power in 80 mel bands up to 8 kHz, of 64 ms (Hann) around each time, at 16 kHz; at least -100 dB",
            "librosa: melspectrogram, power_to_db",
        ),
        Feature(
            "prosody:rms", "dBFS", ("rms",), "root mean square of the same 64 ms; at least -100 dB", "librosa: rms"
        ),
        Feature(
            "prosody:f0",
            "Hz",
            ("f0",),
            "fundamental frequency, 60 to 500 Hz; masked where not voiced",
            "de Cheveigné & Kawahara 2002 (YIN), by librosa",
        ),
        Feature(
            "prosody:voicing",
            "1",
            ("voiced", "strength"),
            "strength: normalised autocorrelation at YIN's period, 0 below -50 dBFS; voiced: 1 where it is "
            "0.45 or more",
            "threshold of Boersma 1993; ours in that YIN finds the period",
        ),
        Feature(
            "prosody:speech_rate",
            "words/s",
            ("speech_rate",),
            "words of the transcript whose middle lies within 1 s, by the seconds of that which the recording has",
            "ours",
        ),
        # --- head
        Feature(
            "head:angular_velocity",
            "rad/s",
            _AXES,
            "turn since the row before, of pelvis, spine, neck and head composed (so: of the head in space), about the "
            "head's own axes: pitch is positive chin down, yaw to the own left, roll to the own right",
            "rotation composition; SMPL-H's kinematic tree (Romero et al. 2017)",
        ),
        Feature("head:speed", "rad/s", ("speed",), "length of head:angular_velocity", "as head:angular_velocity"),
        Feature("head:nod", "(rad/s)²", ("nod",), f"mean square of pitch velocity at 1 to 6 Hz, {_RHYTHM}", "ours"),
        Feature(
            "head:nod_frequency",
            "Hz",
            ("nod_frequency",),
            "where that is strongest; masked below 0.01 (rad/s)²",
            "ours",
        ),
        Feature("head:shake", "(rad/s)²", ("shake",), f"mean square of yaw velocity at 1 to 6 Hz, {_RHYTHM}", "ours"),
        Feature(
            "head:shake_frequency",
            "Hz",
            ("shake_frequency",),
            "where that is strongest; masked below 0.01 (rad/s)²",
            "ours",
        ),
        # --- gesture
        Feature(
            "gesture:kinetic_energy",
            "(rad/s)²",
            tuple(LIMBS),
            "sum over a limb's joints of the squared angular velocity against the parent joint: a proxy, without mass "
            "or length",
            "ours",
        ),
        Feature(
            "gesture:hand_energy",
            "(rad/s)²",
            ("left_hand", "right_hand"),
            "the same of a hand's 15 joints; masked where smplh:is_valid is false",
            "ours",
        ),
        # --- face
        Feature(
            "face:action_units",
            "intensity, 0 to 2",
            tuple(ACTION_UNITS.values()),
            "movement:FAUValue without the dead columns 16, 17 and 18; the order of the names is claimed, not measured",
            "the data; FACS (Ekman & Friesen 1978)",
        ),
        Feature("face:activity", "intensity, 0 to 2", ("activity",), "mean of face:action_units", "ours"),
        Feature(
            "face:smile",
            "intensity, 0 to 4",
            ("smile",),
            "LipCornerPuller (8) and CheekRaiser (4), added; the order is claimed",
            "Ekman & Friesen 1982 (felt smiles: AU 12 and 6)",
        ),
        Feature(
            "face:brow",
            "intensity, 0 to 2",
            ("inner_raiser", "outer_raiser", "lowerer"),
            "columns 0, 1 and 2 of movement:FAUValue; the order is claimed",
            "FACS (Ekman & Friesen 1978)",
        ),
        Feature(
            "face:gaze_speed",
            "unknown unit/s",
            ("gaze_speed",),
            "length of the change of movement:gaze_encodings since the row before; the data does not tell their unit",
            "ours",
        ),
        # --- dyadic
        Feature(
            "dyadic:state",
            "0 or 1",
            ("self", "partner", "both", "neither"),
            "who speaks: pauses shorter than 200 ms are speech",
            _HE,
        ),
        Feature("dyadic:floor", "0 or 1", ("floor",), "within a turn of the participant's, pauses included", "ours"),
        Feature(
            "dyadic:ipus",
            "s",
            (),
            "inter-pausal units: voice activity, with pauses shorter than 200 ms",
            "Koiso et al. 1998; the data's vad",
            "events",
        ),
        Feature(
            "dyadic:backchannels",
            "s",
            (),
            "an inter-pausal unit of at most 1 s, at least 1 s after and before the participant's others, with the "
            "partner speaking in between; at the recording's ends, 1 s of silence",
            _VAP,
            "events",
        ),
        Feature(
            "dyadic:turns",
            "s",
            (),
            "inter-pausal units of one participant until the partner takes the floor, which takes a unit that is no "
            "backchannel and outlasts the holder's last one",
            f"{_HE}, local; that backchannels do not count is ours",
            "events",
        ),
        Feature(
            "dyadic:transfers",
            "s",
            ("offset",),
            "from the end of one turn to the start of the next, whose participant it has; offset below 0: overlap",
            f"{_HE} (floor-transfer offset)",
            "events",
        ),
        Feature("dyadic:gaps", "s", (), "transfers with silence; participant: who speaks next", _HE, "events"),
        Feature(
            "dyadic:overlaps",
            "s",
            ("transfer",),
            "both speak; participant: who came second; transfer: whether that one goes on alone",
            f"{_HE} (between- and within-speaker overlaps)",
            "events",
        ),
        Feature(
            "dyadic:interruptions",
            "s",
            ("success",),
            "overlaps of at least 0.5 s that are no backchannel and begin at least 0.5 s after the partner's unit; "
            "success: the floor is taken",
            "Beattie 1981 tells the kinds (simple interruption, butting-in); the figures are ours",
            "events",
        ),
        Feature(
            "dyadic:synchrony",
            "1",
            ("feature", "correlation", "lag", "null_mean", "null_95", "p"),
            "highest correlation, over lags up to 2 s, of a feature of both partners in windows of 10 s every 5 s, and "
            "the lag (s; above 0: the partner follows); its mean, 95 % and p among shuffled pairs of windows. Of "
            "head:speed and prosody:rms, as far as their groups are asked for",
            "Boker et al. 2002; Phipson & Smyth 2010 (p)",
            "events",
        ),
        # --- silero
        Feature(
            "silero:probability",
            "0 to 1",
            ("probability",),
            "of speech, by the model in the wheel of silero-vad, of the 32 ms that hold each time",
            "silero-vad",
        ),
        Feature(
            "silero:speech",
            "0 or 1",
            ("speech",),
            "silero-vad's segments, with its own defaults (threshold 0.5, 250 ms of speech, 100 ms of silence)",
            "silero-vad",
        ),
        Feature(
            "silero:disagrees",
            "0 or 1",
            ("disagrees",),
            "where silero:speech is not the data's vad; masked where either is not known",
            "ours",
        ),
        Feature("silero:disagreement", "1", (), "share of frames with silero:disagrees", "ours", "share"),
    ]
}


def resolve_groups(groups: str | Sequence[str]) -> tuple[str, ...]:
    """Names of groups, each once, in the order of ``GROUPS``.

    Raises:
        UnknownGroup, UsageError: none at all.
    """
    asked = [groups] if isinstance(groups, str) else list(groups)
    unknown = [name for name in asked if name not in GROUPS]
    if unknown:
        raise UnknownGroup(unknown, GROUPS)
    if not asked:
        raise UsageError(f"no group of features was asked for. Known: {', '.join(GROUPS)}.")
    return tuple(name for name in GROUPS if name in asked)


def features_of(groups: Iterable[str], kind: str = "frames") -> list[Feature]:
    """The features of some groups, in the table's order."""
    wanted = set(groups)
    return [feature for feature in FEATURES.values() if feature.group in wanted and feature.kind == kind]


def as_markdown() -> str:
    """The table as it stands in the README."""
    lines = ["| feature | D | unit | definition | source |", "| --- | ---: | --- | --- | --- |"]
    for feature in FEATURES.values():
        width = str(len(feature.columns)) if feature.kind == "frames" else feature.kind
        lines.append(f"| `{feature.key}` | {width} | {feature.unit} | {feature.definition} | {feature.source} |")
    return "\n".join(lines)
