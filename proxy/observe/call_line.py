"""
One exchange on one line for people: what was asked of whom, how it ended, how long it took and what it cost.

It is made of the fields that JSON lines have, and tells the most asked for of them; the rest is in those.
"""

from typing import Any

import orjson

from proxy.core import clock
from proxy.core.plain import on_one_line

LONGEST = 80
"""Letters of a name that are shown."""


def call_line(fields: dict[str, Any]) -> str:
    """
    Such as `POST gpt-4o -> openai 200 first token 312 ms, 2.13 s, 12+30 tokens, $0.000120, web-app`. *fields*: those of
    `access.fields`. Where there is no model stands the route; where it did not end well, why, and the request's id.
    """
    asked = fields["model"] or fields["operation"]
    told = [fields["method"], _name(asked)]
    if fields["provider"]:
        # Another model answered where a fallback took over.
        model = fields["answered_model"]
        told += ["->", _name(fields["provider"] + (f"/{model}" if model and model != asked else ""))]
    tries = len(fields["attempts"])
    if tries > 1:
        told.append(f"({tries} attempts)")
    elif fields["cached"]:
        told.append("(stored answer)")
    elif fields["shared_with"]:
        told.append("(shared answer)")
    told.append(str(fields["status"]))
    if fields["outcome"] != "ok":
        told += [fields["outcome"], word(fields["error_code"])]
    return f"{' '.join(filter(None, told))} {', '.join(_figures(fields))}"


def word(value: Any) -> str:
    """*value* as one word of a line: in quotes, with escapes, where it would look like several or like none."""
    if not isinstance(value, str):
        return on_one_line(orjson.dumps(value, default=str).decode())
    if not value.isprintable() or any(letter in value for letter in ' "='):
        value = orjson.dumps(value.encode("utf-8", "replace").decode()).decode()
    # JSON leaves DEL and the controls of Latin-1 as they are.
    return on_one_line(value)


def _name(value: str) -> str:
    return word(value if len(value) <= LONGEST else value[:LONGEST] + "…")


def _figures(fields: dict[str, Any]) -> list[str]:
    told = []
    first, tokens, cost = fields["time_to_first_token_ms"], fields["tokens"], fields["cost_micro_usd"]
    if first is not None:
        told.append(f"first token {clock.span(first / 1000)}")
    told.append(clock.span(fields["latency_ms"] / 1000))
    if tokens is not None:
        told.append(f"{tokens['prompt']}+{tokens['completion']} tokens")
    if cost is not None:
        told.append(f"${cost / 1e6:.6f}")
    if fields["principal"]:
        told.append(_name(fields["principal"]))
    if fields["outcome"] != "ok":
        told.append(_name(fields["request_id"]))
    return told
