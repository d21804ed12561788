"""The kernels for GPUs run on this CPU: the same text, one instance after another, with C's functions of mathematics.

Tests run all programs so where there is no GPU, and a device that is none can be made of it."""

import functools
from collections.abc import Sequence

import numpy as np

from fastad.execution.cuda.compiled import DeviceText
from fastad.execution.cuda.instances import ENTRY
from fastad.execution.machine import cache, exported
from fastad.execution.machine.objects import compile_ir, load_object

_SIGNATURE_WORDS = 3  # pointer and strides of an array


class HostCode:
    """The code of a program for this CPU. Called with the addresses and strides of all arrays, as `Code` describes."""

    def __init__(self, text: DeviceText, level: int = 2) -> None:
        self.text = text
        ir = text.host
        code = cache.cached(("cuda on the host", str(level), ir), lambda: compile_ir(ir, level=level))
        self._code = load_object(code, [ENTRY], exported._resolve)

    @functools.cached_property
    def _function(self) -> "object":
        import ctypes

        kinds = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        return ctypes.CFUNCTYPE(None, *kinds)(self._code[ENTRY])

    def launch(self, count: int, order: int, codes: int, words: Sequence[int]) -> None:
        """Run so many instances. `order`, `codes`: addresses; `words`: address and strides of every array."""
        given = np.array(words, np.int64)
        self._function(count, order or None, codes, given.ctypes.data)  # type: ignore[operator]

    def run(self, inputs: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Codes and results of so many instances, of arrays whose first axis is that of the instances; what has none is
        shared."""
        text, words, held = self.text, list[int](), list[np.ndarray]()
        for x, slot, kind in zip(inputs, text.layout.inputs, text.inputs, strict=True):
            own = np.ascontiguousarray(x, kind)
            held.append(own)
            words += [own.ctypes.data, slot.size if own.size == count * slot.size and own.ndim else 0, 1]
        results = []
        for slot, kind in zip(text.layout.outputs, text.outputs, strict=True):
            results.append(np.zeros((count, slot.size), kind))
            words += [results[-1].ctypes.data, slot.size, 1]
        codes = np.full(count, -(2**31), np.int32)
        self.launch(count, 0, codes.ctypes.data, words)
        return codes, results
