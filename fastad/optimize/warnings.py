"""Warnings about derivatives that are only one-sided."""

import warnings
from typing import Any

import numpy as np

from fastad.recording.source import user_line


def warn_of_kinks(name: str, margin: Any, least: float) -> None:
    """Say that strict complementarity fails, if it does."""
    if not np.any(margin <= least):  # NaN where nothing was found
        return
    line = user_line()
    text = (
        f"{name}: strict complementarity fails (a limit is reached, and its multiplier is at most {least:.0e}): the "
        "solution has a kink in the parameters here, and its derivative is that of the active set in the result"
    )
    warnings.warn_explicit(text, RuntimeWarning, line.file, line.number)


__all__ = ["warn_of_kinks"]
