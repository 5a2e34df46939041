"""
`hapax check`: every problem of a configuration in one table, without starting anything.

It prints and decides the exit code; the rules are those of the settings, and of `ground` for what lies outside them.
"""

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli import ground, show
from proxy.cli.ollama import ollama_answers
from proxy.settings import SettingsError, load

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration file; otherwise $CONFIG_PATH, then ./hapax.yaml."),
]


def check(config: Config = None) -> None:
    """
    Check a configuration and print every problem with its path. Exits 0 or 2.

    Example: hapax check --config hapax.yaml
    """
    out, err = show.out(), show.err()
    try:
        loaded = ground.firm(lambda: load(config, ollama_answers=ollama_answers))
    except SettingsError as error:
        show.problems(err, error)
        raise typer.Exit(2) from None
    show.warnings(err, [*loaded.warnings, *loaded.overridden, *ground.warnings(loaded.settings)])
    show.line(out, f"Configuration is valid ({loaded.source})")
    raise typer.Exit(0)
