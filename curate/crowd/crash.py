"""Where a test can kill a command that touches money or people, to prove that running it again is safe."""

from __future__ import annotations

import os

_passed: dict[str, int] = {}


def crash_point(name: str) -> None:
    """End the process as kill -9 would, when CONSENSO_CRASH_AT names this point: `name`, or `name:3` for its third passing."""
    wanted = os.environ.get("CONSENSO_CRASH_AT")
    if not wanted:
        return
    at, _, times = wanted.partition(":")
    _passed[name] = _passed.get(name, 0) + 1
    if at == name and _passed[name] == int(times or 1):
        os._exit(137)
