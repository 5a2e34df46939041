"""
The gateway a configuration is of, while it runs: where it is, and one question put to it.

It finds none by itself and starts none. Where the configuration says where it is, its certificate must be that of the
configuration, whatever name and time that is for; anywhere else it is judged as any client judges it.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from proxy.cli import show
from proxy.cli.store import FAILED, refusal
from proxy.settings import Settings

if TYPE_CHECKING:
    import ssl

Url = Annotated[str | None, typer.Option(help="Where the gateway is; omitted: where the configuration says.")]
AdminKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", envvar="HAPAX_ADMIN_KEY", show_envvar=True, help="Omitted: auth.admin_key."),
]

WITHIN = 70.0
"""Seconds it may take to answer."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL's X509_VERIFY_PARAM_set_flags(3), for which `ssl` has no name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway is, and how it is asked."""

    url: str
    """Without a slash at its end."""
    key: str | None = field(repr=False)
    """The operator's; None for none."""
    certificate: str | None
    """A file with the one it must have; None where it is judged by its name and by who has signed it."""

    @property
    def headers(self) -> dict[str, str]:
        """Those of each question."""
        return {} if self.key is None else {"X-API-Key": self.key}

    def context(self) -> "ssl.SSLContext":
        """How its certificate is judged."""
        import ssl

        if self.certificate is None:
            return ssl.create_default_context()
        # It is reached by an address of this machine, and its certificate is for another name.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # Nor is a gateway another one, or dead, since its certificate has expired: an alert tells of that.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        context.load_verify_locations(self.certificate)
        return context


def address(settings: Settings) -> str:
    """Where it listens, as a URL without a path."""
    host = settings.server.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host.strip("[]") else host
    return f"{'https' if settings.server.tls else 'http'}://{host}:{settings.server.port}"


def place(settings: Settings, url: str | None, key: str | None) -> Place:
    """
    Where the gateway is; ends the command with 2 where *url* or *key* is none. *url*: None: where *settings* say.
    *key*: of the operator; None: the one in *settings*.
    """
    if url and not _is_url(url):
        raise refusal("--url must be a URL such as http://127.0.0.1:8080")
    refuse_what_is_no_key("--admin-key", key)
    if key is None and settings.auth.admin_key is not None:
        key = settings.auth.admin_key.get_secret_value()
    certificate = settings.server.tls.cert_file if url is None and settings.server.tls is not None else None
    return Place((url or address(settings)).rstrip("/"), key, certificate)


def refuse_what_is_no_key(name: str, key: str | None) -> None:
    """Ends the command with 2 where *key*, given with the option *name*, cannot be sent as one."""
    if key is not None and not (key.isascii() and key.isprintable()):
        raise refusal(f"{name} holds what no key does, such as the end of a line")


def ask(
    there: Place, method: str, path: str, query: dict[str, str], sent: Any = None, *, within: float = WITHIN
) -> Any:
    """
    The JSON that *path* answers with; ends the command with 1 where it answers with an error, or not *within* seconds.
    *sent* goes with it as JSON.
    """
    import aiohttp

    try:
        status, body = asyncio.run(_asked(there, method, path, query, sent, within))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise refusal(silent(there.url, type(error).__name__), FAILED) from None
    except ValueError:
        raise refusal(silent(there.url, "its answer is no JSON"), FAILED) from None
    if status != 200:
        raise refusal(f"The gateway at {there.url} answered {status}: {words(body) or 'no reason'}", FAILED)
    return body


def words(body: Any) -> str:
    """
    The message of an error object, or the word of a page that says no as `/ready` does, without what a terminal would
    obey; empty where there is none.
    """
    if not isinstance(body, dict):
        return ""
    told = body.get("error")
    return show.plain(str((told.get("message") if isinstance(told, dict) else body.get("status")) or ""))


def silent(there: str, reason: str) -> str:
    """That no gateway answers there, as a sentence."""
    return f"There is no gateway that answers at {there} ({reason}); start it, or name it with --url"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        # To read the port is to check it.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def _asked(
    there: Place, method: str, path: str, query: dict[str, str], sent: Any, within: float
) -> tuple[int, Any]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=within)
    async with (
        aiohttp.ClientSession(headers=there.headers, timeout=timeout) as session,
        # The key is for this address, and for none that it leads to.
        session.request(
            method, there.url + path, params=query, json=sent, ssl=there.context(), allow_redirects=False
        ) as answer,
    ):
        return answer.status, await answer.json(content_type=None)
