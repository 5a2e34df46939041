"""
`hapax simulate`: the scriptable upstream, standing alone.

It needs no configuration and reads none.
"""

from typing import Annotated

import typer


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 lets the system choose.")] = 8081,
) -> None:
    """
    Start an OpenAI-compatible upstream that answers by itself and can be told to fail.

    Example: hapax simulate --port 8081
    """
    # Imported here for the same reason as in serve.py: the other commands do not need it.
    from proxy.simulator import run

    raise typer.Exit(run(host, port))
