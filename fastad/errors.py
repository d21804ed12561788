"""The errors that fastad raises. Each is a `FastadError` and also the built-in error that a NumPy user expects."""

import numpy as np


class FastadError(Exception):
    """Base class of all errors of fastad."""

    names_line = False  # whether the message names the line of the user's source that a failing row is of


class RecordingError(FastadError, TypeError):
    """A function does something that cannot be recorded. The message names the user's line and the fix."""

    at_plain_array = False  # whether it tried to write a recorded value into a plain array
    at_library = False  # whether it gave a recorded value to a function of another library


class ShapeError(FastadError, ValueError):
    """Arguments whose shapes, dtypes or structures do not match the function or each other."""


class MatrixShapeError(ShapeError, np.linalg.LinAlgError):
    """An array that is no matrix, or no square one, where NumPy raises LinAlgError."""


class TableError(FastadError, ValueError):
    """An op table (built, loaded or unpickled) that is not a valid program, or cannot be saved."""


class IndexRangeError(FastadError, IndexError):
    """An index that is out of bounds in a replay."""


class DerivativeError(FastadError, TypeError):
    """A derivative that does not exist or has no rule, e.g. `grad` of a function with an array as result."""


class NanError(FastadError, FloatingPointError):
    """A NaN found by `debug.nans`. The message names the row, the source line, and the value or derivative."""


class CheckError(FastadError, AssertionError):
    """A check of derivatives that failed. The message gives the measured error and the step used."""


class ScheduleError(FastadError, ValueError):
    """An invalid checkpoint schedule: a number out of range, or actions that break the rules."""


class CompileError(FastadError, RuntimeError):
    """Native code that could not be generated or linked."""


class DeviceError(FastadError, RuntimeError):
    """A GPU that is not there or does not do what is asked. The message says what is missing."""


class DeviceMemoryError(DeviceError, MemoryError):
    """Too little memory on a GPU. The message has the bytes needed and available."""


class ConvergenceError(FastadError, ArithmeticError):
    """An iteration that did not converge."""


class SingularMatrixError(FastadError, np.linalg.LinAlgError, ArithmeticError):
    """A linear system without a unique solution."""


class NotPositiveDefiniteError(FastadError, np.linalg.LinAlgError):
    """A matrix without a Cholesky factor."""


class StepSizeError(FastadError, ArithmeticError):
    """A step size that fell below what the time variable can resolve."""


__all__ = [name for name, kind in list(globals().items()) if isinstance(kind, type) and issubclass(kind, FastadError)]
