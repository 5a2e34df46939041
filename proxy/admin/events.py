"""
`GET /admin/events`: the feed as an event stream (WHATWG HTML section 9.2), for as long as its reader stays.

A browser's EventSource sends no key; `fetch` does, and so do curl and aiohttp-sse-client.
"""

from aiohttp import web

from proxy.admin.feed import Feed
from proxy.http.inbound import INBOUND


class Events:
    """The handler."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Every event from now on, or from behind the one in `Last-Event-ID`."""
        inbound = request[INBOUND]
        answer = inbound.answer
        answer.start(200, [(b"Content-Type", b"text/event-stream; charset=utf-8")], None, streamed=True)
        answer.push(b": events of calls, providers, breakers and keys\n\n")
        async for event in self._feed.follow(inbound.request.headers.get("last-event-id")):
            answer.push(event)
            await answer.room()
        answer.finish()
        return answer
