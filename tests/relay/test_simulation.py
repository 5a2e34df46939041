"""Thousands of interleavings of calls, faults, timers and clients that leave, on a clock that is only a number."""

import asyncio
import logging

import pytest

from proxy.core import clock
from tests.relay.simulation import World

pytestmark = pytest.mark.as_python
"""Its provider is a script in the place of an `Endpoint`."""

CHUNKS = 20
SEEDS_EACH = 300


@pytest.fixture
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product reads the time of the loop it runs in, and logs nothing about ten thousand breakers."""
    monkeypatch.setattr(logging.getLogger("hapax"), "disabled", True)
    monkeypatch.setattr(clock, "now", lambda: asyncio.get_running_loop().time())


@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_happens_the_rules_hold(chunk: int) -> None:
    for seed in range(chunk * SEEDS_EACH, (chunk + 1) * SEEDS_EACH):
        World(seed).run()


@pytest.mark.usefixtures("virtual_clock")
def test_a_seed_tells_the_same_story_every_time() -> None:
    for seed in range(100):
        # (Those who are cut in one moment are cut in no particular order.)
        assert sorted(World(seed).run().events) == sorted(World(seed).run().events)
