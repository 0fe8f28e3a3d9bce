from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import train.predict.infer as infer
from schemas.errors import Interrupted, Partial, UserError
from schemas.manifest import read_manifest
from schemas.tables import ANSWERS, PREDICTIONS
from train.bundle import open_bundle
from train.judge.calibrate import at_temperature
from train.predict.listings import answers
from train.predict.predict import Wish, predict


@pytest.fixture
def run(shop: Path) -> Path:
    return shop / "runs" / "apron-vit-100-s0"


def wish(run: Path, *places: Path, **more: Any) -> Wish:
    return Wish(run, places, more.pop("out", run.parent / "new.parquet"), **more)


def folder_of_listings(shop: Path, folder: Path) -> pd.DataFrame:
    """Test pictures of the shop as a person has them: a folder a listing. Returns the manifest's rows of them."""
    rows = read_manifest(shop / "apron.parquet").rows
    rows = rows[rows.split == "test"].set_index("image_id")
    for image_id, row in rows.iterrows():
        (folder / row.listing_id).mkdir(parents=True, exist_ok=True)
        (folder / row.listing_id / f"{str(image_id)[:8]}.jpg").write_bytes((shop / row.path).read_bytes())
    return rows


def test_a_manifest_gets_the_predictions_of_the_run_itself_calibrated(shop: Path, run: Path) -> None:
    said = predict(wish(run, shop / "apron.parquet"))
    assert said.startswith("93 pictures predicted -> ")
    found = PREDICTIONS.read(run.parent / "new.parquet").set_index("image_id")
    own = PREDICTIONS.read(run / "predictions.parquet").set_index("image_id")
    bundle = open_bundle(run)
    both = found.loc[own.index]
    expected = at_temperature(np.stack(own["probs"]), bundle.temperature)
    assert np.allclose(np.stack(both["probs"]), expected, atol=1e-5)
    assert (both["predicted"] == own["predicted"]).all()
    assert (both["label"].fillna("") == own["label"].fillna("")).all()
    assert both["path"].isna().all()
    assert set(found["temperature"]) == {bundle.temperature}
    assert set(found["manifest_id"]) == {bundle.ours["manifest_id"]}
    meta = PREDICTIONS.metadata(run.parent / "new.parquet")
    assert json.loads(meta["consenso.classes"]) == bundle.classes


def test_a_folder_of_new_pictures_is_read_whatever_lies_in_it(shop: Path, run: Path, tmp_path: Path) -> None:
    place = tmp_path / "new"
    rows = folder_of_listings(shop, place)
    (place / "broken.jpg").write_bytes(b"no picture")
    (place / "note.txt").write_text("not mine")
    (place / ".hidden").mkdir()
    (place / ".hidden" / "x.jpg").write_bytes(b"")
    (place / "zz-copy.jpg").write_bytes(next(place.glob("red*/*.jpg")).read_bytes())
    with pytest.raises(Partial, match=r"18 pictures predicted .*; 1 could not be read: .*new-skipped\.csv"):
        predict(wish(run, place))
    found = PREDICTIONS.read(run.parent / "new.parquet")
    assert set(found["image_id"]) == set(rows.index)
    assert all((place / path).exists() for path in found["path"])
    skipped = pd.read_csv(run.parent / "new-skipped.csv").set_index("path")["reason"]
    assert set(skipped.index) == {"broken.jpg", "zz-copy.jpg"}
    assert skipped["broken.jpg"] == "no picture of a known format"
    assert skipped["zz-copy.jpg"].startswith("same bytes as ")
    assert not (run.parent / "new.parquet.parts").exists()


def test_a_table_of_paths_may_name_listings(shop: Path, run: Path) -> None:
    rows = read_manifest(shop / "apron.parquet").rows
    rows = rows[rows.split == "test"]
    pd.DataFrame({"path": rows["path"], "listing_id": range(len(rows)), "mine": 1}).to_parquet(shop / "mine.parquet")
    said = predict(wish(run, shop / "mine.parquet", listings=True))
    assert "18 of 18 listings answered" in said
    found = PREDICTIONS.read(run.parent / "new.parquet")
    assert set(found["path"]) == set(rows["path"])
    assert set(found["image_id"]) == set(rows["image_id"])


def test_one_answer_per_listing_or_none(shop: Path, run: Path, tmp_path: Path) -> None:
    rows = folder_of_listings(shop, tmp_path / "new")
    said = predict(wish(run, tmp_path / "new", listings=True))
    assert "9 of 9 listings answered" in said
    found = ANSWERS.read(run.parent / "new-listings.parquet").set_index("listing_id")
    assert set(found.index) == set(rows["listing_id"])
    assert (found["n_pictures"] == 2).all()
    pictures = PREDICTIONS.read(run.parent / "new.parquet").set_index("image_id")
    one = rows["listing_id"].iloc[0]
    logs = np.log(np.stack(pictures.loc[rows.index[rows["listing_id"] == one], "probs"])).mean(axis=0)
    expected = np.exp(logs) / np.exp(logs).sum()
    assert found.loc[one, "probs"] == pytest.approx(expected, abs=1e-5)

    needed = open_bundle(run).thresholds(0.8)
    predict(wish(run, tmp_path / "new", listings=True, precision=0.8))
    again = ANSWERS.read(run.parent / "new-listings.parquet").set_index("listing_id")
    lowest = again["guess"].map(needed).astype(float)
    reaches = again["confidence"] >= lowest - 1e-6
    assert (again["answer"].notna() == reaches).all()
    assert (again["dropped"].isna() == reaches).all()
    assert (again["guess"] == found["guess"]).all()


def test_a_listing_is_answered_by_its_readable_pictures_by_hand() -> None:
    listings = pd.DataFrame({"marketplace": "m", "listing_id": ["a", "a", "b", "c", "d"], "row": [0, 1, 2, 3, 1]})
    probs = np.array([[0.8, 0.2], [0.5, 0.5], [0.4, 0.6], [0.5, 0.5]])
    found = answers(listings, probs, np.array([True, True, True, False]), ["x", "y"], {"x": 0.6, "y": None})
    found = found.set_index("listing_id")
    assert found.loc["a", "answer"] == "x"
    assert found.loc["a", "confidence"] == pytest.approx(2 / 3)  # odds 4 and 1: their mean is 2
    assert found.loc["b", "dropped"] == "its class never reaches the precision"
    assert found.loc["c", "dropped"] == "no readable picture"
    assert found.loc["d", "dropped"] == "too unsure"
    assert found["answer"].isna().sum() == 3


def test_two_places_with_the_same_names_do_not_mix(shop: Path, run: Path, tmp_path: Path) -> None:
    colors = {"one": (200, 40, 40), "two": (50, 60, 210)}
    for name, color in colors.items():
        (tmp_path / name).mkdir()
        Image.new("RGB", (30, 30), color).save(tmp_path / name / "1.png")
    said = predict(wish(run, tmp_path / "one", tmp_path / "two", listings=True))
    assert said.startswith("2 pictures predicted")
    assert "2 of 2 listings" in said
    assert set(PREDICTIONS.read(run.parent / "new.parquet")["path"]) == {str(tmp_path / n / "1.png") for n in colors}


def test_what_cannot_be_predicted_is_a_line(shop: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    pd.DataFrame({"file": ["a.jpg"]}).to_parquet(tmp_path / "other.parquet")
    for place, said in {
        tmp_path / "empty": "holds no picture",
        tmp_path / "none": "no such file or folder",
        tmp_path / "other.parquet": "has no column path; found file",
    }.items():
        with pytest.raises(UserError, match=said):
            predict(wish(run, place))
    with pytest.raises(UserError, match="add --listings"):
        predict(wish(run, shop, precision=0.9))
    with pytest.raises(UserError, match="--precision must be at least"):
        predict(wish(run, shop, precision=3, listings=True))
    with pytest.raises(UserError, match="holds the predictions of the run itself"):
        predict(wish(run, shop, out=run / "predictions.parquet"))
    with pytest.raises(UserError, match="name what to predict"):
        predict(wish(run))
    assert not list(run.parent.glob("new*"))


def test_another_class_list_is_refused(shop: Path, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["consenso"]["classes"] = ["blue", "green", "red"]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        UserError, match=r"its classes are red, green, blue; the model's are blue, green, red \(the order"
    ):
        predict(wish(run, shop / "apron.parquet"))


def test_stopped_predictions_go_on_and_repeat_nothing(shop: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer, "BATCH", 16)
    real, calls = infer._probs, []

    def counted(*arguments: Any) -> np.ndarray:
        calls.append(len(arguments[2]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(infer, "_probs", counted)
    with pytest.raises(Interrupted, match="stopped at picture 32 of 93; the same command goes on"):
        predict(wish(run, shop / "apron.parquet"))
    assert predict(wish(run, shop / "apron.parquet")).startswith("93 pictures")
    assert sum(calls[3:]) == 93 - 32
    stopped = PREDICTIONS.read(run.parent / "new.parquet")
    monkeypatch.setattr(infer, "_probs", real)
    predict(wish(run, shop / "apron.parquet", out=run.parent / "whole.parquet"))
    pd.testing.assert_frame_equal(stopped, PREDICTIONS.read(run.parent / "whole.parquet"), atol=1e-5)


def test_killed_by_force_it_goes_on_where_it_was(shop: Path, run: Path, tmp_path: Path) -> None:
    """The process ends by SIGKILL in the middle of its third batch; what it had kept is not predicted again."""
    code = (
        "import os, signal, train.predict.infer as i; i.PART_SECONDS = 0.0; i.BATCH = 16; real, calls = i._probs, []\n"
        "def probs(*a):\n  calls.append(1)\n  if len(calls) == 3: os.kill(os.getpid(), signal.SIGKILL)\n  return real(*a)\n"
        "i._probs = probs; from train.cli import main; main()"
    )
    out = tmp_path / "out.parquet"
    command = [sys.executable, "-c", code, "predict", str(run), str(shop / "apron.parquet"), "--out", str(out)]
    killed = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    kept = [pd.read_parquet(part) for part in (tmp_path / "out.parquet.parts" / "0").glob("part-*.parquet")]
    assert sum(map(len, kept)) == 32
    predict(wish(run, shop / "apron.parquet", out=out))
    assert len(PREDICTIONS.read(out)) == 93
