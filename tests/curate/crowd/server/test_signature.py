"""Signature Version 4 against botocore's own signer."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from curate.crowd.server.errors import NotSigned
from curate.crowd.server.signature import Request, verify


def signed(body=b"{}", secret="right", **headers):
    request = AWSRequest("POST", "http://crowd.example:8055/", data=body, headers={"X-Amz-Target": "T.Op", **headers})
    request.headers["Host"] = "crowd.example:8055"
    SigV4Auth(Credentials("KEY", secret), "mturk-requester", "us-east-1").add_auth(request)
    return Request("POST", "/", [], {name.lower(): value for name, value in request.headers.items()}, body)


def secret_of(key):
    return {"KEY": "right"}.get(key)


def test_what_botocore_signs_is_accepted():
    assert verify(signed(), secret_of, time.time()) == "KEY"


def test_the_same_request_is_accepted_twice():
    request = signed()
    assert verify(request, secret_of, time.time()) == verify(request, secret_of, time.time()) == "KEY"


def test_a_changed_body_is_refused():
    request = signed(b'{"a":1}')
    changed = Request(request.method, request.path, request.query, request.headers, b'{"a":2}')
    with pytest.raises(NotSigned, match="does not match"):
        verify(changed, secret_of, time.time())


@pytest.mark.parametrize(("minutes", "fine"), [(-16, False), (-14, True), (14, True), (16, False)])
def test_a_signature_holds_fifteen_minutes_around_its_date(minutes, fine):
    request = signed()
    sent = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    if fine:
        assert verify(request, secret_of, sent + 60 * minutes) == "KEY"
        return
    with pytest.raises(NotSigned, match="15 minutes"):
        verify(request, secret_of, sent + 60 * minutes)


@pytest.mark.parametrize("header", ["Basic abc", "AWS4-HMAC-SHA256 Credential=", "AWS4-HMAC-SHA256 " + "x" * 5000])
def test_a_header_that_is_no_signature_is_refused(header):
    request = signed()
    request = Request("POST", "/", [], {**request.headers, "authorization": header}, b"{}")
    with pytest.raises(NotSigned):
        verify(request, secret_of, time.time())
