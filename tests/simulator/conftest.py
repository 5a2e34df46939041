from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rigs.simulator import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running
