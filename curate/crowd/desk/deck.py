"""Pictures that a person decides one by one: disputes, where an expert's label wins, and pictures that become gold.

Every decision is in its table before the next picture is shown, so a desk killed at any moment has lost nothing, and started
again it goes on with the first picture that is not decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from curate.crowd.crash import crash_point
from curate.crowd.desk.facts import Facts, Said, records, said
from curate.crowd.gold import add_gold
from curate.workspace import now
from schemas.errors import UserError
from schemas.tables import GIVEN, GOLD

if TYPE_CHECKING:
    import pandas as pd

    from curate.pages.pen import Pen
    from schemas.task import Task

EXPERT = "expert"  # the source of a label that wins over votes


class Deck(Protocol):
    """Some pictures in an order, each with a decision or without one."""

    title: str
    blind: bool  # votes are shown only after the person has chosen
    explains: bool  # a decision may carry a text
    next_step: str  # what to do when all are decided

    def cards(self) -> list[str]:
        """The pictures, in order."""

    def decided(self) -> dict[str, str]:
        """Picture to class, of those that are decided."""

    def explanation(self, image_id: str) -> str:
        """The text that a decision carries."""

    def votes(self, image_id: str) -> list[Said]:
        """What the workers said of a picture."""

    def decide(self, image_id: str, label: str, text: str) -> None:
        """Write a decision down; the last one stands."""

    def take_back(self) -> str | None:
        """Undo the person's last decision; returns its picture, None where there is nothing to undo."""


class Disputes:
    """Pictures whose votes do not agree: an expert's label goes into GIVEN and wins over the votes."""

    explains = False
    next_step = "curate aggregate"

    def __init__(
        self, pen: Pen, task: Task, facts: Callable[[], Facts], cards: Callable[[], Sequence[str]], by: str, blind: bool
    ) -> None:
        self.pen, self.task, self.facts, self.by, self.blind = pen, task, facts, by, blind
        self._cards = cards
        self.title = "Disputes"

    def cards(self) -> list[str]:
        """The pictures, in order."""
        return list(self._cards())

    def decided(self) -> dict[str, str]:
        """Picture to the expert's class."""
        given = self._given()
        rows = given[(given["task"] == self.task.task) & (given["source"] == EXPERT)]
        return dict(zip(rows["image_id"], rows["label"], strict=True))

    def explanation(self, image_id: str) -> str:
        """An expert's label carries none."""
        return ""

    def votes(self, image_id: str) -> list[Said]:
        """What the workers said of a picture."""
        return said(self.facts(), [image_id])[image_id]

    def decide(self, image_id: str, label: str, text: str = "") -> None:
        """Write an expert's label; an earlier one stays in the log."""
        with self.pen.write("curate adjudicate"):
            before = self._row(self._given(), image_id)
            row = {
                "image_id": image_id, "task": self.task.task, "label": label, "source": EXPERT, "given_by": self.by,
                "given_at": now(), "note": text or None,
            }  # fmt: skip
            self._put(image_id, row)
            crash_point("desk-decided")
            self._log("adjudicate", image_id, label=label, given_at=row["given_at"], before=before)

    def take_back(self) -> str | None:
        """Put back what stood there before this expert's last decision."""
        with self.pen.write("curate adjudicate"):
            for line in self.pen.decisions("adjudicate", self.task.task, self.by):
                image_id = line["image_id"]
                now_there = self._row(self._given(), image_id)
                if now_there is None or str(now_there["given_at"]) != line["given_at"]:
                    continue  # somebody else has decided it since
                self._put(image_id, line["before"])
                self._log("adjudicate undo", image_id, label=line["label"])
                return str(image_id)
        return None

    def _given(self) -> pd.DataFrame:
        return GIVEN.read_if_there(self._path)

    @property
    def _path(self) -> Any:
        return self.pen.workspace.of_task(self.task.task, "given")

    def _mine(self, given: pd.DataFrame, image_id: str) -> pd.Series:
        return (given["image_id"] == image_id) & (given["task"] == self.task.task) & (given["source"] == EXPERT)

    def _row(self, given: pd.DataFrame, image_id: str) -> dict[str, Any] | None:
        found = records(given[self._mine(given, image_id)])
        return found[0] if found else None

    def _put(self, image_id: str, row: dict[str, Any] | None) -> None:
        import pandas as pd

        given = self._given()
        parts = [part.astype(object) for part in (given[~self._mine(given, image_id)], _frame(GIVEN, row)) if len(part)]
        both = pd.concat(parts) if parts else GIVEN.empty()
        GIVEN.write(GIVEN.check(both.sort_values(list(GIVEN.key), ignore_index=True)), self._path)

    def _log(self, command: str, image_id: str, **facts: Any) -> None:
        name = self.task.task
        self.pen.workspace.log(command, outputs=[self._path], task=name, by=self.by, image_id=image_id, **facts)


def _frame(table: Any, row: dict[str, Any] | None) -> pd.DataFrame:
    import pandas as pd

    if row is None:
        frame: pd.DataFrame = table.empty()
        return frame
    times = {name: pd.Timestamp(row[name]) for name in ("given_at",) if name in row}
    made: pd.DataFrame = table.frame([{**row, **times}])
    return made


class GoldToBe:
    """Random pictures that the requester answers: they become gold of one use, which no other use ever shares."""

    explains = True
    blind = False
    title = "Gold"
    next_step = "curate qual create"

    def __init__(
        self, pen: Pen, task: Task, pictures: pd.DataFrame, clusters: pd.DataFrame, asked: set[str],
        count: int, use: str, by: str, seed: int,
    ) -> None:  # fmt: skip
        if count < 1:
            raise UserError(f"--n must be 1 or more, got {count}")
        self.pen, self.task, self.use, self.by = pen, task, use, by
        self.source = f"{by} (gold label)"
        self.pictures = pictures
        self._cards = _draw(self._gold(), pictures, clusters, asked, count, use, self._is_own, seed)
        if not self._cards:
            raise UserError(
                f"task {task.task}: no picture is left to label as gold: all are dropped, near twins, gold, or asked before"
            )

    def cards(self) -> list[str]:
        """The pictures, in order."""
        return self._cards

    def decided(self) -> dict[str, str]:
        """Picture to its known class."""
        gold = self._gold()
        return dict(zip(gold["image_id"], gold["label"], strict=True))

    def explanation(self, image_id: str) -> str:
        """What is shown after a wrong answer in practice."""
        gold = self._gold()
        found = gold.loc[gold["image_id"] == image_id, "explanation"].dropna()
        return str(found.iloc[0]) if len(found) else ""

    def votes(self, image_id: str) -> list[Said]:
        """Nobody has been asked about them."""
        return []

    def decide(self, image_id: str, label: str, text: str = "") -> None:
        """Write a row of GOLD; a picture decided again keeps its use."""
        import pandas as pd

        with self.pen.write("curate gold label"):
            gold = self._all()
            before = self._row(gold, image_id)
            use = before["use"] if before else self.use
            row = pd.DataFrame([{"image_id": image_id, "label": label, "use": use, "explanation": text}])
            here = self.pictures[self.pictures["image_id"] == image_id]
            made = add_gold(row, gold, here, self.task, self.source)
            GOLD.write(made, self._path)
            crash_point("desk-decided")
            now_there = self._row(made, image_id)
            assert now_there is not None
            self._log("gold label", image_id, label=label, use=now_there["use"], before=before)

    def take_back(self) -> str | None:
        """Put back what stood there before the last decision."""
        import pandas as pd

        with self.pen.write("curate gold label"):
            gold = self._all()
            for line in self.pen.decisions("gold label", self.task.task, self.by):
                image_id = line["image_id"]
                now_there = self._row(gold, image_id)
                if image_id not in self._cards or now_there is None or now_there["label"] != line["label"]:
                    continue
                others = gold[~((gold["image_id"] == image_id) & (gold["task"] == self.task.task))]
                parts = [part.astype(object) for part in (others, _frame(GOLD, line["before"])) if len(part)]
                made = pd.concat(parts) if parts else GOLD.empty()
                GOLD.write(GOLD.check(made.sort_values(["task", "image_id"], ignore_index=True)), self._path)
                self._log("gold label undo", image_id, label=line["label"])
                return str(image_id)
        return None

    def _is_own(self, source: str) -> bool:
        return source.endswith("(gold label)")

    @property
    def _path(self) -> Any:
        return self.pen.workspace.of_task(self.task.task, "gold")

    def _all(self) -> pd.DataFrame:
        return GOLD.read_if_there(self._path)

    def _gold(self) -> pd.DataFrame:
        gold = self._all()
        return gold[gold["task"] == self.task.task]

    def _row(self, gold: pd.DataFrame, image_id: str) -> dict[str, Any] | None:
        found = records(gold[(gold["image_id"] == image_id) & (gold["task"] == self.task.task)])
        return found[0] if found else None

    def _log(self, command: str, image_id: str, **facts: Any) -> None:
        name = self.task.task
        self.pen.workspace.log(command, outputs=[self._path], task=name, by=self.by, image_id=image_id, **facts)


def _draw(
    gold: pd.DataFrame, pictures: pd.DataFrame, clusters: pd.DataFrame, asked: set[str],
    count: int, use: str, own: Callable[[str], bool], seed: int,
) -> list[str]:  # fmt: skip
    """The first `count` pictures in an order drawn by the seed, those labeled here before among them.

    One a cluster, none that is dropped, was asked about, or whose cluster holds gold of another use or from elsewhere: a near
    twin gives the answer away.
    """
    mine = gold["source"].map(own) & ((gold["use"] == use) if use else True)
    labeled, other = set(gold.loc[mine, "image_id"]), set(gold.loc[~mine, "image_id"])
    of = dict(zip(clusters["image_id"], clusters["cluster_id"], strict=True))
    taken = {of.get(image_id, image_id) for image_id in other}
    fine = set(pictures.loc[pictures["dropped"].isna(), "image_id"])
    faces = clusters.loc[clusters["representative"].astype(bool), "image_id"] if len(clusters) else pictures["image_id"]
    free = {i for i in faces if i in fine and i not in asked and of.get(i, i) not in taken} | labeled
    return sorted(free, key=lambda image_id: hashlib.sha256(f"{seed}:{image_id}".encode()).digest())[:count]
