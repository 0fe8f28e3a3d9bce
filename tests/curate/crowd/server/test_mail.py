"""Mail against a real SMTP server on a free port."""

from __future__ import annotations

import socket

import pytest

from curate.crowd.server import mail


@pytest.fixture
def sender(monkeypatch, mailbox):
    monkeypatch.setenv("CURATE_SMTP_URL", mailbox.url)
    monkeypatch.setenv("CURATE_MAIL_FROM", "Crowd <crowd@example.org>")
    return mailbox


def test_a_mail_arrives_with_its_words(sender):
    assert mail.send("bo@example.org", "Grüße\r\nBcc: all@example.org", "Zeile eins\nñ <b>") is True
    (got,) = sender.mails
    assert (got["to"], got["from"]) == (["bo@example.org"], "crowd@example.org")
    assert got["message"]["subject"] == "Grüße Bcc: all@example.org"
    assert got["message"]["bcc"] is None
    assert got["message"].get_content().splitlines() == ["Zeile eins", "ñ <b>"]


def test_without_a_mail_server_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("CURATE_SMTP_URL", raising=False)
    assert mail.send("bo@example.org", "s", "b") is False


def test_a_server_that_is_away_can_be_tried_again(monkeypatch, sender):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("CURATE_SMTP_URL", f"smtp://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(mail.MailError, match="ConnectionRefused") as caught:
            mail.send("bo@example.org", "s", "b")
    assert not caught.value.final


@pytest.mark.parametrize(
    ("to", "url"), [("refused@example.org", None), ("a\nb@example.org", None), ("bo@x.org", "ftp://x")]
)
def test_what_can_never_be_sent_is_said(monkeypatch, sender, to, url):
    if url:
        monkeypatch.setenv("CURATE_SMTP_URL", url)
    with pytest.raises(mail.MailError) as caught:
        mail.send(to, "s", "b")
    assert caught.value.final
    assert sender.mails == []


def test_user_and_password_are_those_of_the_url(monkeypatch, sender):
    host = sender.url.removeprefix("smtp://")
    monkeypatch.setenv("CURATE_SMTP_URL", f"smtp://bo:p%40ss@{host}")
    with pytest.raises(mail.MailError, match="SMTPNotSupportedError"):  # never a password over an open line
        mail.send("bo@example.org", "s", "b")
