"""``extract_features``: a conversation as features on one grid, with masks, events, names and units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from seamless_interaction.conversations.interaction import (
    ByParticipant,
    Interaction,
    ParticipantRecording,
    check_window,
)
from seamless_interaction.conversations.read_window import note_left_out
from seamless_interaction.errors import InvalidWindow, Issue, add_issue, known_keywords
from seamless_interaction.features import dyadic
from seamless_interaction.features.blocks import BLOCK, Extractor, Grid, Made, blocks, voice_activity
from seamless_interaction.features.face import Face
from seamless_interaction.features.motion import Gesture, Head
from seamless_interaction.features.prosody import Prosody
from seamless_interaction.features.silero import Silero
from seamless_interaction.features.synchrony import WINDOW, synchrony
from seamless_interaction.features.table import DEFAULT_GROUPS, FEATURES, features_of, resolve_groups

_PARTS: dict[str, Any] = {"prosody": Prosody, "head": Head, "gesture": Gesture, "face": Face, "silero": Silero}
_SYNCHRONOUS = ("head:speed", "prosody:rms")
_TYPES = {"feature": pa.string(), "transfer": pa.bool_(), "success": pa.bool_()}  # of events' columns; else float64


class Features(ByParticipant[dict[str, np.ndarray]]):
    """Participant id -> key of ``FEATURES`` -> (T, D) float32, zero where masked; ``P0947`` is enough of an id.

    Attributes:
        masks: participant id -> key -> (T,) bool: where the values are a measurement.
        events: key -> table, times in seconds from the recordings' start: participant_id, start, end, and what
            ``FEATURES`` names. Of both participants, in the order of time.
        shares: participant id -> key -> a number, None where not known.
        issues: participant id -> what cannot be used of the recording's files, as column, code and detail.
        names: key -> the names of its D columns; units: key -> the unit of its values.
        ids: participant id -> file id.
        interaction_id, groups, fps, start: what was asked for.
        times: (T,) float64, seconds from the recordings' start.
    """

    def __init__(self, interaction_id: str, ids: dict[str, str], groups: tuple[str, ...], grid: Grid):
        super().__init__({participant: {} for participant in ids})
        self.interaction_id, self.ids, self.groups = interaction_id, ByParticipant(ids), groups
        self.fps, self.start, self.times = grid.fps, grid.start, grid.times
        self.masks: ByParticipant[dict[str, np.ndarray]] = ByParticipant({one: {} for one in ids})
        self.shares: ByParticipant[dict[str, float | None]] = ByParticipant({one: {} for one in ids})
        self.issues: ByParticipant[list[Issue]] = ByParticipant({one: [] for one in ids})
        self.events: dict[str, pa.Table] = {}

    def __repr__(self) -> str:
        return f"<Features of {self.interaction_id}: {', '.join(self.groups)}; {len(self.times)} frames>"

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        return {feature.key: feature.columns for feature in features_of(self.groups)}

    @property
    def units(self) -> dict[str, str]:
        return {key: feature.unit for key, feature in FEATURES.items() if feature.group in self.groups}


@known_keywords()
def extract_features(
    interaction: Interaction,
    groups: str | Sequence[str] = DEFAULT_GROUPS,
    fps: float = 30.0,
    start: float = 0.0,
    duration: float | None = None,
    *,
    block: float = BLOCK,
) -> Features:
    """Features of a conversation, of both partners on one grid, whatever their own rates.

    What a recording does not have, or what cannot be used of it, is zero, and masked: no value is ever NaN. It is
    read block by block, so memory is that of the features themselves and of one block.

    Args:
        interaction: of a ``SeamlessDataset``.
        groups: names in ``GROUPS``: what is computed. ``"silero"`` only when asked for.
        fps: rows a second.
        start, duration: of the span, seconds; None: to the end of the longer recording.
        block: seconds read at a time. Values do not depend on it, but for the last digits of resampled sound.

    Raises:
        UnknownGroup: not a group.
        InvalidWindow: not a span of time, or one that begins behind the end.
        MissingDependency: the group needs a package that is not installed.
        SourceError: the place, not a file, is at fault.
    """
    groups = resolve_groups(groups)
    check_window(start, 1.0 if duration is None else duration, fps, None)
    check_window(0.0, block, None, None)
    known = interaction.duration
    if start and start >= known:
        raise InvalidWindow(f"{interaction.id}: a span from {start} s on, and the conversation ends at {known:.3f} s.")
    grid = Grid(float(start), float(fps), round((known - start if duration is None else duration) * fps))
    ids = {recording.participant_id: recording.id for recording in interaction.recordings}
    features = Features(interaction.id, ids, groups, grid)
    for participant, recording in zip(ids, interaction.recordings, strict=True):
        if not recording.is_duration_known:
            told = f"no video, audio or array tells it; by the text at least {recording.duration:.3f} s"
            add_issue(features.issues[participant], "duration", "absent", told)
        made = _of_recording(recording, groups, grid, block, features.issues[participant])
        features[participant] = {key: values for key, (values, _) in made.items()}
        features.masks[participant] = {key: mask for key, (_, mask) in made.items()}
        if "silero" in groups:
            values, mask = made["silero:disagrees"]
            features.shares[participant]["silero:disagreement"] = float(values[mask].mean()) if mask.any() else None
    if "dyadic" in groups:
        _add_dyadic(interaction, features, grid)
    return features


def _of_recording(
    recording: ParticipantRecording, groups: tuple[str, ...], grid: Grid, seconds: float, issues: list[Issue]
) -> Made:
    parts: list[Extractor] = [_PARTS[group](recording, grid, issues) for group in groups if group in _PARTS]
    columns = list(dict.fromkeys(column for part in parts for column in part.columns))
    if columns:
        for block in blocks(recording, grid, columns, seconds, issues):
            for part in parts:
                part.add(block)
    made: Made = {}
    for part in parts:
        made |= part.finish()
    return made


# --- both partners --------------------------------------------------------------------------------


def _add_dyadic(interaction: Interaction, features: Features, grid: Grid) -> None:
    participants = list(features)
    shape = {feature.key: (grid.frames, len(feature.columns)) for feature in features_of(["dyadic"])}
    for participant in participants:
        features[participant] |= {key: np.zeros(size, np.float32) for key, size in shape.items()}
        features.masks[participant] |= {key: np.zeros(grid.frames, bool) for key in shape}
    rows: dict[str, list[dict[str, Any]]] = {}
    records = [voice_activity(one, features.issues[one.participant_id]) for one in interaction.recordings]
    for participant, recording, found in zip(participants, interaction.recordings, records, strict=True):
        issues = features.issues[participant]
        if found is None and not any(issue["column"] == "vad" for issue in issues):
            note_left_out(issues, "vad")
        if len(records) < 2 and recording.partner_id:
            add_issue(issues, "partner_id", "partner_missing", f"{recording.partner_id} is not here")
        elif len(records) < 2:
            add_issue(issues, "partner_id", "no_partner", "the interaction has one participant")
    if len(records) == 2:
        first, second = records
        end = min(grid.end, *(recording.duration for recording in interaction.recordings))
        if first is not None and second is not None and end > grid.start:
            units = tuple(dyadic.inter_pausal_units(own, grid.start, end) for own in (first, second))
            rows = dyadic.events((units[0], units[1]), grid.start, end)
            known = grid.times < end
            for who, participant in enumerate(participants):
                turns = [(row["start"], row["end"]) for row in rows["turns"] if row["who"] == who]
                floor = dyadic.within(turns, grid).astype(np.float32)[:, None]
                state = dyadic.states(units[who], units[1 - who], grid)
                for key, values in (("dyadic:state", state), ("dyadic:floor", floor)):
                    features[participant][key] = values * known[:, None]
                    features.masks[participant][key] = known.copy()
        rows["synchrony"] = _synchrony(features, participants, grid)
    for feature in features_of(["dyadic"], "events"):
        features.events[feature.key] = event_table(feature.key, rows.get(feature.name, ()), participants)


def event_table(key: str, rows: Iterable[dict[str, Any]], participants: Sequence[str] = ()) -> pa.Table:
    """Events as a table; ``who`` of a row is a number of ``participants``."""
    fields = [("participant_id", pa.string()), ("start", pa.float64()), ("end", pa.float64())]
    fields += [(name, _TYPES.get(name, pa.float64())) for name in FEATURES[key].columns]
    named = [{"participant_id": participants[row["who"]], **row} if "who" in row else row for row in rows]
    return pa.Table.from_pylist(named, schema=pa.schema(fields))


def _synchrony(features: Features, participants: list[str], grid: Grid) -> list[dict[str, Any]]:
    """Rows of dyadic:synchrony, of each window one for each participant, whose lags are each other's negatives."""
    rows: list[dict[str, Any]] = []
    for key in _SYNCHRONOUS:
        if key not in features[participants[0]]:
            continue
        values = [features[participant][key][:, 0] for participant in participants]
        known = [features.masks[participant][key] for participant in participants]
        found = synchrony(values[0], values[1], (known[0], known[1]), grid.fps)
        null: dict[str, float | None] = {"null_mean": None, "null_95": None}
        if len(found.null):
            null = {"null_mean": float(found.null.mean()), "null_95": float(np.quantile(found.null, 0.95))}
        for start, correlation, lag, p in zip(found.start, found.correlation, found.lag, found.p, strict=True):
            times = {"start": grid.start + start, "end": grid.start + start + WINDOW}
            figures = {"correlation": correlation, **null, "p": p if len(found.null) else None}
            rows += [
                {"who": who, **times, "feature": key, "lag": sign * lag + 0.0, **figures}
                for who, sign in enumerate((1, -1))
            ]
    return rows
