"""What happened to HITs and assignments, for requesters who asked to be told (UpdateNotificationSettings).

An event is a row of the outbox, written in the transaction of what it tells about; `sender.py` delivers it afterwards. So a
server killed between the two loses none, and tells one twice at most: its EventDocId stays the same.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from curate.crowd.server.schema import events, hit_types, hits, notification_settings
from curate.crowd.server.store import new_id

_ASKED = (
    select(notification_settings, hits.c.requester)
    .join(hits, hits.c.hit_type_id == notification_settings.c.hit_type_id)
    .where(hits.c.hit_id == bindparam("id"), notification_settings.c.active)
)
_WANT_EXPIRY = (
    select(hits.c.hit_id, hits.c.hit_type_id, hits.c.expires_at, hits.c.pending, hits.c.taken, hits.c.max_assignments)
    .join(notification_settings, hits.c.hit_type_id == notification_settings.c.hit_type_id)
    .where(
        notification_settings.c.active,
        hits.c.disposed_at.is_(None),
        hits.c.expires_at <= bindparam("now"),
        (hits.c.expiry_told.is_(None)) | (hits.c.expiry_told != hits.c.expires_at),
    )
)
ANY_EXPIRED = _WANT_EXPIRY.exists()  # asked before every request; empty at once where nobody wants events


def record(connection: Connection, event: str, hit_id: str, now: float, assignment_id: str | None = None) -> None:
    """Write the event into the outbox when the requester of this HIT's type asked for it."""
    asked = connection.execute(_ASKED, {"id": hit_id}).one_or_none()
    if asked is None or event not in json.loads(asked.event_types):
        return
    told = {"HITTypeId": asked.hit_type_id, "HITGroupId": asked.hit_type_id, "HITId": hit_id}
    if assignment_id:
        told["AssignmentId"] = assignment_id
    put(connection, asked.transport, asked.destination, body(asked.version, asked.requester, event, now, told), now)


def body(version: str, requester: str, event: str, now: float, told: dict[str, str]) -> str:
    """One notification as MTurk's requester API documents it."""
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "EventDocVersion": version,
        "EventDocId": new_id(),
        "CustomerId": requester,
        "Events": [{"EventType": event, "EventTimestamp": at, **told}],
    }
    return json.dumps(document)


def put(connection: Connection, transport: str, destination: str, text: str, now: float) -> None:
    """One notification into the outbox, due at once."""
    values = {"transport": transport, "destination": destination, "body": text, "created_at": now}
    connection.execute(insert(events).values(**values, tries=0, next_try_at=now))


def tell_expired(connection: Connection, now: float) -> None:
    """HITExpired, once for each time a HIT passes its expiration; HITReviewable where nobody works on it any more."""
    for hit in connection.execute(_WANT_EXPIRY, {"now": now}).all():
        record(connection, "HITExpired", hit.hit_id, now)
        if hit.pending == 0 and hit.taken < hit.max_assignments:
            record(connection, "HITReviewable", hit.hit_id, now)
        connection.execute(update(hits).where(hits.c.hit_id == hit.hit_id).values(expiry_told=hit.expires_at))


def forget_expired(connection: Connection, hit_type_id: str, now: float) -> None:
    """HITs that expired before anybody asked are not told about."""
    gone = update(hits).where(hits.c.hit_type_id == hit_type_id, hits.c.expires_at <= now)
    connection.execute(gone.values(expiry_told=hits.c.expires_at))


def type_of(connection: Connection, requester: str, hit_type_id: str) -> Any:
    """The HIT type when it is this requester's, or None."""
    mine = select(hit_types).where(hit_types.c.hit_type_id == hit_type_id, hit_types.c.requester == requester)
    return connection.execute(mine).one_or_none()
