"""Verdicts: whether measured figures reach the targets."""
from dataclasses import dataclass

from bench.workloads import Target, Workload


@dataclass(frozen=True)
class Verdict:
    work: str
    ours: str
    theirs: str
    target: str
    reached: bool | None  # None: not measured


def verdicts(work: Workload, record: dict) -> list[Verdict]:
    times = {name: figures["median"] for name, figures in record["times"].items()}
    return [verdict for target in work.targets for verdict in judge(target, work, times)]


def judge(target: Target, work: Workload, times: dict[str, float]):
    ours = times.get(target.ours)
    shown = "–" if ours is None else duration(ours)
    name = work.title + {"fastad": "", "fastad-prepared": ", prepared", "fastad-sweep": ", sweeps"}[target.ours]
    if target.factor is not None:
        wanted = "not slower" if target.factor == 1 else f"≥ {target.factor:g}× faster"
        rivals = {peer: times[peer] for peer in target.peers if peer in times}
        if rivals:
            peer = min(rivals, key=rivals.__getitem__)
            ratio = None if ours is None else rivals[peer] / ours
            theirs = f"{duration(rivals[peer])} ({peer})" + ("" if ratio is None else f", ratio {ratio:.2f}")
            reached = None if ratio is None else ratio >= target.factor
            yield Verdict(name, shown, theirs, wanted, reached)
        else:
            yield Verdict(name, shown, "–", wanted, None)
    if target.seconds is not None:
        reached = None if ours is None else ours <= target.seconds
        yield Verdict(name, shown, "", f"≤ {duration(target.seconds)}", reached)
    primal = times.get(f"{target.ours}/primal")
    if target.per_primal is not None:
        ratio = None if None in (ours, primal) else ours / primal
        reached = None if ratio is None else ratio <= target.per_primal
        yield Verdict(f"{name}, gradient/primal", "–" if ratio is None else f"{ratio:.2f}",
                      best_ratio(times), f"≤ {target.per_primal:g}", reached)  # fmt: skip
    if target.ns_per_row is not None:
        forward = reverse = None
        if None not in (ours, primal):
            forward, reverse = 1e9 * primal / work.rows, 1e9 * (ours - primal) / work.rows
        reached = None if forward is None else max(forward, reverse) <= target.ns_per_row
        both = "–" if forward is None else f"{forward:.2f} forward, {reverse:.2f} reverse ns a row"
        theirs = f"{1e9 * times['casadi'] / work.rows:.1f} ns both (casadi)" if "casadi" in times else ""
        yield Verdict(name, both, theirs, f"≤ {target.ns_per_row:g} ns a row each", reached)


def best_ratio(times: dict[str, float]) -> str:
    """The peers' gradient/primal."""
    pairs = [(name, times[name], times.get(f"{name}/primal")) for name in ("jax", "torch", "casadi") if name in times]
    return ", ".join(f"{gradient / primal:.1f} ({name})" for name, gradient, primal in pairs if primal)


def duration(seconds: float) -> str:
    """A duration with three digits and a unit."""
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
    factor, unit = next((pair for pair in units if seconds >= 0.9995 * pair[0]), units[-1])
    value = seconds / factor
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
