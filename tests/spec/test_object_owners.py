"""
What an account made, asked for through several workers and after a restart: all of them know its owner from the store.

Real processes. Callers open a connection for each call, so that every worker gets some.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.field.build import KEY_A, KEY_B, answer, rule, two
from tests.field.play import exchange, filled, request_bytes
from tests.field.provider import Provider
from tests.rigs.hapax import hapax

NONE = answer(
    404, {"error": {"message": "No such object.", "type": "invalid_request_error", "param": "id", "code": None}}
)


def account(mark: str) -> dict[str, Any]:
    """An account that knows its own ids alone."""
    return {
        "models": ["m"],
        "rules": [
            rule(NONE, has="previous_response_id", lacks=f"resp_{mark}"),
            rule(answer(200, {"id": f"resp_{mark}", "object": "response", "output": []}), path="/v1/responses"),
            rule(answer(200, {"id": f"file-{mark}", "object": "file"}), path="/v1/files", method="POST"),
            rule(answer(200, {"id": f"file-{mark}", "object": "file"}), path=f"/v1/files/file-{mark}*"),
            rule(NONE),
        ],
    }


@pytest.fixture
async def accounts() -> AsyncIterator[dict[str, Provider]]:
    running = {"a": Provider(account("aa")), "b": Provider(account("bb"))}
    for each in running.values():
        await each.start()
    yield running
    for each in running.values():
        await each.stop()


async def ask(port: int, line: str, body: Any = None) -> Any:
    """One call on a connection of its own."""
    return await exchange(port, request_bytes({"request": line, **({} if body is None else {"body": body})}, port))


async def test_every_worker_knows_at_once_who_made_what_and_so_does_the_next_process(
    accounts: dict[str, Provider], store_url: str, tmp_path: Path
) -> None:
    places = {name: each.url for name, each in accounts.items()}
    settings = {
        **filled(two(), places),
        "server": {"workers": 2, "drain_delay": "0s"},
        "models": {"m": {"targets": ["a/m", "b/m"], "balance": "round_robin"}},
        "store": {"url": store_url},
        "state": {"url": "memory://"},
    }
    async with hapax(tmp_path, settings) as process:
        for _ in range(15):
            made = await ask(process.port, "POST /v1/responses", {"model": "m", "input": "x"})
            body = {"model": "m", "input": "x", "previous_response_id": made.json["id"]}
            # At once, and to whichever worker gets it.
            continued = await asyncio.gather(*(ask(process.port, "POST /v1/responses", body) for _ in range(3)))
            assert {each.header("x-hapax-provider") for each in continued} == {made.header("x-hapax-provider")}
        await accounts["a"].stop()
        file = await ask(process.port, "POST /v1/files", {"purpose": "batch"})
        await accounts["a"].start()
        assert file.json["id"] == "file-bb"
        read = [await ask(process.port, "GET /v1/files/file-bb/content") for _ in range(12)]
        assert {(each.status, each.header("x-hapax-provider")) for each in read} == {(200, "b")}
        process.signal(signal.SIGTERM)
        await process.ended()
    async with hapax(tmp_path, settings, "again") as process:
        read = [await ask(process.port, "GET /v1/files/file-bb") for _ in range(6)]
        assert {(each.status, each.header("x-hapax-provider")) for each in read} == {(200, "b")}
    for name, key, foreign in (("a", KEY_A, b"resp_bb"), ("b", KEY_B, b"resp_aa")):
        asked = accounts[name].calls()
        assert {each.key for each in asked} == {key}
        assert [each for each in asked if foreign in each.body] == []
    assert [each for each in accounts["a"].calls() if each.path.startswith("/v1/files")] == []
