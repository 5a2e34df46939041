"""
`hapax serve`: find the configuration and start the gateway with it.

What it prints is about the configuration; everything after that is the server's.
"""

from typing import Annotated

import typer

from proxy.cli import ground, show
from proxy.cli.check import Config
from proxy.cli.ollama import ollama_answers
from proxy.settings import Loaded, SettingsError, load


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; overrides server.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; overrides server.port.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; overrides server.workers.")] = None,
) -> None:
    """
    Start the gateway.

    Example: hapax serve --config hapax.yaml --port 8080
    """
    given = {"server.host": host, "server.port": port, "server.workers": workers}
    overrides = {path: value for path, value in given.items() if value is not None}

    def read() -> Loaded:
        """Called again at each reload."""
        return ground.firm(lambda: load(config, overrides=overrides, ollama_answers=ollama_answers))

    try:
        loaded = read()
    except SettingsError as error:
        show.problems(show.err(), error)
        raise typer.Exit(2) from None

    said = [*loaded.warnings, *loaded.overridden, *ground.shut_in(loaded.settings)]
    if said:
        show.warnings(show.err(), said)

    # Imported here so that `hapax check` and `hapax --help` do not load the whole gateway.
    if loaded.settings.server.workers > 1:
        from proxy.process.supervisor import run
    else:
        from proxy.process.server import run
    code = run(loaded, read)
    from proxy.accounts.store import put_to_rest

    # The last process that had it open is this one: each worker has closed it, or was killed.
    put_to_rest(loaded.settings.store.url.get_secret_value())
    raise typer.Exit(code)
