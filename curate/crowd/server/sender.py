"""Delivers what waits in the store, in a thread of its own: events to SQS, SNS or by mail, messages by mail.

A row is claimed in one short transaction (its try is counted and the next one dated) and marked as sent in another, so several
servers share one outbox, and one that is killed in between leaves the row to be tried again.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select, update

from curate.crowd.server import mail, rules
from curate.crowd.server.schema import emails, events, messages
from curate.crowd.server.store import Store, now

POLL = 0.5  # seconds between looks into the outbox
TRIES = 14  # the last one about eight hours after the first
BATCH = 100
LEASE = 60  # seconds after which a try that never ended counts as failed
HOUR = 3600
DAY = 24 * HOUR
_log = logging.getLogger("curate.crowd")


class NotSent(Exception):
    """A delivery that failed; `final` says that trying again will not help."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Sender:
    """The thread that delivers while the server runs; also keeps the store's time when nobody asks it anything."""

    def __init__(self, store: Store, deliver: Callable[[Any], None] | None = None) -> None:
        self._store = store
        self._deliver = deliver or deliver_event
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        tidied = 0.0
        while not self._stop.wait(POLL):
            try:
                time = now()
                rules.settle(self._store, time)
                if time - tidied > HOUR:
                    rules.dispose_old(self._store, time)
                    tidied = time
                send_due(self._store, time, self._deliver)
                mail_due(self._store, time)
            except Exception:
                _log.exception("the sender of notifications failed; it tries again")


def backoff(tries: int) -> float:
    """Seconds until the next try: 5, 10, 20, … at most an hour."""
    return float(min(5 * 2 ** max(0, tries - 1), HOUR))


def send_due(store: Store, time: float, deliver: Callable[[Any], None]) -> int:
    """Deliver the events that are due; how many went out."""
    due = select(events).where(events.c.sent_at.is_(None), events.c.next_try_at <= time, events.c.tries < TRIES)
    with store.reading() as connection:
        rows = connection.execute(due.order_by(events.c.seq).limit(BATCH)).all()
    return sum(_send(store, row, time, deliver) for row in rows)


def _send(store: Store, row: Any, time: float, deliver: Callable[[Any], None]) -> bool:
    mine = (events.c.seq == row.seq) & (events.c.tries == row.tries) & events.c.sent_at.is_(None)
    if not _changed(store, update(events).where(mine).values(tries=row.tries + 1, next_try_at=time + LEASE)):
        return False  # another server has it
    this = events.c.seq == row.seq
    try:
        deliver(row)
    except NotSent as error:
        tries = TRIES if error.final else row.tries + 1
        _changed(store, update(events).where(this).values(tries=tries, next_try_at=now() + backoff(tries)))
        _log.warning("event %d to %s: %s%s", row.seq, row.destination, error, "" if tries < TRIES else "; given up")
        return False
    return _changed(store, update(events).where(this).values(sent_at=now()))


def _changed(store: Store, statement: Any) -> bool:
    with store.writing() as connection:
        return bool(connection.execute(statement).rowcount)


def deliver_event(row: Any) -> None:
    """Hand one event to its queue, topic or address. Raises NotSent."""
    if row.transport == "Email":
        told = json.loads(row.body)["Events"][0]
        _mail(row.destination, f"{told['EventType']} {told.get('HITId', '')}".strip(), row.body)
        return
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if row.transport == "SQS":
            _client("sqs", _region_of_queue(row.destination)).send_message(
                QueueUrl=row.destination, MessageBody=row.body
            )
        else:
            region = row.destination.split(":")[3]
            _client("sns", region).publish(TopicArn=row.destination, Message=row.body)
    except (BotoCoreError, ClientError) as error:
        raise NotSent(f"{type(error).__name__}: {error}") from error


def _client(service: str, region: str) -> Any:
    """A boto3 client; endpoint and credentials come from the environment, as for every AWS tool."""
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})
    return boto3.Session().client(service, region_name=region, config=config)


def _region_of_queue(url: str) -> str:
    """The region in the name of a queue of AWS; any other queue is asked as us-east-1."""
    host = (urlsplit(url).hostname or "").split(".")
    return host[1] if host[0] == "sqs" and len(host) > 3 else "us-east-1"


def _mail(to: str, subject: str, text: str) -> None:
    try:
        if not mail.send(to, subject, text):
            raise NotSent("no mail server is configured (CURATE_SMTP_URL, CURATE_MAIL_FROM)")
    except mail.MailError as error:
        raise NotSent(str(error), error.final) from error


def mail_due(store: Store, time: float) -> int:
    """Mail the messages of the last day that wait for it, to workers with a verified address; how many went out."""
    if not mail.configured():
        return 0
    table = messages.c
    waiting = select(messages, emails.c.email).join(emails, emails.c.worker_id == table.worker_id)
    waiting = waiting.where(table.mailed_at.is_(None), table.mail_tries < TRIES, table.sent_at > time - DAY)
    with store.reading() as connection:
        rows = connection.execute(waiting.order_by(table.seq).limit(BATCH)).all()
    due = [row for row in rows if row.mail_tries == 0 or time >= row.sent_at + backoff(row.mail_tries + 1)]
    return sum(_mail_message(store, row) for row in due)


def _mail_message(store: Store, row: Any) -> bool:
    this = messages.c.seq == row.seq
    mine = this & (messages.c.mail_tries == row.mail_tries) & messages.c.mailed_at.is_(None)
    if not _changed(store, update(messages).where(mine).values(mail_tries=row.mail_tries + 1)):
        return False
    try:
        _mail(row.email, row.subject, row.body)
    except NotSent as error:
        if error.final:
            _changed(store, update(messages).where(this).values(mail_tries=TRIES))
        _log.warning("message %d: %s", row.seq, error)
        return False
    return _changed(store, update(messages).where(this).values(mailed_at=now()))
