"""What the tests of `train submit` share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from schemas.command import exit_code
from train.cli import app

ROLE = "arn:aws:iam::123456789012:role/consenso-training"


@pytest.fixture
def train_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A function that runs `train …` in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["train", *map(str, words)])
        code = exit_code(app, "train")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def to_sagemaker() -> list[str]:
    """Settings that are enough for SageMaker."""
    return [
        "submit", "--to", "sagemaker", "--role", ROLE, "--bucket", "s3://shop-originals/consenso", "--image",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/consenso:1", "--instance-type", "ml.g5.2xlarge",
    ]  # fmt: skip
