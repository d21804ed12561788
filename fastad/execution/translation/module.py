"""A module of LLVM IR from the text of a Python module that defines a C function: see `exported`."""

import ast
import functools
import importlib
import itertools
import sys
import types
from typing import Any

from fastad.execution.translation import TARGET, flags, memory, outside
from fastad.execution.translation.flags import Source
from fastad.execution.translation.functions import Function
from fastad.execution.translation.kinds import ADDRESS, INTEGER, UntranslatableError, types_of
from fastad.kernels import scipy_blas
from fastad.locks import lock

# The modules of the kernels that are numba's own, and what stands for them.
SUBSTITUTES = {
    "flags": flags, "memory": memory, "blas": outside, "lapack_calls": outside, "superlu_call": outside,
    "notices": outside,
}  # fmt: skip

# Where there are no libraries, loops stand for these modules.
LOOPS = {"blas": "own_blas", "lapack_calls": "own_lapack"}

_PACKAGE = "fastad.kernels"
_COPY, _ALONE = "_fastad_kernels_translated", "_fastad_kernels_translated_alone"
_numbers = itertools.count()
_lock = lock()


# The function that is called by its name is chosen by a variable, so that better code can take over.
_REPLACEABLE = """
@{target} = global ptr @{name}.own

define {result} @{name}({parameters}) nounwind {{
  %own = load atomic ptr, ptr @{target} monotonic, align 8
  %value = tail call {result} %own({parameters})
  ret {result} %value
}}
"""


def ir_of(
    text: str, name: str, *, fused: bool, replaceable: bool = False, alone: bool = False, apart: bool = False
) -> str:
    """A module of IR whose only visible symbol is the C function `name`, the function `entry` of the text.

    `fused`: the processor multiplies and adds with one rounding. If the function is `replaceable`, it calls the one
    whose address is in the variable TARGET. `alone`: it calls no libraries, as `LOOPS` says, a kernel takes its four
    addresses as pointers, and calls others by numbers, through `memory.KERNEL_CALL`. `apart`: not the vectors of a
    driver lie in its work, but their addresses.

    Raises UntranslatableError, which says what is not known here.
    """
    with _lock:
        entry, signature = _execute(text, _ALONE if alone else _COPY)
        if not isinstance(signature, memory.Signature):
            raise UntranslatableError("the signature is numba's")
        if not replaceable:
            return _Module(fused, jumps=False, alone=alone, apart=apart).text(Source(entry), signature, name)
        own = _Module(fused, jumps=True).text(Source(entry), signature, f"{name}.own")
        kinds = [types_of(kind)[0] for kind in signature.arguments]
        parameters = ", ".join(f"{kind} %a{k}" for k, kind in enumerate(kinds))
        (result,) = types_of(signature.result)
        return own + _REPLACEABLE.format(target=TARGET, name=name, result=result, parameters=parameters)


_KERNEL = memory.Signature(INTEGER, (INTEGER,) * 4)


class _Module:
    """The functions of a module, by their text and the kinds of their arguments.

    `jumps`: long chains of comparisons are written as jumps. Without optimisation, the last case of a sweep would come
    after a hundred tests; with it, LLVM finds the better mixture of both."""

    def __init__(self, fused: bool, jumps: bool, alone: bool = False, apart: bool = False) -> None:
        self.fused, self.jumps, self.alone, self.apart = fused, jumps, alone, apart
        self._made: dict[tuple[Source, tuple[Any, ...]], Function | None] = {}
        self._declared: dict[str, None] = {}
        self.changed: set[Any] = set()  # records with a field that some function sets
        self._remarks: dict[Any, str] = {}

    def text(self, entry: Source, signature: memory.Signature, name: str) -> str:
        is_kernel = signature == _KERNEL and self.alone
        arguments = (ADDRESS,) * len(signature.arguments) if is_kernel else signature.arguments
        own = Function(self, entry, _tree(entry), arguments, name)
        if own.kind != signature.result:
            raise UntranslatableError(f"entry returns {own.kind}, not {signature.result}")
        by_name = {f.name: f for f in self._made.values() if f}
        wanted, waiting = {}, sorted(own.callees)
        while waiting:
            following = waiting.pop()
            if following not in wanted:
                wanted[following] = by_name[following]
                waiting += sorted(by_name[following].callees)
        text = "\n".join([*self._declared, own.definition(""), *(f.definition() for f in wanted.values())])
        for dtype, remark in self._remarks.items():
            text = text.replace(remark, "" if dtype in self.changed else ", !invariant.load !0")
        return text + "\n!0 = !{}\n"

    def remark(self, dtype: Any) -> str:
        """What stands behind the loads of a record's fields: that of a record which no function changes, as the
        parameters of a driver are, nothing changes. It becomes known when all functions are written."""
        return self._remarks.setdefault(dtype, f" ;record {len(self._remarks)};")

    def declare(self, text: str) -> None:
        self._declared[text] = None

    def function(self, source: Source, kinds: tuple[Any, ...]) -> tuple[str, Any]:
        """Name of a function in the module, and the kind of its result."""
        key = source, kinds
        if key not in self._made:
            self._made[key] = None
            name = f"{source.py_func.__name__}.{len(self._made)}"
            self._made[key] = Function(self, source, _tree(source), kinds, name)
        found = self._made[key]
        if found is None:
            raise UntranslatableError(f"{source.py_func.__name__} calls itself")
        return found.name, found.kind


# ── the text of kernels ───────────────────────────────────────────────────────────────────────────────────────
@functools.cache
def _copy(copy: str) -> None:
    """A copy of the kernels whose decorators and intrinsics are the translator's."""
    package = types.ModuleType(copy)
    package.__path__ = list(importlib.import_module(_PACKAGE).__path__)
    sys.modules[copy] = package
    sys.modules.update({f"{copy}.{name}": own for name, own in SUBSTITUTES.items()})
    if copy == _ALONE:
        for name, loops in LOOPS.items():
            sys.modules[f"{copy}.{name}"] = _with_refusals(importlib.import_module(f"{copy}.{loops}"))


def _with_refusals(loops: types.ModuleType) -> types.ModuleType:
    """The module, with functions that cannot be translated in place of those which it has not."""
    for name in scipy_blas.NAMES:
        if not hasattr(loops, name):
            setattr(loops, name, _refused(name))
    return loops


def _refused(name: str) -> memory.Intrinsic:
    def write(body: Any, *given: Any) -> Any:
        raise UntranslatableError(f"LAPACK's {name}")

    return memory.Intrinsic(write)


_texts: dict[str, str] = {}


def _execute(text: str, copy: str) -> tuple[Any, Any]:
    """Run the text with a copy of the kernels: its function `entry`, and its signature."""
    _copy(copy)
    text = text.replace(_PACKAGE, copy)
    name = f"{copy}.generated{next(_numbers)}"
    module = sys.modules[name] = types.ModuleType(name)
    _texts[f"<{name}>"] = text
    exec(compile(text, f"<{name}>", "exec"), module.__dict__)
    return module.__dict__["entry"], module.__dict__["SIGNATURE"]


@functools.cache
def _trees(file: str) -> dict[str, ast.FunctionDef]:
    """The functions of a file, by name."""
    text = _texts.get(file)
    if text is None:
        with open(file, encoding="utf-8") as source:
            text = source.read()
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def _tree(source: Source) -> ast.FunctionDef:
    code = source.py_func.__code__
    found = _trees(code.co_filename).get(code.co_name)
    if found is None:
        raise UntranslatableError(f"the text of {code.co_name} is not known")
    return found
