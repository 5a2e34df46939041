"""
Feeds the model: reads the gateway's events as they come, and its pages now and then, for as long as it is let.

A gateway that goes away is asked again until it answers; a key that it refuses ends the reading.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

import aiohttp
import orjson
from aiohttp_sse_client.client import EventSource  # type: ignore[import-untyped]  # it brings no types

from proxy.cli.top.model import AWAY, CONNECTING, LIVE, Model
from proxy.cli.top.source import Away, Missing, Source
from proxy.cli.top.standing import period_began
from proxy.core import tasks

LOOK = 3.0
"""Seconds between two looks at the providers."""
TOGETHER = 0.2
"""Seconds in which further changes of providers are awaited before they are looked at."""
SLOWLY = 30.0
"""Seconds between two looks at keys, usage and the last hour, which cost the gateway more."""
AGAIN = 1.0
"""Seconds after which a gateway that is away is asked again."""
SILENCE = 45.0
"""Seconds without a word after which the connection is lost: the feed sends a comment every 15 (docs/http.md)."""
RECALLED = 1000
"""Calls that are asked for at the beginning: as many as the gateway gives."""
LONGEST_LINE = 2**22
"""Bytes an event may have."""


# It tells of each lost connection, which on a terminal would stand between what is drawn.
logging.getLogger("aiohttp_sse_client").addHandler(logging.NullHandler())
logging.getLogger("aiohttp_sse_client").propagate = False


class Follower:
    """It."""

    def __init__(self, source: Source, model: Model) -> None:
        self.source = source
        self.model = model
        self.state = CONNECTING
        self._changed = asyncio.Event()
        """Something has become of a provider."""
        self._last = ""
        """The id of the last event that was read."""

    async def look_once(self) -> None:
        """Have the model know all that pages tell. Raises Refused and Away."""
        await self.look_at_providers()
        await self._recall()
        await self._slowly()

    async def look_at_providers(self) -> None:
        """The one page that must be there. Raises Refused and Away."""
        page = await self.source.page("/admin/providers")
        if not isinstance(page, dict) or "providers" not in page:
            raise Away("what answers is no hapax")
        self.model.providers_told(page)

    async def look_on(self) -> None:
        """Keep what pages tell up to date while the gateway is there. Raises Refused."""
        loop = asyncio.get_running_loop()
        due = loop.time() + SLOWLY
        while True:
            if await tasks.happens(self._changed, LOOK):
                # What changes together is looked at once.
                await asyncio.sleep(TOGETHER)
                self._changed.clear()
            if self.state != LIVE:
                continue
            # The feed finds out when the gateway is away, and asks again until it is back.
            with suppress(Away, Missing):
                await self.look_at_providers()
                if loop.time() >= due:
                    due = loop.time() + SLOWLY
                    await self._slowly()

    async def follow(self) -> None:
        """Read events, and ask again when the gateway has gone. Raises Refused."""
        while True:
            with suppress(Away, Missing, aiohttp.ClientError, OSError, ValueError):
                # Asked first, since a page tells what is wrong with the key.
                await self.look_at_providers()
                await self._read()
            self.state = AWAY
            await asyncio.sleep(AGAIN)

    async def _read(self) -> None:
        """Events behind the last one that was read, until the stream ends; raises what ended it."""
        headers = {"Last-Event-ID": self._last} if self._last else {}
        options: dict[str, Any] = {
            "session": self.source.session,
            "headers": headers,
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE),
            "read_bufsize": LONGEST_LINE,
            "allow_redirects": False,
            # It would connect again by itself, and then nothing would ask what has happened meanwhile.
            "max_connect_retry": 0,
            "reconnection_time": timedelta(0),
            "on_error": _lost,
        }
        url = self.source.place.url + "/admin/events"
        async with EventSource(url, **options) as events:
            # Behind the beginning of the feed, so that no call falls between them.
            await self._recall()
            await self._slowly()
            self.state = LIVE
            async for event in events:
                self._last = event.last_event_id or self._last
                self.model.happened(event.type or "", orjson.loads(event.data), self.source.now())
                if event.type in ("provider", "breaker", "key", "action"):
                    self._changed.set()

    async def _recall(self) -> None:
        page = await self.source.page_if_there("/admin/calls", limit=str(RECALLED))
        if page is not None:
            self.model.recalled(page, RECALLED, self.source.now())

    async def _slowly(self) -> None:
        """What changes slowly, or costs the gateway more."""
        hour = await self.source.page_if_there("/admin/series", since="1h")
        if hour is not None:
            self.model.hour_told(hour)
        config = await self.source.page_if_there("/admin/config")
        values = {path: each["value"] for path, each in config["values"].items()} if config is not None else {}
        # Keys and what they have spent are told by the store: without one each question would be a fault in the log.
        keys = await self.source.page_if_there("/admin/keys") if values.get("store.url") else None
        if keys is None:
            return
        budgets, begin = self.model.budgets, "limits.default."
        budgets.keys = keys["keys"]
        budgets.defaults = {
            path.removeprefix(begin): int(value or 0) for path, value in values.items() if path.startswith(begin)
        }
        for per in {key["budget"]["per"] for key in keys["keys"] if key["budget"]}:
            since = period_began(per, self.source.now()).isoformat()
            usage = await self.source.page_if_there("/admin/usage", by="key", since=since)
            if usage is not None:
                budgets.spent[per] = {line["group"]: line for line in usage["lines"]}


def _lost() -> None:
    raise ConnectionResetError("the event stream has ended")
