"""Checkpoint schedules as data: which states of a loop are stored for its adjoint, and which are recomputed.

- `actions`  the actions that a schedule consists of
- `base`     the interface; a new schedule is a subclass that defines its actions
- `nested`   StoreAll, StoreNone, Revolve, Periodic
- `tiered`   Multistage: memory and disk
- `online`   Online: an unknown number of steps
- `auto`     Auto: a given number of bytes
- `stored`   schedules in files
- `verify`   the symbolic executor: proves that a schedule is valid, and counts what it does
"""
