from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import UserError
from train.submit.settings import EXAMPLE, SageMaker, Slurm, settings


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[slurm]\nnodes = 2\npartition = "gpu"\nsetup = ["module load cuda"]\n')
    to = settings(Slurm, {"nodes": 4, "account": None}, tmp_path / "apron.parquet", config)
    assert (to.nodes, to.partition, to.account, to.gpus_per_node) == (4, "gpu", "", 1)
    assert to.setup == ["module load cuda"]


def test_the_file_is_looked_for_here_and_in_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = tmp_path / "shop"
    (shop / "data").mkdir(parents=True)
    (shop / "workspace.yaml").write_text("name: shop\n")
    (shop / "submit.toml").write_text("[slurm]\nnodes = 3\n")
    monkeypatch.chdir(tmp_path)
    assert settings(Slurm, {}, shop / "data" / "apron.parquet").nodes == 3
    Path("submit.toml").write_text("[slurm]\nnodes = 5\n")
    assert settings(Slurm, {}, shop / "data" / "apron.parquet").nodes == 5


@pytest.mark.parametrize("whole", [False, True])
def test_the_example_is_read_back(whole: bool, tmp_path: Path) -> None:
    config = tmp_path / "submit.toml"
    lines = EXAMPLE.splitlines()
    given = [line.removeprefix("# ") if whole and " = " in line else line for line in lines]
    config.write_text("\n".join(given))
    made = settings(SageMaker, {}, tmp_path / "x", config)
    assert made.instance_type == "ml.g5.2xlarge"
    assert made.spot is whole
    assert settings(Slurm, {}, tmp_path / "x", config).signal_seconds == 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[slurm\n", "cannot be read as TOML"),
        ("[cloud]\n", r"has no section \[cloud\]; sections: sagemaker, slurm"),
        ("[sagemaker]\nrol = 'x'\n", r"\[sagemaker\] has no rol; did you mean role\?"),
        ("[sagemaker]\ninstance_count = '2'\n", "instance_count must be a whole number, got '2'"),
        ("[sagemaker]\nspot = 1\n", "spot must be true or false, got 1"),
        ("[sagemaker]\nsubnets = 'a'\n", "subnets must be a list of texts, got 'a'"),
        ("[sagemaker]\ntags = { team = 1 }\n", "tags must be a table of texts"),
        ("[sagemaker]\nvolume_gb = -1\n", "volume_gb must be 0 or more, got -1"),
        ("sagemaker = 1\n", r"sagemaker must be a section, begun by a line \[sagemaker\]"),
    ],
)
def test_a_wrong_line_is_named(text: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / "submit.toml"
    config.write_text(text)
    with pytest.raises(UserError, match=said):
        settings(SageMaker, {}, tmp_path / "x", config)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; `train submit --example` prints one"):
        settings(Slurm, {}, tmp_path / "x", tmp_path / "none.toml")
