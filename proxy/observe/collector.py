"""
An OpenTelemetry collector as a place to post protobuf to: OTLP over HTTP.

It says what became of each post and logs when that changes, not each time. What is posted and when to try again is its
owner's.
"""

import asyncio
import logging
from collections.abc import Mapping
from enum import Enum
from urllib.parse import urlsplit

import aiohttp

from proxy import __version__
from proxy.headers import PSEUDONYM

_log = logging.getLogger("hapax")

TIMEOUT = 10.0
"""Seconds a collector gets for one post, as the protocol's own exporters give it."""
MOST_ANSWER = 64 * 1024
"""Bytes of an answer that are read."""
_PASSING = frozenset((429, 502, 503, 504))
"""Statuses after which the protocol has the same post tried again."""


class Fate(Enum):
    """What became of a post."""

    TAKEN = "taken"
    LATER = "not taken now"
    NEVER = "refused for good"


class Collector:
    """One address of a collector."""

    def __init__(self, endpoint: str, path: str, headers: Mapping[str, str], what: str) -> None:
        """*path* is added to *endpoint* unless it ends so already; *what* is posted, for the log."""
        endpoint = endpoint.rstrip("/")
        self._url = endpoint if endpoint.endswith(path) else endpoint + path
        parts = urlsplit(self._url)
        # Neither a password nor a token in the query belongs into a log.
        self._shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._headers = {
            "User-Agent": f"{PSEUDONYM}/{__version__}",
            **headers,
            "Content-Type": "application/x-protobuf",
        }
        self._what = what
        self._session: aiohttp.ClientSession | None = None
        self.available = True
        """The last post was taken."""
        self.retry_after: float | None = None
        """Seconds the collector asked to be left alone in its last answer, where it did."""

    def __repr__(self) -> str:
        return f"<Collector {self._shown} {'available' if self.available else 'away'}>"

    async def post(self, body: bytes) -> tuple[Fate, bytes]:
        """Send *body*; returns what became of it and, where it was taken, the answer. Takes `TIMEOUT` s at most."""
        self.retry_after = None
        try:
            status, answer = await self._exchange(body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # The text of an error may quote the address, and that a password.
            self._changed(False, type(error).__name__)
            return Fate.LATER, b""
        if 200 <= status < 300:
            self._changed(True, "")
            return Fate.TAKEN, answer
        self._changed(False, f"status {status}")
        return Fate.LATER if status in _PASSING else Fate.NEVER, b""

    async def close(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
            )
        # A collector does not redirect; whoever does would be handed the headers' token.
        async with self._session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as response:
            said = response.headers.get("Retry-After", "")
            if said.isascii() and said.isdigit():
                self.retry_after = float(said)
            return response.status, await _beginning(response.content)

    def _changed(self, available: bool, why: str) -> None:
        if available is self.available:
            return
        self.available = available
        if available:
            _log.info("collector %s takes %s again", self._shown, self._what)
        else:
            _log.warning("collector %s takes no %s: %s", self._shown, self._what, why)


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """An answer's first `MOST_ANSWER` bytes; the rest is left to the closed connection."""
    try:
        return await content.readexactly(MOST_ANSWER)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
