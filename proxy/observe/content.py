"""
What a request and an answer said, as text for the content log: a stream's pieces put together, the rest as it is.

Bounded by what was kept of them. It masks nothing.
"""

import orjson


def readable(body: bytes | bytearray) -> str:
    """*body* as text, whatever it holds."""
    return bytes(body).decode(errors="replace")


def spoken(answer: bytes | bytearray) -> str:
    """The text of a stream of events, or the answer as it is."""
    if not answer.startswith((b"data:", b"event:", b":", b"id:")):
        return readable(answer)
    said = []
    for line in bytes(answer).splitlines():
        if not line.startswith(b"data:"):
            continue
        try:
            event = orjson.loads(line[5:])
        except orjson.JSONDecodeError:
            continue
        piece = _piece(event)
        if piece:
            said.append(piece)
    return "".join(said)


def _piece(event: object) -> str:
    """The text in an event of chat completions, completions, messages or responses."""
    if not isinstance(event, dict):
        return ""
    choices = event.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        delta = choices[0].get("delta")
        text = delta.get("content") if isinstance(delta, dict) else choices[0].get("text")
    else:
        delta = event.get("delta")
        text = delta.get("text") if isinstance(delta, dict) else delta
    return text if isinstance(text, str) else ""
