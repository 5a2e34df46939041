"""
Stored answers: which calls got one and what that saved, and which keys want none.

What a migration did once it does forever, so it repeats the columns instead of reading them from `tables`. The defaults
are for processes of the last release, which go on writing rows without these columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("keys", sa.Column("cache", sa.Integer, nullable=False, server_default="1"))
    op.add_column("usage", sa.Column("cached", sa.Integer, nullable=False, server_default="0"))
    op.add_column("usage", sa.Column("saved", sa.BigInteger))
