"""Compiling in a process of its own."""

import os
import subprocess
import sys

import pytest

from fastad.errors import CompileError
from fastad.execution.machine import compiling, folders, llvm_ir, objects, processor, replacing

TEXT = """define i64 @f(i64 %x) {
  %y = add i64 %x, 1
  %z = mul i64 %y, %x
  ret i64 %z
}
"""


@pytest.fixture(autouse=True)
def none_waiting():
    while compiling._idle:
        compiling._idle.pop().end()


@pytest.mark.parametrize("level", [0, 2])
def test_the_objects_are_those_made_here(level):
    code, seconds = compiling._elsewhere(TEXT, level)
    assert code == objects.compile_ir(TEXT, level=level) and seconds > 0.0


def test_one_process_serves_until_it_ends():
    compiling._elsewhere(TEXT, 0)
    (process,) = compiling._idle
    for text in (TEXT, "no text of LLVM's", TEXT):
        try:
            compiling._elsewhere(text, 2)
        except CompileError as error:
            with pytest.raises(CompileError) as here:
                objects.compile_ir(text)
            assert str(error) == str(here.value)
        assert compiling._idle == [process]
    process.kill()  # as it does by itself after a while
    compiling._elsewhere(TEXT, 2)
    assert process not in compiling._all and len(compiling._idle) == 1


def test_two_at_a_time_have_two():
    first, second = compiling.CompilerProcess(), compiling.CompilerProcess()
    assert first.compile(TEXT, 2)[0] == second.compile(TEXT, 2)[0]
    for process in (first, second):
        process.end()
    assert not {first, second} & set(compiling._all)


def test_without_other_processes_it_is_done_here(monkeypatch):
    monkeypatch.setattr(compiling, "_LONG", 0)
    for executable in ("", "/none", "/bin/false"):
        monkeypatch.setattr("sys.executable", executable)
        assert compiling.compiled(TEXT, 2)[0] == objects.compile_ir(TEXT)


def test_a_process_that_ends_over_a_text_is_an_error(monkeypatch):
    def killed(self, data):
        self._process.kill()

    monkeypatch.setattr(compiling.CompilerProcess, "_write", killed)
    with pytest.raises(CompileError, match="process that compiled"):
        compiling._elsewhere(TEXT, 2)
    assert not compiling._idle


def test_an_interrupted_start_leaves_no_process(monkeypatch):
    def interrupted(self, size):
        raise KeyboardInterrupt

    before = list(compiling._all)
    monkeypatch.setattr(compiling.CompilerProcess, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compiling.CompilerProcess()
    assert compiling._all == before


def test_what_is_no_compiler_is_not_asked(monkeypatch, tmp_path):
    other = tmp_path / "other.py"
    other.write_text("print('a greeting of its own')")
    monkeypatch.setattr(llvm_ir, "__file__", str(other))
    with pytest.raises(compiling.LostProcessError):
        compiling.CompilerProcess()
    assert objects.compile_ir(TEXT) == llvm_ir.object_of(TEXT, 2, True)


def test_a_full_disk_does_not_keep_from_asking_for_the_processor(monkeypatch, tmp_path):
    def full(path, data):
        raise OSError(28, "No space left on device")

    expected = processor.host()
    monkeypatch.setattr(processor, "_file", lambda: tmp_path / "host")
    monkeypatch.setattr(folders, "write", full)
    assert processor.host.__wrapped__() == expected


# ── the user's folder ─────────────────────────────────────────────────────────────────────────────────────────
def test_a_script_named_like_llvmlite_is_passed_over(monkeypatch, tmp_path):
    expected = compiling.llvmlite_folder()
    (tmp_path / "llvmlite.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compiling.llvmlite_folder() == expected


def test_processes_find_modules_where_this_one_does(monkeypatch, tmp_path):
    """Not in the folder that it runs in: a program of another folder has nothing to do with the scripts there."""
    here, listed = tmp_path / "here", tmp_path / "listed"
    for folder in (here, listed):
        folder.mkdir()
    (here / "json.py").write_text("raise AssertionError")
    (listed / "only_there.py").write_text("")
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(listed))
    code = "import json, sys, only_there, fastad.errors; raise SystemExit(json.load(sys.stdin))"
    assert replacing.started(code, "7").wait(60) == 7


# ── no more threads ───────────────────────────────────────────────────────────────────────────────────────────
def test_where_the_system_refuses_threads_calls_go_on(tmp_path):
    program = """
import threading
import numpy as np
import fastad as fad

def refused(self):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refused
f = fad.grad(lambda x: np.sum(np.sin(x) ** 2))
wanted = np.sin(2 * np.arange(3.0))
np.testing.assert_allclose(f(np.arange(3.0)), wanted, atol=1e-15)
(path,) = f.all_paths()
path.compiled.interpreted_seconds = 1e9
for _ in range(3):
    np.testing.assert_allclose(f(np.arange(3.0)), wanted, atol=1e-15)
assert f.stats()["tables"][0]["tier"] == "native"
"""
    environment = os.environ | {"FASTAD_CACHE_DIR": str(tmp_path), "FASTAD_BACKGROUND": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
