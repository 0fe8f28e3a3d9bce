"""Runs side by side, as in the paper: method and label share, Acc@1, Acc@5, cross entropy, with counts and intervals."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.files import write_text
from schemas.tables import PREDICTIONS
from train.metrics import paired_test
from train.recipe import METHODS
from train.run import read_record

_NAMES = {"resnet18": "ResNet18", "vit": "ViT", "semivit": "Semi-ViT"}


@dataclass(frozen=True)
class Comparison:
    """What a report shows: one row a run, the paired tests, and what must be said beside them."""

    rows: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    notes: list[str]

    def markdown(self) -> str:
        """The table and its notes as Markdown."""
        head = ["Method", "Labels", "Acc@1", "95 % interval", "Acc@5", "Macro", "CE", "ECE", "Seed", "Minutes"]
        body = [_cells(row) for row in self.rows]
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
        lines = [
            " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [head, *body]
        ]
        rule = " | ".join("-" * width for width in widths)
        table = "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])
        said = [_pair_sentence(pair) for pair in self.pairs]
        return "\n".join([table, "", *(f"- {note}" for note in [*said, *self.notes])])

    def json(self) -> str:
        """Everything as JSON, shares between 0 and 1."""
        return json.dumps({"rows": self.rows, "pairs": self.pairs, "notes": self.notes}, indent=1, ensure_ascii=False)

    def html(self) -> str:
        """The table and its notes as one page that needs nothing else."""
        head = ("Method", "Labels", "Acc@1", "95 % interval", "Acc@5", "Macro", "CE", "ECE", "Seed", "Minutes")
        cells = "".join(f"<th>{name}</th>" for name in head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in _cells(row)) + "</tr>" for row in self.rows
        )
        notes = "".join(f"<li>{html.escape(n)}</li>" for n in [*map(_pair_sentence, self.pairs), *self.notes])
        return _PAGE.format(head=cells, rows=rows, notes=notes)


def report(runs: Sequence[Path]) -> Comparison:
    """The comparison of finished runs; raises UserError when they stand on different manifests."""
    records = [read_record(Path(run)) for run in runs]
    for record in records[1:]:
        if record["manifest_id"] != records[0]["manifest_id"]:
            raise UserError(
                f"{record['run']} stands on manifest {record['manifest_id'][:8]}, {records[0]['run']} on "
                f"{records[0]['manifest_id'][:8]}; one table compares runs on one manifest"
            )
    found = [_row(Path(run), record) for run, record in zip(runs, records, strict=True)]
    order = sorted(range(len(found)), key=lambda i: (METHODS.index(found[i]["method"]), found[i]["label_fraction"], i))
    return Comparison(
        [found[i] for i in order],
        _pairs([Path(runs[i]) for i in order], [found[i] for i in order]),
        _notes(records, found),
    )


def write_report(comparison: Comparison, out: Path) -> None:
    """Write the comparison as the file's ending says: .html, .md or .json."""
    forms = {".html": comparison.html, ".md": comparison.markdown, ".json": comparison.json}
    if out.suffix not in forms:
        raise UserError(f"--out {out}: end it with .html, .md or .json")
    write_text(out, forms[out.suffix]() + "\n")


def one_line(record: dict[str, Any]) -> str:
    """A run's result in a line: accuracy with its interval and count, cross entropy."""
    from schemas.interval import wilson

    test = record["test"]
    low, high = wilson(test["right"], test["n"])
    return (
        f"{_NAMES[record['method']]}: Acc@1 {test['acc1']:.1%} on test ({low:.1%} to {high:.1%}, "
        f"{test['right']} of {test['n']}), CE {test['ce']:.3f}"
    )


def _row(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """One line of the table, from the run's own files."""
    try:
        test = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise UserError(f"{folder}/metrics.json: cannot be read; train the run again with --fresh") from error
    keys = ("n", "right", "acc1", "acc1_low", "acc1_high", "acc5", "macro", "ce", "ece", "chance")
    return {
        "run": record["run"],
        "method": record["method"],
        "name": _NAMES[record["method"]],
        "label_fraction": record["label_fraction"],
        "labels": record["counts"]["labeled"],
        "unlabeled": record["counts"]["unlabeled"] if record["method"] == "semivit" else 0,
        "seed": record["seed"],
        "wall_seconds": record["wall_seconds"],
        **{key: test[key] for key in keys},
    }


def _cells(row: dict[str, Any]) -> list[str]:
    extra = f" + {row['unlabeled']} unlabeled" if row["unlabeled"] else ""
    return [
        row["name"],
        f"{row['label_fraction']:.0%} ({row['labels']}{extra})",
        f"{row['acc1']:.1%} ({row['right']}/{row['n']})",
        f"{row['acc1_low']:.1%} – {row['acc1_high']:.1%}",
        "–" if row["acc5"] is None else f"{row['acc5']:.1%}",
        f"{row['macro']:.1%}",
        f"{row['ce']:.3f}",
        f"{row['ece']:.3f}",
        str(row["seed"]),
        f"{row['wall_seconds'] / 60:.1f}",
    ]


def _pairs(folders: list[Path], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A paired test between every two runs, on the test pictures that both predicted."""
    tables = [
        PREDICTIONS.read(folder / "predictions.parquet", ["image_id", "split", "label", "predicted"])
        for folder in folders
    ]
    right = []
    for table in tables:
        test = table[table["split"] == "test"].set_index("image_id")
        right.append(test["label"] == test["predicted"])
    found = []
    for a, b in itertools.combinations(range(len(rows)), 2):
        both = right[a].index.intersection(right[b].index)
        one, two = right[a][both].to_numpy(dtype=bool), right[b][both].to_numpy(dtype=bool)
        found.append({"a": rows[a]["run"], "b": rows[b]["run"], "n": len(both), **paired_test(one, two)})
    return found


def _pair_sentence(pair: dict[str, Any]) -> str:
    verdict = "a real difference" if pair["p"] < 0.05 else "no difference shown"
    return (
        f"{pair['a']} and {pair['b']}: {pair['only_a']} pictures only the first has right, {pair['only_b']} only the second, "
        f"of {pair['n']} (McNemar p = {pair['p']:.2g}: {verdict})"
    )


def _notes(records: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    """What a reader must know to read the table right."""
    notes = [
        f"Manifest {records[0]['manifest_id']}, {len(records[0]['classes'])} classes; chance is {rows[0]['chance']:.1%}."
    ]
    notes.append("Val chose the weights; test was read once, at the end of each run.")
    if fresh := sorted({record["model"]["name"] for record in records if record["model"]["weights"] == "random"}):
        notes.append(
            f"{' and '.join(fresh)} started from random weights: this says nothing about what pretrained models reach."
        )
    if any(record["stage1"] for record in records):
        notes.append("Semi-ViT went on from a finished ViT run; its minutes are those of stage 2 alone.")
    sources = sorted({f"{r['model']['name']} ({r['model']['license']})" for r in records})
    notes.append(f"Models and license of their weights: {'; '.join(sources)}.")
    if len({row["seed"] for row in rows}) == 1:
        notes.append("One seed: a difference within the intervals is no ordering.")
    if bad := sum(len(r["unreadable"]) for r in records):
        notes.append(f"{bad} pictures could not be read; the run records list them.")
    return notes


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Runs compared</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1c1c }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .4rem .7rem; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }}
</style>
<h1>Runs compared</h1>
<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
<ul>{notes}</ul>
</html>"""
