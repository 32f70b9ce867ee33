"""Watches the files of an open SQLite database, which SQLite itself does not.

SQLite goes on writing to a file that was deleted or replaced, and no other process ever reads what it writes there.
See docs/decisions/0038-deleted-wal.md.
"""

from __future__ import annotations

import logging
import os
import sqlite3

log = logging.getLogger("jobgate.store")

_DATABASE, _WAL, _SHM = "", "-wal", "-shm"
_RESTART = "restart every process that uses this database"
_DETAILS = {
    _DATABASE: "the database file is gone or was replaced: restart, to use the one that is there now",
    _WAL: f"the database's -wal file is gone or was replaced: {_RESTART}. What was accepted is in the database file",
    _SHM: f"the database's -shm file is gone or was replaced: {_RESTART}",
}
_NOT_SAVED = (
    "the database's -wal file is gone or was replaced, and what was written to it last could not be saved in the "
    f"database file: {_RESTART}"
)


class OpenFiles:
    """The files of one database that `connection` has open, identified by their inodes."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # the first read makes -wal and -shm
        found = {suffix: self._inode(suffix) for suffix in (_DATABASE, _WAL, _SHM)}
        self._inodes = {suffix: inode for suffix, inode in found.items() if inode is not None}
        self._damage: str | None = None

    def problem(self) -> str | None:
        """What is wrong with the files, None if nothing is. It stays wrong, but for a database file that comes back.

        A call that finds the -wal gone saves its content, which the connection still holds open; the next one tries
        again where a reader was in the way.
        """
        if self._damage is None and (suffix := self._lost()) is not None:
            if suffix == _DATABASE:
                return _DETAILS[_DATABASE]
            self._damage = self._save() if suffix == _WAL else _DETAILS[suffix]
            log.error("store: %s", self._damage or _NOT_SAVED)
            return self._damage or _NOT_SAVED
        return self._damage

    def loss(self) -> str | None:
        """The problem, if a restart would not find what was committed until it was noticed."""
        problem = self.problem()
        return problem if problem in (_DETAILS[_DATABASE], _NOT_SAVED) else None

    def _lost(self) -> str | None:
        """The suffix of the first file that is not the one that was opened."""
        return next((suffix for suffix, inode in self._inodes.items() if self._inode(suffix) != inode), None)

    def _inode(self, suffix: str) -> int | None:
        try:
            return os.stat(self._path + suffix).st_ino
        except OSError:
            return None

    def _save(self) -> str | None:
        """Writes the pages of the deleted -wal into the database file. Returns the damage that is left, None if it is
        not known yet, because not all pages could be written now."""
        try:
            # Another process that began a -wal of its own may have changed the pages since: they must not be touched.
            if os.path.exists(self._path + _WAL) and os.path.getsize(self._path + _WAL):
                return _NOT_SAVED
            busy, pages, written = self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        except (OSError, sqlite3.Error):
            log.exception("store: the content of a deleted -wal cannot be saved")
            return None
        return None if busy or pages != written else _DETAILS[_WAL]
