from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import UserError
from train.submit.asked import check, parse, request_of

Make = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


def words(manifest: Path, *more: str, command: str = "semivit") -> list[str]:
    return [command, "-m", str(manifest), "--recipe", "cpu", *more]


@pytest.mark.parametrize(
    "more",
    [
        ["--set", "nonsense=1"],
        ["--set", "epochs=soon"],
        ["--set", "threshold=7"],
        ["--set", "model=no_such_model"],
        ["--recipe", "huge"],
        ["--recipe", "nowhere.toml"],
        ["--weights", "none.pth"],
        ["--label-fraction", "7"],
        ["--unlabeled", "99999"],
        ["--unlabeled", "0"],
        ["--pictures", "nowhere"],
        ["--stage1", "nowhere"],
        ["--set", "accumulate=400"],
        ["--seeds", "three"],
        ["--colour", "red"],
    ],
)
def test_what_cannot_be_trained_here_is_refused_in_the_same_words(
    more: list[str], make_manifest: Make, train_command: Run, to_sagemaker: list[str]
) -> None:
    asked = words(make_manifest(), *more)
    here = train_command(*asked)
    assert here[0] in (1, 2)
    assert train_command(*to_sagemaker, "--dry-run", *asked) == (
        here[0],
        "",
        here[2].splitlines(keepends=True)[-1] if here[0] == 1 else here[2],
    )


def test_a_manifest_that_is_not_there_is_one_line(train_command: Run, to_sagemaker: list[str]) -> None:
    here = train_command(*words(Path("nowhere.parquet")))
    assert "nowhere.parquet: no such file" in here[2]
    assert train_command(*to_sagemaker, "--dry-run", *words(Path("nowhere.parquet"))) == here


def test_what_is_no_training_is_refused(train_command: Run) -> None:
    for given in (["report", "runs/x"], []):
        code, _, error = train_command("submit", "--to", "slurm", *given)
        assert code == 1
        assert "resnet18, vit, semivit, pretrain, search" in error
        assert error.count("\n") == 1


def test_the_options_become_the_run_that_they_are_here(make_manifest: Make) -> None:
    path = make_manifest()
    asked = parse(words(path, "--label-fraction", "0.5", "--budget", "epochs", "--set", "semi_epochs=2", "--seed", "4"))
    request = request_of(asked)
    assert (request.method, request.label_fraction, request.seed) == ("semivit", 0.5, 4)
    assert request.changes == ("semi_epochs=2", "budget=epochs")
    checked = check(asked)
    assert (checked.recipe.budget, checked.recipe.semi_epochs) == ("epochs", 2)
    assert len(checked.rows) == 93


def test_words_are_those_that_were_written_and_those_that_change(make_manifest: Make) -> None:
    asked = parse(["vit", "-m", "a b.parquet", "--set", "epochs=1", "--set", "flip=0", "--seeds", "3"])
    assert asked.words() == ["--manifest", "a b.parquet", "--set", "epochs=1", "--set", "flip=0", "--seeds", "3"]
    assert asked.words(manifest="x", changes=None, seeds=None, seed=2) == ["--manifest", "x", "--seed", "2"]


@pytest.mark.parametrize("name", ["fresh", "resume"])
def test_how_it_goes_on_is_not_for_a_person_to_say(name: str, make_manifest: Make) -> None:
    with pytest.raises(UserError, match=f"--{name}: what is submitted goes on by itself"):
        check(parse(words(make_manifest(), f"--{name}")))


def test_a_search_reads_no_test_and_its_axes_end_where_one_can_train(make_manifest: Make) -> None:
    path = make_manifest()
    search = ["search", "--method", "vit", "-m", str(path), "--recipe", "cpu"]
    checked = check(parse([*search, "--space", "smoothing=0..0.3"]))
    assert list(checked.space) == ["smoothing"]
    assert len(checked.rows) == 75  # of 93 pictures 18 are test
    assert checked.requests[0].blind
    with pytest.raises(UserError, match=r"smoothing must be at least 0 and below 1, got 3\.0"):
        check(parse([*search, "--space", "smoothing=0..3"]))


def test_pretraining_is_checked_too(make_manifest: Make) -> None:
    path = make_manifest()
    assert len(check(parse(["pretrain", "-m", str(path), "--recipe", "cpu"])).rows) == 60
    with pytest.raises(UserError, match="decoder_width must divide by decoder_heads"):
        check(parse(["pretrain", "-m", str(path), "--recipe", "cpu", "--set", "decoder_width=97"]))


def test_every_line_of_the_page_is_one_that_the_command_takes(root: Path) -> None:
    import typer.main

    from train.cli import app

    page = (root / "docs/submit.md").read_text()
    lines = re.findall(r"^train submit (--[^…#>\n]+?)\s*(?:#.*)?$", page, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        context = typer.main.get_command(app).commands["submit"].make_context("submit", shlex.split(line))  # type: ignore[attr-defined]
        inner = context.params["words"]
        if inner and inner[0] not in ("status", "fetch"):
            assert parse(inner).command == inner[0]
