"""The SQL of what workers are told to do, and of what came of it."""

from __future__ import annotations

from tasks.command import Command
from tasks.store.statements import table

_COMMAND = ", ".join(Command.__struct_fields__)

#: rows: [id, target, worker]. One row for each worker.
ASK = f"""
INSERT INTO commands (id, target, worker, verb, argument, asked_at)
SELECT id, target, worker, :verb, :argument, {{now}} FROM {table(id="TEXT", target="TEXT", worker="TEXT")} AS s
WHERE true"""
#: A worker that comes to it too late must not do what nobody waits for any more.
TAKE = f"""
UPDATE commands SET taken_at = {{now}}, taken_by = :owner WHERE target IN (:owner, :instance) AND taken_at IS NULL
    AND asked_at > {{now}} - :age RETURNING {_COMMAND}"""
FINISH = """
UPDATE commands SET finished_at = {now}, ok = :ok, outcome = :outcome WHERE id = :id AND finished_at IS NULL"""

#: The processes of a worker that were there when it was told; those that came later.
_OLD = """EXISTS (SELECT 1 FROM workers AS w WHERE (w.instance = commands.target OR w.owner = commands.target)
    AND w.started_at <= commands.taken_at AND w.seen_at > {now} - :age)"""
_NEW = "EXISTS (SELECT 1 FROM workers AS w WHERE w.instance = commands.target AND w.started_at > commands.taken_at)"
#: Nobody can say of himself that he has ended: the registry can.
SEE_ENDED = f"""
UPDATE commands SET finished_at = {{now}}, ok = 1, outcome = 'drained and ended'
WHERE verb = 'shutdown' AND taken_at IS NOT NULL AND finished_at IS NULL AND NOT {_OLD}"""
SEE_RESTARTED = f"""
UPDATE commands SET finished_at = {{now}}, ok = 1, outcome = 'drained, ended and started anew'
WHERE verb = 'restart' AND taken_at IS NOT NULL AND finished_at IS NULL AND NOT {_OLD} AND {_NEW}"""
#: Milliseconds after which a worker that ended for a restart counts as not coming back.
_BACK_WITHIN = 120_000
#: Two kinds of commands that no process of their worker will finish any more.
SEE_NOT_BACK = f"""
UPDATE commands SET finished_at = {{now}}, ok = 0, outcome = 'ended, and did not start again within 2 minutes'
WHERE verb = 'restart' AND taken_at < {{now}} - {_BACK_WITHIN} AND finished_at IS NULL AND NOT {_OLD} AND NOT {_NEW}"""
SEE_LOST = """
UPDATE commands SET finished_at = {now}, ok = 0, outcome = 'the process that began it ended before it answered'
WHERE verb NOT IN ('restart', 'shutdown') AND taken_at IS NOT NULL AND finished_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM workers AS w WHERE w.owner = commands.taken_by AND w.seen_at > {now} - :age)"""
#: `:age` is the milliseconds within which a worker begins a command or never does.
SEE_UNANSWERED = """
UPDATE commands SET finished_at = {now}, ok = 0, outcome = 'no process of the worker took it in time'
WHERE taken_at IS NULL AND finished_at IS NULL AND asked_at <= {now} - :age"""
#: rows: [id].
READ = f"SELECT {_COMMAND} FROM commands WHERE id IN (SELECT id FROM {table(id='TEXT')} AS s) ORDER BY worker, target"
LATEST = f"SELECT {_COMMAND} FROM commands ORDER BY id DESC LIMIT :n"
FORGET = "DELETE FROM commands WHERE asked_at < {now} - :age"
