"""What providers say a call used, in the forms they say it in, and what the ledger makes of it."""

from typing import Any

import pytest

from proxy.core.sse import Dialect, Scanner
from proxy.core.usage import Tokens, read_usage
from proxy.relay.counts import of_answer, of_stream
from tests.field.build import answer
from tests.field.play import Play


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param(
            # docs.x.ai, "Consumption and rate limits": reasoning is in the total alone
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {"text_tokens": 32, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 6},
                "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
            },
            Tokens(32, 103, cached=6, reasoning=94),
            id="xAI, chat: reasoning beside the completion",
        ),
        pytest.param(
            # docs.x.ai, "Responses API"
            {
                "input_tokens": 32,
                "input_tokens_details": {"cached_tokens": 6},
                "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 94},
                "total_tokens": 135,
            },
            Tokens(32, 103, cached=6, reasoning=94),
            id="xAI, responses: reasoning beside the output",
        ),
        pytest.param(
            # ai.google.dev/gemini-api/docs/openai
            {"completion_tokens": 0, "prompt_tokens": 12, "total_tokens": 1036},
            Tokens(12, 1024),
            id="Gemini: all that was billed were thoughts",
        ),
        pytest.param(
            # api-docs.deepseek.com/api/create-chat-completion
            {
                "completion_tokens": 10,
                "prompt_tokens": 16,
                "prompt_cache_hit_tokens": 12,
                "prompt_cache_miss_tokens": 4,
                "total_tokens": 26,
            },
            Tokens(16, 10, cached=12),
            id="DeepSeek: hits of the cache stand beside the prompt",
        ),
        pytest.param(
            # platform.moonshot.ai/docs/api/chat
            {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "cached_tokens": 10},
            Tokens(19, 21, cached=10),
            id="Moonshot: cached tokens at the top",
        ),
        pytest.param(
            # openrouter.ai/docs/use-cases/usage-accounting
            {
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "cost": 0.95,
                "cost_details": {"upstream_inference_cost": 19},
                "prompt_tokens": 194,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
                "total_tokens": 196,
            },
            Tokens(194, 2, written=100),
            id="OpenRouter: written to the cache",
        ),
        pytest.param(
            # docs.claude.com/en/docs/build-with-claude/prompt-caching
            {
                "input_tokens": 2048,
                "cache_read_input_tokens": 1800,
                "cache_creation_input_tokens": 248,
                "output_tokens": 503,
                "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
            },
            Tokens(4096, 503, cached=1800, written=248, written_1h=100),
            id="Anthropic: written for five minutes and for an hour",
        ),
        pytest.param(
            # docs.litellm.ai/docs/completion/prompt_caching
            {
                "prompt_tokens": 1200,
                "completion_tokens": 20,
                "total_tokens": 1220,
                "prompt_tokens_details": {"cached_tokens": 1000, "cache_creation_tokens": 100},
                "cache_creation_input_tokens": 100,
                "cache_read_input_tokens": 1000,
            },
            Tokens(1200, 20, cached=1000, written=100),
            id="LiteLLM before Claude: the cache is counted in the prompt",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 1220,
                "cache_creation_input_tokens": 100,
                "cache_read_input_tokens": 1000,
            },
            Tokens(1200, 20, cached=1000, written=100),
            id="a relay before Claude: the total alone counts the cache, and none of it was generated",
        ),
        pytest.param(
            # platform.openai.com/docs/api-reference/chat/object
            {
                "prompt_tokens": 1117,
                "completion_tokens": 246,
                "total_tokens": 1363,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 1100},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 200,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            Tokens(1117, 246, audio_input=1100, audio_output=200),
            id="OpenAI: sound in and out",
        ),
        pytest.param(
            # platform.openai.com/docs/api-reference/audio/json-object: `input_token_details`, of one token
            {
                "type": "tokens",
                "input_tokens": 14,
                "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
                "output_tokens": 45,
                "total_tokens": 59,
            },
            Tokens(14, 45, audio_input=10),
            id="OpenAI: a transcription billed by tokens",
        ),
        pytest.param({"type": "duration", "seconds": 9}, None, id="OpenAI: a transcription billed by its length"),
        pytest.param(
            # platform.openai.com/docs/api-reference/images/object
            {
                "total_tokens": 4174,
                "input_tokens": 14,
                "output_tokens": 4160,
                "input_tokens_details": {"text_tokens": 4, "image_tokens": 10},
            },
            Tokens(14, 4160),
            id="OpenAI: a picture",
        ),
        pytest.param(
            # docs.perplexity.ai/api-reference/chat-completions-post
            {
                "prompt_tokens": 33,
                "completion_tokens": 7163,
                "total_tokens": 7196,
                "citation_tokens": 20016,
                "num_search_queries": 30,
                "reasoning_tokens": 95305,
            },
            Tokens(33, 7163, reasoning=95305),
            id="Perplexity: reasoning told at the top is never clamped",
        ),
        pytest.param({"prompt_tokens": 8, "total_tokens": 8}, Tokens(8), id="embeddings: nothing is generated"),
        pytest.param(
            {
                "prompt_tokens": 10.0,
                "completion_tokens": 5.0,
                "total_tokens": 115.0,
                "completion_tokens_details": {"reasoning_tokens": 100.0},
            },
            Tokens(10, 105, reasoning=100),
            id="numbers of a language without whole ones",
        ),
        pytest.param(
            {"prompt_tokens": 10.5, "completion_tokens": 5, "total_tokens": float("inf")},
            Tokens(0, 5, estimated=True),
            id="half a token",
        ),
        pytest.param(
            # github.com/QuantumNous/new-api, dto.Usage
            {
                "prompt_tokens": 0,
                "completion_tokens": 0,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 0},
                "input_tokens": 10,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4},
            },
            Tokens(10, 5, cached=4),
            id="a relay that has the members of both forms and fills one",
        ),
        pytest.param({"total_tokens": 9}, Tokens(9), id="Jina and Voyage: nothing but a total"),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": -1}, Tokens(10, 5), id="a total of nonsense"
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 10**30}, Tokens(10, 5), id="an absurd total"
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"audio_tokens": "many"}},
            Tokens(10, 5),
            id="details of nonsense",
        ),
    ],
)
def test_what_a_provider_says_is_counted_as_it_bills(usage: dict[str, Any], tokens: Tokens | None) -> None:
    assert read_usage(usage) == tokens


def test_a_reranking_is_counted_by_what_cohere_bills() -> None:
    # docs.cohere.com/reference/rerank, and /reference/classify for tokens
    billed = {"results": [], "meta": {"billed_units": {"input_tokens": 5, "output_tokens": 0}, "tokens": {}}}
    assert of_answer(billed, 100, 7, Dialect.OTHER, uses_tokens=True) == Tokens(5)
    told = {"results": [], "meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 6}}}
    assert of_answer(told, 100, 7, Dialect.OTHER, uses_tokens=True) == Tokens(6)
    neither = {"results": [], "meta": {"billed_units": {"search_units": 1}}}
    assert of_answer(neither, 100, 7, Dialect.OTHER, uses_tokens=True) == Tokens(7, estimated=True)


def test_a_message_that_broke_off_still_has_what_it_wrote_to_the_cache() -> None:
    scanner = Scanner(Dialect.MESSAGES)
    scanner.feed(
        b'data: {"type":"message_start","message":{"usage":{"input_tokens":3,"cache_creation_input_tokens":200,'
        b'"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":200},"output_tokens":1}}}\n\n'
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}\n\n'
    )
    assert of_stream(scanner, 50, uses_tokens=True) == Tokens(203, 1, estimated=True, written=200, written_1h=200)


def test_a_response_that_failed_used_what_it_says() -> None:
    # platform.openai.com/docs/api-reference/responses-streaming/response/failed
    scanner = Scanner(Dialect.RESPONSES)
    scanner.feed(
        b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'
        b'data: {"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"},'
        b'"usage":{"input_tokens":7,"output_tokens":90,"total_tokens":97}}}\n\n'
    )
    assert of_stream(scanner, 50, uses_tokens=True) == Tokens(7, 90)


CACHED = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 3000,
        "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
        "output_tokens": 10,
    },
}
GROK = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "grok-4",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 2000,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 900},
    },
}


@pytest.mark.parametrize(
    ("path", "model", "said", "row"),
    [
        pytest.param(
            "/v1/messages",
            "claude-sonnet-4-5",
            CACHED,
            # 100 at 3, 1000 at 0.30, 2000 at 3.75, 1000 at 6, 10 at 15 dollars a million
            (4100, 10, 1000, 300 + 300 + 7500 + 6000 + 150),
            id="a message that read and wrote the cache",
        ),
        pytest.param(
            "/v1/chat/completions",
            "grok-4",
            GROK,
            # 600 at 3, 400 at 0.75, 1000 at 15
            (1000, 1000, 400, 1800 + 300 + 15000),
            id="a chat whose reasoning stands beside",
        ),
        pytest.param(
            "/v1/chat/completions",
            "grok-4",
            {
                **{name: GROK[name] for name in ("id", "object", "usage")},
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 1_500_000}}],
            },
            (1000, 1000, 400, 1800 + 300 + 15000),
            id="a chat too long to be held that tells its usage before anything else",
        ),
    ],
)
async def test_the_ledger_has_what_is_billed(
    play: Play, path: str, model: str, said: dict[str, Any], row: tuple[int, int, int, int]
) -> None:
    played = await play(
        {
            "providers": {"a": {"type": "compatible", "base_url": "{a}/v1", "models": [model]}},
            "store": {"url": "sqlite:///{tmp}/ledger.db"},
        },
        {"a": {"models": [model], "rules": [{"when": {"method": "POST"}, "answer": answer(200, said)}]}},
        [
            {"step": "call", "request": f"POST {path}", "body": {"model": model, "messages": [], "max_tokens": 9}},
            {"wait": 0.8, "why": "rows are written together"},
            {"step": "ledger", "request": "GET /admin/usage?by=model"},
        ],
    )
    [told] = played["ledger"].json["lines"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["cached_tokens"], told["cost_micro_usd"]) == row


async def test_what_a_stored_answer_once_used_is_counted_once(play: Play) -> None:
    # platform.openai.com/docs/api-reference/chat/update, /runs/modifyRun, /batch/cancel: each shows its usage again
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    stored = {**GROK, "id": "chatcmpl-1", "usage": usage}
    calls = ["chat/completions/chatcmpl-1", "threads/thread_1/runs/run_1", "batches/batch_1/cancel"]
    played = await play(
        {
            "providers": {"a": {"type": "compatible", "base_url": "{a}/v1", "models": ["m"]}},
            "store": {"url": "sqlite:///{tmp}/ledger.db"},
        },
        {"a": {"models": ["m"], "rules": [{"when": {}, "answer": answer(200, stored)}]}},
        [
            {
                "step": "make",
                "request": "POST /v1/chat/completions",
                "body": {"model": "m", "messages": [], "store": True},
            },
            *({"step": each, "request": f"POST /v1/{each}", "body": {"metadata": {"a": "b"}}} for each in calls),
            {"wait": 0.8, "why": "rows are written together"},
            {"step": "ledger", "request": "GET /admin/usage?by=model"},
        ],
    )
    lines = played["ledger"].json["lines"]
    assert sum(line["requests"] for line in lines) == 4
    assert sum(line["prompt_tokens"] for line in lines) == 1000
