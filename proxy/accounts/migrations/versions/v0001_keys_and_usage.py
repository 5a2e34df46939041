"""
The first tables: keys, the counters of their changes, and the usage ledger.

It holds no data but the counter that starts at 0. What a migration did once it does forever, so it repeats the columns
instead of reading them from `tables`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("previous_digest", sa.LargeBinary),
        sa.Column("previous_until", sa.BigInteger),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("routes", sa.Text, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("budget", sa.Text),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("revoked", sa.BigInteger),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.create_index("keys_seq", "keys", ["seq"])
    versions = op.create_table(
        "versions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(versions, [{"name": "keys", "value": 0}])
    op.create_table(
        "usage",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("answered_model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("upstream_model", sa.Text, nullable=False),
        sa.Column("stream", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Integer, nullable=False),
        sa.Column("cost", sa.BigInteger),
        sa.Column("ttft_ms", sa.BigInteger),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text, nullable=False),
        sa.Column("ended", sa.BigInteger),
    )
    op.create_index("usage_principal_started", "usage", ["principal", "started"])
    op.create_index("usage_started", "usage", ["started"])
