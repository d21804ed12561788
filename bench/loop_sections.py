"""The sections of RESULTS.md about long loops: verdicts on their targets, and tables."""
from collections.abc import Iterator

from bench.targets import Verdict, duration, table


def size(number: float) -> str:
    """A number of bytes with three digits and a unit."""
    factor, unit = next((pair for pair in ((1e6, "MB"), (1e3, "kB")) if number >= pair[0]), (1, "B"))
    return f"{number / factor:.3g} {unit}"


def verdicts(results: dict) -> Iterator[Verdict]:
    for name, found in JUDGES.items():
        if name in results:
            yield from found(results[name]["figures"])


# ---- schedules ----------------------------------------------------------------------------------------------------
def judge_revolve(figures: dict) -> Iterator[Verdict]:
    own = figures["schedules"][0]
    title = f"gradient of {figures['steps']:,} steps, {own['schedule']}"
    ratio = own["seconds"] / own["predicted seconds"]
    shown = f"{duration(own['seconds'])}, predicted {duration(own['predicted seconds'])}, ratio {ratio:.2f}"
    yield Verdict(title, shown, "", "time ≤ 1.15 × predicted", ratio <= 1.15)
    shown = f"{size(own['bytes'])}, predicted {size(own['predicted bytes'])}"
    near = abs(own["bytes"] / own["predicted bytes"] - 1) <= 0.05
    yield Verdict(f"{title}, memory of its kernels", shown, "", "within 5%", near)
    equal = all(s["equal"] for s in figures["schedules"])
    yield Verdict(f"{title}, beside StoreAll", "equal" if equal else "different", "", "bitwise equal", equal)


def revolve_section(figures) -> str:
    """Gradients of a long loop by schedule"""
    step, adjoint = duration(figures["step"]), duration(figures["adjoint step"])
    note = (
        f"{figures['steps']:,} steps of a map of ten numbers; a step takes {step} (in the function itself), an adjoint "
        f"step {adjoint} (StoreAll's gradient less the function, by step). Predicted time: steps × step + adjoint "
        "steps × adjoint step. Predicted memory: of the states; kernels: all that the gradient's kernels hold at once, "
        "planner and vectors of a step included; RSS: by how much the process's peak grows when the gradient is "
        "recorded, compiled from the cache and called."
    )
    head = ["schedule", "steps", "time", "predicted", "ratio", "kernels", "predicted", "RSS"]
    sizes = ("bytes", "predicted bytes", "resident")
    rows = [
        [s["schedule"], f"{s['steps']:,}", duration(s["seconds"]), duration(s["predicted seconds"]),
         f"{s['seconds'] / s['predicted seconds']:.2f}", *(size(s[key]) for key in sizes)]
        for s in figures["schedules"]
    ]  # fmt: skip
    return note + "\n\n" + table(head, rows)


# ---- invertible steps ---------------------------------------------------------------------------------------------
def judge_leapfrog(figures: dict) -> Iterator[Verdict]:
    title, held = f"invertible leapfrog, {figures['steps']:,} steps, gradient", figures["bytes"]
    difference = figures["difference"]
    yield Verdict(f"{title}, from StoreAll's", f"{difference:.0e} relative", "", "≤ 1e-8", difference <= 1e-8)
    few, many = held["inverse, a tenth of the steps"], held["inverse"]
    shown = f"{size(many)}; {size(few)} for a tenth of the steps"
    yield Verdict(f"{title}, memory", shown, f"{size(held['StoreAll'])} (StoreAll)", "O(1)", few == many)


def leapfrog_section(figures) -> str:
    """Gradient of an invertible loop"""
    seconds, held = figures["seconds"], figures["bytes"]
    value = duration(seconds["value"])
    note = f"{figures['steps']:,} leapfrog steps of two coupled pendulums; the function takes {value}."
    names = {"inverse": "going back by the inverse", "StoreAll": "all states stored"}
    rows = [[title, duration(seconds[name]), size(held[name])] for name, title in names.items()]
    return note + "\n\n" + table(["gradient", "time", "memory"], rows)


# ---- planning -----------------------------------------------------------------------------------------------------
def judge_planning(figures: list[dict]) -> Iterator[Verdict]:
    for f in figures:
        title = f"planning {f['steps']:,} steps, {f['schedule']}"
        yield Verdict(title, duration(f["seconds"]), "", "≤ 0.1 s", f["seconds"] <= 0.1)


def planning_section(figures) -> str:
    """Planning"""
    note = "All actions, made in pieces as the drivers take them; what Multistage plans beforehand included."
    rows = [[f["schedule"], f"{f['steps']:,}", f"{f['actions']:,}", duration(f["seconds"])] for f in figures]
    return note + "\n\n" + table(["schedule", "steps", "actions", "time"], rows)


JUDGES = {"revolve": judge_revolve, "leapfrog": judge_leapfrog, "planning": judge_planning}
SECTIONS = {"revolve": revolve_section, "leapfrog": leapfrog_section, "planning": planning_section}
