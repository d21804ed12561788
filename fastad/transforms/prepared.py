"""Prepared calls: buffers bound once, so that a call only runs the kernel."""

from typing import Any

import numpy as np

from fastad.errors import RecordingError
from fastad.execution.marshalling import Binding, Passed
from fastad.recording.source import at_line
from fastad.transforms.call import Call, described, holds_complex, make_call, unflatten
from fastad.transforms.numbers import Renumbered
from fastad.transforms.paths import Path, Paths, Recording, Undecided, follow


class Prepared:
    """A call with fixed buffers; made by `.prepare(*args)` of any transformation.

    `run()` (or calling the object) runs the kernel and returns the same output arrays every time. `inputs` are the
    arguments as writable arrays, in the structure of the call: fill them before running. If the inputs lead to a
    path that was not recorded yet, it is recorded, and the buffers are bound to it. Not for several threads at once.

    Arrays and numbers that the function refers to are read anew at every run.

    >>> import numpy as np, fastad as fad
    >>> run = fad.grad(lambda x: np.sum(x**2)).prepare(np.array([1.0, 2.0]))
    >>> run.inputs[0][:] = [3.0, 4.0]
    >>> run()
    array([6., 8.])
    """

    def __init__(self, function: Paths, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args, kwargs = function.normalise(args, kwargs)
        self._function = function
        self._call = make_call(args, kwargs)
        self._buffers = [np.array(x) for x in self._call.inputs]
        path = self._path_for(self._call)
        self._refuse_complex(self._call.tree)
        self._bindings: dict[int, tuple[Recording, Binding]] = {}
        binding = self._binding_of(path)
        self._adopt(path, binding)
        self._bind(path, binding)
        leaves = iter(self._buffers)
        full = [next(leaves) if d else x for x, d in zip(self._call.leaves, self._call.dynamic, strict=True)]
        self.inputs, self.keyword_inputs = unflatten(self._call.tree, full)

    def __repr__(self) -> str:
        return f"<fastad prepared call of {self._function!r}, inputs {described(self.inputs)}>"

    def __call__(self, *args: Any) -> Any:
        """Run the kernel; returns the output buffers."""
        if args:
            raise TypeError("a prepared call takes no arguments: write to run.inputs[0][...], then call run()")
        if self._watches and not (self._path.outside.unchanged() and self._path.is_current()):
            self._renew()
        for view, value in self._ins:
            view[...] = value
        if self._run():
            self._slow()
        for typed, raw in self._outs:
            typed[...] = raw
        return self._result

    run = __call__

    def _adopt(self, path: Path, binding: Binding) -> None:
        """Let the kernel's own input vector be the buffers where it holds float64 values inline."""
        for source, view in zip(path.recording.program.sources, binding.views_in, strict=False):
            if source >= 0 and view is not None and self._buffers[source].dtype == np.float64:
                view[...] = self._buffers[source]
                self._buffers[source] = view

    def _current(self) -> Call:
        """The call with the inputs as they are in the buffers now."""
        return self._call.replaced([b[()] for b in self._buffers])

    def _renew(self) -> None:
        """What the function takes from outside has changed: go over to the path for it."""
        path = self._path_for(self._current())
        self._bind(path, self._binding_of(path))

    def _slow(self) -> None:
        """The kernel stopped: raise its error, or go over to the path that these inputs take."""
        call = self._current()
        path = self._path_for(call)  # not the present one: paths are found from the first one on
        try:
            follow(self._function, call, path, self._run_path)
        except Renumbered:
            self._slow()
        except Undecided as undecided:
            raise RecordingError(
                f"the comparison at {undecided.place} depends on the last bits of its operands, and kernels may round "
                "differently from NumPy, or it differs between the lanes of a vmap; use np.where there"
            ) from None

    def _path_for(self, call: Call) -> Path:
        while True:
            try:
                return self._function.path_for(call)
            except Renumbered:  # happens once for every number at most
                continue

    def _run_path(self, path: Path) -> None:
        self._bind(path, self._binding_of(path))
        for view, value in self._ins:
            view[...] = value
        self._binding.run()

    def _binding_of(self, path: Path) -> Binding:
        """The buffers for a path, bound once."""
        recording = path.recording  # other arrays outside make another path of it
        known = self._bindings.get(id(recording))
        if known is None:
            known = self._bindings[id(recording)] = (recording, path.compiled.binding())
        return known[1]

    def _refuse_complex(self, structure: Any) -> None:
        """Buffers are real: a complex array of the caller's would be a copy of two of them."""
        if holds_complex(structure):
            raise RecordingError(
                f"a prepared call has complex arguments or results{at_line()}, but its buffers are real; pass and "
                "return z.real and z.imag"
            )

    def _bind(self, path: Path, binding: Binding) -> None:
        self._refuse_complex(path.recording.program.out_tree)
        self._path, self._binding = path, binding
        self._watches = path.recording.elements.needed or path.outside.has_values
        self._run = binding.invoke
        self._held: list[np.ndarray] = []
        self._ins: list[tuple[np.ndarray, np.ndarray]] = []
        program = path.recording.program
        values = [*program.gather(self._buffers), *path.captured]
        form = binding.form
        for value, view, passed in zip(values, binding.views_in, form.inputs, strict=True):
            if view is not value:
                self._bind_input(np.asarray(value), view, passed)
        outputs = [self._bind_output(v, passed) for v, passed in zip(binding.views_out, form.outputs, strict=True)]
        self._outs = [(typed, raw) for typed, raw in outputs if typed is not raw]
        self._result = program.result(form.choose([typed for typed, _ in outputs]))

    def _bind_input(self, value: np.ndarray, view: np.ndarray | None, passed: Passed) -> None:
        """By reference where the kernel takes an address and the data is as it wants it; else copied every run."""
        if view is None:
            direct = value.dtype == np.float64 and value.flags.c_contiguous
            view = value if direct else np.empty(value.shape)
            self._binding.addresses_in[passed.offset] = view.ctypes.data
            self._held.append(view)
            if direct:
                return
        self._ins.append((view, value))

    def _bind_output(self, view: np.ndarray | None, passed: Passed) -> tuple[np.ndarray, np.ndarray]:
        """The array of the caller's, and the one that the kernel writes."""
        if view is None:
            view = np.empty(passed.shape)
            self._binding.addresses_out[passed.offset] = view.ctypes.data
            self._held.append(view)
        return (view, view) if passed.dtype is None else (np.empty(passed.shape, passed.dtype), view)
