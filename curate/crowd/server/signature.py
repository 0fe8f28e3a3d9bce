"""AWS Signature Version 4, checked: who sent a request. Every request to the requester protocol carries one.

A signature is valid for 15 minutes around its date and is not remembered: two honest equal calls within one second carry the
identical signature, so a replay cache would refuse them. UniqueRequestToken guards what must not happen twice.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from curate.crowd.server.errors import NotSigned

WINDOW = 15 * 60  # seconds that a request's date may be off
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,\s*"
    r"SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Request:
    """What of an HTTP request is signed. Header names in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


def verify(request: Request, secret_of: Callable[[str], str | None], now: float) -> str:
    """The access key id that signed the request; raises NotSigned with the words AWS clients know."""
    header = request.headers.get("authorization", "")
    if not header:
        raise NotSigned("MissingAuthenticationToken", "Missing Authentication Token")
    parts = _AUTHORIZATION.fullmatch(header.strip())
    if parts is None:
        raise NotSigned("IncompleteSignature", "The Authorization header is not a complete AWS4-HMAC-SHA256 signature.")
    access_key_id, day, region, service, names, signature = parts.groups()
    signed = names.split(";")
    if "host" not in signed or "x-amz-date" not in signed:
        raise NotSigned("IncompleteSignature", "The headers host and x-amz-date must be signed.")
    stamp = request.headers.get("x-amz-date", "")
    _check_date(stamp, day, now)
    secret = secret_of(access_key_id)
    if secret is None:
        raise NotSigned("UnrecognizedClientException", "The security token included in the request is invalid.")
    scope = f"{day}/{region}/{service}/aws4_request"
    canonical = hashlib.sha256(_canonical(request, signed).encode()).hexdigest()
    expected = sign(secret, scope, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{canonical}")
    if not hmac.compare_digest(expected, signature):
        raise NotSigned(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your secret access key.",
        )
    return access_key_id


def _check_date(stamp: str, day: str, now: float) -> None:
    try:
        sent = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise NotSigned("IncompleteSignature", f"x-amz-date {stamp!r} is not a time like 20170117T120000Z.") from None
    if abs(sent - now) > WINDOW or not stamp.startswith(day):
        raise NotSigned(
            "InvalidSignatureException",
            f"Signature expired: {stamp} is not within 15 minutes of the server's time; check your clock.",
        )


def _canonical(request: Request, signed: list[str]) -> str:
    """The canonical form of the request, as the AWS documentation describes it."""
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(request.query))
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed)
    payload = hashlib.sha256(request.body).hexdigest()
    return "\n".join([request.method, request.path or "/", query, headers, ";".join(signed), payload])


def sign(secret: str, scope: str, text: str) -> str:
    """The signature of `text` with the key derived for `scope` (day/region/service/aws4_request)."""
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
