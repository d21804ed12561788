"""Running kernels on NumPy arrays, and random programs, for the tests of native code."""

import numpy as np

from fastad.execution.kernel import SIGNATURE, aligned
from fastad.execution.native import NativeKernel
from fastad.primitives.regions import region
from fastad.tables.builder import Builder


class Bound:
    """A kernel with buffers of its own, which are filled with NaN before every run."""

    def __init__(self, kernel, inputs):
        self.kernel, self.keep = kernel, []
        layout = kernel.layout
        self.inputs, self.out, self.work = (
            aligned(max(n, 1)) for n in (layout.in_size, layout.out_size, kernel.work_size)
        )
        for slot, x in zip(layout.inputs, inputs, strict=True):
            x = np.array(x, np.float64).reshape(-1)
            self._put(self.inputs, slot, x)
            if not slot.by_reference:
                self.inputs[slot.offset : slot.offset + slot.size] = x
        self.out[:] = self.work[:] = np.nan
        self.results = []
        for slot in layout.outputs:
            own = np.full(slot.size, np.nan) if slot.by_reference else self.out[slot.offset : slot.offset + slot.size]
            self._put(self.out, slot, own)
            self.results.append(own)
        self.call = SIGNATURE(kernel.address)

    def _put(self, vector, slot, x):
        if slot.by_reference:
            self.keep.append(x)
            vector[slot.offset : slot.offset + 1].view(np.int64)[0] = x.ctypes.data

    def run(self):
        return self.call(self.kernel.context, self.inputs.ctypes.data, self.out.ctypes.data, self.work.ctypes.data)


def run(table, inputs, **options):
    """(return code, flat results) of a table's native kernel."""
    bound = Bound(NativeKernel(table, **options), inputs)
    code = bound.run()
    return code, bound.results


# ── random programs ───────────────────────────────────────────────────────────────────────────────────────────
SMOOTH = ("sin", "cos", "tanh", "expit", "arctan", "erf", "log_expit")
PLAIN = ("add", "subtract", "multiply", "maximum", "minimum", "hypot", "logaddexp", "less", "equal")
ROWS, COLUMNS = (1, 3, 5, 16, 33), (1, 2, 7, 8, 25)


class Programs:
    """Draws tables over values of related shapes: (m, k), (m, 1), (k,), single numbers."""

    def __init__(self, rng, steps=12):
        self.rng, self.b = rng, Builder()
        self.m, self.k = int(rng.choice(ROWS)), int(rng.choice(COLUMNS))
        self.shapes = [(self.m, self.k), (self.m, 1), (1, self.k), ()]
        self.values = [self.b.input(shape) for shape in self.shapes]
        for _ in range(steps):
            self.values.append(self._bounded(self._draw()))

    def table(self, outputs=3):
        kept = {int(i) for i in self.rng.choice(len(self.values), outputs)}
        return self.b.table([self.values[i] for i in sorted(kept)] + [self.values[-1]])

    def inputs(self):
        return [self.rng.uniform(-2, 2, shape) for shape in self.shapes]

    def _pick(self, shape=None):
        fitting = [x for x in self.values if shape is None or self.b.shape(x) == shape]
        return fitting[int(self.rng.integers(len(fitting)))] if fitting else None

    def _draw(self):
        kinds = (self._unary, self._binary, self._binary, self._reduce, self._slice, self._transpose, self._product,
                 self._assemble, self._gather, self._where)  # fmt: skip
        return kinds[int(self.rng.integers(len(kinds)))]()

    def _bounded(self, x):
        """Values stay in range however often they are multiplied or summed."""
        return self.b.emit("tanh", (x,)) if self.rng.random() < 0.3 else x

    def _unary(self):
        return self.b.emit(str(self.rng.choice(SMOOTH)), (self._pick(),))

    def _aligned(self, *operands):
        shape = np.broadcast_shapes(*(self.b.shape(x) for x in operands))
        return [x if self.b.size(x) == 1 else self.b.broadcast(x, shape) for x in operands], shape

    def _compatible(self):
        x = self._pick()
        while True:
            y = self._pick()
            try:
                np.broadcast_shapes(self.b.shape(x), self.b.shape(y))
                return x, y
            except ValueError:
                continue

    def _binary(self):
        operands, shape = self._aligned(*self._compatible())
        return self.b.emit(str(self.rng.choice(PLAIN)), operands, shape=shape)

    def _where(self):
        (x, y), shape = self._aligned(*self._compatible())
        return self.b.emit(
            "where", (self.b.emit("less", (x, y), shape=shape), x, self.b.emit("sin", (y,))), shape=shape
        )

    def _reduce(self):
        x = self._pick()
        shape = self.b.shape(x)
        if not shape:
            return x
        axis = int(self.rng.integers(len(shape)))
        s = (int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :])))
        kept = (*shape[:axis], 1, *shape[axis + 1 :])
        name = str(self.rng.choice(["sum", "sum", "amax", "amin"]))
        if self.rng.random() < 0.4:
            return self.b.emit(name, (x,), (1, self.b.size(x), 1), ())
        return self.b.emit(name, (x,), s, kept)

    def _slice(self):
        """A shifted run of a row, back in the first shape by repetition or addition to zeros."""
        x = self._pick((self.m, self.k))
        n = self.b.size(x)
        if n < 3:
            return x
        low = self.b.emit("strided", (x,), (0, n - 1, 1), (n - 1,))
        high = self.b.emit("strided", (x,), (1, n - 1, 1), (n - 1,))
        difference = self.b.emit("subtract", (high, low))
        at = int(self.rng.integers(2))
        return self.b.assemble([difference], [(at, n - 1, 1)], (self.m, self.k))

    def _transpose(self):
        x = self._pick((self.m, self.k))
        turned = self.b.emit("strided", (x,), region(0, (self.k, self.m), (1, self.k)), (self.k, self.m))
        changed = self.b.emit("sin", (turned,))
        if self.rng.random() < 0.5:
            return self.b.emit("strided", (changed,), region(0, (self.m, self.k), (1, self.m)), (self.m, self.k))
        backwards = region(self.m * self.k - 1, (self.m, self.k), (-self.k, -1))
        return self.b.emit("strided", (changed,), backwards, (self.m, self.k))

    def _product(self):
        x, y = self._pick((self.m, self.k)), self._pick((self.m, self.k))
        square = self.b.emit("matmul", (x, y), (1, self.k, self.m, self.k, 1, 0, 1, 1), (self.k, self.k))
        square = self.b.emit("tanh", (square,))
        return self.b.emit("matmul", (x, square), (1, self.m, self.k, self.k, 0, 0, 1, 1), (self.m, self.k))

    def _assemble(self):
        x, y = self._pick((self.m, 1)), self._pick((1, self.k))
        places = [(0, self.m, self.k), (0, self.k, 1)]
        if self.rng.random() < 0.5:
            return self.b.assemble(
                [self._pick((self.m, self.k)), y], [(0, self.m * self.k, 1), places[1]], (self.m, self.k)
            )
        return self.b.assemble([x], [region(0, (self.m,), (self.k,))], (self.m, self.k))

    def _gather(self):
        x = self._pick((self.m, self.k))
        index = self.b.const(self.rng.integers(0, self.m, self.m))
        picked = self.b.emit("gather", (x, index), (self.k,), (self.m, self.k))
        if self.rng.random() < 0.5:
            return picked
        return self.b.emit("scatter_add", (picked, index), (self.k,), (self.m, self.k))


__all__ = ["Bound", "Programs", "run"]
