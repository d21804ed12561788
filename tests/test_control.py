"""scan, fori_loop and while_loop: the same as plain Python loops, in value and all derivatives."""

from functools import partial

import numpy as np
import pytest
from control_tools import STEPWISE, both_tiers, equal_derivatives, over_lanes
from thread_tools import in_threads
from transform_tools import same

import fastad as fad

C = fad.checkpoint
RNG = np.random.default_rng(7)
W, STATE, XS = RNG.normal(size=(2, 2)) / 2, RNG.normal(size=2), RNG.normal(size=(3, 2))


def python_scan(f, init, xs=None, length=None, reverse=False):
    """`scan` as a Python loop, for xs and results that are single arrays."""
    rows, places = [], range(len(xs) if length is None else length)
    for i in reversed(places) if reverse else places:
        init, y = f(init, None if xs is None else xs[i])
        rows.append(y)
    return init, np.stack(rows[::-1] if reverse else rows)


def network(scan=fad.scan, **options):
    """A recurrent network: values from outside, a state, elements and results."""

    def f(w, state, xs):
        def step(s, x):
            new = np.tanh(w @ s + x)
            return new, np.sum(new * s)

        state, ys = scan(step, state, xs, **options)
        return np.sum(state**2) + np.sum(np.sin(ys))

    return f


@both_tiers
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_python_loop(tier, reverse):
    second = (1,) if tier == "native" else (0, 1, 2)
    f, plain = network(reverse=reverse), network(python_scan, reverse=reverse)
    equal_derivatives(f, plain, W, STATE, XS, argnums=second, tier=tier)


def test_scan_over_lanes():
    """vmap over any arguments, of a gradient and of a Hessian, and gradients of vmap."""
    f, plain = network(), network(python_scan)
    axes = [(0, None, None), (None, 1, None), (None, None, 1), (2, 0, None), (0, None, 2), (None, 0, 0), (1, 1, 1)]
    lanes = [RNG.normal(size=(2, *np.shape(a))) for a in (W, STATE, XS)]
    for k, own in enumerate(axes):
        args = [
            a if axis is None else np.moveaxis(many, 0, axis)
            for a, many, axis in zip((W, STATE, XS), lanes, own, strict=True)
        ]
        same(fad.vmap(f, own)(*args), over_lanes(plain, own, args), 1e-11)
        same(fad.vmap(fad.grad(f, k % 3), own)(*args), over_lanes(fad.grad(plain, k % 3), own, args), 1e-11)
    same(fad.vmap(fad.hessian(f, 1))(*lanes), over_lanes(fad.hessian(plain, 1), 0, lanes), 1e-11)
    nested = [np.stack([a, 2 * a, -a]) for a in lanes]
    wanted = np.stack([over_lanes(plain, 0, [a[i] for a in nested]) for i in range(3)])
    same(fad.vmap(fad.vmap(f))(*nested), wanted, 1e-11)
    inner, states = (0, None, 0), np.stack([STATE, -STATE])
    wanted = np.stack([over_lanes(plain, inner, (lanes[0], state, lanes[2])) for state in states])
    same(fad.vmap(fad.vmap(f, inner), (None, 0, None))(lanes[0], states, lanes[2]), wanted, 1e-11)
    for k in range(3):
        total = lambda *args: np.sum(fad.vmap(f)(*args) ** 2)
        each = over_lanes(fad.grad(lambda *args: plain(*args) ** 2, k), 0, lanes)
        same(fad.grad(total, k)(*lanes), each, 1e-11)


@pytest.mark.parametrize("schedule", STEPWISE, ids=repr)
def test_gradients_are_those_of_store_all_to_the_last_bit(schedule):
    x = RNG.normal(size=3)

    def f(x, schedule, tier="sweep"):
        g = fad.grad(network(checkpoint=schedule), 1, tier=tier)(W, x[:2], np.outer(np.arange(1.0, 8), x[1:]))
        return np.append(g, np.sum(g))

    tiers = ("sweep", "native") if schedule == C.Revolve(2) else ("sweep",)
    for tier in tiers:
        np.testing.assert_array_equal(f(x, schedule, tier), f(x, C.StoreAll(), tier))
    second = [
        fad.hessian(network(checkpoint=s), 1)(W, x[:2], np.outer(np.arange(1.0, 6), x[1:]))
        for s in (schedule, C.StoreAll())
    ]
    np.testing.assert_array_equal(*second)


# ── while loops ───────────────────────────────────────────────────────────────────────────────────────────────
def growing(a, b, **options):
    """The number of steps depends on a and b."""
    body = lambda s: {"y": s["y"] * a + np.sin(b * s["y"]), "n": s["n"] + 1}
    found = fad.while_loop(lambda s: s["y"] < 9.0 + b, body, {"y": a * b, "n": 0}, **options)
    return found["y"] * b + found["n"]


def growing_plain(a, b):
    y, n = a * b, 0
    while y < 9.0 + b:
        y, n = y * a + np.sin(b * y), n + 1
    return y * b + n


WAYS = [
    {}, {"max_steps": 40}, {"max_steps": 40, "checkpoint": C.StoreAll()}, {"checkpoint": C.Online(1)},
    {"checkpoint": C.Online(3)}, {"max_steps": 50, "checkpoint": C.Online(2)}, {"max_steps": 10**7},
]  # fmt: skip


@pytest.mark.parametrize("options", WAYS, ids=repr)
def test_while_loop_is_the_python_loop(options):
    f = lambda a, b: growing(a, b, **options)
    equal_derivatives(f, growing_plain, 1.5, 0.4, tolerance=1e-10, second=options in (WAYS[0], WAYS[1]))
    value, slope = fad.jit(f), fad.grad(f)
    a = np.array([1.2, 1.5, 3.0, 20.0, 100.0])  # from many steps to none
    for own in a:
        same(value(own, 0.4), np.float64(growing_plain(own, 0.4)))
        same(slope(own, 0.4), fad.grad(growing_plain)(own, 0.4), 1e-10)
    assert value.stats()["recordings"] == slope.stats()["recordings"] == 1
    same(fad.vmap(f, (0, None))(a, 0.4), over_lanes(growing_plain, (0, None), (a, 0.4)), 1e-11)
    same(fad.vmap(fad.grad(f), (0, None))(a, 0.4), over_lanes(fad.grad(growing_plain), (0, None), (a, 0.4)), 1e-10)
    total = lambda a: np.sum(fad.vmap(f, (0, None))(a, 0.4) ** 2)
    wanted = over_lanes(fad.grad(lambda a: growing_plain(a, 0.4) ** 2), 0, (a,))
    same(fad.grad(total)(a), wanted, 1e-10)


@both_tiers
def test_newton_by_while_loop(tier):
    """Square roots: convergence tests look at values only, derivatives are those of the iteration."""
    root = lambda a: fad.while_loop(lambda x: np.abs(x * x - a) > 1e-13 * a, lambda x: (x + a / x) / 2, a)
    a = np.array([0.1, 2.0, 9.0, 1e4])
    same(fad.vmap(root, tier=tier)(a), np.sqrt(a), 1e-12)
    same(fad.vmap(fad.grad(root), tier=tier)(a), 0.5 / np.sqrt(a), 1e-6)
    same(fad.jacrev(fad.vmap(root), tier=tier)(a), np.diag(0.5 / np.sqrt(a)), 1e-6)
    same(fad.grad(lambda a: np.sum(a * fad.vmap(root)(a)), tier=tier)(a), 1.5 * np.sqrt(a), 1e-6)
    same(fad.vmap(fad.grad(fad.grad(root)), tier=tier)(a), -0.25 * a**-1.5, 1e-4)


def test_max_steps_ends_the_loop_and_its_derivative():
    for limit in range(4):
        f = lambda x, limit=limit: fad.while_loop(lambda s: s > 0, lambda s: s * x, x, limit)
        assert f(2.0) == 2.0 ** (limit + 1) and fad.grad(f)(2.0) == (limit + 1) * 2.0**limit
        assert fad.grad(fad.grad(f))(2.0) == (limit + 1) * limit * 2.0 ** (limit - 1)
    assert np.isnan(fad.while_loop(lambda s: s > 0, lambda s: s - 1, np.nan))


@both_tiers
def test_fori_loop_is_the_python_loop(tier):
    body = lambda x: lambda i, s: (s[0] * x + i, s[1] + np.sin(s[0] * i))

    def f(x, lower, upper):
        a, b = fad.fori_loop(lower, upper, body(x), (x, 1.0))
        return a * b

    def plain(x, lower, upper):
        state = (x, 1.0)
        for i in range(lower, upper):
            state = body(x)(i, state)
        return state[0] * state[1]

    for lower, upper in ((0, 4), (-2, 1), (3, 3), (5, 2)):
        at, wanted = (partial(lambda h, ends, x: h(x, *ends), h, (lower, upper)) for h in (f, plain))
        equal_derivatives(at, wanted, 0.7, tier=tier, second=lower == 0)
        bounds = np.int64(lower), np.int64(upper)  # recorded: a while loop
        same(fad.grad(f, tier=tier)(0.7, *bounds), fad.grad(wanted)(0.7))
    uppers = np.arange(4)
    wanted = np.stack([fad.grad(plain)(0.7, 0, int(n)) for n in uppers])
    same(fad.vmap(fad.grad(f), (None, None, 0), tier=tier)(0.7, 0, uppers), wanted)


# ── loops inside of loops ─────────────────────────────────────────────────────────────────────────────────────
def test_loops_in_vmap_in_loops():
    def f(a, c, scan=fad.scan, vmap=fad.vmap):
        def outer(c, row):
            inner = lambda a, s: scan(lambda s, v: (np.tanh(s * v + np.sum(c) / 7), s), s, a)[0]
            new = vmap(inner)(row, c)
            return new, np.sum(new)

        c, ys = scan(outer, c, a)
        return np.sum(c * c) + np.sum(ys)

    each = lambda inner: lambda row, c: np.stack([inner(row[i], c[i]) for i in range(len(c))])
    plain = lambda a, c: f(a, c, python_scan, each)
    equal_derivatives(f, plain, RNG.normal(size=(2, 2, 3)), RNG.normal(size=2))


def test_while_loops_branches_and_schedules_inside_of_scan():
    def step(while_loop, cond):
        def run(s, x):
            root = while_loop(lambda r: np.abs(r * r - x * x - 1) > 1e-14, lambda r: (r + (x * x + 1) / r) / 2, 1.5)
            return cond(x > 0, lambda s: s * root, lambda s: s - np.sqrt(-x), s), s * root

        return run

    def python_while(test, body, state):
        while test(state):
            state = body(state)
        return state

    def f(s, xs, scan=fad.scan, own=(fad.while_loop, fad.cond), **options):
        s, ys = scan(step(*own), s, xs, **options)
        return s + np.sum(ys**2)

    python_cond = lambda pred, yes, no, *args: yes(*args) if pred else no(*args)
    plain = lambda s, xs: f(s, xs, python_scan, (python_while, python_cond))
    xs = np.array([0.5, -0.7, 1.2])
    equal_derivatives(f, plain, 0.6, xs, tolerance=1e-10)
    scheduled = lambda s, xs: f(s, xs, checkpoint=C.Revolve(1))
    np.testing.assert_array_equal(fad.grad(scheduled, 1)(0.6, xs), fad.grad(f, 1)(0.6, xs))
    many = np.stack([xs, -xs])
    same(fad.vmap(fad.grad(f, 1), (None, 0))(0.6, many), over_lanes(fad.grad(plain, 1), (None, 0), (0.6, many)), 1e-10)


@both_tiers
def test_transformations_and_primitives_in_bodies(tier):
    energy = lambda q: np.sum(q**4) / 4 - np.sum(np.cos(q))
    sines = lambda x: np.array([np.sin(float(v)) for v in x])
    opaque = fad.primitive(sines, jvp=lambda primals, tangents: np.cos(primals[0]) * tangents[0])
    ours = fad.grad(energy), opaque, fad.checkpoint(np.tanh)
    numpys = lambda q: q**3 + np.sin(q), np.sin, np.tanh

    def f(q, p, scan=fad.scan, own=ours):
        slope, sine, part = own

        def step(s, x):
            q, p = s
            p = p - 0.1 * slope(q) + x * sine(q)
            return (q + 0.1 * part(p), p), energy(q)

        (q, p), ys = scan(step, (q, p), np.arange(3.0))
        return np.sum(q * p) + np.sum(ys)

    plain = lambda q, p: f(q, p, python_scan, numpys)
    equal_derivatives(f, plain, RNG.normal(size=2), RNG.normal(size=2), tier=tier, second=tier == "sweep")


def test_check_grads_and_check_adjoint():
    f = lambda w, x: network(checkpoint=C.Revolve(2))(w, x, XS)
    fad.check_grads(f, (W, STATE), order=2)
    fad.check_adjoint(f, (W, STATE))
    fad.check_grads(lambda a, b: growing(a, b), (1.5, 0.4), order=2)
    turn = lambda x: np.stack([0.8 * x[0] - 0.6 * x[1], 0.6 * x[0] + 0.8 * x[1]])
    fad.check_adjoint(lambda x: fad.scan(lambda c, v: (turn(c) + v, c), x, XS), (STATE,))


# ── states that can be inverted ───────────────────────────────────────────────────────────────────────────────
def test_inverted_loops():
    """Leapfrog: the gradient of the inverted loop is that of the one that keeps its states, to rounding."""

    def leap(s, x, h):
        q, p = s
        p = p - h * (np.sin(q) + x)
        return q + h * p, p

    def back(s, x, h):
        q, p = s
        q = q - h * p
        return q, p + h * (np.sin(q) + x)

    def f(q, h, xs, reverse=False, **options):
        step = lambda s, x: (leap(s, x, h), s[0] * s[1])
        inverse = {"inverse": lambda s, x: back(s, x, h)} if not options else {}
        (q, p), ys = fad.scan(step, (q, 0.1 * q), xs, reverse=reverse, **inverse, **options)
        return np.sum(q * p) + np.sum(np.stack([ys]) ** 2)

    q, xs = RNG.normal(size=2), RNG.normal(size=6) / 5
    for reverse in (False, True):
        inverted, kept = (partial(f, reverse=reverse, **own) for own in ({}, {"checkpoint": C.StoreAll()}))
        equal_derivatives(inverted, kept, q, 0.2, xs, tolerance=1e-10, second=reverse)
        lanes = np.stack([q, 2 * q])
        own = (0, None, None)
        same(
            fad.vmap(fad.grad(inverted), own)(lanes, 0.2, xs), over_lanes(fad.grad(kept), own, (lanes, 0.2, xs)), 1e-10
        )


# ── threads, prepared calls ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("tier", "tolerance"), [("sweep", 0), ("native", 0), ("auto", 1e-12)])
def test_threads_share_one_function(tier, tolerance):
    """Threads that meet a change of the tier may differ by rounding, others not at all."""
    f = fad.grad(lambda x: network(checkpoint=C.Revolve(2))(W, x, XS) + growing(1.5, np.abs(x[0])), tier=tier)
    points = RNG.normal(size=(24, 2))
    wanted, found = [f(x) for x in points], [None] * len(points)
    again = fad.grad(lambda x: network(checkpoint=C.Revolve(2))(W, x, XS) + growing(1.5, np.abs(x[0])), tier=tier)

    def work(k):
        for i in range(k, len(points), 4):
            found[i] = again(points[i])
            assert fad.fori_loop(0, 3, lambda i, s: s + k, 0.0) == 3.0 * k  # the loops outside of recordings

    in_threads(work, 4)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@both_tiers
def test_prepared_calls_and_tapes(tier):
    f = fad.grad(lambda x: network(checkpoint=C.Periodic(2))(W, x, XS) + growing(1.5, np.abs(x[0])), tier=tier)
    run = f.prepare(STATE)
    for x in (STATE, -STATE, STATE + 1):
        run.inputs[0][...] = x
        np.testing.assert_array_equal(run(), f(x))
    with fad.Tape() as tape:
        x = tape.variable(STATE)
        tape.backward(network(checkpoint=C.Revolve(1))(W, x, XS))
        same(x.grad, fad.grad(network(), 1)(W, STATE, XS))
    with fad.debug.nans():  # what is kept for the adjoint is none of its business
        same(f(STATE), f(STATE))
    with pytest.raises(fad.NanError, match="scan"), fad.debug.nans():
        fad.jit(lambda x: fad.scan(lambda c, _: (np.log(c - 1), c), x, None, 9)[0])(2.0)


@pytest.mark.parametrize("schedule", [C.StoreAll(), C.Revolve(2), C.Online(2)], ids=repr)
def test_what_is_kept_serves_every_pullback(schedule):
    """Slots are used again while an adjoint runs; another one must find them as the forward pass left them."""
    f = lambda x: network(checkpoint=schedule)(W, x, XS)
    slope, value = fad.grad(network(), 1)(W, STATE, XS), network(python_scan)(W, STATE, XS)
    for tier in ("sweep", "native"):
        _, pull = fad.vjp(fad.jit(f, tier=tier), STATE)
        for u in (1.0, 1.0, 2.0, 1.0):
            same(pull(u)[0], u * slope, 1e-14)
        np.testing.assert_array_equal(pull(1.0)[0], pull(1.0)[0])

    def two_pullbacks(x):
        out, pull = fad.vjp(f, x)
        return pull(1.0)[0] + pull(out)[0]

    same(fad.jit(two_pullbacks)(STATE), slope * (1 + value), 1e-12)
    same(fad.jacrev(two_pullbacks)(STATE), fad.jacfwd(two_pullbacks)(STATE), 1e-11)
    vector = lambda x: np.stack([f(x), f(2 * x) * x[0]])
    _, pull = fad.vjp(vector, STATE)
    same(fad.vmap(lambda u: pull(u)[0])(np.eye(2)), fad.jacfwd(vector)(STATE), 1e-11)
    with fad.Tape() as tape:
        x = tape.variable(STATE)
        y = f(x)
        tape.backward(y)
        tape.backward(y)
        same(x.grad, 2 * slope, 1e-14)
