"""Parts of a Celery worker: the one that receives messages, and one that knows when the worker ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.bootsteps import StartStopStep
from celery.worker.components import Pool
from celery.worker.consumer import Consumer


def end_step(begin: Callable[[], None]) -> type[StartStopStep]:
    """A step of the worker that calls `begin` when Celery begins to end it, before it waits for its pool.

    Celery sends no signal of an end by an error: `WorkController.stop` of Celery 5.7.
    """

    class EndStep(StartStopStep):  # type: ignore[misc]  # Celery ships no types
        requires = (Pool,)

        def stop(self, parent: Any) -> None:
            begin()

        terminate = stop

    return EndStep


class CheckedConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types
    """Drops a message that Celery cannot read. Celery would end with it, and the broker would give it to the next
    worker: one message ends them all, one after another."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        receive = super().create_task_handler(*args, **options)

        def checked(message: Any) -> None:
            try:
                receive(message)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                if message.acknowledged:  # it was read, so the error is not the sender's
                    raise
                self.on_invalid_task(None, message, error)

        return checked
