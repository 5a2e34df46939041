"""A prompt that is too long, in the words of every kind of server, and words that sound like it and are not."""

from typing import Any

import pytest

from tests.field.build import answer, ask, chat, data, message, response, sse
from tests.field.play import Play

MODELS = {
    "providers": {
        "a": {"type": "compatible", "base_url": "{a}/v1", "models": ["small"]},
        "b": {"type": "compatible", "base_url": "{b}/v1", "models": ["big"]},
    },
    "models": {"small": {"targets": ["a/small"], "context_fallbacks": ["big"]}, "big": {"targets": ["b/big"]}},
}


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


TOO_LONG = {
    # https://github.com/vllm-project/vllm/blob/main/vllm/engine/llm_engine.py
    "vLLM, the decoder": (
        400,
        {
            "object": "error",
            "message": "The decoder prompt (length 33077) is longer than the maximum model length of 32768.",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "vLLM, max_tokens and the prompt together": (
        400,
        error(
            "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096"
            " tokens and your request has 100 input tokens.",
            type="BadRequestError",
            code=400,
        ),
    ),
    # https://github.com/sgl-project/sglang/blob/main/python/sglang/srt/managers/tokenizer_manager.py
    "SGLang, the input": (
        400,
        error("The input (40000 tokens) is longer than the model's context length (32768 tokens).", type="BadRequest"),
    ),
    "SGLang, what is asked in all": (
        400,
        {
            "object": "error",
            "message": "Requested token count exceeds the model's maximum context length of 32768 tokens.",
            "type": "Bad Request",
            "code": "400",
        },
    ),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server.cpp
    "llama.cpp, embeddings": (
        500,
        error("input is too large to process. increase the physical batch size", code=500, type="server_error"),
    ),
    # https://github.com/ollama/ollama/blob/main/server/routes.go
    "Ollama": (400, {"error": "the input length exceeds the context length"}),
    # https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/237
    "LM Studio, to keep": (
        400,
        {"error": "The number of tokens to keep from the initial prompt is greater than the context length."},
    ),
    "LM Studio, loaded with less": (
        400,
        error(
            "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context"
            " length of only 4096 tokens, which is not enough."
        ),
    ),
    # https://github.com/huggingface/text-generation-inference/blob/main/router/src/validation.rs
    "TGI, input and output": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
            "error_type": "validation",
        },
    ),
    "TGI, input": (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"}),
    # https://docs.anthropic.com/en/docs/build-with-claude/context-windows
    "Anthropic, with max_tokens": (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
            },
        },
    ),
    # https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors
    "Vertex": (
        400,
        [
            error(
                "Unable to submit request because the input token count is 40000 but the model only supports up to"
                " 32768. Reduce the input token count and try again.",
                code=400,
                status="INVALID_ARGUMENT",
            )
        ],
    ),
    # https://docs.mistral.ai/api/
    "Mistral": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context"
            " length",
            "type": "invalid_request_prompt",
            "code": None,
        },
    ),
    # https://console.groq.com/docs/errors
    "Groq": (400, error("Please reduce the length of the messages or completion.", code="context_length_exceeded")),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
    "Bedrock behind a compatible server": (
        400,
        error("BedrockException: Input is too long for requested model.", type="invalid_request_error", code="400"),
    ),
    # https://docs.x.ai/docs/key-information/debugging
    "xAI": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        },
    ),
    # https://docs.cohere.com/reference/errors
    "Cohere": (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"}),
    # https://docs.fireworks.ai/guides/inference-error-codes
    "Fireworks": (400, error("The prompt is too long: 140000, model maximum context length: 131071", code="x")),
    # https://www.alibabacloud.com/help/en/model-studio/error-code
    "DashScope": (400, error("Range of input length should be [1, 30720]", code="invalid_parameter_error")),
    # https://platform.moonshot.ai/docs/api/chat#error-description
    "Moonshot": (400, error("Invalid request: Your request exceeded model token limit: 8192", type="x")),
    # https://platform.minimax.io/docs/api-reference/errorcode
    "MiniMax, in a 200": (200, {"choices": None, "base_resp": {"status_code": 1039, "status_msg": "token limit"}}),
    "MiniMax, in words": (400, error("invalid params, context window exceeds limit (2013)", type="bad_request_error")),
    # https://docs.z.ai/api-reference/api-code
    "z.ai": (400, error("Prompt exceeds max length", code="1261")),
    # https://docs.github.com/github-models
    "GitHub Models, 413": (
        413,
        error("Request body too large for gpt-4o model. Max size: 8000 tokens.", code="tokens_limit_reached"),
    ),
    # https://inference-docs.cerebras.ai/support/error
    "Cerebras": (400, {"message": "Please reduce the length of the messages or completion.", "type": "x", "code": "y"}),
    # https://openrouter.ai/docs/api-reference/errors
    "OpenRouter passes on what another said": (
        400,
        error(
            "Provider returned error",
            code=400,
            metadata={"raw": '{"message":"prompt is too long: 9 tokens > 8 maximum"}', "provider_name": "Field"},
        ),
    ),
}


@pytest.mark.parametrize("words", TOO_LONG.values(), ids=TOO_LONG)
async def test_a_prompt_that_is_too_long_is_answered_by_the_longer_model(words: Any, play: Play) -> None:
    a = {"models": ["small"], "rules": [{"when": {}, "answer": answer(*words)}]}
    b = {"models": ["big"], "rules": [{"when": {}, "answer": chat("Hello from b")}]}
    played = await play(MODELS, {"a": a, "b": b}, [ask(model="small")])
    assert b"Hello from b" in played["call"].body
    assert len(played.asked("a")) == 1


@pytest.mark.parametrize(
    ("path", "good"), [("/v1/messages", message("Hello from b")), ("/v1/responses", response("Hello from b"))]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_on_every_endpoint_and_in_the_first_event(path: str, good: list[Any], stream: bool, play: Play) -> None:
    told = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}}
    first = sse(data(told)) if stream else answer(200, told)
    a = {"models": ["small"], "rules": [{"when": {}, "answer": first}]}
    b = {"models": ["big"], "rules": [{"when": {}, "answer": good}]}
    more = {"stream": True} if stream else {}
    played = await play(MODELS, {"a": a, "b": b}, [ask(path, model="small", **more)])
    assert len(played.asked("a")) == 1
    assert played.asked("b")


@pytest.mark.parametrize("words", [TOO_LONG["vLLM, the decoder"], TOO_LONG["xAI"], TOO_LONG["llama.cpp, embeddings"]])
async def test_without_a_longer_model_the_client_reads_openais_code_and_the_servers_words(
    words: Any, play: Play
) -> None:
    configuration = {"providers": {"a": MODELS["providers"]["a"]}}
    a = {"models": ["small"], "rules": [{"when": {}, "answer": answer(*words)}]}
    played = await play(configuration, {"a": a}, [ask(model="small")])
    got = played["call"]
    assert got.status == 400
    assert got.json["error"]["message"]
    assert len(played.asked("a")) == 1


NOT_TOO_LONG = {
    # https://docs.anthropic.com/en/api/errors
    "Anthropic, more than the model can say": (
        400,
        error("max_tokens: 50000 > 8192, which is the maximum allowed number"),
    ),
    # https://platform.openai.com/docs/guides/error-codes
    "OpenAI, a text of too many letters": (
        400,
        error(
            "Invalid 'input': string too long. Expected a string with maximum length 9", code="string_above_max_length"
        ),
    ),
    "OpenAI, too many tools": (
        400,
        error("Invalid 'tools': array too long. Expected an array with maximum length 128"),
    ),
    "413 of bytes": (413, error("Request exceeds the maximum size of 32 MB", type="request_too_large")),
    "an image is too large": (400, error("image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes")),
    "DeepSeek, max_tokens": (
        400,
        error("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", code="x"),
    ),
    "Gemini, output": (400, [error("max_output_tokens must be less than 8192", code=400, status="INVALID_ARGUMENT")]),
}


@pytest.mark.parametrize("words", NOT_TOO_LONG.values(), ids=NOT_TOO_LONG)
async def test_a_wrong_parameter_is_no_overflow(words: Any, play: Play) -> None:
    a = {"models": ["small"], "rules": [{"when": {}, "answer": answer(*words)}]}
    b = {"models": ["big"], "rules": [{"when": {}, "answer": chat("no")}]}
    played = await play(MODELS, {"a": a, "b": b}, [ask(model="small")])
    assert played["call"].status == words[0]
    assert played.asked("b") == []
