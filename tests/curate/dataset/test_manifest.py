from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from worlds import image

from curate.cli import app
from curate.dataset.manifest import build_manifest, pseudonym, rebuild_manifest
from curate.workspace import Workspace
from schemas.command import exit_code
from schemas.errors import TableError
from schemas.manifest import read_manifest
from schemas.tables import APPEARANCES, CLUSTERS, HITS, LABELS, MANIFEST, PICTURES, SPLITS, VOTES

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEYS = ("dots", "plain")


def collect(workspace: Workspace, pictures: int = 60, disagree: int = 9) -> None:
    """A workspace whose pictures were all asked about: dots and plain in turn, every `disagree`-th without agreement."""
    numbers = range(pictures)
    hits, votes = [], []
    for n in numbers:
        hit = {"hit_id": f"h{n}", "image_id": image(n), "task": "apron", "round": 1, "endpoint": "e"}
        more = {"position": 0, "chosen_by": "random", "reward_usd": 0.1, "max_assignments": 3, "created_at": NOON}
        hits.append({**hit, **more, "question_version": 1, "taxonomy_version": 1})
        said = ("dots", "plain", "other") if n % disagree == 0 else (KEYS[n % 2],) * 3
        for worker, label in enumerate(said):
            vote = {"assignment_id": f"a{n}-{worker}", "worker_id": f"A{worker}", "assignment_status": "Submitted"}
            rest = {"source": "crowd", "answer": label, "label": label, "submitted_at": NOON}
            votes.append({**hit, **vote, **rest})
    write = {
        "pictures": [
            {"image_id": image(n), "blob": f"blobs/{n}.jpg", "bytes": 1, "width_px": 300, "height_px": 200}
            for n in numbers
        ],
        "appearances": [
            {"image_id": image(n), "marketplace": "mx", "listing_id": str(n), "position": 0, "first_seen_at": NOON}
            for n in numbers
        ],
        "clusters": [
            {"image_id": image(n), "cluster_id": image(n), "representative": True, "kind": "single", "distance": 0}
            for n in numbers
        ],
    }
    for table in (PICTURES, APPEARANCES, CLUSTERS):
        table.write(table.frame(write[table.name]), workspace.table(table.name))
    HITS.write(HITS.frame(hits), workspace.of_task("apron", "hits"))
    VOTES.write(VOTES.frame(votes), workspace.of_task("apron", "votes"))


@pytest.fixture
def curate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `curate …` in this process, which must go well; returns what it said."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments)])
        assert exit_code(app, "curate") == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_votes_become_a_manifest_that_train_can_read(workspace: Workspace, curate: Callable[..., str]) -> None:
    collect(workspace)
    said = curate("aggregate", "-w", workspace.root)
    assert "53 of 60 pictures labeled (88.3 %); 7 no_agreement" in said
    assert "180 of 180 votes counted" in said
    said = curate("split", "-w", workspace.root)
    assert "dots" in said
    manifest = read_manifest(workspace.manifest("apron"))
    assert manifest.rows.split.value_counts().to_dict() == {"train": 43, "unlabeled": 7, "val": 6, "test": 4}
    assert manifest.classes == workspace.task().keys
    assert manifest.info["made_by"] == "curate split"
    assert manifest.info["counts"]["labeled"] == 53
    assert manifest.picture(manifest.rows.path[0]).parent == workspace.root / "blobs"
    first = manifest.rows[manifest.rows.label.notna()].iloc[0]
    assert [vote["label"] for vote in first.votes] == [first.label] * 3
    assert first.votes[0]["pseudonym"].startswith("w")
    assert sum(first.label_probs) == 1


def test_each_build_is_kept_and_knows_its_parent(workspace: Workspace, curate: Callable[..., str]) -> None:
    collect(workspace)
    curate("aggregate", "-w", workspace.root)
    curate("split", "-w", workspace.root)
    one, two = (read_manifest(path) for path in workspace.manifests("apron"))
    newest = read_manifest(workspace.manifest("apron"))
    assert (one.parent, two.parent) == (None, one.manifest_id)
    assert newest.manifest_id == two.manifest_id


def test_unchanged_content_makes_no_new_number(workspace: Workspace, curate: Callable[..., str]) -> None:
    collect(workspace)
    for command in ("aggregate", "split", "aggregate", "split"):
        said = curate(command, "-w", workspace.root)
    assert "(unchanged)" in said
    assert len(workspace.manifests("apron")) == 2


def test_aggregating_again_keeps_the_split(workspace: Workspace, curate: Callable[..., str]) -> None:
    collect(workspace)
    curate("aggregate", "-w", workspace.root)
    curate("split", "-w", workspace.root)
    before = read_manifest(workspace.manifest("apron")).rows.set_index("image_id")
    path = workspace.of_task("apron", "votes")
    votes = VOTES.read(path)
    tested = before.index[before.split == "test"][0]
    trained = before.index[before.split == "train"][0]
    gone = votes.image_id.isin([tested, trained])
    VOTES.write(votes.assign(assignment_status=votes.assignment_status.mask(gone, "Rejected")), path)
    curate("aggregate", "-w", workspace.root)
    after = read_manifest(workspace.manifest("apron")).rows.set_index("image_id")
    assert (after.split[tested], after.split_reason[tested]) == ("out", "label withdrawn")
    assert after.split[trained] == "unlabeled"
    rest = before.index.difference([tested, trained])
    assert after.split[rest].equals(before.split[rest])


def test_a_build_that_was_killed_between_its_two_files_is_finished(
    workspace: Workspace, curate: Callable[..., str]
) -> None:
    collect(workspace)
    curate("aggregate", "-w", workspace.root)
    workspace.manifest("apron").unlink()
    curate("aggregate", "-w", workspace.root)
    assert read_manifest(workspace.manifest("apron")).path.exists()
    assert len(workspace.manifests("apron")) == 1


def test_the_first_marketplace_is_named_and_all_are_listed() -> None:
    pictures = PICTURES.frame([{"image_id": "a", "blob": "b", "bytes": 1}])
    seen = [("mx", NOON + timedelta(days=1)), ("us", NOON), ("br", NOON + timedelta(days=2))]
    appearances = APPEARANCES.frame(
        {"image_id": "a", "marketplace": m, "listing_id": m.upper(), "position": 0, "first_seen_at": at}
        for m, at in seen
    )
    empty = CLUSTERS.empty(), LABELS.empty(), SPLITS.empty(), VOTES.empty()
    row = build_manifest(pictures, appearances, *empty, task="t").iloc[0]
    assert (row.marketplace, row.listing_id, list(row.marketplaces)) == ("us", "US", ["br", "mx", "us"])
    assert pd.isna(row.split)


def test_a_worker_has_another_name_in_every_task() -> None:
    assert pseudonym("A1", "apron") == pseudonym("A1", "apron")
    assert pseudonym("A1", "apron") != pseudonym("A1", "vest")
    assert "A1" not in pseudonym("A1", "apron")


def test_without_pictures_there_is_no_manifest(workspace: Workspace) -> None:
    with pytest.raises(TableError, match=r"no such file. Make it with `curate scrape`"):
        rebuild_manifest(workspace, workspace.task(), "curate split")


@pytest.mark.parametrize("name", ["votes", "labels", "splits", "hits"])
def test_any_table_can_be_shown(workspace: Workspace, curate: Callable[..., str], name: str) -> None:
    collect(workspace)
    curate("aggregate", "-w", workspace.root)
    curate("split", "-w", workspace.root)
    said = curate("show", workspace.of_task("apron", name))
    assert f"{name}, " in said
    assert "sha256 of the original bytes" in said


def test_a_manifest_is_shown_by_split_class_and_marketplace(workspace: Workspace, curate: Callable[..., str]) -> None:
    collect(workspace)
    curate("aggregate", "-w", workspace.root)
    curate("split", "-w", workspace.root)
    said = curate("show", workspace.manifest("apron"))
    for word in ("train", "test", "dots", "(no label)", "marketplace", "mx"):
        assert word in said


def test_a_table_of_somebody_else_is_shown_too(workspace: Workspace, curate: Callable[..., str]) -> None:
    path = workspace.root / "theirs.parquet"
    pd.DataFrame({"x": [1, 2], "dropped": ["blurred", None]}).to_parquet(path)
    said = curate("show", path)
    assert "a table of somebody else, 2 rows" in said
    assert "dropped: 1 blurred" in said
    assert MANIFEST.name not in said
