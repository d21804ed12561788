"""Relaxed while loops: the result is the mean of all iterates, weighted by the stopping test.

Blondel & Roulet (2024), The Elements of Differentiable Programming, on control flows.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.branches import cond as exact_cond
from fastad.control.loops import scan
from fastad.control.loops import while_loop as exact_loop
from fastad.control.parts import flatten_state, numeric, structure_error
from fastad.errors import ShapeError
from fastad.recording.source import at_line
from fastad.soft.conditions import truth_value
from fastad.soft.hardness import MODE, straight_through
from fastad.soft.logic import truth
from fastad.soft.numbers import delivered, real, result_dtype, width
from fastad.transforms.call import unflatten

State = list[Any]  # the leaves of a state


def while_loop(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init: Any, max_steps: int, sigma: Any = 1.0
) -> Any:
    """`while cond_fun(state): state = body_fun(state)`, relaxed: a weighted mean of all iterates.

    Let x₀ = init, x_{k+1} = body_fun(x_k), and p_k the truth value cond_fun(x_k). The loop continues after x_k with
    weight s_{k+1} = s_k p_k, where s₀ = 1. The result is Σ_{k<n} s_k (1 − p_k) x_k + s_n x_n with n = max_steps; the
    weights sum to 1. It depends smoothly on the test, and tends to the exact result as sigma → 0. The loop is one row
    of the table for any max_steps, and body_fun is not run after the weight has become 0.

    Parameters
    ----------
    cond_fun
        Function of the state that returns one of two things. A comparison (`x > tol`, or several joined by `&`, `|` and
        `~`), as for `fad.while_loop`: it is relaxed with this sigma. Or a truth value in [0, 1] from the operators of
        `fad.soft`: it is used as it is.
    body_fun
        Function from a state to a state of the same structure and shapes.
    init
        A pytree of arrays and numbers.
    max_steps
        The largest number of steps.
    sigma
        Width of the comparisons in cond_fun, as for `greater_equal`. It may be recorded. A comparison of equal operands
        has the value 1/2 for every sigma, so test a counter by `k < n - 0.5`, not by `k < n`.

    Returns
    -------
    A pytree like init. Leaves are float32 where init's are, else float64.

    Raises
    ------
    ShapeError
        If body_fun changes the structure of the state, or cond_fun returns anything but one truth value.
    ValueError
        If sigma is not recorded and not positive.

    >>> import fastad as fad
    >>> def halvings(x, limit, sigma):
    ...     return fad.soft.while_loop(lambda x: x > limit, lambda x: x / 2, x, max_steps=20, sigma=sigma)
    >>> float(halvings(8.0, 0.7, 1e-3))
    0.5
    >>> float(fad.grad(halvings, argnums=1)(8.0, 0.7, 0.1)) > 0
    True
    """
    steps = operator.index(max_steps)
    if steps < 0:
        raise ShapeError(f"max_steps must be at least 0 steps, not {steps}{at_line()}")
    spread = width(sigma)
    leaves, tree = numeric(init, "the state of while_loop")
    dtypes = [result_dtype(x) for x in leaves]

    def body(state: State) -> State:
        before = unflatten(tree, state)
        after = body_fun(before)
        found, own = flatten_state(after)
        if own != tree:
            raise structure_error("body_fun of while_loop", before, after)
        return found

    def test(state: State) -> Any:
        return truth_value(cond_fun(unflatten(tree, state)), spread)

    def relaxed() -> State:
        with MODE.chosen("soft"):
            return [delivered(x, dtype) for x, dtype in zip(_relaxed(test, body, leaves, steps), dtypes, strict=True)]

    def exact() -> State:
        with MODE.chosen("hard"):
            found = exact_loop(lambda s: truth(test(s)), body, leaves, steps)
        return [delivered(real(x), dtype) for x, dtype in zip(found, dtypes, strict=True)]

    mode = MODE.read()
    if mode == "straight_through":
        return unflatten(tree, [straight_through(x, y) for x, y in zip(exact(), relaxed(), strict=True)])
    return unflatten(tree, relaxed() if mode == "soft" else exact())


def _relaxed(test: Callable[[State], Any], body: Callable[[State], State], init: State, steps: int) -> State:
    """The weighted mean of the iterates, as float64."""

    def step(carry: Any, _: Any) -> Any:
        state, weight, total = carry
        p = test(state)
        total = [t + _weighed(weight * (1.0 - p), x) for t, x in zip(total, state, strict=True)]
        weight = weight * p
        return (exact_cond(weight > 0, body, lambda s: s, state), weight, total), None

    zeros = [np.zeros(np.shape(x)) for x in init]
    (state, weight, total), _ = scan(step, (init, 1.0, zeros), None, steps)
    return [t + _weighed(weight, x) for t, x in zip(total, state, strict=True)]


def _weighed(weight: Any, x: Any) -> Any:
    x = real(x)
    return weight * np.where((weight != 0) | np.isfinite(x), x, 0.0)  # 0 * inf is NaN


__all__ = ["while_loop"]
