"""A client of the gateways that keeps trying the other one."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Sequence
from typing import Any

from tests.chaos.load import Unanswered, Wish

JOBS = "/api/v1/jobs"
#: A cancel that comes too late is a 409.
_FINE = (200, 202, 404, 409)
GONE = "GONE"
_TASKS = {"broken": "chaos.broken", "limited": "chaos.limited"}


class HttpClient:
    """One per thread. `ports` are gateways of one record; `wrong` gathers answers that nobody should be given."""

    idempotent = True

    def __init__(self, ports: Sequence[int], ledger: str, wrong: list[str]) -> None:
        self._ports = ports
        self._wrong = wrong
        self._ledger = ledger
        self._chance = random.Random()

    def submit(self, wish: Wish, patience: float) -> str:
        body: dict[str, Any] = {"task": _TASKS.get(wish.kind, "chaos.work"), "args": [self._ledger, wish.key]}
        if wish.kind != "broken":
            body["args"] += [wish.seconds, int(wish.kind == "flaky")]
        if wish.delay:
            body["countdown"] = wish.delay
        return str(self._ask("POST", JOBS, body, wish.key, patience)["id"])

    def cancel(self, job_id: str) -> str:
        answer = self._ask("POST", f"{JOBS}/{job_id}/cancel", {})
        return str(answer.get("action", answer.get("status")))

    def status(self, job_id: str) -> str:
        return str(self._ask("GET", f"{JOBS}/{job_id}")["status"])

    def _ask(self, method: str, path: str, body: Any = None, key: str = "", patience: float = 5.0) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._chance.choice(self._ports), timeout=patience)
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered from error
        finally:
            connection.close()
        if answer.status == 503:  # the store is away, or the gateway is going: it says so itself
            raise Unanswered
        if answer.status not in _FINE:
            self._wrong.append(f"{method} {path}: {answer.status} {text[:300]!r}")
            raise Unanswered
        return {"status": GONE} if answer.status == 404 else json.loads(text)
