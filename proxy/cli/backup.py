"""
`hapax backup` and `hapax restore`: the store into one file, or into a folder of dated ones, and back.

The copying is in `proxy.accounts.backup`; this shows how far it is and says how it ended.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from proxy.cli import show
from proxy.cli.audited import audit
from proxy.cli.check import Config
from proxy.cli.store import FAILED, refusal, settings_of, with_store

if TYPE_CHECKING:
    from proxy.accounts.backup import Progress as Told
    from proxy.accounts.dated_backups import Dated
    from proxy.accounts.store import Store

T = TypeVar("T")


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE|DIR")],
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Write a dated file into DIR and keep the newest N of them."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it exists.")] = False,
    config: Config = None,
) -> None:
    """
    Write keys and usage to FILE, or to a dated file in DIR, while the gateway runs. Exits 0 when the backup is whole, 1
    when none was made, 2 for arguments or a configuration that cannot be used. An older one that cannot be removed is a
    warning.

    The file is a SQLite database, also when the store is PostgreSQL; for recovery to a moment use PostgreSQL's own
    tools (pg_basebackup, pg_dump).

    Example: hapax backup hapax-backup.db

    Example for a timer: hapax backup --keep 24 /var/lib/hapax/backups
    """
    from proxy.accounts.backup import back_up
    from proxy.accounts.dated_backups import back_up_dated

    if keep is None:
        if target.is_dir():
            raise refusal(f"{target} is a folder; name a file in it, or have dated ones there: --keep 24 {target}")

        async def whole(store: "Store", told: "Told") -> dict[str, int]:
            return await back_up(store, target, force=force, progress=told)

        _say(target, _copied(config, whole), "Keep it as safe as the store.")
        return
    if force:
        raise refusal("--force replaces a FILE; with --keep every backup has a name of its own")
    if target.is_file():
        raise refusal(f"{target} is a file; --keep takes the folder that dated backups go to")
    newest = keep

    async def one_more(store: "Store", told: "Told") -> "Dated":
        return await back_up_dated(store, target, newest, told)

    made = _copied(config, one_more)
    gone = f", {_count(made.removed, 'older one')} removed" if made.removed else ""
    _say(made.file, made.counts, f"{_count(made.kept, 'backup')} kept{gone}. Keep them as safe as the store.")
    if made.unremovable:
        # With an exit code that says no, a CronJob would make another one at once, until the disk is full.
        show.warnings(show.err(), [f"older backups in {target} cannot be removed ({made.unremovable})"])


def _say(file: Path, counts: dict[str, int], more: str) -> None:
    size = file.stat().st_size
    show.line(show.out(), f"{file} holds {_rows(counts)}, {size / 1e6:,.1f} MB. {more}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)],
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


def _copied(config: Path | None, work: "Callable[[Store, Told], Awaitable[T]]", *, makes: bool = False) -> T:
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
