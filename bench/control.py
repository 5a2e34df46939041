"""
The control: an aiohttp server and one aiohttp ClientSession that pass everything on, and nothing else.

What a programmer writes in an afternoon, done well: no limit on connections, nothing decompressed, chunks written as
they come, cancellation when the client leaves. It has no keys, no failover, no log, no metrics, and judges nothing.
"""

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

TO_PROVIDER = ("Accept", "Authorization", "Content-Type")
TO_CLIENT = ("Content-Type", "Content-Length", "X-Request-ID")


class Forwarder:
    """Sends each request to one provider and its answer back."""

    def __init__(self, upstream: str, session: ClientSession) -> None:
        self._upstream = upstream
        self._session = session

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request."""
        body = await request.read()
        headers = {name: request.headers[name] for name in TO_PROVIDER if name in request.headers}
        async with self._session.request(
            request.method, self._upstream + request.path_qs, data=body, headers=headers
        ) as answer:
            kept = {name: answer.headers[name] for name in TO_CLIENT if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


async def _serve(upstream: str) -> None:
    timeout = ClientTimeout(total=None, sock_connect=5, sock_read=60)
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, auto_decompress=False, timeout=timeout) as session:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", Forwarder(upstream, session).handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
        await site.start()
        print(f"listens on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
