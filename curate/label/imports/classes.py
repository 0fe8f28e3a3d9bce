"""Labels of another tool become class keys: by key, by a class's name in any language, or by a map that a person gives."""

from __future__ import annotations

import csv
import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from curate.label.imports.answers import SEVERAL
from curate.label.imports.reading import read_text
from schemas.errors import UserError
from schemas.question import CANNOT_SEE
from schemas.task import Task

MOST_CLASSES = 1000  # more different labels than this is a wrong column


def folded(text: str) -> str:
    """A text without case, accents and what joins words: `Polka-Dots ` and `polka dots` are one."""
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return re.sub(r"[\s_\-/]+", " ", bare.casefold()).strip()


@dataclass(frozen=True)
class Classes:
    """The classes of a task by all their names, and a person's map before them."""

    task: Task
    mapped: Mapping[str, str | None]  # from a map file: label to key, None = no answer
    _names: Mapping[str, str]  # folded name to key

    @classmethod
    def of(cls, task: Task, map_file: Path | None = None) -> Classes:
        """Read the names of a task's classes, and a map file. Raises UserError for a map to a class that is not there."""
        keys: dict[str, set[str]] = {}
        for one in task.classes:
            for name in (one.key, *one.name.values()):
                keys.setdefault(folded(name), set()).add(one.key)
        names = {name: next(iter(found)) for name, found in keys.items() if len(found) == 1}
        names |= {folded(key): key for key in task.keys}  # a key is that class, whatever another one is called
        return cls(task, read_map(map_file, task) if map_file else {}, names)

    def key(self, label: str) -> str | None:
        """The class key of a label; None for one that is not known."""
        if label in self.mapped:
            return self.mapped[label]
        if label in self.task.keys:
            return label
        return self._names.get(folded(label))

    def knows(self, label: str) -> bool:
        """Whether a label is an answer to the task: a class, `cannot_see`, or a label that the map takes for none."""
        return label in self.mapped or label == CANNOT_SEE or self.key(label) is not None

    def check(self, labels: Iterable[str], where: Path) -> None:
        """Raise one clear line when some of the labels are no class: the first ones, their counts, the nearest class."""
        counts = Counter(labels)
        if len(counts) > MOST_CLASSES + len(self.mapped):
            example = min(counts, key=lambda label: (-counts[label], label))
            raise UserError(
                f"{where}: {len(counts)} different labels, for example {_short(example)}; at most {MOST_CLASSES} are classes. "
                "Is it the right column? Name it with --label-column"
            )
        unknown = {label: count for label, count in counts.items() if not self.knows(label) and SEVERAL not in label}
        if not unknown:
            return
        total = sum(unknown.values())
        first = sorted(unknown, key=lambda label: (-unknown[label], label))
        shown = "; ".join(f"{_short(label)} ({unknown[label]}){self._near(label)}" for label in first[:3])
        more = f"; and {len(first) - 3} more" if len(first) > 3 else ""
        raise UserError(
            f"{where}: {total} of {counts.total()} labels are no class of task {self.task.task}: {shown}{more}. Its classes: "
            f"{', '.join(self.task.keys)}. Say what they are with --map FILE (lines of old,new)"
        )

    def _near(self, label: str) -> str:
        near = difflib.get_close_matches(folded(label), list(self._names), 1)
        return f", nearest {self._names[near[0]]}" if near else ""


def _short(label: str) -> str:
    return repr(label if len(label) <= 40 else label[:39] + "…")


def read_map(path: Path, task: Task) -> dict[str, str | None]:
    """Label to class key, from YAML (`Polka dots: dots`) or a CSV of old,new lines; an empty key is no answer."""
    text = read_text(Path(path))
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{path}: is not readable as YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            raise UserError(f"{path}: expected lines like `Polka dots: dots`")
        found = {str(old): str(new) if new not in (None, "") else None for old, new in data.items()}
    else:
        found = _map_of_lines(text, path)
    for old, new in found.items():
        if new is not None and new not in task.keys:
            raise UserError(
                f"{path}: {old!r} becomes {new!r}, which is no class of task {task.task}; its classes: {', '.join(task.keys)}"
            )
    return found


def _map_of_lines(text: str, path: Path) -> dict[str, str | None]:
    from curate.label.imports.reading import delimiter_of

    found: dict[str, str | None] = {}
    for number, line in enumerate(csv.reader(text.splitlines(), delimiter=delimiter_of(text)), start=1):
        values = [value.strip() for value in line]
        if not any(values) or (number == 1 and values[0].lower() in ("old", "from", "label")):
            continue
        if len(values) != 2 or not values[0]:
            raise UserError(f"{path}: line {number}: {','.join(values)!r} is not old,new")
        if found.get(values[0], values[1] or None) != (values[1] or None):
            raise UserError(
                f"{path}: line {number}: {values[0]!r} is mapped twice, to {found[values[0]]} and {values[1]}"
            )
        found[values[0]] = values[1] or None
    return found
