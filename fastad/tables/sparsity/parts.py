"""Patterns of sub-programs, which each find once and keep."""

from typing import Any

from fastad.errors import DerivativeError
from fastad.tables.sparsity.sets import Sets, Structure
from fastad.tables.sparsity.sweep import jacobian_structure


def structure_of(sub: Any) -> Structure:
    """The pattern of the Jacobian of a sub-program: by its table, by its rules, or by its driver. A Python function
    without rules is dense."""
    if sub.rules is not None:
        return _by_rules(sub)
    if sub.table is not None:
        return jacobian_structure(sub.table, [0])[0]
    if sub.callback is not None:
        return Structure.dense(sub.n_out, sub.n_in)
    sets = Sets(sub.n_in)
    return sets.rows(sub.dependencies(sets, sets.singles()))


def _by_rules(sub: Any) -> Structure:
    """A rule may be anything, so the pattern is that of the rule: of (x, dx) to dy by dx, or of (x, u) to Jᵀu by u."""
    try:
        tangent = sub.tangent
    except DerivativeError:  # of a rule that cannot be transposed
        return sub.adjoint.structure.chosen(sub.n_in, sub.n_in + sub.n_out).transposed()
    return tangent.structure.chosen(sub.n_in, 2 * sub.n_in)
