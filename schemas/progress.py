"""How far long work is: a live bar on a terminal, a quiet line now and then elsewhere. On stderr, as all progress."""

from __future__ import annotations

import sys
from typing import Any, TextIO

QUIET_SECONDS = 15  # between two lines where nobody watches
_PER_SECOND = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"


def progress(total: int | None, what: str, unit: str = "", done: int = 0, shown: bool = True) -> Any:
    """A tqdm bar with rate and time left; `done` is what an earlier, stopped process had finished already.

    Pictures are always told by the second, also fewer than one; other things by what is easier to read.
    """
    from tqdm import tqdm

    live = sys.stderr.isatty()
    form = _PER_SECOND if total and unit.strip() == "pictures" else None
    return tqdm(
        total=total, initial=done, desc=what, bar_format=form, unit=unit or "it", unit_scale=(total or 0) > 9999, dynamic_ncols=True,
        file=sys.stderr if live else _Lines(sys.stderr), ascii=not live, leave=live,
        mininterval=0.2 if live else QUIET_SECONDS, maxinterval=10 if live else 2 * QUIET_SECONDS,
        delay=0 if live else QUIET_SECONDS, disable=not shown,
    )  # fmt: skip


class _Lines:
    """A stream that turns a bar's redrawing into lines: for files and pipes, where a carriage return goes nowhere."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write what there is to read as a line of its own."""
        if line := text.strip("\r\n "):
            self._stream.write(line + "\n")

    def flush(self) -> None:
        """Pass it on."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Nobody watches."""
        return False
