"""
What stands on the screen: so many lines of such a width, of a picture and of how it is looked at.

A function of both, but for how far is scrolled, which ends with the lines there are. Single tables are `tables`', a
call's trail is `trail`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from proxy.cli.top import shown, tables
from proxy.cli.top.minute import quantile
from proxy.cli.top.model import AWAY, LIVE, Change, Picture
from proxy.cli.top.standing import Use
from proxy.cli.top.tables import BAD, GOOD, NEAR, QUIET, WARN, text
from proxy.cli.top.trail import trail_lines
from proxy.cli.top.view import View

NOTED = 60.0
"""Seconds for which a change of a provider is told."""
_HELP = (
    "s sort  / filter  f failing  p pause  \N{UPWARDS ARROW}\N{DOWNWARDS ARROW} choose  Enter trail  Tab more  q quit"
)
_NOTHING_YET = "No call has ended yet; `hapax serve` prints a line that makes one."
_NOTHING_FITS = "No call fits; Esc shows all of them again."
_LABEL = 13


@dataclass(frozen=True, slots=True)
class Screen:
    """How much room there is, and what is told beside the picture."""

    width: int
    height: int
    url: str
    state: str
    """Of the connection."""


def frame(picture: Picture, view: View, screen: Screen) -> list[Text]:
    """Exactly as many lines as *screen* has."""
    picture = view.frozen or picture
    body = screen.height - 1
    if view.trail is not None:
        every = trail_lines(view.trail, screen.width)
        view.trail.top = min(view.trail.top, max(0, len(every) - body))
        made = every[view.trail.top :]
    else:
        made = [*_head(picture, view, screen), *_figures(picture, screen.width)]
        made += _sections(picture, view, screen, body - len(made))
    made = made[:body]
    made += [Text("") for _ in range(body - len(made))]
    return [_one_line(line, screen.width) for line in (*made, _help(view))]


def once(picture: Picture, screen: Screen, rows: int) -> list[Text]:
    """A frame without a screen: the figures, all providers, keys near a limit, and at most so many *rows* of calls."""
    view, width = View(), screen.width
    made = [*_head(picture, view, screen), *_figures(picture, width), Text("")]
    made += tables.providers(picture.providers, picture, width)
    if near := _near(picture):
        made += [Text(""), *tables.keys(near, width)]
    made += [Text(""), *_calls(picture, view, width, rows + 2)]
    return [_one_line(line, width) for line in made]


def _head(picture: Picture, view: View, screen: Screen) -> list[Text]:
    state, style = screen.state, GOOD if screen.state == LIVE else BAD if screen.state == AWAY else WARN
    if view.frozen is not None:
        state, style = (f"paused ({state})" if state != LIVE else "paused"), "reverse"
    left = Text().append(" hapax top  ", "bold").append_text(text(screen.url))
    if picture.workers > 1:
        left.append(f"  {picture.workers} workers", QUIET)
    if picture.missed:
        left.append(f"  {shown.count(picture.missed)} events missed", WARN)
    right = Text().append(state, style).append(f"  {shown.clock(picture.at)} ")
    left.truncate(max(0, screen.width - right.cell_len - 1), overflow="ellipsis", pad=True)
    return [left.append(" ").append_text(right)]


def _figures(picture: Picture, width: int) -> list[Text]:
    """What the last minute amounts to."""
    its, minute = picture.figures, picture.per_minute
    second = minute / 60

    def line(name: str, *parts: tuple[str, str]) -> Text:
        made = Text().append(f" {name:<{_LABEL}}", QUIET)
        for value, style in parts:
            if value and made.cell_len + len(value) <= width:
                made.append(value, style).append("  ")
        return made

    failed = f"{shown.count(its.failed * minute)} failed ({shown.share(its.failed, its.calls)})"
    first, took = (
        [(f"p{name} {shown.duration(quantile(times, name / 100))}", "") for name in (50, 95, 99)]
        for times in (its.first, its.took)
    )
    made = [
        line(
            "Calls",
            (f"{shown.count(its.calls * minute)}/min", "bold"),
            (f"{shown.count(its.calls * second)}/s", ""),
            (failed if its.failed else "0 failed", BAD if its.failed else ""),
            (f"{shown.count(its.refused * minute)} refused", WARN if its.refused else ""),
            (f"{shown.count(its.gone * minute)} left by their client" if its.gone else "", ""),
        ),
        line(
            "Tokens",
            (f"{shown.count(its.prompt * second)}/s in", ""),
            (f"{shown.count(its.completion * second)}/s out", ""),
            (f"{shown.money(its.cost * minute)}/min", "bold"),
        ),
        line("First token", *first, ("took", QUIET), *took),
    ]
    made[1].append_text(_hour(picture, width - made[1].cell_len))
    return made


def _hour(picture: Picture, width: int) -> Text:
    """The last hour, a letter a minute, as far as there is room."""
    label = "last hour "
    calls = picture.hour.calls[-max(0, width - len(label)) :]
    if width < len(label) + 8 or not any(calls):
        return Text("")
    made = Text().append(label, QUIET)
    for letter, bad in zip(shown.spark(calls, len(calls)), picture.hour.bad[-len(calls) :], strict=True):
        made.append(letter, BAD if bad else GOOD)
    return made


def _sections(picture: Picture, view: View, screen: Screen, room: int) -> list[Text]:
    width = screen.width
    if view.section == "calls":
        return [Text(""), *_calls(picture, view, width, room - 1)]
    if view.section == "providers":
        head, *rows = tables.providers_with_targets(picture, width)
        if picture.changes:
            rows += [Text(""), *(_change(change) for change in picture.changes)]
        return [Text(""), head, *_scrolled(rows, view, room - 2)]
    if view.section == "keys":
        head, *rows = tables.keys(picture.uses, width)
        if not rows:
            return [Text(""), Text(" No key is known to have a limit or a budget.", style=QUIET)]
        return [Text(""), head, *_scrolled(rows, view, room - 2)]
    # Calls get what is left, which is half of it at least.
    head, *rows = tables.providers(picture.providers, picture, width)
    made = [Text(""), head, *_cut(rows, max(2, room // 4))]
    if near := _near(picture):
        head, *rows = tables.keys(near, width)
        made += [Text(""), head, *_cut(rows, max(2, room // 6))]
    latest = [change for change in picture.changes if change.at > picture.at - NOTED]
    made += [_change(change) for change in latest[: max(1, room // 12)]]
    made = made[: max(0, room - 4)]
    return [*made, Text(""), *_calls(picture, view, width, room - len(made) - 1)]


def _near(picture: Picture) -> list[Use]:
    """What is to be seen without being asked for."""
    found: list[Use] = []
    for use in picture.uses:
        # A key that was turned away is told of with what it is nearest to, which need not be what it was.
        if use.share >= NEAR or (use.limited and use.key not in {each.key for each in found}):
            found.append(use)
    return found


def _cut(rows: Sequence[Text], most: int) -> list[Text]:
    if len(rows) <= most:
        return list(rows)
    return [*rows[: most - 1], Text(f" ... {len(rows) - most + 1} more: Tab", style=QUIET)]


def _scrolled(rows: Sequence[Text], view: View, room: int) -> list[Text]:
    view.top = min(view.top, max(0, len(rows) - room))
    return list(rows[view.top : view.top + max(0, room)])


def _change(change: Change) -> Text:
    made = Text().append(f" {shown.clock(change.at)} ", QUIET).append_text(text(change.about))
    style = GOOD if change.good else WARN if change.state == "half-open" else BAD
    return made.append(": ").append_text(text(change.state, style))


def _calls(picture: Picture, view: View, width: int, room: int) -> list[Text]:
    """The heading and the table of calls in so many lines, with the chosen one in sight."""
    rows = view.rows(picture)
    filtered = bool(view.words or view.bad_only)
    title = Text().append(f" Calls, {view.order}", "bold")
    if view.bad_only:
        title.append("  failing only", WARN)
    if view.words:
        title.append("  with ").append_text(text(view.words, WARN))
    number = f"{shown.count(len(rows))} of {shown.count(len(picture.calls))} kept" if filtered else ""
    title.truncate(max(0, width - len(number) - 2), overflow="ellipsis", pad=True)
    title.append(f" {number} ", QUIET)
    if not rows:
        return [title, Text(f" {_NOTHING_FITS if filtered and picture.calls else _NOTHING_YET}", style=QUIET)][:room]
    seen = max(1, room - 2)
    chosen = rows.index(view.chosen) if view.chosen in rows else 0
    first = max(0, min(chosen - seen // 2, len(rows) - seen))
    return [title, *tables.calls(rows[first : first + seen], view.chosen, width)][: max(0, room)]


def _help(view: View) -> Text:
    """The last line: what keys do now."""
    if view.typing:
        made = Text(" filter: ", style="bold").append_text(text(view.words, "not bold")).append("_   ")
        return made.append("Enter keeps it, Esc clears it", "not bold dim")
    words = _HELP if view.trail is None else "\N{UPWARDS ARROW}\N{DOWNWARDS ARROW} move  Esc back"
    if view.trail is None and view.frozen is not None:
        words = words.replace("p pause", "p go on")
    made = Text()
    for each in words.split("  "):
        key, _, does = each.partition(" ")
        made.append(f" {key}", "bold").append(f" {does} ", QUIET)
    return made


def _one_line(line: Text, width: int) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    line.truncate(width)
    return line
