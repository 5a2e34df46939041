"""Which provider is asked for a name: one that stands in no list, and one with brackets."""

import pytest

from tests.field.build import answer, ask, chat, of, rule, saying
from tests.field.play import Play, Played

UNKNOWN = {
    "message": "The model `nope` does not exist or you do not have access to it.",
    "type": "invalid_request_error",
    "param": None,
    "code": "model_not_found",
}
NOT_THERE = answer(404, {"error": UNKNOWN})


def models_asked(played: Played, provider: str) -> list[str]:
    return [asked.model for asked in played.asked(provider)]


# Names that stand in no list.


@pytest.mark.parametrize(
    ("type", "listed", "name"),
    [
        # docs.ollama.com/api: [host/][namespace/]model[:tag]
        pytest.param("ollama", "qwen3:8b", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", id="a place"),
        pytest.param("ollama", "qwen3:8b", "gpt-oss:120b-cloud", id="Ollama's cloud"),
        # openrouter.ai/docs/guides/routing/model-variants/overview
        pytest.param("openrouter", "openai/gpt-4o", "openai/gpt-4o:nitro", id="OpenRouter, the fastest"),
        pytest.param("openrouter", "openai/gpt-4o", "openai/gpt-4o:floor", id="OpenRouter, the cheapest"),
        pytest.param("openrouter", "openai/gpt-4o", "@preset/email-copy", id="OpenRouter's preset"),
        pytest.param("openrouter", "openai/gpt-4o", "openai/gpt-4o@preset/email-copy", id="a model with a preset"),
        pytest.param("openrouter", "openai/gpt-4o", "openai/text-embedding-3-small", id="one of another list"),
        # platform.claude.com/docs/en/about-claude/models/model-ids-and-versions
        pytest.param("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5", id="Anthropic's alias"),
        pytest.param("anthropic", "claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest", id="Anthropic's latest"),
        # learn.microsoft.com/azure/ai-foundry/openai/how-to/working-with-models
        pytest.param("azure", "gpt-4o", "my-team's deployment", id="a deployment of Azure"),
        # ai.google.dev/gemini-api/docs/models
        pytest.param("gemini", "gemini-2.5-flash", "gemini-flash-latest", id="Gemini's latest"),
        pytest.param("gemini", "gemini-2.5-flash", "models/gemini-2.5-flash", id="Gemini's name in full"),
        # docs.x.ai/docs/models
        pytest.param("xai", "grok-4-0709", "grok-4-latest", id="xAI's latest"),
        # api-docs.deepseek.com/updates
        pytest.param("deepseek", "deepseek-chat", "deepseek-coder", id="an older name of DeepSeek"),
        # platform.openai.com/docs/api-reference/fine-tuning/checkpoint-object
        pytest.param(
            "openai", "gpt-4o", "ft:gpt-4o-mini:acme::96olL566:ckpt-step-2000", id="a checkpoint of a tuning at OpenAI"
        ),
        pytest.param("openai", "gpt-4o", "gpt-9-2027-01-01", id="one that came since OpenAI was asked"),
        pytest.param("compatible", "one", "anything at all", id="whatever a relay takes"),
    ],
)
async def test_a_name_that_no_list_holds_goes_to_the_provider_that_takes_more_than_it_lists(
    play: Play, type: str, listed: str, name: str
) -> None:
    played = await play(
        {"providers": {"a": of(type)}}, {"a": saying("Hello", listed)}, [ask(model=name), ask(step="other", model=name)]
    )
    assert played["call"].json["choices"][0]["message"]["content"] == "Hello"
    assert models_asked(played, "a") == [name, name]


async def test_an_ollama_name_without_its_tag_is_the_listed_one_and_no_other_provider_is_asked(play: Play) -> None:
    """docs.ollama.com/api, "Model names": the tag is optional and `latest` by default."""
    played = await play(
        {"providers": {"b": of(name="b"), "a": of("ollama")}, "provider_preference": ["b", "a"]},
        {"a": saying("Hello from ollama", "llama3.2:latest"), "b": saying("Hello from b", "one")},
        [ask(model="llama3.2"), ask(step="tagged", model="llama3.2:latest")],
    )
    assert models_asked(played, "a") == ["llama3.2", "llama3.2:latest"]
    assert models_asked(played, "b") == []


async def test_a_models_setting_is_an_allow_list_whatever_the_type(play: Play) -> None:
    played = await play(
        {"providers": {"a": of(models=["one"]), "b": of("openrouter", "b", models=["openai/*"])}},
        {"a": saying("Hello", "one", "two"), "b": saying("Hello", "openai/gpt-4o")},
        [ask(model="two"), ask(step="suffix", model="google/gemini:online"), ask(step="one", model="one")],
    )
    assert [played[step].status for step in ("call", "suffix", "one")] == [404, 404, 200]
    assert played["call"].error["code"] == "model_not_found"
    assert models_asked(played, "a") == ["one"]
    assert models_asked(played, "b") == []


async def test_a_name_of_another_family_is_not_asked_of_a_vendor_with_a_whole_list(play: Play) -> None:
    played = await play(
        {
            "providers": {"a": of("openai"), "b": of("anthropic", "b"), "c": of("xai", "c")},
            "provider_preference": ["a", "b", "c"],
        },
        {"a": saying("x", "gpt-4o"), "b": saying("x", "claude-opus-4-1"), "c": saying("Hello", "grok-4")},
        [ask(model="grok-9"), ask(step="nowhere", model="llama-9")],
    )
    assert models_asked(played, "c") == ["grok-9"]
    assert (models_asked(played, "a"), models_asked(played, "b")) == ([], [])
    assert played["nowhere"].error["code"] == "model_not_found"


async def test_a_name_on_one_list_goes_only_there_and_not_to_those_that_take_anything(play: Play) -> None:
    played = await play(
        {"providers": {"a": of(), "b": of("ollama", "b"), "c": of(name="c")}, "provider_preference": ["a", "b", "c"]},
        {"a": saying("x", "one"), "b": saying("x", "two:latest"), "c": saying("Hello", "three")},
        [ask(model="three"), ask(step="other", model="three")],
    )
    assert played["call"].status == 200
    assert [len(played.asked(name)) for name in "abc"] == [0, 0, 2]


async def test_the_next_provider_is_asked_where_one_does_not_know_the_name(play: Play) -> None:
    played = await play(
        {"providers": {"a": of(), "b": of("ollama", "b")}, "provider_preference": ["a", "b"]},
        {"a": {"models": ["one"], "rules": [rule(NOT_THERE)]}, "b": saying("Hello from b", "two:latest")},
        [ask(model="nope"), ask(step="again", model="nope"), ask(step="one", model="two")],
    )
    assert played["call"].json["choices"][0]["message"]["content"] == "Hello from b"
    assert models_asked(played, "a") == ["nope", "nope"]
    assert models_asked(played, "b") == ["nope", "nope", "two"]


async def test_the_404_comes_when_every_provider_that_takes_unlisted_names_said_so(play: Play) -> None:
    # github.com/ollama/ollama, openai.NewError: Ollama's words for a model it has not pulled.
    ollama = {"error": {"message": 'model "nope" not found, try pulling it first', "type": "api_error", "code": None}}
    played = await play(
        {
            "providers": {"a": of(), "b": of("ollama", "b"), "c": of(name="c", models=["three"])},
            "provider_preference": ["a", "b", "c"],
        },
        {
            "a": {"models": ["one"], "rules": [rule(NOT_THERE)]},
            "b": {"models": ["two:latest"], "rules": [rule(answer(404, ollama))]},
            "c": saying("x", "three"),
        },
        [ask(model="nope"), ask(step="later", model="three")],
    )
    assert played["call"].status == 404
    assert played["call"].error["message"] in (UNKNOWN["message"], ollama["error"]["message"])
    assert [len(played.asked(name, "call")) for name in "abc"] == [1, 1, 0]
    assert played["later"].status == 200


async def test_names_that_clients_make_up_are_no_labels_until_one_of_them_answers(play: Play) -> None:
    provider = {"models": ["one"], "rules": [rule(chat("Hello"), model="hidden"), rule(NOT_THERE, method="POST")]}
    played = await play(
        {"providers": {"a": of()}},
        {"a": provider},
        [ask(step=f"call {number}", model=f"made-up-{number}") for number in range(5)]
        + [ask(step="hidden", model="hidden")]
        + [{"step": step, "request": f"GET {step}"} for step in ("/metrics", "/health")],
    )
    assert played["hidden"].status == 200
    for step in ("/metrics", "/health"):
        assert b"made-up" not in played[step].body
    assert b'circuit_breaker_state{name="a/hidden"}' in played["/metrics"].body


# Names with brackets.


@pytest.mark.parametrize(
    ("declared", "listed", "served", "refused"),
    [
        pytest.param(["m[1m]"], ["m[1m]"], ["m[1m]"], ["m1", "mm", "m[1m]x"], id="listed as it is written"),
        pytest.param(["m[1m]"], ["other"], ["m[1m]"], ["m1", "mm"], id="not listed at all"),
        pytest.param(["m[1m]"], ["m[1m]", "m1"], ["m[1m]"], ["m1"], id="listed, beside one it would match as a glob"),
        pytest.param(["gpt-4[ov]"], ["gpt-4o", "gpt-5"], ["gpt-4o", "gpt-4v"], ["gpt-5", "gpt-4x"], id="a class"),
        pytest.param(["gpt-4[ov]*"], ["gpt-4o-mini"], ["gpt-4o-mini"], ["gpt-4.1"], id="a class before a star"),
        pytest.param(["gpt-[!3]*"], ["gpt-4o"], ["gpt-4o"], ["gpt-3.5-turbo"], id="a class that excludes"),
        pytest.param(["*[1m]"], ["a[1m]", "b[1m]"], ["a[1m]", "b[1m]", "c[1m]"], ["a1", "am"], id="a star before"),
        pytest.param(["claude-*"], ["x"], ["claude-4[1m]", "claude-4"], ["gpt[1m]"], id="a star for all of it"),
        pytest.param(["m[200k", "n]"], ["m[200k"], ["m[200k", "n]"], ["m2", "m["], id="half a pair"),
        pytest.param(["[gcp]m"], ["[gcp]m"], ["[gcp]m"], ["gm", "cm"], id="a relay's mark in front"),
        pytest.param(["m[]"], ["m[]"], ["m[]"], ["m"], id="an empty pair"),
        pytest.param(["v?[x]"], ["v1[x]"], ["v1[x]", "v2[x]"], ["v1x"], id="a question mark"),
    ],
)
async def test_brackets_stand_for_themselves_unless_they_match_as_a_glob_what_is_listed(
    play: Play, declared: list[str], listed: list[str], served: list[str], refused: list[str]
) -> None:
    played = await play(
        {"providers": {"a": of(models=declared)}},
        {"a": saying("Hello", *listed)},
        [ask(step=name, model=name) for name in served + refused] + [{"step": "list", "request": "GET /v1/models"}],
    )
    assert [name for name in served + refused if played[name].status == 200] == served
    assert models_asked(played, "a") == served
    shown = {entry["id"] for entry in played["list"].json["data"]}
    assert shown <= set(served)
    assert shown >= set(served) & set(listed)


async def test_a_key_for_a_name_with_brackets_may_use_that_name_and_no_other(play: Play) -> None:
    key = "hk-" + "k" * 30
    played = await play(
        {
            "providers": {"a": of()},
            "auth": {"keys": [{"name": "k", "key": key, "models": ["claude-4[1m]", "gpt-4[ov]*"]}]},
        },
        {"a": saying("Hello", "claude-4[1m]", "claude-41", "gpt-4o-mini")},
        [
            ask(step=name, model=name) | {"authorization": f"Bearer {key}"}
            for name in ("claude-4[1m]", "claude-41", "gpt-4o-mini", "gpt-4-mini")
        ],
    )
    statuses = {step: got.status for step, got in played.got.items()}
    assert statuses == {"claude-4[1m]": 200, "claude-41": 403, "gpt-4o-mini": 200, "gpt-4-mini": 403}
    assert played["claude-41"].error["code"] == "model_not_allowed"


async def test_a_public_name_with_brackets_leads_where_it_says_and_takes_no_other_call(play: Play) -> None:
    played = await play(
        {
            "providers": {"a": of(models=["one", "m1", "m[1m]"])},
            "models": {"m[1m]": {"targets": ["a/one"]}, "x[ab]*": {"targets": ["a/m1"]}},
        },
        {"a": saying("Hello", "one", "m1", "m[1m]")},
        [ask(model="m[1m]"), ask(step="other", model="m1"), ask(step="literal", model="x[ab]c")],
    )
    assert models_asked(played, "a") == ["one", "m1", "m1"]
