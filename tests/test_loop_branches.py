"""Python branches in the functions of loops: every path is recorded, and derivatives are those of the path taken."""

import numpy as np
import pytest

import fastad as fad

TIERS = ("sweep", "native")
XS = np.array([0.5, -0.3, 1.2, -2.0, 0.1])


def halved(c, k):
    """What depends on the state, and on a value from outside."""
    if c > 1.0 + k:
        return c * 0.5
    return np.sin(c) + 0.6 * k if c < 0.5 else c + 0.3


def fori(c, k):
    return fad.fori_loop(0, 7, lambda i, c: halved(c, k) if i < 5 else c * k, c)


def fori_in_python(c, k):
    for i in range(7):
        c = halved(c, k) if i < 5 else c * k
    return c


def step(c, x, k):
    if x > 0.0:
        return c * x, c
    return c + k * x, 2.0 * c * x


def scan(c, k):
    c, ys = fad.scan(lambda c, x: step(c, x, k), c, XS)
    return c + np.sum(np.sin(ys))


def scan_in_python(c, k):
    total = 0.0
    for x in XS:
        c, y = step(c, x, k)
        total = total + np.sin(y)
    return c + total


def goes_on(s, k):
    return s[0] < 5 if s[1] > 0.1 * k else s[0] < 3


def step_of_while(s):
    return s[0] + 1, s[1] * 0.5 if s[1] > 1.0 else s[1] * s[1]


def while_(c, k):
    return fad.while_loop(lambda s: goes_on(s, k), step_of_while, (0, c))[1]


def while_in_python(c, k):
    s = 0, c
    while goes_on(s, k):
        s = step_of_while(s)
    return s[1]


def nested(c, k):
    return fad.fori_loop(0, 5, lambda i, c: fad.fori_loop(0, 3, lambda j, c: halved(c, k), c) + 0.9, c)


def nested_in_python(c, k):
    for _ in range(5):
        for _ in range(3):
            c = halved(c, k)
        c = c + 0.9
    return c


LOOPS = {
    "fori": (fori, fori_in_python), "scan": (scan, scan_in_python), "while": (while_, while_in_python),
    "nested": (nested, nested_in_python),
}  # fmt: skip
C, K = 0.4, 1.3


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", LOOPS)
def test_loops_with_branches_are_pythons(name, tier):
    loop, python = LOOPS[name]
    of = {
        "value": lambda f: fad.jit(f, tier=tier)(C, K),
        "now": lambda f: f(C, K),
        "gradient": lambda f: fad.grad(f, argnums=(0, 1), tier=tier)(C, K),
        "second": lambda f: fad.grad(fad.grad(f, argnums=1), argnums=1, tier=tier)(C, K),
        "tangent": lambda f: fad.jvp(f, (C, K), (0.3, -0.7)),
    }
    for what, own in of.items():
        np.testing.assert_allclose(own(loop), own(python), rtol=1e-12, atol=1e-14, err_msg=what)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", LOOPS)
def test_lanes_take_paths_of_their_own(name, tier):
    """Whether they differ by the state or by a value from outside."""
    loop, python = LOOPS[name]
    cs, ks = np.array([0.4, 6.0, -3.0]), np.array([1.3, -0.4, 7.0])
    for axes, lanes in (((0, None), [(c, K) for c in cs]), ((None, 0), [(C, k) for k in ks])):
        lane_by_lane = fad.value_and_grad(python, argnums=1, tier="sweep")
        of = fad.vmap(fad.value_and_grad(loop, argnums=1), in_axes=axes, tier=tier)
        found = of(cs if axes[0] == 0 else C, ks if axes[1] == 0 else K)
        wanted = [lane_by_lane(*lane) for lane in lanes]
        np.testing.assert_allclose(np.transpose(found), wanted, rtol=1e-12, atol=1e-14)


def test_a_path_that_is_met_in_a_replay_is_recorded_then():
    f = fad.jit(lambda c: fad.fori_loop(0, 3, lambda i, c: 2.0 * c if c < 5.0 else c, c))
    assert [f(c) for c in (0.1, 0.2, 0.3)] == [0.8, 1.6, 2.4] and f.stats()["recordings"] == 1
    assert [f(c) for c in (2.0, 0.1, 7.0)] == [8.0, 0.8, 7.0] and f.stats()["recordings"] == 2


def test_paths_may_have_other_dtypes():
    f = lambda n: fad.fori_loop(0, 4, lambda i, c: c * 0.5 if c > 2 else c + 1, n)
    assert f(0) == 1.5 and f(0).dtype == float
    ys = fad.scan(lambda c, x: (c, x if x < 0.5 else 1), 0.0, np.array([1.0, 0.25]))[1]
    np.testing.assert_array_equal(ys, [1.0, 0.25])


def test_inverses_may_branch():
    there, back = (lambda c, x: (2.0 * c if x > 0 else 3.0 * c, None)), (lambda c, x: c / 2.0 if x > 0 else c / 3.0)
    f = lambda c: fad.scan(there, np.sin(c), XS, inverse=back)[0]
    np.testing.assert_allclose(fad.grad(f)(0.4), 72.0 * np.cos(0.4), rtol=1e-12)


def test_functions_of_cond_may_branch_in_a_loop():
    halve = lambda c: c * 0.5 if c > 1.0 else c + 0.3
    f = lambda c: fad.fori_loop(0, 9, lambda i, c: fad.cond(c < 3.0, halve, lambda c: c - 1.0, c), c)

    def python(c):
        for _ in range(9):
            c = halve(c) if c < 3.0 else c - 1.0
        return c

    cs = np.array([0.4, 1.9, 8.0])
    np.testing.assert_allclose(fad.vmap(f)(cs), [python(c) for c in cs], rtol=1e-12)
    np.testing.assert_allclose(fad.vmap(fad.grad(f))(cs), [fad.grad(python)(c) for c in cs], rtol=1e-12)
