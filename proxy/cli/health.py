"""
`hapax health`: whether the gateway of a configuration answers; for the health check of a container, and for scripts.

The configuration says where it listens and whether it speaks TLS, so that a changed port takes its check along. It
looks at nothing else: `hapax doctor --url` does.
"""

from dataclasses import replace
from typing import Annotated

import typer

from proxy.cli import gateway, show
from proxy.cli.check import Config
from proxy.cli.store import readable

WITHIN = 4.0
"""Seconds the gateway gets to answer: less than the time the image's HEALTHCHECK gives this command."""


def health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it takes calls (/ready), not only whether it lives (/live).")
    ] = False,
    config: Config = None,
) -> None:
    """
    Ask the gateway of a configuration whether it lives, or takes calls. Exits 0 when it does, 1 when not, 2 for a
    configuration that cannot be used. A port given to `hapax serve` on its command line is not known here.

    Example: hapax health --ready --config hapax.yaml
    """
    path = "/ready" if ready else "/live"
    there = replace(gateway.place(readable(config), None, None), key=None)
    told = gateway.ask(there, "GET", path, {}, within=WITHIN)
    show.line(show.out(), str(told["status"]))
