"""Whether published weights can be fetched: both rooms ask before the hub's client retries for a minute."""

from __future__ import annotations

import os
import socket
import threading

PATIENCE = 2.0  # seconds; names are asked for within them too, which a socket's own timeout does not cover


def hub_answers() -> bool:
    """True when published weights could be fetched: asked within two seconds, not by the client's minute of retries."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    import urllib.parse

    from huggingface_hub.constants import ENDPOINT

    address = urllib.parse.urlsplit(ENDPOINT)
    if connects(address.hostname or "", address.port or 443):
        return True
    return bool(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"))


def connects(host: str, port: int) -> bool:
    """Whether somebody listens there; no answer within PATIENCE, of the name server either, is a no."""
    heard: list[bool] = []

    def ask() -> None:
        try:
            with socket.create_connection((host, port), timeout=PATIENCE):
                heard.append(True)
        except OSError:
            heard.append(False)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return heard == [True]
