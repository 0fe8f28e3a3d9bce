"""Does `curate select` find wrong labels, and do its pictures teach more than random ones? On real votes.

CIFAR-10N: 50,000 pictures with three MTurk votes each and the known truth. A sample of them goes through a small network with
ImageNet weights that install as a package; `curate probe` predicts them out of fold. Run:

    python tests/benchmarks/bench_select.py [--pictures 12000] [--data ../shared/data/cifar10n] [--keep vectors.npz]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from small_network import vectors as network_vectors

from curate.dataset.candidates import DISPUTED, WAITING, Rule, pool
from curate.dataset.probe import probe
from curate.dataset.recheck import select_to_recheck
from curate.dataset.select import Wish, select_to_label
from curate.label.aggregate import aggregate
from schemas.tables import (
    APPEARANCES,
    CLUSTERS,
    GOLD,
    HITS,
    LABELS,
    MANIFEST,
    PICTURES,
    SPLITS,
    VOTES,
)

ROOT = Path(__file__).parents[2]
NOW = pd.Timestamp("2026-11-01", tz="UTC")


def order(ids: Sequence[str], purpose: str) -> list[int]:
    """A random order by hash."""
    return sorted(range(len(ids)), key=lambda n: hashlib.sha256(f"{purpose} {ids[n]}".encode()).digest())


class Data:
    """A sample of CIFAR-10N: truth, votes, labels by 2 of 3, vectors."""

    def __init__(self, folder: Path, count: int, sample: str, keep: Path | None) -> None:
        images = pd.read_parquet(folder / "images.parquet", filters=[("split", "==", "train")])
        images = images.iloc[order(images["image_id"].tolist(), sample)[:count]].sort_values("image_id")
        self.ids = images["image_id"].tolist()
        self.truth = images["true_label"].to_numpy(object)
        self.classes = sorted(set(self.truth))
        votes = pd.read_parquet(folder / "votes.parquet")
        self.votes = votes[votes["image_id"].isin(set(self.ids))]
        labels, _ = aggregate(self.votes, classes=self.classes)
        self.labels = LABELS.check(labels.assign(task="t")[[n for n in LABELS.names if n in {*labels.columns, "task"}]])
        if keep and keep.exists():
            self.vectors = np.load(keep)["x"]
        else:
            self.vectors = network_vectors(images["jpeg"].tolist())
            if keep:
                np.savez(keep, x=self.vectors)

    def predicted(self, labels: pd.DataFrame, folds: int = 5) -> pd.DataFrame:
        """PREDICTIONS of the probe, taught these labels."""
        known = dict(zip(labels["image_id"], labels["label"], strict=True))
        label = [known.get(i) for i in self.ids]
        split = ["train" if isinstance(key, str) else "unlabeled" for key in label]
        rows = pd.DataFrame({"image_id": self.ids, "path": "p", "label": label, "split": split})
        facts = {"classes": self.classes, "task": "t", "manifest_id": "m", "embedding_id": "e", "folds": folds}
        return probe(MANIFEST.check(rows), lambda: iter([(self.ids, self.vectors)]), **facts).rows

    def pool(self, labels: pd.DataFrame, only: set[str]) -> pd.DataFrame:
        """What `curate select` sees when these labels are there and only these pictures exist."""
        mine = [i for i in self.ids if i in only]
        rows = pool(
            PICTURES.frame({"image_id": i, "blob": "b", "bytes": 1} for i in mine),
            CLUSTERS.empty(),
            APPEARANCES.empty(),
            labels,
            SPLITS.empty(),
            GOLD.empty(),
            HITS.empty(),
            VOTES.empty(),
            lifetime_days=7,
            now=NOW,
        )
        # there are three votes and no more: asking a disputed picture again would cost something and bring nothing
        return rows.assign(state=rows["state"].mask(rows["state"] == DISPUTED, WAITING))


def average_precision(wrong: np.ndarray, score: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(wrong, score))


def recheck(data: Data) -> None:
    """Average precision of finding wrong labels, by several orders."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    began = time.process_time()
    told = data.predicted(data.labels).set_index("image_id")
    seconds = time.process_time() - began
    mine = data.labels[data.labels["label"].notna()].set_index("image_id")
    told = told.loc[mine.index]
    truth = dict(zip(data.ids, data.truth, strict=True))
    wrong = (mine["label"] != mine.index.map(truth)).to_numpy()
    probs = np.stack(told["probs"].to_list()).astype(float)
    code = pd.Index(data.classes).get_indexer(pd.Index(mine["label"]))
    own = probs[np.arange(len(code)), code]
    split_vote = (1 - mine["n_agree"] / mine["n_votes"]).to_numpy(float)
    print(
        f"\n{len(data.ids):,} pictures, {len(mine):,} labels, {wrong.sum():,} wrong ({wrong.mean():.2%}); "
        f"probe right on {(told['predicted'].to_numpy() == mine.index.map(truth)).mean():.1%}, {seconds:.1f} CPU s\n"
    )
    rule = Rule(data.classes)
    began = time.process_time()
    chosen = select_to_recheck(
        data.pool(data.labels, set(data.ids)), rule, lambda _: True, task="t", ask=3, predictions=told.reset_index()
    )
    ours = time.process_time() - began
    rank = pd.Series(-chosen.rows["rank"].to_numpy(float), index=chosen.rows["image_id"]).loc[mine.index].to_numpy()
    scores: dict[str, np.ndarray] = {
        "random order": np.random.default_rng(0).random(len(wrong)),
        "votes alone: 2 of 3 before 3 of 3": split_vote,
        "probe: P(label)": 1 - own,
        "2 of 3 before 3 of 3, then P(label)": split_vote * 10 + 1 - own,
        "curate select --for recheck": rank,
    }
    for method in ("self_confidence", "normalized_margin"):
        quality = get_label_quality_scores(code, probs, method=method)
        scores[f"cleanlab get_label_quality_scores, {method}"] = -quality
    began = time.process_time()
    scores["cleanlab CROWDLAB on votes and probabilities"] = -_crowdlab(data, list(mine.index), probs, code)
    theirs = time.process_time() - began
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flagged = find_label_issues(code, probs, return_indices_ranked_by="self_confidence", n_jobs=1)
    print("| order | average precision | right among the first 100 | 500 |\n| --- | --- | --- | --- |")
    for name, score in scores.items():
        top = np.argsort(-score, kind="stable")
        print(
            f"| {name} | {average_precision(wrong, score):.3f} | {wrong[top[:100]].mean():.2f} | {wrong[top[:500]].mean():.2f} |"
        )
    first = np.argsort(-rank)[: len(flagged)]
    print(
        f"\ncleanlab find_label_issues flags {len(flagged):,}: precision {wrong[flagged].mean():.3f}, recall "
        f"{wrong[flagged].sum() / wrong.sum():.3f}; our first {len(flagged):,}: precision {wrong[first].mean():.3f}, recall "
        f"{wrong[first].sum() / wrong.sum():.3f}\nordering: {ours:.1f} CPU s; CROWDLAB {theirs:.1f} CPU s"
    )


def _crowdlab(data: Data, ids: list[str], probs: np.ndarray, code: np.ndarray) -> np.ndarray:
    """CROWDLAB's quality of the majority label of each picture."""
    from cleanlab.multiannotator import get_label_quality_multiannotator

    votes = data.votes.assign(code=pd.Index(data.classes).get_indexer(pd.Index(data.votes["label"])))
    wide = votes.pivot(index="image_id", columns="worker_id", values="code").loc[ids].reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_label_quality_multiannotator(wide, probs, consensus_method="majority_vote", verbose=False)
    quality = found["label_quality"]
    assert (quality["consensus_label"].to_numpy() == code).all(), "the same labels are judged"
    return quality["consensus_quality_score"].to_numpy(float)


def label(data: Data, skew: float, seeds: Sequence[int], start: int, step: int, rounds: int) -> None:
    """Accuracy of the probe on held-out pictures (mean over classes) while labels are bought at random or by `--for label`."""
    ways: dict[str, Callable[[int], Wish] | None] = {
        "random": None,
        "--for label, margin": lambda seed: Wish(spread=False, seed=seed),
        "--for label, margin, spread (the default)": lambda seed: Wish(seed=seed),
        "--for label, entropy, spread": lambda seed: Wish(by="entropy", seed=seed),
    }
    head = " | ".join(f"{start + step * n:,}" for n in range(rounds + 1))
    print(f"\n| way, class i kept at {skew:g}^i | {head} |\n| --- |{' --- |' * (rounds + 1)}")
    for name, wish in ways.items():
        runs = [_bought(data, skew, seed, start, step, rounds, wish) for seed in seeds]
        print(f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in np.mean(runs, axis=0))} |", flush=True)


def _bought(
    data: Data, skew: float, seed: int, start: int, step: int, rounds: int, wish: Callable[[int], Wish] | None
) -> list[float]:
    shuffled = [data.ids[n] for n in order(data.ids, f"hold out {seed}")]
    test, rest = shuffled[: len(shuffled) // 4], shuffled[len(shuffled) // 4 :]
    truth = dict(zip(data.ids, data.truth, strict=True))
    of_class = {key: [i for i in rest if truth[i] == key] for key in data.classes}
    kept = {i for n, key in enumerate(data.classes) for i in of_class[key][: round(len(of_class[key]) * skew**n)]}
    queue = sorted(kept)
    queue = [queue[n] for n in order(queue, f"ask {seed}")]  # anew: of a rare class only the first of `rest` are kept
    bought, found = queue[:start], []
    place = {image_id: n for n, image_id in enumerate(data.ids)}
    vectors = lambda ids: (list(ids), data.vectors[[place[i] for i in ids]])  # noqa: E731
    for number in range(rounds + 1):
        labels = data.labels[data.labels["image_id"].isin(set(bought))]
        told = data.predicted(labels)
        guess = dict(zip(told["image_id"], told["predicted"], strict=True))
        right = pd.Series([guess[i] == truth[i] for i in test]).groupby([truth[i] for i in test]).mean()
        found.append(float(right.mean()))
        if number == rounds:
            break
        if wish is None:
            bought += [i for i in queue if i not in set(bought)][:step]
            continue
        chosen = select_to_label(
            data.pool(labels, kept),
            HITS.empty(),
            Rule(data.classes),
            wish(seed),
            lambda rows: len(rows) <= step,
            task="t",
            predictions=told,
            vectors=vectors,
        )
        bought += [i for i in chosen.rows["image_id"] if i not in set(bought)]
    return found


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--pictures", type=int, default=12_000)
    arguments.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "cifar10n")
    arguments.add_argument("--sample", default="sample", help="any word: another one is another sample")
    arguments.add_argument("--keep", type=Path, help="keep the vectors here, or use those that are kept")
    wanted = arguments.parse_args()
    data = Data(wanted.data, wanted.pictures, wanted.sample, wanted.keep)
    recheck(data)
    label(data, 1.0, range(3), 400, 400, 5)
    label(data, 0.7, range(3), 150, 150, 5)


if __name__ == "__main__":
    sys.exit(main())
