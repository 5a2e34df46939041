"""
The decision trail of one call, as lines: what became of it, its attempts on one line of time, and who was passed over.

It draws what `/admin/requests/{id}` tells (docs/failover.md), and asks nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from proxy.cli.top import shown
from proxy.cli.top.calls import Call
from proxy.cli.top.tables import BAD, GOOD, QUIET, WARN, Column, lines, outcome, text
from proxy.cli.top.view import Trail

_PARTS = (
    # (what of an attempt it is, the moment it ends, its letter, its colour)
    ("connecting", "sent_ms", "░", "cyan"),
    ("waiting for an answer", "head_ms", "▒", "blue"),
    ("waiting for content", "first_content_ms", "▓", "magenta"),
    ("content", "ended_ms", "█", GOOD),
)
_TIMES = ("began_ms", "sent_ms", "head_ms", "first_content_ms", "ended_ms")
_COLUMNS = (
    Column("", 2),
    Column("target", 18, 3),
    *(Column(title, 7, right=True) for title in ("began", "sent", "answer", "content", "ended")),
    Column("came to", 12, 2),
)


def trail_lines(trail: Trail, width: int) -> list[Text]:
    """All of them."""
    told = trail.told or {}
    made = [Text(" ").append_text(text(f"Call {trail.call.id}", "bold")), Text("")]
    made += [
        Text().append(f" {name:<13}", QUIET).append_text(value)
        for name, value in _facts(trail.call, told)
        if value.plain
    ]
    if trail.trouble:
        made += [Text(""), Text(" ").append_text(text(trail.trouble, WARN))]
    elif trail.told is None:
        made += [Text(""), Text(" Asking the gateway ...", style=QUIET)]
    elif told["attempts"]:
        made += [Text(""), *_timeline(told, width), Text(""), *_table(told["attempts"], width)]
        made += [
            Text().append(f" {number}: ", QUIET).append_text(text(attempt["reason"]))
            for number, attempt in enumerate(told["attempts"], 1)
            if attempt["reason"]
        ]
    else:
        made += [Text(""), Text(" No target was asked.", style=QUIET)]
    if skipped := told.get("skipped"):
        made += [Text(""), Text(" Passed over", style="bold")]
        made += [text(f" {target}: {reason}") for target, reason in skipped.items()]
    for line in made:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return made


def _facts(call: Call, told: Mapping[str, Any]) -> Sequence[tuple[str, Text]]:
    def fact(name: str, value: str) -> tuple[str, Text]:
        return name, text(value)

    answered = f" -> {call.answered}" if call.answered else ""
    used = "" if call.tokens is None else f"{shown.count(call.prompt)} in, {shown.count(call.completion)} out"
    resumed = told.get("resumed")
    queued = told.get("queued_ms") or 0
    return (
        ("Outcome", outcome(call.outcome, call.error).append(f"  {call.status or ''}")),
        fact("Ended", shown.clock(call.ended)),
        fact("Path", call.route),
        fact("Key", call.key or shown.NONE),
        fact("Model", f"{call.model or shown.NONE}{answered}"),
        fact("Provider", call.provider or shown.NONE),
        fact("Took", f"{shown.duration(call.took_ms)}, first token {shown.duration(call.first_ms)}"),
        fact("In the queue", shown.duration(queued) if queued else ""),
        fact("Tokens", used),
        fact("Cost", shown.money(call.cost)),
        fact("Hedged", "another target was asked beside a slow one" if told.get("hedged") else ""),
        fact("Resumed", f"the stream went on at another target, {resumed} times" if resumed else ""),
        fact("Stored", "it got a stored answer" if told.get("cached") else ""),
        fact("Shared with", str(told.get("shared_with") or "")),
        fact("Kept to", str(told.get("kept_to") or "")),
    )


def _timeline(told: Mapping[str, Any], width: int) -> list[Text]:
    """A bar an attempt, on one scale."""
    attempts = told["attempts"]
    whole = max(told["duration_ms"], *(attempt["ended_ms"] or 0 for attempt in attempts), 0.001)
    room = width - 6

    def place(at: float) -> int:
        return min(room, int(at / whole * room + 0.5))

    made = []
    if told["queued_ms"]:
        made.append(Text("   " + "·" * max(1, place(told["queued_ms"])) + " queue", style=QUIET))
    for number, attempt in enumerate(attempts, 1):
        line = Text().append(f" {number} ", QUIET).append(" " * place(attempt["began_ms"]))
        at = place(attempt["began_ms"])
        for _, ends, letter, style in _PARTS:
            to = attempt[ends]
            if to is None:
                continue
            # A part that was cut short is drawn as what it was waiting for.
            if ends == "ended_ms" and attempt["first_content_ms"] is None:
                letter, style = ("▒", BAD) if attempt["head_ms"] is None else ("▓", BAD)
            length = max(1, place(to) - at) if to > 0 else 0
            line.append(letter * length, style)
            at += length
        made.append(line.append(" x", BAD) if attempt["failure"] else line)
    end = shown.duration(whole)
    made.append(Text("   0", style=QUIET).append(" " * max(1, room - 1 - len(end)) + end))
    legend = Text("  ")
    for title, _, letter, style in _PARTS:
        legend.append(f" {letter}", style).append(f" {title} ", QUIET)
    return [*made, legend]


def _table(attempts: Sequence[Mapping[str, Any]], width: int) -> list[Text]:
    rows = []
    for number, attempt in enumerate(attempts, 1):
        status = f" {attempt['status']}" if attempt["status"] else ""
        came = text(f"{attempt['failure']}{status}", BAD) if attempt["failure"] else text(f"answered{status}", GOOD)
        times = [text(shown.duration(attempt[name])) for name in _TIMES]
        beside = " (beside)" if attempt["beside"] else ""
        rows.append(([text(str(number)), text(f"{attempt['target']}{beside}"), *times, came], ""))
    return lines(_COLUMNS, width, rows)
