# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Pictures of measurements, with matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One colour and marker for each method, in every picture.
STYLES = {
    "standard": ("black", "*"),
    "random": ("tab:gray", "s"),
    "ToMe": ("tab:orange", "^"),
    "ToMe, proportional": ("tab:brown", "v"),
    "STA": ("tab:purple", "D"),
    "RLT": ("tab:blue", "o"),
    "RLT, proportional": ("tab:red", "h"),
    "RLT + random": ("tab:cyan", "P"),
    "RLT + ToMe": ("tab:green", "X"),
}


@dataclass(frozen=True)
class Series:
    """Points of one method, in the order in which a line goes through them; `label` beside each point, if given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    labels: Sequence[str] = ()


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: `pip install hf_rlt[plot]`.") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(
    path: Path,
    series: Sequence[Series],
    titles: tuple[str, str, str],
    lines: bool = True,
    diagonal: bool = False,
    logarithmic: bool = False,
    horizontal: tuple[float, str] | None = None,
) -> Path:
    """Returns the path of a PNG with the points of each method.

    Args:
        path: of the picture.
        series: one for each method.
        titles: of the picture, the x axis and the y axis.
        lines: whether points are joined.
        diagonal: whether the line y = x is drawn.
        logarithmic: whether both axes are.
        horizontal: a level, and what it is.

    Raises:
        ImportError: without matplotlib, naming the remedy.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(7.2, 4.8), dpi=110)
    for each in series:
        colour, marker = STYLES.get(each.name, (None, "o"))
        axes.plot(
            each.x, each.y, "-" if lines else "none", color=colour, marker=marker, ms=6, label=each.name, alpha=0.85
        )
        for x, y, label in zip(each.x, each.y, each.labels, strict=False):
            axes.annotate(label, (x, y), textcoords="offset points", xytext=(5, -11), fontsize=8, color=colour)
    if diagonal:
        ends = [min(min(each.x) for each in series), max(max(each.x) for each in series)]
        axes.plot(ends, ends, "--", color="lightgray", zorder=0, label="y = x")
    if horizontal is not None:
        axes.axhline(horizontal[0], ls="--", color="lightgray", zorder=0, label=horizontal[1])
    if logarithmic:
        ticks = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
        for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            set_scale("log")
            axis.set_major_locator(pyplot.FixedLocator(ticks))
            axis.set_minor_locator(pyplot.NullLocator())
            axis.set_major_formatter(pyplot.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title(titles[0], fontsize=11)
    axes.set_xlabel(titles[1])
    axes.set_ylabel(titles[2])
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return path
