"""Known labels from a file are checked against the task and the pictures there are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.collect.truth import read_truth
from curate.workspace import Workspace
from schemas.errors import TableError, UserError
from schemas.tables import PICTURES, TRUTH

CLASSES = ["dots", "plain"]
IDS = pd.Series(["a", "b", "c"])


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_of_known_pictures_come_in_and_the_rest_is_counted(tmp_path: Path) -> None:
    found = read_truth(csv(tmp_path, "image_id,label,note\na,dots,x\nb,plain,\nz,dots,\nc,,\n"), "apron", CLASSES, IDS)
    assert dict(zip(found.rows["image_id"], found.rows["label"], strict=True)) == {"a": "dots", "b": "plain"}
    assert (found.unknown, found.empty) == (1, 1)


def test_parquet_does_as_well(tmp_path: Path) -> None:
    pd.DataFrame({"image_id": ["a"], "label": ["dots"]}).to_parquet(tmp_path / "t.parquet")
    assert len(read_truth(tmp_path / "t.parquet", "apron", CLASSES, IDS).rows) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,label\na,tartan\n", "'tartan': no such class in task apron; its classes: dots, plain"),
        ("image_id,class\na,dots\n", "missing columns label; found image_id, class"),
        ("image_id,label\na,dots\na,plain\n", "image a is given two labels, dots and plain"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_wrong_file_gets_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises((UserError, TableError), match=said):
        read_truth(csv(tmp_path, text), "apron", CLASSES, IDS)


def test_the_command_adds_and_corrects(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{"image_id": name, "blob": "x", "bytes": 1} for name in IDS]
    PICTURES.write(PICTURES.frame(rows), workspace.table("pictures"))
    for text in ("image_id,label\na,dots\nb,dots\n", "image_id,label\nb,plain\n"):
        command = ["import", "truth", str(csv(tmp_path, text)), "-w", str(workspace.root)]
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    truth = TRUTH.read(workspace.of_task("apron", "truth"))
    assert dict(zip(truth["image_id"], truth["label"], strict=True)) == {"a": "dots", "b": "plain"}
