"""What is made when it is first needed, by several threads at once: in fresh processes, with and without a cache."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from first_calls import JOBS

from fastad.execution.composites.drivers import driver_names, driver_text
from fastad.execution.machine import cache, exported
from fastad.execution.sweeps import source
from fastad.once import lazy, once

SCRIPT = Path(__file__).with_name("first_calls.py")
USUAL = [name for name in JOBS if name != "numba_function"]  # that imports numba and compiles


def run(*jobs, **environment):
    command = [sys.executable, str(SCRIPT), *jobs]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("job", ["grad", "scan"])
def test_first_calls_of_one_function(job):
    run(job)


def test_first_calls_of_everything():
    run(*USUAL)


@pytest.mark.slow
def test_first_calls_of_a_numba_function():
    run("numba_function")


def test_first_calls_without_native_code_in_the_cache(tmp_path, monkeypatch):
    """What numba compiles is there, as that takes a minute."""
    texts = [source.sweep_text(mode) for mode in source.MODES] + [driver_text(name) for name in driver_names()]
    texts += [exported.entry_text(name) for name in exported.entry_names()]
    made = {text: exported.stored(text) for text in texts if exported.is_stored(text)}
    monkeypatch.setenv("FASTAD_CACHE_DIR", str(tmp_path / "cache"))
    for text, code in made.items():
        cache.cached(exported.key_of(text), lambda code=code: code)
    run(*USUAL)


def test_what_is_missing_is_compiled_side_by_side(tmp_path, monkeypatch):
    """The first one here, the others in processes of their own, which leave their objects in the cache."""
    monkeypatch.setenv("FASTAD_CACHE_DIR", str(tmp_path / "cache"))
    text = "from numba import types\n\nSIGNATURE = types.int64(types.int64)\n\n\ndef entry(x):\n    return x + {}\n"
    texts = {f"adds_{k}": text.format(k) for k in range(3)}
    assert not any(map(exported.is_stored, texts.values()))
    exported.compile_missing(texts)
    assert all(map(exported.is_stored, texts.values()))


@pytest.mark.slow
def test_first_calls_with_an_empty_cache(tmp_path):
    run(*USUAL, FASTAD_CACHE_DIR=str(tmp_path / "cache"))


# ── once, lazy ────────────────────────────────────────────────────────────────────────────────────────────────
def in_threads(*works):
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_what_has_an_address_is_made_once():
    made, found, barrier = [], [], threading.Barrier(4)

    @once
    def make(key):
        made.append(key)
        threading.Event().wait(0.01)
        return object()

    def work():
        barrier.wait()
        found.append((make(1), make(2)))

    in_threads(*[work] * 4)
    assert made == [1, 2] and len(set(found)) == 1


def test_what_fails_is_tried_again():
    tries = []

    @once
    def make():
        tries.append(1)
        if len(tries) == 1:
            raise OSError
        return len(tries)

    with pytest.raises(OSError):
        make()
    assert make() == make() == 2


class Derived:
    """Two attributes that need another object's other one, as loops in branches and branches in loops do."""

    def __init__(self, other=None, meet=None):
        self.other, self.meet = other, meet

    @lazy
    def one(self):
        self.meet and self.meet.wait(10)
        return self.other and self.other.two

    @lazy
    def two(self):
        self.meet and self.meet.wait(10)
        return self.other and self.other.one


def test_attributes_that_are_made_in_two_threads_do_not_wait_for_each_other():
    meet = threading.Barrier(2)
    a, b = Derived(Derived(), meet), Derived(Derived(), meet)
    in_threads(lambda: a.one, lambda: b.two)


def test_all_threads_see_the_same_attribute():
    class Owner:
        @lazy
        def made(self):
            meet.wait(10)
            return object()

    meet, owner, found = threading.Barrier(2), Owner(), []
    in_threads(*[lambda: found.append(owner.made)] * 2)
    assert found[0] is found[1] is owner.made
