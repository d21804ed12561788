"""Least-squares fits of numpy.polynomial to recorded values, which NumPy would make plain arrays of."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.functions.registry import lift
from fastad.recording.functions.scipy_functions import register
from fastad.recording.operands import is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.standins import standin_for, stands_in_for_method, when_imported

_FITS = {
    "polynomial": "poly", "chebyshev": "cheb", "legendre": "leg", "hermite": "herm", "hermite_e": "herme",
    "laguerre": "lag",
}  # fmt: skip


def _fit(name: str, vander: Callable[..., Any]) -> Callable[..., Any]:
    def fit(x: Any, y: Any, deg: Any, rcond: Any = None, full: bool = False, w: Any = None) -> Any:
        if full or np.ndim(deg):
            raise recording_error(
                f"{name} with full=True or a list of degrees is not supported on recorded values",
                "Give one degree, or use np.linalg.lstsq.",
            )
        if is_recorded(x):
            raise recording_error(f"{name} of recorded points is not supported", "Use np.linalg.lstsq, or np.polyfit.")
        points = np.asarray(x, float)
        left, right, weights = lift(vander(points, deg), y, 1.0 if w is None else w)
        if w is not None:
            left, right = left * weights[:, None], (right.T * weights).T
        scale = np.sqrt(np.sum(left * left, axis=0))
        rcond = points.size * np.finfo(float).eps if rcond is None else rcond
        return (np.linalg.lstsq(left / scale, right, rcond)[0].T / scale).T

    return fit


def _register(home: Any, prefix: str) -> None:
    """Have a module's function, and its class, fit recorded values."""
    name = f"{prefix}fit"
    original = getattr(home, name)
    register(home.__name__, {name: _fit(f"{home.__name__}.{name}", getattr(home, f"{prefix}vander"))})
    kind = next(kind for kind in vars(home).values() if getattr(kind, "_fit", None) is original)
    stands_in_for_method(kind, "_fit", staticmethod(standin_for(original)))


for _module, _prefix in _FITS.items():
    _home = getattr(np.polynomial, _module)
    when_imported(_home.__name__, functools.partial(_register, _home, _prefix))
