from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import UserError
from schemas.tables import PREDICTIONS
from train.compare import compare, write_comparison
from train.metrics import bootstrap


def test_two_runs_are_compared_on_the_same_pictures(shop: Path, tmp_path: Path) -> None:
    runs = [shop / "runs" / name for name in ("apron-vit-50-s0", "apron-vit-100-s0")]
    found = compare(*runs)
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
    found = compare(run, run / "predictions.parquet")
    assert found["p"] == 1.0
    assert found["bootstrap"]["acc1"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_calibrated_predictions_are_compared_as_trained(shop: Path, tmp_path: Path) -> None:
    from train.predict import Wish, predict

    run = shop / "runs" / "apron-vit-100-s0"
    predict(Wish(run, (shop / "apron.parquet",), tmp_path / "p.parquet"))
    found = compare(run, tmp_path / "p.parquet")
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
        compare(run, tmp_path / "other.parquet")
    with pytest.raises(UserError, match="has the classes"):
        compare(run, tmp_path / "classes.parquet")
    with pytest.raises(UserError, match="no prediction of a labeled test picture"):
        compare(run, tmp_path / "untested.parquet")


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
