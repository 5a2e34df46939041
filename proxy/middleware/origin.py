"""
Whom an open gateway answers: this machine under its own names, and no page of another site.

While there are no keys, any program that reaches the loopback address may call. A web page can: by a name of its own
that leads to 127.0.0.1 (DNS rebinding), or by a request that needs no permission
(https://fetch.spec.whatwg.org/#simple-header). What a browser says of where it comes from is judged here; with keys
configured nothing is.
"""

import ipaddress
import re
from collections.abc import Callable

from proxy.accounts.principals import Principals
from proxy.core.errors import ProxyError
from proxy.http.request import Request

PROBES = frozenset(("/live", "/ready", "/health/live", "/health/ready"))
"""Answered under any name: probes of load balancers name a pod or a service, and what is told is no secret."""

_SHOWN = frozenset(("/", "/ui", "/health", "/v1/health"))
"""What a link on another site may open: it costs nothing and tells no more than a probe."""

_OF_THIS_MACHINE = frozenset(("localhost", "host.docker.internal", "host.containers.internal"))
"""
Names that lead here from nowhere else: RFC 6761 section 6.3, and what a container calls its host
(https://docs.docker.com/desktop/features/networking, https://docs.podman.io/en/latest/markdown/podman-run.1.html);
`.internal` is never delegated (ICANN reserved it), so no site can be called so.
"""
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/\\\s]+)(?::[0-9]*)?")


class Neighbourhood:
    """Tells requests of this machine from those of web pages."""

    def __init__(self, principals: Principals, may_call: Callable[[str], bool], host: str) -> None:
        """
        *principals*: whether there are keys. *may_call*: whether a page of that origin was allowed to by the operator.
        *host*: the configured address to listen on, which is a name of this machine too.
        """
        self._principals = principals
        self._may_call = may_call
        self._host = host.strip("[]").lower()
        self._here: str | None = None
        """What was found to be a name of this machine last."""

    def check(self, request: Request, path: str, host: str | None) -> None:
        """
        `ProxyError` 403 for a request under a name that is not this machine's, or from a page of another site. *host*
        is what the request is addressed to; None where it does not say, which no browser does.
        """
        if not self._principals.open or path in PROBES:
            return
        if host is not None and host != self._here:
            if not self._is_here(host):
                raise ProxyError("host_not_allowed")
            self._here = host
        headers = request.headers
        origin = headers.get("origin")
        if origin is not None:
            if self._may_call(origin) or _is_same(origin, host):
                return
            raise ProxyError(
                "origin_not_allowed",
                "Without keys, only pages of server.cors.allow_origins may call; this origin is not among them.",
            )
        if headers.get("sec-fetch-site") == "cross-site" and (path not in _SHOWN or request.method != "GET"):
            # An image, a script, a link or a form of another site: browsers name no origin with a GET of these.
            raise ProxyError("origin_not_allowed", "Without keys, pages of other sites may not call.")

    def _is_here(self, authority: str) -> bool:
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return False
        name = found[1].strip("[]").lower().removesuffix(".")
        if name in _OF_THIS_MACHINE or name.endswith(".localhost") or name == self._host:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback


def _is_same(origin: str, host: str | None) -> bool:
    """Whether the page came from here: a browser names itself so on its own POST."""
    scheme, _, authority = origin.partition("://")
    return scheme in ("http", "https") and host is not None and authority.lower() == host.lower()
