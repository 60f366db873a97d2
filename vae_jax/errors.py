"""The errors that end a command in one sentence, without a traceback."""


class UserError(Exception):
    """A user's mistake: the message names the field, the value and what is allowed (exit code 2)."""


class DivergedError(Exception):
    """Training met a NaN or an infinity; the message says at which step and what was kept (exit code 1)."""
