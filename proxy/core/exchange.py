"""
The record of one client call, from admission to its single end.

It is made in the front, filled in on the way down, and read by every observer once it has ended. It decides nothing.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from proxy.core import clock
from proxy.core.usage import Tokens

KEPT_CONTENT = 64 * 1024


class Outcome(StrEnum):
    """How an exchange ended, for logs, metrics and the ledger alike."""

    OK = "ok"
    REFUSED = "refused"
    """The request was at fault and was told so: 4xx."""
    FAILED = "failed"
    """No target gave an answer: 429 or 5xx."""
    CUT = "cut"
    """The answer broke off after its first content had reached the client."""
    CLIENT_GONE = "client_gone"
    """The client left before the end."""


class AttemptRecord:
    """One try of one target."""

    provider: str
    model: str
    started: float
    """Monotonic seconds, like every other moment here."""
    account: str = ""
    """Which of the provider's keys it went with, see `Provider.accounts`; never the key."""
    status: int = 0
    """The provider's status; 0 while none has arrived."""
    failure: str = ""
    """The error code of a failed attempt; empty for one that answered."""
    streamed: bool = False
    """Its answer is an event stream, of which something has reached the client."""
    span_id: str = ""
    """Its span in the exchange's trace; empty while traces are not recorded."""
    began_beside: bool = False
    """It was started beside another attempt that kept silent."""
    reason: str = ""
    """Which fault it was, for the operator; never content."""
    reach: str = ""
    """How far a failed attempt got: its class."""
    out_of_time: bool = False
    """It failed because the time was over that the client or the path gave the call: its target is not to blame."""
    sent_at: float = 0.0
    head_at: float = 0.0
    first_content_at: float = 0.0
    """When its answer began to pass to the client: with a stream's first content, or with all of a whole answer."""
    first_token_at: float = 0.0
    """When the first piece of content of its stream had passed; 0 for any other answer."""
    ended: float = 0.0
    tokens: Tokens | None = None
    """What its answer used; None when no content of it reached the client."""

    def __init__(self, provider: str, model: str, started: float, status: int = 0) -> None:
        self.provider = provider
        self.model = model
        self.started = started
        self.status = status


class Exchange:
    """One client call."""

    id: str
    method: str
    protocol: str = "http/1.1"
    """How the client speaks: `http/1.1`, `http/1.0`, or `h3` over QUIC."""
    route: str = "other"
    """The route's template, never the raw path: it becomes a metric label."""
    logged: bool = True
    """It has a line in the access log."""
    call: bool = True
    """A client's call, refused ones included. Pages, probes, files of the UI and preflights are housekeeping."""
    started: float
    principal: str = ""
    client_ip: str = ""
    correlation_id: str = ""
    """What the caller's systems know the call by: a header's, else the body's, else its own id."""
    correlated: bool = False
    """A header gave that id."""
    user_agent: str = ""
    """What the client calls itself, as it was sent."""
    referer: str = ""
    """The page a browser calls from, as it was sent."""
    model: str = ""
    """The public model asked for."""
    stream: bool = False
    status: int = 0
    error_code: str = ""
    outcome: Outcome = Outcome.OK
    answered_model: str = ""
    """The public model whose target answered; differs from `model` when a fallback took over."""
    attempts: list[AttemptRecord]
    skipped: dict[str, str]
    """Targets that were passed over, and why."""
    kept_to: str = ""
    """The provider it was kept to, because what it names lives there; empty for a call that any target could take."""
    shared: str = ""
    """The id of the call whose answer this one got as well; empty for one with an answer of its own."""
    cached: bool = False
    """A stored answer was given, and no provider asked."""
    saved: int | None = None
    """Micro-USD the stored answer had cost; None where there was none, or where that is not known."""
    resumed: int = 0
    """How often the answer was continued by another target after it had broken off."""
    hedged: bool = False
    """A second target was asked beside a silent one."""
    bytes_in: int = 0
    bytes_out: int = 0
    emitted: int = 0
    """Pieces of content relayed in a stream, also in one that the client left; mostly one token each."""
    cost: int | None = None
    """Micro-USD; None while the price is not known."""
    reservation: Any = None
    """What it holds of its caller's limits, see `limits`; None for a call without limits."""
    queued: float = 0.0
    """Seconds spent waiting for a place to run."""
    position: int | None = None
    """How many were waiting before it when it joined the queue; None when it did not wait."""
    ledger_id: str = ""
    """Its row in the usage ledger; empty for a call that has none."""
    upstream_request_id: str = ""
    response_id: str = ""
    """What the provider calls its answer, such as `chatcmpl-...`; empty where it gave it no name."""
    content: tuple[bytearray, bytearray] | None = None
    """Request and answer, up to `KEPT_CONTENT` bytes of each, where the operator wants them logged."""
    answered_at: float = 0.0
    """When the head of the answer was written to the client."""
    trace_id: str = ""
    """32 hexadecimal digits; empty for a call without a trace."""
    span_id: str = ""
    """Its own span, 16 hexadecimal digits; empty while traces are not recorded here."""
    parent_span_id: str = ""
    """The caller's span; empty when the trace begins here."""
    trace_flags: int = 0
    """The W3C flags passed on; the lowest bit says that the trace is recorded."""
    trace_state: str = ""
    """The caller's `tracestate`, passed on as it is."""
    ended: float = 0.0

    def __init__(self, id: str, method: str = "", started: float | None = None) -> None:
        """*started*: monotonic seconds; None: now."""
        self.id = id
        self.method = method
        self.started = clock.now() if started is None else started
        self.attempts = []
        self.skipped = {}

    def keep_question(self, body: bytes) -> None:
        """Remember *body* as the request, where content is kept."""
        if self.content is not None:
            self.content[0].extend(body[:KEPT_CONTENT])

    def keep_answer(self, body: bytes) -> None:
        """Remember more of the answer, where content is kept."""
        if self.content is not None:
            self.content[1].extend(body[: max(0, KEPT_CONTENT - len(self.content[1]))])

    @property
    def provider(self) -> str:
        """The provider whose content the client has, else that of the last attempt; empty when none was made."""
        for attempt in reversed(self.attempts):
            if attempt.first_content_at:
                return attempt.provider
        return self.attempts[-1].provider if self.attempts else ""

    @property
    def answered_by(self) -> AttemptRecord | None:
        """The attempt whose content the client has; None when it has none."""
        for attempt in reversed(self.attempts):
            if attempt.first_content_at:
                return attempt
        return None

    @property
    def tokens(self) -> Tokens | None:
        """What the answers used that reached the client, all together; None when none did."""
        if len(self.attempts) == 1:
            return self.attempts[0].tokens
        used: Tokens | None = None
        for attempt in self.attempts:
            if attempt.tokens is not None:
                used = attempt.tokens if used is None else used + attempt.tokens
        return used

    @property
    def duration(self) -> float:
        """Seconds from the request's head to the end of the answer."""
        return self.ended - self.started


class Observer(Protocol):
    """Reads exchanges; handed to the front as a list, so that the core imports no observer."""

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """These are over, in this order; each is handed over exactly once."""
