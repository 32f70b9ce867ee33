"""The part of a Celery worker that receives messages, made proof against those that no publisher of Celery's writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer


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
