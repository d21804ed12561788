"""Ctrl-C, as loops ask for it before every step (see `fastad.execution.interrupting`)."""

from .flags import helper
from .interrupt_state import DEPTH, HANDLED, NOTED, REQUESTED, SIZE, STEPS
from .memory import integers, view
from .notices import interrupts

STOP = -1  # the code with which a loop ends then


@helper
def stopped():
    """STOP if the user has pressed Ctrl-C since the kernel was called, else 0."""
    state = view(integers(interrupts()), SIZE)
    return STOP if state[REQUESTED] != state[HANDLED] else 0


@helper
def ended_at(k, code):
    """The code with which a loop ends at step k, which is noted if that is for Ctrl-C."""
    if code and stopped():
        state = view(integers(interrupts()), SIZE)
        if state[NOTED] < DEPTH:
            state[STEPS + state[NOTED]] = k
            state[NOTED] += 1
    return code
