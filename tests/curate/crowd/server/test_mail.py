"""Mail against a real SMTP server on a free port."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess

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


def test_a_password_never_goes_over_an_open_line(monkeypatch, sender):
    host = sender.url.removeprefix("smtp://")
    monkeypatch.setenv("CURATE_SMTP_URL", f"smtp://bo:secret@{host}")
    with pytest.raises(mail.MailError, match="offers no STARTTLS"):
        mail.send("bo@example.org", "s", "b")


def test_user_and_password_of_the_url_open_a_server_with_tls(monkeypatch, tmp_path):
    controller = pytest.importorskip("aiosmtpd.controller")
    smtp = pytest.importorskip("aiosmtpd.smtp")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not on this machine")
    words = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    alternative = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", *words.split(), *alternative], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    seen = []

    class Take:
        async def handle_DATA(self, server, session, envelope):
            seen.append(envelope.rcpt_tos)
            return "250 OK"

    def authenticator(server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (b"bo@example.org", b"p@ss:/")
        return smtp.AuthResult(success=right, handled=False)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticator}
    running = controller.Controller(Take(), hostname="127.0.0.1", port=port, **options)
    running.start()
    try:
        monkeypatch.setenv("CURATE_MAIL_FROM", "crowd@example.org")
        monkeypatch.setenv("CURATE_SMTP_URL", f"smtp://bo%40example.org:p%40ss%3A%2F@localhost:{port}")
        with pytest.raises(mail.MailError, match="CERTIFICATE_VERIFY_FAILED"):
            mail.send("al@example.org", "s", "b")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert mail.send("al@example.org", "s", "b")
        monkeypatch.setenv("CURATE_SMTP_URL", f"smtp://bo:wrong@localhost:{port}")
        with pytest.raises(mail.MailError, match="SMTPAuthenticationError"):
            mail.send("al@example.org", "s", "b")
    finally:
        running.stop()
    assert seen == [["al@example.org"]]
