"""`/admin/keys` over HTTP: what it answers, what it refuses, and that it gives a secret away once only."""

import asyncio
import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.accounts.secret import looks_minted
from proxy.core import clock
from tests.conftest import GatewayFactory, RunningGateway
from tests.spec.wire import Response, ask, chat, get, request

ADMIN, FILE_SECRET = "hpx_admin_0123456789", "hpx_of_the_file_0123456789"
HEAD = f"X-API-Key: {ADMIN}\r\n"

Admin = Any


@pytest.fixture
async def running(gateway: GatewayFactory, tmp_path: Path) -> RunningGateway:
    keys = [{"name": "of-file", "key": FILE_SECRET, "team": "ops"}]
    store = {"url": f"sqlite:///{tmp_path}/hapax.db"}
    return await gateway({"auth": {"keys": keys, "admin_key": ADMIN}, "store": store})


async def send(running: RunningGateway, method: str, path: str, body: Any = None, head: str = HEAD) -> Response:
    return await ask(running.port, request(f"/admin/keys{path}", body, method=method, head=head))


def refusal(answer: Response) -> tuple[int, str, str | None]:
    error = answer.json["error"]
    return answer.status, error["code"], error["param"]


async def test_a_key_is_made_with_everything_it_can_be_given(running: RunningGateway) -> None:
    asked = {
        "name": "web",
        "team": "shop",
        "models": ["gpt-*"],
        "routes": ["/v1/chat/*"],
        "limits": {"requests_per_minute": 60, "concurrent": 0},
        "budget": {"usd": 2.5, "per": "week"},
        "expires": "2099-01-31",
    }
    answer = await send(running, "POST", "", asked)
    assert (answer.status, answer.header("cache-control")) == (201, "no-store")
    made = answer.json
    secret = made.pop("key")
    assert looks_minted(secret)
    assert made["prefix"] == secret[:10]
    expected = {**asked, "limits": {**asked["limits"], "tokens_per_minute": None}, "status": "active"}
    assert {name: made[name] for name in expected} == {**expected, "expires": "2099-01-31T00:00:00.000Z"}
    shown = await send(running, "GET", "/web")
    assert (shown.status, shown.json) == (200, made)
    assert shown.header("cache-control") == "no-store"


async def test_the_list_holds_the_keys_of_file_and_store_and_no_secret(running: RunningGateway) -> None:
    secrets = [(await send(running, "POST", "", {"name": name})).json["key"] for name in ("web", "app")]
    answer = await send(running, "GET", "")
    assert [(key["name"], key["source"]) for key in answer.json["keys"]] == [
        ("app", "store"),
        ("of-file", "file"),
        ("web", "store"),
    ]
    for secret in (FILE_SECRET, ADMIN, *secrets):
        assert secret[10:].encode() not in answer.body


async def test_rotating_and_revoking_are_told(running: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = (await send(running, "POST", "", {"name": "web"})).json
    rotated = (await send(running, "POST", "/web/rotate", {"overlap": "1h"})).json
    assert rotated["key"] != made["key"]
    assert rotated["status"] == "rotating"
    for _ in range(2):
        answer = await send(running, "DELETE", "/web")
        assert (answer.status, answer.json["status"]) == (200, "revoked")
        assert "key" not in answer.json
    # The second time changed nothing.
    assert [record.getMessage() for record in caplog.records].count("key web revoked") == 1
    assert refusal(await send(running, "POST", "/web/rotate", {})) == (404, "key_not_found", None)
    assert refusal(await send(running, "POST", "", {"name": "web"})) == (409, "key_exists", "name")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "name"),
        ({"name": "admin"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": "x", "models": []}, "models"),
        ({"name": "x", "models": "gpt-4o"}, "models"),
        ({"name": "x", "routes": ["v1"]}, "routes"),
        ({"name": "x", "limits": {"concurrent": -1}}, "limits.concurrent"),
        ({"name": "x", "limits": {"concurrent": 10**16}}, "limits.concurrent"),
        ({"name": "x", "budget": {"usd": 1, "tokens": 1}}, "budget"),
        ({"name": "x", "budget": {"usd": 1, "per": "year"}}, "budget.per"),
        ({"name": "x", "expires": "2001-01-01"}, "expires"),
        ({"name": "x", "expires": 5}, "expires"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(
    running: RunningGateway, asked: dict[str, Any], param: str
) -> None:
    assert refusal(await send(running, "POST", "", asked)) == (400, "invalid_parameter", param)
    assert len((await send(running, "GET", "")).json["keys"]) == 1


async def test_a_key_of_the_file_is_shown_and_never_changed(running: RunningGateway) -> None:
    shown = await send(running, "GET", "/of-file")
    assert (shown.status, shown.json["source"], shown.json["team"]) == (200, "file", "ops")
    assert refusal(await send(running, "DELETE", "/of-file")) == (400, "invalid_parameter", "name")
    assert refusal(await send(running, "POST", "/of-file/rotate", {})) == (400, "invalid_parameter", "name")
    assert refusal(await send(running, "POST", "", {"name": "of-file"})) == (409, "key_exists", "name")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nobody", (404, "key_not_found", None)),
        ("DELETE", "/nobody", (404, "key_not_found", None)),
        ("POST", "/nobody/rotate", (404, "key_not_found", None)),
        ("POST", "/of-file", (405, "method_not_allowed", None)),
        ("GET", "/of-file/rotate", (405, "method_not_allowed", None)),
        ("GET", "/of-file/colour", (404, "unknown_url", None)),
        ("DELETE", "", (405, "method_not_allowed", None)),
        ("GET", "?page=2", (400, "invalid_parameter", "page")),
    ],
)
async def test_what_is_not_there_is_refused(
    running: RunningGateway, method: str, path: str, expected: tuple[int, str, str | None]
) -> None:
    body = {} if method == "POST" else None
    assert refusal(await send(running, method, path, body)) == expected


async def test_a_body_without_its_content_type_makes_no_key(running: RunningGateway) -> None:
    """A page an operator is lured to could post one from the operator's browser."""
    body = json.dumps({"name": "web"}).encode()
    answer = await send(running, "POST", "", body, head=HEAD + "Content-Type: text/plain\r\n")
    assert answer.status == 415
    assert len((await send(running, "GET", "")).json["keys"]) == 1


@pytest.mark.parametrize("head", ["", f"X-API-Key: {FILE_SECRET}\r\n", "X-API-Key: hpx_made_up_0123456789\r\n"])
async def test_only_the_admin_key_opens_it(running: RunningGateway, head: str) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/of-file"), ("DELETE", "/of-file")):
        answer = await send(running, method, path, {} if method == "POST" else None, head=head)
        assert answer.status in (401, 403)


@pytest.mark.parametrize("url", ["", "postgresql://me:hunter2@127.0.0.1:1/hapax"])
async def test_without_a_store_it_says_so(gateway: GatewayFactory, url: str) -> None:
    running = await gateway({"auth": {"admin_key": ADMIN}, "store": {"url": url}})
    for answer in (
        await ask(running.port, get("/admin/keys", head=HEAD)),
        await send(running, "POST", "", {"name": "web"}),
        await send(running, "DELETE", "/web"),
    ):
        assert refusal(answer) == (503, "store_unavailable", None)
        assert b"hunter2" not in answer.body


async def test_when_a_key_was_used_last_is_told_wherever_it_is_shown(running: RunningGateway) -> None:
    secret = (await send(running, "POST", "", {"name": "web"})).json["key"]
    for name, key in (("web", secret), ("of-file", FILE_SECRET)):
        assert (await send(running, "GET", f"/{name}")).json["last_used"] is None
        assert (await ask(running.port, chat(head=f"X-API-Key: {key}\r\n"))).status == 200
    running.caught_up()
    told: dict[str, Any] = {"web": None}
    async with asyncio.timeout(30):
        while None in told.values():
            listed = (await send(running, "GET", "")).json["keys"]
            told = {key["name"]: key["last_used"] for key in listed}
    for name, at in told.items():
        assert abs(clock.wall() - datetime.fromisoformat(at)) < timedelta(seconds=60)
        assert (await send(running, "GET", f"/{name}")).json["last_used"] == at
    assert (await send(running, "POST", "/web/rotate", {})).json["last_used"] == told["web"]
    assert (await send(running, "DELETE", "/web")).json["last_used"] == told["web"]


async def test_a_key_of_the_file_is_shown_without_a_store(gateway: GatewayFactory) -> None:
    keys = [{"name": "of-file", "key": FILE_SECRET}]
    running = await gateway({"auth": {"keys": keys, "admin_key": ADMIN}})
    answer = await send(running, "GET", "/of-file")
    assert (answer.status, answer.json["last_used"]) == (200, None)
