"""Relaxed while loops: the stopping test weights each iterate (section 17.4.3.2 of the notes)."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.branches import cond as exact_cond
from fastad.control.loops import scan
from fastad.control.loops import while_loop as exact_loop
from fastad.control.parts import flatten_state, numeric, structure_error
from fastad.errors import ShapeError
from fastad.soft.conditions import truth_value
from fastad.soft.hardness import MODE, straight_through
from fastad.soft.logic import truth
from fastad.soft.numbers import delivered, real, result_dtype, width
from fastad.transforms.call import unflatten

State = list[Any]  # the leaves of a state


def while_loop(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init: Any, max_steps: int, sigma: Any = 1.0
) -> Any:
    """`while cond_fun(state): state = body_fun(state)` relaxed: the mean of all iterates over where the loop may stop.

    With x₀ = init, x_{k+1} = body_fun(x_k) and the truth values p_k = cond_fun(x_k), the loop goes on past x_k with
    weight s_{k+1} = s_k p_k, where s₀ = 1. The result is Σ_{k<n} s_k (1 − p_k) x_k + s_n x_n with n = max_steps; the
    weights sum to 1. So it depends smoothly on the test, and tends to the exact result as sigma → 0. The loop is one
    row of the table, whatever max_steps is; body_fun does not run any more once the weight is 0.

    Parameters
    ----------
    cond_fun
        Function of the state that says whether to go on. Either a comparison (`x > tol`, also joined by `&`, `|` and
        `~`), as for `fad.while_loop`: it is replaced by its relaxed counterpart with this sigma. Or a truth value in
        [0, 1] from the operators of `fad.soft`, which is used as it is.
    body_fun
        Function of the state to a state of the same structure and shapes.
    init
        A pytree of arrays and numbers.
    max_steps
        The number of steps after which the loop ends at the latest.
    sigma
        Width of the comparisons in cond_fun, as for `greater_equal`; it may be recorded. As for them, a test whose
        operands are equal has weight 1/2 for every sigma: of a counter ask `k < n - 0.5`, not `k < n`.

    Returns
    -------
    A pytree like init: leaves are float32 where init's are, else float64.

    Raises
    ------
    ShapeError
        If body_fun changes the structure of the state, or cond_fun returns anything but one truth value.
    ValueError
        If a static sigma is not positive.

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
        raise ShapeError(f"max_steps is {steps}; a loop makes at least 0 steps")
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
