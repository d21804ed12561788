"""The command line: `python -m fastad demo | profile-checkpoints | warmup | info`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastad.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = parser().parse_args(arguments)
    return int(options.command(options))


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m fastad",
        description="Automatic differentiation of plain NumPy code.",
        epilog="COMMAND --help describes a command and its options.",
    )
    top.add_argument("--version", action="version", version=f"fastad {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = _command(commands, "demo", _demo, "calibrate an ODE to real data, with exact gradients", (
        "Calibrates the Lotka-Volterra model to the numbers of hare and lynx pelts of 1900-1920: an ODE in NumPy, "
        "solved with adaptive steps, least squares, BFGS with exact gradients, and the uncertainty from the Hessian. "
        "Prints times, compares the gradient with finite differences, and draws the fit (if matplotlib is installed). "
        "Takes less than a minute, with the one-time compilation."
    ))  # fmt: skip
    demo.add_argument(
        "--folder", type=Path, default=Path("fastad-demo"), help="where the pictures go (default: %(default)s)"
    )
    checkpoints = _command(commands, "profile-checkpoints", _profile_checkpoints, "measure checkpoint schedules", (
        "Computes the gradient of a flow (Burgers' equation) with respect to its initial state under several "
        "checkpoint schedules. Prints steps, memory and time of each, predicted and measured, and draws the schedules "
        "and memory against time beside the optimum (if matplotlib is installed)."
    ))  # fmt: skip
    checkpoints.add_argument(
        "--folder", type=Path, default=Path("fastad-checkpoints"), help="where pictures go (default: %(default)s)"
    )
    checkpoints.add_argument("--steps", type=_positive, default=10_000, metavar="N", help="(default: %(default)s)")
    checkpoints.add_argument(
        "--points", type=_positive, default=100, metavar="N", help="numbers in a state (default: %(default)s)"
    )
    checkpoints.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: 10,000 gradients at once on a GPU"
    )
    _command(commands, "warmup", _warmup, "compile sweeps and kernels now, so that no later call waits", (
        "Compiles the sweeps, the kernels that native code calls and the drivers of loops for this machine, and keeps "
        "them in the cache folder. Otherwise the first gradient compiles what it needs."
    ))  # fmt: skip
    _command(commands, "info", _info, "show versions, processor, libraries, cache and threads", (
        "Shows what fastad finds on this machine. Please include it in bug reports."
    ))  # fmt: skip
    return top


def _command(commands: Any, name: str, function: Any, summary: str, description: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=description)
    found.set_defaults(command=function)
    return found


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _demo(options: argparse.Namespace) -> int:
    from fastad.demo import run

    run.main(options.folder)
    return 0


def _profile_checkpoints(options: argparse.Namespace) -> int:
    from fastad.demo import checkpoints
    from fastad.execution.cuda.device import what_is_missing

    if options.device == "cuda" and (missing := what_is_missing()) is not None:
        print(f"No GPU can be used: {missing}", file=sys.stderr)
        return 1
    checkpoints.main(options.folder, options.steps, options.points, options.device)
    return 0


def _warmup(options: argparse.Namespace) -> int:
    from fastad.demo.measure import seconds
    from fastad.demo.terminal import Progress, duration
    from fastad.execution.composites import drivers
    from fastad.execution.machine import cache, exported
    from fastad.execution.sweeps import kernel as sweeps

    progress = Progress(len(exported.entry_names()) + len(drivers.driver_names()) + 3)

    def report(what: str, fraction: float) -> None:
        if fraction < 1.0:
            progress.stage(what)

    try:
        taken = seconds(lambda: sweeps.warmup(report, kernels=True))
    finally:
        progress.close()
    print(f"Ready after {duration(taken)}; kept in {cache.folder()}")
    return 0


def _info(options: argparse.Namespace) -> int:
    from fastad.checks.machine import report

    print("\n".join(report()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
