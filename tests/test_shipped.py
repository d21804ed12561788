"""Objects that a wheel brings: used where they fit, else made here as without them."""

import ctypes
import os
import platform
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fastad.execution.machine import cache, exported, objects, shipped

TEXT = """
from fastad.kernels.memory import doubles, types
SIGNATURE = types.int64(types.int64, types.int64)
# {mark}


def entry(x, n):
    at = doubles(x)
    for i in range(n):
        at[i] = at[i] * 0.1 + 0.7
    return n
"""

LEVEL = shipped.LEVELS.get(platform.machine().lower())
pytestmark = pytest.mark.skipif(
    LEVEL is None or not all(map(objects.has_feature, LEVEL.features)), reason="a processor without or below a level"
)


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A text that is in no cache, whose object is shipped."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "objects")
    text = TEXT.format(mark=os.urandom(8).hex())
    exported.ship(shipped.FOLDER, [text])
    shipped.is_for_this_processor.cache_clear()
    yield text
    shipped.is_for_this_processor.cache_clear()


def shipped_key(text):
    return exported._shipped_key(exported._fingerprint(text))


def results(text):
    x = np.linspace(-1.0, 1.0, 37)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(exported.address("shipped", text))
    assert function(x.ctypes.data, len(x)) == len(x)
    return x


def was_compiled(text):
    key = exported.key_of(text)[:-1]
    return any(cache.is_stored((*key, level)) for level in ("0", "3"))


def expected(text):
    """What the object made for this processor gives."""
    x = np.linspace(-1.0, 1.0, 37)
    code = objects.load_object(exported.stored(text + "# compiled here\n"), ["fastad_entry"], exported._resolve)
    ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(code["fastad_entry"])(x.ctypes.data, len(x))
    return x


def test_what_is_shipped_is_not_compiled_and_gives_the_same_bits(text):
    assert exported.is_stored(text)
    assert results(text).tolist() == expected(text).tolist()
    assert not was_compiled(text)


def test_a_damaged_file_is_compiled_anew(text):
    (path,) = shipped.FOLDER.iterdir()
    path.write_bytes(path.read_bytes()[:-50])
    assert results(text).tolist() == expected(text).tolist()
    assert was_compiled(text)


def test_code_that_does_not_link_here_is_compiled_anew(text):
    ir = "declare i64 @no_such_function()\ndefine i64 @fastad_entry(i64 %x, i64 %n) {\n  %r = call i64 "
    ir += "@no_such_function()\n  ret i64 %r\n}\n"
    shipped.store(shipped.FOLDER, shipped_key(text), ir, 3)
    assert results(text).tolist() == expected(text).tolist()
    assert was_compiled(text)


def test_a_processor_of_another_level_does_not_use_them(text, monkeypatch):
    monkeypatch.setattr(objects, "has_feature", lambda name: name not in ("fma", "neon"))
    assert not shipped.is_for_this_processor() and shipped.read(shipped_key(text)) is None


def test_an_architecture_without_a_level_does_without(text, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "unknown")
    assert not shipped.has(shipped_key(text)) and shipped.read(exported._shipped_key(text)) is None


@pytest.mark.parametrize("what", ["kernel_digest", "translator_digest"])
def test_objects_of_other_kernels_are_not_used(text, what, monkeypatch):
    assert shipped.has(shipped_key(text))
    monkeypatch.setattr(exported, what, lambda: "others")
    assert not shipped.has(shipped_key(text))


@pytest.mark.slow
def test_a_wheel_with_objects_starts_without_a_compiler(tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    source = tmp_path / "source"
    source.mkdir()
    names = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "fastad", "kernels"]
    subprocess.run(["cp", "-r", *(os.path.join(root, name) for name in names), source], check=True)
    pip = [sys.executable, "-m", "pip", "-q"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(build, check=True, env=os.environ | {"FASTAD_BUILD_OBJECTS": "1"})
    (wheel,) = tmp_path.glob("fastad-*-py3-none-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "plain", wheel], check=True)
    code = textwrap.dedent("""
        import numpy as np, fastad as fad
        from fastad.execution.machine import exported, replacing, shipped
        assert shipped.is_for_this_processor(), fad.__file__
        replacing.linked = None
        assert fad.grad(lambda x: np.sum(x**2), tier="sweep")(np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
        assert fad.grad(lambda x: fad.scan(lambda c, e: (c * e, c), x, np.ones(3))[0], tier="sweep")(2.0) == 1.0
    """)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "plain"), "FASTAD_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
