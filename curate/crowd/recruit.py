"""Prolific through its REST API: create the study, watch submissions, approve them, pay bonuses. Nothing is paid twice.

Prolific's call that pays bonuses is not idempotent, so `recruit.db` in the workspace keeps every payment from before the
call on: what was paid is not paid again, and a payment that was cut off waits for a person to look at Prolific.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.database import connect, migrate, transaction
from schemas.errors import UserError

if TYPE_CHECKING:
    import sqlite3

BASE = "https://api.prolific.com"
TIMEOUT = 60  # seconds
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_STEPS = [
    """
    CREATE TABLE bonus (
        study TEXT NOT NULL, person TEXT NOT NULL, batch TEXT NOT NULL, amount TEXT NOT NULL,
        bulk_id TEXT, state TEXT NOT NULL,  -- prepared, paying (asked, no answer yet), paid
        PRIMARY KEY (study, person, batch)
    ) STRICT;
    """
]


class Prolific:
    """One account at Prolific. Remembers the connection."""

    def __init__(self, token: str | None = None, base: str = BASE) -> None:
        import httpx

        token = token or os.environ.get("PROLIFIC_TOKEN", "")
        if not token:
            raise UserError("no token for Prolific; make one on its settings page and set PROLIFIC_TOKEN")
        headers = {"Authorization": f"Token {token}"}
        self._http = httpx.Client(base_url=base.rstrip("/"), headers=headers, timeout=TIMEOUT)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call; raises UserError with Prolific's own words when it says no. Nothing is sent twice."""
        import httpx

        try:
            reply = self._http.request(method, f"/api/v1{path}", json=body)
        except httpx.HTTPError as error:
            raise UserError(f"Prolific did not answer {method} {path}: {error or type(error).__name__}") from error
        if reply.is_error:
            raise UserError(f"Prolific refused {method} {path}: {reply.status_code} {_reason(reply)}")
        return reply.json() if reply.content else {}

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All results of a list."""
        number = 1
        while True:
            mark = "&" if "?" in path else "?"
            reply = self.ask("GET", f"{path}{mark}page={number}&page_size=100")
            found = reply.get("results", [])
            yield from found
            if len(found) < 100:
                return
            number += 1


def _reason(reply: Any) -> str:
    try:
        error = reply.json().get("error", reply.json())
    except ValueError:
        return reply.text[:300]
    detail = error.get("detail", error) if isinstance(error, dict) else error
    return str(detail)[:300]


@dataclass(frozen=True)
class Study:
    """What a study is to be. `reward` is in the account's currency, e.g. 1.50."""

    name: str
    description: str
    url: str
    completion_code: str
    places: int
    minutes: int
    reward: Decimal

    def check(self) -> Study:
        """Itself; raises UserError for what Prolific would refuse."""
        if self.places < 1 or self.minutes < 1 or self.reward <= 0:
            raise UserError("--places, --minutes and --reward must be above 0")
        missing = [mark for mark in ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID") if f"{{{{%{mark}%}}}}" not in self.url]
        if missing:
            raise UserError(
                f"--url lacks {{{{%{missing[0]}%}}}}; use the address that `curate crowd panels add prolific` prints"
            )
        return self

    @property
    def rewards(self) -> Decimal:
        """What the people get in all; Prolific's fee and taxes come on top."""
        return self.reward * self.places

    @property
    def mark(self) -> str:
        """Its name at Prolific for us alone: the same study has the same, so it is found instead of made again."""
        said = f"{self.name}\0{self.description}\0{self.url}\0{self.completion_code}\0{self.places}\0{self.reward}"
        return f"consenso {hashlib.sha256(said.encode()).hexdigest()[:24]}"


def create_study(prolific: Prolific, study: Study) -> tuple[dict[str, Any], bool]:
    """The study at Prolific as a draft, and whether it is new; one that was made before is found by its mark."""
    for known in prolific.pages("/studies/"):
        if known.get("internal_name") == study.mark:
            return known, False
    body = {
        "name": study.name,
        "internal_name": study.mark,
        "description": study.description,
        "external_study_url": study.url,
        "prolific_id_option": "url_parameters",
        "completion_codes": [
            {"code": study.completion_code, "code_type": "COMPLETED", "actions": [{"action": "MANUALLY_REVIEW"}]}
        ],
        "total_available_places": study.places,
        "estimated_completion_time": study.minutes,
        "reward": int(study.reward * 100),  # cents
        "device_compatibility": ["desktop", "tablet", "mobile"],
    }
    return prolific.ask("POST", "/studies/", body), True


def publish(prolific: Prolific, study_id: str) -> dict[str, Any]:
    """Open a study to people: from here on it costs money. One that is open already stays as it is."""
    known = prolific.ask("GET", f"/studies/{_checked(study_id)}/")
    if known.get("status") != "UNPUBLISHED":
        return known  # type: ignore[no-any-return]
    return prolific.ask("POST", f"/studies/{study_id}/transition/", {"action": "PUBLISH"})  # type: ignore[no-any-return]


def submissions(prolific: Prolific, study_id: str) -> list[dict[str, Any]]:
    """The submissions of a study."""
    return list(prolific.pages(f"/studies/{_checked(study_id)}/submissions/"))


def approve(prolific: Prolific, waiting: Sequence[dict[str, Any]]) -> int:
    """Approve the submissions that wait for it; how many. Others are left alone, so it can be run again."""
    done = 0
    for one in waiting:
        if one["status"] == "AWAITING REVIEW":
            prolific.ask("POST", f"/submissions/{_checked(one['id'])}/transition/", {"action": "APPROVE"})
            done += 1
    return done


def waiting(prolific: Prolific, study_id: str, only: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The submissions that wait for approval; of those named in `only`, raises UserError for one that does not."""
    found = {one["id"]: one for one in submissions(prolific, study_id) if one["status"] == "AWAITING REVIEW"}
    if not only:
        return list(found.values())
    if odd := [identifier for identifier in only if identifier not in found]:
        raise UserError(f"--submission {odd[0]}: does not wait for approval in study {study_id}")
    return [found[identifier] for identifier in only]


def money(text: str) -> Decimal:
    """An amount such as 1.50; raises UserError for anything else."""
    if not re.fullmatch(r"\d{1,6}(\.\d{1,2})?", text):
        raise UserError(f"{text!r} is no amount of money; it should look like 1.50")
    return Decimal(text)


def _checked(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise UserError(f"{identifier!r} is no id of Prolific; it has letters and digits alone")
    return identifier


@dataclass(frozen=True)
class Bonus:
    """What one person (participant or submission id) gets."""

    person: str
    amount: Decimal


def read_bonuses(path: Path) -> list[Bonus]:
    """Bonuses from CSV lines `id,amount`; raises UserError for a line that is none, or a person named twice."""
    found: dict[str, Bonus] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or (number == 1 and row[-1].strip().lower().startswith("amount")):
                    continue
                bonus = _bonus(path, number, row)
                if bonus.person in found:
                    raise UserError(f"{path}: line {number}: {bonus.person} stands there twice; add the amounts up")
                found[bonus.person] = bonus
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not found:
        raise UserError(f"{path}: no bonuses in it; each line should be `id,amount`")
    return list(found.values())


def _bonus(path: Path, number: int, row: Sequence[str]) -> Bonus:
    try:
        person, text = (cell.strip() for cell in row)
        amount = Decimal(text)
    except (ValueError, InvalidOperation):
        raise UserError(f"{path}: line {number}: should be `id,amount`, found {','.join(row)!r}") from None
    if not (_ID.fullmatch(person) and amount.is_finite() and 0 < amount < 1000 and amount == round(amount, 2)):
        raise UserError(f"{path}: line {number}: needs an id and an amount of 0.01 to 999.99, found {','.join(row)!r}")
    return Bonus(person, amount)


class Payments:
    """The bonuses of a workspace: what was paid, and what is under way."""

    def __init__(self, path: Path) -> None:
        self._db: sqlite3.Connection = connect(path)
        migrate(self._db, _STEPS, path.name)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def unpaid(self, study: str, batch: str, bonuses: Sequence[Bonus]) -> list[Bonus]:
        """Those that were not paid under this batch; raises UserError where nobody knows, or the amount is another now."""
        rows = self._db.execute("SELECT * FROM bonus WHERE study = ? AND batch = ?", (study, batch))
        known = {row["person"]: row for row in rows}
        for bonus in bonuses:
            row = known.get(bonus.person)
            if row and row["state"] == "paying":
                raise UserError(
                    f"bulk payment {row['bulk_id']} was asked for and never confirmed; look at the study's bonuses at "
                    f"Prolific, then `curate recruit prolific settle {row['bulk_id']} --paid` (or --not-paid)"
                )
            if row and row["state"] == "paid" and Decimal(row["amount"]) != bonus.amount:
                raise UserError(
                    f"{bonus.person} was paid {row['amount']} in batch {batch!r}, not {bonus.amount}; "
                    "pay another bonus under another --batch"
                )
        return [bonus for bonus in bonuses if bonus.person not in known or known[bonus.person]["state"] != "paid"]

    def pay(self, prolific: Prolific, study: str, batch: str, bonuses: Sequence[Bonus], limit: Decimal) -> Decimal:
        """Pay these once; the sum that Prolific takes with its fees. Raises UserError when that is above `limit`."""
        lines = "\n".join(f"{bonus.person},{bonus.amount:.2f}" for bonus in bonuses)
        bulk = prolific.ask("POST", "/submissions/bonus-payments/", {"study_id": study, "csv_bonuses": lines})
        total = Decimal(str(bulk["total_amount"])) / 100  # cents; its `amount` must be what we asked for
        if Decimal(str(bulk["amount"])) / 100 != sum(bonus.amount for bonus in bonuses):
            raise UserError(
                f"Prolific understood {bulk['amount']} cents, not {sum(b.amount for b in bonuses)}; not paid"
            )
        if total > limit:
            raise UserError(f"with fees it costs {total:.2f}, above --limit {limit:.2f}; nothing was paid")
        self._note(study, batch, bonuses, bulk["id"])
        prolific.ask("POST", f"/bulk-bonus-payments/{bulk['id']}/pay/", {})
        self.settle(bulk["id"], True)
        return total

    def _note(self, study: str, batch: str, bonuses: Sequence[Bonus], bulk_id: str) -> None:
        """Keep before the call that these are being paid; another process that pays one of them loses here."""
        with transaction(self._db):
            self.unpaid(study, batch, bonuses)
            paid = self._db.execute(
                "SELECT person FROM bonus WHERE study = ? AND batch = ? AND state = 'paid'", (study, batch)
            ).fetchall()
            if {row["person"] for row in paid} & {bonus.person for bonus in bonuses}:
                raise UserError(f"batch {batch!r} was paid by another process just now; run again to see what is left")
            self._db.executemany(
                "INSERT INTO bonus (study, person, batch, amount, bulk_id, state) VALUES (?, ?, ?, ?, ?, 'paying')",
                [(study, bonus.person, batch, f"{bonus.amount:.2f}", bulk_id) for bonus in bonuses],
            )

    def settle(self, bulk_id: str, paid: bool) -> int:
        """Say how a bulk payment ended; how many bonuses it held. Not paid: it can be asked for again."""
        change = "UPDATE bonus SET state = 'paid'" if paid else "DELETE FROM bonus"
        with transaction(self._db):
            done = self._db.execute(f"{change} WHERE bulk_id = ? AND state = 'paying'", (bulk_id,)).rowcount
        if not done:
            raise UserError(f"no payment {bulk_id!r} is waiting to be settled")
        return done


def open_payments(workspace_root: Path) -> closing[Payments]:
    """The payments of a workspace, for a `with` block."""
    return closing(Payments(workspace_root / "recruit.db"))
