from __future__ import annotations

import socket
from pathlib import Path

import pytest

from curate.crowd.requester import Requester, check_endpoint
from schemas.errors import UserError


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def nobody() -> str:
    """The address of a port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    "endpoint", ["sandbox", "production", "https://mturk-requester.us-east-1.amazonaws.com", "https://mturk-requester-sandbox.us-east-1.amazonaws.com/"]
)  # fmt: skip
def test_the_old_endpoints_say_that_mturk_closed(endpoint: str) -> None:
    with pytest.raises(
        UserError, match=r"closed on 30 September 2026; start a crowd of your own with `curate crowd serve`"
    ):
        check_endpoint(endpoint)


@pytest.mark.parametrize("endpoint", ["localhost:8055", "", "ftp://x"])
def test_what_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(UserError, match="should look like http://"):
        check_endpoint(endpoint)


def test_a_crowd_that_is_not_there_names_the_command_that_starts_one(keys: None, nobody: str) -> None:
    with pytest.raises(UserError, match=r"no crowd answers there\. Start one with `curate crowd serve`"):
        Requester(nobody).balance_usd()


def test_missing_keys_name_the_command_that_issues_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nobody: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match="curate crowd keys issue NAME"):
        Requester(nobody).balance_usd()
