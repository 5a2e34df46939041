"""
POST endpoints that make no text and keep nothing: counts, secrets for browsers, edits, graders.

They answer whatever model is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from proxy.simulator.answers import Reply, images, refusal, transcriptions
from proxy.simulator.completion import CREATED, complete
from proxy.simulator.question import Question
from proxy.simulator.resources import run
from proxy.simulator.streams import Stream, identity

_SECRET: Final = {"value": "ek_simulated", "expires_at": CREATED + 600}
_SDP: Final = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=simulator\r\nt=0 0\r\n"


def _json(value: Any) -> Reply:
    return Reply(orjson.dumps(value))


def count_tokens(question: Question) -> Reply:
    """POST /messages/count_tokens: words, as usage counts them."""
    if not isinstance(question.body.get("messages"), list):
        return refusal(400, "messages must be a list.")
    return _json({"input_tokens": complete(question).prompt_tokens})


def input_tokens(question: Question) -> Reply:
    """POST /responses/input_tokens: the same for the responses API."""
    return _json({"object": "response.input_tokens", "input_tokens": complete(question).prompt_tokens})


def compact(question: Question) -> Reply:
    """POST /responses/compact."""
    item = {"type": "compaction", "id": identity(question, "cmp_"), "encrypted_content": "c2ltdWxhdGVk"}
    usage = {"input_tokens": complete(question).prompt_tokens, "output_tokens": 1, "total_tokens": 1}
    answer = {"id": identity(question, "resp_"), "object": "response.compaction", "created_at": CREATED}
    return _json({**answer, "output": [item], "usage": usage})


def session(question: Question) -> Reply:
    """POST /realtime/sessions and its like: a session, and a secret that lets a browser join it."""
    sent = question.body.get("session")
    kept = sent if isinstance(sent, dict) else question.body
    return _json({**kept, "id": identity(question, "sess_"), "object": "realtime.session", "client_secret": _SECRET})


def client_secret(question: Question) -> Reply:
    """POST /realtime/client_secrets."""
    sent = question.body.get("session")
    return _json({**_SECRET, "session": {**(sent if isinstance(sent, dict) else {}), "object": "realtime.session"}})


def call(question: Question) -> Reply:
    """POST /realtime/calls: the answer to an offer."""
    return Reply(_SDP, 201, "application/sdp")


def grade(question: Question) -> Reply:
    """POST /fine_tuning/alpha/graders/run."""
    return _json({"reward": 1.0, "metadata": {"name": "simulated", "errors": {}}, "sub_rewards": {}})


def echo(question: Question) -> Reply:
    """What is only checked comes back as it was sent."""
    return _json(question.body)


ODDS: Final[dict[str, Callable[[Question], Reply | Stream]]] = {
    "/audio/translations": transcriptions,
    "/content_provenance_checks": lambda question: _json({"id": identity(question, "cpc_"), "results": []}),
    "/decisions": lambda question: _json({"id": identity(question, "dec_"), "object": "decision", "created": CREATED}),
    "/fine_tuning/alpha/graders/run": grade,
    "/fine_tuning/alpha/graders/validate": echo,
    "/images/edits": images,
    "/images/variations": images,
    "/messages/count_tokens": count_tokens,
    "/realtime/calls": call,
    "/realtime/client_secrets": client_secret,
    "/realtime/sessions": session,
    "/realtime/transcription_sessions": session,
    "/realtime/translations/client_secrets": client_secret,
    "/responses/compact": compact,
    "/responses/input_tokens": input_tokens,
    "/threads/runs": run,
}
"""Their paths below `/v1`, as openai-python and anthropic-sdk-python write them."""
