"""Numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.interval import wilson


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, columns lined up."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in [head, *rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def share(right: int, n: int) -> str:
    """A share with what it is a share of: 93.2% (41/44)."""
    return f"{right / n:.1%} ({right}/{n})" if n else "– (0/0)"


def interval(right: int, n: int) -> str:
    """The 95 % Wilson interval of a share."""
    low, high = wilson(right, n)
    return f"{low:.1%} – {high:.1%}" if n else "–"


def counted(n: int, what: str) -> str:
    """A number of things: 1 picture, 2 pictures."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
