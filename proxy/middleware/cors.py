"""
Cross-origin rules, so that browser apps can call the gateway directly.

Off until origins are listed. All header lines are joined once; a request costs one dictionary look-up.
"""

from fnmatch import fnmatchcase

from proxy.core.errors import ProxyError
from proxy.http.request import Request
from proxy.settings.server import Cors as Rules


class Cors:
    """Who may call from a browser, and what scripts there may send and read."""

    def __init__(self, rules: Rules) -> None:
        """*rules*: origins are exact, globs, or `*`; header names may end in `*`."""
        origins, headers = rules.allow_origins, rules.allow_headers
        self._any = "*" in origins
        self._origins = frozenset(origins)
        self._globs = tuple(origin for origin in origins if "*" in origin and origin != "*")
        self._named = tuple(origin for origin in origins if _names(origin))
        self._methods = ", ".join(rules.allow_methods)
        self._headers = frozenset(name.lower() for name in headers if not name.endswith("*"))
        self._prefixes = tuple(name[:-1].lower() for name in headers if name.endswith("*"))
        self._expose = ", ".join(rules.expose_headers)
        self._max_age = int(rules.max_age)

    @property
    def enabled(self) -> bool:
        """Some origin may call."""
        return bool(self._origins)

    def allows(self, origin: str) -> bool:
        """Whether a page from *origin* may call."""
        if not origin.isascii():
            # No browser sends one, and it could not be echoed.
            return False
        return self._any or origin in self._origins or any(fnmatchcase(origin, glob) for glob in self._globs)

    def _is_named(self, origin: str) -> bool:
        """Whether the operator listed *origin* itself, or the site it belongs to, and not merely every origin."""
        return origin in self._named or any(fnmatchcase(origin, glob) for glob in self._named if "*" in glob)

    def lines(self, origin: str | None) -> bytes:
        """Header lines for an answer to a request with that Origin."""
        if not self._origins:
            return b""
        if origin is None or not self.allows(origin):
            # Caches must not serve this answer to an origin that would have got others.
            return b"Vary: Origin\r\n"
        granted = f"Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n"
        if self._is_named(origin):
            granted += "Access-Control-Allow-Credentials: true\r\n"
        return f"{granted}Access-Control-Expose-Headers: {self._expose}\r\n".encode("ascii")

    def is_preflight(self, request: Request) -> bool:
        """Whether the browser asks if it may ask."""
        return (
            request.method == "OPTIONS"
            and "origin" in request.headers
            and "access-control-request-method" in request.headers
        )

    def preflight(self, request: Request) -> list[tuple[bytes, bytes]]:
        """Headers of the 204 that grants it; `ProxyError` 403 for an origin that is not listed."""
        if not self.allows(request.headers["origin"]):
            raise ProxyError("origin_not_allowed")
        asked = request.headers.get("access-control-request-headers", "")
        # The wildcard would not cover Authorization, and names cannot be prefixes: echo what was asked and is allowed.
        granted = [name for name in (part.strip().lower() for part in asked.split(",")) if self._may_send(name)]
        answer = [
            (b"Access-Control-Allow-Methods", self._methods.encode("ascii")),
            (b"Access-Control-Allow-Headers", ", ".join(granted or sorted(self._headers)).encode("ascii")),
            (b"Access-Control-Max-Age", b"%d" % self._max_age),
        ]
        private = request.headers.get("access-control-request-private-network") == "true"
        if private and self._is_named(request.headers["origin"]):
            # A public page that calls a gateway on a private address: Chromium asks separately
            # (https://wicg.github.io/private-network-access), and only an origin the operator named may open that door.
            answer.append((b"Access-Control-Allow-Private-Network", b"true"))
        return answer

    def _may_send(self, name: str) -> bool:
        return name in self._headers or (bool(self._prefixes) and name.startswith(self._prefixes))


def _names(origin: str) -> bool:
    """Whether an entry says whose the origin is: `*` and `https://*` do not, `https://*.example.com` does."""
    host = origin.partition("://")[2].partition(":")[0]
    return host.rpartition("*")[2].count(".") > 1 or ("*" not in host and bool(host))
