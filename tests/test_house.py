"""The rooms of the package and their order: no import runs up, and none goes round."""

import ast
import re
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path

import seamless_interaction

ROOT = Path(seamless_interaction.__file__).parent
NAME = "seamless_interaction"

# From top to bottom, as in CONTRIBUTING.md. A room may use those below it, and on its own rung those to its right.
LADDER = [
    ["cli"],
    ["evaluation"],
    ["features", "models"],
    ["conversations", "download", "publishing"],
    ["opening"],
    ["check", "selection", "synthetic", "record"],
    ["source"],
    ["formats"],
    ["work", "places"],
    ["errors"],
]
# Beside the ladder: what says something of the script, or is an address that README names.
BESIDE = {"dataset_infos", "view"}
# What the script, which stands below all, uses in its functions.
OF_THE_SCRIPT = {"conversations", "errors", "opening", "places", "publishing", "record", "selection", "source"}


@cache
def modules():
    """Name -> its parsed text; the script's name is that of the package."""
    paths = {NAME: Path(seamless_interaction.__file__)}
    for path in (ROOT / NAME).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        paths[name.removesuffix(".__init__")] = path
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def imports(tree, names):
    """Module and line of each import in a module, lazy ones included, but not what type checkers alone read."""
    unread = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inside in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == NAME:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in names else node.module, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.startswith(f"{NAME}."))


@cache
def arrows():
    """Each import of one module by another: the two, and the line."""
    trees = modules()
    return [(module, target, line) for module, tree in trees.items() for target, line in imports(tree, trees)]


def room(module):
    return (module.split(".") + [""])[1]


def test_every_room_stands_on_the_ladder():
    rooms = {room(module) for module in modules()} - {""} - BESIDE
    assert rooms == {name for rung in LADDER for name in rung}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| rooms, from top to bottom |")[2].partition("\n\n")[0]
    shown = [re.findall(r"`(\w+)(?:\.py)?`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert shown == LADDER


def test_no_import_runs_up_the_ladder():
    place = {name: (rung, column) for rung, names in enumerate(LADDER) for column, name in enumerate(names)}
    wrong = [
        f"{module}, line {line}: {target}"
        for module, target, line in arrows()
        if room(target)
        and room(module) != room(target)
        and not (room(module) in BESIDE or (not room(module) and room(target) in OF_THE_SCRIPT))
        and place.get(room(target), (-1, 0)) <= place.get(room(module), (99, 0))
    ]
    assert not wrong
    assert {room(target) for module, target, _ in arrows() if not room(module)} == OF_THE_SCRIPT


def test_no_module_leads_back_to_itself():
    """Within a room, too; the script and what it holds aside."""
    used = defaultdict(dict)
    for module, target, line in arrows():
        if module != NAME and target not in (NAME, module):
            used[module][target] = line
    done, circles = set(), []

    def visit(module, path):
        if module in path:
            circle = [*path[path.index(module) :], module]
            circles.append([f"{one}, line {used[one][target]}: {target}" for one, target in pairwise(circle)])
        elif module not in done:
            for target in sorted(used[module]):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(used):
        visit(module, [])
    assert not circles
