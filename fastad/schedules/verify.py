"""The symbolic executor: runs a schedule on the numbers of states instead of the states, to prove that it is valid."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fastad.errors import ScheduleError
from fastad.schedules.actions import Action, Code
from fastad.schedules.base import Schedule, count_of, steps_of


@dataclass
class Verified:
    """What a valid schedule does, in numbers."""

    steps: int = 0  # steps run forward
    slots: int = 0  # one more than the highest slot used
    writes: int = 0  # to slots on disk
    reads: int = 0  # from slots on disk
    repetitions: list[int] = field(default_factory=list, repr=False)  # how often each step is run forward, by step


def verify(actions: Schedule | Iterable[Action], n_steps: int, memory: int | None = None, disk: int = 0) -> Verified:
    """Prove that actions (those of a schedule, or any others) are valid for a loop of n_steps steps, and count them.

    Valid means:
    1. the adjoint of every step is taken once, from the last step to the first;
    2. each action finds the state that it needs, as the current one or in its slot;
    3. no state is overwritten while it is needed;
    4. every slot is below memory + disk (memory=None: any slot).

    Raises ScheduleError, which names the first action that breaks a rule.

    >>> from fastad.schedules.nested import Revolve
    >>> found = verify(Revolve(3), 10)
    >>> found.steps, found.slots, max(found.repetitions)
    (15, 3, 2)
    """
    n = steps_of(n_steps)
    if isinstance(actions, Schedule):
        if memory is None:
            memory, disk = actions.slots(n)
        actions = actions.actions(n)
    run = _Execution(n, memory, count_of(disk, "disk", 0))
    for number, action in enumerate(actions):
        try:
            run.do(action)
        except ScheduleError as error:
            raise ScheduleError(f"action {number}, {action!r}: {error}") from None
    if run.left:
        raise ScheduleError(f"after the last action the adjoints of {run.left} of {n} steps are missing")
    return run.found


class _Execution:
    """The state of an execution: the current state, the states in slots, and the number of adjoints left."""

    def __init__(self, n: int, memory: int | None, disk: int) -> None:
        self.n, self.memory, self.disk = n, memory, disk
        self.current: int | None = 0
        self.stored: dict[int, int] = {}
        self.left = n
        self.found = Verified(repetitions=[0] * n)

    def do(self, action: Action) -> None:
        code, start, stop, slot = action
        if code in (Code.ADVANCE, Code.REVERSE):
            _require(0 <= start < stop <= self.n, f"it must name at least one of the steps 0..{self.n - 1}")
        else:
            _require(start == stop, "start and stop must be the same state")
        getattr(self, Code(code).name.lower())(start, stop, slot)

    def advance(self, start: int, stop: int, slot: int) -> None:
        self._at(start)
        for k in range(start, stop):
            if slot >= 0:
                self._put(k, slot + k - start)
            self.found.repetitions[k] += 1
        self.found.steps += stop - start
        self.current = stop

    def store(self, start: int, stop: int, slot: int) -> None:
        self._at(start)
        self._put(start, slot)

    def load(self, start: int, stop: int, slot: int) -> None:
        self._get(start, slot)
        self.current = start

    def discard(self, start: int, stop: int, slot: int) -> None:
        _require(self.stored.get(slot) == start, f"slot {slot} holds {self._holds(slot)}")
        del self.stored[slot]

    def reverse(self, start: int, stop: int, slot: int) -> None:
        _require(stop == self.left, f"the next adjoint due is that of step {self.left - 1}")
        if slot >= 0:
            for k in range(start, stop):
                self._get(k, slot + k - start)
        else:
            _require(stop == start + 1, "adjoints of several steps need several states: name their slots")
            self._at(start)
        self.left, self.current = start, None

    def restart(self, start: int, stop: int, slot: int) -> None:
        _require(start == 0, "only the initial state is kept without a slot")
        self.current = 0

    def _at(self, state: int) -> None:
        _require(self.current == state, f"the current state is {_name(self.current)}")

    def _put(self, state: int, slot: int) -> None:
        if self.memory is not None:
            _require(0 <= slot < self.memory + self.disk, f"there are slots 0..{self.memory + self.disk - 1}")
        _require(slot >= 0, "it must name a slot")
        _require(self.stored.get(slot, self.left) >= self.left, f"slot {slot} holds {self._holds(slot)}, still needed")
        self.stored[slot] = state
        self.found.slots = max(self.found.slots, slot + 1)
        self.found.writes += self._on_disk(slot)

    def _get(self, state: int, slot: int) -> None:
        _require(self.stored.get(slot) == state, f"slot {slot} holds {self._holds(slot)}")
        self.found.reads += self._on_disk(slot)

    def _on_disk(self, slot: int) -> bool:
        return self.memory is not None and slot >= self.memory

    def _holds(self, slot: int) -> str:
        return _name(self.stored.get(slot))


def _name(state: int | None) -> str:
    return "none" if state is None else f"state {state}"


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ScheduleError(otherwise)
