"""The feed of one worker of several: what happened at its peers, in its place and to those who asked for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from proxy.admin import feed
from proxy.admin.feed import Feed
from proxy.core import tasks
from proxy.core.exchange import Exchange
from tests.spec.loop import until


class Workers:
    """Peers, of whom each is asked as it would be over the supervisor: in JSON."""

    asker = ""

    def __init__(self) -> None:
        self.feeds: list[Feed] = []
        self.asked = 0

    async def ask(self, what: str, of: Any = None) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)
        return [orjson.loads(orjson.dumps(each.own_after(orjson.loads(orjson.dumps(of))))) for each in self.feeds]


class Two:
    """A worker that is followed, and another one."""

    def __init__(self) -> None:
        self.others = Workers()
        self.thought = "healthy"
        self.here = self.worker("here", self.others)
        self.there = self.worker("there", Workers())
        self.others.feeds.append(self.there)

    def worker(self, name: str, peers: Workers) -> Feed:
        return Feed(lambda exchange: {"id": exchange.id}, lambda: {("provider", "a"): self.thought}, peers, name)

    def calls(self, where: Feed, *names: str) -> None:
        """Calls that end now."""
        for name in names:
            exchange = Exchange(name)
            exchange.route, exchange.ended = "/v1/chat/completions", feed.clock.now()
            where.ended([exchange])


@asynccontextmanager
async def following(one: Feed, last: str | None = None) -> AsyncIterator["Reader"]:
    """A reader of *one*, whose first look at the peers is over."""
    before = len(one._readers)
    reader = Reader(one, last)
    try:
        await until(lambda: len(one._readers) > before and one._looked.is_set())
        yield reader
    finally:
        await reader.leave()


class Reader:
    """Reads what happens."""

    def __init__(self, one: Feed, last: str | None) -> None:
        self.last = ""
        self._events = one.follow(last)
        self._next: asyncio.Task[bytes] = tasks.start(self._read(), "next event")

    async def reads(self, many: int) -> list[str]:
        """The next *many* events: of a call its id, of a change the new state."""
        found = []
        for _ in range(many):
            async with asyncio.timeout(30):
                event = await self._next
            self._next = tasks.start(self._read(), "next event")
            id, _, data = event.decode().split("\n")[:3]
            self.last = id.removeprefix("id: ")
            about = orjson.loads(data.removeprefix("data: "))
            found.append(about.get("id") or about.get("state") or f"missed {about['events']}")
        return found

    async def _read(self) -> bytes:
        return await anext(self._events)

    async def leave(self) -> None:
        self._next.cancel()
        await asyncio.gather(self._next, return_exceptions=True)
        await self._events.aclose()


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Two:
    monkeypatch.setattr(feed, "LOOK", 0.001)
    return Two()


async def test_a_new_reader_gets_nothing_of_what_happened_before_it_came(two: Two) -> None:
    async with following(two.here) as reader:
        two.calls(two.there, "one")
        assert await reader.reads(1) == ["one"]
    two.calls(two.there, "old there")
    two.calls(two.here, "old here")
    async with following(two.here) as reader:
        two.calls(two.there, "two")
        assert await reader.reads(1) == ["two"]
        two.calls(two.here, "three")
        assert await reader.reads(1) == ["three"]
        # One beside it neither.
        async with following(two.here) as other:
            two.calls(two.there, "four")
            assert await other.reads(1) == ["four"]


async def test_what_another_worker_did_from_the_very_moment_a_reader_came_is_told(two: Two) -> None:
    reader = Reader(two.here, None)
    await asyncio.sleep(0)
    assert not two.others.asked
    two.calls(two.there, "at once")
    assert await reader.reads(1) == ["at once"]
    await reader.leave()


async def test_one_that_comes_back_reads_what_all_workers_did_meanwhile_in_the_order_of_time(two: Two) -> None:
    async with following(two.here) as reader:
        two.calls(two.here, "one")
        two.calls(two.there, "two")
        assert sorted(await reader.reads(2)) == ["one", "two"]
        last = reader.last
    for name in "abcdef":
        two.calls(two.there if name in "acf" else two.here, name)
    async with following(two.here, last) as reader:
        assert await reader.reads(6) == list("abcdef")
        two.calls(two.there, "g")
        assert await reader.reads(1) == ["g"]
        last = reader.last
    async with following(two.here, last) as reader:
        two.calls(two.here, "h")
        assert await reader.reads(1) == ["h"]


async def test_a_worker_that_was_born_while_no_client_read_is_read_from_its_beginning(two: Two) -> None:
    async with following(two.here) as reader:
        two.calls(two.here, "one")
        assert await reader.reads(1) == ["one"]
        last = reader.last
    two.others.feeds.append(third := two.worker("third", Workers()))
    two.calls(third, "two")
    async with following(two.here, last) as reader:
        assert await reader.reads(1) == ["two"]


async def test_what_does_not_fit_is_counted_as_missed(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_KEPT", 4)
    two.others.feeds.clear()
    two.here, two.there = two.worker("here", two.others), two.worker("there", Workers())
    two.others.feeds.append(two.there)
    async with following(two.here) as reader:
        two.calls(two.here, "one")
        assert await reader.reads(1) == ["one"]
        last = reader.last
    for name in "abcdef":
        two.calls(two.there if name in "ace" else two.here, name)
    async with following(two.here, last) as reader:
        assert await reader.reads(5) == ["missed 2", *"cdef"]


async def test_a_change_at_another_worker_is_told_and_one_that_is_old_is_not(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.here._standing = dict
    async with following(two.here) as reader:
        two.thought = "unhealthy"
        assert await reader.reads(1) == ["unhealthy"]
        last = reader.last
    monkeypatch.setattr(feed, "NO_LOOK", 0.0)
    two.thought = "healthy"
    async with following(two.here) as reader:
        two.calls(two.there, "one")
        assert await reader.reads(1) == ["one"]
    async with following(two.here, last) as reader:
        assert await reader.reads(2) == ["healthy", "one"]
