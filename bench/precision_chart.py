"""The picture of a work-precision diagram; see `bench.ode_precision`."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# One colour for each program, which can be distinguished with colour blindness too (Okabe & Ito), and one marker for
# each kind of method.
COLOURS = {"fastad": "#0072B2", "diffrax": "#D55E00", "SciPy": "#777777", "CVODES": "#009E73"}
MARKERS = {"BS3": "v", "Tsit5": "o", "Dopri5": "s", "RK45": "s", "Dopri8": "D", "DOP853": "D", "Adams": "^"}
GLYPHS = {"v": "▼", "o": "●", "s": "■", "D": "◆", "^": "▲"}  # stand before a name, which may be near another line
INK = "#333333"
WORST = 1.0  # errors above this are not drawn: no digit is right
HEIGHT = 11.0  # of a name, in points
# Beside a marker, in points: the nearest first.
PLACES = ((8, 0), (8, -6), (8, 6), (-8, 0), (-8, -6), (-8, 6), (8, -12), (-8, -12), (16, 0), (-16, 0))

Line = tuple[str, list[float], list[float], str]  # name, times, errors, colour


def draw(title: str, points: Sequence[Any], path: Path) -> Path:
    """Draw the points of one problem: one line for each contender, with its name beside it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 5.4), layout="constrained")
    axes = figure.subplots()
    floor = max((own.error for own in points if own.contender == "reference"), default=0.0)
    lines: list[Line] = []
    for name in dict.fromkeys(own.contender for own in points if own.contender != "reference"):
        family, method = name.split()
        line = [own for own in points if own.contender == name and floor < own.error <= WORST]
        if not line:
            continue
        x, y = [own.seconds for own in line], [own.error for own in line]
        axes.loglog(x, y, marker=MARKERS[method], markersize=4.5, linewidth=1.5, color=COLOURS[family])
        lines.append((f"{GLYPHS[MARKERS[method]]} {name}", x, y, COLOURS[family]))
    _frame(axes, title, floor)
    figure.draw_without_rendering()
    _label(axes, lines, floor)
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
    return path


def _frame(axes: Any, title: str, floor: float) -> None:
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 4.0)  # room for the names
    axes.set_ylim(min(axes.get_ylim()[0], floor * 0.2), 2.0 * WORST)
    axes.axhspan(axes.get_ylim()[0], floor, color="#eeeeee", linewidth=0, zorder=0)
    axes.annotate("below the distance of two references", (0.01, floor), xycoords=("axes fraction", "data"),
                  xytext=(0, -4), textcoords="offset points", va="top", fontsize=8, color="#888888")  # fmt: skip
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    axes.set_ylabel("relative error of the final state", color=INK)
    axes.set_xlabel("time of a solve (s), compiled, fastest of all rounds", color=INK)
    axes.minorticks_off()
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _label(axes: Any, lines: list[Line], floor: float) -> None:
    """The name of every line beside the point nearest to its end where it stands over no line and no other name."""
    scale = 72.0 / axes.figure.dpi  # from pixels to points
    curves = [axes.transData.transform(np.column_stack([x, y])) * scale for _, x, y, _ in lines]
    inked = np.concatenate([_along(curve) for curve in curves])
    frame = axes.get_window_extent()
    inside = np.array([frame.x0, frame.x1 + 40.0, frame.y0, frame.y1]) * scale  # left, right, lower and upper end
    below = axes.transData.transform((1.0, floor))[1] * scale if floor else inside[2]
    boxes = [(inside[0], inside[0] + 190.0, below - 16.0, below)]  # the name of the floor
    for (name, x, y, colour), curve in zip(lines, curves):
        style = {"fontsize": 9, "color": colour, "fontweight": "bold" if "fastad" in name else "normal"}
        sample = axes.text(0.5, 0.5, name, transform=axes.transAxes, **style)
        width = sample.get_window_extent().width * scale
        sample.remove()
        k, (dx, dy) = min(
            ((k, place) for k in range(len(x)) for place in PLACES),
            key=lambda own: _badness(_box(curve[own[0]], own[1], width), inked, boxes, inside) - own[0] / len(x),
        )
        boxes.append(_box(curve[k], (dx, dy), width))
        label = axes.annotate(name, (x[k], y[k]), xytext=(dx, dy), textcoords="offset points", va="center",
                              ha="left" if dx > 0 else "right", **style)  # fmt: skip
        label.set_in_layout(False)  # or the axes would change their size after places were chosen


def _along(curve: np.ndarray) -> np.ndarray:
    """Places along a line, closer than the height of a name."""
    at = np.linspace(0, len(curve) - 1, 1 + 30 * (len(curve) - 1))
    return np.column_stack([np.interp(at, np.arange(len(curve)), curve[:, k]) for k in range(2)])


def _box(place: np.ndarray, offset: tuple[float, float], width: float) -> tuple[float, float, float, float]:
    """Left, right, lower and upper end of a name."""
    (x, y), (dx, dy) = place, offset
    left = x + dx if dx > 0 else x + dx - width
    return left, left + width, y + dy - HEIGHT / 2, y + dy + HEIGHT / 2


def _badness(box: tuple, inked: np.ndarray, boxes: list[tuple], inside: np.ndarray) -> float:
    """How much a name would hide, or be outside."""
    left, right, low, high = box
    x, y = inked.T
    covered = np.sum((left - 3 < x) & (x < right) & (low - 1 < y) & (y < high + 1))
    over = sum(left < b[1] and b[0] < right and low < b[3] and b[2] < high for b in boxes)
    outside = left < inside[0] + 2 or right > inside[1] or low < inside[2] + 2 or high > inside[3]
    return float(covered) + 100.0 * over + 200.0 * outside
