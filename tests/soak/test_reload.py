"""A thousand reloads under two hundred open streams and steady calls."""

from pathlib import Path

import pytest

from tests.rigs.reloading import reloaded
from tests.rigs.simulator import Simulator

pytestmark = pytest.mark.timeout(1200)

MORE = 16 * 2**20
"""
Bytes that a process may grow by from the third tenth of the reloads to the last: 23 KiB for each of them. Until then it
fills what it remembers of calls.
"""


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_thousand_reloads_lose_no_stream_refuse_no_call_and_leave_nothing_behind(
    simulator: Simulator, tmp_path: Path, workers: int
) -> None:
    figures = await reloaded(simulator, tmp_path, 1000, 200, workers)
    print(f"\n{workers} workers: {figures}")
    assert figures.reloads == {"applied": 1000}
    assert set(figures.streams) == {"whole"}
    assert set(figures.calls) == {200}
    assert figures.resident[-1] - figures.resident[2] < MORE * workers
