"""When the class list changes: renames and merges are applied to votes, a vote for a class that was split counts no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.files import write_text
from schemas.tables import GIVEN, GOLD, TRUTH
from schemas.task import Task, TaskClass, parse_task


def current_votes(votes: pd.DataFrame, hits: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The votes with `label` as a key of the task's class list of now, and `class_changed` where that is not known.

    A vote was given under the class list of its `taxonomy_version`, else of its HIT's. A vote of which neither is known
    (imported) is changed only where its label is no class of now. Done twice, it changes nothing more.
    """
    label = votes["label"].astype("str")
    unsure = pd.Series(False, index=votes.index)
    if not task.changes:
        return votes.assign(class_changed=unsure, taxonomy_version=task.taxonomy_version)
    of_hit = hits.drop_duplicates("hit_id").set_index("hit_id")["taxonomy_version"]
    version = votes["taxonomy_version"].astype("Float64").fillna(votes["hit_id"].map(of_hit).astype("Float64"))
    guessed = version.isna() & ~label.isin(task.keys)
    version = version.fillna(0).where(guessed | version.notna(), task.taxonomy_version)
    for change in task.changes:
        before = (version < change.version) & ~unsure
        one = {old: new[0] for old, new in change.became.items() if len(new) == 1}
        many = [old for old, new in change.became.items() if len(new) != 1]
        unsure |= before & label.isin(many)
        label = label.mask(before & label.isin(list(one)), label.map(one))
    kept = votes["taxonomy_version"].astype("Int32")
    return votes.assign(
        label=votes["label"].where(unsure, label),
        class_changed=unsure,
        taxonomy_version=kept.where(unsure, task.taxonomy_version),
    )


def read_map(path: Path) -> dict[str, list[str]]:
    """What became of classes, from YAML (`polka: dots`, `checks: [gingham, tartan]`, `gone: []`) or a CSV of old,new lines."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; write lines like `polka: dots` or `checks: [gingham, tartan]`"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason})") from error
    if path.suffix.lower() == ".csv":
        return _from_csv(text, path)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or not data:
        raise UserError(f"{path}: expected lines like `polka: dots` or `checks: [gingham, tartan]`")
    return {
        str(old): [str(key) for key in (new if isinstance(new, list) else [new] if new else [])]
        for old, new in data.items()
    }


def _from_csv(text: str, path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        parts = [part.strip() for part in line.split(",")]
        if not line.strip() or (number == 1 and parts == ["old", "new"]):
            continue
        if len(parts) != 2 or not parts[0]:
            raise UserError(f"{path}: line {number}: {line!r} is not old,new")
        found.setdefault(parts[0], []).extend(parts[1:] if parts[1] else [])
    return found


def migrate(task: Task, became: Mapping[str, Sequence[str]]) -> Task:
    """The task with its class list changed and one taxonomy_version more; a renamed class keeps names, definition and hotkey.

    Raises UserError for a key that is no class, and TaskError where the new list breaks a rule.
    """
    stray = [old for old in became if old not in task.keys]
    if stray:
        raise UserError(f"task {task.task}: {stray[0]!r} is no class of it; its classes: {', '.join(task.keys)}")
    same = [old for old, new in became.items() if list(new) == [old]]
    if same:
        raise UserError(f"task {task.task}: {same[0]!r} would become itself; leave classes that stay out of the map")
    classes: dict[str, dict[str, Any]] = {}
    stays = {c.key: c for c in task.classes if c.key not in became}
    for old in task.classes:
        for key in became.get(old.key, [old.key]):
            new = old.model_copy(update={"key": key}) if len(became.get(old.key, "1")) == 1 else None
            classes.setdefault(key, _as_data(stays.get(key, new), key))
    version = task.taxonomy_version + 1
    change = {"version": version, "became": {old: list(new) for old, new in became.items()}}
    data = task.model_dump(mode="json", exclude_none=True)
    data |= {
        "taxonomy_version": version,
        "classes": list(classes.values()),
        "changes": [*data["changes"], change],
    }
    return parse_task(data, f"task {task.task}")


def _as_data(known: TaskClass | None, key: str) -> dict[str, Any]:
    """A class as a task file holds it; one that is new is named by its key."""
    if known:
        return known.model_dump(mode="json", exclude_none=True)
    return {"key": key, "name": {"en": key.replace("-", " ").replace("_", " ").capitalize()}}


@dataclass(frozen=True)
class Migrated:
    """A task whose class list was changed."""

    task: Task
    path: Path  # the task file
    kept: Path  # the task file as it was
    lost: dict[str, int]  # table to rows that went, because their class was split or is gone

    def lines(self) -> list[str]:
        """What happened, and what comes next."""
        keys = self.task.keys
        said = [
            f"task {self.task.task}: taxonomy_version {self.task.taxonomy_version}, {len(keys)} classes: {', '.join(keys)}"
        ]
        said += [f"{n} rows of {name} have no class any more and were removed" for name, n in self.lost.items() if n]
        said.append(f"{self.path} rewritten (as it was: {self.kept}); new classes may want names and definitions there")
        said.append("next: `curate aggregate` applies it to all votes; pictures of a split class are asked again")
        return said


def migrate_workspace(workspace: Workspace, task: Task, became: Mapping[str, Sequence[str]]) -> Migrated:
    """Change the class list of a workspace's task: the task file, and the labels of GOLD, TRUTH and GIVEN.

    Votes stay as they were given; `curate aggregate` reads them in the new classes. The task file is written last, so that a
    run that was stopped can be run again.
    """
    new = migrate(task, became)
    lost = {}
    for table in (GOLD, TRUTH, GIVEN):
        path = workspace.of_task(task.task, table.name)
        if not path.exists():
            continue
        rows = table.read(path)
        done = rows["label"].isin(new.keys).all()  # by a run that was stopped before its last step
        kept, lost[table.name] = (rows, 0) if done else renamed(rows, became)
        table.write(kept, path)
    path = workspace.root / "tasks" / f"{task.task}.yaml"
    before = workspace.root / task.task / f"task-{task.taxonomy_version}.yaml"
    write_text(before, path.read_text(encoding="utf-8"))
    write_text(path, new.dump())
    return Migrated(new, path, before, lost)


def renamed(rows: pd.DataFrame, became: Mapping[str, Sequence[str]]) -> tuple[pd.DataFrame, int]:
    """Rows of GOLD, TRUTH or GIVEN with their labels renamed; how many went because their class was split or is gone."""
    lost = rows["label"].isin([old for old, new in became.items() if len(new) != 1])
    one = {old: new[0] for old, new in became.items() if len(new) == 1}
    kept = rows[~lost]
    return kept.assign(label=kept["label"].map(lambda label: one.get(label, label))), int(lost.sum())
