"""S3 through boto3: one client a process, and what it refuses said in one line.

The key of the crowd stands in AWS_ACCESS_KEY_ID; S3 may have its own in CURATE_S3_ACCESS_KEY_ID and
CURATE_S3_SECRET_ACCESS_KEY, or a profile in CURATE_S3_PROFILE. AWS_ENDPOINT_URL_S3 names another service that speaks S3.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import UserError

SCHEME = "s3://"
_REGION = "us-east-1"
_CONNECTIONS = 32  # kept open; as many threads may read at once
_TRIES = 3  # of an answer that breaks off: botocore tries again only until the answer begins
_making = threading.Lock()


def bucket_and_key(where: str) -> tuple[str, str]:
    """The two halves of `s3://bucket/some/key`. Raises UserError for anything else."""
    parts = urlsplit(where)
    if parts.scheme != "s3" or not parts.netloc:
        raise UserError(f"{where}: should look like s3://bucket/prefix")
    return parts.netloc, where.removeprefix(f"{SCHEME}{parts.netloc}").strip("/")


def load() -> None:
    """Import boto3 whole. Two threads that both begin to may find it half made: this one lets them in one by one."""
    with _making:
        import botocore.exceptions  # noqa: F401


def session() -> Any:
    """A boto3 session with the key that S3 has of its own, else the usual one."""
    import boto3

    own = os.environ.get("CURATE_S3_ACCESS_KEY_ID")
    return boto3.Session(
        aws_access_key_id=own,
        aws_secret_access_key=os.environ.get("CURATE_S3_SECRET_ACCESS_KEY") if own else None,
        profile_name=os.environ.get("CURATE_S3_PROFILE"),
    )


def client() -> Any:
    """This process's client: threads share it, a forked or spawned process makes its own."""
    key = [value for name, value in sorted(os.environ.items()) if name.startswith(("AWS_", "CURATE_S3"))]
    with _making:  # to make one takes a tenth of a second, and many threads begin at once
        return _client(os.getpid(), *key)


@lru_cache(maxsize=4)
def _client(*_: object) -> Any:
    from botocore.config import Config

    made = session()
    config = Config(
        signature_version="s3v4", max_pool_connections=_CONNECTIONS, retries={"mode": "standard", "max_attempts": 5}
    )
    return made.client("s3", region_name=made.region_name or _REGION, config=config)


def body(bucket: str, key: str) -> bytes:
    """The bytes of an object. Raises ClientError where it is not there, and asks again when the answer breaks off."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for left in reversed(range(_TRIES)):
        answer = client().get_object(Bucket=bucket, Key=key)["Body"]
        try:
            return bytes(answer.read())
        except (HTTPClientError, IncompleteReadError):
            if not left:
                raise
    raise AssertionError


def is_missing(error: Any) -> bool:
    """Whether a ClientError says that there is no such object."""
    return str(error.response.get("Error", {}).get("Code")) in ("404", "NoSuchKey", "NotFound")


@contextmanager
def clear_errors(where: str, what: str) -> Iterator[None]:
    """What S3 refuses and a person can put right, as one line: the place, what was asked, the answer."""
    load()
    from boto3.exceptions import Boto3Error
    from botocore import exceptions as aws

    try:
        yield
    except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
        raise UserError(
            f"{where}: no key for S3; set CURATE_S3_ACCESS_KEY_ID and CURATE_S3_SECRET_ACCESS_KEY"
        ) from error
    except aws.ClientError as error:
        fault = error.response.get("Error", {})
        raise UserError(f"{where}: S3 refused {what}: {fault.get('Message')} ({fault.get('Code')})") from error
    except (aws.HTTPClientError, aws.ConnectionError) as error:
        raise UserError(f"{where}: S3 does not answer ({error})") from error
    except (aws.BotoCoreError, Boto3Error) as error:
        raise UserError(
            f"{where}: {what} failed ({error}). Key, region and address come from AWS_* or ~/.aws"
        ) from error
