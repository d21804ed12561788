"""fad.debug.nans() inside of loops, choices and lanes: the step and the user's line, in value and adjoint."""

import numpy as np
import pytest

import fastad as fad
from fastad.errors import NanError


def step(y, e):
    y = y - e
    return np.sqrt(y), y  # the line


X = np.array([1.0, 0.5, 0.5, 2.0])


def line_of(function):
    return function.__code__.co_firstlineno + 2


@pytest.mark.parametrize("schedule", [None, fad.checkpoint.Revolve(1)])
def test_the_step_of_a_loop_is_named(schedule):
    f = fad.jit(lambda x: fad.scan(step, 4.0, x, checkpoint=schedule)[0])
    with fad.debug.nans(), pytest.raises(NanError) as caught:
        f(X)
    text = str(caught.value)
    assert text.startswith("the value is NaN: sqrt of -") and "in step 3 of scan" in text
    assert f"{__file__}:{line_of(step)} in step" in text


def test_the_step_of_an_adjoint_is_named():
    def body(y, e):
        y = y * e
        return np.sqrt(y) * y, None

    f = fad.grad(lambda x: fad.scan(body, 1.0, x)[0])
    with fad.debug.nans(), pytest.raises(NanError) as caught:
        f(np.array([1.0, 2.0, 0.0]))
    text = str(caught.value)
    assert text.startswith("the adjoint is NaN") and "in step 2 of scan" in text
    assert f"{__file__}:{line_of(body)}" in text


def test_branches_lanes_and_nested_loops_are_named():
    def body(y):
        return y - 1.0 + np.sqrt(y)

    f = fad.jit(lambda x: fad.fori_loop(0, 3, lambda i, y: fad.cond(y < 9, body, np.sin, y) - 2.5, x))
    with fad.debug.nans(), pytest.raises(NanError) as caught:
        f(1.0)
    assert "in branch 1 of cond\n  in step 1 of fori_loop" in str(caught.value)
    many = fad.vmap(lambda a: fad.while_loop(lambda y: y > -5, lambda y: np.sqrt(y) - 1.0, a, max_steps=9))
    with fad.debug.nans(), pytest.raises(NanError) as caught:
        many(np.array([-9.0, 1.0]))
    assert "in step 2 of while_loop\n  in lane 1 of while_loop" in str(caught.value)


def test_what_is_kept_for_an_adjoint_is_no_value():
    newton = lambda a: fad.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, 1.0)
    with fad.debug.nans(inf=True):
        found = fad.grad(newton)(2.0), fad.vmap(fad.grad(newton))(np.array([2.0, 3.0]))
    np.testing.assert_allclose(found[0], 0.5 / np.sqrt(2.0))
    np.testing.assert_allclose(found[1], 0.5 / np.sqrt([2.0, 3.0]))
