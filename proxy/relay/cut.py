"""
How an answer that broke off is ended, so that no client takes it for a whole one.

An event stream gets a last event that says so; every answer ends without the mark of a good end.
"""

import orjson

from proxy.core.errors import KINDS
from proxy.core.sse import Dialect
from proxy.relay.client import Client
from proxy.relay.verdict import Cut


def end_cut(client: Client, cut: Cut, dialect: Dialect, request_id: str) -> None:
    """Tell *client* that its answer is not whole."""
    if cut.streamed and not cut.announced:
        if cut.split:
            # The half event must not swallow ours.
            client.push(b"\n\n")
        client.push(error_event(dialect, cut.code, request_id))
    client.cut()


def error_event(dialect: Dialect, code: str, request_id: str) -> bytes:
    """The last event of a stream that broke off, in the form both SDKs raise on."""
    kind = KINDS[code]
    error = {"message": kind.message, "type": kind.type, "param": None, "code": code, "request_id": request_id}
    if dialect is Dialect.RESPONSES:
        flat = {"type": "error", "code": error["code"], "message": error["message"], "param": None, "error": error}
        return b"event: error\ndata: " + orjson.dumps(flat) + b"\n\n"
    if dialect is Dialect.MESSAGES:
        return b"event: error\ndata: " + orjson.dumps({"type": "error", "error": error}) + b"\n\n"
    return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
