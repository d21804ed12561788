"""Patterns of sub-programs, which each find once and keep."""

import threading
from typing import Any

import numpy as np

from fastad.errors import DerivativeError
from fastad.tables.sparsity.known import Known
from fastad.tables.sparsity.sets import Sets, Structure
from fastad.tables.sparsity.sweep import dependencies, jacobian_structure


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


class _Sought(threading.local):
    """Rules whose pattern this thread seeks at the moment."""

    def __init__(self) -> None:
        self.rules: list[Any] = []


_sought = _Sought()


def _by_rules(sub: Any) -> Structure:
    """A rule may have a pattern of its own; else the pattern is that of its tangent by dx, or of its adjoint by u. A
    rule that applies its own sub-program to what it is linear in is dense."""
    own: Structure | None = sub.rules.structure(sub)
    if own is not None:
        return own
    if any(rules is sub.rules for rules in _sought.rules):
        return Structure.dense(sub.n_out, sub.n_in)
    _sought.rules.append(sub.rules)
    try:
        tangent = sub.tangent
    except DerivativeError:  # of a rule that cannot be transposed
        return _by_second(sub.adjoint, sub.n_in).transposed()
    else:
        return _by_second(tangent, sub.n_in)
    finally:
        _sought.rules.pop()


def _by_second(rule: Any, n: int) -> Structure:
    """The pattern of a rule by its second operand; the first has n elements. These depend on nothing here, so rows of
    them alone, as calls of the sub-program itself are, need no pattern."""
    sets = Sets(rule.n_in - n)
    inputs = np.concatenate([np.zeros(n, np.int32), sets.singles()])
    if rule.table is None or rule.rules is not None:
        return sets.rows(rule.dependencies(sets, inputs))
    return sets.rows(dependencies(rule.table, sets, {0: inputs}, Known(rule.table, ()))[0])
