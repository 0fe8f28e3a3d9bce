"""Other programs of the demo: commands that run to their end, servers that run beside them, all ended with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from schemas.errors import Interrupted, UserError

PROGRAMS = {"curate": "curate.cli", "train": "train.cli", "shop": "curate.demo.shop"}


def command_line(program: str, arguments: Sequence[str | Path]) -> list[str]:
    """How to start one of our programs whatever lies in the current folder (-P: no stranger's `train.py`)."""
    return [sys.executable, "-P", "-m", PROGRAMS[program], *map(str, arguments)]


def run(
    program: str,
    arguments: Sequence[str | Path],
    env: Mapping[str, str],
    allowed: Sequence[int] = (0,),
    echo: bool = True,
) -> str:
    """Run a command to its end, its progress shown as it comes; returns what it printed on stdout (shown too if `echo`).

    Raises UserError when it fails, Interrupted when a person stopped it.
    """
    child = subprocess.Popen(
        command_line(program, arguments), stdout=subprocess.PIPE, env={**os.environ, **env}, text=True, encoding="utf-8",
        preexec_fn=_killed_with_parent if sys.platform == "linux" else None,
    )  # fmt: skip
    try:
        output = _read(child.stdout, echo)
        code = child.wait()
    except KeyboardInterrupt:  # the child got the same Ctrl-C and is ending by itself
        _end(child)
        raise
    if code == 130 or code == -signal.SIGINT:
        raise Interrupted("stopped by Ctrl-C")
    if code not in allowed:
        raise UserError(
            f"`{program} {' '.join(map(str, arguments))}` ended with code {code}; its own message stands above"
        )
    return output


def _read(stream: IO[str] | None, echo: bool) -> str:
    """A child's stdout, also shown line by line, indented, as it comes."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line)
        if echo:
            print(f"    {line}", end="", flush=True)
    return "".join(lines)


@dataclass
class Server:
    """A server that runs beside the demo; `url` is where it answers."""

    child: subprocess.Popen[str]
    url: str

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        _end(self.child)


def start(program: str, arguments: Sequence[str | Path], log: Path) -> Server:
    """Start a server that says its URL as one JSON line on stdout; its log goes to a file."""
    with log.open("a", encoding="utf-8") as errors:
        child = subprocess.Popen(
            command_line(program, arguments), stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True,  # Ctrl-C reaches us, not the servers: they stay up until the commands have ended
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )  # fmt: skip
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        _end(child)
        raise UserError(f"the {program} server did not start; its log is {log}")
    return Server(child, json.loads(line)["url"])


def _end_with_parent() -> None:
    """In a server: ask Linux to end it when the demo is gone, also by kill -9, so that its port is free again."""
    _when_parent_dies(signal.SIGTERM)


def _killed_with_parent() -> None:
    """In a command: when the demo was killed by force so is the command, else it would hold what the next start needs."""
    _when_parent_dies(signal.SIGKILL)


def _when_parent_dies(sent: signal.Signals) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, sent)  # PR_SET_PDEATHSIG


def _end(child: subprocess.Popen[str]) -> None:
    """Let a child end by itself after a stop signal; after 20 s it is killed."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
