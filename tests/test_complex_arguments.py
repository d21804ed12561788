"""Complex arguments, states and matrices: values against NumPy and SciPy, derivatives against differences."""

import cmath
import subprocess
import sys

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import fastad as fad

Z = np.array([1 + 2j, 0.5 - 1j, -0.3 + 0.4j])
W = np.array([0.7j, 1.0 - 0.2j, 2.0])
_normal = np.random.default_rng(0).normal
M, N = (_normal(size=(3, 3)) + 1j * _normal(size=(3, 3)) for _ in range(2))
H, G = M + M.conj().T, N + N.conj().T


def inner(a, b):
    """The inner product of real and imaginary parts."""
    return float(np.sum(np.real(np.conj(a) * b)))


def check(f, *args, order=2):
    """Values in both tiers, and derivatives by complex arguments."""
    wanted = f(*args)
    for tier in ("sweep", "native"):
        np.testing.assert_allclose(fad.jit(f, tier=tier)(*args), wanted, rtol=1e-11, atol=1e-12)
    fad.check_grads(f, args, order=order)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────
def test_arguments_are_complex_wherever_they_stand():
    f = lambda z, more: {"a": z * more["w"] + 1j, "b": [np.abs(z), 2j]}
    for k in range(4):
        found, wanted = fad.jit(f)(k * Z, {"w": 1j * k}), f(k * Z, {"w": 1j * k})
        np.testing.assert_allclose(found["a"], wanted["a"], rtol=1e-15)
        np.testing.assert_allclose(found["b"][0], wanted["b"][0], rtol=1e-15)
        assert found["a"].dtype == complex and found["b"][1] == 2j
    g = fad.jit(lambda z: z * 2)
    for z in (1 + 2j, np.complex64(1 + 2j), Z.astype(np.complex64), Z[::-1], Z.astype(">c16"), 1j * np.zeros((0, 2))):
        np.testing.assert_array_equal(g(z), z * 2)
        assert g(z).dtype.itemsize == np.asarray(z).dtype.itemsize
    with pytest.raises(fad.RecordingError, match=r"Copy it first"):
        fad.jit(lambda z: z.__setitem__(0, 1))(Z)


def test_derivatives_by_complex_arguments():
    f = lambda z, w: np.sin(z) * np.conj(w) + np.abs(z) * 1j
    check(f, Z, W)
    out, pull = fad.vjp(f, Z, W)
    value, tangent = fad.jvp(f, (Z, W), (W, Z))
    np.testing.assert_allclose(value, out)
    u = np.exp(1j * np.arange(3))
    a, b = pull(u)
    assert inner(u, tangent) == pytest.approx(inner(a, W) + inner(b, Z), rel=1e-12)
    np.testing.assert_allclose(fad.jvp(f, (Z, W), (None, Z))[1], fad.jvp(f, (Z, W), (0 * Z, Z))[1])
    np.testing.assert_allclose(fad.linearize(f, Z, W)[1](W, Z), tangent)
    np.testing.assert_allclose(fad.vmap(f)(Z, W), f(Z, W), rtol=1e-14)


def test_gradients_point_uphill():
    """The gradient is ∂f/∂x + i ∂f/∂y, so that z - rate * gradient goes downhill."""
    f = lambda z: np.sum(np.abs(z - 1j) ** 2 * np.array([1.0, 2.0, 3.0]))
    g = fad.grad(f)
    np.testing.assert_allclose(g(Z), 2 * np.array([1.0, 2.0, 3.0]) * (Z - 1j), rtol=1e-14)
    z = Z
    for _ in range(100):
        z = z - 0.1 * g(z)
    np.testing.assert_allclose(z, 1j * np.ones(3), atol=1e-8)
    np.testing.assert_allclose(fad.hvp(f, Z, W), 2 * np.array([1.0, 2.0, 3.0]) * W, rtol=1e-14)
    np.testing.assert_allclose(fad.vmap(fad.grad(lambda z: np.abs(z) ** 2))(Z), 2 * Z, rtol=1e-14)
    np.testing.assert_allclose(fad.vjp(lambda z: z**2, Z)[1](W)[0], np.conj(2 * Z) * W, rtol=1e-14)


def test_saved_functions(tmp_path):
    f = fad.jit(lambda z, more: {"a": z * more, "b": 1})
    f(Z, 2j)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    np.testing.assert_allclose(loaded(W, 3j)["a"], W * 3j, rtol=1e-15)
    np.testing.assert_allclose(fad.grad(lambda z: np.sum(np.abs(loaded(z, 2j)["a"]) ** 2))(Z), 8 * Z, rtol=1e-14)
    with pytest.raises(fad.ShapeError, match="complex float64"):
        loaded(Z.real, 2j)


# ── states ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_states_of_loops():
    def f(z, w):
        last, all_of_them = fad.scan(lambda c, x: (c * x + 1j, c), z, np.array([1j, 2.0, 0.5 - 1j]))
        turned = fad.fori_loop(0, 3, lambda k, c: c * w, last)
        grown = fad.while_loop(lambda c: np.sum(np.abs(c)) < 1e3, lambda c: c * (1 + 2j), turned)
        return fad.cond(np.abs(w[0]) > 0, lambda c: c, lambda c: -c, grown) + all_of_them

    check(f, Z, W + 0.1j, order=1)


def schroedinger(t, y):
    return -1j * (H @ y)


@pytest.mark.parametrize("method", ["Tsit5", "BDF"])
def test_states_of_solve_ivp(method):
    found = fad.solve_ivp(schroedinger, (0, 1), Z, method=method, rtol=1e-8, atol=1e-10, dense_output=True)
    wanted = scipy.linalg.expm(-1j * H) @ Z
    assert found.success and found.y.dtype == complex
    np.testing.assert_allclose(found.y[:, -1], wanted, rtol=1e-4 if method == "BDF" else 1e-6)
    np.testing.assert_allclose(found.sol(0.4), scipy.linalg.expm(-0.4j * H) @ Z, rtol=1e-3)


def test_derivatives_of_solve_ivp():
    def f(z, w):
        a, b = H[:2, :2], G[:2, :2]
        sol = fad.solve_ivp(lambda t, y: -1j * ((a + w * b) @ y), (0, 0.2), z, t_eval=[0.2], atol=1e-9 * np.ones(2))
        return np.abs(sol.y[0, 0]) ** 2

    fad.check_grads(f, (Z[:2], 0.3), order=1)
    fad.check_grads(lambda w: f(Z[:2], w), (0.3,), order=2)
    end = lambda w: fad.solve_ivp(lambda t, y: -1j * w * y, (0, 3), [w, 1j]).y[:, -1]
    np.testing.assert_allclose(fad.jit(end)(2.0), np.exp(-6j) * np.array([2, 1j]), rtol=1e-4)


def test_events_of_solve_ivp():
    turn = lambda t, y, w: -1j * w * y
    crossing = lambda t, y, w: y[0].real
    options = {"events": crossing, "args": (2.0,), "rtol": 1e-9, "atol": 1e-11}
    found = fad.solve_ivp(turn, (0, 2), [1 + 0j], **options)
    wanted = scipy.integrate.solve_ivp(turn, (0, 2), [1 + 0j], **options)
    np.testing.assert_allclose(found.t_events[0], wanted.t_events[0], rtol=1e-7)
    np.testing.assert_allclose(found.y_events[0], wanted.y_events[0], atol=1e-6)

    def at(w):
        sol = fad.solve_ivp(turn, (0, 2), [1 + 0j], **options | {"args": (w,)})
        return sol.t_events[0][0] + sol.y_events[0][0][0].imag

    assert fad.grad(at)(2.0) == pytest.approx(-np.pi / 8, rel=1e-6)


# ── matrices and numbers ──────────────────────────────────────────────────────────────────────────────────────
MATRICES = {
    "eigenvalues": np.linalg.eigvalsh,
    "lower triangle": lambda a: np.linalg.eigvalsh(a + 1j * np.triu(a)),
    "upper triangle": lambda a: np.linalg.eigvalsh(a + 1j * np.tril(a), UPLO="U"),
    "vectors": lambda a: np.abs(np.linalg.eigh(a)[1]) ** 2,
    "stack": lambda a: scipy.linalg.eigvalsh(a) + np.linalg.eigvalsh(np.stack([a, a @ a])),
    "cholesky": lambda a: np.linalg.cholesky(a @ a + np.eye(3)),
    "upper cholesky": lambda a: scipy.linalg.cholesky(a @ a + np.eye(3)),
    "singular values": lambda a: np.linalg.svd((a @ M)[:, :2], compute_uv=False),
    "pinv": lambda a: np.linalg.pinv((a @ M)[:2]),
    "expm": lambda a: scipy.linalg.expm(1j * a),
}


@pytest.mark.parametrize("name", MATRICES)
def test_hermitian_matrices(name):
    check(lambda x: MATRICES[name](H + G * x), 0.2, order=2 if name in ("eigenvalues", "vectors") else 1)
    fad.check_grads(MATRICES[name], (H,), order=1)


def test_equal_eigenvalues():
    with pytest.raises(fad.RecordingError, match=r"equal eigenvalues.*eigvalsh"):
        fad.jit(np.linalg.eigh)(np.eye(2) + 0j)
    np.testing.assert_allclose(fad.jit(np.linalg.eigvalsh)(np.eye(2) + 0j), [1, 1])


CMATH = "sin cos tan sinh cosh tanh exp log log10 sqrt atan atanh phase"


@pytest.mark.parametrize("name", CMATH.split())
def test_cmath(name):
    check(lambda x, y: getattr(cmath, name)(0.3 * x + 1j * y), 0.7, 0.4, order=1)


def test_more_of_cmath():
    assert fad.jit(cmath.sqrt)(-4.0) == 2j
    assert fad.jit(cmath.polar)(2j) == pytest.approx(cmath.polar(2j))
    assert fad.jit(cmath.rect)(2.0, 0.3) == pytest.approx(cmath.rect(2.0, 0.3))
    assert fad.jit(cmath.log)(2j, 3.0) == pytest.approx(cmath.log(2j, 3.0))


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────
ERRORS = {
    "Jacobian": (lambda: fad.hessian(lambda z: np.abs(z))(1j), fad.DerivativeError, "argnums=\\(0, 1\\)"),
    "carry": (lambda: fad.scan(lambda c, x: (c * 1j, c), 1.0, length=3), fad.ShapeError, "float64, .*complex128"),
    "real y0": (lambda: fad.solve_ivp(schroedinger, (0, 1), np.ones(3)), fad.ShapeError, "np.asarray\\(y0, complex\\)"),
    "mass": (lambda: fad.solve_ivp(schroedinger, (0, 1), Z, mass=np.ones(3)), fad.ShapeError, "no mass="),
    "components": (lambda: fad.solve_ivp(lambda t, y: y[:2], (0, 1), Z), fad.ShapeError, "2 components.*3 components"),
    "cotangent": (lambda: fad.vjp(np.exp, Z)[1](np.ones(3)), fad.ShapeError, "complex128\\[3\\], not float64\\[3\\]"),
    "singular vectors": (lambda: fad.jit(np.linalg.svd)(M), fad.RecordingError, "compute_uv=False"),
    "asin": (lambda: fad.jit(cmath.asin)(0.3j), fad.RecordingError, "NumPy's functions"),
}


@pytest.mark.parametrize("key", ERRORS)
def test_what_is_refused_names_the_fix(key):
    call, kind, text = ERRORS[key]
    with pytest.raises(kind, match=f"(?s){text}"):
        call()


FROM_THREADS = """
import threading
import numpy as np, fastad as fad
barrier, found = threading.Barrier(8), []
def run():
    barrier.wait()
    found.append(fad.grad(lambda z: np.sum(abs(z) ** 2), tier="sweep")(np.array([1j])).tolist() == [2j])
threads = [threading.Thread(target=run) for _ in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
assert found == [True] * 8, found
"""


def test_first_calls_from_several_threads():
    """What complex values need is imported by the first of them, and the others wait for that."""
    subprocess.run([sys.executable, "-c", FROM_THREADS], check=True, timeout=120)
