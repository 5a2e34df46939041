"""What an operator has changed holds until its end, and only that is told which has held."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from proxy.core import clock
from proxy.observe.verbosity import Verbosity
from proxy.settings import load
from proxy.settings.in_force import InForce
from proxy.settings.live import NONE, LiveChange


async def test_a_change_that_has_ended_before_a_process_began_is_forgotten_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    loaded = load(None, {})
    in_force = InForce(loaded, datetime(2026, 11, 30, tzinfo=UTC))
    in_force.live = LiveChange("debug", None, clock.wall().timestamp() - 3600)
    verbosity = Verbosity(loaded.settings, in_force, None)
    verbosity.start()
    assert in_force.live is NONE
    # Timers that are due run before what is called now returns to this.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    verbosity.stop()
    assert [record.getMessage() for record in caplog.records] == []
