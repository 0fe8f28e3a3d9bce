from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from schemas.errors import UserError
from schemas.interval import wilson
from schemas.manifest import read_manifest, write_manifest
from schemas.tables import PREDICTIONS
from train.bundle import FILES
from train.judge.evaluate import check_out, evaluate, write_evaluations


@pytest.fixture
def run(shop: Path) -> Path:
    return shop / "runs" / "apron-vit-100-s0"


def reads(run: Path) -> int:
    return json.loads((run / "run.json").read_text())["test_reads"]


def test_it_finds_what_the_run_itself_found(shop: Path, run: Path) -> None:
    found = evaluate([run], shop / "apron.parquet")[0].found
    own = json.loads((run / "metrics.json").read_text())["test"]
    for key in ("n", "right", "acc1", "acc1_low", "acc1_high", "macro", "per_class", "confusion"):
        assert found[key] == own[key]
    assert found["ce"] == pytest.approx(own["ce"], abs=1e-5)
    assert found["acc5"] is None  # three classes
    assert [row["precision"] for row in found["coverage"]] == [0.9, 0.95, 0.98]


def test_every_reading_of_test_is_counted_and_said(shop: Path, run: Path) -> None:
    assert reads(run) == 1
    said = evaluate([run], shop / "apron.parquet")[0].markdown()
    assert reads(run) == 2
    assert "Test has now been read 2 times by this run" in said
    assert "val" in evaluate([run], shop / "apron.parquet", split="val")[0].markdown()
    assert reads(run) == 2


def test_a_picture_counts_in_each_of_its_marketplaces(shop: Path, run: Path) -> None:
    one = evaluate([run], shop / "apron.parquet")[0]
    rows = read_manifest(shop / "apron.parquet").rows
    test = rows[rows["split"] == "test"].set_index("image_id")
    own = PREDICTIONS.read(run / "predictions.parquet").set_index("image_id").loc[test.index]
    right = own["predicted"] == test["label"]
    for row in one.found["per_marketplace"]:
        mine = test["marketplaces"].map(lambda names, row=row: row["label"] in names)
        assert (row["n"], row["right"]) == (int(mine.sum()), int(right[mine].sum()))
        assert (row["low"], row["high"]) == wilson(row["right"], row["n"])
    assert sum(row["n"] for row in one.found["per_marketplace"]) == 18 + 6
    assert "Shown by several marketplaces, and counted in each of them: 6 pictures." in one.markdown()
    assert {row["label"]: row["n"] for row in one.found["per_agreement"]} == {"all agree": 9, "not all agree": 9}


def test_several_bundles_make_a_table_by_label_share(shop: Path, run: Path, tmp_path: Path) -> None:
    half = shop / "runs" / "apron-vit-50-s0"
    said = write_evaluations(evaluate([run, half], shop / "apron.parquet"), None)
    assert said.index("| 50%") < said.index("| 100%")
    line = write_evaluations(evaluate([run], shop / "apron.parquet"), tmp_path / "e.json")
    assert line.startswith("apron-vit-100-s0: Acc@1 ")
    assert json.loads((tmp_path / "e.json").read_text())[0]["n"] == 18
    with pytest.raises(UserError, match=r"end it with \.md or \.json"):
        check_out(tmp_path / "e.pdf")


def test_another_manifest_or_class_list_is_refused_before_test_is_read(shop: Path, run: Path) -> None:
    old = read_manifest(shop / "apron.parquet")
    relabeled = old.rows.copy()
    relabeled.loc[relabeled.index[0], "label"] = "green"
    write_manifest(relabeled, [shop / "new.parquet"], task="apron", classes=old.classes)
    with pytest.raises(UserError, match=rf"is manifest .*, but .* was trained on {old.manifest_id[:12]}"):
        evaluate([run], shop / "new.parquet")
    write_manifest(old.rows, [shop / "more.parquet"], task="apron", classes=[*old.classes, "sand"])
    with pytest.raises(UserError, match=r"its classes are red, green, blue, sand; the model's are red, green, blue"):
        evaluate([run], shop / "more.parquet", other_manifest=True)
    with pytest.raises(UserError, match="--split none"):
        evaluate([run], shop / "apron.parquet", split="none")
    assert reads(run) == 1
    said = evaluate([run], shop / "new.parquet", other_manifest=True)[0].markdown()
    assert f"Trained on another manifest, {old.manifest_id[:12]}" in said


def test_unreadable_pictures_are_in_no_figure_and_a_wrong_folder_is_said(shop: Path, run: Path, tmp_path: Path) -> None:
    rows = read_manifest(shop / "apron.parquet").rows
    victim = rows[rows["split"] == "test"].iloc[0]
    (shop / victim["path"]).write_bytes(b"broken")
    one = evaluate([run], shop / "apron.parquet")[0]
    assert one.found["n"] == 17
    assert one.found["unreadable"] == {victim["image_id"]: "no picture of a known format"}
    assert "1 picture could not be read" in one.markdown()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"18 of 18 pictures cannot be read, the first is .*--pictures"):
        evaluate([run], shop / "apron.parquet", pictures=tmp_path / "empty")


def test_a_bundle_without_a_record_is_judged_and_says_that_nobody_counts(shop: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    for name in FILES[:3]:
        shutil.copy(run / name, tmp_path / "away" / name)
    said = evaluate([tmp_path / "away"], shop / "apron.parquet")[0].markdown()
    assert "No run.json: this reading is not counted" in said
