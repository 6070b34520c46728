"""One record: everything that belongs to a recording, read, compared and joined.

A file that cannot be used gives an empty array or a null, and an issue that says why; nothing that
was asked for is silently absent.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from seamless_interaction import ANNOTATION_KINDS, EVERY_ARRAY, MAX_FRAMES_APART, MAX_SECONDS_APART, TIME, FileId
from seamless_interaction.errors import BadFile, EmptyFile, Issue, MissingFile, NonFinite, add_issue
from seamless_interaction.formats.text import TextRecords
from seamless_interaction.source.context import Context
from seamless_interaction.source.files import Files
from seamless_interaction.source.recordings import is_required


class Join:
    """The record of one recording. Reads the files that the columns need, once.

    Args:
        files: the recording's.
        columns: those asked for, besides identity, time and honesty.
        context: the tables; None if none of their columns is asked for.

    Attributes:
        values: column -> value; arrays as NumPy.
        issues: the column of that name: what is missing or broken.
        errors: the files that cannot be used, which ``on_error`` is about.
    """

    def __init__(self, files: Files, columns: tuple[str, ...], context: Context | None = None):
        self._recording, self._files, self._columns = files.recording, files, columns
        recording = files.recording
        ids = FileId.parse(recording.file_id)
        self.issues: list[Issue] = []
        self.errors: list[BadFile] = []
        self.values: dict[str, Any] = {
            "id": recording.file_id,
            "interaction_id": ids.interaction_id,
            "session_id": ids.session_id,
            "participant_id": ids.participant_id,
            "vendor_id": ids.vendor_id,
            "prompt_id": ids.prompt_id,
            "partner_id": recording.partner,
            "label": recording.label,
            **dict.fromkeys(TIME),
            **dict.fromkeys(columns),
            "issues": self.issues,
            "checked": list(columns),
        }
        if recording.partner is None:
            self._note("partner_id", "no_partner", "the interaction has one participant")
        elif not recording.partner_is_here:
            if recording.partner_is_meant:
                self._note("partner_id", "partner_missing", f"{recording.partner} is not in the source")
            else:
                self._note("partner_id", "not_selected", f"this copy was made without {recording.partner}")
        self._media()
        self._text()
        self._arrays()
        if context is not None:
            values, notes = context.of(ids)
            self.values.update({column: value for column, value in values.items() if column in columns})
            for note in notes:
                self._note(*note)

    def _note(self, column: str, code: str, detail: str) -> None:
        add_issue(self.issues, column, code, detail)

    def _error(self, column: str, error: BadFile) -> None:
        self.errors.append(error)
        self._note(column, error.code, self._files.place.within(str(error)))

    def _attempt(self, column: str, part: str) -> Any:
        """A part; None, and an issue, if it cannot be used, or is not there and required or not selected."""
        is_meant = self._recording.is_meant(part)
        try:
            value = self._files.get(part)
            if value is None and is_required(self._recording, part):
                raise MissingFile(f"{self._recording.file_id} {part}", "not in the source, and the format requires it")
        except BadFile as error:
            value = None
            if is_meant or not isinstance(error, MissingFile):
                self._error(column, error)
                return None
        if isinstance(value, TextRecords) and value.problem:
            self._error(column, value.problem)
        if value is None and not is_meant:
            self._note(column, "not_selected", "this copy was made without it")
        return value

    def _optional(self, column: str, value: Any) -> Any:
        """``value``; if it is None and nothing went wrong, say that it is absent."""
        if value is None and not any(issue["column"] == column for issue in self.issues):
            self._note(column, "absent", "the recording has none")
        return value

    def _media(self) -> None:
        video = self._probe("video")
        if video:
            self.values.update(
                duration=video.duration,
                fps=video.fps,
                num_frames=video.num_frames,
                width=video.width,
                height=video.height,
                pixel_aspect_ratio=video.pixel_aspect_ratio,
            )
        audio = self._probe("audio")
        if audio and not video:
            self.values["duration"] = audio.duration
        elif audio and "audio" in self._columns and abs(audio.duration - video.duration) > MAX_SECONDS_APART:
            self._note("audio", "duration_differs", f"{audio.duration:.3f} s of audio, {video.duration:.3f} s of video")

    def _probe(self, column: str) -> Any:
        if column not in self._columns:
            return self._files.known_header(column)
        header = self._attempt(column, column)
        if header:
            self.values[column] = {"bytes": None, "path": self._files.path(column)}
        return header

    def _text(self) -> None:
        if "segments" in self._columns:
            segments = self._attempt("transcript", "transcript")
            self.values["segments"] = self._optional("transcript", segments)
            if segments is not None:
                self.values["transcript"] = " ".join(segment["transcript"].strip() for segment in segments)
                self._intervals("transcript", segments)
        if "vad" in self._columns:
            self.values["vad"] = vad = self._attempt("vad", "vad")
            self._intervals("vad", vad or [])
            if vad == [] and self.values.get("segments"):
                self._note("vad", "vad_contradicts", "no voice activity, but the transcript has segments")
        if "annotations" in self._columns:
            kinds = {kind: self._attempt("annotations", kind) for kind in ANNOTATION_KINDS}
            made = {kind: records for kind, records in kinds.items() if records is not None}
            annotations = [{"kind": kind, **record} for kind, records in made.items() for record in records]
            self.values["annotations"] = self._optional("annotations", annotations if made else None)
            self._intervals("annotations", annotations)

    def _intervals(self, column: str, records: list[dict[str, Any]]) -> None:
        """Values stay as they are in the file."""
        end = self.values["duration"] or float("inf")
        bad = [r for r in records if r["end"] < r["start"] or r["end"] > end + MAX_SECONDS_APART]
        if bad:
            self._note(
                column, "interval", f"{len(bad)} of {len(records)}, first from {bad[0]['start']} to {bad[0]['end']} s"
            )

    def _arrays(self) -> None:
        frames = {}
        for key in self._columns:
            if key not in EVERY_ARRAY:
                continue
            array = EVERY_ARRAY[key]
            values = self._attempt(key, key)
            if self._optional(key, values) is None:
                values = None if array.is_open else np.empty((0, *array.shape), array.dtype)
            elif len(values) == 0:
                self._error(key, EmptyFile(self._files.path(key) or key, f"{key} has no frames"))
            else:
                frames[key] = len(values) * array.frames_per_row
                # A sum is finite unless a value is not, or it overflows; and it takes a fraction of isfinite's time.
                if values.dtype.kind == "f" and not np.isfinite(values.sum()) and not np.isfinite(values).all():
                    self._error(key, NonFinite(self._files.path(key) or key, f"{key} holds NaN or infinity"))
            self.values[key] = values
        self._frames(frames)

    def _frames(self, frames: dict[str, int]) -> None:
        """Compare the arrays' lengths with the video's, or with the most common one."""
        if not frames:
            return
        expected = self.values["num_frames"] or Counter(frames.values()).most_common(1)[0][0]
        for key, number in frames.items():
            # An array of a row per 15 frames may have rounded up or down.
            if abs(number - expected) >= EVERY_ARRAY[key].frames_per_row + MAX_FRAMES_APART:
                of = "the video" if self.values["num_frames"] else "the other arrays"
                self._note(key, "frames_differ", f"{number} frames, {of} {expected}")
