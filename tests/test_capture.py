"""A replay never uses a stale captured value: numbers are part of the key, arrays are read anew or compared."""

import contextvars
import ctypes
import dataclasses
import dis
import functools
import gc
import inspect
import os
import sys
import types
from collections import deque, namedtuple

import numpy as np
import pytest
from recording_tools import record
from transform_tools import each_tier

import fastad as fad
from fastad.recording import capture, code_names

K = 2.0
ARRAY = np.array([1.0, 2.0])
TABLE = {"a": 1.0, "b": [1.0, {"c": 2.0}]}
module = types.ModuleType("users_module")
module.k = 2.0
module.__file__ = "/home/user/users_module.py"
exec("def helper(x):\n    return x * k\n", module.__dict__)


def follow(make, changes, tier="sweep"):
    """Call jit(f), change something and call again: the result must be that of f itself. `make()` returns f."""
    f = make()
    jitted = fad.jit(f, tier=tier)
    gradient = fad.grad(lambda x: np.sum(jitted(x)), tier=tier)
    x = np.array([1.5, -0.5])
    for change in (lambda: None, *changes, lambda: None):
        change()
        for _ in range(2):
            wanted = f(x)
            np.testing.assert_allclose(jitted(x), wanted, rtol=1e-14)
            slope = np.sum(f(x + 0.5) - f(x - 0.5))  # all functions here are linear with a diagonal matrix
            np.testing.assert_allclose(np.sum(gradient(x)), slope, rtol=1e-12)


@each_tier
def test_closure(tier):
    k, again = 2.0, 3.0

    def make():
        return lambda x: x * k

    def change():
        nonlocal k
        k = again

    follow(make, [change], tier)


@each_tier
def test_global(tier):
    def f(x):
        return x * K

    def set_to(value):
        global K
        K = value

    follow(lambda: f, [lambda: set_to(3.0), lambda: set_to(np.float64(4.0)), lambda: set_to(2)], tier)


def test_equal_numbers_of_other_types_are_told_apart():
    k = 2

    def f(x):
        return x * k if isinstance(k, int) else x + 10 * k

    jitted = fad.jit(f)
    assert jitted(1.0) == 2.0
    k = 2.0
    assert jitted(1.0) == 21.0
    k = -0.0
    assert np.signbit(fad.jit(lambda x: x * k)(1.0))


def test_global_that_is_defined_later():
    namespace = {"np": np}
    exec("def f(x):\n    return helper(x) * LATER", namespace)
    jitted = fad.jit(namespace["f"])
    with pytest.raises(NameError):
        jitted(1.0)
    namespace.update(LATER=2.0, helper=lambda x: x + 1)
    assert jitted(1.0) == 4.0
    namespace["LATER"] = 3.0
    assert jitted(1.0) == 6.0
    namespace["helper"] = lambda x: x + 2
    assert jitted(1.0) == 9.0


def test_name_first_missing_then_there():
    namespace = {}
    exec("def f(x):\n    try:\n        return x * SCALE\n    except NameError:\n        return x", namespace)
    jitted = fad.jit(namespace["f"])
    assert jitted(2.0) == 2.0
    namespace["SCALE"] = 3.0
    assert jitted(2.0) == 6.0
    del namespace["SCALE"]
    assert jitted(2.0) == 2.0


def test_attributes():
    class Model:
        shared = 1.0

        def __init__(self):
            self.k = 2.0
            self.inner = types.SimpleNamespace(weights=[1.0, 2.0], array=np.array([1.0, 2.0]))

        def value(self, x):
            return x * self.k * self.inner.weights[1] * self.shared * self.inner.array[0]

        def __call__(self, x):
            return self.value(x)

        @property
        def doubled(self):
            return 2 * self.k

    for make in (
        lambda m: m.value, lambda m: m, lambda m: lambda x: m.value(x), lambda m: lambda x: m(x),
        lambda m: lambda x: x * m.doubled * m.shared * m.inner.weights[1] * m.inner.array[0],
        lambda m: functools.partial(Model.value, m), lambda m: {"f": m}["f"], lambda m: lambda x, ms=[m]: ms[0](x),
    ):  # fmt: skip
        model = Model()

        def replace(m=model):
            m.inner = types.SimpleNamespace(weights=[1.0, 7.0], array=np.array([3.0, 2.0]))

        follow(
            lambda make=make, m=model: make(m),
            [
                lambda m=model: setattr(m, "k", 3.0), lambda m=model: m.inner.weights.__setitem__(1, 5.0),
                lambda m=model: m.inner.array.__setitem__(0, 4.0), replace, lambda: setattr(Model, "shared", 2.0),
                lambda: setattr(Model, "value", lambda self, x: x * self.k * 100),
                lambda m=model: setattr(m, "value", lambda x: x),
            ][: 6 if make(model) is not model else 5],
        )  # fmt: skip
        Model.shared, Model.value = (
            1.0,
            lambda self, x: x * self.k * self.inner.weights[1] * self.shared * self.inner.array[0],
        )


def test_slots_and_dataclasses():
    class Slots:
        __slots__ = ("k",)

    @dataclasses.dataclass(slots=True)
    class Data:
        k: float

    class Private:
        __slots__ = ("__k",)

        def __init__(self):
            self.__k = 2.0

        def times(self, x):
            return x * self.__k

    private = Private()
    follow(lambda: private.times, [lambda: setattr(private, "_Private__k", 3.0)])
    for thing in (Slots(), Data(1.0), types.SimpleNamespace()):
        thing.k = 2.0
        follow(lambda thing=thing: lambda x: x * thing.k, [lambda thing=thing: setattr(thing, "k", 3.0)])


def test_class_attributes():
    class Config:
        rate = 2.0

    follow(lambda: lambda x: x * Config.rate, [lambda: setattr(Config, "rate", 5.0)])


def test_containers():
    things = {
        "list": [1.0, [2.0]],
        "deque": deque([3.0]),
        "set": {4.0},
        "bytes": bytearray(b"ab"),
        "long": [1.0] * 5000,
    }
    pair = namedtuple("pair", "a b")(1.0, [2.0])

    def f(x):
        t = things
        return x * (
            t["list"][1][0] + t["deque"][0] + sum(t["set"]) + t["bytes"][0] + t["long"][4000] + pair.b[0] + len(t)
        )

    def change_values():
        for key in list(things):
            things[key] = things[key]

    follow(
        lambda: f,
        [
            lambda: things["list"][1].__setitem__(0, 9.0), lambda: things["deque"].appendleft(7.0),
            lambda: things["set"].add(11.0), lambda: things["bytes"].__setitem__(0, 3),
            lambda: things["long"].__setitem__(4000, 5.0), lambda: pair.b.__setitem__(0, 1.0),
            lambda: things.update(more=1.0), change_values, lambda: things.pop("more"),
        ],
    )  # fmt: skip


def test_defaults_partials_and_nested_helpers():
    k = [2.0]

    def inner(x):
        return x * k[0]

    def make_helper(scale):
        def helper(x):
            return inner(x) * scale

        return helper

    helpers = {"f": make_helper(2.0)}

    def f(x, options={"rate": 3.0}):  # noqa: B006
        return helpers["f"](x) * options["rate"]

    changes = [
        lambda: k.__setitem__(0, 5.0), lambda: f.__defaults__[0].update(rate=7.0),
        lambda: helpers.update(f=make_helper(11.0)),
    ]  # fmt: skip
    follow(lambda: f, changes)
    options = {"rate": 2.0}
    follow(lambda: functools.partial(f, options=options), [lambda: options.update(rate=5.0), *changes])
    follow(lambda: functools.lru_cache(lambda x: x) and functools.wraps(f)(lambda x: f(x)), changes)


def test_module_attributes():
    follow(
        lambda: lambda x: module.helper(x) * module.k,
        [lambda: setattr(module, "k", 3.0), lambda: setattr(module, "helper", lambda x: x * 100)],
    )


def test_functions_whose_address_is_used_again():
    namespace = {}
    exec("def f(x):\n    return g(x)", namespace)
    jitted = fad.jit(namespace["f"])
    for k in range(50):
        namespace["g"] = eval(f"lambda x: x * {k}")
        assert jitted(1.0) == k
        gc.collect(1)  # the young ones, which the old lambda is one of
    namespace["g"] = None
    holder = {}
    jitted = fad.jit(lambda x: x * holder["a"][0])
    for k in range(50):
        holder.pop("a", None)
        holder["a"] = np.array([float(k), 0.0])
        assert jitted(1.0) == k


def test_transformed_functions_inside():
    k = 2.0
    inner = fad.grad(lambda x: k * x * x)

    def set_k(value):
        nonlocal k
        k = value

    f = fad.jit(lambda x: inner(x))
    assert f(1.0) == 4.0
    set_k(3.0)
    assert f(1.0) == 6.0
    g = fad.grad(fad.checkpoint(lambda x: k * x * x))
    assert g(1.0) == 6.0
    set_k(4.0)
    assert g(1.0) == 8.0


def test_static_arguments_with_a_state():
    class Model:
        k = 2.0

        def __call__(self, x):
            return self.k * x

    model, scale = Model(), 2.0
    f = fad.jit(lambda m, x: m(x))
    assert f(model, 1.0) == 2.0
    model.k = 3.0
    assert f(model, 1.0) == 3.0
    g = fad.grad(lambda h, x: h(x), argnums=1)

    def h(x):
        return scale * x

    assert g(h, 1.0) == 2.0
    scale = 5.0
    assert g(h, 1.0) == 5.0


# ── arrays ────────────────────────────────────────────────────────────────────────────────────────────────────
@each_tier
@pytest.mark.parametrize("n", [2, 1000])
@pytest.mark.parametrize(
    "f",
    [
        lambda x, a: x * a[:2],
        lambda x, a: x * a[0],
        lambda x, a: x * a[0] + a[:2] * x,
        lambda x, a: x * np.mean(a),
        lambda x, a: x * a[:2] - np.mean(a) * x,
        lambda x, a: x * np.sqrt(a)[:2],
        lambda x, a: x * (a * 2)[:2].copy(),
        lambda x, a: x * (a * 2).reshape(2, -1).T[0],
        lambda x, a: (x if a[0] > 1.5 else -x) * a[:2],
        lambda x, a: x * float(a[0]) * a[:2],
        lambda x, a: x * a.tolist()[0],
        lambda x, a: x * np.array([a[0], 2.0]),
        lambda x, a: x * a[:2] * a[::-1][:2],
        lambda x, a: fad.jit(lambda y: y * a[0] * a[:2])(x),
    ],
)
def test_arrays_changed_in_place(tier, n, f):
    a = np.linspace(1.0, 2.0, n)
    follow(
        lambda: lambda x: f(x, a),
        [
            lambda: a.__setitem__(0, 3.0),
            lambda: a.__imul__(2.0),
            lambda: a.fill(1.0),
            lambda: a.__setitem__(slice(None, 2), [0.5, 9.0]),
        ],
        tier,
    )


@each_tier
def test_arrays_rebound(tier):
    a = np.array([1.0, 2.0])

    def rebind(value):
        nonlocal a
        a = value

    follow(
        lambda: lambda x: x * a[:2],
        [
            lambda: rebind(np.array([3.0, 4.0])),
            lambda: rebind(np.array([3, 4])),
            lambda: rebind(np.array([3.0, 4.0, 5.0])),
        ],
        tier,
    )


@each_tier
def test_views_of_outside_arrays(tier):
    base = np.arange(10.0)
    view = base[2:4]
    follow(
        lambda: lambda x: x * view + base[::5] * x,
        [lambda: base.__setitem__(3, 7.0), lambda: view.fill(2.0), lambda: base.fill(1.0)],
        tier,
    )


def test_global_arrays_of_any_dtype():
    for dtype in (np.float64, np.float32, np.int64, np.bool_):
        a = np.array([1, 0]).astype(dtype)
        follow(lambda a=a: lambda x: x * a, [lambda a=a: a.fill(1), lambda a=a: a.__setitem__(0, 0)])


def test_arrays_used_as_a_whole_are_not_recorded_again_and_again():
    a = np.ones(3)
    f = fad.jit(lambda x: np.sum(x * a))
    for k in range(200):
        a[...] = k
        assert f(np.ones(3)) == 3.0 * k
    assert f.stats()["recordings"] <= 10


def test_arrays_that_the_function_changes_while_it_runs():
    def f(x):
        table = np.zeros(2)
        table[0] = 2.0
        y = x * table
        table[1] = 3.0
        return y + x * table

    x = np.array([1.0, 1.0])
    jitted = fad.jit(f)
    for _ in range(3):
        np.testing.assert_array_equal(jitted(x), f(x))


def test_the_work_of_many_temporary_arrays_grows_as_their_number():
    """In calls of Python functions, which no load of the machine changes: three times as many take less than nine."""

    def work(n):
        arrays = np.random.default_rng(0).standard_normal((n, 3))

        def f(x):
            for row in arrays:
                x = x * (row + 1.0) + row[:2].sum()
            return x

        count = 0

        def profile(frame, event, argument):
            nonlocal count
            count += event == "call"

        sys.setprofile(profile)
        try:
            record(f, np.ones(3))
        finally:
            sys.setprofile(None)
        return count

    assert work(240) < 4 * work(80)


def test_arrays_in_containers_and_objects():
    weights = [{"w": np.array([1.0, 2.0]), "b": np.array([0.5, 0.5])}]
    follow(
        lambda: lambda x: x * weights[0]["w"] + x * weights[0]["b"][0],
        [
            lambda: weights[0]["w"].fill(3.0), lambda: weights[0]["b"].__setitem__(0, 2.0),
            lambda: weights[0].update(w=np.array([7.0, 7.0])),
            lambda: weights.insert(0, {"w": np.ones(2), "b": np.ones(2)}),
        ],
    )  # fmt: skip


def test_a_shape_changed_in_place():
    a = np.arange(4.0)
    f = fad.jit(lambda x: np.sum(a * x, axis=0))
    assert f(2.0) == 12.0
    a.shape = (2, 2)
    assert f(2.0).tolist() == [4.0, 8.0]


def test_random_generators_and_other_objects_do_no_harm():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=3)
    f = fad.jit(lambda x: x + noise if rng is not None else x)
    f(1.0), f(2.0)
    assert f.stats()["recordings"] == 1


def test_a_graph_of_objects_with_cycles():
    class Node:
        pass

    a, b = Node(), Node()
    a.other, b.other, a.k, b.k = b, a, 1.0, 2.0
    a.all = [a, b, [a]]
    follow(lambda: lambda x: x * a.other.k, [lambda: setattr(b, "k", 3.0), lambda: setattr(a, "other", a)])


def test_modules_imported_inside_the_function(tmp_path, monkeypatch):
    package = tmp_path / "settings_inside"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "numbers.py").write_text("scale = 2.0\n")
    text = "def near(x):\n    from .numbers import scale\n    return scale * x\n"
    (package / "use.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def whole(x):
        import settings_inside.numbers as n

        return n.scale * x

    def part(x):
        from settings_inside.numbers import scale

        return scale * x

    import settings_inside.numbers
    from settings_inside.use import near

    for scale in (2.0, 3.0):
        settings_inside.numbers.scale = scale
        for f in (whole, part, near):
            assert fad.grad(f)(1.0) == scale
    jitted = [fad.jit(f) for f in (whole, part, near)]
    for scale in (4.0, 5.0):
        settings_inside.numbers.scale = scale
        assert [f(1.0) for f in jitted] == [scale] * 3


# ── names in code ─────────────────────────────────────────────────────────────────────────────────────────────
def codes_in(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_in(constant)


MANY_NAMES = "def f(x):\n" + "".join(f"    x = g{i}(x.a{i})\n" for i in range(40_000))  # arguments of three bytes


@pytest.mark.parametrize("source", [MANY_NAMES, *map(inspect.getsource, (inspect, dataclasses, types, capture))])
def test_global_names_are_those_that_dis_finds(source):
    for code in codes_in(compile(source, "source", "exec")):
        found = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        assert code_names._globals(code) == found


# ── what is easily overlooked ─────────────────────────────────────────────────────────────────────────────────
CHOICE = contextvars.ContextVar("CHOICE", default=2.0)


def test_context_variables_and_the_environment(monkeypatch):
    monkeypatch.setenv("FASTAD_TEST_RATE", "2.0")
    follow(lambda: lambda x: x * CHOICE.get(), [lambda: CHOICE.set(3.0), lambda: CHOICE.set(5.0)])
    for f in (lambda x: x * float(os.environ["FASTAD_TEST_RATE"]), lambda x: x * float(os.getenv("FASTAD_TEST_RATE"))):
        follow(lambda f=f: f, [lambda: monkeypatch.setenv("FASTAD_TEST_RATE", "3.0")])
        monkeypatch.setenv("FASTAD_TEST_RATE", "2.0")


def test_names_in_texts(monkeypatch):
    for f in (lambda x: x * globals()["K"], lambda x: x * eval("K + 1"), lambda x: x * getattr(module, "k")):  # noqa: B009
        changes = [lambda: monkeypatch.setitem(globals(), "K", 7.0), lambda: monkeypatch.setattr(module, "k", 5.0)]
        follow(lambda f=f: f, changes)
    f = lambda x: x * (module.later if hasattr(module, "later") else 2.0)
    follow(lambda: f, [lambda: monkeypatch.setattr(module, "later", 3.0, raising=False)])


def test_proxies_and_memory_of_c():
    inside, memory, number = {"k": 2.0}, (ctypes.c_double * 2)(1.0, 2.0), ctypes.c_double(4.0)
    proxy = types.MappingProxyType(inside)

    def f(x):
        return x * proxy["k"] * memory[0] * number.value

    changes = [lambda: inside.update(k=3.0), lambda: memory.__setitem__(0, 5.0), lambda: setattr(number, "value", 6.0)]
    follow(lambda: f, changes)


def test_attributes_of_metaclasses_and_replaced_defaults():
    class Meta(type):
        rate = 2.0

    class Config(metaclass=Meta):
        pass

    follow(lambda: lambda x: x * Config.rate, [lambda: setattr(Meta, "rate", 5.0)])

    def f(x, a=2.0, *, k=2.0):
        return x * a * k

    changes = [lambda: setattr(f, "__kwdefaults__", {"k": 5.0}), lambda: setattr(f, "__defaults__", (7.0,))]
    follow(lambda: lambda x: f(x), changes)


def test_tables_with_a_state_in_c():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": ["x", "y"]})
    for f in (lambda x: x * frame["a"].to_numpy(), lambda x: x * frame["b"].mean(), lambda x: x * frame.a.values):
        changes = [lambda: frame.__setitem__("a", [5.0, 6.0]), lambda: frame.loc.__setitem__((0, "b"), 9.0)]
        follow(lambda f=f: f, changes)


def test_a_dataclass_of_the_users_needs_no_walk_at_each_call():
    @dataclasses.dataclass
    class Settings:
        rate: float = 2.0
        data: object = None

    settings = Settings(data=np.ones(3))
    f = lambda x: np.sum(x * settings.data) * settings.rate
    assert not capture.OutsideState((f,)).must_be_walked


@pytest.mark.filterwarnings("ignore:.*shape:DeprecationWarning")
def test_an_array_whose_shape_is_set_while_it_is_recorded():
    data = np.arange(4.0)

    def f(x):
        data.shape = (4,)
        a = np.dot(data, x) + np.sum(data * x)
        data.shape = (2, 2)
        return a + np.sum(np.dot(data, x[:2]))

    x = np.array([0.3, 0.4, 0.5, 0.6])
    assert fad.jit(f)(x) == pytest.approx(f(x))
