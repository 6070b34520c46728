"""Text of a recording: JSON Lines, and the JSON of a bundle, to records of their kind."""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any

from seamless_interaction.errors import EmptyFile, UnreadableFile, UnsafeFile
from seamless_interaction.places.limits import MAX_TEXT_BYTES

# NaN and Infinity are no JSON, but Python and others write them: what holds one is for `parse_records` to say.
_decode = json.JSONDecoder().decode


def check_text(content: bytes, path: str) -> bytes:
    """Raises ``UnsafeFile`` for more bytes than text of a recording has; of more than that, one more is read."""
    if len(content) > MAX_TEXT_BYTES:
        raise UnsafeFile(path, f"more than {MAX_TEXT_BYTES} bytes of text")
    return content


def parse_json_lines(content: bytes, path: str) -> list[dict[str, Any]]:
    """One object a line; blank lines are none.

    Raises:
        UnreadableFile: with the line's number.
    """
    records = []
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if line.strip():
            try:
                record = _decode(line.decode())
            except (ValueError, RecursionError) as error:
                raise UnreadableFile(path, f"line {number} is not JSON: {error}") from error
            if not isinstance(record, dict):
                raise UnreadableFile(path, f"line {number} is not an object")
            records.append(record)
    return records


def parse_bundle_json(content: bytes, path: str, file_id: str) -> dict[str, Any]:
    """The object of a bundle's JSON.

    Raises:
        UnreadableFile: not JSON, not an object, or another recording's.
        EmptyFile: no bytes.
    """
    if not content:
        raise EmptyFile(path, "no bytes")
    try:
        value = _decode(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(path, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableFile(path, "not an object")
    if value.get("id", file_id) != file_id:
        raise UnreadableFile(path, f"belongs to {value['id']!r}")
    return value


class TextRecords(list[dict[str, Any]]):
    """The records of a text, as far as they can be used.

    Attributes:
        problem: what is wrong with those values that cannot; None if nothing is.
    """

    problem: UnreadableFile | None = None

    def copy(self) -> TextRecords:
        """What may be changed without changing these."""
        copy = TextRecords(
            {
                name: [dict(word) for word in value] if isinstance(value, list) else value
                for name, value in record.items()
            }
            for record in self
        )
        copy.problem = self.problem
        return copy


_LARGEST = sys.float_info.max


def _number(record: dict[str, Any], key: str) -> float:
    value = record.get(key)
    if type(value) is float and -_LARGEST <= value <= _LARGEST:
        return value  # as nearly all are
    # An integer of JSON has no limit; `float` fails at one that no float can hold.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
        raise ValueError(f"{key} is {str(value)[:40]!r}, not a number")
    return float(value)


def _string(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is {str(value)[:40]!r}, not text")
    value.encode()  # a ValueError for half a surrogate pair, which JSON can write and Arrow cannot
    return value


def _word(record: Any, wrong: list[str]) -> dict[str, Any] | None:
    """A word; what of it is no number is None. None if it is no word at all."""
    word: dict[str, Any] = {}
    try:
        word["word"] = _string(record, "word")
    except (ValueError, AttributeError) as error:
        wrong.append(f"a word is left out: {error}")
        return None
    for key in ("start", "end", "score"):
        try:
            word[key] = None if record.get(key) is None else _number(record, key)
        except ValueError as error:
            wrong.append(str(error))
            word[key] = None
    return word


def _segment(record: dict[str, Any], wrong: list[str]) -> dict[str, Any]:
    words = record.get("words") or []
    if not isinstance(words, list):
        wrong.append("its words are no list")
        words = []
    return {
        "start": _number(record, "start"),
        "end": _number(record, "end"),
        "transcript": _string(record, "transcript"),
        "words": [word for word in (_word(word, wrong) for word in words) if word],
    }


def _vad(record: dict[str, Any], wrong: list[str]) -> dict[str, Any]:
    return {"start": _number(record, "start"), "end": _number(record, "end")}


def _annotation(record: dict[str, Any], wrong: list[str]) -> dict[str, Any]:
    return {
        "annotation": _string(record, "annotation"),
        "start": _number(record, "start_ts"),
        "end": _number(record, "end_ts"),
    }


_PARSERS = {"transcript": _segment, "vad": _vad}  # all other parts of text are annotations


def parse_records(part: str, records: list[Any], path: str) -> TextRecords:
    """Segments of a transcript, VAD or annotations.

    Only what cannot be used is lost: of a word its times and score, which are then None; else the word or the record.

    Raises:
        UnreadableFile: nothing is left; with the number of the first record that is wrong.
    """
    parse = _PARSERS.get(part, _annotation)
    found, wrong = TextRecords(), list[str]()
    for number, record in enumerate(records, 1):
        here: list[str] = []
        try:
            if not isinstance(record, dict):
                raise ValueError("not an object")
            found.append(parse(record, here))
        except ValueError as error:
            here.append(f"left out: {error}")
        wrong += (f"record {number}: {what}" for what in here)
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        found.problem = UnreadableFile(path, f"{wrong[0]}{more}")
        if not found:
            raise found.problem
    return found
