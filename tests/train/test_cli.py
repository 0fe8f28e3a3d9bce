from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.command import exit_code
from train.cli import app

Make = Callable[..., Path]
Tiny = dict[str, list[str]]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
    return exit_code(app, "train")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['train', 'semivit', '--help']; import train.cli, atexit\n"
        "atexit.register(lambda: print('heavy:', sorted({'torch', 'timm', 'pandas', 'numpy', 'pyarrow', 'PIL'} & set(sys.modules))))\n"
        "train.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--label-fraction" in done.stdout
    assert "heavy: []" in done.stdout


def test_a_run_says_backbone_weights_license_device_and_time_first_what_it_cost_last_and_one_result_line(
    make_manifest: Make, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_manifest()
    assert (
        run(
            monkeypatch, "vit", "-m", path, "--price-per-hour", 4.5, *(f"--set={c}" for c in [*tiny["vit"], "epochs=1"])
        )
        == 0
    )
    said = capsys.readouterr()
    assert said.out.count("\n") == 1
    assert said.out.startswith("ViT: Acc@1 ")
    assert str(path.parent / "runs" / "apron-vit-100-s0") in said.out
    first = (
        "model    test_vit",
        "weights  random; license: none",
        "36 labeled, 24 unlabeled",
        "device   cpu",
        "time     about",
    )
    last = ("took ", "pictures per second", "used ", " CPU seconds, peak memory ", "cost ", " USD: ", "hours at 4.50")
    places = [said.err.index(word) for word in (*first, *last)]
    assert places == sorted(places)
    assert " USD, estimated from a few real steps" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "nonsense=1"], "no such name"),
        (["--set", "epochs=soon"], "epochs is a number"),
        (["--recipe", "huge"], "has the recipes"),
        (["--weights", "none.pth"], "no such file"),
        (["--label-fraction", "7"], "--label-fraction must be above 0"),
        (["--out", "a-file"], "a run is a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_1(
    arguments: list[str], said: str, make_manifest: Make, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("x")
    path = make_manifest()
    assert run(monkeypatch, "vit", "-m", path, "--set", "pretrained=false", *arguments) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert said in error


def test_no_such_manifest_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "resnet18", "-m", "nowhere.parquet") == 1
    assert "nowhere.parquet: no such file" in capsys.readouterr().err


def test_another_steps_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from schemas.tables import LABELS

    LABELS.write(LABELS.empty(), tmp_path / "labels.parquet")
    assert run(monkeypatch, "vit", "-m", tmp_path / "labels.parquet") == 1
    assert "is a labels table, not manifest" in capsys.readouterr().err


def test_missing_weights_offline_are_one_line(make_manifest: Make) -> None:
    """In a process of its own, as a person runs it: no traceback, no minute of retries."""
    done = subprocess.run(
        [sys.executable, "-m", "train.cli", "resnet18", "-m", str(make_manifest())],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("error: the weights of resnet18.a1_in1k are not on this machine")
    )
    assert "Traceback" not in done.stderr
