"""Numbers that a program may have been written with, given what they are about."""

import math

import numpy as np

FEWEST = 4  # numbers from which a rule is read
SAMPLES = 64  # of them, on which a guess is tried first
_DIGITS = range(1, 18)
_FACTORS = (1.0, -1.0, 0.5, 2.0, -0.5, -2.0)
_MOST = 64  # of those that are known
_LARGEST, _NEAR = 10, 4


def guesses(about: float, within: float, known: np.ndarray | None = None) -> list[float]:
    """Numbers of this size: those among `known`, also halved or doubled; of few decimal digits; small integers over
    others; neighbours."""
    found = []
    if known is not None:
        for factor in _FACTORS:
            scaled = factor * known
            found += scaled[np.abs(scaled - about) <= within][:_MOST].tolist()
    found += [float(f"{about:.{digits}g}") for digits in _DIGITS]
    if about and abs(about) < 1 and math.isfinite(_LARGEST / about):
        found += [k / round(k / about) for k in range(1, _LARGEST + 1)]
    found += [about + k * float(np.spacing(about)) for k in range(-_NEAR, _NEAR + 1)]
    return [x for x in dict.fromkeys(found) if abs(x - about) <= within]
