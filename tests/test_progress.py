"""What is told of something long while it goes."""

import pytest

from seamless_interaction.work.progress import Meter


@pytest.fixture
def meter(monkeypatch):
    monkeypatch.setattr("time.monotonic", iter(range(1000)).__next__)  # a second between looks at the clock
    return Meter()


def test_what_is_counted_has_no_bytes(meter):
    meter.begin(12, 0)
    assert str(meter) == "0 of 12"
    for _ in range(3):
        meter.came(5)
        meter.done(0)
    assert str(meter).startswith("3 of 12, about ") and meter.share == (3, 12)


def test_few_files_that_are_no_mean_do_not_decide_what_is_to_come(meter):
    """Texts and absent files come first, and are far from what means make of them."""
    meter.begin(1000, 10_000_000)
    assert str(meter) == "0 of 1,000 files, 0 B of about 10.00 MB, 0 B/s"
    meter.came(12)
    meter.done(5_000)
    assert 9_000_000 < meter.total < 11_000_000
    for _ in range(499):  # all of them half as large as expected
        meter.came(5_000)
        meter.done(10_000)
    assert meter.total == pytest.approx(5_000_000, rel=0.1)


def test_at_the_end_all_is_done(meter):
    meter.begin(2, 100)
    for _ in range(2):
        meter.came(80)
        meter.done(50)
    assert meter.share == (160, 160) and str(meter).startswith("2 of 2 files, 160 B of about 160 B")
