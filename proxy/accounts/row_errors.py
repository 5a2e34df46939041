"""Whose fault an error of the store is: one row's, which is let go, or the store's, which is tried again."""

import sqlite3

from sqlalchemy import exc

from proxy.accounts.store import StoreError

_OF_A_ROW = (
    *(exc.DataError, exc.IntegrityError, sqlite3.DataError, sqlite3.IntegrityError),
    *(ValueError, TypeError, OverflowError),
)
"""Whatever SQLAlchemy and the drivers raise for a value they do not take."""


def is_of_a_row(error: Exception) -> bool:
    """Whether the fault is with a row rather than with the store."""
    first = error.__context__ if isinstance(error, StoreError) else error
    second = getattr(first, "orig", None)
    for cause in (first, second, getattr(second, "__cause__", None)):
        if isinstance(cause, _OF_A_ROW):
            return True
        # PostgreSQL's classes 22, data exception, and 23, integrity constraint violation.
        if str(getattr(cause, "sqlstate", None) or "")[:2] in ("22", "23"):
            return True
    return False
