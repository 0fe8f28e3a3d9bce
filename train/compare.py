"""Two models on the same test pictures: is one really better?

Their intervals may overlap and the difference still be real, because both were asked the same pictures: what counts is where
they disagree. Anything that wrote PREDICTIONS can be compared, the linear probe of `curate probe` too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.files import write_text
from schemas.tables import PREDICTIONS
from train.calibrate import at_temperature
from train.metrics import bootstrap, judge, paired_test
from train.text import interval, share


@dataclass(frozen=True)
class Answers:
    """What one model said of test pictures with a label."""

    name: str
    manifest_id: str
    classes: list[str]
    rows: pd.DataFrame  # indexed by image_id: label, probs as trained

    def probs(self, image_ids: pd.Index) -> np.ndarray:
        """Probabilities of some pictures. [n, K]"""
        return np.stack(self.rows.loc[image_ids, "probs"].to_list()).astype(np.float64)


def read_answers(path: Path) -> Answers:
    """The test rows of a run folder or a PREDICTIONS file, temperatures undone; UserError where there are none."""
    path = Path(path)
    file = path / "predictions.parquet" if path.is_dir() else path
    table = PREDICTIONS.read(file)
    classes = json.loads(PREDICTIONS.metadata(file).get("consenso.classes", "null"))
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
    return Answers(str(test["run"].iloc[0]), str(test["manifest_id"].iloc[0]), classes, rows)


def compare(a: Path, b: Path) -> dict[str, Any]:
    """The exact McNemar test and the paired bootstrap of b against a, on the test pictures that both predicted.

    Raises UserError for two class lists, two manifests, or no picture in common.
    """
    return compare_answers(read_answers(a), read_answers(b))


def compare_answers(one: Answers, two: Answers) -> dict[str, Any]:
    """As `compare`, for answers that were read."""
    if one.classes != two.classes:
        raise UserError(
            f"{one.name} has the classes {', '.join(one.classes)}, {two.name} {', '.join(two.classes)}: nothing to compare"
        )
    if one.manifest_id != two.manifest_id:
        raise UserError(
            f"{two.name} stands on manifest {two.manifest_id[:8]}, {one.name} on {one.manifest_id[:8]}; only runs on one "
            "manifest compare"
        )
    both = one.rows.index.intersection(two.rows.index).sort_values()
    if both.empty:
        raise UserError(f"{one.name} and {two.name} predicted no test picture in common")
    truth = one.rows.loc[both, "label"].map({name: i for i, name in enumerate(one.classes)}).to_numpy()
    probs = [one.probs(both), two.probs(both)]
    right = [p.argmax(axis=1) == truth for p in probs]
    return {
        "a": one.name,
        "b": two.name,
        "n": len(both),
        "only_one_predicted": len(one.rows) + len(two.rows) - 2 * len(both),
        "right_a": int(right[0].sum()),
        "right_b": int(right[1].sum()),
        "ce_a": judge(probs[0], truth, one.classes)["ce"],
        "ce_b": judge(probs[1], truth, one.classes)["ce"],
        **paired_test(right[0], right[1]),
        "bootstrap": bootstrap(probs[0], probs[1], truth),
    }


def sentence(found: dict[str, Any]) -> str:
    """The test in a line."""
    boot = found["bootstrap"]["acc1"]
    verdict = "a real difference" if found["p"] < 0.05 else "no difference shown"
    return (
        f"{found['a']} and {found['b']}: {found['only_a']} pictures only the first has right, {found['only_b']} only the "
        f"second, of {found['n']} (McNemar p = {found['p']:.2g}: {verdict}; second minus first "
        f"{100 * boot['difference']:+.1f} points, 95 % {100 * boot['low']:+.1f} to {100 * boot['high']:+.1f})"
    )


def write_comparison(found: dict[str, Any], out: Path | None) -> str:
    """The comparison for a terminal, or in JSON with a line about it."""
    if out is not None:
        if out.suffix != ".json":
            raise UserError(f"--out {out}: end it with .json")
        write_text(out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return f"{sentence(found)} -> {out}"
    n = found["n"]
    lines = [
        f"{found[who]}: Acc@1 {share(found[f'right_{who}'], n)}, {interval(found[f'right_{who}'], n)}; CE {found[f'ce_{who}']:.3f}"
        for who in ("a", "b")
    ]
    for name, said, unit in (("acc1", "Acc@1", 100), ("macro", "macro accuracy", 100), ("ce", "cross entropy", 1)):
        one = found["bootstrap"][name]
        words = "points" if unit == 100 else "nats"
        lines.append(
            f"second minus first, {said}: {unit * one['difference']:+.3g} {words}, 95 % {unit * one['low']:+.3g} to "
            f"{unit * one['high']:+.3g} (paired bootstrap, p = {one['p']:.2g})"
        )
    lines.append(sentence(found))
    if found["only_one_predicted"]:
        lines.append(f"{found['only_one_predicted']} pictures that only one of them predicted are left out")
    return "\n".join(lines)
