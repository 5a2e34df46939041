"""
Many callers at once, at random: each gets an answer to its own question, and a stored one only where it may.

The provider never says the same twice, so every answer tells which call it was made for.
"""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.counting import Counting
from tests.rigs.redis import RedisServer, redis_server

from .wire import Response, ask, chat

KEYS = {name: f"hapax-holder-{name}-4b1e9d7730aa65c2" for name in "abcd"}
TEAMS = {"a": "red", "b": "red", "c": "blue", "d": ""}
QUESTIONS = ["one", "two", "three"]
RULES = ["", "", "", "", "no-cache", "no-store", "max-age=3600", "max-age=0"]
CALLS, AT_ONCE = 400, 12


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def sharers(scope: str, name: str) -> str:
    """Whom *name* shares answers with."""
    return "" if scope == "all" else TEAMS[name] or name if scope == "team" else name


@pytest.mark.parametrize("scope", ["principal", "team", "all"])
@pytest.mark.parametrize("state", ["memory", "redis"])
@pytest.mark.parametrize("mode", ["all", "off"])
async def test_each_gets_an_answer_to_its_own_question_and_a_stored_one_only_where_it_may(
    gateway: GatewayFactory, redis: RedisServer, scope: str, state: str, mode: str
) -> None:
    redis.ask("FLUSHALL")
    rng = random.Random(f"{scope} {state} {mode}")
    made: dict[str, set[tuple[str, bool, str]]] = {}
    """By the number of an answer: who may have it, whether it is a stream, and its question."""
    told: list[tuple[str, str, str]] = []
    async with Counting() as provider:
        settings: dict[str, Any] = {
            "providers": {"one": provider.settings()},
            "health_check": {"enabled": False},
            "auth": {"keys": [{"name": name, "key": key, "team": TEAMS[name]} for name, key in KEYS.items()]},
            "cache": {"enabled": True, "scope": scope},
            "deduplication": {"mode": mode},
        }
        if state == "redis":
            settings["state"] = {"url": redis.url}
        gateways = [await gateway(settings) for _ in range(2 if state == "redis" else 1)]
        places = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            name, question, stream, rule = (
                rng.choice(choices) for choices in ([*KEYS], QUESTIONS, [True, False], RULES)
            )
            head = f"X-API-Key: {KEYS[name]}\r\n" + (f"Cache-Control: {rule}\r\n" if rule else "")
            call = chat("m", head=head, stream=stream, messages=[{"role": "user", "content": question}])
            async with places:
                answer = await ask(rng.choice(gateways).port, call)
            number, text = said(answer)
            assert text == question
            verdict = str(answer.header("x-hapax-cache"))
            assert (verdict == "bypass") is (rule == "no-store")
            mine = (sharers(scope, name), stream, question)
            if verdict == "hit":
                assert rule not in ("no-cache", "no-store", "max-age=0")
            made.setdefault(number, set()).add(mine)
            told.append((verdict, rule, number))

        async with asyncio.TaskGroup() as calls:
            for _ in range(CALLS):
                calls.create_task(one())
        assert all(len(whose) == 1 for whose in made.values()), "an answer was given to two who do not share"
        hits = [number for verdict, _, number in told if verdict == "hit"]
        kept = {number for verdict, _, number in told if verdict == "miss"}
        assert hits
        assert set(hits) <= kept, "what was stored was another's miss"
        assert provider.asked == len(made)
        numbers = [running.listener.gateway.cache for running in gateways]
        assert sum(cache.hits_total for cache in numbers) == len(hits)


def said(answer: Response) -> tuple[str, str]:
    """The number of an answer, and the question it repeats."""
    assert answer.status == 200
    if answer.header("content-type") == "text/event-stream":
        assert answer.body.endswith(b"data: [DONE]\n\n")
        text = answer.body.partition(b'"content": "')[2].partition(b'"')[0].decode()
    else:
        text = answer.json["choices"][0]["message"]["content"]
    number, _, question = text.partition(" ")
    return number, question
