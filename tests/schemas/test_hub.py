from __future__ import annotations

import socket
import threading

import pytest

from schemas.hub import hub_answers


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_hub_that_listens_answers_and_one_that_does_not_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub_answers()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not hub_answers()
        monkeypatch.delenv("HF_HUB_OFFLINE")
    assert not hub_answers()  # nobody listens there any more


def test_a_name_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def resolving(*_: object, **__: object) -> None:  # as getaddrinfo does it, for ten seconds
        done.wait()
        raise OSError

    monkeypatch.setattr("schemas.hub.SECONDS", 0.01)
    monkeypatch.setattr(socket, "create_connection", resolving)
    assert not hub_answers()
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert hub_answers()  # a proxy resolves names itself
    done.set()
