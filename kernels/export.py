"""C functions compiled by numba, as LLVM IR that runs without numba.

A function is given as the text of a Python module that defines it under the name `entry`, with the numba type of a C
function, `SIGNATURE`. The text may import from `fastad.kernels`: what it calls is compiled into the same module of IR.

Numba would generate machine code for every function on the way, once for each of its callers, though only the last
is wanted. Here none is: libraries of functions are held as IR, and are optimised as a whole by whoever compiles them.
For that a copy of the kernels is compiled, so the functions of `fastad.kernels` themselves are as ever.
"""

import contextlib
import functools
import importlib
import itertools
import sys
import types

import llvmlite.binding as llvm
from numba.core import sigutils
from numba.core import types as nb
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

_PACKAGE = __package__
_COPY = "_" + _PACKAGE.replace(".", "_")
_numbers = itertools.count()


class _Unfinished(JITCodeLibrary):
    """A library without machine code."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalized = True

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        return 0


@contextlib.contextmanager
def _without_machine_code():
    """While this lasts, numba (in this thread: the others wait for its lock) makes IR only."""
    codegen = cpu_target.target_context.codegen()
    with global_compiler_lock:
        codegen._library_class = _Unfinished
        codegen.set_env = lambda name, env: None
        try:
            yield
        finally:
            del codegen._library_class, codegen.set_env


def ir_of(text, name):
    """A module of IR whose only visible symbol is the C function `name`, the function `entry` of the text.

    Raises whatever goes wrong, with a numba of another inner structure for instance.
    """
    with _without_machine_code():
        module, helper = _execute(text)
        function = helper(module.entry)
        arguments, result = sigutils.normalize_signature(module.SIGNATURE)
        function.compile(module.SIGNATURE)
        compiled = function.overloads[arguments]
        if compiled.signature.return_type != result:
            raise TypeError(f"entry returns {compiled.signature.return_type}, not {result}")
        library = compiled.library._final_module
        wrapper = _wrapper(name, compiled.fndesc.mangled_name, arguments, result)
        return _only(name, f"{library}\n{wrapper}")


@functools.cache
def _flags():
    """The flags of a copy of the kernels, where every function is compiled as a part of others only.

    The copy is kept, so that what several functions call is compiled once.
    """
    package = types.ModuleType(_COPY)
    package.__path__ = list(sys.modules[_PACKAGE].__path__)
    sys.modules[_COPY] = package
    flags = importlib.import_module(_COPY + ".flags")
    flags.BORROWING["cache"], flags.kernel = False, flags.helper
    return flags


def _execute(text):
    """Run the text with the copy of the kernels."""
    helper = _flags().helper
    name = f"{_COPY}.generated{next(_numbers)}"
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text.replace(_PACKAGE, _COPY), "<generated>", "exec"), module.__dict__)
    return module, helper


def _ir_type(kind):
    if isinstance(kind, (nb.CPointer, nb.RawPointer)):
        return "ptr"
    return {nb.int64: "i64", nb.float64: "double"}[kind]


def _wrapper(name, target, arguments, result):
    """The C function: numba's own functions return a status, and the result through a pointer."""
    kinds = [_ir_type(kind) for kind in arguments]
    parameters = ", ".join(f"{kind} %a{k}" for k, kind in enumerate(kinds))
    kind = _ir_type(result)
    return (
        f"define {kind} @{name}({parameters}) nounwind {{\n  %result = alloca {kind}\n  %error = alloca ptr\n"
        f'  %status = call i32 @"{target}"({", ".join(["ptr %result", "ptr %error", parameters])})\n'
        f"  %value = load {kind}, ptr %result\n  ret {kind} %value\n}}\n"
    )


def _only(name, text):
    """The module with all definitions but one made internal, and without those that are not used."""
    module = llvm.parse_assembly(text, llvm.create_context())
    for value in [*module.functions, *module.global_variables]:
        if not value.is_declaration and value.name != name:
            value.linkage = "internal"
    return str(module)
