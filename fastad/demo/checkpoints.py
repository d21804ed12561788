"""`python -m fastad profile-checkpoints`: the gradient of a flow with respect to its initial state, by schedule."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastad.checks.checkpoints import CheckpointProfile, profile
from fastad.control.loops import fori_loop
from fastad.demo.terminal import Progress, bold
from fastad.schedules.base import Schedule
from fastad.schedules.nested import Periodic, Revolve
from fastad.schedules.online import Online
from fastad.schedules.tiered import Multistage

DRAWN_STEPS = 60
VISCOSITY, COURANT = 0.2, 0.3


def energy(u: np.ndarray, steps: int) -> float:
    """The energy of a flow after `steps` upwind steps of Burgers' equation with periodic boundary conditions."""

    def step(_: int, u: np.ndarray) -> np.ndarray:
        left, right = np.roll(u, 1), np.roll(u, -1)
        return u - COURANT * u * (u - left) + VISCOSITY * (left - 2 * u + right)

    return np.mean(np.square(fori_loop(0, steps, step, u)))


def main(folder: Path, steps: int, points: int, device: str | None = None) -> None:
    """Profile the schedules for this number of steps and grid points, and write pictures to the folder."""
    start = 1.0 + 0.5 * np.sin(np.linspace(0.0, 2.0 * np.pi, points, endpoint=False))
    progress = Progress(2)
    try:
        title = f"Burgers' equation, {points:,} points, {steps:,} steps: gradient with respect to the initial state"
        progress.print(bold(title))
        progress.stage("running all schedules")
        found = profile(lambda u: energy(u, steps), start, device=device)
        progress.print(f"{found}\n")
        progress.stage("drawing")
        _draw(folder, found, progress)
    finally:
        progress.close()


def _draw(folder: Path, found: CheckpointProfile, progress: Progress) -> None:
    try:
        for path in _pictures(folder, found):
            progress.print(f"Picture: {path}")
    except ImportError:
        progress.print("No pictures, because matplotlib is not installed: python -m pip install matplotlib")


def _pictures(folder: Path, found: CheckpointProfile) -> Iterator[Path]:
    from fastad.plots.schedules import draw

    folder.mkdir(parents=True, exist_ok=True)
    found.plot(folder / "memory-against-time.png")
    yield folder / "memory-against-time.png"
    drawn: list[Schedule] = [Revolve(4), Online(4), Periodic(8), Multistage(2, 4)]
    for schedule in drawn:
        path = folder / f"schedule-{type(schedule).__name__.lower()}.png"
        draw(schedule, DRAWN_STEPS, path)
        yield path
