"""
`hapax doctor`: the pre-production checklist as a table, of a configuration and of a gateway that runs.

It prints and decides the exit code; what is looked at stands in `checklist` and `online`.
"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli import checklist, show
from proxy.cli.check import Config
from proxy.cli.ollama import ollama_answers
from proxy.settings import SettingsError, load

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from proxy.cli.online import Asked

_STYLES = {"ok": "green", "warn": "yellow", "missing": "red", "manual": "cyan"}


def doctor(
    config: Config = None,
    url: Annotated[str | None, typer.Option(help="A running gateway to look at as well.", metavar="URL")] = None,
    key: Annotated[
        str | None, typer.Option(help="Its admin key.", metavar="KEY", envvar="HAPAX_ADMIN_KEY", show_envvar=True)
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Ask each provider one cheap question with each of its keys.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """
    Say what is missing before production. Exits 0 when nothing is, 1 otherwise, 2 for a bad configuration.

    Example: hapax doctor --config hapax.yaml --url http://127.0.0.1:8080 --online
    """
    out, err = show.out(), show.err()
    try:
        loaded = load(config, ollama_answers=ollama_answers)
    except SettingsError as error:
        show.problems(err, error)
        raise typer.Exit(2) from None
    items = list(checklist.configured(loaded.settings))
    if url is not None:
        with err.status(f"looking at {show.plain(url)}"):
            items += checklist.running(url, key)
    asked: list[Asked] = []
    if online:
        from proxy.cli.online import ask

        with err.status("asking the providers") as status:
            asked = ask(loaded.settings, lambda done, of: status.update(f"asking the providers: {done} of {of}"))
        items += [each.item for each in asked]
    missing = sum(item.state == "missing" for item in items)
    if as_json:
        typer.echo(json.dumps([item.as_json() for item in items], indent=2))
    else:
        shown = show.sheet()
        for title in ("", "state", "found", "what to do"):
            shown.add_column(title, overflow="fold")
        for item in items[: len(items) - len(asked)]:
            shown.add_row(show.cell(item.name), _state(item.state), show.cell(item.found), show.cell(item.advice))
        show.table(out, shown)
        if asked:
            show.table(out, _of_keys(asked))
        show.line(
            out, f"{missing} missing" if missing else "Nothing is missing; look at what is marked manual yourself."
        )
    raise typer.Exit(1 if missing else 0)


def _state(state: str) -> "Text":
    shown = show.cell(state)
    shown.stylize(_STYLES[state])
    return shown


def _of_keys(asked: list["Asked"]) -> "Table":
    """One line a key, which is told by its number alone."""
    table = show.sheet()
    for title in ("provider", "key"):
        table.add_column(title)
    table.add_column("state")
    for title in ("status", "ms", "models"):
        table.add_column(title, justify="right")
    for title in ("what is wrong", "what to do"):
        table.add_column(title, overflow="fold")
    for each in asked:
        table.add_row(
            show.cell(each.provider),
            str(each.key or "-"),
            _state(each.state),
            str(each.status or "-"),
            f"{each.seconds * 1000:.0f}",
            "-" if each.models is None else str(each.models),
            show.cell(each.wrong),
            show.cell(each.advice),
        )
    return table
