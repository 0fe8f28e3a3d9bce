"""Rows of CSV that may be broken: a quote that is never closed costs its own row, not the rest of the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

LONGEST_LINE = 4_000_000  # characters
LONGEST_RECORD = 2_000  # lines that one quoted cell may span


class TooLong(str):
    """What stands for a line that was not kept."""


class _Taken:
    """Lines for a CSV reader, which may be put back when they turn out not to belong to the row that took them."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._again, self._held = lines, deque[str](), list[str]()
        self.line = 0  # of the file, where the row in hand begins

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._held) >= LONGEST_RECORD:
            raise csv.Error(f"a quote that is not closed within {LONGEST_RECORD:,} lines")
        line = self._again.popleft() if self._again else next(self._lines)
        self._held.append(line)
        if isinstance(line, TooLong):
            raise csv.Error(f"longer than {LONGEST_LINE:,} characters")
        return line

    def settle(self) -> int:
        """The row is whole; returns the line that it began on."""
        begun, self.line = self.line + 1, self.line + len(self._held)
        self._held = []
        return begun

    def put_back(self) -> int:
        """The row is none: only its first line is given up. Returns that line."""
        self._again.extendleft(reversed(self._held[1:]))
        self._held = self._held[:1]
        return self.settle()


def records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Cells of each row with the line it begins on, or why a line is no CSV."""
    taken = _Taken(lines)
    rows = csv.reader(taken, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield taken.put_back(), _in_words(str(error))
            continue
        yield taken.settle(), cells


def _in_words(error: str) -> str:
    if error.startswith("unexpected end of data"):
        return "no CSV (a quote that is never closed)"
    if "field larger than" in error:
        return "a cell of more than 131,072 characters"
    if error.startswith("longer than"):
        return error
    if "expected after" in error:
        return "no CSV (text after a closing quote; a quote inside a cell is written twice)"
    return f"no CSV ({error})"
