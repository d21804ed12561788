"""debug.nans: names the first bad row, the user's line, and whether it arose in the value or in a derivative."""

import inspect
import threading

import numpy as np
import pytest

import fastad as fad
from fastad.execution.observing import observers


def loss(x):
    y = np.sqrt(x)
    return np.sum(y * x)


def line_of(function, text):
    """Number of the line of a function that holds a text."""
    lines, start = inspect.getsourcelines(function)
    return start + next(k for k, line in enumerate(lines) if text in line)


def failure(call, *args, **options):
    with fad.debug.nans(**options), pytest.raises(fad.NanError) as failed:
        call(*args)
    return str(failed.value)


ZERO = np.array([1.0, 0.0, 4.0])


def test_a_nan_in_the_value():
    message = failure(fad.jit(loss), -ZERO)
    assert message.startswith("the value is NaN at [0] and 1 more of 3 elements: sqrt of -1")
    assert f"test_debug.py:{line_of(loss, 'np.sqrt')} in loss" in message
    assert "y = np.sqrt(x)" in message and "row %1 is sqrt(%0)" in message and "%0 = -1, x0" in message


@pytest.mark.parametrize(
    ("role", "derivative"),
    [
        ("adjoint", lambda x: fad.grad(loss)(x)),
        ("adjoint", lambda x: fad.vjp(loss, x)[1](1.0)),
        ("tangent", lambda x: fad.jvp(loss, (x,), (np.ones(3),))),
        ("tangent", lambda x: fad.jacfwd(loss)(x)),
        ("adjoint", lambda x: fad.jacrev(loss)(x)),
        ("adjoint", lambda x: fad.vmap(fad.grad(loss))(np.stack([x, x]))),
        ("adjoint", lambda x: fad.jit(lambda x: 2 * fad.grad(loss)(x))(x)),
    ],
    ids=["grad", "vjp", "jvp", "jacfwd", "jacrev", "vmap", "composed"],
)
def test_a_nan_in_a_derivative(role, derivative):
    """sqrt has an infinite derivative at 0, which meets a factor 0; the value is fine."""
    message = failure(derivative, ZERO)
    assert message.startswith(f"the {role} is NaN at [") and "of 0 and inf" in message
    assert f":{line_of(loss, 'np.sqrt')} in loss" in message or f":{line_of(loss, 'y * x')} in loss" in message
    assert "np.where" in message  # what to do


def power(x):
    y = x**1.5  # y'' = 0.75 / sqrt(x), infinite at 0, where it meets a factor 0
    return np.sum(y * x * x)


ONES = np.ones(3)
SECOND = {
    "hessian": ("tangent of adjoint", lambda x: fad.hessian(power)(x)),
    "hvp": ("tangent of adjoint", lambda x: fad.hvp(power, x, ONES)),
    "jvp of grad": ("tangent of adjoint", lambda x: fad.jvp(fad.grad(power), (x,), (ONES,))),
    "grad of grad": ("adjoint of adjoint", lambda x: fad.grad(lambda x: np.sum(fad.grad(power)(x)))(x)),
    "jvp of jvp": ("tangent of tangent", lambda x: fad.jvp(lambda x: fad.jvp(power, (x,), (ONES,))[1], (x,), (ONES,))),
    "grad of jvp": ("adjoint of tangent", lambda x: fad.grad(lambda x: fad.jvp(power, (x,), (ONES,))[1])(x)),
}


@pytest.mark.parametrize(("role", "derivative"), SECOND.values(), ids=SECOND)
def test_roles_of_second_derivatives(role, derivative):
    """A NaN is laid to the derivative that it arose in: at 0 only to the second, below 0 to the value."""
    with fad.debug.nans():
        assert np.isfinite(fad.grad(power)(ZERO)).all()
        assert np.isfinite(derivative(ZERO + 1.0)[-1]).all()
    message = failure(derivative, ZERO)
    assert message.startswith(f"the {role} is NaN at [") and "of 0 and inf" in message
    assert f"test_debug.py:{line_of(power, 'x**1.5')} in power" in message or "y * x * x" in message
    assert failure(derivative, ZERO - 1.0).startswith("the value is NaN at [")


def test_a_nan_that_came_in():
    message = failure(fad.grad(loss), np.array([1.0, np.nan]))
    assert message == "an argument (x0) is NaN at [1]; it was NaN before the call"
    data = np.array([1.0, np.nan])
    assert "array that the function refers to (c0) is NaN at [1]" in failure(fad.jit(lambda x: x * data), 2.0)


def test_infinities_only_when_asked_for():
    f = fad.jit(lambda x: np.exp(x))
    with fad.debug.nans():
        assert f(1e4) == np.inf
    assert failure(f, 1e4, inf=True).startswith("the value is infinite: exp of 10000")
    with fad.debug.nans(inf=True):
        assert fad.jit(lambda x: np.minimum(x, np.inf) + np.inf)(1.0) == np.inf  # the user's own


def test_constants_count_when_they_are_chosen():
    f = fad.jit(lambda x: np.where(x > 0, x, np.nan))
    with fad.debug.nans():
        assert f(np.array([1.0]))[0] == 1.0
    assert "where of" in failure(f, np.array([-1.0]))


def test_whole_arrays_are_summarised():
    f = fad.jit(lambda A, x: A @ x)
    message = failure(f, np.array([[np.inf, 2.0], [3.0, -4.0]]), np.array([0.0, 1.0]))
    assert "matmul" in message and "array[2, 2] of -4 … 3 and 1 infinite" in message and "is NaN at [0" in message


def test_inside_of_composite_rows():
    block = fad.checkpoint(lambda x: np.sqrt(x) * x)
    message = failure(fad.grad(lambda x: np.sum(block(x))), ZERO)
    assert message.startswith("the adjoint is NaN") and "np.sqrt(x) * x" in message


def test_results_are_those_of_the_executors():
    def f(x, n):
        y = np.sort(x)[::-1] if x[0] > 0 else x[np.argsort(x)]
        return {"y": y * n, "k": np.argmax(x), "f": x.astype(np.float32)}

    x = np.array([2.0, -1.0, 0.5])
    wanted, jitted = f(x, 3), fad.jit(f)
    with fad.debug.nans():
        for point in (x, -x):  # both paths: guards are checked
            for name, value in f(point, 3).items():
                found = jitted(point, 3)[name]
                np.testing.assert_array_equal(found, value)
                assert np.asarray(found).dtype == np.asarray(value).dtype
    np.testing.assert_array_equal(jitted(x, 3)["y"], wanted["y"])


def test_indices_out_of_bounds_are_errors_as_ever():
    f = fad.jit(lambda x, i: x[i])
    with fad.debug.nans(), pytest.raises(IndexError):
        f(np.ones(3), np.array([1]))
        f(np.ones(3), np.array([5]))


def test_nothing_is_left_behind():
    with fad.debug.nans():
        with fad.debug.nans(inf=True):
            pass
        assert observers
        assert np.isinf(fad.jit(np.exp)(1e4))  # the inner context's option has ended
    assert not observers
    assert np.isnan(fad.jit(np.sqrt)(-1.0))


def test_other_threads_are_not_checked():
    found = []
    f = fad.jit(np.sqrt)
    with fad.debug.nans():
        thread = threading.Thread(target=lambda: found.append(f(-1.0)))
        thread.start()
        thread.join()
    assert len(found) == 1 and np.isnan(found[0])


def test_as_a_decorator():
    @fad.debug.nans()
    def work(x):
        return fad.jit(np.log)(x)

    assert work(1.0) == 0.0
    with pytest.raises(fad.NanError, match="log of -2"):
        work(-2.0)
