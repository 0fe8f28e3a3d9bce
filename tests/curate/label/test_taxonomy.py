"""A class list that changes: votes follow renames and merges, a split class is asked again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from answered import NOON, labels_of, pictures, votes

from curate.label.taxonomy import current_votes, migrate, read_map
from curate.tasks import make_task
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import GOLD, HITS, LABELS, VOTES

TASK = make_task("pattern", ["dots", "polka", "checks", "plain"])


def test_a_renamed_class_keeps_its_name_a_merged_one_goes_a_split_one_becomes_several() -> None:
    new = migrate(TASK, {"polka": ["dots"], "checks": ["gingham", "tartan"], "plain": ["solid"]})
    assert new.keys == ["dots", "gingham", "tartan", "solid"]
    assert new.taxonomy_version == 2
    assert new.classes[3].name["en"] == "Plain"
    assert new.classes[1].name["en"] == "Gingham"
    assert migrate(new, {"solid": ["plain"]}).taxonomy_version == 3


def test_two_classes_may_swap_their_keys() -> None:
    new = migrate(TASK, {"dots": ["polka"], "polka": ["dots"]})
    assert {c.key: c.name["en"] for c in new.classes if c.key in ("dots", "polka")} == {
        "polka": "Dots",
        "dots": "Polka",
    }


@pytest.mark.parametrize(
    ("became", "said"),
    [
        ({"zebra": ["dots"]}, "'zebra' is no class of it; its classes: dots, polka, checks, plain"),
        ({"dots": ["dots"]}, "'dots' would become itself"),
        ({"dots": ["Dots!"]}, "Dots!"),
        ({"dots": [], "polka": [], "checks": []}, "classes"),
    ],
)
def test_a_map_that_breaks_the_task_is_refused(became: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        migrate(TASK, became)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.yaml", "polka: dots\nchecks: [gingham, tartan]\nplain: []\n"),
        ("map.csv", "old,new\npolka,dots\nchecks,gingham\nchecks,tartan\nplain,\n"),
    ],
)
def test_a_map_is_read_from_yaml_or_csv(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_map(path) == {"polka": ["dots"], "checks": ["gingham", "tartan"], "plain": []}


def frame(*rows: tuple[str, str, int | None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """VOTES and HITS from (label, HIT, taxonomy_version of that HIT; None = no HIT of ours)."""
    made = pd.DataFrame(
        {
            "hit_id": [hit for _, hit, _ in rows],
            "label": [label for label, _, _ in rows],
            "taxonomy_version": pd.array([pd.NA] * len(rows), dtype="Int32"),
        }
    )
    hits = pd.DataFrame([(hit, version) for _, hit, version in rows if version], columns=["hit_id", "taxonomy_version"])
    return made, hits


def test_votes_follow_their_class_through_every_change_since_they_were_given() -> None:
    task = migrate(migrate(TASK, {"polka": ["dots"], "checks": ["gingham", "tartan"]}), {"dots": ["polka"]})
    rows, hits = frame(
        ("polka", "h1", 1),
        ("checks", "h1", 1),
        ("plain", "h1", 1),
        ("dots", "h2", 2),
        ("polka", "h3", 3),
        ("dots", "x", None),
    )
    now = current_votes(rows, hits, task)
    assert now.label.tolist() == ["polka", "checks", "plain", "polka", "polka", "polka"]
    assert now.class_changed.tolist() == [False, True, False, False, False, False]


def test_doing_it_twice_changes_nothing_more() -> None:
    task = migrate(TASK, {"dots": ["polka"], "polka": ["dots"], "checks": []})
    rows, hits = frame(("polka", "h1", 1), ("dots", "h1", 1), ("checks", "h1", 1))
    once = current_votes(rows, hits, task)
    twice = current_votes(once, hits, task)
    assert once.label.tolist() == ["dots", "polka", "checks"]
    pd.testing.assert_frame_equal(once, twice)


def test_the_command_changes_the_task_and_gold_and_the_next_labels(
    workspace: Workspace, tmp_path: Path, curate: Callable[..., tuple[int, str, str]]
) -> None:
    pictures(workspace, "a", "b", "g", "h")
    votes(workspace, a="dots dots stars", b="checks checks checks")
    gold = [("g", "dots"), ("h", "checks")]
    GOLD.write(
        GOLD.frame({"image_id": i, "task": "apron", "label": key, "use": "hidden", "source": "me"} for i, key in gold),
        workspace.of_task("apron", "gold"),
    )
    change = tmp_path / "map.yaml"
    change.write_text("dots: spots\nstars: spots\nchecks: [gingham, tartan]\n")
    code, said, _ = curate("task", "migrate", change, "--workspace", workspace.root)
    assert code == 0
    assert "taxonomy_version 2" in said
    assert "1 rows of gold have no class any more" in said
    assert GOLD.read(workspace.of_task("apron", "gold")).label.tolist() == ["spots"]
    assert "gingham" in workspace.task("apron").keys
    assert labels_of(workspace) == {"a": "spots crowd", "b": "insufficient (class changed)"}
    assert curate("aggregate", "--workspace", workspace.root)[0] == 0
    kept = VOTES.read(workspace.of_task("apron", "votes"))
    assert kept.answer.tolist()[:3] == ["dots", "dots", "stars"]  # as the worker gave it
    assert kept.dropped.tolist()[3:] == ["class changed"] * 3
    assert labels_of(workspace) == {"a": "spots crowd", "b": "insufficient (class changed)"}
    assert len(LABELS.read(workspace.of_task("apron", "labels"))) == 2
    assert HITS.read(workspace.of_task("apron", "hits")).created_at.tolist() == [pd.Timestamp(NOON)] * 2
