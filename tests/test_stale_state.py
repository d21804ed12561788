"""What can be changed behind a function's back: classes, code, modules, layouts. A replay never uses the old state."""

import builtins
import math
import types

import numpy as np
import pytest
import scipy.constants

import fastad as fad
from fastad.recording.identity import same_elements

module = types.ModuleType("users_module")
module.__file__ = "/home/user/users_module.py"
exec("def largest(x):\n    return x * max(1.0, 2.0)\ndef shrunk():\n    return abs(-2.0)\n", module.__dict__)


class Base:
    rate = 2.0

    def scaled(self, x):
        return x * self.rate


class Derived(Base):
    pass


class Other(Base):
    rate = 3.0


class Slots:
    __slots__ = ("rate",)


class OtherSlots:
    __slots__ = ("rate",)
    extra = 1.0


def doubled(x):
    return x * 2.0


def tripled(x):
    return x * 3.0


def kept(f, *changes):
    """After every change the function gives what a new one gives, as do the functions that were made before."""
    jitted, gradient = fad.jit(f), fad.grad(f)
    assert jitted(1.5) == f(1.5)
    for change in changes:
        gradient(1.5), jitted(2.0)
        change()
        for _ in range(2):
            assert jitted(1.5) == f(1.5)
            assert gradient(1.5) == f(2.0) - f(1.0)  # all are linear


def test_an_attribute_that_a_class_inherited():
    for f in (lambda x: x * Derived.rate, lambda x: Derived().scaled(x)):
        kept(
            f,
            lambda: setattr(Derived, "rate", 5.0),
            lambda: setattr(Base, "rate", 7.0),
            lambda: delattr(Derived, "rate"),
        )
        Base.rate = 2.0
    changes = lambda: setattr(Derived, "scaled", lambda self, x: x * 11.0), lambda: delattr(Derived, "scaled")
    kept(lambda x: Derived().scaled(x), *changes, *changes)


def test_the_class_of_an_object():
    for thing, other in ((Base(), Other), (Derived(), Other)):
        kept(lambda x, thing=thing: x * thing.rate, lambda thing=thing, other=other: setattr(thing, "__class__", other))
    slots = Slots()
    slots.rate = 2.0
    kept(
        lambda x: x * slots.rate * (2.0 if isinstance(slots, OtherSlots) else 1.0),
        lambda: setattr(slots, "__class__", OtherSlots),
    )


def test_the_code_of_a_function():
    def helper(x):
        return doubled(x)

    code = doubled.__code__
    try:
        kept(lambda x: helper(x), lambda: setattr(doubled, "__code__", tripled.__code__))
        kept(lambda x: x + helper(x), lambda: setattr(doubled, "__code__", code))
    finally:
        doubled.__code__ = code

    def transformed(x):
        return doubled(x)

    kept(transformed, lambda: setattr(transformed, "__code__", tripled.__code__))


def test_a_global_in_front_of_a_builtin(monkeypatch):
    def shadow():
        monkeypatch.setitem(globals(), "abs", lambda x: 5.0)

    def show():
        del globals()["abs"]

    kept(lambda x: x * abs(-2.0), shadow, show, shadow, show)
    kept(lambda x: module.largest(x), lambda: monkeypatch.setattr(module, "max", lambda *x: 9.0, raising=False))


def test_something_in_the_place_of_a_builtin(monkeypatch):
    replaced = lambda: monkeypatch.setattr(builtins, "abs", lambda x: rate * x), monkeypatch.undo
    rate = -3.0
    kept(lambda x: x * abs(-2.0), *replaced, *replaced)
    kept(lambda x: x * module.shrunk(), *replaced)


def test_constants_of_libraries(monkeypatch):
    kept(lambda x: x * math.pi, lambda: monkeypatch.setattr(math, "pi", 3.0))
    kept(lambda x: x * scipy.constants.g, lambda: monkeypatch.setattr(scipy.constants, "g", 3.0))
    kept(
        lambda x: x * getattr(np, "fastad_rate", 2.0),
        lambda: monkeypatch.setattr(np, "fastad_rate", 3.0, raising=False),
    )


@pytest.mark.filterwarnings("ignore:Setting the")
def test_the_layout_of_an_array():
    a = np.ones((2, 2))
    whole = np.arange(4.0)
    kept(lambda x: x * (2.0 if a.flags.writeable else 3.0), lambda: a.setflags(write=False))
    kept(lambda x: x * float(a.strides[0]), lambda: setattr(a, "strides", (8, 16)))
    kept(lambda x: x * float(whole[1]), lambda: setattr(whole, "dtype", np.int32))


@pytest.mark.parametrize("n", [3, 300, 20_000])
def test_long_lists(n):
    numbers = [1.0] * n

    class Numbers(list):
        pass

    for held in (numbers, Numbers(numbers)):
        changes = [
            lambda held=held: held.__setitem__(n // 2, 2.0), lambda held=held: held.__setitem__(n // 2, 2),
            lambda held=held: held.__setitem__(-1, -0.0), lambda held=held: held.__setitem__(-1, 0.0),
            lambda held=held: held.append(4.0), held.clear, lambda held=held: held.extend([3.0] * n),
        ]  # fmt: skip
        kept(lambda x, held=held: x * sum(held) * (2.0 if held and type(held[n // 2]) is int else 1.0), *changes)


def test_elements_are_compared_by_identity():
    for n in (0, 1, 255, 256, 1000):
        objects = [object() for _ in range(n)]
        for x in (objects, tuple(objects)):
            assert same_elements(x, tuple(objects))
            assert not same_elements(objects, (*objects, None))
            for k in range(0, n, 37):
                assert not same_elements(x, (*objects[:k], None, *objects[k + 1 :]))
