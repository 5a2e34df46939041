"""Keys come and go while the gateway runs, every call leaves one row, and the store may be away without notice."""

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.accounts.asked import NewKey
from proxy.accounts.keys import Keys
from proxy.accounts.store import Store
from proxy.core import clock
from proxy.middleware.authenticator import TERMINAL_TOKEN
from tests.accounts.calls import total
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.clock import at_most
from tests.rigs.hapax import hapax
from tests.rigs.postgres import Postgres
from tests.rigs.simulator import Simulator

from .wire import PATIENCE, Response, ask, bearing, becomes, chat, connect, eventually, get, request, target

ADMIN, FILE_KEY = "hpx_admin_7d1f3b9c5e20", "hpx_of_the_file_e81c4fa6"
AUTH = {"keys": [{"name": "file", "key": FILE_KEY, "team": "old"}], "admin_key": ADMIN}


async def call(running: RunningGateway, key: str, model: str = "sim-fast", **fields: Any) -> Response:
    return await ask(running.port, chat(model, head=bearing(key), **fields))


async def made(running: RunningGateway, name: str, **more: Any) -> str:
    """The secret of a new key."""
    answer = await ask(running.port, request("/admin/keys", {"name": name, **more}, head=bearing(ADMIN)))
    assert answer.status == 201, answer.body
    return str(answer.json["key"])


async def used(running: RunningGateway, key: str = ADMIN, path: str = "/admin/usage", query: str = "") -> Any:
    answer = await ask(running.port, get(path + query, head=bearing(key)))
    assert answer.status == 200, answer.body
    return answer.json


async def written(running: RunningGateway, true: Callable[[Any], bool], query: str = "") -> Any:
    """The report, once it says what it should."""
    async with asyncio.timeout(PATIENCE):
        while not true(report := await used(running, query=query)):
            pass
    return report


# Keys.


async def test_a_new_key_works_at_once_and_in_every_process(store_url: str, gateway: GatewayFactory) -> None:
    settings = {"auth": AUTH, "store": {"url": store_url}}
    here, there = await gateway(settings), await gateway(settings)
    secret = await made(here, "web", models=["sim-*"])
    assert secret.startswith("hpx_")
    assert (await call(there, secret)).status == 200
    assert (await call(here, secret)).status == 200
    assert (await call(here, secret, "other")).code == "model_not_allowed"


async def test_a_revoked_key_is_refused_by_every_process_within_a_second(
    store_url: str,
    gateway: GatewayFactory,
) -> None:
    settings = {"auth": AUTH, "store": {"url": store_url}}
    here, there = await gateway(settings), await gateway(settings)
    secret = await made(here, "web")
    assert {(await call(each, secret)).status for each in (here, there)} == {200}
    revoked = await ask(here.port, request("/admin/keys/web", method="DELETE", head=bearing(ADMIN)))
    assert (revoked.status, revoked.json["status"]) == (200, "revoked")
    async with asyncio.timeout(at_most(1)):
        for each in (here, there):
            while (answer := await call(each, secret)).status == 200:
                pass
            assert (answer.status, answer.code) == (401, "invalid_api_key")


async def test_a_rotated_key_has_two_secrets_for_a_while(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": AUTH, "store": {"url": f"sqlite:///{tmp_path}/keys.db"}})
    old = await made(running, "web")
    answer = await ask(running.port, request("/admin/keys/web/rotate", {"overlap": "1h"}, head=bearing(ADMIN)))
    new = answer.json["key"]
    assert [(await call(running, secret)).status for secret in (new, old)] == [200, 200]
    answer = await ask(running.port, request("/admin/keys/web/rotate", {}, head=bearing(ADMIN)))
    newest = answer.json["key"]
    assert (await call(running, newest)).status == 200
    assert [(await call(running, secret)).status for secret in (new, old)] == [401, 401]


async def test_keys_are_shown_without_their_secrets(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": AUTH, "store": {"url": f"sqlite:///{tmp_path}/keys.db"}})
    secret = await made(
        running, "web", team="shop", limits={"requests_per_minute": 5}, budget={"usd": 2.5, "per": "day"}
    )
    answer = await ask(running.port, get("/admin/keys", head=bearing(ADMIN)))
    assert secret.encode() not in answer.body
    assert FILE_KEY.encode() not in answer.body
    of_file, web = answer.json["keys"]
    assert (of_file["name"], of_file["source"], of_file["team"]) == ("file", "file", "old")
    assert (web["name"], web["source"], web["team"], web["budget"]) == (
        "web",
        "store",
        "shop",
        {"usd": 2.5, "per": "day"},
    )
    assert secret.startswith(web["prefix"])
    assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize("path", ["/admin/keys", "/admin/keys/web", "/admin/usage"])
async def test_a_clients_key_opens_no_admin_page(gateway: GatewayFactory, tmp_path: Path, path: str) -> None:
    running = await gateway({"auth": AUTH, "store": {"url": f"sqlite:///{tmp_path}/keys.db"}})
    answer = await ask(running.port, get(path, head=bearing(FILE_KEY)))
    assert (answer.status, answer.code) == (403, "admin_key_required")
    assert (await ask(running.port, get(path))).code == "missing_api_key"


async def test_a_gateway_whose_store_has_held_a_key_is_closed_to_those_without(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    running = await gateway({"store": {"url": f"sqlite:///{tmp_path}/keys.db"}})
    assert (await ask(running.port, chat())).status == 200
    for head in ("", bearing("anything")):
        refused = await ask(running.port, request("/admin/keys", {"name": "first"}, head=head))
        assert (refused.status, refused.code) == (403, "admin_key_required")
    assert (await ask(running.port, get("/admin/keys"))).status == 200
    made_openly = await ask(running.port, request("/admin/keys", {"name": "first"}, head=bearing(TERMINAL_TOKEN)))
    assert made_openly.status == 201
    async with asyncio.timeout(at_most(1)):
        while (answer := await ask(running.port, chat())).status == 200:
            pass
    assert answer.code == "missing_api_key"
    assert (await call(running, made_openly.json["key"])).status == 200


# Rows.


async def test_every_call_leaves_one_row_whatever_became_of_it(
    store_url: str,
    gateway: GatewayFactory,
    simulator: Simulator,
) -> None:
    running = await gateway({"auth": AUTH, "store": {"url": store_url}, "failover": {"retries": 0}})
    whole = (await call(running, FILE_KEY)).json["usage"]
    await call(running, FILE_KEY, stream=True)
    await call(running, FILE_KEY, "sim-fault:status=500")
    await call(running, FILE_KEY, "sim-fault:status=400")
    async with connect(running.port) as wire:
        wire.send(chat("sim-fault:fin@5", head=bearing(FILE_KEY), stream=True))
        await wire.to_end()
    async with connect(running.port) as wire:
        wire.send(chat("sim-1:silence", head=bearing(FILE_KEY), stream=True))
        await eventually(simulator, lambda record: record.model == "sim-1:silence")
    await call(running, FILE_KEY, "no/such-model")
    # What was never admitted has none.
    await call(running, "hpx_wrong_0123456789")
    await ask(running.port, get("/v1/models", head=bearing(FILE_KEY)))

    report = await written(
        running, lambda told: told["total"]["requests"] == 7 and not told["total"]["pending"], "?by=outcome"
    )
    rows = {line["group"]: line for line in report["lines"]}
    assert {outcome: line["requests"] for outcome, line in rows.items()} == {
        "ok": 2,
        "failed": 1,
        "refused": 2,
        "cut": 1,
        "client_gone": 1,
    }
    assert rows["ok"]["prompt_tokens"] == 2 * whole["prompt_tokens"]
    assert rows["ok"]["completion_tokens"] == 2 * whole["completion_tokens"]
    assert rows["ok"]["estimated"] == 0
    assert rows["cut"]["completion_tokens"] == 4
    assert rows["cut"]["estimated"] == 1
    for outcome in ("failed", "refused", "client_gone"):
        assert rows[outcome]["completion_tokens"] == rows[outcome]["prompt_tokens"] == 0
    assert (await used(running, query="?by=team"))["lines"][0]["group"] == "old"


async def test_a_client_sees_its_own_usage_and_no_other_keys(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": AUTH, "store": {"url": f"sqlite:///{tmp_path}/usage.db"}})
    other = await made(running, "other")
    await call(running, FILE_KEY)
    for _ in range(2):
        await call(running, other)
    await written(running, lambda told: told["total"]["requests"] == 3)
    own = await used(running, other, "/v1/usage")
    assert (own["total"]["requests"], [line["group"] for line in own["lines"]]) == (2, ["sim-fast"])
    foreign = await ask(running.port, get("/v1/usage?key=file", head=bearing(other)))
    assert (foreign.status, foreign.code) == (400, "invalid_parameter")


async def test_a_budget_outlives_the_process(store_url: str, gateway: GatewayFactory) -> None:
    auth = {"keys": [{"name": "web", "key": FILE_KEY, "budget": {"tokens": 100, "per": "month"}}], "admin_key": ADMIN}
    settings = {"auth": auth, "store": {"url": store_url}}
    first = await gateway(settings)
    spent = 0
    while (answer := await call(first, FILE_KEY, max_tokens=30)).status == 200:
        spent += answer.json["usage"]["total_tokens"]
    assert answer.code == "insufficient_quota"
    await written(first, lambda told: told["total"]["prompt_tokens"] + told["total"]["completion_tokens"] == spent)
    second = await gateway(settings)
    assert (await call(second, FILE_KEY, max_tokens=30)).code == "insufficient_quota"


# The store away.


async def test_while_the_store_is_away_known_keys_go_on_and_nothing_is_lost(
    postgres_server: Postgres,
    postgres_url: str,
    gateway: GatewayFactory,
) -> None:
    running = await gateway({"auth": AUTH, "store": {"url": postgres_url}})
    known = await made(running, "known")
    assert (await call(running, known)).status == 200
    postgres_server.stop()
    try:
        await becomes(lambda: running.metric("hapax_store_available") == 0)
        for _ in range(20):
            assert (await call(running, known)).status == 200
        # One of the right form, which another process may just have made; and one that none can have made.
        unknown = await call(running, known[:-7] + ("1" if known[-7] == "0" else "0") + known[-6:])
        assert unknown.code in ("invalid_api_key", "store_unavailable")
        assert (await call(running, "hpx_wrong_0123456789")).code == "invalid_api_key"
        refused = await ask(running.port, get("/admin/keys", head=bearing(ADMIN)))
        assert (refused.status, refused.code) == (503, "store_unavailable")
        assert running.metric("hapax_ledger_buffered") >= 20
    finally:
        await postgres_server.start()
    await becomes(lambda: running.metric("hapax_store_available") == 1 and not running.metric("hapax_ledger_buffered"))
    report = await written(running, lambda told: told["total"]["requests"] == 21)
    assert report["total"]["pending"] == 0
    assert running.metric("hapax_ledger_dropped_total") == 0


# The process.


async def test_a_stop_by_signal_loses_no_row(simulator: Simulator, tmp_path: Path) -> None:
    settings = {
        "server": {"drain_delay": "0s"},
        "providers": {"sim": target(simulator)},
        "store": {"url": "sqlite:///rows.db"},
    }
    async with hapax(tmp_path, settings) as running:
        answers = await asyncio.gather(*(ask(running.port, chat()) for _ in range(50)))
        running.signal(signal.SIGTERM)
        assert await running.ended() == (0, b"")
    assert {answer.status for answer in answers} == {200}
    store = Store(f"sqlite:///{tmp_path}/rows.db")
    line = await total(store, since=clock.wall() - timedelta(hours=1), until=None)
    await store.close()
    assert (line.requests, line.ok, line.pending) == (50, 50, 0)


async def test_a_reload_puts_keys_and_limits_in_force_and_a_bad_one_changes_nothing(
    simulator: Simulator, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "server": {"drain_delay": "0s"},
        "providers": {"sim": target(simulator)},
        "store": {"url": ""},
        "auth": {"keys": [{"name": "old", "key": FILE_KEY}]},
    }
    new = "hpx_the_new_key_b4d90c72"

    async def status(port: int, key: str) -> int:
        return (await ask(port, chat(head=bearing(key)))).status

    def write(**sections: Any) -> None:
        (tmp_path / "hapax.yaml").write_text(yaml.safe_dump({"logging": {"level": "error"}, **settings, **sections}))

    async with hapax(tmp_path, settings) as running:
        assert [await status(running.port, key) for key in (FILE_KEY, new)] == [200, 401]
        write(auth={"keys": [{"name": "new", "key": new, "limits": {"requests_per_minute": 2}}]})
        running.signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while await status(running.port, FILE_KEY) == 200:
                pass
        assert [await status(running.port, new) for _ in range(3)] == [200, 200, 429]
        write(auth={"keys": [{"name": "", "key": new}], "nonsense": True})
        running.signal(signal.SIGHUP)
        assert running.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            # What was put in force stands in the audit log, whatever the level.
            while b"configuration reloaded" in (told := await running.process.stderr.readline()):
                pass
        assert b"reload refused, the old configuration stays" in told
        assert b"auth.nonsense" in told
        assert new.encode() not in told
        assert [await status(running.port, key) for key in (FILE_KEY, new)] == [401, 429]


async def test_an_address_others_reach_needs_a_key_in_the_file_or_in_the_store(
    simulator: Simulator, tmp_path: Path
) -> None:
    settings = {
        "server": {"host": "0.0.0.0", "drain_delay": "0s"},
        "providers": {"sim": target(simulator)},
        "store": {"url": "sqlite:///keys.db"},
    }
    with pytest.raises(ValueError, match="invalid literal"):
        async with hapax(tmp_path, settings) as refused:
            raise AssertionError(refused.port)
    store = Store(f"sqlite:///{tmp_path}/keys.db")
    _, secret = await Keys(store).create(NewKey(name="web"))
    await store.close()
    async with hapax(tmp_path, settings) as running:
        assert (await ask(running.port, chat(head=bearing(secret)))).status == 200
        assert (await ask(running.port, chat())).status == 401
