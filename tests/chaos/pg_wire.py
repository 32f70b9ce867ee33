"""What a proxy sees of PostgreSQL's protocol: transactions that are open, and claims whose commit is answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from weakref import WeakKeyDictionary

from tests.chaos.proxy import Link

#: ReadyForQuery: the session is in a transaction, or idle. It ends every answer.
#: https://www.postgresql.org/docs/current/protocol-message-formats.html
_IN_TRANSACTION = b"Z\x00\x00\x00\x05T"
_IDLE = b"Z\x00\x00\x00\x05I"
#: asyncpg prepares a statement under a name, and executes it by a Bind that has the empty portal and the name alone.
_PREPARED = re.compile(rb"(__asyncpg_stmt_\w+__)\x00([^\x00]+)\x00")
_BOUND = re.compile(rb"\x00(__asyncpg_stmt_\w+__)\x00")
#: Stands in the settings of each session of the store. Before them it has locked nothing.
_TOLD = b"SET idle_in_transaction_session_timeout"
#: Stands in each statement that claims jobs.
_CLAIMS = b"attempt = attempt + 1"
#: Seconds that a fault waits for a transaction of the kind that it needs.
PATIENCE = 10.0


class _Session:
    """One connection: whether it has its settings, the names of its claims, the answers in its open transaction, and
    whether that one claims."""

    def __init__(self) -> None:
        self.told = False
        self.claims: set[bytes] = set()
        self.answers = 0
        self.claiming = False


class PostgresWatch:
    """Sees every piece of every connection; a fault asks for the next one of a kind."""

    def __init__(self) -> None:
        self._sessions: WeakKeyDictionary[Link, _Session] = WeakKeyDictionary()
        #: Whether an answer is the one to lose, by its session and whether that is idle now.
        self._wanted: Callable[[_Session, bool], bool] | None = None
        self._found: Future[Link] = Future()

    def __call__(self, link: Link, piece: bytes, up: bool) -> None:
        session = self._sessions.get(link)
        if session is None:
            session = self._sessions[link] = _Session()
        if up:
            session.told = session.told or _TOLD in piece
            session.claims |= {name for name, sql in _PREPARED.findall(piece) if _CLAIMS in sql}
            session.claiming = session.claiming or not session.claims.isdisjoint(_BOUND.findall(piece))
        elif piece.endswith((_IDLE, _IN_TRANSACTION)):
            idle = piece.endswith(_IDLE)
            session.answers += not idle
            if self._wanted is not None and self._wanted(session, idle):
                link.lost, self._wanted = True, None
                self._found.set_result(link)
            if idle:
                session.answers, session.claiming = 0, False

    def lose_transaction(self, answers: int) -> Link:
        """Lose the next connection whose open transaction has had so many answers. Raises TimeoutError."""
        return self._lose(lambda session, idle: session.told and not idle and session.answers >= answers)

    def lose_claim(self) -> Link:
        """Lose the answer to the next commit of a claim. Raises TimeoutError."""
        return self._lose(lambda session, idle: idle and session.claiming)

    def _lose(self, wanted: Callable[[_Session, bool], bool]) -> Link:
        self._found = Future()
        self._wanted = wanted
        try:
            return self._found.result(PATIENCE)
        except TimeoutError:
            self._wanted = None
            raise TimeoutError("no transaction of the kind was seen") from None
