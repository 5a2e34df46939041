"""Where objects live, remembered in memory and in the store: what one process was told, the others find."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from proxy.accounts import homes, objects, tables
from proxy.accounts.engines import Statement
from proxy.accounts.homes import Home
from proxy.accounts.objects import Objects
from proxy.accounts.retention import Retention
from proxy.accounts.store import Store
from proxy.core import clock
from tests.spec.wire import becomes

Start = Callable[..., Awaitable[Objects]]
MINE = Home("a", "k1", "web", "front")
DAY = 24 * 3600.0


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    running: list[Objects] = []

    async def begin(store: Store | None, **more: bool) -> Objects:
        running.append(Objects(store, **more))
        await running[-1].start()
        return running[-1]

    yield begin
    for each in running:
        await each.stop()


async def rows(store: Store) -> list[tuple[str, ...]]:
    async with store.reading() as connection:
        found = (await connection.execute(tables.objects.select().order_by("id", "principal"))).mappings()
        return [(row["id"], row["provider"], row["account"], row["principal"], row["team"]) for row in found]


async def test_what_one_process_was_told_another_finds(store: Store, start: Start) -> None:
    mine, other = await start(store), await start(store)
    mine.remember(["file-1", "file-2"], *("a", "k1", "web", "front"))
    await mine.settled()
    found = await other.find(["file-2", "file-3"], fresh=True)
    assert found == {"file-2": (MINE,)}
    assert await rows(store) == [(name, "a", "k1", "web", "front") for name in ("file-1", "file-2")]


async def test_what_was_told_a_moment_ago_is_found_though_it_is_not_written_yet(store: Store, start: Start) -> None:
    mine, other = await start(store), await start(store)

    async def tell() -> None:
        mine.remember(["resp_1"], *("a", "k1", "", ""))

    found, _ = await asyncio.gather(other.find(["resp_1"], fresh=True), tell())
    assert found == {"resp_1": (Home("a", "k1", "", ""),)}


async def test_it_outlasts_the_process(store: Store) -> None:
    first = Objects(store)
    await first.start()
    first.remember([f"resp_{n}" for n in range(120)], *("a", "k1", "web", "front"))
    await first.stop()
    again = Objects(store)
    assert await again.find(["resp_119"]) == {"resp_119": (MINE,)}


async def test_an_id_that_two_made_has_two_homes(store: Store, start: Start) -> None:
    # Servers that count from 1 after each start give the same id again.
    mine, other = await start(store), await start(store)
    mine.remember(["file-1"], *("a", "k1", "web", "front"))
    mine.remember(["file-1"], *("a", "k1", "desk", ""))
    await mine.settled()
    both = {MINE, Home("a", "k1", "desk", "")}
    for each in (mine, other):
        found = await each.find(["file-1"])
        assert found is not None
        assert set(found["file-1"]) == both


async def test_what_is_deleted_is_found_by_none(store: Store, start: Start) -> None:
    mine = await start(store)
    mine.remember(["file-1", "file-2"], *("a", "k1", "web", "front"))
    await mine.settled()
    mine.forget("file-1")
    assert await mine.find(["file-1"]) == {}
    await mine.settled()
    assert [row[0] for row in await rows(store)] == ["file-2"]
    mine.remember(["file-1"], *("a", "k1", "web", "front"))
    await mine.settled()
    assert [row[0] for row in await rows(store)] == ["file-1", "file-2"]


async def test_without_a_store_it_is_remembered_while_there_is_room(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "KNOWN", 2)
    mine = await start(None)
    for name in ("a", "b"):
        mine.remember([name], *("p", "k", "", ""))
    await mine.find(["a"])
    mine.remember(["c"], *("p", "k", "", ""))
    assert set(await mine.find(["a", "b", "c"]) or ()) == {"a", "c"}


async def test_while_the_store_is_away_what_is_known_is_known_and_the_rest_cannot_be_told(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(objects, "RETRY", 0.01)
    away = Store("postgresql://nobody:x@127.0.0.1:1/none", timeout=1)
    mine = await start(away)
    with caplog.at_level(logging.INFO, "hapax"):
        mine.remember(["file-1"], *("a", "k1", "web", "front"))
        await mine.settled()
        await becomes(lambda: not mine.available)
    assert await mine.find(["file-1"]) == {"file-1": (MINE,)}
    assert await mine.find(["file-2"]) is None
    assert (mine.waiting, sum("takes no homes" in message for message in caplog.messages)) == (1, 1)
    monkeypatch.setattr(objects, "STOP_WITHIN", 0.01)
    await mine.stop()
    await away.close()


async def test_what_could_not_be_written_is_written_when_the_store_is_back(
    store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RETRY", 0.01)
    mine = await start(store)
    write, failing = store.write, True

    async def sometimes(statements: Sequence[Statement]) -> None:
        if failing:
            raise objects.StoreError("gone")
        await write(statements)

    monkeypatch.setattr(store, "write", sometimes)
    mine.remember(["file-1", "file-2"], *("a", "k1", "web", "front"))
    await becomes(lambda: not mine.available)
    mine.forget("file-2")
    failing = False
    await becomes(lambda: mine.available and not mine.waiting)
    assert [row[0] for row in await rows(store)] == ["file-1"]


async def test_too_much_that_waits_costs_the_oldest(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WAITING", 2)
    mine = Objects(Store("postgresql://nobody:x@127.0.0.1:1/none", timeout=1))
    mine.remember(["1", "2", "3"], *("a", "k", "", ""))
    assert (mine.waiting, mine.dropped_total) == (2, 1)


async def test_what_is_used_is_kept_and_what_is_not_goes(
    store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = 0.0
    now, wall = clock.now, clock.wall
    monkeypatch.setattr(clock, "now", lambda: now() + days * DAY)
    monkeypatch.setattr(clock, "wall", lambda: wall() + timedelta(days=days))
    monkeypatch.setattr(homes, "BATCH", 1)
    mine, other = await start(store), await start(store)
    mine.remember(["used", "found", "left"], *("a", "k1", "web", "front"))
    await mine.settled()
    days = 60.0
    await mine.find(["used"])
    await other.find(["found"])
    await mine.settled()
    await other.settled()
    days = 100.0
    retention = Retention(store, 0.0, 90 * DAY)
    assert (await retention.delete_objects(), await retention.delete()) == (1, 0)
    assert [row[0] for row in await rows(store)] == ["found", "used"]
    assert await Retention(store, 0.0, 0.0).delete_objects() == 0


async def test_an_id_no_database_takes_is_known_here_alone(store: Store, start: Start) -> None:
    mine = await start(store)
    mine.remember(["nul\0", "well"], *("a", "k1", "web", "front"))
    await mine.settled()
    assert await mine.find(["nul\0"]) == {"nul\0": (MINE,)}
    assert await mine.find(["other\0"]) == {}
    assert [row[0] for row in await rows(store)] == ["well"]
