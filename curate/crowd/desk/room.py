"""What every page of the desk works with: the workspace, the task, the crowd, and what is known of the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from curate.crowd.server.labeling import Answer, sheet_of_task
from curate.crowd.server.pictures import Originals

if TYPE_CHECKING:
    from curate.crowd.desk.deck import Deck
    from curate.crowd.desk.facts import Facts
    from curate.crowd.requester import Requester
    from curate.pages.pen import Pen
    from curate.workspace import Workspace
    from schemas.question import TaskPage
    from schemas.task import Task


@dataclass(frozen=True)
class Crowd:
    """The crowd that answers, for a desk with a dashboard."""

    requester: Requester
    facts: Callable[[], Facts]
    collect: Callable[[], str]  # reads the answers that came in; says what it found


@dataclass(frozen=True)
class Room:
    """One desk. Without a crowd it has nothing but pictures to decide."""

    workspace: Workspace
    task: Task
    pen: Pen
    deck: Deck
    page: TaskPage  # the task as the labeling page shows it, with one picture
    crowd: Crowd | None = None

    @cached_property
    def pictures(self) -> Originals:
        """The workspace's originals and the copies that are shown."""
        return Originals(self.workspace.originals, self.workspace.display)

    def answers(self, language: str) -> list[Answer]:
        """The classes with the keys, names, definitions and examples that workers see."""
        sheet = sheet_of_task(self.page, language, "", self.pictures.has)
        return sheet.items[0].answers
