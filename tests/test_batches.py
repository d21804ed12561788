"""map_batches and vmap(executor=): the results are those of one call after the other, whoever computes them."""

import importlib.util
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fastad as fad
from fastad.transforms.shipping import Listed, run_items, ship

POINTS = np.random.default_rng(5).normal(size=(40, 3))


def branchy(x):
    """Two paths."""
    total = np.sum(np.sin(x) ** 3)
    return 2 * total if total > 0.2 else total - 1


def solved(matrix):
    return np.linalg.solve(matrix, np.ones(2))


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def dask():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(params=["here", "threads", "processes", "dask"])
def executor(request):
    return None if request.param == "here" else request.getfixturevalue(request.param)


# ---- results -----------------------------------------------------------------------------------------------------


def test_items_along_an_axis_take_their_own_branches(executor):
    f = fad.value_and_grad(branchy, tier="sweep")  # native code may differ in the last bit, and not all may have it
    value, gradient = fad.map_batches(f, POINTS, executor)
    for k, point in enumerate(POINTS):
        expected = f(point)
        assert value[k] == expected[0] and np.array_equal(gradient[k], expected[1])


def test_items_of_any_structure_and_shape(executor):
    items = [{"x": np.full(n, 2.0), "k": n % 2} for n in range(1, 6)]
    found = fad.map_batches(lambda item: np.sum(item["x"]) + item["k"], items, executor)
    assert found == [np.sum(item["x"]) + item["k"] for item in items]


def test_dicts_of_arrays_and_integers(executor):
    data = {"a": POINTS, "b": np.arange(40)}
    found = fad.map_batches(lambda item: {"r": item["a"] * item["b"]}, data, executor)
    assert np.array_equal(found["r"], POINTS * np.arange(40)[:, None])
    assert fad.map_batches(lambda k: k * 0.5, range(7), executor) == [k * 0.5 for k in range(7)]


def test_captured_data_are_those_of_the_call(executor):
    scale = np.ones(3)
    scaled = lambda x: np.sum(x * scale)
    first = fad.map_batches(scaled, POINTS, executor)
    scale *= 2
    assert np.array_equal(fad.map_batches(scaled, POINTS, executor), 2 * first)


@pytest.mark.parametrize("data", [[], np.zeros((0, 3)), iter(())])
def test_no_items(threads, data):
    assert fad.map_batches(np.sum, data, threads) == []


def test_lanes(executor):
    def f(x, k):
        return {"sum": np.sum(np.sin(x)) * k, "moved": x * k, "same": k * 1.0}

    axes = {"in_axes": (1, None), "out_axes": {"sum": 0, "moved": -1, "same": None}}
    spread = fad.vmap(f, **axes, executor=executor)
    plain = fad.vmap(f, **axes)(POINTS.T, 3.0)
    found = spread(POINTS.T, 3.0)
    assert all(np.array_equal(found[name], plain[name]) for name in plain)
    derivative = fad.grad(lambda x: np.sum(spread(x, 3.0)["sum"]))(POINTS.T)
    np.testing.assert_allclose(derivative, 3 * np.cos(POINTS.T), rtol=1e-12)


def test_lanes_of_a_gradient(executor):
    loss = lambda x: np.sum(x**3)
    found = fad.vmap(fad.grad(loss), executor=executor)(POINTS)
    np.testing.assert_allclose(found, 3 * POINTS**2, rtol=1e-14)


# ---- errors ------------------------------------------------------------------------------------------------------


def test_an_error_says_which_item_it_is_of(executor):
    matrices = np.array([np.eye(2)] * 5 + [np.zeros((2, 2))] + [np.eye(2)])
    with pytest.raises(fad.SingularMatrixError, match=r"in solved") as caught:
        fad.map_batches(solved, matrices, executor)
    assert "item 5 of 7" in caught.value.__notes__[-1] and "test_batches.py" in caught.value.__notes__[-1]
    found = fad.map_batches(solved, matrices, executor, return_exceptions=True)
    assert [k for k, result in enumerate(found) if isinstance(result, fad.SingularMatrixError)] == [5]
    with pytest.raises(fad.SingularMatrixError) as caught:
        fad.vmap(solved, executor=executor)(matrices)
    if executor is not None:
        assert "of 7" in caught.value.__notes__[-1]


def test_what_is_no_executor_and_no_data():
    for wrong in (lambda: fad.map_batches(np.sum, POINTS, 3), lambda: fad.vmap(np.sum, executor="dask")):
        with pytest.raises(TypeError, match=r"executor is .* \(at .*test_batches.py.*Client"):
            wrong()
    with pytest.raises(TypeError, match=r"data is of type float \(at .*test_batches.py"):
        fad.map_batches(np.sum, 2.0)
    with pytest.raises(fad.ShapeError, match="first axes of lengths"):
        fad.map_batches(lambda item: item["a"], {"a": np.ones(3), "b": np.ones(4)})
    with pytest.raises(fad.ShapeError, match="give data as a list"):
        fad.map_batches(lambda k: np.ones(2) if k > 1 else np.ones(3), np.arange(4.0))


def test_a_worker_says_that_a_path_is_unknown():
    function = fad.jit(branchy)
    function(np.zeros(3))
    outcomes = run_items(ship(function), Listed([((np.full(3, x),), {}) for x in (0.0, 1.5)]))
    assert [outcome.status for outcome in outcomes] == ["done", "unrecorded"]


# ---- lost workers ------------------------------------------------------------------------------------------------


def slow(x):
    """About a millisecond."""
    return fad.fori_loop(0, 20_000, lambda k, y: np.sin(y) + x, x)


def _kill(pids):
    for pid in list(pids)[:1]:
        os.kill(pid, signal.SIGKILL)


def test_the_items_of_a_dead_process_are_done_again():
    expected = fad.map_batches(slow, np.linspace(0, 1, 600))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        fad.map_batches(slow, np.linspace(0, 1, 4), pool)
        timer = threading.Timer(0.1, lambda: _kill(pool._processes))
        timer.start()
        with pytest.warns(RuntimeWarning, match="has died; .* done again"):
            found = fad.map_batches(slow, np.linspace(0, 1, 600), pool)
    assert np.array_equal(found, expected)


def test_dask_does_the_items_of_a_lost_worker_again(dask):
    expected = fad.map_batches(slow, np.linspace(0, 1, 600))
    fad.map_batches(slow, np.linspace(0, 1, 4), dask)
    pids = dask.run(os.getpid).values()
    timer = threading.Timer(0.1, lambda: _kill(pids))
    timer.start()
    assert np.array_equal(fad.map_batches(slow, np.linspace(0, 1, 600), dask, chunksize=25), expected)
    timer.join()


# ---- MPI ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or shutil.which("mpiexec") is None, reason="there is no MPI here"
)
def test_two_mpi_processes(tmp_path):
    script = tmp_path / "sweep.py"
    script.write_text(
        textwrap.dedent("""\
        import numpy as np
        import fastad as fad
        from mpi4py.futures import MPIPoolExecutor

        if __name__ == "__main__":
            x = np.random.default_rng(0).normal(size=(60, 3))
            with MPIPoolExecutor() as pool:
                found = fad.map_batches(fad.grad(lambda x: np.sum(x**3)), x, pool)
                lanes = fad.vmap(np.sum, executor=pool)(x)
            assert np.array_equal(found, fad.vmap(fad.grad(lambda x: np.sum(x**3)))(x))
            assert np.allclose(lanes, x.sum(axis=1))
            print("equal")
        """)
    )
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment |= {"OMPI_MCA_rmaps_base_oversubscribe": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    command = ["mpiexec", "-n", "2", sys.executable, "-m", "mpi4py.futures", str(script)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and "equal" in run.stdout, run.stdout + run.stderr
