"""Locks in forked children, whose other threads are gone."""

import os
import subprocess
import sys
import threading

import pytest

from fastad import locks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def in_child(check):
    """Whether `check()` holds in a forked child."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if check() else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_what_another_thread_held_is_open():
    lock, held, over = locks.lock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    assert not lock.acquire(blocking=False)
    assert in_child(lambda: lock.acquire(blocking=False))
    over.set()
    thread.join()


def test_what_the_forking_thread_held_it_holds():
    lock = locks.lock()
    with lock, lock:
        assert in_child(lambda: lock._is_owned() and lock.release() is None and lock._is_owned())


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_a_child_calls_what_another_thread_was_compiling(tier, tmp_path):
    program = f"""
import os, signal, threading, time
import numpy as np
import fastad as fad
from fastad.execution import compiled

begun, made = threading.Event(), compiled.Compiled._made_by

def slow(self, executor):
    begun.set()
    time.sleep(0.5)
    return made(self, executor)

compiled.Compiled._made_by = slow
f, x = fad.grad(lambda x: np.sum(np.sin(x)), tier="{tier}"), np.linspace(0.1, 0.9, 5)
thread = threading.Thread(target=lambda: f(x))
thread.start()
begun.wait(60)
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(0 if np.allclose(f(x), np.cos(x)) else 1)
thread.join()
assert os.waitpid(child, 0)[1] == 0
"""
    environment = os.environ | {"FASTAD_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
