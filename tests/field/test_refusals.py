"""
Whose fault a refusal is: of this call, of this account's limits, of the key or of its money; by other vendors' bytes.

Each row is one answer as the vendor's page or a public report shows it.
"""

import json
from typing import Any

import pytest

from tests.field.build import KEY_A, KEY_A2, KEY_B, always, answer, ask, chat, one, rule, two
from tests.field.play import Play

SECOND = [ask(step="first"), ask(step="second"), ask(step="third")]


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def of(sentence: str, status: int, body: Any, kind: str = "application/json") -> Any:
    return pytest.param(answer(status, body, kind), id=sentence)


BAD_KEYS = [
    # https://platform.openai.com/docs/guides/error-codes
    of("OpenAI deactivated the account", 403, error("Gone.", type="invalid_request_error", code="account_deactivated")),
    # https://github.com/continuedev/continue/issues/10513
    of(
        "Gemini was told that the key has leaked",
        403,
        error("Your API key was reported as leaked. Please use another API key.", code=403, status="PERMISSION_DENIED"),
    ),
    # https://github.com/continuedev/continue/issues/11336
    of(
        "a relay packs Gemini's expired key as JSON into its message",
        400,
        error(
            json.dumps({"error": {"code": 400, "message": "x", "details": [{"reason": "API_KEY_INVALID"}]}}, indent=2),
            code=400,
            status="Bad Request",
        ),
    ),
    # https://github.com/google/generative-ai-docs/issues/356
    of(
        "Gemini suspended the consumer",
        403,
        error("Permission denied: Consumer 'api_key:AIzaSyField' has been suspended.", code=403),
    ),
    # https://github.com/poenl/gemini-api/issues/8
    of("Gemini denied the project", 403, error("Your project has been denied access. Please contact support.")),
    # https://github.com/Wei-Shaw/sub2api/issues/1709
    of("Gemini does not find the key", 400, error("API Key not found. Please pass a valid API key.", code=400)),
    # https://console.groq.com/docs/errors
    of(
        "Groq restricted the organization",
        400,
        error("Organization has been restricted. Please reach out to support.", code="organization_restricted"),
    ),
    # https://www.alibabacloud.com/help/en/model-studio/error-code
    of("DashScope, a camel-cased code", 400, error("No.", type="invalid_request_error", code="InvalidApiKey")),
    # https://docs.litellm.ai/docs/exception_mapping
    of(
        "LiteLLM wraps another's words",
        400,
        error("litellm.AuthenticationError: XaiException - Incorrect API key provided: sk***2K.", code="400"),
    ),
    # https://docs.anthropic.com/en/api/errors
    of("Anthropic's type says it", 403, {"type": "error", "error": {"type": "authentication_error", "message": "No."}}),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
    of("Bedrock does not know the token", 403, {"__type": "UnrecognizedClientException", "message": "Not valid."}),
    of("a 401 of a page is a 401", 401, "<html><h1>401 Authorization Required</h1></html>", "text/html"),
]

NO_MONEY = [
    # https://github.com/warpdotdev/warp/issues/14867
    of(
        "xAI, 403: the team's credits are used up",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your team field-0001 has either used all available credits or reached its spending limit.",
        },
    ),
    # https://github.com/continuedev/continue/issues/10373
    of(
        "xAI, 429: the same words",
        429,
        {"code": "x", "error": "Your team field-0001 has either used all available credits or reached its limit."},
    ),
    # https://docs.anthropic.com/en/api/errors
    of("Anthropic, 402 billing_error", 402, {"type": "error", "error": {"type": "billing_error", "message": "Pay."}}),
    of(
        "Anthropic, 400: the limit the operator set",
        400,
        {
            "type": "error",
            "error": {"type": "x", "message": "You have reached your specified API usage limits."},
        },
    ),
    # https://www.alibabacloud.com/help/en/model-studio/error-code
    of("DashScope, 400 Arrearage", 400, error("Access denied, please make sure your account is", code="Arrearage")),
    # https://www.volcengine.com/docs/82379/1299023
    of(
        "Volcengine, 403",
        403,
        error("The request failed because your account has an overdue", code="AccountOverdueError"),
    ),
    # https://platform.moonshot.ai/docs/api/chat#error-description
    of("Moonshot, 429", 429, error("Your account is suspended.", type="exceeded_current_quota_error")),
    # https://docs.z.ai/api-reference/api-code
    of("z.ai, 429 with a code of its own", 429, error("Insufficient balance or no resource package.", code="1113")),
    of("z.ai by a number", 429, {"error": {"code": 1113, "message": "Please recharge."}}),
    # https://docs.fireworks.ai/guides/inference-error-codes
    of(
        "Fireworks, 412", 412, error("Account field is suspended, possibly due to reaching the monthly spending limit.")
    ),
    # https://github.com/QuantumNous/new-api/blob/main/types/error.go
    of("a relay, 403", 403, error("No quota", type="new_api_error", code="insufficient_user_quota")),
    # https://huggingface.co/docs/inference-providers/pricing
    of("Hugging Face, 402, a text", 402, {"error": "You have exceeded your monthly included credits for Inference"}),
    # https://openrouter.ai/docs/api-reference/errors
    of("OpenRouter, 403: the key's own limit", 403, error("Key limit exceeded (total limit). Manage it", code=403)),
]


@pytest.mark.parametrize("refusal", [*BAD_KEYS, *NO_MONEY])
async def test_a_key_or_an_account_that_is_refused_is_parked_and_the_next_answers(
    refusal: list[Any], play: Play
) -> None:
    a = {"models": ["m"], "rules": [rule(refusal)]}
    played = await play(two(), {"a": a, "b": always(chat("Hello from b"))}, SECOND)
    for step in ("first", "second", "third"):
        assert played[step].status == 200
        assert b"Hello from b" in played[step].body
    assert len(played.asked("a")) == 1


@pytest.mark.parametrize("refusal", [BAD_KEYS[1], NO_MONEY[0]])
async def test_another_key_of_the_same_provider_takes_its_place(refusal: Any, play: Play) -> None:
    configuration = one(api_keys=[KEY_A, KEY_A2])
    del configuration["providers"]["a"]["api_key"]
    rules = [rule(refusal, key=KEY_A), rule(chat("Hello"))]
    played = await play(configuration, {"a": {"models": ["m"], "rules": rules}}, SECOND)
    assert [played[step].status for step in ("first", "second", "third")] == [200, 200, 200]
    assert [asked.key for asked in played.asked("a")].count(KEY_A) <= 1


@pytest.mark.parametrize("refusal", [BAD_KEYS[0], NO_MONEY[0]])
async def test_where_there_is_no_other_key_the_words_about_it_stay_here(refusal: Any, play: Play) -> None:
    played = await play(one(), {"a": always(refusal)}, [ask()])
    assert played["call"].status in (429, 502)
    assert "team" not in played["call"].error["message"]
    assert "Gone" not in played["call"].error["message"]


THIS_CALL = [
    # https://platform.openai.com/docs/guides/safety-best-practices
    of(
        "OpenAI, a policy",
        400,
        error("Rejected by our safety system.", type="x", param=None, code="moderation_blocked"),
    ),
    # https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
    of(
        "Azure, its content filter",
        400,
        error("The response was filtered", type=None, param="prompt", code="content_filter", status=400),
    ),
    # https://docs.anthropic.com/en/api/errors
    of(
        "Anthropic, permission_error",
        403,
        {"type": "error", "error": {"type": "permission_error", "message": "Your API key may not use this resource."}},
    ),
    # https://www.alibabacloud.com/help/en/model-studio/error-code
    of(
        "DashScope, inspection",
        400,
        error("Output data may contain", type="x", param=None, code="data_inspection_failed"),
    ),
    # https://api-docs.deepseek.com/quick_start/error_codes
    of("DeepSeek, risk", 400, error("Content Exists Risk", type="invalid_request_error", param=None, code="x")),
    of("408 of a slow body", 408, error("Timed out reading the body.", type="x", param=None, code="y")),
    of("409 of a resource", 409, error("The batch is being cancelled.", type="x", param=None, code="y")),
    of("425", 425, error("Too early.", type="x", param=None, code="y")),
    of("424 of a tool's server", 424, error("MCP server said no.", type="x", param=None, code="y")),
    of(
        "a prompt that speaks of keys, repeated",
        403,
        error("Flagged: 'invalid_api_key. Your credit balance is too low.'", code=403),
    ),
]


@pytest.mark.parametrize("refusal", THIS_CALL)
async def test_a_refusal_of_one_call_is_told_and_changes_nothing_for_the_next(refusal: list[Any], play: Play) -> None:
    rules = [rule(refusal, has="flag me"), rule(chat("Hello"))]
    flagged = ask(step="flagged", messages=[{"role": "user", "content": "flag me"}])
    a = {"models": ["m"], "rules": rules}
    played = await play(two(), {"a": a, "b": always(chat("Hello from b"))}, [flagged, ask(step="next")])
    raw = refusal[0].partition("\r\n\r\n")[2]
    got = played["flagged"]
    assert got.status == int(refusal[0].split()[1])
    assert got.json["error"]["message"] == json.loads(raw)["error"]["message"]
    assert played.asked("b") == []
    assert played["next"].status == 200
    assert b'"Hello"' in played["next"].body


ANOTHER_MAY = [
    # https://console.groq.com/docs/model-permissions
    of("Groq blocks the model", 403, error("The model `m` is blocked.", code="model_permission_blocked_org")),
    # https://github.com/can1357/oh-my-pi/issues/9569
    of(
        "OpenRouter can afford fewer tokens than this call asks for",
        402,
        error(
            "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but", code=402
        ),
    ),
    # https://ai.google.dev/gemini-api/docs/troubleshooting
    of(
        "Gemini does not serve this place",
        400,
        [error("User location is not supported for the API use.", code=400, status="FAILED_PRECONDITION")],
    ),
    # https://platform.openai.com/docs/supported-countries
    of("OpenAI does not either", 403, error("No.", type="x", code="unsupported_country_region_territory")),
    # https://help.openai.com/en/articles/10910291-api-organization-verification
    of(
        "OpenAI wants the organization verified", 404, error("Your organization must be verified to use the model `m`.")
    ),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
    of("Bedrock gives no access", 403, {"__type": "AccessDeniedException", "message": "You don't have access to"}),
    # https://console.groq.com/docs/rate-limits
    of(
        "Groq's plan takes no request of this size",
        413,
        error(
            "Request too large for model `m` on tokens per minute (TPM): Limit 6000",
            type="tokens",
            code="rate_limit_exceeded",
        ),
    ),
    # https://docs.mistral.ai/api/
    of(
        "Mistral does not know the model",
        400,
        {"object": "error", "message": "Invalid model: m", "type": "invalid_model"},
    ),
    # https://api-docs.deepseek.com/quick_start/error_codes
    of("DeepSeek does not", 400, error("Model Not Exist", type="invalid_request_error", param=None, code="x")),
    # https://docs.anthropic.com/en/api/errors
    of("Anthropic does not", 404, {"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    of("vLLM does not", 404, error("The model `m` does not exist.", type="NotFoundError", param="model", code=404)),
    of("a 401 that speaks of scopes", 401, error("Missing scopes: model.request.", type="x", code=None)),
]


@pytest.mark.parametrize("refusal", ANOTHER_MAY)
async def test_what_this_account_does_not_serve_the_next_one_may_and_no_key_is_parked(
    refusal: list[Any], play: Play
) -> None:
    rules = [rule(refusal, has="bar me"), rule(chat("Hello"))]
    barred = ask(step="barred", messages=[{"role": "user", "content": "bar me"}])
    a = {"models": ["m"], "rules": rules}
    played = await play(two(), {"a": a, "b": always(chat("Hello from b"))}, [barred, ask(step="next")])
    assert b"Hello from b" in played["barred"].body
    assert len(played.asked("a", "barred")) == 1
    assert b'"Hello"' in played["next"].body


@pytest.mark.parametrize("refusal", ANOTHER_MAY)
async def test_when_no_other_does_the_client_reads_why_once(refusal: list[Any], play: Play) -> None:
    played = await play(one(), {"a": always(refusal)}, [ask(), ask(step="again")])
    status = int(refusal[0].split()[1])
    for step in ("call", "again"):
        got = played[step]
        assert got.status == (403 if status == 401 else status)
        assert got.json["error"]["message"]
        assert len(played.asked("a", step)) == 1


async def test_a_missing_model_here_and_a_failure_there_is_the_failure(play: Play) -> None:
    missing = answer(404, error("The model `m` does not exist", type="x", param=None, code="model_not_found"))
    broken = answer(502, error("Backend gone", type="server_error", param=None, code=None))
    played = await play({**two(), "failover": {"retries": 1}}, {"a": always(missing), "b": always(broken)}, [ask()])
    got = played["call"]
    assert (got.status, got.error["code"], got.error["message"]) == (502, "upstream_error", "Backend gone")


SHAPES = [
    # https://fastapi.tiangolo.com/tutorial/handling-errors/
    of("FastAPI, a text", 400, {"detail": "Only one of the two"}),
    of("FastAPI, an object", 400, {"detail": {"error": "Only one of the two", "hint": "x"}}),
    of("FastAPI, several places", 422, {"detail": [{"loc": ["body", 0], "msg": "Only one of the two", "type": "t"}]}),
    # https://docs.cohere.com/reference/errors
    of("Cohere", 400, {"id": "1", "message": "Only one of the two"}),
    # https://github.com/huggingface/text-generation-inference
    of("TGI", 422, {"error": "Only one of the two", "error_type": "validation"}),
    # https://datatracker.ietf.org/doc/html/rfc9457
    of("problem+json", 400, {"type": "about:blank", "title": "Bad", "status": 400, "detail": "Only one of the two"}),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html
    of("AWS", 400, {"__type": "com.amazon.coral#ValidationException", "message": "Only one of the two"}),
    # https://docs.databricks.com/api/workspace/introduction
    of("Databricks", 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Only one of the two"}),
    # https://cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh
    of("Baidu", 400, {"error_code": 336003, "error_msg": "Only one of the two"}),
    of("nested twice", 400, {"error": {"message": {"detail": [{"loc": ["x"], "msg": "Only one of the two"}]}}}),
    of("a nested code", 400, {"error": {"code": {"code": "E7", "message": "Only one of the two"}}}),
    of("a list of texts", 400, {"errors": ["Only one of the two"]}),
    of("a list of one without an envelope", 400, [{"message": "Only one of the two", "code": 3}]),
    of("a text", 400, "Only one of the two", "text/plain"),
    of("JSON that is a text", 400, '"Only one of the two"'),
    of("JSON under no type", 400, {"msg": "Only one of the two"}, ""),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.parametrize("refusal", SHAPES)
async def test_a_refusal_of_any_shape_is_told_in_openais_with_its_own_words(
    refusal: list[Any], path: str, play: Play
) -> None:
    played = await play(two(), {"a": always(refusal), "b": always(chat("no"))}, [ask(path)])
    got = played["call"]
    assert got.status == int(refusal[0].split()[1])
    assert "Only one of the two" in got.error["message"]
    assert got.header("content-type") == "application/json"
    assert played.asked("b") == []


@pytest.mark.parametrize(
    "hint",
    [
        KEY_A,
        "sk-field*****Wv2K",
        "sk-f...Wv2K",
        "****Wv2K",
        "sk***2K",
        "Bearer " + KEY_A,
        "sk-field-a1\\u2026Wv2K",
        KEY_A[:14],
    ],
)
@pytest.mark.parametrize(
    "shape", ['{"error":{"message":"Not with %s.","type":"x","param":null,"code":"y"}}', '{"detail":"Not with %s."}']
)
async def test_no_form_of_the_key_reaches_a_client(hint: str, shape: str, play: Play) -> None:
    played = await play(one(), {"a": always(answer(400, shape.replace("%s", hint)))}, [ask()])
    got = played["call"]
    assert got.status == 400
    assert got.error["message"].startswith("Not with ")
    assert b"Wv2K" not in got.body
    assert b"sk-f" not in got.body
    assert KEY_B.encode() not in got.body
