"""
Tables of calls, providers and keys, as lines that fit a width: narrow ones have fewer columns, and no line is folded.

Every text of a caller is made harmless here. What is in a table is decided by `view` and `model`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from proxy.cli import show
from proxy.cli.top import shown
from proxy.cli.top.calls import Call
from proxy.cli.top.minute import Figures, quantile
from proxy.cli.top.model import Picture
from proxy.cli.top.standing import Provider, Target, Use

GOOD, WARN, BAD, QUIET = "green", "yellow", "red", "dim"
NEAR, NEARLY = 0.5, 0.8
"""Shares of a limit from which on it is shown among all else, and in yellow."""


@dataclass(frozen=True, slots=True)
class Column:
    """One of a table."""

    title: str
    width: int
    grows: int = 0
    """Its part of the room that is left; 0: it stays as it is."""
    right: bool = False
    least: int = 0
    """The width of the screen from which on it is shown."""


CALLS = (
    Column("time", 8),
    Column("key", 10, 1),
    Column("model", 14, 3),
    Column("provider", 10, 2),
    Column("outcome", 16, 1),
    Column("first", 7, right=True),
    Column("took", 7, right=True),
    Column("tokens", 7, right=True, least=100),
    Column("cost", 9, right=True, least=100),
    Column("request id", 36, least=150),
)
PROVIDERS = (
    Column("provider", 14, 2),
    Column("health", 9),
    Column("breakers", 12),
    Column("under way", 9, right=True),
    Column("calls/min", 9, right=True),
    Column("failed", 7, right=True),
    Column("first p50", 9, right=True),
    Column("took p50", 8, right=True, least=100),
    Column("took p95", 8, right=True, least=100),
    Column("kept from calls", 16, 1, least=120),
)
KEYS = (
    Column("key", 14, 2),
    Column("limit", 13),
    Column("used", 10, right=True),
    Column("of", 10, right=True),
    Column("share", 6, right=True),
    Column("", 10),
    Column("refused", 7, right=True),
)
WIDEST = 3
"""Times its width to which a column grows at most."""
_FAULTY, _FAILING = 0.02, 0.2
"""Shares of attempts that failed which are shown in yellow, and in red."""


def text(value: str, style: str = "") -> Text:
    """*value* as it is, without what a terminal would obey."""
    return Text(show.plain(value), style=style)


def lines(columns: Sequence[Column], width: int, rows: Iterable[tuple[Sequence[Text], str]]) -> list[Text]:
    """The titles and the *rows*, each with a cell for every one of *columns*, and its style."""
    kept = [index for index, column in enumerate(columns) if width >= column.least]
    room = width - sum(columns[index].width + 1 for index in kept)
    parts = sum(columns[index].grows for index in kept) or 1
    widths = [
        # Beyond that the eye loses the line.
        min(WIDEST * columns[index].width, columns[index].width + max(0, room) * columns[index].grows // parts)
        for index in kept
    ]

    def line(cells: Sequence[Text], style: str) -> Text:
        made = Text(" ", style=style, no_wrap=True, overflow="crop")
        for place, (index, wide) in enumerate(zip(kept, widths, strict=True)):
            cell = cells[index].copy()
            cell.truncate(wide, overflow="ellipsis")
            cell.align("right" if columns[index].right else "left", wide)
            made.append(" " if place else "").append_text(cell)
        made.truncate(width, pad=True)
        return made

    titles = [Text(column.title) for column in columns]
    return [line(titles, QUIET), *(line(cells, style) for cells, style in rows)]


def calls(rows: Sequence[Call], chosen: Call | None, width: int) -> list[Text]:
    """A line a call."""
    return lines(CALLS, width, ((_call(call), "reverse" if call == chosen else "") for call in rows))


def _call(call: Call) -> Sequence[Text]:
    answered = f" -> {call.answered}" if call.answered else ""
    tries = f" \N{MULTIPLICATION SIGN}{len(call.attempts)}" if len(call.attempts) > 1 else ""
    return (
        text(shown.clock(call.ended)),
        text(call.key or shown.NONE),
        text((call.model or call.route) + answered),
        text((call.provider or shown.NONE) + tries, WARN if tries else ""),
        outcome(call.outcome, call.error),
        text(shown.duration(call.first_ms)),
        text(shown.duration(call.took_ms)),
        text(shown.count(call.tokens)),
        text(shown.money(call.cost)),
        text(call.id, QUIET),
    )


def outcome(ended: str, error: str) -> Text:
    """How a call ended, by the code of its error where it has one."""
    style = GOOD if ended == "ok" else WARN if ended in ("refused", "client_gone") else BAD
    return text("ok" if ended == "ok" else error or ended.replace("_", " "), style)


def providers(rows: Sequence[tuple[Provider, Figures]], picture: Picture, width: int) -> list[Text]:
    """A line a provider."""
    return lines(PROVIDERS, width, ((_provider(*each, picture), "") for each in rows))


def providers_with_targets(picture: Picture, width: int) -> list[Text]:
    """A line a provider, and below it one for each of its targets."""
    rows: list[tuple[Sequence[Text], str]] = []
    for provider, figures in picture.providers:
        rows.append((_provider(provider, figures, picture), ""))
        rows += ((_target(target), "") for target in provider.targets)
    return lines(PROVIDERS, width, rows)


def _provider(provider: Provider, figures: Figures, picture: Picture) -> Sequence[Text]:
    lost = figures.lost / figures.attempts if figures.attempts else 0.0
    blocked = _blocked(provider)
    breaker = provider.breaker or shown.NONE
    if breaker == "closed" and blocked:
        breaker = blocked[0]
    style = GOOD if breaker == "closed" else BAD if breaker.endswith(" open") else QUIET if not blocked else WARN
    return (
        text(provider.name),
        text(provider.state, GOOD if provider.state == "healthy" else WARN if provider.drained else BAD),
        text(breaker, WARN if breaker.endswith("half-open") else style),
        text(shown.count(provider.under_way)),
        text(shown.count(figures.attempts * picture.per_minute)),
        text(shown.share(figures.lost, figures.attempts), BAD if lost >= _FAILING else WARN if lost >= _FAULTY else ""),
        text(shown.duration(quantile(figures.first, 0.5))),
        text(shown.duration(quantile(figures.took, 0.5))),
        text(shown.duration(quantile(figures.took, 0.95))),
        text(", ".join(blocked), WARN),
    )


def _blocked(provider: Provider) -> list[str]:
    """What keeps it or its targets from being asked, beside breakers."""
    found = [f"key {number} parked" for number in provider.parked]
    reasons = [target.blocked_by for target in provider.targets if target.blocked_by]
    for reason in dict.fromkeys(reasons):
        if not reason.startswith("breaker") and reason not in ("unhealthy", "drained"):
            found.append(f"{reasons.count(reason)} {reason}")
    return found


def _target(target: Target) -> Sequence[Text]:
    # What a call is asked for without a model has no name of one.
    name = target.name.partition("/")[2] or "(no model)"
    style = GOOD if target.breaker == "closed" else BAD if target.breaker == "open" else WARN
    cells = [
        text(f"  {name}", QUIET),
        text(""),
        text(target.breaker, style),
        text(shown.count(target.under_way), QUIET),
    ]
    if target.blocked_by and target.breaker == "closed":
        cells[1] = text(target.blocked_by, WARN)
    return [*cells, *(Text("") for _ in PROVIDERS[len(cells) : -1]), text(target.blocked_by, WARN)]


def keys(rows: Sequence[Use], width: int) -> list[Text]:
    """A line a limit of a key."""
    return lines(KEYS, width, ((_use(use), "") for use in rows))


def _use(use: Use) -> Sequence[Text]:
    usd = use.of.startswith("usd")
    style = BAD if use.share >= 1 else WARN if use.share >= NEARLY else ""
    return (
        text(use.key),
        text(use.of),
        *(text(shown.money(value * 1e6) if usd else shown.count(value)) for value in (use.used, use.amount)),
        text(shown.share(use.used, use.amount), style),
        text(shown.bar(min(1.0, use.share), KEYS[5].width), style),
        text(shown.count(use.limited), BAD if use.limited else ""),
    )
