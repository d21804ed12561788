"""Ctrl-C: loops stop within 0.2 s and say where, and the next call works. In processes of their own.

The times are the processor's: on a busy machine a process may have to wait for its turn."""

import importlib.util
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """\
import os, signal, threading, time
import numpy as np
import fastad as fad

LATE = 0.2      # seconds of each processor
signal.signal(signal.SIGINT, signal.default_int_handler)      # may be ignored: shells do so for what runs behind


def interrupted(run, after=0.3, where="loop"):
    for wait in (after, 1.0, 4.0):      # a busy machine may need longer to record, compile and begin
        text = interrupted_once(run, wait)
        if where == "Python" or (text and not text.startswith("stopped while ")):
            break
    return text


def interrupted_once(run, after):
    sent = []
    threading.Timer(after, lambda: send(sent)).start()
    try:
        run()
    except KeyboardInterrupt as error:
        check_time(sent)
        return str(error)
    raise AssertionError("not interrupted")


def send(sent):
    sent += time.process_time(), time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)


def check_time(sent):
    taken, since = time.process_time() - sent[0], time.perf_counter() - sent[1]
    assert taken < LATE * (os.cpu_count() or 1) and since < 20, (taken, since)


def swing(t, y):      # with a force, which methods that damp have to follow too
    return np.stack([y[1] + np.sin(3 * t), -y[0]])

"""

CASES = {
    "fori_loop": """
        def long(x, n):
            return fad.fori_loop(0, n, lambda i, y: np.sin(y) + x, x)
        for tier in ("auto", "sweep", "native"):
            for f in (fad.jit(long, tier=tier), fad.grad(long, tier=tier)):
                before = f(0.1, 3)
                text = interrupted(lambda: f(0.1, 2_000_000_000))
                assert text.startswith("stopped at step ") and "_loop, recorded at" in text, text
                assert f(0.1, 3) == before
        """,
    "endless while_loop": """
        def endless(x):
            return fad.while_loop(lambda y: y < x, lambda y: np.sin(y), x - 1.0)
        f = fad.jit(endless)
        f(-5.0)
        text = interrupted(lambda: f(5.0))
        assert "of while_loop, recorded at" in text, text
        assert f(-5.0) == np.sin(-6.0)
        """,
    "loops inside": """
        def outer(x, n):
            return fad.fori_loop(0, n, lambda i, y: fad.fori_loop(0, n, lambda j, z: np.sin(z) + x, y), x)
        f = fad.jit(outer)
        f(0.1, 2)
        assert "of its inner loop, at step" in interrupted(lambda: f(0.1, 100_000))
        """,
    "a checkpointed adjoint": """
        def state(x, schedule):
            return fad.scan(lambda y, _: (np.sin(y) + x, None), x, None, length=10**8, checkpoint=schedule)[0]
        f = fad.grad(lambda x: state(x, fad.checkpoint.Revolve(3)))
        assert "of scan" in interrupted(lambda: f(0.1), 2.0)
        """,
    "progress bars": """
        f = lambda n: fad.scan(lambda y, _: (np.sin(y), None), 0.1, None, length=n, progress=True)[0]
        f(3)
        assert "of scan" in interrupted(lambda: f(4 * 10**9))
        assert f(3) == np.sin(np.sin(np.sin(0.1)))
        """,
    "solves": """
        solve = lambda t1, **how: fad.solve_ivp(swing, (0, t1), np.ones(2), t_eval=[1.0], max_steps=10**12, **how).y
        for how in ({"step": 1e-3}, {}, {"method": "Rodas5P"}, {"method": "BDF"}):
            solve(2.0, **how)
            text = interrupted(lambda: solve(1e8, **how), 0.4)
            assert "stopped at step" in text and "recorded at" in text, text
        """,
    "lanes": """
        def solve(y0, t1, **how):
            return fad.solve_ivp(swing, (0, t1), y0, t_eval=[1.0], max_steps=10**12, **how).y
        for how in ({"step": 1e-2}, {}):
            f = fad.jit(fad.vmap(lambda y0, t1: solve(y0, t1, **how), in_axes=(0, None)))
            f(np.ones((40, 2)), 2.0)
            assert "lanes" in interrupted(lambda: f(np.ones((40, 2)), 1e6), 1.0)
        """,
    "a recording": """
        def long(x, n):
            for k in range(n):
                x = np.sin(x * (k + 1.5)) if k % 3 else np.exp(-x) + x[::-1]
            return np.sum(x)
        for roll in (None, False):
            f = fad.jit(lambda x, n: long(x, int(n)), roll=roll)
            text = interrupted_once(lambda: f(np.ones(3), 3_000_000.0), 0.5)
            assert text.startswith("stopped while recording <lambda>, ") and text.endswith(" rows so far"), text
            assert np.isfinite(f(np.ones(3), 5.0))
        """,
    "a compilation": """
        def long(x):
            for k in range(1_500):
                x = np.sin(x * (k + 1.5)) if k % 3 else np.exp(-x) + x[::-1]
            return np.sum(x)
        start = time.perf_counter()
        fad.grad(long, tier="sweep", roll=False)(np.ones(3))
        recorded = time.perf_counter() - start
        text = ""
        from fastad.execution.machine import compiling
        compiled = compiling.compiled
        for part in (1.2, 1.5, 2.0, 3.0, 0.0):      # while rows are planned, and in LLVM
            f = fad.grad(lambda x: long(x) * (part + 1), tier="native", roll=False)
            sent = []
            timer = threading.Timer(part * recorded, send, [sent])
            if part:
                timer.start()
            else:
                compiling.compiled = lambda *task, **how: (timer.start(), compiled(*task, **how))[1]
            try:
                f(np.ones(3))
                while not sent:
                    time.sleep(0.01)
                time.sleep(0.1)
            except KeyboardInterrupt as error:
                text = str(error)
                check_time(sent)
            compiling.compiled = compiled
            again = fad.grad(lambda x: np.sum(np.sin(x)) * part, tier="native")
            assert np.allclose(again(np.ones(3)), part * np.cos(1.0))
        assert text.startswith("stopped while compiling native code for"), text
        """,
    "a handler that raises nothing": """
        seen = []
        signal.signal(signal.SIGINT, lambda *_: seen.append(1))
        f = fad.jit(lambda n: fad.fori_loop(0, n, lambda i, y: np.sin(y), 0.1))
        f(3)
        assert "stopped at step" in interrupted(lambda: f(2_000_000_000))
        assert seen == [1] and f(1) == np.sin(0.1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)        # who ignores Ctrl-C is not interrupted
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        f(20_000_000)
        """,
    "other threads": """
        from concurrent.futures import ThreadPoolExecutor
        f = fad.jit(lambda n: fad.fori_loop(0, n, lambda i, y: np.sin(y), 0.1))
        f(3)
        with ThreadPoolExecutor(1) as pool:                 # Python waits in the main thread, and is interrupted there
            future = pool.submit(f, 60_000_000)
            assert interrupted(future.result, 0.1, "Python") == ""
            assert np.isfinite(future.result())
        """,
}


def run(code, timeout=100):
    environment = {**os.environ, "TQDM_DISABLE": ""}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=timeout
    )


@pytest.mark.parametrize("name", CASES)
def test_ctrl_c_stops(name):
    if name == "progress bars":
        pytest.importorskip("tqdm")
    done = run(PROGRAM + textwrap.dedent(CASES[name]))
    assert done.returncode == 0, done.stderr[-2000:]


# ---- in a terminal -----------------------------------------------------------------------------------------------

SHELLS = {"python": ["-q", "-i"], "IPython": ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]}


class Terminal:
    """A program under a pseudo-terminal."""

    def __init__(self, command):
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execv(command[0], command)
        self.text = ""

    def wait_for(self, wanted, seconds=60):
        start = time.perf_counter()
        seen = len(self.text)
        while wanted not in self.text[seen:]:
            left = seconds - (time.perf_counter() - start)
            assert left > 0 and select.select([self.end], [], [], left)[0], f"no {wanted!r} in\n{self.text[seen:]}"
            self.text += os.read(self.end, 4096).decode(errors="replace")

    def seconds(self):
        """What it has taken of the processor."""
        with open(f"/proc/{self.pid}/stat") as file:
            return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def type(self, text):
        os.write(self.end, text.encode())

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.end)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's list of processes")
@pytest.mark.parametrize("shell", SHELLS)
def test_ctrl_c_in_a_terminal(shell):
    if shell == "IPython" and importlib.util.find_spec("IPython") is None:
        pytest.skip("IPython is not installed")
    terminal = Terminal([sys.executable, *SHELLS[shell]])
    try:
        terminal.type("import numpy as np, fastad as fad\n")
        terminal.type(
            "f = fad.jit(lambda n: fad.fori_loop(0, n, lambda i, y: np.sin(y), 0.1)); print('re' + 'ady', f(2))\n"
        )
        terminal.wait_for("ready")
        terminal.type("print('sta' + 'rted'); f(10**10)\n")
        terminal.wait_for("started")
        start = terminal.seconds()
        while terminal.seconds() < start + 0.5:
            time.sleep(0.05)
        start = terminal.seconds()
        terminal.type("\x03")
        terminal.wait_for("KeyboardInterrupt: stopped at step")
        # 0.2 s for the loop; the rest is for the shell, which prints a traceback.
        assert terminal.seconds() - start < 1.0
        terminal.type("print('al' + 'ive', f(2))\n")
        terminal.wait_for("alive 0.099")
    finally:
        terminal.close()
