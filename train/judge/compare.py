"""Two models on the same test pictures: is one really better?

Their intervals may overlap and the difference still be real, because both were asked the same pictures: what counts is where
they disagree. Anything that wrote PREDICTIONS can be compared, the linear probe of `curate probe` too. Where each was trained
with several seeds, the means over seeds are compared, and the test counts how far seeds alone lie apart.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.files import write_text
from schemas.tables import PREDICTIONS
from train.judge.calibrate import at_temperature
from train.judge.metrics import bootstrap, judge, paired_test
from train.text import interval, share


@dataclass(frozen=True)
class Answers:
    """What one model said of test pictures with a label."""

    name: str
    manifest_id: str
    classes: list[str]
    seed: int | None  # None where the file does not say
    rows: pd.DataFrame  # indexed by image_id: label, probs as trained

    @property
    def of(self) -> str:
        """The name without its seed: runs that share it are seeds of one model."""
        return without_seed(self.name)

    def probs(self, image_ids: pd.Index) -> np.ndarray:
        """Probabilities of some pictures. [n, K]"""
        return np.stack(self.rows.loc[image_ids, "probs"].to_list()).astype(np.float64)


def read_answers(path: Path) -> Answers:
    """The test rows of a run folder or a PREDICTIONS file, temperatures undone; UserError where there are none."""
    path = Path(path)
    file = path / "predictions.parquet" if path.is_dir() else path
    table = PREDICTIONS.read(file)
    known = PREDICTIONS.metadata(file)
    classes = json.loads(known.get("consenso.classes", "null"))
    if not classes:
        raise UserError(f"{file}: carries no class list (pandas drops it); give the file as `train` wrote it")
    test = table[(table["split"] == "test") & table["label"].notna()]
    if test.empty:
        raise UserError(f"{file}: has no prediction of a labeled test picture")
    probs = np.stack(test["probs"].to_list())
    for temperature in set(test["temperature"]) - {1.0}:
        mine = (test["temperature"] == temperature).to_numpy()
        probs[mine] = at_temperature(probs[mine], 1 / temperature)
    rows = pd.DataFrame({"label": test["label"].to_numpy(), "probs": list(probs)}, index=pd.Index(test["image_id"]))
    seed = json.loads(known.get("consenso.run", "{}")).get("seed")
    return Answers(str(test["run"].iloc[0]), str(test["manifest_id"].iloc[0]), classes, seed, rows)


def without_seed(name: str) -> str:
    """A run's name without the -s0 at its end, which is all that its other seeds have another one of."""
    return re.sub(r"-s\d+$", "", name)


def compare(runs: Sequence[Path]) -> dict[str, Any]:
    """Two models on the test pictures that all their runs predicted: the second against the first.

    Two runs are compared as they are. More are seeds of two models: runs whose names differ only in -s<seed> belong together.
    Raises UserError for anything but two, for two class lists, two manifests, or no picture in common.
    """
    answers = [read_answers(run) for run in runs]
    if len(answers) == 2:
        return compare_answers(answers[:1], answers[1:])
    groups: dict[str, list[Answers]] = {}
    for one in answers:
        groups.setdefault(one.of, []).append(one)
    if len(groups) != 2:
        raise UserError(
            f"two models compare, given {len(groups)}: {', '.join(groups) or 'none'} (seeds of one are named alike but for -s0, -s1, …)"
        )
    return compare_answers(*groups.values())


def compare_answers(a: Sequence[Answers], b: Sequence[Answers]) -> dict[str, Any]:
    """Two models, each of one run or of several seeds: exact McNemar tests, and the paired bootstrap of b against a.

    Of several seeds `right_a`, `ce_a` and the bootstrap are of their mean, `spread_a` is the standard deviation of Acc@1
    between them, `p` is the bootstrap's for Acc@1, and McNemar's tests stand in `per_seed`, one for each seed that both have:
    they share their pictures, so they do not add up to one.
    """
    both = _in_common(a, b)
    classes = a[0].classes
    truth = a[0].rows.loc[both, "label"].map({name: i for i, name in enumerate(classes)}).to_numpy()
    probs = [np.stack([run.probs(both) for run in runs]) for runs in (a, b)]  # [S, n, K]
    right = [p.argmax(axis=2) == truth for p in probs]  # [S, n]
    seeds = [[run.seed for run in runs] for runs in (a, b)]
    several = len(a) > 1 or len(b) > 1
    paired = seeds[0] == seeds[1] and None not in seeds[0]
    boot = bootstrap(probs[0], probs[1], truth, paired_seeds=paired)
    tests = [
        {"seed": seed, **paired_test(right[0][i], right[1][seeds[1].index(seed)])}
        for i, seed in enumerate(seeds[0])
        if seed is not None and seed in seeds[1]
    ]
    found: dict[str, Any] = {"n": len(both), "only_one_predicted": len(_all_of([*a, *b])) - len(both)}
    for who, runs, rights, p in zip("ab", (a, b), right, probs, strict=True):
        counts = rights.sum(axis=1).tolist()
        found |= {
            who: runs[0].name if len(runs) == 1 else runs[0].of,
            f"seeds_{who}": [run.seed for run in runs],
            f"right_{who}": counts[0] if len(runs) == 1 else statistics.mean(counts),
            f"spread_{who}": statistics.stdev(counts) / len(both) if len(runs) > 1 else None,
            f"ce_{who}": statistics.mean(judge(one, truth, classes)["ce"] for one in p),
        }
    one_test = {"p": boot["acc1"]["p"], "per_seed": tests} if several else paired_test(right[0][0], right[1][0])
    return {**found, **one_test, "bootstrap": boot}


def _in_common(a: Sequence[Answers], b: Sequence[Answers]) -> pd.Index:
    """The pictures that every run predicted; UserError where runs cannot be compared."""
    one = a[0]
    for two in [*a[1:], *b]:
        if one.classes != two.classes:
            raise UserError(
                f"{one.name} has the classes {', '.join(one.classes)}, {two.name} {', '.join(two.classes)}: nothing to compare"
            )
        if one.manifest_id != two.manifest_id:
            raise UserError(
                f"{two.name} stands on manifest {two.manifest_id[:8]}, {one.name} on {one.manifest_id[:8]}; only runs on one "
                "manifest compare"
            )
    for runs in (a, b):
        names = [run.name for run in runs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(f"{min(twice)} is named twice; each seed counts once")
    both = one.rows.index
    for two in [*a[1:], *b]:
        both = both.intersection(two.rows.index)
    if both.empty:
        raise UserError(f"{one.name} and {b[0].name} predicted no test picture in common")
    return both.sort_values()


def _all_of(runs: Sequence[Answers]) -> set[str]:
    return {image_id for run in runs for image_id in run.rows.index}


def verdict(found: dict[str, Any]) -> str:
    """How a comparison ends, in words; the same ones everywhere."""
    return "a real difference" if found["p"] < 0.05 else "no difference shown"


def by_seed(tests: Sequence[dict[str, Any]]) -> str:
    """McNemar's test of each seed, for the end of a sentence; nothing where no seed is common."""
    if not tests:
        return ""
    return "; McNemar seed by seed: p = " + ", ".join(f"{test['p']:.2g}" for test in tests)


def sentence(found: dict[str, Any]) -> str:
    """The test in a line."""
    boot = found["bootstrap"]["acc1"]
    apart = f"{100 * boot['difference']:+.1f} points, 95 % {100 * boot['low']:+.1f} to {100 * boot['high']:+.1f}"
    if "per_seed" in found:
        return (
            f"{_named(found, 'a')} and {_named(found, 'b')} on {found['n']} pictures: second minus first {apart}, p = "
            f"{found['p']:.2g} (pictures and seeds drawn again): {verdict(found)}{by_seed(found['per_seed'])}"
        )
    return (
        f"{found['a']} and {found['b']}: {found['only_a']} pictures only the first has right, {found['only_b']} only the "
        f"second, of {found['n']} (McNemar p = {found['p']:.2g}: {verdict(found)}; second minus first {apart})"
    )


def _named(found: dict[str, Any], who: str) -> str:
    seeds = found[f"seeds_{who}"]
    return found[who] + (f" (seeds {', '.join(map(str, seeds))})" if len(seeds) > 1 else "")


def _accuracy(found: dict[str, Any], who: str) -> str:
    """One model's Acc@1: the count, or of several seeds the mean, how far they lie apart, and the interval of the mean count."""
    n, right, spread = found["n"], found[f"right_{who}"], found[f"spread_{who}"]
    if spread is None:
        return f"{share(right, n)}, {interval(right, n)}"
    return f"{right / n:.1%} ± {100 * spread:.1f} (mean and standard deviation of {len(found[f'seeds_{who}'])} seeds, n = {n}), {interval(round(right), n)}"


def write_comparison(found: dict[str, Any], out: Path | None) -> str:
    """The comparison for a terminal, or in JSON with a line about it."""
    if out is not None:
        if out.suffix != ".json":
            raise UserError(f"--out {out}: end it with .json")
        write_text(out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return f"{sentence(found)} -> {out}"
    lines = [f"{_named(found, who)}: Acc@1 {_accuracy(found, who)}; CE {found[f'ce_{who}']:.3f}" for who in "ab"]
    for name, said, unit in (("acc1", "Acc@1", 100), ("macro", "macro accuracy", 100), ("ce", "cross entropy", 1)):
        one = found["bootstrap"][name]
        words = "points" if unit == 100 else "nats"
        lines.append(
            f"second minus first, {said}: {unit * one['difference']:+.3g} {words}, 95 % {unit * one['low']:+.3g} to "
            f"{unit * one['high']:+.3g} (paired bootstrap, p = {one['p']:.2g})"
        )
    lines.append(sentence(found))
    if found["only_one_predicted"]:
        lines.append(f"{found['only_one_predicted']} pictures that not all of them predicted are left out")
    return "\n".join(lines)
