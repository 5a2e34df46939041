"""
Statements as a driver takes them: SQLAlchemy's text for a dialect, checked to take a row's values in their order.

It knows no table and sends nothing.
"""

from collections.abc import Sequence

from sqlalchemy import Dialect, Insert


class UnexpectedSql(Exception):
    """SQLAlchemy has written a statement whose values stand in another order than those of our rows."""


def compiled(insert: Insert, dialect: Dialect, columns: Sequence[str]) -> str:
    """The text of *insert*, whose values are those of *columns*, in that order; else `UnexpectedSql`."""
    written = insert.compile(dialect=dialect)
    if written.positiontup != list(columns):
        raise UnexpectedSql(f"{insert.table.name} for {dialect.name}: {written.positiontup}")
    return str(written)
