"""What a person can put right, as one line.

UserError            exit 1: the thing, the value found, and the next step
+-- TableError       a table file that is missing, damaged, or another step's
+-- TaskError        a task file that breaks a rule
+-- MissingExtra     a part of the tool that is not installed
Partial              exit 3: done, but some rows failed and say why
Interrupted          exit 130: stopped by Ctrl-C, and how to go on

Anything else is our bug and keeps its traceback.
"""

from __future__ import annotations


class UserError(Exception):
    """A person can put this right: the CLI prints it as one line and exits with `exit_code`."""

    exit_code = 1


class TableError(UserError):
    """A table file is missing, damaged, or not the table that was expected."""


class TaskError(UserError):
    """A task file breaks a rule; the message names the key, the value and what is allowed."""


class MissingExtra(UserError):
    """A part of the tool needs packages that are not installed."""

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(f"{missing} is not installed; this command needs: pip install 'consenso[{extra}]'")


class Partial(UserError):
    """The work is done as far as it goes; some rows failed and carry their reason."""

    exit_code = 3


class Interrupted(UserError):
    """Stopped by a person; the message says how to go on."""

    exit_code = 130
