"""
What the further way of a relayed call asks of its JSON body, where that is read by another process.

It is worked out there of the whole body, and small whatever the body was. No process is started here.
"""

from dataclasses import dataclass
from typing import Any

from proxy.core import peek
from proxy.core.headers import correlation_in
from proxy.core.places import Places
from proxy.core.usage import expected_prompt, most_completion
from proxy.relay.ids import Named, named_by
from proxy.relay.made import Tells, tells


@dataclass(slots=True)
class Gist:
    """Of one body."""

    value: dict[str, Any]
    """Its outline."""
    prompt: int
    """Tokens of its prompt, roughly."""
    most: int | None
    """Tokens its answer may have."""
    named: Named | None
    """The objects it names."""
    told: Tells
    """What its answer may tell of."""
    places: Places
    """Where stands what may be changed in it."""
    correlation: str
    """The id of `metadata.correlation_id`; empty where it says none."""


def written(method: str, path: str, query: str, body: bytes) -> dict[str, Any]:
    """
    The gist of *body*, of a call to *path* below `/v1`, as JSON can hold it; `ProxyError` as `peek.read_json` raises
    it.
    """
    value = peek.read_json(body)
    named = named_by(method, path, query, value)
    return {
        "value": peek.outline(value),
        "prompt": expected_prompt(body, value),
        "most": most_completion(value),
        "named": named and [named.ids, named.items, named.cursors, named.deletes, named.lists],
        "told": tells(method, path, value).value,
        "places": peek.places_of(body, value),
        "correlation": correlation_in(value),
    }


def has_few(body: bytes, most: int) -> bool:
    """Whether there are at most *most* values in *body*; `ProxyError` as `peek.read_json` raises it."""
    waiting: list[Any] = [peek.read_json(body)]
    while waiting:
        part = waiting.pop()
        most -= len(part)
        if most < 0:
            return False
        for each in part.values() if type(part) is dict else part:
            if type(each) is dict or type(each) is list:
                waiting.append(each)
    return True


def read(told: dict[str, Any]) -> Gist:
    """The gist that was `written`."""
    named: Named | None = None
    if told["named"] is not None:
        ids, items, cursors, deletes, lists = told["named"]
        named = Named(tuple(ids), tuple(items), tuple(cursors), deletes, lists)
    places = {name: (key, start, end) for name, (key, start, end) in told["places"].items()}
    return Gist(told["value"], told["prompt"], told["most"], named, Tells(told["told"]), places, told["correlation"])
