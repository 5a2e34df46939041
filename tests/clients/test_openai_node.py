"""The openai SDK for JavaScript on Node, unmodified, against the gateway in front of the simulator."""

import hashlib
import json
from typing import Any

import pytest

from tests.rigs.node import run_scenario
from tests.rigs.simulator import Simulator

from .helpers import KEY, MODEL, asking, calls, models_known, settings


@pytest.fixture
async def reach(gateway: Any, simulator: Simulator) -> dict[str, str]:
    """What a scenario needs to reach the gateway."""
    return {"base_url": (await gateway(settings(simulator.base_url))).base_url, "api_key": KEY}


async def test_a_chat_answers_and_streams_the_same_text_with_its_usage(reach: dict[str, str]) -> None:
    seen = await run_scenario("chat", **reach, model=MODEL)
    whole, chunks = seen["whole"], seen["chunks"]
    assert seen["request_id"]
    assert whole["choices"][0]["finish_reason"] == "stop"
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    assert "".join(deltas) == whole["choices"][0]["message"]["content"] != ""
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]
    assert finishes == [None] * (len(finishes) - 1) + ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]


async def test_json_mode_answers_with_an_object(reach: dict[str, str]) -> None:
    seen = await run_scenario("chat", **reach, model=MODEL, body={"response_format": {"type": "json_object"}})
    assert isinstance(json.loads(seen["whole"]["choices"][0]["message"]["content"]), dict)


async def test_a_tool_call_comes_whole_and_streamed(reach: dict[str, str]) -> None:
    seen = await run_scenario("tools", **reach, model=MODEL)
    for answer in (seen["whole"], seen["streamed"]):
        assert answer["finish_reason"] == "tool_calls"
        [call] = answer["message"]["tool_calls"]
        assert call["function"]["name"] == "get_weather"
        assert isinstance(json.loads(call["function"]["arguments"])["city"], str)


async def test_a_response_answers_and_streams_its_typed_events(reach: dict[str, str]) -> None:
    seen = await run_scenario("responses", **reach, model=MODEL)
    assert [seen["types"][0], seen["types"][-1]] == ["response.created", "response.completed"]
    assert seen["text"] == seen["whole"] != ""


async def test_the_endpoints_beside_chat_answer(reach: dict[str, str], simulator: Simulator) -> None:
    await models_known(reach["base_url"])
    seen = await run_scenario("endpoints", **reach, model=MODEL, upload_bytes=3_000_000)
    assert len(seen["embeddings"]) == 2
    assert seen["completion"]
    assert seen["flagged"] == [False]
    assert seen["speech"]["type"] == "audio/mpeg"
    speech = (bytes(range(256)) * 16)[: seen["speech"]["bytes"]]
    assert seen["speech"]["sha256"] == hashlib.sha256(speech).hexdigest()
    assert seen["file"].pop("id")
    assert seen["file"] == {"bytes": 3_000_000, "filename": "lines.jsonl", "purpose": "batch"}
    assert MODEL in seen["models"]
    assert seen["retrieved"] == MODEL
    assert all(KEY.encode() not in value for request in simulator.ledger for _, value in request.headers)


async def test_failures_are_raised_as_the_classes_of_their_kinds(reach: dict[str, str]) -> None:
    classes = {
        "status=400": "BadRequestError",
        "status=404": "NotFoundError",
        "status=422": "UnprocessableEntityError",
        "status=429": "RateLimitError",
        "status=500": "InternalServerError",
        "rst": "InternalServerError",
        "html": "InternalServerError",
    }
    calls = {
        f"{fault} {stream}": {"model": asking(fault), "stream": stream} for fault in classes for stream in (False, True)
    }
    seen = await run_scenario("errors", **reach, calls=calls)
    assert {name: error["class"] for name, error in seen.items()} == {
        f"{fault} {stream}": name for fault, name in classes.items() for stream in (False, True)
    }
    assert all(error["request_id"] for error in seen.values())
    assert all(error["code"] for error in seen.values() if error["status"] >= 500)


async def test_what_the_gateway_refuses_is_raised_with_its_code(gateway: Any, simulator: Simulator) -> None:
    only = {"type": "compatible", "base_url": simulator.base_url, "api_key": "x", "models": ["sim-*"]}
    running = await gateway(
        settings(simulator.base_url, providers={"upstream": only}, server={"max_body_bytes": "64KiB"})
    )
    reach = {"base_url": running.base_url, "api_key": KEY}
    wrong = await run_scenario("errors", **{**reach, "api_key": "sk-wrong"}, calls={"key": {"model": MODEL}})
    large = {"model": MODEL, "messages": [{"role": "user", "content": "x" * 100_000}]}
    seen = await run_scenario("errors", **reach, calls={"model": {"model": "no-such-model"}, "size": large})
    facts = {name: (e["class"], e["status"], e["code"]) for name, e in {**wrong, **seen}.items()}
    assert facts == {
        "key": ("AuthenticationError", 401, "invalid_api_key"),
        "model": ("NotFoundError", 404, "model_not_found"),
        "size": ("APIError", 413, "request_too_large"),
    }
    assert all(error["request_id"] for error in {**wrong, **seen}.values())
    assert calls(simulator) == []


async def test_a_stream_that_breaks_off_throws_after_what_had_come(reach: dict[str, str]) -> None:
    cuts = ("fin@8", "rst@8", "end@8")
    seen = await run_scenario("errors", **reach, calls={cut: {"model": asking(cut), "stream": True} for cut in cuts})
    for cut in cuts:
        assert seen[cut]["pieces"] > 0, cut
        assert seen[cut]["class"] == "APIError", cut
        assert seen[cut]["code"], cut


async def test_a_script_that_aborts_in_the_middle_ends_the_call_upstream(
    reach: dict[str, str], simulator: Simulator
) -> None:
    ledger_url = simulator.base_url.removesuffix("/v1") + "/_simulator/ledger"
    seen = await run_scenario(
        "cancel", **reach, model=asking("forever", "pace=2ms"), leave_after=3, ledger_url=ledger_url
    )
    assert seen["chunks"] == 3
    assert seen["ending"] in ("client", "reset")
