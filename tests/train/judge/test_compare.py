from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from schemas.errors import UserError
from schemas.tables import PREDICTIONS
from train.judge.compare import compare, write_comparison
from train.judge.metrics import bootstrap
from train.predict.predict import write_predictions


def test_two_runs_are_compared_on_the_same_pictures(shop: Path, tmp_path: Path) -> None:
    runs = [shop / "runs" / name for name in ("apron-vit-50-s0", "apron-vit-100-s0")]
    found = compare(runs)
    own = [json.loads((run / "metrics.json").read_text())["test"] for run in runs]
    assert (found["right_a"], found["right_b"], found["n"]) == (own[0]["right"], own[1]["right"], 18)
    assert found["right_b"] - found["right_a"] == found["only_b"] - found["only_a"]
    assert found["ce_b"] == pytest.approx(own[1]["ce"], abs=1e-6)
    boot = found["bootstrap"]
    assert boot["acc1"]["difference"] == pytest.approx(own[1]["acc1"] - own[0]["acc1"])
    assert boot["macro"]["difference"] == pytest.approx(own[1]["macro"] - own[0]["macro"])
    assert boot["ce"]["difference"] == pytest.approx(own[1]["ce"] - own[0]["ce"], abs=1e-6)
    assert boot["acc1"]["low"] <= boot["acc1"]["difference"] <= boot["acc1"]["high"]
    said = write_comparison(found, None)
    assert "McNemar p = " in said
    assert "paired bootstrap" in said
    write_comparison(found, tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == found


def test_a_run_and_itself_do_not_differ(shop: Path) -> None:
    run = shop / "runs" / "apron-vit-100-s0"
    found = compare([run, run / "predictions.parquet"])
    assert found["p"] == 1.0
    assert found["bootstrap"]["acc1"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_calibrated_predictions_are_compared_as_trained(shop: Path, tmp_path: Path) -> None:
    from train.predict.predict import Wish, predict

    run = shop / "runs" / "apron-vit-100-s0"
    predict(Wish(run, (shop / "apron.parquet",), tmp_path / "p.parquet"))
    found = compare([run, tmp_path / "p.parquet"])
    assert found["ce_a"] == pytest.approx(found["ce_b"], abs=1e-4)


def test_what_cannot_be_compared_is_a_line(shop: Path, tmp_path: Path) -> None:
    run = shop / "runs" / "apron-vit-100-s0"
    table = PREDICTIONS.read(run / "predictions.parquet")
    meta = PREDICTIONS.metadata(run / "predictions.parquet")
    for name, frame, more in (
        ("other", table.assign(manifest_id="0" * 32), {}),
        ("classes", table, {"consenso.classes": '["blue", "green", "red"]'}),
        ("untested", table[table["split"] == "val"], {}),
    ):
        kept = {key: value for key, value in meta.items() if key not in ("consenso.table", "consenso.version")}
        PREDICTIONS.write(frame, tmp_path / f"{name}.parquet", kept | more)
    with pytest.raises(UserError, match="stands on manifest 00000000"):
        compare([run, tmp_path / "other.parquet"])
    with pytest.raises(UserError, match="has the classes"):
        compare([run, tmp_path / "classes.parquet"])
    with pytest.raises(UserError, match="no prediction of a labeled test picture"):
        compare([run, tmp_path / "untested.parquet"])


def test_the_bootstrap_interval_is_the_binomial_one_where_that_is_known() -> None:
    """400 pictures, b right in 60 where a is wrong, a right in 20 where b is wrong: difference 10 points, known spread."""
    truth = np.zeros(400, dtype=int)
    a, b = np.tile([0.9, 0.1], (400, 1)), np.tile([0.9, 0.1], (400, 1))
    a[:60], b[60:80] = [0.2, 0.8], [0.2, 0.8]
    found = bootstrap(a, b, truth)["acc1"]
    spread = np.sqrt((80 / 400 - 0.1**2) / 400)
    assert found["difference"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.1 - 1.96 * spread, abs=0.004)
    assert found["high"] == pytest.approx(0.1 + 1.96 * spread, abs=0.004)
    assert found["p"] < 0.001
    assert bootstrap(a, b, truth) == bootstrap(a, b, truth)


def of_runs(path: Path, *names: str) -> None:
    """Runs of one vest model: `a` has the first 60 pictures right and `b` all 100, but for those a seed gets wrong besides."""
    wrong = {"a-s0": 40, "a-s1": 42, "a-s2": 38, "b-s0": 30, "b-s1": 34, "b-s2": 32}
    for name in names:
        probs = np.tile([0.8, 0.2], (100, 1)).astype(np.float32)
        probs[100 - wrong[name] :] = [0.2, 0.8]
        frame = pd.DataFrame(
            {
                "image_id": [f"{number:064x}" for number in range(100)], "run": name, "task": "vest", "manifest_id": "m" * 32,
                "model_id": "0" * 32, "split": "test", "label": "red", "predicted": "red", "probs": list(probs),
                "temperature": 1.0,
            }
        )  # fmt: skip
        write_predictions(frame, path / f"{name}.parquet", ["red", "blue"], {"seed": int(name[-1])})


def test_seeds_are_compared_by_their_means_and_by_mcnemar_one_by_one(tmp_path: Path) -> None:
    names = ["a-s0", "a-s1", "a-s2", "b-s0", "b-s1", "b-s2"]
    of_runs(tmp_path, *names)
    found = compare([tmp_path / f"{name}.parquet" for name in names])
    assert (found["a"], found["b"], found["seeds_a"]) == ("a", "b", [0, 1, 2])
    assert (found["right_a"], found["right_b"]) == (60, 68)
    assert found["spread_a"] == pytest.approx(0.02)
    assert found["bootstrap"]["acc1"]["difference"] == pytest.approx(0.08)
    assert found["p"] == found["bootstrap"]["acc1"]["p"]
    assert [(one["seed"], one["only_a"], one["only_b"]) for one in found["per_seed"]] == [
        (0, 0, 10),
        (1, 0, 8),
        (2, 0, 6),
    ]
    said = write_comparison(found, None)
    assert (
        "a (seeds 0, 1, 2): Acc@1 60.0% ± 2.0 (mean and standard deviation of 3 seeds, n = 100), 50.2% – 69.1%" in said
    )
    assert "pictures and seeds drawn again): a real difference; McNemar seed by seed: p = 0.002, 0.0078, 0.031" in said


def test_what_is_no_two_models_is_a_line(tmp_path: Path) -> None:
    of_runs(tmp_path, "a-s0", "a-s1", "a-s2", "b-s0")
    runs = [tmp_path / f"{name}.parquet" for name in ("a-s0", "a-s1", "a-s2")]
    with pytest.raises(UserError, match="two models compare, given 1: a"):
        compare(runs)
    with pytest.raises(UserError, match="two models compare, given 1: a"):
        compare(runs[:1])
    with pytest.raises(UserError, match="a-s0 is named twice"):
        compare([runs[0], runs[0], tmp_path / "b-s0.parquet"])


def test_the_bootstrap_draws_seeds_too() -> None:
    """b is right everywhere with two of its four seeds and nowhere with the others: only the drawn seeds move the mean."""
    truth = np.zeros(50, dtype=int)
    right, wrong = np.tile([0.9, 0.1], (50, 1)), np.tile([0.1, 0.9], (50, 1))
    a, b = np.stack([wrong] * 4), np.stack([right, right, wrong, wrong])
    found = bootstrap(a, b, truth)["acc1"]
    assert found["difference"] == pytest.approx(0.5)
    assert found["p"] == pytest.approx(2 / 16, abs=0.02)  # all four draws fall on a bad seed once in 16
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_seeds_that_belong_together_are_drawn_together() -> None:
    truth = np.zeros(50, dtype=int)
    right, wrong = np.tile([0.9, 0.1], (50, 1)), np.tile([0.1, 0.9], (50, 1))
    both = np.stack([right, wrong, right])
    assert bootstrap(both, both, truth, paired_seeds=True)["acc1"] == {"difference": 0, "low": 0, "high": 0, "p": 1}
    assert bootstrap(both, both, truth)["acc1"]["high"] > 0.5  # of which seeds apart know nothing
