"""A search in pictures: one HTML page that needs nothing else."""

from __future__ import annotations

import html
import math
import warnings
from collections.abc import Sequence
from typing import Any

_WIDE, _HIGH, _EDGE = 420, 220, 40


def page(study: Any, recipe: Any) -> str:
    """How val grew over the trials, what each number did, how much each mattered, and the table of trials."""
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = study.best_trial
    parts = [_history(done), _curves(trials, best.number)]
    parts += [_slice(name, done, best.number) for name in sorted(best.params)]
    states = {name: sum(trial.state.name == name for trial in trials) for name in ("COMPLETE", "PRUNED", "FAIL")}
    return _PAGE.format(
        head=f"{len(trials)} trials: {states['COMPLETE']} finished, {states['PRUNED']} pruned, {states['FAIL']} failed",
        best=f"Best: trial {best.number}, Acc@1 {best.value:.1%} on val",
        changes="".join(
            f"<tr><td>{html.escape(name)}</td><td>{_say(value)}</td><td>{_say(getattr(recipe, name))}</td>"
            f"<td>{weight}</td></tr>"
            for name, value, weight in _weighed(study, best.params)
        ),
        plots="".join(parts),
        rows="".join(_row(trial) for trial in sorted(done, key=lambda trial: -trial.value)),
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


def _history(done: Sequence[Any]) -> str:
    """Every trial's accuracy, and the best so far as a line."""
    points = [(trial.number, trial.value) for trial in done]
    top, line = -math.inf, []
    for number, value in points:
        top = max(top, value)
        line.append((number, top))
    return _plot("Val accuracy over trials", "trial", points, [(line, "#b3261e")])


def _curves(trials: Sequence[Any], best: int) -> str:
    """Val along the steps of each trial; pruned ones end early."""
    lines = []
    for trial in sorted(trials, key=lambda trial: trial.number == best):
        curve = sorted(trial.intermediate_values.items())
        color = "#b3261e" if trial.number == best else "#c8c8c8" if trial.state.name == "PRUNED" else "#7c9cc0"
        lines.append((curve, color))
    return _plot("Val accuracy along the way (red: the best, gray: pruned)", "step", [], lines)


def _slice(name: str, done: Sequence[Any], best: int) -> str:
    """Accuracy against one number."""
    from optuna.distributions import CategoricalDistribution

    axis = done[0].distributions.get(name)
    found = [(trial, trial.params[name]) for trial in done if name in trial.params]
    if isinstance(axis, CategoricalDistribution):
        names = list(axis.choices)
        points = [(float(names.index(value)), trial.value) for trial, value in found]
        return _plot(f"{name}: {', '.join(f'{i} = {_say(value)}' for i, value in enumerate(names))}", name, points, [])
    log = bool(getattr(axis, "log", False))
    points = [(math.log10(value) if log else float(value), trial.value) for trial, value in found]
    star = [points[i] for i, (trial, _) in enumerate(found) if trial.number == best]
    return _plot(f"{name}{' (log 10)' if log else ''}", name, points, [], star)


def _plot(
    title: str,
    x_name: str,
    points: Sequence[tuple[float, float]],
    lines: Sequence[tuple[Sequence[tuple[float, float]], str]],
    star: Sequence[tuple[float, float]] = (),
) -> str:
    """Points and lines with their ranges on the axes, as SVG."""
    everything = [*points, *(point for line, _ in lines for point in line)]
    if not everything:
        return ""
    xs, ys = [x for x, _ in everything], [y for _, y in everything]
    (x0, x1), (y0, y1) = _span(xs), _span(ys)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = _EDGE + (point[0] - x0) / (x1 - x0) * (_WIDE - 2 * _EDGE)
        return round(x, 1), round(_HIGH - _EDGE - (point[1] - y0) / (y1 - y0) * (_HIGH - 2 * _EDGE), 1)

    drawn = []
    for line, color in lines:
        path = " ".join(f"{x},{y}" for x, y in map(place, line))
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    for kind, color in ((points, "#3b6ea5"), (star, "#b3261e")):
        drawn += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{color}"/>' for x, y in map(place, kind)]
    low, high = place((x0, y0)), place((x1, y1))
    frame = f'<path d="M{low[0]},{high[1]}V{low[1]}H{high[0]}" fill="none" stroke="#999"/>'
    labels = (
        f'<text x="{low[0]}" y="{low[1] + 16}">{x0:.3g}</text><text x="{high[0]}" y="{low[1] + 16}" text-anchor="end">{x1:.3g}</text>'
        f'<text x="{_WIDE / 2}" y="{low[1] + 30}" text-anchor="middle">{html.escape(x_name)}</text>'
        f'<text x="{low[0] - 4}" y="{low[1]}" text-anchor="end">{y0:.0%}</text>'
        f'<text x="{low[0] - 4}" y="{high[1] + 4}" text-anchor="end">{y1:.0%}</text>'
    )
    title = html.escape(title)
    return (
        f'<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{title}">'
        f"{frame}{''.join(drawn)}{labels}</svg></figure>"
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _row(trial: Any) -> str:
    changes = ", ".join(f"{name} {_say(value)}" for name, value in sorted(trial.params.items()))
    seconds = (trial.datetime_complete - trial.datetime_start).total_seconds()
    ce = trial.user_attrs.get("val_ce")
    cells = (trial.number, f"{trial.value:.1%}", "" if ce is None else f"{ce:.3f}", f"{seconds / 60:.1f}", changes)
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"


def _say(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Search</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1c1c }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }}
.plots {{ display: flex; flex-wrap: wrap; gap: 1rem }}
figure {{ margin: 0; flex: 1 1 24rem }} figcaption {{ font-weight: 600 }} svg {{ width: 100% }} text {{ font-size: 11px; fill: #555 }}
</style>
<h1>Search</h1>
<p>{head}. {best}. Val alone was looked at; test was not read. The best of many trials on one val set is flattered by chance:
train the recipe with several seeds before you believe the figure.</p>
<table><thead><tr><th>Number</th><th>Best trial</th><th>Recipe</th><th>Importance</th></tr></thead><tbody>{changes}</tbody></table>
<div class="plots">{plots}</div>
<h2>Trials</h2>
<table><thead><tr><th>Trial</th><th>Acc@1 on val</th><th>CE</th><th>Minutes</th><th>Numbers</th></tr></thead><tbody>{rows}</tbody></table>
</html>
"""
