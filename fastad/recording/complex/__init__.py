"""Complex numbers as intermediate values: a complex recorded value is a pair of real ones, its parts.

Only real rows are recorded, so derivatives of every order, batches, loops and native code see nothing new. Recording
imports this package when the first complex number turns up (see `fastad.recording.complex_operands`).
"""

from fastad.recording.complex import methods
from fastad.recording.complex.calling import call_function, call_operator, call_ufunc
from fastad.recording.complex.fourier import TRANSFORMS, convolved, hilbert, of_scipy
from fastad.recording.complex.linalg import by_real_matrix
from fastad.recording.complex.parts import complex_constant, to_complex
from fastad.recording.complex.value import RecordedComplex, of_parts

_ = methods
__all__ = [
    "TRANSFORMS", "RecordedComplex", "by_real_matrix", "call_function", "call_operator", "call_ufunc",
    "complex_constant", "convolved", "hilbert", "of_parts", "of_scipy", "to_complex",
]  # fmt: skip
