"""map_batches and vmap(executor=): one function over many items, by the workers of an executor."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.execution.composites.callbacks import progress_bars
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line
from fastad.transforms.base import Transformed
from fastad.transforms.call import Call, flatten, make_call, unflatten
from fastad.transforms.derivatives import Jit
from fastad.transforms.mapping import Vmap, broadcast_axes
from fastad.transforms.numbers import Renumbered
from fastad.transforms.shipping import FAILED, UNRECORDED, Along, Item, Items, Listed, Outcome, run_items, ship

_TASKS_A_WORKER = 4  # so that one slow task does not hold up the end
_RECORDED_AT_ONCE = 16  # items of unrecorded paths that are run here before the program is sent again


def map_batches(
    f: Callable[..., Any], data: Any, executor: Any = None, *, chunksize: int | None = None,
    return_exceptions: bool = False, progress: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """f(item) for every item of data, by the workers of an executor.

    Parameters
    ----------
    f : a function of one argument, or a transformed one, such as `fad.grad(loss)`. An item, of any structure, may be a
        batch of arrays itself; items may differ in shape and in the branches they take.
    data : an array or a dict of arrays, whose items lie along the first axis; or any iterable of items.
    executor : of concurrent.futures, a `dask.distributed.Client`, an `mpi4py.futures.MPIPoolExecutor`; None runs here.
    chunksize : items sent at once; by default four tasks for each worker.
    return_exceptions : whether an item's error takes its place among the results instead of being raised.
    progress : show a progress bar (needs tqdm).
    options : as of `fad.jit`.

    Returns
    -------
    The results in the order of the items: arrays with a first axis over the items if data is an array or a dict of
    arrays, else a list.

    Recorded programs are sent to the workers, not pickled code; their data are bound as they are at the call. An error
    is raised as it was, with a note that says which item it was. The items of a lost worker are done again (Dask does
    so by itself, a process pool is replaced once).

    >>> import numpy as np, fastad as fad
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     fad.map_batches(fad.grad(lambda x: np.sum(x**3)), np.arange(6.0).reshape(3, 2), pool).tolist()
    [[0.0, 3.0], [12.0, 27.0], [48.0, 75.0]]
    """
    if executor is not None:
        _workers().check_executor(executor, "map_batches")
    function = f if isinstance(f, Transformed) else Jit(f, **options)
    stacked = _has_axis(data) and not return_exceptions
    items = _items(data)
    outcomes = _outcomes(function, items, executor, chunksize, progress)
    if not return_exceptions:
        _raise_first(outcomes, lambda k: f"item {k} of {len(items)}", function)
    results = [outcome.value for outcome in outcomes]
    return _stacked(results) if stacked and results else results


def _workers() -> Any:
    """The module; it imports concurrent.futures, which most programs do without."""
    from fastad.transforms import workers

    return workers


class SpreadVmap(Vmap):
    """`vmap` by the workers of an executor: each computes a part of the lanes. Inside of recordings it is `vmap`."""

    def __init__(
        self, function: Callable[..., Any], in_axes: Any, out_axes: Any, executor: Any, **options: Any
    ) -> None:
        super().__init__(function, in_axes, out_axes, **options)
        _workers().check_executor(executor, "vmap")
        self._executor = executor
        self._part = Vmap(function, in_axes, out_axes, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_recorder() is not None:
            return super().__call__(*args, **kwargs)
        call = make_call(*self.normalise(args, kwargs))
        axes = self._input_axes(call)
        lanes = self._lanes(call, axes)
        parts = min(lanes, _TASKS_A_WORKER * _workers().number_of_workers(self._executor))
        if parts < 2:
            return super().__call__(*args, **kwargs)
        bounds = [lanes * k // parts for k in range(parts + 1)]
        items = Listed([_lanes_of(call, axes, slice(*ends)) for ends in pairwise(bounds)])
        outcomes = _outcomes(self._part, items, self._executor, 1, False)
        _raise_first(outcomes, lambda k: f"lanes {bounds[k]} to {bounds[k + 1] - 1} of {lanes}", self)
        return self._joined([outcome.value for outcome in outcomes])

    def _joined(self, results: list[Any]) -> Any:
        leaves = [flatten(result)[0] for result in results]
        axes = broadcast_axes(self.out_axes, results[0])
        joined = [
            pieces[0] if axis is None else np.concatenate(pieces, axis)
            for pieces, axis in zip(zip(*leaves, strict=True), axes, strict=True)
        ]
        return unflatten(flatten(results[0])[1], joined)


def _lanes_of(call: Call, axes: Sequence[int | None], lanes: slice) -> Item:
    """The arguments of some of the lanes."""
    chosen = [
        x if axis is None else np.asarray(x)[(slice(None),) * axis + (lanes,)]
        for x, axis in zip(call.inputs, axes, strict=True)
    ]
    args, kwargs = call.rebuild(chosen)
    return args, kwargs


# ---- items --------------------------------------------------------------------------------------------------------


def _has_axis(data: Any) -> bool:
    """Whether the items lie along the first axis of arrays."""
    return isinstance(data, np.ndarray) or (isinstance(data, dict) and bool(data))


def _items(data: Any) -> Items:
    if not _has_axis(data):
        try:
            return Listed([((item,), {}) for item in data])
        except TypeError:
            raise TypeError(
                f"map_batches: data is of type {type(data).__name__}{at_line()}; give an array or a dict of arrays, "
                "whose items lie along the first axis, or an iterable of items"
            ) from None
    leaves, tree = flatten(data)
    lengths = {np.shape(leaf)[:1] for leaf in leaves}
    if len(lengths) != 1 or lengths == {()}:
        raise ShapeError(
            f"map_batches: the arrays of data have first axes of lengths {sorted(lengths)}{at_line()}; every array "
            "must have one, and they must be equal"
        )
    return Along([np.asarray(leaf) for leaf in leaves], tree)


def _stacked(results: list[Any]) -> Any:
    """One result with a first axis over the items."""
    tree = flatten(results[0])[1]
    columns = zip(*(flatten(result)[0] for result in results), strict=True)
    try:
        return unflatten(tree, [np.stack(column) for column in columns])
    except ValueError:
        raise ShapeError(
            f"map_batches: the results of the items differ in shape{at_line()}; give data as a list to get a list"
        ) from None


# ---- running ------------------------------------------------------------------------------------------------------


def _outcomes(
    function: Transformed, items: Items, executor: Any, chunksize: int | None, progress: bool
) -> list[Outcome]:
    """What became of each item. Items of paths that were not recorded yet are run here, a few at a time."""
    found: dict[int, Outcome] = {}
    left = list(range(len(items)))
    with _bar(len(items), progress) as moved:
        if executor is not None:
            _record_structures(function, items)
        while left:
            if executor is not None:
                left = _run_there(function, items, left, executor, chunksize, found, moved)
            here = left if executor is None else left[:_RECORDED_AT_ONCE]
            for k in here:
                (found[k],) = run_items(function, items.part([k]))
                moved(1)
            left = left[len(here) :]
    return [found[k] for k in range(len(items))]


def _run_there(
    function: Transformed, items: Items, numbers: Sequence[int], executor: Any, chunksize: int | None,
    found: dict[int, Outcome], moved: Any,
) -> list[int]:  # fmt: skip
    """Note what became of the items with these numbers; returns those of unrecorded paths."""
    size = chunksize or -(-len(numbers) // (_TASKS_A_WORKER * _workers().number_of_workers(executor)))
    chunks = [numbers[k : k + size] for k in range(0, len(numbers), size)]
    sent = function if _workers().shares_memory(executor) else ship(function)
    for which, outcomes in _workers().run_all(executor, run_items, [(sent, items.part(chunk)) for chunk in chunks]):
        found.update(zip(chunks[which], outcomes, strict=True))
        moved(sum(outcome.status != UNRECORDED for outcome in outcomes))
    return [k for k in numbers if found[k].status == UNRECORDED]


def _record_structures(function: Transformed, items: Items) -> None:
    """Record a path for every structure of the arguments: workers have no source to record."""
    known = set()
    for k in range(min(len(items), 1) if isinstance(items, Along) else len(items)):
        args, kwargs = items.item(k)
        call = make_call(*function.normalise(args, kwargs))
        while call.key not in known:
            try:
                function.path_for(function.with_inputs(call))
                known.add(call.key)
            except Renumbered:  # once for every number that has become an input
                continue


def _raise_first(outcomes: Sequence[Outcome], name: Callable[[int], str], function: Transformed) -> None:
    for k, outcome in enumerate(outcomes):
        if outcome.status == FAILED:
            outcome.value.add_note(f"this is the error of {name(k)}, given to {function.__name__}{at_line()}")
            raise outcome.value


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[int], Any]]:
    if not shown:
        yield lambda n: None
        return
    with progress_bars()(total=total, unit="item") as bar:
        yield bar.update
