"""What a workspace holds, what is open, what was spent, and what comes next, in a screen of text."""

from __future__ import annotations

from curate.workspace import Workspace


def describe(workspace: Workspace) -> str:
    """The state of the workspace as text."""
    return f"{workspace.config.name}: tasks {', '.join(workspace.tasks()) or 'none'}"
