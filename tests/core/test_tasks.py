"""Tasks that are held, ended, repeated, and waited for."""

import asyncio

import pytest

from proxy.core import tasks


async def test_what_is_ended_is_over_and_had_its_chance_to_tidy_up() -> None:
    tidied = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(name)

    one, other = tasks.start(work("one"), "one"), tasks.start(work("other"), "other")
    await asyncio.sleep(0)
    await tasks.end(one, None, other)
    assert (one.cancelled(), other.cancelled(), sorted(tidied)) == (True, True, ["one", "other"])
    await tasks.end(one, None)


async def test_what_is_done_every_so_often_goes_on_until_it_is_ended() -> None:
    rounds = 0
    third = asyncio.Event()

    async def act() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            third.set()

    running = tasks.start(tasks.every(0.0, act), "rounds")
    await third.wait()
    await tasks.end(running)
    assert rounds == 3


@pytest.mark.parametrize("happens", [True, False])
async def test_an_event_is_waited_for_no_longer_than_it_may_take(happens: bool) -> None:
    event = asyncio.Event()
    if happens:
        asyncio.get_running_loop().call_soon(event.set)
    assert await tasks.happens(event, 30.0 if happens else 0.0) is happens
