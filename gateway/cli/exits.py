"""How a command ends: the exit codes, one table for all commands, described in docs/operations.md."""

from __future__ import annotations

from enum import IntEnum

from tasks.errors import ConfigurationError, JobgateError, StoreUnavailable


class Exit(IntEnum):
    """0 is success. Shells keep 126 and above for themselves."""

    #: The question was answered, and the answer is bad: the job failed, a check found something, a process is down.
    BAD = 1
    #: The command line, a setting or the submission is wrong; the same command will fail again.
    USAGE = 2
    NOT_FOUND = 3
    #: Not in the time that was given; it may still happen.
    TOO_LATE = 4
    #: Understood and refused: not in this state, not with this executor, not by this caller.
    REFUSED = 5
    #: The gateway, the store or the stack does not answer.
    UNREACHABLE = 6


class CommandError(Exception):
    """Ends a command with one line on stderr."""

    def __init__(self, exit: Exit, words: str) -> None:
        super().__init__(words)
        self.exit = exit
        self.words = words


def command_error(error: Exception) -> CommandError | None:
    """What an exception from below means to whoever typed the command; None for a fault of ours."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ConfigurationError):
        return CommandError(Exit.USAGE, error.detail)
    if isinstance(error, StoreUnavailable):
        # Its first line: some drivers go on with the statement and advice.
        return CommandError(Exit.UNREACHABLE, error.detail.splitlines()[0])
    return CommandError(Exit.REFUSED, error.detail) if isinstance(error, JobgateError) else None
