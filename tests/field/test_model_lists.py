"""What a provider answers to GET /models, refusals and odd lists included, and what becomes of it."""

from typing import Any

import pytest

from tests.field.build import answer, ask, chat, of, rule, saying
from tests.field.play import Play, Played


def refusing_list(pieces: list[Any], text: str = "Hello from a") -> dict[str, Any]:
    return {"model_list": pieces, "rules": [rule(chat(text), method="POST")]}


def models_asked(played: Played, provider: str) -> list[str]:
    return [asked.model for asked in played.asked(provider)]


# A list that is refused, missing or no list.

PAGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"


@pytest.mark.parametrize(
    "listed",
    [
        # platform.openai.com/docs/guides/error-codes: a key restricted to some endpoints.
        pytest.param(
            answer(403, {"error": {"message": "Missing scopes: api.model.read", "type": "invalid_request_error"}}),
            id="a key without the scope for it",
        ),
        pytest.param(answer(401, {"error": {"message": "Unauthorized"}}), id="401, though calls are answered"),
        # Perplexity has no list: docs.perplexity.ai/api-reference.
        pytest.param(answer(404, "404 page not found", "text/plain"), id="404 in words"),
        pytest.param(answer(405, {"detail": "Method Not Allowed"}, headers="Allow: POST\r\n"), id="405, POST only"),
        pytest.param(answer(501, {"detail": "Not Implemented"}), id="501, never written"),
        pytest.param(answer(410, ""), id="410, taken away"),
        pytest.param(answer(429, {"error": {"message": "slow down"}}, headers="Retry-After: 60\r\n"), id="429"),
        pytest.param(answer(302, "", headers="Location: /login\r\n"), id="a way to a login"),
        pytest.param(answer(200, PAGE, "text/html"), id="a page with 200"),
        pytest.param(answer(200, {"object": "list", "data": []}), id="an empty list"),
        # github.com/ollama/ollama, openai.ListCompletion: no model is pulled.
        pytest.param(answer(200, {"object": "list", "data": None}), id="a list that is null"),
        pytest.param(answer(200, {"error": {"message": "no", "code": 403}}), id="an error with 200"),
        pytest.param(answer(200, ""), id="nothing at all"),
        pytest.param(answer(200, "{"), id="half an object"),
        pytest.param(answer(200, {"data": {"m": {}}}), id="an object for a list"),
        pytest.param(answer(200, '"ok"'), id="a text"),
        pytest.param(answer(204, ""), id="204"),
    ],
)
@pytest.mark.parametrize("declared", [["m"], []], ids=["with models declared", "with nothing declared"])
async def test_a_provider_that_gives_no_list_is_asked_for_calls_and_the_gateway_is_ready(
    play: Play, listed: list[Any], declared: list[str]
) -> None:
    played = await play(
        {
            "providers": {"a": of(models=declared), "b": of(name="b", models=["m"])},
            "provider_preference": ["a", "b"],
            "health_check": {"interval": "1s", "failure_threshold": 2},
        },
        {"a": refusing_list(listed), "b": saying("Hello from b", "m")},
        [
            ask(step="first"),
            {"wait": 3.2, "why": "three probes"},
            ask(step="later"),
            {"step": "ready", "request": "GET /ready"},
            {"step": "health", "request": "GET /health"},
        ],
    )
    for step in ("first", "later"):
        assert played[step].json["choices"][0]["message"]["content"] == "Hello from a"
    assert played["ready"].status == 200
    assert played["health"].status == 200
    assert models_asked(played, "a") == ["m", "m"]
    assert models_asked(played, "b") == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_provider_whose_list_fails_as_a_server_does_is_passed_over(play: Play, status: int) -> None:
    played = await play(
        {
            "providers": {"a": of(models=["m"]), "b": of(name="b", models=["m"])},
            "provider_preference": ["a", "b"],
            "health_check": {"interval": "1s", "failure_threshold": 2},
        },
        {"a": refusing_list(answer(status, "")), "b": saying("Hello from b", "m")},
        [{"wait": 3.2, "why": "three probes"}, ask(step="later"), {"step": "ready", "request": "GET /ready"}],
    )
    assert played["later"].json["choices"][0]["message"]["content"] == "Hello from b"
    assert played["ready"].status == 200


# Lists in other shapes.


@pytest.mark.parametrize(
    ("body", "names"),
    [
        # docs.together.ai/reference/models-1
        pytest.param([{"id": "m", "object": "model"}, {"id": "n"}], ["m", "n"], id="a bare array, as Together's"),
        # docs.ollama.com/api/tags
        pytest.param({"models": [{"name": "m:latest", "model": "m:latest"}]}, ["m:latest"], id="Ollama's own"),
        # ai.google.dev/api/models
        pytest.param({"models": [{"name": "models/m", "displayName": "M"}]}, ["m"], id="Gemini's own, with its prefix"),
        # docs.cohere.com/reference/list-models
        pytest.param({"models": [{"name": "m", "endpoints": ["chat"]}]}, ["m"], id="Cohere's own"),
        # github.com/ggml-org/llama.cpp, tools/server: both at once.
        pytest.param({"models": [{"name": "x"}], "object": "list", "data": [{"id": "m"}]}, ["m"], id="llama.cpp's two"),
        pytest.param({"data": [], "models": [{"name": "m"}]}, ["m"], id="an empty list beside a full one"),
        pytest.param(["m", "n"], ["m", "n"], id="texts"),
        pytest.param({"object": "list", "data": [{"id": "m"}, {"id": "m"}]}, ["m"], id="a name that comes twice"),
        pytest.param(
            {"data": [{"id": "m"}, {"id": 7}, None, {}, {"id": ""}, {"id": "x\ny"}, ["z"]]},
            ["m"],
            id="some that are none",
        ),
        # developers.cloudflare.com/api/resources/ai/subresources/models
        pytest.param({"success": True, "result": [{"id": "uuid", "name": "@cf/m"}]}, ["uuid"], id="Cloudflare's"),
        pytest.param('\u00ef\u00bb\u00bf{"data":[{"id":"m"}]}', ["m"], id="a byte order mark before it"),
        pytest.param('{"data":[{"id":"m","score":NaN}]}', ["m"], id="a number that is none"),
    ],
)
async def test_a_list_is_read_as_far_as_it_can_be(play: Play, body: Any, names: list[str]) -> None:
    played = await play(
        {"providers": {"a": of()}},
        {"a": refusing_list(answer(200, body))},
        [{"step": "list", "request": "GET /v1/models"}],
    )
    assert [entry["id"] for entry in played["list"].json["data"]] == names
    assert all(entry["object"] == "model" for entry in played["list"].json["data"] if "object" in entry)


@pytest.mark.parametrize(
    ("type", "first", "query"),
    [
        # platform.claude.com/docs/en/api/models-list
        pytest.param(
            "anthropic", {"data": [{"id": "m"}], "has_more": True, "last_id": "m"}, "after_id=m", id="Anthropic's"
        ),
        # platform.openai.com/docs/api-reference, the form of all its paged lists.
        pytest.param("compatible", {"data": [{"id": "m"}], "has_more": True}, "after=m", id="OpenAI's form"),
        # ai.google.dev/api/models#method:-models.list
        pytest.param(
            "compatible", {"models": [{"name": "models/m"}], "nextPageToken": "t/1"}, "pageToken=t%2F1", id="Gemini's"
        ),
        # docs.cohere.com/reference/list-models
        pytest.param("compatible", {"models": [{"name": "m"}], "next_page_token": "t"}, "page_token=t", id="Cohere's"),
    ],
)
async def test_a_list_in_pages_is_read_to_its_end(play: Play, type: str, first: Any, query: str) -> None:
    last = {**first, next(iter(first)): [{"id": "n", "name": "models/n"}], "has_more": False}
    last = {key: value for key, value in last.items() if "oken" not in key}
    reading = {"model_list": answer(200, first), "pages": {query: answer(200, last)}}
    played = await play({"providers": {"a": of(type)}}, {"a": reading}, [{"step": "list", "request": "GET /v1/models"}])
    assert [entry["id"] for entry in played["list"].json["data"]] == ["m", "n"]


async def test_a_list_whose_pages_never_end_is_read_no_further_than_it_tells_something_new(play: Play) -> None:
    same = {"model_list": answer(200, {"data": [{"id": "m"}], "has_more": True, "last_id": "m"}), "rules": []}
    played = await play({"providers": {"a": of()}}, {"a": same}, [{"step": "list", "request": "GET /v1/models"}])
    assert [entry["id"] for entry in played["list"].json["data"]] == ["m"]
    assert len(played.providers["a"].requests) == 2


async def test_a_list_whose_second_page_fails_is_what_the_first_one_told(play: Play) -> None:
    first = {"data": [{"id": "m"}], "has_more": True, "last_id": "m"}
    reading = {"model_list": answer(200, first), "pages": {"after_id=m": answer(500, "")}}
    played = await play(
        {"providers": {"a": of("anthropic")}}, {"a": reading}, [{"step": "list", "request": "GET /v1/models"}]
    )
    assert [entry["id"] for entry in played["list"].json["data"]] == ["m"]
