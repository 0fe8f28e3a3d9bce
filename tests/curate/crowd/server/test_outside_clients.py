"""Clients that are not ours work unchanged: AWS's command line and its SDK for JavaScript, installed when the test runs.

They live in a folder of their own (CONSENSO_TEST_CACHE, by default ~/.cache/consenso-tests): awscli brings a botocore of
its own and would not agree with ours about versions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)
CACHE = Path(os.environ.get("CONSENSO_TEST_CACHE", Path.home() / ".cache" / "consenso-tests"))


def install(*command, cwd=None):
    """Run an installer; a machine that cannot install skips the test with the reason."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"{command[0]} cannot install it here: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def environment(crowd_server):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    keys = {"AWS_ACCESS_KEY_ID": crowd_server.access_key, "AWS_SECRET_ACCESS_KEY": crowd_server.secret}
    return {**kept, **keys, "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull, "AWS_PAGER": ""}


@pytest.fixture(scope="module")
def aws(crowd_server, environment):
    """`aws mturk …` against the server: its JSON, or its error text."""
    home = CACHE / "awscli"
    program = home / "bin" / "aws"
    if not program.exists():
        install(sys.executable, "-m", "venv", str(home))
        install(str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "awscli>=1.46")

    def call(*words):
        command = [str(program), "mturk", *words, "--endpoint-url", crowd_server.url, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        if done.returncode:
            return done.returncode, done.stderr
        return 0, json.loads(done.stdout) if done.stdout.strip() else None

    return call


def test_the_aws_command_line_tells_the_whole_story(aws, crowd_server, join, our_question):
    assert aws("get-account-balance") == (0, {"AvailableBalance": "10000.00"})
    values = {"title": "From aws", "description": "ñ <b>&", "reward": "0.10", "lifetime-in-seconds": "3600"}
    values |= {"assignment-duration-in-seconds": "600", "max-assignments": "2", "question": our_question()}
    words = [word for name, value in values.items() for word in (f"--{name}", value)]
    hit = aws("create-hit", *words, "--unique-request-token", "aws-1")[1]["HIT"]
    assert hit["Description"] == values["description"]
    code, said = aws("create-hit", *words, "--unique-request-token", "aws-1")
    assert (code, hit["HITId"] in said) == (255, True), said
    aws("create-hit", *words, "--unique-request-token", "aws-2")
    listed = aws("list-hits", "--page-size", "1")[1]["HITs"]
    assert len(listed) == len({one["HITId"] for one in listed}) >= 2
    code, said = aws("get-hit", "--hit-id", "3NOSUCHHIT")
    assert (code, "HIT 3NOSUCHHIT does not exist" in said) == (255, True), said
    people = [join(), join()]
    for person in people:
        person.answer(hit["HITTypeId"], "dots")
    assert aws("update-expiration-for-hit", "--hit-id", hit["HITId"], "--expire-at", "0")[0] == 0
    answers = aws("list-assignments-for-hit", "--hit-id", hit["HITId"], "--page-size", "1")[1]["Assignments"]
    assert {answer["WorkerId"] for answer in answers} == {person.worker_id for person in people}
    for answer in answers:
        named = ("--assignment-id", answer["AssignmentId"])
        assert aws("approve-assignment", *named)[0] == 0
        assert aws("approve-assignment", *named)[0] == 255
        bonus = (*named, "--worker-id", answer["WorkerId"], "--bonus-amount", "0.50", "--reason", "Good")
        assert aws("send-bonus", *bonus, "--unique-request-token", answer["AssignmentId"])[0] == 0
    paid = aws("list-bonus-payments", "--hit-id", hit["HITId"])[1]["BonusPayments"]
    assert [bonus["BonusAmount"] for bonus in paid] == ["0.50", "0.50"]
    assert aws("delete-hit", "--hit-id", hit["HITId"])[0] == 0


@pytest.fixture(scope="module")
def node_folder():
    """A folder with @aws-sdk/client-mturk in it."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not on this machine")
    folder = CACHE / "node"
    if not (folder / "node_modules" / "@aws-sdk" / "client-mturk").exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = ("npm", "install", "--silent", "--no-audit", "--no-fund", "@aws-sdk/client-mturk")
        install(*words, cwd=folder)
    return folder


def test_the_javascript_sdk_tells_the_whole_story(crowd_server, environment, node_folder, join, our_question, tmp_path):
    script = tmp_path / "outside.mjs"
    shutil.copy(Path(__file__).parent / "outside.mjs", script)
    (tmp_path / "node_modules").symlink_to(node_folder / "node_modules")
    process = subprocess.Popen(
        ["node", str(script), crowd_server.url, our_question()],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    hit = json.loads(line)
    assert hit["description"] == "ñ <b>&\"'"
    for person in (join(), join()):
        person.answer(hit["hit_type_id"], "dots")
    out, err = process.communicate("go\n", timeout=120)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert (said["balance"], said["status"], said["answers"]) == ("10000.00", "Reviewable", 2)
    assert len(said["listed"]) == len(set(said["listed"])) >= 5
    assert hit["hit_id"] in said["listed"]
    for name, code in (
        ("repeated", "HITAlreadyExists"),
        ("missing", "HITDoesNotExist"),
        ("again", "InvalidAssignmentState"),
    ):
        assert (said[name]["modeled"], said[name]["code"]) == (True, f"AWS.MechanicalTurk.{code}")
    assert hit["hit_id"] in said["repeated"]["message"]
    bonuses = crowd_server.client().list_bonus_payments(HITId=hit["hit_id"])["BonusPayments"]
    assert [bonus["BonusAmount"] for bonus in bonuses] == ["0.50", "0.50"]
