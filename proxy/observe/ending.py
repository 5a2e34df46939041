"""
Who ended an exchange, and how far it had come: the two words an operator sorts failures by.

Derived from the ended record, after the termination states of HAProxy and Envoy's response flags.
"""

from proxy.core.exchange import Exchange, Outcome

_OURS = frozenset(("overloaded", "queue_full", "queue_timeout", "store_unavailable", "internal_error"))


def ending(exchange: Exchange) -> tuple[str, str]:
    """
    Who: `client`, `upstream`, `gateway`, `timeout` or `operator`; empty for what ended well. And the phase: `request`,
    `queue`, `connect`, `headers`, `first_token`, `stream` or `last`.
    """
    outcome, code = exchange.outcome, exchange.error_code
    if outcome is Outcome.OK:
        return "", "last"
    phase = _phase(exchange)
    if outcome is Outcome.CLIENT_GONE:
        return "client", phase
    if code == "shutting_down":
        return "operator", phase
    if code.endswith("timeout"):
        return "timeout", phase
    if exchange.attempts and code not in _OURS:
        return "upstream", phase
    return "gateway", phase


def _phase(exchange: Exchange) -> str:
    if not exchange.attempts:
        return "request" if exchange.position is None else "queue"
    last = exchange.attempts[-1]
    if any(attempt.first_content_at for attempt in exchange.attempts):
        return "stream"
    if last.head_at:
        return "first_token"
    return "headers" if last.sent_at else "connect"
