"""Every function that docs/primitives.md lists takes recorded values, and gives what NumPy or SciPy give."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.special

import fastad as fad
from fastad.recording.dispatch import CREATORS, FUNCTIONS, UFUNCS

X = np.array([0.3, 0.8, 0.6])
M = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.2]])
CUBE = np.stack([M, 2 * M])
K = np.array([2, 0, 1])
B = np.array([True, False, True])

# Most functions take one of these; what NumPy refuses is not tried on recorded values.
ARGUMENTS = [
    (X,), (M,), (X, X), (M, X), (M, M), (X, 2), (X, K), ([X, X],), (X, 0), (M, 0, 1), (X, X, X), (X, X, 2),
    (X, X, X, X), (2, X), ([X, X], 0), (B, X), (M, K[:, None], 0), (K, X), (X, [1, 2]), (X.astype(int), K),
]  # fmt: skip
OTHERS = {
    "einsum": ("ij,j", M, X), "matrix_power": (M, 3), "tensorinv": (M[:2, :2].reshape(2, 1, 2, 1)[:, :1], 2),
    "select": ([B, ~B], [X, 2 * X]), "piecewise": (X, [X > 0.5], [np.sin, np.cos]), "reshape": (M, (9,)),
    "can_cast": (X.dtype, np.float32), "apply_along_axis": (np.sum, 0, M), "apply_over_axes": (np.sum, M, [0]),
    "vsplit": (M, 3), "broadcast_to": (X, (2, 3)), "dsplit": (CUBE, 3), "polyfit": (np.arange(3.0), X, 1),
}  # fmt: skip
IN_PLACE = {
    "place": (X, B, [7.0]), "putmask": (X, B, X**2), "put_along_axis": (X, K[:1], 7.0, 0), "put": (X, K[:1], 7.0),
    "copyto": (X, X**2), "fill_diagonal": (M, 7.0),
}  # fmt: skip
TRUTH = ("bitwise_and", "bitwise_or", "bitwise_xor")
ELSEWHERE = ("einsum_path",)  # gives no numbers: see test_index_methods.py
WHOLE = ("left_shift", "right_shift")


def page():
    path = Path(__file__).parent.parent / "docs" / "make_primitives.py"
    spec = importlib.util.spec_from_file_location("make_primitives", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_function_of_scipy_has_a_domain_on_the_page():
    from fastad.recording.alternatives import _SPECIAL
    from fastad.recording.functions.distributions import DISTRIBUTIONS

    module = page()
    assert set(module.SPECIAL) == module.functions()["scipy.special, ufuncs"] | {*_SPECIAL, "i0"}
    assert set(module.DISTRIBUTIONS) == set(DISTRIBUTIONS)


@pytest.mark.parametrize("start", range(0, len(page().SPECIAL), 12))
def test_derivatives_inside_of_the_domain(start):
    """Of several functions at a time, each of an argument of its own: a check costs hardly more for twelve."""
    module, values, arguments = page(), [], []
    for name, (_, _, point) in list(module.SPECIAL.items())[start : start + 12]:
        f = getattr(scipy.special, name)
        weights = np.linspace(1.5, 2.5, np.size(f(*point)))
        for k in module.derivatives_of(f, point):
            values.append(
                lambda x, f=f, k=k, point=point, w=weights: np.sum(np.ravel(f(*point[:k], x, *point[k + 1 :])) * w)
            )
            arguments.append(np.asarray(point[k]))
    fad.check_grads(lambda *x: [f(own) for f, own in zip(values, x, strict=True)], tuple(arguments), order=2)


def recorded(x, zero):
    """The arrays of floats in arguments as recorded values, which depend on an input that is 0."""
    if isinstance(x, tuple | list):
        return type(x)(recorded(v, zero) for v in x)
    return x + zero if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def parts(x):
    return [p for v in x for p in parts(v)] if isinstance(x, tuple | list) else [np.asarray(x)]


def works(f, *arguments, **options):
    """Whether f takes recorded values in the places of floats, and gives the same as on plain ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = f(*arguments, **options)
        except (TypeError, ValueError, IndexError, np.linalg.LinAlgError, AttributeError):
            return False
        found = fad.jit(lambda zero: f(*recorded(arguments, zero), **options))(0.0)
    pairs = list(zip(parts(found), parts(wanted), strict=True))
    return all(np.allclose(a, b, equal_nan=True) if b.dtype.kind in "fiubc" else np.all(a == b) for a, b in pairs)


FOUND = [f for f in FUNCTIONS if f.__name__ not in ELSEWHERE]
FOUND += [getattr(np, n, None) or getattr(scipy.special, n) for n in UFUNCS if not n.startswith("_")]


@pytest.mark.parametrize("f", FOUND, ids=lambda f: f.__name__)
def test_functions(f):
    name = f.__name__
    if name in IN_PLACE:
        assert works(lambda x, *rest: (x := np.array(x), f(x, *rest), x)[2], *IN_PLACE[name])
    elif name in TRUTH:
        assert works(lambda x: f(x > 0.5, B), X)
    elif name in WHOLE:
        assert works(lambda x: f(x.astype(int), K), 10 * X)
    else:
        assert works(f, *OTHERS[name]) if name in OTHERS else any(_tried(f, a) for a in ARGUMENTS)


def _tried(f, arguments):
    try:
        return works(f, *arguments)
    except (fad.FastadError, ValueError):
        return False


CREATED = {
    "full": (3, 2.0), "eye": (3,), "identity": (3,), "arange": (3,), "tri": (3,),
    "frombuffer": (X.tobytes(),), "fromiter": ([1.0, 2.0], float), "fromstring": ("1 2",), "array": ([1.0, 2.0],),
    "require": (X,), "asarray": (X,), "asanyarray": (X,), "ascontiguousarray": (X,), "asfortranarray": (X,),
    "fromfunction": (lambda i: i * 2.0, (3,)),
}  # fmt: skip
OPTIONS = {"fromstring": {"sep": " "}, "fromfunction": {}}


@pytest.mark.parametrize("f", CREATORS, ids=lambda f: f.__name__)
def test_constructors_with_like(f, tmp_path):
    name, file = f.__name__, tmp_path / "numbers"
    X.tofile(file) if name == "fromfile" else np.savetxt(file, X)
    arguments = CREATED.get(name, (file,) if name in ("fromfile", "loadtxt", "genfromtxt") else ((3,),))
    options = OPTIONS.get(name, {})
    wanted = f(*arguments, **options)
    found = fad.jit(lambda zero: f(*arguments, **options, like=zero) + zero)(0.0)
    assert found.shape == wanted.shape
    assert name == "empty" or np.allclose(found, wanted)


def test_the_page_lists_what_is_tested_here():
    listed = set().union(*page().functions().values())
    assert listed == {f.__name__ for f in (*FUNCTIONS, *CREATORS)} | {n for n in UFUNCS if not n.startswith("_")}
