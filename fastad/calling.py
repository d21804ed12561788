"""Kernels that Python calls by name, as C functions of one address: without numba, whose import and compiler take long.

The arguments of a call are arrays, integers and tuples of these. They go into a program of integers: an array as its
address and its lengths. For each list of kinds of arguments there is the text of a C function that takes them out again
and calls the kernel, which `fastad.execution` compiles and keeps as all of its code.
"""

import ctypes
import itertools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastad.once import once

_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
_POINTERS = {
    np.dtype(np.float64): "doubles", np.dtype(np.int64): "integers", np.dtype(np.int32): "indices",
    np.dtype(np.uint8): "octets",
}  # fmt: skip
_TEXT = '''\
"""The kernel {name}, called with a program of the addresses of its arguments."""
from fastad.kernels.memory import doubles, indices, integers, matrix, octets, types, view
from fastad.kernels.{module} import {name}
{imports}
SIGNATURE = types.int64(types.int64)


def entry(program):
    p = integers(program)
    return {name}({arguments})
'''

Kind = Any  # of an argument: the dtype and the dimensions of an array, None for an integer, a class and the kinds in it
_compilers: list[Callable[[str, str], int]] = []


def compile_with(address: Callable[[str, str], int]) -> None:
    """Let kernels be compiled by this function: (name, text of a module) → the address of its C function."""
    _compilers[:] = [address]


class CalledKernel:
    """A kernel in `fastad.kernels` that returns an integer, called with arrays, integers and tuples.

    >>> import numpy as np
    >>> from fastad.calling import CalledKernel
    >>> ends, members, labels = np.zeros(3, np.int64), np.zeros(3, np.int32), np.array([1, 0, 1], np.int32)
    >>> CalledKernel("patterns", "bucket")(ends, members, labels), ends.tolist(), members.tolist()
    (0, [0, 1, 3], [1, 0, 2])
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._known: dict[Kind, Any] = {}

    def __call__(self, *arguments: Any) -> int:
        words: list[int] = []
        kinds = tuple(_packed(x, words) for x in arguments)
        function = self._known.get(kinds)
        if function is None:
            function = self._known[kinds] = _compiled(self._module, self._name, kinds)
        program = np.array(words, np.int64)
        return int(function(program.ctypes.data))


def _packed(x: Any, words: list[int]) -> Kind:
    """The kind of an argument, whose words are appended."""
    if isinstance(x, np.ndarray):
        if not x.flags.c_contiguous or x.ndim not in (1, 2) or x.dtype not in _POINTERS:
            raise TypeError(f"a kernel takes no array of shape {x.shape}, strides {x.strides} and dtype {x.dtype}")
        words += (x.__array_interface__["data"][0], *x.shape)
        return x.dtype, x.ndim
    if isinstance(x, tuple):
        return type(x), *(_packed(own, words) for own in x)
    words.append(operator.index(x))
    return None


@once
def _compiled(module: str, name: str, kinds: Kind) -> Any:
    classes = sorted({own.__name__: own for own in _classes(kinds) if own is not tuple}.items())
    imports = "".join(f"from {own.__module__} import {word}\n" for word, own in classes)
    numbers = itertools.count()
    arguments = ", ".join(_argument(kind, numbers) for kind in kinds)
    text = _TEXT.format(module=module, name=name, imports=imports + "\n", arguments=arguments)
    return _FUNCTION(_compilers[0](f"called_{name}", text))


def _classes(kinds: Kind) -> Iterator[type]:
    for kind in kinds:
        if kind is not None and isinstance(kind[0], type):
            yield kind[0]
            yield from _classes(kind[1:])


def _argument(kind: Kind, numbers: Iterator[int]) -> str:
    """An argument, taken out of the program p from the next place on."""
    if kind is None:
        return f"p[{next(numbers)}]"
    if isinstance(kind[0], type):
        own = ", ".join(_argument(part, numbers) for part in kind[1:])
        return f"({own},)" if kind[0] is tuple else f"{kind[0].__name__}({own})"
    pointer, dimensions = kind
    address, *lengths = (f"p[{next(numbers)}]" for _ in range(1 + dimensions))
    return f"{('view', 'matrix')[dimensions - 1]}({_POINTERS[pointer]}({address}), {', '.join(lengths)})"
