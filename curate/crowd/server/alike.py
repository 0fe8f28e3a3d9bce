"""Whether two workers answer so much alike that they may be one person.

Good workers agree because both are right, so agreement alone says nothing. What counts is agreement beyond what either has
with everybody else: the two are expected to give the same answer as often as each of them does with third people on the
same pictures, p, the higher of the two. A pair is flagged when of n shared answers so many, k, are the same that
P(K >= k | n, p) < 0.001 / pairs looked at, with n >= 20 and k / n >= 0.95. Without third people nothing is said.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from lxml import etree
from sqlalchemy import Connection, select

from curate.crowd.server import rules
from curate.crowd.server.questions import ANSWERS
from curate.crowd.server.schema import assignments
from schemas.question import SECONDS

LEAST_SHARED = 20
LEAST_SAME = 0.95
CHANCE = 0.001  # of a false flag among all pairs looked at


@dataclass(frozen=True)
class Alike:
    """Two workers, how many of their shared answers are the same, and the share that was to be expected."""

    one: str
    other: str
    same: int
    shared: int
    expected: float


def alike_pairs(connection: Connection, real: set[str]) -> list[Alike]:
    """The pairs of real people who answer too much alike."""
    same: dict[tuple[str, str], int] = defaultdict(int)
    shared: dict[tuple[str, str], int] = defaultdict(int)
    for answers in _by_hit(connection, real):
        for a, b in combinations(sorted(answers), 2):
            fields = answers[a].keys() & answers[b].keys()
            shared[a, b] += len(fields)
            same[a, b] += sum(answers[a][field] == answers[b][field] for field in fields)
    looked = [pair for pair, n in shared.items() if n >= LEAST_SHARED]
    found = []
    for a, b in sorted(looked):
        n, k = shared[a, b], same[a, b]
        p = _expected(a, b, same, shared)
        if p is not None and k / n >= LEAST_SAME and _tail(k, n, p) < CHANCE / len(looked):
            found.append(Alike(a, b, k, n, p))
    return found


def _by_hit(connection: Connection, real: set[str]) -> Iterator[dict[str, dict[str, str]]]:
    """For each HIT that two or more answered: the answers by worker and field."""
    rows = select(assignments.c.hit_id, assignments.c.worker_id, assignments.c.answer)
    done = rows.where(assignments.c.status.in_(rules.DONE)).order_by(assignments.c.hit_id)
    hit: str | None = None
    answers: dict[str, dict[str, str]] = {}
    for row in connection.execute(done):
        if row.hit_id != hit:
            if len(answers) > 1:
                yield answers
            hit, answers = row.hit_id, {}
        if row.worker_id in real:
            answers[row.worker_id] = read_answers(row.answer or "")
    if len(answers) > 1:
        yield answers


def read_answers(xml: str) -> dict[str, str]:
    """The answers by field, without the seconds that our page adds."""
    if not xml:
        return {}
    root = etree.fromstring(xml.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    found = {}
    for answer in root.iter(f"{{{ANSWERS}}}Answer"):
        name, *values = [element.text or "" for element in answer]
        if not name.startswith(SECONDS):
            found[name] = "|".join(values)
    return found


def _expected(a: str, b: str, same: dict[tuple[str, str], int], shared: dict[tuple[str, str], int]) -> float | None:
    """The share of the same answers that the more agreeable of the two has with everybody else."""
    shares = []
    for worker, twin in ((a, b), (b, a)):
        pairs = [pair for pair in shared if worker in pair and twin not in pair]
        if total := sum(shared[pair] for pair in pairs):
            shares.append(sum(same[pair] for pair in pairs) / total)
    return max(shares) if shares else None


def _tail(k: int, n: int, p: float) -> float:
    """P(K >= k) of a binomial with n trials."""
    if p >= 1:
        return 1.0
    if p <= 0:
        return 0.0 if k else 1.0
    log_p, log_q, top = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    terms = (top - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q for i in range(k, n + 1))
    return min(1.0, math.fsum(math.exp(term) for term in terms))
