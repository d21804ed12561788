"""Measure everything and write bench/RESULTS.md, results.json and results.png: `python -m bench.report`.

Records of earlier runs in results.json, each with its date, are kept for everything that this run does not measure
(`--only`).
"""
import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if __package__ in (None, ""):  # python bench/report.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import isolated, measure, targets
from bench.crew import Crew
from bench.workloads import ALL, BY_NAME, SMALL, size
from bench.writing import COLUMNS, write

HERE = Path(__file__).resolve().parent
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "jax", "torch", "casadi", "autograd")
OTHERS = ("scaling", "memory", "start", "revolve", "leapfrog", "planning")
LONG = size(1_000_000, 1_000)  # steps of a loop
MEMORY = ("sin-exp", "mlp", "gmm", "program-1e5")


def main(arguments=None) -> int:
    options = parse(arguments)
    path = options.output / "results.json"
    results = json.loads(path.read_text()) if path.exists() and not options.fresh else {}
    results.setdefault("speed", {})
    chosen = [work for work in ALL if wanted(work.name, options.only)]
    effort = measure.Effort(rounds=options.rounds) if options.rounds else measure.Effort()
    with Crew() as crew:
        for work in chosen:
            record = measure.speed(work, crew, effort, tuple(options.contenders))
            keep_others(record, results["speed"].get(work.name), options.contenders)
            results["speed"][work.name] = record
            print(line(work, record), flush=True)
    for name in OTHERS:
        if wanted(name, options.only):
            try:
                results[name] = {"figures": OTHER[name](), "date": time.strftime("%Y-%m-%d %H:%M")}
            except (RuntimeError, ImportError) as error:
                print(f"{name}: not measured: {error}", file=sys.stderr)
    results["machine"] = machine(results.get("machine", {}).get("versions", {}))
    results["effort"] = vars(effort)
    write(results, options.output)
    return 0


def keep_others(record: dict, older: dict | None, contenders: list[str]) -> None:
    """With --contenders, keep the others' earlier figures of the same workload beside the new ones."""
    if contenders and older and older["title"] == record["title"]:
        for part in ("times", "differences"):
            kept = {key: old for key, old in older[part].items() if key.split("/")[0] not in contenders}
            record[part] = kept | record[part]


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help=f"workloads by name or its beginning, or {', '.join(OTHERS)}; known: {', '.join(BY_NAME)}")
    parser.add_argument("--contenders", nargs="+", default=[], choices=COLUMNS, metavar="NAME",
                        help=f"measure these only: {', '.join(COLUMNS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, help=f"rounds (default {measure.Effort().rounds})")
    parser.add_argument("--fresh", action="store_true", help="forget the records of earlier runs")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write to (default bench/)")
    options = parser.parse_args(arguments)
    for name in options.only:
        if not any(known.startswith(name) for known in (*BY_NAME, *OTHERS)):
            parser.error(f"--only {name}: no workload's name begins so; known: {', '.join((*BY_NAME, *OTHERS))}")
    if SMALL and options.output == HERE:
        parser.error("FASTAD_BENCH_SMALL is set: its figures must not overwrite those in bench/; give --output")
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def wanted(name: str, only: list[str]) -> bool:
    return not only or any(name.startswith(begin) for begin in only)


OTHER = {
    "scaling": lambda: isolated.scaling((100, 200) if SMALL else (100, 1_000, 10_000, 100_000)),
    "memory": lambda: [isolated.run("memory", name=name, tier=tier) for name in MEMORY for tier in ("sweep", "native")],
    "start": lambda: isolated.start(size(7, 1)),
    "revolve": lambda: isolated.run("loops.revolve", steps=LONG, snapshots=size(100, 5)),
    "leapfrog": lambda: isolated.run("loops.leapfrog", steps=LONG),
    "planning": lambda: isolated.run("loops.planning", steps=LONG),
}


def machine(earlier: dict[str, str]) -> dict:
    """What this machine is. A peer that is not installed has the version that its earlier figures are of."""

    def found(package):
        try:
            return version(package)
        except PackageNotFoundError:
            return earlier.get(package, "not installed")

    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = [row.split(":", 1) for row in cpuinfo.read_text().splitlines() if ":" in row]
        model = next((value.strip() for key, value in pairs if key.strip() == "model name"), model)
    system = " ".join((platform.system(), platform.machine(), *platform.libc_ver()))
    return {"processor": model, "cores": os.cpu_count(), "system": system,
            "python": platform.python_version(), "date": time.strftime("%Y-%m-%d"),
            "versions": {package: found(package) for package in PACKAGES}}  # fmt: skip


def line(work, record) -> str:
    times = ", ".join(f"{name} {targets.duration(f['median'])}" for name, f in record["times"].items())
    failed = f"; failed: {', '.join(record['failed'])}" if record["failed"] else ""
    return f"{work.name}: {times}{failed}"


if __name__ == "__main__":
    sys.exit(main())
