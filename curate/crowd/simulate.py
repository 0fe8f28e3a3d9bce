"""Simulated workers: they walk through the same pages as people, and answer by a written error model and a seed.

Each has a confusion matrix over the classes and a pace. Most are careful, some careless, one is a spammer. Errors prefer
classes that look alike, so that workers disagree where people would. What a worker says about a picture depends on nothing
but the seed, the worker and the picture, whatever the timing. Their votes are marked simulated by the crowd.
"""

from __future__ import annotations

import hashlib
import heapq
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import UserError
from schemas.files import write_text
from schemas.question import SECONDS, TaskPage

if TYPE_CHECKING:
    import httpx


class Simulated(BaseModel):
    """One simulated worker: how often each true class is given each answer, and how fast."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str = Field(description="careful, careless or spammer; a word for people, it changes nothing")
    seconds: float = Field(gt=0, description="for one picture, on average")
    confusion: dict[str, dict[str, float]] = Field(
        description="true class to answer to probability; each row sums to 1"
    )

    @model_validator(mode="after")
    def _rows_sum_to_one(self) -> Simulated:
        for truth, row in self.confusion.items():
            if any(p < 0 for p in row.values()) or abs(sum(row.values()) - 1) > 0.01:
                raise ValueError(
                    f"worker {self.name}: confusion.{truth} must be shares that sum to 1, found {sum(row.values()):g}"
                )
        return self


def draw_workers(classes: Sequence[str], count: int, seed: int) -> list[Simulated]:
    """A crowd of `count`: one spammer (from four workers on), a quarter careless, the rest careful; the same for a seed."""
    if count < 1:
        raise UserError(f"--workers must be at least 1, got {count}")
    rng = np.random.default_rng([seed, 1])
    alike = look_alikes(len(classes), rng)
    spammers = 1 if count >= 4 else 0
    careless = round(count * 0.25) if count >= 4 else 0
    workers = []
    for number in range(count):
        if number >= count - spammers:
            kind, matrix, pace = "spammer", _spam(len(classes), rng), rng.uniform(0.4, 0.8)
        elif number >= count - spammers - careless:
            kind, matrix, pace = "careless", _confusion(alike, 0.70, 0.80, rng), rng.uniform(1.2, 2.2)
        else:
            kind, matrix, pace = "careful", _confusion(alike, 0.93, 0.97, rng), rng.uniform(2.0, 4.5)
        confusion = {
            truth: {answer: round(float(p), 4) for answer, p in zip(classes, row, strict=True) if p >= 0.00005}
            for truth, row in zip(classes, matrix, strict=True)
        }
        workers.append(
            Simulated(name=f"simulated {number + 1}", kind=kind, seconds=round(float(pace), 2), confusion=confusion)
        )
    return workers


def look_alikes(classes: int, rng: np.random.Generator) -> np.ndarray:
    """How errors of each class fall on the others, [K, K], rows sum to 1: most of them on its two or three neighbors."""
    affinity = rng.gumbel(size=(classes, classes)) * 1.5
    weight = np.exp(affinity + affinity.T)  # two classes look alike both ways
    np.fill_diagonal(weight, 0)
    return weight / weight.sum(axis=1, keepdims=True)


def _confusion(alike: np.ndarray, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    right = rng.uniform(low, high, size=(len(alike), 1))
    return np.eye(len(alike)) * right + alike * (1 - right)


def _spam(classes: int, rng: np.random.Generator) -> np.ndarray:
    """Any key at random, or always the same one."""
    if rng.random() < 0.5:
        return np.full((classes, classes), 1 / classes)
    return np.tile(np.eye(classes)[rng.integers(classes)], (classes, 1))


def read_workers(path: Path) -> list[Simulated]:
    """The workers of an error model file, as `write_workers` writes it."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return [Simulated.model_validate(worker) for worker in data["workers"]]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. `curate crowd simulate` writes one that can be changed") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise UserError(
            f"{path}: {where + ': ' if where else ''}{fault['msg'].removeprefix('Value error, ')}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is no error model; it should hold `workers:`, a list") from error


def write_workers(workers: Sequence[Simulated], path: Path) -> Path:
    """Write the error model as YAML, to be read, changed and given back with --model."""
    head = "# The error model of simulated workers. Change it and use it with `curate crowd simulate --model FILE`.\n"
    body = {"workers": [worker.model_dump() for worker in workers]}
    write_text(
        path, head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    )
    return path


@dataclass(frozen=True)
class Answerer:
    """What simulated workers say and how long they take: a pure function of seed, worker and picture."""

    seed: int
    truth: Mapping[str, str]  # image_id to class key, where it is known

    def answer(self, worker: Simulated, image_id: str, choices: Sequence[str]) -> str:
        """The worker's answer: by the confusion matrix where the truth is known, else a guess among the choices."""
        draw = self._rng("answer", worker, image_id).random()
        row = worker.confusion.get(self.truth.get(image_id, ""), {})
        row = {key: share for key, share in row.items() if key in choices}
        if not row:
            return choices[int(draw * len(choices))]
        reached = np.cumsum(list(row.values()))
        return list(row)[min(int(np.searchsorted(reached, draw * reached[-1], side="right")), len(row) - 1)]

    def seconds(self, worker: Simulated, image_id: str) -> float:
        """How long the worker looks at the picture: now longer, now shorter, about its pace on average."""
        return round(worker.seconds * float(self._rng("seconds", worker, image_id).lognormal(-0.08, 0.4)), 2)

    def _rng(self, purpose: str, worker: Simulated, image_id: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.seed}:{purpose}:{worker.name}:{image_id}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass
class Outcome:
    """What the simulated crowd did."""

    workers: int = 0
    passed: int = 0
    failed: int = 0
    assignments: int = 0
    answers: int = 0
    guessed: set[str] = field(default_factory=set)  # pictures whose truth is not known

    def lines(self) -> list[str]:
        """The outcome as a person reads it."""
        told = [
            f"{self.workers} simulated workers: {self.passed} passed the entry test, {self.failed} failed it",
            f"{self.assignments} assignments, {self.answers} answers",
        ]
        if self.guessed:
            told.append(
                f"{len(self.guessed)} pictures have no known truth (`curate import truth`); they were answered by a guess"
            )
        return told


COOKIE = "consenso_worker"  # of the worker pages


class Seat:
    """One simulated worker in front of the pages: remembers who it is by the cookie, like a browser."""

    def __init__(self, worker: Simulated, answerer: Answerer, client: httpx.Client, endpoint: str) -> None:
        self.worker = worker
        self.answerer = answerer
        self.client = client
        self.endpoint = endpoint
        self.csrf = ""

    def sit_down(self) -> None:
        """Come back by the cookie of an earlier run, or sign up as a simulated worker."""
        if self.cookie and self._ask("GET", "/work", allowed=(401,)).status_code == 200:
            return
        self.client.cookies.clear()
        self.csrf = self._json(self._ask("GET", "/join")).get("csrf", "")
        self._ask("POST", "/join", {"name": self.worker.name, "simulated": "1"})
        if not self.cookie:
            raise UserError(f"{self.endpoint}: did not let a simulated worker in; is sign-up open there?")

    @property
    def cookie(self) -> str:
        """Who this worker is to the server; empty before the first sign-up."""
        return str(self.client.cookies.get(COOKIE, ""))

    def groups(self) -> list[dict[str, Any]]:
        """The groups of work as this worker sees them."""
        work = self._json(self._ask("GET", "/work"))
        self.csrf = work.get("csrf", self.csrf)
        return list(work["groups"])

    def take_test(self, url: str, outcome: Outcome) -> bool:
        """Take an entry test; True when it was passed."""
        test = self._json(self._ask("GET", url))
        self.csrf = test.get("csrf", self.csrf)
        answers = {
            question["id"]: self._say(question["id"], [choice["id"] for choice in question["choices"]], outcome)
            for question in test["questions"]
        }
        return bool(self._json(self._ask("POST", url, answers)).get("passed"))

    def accept(self, url: str) -> str | None:
        """Accept a HIT; returns the address of the assignment, or None when no work is left for this worker."""
        reply = self._ask("POST", url, allowed=(409,))
        return None if reply.status_code == 409 else str(self._json(reply)["url"])

    def answer(self, url: str, outcome: Outcome) -> float:
        """Answer all pictures of an assignment and send it; returns the seconds it took the simulated worker."""
        page = self._json(self._ask("GET", url))
        self.csrf = page.get("csrf", self.csrf)
        task = TaskPage.model_validate(page["task"])
        choices = [choice.key for choice in task.choices]
        fields, total = {}, 0.0
        for picture in task.pictures:
            seconds = self.answerer.seconds(self.worker, picture.image_id)
            fields[picture.image_id] = self._say(picture.image_id, choices, outcome)
            fields[SECONDS + picture.image_id] = f"{seconds:.2f}"
            total += seconds
        self._ask("POST", url, fields)
        outcome.assignments += 1
        outcome.answers += len(task.pictures)
        return total

    def _say(self, image_id: str, choices: list[str], outcome: Outcome) -> str:
        if image_id not in self.answerer.truth:
            outcome.guessed.add(image_id)
        return self.answerer.answer(self.worker, image_id, choices)

    def _ask(
        self, method: str, url: str, fields: dict[str, str] | None = None, allowed: tuple[int, ...] = ()
    ) -> httpx.Response:
        """One request as this worker; raises UserError for a refusal that is not among the allowed ones."""
        data = {**(fields or {}), "csrf": self.csrf} if method == "POST" else None
        with _answering(self.endpoint):
            reply = self.client.request(method, url, data=data)
        if not reply.is_success and not reply.is_redirect and reply.status_code not in allowed:
            said = " ".join(re.sub(r"<[^>]+>", " ", reply.text).split())[:200]
            raise UserError(f"{self.endpoint}{url}: refused with {reply.status_code}: {said}")
        return reply

    def _json(self, reply: httpx.Response) -> dict[str, Any]:
        try:
            return dict(reply.json())
        except ValueError:
            raise UserError(
                f"{reply.url}: answers no JSON; simulated workers need the server of `curate crowd serve`"
            ) from None


@contextmanager
def _answering(endpoint: str) -> Iterator[None]:
    """A server that is not there, as one clear line."""
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        raise UserError(f"{endpoint}: no crowd answers there ({error}). Start one with `curate crowd serve`") from error


def take_seats(
    endpoint: str, workers: Sequence[Simulated], answerer: Answerer, cookies: Mapping[str, str]
) -> list[Seat]:
    """The workers, signed in; those whose cookie (by name) is known and still good come back as themselves."""
    import httpx

    transport = httpx.HTTPTransport(verify=endpoint.startswith("https"))  # one for all: connections are kept alive
    seats = []
    for worker in workers:
        known = {COOKIE: cookies[worker.name]} if worker.name in cookies else {}
        headers = {"Accept": "application/json"}
        client = httpx.Client(transport=transport, base_url=endpoint, headers=headers, cookies=known, timeout=60)
        seats.append(Seat(worker, answerer, client, endpoint))
        seats[-1].sit_down()
    return seats


def simulate(
    seats: Sequence[Seat], hit_types: set[str], pace: float = 0.0, step: Callable[[int], object] = lambda _: None
) -> Outcome:
    """Let the workers take the entry tests and answer these HIT types until no work is left; returns what they did.

    The worker whose own clock is earliest goes next, so fast workers do more, and the same seed gives the same history.
    `pace` 1 takes the time that the workers take, 0 none.
    """
    outcome = Outcome(workers=len(seats))
    queue = [(0.0, number, url) for number, seat in enumerate(seats) for url in _admitted(seat, hit_types, outcome)]
    heapq.heapify(queue)
    began = time.monotonic()
    while queue:
        clock, number, accept_url = heapq.heappop(queue)
        if pace:
            time.sleep(max(0.0, clock * pace - (time.monotonic() - began)))
        url = seats[number].accept(accept_url)
        if url is not None:
            took = seats[number].answer(url, outcome)
            heapq.heappush(queue, (clock + took, number, accept_url))
            step(1)
    return outcome


def _admitted(seat: Seat, hit_types: set[str], outcome: Outcome) -> list[str]:
    """Where this worker can accept work, after taking each entry test once."""
    groups = [group for group in seat.groups() if group["hit_type_id"] in hit_types]
    needed = {
        q["test_url"] for g in groups for q in g["qualifications"] if q["state"] == "needed" and q.get("test_url")
    }
    for url in sorted(needed):
        seat.take_test(url, outcome)
    if needed:
        groups = [group for group in seat.groups() if group["hit_type_id"] in hit_types]
    open_groups = [group["accept_url"] for group in groups if group["qualified"]]
    if groups and len(open_groups) == len(groups):
        outcome.passed += 1
    elif groups:
        outcome.failed += 1
    return open_groups
