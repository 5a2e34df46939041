"""
Where Alembic meets the connection it is to migrate; run by `proxy.accounts.schema`, never by hand.

It opens no connection, sets up no logging and ends no transaction: all three are the caller's.
"""

from alembic import context

from proxy.accounts.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
