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

# One program on `count` lanes: sizes of a lane's operands, of its result, and of what was saved for it.
LANES = record("count", "operands", "results", "saved", ("lane", KERNEL))

# Where the vectors of a loop's driver start in its work, in doubles: argument and result of a step; argument and result
# of its adjoint; sum of the adjoints of what all steps share; saved states; place in the actions, state of the planner,
# actions; work of the kernels that are called.
LOOP_WORK = record(
    "step_in", "step_out", "bar_in", "bar_out", "shared_bar", "saved", "cursor", "plan", "actions", "scratch"
)

# A loop, or its adjoint.
LOOP = record(
    # Sizes of the state, of one step's element and result, and of what all steps share.
    "state", "element", "result", "shared",
    # Number of steps, or the most that a loop with a condition makes (-1: no limit). `indexed`: the body takes the
    # step's index. `backward`: the first step takes the last element.
    "length", "indexed", "backward",
    # How the adjoint finds the states, one of the policies below. `saves`: the forward pass returns them to it.
    "policy", "saves",
    # Slots for states in memory and in all, address of those on disk; first state of the planner and its length.
    "memory_slots", "slots", "disk", "initial_plan", "plan_size",
    # Address of a count of the steps and adjoint steps that were run.
    "progress",
    ("body", KERNEL), ("condition", KERNEL), ("adjoint", KERNEL), ("inverse", KERNEL),
    ("work", LOOP_WORK),
)  # fmt: skip

# Policies: no states are stored; each in a slot of its own; by a schedule; by one that does not know the number of
# steps; none, since steps can be inverted.
NOTHING, EVERY, SCHEDULED, ONLINE, INVERTED = range(5)

ACTION, CHUNK = 4, 16  # numbers of an action, actions that are planned at a time
