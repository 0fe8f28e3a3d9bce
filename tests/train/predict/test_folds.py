from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import UserError
from schemas.manifest import read_manifest
from schemas.tables import PREDICTIONS
from train.predict.folds import predict_folds
from train.request import Request

Ask = Callable[..., Request]


def test_each_train_picture_is_predicted_by_the_run_that_never_saw_it(shop: Path, ask: Ask) -> None:
    said = predict_folds(ask(shop / "apron.parquet", "vit", "epochs=3"), 3)
    place = shop / "runs" / "apron-vit-folds3-s0"
    assert said.startswith("36 labeled train pictures predicted out of 3 folds, ")
    assert said.endswith(f"39 others by the mean of the runs -> {place / 'predictions.parquet'}")
    found = PREDICTIONS.read(place / "predictions.parquet").set_index("image_id")
    manifest = read_manifest(shop / "apron.parquet")
    rows = manifest.rows.set_index("image_id")
    assert set(found["manifest_id"]) == {manifest.manifest_id}
    assert set(found.index) == set(rows.index[rows["split"] != "test"])
    assert (found["split"] == rows.loc[found.index, "split"]).all()
    assert (found["fold"].notna() == (found["split"] == "train")).all()
    listings = rows.loc[found.index[found["fold"].notna()]].assign(fold=found["fold"])
    for number in range(3):
        run = place / f"fold-{number}"
        own = PREDICTIONS.read(run / "predictions.parquet").set_index("image_id")
        mine = found.index[found["fold"] == number]
        assert set(own.index[own["split"] == "test"]) == set(mine)
        assert np.allclose(np.stack(own.loc[mine, "probs"]), np.stack(found.loc[mine, "probs"]))
        taught = read_manifest(place / "manifests" / f"apron-fold{number}.parquet").rows
        assert not set(taught.loc[taught["split"] == "train", "image_id"]) & set(mine)
        assert (taught["split"] == "out").sum() == 18  # test takes no part
        assert json.loads((run / "run.json").read_text())["counts"]["labeled"] == 36 - len(mine)
    assert len(listings) == 36
    again = predict_folds(ask(shop / "apron.parquet", "vit", "epochs=3"), 3)  # nothing is trained again
    assert again == said


def test_groups_share_a_fold_and_too_few_are_said(shop: Path, ask: Ask) -> None:
    asked = ask(shop / "apron.parquet", "vit")
    with pytest.raises(UserError, match="36 labeled train pictures make 36 groups, too few for 40 folds"):
        predict_folds(asked, 40)
    with pytest.raises(UserError, match="--folds must be 2 or more, got 1"):
        predict_folds(asked, 1)
