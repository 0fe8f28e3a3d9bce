"""The training inside a SageMaker job, one process of it: `python -m train.submit.job semivit --manifest …`.

It trains as the command line does, and prints what SageMaker's metric definitions look for (`METRICS` of sagemaker.py):

    curve stage=stage2 step=300 loss=0.4121 val_acc1=0.9321 best_val_acc1=0.9345
    result best_val_acc1=0.9345 val_ce=0.2203 test_acc1=0.9287

`best_val_acc1` stands only in lines of the last stage: it is what a search compares. A trial of a search never reads test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from schemas.command import exit_code


def train_job(words: Sequence[str]) -> dict[str, Any]:
    """Train what the words say and print its metrics; returns the run record."""
    from train.ranks import answer
    from train.submit.asked import parse, request_of

    asked = parse(words)
    request = request_of(asked)
    if asked.command == "pretrain":
        from train.pretrain import pretrain

        record = pretrain(request)
        answer(f"result loss={record['loss']:.6f}")
        return record
    from train.run import train

    last = "stage2" if request.method == "semivit" else "train"
    record = train(request, curve_lines(last, answer))
    best = record["best"][last]
    test = "" if request.blind else f" test_acc1={record['test']['acc1']:.6f}"
    answer(f"result best_val_acc1={best['val_acc1']:.6f} val_ce={best['val_ce']:.6f}{test}")
    return record


def curve_lines(last: str, say: Callable[[str], None]) -> Callable[[str, dict[str, Any]], None]:
    """What is told of each look at val: a line with loss and accuracy, and the best of the last stage so far."""
    best = 0.0

    def watch(stage: str, row: dict[str, Any]) -> None:
        nonlocal best
        loss = f" loss={row['loss']:.6f}" if "loss" in row else ""
        line = f"curve stage={stage} step={row['step']}{loss} val_acc1={row['val_acc1']:.6f}"
        if stage == last:
            best = max(best, row["val_acc1"])
            line += f" best_val_acc1={best:.6f}"
        say(line)

    return watch


def main() -> None:
    """Entry point: errors are one line and an exit code, as on the command line."""

    def run(**_: Any) -> None:
        train_job(sys.argv[1:])

    sys.exit(exit_code(run, "train"))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
