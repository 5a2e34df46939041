"""
`hapax cache`: the stored answers of a running gateway.

The gateway is asked, which reaches all its workers and, over Redis, those of other machines.
"""

from typing import Annotated

import typer

from proxy.cli import gateway, show
from proxy.cli.check import Config
from proxy.cli.gateway import AdminKey, Url
from proxy.cli.store import readable

app = typer.Typer(
    help="Clear the stored answers of a running gateway.\n\nExample: hapax cache clear --model gpt-4o",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def cache() -> None:
    """
    Clear the stored answers of a running gateway.

    Example: hapax cache clear --model gpt-4o
    """


@app.command("clear")
def clear(
    model: Annotated[str | None, typer.Option(help="Only answers of this public model.")] = None,
    key: Annotated[str | None, typer.Option(metavar="NAME", help="Only answers this key asked for first.")] = None,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
) -> None:
    """
    Let go every stored answer, or those of a model or a key.

    Example: hapax cache clear --model gpt-4o --key web-app
    """
    named = {name: value for name, value in (("model", model), ("key", key)) if value is not None}
    cleared = gateway.ask(gateway.place(readable(config), url, admin_key), "DELETE", "/admin/cache", named)["cleared"]
    show.line(show.out(), "1 stored answer cleared." if cleared == 1 else f"{cleared:,} stored answers cleared.")
