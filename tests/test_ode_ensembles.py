"""Ensembles: solves of many trajectories in SIMD lanes are those one by one, whoever the companions are."""

import numpy as np
import pytest

import fastad as fad
from fastad.tables.composites.solve_lanes import WIDTH, SolveLanes, SolveLanesAdjoint
from fastad.tables.files.store import load, save
from fastad.tables.reference import evaluate

P = np.array([10.0, 28.0, 8.0 / 3.0])
SIZES = (0, 1, 2, WIDTH - 1, WIDTH + 1, 5 * WIDTH + 3)
TIERS = ("sweep", "native")


def lorenz(t, y, p):
    return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1] + 0.1 * t, y[0] * y[1] - p[2] * y[2]])


OPTIONS = [
    {"method": "RK4", "step": 0.02}, {"method": "RK4", "step": 0.02, "t_eval": [0.1, 0.25, 0.5]}, {"rtol": 1e-6},
    {"method": "Dopri8", "rtol": 1e-8, "t_eval": [0.0, 0.1, 0.1001, 0.5]}, {"method": "BS3", "rtol": 1e-4},
    {"rtol": 1e-5, "t_eval": [0.0, 0.2, 0.5], "max_step": 0.05}, {"method": "Midpoint", "step": 0.01},
]  # fmt: skip


def states(size, seed=0):
    return np.random.default_rng(seed).normal(size=(size, 3)) * [8.0, 8.0, 10.0] + [0.0, 0.0, 25.0]


def solved(y0, p, **options):
    return fad.solve_ivp(lorenz, (0, 0.5), y0, args=(p,), **options).y


def cost(y0, p, **options):
    y = solved(y0, p, **options)
    return np.sum(np.sin(y if "t_eval" in options else y[:, -1]))


def ensemble(f, in_axes=(0, None), **options):
    return lambda y0, p: fad.vmap(lambda y, p: f(y, p, **options), in_axes=in_axes)(y0, p)


def total(**options):
    return lambda y0, p: np.sum(ensemble(cost, **options)(y0, p) * np.arange(1.0, 1.0 + np.shape(y0)[0]))


def drivers(function, *args):
    return {type(sub) for sub in fad.trace(function, *args).subs}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lanes_are_used_and_give_what_solves_one_by_one_give(options):
    y0 = states(2 * WIDTH + 5)
    f = ensemble(cost, **options)
    assert SolveLanes in drivers(f, y0, P)
    one = fad.value_and_grad(lambda y, p: cost(y, p, **options), argnums=(0, 1), tier="sweep")
    values, wanted = zip(*(one(y, P) for y in y0), strict=True)
    np.testing.assert_allclose(f(y0, P), values, rtol=1e-11, atol=1e-12)
    gradient = fad.vmap(fad.grad(lambda y, p: cost(y, p, **options), argnums=(0, 1)), in_axes=(0, None))
    assert drivers(gradient, y0, P) >= {SolveLanes, SolveLanesAdjoint}
    for found, own in zip(gradient(y0, P), zip(*wanted, strict=True), strict=True):
        np.testing.assert_allclose(found, own, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_trajectory_does_not_depend_on_its_companions(options, tier):
    y0, others = states(3 * WIDTH + 1), states(3 * WIDTH + 1, seed=1) * 0.1
    order = np.random.default_rng(2).permutation(len(y0))
    linear = lambda y, p: np.sum(solved(y, p, **options)[:, -1] * [1.0, -2.0, 3.0])  # its seeds are constants
    value = fad.jit(ensemble(solved, **options | {"t_eval": [0.1, 0.5]}), tier=tier)
    gradient = fad.jit(fad.vmap(fad.grad(linear), in_axes=(0, None)), tier=tier)
    for f in (value, gradient):
        found = f(y0, P)
        assert np.array_equal(f(y0[order], P), found[order])
        mixed = np.where((np.arange(len(y0)) % 3 == 0)[:, None], y0, others)
        assert np.array_equal(f(mixed, P)[::3], found[::3])
        assert np.array_equal(f(y0[:1], P), found[:1]) and np.array_equal(f(y0[: WIDTH + 2], P), found[: WIDTH + 2])


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_adjoint_is_the_transpose_of_the_tangent(options, tier):
    y0, rng = states(WIDTH + 3), np.random.default_rng(3)
    v = rng.normal(size=y0.shape), rng.normal(size=3)
    found = fad.grad(total(**options), argnums=(0, 1), tier=tier)(y0, P)
    _, tangent = fad.jvp(total(**options), (y0, P), v)
    np.testing.assert_allclose(sum(np.sum(a * b) for a, b in zip(found, v, strict=True)), tangent, rtol=1e-10)


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_second_derivatives(options):
    y0, v = states(WIDTH + 2), states(WIDTH + 2, seed=4) * 0.1
    found = fad.hvp(lambda y: np.sum(ensemble(cost, **options)(y, P)), y0, v)
    one = lambda y, d: fad.hvp(lambda y: cost(y, P, **options), y, d)
    np.testing.assert_allclose(found, [one(y, d) for y, d in zip(y0, v, strict=True)], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_ensembles_of_any_size(options, size):
    y0 = states(size)
    assert np.shape(ensemble(cost, **options)(y0, P)) == (size,)
    one = fad.grad(lambda p, y: cost(y, p, **options))
    wanted = sum(((k + 1) * one(P, y) for k, y in enumerate(y0)), np.zeros(3))
    found = fad.grad(total(**options), argnums=1)(y0, P)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * size**2)


def test_trajectories_of_very_different_lengths():
    def end(w, y):
        return fad.solve_ivp(lambda t, y, w: np.array([y[1], -(w**2) * y[0]]), (0, 1), y, args=(w,)).y[:, -1]

    w = np.where(np.arange(4 * WIDTH) % 7 == 0, 300.0, 1.0) * np.linspace(1, 2, 4 * WIDTH)
    y = np.tile([1.0, 0.0], (len(w), 1))
    found, slopes = fad.vmap(end)(w, y), fad.vmap(fad.jacobian(end))(w, y)
    np.testing.assert_allclose(found, [end(*own) for own in zip(w, y, strict=True)], rtol=1e-9, atol=1e-11)
    wanted = [fad.jacobian(end)(*own) for own in zip(w, y, strict=True)]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-6, atol=1e-8)  # rounding may choose another step


@pytest.mark.parametrize("axes", [(0, None), (0, 0), (None, 0), (1, 1)])
def test_axes_of_states_and_parameters(axes):
    y0, p = states(WIDTH + 1), P * np.linspace(0.9, 1.1, WIDTH + 1)[:, None]
    lead = [x[0] if axis is None else x for x, axis in zip((y0, p), axes, strict=True)]
    given = [x.T if axis == 1 else x for x, axis in zip(lead, axes, strict=True)]
    f = ensemble(cost, in_axes=axes, rtol=1e-6)
    pairs = zip(*(np.broadcast_to(x, (WIDTH + 1, 3)) for x in lead), strict=True)
    pairs = list(pairs)
    np.testing.assert_allclose(f(*given), [cost(*own, rtol=1e-6) for own in pairs], rtol=1e-12)
    found = fad.grad(lambda y, p: np.sum(f(y, p)), argnums=(0, 1))(*given)
    wanted = [fad.grad(lambda y, p: cost(y, p, rtol=1e-6), argnums=(0, 1))(*own) for own in pairs]
    for bar, own, axis in zip(found, zip(*wanted, strict=True), axes, strict=True):
        own = np.sum(own, axis=0) if axis is None else np.array(own).T if axis == 1 else own
        np.testing.assert_allclose(bar, own, rtol=1e-9, atol=1e-11)


def blowing_up(y0, **options):
    return fad.solve_ivp(lambda t, y: y * y, (0, 1), y0, **options)


def test_trajectories_that_fail_do_not_harm_the_others():
    y0 = np.where(np.arange(2 * WIDTH) % 5 == 0, 2.0, 0.4)[:, None] * np.linspace(1.0, 1.1, 2 * WIDTH)[:, None]
    f = lambda y: (lambda sol: (sol.y[0], sol.stats["accepted"]))(blowing_up(y, t_eval=[0.25, 1.0]))
    found, steps = fad.vmap(f)(y0)
    failing = y0[:, 0] > 1
    assert np.isnan(found[failing, 1]).all() and np.isfinite(found[~failing]).all() and np.isfinite(found[:, 0]).all()
    for y, own, count in zip(y0, found, steps, strict=True):
        sol = blowing_up(y, t_eval=[0.25, 1.0])
        assert sol.success == bool(y[0] < 1) and sol.stats["accepted"] == count
        np.testing.assert_allclose(own[: sol.y.shape[1]], sol.y[0], rtol=1e-10)
    ends = fad.vmap(lambda y: blowing_up(y).y[0, -1])
    assert np.isfinite(fad.grad(lambda y: np.sum(ends(y)))(y0[~failing])).all()
    with pytest.raises(fad.StepSizeError):
        fad.grad(lambda y: np.sum(ends(y)))(y0)


def test_trajectories_with_more_steps_than_can_be_stored():
    y0 = states(WIDTH + 2)
    options = {"rtol": 1e-6, "checkpoint": fad.checkpoint.Online(12)}
    found = fad.grad(total(**options), argnums=(0, 1))(y0, P)
    wanted = fad.grad(total(rtol=1e-6), argnums=(0, 1))(y0, P)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_resting_trajectories():
    y0 = states(WIDTH)
    y0[::3] = 0.0
    f = lambda y, p: fad.solve_ivp(lambda t, y, p: p * np.sin(y), (0, 2), y, args=(p,)).y[:, -1]
    found, wanted = fad.vmap(f, in_axes=(0, None))(y0, P), np.array([f(y, P) for y in y0])
    np.testing.assert_allclose(found, wanted, rtol=1e-11)
    jacobians = fad.vmap(fad.jacobian(f), in_axes=(0, None))(y0, P)
    np.testing.assert_allclose(jacobians, [fad.jacobian(f)(y, P) for y in y0], rtol=1e-9, atol=1e-9)


def test_steps_that_do_not_come_apart_are_made_one_by_one():
    pick = lambda t, y: y[np.argsort(y)] * -0.1
    f = fad.vmap(lambda y: fad.solve_ivp(pick, (0, 1), y).y[:, -1])
    y0 = states(WIDTH)
    assert SolveLanes not in drivers(f, y0)
    np.testing.assert_allclose(f(y0), [fad.solve_ivp(pick, (0, 1), y).y[:, -1] for y in y0], rtol=1e-12)


def test_ensembles_are_stored_in_files(tmp_path):
    y0 = states(WIDTH + 1)
    table = fad.trace(fad.vmap(fad.grad(lambda y, p: cost(y, p, rtol=1e-2)), in_axes=(0, None)), y0, P)
    assert {SolveLanes, SolveLanesAdjoint} <= {type(sub) for sub in table.subs}
    save(table, tmp_path / "ensemble.npz")
    found, given = load(tmp_path / "ensemble.npz"), [y0, P, *table.captured]
    assert found.hash == table.hash
    np.testing.assert_array_equal(evaluate(found, given)[0], evaluate(table, given)[0])
