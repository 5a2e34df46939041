"""
`hapax backup` and `hapax restore`: the store into one file, and back.

The copying is in `proxy.accounts.backup`; this shows how far it is and says how it ended.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli import show
from proxy.cli.audited import audit
from proxy.cli.check import Config
from proxy.cli.store import FAILED, refusal, settings_of, with_store

if TYPE_CHECKING:
    from proxy.accounts.backup import Progress as Told
    from proxy.accounts.store import Store

_File = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)]


def backup(
    file: _File,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it exists.")] = False,
    config: Config = None,
) -> None:
    """
    Write keys and usage to FILE, while the gateway runs.

    The file is a SQLite database, also when the store is PostgreSQL. Example: hapax backup hapax-backup.db
    """
    from proxy.accounts.backup import back_up

    async def work(store: "Store", told: "Told") -> dict[str, int]:
        return await back_up(store, file, force=force, progress=told)

    counts = _copied(config, work)
    size = file.stat().st_size
    show.line(show.out(), f"{file} holds {_rows(counts)}, {size / 1e6:,.1f} MB. Keep it as safe as the store.")


def restore(
    file: _File,
    merge: Annotated[bool, typer.Option("--merge", help="Add what a store that is in use lacks.")] = False,
    config: Config = None,
) -> None:
    """
    Put keys and usage from FILE, made by `hapax backup`, into the store.

    The store must be empty unless --merge is given. Example: hapax restore hapax-backup.db
    """
    from proxy.accounts.backup import restore as restored

    async def work(store: "Store", told: "Told") -> dict[str, int]:
        return await restored(store, file, merge=merge, progress=told)

    counts = {str(table): count for table, count in _copied(config, work, makes=True).items()}
    added = {"merged": merge, "file": str(file)}
    audit(settings_of(config), "store_restored", f"store restored from {file.name}", None, counts, **added)
    show.line(show.out(), f"{_rows(counts)} restored from {file}.")


def _copied(
    config: Path | None, work: "Callable[[Store, Told], Awaitable[dict[str, int]]]", *, makes: bool = False
) -> dict[str, int]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from proxy.accounts.backup import BackupError

    settings = settings_of(config)
    err = show.err()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    shown: dict[str, TaskID] = {}

    def told(table: str, done: int, count: int) -> None:
        if table not in shown:
            shown[table] = bar.add_task(table)
        bar.update(shown[table], completed=done, total=count)

    try:
        with bar:
            return with_store(settings, lambda store: work(store, told), makes=makes)
    except BackupError as error:
        sentence = str(error)
        raise refusal(f"{sentence[0].upper()}{sentence[1:]}.", FAILED) from None


def _rows(counts: dict[str, int]) -> str:
    return f"{_count(counts['keys'], 'key')} and {_count(counts['usage'], 'call')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
