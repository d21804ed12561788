"""What users write in the bodies of loops: indexing by the loop's number, updates in place, errors that teach."""

import numpy as np
import pytest

import fastad as fad


def test_a_body_indexes_arrays_of_the_function_around_it(rng):
    x, A = rng.normal(size=4), rng.normal(size=(4, 3))

    def looped(x, A):
        return fad.fori_loop(0, 4, lambda k, y: y * x[k] + np.sum(A[k] * x[-k - 1]), 1.0)

    def plain(x, A):
        y = 1.0
        for k in range(4):
            y = y * x[k] + np.sum(A[k] * x[-k - 1])
        return y

    np.testing.assert_allclose(fad.jit(looped)(x, A), plain(x, A), rtol=1e-13)
    for found, wanted in zip(fad.grad(looped, (0, 1))(x, A), fad.grad(plain, (0, 1))(x, A), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    fad.check_grads(fad.jit(looped), (x, A), order=2)


def test_a_plain_array_is_indexed_by_the_number_once_it_is_like_it():
    table = np.arange(3.0)
    f = fad.jit(lambda y: fad.fori_loop(0, 3, lambda k, y: y + np.asarray(table, like=k)[k], y))
    assert f(1.0) == 4.0
    table[2] = 10.0
    assert f(1.0) == 12.0


def test_plain_arrays_are_indexed_by_the_number():
    table = np.arange(3.0)
    assert fad.fori_loop(0, 3, lambda k, y: y + table[k], 0.0) == 3.0


def test_an_index_out_of_bounds_names_the_loop_and_the_line():
    with pytest.raises(fad.IndexRangeError, match=r"fori_loop, recorded at .*test_loop_bodies.py"):
        fad.jit(lambda x: fad.fori_loop(0, 5, lambda k, y: y + x[k], 0.0))(np.zeros(3))


def test_the_state_may_be_changed_in_place():
    def body(state, x):
        state[0] += x
        return state, state[1] * 1.0

    start = np.array([1.0, 2.0])
    end, seen = fad.scan(body, start, np.ones(3))
    np.testing.assert_array_equal(end, [4.0, 2.0])
    np.testing.assert_array_equal(seen, [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(fad.grad(lambda c: np.sum(fad.scan(body, c, np.ones(3))[0]))(start), [1.0, 1.0])
    np.testing.assert_array_equal(start, [1.0, 2.0])


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_two_pullbacks_of_one_loop_do_not_share_what_was_kept(tier):
    x, seeds = np.array([0.3, 0.5]), (np.ones(2), np.array([0.0, 3.0]))

    def end(x, schedule):
        return fad.scan(lambda c, _: (np.sin(c * 1.1), None), x, length=20, checkpoint=schedule)[0]

    def both(x):
        _, pullback = fad.vjp(lambda x: end(x, fad.checkpoint.Revolve(3)), x)
        return pullback(seeds[0])[0] + 2 * pullback(seeds[1])[0]

    jacobian = fad.jacfwd(lambda x: end(x, None))(x)
    wanted = seeds[0] @ jacobian + 2 * seeds[1] @ jacobian
    np.testing.assert_allclose(fad.jit(both, tier=tier)(x), wanted, rtol=1e-13)


def test_what_is_no_function_is_named():
    with pytest.raises(TypeError, match=r"f of scan must be a function.*test_loop_bodies.py.*, not int"):
        fad.scan(3, 1.0, np.ones(3))
    with pytest.raises(TypeError, match="inverse of scan must be a function"):
        fad.scan(lambda c, x: (c, x), 1.0, np.ones(3), inverse=1.0)
    with pytest.raises(TypeError, match="body_fun of fori_loop must be a function"):
        fad.fori_loop(0, 3, None, 1.0)
    with pytest.raises(TypeError, match="cond_fun of while_loop must be a function"):
        fad.while_loop(True, lambda s: s, 1.0)
