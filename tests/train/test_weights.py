from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import UserError
from train.request import Request
from train.weights import check_weights, may_be_here

Make = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine without a network: the folder where the hub's client would keep what it fetched."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    "arguments",
    [
        ["vit", "-m", "apron.parquet"],
        ["vit", "-m", "apron.parquet", "--recipe", "paper"],
        ["resnet18", "-m", "apron.parquet"],
        ["semivit", "-m", "apron.parquet"],
        ["search", "-m", "apron.parquet"],
        ["predict", "--folds", "3", "-m", "apron.parquet"],
        ["pretrain", "-m", "apron.parquet", "--set", "pretrained=true"],
        ["study", "study.toml"],
    ],
    ids=" ".join,
)
def test_missing_weights_are_answered_before_torch_is_imported(
    arguments: list[str], make_manifest: Make, tmp_path: Path
) -> None:
    folder = make_manifest(train=1, val=1, test=1, unlabeled=1).parent
    (folder / "study.toml").write_text('manifests = ["apron.parquet"]\nset = ["batch_size=2"]\n')
    code = (
        f"import sys, atexit; sys.argv = ['train', *{arguments!r}]; import train.cli\n"
        "atexit.register(lambda: print('heavy:', sorted({'torch', 'timm'} & set(sys.modules))))\n"
        "train.cli.main()"
    )
    alone = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "TORCH_HOME": str(tmp_path / "torch"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=alone, cwd=folder, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "are not on this machine and cannot be fetched" in done.stderr
    assert ("say recipe = " if arguments[0] == "study" else "Give a file with --weights FILE") in done.stderr
    assert "heavy: []" in done.stdout


def test_a_name_that_no_recipe_has_may_be_misspelled(cache: Path, make_manifest: Make) -> None:
    with pytest.raises(UserError, match="cannot be fetched, if there is a model of that name"):
        check_weights(
            Request(
                "vit", make_manifest(train=1, val=1, test=1, unlabeled=1), changes=("model=vit_bass_patch16_224.mae",)
            )
        )


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        (["pretrained=false"], {}),
        ([], {"weights": Path("w.pth")}),
        ([], {"stage1": Path("vit")}),
        ([], {"recipe": "cpu"}),
    ],
)
def test_who_needs_no_published_weights_is_not_asked(cache: Path, asked: list[str], more: dict[str, object]) -> None:
    check_weights(Request("semivit", Path("apron.parquet"), changes=tuple(asked), **more))  # type: ignore[arg-type]


def test_a_finished_run_is_told_again_without_its_weights(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    check_weights(Request("vit", Path("apron.parquet"), out=tmp_path / "run"))


@pytest.mark.parametrize(
    ("model", "cached", "may"),
    [
        ("vit_base_patch16_224.mae", [], False),
        ("vit_base_patch16_224.mae", ["models--timm--vit_base_patch16_224.mae"], True),
        ("vit_base_patch16_224.mae", ["models--timm--resnet18.a1_in1k"], False),
        ("vit_base_patch16_224", ["models--timm--vit_base_patch16_224.mae"], True),  # which tag is meant timm knows
        ("cspnext_m.rsb_a1_in1k", ["models--somebody--cspnext_m.rsb_a1_in1k"], True),
        ("tf_efficientnet_lite0", [], True),  # installs as a package
    ],
)
def test_weights_are_missing_for_certain_only(cache: Path, model: str, cached: list[str], may: bool) -> None:
    for name in cached:
        (cache / name).mkdir(parents=True)
    assert may_be_here(model) is may


def test_weights_that_torch_fetched_as_a_plain_file_may_be_any(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "IN1K-vit.h.14-300e.pth.tar").touch()
    assert may_be_here("vit_huge_patch14_gap_224.in1k_ijepa")


def test_timm_keeps_all_its_models_weights_where_they_are_looked_for(cache: Path) -> None:
    """Every published model of timm: a repository that holds its weights is never taken for another's."""
    from timm.models import get_pretrained_cfg, list_models

    for model in list_models(pretrained=True):
        published = get_pretrained_cfg(model)
        if published.hf_hub_id:
            owner, _, name = published.hf_hub_id.partition("@")[0].partition("/")
            tag = model.partition(".")[2]
            assert owner != "timm" or name.partition(".")[2] == tag, (model, published.hf_hub_id)
