"""A table of beginners' mistakes: each message names the line, where a line is to blame, and the fix."""

import re

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.special
import scipy.stats

import fastad as fad

X = np.array([1.0, 2.0, 3.0])


class Frame:
    """An array of another library."""

    def __array__(self, dtype=None, copy=None):
        return np.array(X, dtype)


def no_return(x):
    np.sum(x)


def reshaped(x):
    y = x * 1.0
    y.shape = (3, 1)
    return np.sum(y)


def primitive(**rules):
    return fad.primitive(lambda x: x, **rules)


# what is called, what is wrong, and the fix that the message must name; "at" where it must name this file
MISTAKES = [
    ("grad(f, x)", lambda: fad.grad(np.sin, 1.0), TypeError, "must be integers.*fad.grad\\(f\\)\\(x\\)", "at"),
    ("argnums='x'", lambda: fad.grad(np.sin, argnums="x"), TypeError, "write its number", "at"),
    ("jacobian(f, x)", lambda: fad.jacobian(np.sin, X), TypeError, "call the result", "at"),
    ("hessian(f, x)", lambda: fad.hessian(np.sin, X), TypeError, "call the result", "at"),
    ("argnums beyond", lambda: fad.grad(np.sin, argnums=1)(1.0), fad.ShapeError, "names positional argument 1", ""),
    ("static_argnums", lambda: fad.jit(np.sin, static_argnums=0), TypeError, "static without being named", "at"),
    ("hvp(f)", lambda: fad.hvp(np.sin), TypeError, "fad.hvp\\(f, x, v\\)", "at"),
    ("jvp without tuples", lambda: fad.jvp(np.sin, 1.0, 1.0), TypeError, "fad.jvp\\(f, \\(x,\\), \\(v,\\)\\)", ""),
    ("no function", lambda: fad.grad(1.0), TypeError, "expected a function, got float", ""),
    ("no return", lambda: fad.grad(no_return)(X), fad.DerivativeError, "no_return returned None.*`return`", ""),
    ("an array returned", lambda: fad.grad(np.sin)(X), fad.DerivativeError, "return a sum, or use fad.jacobian", ""),
    ("an integer returned", lambda: fad.grad(np.argmax)(X), fad.DerivativeError, "integer or truth value", ""),
    ("a string argument", lambda: fad.grad(lambda x: x)("a"), fad.DerivativeError, "of type str; pass floats", ""),
    ("a complex argument", lambda: fad.grad(lambda x: x)(1j), fad.DerivativeError, "complex; pass floats", ""),
    ("vjp of one argument", lambda: fad.grad(primitive(vjp=lambda u: u))(1.0), fad.DerivativeError,
     "vjp\\(primals, u\\)", ""),
    ("jvp of three", lambda: fad.jvp(primitive(jvp=lambda x, y, z: x), (1.0,), (1.0,)), fad.DerivativeError,
     "jvp\\(primals, tangents\\)", ""),
    ("complex numbers", lambda: fad.jit(lambda x: np.exp(1j * x))(X), fad.RecordingError, "real and imaginary", "at"),
    ("float(x)", lambda: fad.grad(lambda x: float(x))(1.0), fad.RecordingError, "Leave float\\(\\) out", "at"),
    ("x.item()", lambda: fad.grad(lambda x: x.item())(1.0), fad.RecordingError, "Use x\\[\\(\\)\\]", "at"),
    ("a shape that is set", lambda: fad.grad(reshaped)(X), fad.RecordingError, "y = y.reshape\\(\\(3, 1\\)\\)", "at"),
    ("other arrays", lambda: fad.grad(lambda x: np.sum(x * Frame()))(X), fad.RecordingError, "np.asarray\\(x\\)", "at"),
    ("np.fft.fft", lambda: fad.jit(np.fft.fft)(X), fad.RecordingError, "np.cos\\(a\\) @ x", "at"),
    ("np.roots", lambda: fad.jit(np.roots)(X), fad.RecordingError, "np.polyval\\(p, x\\)", "at"),
    ("np.linalg.eig", lambda: fad.jit(np.linalg.eig)(np.eye(2)), fad.RecordingError, "eigh", "at"),
    ("np.save", lambda: fad.jit(lambda x: np.save("f", x))(X), fad.RecordingError, "outside", "at"),
    ("stats", lambda: fad.grad(scipy.stats.cauchy.logpdf)(1.0), fad.RecordingError, "NumPy's functions", "at"),
    ("expm", lambda: fad.jit(scipy.linalg.expm)(np.eye(2)), fad.RecordingError, "fad.linalg.expm", "at"),
    ("solve_ivp", lambda: fad.grad(lambda k: scipy.integrate.solve_ivp(lambda t, y: -k * y, (0, 1), [1.0]).y[0])(1.0),
     fad.RecordingError, "fad.solve_ivp", "at"),
    ("odeint", lambda: fad.grad(lambda k: scipy.integrate.odeint(lambda y, t: -k * y, 1.0, [0, 1])[-1, 0])(1.0),
     fad.RecordingError, "takes \\(t, y\\)", "at"),
    ("minimize", lambda: fad.grad(lambda k: scipy.optimize.minimize(lambda x: (x[0] - k) ** 2, [1.0]).x[0])(1.0),
     fad.RecordingError, "fad.minimize", "at"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text", "where"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_explained(call, kind, text, where):
    with pytest.raises(kind) as caught:
        call()
    told = str(caught.value)
    assert re.search(text, told), told
    assert where not in ("at",) or __file__ in told, told


@pytest.mark.parametrize(
    "solve",
    [
        lambda k: scipy.optimize.root(lambda x: x**2 - k, 1.0).x[0],
        lambda k: scipy.optimize.brentq(lambda x: x - k, 0.0, 2.0),
    ],
)
def test_an_error_that_c_code_replaces_is_told_in_a_note(solve, capfd):
    with pytest.raises(Exception) as caught:
        fad.grad(solve)(1.0)
    capfd.readouterr()
    assert any("Use fad.root" in note for note in caught.value.__notes__)


def test_arrays_of_other_libraries_are_arguments():
    found = fad.grad(lambda x: np.sum(x**2))(Frame())
    assert type(found) is np.ndarray and np.array_equal(found, 2 * X)
    assert np.array_equal(fad.jit(lambda x: 2 * x)(Frame()), 2 * X)


def test_stop_gradient_is_a_constant_for_all_derivatives():
    def f(x):
        return np.sum(fad.stop_gradient({"a": x**2, "b": 1.0})["a"] * x)

    assert np.array_equal(fad.grad(f)(X), X**2)
    assert np.array_equal(fad.jvp(f, (X,), (X,))[1], np.sum(X**3))
    assert np.array_equal(fad.vmap(fad.grad(lambda x: x * fad.stop_gradient(x)))(X), X)
    assert fad.stop_gradient(2.0) == 2.0


@pytest.mark.parametrize(
    "values", [[1, 2, np.inf, 4], [np.inf, 2, 3, 4], [1, -np.inf, -np.inf, 2], [np.nan, 1, 2, 3], [1, 2, 5, 4]]
)
def test_interp_beside_infinities(values):
    x, knots = np.linspace(0.5, 4.5, 17), [1.0, 2.0, 3.0, 4.0]
    assert np.array_equal(
        fad.jit(lambda x: np.interp(x, knots, values))(x), np.interp(x, knots, values), equal_nan=True
    )


def test_lists_as_weights_and_ends():
    x, w = X**2, [1.0, 2.0, 3.0]
    assert np.allclose(fad.jit(lambda x: np.cov(x, aweights=w))(x), np.cov(x, aweights=w))
    assert np.array_equal(fad.jit(lambda a: np.linspace(a, [1.0, 2.0], 3))(0.5), np.linspace(0.5, [1.0, 2.0], 3))
