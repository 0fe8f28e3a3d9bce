"""What votes and labels share on the way in: answers to classes, references to pictures of the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.label.imports.classes import Classes
from curate.label.imports.pictures import Matches, Pictures
from curate.label.imports.reading import Reading, listing
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, PICTURES


def pictures_of(workspace: Workspace) -> Pictures:
    """The pictures of a workspace by all their names. Raises UserError when there are none yet."""
    pictures = PICTURES.read(workspace.table("pictures"), ["image_id", "blob"])
    if pictures.empty:
        raise UserError(
            f"{workspace.table('pictures')}: holds no pictures; take them in with `curate import folder` or `curate scrape`"
        )
    return Pictures(pictures, APPEARANCES.read_if_there(workspace.table("appearances")))


@dataclass(frozen=True)
class Matched:
    """The answers about pictures of this workspace, `image_id` filled in, and what became of the references."""

    answers: pd.DataFrame
    matches: Matches
    unknown: int  # answers about pictures that are not here
    ambiguous: int  # answers about a name that several pictures have

    def said(self) -> list[str]:
        """Lines on what was matched by its file name alone, and on what was left out."""
        lines = []
        if self.matches.by_name:
            first = sorted(self.matches.by_name)[0]
            lines.append(
                f"{len(self.matches.by_name)} pictures are told by their file name alone, e.g. {first} is "
                f"{self.matches.by_name[first][:12]}…"
            )
        for count, names, why in (
            (self.unknown, self.matches.unknown, "on {} pictures that are not in this workspace"),
            (self.ambiguous, self.matches.ambiguous, "on {} names that several pictures have"),
        ):
            if names:
                lines.append(f"left out: {count} {why.format(len(names))}: {listing(sorted(names), 5)}")
        return lines


def match(reading: Reading, pictures: Pictures) -> Matched:
    """Find the picture of each answer. Raises UserError for an answer without a picture, and when none is found."""
    answers = reading.answers
    none = answers["picture"].isna()
    if none.any():
        raise UserError(_missing(reading, "picture", none))
    references = answers["picture"].astype("str")
    matches = pictures.match(references.unique())
    image_id = references.map(matches.found)
    if image_id.isna().all():
        wrong = sorted([*matches.unknown, *matches.ambiguous])
        shared = f" ({len(matches.ambiguous)} names are shared by several)" if matches.ambiguous else ""
        raise UserError(
            f"{reading.path}: none of its {len(wrong)} pictures is in this workspace{shared}: first {wrong[0]}, while here is e.g. "
            f"{pictures.example()}. Take the pictures in first (`curate import folder DIR` or `curate scrape URL`), or name "
            "their column with --image-column"
        )
    kept = answers.assign(image_id=image_id)[image_id.notna()]
    unclear = references.isin(matches.ambiguous)
    return Matched(kept, matches, int((image_id.isna() & ~unclear).sum()), int(unclear.sum()))


def to_keys(reading: Reading, classes: Classes, keep_unknown: bool = False) -> None:
    """Put the class key of each answer into a column `label`; missing for what is no class.

    Raises UserError that names the unknown ones, unless they are kept as votes without a label.
    """
    said = reading.answers["answer"].dropna().astype("str")
    if not keep_unknown:
        classes.check(said, reading.path)
    keys = {answer: classes.key(answer) for answer in said.unique()}
    reading.answers["label"] = reading.answers["answer"].map(lambda answer: keys.get(answer) if answer else None)


def check_workers(reading: Reading) -> None:
    """Raise one clear line when answers do not say who gave them: how many, and where they stand."""
    none = reading.answers["worker"].isna()
    if none.any():
        raise UserError(_missing(reading, "worker", none))


def _missing(reading: Reading, what: str, none: pd.Series) -> str:
    where = listing(reading.answers.loc[none, "row"], 5)
    if none.all():
        hint = "name its column with --image-column" if what == "picture" else "finished labels: `curate import labels`"
    else:
        hint = "fill it in, or delete these rows"
    return f"{reading.path}: the {what} is missing in {int(none.sum())} of {len(none)} answers ({where}); {hint}"


def stem(path: Path) -> str:
    """What a file is called in a table: its name, without the folders that only this machine has."""
    return path.name or str(path)
