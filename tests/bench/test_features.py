"""What the feed costs a call while it has no reader."""

from bench.features import FEED_MOST, feed_without_reader
from tests.rigs.clock import at_most


def test_a_feed_without_a_reader_costs_a_call_less_than_a_microsecond() -> None:
    assert feed_without_reader() < at_most(FEED_MOST)
