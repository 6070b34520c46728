"""What was measured: a JSON file that says on what data, by which code, and how sure it is; and tables of several."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from seamless_interaction import __version__
from seamless_interaction.errors import ForeignResults, IncomparableResults
from seamless_interaction.evaluation.metrics import LOWER_IS_BETTER, Figure
from seamless_interaction.evaluation.protocol import Sample
from seamless_interaction.places.write import local_path, write_whole
from seamless_interaction.work.typed_json import load_as, read_as

FORMAT = 2  # of the file
CONTROL = ", shuffled labels"
OTHER_INPUT = ", other input"
RECORDED = "recorded"


class Draws(NamedTuple):
    """How much is drawn, and from which seed."""

    seed: int
    resamples: int
    shuffles: int


@dataclass
class Measured:
    """One part of a task.

    Attributes:
        kind: ``"binary"``, ``"classes"``, ``"regression"`` or ``"motion"``.
        digest, train_digest: of the samples that were measured, and learnt from: conversation, time and target; of
            motion, whose it is, and a digest of it and of the sound that is shown.
        counts: samples and conversations of both.
        classes: class -> how many of the measured samples are of it.
        models: model -> metric -> figure.
        not_measured: why there are no models, or None.
        space: of motion, that in which it is compared: its digest, and how far from a recorded clip its own is.
    """

    kind: str
    digest: str
    train_digest: str
    counts: dict[str, int]
    classes: dict[str, int]
    models: dict[str, dict[str, Figure]]
    not_measured: str | None
    space: dict[str, Any] | None = None


@dataclass
class Result:
    """One task, measured once.

    Attributes:
        task, protocol: name and version.
        split: that was measured.
        seed: of whatever is drawn; resamples, shuffles: of the bootstrap, and of the controls.
        groups: of features that were shown.
        imitator: digest of the weights of the model that was measured, or None.
        source: where the data were; synthetic: whether they say that they are.
        code: version and digest of this package's code.
        interactions: of train and evaluation, as divided.
        left_out: reason -> how many conversations, or what else it names, of train and evaluation together.
        parts: part -> what was measured.
    """

    task: str
    protocol: int
    split: str
    seed: int
    resamples: int
    shuffles: int
    groups: list[str]
    imitator: str | None
    source: str
    synthetic: bool
    code: dict[str, str]
    interactions: dict[str, int]
    left_out: dict[str, int]
    parts: dict[str, Measured]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        made = asdict(self)
        for part in made["parts"].values():
            part["models"] = {
                name: {metric: Figure(*figure)._asdict() for metric, figure in figures.items()}
                for name, figures in part["models"].items()
            }
        return made


def digest(part: str, interactions: Sequence[str], rows: Sequence[Sample]) -> str:
    """Of samples as they lie in the data: which conversation, when (ms), and what the target is."""
    hashed = hashlib.sha256(part.encode())
    for id, row in zip(interactions, rows, strict=True):
        target = f"{row.target:.6g}" if isinstance(row.target, float) else str(row.target)
        hashed.update(f"\n{id} {row.time:.3f} {target}".encode())
    return hashed.hexdigest()[:16]


@cache
def code_digest() -> dict[str, str]:
    """The package's version, and a digest of all of its code."""
    root = Path(__file__).parent.parent
    hashed = hashlib.sha256()
    for path in [root.with_suffix(".py"), *sorted(root.rglob("*.py"))]:
        hashed.update(path.name.encode() + path.read_bytes())
    return {"version": __version__, "digest": hashed.hexdigest()[:16]}


def write_results(results: Iterable[Result], path: str | os.PathLike[str]) -> None:
    """One or several tasks as one JSON file, whole or not there."""
    content = {"format": FORMAT, "results": [result.as_dict() for result in results]}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(local_path(path), lambda file: file.write(text.encode()))


def read_results(path: str | os.PathLike[str]) -> list[Result]:
    """The results of a file. Raises ``ForeignResults``."""
    path = local_path(path)
    try:
        content = load_as(dict[str, Any], path.read_bytes())
    except OSError as error:
        raise ForeignResults(f"{path}: {error.strerror}. Name files that `benchmark --output` wrote.") from error
    except ValueError as error:
        raise _foreign(path, error) from error
    if content.get("format") != FORMAT:
        found = content.get("format", "an unknown one")
        raise ForeignResults(f"{path}: results in format {found}; this version reads {FORMAT}.")
    try:
        return cast("list[Result]", read_as(list[Result], content.get("results"), "results"))
    except ValueError as error:
        raise _foreign(path, error) from error


def _foreign(path: str | os.PathLike[str], error: ValueError) -> ForeignResults:
    return ForeignResults(f"{path}: not a file of results: {error}. Name one that `benchmark --output` wrote.")


# --- tables ---------------------------------------------------------------------------------------


def table(results: Iterable[tuple[str, Result]]) -> str:
    """One Markdown table of results and where each came from; within a part, the best comes first.

    Controls, whose labels are shuffled or whose input is another's, come after the others, with no place, as does what
    was recorded. Figures have their interval.

    Raises:
        IncomparableResults: of one part of a task, but not of the same version, split or samples.
    """
    rows = list(results)
    groups: dict[tuple[str, str], list[tuple[str, Result]]] = {}
    for origin, result in rows:
        for part in result.parts:
            groups.setdefault((result.task, part), []).append((origin, result))
    for (task, part), held in groups.items():
        _check_same(task, part, held)
    lines = [
        "| task | part | n | place | model | figures [95 %] | from |",
        "| --- | --- | ---: | ---: | --- | --- | --- |",
    ]
    for (task, part), held in groups.items():
        lines += _part_lines(task, part, held)
    notes = [
        "n: samples (conversations) measured. Intervals: bootstrap over sessions; where they overlap, places mean "
        "little. Of shuffled labels: mean and middle 95 % over shuffles, which is what chance gives here."
    ]
    for (task, part), held in groups.items():
        compared: dict[str, set[Any]] = {
            "what was learnt from": {result.parts[part].train_digest for _, result in held},
            "the groups of features": {tuple(result.groups) for _, result in held if result.groups},
            "the code": {result.code["digest"] for _, result in held},
        }
        notes += [
            f"{task}, {part}: rows differ in {what}, so models of one name may not be the same."
            for what, values in compared.items()
            if len(values) > 1
        ]
    spaces = {_space(measured) for _, result in rows for measured in result.parts.values() if measured.space}
    if spaces:
        notes.append(
            "Motion: `recorded` is what people did, scored as if it had been made; `other input`: made for another "
            "clip of the same participant and conversation. Fréchet distances and diversity are in the space "
            f"{', '.join(sorted(spaces))}."
        )
    if any(result.synthetic for _, result in rows):
        notes.append("Data marked * are synthetic: their figures say nothing about real conversations.")
    return "\n".join([*lines, "", *notes])


def _check_same(task: str, part: str, held: list[tuple[str, Result]]) -> None:
    first_origin, first = held[0]
    for origin, result in held[1:]:
        for what, one, other in (
            ("version of the protocol", first.protocol, result.protocol),
            ("split", first.split, result.split),
            ("samples", first.parts[part].digest, result.parts[part].digest),
            ("space of motion", _space(first.parts[part]), _space(result.parts[part])),
        ):
            if one != other:
                raise IncomparableResults(
                    f"{task}, {part}: {first_origin} and {origin} were not measured on the same data, so there is no "
                    f"order between them. {what}: {one} and {other}. Measure both on one copy, or make two tables."
                )


def _space(measured: Measured) -> Any:
    return measured.space and measured.space["digest"]


def _part_lines(task: str, part: str, held: list[tuple[str, Result]]) -> list[str]:
    entries = [
        (name, figures, origin, result)
        for origin, result in held
        for name, figures in result.parts[part].models.items()
    ]
    counts = held[0][1].parts[part].counts
    size = f"{counts['evaluation']} ({counts['evaluation_interactions']})"
    if not entries:
        return [f"| {task} | {part} | {size} | | | {held[0][1].parts[part].not_measured} | |"]
    entries.sort(key=lambda entry: _order(entry[0], entry[1]))
    lines, place = [], 0
    for name, figures, origin, result in entries:
        is_control = _is_control(name)
        place += not is_control
        shown = "; ".join(f"{metric} {_shown(figure)}" for metric, figure in figures.items())
        where = origin + ("*" if result.synthetic else "")
        lines.append(f"| {task} | {part} | {size} | {'' if is_control else place} | {name} | {shown} | {where} |")
    return lines


def _is_control(name: str) -> bool:
    return name == RECORDED or name.endswith((CONTROL, OTHER_INPUT))


def _order(name: str, figures: dict[str, Figure]) -> tuple[bool, bool, float, str]:
    metric, figure = next(iter(figures.items()))
    value = figure.value
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return _is_control(name), value is None, 0.0 if value is None else sign * value, name


def _shown(figure: Figure) -> str:
    if figure.value is None:
        return "not defined"
    value, *bounds = (f"{round(number, 3) + 0.0:.3f}" for number in figure if number is not None)  # 0.0: no -0.000
    return f"{value} [{', '.join(bounds)}]" if bounds else value
