"""
An answer kept instead of sent: how endpoints with a shape of their own ask the relay a chat question.

The question goes the way of every call: limits, queue, ledger, failover. What is made of the answer is theirs.
"""

from collections.abc import Callable
from typing import Any

import orjson

from proxy.errors import ProxyError
from proxy.headers import Header
from proxy.relay.endpoints import operation
from proxy.relay.question import Question
from proxy.relay.relay import Relay
from proxy.usage import estimate, most_completion
from proxy.web.admission import Admission
from proxy.web.inbound import Inbound


class Captured:
    """A relay's client that keeps the answer instead of sending it."""

    paused = False

    def __init__(self) -> None:
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self.status = 0
        self.headers: list[Header] = []
        self.body = b""
        self.whole = False

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status, self.headers, self.body, self.whole = status, headers, body, True

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self.status, self.headers = status, headers

    def write(self, chunk: bytes) -> None:
        self.body += chunk

    def finish(self) -> None:
        self.whole = True

    def cut(self) -> None:
        self.whole = False

    @property
    def ours(self) -> list[Header]:
        """The header lines that say who answered."""
        return [pair for pair in self.headers if pair[0].startswith(b"X-Hapax-")]

    def text(self) -> str | None:
        """The first choice's text of a chat answer, or None when it is not one."""
        try:
            content = orjson.loads(self.body)["choices"][0]["message"]["content"]
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
            return None
        return content if type(content) is str else None


async def chat_once(relay: Relay, admission: Admission, inbound: Inbound, asked: dict[str, Any]) -> Captured:
    """
    The whole answer of status 200 to the chat question *asked*; `ProxyError` for anything else. Whether the caller may
    use its model has been asked before.
    """
    exchange = inbound.exchange
    exchange.model = asked["model"]
    body = orjson.dumps(asked)
    chat = operation("/chat/completions")
    prompt = estimate(len(body))
    await admission.admit(inbound, chat, prompt, most_completion(asked))
    captured = Captured()
    question = Question(
        "POST",
        "/chat/completions",
        chat,
        b"content-type: application/json\r\n",
        body,
        {},
        exchange.model,
        stream=False,
        repeatable=True,
        patience=None,
        timeout=inbound.timeout,
        may_use=inbound.principal.may_use,
        prompt_tokens=prompt,
    )
    await relay.relay(exchange, question, captured)
    if not captured.whole:
        raise ProxyError("upstream_truncated")
    if captured.status >= 400:
        # The relay hands on only what the request itself is to blame for; the words may quote the prompt.
        if captured.status == 404:
            raise ProxyError("model_not_found", param="model")
        raise ProxyError("bad_request", "The provider refused the request.")
    return captured
