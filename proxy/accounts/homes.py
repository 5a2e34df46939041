"""
Homes of objects as they are written down: what of them is kept, and the statements that write and delete it.

Nothing here keeps homes or talks to a database.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, bindparam, delete

from proxy.accounts import tables
from proxy.accounts.sql import compiled

BATCH = 50
"""Rows in one statement."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where an object lives, and who made it."""

    provider: str
    account: str
    """Which of the provider's keys, by its digest."""
    principal: str
    """Whose key of ours made it; empty where that is not known, or there are no keys."""
    team: str


class Statements:
    """The SQL that writes homes and takes them out, for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        """*dialect* is that of the connection they will be sent over."""
        table = tables.objects
        insert = tables.insert_into(table, dialect)
        upsert = insert.values(
            {name: bindparam(name, type_=column.type) for name, column in table.c.items()}
        ).on_conflict_do_update(
            index_elements=list(table.primary_key), set_={"team": insert.excluded.team, "used": insert.excluded.used}
        )
        self._insert = compiled(upsert, dialect, table.c.keys())
        gone = delete(table).where(table.c.id == bindparam("id", type_=table.c.id.type))
        self._delete = str(gone.compile(dialect=dialect))
        self._together = dialect.name == "sqlite"

    def over(self, rows: list[tuple[str, Home]], gone: list[str], now: int) -> list[tuple[str, Any]]:
        """Statements with parameters: first those that take out. *now*: milliseconds since 1970."""
        plan: list[tuple[str, Any]] = []
        values = [(id, home.provider, home.account, home.principal, home.team, now, now) for id, home in rows]
        if not self._together:
            return [
                (sql, rows) for sql, rows in ((self._delete, [(id,) for id in gone]), (self._insert, values)) if rows
            ]
        # Many in one statement, see `rows.Statements`.
        for first in range(0, len(gone), BATCH):
            part = gone[first : first + BATCH]
            plan.append((self._delete.replace("= ?", f"IN ({', '.join('?' * len(part))})"), tuple(part)))
        one = f"({', '.join('?' * len(tables.objects.c))})"
        for first in range(0, len(values), BATCH):
            many = values[first : first + BATCH]
            sql = self._insert.replace(one, ", ".join([one] * len(many)))
            plan.append((sql, tuple(each for row in many for each in row)))
        return plan
