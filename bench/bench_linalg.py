"""Gradients of dense linear algebra against JAX's, in one run: `python -m pytest bench/bench_linalg.py -s`.

Both run in turns, and the best times count. Results are compared first. Where other work keeps the processors busy, set
OPENBLAS_NUM_THREADS=1 and XLA_FLAGS=--xla_cpu_multi_thread_eigen=false: threads that wait for each other measure that.
"""
import time

import numpy as np
import pytest

import fastad as fad

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy
RNG = np.random.default_rng(0)
SECONDS = 1.0


def symmetric(cholesky):
    """JAX's on the lower triangle, as NumPy reads it."""
    return lambda a: cholesky(jnp.tril(a) + jnp.tril(a, -1).T)


def regular(n):
    return RNG.normal(size=(n, n)) + n * np.eye(n)


def definite(n):
    a = RNG.normal(size=(n, n))
    return a @ a.T / n + np.eye(n)


# Function of NumPy's, the same of JAX's, arguments, and how much faster it is to be for 10 rows.
WORK = {
    "solve": (
        lambda a, b: np.sum(np.linalg.solve(a, b) ** 2), lambda a, b: jnp.sum(jnp.linalg.solve(a, b) ** 2),
        lambda n: (regular(n), RNG.normal(size=n)), 5),
    "cholesky": (
        lambda a: np.sum(np.linalg.cholesky(a) ** 3), lambda a: jnp.sum(symmetric(jnp.linalg.cholesky)(a) ** 3),
        lambda n: (definite(n),), 5),
    "slogdet": (lambda a: np.linalg.slogdet(a)[1], lambda a: jnp.linalg.slogdet(a)[1], lambda n: (regular(n),), 5),
    "det": (np.linalg.det, jnp.linalg.det, lambda n: (regular(n) / n,), 1),
    "inv": (
        lambda a: np.sum(np.linalg.inv(a) ** 2), lambda a: jnp.sum(jnp.linalg.inv(a) ** 2), lambda n: (regular(n),), 1),
    "qr": (
        lambda a: np.sum(np.linalg.qr(a)[0] ** 3), lambda a: jnp.sum(jnp.linalg.qr(a)[0] ** 3),
        lambda n: (regular(n),), 1),
    "svd": (
        lambda a: np.sum(np.linalg.svd(a, full_matrices=False)[0] ** 3),
        lambda a: jnp.sum(jnp.linalg.svd(a, full_matrices=False)[0] ** 3), lambda n: (regular(n),), 1),
}  # fmt: skip


def best_in_turns(calls):
    """The least seconds of each call."""
    best, end = [np.inf] * len(calls), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[k] = min(best[k], time.perf_counter() - start)
    return best


@pytest.mark.peers
@pytest.mark.parametrize("n", [10, 100, 500])
@pytest.mark.parametrize("name", WORK)
def test_gradients_are_not_slower_than_jax(name, n):
    f, g, arguments, factor = WORK[name]
    given = arguments(n)
    numbers = tuple(range(len(given)))
    ours, theirs = fad.grad(f, argnums=numbers, tier="native"), jax.jit(jax.grad(g, argnums=numbers))
    theirs_given = tuple(map(jnp.array, given))
    for own, known in zip(ours(*given), theirs(*theirs_given), strict=True):
        np.testing.assert_allclose(own, known, rtol=1e-6, atol=1e-9 * np.abs(known).max())
    mine, jaxs = best_in_turns([lambda: ours(*given), lambda: jax.block_until_ready(theirs(*theirs_given))])
    wanted = factor if n == 10 else 1
    print(f"{name:9s} n={n:3d}  fastad {1e6 * mine:9.1f} µs  jax {1e6 * jaxs:9.1f} µs  ratio {jaxs / mine:.2f}")
    assert jaxs / mine >= wanted
