"""
An OpenTelemetry collector as a place to post protobuf to: OTLP over HTTP.

It says what became of each post and logs when that changes, not each time. What is posted and when to try again is its
owner's.
"""

import logging
from collections.abc import Mapping
from enum import Enum
from urllib.parse import quote, urlsplit

from proxy import __version__
from proxy.headers import PSEUDONYM, value_of
from proxy.upstream.connections import Connections
from proxy.upstream.fetch import FetchError, Gathered

_log = logging.getLogger("hapax")

TIMEOUT = 10.0
"""Seconds a collector gets for one post, as the protocol's own exporters give it."""
MOST_ANSWER = 64 * 1024
"""Bytes of an answer that are read."""
_PASSING = frozenset((429, 502, 503, 504))
"""Statuses after which the protocol has the same post tried again."""
_OF_A_PATH = "/%:@!$&'()*+,;=~"
"""What may stand in a path as it is, beside letters, digits and a few marks (RFC 3986 section 3.3)."""


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
        host = parts.netloc.rpartition("@")[2]
        # Neither a password nor a token in the query belongs into a log.
        self._shown = f"{parts.scheme}://{host}{parts.path}"
        ours = {"Host": host, "User-Agent": f"{PSEUDONYM}/{__version__}", "Accept-Encoding": "identity"}
        theirs = {name.lower() for name in headers}
        lines = {name: value for name, value in ours.items() if name.lower() not in theirs}
        lines |= {name: value for name, value in headers.items() if name.lower() != "content-type"}
        lines["Content-Type"] = "application/x-protobuf"
        self._head = f"POST {quote(parts.path, safe=_OF_A_PATH)} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in lines.items()
        )
        self._what = what
        self._connections: Connections | None = None
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
        except FetchError as error:
            self._changed(False, str(error))
            return Fate.LATER, b""
        if 200 <= status < 300:
            self._changed(True, "")
            return Fate.TAKEN, answer
        self._changed(False, f"status {status}")
        return Fate.LATER if status in _PASSING else Fate.NEVER, b""

    async def close(self) -> None:
        """Close the connection."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        if self._connections is None:
            self._connections = Connections(self._url, TIMEOUT)
        gathered = Gathered(MOST_ANSWER, enough=True)
        head = f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
        # A collector does not redirect, and a redirect would not be followed: it would be handed the headers' token.
        answer = await gathered.body(self._connections.send(head, gathered, body=body), TIMEOUT)
        asked = value_of(gathered.headers, b"retry-after")
        if asked is not None and asked.isdigit():
            self.retry_after = float(asked)
        return gathered.status, answer

    def _changed(self, available: bool, why: str) -> None:
        if available is self.available:
            return
        self.available = available
        if available:
            _log.info("collector %s takes %s again", self._shown, self._what)
        else:
            _log.warning("collector %s takes no %s: %s", self._shown, self._what, why)
