"""
The gateway a configuration is of, while it runs: where it is, and one question put to it.

It finds none by itself and starts none. Where the configuration says where it is, its certificate must be that of the
configuration, whatever name that is for; anywhere else it is judged as any client judges it.
"""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import typer

from proxy.cli import show
from proxy.cli.store import FAILED, refusal
from proxy.settings import Settings

WITHIN = 70.0
"""Seconds it may take to answer."""


def address(settings: Settings) -> str:
    """Where it listens, as a URL without a path."""
    host = settings.server.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host.strip("[]") else host
    return f"{'https' if settings.server.tls else 'http'}://{host}:{settings.server.port}"


def ask(
    settings: Settings,
    method: str,
    path: str,
    query: dict[str, str],
    url: str | None,
    key: str | None,
    sent: Any = None,
) -> Any:
    """
    The JSON that *path* answers with; ends the command with 1 where it answers with an error, or does not. *url*: where
    the gateway is; None: where *settings* say. *key*: of the operator; None: the one in *settings*. *sent*: the JSON
    that is sent; None: nothing.
    """
    there = (url or address(settings)).rstrip("/")
    if urlsplit(there).scheme not in ("http", "https"):
        raise refusal("--url must be a URL such as http://127.0.0.1:8080")
    if key is None and settings.auth.admin_key is not None:
        key = settings.auth.admin_key.get_secret_value()
    import aiohttp

    try:
        certificate = settings.server.tls.cert_file if url is None and settings.server.tls is not None else None
        status, body = asyncio.run(_asked(method, there + path, query, key, certificate, sent))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _silent(there, type(error).__name__) from None
    except ValueError:
        raise _silent(there, "its answer is no JSON") from None
    if status != 200:
        told = body.get("error") if isinstance(body, dict) else None
        words = told.get("message") if isinstance(told, dict) else None
        raise refusal(f"The gateway at {there} answered {status}: {show.plain(str(words or 'no reason'))}", FAILED)
    return body


def _silent(there: str, reason: str) -> typer.Exit:
    return refusal(f"There is no gateway that answers at {there} ({reason}); start it, or name it with --url", FAILED)


async def _asked(
    method: str, url: str, query: dict[str, str], key: str | None, certificate: str | None, sent: Any
) -> tuple[int, Any]:
    import ssl

    import aiohttp

    context = ssl.create_default_context()
    if certificate is not None:
        # It is reached by an address of this machine, and its certificate is for another name.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(certificate)
    headers = {} if key is None else {"X-API-Key": key}
    timeout = aiohttp.ClientTimeout(total=WITHIN)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
        session.request(method, url, params=query, ssl=context, json=sent) as answer,
    ):
        return answer.status, await answer.json(content_type=None)
