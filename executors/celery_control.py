"""A Celery worker's own remote control, used from inside it: what can only be done in its parent is asked for by wire.

Called from a thread of one of the worker's processes; each answer is the parent's own.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import Celery
from celery.utils.functional import maybe_list
from celery.worker.control import Panel

from executors.cancel_pipe import CancelPipe
from executors.celery_doorbell import CANARY
from executors.word import Word
from tasks.command import Command, Outcome, Verb

#: Seconds until a parent that does not answer counts as deaf.
PATIENCE = 5.0
SHRINK = "jobgate_shrink"


@Panel.register(name=SHRINK, type="control", visible=False)  # type: ignore[untyped-decorator]  # Celery ships no types
def shrink(state: Any, n: int, spare: int) -> dict[str, str]:
    """Celery's pool_shrink ends the first idle processes; the one that passed the wish on must live to see it done."""
    pool = state.consumer.pool._pool
    pool._pool.sort(key=lambda process: bool(process.pid == spare))
    state.consumer.pool.shrink(n)
    state.consumer._update_prefetch_count(-n)
    return {"ok": "pool will shrink"}


def cancel_by_wire(cancels: CancelPipe) -> None:
    """Makes Celery's commands `revoke` and `terminate` cancel the jobs of the ids, as the API does.

    Celery's own would kill a process, whose job then runs again, and drop the messages of a job that waits: the relay
    would send them again and again.
    """

    @Panel.register(name="revoke", type="control", variadic="task_id", signature="[id1 [id2 [... [idN]]]]")  # type: ignore[untyped-decorator]  # Celery ships no types
    def revoke(state: Any, task_id: Any, **_: Any) -> dict[str, str]:
        """Cancels jobs, running or not."""
        ids = [str(each) for each in maybe_list(task_id) or []]
        if refused := [each for each in ids if not cancels.put(each)]:
            return {"error": f"not cancelled, the ids are no ids of jobs or too many: {', '.join(refused)}"}
        return {"ok": f"cancelling {', '.join(ids)}; the store says what came of it: jobgate status ID"}

    @Panel.register(
        name="terminate",
        type="control",
        variadic="task_id",
        args=[("signal", str)],
        signature="<signal> [id1 [id2 [... [idN]]]]",
    )  # type: ignore[untyped-decorator]  # Celery ships no types
    def terminate(state: Any, signal: str, task_id: Any, **_: Any) -> dict[str, str]:
        """Cancels jobs, running or not; the signal has no effect."""
        found: dict[str, str] = revoke(state, task_id)
        return found


class ParentControl:
    """The commands of one worker. `parent` is the pid that listens to the broker."""

    def __init__(self, app: Celery, word: Word, parent: int) -> None:
        self._app = app
        self._word = word
        self._parent = parent
        self.name = ""
        #: The name of the pool that runs; the command line of the worker may choose another than the settings.
        self.pool = ""

    def obey(self, command: Command) -> Outcome | None:
        """None where only the registry can show what came of it: when this process is among those that end."""
        verb, argument = command.verb, command.argument or ""
        if verb in (Verb.RESTART, Verb.SHUTDOWN):
            self._word.anew = verb is Verb.RESTART
            os.kill(self._parent, signal.SIGTERM)
            return None
        if verb in (Verb.GROW, Verb.SHRINK):
            return self._resize(verb, int(argument))
        return self._listen(verb, argument)

    def _resize(self, verb: str, number: int) -> Outcome:
        if self.pool != "prefork":
            return Outcome(False, f"a pool of {self.pool} keeps its size: restart it with another CELERY_CONCURRENCY")
        if verb is Verb.GROW:
            return self._ask("pool_grow", n=number)
        return self._ask(SHRINK, n=number, spare=os.getpid())

    def _listen(self, verb: str, queue: str) -> Outcome:
        if verb is Verb.LEAVE and queue not in self._word.queues:
            return Outcome(False, f"does not serve it; serves {', '.join(self._word.queues)}")
        answer = self._ask("add_consumer" if verb is Verb.CONSUME else "cancel_consumer", queue=queue)
        if not answer.ok:
            return answer
        found = self._app.control.inspect([self.name], timeout=PATIENCE, limit=1).active_queues()
        if not found:
            return Outcome(False, f"the worker took it ({answer.words}), but does not say which queues it serves")
        served = [each["name"] for each in found[self.name]]
        self._word.queues = [name for name in served if not name.startswith(CANARY)]
        done = (queue in self._word.queues) is (verb is Verb.CONSUME)
        return Outcome(done, f"serves {', '.join(self._word.queues) or 'no queue'}")

    def _ask(self, name: str, **arguments: Any) -> Outcome:
        if not self._app.conf.worker_enable_remote_control:
            return Outcome(
                False, "remote control is off (JOBGATE_REMOTE_CONTROL=0): restart the worker with new settings"
            )
        answers = self._app.control.broadcast(
            name, arguments=arguments, destination=[self.name], reply=True, timeout=PATIENCE, limit=1
        )
        if not answers:
            return Outcome(False, f"the worker's parent did not answer within {PATIENCE:g} s: is the broker away?")
        answer: dict[str, str] = answers[0][self.name]
        return Outcome("ok" in answer, answer.get("ok") or answer.get("error", ""))
