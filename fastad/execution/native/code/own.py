"""Primitives with native code of their own; where a maker of it returns None, the primitive's kernel is called."""

from collections.abc import Callable
from typing import Any

from fastad.execution.native.code.function import Function
from fastad.execution.native.code.gathers import gather_code
from fastad.execution.native.code.operations import Module
from fastad.execution.native.code.products import product_code
from fastad.execution.native.planning.memory import Memory

OWN_CODE: dict[str, Callable[[Module, Memory, Any], Function | None]] = {
    "matmul": product_code, "gather": gather_code,
}  # fmt: skip
