"""docs/deploy.md and the files beside it say only what there is."""

from __future__ import annotations

import configparser
import re
import shlex

import pytest
import yaml
from typer.main import get_command

from curate.cli import app

COMMAND = re.compile(r"curate crowd (.+)")


@pytest.fixture(scope="module")
def deploy(root):
    return root / "docs" / "deploy"


def accepts(line):
    """Parse `crowd …` as the command line would, without running it; raises where a command or option is not there."""
    command, words = get_command(app), shlex.split(line)
    context = command.make_context("curate", ["crowd", *words], resilient_parsing=False)
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(words), parent=context)
    return context.params


def unit(path):
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser


@pytest.mark.parametrize("name", ["consenso-crowd.service", "consenso-crowd-backup.service"])
def test_a_unit_starts_a_command_that_is_there(deploy, name):
    start = unit(deploy / name)["Service"]["ExecStart"]
    assert start.startswith("/srv/crowd/.venv/bin/curate crowd ")
    found = accepts(start.partition("curate crowd ")[2])
    assert found["db"] == "sqlite:////srv/crowd/crowd.db"


def test_the_timer_belongs_to_the_backup(deploy):
    timer = unit(deploy / "consenso-crowd-backup.timer")
    assert timer["Timer"]["OnCalendar"] == "00/6:00"
    assert (deploy / "consenso-crowd-backup.service").exists()


def test_the_compose_file_holds_together(deploy, root):
    compose = yaml.safe_load((deploy / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"db", "crowd", "backup", "proxy"}
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        named = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        assert all(name in compose["volumes"] or (deploy / name).exists() for name in named)
    build = services["crowd"]["build"]
    assert (deploy / build["context"]).resolve() == root.resolve()
    assert (root / build["dockerfile"]).exists()
    served = accepts(services["crowd"]["command"].replace("${POSTGRES_PASSWORD:?}", "x"))
    assert served["forwarded_allow"] == "*"
    assert served["signup"] == "closed"
    backup = services["backup"]["command"][0].replace("${POSTGRES_PASSWORD:?}", "x")
    kept = accepts(backup.partition("curate crowd ")[2].partition(";")[0])
    assert (str(kept["file"]), kept["keep"], kept["db"]) == ("/backups/crowd-{time}.zip", 28, served["db"])
    assert f"crowd:{served['port']}" in (deploy / "Caddyfile").read_text()


def test_the_image_installs_extras_that_there_are(deploy, root):
    import tomllib

    extras = re.search(r"/src\[(.+?)\]", (deploy / "Dockerfile").read_text()).group(1).split(",")
    assert set(extras) <= set(tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_every_command_of_the_page_is_there(root):
    page = (root / "docs" / "deploy.md").read_text()
    blocks = "\n".join(re.findall(r"```\n(.*?)```", page, re.S))
    lines = COMMAND.findall(blocks) + re.findall(r"--rm crowd (.+)", blocks)
    assert len(lines) == 4
    for line in lines:
        accepts(line)
    for option in set(re.findall(r"`(--[a-z-]+)", page)):
        helps = [p.opts for c in ("serve", "backup") for p in get_command(app).commands["crowd"].commands[c].params]
        assert any(option in opts for opts in helps), option


def test_a_command_that_is_not_there_is_found_out():
    with pytest.raises(Exception, match="No such option"):
        accepts("serve --no-such-option")
