"""The same run with several seeds, and what they say together: how much of a difference is the seed alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from schemas.errors import UserError
from train.run import Request, train


def of_seeds(request: Request, seeds: int) -> list[Request]:
    """The same request once for each seed from its own on; a folder named by --out gets -s0, -s1, … behind its name."""
    if seeds < 1:
        raise UserError(f"--seeds must be 1 or more, got {seeds}")
    if seeds == 1:
        return [request]
    numbers = range(request.seed, request.seed + seeds)
    out = request.out
    return [replace(request, seed=n, out=out and out.with_name(f"{out.name}-s{n}")) for n in numbers]


def train_seeds(
    request: Request, seeds: int, done: Callable[[Request, dict[str, Any]], None]
) -> list[tuple[Request, dict[str, Any]]]:
    """Train each, one after another, and tell `done` after each; those that are finished are not repeated."""
    found = []
    for one in of_seeds(request, seeds):
        record = train(one)
        done(one, record)
        found.append((one, record))
    return found


def together(records: Sequence[dict[str, Any]]) -> str:
    """Several seeds in a line: mean, standard deviation between seeds, and range of Acc@1; mean cross entropy."""
    test = [record["test"] for record in records]
    right = [row["acc1"] for row in test]
    spread = statistics.stdev(right) if len(right) > 1 else 0.0
    ce = statistics.mean(row["ce"] for row in test)
    return (
        f"{len(records)} seeds: mean Acc@1 {statistics.mean(right):.1%} on test, {100 * spread:.1f} points standard deviation "
        f"between seeds, {min(right):.1%} to {max(right):.1%}; mean CE {ce:.3f}"
    )
