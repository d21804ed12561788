"""A parallel loop for native code, as LLVM IR text to append to a module.

`void @fastad_parallel_for(ptr fn, ptr ctx, i64 n, i64 blocks, i64 threads)` calls `void fn(ptr ctx, i64
block)` once for every block in 0, …, blocks - 1, in any order, and returns when all calls have. Up to
`threads` threads, the caller's included, take the next block from a shared counter until none is left. `n` is
the work in all, in elements: no more threads are used than one for each GRAIN of them, as starting and
joining one takes some 20 µs. Where the system refuses a thread, the others do its share; with one thread the
loop runs without any.

Threads live only during the call: a pool would not survive a fork and would have to be shut down.
"""

GRAIN = 4096
MAX_THREADS = 256

PARALLEL_FOR = f"""
%fastad_loop = type {{ ptr, ptr, i64, i64 }}

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i64 @llvm.smin.i64(i64, i64)

define internal ptr @fastad_worker(ptr %loop) {{
entry:
  %fn = load ptr, ptr %loop
  %ctx.at = getelementptr %fastad_loop, ptr %loop, i64 0, i32 1
  %ctx = load ptr, ptr %ctx.at
  %blocks.at = getelementptr %fastad_loop, ptr %loop, i64 0, i32 2
  %blocks = load i64, ptr %blocks.at
  %next.at = getelementptr %fastad_loop, ptr %loop, i64 0, i32 3
  br label %take
take:
  %block = atomicrmw add ptr %next.at, i64 1 monotonic
  %more = icmp slt i64 %block, %blocks
  br i1 %more, label %run, label %done
run:
  call void %fn(ptr %ctx, i64 %block)
  br label %take
done:
  ret ptr null
}}

define internal void @fastad_parallel_for(ptr %fn, ptr %ctx, i64 %n, i64 %blocks, i64 %threads) noinline {{
entry:
  %loop = alloca %fastad_loop
  %handles = alloca [{MAX_THREADS} x i64]
  store ptr %fn, ptr %loop
  %ctx.at = getelementptr %fastad_loop, ptr %loop, i64 0, i32 1
  store ptr %ctx, ptr %ctx.at
  %blocks.at = getelementptr %fastad_loop, ptr %loop, i64 0, i32 2
  store i64 %blocks, ptr %blocks.at
  %next.at = getelementptr %fastad_loop, ptr %loop, i64 0, i32 3
  store i64 0, ptr %next.at
  %grains = sdiv i64 %n, {GRAIN}
  %t0 = call i64 @llvm.smin.i64(i64 %threads, i64 %blocks)
  %t1 = call i64 @llvm.smin.i64(i64 %t0, i64 %grains)
  %t2 = call i64 @llvm.smin.i64(i64 %t1, i64 {MAX_THREADS})
  %helpers = sub i64 %t2, 1
  br label %more
more:
  %started = phi i64 [ 0, %entry ], [ %started.next, %created ]
  %wanted = icmp slt i64 %started, %helpers
  br i1 %wanted, label %create, label %work
create:
  %handle = getelementptr i64, ptr %handles, i64 %started
  %failed = call i32 @pthread_create(ptr %handle, ptr null, ptr @fastad_worker, ptr %loop)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %created, label %work
created:
  %started.next = add i64 %started, 1
  br label %more
work:
  %count = phi i64 [ %started, %more ], [ %started, %create ]
  %ignored = call ptr @fastad_worker(ptr %loop)
  br label %joining
joining:
  %joined = phi i64 [ 0, %work ], [ %joined.next, %join ]
  %left = icmp slt i64 %joined, %count
  br i1 %left, label %join, label %done
join:
  %joined.at = getelementptr i64, ptr %handles, i64 %joined
  %id = load i64, ptr %joined.at
  %status = call i32 @pthread_join(i64 %id, ptr null)
  %joined.next = add i64 %joined, 1
  br label %joining
done:
  ret void
}}
"""
