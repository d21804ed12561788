"""Pictures of solutions of ODEs. They need matplotlib (`fastad[plot]`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.plots.profile import new_figure

_SMOOTH = 1000  # points of a curve
_LEGEND_UP_TO = 12  # components that a legend names
_EVENT = "#8a8a8a"


def plot_solution(sol: Any, axes: Any = None, labels: Sequence[str] | None = None) -> Any:
    """Draw the components of a `fad.ode.Solution` over time; see `Solution.plot`."""
    if axes is None:
        axes = new_figure((8.0, 4.5)).subplots()
    t, y = np.asarray(sol.t, float), np.asarray(sol.y, float)
    y = y.reshape(-1, len(t))
    names = [f"y{i}" for i in range(len(y))] if labels is None else list(labels)
    if len(names) != len(y):
        raise ValueError(f"{len(names)} labels for {len(y)} components")
    smooth = sol.sol is not None and len(t) > 1
    fine = np.union1d(np.linspace(t[0], t[-1], _SMOOTH), t) if smooth else t
    curves = np.asarray(sol.sol(fine), float) if smooth else y
    for name, curve, points in zip(names, curves, y, strict=True):
        line = axes.plot(fine, curve, label=name, linewidth=1.6)[0]
        if len(t) <= _SMOOTH // 5:
            axes.plot(t, points, ".", color=line.get_color(), markersize=5)
    for times in sol.t_events or ():
        for time in np.ravel(np.asarray(times, float)):
            axes.axvline(time, color=_EVENT, linestyle=":", linewidth=1.0)
    axes.set_xlabel("t")
    axes.set_ylabel("y" if len(y) != 1 else names[0])
    axes.set_title(sol.message if not sol.success else "", fontsize="small", loc="left")
    axes.grid(True, alpha=0.25)
    if 1 < len(y) <= _LEGEND_UP_TO:
        axes.legend(frameon=False)
    return axes
