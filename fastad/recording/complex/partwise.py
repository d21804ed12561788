"""Functions of NumPy that are linear with real coefficients: they do to each part what they do to a real array."""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import numpy as np

from fastad.recording.complex.calling import implements, implements_method
from fastad.recording.complex.parts import is_complex, split
from fastad.recording.complex.value import RecordedComplex, pair

_functions: Any


def _part(x: Any, k: int) -> Any:
    """A part of an operand, or of the operands in a list of them; None if it is 0 throughout."""
    if (type(x) is list or type(x) is tuple) and is_complex(x):
        found = [_part(y, k) for y in x]
        if all(part is None for part in found):
            return None
        return [_zeros(y) if part is None else part for part, y in zip(found, x, strict=True)]
    return split(x)[k]


def _zeros(like: Any) -> Any:
    if type(like) is list or type(like) is tuple:
        return [_zeros(y) for y in like]
    kind = getattr(split(like)[0], "dtype", None)
    return np.zeros(np.shape(like), kind if kind is not None and kind.kind == "f" else float)[()]


def by_parts(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """An implementation of a function by both parts of the arguments that have these names."""

    def apply(*args: Any, **kwargs: Any) -> Any:
        places, keys = _of_data(function, names, len(args))
        data = [args[i] for i in places] + [kwargs[k] for k in keys if k in kwargs]
        found: list[Any] = []
        for k in (0, 1):
            parts = [_part(x, k) for x in data]
            if all(part is None for part in parts):
                found.append(None)
                continue
            given = iter([_zeros(x) if part is None else part for part, x in zip(parts, data, strict=True)])
            own = [next(given) if i in places else x for i, x in enumerate(args)]
            found.append(function(*own, **{key: next(given) if key in keys else x for key, x in kwargs.items()}))
        return _joined(*found)

    return apply


def _of_data(function: Any, names: tuple[str, ...], count: int) -> tuple[list[int], list[str]]:
    """The places among positional arguments, and the keywords, that have these names; "" is the first argument, and "*"
    are all of them."""
    if names == ("*",):
        return list(range(count)), []
    if names == ("",):
        return [0][:count], []
    own = [x for x in signature(function).parameters.values() if x.kind <= Parameter.POSITIONAL_OR_KEYWORD]
    order = [x.name for x in own]
    return [i for i in range(count) if order[i] in names], list(names)


def _joined(re: Any, im: Any) -> Any:
    some = im if re is None else re
    if isinstance(some, list | tuple):
        rows = zip([None] * len(some) if re is None else re, [None] * len(some) if im is None else im, strict=True)
        return type(some)([_joined(*row) for row in rows])
    return RecordedComplex(re, im) if _shows(some) else pair(re, im)


def _shows(part: Any) -> bool:
    """Whether a part is a view, through which the argument can be written to."""
    return getattr(part, "base", None) is not None


_FIRST = (
    "reshape ravel transpose swapaxes moveaxis rollaxis squeeze expand_dims flip fliplr flipud rot90 matrix_transpose "
    "broadcast_to diagonal split array_split hsplit vsplit dsplit unstack copy sum mean cumsum cumulative_sum nansum "
    "roll tile repeat take take_along_axis tril triu diag diagflat trace resize pad gradient delete "
    "trapezoid diff round around nan_to_num concatenate concat stack vstack hstack dstack column_stack block nanmean"
)  # fmt: skip
for _name in _FIRST.split():
    if hasattr(np, _name):
        implements(getattr(np, _name))(by_parts(getattr(np, _name), ""))
_functions = (np.fft.fftshift, np.fft.ifftshift, np.lib.stride_tricks.sliding_window_view)
for _function in _functions:
    implements(_function)(by_parts(_function, ""))
_functions = (np.atleast_1d, np.atleast_2d, np.atleast_3d, np.broadcast_arrays)
for _function in _functions:
    implements(_function)(by_parts(_function, "*"))
implements(np.append)(by_parts(np.append, "arr", "values"))
implements(np.insert)(by_parts(np.insert, "arr", "values"))
implements(np.average)(by_parts(np.average, ""))
implements(np.compress)(by_parts(np.compress, "a"))
implements(np.interp)(lambda x, xp, fp, *rest: by_parts(lambda f: np.interp(x, xp, f, *rest), "")(fp))
implements_method("add.reduce")(by_parts(np.sum, ""))
implements_method("add.accumulate")(by_parts(np.cumsum, ""))


@implements(np.where)
def where(condition: Any, x: Any, y: Any) -> Any:
    """np.where"""
    (a, b), (c, d) = split(x), split(y)
    re, im = (_chosen(condition, *own) for own in ((a, c), (b, d)))
    return pair(re, im, (condition, x, y))


def _chosen(condition: Any, a: Any, c: Any) -> Any:
    return None if a is None and c is None else np.where(condition, 0.0 if a is None else a, 0.0 if c is None else c)


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """np.select"""
    found = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1], strict=True):
        found = where(condition, choice, found)
    return found


@implements(np.array, np.asarray, np.asanyarray, np.ascontiguousarray)
def array(a: Any, dtype: Any = None, *, copy: Any = True, ndmin: int = 0, **options: Any) -> Any:
    """np.array"""
    out = a if type(a) is RecordedComplex and not copy else pair(*split(a), sources=(a,))
    out = out if dtype is None else out.astype(dtype)
    return out.reshape((1,) * (ndmin - out.ndim) + out.shape) if ndmin > out.ndim else out


@implements(np.full)
def full(shape: Any, fill_value: Any, dtype: Any = None, **options: Any) -> Any:
    """np.full"""
    return np.broadcast_to(array(fill_value, dtype), shape).copy()


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """np.copyto"""
    dst[...] = src if where is True else np.where(where, src, dst)


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """np.fill_diagonal"""
    for own, part in zip((a.real, a.imag), split(val), strict=True):
        np.fill_diagonal(own, 0.0 if part is None else part, wrap)
