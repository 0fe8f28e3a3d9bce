"""A PostgreSQL of its own for tests and benchmarks: made in a temporary folder, ended and removed afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def find_initdb() -> Path | None:
    """PostgreSQL's initdb, also where Debian hides it; None where there is none."""
    if found := shutil.which("initdb"):
        return Path(found)
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)


def _as_postgres() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


@contextmanager
def throwaway_postgres() -> Iterator[str | None]:
    """The URL of a database in a cluster of its own; None where PostgreSQL is not installed."""
    initdb = find_initdb()
    if initdb is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="consenso-pg-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **_as_postgres()}
    data, log = str(folder / "data"), str(folder / "log")
    flags = ["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    control = str(initdb.with_name("pg_ctl"))
    try:
        subprocess.run([str(initdb), *flags, "-D", data], **run)
        options = f"-k {folder} -h 127.0.0.1 -p {port} -F -c max_connections=300"
        subprocess.run([control, "-w", "-D", data, "-l", log, "-o", options, "start"], **run)
        try:
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([control, "-w", "-D", data, "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
