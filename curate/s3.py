"""Pictures that workers load from S3: display copies under keys nobody can guess, behind addresses that outlive the HIT.

Which key reaches S3, and how its errors read, stands in schemas/s3.py.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from curate.display import display_bytes
from curate.workspace import now
from schemas.errors import UserError
from schemas.s3 import bucket_and_key, clear_errors, client, session

LONGEST_S = 7 * 86400  # a presigned address (Signature Version 4) lives a week at most
MARGIN_S = 600  # for a page that is opened at the last moment


class Bucket:
    """One place in S3, `s3://bucket/prefix`."""

    def __init__(self, where: str) -> None:
        self.name, self.prefix = bucket_and_key(where)
        self.where = where.rstrip("/")
        with clear_errors(self.where, "a key"):
            self.temporary = bool(getattr(session().get_credentials(), "token", None))
            self.client: Any = client()

    def check(self, origin: str) -> str | None:
        """A line to tell where CORS could not be read; raises UserError where pages from `origin` may not read pictures."""
        from botocore.exceptions import ClientError

        with clear_errors(self.where, "GetBucketCors"):
            try:
                rules = self.client.get_bucket_cors(Bucket=self.name)["CORSRules"]
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "AccessDenied":
                    return f"{self.where}: this key may not read the bucket's CORS rules; make sure they allow GET from {origin}"
                if code != "NoSuchCORSConfiguration":
                    raise
                rules = []
        for rule in rules:
            if "GET" in rule["AllowedMethods"] and any(_matches(one, origin) for one in rule["AllowedOrigins"]):
                return None
        raise UserError(
            f"{self.where}: no CORS rule lets pages of {origin} read pictures. Give the bucket one: "
            f'{{"CORSRules": [{{"AllowedOrigins": ["{origin}"], "AllowedMethods": ["GET"]}}]}} with `aws s3api put-bucket-cors`'
        )

    def upload(
        self,
        project: sqlite3.Connection,
        originals: Mapping[str, Path | str],
        image_ids: Iterable[str],
        step: Callable[[int], object] = lambda _: None,
    ) -> dict[str, str]:
        """The key of each picture, put there where it was not before. Its random key is written down first: stopped, it goes on."""
        rows = project.execute("SELECT image_id, key, uploaded_at FROM upload WHERE place = ?", (self.where,))
        there = {row["image_id"]: (row["key"], row["uploaded_at"]) for row in rows}
        keys: dict[str, str] = {}
        for image_id in dict.fromkeys(image_ids):
            key, done = there.get(image_id) or (self._new_key(project, image_id), None)
            if done is None:
                self._put(key, image_id, originals)
                project.execute(
                    "UPDATE upload SET uploaded_at = ? WHERE place = ? AND image_id = ?",
                    (now().isoformat(), self.where, image_id),
                )
            keys[image_id] = key
            step(1)
        return keys

    def _new_key(self, project: sqlite3.Connection, image_id: str) -> str:
        """A key of 128 random bits: an image_id is known to whoever has the picture."""
        key = "/".join(filter(None, (self.prefix, f"{secrets.token_hex(16)}.jpg")))
        project.execute("INSERT INTO upload (place, image_id, key) VALUES (?, ?, ?)", (self.where, image_id, key))
        return key

    def _put(self, key: str, image_id: str, originals: Mapping[str, Path | str]) -> None:
        try:
            body = display_bytes(originals[image_id])
        except (KeyError, OSError, SyntaxError, ValueError) as error:
            raise UserError(
                f"picture {image_id[:12]}… cannot be read ({error}); `curate check` drops such pictures"
            ) from error
        with clear_errors(self.where, "PutObject"):
            self.client.put_object(Bucket=self.name, Key=key, Body=body, ContentType="image/jpeg")

    def remove(self, key: str) -> None:
        """Take a display copy away; one that is not there is no error."""
        with clear_errors(self.where, "DeleteObject"):
            self.client.delete_object(Bucket=self.name, Key=key)

    def address(self, key: str, seconds: int) -> str:
        """An address that opens one picture for so long; nothing is asked of S3."""
        with clear_errors(self.where, "a presigned address"):
            return str(
                self.client.generate_presigned_url(
                    "get_object", Params={"Bucket": self.name, "Key": key}, ExpiresIn=seconds
                )
            )


def lifetime(hit_s: float, answer_s: float) -> int:
    """For how many seconds an address must live, so that the last worker of a HIT still sees its pictures.

    Raises UserError where no presigned address lives so long.
    """
    wanted = round(hit_s + answer_s) + MARGIN_S
    if wanted > LONGEST_S:
        most = (LONGEST_S - MARGIN_S - answer_s) / 86400
        raise UserError(
            f"a HIT of {hit_s / 86400:g} days and {answer_s / 60:g} minutes outlives its pictures: a presigned address lives 7 days "
            f"at most. Set crowd.lifetime_days to {int(most * 10) / 10:g} or less, or let the crowd's own server show the "
            "pictures (leave --pictures-url out), or name a https:// address that stays"
        )
    return wanted


def _matches(allowed: str, origin: str) -> bool:
    """Whether an origin of a CORS rule, with at most one `*`, covers this one."""
    before, star, after = allowed.partition("*")
    return origin == allowed or bool(
        star and len(origin) >= len(before + after) and origin.startswith(before) and origin.endswith(after)
    )
