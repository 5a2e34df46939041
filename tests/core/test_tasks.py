"""Tasks of one owner: known while they run, ended by themselves or cancelled, and gone when that returns."""

import asyncio

import pytest

from proxy.core.tasks import Tasks, end, every, happens, start


async def test_they_are_counted_while_they_run() -> None:
    tasks, go = Tasks(), asyncio.Event()
    assert not tasks
    first, second = (tasks.start(go.wait(), name) for name in ("first", "second"))
    assert (len(tasks), first.get_name()) == (2, "first")
    go.set()
    await asyncio.gather(first, second)
    assert not tasks


async def test_stopping_cancels_them_and_waits_until_they_have_cleaned_up() -> None:
    tasks, began, cleaned = Tasks(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    task = tasks.start(work(), "work")
    await began.wait()
    assert await tasks.stop()
    assert cleaned.is_set()
    assert task.cancelled()
    assert not tasks


async def test_a_task_that_is_started_while_the_others_end_is_stopped_as_well() -> None:
    tasks, began = Tasks(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            tasks.start(asyncio.Event().wait(), "late")

    tasks.start(work(), "work")
    await began.wait()
    assert await tasks.stop()
    assert not tasks


async def test_finishing_lets_them_come_to_their_own_end() -> None:
    tasks, go = Tasks(), asyncio.Event()
    task = tasks.start(go.wait(), "work")
    go.set()
    assert await tasks.finish()
    assert task.result() is True


async def test_finishing_cancels_what_takes_longer_than_it_may() -> None:
    tasks = Tasks()
    task = tasks.start(asyncio.Event().wait(), "work")
    assert await tasks.finish(within=0.001)
    assert task.cancelled()


async def test_where_none_runs_nothing_is_said_to_have_ended() -> None:
    tasks = Tasks()
    assert not await tasks.stop()
    assert not await tasks.finish()


async def test_what_is_ended_is_over_and_had_its_chance_to_tidy_up() -> None:
    tidied = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(name)

    one, other = start(work("one"), "one"), start(work("other"), "other")
    await asyncio.sleep(0)
    await end(one, None, other)
    assert (one.cancelled(), other.cancelled(), sorted(tidied)) == (True, True, ["one", "other"])
    await end(one, None)


async def test_what_is_done_every_so_often_goes_on_until_it_is_ended() -> None:
    rounds = 0
    third = asyncio.Event()

    async def act() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            third.set()

    running = asyncio.get_running_loop().create_task(every(0.0, act))
    await third.wait()
    running.cancel()
    await asyncio.wait({running})
    assert rounds == 3


@pytest.mark.parametrize("comes", [True, False])
async def test_an_event_is_waited_for_no_longer_than_it_may_take(comes: bool) -> None:
    event = asyncio.Event()
    if comes:
        asyncio.get_running_loop().call_soon(event.set)
    assert await happens(event, 30.0 if comes else 0.0) is comes
