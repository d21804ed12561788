"""A table of beginners' mistakes: each message names the line, where a line is to blame, and the fix."""

import contextlib
import functools
import importlib
import math
import re
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.special
import scipy.stats

import fastad as fad

X = np.array([1.0, 2.0, 3.0])
M = np.diag(X)


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


OUTSIDE = np.zeros(3)


def written(x):
    OUTSIDE[0] = x
    return np.sum(OUTSIDE)


@dataclass
class Plain:
    x: float


def decay(t, y, k=1.0):
    return -k * y


def solve(**options):
    return fad.solve_ivp(decay, (0, 1), [1.0], **options)


def primitive(**rules):
    return fad.primitive(lambda x: x, **rules)


def loaded():
    f = fad.jit(np.sin)
    f(X)
    return fad.transforms.base.restore(fad.transforms.saved.to_bytes(f.save), "auto", None)


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
    ("no return", lambda: fad.grad(no_return)(X), fad.DerivativeError, "no_return returned None.*`return`", "at"),
    ("an array returned", lambda: fad.grad(np.sin)(X), fad.DerivativeError, "return a sum, or use fad.jacobian", "at"),
    ("an integer returned", lambda: fad.grad(np.argmax)(X), fad.DerivativeError, "integer or truth value", "at"),
    ("a string argument", lambda: fad.grad(lambda x: x)("a"), fad.DerivativeError, "of type str .*pass floats", "at"),
    ("a complex argument", lambda: fad.jacobian(np.exp)(1j), fad.DerivativeError, "re \\+ 1j \\* im", "at"),
    ("vjp of one argument", lambda: fad.grad(primitive(vjp=lambda u: u))(1.0), fad.DerivativeError,
     "vjp\\(primals, u\\)", ""),
    ("jvp of three", lambda: fad.jvp(primitive(jvp=lambda x, y, z: x), (1.0,), (1.0,)), fad.DerivativeError,
     "jvp\\(primals, tangents\\)", ""),
    ("a complex result", lambda: fad.grad(lambda x: np.exp(1j * x))(1.0), fad.DerivativeError, "z.real", "at"),
    ("a complex array", lambda: fad.jit(np.sin).prepare(X * 1j), fad.RecordingError, "z.real and z.imag", "at"),
    ("float(x)", lambda: fad.grad(lambda x: float(x))(1.0), fad.RecordingError, "Leave float\\(\\) out", "at"),
    ("x.item()", lambda: fad.grad(lambda x: x.item())(1.0), fad.RecordingError, "Use x\\[\\(\\)\\]", "at"),
    ("a shape that is set", lambda: fad.grad(reshaped)(X), fad.RecordingError, "y = y.reshape\\(\\(3, 1\\)\\)", "at"),
    ("other arrays", lambda: fad.grad(lambda x: np.sum(x * Frame()))(X), fad.RecordingError, "np.asarray\\(x\\)", "at"),
    ("np.roots", lambda: fad.jit(np.roots)(X), fad.RecordingError, "np.polyval\\(p, x\\)", "at"),
    ("np.linalg.eig", lambda: fad.jit(np.linalg.eig)(np.eye(2)), fad.RecordingError, "eigh", "at"),
    ("np.save", lambda: fad.jit(lambda x: np.save("f", x))(X), fad.RecordingError, "outside", "at"),
    ("stats", lambda: fad.grad(lambda a: scipy.stats.levy_stable.logpdf(1.0, a, 0.0))(1.5), fad.RecordingError,
     "NumPy.s functions", "at"),
    ("logm", lambda: fad.jit(scipy.linalg.logm)(np.eye(2)), fad.RecordingError, "of np.linalg, and", "at"),
    ("brentq", lambda: fad.grad(lambda k: scipy.optimize.brentq(lambda x: x - k, 0, 2))(1.0), fad.RecordingError,
     "scipy.optimize.brentq .* Use fad.root", "at"),
    ("solve_ivp", lambda: fad.grad(lambda k: scipy.integrate.solve_ivp(lambda t, y: -k * y, (0, 1), [1.0]).y[0])(1.0),
     fad.RecordingError, "fad.solve_ivp", "at"),
    ("odeint", lambda: fad.grad(lambda k: scipy.integrate.odeint(lambda y, t: -k * y, 1.0, [0, 1])[-1, 0])(1.0),
     fad.RecordingError, "takes \\(t, y\\)", "at"),
    ("minimize", lambda: fad.grad(lambda k: scipy.optimize.minimize(lambda x: (x[0] - k) ** 2, [1.0]).x[0])(1.0),
     fad.RecordingError, "fad.minimize", "at"),
    # calls of transformations
    ("tier", lambda: fad.jit(np.sin, tier="fast"), ValueError, "'auto', 'sweep', 'native'", "at"),
    ("threads=0", lambda: fad.jit(np.sin, threads=0), ValueError, "positive integer", "at"),
    ("no arguments", lambda: fad.grad(lambda: 1.0)(), fad.ShapeError, "positional argument 0, but 0 were given", "at"),
    ("keywords only", lambda: fad.grad(lambda *, x: x)(x=1.0), fad.ShapeError, "positional argument 0", "at"),
    ("a tangent's shape", lambda: fad.jvp(np.sin, (X,), (X[:2],)), fad.ShapeError, "its primal has shape", "at"),
    ("a cotangent's shape", lambda: fad.vjp(np.sin, X)[1](1.0), fad.ShapeError, "shapes of the result: float64", "at"),
    ("in_axes too short", lambda: fad.vmap(np.dot, in_axes=(0,))(M, X), fad.ShapeError, "give one for each", "at"),
    ("in_axes too large", lambda: fad.vmap(np.sum, in_axes=2)(M), fad.ShapeError, "use None in in_axes", "at"),
    ("lanes of two sizes", lambda: fad.vmap(np.dot)(M, M[:2]), fad.ShapeError, "sizes \\[2, 3\\]", "at"),
    ("lanes that branch", lambda: fad.vmap(lambda x: x if x > 2 else -x)(X), fad.RecordingError, "np.where or", "at"),
    ("a dataclass", lambda: fad.grad(lambda p: p.x)(Plain(1.0)), fad.DerivativeError, "optree.dataclasses", ""),
    ("a masked array", lambda: fad.jit(np.sum)(np.ma.array(X)), fad.ShapeError, "x.filled\\(\\)", ""),
    ("polyfit of other lengths", lambda: fad.jit(lambda x: np.polyfit(x, [1, 2], 1))(X), TypeError, "got.*at ", ""),
    ("a matrix", lambda: fad.jit(np.sum)(np.matrix(M)), fad.ShapeError, "np.asarray\\(x\\)", ""),
    ("dates", lambda: fad.jit(np.sum)(np.array(["2020-01-01"], "M8[D]")), fad.ShapeError, "pass float64", ""),
    ("a set", lambda: fad.jit(len)({1.0}), fad.ShapeError, "lists, tuples and dicts", ""),
    ("numba before a call", lambda: fad.jit(np.sin).numba_function, fad.RecordingError, "call sin once", ""),
    ("saved before a call", lambda: fad.jit(np.sin).save("f.npz"), fad.TableError, "call it once before", ""),
    ("a tape's other value", lambda: fad.Tape().backward(1.0), fad.DerivativeError, "inside its block", ""),
    ("an executor", lambda: fad.vmap(np.sin, executor=2), TypeError, "concurrent.futures", "at"),
    # inside a recorded function
    ("a float as an integer", lambda: fad.jit(range)(3.0), TypeError, "write int\\(x\\)", "at"),
    ("math.factorial", lambda: fad.jit(math.factorial)(3.0), TypeError, "cannot be used as an integer", "at"),
    ("complex(x)", lambda: fad.jit(complex)(1.0), fad.RecordingError, "x \\+ 1j \\* y", "at"),
    ("np.float64(x)", lambda: fad.grad(lambda x: np.float64(x))(1.0), fad.RecordingError, "lose its derivative", "at"),
    ("np.float32(x)", lambda: fad.jit(lambda x: np.float32(x))(1.0), fad.RecordingError, "Leave np.float64", "at"),
    ("rng.normal(x)", lambda: fad.jit(lambda x: np.random.default_rng(0).normal(x))(1.0), fad.RecordingError,
     "s \\* rng.standard_normal\\(n\\)", "at"),
    ("a record", lambda: fad.jit(np.sum)(np.zeros(2, "f8,i8")), fad.ShapeError, "fields apart.*\\('f0', 'f1'\\)", ""),
    ("a table with text", lambda: fad.jit(np.sum)(np.array([1.0, "a"], object)), fad.ShapeError, "to_numpy", ""),
    ("bits", lambda: fad.jit(lambda k: k & 3)(np.array([1, 2])), fad.RecordingError, "Bits of plain integers", "at"),
    ("x.flags", lambda: fad.jit(lambda x: x.flags)(X), AttributeError, "f.py_func\\(x\\)", "at"),
    ("x in y", lambda: fad.jit(lambda x: 1.0 in x)(X), fad.RecordingError, "np.any\\(x == value\\)", "at"),
    ("an array outside", lambda: fad.grad(written)(1.0), fad.RecordingError, "np.zeros\\(n\\)", "at"),
    ("text in an array", lambda: fad.jit(lambda x: np.array([x[0], "a"]))(X), fad.RecordingError, "Use numbers", "at"),
    ("text times x", lambda: fad.jit(lambda x: x * np.array(["a"]))(X), fad.RecordingError, "Convert it to", "at"),
    ("a product's shapes", lambda: fad.jit(lambda x: x @ X[:2])(X), fad.ShapeError, "Make these two sizes equal", "at"),
    ("an ambiguous truth", lambda: fad.jit(lambda x: 1.0 if x > 0 else 2.0)(X), ValueError, "use .any\\(\\)", ""),
    ("a huge integer", lambda: fad.jit(lambda n: n + 1)(np.array([2**60])), OverflowError, "beyond 2⁵³", "at"),
    ("bits", lambda: fad.jit(lambda n: n & 1)(np.array([3])), fad.RecordingError, "np.logical_and", "at"),
    ("an index too large", lambda: fad.jit(lambda x: x[5])(X), IndexError, "axis 0 with size 3", ""),
    ("an impossible shape", lambda: fad.jit(lambda x: x.reshape(2, 2))(X), ValueError, "size 3 into shape", ""),
    # loops and branches
    ("scan's result", lambda: fad.scan(lambda c, x: c, 0.0, X), fad.ShapeError, "must return \\(carry, y\\)", "at"),
    ("scan's state", lambda: fad.scan(lambda c, x: (X * c, x), 0.0, X), fad.ShapeError, "it got float64, and", "at"),
    ("scan's lengths", lambda: fad.scan(lambda c, x: (c, c), 0.0, (X, X[:2])), fad.ShapeError, "one number of", "at"),
    ("scan of nothing", lambda: fad.scan(lambda c, x: (c, c), 0.0, None), fad.ShapeError, "needs xs or length", "at"),
    ("half a step", lambda: fad.fori_loop(0, 2.5, lambda i, x: x, 1.0), fad.ShapeError, "must be an integer", "at"),
    ("a condition of many", lambda: fad.while_loop(lambda x: x < X, lambda x: x, 0.0), fad.ShapeError, "one num", "at"),
    ("branches that differ", lambda: fad.jit(lambda x: fad.cond(x > 0, lambda: X, lambda: 1.0))(1.0), fad.ShapeError,
     "same structure and shapes", "at"),
    ("cond of an array", lambda: fad.cond(X, np.sin, np.cos, 1.0), fad.ShapeError, "np.where for arrays", "at"),
    ("sigma below 0", lambda: fad.soft.greater(1.0, 2.0, sigma=-1.0), ValueError, "hardness\\('hard'\\)", "at"),
    ("kernel", lambda: fad.soft.greater(1.0, 2.0, kernel="gauss"), ValueError, "'gaussian', 'sech'", "at"),
    ("no snapshots", lambda: fad.checkpoint.Revolve(0), fad.ScheduleError, "at least 1", ""),
    # ODEs
    ("method", lambda: solve(method="RK54"), fad.ShapeError, "'Tsit5'", "at"),
    ("t_span", lambda: fad.solve_ivp(decay, 1.0, [1.0]), fad.ShapeError, "a pair \\(t0, t1\\)", "at"),
    ("y0 without an axis", lambda: fad.solve_ivp(decay, (0, 1), 1.0), fad.ShapeError, "np.ravel\\(y0\\)", "at"),
    ("dy/dt's shape", lambda: fad.solve_ivp(lambda t, y: X, (0, 1), [1.0]), fad.ShapeError, "y has 1 component", "at"),
    ("dy/dt missing", lambda: fad.solve_ivp(lambda t, y: None, (0, 1), [1.0]), fad.ShapeError, "return dy/dt", "at"),
    ("t_eval outside", lambda: solve(t_eval=[2.0]), fad.ShapeError, "within `t_span`", "at"),
    ("rtol below 0", lambda: solve(rtol=-1.0), fad.ShapeError, "`rtol` must be positive", "at"),
    ("args without a tuple", lambda: solve(args=2.0), TypeError, "args=\\(2.0,\\)", "at"),
    ("events", lambda: solve(events=3), TypeError, "fad.ode.Event", "at"),
    ("adjoint", lambda: solve(adjoint="backsolve"), fad.ShapeError, "'discrete', 'continuous'", "at"),
    ("checkpoint=10", lambda: solve(checkpoint=10), fad.ScheduleError, "fad.checkpoint.Online\\(100\\)", "at"),
    ("jac's shape", lambda: solve(method="BDF", jac=M), fad.ShapeError, "shape \\(1, 1\\)", "at"),
    # equations, optimisation, matrices
    ("root's residual", lambda: fad.root(lambda x: X[:2], X), fad.ShapeError, "as many as x0 holds", "at"),
    ("root's method", lambda: fad.root(np.sin, 1.0, method="hybr"), ValueError, "newton-krylov", "at"),
    ("a result as an array", lambda: np.sum(fad.root(np.sin, 1.0)), TypeError, r"solution is its field \.x ", "at"),
    ("a solve as an array", lambda: 2.0 + np.asarray(solve()), TypeError, r"solution is its field \.y ", "at"),
    ("an objective of many", lambda: fad.minimize(lambda x: x**2, X), fad.ShapeError, "fad.least_squares", "at"),
    ("minimize's method", lambda: fad.minimize(np.sum, X, method="nelder-mead"), fad.ShapeError, "'l-bfgs'", "at"),
    ("bounds", lambda: fad.minimize(np.sum, X, bounds=[(0, 1)]), fad.ShapeError, "3 pairs", "at"),
    ("loss", lambda: fad.least_squares(np.sin, X, loss="l1"), fad.ShapeError, "'soft_l1'", "at"),
    ("quadprog's P", lambda: fad.quadprog(M[:2, :2], X, None, None, None, None), fad.ShapeError, "\\(3, 3\\)", "at"),
    ("a singular matrix", lambda: fad.jit(np.linalg.inv)(0 * M), fad.SingularMatrixError, "is singular", "at"),
    ("an indefinite matrix", lambda: fad.jit(np.linalg.cholesky)(-M), fad.FastadError, "smallest eigenvalue -3", "at"),
    ("expm of a vector", lambda: fad.linalg.expm(X), fad.FastadError, "np.diag\\(a\\)", "at"),
    ("an index", lambda: fad.sparse.csr_array(X, [0, 1, 9], [0, 1, 2, 3], (3, 3)), ValueError, "in \\[0, 3\\)", "at"),
    ("spsolve of an array", lambda: fad.sparse.spsolve(M, X), fad.FastadError, "Use np.linalg.solve", "at"),
    ("a coloring's kind", lambda: fad.coloring.color(M, kind="rows"), ValueError, "'column', 'row'", "at"),
    # what other libraries have, and Python
    ("x.detach()", lambda: fad.grad(lambda x: x.detach())(1.0), AttributeError, "fad.stop_gradient", "at"),
    ("x.numpy()", lambda: fad.grad(lambda x: np.sum(x.numpy()))(X), AttributeError, "Leave it out", "at"),
    ("x.backward()", lambda: fad.grad(lambda x: np.sum(x).backward())(X), AttributeError, "fad.grad\\(f\\)", "at"),
    ("x.at[0]", lambda: fad.grad(lambda x: x.at[0].set(1.0))(X), AttributeError, "y\\[i\\] = v", "at"),
    ("x.append", lambda: fad.grad(lambda x: x.append(1.0))(X), AttributeError, "np.append", "at"),
    ("x.norm()", lambda: fad.grad(lambda x: x.norm())(X), AttributeError, "np.linalg.norm", "at"),
    ("another attribute", lambda: fad.jit(lambda x: x.color)(X), AttributeError, "those of NumPy's arrays", "at"),
    ("wrt=", lambda: fad.grad(np.sum, wrt=0), TypeError, "no option wrt=.*argnums=", "at"),
    ("grad(f(x))", lambda: fad.grad(np.sum(X)), TypeError, "fad.grad\\(f\\)\\(x\\)", "at"),
    ("text returned", lambda: fad.grad(lambda x: "a")(X), fad.DerivativeError, "returned 'a', no number", "at"),
    ("no return of a Jacobian", lambda: fad.jacobian(no_return)(X), fad.DerivativeError, "`return` missing", "at"),
    ("several numbers", lambda: fad.grad(lambda x: (x, x))(1.0), fad.DerivativeError, "has_aux=True", "at"),
    ("a generator", lambda: fad.grad(sum)(x for x in X), fad.DerivativeError, "float arrays", "at"),
    ("math.exp of an array", lambda: fad.grad(lambda x: math.exp(x))(X), TypeError, "such as np.exp", "at"),
    ("len of a number", lambda: fad.grad(lambda x: len(x))(1.0), TypeError, "np.atleast_1d\\(x\\)", "at"),
    ("a number's elements", lambda: fad.grad(lambda x: sum(x))(1.0), TypeError, "one number", "at"),
    ("a column's name", lambda: fad.grad(lambda x: x["a"])(X), IndexError, "to_numpy", "at"),
    ("a float as an index", lambda: fad.grad(lambda x: x[1.0])(X), IndexError, "int\\(k\\)", "at"),
    ("lru_cache", lambda: fad.grad(functools.lru_cache(lambda x: x))(1.0), TypeError, "Leave the cache out", "at"),
    ("dt=", lambda: solve(dt=0.1), TypeError, "write step=", "at"),
    ("solver=", lambda: solve(solver="Tsit5"), TypeError, "write method=", "at"),
    ("another shape of a loaded function", lambda: loaded()(X[:2]), fad.ShapeError,
     "saved for arguments \\(float64\\[3\\]\\), not for \\(float64\\[2\\]\\)", "at"),
    # files
    ("no such file", lambda: fad.load("nowhere.npz"), FileNotFoundError, "nowhere.npz", ""),
    ("another file", lambda: fad.load(__file__), fad.TableError, "not a valid fastad file", ""),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text", "where"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_explained(call, kind, text, where):
    with pytest.raises(kind) as caught:
        call()
    told = str(caught.value)
    assert re.search(text, told), told
    assert where not in ("at",) or __file__ in told, told


OF_OTHERS = [
    ("torch", "torch.tensor", lambda torch, x: torch.tensor(x), "PyTorch.*use NumPy's"),
    ("torch", "torch.tensor of a list", lambda torch, x: torch.tensor(list(x)), "PyTorch.*use NumPy's"),
    ("torch", "torch.from_numpy", lambda torch, x: torch.from_numpy(x), "takes no recorded values"),
    ("torch", "torch.sin", lambda torch, x: torch.sin(x), "Use NumPy's function"),
    ("torch", "a layer", lambda torch, x: torch.nn.Linear(3, 1)(x), "which has called .*linear.py"),
    ("pandas", "a table of x", lambda pandas, x: np.sum(pandas.DataFrame({"a": x})["a"]), "pandas makes a plain array"),
    ("pandas", "a product", lambda pandas, x: np.dot(pandas.Series(X), x), "to_numpy"),
    ("matplotlib.pyplot", "a plot", lambda pyplot, x: pyplot.plot(x), "matplotlib makes a plain array"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "text"), [m[:1] + m[2:] for m in OF_OTHERS], ids=[m[1] for m in OF_OTHERS])
def test_a_call_of_another_library_is_explained(name, call, text):
    pytest.importorskip(name)
    library = importlib.import_module(name)
    with pytest.raises(fad.RecordingError, match=text) as caught:
        fad.grad(lambda x: call(library, x))(X)
    assert f"(at {__file__}" in str(caught.value)


@pytest.mark.parametrize("side", [lambda x, tensor: tensor * x, lambda x, tensor: x * tensor])
def test_captured_tensors(side):
    tensor = pytest.importorskip("torch").tensor(X)
    with pytest.raises(fad.RecordingError, match=r"Use x\.numpy\(\)"):
        fad.grad(lambda x: np.sum(side(x, tensor)))(X)


@pytest.mark.parametrize(
    "solve",
    [
        lambda k: scipy.optimize.root(lambda x: x**2 - k, 1.0).x[0],
        lambda k: scipy.optimize.brentq(lambda x: x - k, 0.0, 2.0),
    ],
)
def test_an_error_that_c_code_replaces_is_told_in_a_note(solve, capfd):
    """C code that goes on after an error leaves it to the interpreter whether that or one of its own comes out."""
    with pytest.raises(Exception) as caught:
        fad.grad(solve)(1.0)
    capfd.readouterr()
    told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert any("Use fad.root" in text for text in told)


def test_an_error_of_scipy_in_the_place_of_ours(monkeypatch):
    """SciPy's code in C takes the error that a recorded value raised for the number -1, and raises its own for that."""
    text = (
        "def brentq(f, *_):\n"
        "    try: float(f(0.0))\n"
        "    except TypeError: raise ValueError('f(a) and f(b) must have different signs') from None\n"
    )
    scope = {"__name__": "scipy.optimize"}
    exec(compile(text, scipy.optimize.__file__, "exec"), scope)
    monkeypatch.setattr(scipy.optimize._zeros_py._zeros, "_brentq", scope["brentq"])
    with pytest.raises(fad.RecordingError, match=r"Use fad\.root") as caught:
        fad.grad(lambda k: scipy.optimize.brentq(lambda x: x - k, 0.0, 2.0))(1.0)
    assert "different signs" in str(caught.value.__cause__)


def test_an_error_of_numpy_after_one_of_ours_that_was_caught():
    def f(x):
        with contextlib.suppress(fad.RecordingError):
            float(x[0])
        return np.concatenate([x, np.ones((2, 2))])

    with pytest.raises(ValueError, match="dimensions"):
        fad.jit(f)(X)


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
