"""Rules of user-defined primitives that call their own primitive, as rules for JAX's custom_jvp do."""

import numpy as np
import pytest

import fastad as fad

RNG = np.random.default_rng(11)
def exp_times(a, b):
    return np.exp(a) * b


SELF_CALLING = fad.primitive(exp_times, jvp=lambda p, t: SELF_CALLING(*p) * t[0] + np.exp(p[0]) * t[1])
MATRICES = fad.primitive(
    lambda a, b: np.sin(a) @ b.T, jvp=lambda p, t: (np.cos(p[0]) * t[0]) @ p[1].T + MATRICES(p[0], t[1])
)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_rule_calls_its_primitive_of_several_arguments(shape):
    a, b = RNG.normal(size=shape), RNG.normal(size=shape)
    fad.check_primitive(SELF_CALLING, (a, b))
    own, plain = (
        fad.jit(fad.grad(lambda a, b, f=f: np.sum(fad.grad(lambda a, b: np.sum(f(a, b) ** 2))(a, b)), argnums=(0, 1)))
        for f in (SELF_CALLING, exp_times)
    )
    for x, y in zip(own(a, b), plain(a, b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_a_rule_that_applies_its_primitive_to_tangents():
    a, b = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3))
    _, tangent = fad.jvp(MATRICES, (a, b), (a, b))
    np.testing.assert_allclose(tangent, (np.cos(a) * a) @ b.T + np.sin(a) @ b.T)
    with pytest.raises(fad.DerivativeError, match="a vjp= too"):
        fad.vjp(MATRICES, a, b)[1](np.ones((2, 4)))
