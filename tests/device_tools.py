"""Running requests on a device of the tests, lane by lane beside the sweeps of the processor."""

import numpy as np

from fastad.execution.compiled import Compiled
from fastad.execution.cuda.device import array, empty
from fastad.execution.cuda.interpreter.program import LaneInterpreter, Strided
from fastad.execution.request import Request

LANES = 3


def on_device(device, request, inputs, real="d"):
    """Results and statuses of all lanes; inputs have a leading axis of lanes."""
    kernel = LaneInterpreter(device, request, real)
    lanes = len(inputs[0]) if inputs else LANES
    given = [Strided(array(device, np.asarray(x, real)), x[0].size) for x in inputs]
    results = [empty(device, (lanes, *kind.shape), real) for kind in request.results]
    out = [Strided(x, int(np.prod(x.shape[1:], dtype=int))) for x in results]
    space = kernel.space(lanes)
    kernel.run(space, lanes, given, out)
    return [x.copy_to_host() for x in results], space.status.copy_to_host()


def by_sweeps(request, inputs):
    """The same by the sweeps."""
    run = Compiled(request, "sweep")
    lanes = len(inputs[0]) if inputs else LANES
    found = [run([x[lane] for x in inputs]) for lane in range(lanes)]
    return [np.stack([results[k] for results in found]) for k in range(len(request.results))]


def requests(table, wrt):
    """The values, tangents and adjoints of a table."""
    return [Request(table), *([Request(table, mode, tuple(wrt)) for mode in ("tangent", "adjoint")] if wrt else [])]


def check(device, table, wrt, inputs, real="d", rtol=1e-11):
    """All modes agree with the sweeps; inputs of derivatives are drawn."""
    rng = np.random.default_rng(3)
    for request in requests(table, wrt):
        given = request.inputs
        rest = [rng.normal(size=(LANES, *kind.shape)) for kind in given[len(inputs) :]]
        # captured arrays come last; tables of the tests have none
        full = [*inputs, *rest]
        found, status = on_device(device, request, full, real)
        assert not status.any(), (request.mode, status)
        for own, other in zip(found, by_sweeps(request, full), strict=True):
            size = max(1.0, float(np.abs(other[np.isfinite(other)]).max(initial=0.0)))
            np.testing.assert_allclose(own, other, rtol=rtol, atol=rtol * size, err_msg=f"{request.mode} of {table}")
