"""The page of a search in a real browser, from trials made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.train.pages import LOOKS, Seen
from train.recipe import recipe_for
from train.search.page import page

optuna = pytest.importorskip("optuna", reason="pip install 'consenso[tune]'")
pytestmark = pytest.mark.browser


def a_search(trials: int = 12) -> Any:
    """Rates, weights and choices; every fifth trial is pruned, the second failed."""
    spread = optuna.distributions
    axes = {"base_lr": spread.FloatDistribution(1e-3, 6e-2, log=True), "threshold": spread.FloatDistribution(0.3, 0.9),
            "mu": spread.CategoricalDistribution([3, 5, 7]), "semi_steps": spread.IntDistribution(100, 500)}  # fmt: skip
    study = optuna.create_study(direction="maximize")
    for i in range(trials):
        state = "FAIL" if i == 1 else "PRUNED" if i % 5 == 4 else "COMPLETE"
        value = 0.7 + 0.01 * ((7 * i) % trials)
        params = {
            "base_lr": 0.001 * 1.4**i,
            "threshold": 0.3 + 0.05 * i,
            "mu": (3, 5, 7)[i % 3],
            "semi_steps": 100 + 30 * i,
        }
        curve = {} if state == "FAIL" else {s: value * (1 - math.exp(-s / 80)) for s in range(20, 120 if state == "PRUNED" else 300, 20)}  # fmt: skip
        study.add_trial(optuna.trial.create_trial(
            state=optuna.trial.TrialState[state], value=value if state == "COMPLETE" else None, params=params,
            distributions=axes, intermediate_values=curve, user_attrs={"val_ce": 0.5}))  # fmt: skip
    return study


def opened(chromium: Any, folder: Path, study: Any, *look: Any) -> Seen:
    (folder / "index.html").write_text(page(study, recipe_for("semivit", "cpu")), encoding="utf-8")
    return Seen(chromium, folder / "index.html", *look)


@LOOKS
def test_it_fits_is_accessible_and_its_plots_are_drawn(chromium: Any, tmp_path: Path, width: int, scheme: str) -> None:
    seen = opened(chromium, tmp_path, a_search(), width, scheme)
    assert seen.plots_are_drawn() == 2 + 4
    seen.is_fine()
    seen.page.close()


def test_it_says_the_best_trial_and_every_finished_one(chromium: Any, tmp_path: Path) -> None:
    study = a_search()
    seen = opened(chromium, tmp_path, study)
    best = f"Best: trial {study.best_trial.number}, Acc@1 {100 * study.best_value:.1f} % on val."
    assert seen.page.locator(".answer").inner_text() == f"{best} 12 trials: 9 finished, 2 pruned, 1 failed."
    assert seen.page.get_by_role("region", name="Trials").locator("tbody tr").count() == 9
    plots = {
        name: seen.page.locator("h3", has_text=name).locator("+ figure") for name in ("base_lr", "mu", "along the way")
    }
    assert plots["base_lr"].locator(".dot").count() == 9
    assert plots["base_lr"].locator(".mark").count() == 1
    assert {"3", "5", "7"} <= set(plots["mu"].locator("text").all_text_contents())
    assert [plots["along the way"].locator(f"path.{kind}").count() for kind in ("line", "thin", "faint")] == [1, 8, 2]
    seen.page.close()


def test_one_trial_is_a_page_too(chromium: Any, tmp_path: Path) -> None:
    seen = opened(chromium, tmp_path, a_search(1))
    assert seen.plots_are_drawn() == 2 + 4
    seen.is_fine()
    seen.page.close()
