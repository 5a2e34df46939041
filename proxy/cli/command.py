"""
The `hapax` command itself: its options, its sub-commands, and the way it ends.

What a sub-command does is in its own file.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from proxy import __version__
from proxy.cli import backup, cache, chat, check, doctor, health, keys, log, serve, simulate, usage
from proxy.cli.top.command import top

app = typer.Typer(
    name="hapax",
    help="Point any OpenAI client at it, and it streams the call to the healthiest provider.\n\nExample: hapax serve",
    no_args_is_help=False,
    # A traceback is for us; the operator gets a sentence.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("simulate")(simulate.simulate)
app.add_typer(keys.app, name="keys")
app.command("chat")(chat.chat)
app.command("usage")(usage.usage)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("doctor")(doctor.doctor)
app.command("health")(health.health)
app.add_typer(cache.app, name="cache")
app.command("top")(top)
app.add_typer(log.app, name="log")


@app.callback(invoke_without_command=True)
def hapax(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Configuration file for --validate.", metavar="FILE")] = None,
    validate: Annotated[bool, typer.Option("--validate", help="The same as `hapax check`.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """
    Point any OpenAI client at it, and it streams the call to the healthiest provider.

    Example: hapax serve --config hapax.yaml
    """
    if version:
        # Asked of the file, since a version must not load what it is asked about.
        spec = find_spec("proxy.core.peek")
        compiled = spec is not None and not str(spec.origin).endswith(".py")
        typer.echo(f"hapax {__version__}" + ", compiled" * compiled)
        raise typer.Exit
    if validate:
        check.check(config)
    if context.invoked_subcommand is not None:
        if config is not None:
            typer.echo(
                f"Put --config after the command: hapax {context.invoked_subcommand} --config {config}", err=True
            )
            raise typer.Exit(2)
        return
    if config is not None:
        typer.echo(f"Nothing to do. To start the gateway: hapax serve --config {config}", err=True)
    else:
        typer.echo(context.get_help(), err=True)
    raise typer.Exit(2)


def main() -> None:
    """The entry point of the `hapax` command and of `python -m proxy`."""
    try:
        app(prog_name="hapax")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone; there is none left to tell.
        sys.exit(141)
