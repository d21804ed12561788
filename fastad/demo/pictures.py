"""The pictures of the demonstration. Needs matplotlib."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fastad.demo import model
from fastad.demo.fit import FINE, Fit, Uncertainty

HARES, LYNXES, INK, GRID = "#0b6fa4", "#c8501e", "#333333", "#e6e6e6"
STYLE: Any = {
    "font.size": 10, "axes.edgecolor": "#888888", "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "font.family": "sans-serif",
}  # fmt: skip


def draw(folder: Path, found: Fit, spread: Uncertainty, errors: dict[str, Any]) -> list[Path]:
    """Draw the fit with its uncertainty, the loss, and the check of the gradient; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[], Figure]] = {
        "fit.png": lambda: fit_picture(found, spread),
        "loss.png": lambda: loss_picture(found),
        "gradient-check.png": lambda: check_picture(errors),
    }
    with matplotlib.rc_context(STYLE):
        for name, picture in pictures.items():
            picture().savefig(folder / name, dpi=200, facecolor="white")
    return [folder / name for name in pictures]


def fit_picture(found: Fit, spread: Uncertainty) -> Figure:
    """Data, the fitted solution, its 95% band and that of a measurement; continued to 1925."""
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    curves, total = model.solution(found.x, FINE), np.hypot(spread.solution, spread.noise)
    panels = zip(figure.subplots(2, 1, sharex=True), ("hare", "lynx"), (HARES, LYNXES), (130, 95), strict=True)
    for k, (axes, name, color, top) in enumerate(panels):
        axes.plot(model.YEARS, model.PELTS[k], "o", color=color, markersize=5.5, mec="white", mew=0.8, label="pelts")
        axes.plot(FINE, np.exp(curves[k]), color=color, linewidth=1.8, label="fitted model")
        bands = ((spread.solution, 0.32, "its 95% band"), (total, 0.13, "95% band of a measurement"))
        for deviation, shade, label in bands:
            low, high = (np.exp(curves[k] + sign * 1.96 * deviation[k]) for sign in (-1, 1))
            axes.fill_between(FINE, low, high, color=color, alpha=shade, linewidth=0, label=label)
        axes.axvline(1920, color="#999999", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        axes.set(xlim=(1899.5, 1925), ylim=(0, top), ylabel=f"{name} pelts (thousands)")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    upper, lower = figure.axes
    upper.set_title("Lotka–Volterra model, calibrated to the Hudson's Bay pelts", loc="left", fontsize=11, pad=28)
    upper.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(-0.01, 1.0), columnspacing=1.6)
    upper.annotate("forecast", (1920.15, 0.99), xycoords=("data", "axes fraction"), va="top", color="#777777")
    lower.set(xlabel="year", xticks=range(1900, 1926, 5))
    return figure


def loss_picture(found: Fit) -> Figure:
    """How far the misfit is above its minimum, at every iteration."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    above = found.misfits[:-1] - found.misfits[-1]
    axes.semilogy(range(len(above)), np.maximum(above, 1e-16), "o-", color=INK, markersize=3.5, linewidth=1.2)
    axes.set(xlabel="iteration of BFGS", ylabel="misfit above the minimum")
    axes.minorticks_off()
    axes.grid(color=GRID, linewidth=0.8)
    title = f"Misfit {found.misfits[0]:.1f} to {found.misfits[-1]:.4f} with {found.gradients} exact gradients"
    axes.set_title(title, loc="left", fontsize=11)
    return figure


def check_picture(errors: dict[str, Any]) -> Figure:
    """Errors of finite differences against their step, and that of the exact gradient."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for name, color, solves in (("forward", "#8aa4b8", 7), ("central", HARES, 12)):
        label = f"{name} differences, {solves} solves"
        axes.loglog(errors["steps"], errors[name], color=color, linewidth=1.6, label=label)
    axes.axhline(errors["exact"], color=LYNXES, linewidth=1.8, label="fastad, one solve and its adjoint")
    axes.set_ylim(bottom=errors["exact"] / 20)
    axes.set(xlabel="step of the differences", ylabel="relative error of the gradient")
    axes.minorticks_off()
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_title("Gradient of the misfit: exact and by differences", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="upper left")
    return figure
