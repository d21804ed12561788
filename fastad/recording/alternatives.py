"""What to write instead of functions of other libraries, which recorded values cannot go through, and instead of plain
arrays."""

import linecache
import re
import sys

import numpy as np

from fastad.errors import RecordingError
from fastad.recording.recorder import recording_error
from fastad.recording.source import Line, at_line, calling_library, user_line

_SPECIAL = ("log_softmax", "logsumexp", "multigammaln", "polygamma", "softmax")  # SciPy writes them in Python

_OF_FASTAD = {
    "fad.solve_ivp, which takes the same arguments": ("integrate.solve_ivp",),
    "fad.solve_ivp: its right-hand side takes (t, y), and its results have one column for each time": (
        "integrate.odeint", "integrate.ode",
    ),
    "fad.root": (
        "optimize.root", "optimize.fsolve", "optimize.root_scalar", "optimize.newton", "optimize.brentq",
        "optimize.brenth", "optimize.bisect", "optimize.ridder", "optimize.toms748", "optimize.newton_krylov",
        "optimize.broyden1", "optimize.broyden2", "optimize.anderson",
    ),
    "fad.fixed_point": ("optimize.fixed_point",),
    "np.polynomial.legendre.leggauss(n) for points and weights of a sum, or fad.solve_ivp of y' = f(t)": (
        "integrate.quad", "integrate.quad_vec", "integrate.dblquad", "integrate.nquad", "integrate.romberg",
    ),
    "scipy.integrate.simpson or trapezoid": ("integrate.romb", "integrate.cumulative_simpson"),
    "fad.minimize": (
        "optimize.minimize", "optimize.minimize_scalar", "optimize.fmin", "optimize.fmin_bfgs",
        "optimize.fmin_l_bfgs_b", "optimize.fmin_cg", "optimize.fmin_ncg", "optimize.fmin_slsqp",
    ),
    "fad.least_squares": ("optimize.least_squares", "optimize.leastsq", "optimize.curve_fit"),
    "fad.quadprog": ("optimize.linprog",),
    "scipy.ndimage.map_coordinates(image, coordinates, order=1), with the coordinates that it looks up": (
        "ndimage.shift", "ndimage.zoom", "ndimage.rotate", "ndimage.affine_transform", "ndimage.geometric_transform",
    ),
}  # fmt: skip
EQUATIONS = {
    "solve_continuous_are": "lambda X, A, B, Q, R: A.T @ X + X @ A - X @ B @ np.linalg.solve(R, B.T @ X) + Q",
    "solve_discrete_are": (
        "lambda X, A, B, Q, R: A.T @ X @ A - X - A.T @ X @ B @ np.linalg.solve(R + B.T @ X @ B, B.T @ X @ A) + Q"
    ),
    "solve_continuous_lyapunov": "lambda X, A, Q: A @ X + X @ A.T - Q",
    "solve_lyapunov": "lambda X, A, Q: A @ X + X @ A.T - Q",
    "solve_discrete_lyapunov": "lambda X, A, Q: A @ X @ A.T - X + Q",
    "solve_sylvester": "lambda X, A, B, Q: A @ X + X @ B - Q",
}
_INTERPOLATORS = (
    "Recorded points and recorded values are taken by np.interp, interp1d, CubicSpline, PchipInterpolator, "
    "Akima1DInterpolator, make_interp_spline, InterpolatedUnivariateSpline and, on grids, RegularGridInterpolator and "
    "interpn. Of given knots a smoothing spline is linear in the data: BSpline.design_matrix(x, t, k) has the matrix."
)
_BY_NAME = {f"scipy.{name}": text for text, names in _OF_FASTAD.items() for name in names}


def instead_of(function: str) -> str:
    """The fix for a call of this SciPy function, by its full name."""
    if function.startswith("scipy.sparse"):
        return "Make the matrix by fad.sparse.csr_array, or write A @ x; fad.sparse has the solvers too."
    name = function.rpartition(".")[2]
    if name in _SPECIAL:
        return f"Use fad.special.{name}."
    if name in EQUATIONS:
        return f"Wrap it with its equation: f = fad.implicit(scipy.linalg.{name}, {EQUATIONS[name]})."
    if function.startswith("scipy.linalg."):
        return (
            "Use one that can be recorded: those of np.linalg, and of scipy.linalg what docs/linear-algebra.md lists; "
            "or wrap it with fad.primitive(f, jvp=..., vjp=...)."
        )
    if function.startswith("scipy.interpolate."):
        return _INTERPOLATORS
    if function in _BY_NAME:
        return f"Use {_BY_NAME[function]}{'; or wrap the solver by fad.implicit' * ('optimize' in function)}."
    return "Write it with NumPy's functions, or wrap it with fad.primitive(f, jvp=..., vjp=...)."


def of_library(kind: type) -> str | None:
    """How to make an array that can be recorded of an object of another library; None if it is none that is known."""
    module = kind.__module__.partition(".")[0]
    if module == "fastad":  # whose matrices have operators of their own
        return None
    if module in ("pandas", "polars", "xarray"):
        return f"Use its values: {'x.values' if module == 'xarray' else 'x.to_numpy()'}, outside of the function."
    if module == "torch":
        return "Use x.numpy(), outside of the function, and NumPy's functions inside."
    if module in ("jax", "jaxlib"):
        return "Use np.asarray(x), outside of the function, and np instead of jnp inside."
    takes_operators = getattr(kind, "__array_ufunc__", False) is None  # as NumPy has it: its own method is called
    if hasattr(kind, "__array__") and not takes_operators:
        return "Use np.asarray(x), outside of the function."
    return None


def refused_by(function: str) -> RecordingError:
    """The error for a function of SciPy that takes plain numbers only."""
    text = f"{function} converts its arguments to plain arrays, so it cannot be recorded"
    error = recording_error(text, instead_of(function))
    error.at_library = True
    return error


def plain_array_error(what: str, fix: str = "") -> RecordingError:
    """The error for a recorded value that would become a plain one."""
    library = calling_library()
    if library:
        error = recording_error(
            f"{library} makes a plain array of a recorded value, which would lose its derivative",
            "Use NumPy's functions, or call it outside of the function.",
        )
        error.at_plain_array = True
        return error
    fix = _by_text(user_line()) or fix
    text = "rite into an array that the function makes itself (np.zeros(n), or a copy: y = np.array(y))."
    error = recording_error(f"{what} would lose its derivative", f"{fix} w{text}" if fix else f"W{text}")
    error.at_plain_array = True
    return error


# Compiled functions that leave no trace of their name but in the text of the line that calls them.
_CALLS = (
    (
        r"\.(normal|uniform|exponential|gamma|beta|poisson|binomial|laplace|lognormal|chisquare|multivariate_normal)\(",
        "Random numbers take no recorded parameters: draw standard ones and move them, m + s * rng.standard_normal(n)."
        " For arrays that you fill,",
    ),
    (
        r"\bnp\.(float64|float32|double)\(",
        "Leave np.float64() out, or write x.astype(float). For arrays that you fill,",
    ),
)


def _by_text(line: Line) -> str:
    text = linecache.getline(line.file, line.number) if line.number else ""
    return next((fix for pattern, fix in _CALLS if re.search(pattern, text)), "")


# What arrays of other libraries have, and what is written here.
_ATTRIBUTES = {
    "It may be written to, and has no place in memory; call f.py_func(x) of numba's functions, or use fad.primitive": (
        "flags", "ctypes", "data",
    ),
    "Leave it out: it is an array": ("numpy", "to_numpy", "values", "cpu", "double", "block_until_ready", "compute"),
    "Write fad.stop_gradient(x)": ("detach", "no_grad"),
    "Take the derivative outside of the function: fad.grad(f)(x)": (
        "backward", "grad", "requires_grad", "requires_grad_", "zero_grad",
    ),
    "Copy it and write into the copy: y = x.copy(), y[i] = v": ("at",),
    "Write np.append(x, v), or np.stack of a list": ("append", "extend"),
    "Write x[i]": ("iloc", "loc", "get"),
    "Write x[None] or x[:, None]": ("unsqueeze",),
    "Write np.transpose(x, axes)": ("permute",),
    "Write np.linalg.norm(x)": ("norm",),
}  # fmt: skip
_FIX_OF = {name: fix for fix, names in _ATTRIBUTES.items() for name in names}


def no_attribute(name: str) -> AttributeError:
    """The error for an attribute that recorded values have not."""
    if name.startswith("_"):  # libraries ask for those
        return AttributeError(name)
    of_numpy = f"Write np.{name}(x)" if callable(getattr(np, name, None)) else "It has those of NumPy's arrays"
    fix = _FIX_OF.get(name, of_numpy)
    return AttributeError(f"a recorded array has no attribute {name!r}{at_line()}. {fix}.", name=name)


def no_elements(what: str) -> RecordingError:
    """The error for a number that is used as an array with axes."""
    fix = "It is one number: leave it out, or pass an array, np.atleast_1d(x)."
    if "torch" in sys.modules:
        fix += " PyTorch's functions (torch.tensor and the like) take no recorded values: use NumPy's."
    return recording_error(f"{what} of a recorded number, which has no axes", fix)
