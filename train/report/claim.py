"""The question behind the study: does Semi-ViT with fewer labels do what ViT does with all of them?

Answered by the same test pictures for both: counts, intervals, the paired test. "No difference shown" is not "equal".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from schemas.interval import wilson
from train.judge.compare import compare_answers
from train.report.gather import Run, Task
from train.text import interval, share

LEVEL = 0.05
OUTCOMES = ("better", "no difference shown", "worse")


def claims(task: Task) -> list[dict[str, Any]]:
    """Each Semi-ViT run with fewer labels against the ViT run of its seed with all; empty where there is no such pair."""
    whole = {run.seed: run for run in task.runs if run.method == "vit" and run.fraction == 1}
    few = [run for run in task.runs if run.method == "semivit" and run.fraction < 1 and run.seed in whole]
    return [_claim(task, run, whole[run.seed]) for run in few]


def _claim(task: Task, semi: Run, vit: Run) -> dict[str, Any]:
    found = compare_answers([vit.answers], [semi.answers])
    boot, n = found["bootstrap"]["acc1"], found["n"]
    better = found["right_b"] > found["right_a"]
    return {
        "task": task.name, "seed": semi.seed, "label_fraction": semi.fraction, "n": n,
        "semivit": _side(semi, found["right_b"], n), "vit": _side(vit, found["right_a"], n),
        "difference": boot["difference"], "low": boot["low"], "high": boot["high"],
        "only_semivit": found["only_b"], "only_vit": found["only_a"], "p": found["p"],
        "outcome": OUTCOMES[1] if found["p"] >= LEVEL else "better" if better else "worse",
    }  # fmt: skip


def _side(run: Run, right: int, n: int) -> dict[str, Any]:
    low, high = wilson(right, n)
    return {"run": run.name, "labels": run.labels, "unlabeled": run.pool, "right": right, "acc1": right / n if n else 0.0,
            "low": low, "high": high}  # fmt: skip


def claim_text(one: dict[str, Any]) -> str:
    """One comparison in a sentence."""
    semi, vit, n = one["semivit"], one["vit"], one["n"]
    return (
        f"{one['task']}, seed {one['seed']}: Semi-ViT with {one['label_fraction']:.0%} of the labels ({semi['labels']:,} + "
        f"{semi['unlabeled']:,} unlabeled) {share(semi['right'], n)}, {interval(semi['right'], n)}; ViT with all "
        f"({vit['labels']:,}) {share(vit['right'], n)}, {interval(vit['right'], n)}: {points(one)}, right where the other is "
        f"wrong {one['only_semivit']} : {one['only_vit']}, McNemar p = {one['p']:.2g}: {said(one)}"
    )


def points(one: dict[str, Any]) -> str:
    """Semi-ViT minus ViT in points, with the interval of the paired bootstrap."""
    return f"{100 * one['difference']:+.1f} points ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"


def said(one: dict[str, Any]) -> str:
    """The outcome for a reader."""
    return one["outcome"] if one["outcome"] == OUTCOMES[1] else f"Semi-ViT is {one['outcome']}"


def answer(found: Sequence[dict[str, Any]]) -> str:
    """All comparisons at half of the labels in one line, or at the largest share below 1; "" where there are none."""
    shares = {one["label_fraction"] for one in found}
    if not shares:
        return ""
    half = 0.5 if 0.5 in shares else max(shares)
    own = [one for one in found if one["label_fraction"] == half]
    return f"Does Semi-ViT with {half:.0%} of the labels match ViT with all of them? {_answer(own)}"


def _answer(own: Sequence[dict[str, Any]]) -> str:
    if len(own) == 1:
        one = own[0]
        words = {"better": "Yes, it is better", "worse": "No, it is worse"}.get(one["outcome"], "No difference shown")
        return f"{words}: {points(one)}, McNemar p = {one['p']:.2g}"
    counts = Counter(one["outcome"] for one in own)
    parts = ", ".join(f"{name} in {counts[name]}" for name in OUTCOMES)
    return f"Of {len(own)} comparisons: {parts} (McNemar, p < {LEVEL:g})"
