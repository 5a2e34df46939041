"""
Which trace a request belongs to: the one its caller names, or a new one.

Written into the exchange before anything else happens, so that every line about it can name the trace. It records no
span and sends no header.
"""

from proxy.core.exchange import Exchange
from proxy.core.traceparent import Sampling, new_span_id, parse, parse_state
from proxy.http.request import Request


class TraceContext:
    """Joins exchanges to traces."""

    def __init__(self, sampling: Sampling) -> None:
        """*sampling*: which new traces are recorded, if any are."""
        self._sampling = sampling

    def join(self, exchange: Exchange, request: Request) -> None:
        """
        Fill in the exchange's place in a trace. Where nothing is recorded it has no span of its own: the caller's
        headers pass to the provider as they are, and only log lines name the trace.
        """
        sampler = self._sampling.sampler
        if "traceparent" in request.headers:
            offered = request.every("traceparent")
            parent = parse(offered[0]) if len(offered) == 1 else None
            if parent is not None:
                exchange.trace_id = parent.trace_id
                if sampler is not None:
                    exchange.span_id = new_span_id()
                    exchange.parent_span_id = parent.span_id
                    exchange.trace_flags = parent.flags
                    if "tracestate" in request.headers:
                        exchange.trace_state = parse_state(request.every("tracestate"))
                return
        if sampler is not None:
            exchange.trace_id, exchange.span_id, exchange.trace_flags = sampler.begin()
