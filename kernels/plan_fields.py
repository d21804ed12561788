"""What the planners of schedules read and write: places in vectors of int64, codes of actions, rules.

A row that a planner writes is (code, start, stop, slot); `segments` says what the codes mean.
"""

ADVANCE, STORE, LOAD, DISCARD, REVERSE, RESTART = 1, 2, 3, 4, 5, 6

# Rules.
LISTED, BINOMIAL, PERIODIC, TIERED, ONLINE = range(5)

# What stands where in `state`. FRESH: whether the current state is the first one of the segment on top, not
# stored yet; STOP: where that segment ends. SIZE: memory slots, or the period. ON_DISK: how many segments start at a
# state on disk. STACK, SLOTS and OWN say where parts of varying length begin: the stack (the start of each segment,
# which is the end of the one below), the memory slots in the order in which segments take them (−1: ascending), and
# what the rule keeps for itself.
RULE, DEPTH, FRESH, STOP, STEPS, SIZE, ON_DISK, STACK, SLOTS, OWN, HEADER = range(11)

# A buffer must have room for so many rows.
MOST_AT_ONCE = 6

# Of the rule ONLINE, what stands where in the part of `state` that OWN points to: numbers, then step, level and
# predecessor by slot. LAST: the slot of the last state. RAISED: that of the last one with a raised level, −1: nothing
# is dispensable. DROPPED: the step of the state that the last choice has replaced, −1: none. DONE, SEEN: the step up to
# which rows are written, and the next one to decide on.
COUNT, LAST, RAISED, DROPPED, DONE, SEEN, LISTS = range(7)
