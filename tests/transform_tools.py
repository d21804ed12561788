"""What the tests of transformations share: the tiers to run in, and comparison of pytrees."""

import numpy as np
import pytest

TIERS = ("sweep", "native")
each_tier = pytest.mark.parametrize("tier", TIERS)
# "auto" runs the one or the other: only where the choice itself may go wrong. Tests that name no tier run it, too.
each_tier_and_auto = pytest.mark.parametrize("tier", (*TIERS, "auto"))


def same(found, wanted, tolerance=1e-12):
    """Equal structure, shapes, dtypes, and values to rounding."""
    assert type(found) is type(wanted) or not isinstance(wanted, tuple | list | dict), (found, wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key], tolerance)
    elif isinstance(wanted, tuple | list):
        assert len(found) == len(wanted)
        for x, y in zip(found, wanted, strict=True):
            same(x, y, tolerance)
    elif wanted is None or isinstance(wanted, str):
        assert found == wanted
    else:
        assert np.shape(found) == np.shape(wanted), (np.shape(found), np.shape(wanted))
        if isinstance(wanted, np.ndarray | np.generic):
            assert found.dtype == wanted.dtype, (found.dtype, wanted.dtype)
        single = np.asarray(wanted).dtype == np.float32
        limit = 2e-6 if single else tolerance
        scale = np.max(np.abs(np.nan_to_num(wanted, posinf=0, neginf=0)), initial=0)
        np.testing.assert_allclose(np.asarray(found, float), np.asarray(wanted, float), rtol=limit, atol=limit * scale)


def central(f, x, v, step=1e-6):
    """Directional derivative by central differences."""
    return (np.asarray(f(x + step * v)) - np.asarray(f(x - step * v))) / (2 * step)
