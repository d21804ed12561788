"""Runs: assemblies of a few contiguous pieces side by side, which are computed where they are used."""

from typing import Any

from fastad.primitives.regions import is_contiguous

_RUNS = 3  # pieces of an assembly that is computed where it is used


def runs_of(row: Any) -> list[tuple[int, int]] | None:
    """The pieces of an assembly as runs (start, operand), operand -1 for zeros; None if it is not a few runs,
    or zeros alone."""
    if not 0 < len(row.operands) <= _RUNS or not all(is_contiguous(own) for own in row.regions):
        return None
    pieces = sorted((own[0], own[0] + own[1], x) for own, x in zip(row.regions, row.operands, strict=True) if own[1])
    if not pieces:
        return None
    at, runs = 0, []
    for low, high, x in pieces:
        if low < at:
            return None  # one piece over another
        if low > at:
            runs.append((at, -1))
        runs.append((low, x))
        at = high
    if at < row.size:
        runs.append((at, -1))
    return runs
