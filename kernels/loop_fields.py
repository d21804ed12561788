"""What the drivers of composite rows are told: places in vectors of int64. An address of 0 means: there is none."""

# A loop: sizes of its state, of one step's element and result, of what all steps share. LENGTH is the number of
# steps, or the most that a loop with a condition makes (-1: no limit). COUNTED: a step is told its number, too.
CARRY, X, Y, SHARED, LENGTH, COUNTED, BACKWARD = range(7)
# Kernels (address, context): of a step, of the condition, of a step's adjoint, of the inverse of a step.
BODY, CONDITION, ADJOINT, INVERSE = 7, 9, 11, 13
# How states are kept. KEEP is one of the ways below; HINTED: the adjoint finds what the forward pass has kept.
KEEP, HINTED = 15, 16
# The schedule: the first state of its planner and the length of that; slots in memory and in all; address of those
# on disk; address of a count of the steps and adjoint steps run so far.
PLAN, PLAN_SIZE, MEMORY_SLOTS, SLOTS, DISK, PROGRESS = range(17, 23)
# Offsets, in doubles, of the driver's own vectors in its work: input and result of a step; input and result of its
# adjoint; sum of the adjoints of what is shared; states kept; planner's state; actions; work of the kernels.
STEP_IN, STEP_OUT, BAR_IN, BAR_OUT, SHARED_BAR, KEPT, PLAN_AT, ACTIONS_AT, SCRATCH = range(23, 32)
LOOP_FIELDS = 32

# Ways to keep states: none; each in a slot of its own; by a schedule; by one that is not told the number of steps;
# none, since steps can be inverted.
NOTHING, EVERY, SCHEDULED, ONLINE, INVERTED = range(5)

ACTION, CHUNK = 4, 16  # numbers of an action, actions that are planned at a time

# A choice among branches: sizes of operands and result, number of branches; then address and context of each kernel.
OPERANDS, RESULT, BRANCHES, FIRST = range(4)
# Lanes: sizes of one lane's operands and result, number of lanes, address and context of the kernel.
# Lanes also have the length of what was kept for one lane, at the end.
LANES, LANE, LANE_KEPT = 2, 3, 5
