"""LLVM in processes of its own, and objects that are linked without it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fastad.errors import CompileError
from fastad.execution.machine import compiling, jitlink, linking, llvm_ir, objects, symbols

DOUBLE = ctypes.c_double
UNARY = ctypes.CFUNCTYPE(DOUBLE, DOUBLE)
SQUARE = "define double @square(double %x) {\n  %y = fmul double %x, %x\n  ret double %y\n}\n"

# Constants, a table, a variable, what is undefined here, a jump table, and calls both near and far.
EVERYTHING = """
@table = internal constant [4 x double] [double 1.5, double 2.5, double 3.5, double 4.5]
@count = global i64 0
@nothing = internal constant [0 x i64] zeroinitializer
declare double @cbrt(double)
declare double @log1p(double)
define double @near(double %x) noinline {
  %y = fadd double %x, 0.1
  ret double %y
}
define double @run(i64 %i, double %x) {
  %n = load i64, ptr @count
  %m = add i64 %n, 1
  store i64 %m, ptr @count
  %p = getelementptr [4 x double], ptr @table, i64 0, i64 %i
  %t = load double, ptr %p
  %c = call double @near(double %x)
  switch i64 %i, label %other [i64 0, label %a  i64 1, label %b  i64 2, label %c2  i64 3, label %d]
a:
  %ya = call double @cbrt(double %c)
  br label %end
b:
  %yb = call double @log1p(double %c)
  br label %end
c2:
  %yc = fmul double %c, 3.25
  br label %end
d:
  %yd = fdiv double %c, 7.75
  br label %end
other:
  ret double 0.0
end:
  %y = phi double [%ya, %a], [%yb, %b], [%yc, %c2], [%yd, %d]
  %z = fmul double %y, %t
  ret double %z
}
"""
RUN = ctypes.CFUNCTYPE(DOUBLE, ctypes.c_int64, DOUBLE)

needs_processes = pytest.mark.skipif(not linking.IS_KNOWN, reason="LLVM links here, so it compiles here too")


def end_all():
    while compiling._idle:
        compiling._idle.pop().end()


def by_llvm(code, names):
    externals = {name: symbols.address(name) for name in objects.undefined_symbols(code)}
    return jitlink.link(code, names, externals)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_both_linkers_give_the_same_functions(level):
    code = objects.compile_ir(EVERYTHING, level=level)
    ours = objects.load_object(code, ["run", "count"], symbols.address)
    kept, addresses = by_llvm(code, ["run", "count"])
    at = [(i, x) for i in range(5) for x in np.linspace(0.1, 9.0, 7).tolist()]
    assert [RUN(ours["run"])(*a) for a in at] == [RUN(addresses["run"])(*a) for a in at]
    assert ctypes.c_int64.from_address(ours["count"]).value == len(at)
    del kept


@needs_processes
def test_code_is_the_same_wherever_it_is_compiled():
    for level in range(4):
        assert objects.compile_ir(EVERYTHING, level=level) == llvm_ir.object_of(EVERYTHING, level, True)


@needs_processes
def test_code_cannot_be_written():
    code = objects.load_object(objects.compile_ir(EVERYTHING), ["run", "count"], symbols.address)
    with open("/proc/self/maps") as file:
        regions = [line.split()[:2] for line in file]

    def protection(address):
        bounds = ([int(end, 16) for end in region.split("-")] for region, _ in regions)
        return next(regions[k][1] for k, (start, end) in enumerate(bounds) if start <= address < end)

    assert protection(code["run"]).startswith("r-x") and protection(code["count"]).startswith("rw-")


@needs_processes
def test_unknown_relocations_raise():
    code = bytearray(objects.compile_ir(EVERYTHING))
    found = linking.read(bytes(code))
    table = found.sections[found.sections["type"] == 4][0]
    code[int(table["offset"]) + 8] = 77  # the type of the first relocation
    with pytest.raises(CompileError, match="does not link"):
        objects.load_object(bytes(code), ["run"], symbols.address)


@needs_processes
@pytest.mark.parametrize("kind", linking._KNOWN)
def test_what_is_not_known_here_llvm_links(kind, monkeypatch):
    code = objects.compile_ir(EVERYTHING)
    at = [(i, x) for i in range(5) for x in (0.3, 2.5)]
    ours = objects.load_object(code, ["run"], symbols.address)
    wanted = [RUN(ours["run"])(*a) for a in at]
    monkeypatch.setattr(linking, "_KNOWN", [known for known in linking._KNOWN if known != kind])
    other = objects.load_object(code, ["run"], symbols.address)
    assert [RUN(other["run"])(*a) for a in at] == wanted


@needs_processes
def test_damaged_objects_are_errors():
    code = objects.compile_ir(EVERYTHING)
    for at in range(0x28, len(code), 5):  # the header's fields, the sections and their table
        for octet in (0, 255):
            damaged = code[:at] + bytes([octet]) + code[at + 1 :]
            try:
                found = linking.read(damaged)
                externals = dict.fromkeys(linking.undefined(found), 1)
                linking.link(found, ["run"], externals)
            except (CompileError, linking.UnlinkableError):
                continue


@needs_processes
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_ended_while_it_waited_is_replaced(ending):
    first = objects.compile_ir(SQUARE)
    process = compiling._idle[-1]
    os.kill(process._process.pid, ending)
    process._process.wait(10)
    assert objects.compile_ir(SQUARE) == first
    assert process not in compiling._idle


@needs_processes
def test_a_process_ends_when_nothing_comes(monkeypatch):
    end_all()
    monkeypatch.setattr(llvm_ir, "IDLE_SECONDS", 0.01)
    process = compiling.CompilerProcess()
    compiling._idle.append(process)
    assert process._process.wait(60) == 0 and process.has_ended_by_itself
    monkeypatch.undo()
    assert objects.compile_ir(SQUARE) == llvm_ir.object_of(SQUARE, 2, True)
    assert process not in compiling._idle


@needs_processes
def test_what_comes_too_late_for_every_process_is_compiled_here(monkeypatch):
    end_all()
    monkeypatch.setattr(llvm_ir, "IDLE_SECONDS", 0.0)
    write, ended = compiling.CompilerProcess._write, []

    def late(self, data):
        ended.append(self._process.wait(60))
        return write(self, data)

    monkeypatch.setattr(compiling.CompilerProcess, "_write", late)
    assert objects.compile_ir(SQUARE) == llvm_ir.object_of(SQUARE, 2, True)
    assert ended == [0] and not compiling._idle


def own_process(text, tmp_path):
    start = f"""
import os, signal, subprocess, sys, threading, time
from fastad.execution.machine import compiling, objects, processor
SQUARE = {SQUARE!r}
"""
    environment = os.environ | {"FASTAD_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", start + text]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@needs_processes
def test_programs_that_end_by_broken_pipes_are_not_ended(tmp_path):
    done = own_process("""
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
first = objects.compile_ir(SQUARE)
process = compiling._idle[-1]._process
process.kill()
process.wait()
assert objects.compile_ir(SQUARE) == first
assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) and not signal.sigpending()
""", tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@needs_processes
def test_processes_that_ended_leave_nothing(tmp_path):
    done = own_process("""
from fastad.execution.machine import llvm_ir
llvm_ir.IDLE_SECONDS = 0.5  # long enough for the text to arrive where others use the machine too
objects.compile_ir(SQUARE)
end = time.time() + 60
while os.path.exists(f"/proc/{compiling._all[0]._process.pid}"):
    assert time.time() < end
    time.sleep(0.01)
""", tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@needs_processes
def test_a_compilation_ends_with_the_process_that_asked(tmp_path):
    done = own_process("""
lines = [f"  %x{k + 1} = fadd double %x{k}, {float(k)}" for k in range(200_000)]  # takes LLVM a long time
data = "\\n".join(["define double @f(double %x0) {", *lines, "  ret double %x200000", "}"]).encode()
process = compiling.CompilerProcess()
process._write(compiling.TASK.pack(len(data), 3, False, 0) + data)
print(process._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""", tmp_path)  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    end = time.monotonic() + 20
    while Path(f"/proc/{done.stdout.strip()}/cmdline").exists() and state(done.stdout.strip()) != "Z":
        assert time.monotonic() < end
        time.sleep(0.05)


def state(pid):
    """Z: it has ended, and whoever inherited it has not looked."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@needs_processes
def test_a_process_that_ends_over_a_text_is_said(monkeypatch):
    end_all()
    compiled = compiling.CompilerProcess.compile

    def killed(self, *task):
        self._process.kill()
        self._process.wait()
        return compiled(self, *task)

    with monkeypatch.context() as patch:
        patch.setattr(compiling.CompilerProcess, "compile", killed)
        with pytest.raises(CompileError, match="has ended"):
            objects.compile_ir(SQUARE)
    assert objects.compile_ir(SQUARE)


@needs_processes
def test_an_interrupted_compilation_leaves_no_answer_behind(monkeypatch):
    objects.compile_ir(SQUARE)

    def interrupted(self, size):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compiling.CompilerProcess, "_read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            objects.compile_ir(EVERYTHING)
    assert objects.compile_ir(SQUARE) == llvm_ir.object_of(SQUARE, 2, True)


@needs_processes
def test_without_processes_code_is_compiled_here(monkeypatch):
    expected = objects.compile_ir(SQUARE)
    end_all()
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    assert objects.compile_ir(SQUARE) == expected
    assert compiling.host() == llvm_ir.host()


@needs_processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_processes_compile_for_themselves():
    program = f"""
import os
from fastad.execution.machine import objects
expected = objects.compile_ir({SQUARE!r})
children = []
for k in range(4):
    child = os.fork()
    if not child:
        good = all(objects.compile_ir({SQUARE!r}.replace("%x, %x", f"%x, {{float(i + k)}}")) for i in range(5))
        os._exit(0 if good and objects.compile_ir({SQUARE!r}) == expected else 1)
    children.append(child)
assert objects.compile_ir({SQUARE!r}) == expected
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_compile_different_texts_at_once():
    texts = [SQUARE.replace("%x, %x", f"%x, {float(i)}") for i in range(24)]
    found = [None] * len(texts)

    def work(start):
        for i in range(start, len(texts), 6):
            code = objects.load_object(objects.compile_ir(texts[i]), ["square"], symbols.address)
            found[i] = UNARY(code["square"])(2.0)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2.0 * i for i in range(len(texts))]


@needs_processes
def test_gradients_never_load_llvm(tmp_path):
    program = """
import sys
import numpy as np
import fastad as fad
fad.grad(lambda x: np.sum(np.sin(x) ** 2), tier="native")(np.ones(50))
fad.grad(lambda x: np.sum(np.cos(x) ** 2), tier="sweep")(np.ones(50))
assert not {"llvmlite", "numba"} & set(sys.modules)
"""
    environment = os.environ | {"FASTAD_CACHE_DIR": str(tmp_path)}
    for _ in range(2):  # with an empty cache and with a full one
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
