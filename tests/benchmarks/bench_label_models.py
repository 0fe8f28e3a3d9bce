"""Models of workers on real votes, beside crowd-kit: coverage and accuracy of every method; then speed and memory of Dawid-Skene.

Run: python tests/benchmarks/bench_label_models.py [--large] (needs the real votes; --large adds 1e7 votes with 26 classes).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from curate.label.models.coded import Coded, coded
from curate.label.models.dawid_skene import dawid_skene
from curate.label.models.em import Fitted
from curate.label.models.glad import glad
from curate.label.models.mace import mace
from curate.label.models.one_coin import one_coin
from curate.label.rule import Rule, decide

SETS = ("labelme", "ms_music", "face", "dog", "sentiment_polarity_mturk", "trec", "cifar10n")
MODELS: dict[str, Callable[[Coded], Fitted]] = {
    "Dawid-Skene, smoothing 0": lambda votes: dawid_skene(votes, 0),
    "Dawid-Skene": dawid_skene,
    "one-coin": one_coin,
    "MACE": mace,
    "GLAD": glad,
}
KIT = {"MajorityVote": {}, "Wawa": {}, "DawidSkene": {"n_iter": 100}, "OneCoinDawidSkene": {"n_iter": 100}}
KIT |= {"MACE": {"n_restarts": 3, "n_iter": 20}, "GLAD": {"n_iter": 10}}
KIT_VOTES = 30_000  # crowd-kit's slower methods are left out above

LARGE = """
import resource, sys, time
from pathlib import Path
import numpy as np
from curate.label.count import Filters, count
from curate.label.models.coded import coded_blocks
from curate.label.models.dawid_skene import dawid_skene
from curate.label.rule import Rule
from curate.label.votes import open_votes
source, folder = map(Path, sys.argv[1:])
began = time.process_time()
votes = open_votes(source, None, folder / "spill")
keys = tuple(f"class{n}" for n in range(26))
coded, workers, labels = coded_blocks(count(votes, Rule(keys), Filters(), ["image_id", "worker_id", "label"]), keys, ["label_probs"])
read = time.process_time() - began
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
began = time.process_time()
found = dawid_skene(coded, iterations=5)
print(f"{coded.votes:,} votes, 26 classes: sorted, counted and coded {read:.0f} CPU s (peak {before:.2f} GB); "
      f"5 iterations of Dawid-Skene {time.process_time() - began:.0f} CPU s; "
      f"peak of the whole process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
"""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--only-speed", action="store_true")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    if asked.only_speed:
        pass
    elif (base / "votes").exists():
        for name in SETS:
            one_set(base, name)
    else:
        print("the real votes are not on this machine (CONSENSO_SHARED_DATA names their folder)")
    speed()
    if asked.large:
        large()


def one_set(base: Path, name: str) -> None:
    """Coverage and accuracy of every method on one set."""
    folder = base / "votes" / name if name != "cifar10n" else base / name
    votes = pd.read_parquet(folder / "votes.parquet").astype("str").rename(columns={"task_id": "image_id"})
    if name == "cifar10n":
        truth = pd.read_parquet(folder / "images.parquet", columns=["image_id", "true_label"]).astype("str")
        truth.columns = ["image_id", "label"]
    else:
        truth = pd.read_parquet(folder / "truth.parquet").astype("str").rename(columns={"task_id": "image_id"})
    images, keys = pd.Index(sorted(votes.image_id.unique())), sorted(votes.label.unique())
    known = pd.Index(keys).get_indexer(pd.Index(truth.set_index("image_id").label.reindex(images).fillna("?")))
    code, _ = coded(votes, images, keys)
    workers = "slots" if name == "cifar10n" else "workers"
    print(f"\n{name}: {code.votes:,} votes, {code.images:,} pictures, {code.workers} {workers}, {len(keys)} classes")
    for least in (3, 2):
        winner, *_ = decide(code.counts(), Rule(tuple(keys), min_votes=least))
        score(f"2 of 3 (min_votes {least})", winner, known, len(keys))
    winner, *_ = decide(code.counts(), Rule(tuple(keys), kind="plurality"))
    score("plurality", winner, known, len(keys))
    for model, fit in MODELS.items():
        began = time.process_time()
        found = fit(code)
        score(model, found.probs.argmax(axis=1), known, len(keys), time.process_time() - began, found.iterations)
    theirs(votes, known, keys)


def score(
    name: str, best: np.ndarray, known: np.ndarray, none: int, seconds: float | None = None, iterations: int = 0
) -> None:
    """One line: share of the pictures with truth that get a label, and share of these labels that are right."""
    asked = known >= 0
    labeled = asked & (best != none)
    took = f"{seconds:7.2f} CPU s" if seconds is not None else ""
    said = f", {iterations} iterations" if iterations else ""
    print(
        f"  {name:<28} {100 * labeled.sum() / asked.sum():6.2f} % labeled {100 * (best == known)[labeled].mean():6.2f} % right {took}{said}"
    )


def theirs(votes: pd.DataFrame, known: np.ndarray, keys: list[str]) -> None:
    """The same of crowd-kit, where it runs."""
    import crowdkit.aggregation as kit

    frame = votes.rename(columns={"image_id": "task", "worker_id": "worker"})
    for name, options in KIT.items():
        if len(votes) > KIT_VOTES and name not in ("MajorityVote", "Wawa", "DawidSkene"):
            continue
        began = time.process_time()
        try:
            found = getattr(kit, name)(**options).fit_predict(frame).sort_index()
        except Exception as error:
            print(f"  crowd-kit {name:<18} does not run: {str(error).splitlines()[0][:70]}")
            continue
        score(
            f"crowd-kit {name}",
            pd.Index(keys).get_indexer(pd.Index(found)),
            known,
            len(keys),
            time.process_time() - began,
        )


def speed(iterations: int = 5) -> None:
    """CPU seconds of ours and of crowd-kit's Dawid-Skene, the same iterations, texts to whole numbers included."""
    import crowdkit.aggregation as kit

    images, k = 333_334, 13
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(images), 3)
    truth = rng.integers(k, size=images)[image]
    said = np.where(rng.random(len(image)) < 0.85, truth, rng.integers(k, size=len(image)))
    frame = pd.DataFrame(
        {
            "image_id": pd.Series(image).map(lambda n: f"{n:064x}"),
            "worker_id": pd.Series(rng.integers(2000, size=len(image))).map(lambda n: f"A{n:05d}"),
            "label": np.array([f"class{n:02d}" for n in range(k)])[said],
        }
    )
    began = time.process_time()
    code, _ = coded(frame, pd.Index(frame.image_id.unique()), sorted(frame.label.unique()))
    coding = time.process_time() - began
    dawid_skene(code, iterations=iterations, tolerance=-np.inf)
    ours = time.process_time() - began
    renamed = frame.rename(columns={"image_id": "task", "worker_id": "worker"})
    began = time.process_time()
    kit.DawidSkene(n_iter=iterations, tol=-1e30).fit_predict_proba(renamed)
    other = time.process_time() - began
    print(
        f"\n{len(frame):,} votes, {k} classes, {iterations} iterations of Dawid-Skene, texts to whole numbers included:"
    )
    print(f"  ours {ours:.1f} CPU s ({coding:.1f} of it coding), crowd-kit {other:.1f} CPU s: {other / ours:.1f} times")


def large() -> None:
    """1e7 votes with 26 classes and 64-character ids, from the file, in a process of its own."""
    import bench_votes

    bench_votes.CLASSES = 26
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "votes.parquet"
        bench_votes.write_votes(source, 10_000_000, "sha256")
        done = subprocess.run([sys.executable, "-c", LARGE, str(source), name], capture_output=True, text=True)
        print(json.dumps(done.stderr[-300:]) if done.returncode else done.stdout.strip())


if __name__ == "__main__":
    sys.exit(main())
