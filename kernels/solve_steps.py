"""The steps of a solve: trial steps until one has a small enough error, or those of a fixed grid. See `solving`."""

from .flags import helper
from .memory import shift
from .records import (
    ACCEPTED,
    AT,
    CHANGED,
    CHOSEN,
    CONTROL,
    DONE,
    EFFECT,
    FRACTION,
    FRESH,
    FULL,
    GIVEN,
    HAPPENED,
    KNOWN,
    LAST,
    LEAST_LAST,
    LOGGING,
    NEXT,
    NOT_FINITE,
    OVERFLOWN,
    REJECTED,
    RETRY,
    RUN,
    STATUS,
    STEP,
    TOO_MANY,
    TOO_SMALL,
    TRIES,
    UNSOLVED,
    WORST,
)
from .reversing import WRONG, call, copy, count, show_part
from .solve_events import (
    accept_change,
    accept_signs,
    change,
    change_in,
    entry_of,
    find_events,
    mark_change,
    pending,
    set_clock,
    take_turn,
)
from .solve_space import (
    cache_of,
    control_of,
    ends_of,
    notes_of,
    place_of_dense,
    place_of_errors,
    set_fresh,
    span_of,
)
from .solve_trials import (
    evaluate,
    factor_of,
    is_unsolved,
    keep_memory,
    make_step,
    recompute,
    refresh,
    try_step,
)
from .stepsize import (
    CHANGE,
    GUESS,
    all_finite,
    change_of,
    error_norm,
    first_not_finite,
    first_step,
    given_fraction,
    largest_fraction,
    logarithm,
    next_factor,
    retry_factor,
    rounded,
    says_nothing,
    smallest_fraction,
    time_at,
    trial_step,
)


@helper
def first_fraction(solve, given, space):
    """The first step, as a fraction of the span, to the control. Returns 0 or an error."""
    control, span, n = control_of(solve, space), span_of(solve, space), solve.errors
    fraction = given_fraction(given.elements, span)
    last = GIVEN
    if fraction == 0.0 and (span == 0.0 or n == 0):
        fraction = 1.0
    if fraction == 0.0:
        y, ends = space.step_in, ends_of(solve, space)
        slope, kept = space.sample_in, space.sample_out
        code = evaluate(solve, space)
        if code:
            return code
        copy(slope, space.step_out, solve.own)
        copy(cache_of(solve, space), slope, solve.cache)
        space.marks[FRESH] = 1
        copy(kept, space.step_in, solve.own)
        if not all_finite(slope, n):
            space.run[STATUS], space.run[WORST] = NOT_FINITE, first_not_finite(slope, n)
        trial = trial_step(y, slope, given.elements, n, span)
        if trial > 0.0:
            signed = trial if ends[1] >= ends[0] else -trial
            for i in range(solve.own):
                space.step_in[i] += signed * slope[i]
            control[AT] = trial / span
            code = evaluate(solve, space)
            copy(space.step_in, kept, solve.own)
            control[AT] = 0.0
            h = first_step(y, slope, space.step_out, given.elements, n, solve.order, trial, span)
            fraction = rounded(h / span)
            last = CHOSEN if trial != min(GUESS, span) else GIVEN
    control[STEP], control[LAST] = fraction, last
    return 0


@helper
def probe(solve, controls, space):
    """The error that the current step makes in a small change of its start, relative to that change; -1 for a failure.

    Where a solution rests, its own error is 0 at any step size. That of its derivatives, which are small changes that
    grow or decay, is not.
    """
    y, n, size = space.step_in, solve.errors, place_of_dense(solve)
    kept_in, kept_out = space.aside, shift(space.aside, solve.own + solve.cache)
    copy(kept_in, y, solve.own)
    copy(shift(kept_in, solve.own), cache_of(solve, space), solve.cache)
    copy(kept_out, space.step_out, size + solve.dense)
    for i in range(n):
        y[i] += CHANGE * change_of(controls, i, n, y[i])
    code = 0
    if solve.cache:
        code = evaluate(solve, space)
        copy(cache_of(solve, space), space.step_out, solve.cache)
    code = code or try_step(solve, space, control_of(solve, space)[STEP])
    place = place_of_errors(solve)
    error, before = shift(space.step_out, place), shift(kept_out, place)
    for i in range(solve.estimates * n):
        error[i] -= before[i]
    norm, _ = error_norm(error, kept_in, kept_out, controls, n, solve.estimates)
    copy(y, kept_in, solve.own)
    copy(cache_of(solve, space), shift(kept_in, solve.own), solve.cache)
    copy(space.step_out, kept_out, size + solve.dense)
    return -1.0 if code else norm / CHANGE


@helper
def adapt(solve, given, space):
    """Trial steps until one has a small enough error. Its size is in the control then, the logarithm of its error and
    the factor for the next one are in space.run[RUN:]."""
    control, ends, controls = control_of(solve, space), ends_of(solve, space), given.elements
    if control[STEP] == 0.0:
        code = first_fraction(solve, given, space)
        if code or space.run[STATUS] != DONE:
            return code
    code = refresh(solve, space)
    if code:
        return code
    span, position = span_of(solve, space), control[AT]
    most, least = largest_fraction(controls, span), smallest_fraction(ends, position, span)
    rest, rejected = 1.0 - position, control[KNOWN] == 2.0
    fraction = max(control[STEP], least)
    error, notes = shift(space.step_out, place_of_errors(solve)), notes_of(solve, space)
    while True:
        fraction = min(fraction, most)
        if rest <= 1.01 * fraction and rest <= most:
            fraction = rest
        elif not fraction >= least:
            space.run[STATUS] = UNSOLVED if rejected and is_unsolved(solve, space) else TOO_SMALL
            return 0
        code = try_step(solve, space, fraction)
        if code:
            return code
        norm, worst = error_norm(error, space.step_in, space.step_out, controls, solve.errors, solve.estimates)
        space.run[WORST] = worst
        if says_nothing(norm, control[LAST], controls, solve.errors, solve.counts > 0):
            other = probe(solve, controls, space)
            if other < 0.0:
                return WRONG
            norm = max(norm, other)
        if norm <= 1.0 and all_finite(space.step_out, solve.errors):
            last = logarithm(norm)
            factor = next_factor(last, control[LAST], solve.order)
            factor = factor_of(solve, NEXT, min(factor, 1.0) if rejected else factor, space)
            space.run[RUN], space.run[RUN + 1] = max(last, LEAST_LAST), factor
            control[KNOWN] = 2.0 if rejected else 1.0
            return 0
        if fraction <= least and fraction < rest:
            space.run[STATUS] = UNSOLVED if is_unsolved(solve, space) else TOO_SMALL
            return 0
        space.run[REJECTED] += 1
        rejected = True
        keep_memory(solve, space)
        if solve.control > CONTROL:
            notes[TRIES] += 1.0
        fraction = rounded(fraction * factor_of(solve, RETRY, retry_factor(norm, solve.order), space))


@helper
def grid_place(solve, controls, k):
    """The position of step k of a fixed grid, and the size of the step. The grid has pieces (left, size of a step,
    first step)."""
    low, high = 0, solve.intervals
    while high - low > 1:
        middle = (low + high) // 2
        if controls[3 * middle + 2] <= k:
            low = middle
        else:
            high = middle
    size = controls[3 * low + 1]
    return controls[3 * low] + size * (k - controls[3 * low + 2]), size


@helper
def give_place(solve, given, k, control):
    """Give step k of a fixed grid its place."""
    control[AT], control[STEP] = grid_place(solve, given.elements, k)


@helper
def position_after(solve, given, k, space):
    """The position after step k, whose control is in the argument."""
    control = control_of(solve, space)
    if not solve.adaptive:
        return grid_place(solve, given.elements, k + 1)[0] if k + 1 < solve.length else 1.0
    after = control[AT] + control[STEP]
    return 1.0 if control[STEP] >= 1.0 - control[AT] else after


@helper
def attempt_with_events(solve, given, k, space):
    """A step up to its end, or to the event that ends it. One that is pending ends a step of size 0."""
    logging = space.marks[LOGGING]
    if logging:
        waits = pending(solve, space)
        place = take_turn(solve, k, waits, space) if waits >= 0 else -1
    else:
        place = change_in(k, space)
    if place >= 0 and entry_of(space, place)[FRACTION] == 0.0:
        control_of(solve, space)[STEP] = 0.0
        code = recompute(solve, space)
    elif control_of(solve, space)[KNOWN] >= CHANGED:  # a stored state, of a step that is known to end by an event
        code = recompute(solve, space)
    else:
        code = adapt(solve, given, space)
        if code or space.run[STATUS] != DONE:
            return code
        if logging:
            code = find_events(solve, k, position_after(solve, given, k, space), space)
            if code:
                return code
            place = change_in(k, space)
    mark_change(solve, place, space)
    return code or (change(solve, space) if place >= 0 else 0)


@helper
def goes_on(solve, given, k, space):
    if space.run[STATUS] != DONE:
        return 0
    if not solve.adaptive:
        return 1 if k < solve.length else 0
    if control_of(solve, space)[AT] >= 1.0:
        return 0
    has_room = not solve.kept or k < solve.kept
    if solve.events and space.marks[LOGGING] and space.run[HAPPENED] + solve.events > solve.room:
        has_room = False
    if k < solve.length and has_room:
        return 1
    space.run[STATUS] = TOO_MANY if k >= solve.length else FULL
    return 0


@helper
def attempt(solve, given, k, space):
    count(solve)
    if solve.events:
        return attempt_with_events(solve, given, k, space)
    if solve.adaptive:
        return adapt(solve, given, space)
    give_place(solve, given, k, control_of(solve, space))
    code = refresh(solve, space)
    code = code or make_step(solve, space)
    if solve.counts and not code and is_unsolved(solve, space):
        space.run[STATUS] = UNSOLVED
    return code


@helper
def accept(solve, given, k, space):
    if space.run[STATUS] != DONE:
        return 0
    if solve.events:
        if space.marks[EFFECT]:
            code = accept_change(solve, space)
            show_progress(solve, given, space, 0)
            return code
        accept_signs(solve, space)
    control = control_of(solve, space)
    space.run[ACCEPTED] += 1
    if solve.adaptive:
        control[AT] = position_after(solve, given, k, space)
        control[STEP] = rounded(control[STEP] * space.run[RUN + 1])
        control[LAST], control[KNOWN] = space.run[RUN], 0.0
    elif solve.cache or k + 1 >= solve.length:
        control[AT] = position_after(solve, given, k, space)
    copy(space.step_in, space.step_out, solve.own)
    size = solve.control - CONTROL
    copy(notes_of(solve, space), shift(space.step_out, solve.own), size + solve.cache + solve.memory)
    if size:
        notes_of(solve, space)[TRIES] = 0.0
    show_progress(solve, given, space, 0)
    return 0


@helper
def show_progress(solve, given, space, is_back):
    """How much of the span was done, for the progress bar of a solve that chooses its steps."""
    if solve.progress and solve.adaptive:
        whole, t = shift(given.arguments, solve.carried), time_at(ends_of(solve, space), control_of(solve, space)[AT])
        span = whole[1] - whole[0]
        part = (t - whole[0]) / span if span != 0.0 else 1.0
        show_part(solve, 2.0 - part if is_back else part)


@helper
def check_end(solve, space):
    """Note if fixed steps have ended in a state that is not finite: what is not finite stays so from step to step."""
    if space.run[STATUS] == DONE and not all_finite(space.step_in, solve.own):
        space.run[STATUS], space.run[WORST] = OVERFLOWN, first_not_finite(space.step_in, solve.own)


@helper
def enter(solve, given, k, space):
    set_fresh(solve, solve.state, space)
    if solve.events:
        set_clock(solve, space)
    return 0


@helper
def trace(solve, given, k, space):
    return control_of(solve, space)


@helper
def undo(solve, given, k, space):
    if not solve.adaptive:
        give_place(solve, given, k, control_of(solve, space))
    space.marks[FRESH] = 0
    code = call(solve.inverse, space.step_in, space.step_out, space)
    copy(space.step_in, space.step_out, solve.own)
    return code
