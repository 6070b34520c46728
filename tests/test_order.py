"""A shuffle without memory: every window once, in an order that says nothing, and the same everywhere."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamless_interaction.conversations.shuffle import Order

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1000, 4095, 4096, 4097, 65_537]


def whole(number, seed=0, epoch=0):
    return Order(number, seed, epoch, shuffle=True)(np.arange(number))


@pytest.mark.parametrize("number", SIZES)
def test_every_window_is_drawn_exactly_once(number):
    for seed in range(3):
        np.testing.assert_array_equal(np.sort(whole(number, seed)), np.arange(number))


@given(st.integers(1, 3000), st.integers(-(2**70), 2**70), st.integers(0, 2**40))
def test_every_window_is_drawn_exactly_once_whatever_seed_and_epoch(number, seed, epoch):
    np.testing.assert_array_equal(np.sort(whole(number, seed, epoch)), np.arange(number))


@given(st.integers(1, 2**62 - 1), st.data())
def test_what_stands_at_a_position_is_a_window_and_does_not_depend_on_what_else_is_asked(number, data):
    order = Order(number, 7, 1, shuffle=True)
    positions = data.draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=20, unique=True))
    windows = order(np.array(positions))
    assert [order(position) for position in positions] == windows.tolist()
    assert len(set(windows.tolist())) == len(positions)
    assert 0 <= windows.min() and windows.max() < number


def test_without_shuffle_windows_stand_as_they_are_numbered():
    order = Order(1000, 3, 4, shuffle=False)
    positions = np.array([5, 0, 999])
    windows = order(positions)
    np.testing.assert_array_equal(windows, [5, 0, 999])
    assert order(17) == 17
    windows[0] = 1
    assert positions[0] == 5  # what the caller gave stays the caller's


def test_another_epoch_and_another_seed_give_another_order():
    orders = [whole(1000, *which) for which in [(0, 0), (0, 1), (1, 0), (1, 1), (10, 0), (0, 10)]]
    for first in range(len(orders)):
        for second in range(first):
            assert (
                orders[first] == orders[second]
            ).sum() < 10  # one is expected of two that know nothing of each other


def test_the_order_is_the_same_on_every_machine():
    assert whole(10, seed=1, epoch=2).tolist() == [1, 4, 6, 9, 7, 2, 0, 8, 3, 5]
    assert Order(10**12, 0, 0, shuffle=True)(np.arange(3)).tolist() == [760226940398, 338593093251, 658974340025]


def test_neighbours_have_nothing_to_do_with_each_other():
    number = 100_000
    windows = whole(number, seed=5)
    bound = 4 / math.sqrt(number)  # four standard deviations of a correlation of independent values
    for apart in (1, 2, 3, 64, 256, 320, 512):
        assert abs(np.corrcoef(windows[:-apart], windows[apart:])[0, 1]) < bound
    assert abs(np.corrcoef(windows, np.arange(number))[0, 1]) < bound
    following = np.mean(np.diff(windows) == 1)
    assert following < 10 / number  # one pair is expected
    cells, _, _ = np.histogram2d(windows[:-1], windows[1:], bins=20)
    expected = (number - 1) / 400
    assert ((cells - expected) ** 2 / expected).sum() < 399 + 5 * math.sqrt(2 * 399)


def test_all_orders_of_few_windows_come_as_often():
    counts = Counter(tuple(whole(4, seed).tolist()) for seed in range(2400))
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 50  # chi-square of 23: 50 once in 1,000


def test_a_million_millions_of_windows_take_no_memory():
    tracemalloc.start()
    order = Order(10**12, 0, 0, shuffle=True)
    windows = order(np.arange(10**12 - 1000, 10**12))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert len(np.unique(windows)) == 1000
    assert windows.max() > 9 * 10**11 > 10**11 > windows.min()


def test_one_position_gives_an_int_and_an_array_its_shape():
    order = Order(100, 0, 0, shuffle=True)
    assert type(order(3)) is int and type(order(np.int64(3))) is int
    windows = order(np.arange(6).reshape(2, 3))
    assert (windows.shape, windows.dtype) == ((2, 3), np.int64)
    assert order(np.array([], int)).shape == (0,)


@pytest.mark.parametrize(("number", "position"), [(10, 10), (10, -1), (0, 0)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_position_beyond_the_last_window_is_refused(number, position, shuffle):
    with pytest.raises(IndexError, match=f"position {position} of {number} windows"):
        Order(number, 0, 0, shuffle)(np.array([position]))
