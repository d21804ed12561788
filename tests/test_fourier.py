"""Fourier transforms: values against NumPy's for every length, adjoints, derivatives, batches, and whole programs."""

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.signal

import fastad as fad

RNG = np.random.default_rng(4)


def agrees(f, *args, tolerance=1e-13, tiers=("sweep", "native")):
    wanted = f(*args)
    for tier in tiers:
        found = fad.jit(f, tier=tier)(*args)
        assert np.shape(found) == np.shape(wanted) and found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(np.max(np.abs(wanted)), 1e-300))


LENGTHS = [*range(1, 41), 43, 48, 49, 53, 60, 64, 97, 100, 101, 120, 128, 210, 211, 256, 1000, 1009, 1024]


@pytest.mark.parametrize("n", LENGTHS)
def test_every_length(n):
    x, y = RNG.standard_normal((2, n))
    agrees(lambda x, y: np.fft.fft(x + 1j * y), x, y, tiers=["sweep"])
    agrees(lambda x, y: np.fft.ifft(x + 1j * y), x, y, tiers=["sweep"])
    agrees(lambda x: np.fft.fft(x), x, tiers=["sweep"])
    agrees(lambda x: np.fft.rfft(x), x, tiers=["sweep"])
    half, more = x[: n // 2 + 1], y[: n // 2 + 1]
    agrees(lambda x, y: np.fft.irfft(x + 1j * y, n), half, more, tiers=["sweep"])


@pytest.mark.parametrize("n", [1, 2, 5, 8, 12, 37, 41, 64])
def test_adjoints_are_transposes(n):
    x, y, u, v = RNG.standard_normal((4, n))

    def f(x, y):
        z = np.fft.fft(x + 1j * y)
        return np.stack([z.real, z.imag])

    out, pullback = fad.vjp(f, x, y)
    bars = pullback(np.stack([u, v]))
    _, tangent = fad.jvp(f, (x, y), (u, v))
    np.testing.assert_allclose(np.sum(out * [u, v]), np.sum(bars[0] * x) + np.sum(bars[1] * y), rtol=1e-12)
    np.testing.assert_allclose(tangent, f(u, v), rtol=1e-12, atol=1e-12)


X = RNG.standard_normal((3, 6, 4))
CALLS = """
np.fft.fft(z) | np.fft.ifft(z, axis=0) | np.fft.fft(z, 5, 1) | np.fft.fft(z, 9, axis=1) | np.fft.fft(z, norm="ortho")
np.fft.ifft(x, norm="forward") | np.fft.fft(z, norm="forward") | np.fft.rfft(x, axis=1) | np.fft.rfft(x, 7)
np.fft.rfft(x, norm="ortho") | np.fft.irfft(z) | np.fft.irfft(z, 5) | np.fft.irfft(z, axis=1)
np.fft.irfft(z, norm="forward") | np.fft.hfft(z) | np.fft.ihfft(x) | np.fft.hfft(z, 5, norm="ortho") | np.fft.fft2(z)
np.fft.ifft2(x) | np.fft.fftn(z) | np.fft.ifftn(z, axes=(0, 1)) | np.fft.fftn(x, (2, 8), axes=(1, 2)) | np.fft.rfft2(x)
np.fft.rfftn(x) | np.fft.irfft2(z) | np.fft.irfftn(z) | np.fft.irfftn(z, (4, 5), axes=(0, 1))
np.fft.fftshift(np.fft.fft(z), axes=1) | np.fft.ifftshift(z) | np.fft.fft(z[0, 0]) | np.fft.ifft(np.fft.fft(x)).real
np.fft.irfft(np.fft.rfft(x)) | scipy.fft.fft(x) | scipy.fft.ifft(z, workers=1) | scipy.fft.rfft(x)
scipy.fft.irfft(z) | scipy.fft.fft2(z) | scipy.fft.rfftn(x, norm="ortho") | scipy.fft.fftshift(z)
scipy.signal.hilbert(x) | scipy.signal.hilbert(x, axis=1) | scipy.signal.fftconvolve(x, x[:, :2, :3])
scipy.signal.convolve(z, x, method="fft") | scipy.signal.fftconvolve(x, x, "same")
scipy.signal.correlate(z[0], z[1]) | np.fft.fft(x.astype(int)) | np.fft.fft(1j * x)
""".replace("\n", "|").strip("|").split("|")  # fmt: skip


EXPRESSIONS = [t.strip() for t in CALLS]


def evaluate(text, x):
    return eval(text, {"np": np, "scipy": scipy, "x": x, "z": x + 1j * np.roll(x, 1)})


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_functions(text):
    agrees(lambda x: evaluate(text, x), X)


@pytest.mark.parametrize("start", range(0, len(EXPRESSIONS), 12))
def test_derivatives(start):
    """Of several at a time: each result is compared by itself, and what a check costs is hardly more for twelve."""
    some = [text for text in EXPRESSIONS[start : start + 12] if "int" not in text]

    def parts(x):
        found = [evaluate(text, x) for text in some]
        return [np.concatenate([np.ravel(y.real), np.ravel(y.imag)]) for y in found]

    fad.check_grads(parts, (X,), order=2)


def test_single_precision():
    x = X.astype(np.float32)
    agrees(lambda x: np.fft.rfft(x), x, tolerance=1e-6)
    agrees(lambda x: np.fft.fft(1j * x), x, tolerance=1e-6)


def test_batches_and_patterns():
    f = lambda x: np.abs(np.fft.fft(x)) ** 2
    np.testing.assert_allclose(fad.vmap(f)(X[0]), np.stack([f(x) for x in X[0]]), rtol=1e-12)
    slope = fad.grad(lambda x: np.sum(f(x)[1:]))
    np.testing.assert_allclose(fad.vmap(slope)(X[0]), np.stack([slope(x) for x in X[0]]), rtol=1e-12, atol=1e-12)
    pattern = fad.jacobian_sparsity(lambda x: np.fft.fft(x, axis=0).real, X[0]).toarray()
    np.testing.assert_array_equal(pattern, np.kron(np.ones((6, 6)), np.eye(4)) > 0)


@pytest.mark.parametrize("bad", [{"n": 0}, {"norm": "no"}, {"axis": 7}])
def test_numpys_errors(bad):
    for transform in (np.fft.fft, np.fft.rfft, np.fft.irfft):
        f = lambda x, own=transform: own(x, **bad)
        for g in (f, fad.jit(f)):
            with pytest.raises((ValueError, IndexError)):
                g(X)


# ── programs ──────────────────────────────────────────────────────────────────────────────────────────────────
def schroedinger(strength, width, n=32, steps=12):
    """A split-step Fourier solver of a nonlinear Schrödinger equation."""
    x = np.linspace(-8, 8, n, endpoint=False)
    k = 2 * np.pi * np.fft.fftfreq(n, x[1] - x[0])
    dt = 0.02
    psi = np.exp(-((x / width) ** 2)) * np.exp(0.5j * x)
    half = np.exp(-0.5j * dt * k**2 / 2)
    for _ in range(steps):
        psi = np.fft.ifft(half * np.fft.fft(psi))
        psi = psi * np.exp(-1j * dt * strength * np.abs(psi) ** 2)
        psi = np.fft.ifft(half * np.fft.fft(psi))
    return np.sum(np.abs(psi) ** 2 * x**2) * (x[1] - x[0])


def burgers(u, viscosity):
    """Burgers' equation by a pseudo-spectral method, with Runge-Kutta steps."""
    k = np.fft.rfftfreq(len(u), 1 / len(u))
    rhs = lambda u: np.fft.irfft(-0.5j * k * np.fft.rfft(u * u) - viscosity * k**2 * np.fft.rfft(u))
    for _ in range(8):
        a = rhs(u)
        b = rhs(u + 0.01 * a)
        u = u + 0.005 * (a + b)
    return np.sum(u**3 * np.arange(len(u)))


def phase_retrieval(phase):
    """The error of intensities behind a free path (Fresnel), of a field with this phase."""
    n = phase.shape[0]
    fx, fy = np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n))
    field = np.exp(1j * phase) * np.hanning(n)[:, None]
    far = np.fft.ifft2(np.fft.fft2(field) * np.exp(-1j * np.pi * 3.0 * (fx**2 + fy**2)))
    return np.sum((np.abs(far) ** 2 - 0.3) ** 2)


def deblurring(image, sharpness):
    """A Wiener filter, against a blurred image."""
    kernel = np.zeros(image.shape)
    kernel[:3, :3] = 1 / 9
    h = np.fft.fft2(kernel)
    restored = np.fft.ifft2(np.conj(h) * np.fft.fft2(image) / (np.abs(h) ** 2 + sharpness**2)).real
    return np.mean((restored - 1) ** 2) + np.mean(np.abs(np.diff(restored, axis=0)))


def by_definition(x, shift):
    """A Fourier transform as it is defined."""
    n = len(x)
    k = np.arange(n)
    matrix = np.exp(-2j * np.pi * np.outer(k, k) / n)
    return np.sum(np.abs(matrix @ x * np.exp(1j * shift * k))[1:4]) + np.angle(matrix @ x)[1]


def by_recursion(x):
    """The fast transform as textbooks have it."""

    def transform(x):
        n = len(x)
        if n == 1:
            return x
        even, odd = transform(x[::2]), transform(x[1::2])
        turned = np.exp(-2j * np.pi * np.arange(n // 2) / n) * odd
        return np.concatenate([even + turned, even - turned])

    return np.sum(np.abs(transform(x + 0j)) ** 3)


def gates(angles):
    """The fidelity of a sequence of rotations with a wanted gate."""
    sx, sz = np.array([[0, 1], [1, 0]], complex), np.array([[1, 0], [0, -1]], complex)
    u = np.eye(2, dtype=complex)
    for a, b in angles:
        u = (np.cos(a) * np.eye(2) - 1j * np.sin(a) * sx) @ (np.cos(b) * np.eye(2) - 1j * np.sin(b) * sz) @ u
    wanted = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    return np.abs(np.trace(wanted.conj().T @ u)) ** 2 / 4


def circuit(values):
    """A fit of resistances and a capacity to an impedance."""
    r0, r1, c = values
    omega = 2 * np.pi * np.logspace(-1, 3, 9)
    z = r0 + r1 / (1 + 1j * omega * r1 * c)
    wanted = 1.5 + 3 / (1 + 1j * omega * 0.03)
    return np.sum(np.abs(z - wanted) ** 2) + np.sum(np.angle(z) ** 2)


def contour(pole):
    """The residue of a function in a circle, by the trapezoidal rule."""
    theta = 2 * np.pi * np.arange(40) / 40
    z = 2 * np.exp(1j * theta)
    values = np.exp(z) / (z - pole) ** 2
    return (np.sum(values * 1j * z) * (2 * np.pi / 40) / (2j * np.pi)).real


def network(g, f):
    """The current through a network of admittances at a frequency, by its nodes."""
    y = np.zeros((3, 3), dtype=complex)
    for i in range(3):
        own = g[i] + 1j * f * (i + 1)
        y[i, i] += own
        j = (i + 1) % 3
        y[j, j] += own
        y[i, j] -= own
        y[j, i] -= own
    y += np.eye(3) * 0.1
    v = np.linalg.solve(y, np.array([1, 0, -1j]))
    return np.abs(v[0]) + np.abs(np.linalg.det(y))


PROGRAMS = [
    (schroedinger, (1.3, 2.0)), (burgers, (np.sin(np.arange(16) * np.pi / 8), 0.05)),
    (phase_retrieval, (RNG.standard_normal((8, 8)),)), (deblurring, (1 + 0.1 * RNG.standard_normal((8, 6)), 0.3)),
    (by_definition, (RNG.standard_normal(8), 0.4)), (by_recursion, (RNG.standard_normal(16),)),
    (gates, (RNG.standard_normal((3, 2)),)), (circuit, (np.array([1.0, 2.5, 0.02]),)), (contour, (0.3,)),
    (network, (np.array([0.5, 1.0, 0.7]), 1.7)),
]  # fmt: skip


@pytest.mark.parametrize(("f", "args"), PROGRAMS)
def test_programs(f, args):
    agrees(f, *args, tolerance=1e-11)
    order = 1 if f in (schroedinger, phase_retrieval) else 2
    fad.check_grads(f, args, order=order)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: scipy.signal.fftconvolve(x, x, "whole"), "mode must be one of .*'same'.*test_fourier.*'whole'"),
        (lambda x: scipy.signal.convolve(x, x, method="by hand"), "method must be one of .*test_fourier"),
        (lambda x: scipy.signal.correlate(x[:, None], x[None, :], "valid"), "at least as large .*test_fourier"),
        (lambda x: scipy.signal.hilbert(x * 1j), "real numbers .*test_fourier.*z.real"),
        (lambda x: scipy.ndimage.convolve(x, np.ones(3), mode="mirrored"), "mode must be one of .*test_fourier"),
        (lambda x: np.fft.fft(x, 0), "Invalid number of FFT data points"),
        (lambda x: np.fft.rfft(x, norm="half"), "Invalid norm"),
    ],
)
def test_wrong_options_are_refused_as_scipy_does(call, text):
    for f in (call, fad.jit(call)):  # SciPy refuses them too, in its words
        with pytest.raises((ValueError, RuntimeError), match=text if f is not call else None):
            f(np.ones(4))


def test_complex_results_are_saved(tmp_path):
    f = fad.jit(np.fft.fft)
    wanted = f(np.ones(4))
    f.save(tmp_path / "f.npz")
    np.testing.assert_array_equal(fad.load(tmp_path / "f.npz")(np.ones(4)), wanted)
