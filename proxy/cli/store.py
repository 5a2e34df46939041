"""
The store of a configuration, opened for the length of one command.

It finds the store the way `hapax serve` does, and turns what can go wrong with it into a sentence and an exit code.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from proxy.cli import show
from proxy.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from proxy.accounts.store import Store

T = TypeVar("T")

USAGE = 2
"""Exit code for a configuration or an argument that cannot be used."""
FAILED = 1
"""Exit code for a command that could not do what it was asked."""


def settings_of(config: Path | None) -> Settings:
    """The settings in force; ends the command with 2 when there are problems, or when they name no store."""
    settings = readable(config)
    if not settings.store.url.get_secret_value():
        raise refusal('store.url is empty, so there is no store; set for instance `store: {url: "sqlite:///hapax.db"}`')
    return settings


def readable(config: Path | None) -> Settings:
    """The settings in force, with or without a store; ends the command with 2 when there are problems."""
    try:
        return load(config).settings
    except SettingsError as error:
        show.problems(show.err(), error)
        raise typer.Exit(USAGE) from None


def refusal(sentence: str, code: int = USAGE) -> typer.Exit:
    """Says *sentence* on standard error; to be raised."""
    show.line(show.err(), sentence, "red")
    return typer.Exit(code)


def store_exists(settings: Settings) -> bool:
    """False where the store is a file that is not there; whether another one answers shows when it is opened."""
    from proxy.accounts.engines import sqlite_url

    url = settings.store.url.get_secret_value()
    try:
        return not url.startswith("sqlite:") or Path(sqlite_url(url).database or "").exists()
    except ValueError:
        # What is wrong with it the store says.
        return True


def without_store(settings: Settings) -> str:
    """That there is none, as a sentence."""
    return f"There is no store at {settings.store.url}; `hapax serve` and `hapax keys create NAME` make one"


def with_store(settings: Settings, work: Callable[["Store"], Awaitable[T]], *, makes: bool = False) -> T:
    """
    What *work* makes of the store; ends the command with 1 when the store fails, or is not there. *makes*: then it is
    made; a command that reads must not leave an empty one at a mistyped path.
    """
    if not makes and not store_exists(settings):
        raise refusal(without_store(settings), FAILED)
    # Imported here so that the other commands do not load a database library.
    from proxy.accounts.store import Store, StoreError

    async def opened() -> T:
        store = Store(settings.store.url.get_secret_value())
        try:
            await store.open()
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(opened())
    except StoreError as error:
        raise refusal(f"The store {settings.store.url} cannot be used: {error}", FAILED) from None
