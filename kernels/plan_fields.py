"""What the planners of schedules read and write: indices into vectors of int64, codes of actions, rules.

A row that a planner writes is (code, start, stop, slot); `segments` says what the codes mean.
"""

ADVANCE, STORE, LOAD, DISCARD, REVERSE, RESTART = 1, 2, 3, 4, 5, 6

# Rules.
LISTED, BINOMIAL, PERIODIC, TIERED, ONLINE = range(5)

# Indices into `state`.
# FRESH: 1 if the current state is the first of the segment on top and not stored yet. STOP: the end of that segment.
# SIZE: number of memory slots, or the period. ON_DISK: number of segments whose first state is on disk.
# STACK, SLOTS and OWN: where parts of varying length begin. STACK: the start of each segment, which is the end of the
# segment below it. SLOTS: the memory slots in the order in which segments take them (−1: ascending). OWN: data of the
# rule.
RULE, DEPTH, FRESH, STOP, STEPS, SIZE, ON_DISK, STACK, SLOTS, OWN, HEADER = range(11)

# A buffer must have room for this many rows.
MOST_AT_ONCE = 6

# Indices for the rule ONLINE into the part of `state` at OWN: first numbers, then step, level and predecessor by slot.
# LAST: slot of the last state. RAISED: slot of the last state with a raised level; −1: no state is dispensable.
# DROPPED: step of the state that the last choice replaced; −1: none. DONE: the step up to which rows are written.
# SEEN: the next step to decide on.
COUNT, LAST, RAISED, DROPPED, DONE, SEEN, LISTS = range(7)
