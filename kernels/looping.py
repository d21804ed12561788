"""Drivers of loops: every step is one call of the body's kernel by its address.

A loop maps [state | shared | elements] to [state | results]. The body maps [state | element | number | shared] to
[state | result], where the step's number is there if it is counted. The adjoint of a loop keeps states as the
schedule says, and recomputes the others (Griewank & Walther, 2000, Algorithm 799). What the forward pass keeps for
it follows the results: [steps made | state before the last step | slots | what was chosen online].
"""

from .flags import helper, kernel
from .loop_fields import (
    ACTION,
    ACTIONS_AT,
    ADJOINT,
    BACKWARD,
    BAR_IN,
    BAR_OUT,
    BODY,
    CARRY,
    CHUNK,
    CONDITION,
    COUNTED,
    DISK,
    EVERY,
    HINTED,
    INVERSE,
    INVERTED,
    KEEP,
    KEPT,
    LENGTH,
    LOOP_FIELDS,
    MEMORY_SLOTS,
    NOTHING,
    ONLINE,
    PLAN,
    PLAN_AT,
    PLAN_SIZE,
    PROGRESS,
    SCHEDULED,
    SCRATCH,
    SHARED,
    SHARED_BAR,
    SLOTS,
    STEP_IN,
    STEP_OUT,
    X,
    Y,
)
from .memory import call_kernel, doubles, integers, matrix, view
from .online import choose, finish, is_possible
from .plan_fields import ADVANCE, DISCARD, LOAD, RESTART, REVERSE, STORE
from .planning import plan

WRONG = -1  # a schedule, or what a table from elsewhere says was kept, does not fit


@helper
def _copy(target, source, n):
    """Copy n doubles, by addresses."""
    a, b = view(doubles(target), n), view(doubles(source), n)
    for i in range(n):
        a[i] = b[i]


@helper
def _load(p, elements, k, work):
    """Give a step its element and its number; its state is there already."""
    at = work + 8 * (p[STEP_IN] + p[CARRY])
    _copy(at, elements + 8 * k * p[X], p[X])
    if p[COUNTED]:
        view(doubles(at + 8 * p[X]), 1)[0] = k


@helper
def _place(p, k):
    """Where step k finds its element: a backward loop starts at the end."""
    return p[LENGTH] - 1 - k if p[BACKWARD] else k


@helper
def _start(p, source, work):
    """The first state, and what the steps share."""
    inside = work + 8 * p[STEP_IN]
    _copy(inside, source, p[CARRY])
    _copy(inside + 8 * (p[CARRY] + p[X] + p[COUNTED]), source + 8 * p[CARRY], p[SHARED])


@helper
def _count(p):
    """For whoever watches: one more step."""
    if p[PROGRESS]:
        view(integers(p[PROGRESS]), 1)[0] += 1


@helper
def _step(p, elements, k, work):
    """Make step k; its result lies behind the new state."""
    _count(p)
    inside, outside = work + 8 * p[STEP_IN], work + 8 * p[STEP_OUT]
    _load(p, elements, _place(p, k), work)
    code = call_kernel(p[BODY], p[BODY + 1], inside, outside, work + 8 * p[SCRATCH])
    _copy(inside, outside, p[CARRY])
    return code


@helper
def _goes_on(p, k, work):
    """1 or 0: whether there is a step k; a negative code or that of a failed guard (plus 1) if the condition fails."""
    if p[LENGTH] >= 0 and k >= p[LENGTH]:
        return 0
    if not p[CONDITION]:
        return 1
    if p[COUNTED]:
        view(doubles(work + 8 * (p[STEP_IN] + p[CARRY] + p[X])), 1)[0] = k
    flag = work + 8 * p[STEP_OUT]
    code = call_kernel(p[CONDITION], p[CONDITION + 1], work + 8 * p[STEP_IN], flag, work + 8 * p[SCRATCH])
    if code:
        return code if code < 0 else code + 1
    return 1 if view(doubles(flag), 1)[0] != 0.0 else 0


@helper
def _slot(p, kept, slot):
    """Address of a slot, 0 if there is no such slot."""
    if slot < 0 or slot >= p[SLOTS]:
        return 0
    if slot < p[MEMORY_SLOTS]:
        return kept + 8 * slot * p[CARRY]
    return p[DISK] + 8 * (slot - p[MEMORY_SLOTS]) * p[CARRY]


@helper
def _keep(p, kept, slot, state):
    """Copy a state into a slot."""
    at = _slot(p, kept, slot)
    if not at:
        return WRONG
    _copy(at, state, p[CARRY])
    return 0


# ── the schedule ──────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _rewind(p, cursor, work):
    """Start the schedule: nothing is planned yet."""
    cursor[0], cursor[1] = 0, 0
    state, first = view(integers(work + 8 * p[PLAN_AT]), p[PLAN_SIZE]), view(integers(p[PLAN]), p[PLAN_SIZE])
    for i in range(p[PLAN_SIZE]):
        state[i] = first[i]


@helper
def _action(p, cursor, work):
    """Address of the current action, 0 at the end; plans further ones where they are used up."""
    buffer = work + 8 * p[ACTIONS_AT]
    if cursor[0] == cursor[1]:
        state = view(integers(work + 8 * p[PLAN_AT]), p[PLAN_SIZE])
        cursor[0], cursor[1] = 0, plan(state, matrix(integers(buffer), CHUNK, ACTION))
    return buffer + 8 * ACTION * cursor[0] if cursor[1] else 0


@helper
def _keep_before(p, cursor, kept, k, work):
    """In the forward pass, before step k: keep the state as the schedule says."""
    inside = work + 8 * p[STEP_IN]
    while True:
        at = _action(p, cursor, work)
        if not at:
            return 0
        action = view(integers(at), ACTION)
        code, start, stop, slot = action[0], action[1], action[2], action[3]
        if code == ADVANCE and k < stop:
            return _keep(p, kept, slot + k - start, inside) if slot >= 0 else 0
        if code == REVERSE or (code == STORE and start > k):
            return 0
        if code == STORE:
            failed = _keep(p, kept, slot, inside)
            if failed:
                return failed
        cursor[0] += 1


# ── forward ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _forward(p, source, target, saved, work):
    """Make all steps, keeping states from `saved` on. Results go behind the state in `target`, if it is there."""
    n = p[CARRY]
    elements, current, kept = source + 8 * (n + p[SHARED]), saved + 8, saved + 8 * (1 + n)
    keep = p[KEEP] if saved else NOTHING
    cursor = view(integers(work + 8 * p[PLAN_AT] - 16), 2)
    if keep == SCHEDULED:
        _rewind(p, cursor, work)
    state = view(integers(work + 8 * p[PLAN_AT]), p[PLAN_SIZE])
    if keep == ONLINE:
        first = view(integers(p[PLAN]), p[PLAN_SIZE])
        for i in range(p[PLAN_SIZE]):
            state[i] = first[i]
    _start(p, source, work)
    k, code = 0, 0
    while True:
        more = _goes_on(p, k, work)
        if more != 1:
            code = more if more < 0 else max(more - 1, 0)
            break
        if keep == EVERY:
            code = _keep(p, kept, k, work + 8 * p[STEP_IN])
        elif keep == SCHEDULED:
            code = _keep_before(p, cursor, kept, k, work)
        elif keep == ONLINE and k > 0:  # the step before was not the last one
            slot = choose(state, k - 1)
            code = _keep(p, kept, slot, current) if slot >= 0 else 0
        if keep != NOTHING:
            _copy(current, work + 8 * p[STEP_IN], n)
        code = code or _step(p, elements, k, work)
        if code:
            break
        if target:
            _copy(target + 8 * (n + _place(p, k) * p[Y]), work + 8 * (p[STEP_OUT] + n), p[Y])
        k += 1
    if saved:
        view(doubles(saved), 1)[0] = k
    if keep == ONLINE:  # as numbers: the bits of an integer may be those of a NaN
        chosen = view(doubles(kept + 8 * p[MEMORY_SLOTS] * n), p[PLAN_SIZE])
        for i in range(p[PLAN_SIZE]):
            chosen[i] = state[i]
    return code


@kernel
def run_loop(context, source, target, work):
    """A loop, its states kept for the adjoint if it is hinted."""
    p = view(integers(context), LOOP_FIELDS)
    n = p[CARRY]
    results = p[Y] * p[LENGTH] if p[Y] else 0
    saved = target + 8 * (n + results) if p[HINTED] and p[KEEP] != INVERTED else 0
    code = _forward(p, source, target, saved, work)
    _copy(target, work + 8 * p[STEP_IN], n)
    return code


# ── reverse ───────────────────────────────────────────────────────────────────────────────────────────────────
@helper
def _pull_back(p, elements, seeds, target, k, work):
    """The adjoint of step k at the current state: adjoints of its element and, added up, of what is shared."""
    _count(p)
    n, nx, extra = p[CARRY], p[X], p[COUNTED]
    inside, outside = work + 8 * p[BAR_IN], work + 8 * p[BAR_OUT]
    place = _place(p, k)
    _load(p, elements, place, work)
    _copy(inside, work + 8 * p[STEP_IN], n + nx + extra)
    _copy(inside + 8 * (n + nx + extra + p[SHARED] + n), seeds + 8 * (n + place * p[Y]), p[Y])
    code = call_kernel(p[ADJOINT], p[ADJOINT + 1], inside, outside, work + 8 * p[SCRATCH])
    _copy(inside + 8 * (n + nx + extra + p[SHARED]), outside, n)
    _copy(target + 8 * (n + p[SHARED] + place * nx), outside + 8 * n, nx)
    total = view(doubles(work + 8 * p[SHARED_BAR]), p[SHARED])
    own = view(doubles(outside + 8 * (n + nx + extra)), p[SHARED])
    for i in range(p[SHARED]):
        total[i] += own[i]
    return code


@helper
def _seed(p, source, seeds, work):
    """Before the last step's adjoint: what is shared, the adjoint of the last state, no adjoint of what is shared."""
    at = work + 8 * (p[BAR_IN] + p[CARRY] + p[X] + p[COUNTED])
    _copy(at, source + 8 * p[CARRY], p[SHARED])
    _copy(at + 8 * p[SHARED], seeds, p[CARRY])
    total = view(doubles(work + 8 * p[SHARED_BAR]), p[SHARED])
    total[:] = 0.0


@helper
def _execute(p, at, kept, lines, work):
    """One action of the adjoint pass; `lines` are the addresses (arguments, elements, seeds, target)."""
    source, elements, seeds, target = lines
    action = view(integers(at), ACTION)
    code, start, stop, slot = action[0], action[1], action[2], action[3]
    inside, n = work + 8 * p[STEP_IN], p[CARRY]
    if code == RESTART:
        _copy(inside, source, n)
    elif code == STORE:
        return _keep(p, kept, slot, inside)
    elif code == LOAD:
        place = _slot(p, kept, slot)
        if not place:
            return WRONG
        _copy(inside, place, n)
    elif code == ADVANCE:
        for k in range(start, stop):
            failed = _keep(p, kept, slot + k - start, inside) if slot >= 0 else 0
            failed = failed or _step(p, elements, k, work)
            if failed:
                return failed
    elif code == REVERSE:
        for k in range(stop - 1, start - 1, -1):
            place = _slot(p, kept, slot + k - start)
            if slot >= 0 and not place:
                return WRONG
            if slot >= 0:
                _copy(inside, place, n)
            failed = _pull_back(p, elements, seeds, target, k, work)
            if failed:
                return failed
    elif code != DISCARD:
        return WRONG
    return 0


@helper
def _resume(p, steps, kept, cursor, work):
    """Go on with the choices that the forward pass has made; whether they can be such."""
    cursor[0], cursor[1] = 0, 0
    state = view(integers(work + 8 * p[PLAN_AT]), p[PLAN_SIZE])
    chosen = view(doubles(kept + 8 * p[MEMORY_SLOTS] * p[CARRY]), p[PLAN_SIZE])
    for i in range(p[PLAN_SIZE]):
        state[i] = int(chosen[i])
    if not is_possible(state, view(integers(p[PLAN]), p[PLAN_SIZE]), steps):
        return False
    finish(state, steps)
    return True


@helper
def _run_schedule(p, steps, kept, lines, work):
    """The schedule from its first adjoint on."""
    cursor = view(integers(work + 8 * p[PLAN_AT] - 16), 2)
    reversing = p[KEEP] == ONLINE
    if reversing:
        if not _resume(p, steps, kept, cursor, work):
            return WRONG
    else:
        _rewind(p, cursor, work)
    while True:
        at = _action(p, cursor, work)
        if not at:
            return 0
        action = view(integers(at), ACTION)
        if action[1] < 0 or action[2] > steps or action[1] > action[2]:
            return WRONG
        reversing = reversing or action[0] == REVERSE
        code = _execute(p, at, kept, lines, work) if reversing else 0
        if code:
            return code
        cursor[0] += 1


@helper
def _every_step(p, steps, kept, lines, work):
    """Adjoints of all steps, whose states were all kept."""
    for k in range(steps - 1, -1, -1):
        _copy(work + 8 * p[STEP_IN], kept + 8 * k * p[CARRY], p[CARRY])
        code = _pull_back(p, lines[1], lines[2], lines[3], k, work)
        if code:
            return code
    return 0


@helper
def _invert(p, steps, lines, work):
    """Adjoints of all steps, each state from the one after it."""
    inside, outside = work + 8 * p[STEP_IN], work + 8 * p[STEP_OUT]
    for k in range(steps - 1, -1, -1):
        _load(p, lines[1], _place(p, k), work)
        code = call_kernel(p[INVERSE], p[INVERSE + 1], inside, outside, work + 8 * p[SCRATCH])
        _copy(inside, outside, p[CARRY])
        code = code or _pull_back(p, lines[1], lines[2], lines[3], k, work)
        if code:
            return code
    return 0


@helper
def _reverse(p, steps, current, kept, lines, work):
    """Adjoints of all steps, by the way in which states are kept."""
    if p[KEEP] == INVERTED:
        return _invert(p, steps, lines, work)
    if p[KEEP] == EVERY:
        return _every_step(p, steps, kept, lines, work) if steps <= p[SLOTS] else WRONG
    _copy(work + 8 * p[STEP_IN], current, p[CARRY])
    return _run_schedule(p, steps, kept, lines, work)


@kernel
def reverse_loop(context, source, target, work):
    """The adjoint of a loop: [arguments | adjoints of state and results] to adjoints of arguments.

    What the forward pass kept is [state | results | what follows them], its address is in the first place of `work`.
    """
    p = view(integers(context), LOOP_FIELDS)
    n, length = p[CARRY], max(p[LENGTH], 0)
    elements = source + 8 * (n + p[SHARED])
    seeds = elements + 8 * length * p[X]
    given = view(integers(work), 1)[0]
    saved = given + 8 * (n + length * p[Y])
    if p[HINTED]:
        _start(p, source, work)
        _copy(work + 8 * p[STEP_IN], given, n)
    else:
        saved = work + 8 * p[KEPT]
        code = _forward(p, source, 0, saved if p[KEEP] != INVERTED else 0, work)
        if code:
            return code
    steps = p[LENGTH]
    if p[KEEP] != INVERTED:
        steps = int(view(doubles(saved), 1)[0])
    if steps < 0 or (p[LENGTH] >= 0 and steps > p[LENGTH]):
        return WRONG
    _seed(p, source, seeds, work)
    lines = (source, elements, seeds, target)
    code = _reverse(p, steps, saved + 8, saved + 8 * (1 + n), lines, work)
    _copy(target, work + 8 * (p[BAR_IN] + n + p[X] + p[COUNTED] + p[SHARED]), n)
    _copy(target + 8 * n, work + 8 * p[SHARED_BAR], p[SHARED])
    return code
