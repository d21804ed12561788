"""Compiling in a process of its own."""

import pytest

from fastad.errors import CompileError
from fastad.execution.machine import compiling, objects

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
