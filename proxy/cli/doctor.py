"""
`hapax doctor`: the pre-production checklist as a table, of a configuration and of a gateway that runs.

It prints and decides the exit code; what is looked at stands in `checklist`.
"""

import json
from typing import Annotated

import typer

from proxy.cli import checklist, show
from proxy.cli.check import Config
from proxy.cli.ollama import ollama_answers
from proxy.settings import SettingsError, load

_STYLES = {"ok": "green", "warn": "yellow", "missing": "red", "manual": "cyan"}


def doctor(
    config: Config = None,
    url: Annotated[str | None, typer.Option(help="A running gateway to look at as well.", metavar="URL")] = None,
    key: Annotated[
        str | None, typer.Option(help="Its admin key.", metavar="KEY", envvar="HAPAX_ADMIN_KEY", show_envvar=True)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """
    Say what is missing before production. Exits 0 when nothing is, 1 otherwise, 2 for a bad configuration.

    Example: hapax doctor --config hapax.yaml --url http://127.0.0.1:8080
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
    missing = sum(item.state == "missing" for item in items)
    if as_json:
        typer.echo(json.dumps([item.as_json() for item in items], indent=2))
    else:
        shown = show.sheet()
        for title in ("", "state", "found", "what to do"):
            shown.add_column(title, overflow="fold")
        for item in items:
            state = show.cell(item.state)
            state.stylize(_STYLES[item.state])
            shown.add_row(show.cell(item.name), state, show.cell(item.found), show.cell(item.advice))
        show.table(out, shown)
        show.line(
            out, f"{missing} missing" if missing else "Nothing is missing; look at what is marked manual yourself."
        )
    raise typer.Exit(1 if missing else 0)
