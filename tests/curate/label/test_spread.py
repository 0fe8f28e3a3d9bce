"""Labels that do not come from counting: experts', imported ones, those of exact copies and of near twins."""

from __future__ import annotations

import pytest
from answered import NOON, clusters, give, labels_of, pictures, votes

from curate.label.count import Filters
from curate.label.spread import copies
from curate.label.tables import aggregate_workspace, rule_of
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import EXCLUSIONS, PICTURES, VOTES


def test_an_experts_label_wins_over_votes_and_an_imported_one_only_fills_gaps(workspace: Workspace) -> None:
    pictures(workspace, "a", "b", "c", "d")
    votes(workspace, a="dots dots dots", b="dots plain stars", c="dots dots dots")
    give(workspace, a="expert:plain", b="import:plain", c="import:plain", d="import:stars")
    assert labels_of(workspace) == {"a": "plain expert", "b": "plain import", "c": "dots crowd", "d": "stars import"}


def test_a_given_label_keeps_the_count_of_the_votes_and_why_it_was_asked(workspace: Workspace) -> None:
    pictures(workspace, "a", "d")
    votes(workspace, a="dots dots plain")
    give(workspace, a="expert:plain", d="import:stars")
    task = workspace.task("apron")
    found = aggregate_workspace(workspace, task, rule_of(task), Filters()).labels.set_index("image_id")
    assert found.n_votes.to_dict() == {"a": 3, "d": 0}
    assert found.chosen_by.to_dict() == {"a": "random", "d": "random"}
    assert list(found.label_probs["a"]) == [float(key == "plain") for key in task.keys]


def test_given_labels_alone_are_enough(workspace: Workspace) -> None:
    pictures(workspace, "a")
    give(workspace, a="import:dots")
    assert labels_of(workspace) == {"a": "dots import"}


def test_a_given_label_of_another_class_list_is_refused(workspace: Workspace) -> None:
    pictures(workspace, "a")
    give(workspace, a="expert:zebra")
    with pytest.raises(UserError, match="'zebra' is no class of it"):
        labels_of(workspace)


def test_votes_on_exact_copies_count_together_and_all_copies_share_the_label(workspace: Workspace) -> None:
    """Three people, two of whom saw the copy; one of them saw both and counts once."""
    pictures(workspace, "a", "b", "c", same=("a", "b"), dropped=("b",))
    votes(workspace, a="w1:dots w2:dots", b="w2:dots w3:plain", c="dots dots dots")
    assert labels_of(workspace) == {"a": "dots crowd", "b": "dots duplicate", "c": "dots crowd"}


def test_the_picture_that_stands_for_its_copies_is_one_that_counts() -> None:
    frame = PICTURES.frame(
        {"image_id": i, "blob": i, "bytes": 1, "pixels_sha256": p, "dropped": d}
        for i, p, d in [
            ("a", "x", "same pixels as b"),
            ("b", "x", None),
            ("c", "x", "same pixels as b"),
            ("d", None, None),
        ]
    )
    assert copies(frame) == {"a": "b", "c": "b"}


@pytest.mark.parametrize(("inherit", "found"), [(False, None), (True, "dots twin")])
def test_near_twins_take_a_label_only_when_asked_to(workspace: Workspace, inherit: bool, found: str | None) -> None:
    pictures(workspace, "a", "b", "c", "d", "e", "f")
    clusters(workspace, x="a b", y="c d", z="e f")
    votes(workspace, a="dots dots dots", c="dots plain stars", e="dots dots dots", f="plain plain plain")
    said = labels_of(workspace, inherit)
    assert said.get("b") == found
    assert said["c"] == "no_agreement"
    assert "d" not in said  # its cluster has no label to give
    assert (said["e"], said["f"]) == ("dots crowd", "plain crowd")


def test_a_cluster_that_disagrees_passes_no_label_on(workspace: Workspace) -> None:
    pictures(workspace, "a", "b", "c")
    clusters(workspace, x="a b c")
    votes(workspace, a="dots dots dots", b="plain plain plain")
    assert "c" not in labels_of(workspace, inherit=True)


def test_votes_of_an_excluded_worker_do_not_count_until_the_exclusion_is_lifted(workspace: Workspace) -> None:
    pictures(workspace, "a")
    votes(workspace, a="w1:dots w2:dots w3:plain")
    path = workspace.of_task("apron", "exclusions")
    row = {"worker_id": "w2", "task": "apron", "reason": "guesses", "decided_by": "me", "decided_at": NOON}
    EXCLUSIONS.write(EXCLUSIONS.frame([row]), path)
    task = workspace.task("apron")
    done = aggregate_workspace(workspace, task, rule_of(task), Filters())
    assert done.votes.set_index("worker_id").dropped.dropna().to_dict() == {"w2": "worker excluded"}
    VOTES.write(done.votes, workspace.of_task("apron", "votes"))
    path.unlink()
    assert labels_of(workspace) == {"a": "dots crowd"}


def test_imported_votes_say_why_their_pictures_were_asked(workspace: Workspace) -> None:
    pictures(workspace, "a")
    votes(workspace, a="dots dots dots")
    path = workspace.of_task("apron", "votes")
    VOTES.write(VOTES.read(path).assign(source="imported", chosen_by="random", hit_id="elsewhere"), path)
    workspace.of_task("apron", "hits").unlink()
    task = workspace.task("apron")
    row = aggregate_workspace(workspace, task, rule_of(task), Filters()).labels.iloc[0]
    assert (row.label, row.source, row.chosen_by) == ("dots", "import", "random")


def test_two_equal_first_answers_of_an_adaptive_round_are_enough(workspace: Workspace) -> None:
    task = workspace.task("apron")
    two = task.model_copy(
        update={"crowd": task.crowd.model_copy(update={"assignments": type(task.crowd.assignments)(first=2, up_to=3)})}
    )
    assert (rule_of(two).least, rule_of(task).least) == (2, 3)
