"""Interleaved measurement of one workload: A B C, C B A, … with medians over the rounds."""
import os
import time
from dataclasses import dataclass

from bench import agreement, contenders, timing
from bench.crew import Crew
from bench.workloads import SMALL, Workload


@dataclass(frozen=True)
class Effort:
    """How long to measure. A contender that needs more than `budget / rounds` for a sample gets fewer rounds, but at
    least three."""

    rounds: int = 3 if SMALL else 15
    sample: float = 0.002 if SMALL else 0.05  # seconds
    warmup: float = 0.0 if SMALL else 0.3
    budget: float = 0.2 if SMALL else 8.0  # seconds a contender
    pause: float = 0.0 if SMALL else 0.01  # until the threads of the other workers sleep


def speed(work: Workload, crew: Crew, effort: Effort, only: tuple[str, ...] = ()) -> dict:
    """All contenders' times for a workload: {"times": {"name" or "name/primal": figures}, "differences", "failed"}."""
    results, first, failed = {}, {}, {}
    packages = {}
    for chosen in contenders.of(work):
        if only and chosen.name not in only:
            continue
        for what in (work.what, *(("primal",) if work.primal and chosen.primal else ())):
            key = (chosen.name, what)
            try:
                results[key], first[key] = crew[chosen.package].ask("prepare", work.name, *key)
                packages[key] = chosen.package
            except RuntimeError as error:
                failed[label(key)] = str(error)
    differences = compare(work, results)
    if wrong := {name: size for name, size in differences.items() if not size <= agreement.TOLERANCE}:
        raise AssertionError(f"{work.name}: results differ from the reference's: {wrong}")
    samples, counts = rounds(crew, packages, effort)
    for worker in set(packages.values()):
        crew[worker].ask("forget")
    return {
        "title": work.title, "rows": work.rows, "what": work.what, "date": time.strftime("%Y-%m-%d %H:%M"),
        "load": os.getloadavg()[0], "differences": differences, "failed": failed,
        "times": {label(key): timing.summary(samples[key], counts[key], first[key]) for key in samples},
    }


def label(key) -> str:
    return f"{key[0]}/primal" if key[1] == "primal" else key[0]


def compare(work: Workload, results: dict) -> dict[str, float]:
    """Relative differences of every contender's derivative from the last contender's."""
    derivatives = {name: result for (name, what), result in results.items() if what == work.what}
    if not derivatives:
        return {}
    reference = list(derivatives.values())[-1]
    return {name: agreement.relative_difference(result, reference) for name, result in derivatives.items()}


def rounds(crew: Crew, packages: dict, effort: Effort):
    settings = (effort.sample, effort.warmup)
    counts = {key: crew[package].ask("calibrate", key, *settings) for key, package in packages.items()}
    samples: dict = {key: [] for key in packages}
    spent = dict.fromkeys(packages, 0.0)
    for turn in range(effort.rounds):
        for key in list(packages)[:: 1 if turn % 2 == 0 else -1]:
            if turn >= 3 and spent[key] > effort.budget:
                continue
            time.sleep(effort.pause)
            seconds = crew[packages[key]].ask("sample", key, counts[key])
            samples[key].append(seconds)
            spent[key] += seconds * counts[key]
    return samples, counts
