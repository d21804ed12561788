"""Iterations as constants of derivatives: what they depend on is cut off, so no derivative of their steps is made."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastad.recording.elementwise import detached
from fastad.recording.operands import recorder_of
from fastad.recording.recorded import Recorded
from fastad.transforms.base import program_of
from fastad.transforms.call import make_call
from fastad.transforms.program import replay


def undifferentiated(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), recorded; its derivative is 0, also by the values that it refers to."""
    call = make_call(args, {})
    program = program_of(function, call.concrete())
    if not any(isinstance(x, Recorded) for x in (*call.inputs, *program.lifted)):
        return function(*args)
    program = replace(program, lifted=tuple(map(detached, program.lifted)))
    inputs = [detached(x) for x in call.inputs]
    return replay(program, recorder_of([*inputs, *program.lifted]), inputs)


__all__ = ["undifferentiated"]
