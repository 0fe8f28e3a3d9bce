"""A small TLS proxy as stands in front of a real server: it ends TLS and says who asked, and how."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

_OURS = ("connection", "x-forwarded-for", "x-forwarded-proto")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key


@contextmanager
def tls_proxy(upstream: str, certificate: Path, key: Path) -> Iterator[str]:
    """Run the proxy in a thread; its https address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), []

    async def start() -> asyncio.Server:
        server = await asyncio.start_server(lambda r, w: _pass_on(r, w, upstream), "127.0.0.1", 0, ssl=context)
        address.append(f"https://localhost:{server.sockets[0].getsockname()[1]}")
        ready.set()
        return server

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: str) -> None:
    """One request and its reply."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        kept = [f"{name}: {value}" for name, value in headers.items() if name.lower() not in _OURS]
        client = writer.get_extra_info("peername")[0]
        said = [f"X-Forwarded-For: {client}", "X-Forwarded-Proto: https", "Connection: close"]
        length = next((int(value) for name, value in headers.items() if name.lower() == "content-length"), 0)
        body = await reader.readexactly(length)
        parts = urlsplit(upstream)
        back, forth = await asyncio.open_connection(parts.hostname, parts.port)
        forth.write("\r\n".join([head[0], *kept, *said, "", ""]).encode("latin-1") + body)
        while data := await back.read(65_536):
            writer.write(data)
            await writer.drain()
        forth.close()
    except (OSError, asyncio.IncompleteReadError):
        pass  # the client or the server went away
    finally:
        writer.close()
