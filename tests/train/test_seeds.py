from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.command import exit_code
from train.cli import app
from train.run import Request, train
from train.seeds import of_seeds, together

Make = Callable[..., Path]
Tiny = dict[str, list[str]]


def test_three_seeds_are_one_command_that_says_mean_and_spread(
    make_manifest: Make, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_manifest()
    changes = [f"--set={change}" for change in [*tiny["vit"], "epochs=1"]]
    monkeypatch.setattr("sys.argv", ["train", "vit", "-m", str(path), "--seeds", "3", *changes])
    assert exit_code(app, "train") == 0
    said = capsys.readouterr().out.splitlines()
    records = [json.loads((path.parent / "runs" / f"apron-vit-100-s{n}" / "run.json").read_text()) for n in range(3)]
    assert [record["seed"] for record in records] == [0, 1, 2]
    assert len({record["model_id"] for record in records}) == 3
    assert len(said) == 4
    mean = sum(record["test"]["acc1"] for record in records) / 3
    assert said[3].startswith(f"3 seeds: mean Acc@1 {mean:.1%} on test, ")


def test_mean_spread_and_range_by_hand() -> None:
    records = [{"test": {"acc1": acc, "ce": ce}} for acc, ce in ((0.8, 0.5), (0.9, 0.4), (1.0, 0.3))]
    assert together(records) == (
        "3 seeds: mean Acc@1 90.0% on test, 10.0 points standard deviation between seeds, 80.0% to 100.0%; mean CE 0.400"
    )


def test_a_named_folder_gets_the_seed_behind_its_name() -> None:
    asked = Request("vit", Path("apron.parquet"), out=Path("runs/mine"), seed=4)
    assert [one.folder for one in of_seeds(asked, 2)] == [Path("runs/mine-s4"), Path("runs/mine-s5")]
    assert of_seeds(asked, 1)[0].folder == Path("runs/mine")


def test_a_run_killed_while_it_judges_says_that_test_was_read_twice(
    make_manifest: Make, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Request("vit", make_manifest(), changes=(*tiny["vit"], "epochs=1"))
    with monkeypatch.context() as patched:
        patched.setattr("train.run.judge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(asked)
    assert train(asked)["test_reads"] == 2
    assert train(asked)["test_reads"] == 2  # finished: only told again
