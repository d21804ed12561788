"""Who can run a workload: ours and the peers whose packages are installed."""
from bench import ours, peers
from bench.registry import REGISTRY, Contender, available
from bench.workloads import Workload

_ = (ours, peers)  # they register what they have; ours first, so that it leads every table


def of(work: Workload) -> list[Contender]:
    """The contenders of a workload whose packages are installed, ours first."""
    return [c for (name, _), c in REGISTRY.items() if name == work.name and available(c.package)]
