"""The sign of zero is NumPy's, in both tiers; that of NaN means nothing."""

import numpy as np
import pytest

import fastad as fad

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan]
X, Y = (a.reshape(-1) for a in np.meshgrid(NUMBERS, NUMBERS))
EXPRESSIONS = """
-(x - y) | -(-x) | x - 0.0 | x - -0.0 | x + -0.0 | x * 1.0 | x * -1.0 | x / 1.0 | x / -1.0 | x - -y | x + -y | -x - y
-x * -y | -(y - x) * x | 0.0 - x | 0 * x | x * 0.0 | 1.0 / -(x - y) | np.arctan2(-(x - y), -1.0)
np.where(x > y, x, -0.0) | np.copysign(x, -0.0) | np.abs(x) | np.trunc(x) | np.fmod(x, 2.0) | np.sqrt(np.abs(x))
x + 0.0 | 0.0 + x | 0 + x | -x + 0.0 | np.sign(x) | -np.sign(-x) | x // y | x % y | np.fmod(x, y) | x // 2 | -0.0 // x
written(x, -0.0) | np.concatenate([x[:1], np.full_like(x, -0.0)]) | np.full_like(x, -0.0)[[0, 1]] + x[:2] * 0 - 0.0
"""


def written(x, number):
    y = np.zeros_like(x)
    y[::2] = number
    return y


@pytest.mark.parametrize("text", [part.strip() for part in EXPRESSIONS.replace("\n", "|").split("|") if part.strip()])
@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_signs_of_zeros(text, tier):
    space = {"np": np, "written": written}
    f = eval(f"lambda x, y: {text}", space)
    found, wanted = fad.jit(f, tier=tier)(X, Y), f(X, Y)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(wanted)[known])
