"""Ctrl-C while a kernel runs.

Python only notes a signal when it arrives, and raises KeyboardInterrupt between two of its own instructions: a loop in
a kernel would go on to its end. While the main thread runs a kernel with loops, a handler of our own counts the signal
and passes it on to Python's. Loops look at the count before every step (see `fastad.kernels.reversing`) and end with an
error code. Loops that other threads run at that time end too.
"""

import signal
import threading
from collections.abc import Callable

from fastad.execution.machine import cache
from fastad.execution.machine.objects import LoadedCode, compile_ir, load_object
from fastad.execution.machine.symbols import address
from fastad.execution.pending import keep_error, pending_error
from fastad.kernels import interrupt_state
from fastad.kernels.interrupt_state import CODE, HANDLED, MAIN, NEXT, NOTED, REQUESTED, SIZE, STEPS, STOPPED, SYMBOL
from fastad.once import once

_state = interrupt_state.state


def _place(name: str, index: int) -> str:
    return f"  %{name} = getelementptr [{SIZE} x i64], ptr @{SYMBOL}, i64 0, i64 {index}\n"


# struct sigaction begins with the handler and has at most 152 bytes, in glibc, musl and Apple's library alike; the
# rest, flags and masks, is that of the handler that stood before, so that system calls are interrupted as before.
_TEXT = f"""
@{SYMBOL} = external global [{SIZE} x i64]
declare i64 @pthread_self()
declare i32 @sigaction(i32, ptr, ptr)
declare i64 @fastad_invoke(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @fastad_on_signal(i32 %number, ptr %info, ptr %context) {{
{_place("requested", REQUESTED)}{_place("next", NEXT)}
  %count = load volatile i64, ptr %requested
  %more = add i64 %count, 1
  store volatile i64 %more, ptr %requested
  %before = load volatile ptr, ptr %next
  call void %before(i32 %number, ptr %info, ptr %context)
  ret void
}}

define i64 @fastad_watch(ptr %packet) {{
  %old = alloca [256 x i8], align 16
  %new = alloca [256 x i8], align 16
{_place("requested", REQUESTED)}{_place("handled", HANDLED)}{_place("next", NEXT)}{_place("main", MAIN)}\
{_place("stopped", STOPPED)}{_place("last", CODE)}{_place("noted", NOTED)}
  %me = call i64 @pthread_self()
  %it = load i64, ptr %main
  %is = icmp eq i64 %me, %it
  br i1 %is, label %look, label %plain
look:
  %failed = call i32 @sigaction(i32 {int(signal.SIGINT)}, ptr null, ptr %old)
  %handler = load i64, ptr %old
  %none = icmp ult i64 %handler, 2
  %ours = icmp eq i64 %handler, ptrtoint (ptr @fastad_on_signal to i64)
  %bad = icmp ne i32 %failed, 0
  %no1 = or i1 %none, %ours
  %no = or i1 %no1, %bad
  br i1 %no, label %plain, label %watch
watch:
  store volatile i64 %handler, ptr %next
  %count = load volatile i64, ptr %requested
  store volatile i64 %count, ptr %handled
  store i64 0, ptr %noted
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %old, i64 256, i1 false)
  store ptr @fastad_on_signal, ptr %new
  %installed = call i32 @sigaction(i32 {int(signal.SIGINT)}, ptr %new, ptr null)
  %code = call i64 @fastad_invoke(ptr %packet)
  %restored = call i32 @sigaction(i32 {int(signal.SIGINT)}, ptr %old, ptr null)
  %after = load volatile i64, ptr %requested
  %differ = icmp ne i64 %after, %count
  %flag = zext i1 %differ to i64
  store i64 %flag, ptr %stopped
  store i64 %code, ptr %last
  store volatile i64 %after, ptr %handled
  ret i64 %code
plain:
  %result = call i64 @fastad_invoke(ptr %packet)
  ret i64 %result
}}
"""


@once
def _loaded(invoke: int) -> LoadedCode:
    _state[MAIN] = threading.main_thread().ident or 0
    known = {SYMBOL: interrupt_state.address(), "fastad_invoke": invoke}
    code = cache.cached(("watch", _TEXT), lambda: compile_ir(_TEXT))
    return load_object(code, ["fastad_watch"], lambda name: known.get(name) or address(name))


def entry(invoke: int) -> int:
    """Address of `int64 f(packet)`, which runs the kernel of a packet by `invoke` and stops its loops on Ctrl-C."""
    return _loaded(invoke)["fastad_watch"]


def watched(run: Callable[[], int]) -> Callable[[], int]:
    """`run`, which calls `entry()`; a KeyboardInterrupt becomes the pending error of the code that it returns."""

    def invoke() -> int:
        _state[STOPPED] = 0
        try:
            code = run()
        except KeyboardInterrupt:
            if not (_state[STOPPED] and _state[CODE]):  # the loops had come to their end
                raise
            code = int(_state[CODE])
        if code < 0 and _state[STOPPED]:
            keep_error(pending_error() or KeyboardInterrupt())
        return code

    return invoke


def named(error: BaseException, what: str) -> BaseException:
    """The error; if it is the user's wish to stop, it says where: at which step of what, and of the loops inside."""
    if isinstance(error, KeyboardInterrupt) and not error.args:
        steps = [_state[STEPS + k] for k in range(_state[NOTED])][::-1]
        at = " of its inner loop, at step ".join(f"{step:,}" for step in steps)
        error.args = (f"stopped at step {at} of {what}" if steps else f"stopped in {what}",)
    return error
