"""The chart of the results: how many times faster than each peer, on a logarithmic axis."""
import textwrap
from pathlib import Path

from bench.workloads import BY_NAME

# One colour for each library, which can be distinguished with colour blindness too (Okabe & Ito).
COLOURS = {"JAX": "#0072B2", "PyTorch": "#D55E00", "CasADi, both prepared": "#009E73", "autograd": "#999999"}
CAPTION_WIDTH = 90  # characters that fit over the axes
PEERS = dict(zip(COLOURS, (("jax", "jax-numpy", "jax-rev"), ("torch",), ("casadi",), ("autograd",))))


def ratios(record: dict, work) -> dict[str, float]:
    """Peer's time over ours; for JAX the variant that the target names, else its fastest."""
    times = {name: figures["median"] for name, figures in record["times"].items()}
    named = {peer for target in work.targets for peer in target.peers}
    found = {}
    for library, names in PEERS.items():
        ours = times.get("fastad-prepared", times["fastad"]) if library.startswith("CasADi") else times["fastad"]
        chosen = [name for name in names if name in times and (name in named or not named.intersection(names))]
        if chosen:
            found[library] = min(times[name] for name in chosen) / ours
    return found


def draw(records: dict[str, dict], path: Path, caption: str) -> bool:
    """Write the chart. Returns False if there are no figures of fastad, or no matplotlib."""
    shown = [(BY_NAME[name], record) for name, record in records.items() if "fastad" in record["times"]]
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        return False
    if not shown:
        return False
    height, gap = 0.8, 0.8
    labels, top = [], 0.0
    bars: list[tuple[float, str, float]] = []
    targets = []
    for work, record in shown:
        found = ratios(record, work)
        start = top
        for library, ratio in found.items():
            bars.append((top, library, ratio))
            top += height
        labels.append(((start + top - height) / 2, work.title))
        factors = [target.factor for target in work.targets if target.factor and target.ours == "fastad"]
        if factors:
            rivals = {peer for target in work.targets for peer in target.peers}
            rows = [y for y, library, _ in bars if y >= start and rivals.intersection(PEERS[library])]
            targets.append((factors[0], min(rows, default=start) - height / 2, max(rows, default=start) + height / 2))
        top += gap
    figure, axes = plt.subplots(figsize=(10, 1.6 + 0.24 * top / height), layout="constrained")
    low = min([ratio for *_, ratio in bars] + [0.5])
    for library, colour in COLOURS.items():
        chosen = [(y, ratio) for y, name, ratio in bars if name == library]
        if chosen:
            ys, widths = zip(*chosen)
            axes.barh(ys, [w - 1 for w in widths], height * 0.92, left=1, color=colour, label=library)
    for y, _, ratio in bars:
        text = f"{ratio:,.0f}" if ratio >= 9.95 else f"{ratio:.2g}"
        side = 1 if ratio >= 1 else -1
        axes.annotate(text, (ratio, y), xytext=(4 * side, 0), textcoords="offset points", va="center", fontsize=8,
                      ha="left" if side > 0 else "right")  # fmt: skip
    for i, (factor, bottom, end) in enumerate(targets):
        axes.plot([factor, factor], [bottom, end], color="black", lw=2.5, solid_capstyle="butt",
                  label="target" if i == 0 else None)  # fmt: skip
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xscale("log")
    axes.set_xlim(low / 2, max([ratio for *_, ratio in bars] + [2.0]) * 4)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,g}×")
    axes.set_yticks([y for y, _ in labels], [label for _, label in labels])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("time of the peer / time of fastad (right of 1×: fastad is faster)")
    figure.suptitle("How many times faster fastad computes the same derivatives", fontsize=13, x=0.01, ha="left")
    axes.set_title(textwrap.fill(caption, CAPTION_WIDTH), fontsize=8, color="#555555", loc="left")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return True
