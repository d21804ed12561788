"""The parameters of the drivers of composite rows, as aligned records. All numbers are int64; importing this needs no
numba.

A driver's kernel gets the address of its record as its context. A field is one load at a constant offset. In a field
for an address, 0 means that there is nothing.
"""

import numpy as np


def record(*fields):
    """An aligned record: a field is a name, for an int64, or (name, dtype), or (name, dtype, shape)."""
    return np.dtype([(field, np.int64) if isinstance(field, str) else field for field in fields], align=True)


KERNEL = record("address", "context")

# A choice among branches; the kernels of the branches follow the record.
BRANCH = record("count")

# A choice among paths; their kernels follow the record. `note`: address of a flag and of `point` numbers, the first of
# an argument for which no path is known.
PATHS = record("count", "point", "note")

# One program on `count` lanes: sizes of a lane's operands, of its result, and of what was saved for it.
LANES = record("count", "block", "operands", "results", "saved", ("lane", KERNEL))

# A notice to the user: what passes by it, and the address of nothing, for the sake of which Python is called.
NOTICE = record("size", "notice")

# Where the vectors of a loop's driver start in its work, in doubles: argument and result of a step; argument and result
# of its adjoint; sum of the adjoints of what all steps share; room for pieces that lie apart; saved states; place in
# the actions, state of the planner, actions; work of the kernels that are called.
LOOP_WORK = record(
    "step_in", "step_out", "bar_in", "bar_out", "shared_bar", "room", "saved", "cursor", "plan", "actions", "scratch"
)

# A loop, or its adjoint.
LOOP = record(
    # Sizes of the state, of one step's element and result, and of what all steps share.
    "state", "element", "result", "shared",
    # Number of steps, or the most that a loop with a condition makes (-1: no limit). `indexed`: the body takes the
    # step's index. `backward`: the first step takes the last element.
    "length", "indexed", "backward",
    # Of the adjoint: sizes of what it finds of one step's element and of what is shared, and where the latter is in the
    # adjoint of a step.
    "element_found", "shared_found", "shared_place",
    # Numbers, two or more, from which on a piece of a step's argument or result lies elsewhere, and its place has the
    # address of it: a state, the element, what is shared, their adjoints, the result. 0: all are in their places.
    "apart",
    # How the adjoint finds the states, one of the policies below. `saves`: the forward pass returns them to it.
    "policy", "saves",
    # Slots for states in memory and in all, address of those on disk; first state of the planner and its length.
    "memory_slots", "slots", "disk", "initial_plan", "plan_size",
    # Address of a count of the steps and adjoint steps that were run, and of the part that was done (of a solve that
    # chooses its steps: of the span; of its adjoint, of the way back too).
    "progress",
    ("body", KERNEL), ("condition", KERNEL), ("adjoint", KERNEL), ("inverse", KERNEL),
    ("work", LOOP_WORK),
)  # fmt: skip

# Policies: no states are stored; each in a slot of its own; by a schedule; by one that does not know the number of
# steps; none, since steps can be inverted; none but what inverting them needs of each; none, since no adjoint of a step
# reads one.
NOTHING, EVERY, SCHEDULED, ONLINE, INVERTED, RETRACED, UNREAD = range(7)

ACTION, CHUNK = 4, 16  # numbers of an action, actions that are planned at a time

# Where the vectors of a solve's driver start in its work, in doubles. Besides those of a loop: argument and result of a
# sample and of its adjoint; sum of the adjoints of the samples of a step: of its state and of its dense output; numbers
# about the run (below); integers: see `solve_space`; a copy of a step's argument and result; and those of events:
# argument and result of their parts, result of an adjoint, conditions at the start and at the end of a step, fractions
# of the step at which they happen, how often each may still happen, the log.
SOLVE_WORK = record(
    "step_in", "step_out", "bar_in", "bar_out", "shared_bar", "saved", "cursor", "plan", "actions",
    "sample_in", "sample_out", "sample_bar", "dense_bar", "run", "marks", "aside",
    "event_in", "event_out", "event_bar", "before", "after", "roots", "left", "log", "scratch",
)  # fmt: skip

# A solve of an ODE, or its adjoint.
SOLVE = record(
    # Sizes: of what is stored of a state; of the state with its control, its cached derivative and the memory, and
    # without; of the control with the notes; of the cached derivative; of the memory, and of the linear point, its
    # first part; of what a step counts; of the error estimate; of dense output; of the ends of the span, of what all
    # steps share, of the controls, of one point.
    "state", "carried", "own", "control", "cache", "memory", "linear", "counts", "errors", "dense", "ends", "shared",
    "controls", "point",
    # Number of steps (the most, of an adaptive solve), of points, of steps that are kept in the results.
    "length", "points", "kept",
    # `adaptive`: the step size follows from the error; `estimates`: error estimates of a step, each of size `errors`;
    # `order`: power of the step size in the error; `stages`: evaluations of a step; `moving`: the points or the ends of
    # the span have derivatives; `intervals`: pieces of a fixed grid; `strict`: to end neither at the end of the
    # span nor by an event is an error, unless the results are full.
    "adaptive", "estimates", "order", "stages", "moving", "intervals", "strict",
    # Number of events, of which `room` are logged; place of the start's time in the state.
    "events", "room", "clock",
    # As in a loop; no piece lies apart.
    "apart", "policy", "saves", "memory_slots", "slots", "disk", "initial_plan", "plan_size", "progress",
    ("body", KERNEL), ("rhs", KERNEL), ("sample", KERNEL), ("adjoint", KERNEL), ("adjoint_dense", KERNEL),
    ("sample_adjoint", KERNEL), ("inverse", KERNEL), ("with_dense", KERNEL),
    ("conditions", KERNEL), ("within", KERNEL), ("located", KERNEL), ("event", KERNEL), ("located_adjoint", KERNEL),
    ("event_adjoint", KERNEL),
    ("work", SOLVE_WORK),
)  # fmt: skip

# Where the vectors of the driver of solves in lanes start in its work: those of one solve; argument and result of a
# step, and of its adjoint, of all lanes, component by component; sums of the adjoints of what the steps share; adjoints
# of states from within a step; of each lane: numbers about its run, marks, trajectory, step, whether it must be seen to
# before the next step, whether the step was accepted; of a block of trajectories: stored states, and how many.
SOLVE_LANES_WORK = record(
    *(SOLVE_WORK.names or ())[:-1],
    "wide_in", "wide_out", "wide_bar_in", "wide_bar_out", "sums", "inner", "runs", "places", "trajectories", "steps",
    "waiting", "accepted", "states", "counts", "scratch",
)  # fmt: skip

# Solves in lanes, or their adjoints: besides what one solve says, the number of trajectories, sizes of the operands and
# results of each, number of lanes, states that can be stored of each of the `block` trajectories which are pulled back
# together; a step of all lanes, its adjoint (with dense output if `dense_bars`), and the adjoint of one solve.
SOLVE_LANES = record(
    *((name, SOLVE[name]) for name in SOLVE.names or () if name != "work"),
    "count", "operands", "results", "lanes", "kept_states", "block", "dense_bars",
    ("wide", KERNEL), ("wide_adjoint", KERNEL), ("single", KERNEL), ("work", SOLVE_LANES_WORK),
)  # fmt: skip

# Integers of a solve's driver: the next point; whether the cached derivative belongs to the state; of events: whether
# they are looked for, rather than read from the log; the next one in the log, for the adjoint; whether the conditions
# at the start of the step are known; what the event that ends the step does; the code of a condition that has failed.
POINT, FRESH, LOGGING, LOGGED, SIGNED, EFFECT, BROKEN, MARKS = range(8)
# Numbers about a run of a solve, in its results: accepted and rejected steps, evaluations, status, points that were
# reached, the component with the largest error, where the span ended (0 to 1), events in the log. What the trial steps
# of implicit methods count follows: evaluations of the right-hand side and of its Jacobian, factorisations, iterations,
# stages that were not solved, the errors that iterations have left, relative to the tolerances, and the relative
# residuals of adjoint systems, where those are looked at.
ACCEPTED, REJECTED, EVALUATIONS, STATUS, REACHED, WORST, POSITION, HAPPENED, COUNTED = range(9)
CALLS, JACOBIANS, FACTORISATIONS, ITERATIONS, FAILURES, LEFT, RESIDUAL, COUNTS = range(8)
RUN = COUNTED + COUNTS
# Status of a run: the end of the span was reached; the step size fell below what the time can resolve; there were as
# many steps as allowed; as many as can be kept, or events; the right-hand side was not finite at the start; fixed steps
# ended in a state that is not finite; a terminal event ended it; the equations of a step could not be solved.
DONE, TOO_SMALL, TOO_MANY, FULL, NOT_FINITE, OVERFLOWN, ENDED, UNSOLVED = range(8)
# The control of an adaptive solve, behind its state: position in the span, size of the step, logarithm of the last
# one's error,
# whether the size is planned (0), was accepted at once (1), or after others were rejected (2).
AT, STEP, LAST, KNOWN, CONTROL = range(5)
# In a step that an event ends, the last two say: at which fraction of the step, and which event, counted from CHANGED.
CHANGED = 3
# Notes of a method, behind the control: factors for the size of the next step after the trial that made them, if it is
# accepted and if not, in place of those of the PI control where they are positive; how many trials of the step were
# rejected before, which the driver writes; what else the method needs to know of the steps before. At the start of a
# span, and after an event that changes the state, all are 0. A method without notes has none of these.
NEXT, RETRY, TRIES, NOTES = range(4)
# The controls of an adaptive solve; absolute tolerances of the components follow, then relative ones, and
# of all events how often each may happen (∞: any number; the last time ends the solve), whether the condition must rise
# (> 0) or fall (< 0), and whether the state jumps.
MAX_STEP, FIRST_STEP, TOLERANCES = range(3)
# The log has of each event that happened: which, in which step, at which fraction of the step, and what comes of it.
WHICH, WHEN, FRACTION, OUTCOME, ENTRY = range(5)
NOTED, JUMPED, STOPPED = range(3)
# Factors between the size of a step and the next one; the part of the exponent that the error of the last step has, in
# Gustafsson's PI control.
SMALLEST, LARGEST, SAFETY, MEMORY = 0.2, 10.0, 0.9, 0.2
# Smaller errors count as this part of the tolerance, since most of them is rounding, which must not choose steps; the
# same of the error of the step before, as its logarithm: log(1e-4).
LEAST_ERROR, LEAST_LAST = 1e-8, -9.210340371976182
ROUNDING = 10.0 * 2.220446049250313e-16  # relative errors up to which an estimate is made of rounding errors
# What stands for the logarithm of the error before the first step, whose size was chosen from derivatives, or not.
CHOSEN, GIVEN = 0.0, 2.0**-40
