"""Qualification types, and who holds them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from curate.crowd.server import inbox, rules
from curate.crowd.server.errors import BadInput, RequestError
from curate.crowd.server.operations.call import Call, bounded, page
from curate.crowd.server.questions import parse_answer_key, parse_test
from curate.crowd.server.schema import qualification_types, qualifications, test_runs, test_starts, workers
from curate.crowd.server.store import new_id, one
from curate.crowd.server.texts import LANGUAGES, word


def create_qualification_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A new qualification type, with or without a test. A name that this requester has used is refused."""
    if data["Name"].strip() == "" or len(data["Name"]) > 200:
        raise BadInput("Name: must have 1 to 200 characters")
    _check_test(data)
    row = {
        "qualification_type_id": new_id(),
        "requester": call.requester,
        "name": data["Name"],
        "keywords": data.get("Keywords"),
        "description": data["Description"],
        "status": data["QualificationTypeStatus"],
        "test": data.get("Test"),
        "answer_key": data.get("AnswerKey"),
        "test_duration": data.get("TestDurationInSeconds"),
        "retry_delay": data.get("RetryDelayInSeconds"),
        "auto_granted": data.get("AutoGranted", False),
        "auto_granted_value": data.get("AutoGrantedValue", 1) if data.get("AutoGranted") else None,
        "created_at": call.now,
    }
    try:
        with call.store.writing() as connection:
            connection.execute(insert(qualification_types).values(row))
            return {"QualificationType": _shape(known_type(connection, row["qualification_type_id"]))}
    except IntegrityError:
        raise RequestError(
            "QualificationTypeAlreadyExists",
            "You have already created a QualificationType with this name. "
            "A QualificationType's name must be unique among all of the QualificationTypes created by the same user.",
        ) from None


def _check_test(data: dict[str, Any]) -> None:
    bounded(data, "RetryDelayInSeconds", 0, 2**31)
    if len(data.get("Description", "")) > 2000:
        raise BadInput(f"Description: has {len(data['Description'])} characters; at most 2000 are allowed")
    if "AutoGrantedValue" in data and not data.get("AutoGranted"):
        raise BadInput("AutoGrantedValue: needs AutoGranted")
    if "Test" not in data:
        if "AnswerKey" in data:
            raise BadInput("AnswerKey: needs a Test")
        return
    if data.get("AutoGranted"):
        raise BadInput("AutoGranted: cannot be true for a QualificationType with a Test")
    if data.get("TestDurationInSeconds", 0) <= 0:
        raise BadInput("TestDurationInSeconds: a Test needs one, above 0")
    form = parse_test(data["Test"])
    if "AnswerKey" in data:
        key = parse_answer_key(data["AnswerKey"])
        stray = set(key.options) - {question.id for question in form.questions}
        if stray:
            raise BadInput(f"AnswerKey: QuestionIdentifier {sorted(stray)[0]!r} is not in the Test")


def update_qualification_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Change a type of the caller. A test can be replaced, never removed; without an AnswerKey the new one has none."""
    for name in ("AnswerKey", "TestDurationInSeconds"):
        if name in data and "Test" not in data:
            raise BadInput(f"{name}: needs the Test, also when its questions stay as they are")
    _check_test(data)
    with call.store.writing() as connection:
        kind = own_type(connection, call, data["QualificationTypeId"])
        if data.get("AutoGranted") and kind.test is not None:
            raise BadInput("AutoGranted: cannot be true for a QualificationType with a Test")
        if "Test" in data and kind.auto_granted and data.get("AutoGranted") is not False:
            raise BadInput("Test: an AutoGranted QualificationType cannot have one; set AutoGranted to false")
        changes = _changes(data)
        if changes:
            this = qualification_types.c.qualification_type_id == kind.qualification_type_id
            connection.execute(update(qualification_types).where(this).values(changes))
        return {"QualificationType": _shape(known_type(connection, kind.qualification_type_id))}


def _changes(data: dict[str, Any]) -> dict[str, Any]:
    """The columns that an update changes. A retry delay can be changed or added; nothing takes it away."""
    columns = {
        "Description": "description",
        "QualificationTypeStatus": "status",
        "RetryDelayInSeconds": "retry_delay",
    }
    changes = {column: data[name] for name, column in columns.items() if name in data}
    if "Test" in data:
        changes |= {"test": data["Test"], "answer_key": data.get("AnswerKey")}
        changes["test_duration"] = data["TestDurationInSeconds"]
    if "AutoGranted" in data:
        value = data.get("AutoGrantedValue", 1) if data["AutoGranted"] else None
        changes |= {"auto_granted": data["AutoGranted"], "auto_granted_value": value}
    return changes


def delete_qualification_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """The type is gone at once and its name free; requests that wait are rejected.

    Who holds it keeps it, so HITs that are out go on; nothing new can be made that asks for it.
    """
    with call.store.writing() as connection:
        kind = own_type(connection, call, data["QualificationTypeId"])
        identifier = kind.qualification_type_id
        waiting = (test_runs.c.qualification_type_id == identifier) & (test_runs.c.status == "Pending")
        connection.execute(update(test_runs).where(waiting).values(status="Rejected", judged_at=call.now))
        connection.execute(delete(test_starts).where(test_starts.c.qualification_type_id == identifier))
        this = qualification_types.c.qualification_type_id == identifier
        connection.execute(delete(qualification_types).where(this))
    return {}


def get_qualification_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """One qualification type, of whichever requester."""
    with call.store.reading() as connection:
        return {"QualificationType": _shape(known_type(connection, data["QualificationTypeId"]))}


def list_qualification_types(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of types whose name, description or keywords hold the query."""
    table = qualification_types.c
    rows = select(qualification_types)
    if data.get("MustBeOwnedByCaller"):
        rows = rows.where(table.requester == call.requester)
    if data["MustBeRequestable"]:
        rows = rows.where(table.status == "Active")
    if query := data.get("Query"):
        columns = (table.name, table.description, table.keywords)
        rows = rows.where(or_(*(column.icontains(query, autoescape=True) for column in columns)))
    with call.store.reading() as connection:
        return page(connection, rows, [table.seq], data, "QualificationTypes", _shape)


def get_qualification_score(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """The value that a worker holds for a type of the caller."""
    with call.store.reading() as connection:
        own_type(connection, call, data["QualificationTypeId"])
        row = _held(connection, data["QualificationTypeId"], data["WorkerId"])
    if row is None or row.status != "Granted":
        raise RequestError(
            "QualificationDoesNotExist",
            f"You requested a Qualification that does not exist for worker {data['WorkerId']}.",
        )
    return {"Qualification": _held_shape(row)}


def list_workers_with_qualification_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the workers who hold a type of the caller, or whose it was revoked."""
    rows = select(qualifications).where(
        qualifications.c.qualification_type_id == data["QualificationTypeId"],
        qualifications.c.status == data.get("Status", "Granted"),
    )
    with call.store.reading() as connection:
        own_type(connection, call, data["QualificationTypeId"])
        return page(connection, rows, [qualifications.c.worker_id], data, "Qualifications", _held_shape)


def associate_qualification_with_worker(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Grant a type of the caller to a worker, or change the value; a request of theirs that waits is done with."""
    with call.store.writing() as connection:
        kind = own_type(connection, call, data["QualificationTypeId"])
        if one(connection, select(workers.c.worker_id).where(workers.c.worker_id == data["WorkerId"])) is None:
            raise RequestError("WorkerDoesNotExist", f"Worker {data['WorkerId']} does not exist.")
        value = data.get("IntegerValue", 1)
        grant(connection, kind.qualification_type_id, data["WorkerId"], value, call.now)
        _close_request(connection, kind.qualification_type_id, data["WorkerId"], value, call.now)
        if data.get("SendNotification", True):
            tell_granted(connection, call, data["WorkerId"], kind.name, value)
    return {}


def disassociate_qualification_from_worker(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Revoke a type of the caller from a worker."""
    with call.store.writing() as connection:
        own_type(connection, call, data["QualificationTypeId"])
        row = _held(connection, data["QualificationTypeId"], data["WorkerId"])
        if row is None or row.status != "Granted":
            raise RequestError(
                "QualificationDoesNotExist",
                f"You requested a Qualification that does not exist for worker {data['WorkerId']}.",
            )
        connection.execute(update(qualifications).where(*_key(row)).values(status="Revoked"))
    return {}


def grant(connection: Connection, type_id: str, worker_id: str, value: int, now: float) -> None:
    """Give a worker a qualification, or another value of it."""
    values = {"value": value, "status": "Granted", "granted_at": now}
    row = _held(connection, type_id, worker_id)
    if row is None:
        connection.execute(insert(qualifications).values(qualification_type_id=type_id, worker_id=worker_id, **values))
    else:
        connection.execute(update(qualifications).where(*_key(row)).values(**values))


def _close_request(connection: Connection, type_id: str, worker_id: str, value: int, now: float) -> None:
    table = test_runs.c
    waiting = (table.qualification_type_id == type_id) & (table.worker_id == worker_id) & (table.status == "Pending")
    changes = {"status": "Granted", "score": value, "judged_at": now}
    connection.execute(update(test_runs).where(waiting).values(changes))


def tell_granted(connection: Connection, call: Call, worker_id: str, name: str, value: int) -> None:
    """Tell the worker that they hold a qualification now."""
    language = connection.scalar(select(workers.c.language).where(workers.c.worker_id == worker_id))
    said = word("granted", language if language in LANGUAGES else "en")
    inbox.post(connection, worker_id, call.requester, f"{said}: {name}", f"{name}: {value}", call.now)


def _key(row: Any) -> list[Any]:
    table = qualifications.c
    return [table.qualification_type_id == row.qualification_type_id, table.worker_id == row.worker_id]


def _held(connection: Connection, type_id: str, worker_id: str) -> Any:
    table = qualifications.c
    return one(
        connection, select(qualifications).where(table.qualification_type_id == type_id, table.worker_id == worker_id)
    )


def known_type(connection: Connection, type_id: str) -> Any:
    """The type, of whichever requester; raises RequestError when there is none."""
    row = one(connection, select(qualification_types).where(qualification_types.c.qualification_type_id == type_id))
    if row is None:
        raise RequestError("QualificationTypeDoesNotExist", f"QualificationType {type_id} does not exist.")
    return row


def own_type(connection: Connection, call: Call, type_id: str) -> Any:
    """The type, when the caller made it; somebody else's is as good as none."""
    row = known_type(connection, type_id)
    if row.requester != call.requester:
        raise RequestError("QualificationTypeDoesNotExist", f"QualificationType {type_id} does not exist.")
    return row


def check_requirements(connection: Connection, requirements: list[dict[str, Any]]) -> None:
    """Raise BadInput unless each requirement names a type that there is, and has the values that its comparator needs."""
    if len(requirements) > 10:
        raise BadInput(f"QualificationRequirements: has {len(requirements)} entries; at most 10 are allowed")
    for number, requirement in enumerate(requirements):
        where = f"QualificationRequirements[{number}]"
        if requirement["QualificationTypeId"] not in rules.SYSTEM:
            known_type(connection, requirement["QualificationTypeId"])
        if requirement.get("RequiredToPreview") and "ActionsGuarded" in requirement:
            raise BadInput(f"{where}: RequiredToPreview and ActionsGuarded exclude each other")
        _check_values(requirement, where)


_OF_PLACES = ("EqualTo", "NotEqualTo", "In", "NotIn", "Exists", "DoesNotExist")


def _check_values(requirement: dict[str, Any], where: str) -> None:
    comparator, numbers = requirement["Comparator"], requirement.get("IntegerValues") or []
    places = requirement.get("LocaleValues") or []
    is_locale = requirement["QualificationTypeId"] == rules.LOCALE
    if (numbers and is_locale) or (places and not is_locale):
        raise BadInput(f"{where}: LocaleValues belong to {rules.LOCALE} alone, which takes no IntegerValues")
    if is_locale and comparator not in _OF_PLACES:
        raise BadInput(f"{where}: {comparator} does not compare places; use one of {', '.join(_OF_PLACES)}")
    count, most = len(numbers) + len(places), 1
    if comparator in ("In", "NotIn"):
        most = 30 if is_locale else 15
    if comparator in ("Exists", "DoesNotExist"):
        if count:
            raise BadInput(f"{where}: {comparator} takes no values")
    elif not 1 <= count <= most:
        raise BadInput(f"{where}: {comparator} needs 1 to {most} values, got {count}")


def _shape(row: Any) -> dict[str, Any]:
    reply = {
        "QualificationTypeId": row.qualification_type_id,
        "CreationTime": row.created_at,
        "Name": row.name,
        "Description": row.description,
        "Keywords": row.keywords,
        "QualificationTypeStatus": row.status,
        "Test": row.test,
        "TestDurationInSeconds": row.test_duration,
        "AnswerKey": row.answer_key,
        "RetryDelayInSeconds": row.retry_delay,
        "IsRequestable": row.status == "Active",
        "AutoGranted": bool(row.auto_granted),
        "AutoGrantedValue": row.auto_granted_value,
    }
    return {name: value for name, value in reply.items() if value is not None}


def _held_shape(row: Any) -> dict[str, Any]:
    return {
        "QualificationTypeId": row.qualification_type_id,
        "WorkerId": row.worker_id,
        "GrantTime": row.granted_at,
        "IntegerValue": row.value,
        "Status": row.status,
    }


OPERATIONS = {
    "CreateQualificationType": create_qualification_type,
    "UpdateQualificationType": update_qualification_type,
    "DeleteQualificationType": delete_qualification_type,
    "GetQualificationType": get_qualification_type,
    "ListQualificationTypes": list_qualification_types,
    "GetQualificationScore": get_qualification_score,
    "ListWorkersWithQualificationType": list_workers_with_qualification_type,
    "AssociateQualificationWithWorker": associate_qualification_with_worker,
    "DisassociateQualificationFromWorker": disassociate_qualification_from_worker,
}
