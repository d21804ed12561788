"""The kernels of the array primitives: forward against NumPy, reverse by the dot-product law or central differences."""
import ctypes
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from fastad.execution.machine import exported
from fastad.primitives import primitive

EMPTY = np.empty(0)
HOMES = {
    "strided": "moving", "strided_add": "moving", "assemble": "moving",
    "sum": "reducing", "amax": "reducing", "amin": "reducing", "argmax": "reducing", "argmin": "reducing",
    "cumsum": "scanning", "linrec": "scanning", "argsort": "sorting", "searchsorted": "sorting",
    "gather": "indexing", "scatter_add": "indexing", "wrap_index": "indexing", "guard": "indexing",
    "put_blocks": "indexing", "add_blocks": "indexing",
    "matmul": "products", "fourier": "fourier",
    "lu": "factoring", "lu_solve": "factoring", "triangular_solve": "factoring", "permute_rows": "factoring",
    "determinant_sign": "factoring", "log_determinant": "factoring", "cholesky": "factoring",
    "qr": "orthogonal", "eigh": "spectral", "svd": "spectral", "eigh_spectrum": "spectral", "svd_spectrum": "spectral",
    "gap_quotient": "spectral", "determinant": "inverting", "cofactors": "inverting", "pinv": "inverting",
    "expm": "matrix_functions", "sqrtm": "matrix_functions", "banded_solve": "banded",
    "banded_lu": "banded", "banded_lu_solve": "banded",
    "solved": "equations", "sparse_lu": "sparse_factoring", "sparse_lu_solve": "sparse_factoring",
    "sparse_product": "sparse_products", "sparse_sample": "sparse_products",
}


def kernel(name, direction="forward"):
    return getattr(importlib.import_module("fastad.kernels." + HOMES[name]), f"{name}_{direction}")


def flat(a):
    return np.ascontiguousarray(a, dtype=float).ravel()


def statics(*values):
    return np.array(values, dtype=np.int64)


def scratch(name, size, x, y, s):
    """The scratch memory that the kernel of a row asks for, if it does."""
    row = primitive(name)
    return [np.empty(row.work(s, size, [np.size(x), np.size(y)]))] if row.needs_work else []


def forward(name, size, x, y, s):
    out = np.full(size, 7.0)
    status = kernel(name)(out, flat(x), flat(y), s, *scratch(name, size, x, y, s))
    other_status, other = by_entry(name, size, x, y, s)
    assert other_status == status
    np.testing.assert_allclose(other, out, rtol=1e-13, atol=1e-13)  # numba may fuse other products with sums
    return status, out


def by_entry(name, size, x, y, s):
    """The same through the C function."""
    out = np.full(size, 7.0)
    arrays = [out, flat(x), flat(y), s, *scratch(name, size, x, y, s)]
    kinds = [ctypes.c_void_p, ctypes.c_int64] * len(arrays)
    f = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(exported.entry_address(name))
    status = f(*[v for a in arrays for v in (a.ctypes.data, a.size)])
    return status, out


def reverse(name, size, x, y, s):
    """Adjoints of x and y for a random adjoint of the result, on top of what was there."""
    x, y, ob = flat(x), flat(y), RNG.normal(size=size)
    o = forward(name, size, x, y, s)[1]
    xb, yb = RNG.normal(size=x.size), RNG.normal(size=y.size)
    x0, y0 = xb.copy(), yb.copy()
    kernel(name, "reverse")(xb, yb, ob.copy(), x, y, o, s)
    return ob, xb - x0, yb - y0


def check_law(name, size, x, y, s, wrt_y=False):
    """<ob, J v> = <J' ob, v>, with J v by a central difference: exact of a map that is at most bilinear, as all but
    `linrec` are; of that one its error falls with the square of the step."""
    ob, gx, gy = reverse(name, size, x, y, s)
    vx, vy = RNG.normal(size=np.size(x)), RNG.normal(size=np.size(y)) * wrt_y
    h = 1e-5
    up = forward(name, size, flat(x) + h * vx, flat(y) + h * vy, s)[1]
    down = forward(name, size, flat(x) - h * vx, flat(y) - h * vy, s)[1]
    left, right = ob @ (up - down) / (2 * h), gx @ vx + (gy @ vy if wrt_y else 0.0)
    assert left == pytest.approx(right, rel=1e-4, abs=1e-6)


RNG = np.random.default_rng(5)

# (offset, shape, strides, length of the array): contiguous, transposed, negative, repeated, overlapping, empty, 0-d.
REGIONS = [
    (0, (), (), 1), (3, (), (), 5), (0, (5,), (1,), 5), (4, (5,), (-1,), 5), (2, (6,), (0,), 4), (1, (3,), (2,), 8),
    (0, (0,), (1,), 0), (0, (3, 0, 2), (0, 2, 1), 0), (0, (4, 5), (5, 1), 20), (0, (5, 4), (1, 5), 20),
    (0, (37, 40), (1, 37), 1480), (36, (37, 40), (-1, 37), 1480), (0, (5, 3), (1, 1), 7), (0, (1, 1, 1), (9, 9, 9), 1),
    (0, (2, 3, 4), (12, 4, 1), 24), (0, (4, 2, 3), (1, 12, 4), 24), (23, (2, 3, 4), (-12, -4, -1), 24),
    (0, (3, 4, 2, 5), (5, 0, 15, 1), 30), (0, (2, 2, 2, 2, 2), (1, 2, 4, 8, 16), 32), (0, (3, 3, 3), (1, 1, 1), 7),
    (5, (3, 1, 4), (-2, 7, 3), 15), (0, (70, 130), (1, 128), 16600), (0, (1,) * 30 + (2, 3), (1,) * 30 + (3, 1), 6),
]


def view(a, region):
    offset, shape, strides, _ = region
    return as_strided(a[offset:], shape, [8 * t for t in strides])


@pytest.mark.parametrize("region", REGIONS)
def test_strided_and_its_transpose(region):
    offset, shape, strides, length = region
    s, size = statics(offset, *shape, *strides), int(np.prod(shape))
    x = RNG.normal(size=length)
    status, out = forward("strided", size, x, EMPTY, s)
    assert status == 0
    expected = view(x, region).ravel() if size else np.empty(0)
    np.testing.assert_array_equal(out, expected)
    check_law("strided", size, x, EMPTY, s)

    w, total = RNG.normal(size=size), np.zeros(length)
    places = view(np.arange(float(length)), region).ravel().astype(int) if size else np.empty(0, int)
    np.add.at(total, places, w)
    np.testing.assert_allclose(forward("strided_add", length, w, EMPTY, s)[1], total, rtol=1e-12, atol=1e-12)
    check_law("strided_add", length, w, EMPTY, s)


def test_strided_moves_special_values():
    x = np.array([np.nan, np.inf, -np.inf, -0.0])
    out = forward("strided", 4, x, EMPTY, statics(3, 4, -1))[1]
    assert out.tobytes() == x[::-1].tobytes()


def test_assemble_pieces_in_order():
    base, left, right = RNG.normal(size=12), RNG.normal(size=2), RNG.normal(size=(2, 2))
    tail = [9, 9, 9]
    pieces = [(base, statics(1, 0, 12, 1, *tail)), (left, statics(1, 1, 2, 3)),
              (right.ravel(), statics(2, 8, 2, 2, 2, 1, *tail))]
    out, expected = np.zeros(12), base.copy()
    expected[[1, 4]], expected[8:12] = left, right.ravel()
    for x, s in pieces:
        assert kernel("assemble")(out, x, EMPTY, s) == 0
    np.testing.assert_array_equal(out, expected)
    ob = RNG.normal(size=12)
    want, rest = ob.copy(), ob.copy()
    rest[[1, 4, 8, 9, 10, 11]] = 0.0
    got = []
    for x, s in reversed(pieces):
        xb = np.ones(x.size)
        kernel("assemble", "reverse")(xb, EMPTY, ob, x, EMPTY, out, s)
        got.append(xb - 1.0)
    np.testing.assert_allclose(got[0], want[8:12], atol=1e-15)
    np.testing.assert_allclose(got[1], want[[1, 4]], atol=1e-15)
    np.testing.assert_allclose(got[2], rest, atol=1e-15)
    assert by_entry("assemble", 12, *pieces[1][:1], EMPTY, pieces[1][1])[0] == 0


SHAPES = [(1, 1, 1), (3, 1, 1), (1, 7, 1), (2, 8, 1), (2, 9, 3), (4, 37, 1), (2, 5, 17), (1, 2000, 1), (2, 1300, 1),
          (0, 3, 2), (3, 4, 0), (2, 129, 2)]


@pytest.mark.parametrize("shape", SHAPES + [(2, 0, 3), (2, 0, 1)])
def test_sum(shape):
    x, size = RNG.normal(size=shape), shape[0] * shape[2]
    out = forward("sum", size, x, EMPTY, statics(*shape))[1]
    np.testing.assert_allclose(out, x.sum(1).ravel(), rtol=1e-12, atol=1e-12)
    check_law("sum", size, x, EMPTY, statics(*shape))


def test_sum_of_special_and_many_values():
    for value in (np.inf, -np.inf, np.nan):
        x = np.ones(3000)
        x[1234] = value
        np.testing.assert_array_equal(forward("sum", 1, x, EMPTY, statics(1, 3000, 1))[1], [value])
    x = np.full(1_000_000, 0.1)
    assert abs(forward("sum", 1, x, EMPTY, statics(1, x.size, 1))[1][0] - 1e5) < 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["amax", "amin", "argmax", "argmin"])
def test_extremes(name, shape):
    size, s = shape[0] * shape[2], statics(*shape)
    for x in (RNG.normal(size=shape), RNG.integers(0, 3, shape).astype(float), spoiled(shape)):
        status, out = forward(name, size, x, EMPTY, s)
        assert status == 0
        np.testing.assert_array_equal(out, getattr(np, name)(x, axis=1).ravel())
    if name in ("amax", "amin"):
        x = RNG.permutation(np.arange(float(np.prod(shape)))).reshape(shape)
        check_law(name, size, x, EMPTY, s)


def spoiled(shape):
    x = RNG.normal(size=shape)
    for value in (np.nan, np.inf, -np.inf):
        x[RNG.random(shape) < 0.2] = value
    return x


@pytest.mark.parametrize("name", ["amax", "amin", "argmax", "argmin"])
def test_extremes_of_nothing_are_errors(name):
    assert forward(name, 6, np.empty(0), EMPTY, statics(2, 0, 3))[0] == 1


@pytest.mark.parametrize("name", ["amax", "amin"])
def test_ties_share_the_adjoint(name):
    ob, xb, _ = reverse(name, 2, [[1, 1, 1], [np.nan, 2, np.nan]], EMPTY, statics(2, 3, 1))
    np.testing.assert_allclose(xb, [ob[0] / 3] * 3 + [ob[1] / 2, 0, ob[1] / 2], atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES + [(2, 0, 3)])
@pytest.mark.parametrize("backwards", [0, 1])
def test_cumsum(shape, backwards):
    x, s = RNG.normal(size=shape), statics(*shape, backwards)
    turn = (slice(None), slice(None, None, -1 if backwards else 1))
    out = forward("cumsum", x.size, x, EMPTY, s)[1]
    np.testing.assert_allclose(out, x[turn].cumsum(1)[turn].ravel(), rtol=1e-11, atol=1e-11)
    check_law("cumsum", x.size, x, EMPTY, s)


@pytest.mark.parametrize("shape", SHAPES + [(2, 0, 3)])
@pytest.mark.parametrize("backwards", [0, 1])
def test_linrec(shape, backwards):
    x, y, s = RNG.uniform(-1, 1, shape), RNG.normal(size=shape), statics(*shape, backwards)
    z, last = np.zeros(shape), np.zeros((shape[0], shape[2]))
    for k in (range(shape[1])[::-1] if backwards else range(shape[1])):
        last = z[:, k] = x[:, k] * last + y[:, k]
    np.testing.assert_allclose(forward("linrec", x.size, x, y, s)[1], z.ravel(), rtol=1e-12, atol=1e-12)
    check_law("linrec", x.size, x, y, s, wrt_y=True)


@pytest.mark.parametrize("shape", SHAPES + [(2, 0, 3), (1, 33, 2), (1, 16, 1), (1, 700, 1)])
def test_argsort(shape):
    for x in (RNG.normal(size=shape), RNG.integers(0, 4, shape).astype(float), spoiled(shape)):
        out = forward("argsort", x.size, x, EMPTY, statics(*shape))[1]
        np.testing.assert_array_equal(out, np.argsort(x, axis=1, kind="stable").ravel())


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("n", [0, 1, 2, 9, 64])
def test_searchsorted(side, n):
    x = np.sort(np.append(RNG.integers(0, 6, n).astype(float), [np.nan, np.inf] if n > 8 else []))
    y = np.array([-1, 0, 2, 2.5, 5, 9, np.nan, np.inf, -np.inf])
    out = forward("searchsorted", y.size, x, y, statics(side == "right"))[1]
    np.testing.assert_array_equal(out, np.searchsorted(x, y, side))


BAD = [-1.0, 4.0, 1.5, np.nan, np.inf, -np.inf, 1e300, -0.5]


@pytest.mark.parametrize("inner", [1, 3])
def test_gather_and_scatter_add(inner):
    s, x = statics(inner), RNG.normal(size=(4, inner))
    for y in ([0, 3, 3, 1, 0.0], [], [2.0]):
        k = np.array(y, dtype=int)
        np.testing.assert_array_equal(forward("gather", k.size * inner, x, y, s)[1], x[k].ravel())
        check_law("gather", k.size * inner, x, y, s)
        w, total = RNG.normal(size=(k.size, inner)), np.zeros((4, inner))
        np.add.at(total, k, w)
        np.testing.assert_allclose(forward("scatter_add", 4 * inner, w, y, s)[1], total.ravel(), atol=1e-14)
        check_law("scatter_add", 4 * inner, w, y, s)


@pytest.mark.parametrize("bad", BAD)
def test_bad_indices_are_errors(bad):
    s, x = statics(2), np.zeros(8)
    assert forward("gather", 4, x, [0, bad], s)[0] == 1
    assert forward("scatter_add", 8, np.zeros(4), [0, bad], s)[0] == 1
    if bad != -1.0:
        assert forward("wrap_index", 2, [0, bad], EMPTY, statics(4))[0] == 1
    for name, sizes in (("gather", (8, 4)), ("scatter_add", (4, 8))):
        xb = np.zeros(sizes[0])
        kernel(name, "reverse")(xb, EMPTY, np.ones(sizes[1]), xb, np.array([bad, bad]), np.ones(sizes[1]), s)
        assert not xb.any()


def test_empty_gather_has_no_rows():
    assert forward("gather", 1, [], [0], statics(1))[0] == 1
    assert forward("gather", 0, [], [0], statics(0))[0] == 0


def test_wrap_index():
    status, out = forward("wrap_index", 4, [-4, -1, 0, 3], EMPTY, statics(4))
    assert status == 0 and out.tolist() == [0, 3, 0, 3]
    assert forward("wrap_index", 1, [-5], EMPTY, statics(4))[0] == 1


def test_guard():
    for x, y, code in [([1, np.nan], [1, np.nan], 0), ([1, 2], [1, 3], 2), ([np.nan], [1], 2), ([1], [np.nan], 2),
                         ([1, 1], [1], 0), ([], [], 0), ([0.0], [-0.0], 0)]:
        assert forward("guard", 0, x, y, statics())[0] == code


PRODUCTS = [(1, 1, 1), (2, 3, 4), (1, 5, 3), (3, 5, 1), (1, 9, 1), (4, 1, 4), (0, 2, 2), (2, 0, 2), (2, 3, 0),
            (17, 16, 18), (1, 90, 80), (80, 90, 1), (33, 1, 200)]


@pytest.mark.parametrize("sizes", PRODUCTS)
@pytest.mark.parametrize("ta", [0, 1])
@pytest.mark.parametrize("tb", [0, 1])
@pytest.mark.parametrize("batch", [(1, 1, 1), (3, 1, 1), (3, 1, 0), (3, 0, 1), (2, 0, 0), (0, 1, 1)])
def test_matmul(sizes, ta, tb, batch):
    (m, k, n), (count, sx, sy) = sizes, batch
    x = RNG.normal(size=(count if sx else 1, m, k))
    y = RNG.normal(size=(count if sy else 1, k, n))
    expected = np.broadcast_to(x @ y, (count, m, n)) if count else np.empty(0)
    s = statics(count, m, k, n, ta, tb, sx, sy)
    xs, ys = x.swapaxes(1, 2) if ta else x, y.swapaxes(1, 2) if tb else y
    out = forward("matmul", count * m * n, xs, ys, s)[1]
    np.testing.assert_allclose(out, expected.ravel(), rtol=1e-11, atol=1e-11)
    check_law("matmul", count * m * n, xs, ys, s, wrt_y=True)


def test_every_entry_has_its_kernel():
    assert set(exported.entry_names()) == set(HOMES)


def test_a_second_process_loads_everything_from_disk(tmp_path):
    code = ("import numpy as np\nfrom fastad.kernels.products import matmul_forward as f\n"
            "a = np.ones(400)\nout = np.empty(400)\n"
            "assert f(out, a, a, np.array([1, 20, 20, 20, 0, 0, 1, 1])) == 0 and (out == 20.0).all()\n"
            "print(sum(f.stats.cache_hits.values()), sum(f.stats.cache_misses.values()))")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
            for _ in range(2)]
    assert [r.stdout.split() for r in runs] == [["0", "1"], ["1", "0"]]


def test_import_is_light():
    code = ("import sys, fastad.kernels\nbefore = set(sys.modules)\nfrom fastad.kernels import products\n"
            "assert 'scipy.linalg' not in sys.modules\n"
            "import scipy.linalg\nfrom scipy.linalg import cython_blas\ncython_blas.__pyx_capi__['dgemm']\n"
            "assert not products.matmul_forward.signatures")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_products_are_of_the_library_that_factorises():
    """Threads of two libraries wait for work by turning in circles, and so take the processors from each other."""
    code = ("from fastad.kernels import scipy_blas as own\n"
            "def found(name): return own._addresses[own.NAMES.index(name)]\n"
            "def of_scipy(name): return own._address(own.functions(own.FUNCTIONS[name][0])[name])\n"
            "own.load('dgemm')\n"
            "assert found('dgemm') == (own._of_numpy('dgemm') or of_scipy('dgemm')) and not found('dpotrf')\n"
            "own.load('dpotrf')\nown.load('dgemv')\n"
            "assert all(found(name) == of_scipy(name) for name in ('dgemm', 'dpotrf', 'dgemv'))")
    subprocess.run([sys.executable, "-c", code], check=True)
