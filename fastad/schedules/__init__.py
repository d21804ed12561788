"""Checkpoint schedules: which states of a loop are stored for its adjoint, and which are computed anew, as data.

- `actions`  what a schedule consists of
- `base`     what every schedule offers; a new one is a subclass that gives its actions
- `nested`   the schedules
- `verify`   the symbolic executor: proves that actions are a valid schedule, and counts
"""
