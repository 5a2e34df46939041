"""What a key may ask is exact: before, during and after its calls, on streams too, and the headers tell the truth."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core.exchange import Outcome
from proxy.limits.limit import What
from proxy.limits.memory import MemoryLimits
from proxy.limits.redis import RedisLimits
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.clock import at_most
from tests.rigs.redis import redis_server
from tests.rigs.simulator import Simulator

from .loop import until
from .wire import PATIENCE, Response, ask, becomes, chat, connect, eventually, get, request

PRICES = """\
dear:
  source: these tests
  as_of: 2026-11-25
  models:
    "sim-fast*": {input: 0, output: 1000}
"""
WEB, APP = "hpx_web_0123456789abcdef", "hpx_app_fedcba9876543210"


def keys(**of_web: Any) -> dict[str, Any]:
    """Two keys, the first with limits."""
    return {
        "keys": [{"name": "web", "key": WEB, **of_web}, {"name": "app", "key": APP}],
        "admin_key": "hpx_admin_0123456789",
    }


def bearing(key: str) -> str:
    return f"Authorization: Bearer {key}\r\n"


async def call(running: RunningGateway, model: str = "sim-fast", *, key: str = WEB, **fields: Any) -> Response:
    return await ask(running.port, chat(model, head=bearing(key), **fields))


def level(running: RunningGateway, what: What, scope: str = "") -> int:
    """What is left of a limit of the key `web`."""
    limits = running.listener.gateway.accounting.limits
    assert isinstance(limits, MemoryLimits)
    policy = running.listener.gateway.accounting.policy
    principal = next(each for each in running.listener.gateway.accounting.principals.all() if each.name == "web")
    applying = policy.applying("web", principal.limits, principal.budget, "/v1/chat/completions", "sim-fast")
    every = (
        *applying.requests,
        *applying.tokens,
        *applying.concurrent,
        *([applying.budget] if applying.budget else []),
    )
    limit = next(each for each in every if each.what is what and f"|{scope}|" in each.id)
    return limits.standing(limit, asyncio.get_running_loop().time()).remaining


@pytest.fixture(params=["memory", "redis"])
def state(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Where the levels are kept."""
    if request.param == "memory":
        yield {"url": "memory://"}
    else:
        with redis_server() as server:
            yield {"url": server.url}


# Requests.


async def test_ten_calls_pass_the_eleventh_is_told_when_to_come_back(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"requests_per_minute": 10})})
    answers = [await call(running) for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert [answer.header("x-ratelimit-remaining") for answer in answers[:10]] == [str(9 - i) for i in range(10)]
    refused = answers[-1]
    assert refused.code == "rate_limit_exceeded"
    assert refused.json["error"]["type"] == "rate_limit_error"
    assert refused.json["error"]["message"] == "This key's limit of 10 requests per minute is reached."
    assert refused.json["error"]["details"] == {"hapax_type": "RateLimitError", "limit": "requests"}
    assert refused.header("x-ratelimit-limit") == refused.header("x-ratelimit-limit-requests") == "10"
    assert refused.header("x-ratelimit-remaining") == "0"
    wait = int(refused.header("retry-after-ms") or 0)
    # What has passed since the first of them is over already.
    assert max(0, 6000 - at_most(1000)) < wait <= 6000
    assert refused.header("retry-after") == str(math.ceil(wait / 1000))
    assert running.metric("hapax_rate_limit_hits_total", client="web") == 1


async def test_a_client_that_waits_as_long_as_it_was_told_is_admitted_and_one_that_waits_less_is_not(
    gateway: GatewayFactory,
) -> None:
    running = await gateway({"auth": keys(limits={"requests_per_minute": 60})})
    for _ in range(60):
        assert (await call(running)).status == 200
    loop = asyncio.get_running_loop()
    while True:
        asked = loop.time()
        if (refused := await call(running)).status == 200:
            continue  # what came back while the sixty were asked
        wait = int(refused.header("retry-after-ms") or 0) / 1000
        told = loop.time() + wait
        # The waiting itself is what is tested here.
        await asyncio.sleep(wait * 0.9)
        early = await call(running)
        if loop.time() < asked + wait:
            break
        # This machine was late, and it was not early at all.
    assert early.status == 429
    await asyncio.sleep(max(0.0, told - loop.time()))
    assert (await call(running)).status == 200


async def test_two_keys_have_limits_of_their_own(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"requests_per_minute": 1})})
    assert (await call(running)).status == 200
    assert (await call(running)).status == 429
    other = await call(running, key=APP)
    assert other.status == 200
    assert other.header("x-ratelimit-limit") is None


async def test_a_route_and_a_model_have_limits_beside_those_of_the_key(gateway: GatewayFactory) -> None:
    running = await gateway(
        {
            "auth": keys(limits={"requests_per_minute": 100}),
            "limits": {
                "routes": {"/v1/embeddings": {"requests_per_minute": 1}},
                "models": {"sim-*": {"requests_per_minute": 50}, "sim-1*": {"requests_per_minute": 2}},
            },
        }
    )
    question = {"model": "sim-embed", "input": "x"}
    embed = request("/v1/embeddings", question, head=bearing(WEB))
    assert [(await ask(running.port, embed)).status for _ in range(2)] == [200, 429]
    assert [(await call(running, "sim-1:pace=0")).status for _ in range(3)] == [200, 200, 429]
    # What was refused cost nothing anywhere: 1 + 2 of the key's own hundred are gone, and this one.
    answer = await call(running)
    assert answer.header("x-ratelimit-remaining-requests") == "48"
    assert level(running, What.REQUESTS) == 96


async def test_without_keys_every_address_has_the_default_limits_for_itself(gateway: GatewayFactory) -> None:
    running = await gateway(
        {
            "limits": {"default": {"requests_per_minute": 2}},
            "server": {"trusted_proxies": ["127.0.0.0/8"]},
        }
    )

    async def from_address(address: str) -> int:
        return (await ask(running.port, chat(head=f"X-Forwarded-For: 9.9.9.9, {address}\r\n"))).status

    assert [await from_address("198.51.100.1") for _ in range(3)] == [200, 200, 429]
    assert await from_address("198.51.100.2") == 200


async def test_an_address_no_trusted_proxy_vouches_for_is_not_believed(gateway: GatewayFactory) -> None:
    running = await gateway({"limits": {"default": {"requests_per_minute": 2}}})
    statuses = [(await ask(running.port, chat(head=f"X-Forwarded-For: 198.51.100.{i}\r\n"))).status for i in range(3)]
    assert statuses == [200, 200, 429]


# Tokens.


async def test_tokens_are_reserved_while_a_call_runs_and_settled_when_it_ends(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"auth": keys(limits={"tokens_per_minute": 1000})})
    async with connect(running.port) as wire:
        wire.send(chat("sim-1:silence", head=bearing(WEB), max_tokens=600))
        await eventually(simulator)
        refused = await call(running, max_tokens=600)
        assert (refused.status, refused.json["error"]["details"]["limit"]) == (429, "tokens")
        assert refused.header("x-ratelimit-limit-tokens") == "1000"
    await gone(running)
    answer = await call(running, max_tokens=600)
    assert answer.status == 200
    used = answer.json["usage"]["total_tokens"]
    assert used < 100
    assert level(running, What.TOKENS) in range(1000 - used, 1000 - used + 5)


async def test_no_call_is_refused_for_what_calls_hold_that_have_just_ended(
    state: dict[str, str], gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"auth": keys(limits={"tokens_per_minute": 1000}), "state": state})
    # While others are under way, calls that ended are settled many at a time.
    async with connect(running.port) as wire:
        wire.send(chat("sim-1:silence", head=bearing(APP)))
        await eventually(simulator)
        answers = [await call(running, max_tokens=600) for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 4


async def test_a_call_larger_than_the_limit_is_refused_for_good(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"tokens_per_minute": 100})})
    refused = await call(running, messages=[{"role": "user", "content": "x" * 1000}])
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
    assert refused.header("x-should-retry") == "false"
    assert refused.header("retry-after") is None


async def test_an_answer_that_used_more_than_was_reserved_is_owed(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"tokens_per_minute": 600})})
    # Nothing is known of such answers yet, so 512 are reserved beside the prompt.
    answer = await call(running, "sim-fast:tokens=900")
    assert answer.status == 200
    refused = await call(running)
    assert refused.status == 429
    assert refused.header("x-ratelimit-remaining-tokens") == "0"
    assert 40 <= int(refused.header("retry-after") or 0) <= 90


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_gives_the_tokens_back(gateway: GatewayFactory, stream: bool) -> None:
    running = await gateway({"auth": keys(limits={"tokens_per_minute": 1000, "requests_per_minute": 50})})
    answer = await call(running, "sim-fault:status=500", max_tokens=500, stream=stream)
    assert answer.status == 502
    assert level(running, What.TOKENS) == 1000
    assert level(running, What.REQUESTS) in (49, 50), "a provider was asked, so the request itself counts"


async def test_a_model_no_provider_serves_costs_a_request_and_no_tokens(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"requests_per_minute": 2, "tokens_per_minute": 1000})})
    assert (await call(running, "no-such-model")).status == 404
    assert (level(running, What.REQUESTS), level(running, What.TOKENS)) == (1, 1000)


async def test_reading_a_stored_answer_charges_it_no_second_time(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"tokens_per_minute": 1000})})
    used = await ask(running.port, get("/v1/responses/resp_1", head=bearing(WEB)))
    assert used.status in (200, 404)
    assert level(running, What.TOKENS) == 1000
    assert running.metric("hapax_tokens_total", kind="prompt") == 0


async def test_a_name_longer_than_any_models_is_refused(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys()})
    refused = await call(running, "m" * 257)
    assert (refused.status, refused.code) == (400, "invalid_type")


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/fine_tuning/jobs", "/v1/threads/t/runs"])
async def test_a_key_with_a_budget_may_not_start_what_has_no_price(gateway: GatewayFactory, path: str) -> None:
    running = await gateway({"auth": keys(budget={"tokens": 1000, "per": "day"})})
    refused = await ask(running.port, request(path, {"model": "sim-fast"}, head=bearing(WEB)))
    assert (refused.status, refused.code) == (403, "price_unknown")
    other = await ask(running.port, request(path, {"model": "sim-fast"}, head=bearing(APP)))
    assert other.status == 200


async def test_a_fallback_without_a_price_is_no_way_around_a_budget_in_dollars(
    gateway: GatewayFactory, simulator: Simulator, prices: str
) -> None:
    settings = dear(prices, simulator, usd=1, per="day")
    settings["models"] = {"cheap": {"targets": ["sim/sim-fast"], "fallbacks": ["unpriced"]}}
    running = await gateway(settings)
    assert (await call(running, "cheap")).code == "price_unknown"


async def test_a_client_that_leaves_pays_for_what_it_got(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"tokens_per_minute": 100_000})})
    async with connect(running.port) as wire:
        wire.send(chat("sim-1:tokens=1000,pace=2ms", head=bearing(WEB), stream=True))
        received = await wire.until(b"\r\n\r\n")
        while received.count(b'"content":') < 60:
            received += await wire.until(b"\n\n")
    await gone(running)
    prompt = -(-len(request_body(stream=True)) // 4)
    used = 100_000 - level(running, What.TOKENS)
    # The bucket refills by 1667 a second, so a little has come back; more than was sent cannot have been taken.
    assert 0 <= used <= prompt + 80


async def test_failover_charges_the_client_once(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway(
        {
            "auth": keys(limits={"requests_per_minute": 50, "tokens_per_minute": 1000}),
            "providers": {"a": provider(simulator), "b": provider(simulator)},
            "models": {"m": {"targets": ["a/sim-fault:status=503", "b/sim-fast"]}},
        }
    )
    answer = await call(running, "m")
    assert (answer.status, answer.header("x-hapax-attempts")) == (200, "2")
    assert level(running, What.REQUESTS) == 49
    used = answer.json["usage"]["total_tokens"]
    assert level(running, What.TOKENS) in range(1000 - used, 1000 - used + 3)


@pytest.mark.parametrize("stream", [False, True])
async def test_answers_carry_both_kinds_of_headers(gateway: GatewayFactory, stream: bool) -> None:
    running = await gateway({"auth": keys(limits={"requests_per_minute": 600, "tokens_per_minute": 6000})})
    answer = await call(running, stream=stream, max_tokens=100)
    assert answer.header("x-ratelimit-limit-requests") == "600"
    assert answer.header("x-ratelimit-remaining-requests") == "599"
    assert answer.header("x-ratelimit-reset-requests") in ("100ms", "99ms", "98ms")
    assert answer.header("x-ratelimit-limit-tokens") == "6000"
    assert 5800 < int(answer.header("x-ratelimit-remaining-tokens") or 0) < 5900
    assert answer.header("x-ratelimit-limit") == "600"


# Calls at once.


@pytest.mark.parametrize(
    "model", ["sim-fast", "sim-fault:status=500", "sim-fault:status=400", "sim-fault:rst", "sim-fault:rst@3"]
)
async def test_a_place_is_given_back_however_the_call_ends(gateway: GatewayFactory, model: str) -> None:
    running = await gateway({"auth": keys(limits={"concurrent": 1}), "failover": {"retries": 0}})
    for _ in range(3):
        async with connect(running.port) as wire:
            wire.send(chat(model, head=bearing(WEB) + "Connection: close\r\n", stream=True))
            received, _ = await wire.to_end()
            assert not received.startswith(b"HTTP/1.1 429")
    assert level(running, What.CONCURRENT) == 1


async def test_one_call_too_many_at_once_is_refused_and_admitted_when_one_has_left(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"auth": keys(limits={"concurrent": 2})})
    async with connect(running.port) as one, connect(running.port) as two:
        for wire in (one, two):
            wire.send(chat("sim-1:silence", head=bearing(WEB)))
        await becomes(lambda: not level(running, What.CONCURRENT))
        refused = await call(running)
        assert (refused.status, refused.json["error"]["details"]["limit"]) == (429, "concurrent")
        assert refused.header("retry-after") == "1"
        one.abort()
        await becomes(lambda: level(running, What.CONCURRENT))
        assert (await call(running)).status == 200


async def test_two_hundred_calls_at_once_against_a_hundred_admit_a_hundred(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"requests_per_minute": 100})})
    answers = await asyncio.gather(*(call(running) for _ in range(200)))
    admitted = sum(answer.status == 200 for answer in answers)
    # One more comes back every 0.6 seconds.
    assert 100 <= admitted <= 102
    assert {answer.status for answer in answers} == {200, 429}


# Money.


@pytest.fixture
def prices(tmp_path: Path) -> str:
    """A price file: what costs a dollar a thousand tokens, so that a word costs a tenth of a cent."""
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES)
    return str(file)


def dear(running_prices: str, simulator: Simulator, **budget: Any) -> dict[str, Any]:
    return {
        "auth": keys(budget=budget),
        "store": {"url": "", "prices": running_prices},
        "models": {"secret": {"targets": ["sim/sim-fast", "sim/unpriced"]}},
        "providers": {"sim": provider(simulator, models=["sim-*", "unpriced"])},
    }


async def test_a_budget_in_tokens_is_used_up_for_the_day(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(budget={"tokens": 120, "per": "day"})})
    statuses = []
    while (answer := await call(running, max_tokens=40)).status == 200:
        statuses.append(answer.json["usage"]["total_tokens"])
        assert len(statuses) < 10
    assert statuses
    assert sum(statuses) <= 120
    assert (answer.status, answer.code) == (429, "insufficient_quota")
    assert answer.json["error"]["type"] == "insufficient_quota"
    assert answer.header("x-should-retry") == "false"
    assert 0 < int(answer.header("retry-after") or 0) <= 86400


async def test_a_budget_in_dollars_is_kept_by_calls_at_once(
    gateway: GatewayFactory, simulator: Simulator, prices: str
) -> None:
    # A call of 5 words costs half a cent, so 0.1 dollars pay for twenty of a hundred at once.
    settings = dear(prices, simulator, usd=0.1, per="month")
    settings["models"] = {"dear": {"targets": ["sim/sim-fast:tokens=5"]}}
    running = await gateway(settings)
    answers = await asyncio.gather(*(call(running, "dear", max_tokens=5) for _ in range(100)))
    assert sum(answer.status == 200 for answer in answers) == 20
    assert {answer.code for answer in answers if answer.status != 200} == {"insufficient_quota"}
    assert level(running, What.BUDGET) == 0
    assert round(running.metric("hapax_cost_usd_total", provider="sim", model="dear"), 6) == 0.1


async def test_a_model_without_a_price_is_refused_under_a_budget_in_dollars(
    gateway: GatewayFactory, simulator: Simulator, prices: str
) -> None:
    running = await gateway(dear(prices, simulator, usd=1, per="day"))
    refused = await call(running, "secret")
    assert (refused.status, refused.code) == (403, "price_unknown")
    assert (await call(running, "secret", key=APP)).status == 200


# Keys.


async def test_a_key_may_be_kept_to_some_paths(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(routes=["/v1/chat/*", "/v1/models"])})
    assert (await call(running)).status == 200
    assert (await ask(running.port, get("/v1/models", head=bearing(WEB)))).status == 200
    refused = await ask(
        running.port, request("/v1/embeddings", {"model": "sim-embed", "input": "x"}, head=bearing(WEB))
    )
    assert (refused.status, refused.code) == (403, "route_not_allowed")


async def test_a_client_that_tries_many_wrong_keys_is_slowed_down_and_one_with_a_key_is_not(
    gateway: GatewayFactory,
) -> None:
    running = await gateway({"auth": keys(), "limits": {"keyless": {"requests_per_minute": 3}}})
    wrong = [await call(running, key=f"hpx_wrong_{i}") for i in range(4)]
    assert [answer.code for answer in wrong] == ["invalid_api_key"] * 3 + ["rate_limit_exceeded"]
    assert wrong[-1].json["error"]["message"] == "This address's limit of 3 requests per minute is reached."
    assert (await call(running)).status == 200


async def test_open_pages_are_limited_by_address_and_probes_are_not(gateway: GatewayFactory) -> None:
    running = await gateway({"limits": {"keyless": {"requests_per_minute": 2}}})
    await running.listener.gateway.checks.known.wait()
    statuses = [(await ask(running.port, get("/health"))).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    for path in ("/live", "/ready", "/health/live", "/health/ready"):
        assert {(await ask(running.port, get(path))).status for _ in range(5)} == {200}


async def test_the_native_endpoint_counts_as_well(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": keys(limits={"requests_per_minute": 1})})
    asked = request("/v1/completion", {"model": "sim-fast", "input": "hello"}, head=bearing(WEB))
    assert (await ask(running.port, asked)).status == 200
    refused = await ask(running.port, asked)
    assert refused.status == 429
    assert refused.json["error"]["type"] == "RateLimitError"
    assert refused.header("retry-after") == "60"


def request_body(**fields: Any) -> bytes:
    return chat("sim-1:tokens=1000,pace=2ms", **fields).partition(b"\r\n\r\n")[2]


async def gone(running: RunningGateway) -> None:
    """Every exchange has ended."""
    async with asyncio.timeout(PATIENCE):
        await running.listener.gateway.under_way.idle.wait()


async def test_a_call_that_is_refused_before_it_is_one_costs_a_request_too(
    state: dict[str, str], gateway: GatewayFactory
) -> None:
    key = {"name": "web", "key": WEB, "limits": {"requests_per_minute": 3}}
    running = await gateway({"auth": {"keys": [key]}, "state": state})
    head = bearing(WEB)
    broken = request("/v1/chat/completions", b"{", head=head)
    unread = request("/v1/chat/completions", b"hello", head=head).replace(b"application/json", b"text/plain")
    unnamed = request("/v1/chat/completions", {"messages": []}, head=head)
    statuses = [(await ask(running.port, each)).status for each in (broken, unread, unnamed, broken, unread)]
    assert statuses == [400, 415, 400, 429, 429]
    # What is no call costs none.
    assert (await ask(running.port, get("/v1/models", head=head))).status == 200


async def test_a_client_that_leaves_while_redis_is_asked_to_charge_it_is_told_as_gone(gateway: GatewayFactory) -> None:
    with redis_server() as server:
        key = {"name": "web", "key": WEB, "limits": {"requests_per_minute": 3}}
        running = await gateway({"auth": {"keys": [key]}, "state": {"url": server.url}})
        limits = running.listener.gateway.accounting.limits
        assert isinstance(limits, RedisLimits)
        limits._patience = PATIENCE
        observed, before = running.observed(), limits.round_trips_total
        server.freeze()
        try:
            async with connect(running.port) as wire:
                wire.send(request("/v1/chat/completions", b"{", head=bearing(WEB)))
                await until(lambda: running.listener.gateway.under_way.count and limits.round_trips_total > before)
            await gone(running)
        finally:
            server.thaw()
        running.caught_up()
        assert [exchange.outcome for exchange in observed] == [Outcome.CLIENT_GONE]
        await running.listener.stop()


async def test_a_page_is_limited_by_the_limit_of_its_path(gateway: GatewayFactory) -> None:
    limits = {"routes": {"/v1/models": {"requests_per_minute": 2}}}
    running = await gateway({"auth": {"keys": [{"name": "web", "key": WEB}]}, "limits": limits})
    head = bearing(WEB)
    statuses = [(await ask(running.port, get("/v1/models", head=head))).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await ask(running.port, chat(head=head))).status == 200


async def test_a_key_that_has_no_request_left_costs_a_head(gateway: GatewayFactory) -> None:
    key = {"name": "web", "key": WEB, "limits": {"requests_per_minute": 1}}
    running = await gateway({"auth": {"keys": [key]}})
    head = bearing(WEB)
    assert (await ask(running.port, chat(head=head))).status == 200
    async with connect(running.port) as wire:
        # Not a byte of the body is sent.
        wire.send(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}Content-Type: application/json\r\n"
            "Content-Length: 30000000\r\n\r\n".encode()
        )
        answer = await wire.response()
        assert (answer.status, answer.header("connection")) == (429, "close")


async def test_a_call_that_waits_for_a_place_holds_no_body(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway({"queue": {"enabled": True, "max_running": 1, "max_wait": "20s"}})
    async with connect(running.port) as first, connect(running.port) as second:
        first.send(chat("sim-fault:silence"))
        await until(lambda: running.listener.gateway.admission._running == 1)
        body = b'{"model": "sim-fast", "messages": [{"role": "user", "content": "' + b"x" * 1_000_000 + b'"}]}'
        second.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        line = running.listener.gateway.accounting.queue
        assert line is not None
        await until(lambda: line.waiting)
        first.abort()
        second.send(body)
        assert (await second.response()).status == 200
