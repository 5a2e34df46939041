"""
Rows of the catalogue that play what providers say: M1 to M12, one for each meaning of the table in
`proxy.relay.faults`, and for the answers that are none.

Literal bytes as the vendors' documents and public reports show them.
"""

import json
from typing import Any

from tests.rigs.simulator import Send, Step

from .words import Case, Error, Fault, Outcome, Refusal

STREAM, WHOLE = (True,), (False,)


def said(status: int, body: Any, kind: str = "application/json") -> tuple[Step, ...]:
    """A whole answer of these bytes, or of this value as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n\r\n"
    return (Send(head.encode() + raw),)


def error(message: str, kind: str = "invalid_request_error", code: Any = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def event(value: Any) -> tuple[Step, ...]:
    """A stream whose first event is this."""
    raw = b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return (Send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)),)


def caller(how: str, status: int, body: Any, code: Any, *, stream: tuple[bool, ...] = WHOLE) -> Case:
    """The caller's fault: told in the provider's words, and tried nowhere else."""
    steps = event(body) if stream is STREAM else said(status, body)
    # Of a code that is a number each SDK makes what it likes.
    sdk = type(code) is not int
    return Case(how, Refusal(status, code), Refusal(status, code), steps=steps, stream=stream, sdk=sdk)


def elsewhere(how: str, status: int, body: Any, code: Any, fault: str = "upstream_refused") -> Case:
    """This account's limits: the second target, else the provider's words."""
    refusal = Refusal(status, code)
    return Case(how, refusal, steps=said(status, body), stream=WHOLE, fault=fault, blameless=True)


def failed(how: str, alone: Outcome, body: Any, status: int = 200, *, blameless: bool = False, kind: str = "") -> Case:
    """A failure of the provider, of its key or of its account."""
    steps = said(status, body, kind or "application/json")
    return Case(how, alone, steps=steps, stream=WHOLE, blameless=blameless)


KEY = Error(502, "upstream_auth_error")
MONEY = Error(429, "insufficient_quota")
PROTOCOL = Error(502, "upstream_protocol_error")
FAILED = Error(502, "upstream_error")
BUSY = Error(503, "upstream_unavailable", wait=(1, 10))
LIMITED = Error(429, "rate_limit_exceeded", wait=(1, 5), final=False)
PAGE = b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>blocked</body></html>"

MEANINGS = (
    Fault(
        "M1",
        "403 that speaks of one prompt",
        "passed through once, no key parked",
        (
            caller(
                "OpenRouter, flagged input",
                403,
                {"error": {"message": "Your input was flagged.", "code": 403, "metadata": {"reasons": ["x"]}}},
                403,
            ),
            caller("xAI, usage guidelines", 403, {"code": "denied", "error": "Content violates guidelines."}, "denied"),
            caller(
                "the same as the first event",
                403,
                error("Your input was flagged.", code=403),
                403,
                stream=STREAM,
            ),
        ),
    ),
    Fault(
        "M2",
        "a refusal of this account's scope, region, plan or model",
        "the next target; else passed through, no key parked",
        (
            elsewhere(
                "`missing_scope`", 403, error("Missing scopes: model.request", code="missing_scope"), "missing_scope"
            ),
            elsewhere("Gemini, region", 400, error("User location is not supported for the API use."), None),
            elsewhere("OpenRouter, no endpoint", 404, error("No endpoints found that support tool use."), None),
        ),
    ),
    Fault(
        "M3",
        "the model is not known there",
        "the next target; 404 when all said so",
        (
            elsewhere(
                "Ollama",
                404,
                {"error": 'model "m" not found, try pulling it first'},
                "model_not_found",
                "model_not_found",
            ),
            elsewhere(
                "Azure, `DeploymentNotFound`",
                404,
                error("The API deployment for this resource does not exist.", code="DeploymentNotFound"),
                "DeploymentNotFound",
                "model_not_found",
            ),
        ),
    ),
    Fault(
        "M4",
        "a wrong key, told as 400 or 403",
        "the key is parked, the next target; its words are never shown",
        (
            failed("xAI", KEY, {"code": "x", "error": "Incorrect API key provided: sk***2K."}, 400, blameless=True),
            failed(
                "Gemini, `API_KEY_INVALID`",
                KEY,
                [{"error": {"code": 400, "message": "No.", "details": [{"reason": "API_KEY_INVALID"}]}}],
                400,
                blameless=True,
            ),
            failed("a disabled organization", KEY, error("This organization has been disabled."), 400, blameless=True),
        ),
    ),
    Fault(
        "M5",
        "money that is gone, told as 400, 403 and 429",
        "the key is parked for long, the next target",
        (
            failed("Anthropic", MONEY, error("Your credit balance is too low to access the API."), 400, blameless=True),
            failed("Volcengine", MONEY, error("Overdue.", code="AccountOverdueError"), 403, blameless=True),
            failed("z.ai, 1113", MONEY, error("Please recharge.", code="1113"), 429, blameless=True),
        ),
    ),
    Fault(
        "M6",
        "the prompt is too long, in other words than OpenAI's",
        "`context_fallbacks`; else passed through",
        tuple(
            Case(how, Refusal(400, code), None, steps=said(400, body), stream=WHOLE, fault="context_length_exceeded")
            for how, body, code in (
                (
                    "vLLM",
                    {"object": "error", "message": "This model's maximum context length is 8 tokens.", "code": 400},
                    "context_length_exceeded",
                ),
                ("Fireworks", error("The prompt is too long: 9, model maximum context length: 8", code="long"), "long"),
            )
        ),
    ),
    Fault(
        "M7",
        "a firewall's page with 403 or 404",
        "the next target; final 503 in OpenAI's JSON, no key parked",
        (
            failed("Cloudflare's page, 403", BUSY, PAGE, 403, kind="text/html"),
            failed("a text, 404", BUSY, b"404 page not found\n", 404, kind="text/plain"),
        ),
    ),
    Fault(
        "M8",
        "refusals in shapes SDKs do not know",
        "passed through in OpenAI's shape",
        (
            caller("FastAPI, a list", 422, {"detail": [{"loc": ["body"], "msg": "field required", "type": "v"}]}, None),
            caller(
                "Cloudflare, `errors`", 400, {"success": False, "errors": [{"code": 5006, "message": "no"}]}, "5006"
            ),
            caller("Mistral, `object`", 400, {"object": "error", "message": "no", "type": "t", "code": "3051"}, "3051"),
        ),
    ),
    Fault(
        "M9",
        "200 with an error and no answer",
        "the status it should have had, the next target",
        (
            failed(
                "`choices` empty beside an error", LIMITED, {"choices": [], **error("Slow.", code=429)}, blameless=True
            ),
            failed("`error` is a text", FAILED, {"error": "model runner has unexpectedly stopped"}),
            failed("`detail`", BUSY, {"detail": "Service overloaded"}),
            failed("`base_resp`", MONEY, {"base_resp": {"status_code": 1008, "status_msg": "none"}}, blameless=True),
        ),
    ),
    Fault(
        "M10",
        "200 with nothing in it",
        "502, the next target",
        (
            failed("`choices` null", PROTOCOL, {"id": "FIRST", "object": "chat.completion", "choices": None}),
            failed("a web page", PROTOCOL, b"<!doctype html><title>One API</title>", kind="text/html"),
            failed("a text", PROTOCOL, b"upstream connect error", kind="text/plain"),
        ),
    ),
    Fault(
        "M11",
        "200 with a choice that failed",
        "502, the next target",
        (
            failed(
                "`finish_reason: error`",
                FAILED,
                {"choices": [{"index": 0, "message": {"content": "FIRST"}, "finish_reason": "error"}]},
            ),
            failed(
                "an error in the choice",
                FAILED,
                {"choices": [{"index": 0, "message": {"content": ""}, "error": {"code": 502, "message": "Lost"}}]},
            ),
        ),
    ),
    Fault(
        "M12",
        "a provider that cannot do it at all",
        "the next target; 501 stays, any other 5xx becomes 502",
        (
            failed("501", Error(501, "upstream_error"), error("Not implemented here."), 501),
            failed("507", FAILED, error("Disk full."), 507),
        ),
    ),
)
