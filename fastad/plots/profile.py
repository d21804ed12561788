"""Pictures of profiles: predicted and measured figures of every program and tier. Needs matplotlib (`fastad[plot]`)."""

from collections.abc import Sequence
from typing import Any

# Blue: predicted; warm colours: measured; lighter: sweeps, darker: native code.
_COLOURS = {"predicted": "#9db8d2", "counted": "#e07a3f", "sweep": "#f2b98a", "native": "#c8502a"}
_TIER_NAMES = {"sweep": "sweeps", "native": "native code"}


def plot_profile(profile: Any, path: Any = None) -> Any:
    """Draw operations, memory and times of all programs of a `Profile` as bars; save to `path` if given.

    Returns the matplotlib figure. Raises ImportError, which names the package to install, where matplotlib is missing.
    """
    figure = new_figure((11.5, 0.9 + 0.62 * (len(profile.programs) + 1)))
    left, middle, right = figure.subplots(1, 3, sharey=True)
    names = [p.name for p in profile.programs]
    _bars(left, "operations", names, [
        ("predicted from the table", _COLOURS["predicted"], [p.predicted_operations for p in profile.programs]),
        ("counted in the program", _COLOURS["counted"], [p.operations for p in profile.programs]),
    ], _count)  # fmt: skip
    memory, times = [], []
    for tier in profile.tiers:
        found = [p.measured.get(tier) for p in profile.programs]
        planned = [p.planned_bytes[tier] for p in profile.programs]
        memory.append((f"{_TIER_NAMES[tier]}, predicted", _tint(_COLOURS["predicted"], tier), planned))
        memory.append((f"{_TIER_NAMES[tier]}, measured", _COLOURS[tier], [m and m.bytes for m in found]))
        times.append((_TIER_NAMES[tier], _COLOURS[tier], [m and m.seconds for m in found]))
    _bars(middle, "peak memory", names, memory, _bytes)
    _bars(right, "time of a call, measured", names, times, _seconds)
    c = profile.cost
    figure.suptitle(f"{profile.name}: {c.rows:,} rows, {c.m:,} × {c.d:,} Jacobian, chosen mode: {_mode(profile.mode)}")
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def new_figure(size: tuple[float, float]) -> Any:
    """A figure with its own canvas, so without a window or global state of matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: python -m pip install 'fastad[plot]'") from None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bars(axes: Any, title: str, names: Sequence[str], series: Sequence[tuple[str, str, list[Any]]], text: Any) -> None:
    """Groups of horizontal bars on a logarithmic axis, with the values at their ends. Missing values are marked."""
    height = 0.8 / len(series)
    values = [v for _, _, found in series for v in found if v]
    low, high = (min(values) / 3, max(values) * 12) if values else (1.0, 10.0)
    for k, (label, colour, found) in enumerate(series):
        places = [i - 0.4 + (k + 0.5) * height for i in range(len(names))]
        widths = [(v or low) - low for v in found]
        axes.barh(places, widths, height * 0.92, left=low, color=colour, label=label)
        for place, v in zip(places, found, strict=True):
            if v:
                axes.text(v * 1.12, place, text(v), va="center", fontsize=7, color="#444")
            else:
                axes.text(low * 1.12, place, "0" if v == 0 else "not run", va="center", fontsize=7, color="#999")
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_yticks(range(len(names)), names)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_title(f"{title} (logarithmic)", fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelbottom=False, length=0, which="both")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2)


def _tint(colour: str, tier: str) -> str:
    return colour if tier == "sweep" else "#4f7ba6"


def _mode(mode: str) -> str:
    return {"fwd": "forward", "rev": "reverse"}[mode]


def _count(n: float) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= factor:
            return f"{n / factor:.3g} {unit}"
    return f"{n:.0f}"


def _bytes(n: float) -> str:
    for unit, factor in (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if n >= factor:
            return f"{n / factor:.3g} {unit}"
    return f"{n:.0f} B"


def _seconds(t: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if t * factor >= 1:
            return f"{t * factor:.3g} {unit}"
    return f"{t * 1e9:.3g} ns"
