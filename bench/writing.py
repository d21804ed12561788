"""RESULTS.md and its files, from the records."""
import json
from pathlib import Path

from bench import chart, loop_sections, targets
from bench.targets import table
from bench.workloads import ALL, BY_NAME

START = (("import", "`import fastad`", 1.0), ("first gradient", "first gradient of a saved function, new process", 0.1))
COLUMNS = ("fastad", "fastad-prepared", "fastad-sweep", "jax", "jax-numpy", "jax-rev", "torch", "casadi", "autograd")
METHOD = """\
Times are medians of interleaved rounds (A B C, C B A, …; {rounds} rounds of samples of about {sample:g} ms, fewer for
calls that take long), each after a warm-up of {warmup:g} s, garbage collector off. Every library runs in its own
process, with its default number of threads (OMP_WAIT_POLICY=passive for PyTorch, whose spinning threads are slow on a
busy machine); while one is timed the others sleep. Before timing, all derivatives are compared: the largest relative
difference was {difference:.0e}.

`fastad`: NumPy in and out, native code; `fastad-prepared`: buffers bound once; `fastad-sweep`: the numba sweeps,
prepared. `jax`: jitted, x64, its own device arrays, block_until_ready; `jax-numpy`: NumPy in and out for what is
differentiated; `jax` is jacfwd for the Jacobian and `jax-rev` jacrev. `torch`: eager autograd, float64 (torch.func for
Jacobian and Hessian). `casadi`: SX virtual machine with prepared buffers, no C compiler. `autograd`: NumPy, traced at
every call; its primal is plain NumPy."""


def write(results: dict, folder: Path) -> None:
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    records = {work.name: results["speed"][work.name] for work in ALL if work.name in results["speed"]}
    info = results["machine"]
    caption = f"{info['processor']}, {info['cores']} cores; medians, {info['date']}; " + ", ".join(
        f"{name} {info['versions'][name]}" for name in ("jax", "torch", "casadi", "autograd"))  # fmt: skip
    drawn = chart.draw(records, folder / "results.png", caption)
    path = folder / "RESULTS.md"
    path.write_text(markdown(results, records, drawn) + others(path))
    print(f"written: {folder / 'RESULTS.md'}")


def others(path: Path) -> str:
    """The section of ODEs, which `bench.ode_report` measures."""
    _, head, text = (path.read_text() if path.exists() else "").partition("\n## ODEs\n")
    return head + text


def markdown(results: dict, records: dict, drawn: bool) -> str:
    info = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in info["versions"].items())
    parts = ["# Results", "Written by `python -m bench.report`; raw figures in `results.json`.",
             f"{info['processor']}, {info['cores']} cores, {info['system']}, Python {info['python']}; {versions}. "
             f"Measured {when(records)}.", method(results, records)]  # fmt: skip
    if drawn:
        parts.append("![times faster than each peer](results.png)")
    parts += ["## Targets", target_table(results, records), "## Times", time_table(records)]
    notes = [f"- {work.title}: {work.notes}" for work in ALL if work.notes and work.name in records]
    parts += ["\n".join(notes)] if notes else []
    for name, section in SECTIONS.items():
        if name in results:
            parts += [f"## {section.__doc__}", f"Measured {results[name]['date']}.", section(results[name]["figures"])]
    return "\n\n".join(parts) + "\n"


def when(records) -> str:
    """The dates of the records, and how busy the machine was."""
    dates = sorted({record["date"][:10] for record in records.values()})
    found = [record["load"] for record in records.values()] or [0.0]
    return f"{' to '.join(sorted({dates[0], dates[-1]}))}, load average {min(found):.1f} to {max(found):.1f}"


def method(results, records) -> str:
    effort = results["effort"]
    differences = [size for record in records.values() for size in record["differences"].values()]
    return METHOD.format(rounds=effort["rounds"], sample=1e3 * effort["sample"], warmup=effort["warmup"],
                         difference=max(differences, default=0.0))  # fmt: skip


def target_table(results, records) -> str:
    found = [verdict for name, record in records.items() for verdict in targets.verdicts(BY_NAME[name], record)]
    found += other_verdicts(results)
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [[v.work, v.ours, v.theirs, v.target, words[v.reached]] for v in found]
    return table(["work", "fastad", "peer", "target", "reached"], rows)


def other_verdicts(results):
    if "start" in results:
        figures = results["start"]["figures"]
        for key, title, limit in START:
            yield targets.Verdict(title, targets.duration(figures[key]), "", f"≤ {limit:g} s", figures[key] <= limit)
    if "scaling" in results:
        largest = results["scaling"]["figures"][-1]
        per_row = largest["table bytes"] / largest["table rows"]
        title = f"table, bytes a row ({largest['rows']} rows)"
        yield targets.Verdict(title, f"{per_row:.1f}", "", "≤ 24", per_row <= 24)
        cost = 1e6 * largest["record"] / largest["rows"]
        yield targets.Verdict("recording, a row", f"{cost:.1f} µs", "", "≤ 10 µs", cost <= 10)
    for figures in results.get("memory", {}).get("figures", []):
        ratio = figures["measured"] / figures["predicted"]
        title = f"memory of reverse mode, {BY_NAME[figures['workload']].title}, {figures['tier']}"
        shown = f"{figures['measured'] / 1e6:.2f} MB, predicted {figures['predicted'] / 1e6:.2f}"
        yield targets.Verdict(title, shown, "", "within 10%", abs(ratio - 1) <= 0.1)
    yield from loop_sections.verdicts(results)


def time_table(records) -> str:
    columns = [name for name in COLUMNS if any(name in record["times"] for record in records.values())]
    rows = []
    for record in records.values():
        times = record["times"]
        rows.append([record["title"], *(cell(times, name) for name in columns)])
    note = "Medians; in brackets the fastest round; after the slash the time of the function alone, where measured."
    return note + "\n\n" + table(["work", *columns], rows)


def cell(times, name) -> str:
    if name not in times:
        return "–"
    text = f"{targets.duration(times[name]['median'])} ({targets.duration(times[name]['best'])})"
    primal = times.get(f"{name}/primal")
    return text + (f" / {targets.duration(primal['median'])}" if primal else "")


def scaling_section(figures) -> str:
    """Random scalar programs by size"""
    head = ["rows", "recording", "µs a row", "first gradient: sweeps", "native", "native, µs a row",
            "sweeps, ns a row: value", "value and gradient", "native, ns a row: value", "value and gradient",
            "bytes a row"]  # fmt: skip
    note = "Each size in a new process with an empty cache of native code. First gradients include recording."
    return note + "\n\n" + table(head, [scaling_row(f) for f in figures])


def scaling_row(f: dict) -> list[str]:
    kinds = [f"{tier} {what} ns" for tier in ("sweep", "native") for what in ("value", "value and gradient")]
    firsts = [targets.duration(f[f"{tier} first gradient"]) for tier in ("sweep", "native")]
    per_row = [1e6 * f[key] / f["rows"] for key in ("record", "native first gradient")]
    return [str(f["rows"]), targets.duration(f["record"]), f"{per_row[0]:.2g}", *firsts, f"{per_row[1]:.3g}",
            *(f"{f[kind]:.2f}" for kind in kinds), f"{f['table bytes'] / f['table rows']:.1f}"]  # fmt: skip


def memory_section(figures) -> str:
    """Memory"""
    head = ["work", "tier", "measured, MB", "`table.cost()`, MB", "peak RSS of the process, MB"]
    note = "Peak of the buffers of a value and gradient in reverse mode (tracemalloc, preparation included)."
    rows = [[BY_NAME[f["workload"]].title, f["tier"], f"{f['measured'] / 1e6:.3f}", f"{f['predicted'] / 1e6:.3f}",
             f"{f['peak RSS'] / 1e6:.0f}"] for f in figures]  # fmt: skip
    return note + "\n\n" + table(head, rows)


def start_section(figures) -> str:
    """Start"""
    keys = [("numpy", "`import numpy`"), *((key, title) for key, title, _ in START)]
    note = f"Medians over {figures['repeats']} new processes, caches warm."
    return note + "\n\n" + table(["step", "time"], [[title, targets.duration(figures[key])] for key, title in keys])


SECTIONS = {"scaling": scaling_section, "memory": memory_section, "start": start_section} | loop_sections.SECTIONS
