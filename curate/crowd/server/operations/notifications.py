"""Notifications of events: what a requester wants to be told about a HIT type, where to, and a test of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, insert, select, update

from curate.crowd.server import events, mail
from curate.crowd.server.errors import BadInput, RequestError
from curate.crowd.server.operations.call import Call
from curate.crowd.server.schema import notification_settings as settings
from curate.crowd.server.store import new_id, one

VERSIONS = ("2006-05-05", "2014-08-15")  # the model's and the documentation's; one format
_LONGEST = 1024  # characters of a destination


def update_notification_settings(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Say what to tell about HITs of a type, or switch it on and off. Only what happens from now on is told."""
    asked = data.get("Notification")
    if asked is None and "Active" not in data:
        raise BadInput("Notification, Active: at least one of them is required")
    if asked:
        _check(asked)
        if "Ping" in asked["EventTypes"]:
            raise BadInput("Notification.EventTypes: Ping is for SendTestEventNotification only")
    with call.store.writing() as connection:
        if events.type_of(connection, call.requester, data["HITTypeId"]) is None:
            raise RequestError("HITTypeDoesNotExist", f"HITType {data['HITTypeId']} does not exist.")
        mine = settings.c.hit_type_id == data["HITTypeId"]
        kept = one(connection, select(settings).where(mine))
        if asked is None and kept is None:
            raise BadInput("Notification: this HIT type has none yet; give it one together with Active")
        active = data.get("Active", True if kept is None else bool(kept.active))
        if asked:
            connection.execute(delete(settings).where(mine))
            connection.execute(insert(settings).values(hit_type_id=data["HITTypeId"], active=active, **_row(asked)))
        else:
            connection.execute(update(settings).where(mine).values(active=active))
        if kept is None or not kept.active:
            events.forget_expired(connection, data["HITTypeId"], call.now)
    return {}


def send_test_event_notification(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Send one made-up event the way a real one would go."""
    asked, event = data["Notification"], data["TestEventType"]
    _check(asked)
    told = {} if event == "Ping" else {"HITTypeId": new_id(), "HITId": new_id()}
    if told:
        told["HITGroupId"] = told["HITTypeId"]
    if event.startswith("Assignment"):
        told["AssignmentId"] = new_id()
    text = events.body(asked["Version"], call.requester, event, call.now, told)
    with call.store.writing() as connection:
        events.put(connection, asked["Transport"], asked["Destination"], text, call.now)
    return {}


def _check(asked: dict[str, Any]) -> None:
    """Raise BadInput for a destination that nothing could be sent to."""
    transport, destination = asked["Transport"], asked["Destination"]
    if asked["Version"] not in VERSIONS:
        raise BadInput(f"Notification.Version: {asked['Version']!r} is not one of {', '.join(VERSIONS)}")
    if not asked["EventTypes"]:
        raise BadInput("Notification.EventTypes: needs at least one event")
    if len(destination) > _LONGEST or not destination.isprintable():
        raise BadInput(f"Notification.Destination: is not a destination of at most {_LONGEST} characters")
    if transport == "SQS" and not _is_url(destination):
        raise BadInput(f"Notification.Destination: {destination!r} is not the URL of a queue")
    if transport == "SNS" and not (destination.startswith("arn:") and destination.count(":") >= 5):
        raise BadInput(f"Notification.Destination: {destination!r} is not the ARN of a topic")
    if transport == "Email":
        if "@" not in destination.strip("@") or " " in destination:
            raise BadInput(f"Notification.Destination: {destination!r} is not an e-mail address")
        if not mail.configured():
            raise BadInput("Notification.Transport: this server has no mail server; use SQS or SNS")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _row(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "destination": asked["Destination"],
        "transport": asked["Transport"],
        "version": asked["Version"],
        "event_types": json.dumps(sorted(set(asked["EventTypes"]))),
    }


OPERATIONS = {
    "UpdateNotificationSettings": update_notification_settings,
    "SendTestEventNotification": send_test_event_notification,
}
