"""What several test files need."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from curate.tasks import add_task, make_task
from curate.workspace import Config, Workspace, create_workspace
from tests.waiting_s3 import WaitingS3

ROOT = Path(__file__).parent.parent

settings.register_profile("any machine", deadline=None)  # how long an example takes says nothing about the code
settings.load_profile("any machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background, and so would all that the tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A folder of real data by name (clothing, cifar10n, votes, …); skips where it is not there."""
    base = Path(os.environ.get("CONSENSO_SHARED_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        if not (base / name).exists():
            pytest.skip(f"real data {name!r} is not on this machine (CONSENSO_SHARED_DATA names its folder)")
        return base / name

    return find


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace with the shipped apron task."""
    made = create_workspace(tmp_path / "shop", Config(name="shop", contact="tests@example.org"))
    add_task(made, make_task("apron"))
    return made


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a real S3 server on loopback (moto), one for the whole session."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`s3://shop-originals`, a fresh bucket; the environment leads boto3 to it."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3").Bucket("shop-originals")
    bucket.create()
    yield "s3://shop-originals"
    bucket.objects.delete()
    bucket.delete()


@pytest.fixture
def slow_s3(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingS3]:
    """The S3 of `s3` behind a door that lets nobody in before four wait there: what asks one by one is found out."""
    door = WaitingS3(os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.url)
    yield door
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.behind)
    door.close()


@pytest.fixture(scope="session")
def ray_cluster(s3_server: str) -> Iterator[str]:
    """Address of a real Ray cluster of this machine, two processes wide; it and only it is ended. Skips without Daft and Ray."""
    for name in ("daft", "ray"):
        if not find_spec(name):
            pytest.skip(f"{name} is not installed: pip install 'consenso[scale]' ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    aws = {"AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # its sockets need a short path
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address", "127.0.0.1",
            "--port", str(port), "--num-cpus", "2", "--object-store-memory", "100000000", "--include-dashboard", "false",
            "--disable-usage-stats", "--temp-dir", folder,
        ]  # fmt: skip
        log = Path(folder) / "start.log"
        with log.open("wb") as out:
            head = subprocess.Popen(command, env={**os.environ, **aws, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 120
            while b"Ray runtime started" not in log.read_bytes():
                assert head.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()  # it ends what it began
            head.wait(60)


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """A headless Chromium, for one file: while it is there no other event loop can run. A missing one skips, and fails in CI."""
    path = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium found, and CI must not skip the browser tests")
        pytest.skip("no Chromium found")
    sync_api = pytest.importorskip("playwright.sync_api")
    flags = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
    args = [f"--{flag}" for flag in (*flags.split(), "disable-sync", "disable-dev-shm-usage")]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=args)
        yield browser
        browser.close()
