"""The errors that end a command in one sentence, without a traceback, and its exit code."""

import os


class UserError(Exception):
    """A user's mistake: the message names the field, the value and what is allowed (exit code 2)."""

    exit_code = 2


def first_line(error: Exception) -> str:
    """The first line of what an error says, in at most 200 characters; its kind where that is nothing or a bare key."""
    lines = str(error).strip().splitlines()[:1]
    kind = [type(error).__name__] if isinstance(error, KeyError) or not lines else []
    return ": ".join([*kind, *lines])[:200]


class StoppedError(Exception):
    """Training was asked to stop and has saved; the message says how it goes on (exit code 75: try again)."""

    exit_code = os.EX_TEMPFAIL


class DivergedError(Exception):
    """Training met a NaN or an infinity; the message says at which step and what was kept (exit code 1)."""

    exit_code = 1
