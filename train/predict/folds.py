"""Out-of-fold predictions: the recipe trained K times, each labeled train picture predicted by the run that never saw it.

What `curate select --for recheck` needs: a model that learned a wrong label agrees with it. Test takes no part: in each run
the fold stands where test would stand, so its figures are those of pictures that the run never saw, and test stays unread.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.folds import fold_of
from schemas.manifest import Manifest, picture_root, read_manifest, write_manifest
from schemas.pack import Pack
from schemas.tables import PREDICTIONS
from train.data import picture_source
from train.predict.predict import write_predictions
from train.run import Request, train
from train.text import counted

HELD_OUT = "kept for the test"


def predict_folds(request: Request, folds: int, out: Path | None = None) -> str:
    """Train the recipe once a fold and write PREDICTIONS with `fold`; says the result in a line.

    Near twins and pictures of one group share a fold. Val and unlabeled pictures get the mean of the runs and no fold; test
    pictures get no row. Finished runs are not repeated, so the same command goes on where it was stopped.

    Args:
        request: as for one run; its `out` is the folder of all of them.
        out: the predictions; default: predictions.parquet in that folder.
    """
    manifest = read_manifest(request.manifest)
    fold = _folds(manifest, folds, request.seed)
    name = f"{request.manifest.stem}-{request.method}-folds{folds}-s{request.seed}"
    place = request.out or picture_root(request.manifest) / "runs" / name
    source = picture_source(manifest, request.pictures)
    pictures = source.folder if isinstance(source, Pack) else source
    tables, records = [], []
    for number in range(folds):
        path = place / "manifests" / f"{request.manifest.stem}-fold{number}.parquet"
        _write_fold(manifest, fold.index[fold == number], path)
        run = replace(request, manifest=path, out=place / f"fold-{number}", pictures=pictures)
        records.append(train(run))
        tables.append(PREDICTIONS.read(run.folder / "predictions.parquet"))
    rows = _together(tables, fold, manifest, place.name)
    out = out or place / "predictions.parquet"
    write_predictions(rows, out, manifest.classes, _record(records[0], folds, place.name))
    return f"{_said(rows, fold, folds)} -> {out}"


def _folds(manifest: Manifest, folds: int, seed: int) -> pd.Series:
    """The fold of each labeled train picture, by image_id."""
    if folds < 2:
        raise UserError(f"--folds must be 2 or more, got {folds}")
    rows = manifest.rows
    teaching = rows[rows["dropped"].isna() & (rows["split"] == "train") & rows["label"].notna()]
    teaching = teaching.sort_values("image_id", ignore_index=True)
    fold = fold_of(teaching, folds, seed) if len(teaching) else np.zeros(0, int)
    if len(np.unique(fold)) < folds:
        raise UserError(
            f"{manifest.path}: {len(teaching)} labeled train pictures make {len(np.unique(fold))} groups, too few for {folds} "
            "folds; label more, or lower --folds"
        )
    return pd.Series(fold, index=teaching["image_id"])


def _write_fold(manifest: Manifest, held_out: pd.Index, path: Path) -> None:
    """The manifest with one fold in the place of test, and test left out."""
    rows = manifest.rows.copy()
    was_test = rows["split"] == "test"
    rows.loc[was_test, ["split", "split_reason"]] = ["out", HELD_OUT]
    now_test = rows["image_id"].isin(held_out)
    rows.loc[now_test, "split"] = "test"
    rows.loc[now_test, "label_rank"] = np.nan
    write_manifest(rows, [path], task=manifest.task, classes=manifest.classes, parent=manifest.manifest_id,
                   info={"fold_of": manifest.manifest_id})  # fmt: skip


def _together(tables: list[pd.DataFrame], fold: pd.Series, manifest: Manifest, run: str) -> pd.DataFrame:
    """One row a picture: its own fold's where it taught, else the mean of all runs."""
    own = [table[table["split"] == "test"].assign(fold=number) for number, table in enumerate(tables)]
    taught = pd.concat(own, ignore_index=True)
    folds_of_class = taught.groupby("label")["fold"].nunique()
    alone = folds_of_class.index[folds_of_class < 2]  # no run that predicts them ever saw their class
    taught = taught[~taught["label"].isin(alone)].assign(split="train")
    rest = pd.concat([table[~table["split"].isin(["test", "train"])] for table in tables])
    mean = {name: _mean(probs) for name, probs in rest.groupby("image_id")["probs"]}
    others = rest.drop_duplicates("image_id")
    others = others.assign(probs=others["image_id"].map(mean), fold=None)
    rows = pd.concat([taught, others[taught.columns]], ignore_index=True)
    best = [int(np.argmax(probs)) for probs in rows["probs"]]
    model_id = hashlib.sha256("".join(table["model_id"].iloc[0] for table in tables).encode()).hexdigest()[:32]
    rows = rows.assign(
        predicted=[manifest.classes[i] for i in best], run=run, manifest_id=manifest.manifest_id, model_id=model_id
    )
    return PREDICTIONS.check(rows.sort_values("image_id", ignore_index=True))


def _mean(probs: pd.Series) -> np.ndarray:
    return np.stack(probs.to_list()).mean(axis=0).astype(np.float32)


def _record(first: dict[str, Any], folds: int, run: str) -> dict[str, Any]:
    """What made the predictions: the recipe, without one fold's figures."""
    kept = (
        "method",
        "task",
        "recipe_name",
        "recipe",
        "changes",
        "seed",
        "model",
        "label_fraction",
        "versions",
        "device",
    )
    return {"run": run, "folds": folds, **{name: first[name] for name in kept}}


def _said(rows: pd.DataFrame, fold: pd.Series, folds: int) -> str:
    taught = rows[rows["fold"].notna()]
    right = int((taught["predicted"] == taught["label"]).sum())
    largest = int(taught["label"].value_counts().max())
    said = (
        f"{len(taught):,} labeled train pictures predicted out of {folds} folds, {right / len(taught):.1%} as labeled; "
        f"{len(rows) - len(taught):,} others by the mean of the runs"
    )
    if left_out := len(fold) - len(taught):
        said += (
            f"; {counted(left_out, 'train picture')} left out: unreadable, or of a class that stands in one fold alone"
        )
    if right <= largest:
        said += f"; no better than always saying the largest class ({largest / len(taught):.1%}): do not go by it"
    return said
