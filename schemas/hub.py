"""Whether published weights can be fetched: both rooms ask before the hub's client retries for a minute."""

from __future__ import annotations

import os
import socket


def hub_answers() -> bool:
    """True when published weights could be fetched: asked within three seconds, not by the client's minute of retries."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    import urllib.parse

    from huggingface_hub.constants import ENDPOINT

    address = urllib.parse.urlsplit(ENDPOINT)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=3):
            return True
    except OSError:
        return bool(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"))
