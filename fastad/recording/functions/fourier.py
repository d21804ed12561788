"""np.fft, scipy.fft and what scipy.signal makes of them, on recorded values: their results are complex, so the package
for these has them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.complex_operands import complex_package
from fastad.recording.functions.registry import implements

NAMES = (
    "fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn",
    "irfftn",
)  # fmt: skip


def _transform(name: str) -> Callable[..., Any]:
    return lambda *args, **options: complex_package().TRANSFORMS[name](*args, **options)


for _name in NAMES:
    implements(getattr(np.fft, _name))(_transform(_name))


def of_scipy(name: str) -> Callable[..., Any]:
    """A transform of scipy.fft."""
    return lambda *args, **options: complex_package().of_scipy(name)(*args, **options)


def hilbert(*args: Any, **options: Any) -> Any:
    """scipy.signal.hilbert"""
    return complex_package().hilbert(*args, **options)


def convolved(x: Any, y: Any) -> Any:
    """All of a convolution, by transforms."""
    return complex_package().convolved(x, y, range(x.ndim))
