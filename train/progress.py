"""A progress bar on stderr."""

from __future__ import annotations

import sys
from typing import Any


def progress(total: int, what: str, unit: str = " pictures", done: int = 0) -> Any:
    """Live on a terminal, a quiet line every 15 seconds elsewhere; shows the rate and the time left."""
    from tqdm import tqdm

    live = sys.stderr.isatty()
    return tqdm(
        total=total, initial=done, desc=what, unit=unit, unit_scale=total > 9999, dynamic_ncols=True,
        mininterval=0.2 if live else 15, leave=live, ascii=not live,
    )  # fmt: skip
