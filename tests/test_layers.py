"""The rooms import downwards only, heavy libraries stay out of --help, and every command explains itself."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

STAGES = ("collect", "clean", "crowd", "label", "dataset", "report", "demo")
HEAVY = {
    "pandas",
    "pyarrow",
    "boto3",
    "torch",
    "torchvision",
    "timm",
    "sqlalchemy",
    "PIL",
    "numpy",
    "starlette",
    "httpx",
}


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(root: Path, room: str) -> list[Path]:
    found = sorted((root / room).rglob("*.py"))
    assert found
    return found


def offences(root: Path, room: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(root)} imports {name}"
        for path in files(root, room)
        for name in imports(path)
        if any(name == f or name.startswith(f"{f}.") for f in forbidden)
    ]


@pytest.mark.parametrize(
    ("room", "forbidden"), [("schemas", ("curate", "train")), ("curate", ("train",)), ("train", ("curate",))]
)
def test_rooms_import_downwards_only(root: Path, room: str, forbidden: tuple[str, ...]) -> None:
    assert offences(root, room, forbidden) == []


@pytest.mark.parametrize("stage", STAGES)
def test_stages_of_curate_do_not_import_one_another(root: Path, stage: str) -> None:
    others = tuple(f"curate.{other}" for other in (*STAGES, "commands", "cli") if other != stage)
    assert offences(root, f"curate/{stage}", others) == []


def test_the_crowd_server_never_imports_the_requester_side(root: Path) -> None:
    both = ("curate.crowd.server", "curate.crowd.crash")  # where tests kill either side
    found = [o for o in offences(root, "curate/crowd/server", ("curate.crowd",)) if not any(name in o for name in both)]
    assert found == []


def test_boto3_stays_in_its_files_of_the_crowd(root: Path) -> None:
    users = {o.split(" ")[0] for o in offences(root, "curate/crowd", ("boto3",))}
    assert users == {"curate/crowd/requester.py", "curate/crowd/server/sender.py"}  # the latter: SQS and SNS


def test_nobody_opens_sqlite_but_the_database_file(root: Path) -> None:
    users = {o.split(" ")[0] for o in offences(root, "curate", ("sqlite3",))}
    calls = [u for u in users if u != "curate/database.py" and "sqlite3.connect(" in (root / u).read_text()]
    assert calls == []


def test_train_never_reads_the_truth(root: Path) -> None:
    assert offences(root, "train", ("schemas.tables.TRUTH",)) == []


@pytest.mark.parametrize("program", ["curate.cli", "train.cli"])
def test_help_imports_nothing_heavy(program: str) -> None:
    code = (
        f"import json, sys; from {program} import app; from schemas.command import exit_code; sys.argv = ['x', '--help']; "
        "code = exit_code(app, 'x'); print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert HEAVY & set(modules) == set()


def commands(group: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*path, name), command
        yield from commands(command, (*path, name))


@pytest.mark.parametrize("program", ["curate", "train"])
def test_every_command_and_option_has_help(program: str) -> None:
    import importlib

    import typer

    app = importlib.import_module(f"{program}.cli").app
    found = list(commands(typer.main.get_command(app), (program,)))
    assert found
    for path, command in found:
        assert getattr(command, "help", None), f"{' '.join(path)} has no help"
        for option in command.params:  # type: ignore[attr-defined]
            assert option.name == "help" or getattr(option, "help", None), (
                f"{' '.join(path)}: {option.name} has no help"
            )


def test_installed_versions_meet_the_lower_bounds() -> None:
    for line in requires("consenso") or []:
        requirement = Requirement(line)
        if requirement.name == "consenso" or any(
            extra in str(requirement.marker) for extra in ("dev", "bench", "outside", "scale")
        ):
            continue
        assert requirement.specifier.contains(version(requirement.name), prereleases=True), line


def test_botocore_still_ships_the_mturk_model() -> None:
    """The server reads MTurk's service model from the installed botocore: this says so on the day it is gone."""
    from botocore.session import Session

    assert len(Session().get_service_model("mturk").operation_names) == 39
