"""What a workspace holds, what is open, what was spent, and what comes next, in a screen of text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from curate.storage_move import left_places
from curate.workspace import Workspace
from schemas.manifest import read_manifest
from schemas.tables import APPEARANCES, CLUSTERS, FAILURES, GOLD, HITS, LABELS, LISTINGS, PICTURES, SELECTION, VOTES

if TYPE_CHECKING:
    import pandas as pd


def describe(workspace: Workspace) -> str:
    """The state of the workspace as text: pictures, then each task, then the next step."""
    lines = [f"{workspace.config.name}  {workspace.root}", *_pictures(workspace)]
    names = workspace.tasks()
    if not names:
        lines.append("no task yet; next: curate task add")
    for name in names:
        lines += ["", *_task(workspace, name)]
    return "\n".join(lines)


def _pictures(workspace: Workspace) -> list[str]:
    """Lines about what all tasks share."""
    listings = LISTINGS.read_if_there(workspace.table("listings"))
    pictures = PICTURES.read_if_there(workspace.table("pictures"))
    appearances = APPEARANCES.read_if_there(workspace.table("appearances"))
    failures = FAILURES.read_if_there(workspace.table("failures"))
    lines = [_line("listings", f"{_kept(listings)} on {listings['marketplace'].nunique()} marketplaces")]
    shown = int(appearances["dropped"].isna().sum())
    lines.append(_line("pictures", f"{_kept(pictures)}; shown {shown:,} times"))
    lines += _kept_where(workspace, pictures)
    lines += _crawl(workspace)
    if len(failures):
        lines.append(_line("failed", f"{len(failures):,} addresses ({_reasons(failures)})"))
    if workspace.table("clusters").exists():
        clusters = CLUSTERS.read(workspace.table("clusters"))
        twins = int((~clusters["representative"]).sum())
        lines.append(
            _line("clusters", f"{clusters['cluster_id'].nunique():,}; {twins:,} pictures are near twins of another")
        )
    return lines


def _kept_where(workspace: Workspace, pictures: pd.DataFrame) -> list[str]:
    """Where the originals are, and what a move that was stopped left elsewhere."""
    storage = workspace.config.storage
    said = [f"in {workspace.storage.where}" if storage else f"in {workspace.relative(workspace.blobs)}/"]
    remote = pictures["blob"].str.startswith("s3://").astype(bool)
    own = pictures["blob"].str.startswith(f"{storage}/").astype(bool) if storage else ~remote
    if elsewhere := int((~own).sum()):
        said.append(f"{elsewhere:,} elsewhere: `curate storage move {storage or '.'}` brings them")
    if left := [place for place in left_places(workspace) if place != workspace.storage.where]:
        said.append(f"old copies in {', '.join(left)}")
    return [_line("originals", "; ".join(said))]


def _crawl(workspace: Workspace) -> list[str]:
    """What the crawl has fetched and what waits, by its own memory: so it is right after a kill too."""
    if not (workspace.root / "project.db").exists():
        return []
    with contextlib.closing(workspace.project()) as connection:
        rows = connection.execute(
            "SELECT kind, state, count(*) FROM frontier WHERE kind IN ('page', 'product', 'picture') GROUP BY kind, state"
        ).fetchall()  # imports keep their own kinds there
    if not rows:
        return []
    fetched = {"product": 0, "picture": 0, "page": 0}
    states = dict.fromkeys(("pending", "stale", "failed"), 0)
    for kind, state, count in rows:
        fetched[kind] += count if state in ("done", "stale") else 0
        states[state] = states.get(state, 0) + count
    said = "{product:,} product pages, {picture:,} pictures and {page:,} other pages fetched".format(**fetched)
    waiting = {"wait": states["pending"], "to look at again": states["stale"], "failed": states["failed"]}
    return [_line("crawl", "; ".join([said, *(f"{count:,} {name}" for name, count in waiting.items() if count)]))]


def _task(workspace: Workspace, name: str) -> list[str]:
    """Lines about one task: gold, HITs, votes, money, labels, manifest, and what comes next."""
    task = workspace.task(name)
    lines = [
        f"{name}: {len(task.classes)} classes, {task.crowd.assignments.first} answers a picture, {task.crowd.agree} must agree"
    ]
    gold = GOLD.read_if_there(workspace.of_task(name, "gold"))
    if len(gold):
        uses = ", ".join(f"{count} {use}" for use, count in gold["use"].value_counts().items())
        lines.append(_line("gold", uses))
    hits = HITS.read_if_there(workspace.of_task(name, "hits"))
    votes = VOTES.read_if_there(workspace.of_task(name, "votes"))
    if len(hits):
        wanted = int(hits.drop_duplicates("hit_id")["max_assignments"].sum())
        came = votes.loc[votes["source"] != "imported", "assignment_id"].nunique()
        rounds = f" in {hits['round'].max()} rounds" if hits["round"].max() > 1 else ""
        lines.append(
            _line("HITs", f"{hits['hit_id'].nunique():,}{rounds}; {came:,} of {wanted:,} assignments collected")
        )
    if len(votes):
        workers = votes["worker_id"].nunique()
        lines.append(
            _line("votes", f"{_kept(votes)} from {workers} workers ({', '.join(sorted(votes['source'].unique()))})")
        )
    lines += _money(workspace, name, task.crowd.budget_usd)
    if workspace.of_task(name, "labels").exists():
        labels = LABELS.read(workspace.of_task(name, "labels"))
        done = int(labels["label"].notna().sum())
        lines.append(
            _line("labels", f"{done:,} of {len(labels):,} pictures asked about ({_reasons(labels) or 'none without'})")
        )
    if workspace.manifest(name).exists():
        manifest = read_manifest(workspace.manifest(name))
        splits = manifest.rows["split"].value_counts()
        shown = ", ".join(f"{count:,} {split}" for split, count in splits.items()) or "not split yet"
        lines.append(_line("manifest", f"{workspace.manifest(name).name} ({manifest.manifest_id[:12]}): {shown}"))
    lines.append(_line("next", _next(workspace, name)))
    return lines


def _money(workspace: Workspace, task: str, budget_usd: float) -> list[str]:
    """What was reserved and earned, against the budget."""
    if not (workspace.root / "project.db").exists():
        return []
    connection = workspace.project()
    rows = connection.execute(
        "SELECT kind, sum(micro_usd) FROM ledger WHERE task = ? GROUP BY kind", (task,)
    ).fetchall()
    connection.close()
    sums = {kind: micro / 1e6 for kind, micro in rows}
    if not sums:
        return []
    open_usd = sums.get("reserved", 0) + sums.get("released", 0)
    spent = sum(sums.get(kind, 0) for kind in ("earned", "bonus", "fee"))
    owed = sums.get("earned", 0) + sums.get("bonus", 0) - sums.get("paid", 0)
    return [
        _line(
            "money",
            f"${spent:,.2f} spent, ${open_usd:,.2f} reserved, of ${budget_usd:,.2f}; ${owed:,.2f} owed to workers",
        )
    ]


def _next(workspace: Workspace, task: str) -> str:
    """The first command whose result is not there yet; votes and labels that were imported need no crowd."""

    def voted() -> bool:
        return any(workspace.of_task(task, name).exists() for name in ("votes", "given"))

    steps: list[tuple[Callable[[], bool], str]] = [
        (lambda: workspace.table("pictures").exists(), "curate scrape URL, or curate import folder DIR"),
        (lambda: _checked(workspace.table("pictures")), "curate check"),
        (lambda: workspace.table("clusters").exists(), "curate dedup"),
        (
            lambda: voted() or workspace.of_task(task, "gold").exists(),
            "curate gold import FILE (pictures whose answer you know)",
        ),
        (
            lambda: voted() or workspace.of_task(task, "hits").exists(),
            "curate crowd serve; curate qual create; curate hits create --images N",
        ),
        (voted, "curate hits collect, once people have answered"),
        (lambda: _posted(workspace, task), "curate hits create --selection"),
        (lambda: workspace.of_task(task, "labels").exists(), "curate aggregate"),
        (lambda: workspace.of_task(task, "splits").exists(), "curate split"),
    ]
    manifest = workspace.relative(workspace.manifest(task))
    return next((say for done, say in steps if not done()), f"train semivit --manifest {manifest}; curate report")


def _posted(workspace: Workspace, task: str) -> bool:
    """Whether the selection, where there is one, has been asked: its pictures stand in one round, for its reasons."""
    path = workspace.of_task(task, "selection")
    if not path.exists():
        return True
    wanted = SELECTION.read(path)
    hits = HITS.read_if_there(workspace.of_task(task, "hits")).merge(wanted[["image_id", "chosen_by"]])
    return bool((hits.groupby("round")["image_id"].nunique() == len(wanted)).any())


def _checked(path: Path) -> bool:
    pictures = PICTURES.read(path)
    return bool((pictures["format"].notna() | pictures["dropped"].notna()).any())


def _kept(frame: pd.DataFrame) -> str:
    """Rows that count, and the reasons of those that do not."""
    dropped = int(frame["dropped"].notna().sum())
    if not dropped:
        return f"{len(frame):,}"
    return f"{len(frame):,}, {len(frame) - dropped:,} count ({_reasons(frame)})"


def _reasons(frame: pd.DataFrame) -> str:
    """The reasons of rows that do not count, most frequent first; details after a colon or an id are left out."""
    short = frame["dropped"].dropna().str.replace(r"[:(].*|[0-9a-f]{16,}.*", "", regex=True).str.strip()
    counts = short.value_counts()
    shown = [f"{count:,} {reason}" for reason, count in counts.head(5).items()]
    return ", ".join(shown + (["…"] if len(counts) > 5 else []))


def _line(name: str, text: str) -> str:
    return f"  {name:<10}{text}"
