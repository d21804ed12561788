"""The kernel of a driver that the tests own (see test_own_driver.py): bisection of a scalar function."""

from fastad.kernels.flags import kernel
from fastad.kernels.memory import call_kernel, doubles, record_at, view
from fastad.kernels.records import KERNEL, record

WORK = record("argument", "value", "scratch")
BISECTION = record("steps", "parameters", ("function", KERNEL), ("work", WORK))

bisection_at = record_at(BISECTION)


@kernel
def run_bisection(context, source, target, work):
    """[low | high | parameters] to a root between low and high."""
    p = bisection_at(context)
    argument, value = work + 8 * p.work.argument, work + 8 * p.work.value
    inside, given = view(doubles(argument), 1 + p.parameters), view(doubles(source), 2 + p.parameters)
    f = view(doubles(value), 1)
    low, high, sign = given[0], given[1], 0.0
    for i in range(p.parameters):
        inside[1 + i] = given[2 + i]
    for k in range(p.steps + 1):
        inside[0] = low if k == 0 else (low + high) / 2
        code = call_kernel(p.function.address, p.function.context, argument, value, work + 8 * p.work.scratch)
        if code:
            return code
        if k == 0:
            sign = 1.0 if f[0] > 0 else -1.0
        elif f[0] * sign > 0:
            low = inside[0]
        else:
            high = inside[0]
    view(doubles(target), 1)[0] = (low + high) / 2
    return 0
