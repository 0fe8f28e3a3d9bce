"""Writing into a workspace that others write into too."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.workspace import Workspace

PATIENCE = 20  # seconds that a click waits for another command to end


class Pen:
    """Holds the workspace's lock for one click at a time, and finds earlier decisions in its log."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._one = threading.Lock()

    @contextmanager
    def write(self, command: str) -> Iterator[None]:
        """The lock, waited for: one click must not fail because `hits collect` is just writing its table."""
        until = time.monotonic() + PATIENCE
        with self._one, ExitStack() as held:
            while True:
                try:
                    held.enter_context(self.workspace.lock(command))
                    break
                except UserError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
            yield

    def decisions(self, command: str, task: str, by: str) -> Iterator[dict[str, Any]]:
        """What somebody decided with a command and did not take back, newest first, as the log has it."""
        path = self.workspace.root / "log.jsonl"
        taken_back: Counter[str] = Counter()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for text in reversed(lines):
            if f'"{command}' not in text:
                continue
            line = json.loads(text)
            if line.get("task") != task or line.get("by") != by:
                continue
            if line["command"] == f"{command} undo":
                taken_back[line["image_id"]] += 1
            elif line["command"] == command and taken_back[line["image_id"]]:
                taken_back[line["image_id"]] -= 1
            elif line["command"] == command:
                yield line
