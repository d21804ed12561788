"""Runs the pages of docs/examples and draws their pictures: `python docs/make_examples.py [PAGE …]`.

The page `lynx-hare` is the demonstration, whose picture is on the first page of the documentation.
"""

import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import fastad as fad

FOLDER = Path(__file__).with_name("examples")
INK, GRID, BLUE, RED, GREEN, GREY = "#333333", "#e6e6e6", "#0b6fa4", "#c8501e", "#2f9e6e", "#8aa4b8"
STYLE: Any = {
    "font.size": 10, "axes.edgecolor": "#888888", "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "font.family": "sans-serif", "legend.frameon": False, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True,
}  # fmt: skip


def ran(page: Path) -> dict[str, Any]:
    """The names that the examples of a page define."""
    found: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(code, found)
    return found


# ── the pictures ──────────────────────────────────────────────────────────────────────────────────────────────
def adjoints(example: dict[str, Any]) -> Figure:
    """The error of every adjoint against λ, for every problem."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    titles = ("decay: z' = −λ z", "cubic: z' = −z³, z(0) = √λ", "network: z' = λ (tanh(W z + cos t) − z)")
    for axes, (name, found), title in zip(panels, example["ERRORS"].items(), titles, strict=True):
        values = example["PROBLEMS"][name][1]
        for (way, errors), color in zip(found.items(), (BLUE, RED, GREEN, "#d9a400", "#7b5ea7", GREY), strict=False):
            failed = np.array([not e < 1e3 for e in errors])  # NaN too
            style: Any = {"marker": "o", "markersize": 4, "color": color, "label": way}
            if "forward" in way:  # the same as the discrete one, but for rounding errors
                style |= {"markersize": 8, "fillstyle": "none", "linestyle": ":"}
            axes.loglog(values, np.where(failed, np.nan, errors), **style)
            axes.plot(np.array(values)[failed], np.full(failed.sum(), 3e2), "x", color=color, markersize=7, mew=2)
        axes.axhline(1.0, color="#999999", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        axes.set(xlabel="λ", title=title, ylim=(1e-10, 1e3))
        axes.minorticks_off()
    panels[0].set_ylabel("relative error of the gradient")
    panels[0].annotate("1: no digit is right", (1.0, 1.6), color="#777777", fontsize=9)
    panels[0].annotate("×: fails, or an error above 1000", (1.0, 1.6e2), color="#777777", fontsize=9)
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def neural_ode(example: dict[str, Any]) -> Figure:
    """The loss, and the vector field of the network with the data and the fitted solution."""
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.05])
    losses = np.array(example["losses"])
    left.semilogy(losses, color=GREY, linewidth=0.8, label="a minibatch")
    smooth = np.exp(np.convolve(np.log(losses), np.full(20, 0.05), mode="valid"))
    left.semilogy(np.arange(len(smooth)) + 10, smooth, color=BLUE, linewidth=1.8, label="mean of 20")
    left.set(xlabel="iteration of Adam", ylabel="mean square error", title="Loss")
    left.minorticks_off()
    left.legend()
    grid = np.linspace(-2.2, 2.2, 25)
    x, y = np.meshgrid(grid, grid)
    flow = example["network"](0.0, np.stack([x, y]).ravel(), tuple(example["weights"])).reshape(2, *x.shape)
    right.streamplot(grid, grid, *flow, color="#cfd8df", density=1.1, linewidth=0.7, arrowsize=0.7)
    right.plot(*example["DATA"], ".", color=RED, markersize=4, label="data")
    right.plot(*example["whole"], color=BLUE, linewidth=1.6, label="neural ODE from (2, 0)")
    right.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.6), xlabel="y₁", ylabel="y₂", title="Phase portrait of the network")
    right.grid(False)
    right.legend(loc="upper right", ncols=2)
    return figure


def partly_measured(example: dict[str, Any]) -> Figure:
    """The measured component with its fit, and the one that was not measured with its band."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    times, band = example["FINE"], example["band"]
    fitted, true = (example["states"](example[name], times) for name in ("x", "TRUTH"))
    upper.plot(example["TIMES"], example["MEASURED"], "o", color=INK, markersize=3.5, label="measured v")
    for k, (axes, color, name) in enumerate(((upper, BLUE, "v"), (lower, RED, "r"))):
        low, high = fitted[k] - 1.96 * band[k], fitted[k] + 1.96 * band[k]
        axes.fill_between(times, low, high, color=color, alpha=0.25, linewidth=0, label="its 95% band")
        axes.plot(times, fitted[k], color=color, linewidth=1.8, label=f"estimated {name}")
        axes.plot(times, true[k], color=INK, linewidth=1.0, linestyle=(0, (5, 3)), label=f"true {name}")
        axes.set(ylabel=name, xlim=(0, 20))
        axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    lower.set(xlabel="time")
    lower.set_title("not measured", loc="right", color="#777777")
    return figure


def moon_landing(example: dict[str, Any]) -> Figure:
    """The throttle found without knowing its form and with two phases, and the flight."""
    figure = Figure(figsize=(10, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    throttle, end, (fall, burn) = example["throttle"], example["end"], example["durations"]
    left.plot([0, fall, fall, fall + burn], [0, 0, 1, 1], color=GREY, linewidth=4, label="two phases, by Newton")
    left.plot(np.linspace(0, end, len(throttle)), throttle, "o-", color=RED, markersize=3.5, linewidth=1.2,
              label="41 values, by SLSQP")  # fmt: skip
    left.set(xlabel="time (s)", ylabel="throttle", ylim=(-0.03, 1.25), title="The throttle that burns the least fuel")
    left.legend(loc="upper left")
    times = np.linspace(0.0, end, 200)
    height, speed, _ = fad.solve_ivp(
        example["lander"], (0.0, end), example["START"], t_eval=times, args=(throttle, end), max_step=end / 80
    ).y
    right.plot(times, height, color=BLUE, linewidth=1.8)
    right.set(xlabel="time (s)", ylim=(-50, 1550), title="The flight")
    right.set_ylabel("height (m)", color=BLUE)
    speeds = right.twinx()
    speeds.plot(times, speed, color=RED, linewidth=1.8)
    speeds.set_ylim(-93.0, 3.0)
    speeds.set_ylabel("speed (m/s)", color=RED)
    speeds.grid(False)
    return figure


def diffusion_field(example: dict[str, Any]) -> Figure:
    """The true field, what was measured for one source, and the field before and after."""
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    side, truth, found = example["SIDE"], example["TRUTH"], example["found"]
    limit = float(np.max(np.abs(truth)))
    fields = {"The true log κ": truth, "Before: the first guess": 0.0 * truth, f"After {found.nit} steps": found.x}
    panels = figure.subplots(1, 4)
    for axes, (title, field) in zip(panels[[0, 2, 3]], fields.items(), strict=True):
        image = axes.imshow(field.reshape(side, side), origin="lower", extent=(0, 1, 0, 1), cmap="RdBu_r",
                            vmin=-limit, vmax=limit)  # fmt: skip
        axes.set(title=title, xticks=[0, 1], yticks=[0, 1])
        axes.grid(False)
    figure.colorbar(image, ax=panels[-1], shrink=0.8, label="log κ")
    seen, x, y = example["SEEN"], example["X"].ravel(), example["Y"].ravel()
    size = max(2.0, 4000 / seen.size)
    panels[1].scatter(x[seen], y[seen], size, example["MEASURED"][:, 0], marker="s", linewidths=0)
    panels[1].set(title="Measured, for one source", xlim=(0, 1), ylim=(0, 1), xticks=[0, 1], yticks=[0, 1])
    panels[1].set_aspect("equal")
    panels[1].grid(False)
    return figure


def ridge(example: dict[str, Any]) -> Figure:
    """The error on held-out data against the penalty with the descent, and the weights with one penalty and four."""
    figure = Figure(figsize=(10, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(example["grid"], example["errors"], color=GREY, linewidth=4, label="a grid of 81 fits")
    left.plot(*np.transpose(example["path"]), "o-", color=RED, markersize=4, linewidth=1.2, label="gradient descent")
    left.axhline(
        example["outer"].fun, color=GREEN, linewidth=1.4, linestyle=(0, (5, 3)), label="four penalties, by BFGS"
    )
    left.set(xlabel="logarithm of λ", ylabel="mean square error", title="Error on held-out data", ylim=(3, 150))
    left.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    left.minorticks_off()
    left.legend(loc="upper left")
    one = example["weights"](np.full(40, example["log_penalty"]))
    four = example["weights"](example["outer"].x[example["GROUPS"]])
    for place in (9.5, 19.5, 29.5):
        right.axvline(place, color="#bbbbbb", linewidth=0.8, zorder=0)
    right.plot(example["TRUTH"], "o", color="none", markeredgecolor=INK, markersize=7, label="truth")
    right.plot(one, ".", color=RED, markersize=7, label="one penalty")
    right.plot(four, ".", color=GREEN, markersize=7, label="four penalties")
    right.set(xlabel="feature", ylabel="weight", title="Weights, in four groups of features", ylim=(-5.8, 8.2))
    right.legend(loc="upper right", ncols=3, columnspacing=1.0, handletextpad=0.2)
    return figure


def dispatch(example: dict[str, Any]) -> Figure:
    """The output of every plant against the demand, the derivatives of the outputs, and the price in two ways."""
    figure = Figure(figsize=(12.5, 3.8), layout="constrained")
    outputs, shares, price = figure.subplots(1, 3)
    demands, colors = example["demands"], (BLUE, RED, GREEN, "#d9a400", "#7b5ea7")
    for k, color in enumerate(colors):
        outputs.plot(demands, example["many"].x[:, k], color=color, linewidth=1.8, label=f"plant {k}")
    outputs.set(xlabel="demand (GW)", title="The cheapest output x(d), GW", ylim=(-0.1, 4.1))
    outputs.legend(ncols=3, loc="upper left")
    shares.stackplot(demands, example["slopes"].T, colors=colors, alpha=0.75, linewidth=0)
    shares.set(xlabel="demand (GW)", title="Who delivers the next megawatt: dx/dd", ylim=(0, 1))
    price.plot(
        demands, example["many"].multipliers[0][:, 0], color=GREY, linewidth=5, label="multiplier of the balance"
    )
    price.plot(demands, example["prices"], color=RED, linewidth=1.5, label="derivative of the least cost")
    price.set(xlabel="demand (GW)", title="The price, €/MWh")
    price.legend(loc="upper left")
    for axes in (outputs, shares, price):
        for k in example["kinks"]:
            middle = (demands[k] + demands[k + 1]) / 2
            axes.axvline(middle, color="#9a9a9a", linewidth=0.8, linestyle=(0, (2, 3)), zorder=3)
        axes.grid(axis="x", visible=False)
        axes.set_xlim(demands[0], demands[-1])
    return figure


def equilibrium(example: dict[str, Any]) -> Figure:
    """The prices, and the revenue with tangents, against the tax."""
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    taxes, revenues, slopes = (example[name] for name in ("taxes", "revenues", "slopes"))
    names = ("taxed good, without the tax", "second good", "third good")
    for prices, color, name in zip(example["prices"].T, (RED, BLUE, GREEN), names, strict=True):
        left.plot(taxes, prices, color=color, label=name)
    left.set(xlabel="tax", title="Prices at which the markets clear", xlim=(0, 8))
    left.legend(loc="center right")
    right.plot(taxes, revenues, color=BLUE)
    for k in range(2, len(taxes), 6):
        ends = taxes[k] + np.array([-0.45, 0.45])
        right.plot(ends, revenues[k] + slopes[k] * (ends - taxes[k]), color=RED, linewidth=2.2)
    best = float(example["best_tax"])
    right.axvline(best, color="#999999", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    right.annotate(f"best tax {best:.3f}", (best + 0.1, 0.1 * revenues.max()), color="#777777", fontsize=9)
    right.set(xlabel="tax", title="Revenue, and its derivative as tangents", xlim=(0, 8), ylim=(0, None))
    return figure


def robertson(example: dict[str, Any]) -> Figure:
    """Data with the fit, the sensitivities of the second substance, and the estimates of all experiments."""
    figure = Figure(figsize=(13, 4.0), layout="constrained")
    data, slopes, scatter = figure.subplots(1, 3)
    times, fine, colors = example["TIMES"], example["FINE"], (BLUE, RED, GREEN)
    for k, (name, factor) in enumerate((("A", 1.0), ("B · 10⁴", 1e4), ("C", 1.0))):
        data.loglog(fine, factor * example["curves"][k], color=colors[k], linewidth=1.6, label=name)
        data.loglog(times, factor * np.exp(example["MEASURED"][k]), "o", color=colors[k], markersize=3.2)
        slopes.semilogx(fine, example["sensitivities"][1, :, k], color=colors[k], linewidth=1.8,
                        label=f"k{'₁₂₃'[k]}")  # fmt: skip
    data.set(xlabel="time (s)", title="Measured, and fitted", ylim=(1e-5, 20))
    data.legend(ncols=3, loc="upper left")
    slopes.set(xlabel="time (s)", title="Sensitivity of B, ∂ log B / ∂ log k")
    slopes.legend()
    percent = 100 * (example["estimates"] - example["TRUTH"])[:, [0, 2]]
    scatter.plot(*percent.T, ".", color=GREY, markersize=5, label="100 experiments")
    circle = np.stack([np.cos(angle := np.linspace(0, 2 * np.pi, 200)), np.sin(angle)])
    own = 1e4 * example["covariance"][np.ix_([0, 2], [0, 2])]
    scatter.plot(*(np.sqrt(5.991) * np.linalg.cholesky(own) @ circle), color=RED, label="95 %, from one of them")
    scatter.plot(0, 0, "+", color=INK, markersize=11)
    scatter.set(xlabel="error of k₁ (%)", ylabel="error of k₃ (%)", title="The estimates", ylim=(-6.5, 6.5))
    scatter.legend(loc="upper left", ncols=2, columnspacing=1.0, handletextpad=0.3)
    for axes in (data, slopes):
        axes.set_xlim(1e-4, 1e6)
        axes.minorticks_off()
    return figure


def brusselator(example: dict[str, Any]) -> Figure:
    """The field at the start and at the end, the gradient, and what descent has added."""
    figure = Figure(figsize=(14, 3.4), layout="constrained")
    side, panels = example["SIDE"], figure.subplots(1, 4)
    first, last, gradient = (example[name][: side**2] for name in ("start", "measured", "gradient"))
    fields = {"u at the start": first, "u at the end, measured": last, "Gradient of the misfit by u(0)": gradient,
              "Added by 25 steps of descent": example["added"].ravel()}  # fmt: skip
    for axes, (title, field) in zip(panels, fields.items(), strict=True):
        limit = float(np.max(np.abs(field)))
        own: Any = {"cmap": "viridis"} if "u at" in title else {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        image = axes.imshow(field.reshape(side, side).T, origin="lower", extent=(0, 1, 0, 1), **own)
        axes.plot(0.3, 0.6, "+", color="white" if "u at" in title else INK, markersize=10)
        axes.set(title=title, xticks=[0, 1], yticks=[0, 1])
        axes.grid(False)
        bar = figure.colorbar(image, ax=axes, shrink=0.8)
        bar.formatter.set_powerlimits((-3, 3))
    return figure


def hydrolysis(example: dict[str, Any]) -> Figure:
    """The pH with its equilibrium, the substances, and the sensitivities of the pH."""
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    sour, amounts, slopes = figure.subplots(1, 3)
    times, (ester, acid, pH) = example["TIMES"], (example[name] for name in ("ester", "acid", "pH"))
    left, end = example["rest"]
    rest: Any = {"color": INK, "linewidth": 1.0, "linestyle": (0, (5, 3))}
    sour.semilogx(times, pH, color=BLUE, linewidth=1.8, label="the DAE")
    sour.axhline(end, **rest, label="equilibrium, by fad.root")
    sour.set(title="pH", ylim=(4, 13.4))
    sour.legend(loc="upper right")
    whole = acid / (1.0 + example["ACID"] * 10.0**pH)
    for values, color, name in ((ester, RED, "ester"), (acid - whole, GREEN, "acid, charged"), (whole, BLUE, "whole")):
        amounts.semilogx(times, values, color=color, linewidth=1.8, label=name)
    amounts.axhline(left, **rest)
    amounts.set(title="Concentrations (mol/l)", ylim=(-0.004, 0.118))
    amounts.legend(loc="upper right", ncols=3, columnspacing=1.0, handlelength=1.4)
    slopes.semilogx(times, example["by_sodium"], color=INK, linewidth=1.8, label="amount of lye")
    for k, (name, color) in enumerate((("by protons", BLUE), ("by water", GREEN), ("by hydroxide", RED))):
        slopes.semilogx(times, example["by_rates"][:, k], color=color, linewidth=1.8, label=f"rate {name}")
    slopes.set(title="Derivatives of the pH by logarithms of")
    slopes.legend(loc="upper right")
    for axes in (sour, amounts, slopes):
        axes.set(xlabel="time (s)", xlim=(0.1, 1e12))
        axes.minorticks_off()
    return figure


PICTURES = {
    "adjoints": adjoints, "neural-ode": neural_ode, "partly-measured": partly_measured, "moon-landing": moon_landing,
    "ridge": ridge, "dispatch": dispatch, "diffusion-field": diffusion_field, "equilibrium": equilibrium,
    "robertson": robertson, "brusselator": brusselator, "hydrolysis": hydrolysis,
}  # fmt: skip


def draw(name: str, example: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Draw the picture of a page, whose examples have defined these names."""
    path = folder / f"{name}.png"
    with matplotlib.rc_context(STYLE):
        PICTURES[name](example).savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
    return path


def draw_demonstration(path: Path) -> Path:
    """Draw the fit of the demonstration."""
    from fastad.demo import fit, model, pictures

    found = fit.fit(fad.value_and_grad(model.misfit), model.START, lambda iteration, misfit: None)
    with matplotlib.rc_context(pictures.STYLE):
        figure = pictures.fit_picture(found, fit.uncertainty(found.x))
        figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or ["lynx-hare", *PICTURES]:
        if name == "lynx-hare":
            print(f"wrote {draw_demonstration(FOLDER.with_name('lynx-hare.png'))}")
            continue
        print(f"wrote {draw(name, ran(FOLDER / f'{name}.md'))}")
