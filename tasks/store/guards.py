"""What the schema itself guarantees, as triggers: events for every transition, and rows that cannot be falsified.

Guards: a terminal row never changes (its result may expire), an attempt only grows by one, a claim is what grows it.
"""

from __future__ import annotations

#: The database's clock in milliseconds, by dialect. SQLite's own clock has no finer grain in this form.
#: statement_timestamp(), not clock_timestamp(): all arms of one statement must agree, and not now(): it is stale in a
#: long transaction.
CLOCK = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)",
}

#: Broken when a terminal row would change in anything but the expiry of its result.
_TERMINAL_CHANGED = """OLD.finished_at IS NOT NULL AND NOT (
    NEW.status = OLD.status AND NEW.attempt = OLD.attempt AND NEW.finished_at = OLD.finished_at
    AND NEW.id = OLD.id AND NEW.arguments = OLD.arguments AND NEW.result IS NULL AND NEW.result_expired = 1)"""

_ATTEMPT_BROKEN = """NEW.attempt <> OLD.attempt + (CASE WHEN NEW.status = 'STARTED' AND OLD.status <> 'STARTED'
    THEN 1 ELSE 0 END)"""

_COLUMNS = """job, at, was, status, attempt, task, queue, owner, due_at, started_at, runtime, error_code, error_type,
    error_message, error_trace"""


def _moved(old: str, new: str, clock: str) -> str:
    """The event row of a transition. An attempt that ended names the owner that ended, from the old row."""
    return f"""{new}.number,
        COALESCE({new}.finished_at, CASE {new}.status WHEN 'STARTED' THEN {new}.started_at END, {clock}),
        {old}.status, {new}.status, {new}.attempt, {new}.task, {new}.queue, COALESCE({new}.owner, {old}.owner),
        {old}.due_at,
        CASE WHEN 'STARTED' IN ({old}.status, {new}.status) THEN {new}.started_at END,
        CASE {old}.status WHEN 'STARTED' THEN {new}.runtime END,
        {new}.error_code, {new}.error_type, {new}.error_message,
        CASE {old}.status WHEN 'STARTED' THEN {new}.error_trace END"""


def _accepted(new: str) -> str:
    return f"""{new}.number, {new}.created_at, NULL, {new}.status, 0, {new}.task, {new}.queue, NULL, {new}.due_at,
        NULL, NULL, NULL, NULL, NULL, NULL"""


#: A waiting job that an operator moves keeps its state: its event says where from, so that both queues' counts follow.
MOVED = "moved"
_REQUEUED_COLUMNS = "job, at, was, status, attempt, task, queue, error_code, error_type, error_message"


def _requeued(clock: str) -> str:
    values = f"{clock}, NEW.status, NEW.status, NEW.attempt, NEW.task, NEW.queue, '{MOVED}', OLD.queue"
    return f"INSERT INTO events ({_REQUEUED_COLUMNS}) VALUES (NEW.number, {values}, 'moved from queue ' || OLD.queue)"


SQLITE = (
    # AFTER, not BEFORE: RAISE undoes the statement all the same, and a BEFORE trigger doubles the cost of every update.
    # One for both guards, because a trigger costs more than its condition.
    f"""CREATE TRIGGER jobs_guarded AFTER UPDATE ON jobs WHEN ({_TERMINAL_CHANGED}) OR ({_ATTEMPT_BROKEN}) BEGIN
        SELECT CASE WHEN OLD.finished_at IS NULL THEN RAISE(ABORT, 'only a claim raises the attempt, by one')
            ELSE RAISE(ABORT, 'a job that has ended cannot be changed') END; END""",
    f"""CREATE TRIGGER jobs_accepted AFTER INSERT ON jobs
        BEGIN INSERT INTO events ({_COLUMNS}) VALUES ({_accepted("NEW")}); END""",
    f"""CREATE TRIGGER jobs_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status
        BEGIN INSERT INTO events ({_COLUMNS}) VALUES ({_moved("OLD", "NEW", CLOCK["sqlite"])}); END""",
    f"""CREATE TRIGGER jobs_requeued AFTER UPDATE OF queue ON jobs WHEN OLD.queue <> NEW.queue
        BEGIN {_requeued(CLOCK["sqlite"])}; END""",
)

POSTGRESQL = (
    # The order in which readers that skip nobody read them; without it each of them would read the whole table.
    "CREATE INDEX events_commit ON events (txid, seq)",
    "ALTER TABLE events ALTER COLUMN txid SET DEFAULT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)",
    """CREATE FUNCTION jobs_refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = TG_ARGV[0]; END $$""",
    f"""CREATE TRIGGER jobs_terminal BEFORE UPDATE ON jobs FOR EACH ROW WHEN ({_TERMINAL_CHANGED})
        EXECUTE FUNCTION jobs_refuse('a job that has ended cannot be changed')""",
    f"""CREATE TRIGGER jobs_attempt BEFORE UPDATE ON jobs FOR EACH ROW WHEN ({_ATTEMPT_BROKEN})
        EXECUTE FUNCTION jobs_refuse('only a claim raises the attempt, by one')""",
    f"""CREATE FUNCTION jobs_accepted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO events ({_COLUMNS}) SELECT {_accepted("n")} FROM fresh AS n; RETURN NULL; END $$""",
    """CREATE TRIGGER jobs_accepted AFTER INSERT ON jobs REFERENCING NEW TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION jobs_accepted()""",
    # Once a statement, not once a row: a batch of a hundred settled jobs costs one call. The writer's connection has
    # switched hash joins off; without one here, the cost of a batch grows with the square of its size.
    f"""CREATE FUNCTION jobs_moved() RETURNS trigger LANGUAGE plpgsql SET enable_hashjoin = on AS $$ BEGIN
        INSERT INTO events ({_COLUMNS}) SELECT {_moved("o", "n", CLOCK["postgresql"])}
        FROM stale AS o JOIN fresh AS n ON n.number = o.number WHERE o.status <> n.status; RETURN NULL; END $$""",
    """CREATE TRIGGER jobs_moved AFTER UPDATE ON jobs REFERENCING OLD TABLE AS stale NEW TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION jobs_moved()""",
    f"""CREATE FUNCTION jobs_requeued() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN {_requeued(CLOCK["postgresql"])}; RETURN NULL; END $$""",
    """CREATE TRIGGER jobs_requeued AFTER UPDATE OF queue ON jobs FOR EACH ROW WHEN (OLD.queue <> NEW.queue)
        EXECUTE FUNCTION jobs_requeued()""",
)
