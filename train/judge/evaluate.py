"""What a bundle is worth on pictures with known labels: overall, by class, by marketplace, by how far people agreed.

Reading test is counted in the run's record: the more often it is read while choices are still made, the less it proves.
"""

from __future__ import annotations

import fcntl
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.files import write_text
from schemas.manifest import Manifest, read_manifest
from train.bundle import Bundle, open_bundle
from train.judge.calibrate import PRECISIONS, at_temperature, coverage
from train.judge.metrics import judge, judge_groups
from train.predict.places import Items, same_classes
from train.text import counted, interval, markdown_table, share

SPLITS = ("test", "val", "train")


@dataclass(frozen=True)
class Evaluation:
    """Figures of one bundle on one split of one manifest, and what must be said beside them."""

    found: dict[str, Any]

    def markdown(self) -> str:
        """Tables and notes."""
        f = self.found
        parts = [f"## {f['run']} on {f['split']}", "", _overall(f), ""]
        for title, rows in (
            ("Class", f["per_class"]),
            ("Marketplace", f["per_marketplace"]),
            ("Votes", f["per_agreement"]),
        ):
            if len(rows) > 1:
                parts += [_groups(title, rows), ""]
        parts += [_coverage(f["coverage"]), "", *(f"- {note}" for note in f["notes"])]
        return "\n".join(parts)

    def line(self) -> str:
        """The result in a line."""
        f = self.found
        return f"{f['run']}: Acc@1 {share(f['right'], f['n'])} on {f['split']} ({interval(f['right'], f['n'])}), CE {f['ce']:.3f}"


def evaluate(
    bundles: Sequence[Path],
    manifest: Path,
    *,
    split: str = "test",
    pictures: Path | None = None,
    other_manifest: bool = False,
) -> list[Evaluation]:
    """Judge each bundle on the labeled pictures of one split. Each reading of test is counted before it is read.

    Raises UserError, before anything is read, when a bundle has other classes, or was trained on another manifest (unless
    `other_manifest`: then nothing says that the model did not learn from these very pictures).
    """
    if split not in SPLITS:
        raise UserError(f"--split {split}: choose {', '.join(SPLITS)}")
    known = read_manifest(manifest)
    opened = [open_bundle(folder) for folder in bundles]
    for bundle in opened:
        _check(bundle, known, other_manifest)
    rows = known.rows[known.rows["dropped"].isna() & (known.rows["split"] == split) & known.rows["label"].notna()]
    if rows.empty:
        raise UserError(f"{manifest}: no labeled picture is in {split}; run `curate split`, or choose another --split")
    return [_evaluate(bundle, known, rows.reset_index(drop=True), split, pictures) for bundle in opened]


def _check(bundle: Bundle, manifest: Manifest, other_manifest: bool) -> None:
    same_classes(manifest, bundle.classes)
    if bundle.ours["manifest_id"] != manifest.manifest_id and not other_manifest:
        raise UserError(
            f"{manifest.path}: is manifest {manifest.manifest_id[:12]}, but {bundle.folder} was trained on "
            f"{bundle.ours['manifest_id'][:12]}; name that one, or add --other-manifest if these pictures were never trained on"
        )


def _evaluate(bundle: Bundle, manifest: Manifest, rows: pd.DataFrame, split: str, pictures: Path | None) -> Evaluation:
    from train.data import picture_source
    from train.predict.infer import infer

    reads = count_test_read(bundle.folder) if split == "test" else None
    items = Items(
        rows[["path", "image_id", "split", "label"]].astype(object), picture_source(manifest, pictures), pd.DataFrame()
    )
    with tempfile.TemporaryDirectory() as work:
        image_id, probs, reasons = infer(bundle, items, Path(work) / "parts")
    read = image_id != ""
    if 2 * int(read.sum()) <= len(rows):
        first = int(np.flatnonzero(~read)[0])
        raise UserError(
            f"{int((~read).sum())} of {len(rows)} pictures cannot be read, the first is {rows['path'][first]} "
            f"({reasons[first]}); name their folder, or a pack, with --pictures"
        )
    found = figures(probs[read], rows[read].reset_index(drop=True), bundle)
    notes = _notes(bundle, manifest, rows, int((~read).sum()), reads, split)
    ours = {key: bundle.ours[key] for key in ("run", "task", "method", "label_fraction", "model_id", "seed")}
    unreadable = {str(rows["image_id"][i]): reasons[i] for i in np.flatnonzero(~read)}
    return Evaluation({**ours, "split": split, "manifest_id": manifest.manifest_id, "split_version": _version(manifest, split),
                       "test_reads": reads, **found, "unreadable": unreadable, "notes": notes})  # fmt: skip


def figures(probs: np.ndarray, rows: pd.DataFrame, bundle: Bundle) -> dict[str, Any]:
    """All figures of some predictions [n, K] as trained, for labeled manifest rows in the same order."""
    classes = bundle.classes
    truth = rows["label"].map({name: i for i, name in enumerate(classes)}).to_numpy()
    calm = at_temperature(probs, bundle.temperature)
    calibrated = judge(calm, truth, classes)
    return {
        **judge(probs, truth, classes),
        "temperature": bundle.temperature,
        "ce_calibrated": calibrated["ce"],
        "ece_calibrated": calibrated["ece"],
        "per_marketplace": judge_groups(probs, truth, rows["marketplaces"].tolist(), rows["marketplace"].tolist()),
        "per_agreement": judge_groups(probs, truth, _agreement(rows)),
        "coverage": [{"precision": p, **coverage(calm, truth, classes, bundle.thresholds(p))} for p in PRECISIONS],
    }


def _agreement(rows: pd.DataFrame) -> list[list[str]]:
    """How far people agreed about each picture; nothing where nobody was asked."""
    return [
        [] if pd.isna(n) or not n else ["all agree" if n == agree else "not all agree"]
        for n, agree in zip(rows["n_votes"], rows["n_agree"], strict=True)
    ]


def count_test_read(folder: Path) -> int | None:
    """Add one to the readings of test in the run's record and return their number; None where there is no record.

    Raises UserError when the record is there and cannot be written: then test is not read.
    """
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        with (folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            record = json.loads(path.read_text(encoding="utf-8"))
            record["test_reads"] = int(record.get("test_reads", 1)) + 1
            write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: reading test must be counted there, and it cannot be written ({error})") from error
    return record["test_reads"]


def _version(manifest: Manifest, split: str) -> int | None:
    """The version of a split, as `curate split` counts it."""
    return manifest.info.get("versions", {}).get(split, {}).get("version")


def _notes(
    bundle: Bundle, manifest: Manifest, rows: pd.DataFrame, unreadable: int, reads: int | None, split: str
) -> list[str]:
    """What a reader must know to read the figures right."""
    version = _version(manifest, split)
    notes = [
        f"Manifest {manifest.manifest_id[:12]}" + (f", {split} version {version}" if version else "") + f"; trained on "
        f"{bundle.ours['label_fraction']:.0%} of the labels."
    ]
    if split == "test":
        said = (
            f"Test has now been read {reads} times by this run" if reads else "No run.json: this reading is not counted"
        )
        notes.append(f"{said}; choices belong to val.")
    if split == "train":
        notes.append("The model learned from these pictures: the figures say nothing about others.")
    if bundle.ours["manifest_id"] != manifest.manifest_id:
        notes.append(f"Trained on another manifest, {bundle.ours['manifest_id'][:12]}.")
    several = int(rows["marketplaces"].map(lambda names: names is not None and len(names) > 1).sum())
    if several:
        notes.append(f"Shown by several marketplaces, and counted in each of them: {counted(several, 'picture')}.")
    if unreadable:
        notes.append(f"{counted(unreadable, 'picture')} could not be read; no figure counts them.")
    return notes


def _overall(f: dict[str, Any]) -> str:
    rows = [["Acc@1", share(f["right"], f["n"]), interval(f["right"], f["n"])]]
    if f["acc5"] is not None:
        rows.append(["Acc@5", share(f["right5"], f["n"]), interval(f["right5"], f["n"])])
    rows += [
        [
            "Macro accuracy",
            f"{f['macro']:.1%}",
            f"mean over the {sum(c['n'] > 0 for c in f['per_class'])} classes that occur",
        ],
        ["Cross entropy", f"{f['ce']:.3f}", f"{f['ce_calibrated']:.3f} at temperature {f['temperature']:.2f}"],
        ["ECE", f"{f['ece']:.3f}", f"{f['ece_calibrated']:.3f} at temperature {f['temperature']:.2f}"],
        ["Chance", f"{f['chance']:.1%}", f"always the largest class: {f['largest_class']:.1%}"],
    ]
    return markdown_table(["Figure", "Value", "95 % interval, or beside it"], rows)


def _groups(title: str, rows: list[dict[str, Any]]) -> str:
    body = [[row["label"], share(row["right"], row["n"]), interval(row["right"], row["n"])] for row in rows]
    return markdown_table([title, "Acc@1", "95 % interval"], body)


def _coverage(rows: list[dict[str, Any]]) -> str:
    body = [
        [f"{row['precision']:.0%}", share(row["answered"], row["n"]), share(row["right"], row["answered"]),
         interval(row["right"], row["answered"])]
        for row in rows
    ]  # fmt: skip
    return markdown_table(["Wished precision", "Answered", "Right of these", "95 % interval"], body)


def by_label_share(found: Sequence[Evaluation]) -> str:
    """Several bundles as one table, least labels first."""
    order = sorted(found, key=lambda one: (one.found["label_fraction"], one.found["method"], one.found["run"]))
    body = [
        [f"{f['label_fraction']:.0%}", f["run"], share(f["right"], f["n"]), interval(f["right"], f["n"]), f"{f['macro']:.1%}",
         f"{f['ce']:.3f}"]
        for f in (one.found for one in order)
    ]  # fmt: skip
    return markdown_table(["Labels", "Run", "Acc@1", "95 % interval", "Macro", "CE"], body)


def write_evaluations(found: Sequence[Evaluation], out: Path | None) -> str:
    """The text for a terminal; with `out` also written as the file's ending says, .md or .json."""
    text = "\n\n".join([*([by_label_share(found)] if len(found) > 1 else []), *(one.markdown() for one in found)])
    if out is None:
        return text
    forms = {".md": text, ".json": json.dumps([one.found for one in found], indent=1, ensure_ascii=False)}
    write_text(out, forms[out.suffix] + "\n")
    return "\n".join([*(one.line() for one in found), f"-> {out}"])


def check_out(out: Path | None) -> None:
    """Raise UserError for an ending that is not known, before test is read."""
    if out is not None and out.suffix not in (".md", ".json"):
        raise UserError(f"--out {out}: end it with .md or .json")
