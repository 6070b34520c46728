"""Conditions on windows, as text: ``speech > 0.2 and smplh_valid > 0.9``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from itertools import pairwise

import numpy as np

from seamless_interaction.errors import InvalidExpression, UnknownQuantity

MAX_LENGTH = 1000  # characters
MAX_DEPTH = 100  # pieces within pieces: a condition is worked out by functions that call each other

_Columns = Mapping[str, np.ndarray]
_Function = Callable[[_Columns], np.ndarray]

_COMPARISONS: dict[type[ast.cmpop], Callable] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_JUNCTIONS: dict[type[ast.boolop], Callable] = {ast.And: np.logical_and, ast.Or: np.logical_or}


class Where:
    """A condition on quantities, as a function of their columns. Nothing in the text is ever run.

    Names, numbers, ``+ - * /``, comparisons (``0.2 < speech <= 0.8`` as well), ``and``, ``or``, ``not``, parentheses.
    A window of which a quantity that the text names is not known (NaN) never matches, whatever the text says of it.

    A number divided by zero is infinite.

    Args:
        text: the condition, at most ``MAX_LENGTH`` characters, and ``MAX_DEPTH`` pieces within pieces.
        known: the quantities that there are.

    Attributes:
        text: the condition.
        names: the quantities that it names, in its order.

    Raises:
        InvalidExpression: with the piece that is none of these, or where nothing is compared.
        UnknownQuantity: a name that is not among ``known``.

    >>> where = Where("not speech < 0.5", known=["speech"])
    >>> where({"speech": np.array([0.2, 0.8, np.nan])})
    array([False,  True, False])
    """

    def __init__(self, text: str, known: Iterable[str]):
        root = _parse(text)
        self.text = text.strip()
        self._function = self._condition(root)
        names = [node for node in ast.walk(root) if isinstance(node, ast.Name)]
        names.sort(key=lambda node: (node.lineno, node.col_offset))
        self.names = tuple(dict.fromkeys(node.id for node in names))
        known = list(known)
        if unknown := [name for name in self.names if name not in known]:
            raise UnknownQuantity(unknown, known)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...]]]:
        return type(self), (self.text, self.names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which windows match, (windows,) bool.

        Args:
            columns: at least those of ``names``, (windows,) of any number type, or bool.
        """
        values = {name: np.asarray(columns[name], np.float64) for name in self.names}
        matches = np.ones(next((len(column) for column in columns.values()), 0), bool)
        for column in values.values():
            matches &= ~np.isnan(column)
        with np.errstate(all="ignore"):  # a division by zero is no news
            matches &= self._function(values)
        return matches

    def _condition(self, node: ast.expr) -> _Function:
        """What is true or false of each window."""
        if isinstance(node, ast.BoolOp):
            join, parts = _JUNCTIONS[type(node.op)], [self._condition(value) for value in node.values]
            return lambda columns: reduce(join, (part(columns) for part in parts))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            part = self._condition(node.operand)
            return lambda columns: np.logical_not(part(columns))
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        self._number(node)  # what is not allowed at all is said before that it is not compared
        piece = self._piece(node)
        raise InvalidExpression(
            self.text, f"{piece!r} is a number, and not true or false; compare it, as '{piece} > 0.5'"
        )

    def _comparison(self, node: ast.Compare) -> _Function:
        for sign in node.ops:
            if type(sign) not in _COMPARISONS:
                raise InvalidExpression(
                    self.text, f"{self._piece(node)!r} compares by something else than < <= > >= == !="
                )
        signs = [_COMPARISONS[type(sign)] for sign in node.ops]
        sides = [self._number(side) for side in (node.left, *node.comparators)]

        def compare(columns: _Columns) -> np.ndarray:
            values = pairwise(side(columns) for side in sides)
            return reduce(np.logical_and, (sign(*pair) for sign, pair in zip(signs, values, strict=True)))

        return compare

    def _number(self, node: ast.expr) -> _Function:
        """What is a number for each window."""
        if isinstance(node, ast.Name):
            name = node.id
            return lambda columns: columns[name]
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            value = self._constant(node)
            return lambda columns: value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            part = self._number(node.operand)
            return lambda columns: -part(columns)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            join, left, right = _ARITHMETIC[type(node.op)], self._number(node.left), self._number(node.right)
            return lambda columns: join(left(columns), right(columns))
        if isinstance(node, (ast.BoolOp, ast.Compare)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise InvalidExpression(self.text, f"{self._piece(node)!r} is true or false, and a number is needed there")
        raise InvalidExpression(self.text, f"{self._piece(node)!r} is not allowed")

    def _constant(self, node: ast.Constant) -> np.ndarray:
        try:
            return np.asarray(float(node.value))  # type: ignore[arg-type]
        except OverflowError as error:
            raise InvalidExpression(self.text, f"{self._piece(node)!r} is too large a number") from error

    def _piece(self, node: ast.expr) -> str:
        piece = ast.get_source_segment(self.text, node) or ast.unparse(node)
        return piece if len(piece) <= 60 else f"{piece[:59]}…"


def _parse(text: str) -> ast.expr:
    if not isinstance(text, str):
        raise InvalidExpression(repr(text), f"text is needed, this is {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise InvalidExpression(text, f"{len(text)} characters, at most {MAX_LENGTH} are read")
    try:
        root = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        line = (error.text or "").strip("\n")
        near = line[max(0, (error.offset or 1) - 1) :][:20] or "the end"
        raise InvalidExpression(text, f"{error.msg}, at {near!r}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidExpression(text, f"it cannot be read ({error or type(error).__name__})") from error
    pieces: list[ast.AST] = [root]
    for _ in range(MAX_DEPTH):
        pieces = [part for piece in pieces for part in ast.iter_child_nodes(piece)]
    if pieces:
        raise InvalidExpression(text, f"more than {MAX_DEPTH} pieces within pieces")
    return root
