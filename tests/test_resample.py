"""Rows between rows: which are taken, what is between them, and that nothing invalid gets in."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from seamless_interaction.conversations.resample import at_positions

SENTINEL = np.float32(1e13)
HOWS = ("nearest", "linear", "rotation")
VECTORS = st_np.arrays(np.float64, (3,), elements=st.floats(-1, 1).filter(lambda x: x == 0 or abs(x) > 1e-6))


def matrix(vector):
    """The rotation matrix of a rotation vector (Rodrigues)."""
    angle = np.linalg.norm(vector)
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def angle_of(rotation):
    """How far a rotation matrix turns, 0 to pi."""
    axis = [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    return np.arctan2(np.linalg.norm(axis), np.trace(rotation) - 1)


def between(first, second, share, dtype=np.float64):
    rows, mask = at_positions(np.array([first, second], dtype), None, np.array([share]), "rotation")
    assert mask.all() and rows.dtype == dtype
    return rows[0].astype(np.float64)


def of_length(vector, length):
    norm = np.linalg.norm(vector)
    assume(norm > 0)
    return vector / norm * length


# --- which rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("first", "count"), [(0, 10), (3, 4), (-2, 5), (8, 5), (-3, 20), (-9, 4), (10, 3), (12, 2)])
def test_whole_positions_in_a_row_give_the_rows_and_nothing_beyond_them(how, first, count):
    values = np.random.default_rng(0).normal(size=(10, 4, 3)).astype("float32")
    valid = np.arange(10) % 3 > 0
    noise = np.random.default_rng(1).uniform(-9e-7, 9e-7, count)
    for jitter in (0, noise):
        rows, mask = at_positions(values, valid, np.arange(first, first + count) + jitter, how)
        numbers = np.arange(first, first + count)
        here = (numbers >= 0) & (numbers < 10)
        np.testing.assert_array_equal(rows[here], values[numbers[here]])
        np.testing.assert_array_equal(mask[here], valid[numbers[here]])
        assert not rows[~here].any() and not mask[~here].any()


@pytest.mark.parametrize("how", HOWS)
def test_what_is_given_is_a_copy(how):
    values = np.ones((6, 3), "float32")
    for positions in (np.arange(6.0), np.array([0.0, 2.0]), np.array([0.5])):
        rows, _ = at_positions(values, np.ones(6, bool), positions, how)
        rows[:] = 7
    assert (values == 1).all()


@pytest.mark.parametrize("how", HOWS)
def test_a_position_within_a_millionth_of_a_row_is_that_row_bit_for_bit(how):
    values = np.random.default_rng(0).uniform(-4, 4, (8, 2, 3)).astype("float32")
    numbers = np.array([0, 5, 2, 2, 7, 1])
    rows, _ = at_positions(values, None, numbers + np.array([-9e-7, 9e-7, 0, 1e-12, 9e-7, -9e-7]), how)
    assert rows.tobytes() == values[numbers].tobytes()


def test_the_nearest_row_is_the_earlier_one_of_two_as_near():
    values = np.arange(4, dtype="int16")
    positions = np.array([-0.5, -0.4, 0.5, 0.5 + 1e-9, 0.51, 1.5, 2.49, 2.5, 3.49])
    rows, mask = at_positions(values, None, positions, "nearest")
    assert rows.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3]
    assert mask.all() and rows.dtype == values.dtype


@pytest.mark.parametrize("how", HOWS)
def test_rows_reach_half_a_row_beyond_the_first_and_the_last_and_nothing_beyond(how):
    values = np.full((3, 3), 0.5, "float32")
    rows, mask = at_positions(values, None, np.array([-100, -0.501, -0.5, -0.2, 2.2, 2.499, 2.5, 1e9]), how)
    assert mask.tolist() == [False, False, True, True, True, True, False, False]
    np.testing.assert_array_equal(rows[mask], values[[0, 0, 2, 2]])
    assert not rows[~mask].any()


@pytest.mark.parametrize("how", HOWS)
def test_nothing_gives_nothing(how):
    for positions in (np.arange(4.0), np.array([0.3, -2, 7]), np.zeros(0)):
        rows, mask = at_positions(np.zeros((0, 21, 3), "float32"), np.zeros(0, bool), positions, how)
        assert (rows.shape, rows.dtype, mask.dtype) == ((len(positions), 21, 3), np.float32, bool)
        assert not rows.any() and not mask.any()
    rows, mask = at_positions(np.ones((5, 3), "float32"), None, np.zeros(0), how)
    assert rows.shape == (0, 3) and mask.shape == (0,)


def test_a_single_row_is_held_for_its_own_length():
    rows, mask = at_positions(np.array([[1.0, 2.0, 3.0]]), np.array([True]), np.array([-0.4, 0.3, 0.6]), "linear")
    assert rows.tolist() == [[1, 2, 3], [1, 2, 3], [0, 0, 0]]
    assert mask.tolist() == [True, True, False]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (133, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_shape_keeps_shape_and_dtype(shape, dtype):
    values = np.random.default_rng(0).normal(size=(9, *shape)).astype(dtype)
    rows, _ = at_positions(values, None, np.linspace(0, 8, 23), "linear")
    assert (rows.shape, rows.dtype) == ((23, *shape), values.dtype)
    flat = values.reshape(9, -1)
    expected = [np.interp(np.linspace(0, 8, 23), np.arange(9), column) for column in flat.T.astype("float64")]
    np.testing.assert_allclose(rows.reshape(23, -1).T, expected, atol=1e-6 if dtype == "float32" else 1e-14)


def test_an_unknown_way_is_an_error():
    with pytest.raises(KeyError):
        at_positions(np.zeros((2, 3)), None, np.array([0.5]), "cubic")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_stays_so_without_a_warning_and_without_touching_the_rest(how, number):
    values = np.random.default_rng(0).normal(size=(10, 4, 3)).astype("float32")
    broken = values.copy()
    broken[[3, 4, 7]], broken[5] = number, -number
    positions = np.arange(9) + 0.25
    rows, mask = at_positions(broken, None, positions, how)
    touched = [3, 4, 5, 7] if how == "nearest" else [2, 3, 4, 5, 6, 7]
    assert mask.all() and not np.isfinite(rows[touched]).any()
    expected, _ = at_positions(values, None, positions, how)
    np.testing.assert_allclose(np.delete(rows, touched, 0), np.delete(expected, touched, 0), atol=1e-6)


# --- masks ----------------------------------------------------------------------------------------


@given(
    st.lists(st.booleans(), min_size=1, max_size=12), st.lists(st.floats(-2, 14), max_size=30), st.sampled_from(HOWS)
)
def test_nothing_of_an_invalid_row_gets_into_a_valid_one(valid, positions, how):
    valid, positions = np.array(valid), np.array(positions, float)
    values = np.random.default_rng(0).uniform(1, 2, (len(valid), 3)).astype("float32")
    values[~valid] = SENTINEL
    rows, mask = at_positions(values, valid, positions, how)
    _, expected = at_positions(valid, valid, positions, "nearest")
    np.testing.assert_array_equal(mask, expected)
    assert ((rows[mask] > 0.9) & (rows[mask] < 2.1)).all()
    inside = (positions >= -0.5) & (positions < len(valid) - 0.5)
    assert (rows[inside & ~mask] == SENTINEL).all()  # the nearest row's own, which the mask disowns
    assert not rows[~inside].any()


def test_beside_an_invalid_row_the_nearest_row_is_held():
    values = np.array([0.0, 10.0, 1e13, 30.0, 40.0], "float32")
    valid = np.array([True, True, False, True, True])
    rows, mask = at_positions(values, valid, np.array([0.25, 1.25, 1.75, 2.25, 2.75, 3.25]), "linear")
    assert rows.tolist() == [2.5, 10, np.float32(1e13), np.float32(1e13), 30, 32.5]
    assert mask.tolist() == [True, True, False, False, True, True]


# --- rotations ------------------------------------------------------------------------------------


@given(VECTORS, VECTORS, st.floats(0, 4.71), st.floats(0, 4.71), st.floats(0.001, 0.999))
@example(np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.pi, np.pi, 0.5)
@example(np.array([1.0, 0, 0]), np.array([1.0, 0, 0]), 3.0, 3.3, 0.5)  # through pi
@example(np.array([1.0, 0, 0]), np.array([-1.0, 0, 0]), 3.0, 3.0, 0.5)  # through pi, in the vectors' other half
@example(np.array([1.0, 0, 0]), np.array([1.0, 0, 0]), 4.7, 4.7 - 2 * np.pi, 0.3)  # one rotation, two vectors
@settings(deadline=None)
def test_a_rotation_between_two_is_on_the_shortest_turn_at_its_share(one, other, length, other_length, share):
    first, second = of_length(one, length), of_length(other, other_length)
    start, end = matrix(first), matrix(second)
    whole = angle_of(start.T @ end)
    assume(whole < np.pi - 1e-4)  # at half a turn there are two shortest ones
    found = matrix(between(first, second, share))
    assert angle_of(start.T @ found) == pytest.approx(share * whole, abs=1e-7)
    assert angle_of(found.T @ end) == pytest.approx((1 - share) * whole, abs=1e-7)


@given(VECTORS, VECTORS, st.floats(0, 4.71), st.floats(0, 4.71))
@settings(deadline=None)
def test_halfway_turned_twice_is_the_whole_way(one, other, length, other_length):
    first, second = of_length(one, length), of_length(other, other_length)
    start, end = matrix(first), matrix(second)
    assume(angle_of(start.T @ end) < np.pi - 1e-4)
    half = start.T @ matrix(between(first, second, 0.5))
    np.testing.assert_allclose(start @ half @ half, end, atol=1e-7)


@given(VECTORS, VECTORS, st.floats(0, 4.71), st.floats(0, 4.71), st.floats(0.001, 0.999))
@example(np.array([0.0, 0, 1]), np.array([0.0, 0, 1]), 0.0, 4.502389471310359e-159, 0.5)
@settings(deadline=None)
def test_the_same_rotation_by_another_vector_gives_the_same_between(one, other, length, other_length, share):
    first, second = of_length(one, length), of_length(other, other_length)
    assume(angle_of(matrix(first).T @ matrix(second)) < np.pi - 1e-4)
    expected = matrix(between(first, second, share))
    around = of_length(second, other_length - 2 * np.pi) if other_length else second
    # The cosine of nearly a whole turn tells the angle that is left to 4e-7.
    np.testing.assert_allclose(matrix(between(first, around, share)), expected, atol=1e-6)


@given(VECTORS, VECTORS, st.floats(0, 4.71), st.floats(0, 4.71), st.floats(0.001, 0.999))
@settings(deadline=None)
def test_mirrored_rotations_have_the_mirrored_one_between(one, other, length, other_length, share):
    first, second = of_length(one, length), of_length(other, other_length)
    np.testing.assert_allclose(between(-first, -second, share), -between(first, second, share), atol=1e-12)


@given(VECTORS, st.floats(0, 4.71), st.floats(0, 1.5), st.floats(0.001, 0.999))
@settings(deadline=None)
def test_about_one_axis_lengths_are_on_a_line_also_beyond_pi(axis, length, more, share):
    first, second = of_length(axis, length), of_length(axis, length + more)
    np.testing.assert_allclose(between(first, second, share), of_length(axis, length + share * more), atol=1e-7)


@pytest.mark.parametrize(
    "length", [0.0, 1e-300, 1e-12, 1e-7, np.pi - 1e-9, np.pi, np.pi + 1e-9, 4.71, 2 * np.pi - 1e-9, 2 * np.pi]
)
@pytest.mark.parametrize("step", [0.0, 1e-300, 1e-12, 1e-8, 1e-5, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiny_turns_and_those_near_pi_and_two_pi_are_exact(length, step, dtype):
    axis = np.array([0.48, -0.6, 0.64])
    across = np.array([0.8, 0.64, 0.0]) / np.hypot(0.8, 0.64)
    first, second = axis * length, axis * length + across * step
    found = between(first, second, 0.25, dtype)
    start, end = matrix(first.astype(dtype).astype(float)), matrix(second.astype(dtype).astype(float))
    whole = angle_of(start.T @ end)
    tolerance = 2e-6 if dtype == np.float32 else 1e-8
    assert angle_of(start.T @ matrix(found)) == pytest.approx(0.25 * whole, abs=tolerance)
    assert angle_of(matrix(found).T @ end) == pytest.approx(0.75 * whole, abs=tolerance)


def test_equal_rotations_have_themselves_between():
    values = np.random.default_rng(3).uniform(-2.7, 2.7, (1, 21, 3)).repeat(2, axis=0)
    rows, _ = at_positions(values, None, np.array([0.3, 0.5]), "rotation")
    np.testing.assert_allclose(rows, values, atol=1e-12)


def test_every_joint_and_time_is_worked_out_by_itself():
    values = np.random.default_rng(4).uniform(-2.7, 2.7, (7, 5, 3))
    valid = np.array([1, 1, 0, 1, 1, 1, 1], bool)
    positions = np.array([0.2, 5.9, 3.5, 2.8, 0.2, 6.4, 1.0])
    rows, _ = at_positions(values, valid, positions, "rotation")
    for place, position in enumerate(positions):
        for joint in range(5):
            alone, _ = at_positions(values[:, joint], valid, np.array([position]), "rotation")
            np.testing.assert_allclose(rows[place, joint], alone[0], atol=1e-12)
