"""How many bytes were written within a time."""

from proxy.cache.written import SLICES, Written


def test_what_was_written_counts_until_its_time_is_over() -> None:
    written = Written(600.0)
    written.note(10, 0.0)
    written.note(5, 300.0)
    assert written.size(300.0) == 15
    assert written.size(600.0) == 15
    assert written.size(600.0 + 600 / SLICES) == 5
    assert written.size(2000.0) == 0


def test_it_costs_the_same_however_much_is_written() -> None:
    written = Written(60.0)
    for second in range(10_000):
        written.note(1, float(second))
    assert len(written._sizes) <= SLICES + 1
    assert written.size(9999.0) == SLICES + 1


def test_it_is_cleared() -> None:
    written = Written(60.0)
    written.note(1, 0.0)
    written.clear()
    assert written.size(0.0) == 0
