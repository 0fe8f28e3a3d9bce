from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from worlds import Picture, World, image

from curate.cli import app
from curate.dataset.show import show
from curate.workspace import Workspace
from schemas.command import exit_code
from schemas.manifest import read_manifest
from schemas.tables import APPEARANCES, CLUSTERS, LABELS, PICTURES

KEYS = ("dots", "plain")


def keep(workspace: Workspace, world: World) -> None:
    """A world as the tables of a workspace with the apron task."""
    pictures, labels, clusters, appearances = world.tables()
    for table, frame in ((PICTURES, pictures), (CLUSTERS, clusters), (APPEARANCES, appearances)):
        table.write(frame, workspace.table(table.name))
    LABELS.write(labels.assign(task="apron"), workspace.of_task("apron", "labels"))


@pytest.fixture
def world(workspace: Workspace) -> World:
    made = World({n: Picture(KEYS[n % 2]) for n in range(100)})
    keep(workspace, made)
    return made


Curate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def curate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workspace: Workspace) -> Curate:
    """Runs `curate COMMAND -w WORKSPACE …`; gives the exit code, stdout and stderr."""

    def run(command: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["curate", command, "-w", str(workspace.root), *map(str, arguments)])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def in_test(workspace: Workspace) -> set[str]:
    rows = read_manifest(workspace.manifest("apron")).rows
    return set(rows.image_id[rows.split == "test"])


def test_the_balance_can_be_said_beside_the_task_file(workspace: Workspace, curate: Curate) -> None:
    keep(workspace, World({n: Picture("dots" if n % 5 else "plain") for n in range(200)}))
    code, said, _ = curate("split", "--balance", "natural")
    assert code == 0
    manifest = read_manifest(workspace.manifest("apron"))
    assert manifest.rows[manifest.rows.split == "test"].label.value_counts().to_dict() == {"dots": 16, "plain": 4}
    assert manifest.info["split"]["balance"] == "natural"
    assert "all 200 160 20 20" in " ".join(said.split())


def test_a_dry_run_says_all_and_writes_nothing(workspace: Workspace, world: World, curate: Curate) -> None:
    before = sorted(workspace.root.rglob("*"))
    code, said, _ = curate("split", "--dry-run")
    assert (code, said.splitlines()[-1]) == (0, "nothing was written (--dry-run)")
    assert "dots 50 40 5 5 38–96 %" in " ".join(said.split())
    assert sorted(workspace.root.rglob("*")) == before


def test_another_seed_later_says_that_it_decides_only_what_is_new(world: World, curate: Curate) -> None:
    curate("split")
    assert "seed 3 decided only what is new" in curate("split", "--seed", 3)[1]
    assert "decided only what is new" not in curate("split")[1]


def test_imported_labels_only_train_and_the_way_out_is_told(workspace: Workspace, curate: Curate) -> None:
    keep(workspace, World({n: Picture(KEYS[n % 2], chosen_by=None) for n in range(100)}))
    _, said, _ = curate("split")
    assert "100 labeled pictures do not say how they were chosen (imported labels): they only train" in said
    assert "so val and test are empty: --fixed FILE takes a given split, --fill-short takes any labeled picture" in said


def test_filled_classes_are_told_in_words_and_in_the_manifest(workspace: Workspace, curate: Curate) -> None:
    keep(workspace, World({n: Picture(KEYS[n % 2], chosen_by="random" if n % 2 else "rare") for n in range(100)}))
    _, said, _ = curate("split", "--fill-short")
    assert (
        "5 test and 5 val pictures were not chosen at random (filled on request): figures on them may mislead" in said
    )
    assert read_manifest(workspace.manifest("apron")).info["counts"]["not_random_in"] == {"test dots": 5, "val dots": 5}


def given(workspace: Workspace, **sides: list[int]) -> Path:
    path = workspace.root / "given.csv"
    lines = [f"{image(n)},{side}" for side, numbers in sides.items() for n in numbers]
    path.write_text("\n".join(["image_id,split", *lines]))
    return path


def test_a_given_split_is_taken_and_told(workspace: Workspace, world: World, curate: Curate) -> None:
    path = given(workspace, test=list(range(8)), train=[8, 9])
    code, said, _ = curate("split", "--fixed", path)
    assert code == 0
    assert in_test(workspace) == {image(n) for n in range(8)}
    assert f"given by {path}: 2 train, 8 test" in said
    assert read_manifest(workspace.manifest("apron")).info["fixed"] == {
        "file": "given.csv",
        "pictures": 10,
        "crossing_groups": 0,
    }
    curate("split")
    assert in_test(workspace) == {image(n) for n in range(8)}


def test_a_given_split_that_crosses_is_refused_or_kept_as_asked(
    workspace: Workspace, world: World, curate: Curate
) -> None:
    world.pictures[0].cluster = world.pictures[1].cluster = "same"
    keep(workspace, world)
    path = given(workspace, test=[0], train=[1])
    code, said, error = curate("split", "--fixed", path)
    assert (code, said) == (1, "")
    assert "1 groups cross its splits (2 pictures)" in error
    assert not workspace.of_task("apron", "splits").exists()
    code, said, _ = curate("split", "--fixed", path, "--allow-crossing")
    assert code == 0
    assert "1 groups cross the given split: its test shows too good a figure" in said
    assert "1 groups cross it" in show(workspace.manifest("apron"))


def test_the_version_of_the_test_rises_with_what_changes_in_it(
    workspace: Workspace, world: World, curate: Curate
) -> None:
    def versions() -> dict[str, dict[str, int]]:
        return read_manifest(workspace.manifest("apron")).info["versions"]

    curate("split")
    first = sorted(in_test(workspace))
    assert versions()["test"] == {"version": 1, "pictures": 10, "added": 0, "relabeled": 0, "left": 0}
    number = {image(n): n for n in world.pictures}
    world.pictures[number[first[0]]].label = None
    for one in first[1:3]:
        world.pictures[number[one]].label = "stripes"
    keep(workspace, world)
    _, said, _ = curate("split")
    assert versions()["test"] == {"version": 2, "pictures": 9, "added": 0, "relabeled": 2, "left": 1}
    assert "test version 2: 2 relabeled, 1 left; figures compare within one version only" in said
    world.pictures[100] = Picture(None)
    keep(workspace, world)
    _, said, _ = curate("split")
    assert versions()["test"]["version"] == 2
    assert len(workspace.manifests("apron")) == 3
    assert "test version" not in said
    keep(workspace, world.more(World({n: Picture(KEYS[n % 2]) for n in range(40)})))
    curate("split")
    assert versions()["test"] == {"version": 3, "pictures": 14, "added": 5, "relabeled": 0, "left": 0}


def test_no_labels_stray_labels_and_no_tables_are_one_clear_line(workspace: Workspace, curate: Curate) -> None:
    for labels, said in (
        (("zebra",), "label 'zebra' is not a class of task apron"),
        ((None,), "none of 1 pictures has a label"),
    ):
        keep(workspace, World({n: Picture(label) for n, label in enumerate(labels)}))
        code, out, error = curate("split")
        assert (code, out) == (1, "")
        assert said in error
        assert error.count("\n") == 1
    assert not workspace.manifest("apron").exists()


@pytest.mark.parametrize("classes", [2, 26])
def test_a_manifest_is_shown_within_eighty_columns(workspace: Workspace, curate: Curate, classes: int) -> None:
    path = workspace.root / "tasks" / "apron.yaml"
    named = [{"key": f"class{n:02d}", "name": {"en": "x"}} for n in range(classes)]
    path.write_text(json.dumps({"task": "apron", "question": {"en": "?"}, "classes": named}))
    keep(workspace, World({n: Picture(f"class{n % classes:02d}", (n,)) for n in range(600)}))
    curate("split")
    said = show(workspace.manifest("apron")).splitlines()
    assert max(len(line) for line in said if "/" not in line) <= 80
    assert sum(line.startswith("class") for line in said) == classes + 1
    assert sum("█" in line for line in said) >= classes + 2


def test_a_split_that_loses_a_class_still_splits_the_rest(workspace: Workspace, curate: Curate) -> None:
    keep(workspace, World({n: Picture("dots" if n else "plain") for n in range(50)}))
    code, said, _ = curate("split")
    assert code == 0
    assert "fewer than 3 groups: trains only" in said
    assert pd.read_parquet(workspace.manifest("apron")).split.eq("test").sum() > 0


def test_labels_of_one_class_are_not_split_for_good(workspace: Workspace, curate: Curate) -> None:
    keep(workspace, World({n: Picture("dots") for n in range(20)}))
    code, said, error = curate("split")
    assert (code, said) == (1, "")
    assert "all 20 labels are 'dots'; a classifier needs two classes" in error
    assert not workspace.of_task("apron", "splits").exists()
