"""Whose fault an error is, in the words of relays, clouds and proxies, and what an error may repeat of its caller."""

import gzip
import json
from typing import Any

import pytest

from proxy.relay.meaning import Meaning
from proxy.relay.told import read
from proxy.relay.verdict import meaning_of
from tests.field.build import (
    DONE,
    KEY_A,
    ROLE,
    STOP,
    always,
    answer,
    ask,
    chat,
    chunk,
    data,
    one,
    said,
    sse,
    two,
)
from tests.field.play import Play
from tests.field.test_streams import HELLO


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


MEANINGS = [
    # https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html
    ("KEY", 403, {"Message": "Authentication failed: Please make sure your API Key is valid."}),
    ("KEY", 403, {"message": "Bearer Token has expired"}),
    # https://github.com/google-gemini/deprecated-generative-ai-python/issues
    (
        "KEY",
        403,
        error(
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key",
            code=403,
            status="PERMISSION_DENIED",
        ),
    ),
    # https://github.com/anthropics/claude-code/issues/55662
    (
        "KEY",
        403,
        error("Authentication Error, Key is blocked. Update via `/key/unblock`", type="auth_error", code="403"),
    ),
    # https://developers.cloudflare.com/api/
    ("KEY", 403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]}),
    ("KEY", 403, {"error": "Forbidden: API key is invalid"}),
    ("KEY", 403, error("Invalid authentication credentials")),
    ("KEY", 400, {"message": "invalid api token"}),
    # https://learn.microsoft.com/azure/api-management/quota-policy
    ("MONEY", 403, {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 05:31:37."}),
    # https://docs.cohere.com/docs/rate-limits
    ("MONEY", 429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month. You can"}),
    ("RATE", 429, {"message": "You are using a Trial key, which is limited to 40 API calls / minute. You can"}),
    # https://docs.siliconflow.cn/en/faqs/error-code
    ("MONEY", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
    # https://huggingface.co/docs/inference-providers/pricing
    ("MONEY", 403, {"error": "Credit balance is depleted. Monthly included credits depleted."}),
    # https://github.com/BerriAI/litellm/issues/14144
    (
        "MONEY",
        429,
        error("Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", type="budget_exceeded", code="429"),
    ),
    ("MONEY", 400, error("litellm.BadRequestError: OpenAIException - Budget has been exceeded! Team=x", code="400")),
    # https://docs.litellm.ai/docs/proxy/users: the budget of the `user` that the caller named.
    ("ELSEWHERE", 400, error("ExceededBudget: End User=ann over budget. Spend=1, Budget=0.5", type="auth_error")),
    # https://github.com/winfunc/opcode/issues/358: LiteLLM's 401 that blames no key.
    (
        "ELSEWHERE",
        401,
        error(
            "key not allowed to access model. This key can only access models=['x']. Tried to access m",
            type="key_model_access_denied",
            param="model",
            code="401",
        ),
    ),
    ("ELSEWHERE", 403, {"message": "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel on"}),
    # https://github.com/QwenLM/qwen-code/issues/9605
    ("ELSEWHERE", 403, error("Access to model denied. Please make sure you are eligible for using the model.")),
    ("ELSEWHERE", 403, error("You are not allowed to sample from this model", type="invalid_request_error")),
    (
        "ELSEWHERE",
        403,
        {
            "type": "error",
            "error": {"type": "permission_error", "message": "Your organization does not have access to x."},
        },
    ),
    # https://docs.litellm.ai/docs/proxy/model_access
    (
        "MODEL_NOT_FOUND",
        400,
        error(
            "/chat/completions: Invalid model name passed in model=m. Call `/v1/models` to", param="model", code="400"
        ),
    ),
    # https://console.groq.com/docs/errors
    ("OVERLOADED", 498, error("Flex tier capacity exceeded, please try again", type="x")),
    # https://blog.cloudflare.com/rfc-9457-agent-error-pages/
    (
        "UNREACHABLE",
        403,
        {
            "type": "https://developers.cloudflare.com/support/cloudflare-1xxx-errors/error-1010/",
            "title": "Error 1010: Access denied",
            "status": 403,
            "detail": "The owner has banned your access based on your browser's signature.",
            "error_code": 1010,
            "cloudflare_error": True,
        },
    ),
    # https://developers.cloudflare.com/workers-ai/platform/errors/
    (
        "CONTEXT",
        413,
        {
            "errors": [
                {
                    "message": "AiError: The estimated number of input and maximum output tokens (9000) exceeded this "
                    "model context window limit (7968).",
                    "code": 5021,
                }
            ],
            "success": False,
        },
    ),
    # https://deepinfra.com/docs
    ("CONTEXT", 400, error("inference request failed: Requested input length 9000 exceeds maximum input length 8191")),
    # https://docs.aws.amazon.com/nova/latest/userguide
    ("CONTEXT", 400, {"message": "Input Tokens Exceeded: Number of input tokens exceeds maximum length."}),
    ("CONTEXT", 400, {"message": "400 Bad Request: Too many input tokens. Max input tokens: 8192"}),
    # https://github.com/cline/cline/issues/5474
    ("CONTEXT", 400, error("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 3")),
    # https://www.volcengine.com/docs/82379/1299023
    ("CONTEXT", 400, error("Total tokens of image and text exceed max message tokens.", code="InvalidParameter")),
    ("CONTEXT", 400, error("the number of input tokens 4097 cannot exceed the total tokens limit 4096 for this model")),
    # What the error repeats is the caller's: https://docs.pydantic.dev/latest/errors/validation_errors/
    (
        "REQUEST",
        400,
        {
            "object": "error",
            "message": "[{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required', 'input': "
            "{'prompt': \"This model's maximum context length is 4096 tokens\"}}]",
            "type": "Bad Request",
            "code": 400,
        },
    ),
    ("REQUEST", 400, error("Invalid value: 'invalid_api_key'. Supported values are: 'user'.", code="invalid_value")),
    ("REQUEST", 400, error('Tool call arguments invalid: {"error": {"code": "invalid_api_key"}}')),
    (
        "REQUEST",
        424,
        error("Error retrieving tool list from MCP server: 'x'. Http status code: 401", code="http_error"),
    ),
    ("REQUEST", 403, {"message": "Forbidden"}),
]


@pytest.mark.parametrize(("meaning", "status", "body"), MEANINGS, ids=lambda each: json.dumps(each)[:60])
def test_an_error_means_what_its_words_say(meaning: str, status: int, body: Any) -> None:
    assert meaning_of(read(body), status, "compatible") is Meaning[meaning]


async def test_a_401_about_a_model_parks_no_key(play: Play) -> None:
    denied = error("key not allowed to access model.", type="key_model_access_denied", param="model", code="401")
    rules = [{"when": {"model": "barred"}, "answer": answer(401, denied)}, {"when": {}, "answer": chat("Hello")}]
    client = [ask(step="barred", model="barred"), ask(step="fine")]
    played = await play(one(models=["m", "barred"]), {"a": {"models": ["m", "barred"], "rules": rules}}, client)
    assert (played["barred"].status, played["fine"].status) == (403, 200)


@pytest.mark.parametrize(
    "echo", ["A" * 200_000, "error." * 600, "Error: " * 500, "sk-" * 60_000], ids=lambda text: text[:7]
)
async def test_what_an_error_repeats_of_its_caller_holds_up_no_one(echo: str, play: Play) -> None:
    """A picture of 200 kB in one word, and names that relays put before an error, over and over."""
    refused = answer(400, error(f"{echo} is no URL", type="invalid_request_error", param=None, code="invalid_value"))
    played = await play(one(), {"a": always(refused)}, [ask()])
    assert played["call"].status == 400
    assert played["call"].error["message"].endswith(" is no URL")


NOWHERE = {
    "no body": answer(404, ""),
    "an empty object": answer(404, {}),
    "FastAPI": answer(404, {"detail": "Not Found"}),
    "Azure": answer(404, error("Resource not found", code="404")),
    "OpenAI": answer(404, error("Unknown request URL: POST /v1/x.", type="x", param=None, code="unknown_url")),
}


@pytest.mark.parametrize("missing", NOWHERE.values(), ids=NOWHERE)
async def test_a_404_of_the_path_moves_on_and_is_told_where_all_say_so(missing: list[Any], play: Play) -> None:
    played = await play(two(), {"a": always(missing), "b": always(chat("Hello from b"))}, [ask()])
    assert b"Hello from b" in played["call"].body
    alone = await play(one(), {"a": always(missing)}, [ask()])
    assert (alone["call"].status, len(alone.asked("a"))) == (404, 1)
    assert alone["call"].error["message"]


def coded(status: int, coding: str, body: bytes, headers: str = "") -> list[Any]:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\n{headers}"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n{body.decode('latin-1')}"]


@pytest.mark.parametrize("coding", ["br", "zstd"])
async def test_an_error_whose_coding_cannot_be_undone_is_known_by_its_status(coding: str, play: Play) -> None:
    body = b"\x8b\x02\x80no text"
    for status, seen in ((400, 400), (401, 502), (429, 429)):
        first = coded(status, coding, body, "Retry-After: 9\r\n")
        played = await play({**one(), "failover": {"retries": 0}}, {"a": always(first)}, [ask()])
        assert played["call"].status == seen
        assert (played["call"].header("retry-after") == "9") is (status == 429)


async def test_a_gzipped_error_is_read(play: Play) -> None:
    body = gzip.compress(json.dumps(error("Insufficient Balance")).encode())
    played = await play(
        two(), {"a": always(coded(403, "gzip", body)), "b": always(chat("b"))}, [ask(), ask(step="again")]
    )
    assert [played[step].status for step in ("call", "again")] == [200, 200]
    assert played.asked("a", "again") == []


UNSHAPED = ["/v1/rerank", "/v1/images/generations", "/v1/audio/transcriptions", "/v1/messages/count_tokens"]


@pytest.mark.parametrize("path", UNSHAPED)
@pytest.mark.parametrize(
    "body",
    [
        {"detail": "Service overloaded"},
        {"object": "error", "message": "died", "code": 500},
        {"success": False, "errors": [{"code": 3040, "message": "Capacity"}]},
        {"data": None, "base_resp": {"status_code": 1000, "status_msg": "unknown error"}},
    ],
    ids=lambda body: next(iter(body)),
)
async def test_where_answers_differ_from_vendor_to_vendor_an_error_is_still_none(
    path: str, body: Any, play: Play
) -> None:
    good = answer(200, {"results": [{"index": 0, "relevance_score": 0.5}]})
    played = await play(two(), {"a": always(answer(200, body)), "b": always(good)}, [ask(path)])
    assert (played["call"].status, len(played.asked("b"))) == (200, 1)
    assert b"relevance_score" in played["call"].body


async def test_the_blank_error_of_a_streamed_choice_is_none(play: Play) -> None:
    blank = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "error": {"message": "", "code": None}}]}
    stream = sse(data(blank), STOP, DONE)
    played = await play(two(), {"a": always(stream), "b": always(said("no"))}, [ask(stream=True)])
    assert played["call"].whole
    assert b'"Hi"' in played["call"].body


async def test_a_choice_that_failed_has_failed_though_its_error_is_blank(play: Play) -> None:
    failed = {
        "choices": [{"index": 0, "message": {"content": "ha"}, "finish_reason": "error", "error": {"message": ""}}]
    }
    played = await play(two(), {"a": always(answer(200, failed)), "b": always(chat("b"))}, [ask()])
    assert len(played.asked("b")) == 1


async def test_an_error_in_a_list_is_an_error_in_a_stream_too(play: Play) -> None:
    """Gemini's form. The first event parks the key; behind content it is cut, and shows nothing of the key."""
    refused = data([error("API key not valid. Please pass a valid API key.", code=400, status="INVALID_ARGUMENT")])
    client = [ask(stream=True), ask(step="again", stream=True)]
    played = await play(two(), {"a": always(sse(refused)), "b": always(said("b"))}, client)
    assert (len(played.asked("a", "call")), len(played.asked("a", "again"))) == (1, 0)
    late = sse(ROLE, HELLO, data([error(f"Quota of {KEY_A} is used up", code=429)]), chunk({}, "stop"), DONE)
    got = (await play(one(), {"a": always(late)}, [ask(stream=True)]))["call"]
    assert b'"Hello"' in got.body
    assert b"Wv2K" not in got.body
    assert b"[DONE]" not in got.body
    assert not got.whole
