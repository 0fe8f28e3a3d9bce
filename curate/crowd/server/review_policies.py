"""Review policies: what MTurk could decide by itself about answers. Read, checked and computed here; `reviewing.py` acts.

ScoreMyKnownAnswers/2011-09-01 holds one assignment against answers that the requester knows. SimplePlurality/2011-09-01 holds the
assignments of a HIT against each other. Scores are whole percents, rounded down, as in MTurk's documentation (2 of 3 = 66).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate.crowd.server.errors import BadInput

KNOWN_ANSWERS = "ScoreMyKnownAnswers/2011-09-01"
PLURALITY = "SimplePlurality/2011-09-01"
LONGEST = 256  # characters of an answer that agreement is counted on
_YEAR = 31_536_000
_NEVER = 101  # a threshold that no score reaches

Answers = Mapping[str, frozenset[str]]  # values by question, as `answers.read_answers` gives them


@dataclass(frozen=True)
class Extension:
    """Ask one more person when a score is below `below`: never more than `most` in all, with at least `seconds` to do it."""

    below: int
    most: int
    seconds: int


@dataclass(frozen=True)
class Verdicts:
    """From which score on an assignment is approved, below which it is rejected, and what the worker is told."""

    approve_from: int | None
    reject_below: int | None
    approve_reason: str = ""
    reject_reason: str = ""

    def of(self, score: int) -> str | None:
        """Approved, Rejected, or nothing. Where both would hold, the worker's side wins."""
        if self.approve_from is not None and score >= self.approve_from:
            return "Approved"
        if self.reject_below is not None and score < self.reject_below:
            return "Rejected"
        return None


@dataclass(frozen=True)
class KnownAnswers:
    """An assignment-level policy: the right answers by question."""

    key: Answers
    verdicts: Verdicts
    extension: Extension | None

    def right(self, answers: Answers) -> dict[str, bool]:
        """Whether each known question was answered with exactly the known values."""
        return {question: _same(known, answers.get(question, frozenset())) for question, known in self.key.items()}

    def score(self, answers: Answers) -> int:
        """The percentage of known questions answered right."""
        return _percent(sum(self.right(answers).values()), len(self.key))


@dataclass(frozen=True)
class Plurality:
    """A HIT-level policy: questions on which workers should agree."""

    questions: tuple[str, ...]
    threshold: int
    disregard_rejected: bool
    disregard_below: int | None  # a known-answer score below which somebody's answers do not count
    verdicts: Verdicts
    extension: Extension | None


@dataclass(frozen=True)
class Agreement:
    """How far the assignments of a HIT agree."""

    agreed: dict[str, frozenset[str]]  # questions with an agreed answer
    agreement: dict[str, int]  # of these: how many percent gave it
    hit_score: int  # percent of questions with an agreed answer
    correct: dict[str, int]  # by assignment: answers that are the agreed one
    incorrect: dict[str, int]

    def worker_score(self, assignment: str) -> int | None:
        """How many percent of the agreed questions somebody answered like the others; None where nothing is agreed."""
        asked = self.correct[assignment] + self.incorrect[assignment]
        return _percent(self.correct[assignment], asked) if asked else None


def agreement(policy: Plurality, answers: Mapping[str, Answers], counted: Sequence[str]) -> Agreement:
    """The agreement among the assignments in `counted`; everybody in `answers` is held against it.

    A question is agreed when one answer, as a set, was given by more than `threshold` percent of those who answered it, and no
    other by as many. Answers above 256 characters count for nothing.
    """
    agreed, share = {}, {}
    for question in policy.questions:
        given = [answers[a][question] for a in counted if _countable(answers[a].get(question))]
        ranked = Counter(given).most_common(2)
        if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
            continue
        percent = _percent(ranked[0][1], len(given))
        if 100 * ranked[0][1] > policy.threshold * len(given):
            agreed[question], share[question] = ranked[0][0], percent
    correct = {a: sum(mine.get(q) == value for q, value in agreed.items()) for a, mine in answers.items()}
    incorrect = {a: len(agreed) - correct[a] for a in answers}
    return Agreement(agreed, share, _percent(len(agreed), len(policy.questions)), correct, incorrect)


def _countable(answer: frozenset[str] | None) -> bool:
    return answer is not None and all(len(value) <= LONGEST for value in answer)


def _same(known: frozenset[str], given: frozenset[str]) -> bool:
    """Exactly the known values. A page of one's own sends the boxes ticked in one field, joined with a bar."""
    if known == given:
        return True
    return len(given) == 1 and len(known) > 1 and frozenset(next(iter(given)).split("|")) == known


def _percent(part: int, whole: int) -> int:
    return 100 * part // whole


# ---- read from a request

_NAMES = {
    "questionids": "QuestionIds",
    "approveifworkeragreementscoreisnotlessthan": "ApproveIfWorkerAgreementScoreIsAtLeast",
}
_KNOWN_PARAMETERS = (
    "AnswerKey",
    "ApproveIfKnownAnswerScoreIsAtLeast",
    "ApproveReason",
    "RejectIfKnownAnswerScoreIsLessThan",
    "RejectReason",
    "ExtendIfKnownAnswerScoreIsLessThan",
    "ExtendMaximumAssignments",
    "ExtendMinimumTimeInSeconds",
)
_PLURALITY_PARAMETERS = (
    "QuestionIds",
    "QuestionAgreementThreshold",
    "DisregardAssignmentIfRejected",
    "DisregardAssignmentIfKnownAnswerScoreIsLessThan",
    "ExtendIfHITAgreementScoreIsLessThan",
    "ExtendMaximumAssignments",
    "ExtendMinimumTimeInSeconds",
    "ApproveIfWorkerAgreementScoreIsAtLeast",
    "RejectIfWorkerAgreementScoreIsLessThan",
    "RejectReason",
)


def read_known_answers(data: Mapping[str, Any]) -> KnownAnswers:
    """An AssignmentReviewPolicy; raises BadInput for the first parameter that it cannot have."""
    given = _Parameters("AssignmentReviewPolicy", data, KNOWN_ANSWERS, _KNOWN_PARAMETERS)
    return KnownAnswers(
        key=given.answer_key(),
        verdicts=Verdicts(
            given.number("ApproveIfKnownAnswerScoreIsAtLeast", 0, _NEVER),
            given.number("RejectIfKnownAnswerScoreIsLessThan", 0, _NEVER),
            given.text("ApproveReason"),
            given.text("RejectReason"),
        ),
        extension=given.extension("ExtendIfKnownAnswerScoreIsLessThan", 0, _NEVER, most=(2, 25), default=(5, 0)),
    )


def read_plurality(data: Mapping[str, Any]) -> Plurality:
    """A HITReviewPolicy; raises BadInput for the first parameter that it cannot have."""
    given = _Parameters("HITReviewPolicy", data, PLURALITY, _PLURALITY_PARAMETERS)
    questions = tuple(dict.fromkeys(name.strip() for value in given.values("QuestionIds") for name in value.split(",")))
    if not questions or "" in questions:
        raise BadInput("HITReviewPolicy: QuestionIds: at least one question is needed")
    threshold = given.number("QuestionAgreementThreshold", 0, 100)
    if threshold is None:
        raise BadInput("HITReviewPolicy: QuestionAgreementThreshold: is required")
    return Plurality(
        questions=questions,
        threshold=threshold,
        disregard_rejected=given.boolean("DisregardAssignmentIfRejected"),
        disregard_below=given.number("DisregardAssignmentIfKnownAnswerScoreIsLessThan", 0, _NEVER),
        verdicts=Verdicts(
            given.number("ApproveIfWorkerAgreementScoreIsAtLeast", 0, _NEVER),
            given.number("RejectIfWorkerAgreementScoreIsLessThan", 0, _NEVER),
            reject_reason=given.text("RejectReason"),
        ),
        extension=given.extension("ExtendIfHITAgreementScoreIsLessThan", 1, 100, most=(1, 1_000_000_000), default=None),
    )


class _Parameters:
    """The parameters of one policy, by name."""

    def __init__(self, member: str, data: Mapping[str, Any], policy: str, known: Sequence[str]) -> None:
        self._member = member
        if data["PolicyName"] != policy:
            raise BadInput(f"{member}: PolicyName {data['PolicyName'][:80]!r} is not {policy}")
        self._found: dict[str, Mapping[str, Any]] = {}
        for parameter in data.get("Parameters", ()):
            sent = parameter.get("Key", "").strip()
            name = _NAMES.get(sent.lower(), sent)
            if name not in known:
                raise BadInput(f"{member}: the parameter {sent[:80]!r} is none of {', '.join(known)}")
            if name in self._found:
                raise BadInput(f"{member}: the parameter {name} is given twice")
            self._found[name] = parameter

    def values(self, name: str) -> list[str]:
        return list(self._found.get(name, {}).get("Values") or [])

    def text(self, name: str) -> str:
        values = self.values(name)
        if len(values) > 1:
            raise BadInput(f"{self._member}: {name}: one value is allowed, got {len(values)}")
        return values[0].strip() if values else ""

    def number(self, name: str, low: int, high: int) -> int | None:
        text = self.text(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit()) or not low <= int(text[:12]) <= high:
            raise BadInput(f"{self._member}: {name}: {text[:40]!r} is not a whole number from {low} to {high}")
        return int(text)

    def boolean(self, name: str) -> bool:
        text = self.text(name).lower()
        if text not in ("", "t", "f", "true", "false"):
            raise BadInput(f"{self._member}: {name}: {text[:40]!r} is neither true nor false")
        return text.startswith("t")

    def answer_key(self) -> dict[str, frozenset[str]]:
        entries = self._found.get("AnswerKey", {}).get("MapEntries") or []
        key = {
            e.get("Key", "").strip(): frozenset(v.strip() for v in e.get("Values") or [] if v.strip()) for e in entries
        }
        if not key or "" in key or len(key) != len(entries):
            raise BadInput(
                f"{self._member}: AnswerKey: needs MapEntries, each with a question's name of its own as Key"
            )
        return key

    def extension(
        self, trigger: str, low: int, high: int, most: tuple[int, int], default: tuple[int, int] | None
    ) -> Extension | None:
        below = self.number(trigger, low, high)
        maximum = self.number("ExtendMaximumAssignments", *most)
        seconds = self.number("ExtendMinimumTimeInSeconds", 3600, _YEAR)
        if below is None:
            return None
        if default is None and (maximum is None or seconds is None):
            raise BadInput(
                f"{self._member}: {trigger} needs ExtendMaximumAssignments and ExtendMinimumTimeInSeconds beside it"
            )
        fallback = default or (0, 0)
        return Extension(
            below, fallback[0] if maximum is None else maximum, fallback[1] if seconds is None else seconds
        )
