"""Conditions on windows: what they match, and what is refused."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seamless_interaction.conversations.condition import MAX_DEPTH, MAX_LENGTH, Where
from seamless_interaction.errors import InvalidExpression, UnknownQuantity, UsageError

NAN = np.nan
COLUMNS = {
    "speech": np.array([0.0, 0.25, 0.5, 1.0, NAN]),
    "valid": np.array([1.0, 0.5, 0.0, NAN, 1.0]),
    "words": np.array([0, 3, 7, 2, 5]),
    "paired": np.array([True, False, True, True, False]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("speech > 0.25", "00110"),
        ("speech >= 0.25 and valid < 0.9", "01100"),
        ("speech < 0.1 or speech > 0.9", "10010"),
        ("not speech > 0.25", "11000"),
        ("0 < speech <= 0.5", "01100"),
        ("0.4 < speech > valid", "00100"),
        ("words == 7", "00100"),
        ("words != 7", "11011"),
        ("words * 2 - 1 >= 5 + 0", "01101"),
        ("words / 2 == 1.5", "01000"),
        ("-words < -4", "00101"),
        ("1 - (words + 1) < -4", "00101"),
        ("2 * words + 1 == 7", "01000"),
        ("words == 3 or words == 7 and paired == 0", "01000"),
        ("(words == 3 or words == 7) and paired == 0", "01000"),
        ("not (words == 3 or words == 7)", "10011"),
        ("not words == 3 and words < 7", "10011"),
        ("paired == 1", "10110"),
        ("1e3 > words", "11111"),
        ("1 < 2", "11111"),
        ("2 < 1", "00000"),
        ("  speech > 0.25\n", "00110"),
    ],
)
def test_what_matches_is_what_the_text_says(text, expected):
    found = Where(text, COLUMNS)(COLUMNS)
    assert found.dtype == bool
    assert "".join("01"[int(match)] for match in found) == expected


@pytest.mark.parametrize(
    "text",
    ["valid != 2", "not valid > 2", "not valid == valid", "words >= 0 or valid > 0", "valid != valid or words >= 0"],
)
def test_a_window_of_which_a_named_quantity_is_unknown_never_matches(text):
    found = Where(text, COLUMNS)(COLUMNS)
    assert not found[3]
    assert text == "not valid == valid" or found[[0, 1, 2, 4]].all()


def test_the_quantities_named_are_told_once_each_in_their_order():
    where = Where("words > 1 and (speech > 0.1 or -words < 0) and valid * speech > 0", COLUMNS)
    assert where.names == ("words", "speech", "valid")
    assert Where("1 < 2", COLUMNS).names == ()


def test_only_the_quantities_named_are_looked_at():
    np.testing.assert_array_equal(Where("words > 2", COLUMNS)({"words": np.array([1, 5])}), [False, True])


def test_no_windows_give_no_matches():
    assert Where("words > 2", ["words"])({"words": np.zeros(0)}).shape == (0,)


def test_a_division_by_zero_warns_of_nothing_and_is_infinite():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Where("words / (words - words) > 100", COLUMNS)(COLUMNS)
        assert Where("1 / 0 > 100", COLUMNS)(COLUMNS).all()
    np.testing.assert_array_equal(found, [False, True, True, True, True])


def test_the_columns_given_are_not_changed():
    before = {name: column.copy() for name, column in COLUMNS.items()}
    Where("not -words + speech / valid > 0 and paired == 1", COLUMNS)(COLUMNS)
    for name, column in COLUMNS.items():
        np.testing.assert_array_equal(column, before[name])


def test_a_condition_goes_to_another_process():
    where = pickle.loads(pickle.dumps(Where("  words > 2", COLUMNS)))
    assert (where.names, repr(where)) == (("words",), "Where('words > 2')")
    np.testing.assert_array_equal(where(COLUMNS), Where("words > 2", COLUMNS)(COLUMNS))


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("speech", "'speech' is a number"),
        ("  speech + 1", "as 'speech + 1 > 0.5'"),
        ("speech > 1 and valid", "'valid' is a number"),
        ("not speech", "'speech' is a number"),
        ("1", "'1' is a number"),
        ("(speech > 1) + 1 > 1", "'speech > 1' is true or false"),
        ("-(speech > 1) > 1", "'speech > 1' is true or false"),
        ("(not speech > 1) > 0", "'not speech > 1' is true or false"),
        ("(speech > 1) == (valid > 1)", "'speech > 1' is true or false"),
        ("(speech and valid) > 0", "'speech and valid' is true or false"),
        ("open('x') > 1", "\"open('x')\" is not allowed"),
        ("speech.real > 1", "'speech.real' is not allowed"),
        ("speech[0] > 1", "'speech[0]' is not allowed"),
        ("speech > 'a'", "\"'a'\" is not allowed"),
        ("speech > True", "'True' is not allowed"),
        ("speech == None", "'None' is not allowed"),
        ("True", "'True' is not allowed"),
        ("1j > speech", "'1j' is not allowed"),
        ("speech ** 2 > 1", "'speech ** 2' is not allowed"),
        ("speech % 2 > 1", "'speech % 2' is not allowed"),
        ("+speech > 1", "'+speech' is not allowed"),
        ("~speech > 1", "'~speech' is not allowed"),
        ("speech if valid > 1 else words", "'speech if valid > 1 else words' is not allowed"),
        ("lambda: 1", "'lambda: 1' is not allowed"),
        ("(x := 1) > 0", "'x := 1' is not allowed"),
        ("[1] > speech", "'[1]' is not allowed"),
        ("f'{speech}' > 1", "is not allowed"),
        ("speech in valid", "'speech in valid' compares by something else"),
        ("speech is valid", "'speech is valid' compares by something else"),
        ("speech & valid > 1", "'speech & valid' is not allowed"),
        ("speech > " + "9" * 400, "is too large a number"),
        ("speech >", "invalid syntax, at 'speech >'"),
        ("speech = 1", "not a condition"),
        ("speech > 0.2 && valid > 1", "& valid > 1"),
        ("import os", "at "),
        ("", "not a condition"),
        ("speech > 1\nvalid > 1", "at 'valid > 1'"),
        ("speech > 1\x00", "null"),
        ("speech > \ud800", "cannot be read"),
        ("a" * (MAX_LENGTH + 1), f"{MAX_LENGTH + 1} characters"),
        ("(" * 400 + "speech" + ")" * 400 + " > 1", "not a condition"),
        ("-" * 900 + "speech > 1", "not a condition"),
        ("not " * 240 + "speech > 1", f"more than {MAX_DEPTH} pieces"),
        ("speech" + "+1" * 400 + " > 1", f"more than {MAX_DEPTH} pieces"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_piece_and_what_is_allowed(text, piece):
    with pytest.raises(InvalidExpression) as caught:
        Where(text, COLUMNS)
    assert isinstance(caught.value, UsageError)
    assert piece in str(caught.value)
    assert "comparisons, and, or, not" in str(caught.value)


def test_what_is_no_text_is_refused():
    with pytest.raises(InvalidExpression, match="text is needed, this is function"):
        Where(lambda: True, COLUMNS)


def test_a_text_as_deep_as_allowed_is_worked_out():
    np.testing.assert_array_equal(
        Where("words" + "+1" * (MAX_DEPTH - 4) + f" > {MAX_DEPTH - 2}", COLUMNS)(COLUMNS),
        [False, True, True, False, True],
    )
    assert Where("not " * (MAX_DEPTH - 4) + "words >= 0", COLUMNS)(COLUMNS).all()


def test_unknown_quantities_are_named_with_those_that_look_like_them():
    with pytest.raises(
        UnknownQuantity, match=r"unknown quantity: 'speach'\. Did you mean 'speech'\? Known: speech, valid"
    ):
        Where("speach > 1 and valid > 0", COLUMNS)
    with pytest.raises(UnknownQuantity) as caught:
        Where("b > a", iter(["c", "d"]))
    assert (caught.value.names, caught.value.known) == (["b", "a"], ["c", "d"])


def test_a_power_tower_costs_nothing():
    tracemalloc.start()
    with pytest.raises(InvalidExpression):
        Where("9**9**9**9 > speech", COLUMNS)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


PIECES = [
    "speech",
    "valid",
    "words",
    "0.5",
    "2",
    "+",
    "-",
    "*",
    "/",
    "<",
    "<=",
    "==",
    "and",
    "or",
    "not",
    "(",
    ")",
    ".",
    "[",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join) | st.text(max_size=30))
@example("speech < ( words or 2 )")
def test_any_text_is_a_condition_or_one_of_two_errors(text):
    try:
        where = Where(text, COLUMNS)
    except (InvalidExpression, UnknownQuantity):
        return
    names = {name: COLUMNS[name] for name in where.names}
    found = where(COLUMNS)
    with np.errstate(all="ignore"):
        for row in range(5):  # what Python itself makes of one row
            scalars = {name: np.float64(column[row]) for name, column in names.items()}
            known = not any(np.isnan(value) for value in scalars.values())
            try:
                expected = known and bool(eval(text.strip(), {"__builtins__": {}}, scalars))
            except ZeroDivisionError:  # of two plain numbers, which Python does not take for infinite
                continue
            assert found[row] == expected, (text, row)
