"""The record: jobs, events, logs, workers, limits, tallies."""

from alembic import op

from tasks.store.guards import POSTGRESQL, SQLITE
from tasks.store.schema import metadata

revision = "0001"
down_revision = None

_GUARDS = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    for statement in _GUARDS[connection.dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """There is nothing before the first revision but an empty database."""
    metadata.drop_all(op.get_bind())
