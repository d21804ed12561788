"""What the planners of schedules read and write: the state of a plan as records, codes of actions, rules.

A row that a planner writes is (code, start, stop, slot); `segments` says what the codes mean. The state of a plan is a
vector of int64 that begins with the record PLAN.
"""

from .records import record

ADVANCE, STORE, LOAD, DISCARD, REVERSE, RESTART = 1, 2, 3, 4, 5, 6

# Rules.
LISTED, BINOMIAL, PERIODIC, TIERED, ONLINE = range(5)

PLAN = record(
    # One of the rules; the number of segments on the stack. LISTED: the number of rows read so far.
    "rule", "depth",
    # 1 if the current state is the first of the segment on top and not stored yet; the end of that segment.
    "fresh", "stop",
    # Steps of the loop. LISTED: the number of rows. Number of memory slots, or the period. Number of segments whose
    # first state is on disk.
    "steps", "size", "on_disk",
    # Where parts of varying length begin. The start of each segment, which is the end of the segment below it; the
    # memory slots in the order in which segments take them (-1: ascending); data of the rule.
    "stack", "slots", "own",
)  # fmt: skip
HEADER = PLAN.itemsize // 8

# The data of the rule ONLINE begins with this record. Then come step, level and predecessor by slot.
CHOICES = record(
    # Number of states; slot of the last one; slot of the last one with a raised level (-1: no state is dispensable).
    "count", "last", "raised",
    # Step of the state that the last choice replaced (-1: none); the step up to which rows are written; the next step
    # to decide on.
    "dropped", "done", "seen",
)  # fmt: skip
LISTS = CHOICES.itemsize // 8

# A segment whose splits are listed: its length, the free slots on disk, and whether its first state is on disk.
SEGMENT = record("length", "free", "on_disk")

# A buffer must have room for this many rows.
MOST_AT_ONCE = 6
