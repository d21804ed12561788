"""Measure the programs, print a table and write it into bench/RESULTS.md: `python -m bench.programs [name …]`."""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench import program_runs, programs
from bench.contenders import available
from bench.report import machine
from bench.targets import duration, table

HERE = Path(__file__).resolve().parent.parent
TITLE = "## Programs"
MEASURES = {"first": "first call", "steady": "steady call", "memory": "memory", "total": "memory with the import"}
IN_BYTES = ("memory", "total", "processes")
METHOD = """\
Programs in plain NumPy, [in `bench/programs`](programs), each in two processes of its own for each library, value and
gradient: first call after the imports (with an empty cache of native code; the sweeps are compiled, as
`python -m fastad warmup` leaves them, and Python's bytecode is there, as in an installed package), steady call (median
of the second half of {seconds:g} s of calls, two calls at least), and the highest resident memory of all of them above
that after the imports. What a library imports at its first call only is imported before that in the process in which
memory is measured: autograd imports all of itself at once, fastad and JAX do not. In brackets: the other's figure over
fastad's, so more than one is better for fastad. "Memory with the import" counts from before the import, all modules
included, and beside it stands what the processes took in which code was compiled for fastad: they end when nothing was
to be compiled for a few seconds. The last column of steady calls is fastad's over
NumPy's time for the program alone, in the same process. Values and gradients of all agree. "In place": the program
writes into arrays, which autograd and JAX cannot follow. "> {limit:g} s": the process was ended then. JAX is jitted,
with its data as constants. OpenBLAS has one thread (OPENBLAS_NUM_THREADS=1); JAX has threads of its own. CoDiPack, a
C++ library, has no package on PyPI or in Debian and was not at hand."""


def main(arguments=None) -> int:
    options = parse(arguments)
    contenders = tuple(name for name in program_runs.CONTENDERS if available(name))
    kept = HERE / "programs.json"
    records = json.loads(kept.read_text()) if kept.exists() and options.write else {}
    with tempfile.TemporaryDirectory() as cache:
        program_runs.keep_sweeps(cache, contenders)
        for name in options.names:
            load = os.getloadavg()[0]
            found = program_runs.compared(name, contenders, options.size, options.seconds, options.limit, cache)
            records[name] = {"figures": found, "load": load, "date": time.strftime("%Y-%m-%d")}
            print(line(name, found), flush=True)
            if options.write:
                kept.write_text(json.dumps(records, indent=1) + "\n")
    print(shown := section(records, options.seconds, options.limit))
    if options.write:
        write(HERE / "RESULTS.md", shown)
    return 0


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m bench.programs", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(programs.NAMES), help="default: all of them")
    parser.add_argument("--size", choices=("small", "full"), default="full", help="only full sizes are written")
    parser.add_argument("--seconds", type=float, default=3.0, help="of steady calls; default: %(default)s")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a process may take; default: %(default)s")
    parser.add_argument("--print", dest="write", action="store_false", help="write nothing")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in programs.NAMES:
            parser.error(f"there is no program {name}; known: {', '.join(programs.NAMES)}")
    options.write &= options.size == "full"
    return options


# ── the section ──────────────────────────────────────────────────────────────────────────────────────────────────
def line(name: str, found: dict) -> str:
    """One program, while one waits."""
    def figures(own):
        return own if isinstance(own, str) else ", ".join(known(key, own) for key in (*MEASURES, "primal"))

    return f"{name}: " + "; ".join(f"{who} {figures(own)}" for who, own in found.items())


def section(records: dict, seconds: float, limit: float) -> str:
    records = {name: records[name] for name in programs.NAMES if name in records}
    info = machine({})
    loads = [record["load"] for record in records.values()]
    versions = ", ".join(f"{name} {info['versions'][name]}" for name in ("numpy", "llvmlite", "autograd", "jax"))
    dates = sorted({record["date"] for record in records.values()})
    where = (f"{info['processor']}, {info['cores']} cores, Python {info['python']}; {versions}; "
             f"{' to '.join(sorted({dates[0], dates[-1]}))}, load average {min(loads):.1f} to {max(loads):.1f}. "
             "The machine was shared: ratios tell more than times.")  # fmt: skip
    found = {name: record["figures"] for name, record in records.items()}
    parts = [TITLE, METHOD.format(seconds=seconds, limit=limit), where, summary(found)]
    parts += [f"### {title[0].upper() + title[1:]}\n\n{measure_table(found, key)}" for key, title in MEASURES.items()]
    return "\n\n".join(parts) + "\n"


def measure_table(found: dict, key: str) -> str:
    others = [who for who in program_runs.CONTENDERS[1:] if any(who in figures for figures in found.values())]
    last = {"steady": ["over NumPy's own"], "total": ["fastad's compilers"]}.get(key, [])
    rows = []
    for name, figures in found.items():
        ours = figures["fastad"]
        row = [name, ours if isinstance(ours, str) else known(key, ours)]
        row += [beside(figures.get(who, "–"), ours, key) for who in others]
        more = {"steady": per_primal, "total": compilers}.get(key)
        rows.append(row + ([more(ours)] if more else []))
    return table(["program", "fastad", *others, *last], rows)


def beside(own, ours, key: str) -> str:
    if isinstance(own, str):
        return own
    ratio = "" if isinstance(ours, str) or key not in own or key not in ours else f" ({own[key] / ours[key]:.3g})"
    return known(key, own) + ratio


def per_primal(ours) -> str:
    return "–" if isinstance(ours, str) else f"{ours['steady'] / ours['primal']:.3g}"


def compilers(ours) -> str:
    return "–" if isinstance(ours, str) else known("processes", ours)


def known(key: str, own: dict) -> str:
    """A figure, if it was measured."""
    return quantity(key, own[key]) if key in own else "–"


def quantity(key: str, value: float) -> str:
    return f"{value / 1e6:.3g} MB" if key in IN_BYTES else duration(value)


def summary(found: dict) -> str:
    """Medians and worst cases of the ratios, and how many programs they are of."""
    lines = []
    for who in program_runs.CONTENDERS[1:]:
        both = [(name, f[who], f["fastad"]) for name, f in found.items()
                if not isinstance(f.get(who, ""), str) and not isinstance(f["fastad"], str)]  # fmt: skip
        for key, title in MEASURES.items():
            ratios = sorted((own[key] / ours[key], name) for name, own, ours in both if key in own and key in ours)
            if ratios:
                middle, (least, which) = statistics.median(r for r, _ in ratios), ratios[0]
                lines.append(f"- {title}, {who} over fastad, {len(ratios)} programs: median {middle:.3g}, "
                             f"least {least:.3g} ({which})")  # fmt: skip
    costs = sorted((f["fastad"]["steady"] / f["fastad"]["primal"], name) for name, f in found.items()
                   if not isinstance(f["fastad"], str))  # fmt: skip
    if costs:
        lines.append(f"- steady call over NumPy's own time: median {statistics.median(c for c, _ in costs):.3g}, most "
                     f"{costs[-1][0]:.3g} ({costs[-1][1]})")  # fmt: skip
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Replace the section of this title, or add it at the end."""
    head, _, rest = path.read_text().partition(f"\n{TITLE}\n")
    _, again, others = rest.partition("\n## ")
    path.write_text(head.rstrip("\n") + "\n\n" + text + ("\n## " + others if again else ""))


if __name__ == "__main__":
    sys.exit(main())
