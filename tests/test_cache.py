"""The disk cache: what is stored is found again, what is damaged or foreign is not used, nothing fails on I/O."""

import importlib.util
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastad as fad
import fastad.tables.table
from fastad.errors import FastadError
from fastad.execution.machine import cache, folders
from fastad.primitives import PRIMITIVES

posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions as on Unix")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("FASTAD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return tmp_path / "cache"


class Maker:
    """Makes a payload and counts how often."""

    def __init__(self, payload=b"payload"):
        self.payload, self.calls = payload, 0

    def __call__(self):
        self.calls += 1
        return self.payload


def object_files(place):
    return sorted((place / "objects").iterdir())


# ── objects ───────────────────────────────────────────────────────────────────────────────────────


def test_what_was_made_is_found_again(place):
    make = Maker()
    assert [cache.cached(["a", b"b"], make) for _ in range(3)] == [b"payload"] * 3
    assert make.calls == 1


def test_different_keys_do_not_meet(place):
    keys = [["a"], ["b"], ["ab", "c"], ["a", "bc"], ["abc"], ["a", "b", "c"], []]
    for i, key in enumerate(keys):
        assert cache.cached(key, Maker(bytes([i]))) == bytes([i])


def test_the_environment_is_part_of_the_key(place, monkeypatch):
    make = Maker()
    cache.cached(["a"], make)
    monkeypatch.setattr(cache, "_environment", lambda: ("another CPU",))
    cache.cached(["a"], make)
    assert make.calls == 2


def test_what_primitives_compute_is_part_of_the_key(monkeypatch):
    """A version with another expression for a row must not find code that was made for the earlier one."""
    table = fad.trace(np.sign, 1.0)
    before = table.hash
    rows = [replace(row, value="a") if row.name == "sign" else row for row in PRIMITIVES]
    monkeypatch.setattr(fastad.tables.table, "PRIMITIVES", rows)
    assert pickle.loads(pickle.dumps(table)).hash != before


def test_every_damage_is_noticed_and_repaired(place):
    make = Maker(b"0123456789" * 3)
    cache.cached(["a"], make)
    (path,) = object_files(place)
    good = path.read_bytes()
    damaged = [good[:n] for n in range(len(good))]
    damaged += [good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :] for i in range(len(good))]
    damaged += [good + b"x", b"", os.urandom(200)]
    for count, data in enumerate(damaged, start=2):
        path.write_bytes(data)
        assert cache.cached(["a"], make) == make.payload
        assert make.calls == count
        assert path.read_bytes() == good


def test_a_file_of_another_key_is_not_used(place):
    cache.cached(["a"], Maker(b"of a"))
    cache.cached(["b"], Maker(b"of b"))
    one, other = object_files(place)
    one.write_bytes(other.read_bytes())
    assert cache.cached(["a"], Maker(b"of a")) == b"of a"
    assert cache.cached(["b"], Maker(b"of b")) == b"of b"


def test_a_folder_in_the_place_of_a_file(place):
    make = Maker()
    cache.cached(["a"], make)
    (path,) = object_files(place)
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    assert cache.cached(["a"], make) == b"payload"


def test_errors_of_the_maker_propagate_and_store_nothing(place):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.cached(["a"], fail)
    assert object_files(place) == []
    assert cache.cached(["a"], Maker()) == b"payload"


def test_the_least_recently_used_go_first(place, monkeypatch):
    monkeypatch.setenv("FASTAD_CACHE_BYTES", str(10_500))
    size = 1000 - cache._HEADER.size
    for i in range(10):
        cache.cached([f"{i}"], Maker(bytes(size)))
    for age, path in enumerate(object_files(place)):
        os.utime(path, (1000 + age, 1000 + age))
    never = Maker(b"must not be made")
    assert cache.cached(["3"], never) == bytes(size)  # used again: now the newest
    cache.cached(["new"], Maker(bytes(size)))
    assert sum(path.stat().st_size for path in object_files(place)) <= 10_500 * 3 // 4
    assert cache.cached(["3"], never) == bytes(size)
    assert cache.cached(["new"], never) == bytes(size)
    assert never.calls == 0


def test_many_processes_that_write_little_keep_to_the_limit(place, monkeypatch):
    """Each looks at the folder by chance only."""
    monkeypatch.setenv("FASTAD_CACHE_BYTES", "200000")
    walks, files = [], cache._files
    monkeypatch.setattr(cache, "_files", lambda where: walks.append(where) or files(where))
    for i in range(500):
        monkeypatch.setattr(cache, "_sizes", {})
        cache.cached([f"{i}"], Maker(bytes(1000)))
    assert 20 < len(walks) < 400 and sum(path.stat().st_size for path in object_files(place)) < 300_000


def test_a_limit_that_is_no_number_is_ignored(place, monkeypatch):
    monkeypatch.setenv("FASTAD_CACHE_BYTES", "much")
    assert cache.cached(["a"], Maker()) == b"payload"


def test_threads_share_the_cache(place):
    results = []

    def work():
        results.extend(cache.cached([f"{i % 7}"], Maker(bytes([i % 7]) * 1000))[0] == i % 7 for i in range(100))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 800 and all(results)


# ── the folder ────────────────────────────────────────────────────────────────────────────────────


@posix_only
def test_the_folder_is_private(place):
    cache.cached(["a"], Maker())
    for path in (place, place / "objects", *object_files(place)):
        assert path.stat().st_mode & 0o077 == 0


def test_where_the_folder_is(tmp_path, monkeypatch):
    monkeypatch.delenv("FASTAD_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "fastad"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/to/be/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "fastad"


def assert_another_folder_is_used(place):
    make = Maker()
    with pytest.warns(RuntimeWarning, match="FASTAD_CACHE_DIR") as caught:
        for _ in range(3):
            assert cache.cached(["a"], make) == b"payload"
    assert len(caught) == 1
    assert cache.folder() != place
    assert cache.folder().stat().st_mode & 0o077 == 0


@posix_only
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused(place, mode):
    place.mkdir()
    place.chmod(mode)
    assert_another_folder_is_used(place)
    assert list(place.iterdir()) == []


@posix_only
def test_a_folder_of_another_user_is_refused(place, monkeypatch):
    place.mkdir(mode=0o700)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert_another_folder_is_used(place)


def test_a_file_in_the_place_of_the_folder(place):
    place.write_text("")
    assert_another_folder_is_used(place)


def test_no_place_to_write_at_all(place, monkeypatch):
    monkeypatch.setattr(folders, "folder", lambda: None)
    make = Maker()
    assert cache.cached(["a"], make) == cache.cached(["a"], make) == b"payload"
    with pytest.raises(FastadError, match="FASTAD_CACHE_DIR"):
        cache.source_module("nowhere", "x = 1")


@posix_only
def test_a_folder_that_vanishes(place):
    cache.cached(["a"], Maker())
    (place / "objects").rename(place / "gone")
    (place / "objects").write_text("a file now")
    assert cache.cached(["a"], Maker()) == b"payload"


# ── across processes ──────────────────────────────────────────────────────────────────────────────


def run(program, place, **environment):
    """Run a program in a process of its own; return what it prints."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    variables.update(FASTAD_CACHE_DIR=str(place), **environment)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


NATIVE = """
    import ctypes
    from fastad.execution.machine import cache
    from fastad.execution.machine import objects
    from fastad.execution.machine import symbols
    text = "define double @f(double %x) {\\n  %y = fadd double %x, 1.0\\n  ret double %y\\n}"
    made = []
    code = cache.cached([text], lambda: made.append(1) or objects.compile_ir(text))
    loaded = objects.load_object(code, ["f"], symbols.address)
    print(len(made), ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(loaded["f"])(1.0))
"""


def test_a_second_process_loads_native_code(place):
    assert [run(NATIVE, place) for _ in range(2)] == ["1 2.0", "0 2.0"]
    (path,) = object_files(place)
    path.write_bytes(path.read_bytes()[:-10])
    assert run(NATIVE, place) == "1 2.0"


SOURCE = """
import numba

@numba.njit(cache=True)
def helper(x):
    return x * x

@numba.njit(cache=True)
def total(a):
    s = 0.0
    for i in range(a.size):
        s += helper(a[i])
    return s
"""

GENERATED = f"""
    import numpy as np
    from fastad.execution.machine import cache
    module = cache.source_module("generated", {SOURCE!r})
    value = module.total(np.arange(4.0))
    print(value, sum(module.total.stats.cache_misses.values()), module.total.stats.cache_path)
"""


def compiled(program, place, **environment):
    """(value, how often numba compiled, where its cache is), from a process of its own."""
    value, misses, path = run(program, place, **environment).split()
    return float(value), int(misses), path


def test_later_processes_load_numba_code(place):
    """They write its source only where it differs, and never run what they find there."""
    first = compiled(GENERATED, place)
    assert first[:2] == (14.0, 1) and first[2].startswith(str(place))
    (path,) = (place / "py").glob("*.py")
    os.utime(path, (1000, 1000))
    assert compiled(GENERATED, place)[:2] == (14.0, 0)
    assert path.stat().st_mtime == 1000
    path.write_text("raise SystemExit(1)")
    assert compiled(GENERATED, place)[0] == 14.0
    assert path.read_text() == SOURCE


def test_numba_cache_dir_is_respected(place, tmp_path):
    elsewhere = str(tmp_path / "numba")
    assert compiled(GENERATED, place, NUMBA_CACHE_DIR=elsewhere)[2].startswith(elsewhere)
    assert compiled(GENERATED, place, NUMBA_CACHE_DIR=elsewhere)[1] == 0


def test_kernels_are_cached_in_the_folder_and_user_code_is_not(place, tmp_path):
    (tmp_path / "users_own.py").write_text("import numba\n@numba.njit(cache=True)\ndef f(x):\n    return x\n")
    program = f"""
        import sys
        from fastad.execution.machine import cache
        cache.use_private_numba_cache()
        from fastad.kernels import moving
        kernel = next(v for v in vars(moving).values() if hasattr(v, "stats"))
        sys.path.insert(0, {str(tmp_path)!r})
        import users_own
        print(kernel.stats.cache_path, users_own.f.stats.cache_path)
    """
    ours, users = run(program, place).split()
    assert ours.startswith(str(place))
    assert users == str(tmp_path / "__pycache__")


def test_modules_from_source(place):
    module = cache.source_module("plain", "import math\nvalue = math.pi\ndef f():\n    return value\n")
    assert module.f() == np.pi
    assert cache.source_module("plain", "import math\nvalue = math.pi\ndef f():\n    return value\n") is module
    assert cache.source_module("plain", "value = 2\n").value == 2
    with pytest.raises(ValueError, match="letters"):
        cache.source_module("../escape", "")
    for _ in range(2):  # a module that fails is not kept
        with pytest.raises(ZeroDivisionError):
            cache.source_module("failing", "1 / 0")


OTHER_FILE = """
from kept.flags import kernel
from kept.other import factor

@kernel
def scaled(x):
    return factor(x)
"""


def test_kernels_are_compiled_anew_when_one_that_they_call_has_changed(tmp_path):
    package = tmp_path / "kept"
    package.mkdir()
    flags = Path(importlib.util.find_spec("fastad.kernels.flags").origin)
    (package / "flags.py").write_text(flags.read_text())
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(OTHER_FILE)
    for number in (2, 3, 3):
        text = f"from kept.flags import helper\n\n@helper\ndef factor(x):\n    return {number}.0 * x\n"
        (package / "other.py").write_text(text)
        code = "from kept.mine import scaled; print(scaled(1.0), sum(scaled.stats.cache_hits.values()))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
            # Python tells a changed module by its size and its second: its own cache would give the text of before
            env=os.environ | {
                "NUMBA_CACHE_DIR": str(tmp_path / "numba"), "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1",
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result, hits = done.stdout.split()
        assert float(result) == number
    assert int(hits) == 1, "nothing has changed since the run before"
