"""
An OpenTelemetry collector as a place to post protobuf to, and the way there by HTTP.

It says what became of each post and logs when that changes, not each time. What is posted and when to try again is its
owner's; the way by gRPC stands in `grpc_collector`.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from urllib.parse import quote, urlsplit

from proxy import __version__
from proxy.core.headers import PSEUDONYM
from proxy.upstream.control_plane import ControlPlane, FetchError

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


class Collector(ABC):
    """One address of a collector."""

    def __init__(self, shown: str, what: str) -> None:
        """*shown*: the address without any secret; *what* is posted, for the log."""
        self._shown = shown
        self._what = what
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
            fate, answer, why = await self._sent(body)
        except Exception as error:
            # What cannot be sent is lost, and its sender goes on. Told by its type, since its text may quote a header.
            fate, answer, why = Fate.NEVER, b"", type(error).__name__
        available = fate is Fate.TAKEN
        if available is not self.available:
            self.available = available
            if available:
                _log.info("collector %s takes %s again", self._shown, self._what)
            else:
                told = {"fields": {"event": f"{self._what}.export.error"}}
                _log.warning("collector %s takes no %s: %s", self._shown, self._what, why, extra=told)
        return fate, answer

    @abstractmethod
    async def stop(self) -> None:
        """Close what is held open for it alone."""

    @abstractmethod
    async def _sent(self, body: bytes) -> tuple[Fate, bytes, str]:
        """What became of *body*, the answer where it was taken, and why where it was not."""


class HttpCollector(Collector):
    """One that is posted to over HTTP/1.1."""

    def __init__(self, control: ControlPlane, endpoint: str, path: str, headers: Mapping[str, str], what: str) -> None:
        """*path* is added to *endpoint* unless it ends so already or *path* is empty; *what* is posted, for the log."""
        if path:
            endpoint = endpoint.rstrip("/")
        parts = urlsplit(endpoint if endpoint.endswith(path) else endpoint + path)
        host, target = parts.netloc.rpartition("@")[2], parts.path or "/"
        # Neither a password nor a token in the query belongs into a log.
        super().__init__(f"{parts.scheme}://{host}{target}", what)
        self._url = f"{parts.scheme}://{host}{quote(target, safe=_OF_A_PATH)}"
        ours = {"Host": host, "User-Agent": f"{PSEUDONYM}/{__version__}", "Accept-Encoding": "identity"}
        theirs = {name.lower() for name in headers}
        lines = {name: value for name, value in ours.items() if name.lower() not in theirs}
        lines |= {name: value for name, value in headers.items() if name.lower() != "content-type"}
        lines["Content-Type"] = "application/x-protobuf"
        self._headers = list(lines.items())
        self._control = control

    async def stop(self) -> None:
        """Nothing: the session of the control plane has other users."""

    async def _sent(self, body: bytes) -> tuple[Fate, bytes, str]:
        # A collector does not redirect, and a redirect is not followed: it would be handed the headers' token.
        try:
            status, headers, answer = await self._control.ask(
                "POST", self._url, self._headers, body, TIMEOUT, TIMEOUT, MOST_ANSWER, enough=True
            )
        except FetchError as error:
            return Fate.LATER, b"", str(error)
        asked = headers.get("Retry-After", "")
        if asked.isascii() and asked.isdigit():
            self.retry_after = float(asked)
        if 200 <= status < 300:
            return Fate.TAKEN, answer, ""
        return Fate.LATER if status in _PASSING else Fate.NEVER, b"", f"status {status}"
