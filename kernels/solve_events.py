"""Events of a solve: in which steps they happen and where, what they do to the state, and the adjoints of that.

The state of a solve with events has the time at which it last started: t₀, or that of the event that changed it. The
position in the span is relative to the rest of the span from there on. So the time of an event is a part of the state
like any other, and what comes after it depends on it through tables only.

After a step was accepted, the conditions at both of its ends say what happens in it; where, is found on the dense
output. Events are logged in order, up to the first one that changes the state (a jump, or the end of the solve). That
one ends the step: the state is then the result of the part `event`. The passes of the adjoint read the log.
"""

from .flags import helper
from .memory import shift
from .records import (
    ACCEPTED,
    AT,
    BROKEN,
    CHANGED,
    CONTROL,
    EFFECT,
    ENDED,
    ENTRY,
    FRACTION,
    FRESH,
    HAPPENED,
    JUMPED,
    KNOWN,
    LAST,
    LEAST_LAST,
    LOGGED,
    LOGGING,
    NOTED,
    OUTCOME,
    SIGNED,
    STATUS,
    STEP,
    STOPPED,
    TOLERANCES,
    WHEN,
    WHICH,
)
from .reversing import WRONG, call, clear, copy
from .solve_space import control_of, dense_of, ends_of, memory_of, notes_of, span_of
from .stepsize import EPSILON, rounded

NUDGE = 1e-6  # where the sign of a condition is looked at that is 0 where a segment starts, as a part of the step
NEAR = 1e-3  # a condition that is 0 but for rounding errors, as a part of what it is there
TIE = 8.0 * EPSILON  # events at the same time, as a part of the step
NEVER, PENDING = 2.0, -1.0  # instead of a root: the event does not happen in the step; its turn is the next step


# ── the log ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def entry_of(space, j):
    return shift(space.log, j * ENTRY)


@helper
def _note(solve, k, which, fraction, space):
    """Log an event. Returns its outcome."""
    jumps = _kinds(solve, space, 2)[which] != 0.0
    space.left[which] -= 1.0
    outcome = STOPPED if space.left[which] <= 0.0 else (JUMPED if jumps else NOTED)
    j = int(space.run[HAPPENED])
    entry = entry_of(space, j)
    entry[WHICH], entry[WHEN], entry[FRACTION], entry[OUTCOME] = which, k, fraction, outcome
    space.run[HAPPENED] = j + 1
    return outcome


@helper
def change_in(k, space):
    """The place in the log of the event that ends step k; -1: none does."""
    low, high = 0, int(space.run[HAPPENED])
    end = high
    while low < high:
        middle = (low + high) // 2
        if entry_of(space, middle)[WHEN] < k:
            low = middle + 1
        else:
            high = middle
    while low < end and entry_of(space, low)[WHEN] == k:
        if entry_of(space, low)[OUTCOME] != NOTED:
            return low
        low += 1
    return -1


@helper
def _kinds(solve, space, row):
    """What the controls say about all events."""
    return shift(space.left, (1 + row) * solve.events)


@helper
def start_events(solve, given, space):
    """Nothing has happened yet."""
    n, controls = solve.events, shift(given.elements, TOLERANCES + 2 * solve.errors)
    copy(space.left, controls, n)
    copy(_kinds(solve, space, 0), controls, 3 * n)
    for i in range(n):
        space.roots[i] = NEVER
    space.marks[LOGGING], space.marks[SIGNED], space.marks[EFFECT] = 1, 0, NOTED
    set_clock(solve, space)


@helper
def set_clock(solve, space):
    """Positions are relative to the rest of the span."""
    ends_of(solve, space)[0] = space.step_in[solve.clock]


# ── conditions ────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _fill(solve, state, position, space):
    """[state | control | ends | shared] of a state at a position."""
    x, n = space.event_in, solve.own
    copy(x, state, n)
    copy(shift(x, n), control_of(solve, space), solve.control)
    x[n + AT] = position
    copy(shift(x, n + solve.control), ends_of(solve, space), solve.ends + solve.shared)


@helper
def _fill_within(solve, fraction, which, space):
    """[state | control | dense output | ends | shared] of a fraction of the step, and an event."""
    x, n = space.event_in, solve.own
    copy(x, space.step_in, n + solve.control)
    x[n + LAST], x[n + KNOWN] = fraction, CHANGED + which
    copy(shift(x, n + solve.control), dense_of(solve, space), solve.dense)
    copy(shift(x, n + solve.control + solve.dense), ends_of(solve, space), solve.ends + solve.shared)


@helper
def _conditions(solve, state, position, target, space):
    _fill(solve, state, position, space)
    return call(solve.conditions, space.event_in, target, space)


@helper
def _within(solve, i, fraction, space):
    """Condition i at a fraction of the step; NaN where it cannot be computed."""
    _fill_within(solve, fraction, i, space)
    space.marks[BROKEN] = call(solve.within, space.event_in, space.event_out, space)
    return float("nan") if space.marks[BROKEN] else space.event_out[i]


@helper
def _sign(x):
    return 1 if x > 0.0 else (-1 if x < 0.0 else 0)


@helper
def _root(solve, i, left, f_left, f_right, space):
    """Where condition i is 0 between a fraction of the step and its end: Chandrupatla (1997), Adv. Eng. Softw. 28."""
    a, b, c, fa, fb, fc, t = 1.0, left, left, f_right, f_left, f_left, 0.5
    space.marks[BROKEN] = 0
    if f_right == 0.0:
        return 1.0
    while True:
        x = a + t * (b - a)
        fx = _within(solve, i, x, space)
        if not abs(fx) >= 0.0:
            return fx
        if _sign(fx) == _sign(fa):
            c, fc = a, fa
        else:
            c, b, fc, fb = b, a, fb, fa
        a, fa = x, fx
        best, f_best = (a, fa) if abs(fa) < abs(fb) else (b, fb)
        least = 2.0 * EPSILON * abs(best) / abs(b - a)
        if least > 0.5 or f_best == 0.0:
            return best
        chi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        if phi * phi < chi and (1.0 - phi) * (1.0 - phi) < 1.0 - chi:
            t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        else:
            t = 0.5
        t = min(1.0 - least, max(least, t))


@helper
def _just_happened(k, which, space):
    """Whether an event happened in the step before step k."""
    j = int(space.run[HAPPENED]) - 1
    while j >= 0 and entry_of(space, j)[WHEN] >= k - 1:
        if entry_of(space, j)[WHICH] == which:
            return True
        j -= 1
    return False


@helper
def _look_ahead(solve, k, space):
    """Where a segment starts: conditions that are 0 there do not count as changing sign, so their signs are those right
    after. Fractions from which on signs are known go to space.roots."""
    if control_of(solve, space)[AT] > 0.0:
        return 0
    _fill_within(solve, NUDGE, 0, space)
    code = call(solve.within, space.event_in, space.event_out, space)
    for i in range(solve.events):
        here, ahead = space.before[i], space.event_out[i]
        is_near = abs(here) <= NEAR * abs(ahead) and (k == 0 or _just_happened(k, i, space))
        if here == 0.0 or is_near:
            space.before[i], space.roots[i] = ahead, NUDGE
    return code


@helper
def _find_roots(solve, k, after, space):
    """Fractions of the step at which events happen, to space.roots. Returns 0 or an error."""
    code = 0
    if not space.marks[SIGNED]:
        code = _conditions(solve, space.step_in, control_of(solve, space)[AT], space.before, space)
    code = code or _conditions(solve, space.step_out, after, space.after, space)
    clear(space.roots, solve.events)
    code = code or _look_ahead(solve, k, space)
    if code:
        return code
    directions = _kinds(solve, space, 1)
    for i in range(solve.events):
        a, b, direction = space.before[i], space.after[i], directions[i]
        rises, falls = a < 0.0 and b >= 0.0, a > 0.0 and b <= 0.0
        if (rises and direction >= 0.0) or (falls and direction <= 0.0):
            space.roots[i] = _root(solve, i, space.roots[i], a, b, space)
            if not space.roots[i] > 0.0:
                return space.marks[BROKEN] or WRONG
        else:
            space.roots[i] = NEVER
    return 0


@helper
def find_events(solve, k, after, space):
    """Log what happens in step k, which was computed and ends at this position. Returns 0 or an error."""
    code = _find_roots(solve, k, after, space)
    changes, until = False, 1.0
    while not code:
        first = -1
        for i in range(solve.events):
            at = space.roots[i]
            if 0.0 < at <= until and (first < 0 or at < space.roots[first]):
                first = i
        if first < 0:
            break
        fraction = space.roots[first]
        ends = space.left[first] <= 1.0 or _kinds(solve, space, 2)[first] != 0.0
        if ends and changes:
            space.roots[first] = PENDING
            continue
        space.roots[first] = NEVER
        outcome = _note(solve, k, first, fraction, space)
        if outcome != NOTED:
            changes, until = True, fraction + TIE
        if outcome == STOPPED:
            break
    return code


@helper
def pending(solve, space):
    """An event that changes the state at the same time as that which ended the step before; -1: there is none."""
    for i in range(solve.events):
        if space.roots[i] == PENDING:
            return i
    return -1


@helper
def take_turn(solve, k, which, space):
    """Log an event that was pending, in a step of size 0. Returns its place in the log."""
    space.roots[which] = NEVER
    _note(solve, k, which, 0.0, space)
    return int(space.run[HAPPENED]) - 1


# ── the state after an event ──────────────────────────────────────────────────────────────────────────────────
@helper
def mark_change(solve, place, space):
    """Take note in the control that an event in the log ends the current step."""
    if place < 0:
        space.marks[EFFECT] = NOTED
        return
    control, entry = control_of(solve, space), entry_of(space, place)
    control[LAST], control[KNOWN] = entry[FRACTION], CHANGED + entry[WHICH]
    space.marks[EFFECT] = int(entry[OUTCOME])


@helper
def change(solve, space):
    """Compute the state after the event that ends the current step, to space.event_out."""
    _fill(solve, space.step_in, control_of(solve, space)[AT], space)
    return call(solve.event, space.event_in, space.event_out, space)


@helper
def accept_change(solve, space):
    """Make the state after an event the current one. The next step is to be as long as that which the event ended."""
    control, marks, size = control_of(solve, space), space.marks, control_of(solve, space)[STEP] * span_of(solve, space)
    space.run[ACCEPTED] += 1
    copy(space.step_in, space.event_out, solve.own)
    set_clock(solve, space)
    rest = span_of(solve, space)
    control[AT], control[STEP] = 0.0, rounded(size / rest) if size < rest else 1.0
    control[LAST], control[KNOWN] = LEAST_LAST, 0.0
    clear(notes_of(solve, space), solve.control - CONTROL)
    clear(memory_of(solve, space), min(solve.memory, solve.linear + 1))
    if marks[EFFECT] == STOPPED and marks[LOGGING]:
        space.run[STATUS] = ENDED
    marks[FRESH], marks[SIGNED], marks[EFFECT] = 0, 0, NOTED
    return 0


@helper
def accept_signs(solve, space):
    """The conditions at the end of a step are those at the start of the next."""
    copy(space.before, space.after, solve.events)
    space.marks[SIGNED] = space.marks[LOGGING]


# ── results and their adjoints ────────────────────────────────────────────────────────────────────────────────
@helper
def deliver_events(solve, k, rows, space):
    """States and times of the events in step k."""
    j = int(space.run[HAPPENED]) - 1
    while j >= 0 and entry_of(space, j)[WHEN] == k:
        entry = entry_of(space, j)
        _fill_within(solve, entry[FRACTION], int(entry[WHICH]), space)
        code = call(solve.located, space.event_in, shift(rows, j * solve.own), space)
        if code:
            return code
        j -= 1
    return 0


@helper
def happens_in(k, space):
    """Whether an event in the log, before those that the adjoint has been at, happens in step k."""
    j = space.marks[LOGGED] - 1
    return j >= 0 and entry_of(space, j)[WHEN] == k


@helper
def event_adjoints(solve, k, seeds, space):
    """Adjoints of the states and times of the events in step k. Returns 1 if there are any, 0, or an error."""
    n, found = solve.own, 0
    inner = n + solve.control + solve.dense
    while happens_in(k, space):
        j = space.marks[LOGGED] - 1
        space.marks[LOGGED] = j
        entry = entry_of(space, j)
        _fill_within(solve, entry[FRACTION], int(entry[WHICH]), space)
        copy(shift(space.event_in, inner + solve.ends + solve.shared), shift(seeds, j * n), n)
        if call(solve.located_adjoint, space.event_in, space.event_bar, space):
            return WRONG
        for i in range(inner):
            space.dense_bar[i] += space.event_bar[i]
        for i in range(solve.ends + solve.shared):
            space.shared_bar[i] += space.event_bar[inner + i]
        found = 1
    return found


@helper
def start_reading(solve, log, count, space):
    """Before the first adjoint: what has happened, from what a forward pass has logged. Returns 0 or an error."""
    if not 0.0 <= count <= float(solve.room):
        return WRONG
    copy(space.log, log, int(count) * ENTRY)
    space.run[HAPPENED] = count
    space.marks[LOGGING], space.marks[LOGGED], space.marks[EFFECT] = 0, int(count), NOTED
    return 0
