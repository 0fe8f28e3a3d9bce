"""Sign-up by e-mail: a code is mailed, spent once, and leads to the one worker of that address, new or known."""

from __future__ import annotations

import re
import secrets

from sqlalchemy import Connection, func, insert, select, update

from curate.crowd.server import mail, sessions
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import email_codes, emails
from curate.crowd.server.sessions import Place
from curate.crowd.server.settings import keyed
from curate.crowd.server.store import Store, now
from curate.crowd.server.texts import word

LIFE = 30 * 60  # seconds that a code is good for
MAX_TRIES = 5  # wrong codes typed for one address before a new mail is needed
MAX_MAILS = 5  # an hour, to one address
MAX_ASKED = 20  # an hour, from one network address
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that look alike
_EMAIL = re.compile(r"[^@\s<>\"',;:\\]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+")


def check_email(text: str) -> str:
    """An address in lower case; raises WorkerError when it is none."""
    email = text.strip().lower()
    if len(email) > 254 or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise WorkerError("bad_email", 400)
    return email


def send_code(store: Store, secret: str, email: str, name: str, place: Place, base: str, language: str) -> None:
    """Mail a code to somebody. Who is asked for is not said: the page looks the same for known and new addresses."""
    email, name = check_email(email), " ".join(name.split())
    if len(name) > sessions.LONGEST_NAME or not name.isprintable():
        raise WorkerError("bad_name", 400)
    code = "".join(secrets.choice(_LETTERS) for _ in range(8))
    with store.writing() as connection:
        _check_rate(connection, email, place)
        values = {"code_hash": _hash(secret, email, code), "email": email, "name": name or None, "tries": 0}
        connection.execute(insert(email_codes).values(**values, created_at=now(), address=place.address))
    body = word("mail_body", language).format(code=f"{code[:4]}-{code[4:]}", url=f"{base}/email?lang={language}")
    try:
        sent = mail.send(email, word("mail_subject", language), body)
    except mail.MailError as error:
        raise WorkerError("mail_failed", 502) from error
    if not sent:
        raise WorkerError("mail_failed", 502)


def _check_rate(connection: Connection, email: str, place: Place) -> None:
    recent = select(func.count()).select_from(email_codes).where(email_codes.c.created_at > now() - 3600)
    to_one = connection.scalar(recent.where(email_codes.c.email == email)) or 0
    from_one = connection.scalar(recent.where(email_codes.c.address == place.address)) or 0
    if to_one >= MAX_MAILS or (place.address and from_one >= MAX_ASKED):
        raise WorkerError("too_many_mails", 429)


def spend_code(store: Store, secret: str, email: str, code: str, place: Place) -> str:
    """The session token of the address's worker, who is new if nobody had it. A wrong code counts; raises WorkerError."""
    email, typed = check_email(email), code.strip().upper().replace("-", "").replace(" ", "")
    with store.writing() as connection:
        spent = update(email_codes).where(*_live(email), email_codes.c.code_hash == _hash(secret, email, typed))
        if connection.execute(spent.values(spent_at=now())).rowcount:
            return sessions.admit(connection, _worker_of(connection, secret, email, typed), place)
        missed = update(email_codes).where(*_live(email))
        connection.execute(missed.values(tries=email_codes.c.tries + 1))  # committed: the error comes after
    raise WorkerError("bad_code", 400)


def _live(email: str) -> list:
    table = email_codes.c
    return [
        table.email == email,
        table.spent_at.is_(None),
        table.created_at > now() - LIFE,
        table.tries < MAX_TRIES,
    ]


def _worker_of(connection: Connection, secret: str, email: str, code: str) -> str:
    known: str | None = connection.scalar(select(emails.c.worker_id).where(emails.c.email == email))
    if known:
        return known
    named = select(email_codes.c.name).where(email_codes.c.code_hash == _hash(secret, email, code))
    name = connection.scalar(named) or email.partition("@")[0]
    worker = sessions.new_worker(connection, name, False, "email")
    connection.execute(insert(emails).values(email=email, worker_id=worker.worker_id, verified_at=now()))
    return worker.worker_id


def _hash(secret: str, email: str, code: str) -> str:
    return keyed(secret, "email code", email, code)
