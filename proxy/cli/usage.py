"""
`hapax usage`: what was used and what it cost, as a table, CSV or JSON.

It asks the ledger and prints the answer; it adds nothing up itself.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.cli import show
from proxy.cli.check import Config
from proxy.cli.store import FAILED, refusal, settings_of, with_store
from proxy.core import clock
from proxy.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from proxy.accounts.asked import UsageQuestion
    from proxy.accounts.store import Store
    from proxy.accounts.usage import UsageLine


def usage(
    by: Annotated[str, typer.Option(help="key, team, model, provider, route, day or outcome.")] = "key",
    since: Annotated[str, typer.Option(help="Such as 7d, or 2026-11-01 for its first moment in UTC.")] = "30d",
    until: Annotated[str | None, typer.Option(help="The first moment not counted; omitted: up to now.")] = None,
    key: Annotated[str | None, typer.Option(metavar="NAME", help="Of this key only.")] = None,
    team: Annotated[str | None, typer.Option(help="Of this team only.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, safe to open in a spreadsheet.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Print so many groups: the largest, or latest days.")] = None,
    config: Config = None,
) -> None:
    """
    Show what was used and what it cost.

    Example: hapax usage --by model --since 7d
    """
    if csv and json:
        raise refusal("Choose one of --csv and --json")
    settings = settings_of(config)
    from proxy.accounts.asked import AskedWrongly, usage_question
    from proxy.accounts.shown import usage_csv, usage_fields
    from proxy.accounts.usage import added_up, summary

    named = {"by": by, "since": since, "until": until, "key": key, "team": team}
    try:
        question = usage_question(named, clock.wall())
    except AskedWrongly as error:
        raise refusal(f"--{error}") from None

    async def work(store: "Store") -> "list[UsageLine]":
        return await summary(
            store,
            question.by,
            since=question.since,
            until=question.until,
            principal=question.key,
            team=question.team,
        )

    lines = with_store(settings, work)
    if key is not None and not lines and not _known(settings, key):
        raise refusal(f"There is no key called {show.plain(key)}, and no call was ever made by one", FAILED)
    whole, groups = added_up(lines), len(lines)
    if rows is not None:
        lines = lines[-rows:] if question.by == "day" else lines[:rows]
    hidden = groups - len(lines)
    if csv and hidden:
        # In the file nothing says so.
        show.line(show.err(), f"{hidden:,} more left out, see --rows.")
    if csv:
        typer.echo(usage_csv(question.by, lines), nl=False)
    elif json:
        typer.echo(orjson.dumps(usage_fields(question, lines, whole), option=orjson.OPT_INDENT_2))
    else:
        _print(question, lines, whole, hidden)


def _known(settings: Settings, name: str) -> bool:
    """There is or was a key of that name: in the configuration, in the store, or on some row of the ledger."""
    from proxy.accounts.keys import Keys
    from proxy.accounts.usage import summary

    async def work(store: "Store") -> bool:
        if any(key.name == name for key in await Keys(store).list()):
            return True
        return bool(await summary(store, "key", since=datetime.fromtimestamp(0, UTC), until=None, principal=name))

    return any(key.name == name for key in settings.auth.keys) or with_store(settings, work)


def _print(question: "UsageQuestion", lines: "list[UsageLine]", whole: "UsageLine", hidden: int) -> None:
    out = show.out()
    if not whole.requests:
        show.line(out, f"No calls since {clock.iso(question.since)}.")
        return
    # Where nothing is stored, nothing is said of it.
    columns: Sequence[int] = range(len(_HEADINGS) if whole.cached else len(_HEADINGS) - len(_STORED))
    if out.is_terminal and show.width_of(_table(question.by, lines, whole, columns), _WIDEST) > out.width:
        # A column of nothing but zeros is the first to go where there is no room.
        columns = [column for column in columns if _cells(whole)[column] != "0"]
    table = _table(question.by, lines, whole, columns)
    # A number is never cut short: where it does not fit, the terminal breaks the line.
    show.table(show.out(max(out.width, show.width_of(table, _WIDEST)) if out.is_terminal else _WIDEST), table)
    if hidden:
        show.line(out, f"The total holds {hidden:,} more, see --rows.")
    for sentence in _notes(whole):
        show.line(out, sentence)


def _table(by: str, lines: "list[UsageLine]", whole: "UsageLine", columns: Sequence[int]) -> "Table":
    table = show.sheet(footer=True)
    table.add_column(by, overflow="fold", footer="total")
    footers = _cells(whole)
    for column in columns:
        table.add_column(_HEADINGS[column], justify="right", no_wrap=True, footer=footers[column])
    for line in lines:
        cells = _cells(line)
        table.add_row(show.cell(line.group or "-"), *(cells[column] for column in columns))
    return table


_WIDEST = 10_000
_STORED = ("hits", "saved USD")
_HEADINGS = (
    *("requests", "ok", "failed", "pending"),
    *("prompt", "completion", "cached", "reasoning", "cost USD"),
    *_STORED,
)


def _cells(line: "UsageLine") -> tuple[str, ...]:
    from proxy.accounts.shown import usd

    counts = (line.requests, line.ok, line.failed, line.pending)
    tokens = (line.prompt_tokens, line.completion_tokens, line.cached_tokens, line.reasoning_tokens)
    return (*(f"{number:,}" for number in (*counts, *tokens)), usd(line.cost), f"{line.cached:,}", usd(line.saved))


def _notes(whole: "UsageLine") -> Iterator[str]:
    """What the sums leave out or only suppose."""
    if whole.unpriced:
        yield f"{_calls(whole.unpriced)} no known price: add the models to the file named in store.prices."
    if whole.estimated:
        yield f"{_calls(whole.estimated)} estimated token counts: the provider gave none."
    if whole.pending:
        yield f"{_calls(whole.pending)} no end yet: under way, or lost with a worker that died."


def _calls(count: int) -> str:
    return "1 call has" if count == 1 else f"{count:,} calls have"
