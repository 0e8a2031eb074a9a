# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Pictures of measurements, with matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hf_rlt.errors import HfRltError

# One colour and marker for each method, in every picture.
STYLES = {
    "standard": ("black", "*"),
    "random": ("tab:gray", "s"),
    "by difference": ("tab:olive", "<"),
    "by difference, proportional": ("olive", ">"),
    "anchor": ("deepskyblue", "p"),
    "anchor, proportional": ("crimson", "p"),
    "num_tokens": ("navy", "d"),
    "num_tokens, proportional": ("darkred", "d"),
    "ToMe": ("tab:orange", "^"),
    "ToMe, proportional": ("tab:brown", "v"),
    "STA": ("tab:purple", "D"),
    "RLT": ("tab:blue", "o"),
    "RLT, proportional": ("tab:red", "h"),
    "RLT + random": ("tab:cyan", "P"),
    "RLT + ToMe": ("tab:green", "X"),
    "threshold": ("tab:blue", "o"),
    "optimal, p = 4": ("tab:green", "X"),
    "optimal, p = 1": ("lightgreen", "P"),
}


@dataclass(frozen=True)
class Series:
    """Points of one method, in the order in which a line goes through them; `label` beside each point, if given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    labels: Sequence[str] = ()


def check_matplotlib() -> None:
    """Raise HfRltError, naming the remedy, unless matplotlib is installed."""
    if find_spec("matplotlib") is None:
        raise HfRltError("Pictures need matplotlib: `pip install hf_rlt[plot]`.")


def draw(
    path: Path,
    series: Sequence[Series],
    titles: tuple[str, str, str],
    logarithmic: bool = False,
    horizontal: float | None = None,
) -> Path:
    """Draw the points of each method as a PNG and return its path.

    Args:
        path: of the picture.
        series: one for each method.
        titles: of the picture, the x axis and the y axis.
        logarithmic: single points on logarithmic axes, with the line y = x.
        horizontal: a level to compare with.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), dpi=110)
    axes = figure.subplots()
    for each in series:
        colour, marker = STYLES.get(each.name, (None, "o"))
        style: dict[str, Any] = {"color": colour, "marker": marker, "ms": 6, "alpha": 0.85, "label": each.name}
        axes.plot(each.x, each.y, linestyle="none" if logarithmic else "-", **style)
        for x, y, label in zip(each.x, each.y, each.labels, strict=False):
            axes.annotate(label, (x, y), textcoords="offset points", xytext=(5, -11), fontsize=8, color=colour)
    if logarithmic:
        _logarithmic(axes, [value for each in series for value in each.x])
    if horizontal is not None:
        axes.axhline(horizontal, ls="--", color="lightgray", zorder=0)
    axes.set(title=titles[0], xlabel=titles[1], ylabel=titles[2])
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    return path


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends = [min(values), max(values)]
    axes.plot(ends, ends, "--", color="lightgray", zorder=0, label="y = x")
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([1, 2, 3, 4, 6, 8, 12, 16, 24, 32]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
