"""
The gateway a configuration is of, while it runs: where it is, and one question put to it.

It finds none by itself and starts none. Where the configuration says where it is, its certificate must be that of the
configuration, whatever name that is for; anywhere else it is judged as any client judges it.
"""

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.cli import show
from proxy.cli.store import FAILED, refusal
from proxy.settings import Settings

if TYPE_CHECKING:
    import ssl

WITHIN = 70.0
"""Seconds it may take to answer."""


def address(settings: Settings) -> str:
    """Where it listens, as a URL without a path."""
    host = settings.server.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host.strip("[]") else host
    return f"{'https' if settings.server.tls else 'http'}://{host}:{settings.server.port}"


def found(settings: Settings, url: str | None) -> str:
    """
    Where the gateway is, without a slash at the end: *url*, or where *settings* say; ends the command with 2 for what
    is no URL.
    """
    there = (url or address(settings)).rstrip("/")
    if urlsplit(there).scheme not in ("http", "https"):
        raise refusal("--url must be a URL such as http://127.0.0.1:8080")
    return there


def trusted(settings: Settings, url: str | None) -> "ssl.SSLContext":
    """Which certificates are the gateway's: where *url* names it, any that is good for the name there."""
    import ssl

    if url is not None or settings.server.tls is None:
        return ssl.create_default_context()
    # It is reached by an address of this machine, and its certificate is for another name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(settings.server.tls.cert_file)
    return context


def ask(settings: Settings, method: str, path: str, query: dict[str, str], url: str | None, key: str | None) -> Any:
    """
    The JSON that *path* answers with; ends the command with 1 where it answers with an error, or does not. *url*: where
    the gateway is; None: where *settings* say. *key*: of the operator; None: the one in *settings*.
    """
    there = found(settings, url)
    if key is None and settings.auth.admin_key is not None:
        key = settings.auth.admin_key.get_secret_value()
    import aiohttp

    try:
        status, body = asyncio.run(_asked(method, there + path, query, key, trusted(settings, url)))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise refusal(silent(there, type(error).__name__), FAILED) from None
    except ValueError:
        raise refusal(silent(there, "its answer is no JSON"), FAILED) from None
    if status != 200:
        told = body.get("error") if isinstance(body, dict) else None
        words = told.get("message") if isinstance(told, dict) else None
        raise refusal(f"The gateway at {there} answered {status}: {show.plain(str(words or 'no reason'))}", FAILED)
    return body


def silent(there: str, reason: str) -> str:
    """That no gateway answers there, as a sentence."""
    return f"There is no gateway that answers at {there} ({reason}); start it, or name it with --url"


async def _asked(
    method: str, url: str, query: dict[str, str], key: str | None, context: "ssl.SSLContext"
) -> tuple[int, Any]:
    import aiohttp

    headers = {} if key is None else {"X-API-Key": key}
    timeout = aiohttp.ClientTimeout(total=WITHIN)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
        session.request(method, url, params=query, ssl=context, allow_redirects=False) as answer,
    ):
        return answer.status, await answer.json(content_type=None)
