"""Blocks of independent work, such as lanes, that threads share: a kernel that calls another one once for every block.

The calling thread begins alone. Threads are started once what is left, at the pace so far, is worth it: how long a
block takes is not known before, since a solve may make ten steps or a million. Each thread has work memory of its own
and takes the next block from a shared counter, so results do not depend on the number of threads. The code that is
returned is that of the first block that fails, as if they were run in order: blocks are taken in order, so all before
it were.

Threads live only during the call, as those of `fastad.execution.machine.parallel` do.
"""

import os
import time
from typing import Any

import numpy as np

from fastad.execution.machine import cache, symbols
from fastad.execution.machine.objects import LoadedCode, compile_ir, load_object
from fastad.execution.machine.parallel import MAX_THREADS
from fastad.once import once

SAVED, BLOCK, PLACES = range(3)  # in the work of the kernel: the address of saved states, the number of the block
_WORTH = 200_000  # ns of work for each thread: to start one takes some 20,000, and more where it must wait for a core
_CLOCK = getattr(time, "CLOCK_MONOTONIC", 1)
_HAS_THREADS = os.name == "posix"
_NONE = 2**63 - 1  # no block has failed

# %Plan: kernel, its context, doubles of work, blocks, threads.
# %Run: plan, source, target, saved states, next block, failure: block · 2³² + code, of the first block that failed.
_SERIAL = f"""
%Plan = type {{ ptr, ptr, i64, i64, i64 }}
%Run = type {{ ptr, ptr, ptr, i64, i64, i64 }}

; Runs the next block, if there is one; returns its number, or -1.
define internal i64 @step(ptr %run, ptr %work) {{
entry:
  %failure.at = getelementptr %Run, ptr %run, i64 0, i32 5
  %failure = load atomic i64, ptr %failure.at monotonic, align 8
  %sound = icmp eq i64 %failure, {_NONE}
  br i1 %sound, label %take, label %none
take:
  %next.at = getelementptr %Run, ptr %run, i64 0, i32 4
  %block = atomicrmw add ptr %next.at, i64 1 monotonic
  %plan = load ptr, ptr %run
  %blocks.at = getelementptr %Plan, ptr %plan, i64 0, i32 3
  %blocks = load i64, ptr %blocks.at
  %more = icmp slt i64 %block, %blocks
  br i1 %more, label %call, label %none
call:
  %kernel = load ptr, ptr %plan
  %context.at = getelementptr %Plan, ptr %plan, i64 0, i32 1
  %context = load ptr, ptr %context.at
  %source.at = getelementptr %Run, ptr %run, i64 0, i32 1
  %source = load ptr, ptr %source.at
  %target.at = getelementptr %Run, ptr %run, i64 0, i32 2
  %target = load ptr, ptr %target.at
  %saved.at = getelementptr %Run, ptr %run, i64 0, i32 3
  %saved = load i64, ptr %saved.at
  store i64 %saved, ptr %work
  %block.at = getelementptr i64, ptr %work, i64 {BLOCK}
  store i64 %block, ptr %block.at
  %code = call i64 %kernel(ptr %context, ptr %source, ptr %target, ptr %work)
  %failed = icmp ne i64 %code, 0
  br i1 %failed, label %fail, label %done
fail:
  %high = shl i64 %block, 32
  %low = and i64 %code, 4294967295
  %found = or i64 %high, %low
  %before = atomicrmw min ptr %failure.at, i64 %found monotonic
  br label %done
done:
  ret i64 %block
none:
  ret i64 -1
}}

define internal void @begin(ptr %run, ptr %plan, ptr %source, ptr %target, ptr %work) {{
  %saved = load i64, ptr %work
  %source.at = getelementptr %Run, ptr %run, i64 0, i32 1
  %target.at = getelementptr %Run, ptr %run, i64 0, i32 2
  %saved.at = getelementptr %Run, ptr %run, i64 0, i32 3
  %next.at = getelementptr %Run, ptr %run, i64 0, i32 4
  %failure.at = getelementptr %Run, ptr %run, i64 0, i32 5
  store ptr %plan, ptr %run
  store ptr %source, ptr %source.at
  store ptr %target, ptr %target.at
  store i64 %saved, ptr %saved.at
  store i64 0, ptr %next.at
  store i64 {_NONE}, ptr %failure.at
  ret void
}}

define internal i64 @code(ptr %run) {{
  %failure.at = getelementptr %Run, ptr %run, i64 0, i32 5
  %failure = load atomic i64, ptr %failure.at monotonic, align 8
  %sound = icmp eq i64 %failure, {_NONE}
  %low = trunc i64 %failure to i32
  %own = sext i32 %low to i64
  %code = select i1 %sound, i64 0, i64 %own
  ret i64 %code
}}

define i64 @fastad_blocks(ptr %plan, ptr %source, ptr %target, ptr %work) {{
entry:
  %run = alloca %Run
  call void @begin(ptr %run, ptr %plan, ptr %source, ptr %target, ptr %work)
  br label %loop
loop:
  %block = call i64 @step(ptr %run, ptr %work)
  %more = icmp sge i64 %block, 0
  br i1 %more, label %loop, label %done
done:
  %code = call i64 @code(ptr %run)
  ret i64 %code
}}
"""

_SHARED = f"""
declare noalias ptr @malloc(i64)
declare void @free(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @clock_gettime(i32, ptr)
declare i64 @llvm.smin.i64(i64, i64)

define internal i64 @now() {{
  %t = alloca [2 x i64]
  %ignored = call i32 @clock_gettime(i32 {_CLOCK}, ptr %t)
  %s = load i64, ptr %t
  %ns.at = getelementptr i64, ptr %t, i64 1
  %ns = load i64, ptr %ns.at
  %whole = mul i64 %s, 1000000000
  %now = add i64 %whole, %ns
  ret i64 %now
}}

; A thread; one for which there is no memory leaves its share to the others.
define internal ptr @worker(ptr %run) {{
entry:
  %plan = load ptr, ptr %run
  %doubles.at = getelementptr %Plan, ptr %plan, i64 0, i32 2
  %doubles = load i64, ptr %doubles.at
  %bytes = mul i64 %doubles, 8
  %room = add i64 %bytes, 128
  %raw = call ptr @malloc(i64 %room)
  %failed = icmp eq ptr %raw, null
  br i1 %failed, label %done, label %align
align:
  %at = ptrtoint ptr %raw to i64
  %up = add i64 %at, 63
  %aligned = and i64 %up, -64
  %work = inttoptr i64 %aligned to ptr
  br label %loop
loop:
  %block = call i64 @step(ptr %run, ptr %work)
  %more = icmp sge i64 %block, 0
  br i1 %more, label %loop, label %end
end:
  call void @free(ptr %raw)
  br label %done
done:
  ret ptr null
}}

; How many threads to start after a block, `start` being the time when the first one began.
define internal i64 @wanted(ptr %run, i64 %block, i64 %start) {{
  %plan = load ptr, ptr %run
  %blocks.at = getelementptr %Plan, ptr %plan, i64 0, i32 3
  %blocks = load i64, ptr %blocks.at
  %threads.at = getelementptr %Plan, ptr %plan, i64 0, i32 4
  %threads = load i64, ptr %threads.at
  %now = call i64 @now()
  %elapsed = sub i64 %now, %start
  %done = add i64 %block, 1
  %left = sub i64 %blocks, %done
  %pace = sdiv i64 %elapsed, %done
  %rest = mul i64 %pace, %left
  %worth = sdiv i64 %rest, {_WORTH}
  %helped = call i64 @llvm.smin.i64(i64 %worth, i64 %left)
  %most = call i64 @llvm.smin.i64(i64 %threads, i64 {MAX_THREADS})
  %all = call i64 @llvm.smin.i64(i64 %helped, i64 %most)
  %others = sub i64 %all, 1
  ret i64 %others
}}

define i64 @fastad_shared_blocks(ptr %plan, ptr %source, ptr %target, ptr %work) {{
entry:
  %run = alloca %Run
  %handles = alloca [{MAX_THREADS} x i64]
  call void @begin(ptr %run, ptr %plan, ptr %source, ptr %target, ptr %work)
  %start = call i64 @now()
  br label %alone
alone:
  %block = call i64 @step(ptr %run, ptr %work)
  %more = icmp sge i64 %block, 0
  br i1 %more, label %look, label %done
look:
  %others = call i64 @wanted(ptr %run, i64 %block, i64 %start)
  %pays = icmp sgt i64 %others, 0
  br i1 %pays, label %create, label %alone
create:
  %started = phi i64 [ 0, %look ], [ %started.next, %created ]
  %handle = getelementptr i64, ptr %handles, i64 %started
  %failed = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %run)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %created, label %share
created:
  %started.next = add i64 %started, 1
  %enough = icmp sge i64 %started.next, %others
  br i1 %enough, label %share, label %create
share:
  %count = phi i64 [ %started, %create ], [ %started.next, %created ]
  br label %own
own:
  %taken = call i64 @step(ptr %run, ptr %work)
  %again = icmp sge i64 %taken, 0
  br i1 %again, label %own, label %joining
joining:
  %joined = phi i64 [ 0, %own ], [ %joined.next, %join ]
  %waits = icmp slt i64 %joined, %count
  br i1 %waits, label %join, label %done
join:
  %joined.at = getelementptr i64, ptr %handles, i64 %joined
  %id = load i64, ptr %joined.at
  %status = call i32 @pthread_join(i64 %id, ptr null)
  %joined.next = add i64 %joined, 1
  br label %joining
done:
  %code = call i64 @code(ptr %run)
  ret i64 %code
}}
"""


@once
def _loaded(shared: bool) -> LoadedCode:
    text, name = (_SERIAL + _SHARED, "fastad_shared_blocks") if shared else (_SERIAL, "fastad_blocks")
    return load_object(cache.cached(("blocks", text), lambda: compile_ir(text)), [name], symbols.address)


class BlocksKernel:
    """A kernel that calls another one, of this address and context, for each of so many blocks, by up to `threads`
    threads."""

    def __init__(self, address: int, context: int, work_size: int, blocks: int, threads: int) -> None:
        self.work_size = max(work_size, PLACES)
        self._plan = np.array([address, context, self.work_size, blocks, threads], np.int64)
        self.context = int(self._plan.ctypes.data)
        (self.address,) = _loaded(threads > 1 and _HAS_THREADS).addresses.values()


def threads_for(sub: Any, threads: int) -> int:
    """How many of so many threads may share the blocks of a driver: those that call Python are run by one."""
    return threads if sub.blocks is not None and sub.blocks > 1 and not sub.calls_python else 1
