"""Small workspaces in which people have answered, made from short strings."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from curate.label.count import Filters
from curate.label.tables import aggregate_workspace, rule_of
from curate.workspace import Workspace
from schemas.tables import CLUSTERS, GIVEN, HITS, LABELS, PICTURES, VOTES

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def pictures(workspace: Workspace, *ids: str, same: tuple[str, ...] = (), dropped: tuple[str, ...] = ()) -> None:
    """PICTURES; those of `same` have the same pixels."""
    PICTURES.write(
        PICTURES.frame(
            {
                "image_id": i,
                "blob": f"blobs/{i}.jpg",
                "bytes": 1,
                "pixels_sha256": "pixels" if i in same else None,
                "dropped": "same pixels as x" if i in dropped else None,
            }
            for i in ids
        ),
        workspace.table("pictures"),
    )


def votes(workspace: Workspace, **answers: str) -> None:
    """VOTES and HITS from `picture="dots plain"`; `w7:dots` names the worker."""
    rows = []
    for image_id, said in answers.items():
        for number, word in enumerate(said.split()):
            worker, _, label = word.rpartition(":")
            rows.append((image_id, worker or f"w{number}", label))
    VOTES.write(
        VOTES.frame(
            {
                "assignment_id": f"{i}-{w}-{n}", "image_id": i, "task": "apron", "hit_id": f"hit-{i}", "worker_id": w,
                "round": 1, "endpoint": "e", "assignment_status": "Approved", "source": "crowd", "answer": label,
                "label": label, "submitted_at": NOON,
            }
            for n, (i, w, label) in enumerate(rows)
        ),
        workspace.of_task("apron", "votes"),
    )  # fmt: skip
    HITS.write(
        HITS.frame(
            {
                "hit_id": f"hit-{i}", "image_id": i, "task": "apron", "position": 0, "round": 1, "chosen_by": "random",
                "reward_usd": 0.1, "max_assignments": 3, "endpoint": "e", "question_version": 1, "taxonomy_version": 1,
                "created_at": NOON,
            }
            for i in answers
        ),
        workspace.of_task("apron", "hits"),
    )  # fmt: skip


def give(workspace: Workspace, **labels: str) -> None:
    """GIVEN from `picture="expert:dots"`."""
    rows = [(i, *said.split(":")) for i, said in labels.items()]
    GIVEN.write(
        GIVEN.frame(
            {
                "image_id": i,
                "task": "apron",
                "label": label,
                "source": source,
                "given_by": "me",
                "given_at": NOON,
                "chosen_by": "random" if source == "import" else None,
            }
            for i, source, label in rows
        ),
        workspace.of_task("apron", "given"),
    )


def clusters(workspace: Workspace, **members: str) -> None:
    CLUSTERS.write(
        CLUSTERS.frame(
            {"image_id": i, "cluster_id": name, "representative": n == 0, "kind": "verified", "distance": 0}
            for name, ids in members.items()
            for n, i in enumerate(ids.split())
        ),
        workspace.table("clusters"),
    )


def labels_of(workspace: Workspace, inherit: bool = False) -> dict[str, str]:
    """Each picture's label and where it comes from, or why it has none."""
    task = workspace.task("apron")
    done = aggregate_workspace(workspace, task, rule_of(task), Filters(), inherit)
    LABELS.check(done.labels)
    VOTES.check(done.votes)
    assert done.labels.image_id.is_unique
    return {
        row.image_id: f"{row.label} {row.source}" if pd.notna(row.label) else str(row.dropped)
        for row in done.labels.itertuples()
    }
