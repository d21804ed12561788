"""What takes long says so, once, on a terminal; never into a pipe, and not where the user wants quiet."""

import contextlib
import os
import re
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from fastad import waiting

pty = pytest.importorskip("pty")

# Recording waits for the user's own code, and compiling takes its time on an empty cache.
PROGRAM = """
import time
import numpy as np
import fastad as fad
from fastad import waiting

waiting.SECONDS = 0.1

def slow(x):
    time.sleep(0.4)
    return np.sum(x * x)

def long(x):
    for k in range(300):
        x = np.sin(x * (k + 1.5)) if k % 3 else np.exp(-x) + x[::-1]
    return np.sum(x)

def short(x):
    return np.sum(x)

fad.grad(slow, tier="sweep")(np.ones(3))
fad.grad(long, tier="native")(np.ones(3))
waiting.SECONDS = 20.0      # also where others use the machine too
fad.grad(short, tier="sweep")(np.ones(3))
print("finished")
"""


def on_terminal(tmp_path, **settings):
    """What the program prints under a pseudo-terminal."""
    tmp_path.chmod(0o700)
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    # Native code is compiled anew; the sweeps may come from the cache.
    environment = os.environ | {"FASTAD_CACHE_DIR": str(tmp_path), "COLUMNS": "300"} | settings
    pid, end = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, str(path)], environment)
    text = b""
    while True:
        try:
            more = os.read(end, 4096)
        except OSError:  # Linux's end of file
            break
        if not more:
            break
        text += more
    os.close(end)
    assert os.waitpid(pid, 0)[1] == 0, text.decode()
    return text.decode()


def test_long_work_says_once_what_it_does(tmp_path):
    printed = on_terminal(tmp_path)
    said = [line.split("\r")[-1].strip() for line in printed.replace("\r\n", "\n").split("\n")]  # bars as they end
    bars = [line for line in said if line.startswith("fastad [00:0")]
    assert sum("recording slow, " in line and line.endswith(" rows so far") for line in bars) == 1
    assert sum("compiling native code for" in line and "program.py" in line for line in bars) == 1
    assert "short" not in printed


def test_it_can_be_quiet(tmp_path):
    assert "fastad" not in on_terminal(tmp_path, FASTAD_QUIET="1")


def test_pipes_get_nothing(tmp_path):
    tmp_path.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | {"FASTAD_CACHE_DIR": str(tmp_path)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "finished\n"
    assert "fastad" not in done.stderr


class Screen:
    """A stream that says it is a terminal."""

    def __init__(self):
        self.lines = []

    def isatty(self):
        return True

    def write(self, text):
        self.lines.append(text)

    def flush(self):
        pass


@pytest.fixture
def screen(monkeypatch):
    """A screen where tqdm is not installed."""
    monkeypatch.setattr(waiting, "SECONDS", 0.05)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    return Screen()


@pytest.fixture
def bars(monkeypatch):
    """A screen where it is."""
    pytest.importorskip("tqdm")
    monkeypatch.setattr(waiting, "SECONDS", 0.05)
    monkeypatch.setattr(waiting, "REFRESH", 0.02)
    return Screen()


def short(text):
    """Whether it was short: a busy machine may let it wait."""
    start = time.monotonic()
    with waiting.waiting(lambda: text):
        pass
    return time.monotonic() - start < waiting.SECONDS


def until(condition):
    """Wait for what another thread does in its time."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_work_is_told_once_and_short_work_never(screen):
    with contextlib.redirect_stderr(screen):
        with waiting.waiting(lambda: "outer"):
            were_short = [short(f"short {k}") for k in range(20)]
            with waiting.waiting(lambda: "inner"):
                until(lambda: "fastad: inner\n" in screen.lines)
        time.sleep(0.15)
    assert not any(f"fastad: short {k}\n" in screen.lines for k, was_short in enumerate(were_short) if was_short)
    assert [line for line in screen.lines if "short" not in line] == ["fastad: outer\n", "fastad: inner\n"]


def test_bars_count_on_and_leave_their_last_line(bars):
    rows = 0
    with contextlib.redirect_stderr(bars):
        with waiting.waiting(lambda: f"outer, {rows} rows"):
            until(lambda: ": outer, 0 rows" in "".join(bars.lines))
            with waiting.waiting(lambda: f"inner, {rows} rows"):
                until(lambda: ": inner, 0 rows" in "".join(bars.lines))
                rows = 7
        print("next", file=bars)
        time.sleep(0.1)
    inner, outer, following, rest = "".join(bars.lines).split("\n")[-4:]
    assert re.fullmatch(r"fastad \[00:\d\d\]: inner, 7 rows", inner.split("\r")[-1].strip())
    assert re.fullmatch(r"fastad \[00:\d\d\]: outer, 7 rows", outer.split("\r")[-1].strip())
    assert following == "next" and rest == ""
    until(lambda: waiting._watcher is None)


def test_notebooks_get_bars_too(bars):
    stream = type("OutStream", (Screen,), {"__module__": "ipykernel.iostream", "isatty": lambda self: False})()
    with contextlib.redirect_stderr(stream), waiting.waiting(lambda: "a cell"):
        until(lambda: "]: a cell" in "".join(stream.lines))


def test_threads_share_one_watcher_which_ends(screen):
    def work(k):
        with waiting.waiting(lambda: f"work {k}"):
            until(lambda: f"fastad: work {k}\n" in screen.lines)

    with contextlib.redirect_stderr(screen):
        threads = [threading.Thread(target=work, args=(k,)) for k in range(5)]
        for thread in threads:
            thread.start()
        assert sum(t.name == "fastad-waiting" for t in threading.enumerate()) <= 1  # 0: it has told of all
        for thread in threads:
            thread.join()
    assert sorted(screen.lines) == [f"fastad: work {k}\n" for k in range(5)]
    until(lambda: not any(t.name == "fastad-waiting" for t in threading.enumerate()))
    assert not waiting._works


def test_a_stream_that_is_gone_does_no_harm(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    short("nothing")
