"""Every error this package raises on purpose.

``SeamlessInteractionError`` is the base of all. A *usage* error is a wrong argument, a *source*
error a wrong folder or table, and a ``BadFile`` one file of one recording: its ``code`` is the one
that stands in the record's ``issues`` when ``on_error="null"``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher, get_close_matches
from functools import wraps
from typing import Any, TypedDict, TypeVar

from datasets.exceptions import DatasetGenerationError


class SeamlessInteractionError(Exception):
    """Base of all errors of this package."""


# --- arguments ------------------------------------------------------------------------------------


class UsageError(SeamlessInteractionError, ValueError):
    """An invalid argument."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are most like this one, whatever its case; several where they are so equally."""
    by_case = {other.casefold(): other for other in known}
    likeness = {other: SequenceMatcher(None, name.casefold(), other).ratio() for other in by_case}
    most = max(likeness.values(), default=0.0)
    return [by_case[other] for other in by_case if likeness[other] == most] if most >= _ALIKE else []


_ALIKE = 0.6  # from which on a name may have been meant, as `difflib` has it


class UnknownName(UsageError):
    """A name that is not among the known ones."""

    what = "name"

    def __init__(self, names: str | Iterable[str], known: Iterable[str]):
        self.names = [names] if isinstance(names, str) else list(names)
        self.known = list(known)
        near = dict.fromkeys(match for name in self.names for match in nearest(str(name), self.known))
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        super().__init__(
            f"unknown {self.what}: {', '.join(map(repr, self.names))}.{hint} Known: {', '.join(self.known)}."
        )


class UnknownKeyword(UnknownName, TypeError):
    """A keyword argument that the function does not have."""

    what = "keyword"


class UnknownModality(UnknownName):
    """Neither a modality nor an array of one."""

    what = "modality"


class UnknownSubset(UnknownName):
    """Not one of the configs."""

    what = "subset"


class UnknownLayout(UnknownName):
    """Not a layout this package reads."""

    what = "layout"


class UnknownOption(UnknownName):
    """Not a value that ``on_error`` takes."""

    what = "on_error"


class UnknownSplit(UnknownName):
    """A split that does not exist, or that has no recording in this source."""

    what = "or empty split"


class UnknownLabel(UnknownName):
    """Not one of the dataset's labels."""

    what = "label"


class UnknownVendor(UnknownName):
    """Not one of the dataset's vendors."""

    what = "vendor"


class UnknownAnnotation(UnknownName):
    """Not a value that ``annotated`` takes."""

    what = "annotated"


class UnknownId(UnknownName):
    """Ids that the file list does not have. ``known`` holds those that look like them, not the 129,370 others."""

    def __init__(self, what: str, names: Iterable[str], near: Iterable[str]):
        self.names, self.known = list(names), list(near)
        some = ", ".join(map(repr, self.names[:3])) + (", …" if len(self.names) > 3 else "")
        hint = f" Did you mean {' or '.join(self.known)}?" if self.known else ""
        where = "not in the file list, or left out by the copy's selection.csv"
        UsageError.__init__(self, f"{len(self.names)} of {what} {where}: {some}.{hint}")


class EmptySelection(UsageError):
    """No recording matches all of the criteria."""


class UnknownPreset(UnknownName):
    """Not a preset of the model."""

    what = "preset"


class UnknownQuantity(UnknownName):
    """Not a quantity of windows that a condition can use."""

    what = "quantity"


class InvalidExpression(UsageError):
    """A condition that does not compare quantities."""

    def __init__(self, text: str, reason: str):
        self.text, self.reason = text, reason
        shown = text if len(text) <= 80 else text[:79] + "…"
        super().__init__(
            f"not a condition: {shown!r}: {reason}. A condition compares quantities and numbers: names, numbers, "
            "+ - * /, comparisons, and, or, not. One looks like 'speech > 0.2 and smplh_valid > 0.9'."
        )


class InvalidId(UsageError):
    """A string that is not an id of its kind."""

    def __init__(self, what: str, id: object, example: str):
        super().__init__(f"not an id for {what}: {id!r}. One looks like {example}.")


class UnknownConversation(UsageError, KeyError):
    """An interaction, session, recording or participant that is not in the dataset at hand."""

    def __init__(self, what: str, id: object, known: Iterable[str]):
        near = get_close_matches(str(id), list(known), 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"no {what} {id!r} here.{hint}")

    __str__ = Exception.__str__  # a KeyError's puts quotes around it


class UnknownArray(UnknownName, AttributeError, KeyError):
    """Neither an array of the schema nor one that the recording has."""

    what = "array"
    __str__ = Exception.__str__


class UnknownGroup(UnknownName):
    """Not a group of features."""

    what = "group of features"


class ForeignFeatures(UsageError):
    """Not a file of features, or one computed with other settings."""


class UnknownTask(UnknownName):
    """Not a benchmark."""

    what = "benchmark"


class ForeignResults(UsageError):
    """Not a file of benchmark results, or one that this version cannot read."""


class IncomparableResults(UsageError):
    """Results that were measured on different data, and must not be ranked in one table."""


class InvalidWindow(UsageError):
    """An invalid span of time, or one outside the recording."""


class ForeignState(UsageError):
    """A state of other windows than these, or one that no batch of them leads to."""


class WindowError(SeamlessInteractionError):
    """A window that cannot be read, with its recording, time and reason; or too many of them in a row."""


class InvalidFileId(UsageError):
    """A string that is not a file id."""

    def __init__(self, file_id: str):
        self.file_id = file_id
        super().__init__(
            f"not a file id: {file_id!r}. One looks like V00_S0809_I00000582_P0947 or V00_S0039_I00000582_P1281A."
        )


class MissingDependency(UsageError):
    """A package that an optional extra brings is needed, and is not installed."""

    def __init__(self, what: str, package: str, extra: str):
        super().__init__(what, package, extra)  # so that it can be pickled

    def __str__(self) -> str:
        what, package, extra = self.args
        return f"{what} needs {package}: pip install 'seamless-interaction[{extra}]'"


# --- models --------------------------------------------------------------------------------------


class ModelError(SeamlessInteractionError):
    """A model that cannot be loaded or trained further."""


class ForeignCheckpoint(ModelError, ValueError):
    """Files of another model, of another version of their format, or of a run with other settings."""


class UnsafeCheckpoint(ModelError, ValueError):
    """Weights in another format than safetensors, which can run code when they are loaded."""


class NonFiniteLoss(ModelError, ArithmeticError):
    """A loss became NaN or infinite: at which step, and of which recordings."""

    def __init__(self, step: int, ids: Iterable[str], losses: str):
        self.step, self.ids = step, list(ids)
        some = ", ".join(self.ids[:8]) + (", …" if len(self.ids) > 8 else "")
        super().__init__(
            f"the loss of step {step} is not finite ({losses}). Recordings of the batch: {some}. The last checkpoint "
            "is kept. Look at these recordings, or try a smaller learning rate."
        )


# --- sources --------------------------------------------------------------------------------------


class SourceError(SeamlessInteractionError):
    """A place that cannot be read as this dataset."""


class SourceNotFound(SourceError, FileNotFoundError):
    """The path does not exist, or contains nothing of this dataset."""


class SourceUnreachable(SourceError, ConnectionError):
    """The host cannot be reached, or keeps failing."""


class UnsafeRedirect(SourceUnreachable):
    """The host redirects to an unsafe address: from https to http, or into the user's own network."""


class AccessDenied(SourceError, PermissionError):
    """The host refuses access (HTTP 403), and not because the file is missing."""


class NoRanges(SourceError):
    """The host does not support range requests: it sends the whole file."""


class AmbiguousSource(SourceError):
    """The folder can be read in more than one way."""


class DuplicateFileId(SourceError):
    """The same file id in two places, and no file list to say which one counts."""


class BrokenTable(SourceError, ValueError):
    """A CSV without the columns or rows that it should have."""


class BrokenIndex(SourceError, ValueError):
    """Not an index, or one written by another version of this package."""


class StaleIndex(SourceError):
    """A file changed after it was indexed, or the index is of another place."""


class SourceChanged(SourceError):
    """A file changed while it was read."""


# --- a local copy ---------------------------------------------------------------------------------


class TargetError(SeamlessInteractionError, OSError):
    """A file or folder cannot be written."""


class NotEnoughSpace(TargetError):
    """The disk is full, or would become full."""


class FolderBusy(TargetError):
    """Another run is writing into the folder."""


# --- files ----------------------------------------------------------------------------------------


class BadFile(SeamlessInteractionError, DatasetGenerationError):
    """A file of a recording that cannot be used as it is.

    ``datasets`` hides what goes wrong while it prepares in a ``DatasetGenerationError``, and loses it on the way from
    another process; what is one already, it raises as it is.
    """

    code = ""

    def __init__(self, path: str, reason: str):
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type[BadFile], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class MissingFile(BadFile):
    """The format requires the file or member, and it is not there."""

    code = "missing"


class EmptyFile(BadFile):
    """A placeholder without content."""

    code = "empty"


class TruncatedFile(BadFile):
    """Shorter than its own header says, or without its index."""

    code = "truncated"


class UnreadableFile(BadFile):
    """Not the format its name promises."""

    code = "unreadable"


class UnsafeFile(BadFile):
    """Refused: a pickle, an impossible size, or more bytes than declared."""

    code = "unsafe"


class WrongType(BadFile):
    """A shape or dtype that the format does not have."""

    code = "wrong_type"


class NonFinite(BadFile):
    """NaN or infinity in an array."""

    code = "non_finite"


class NoVideoStream(BadFile):
    """An MP4 without a picture."""

    code = "no_video_stream"


# --- the Hub --------------------------------------------------------------------------------------


class InvalidRepository(UsageError):
    """A name that a repository cannot have, or that nobody could load."""


class IncompletePublication(SeamlessInteractionError):
    """A folder whose files are not what its manifest says."""


class HubError(SeamlessInteractionError):
    """What the Hugging Face Hub, or the repository there, does not allow."""


class NotLoggedIn(HubError, PermissionError):
    """No token, or one that the Hub does not know."""


class NoWriteAccess(HubError, PermissionError):
    """There is no such repository, or the token has no right to write there."""


class WrongVisibility(HubError):
    """The repository is public, and was asked to be private."""


class ForeignFiles(HubError):
    """The repository has files where only those of the publication belong."""


class HeadMoved(HubError):
    """Somebody else has committed meanwhile."""


class HubRefused(HubError):
    """The Hub answers a request with an error that is none of the others."""


_Function = TypeVar("_Function", bound=Callable[..., Any])


def known_keywords(more: Iterable[str] = ()) -> Callable[[_Function], _Function]:
    """A decorator of functions: keywords that they do not take are told with those like them.

    Args:
        more: what a ``**`` parameter takes.
    """

    def decorate(function: _Function) -> _Function:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            refuse_unknown(kwargs, function, more)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def refuse_unknown(keywords: Iterable[str], function: Callable[..., Any], more: Iterable[str] = ()) -> None:
    """Raise ``UnknownKeyword`` for keywords that a function does not take; ``more`` is what ``**`` stands for."""
    parameters = inspect.signature(function).parameters.values()
    names = [one.name for one in parameters if one.name != "self" and one.kind is not one.VAR_KEYWORD]
    names += more
    unknown = [name for name in keywords if name not in names]
    if unknown:
        raise UnknownKeyword(unknown, names)


# --- issues ---------------------------------------------------------------------------------------


class Issue(TypedDict):
    """What is missing or broken in a record, a window, or features; ``code`` is one of ``ISSUES``."""

    column: str
    code: str
    detail: str


def add_issue(issues: list[Issue], column: str, code: str, detail: str) -> None:
    """Add an issue, once: one broken JSON of a bundle breaks five kinds of annotations."""
    issue: Issue = {"column": column, "code": code, "detail": detail}
    if issue not in issues:
        issues.append(issue)
