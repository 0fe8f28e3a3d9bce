"""The programs as a person starts them: each command a process, the servers beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Person:
    """Somebody at a terminal: a folder, an environment, and the servers they started."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    def types(self, *words: str | Path, code: int = 0) -> str:
        """Run a command and return what it says on stdout; its exit code must be `code`."""
        done = subprocess.run(
            self._command(words), cwd=self.folder, env=self._env(), capture_output=True, text=True, timeout=500
        )
        assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def starts(self, *words: str | Path) -> str:
        """Start a server and return its address."""
        server = subprocess.Popen(
            self._command(words),
            cwd=self.folder,
            env=self._env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.servers.append(server)
        assert server.stdout is not None
        return str(json.loads(server.stdout.readline())["url"])

    def _command(self, words: tuple[str | Path, ...]) -> list[str]:
        program, *rest = map(str, words)
        module = {"curate": "curate.cli", "train": "train.cli", "shop": "curate.demo.shop"}[program]
        return [sys.executable, "-P", "-m", module, *rest]

    def _env(self) -> dict[str, str]:
        return {**os.environ, "HF_HUB_OFFLINE": "1", **self.env}


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """A person in an empty folder; what they started is ended with them."""
    yield from somebody(tmp_path)


@pytest.fixture(scope="module")
def founder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A person whose folder all tests of a file share: what one makes, the others copy."""
    yield from somebody(tmp_path_factory.mktemp("founder"))


def somebody(folder: Path) -> Iterator[Person]:
    """A person, until their servers have ended as they should."""
    made = Person(folder)
    yield made
    for server in made.servers:
        server.terminate()
    for server in made.servers:
        assert server.wait(20) == 0, "a server ends with 0 when asked to"
        if server.stdout:
            server.stdout.close()
