"""The SQL of what workers are told to do, and of what came of it."""

from __future__ import annotations

from tasks.command import Command
from tasks.store.statements import table

_COMMAND = ", ".join(Command.__struct_fields__)

#: rows: [id, target]. One row a worker.
ASK = f"""
INSERT INTO commands (id, target, verb, argument, asked_at)
SELECT id, target, :verb, :argument, {{now}} FROM {table(id="TEXT", target="TEXT")} AS s WHERE true"""
#: A worker that comes to it too late must not do what nobody waits for any more.
TAKE = f"""
UPDATE commands SET taken_at = {{now}}, taken_by = :owner WHERE target IN (:owner, :name) AND taken_at IS NULL
    AND asked_at > {{now}} - :age RETURNING {_COMMAND}"""
FINISH = """
UPDATE commands SET finished_at = {now}, ok = :ok, outcome = :outcome WHERE id = :id AND finished_at IS NULL"""

#: The processes of a worker that were there when it was told; those that came later.
_OLD = """EXISTS (SELECT 1 FROM workers AS w WHERE (w.name = commands.target OR w.owner = commands.target)
    AND w.started_at <= commands.taken_at AND w.seen_at > {now} - :age)"""
_NEW = "EXISTS (SELECT 1 FROM workers AS w WHERE w.name = commands.target AND w.started_at > commands.taken_at)"
#: Nobody can say of himself that he has ended: the registry can.
SEE_ENDED = f"""
UPDATE commands SET finished_at = {{now}}, ok = 1, outcome = 'drained and ended'
WHERE verb = 'shutdown' AND taken_at IS NOT NULL AND finished_at IS NULL AND NOT {_OLD}"""
SEE_RESTARTED = f"""
UPDATE commands SET finished_at = {{now}}, ok = 1, outcome = 'drained, ended and started anew'
WHERE verb = 'restart' AND taken_at IS NOT NULL AND finished_at IS NULL AND NOT {_OLD} AND {_NEW}"""
#: rows: [id].
READ = f"SELECT {_COMMAND} FROM commands WHERE id IN (SELECT id FROM {table(id='TEXT')} AS s) ORDER BY target"
LATEST = f"SELECT {_COMMAND} FROM commands ORDER BY id DESC LIMIT :n"
FORGET = "DELETE FROM commands WHERE asked_at < {now} - :age"
