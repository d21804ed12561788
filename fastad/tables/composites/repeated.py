"""What loops and solves share as composite rows: schedules, saved states, and derivation by augmented steps."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

from fastad.errors import ScheduleError, TableError
from fastad.kernels.records import ACTION, CHUNK
from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.driver import Driver, ProgressBar, StatesOnDisk
from fastad.tables.composites.loop_sizes import StateStorage, state_storage
from fastad.tables.composites.spans import Span, total_of
from fastad.tables.composites.sub import Sub, packed, slices
from fastad.tables.validate import LARGEST

CONVERGING = 20  # steps of an iteration that converges, such as Newton's, about


@dataclass(frozen=True, eq=False)
class Repeated(Driver):
    """A driver that makes steps, and whose adjoint makes them backwards, with states stored as `schedule` says (None:
    all of them). One that `saves` returns them behind its results.

    A subclass says the sizes, by the spans of its operands and results, and its adjoint.
    """

    length: int = 0  # steps; the most, where something else ends them
    inverse: Sub | None = None
    schedule: Any = None
    saves: bool = False
    usual_steps: int | None = 1_000  # about, where something else ends them: they choose the executor only
    progress: bool = False  # whether a bar shows the steps

    # ── to be said by a subclass ─────────────────────────────────────────────────────────────────────────────
    @property
    def stored_size(self) -> int:
        """Size of a state as it is stored."""
        raise NotImplementedError

    @property
    def ends_early(self) -> bool:
        """Whether the number of steps is known only after they were made."""
        raise NotImplementedError

    @property
    def is_unread(self) -> bool:
        """Whether the adjoint needs no states."""
        return False

    @property
    def spans_in(self) -> list[Span]:
        raise NotImplementedError

    @property
    def spans_results(self) -> list[Span]:
        """Of the results, without saved states."""
        raise NotImplementedError

    @property
    @abstractmethod
    def step(self) -> Sub:
        """One step, whose adjoint the adjoint pass calls."""

    @property
    @abstractmethod
    def augmented(self) -> Any:
        """The same of states and their tangents: two lanes, the second with the tangents."""

    @abstractmethod
    def adjoint_of(self, wanted: Any = None) -> Driver:
        """The driver of the adjoint, which takes saved states if this one saves them. `wanted`: of these parts of a
        loop's operands only."""

    # ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def spans_out(self) -> list[Span]:
        """Of the whole result."""
        return [*self.spans_results, *(self.storage.spans(self.stored_size) if self.saves else ())]

    @property
    def ends(self) -> tuple[int, int]:
        """Lengths of operands and result, as the parts say."""
        return total_of(self.spans_in), total_of(self.spans_out)

    def sized(self) -> Self:
        """The same with the lengths that its parts say."""
        n_in, n_out = self.ends
        return replace(self, n_in=n_in, n_out=n_out)

    @property
    def n_results(self) -> int:
        return total_of(self.spans_results)

    @lazy
    def storage(self) -> StateStorage:
        """How the adjoint finds the states."""
        if self.is_unread:
            return StateStorage("unread")
        if self.inverse is not None:
            return StateStorage("retraced", self.length) if self.ends_early else StateStorage("inverted")
        return state_storage(self.name, self.resolved, self.length, not self.ends_early)

    @property
    def resolved(self) -> Any:
        """The schedule for this size of state."""
        known = None if self.ends_early else self.length
        return self.schedule and self.schedule.resolve(known, 8 * self.stored_size)

    def total_steps(self, adjoint: bool) -> int | None:
        """Steps and adjoint steps that a run makes; None if it is not known."""
        if self.length < 0 or self.ends_early:
            return None
        if not adjoint:
            return self.length
        again = 0 if self.saves or self.is_unread else self.length
        if self.storage.policy == "scheduled":
            again = self.resolved.predicted_steps(self.length) - (self.length - 1 if self.saves else -1)
        return self.length * (1 + (self.inverse is not None)) + again

    @property
    def repetitions(self) -> int | None:
        known = self.total_steps(adjoint=False)
        return self.usual_steps if known is None else known

    @property
    def loop_size(self) -> tuple[int, int] | None:
        choosable = not self.ends_early and self.inverse is None and self.length > 0
        return (self.length, 8 * self.stored_size) if choosable else None

    def scheduled(self, schedule: Any, *, progress: bool = False) -> Self:
        return replace(self, schedule=schedule, progress=progress)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def stored_states(self, adjoint: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields of a driver's record about stored states, and the arrays that it points to."""
        stores = self.saves or adjoint
        storage = self.storage if stores else StateStorage("inverted")
        fields = {
            "policy": storage.code if stores else 0, "saves": self.saves, "memory_slots": storage.memory_slots,
            "slots": storage.memory_slots + storage.disk_slots, "plan_size": storage.plan_size,
        }  # fmt: skip
        return fields, {} if storage.initial_plan is None else {"initial_plan": storage.initial_plan}

    def stored_work(self, adjoint: bool) -> dict[str, int]:
        """Lengths of the vectors of a driver for stored states and their schedule."""
        storage = self.storage if self.saves or adjoint else StateStorage("inverted")
        plans, saved = storage.is_overwritten, sum(span.size for span in storage.spans(self.stored_size))
        return {
            "saved": adjoint * (not self.saves) * saved, "cursor": 2 * plans, "plan": storage.plan_size,
            "actions": plans * ACTION * CHUNK,
        }  # fmt: skip

    def resources(self, adjoint: bool) -> dict[str, StatesOnDisk | ProgressBar]:
        found: dict[str, StatesOnDisk | ProgressBar] = {}
        disk = self.storage.disk_slots * self.stored_size if adjoint else 0
        if disk:
            found["disk"] = StatesOnDisk(disk, getattr(self.resolved, "path", None))
        if self.progress:
            found["progress"] = ProgressBar(self.name, self.total_steps(adjoint), self.shown_part(adjoint))
        return found

    def shown_part(self, adjoint: bool) -> tuple[float, float] | None:
        """From where to where a progress bar goes that shows what part was done, not how many steps."""
        return None

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def too_many_states(self) -> str | None:
        """The saved states must be within what can be addressed."""
        storage = self.storage
        states = storage.memory_slots + storage.disk_slots + 1
        total = states * max(self.stored_size, 1) + storage.plan_size
        return "saved states of more than 8 TiB" if total > LARGEST else None

    def schedule_data(self, write: Any) -> list[Any] | None:
        """The schedule as JSON can hold it."""
        from fastad.schedules.stored import to_data

        if self.schedule is None:
            return None
        try:
            described, actions = to_data(self.schedule, self.length)
        except ScheduleError as error:
            raise TableError(f"{self.name}: {error}") from None
        return [described, None if actions is None else write.array(actions)]

    # ── saved states ─────────────────────────────────────────────────────────────────────────────────────────
    @property
    def can_save(self) -> bool:
        return not self.saves and not self.is_unread and not self.storage.disk_slots

    @property
    def result_is_overwritten(self) -> bool:
        return self.saves and self.storage.is_overwritten

    @lazy
    def saving(self) -> Self:
        """The driver that saves states for its adjoint."""
        return replace(self, saves=True).sized()

    def emit_saving(self, b: Any, x: Ref) -> tuple[Ref, Ref]:
        everything = b.call(self.saving, x)
        return slices(b, everything, (self.n_out,))[0], everything

    @property
    def without_saving(self) -> Self:
        """The driver that returns its results alone."""
        return self if not self.saves else replace(self, n_out=self.n_results, saves=False)

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None, wanted: Any = None) -> Ref:
        if self.saves:  # saved states follow from the argument
            u = slices(b, u, (self.n_results,))[0]
        own = self.saving if saved is not None else self.without_saving
        return b.call(own.adjoint_of(wanted), packed(b, [x, u]), saved)


def schedule_of(value: Any, length: int, read: Any) -> Any:
    """The schedule that a file describes."""
    from fastad.schedules.stored import from_data

    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise TableError("its header has an invalid schedule")
    described, name = value
    return from_data(described, None if name is None else read.array(str(name)), length)
