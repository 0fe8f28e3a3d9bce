"""The only file that speaks to a crowd through boto3: plain calls of MTurk's requester protocol, errors as one clear line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import UserError

REGION = "us-east-1"  # the only region MTurk ever had; every signature names it
PAGE = 100  # most results the protocol gives at once
CLOSED = "Amazon Mechanical Turk closed on 30 September 2026"
_LEGACY = (
    "sandbox",
    "production",
    "mturk-requester.us-east-1.amazonaws.com",
    "mturk-requester-sandbox.us-east-1.amazonaws.com",
)
_BAD_KEY = {"UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId", "SignatureDoesNotMatch"}
_BAD_KEY |= {"AccessDeniedException", "IncompleteSignature", "MissingAuthenticationToken", "NotAuthorized"}


class Refused(UserError):
    """The endpoint understood a request and says no for good: asking again would change nothing."""


def check_endpoint(endpoint: str) -> str:
    """The endpoint's address without a trailing slash; raises UserError when it is no address, or one of the closed MTurk."""
    host = urlsplit(endpoint).hostname or endpoint
    if host in _LEGACY:
        raise UserError(f"{endpoint}: {CLOSED}; start a crowd of your own with `curate crowd serve`")
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise UserError(f"endpoint {endpoint!r} is no address; it should look like http://127.0.0.1:8055")
    return endpoint.rstrip("/")


class Requester:
    """Asks one endpoint. Remembers the connection, which is kept alive between calls."""

    def __init__(self, endpoint: str) -> None:
        import boto3
        from botocore.config import Config

        self.endpoint = check_endpoint(endpoint)
        config = Config(
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=16,
        )
        self.client = boto3.Session().client("mturk", endpoint_url=self.endpoint, region_name=REGION, config=config)

    def balance_usd(self) -> float:
        """What the account at the endpoint holds, in dollars."""
        with self._clear("GetAccountBalance"):
            return float(self.client.get_account_balance()["AvailableBalance"])

    def find_qualification(self, name: str) -> str | None:
        """The id of our qualification type of exactly this name, or None."""
        for page in self._pages(
            "list_qualification_types",
            "QualificationTypes",
            Query=name,
            MustBeRequestable=False,
            MustBeOwnedByCaller=True,
        ):
            if page["Name"] == name:
                return str(page["QualificationTypeId"])
        return None

    def create_qualification(self, **wanted: Any) -> str:
        """Make a qualification type; returns its id."""
        with self._clear("CreateQualificationType"):
            made = self.client.create_qualification_type(**wanted)
        return str(made["QualificationType"]["QualificationTypeId"])

    def grant(self, qualification_type_id: str, worker_id: str) -> bool:
        """Give a worker a qualification, again if need be; False where the endpoint knows no such worker."""
        with self._clear("AssociateQualificationWithWorker"):
            try:
                self.client.associate_qualification_with_worker(
                    QualificationTypeId=qualification_type_id,
                    WorkerId=worker_id,
                    IntegerValue=1,
                    SendNotification=False,
                )
                return True
            except self.client.exceptions.RequestError as error:
                if _turk_code(error).endswith("workerdoesnotexist"):
                    return False
                raise

    def holders(self, qualification_type_id: str) -> dict[str, int]:
        """Workers who hold a qualification of ours, with their value."""
        found = self._pages(
            "list_workers_with_qualification_type", "Qualifications", QualificationTypeId=qualification_type_id
        )
        return {str(held["WorkerId"]): int(held.get("IntegerValue", 0)) for held in found}

    def hit_type(self, **wanted: Any) -> str:
        """The id of the HIT type with these values; equal values always give the same id."""
        with self._clear("CreateHITType"):
            return str(self.client.create_hit_type(**wanted)["HITTypeId"])

    def create_hit(self, token: str, hit_type_id: str, question: str, max_assignments: int, lifetime_s: int) -> str:
        """Make a HIT; returns its id. Asked again with the same token (also by boto3's own retry) it gives the first one."""
        try:
            made = self.client.create_hit_with_hit_type(
                HITTypeId=hit_type_id,
                Question=question,
                MaxAssignments=max_assignments,
                LifetimeInSeconds=lifetime_s,
                UniqueRequestToken=token,
                RequesterAnnotation=token,
            )
            return str(made["HIT"]["HITId"])
        except self.client.exceptions.RequestError as error:
            if not _turk_code(error).endswith("hitalreadyexists"):
                with self._clear("CreateHITWithHITType"):
                    raise
            return self._existing(token, str(error.response["Error"]["Message"]))
        except Exception:
            with self._clear("CreateHITWithHITType"):
                raise

    def _existing(self, token: str, message: str) -> str:
        """The HIT that already carries our token: its id stands in the message, else the list of HITs knows it."""
        for word in re.findall(r"\b[A-Z0-9]{20,64}\b", message):
            hit = self.hit(word)
            if hit is not None and hit.get("RequesterAnnotation", token) == token:
                return word
        found = self.hits_by_annotation().get(token)
        if found is None:
            raise UserError(f"{self.endpoint} says that a HIT exists, but does not list it: {message}")
        return found

    def hit(self, hit_id: str) -> dict[str, Any] | None:
        """One HIT as the endpoint describes it, or None where it knows none."""
        with self._clear("GetHIT"):
            try:
                return dict(self.client.get_hit(HITId=hit_id)["HIT"])
            except self.client.exceptions.RequestError as error:
                if _turk_code(error).endswith("hitdoesnotexist"):
                    return None
                raise

    def hits(self) -> Iterator[dict[str, Any]]:
        """Every HIT of this account, page by page."""
        return self._pages("list_hits", "HITs")

    def hits_by_annotation(self) -> dict[str, str]:
        """Annotation to HIT id, of every HIT of this account that has one: finds HITs again after their token has expired."""
        return {hit["RequesterAnnotation"]: hit["HITId"] for hit in self.hits() if hit.get("RequesterAnnotation")}

    def expire(self, hit_id: str, at: float = 0) -> None:
        """From `at` (seconds since 1970; 0 = now) nobody can accept the HIT; who is at work may finish."""
        with self._clear("UpdateExpirationForHIT"):
            self.client.update_expiration_for_hit(HITId=hit_id, ExpireAt=at)

    def ask_more(self, token: str, hit_id: str, additional: int) -> None:
        """Let so many more workers take a HIT; asked again with the same token it changes nothing."""
        with self._clear("CreateAdditionalAssignmentsForHIT"):
            try:
                self.client.create_additional_assignments_for_hit(
                    HITId=hit_id, NumberOfAdditionalAssignments=additional, UniqueRequestToken=token
                )
            except self.client.exceptions.RequestError as error:
                if not _turk_code(error).endswith("alreadyexists"):
                    raise

    def delete(self, hit_id: str) -> None:
        """Dispose of a HIT whose answers are all judged."""
        with self._clear("DeleteHIT"):
            self.client.delete_hit(HITId=hit_id)

    def assignments(self, hit_id: str) -> list[dict[str, Any]]:
        """All submitted, approved and rejected assignments of a HIT, each once even when answers come in meanwhile."""
        found = self._pages("list_assignments_for_hit", "Assignments", HITId=hit_id)
        return list({assignment["AssignmentId"]: assignment for assignment in found}.values())

    def assignment(self, assignment_id: str) -> dict[str, Any]:
        """One submitted, approved or rejected assignment."""
        with self._clear("GetAssignment"):
            return dict(self.client.get_assignment(AssignmentId=assignment_id)["Assignment"])

    def approve(self, assignment_id: str, feedback: str = "", override: bool = False) -> str:
        """Approve an assignment; returns the status it has now, which differs when somebody else judged it first.

        With `override` also one that was rejected in the last 30 days.
        """
        said: dict[str, Any] = {"RequesterFeedback": feedback} if feedback else {}
        if override:
            said["OverrideRejection"] = True
        return self._judge("ApproveAssignment", "Approved", AssignmentId=assignment_id, **said)

    def reject(self, assignment_id: str, reason: str) -> str:
        """Reject an assignment with a reason the worker reads; returns the status it has now."""
        return self._judge("RejectAssignment", "Rejected", AssignmentId=assignment_id, RequesterFeedback=reason)

    def send_bonus(self, worker_id: str, assignment_id: str, cents: int, reason: str, token: str) -> None:
        """Pay a worker something on top. Asked again with the same token (also by boto3's own retry) it pays nothing more."""
        with self._clear("SendBonus"):
            self.client.send_bonus(
                WorkerId=worker_id,
                AssignmentId=assignment_id,
                BonusAmount=f"{cents / 100:.2f}",
                Reason=reason,
                UniqueRequestToken=token,
            )

    def bonuses(self, assignment_id: str) -> list[dict[str, Any]]:
        """The bonuses that were paid for an assignment."""
        return list(self._pages("list_bonus_payments", "BonusPayments", AssignmentId=assignment_id))

    def block(self, worker_id: str, reason: str) -> None:
        """Keep a worker out of all our work from now on; the reason is for us alone."""
        with self._clear("CreateWorkerBlock"):
            self.client.create_worker_block(WorkerId=worker_id, Reason=reason)

    def unblock(self, worker_id: str, reason: str = "") -> None:
        """Let a worker in again."""
        with self._clear("DeleteWorkerBlock"):
            self.client.delete_worker_block(WorkerId=worker_id, **({"Reason": reason} if reason else {}))

    def blocked(self) -> dict[str, str]:
        """Workers who are kept out of all our work, with the reason."""
        return {
            str(row["WorkerId"]): str(row.get("Reason", ""))
            for row in self._pages("list_worker_blocks", "WorkerBlocks")
        }

    def notify(self, worker_ids: Sequence[str], subject: str, text: str) -> list[str]:
        """Send workers a message, a hundred at once; returns those whom it did not reach."""
        missed: list[str] = []
        for start in range(0, len(worker_ids), PAGE):
            with self._clear("NotifyWorkers"):
                reply = self.client.notify_workers(
                    Subject=subject, MessageText=text, WorkerIds=list(worker_ids[start : start + PAGE])
                )
            missed += [str(failed["WorkerId"]) for failed in reply.get("NotifyWorkersFailureStatuses", [])]
        return missed

    def _judge(self, operation: str, status: str, **wanted: Any) -> str:
        call = {"ApproveAssignment": self.client.approve_assignment, "RejectAssignment": self.client.reject_assignment}
        with self._clear(operation):
            try:
                call[operation](**wanted)
                return status
            except self.client.exceptions.RequestError:
                # judged already (by an earlier run, by hand, by the delay): its present status says what happened
                found = self.client.get_assignment(AssignmentId=wanted["AssignmentId"])["Assignment"][
                    "AssignmentStatus"
                ]
                if found == "Submitted":
                    raise
                return str(found)

    def _pages(self, operation: str, key: str, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Rows of a paginated call. Stops at a page that is not full: some servers send a token with every page."""
        token: dict[str, str] = {}
        while True:
            with self._clear(operation):
                page = getattr(self.client, operation)(MaxResults=PAGE, **wanted, **token)
            rows = page.get(key, [])
            yield from rows
            if len(rows) < PAGE or not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    @contextmanager
    def _clear(self, operation: str) -> Iterator[None]:
        """Errors that a person can put right, as one line."""
        from botocore import exceptions as aws

        try:
            yield
        except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
            raise UserError(
                "no key for the crowd: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set. "
                "Issue one with `curate crowd keys issue NAME` and export both"
            ) from error
        except (aws.HTTPClientError, aws.ConnectionError) as error:
            raise UserError(
                f"{self.endpoint}: no crowd answers there. Start one with `curate crowd serve`, or name another with --endpoint"
            ) from error
        except aws.ClientError as error:
            final = error.response.get("Error", {}).get("Code") == "RequestError"
            raise (Refused if final else UserError)(self._refusal(operation, error)) from error
        except aws.ParamValidationError as error:
            raise UserError(f"{operation} cannot be asked like that: {' '.join(str(error).split())}") from error

    def _refusal(self, operation: str, error: Any) -> str:
        fault = error.response.get("Error", {})
        message = fault.get("Message") or error.response.get("Message") or "without a reason"
        if fault.get("Code") in _BAD_KEY or error.response["ResponseMetadata"]["HTTPStatusCode"] in (401, 403):
            return (
                f"{self.endpoint} does not accept this key ({message}). Issue one with `curate crowd keys issue NAME`"
            )
        code = error.response.get("TurkErrorCode") or fault.get("Code") or "no code"
        return f"{self.endpoint} refused {operation}: {message} ({code})"


def _turk_code(error: Any) -> str:
    """The code of a modeled error in lower case: docs and old code spell it differently."""
    return str(error.response.get("TurkErrorCode", "")).lower()
