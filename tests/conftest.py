"""Settings that all tests share, and how a whole run is spread over the processors."""

import gc
import os
import zlib

import numpy as np
import pytest
import side_by_side
from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("FASTAD_VERIFY_IR", "1")
os.environ.setdefault("FASTAD_BACKGROUND", "0")  # so that the tier does not depend on time; test_background has it on

collect_ignore = ["bare"]  # imported, it would take from this process what it takes from poorer machines

PROFILE = os.environ.get("FASTAD_TEST_PROFILE", "ci")

# No deadline: the first example of a kind may compile.
_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, max_examples=40, **_common)
settings.register_profile("thorough", max_examples=2000, print_blob=True, **_common)
settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config):
    """Spread a run of all tests over the processors; tests that are named run in this process."""
    side_by_side.choose_workers(config)


def pytest_sessionstart(session):
    """Compile what most tests need before the workers start, which would all compile the same."""
    if side_by_side.is_controller(session.config):
        side_by_side.report_progress(session)
        side_by_side.warm_up(session.config)


def pytest_collection_modifyitems(items):
    """Skip tests marked slow unless the thorough profile is asked for."""
    if PROFILE == "thorough":
        return
    skip = pytest.mark.skip(reason="slow; runs with FASTAD_TEST_PROFILE=thorough")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def pytest_collection_finish(session):
    """The tests and what they import stay: half a million objects that no collection has to walk again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def quiet_floating_point():
    """Tests go to poles, overflows and NaN on purpose; NumPy's warnings about them say nothing here."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(autouse=True)
def own_random_numbers(request):
    """What a test draws from its module's RNG does not depend on the tests that ran before it."""
    generator = getattr(request.module, "RNG", None)
    if isinstance(generator, np.random.Generator):
        own = np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
        generator.bit_generator.state = own.bit_generator.state


@pytest.fixture
def rng():
    """A random generator with a fixed seed."""
    return np.random.default_rng(20240607)
