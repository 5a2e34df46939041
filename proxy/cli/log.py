"""
`hapax log`: how much a running gateway logs and traces, changed for a while.

The gateway is asked, which reaches all its workers and writes the change to its audit log.
"""

from typing import Annotated, Any

import typer

from proxy.cli import gateway, show
from proxy.cli.check import Config
from proxy.cli.gateway import AdminKey, Url
from proxy.cli.store import readable

PATH = "/admin/logging"

app = typer.Typer(
    help="Have a running gateway log or trace more or less.\n\nExample: hapax log level debug --for 15m",
    no_args_is_help=True,
    rich_markup_mode=None,
)

While = Annotated[str | None, typer.Option("--for", metavar="DURATION", help="Such as 15m; omitted: until changed.")]


@app.callback()
def log() -> None:
    """
    Have a running gateway log or trace more or less.

    Example: hapax log level debug --for 15m
    """


@app.command("level")
def level(
    level: Annotated[str, typer.Argument(metavar="LEVEL", help="debug, info, warn or error.")],
    sample_ratio: Annotated[float | None, typer.Option(help="Share of new traces to record as well, 0 to 1.")] = None,
    lasting: While = None,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
) -> None:
    """
    Write lines from LEVEL on, at all workers and without a restart, in the place of an earlier change.

    Example: hapax log level debug --for 15m
    """
    asked = {"level": level, "sample_ratio": sample_ratio, "for": lasting}
    _say(_ask("PUT", config, url, admin_key, {name: value for name, value in asked.items() if value is not None}))


@app.command("sampling")
def sampling(
    ratio: Annotated[float, typer.Argument(metavar="RATIO", help="Share of new traces to record, 0 to 1.")],
    lasting: While = None,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
) -> None:
    """
    Record this share of new traces, at all workers and without a restart, in the place of an earlier change.

    Example: hapax log sampling 1.0 --for 5m
    """
    _say(_ask("PUT", config, url, admin_key, {"sample_ratio": ratio} | ({} if lasting is None else {"for": lasting})))


@app.command("reset")
def reset(url: Url = None, admin_key: AdminKey = None, config: Config = None) -> None:
    """
    Log and trace as the configuration says again.

    Example: hapax log reset
    """
    _say(_ask("DELETE", config, url, admin_key))


@app.command("show")
def shown(url: Url = None, admin_key: AdminKey = None, config: Config = None) -> None:
    """
    Show how much is logged and traced now, and until when.

    Example: hapax log show
    """
    _say(_ask("GET", config, url, admin_key))


def _ask(method: str, config: Config, url: str | None, admin_key: str | None, body: Any = None) -> Any:
    return gateway.ask(gateway.place(readable(config), url, admin_key), method, PATH, {}, body)


def _say(told: Any) -> None:
    traces = "no traces" if told["sample_ratio"] is None else f"{told['sample_ratio']:.0%} of new traces"
    live = told["live"]
    if live is None:
        how = "as configured"
    else:
        how = "until changed or restarted" if live["until"] is None else f"until {live['until']}"
    at = f" at {len(told['workers'])} workers" if len(told.get("workers", ())) > 1 else ""
    show.line(show.out(), f"Level {told['level']}, {traces}, {how}{at}.")
