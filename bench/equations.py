"""Kepler's equation and the Bratu problem: `python -m bench.equations`; the first one against JAX, if it is installed.

All contenders of a problem take turns within one run; figures are the best of the rounds, and their ratio.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fastad as fad

ORBITS = 100_000


def best_of(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The shortest time of each call in milliseconds, taken in turns."""
    found = dict.fromkeys(calls, np.inf)
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name] = min(found[name], 1e3 * (time.perf_counter() - start))
    return found


# ── Kepler's equation, and its derivatives by both arguments ──────────────────────────────────────────────────
def orbits(count: int = ORBITS) -> tuple[np.ndarray, np.ndarray]:
    """Mean anomalies and eccentricities."""
    rng = np.random.default_rng(0)
    return rng.uniform(0, 2 * np.pi, count), rng.uniform(0, 0.9, count)


def ours() -> Callable[..., Any]:
    """fastad's, from E = M on."""
    anomaly = lambda M, e: fad.root(lambda E, M, e: E - e * np.sin(E) - M, M, (M, e)).x
    return fad.vmap(fad.value_and_grad(anomaly, argnums=(0, 1)), tier="native")


def jaxs() -> Callable[..., Any]:
    """JAX's: Newton's method in a while loop with the same end, and custom_root for the derivatives."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def newton(f: Any, first: Any) -> Any:
        slope = jax.grad(f)
        far = lambda s: (jnp.abs(s[1]) > 1e-10 * jnp.maximum(1.0, jnp.abs(s[0]))) & (s[2] < 100)

        def step(s: Any) -> Any:
            d = f(s[0]) / slope(s[0])
            return s[0] - d, d, s[2] + 1

        return jax.lax.while_loop(far, step, (first, jnp.asarray(jnp.inf), 0))[0]

    def anomaly(M: Any, e: Any) -> Any:
        return jax.lax.custom_root(lambda E: E - e * jnp.sin(E) - M, M, newton, lambda g, y: y / g(1.0))

    f = jax.jit(jax.vmap(jax.value_and_grad(anomaly, argnums=(0, 1))))
    return lambda M, e: jax.block_until_ready(f(M, e))


def kepler(rounds: int = 30) -> dict[str, float]:
    """Milliseconds for all orbits."""
    M, e = orbits()
    mine = ours()
    calls = {"fastad": lambda: mine(M, e), "fastad, prepared": mine.prepare(M, e)}
    try:
        import jax.numpy as jnp

        theirs, given = jaxs(), (jnp.asarray(M), jnp.asarray(e))
        calls["JAX"] = lambda: theirs(*given)
        np.testing.assert_allclose(mine(M, e)[0], theirs(*given)[0], rtol=1e-8, atol=1e-8)
    except ImportError:
        pass
    return best_of(calls, rounds)


# ── the Bratu problem on a square ─────────────────────────────────────────────────────────────────────────────
def bratu(n: int) -> Callable[[float], Any]:
    """The value in the middle, by five points, as a function of λ."""

    def f(u: Any, lam: Any) -> Any:
        full = np.zeros((n + 2, n + 2))
        full[1:-1, 1:-1] = u.reshape(n, n)
        inner = full[1:-1, 1:-1]
        around = full[2:, 1:-1] + full[:-2, 1:-1] + full[1:-1, 2:] + full[1:-1, :-2]
        return ((around - 4 * inner) * (n + 1) ** 2 + lam * np.exp(inner)).ravel()

    return lambda lam: fad.root(f, np.zeros(n * n), (lam,)).x[n * n // 2]


def solve_and_gradient(n: int = 127, rounds: int = 5) -> dict[str, float]:
    """Milliseconds of the solve, and of it with the gradient."""
    solve, both = fad.jit(bratu(n), tier="native"), fad.value_and_grad(bratu(n), tier="native")
    return best_of({"solve": lambda: solve(6.0), "solve and gradient": lambda: both(6.0)}, rounds)


def main() -> None:
    """Print all figures."""
    found = kepler()
    print(f"Kepler, {ORBITS:,} orbits, value and gradient:")
    for name, ms in found.items():
        print(f"  {name:18} {ms:8.2f} ms" + (f"   {found['JAX'] / ms:5.1f} × JAX" if "JAX" in found else ""))
    found = solve_and_gradient()
    print("Bratu, 127 × 127 points:")
    for name, ms in found.items():
        print(f"  {name:18} {ms:8.1f} ms   {ms / found['solve']:5.2f} × the solve")


if __name__ == "__main__":
    main()
