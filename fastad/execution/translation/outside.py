"""Stands for the modules of `fastad.kernels` by which kernels reach beyond themselves, where these are translated:
`blas` and `lapack_calls` (through the table of `scipy_blas`), `superlu_call`, `notices`."""

from typing import Any

from fastad.execution.translation.kinds import DOUBLE, INTEGER, NOTHING, Value
from fastad.execution.translation.memory import Intrinsic, call_kernel
from fastad.kernels import interrupt_state, notice_count, scipy_blas, superlu


def _by_address(body: Any, letter: str, value: Value) -> str:
    """An argument as Fortran takes it, integers in 64 bits; the letters and the reason stand in `scipy_blas`."""
    if letter == "p":
        return str(body.define(f"inttoptr i64 {body.integer(value)} to ptr"))
    if letter == "d":
        kind, operand = DOUBLE, body.number(value)
    elif letter == "t":
        kind, operand = "i8", body.define(f"select i1 {body.flag(value)}, i8 {ord('T')}, i8 {ord('N')}")
    elif letter == "i":
        kind, operand = "i64", body.integer(value)
    else:
        kind, operand = "i8", body.define(f"trunc i64 {body.integer(value)} to i8")
    (place,) = body.place(kind).operands
    body.line(f"store {kind} {operand}, ptr {place}")
    return str(place)


def _function(name: str) -> Intrinsic:
    letters, which = scipy_blas.FUNCTIONS[name][1], scipy_blas.NAMES.index(name)

    def write(body: Any, *given: Value) -> Value:
        table = f"[{len(scipy_blas.NAMES)} x i64]"
        body.module.declare(f"@{scipy_blas.TABLE} = external global {table}")
        arguments = ", ".join(f"ptr {_by_address(body, *pair)}" for pair in zip(letters, given, strict=True))
        where = body.define(f"getelementptr {table}, ptr @{scipy_blas.TABLE}, i64 0, i64 {which}")
        target = body.define(f"inttoptr i64 {body.define(f'load i64, ptr {where}')} to ptr")
        body.line(f"call void {target}({arguments})")
        return Value(NOTHING, ())

    return Intrinsic(write)


dgemm, dgemv = _function("dgemm"), _function("dgemv")
dgetrf, dpotrf, dgeqrf, dorgqr = (_function(name) for name in ("dgetrf", "dpotrf", "dgeqrf", "dorgqr"))
dsyevd, dgesdd, dgbtrf, dgbtrs = (_function(name) for name in ("dsyevd", "dgesdd", "dgbtrf", "dgbtrs"))


def _superlu_solve(body: Any, *given: Value) -> Value:
    body.module.declare(f"@{superlu.TABLE} = external global i64")
    function = Value(INTEGER, (body.define(f"load i64, ptr @{superlu.TABLE}"),))
    return call_kernel.write(body, function, *given)


def _notice(body: Any) -> Value:
    body.module.declare(f"@{notice_count.SYMBOL} = external global i64")
    count = body.define(f"load i64, ptr @{notice_count.SYMBOL}")
    body.line(f"store i64 {body.define(f'add i64 {count}, 1')}, ptr @{notice_count.SYMBOL}")
    return Value(INTEGER, ("1",))


def _interrupts(body: Any) -> Value:
    body.module.declare(f"@{interrupt_state.SYMBOL} = external global i64")
    return Value(INTEGER, (body.define(f"ptrtoint ptr @{interrupt_state.SYMBOL} to i64"),))


superlu_solve, notice, interrupts = Intrinsic(_superlu_solve), Intrinsic(_notice), Intrinsic(_interrupts)
