"""
One provider's API as the relay calls it: base URL, credentials, and the exact head of each request.

Every head is built here from our own parts, never relayed. Which target to ask with which key, and what an answer
means, is decided elsewhere.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from proxy import __version__
from proxy.core.headers import PSEUDONYM, TO_PROVIDER
from proxy.upstream.connections import Connections
from proxy.upstream.http_call import HttpCall
from proxy.upstream.presets import OPENAI_PATHS, Preset
from proxy.upstream.source import Source
from proxy.upstream.tunnel import ForwardProxy
from proxy.upstream.wire import Sink

LONGEST_JOINED = 16 * 1024
"""Bytes of a body that is joined with its head; a longer one would only be held twice until it is answered."""


class Endpoint:
    """Where one provider's requests go."""

    def __init__(
        self,
        name: str,
        preset: Preset,
        base_url: str,
        keys: Sequence[str],
        extra_headers: Sequence[tuple[str, str]],
        connect_timeout: float,
        forward_proxy: str = "",
        kind: str = "",
    ) -> None:
        """
        Of *keys* the caller says by index which goes on a request. *extra_headers* go on every request and win over
        ours and the client's. *forward_proxy*: the URL of what leads to the provider; empty: nothing does. *kind*: the
        provider's type.
        """
        self.source = Source(kind, tuple(keys))
        """The author of what comes from here."""
        base_url = base_url.rstrip("/")
        if preset.path_suffix and not base_url.endswith(preset.path_suffix):
            base_url += preset.path_suffix
        self.name = name
        self.base_url = base_url
        self.connect_timeout = connect_timeout
        self.forward_proxy = forward_proxy
        self.models_path = "/models" + preset.models_query
        self.model_prefix = preset.model_prefix
        parts = urlsplit(base_url)
        self.tunnels_plain_http = bool(forward_proxy) and parts.scheme == "http"
        """It is reached through a proxy that has to lead to it by CONNECT although there is no TLS."""
        self._base_path = parts.path
        self._extra_names = {name.lower().encode() for name, _ in extra_headers}
        fixed = [
            ("Host", parts.netloc.rpartition("@")[2]),
            ("User-Agent", f"{PSEUDONYM}/{__version__}"),
            ("Via", f"1.1 {PSEUDONYM}"),
            # Bytes pass through as they are, so they must not be compressed for us alone.
            ("Accept-Encoding", "identity"),
        ]
        # Which of the two applies depends on the path, and the key's place in the list is the caller's choice.
        self._credentials = [self._own(preset.auth("/chat/completions", key)) for key in keys]
        self._native_credentials = [self._own(preset.auth("/", key)) for key in keys]
        self._fixed = _lines([pair for pair in fixed if pair[0].lower().encode() not in self._extra_names])
        self._fixed += _lines(extra_headers)
        self._overruled = tuple(name + b":" for name in self._extra_names & TO_PROVIDER)
        self._connections = Connections(
            base_url, connect_timeout, forward_proxy=ForwardProxy.at(forward_proxy) if forward_proxy else None
        )

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.base_url} {self._connections!r}>"

    @property
    def connections(self) -> tuple[int, int, int]:
        """Connections in use and idle now, and how many were made so far."""
        return self._connections.counts

    def send(
        self,
        method: str,
        path: str,
        client_lines: bytes,
        request_id: str,
        body: bytes | None,
        key: int,
        sink: Sink,
        repeatable: bool = True,
    ) -> HttpCall:
        """
        Send a whole request; *path* is below the base URL and may carry a query, *client_lines* are header lines. One
        that is not *repeatable* is sent once at most.
        """
        head = self._head(method, path, client_lines, request_id, key)
        if body is None:
            return self._connections.send(head + b"\r\n", sink, repeatable)
        request = b"%bContent-Length: %d\r\n\r\n" % (head, len(body))
        if len(body) > LONGEST_JOINED:
            return self._connections.send(request, sink, repeatable, body)
        return self._connections.send(request + body, sink, repeatable)

    def send_streamed(
        self, method: str, path: str, client_lines: bytes, request_id: str, length: int | None, key: int, sink: Sink
    ) -> HttpCall:
        """Send the head of a request whose body follows: *length* bytes, or chunked by the caller when None."""
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        head = self._head(method, path, client_lines, request_id, key)
        return self._connections.send_streamed(b"%b%b\r\n\r\n" % (head, framing), sink)

    def described(
        self, method: str, path: str, client_lines: bytes, request_id: str, key: int
    ) -> tuple[str, list[tuple[str, str]]]:
        """The URL and the headers of a request that the control plane sends instead; arguments as for `send`."""
        lines = self._head(method, path, client_lines, request_id, key).decode("latin-1").split("\r\n")[1:-1]
        pairs = [(name, value) for name, _, value in [line.partition(": ") for line in lines]]
        return self.base_url + path, pairs

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    def _head(self, method: str, path: str, client_lines: bytes, request_id: str, key: int) -> bytes:
        if self._overruled:
            lines = client_lines.splitlines(keepends=True)
            client_lines = b"".join([line for line in lines if not line.startswith(self._overruled)])
        credentials = b""
        if self._credentials:
            if path.startswith(OPENAI_PATHS):
                credentials = self._credentials[key]
            else:
                credentials = self._native_credentials[key]
                if b"anthropic-version:" in credentials and b"\r\nanthropic-version:" in b"\r\n" + client_lines:
                    # A client that names its own version of a provider's API gets it.
                    credentials = b"".join(
                        line
                        for line in credentials.splitlines(keepends=True)
                        if not line.startswith(b"anthropic-version:")
                    )
        return b"%b %b%b HTTP/1.1\r\n%b%b%bX-Request-ID: %b\r\n" % (
            method.encode("ascii"),
            self._base_path.encode("ascii"),
            path.encode("ascii"),
            self._fixed,
            credentials,
            client_lines,
            request_id.encode("ascii"),
        )

    def _own(self, credentials: Sequence[tuple[str, str]]) -> bytes:
        return _lines([pair for pair in credentials if pair[0].lower().encode() not in self._extra_names])


def _lines(pairs: Sequence[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in pairs).encode("latin-1")
