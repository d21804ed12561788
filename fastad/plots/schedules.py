"""Pictures of checkpoint schedules: steps and stored states over time, and time against memory.

They need matplotlib (`fastad[plot]`).
"""

from os import PathLike
from typing import Any

from fastad.plots.profile import new_figure
from fastad.schedules.actions import Code
from fastad.schedules.base import Schedule, steps_of
from fastad.schedules.verify import verify

_FORWARD, _ADJOINT = "#2a5f94", "#c8502a"
_MEMORY, _DISK = "#b9cbdc", "#d9b44a"
_MOST = 20_000  # steps run and adjoint steps that a picture can show


def draw(schedule: Schedule, n_steps: int, path: str | PathLike[str] | None = None) -> Any:
    """Draw what a schedule does for a loop of n_steps steps: time to the right, steps upwards.

    A rising line is steps run forward, a falling line adjoint steps. A bar is a stored state, from the time at which it
    is stored to the adjoint of its step. The lower picture shows how many states are stored. An adjoint step is drawn
    as long as a step. The figure is saved to `path` if given, and returned.

    Raises ImportError, which names the package to install, where matplotlib is missing; ScheduleError if the schedule
    is not valid; ValueError if there are more than 20,000 steps and adjoint steps in all.

    >>> import fastad as fad
    >>> figure = fad.checkpoint.draw(fad.checkpoint.Revolve(3), 20)
    """
    n = steps_of(n_steps)
    total = schedule.predicted_steps(n) + n
    if total > _MOST:
        raise ValueError(
            f"a picture cannot show {total} steps and adjoint steps, more than {_MOST}; draw fewer than {n} steps"
        )
    figure = new_figure((10.0, 6.0))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    trace = _Trace(schedule, n)
    trace.draw(upper)
    _draw_counts(lower, trace)
    found = verify(schedule, n)
    memory, disk = schedule.slots(n)
    on_disk = f", {disk} on disk" if disk else ""
    figure.suptitle(f"{schedule!r}\n{n:,} steps, {found.steps:,} run forward, {memory:,} states in memory{on_disk}")
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


class _Trace:
    """The data of the picture: lines (times, steps) of steps and adjoint steps; (from, to, state) of stored states."""

    def __init__(self, schedule: Schedule, n: int) -> None:
        self.time, self.n, self.memory = 0, n, schedule.slots(n)[0]
        self.runs: list[Any] = []
        self.adjoints: list[Any] = []
        self.lives: dict[bool, list[tuple[int, int, int]]] = {False: [], True: []}  # by whether on disk
        self._stored: dict[int, tuple[int, int]] = {}  # slot: (state, time)
        for code, start, stop, slot in schedule.actions(n):
            if code == Code.ADVANCE:
                for k in range(start, stop) if slot >= 0 else ():
                    self._store(k, slot + k - start, self.time + k - start)
                self._line(self.runs, start, stop)
            elif code == Code.REVERSE:
                self._line(self.adjoints, stop, start)
                self._drop_from(start, stop)
            elif code == Code.STORE:
                self._store(start, slot, self.time)
            elif code == Code.DISCARD:
                self._drop(slot, self.time)

    def _line(self, lines: list[Any], start: int, stop: int) -> None:
        end = self.time + abs(stop - start)
        lines.append([(self.time, start), (end, stop)])
        self.time = end

    def _store(self, state: int, slot: int, time: int) -> None:
        self._drop(slot, time)
        self._stored[slot] = state, time

    def _drop(self, slot: int, time: int) -> None:
        if slot in self._stored:
            state, since = self._stored.pop(slot)
            self.lives[slot >= self.memory].append((since, time, state))

    def _drop_from(self, start: int, stop: int) -> None:
        """Free the states of these steps, whose adjoints have just been taken one after another."""
        for slot, (state, _) in list(self._stored.items()):
            if state >= start:
                self._drop(slot, self.time - (state - start))

    def draw(self, axes: Any) -> None:
        from matplotlib.collections import LineCollection

        thick = min(5.0, max(0.6, 260 / max(self.n, 1)))
        for on_disk, colour, name in ((False, _MEMORY, "state in memory"), (True, _DISK, "state on disk")):
            lines = [[(since, k), (until, k)] for since, until, k in self.lives[on_disk]]
            if lines:
                axes.add_collection(LineCollection(lines, colors=colour, linewidths=thick, label=name))
        for lines, colour, name in ((self.runs, _FORWARD, "steps"), (self.adjoints, _ADJOINT, "adjoint steps")):
            axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.4, label=name))
        axes.set_xlim(0, max(self.time, 1))
        axes.set_ylim(-0.5, self.n + 0.5)
        axes.set_ylabel("step")
        _whole(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper right", frameon=False, fontsize=9, ncols=2)


def _draw_counts(axes: Any, trace: _Trace) -> None:
    """Draw the number of stored states over time: those on disk on top of those in memory."""
    memory = _kept(trace.lives[False], trace.time)
    both = [a + b for a, b in zip(memory, _kept(trace.lives[True], trace.time), strict=True)]
    times = range(len(memory))
    axes.fill_between(times, memory, step="post", color=_MEMORY, linewidth=0)
    axes.fill_between(times, memory, both, step="post", color=_DISK, linewidth=0)
    axes.set_ylim(0, max(*both, 1) * 1.08)
    axes.set_xlabel("time (steps and adjoint steps)")
    axes.set_ylabel("states kept")
    _whole(axes)
    axes.spines[["top", "right"]].set_visible(False)


def _whole(axes: Any) -> None:
    """Let both axes have ticks at whole numbers only."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)


def _kept(lives: list[tuple[int, int, int]], end: int) -> list[int]:
    """The number of states stored at each time."""
    change = [0] * (end + 2)
    for since, until, _ in lives:
        change[since] += 1
        change[until] -= 1
    kept = [0]
    for more in change[: end + 1]:
        kept.append(kept[-1] + more)
    return kept[1:]


# ── memory against time ───────────────────────────────────────────────────────────────────────────────────────
_COLOURS = (
    "#c8502a", "#2a5f94", "#3f8f5f", "#8a5aa8", "#d9a520", "#3fa3a5", "#7a4b2a", "#d0609a", "#777777", "#8fa03a",
)  # fmt: skip


def plot_checkpoints(profile: Any, path: Any = None) -> Any:
    """Draw steps and seconds of a `CheckpointProfile` against memory, with the optimum; save to `path` if given."""
    figure = new_figure((11.0, 5.8))
    left, right = figure.subplots(1, 2)
    _draw_bound(left, right, profile)
    n = sum(x.steps for x in profile.loops)
    for k, x in enumerate(profile.schedules):
        colour = _COLOURS[k % len(_COLOURS)]
        left.plot(x.predicted_bytes, x.predicted_steps / n, "o", color=colour, label=repr(x.schedule))
        right.plot(x.predicted_bytes, x.predicted_seconds, "o", mfc="none", color=colour, ms=9)
        if x.measured is not None:
            places = [x.predicted_bytes, profile.memory(x)], [x.predicted_seconds, x.measured.fastest]
            right.plot(*places, color=colour, linewidth=0.6)
            right.plot(places[0][1:], places[1][1:], "o", color=colour)
    right.plot([], [], "o", mfc="none", color="#444", ms=9, label="predicted")
    right.plot([], [], "o", color="#444", label="measured")
    right.legend(fontsize=8, frameon=False)
    left.set(xlabel="bytes of states in memory", ylabel="steps run, for each step of the loop", title="steps")
    right.set(xlabel="bytes: states (predicted), gradient less value (measured)")
    right.set(ylabel="seconds", title="a gradient")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.grid(color="#eee")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.suptitle(", ".join(f"{x.name} of {x.steps:,} steps, {x.state_bytes:,} bytes a state" for x in profile.loops))
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _draw_bound(left: Any, right: Any, profile: Any) -> None:
    """Draw the optimum of schedules without a disk, in steps, and in seconds predicted from the steps."""
    bound = profile.optimum()
    n, memory = sum(x.steps for x in profile.loops), [b for b, _ in bound]
    left.plot(memory, [s / n for _, s in bound], color="#999", label="the optimum in memory alone")
    adjoints = n * profile.adjoint_seconds
    seconds = [(s + len(profile.loops)) * profile.step_seconds + adjoints for _, s in bound]
    right.plot(memory, seconds, color="#999", label="predicted for the optimum")
