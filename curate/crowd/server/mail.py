"""E-mail by SMTP, where the environment names a mail server: the one place that speaks it.

CURATE_SMTP_URL is smtp://user:password@host:port (STARTTLS when the server offers it) or smtps://… (TLS from the first byte);
CURATE_MAIL_FROM is the sender. Without them nothing is sent, and the in-app inbox is all there is.
"""

from __future__ import annotations

import os
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

TIMEOUT = 20  # seconds a mail server may take for one step
_PORTS = {"smtp": 587, "smtps": 465}


class MailError(Exception):
    """A mail that the server did not take; `final` says that trying again will not help."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a mail server and a sender."""
    return bool(environ.get("CURATE_SMTP_URL") and environ.get("CURATE_MAIL_FROM"))


def send(to: str, subject: str, body: str) -> bool:
    """Hand one mail in plain text to the mail server; False when none is configured. Raises MailError when it refuses."""
    if not configured():
        return False
    try:
        message = _message(os.environ["CURATE_MAIL_FROM"], to, subject, body)
        with _connected(os.environ["CURATE_SMTP_URL"]) as server:
            server.send_message(message)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        final = isinstance(error, (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, ValueError))
        raise MailError(f"mail to {to!r}: {type(error).__name__}: {error}", final) from error
    return True


def _message(sender: str, to: str, subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = " ".join(subject.split())  # a line break would start another header
    message.set_content(body)
    return message


def _connected(url: str) -> smtplib.SMTP:
    """A session with the mail server, secured where it can be, signed in where the URL says who."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("CURATE_SMTP_URL is not smtp://user:password@host:port")
    port = parts.port or _PORTS[parts.scheme]
    context = ssl.create_default_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(parts.hostname, port, timeout=TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(parts.hostname, port, timeout=TIMEOUT)
    try:
        server.ehlo()
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=context)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        server.close()
        raise
    return server
