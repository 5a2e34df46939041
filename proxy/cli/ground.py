"""
What a configuration stands on besides itself: the database, the price list, the servers it shares limits through.

It looks, makes nothing, and says what to do. A file that cannot be used is a problem; a server that does not answer is
a warning, since it may be there by the time it is needed.
"""

import os
import socket
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.settings import Loaded, Problem, Settings, SettingsError
from proxy.settings.checks import loopback

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PATIENCE = 2.0
"""Seconds a server gets to accept a connection."""
_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379}
_MAGIC = b"SQLite format 3\0"
"""https://www.sqlite.org/fileformat.html, section 1.2."""


def firm(read: Callable[[], Loaded]) -> Loaded:
    """What *read* loads; `SettingsError` with everything that it finds and everything that `problems` finds."""
    try:
        loaded = read()
    except SettingsError as error:
        if isinstance(error.rest, Settings):
            # Of a section that lacks what was wrong in it, nothing is known.
            sections = {problem.path.partition(".")[0] for problem in error.problems}
            error.problems += [each for each in problems(error.rest) if each.path.partition(".")[0] not in sections]
        raise
    found = list(problems(loaded.settings))
    if found:
        refused = SettingsError(found, loaded.warnings)
        refused.files = loaded.files
        raise refused
    return loaded


def problems(settings: Settings) -> Iterator[Problem]:
    """What keeps the gateway from starting."""
    # Imported here: most commands need neither prices nor a database.
    from proxy.accounts.prices import Prices

    try:
        Prices.load(settings.store.prices or None)
    except ValueError as error:
        yield Problem("store.prices", str(error))
    url = settings.store.url.get_secret_value()
    if url.startswith("sqlite:"):
        from proxy.accounts.engines import sqlite_url

        try:
            words = _file(sqlite_url(url))
        except ValueError as error:
            words = str(error)
        if words:
            yield Problem("store.url", words)


def shut_in(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """That a container, whose image says by HAPAX_CONTAINER that it is one, lets no call in."""
    if environ.get("HAPAX_CONTAINER") and loopback(settings.server.host):
        yield (
            f"server.host: is {settings.server.host}, which no published port of a container leads to; write "
            "`server: {host: 0.0.0.0}`, unless it shares the network of its host"
        )


def warnings(settings: Settings) -> Iterator[str]:
    """Servers that do not answer now, and a container that lets no call in."""
    yield from shut_in(settings)
    store, state = settings.store.url.get_secret_value(), settings.state.url.get_secret_value()
    for path, url, without in (
        ("store.url", store, "the gateway starts all the same, with the keys of the file alone, and tries again"),
        ("state.url", state, "the gateway starts all the same, without shared limits, and tries again"),
    ):
        if url.partition("://")[0] in _PORTS and (words := _silent(url)):
            yield f"{path}: {words}; {without}"


def _file(url: "URL") -> str:
    """Why the file of a SQLite database cannot be used, or nothing."""
    path = Path(url.database or "").absolute()
    folder = path.parent
    try:
        if path.is_dir():
            return f"{path} is a folder; name a file in it, such as {path.name}/hapax.db"
        if not folder.exists():
            return f"the folder {folder} does not exist; make it (mkdir -p), or correct the path"
        if not folder.is_dir():
            return f"{folder} is a file, so nothing can lie below it; correct the path"
        if not path.exists():
            may = os.access(folder, os.W_OK | os.X_OK)
            return "" if may else f"the folder {folder} cannot be written by this user; change its owner or mode"
        if not path.is_file():
            return f"{path} is no ordinary file; name another one"
        if not os.access(path, os.R_OK | os.W_OK):
            return f"{path} cannot be read and written by this user; change its owner or mode"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"the folder {folder} cannot be written by this user, and SQLite keeps its log beside {path.name}"
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except (OSError, ValueError) as error:
        return f"{folder} cannot be looked into: {getattr(error, 'strerror', None) or error}; correct the path"
    if head and head != _MAGIC:
        return f"{path} is no SQLite database; name another file, or move this one away"
    return _readable(path) if head else ""


def _readable(path: Path) -> str:
    try:
        # A connection that may only read makes SQLite's log and its index and cannot remove them again.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # Locked by a gateway that runs, or a log that only a writer can roll back: opening it for good will tell.
        return ""
    except sqlite3.DatabaseError:
        return f"{path} is damaged; put back a copy (hapax restore), or move it away to begin anew"
    return ""


def _silent(url: str) -> str:
    """That nothing accepts a connection where *url* leads, or nothing; it holds no credential."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "the URL cannot be understood"
    if not parsed.host:
        return ""
    port = parsed.port or _PORTS[url.partition("://")[0]]
    try:
        with closing(socket.create_connection((parsed.host, port), timeout=PATIENCE)):
            return ""
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        return f"nothing answers at {parsed.host}:{port} ({reason})"
