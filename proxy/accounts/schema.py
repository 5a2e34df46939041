"""
Bringing a database to the tables this program knows: a new one at once, an older one with Alembic.

Decides and migrates on a connection it is given, inside that connection's transaction: a process that dies in the
middle leaves the old tables as they were. It opens nothing and never goes back to an older schema.
"""

import logging
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

from proxy.accounts import tables

HEAD = "0003"
"""The newest revision in migrations/versions."""

_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where Alembic keeps the revision, as it makes it itself."""

_log = logging.getLogger("hapax")

_LOCK = 0x68617061
"""Of PostgreSQL's advisory locks, the one under which this schema changes."""


class UnknownSchema(Exception):
    """The database was made by another release and lacks tables this one needs."""


def at_head(connection: Connection) -> bool:
    """Whether there is nothing to migrate; cheap, so that an ordinary start need not load Alembic."""
    return _revision(connection) == HEAD


def migrate(connection: Connection) -> None:
    """
    Bring the database to `HEAD`, one process at a time. A revision not known here is a newer release's: it stays,
    since that release keeps what the last one needs. `UnknownSchema` when it does not.
    """
    if connection.dialect.name == "postgresql":
        # A migration may take longer than a statement is otherwise allowed, and so may waiting for another's.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    revision = _revision(connection)
    if revision is None:
        _create(connection)
    elif revision != HEAD:
        upgrade(connection, revision)


def upgrade(connection: Connection, revision: str | None) -> None:
    """Go from *revision* (None: from nothing) to `HEAD` by all the migrations between."""
    # Alembic takes a tenth of a second and nine megabytes that only the start after an upgrade needs.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    if revision is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError:
            _keep_newer(connection, revision)
            return
    command.upgrade(config, "head")


def _create(connection: Connection) -> None:
    """What all the migrations together make of nothing; a test holds them against each other."""
    tables.metadata.create_all(connection, checkfirst=False)
    connection.execute(tables.versions.insert(), {"name": "keys", "value": 0})
    _version.create(connection)
    connection.execute(_version.insert(), {"version_num": HEAD})


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _keep_newer(connection: Connection, revision: str) -> None:
    lacking = sorted(set(tables.metadata.tables) - set(inspect(connection).get_table_names()))
    if lacking:
        raise UnknownSchema(f"it is at revision {revision[:32]!a}, unknown here, and lacks {', '.join(lacking)}")
    _log.warning(
        "the store is at revision %a, which a newer release made (this one knows %s); going on with it",
        revision[:32],
        HEAD,
    )
