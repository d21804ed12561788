"""The shortest way from NumPy arrays through a native kernel and back, for small inputs and results.

For values that a kernel holds inline, copying in, calling and copying out are a handful of bytecodes; they are
generated as straight-line Python for the number of inputs and results at hand, which halves the time of a call.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastad.execution.compiled import Binding, Compiled

_MOST = 16  # inputs or results: more are better served by loops


def quick_call(compiled: Compiled, result: int | None) -> Callable[[Sequence[Any]], Any] | None:
    """A function of the inputs that returns the results as a tuple (`result` = 1), or the only one (0).

    None where the short way does not apply: other structures, values by reference, other dtypes than float64.
    """
    if result is None or not compiled.is_native or compiled.plan.table.captured:
        return None
    binding = compiled.binding()
    fields = [*binding.inputs, *binding.outputs]
    plain = all(view is not None for view, *_ in fields) and all(o[3] is None for o in binding.outputs)
    if not plain or len(fields) > _MOST:
        return None
    namespace: dict[str, Any] = {"free": [], "bind": lambda: _fields(compiled.binding()), "IndexError": IndexError}
    exec(_source(binding, result), namespace)
    namespace["free"].append(_fields(binding))
    return namespace["run"]  # type: ignore[no-any-return]


def _fields(binding: Binding) -> tuple[Any, ...]:
    views = [view for view, *_ in (*binding.inputs, *binding.outputs)]
    return (*views, binding.function, binding.argument, binding.fail, binding)


def _source(binding: Binding, result: int) -> str:
    ins = [f"i{k}" for k in range(len(binding.inputs))]
    outs = [f"o{k}" for k in range(len(binding.outputs))]
    # A scalar's buffer is read as a NumPy scalar, an array's buffer is copied.
    reads = [f"{o}.copy()" if spec[2] else f"{o}[()]" for o, spec in zip(outs, binding.outputs, strict=True)]
    results = reads[0] if result == 0 else f"({', '.join(reads)},)"
    return "\n".join([
        "def run(args, pop=free.pop, push=free.append, bind=bind):",
        "    try:",
        "        fields = pop()",
        "    except IndexError:",
        "        fields = bind()",
        f"    {', '.join([*ins, *outs])}, call, argument, fail, _ = fields",
        *(f"    {i}[...] = args[{k}]" for k, i in enumerate(ins)),
        "    code = call(argument)",
        "    if code:",
        "        push(fields)",
        "        fail(code)",
        f"    results = {results}",
        "    push(fields)",
        "    return results",
    ])  # fmt: skip
