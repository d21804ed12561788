"""The other ways to the derivatives of solves, and reversible methods."""

import itertools

import numpy as np
import pytest

import fastad as fad
from fastad.ode.methods import METHODS
from fastad.tables.composites.solve_adjoint import SolveAdjoint
from fastad.tables.composites.solves import Solve
from fastad.tables.reference import evaluate

POINTS = [0.0, 0.7, 1.0, 2.5, 3.0]


def swinging(t, y, w):
    """A pendulum that is driven: neither linear nor autonomous, and separable."""
    return np.array([y[1], -w[0] * np.sin(y[0]) + w[1] * np.cos(2.0 * t)])


Y0, W = np.array([1.0, 0.3]), np.array([3.0, 0.5])
KINDS = {
    "end": lambda sol: np.sum(np.sin(sol.y[:, -1])),
    "steps": lambda sol: np.sum(np.sin(sol.y)),
    "points": lambda sol: np.sum(np.sin(sol.y) * np.cos(np.arange(1.0, 11.0).reshape(2, 5))),
}


def cost(kind, **options):
    options |= {"t_eval": POINTS} if kind == "points" else {}
    return lambda y0, w: KINDS[kind](fad.solve_ivp(swinging, (0, 3), y0, args=(w,), **options))


def gradient(f, *args):
    return np.concatenate([np.ravel(g) for g in fad.grad(f, argnums=tuple(range(len(args))))(*args)])


FIXED = [
    {"method": "RK4", "step": 0.05},
    {"method": "Leapfrog", "step": 0.02},
    {"method": "ReversibleHeun", "step": 0.02},
]
ADAPTIVE = [{"rtol": 1e-6}, {"method": "ReversibleHeun", "rtol": 1e-4}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", FIXED + ADAPTIVE, ids=str)
def test_exact_adjoints_are_that_of_the_steps(options, kind):
    wanted = gradient(cost(kind, **options), Y0, W)
    np.testing.assert_allclose(
        gradient(cost(kind, adjoint="forward", **options), Y0, W), wanted, rtol=1e-11, atol=1e-11
    )
    if METHODS[options.get("method", "Tsit5")].is_reversible:
        found = gradient(cost(kind, adjoint="reversible", **options), Y0, W)
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("adjoint", ["continuous", "interpolating"])
@pytest.mark.parametrize("kind", KINDS)
def test_integrated_adjoints_converge_to_that_of_the_steps(kind, adjoint):
    for sizes in (
        [{"rtol": tol, "atol": tol} for tol in (1e-4, 1e-7, 1e-10)],
        [{"method": "RK4", "step": h} for h in (0.1, 0.02, 0.005)],
        [{"method": "Leapfrog", "step": h} for h in (0.05, 0.01, 0.002)],
    ):
        errors = []
        for options in sizes[: 2 if kind == "steps" else 3]:
            wanted = gradient(cost(kind, **options), Y0, W)
            errors.append(np.max(np.abs(gradient(cost(kind, adjoint=adjoint, **options), Y0, W) / wanted - 1)))
        assert all(b < 0.1 * a for a, b in itertools.pairwise(errors)), (sizes, errors)


def turning(t, y):
    return np.array([y[1], -y[0]])


BODIES = {
    "choice": lambda t, y: fad.cond(y[0] > 0.5, turning, lambda t, y: turning(t, y) * y, t, y),
    "branch": lambda t, y: turning(t, y) if y[0] > 0.5 else turning(t, y) * y,
    "loop": lambda t, y: fad.fori_loop(0, 3, lambda i, y: np.sin(y) + 0.1 * i * y[::-1], y),
}


@pytest.mark.parametrize("body", BODIES)
def test_right_hand_sides_may_call_drivers_in_every_adjoint(body):
    def end(y, adjoint="discrete"):
        return fad.solve_ivp(BODIES[body], (0, 1.5), y, adjoint=adjoint, rtol=1e-7, atol=1e-9).y[0, -1]

    wanted, u = fad.grad(end)(Y0), np.array([1.0, -2.0])
    forward = lambda y: end(y, "forward")
    np.testing.assert_allclose(fad.grad(forward)(Y0), wanted, rtol=1e-11)
    np.testing.assert_allclose(fad.hvp(forward, Y0, u), fad.hvp(end, Y0, u), rtol=1e-9)
    for adjoint in ("interpolating", "continuous"):
        np.testing.assert_allclose(fad.grad(lambda y: end(y, adjoint))(Y0), wanted, rtol=1e-4)  # noqa: B023


@pytest.mark.parametrize("adjoint", ["continuous", "interpolating", "forward"])
@pytest.mark.parametrize("options", [{"rtol": 1e-9, "atol": 1e-10}, {"method": "RK4", "step": 0.01}], ids=str)
def test_times_have_derivatives(options, adjoint):
    def total(t1, points, t0=0.0, adjoint="discrete"):
        sol = fad.solve_ivp(swinging, (t0, t1), Y0, args=(W,), t_eval=points, adjoint=adjoint, **options)
        return np.sum(np.sin(sol.y))

    points = np.array([0.5, 1.5, 2.9])
    wanted = gradient(lambda points: total(3.0, points), points)
    np.testing.assert_allclose(gradient(lambda p: total(3.0, p, adjoint=adjoint), points), wanted, rtol=1e-5, atol=1e-6)
    if "step" not in options:
        end = lambda t0, t1, adjoint: np.sum(
            fad.solve_ivp(swinging, (t0, t1), Y0, args=(W,), adjoint=adjoint, **options).y[:, -1]
        )
        wanted = gradient(lambda a, b: end(a, b, "discrete"), 0.2, 2.0)
        np.testing.assert_allclose(gradient(lambda a, b: end(a, b, adjoint), 0.2, 2.0), wanted, rtol=1e-5)


@pytest.mark.parametrize("adjoint", ["continuous", "interpolating", "forward", "reversible"])
@pytest.mark.parametrize("kind", ["end", "points"])
def test_second_derivatives(adjoint, kind):
    options = {"rtol": 1e-9, "atol": 1e-10} if adjoint != "reversible" else {"method": "Leapfrog", "step": 0.02}
    f = lambda adjoint: lambda w: cost(kind, adjoint=adjoint, **options)(Y0, w)
    wanted = fad.hessian(f("discrete"))(W)
    tolerance = {"continuous": 1e-6, "interpolating": 1e-6}.get(adjoint, 1e-10)
    for found in (fad.hessian(f(adjoint)), fad.jacrev(fad.grad(f(adjoint))), fad.jacfwd(fad.grad(f(adjoint)))):
        np.testing.assert_allclose(found(W), wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(fad.hvp(f(adjoint), W, W), wanted @ W, rtol=tolerance, atol=tolerance)


# ── where the continuous adjoint fails ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "f, t1, a", [(lambda t, z, a: a * z**3, 0.495, 1.0), (lambda t, z, a: -a * z, 1.0, 100.0)], ids=["z³", "−λz"]
)
def test_backward_in_time_is_not_the_inverse(f, t1, a):
    """z' = z³, which blows up, and z' = −λz with large λ: the states of the backward solve are not those of the forward
    one, and errors in them grow. The discrete adjoint is that of what was computed, whatever that is."""
    options = {"method": "RK4", "step": t1 / 50}
    end = lambda a, adjoint: fad.solve_ivp(f, (0, t1), [1.0], args=(a,), adjoint=adjoint, **options).y[0, -1]
    exact = fad.jvp(lambda a: end(a, "discrete"), (a,), (1.0,))[1]
    relative = lambda adjoint: abs(fad.grad(lambda a: end(a, adjoint))(a) / exact - 1)
    assert relative("discrete") < 1e-11
    assert relative("continuous") > 0.2


# ── reversible methods ────────────────────────────────────────────────────────────────────────────────────────
def solve_of(f, *args):
    return next(sub for sub in fad.trace(f, *args).subs if isinstance(sub, Solve))


@pytest.mark.parametrize("options", [*FIXED[1:], ADAPTIVE[1]], ids=str)
def test_steps_are_undone_to_rounding(options):
    f = lambda y0, w: fad.solve_ivp(swinging, (0, 3), y0, args=(w,), adjoint="reversible", **options).y[:, -1]
    solve, rng = solve_of(f, Y0, W), np.random.default_rng(0)
    s = solve.sizes
    for _ in range(5):
        own, control = rng.normal(size=s.own), [0.3, 0.02, 1e-4, 1.0]
        rest = np.concatenate([[0.0, 3.0], W])
        after = solve.body.evaluate(np.concatenate([own, control, _cache(solve, own, control, rest), rest]))[: s.own]
        back = solve.inverse.evaluate(np.concatenate([after, control, np.zeros(s.cache), rest]))
        np.testing.assert_allclose(back, own, rtol=1e-14, atol=1e-14)


def _cache(solve, own, control, rest):
    return solve.rhs.evaluate(np.concatenate([own, control, np.zeros(solve.sizes.cache), rest]))[: solve.sizes.cache]


def test_leapfrog_keeps_the_energy():
    """The error of the energy stays of order h² for all times, where that of RK4 grows."""
    f = lambda t, y: np.concatenate([y[2:], -y[:2] / np.sum(y[:2] ** 2) ** 1.5])
    start = np.array([0.5, 0.0, 0.0, np.sqrt(3.0)])
    energy = lambda y: np.sum(y[2:] ** 2, axis=0) / 2 - 1 / np.sqrt(np.sum(y[:2] ** 2, axis=0))

    def error(method, step, periods):
        t1 = 2 * np.pi * periods
        y = fad.solve_ivp(f, (0, t1), start, method=method, step=step, t_eval=np.linspace(0, t1, 401)[1:]).y
        return np.abs(energy(y) - energy(start))

    early, late = np.split(error("Leapfrog", 2 * np.pi / 100, 100), 2)
    assert late.max() < 1.5 * early.max() < 0.5
    assert 3.5 < error("Leapfrog", 2 * np.pi / 200, 10).max() / error("Leapfrog", 2 * np.pi / 400, 10).max() < 4.5
    early, late = np.split(error("RK4", 2 * np.pi / 100, 100), 2)
    assert late.max() > 1.5 * early.max()


def test_leapfrog_needs_a_separable_system():
    for f, text in (
        (lambda t, y: np.array([y[1] + y[0], -y[0]]), "q' depends on q"),
        (lambda t, y: np.array([y[1], -y[0] - y[1]]), "p' depends on p"),
    ):
        with pytest.raises(fad.ShapeError, match=text):
            fad.solve_ivp(f, (0, 1), [1.0, 0.0], method="Leapfrog", step=0.1)
    with pytest.raises(fad.ShapeError, match="y = \\[q, p\\]"):
        fad.solve_ivp(lambda t, y: -y, (0, 1), np.ones(3), method="Leapfrog", step=0.1)
    branching = lambda t, y: np.array([y[1], -y[0] if y[0] < 1.0005 else -y[0] ** 3])
    assert fad.solve_ivp(branching, (0, 0.1), [1.0, 0.0], method="Leapfrog", step=0.01).success
    matrix = np.array([[0.0, 1.0], [-4.0, 0.0]])  # whose zeros are known by their values only
    sol = fad.solve_ivp(lambda t, y: matrix @ y, (0, 1), [1.0, 0.0], method="Leapfrog", step=1e-3)
    assert abs(sol.y[0, -1] - np.cos(2.0)) < 1e-5


@pytest.mark.parametrize("method", ["Leapfrog", "ReversibleHeun"])
def test_dense_output_has_the_methods_order(method):
    right = fad.solve_ivp(swinging, (0, 3), Y0, args=(W,), method="Dopri8", rtol=1e-12, atol=1e-13, dense_output=True)
    t = np.linspace(0, 3, 77)
    sols = [
        fad.solve_ivp(swinging, (0, 3), Y0, args=(W,), method=method, step=h, dense_output=True) for h in (0.02, 0.01)
    ]
    errors = [np.max(np.abs(sol.sol(t) - right.sol(t))) for sol in sols]
    assert np.log2(errors[0] / errors[1]) > 1.5


def test_what_is_not_reversible_says_what_is():
    with pytest.raises(fad.ShapeError, match=r"Tsit5 is not reversible.*'Leapfrog' and 'ReversibleHeun'"):
        fad.solve_ivp(swinging, (0, 1), Y0, args=(W,), adjoint="reversible")


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────
def numbers_of(adjoint, **options):
    """The numbers that a gradient computes and keeps, besides those of its drivers' parts."""
    f = lambda w: np.sum(fad.solve_ivp(swinging, (0, 3), Y0, args=(w,), adjoint=adjoint, **options).y[:, -1])
    table = fad.trace(fad.grad(f), W)
    drivers = [sub._work(adjoint=isinstance(sub, SolveAdjoint)) for sub in table.subs if isinstance(sub, Solve)]
    return sum(kind.size for kind in map(table.type_of, range(len(table)))) + sum(sum(d.values()) for d in drivers)


@pytest.mark.parametrize("adjoint", ["reversible", "continuous", "forward"])
def test_memory_does_not_grow_with_the_steps(adjoint):
    sizes = [numbers_of(adjoint, method="Leapfrog", step=h) for h in (1e-2, 1e-4)]
    assert sizes[0] == sizes[1]
    stored = [numbers_of("discrete", method="Leapfrog", step=h) for h in (1e-2, 1e-4)]
    assert stored[1] > 50 * stored[0]


def test_an_adaptive_solve_that_is_undone_stores_step_sizes_only():
    f = lambda y0: fad.solve_ivp(swinging, (0, 3), y0, args=(W,), method="ReversibleHeun", adjoint="reversible").y[
        :, -1
    ]
    solve = solve_of(f, Y0)
    assert solve.storage.policy == "retraced"
    assert solve.stored_size == 4


# ── everything else that rows do ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("adjoint", ["continuous", "interpolating", "forward", "reversible"])
def test_gradients_under_vmap_and_from_files(adjoint, tmp_path):
    options = {"rtol": 1e-6} if adjoint != "reversible" else {"method": "ReversibleHeun", "rtol": 1e-4}
    f = fad.grad(lambda w: cost("points", adjoint=adjoint, **options)(Y0, w))
    ws = np.stack([W, 1.1 * W, 0.7 * W])
    wanted = np.stack([f(w) for w in ws])
    np.testing.assert_allclose(fad.vmap(f)(ws), wanted, rtol=1e-12)
    stored = fad.jit(f)
    stored(W)
    stored.save(tmp_path / "f.npz")
    np.testing.assert_allclose(fad.load(tmp_path / "f.npz")(W), wanted[0], rtol=1e-12)
    value = fad.jit(lambda w: cost("points", adjoint=adjoint, **options)(Y0, w))
    value(W)
    value.save(tmp_path / "value.npz")
    np.testing.assert_allclose(fad.grad(fad.load(tmp_path / "value.npz"))(W), wanted[0], rtol=1e-12)


@pytest.mark.parametrize("adjoint", ["continuous", "interpolating", "forward"])
def test_a_solve_that_fails_has_no_derivative(adjoint):
    end = lambda a: fad.solve_ivp(lambda t, z: a * z**2, (0, 2), [1.0], adjoint=adjoint).y[0, -1]
    with pytest.raises(fad.StepSizeError):
        fad.grad(end)(1.0)


@pytest.mark.parametrize(
    "adjoint, options",
    [
        ("continuous", {"rtol": 1e-5}), ("continuous", {"method": "RK4", "step": 0.1}), ("forward", {"rtol": 1e-5}),
        ("interpolating", {"rtol": 1e-5}), ("reversible", {"method": "Leapfrog", "step": 0.1}),
        ("reversible", {"method": "ReversibleHeun", "rtol": 1e-3}),
    ],
)  # fmt: skip
def test_the_kernels_compute_what_the_definition_says(adjoint, options):
    """One kind of gradient each: by NumPy from the definitions, and by the kernels."""
    options |= {"t_eval": [0.2, 0.5]}
    own = fad.grad(
        lambda w: np.sum(fad.solve_ivp(swinging, (0, 0.5), Y0, args=(w,), adjoint=adjoint, **options).y ** 2)
    )
    table = fad.trace(own, W)
    np.testing.assert_allclose(evaluate(table, [W, *table.captured])[0], own(W), rtol=1e-9)


def test_interpolating_adjoints_do_not_depend_on_the_schedule():
    f = lambda s: lambda w: cost("points", adjoint="interpolating", checkpoint=s)(Y0, w)
    wanted = fad.grad(f(None))(W)
    for schedule in (fad.checkpoint.Online(2), fad.checkpoint.Online(100)):
        np.testing.assert_array_equal(fad.grad(f(schedule))(W), wanted)
