"""Reading tars: what could be done at the least, what we do, and what others do, with the same recordings."""

from __future__ import annotations

import importlib.util

import data
import measure
from bench import MB, Bench, Row, Table
from contenders import QUESTIONS, WAYS, Question, exact_members
from runs import Run, check, middle, run

OURS, AGAIN = "ours from tars", "ours from tars, again"
BUILDER, TOLD, LIBRARY = "datasets' webdataset", "  told the types", "webdataset library"
KEPT = "np.load/json.loads, kept"

# Least bytes of all (a share) and most times as fast as the best of `datasets`' own builder: steady, then from cold.
TARGETS = {"transcripts": (0.005, 100, 20), "one array": (0.03, 20, None)}
MOST_OF_NP_LOAD = 1.2

DATASET_BYTES, DATASET_RECORDINGS = 24.95e12, 129_370


def rounds(bench: Bench, question: str) -> dict[str, list[Run]]:
    """Every way in turn, A B C, B C A, …, each time with an empty cache; "again" with the one that ours has left."""
    names = [name for name in WAYS if name not in (AGAIN, LIBRARY)]
    if importlib.util.find_spec("webdataset"):
        names.append(LIBRARY)
    runs: dict[str, list[Run]] = {name: [] for name in [*WAYS] if name in names or name == AGAIN}
    for number in range(bench.sizes.tar_rounds):
        first = number * len(names) // bench.sizes.tar_rounds
        for name in names[first:] + names[:first]:
            folder, cache = str(bench.same[WAYS[name].layout].folder), bench.fresh()
            runs[name].append(run(name, question, folder, cache))
            if name == OURS:
                runs[AGAIN].append(run(AGAIN, question, folder, cache))
    check(question, {name: of[0].found for name, of in runs.items() if WAYS[name].finds == "all"})
    return runs


def archives(bench: Bench) -> list[Row | Table]:
    """The three questions: everything but media, one array, transcripts."""
    payload = data.num_bytes(*bench.same["archives"].folder.rglob("*.tar"))
    findings: list[Row | Table] = [_shares(bench, payload)]
    for name, question in QUESTIONS.items():
        runs = rounds(bench, name)
        findings += [_table(bench, name, runs, payload), *_rows(bench, name, question, runs, payload)]
    if not importlib.util.find_spec("webdataset"):
        findings.append(Row("webdataset library", "skipped: pip install webdataset"))
    return findings


def _shares(bench: Bench, payload: int) -> Table:
    """What the tars are made of."""
    bundles = bench.same["bundles"].folder
    sizes = [data.num_bytes(*bundles.glob(f"*/*/*/*/*.{name}")) for name in ("mp4", "wav", "npz", "json")]
    recordings = len(bench.same["archives"].corpus.recordings)
    return Table(
        f"tars: {payload / MB:.0f} MB, {recordings} recordings of {bench.sizes.tar_seconds:g} s, pictures a sixth of "
        "the real size:\nof the dataset, whoever reads everything reads more, and arrays are a smaller part",
        [
            ("", "MB a recording", "video", "audio", "arrays", "texts"),
            ("here", f"{payload / recordings / MB:.0f}", *(f"{size / sum(sizes):.1%}" for size in sizes)),
            ("the dataset", f"{DATASET_BYTES / DATASET_RECORDINGS / MB:.0f}", "70%", "", "7.6%", ""),
        ],
    )


def _table(bench: Bench, question: str, runs: dict[str, list[Run]], payload: int) -> Table:
    best = {name: middle(of) for name, of in runs.items()}
    mine = best[OURS]
    lines = [
        ("", "start-up s", "steady s", "cold s", "steady / ours", "cold / ours", "MB read", "% of tars", "memory MB")
    ]
    for name, of in best.items():
        lines.append(
            (
                name,
                f"{of.startup:.3f}",
                f"{of.steady:.3f}",
                f"{of.cold:.3f}",
                f"{of.steady / mine.steady:.2f}",
                f"{of.cold / mine.cold:.2f}",
                *_bytes(of, payload, "*" if name == "ours from a tree" and QUESTIONS[question].arrays else ""),
                f"{of.memory / MB:.0f}",
            )
        )
    notes = ["; *: it maps arrays, which is not counted"] if QUESTIONS[question].arrays else []
    mine_found = sum(mine.found)
    notes += [
        f"; {name.strip()} finds {sum(of.found)} of {mine_found} values and texts"
        for name, of in best.items()
        if WAYS[name].finds == "less" and of.found != mine.found
    ]
    return Table(f"{question}: median of {bench.sizes.tar_rounds} rounds{''.join(notes)}", lines)


def _bytes(of: Run, payload: int, mark: str) -> tuple[str, str]:
    return ("?", "?") if of.bytes < 0 else (f"{of.bytes / MB:.2f}{mark}", f"{of.bytes / payload:.2%}")


def _ratio(runs: dict[str, list[Run]], one: str, other: str, figure: str) -> measure.Ratio:
    seconds = {name: [getattr(run, figure) for run in runs[name]] for name in (one, other)}
    return measure.Seconds(seconds).ratio(one, other)


def _rows(bench: Bench, name: str, question: Question, runs: dict[str, list[Run]], payload: int) -> list[Row]:
    if name == "everything":
        ratio = _ratio(runs, OURS, KEPT, "steady")
        again = _ratio(runs, AGAIN, KEPT, "cold")
        return [
            Row(
                "everything from tars / np.load of the members, kept",
                str(ratio),
                f"at most {MOST_OF_NP_LOAD}",
                ratio.median <= MOST_OF_NP_LOAD,
            ),
            Row("  start-up included, index kept from before", str(again)),
        ]
    share, steady_target, cold_target = TARGETS[name]
    mine = middle(runs[OURS])
    exact = sum(member.size for member in exact_members(bench.same["archives"].folder, question))
    rows = [
        Row(
            f"{name} from tars: bytes, the index's included",
            f"{_bytes(mine, payload, '')[1]} (its own are {exact / payload:.2%})",
            f"at most {share:.1%}",
            mine.bytes <= share * payload if mine.bytes >= 0 else None,
        )
    ]
    if question.arrays:
        rows.append(Row("  steady / np.load of the members, kept", str(_ratio(runs, OURS, KEPT, "steady"))))
    theirs = min((BUILDER, TOLD), key=lambda way: middle(runs[way]).cold)
    for figure, target in (("steady", steady_target), ("cold", cold_target)):
        ratio = _ratio(runs, theirs, OURS, figure)
        goal = f"at least {target}" if target else ""
        rows.append(
            Row(
                f"  datasets' webdataset / ours, {figure}", str(ratio), goal, ratio.median >= target if target else None
            )
        )
    return rows
