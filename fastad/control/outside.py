"""Loops called outside of any recording: each becomes a recorded function."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from fastad.transforms.base import Transformed
from fastad.transforms.derivatives import Jit


def recorded_loop(function: Callable[..., Any], run: Callable[..., Any]) -> Transformed:
    """`run` as a recorded function, which finds what was recorded for an earlier loop with the same code and captured
    values. Messages name the user's function and its line."""
    return Jit(update_wrapper(run, function, updated=()))
