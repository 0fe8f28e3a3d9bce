"""Whether published weights can be fetched: both rooms ask before the hub's client retries for a minute."""

from __future__ import annotations

import os
import socket
import threading

SECONDS = 3.0  # for an answer; a name server that is out of reach would take ten by itself


def hub_answers() -> bool:
    """True when published weights could be fetched: asked within three seconds, not by the client's minute of retries."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    import urllib.parse

    from huggingface_hub.constants import ENDPOINT

    address = urllib.parse.urlsplit(ENDPOINT)
    if _connects(address.hostname or "", address.port or 443):
        return True
    return bool(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"))


def _connects(host: str, port: int) -> bool:
    """Whether somebody listens there, known within `SECONDS`: the thread is left alone with a name that does not resolve."""
    found = threading.Event()

    def ask() -> None:
        try:
            with socket.create_connection((host, port), timeout=SECONDS):
                found.set()
        except OSError:
            pass
        finally:
            asked.set()

    asked = threading.Event()
    threading.Thread(target=ask, daemon=True).start()
    asked.wait(SECONDS)
    return found.is_set()
