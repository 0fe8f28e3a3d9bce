"""Real votes, real labels from them: does Semi-ViT at half of the labels reach a supervised ViT at all of them?

CIFAR-10N: pictures of 32 px with three real votes each. `curate aggregate` makes the labels (2 of 3), the clean test pictures
are the test, every training picture is in the unlabeled pool. Supervised runs take equal steps at every share of labels, second
stages too. Goes on where it was stopped, over several commands. Run:

    python tests/benchmarks/study_cifar10n.py --out FOLDER             # 50,000 pictures, 12 layers, 3 seeds: for a GPU
    python tests/benchmarks/study_cifar10n.py --out FOLDER --check     # 10,000 pictures, 6 layers, one seed: for a CPU

The check exercises the code on real votes; it is no evidence for or against a method.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from studies import DATA, accuracy, run, sets, sha256

from schemas.manifest import read_manifest
from train.data import choose


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    pictures: int  # of train, at most
    test: int  # clean pictures of the test, at most
    model_args: str
    batch: int
    steps: int  # supervised, at every share
    semi_batch: int
    semi_steps: int
    shares: tuple[float, ...]
    semi_shares: tuple[float, ...]
    seeds: int


WHOLE = Size(
    50_000, 10_000, "patch_size=4,embed_dim=384,num_heads=6", 512, 20_000, 128, 40_000, (0.1, 0.5, 1.0), (0.1, 0.5), 3
)
CHECK = Size(
    8_000, 2_000, "patch_size=4,depth=6,embed_dim=128,num_heads=4", 64, 700, 32, 400, (0.1, 1.0), (0.1, 1.0), 1
)


def sample(data: Path, size: Size, home: Path) -> None:
    """The pictures, votes and true test labels that the study uses, as files to import; a random sample decided by hashes."""
    images = pd.read_parquet(data / "images.parquet")
    images = images.assign(at=[sha256(f"study {name}".encode()) for name in images["image_id"]]).sort_values("at")
    parts = {"train": size.pictures, "test": size.test}
    images = pd.concat([images[images["split"] == name].head(count) for name, count in parts.items()])
    images = images.assign(given=images["image_id"], image_id=[sha256(jpeg) for jpeg in images["jpeg"]])
    images = images.drop_duplicates("image_id")
    votes = pd.read_parquet(data / "votes.parquet")
    names = images.set_index("given")["image_id"]
    votes = votes[votes["image_id"].isin(names.index)].assign(image_id=lambda rows: rows["image_id"].map(names))
    images[["jpeg"]].to_parquet(home / "images.parquet", row_group_size=1000)
    votes.to_parquet(home / "votes.parquet")
    test = images[images["split"] == "test"]
    test[["image_id"]].assign(label=test["true_label"]).to_csv(home / "truth.csv", index=False)
    test[["image_id"]].assign(split="test").to_csv(home / "test.csv", index=False)


def workspace(data: Path, size: Size, home: Path) -> Path:
    """The sample as a workspace, by the commands that anybody would type; its manifest."""
    shop = home / "shop"
    manifest = shop / "cifar10n.parquet"
    if (shop / "ready").exists():
        return manifest
    home.mkdir(parents=True, exist_ok=True)
    sample(data, size, home)
    classes = ",".join(sorted(pd.read_csv(home / "truth.csv")["label"].unique()))
    share = size.test / (size.test + size.pictures)
    run("curate", "init", shop, "--task", "cifar10n", "--classes", classes,
        "--set", "pictures.min_side_px=32", "--set", f"split.test={share:.3f}", cwd=home)  # fmt: skip
    run("curate", "import", "parquet", home / "images.parquet", cwd=shop)
    run("curate", "check", cwd=shop)
    run("curate", "import", "votes", home / "votes.parquet", "--chosen-by", "random", cwd=shop)
    run("curate", "import", "labels", home / "truth.csv", "--source", "expert", "--chosen-by", "random", cwd=shop)
    run("curate", "aggregate", cwd=shop)
    run("curate", "split", "--fixed", home / "test.csv", cwd=shop)
    (shop / "ready").touch()
    return manifest


def main() -> None:
    """Make the workspace, train what is missing, and print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, default=DATA / "cifar10n")
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--check", action="store_true")
    given = asked.parse_args()
    if not given.data.exists():
        sys.exit(f"{given.data}: no such folder; it holds images.parquet and votes.parquet of CIFAR-10N")
    size, home = CHECK if given.check else WHOLE, given.out.resolve()
    path = workspace(given.data.resolve(), size, home)
    manifest, shop = read_manifest(path), path.parent
    recipe = {
        "model": "vit_tiny_patch16_224", "pretrained": "false", "model_args": size.model_args, "image_size": 32, "crop_pct": 1,
        "crop_scale": 0.4, "drop_path": 0, "layer_decay": 1, "batch_size": size.batch, "base_lr": 2e-3, "erase": 0, "rand_ops": 1,
        "mixup": 0, "cutmix": 0, "eval_every": max(50, size.steps // 20),
    }  # fmt: skip
    semi = {
        "semi_steps": size.semi_steps, "semi_batch": size.semi_batch, "mu": 3, "semi_base_lr": 2e-3, "semi_layer_decay": 1,
        "threshold": 0.6, "lambda_u": 1, "ema_horizon": 0.1, "semi_mixup_labeled": "false", "pool_has_labeled": "true",
    }  # fmt: skip
    made: list[tuple[str, Path]] = []
    for seed in range(size.seeds):
        for fraction in size.shares:
            percent = round(100 * fraction)
            epochs = size.steps * size.batch / len(choose(manifest, fraction).labeled)
            same = ["-m", path, "--label-fraction", fraction, "--seed", seed, "--max-hours", 24]
            words = sets(**recipe, epochs=round(epochs, 3), warmup_epochs=round(epochs / 20, 3))
            vit = shop / "runs" / f"vit-{percent}-s{seed}"
            run("train", "vit", *same, *words, "--out", vit, cwd=shop)
            made.append((f"vit {percent} %", vit))
            if fraction in size.semi_shares:
                student = shop / "runs" / f"semivit-{percent}-s{seed}"
                run("train", "semivit", *same, *words, *sets(**semi), "--stage1", vit, "--out", student, cwd=shop)
                made.append((f"semivit {percent} %", student))
    rows = []
    for name, folder in made:
        right, n = accuracy(folder / "predictions.parquet")
        rows.append((name, folder.name[-1], right, n, f"{100 * right / n:.2f} %"))
    print(pd.DataFrame(rows, columns=["run", "seed", "right", "of", "Acc@1"]).to_string(index=False))
    half = "50" if 0.5 in size.semi_shares else "10"
    for seed in range(size.seeds):
        out = home / f"semivit-{half}-beside-vit-100-s{seed}.json"
        runs = [shop / "runs" / f"vit-100-s{seed}", shop / "runs" / f"semivit-{half}-s{seed}"]
        run("train", "compare", *runs, "--out", out, cwd=shop)
        print(json.loads(out.read_text())["bootstrap"]["acc1"])
    run("train", "report", *(folder for _, folder in made), "--out", home / "report.html", cwd=shop)


if __name__ == "__main__":
    main()
