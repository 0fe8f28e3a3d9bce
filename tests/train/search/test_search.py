from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from train.recipe import recipe_for
from train.request import Request, for_search
from train.search.search import _counted, search
from train.search.space import Axis, parse_axis, space_around

optuna = pytest.importorskip("optuna", reason="pip install 'consenso[tune]'")

Make = Callable[..., Path]
Tiny = dict[str, list[str]]
AXES = ("base_lr=0.001..0.2:log", "smoothing=0..0.3")


@pytest.fixture
def around(make_manifest: Make, tiny: Tiny) -> Callable[..., Request]:
    def make(method: str = "vit", *changes: str) -> Request:
        path = make_manifest()
        return for_search(method, path, changes=(*tiny[method], "epochs=2", "eval_every=2", *changes))

    return make


def trials(request: Request) -> list[Any]:
    """The trials as another program would read them."""
    url = f"sqlite:///{request.folder / 'search.db'}"
    return optuna.load_study(study_name=request.folder.name, storage=url).trials


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_search_leaves_a_recipe_and_a_page_and_never_reads_test(around: Callable[..., Request], sampler: str) -> None:
    request = around()
    best = search(request, 4, sampler, AXES)
    done = trials(request)
    assert [trial.number for trial in done] == [0, 1, 2, 3]
    assert done[0].params == {"base_lr": 0.06, "smoothing": 0.1}  # the recipe itself comes first
    assert best["val_acc1"] == max(trial.value for trial in done if trial.value is not None)
    saved = recipe_for("vit", str(request.folder / "best.toml"))
    assert saved.base_lr == best["params"]["base_lr"]
    assert saved.image_size == 24
    page = (request.folder / "index.html").read_text()
    assert page.count("<svg") == 4
    assert "http" not in page
    for folder in request.folder.glob("trial-*"):
        record = json.loads((folder / "run.json").read_text())
        assert (record["test_reads"], record["counts"]["test"], record["test"]["n"]) == (0, 0, 0)
    weights = list(request.folder.glob("trial-*/model.safetensors"))
    assert len(weights) == 1


def test_semivit_trials_share_a_stage_1(around: Callable[..., Request]) -> None:
    request = around("semivit", "semi_steps=2")
    search(request, 2, "tpe", ("threshold=0.3..0.9", "semi_mixup_labeled=true|false"))
    records = [json.loads((f / "run.json").read_text()) for f in request.folder.glob("trial-*")]
    assert [set(record["seconds"]) for record in records] == [{"stage2"}] * 2
    assert json.loads((request.folder / "stage1" / "run.json").read_text())["test_reads"] == 0
    assert tomllib.loads((request.folder / "best.toml").read_text())["method"] == "semivit"


def test_a_search_goes_on_and_counts_what_it_has(
    around: Callable[..., Request], capsys: pytest.CaptureFixture[str]
) -> None:
    request = around()
    search(request, 2, "tpe", AXES)
    capsys.readouterr()
    search(request, 3, "tpe", AXES)
    said = capsys.readouterr().err
    assert "trial 2: " in said
    assert "trial 0: " not in said
    assert len(trials(request)) == 3
    with pytest.raises(UserError, match="holds another search"):
        search(request, 3, "tpe", ("smoothing=0..0.2",))


def test_a_trial_that_is_worse_than_most_is_pruned(
    around: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: trial.number == 1)
    request = around()
    search(request, 2, "tpe", AXES)
    assert [trial.state.name for trial in trials(request)] == ["COMPLETE", "PRUNED"]
    assert len(trials(request)[1].intermediate_values) == 1
    assert len(list(request.folder.glob("trial-*"))) == 1


def test_numbers_that_cannot_be_trained_with_are_a_failed_trial_that_counts(
    around: Callable[..., Request], capsys: pytest.CaptureFixture[str]
) -> None:
    request = around("vit", "warmup_epochs=0", "epochs=10")
    search(request, 3, "tpe", ("clip_grad=1e-3..1", "base_lr=0.05..1e30:log"))
    states = [trial.state.name for trial in trials(request)]
    assert len(states) == 3
    assert "FAIL" in states
    assert "is no longer a number" in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_share_a_search_and_the_trial_of_a_killed_one_is_tried_again(
    around: Callable[..., Request],
) -> None:
    request = around("vit", "epochs=4")
    line = [sys.executable, "-m", "train.cli", "search", "-m", str(request.manifest), "--method", "vit", "--trials", "6",
            "--sampler", "tpe", *(f"--set={change}" for change in request.changes), *(f"--space={axis}" for axis in AXES)]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 120
    while not list(request.folder.glob("trial-*/started.json")):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    workers = [
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    found = trials(request)
    names = [trial.state.name for trial in found]
    assert names.count("COMPLETE") + names.count("PRUNED") >= 6
    lost = next(trial for trial in found if trial.state.name == "FAIL")
    again = [trial for trial in found if trial.params == lost.params and trial.number != lost.number]
    assert again[0].state.name == "COMPLETE"
    assert len({trial.user_attrs["worker"] for trial in found}) == 3


@pytest.mark.parametrize("quicker", ["before", "meanwhile"])
def test_a_dead_workers_trial_is_given_back_once_when_two_see_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quicker: str
) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    one = optuna.create_study(study_name="s", storage=url)
    lost = one.ask({"smoothing": optuna.distributions.FloatDistribution(0, 1)})
    lost.set_user_attr("worker", "gone")
    two = optuna.load_study(study_name="s", storage=url)
    seen = two.get_trials()
    monkeypatch.setattr(two, "get_trials", lambda **_: seen)  # as they were when both looked
    if quicker == "meanwhile":
        tell = two.tell
        monkeypatch.setattr(two, "tell", lambda *a, **k: (_counted(one, tmp_path), tell(*a, **k)))
    else:
        _counted(one, tmp_path)
    _counted(two, tmp_path)
    states = [trial.state.name for trial in optuna.load_study(study_name="s", storage=url).trials]
    assert states == ["FAIL", "WAITING"]


def test_the_default_space_holds_the_recipe_and_lies_within_what_can_be_trained() -> None:
    for method in ("resnet18", "vit", "semivit"):
        recipe = recipe_for(method)
        for name, axis in space_around(recipe).items():
            assert axis.holds(getattr(recipe, name)), name
            for end in axis.choices or (axis.low, axis.high):
                recipe_for(method, "default", [f"{name}={str(end).lower() if isinstance(end, bool) else end}"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smoothing", "write name=low..high"),
        ("smothing=0..1", "write name=low..high"),
        ("smoothing=0.3", "is neither low..high"),
        ("smoothing=0.3..0.1", "low must be below high"),
        ("base_lr=0..1:log", "above 0 for :log"),
        ("pretrained=0..1", "pretrained is true or false"),
    ],
)
def test_a_wrong_axis_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_axis(text, recipe_for("vit"))


def test_an_axis_may_be_a_span_or_choices() -> None:
    assert parse_axis("base_lr=1e-4..1e-2:log", recipe_for("vit")) == ("base_lr", Axis(1e-4, 1e-2, log=True))
    assert parse_axis("batch_size=8..64:log", recipe_for("vit")) == ("batch_size", Axis(8, 64, log=True, whole=True))
    assert parse_axis("rand_ops=0|1|2", recipe_for("vit")) == ("rand_ops", Axis(choices=(0, 1, 2)))
