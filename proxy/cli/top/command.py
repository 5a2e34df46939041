"""
The command `hapax top`: its options, its one snapshot for scripts, and how it ends.

What is loaded for it is loaded when it is run, so that the other commands start as fast as they did.
"""

import asyncio
import json
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli import gateway, show
from proxy.cli.check import Config
from proxy.cli.gateway import AdminKey, Url
from proxy.cli.store import FAILED, readable, refusal

if TYPE_CHECKING:
    from proxy.cli.gateway import Place
    from proxy.cli.top.follow import Follower

ROWS = 20
"""Calls that a snapshot shows."""


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one snapshot and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print JSON.")] = False,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
) -> None:
    """
    Watch a running gateway: rates, providers, keys near a limit, and calls as they end.

    Example: hapax top --url http://127.0.0.1:8080
    """
    if as_json and not once:
        raise refusal("--json goes with --once")
    place = gateway.place(readable(config), url, admin_key)
    if not once and not (sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"):
        raise refusal("There is no terminal to draw on; use --once, or --once --json in a script")
    from proxy.cli.top.source import Away, Missing, Refused

    if isinstance(sys.stdout, TextIOWrapper):
        # A letter that the terminal does not have is no reason to stop.
        sys.stdout.reconfigure(errors="replace")
    try:
        asyncio.run(_run(place, once, as_json))
    except Refused as error:
        raise refusal(str(error), FAILED) from None
    except (Away, Missing) as error:
        raise refusal(gateway.silent(place.url, str(error)), FAILED) from None


async def _run(place: "Place", once: bool, as_json: bool) -> None:
    import aiohttp

    from proxy.cli.top.follow import Follower
    from proxy.cli.top.model import Model
    from proxy.cli.top.source import Source

    connector = aiohttp.TCPConnector(ssl=place.context())
    async with aiohttp.ClientSession(headers=place.headers, connector=connector) as session:
        follower = Follower(Source(place, session), Model())
        if once:
            await follower.look_once()
            _print(follower, as_json)
        else:
            from proxy.cli.top.live import Terminal

            # What is wrong at the beginning is said where it stays to be read, and not on a screen that goes.
            await follower.look_at_providers()
            await Terminal(follower, show.out(), sys.stdin.fileno()).run()


def _print(follower: "Follower", as_json: bool) -> None:
    from proxy.cli.top.frame import Screen
    from proxy.cli.top.frame import once as lines
    from proxy.cli.top.snapshot import snapshot

    url, picture = follower.source.place.url, follower.model.picture(follower.source.now())
    if as_json:
        typer.echo(json.dumps(snapshot(picture, url, ROWS), indent=2))
        return
    out = show.out()
    for line in lines(picture, Screen(out.width, 0, url, "one look"), ROWS):
        line.rstrip()
        out.print(line)
