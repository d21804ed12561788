"""Reads and writes at indices of axes, as rows that read and write blocks of the array that owns the memory.

Plans do writes in place, so that `y[:, idx] = v` costs what it writes, as `y[idx] = v` does, and so do writes into
slices and transposes of y.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastad.primitives.row import primitive
from fastad.recording.geometry import copied, reshape
from fastad.recording.operands import to_ref
from fastad.recording.recorded import Recorded, own_frame
from fastad.recording.recorder import Recorder


class Blocks(NamedTuple):
    """The memory of an array as blocks of `size` elements: by how many of them one step along each of the indexed axes
    leads on, and which ones the other axes go through where all indices are 0."""

    size: int
    steps: tuple[int, ...]
    others: np.ndarray


def blocks_of(view: Recorded, count: int) -> Blocks:
    """The largest blocks that writes at indices of the first `count` axes of a view consist of."""
    offset, shape, strides = view.frame()
    axes = [(n, s) for n, s in zip(shape[count:], strides[count:], strict=True) if n > 1]
    run = 1
    while axes and axes[-1][1] == run:
        run *= axes.pop()[0]
    indexed = [s if n > 1 else 0 for n, s in zip(shape[:count], strides, strict=False)]
    size = math.gcd(run, offset, *indexed, *(s for _, s in axes))
    others = np.full(1, offset // size, np.int64)
    for n, s in [*axes, (run // size, size)]:
        others = np.add.outer(others, s // size * np.arange(n, dtype=np.int64)).reshape(-1)
    return Blocks(size, tuple(s // size for s in indexed), others)


def block_numbers(recorder: Recorder, blocks: Blocks, places: Any) -> Any:
    """The blocks at places, which are sums of indices and steps: for each place those of all other axes."""
    others = blocks.others
    if not isinstance(places, Recorded):
        return np.add.outer(places, others)
    if others.size > 1:
        return reshape(places, (-1, 1)) + Recorded(recorder, recorder.const(others))
    return places + int(others[0]) if others[0] else places


def write_blocks(name: str, view: Recorded, blocks: Blocks, places: Any, values: Recorded) -> None:
    """A row of this name ("put_blocks", "add_blocks") that writes into the memory of a view. The values have the axes
    of the places first, then those of the view that are not indexed."""
    root, recorder = view.root, view.recorder
    numbers = block_numbers(recorder, blocks, places)
    index = to_ref(recorder, numbers) if isinstance(numbers, Recorded) else recorder.const(numbers)
    statics = (blocks.size, blocks.others.size)[: len(primitive(name).statics)]
    ref = recorder.emit(name, (root.ref, copied(values).ref, index), statics, root.shape)
    view.write(own_frame(root.shape), ref)
