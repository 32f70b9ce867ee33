"""Tasks that nobody here knows: their jobs are left alone for a while, because soon somebody may know them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence


class Strangers:
    """Which tasks' jobs are not to be begun now. Times are seconds on `clock`.

    A task is met by its first job here, and skipped until nobody who could run it was seen for `patience`; then its
    jobs are begun all the same, and end as `unknown_task`. The `barred` tasks are skipped for ever.
    """

    def __init__(
        self, patience: float = 300.0, barred: Sequence[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._barred = tuple(barred)
        self._clock = clock
        self._missed_since: dict[str, float] = {}
        self.skipped = self._barred

    def __bool__(self) -> bool:
        return bool(self._missed_since)

    def meet(self, task: str) -> bool:
        """A job of this task came; whether it is to be left alone."""
        self._missed_since.setdefault(task, self._clock())
        self.look()
        return task in self.skipped

    def look(self, elsewhere: Collection[str] = ()) -> None:
        """See what has changed; `elsewhere`: the tasks that others know, who find their jobs themselves."""
        now = self._clock()
        for task in self._missed_since:
            if task in elsewhere:
                self._missed_since[task] = now
        missed = (task for task, since in self._missed_since.items() if now - since < self._patience)
        self.skipped = (*self._barred, *missed)

    def bar(self, tasks: Sequence[str]) -> None:
        """Skip these for ever, and no others."""
        self._barred = tuple(tasks)
        self.look()

    def forget(self, known: Collection[str]) -> None:
        """These are strangers no more."""
        self._missed_since = {task: since for task, since in self._missed_since.items() if task not in known}
        self.look()
