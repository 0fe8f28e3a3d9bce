from __future__ import annotations

import socket
import threading

import pytest

from schemas import hub
from schemas.hub import connects, hub_answers


def test_somebody_who_listens_is_found_and_nobody_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connects("127.0.0.1", port)
    assert not connects("127.0.0.1", port)


def test_a_name_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name knows no timeout of its own; a test that waited for it would hang here."""
    never = threading.Event()

    def silence(*_: object, **__: object) -> None:
        never.wait()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", silence)
    monkeypatch.setattr(hub, "PATIENCE", 0.05)
    assert not connects("huggingface.co", 443)
    never.set()


@pytest.mark.parametrize(("said", "asked"), [("1", False), ("0", True)])
def test_offline_by_wish_asks_nobody(said: str, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", said)
    monkeypatch.setattr(hub, "connects", lambda *_: True)
    assert hub_answers() is asked
