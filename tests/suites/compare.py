"""
Two recordings of one suite, without and with the gateway: which requests are the same, and why the others are not.

Pure: recordings in, rows out. What the contract lets the gateway answer or add itself is a table with its reason.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.suites.mock import Recorded

EXCEPTIONS: tuple[tuple[str, str, str], ...] = (
    # (method, path, why the request does not reach the provider)
    ("GET", r"/v1/models(/[^/]+)?", "answered by the gateway: the models of all providers, for the caller's own eyes"),
)
ADDED = "asks for the token counts of a stream, and hides them again"


@dataclass
class Row:
    """One group of methods."""

    group: str
    calls: int = 0
    same: int = 0
    added: int = 0
    """Same but for what the contract adds."""
    excepted: Counter[str] = field(default_factory=Counter)
    """Reasons of those that the contract answers itself."""
    different: list[str] = field(default_factory=list)
    """What is unlike, with the test that shows it."""


def compared(direct: Sequence[Recorded], through: Sequence[Recorded]) -> list[Row]:
    """A row for each group, by name; requests are matched by the test that made them and their order in it."""
    rows: dict[str, Row] = {}
    found = _by_test(through)
    for test, wanted in _by_test(direct).items():
        came = found.pop(test, [])
        for number, request in enumerate(wanted):
            row = rows.setdefault(group(request.target), Row(group(request.target)))
            row.calls += 1
            reason = exception(request)
            if number < len(came) and (same := likeness(request, came[number])) in ("", ADDED):
                row.same += not same
                row.added += bool(same)
            elif reason:
                # It was answered before it reached the mock, so the next one is compared with the same place.
                row.excepted[reason] += 1
                came.insert(number, request)
            else:
                unlike = likeness(request, came[number]) if number < len(came) else "did not arrive"
                row.different.append(f"{request.method} {request.target}: {unlike} ({test})")
        for request in came[len(wanted) :]:
            row = rows.setdefault(group(request.target), Row(group(request.target)))
            row.different.append(f"{request.method} {request.target}: arrived once too often ({test})")
    for test, requests in found.items():
        for request in requests:
            row = rows.setdefault(group(request.target), Row(group(request.target)))
            row.different.append(f"{request.method} {request.target}: arrived with the gateway alone ({test})")
    return sorted(rows.values(), key=lambda row: row.group)


def likeness(one: Recorded, other: Recorded) -> str:
    """Nothing where two requests are the same, `ADDED`, or what is unlike."""
    if one.method != other.method:
        return f"the method is {other.method}"
    if one.target != other.target:
        return f"the target is {other.target}"
    if kind(one.content_type) != kind(other.content_type):
        return f"the content type is {other.content_type}, not {one.content_type}"
    if one.body == other.body:
        return ""
    if _value(one.body) is None or without_addition(other.body) != without_addition(one.body):
        return "the body is another"
    return ADDED if b"include_usage" in other.body else "the body is written otherwise"


def without_addition(body: bytes) -> object:
    """The JSON of *body* without what the gateway may have added to it."""
    value = _value(body)
    if isinstance(value, dict) and isinstance(options := value.get("stream_options"), dict):
        rest = {name: each for name, each in options.items() if name != "include_usage"}
        value = {name: each for name, each in value.items() if name != "stream_options"}
        if rest:
            value["stream_options"] = rest
    return value


def exception(request: Recorded) -> str:
    """Why the gateway answers a request itself; empty where it must not."""
    path = request.target.partition("?")[0]
    return next((why for method, form, why in EXCEPTIONS if method == request.method and re.fullmatch(form, path)), "")


def group(target: str) -> str:
    """`/v1/vector_stores` for everything below it."""
    return "/".join(target.partition("?")[0].split("/")[:3])


def kind(content_type: str) -> str:
    """The type without its parameters: the boundary of a form is drawn anew each time."""
    return content_type.partition(";")[0].strip().lower()


def table(rows: Sequence[Row]) -> str:
    """In Markdown."""
    lines = [
        "| methods below | calls | same | with usage asked for | answered here | different |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| `{row.group}` | {row.calls} | {row.same} | {row.added or ''} | {row.excepted.total() or ''} | "
            f"{len(row.different) or ''} |"
        )
    return "\n".join(lines) + "\n"


def outcomes(direct: Mapping[str, str], through: Mapping[str, str]) -> list[str]:
    """Tests that pass without the gateway and not with it."""
    return sorted(test for test, outcome in direct.items() if outcome == "passed" and through.get(test) != "passed")


def _by_test(recorded: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = defaultdict(list)
    for request in recorded:
        found[request.test].append(request)
    return found


def _value(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None
