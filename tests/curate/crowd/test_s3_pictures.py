"""Pictures from S3: a real HTTP server of S3's protocol on loopback holds them, a real crowd asks about them."""

from __future__ import annotations

import io
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import boto3
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from curate.crowd.requester import Requester
from curate.s3 import LONGEST_S, lifetime
from schemas.errors import UserError
from schemas.question import extract

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop

PLACE = ("--pictures-url", "s3://shop-pictures/for-workers")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty S3; the environment names it and a key of its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    monkeypatch.setenv("CURATE_S3_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("CURATE_S3_SECRET_ACCESS_KEY", "secret")
    client = boto3.client(
        "s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}", aws_access_key_id="AKIAEXAMPLEEXAMPLE00",
        aws_secret_access_key="secret",
    )  # fmt: skip
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST"))
    client.create_bucket(Bucket="shop-pictures")
    yield client
    server.stop()


def allow(s3: Any, origin: str) -> None:
    rules = {"CORSRules": [{"AllowedOrigins": [origin], "AllowedMethods": ["GET"]}]}
    s3.put_bucket_cors(Bucket="shop-pictures", CORSConfiguration=rules)


def days(shop: Shop, text: str) -> None:
    path = shop.workspace.root / "tasks" / "apron.yaml"
    path.write_text(path.read_text().replace("lifetime_days: 7.0", f"lifetime_days: {text}"))


def addresses(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in shop.keys.items():
        monkeypatch.setenv(name, value)
    found = {}
    for hit in Requester(shop.url).hits():
        page = extract(ElementTree.fromstring(hit["Question"])[0].text or "")
        assert page is not None
        found |= {picture.image_id: picture.url for picture in page.pictures}
    return found


def test_workers_load_clean_copies_from_addresses_that_outlive_the_hit(
    open_shop: Shop, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    allow(s3, shop.url)
    days(shop, "6.5")
    tagged = shop.workspace.root / f"blobs/{shop.ids[20][:2]}/{shop.ids[20]}.png"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera that tells where it was"  # lies on its side
    Image.new("RGB", (80, 60), "red").save(tagged, "PNG", exif=exif)
    shop.curate("hits", "create", "--images", "46", "--yes", *PLACE)
    found = addresses(shop, monkeypatch)
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket="shop-pictures")["Contents"]}
    assert len(keys) == len(found) == 50
    assert all(key.startswith("for-workers/") for key in keys)
    assert not any(image_id in key for image_id in shop.ids for key in keys)
    url = found[shop.ids[20]]
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert f"X-Amz-Expires={lifetime(6.5 * 86400, 1800)}" in url
    with urllib.request.urlopen(url) as reply:
        seen = Image.open(io.BytesIO(reply.read()))
        assert reply.headers["Content-Type"] == "image/jpeg"
    assert seen.size == (60, 80)
    assert dict(seen.getexif()) == {}


def test_a_picture_is_uploaded_once_and_a_stopped_upload_goes_on(open_shop: Shop, s3: Any) -> None:
    shop = open_shop
    allow(s3, "*")
    days(shop, "6")
    broken = shop.workspace.root / f"blobs/{shop.ids[59][:2]}/{shop.ids[59]}.png"
    whole = broken.read_bytes()
    broken.write_bytes(b"half")
    failed = shop.curate("hits", "create", "--images", "46", "--yes", *PLACE, check=False)
    assert f"picture {shop.ids[59][:12]}… cannot be read" in failed.stderr
    assert "Traceback" not in failed.stderr
    broken.write_bytes(whole)
    before = {o["Key"]: o["LastModified"] for o in s3.list_objects_v2(Bucket="shop-pictures").get("Contents", [])}
    shop.curate("hits", "create", "--images", "46", "--yes", *PLACE)
    after = {o["Key"]: o["LastModified"] for o in s3.list_objects_v2(Bucket="shop-pictures")["Contents"]}
    assert len(after) == 50
    assert before.items() <= after.items(), "what was there was not put there again"
    with closing(sqlite3.connect(shop.workspace.root / "project.db")) as project:
        assert {key for (key,) in project.execute("SELECT key FROM upload WHERE uploaded_at IS NOT NULL")} == set(after)


def test_a_hit_that_outlives_every_presigned_address_is_refused(open_shop: Shop, s3: Any) -> None:
    shop = open_shop
    allow(s3, "*")
    done = shop.curate("hits", "create", "--images", "9", "--yes", *PLACE, check=False)
    assert done.returncode == 1
    assert "a presigned address lives 7 days at most. Set crowd.lifetime_days to 6.9 or less" in done.stderr
    test = shop.curate("qual", "create", *PLACE, check=False)
    assert "the entry test stays, and a presigned address lives 7 days at most" in test.stderr


def test_a_bucket_without_a_cors_rule_for_the_workers_pages_is_named(open_shop: Shop, s3: Any) -> None:
    shop = open_shop
    days(shop, "6")
    for origin in (None, "https://elsewhere.example"):
        if origin:
            allow(s3, origin)
        done = shop.curate("hits", "create", "--images", "9", "--yes", *PLACE, check=False)
        assert f"no CORS rule lets pages of {shop.url} read pictures. Give the bucket one" in done.stderr
    gone = shop.curate("hits", "create", "--images", "9", "--yes", "--pictures-url", "s3://nobody/x", check=False)
    assert "S3 refused GetBucketCors" in gone.stderr
    assert "NoSuchBucket" in gone.stderr


def test_the_longest_life_is_a_week() -> None:
    assert lifetime(6 * 86400, 1800) <= LONGEST_S
    with pytest.raises(UserError, match="outlives its pictures"):
        lifetime(7 * 86400, 0)
