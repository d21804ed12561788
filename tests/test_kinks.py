"""Special points of rows and of what is composed of them: zeros, ties, ends of domains. All nestings of forward and
reverse mode agree there, and are right where the function is smooth."""

import itertools

import mpmath
import numpy as np
import pytest
import scipy.special

import fastad as fad
from fastad.primitives import elementwise_rows
from fastad.recording.elementwise import elementwise

POINTS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0]
WEIGHTS = (1.0, 0.625)  # of the operands, in the direction along which rows are differentiated


# ── directional derivatives of functions of vectors, element by element ──────────────────────────────────────
def along(f, mode, weights):
    """The derivative of f along the weights of its operands: {name: arrays} to {name: array}."""

    def forward(x):
        tangents = {k: [w * np.ones_like(v) for w, v in zip(weights, own)] for k, own in x.items()}
        return fad.jvp(f, (x,), (tangents,))[1]

    def reverse(x):
        value, pull = fad.vjp(f, x)
        (bars,) = pull({k: np.ones_like(v) for k, v in value.items()})
        return {k: sum(w * bar for w, bar in zip(weights, own)) for k, own in bars.items()}

    return forward if mode == "fwd" else reverse


def nestings(f, x, order, weights):
    """The derivatives of this order by all nestings of forward and reverse mode."""
    for modes in itertools.product(("fwd", "rev"), repeat=order):
        nested = f
        for mode in modes:
            nested = along(nested, mode, weights)
        yield modes, fad.jit(nested, tier="sweep")(x)


def differentiable_rows():
    for row in elementwise_rows():
        moving = [k for k in range(row.arity) if row.is_differentiable(k) and row.partials[k] != "nan"]
        if moving and row.arity < 3:
            yield row, moving


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_nestings_agree_at_special_points(count, order):
    rows = {row.name: (row, moving) for row, moving in differentiable_rows() if len(moving) == count}
    cases = {name: np.array(list(itertools.product(POINTS, repeat=row.arity))).T for name, (row, _) in rows.items()}

    def f(x):
        found = {}
        for name, (_, moving) in rows.items():
            operands = list(cases[name])
            for k, own in zip(moving, x[name], strict=True):
                operands[k] = own
            found[name] = elementwise(name, *operands)
        return found

    x = {name: [cases[name][k] for k in moving] for name, (_, moving) in rows.items()}
    results = list(nestings(f, x, order, WEIGHTS))
    for modes, found in results[1:]:
        for name, wanted in results[0][1].items():
            text = f"{' over '.join(modes)} of {name} at the columns of\n{cases[name]}"
            np.testing.assert_allclose(found[name], wanted, rtol=1e-9, atol=1e-12, err_msg=text)


# ── smooth functions at points where a part of them has a kink, or a quotient is 0/0 ─────────────────────────
def squares(v):
    return mpmath.fsum(x * x for x in v)


def variance(v):
    return squares([x - mpmath.fsum(v) / len(v) for x in v]) / len(v)


def root(x):
    return mpmath.sqrt(x) if x >= 0 else mpmath.mpc(0, mpmath.sqrt(-x))


ZERO2, ZERO3 = np.zeros(2), np.zeros(3)
SMOOTH = {
    "norm squared": (lambda v: np.linalg.norm(v) ** 2, squares, ZERO3),
    "scaled norm squared": (lambda v: (3 * np.linalg.norm(v)) ** 2, lambda v: 9 * squares(v), ZERO2),
    "cos of norm": (lambda v: np.cos(np.linalg.norm(v)), lambda v: mpmath.re(mpmath.cos(root(squares(v)))), ZERO3),
    "Gaussian of norm": (lambda v: np.exp(-np.linalg.norm(v) ** 2), lambda v: mpmath.exp(-squares(v)), ZERO2),
    "Frobenius norm": (lambda v: np.linalg.norm(v.reshape(1, 3)) ** 2, squares, ZERO3),
    "norms of rows": (lambda v: np.sum(np.linalg.norm(np.stack([v, v]), axis=1) ** 2), lambda v: 2 * squares(v), ZERO2),
    "std squared": (lambda v: np.std(v) ** 2, variance, np.full(3, 2.0)),
    "hypot squared": (lambda v: np.hypot(*v) ** 2, squares, ZERO2),
    "norm in a scan": (
        lambda v: fad.scan(lambda c, k: (c + np.linalg.norm(k * v) ** 2, None), 0.0, np.array([1.0, 2.0]))[0],
        lambda v: 5 * squares(v), ZERO2,
    ),
    "norm in a loop with saved states": (
        lambda v: fad.fori_loop(0, 3, lambda k, s: s * 2 + np.linalg.norm(v) ** 2, 0.0), lambda v: 7 * squares(v), ZERO2
    ),
    "norm in a choice": (
        lambda v: fad.cond(v[0] >= 0, lambda v: np.linalg.norm(v) ** 2, lambda v: np.sum(v), v), squares, ZERO2
    ),
    "norm in a checkpoint": (fad.checkpoint(lambda v: np.linalg.norm(v) ** 2), squares, ZERO2),
    "norm in vmap": (
        lambda v: np.sum(fad.vmap(lambda a: np.linalg.norm(a) ** 2)(np.stack([v, 2 * v]))), lambda v: 5 * squares(v),
        ZERO2,
    ),
    "abs squared": (lambda v: np.sum(np.abs(v) ** 2), squares, ZERO2),
    "cos of abs": (lambda v: np.cos(np.abs(v[0])), lambda v: mpmath.cos(v[0]), np.zeros(1)),
    "sinc": (lambda v: np.sinc(v[0]), lambda v: mpmath.sincpi(v[0]), np.zeros(1)),
    "boxcox": (
        lambda v: scipy.special.boxcox(v[0], v[1]),
        lambda v: mpmath.log(v[0]) if v[1] == 0 else mpmath.expm1(v[1] * mpmath.log(v[0])) / v[1], np.array([3.0, 0.0]),
    ),
    "boxcox1p": (
        lambda v: scipy.special.boxcox1p(v[0], v[1]),
        lambda v: mpmath.log1p(v[0]) if v[1] == 0 else mpmath.expm1(v[1] * mpmath.log1p(v[0])) / v[1],
        np.array([0.5, 0.0]),
    ),
    "exprel": (
        lambda v: scipy.special.exprel(v[0]), lambda v: mpmath.mpf(1) if v[0] == 0 else mpmath.expm1(v[0]) / v[0],
        np.zeros(1),
    ),
    "power at exponent 0": (lambda v: v[0] ** v[1], lambda v: v[0] ** v[1], np.array([2.0, 0.0])),
}  # fmt: skip


def exact(f, point, direction, order):
    """The directional derivative of this order by mpmath."""
    with mpmath.workdps(60):
        p, t = [mpmath.mpf(float(x)) for x in point], [mpmath.mpf(float(x)) for x in direction]
        line = lambda h: f([x + h * d for x, d in zip(p, t, strict=True)])
        return float(mpmath.re(mpmath.diff(line, 0, order, h=mpmath.mpf(10) ** -12)))


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_through_a_kink(name):
    f, in_mpmath, point = SMOOTH[name]
    direction = np.array([0.5, -1.25, 2.0])[: point.size]
    columns = {"": [np.full(1, x) for x in point]}  # one element for each coordinate
    g = lambda x: {"": np.reshape(f(np.concatenate(x[""])), (1,))}
    for order in (1, 2, 3):
        wanted = exact(in_mpmath, point, direction, order)
        for modes, found in nestings(g, columns, order, direction):
            np.testing.assert_allclose(found[""], wanted, rtol=1e-11, atol=1e-11, err_msg=" over ".join(modes))


def test_values_and_conventions_stay():
    """Values, branches and first derivatives are those of the norm itself, inside of second derivatives too."""

    def f(v):
        r = np.linalg.norm(v)
        return np.where(3 * r == 0, 5.0, 7.0) * np.sum(v * v) + r if r == 0 else np.sum(v)

    value, gradient = fad.value_and_grad(f)(ZERO2)
    assert value == 0 and gradient.tolist() == [0, 0]
    (value, gradient), (_, second) = fad.jvp(fad.value_and_grad(f), (ZERO2,), (np.ones(2),))
    assert value == 0 and gradient.tolist() == [0, 0] and (second > 1e25).all()
    assert fad.jvp(np.linalg.norm, (ZERO2,), (np.ones(2),)) == (0, 0)
    assert fad.grad(lambda v: np.std(v))(np.ones(3)).tolist() == [0, 0, 0]
    assert fad.grad(fad.grad(np.abs))(0.0) == 0


def test_a_loop_that_a_norm_ends():
    """Decisions see the norm as it is: a loop inside of a second derivative ends where it would."""

    def f(v):
        step = lambda s: np.where(np.linalg.norm(s) > 1, s / 2, 0 * s)
        return fad.while_loop(lambda s: np.linalg.norm(s) > 0, step, v)

    assert fad.hessian(lambda v: np.sum(f(v)) + np.sum(v**2))(ZERO2).tolist() == [[2, 0], [0, 2]]
