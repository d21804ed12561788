"""How long it takes to plan a loop's checkpoints: all actions of a million steps, written in pieces."""
import pytest

from bench import contenders, isolated
from bench.workloads import SMALL

pytestmark = pytest.mark.skipif(not contenders.available("fastad"), reason="fastad is not installed")

STEPS = 1_000 if SMALL else 1_000_000
PLANS = {
    "StoreAll": (), "Revolve-3": (3,), "Revolve-10": (10,), "Revolve-100": (100,), "Periodic-1000": (1000,),
    "Online-100": (100,),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_planning(benchmark, name):
    import fastad as fad
    from fastad.schedules.base import surveyed

    schedule = getattr(fad.checkpoint, name.partition("-")[0])(*PLANS[name])
    steps, slots, *_ = benchmark(lambda: surveyed(schedule.state(STEPS), STEPS))
    assert (steps, slots) == (schedule.predicted_steps(STEPS), schedule.slots(STEPS)[0])
    benchmark.extra_info["steps"] = steps


@pytest.mark.parametrize("steps", [100, 1_000] if SMALL else [1_000, 10_000, 100_000])
def test_planning_two_tiers(benchmark, steps):
    import fastad as fad
    from fastad.schedules import tiered

    schedule = fad.checkpoint.Multistage(10, 20)

    def plan():
        tiered._listed.cache_clear()
        return schedule.state(steps)

    benchmark.pedantic(plan, rounds=3, warmup_rounds=1)
    benchmark.extra_info["cost"] = schedule.predicted_cost(steps)


TASKS = {"revolve": {"snapshots": 5 if SMALL else 100}, "leapfrog": {}, "planning": {}}


@pytest.mark.parametrize("task", TASKS)
def test_long_loop(benchmark, task):
    """Gradients under several schedules and by an inverse equal those of StoreAll; each is timed in a new process."""
    arguments = {"steps": STEPS} | TASKS[task]
    figures = benchmark.pedantic(isolated.run, (f"loops.{task}",), arguments, rounds=1)
    benchmark.extra_info["figures"] = figures
    judged = {
        "revolve": lambda: all(s["equal"] for s in figures["schedules"]),
        "leapfrog": lambda: figures["difference"] <= 1e-8,
        "planning": lambda: all(f["actions"] > 0 for f in figures),
    }
    assert judged[task](), figures
