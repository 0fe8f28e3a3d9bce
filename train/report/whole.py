"""The report as a whole: Markdown for a terminal, JSON for programs, one HTML page with plots and pictures for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.files import write_text
from train.judge.compare import by_seed, verdict
from train.report.claim import answer, claim_text, claims
from train.report.details import details
from train.report.gather import NAMES, Task, gather
from train.report.tables import pairs, run_rows, table1, table2, table3
from train.text import counted, interval, markdown_table, share


@dataclass(frozen=True)
class Report:
    """Everything that a report shows, as plain values; shares between 0 and 1."""

    tasks: list[Task]
    rows: list[dict[str, Any]]  # one a run
    pairs: list[dict[str, Any]]  # tests between runs
    notes: list[str]
    table1: list[dict[str, Any]]
    table2: list[dict[str, Any]]
    table3: list[dict[str, Any]]
    details: list[dict[str, Any]]  # one a task: the run that val likes best
    claims: list[dict[str, Any]]  # Semi-ViT with fewer labels against ViT with all
    pictures: Path | None = field(default=None)

    def json(self) -> str:
        """All figures."""
        names = ("rows", "pairs", "notes", "table1", "table2", "table3", "details", "claims")
        return json.dumps({name: getattr(self, name) for name in names}, indent=1, ensure_ascii=False)

    def html(self) -> str:
        """One page that needs nothing else."""
        from train.report.page import render

        return render(self)

    def markdown(self) -> str:
        """The tables and sections, without plots and pictures."""
        parts = ["# Runs compared", "", *_title("Table 1: the data"), _table1(self.table1), ""]
        parts += [*_title("Table 2: methods and label shares"), table2_text(self.table2), ""]
        if self.table3:
            parts += [*_title("Table 3: the unlabeled pool"), _table3(self.table3), ""]
        parts += _title("5.1 Which method, with how many labels")
        if self.claims:
            parts += [f"**{answer(self.claims)}.**", "", *(f"- {claim_text(one)}" for one in self.claims), ""]
        parts += [*(f"- {pair_text(pair)}" for pair in self.pairs), ""]
        parts += ["## 5.2 Where it goes wrong", ""]
        for one in self.details:
            parts += [*_details(one), ""]
        return "\n".join([*parts, "## How to read this", "", *(f"- {note}" for note in self.notes)])


def report(runs: Sequence[Path], pictures: Path | None = None) -> Report:
    """The report of finished runs, of one task or several.

    Raises UserError when runs of one task stand on different manifests: one table compares only what was measured alike.
    """
    tasks = gather(runs)
    second = [(task, table2(task)) for task in tasks]
    found = [pair for task in tasks for pair in pairs(task)]
    return Report(
        tasks,
        [row for task in tasks for row in run_rows(task)],
        found,
        [note for task in tasks for note in _notes(task, len(tasks) > 1)] + _common_notes(tasks, found),
        table1(tasks),
        [row for _, rows in second for row in rows],
        [row for task, rows in second for row in table3(task, rows)],
        [details(task, task.best) for task in tasks],
        [one for task in tasks for one in claims(task)],
        pictures,
    )


def write_report(found: Report, out: Path) -> None:
    """Write the report as the file's ending says: .html, .md or .json."""
    forms = {".html": found.html, ".md": found.markdown, ".json": found.json}
    if out.suffix not in forms:
        raise UserError(f"--out {out}: end it with .html, .md or .json")
    write_text(out, forms[out.suffix]() + "\n")


def one_line(record: dict[str, Any]) -> str:
    """A run's result in a line: accuracy with its interval and count, cross entropy."""
    from schemas.interval import wilson

    test = record["test"]
    low, high = wilson(test["right"], test["n"])
    return (
        f"{NAMES[record['method']]}: Acc@1 {test['acc1']:.1%} on test ({low:.1%} to {high:.1%}, "
        f"{test['right']} of {test['n']}), CE {test['ce']:.3f}"
    )


def _title(name: str) -> list[str]:
    return [f"## {name}", ""]


def _table1(rows: list[dict[str, Any]]) -> str:
    return markdown_table(TABLE1_HEAD, [table1_cells(row) for row in rows])


TABLE1_HEAD = ("Task", "Classes", "Train", "Val", "Test", "Unlabeled", "Versions", "Manifest")


def table1_cells(row: dict[str, Any]) -> list[str]:
    """One line of Table 1; a count of train pictures that only a run with fewer labels tells has a `≥`."""
    train = f"{row['train']:,}" if row["exact"] else f"≥ {row['train']:,}"
    versions = ", ".join(f"{split} {number}" for split, number in row["versions"].items()) or "–"
    counts = [f"{row[name]:,}" for name in ("val", "test", "unlabeled")]
    return [row["task"], str(row["classes"]), train, *counts, versions, row["manifest_id"][:12]]


TABLE2_HEAD = (
    "Task",
    "Method",
    "Labels",
    "Acc@1",
    "95 % interval",
    "Acc@5",
    "Macro",
    "CE",
    "ECE",
    "Seed",
    "Minutes",
    "Cost",
)


def table2_cells(row: dict[str, Any]) -> list[str]:
    """One line of Table 2; with several seeds the mean, and how far they lie apart."""
    extra = f" + {row['unlabeled']:,} unlabeled" if row["unlabeled"] else ""
    several = row["spread"] is not None
    top = f"{row['acc1']:.1%} ± {100 * row['spread']:.1f}" if several else share(row["right"], row["n"])
    return [
        row["task"],
        row["name"],
        f"{row['label_fraction']:.0%} ({row['labels']:,}{extra})",
        f"{top} (n = {row['n']})" if several else top,
        f"{row['acc1_low']:.1%} – {row['acc1_high']:.1%}",
        "–" if row["acc5"] is None else f"{row['acc5']:.1%}",
        f"{row['macro']:.1%}",
        f"{row['ce']:.3f}",
        f"{row['ece']:.3f}",
        ", ".join(map(str, row["seeds"])),
        f"{row['minutes']:.1f}",
        _cost(row["cost"]),
    ]


def _cost(cost: dict[str, Any] | None) -> str:
    """Dollars, else hours of a GPU or machine, of one run."""
    if cost is None:
        return "–"
    if cost["cost_usd"] is not None:
        return f"{cost['cost_usd']:.2f} USD"
    return f"{cost['device_hours']:.{2 if cost['device_hours'] >= 1 else 4}f} {cost['device']} h"


def table2_text(rows: list[dict[str, Any]]) -> str:
    """Table 2 in Markdown."""
    return markdown_table(TABLE2_HEAD, [table2_cells(row) for row in rows])


TABLE3_HEAD = ("Task", "Labels", "Unlabeled", "Times", "Acc@1", "95 % interval", "CE", "Against the smallest pool")


def table3_cells(row: dict[str, Any]) -> list[str]:
    """One line of Table 3."""
    pair = row["against_smallest"]
    boot = pair and pair["bootstrap"]["acc1"]
    against = (
        "–"
        if not pair
        else f"{100 * boot['difference']:+.1f} points ({100 * boot['low']:+.1f} to {100 * boot['high']:+.1f}), p = {pair['p']:.2g}"
    )
    top = table2_cells(row)
    return [row["task"], f"{row['label_fraction']:.0%} ({row['labels']:,})", f"{row['unlabeled']:,}", f"{row['times']:.2g}", top[3],
            top[4], top[7], against]  # fmt: skip


def _table3(rows: list[dict[str, Any]]) -> str:
    return markdown_table(TABLE3_HEAD, [table3_cells(row) for row in rows])


def pair_text(pair: dict[str, Any]) -> str:
    """A test between two models in a sentence."""
    boot = pair["bootstrap"]["acc1"]
    said = (
        f"{pair['title_b']} against {pair['title_a']} ({_seeds(pair)}): {100 * boot['difference']:+.1f} points "
        f"({100 * boot['low']:+.1f} to {100 * boot['high']:+.1f})"
    )
    if "per_seed" in pair:
        return f"{said}, p = {pair['p']:.2g}: {verdict(pair)}{by_seed(pair['per_seed'])}"
    return (
        f"{said}; right where the other is wrong {pair['only_b']} : {pair['only_a']} of {pair['n']}, McNemar p = "
        f"{pair['p']:.2g}: {verdict(pair)}"
    )


def _seeds(pair: dict[str, Any]) -> str:
    """The seeds of both sides; once where they are the same."""
    a, b = (", ".join("?" if seed is None else str(seed) for seed in pair[f"seeds_{who}"]) for who in "ab")
    both = a if a == b else f"{b} and {a}"
    return f"seed{'s' * (len(both) > 1)} {both}"


def _details(one: dict[str, Any]) -> list[str]:
    """Section 5.2 of one run in Markdown."""
    body = [[row["label"], share(row["right"], row["n"]), interval(row["right"], row["n"])] for row in one["per_class"]]
    parts = [
        f"{one['task']}: {one['title']}, the run that val likes best.",
        "",
        markdown_table(("Class", "Acc@1", "95 % interval"), body),
    ]
    for name in ("per_marketplace", "per_agreement"):
        if len(one[name]) > 1:
            rows = [
                [row["label"], share(row["right"], row["n"]), interval(row["right"], row["n"])] for row in one[name]
            ]
            title = {"per_marketplace": "Marketplace", "per_agreement": "Votes"}[name]
            parts += ["", markdown_table((title, "Acc@1", "95 % interval"), rows)]
    if one["coverage"]:
        rows = [
            [f"{c['precision']:.0%}", share(c["answered"], c["n"]), share(c["right"], c["answered"])]
            for c in one["coverage"]
        ]
        parts += ["", markdown_table(("Wished precision", "Answered", "Right of these"), rows)]
    if one["confused"]:
        said = ", ".join(f"{c['label']} taken for {c['as']} ({c['count']} of {c['n']})" for c in one["confused"])
        parts += ["", f"- Most frequent confusions: {said}."]
    return [
        *parts,
        f"- Calibration: ECE {one['ece']:.3f} as trained, {one['ece_calibrated']:.3f} at temperature {one['temperature']:.2f}.",
    ]


def _notes(task: Task, several: bool) -> list[str]:
    """What a reader must know of one task."""
    test = task.runs[0].metrics["test"]
    of = f"{task.name}: " if several else ""
    notes = [
        f"{of}Manifest {task.manifest_id}, {len(task.classes)} classes; chance is {test['chance']:.1%}, always saying the largest class {test['largest_class']:.1%}."
    ]
    sizes = sorted({run.metrics["test"]["n"] for run in task.runs})
    if len(sizes) > 1:
        notes.append(
            f"{of}The runs could read {sizes[0]} to {sizes[-1]} test pictures; tests between runs use those that both read."
        )
    if task.manifest is None:
        notes.append(f"{of}The manifest is no longer where the runs read it: no marketplaces, no pictures.")
    if len(task.runs) == 1 or len({run.seed for run in task.runs}) == 1:
        notes.append(f"{of}One seed: a difference within the intervals is no ordering.")
    return notes


def _common_notes(tasks: list[Task], tests: list[dict[str, Any]]) -> list[str]:
    """What a reader must know of all of them."""
    records = [run.record for task in tasks for run in task.runs]
    reads = sorted({record.get("test_reads", 1) for record in records})
    read = (
        "once, at the end of each run"
        if reads == [1]
        else f"{reads[0]} to {reads[-1]} times by a run"
        if len(reads) > 1
        else f"{reads[0]} times by each run"
    )
    notes = [f"Val chose the weights, the temperature and the thresholds; test was read {read}."]
    notes.append(
        "Intervals are Wilson's and tell how far the test pictures alone could move a share; of several seeds they are those of the mean count, and ± is the standard deviation between seeds."
    )
    if any("per_seed" in pair for pair in tests):
        notes.append(
            "Tests of several seeds compare their means by a bootstrap that draws pictures and seeds again; McNemar's test of each seed stands beside it, and as all seeds are asked the same pictures they do not add up."
        )
    if fresh := sorted({record["model"]["name"] for record in records if record["model"]["weights"] == "random"}):
        notes.append(
            f"{' and '.join(fresh)} started from random weights: this says nothing about what pretrained models reach."
        )
    if any(record["stage1"] for record in records):
        notes.append("Semi-ViT went on from a finished ViT run; its minutes are those of stage 2 alone.")
    notes.append(f"Models and license of their weights: {'; '.join(sorted({_model(r) for r in records}))}.")
    if len(tests) > 5:
        notes.append(
            f"Of {len(tests)} tests about {len(tests) / 20:.0f} would show a difference at p < 0.05 where there is none."
        )
    if several := sum(
        (task.test["marketplaces"].map(lambda names: names is not None and len(names) > 1)).sum()
        for task in tasks
        if task.manifest is not None
    ):
        notes.append(
            f"Shown by several marketplaces, and counted in each of them: {counted(int(several), 'test picture')}."
        )
    if bad := sum(len(record["unreadable"]) for record in records):
        notes.append(f"{counted(bad, 'picture')} could not be read; the run records list them.")
    return notes


def _model(record: dict[str, Any]) -> str:
    return f"{record['model']['name']} ({record['model']['license']})"
