"""A search in pictures: one HTML page that needs nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from train.report.figures import Axes, percent_ticks


def page(study: Any, recipe: Any) -> str:
    """How val grew over the trials, what each number did, how much each mattered, and the table of trials."""
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = study.best_trial
    loader = jinja2.FileSystemLoader(Path(__file__).parents[1] / "report" / "templates")
    pages = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    pages.filters["say"] = _say
    return pages.get_template("search.html").render(
        counts={name: sum(trial.state.name == name for trial in trials) for name in ("COMPLETE", "PRUNED", "FAIL")},
        total=len(trials),
        best=best,
        changes=[(name, value, getattr(recipe, name), weight) for name, value, weight in _weighed(study, best.params)],
        plots=[plot for plot in (_history(done), _curves(trials, best.number)) if plot],
        slices=[_slice(name, done, best.number) for name in sorted(best.params)],
        rows=[_row(trial) for trial in sorted(done, key=lambda trial: -trial.value)],
    )


def _weighed(study: Any, params: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """Each number with how much of the differences it explains, the most important first; blank while that is unknown."""
    import optuna

    try:
        with warnings.catch_warnings(action="ignore"):  # with few trials all numbers matter alike; a warning says so
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):  # too few trials
        shares = {}
    order = sorted(params, key=lambda name: -shares.get(name, 0.0))
    return [(name, params[name], f"{shares[name]:.0%}" if name in shares else "") for name in order]


Plot = tuple[str, str]  # title, SVG


def _history(done: Sequence[Any]) -> Plot:
    """Every trial's accuracy, and the best so far as a line."""
    top, line = -math.inf, []
    for trial in done:
        top = max(top, trial.value)
        line.append((trial.number, top))
    last = max(1, done[-1].number)
    axes, low, high = _axes((-0.02 * last, 1.02 * last), [trial.value for trial in done])
    axes.ticks(_even(0, last, whole=True), percent_ticks(low, high), "trial", "Acc@1 on val")
    axes.line(line, "line m-semivit")
    for trial in done:
        axes.dot(trial.number, trial.value, "dot m-vit", f"trial {trial.number}: {trial.value:.1%}", 3.5)
    title = "Acc@1 on val, trial after trial; the line is the best so far"
    return title, axes.svg(title)


def _curves(trials: Sequence[Any], best: int) -> Plot | None:
    """Val along the steps of each trial; pruned ones end early."""
    curves = [(trial, sorted(trial.intermediate_values.items())) for trial in trials if trial.intermediate_values]
    if not curves:
        return None
    last = max(step for _, curve in curves for step, _ in curve)
    axes, low, high = _axes((0, max(1, last)), [value for _, curve in curves for _, value in curve])
    axes.ticks(_even(0, max(1, last), whole=True), percent_ticks(low, high), "step", "Acc@1 on val")
    for trial, curve in sorted(curves, key=lambda one: (one[0].number == best, one[0].state.name != "PRUNED")):
        kind = "line m-semivit" if trial.number == best else "faint" if trial.state.name == "PRUNED" else "thin m-vit"
        axes.line(curve, kind)
    title = "Acc@1 on val along the way; thick: the best, gray: pruned"
    return title, axes.svg(title)


def _slice(name: str, done: Sequence[Any], best: int) -> Plot:
    """Accuracy against one number."""
    from optuna.distributions import CategoricalDistribution

    axis = next(trial.distributions[name] for trial in done if name in trial.distributions)
    found = [(trial, trial.params[name]) for trial in done if name in trial.params]
    log = bool(getattr(axis, "log", False))
    if isinstance(axis, CategoricalDistribution):
        names = list(axis.choices)
        places = [float(names.index(value)) for _, value in found]
        span, ticks = (-0.5, len(names) - 0.5), [(float(i), _say(value)) for i, value in enumerate(names)]
    else:
        places = [math.log10(value) if log else float(value) for _, value in found]
        room = 0.04 * ((max(places) - min(places)) or 1)
        span = (min(places) - room, max(places) + room)
        ticks = _powers(*span) if log else _even(*span)
    axes, low, high = _axes(span, [trial.value for trial, _ in found])
    axes.ticks(ticks, percent_ticks(low, high), f"{name}{' (logarithmic)' if log else ''}", "Acc@1 on val")
    for x, (trial, value) in sorted(zip(places, found, strict=True), key=lambda one: one[1][0].number == best):
        chosen = trial.number == best
        said = f"trial {trial.number}: {name} {_say(value)}, {trial.value:.1%}"
        axes.dot(x, trial.value, f"dot {'mark' if chosen else 'm-vit'}", said, 5.5 if chosen else 3.5)
    return name, axes.svg(f"Acc@1 on val against {name}")


def _axes(x: tuple[float, float], values: Sequence[float]) -> tuple[Axes, float, float]:
    """Axes that hold the values, and from where to where they go upwards."""
    step = 0.05 if max(values) - min(values) > 0.05 else 0.01
    low = max(0.0, step * math.floor(min(values) / step))
    high = min(1.0, step * math.ceil(max(values) / step + 1e-9))
    high = high if high > low else low + step
    return Axes(x, (low, high)), low, high


def _even(low: float, high: float, whole: bool = False) -> list[tuple[float, str]]:
    """Round numbers on an axis, five at most."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    step = max(1.0, step if step >= 5 or step == int(step) else math.ceil(step)) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, _say(float(i * step)) if not whole else f"{i * step:,.0f}") for i in range(first, last + 1)]


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    """Numbers on an axis of powers of ten: 1, 2 and 5 of each, or of a long axis 1 alone."""
    sizes = (1, 2, 5) if high - low < 2.2 else (1,)
    found = [
        (math.log10(size * 10.0**p), size * 10.0**p)
        for p in range(math.floor(low), math.ceil(high) + 1)
        for size in sizes
    ]
    return [(place, _say(value)) for place, value in found if low <= place <= high]


def _row(trial: Any) -> tuple[str, ...]:
    changes = ", ".join(f"{name} {_say(value)}" for name, value in sorted(trial.params.items()))
    seconds = (trial.datetime_complete - trial.datetime_start).total_seconds()
    ce = trial.user_attrs.get("val_ce")
    return str(trial.number), f"{trial.value:.1%}", "" if ce is None else f"{ce:.3f}", f"{seconds / 60:.1f}", changes


def _say(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
