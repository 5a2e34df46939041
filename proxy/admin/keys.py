"""
The keys of the store over HTTP: list, create, show, revoke, rotate.

A secret is in the answer that made it and nowhere else. Who may come here is the route's matter; keys of the
configuration file are shown and never changed.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from proxy.accounts.asked import AskedWrongly, new_key, rotation
from proxy.accounts.keys import READ_TOGETHER, KeyExists, KeyNotFound, KeyRecord, KeyRevoked, Keys
from proxy.accounts.shown import file_key_fields, key_fields
from proxy.accounts.store import StoreError
from proxy.core import clock
from proxy.core.audit import audit
from proxy.core.errors import ProxyError
from proxy.http.caller import caller
from proxy.http.inbound import INBOUND, Inbound
from proxy.http.page import json_page
from proxy.http.parameters import parameters, refused
from proxy.settings import ClientKey

_log = logging.getLogger("hapax")

_METHODS = {"collection": ("GET", "HEAD", "POST"), "one": ("DELETE", "GET", "HEAD"), "rotate": ("POST",)}


class KeysAdmin:
    """The handlers of `/admin/keys` and below."""

    def __init__(self, keys: Keys | None, file_keys: Callable[[], Sequence[ClientKey]]) -> None:
        """*keys*: None where no store is configured. *file_keys* gives those of `auth.keys`, which a reload changes."""
        self._keys = keys
        self._read_file_keys = file_keys

    @property
    def _file_keys(self) -> dict[str, ClientKey]:
        return {key.name: key for key in self._read_file_keys()}

    async def collection(self, request: web.Request) -> web.StreamResponse:
        """GET: every key. POST: make one."""
        inbound = request[INBOUND]
        parameters(inbound.request, ())
        if inbound.request.method == "POST":
            return await self._create(inbound)
        now, filed = clock.wall(), self._file_keys
        with _explained():
            stored = await self._store().list()
            used = await self._store().last_used([*filed, *(key.name for key in stored)])
        shown = [file_key_fields(key, used.get(key.name)) for key in filed.values()]
        for first in range(0, len(stored), READ_TOGETHER):
            shown += [key_fields(key, now, used.get(key.name)) for key in stored[first : first + READ_TOGETHER]]
            await asyncio.sleep(0)
        return json_page({"keys": sorted(shown, key=lambda key: str(key["name"]))})

    async def one(self, request: web.Request) -> web.StreamResponse:
        """`/admin/keys/{name}`: GET shows it, DELETE revokes it; `/admin/keys/{name}/rotate`: POST changes it."""
        inbound = request[INBOUND]
        parameters(inbound.request, ())
        name, slash, action = inbound.location.path.removeprefix("/admin/keys/").removesuffix("/").partition("/")
        if slash and action != "rotate":
            raise ProxyError("unknown_url")
        method = inbound.request.method
        _require(method, _METHODS["rotate" if slash else "one"])
        if method in ("GET", "HEAD"):
            return await self._show(name)
        if name in self._file_keys:
            raise ProxyError(
                "invalid_parameter", "That key stands in the configuration file; change it there.", param="name"
            )
        if method == "DELETE":
            with _explained():
                before, record = await self._store().revoke(name)
            if before.revoked is None:
                now = clock.wall()
                was, told = key_fields(before, now, None), key_fields(record, now, None)
                audit("key_revoked", f"key {record.name} revoked", caller(inbound), was, told, key=record.name)
            return json_page(await self._told(record))
        return await self._rotate(inbound, name)

    async def _show(self, name: str) -> web.StreamResponse:
        if name in self._file_keys:
            with _explained():
                # Where no store is, no calls are known, and the key is one all the same.
                used = {} if self._keys is None else await self._keys.last_used([name])
            return json_page(file_key_fields(self._file_keys[name], used.get(name)))
        with _explained():
            record = await self._store().get(name)
        return json_page(await self._told(record))

    async def _told(self, record: KeyRecord) -> dict[str, Any]:
        """A key of the store as it is shown."""
        with _explained():
            used = await self._store().last_used([record.name])
        return key_fields(record, clock.wall(), used.get(record.name))

    async def _create(self, inbound: Inbound) -> web.StreamResponse:
        _, asked = await inbound.read_json()
        with _explained():
            new = new_key(asked, clock.wall())
            if new.name in self._file_keys:
                raise ProxyError(
                    "key_exists", "There is a key of that name in the configuration file already.", param="name"
                )
            record, secret = await self._store().create(new)
        told = key_fields(record, clock.wall(), None)
        audit("key_created", f"key {record.name} created", caller(inbound), None, told, key=record.name)
        return json_page({**told, "key": secret}, 201)

    async def _rotate(self, inbound: Inbound, name: str) -> web.StreamResponse:
        # A body is asked for even where nothing needs saying: its content type keeps other web pages from posting here.
        _, asked = await inbound.read_json()
        with _explained():
            overlap = rotation(asked, clock.wall()).overlap
            # Asked before: the new secret must reach its owner, whatever happens to the store.
            used = (await self._store().last_used([name])).get(name)
            before, record, secret = await self._store().rotate(name, overlap)
        now = clock.wall()
        was, told = key_fields(before, now, used), key_fields(record, now, used)
        audit("key_rotated", f"key {record.name} rotated", caller(inbound), was, told, key=record.name)
        return json_page({**told, "key": secret})

    def _store(self) -> Keys:
        if self._keys is None:
            raise ProxyError("store_unavailable", "No store is configured; set store.url to keep keys and usage.")
        return self._keys


def _require(method: str, allowed: Sequence[str]) -> None:
    if method not in allowed:
        raise ProxyError(
            "method_not_allowed",
            details={"allowed_methods": list(allowed)},
            headers=(("Allow", ", ".join(allowed)),),
        )


@contextmanager
def _explained() -> Iterator[None]:
    """What goes wrong with keys, as the client is told it."""
    try:
        yield
    except AskedWrongly as error:
        raise refused(error) from None
    except KeyExists:
        raise ProxyError("key_exists", param="name") from None
    except KeyRevoked:
        raise ProxyError("key_not_found", "That key was revoked for good.") from None
    except KeyNotFound:
        raise ProxyError("key_not_found") from None
    except StoreError as error:
        _log.warning("keys cannot be read or changed: %s", error)
        raise ProxyError("store_unavailable", "The store cannot be reached; the log says why.") from error
