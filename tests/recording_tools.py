"""What the tests of recording share: record a function, replay its table, compare both and derivatives with NumPy."""

import numpy as np

import fastad.recording
from fastad.recording.buffers import plain
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.reference import evaluate

assert fastad.recording


def leaves(value):
    """Results as a flat list; buffers and object arrays of recorded scalars are results, too."""
    value = plain(value)
    if isinstance(value, tuple | list):
        return [x for item in value for x in leaves(item)]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [np.stack(list(value.reshape(-1))).reshape(value.shape)]
    return [value]


def record(f, *arrays):
    """The table of f at these arrays, the concrete results, and which of them are recorded."""
    with Recorder() as recorder:
        inputs = [recorder.input(a) for a in arrays]
        outputs = leaves(f(*(Recorded(recorder, ref) for ref in inputs)))
        concrete = [x.value if isinstance(x, Recorded) else x for x in outputs]
        recorded = [isinstance(x, Recorded) for x in outputs]
        table = recorder.finish(inputs, [x.ref for x in outputs if isinstance(x, Recorded)])
    return table, concrete, recorded


def assert_same(found, wanted, tolerance=1e-12):
    """Equal shapes and dtypes; values equal to rounding."""
    if isinstance(wanted, np.dtype | type):
        assert found == wanted
        return
    assert np.shape(found) == np.shape(wanted)
    if isinstance(wanted, np.ndarray | np.generic):
        assert np.asarray(found).dtype == wanted.dtype, f"dtype {np.asarray(found).dtype}, NumPy's is {wanted.dtype}"
    single = np.asarray(wanted).dtype == np.float32
    scale = 1 + np.max(np.abs(np.nan_to_num(wanted, posinf=0, neginf=0)), initial=0)
    limit = 1e-5 if single else tolerance
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(wanted, float), rtol=limit, atol=limit * scale)


def check_values(f, *arrays):
    """A recording computes what NumPy computes."""
    table, concrete, recorded = record(f, *arrays)
    wanted = leaves(f(*(a.copy() for a in arrays)))
    assert len(concrete) == len(wanted)
    for x, y in zip(concrete, wanted, strict=True):
        assert_same(x, y)
    return table, recorded


def check_replay(table, recorded, f, *arrays):
    """A table computes on other arrays what NumPy computes on them."""
    wanted = [y for y, flag in zip(leaves(f(*(a.copy() for a in arrays))), recorded, strict=True) if flag]
    for x, y in zip(evaluate(table, [*arrays, *table.captured]), wanted, strict=True):
        assert_same(x.astype(np.asarray(y).dtype), y)


def check_derivatives(table, recorded, f, *arrays, tolerance=2e-6):
    """Tangents agree with central differences, and adjoints with tangents: <u, J v> = <J^T u, v>."""
    rng = np.random.default_rng(1)
    wrt = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    v = [rng.normal(size=arrays[i].shape) for i in wrt]
    count = len(table.outputs)
    dy = evaluate(tangent_table(table, wrt), [*arrays, *v, *table.captured])[count:]
    step = 1e-6
    ends = []
    for sign in (1, -1):
        moved = [a.copy() for a in arrays]
        for i, d in zip(wrt, v, strict=True):
            moved[i] = moved[i] + sign * step * d
        ends.append([np.asarray(y, float) for y, flag in zip(leaves(f(*moved)), recorded, strict=True) if flag])
    for found, high, low in zip(dy, *ends, strict=True):
        wanted = (high - low) / (2 * step)
        scale = 1 + np.max(np.abs(wanted), initial=0)
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * scale)
    u = [rng.normal(size=np.shape(y)) for y in dy]
    bars = evaluate(adjoint_table(table, wrt), [*arrays, *u, *table.captured])[count:]
    left = sum(np.vdot(a, b) for a, b in zip(u, dy, strict=True))
    right = sum(np.vdot(a, b) for a, b in zip(bars, v, strict=True))
    size = sum(np.abs(a * b).sum() for a, b in zip(u, dy, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12 * (1 + size))


def check(f, make, differentiate=True):
    """All of the above; `make(rng)` draws the arrays."""
    arrays, others = (make(np.random.default_rng(seed)) for seed in (3, 4))
    table, recorded = check_values(f, *arrays)
    if not any(recorded):
        return
    if not table.guards:
        check_replay(table, recorded, f, *others)
    check_replay(table, recorded, f, *arrays)
    if differentiate:
        check_derivatives(table, recorded, f, *arrays)
