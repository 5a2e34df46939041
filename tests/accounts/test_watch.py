"""Keys of the store in the processes that serve: how soon a change is known, and what happens without the store."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy import event, insert, text, update

from proxy.accounts import tables, watch
from proxy.accounts.asked import NewKey
from proxy.accounts.keys import Keys
from proxy.accounts.principals import Principals
from proxy.accounts.secret import digest, mint
from proxy.accounts.store import Store
from proxy.accounts.watch import PATIENCE, KeyWatch
from proxy.core import clock
from tests.accounts.scripts import begin_script
from tests.rigs.clock import at_most
from tests.rigs.postgres import Postgres


class Process:
    """What one process that serves has: a store of its own, its principals, and the watch between them."""

    def __init__(self, url: str, *, timeout: float = 30.0, interval: float = 0.5) -> None:
        self.store = Store(url, timeout=timeout)
        self.keys = Keys(self.store)
        self.principals = Principals([], None, has_store=True)
        self.watch = KeyWatch(self.keys, self.principals, interval=interval)

    def knows(self, secret: str) -> bool:
        return self.principals.find(secret) is not None

    async def until(self, secret: str, known: bool) -> float:
        """Seconds until *secret* is *known*, or is not."""
        began = time.monotonic()
        async with asyncio.timeout(30):
            while self.knows(secret) is not known:  # noqa: ASYNC110  # nothing tells when a watch has looked
                await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def stop(self) -> None:
        await self.watch.stop()
        await self.store.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a second may not be what a look fails for."""
    monkeypatch.setattr(watch, "PATIENCE", 60.0)


@pytest.fixture
async def process(store_url: str) -> AsyncIterator[Process]:
    running = Process(store_url)
    await running.watch.start()
    yield running
    await running.stop()


def statements(store: Store) -> list[str]:
    """The statements executed from now on."""
    executed: list[str] = []
    event.listen(
        store._reader.sync_engine,
        "after_cursor_execute",
        lambda connection, cursor, statement, *rest: executed.append(statement),
    )
    return executed


async def test_keys_there_were_are_known_from_the_start(store_url: str) -> None:
    first = Process(store_url)
    _, secret = await first.keys.create(NewKey(name="web"))
    _, revoked = await first.keys.create(NewKey(name="gone"))
    await first.keys.revoke("gone")
    await first.watch.start()
    assert first.watch.reachable
    assert (first.knows(secret), first.knows(revoked)) == (True, False)
    await first.stop()


async def test_an_empty_store_leaves_the_gateway_open_and_the_first_key_closes_it(process: Process) -> None:
    assert process.principals.open
    await process.keys.create(NewKey(name="web"))
    await process.watch.look_again()
    assert not process.principals.open


async def test_every_change_is_known_in_other_processes_within_a_second(process: Process, store_url: str) -> None:
    other = Process(store_url)
    await other.watch.start()
    for name in ("a", "b"):
        _, secret = await process.keys.create(NewKey(name=name))
        assert await other.until(secret, True) < at_most(1)
        *_, rotated = await process.keys.rotate(name, 3600)
        assert await other.until(rotated, True) < at_most(1)
        assert other.knows(secret)
        await process.keys.revoke(name)
        assert await other.until(rotated, False) < at_most(1)
        assert not other.knows(secret)
    await other.stop()


async def test_a_key_revoked_by_the_command_is_refused_within_a_second(
    process: Process, store_url: str, tmp_path: Path
) -> None:
    _, secret = await process.keys.create(NewKey(name="web"))
    assert await process.until(secret, True) < at_most(1)
    (tmp_path / "hapax.yaml").write_text(yaml.safe_dump({"store": {"url": store_url}}))
    script = """
        import sys
        from proxy.cli.command import app
        app(["keys", "revoke", "web", "--yes", "--config", sys.argv[1]])
    """
    command = await begin_script(script, str(tmp_path / "hapax.yaml"))
    assert process.knows(secret)
    await command.communicate()
    assert command.returncode == 0
    assert await process.until(secret, False) < at_most(1)


async def test_looking_again_sees_every_change_made_before(process: Process, store_url: str) -> None:
    other = Process(store_url, interval=60)
    await other.watch.start()
    for number in range(5):
        _, secret = await process.keys.create(NewKey(name=f"key-{number}"))
        assert not other.knows(secret)
        assert await other.watch.look_again()
        assert other.knows(secret)
    await other.stop()


async def test_looking_for_changes_asks_for_one_number(process: Process) -> None:
    await process.keys.create(NewKey(name="web"))
    await process.watch.look_again()
    executed = statements(process.store)
    for _ in range(3):
        await process.watch.look_again()
    asked = [statement for statement in executed if "BEGIN" not in statement]
    assert len(asked) >= 3
    assert all("FROM versions" in statement for statement in asked)


async def test_ten_thousand_bogus_keys_in_a_second_cause_eleven_reads_at_most(process: Process) -> None:
    await process.watch.look_again()
    executed = statements(process.store)
    began = time.monotonic()
    waiting: set[asyncio.Task[bool]] = set()
    async with asyncio.TaskGroup() as group:
        for hundredth in range(100):
            waiting.update(group.create_task(process.watch.look_again()) for _ in range(100))
            await asyncio.sleep(max(0.0, began + hundredth / 100 - time.monotonic()))
    took = time.monotonic() - began
    assert len(waiting) == 10_000
    assert all(task.result() for task in waiting)
    reads = sum("versions" in statement for statement in executed)
    # One at the beginning, and one that falls between the last look and the end of the second.
    assert 1 <= reads <= took / watch.SPACING + 2


async def test_a_key_made_while_bogus_ones_storm_is_found_at_once(process: Process, store_url: str) -> None:
    maker = Process(store_url)
    storm = True

    async def bogus() -> None:
        while storm:
            await process.watch.look_again()

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(bogus())
        for number in range(3):
            _, secret = await maker.keys.create(NewKey(name=f"key-{number}"))
            assert await process.watch.look_again()
            assert process.knows(secret)
        storm = False
    await maker.stop()


async def test_without_a_store_known_keys_go_on_and_two_lines_are_logged(
    postgres_url: str, server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    # Only this test has the watch look: not while the server is about to end, which would be another line.
    process = Process(postgres_url, interval=3600)
    _, secret = await process.keys.create(NewKey(name="web"))
    await process.watch.start()
    with caplog.at_level(logging.INFO, "hapax"):
        server.stop()
        for _ in range(5):
            assert not await process.watch.look_again()
        assert not process.watch.reachable
        assert process.knows(secret)
        await server.start()
        assert await process.watch.look_again()
        assert process.watch.reachable
    await process.stop()
    first, second = caplog.records
    assert (first.levelname, second.levelname) == ("WARNING", "INFO")
    assert "Connect call failed" in first.getMessage()


async def test_while_the_server_hangs_no_caller_waits_longer_than_a_second_and_it_heals(
    postgres_url: str, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(postgres_url, timeout=60.0)
    await process.watch.start()
    monkeypatch.setattr(watch, "PATIENCE", PATIENCE)
    server.freeze()
    began = time.monotonic()
    assert await asyncio.gather(*(process.watch.look_again() for _ in range(100))) == [False] * 100
    assert time.monotonic() - began < at_most(PATIENCE + 0.3)
    server.thaw()
    _, secret = await process.keys.create(NewKey(name="web"))
    assert await process.until(secret, True) < at_most(1)
    assert process.watch.reachable
    await process.stop()


async def test_a_store_that_is_away_at_the_start_is_not_waited_for_and_read_later(
    postgres_url: str, server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    maker = Process(postgres_url)
    _, secret = await maker.keys.create(NewKey(name="web"))
    await maker.stop()
    server.stop()
    process = Process(postgres_url)
    with caplog.at_level(logging.WARNING, "hapax"):
        await process.watch.start()
    assert len(caplog.records) == 1
    assert not process.watch.reachable
    assert not process.principals.open
    await server.start()
    assert await process.until(secret, True) < at_most(2)
    await process.stop()


async def test_a_file_laid_over_from_a_backup_is_taken_as_it_is(process: Process) -> None:
    _, kept = await process.keys.create(NewKey(name="kept"))
    _, lost = await process.keys.create(NewKey(name="lost"))
    await process.watch.look_again()
    assert (process.knows(kept), process.knows(lost)) == (True, True)
    async with process.store.writing() as connection:
        await connection.execute(text("DELETE FROM keys WHERE name = 'lost'"))
        await connection.execute(text("UPDATE versions SET value = 1"))
    await process.watch.look_again()
    assert (process.knows(kept), process.knows(lost)) == (True, False)


async def test_an_unforeseen_error_does_not_end_the_watch(process: Process) -> None:
    async with process.store.writing() as connection:
        await connection.execute(text("ALTER TABLE versions RENAME TO hidden"))
    assert not await process.watch.look_again()
    async with process.store.writing() as connection:
        await connection.execute(text("ALTER TABLE hidden RENAME TO versions"))
    _, secret = await process.keys.create(NewKey(name="web"))
    assert await process.until(secret, True) < at_most(1)


async def test_a_stopped_watch_looks_no_more(store_url: str) -> None:
    process = Process(store_url)
    assert not await process.watch.look_again()
    await process.watch.start()
    waiting = asyncio.gather(*(process.watch.look_again() for _ in range(3)))
    await asyncio.sleep(0)
    await process.watch.stop()
    assert await waiting == [False] * 3
    assert not await process.watch.look_again()
    await process.stop()


async def test_a_hundred_thousand_keys_are_read(store_url: str) -> None:
    process = Process(store_url)
    secret = mint()
    async with process.store.writing(timeout=60) as connection:
        for begin in range(0, 100_000, 5000):
            rows = [
                {
                    "name": f"key-{number}",
                    "digest": digest(secret if number == 99_999 else str(number)),
                    "prefix": "hpx_abcdef",
                    "team": f"team-{number % 100}",
                    "models": '["gpt-*", "o1"]',
                    "routes": '["*"]',
                    "limits": f'{{"requests_per_minute": {number % 50}}}',
                    "budget": '{"usd": 5, "per": "day"}',
                    "created": 1,
                    "expires": None if number % 10 else round((clock.wall() + timedelta(days=1)).timestamp() * 1000),
                    "seq": number + 1,
                }
                for number in range(begin, begin + 5000)
            ]
            await connection.execute(insert(tables.keys), rows)
        await connection.execute(update(tables.versions).values(value=100_000))
    await process.watch.start()
    assert process.knows(secret)
    assert len(process.principals) == 100_000
    some = [process.principals.find(str(number)) for number in (0, 50)]
    assert some[0] is not None
    assert some[1] is not None
    assert some[0].limits is some[1].limits
    await process.stop()
