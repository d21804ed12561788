"""The errors that fastad raises: all are `FastadError`, and each also is the built-in error a NumPy user expects."""

import numpy as np


class FastadError(Exception):
    """Base of every error raised by fastad on purpose."""


class RecordingError(FastadError, TypeError):
    """A function does something that cannot be recorded; the message names the user's line and the fix."""


class ShapeError(FastadError, ValueError):
    """Arguments whose shapes, dtypes or structure do not fit the function or each other."""


class TableError(FastadError, ValueError):
    """An op table (built, loaded or unpickled) that is not a valid program."""


class IndexRangeError(FastadError, IndexError):
    """A recorded index out of bounds during a replay."""


class DerivativeError(FastadError, TypeError):
    """A derivative that does not exist or was not given, e.g. of a non-scalar output by `grad`."""


class NanError(FastadError, FloatingPointError):
    """A NaN found by `debug.nans`, with the row, the source line, and the sweep it arose in."""


class CheckError(FastadError, AssertionError):
    """A derivative check that failed; the message carries the measured error and the step used."""


class ScheduleError(FastadError, ValueError):
    """A checkpoint schedule that cannot be: numbers out of range, or actions that break the rules."""


class CompileError(FastadError, RuntimeError):
    """Native code could not be generated or linked."""


class ConvergenceError(FastadError, ArithmeticError):
    """An iteration that did not converge."""


class SingularMatrixError(FastadError, np.linalg.LinAlgError, ArithmeticError):
    """A linear system without a unique solution."""


class NotPositiveDefiniteError(FastadError, np.linalg.LinAlgError):
    """A matrix without a Cholesky factor."""


class StepSizeError(FastadError, ArithmeticError):
    """A step size that fell below what the time variable can resolve."""


__all__ = [name for name, kind in list(globals().items()) if isinstance(kind, type) and issubclass(kind, FastadError)]
