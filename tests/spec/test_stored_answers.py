"""Stored answers: the same question gets the same bytes again, for those who share them, and never a broken answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cache.memory_answers import MemoryAnswers
from proxy.cache.redis_answers import RedisAnswers
from proxy.cache.stored_answer import Steps
from proxy.core.exchange import Outcome
from proxy.observe.access import fields
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.gated import BODY, DONE, HEAD, ONE, STREAM, TWO, Gated, framed
from tests.rigs.hapax import hapax
from tests.rigs.redis import RedisServer, redis_server

from .wire import Response, Wire, ask, becomes, chat, connect, get, request

A, B, C, D, E = (f"hapax-holder-{name}-4b1e9d7730aa65c2" for name in "abcde")
ADMIN = "hapax-admin-9f2b6c1de04a7788"
ON: dict[str, Any] = {"enabled": True}


def whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nx-request-id: up-1\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


@pytest.fixture
async def provider() -> AsyncIterator[Gated]:
    async with Gated([whole(BODY)], open_pieces=1) as running:
        yield running


@pytest.fixture
async def streaming() -> AsyncIterator[Gated]:
    async with Gated(STREAM, open_pieces=3) as running:
        yield running


def settings(provider: Gated, cache: dict[str, Any] = ON, **more: Any) -> dict[str, Any]:
    return {
        "providers": {"one": provider.settings()},
        "health_check": {"enabled": False},
        "failover": {"retries": 0},
        "cache": cache,
        **more,
    }


async def asked(running: RunningGateway, call: bytes) -> Response:
    """The answer to *call*, once the gateway has done with it."""
    answer = await ask(running.port, call)
    await becomes(lambda: running.listener.gateway.under_way.count == 0)
    return answer


def verdict(answer: Response) -> str | None:
    return answer.header("x-hapax-cache")


async def test_the_same_question_gets_the_same_bytes_and_no_provider_is_asked(
    gateway: GatewayFactory, provider: Gated
) -> None:
    running = await gateway(settings(provider))
    first, second = [await asked(running, chat("m")) for _ in range(2)]
    assert provider.asked == 1
    assert (first.body, second.body) == (BODY, BODY)
    assert (verdict(first), verdict(second)) == ("miss", "hit")
    assert (first.header("age"), second.header("age")) == (None, "0")
    assert second.header("x-hapax-provider") == "one"
    assert second.header("x-hapax-attempts") == "0"
    assert second.header("content-type") == "application/json"
    assert second.header("x-upstream-request-id") is None
    assert first.header("x-request-id") != second.header("x-request-id")


async def test_a_stream_is_replayed_with_its_bytes(gateway: GatewayFactory, streaming: Gated) -> None:
    running = await gateway(settings(streaming))
    first, second = [await asked(running, chat("m", stream=True)) for _ in range(2)]
    assert streaming.asked == 1
    assert first.body == second.body == ONE + TWO + DONE
    assert (verdict(first), verdict(second)) == ("miss", "hit")
    assert second.header("content-type") == "text/event-stream"
    assert second.header("cache-control") == first.header("cache-control")


async def test_a_stream_and_a_whole_answer_are_two_questions(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider))
    assert [verdict(await asked(running, chat("m", **more))) for more in ({}, {"stream": False})] == ["miss", "miss"]


@pytest.mark.parametrize(
    "call",
    [
        chat("m", tools=[{"type": "function"}]),
        chat("m", functions=[{"name": "f"}]),
        chat("m", store=True),
        chat("m", head="Cache-Control: no-store\r\n"),
        chat("m", head="Cache-Control: no-cache, no-store\r\n"),
        chat("off"),
        chat("m", head=f"X-API-Key: {B}\r\n"),
        # The Responses API keeps what it is not told to let go.
        request("/v1/responses", {"model": "m", "input": "a"}),
    ],
    ids=["tools", "functions", "store", "no-store", "no-cache and no-store", "a model", "a key", "a kept response"],
)
async def test_a_call_that_has_no_stored_answer_is_told_so(
    gateway: GatewayFactory, provider: Gated, call: bytes
) -> None:
    keys = {"keys": [{"name": "a", "key": A}, {"name": "b", "key": B, "cache": False}]}
    more = {"auth": keys} if B.encode() in call else {}
    running = await gateway(settings(provider, models={"off": {"targets": ["one/m"], "cache": False}}, **more))
    assert [verdict(await asked(running, call)) for _ in range(2)] == ["bypass", "bypass"]
    assert provider.asked == 2
    assert running.metric("llm_router_cache_misses_total", cache_type="response") == 0


async def test_where_the_cache_is_off_nothing_is_said_of_it(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider, {}))
    answers = [await asked(running, chat("m")) for _ in range(2)]
    assert provider.asked == 2
    assert not {"x-hapax-cache", "age"} & answers[1].names


async def test_calls_that_keep_nothing_of_a_model_have_no_verdict(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider))
    answer = await asked(running, request("/v1/files", None, method="GET"))
    assert "x-hapax-cache" not in answer.names


async def test_tools_are_stored_where_they_are_allowed(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider, {**ON, "tools": True}))
    call = chat("m", tools=[{"type": "function"}])
    assert [verdict(await asked(running, call)) for _ in range(2)] == ["miss", "hit"]


async def test_a_response_that_is_not_kept_by_its_provider_is_stored(gateway: GatewayFactory) -> None:
    async with Gated([whole(b'{"id":"r1","object":"response","status":"completed","output":[]}')], 1) as provider:
        running = await gateway(settings(provider))
        call = request("/v1/responses", {"model": "m", "input": "a", "store": False})
        assert [verdict(await asked(running, call)) for _ in range(2)] == ["miss", "hit"]


async def test_no_cache_puts_a_new_answer_in_the_place_of_the_old_one(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider))
    await asked(running, chat("m"))
    grow_older(running, 50)
    assert (await asked(running, chat("m"))).header("age") == "50"
    for refreshing in ("no-cache", "max-age=0", "Max-Age=never"):
        grow_older(running, 50)
        refreshed = await asked(running, chat("m", head=f"Cache-Control: {refreshing}\r\n"))
        assert (verdict(refreshed), refreshed.header("age")) == ("miss", None)
        assert (await asked(running, chat("m"))).header("age") == "0"
    assert provider.asked == 4


async def test_max_age_takes_only_younger_answers(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider))
    await asked(running, chat("m"))
    grow_older(running, 50)
    for age, told in (("60", "hit"), ("40", "miss"), ("40", "hit")):
        assert verdict(await asked(running, chat("m", head=f"Cache-Control: max-age={age}\r\n"))) == told
    assert provider.asked == 2


def grow_older(running: RunningGateway, seconds: float) -> None:
    """Every stored answer was made so much earlier."""
    stored = in_memory(running)
    for key, answer in list(stored.items()):
        stored[key] = replace(answer, made=answer.made - seconds)


def in_memory(running: RunningGateway) -> Any:
    answers = running.listener.gateway.cache.answers
    assert isinstance(answers, MemoryAnswers)
    return answers._answers


@pytest.mark.parametrize(
    "pieces",
    [
        [whole(b'{"error":{"message":"no"}}', b"400 Bad Request")],
        [whole(b'{"error":{"message":"no"}}', b"500 Oh")],
        [whole(b'{"error":{"message":"no"}}')],
        [whole(BODY.replace(b'"stop"', b'"length"'))],
        [whole(BODY.replace(b'"stop"', b'"content_filter"'))],
        [whole(BODY, b"202 Accepted")],
        [HEAD + framed(ONE), b"zz\r\n"],
        [HEAD + framed(ONE) + b"0\r\n\r\n"],
        [HEAD + framed(ONE, TWO.replace(b"stop", b"length"), DONE) + b"0\r\n\r\n"],
        [HEAD + framed(ONE, b'data: {"error":{"message":"no"}}\n\n') + b"0\r\n\r\n"],
    ],
    ids=[
        "400",
        "500",
        "an error with 200",
        "a limit of tokens",
        "a filter",
        "202",
        "a stream that breaks off",
        "a stream without its end",
        "a stream that ends at a limit",
        "a stream with an error",
    ],
)
async def test_what_is_no_whole_answer_is_not_stored(gateway: GatewayFactory, pieces: list[bytes]) -> None:
    async with Gated(pieces, open_pieces=len(pieces)) as provider:
        running = await gateway(settings(provider))
        call = chat("m", stream=True) if pieces[0].startswith(HEAD) else chat("m")
        for _ in range(2):
            async with connect(running.port) as wire:
                wire.send(call.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                received, _ = await wire.to_end()
                assert b"X-Hapax-Cache: miss" in received
        assert provider.asked == 2
        assert not in_memory(running)


async def test_a_fallbacks_answer_is_not_stored(gateway: GatewayFactory, provider: Gated) -> None:
    async with Gated([b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"], open_pieces=1) as broken:
        providers = {"one": provider.settings(), "two": broken.settings()}
        models = {"m": {"targets": ["two/m"], "fallbacks": ["n"]}, "n": {"targets": ["one/n"]}}
        running = await gateway(settings(provider, providers=providers, models=models))
        answers = [await asked(running, chat("m")) for _ in range(2)]
        assert [(answer.status, verdict(answer)) for answer in answers] == [(200, "miss")] * 2
        assert provider.asked == 2


async def test_who_leaves_before_the_end_leaves_no_answer(gateway: GatewayFactory) -> None:
    async with Gated(STREAM, open_pieces=1) as provider:
        running = await gateway(settings(provider))
        async with connect(running.port) as wire:
            wire.send(chat("m", stream=True))
            await wire.until(b"Good ")
            wire.abort()
            await becomes(lambda: provider.left == 1)
        await becomes(lambda: running.listener.gateway.under_way.count == 0)
        assert not in_memory(running)


TEAMS = {
    "keys": [
        {"name": "a", "key": A, "team": "red"},
        {"name": "b", "key": B, "team": "red"},
        {"name": "c", "key": C, "team": "blue"},
        {"name": "d", "key": D},
        {"name": "red", "key": E, "models": ["other"]},
    ]
}


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("principal", ["miss", "hit", "miss", "miss", "miss"]),
        ("team", ["miss", "hit", "hit", "miss", "miss"]),
        ("all", ["miss", "hit", "hit", "hit", "hit"]),
    ],
)
async def test_answers_are_shared_within_the_scope(
    gateway: GatewayFactory, provider: Gated, scope: str, told: list[str]
) -> None:
    running = await gateway(settings(provider, {**ON, "scope": scope}, auth=TEAMS))
    answers = [await asked(running, chat("m", head=f"X-API-Key: {key}\r\n")) for key in (A, A, B, C, D)]
    assert [verdict(answer) for answer in answers] == told
    kept_away = await asked(running, chat("m", head=f"X-API-Key: {E}\r\n"))
    assert (kept_away.status, kept_away.code) == (403, "model_not_allowed")


async def test_a_hit_uses_a_request_and_no_tokens_and_costs_nothing(
    gateway: GatewayFactory, provider: Gated, tmp_path: Path, sqlite_url: str
) -> None:
    prices = {"ours": {"source": "us", "as_of": "2026-11-30", "models": {"m": {"input": 1000, "output": 1000}}}}
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(prices))
    limits = {"requests_per_minute": 100, "tokens_per_minute": 1000}
    running = await gateway(
        settings(
            provider,
            auth={"keys": [{"name": "a", "key": A, "limits": limits, "budget": {"usd": 1, "per": "day"}}]},
            store={"url": sqlite_url, "prices": str(tmp_path / "prices.yaml")},
        )
    )
    head, ended = f"X-API-Key: {A}\r\n", running.observed()
    answers = [await asked(running, chat("m", head=head, max_tokens=900)) for _ in range(4)]
    assert [verdict(answer) for answer in answers] == ["miss", "hit", "hit", "hit"]
    # The first used 5 tokens in the end, of which a few have come back since; the others would not fit as they asked.
    assert int(answers[3].header("x-ratelimit-remaining-tokens") or 0) >= 995
    assert int(answers[3].header("x-ratelimit-remaining-requests") or 0) == 96
    running.caught_up()
    assert [(each.cached, each.cost, each.saved, each.tokens and each.tokens.total) for each in ended] == [
        (False, 5000, None, 5),
        (True, 0, 5000, None),
        (True, 0, 5000, None),
        (True, 0, 5000, None),
    ]
    ledger = running.listener.gateway.accounting.ledger
    assert ledger is not None
    await ledger.flush(everything=True)
    usage = (await ask(running.port, get("/v1/usage?by=key", head=head))).json["total"]
    assert (usage["cached"], usage["cost_micro_usd"], usage["saved_micro_usd"]) == (3, 5000, 15000)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 2)


async def test_a_key_without_tokens_left_still_has_its_stored_answers(gateway: GatewayFactory) -> None:
    dear = BODY.replace(b'"prompt_tokens":3', b'"prompt_tokens":3000')
    async with Gated([whole(dear)], open_pieces=1) as provider:
        limits = {"requests_per_minute": 2, "tokens_per_minute": 100}
        running = await gateway(settings(provider, auth={"keys": [{"name": "a", "key": A, "limits": limits}]}))
        head = f"X-API-Key: {A}\r\n"
        await asked(running, chat("m", head=head, max_tokens=9))
        async with connect(running.port) as wire:
            # A body that comes after its head, as SDKs send it.
            call = chat("m", head=head, max_tokens=9)
            at = call.index(b"\r\n\r\n") + 4
            wire.send(call[:at])
            await becomes(lambda: running.listener.gateway.under_way.count == 1)
            wire.send(call[at:])
            hit = await wire.response()
        assert (hit.status, verdict(hit)) == (200, "hit")
        assert hit.header("x-ratelimit-remaining-tokens") == "0"
        other = await asked(running, chat("m", head=head, max_tokens=10))
        assert (other.status, verdict(other)) == (429, "miss")
        beyond = await asked(running, chat("m", head=head, max_tokens=9))
        assert (beyond.status, beyond.code) == (429, "rate_limit_exceeded")
        assert not {"x-hapax-cache", "age"} & beyond.names
        assert provider.asked == 1


async def test_a_key_of_the_store_can_be_kept_from_stored_answers(
    gateway: GatewayFactory, provider: Gated, sqlite_url: str
) -> None:
    auth = {"admin_key": ADMIN, "keys": [{"name": "a", "key": A}]}
    running = await gateway(settings(provider, auth=auth, store={"url": sqlite_url}))
    for name, cache, told in (("plain", {}, ["miss", "hit"]), ("measuring", {"cache": False}, ["bypass", "bypass"])):
        made = await ask(running.port, request("/admin/keys", {"name": name, **cache}, head=f"X-API-Key: {ADMIN}\r\n"))
        assert (made.status, made.json["cache"]) == (201, not cache)
        head = f"X-API-Key: {made.json['key']}\r\n"
        assert [verdict(await asked(running, chat("m", head=head))) for _ in range(2)] == told


async def test_the_log_tells_a_stored_answer(gateway: GatewayFactory, streaming: Gated) -> None:
    running = await gateway(settings(streaming))
    ended = running.observed()
    for _ in range(2):
        await asked(running, chat("m", stream=True))
    running.caught_up()
    first, second = (fields(exchange, None) for exchange in ended)
    told = (
        "cached",
        "saved_micro_usd",
        "status",
        "outcome",
        "answered_model",
        "bytes_out",
        "emitted_count",
        "provider",
    )
    assert [first[name] for name in told] == [False, None, 200, "ok", "m", first["bytes_out"], 3, "one"]
    assert [second[name] for name in told] == [True, None, 200, "ok", "m", first["bytes_out"], 3, ""]
    assert (second["attempts"], second["tokens"], second["cost_micro_usd"]) == ([], None, 0)


async def test_the_metrics_tell_hits_misses_and_size(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider))
    kind = {"cache_type": "response"}
    assert running.metric("llm_router_cache_size_bytes", **kind) == 0
    for _ in range(3):
        await asked(running, chat("m"))
    assert running.metric("llm_router_cache_misses_total", **kind) == 1
    assert running.metric("llm_router_cache_hits_total", **kind) == 2
    assert len(BODY) < running.metric("llm_router_cache_size_bytes", **kind) < len(BODY) + 2000
    labels = {"model": "other", "strategy": "preference", "status": "success"}
    assert running.metric("llm_router_inference_total", cached="false", **labels) == 1
    assert running.metric("llm_router_inference_total", cached="true", **labels) == 2


async def test_identical_calls_under_way_are_one_call_and_one_stored_answer(gateway: GatewayFactory) -> None:
    async with Gated([whole(BODY)]) as provider:
        running = await gateway(settings(provider))
        together = [asyncio.ensure_future(ask(running.port, chat("m", seed=1))) for _ in range(5)]  # noqa: TID251 - held
        await becomes(lambda: running.listener.gateway.under_way.count == 5 and provider.asked == 1)
        provider.let(0)
        assert {answer.body for answer in await asyncio.gather(*together)} == {BODY}
        await becomes(lambda: running.listener.gateway.under_way.count == 0)
        assert len(in_memory(running)) == 1
        hit = await asked(running, chat("m", seed=1))
        assert (verdict(hit), hit.header("x-hapax-deduplicated"), provider.asked) == ("hit", None, 1)


async def test_a_client_that_does_not_read_holds_up_its_own_replay(gateway: GatewayFactory) -> None:
    # More than the kernel's buffers hold for a connection.
    event = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000)
    many = framed(*[event] * 400)
    async with Gated([HEAD + framed(ONE) + many + framed(TWO, DONE) + b"0\r\n\r\n"], open_pieces=1) as provider:
        running = await gateway(settings(provider, {**ON, "max_size": "1GiB"}))
        first = await asked(running, chat("m", stream=True))
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        slow = Wire(reader, writer)
        slow.send(chat("m", stream=True))
        head = await slow.until(b"\r\n\r\n")
        assert b"X-Hapax-Cache: hit" in head
        for _ in range(50):
            await asyncio.sleep(0)
        assert running.listener.gateway.under_way.count == 1
        rest = b""
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            rest += await reader.read(2**20)
        assert rest.count(event) == first.body.count(event) == 400
        writer.transport.abort()
        await becomes(lambda: running.listener.gateway.under_way.count == 0)
        assert provider.asked == 1


async def test_a_client_that_leaves_during_a_replay_is_gone_and_its_request_was_one(
    gateway: GatewayFactory, streaming: Gated
) -> None:
    running = await gateway(settings(streaming, {**ON, "pace": True}))
    await asked(running, chat("m", stream=True))
    take_an_hour(running)
    ended = running.observed()
    async with connect(running.port) as wire:
        wire.send(chat("m", stream=True))
        await wire.until(b"Good ")
        wire.abort()
        await becomes(lambda: running.listener.gateway.under_way.count == 0)
    running.caught_up()
    assert [(each.outcome, each.cached) for each in ended] == [(Outcome.CLIENT_GONE, True)]


async def test_a_stream_at_its_pace_is_sent_at_once_when_the_gateway_ends(
    gateway: GatewayFactory, streaming: Gated
) -> None:
    running = await gateway(settings(streaming, {**ON, "pace": True}))
    await asked(running, chat("m", stream=True))
    take_an_hour(running)
    async with connect(running.port) as wire:
        wire.send(chat("m", stream=True))
        await wire.until(b"Good ")
        draining = asyncio.ensure_future(running.listener.drain(0, 30))  # noqa: TID251 - awaited below
        assert (await wire.until(b"0\r\n\r\n")).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        await draining


def take_an_hour(running: RunningGateway) -> None:
    """All but the first piece of every stored stream came an hour later."""
    stored = in_memory(running)
    for key, answer in list(stored.items()):
        steps = Steps()
        steps.note(0, len(ONE))
        steps.note(3600, len(answer.body))
        stored[key] = replace(answer, steps=steps.packed())


async def test_the_operator_clears_all_or_those_of_a_model_or_a_key(gateway: GatewayFactory, provider: Gated) -> None:
    running = await gateway(settings(provider, auth={**TEAMS, "admin_key": ADMIN}))

    async def fill() -> None:
        for key, model in ((A, "m"), (A, "n"), (B, "m")):
            await asked(running, chat(model, head=f"X-API-Key: {key}\r\n"))

    for query, count in (("", 3), ("?model=m", 2), ("?key=a", 2), ("?model=m&key=a", 1), ("?model=x", 0)):
        await fill()
        answer = await clear(running, query)
        assert (answer.status, answer.json) == (200, {"cleared": count})
        assert len(in_memory(running)) == 3 - count
    refused = await clear(running, "?model=")
    assert (refused.status, refused.code) == (400, "invalid_parameter")
    refused = await clear(running, "", A)
    assert (refused.status, refused.code) == (403, "admin_key_required")


async def clear(running: RunningGateway, query: str, key: str = "") -> Response:
    return await ask(
        running.port, request(f"/admin/cache{query}", method="DELETE", head=f"X-API-Key: {key or ADMIN}\r\n")
    )


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def shared(redis: RedisServer, provider: Gated, **more: Any) -> dict[str, Any]:
    return settings(provider, state={"url": redis.url}, **more)


def in_redis(running: RunningGateway) -> RedisAnswers:
    answers = running.listener.gateway.cache.answers
    assert isinstance(answers, RedisAnswers)
    return answers


async def arrived(running: RunningGateway) -> None:
    """What is to be stored is in Redis."""
    await becomes(lambda: not in_redis(running)._writing)


async def patient(gateway: GatewayFactory, settings: dict[str, Any]) -> RunningGateway:
    """A gateway whose calls wait for Redis however late this machine is."""
    running = await gateway(settings)
    in_redis(running)._patience = 30.0
    return running


async def test_over_redis_two_gateways_share_answers(
    gateway: GatewayFactory, streaming: Gated, redis: RedisServer
) -> None:
    one, other = [await patient(gateway, shared(redis, streaming)) for _ in range(2)]
    first = await asked(one, chat("m", stream=True))
    await arrived(one)
    second = await asked(other, chat("m", stream=True))
    assert (verdict(first), verdict(second), streaming.asked) == ("miss", "hit", 1)
    assert first.body == second.body
    assert one.metric("llm_router_cache_size_bytes", cache_type="response") > 0
    (name,) = redis.ask("KEYS", "hapax:answer:*")  # type: ignore[misc]
    assert 0 < int(str(redis.ask("PTTL", name))) <= 24 * 3600 * 1000


async def test_what_is_in_redis_is_cleared_for_all(
    gateway: GatewayFactory, provider: Gated, redis: RedisServer
) -> None:
    more = {"auth": {**TEAMS, "admin_key": ADMIN}}
    one, other = [await patient(gateway, shared(redis, provider, **more)) for _ in range(2)]
    for query, count in (("", 3), ("?model=m", 2), ("?key=a", 2), ("?model=m&key=a", 1), ("?model=x", 0)):
        for key, model in ((A, "m"), (A, "n"), (B, "m")):
            await asked(one, chat(model, head=f"X-API-Key: {key}\r\n"))
        await arrived(one)
        assert (await clear(other, query)).json == {"cleared": count}
        assert len(redis.ask("KEYS", "hapax:answer:*")) == 3 - count  # type: ignore[arg-type]


async def test_while_redis_is_away_calls_miss_and_go_on(
    gateway: GatewayFactory, provider: Gated, redis: RedisServer
) -> None:
    running = await gateway(shared(redis, provider, auth={**TEAMS, "admin_key": ADMIN}))
    head = f"X-API-Key: {A}\r\n"
    await becomes_a_hit(running, head)
    redis.freeze()
    for _ in range(3):
        answer = await asked(running, chat("m", head=head))
        assert (answer.status, answer.body, verdict(answer)) == (200, BODY, "miss")
    redis.thaw()
    await becomes_a_hit(running, head)
    redis.kill()
    answer = await asked(running, chat("m", head=head))
    assert (answer.status, answer.body, verdict(answer)) == (200, BODY, "miss")
    assert running.metric("hapax_cache_failures_total") >= 2
    refused = await clear(running, "")
    assert (refused.status, refused.code) == (503, "store_unavailable")
    redis.start()
    await becomes_a_hit(running, head)


async def becomes_a_hit(running: RunningGateway, head: str) -> None:
    async with asyncio.timeout(30):
        while verdict(await asked(running, chat("m", head=head))) != "hit":  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


async def test_what_another_wrote_in_its_place_is_no_answer(
    gateway: GatewayFactory, provider: Gated, redis: RedisServer
) -> None:
    running = await patient(gateway, shared(redis, provider))
    await asked(running, chat("m"))
    await arrived(running)
    (name,) = redis.ask("KEYS", "hapax:answer:*")  # type: ignore[misc]
    for text in ("", "1", "2 another release", "1" + "x" * 40):
        redis.ask("SET", name, text)
        assert verdict(await asked(running, chat("m"))) == "miss"
        await arrived(running)
    assert verdict(await asked(running, chat("m"))) == "hit"


async def test_each_of_two_workers_has_its_own_in_memory_and_both_are_cleared(provider: Gated, tmp_path: Path) -> None:
    two = {"server": {"workers": 2, "drain_delay": "0s"}, "store": {"url": ""}}
    async with hapax(tmp_path, settings(provider, auth={**TEAMS, "admin_key": ADMIN}, **two)) as process:
        call = chat("m", head=f"X-API-Key: {A}\r\n")

        async def both_have_it() -> None:
            asked_before = provider.asked
            async with asyncio.timeout(60):
                while provider.asked < asked_before + 2:
                    assert (await ask(process.port, call)).body == BODY

        await both_have_it()
        cleared = await ask(process.port, request("/admin/cache", method="DELETE", head=f"X-API-Key: {ADMIN}\r\n"))
        assert cleared.json == {"cleared": 2}
        await both_have_it()
