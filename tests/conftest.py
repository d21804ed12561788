"""Settings that all tests share."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("FASTAD_VERIFY_IR", "1")

PROFILE = os.environ.get("FASTAD_TEST_PROFILE", "ci")

# No deadline: the first example of a kind may compile.
_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, max_examples=40, **_common)
settings.register_profile("thorough", max_examples=2000, print_blob=True, **_common)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items):
    """Skip tests marked slow unless the thorough profile is asked for."""
    if PROFILE == "thorough":
        return
    skip = pytest.mark.skip(reason="slow; runs with FASTAD_TEST_PROFILE=thorough")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def quiet_floating_point():
    """Tests go to poles, overflows and NaN on purpose; NumPy's warnings about them say nothing here."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def rng():
    """A random generator with a fixed seed."""
    return np.random.default_rng(20240607)
