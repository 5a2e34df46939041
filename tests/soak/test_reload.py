"""A thousand reloads under two hundred open streams and steady calls."""

from pathlib import Path

import pytest

from proxy.simulator import Simulator
from tests.rigs.reloading import reloaded

pytestmark = pytest.mark.timeout(1200)

MORE = 24 * 2**20
"""Bytes that the process may have grown by from the first tenth of the reloads to the last: 27 KiB for each."""


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_thousand_reloads_lose_no_stream_refuse_no_call_and_leave_nothing_behind(
    simulator: Simulator, tmp_path: Path, workers: int
) -> None:
    figures = await reloaded(simulator, tmp_path, 1000, 200, workers)
    print(f"\n{workers} workers: {figures}")
    assert figures.reloads == {"applied": 1000}
    assert set(figures.streams) == {"whole"}
    assert set(figures.calls) == {200}
    assert figures.resident[-1] - figures.resident[0] < MORE
