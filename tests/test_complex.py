"""Complex numbers as intermediate values: values against NumPy, derivatives against differences, in both tiers."""

import numpy as np
import pytest
import scipy.linalg

import fastad as fad

N = 6
X = np.linspace(-1.3, 1.6, N)
Y = np.cos(3 * X) + 0.2
A = np.random.default_rng(5).standard_normal((3, 3))
B = np.random.default_rng(6).standard_normal((3, 3))
W = np.exp(1j * np.arange(N)) * (1 + 0.3 * np.arange(N))  # a plain complex array that functions capture


def real_of(z):
    """Real numbers that hold all of a result."""
    z = z if isinstance(z, list | tuple) else [z]
    return np.concatenate([np.ravel(part) for x in z for part in ((x.real, x.imag) if np.iscomplexobj(x) else (x,))])


# Expressions in z = x + i y (an array of 6), of which M = A + iB is a matrix and w a plain complex array.
VECTORS = """
z * w | w - z | z / (w + 3) | 1 / (z + 2j) | 2j * z + 1 | (1 + 2j) / (z + 3) | z / 2 | x / (z + 3j) | -z | +z
z.conj() | abs(z) | np.abs(z) | np.angle(z) | z.real * z.imag | np.real(z) | np.imag(z) | z**2 | z**3 | z**-2 | z**7
z**0 | z**0.5 | z**1.7 | z**(1 + 2j) | (2 + x) ** (1j * y) | 2.0**z | z ** x | np.power(z, 5) | np.square(z)
np.reciprocal(z + 3) | np.conj(z) | np.conjugate(x) | np.exp(z) | np.exp(1j * x) | np.exp2(z) | np.expm1(z)
np.log(z) | np.log(1j * y) | np.log2(z) | np.log10(z) | np.log1p(z / 5) | np.sqrt(z) | np.sqrt(x + 0j) | np.sin(z)
np.cos(z) | np.tan(z) | np.sinh(z) | np.cosh(z) | np.tanh(z) | np.sin(1j * x) | np.cos(1j * x) | np.tanh(1j * x)
np.arctan(z) | np.arctanh(z / 4) | np.sign(z) | np.cosh(1j * x) | np.sinh(1j * x) | np.sinc(z) | z[1] | z[-1] * z[0]
z[1:4] | z[::-1] | z[[0, 2, 2]] | z[x > 0] | z[None, :] * z[:, None] | z.reshape(2, 3).T | z.ravel() | z.T | z.sum()
np.sum(z.reshape(2, 3), axis=1) | z.mean() | np.mean(z.reshape(2, 3), axis=0, keepdims=True) | z.prod()
np.prod(z.reshape(2, 3), axis=1) | np.prod(z.reshape(3, 2), axis=0, keepdims=True) | np.cumsum(z) | np.cumprod(z)
np.cumprod(z.reshape(2, 3), axis=1) | np.var(z) | np.std(z) | np.diff(z) | np.dot(z, w) | z @ w | np.vdot(z, w)
np.vdot(w, z) | np.inner(z, z) | np.outer(z, x) | np.einsum('i,j,i->j', z, w, z) | np.kron(z[:2], w[:3])
np.convolve(z, w[:3]) | np.correlate(z, w[:3]) | np.concatenate([z, x, w]) | np.stack([z, w])
np.array([z[0], x[1], 2.0, 1j]) | np.array([x[0], 1j]) | np.where(x > 0, z, 1j) | np.where(x > 0, x, w)
np.roll(z, 2) | np.flip(z) | np.tile(z, 2) | np.repeat(z, 2) | np.take(z, [3, 1]) | np.append(z, 1j)
np.linalg.norm(z) | np.linalg.norm(z, 1) | np.linalg.norm(z, np.inf) | np.real_if_close(z) | np.nan_to_num(z)
np.pad(z, 1) | np.fft.fftshift(z) | np.broadcast_to(z, (2, 6)) * 1j | np.zeros_like(z) + z | np.ones_like(z) * z
np.full_like(z, 2j) * z | np.array(z) | np.asarray(z) | np.copy(z) | x.astype(complex) * 1j | z.astype(complex)
np.multiply(x, 1j) | np.add(w, x) | np.subtract(1j, x) | np.multiply.outer(z[:2], w[:2]) | np.add.reduce(z) | x * 1j
1j * x + y | x - 1j | 1j - x | x / 1j | 1j / (x + 3) | x @ w | np.dot(w, x) | w * x | w / (x + 3) | np.matmul(w, x)
np.outer(w, x) | np.atleast_2d(z) | z.reshape(3, 2).swapaxes(0, 1) | np.split(z, 2)[1] | np.diag(z)
np.trace(z.reshape(2, 3)) | np.select([x > 0, y > 0], [z, 1j * z], 2.0) | np.average(z, weights=np.abs(x))
np.gradient(z) | np.trapezoid(z, dx=0.1) | np.interp(0.3, np.arange(6.0), z) | np.einsum('i,i', z, z.conj()).real
sum(z) | sum(abs(v) for v in z) | z[0] + complex(2, 1) | z * np.complex128(1 + 1j) | np.add(z, z, where=True)
z.flatten() | z.copy() | np.isclose(z, w) * x
""".replace("\n", "|").strip("|").split("|")
MATRICES = """
M @ M | M @ A | A @ M | M.conj().T @ M | np.einsum('ij,kj->ik', M, A) | np.trace(M) | np.linalg.multi_dot([M, A, M])
M @ x[:3] | np.diagonal(M) | np.linalg.matrix_power(M, 3) | np.linalg.norm(M) | np.linalg.norm(M, 1)
np.kron(M, M)[0] | np.tensordot(M, M, 1) | M[1:, ::2] | M.T[0] | np.triu(M) | np.linalg.solve(M, w[:3])
np.linalg.solve(M, B) | np.linalg.solve(A, z[:3]) | np.linalg.inv(M) | np.linalg.det(M) | np.linalg.slogdet(M)[1]
np.linalg.slogdet(M)[0] | np.linalg.inv(np.stack([M, M.T]))
np.linalg.det(np.stack([M, A])) | M.conj().T
scipy.linalg.expm(1j * A * x[0]) | scipy.linalg.expm(M) | scipy.linalg.sqrtm(M @ M + 4 * np.eye(3))
""".replace("\n", "|").strip("|").split("|")


def program(text):
    """A function of two real arrays, with real results."""

    def f(x, y):
        z = x + 1j * y
        M = A * x[0] + 1j * B * y[1]
        return real_of(eval(text, {"np": np, "scipy": scipy, "x": x, "y": y, "z": z, "M": M, "w": W, "A": A, "B": B}))

    f.__name__ = text.strip()
    return f


EXPRESSIONS = [t.strip() for t in VECTORS + MATRICES if t.strip()]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_values(text):
    f = program(text)
    wanted = f(X, Y)
    for tier in ("sweep", "native"):
        np.testing.assert_allclose(fad.jit(f, tier=tier)(X, Y), wanted, rtol=2e-14, atol=1e-14)


@pytest.mark.parametrize("start", range(0, len(EXPRESSIONS), 12))
def test_derivatives(start):
    """Of several at a time: each result is compared by itself, and what a check costs is hardly more for twelve."""
    some = [program(text) for text in EXPRESSIONS[start : start + 12]]
    fad.check_grads(lambda x, y: [f(x, y) for f in some], (X, Y), order=2)


# ── what functions make themselves ────────────────────────────────────────────────────────────────────────────
def by_elements(x, y):
    z = np.zeros(6, dtype=complex)
    for i in range(6):
        z[i] = x[i] * np.exp(1j * y[i])
    z[2:4] *= 2j
    z[0] += 1
    z.real[5] = 3.0
    z[1:3].imag[...] = x[1:3]
    return real_of(z * z)


def by_masks(x, y):
    z = x + 1j * y
    z[x > 0.5] = 1j
    z[[0, 1]] = y[[1, 0]]
    z -= 0.5
    w = np.empty_like(z)
    np.multiply(z, 2j, out=w)
    return real_of(w)


def views(x, y):
    z = x * 1j
    part = z[1:4]
    part[0] = y[0]
    z[2] = 7 + 1j * y[1]
    return real_of([part, z, z.real, z.reshape(2, 3)[1]])


def read_later(x, y):
    z = x + 1j * y
    before = z.conj()
    z[0] = 0
    return real_of([before, z])


def two_dimensions(x, y):
    z = np.zeros((2, 3), complex)
    z[0] = x[:3]
    z[:, 1] = 1j * y[:2]
    z[1, 2] = 1 + 1j
    return real_of([z, z.T @ z, z.sum()])


@pytest.mark.parametrize("f", [by_elements, by_masks, views, read_later, two_dimensions])
def test_arrays_are_written_to(f):
    for tier in ("sweep", "native"):
        np.testing.assert_allclose(fad.jit(f, tier=tier)(X, Y), f(X, Y), rtol=1e-14, atol=1e-14)
    fad.check_grads(f, (X, Y), order=2)


def test_branches_and_loops():
    """The map of Mandelbrot's set, until it escapes."""

    def escaped(c, d):
        z, count = 0j, 0
        while abs(z) < 4 and count < 50:
            z, count = z * z + (c + 1j * d), count + 1
        return abs(z) + count

    for c, d in ((0.4, 0.3), (0.35, 0.2), (-1.0, 0.3)):
        assert fad.jit(escaped)(c, d) == pytest.approx(escaped(c, d), rel=1e-12)
        fad.check_grads(escaped, (c, d), order=1)


# ── results, states, batches ──────────────────────────────────────────────────────────────────────────────────
def test_complex_results():
    f = lambda x, y: {"z": (x + 1j * y) ** 2, "w": [np.exp(1j * x[0]), x]}
    for _ in range(3):
        found, wanted = fad.jit(f)(X, Y), f(X, Y)
        np.testing.assert_allclose(found["z"], wanted["z"], rtol=1e-15)
        assert found["z"].dtype == complex and found["w"][0] == pytest.approx(wanted["w"][0])
    batched = fad.vmap(lambda x: np.exp(1j * x))(X.reshape(3, 2))
    np.testing.assert_allclose(batched, np.exp(1j * X.reshape(3, 2)), rtol=1e-15)
    value, tangent = fad.jvp(lambda x: np.exp(1j * x), (X,), (Y,))
    np.testing.assert_allclose(tangent, 1j * Y * value, rtol=1e-14)


def test_single_precision():
    x = X.astype(np.float32)
    f = lambda x: (np.exp(1j * x) * W.astype(np.complex64), x + 1j, np.complex128(1j) * x)
    for found, wanted in zip(fad.jit(f)(x), f(x), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_states_of_loops():
    def by_scan(x):
        turn = lambda z, _: (z * np.exp(1j * x[0]) + x[1], np.abs(z))
        z, sizes = fad.scan(turn, x[2] + 0j, length=5)
        return np.append(sizes, real_of(z))

    def by_hand(x):
        z, sizes = x[2] + 0j, []
        for _ in range(5):
            sizes.append(np.abs(z))
            z = z * np.exp(1j * x[0]) + x[1]
        return np.append(np.stack(sizes), real_of(z))

    np.testing.assert_allclose(fad.jit(by_scan)(X), by_hand(X), rtol=1e-14)
    np.testing.assert_allclose(fad.jacobian(by_scan)(X), fad.jacobian(by_hand)(X), rtol=1e-12, atol=1e-14)


def test_captured_arrays_are_read_anew():
    w = W.copy()
    f = fad.jit(lambda x: np.abs(np.sum(x * w)))
    assert f(X) == pytest.approx(abs(np.sum(X * w)))
    w *= 2 - 1j
    assert f(X) == pytest.approx(abs(np.sum(X * w)))


# ── branch cuts, zeros, infinities ────────────────────────────────────────────────────────────────────────────
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e-200, 1e200, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize(
    "name", ["sqrt", "log", "exp", "absolute", "angle", "conj", "tanh", "sin", "cosh", "square", "negative"]
)
def test_branch_cuts_and_special_values(name):
    """Of numbers, on branch cuts too, the value is NumPy's where that is finite; elsewhere it is not finite."""
    function = getattr(np, name)
    a, b = (p.ravel() for p in np.meshgrid(SPECIAL, SPECIAL))
    z = np.empty(a.size, complex)
    z.real, z.imag = a, b

    def f(a, b):
        z = np.zeros(a.size, complex)
        z.real, z.imag = a, b
        return function(z)

    with np.errstate(all="ignore"):
        found, wanted = fad.jit(f)(a, b), function(z)
    numbers, finite = np.isfinite(z), np.isfinite(z) & np.isfinite(wanted)
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-14, atol=1e-300)
    np.testing.assert_array_equal(np.isfinite(found)[numbers], finite[numbers])


def test_quotients_do_not_overflow():
    x = np.array([1e200, 1e-200, 3e300, 1.0])
    f = lambda x: (1 + x * 1j) / (x + 2j * x)
    np.testing.assert_allclose(fad.jit(f)(x), f(x), rtol=1e-14)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────
ERRORS = {
    "order": (lambda x: np.maximum(x + 1j, x), "no order.*z.real"),
    "comparison": (lambda x: (x + 1j) < x, "no order.*z.real"),
    "sorting": (lambda x: np.sort(x + 1j), "np.abs"),
    "method": (lambda x: (x + 1j).argmax(), "no order"),
    "real array": (lambda x: _written(np.zeros(6), x + 1j), "dtype complex"),
    "conversion": (lambda x: (x + 1j).astype(float), "z.real"),
    "complex()": (lambda x: complex(x[0] + 1j), "np.exp"),
    "a function": (lambda x: np.linalg.qr(np.outer(x, x + 1j)), "z.real"),
    "a norm": (lambda x: np.linalg.norm(np.outer(x, x + 1j), 2), "fro"),
    "eigenvalues": (lambda x: np.linalg.eigvals(np.outer(x, x + 1j)), "svd"),
}


def _written(y, z):
    y[:] = z
    return y


@pytest.mark.parametrize("key", ERRORS)
def test_what_is_refused_names_the_fix(key):
    f, text = ERRORS[key]
    with pytest.raises(fad.RecordingError, match=f"(?s)test_complex.*{text}"):
        fad.jit(f)(X)
