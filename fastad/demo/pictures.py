"""The pictures of the demonstration. Needs matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fastad.demo import model

HARES, LYNXES, INK = "#0b6fa4", "#c8501e", "#333333"
_STYLE: Any = {
    "font.size": 10, "axes.edgecolor": "#888888", "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "font.family": "sans-serif", "svg.fonttype": "none",
}  # fmt: skip


def draw(folder: Path, fit: Any) -> list[Path]:
    """Draw the fit over the years and in the phase plane; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    states = model.simulate(fit.parameters, every=1)
    with matplotlib.rc_context(_STYLE):
        pictures = (("fit.png", years_picture(states, fit)), ("phase.png", phase_picture(states)))
        for name, figure in pictures:
            figure.savefig(folder / name, dpi=200, facecolor="white")
    return [folder / name for name, _ in pictures]


def years_picture(states: np.ndarray, fit: Any) -> Figure:
    """Fitted curves over the data."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    time = np.linspace(model.YEARS[0], model.YEARS[-1], len(states))
    for k, (name, color, marker) in enumerate((("hare", HARES, "o"), ("lynx", LYNXES, "s"))):
        axes.plot(time, states[:, k], color=color, linewidth=1.8, zorder=2)
        axes.plot(
            model.YEARS, model.PELTS[:, k], marker, color=color, markersize=5.5, markeredgecolor="white",
            markeredgewidth=0.8, zorder=4 - k, label=name,
        )  # fmt: skip
    axes.set(xlim=(1899.5, 1920.5), ylim=(0, 85), xlabel="year", ylabel="pelts (thousands)")
    axes.set_xticks(range(1900, 1921, 2))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title("Hudson's Bay pelts (points) and the fitted Lotka–Volterra model (curves)", loc="left", fontsize=11)
    axes.legend(frameon=False, ncols=2, loc="upper right", handletextpad=0.2, columnspacing=1.2)
    return figure


def phase_picture(states: np.ndarray) -> Figure:
    """The fitted orbit and the data in the phase plane."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    hares, lynxes = model.PELTS.T
    axes.plot(*states.T, color="#444444", linewidth=1.6, zorder=2, label="fitted orbit")
    axes.plot(hares, lynxes, color="#c9c9c9", linewidth=0.8, zorder=1)
    points = axes.scatter(
        hares, lynxes, c=model.YEARS, cmap="viridis", s=36, edgecolors="white", linewidths=0.8, zorder=3
    )  # fmt: skip
    bar = figure.colorbar(points, ax=axes, shrink=0.7, pad=0.02, ticks=range(1900, 1921, 5), label="year")
    bar.outline.set_visible(False)
    axes.set(xscale="log", yscale="log", xlabel="hare (thousand pelts)", ylabel="lynx (thousand pelts)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([5, 10, 20, 50, 100]))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_title("Hare and lynx in the phase plane", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, 1.0))
    return figure
