"""The files this process holds open that have no name: what is kept of uploads."""

import asyncio
from pathlib import Path

PATIENCE = 30.0


def nameless() -> list[str]:
    """Where they were."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            place = str(link.readlink())
        except OSError:
            continue
        if place.endswith("(deleted)"):
            found.append(place)
    return found


async def until_nameless(count: int) -> None:
    """Returns once there are *count* of them."""
    async with asyncio.timeout(PATIENCE):
        while len(nameless()) != count:  # noqa: ASYNC110 - a thread makes them and gives them back
            await asyncio.sleep(0.005)
