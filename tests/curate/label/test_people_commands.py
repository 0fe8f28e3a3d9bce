"""`curate agreement` and `curate workers` on a workspace and on loose votes, as a person types them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.cli import app
from schemas.command import exit_code
from schemas.tables import AGREEMENT, CONFUSIONS, EXCLUSIONS, VOTES, WORKERS

Curate = Callable[..., tuple[int, str, str]]
LOOSE = "image_id,worker_id,label\np,ana,dots\np,bo,dots\np,cy,plain\nq,ana,plain\nq,bo,plain\n"


@pytest.fixture
def curate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Curate:
    """Runs `curate …` in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments)])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def shop(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sample shop, which commands find by themselves."""
    folder = tmp_path / "shop"
    shutil.copytree(root / "sample_data" / "shop", folder)
    monkeypatch.setenv("CURATE_WORKSPACE", str(folder))
    return folder


def test_a_workspace_keeps_agreement_and_confusions_with_their_class_order(shop: Path, curate: Curate) -> None:
    code, said, _ = curate("agreement")
    assert code == 0
    found = AGREEMENT.read(shop / "apron" / "agreement.parquet")
    assert found["scope"].value_counts().to_dict() == {"class": 9, "marketplace": 3, "overall": 1}
    assert f"alpha {found['alpha'].iloc[0]:.3f}" in said
    assert "a picture counts in every marketplace that shows it" in said
    pairs = CONFUSIONS.read(shop / "apron" / "confusions.parquet")
    assert f"  {pairs['class_a'].iloc[0]} and {pairs['class_b'].iloc[0]}: " in said
    classes = json.loads(CONFUSIONS.metadata(shop / "apron" / "confusions.parquet")["consenso.classes"])
    assert classes[:2] == ["plain", "stripes"]


def test_a_workspace_lists_its_workers_with_their_gold(shop: Path, curate: Curate) -> None:
    code, said, _ = curate("workers", "--most", 2)
    assert code == 0
    found = WORKERS.read(shop / "apron" / "workers.parquet")
    votes = VOTES.read(shop / "apron" / "votes.parquet")
    assert set(found["worker_id"]) == set(votes["worker_id"])
    assert found["n_votes"].sum() == votes["dropped"].isna().sum()
    assert found["gold_n"].sum() == (votes["dropped"] == "gold").sum() > 0
    assert said.splitlines()[1].split()[0] == found["worker_id"].iloc[0]
    assert "… 6 more" in said


def test_workers_as_json_are_one_object_a_line(shop: Path, curate: Curate) -> None:
    _, said, _ = curate("workers", "--json")
    lines = [json.loads(line) for line in said.splitlines()]
    assert len(lines) == 8
    assert len(lines[0]["confusion"]) == 81
    assert "NaN" not in said


def test_excluding_says_what_changes_and_is_shown_until_restored(shop: Path, curate: Curate) -> None:
    votes = VOTES.read(shop / "apron" / "votes.parquet")
    worker = votes["worker_id"].min()
    mine = int((votes[votes["worker_id"] == worker]["dropped"].isna()).sum())
    code, said, _ = curate("workers", "exclude", worker, "--reason", "clicks  through")
    assert code == 0
    # three were asked and three are needed: with two left nothing is labeled before somebody else is asked
    assert f"{mine} votes stop counting" in said
    assert "`curate aggregate` applies it" in said
    kept = EXCLUSIONS.read(shop / "apron" / "exclusions.parquet")
    assert kept[["worker_id", "task", "reason"]].values.tolist() == [[worker, "apron", "clicks through"]]
    assert "  - excluded: clicks through" in curate("workers")[1]
    curate("workers", "exclude", worker, "--reason", "asked to leave")
    assert EXCLUSIONS.read(shop / "apron" / "exclusions.parquet")["reason"].tolist() == ["asked to leave"]
    code, said, _ = curate("workers", "restore", worker)
    assert f"{worker} is back in task apron: {mine} votes count again" in said
    assert EXCLUSIONS.read(shop / "apron" / "exclusions.parquet").empty


def test_loose_votes_need_no_workspace(tmp_path: Path, curate: Curate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "votes.csv").write_text(LOOSE)
    (tmp_path / "gold.csv").write_text("image_id,label\nq,dots\n")
    code, said, _ = curate("agreement", "votes.csv")
    assert code == 0
    assert said.splitlines()[-1] == "-> agreement.parquet, confusions.parquet"
    assert AGREEMENT.read(tmp_path / "agreement.parquet")["n_images"].tolist() == [2, 1, 2]
    assert curate("workers", "votes.csv", "--out", "w.parquet", "--gold", "gold.csv")[0] == 0
    found = WORKERS.read(tmp_path / "w.parquet").set_index("worker_id")
    assert found["gold_n"].to_dict() == {"ana": 1, "bo": 1, "cy": 0}
    assert found["gold_correct"].sum() == 0
    assert found["task"].unique().tolist() == ["votes"]


def test_options_may_stand_before_the_votes(tmp_path: Path, curate: Curate) -> None:
    votes = tmp_path / "votes.csv"
    votes.write_text(LOOSE)
    assert curate("workers", "--out", tmp_path / "w.parquet", votes)[0] == 0
    assert len(WORKERS.read(tmp_path / "w.parquet")) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["workers", "exclude", "ASIMNOBODY", "--reason", "x"], "'ASIMNOBODY' never voted in this task"),
        (["workers", "exclude", "{worker}", "--reason", "  "], "--reason must say why in 1 to 500 characters, got 0"),
        (["workers", "restore", "{worker}"], "is not excluded from task apron; excluded: nobody"),
        (["workers", "gone.parquet"], "gone.parquet: no such file"),
        (["workers", "--gold", "{shop}/apron/gold.parquet"], "--gold and --classes go with a file of votes"),
        (["workers", "--source", "crowd"], "no votes of source 'crowd'; found simulated"),
        (["agreement", "--source", "crowd"], "no votes of source 'crowd'; found simulated"),
        (["agreement", "{shop}/apron/labels.parquet"], "votes are expected"),
        (["agreement", "{shop}/loose.csv", "--out", "{shop}/loose.csv"], "would be replaced by its own result"),
        (["agreement", "{shop}/unseen.csv"], "no vote has a label"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(
    shop: Path, curate: Curate, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    (shop / "loose.csv").write_text(LOOSE)
    (shop / "unseen.csv").write_text("image_id,worker_id,label\np,ana,\n")
    worker = VOTES.read(shop / "apron" / "votes.parquet")["worker_id"].min()
    before = {path: path.stat().st_mtime_ns for path in shop.rglob("[!.]*") if path.is_file()}
    code, out, err = curate(*(word.format(worker=worker, shop=shop) for word in words))
    assert (code, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in shop.rglob("[!.]*") if path.is_file()} == before


def test_votes_of_people_and_of_simulated_workers_are_not_mixed(shop: Path, curate: Curate) -> None:
    path = shop / "apron" / "votes.parquet"
    votes = VOTES.read(path)
    VOTES.write(votes.assign(source=["crowd"] * 9 + ["simulated"] * (len(votes) - 9)), path)
    code, _, err = curate("agreement")
    assert code == 1
    assert "say which with --source crowd or simulated" in err
    assert curate("agreement", "--source", "simulated")[0] == 0


def test_help_lists_the_commands_about_workers(curate: Curate) -> None:
    code, said, _ = curate("workers", "--help")
    assert code == 0
    assert all(word in said for word in ("show", "exclude", "restore"))
