"""Runs the examples of docs/relaxed.md and draws docs/relaxed.svg from them: `python docs/make_relaxed.py`."""

import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import fastad as fad
from fastad import soft

PAGE = Path(__file__).with_name("relaxed.md")
TARGET = PAGE.with_suffix(".svg")
INK, EXACT, FITTED, FIRST = "#333333", "#555555", "#c8501e", "#8aa4b8"
WIDTHS = {2.0: "#0b6fa4", 0.8: "#2f9e6e", 0.3: "#d9a400"}
STYLE: Any = {
    "font.size": 10, "axes.edgecolor": "#888888", "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "font.family": "sans-serif", "svg.fonttype": "path", "svg.hashsalt": "relaxed",
}  # fmt: skip


def examples() -> dict[str, Any]:
    """The names that the examples define."""
    found: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(code, found)
    return found


def picture(example: dict[str, Any]) -> Figure:
    """The misfit against the threshold, and the temperatures that were fitted."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    misfits(left, example)
    temperatures(right, example)
    return figure


def misfits(axes: Any, example: dict[str, Any]) -> None:
    thresholds, misfit = np.linspace(13.5, 24.0, 600), fad.jit(example["misfit"])
    with soft.hardness("hard"):
        exact = [misfit(t, 1.0) for t in thresholds]
    axes.plot(thresholds, exact, color=EXACT, linewidth=1.2, label="exact: a staircase, derivative 0", zorder=3)
    for sigma, color in WIDTHS.items():
        relaxed = [misfit(t, sigma) for t in thresholds[::5]]
        axes.plot(thresholds[::5], relaxed, color=color, linewidth=1.8, label=f"relaxed, σ = {sigma:g} °C")
    path = np.array(example["path"])
    axes.plot(
        *path.T, "o-", color=FITTED, markersize=4, linewidth=0.8, zorder=4, label="gradient descent, σ from 2 to 0.3 °C"
    )
    axes.axvline(20.0, ymax=0.5, color="#999999", linewidth=0.9, linestyle="--", zorder=0)
    axes.set(xlim=(13.5, 24.0), ylim=(0, 31), xlabel="threshold (°C)", ylabel="mean square misfit (°C²)")
    axes.set_title("Misfit against threshold (true one dashed)", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="upper right")


def temperatures(axes: Any, example: dict[str, Any]) -> None:
    hours, first, last = example["HOURS"], example["path"][0][0], example["threshold"]
    with soft.hardness("hard"):
        axes.plot(
            hours, example["room"](first, 1.0), color=FIRST, linewidth=1.4, label=f"first threshold, {first:.1f} °C"
        )
        axes.plot(hours, example["room"](last, 1.0), color=FITTED, linewidth=1.6, label=f"fitted, {last:.2f} °C")
    axes.plot(hours, example["MEASURED"], ".", color=INK, markersize=5, label="measured")
    axes.set(xlim=(0, 48), ylim=(12, 25.5), xlabel="time (hours)", ylabel="temperature (°C)")
    axes.set_xticks(range(0, 49, 6))
    axes.set_title("The room with the exact thermostat", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="upper right", ncols=3, columnspacing=1.2, handletextpad=0.4)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    with matplotlib.rc_context(STYLE):
        picture(examples()).savefig(
            target, dpi=150, facecolor="white", metadata={"Date": None} if target.suffix == ".svg" else None
        )
    print(f"wrote {target}")
