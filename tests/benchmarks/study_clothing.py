"""Real photos, few of them: fine-tuning and Semi-ViT's second stage at 25, 50 and 100 % of the labels, beside a linear probe.

3,409 photos of clothing (CC0, 10 classes); the train folder is split into train and val, the validation folder is the test.
EfficientNet-Lite0 from the ImageNet weights that install as a package, 128 px, three seeds; the probe is a logistic regression
on frozen features of the same weights, with the same labels, its strength chosen on val. Goes on where it was stopped. Run:

    python tests/benchmarks/study_clothing.py --out FOLDER [--data ../shared/data/clothing] [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from studies import DATA, accuracy, run, sets, sha256
from tqdm import tqdm

from schemas.manifest import Manifest, read_manifest
from schemas.tables import EMBEDDINGS
from train.data import choose
from train.predict.predict import predictions_frame, write_predictions

EPOCHS = {0.25: 8, 0.5: 5, 1.0: 3}  # of supervised training: the fewer the labels, the more often each is seen
RECIPE = {
    "model": "tf_efficientnet_lite0", "image_size": 128, "drop_path": 0, "layer_decay": 0.8, "batch_size": 32, "base_lr": 8e-3,
    "warmup_epochs": 0.5, "crop_scale": 0.3, "rand_ops": 1, "erase": 0, "mixup": 0, "cutmix": 0, "eval_every": 40,
    "model_args": "bn_momentum=0.1", "head_std": 2e-5,
}  # fmt: skip
SEMI = {
    "semi_steps": 400, "semi_batch": 16, "mu": 2, "semi_base_lr": 8e-3, "semi_layer_decay": 0.8, "threshold": 0.7, "lambda_u": 1,
    "ema_horizon": 0.2, "semi_mixup_labeled": "false", "pool_has_labeled": "true",
}  # fmt: skip


def workspace(data: Path, home: Path) -> Path:
    """The photos as a workspace, by the commands that anybody would type; its manifest."""
    shop = home / "shop"
    if (shop / "ready").exists():
        return shop / "clothing.parquet"
    files = {folder: sorted((data / folder).glob("*/*.jpg")) for folder in ("train", "validation")}
    given = pd.DataFrame(
        [(sha256(file.read_bytes()), file.parent.name, folder) for folder in files for file in files[folder]],
        columns=["image_id", "label", "folder"],
    )
    home.mkdir(parents=True, exist_ok=True)
    classes = ",".join(sorted(given["label"].unique()))
    run("curate", "init", shop, "--task", "clothing", "--classes", classes, cwd=home)
    given[["image_id", "label"]].to_csv(home / "labels.csv", index=False)
    test = given.loc[given["folder"] == "validation", ["image_id"]].assign(split="test")
    test.to_csv(home / "test.csv", index=False)
    for folder in files:
        run("curate", "import", "folder", data / folder, cwd=shop)
    run("curate", "check", cwd=shop)
    run("curate", "dedup", cwd=shop)
    run("curate", "import", "labels", home / "labels.csv", "--source", "expert", "--chosen-by", "random", cwd=shop)
    run("curate", "aggregate", cwd=shop)
    run("curate", "split", "--fixed", home / "test.csv", cwd=shop)
    run("curate", "embed", cwd=shop)
    (shop / "ready").touch()
    return shop / "clothing.parquet"


def probe(manifest: Manifest, vectors: pd.DataFrame, fraction: float, out: Path) -> None:
    """A logistic regression on frozen features, taught by the run's labels, its strength chosen on val, as PREDICTIONS."""
    from sklearn.linear_model import LogisticRegression

    chosen = choose(manifest, fraction)
    x = np.stack(vectors["vector"].to_list()).astype(np.float64)
    place = pd.Series(np.arange(len(x)), vectors["image_id"])
    train, val, test = (place[rows["image_id"]].to_numpy() for rows in (chosen.labeled, chosen.val, chosen.test))
    x = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-9)
    best: tuple[float, LogisticRegression] | None = None
    for strength in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2):
        model = LogisticRegression(C=strength, max_iter=500).fit(x[train], chosen.labeled["label"])
        right = float(model.score(x[val], chosen.val["label"]))
        if best is None or right > best[0]:
            best = right, model
    assert best is not None
    found = best[1].predict_proba(x[test])
    probs = np.zeros((len(test), len(manifest.classes)))
    probs[:, [manifest.classes.index(name) for name in best[1].classes_]] = found
    frame = predictions_frame(manifest, chosen.test["image_id"].to_list(), probs, out.stem, out.stem)
    write_predictions(frame, out, manifest.classes, {"run": out.stem, "C": best[1].C})


def main() -> None:
    """Make the workspace, train what is missing, and print the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "clothing")
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--seeds", type=int, default=3)
    given = asked.parse_args()
    if not given.data.exists():
        sys.exit(f"{given.data}: no such folder; the photos are github.com/alexeygrigorev/clothing-dataset-small")
    home = given.out.resolve()
    path = workspace(given.data.resolve(), home)
    manifest = read_manifest(path)
    vectors = EMBEDDINGS.read(path.parent / "embeddings.parquet")
    shop, rows = path.parent, []
    for seed, fraction in tqdm([(seed, fraction) for seed in range(given.seeds) for fraction in EPOCHS], disable=None):
        percent = round(100 * fraction)
        frozen = shop / "runs" / f"probe-{percent}.parquet"
        if not frozen.exists():
            frozen.parent.mkdir(exist_ok=True)
            probe(manifest, vectors, fraction, frozen)
        same = ["-m", path, "--label-fraction", fraction, "--seed", seed, "--max-hours", 12]
        vit, semi = (shop / "runs" / f"{name}-{percent}-s{seed}" for name in ("supervised", "semi"))
        recipe = sets(**RECIPE, epochs=EPOCHS[fraction])
        run("train", "vit", *same, *recipe, "--out", vit, cwd=shop)
        run("train", "semivit", *same, *recipe, *sets(**SEMI), "--stage1", vit, "--out", semi, cwd=shop)
        for one in (vit, semi):
            versus = one / "versus-probe.json"
            run("train", "compare", frozen, one, "--out", versus, cwd=shop)
            found = json.loads(versus.read_text())
            right, n = accuracy(one / "predictions.parquet")
            rows.append((percent, one.name.split("-")[0], seed, right, n, found["right_a"], found["ce_b"], found["p"]))
    table = pd.DataFrame(rows, columns=["labels %", "method", "seed", "right", "of", "probe right", "CE", "McNemar p"])
    print(table.sort_values(["labels %", "method", "seed"]).to_string(index=False))
    for percent in (25, 50, 100):
        pages = [
            shop / "runs" / f"{name}-{percent}-s{s}" for name in ("supervised", "semi") for s in range(given.seeds)
        ]
        run("train", "report", *pages, "--out", home / f"report-{percent}.html", cwd=shop)


if __name__ == "__main__":
    main()
